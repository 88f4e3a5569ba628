"""What holds of the costs for any logits: their symmetries, and the limit of high temperatures."""

import math

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from loss_cases import CLASSES, costs, student_teacher_labels
from oracles import (
    EPS,
    naive_hard_cross_entropy,
    relative_error,
    spread,
)

from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy


@pytest.fixture(params=costs(10))
def cost(request):
    return costs(10)[request.param]


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def sharpened_bound(z, v, T):
    """R_{z−v} (R_z + R_v)/(12√3 T³) on each case."""
    return spread(z - v) * (spread(z) + spread(v)) / (12 * math.sqrt(3) * T**3)


def rounding_of(z, v, T):
    """What float64 may add to the error of these logits, whose means were not subtracted, as in the test above."""
    return 32 * EPS / T * (1 + (np.abs(z).max() + np.abs(v).max()) / T)


@pytest.mark.slow
@pytest.mark.derivation("D3.16", "D3.17", "D3.18", "D3.29", "D3.30", "D3.31", "D3.32", "D3.33")
@given(
    zv=strategies.students_and_teachers(strategies.one_student()),
    T=strategies.temperatures(1e-3, 1e6),
    distance=st.just(1.0) | st.floats(-9, 0).map(lambda exponent: 10.0**exponent),
)
def test_the_error_stays_within_the_sharpened_bound_near_the_teacher_and_far_from_it(zv, T, distance):
    z, v = map(zero_meaned, zv)
    z = (1 - distance) * v + distance * z
    error, old_bound = distance_from_logit_matching(z, v, T)
    assert np.all(error <= np.minimum(sharpened_bound(z, v, T), old_bound) + rounding_of(*zv, T))


@pytest.mark.slow
@pytest.mark.derivation("D3.19", "D3.20", "D3.21", "D3.22", "D3.23", "D3.24", "D3.26")
@given(data=st.data(), K=st.integers(2, 12), size=st.floats(0.01, 30), difference=st.floats(-10, 10))
def test_two_values_each_the_worst_that_the_proof_knows_stay_within_the_sharpened_bound(data, K, size, difference):
    """The teacher is high on one set of classes, and the student differs from it on another."""
    sets = [data.draw(st.lists(st.booleans(), min_size=K, max_size=K)) for _ in range(2)]
    v = size * np.array([sets[0]], float)
    z = v + difference * np.array([sets[1]], float)
    rounding = rounding_of(z, v, 1.0)
    z, v = zero_meaned(z), zero_meaned(v)
    error, _ = distance_from_logit_matching(z, v, 1.0)
    assert np.all(error <= sharpened_bound(z, v, 1.0) + rounding)


@pytest.mark.derivation("D3.18", "D3.25", "D3.27", "D3.28", "D3.32")
@pytest.mark.parametrize("h", [1e-4, 0.1, 1.0])
def test_the_sharpened_bound_is_all_but_reached_near_the_teacher_and_far_from_it(h):
    """By a logit above four others. With a looser constant the share that is used would be less than 0.99."""
    used = {}
    for K in range(2, 21):
        v = zero_meaned(np.where(np.arange(K) == 0, np.linspace(0.02, 2, 100)[:, None], 0.0))
        z = (1 + h) * v
        error, _ = distance_from_logit_matching(z, v, 1.0)
        used[K] = np.max(error / sharpened_bound(z, v, 1.0))  # rounding is 1e-16, the bound at least 1e-9
    assert max(used, key=used.get) == 5
    assert 0.999 < used[5] < 1
    assert used[2] < 0.8  # and not everywhere


@pytest.mark.derivation("D3.32", "D3.33")
@pytest.mark.parametrize("K", [3, 10, 100])
def test_the_error_and_its_bound_vanish_as_the_student_reaches_the_teacher(K):
    """Both fall in proportion to the distance; the bound of D3.10 does not."""
    rng = np.random.default_rng(K)
    v, direction = (zero_meaned(2 * rng.standard_normal((4, K))) for _ in range(2))
    T, distances = 4.0, np.geomspace(1e-7, 1e-2, 6)
    errors, bounds = [], []
    for distance in distances:
        z = v + distance * direction
        error, old_bound = distance_from_logit_matching(z, v, T)
        bound = sharpened_bound(z, v, T)
        assert np.all(error <= bound + rounding_of(z, v, T))
        assert np.all(old_bound > spread(v) ** 2 / (12 * math.sqrt(3) * T**3))
        errors.append(error / distance)
        bounds.append(bound / distance)
    for per_distance, rounding in ((errors, rounding_of(v, v, T) / distances), (bounds, 64 * EPS / distances)):
        change = np.abs(np.array(per_distance) / per_distance[-1] - 1).max(axis=1)
        # 5 × 1e-2 at the farthest, as the next order is; and float64's rounding over the size of the last
        assert np.all(change <= 0.05 + rounding / np.min(per_distance[-1]))
    error, _ = distance_from_logit_matching(v, v, T)
    assert np.all(error == 0)
    assert np.all(sharpened_bound(v, v, T) == 0)


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
