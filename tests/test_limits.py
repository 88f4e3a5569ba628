"""E3, E4 and the bound on what they leave out, as functions of the logits."""

import numpy as np
import pytest
import strategies
from hypothesis import assume, given
from oracles import EPS, naive_softmax, relative_error, spread

from minikd.core.losses import logit_matching, soft_cross_entropy
from minikd.theory.limits import (
    estimated_temperature,
    first_order_gradient,
    remainder_bound,
    second_order_term,
    sufficient_temperature,
)


def zero_mean(z):
    return z - z.mean(axis=-1, keepdims=True)


def pair(K=10, B=4, seed=0):
    rng = np.random.default_rng([seed, K])
    return 2 * rng.standard_normal((B, K)), 2 * rng.standard_normal((B, K))


def soft_gradient(z, v, T):
    """(1/T)(q − p), a case each, from the textbook."""
    return (naive_softmax(z, T) - naive_softmax(v, T)) / T


def distance(z, v, T):
    """The largest error of logit matching on each case, relative to the largest element of logit matching."""
    matching = (z - v) / (z.shape[-1] * T**2)
    return np.abs(soft_gradient(z, v, T) - matching).max(axis=-1) / np.abs(matching).max(axis=-1)


# ---- the first terms -------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D3.1")
@pytest.mark.parametrize("K", [2, 3, 10])
def test_what_E3_leaves_out_falls_as_1_over_T_cubed(K):
    """Also for logits whose mean is not zero."""
    z, v = pair(K)
    T = np.geomspace(100, 1000, 8)
    left_out = [np.abs(soft_gradient(z, v, t) - first_order_gradient(z, v=v, T=t)).max() for t in T]
    slope, _ = np.polyfit(np.log(T), np.log(left_out), 1)
    assert slope == pytest.approx(-3, abs=0.1)


@pytest.mark.derivation("D3.2")
def test_E3_is_logit_matching_for_logits_of_zero_mean_and_for_no_others():
    z, v = map(zero_mean, pair())
    matching = logit_matching(z, v=v)[1] * len(z) / (10 * 8.0**2)
    assert relative_error(first_order_gradient(z, v=v, T=8.0), matching) < 1e-14
    assert relative_error(first_order_gradient(z + 3, v=v, T=8.0), logit_matching(z + 3, v=v)[1] * 4 / 640) > 0.1


@pytest.mark.derivation("D3.3")
def test_the_limit_is_logit_matching_of_logits_less_their_means():
    z, v = pair()
    T = 1e6
    limit = (zero_mean(z) - zero_mean(v)) / 10
    assert relative_error(T**2 * first_order_gradient(z, v=v, T=T), limit) < 1e-5
    assert relative_error(T**2 * len(z) * soft_cross_entropy(z, v=v, T=T)[1], limit) < 1e-4


@pytest.mark.derivation("D3.12")
@pytest.mark.parametrize("K", [3, 10, 100])
def test_with_the_next_term_the_error_falls_as_1_over_T_to_the_fourth(K):
    z, v = pair(K)
    T = np.geomspace(100, 1000, 8)
    matching = zero_mean(z) - zero_mean(v)
    left_out = [
        np.abs(soft_gradient(z, v, t) - matching / (K * t**2) - second_order_term(z, v=v, T=t)).max() for t in T
    ]
    slope, _ = np.polyfit(np.log(T), np.log(left_out), 1)
    assert slope == pytest.approx(-4, abs=0.1)


@pytest.mark.derivation("D3.12")
def test_two_classes_have_no_next_term():
    z, v = pair(2)
    assert np.abs(second_order_term(z, v=v, T=1.0)).max() < 1e-14
    assert np.abs(second_order_term(*pair(3)[:1], v=pair(3)[1], T=1.0)).max() > 0.1


@pytest.mark.derivation("D3.12")
def test_near_the_teacher_high_logits_weigh_more_than_in_logit_matching_and_low_ones_less():
    v, T, step = np.array([[-4.0, 1.0, 1.0, 1.0, 1.0]]), 10.0, 1e-4
    high = np.array([[0.0, 1.0, -1.0, 0.0, 0.0]])  # no mismatch on average, so a class has its own weight
    low = np.array([[1.0, -0.25, -0.25, -0.25, -0.25]])
    for difference, k, weight in ((high, 1, 1.085), (low, 0, 0.714)):  # the low class is 0.66 of 1 less the average
        z = v + step * difference
        matching = (z - v)[0, k] / (5 * T**2)
        assert soft_cross_entropy(z, v=v, T=T)[1][0, k] / matching == pytest.approx(weight, abs=1e-3)
        with_next = matching + second_order_term(z, v=v, T=T)[0, k]
        assert (with_next > matching) == (weight > 1)


# ---- the bound -------------------------------------------------------------------------------------------------------


def test_the_bound_sees_neither_constants_nor_signs_nor_the_other_order():
    z, v = pair()
    bound = remainder_bound(z, v=v, T=8.0)
    assert bound.shape == (4, 1)
    for same in (
        remainder_bound(z + 5, v=v - 3, T=8.0),
        remainder_bound(-z, v=-v, T=8.0),
        remainder_bound(v, v=z, T=8.0),
    ):
        assert relative_error(same, bound) < 1e-14


