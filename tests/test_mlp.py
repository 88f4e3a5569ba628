"""The network: the gradient of every parameter, its flat memory, and populations."""

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
    naive_layers,
    naive_log_softmax,
    naive_mlp,
    naive_softmax,
    purely,
    relative_error,
)

from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy
from minikd.core.masks import dropout_mask, hash32
from minikd.core.mlp import Dropout, initialise, mlp_backward, mlp_forward, parameter_count, unflatten

SIZES = [5, 7, 6, 4]
DROPS = [0.2, 0.5, None]


def network(sizes=SIZES, B=4, population=(), shared=True, seed=0):
    """Parameters (biases too), inputs and an upstream gradient."""
    rng = np.random.default_rng(seed)
    flat = rng.standard_normal((*population, parameter_count(sizes)))
    x = rng.standard_normal((B, sizes[0]) if shared else (*population, B, sizes[0]))
    return flat, x, rng.standard_normal((*population, B, sizes[-1]))


def states(drops, sizes=SIZES, B=4, population=(), seed=0):
    """A dropout state for the input of each layer, or None for it."""
    rng = np.random.default_rng([seed, 1])
    return [
        None if drop is None else Dropout(rng.random((*population, B, D)) >= drop, drop)
        for drop, D in zip(drops, sizes, strict=False)
    ]


def gradient(flat, x, dz, sizes=SIZES, dropout=None, **options):
    """Flat gradient of Σ dz z, and dx."""
    _, cache = mlp_forward(x, unflatten(flat, sizes), dropout)
    gradients, dx = mlp_backward(dz, cache, **options)
    leading = flat.shape[:-1]
    return np.concatenate([g.reshape(*leading, -1) for layer in gradients for g in layer], axis=-1), dx


def naive(flat, x, sizes=SIZES, dropout=None):
    return naive_mlp(x, naive_layers(flat, sizes), dropout)


# ---- forward and backward against the textbook -----------------------------------------------------------------------


@pytest.mark.derivation("D6.9", "D6.10", "D6.11")
@pytest.mark.parametrize("drops", [None, DROPS, [None, 0.5, 0.5], [0.2, None, None]])
def test_every_gradient_of_a_network_is_the_textbooks(drops):
    flat, x, dz = network()
    dropout = None if drops is None else states(drops)
    z, _ = mlp_forward(x, unflatten(flat, SIZES), dropout)
    assert relative_error(z, naive(flat, x, dropout=dropout)) < 1e-14
    dflat, dx = gradient(flat, x, dz, dropout=dropout, input_gradient=True)
    oracle = complex_step(lambda flat: np.sum(dz * naive(flat, x, dropout=dropout)), flat)
    for ours, theirs in zip(unflatten(dflat, SIZES), unflatten(oracle, SIZES), strict=True):
        assert relative_error(ours[0], theirs[0]) < 1e-13  # each layer by itself, relative to its own largest gradient
        assert relative_error(ours[1], theirs[1]) < 1e-13
    assert relative_error(dx, complex_step(lambda x: np.sum(dz * naive(flat, x, dropout=dropout)), x)) < 1e-13


@pytest.mark.derivation("D6.9", "D6.10", "D6.11")
@pytest.mark.parametrize("sizes", [[5, 4], [5, 3, 4], [1, 6, 6, 1], [6, 8, 7, 6, 5, 2]])
def test_networks_of_any_depth_have_the_textbooks_gradient(sizes):
    flat, x, dz = network(sizes, B=8, seed=2)
    dflat, dx = gradient(flat, x, dz, sizes, input_gradient=True)
    assert relative_error(dflat, complex_step(lambda flat: np.sum(dz * naive(flat, x, sizes)), flat)) < 1e-13
    assert relative_error(dx, complex_step(lambda x: np.sum(dz * naive(flat, x, sizes)), x)) < 1e-13


def test_the_textbooks_gradient_is_the_slope_of_its_cost():
    """The oracle held against another way to differentiate."""
    flat, x, dz = network()
    along = complex_step(lambda flat: np.sum(dz * naive(flat, x)), flat)
    assert relative_error(along, central_difference(lambda flat: np.sum(dz * naive(flat, x)), flat)) < 1e-8


