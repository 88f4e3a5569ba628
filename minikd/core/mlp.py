"""The network, its logits and the gradient of every parameter. A ReLU follows each affine layer except the last.

Parameters live in one flat array, and the layers are views of it: [(W₁, b₁), (W₂, b₂), …]. So a reader sees layers,
while the optimiser, the checkpoint and the backward pass see one block of memory. A population of S students is a flat
array (S, P), with views (S, D, H) and (S, H).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np

from minikd.core.array import A, Array, get_xp
from minikd.core.layers import (
    Cache,
    affine_backward,
    affine_forward,
    dropout_backward,
    dropout_forward,
    relu_backward,
    relu_forward,
)

Layers: TypeAlias = Sequence[tuple[A, A]]
"""[(W, b), …]: W (..., D, H), b (..., H)."""


class Dropout(NamedTuple):
    """The dropout of a layer's input at one step: keep, (..., B, D) bool, and drop, the probability of dropping."""

    keep: Array
    drop: float


def parameter_count(sizes: Sequence[int]) -> int:
    """Return P, the number of weights and biases of a network with these layer sizes.

    Args:
        sizes: layer sizes, from inputs to classes.

    >>> parameter_count([784, 1200, 1200, 10])
    2395210
    """
    return sum(D * H + H for D, H in pairwise(sizes))


def initialise(sizes: Sequence[int], rng: np.random.Generator, dtype: str = "float32") -> np.ndarray:
    """Return initial parameters, flat, on the host: weights normal with variance 2/D, biases zero.

    This keeps the mean square of what passes through ReLU layers (He et al. 2015; derivation D6.15). The weights are
    drawn in float64 and then rounded, so runs in float32 and float64 start from the same weights, on any device.

    Args:
        sizes: layer sizes, from inputs to classes.
        rng: the stream to draw from.
        dtype: "float32" or "float64".

    Returns:
        (P,) of the dtype.
    """
    flat = np.zeros(parameter_count(sizes), dtype)
    for W, _ in unflatten(flat, sizes):
        W[...] = rng.standard_normal(W.shape) * math.sqrt(2 / len(W))
    return flat


def unflatten(flat: A, sizes: Sequence[int]) -> Layers[A]:
    """Return the layers [(W, b), …] as views of flat parameters: what is written into one shows in the other.

    Args:
        flat: (..., P).
        sizes: layer sizes, from inputs to classes.

    Returns:
        For each layer, W (..., D, H) and b (..., H).

    Raises:
        ValueError: if P does not fit the sizes.
    """
    xp, P = get_xp(flat=flat), parameter_count(sizes)
    if flat.shape[-1] != P:
        raise ValueError(f"a network of sizes {list(sizes)} has {P} parameters, got {flat.shape[-1]}")
    leading = flat.shape[:-1]
    layers, start = [], 0
    for D, H in pairwise(sizes):
        W = xp.reshape(flat[..., start : start + D * H], (*leading, D, H))
        b = flat[..., start + D * H : start + D * H + H]
        layers.append((W, b))
        start += D * H + H
    return layers


def mlp_forward(x: A, layers: Layers[A], dropout: Sequence[Dropout | None] | None = None) -> tuple[A, Cache]:
    """Return the logits of a network (derivation D6.9).

    Without dropout, they approximate their mean over all masks. They equal it where no ReLU follows the masks
    (derivation D7.4 to D7.7).

    Args:
        x: (..., B, D) float, the inputs.
        layers: [(W, b), …], as `unflatten` gives them.
        dropout: None, or one entry per layer: the `Dropout` of its input, or None. There is no training mode to forget:
            without a dropout state there is no dropout.

    Returns:
        z, (..., B, K).
        The cache for `mlp_backward`.

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.
    """
    if dropout is None:
        dropout = [None] * len(layers)
    if len(dropout) != len(layers):
        raise ValueError(f"dropout must have one entry per layer, {len(layers)}, got {len(dropout)}")
    caches = []
    h = x
    for i, ((W, b), state) in enumerate(zip(layers, dropout, strict=True)):
        relu_cache = dropout_cache = None
        if i > 0:
            h, relu_cache = relu_forward(h, out=h)
        if state is not None:
            h, dropout_cache = dropout_forward(h, state.keep, state.drop)
        h, affine_cache = affine_forward(h, W, b)
        caches.append((relu_cache, dropout_cache, affine_cache))
    return h, caches


def mlp_backward(
    dz: A, cache: Cache, *, out: Layers[A] | None = None, input_gradient: bool = False
) -> tuple[Layers[A], A | None]:
    """Return the gradient of the cost with respect to every parameter, given its gradient with respect to the logits.

    This is the chain rule, last layer first (derivation D6.10 to D6.12). In a population each student has its own
    gradient (derivation D6.13). With dropout, the mean of the gradient over the masks is the gradient of the mean cost,
    not of the cost without dropout (derivation D7.8 to D7.10).

    Args:
        dz: (..., B, K), as a cost of `minikd.core.losses` returns it.
        cache: from `mlp_forward`.
        out: layers to write the gradients into, views of a flat array of gradients.
        input_gradient: whether to compute dx too. Training does not need it.

    Returns:
        [(dW, db), …] in the order of the layers.
        dx, (..., B, D), or None.

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.
    """
    gradients = []
    dh: A | None = dz
    for i, (relu_cache, dropout_cache, affine_cache) in reversed(list(enumerate(cache))):
        assert dh is not None  # only the first layer's may be left out
        place = None if out is None else out[i]
        dh, dW, db = affine_backward(dh, affine_cache, out=place, input_gradient=i > 0 or input_gradient)
        gradients.append((dW, db))
        if dropout_cache is not None and dh is not None:
            dh = dropout_backward(dh, dropout_cache)
        if relu_cache is not None and dh is not None:
            dh = relu_backward(dh, relu_cache, out=dh)
    return gradients[::-1], dh
