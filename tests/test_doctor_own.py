"""The gradient doctor differentiates forward functions of the learner's own."""

import math

import numpy as np
import pytest
from learners import (
    sm,
    soft,
)
from oracles import EPS, naive_softmax

from minikd.core import losses
from minikd.doctor import check_gradient

X, W, b = (np.random.default_rng(7).standard_normal(shape) for shape in ((4, 3), (3, 5), (5,)))


def tanh_layer(x, W, b):
    return np.tanh(x @ W + b)


def tanh_backward(dout, x, W, b):
    du = dout * (1 - np.tanh(x @ W + b) ** 2)
    return du @ W.T, x.T @ du, du.sum(0)


def test_an_array_forward_of_ones_own_is_differentiated_by_complex_step():
    diagnosis = check_gradient(tanh_backward, tanh_layer, wrt=("x", "W", "b"), x=X, W=W, b=b)
    assert diagnosis.right
    assert diagnosis.error < 64 * EPS
    assert diagnosis.oracle.startswith("complex step through your forward function; good to 1")
    first = check_gradient(lambda dout, x, W, b: tanh_backward(dout, x, W, b)[0], tanh_layer, x=X, W=W, b=b)
    assert first.right
    assert first.output == "dx"


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: np.sum(np.abs(x) ** 3) / 3,  # loses the imaginary part
        lambda x: np.sum(np.asarray(x, float) ** 3 * np.sign(x)) / 3,  # drops it, with a warning
        lambda x: float(np.sum(np.maximum(x, 0) ** 3 - np.minimum(x, 0) ** 3)) / 3,  # raises
        lambda x: sum(math.pow(abs(x_i), 3) for x_i in x) / 3,
        lambda x: np.sum(np.conj(x) * x * np.abs(np.real(x))) / 3,
    ],
)
def test_a_forward_that_takes_no_complex_numbers_is_found_out_and_differentiated_by_differences(forward):
    x = np.array([1.3, -0.4, 2.2])
    diagnosis = check_gradient(lambda x: x * np.abs(x), forward, x=x)
    assert diagnosis.right
    assert diagnosis.oracle.startswith("central differences of your forward function")
    assert digits(diagnosis) >= 7
    assert not check_gradient(lambda x: x * np.abs(x) * (1 + 1e-5), forward, x=x)


def digits(diagnosis):
    return int(diagnosis.oracle.split("good to ")[1].split()[0])


@pytest.mark.parametrize(("T", "least"), [(0.1, 8), (1.0, 8), (8.0, 8), (1000.0, 6)])
def test_differences_take_their_step_from_T(T, least):
    z, v = np.array([[0.2, -0.1, 0.5]]), np.array([[0.3, -0.2, 1.0]])

    def real_only(z, v, T):
        return float(losses.soft_cross_entropy(np.asarray(z, float), v=v, T=T)[0])

    diagnosis = check_gradient(soft, real_only, z=z, v=v, T=T)
    assert diagnosis.right
    assert diagnosis.oracle.startswith("central differences")
    assert digits(diagnosis) >= least  # at T = 1000 a step of the logits' own size leaves three


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_differences_take_their_step_from_the_argument(size):
    x = size * np.array([0.3, -1.2, 2.0])
    wave = lambda x: float(np.sum(np.sin(np.real(x) / size)))  # noqa: E731
    diagnosis = check_gradient(lambda x: np.cos(x / size) / size, wave, x=x)
    assert diagnosis.right
    assert digits(diagnosis) >= 8


@pytest.mark.parametrize("T", [0.5, 8.0, 1000.0])
def test_the_tolerance_follows_what_rounding_leaves_at_high_T(T):
    z, v = np.random.default_rng(3).standard_normal((2, 4, 5))

    def forward(z, v, T):
        return -np.sum(naive_softmax(v, T) * np.log(naive_softmax(z, T))) / len(z)

    assert check_gradient(soft, forward, z=z, v=v, T=T).right
    missing = check_gradient(lambda z, v, T: T * soft(z, v, T), forward, z=z, v=v, T=T)
    assert missing.mistakes == ("T times too large",)


GENERAL = {
    "sign": lambda dx: -dx,
    "T times too large": lambda dx: dx * 2.0,
    "T times too small": lambda dx: dx / 2.0,
    "T² times too large": lambda dx: dx * 4.0,
    "T² times too small": lambda dx: dx / 4.0,
    "B times too large": lambda dx: dx * 4,
    "B times too small": lambda dx: dx / 4,
    "K times too large": lambda dx: dx * 5,
    "K times too small": lambda dx: dx / 5,
    "factor 2": lambda dx: dx * 2,
    "factor ½": lambda dx: dx / 2,
    "transposed": lambda dx: dx.T,
}