@pytest.mark.derivation("D6.13", "D6.14")
@pytest.mark.parametrize("shared", [True, False])
def test_every_gradient_of_a_population_is_the_textbooks(shared):
    flat, x, dz = network(population=(3,), shared=shared)
    dropout = states([None, 0.5, 0.5], population=(3,))
    dflat, dx = gradient(flat, x, dz, dropout=dropout, input_gradient=True)
    dx_each = []
    for s in range(3):
        own = [state and (state.keep[s], state.drop) for state in dropout]
        own_x = x if shared else x[s]
        oracle = complex_step(lambda flat, s=s, own=own, x=own_x: np.sum(dz[s] * naive(flat, x, dropout=own)), flat[s])
        assert relative_error(dflat[s], oracle) < 1e-13
        dx_each.append(complex_step(lambda x, s=s, own=own: np.sum(dz[s] * naive(flat[s], x, dropout=own)), own_x))
    assert relative_error(dx, sum(dx_each) if shared else np.stack(dx_each)) < 1e-13


@pytest.mark.derivation("D6.10", "D6.11")
def test_the_cost_falls_along_the_gradient_of_the_whole_chain():
    """Network, cost and backward pass together: each parameter's slope of the distillation cost itself."""
    flat, x, _ = network()
    rng = np.random.default_rng(1)
    v, y = rng.standard_normal((4, 4)), rng.integers(0, 4, 4)

    def cost(flat):
        return distillation_loss(mlp_forward(x, unflatten(flat, SIZES))[0], v=v, y=y, T=4.0, alpha=0.7)

    dflat, _ = gradient(flat, x, cost(flat)[1])
    assert relative_error(dflat, central_difference(lambda flat: cost(flat)[0], flat)) < 1e-7
    assert cost(flat - 1e-4 * dflat)[0] < cost(flat)[0]


