"""E2 to E7: every cost, its gradient, and the limit of high temperatures."""

import inspect
import math
import re

import numpy as np
import pytest
import strategies
import strict_cupy
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import (
    EPS,
    central_difference,
    complex_step,
    dtypes,
    line_integral,
    naive_distillation,
    naive_entropy,
    naive_hard_cross_entropy,
    naive_log_softmax,
    naive_logit_matching,
    naive_soft_cross_entropy,
    naive_softmax,
    purely,
    relative_error,
    spread,
)

from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy
from minikd.engines import readable
from minikd.engines.engine import Batch, State
from minikd.training.loop import train_step

CLASSES = [2, 3, 10, 100]
TEMPERATURES = [0.1, 0.5, 1.0, 2.5, 8.0, 20.0, 100.0, 1000.0]


def student_teacher_labels(K, B=4, seed=0, population=()):
    """Logits of ordinary size, and labels."""
    rng = np.random.default_rng([seed, K])
    shape = (*population, B, K)
    return 2 * rng.standard_normal(shape), 2 * rng.standard_normal(shape), rng.integers(0, K, shape[:-1])


def permitted(T):
    """What float64 permits a soft gradient, relative to its largest element.

    q and p carry some ten EPS each, of their own size, about 1/K at high T; and q − p is there of the size of
    |z − v|/(K T). So the relative error grows as T EPS / |z − v|: 1e-13 at T = 1 and below, 1e-10 at T = 1000, no
    matter how the gradient is computed. A gradient of zero is wrong by 1.
    """
    return 1e-13 * max(1.0, T)


# ---- gradients against the textbook ----------------------------------------------------------------------------------


@pytest.mark.derivation("D2.2", "D2.4", "D2.5")
@pytest.mark.parametrize("K", CLASSES)
@pytest.mark.parametrize("T", TEMPERATURES)
def test_soft_cross_entropy_and_its_gradient_are_the_textbooks(K, T):
    z, v, _ = student_teacher_labels(K)
    C, dz = soft_cross_entropy(z, v=v, T=T)
    assert pytest.approx(naive_soft_cross_entropy(z, v, T), rel=1e-13) == C
    assert relative_error(dz, complex_step(lambda z: naive_soft_cross_entropy(z, v, T), z)) < permitted(T)


@pytest.mark.derivation("D2.6")
@pytest.mark.parametrize("K", CLASSES)
def test_hard_cross_entropy_and_its_gradient_are_the_textbooks(K):
    z, _, y = student_teacher_labels(K)
    C, dz = hard_cross_entropy(z, y=y)
    assert pytest.approx(naive_hard_cross_entropy(z, y), rel=1e-13) == C
    assert relative_error(dz, complex_step(lambda z: naive_hard_cross_entropy(z, y), z)) < 1e-13


@pytest.mark.derivation("D5.1", "D5.2")
@pytest.mark.parametrize("K", CLASSES)
@pytest.mark.parametrize("T", TEMPERATURES)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 1.0])
def test_distillation_loss_and_its_gradient_are_the_textbooks(K, T, alpha):
    z, v, y = student_teacher_labels(K)
    C, dz = distillation_loss(z, v=v, y=y, T=T, alpha=alpha)
    assert pytest.approx(naive_distillation(z, v, y, T, alpha), rel=1e-12) == C
    oracle = complex_step(lambda z: naive_distillation(z, v, y, T, alpha), z)
    assert relative_error(dz, oracle) < permitted(T)


@pytest.mark.parametrize("K", CLASSES)
def test_logit_matching_and_its_gradient_are_the_textbooks(K):
    z, v, _ = student_teacher_labels(K)
    C, dz = logit_matching(z, v=v)
    assert pytest.approx(naive_logit_matching(z, v), rel=1e-13) == C
    assert relative_error(dz, complex_step(lambda z: naive_logit_matching(z, v), z)) < 1e-13


@given(zv=strategies.students_and_teachers(strategies.one_student()), T=strategies.temperatures(0.1, 1e3))
def test_soft_gradient_is_the_textbooks_for_any_logits(zv, T):
    z, v = zv
    _, dz = soft_cross_entropy(z, v=v, T=T)
    oracle = complex_step(lambda z: naive_soft_cross_entropy(z, v, T), z)
    # The rounding of z/T and v/T, which exp makes a factor of q and p, both at most 1
    rounding = 32 * EPS * (1 + max(np.abs(z).max(), np.abs(v).max()) / T) / T
    largest_probability = max(naive_softmax(z, T).max(), naive_softmax(v, T).max())
    assert np.all(np.abs(dz - oracle) <= rounding * largest_probability / len(z))


@given(data=st.data(), z=strategies.students(strategies.one_student()))
def test_hard_gradient_is_the_textbooks_for_any_logits(data, z):
    y = data.draw(strategies.labels(z))
    C, dz = hard_cross_entropy(z, y=y)
    oracle = complex_step(lambda z: naive_hard_cross_entropy(z, y), z)
    assert np.all(np.abs(dz - oracle) <= 32 * EPS * (1 + np.abs(z).max()) / len(z))
    assert abs(C - naive_hard_cross_entropy(z, y)) <= 32 * EPS * (1 + np.abs(z).max())


@pytest.mark.derivation("D2.3", "D2.4")
@pytest.mark.parametrize("T", TEMPERATURES)
def test_soft_gradient_is_equation_E2(T):
    z, v, _ = student_teacher_labels(10)
    _, dz = soft_cross_entropy(z, v=v, T=T)
    assert relative_error(dz, (naive_softmax(z, T) - naive_softmax(v, T)) / T / len(z)) < permitted(T)


