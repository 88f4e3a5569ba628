"""The gradient doctor calls right what is right, and gives no false names to what is wrong."""

import inspect
import sys

import numpy as np
import oracles
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from learners import (
    FIXTURES,
    lsm,
    no_mean,
    sm,
    soft,
)
from oracles import EPS, complex_step, relative_error

from minikd.core import layers, losses, optim
from minikd.core import softmax as minikd_softmax
from minikd.doctor import check_gradient
from minikd.doctor.cases import case_of, draw, own_probe
from minikd.doctor.problem import Made
from minikd.doctor.problems import PROBLEMS

OURS = {
    "soft cross-entropy": losses.soft_cross_entropy,
    "hard cross-entropy": losses.hard_cross_entropy,
    "distillation": losses.distillation_loss,
    "logit matching": losses.logit_matching,
    "high-temperature limit": lambda z, v, T: losses.logit_matching(no_mean(z), v=no_mean(v))[1] / z.shape[1] / T**2,
    "softmax": minikd_softmax.softmax_backward,
    "log-softmax": minikd_softmax.log_softmax_backward,
    "affine": lambda dout, x, W, b: layers.affine_backward(dout, layers.affine_forward(x, W, b)[1]),
    "relu": lambda dout, x: layers.relu_backward(dout, layers.relu_forward(x)[1]),
    "dropout": lambda dout, x, keep, drop: layers.dropout_backward(dout, layers.dropout_forward(x, keep, drop)[1]),
    "momentum": optim.momentum_step,
}


def test_the_recipes_without_a_mistake_are_the_derivative_of_the_textbook():
    for problem in PROBLEMS.values():
        for seed in range(5):
            for probe in case_of(problem, seed).probes:
                for recipe, truth in zip(problem.recipe(Made(), **probe.given), probe.truth, strict=True):
                    assert relative_error(recipe, truth) < 1e-14


def test_the_textbooks_of_the_doctor_are_those_of_the_tests():
    z, v, y = (
        np.array([[2.0, -1.0, 0.5], [0.3, 0.2, -2.0]]),
        np.array([[3.0, -2.0, 1.0], [0.0, 1.0, 1.5]]),
        np.array([0, 2]),
    )
    for name, forward, arguments in (
        ("soft cross-entropy", oracles.naive_soft_cross_entropy, {"v": v, "T": 2.5}),
        ("hard cross-entropy", oracles.naive_hard_cross_entropy, {"y": y}),
        ("distillation", oracles.naive_distillation, {"v": v, "y": y, "T": 2.5, "alpha": 0.3}),
        ("logit matching", oracles.naive_logit_matching, {"v": v}),
    ):
        probe = own_probe(PROBLEMS[name], {"z": z, **arguments}, np.random.default_rng(0))
        oracle = complex_step(lambda z, forward=forward, arguments=arguments: forward(z, **arguments), z)
        assert relative_error(probe.truth[0], oracle) < 1e-14
        assert probe.cost == pytest.approx(forward(z, **arguments), rel=1e-14)


@pytest.mark.parametrize("problem", OURS)
def test_minikds_own_gradients_are_right_to_rounding(problem):
    for seed in range(10):
        diagnosis = check_gradient(OURS[problem], problem, seed=seed)
        assert diagnosis.right
        assert diagnosis.error < 64 * EPS
        assert diagnosis.mistakes == ()
        assert diagnosis.verdict.startswith("right, to ")


@pytest.mark.parametrize(
    ("of", "problem"),
    [
        (losses.soft_cross_entropy, "soft cross-entropy"),
        (losses.hard_cross_entropy, "hard cross-entropy"),
        (losses.distillation_loss, "distillation"),
        (losses.logit_matching, "logit matching"),
        (minikd_softmax.softmax, "softmax"),
        (minikd_softmax.softmax_backward, "softmax"),
        (minikd_softmax.log_softmax, "log-softmax"),
        (minikd_softmax.log_softmax_backward, "log-softmax"),
        (layers.affine_backward, "affine"),
        (layers.relu_backward, "relu"),
        (layers.dropout_forward, "dropout"),
        (layers.affine_forward, "affine"),
        (layers.relu_forward, "relu"),
        (layers.dropout_backward, "dropout"),
        (optim.momentum_step, "momentum"),
    ],
)
def test_a_problem_may_be_named_by_minikds_function_of_it(of, problem):
    name, function = FIXTURES[problem][0]
    assert check_gradient(function, of).mistakes == (name,)


