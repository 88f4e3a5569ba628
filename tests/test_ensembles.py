"""E8: an ensemble as one teacher, by the arithmetic or the geometric mean of its members."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import (
    EPS,
    naive_entropy,
    naive_log_softmax,
    naive_soft_cross_entropy,
    naive_softmax,
    purely,
    relative_error,
    spread,
)
from strategies import logits, populations, temperatures

from minikd.core.losses import soft_cross_entropy
from minikd.core.softmax import softmax
from minikd.theory.ensembles import arithmetic_mean, geometric_mean

LEADING = populations()


@st.composite
def ensembles(draw, leading=LEADING):
    """v, (M, ..., N, K)."""
    M, N, K = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(2, 7))
    return draw(logits((M, *draw(leading), N, K)))


def one_population():
    return ensembles(leading=st.just(()))


def others(v, seed=0):
    """Some distributions (N, K) for an ensemble (M, N, K), positive everywhere."""
    return naive_softmax(2 * np.random.default_rng(seed).standard_normal(v.shape[1:]))


def divergence(p, q):
    """KL(p‖q), (...,), of two arrays of positive probabilities."""
    return np.sum(p * (np.log(p) - np.log(q)), axis=-1)


SAFE = temperatures(0.1, 1e6)  # exp(30/0.1) is still a number, so the textbook's softmax works


# ---- the definitions -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D8.1", "D8.4")
@given(v=ensembles(), T=SAFE)
def test_the_arithmetic_mean_is_the_average_of_the_probabilities(v, T):
    expected = sum(naive_softmax(v_m, T) for v_m in v) / len(v)
    mean = arithmetic_mean(v, T)
    # The logits may be T log p̄ with log p̄ near 600: their rounding, divided by T again, is relative to q
    np.testing.assert_allclose(softmax(mean, T), expected, rtol=4096 * EPS)
    np.testing.assert_allclose(np.exp(mean / T), expected, rtol=4096 * EPS)  # without a constant to normalise away


@pytest.mark.slow
@pytest.mark.derivation("D8.2", "D8.3")
@given(v=ensembles(), T=SAFE)
def test_the_mean_of_the_logits_is_the_normalised_geometric_mean_at_every_T(v, T):
    log_product = sum(naive_log_softmax(v_m, T) for v_m in v) / len(v)
    product = np.exp(log_product)
    expected = product / product.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(softmax(geometric_mean(v), T), expected, rtol=4096 * EPS)


def test_geometric_means_are_roots_of_products():
    """The textbook's form, in numbers one can follow."""
    p = np.array([[[0.5, 0.4, 0.1]], [[0.1, 0.8, 0.1]]])
    roots = np.sqrt(p[0] * p[1])
    np.testing.assert_allclose(softmax(geometric_mean(np.log(p))), roots / roots.sum(), rtol=8 * EPS)
    np.testing.assert_allclose(softmax(arithmetic_mean(np.log(p), T=1.0)), [[0.3, 0.6, 0.1]], rtol=8 * EPS)


def test_the_two_means_differ_and_the_arithmetic_one_belongs_to_its_T():
    v = 4 * np.random.default_rng(0).standard_normal((3, 2, 5))
    at_2 = arithmetic_mean(v, T=2.0)
    assert np.abs(softmax(at_2, 2.0) - softmax(geometric_mean(v), 2.0)).max() > 0.01
    assert np.abs(softmax(at_2, 1.0) - naive_softmax(v, 1.0).mean(axis=0)).max() > 0.01


@pytest.mark.slow
@given(v=one_population(), T=temperatures())
def test_an_ensemble_of_one_is_its_member(v, T):
    for mean in (geometric_mean(v[:1]), arithmetic_mean(v[:1], T)):
        np.testing.assert_allclose(softmax(mean, T), softmax(v[0], T), rtol=1e-11, atol=1e-300)  # (R/T) EPS at worst


@pytest.mark.slow
@given(v=ensembles(), T=SAFE, rng=st.integers(0, 99).map(np.random.default_rng))
def test_the_order_of_the_members_makes_no_odds_and_that_of_the_classes_is_kept(v, T, rng):
    members, classes = rng.permutation(len(v)), rng.permutation(v.shape[-1])
    size = np.abs(v).max() + T * np.log(v.shape[-1])
    for mean in (geometric_mean, lambda v: arithmetic_mean(v, T)):
        np.testing.assert_allclose(mean(v[members][..., classes]), mean(v)[..., classes], rtol=0, atol=64 * EPS * size)


