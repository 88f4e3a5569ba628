"""The readable engine: the functions of the core, one after the other. It trains on a CPU.

Its only concession to speed is the layout of the logits that the cost reads: see `loss`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minikd.core.array import A, Array, get_xp
from minikd.core.layers import Cache, dropout_forward
from minikd.core.losses import distillation_loss
from minikd.core.masks import dropout_mask
from minikd.core.mlp import Dropout, mlp_backward, mlp_forward
from minikd.core.optim import clip_factor, limit_norm, momentum_step
from minikd.engines.engine import Batch, Draw, Source, State

BLOCK = 1 << 18
"""Parameters updated at a time: what a step reads and writes of them stays in a CPU's cache."""


def batches(source: Source, draw: Draw) -> Iterator[Batch]:
    """Yield the batches of an epoch, as `Engine.batches` says."""
    return (_batch(source, draw.at(i)) for i in range(draw.n.shape[0]))


def _batch(source: Source, draw: Draw) -> Batch:
    take = get_xp(X=source.X).take
    x = _by_student(source, _inputs(source, draw))  # (..., B, D)
    y = _by_student(source, take(source.y, draw.n, axis=0))  # (..., B)
    v = None if source.V is None else _by_student(source, take(source.V, draw.n, axis=0))  # (..., B, K)
    dropout = [_dropout(source, draw, layer) for layer in range(len(source.drops))]
    if dropout[0] is not None:
        x, _ = dropout_forward(x, dropout[0].keep, dropout[0].drop)
    return Batch(x, y, v, [None, *dropout[1:]] if any(source.drops) else None)


def _inputs(source: Source, draw: Draw) -> Array:
    """Return the drawn examples, (S·B, D) float: images, moved and scaled to [0, 1], or windows of frames."""
    xp = get_xp(X=source.X)
    if draw.shift is None or source.window is None:
        x = xp.take(source.X, draw.n, axis=0)  # (S·B, D)
    else:
        start = xp.expand_dims(draw.n * source.stride + draw.shift, axis=-1)  # (S·B, 1)
        index = xp.reshape(start + source.window, (-1,))  # (S·B·D,)
        x = xp.reshape(xp.take(source.X, index, axis=0), (-1, source.inputs))  # (S·B, D)
    return scaled(x, source.dtype) if x.dtype == xp.uint8 else x


def scaled(pixels: A, dtype: str) -> A:
    """Return bytes 0 … 255 as floats 0 … 1, of the dtype; any shape."""
    xp = get_xp(pixels=pixels)
    x = xp.astype(pixels, getattr(xp, dtype))
    x *= 1 / 255
    return x


def _by_student(source: Source, array: Array) -> Array:
    """Return (S·B, …) as (S, B, …) if each student has its own batches."""
    if not source.leading:
        return array
    return get_xp(array=array).reshape(array, (*source.leading, source.batch_size, *array.shape[1:]))


def _dropout(source: Source, draw: Draw, layer: int) -> Dropout | None:
    """Return the dropout of a layer's input."""
    counters, key, drop = source.counters[layer], draw.keys[layer], source.drops[layer]
    if counters is None or key is None:
        return None
    own = get_xp(key=key).reshape(key, (*source.leading, 1, 1))
    return Dropout(dropout_mask(counters, own, drop), drop)


def forward(x: Array, state: State, dropout: Sequence[Dropout | None] | None = None) -> tuple[Array, Cache]:
    """Return the logits and the cache: `mlp_forward`."""
    return mlp_forward(x, state.layers, dropout)


def loss(
    z: Array,
    state: State,
    *,
    v: Array | None,
    y: Array | None,
    T: float | Array,
    alpha: float | Array,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Return the cost and dz: `distillation_loss`, on logits that lie class by class in memory.

    NumPy is slow at reducing a short last axis: for a maximum or a sum over the classes of (128, 10) it starts 128
    short loops. Stored class by class, the same numbers need 10 long loops. Results inherit this layout.
    """
    C, dz = distillation_loss(_class_major(z), v=None if v is None else _class_major(v), y=y, T=T, alpha=alpha)
    if out is not None:
        out[...] = C
    return C, dz


def _class_major(z: Array) -> Array:
    return np.ascontiguousarray(z.mT).mT if isinstance(z, np.ndarray) else z


def backward(dz: Array, cache: Cache, state: State) -> None:
    """Write the gradient of every parameter into the state: `mlp_backward`."""
    mlp_backward(dz, cache, out=state.gradients)


def update(
    state: State, *, learning_rate: float | Array, momentum: float, clip_norm: float | None, max_norm: float | None
) -> None:
    """Clip the gradient, move the parameters, and limit the norms of the hidden layers' weights, in place."""
    if clip_norm is not None:
        learning_rate = learning_rate * clip_factor(state.gradient, clip_norm)
    for block in _blocks(state.parameters, state.velocity, state.gradient):
        momentum_step(*block, learning_rate=learning_rate, momentum=momentum)
    if max_norm is not None:
        for W, _ in state.layers[:-1]:
            limit_norm(W, max_norm)


def _blocks(*arrays: Array) -> Iterator[Sequence[Array]]:
    """Yield flat arrays, (..., P), block by block on a CPU. A GPU pays for every launch, so there they stay whole."""
    P = arrays[0].shape[-1]
    if P <= BLOCK or not isinstance(arrays[0], np.ndarray):
        yield arrays
        return
    for start in range(0, P, BLOCK):
        yield [array[..., start : start + BLOCK] for array in arrays]
