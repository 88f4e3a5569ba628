"""What the gradient doctor says, in words, in a terminal and in a notebook."""

import math
import re
import subprocess
import sys

import numpy as np
import pytest
from learners import (
    SOFT,
    hot,
    lsm,
    sm,
    soft,
    step,
)

from minikd.core import losses
from minikd.doctor import check_gradient


def ok(z, v, T):
    return soft(z, v, T)


def test_an_unknown_mistake_is_shown_where_it_is_worst():
    def function(z, v, T):
        dz = ok(z, v, T)
        dz[2, 1] += 0.1
        return dz

    diagnosis = check_gradient(function, "soft cross-entropy")
    assert diagnosis.verdict == "wrong, in a way that I do not know, worst at [2, 1]"
    assert (diagnosis.output, diagnosis.worst) == ("dz", (2, 1))
    assert diagnosis.mistakes == ()
    assert diagnosis.yours[2, 1] - diagnosis.truth[2, 1] == pytest.approx(0.1)
    assert diagnosis.rows()[0][0] == "dz[2, 1]"
    assert diagnosis.error == pytest.approx(max(diagnosis.error, 0.1 / np.abs(diagnosis.truth).max()))


def test_of_several_outputs_it_says_which_is_wrong_and_which_are_right():
    diagnosis = check_gradient(lambda dout, x, W, b: (dout @ W.T, x.T @ dout, 3 * dout.sum(0)), "affine")
    assert diagnosis.verdict.startswith("wrong, in a way that I do not know, worst at db[")
    assert "right: dx and dW" in diagnosis.details


def test_a_constant_factor_is_told_even_where_it_has_no_name():
    diagnosis = check_gradient(lambda z, v, T: 1.25 * ok(z, v, T), "soft cross-entropy")
    assert "yours is 1.25 times the truth everywhere" in diagnosis.details
    diagnosis = check_gradient(lambda z, v, T: T**1.5 * ok(z, v, T), "soft cross-entropy")
    assert any("a factor that depends on the arguments" in line for line in diagnosis.details)


def test_nearly_right_is_wrong_with_a_hint():
    def by_differences(z, v, T):
        dz, nudge = np.empty_like(z), np.zeros_like(z)
        for i in np.ndindex(z.shape):
            nudge[i] = 1e-5
            costs = [-np.sum(sm(v / T) * lsm((z + sign * nudge) / T)) / len(z) for sign in (1, -1)]
            dz[i], nudge[i] = (costs[0] - costs[1]) / 2e-5, 0
        return dz

    for function in (by_differences, lambda z, v, T: ok(z, v, T) * (1 + 1e-9)):
        diagnosis = check_gradient(function, "soft cross-entropy")
        assert not diagnosis
        assert re.match(r"wrong, but only by \de-(09|10), worst at \[", diagnosis.verdict)
        assert any("more than rounding" in line for line in diagnosis.details)
        assert "a difference of " in diagnosis.details[0]
        assert not any("times" in line for line in diagnosis.details)


def verdict(function, problem, *names):
    diagnosis = check_gradient(function, problem)
    assert not diagnosis.right
    assert diagnosis.mistakes == names
    for words in (str(diagnosis), diagnosis._repr_html_()):
        assert words
    return diagnosis


def test_a_wrong_shape_is_told_with_the_one_that_is_expected():
    diagnosis = verdict(lambda z, v, T: ok(z, v, T).sum(0), "soft cross-entropy", "the shape of dz")
    B, K = diagnosis.truth.shape
    assert diagnosis.verdict == "wrong: the shape of dz"
    assert diagnosis.details[0].startswith(f"dz has the shape ({K},) at ")
    assert diagnosis.details[0].endswith(f"expected ({B}, {K}).")
    assert diagnosis.rows() == []
    assert diagnosis.worst == ()
    assert math.isinf(diagnosis.error)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_told_with_its_place(value):
    def function(dout, x):
        dx = dout * (x > 0)
        dx[1, 2] = value
        return dx

    diagnosis = verdict(function, "relu", "dx is not finite")
    assert diagnosis.details[0].startswith(f"dx[1, 2] is {value} at ")


