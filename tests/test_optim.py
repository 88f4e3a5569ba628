"""Momentum, max-norm and the schedule, each against plain arithmetic."""

import re

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import dtypes, purely

from minikd.core.optim import clip_factor, limit_norm, momentum_step
from minikd.training.schedule import warmup_cosine

# ---- momentum --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_momentum_step_is_the_scalar_recurrence(momentum):
    rng = np.random.default_rng(0)
    p, v = rng.standard_normal(6), rng.standard_normal(6)
    p_naive, v_naive = p.tolist(), v.tolist()
    for _ in range(20):
        g = rng.standard_normal(6)
        momentum_step(p, v, g, learning_rate=0.1, momentum=momentum)
        for i in range(6):
            v_naive[i] = momentum * v_naive[i] - 0.1 * float(g[i])
            p_naive[i] = p_naive[i] + v_naive[i]
    np.testing.assert_array_equal(v, v_naive)
    np.testing.assert_array_equal(p, p_naive)


@pytest.mark.derivation("D6.16")
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.95])
def test_steps_at_a_constant_gradient_grow_to_the_rate_over_1_minus_momentum(momentum):
    """And not to the rate itself: (1 − momentum) is not on the gradient too."""
    p, v, g = np.zeros(3), np.zeros(3), np.array([1.0, -2.0, 0.5])
    for _ in range(1000):
        momentum_step(p, v, g, learning_rate=0.1, momentum=momentum)
    np.testing.assert_allclose(v, -0.1 / (1 - momentum) * g, rtol=1e-12)


@pytest.mark.derivation("D6.16")
@given(momentum=st.floats(0, 0.999), rate=st.floats(1e-6, 10), g=st.floats(1e-3, 100), steps=st.integers(1, 60))
def test_the_velocity_at_a_constant_gradient_is_a_geometric_sum(momentum, rate, g, steps):
    p, v = np.zeros(1), np.zeros(1)
    for _ in range(steps):
        momentum_step(p, v, np.array([g]), learning_rate=rate, momentum=momentum)
    expected = -rate * g * (1 - momentum**steps) / (1 - momentum)
    assert abs(v[0] - expected) <= 1e-11 * abs(expected)  # 1 − μᵗ cancels three digits at most


def test_momentum_0_is_gradient_descent():
    p, v, g = np.array([1.0, 2.0]), np.zeros(2), np.array([0.5, -0.5])
    momentum_step(p, v, g, learning_rate=0.1, momentum=0.0)
    np.testing.assert_allclose(p, [0.95, 2.05], rtol=1e-15)


