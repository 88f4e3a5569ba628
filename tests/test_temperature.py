"""What the temperature does: to the entropy, to logits far below the top (E5), and to the balance of T² (E6)."""

import math

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, naive_entropy, naive_softmax, relative_error, spread

from minikd.core.losses import distillation_loss, hard_cross_entropy, soft_cross_entropy
from minikd.core.softmax import log_softmax, softmax

ONE_STUDENT = strategies.one_student()
UNDERFLOW = 1e-290  # what an exponential may lose where float64 ends, at every T here


def below_the_top(z):
    return np.max(z, axis=-1, keepdims=True) - z


def soft_gradient(z, v, T):
    """(1/T)(q − p) of each case: the code's, not divided by B."""
    return len(z) * soft_cross_entropy(z, v=v, T=T)[1]


def balanced_gradient(z, v, T):
    """T² times that, as the distillation loss has it."""
    return len(z) * distillation_loss(z, v=v, T=T, alpha=1.0)[1]


def zero_meaned(z):
    return z - z.mean(axis=-1, keepdims=True)


# ---- what T does to the distribution ---------------------------------------------------------------------------------


@pytest.mark.derivation("D1.10")
@pytest.mark.parametrize("T", [0.3, 1.0, 8.0, 100.0])
def test_the_slope_of_the_probabilities_in_T_is_against_the_average(T):
    z = min(1.0, T) * np.array([[2.0, -1.0, 0.5, 0.0]])
    h = 1e-5 * T
    differences = (softmax(z, T + h) - softmax(z, T - h)) / (2 * h)
    q = naive_softmax(z, T)
    slope = -q * (z - np.sum(q * z)) / T**2
    # (h/T)² = 1e-10 by the third derivative, and EPS/h of q, of size 1, beside slopes of the size of z/T² = 1/T at
    # most: 1e-11 of 0.01 at T = 100
    assert relative_error(differences, slope) < 1e-7


@pytest.mark.derivation("D1.11")
@pytest.mark.parametrize("T", [0.3, 1.0, 8.0, 100.0])
def test_the_entropy_grows_with_T_by_the_variance_of_the_logits(T):
    z = T * np.array([[2.0, -1.0, 0.5, 0.0]])
    h = 1e-5 * T
    differences = (naive_entropy(softmax(z, T + h)) - naive_entropy(softmax(z, T - h))) / (2 * h)
    q = naive_softmax(z, T)
    variance = np.sum(q * (z - np.sum(q * z)) ** 2, axis=-1)
    assert relative_error(differences, variance / T**3) < 1e-8  # (h/T)² = 1e-10, and rounding EPS/1e-5 = 2e-11


@pytest.mark.slow
@pytest.mark.derivation("D1.12")
@given(z=strategies.students(), T=strategies.temperatures())
def test_at_high_T_the_probabilities_are_within_the_bounds_of_1_over_K(z, T):
    K, q, R = z.shape[-1], softmax(z, T), spread(z)[..., None]
    assert np.all(np.abs(q - 1 / K) <= R / (4 * T) + 32 * EPS)
    assert np.all(np.abs(log_softmax(z, T) + math.log(K)) <= (1 + 32 * EPS) * R / T + 32 * EPS)


@pytest.mark.slow
@pytest.mark.derivation("D1.13")
@given(z=strategies.students(), T=strategies.temperatures())
def test_at_low_T_the_largest_logits_take_all_in_equal_shares(z, T):
    K, q, below = z.shape[-1], softmax(z, T), below_the_top(z)
    m = np.sum(below == 0, axis=-1)
    gap = np.min(np.where(below > 0, below, np.inf), axis=-1)
    left = 1 - m * q.max(axis=-1)
    assert np.all(left >= -32 * EPS)
    assert np.all(left <= (K - m) / m * np.exp(-gap / T) + 32 * EPS)
    tied = np.where(below == 0, q, q.max(axis=-1, keepdims=True))
    np.testing.assert_array_equal(tied, np.broadcast_to(q.max(axis=-1, keepdims=True), q.shape))


@pytest.mark.derivation("D2.1")
@pytest.mark.parametrize(("z", "rest"), [([3.0, 1.0], 0.0), ([1.0, 1.0], math.log(2)), ([1.0, 3.0], 2 / 0.01)])
def test_at_low_T_the_cost_is_the_distance_to_the_top_and_the_logarithm_of_the_ties(z, rest):
    cost, _ = soft_cross_entropy(np.array([z]), v=np.array([[5.0, 0.0]]), T=0.01)
    assert cost == pytest.approx(rest, abs=1e-12)


