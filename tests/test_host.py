"""A step in the CPU's way against the readable one: the same bits, but for the order of the sums over classes."""

import numpy as np
import pytest

from minikd.core import losses, mlp
from minikd.core.layers import dropout_mask, hash32
from minikd.core.mlp import Dropout, initialise, unflatten
from minikd.engines import host

SIZES = (20, 300, 40, 10)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
LEADING = pytest.mark.parametrize("leading", [(), (3,)], ids=["one student", "a population"])


@DTYPES
@LEADING
@pytest.mark.parametrize("shared_x", [False, True], ids=["x each", "x shared"])
@pytest.mark.parametrize("drops", [None, (0.0, 0.5, 0.2), (0.2, 0.5, 0.0)])
@pytest.mark.parametrize("B", [1, 7, 500])  # 500 rows of 300 are three blocks
def test_forward_and_backward_have_the_readable_ones_bits(B, drops, shared_x, leading, dtype):
    rng = np.random.default_rng(0)
    flat = np.stack([initialise(SIZES, rng, dtype) for _ in range(3)]) if leading else initialise(SIZES, rng, dtype)
    flat += rng.standard_normal(flat.shape).astype(dtype) / 10  # biases that are not zero
    x = rng.standard_normal((B, 20) if shared_x else (*leading, B, 20)).astype(dtype)
    dz = rng.standard_normal((*leading, B, 10)).astype(dtype)
    dropout = None
    if drops is not None:
        keys = np.arange(1, 4, dtype=np.uint32).reshape(-1, 1, 1) if leading else 5
        counters = [hash32(np.arange(B * size, dtype=np.uint32).reshape(B, size)) for size in SIZES]
        dropout = [
            Dropout(dropout_mask(c, keys, drop), drop) if drop else None
            for c, drop in zip(counters, drops, strict=False)
        ]
    results = []
    for way in (mlp, host):
        g = np.zeros_like(flat)
        z, cache = way.mlp_forward(x, unflatten(flat, SIZES), dropout)
        way.mlp_backward(dz, cache, out=unflatten(g, SIZES))
        results.append((z, g))
    for got, expected in zip(results[1], results[0], strict=True):
        assert np.all(expected.any(axis=-1))
        np.testing.assert_array_equal(got, expected, strict=True)


@DTYPES
@LEADING
@pytest.mark.parametrize("K", [3, 10, 100])
def test_the_cost_is_the_readable_one_up_to_the_order_of_sums(K, leading, dtype):
    rng = np.random.default_rng(1)
    z, v = ((5 * rng.standard_normal((*leading, 50, K))).astype(dtype) for _ in range(2))
    arguments = {"v": v, "y": rng.integers(0, K, (*leading, 50)), "T": 4.0, "alpha": 0.7}
    rtol = 1e-5 if dtype == "float32" else 1e-13
    for got, expected in zip(
        host.distillation_loss(z, **arguments), losses.distillation_loss(z, **arguments), strict=True
    ):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.max(np.abs(expected)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 21), np.float32), r"x must have shape \(..., B, 20\)"),
        (np.zeros((4, 20)), "x is float64 but W1 is float32"),
        (np.zeros(20, np.float32), "x must have shape"),
    ],
)
def test_what_does_not_fit_is_refused_as_the_readable_functions_do(x, message):
    flat = initialise(SIZES, np.random.default_rng(0))
    for _ in range(2):  # a refusal is not remembered as a fit
        with pytest.raises((ValueError, TypeError), match=message):
            host.mlp_forward(x, unflatten(flat, SIZES))


def test_arguments_are_not_written_to():
    rng = np.random.default_rng(2)
    flat, x, dz = initialise(SIZES, rng), *(rng.standard_normal((8, n)).astype(np.float32) for n in (20, 10))
    before = [array.copy() for array in (flat, x, dz)]
    _, cache = host.mlp_forward(x, unflatten(flat, SIZES))
    host.mlp_backward(dz, cache, out=unflatten(np.zeros_like(flat), SIZES))
    for array, was in zip((flat, x, dz), before, strict=True):
        np.testing.assert_array_equal(array, was)
