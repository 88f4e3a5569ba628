"""The gradient doctor names every mistake that it knows, by hand and in pairs."""

from itertools import combinations

import numpy as np
import pytest
from learners import FIXTURES, SOFT, affine, back, hard, hot, lsm, mistakes_of, row_sums, sm, soft, step
from oracles import relative_error

from minikd.core import losses
from minikd.doctor import check_gradient
from minikd.doctor.cases import case_of
from minikd.doctor.problem import Made
from minikd.doctor.problems import PROBLEMS
from minikd.doctor.problems.own import OWN, case_of_own
from minikd.doctor.words import SHARED, why, words

EACH = [(problem, name, function) for problem, fixtures in FIXTURES.items() for name, function in fixtures]


@pytest.mark.parametrize(
    ("problem", "name", "function"), EACH, ids=[f"{problem}: {name} {i}" for i, (problem, name, _) in enumerate(EACH)]
)
def test_every_mistake_is_named(problem, name, function):
    for seed in (0, 1):
        diagnosis = check_gradient(function, problem, seed=seed)
        assert not diagnosis
        assert diagnosis.mistakes == (name,)
        assert diagnosis.alternatives == ()
        assert diagnosis.verdict == f"wrong: {name}"
        assert any(line.startswith(f"{name}: ") for line in diagnosis.details)


def test_the_fixtures_make_every_mistake_of_the_catalogue_in_each_of_its_ways():
    for name, problem in PROBLEMS.items():
        known = sorted(mistake.name for mistake in mistakes_of(problem))
        assert sorted(mistake for mistake, _ in FIXTURES[name]) == known


OF_OWN = {"x": np.ones((4, 5)), "b": np.ones(5), "T": 2.0}


def test_the_page_of_mistakes_says_why_for_each_and_holds_no_other():
    used = {(OWN, mistake.name) for mistake in case_of_own(lambda x, b, T: x / T + b, 0, "b", OF_OWN).mistakes}
    used |= {(name, mistake.name) for name, problem in PROBLEMS.items() for mistake in mistakes_of(problem)}
    for problem, name in used:
        assert why(problem, name).endswith((".", "?"))
    shared = {(SHARED, name) for problem, name in used if name not in words()[problem]}
    assert {(section, name) for section, rows in words().items() for name in rows} == shared | {
        (problem, name) for problem, name in used if name in words()[problem]
    }


def test_a_mistake_is_named_at_the_learners_own_arguments_too():
    z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    diagnosis = check_gradient(SOFT[0][1], "soft cross-entropy", z=z, v=v, T=8.0)
    assert diagnosis.mistakes == ("missing 1/T",)
    assert relative_error(diagnosis.truth, losses.soft_cross_entropy(z, v=v, T=8.0)[1]) < 1e-14
    assert relative_error(diagnosis.yours, 8 * diagnosis.truth) < 1e-14


# ---- two mistakes at once --------------------------------------------------------------------------------------------


def by_recipe(problem, made):
    """A learner who makes those mistakes, by the doctor's own recipe."""
    names = [*problem.arguments, *problem.upstream]

    def function(**offered):
        outputs = problem.recipe(Made(made), **{name: offered[name] for name in names})
        return outputs if len(outputs) > 1 else outputs[0]

    return function


def fresh(problem):
    """Arguments of shapes and numbers that the doctor with seed 0 never saw."""
    return [probe.given for probe in case_of(problem, 12345).probes]


def outputs_at(problem, made, arguments):
    try:
        with np.errstate(all="ignore"):
            return problem.recipe(Made(made), **arguments)
    except ValueError:  # shapes that do not fit
        return None


def same_numbers(problem, some, others, places):
    for arguments in places:
        a, b = (outputs_at(problem, made, arguments) for made in (some, others))
        if (a is None) != (b is None):
            return False
        for x, y in zip(a or (), b or (), strict=True):
            if np.array_equal(x, y, equal_nan=True):  # also where both overflow
                continue
            with np.errstate(all="ignore"):
                if x.shape != y.shape or not np.max(np.abs(x - y)) <= 1e-12 * np.max(np.abs(y), initial=1e-300):
                    return False
    return True


def ways(problem, names):
    """Every set of mistakes that goes by those names."""
    sets = [()]
    for name in names:
        sets = [(*made, m) for made in sets for m in mistakes_of(problem) if m.name == name]
    return sets


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=lambda problem: problem.name)
def test_any_two_mistakes_are_named_or_two_that_are_the_same_in_numbers(problem):
    places, planted, named = fresh(problem), 0, 0
    for pair in combinations(mistakes_of(problem), 2):
        if pair[0].place == pair[1].place:
            continue
        diagnosis = check_gradient(by_recipe(problem, pair), problem.name)
        if diagnosis:
            assert same_numbers(problem, pair, (), places)  # one undoes the other
            continue
        explanations = [diagnosis.mistakes, *diagnosis.alternatives]
        if diagnosis.mistakes[0].endswith(("is zero everywhere", "is not finite")):  # nothing is left to tell them by
            assert not np.all(np.isfinite(diagnosis.yours) & (diagnosis.yours != 0))
            continue
        for names in explanations:
            assert any(same_numbers(problem, pair, made, places) for made in ways(problem, names)), (pair, names)
        if len(diagnosis.mistakes) == 2:
            planted += 1
            named += tuple(mistake.name for mistake in pair) in explanations
        else:
            assert len(diagnosis.mistakes) == 1  # one of them hides the other, or both together are a third
    assert planted > 10
    assert named == planted