# ---- low T: which logits the gradient attends to ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D4.1", "D4.2", "D4.3")
@given(zv=strategies.students_and_teachers(ONE_STUDENT), T=strategies.temperatures())
def test_the_gradient_of_a_class_is_between_two_exponentials_of_its_gap(zv, T):
    """Of its gap, the smaller of its distances below the top of z and of v: for all logits and every T."""
    z, v = zv
    dz, a, b = np.abs(soft_gradient(z, v, T)), below_the_top(z), below_the_top(v)
    upper = np.exp(-np.minimum(a, b) / T) / T
    lower = upper * (1 / z.shape[-1] - np.exp(-np.abs(a - b) / T))
    # exp makes the rounding of its argument, EPS times the gap over T, a factor; it underflows where that passes 745
    rounding = 64 * EPS * (1 + np.minimum(np.minimum(a, b) / T, 745)) * upper + UNDERFLOW
    assert np.all(dz <= upper + rounding)
    assert np.all(lower - rounding <= dz)


@pytest.mark.slow
@pytest.mark.derivation("D4.3")
@given(
    T=strategies.temperatures(1e-3, 1e3),
    K=st.integers(2, 9),
    margin=st.floats(5, 50),
    student_is_sure=st.booleans(),
)
def test_a_class_that_only_one_of_them_puts_far_down_is_moved_at_full_strength(T, K, margin, student_is_sure):
    sure, unsure = np.zeros((1, K)), np.zeros((1, K))
    sure[0, 0], unsure[0, 0] = margin * T, -margin * T
    z, v = (sure, unsure) if student_is_sure else (unsure, sure)
    dz = soft_gradient(z, v, T)[0, 0]
    assert T * dz * (1 if student_is_sure else -1) >= 1 / K - math.exp(-margin)


@pytest.mark.derivation("D4.4")
@given(
    T=strategies.temperatures(1e-3, 1e3),
    K=st.integers(3, 9),
    gap=st.floats(0, 700),
    difference=st.floats(-100, 100),
)
def test_beside_a_class_on_which_they_disagree_a_far_one_is_lost(T, K, gap, difference):
    """The first two classes are disputed; the last lies far down, and how far is disputed too, and does not count."""
    z, v = np.zeros((1, K)), np.zeros((1, K))
    z[0, 1] = v[0, 0] = -T * math.log(2 * K)
    z[0, -1], v[0, -1] = -T * gap, -T * (gap + abs(difference))
    dz = np.abs(soft_gradient(z, v, T))[0]
    assert dz.max() >= dz[0] > 0
    assert dz[-1] <= (1 + 1e-11) * 2 * K * math.exp(-gap) * dz[0] + UNDERFLOW


@pytest.mark.slow
@pytest.mark.derivation("D4.5")
@given(
    zv=strategies.students_and_teachers(ONE_STUDENT, size=5.0),
    T=strategies.temperatures(0.1, 1e3),
    near=st.floats(1e-3, 1),
)
def test_near_the_teacher_a_class_is_pulled_by_its_mismatch_times_its_probability(zv, T, near):
    d, v = near * zv[0], zv[1]
    dz, p, r = soft_gradient(v + d, v, T), naive_softmax(v, T), spread(d)[..., None] / T
    weighted = p * (d - np.sum(p * d, axis=-1, keepdims=True)) / T**2
    rounding = 64 * EPS * (1 + 10 / T) * p * (1 + np.exp(np.minimum(r, 100))) / T
    assert np.all(np.abs(dz - weighted) <= p / (2 * T) * r**2 * np.exp(r) + rounding)