def test_a_function_of_the_learners_own_may_have_the_name_of_one_of_minikds():
    def softmax(z):
        return np.sin(z)

    assert check_gradient(lambda dout, z: dout * np.cos(z), softmax, z=np.array([[1.0, 2.0]])).right


def test_a_right_gradient_may_come_with_its_cost_or_with_one_that_differs_by_a_constant():
    def divergence(z, v, T):
        p = sm(v / T)
        return (p * (np.log(p) - lsm(z / T))).sum() / len(z), soft(z, v, T)

    assert check_gradient(divergence, "soft cross-entropy")
    assert check_gradient(losses.soft_cross_entropy, "soft cross-entropy")


def test_float32_is_judged_by_its_own_rounding_and_the_verdict_says_so():
    diagnosis = check_gradient(lambda z, v, T: soft(z, v, T).astype(np.float32), "soft cross-entropy")
    assert diagnosis.right
    assert 1e-9 < diagnosis.error < 1e-6
    assert diagnosis.verdict.endswith("(float32)")
    z = np.array([[2.0, -1.0, 0.5]], np.float32)
    assert check_gradient(losses.soft_cross_entropy, "soft cross-entropy", z=z, v=2 * z, T=3.0).right


RIGHT = [name for name in OURS if name != "momentum"]


@pytest.mark.slow
@given(data=st.data(), problem=st.sampled_from(RIGHT), T=strategies.temperatures(1e-2, 1e3))
def test_right_gradients_are_never_called_wrong(data, problem, T):
    z = data.draw(strategies.logits(data.draw(strategies.one_student()), 30.0))
    known = PROBLEMS[problem]
    rng = data.draw(strategies.upstreams())
    sizes = dict(zip("BK", z.shape, strict=True)) | {"D": int(rng.integers(1, 6)), "H": int(rng.integers(1, 6))}
    own = {name: draw(rng, argument, sizes) for name, argument in known.arguments.items()}
    own |= {"z": z, "T": T} if "T" in own else {"z": z} if "z" in own else {}
    if "v" in own:
        own["v"] = data.draw(strategies.logits(z.shape, 30.0))
    assert check_gradient(OURS[problem], problem, **own).right


# ---- what is wrong and has no name gets none -------------------------------------------------------------------------


def random_factor(rng):
    factor = float(rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 3))
    return lambda dz: factor * dz


def noise(rng):
    size, seed = 10 ** rng.uniform(-8, 2), int(rng.integers(2**32))
    return lambda dz: dz + size * np.max(np.abs(dz)) * np.random.default_rng(seed).uniform(-1, 1, dz.shape)


def one_element(rng):
    size, at = 10 ** rng.uniform(-8, 2), int(rng.integers(2**16))

    def change(dz):
        dz = dz.copy()
        dz.flat[at % dz.size] += size * np.max(np.abs(dz))
        return dz

    return change


def random_array(rng):
    seed = int(rng.integers(2**32))
    return lambda dz: np.random.default_rng(seed).standard_normal(dz.shape)


def a_constant_more(rng):
    size = 10 ** rng.uniform(-8, 2)
    return lambda dz: dz + size * np.max(np.abs(dz))


def a_power(rng):
    power = rng.uniform(0.2, 0.8)
    return lambda dz: np.sign(dz) * np.abs(dz) ** power


def rows_moved(rng):
    return lambda dz: np.roll(dz, 1, axis=0)


def rounded(rng):
    return lambda dz: np.round(dz, 3)


SPOILERS = [random_factor, noise, one_element, random_array, a_constant_more, a_power, rows_moved, rounded]
ANOTHER = [  # the gradient of one problem given for another's
    ("soft cross-entropy", lambda z, v: (z - v) / len(z)),
    ("logit matching", lambda z, v: soft(z, v, 2.5)),
    ("high-temperature limit", lambda z, v: soft(z, v, 1.0)),
    ("distillation", lambda z, v, T: soft(z, v, T)),
    ("distillation", lambda z, v: (z - v) / len(z)),
    ("softmax", lambda dq, q, T: dq * (q > q.mean())),
    ("log-softmax", lambda dlog_q, z, T: np.where(z > 0, dlog_q, 0.0)),
    ("relu", lambda dout, x: dout * np.exp(x)),
    ("dropout", lambda dout, x: dout * (x > 0)),
]


