"""E1: the softened softmax, its logarithm, and both backward passes."""

import re

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import (
    EPS,
    complex_step,
    dtypes,
    naive_entropy,
    naive_log_softmax,
    naive_softmax,
    purely,
    relative_error,
)

from minikd.core.losses import distillation_loss, hard_cross_entropy, soft_cross_entropy
from minikd.core.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward

TEMPERATURES = [0.1, 0.5, 1.0, 2.0, 8.0, 20.0, 100.0, 1000.0]


def rounding(z, T):
    """What float64 permits a probability, relatively: z/T carries the error EPS |z/T|, and exp makes it a factor."""
    return 32 * EPS * (1 + np.max(np.abs(z)) / T)


# ---- forward ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D1.1")
@given(z=strategies.students(), T=strategies.temperatures(0.1, 1e6))
def test_softmax_is_equation_E1(z, T):
    q, naive = softmax(z, T), naive_softmax(z, T)
    assert q.shape == z.shape
    assert np.all(np.abs(q - naive) <= rounding(z, T) * naive)


@pytest.mark.slow
@pytest.mark.derivation("D1.4")
@given(z=strategies.students(), T=strategies.temperatures(0.1, 1e6))
def test_log_softmax_is_the_logarithm_of_equation_E1(z, T):
    np.testing.assert_allclose(log_softmax(z, T), naive_log_softmax(z, T), rtol=0, atol=rounding(z, T))