TOGETHER = [
    ("soft cross-entropy", ("missing 1/T", "T forgotten in both softmaxes"), lambda z, v, T: (sm(z) - sm(v)) / len(z)),
    (
        "soft cross-entropy",
        ("missing 1/T", "mean over the batch forgotten", "T forgotten in both softmaxes"),
        lambda z, v, T: sm(z) - sm(v),
    ),
    (
        "soft cross-entropy",
        ("missing 1/T", "q and p swapped", "mean over the batch forgotten"),
        lambda z, v, T: sm(v / T) - sm(z / T),
    ),
    (
        "soft cross-entropy",
        ("missing 1/T", "mean over the batch forgotten", "T only on the student"),
        lambda z, v, T: sm(z / T) - sm(v),
    ),
    (
        "soft cross-entropy",
        ("1/T twice", "T forgotten in both softmaxes"),
        lambda z, v, T: (sm(z) / T - sm(v) / T) / T / len(z),
    ),
    (
        "soft cross-entropy",
        ("log p where p belongs", "log q where q belongs"),
        lambda z, v, T: (lsm(z / T) - lsm(v / T)) / T / len(z),
    ),
    (
        "soft cross-entropy",
        ("mean over the batch forgotten", "mean over classes instead of sum"),  # K for B
        lambda z, v, T: (sm(z / T) - sm(v / T)) / T / z.shape[1],
    ),
    ("hard cross-entropy", ("sign", "mean over the batch forgotten"), lambda z, y: hot(y, z) - sm(z)),
    ("hard cross-entropy", ("label not subtracted", "mean over the batch forgotten"), lambda z, y: sm(z)),
    (
        "hard cross-entropy",
        ("mean over the batch forgotten", "exponentials not divided by their sum"),
        lambda z, y: np.exp(z) - hot(y, z),
    ),
    (
        "distillation",
        ("missing T²", "T forgotten in both softmaxes"),
        lambda z, v, y, T, alpha: alpha * (sm(z) - sm(v)) / T / len(z) + (1 - alpha) * hard(z, y),
    ),
    (
        "distillation",
        ("missing T²", "alpha and 1 − alpha swapped"),
        lambda z, v, y, T, alpha: (1 - alpha) * soft(z, v, T) + alpha * hard(z, y),
    ),
    (
        "distillation",
        ("missing T²", "T² on the hard part too"),
        lambda z, v, y, T, alpha: alpha * soft(z, v, T) + (1 - alpha) * T**2 * hard(z, y),
    ),
    ("logit matching", ("factor 2", "mean over the batch forgotten"), lambda z, v: 2 * (z - v)),
    ("logit matching", ("sign", "factor 2", "mean over the batch forgotten"), lambda z, v: 2 * (v - z)),
    (
        "high-temperature limit",
        ("right only for zero-mean logits", "missing 1/K", "missing 1/T²"),
        lambda z, v, T: (z - v) / len(z),
    ),
    ("softmax", ("missing 1/T", "only the diagonal q(1 − q)"), lambda dq, q, T: dq * q * (1 - q)),
    ("softmax", ("missing 1/T", "sign"), lambda dq, q, T: -back(q, dq)),
    (
        "log-softmax",
        ("missing 1/T", "the sum weighted by q"),
        lambda dlog_q, z, T: dlog_q - sm(z / T) * row_sums(sm(z / T) * dlog_q),
    ),
    (
        "affine",
        ("dW averaged over the batch", "db averaged over the batch"),
        lambda dout, x, W, b: (dout @ W.T, x.T @ dout / len(x), dout.mean(0)),
    ),
    ("relu", ("missing ReLU mask", "sign"), lambda dout, x: -dout),
    ("dropout", ("scaled by 1/drop", "dropout mask inverted"), lambda dout, keep, drop: dout * ~keep / drop),
    ("dropout", ("dropout scale forgotten", "missing dropout mask"), lambda dout, keep, drop: +dout),
    (
        "momentum",
        ("sign of the gradient", "1 − momentum on the gradient"),
        step(lambda v, g, rate, mu: mu * v + (1 - mu) * rate * g),
    ),
    (
        "momentum",
        ("sign of the step", "the old velocity returned"),
        lambda parameters, velocity, gradient, learning_rate, momentum: (
            parameters - momentum * velocity + learning_rate * gradient,
            velocity,
        ),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "names", "function"), TOGETHER, ids=lambda value: None if callable(value) else str(value)
)
def test_natural_mistakes_made_together_are_all_named(problem, names, function):
    for seed in (0, 1):
        diagnosis = check_gradient(function, problem, seed=seed)
        assert diagnosis.mistakes == names
        assert diagnosis.alternatives == ()


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0)])
def test_gradients_in_another_order_are_told(order):
    def function(dout, x, W, b):
        gradients = affine(dout, x, W)
        return tuple(gradients[i] for i in order)

    diagnosis = check_gradient(function, "affine")
    assert diagnosis.verdict == "wrong: the gradients in another order"
    names = ", ".join(("dx", "dW", "db")[i] for i in order)
    assert diagnosis.details[0] == f"Return (dx, dW, db); yours are ({names})."


def test_a_step_that_returns_the_velocity_first_is_told():
    def function(parameters, velocity, gradient, learning_rate, momentum):
        velocity = momentum * velocity - learning_rate * gradient
        return velocity, parameters + velocity

    assert check_gradient(function, "momentum").mistakes == ("the gradients in another order",)


def test_two_mistakes_made_by_hand_are_both_named():
    without_sum_or_q = check_gradient(lambda dq, T: dq / T, "softmax")
    assert without_sum_or_q.verdict == "wrong: the sum forgotten; and q forgotten"
    assert without_sum_or_q.mistakes == ("the sum forgotten", "q forgotten")
    transposed = check_gradient(lambda dout, x, W, b: (dout @ W, dout.T @ x, dout.sum(0)), "affine")
    assert transposed.mistakes == ("W not transposed in dx", "dW transposed")
    assert "right: db" in transposed.details