# ---- what they cost --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D8.5", "D8.6")
@given(v=one_population(), T=SAFE)
def test_the_arithmetic_mean_costs_the_average_over_the_members_and_so_does_its_gradient(v, T):
    z = 5 * np.random.default_rng(1).standard_normal(v.shape[1:])
    C, dz = soft_cross_entropy(z, v=arithmetic_mean(v, T), T=T)
    assert pytest.approx(sum(naive_soft_cross_entropy(z, v_m, T) for v_m in v) / len(v), rel=1e-12) == C
    q = naive_softmax(z, T)
    expected = sum((q - naive_softmax(v_m, T)) / T / len(z) for v_m in v) / len(v)
    assert np.abs(dz - expected).max() <= 1e-12 / T  # q − p is a difference of numbers of at most 1


@pytest.mark.slow
@pytest.mark.derivation("D8.7")
@given(v=one_population(), T=temperatures(1.0, 1e3), seed=st.integers(0, 99))
def test_the_arithmetic_mean_is_nearest_from_the_members(v, T, seed):
    p_m, p = naive_softmax(v, T), others(v, seed)
    nearest = naive_softmax(arithmetic_mean(v, T), T)
    average, least = (divergence(p_m, one).mean(axis=0) for one in (p, nearest))
    np.testing.assert_allclose(average, least + divergence(nearest, p), rtol=0, atol=1e-11)  # of logarithms up to 60
    assert np.all(average >= least - 1e-11)


