"""Affine, ReLU and dropout: each backward pass differentiates its forward pass, and masks look like chance."""

import itertools
import math
import re

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import (
    central_difference,
    complex_step,
    dtypes,
    naive_affine,
    naive_dropout,
    naive_relu,
    purely,
    relative_error,
)

from minikd.core.layers import (
    affine_backward,
    affine_forward,
    dropout_backward,
    dropout_forward,
    relu_backward,
    relu_forward,
)
from minikd.core.masks import dropout_mask, hash32

# ---- affine ----------------------------------------------------------------------------------------------------------


def affine_case(population=(), shared=False, B=4, D=3, H=5, seed=0):
    """x, W, b and an upstream gradient; x without leading axes where the students share it."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((B, D) if shared else (*population, B, D))
    W, b = rng.standard_normal((*population, D, H)), rng.standard_normal((*population, H))
    return x, W, b, rng.standard_normal((*population, B, H))


def naive_population(x, W, b):
    """The textbook's affine layer, student by student; x may be shared."""
    out = [naive_affine(x if x.ndim == 2 else x[s], W[s], b[s]) for s in np.ndindex(W.shape[:-2])]
    return np.array(out).reshape(*W.shape[:-2], *out[0].shape)


CASES = [((), False), ((1,), False), ((3,), False), ((2, 3), False), ((1,), True), ((3,), True), ((2, 3), True)]
affine_cases = pytest.mark.parametrize(("population", "shared"), CASES)


@pytest.mark.derivation("D6.1", "D6.5")
@affine_cases
def test_affine_is_x_W_plus_b(population, shared):
    x, W, b, _ = affine_case(population, shared)
    out, _ = affine_forward(x, W, b)
    assert relative_error(out, naive_population(x, W, b)) < 1e-14


@pytest.mark.derivation("D6.2", "D6.3", "D6.4", "D6.5")
@affine_cases
def test_affine_backward_is_the_derivative_of_the_forward_pass(population, shared):
    x, W, b, dout = affine_case(population, shared)
    _, cache = affine_forward(x, W, b)
    dx, dW, db = affine_backward(dout, cache)
    assert relative_error(dx, complex_step(lambda x: np.sum(dout * naive_population(x, W, b)), x)) < 1e-14
    assert relative_error(dW, complex_step(lambda W: np.sum(dout * naive_population(x, W, b)), W)) < 1e-14
    assert relative_error(db, complex_step(lambda b: np.sum(dout * naive_population(x, W, b)), b)) < 1e-14


@pytest.mark.slow
@pytest.mark.derivation("D6.2", "D6.3", "D6.4", "D6.5")
@given(data=st.data(), rng=strategies.upstreams(), B=st.integers(1, 4), D=st.integers(1, 4), H=st.integers(1, 4))
def test_affine_backward_is_right_for_any_shape(data, rng, B, D, H):
    population = data.draw(strategies.populations())
    shared = data.draw(st.booleans())
    x, W, b, dout = affine_case(population, shared, B, D, H, seed=rng)
    dx, dW, db = affine_backward(dout, affine_forward(x, W, b)[1])
    # The product rule: f(x + dx', W + dW', b + db') − f(x, W, b) to first order, along a random direction
    directions = [rng.standard_normal(a.shape) for a in (x, W, b)]
    stepped = [a + 1e-30j * direction for a, direction in zip((x, W, b), directions, strict=True)]
    slope = np.sum(dout * naive_population(*stepped).imag) / 1e-30
    ours = sum(np.sum(g * direction) for g, direction in zip((dx, dW, db), directions, strict=True))
    largest = sum(np.sum(np.abs(g * direction)) for g, direction in zip((dx, dW, db), directions, strict=True))
    assert abs(ours - slope) <= 1e-13 * largest