@pytest.mark.derivation("D2.1")
@pytest.mark.parametrize("T", TEMPERATURES)
def test_soft_cost_is_the_cross_entropy_of_the_two_distributions(T):
    """From the probabilities, as the definition has it, not from logits."""
    z, v, _ = student_teacher_labels(10)
    cost = -np.sum(naive_softmax(v, T) * naive_log_softmax(z, T)) / len(z)
    assert soft_cross_entropy(z, v=v, T=T)[0] == pytest.approx(cost, rel=1e-12)


@pytest.mark.derivation("D2.8")
@pytest.mark.parametrize("T", TEMPERATURES)
def test_soft_gradient_is_that_of_the_divergence_too(T):
    z, v, _ = student_teacher_labels(10)
    p = naive_softmax(v, T)
    oracle = complex_step(lambda z: np.sum(p * (np.log(p) - naive_log_softmax(z, T))) / len(z), z)
    assert relative_error(soft_cross_entropy(z, v=v, T=T)[1], oracle) < permitted(T)


@pytest.mark.derivation("D2.10")
@given(
    zv=strategies.students_and_teachers(strategies.one_student(), size=10.0),
    T=strategies.temperatures(0.5, 100),
    rng=strategies.upstreams(),
)
def test_the_curvature_of_the_soft_cost_is_a_variance(zv, T, rng):
    """So the cost has one valley: the slope along any line never falls."""
    z, v = zv
    u = rng.standard_normal(z.shape)
    h = 1e-4 * T  # the third derivative is at most 0.1 of (spread of u)³/T³, so differences err by h² of that
    ahead, behind = (soft_cross_entropy(z + step * u, v=v, T=T)[1] for step in (h, -h))
    curvature = np.sum(u * (ahead - behind), axis=-1) * len(z) / (2 * h)
    q = naive_softmax(z, T)
    variance = np.sum(q * u**2, axis=-1) - np.sum(q * u, axis=-1) ** 2
    rounding = 32 * EPS * (1 + np.abs(z).max() / T) * np.abs(u).sum(axis=-1) / (T * h)
    assert np.all(np.abs(curvature - variance / T**2) <= h**2 * (spread(u) / T) ** 4 + rounding)
    assert np.all(curvature >= -rounding)


# ---- populations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("population", [(1,), (3,), (2, 3)])
def test_each_student_of_a_population_has_the_textbooks_gradient(population):
    z, v, y = student_teacher_labels(10, population=population)
    S = math.prod(population)
    T = np.geomspace(0.5, 20, S).reshape(*population, 1, 1)
    alpha = np.linspace(0.2, 0.9, S).reshape(*population, 1, 1)
    cases = [
        (soft_cross_entropy(z, v=v, T=T), naive_soft_cross_entropy, (v, T[..., 0, 0])),
        (hard_cross_entropy(z, y=y), naive_hard_cross_entropy, (y,)),
        (logit_matching(z, v=v), naive_logit_matching, (v,)),
        (distillation_loss(z, v=v, y=y, T=T, alpha=alpha), naive_distillation, (v, y, T[..., 0, 0], alpha[..., 0, 0])),
    ]
    for (C, dz), naive, targets in cases:
        assert C.shape == population
        for s in np.ndindex(population):
            own = [target[s] for target in targets]
            assert C[s] == pytest.approx(naive(z[s], *own), rel=1e-12)
            assert relative_error(dz[s], complex_step(lambda z, own=own, naive=naive: naive(z, *own), z[s])) < 1e-11


def test_students_share_a_teacher_and_labels_that_have_no_leading_axis():
    z, v, y = student_teacher_labels(5, population=(3,))
    T = np.array([1.0, 4.0, 20.0]).reshape(3, 1, 1)
    shared = distillation_loss(z, v=v[0], y=y[0], T=T, alpha=0.7)
    given_each = distillation_loss(z, v=np.stack([v[0]] * 3), y=np.stack([y[0]] * 3), T=T, alpha=0.7)
    for a, b in zip(shared, given_each, strict=True):
        np.testing.assert_array_equal(a, b)
    for s, t in enumerate([1.0, 4.0, 20.0]):
        C, dz = distillation_loss(z[s], v=v[0], y=y[0], T=t, alpha=0.7)
        assert shared[0][s] == pytest.approx(C, rel=1e-14)
        assert relative_error(shared[1][s], dz) < 1e-14


def test_alpha_of_a_population_weighs_each_student_by_its_own():
    z, v, y = student_teacher_labels(10, population=(4,))
    alphas = [0.0, 0.25, 0.9, 1.0]
    C, dz = distillation_loss(z, v=v, y=y, T=3.0, alpha=np.array(alphas).reshape(4, 1, 1))
    for s, alpha in enumerate(alphas):
        C_alone, dz_alone = distillation_loss(z[s], v=v[s], y=y[s], T=3.0, alpha=alpha)
        assert C[s] == pytest.approx(C_alone, rel=1e-14)
        assert relative_error(dz[s], dz_alone) < 1e-14


# ---- sums over classes, means over cases -----------------------------------------------------------------------------


def costs(K, T=4.0):
    """Every cost as a function of (z, v, y), by name."""
    return {
        "soft": lambda z, v, y: soft_cross_entropy(z, v=v, T=T),
        "hard": lambda z, v, y: hard_cross_entropy(z, y=y),
        "distillation": lambda z, v, y: distillation_loss(z, v=v, y=y, T=T, alpha=0.6),
        "logit matching": lambda z, v, y: logit_matching(z, v=v),
    }


@pytest.fixture(params=costs(10))
def cost(request):
    return costs(10)[request.param]