@pytest.mark.derivation("D4.6")
@pytest.mark.parametrize(("T", "share"), [(1.0, 2.1e-9), (4.3, 0.01), (8.0, 0.082), (8.7, 0.1), (20.0, 0.37)])
def test_a_class_20_nats_below_the_top_has_the_share_that_the_table_says(T, share):
    """As a ratio of probabilities, and as a ratio of pulls on two logits that are wrong by the same little."""
    v = np.array([[20.0, 0.0]])
    assert (softmax(v, T)[0, 1] / softmax(v, T)[0, 0]) == pytest.approx(share, rel=0.05)
    # The second class makes room for the first one, so that the mean mismatch of the top is zero
    v, wrong = np.array([[20.0, 20.0, 0.0]]), 1e-3 * T
    top = soft_gradient(v + np.array([[wrong, -wrong, 0.0]]), v, T)[0, 0]
    far = soft_gradient(v + np.array([[0.0, 0.0, wrong]]), v, T)[0, 2]
    weight = softmax(v, T)[0]
    assert far / top == pytest.approx(share * (1 - weight[2]), rel=0.05)


# ---- T²: the balance -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D5.1", "D5.2")
@given(data=st.data(), zv=strategies.students_and_teachers(ONE_STUDENT), alpha=st.floats(0, 1))
def test_one_T_is_left_in_the_balanced_gradient_and_the_hard_part_has_none(data, zv, alpha):
    (z, v), T = zv, data.draw(strategies.temperatures(0.1, 1e3))
    y = data.draw(strategies.labels(z))
    _, dz = distillation_loss(z, v=v, y=y, T=T, alpha=alpha)
    one_hot = np.arange(z.shape[-1]) == y[:, None]
    expected = alpha * T * (naive_softmax(z, T) - naive_softmax(v, T)) + (1 - alpha) * (naive_softmax(z) - one_hot)
    # The rounding of z/T becomes a factor of q, at most 1, which T then enlarges
    assert np.all(np.abs(len(z) * dz - expected) <= 64 * EPS * (31 + T + 30))


@pytest.mark.slow
@pytest.mark.derivation("D5.3")
@given(zv=strategies.students_and_teachers(ONE_STUDENT), T=strategies.temperatures())
def test_the_balanced_gradient_comes_to_its_limit_as_1_over_T(zv, T):
    z, v = map(zero_meaned, zv)
    bound = (spread(z) ** 2 + spread(v) ** 2) / (12 * math.sqrt(3) * T)
    distance = np.abs(balanced_gradient(z, v, T) - (z - v) / z.shape[-1]).max(axis=-1)
    assert np.all(distance <= bound + 64 * EPS * (T + 60))  # q and p to EPS (1 + 30/T), and T times that


@pytest.mark.derivation("D5.4")
@given(a=st.floats(-30, 30), b=st.floats(-30, 30), T=strategies.temperatures(), factor=st.floats(1, 100))
def test_with_two_classes_the_balanced_gradient_only_rises_with_T(a, b, T, factor):
    z, v = np.array([[a, 0.0]]), np.array([[b, 0.0]])
    cooler, warmer = (abs(balanced_gradient(z, v, t)[0, 0]) for t in (T, factor * T))
    assert warmer >= cooler - 64 * EPS * (factor * T + 30)
    assert warmer <= abs(a - b) / 4 + 64 * EPS * (factor * T + 30)


@pytest.mark.parametrize(
    ("K", "T", "peak", "limit"), [(3, 9.6, 2.97, 2.72), (10, 3.1, 2.08, 0.95), (100, 1.6, 1.33, 0.0995)]
)
def test_with_more_classes_it_overshoots_its_limit(K, T, peak, limit):
    """Why a bound on the limit is no bound on the gradient."""
    z, v = 10 * np.eye(1, K), np.zeros((1, K))
    assert np.linalg.norm(balanced_gradient(z, v, T)) == pytest.approx(peak, rel=0.005)
    assert np.linalg.norm(balanced_gradient(z, v, 1e6)) == pytest.approx(limit, rel=0.005)


@pytest.mark.derivation("D5.5")
def test_at_one_place_the_balanced_cost_may_be_more_curved_than_the_hard_one():
    z, v, step = np.array([[10.0, 0.0]]), np.zeros((1, 2)), np.array([[1e-4, 0.0]])
    soft, hard = (
        (gradient(z + step)[0, 0] - gradient(z - step)[0, 0]) / 2e-4
        for gradient in (
            lambda z: distillation_loss(z, v=v, T=10.0, alpha=1.0)[1],
            lambda z: hard_cross_entropy(z, y=np.array([0]))[1],
        )
    )
    assert soft == pytest.approx(0.197, abs=1e-3)
    assert hard == pytest.approx(4.5e-5, rel=0.02)