@pytest.mark.parametrize("K", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("T", TEMPERATURES)
def test_each_row_of_softmax_sums_to_one(K, T):
    z = 5 * np.random.default_rng(K).standard_normal((4, K))
    np.testing.assert_allclose(softmax(z, T).sum(axis=-1), 1.0, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.derivation("D1.2")
@given(z=strategies.students(), T=strategies.temperatures(0.1, 1e3), constant=st.floats(-1e3, 1e3))
def test_adding_a_number_to_all_logits_of_a_case_changes_nothing(z, T, constant):
    shifted = z + constant
    permitted = rounding(np.abs(z) + abs(constant), T)  # the shifted logits were rounded before softmax saw them
    np.testing.assert_allclose(log_softmax(shifted, T), log_softmax(z, T), rtol=0, atol=permitted)


def test_at_T_1_softmax_is_the_ordinary_one():
    z = np.log(np.array([[1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_allclose(softmax(z), [[0.1, 0.2, 0.3, 0.4]], rtol=1e-15)
    np.testing.assert_array_equal(softmax(z), softmax(z, 1.0))
    np.testing.assert_array_equal(log_softmax(z), log_softmax(z, T=1))


def test_T_divides_the_logits():
    z = np.random.default_rng(0).standard_normal((3, 5))
    np.testing.assert_allclose(softmax(z, 4.0), softmax(z / 4.0), rtol=1e-15)


@pytest.mark.derivation("D1.11")
@pytest.mark.parametrize("K", [2, 10, 100])
def test_entropy_grows_with_T(K):
    z = 5 * np.random.default_rng(K).standard_normal((6, K))
    entropies = np.stack([naive_entropy(softmax(z, T)) for T in [0.3, *TEMPERATURES[1:]]])
    assert np.all(np.diff(entropies, axis=0) > 0)
    assert np.all(entropies < np.log(K))
    np.testing.assert_allclose(entropies[-1], np.log(K), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.derivation("D1.11")
@given(z=strategies.students(), T=strategies.temperatures(), factor=st.floats(1, 100))
def test_entropy_never_falls_as_T_rises(z, T, factor):
    cooler, warmer = (naive_entropy(softmax(z, t)) for t in (T, factor * T))
    # The probabilities' rounding, through p log p: 32 EPS of a number of at most log K, some more for |z/T| < 750
    assert np.all(warmer >= cooler - 1e-12)


@pytest.mark.slow
@given(z=strategies.students(), T=strategies.temperatures())
def test_softmax_keeps_the_order_of_the_classes(z, T):
    q = softmax(z, T)
    in_order = np.take_along_axis(q, np.argsort(z, axis=-1), axis=-1)
    assert np.all(np.diff(in_order, axis=-1) >= 0)
    largest = np.take_along_axis(q, np.argmax(z, axis=-1)[..., None], axis=-1)[..., 0]
    np.testing.assert_array_equal(largest, q.max(axis=-1))
    assert np.all(largest >= (1 - 1e-14) / z.shape[-1])


def test_T_of_a_population_softens_each_student_by_its_own():
    z = np.random.default_rng(0).standard_normal((3, 4, 5))
    T = np.array([0.5, 1.0, 20.0]).reshape(3, 1, 1)
    dq = np.random.default_rng(1).standard_normal(z.shape)
    for f in (softmax, log_softmax):
        together = f(z, T)
        assert together.shape == z.shape
        for s, t in enumerate([0.5, 1.0, 20.0]):
            np.testing.assert_array_equal(together[s], f(z[s], t))
    for f in (softmax_backward, log_softmax_backward):
        together = f(dq, softmax(z, T), T)
        for s, t in enumerate([0.5, 1.0, 20.0]):
            np.testing.assert_array_equal(together[s], f(dq[s], softmax(z[s], t), t))


# ---- backward --------------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D1.5", "D1.7")
@pytest.mark.parametrize("K", [2, 3, 10, 100])
@pytest.mark.parametrize("T", TEMPERATURES)
def test_softmax_backward_is_the_derivative_of_E1(K, T):
    rng = np.random.default_rng(K)
    z, dq = min(1.0, 2 * T) * rng.standard_normal((2, K)), rng.standard_normal((2, K))
    dz = softmax_backward(dq, softmax(z, T), T)
    oracle = complex_step(lambda z: np.sum(dq * naive_softmax(z, T)), z)
    # The bracket in q_i (dq_i − Σ q dq) is of the size of dq at every T, so nothing is lost as T grows. At low T the
    # logits are smaller, for where one class has all the probability dq_i − Σ q dq cancels.
    assert relative_error(dz, oracle) < 1e-13


@pytest.mark.derivation("D1.6", "D1.8")
@pytest.mark.parametrize("K", [2, 3, 10, 100])
@pytest.mark.parametrize("T", TEMPERATURES)
def test_log_softmax_backward_is_the_derivative_of_log_E1(K, T):
    rng = np.random.default_rng(K)
    z, dlog_q = min(1.0, 2 * T) * rng.standard_normal((2, K)), rng.standard_normal((2, K))
    dz = log_softmax_backward(dlog_q, log_softmax(z, T), T)
    oracle = complex_step(lambda z: np.sum(dlog_q * naive_log_softmax(z, T)), z)
    assert relative_error(dz, oracle) < 1e-13


@pytest.mark.slow
@pytest.mark.derivation("D1.9")
@given(z=strategies.students(), T=strategies.temperatures(), rng=strategies.upstreams())
def test_each_row_of_the_gradient_sums_to_zero(z, T, rng):
    upstream = rng.standard_normal(z.shape)
    q = softmax(z, T)
    for dz in (softmax_backward(upstream, q, T), log_softmax_backward(upstream, log_softmax(z, T), T)):
        # Σ_i of terms of the size of (1/T)|upstream|, and Σ q misses 1 by a few EPS
        assert np.all(np.abs(dz.sum(axis=-1)) <= 64 * EPS * np.abs(upstream).sum(axis=-1) / T)
    assert np.any(dz != 0)


@pytest.mark.derivation("D1.9")
def test_a_constant_upstream_gradient_gives_zero():
    """Rows sum to one, so their sum has no gradient: why no test here uses ones as the upstream gradient."""
    q = softmax(np.random.default_rng(0).standard_normal((3, 5)), 2.0)
    np.testing.assert_allclose(softmax_backward(np.ones_like(q), q, 2.0), 0.0, atol=1e-16)


# ---- extremes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e30), (np.float32, 1e20)])
@given(data=st.data(), T=strategies.temperatures(1e-3, 1e6), rng=strategies.upstreams())
def test_extreme_logits_and_temperatures_stay_finite(dtype, size, data, T, rng):
    """Probabilities, their logarithms, costs and gradients, without one warning."""
    z, v = data.draw(strategies.students_and_teachers(size=size, dtype=dtype))
    y = data.draw(strategies.labels(z))
    upstream = rng.standard_normal(z.shape).astype(dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        log_q, q = log_softmax(z, T), softmax(z, T)
        results = [
            log_q,
            q,
            softmax_backward(upstream, q, T),
            log_softmax_backward(upstream, log_q, T),
            *soft_cross_entropy(z, v=v, T=T),
            *hard_cross_entropy(z, y=y),
            *distillation_loss(z, v=v, y=y, T=T, alpha=0.5),
        ]
    assert all(np.all(np.isfinite(result)) for result in results)
    assert dtypes(results) == {np.dtype(dtype)}
    np.testing.assert_allclose(q.sum(axis=-1), 1.0, rtol=1e-5)
    assert np.all(log_q <= 0)


@pytest.mark.derivation("D1.3", "D1.4")
def test_far_apart_logits_give_log_probabilities_of_their_distance():
    """Where log(softmax(z)) would be −inf, or an epsilon would cap it."""
    z = np.array([[1e30, 0.0, -1e30], [0.0, 1000.0, 0.0]])
    np.testing.assert_array_equal(log_softmax(z), [[0.0, -1e30, -2e30], [-1000.0, 0.0, -1000.0]])
    np.testing.assert_array_equal(log_softmax(z, 1e-3)[0], np.array([0.0, -1e30, -2e30]) / 1e-3)


# ---- dtypes, purity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("T", [2.0, 2, np.float64(2.0), np.float32(2.0), "array"])
def test_the_dtype_is_the_logits_whatever_T_is(dtype, T):
    T = np.full((3, 1, 1), 2.0, dtype) if isinstance(T, str) else T
    rng = np.random.default_rng(0)
    z, upstream = (rng.standard_normal((3, 4, 5)).astype(dtype) for _ in range(2))
    q = softmax(z, T)
    for result in (q, log_softmax(z, T), softmax_backward(upstream, q, T), log_softmax_backward(upstream, q, T)):
        assert result.dtype == dtype
        assert result.shape == z.shape


def test_softmax_writes_into_no_argument():
    rng = np.random.default_rng(0)
    z, upstream, T = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5)), np.full((3, 1, 1), 2.0)
    q, log_q = purely(softmax, z, T), purely(log_softmax, z, T)
    purely(softmax_backward, upstream, q, T)
    purely(log_softmax_backward, upstream, log_q, T)


def test_float32_agrees_with_float64_in_norm():
    rng = np.random.default_rng(0)
    z, dq = 3 * rng.standard_normal((64, 10)), rng.standard_normal((64, 10))
    q = softmax(z, 4.0)
    for exact, f, args in [(q, softmax, (z,)), (softmax_backward(dq, q, 4.0), softmax_backward, (dq, q))]:
        single = f(*(a.astype(np.float32) for a in args), 4.0)
        assert np.linalg.norm(single - exact) < 1e-6 * np.linalg.norm(exact)


# ---- errors ----------------------------------------------------------------------------------------------------------

FUNCTIONS = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "softmax_backward": lambda z, T: softmax_backward(z, z, T),
    "log_softmax_backward": lambda z, T: log_softmax_backward(z, z, T),
}


@pytest.fixture(params=FUNCTIONS.values(), ids=FUNCTIONS.keys())
def f(request):
    return request.param


@pytest.mark.parametrize("T", [0.0, -1.0, float("nan"), float("inf"), -float("inf"), 0, np.float64(0), np.float32(-2)])
def test_T_out_of_range_is_refused_with_the_rule_and_the_value(f, T):
    message = f"T must be a finite number > 0, got {float(T)}"
    with pytest.raises(ValueError, match=re.escape(message)):
        f(np.zeros((2, 3)), T)


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf")])
def test_one_T_of_a_population_out_of_range_is_refused(f, wrong):
    message = f"T must be a finite number > 0, got [1.0, {wrong}]"
    with pytest.raises(ValueError, match=re.escape(message)):
        f(np.zeros((2, 2, 3)), np.array([1.0, wrong]).reshape(2, 1, 1))


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 1), (1, 3), (2, 2, 1), (2, 1, 3)])
def test_T_of_another_shape_is_refused(f, shape):
    message = f"T must be a number or an array of shape (..., 1, 1), got shape {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        f(np.zeros((2, 2, 3)), np.ones(shape))


def test_T_of_another_dtype_is_refused(f):
    with pytest.raises(TypeError, match=r"float32 but T is float64.*astype"):
        f(np.zeros((2, 2, 3), np.float32), np.ones((2, 1, 1)))
    with pytest.raises(TypeError, match="T must be float32 or float64, got int64"):
        f(np.zeros((2, 2, 3)), np.ones((2, 1, 1), np.int64))


@pytest.mark.parametrize(("T", "name"), [("hot", "str"), (None, "NoneType"), ([1.0], "list"), (1j, "complex")])
def test_T_that_is_no_number_is_refused(f, T, name):
    with pytest.raises(TypeError, match=f"T must be .*got {name}"):
        f(np.zeros((2, 3)), T)


@pytest.mark.parametrize(("z", "message"), [([[1.0, 2.0]], "array, got list"), (np.zeros((2, 3), int), "got int64")])
def test_logits_that_are_no_float_array_are_refused(f, z, message):
    with pytest.raises(TypeError, match=f"must be .*{message}: convert it with"):
        f(z, 1.0)