@pytest.mark.derivation("D2.5")
@pytest.mark.parametrize("K", [10, 100])
def test_duplicating_the_batch_leaves_the_cost_and_halves_each_gradient(cost, K):
    z, v, y = student_teacher_labels(K)
    C, dz = cost(z, v, y)
    C_twice, dz_twice = cost(*(np.concatenate([a, a]) for a in (z, v, y)))
    assert C_twice == pytest.approx(C, rel=1e-14)
    assert relative_error(dz_twice, np.concatenate([dz, dz]) / 2) < 1e-15
    assert C > 0


@pytest.mark.parametrize("K", [10, 100])
def test_costs_sum_over_classes(K):
    """A student who knows nothing pays log K, not log K / K, and its gradient does not shrink by K."""
    z = np.zeros((3, K))
    v = np.zeros((3, K))
    v[:, 0] = 1e4  # all on one class
    for C, dz in (soft_cross_entropy(z, v=v, T=1.0), hard_cross_entropy(z, y=np.zeros(3, int))):
        assert pytest.approx(math.log(K), rel=1e-14) == C
        assert dz[0, 0] == pytest.approx((1 / K - 1) / 3, rel=1e-14)
        assert dz[0, 1] == pytest.approx(1 / K / 3, rel=1e-14)
    C, dz = logit_matching(z, v=z + 2)
    assert pytest.approx(2 * K, rel=1e-14) == C
    np.testing.assert_allclose(dz, -2 / 3, rtol=1e-14)


@pytest.mark.derivation("D2.5")
def test_the_cost_of_a_batch_is_the_mean_of_its_cases(cost):
    z, v, y = student_teacher_labels(10)
    C, dz = cost(z, v, y)
    alone = [cost(z[b : b + 1], v[b : b + 1], y[b : b + 1]) for b in range(4)]
    assert pytest.approx(np.mean([C for C, _ in alone]), rel=1e-14) == C
    assert relative_error(dz, np.concatenate([dz for _, dz in alone]) / 4) < 1e-14


# ---- T² --------------------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D5.1")
@pytest.mark.parametrize("T", TEMPERATURES)
def test_the_soft_part_carries_T_squared_just_once(T):
    z, v, _ = student_teacher_labels(10)
    C, dz = distillation_loss(z, v=v, T=T, alpha=1.0)
    C_soft, dz_soft = soft_cross_entropy(z, v=v, T=T)
    assert pytest.approx(T * T * C_soft, rel=1e-15) == C
    assert relative_error(dz, T * T * dz_soft) < 1e-15


@pytest.mark.derivation("D5.3")
def test_soft_gradients_scale_as_1_over_T_squared_and_T_squared_undoes_it():
    """E6: asymptotically. From T = 100 to 1000 the bare gradient falls by 100, the balanced one by next to nothing."""
    z, v, _ = student_teacher_labels(10)
    bare = [np.linalg.norm(soft_cross_entropy(z, v=v, T=T)[1]) for T in (100.0, 1000.0)]
    balanced = [np.linalg.norm(distillation_loss(z, v=v, T=T, alpha=1.0)[1]) for T in (100.0, 1000.0)]
    assert bare[0] / bare[1] == pytest.approx(100, rel=0.05)
    assert balanced[0] / balanced[1] == pytest.approx(1, rel=0.05)
    cold = np.linalg.norm(distillation_loss(z, v=v, T=0.5, alpha=1.0)[1])
    assert cold < 0.8 * balanced[1]  # not exact: at low T the balance is lost


@pytest.mark.derivation("D5.2")
@pytest.mark.parametrize("T", [0.5, 20.0])
def test_hard_targets_enter_at_T_1_whatever_T_is(T):
    z, v, y = student_teacher_labels(10)
    C, dz = distillation_loss(z, v=v, y=y, T=T, alpha=0.4)
    C_soft, dz_soft = distillation_loss(z, v=v, T=T, alpha=1.0)
    C_hard, dz_hard = hard_cross_entropy(z, y=y)
    assert pytest.approx(0.6 * C_hard, rel=1e-9) == C - 0.4 * C_soft
    assert relative_error(dz - 0.4 * dz_soft, 0.6 * dz_hard) < 1e-12


# ---- which side is which ---------------------------------------------------------------------------------------------


@pytest.mark.derivation("D2.9")
@given(zv=strategies.students_and_teachers(), T=strategies.temperatures(0.1, 1e6))
def test_soft_cost_is_at_least_the_teachers_entropy(zv, T):
    z, v = zv
    C, _ = soft_cross_entropy(z, v=v, T=T)
    H = naive_entropy(naive_softmax(v, T)).mean(axis=-1)
    assert C.shape == H.shape
    assert np.all(H - 32 * EPS * (1 + C + np.abs(v).max() / T) <= C)


@pytest.mark.derivation("D2.9")
@given(v=strategies.students(), T=strategies.temperatures(0.1, 1e3), constant=st.floats(-10, 10))
def test_soft_cost_reaches_the_teachers_entropy_at_z_equal_v_plus_a_constant(v, T, constant):
    C, dz = soft_cross_entropy(v + constant, v=v, T=T)
    H = naive_entropy(naive_softmax(v, T)).mean(axis=-1)
    rounding = 32 * EPS * (1 + (np.abs(v).max() + abs(constant)) / T)
    assert np.all(np.abs(C - H) <= rounding * (1 + H))
    assert np.all(np.abs(dz) <= rounding / T)