@pytest.mark.derivation("D3.33")
def test_the_bound_is_the_smaller_of_the_two():
    z, v = pair(B=200)
    v[:100] *= -np.sign((z * v).sum(axis=-1, keepdims=True))[:100]  # a hundred that disagree
    squares = spread(z) ** 2 + spread(v) ** 2
    product = spread(z - v) * (spread(z) + spread(v))
    assert 0 < np.mean(squares < product) < 1  # each of the two is the smaller one somewhere
    assert np.all(product <= 2 * squares)
    bound = remainder_bound(z, v=v, T=8.0)[:, 0]
    assert relative_error(bound, np.minimum(squares, product) / (12 * 3**0.5 * 512)) < 1e-14
    assert relative_error(remainder_bound(z, v=-z, T=8.0)[:, 0], 2 * spread(z) ** 2 / (12 * 3**0.5 * 512)) < 1e-14
    assert np.all(remainder_bound(z, v=z + 1, T=8.0) <= 64 * EPS * bound.max())  # nothing to match


@pytest.mark.derivation("D3.6", "D3.7", "D3.11")
def test_a_search_reaches_the_bound_to_within_a_thousandth():
    """Over the number of classes and the height of one logit, against a teacher who knows nothing."""
    T = 8.0
    reached = {}
    for K in range(2, 21):
        height = np.linspace(0.01, 3, 300)[:, None] * T
        z = zero_mean(np.where(np.arange(K) == 0, height, 0.0))
        v = np.zeros_like(z)
        error = np.abs(soft_gradient(z, v, T) - (z - v) / (K * T**2)).max(axis=-1, keepdims=True)
        reached[K] = float(np.max(error / remainder_bound(z, v=v, T=T)))
    best = max(reached, key=reached.get)
    assert best == 5
    assert 0.999 < reached[best] < 1
    assert reached[2] < 0.75  # and not everywhere


@pytest.mark.derivation("D3.11")
def test_from_below_a_search_finds_an_error_of_at_most_two_thirds_of_the_bound_with_two_classes():
    """Against a teacher who knows nothing, over two-class students, and over random ones of 2 to 12 classes."""

    def lowest(z):  # least error of any class, in units of R²/T³, at T = 1
        R = np.ptp(z, axis=-1, keepdims=True)
        error = soft_gradient(z, np.zeros_like(z), 1.0) - z / z.shape[-1]
        return float(np.min(error / R**2))

    apart = np.linspace(0.1, 20, 2000)[:, None]
    heights = np.concatenate([apart / 2, -apart / 2], axis=-1)
    assert lowest(heights) == pytest.approx(-0.0331, abs=5e-5)
    rng = np.random.default_rng(0)
    for K in range(2, 13):
        random = zero_mean(rng.uniform(0.1, 12, (20_000, 1)) * rng.beta(0.3, 0.3, (20_000, K)))
        assert lowest(random[np.ptp(random, axis=-1) > 0.05]) > -0.03313


@pytest.mark.derivation("D3.13")
@pytest.mark.parametrize("K", [2, 3, 10, 100])
def test_T_squared_times_the_soft_cost_tends_to_half_the_squared_distance_over_K(K):
    """Up to the teacher's entropy, which is the cost at z = v. It comes nearer as 1/T."""
    z, v = map(zero_mean, pair(K))
    limit = logit_matching(z, v=v)[0] / K
    T = np.array([1e2, 1e3, 1e4])
    excess = [t**2 * (soft_cross_entropy(z, v=v, T=t)[0] - soft_cross_entropy(v, v=v, T=t)[0]) for t in T]
    # T² amplifies the rounding of the two costs, some EPS log K each
    np.testing.assert_array_less(np.abs(np.array(excess) / limit - 1), 10 / T + 8 * EPS * np.log(K) * T**2 / limit)


# ---- how high --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D3.14", "D3.34", "D3.35")
@given(zv=strategies.students_and_teachers(strategies.one_student()), tolerance=strategies.temperatures(1e-3, 1.0))
def test_from_the_sufficient_temperature_on_logit_matching_is_within_tolerance(zv, tolerance):
    z, v = map(zero_mean, zv)
    assume(np.all(spread(z) + spread(v) > 1e-6))
    assume(np.all(spread(z - v) > 1e-6 * (spread(z) + spread(v))))  # else q − p is lost in rounding before T is high
    enough = sufficient_temperature(z, v=v, tolerance=tolerance)
    always = z.shape[-1] * (spread(z) + spread(v)) / (6 * 3**0.5 * tolerance)
    assert np.all(enough[:, 0] <= always * (1 + 8 * EPS))
    for factor in (1, 3):
        for z_case, v_case, T in zip(z, v, factor * enough[:, 0], strict=True):
            rounding = 64 * EPS * z.shape[-1] * T / spread(z_case - v_case)
            assert distance(z_case[None], v_case[None], T) <= tolerance + rounding