@pytest.mark.derivation("D6.14")
def test_a_shared_x_gets_the_sum_of_the_students_gradients():
    x, W, b, dout = affine_case((3,), shared=True)
    dx, dW, _ = affine_backward(dout, affine_forward(x, W, b)[1])
    alone = [affine_backward(dout[s], affine_forward(x, W[s], b[s])[1]) for s in range(3)]
    assert relative_error(dx, sum(dx for dx, _, _ in alone)) < 1e-14
    assert relative_error(dx, alone[0][0]) > 0.1
    np.testing.assert_array_equal(dW, np.stack([dW for _, dW, _ in alone]))


@affine_cases
def test_affine_backward_writes_its_gradients_into_the_arrays_it_is_given(population, shared):
    x, W, b, dout = affine_case(population, shared)
    _, cache = affine_forward(x, W, b)
    place = np.full_like(W, np.nan), np.full_like(b, np.nan)  # what was there must not matter
    dx, dW, db = affine_backward(dout, cache)
    dx_too, *written = affine_backward(dout, cache, out=place)
    assert written[0] is place[0]
    assert written[1] is place[1]
    np.testing.assert_array_equal(place[0], dW)
    np.testing.assert_array_equal(place[1], db)
    np.testing.assert_array_equal(dx_too, dx)


def test_affine_backward_without_input_gradient_leaves_out_dx_alone():
    x, W, b, dout = affine_case((3,))
    _, cache = affine_forward(x, W, b)
    dx, dW, db = affine_backward(dout, cache, input_gradient=False)
    assert dx is None
    _, dW_too, db_too = affine_backward(dout, cache)
    np.testing.assert_array_equal(dW, dW_too)
    np.testing.assert_array_equal(db, db_too)