@pytest.mark.derivation("D2.7")
@pytest.mark.parametrize("T", TEMPERATURES)
def test_soft_cost_exceeds_the_teachers_entropy_elsewhere(T):
    """By the divergence of q from p, Σ p log(p/q), summed here without a difference of large numbers."""
    z, v, _ = student_teacher_labels(10)
    p, q = naive_softmax(v, T), naive_softmax(z, T)
    divergence = np.sum(p * np.log(p / q), axis=-1).mean()
    assert divergence > 0
    excess = soft_cross_entropy(z, v=v, T=T)[0] - naive_entropy(p).mean()
    assert excess == pytest.approx(divergence, abs=1e-14 * (1 + 20 / T))
    assert excess > 0


@pytest.mark.derivation("D2.11")
@given(zv=strategies.students_and_teachers(strategies.one_student(), size=10.0), T=strategies.temperatures(1.0, 1e3))
def test_soft_gradient_is_not_zero_and_points_uphill_whenever_z_minus_v_is_not_constant(zv, T):
    """Σ dz (z − v) > 0 for each case: a step against dz brings the student to the teacher."""
    z, v = zv
    _, dz = soft_cross_entropy(z, v=v, T=T)
    differs = spread(z - v) / T > 1e-6  # above the rounding of q − p
    assume(np.any(differs))
    assert np.all(np.abs(dz).max(axis=-1)[differs] > 0)
    assert np.all(np.sum(dz * (z - v), axis=-1)[differs] > 0)


def test_teacher_and_student_are_not_interchangeable():
    z, v, _ = student_teacher_labels(3)
    C, dz = soft_cross_entropy(z, v=v, T=2.0)
    C_swapped, dz_swapped = soft_cross_entropy(v, v=z, T=2.0)
    assert abs(C - C_swapped) > 0.1
    assert relative_error(dz, -dz_swapped) < 1e-14  # a swap turns the gradient round: training would go uphill


@pytest.mark.parametrize("function", [soft_cross_entropy, hard_cross_entropy, distillation_loss, logit_matching])
def test_targets_are_keyword_only(function):
    z, v, y = student_teacher_labels(3)
    target = y if function is hard_cross_entropy else v
    with pytest.raises(TypeError, match="takes 1 positional argument"):
        function(z, target)
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    assert kinds[1:] == [inspect.Parameter.KEYWORD_ONLY] * (len(kinds) - 1)


def test_T_softens_both_sides():
    z, v, _ = student_teacher_labels(10)
    T = 5.0
    C, dz = soft_cross_entropy(z, v=v, T=T)
    C_scaled, dz_scaled = soft_cross_entropy(z / T, v=v / T, T=1.0)
    assert pytest.approx(C_scaled, rel=1e-14) == C
    assert relative_error(dz, dz_scaled / T) < 1e-13


# ---- the ends of alpha -----------------------------------------------------------------------------------------------


def test_alpha_0_is_the_hard_cost_and_needs_no_teacher():
    z, v, y = student_teacher_labels(10)
    for targets in ({"y": y}, {"y": y, "v": v, "T": 20.0}):
        for a, b in zip(distillation_loss(z, alpha=0.0, **targets), hard_cross_entropy(z, y=y), strict=True):
            np.testing.assert_array_equal(a, b)


def test_alpha_1_is_the_soft_cost_and_needs_no_labels():
    z, v, y = student_teacher_labels(10)
    without, with_labels = (distillation_loss(z, v=v, T=2.0, alpha=1.0, **labels) for labels in ({}, {"y": y}))
    for a, b, soft in zip(without, with_labels, soft_cross_entropy(z, v=v, T=2.0), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, 4.0 * soft)


@pytest.mark.parametrize("alpha", [0.1, 0.9, 1.0, "array"])
def test_a_missing_teacher_is_refused(alpha):
    z, _, y = student_teacher_labels(3, population=(2,))
    alpha = np.array([0.0, 0.5]).reshape(2, 1, 1) if alpha == "array" else alpha
    with pytest.raises(ValueError, match=r"gives weight to soft targets, but v is None: pass v, or alpha=0\.0"):
        distillation_loss(z, y=y, T=2.0, alpha=alpha)


@pytest.mark.parametrize("alpha", [0.0, 0.9, "array"])
def test_missing_labels_are_refused(alpha):
    z, v, _ = student_teacher_labels(3, population=(2,))
    alpha = np.array([0.5, 1.0]).reshape(2, 1, 1) if alpha == "array" else alpha
    with pytest.raises(ValueError, match=r"gives weight to hard targets, but y is None: pass y, or alpha=1\.0"):
        distillation_loss(z, v=v, T=2.0, alpha=alpha)


# ---- the cost is the antiderivative of the gradient ------------------------------------------------------------------


def test_the_cost_is_the_line_integral_of_its_gradient(cost):
    z, v, y = student_teacher_labels(10)
    elsewhere = student_teacher_labels(10, seed=1)[0]
    rise = cost(elsewhere, v, y)[0] - cost(z, v, y)[0]
    assert abs(rise) > 0.01
    assert line_integral(lambda z: cost(z, v, y)[1], z, elsewhere) == pytest.approx(rise, rel=1e-11)


def test_the_gradient_is_the_difference_of_its_own_cost(cost):
    z, v, y = student_teacher_labels(10, B=2)
    assert relative_error(cost(z, v, y)[1], central_difference(lambda z: cost(z, v, y)[0], z)) < 1e-7


# ---- symmetries ------------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D2.6")
@pytest.mark.parametrize("K", CLASSES)
def test_hard_targets_are_soft_targets_all_on_one_class(K):
    z, _, y = student_teacher_labels(K)
    on_one_class = np.where(np.arange(K) == y[:, None], 1e4, 0.0)
    C, dz = hard_cross_entropy(z, y=y)
    C_soft, dz_soft = soft_cross_entropy(z, v=on_one_class, T=1.0)
    assert pytest.approx(C_soft, rel=1e-15) == C
    assert relative_error(dz, dz_soft) < 1e-15