@pytest.mark.parametrize("name", GENERAL)
def test_general_mistakes_are_named_and_T_is_told_from_a_number_of_the_same_size(name):
    x = np.random.default_rng(1).standard_normal((4, 5))

    def forward(x, T):
        return np.sum(np.sin(x / T) * np.arange(5)) / 4

    def wrong(x, T):
        dx = np.cos(x / T) * np.arange(5) / T / 4
        return (
            GENERAL[name](dx)
            if "T" not in name
            else dx
            * {
                "T times too large": T,
                "T times too small": 1 / T,
                "T² times too large": T**2,
                "T² times too small": T**-2,
            }[name]
        )

    diagnosis = check_gradient(wrong, forward, x=x, T=2.0)
    assert diagnosis.mistakes == (name,)
    assert diagnosis.alternatives == ()


def test_a_bias_not_summed_or_summed_over_the_wrong_axis_is_named():
    for name, db in (("not summed", lambda dout: dout), ("summed over the wrong axis", lambda dout: dout.sum(1))):
        diagnosis = check_gradient(
            lambda dout, x, b, db=db: db(dout), lambda x, b: x + b, x=np.ones((4, 5)), b=b, wrt="b"
        )
        assert diagnosis.mistakes == (name,)


def test_two_general_mistakes_and_two_that_cannot_be_told_apart():
    x = np.random.default_rng(1).standard_normal((3, 3))
    both = check_gradient(lambda x: -2 * x.T / 3, lambda x: np.sum(x**2) / 3, x=x)
    assert both.mistakes == ("sign", "transposed")
    either = check_gradient(lambda x: 2 * x, lambda x: np.sum(x**2) / 3, x=x)
    assert {either.mistakes, *either.alternatives} == {("B times too large",), ("K times too large",)}
    assert either.verdict == "wrong: either B times too large, or K times too large, which give the same numbers"


def test_two_mistakes_that_undo_each_other_are_no_explanation():
    x = np.random.default_rng(1).standard_normal((3, 3))  # three times too large and three times too small
    diagnosis = check_gradient(lambda x: 2 * x / 3 * (1 + 1e-11), lambda x: np.sum(x**2) / 3, x=x)
    assert not diagnosis.right
    assert diagnosis.mistakes == ()


def test_a_gradient_that_is_right_only_at_the_given_arguments_is_found_out():
    x = np.array([[1.0, -1.0, 0.5, -0.5]])  # of mean zero
    diagnosis = check_gradient(lambda x: x, lambda x: np.sum((x - np.mean(x)) ** 2) / 2, x=x)
    assert not diagnosis.right
    assert diagnosis.mistakes == ()
    assert "right at your own arguments" in diagnosis.details


def test_redraws_keep_signs_zeros_and_rows_that_sum_to_one():
    p = sm(np.random.default_rng(2).standard_normal((4, 5)))
    z = np.random.default_rng(3).standard_normal((4, 5))

    def forward(z, p):
        return -np.sum(p * np.log(naive_softmax(z)))  # the gradient is q − p only where p sums to one

    assert check_gradient(lambda z, p: sm(z) - p, forward, z=z, p=p).right
    assert check_gradient(lambda x: np.log(x) + 1, lambda x: np.sum(x * np.log(x)), x=np.array([0.5, 2.0, 3.0])).right


def test_a_kink_of_ones_own_function_is_not_judged():
    x = np.array([[0.0, 1.0, -1.0]])
    for relu in (lambda x: np.maximum(x, 0.0), lambda x: np.where(np.real(x) > 0, x, 0.0)):
        for slope in (0.0, 0.5, 1.0):
            backward = lambda dout, x, slope=slope: dout * np.where(x == 0, slope, x > 0)  # noqa: E731
            assert check_gradient(backward, relu, x=x).right
        assert not check_gradient(lambda dout, x: dout * (x < 0), relu, x=x).right


def test_arguments_of_other_kinds_are_passed_on_as_they_are():
    def forward(x, layers, name):
        return np.sum(np.tanh(x @ layers[0][0]) @ layers[1][0]) if name == "net" else None

    def gradient(x, layers, name):
        (A, _), (B, _) = layers
        h = np.tanh(x @ A)
        return np.sum(B, axis=1) * (1 - h**2) @ A.T

    assert check_gradient(gradient, forward, x=X, layers=[(W, b), (W.T, b)], name="net").right


def test_float32_arguments_of_a_forward_of_ones_own():
    diagnosis = check_gradient(
        lambda x: np.cos(x), lambda x: float(np.sum(np.sin(np.real(x)))), x=np.float32([0.5, 1.5])
    )
    assert diagnosis.right
    assert diagnosis.verdict.endswith("(float32)")