@pytest.mark.derivation("D3.15")
@pytest.mark.parametrize("tolerance", [1e-4, 1e-3])
@pytest.mark.parametrize("K", [3, 10, 100])
def test_the_estimated_temperature_has_about_the_error_that_was_asked_for(K, tolerance):
    z, v = map(zero_mean, pair(K, B=50))
    T = estimated_temperature(z, v=v, tolerance=tolerance)
    assert T.shape == (50, 1)
    reached = [distance(z[[b]], v[[b]], T[b, 0])[0] for b in range(50)]
    assert np.median(np.abs(np.array(reached) / tolerance - 1)) < 20 * tolerance


@pytest.mark.derivation("D3.15")
@pytest.mark.parametrize("tolerance", [1e-4, 1e-3])
def test_where_the_next_term_vanishes_the_term_after_it_gives_the_estimate(tolerance):
    two, (five, _) = map(zero_mean, pair(2, B=50)), pair(5, B=50)
    for z, v in (two, (zero_mean(five), -zero_mean(five))):
        T = estimated_temperature(z, v=v, tolerance=tolerance)
        reached = [distance(z[[b]], v[[b]], T[b, 0])[0] for b in range(50)]
        assert np.median(np.abs(np.array(reached) / tolerance - 1)) < 20 * tolerance
    T = estimated_temperature(np.array([[3.0, -3.0]]), v=np.array([[5.0, -5.0]]), tolerance=0.01)
    assert T[0, 0] == pytest.approx((98 / 3 / (2 * 0.01)) ** 0.5, rel=1e-12)  # 40.4


@pytest.mark.derivation("D3.14", "D3.15")
def test_high_means_high_against_the_logits_and_the_tolerance():
    z, v = pair()
    for how_high in (sufficient_temperature, estimated_temperature):
        T = how_high(z, v=v, tolerance=0.1)
        assert relative_error(how_high(3 * z, v=3 * v, tolerance=0.1), 3 * T) < 1e-13
        assert relative_error(how_high(z, v=v, tolerance=0.01), 10 * T) < 1e-13
        assert relative_error(how_high(z + 7, v=v, tolerance=0.1), T) < 1e-13
    assert np.all(estimated_temperature(z, v=v, tolerance=0.1) < sufficient_temperature(z, v=v, tolerance=0.1))


@pytest.mark.derivation("D3.34", "D3.35")
def test_a_student_near_the_teacher_needs_no_ever_higher_temperature():
    """For D3.14 it would: the difference is in the denominator only."""
    direction, v = map(zero_mean, pair())
    always = 10 * 2 * spread(v) / (6 * 3**0.5 * 0.01)
    for distance in (1e-3, 1e-6, 1e-9):
        z = v + distance * direction
        T = sufficient_temperature(z, v=v, tolerance=0.01)[:, 0]
        sum_of_squares = 10 * (spread(z) ** 2 + spread(v) ** 2) / (12 * 3**0.5 * 0.01 * np.abs(z - v).max(axis=-1))
        nearness = T / always  # the spread of a difference lies between its largest element and twice that
        assert np.all((nearness > 0.4) & (nearness <= 1 + distance * spread(direction).max()))
        assert np.all(sum_of_squares > T / (4 * distance))


@pytest.mark.parametrize("how_high", [sufficient_temperature, estimated_temperature])
def test_where_there_is_nothing_to_match_no_temperature_is_needed_or_high_enough(how_high):
    v = np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 5.0]])
    z = np.array([[2.0, 3.0, 5.0], [0.0, 0.0, 0.0]])
    T = how_high(z, v=v, tolerance=0.1)
    assert T[0, 0] == np.inf
    assert 0 < T[1, 0] < np.inf


# ---- backends and errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda z, v: first_order_gradient(z, v=v, T=8.0),
        lambda z, v: second_order_term(z, v=v, T=8.0),
        lambda z, v: remainder_bound(z, v=v, T=8.0),
        lambda z, v: sufficient_temperature(z, v=v, tolerance=0.1),
        lambda z, v: estimated_temperature(z, v=v, tolerance=0.1),
    ],
)
def test_every_device_gives_numpys_result_and_dtype(function, device, float_dtype):
    z, v = (array.astype(float_dtype) for array in pair())
    expected, result = function(z, v), device.get(function(device.put(z), device.put(v)))
    assert result.dtype == expected.dtype == float_dtype
    assert relative_error(result, expected) < 8 * np.finfo(float_dtype).eps


def test_bad_arguments_are_refused():
    z, v = pair()
    with pytest.raises(ValueError, match=r"T must be a finite number > 0, got 0\.0"):
        remainder_bound(z, v=v, T=0.0)
    with pytest.raises(ValueError, match=r"tolerance must be a finite number > 0: 0\.01 is one per cent, got 0"):
        sufficient_temperature(z, v=v, tolerance=0)
    with pytest.raises(ValueError, match="1 \\+ z/T sums to 0 over a case: T is far too low"):
        first_order_gradient(np.array([[-1.0, -1.0]]), v=np.array([[1.0, 1.0]]), T=1.0)
    with pytest.raises(TypeError, match="z is float64 but v is float32"):
        remainder_bound(z, v=v.astype(np.float32), T=1.0)