def test_permuting_the_classes_permutes_the_gradient(cost):
    z, v, y = student_teacher_labels(10)
    order = np.random.default_rng(3).permutation(10)
    C, dz = cost(z, v, y)
    C_permuted, dz_permuted = cost(z[:, order], v[:, order], np.argsort(order)[y])
    assert C_permuted == pytest.approx(C, rel=1e-14)
    assert relative_error(dz_permuted, dz[:, order]) < 1e-13
    assert relative_error(dz_permuted, dz) > 0.1


@given(
    data=st.data(),
    zv=strategies.students_and_teachers(),
    T=strategies.temperatures(),
    alpha=st.floats(0, 1),
)
def test_gradients_of_each_case_sum_to_zero(data, zv, T, alpha):
    z, v = zv
    y = data.draw(strategies.labels(z))
    _, dz_soft = soft_cross_entropy(z, v=v, T=T)
    _, dz_hard = hard_cross_entropy(z, y=y)
    _, dz_both = distillation_loss(z, v=v, y=y, T=T, alpha=alpha)
    for dz, largest in ((dz_soft, 1 / T), (dz_hard, 1.0), (dz_both, 1 + T)):
        assert np.all(np.abs(dz.sum(axis=-1)) <= 64 * EPS * largest)
    assert np.any(dz_hard != 0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_labels_of_every_integer_dtype_mean_the_same(dtype):
    """Also with more classes than the dtype can number."""
    z = np.random.default_rng(0).standard_normal((3, 300))
    y = np.array([0, 7, 127])
    C, dz = hard_cross_entropy(z, y=y.astype(dtype))
    assert pytest.approx(naive_hard_cross_entropy(z, y), rel=1e-13) == C
    assert [int(np.argmin(row)) for row in dz] == [0, 7, 127]


@given(
    data=st.data(),
    zv=strategies.students_and_teachers(),
    T=strategies.temperatures(0.1, 1e3),
    constants=st.tuples(st.floats(-10, 10), st.floats(-10, 10)),
)
def test_a_constant_on_all_logits_of_student_or_teacher_changes_no_gradient(data, zv, T, constants):
    z, v = zv
    y = data.draw(strategies.labels(z))
    _, dz = distillation_loss(z, v=v, y=y, T=T, alpha=0.5)
    _, dz_shifted = distillation_loss(z + constants[0], v=v + constants[1], y=y, T=T, alpha=0.5)
    rounding = 64 * EPS * (10 + max(np.abs(z).max(), np.abs(v).max()))  # of z + c, relative; T² (1/T) (1/T) of it
    assert np.all(np.abs(dz_shifted - dz) <= rounding * (1 + T))
    assert np.any(dz != 0)


@given(data=st.data(), zv=strategies.students_and_teachers(), T=strategies.temperatures())
def test_a_batch_twice_over_costs_the_same_for_any_logits(data, zv, T):
    z, v = zv
    y = data.draw(strategies.labels(z))
    C, dz = distillation_loss(z, v=v, y=y, T=T, alpha=0.5)
    z2, v2, y2 = np.concatenate([z, z], axis=-2), np.concatenate([v, v], axis=-2), np.concatenate([y, y], axis=-1)
    C_twice, dz_twice = distillation_loss(z2, v=v2, y=y2, T=T, alpha=0.5)
    np.testing.assert_allclose(C_twice, C, rtol=8 * EPS)
    np.testing.assert_allclose(dz_twice, np.concatenate([dz, dz], axis=-2) / 2, rtol=8 * EPS, atol=1e-300)
    assert np.all(C >= 0)  # zero where a T far below 1 leaves all of p and q on one class


@given(data=st.data(), zv=strategies.students_and_teachers(), T=strategies.temperatures())
def test_permuting_the_classes_permutes_any_gradient(data, zv, T):
    z, v = zv
    order = np.array(data.draw(st.permutations(range(z.shape[-1]))))
    C, dz = soft_cross_entropy(z, v=v, T=T)
    C_permuted, dz_permuted = soft_cross_entropy(z[..., order], v=v[..., order], T=T)
    largest = 1 / T  # sums over classes are added up in another order, and so is the one inside the logarithm
    np.testing.assert_allclose(C_permuted, C, rtol=64 * EPS, atol=64 * EPS)
    np.testing.assert_allclose(dz_permuted, dz[..., order], rtol=64 * EPS, atol=16 * EPS * largest)


# ---- the limit of high temperatures ----------------------------------------------------------------------------------


def zero_meaned(z):
    return z - z.mean(axis=-1, keepdims=True)


def distance_from_logit_matching(z, v, T):
    """|(1/T)(q − p) − (z − v)/(K T²)|, and the bound (R_z² + R_v²)/(12√3 T³) on each case."""
    B, K = z.shape
    _, dz = soft_cross_entropy(z, v=v, T=T)
    _, difference = logit_matching(z, v=v)
    bound = (spread(z) ** 2 + spread(v) ** 2) / (12 * math.sqrt(3) * T**3)
    return np.abs(B * dz - B * difference / (K * T**2)).max(axis=-1), bound


@pytest.mark.derivation("D3.4", "D3.5", "D3.8", "D3.9", "D3.10")
@given(zv=strategies.students_and_teachers(strategies.one_student()), T=strategies.temperatures(1e-3, 1e6))
def test_high_temperature_gradient_stays_within_the_proven_bound(zv, T):
    z, v = map(zero_meaned, zv)
    distance, bound = distance_from_logit_matching(z, v, T)
    # Rounding: subtracting the mean leaves EPS of the logits; q − p loses EPS (1 + R/T) of numbers of at most 1; and
    # 1/T scales both. At T = 1000 that is 1e-17, beside a gradient of 1e-6 and a bound of 1e-9 for logits about 1
    rounding = 32 * EPS / T * (1 + sum(np.abs(given).max() for given in zv) / T)
    assert np.all(distance <= bound + rounding)


@pytest.mark.derivation("D3.8", "D3.10")
@pytest.mark.parametrize("K", [2, 3, 5, 10, 100, 1000])
@pytest.mark.parametrize("T", [0.1, 1.0, 3.0, 10.0, 100.0])
def test_many_random_students_stay_within_the_proven_bound(K, T):
    rng = np.random.default_rng(K)
    scales = np.geomspace(0.1, 10, 64)[:, None]
    z, v = (zero_meaned(scales * rng.standard_normal((64, K)) ** 3) for _ in range(2))
    distance, bound = distance_from_logit_matching(z, v, T)
    assert np.all(distance <= bound + 32 * EPS / T * (1 + bound))


@pytest.mark.derivation("D3.10", "D3.12")
@pytest.mark.parametrize("K", CLASSES)
def test_the_error_of_logit_matching_falls_as_1_over_T_cubed(K):
    """And, the gradient itself falling as 1/T², as 1/T relative to it."""
    z, v = map(zero_meaned, student_teacher_labels(K)[:2])
    expected = -4.0 if K == 2 else -3.0  # two classes are antisymmetric: the even term of the error vanishes
    T = np.geomspace(100, 1000, 8)
    distances = [distance_from_logit_matching(z, v, t)[0].max() for t in T]
    slope, _ = np.polyfit(np.log(T), np.log(distances), 1)
    assert slope == pytest.approx(expected, abs=0.05)
    gradients = [np.abs(soft_cross_entropy(z, v=v, T=t)[1]).max() for t in T]
    relative_slope, _ = np.polyfit(np.log(T), np.log(np.array(distances) / gradients), 1)
    assert relative_slope == pytest.approx(expected + 2, abs=0.05)


@pytest.mark.derivation("D3.2", "D3.3")
def test_T_squared_times_the_soft_gradient_tends_to_logit_matching_over_K():
    """E4, and no sooner: at T = 20 ordinary logits are still a good part of it away."""
    z, v = map(zero_meaned, student_teacher_labels(10)[:2])
    limit = logit_matching(z, v=v)[1] / 10
    distances = [relative_error(distillation_loss(z, v=v, T=T, alpha=1.0)[1], limit) for T in (20.0, 1e3, 1e5)]
    assert distances[0] > 0.05
    assert distances[1] < 5e-3
    assert distances[2] < 5e-5


@pytest.mark.derivation("D3.3")
def test_logits_without_zero_mean_reach_another_limit():
    """The condition of E4 is needed: a constant on z moves logit matching, and not the soft cost."""
    z, v = map(zero_meaned, student_teacher_labels(10)[:2])
    shifted = distillation_loss(z + 5, v=v, T=1e5, alpha=1.0)[1]
    assert relative_error(shifted, logit_matching(z, v=v)[1] / 10) < 1e-3
    assert relative_error(shifted, logit_matching(z + 5, v=v)[1] / 10) > 0.1


@pytest.mark.derivation("D4.3")
def test_low_T_pays_little_attention_to_logits_far_below_the_average():
    """E5: the gradient of such a logit, relative to the largest one, vanishes at T = 1 and not at T = 20."""
    z = np.array([[4.0, 2.0, 0.0, -30.0]])
    v = np.array([[5.0, 1.0, 0.0, -20.0]])
    low, high = (np.abs(distillation_loss(z, v=v, T=T, alpha=1.0)[1][0]) for T in (1.0, 20.0))
    assert low[3] < 1e-8 * low.max()
    assert high[3] > 0.1 * high.max()


# ---- dtypes, purity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0.5, np.float64(0.5), np.float32(0.5), "array"])
def test_the_dtype_is_the_logits_whatever_T_and_alpha_are(dtype, number):
    z, v, y = student_teacher_labels(5, population=(2,))
    z, v = z.astype(dtype), v.astype(dtype)
    number = np.full((2, 1, 1), 0.5, dtype) if isinstance(number, str) else number
    for C, dz in (
        soft_cross_entropy(z, v=v, T=number),
        hard_cross_entropy(z, y=y),
        logit_matching(z, v=v),
        distillation_loss(z, v=v, y=y, T=number, alpha=number),
        distillation_loss(z, v=v, y=y, T=number, alpha=0.5),
        distillation_loss(z, v=v, y=y, T=2.0, alpha=number),
        distillation_loss(z, v=v, T=number, alpha=1.0),
        distillation_loss(z, y=y, T=number, alpha=0.0),
    ):
        assert dtypes([C, dz]) == {np.dtype(dtype)}
        assert C.shape == (2,)
        assert dz.shape == z.shape
    for one in (soft_cross_entropy(z[0], v=v[0], T=2.0), distillation_loss(z[0], v=v[0], y=y[0], T=2.0, alpha=0.5)):
        assert dtypes(one) == {np.dtype(dtype)}
        assert one[0].shape == ()


def test_costs_write_into_no_argument():
    z, v, y = student_teacher_labels(5, population=(2,))
    T, alpha = np.full((2, 1, 1), 2.0), np.full((2, 1, 1), 0.5)
    purely(soft_cross_entropy, z, v=v, T=T)
    purely(hard_cross_entropy, z, y=y)
    purely(logit_matching, z, v=v)
    purely(distillation_loss, z, v=v, y=y, T=T, alpha=alpha)
    purely(distillation_loss, z, v=v, T=T, alpha=1.0)
    purely(distillation_loss, z, y=y, alpha=0.0)


def test_float32_gradients_agree_with_float64_in_norm(cost):
    z, v, y = student_teacher_labels(10, B=64)
    C, dz = cost(z, v, y)
    C_single, dz_single = cost(z.astype(np.float32), v.astype(np.float32), y)
    assert C_single == pytest.approx(C, rel=1e-5)
    assert np.linalg.norm(dz_single - dz) < 1e-5 * np.linalg.norm(dz)


# ---- errors ----------------------------------------------------------------------------------------------------------


def soft_like():
    return {
        "soft": lambda z, v: soft_cross_entropy(z, v=v, T=2.0),
        "distillation": lambda z, v: distillation_loss(z, v=v, T=2.0),
        "logit matching": lambda z, v: logit_matching(z, v=v),
    }


@pytest.fixture(params=soft_like())
def soft(request):
    return soft_like()[request.param]


HARD = [lambda z, y: hard_cross_entropy(z, y=y), lambda z, y: distillation_loss(z, y=y, alpha=0.0)]
hard_costs = pytest.mark.parametrize("hard", HARD, ids=["hard", "distillation"])

Z = np.zeros((4, 3))


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (3,), (1, 3), (4, 1), (2, 4, 3), ()])
def test_a_teacher_of_another_shape_is_refused(soft, shape):
    message = f"v must have z's shape (4, 3) or broadcast to it, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        soft(Z, np.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 4, 3), (2, 1, 3)])