def test_an_overflow_at_the_learners_own_arguments_is_told_apart_from_a_wrong_formula():
    def function(z, y):
        return (np.exp(z) / np.exp(z).sum(-1, keepdims=True) - hot(y, z)) / len(z)

    assert check_gradient(function, "hard cross-entropy").right
    diagnosis = check_gradient(function, "hard cross-entropy", z=[[1000.0, 999.0]], y=[1])
    assert diagnosis.mistakes == ("dz is not finite",)
    assert diagnosis.details[0].startswith("dz[0, 0] is nan at your own arguments")


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda dz: dz.tolist(), "dz is list"),
        (lambda dz: dz.astype(int), "dz is int64"),
        (lambda dz: dz.astype(complex), "dz is complex128"),
        (lambda dz: dz.astype(np.float16), "dz is float16"),
        (lambda dz: None, "dz is NoneType"),
        (lambda dz: (1.0, 2.0, dz), "dz is tuple"),
    ],
)
def test_what_is_no_float_array_is_refused(result, words):
    diagnosis = verdict(lambda z, v, T: result(ok(z, v, T)), "soft cross-entropy", "not a float array")
    assert diagnosis.details[0].startswith(f"{words}: return a NumPy array")
    with pytest.raises(ValueError, match="yours must have"):
        diagnosis.plot()


def test_a_backward_pass_that_leaves_a_gradient_out_is_told_what_to_return():
    diagnosis = verdict(lambda dout, x, W, b: (dout @ W.T, x.T @ dout), "affine", "not the gradients asked for")
    assert diagnosis.details[0] == "Return (dx, dW, db), in this order; yours returns 2 of them."
    diagnosis = verdict(lambda dout, x, W, b: dout @ W.T, "affine", "not the gradients asked for")
    assert diagnosis.details[0].endswith("yours returns one ndarray.")


def test_writing_into_an_argument_is_told_also_beside_another_mistake():
    def function(dout, x):
        dout[x <= 0] = 0
        return dout

    def from_the_wrong_side(dout, x):
        dout[x > 0] = 0
        return dout

    diagnosis = verdict(function, "relu", "it writes into dout")
    assert diagnosis.verdict == "the gradient's numbers are right, but it writes into dout"
    diagnosis = verdict(from_the_wrong_side, "relu", "ReLU mask from the wrong side", "it writes into dout")
    assert diagnosis.verdict == "wrong: ReLU mask from the wrong side; and it writes into dout"


def test_no_argument_of_the_learner_is_changed():
    def function(z, v, T):
        z -= v
        return z

    z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    check_gradient(function, "soft cross-entropy", z=z, v=v, T=2.0)
    check_gradient(function, lambda z, v, T: np.sum(z * v) / T, z=z, v=v, T=2.0)
    assert z.tolist() == [[2.0, -1.0, 0.5]]
    assert v.tolist() == [[3.0, -2.0, 1.0]]


def test_other_numbers_the_second_time_are_told():
    rng = np.random.default_rng(0)
    diagnosis = verdict(lambda dout, x: dout * rng.random(x.shape), "relu", "different numbers the second time")
    assert "draw at random" in diagnosis.details[0]


def test_nothing_but_zeros_is_told():
    verdict(lambda z, v, T: np.zeros_like(z), "soft cross-entropy", "dz is zero everywhere")
    verdict(lambda dout, x, W, b: (dout @ W.T, 0 * W, dout.sum(0)), "affine", "dW is zero everywhere")


def test_a_function_that_raises_everywhere_raises_what_it_raised():
    error = KeyError("mine")

    def function(z, v, T):
        raise error

    with pytest.raises(KeyError) as caught:
        check_gradient(function, "soft cross-entropy")
    assert caught.value is error


