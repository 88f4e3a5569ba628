"""A step as it suits a CPU's cache: the core's arithmetic, in the core's order but for the sums over classes.

What lies between the products passes over the arrays of a batch, and each pass over a large one goes at the speed of
memory. So bias and ReLU are done in place, some rows at a time, while these are in the cache; shapes are checked once a
step, not once a function; and costs see their logits class by class. `train` takes this way for NumPy's arrays. The
core stays the text to read, and a test holds both to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from minikd.core.array import Array, get_float_xp
from minikd.core.layers import Cache, check_affine, dropout_backward, dropout_forward
from minikd.core.losses import distillation_loss as readable_loss
from minikd.core.mlp import Dropout, Layers

ROWS = 1 << 16
"""Numbers of an activation that are worked on at a time: 256 KiB of float32."""


def mlp_forward(x: Array, layers: Layers, dropout: Sequence[Dropout | None] | None = None) -> tuple[Array, Cache]:
    """The logits of a network, and the cache for `mlp_backward`: `minikd.core.mlp.mlp_forward`."""
    get_float_xp(x=x, **{f"{'Wb'[j]}{i}": layer[j] for i, layer in enumerate(layers, start=1) for j in (0, 1)})
    _check(x.shape, tuple((W.shape, b.shape) for W, b in layers))
    h, caches = x, []
    for i, (W, b) in enumerate(layers):
        dropout_cache = None
        if dropout is not None and (state := dropout[i]) is not None:
            h, dropout_cache = dropout_forward(h, state.keep, state.drop)
        a = h @ W  # (..., B, H)
        caches.append((h, W, dropout_cache))
        bias, zero = b[..., None, :], np.zeros(W.shape[-1], W.dtype)
        for (rows,) in _in_cache(a):
            rows += bias
            if i < len(layers) - 1:
                np.maximum(rows, zero, out=rows)  # with an array: twice as fast as with a number
        h = a
    return h, caches


def mlp_backward(dz: Array, cache: Cache, *, out: Layers) -> None:
    """The gradient of every parameter, into `out`: `minikd.core.mlp.mlp_backward`."""
    d = dz
    for i, (h, W, dropout_cache) in reversed(list(enumerate(cache))):
        dW, db = out[i]
        np.matmul(h.mT, d, out=dW)
        np.sum(d, axis=-2, out=db)
        if i > 0:
            d = d @ W.mT
            if dropout_cache is not None:
                d = dropout_backward(d, dropout_cache)
            for rows, above in _in_cache(d, h):
                rows *= above > 0  # where dropout made h zero, d is zero already


def distillation_loss(z: Array, *, v: Array | None, y: Array | None, **numbers: Any) -> tuple[Array, Array]:
    """`minikd.core.losses.distillation_loss` on logits that lie class by class in memory.

    A maximum or sum over the last axis of (128, 10) spends its time on starting 128 short loops; stored class by class
    it is 10 long ones. What is computed from such an array is laid out like it.
    """
    return readable_loss(_class_major(z), v=None if v is None else _class_major(v), y=y, **numbers)


def _class_major(z: Array) -> Array:
    return np.ascontiguousarray(z.mT).mT


def _in_cache(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The arrays (..., B, H) some rows at a time."""
    B, numbers = arrays[0].shape[-2], arrays[0].size
    step = max(ROWS * B // numbers, 1)
    for start in range(0, B, step):
        yield tuple(array[..., start : start + step, :] for array in arrays)


@cache
def _check(x: tuple[int, ...], layers: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> None:
    """That the shapes fit, asked once for each set of them."""
    for W, b in layers:
        x = check_affine(x, W, b)