def test_momentum_step_finds_the_minimum_of_a_bowl():
    rng = np.random.default_rng(0)
    target, p = rng.standard_normal(5), rng.standard_normal(5)
    v = np.zeros(5)
    for _ in range(500):
        momentum_step(p, v, p - target, learning_rate=0.1, momentum=0.9)
    np.testing.assert_allclose(p, target, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_student_steps_at_its_own_rate(dtype):
    rng = np.random.default_rng(0)
    p, v, g = (rng.standard_normal((3, 5)).astype(dtype) for _ in range(3))
    rates = [0.01, 0.1, 1.0]
    alone = [(p[s].copy(), v[s].copy()) for s in range(3)]
    momentum_step(p, v, g, learning_rate=np.array(rates, dtype).reshape(3, 1), momentum=0.9)
    for s, rate in enumerate(rates):
        momentum_step(*alone[s], g[s], learning_rate=rate, momentum=0.9)
        np.testing.assert_array_equal(p[s], alone[s][0])
        np.testing.assert_array_equal(v[s], alone[s][1])
    assert dtypes([p, v]) == {np.dtype(dtype)}


def test_momentum_step_writes_into_parameters_and_velocity_and_not_into_the_gradient():
    p, v, g = np.ones(3, np.float32), np.ones(3, np.float32), np.full(3, 2.0, np.float32)
    assert purely(lambda g: momentum_step(p, v, g, learning_rate=0.5, momentum=0.5), g) is None
    np.testing.assert_array_equal(v, np.full(3, -0.5, np.float32))
    np.testing.assert_array_equal(p, np.full(3, 0.5, np.float32))
    block, velocity = np.zeros(10), np.zeros(10)
    momentum_step(block[2:4], velocity[2:4], np.ones(2), learning_rate=1.0, momentum=0.9)  # a view of a larger block
    np.testing.assert_array_equal(np.flatnonzero(block), [2, 3])


@pytest.mark.parametrize(
    ("shapes", "wrong"),
    [(((2, 3), (2, 3), (3,)), "gradient"), (((3,), (1,), (3,)), "velocity"), (((1,), (3,), (3,)), "velocity")],
)
def test_parameters_velocity_and_gradient_of_different_shapes_are_refused(shapes, wrong):
    p, v, g = map(np.ones, shapes)
    message = f"{wrong} must have the shape of parameters, {shapes[0]}, got {(v if wrong == 'velocity' else g).shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        momentum_step(p, v, g, learning_rate=0.1, momentum=0.9)
    assert np.all(p == 1)
    assert np.all(v == 1)


def test_a_gradient_of_another_dtype_is_refused():
    p, v = np.ones(3, np.float32), np.ones(3, np.float32)
    with pytest.raises(TypeError, match="parameters is float32 but gradient is float64: convert one of them"):
        momentum_step(p, v, np.ones(3), learning_rate=0.1, momentum=0.9)


# ---- max-norm --------------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D6.18")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("population", [(), (3,)])
@pytest.mark.parametrize("max_norm", [0.5, 3.87, 20.0])
def test_limit_norm_shortens_long_columns_and_leaves_short_ones_alone(dtype, population, max_norm):
    rng = np.random.default_rng(0)
    W = (rng.standard_normal((*population, 12, 40)) * np.geomspace(0.01, 100, 40)).astype(dtype)
    before = W.astype(np.float64)
    lengths = np.sqrt((before**2).sum(axis=-2))
    assert limit_norm(W, max_norm) is None
    assert W.dtype == dtype
    after = W.astype(np.float64)
    lengths_after = np.sqrt((after**2).sum(axis=-2))
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(lengths_after, np.minimum(lengths, max_norm), rtol=8 * eps)
    direction, direction_after = before / lengths[..., None, :], after / lengths_after[..., None, :]
    np.testing.assert_allclose(direction_after, direction, rtol=16 * eps)
    short = np.broadcast_to((lengths < max_norm * (1 - 8 * eps))[..., None, :], W.shape)
    assert short.any()
    assert not short.all()
    np.testing.assert_array_equal(W[short], before.astype(dtype)[short])


def test_max_norm_is_the_length_and_not_its_square():
    W = np.array([[3.0], [4.0]])  # length 5, squared 25
    unchanged = W.copy()
    limit_norm(unchanged, max_norm=5.5)
    np.testing.assert_array_equal(unchanged, W)
    limit_norm(W, max_norm=4.0)
    np.testing.assert_allclose(W, [[2.4], [3.2]], rtol=1e-15)


def test_a_units_incoming_weights_are_a_column():
    W = np.array([[3.0, 0.0], [4.0, 0.1]])
    limit_norm(W, max_norm=1.0)
    np.testing.assert_allclose(W, [[0.6, 0.0], [0.8, 0.1]], rtol=1e-15)


def test_a_unit_without_weights_stays_without():
    W = np.zeros((3, 2))
    limit_norm(W, max_norm=1.0)
    np.testing.assert_array_equal(W, 0.0)


def test_limit_norm_twice_is_limit_norm_once():
    W = np.random.default_rng(0).standard_normal((30, 20))
    limit_norm(W, max_norm=2.0)
    once = W.copy()
    limit_norm(W, max_norm=2.0)
    np.testing.assert_allclose(W, once, rtol=1e-15)
    assert np.abs(once).max() > 0.1


@pytest.mark.slow
@pytest.mark.derivation("D6.18")
@given(data=st.data(), D=st.integers(1, 6), max_norm=st.floats(0.01, 100))
def test_no_allowed_weights_are_nearer_than_those_of_limit_norm(data, D, max_norm):
    W = data.draw(strategies.logits((D, 4), size=100.0))
    limited = W.copy()
    limit_norm(limited, max_norm)
    away = np.linalg.norm(W - limited, axis=0)
    rng = data.draw(strategies.upstreams())
    far = rng.standard_normal((50, D, 4))
    for others in (far, W + far, limited + 1e-3 * far, np.broadcast_to(W, far.shape)):
        length = np.linalg.norm(others, axis=-2, keepdims=True)
        allowed = others * np.minimum(1, max_norm / np.maximum(length, 1e-300))
        assert np.all(np.linalg.norm(W - allowed, axis=-2) >= away - 1e-13 * np.linalg.norm(W, axis=0))
    assert np.all(np.linalg.norm(limited, axis=0) <= max_norm * (1 + 1e-14))


def test_limit_norm_refuses_what_is_no_float_array():
    with pytest.raises(TypeError, match="W must be a NumPy or CuPy array, got list"):
        limit_norm([[3.0], [4.0]], max_norm=1.0)
    with pytest.raises(TypeError, match="W must be float32 or float64, got int64"):
        limit_norm(np.array([[3], [4]], np.int64), max_norm=1.0)


# ---- the schedule ----------------------------------------------------------------------------------------------------


def schedule(steps, warmup):
    return np.array([warmup_cosine(step, steps, warmup) for step in range(steps)])


def test_the_schedule_rises_linearly_then_falls_as_half_a_cosine():
    factors = schedule(100, warmup=0.2)
    np.testing.assert_allclose(factors[:20], np.arange(1, 21) / 20, rtol=1e-15)
    np.testing.assert_allclose(factors[20:], (1 + np.cos(np.pi * np.arange(80) / 80)) / 2, rtol=1e-12)
    assert factors[60] == pytest.approx(0.5)  # halfway down
    assert factors[19] == factors[20] == 1.0
    assert factors[0] == 1 / 20  # no step is wasted on a rate of zero
    assert 0 < factors[99] < 1e-3


def test_without_warmup_the_schedule_starts_at_the_top():
    factors = schedule(50, warmup=0.0)
    assert factors[0] == 1.0
    assert np.all(np.diff(factors) < 0)
    assert factors[25] == pytest.approx(0.5)


@given(steps=st.integers(1, 300), warmup=st.floats(0, 0.999))
def test_the_schedule_stays_in_0_to_1_and_turns_once(steps, warmup):
    factors = schedule(steps, warmup)
    assert np.all((factors > 0) & (factors <= 1))
    assert factors.max() == 1.0
    top = int(np.argmax(factors))
    assert np.all(np.diff(factors[: top + 1]) > 0)
    assert np.all(np.diff(factors[top:]) <= 0)
    assert abs(top - warmup * steps) <= 1.5


@pytest.mark.parametrize("max_norm", [0.0, -1.0, np.nan, np.inf])
def test_a_norm_that_is_no_limit_is_refused(max_norm):
    with pytest.raises(ValueError, match="max_norm must be a finite L2 norm > 0, got"):
        limit_norm(np.ones((2, 2)), max_norm)


@pytest.mark.parametrize(("step", "steps", "warmup"), [(10, 10, 0.1), (-1, 10, 0.1), (0, 10, 1.0)])
def test_the_schedule_refuses_what_lies_outside_the_run(step, steps, warmup):
    with pytest.raises(ValueError, match="step must be in 0"):
        warmup_cosine(step, steps, warmup)


@pytest.mark.derivation("D6.17")
def test_a_long_gradient_is_scaled_to_the_limit_and_a_short_one_left():
    rng = np.random.default_rng(0)
    long, short = 30 * rng.standard_normal((2, 50)), 1e-3 * rng.standard_normal((2, 50))
    assert np.allclose(np.linalg.norm(clip_factor(long, 2.5) * long, axis=-1), 2.5, rtol=1e-14)
    assert np.array_equal(clip_factor(short, 2.5), np.ones((2, 1)))
    assert clip_factor(np.zeros(3), 1.0) == 1.0
    assert clip_factor(np.ones(4, np.float32), 1.0).dtype == np.float32


@pytest.mark.parametrize("clip_norm", [0.0, -1.0, np.nan, np.inf])
def test_a_clip_norm_that_is_no_limit_is_refused(clip_norm):
    with pytest.raises(ValueError, match="clip_norm must be a finite L2 norm > 0, got"):
        clip_factor(np.ones(2), clip_norm)


def test_a_gradient_whose_norm_overflows_gives_nan_and_never_a_silent_zero():
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(clip_factor(np.full(3, 1e20, np.float32), 1.0))


def test_numpys_float64_does_not_promote():
    g = np.ones(4, np.float32)
    assert clip_factor(g, np.float64(0.5)).dtype == np.float32
