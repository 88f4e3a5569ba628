"""The costs and their gradients are the textbook's: sums, means, T², and which side is which."""

import inspect
import math

import numpy as np
import pytest
import strategies
from hypothesis import assume, given
from hypothesis import strategies as st
from loss_cases import CLASSES, costs, student_teacher_labels
from oracles import (
    EPS,
    central_difference,
    complex_step,
    line_integral,
    naive_distillation,
    naive_entropy,
    naive_hard_cross_entropy,
    naive_log_softmax,
    naive_logit_matching,
    naive_soft_cross_entropy,
    naive_softmax,
    relative_error,
    spread,
)

from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy


@pytest.fixture(params=costs(10))
def cost(request):
    return costs(10)[request.param]


TEMPERATURES = [0.1, 0.5, 1.0, 2.5, 8.0, 20.0, 100.0, 1000.0]


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


@pytest.mark.slow
@given(zv=strategies.students_and_teachers(strategies.one_student()), T=strategies.temperatures(0.1, 1e3))
def test_soft_gradient_is_the_textbooks_for_any_logits(zv, T):
    z, v = zv
    _, dz = soft_cross_entropy(z, v=v, T=T)
    oracle = complex_step(lambda z: naive_soft_cross_entropy(z, v, T), z)
    # The rounding of z/T and v/T, which exp makes a factor of q and p, both at most 1
    rounding = 32 * EPS * (1 + max(np.abs(z).max(), np.abs(v).max()) / T) / T
    largest_probability = max(naive_softmax(z, T).max(), naive_softmax(v, T).max())
    assert np.all(np.abs(dz - oracle) <= rounding * largest_probability / len(z))


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.derivation("D2.9")
@given(zv=strategies.students_and_teachers(), T=strategies.temperatures(0.1, 1e6))
def test_soft_cost_is_at_least_the_teachers_entropy(zv, T):
    z, v = zv
    C, _ = soft_cross_entropy(z, v=v, T=T)
    H = naive_entropy(naive_softmax(v, T)).mean(axis=-1)
    assert C.shape == H.shape
    assert np.all(H - 32 * EPS * (1 + C + np.abs(v).max() / T) <= C)


@pytest.mark.slow
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


@pytest.mark.slow
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