def test_teachers_that_do_not_fit_the_population_are_refused(soft, shape):
    message = f"v must have z's shape (2, 4, 3) or broadcast to it, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        soft(np.zeros((2, 4, 3)), np.zeros(shape))


@hard_costs
@pytest.mark.parametrize("shape", [(3,), (5,), (1,), (4, 1), (4, 3), ()])
def test_labels_of_another_shape_are_refused(hard, shape):
    message = f"y must have shape (4,), one label a case, or broadcast to it, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        hard(Z, np.zeros(shape, int))


@pytest.mark.parametrize("shape", [(3,), (), (0, 3), (4, 0), (2, 0, 3)])
def test_logits_without_cases_or_classes_are_refused(shape):
    message = f"z must have shape (..., B, K) with B, K > 0, got {shape}"
    z = np.zeros(shape)
    for call in (
        lambda: soft_cross_entropy(z, v=z, T=1.0),
        lambda: logit_matching(z, v=z),
        lambda: distillation_loss(z, v=z),
        lambda: hard_cross_entropy(z, y=np.zeros(shape[:-1], int)),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@hard_costs
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_])
def test_labels_that_are_no_integers_are_refused(hard, dtype):
    with pytest.raises(TypeError, match=f"y must hold integer labels, got {np.dtype(dtype)}: convert it with astype"):
        hard(Z, np.zeros(4, dtype))