@pytest.mark.slow
@pytest.mark.derivation("D5.5")
@given(data=st.data(), z=strategies.students(ONE_STUDENT), T=strategies.temperatures(0.01, 1e3), alpha=st.floats(0, 1))
def test_gradients_grow_no_faster_than_half_the_way_at_any_T(data, z, T, alpha):
    """What a second derivative of at most ½ says of two students, at every T, teacher, label and alpha."""
    other, v = data.draw(strategies.logits(z.shape)), data.draw(strategies.logits(z.shape))
    y = data.draw(strategies.labels(z))
    here, there = (len(z) * distillation_loss(s, v=v, y=y, T=T, alpha=alpha)[1] for s in (z, other))
    grown, way = np.linalg.norm(here - there, axis=-1), np.linalg.norm(z - other, axis=-1)
    assert np.all(grown <= way / 2 + 64 * EPS * (T + 60))


@pytest.mark.derivation("D5.5", "D5.6")
@pytest.mark.parametrize("T", [0.01, 1.0, 20.0, 1000.0])
def test_the_curvature_and_the_size_are_reached_by_two_classes(T):
    """Of two classes, near z = v = 0, the balanced gradient is half the way, no matter T. Zeros would not be."""
    z = 1e-3 * T * np.array([[1.0, -1.0]])
    assert np.linalg.norm(balanced_gradient(z, np.zeros((1, 2)), T)) == pytest.approx(np.linalg.norm(z) / 2, rel=1e-6)


@pytest.mark.slow
@pytest.mark.derivation("D5.6")
@given(zv=strategies.students_and_teachers(ONE_STUDENT), T=strategies.temperatures())
def test_the_balanced_gradient_is_no_longer_than_its_two_bounds(zv, T):
    z, v = zv
    size = np.linalg.norm(balanced_gradient(z, v, T), axis=-1)
    half_the_way = np.linalg.norm(zero_meaned(z - v), axis=-1) / 2
    assert np.all(size <= np.minimum(math.sqrt(2) * T, half_the_way) * (1 + 32 * EPS) + 64 * EPS * (T + 60))


@pytest.mark.slow
@pytest.mark.derivation("D5.7")
@given(data=st.data(), K=st.integers(2, 9), T=strategies.temperatures(1e-3, 1.0))
def test_at_low_T_the_balanced_gradient_fades_linearly(data, K, T):
    """T down on the student's winner and T up on the teacher's; zero where they are the same."""
    i_z, i_v = (data.draw(st.integers(0, K - 1)) for _ in range(2))
    z, v = (data.draw(strategies.logits((1, K), size=5.0)) for _ in range(2))
    margins = data.draw(st.tuples(st.floats(1, 10), st.floats(1, 10)))
    z[0, i_z], v[0, i_v] = z.max() + margins[0], v.max() + margins[1]  # ahead of all others by that at least
    one_hot = np.eye(K)
    bound = (K - 1) * T * sum(math.exp(-margin / T) for margin in margins)
    distance = np.abs(balanced_gradient(z, v, T)[0] - T * (one_hot[i_z] - one_hot[i_v]))
    assert np.all(distance <= bound + 64 * EPS * T * (1 + 20 / T))


@pytest.mark.slow
@pytest.mark.derivation("D5.8")
@given(data=st.data(), zv=strategies.students_and_teachers(ONE_STUDENT, size=10.0), alpha=st.floats(0.01, 0.99))
def test_leaving_T_squared_out_is_another_alpha_at_another_rate(data, zv, alpha):
    (z, v), T = zv, data.draw(strategies.temperatures(0.1, 100.0))
    y = data.draw(strategies.labels(z))
    (C_soft, dz_soft), (C_hard, dz_hard) = soft_cross_entropy(z, v=v, T=T), hard_cross_entropy(z, y=y)
    other, c = alpha / (alpha + (1 - alpha) * T**2), alpha / T**2 + 1 - alpha
    C, dz = distillation_loss(z, v=v, y=y, T=T, alpha=other)
    rounding = 64 * EPS * c * (1 + C_hard)  # 1 − alpha′ loses digits where alpha′ is near 1
    np.testing.assert_allclose(c * C, alpha * C_soft + (1 - alpha) * C_hard, rtol=1e-13, atol=rounding)
    forgotten = alpha * dz_soft + (1 - alpha) * dz_hard
    np.testing.assert_allclose(c * dz, forgotten, rtol=0, atol=64 * EPS * (1 + 1 / T))