@pytest.mark.derivation("D6.12")
def test_the_network_that_is_followed_by_hand():
    """One hidden unit passes, one is shut by its ReLU, one is dropped."""
    layers = [
        (np.array([[3.0, 1.0, 1.0], [-1.0, -1.0, 1.0]]), np.zeros(3)),
        (np.array([[2.0, 1.0], [4.0, -2.0], [1.0, 5.0]]), np.array([0.0, 2.0])),
    ]
    dropout = [None, Dropout(np.array([[True, True, False]]), 0.5)]
    z, cache = mlp_forward(np.array([[1.0, 2.0]]), layers, dropout)
    np.testing.assert_array_equal(z, [[4, 4]])
    C, dz = hard_cross_entropy(z, y=np.array([0]))
    assert abs(C - math.log(2)) < 1e-15
    np.testing.assert_array_equal(dz, [[-0.5, 0.5]])
    ((dW_1, db_1), (dW_2, db_2)), dx = mlp_backward(dz, cache, input_gradient=True)
    np.testing.assert_array_equal(dW_2, [[-1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(db_2, [-0.5, 0.5])
    np.testing.assert_array_equal(dW_1, [[-1, 0, 0], [-2, 0, 0]])
    np.testing.assert_array_equal(db_1, [-1, 0, 0])
    np.testing.assert_array_equal(dx, [[-3, 1]])


# ---- where the gradients go ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("population", [(), (3,)])
def test_gradients_are_written_into_the_views_they_are_given(population):
    flat, x, dz = network(population=population)
    layers = unflatten(flat, SIZES)
    place = np.full_like(flat, np.nan)  # every element must be overwritten
    _, cache = mlp_forward(x, layers)
    gradients, _ = mlp_backward(dz, cache, out=unflatten(place, SIZES))
    np.testing.assert_array_equal(place, gradient(flat, x, dz)[0])
    for pair in gradients:
        for g in pair:
            assert np.shares_memory(g, place)


def test_the_input_gradient_is_worked_out_only_on_demand():
    flat, x, dz = network()
    without, nothing = gradient(flat, x, dz)
    with_it, dx = gradient(flat, x, dz, input_gradient=True)
    assert nothing is None
    assert dx.shape == x.shape
    np.testing.assert_array_equal(without, with_it)


# ---- parameters in one block of memory -------------------------------------------------------------------------------


@pytest.mark.parametrize("population", [(), (1,), (3,), (2, 3)])
def test_layers_are_views_of_the_flat_parameters(population):
    flat = np.zeros((*population, parameter_count(SIZES)))
    layers = unflatten(flat, SIZES)
    assert [(W.shape, b.shape) for W, b in layers] == [
        ((*population, D, H), (*population, H)) for D, H in itertools.pairwise(SIZES)
    ]
    for number, array in enumerate([array for layer in layers for array in layer], start=1):
        array += number
    sizes = [D * H if i == 0 else H for D, H in itertools.pairwise(SIZES) for i in (0, 1)]
    expected = np.repeat(np.arange(1.0, 7.0), sizes)
    np.testing.assert_array_equal(flat, np.broadcast_to(expected, flat.shape))
    flat[...] = 9.0
    assert all(np.all(array == 9.0) for layer in layers for array in layer)


def test_layers_lie_in_order_each_weight_row_by_row_then_its_bias():
    flat = np.arange(float(parameter_count(SIZES)))
    for ours, naive_layer in zip(unflatten(flat, SIZES), naive_layers(flat, SIZES), strict=True):
        for a, b in zip(ours, naive_layer, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("sizes", "count"), [([784, 1200, 1200, 10], 2_395_210), ([784, 800, 800, 10], 1_276_810), ([3, 2], 8), ([1, 1], 2)]
)
def test_parameter_count_is_weights_and_biases(sizes, count):
    assert parameter_count(sizes) == count
    assert sum(W.size + b.size for W, b in unflatten(np.zeros(count, np.float32), sizes)) == count


@pytest.mark.parametrize("P", [0, 117, 126, 200])
def test_parameters_that_do_not_fit_the_sizes_are_refused(P):
    message = f"a network of sizes {SIZES} has {parameter_count(SIZES)} parameters, got {P}"
    with pytest.raises(ValueError, match=re.escape(message)):
        unflatten(np.zeros(P), SIZES)


# ---- initial parameters ----------------------------------------------------------------------------------------------


@pytest.mark.derivation("D6.15")
def test_initial_weights_have_mean_0_and_variance_2_over_D_and_biases_are_zero():
    sizes = [784, 300, 200, 10]
    for W, b in unflatten(initialise(sizes, np.random.default_rng(0), "float64"), sizes):
        D, n = W.shape[0], W.size
        assert W.var() == pytest.approx(2 / D, rel=5 * math.sqrt(2 / n))  # five deviations of n normals' variance
        assert abs(W.mean()) < 5 * math.sqrt(2 / D / n)
        assert np.mean(W**4) / W.var() ** 2 == pytest.approx(3, abs=5 * math.sqrt(24 / n))  # normal, not uniform
        np.testing.assert_array_equal(b, 0.0)


@pytest.mark.derivation("D6.15")
def test_initial_weights_keep_the_size_of_what_passes_through_relu_layers():
    sizes = [400] * 6
    layers = unflatten(initialise(sizes, np.random.default_rng(0), "float64"), sizes)
    x = np.random.default_rng(1).standard_normal((200, 400))
    z, _ = mlp_forward(x, layers)
    assert 0.5 < np.mean(z**2) / (2 * np.mean(x**2)) < 2  # the first layer, without a ReLU before it, doubles it


def test_float32_starts_as_float64_rounded():
    single, double = (initialise(SIZES, np.random.default_rng(5), dtype) for dtype in ("float32", "float64"))
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    np.testing.assert_array_equal(single, double.astype(np.float32))
    np.testing.assert_array_equal(initialise(SIZES, np.random.default_rng(5)), single)
    assert not np.array_equal(single, initialise(SIZES, np.random.default_rng(6)))


# ---- a population is its students ------------------------------------------------------------------------------------


@pytest.mark.derivation("D6.13")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("S", [1, 3])
def test_each_student_of_a_population_is_itself_alone_bit_for_bit(dtype, shared, dropped, S):
    sizes, B = [20, 33, 17, 10], 16
    flat, x, dz = network(sizes, B, population=(S,), shared=shared)
    flat, x, dz = flat.astype(dtype), x.astype(dtype), dz.astype(dtype)
    dropout = states([0.2, 0.5, 0.5], sizes, B, population=(S,)) if dropped else None
    z, _ = mlp_forward(x, unflatten(flat, sizes), dropout)
    dflat, dx = gradient(flat, x, dz, sizes, dropout, input_gradient=not shared)
    assert z.shape == (S, B, 10)
    for s in range(S):
        own_x = x if shared else x[s]
        own = [Dropout(state.keep[s], state.drop) for state in dropout] if dropped else None
        z_alone, _ = mlp_forward(own_x, unflatten(flat[s], sizes), own)
        np.testing.assert_array_equal(z[s], z_alone)
        dflat_alone, dx_alone = gradient(flat[s], own_x, dz[s], sizes, own, input_gradient=not shared)
        np.testing.assert_array_equal(dflat[s], dflat_alone)
        if not shared:
            np.testing.assert_array_equal(dx[s], dx_alone)
    assert np.all(np.any(dflat != 0, axis=-1))


# ---- dropout, only where a state is given ----------------------------------------------------------------------------


def test_without_a_dropout_state_the_network_answers_with_the_same_bits_twice():
    flat, x, _ = network()
    layers = unflatten(flat, SIZES)
    once, _ = mlp_forward(x, layers)
    mlp_forward(x, layers, states(DROPS))  # a training step between changes nothing
    for again in (mlp_forward(x, layers)[0], mlp_forward(x, layers, [None] * 3)[0]):
        np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, mlp_forward(x, layers, states(DROPS))[0])


def test_a_dropped_hidden_unit_passes_nothing_forward_or_back():
    flat, x, dz = network()
    keep = np.ones((4, 7), bool)
    keep[:, 2] = False
    dropout = [None, Dropout(keep, 0.5), None]
    dflat, _ = gradient(flat, x, dz, dropout=dropout)
    (dW_in, db_in), (dW_out, _), _ = unflatten(dflat, SIZES)
    for silent in (dW_in[:, 2], db_in[2], dW_out[2]):
        np.testing.assert_array_equal(silent, 0.0)
    assert np.any(dW_in != 0)


def test_masks_from_the_hash_drive_a_network():
    flat, x, dz = network()
    c = hash32(np.arange(4 * 7, dtype=np.uint32)).reshape(4, 7)
    dropout = [None, Dropout(dropout_mask(c, 11, 0.5), 0.5), None]
    oracle = complex_step(lambda flat: np.sum(dz * naive(flat, x, dropout=dropout)), flat)
    assert relative_error(gradient(flat, x, dz, dropout=dropout)[0], oracle) < 1e-13


# ---- dropout as an ensemble: all masks of small networks -------------------------------------------------------------


@st.composite
def ensembles(draw, hidden):
    """(x, layers, drops) of a network of few units, its hidden layer with dropout too, if it has one.

    No drop is so high that the logits of rare masks would overflow in the textbook's exponentials.
    """
    rng = draw(strategies.upstreams())
    sizes = [draw(st.integers(1, 4)), *([draw(st.integers(1, 3))] if hidden else []), draw(st.integers(2, 4))]
    layers = naive_layers(rng.standard_normal(parameter_count(sizes)), sizes)
    return rng.standard_normal((1, sizes[0])), layers, [draw(st.floats(0, 0.6)) for _ in layers]


def every_mask(x, layers, drops):
    """One case under every mask of its units: (inputs, dropout), a mask a row, and the probability of each."""
    widths = [len(W) for W, _ in layers]
    masks = np.array(list(itertools.product([False, True], repeat=sum(widths))))
    chance = np.repeat(drops, widths)
    P = np.prod(np.where(masks, 1 - chance, chance), axis=-1)
    keeps = np.split(masks, np.cumsum(widths)[:-1], axis=-1)
    return np.repeat(x, len(P), axis=0), list(map(Dropout, keeps, drops)), P


ROUNDING = 1e-12
"""Of means over masks of numbers within some hundreds, each good to a dozen roundings of 1e-16."""


@pytest.mark.slow
@pytest.mark.derivation("D7.4", "D7.5")
@given(ensemble=ensembles(hidden=False), T=strategies.temperatures(1.0, 100.0))
def test_one_layer_without_dropout_is_the_geometric_mean_of_all_its_masks(ensemble, T):
    x, layers, drops = ensemble
    inputs, dropout, P = every_mask(x, layers, drops)
    z, _ = mlp_forward(inputs, layers, dropout)
    without, _ = mlp_forward(x, layers)
    assert np.allclose(P @ z, without[0], rtol=0, atol=ROUNDING)
    G = np.exp(P @ naive_log_softmax(z, T))
    assert np.allclose(G / np.sum(G), naive_softmax(without[0], T), rtol=0, atol=ROUNDING)


@pytest.mark.slow
@pytest.mark.derivation("D7.6", "D7.7")
@given(ensemble=ensembles(hidden=True))
def test_across_a_relu_the_mean_over_all_masks_is_off_by_what_the_absolute_values_say(ensemble):
    x, layers, drops = ensemble
    (W, b), (V, _) = layers
    inputs, dropout, P = every_mask(x, layers, drops)
    sd = np.sqrt(drops[0] / (1 - drops[0]) * x**2 @ W**2)[0]  # (H,)
    a = naive_affine(np.where(dropout[0].keep, inputs / (1 - drops[0]), 0.0), W, b)  # (masks, H)
    gap = (P @ np.abs(a) - np.abs(naive_affine(x, W, b)[0])) / 2

    identity = [(W, b), (np.eye(len(b)), np.zeros(len(b)))]  # whose logits are the ReLUs
    r, without = mlp_forward(inputs, identity, [dropout[0], None])[0], mlp_forward(x, identity)[0]
    assert np.allclose(P @ r - without[0], gap, rtol=0, atol=ROUNDING)
    assert np.all((gap >= -ROUNDING) & (gap <= sd / 2 + ROUNDING))

    z, without = mlp_forward(inputs, layers, dropout)[0], mlp_forward(x, layers)[0]
    assert np.allclose(P @ z - without[0], gap @ V, rtol=0, atol=ROUNDING)
    assert np.all(np.abs(P @ z - without[0]) <= sd @ np.abs(V) / 2 + ROUNDING)


@pytest.mark.derivation("D7.6")
def test_across_a_relu_half_a_standard_deviation_can_be_lost():
    layers = [(np.array([[1.0]]), np.array([-1.0])), (np.array([[1.0]]), np.array([0.0]))]
    dropout = [Dropout(np.array([[True], [False]]), 0.5), None]
    np.testing.assert_array_equal(mlp_forward(np.ones((2, 1)), layers, dropout)[0], [[1.0], [0.0]])  # mean 1/2
    np.testing.assert_array_equal(mlp_forward(np.ones((1, 1)), layers)[0], [[0.0]])


@pytest.mark.slow
@pytest.mark.derivation("D7.8")
@given(ensemble=ensembles(hidden=True), rng=strategies.upstreams(), T=strategies.temperatures(1.0, 100.0))
def test_the_mean_cost_over_all_masks_exceeds_that_of_the_mean_logits_by_no_targets_doing(ensemble, rng, T):
    inputs, dropout, P = every_mask(*ensemble)
    z, _ = mlp_forward(inputs, ensemble[1], dropout)
    mean = P @ z
    Z = np.sum(np.exp(P @ naive_log_softmax(z, T)))
    assert Z <= 1 + ROUNDING
    for v in 3 * rng.standard_normal((2, 1, len(mean))):
        costs, _ = soft_cross_entropy(z[:, None, :], v=v, T=T)  # a population of masks
        excess = P @ costs - soft_cross_entropy(mean[None, :], v=v, T=T)[0]
        assert abs(excess + np.log(Z)) <= ROUNDING * max(1, np.max(np.abs(z)) / T)


@pytest.mark.slow
@pytest.mark.derivation("D7.9", "D7.10")
@given(ensemble=ensembles(hidden=False), rng=strategies.upstreams())
def test_the_squared_cost_over_all_masks_has_a_penalty_on_the_weights(ensemble, rng):
    x, layers, drops = ensemble
    ((W, _),), noise = layers, drops[0] / (1 - drops[0])
    inputs, dropout, P = every_mask(*ensemble)
    z, cache = mlp_forward(inputs, layers, dropout)
    without, _ = mlp_forward(x, layers)
    v = rng.standard_normal(without.shape)
    costs, dz = logit_matching(z[:, None, :], v=v)
    expected = logit_matching(without, v=v)[0] + noise / 2 * np.sum(x.T**2 * W**2)
    assert abs(P @ costs - expected) <= ROUNDING * max(1, np.max(costs))
    [(dW, _)], _ = mlp_backward(P[:, None] * dz[:, 0, :], cache)  # the sum over the rows is now the mean over the masks
    expected = x.T * (without - v) + noise * x.T**2 * W
    assert np.allclose(dW, expected, rtol=0, atol=ROUNDING * max(1, np.max(np.abs(dz)) * np.max(np.abs(x))))


@pytest.mark.slow
@pytest.mark.derivation("D7.10")
@given(ensemble=ensembles(hidden=True), rng=strategies.upstreams())
def test_the_gradient_is_on_the_average_over_all_masks_that_of_the_mean_cost(ensemble, rng):
    x, layers, _ = ensemble
    sizes = [x.shape[-1], *(len(b) for _, b in layers)]
    flat = np.concatenate([array.ravel() for layer in layers for array in layer])
    inputs, dropout, P = every_mask(*ensemble)
    v = rng.standard_normal((1, sizes[-1]))
    z, cache = mlp_forward(inputs, layers, dropout)
    _, dz = soft_cross_entropy(z[:, None, :], v=v, T=2.0)
    gradients, _ = mlp_backward(P[:, None] * dz[:, 0, :], cache)

    def mean_cost(flat):
        log_q = naive_log_softmax(naive(flat, inputs, sizes, dropout), 2.0)
        return -np.sum(P @ log_q * naive_softmax(v, 2.0))

    ours = np.concatenate([array.ravel() for layer in gradients for array in layer])
    assert np.allclose(ours, complex_step(mean_cost, flat), rtol=0, atol=ROUNDING)


# ---- dtypes, purity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("population", [(), (3,)])
def test_the_dtype_passes_through_the_network_and_back(dtype, population):
    flat, x, dz = (a.astype(dtype) for a in network(population=population))
    dropout = states(DROPS, population=population)
    results = mlp_forward(x, unflatten(flat, SIZES), dropout)
    back = mlp_backward(dz, results[1], input_gradient=True)
    assert dtypes([results, back]) == {np.dtype(dtype)}
    v, y = np.ones_like(dz), np.zeros(4, int)
    C, dz = distillation_loss(results[0], v=v, y=y, T=np.float64(4.0), alpha=np.float64(0.5))
    assert dtypes([C, dz, mlp_backward(dz, results[1])]) == {np.dtype(dtype)}


@pytest.mark.parametrize("population", [(), (3,)])
def test_the_network_writes_into_no_argument(population):
    flat, x, dz = network(population=population)
    layers = unflatten(flat, SIZES)
    dropout = states(DROPS, population=population)
    _, cache = purely(mlp_forward, x, layers, dropout)
    purely(mlp_backward, dz, cache, input_gradient=True)
    purely(unflatten, flat, SIZES)


def test_dropout_has_one_entry_a_layer():
    sizes = (3, 4, 2)
    layers = unflatten(np.zeros(parameter_count(sizes)), sizes)
    for entries in (1, 3):
        with pytest.raises(ValueError, match=f"dropout must have one entry per layer, 2, got {entries}"):
            mlp_forward(np.zeros((1, 3)), layers, [None] * entries)