TAKES_LABELS = {
    "hard": lambda z, y: hard_cross_entropy(z, y=y),
    "distillation": lambda z, y: distillation_loss(z, y=y, alpha=0.0),
    "distillation, with a teacher": lambda z, y: distillation_loss(z, v=z, y=y, T=2.0, alpha=0.5),
    "distillation, labels without weight": lambda z, y: distillation_loss(z, v=z, y=y, alpha=1.0),
    "distillation, class by class": lambda z, y: readable.loss(z, v=z, y=y, T=2.0, alpha=0.5),
}


@pytest.mark.parametrize("cost", TAKES_LABELS)
@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, -1, 2]),
        np.array([0, 1, 3, 2]),
        np.array([0, -100, 1, 2]),  # an index that other libraries ignore
        np.array([0, 255, 1, 2], np.uint8),  # −1, wrapped
        np.array([0, -1, 1, 2], np.int8),
        np.array([0, -1, 1, 2], ">i8"),  # of another byte order
        np.array([0, 2**63, 1, 2], np.uint64),
        np.array([0, 0, 3, 0, 0, 0, 0, 0])[::2][[0, 1, 2, 3]],  # not contiguous
        np.array([[0, 1, 2, 0], [0, 1, 2, 3]]),  # the second student of a population
        np.array([[0, 1, 2, -1]]),  # one for all students
    ],
    ids=str,
)
def test_a_label_that_is_no_class_is_refused_on_the_host(cost, y):
    z = np.zeros((4, 3)) if y.ndim == 1 else np.zeros((2, 4, 3))
    wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
    with pytest.raises(
        ValueError, match=re.escape(f"y must hold labels in 0 … K − 1 = 2, as z has K = 3 classes, got {wrong}:")
    ):
        TAKES_LABELS[cost](z, y)


@pytest.mark.parametrize("z", [Z, np.zeros((2, 4, 3))], ids=["one", "population"])
def test_a_label_that_is_no_class_is_refused_in_any_namespace_of_the_host(z):
    strict = pytest.importorskip("array_api_strict")
    for y in ([0, 1, -1, 2], [0, 3, 1, 2]):
        with pytest.raises(ValueError, match=f"y must hold labels in .*got {3 if 3 in y else -1}:"):
            hard_cross_entropy(strict.asarray(z), y=strict.asarray(y))