@pytest.mark.slow
@pytest.mark.derivation("D8.8")
@given(v=one_population(), T=temperatures(1.0, 1e3), seed=st.integers(0, 99))
def test_the_geometric_mean_is_nearest_the_other_way_round(v, T, seed):
    p_m, p = naive_softmax(v, T), others(v, seed)
    nearest = naive_softmax(geometric_mean(v), T)
    average, least = (divergence(one, p_m).mean(axis=0) for one in (p, nearest))
    np.testing.assert_allclose(average, least + divergence(p, nearest), rtol=0, atol=1e-11)
    log_Z = np.log(np.exp(np.log(p_m).mean(axis=0)).sum(axis=-1))
    np.testing.assert_allclose(least, -log_Z, rtol=0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.derivation("D8.9")
@given(v=one_population(), T=temperatures(1.0, 1e3))
def test_the_arithmetic_mean_is_at_least_as_uncertain_as_its_members_on_the_average(v, T):
    p_m, mixed = naive_softmax(v, T), softmax(arithmetic_mean(v, T), T)
    gained = naive_entropy(mixed) - naive_entropy(p_m).mean(axis=0)
    np.testing.assert_allclose(gained, divergence(p_m, mixed).mean(axis=0), rtol=0, atol=1e-12)
    assert np.all(gained >= -1e-12)


# ---- high temperatures -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D8.10")
@given(v=one_population(), T=temperatures())
def test_the_means_are_no_further_apart_than_the_proven_bound(v, T):
    apart = np.abs(softmax(arithmetic_mean(v, T), T) - softmax(geometric_mean(v), T)).max(axis=-1)
    bound = (spread(v.mean(axis=0)) ** 2 + np.mean(spread(v) ** 2, axis=0)) / (12 * math.sqrt(3) * T**2)
    assert np.all(apart <= bound + 64 * EPS * (1 + np.abs(v).max() / T))


def test_opposite_members_come_near_that_bound():
    v = np.array([[[1.0, 0.0, 0.0, 0.0, 0.0]], [[-1.0, 0.0, 0.0, 0.0, 0.0]]])
    apart = softmax(arithmetic_mean(v, 1e3), 1e3) - softmax(geometric_mean(v), 1e3)
    assert 0.9 < np.abs(apart).max() * 12 * math.sqrt(3) * 1e6 < 1


@pytest.mark.slow
@pytest.mark.derivation("D8.11")
@given(v=one_population(), T=temperatures(1.0, 1e4))
def test_they_differ_by_the_members_variance(v, T):
    apart = softmax(arithmetic_mean(v, T), T) - softmax(geometric_mean(v), T)
    leading = difference_of_the_means(v, T)
    bound = (spread(v.mean(axis=0)) ** 3 + np.mean(spread(v) ** 3, axis=0)) / (5 * T**3)
    assert np.all(np.abs(apart - leading) <= bound[:, None] + 64 * EPS * (1 + np.abs(v).max() / T))


def difference_of_the_means(v, T):
    """The term in 1/T² of p̄ − g, (N, K)."""
    centred = v - v.mean(axis=-1, keepdims=True)
    s = centred.var(axis=0)  # s², (N, K)
    return (s - s.mean(axis=-1, keepdims=True)) / (2 * v.shape[-1] * T**2)


@pytest.mark.derivation("D8.11")
def test_the_error_of_that_term_falls_as_1_over_T_cubed():
    v = np.random.default_rng(0).standard_normal((3, 2, 5))
    T = np.geomspace(30, 300, 6)
    errors = [
        np.abs(softmax(arithmetic_mean(v, t), t) - softmax(geometric_mean(v), t) - difference_of_the_means(v, t)).max()
        for t in T
    ]
    slope, _ = np.polyfit(np.log(T), np.log(errors), 1)
    assert slope == pytest.approx(-3, abs=0.1)


# ---- backends, extremes, purity --------------------------------------------------------------------------------------

MEANS = {
    "geometric": lambda v, T: geometric_mean(v),
    "arithmetic": arithmetic_mean,
    "arithmetic, a T each": arithmetic_mean,
}


@pytest.mark.parametrize("name", MEANS)
def test_every_backend_gives_numpys_mean(name, device, float_dtype):
    rng = np.random.default_rng(0)
    v = (4 * rng.standard_normal((3, 2, 5, 4))).astype(float_dtype)
    T = np.array([0.5, 20.0], float_dtype).reshape(2, 1, 1) if "each" in name else 2.0
    expected = MEANS[name](v, T)
    got = MEANS[name](device.put(v.copy()), device.put(T) if "each" in name else T)
    assert got.device == device.put(v).device
    host = device.get(got)
    assert host.dtype == expected.dtype == float_dtype
    assert host.shape == expected.shape == (2, 5, 4)
    if device.name == "gpu":
        tolerance = {"float32": 1e-5, "float64": 1e-12}[float_dtype]
        assert np.linalg.norm(host - expected) <= tolerance * np.linalg.norm(expected)
    else:
        np.testing.assert_array_equal(host, expected, strict=True)


@pytest.mark.parametrize("T", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype, T):
    v = np.array([[[1e30, -1e30, 0.0]], [[-1e30, 1e30, 0.0]], [[1e30, 1e30, 1e30]]], dtype)
    for mean in (geometric_mean(v), arithmetic_mean(v, T)):
        assert np.isfinite(mean).all()
        assert mean.dtype == dtype
    q = softmax(arithmetic_mean(v, T), T)
    np.testing.assert_allclose(q, [[4 / 9, 4 / 9, 1 / 9]], rtol=1e-6)  # votes of 1, 1 and three thirds


def test_the_means_at_several_temperatures_are_those_at_each():
    v = 3 * np.random.default_rng(0).standard_normal((3, 5, 4))
    temperatures = np.array([0.5, 2.0]).reshape(2, 1, 1)
    together = arithmetic_mean(v[:, None], temperatures)
    assert together.shape == (2, 5, 4)
    for mean, T in zip(together, [0.5, 2.0], strict=True):
        assert relative_error(mean, arithmetic_mean(v, T)) < 4 * EPS


def test_the_means_write_into_no_argument():
    v, T = np.random.default_rng(0).standard_normal((3, 2, 5, 4)), np.array([1.0, 2.0]).reshape(2, 1, 1)
    purely(geometric_mean, v)
    purely(arithmetic_mean, v, T)


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [geometric_mean, lambda v: arithmetic_mean(v, 1.0)], ids=["geometric", "arithmetic"])
def test_what_is_no_ensemble_is_refused(mean):
    for shape in [(5, 4), (4,), (), (0, 5, 4), (3, 0, 4), (3, 5, 0)]:
        message = f"v must have shape (M, ..., N, K) with M members' logits, M, N, K > 0, got {shape}"
        with pytest.raises(ValueError, match=re.escape(message)):
            mean(np.zeros(shape))
    with pytest.raises(TypeError, match="v must be float32 or float64, got int64"):
        mean(np.zeros((3, 5, 4), np.int64))
    with pytest.raises(TypeError, match="v must be a NumPy or CuPy array, got list"):
        mean([np.zeros((5, 4))])


@pytest.mark.parametrize("T", [0.0, -1.0, math.inf, math.nan])
def test_T_out_of_range_is_refused(T):
    with pytest.raises(ValueError, match="T must be a finite number > 0"):
        arithmetic_mean(np.zeros((3, 5, 4)), T)


@pytest.mark.parametrize("shape", [(3, 1, 1), (2, 1, 1), (1, 3, 1, 1)])
def test_a_T_for_each_member_or_for_students_that_v_has_no_axis_for_is_refused(shape):
    with pytest.raises(ValueError, match=re.escape(f"of one member, (5, 4), got shape {shape}: for students at")):
        arithmetic_mean(np.zeros((3, 5, 4)), np.ones(shape))


def test_a_T_for_another_population_is_refused():
    with pytest.raises(ValueError, match=re.escape("of one member, (2, 5, 4), got shape (4, 1, 1)")):
        arithmetic_mean(np.zeros((3, 2, 5, 4)), np.ones((4, 1, 1)))