def test_a_function_that_raises_at_some_shapes_is_judged_by_the_others():
    def function(dout, x, W, b):
        if W.shape[0] != W.shape[1]:
            raise ValueError("not for me")
        return dout @ W.T, x.T @ dout, dout.sum(0)

    diagnosis = verdict(function, "affine", "it raises ValueError elsewhere")
    assert diagnosis.verdict == "the gradient's numbers are right, but it raises ValueError elsewhere"
    assert diagnosis.details[0].startswith("ValueError at B = ")
    assert diagnosis.details[0].endswith(": not for me")


def test_a_cost_of_another_gradient_is_told():
    diagnosis = verdict(
        lambda z, v, T: (losses.soft_cross_entropy(z, v=v, T=T)[0] * T, ok(z, v, T)),
        "soft cross-entropy",
        "the cost is not the one of this gradient",
    )
    assert "up to a constant" in diagnosis.details[0]
    verdict(lambda z, v: ("C", (z - v) / len(z)), "logit matching", "the cost is not a number")
    diagnosis = check_gradient(lambda x: (np.sum(x) + 1, 2 * x), lambda x: np.sum(x**2), x=np.array([1.0, 3.0]))
    assert diagnosis.mistakes == ("the cost is not the one of this gradient",)


def test_a_step_may_overwrite_what_it_returns_but_not_the_gradient():
    def careless(parameters, velocity, gradient, learning_rate, momentum):
        gradient *= learning_rate
        velocity[:] = momentum * velocity - gradient
        parameters += velocity

    verdict(careless, "momentum", "it writes into gradient")
    right = step(lambda velocity, gradient, rate, momentum: momentum * velocity - rate * gradient)
    assert check_gradient(right, "momentum").oracle == "the definition of a step; good to 13 digits"


# ---- what it looks like ----------------------------------------------------------------------------------------------


def test_the_notebook_gets_the_verdict_and_a_small_table_and_nothing_unescaped():
    diagnosis = check_gradient(SOFT[0][1], "soft cross-entropy")
    page = diagnosis._repr_html_()
    assert "wrong: missing 1/T" in page
    assert page.count("<tr>") == 6  # the heads, and the five worst
    (where, yours, truth, ratio), *_ = diagnosis.rows()
    assert where.startswith("dz[")
    assert ratio == pytest.approx(yours / truth)
    for shown in (where, f"{yours:.6g}", f"{truth:.6g}", f"{ratio:.6g}"):
        assert shown in page

    def raises(dout, x):
        if len(x) != 3:
            raise ValueError("<script>")
        return dout * (x > 0)

    page = check_gradient(raises, "relu", x=[[1.0], [2.0], [3.0]])._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_terminal_gets_a_few_lines():
    lines = str(check_gradient(SOFT[0][1], "soft cross-entropy")).splitlines()
    assert lines[0] == "wrong: missing 1/T"
    assert lines[1] == "  missing 1/T: The chain rule through z/T leaves a factor 1/T in front."
    assert lines[-1] == "  truth: complex step through the textbook's forward pass; good to 12 digits"
    assert len(lines) < 6


def test_the_plot_is_the_ratio_of_yours_to_the_truth():
    diagnosis = check_gradient(SOFT[0][1], "soft cross-entropy")
    points = diagnosis.plot().axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1], points[0, 1], rtol=1e-9)
    assert len(points) == diagnosis.truth.size


def test_the_doctor_uses_no_global_random_state_and_gives_the_same_answer_twice():
    before = np.random.get_state()[1].copy()
    first, second = (str(check_gradient(SOFT[5][1], "soft cross-entropy", seed=3)) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.slow
def test_the_core_does_without_the_doctor_and_the_doctor_without_matplotlib():
    program = (
        "import sys; import minikd.training.loop; assert 'minikd.doctor' not in sys.modules; "
        "modules = set(sys.modules); "
        "[sys.modules.pop(name) for name in modules if name.startswith('minikd')]; "
        "import minikd.doctor; "
        "loaded = {name for name in sys.modules if name.startswith('minikd.') and '.doctor' not in name}; "
        "assert loaded == {'minikd.system', 'minikd.system.console', 'minikd.system.html'}, loaded; "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