def gradients_of(problem, given):
    """minikd's, as a tuple."""
    function = OURS[problem]
    known = inspect.signature(function).parameters
    result = function(**{name: value for name, value in given.items() if name in known})
    if problem in ("soft cross-entropy", "hard cross-entropy", "distillation", "logit matching"):
        result = result[1]
    return result if isinstance(result, tuple) else (result,)


def spoilt(problem, spoil, which):
    """minikd's gradient, one output of it spoilt."""

    def function(**given):
        outputs = list(gradients_of(problem, given))
        outputs[which % len(outputs)] = spoil(outputs[which % len(outputs)])
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return function


def own_arguments(problem, rng):
    """Arguments of any shape, T and size of logits."""
    known = PROBLEMS[problem]
    sizes = {axis: int(rng.integers(1 if axis != "K" else 2, 7)) for axis in "BKDH"}
    own = {name: draw(rng, argument, sizes) for name, argument in known.arguments.items()}
    size = 10 ** rng.uniform(-2, 1.3)
    own |= {name: size * own[name] for name, argument in known.arguments.items() if argument.kind == "logits"}
    return own | ({"T": float(10 ** rng.uniform(-2, 3))} if "T" in own else {})


def diagnose_at_random(rng):
    """A right or a wrong gradient, at random: whether it was right, and what the doctor says."""
    problem = RIGHT[rng.integers(len(RIGHT))]
    own = own_arguments(problem, rng) if rng.random() < 0.5 else {}
    if rng.random() < 0.4:
        return True, check_gradient(OURS[problem], problem, **own)
    spoil = SPOILERS[rng.integers(len(SPOILERS))](rng)
    return False, check_gradient(spoilt(problem, spoil, int(rng.integers(3))), problem, **own)


def count_false_names(count, seed=0):
    """Draw random gradients. Return how many of them were right and wrong, and how often the doctor erred, by error."""
    rng = np.random.default_rng(seed)
    told = {"right": 0, "wrong": 0, "right called wrong": 0, "wrong called right": 0, "named what is not there": 0}
    for _ in range(count):
        right, diagnosis = diagnose_at_random(rng)
        told["right" if right else "wrong"] += 1
        told["right called wrong"] += right and not diagnosis.right
        told["wrong called right"] += diagnosis.right and not right
        told["named what is not there"] += bool(diagnosis.mistakes or diagnosis.alternatives)
    return told


@pytest.mark.slow
def test_no_name_is_false_among_random_gradients():
    told = count_false_names(200)
    assert told["right"] + told["wrong"] == 200
    assert min(told["right"], told["wrong"]) > 50
    assert told["right called wrong"] == told["wrong called right"] == told["named what is not there"] == 0


@pytest.mark.slow
@given(
    rng=strategies.upstreams(),
    problem=st.sampled_from(list(OURS)),
    spoiler=st.sampled_from(SPOILERS),
    which=st.integers(0, 2),
)
def test_wrong_gradients_are_never_called_right_nor_given_a_name(rng, problem, spoiler, which):
    if problem == "momentum":

        def function(parameters, velocity, gradient, learning_rate, momentum):
            optim.momentum_step(parameters, velocity, gradient, learning_rate=learning_rate, momentum=momentum)
            return spoil(parameters), velocity

        spoil = spoiler(rng)
    else:
        function = spoilt(problem, spoiler(rng), which)
    diagnosis = check_gradient(function, problem)
    assert not diagnosis.right
    assert diagnosis.mistakes == ()
    assert diagnosis.alternatives == ()
    assert diagnosis.verdict.startswith(("wrong, in a way that I do not know, worst at ", "wrong, but only by "))


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "function"), ANOTHER)
def test_the_gradient_of_another_problem_gets_no_name(problem, function):
    for seed in range(3):
        diagnosis = check_gradient(function, problem, seed=seed)
        assert not diagnosis.right
        assert diagnosis.mistakes == ()


if __name__ == "__main__":  # PYTHONPATH=. python tests/test_doctor_right.py 10000
    print(count_false_names(int(sys.argv[1])))