def test_a_T_of_one_student_that_is_out_of_range_is_refused_in_any_namespace_of_the_host():
    strict = pytest.importorskip("array_api_strict")
    z, T = strict.asarray(np.zeros((2, 4, 3))), strict.asarray(np.array([2.0, -1.0]).reshape(2, 1, 1))
    with pytest.raises(ValueError, match=re.escape("T must be a finite number > 0, got [2.0, -1.0]")):
        soft_cross_entropy(z, v=z, T=T)


def test_nothing_waits_on_a_device_to_read_labels():
    device = strict_cupy.device()
    z, y = device.put(Z), device.put(np.array([0, 1, -1, 2]))
    with strict_cupy.counting() as count:
        hard_cross_entropy(z, y=y)
        distillation_loss(z, v=z, y=y, alpha=0.5)
    assert count.waits == 0


def test_a_step_of_training_refuses_a_label_that_is_no_class():
    state, batch = State((3, 2), *np.zeros((2, 8))), Batch(Z, np.array([0, 1, 0, 2]), None, None)
    with pytest.raises(ValueError, match=r"y must hold labels in 0 … K − 1 = 1, as z has K = 2 classes, got 2:"):
        train_step(readable, state, batch, learning_rate=0.1)
    assert not state.parameters.any()


def test_lists_are_refused(soft):
    with pytest.raises(TypeError, match=r"z must be a NumPy or CuPy array, got list: convert it with numpy\.asarray"):
        soft(Z.tolist(), Z)
    with pytest.raises(TypeError, match=r"v must be a NumPy or CuPy array, got list: convert it with numpy\.asarray"):
        soft(Z, Z.tolist())


@hard_costs
def test_lists_of_labels_are_refused(hard):
    with pytest.raises(TypeError, match="y must be a NumPy or CuPy array, got list: convert it"):
        hard(Z, [0, 1, 2, 0])


def test_arrays_in_two_places_are_refused(soft):
    elsewhere = pytest.importorskip("array_api_strict").asarray(Z)
    with pytest.raises(ValueError, match=r"z is on the CPU but v is on .*: move both with .*to_device"):
        soft(Z, elsewhere)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex128, np.bool_])
def test_logits_of_another_dtype_are_refused(soft, dtype):
    with pytest.raises(TypeError, match=f"z must be float32 or float64, got {np.dtype(dtype)}: convert it with astype"):
        soft(Z.astype(dtype), Z)
    with pytest.raises(TypeError, match=f"v must be float32 or float64, got {np.dtype(dtype)}: convert it with astype"):
        soft(Z, Z.astype(dtype))


def test_two_float_dtypes_at_once_are_refused(soft):
    with pytest.raises(TypeError, match="z is float32 but v is float64: convert one of them"):
        soft(Z.astype(np.float32), Z)


@pytest.mark.parametrize("T", [0.0, -1.0, float("nan"), float("inf")])
def test_T_out_of_range_is_refused(T):
    y = np.zeros(4, int)
    message = f"T must be a finite number > 0, got {T}"
    with pytest.raises(ValueError, match=re.escape(message)):
        soft_cross_entropy(Z, v=Z, T=T)
    for alpha in (0.5, 1.0):
        with pytest.raises(ValueError, match=re.escape(message)):
            distillation_loss(Z, v=Z, y=y, T=T, alpha=alpha)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf")])
def test_alpha_out_of_range_is_refused(alpha):
    y = np.zeros(4, int)
    with pytest.raises(ValueError, match=re.escape(f"alpha must be a number in [0, 1], got {alpha}")):
        distillation_loss(Z, v=Z, y=y, alpha=alpha)
    array = np.array([0.5, alpha]).reshape(2, 1, 1)
    with pytest.raises(ValueError, match=re.escape(f"alpha must be a number in [0, 1], got [0.5, {alpha}]")):
        distillation_loss(np.zeros((2, 4, 3)), v=Z, y=y, alpha=array)


def test_alpha_of_another_shape_or_dtype_is_refused():
    y = np.zeros(4, int)
    with pytest.raises(
        ValueError, match=r"alpha must be a number or an array of shape \(\.\.\., 1, 1\), got shape \(2,\)"
    ):
        distillation_loss(np.zeros((2, 4, 3)), v=Z, y=y, alpha=np.array([0.5, 0.5]))
    with pytest.raises(TypeError, match="z is float64 but alpha is float32"):
        distillation_loss(np.zeros((2, 4, 3)), v=Z, y=y, alpha=np.full((2, 1, 1), 0.5, np.float32))
    with pytest.raises(TypeError, match=r"alpha must be .*got str"):
        distillation_loss(Z, v=Z, y=y, alpha="half")


def test_one_number_a_student_needs_a_student_for_each():
    z, v, y = np.zeros((2, 4, 3)), np.zeros((4, 3)), np.zeros(4, int)
    for one in ({"T": np.ones((5, 1, 1))}, {"alpha": np.ones((5, 1, 1))}):
        with pytest.raises(ValueError, match=r"has shape \(5, 1, 1\), one number a student, but z has students \(2,\)"):
            distillation_loss(z, v=v, y=y, **one)
    with pytest.raises(ValueError, match=r"T has shape \(2, 1, 1\), one number a student, but z has students \(\)"):
        soft_cross_entropy(z[0], v=v, T=np.ones((2, 1, 1)))


def test_arguments_are_checked_even_where_their_weight_is_zero():
    z, y = np.zeros((4, 3)), np.zeros(4, int)
    with pytest.raises(ValueError, match="T must be"):
        distillation_loss(z, y=y, T=-1.0, alpha=0.0)
    with pytest.raises(ValueError, match="v must have z's shape"):
        distillation_loss(z, v=np.zeros((4, 2)), y=y, alpha=0.0)