@pytest.mark.parametrize(
    ("x", "W", "b", "message"),
    [
        ((4, 2), (3, 5), (5,), "x must have shape (..., B, 3) for W (3, 5), with its leading axes or none, got (4, 2)"),
        ((3,), (3, 5), (5,), "x must have shape (..., B, 3) for W (3, 5), with its leading axes or none, got (3,)"),
        ((4, 3), (3, 5), (4,), "W must have shape (..., D, H) and b (..., H), got (3, 5) and (4,)"),
        ((4, 3), (3, 5), (1, 5), "W must have shape (..., D, H) and b (..., H), got (3, 5) and (1, 5)"),
        ((4, 3), (2, 3, 5), (5,), "W must have shape (..., D, H) and b (..., H), got (2, 3, 5) and (5,)"),
        ((4, 3), (3,), (), "W must have shape (..., D, H) and b (..., H), got (3,) and ()"),
    ],
)
def test_shapes_that_do_not_fit_an_affine_layer_are_refused(x, W, b, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        affine_forward(np.zeros(x), np.zeros(W), np.zeros(b))


@pytest.mark.parametrize("shape", [(4, 2), (3, 5), (2, 4, 5), (5,), (1, 5)])
def test_a_gradient_of_another_shape_than_the_output_is_refused(shape):
    x, W, b, _ = affine_case()
    out, cache = affine_forward(x, W, b)
    assert shape != out.shape
    with pytest.raises(ValueError, match=re.escape(f"dout must have the output's shape, {out.shape}, got {shape}")):
        affine_backward(np.zeros(shape), cache)
    with pytest.raises(ValueError, match=re.escape(f"dout must have the output's shape, {out.shape}, got {shape}")):
        relu_backward(np.zeros(shape), relu_forward(out)[1])


@pytest.mark.parametrize("shape", [(4, 2), (1, 3), (3,)])
def test_a_gradient_that_does_not_fit_the_mask_is_refused(shape):
    _, cache = dropout_forward(np.ones((4, 3)), np.ones((4, 3), bool), 0.5)
    with pytest.raises(ValueError, match=re.escape(f"dout must have the mask's last axes, (4, 3), got shape {shape}")):
        dropout_backward(np.zeros(shape), cache)


def test_other_dtypes_are_refused_by_every_layer():
    x, W, b, dout = affine_case()
    with pytest.raises(TypeError, match="x is float64 but W is float32: convert one of them"):
        affine_forward(x, W.astype(np.float32), b.astype(np.float32))
    with pytest.raises(TypeError, match="dout is float32 but W is float64"):
        affine_backward(dout.astype(np.float32), (x, W))
    with pytest.raises(TypeError, match="x must be float32 or float64, got int64"):
        relu_forward(np.arange(3))
    with pytest.raises(TypeError, match="dout is float32 but out is float64"):
        relu_backward(np.ones(3, np.float32), np.ones(3))
    with pytest.raises(TypeError, match="x must be a NumPy or CuPy array, got list"):
        dropout_forward([1.0], np.array([True]), 0.5)
    with pytest.raises(TypeError, match="dout is float32 but scale is float64"):
        dropout_backward(np.ones(3, np.float32), (np.ones(3), 1))
    with pytest.raises(TypeError, match="keep must be boolean, got float64: draw it with dropout_mask"):
        dropout_forward(x, np.ones(x.shape), 0.5)
    with pytest.raises(TypeError, match="hash32 takes uint32, counters and key alike, got int64"):
        hash32(np.arange(3))


def test_numpy_integers_as_keys_draw_the_same_mask():
    counters = hash32(np.arange(1000, dtype=np.uint32))
    assert np.array_equal(dropout_mask(counters, np.int64(7), 0.5), dropout_mask(counters, 7, 0.5))


@pytest.mark.parametrize("drop", [1.0, 1.5, -0.1, np.nan])
def test_drop_is_a_probability_below_one_in_the_layer_as_in_the_mask(drop):
    with pytest.raises(ValueError, match="drop must be a probability in"):
        dropout_forward(np.ones((2, 3)), np.ones((2, 3), bool), drop)
    with pytest.raises(ValueError, match="drop must be a probability in"):
        dropout_mask(np.zeros(3, np.uint32), 1, drop)


@pytest.mark.derivation("D6.14")
def test_a_shared_input_with_a_mask_for_each_student_gets_the_sum_of_their_gradients():
    rng = np.random.default_rng(1)
    x, keep, dout = rng.standard_normal((4, 5)), rng.random((3, 4, 5)) < 0.5, rng.standard_normal((3, 4, 5))
    out, cache = dropout_forward(x, keep, 0.5)
    assert out.shape == (3, 4, 5)
    assert np.allclose(dropout_backward(dout, cache), sum(2 * keep[s] * dout[s] for s in range(3)), rtol=1e-14)


def test_leading_axes_that_the_weights_lack_are_refused():
    with pytest.raises(ValueError, match=r"with its leading axes or none, got \(2, 4, 3\)"):
        affine_forward(np.zeros((2, 4, 3)), np.zeros((3, 5)), np.zeros(5))
    with pytest.raises(ValueError, match=r"with its leading axes or none, got \(1, 4, 3\)"):
        affine_forward(np.zeros((1, 4, 3)), np.zeros((2, 3, 5)), np.zeros((2, 5)))


# ---- ReLU ------------------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D6.6")
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_relu_and_its_backward_pass_are_the_textbooks(shape):
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal(shape), rng.standard_normal(shape)
    out, cache = relu_forward(x)
    np.testing.assert_array_equal(out, naive_relu(x))
    dx = relu_backward(dout, cache)
    assert relative_error(dx, complex_step(lambda x: np.sum(dout * naive_relu(x)), x)) < 1e-15
    assert relative_error(dx, central_difference(lambda x: np.sum(dout * relu_forward(x)[0]), x)) < 1e-8


@pytest.mark.derivation("D6.7")
def test_relu_at_the_kink_has_gradient_zero():
    x = np.array([[-1.0, -0.0, 0.0, 5e-324, 1.0]])
    out, cache = relu_forward(x)
    np.testing.assert_array_equal(out, [[0.0, 0.0, 0.0, 5e-324, 1.0]])
    np.testing.assert_array_equal(relu_backward(np.full_like(x, 7.0), cache), [[0.0, 0.0, 0.0, 7.0, 7.0]])


@pytest.mark.slow
@pytest.mark.derivation("D6.6", "D6.7")
@given(x=strategies.students(), rng=strategies.upstreams())
def test_no_line_along_relus_slope_rises_above_relu(x, rng):
    """At the kink too, where the strategy often is. Exactly: the two sides are rounded alike where they are equal."""
    out, cache = relu_forward(x)
    slope = relu_backward(np.ones_like(x), cache)
    for t in (rng.standard_normal(x.shape), 1e3 * rng.standard_normal(x.shape), -x):
        assert np.all(relu_forward(x + t)[0] >= np.where(slope == 0, out, x + t))
    assert np.all((slope == 0) | (slope == 1))


# ---- dropout ---------------------------------------------------------------------------------------------------------


def counters(*shape):
    return hash32(np.arange(math.prod(shape), dtype=np.uint32)).reshape(shape)


DROPS = [0.1, 0.2, 0.5, 0.9]


@pytest.mark.derivation("D6.8")
@pytest.mark.parametrize("drop", [0.0, *DROPS])
def test_dropout_and_its_backward_pass_are_the_textbooks(drop):
    rng = np.random.default_rng(0)
    x, dout = rng.standard_normal((3, 4, 5)), rng.standard_normal((3, 4, 5))
    keep = rng.random((3, 4, 5)) >= drop
    out, cache = dropout_forward(x, keep, drop)
    assert relative_error(out, naive_dropout(x, keep, drop)) < 1e-15
    dx = dropout_backward(dout, cache)
    assert relative_error(dx, complex_step(lambda x: np.sum(dout * naive_dropout(x, keep, drop)), x)) < 1e-15


def test_students_may_share_a_dropout_mask():
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    keep = dropout_mask(counters(4, 5), 1, 0.5)
    out, _ = dropout_forward(x, keep, 0.5)
    np.testing.assert_array_equal(out, np.where(keep, 2 * x, 0.0))


@pytest.mark.derivation("D7.2")
@pytest.mark.parametrize("drop", DROPS)
def test_dropout_preserves_the_mean(drop):
    """Each unit's mean over 4000 masks is its input, within five standard deviations of the mean."""
    x = np.random.default_rng(0).uniform(1, 2, (5, 8))
    keys = np.arange(4000, dtype=np.uint32).reshape(-1, 1, 1) * np.uint32(2654435761)
    out, _ = dropout_forward(x, dropout_mask(counters(5, 8), keys, drop), drop)
    deviation = math.sqrt(drop / (1 - drop) / 4000)  # of one unit's mean, relative to its input
    assert np.all(np.abs(out.mean(axis=0) / x - 1) < 5 * deviation)


@pytest.mark.slow
@pytest.mark.derivation("D7.2", "D7.3")
@given(data=st.data(), B=st.integers(1, 3), n=st.integers(1, 5), drop=st.floats(0, 0.95))
def test_over_all_masks_dropout_has_the_mean_of_its_input_and_independent_noise(data, B, n, drop):
    x = data.draw(strategies.logits((B, n)))
    masks = np.array(list(itertools.product([False, True], repeat=n)))
    P = np.prod(np.where(masks, 1 - drop, drop), axis=-1)[:, None, None]
    out, _ = dropout_forward(x, np.broadcast_to(masks[:, None, :], (2**n, B, n)), drop)
    largest = max(np.max(np.abs(x)), 1e-100) / (1 - drop)  # below that squares underflow
    noise = out - x
    assert np.all(np.abs(np.sum(P * out, axis=0) - x) <= 1e-14 * largest)  # some 2⁵ roundings, relative to the largest
    covariance = np.sum(P[..., None] * noise[..., :, None] * noise[..., None, :], axis=0)  # (B, n, n)
    expected = drop / (1 - drop) * (x**2)[..., None] * np.eye(n)
    assert np.all(np.abs(covariance - expected) <= 1e-13 * largest**2)


@pytest.mark.derivation("D7.1")
@pytest.mark.parametrize("drop", DROPS)
def test_each_mask_of_three_units_comes_as_often_as_its_probability_says(drop):
    """Within five standard deviations of a binomial."""
    n = 2**15
    masks, counts = np.unique(dropout_mask(counters(n, 3), 5, drop), axis=0, return_counts=True)
    assert len(masks) == 8
    P = np.prod(np.where(masks, 1 - drop, drop), axis=-1)
    assert np.all(np.abs(counts - n * P) < 5 * np.sqrt(n * P * (1 - P)))


@pytest.mark.derivation("D7.1")
@pytest.mark.parametrize("drop", [0.001, *DROPS, 0.99])
@pytest.mark.parametrize("key", [0, 1, 12345, 2**32 - 1])
def test_dropout_drops_the_share_it_is_told(drop, key):
    """`drop`, and not 1 − `drop`: within five standard deviations of a binomial."""
    n = 2**16
    dropped = n - np.count_nonzero(dropout_mask(counters(n), key, drop))
    assert abs(dropped - n * drop) < 5 * math.sqrt(n * drop * (1 - drop))


def test_the_same_key_draws_the_same_mask_and_no_mask_depends_on_another():
    c = counters(50, 20)
    keys = np.array([3, 4, 5], np.uint32).reshape(3, 1, 1)
    together = dropout_mask(c, keys, 0.5)
    assert together.shape == (3, 50, 20)
    for s, key in enumerate([3, 4, 5]):
        np.testing.assert_array_equal(together[s], dropout_mask(c, key, 0.5))
    assert not np.array_equal(together[0], together[1])
    np.testing.assert_array_equal(dropout_mask(c[:7], 3, 0.5), together[0, :7])  # a smaller batch, the same units


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


N = 2**15
FIVE_DEVIATIONS = 5 / math.sqrt(N)
"""Of the correlation of N independent pairs."""


@pytest.mark.parametrize("drop", [0.2, 0.5])
def test_keys_that_differ_in_one_bit_draw_unrelated_masks(drop):
    c = counters(N)
    for key in (0, 0xDEADBEEF):
        mask = dropout_mask(c, key, drop)
        for bit in range(32):
            assert abs(correlation(mask, dropout_mask(c, key ^ (1 << bit), drop))) < FIVE_DEVIATIONS


def test_masks_of_successive_keys_are_unrelated():
    masks = [dropout_mask(counters(N), key, 0.5) for key in range(16)]
    for a, b in itertools.combinations(masks, 2):
        assert abs(correlation(a, b)) < FIVE_DEVIATIONS


@pytest.mark.derivation("D7.1")
def test_neighbouring_units_are_dropped_independently():
    mask = dropout_mask(counters(N), 7, 0.5)
    for lag in (1, 2, 3, 32, 1200):
        assert abs(correlation(mask[lag:], mask[:-lag])) < 1.1 * FIVE_DEVIATIONS


def test_drop_0_keeps_every_unit_and_every_bit():
    keep = dropout_mask(counters(50, 20), 9, 0.0)
    assert keep.dtype == bool
    assert keep.all()
    x = np.random.default_rng(0).standard_normal((50, 20))
    np.testing.assert_array_equal(dropout_forward(x, keep, 0.0)[0], x)


@pytest.mark.parametrize("drop", [1, 1.0, 1.5, -0.1, float("nan")])
def test_a_drop_that_is_no_probability_below_one_is_refused(drop):
    message = f"drop must be a probability in [0, 1), got {drop}: it is the share dropped, not kept"
    with pytest.raises(ValueError, match=re.escape(message)):
        dropout_mask(counters(4), 0, drop)


# ---- the hash --------------------------------------------------------------------------------------------------------


def hash32_in_integers(x):
    """The same mix with Python's integers, modulo 2³² by hand."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x = (x ^ (x >> shift)) * factor % 2**32
    return x


GOLDEN = [
    (0, 0x00000000),
    (1, 0x688990C0),
    (2, 0xD1132181),
    (0x3039, 0x912EFCF7),
    (0x7FFFFFFF, 0x8D29FFB8),
    (0x80000000, 0xCC4B4124),
    (0xDEADBEEF, 0xE628C683),
    (0xFFFFFFFF, 0x6768824A),
]


@pytest.mark.parametrize(("x", "h"), GOLDEN)
def test_hash32_gives_the_bits_it_always_gave(x, h):
    """Written down, so that masks stay the same from version to version."""
    assert int(hash32(np.array([x], np.uint32))[0]) == h == hash32_in_integers(x)


@given(x=st.integers(0, 2**32 - 1))
def test_hash32_is_its_definition_everywhere(x):
    (result,) = hash32(np.array([x], np.uint32))
    assert result.dtype == np.uint32
    assert int(result) == hash32_in_integers(x)


def test_hash32_never_gives_two_inputs_one_output():
    """Half a million inputs: a random function would collide some 29 times."""
    x = np.sort(np.random.default_rng(0).integers(0, 2**32, 500_000, dtype=np.uint32))
    x = x[1:][np.diff(x) > 0]  # each input once
    assert len(x) > 499_000
    assert np.all(np.diff(np.sort(hash32(x))) > 0)


def test_each_bit_of_the_input_flips_each_bit_of_the_output_half_of_the_time():
    x = np.random.default_rng(0).integers(0, 2**32, 2**14, dtype=np.uint32)
    h = hash32(x)
    for bit in range(32):
        changed = h ^ hash32(x ^ np.uint32(1 << bit))
        share = np.array([np.mean((changed >> np.uint32(out)) & np.uint32(1)) for out in range(32)])
        assert np.all(np.abs(share - 0.5) < 6 * 0.5 / math.sqrt(len(x)))  # six deviations, for 1024 pairs


# ---- dtypes, purity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_keep_the_dtype(dtype):
    x, W, b, dout = (a.astype(dtype) for a in affine_case((2,)))
    keep = dout > 0
    results = [affine_forward(x, W, b), relu_forward(dout), dropout_forward(dout, keep, np.float64(0.5))]
    backward = [
        affine_backward(dout, results[0][1]),
        relu_backward(dout, results[1][1]),
        dropout_backward(dout, results[2][1]),
    ]
    assert dtypes([results, backward]) == {np.dtype(dtype)}


def test_layers_write_into_no_argument():
    for population, shared in CASES:
        x, W, b, dout = affine_case(population, shared)
        _, cache = purely(affine_forward, x, W, b)
        purely(affine_backward, dout, cache)
        purely(affine_backward, dout, cache, input_gradient=False)
    _, cache = purely(relu_forward, x)
    purely(relu_backward, x + 1, cache)
    _, cache = purely(dropout_forward, x, x > 0, 0.5)
    purely(dropout_backward, x, cache)
    c = np.arange(12, dtype=np.uint32).reshape(4, 3)
    purely(hash32, c)
    purely(dropout_mask, c, 5, 0.5)
    purely(dropout_mask, c, np.array([5, 6], np.uint32).reshape(2, 1, 1), 0.5)


def test_float32_gradients_agree_with_float64_in_norm():
    case = affine_case((2,), B=64, D=100, H=50)
    x, W, b, dout = case
    exact = affine_backward(dout, affine_forward(x, W, b)[1])
    x, W, b, dout = (a.astype(np.float32) for a in case)
    single = affine_backward(dout, affine_forward(x, W, b)[1])
    for a, e in zip(single, exact, strict=True):
        assert np.linalg.norm(a - e) < 1e-5 * np.linalg.norm(e)
