"""The layers: affine, ReLU, dropout. Each backward pass stands beside its forward pass.

Shapes: B cases, D inputs, H outputs. Leading axes, written `...`, are a population: S students at once.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from minikd.core.array import A, Array, get_xp, write_into
from minikd.core.guard import Arguments, floats, guard
from minikd.core.masks import check_drop

Cache: TypeAlias = Any
"""What a forward pass leaves for its backward pass."""


# ---- affine ----------------------------------------------------------------------------------------------------------


def _affine_shapes(name: str, b: Any, given: Arguments) -> Any:
    """Check b: the shapes of x, W and b must allow x W + b."""
    x, W, b = given["x"].shape, given["W"].shape, floats(name, b, given)
    if len(W) < 2 or b.shape != (*W[:-2], W[-1]):
        raise ValueError(f"W must have shape (..., D, H) and b (..., H), got {W} and {b.shape}")
    if len(x) < 2 or x[-1] != W[-2] or x[:-2] not in ((), W[:-2]):
        raise ValueError(f"x must have shape (..., B, {W[-2]}) for W {W}, with its leading axes or none, got {x}")
    return b


@guard(x=floats, W=floats, b=_affine_shapes)
def affine_forward(x: A, W: A, b: A) -> tuple[A, Cache]:
    """Return x W + b, for every case (derivation D6.1).

    Args:
        x: (..., B, D) float. It may lack the leading axes that W has: the students of a population then share it.
        W: (..., D, H), of x's dtype.
        b: (..., H), of x's dtype.

    Returns:
        out, (..., B, H).
        The cache for `affine_backward`.

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> out, cache = affine_forward(np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]]), np.array([0.5]))
    >>> print(out)
    [[21.5]]
    """
    out = x @ W  # (..., B, H)
    out += b[..., None, :]  # (..., 1, H)
    return out, (x, W)


def _affine_cache(name: str, cache: Any, given: Arguments) -> Cache:
    """Check a cache of `affine_forward`: its arrays must have dout's dtype and device, and dout the output's shape."""
    x, W = cache
    for of, array in (("W", W), ("x", x)):
        floats(of, array, given)
    out, dout = (*W.shape[:-2], x.shape[-2], W.shape[-1]), given["dout"].shape
    if dout != out:
        raise ValueError(f"dout must have the output's shape, {out}, got {dout}")
    return cache


@guard(dout=floats, cache=_affine_cache)
def affine_backward(
    dout: A, cache: Cache, *, out: tuple[A, A] | None = None, input_gradient: bool = True
) -> tuple[A | None, A, A]:
    """Return the gradients of the three arguments of `affine_forward`.

        dx = dout Wᵀ,      dW = xᵀ dout,      db = Σ_b dout_b        (derivation D6.2 to D6.5)

    Args:
        dout: (..., B, H) float.
        cache: from `affine_forward`.
        out: arrays (dW, db) to write into, if you have a place for them.
        input_gradient: False for a first layer, whose dx is not needed. It would cost a third of the products.

    Returns:
        dx, of x's shape; None without input_gradient.
        dW, (..., D, H).
        db, (..., H).

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.
    """
    xp, (x, W) = get_xp(dout=dout), cache
    dW_out, db_out = out or (None, None)
    dW = write_into(dW_out, xp.matmul, x.mT, dout)  # (..., D, H)
    db = write_into(db_out, xp.sum, dout, axis=-2)  # (..., H)
    dx = _sum_over_students(dout @ W.mT, x.ndim) if input_gradient else None  # (..., B, D)
    return dx, dW, db


def _sum_over_students(dx: A, ndim: int) -> A:
    """Return dx without the leading axes that x, of `ndim` axes, lacked.

    Where students share x, each of them adds to its gradient (derivation D6.14).
    """
    return dx if dx.ndim == ndim else get_xp(dx=dx).sum(dx, axis=tuple(range(dx.ndim - ndim)))


# ---- ReLU ------------------------------------------------------------------------------------------------------------


@guard(x=floats)
def relu_forward(x: A, *, out: A | None = None) -> tuple[A, Cache]:
    """Return max(x, 0).

    Args:
        x: (..., B, H) float.
        out: an array to write into, if you have a place for it; x itself if x is no longer needed.

    Returns:
        out, of x's shape.
        The cache for `relu_backward`: out is all that it needs, because out is positive exactly where x is.

    Raises:
        TypeError: if a dtype is wrong.
    """
    out = write_into(out, get_xp(x=x).maximum, x, 0.0)
    return out, out


def _relu_cache(name: str, out: Any, given: Arguments) -> Cache:
    """Check a cache of `relu_forward`: it is the output, which must have dout's shape."""
    floats("out", out, given)
    if given["dout"].shape != out.shape:
        raise ValueError(f"dout must have the output's shape, {out.shape}, got {given['dout'].shape}")
    return out


@guard(dout=floats, cache=_relu_cache)
def relu_backward(dout: A, cache: Cache, *, out: A | None = None) -> A:
    """Return dx: dout where x > 0, else 0, also at the kink x = 0 (derivations D6.6 and D6.7).

    It is a product with the mask. `where` gives the same for finite gradients, but on a CPU it branches at every
    element, which is 15 times slower.

    Args:
        dout: (..., B, H) float.
        cache: from `relu_forward`.
        out: an array to write into, if you have a place for it; dout itself if dout is no longer needed.

    Returns:
        dx, of dout's shape.

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.
    """
    xp = get_xp(dout=dout)
    mask = xp.astype(cache > 0, dout.dtype)  # (..., B, H)
    return write_into(out, xp.multiply, dout, mask)


# ---- dropout ---------------------------------------------------------------------------------------------------------


def _mask(name: str, keep: Any, given: Arguments) -> Any:
    """Check keep: it must be a boolean mask of x's last two axes."""
    x: Array = given["x"]
    if not get_xp(x=x, keep=keep).isdtype(keep.dtype, "bool"):
        raise TypeError(f"{name} must be boolean, got {keep.dtype}: draw it with dropout_mask")
    if keep.shape[-2:] != x.shape[-2:]:
        raise ValueError(f"{name} must have x's last axes, {x.shape[-2:]}, got {keep.shape}")
    return keep


@guard(x=floats, keep=_mask, drop=lambda name, drop, given: check_drop(drop))
def dropout_forward(x: A, keep: Array, drop: float) -> tuple[A, Cache]:
    """Return x / (1 − drop) where keep, else 0: inverted dropout (Srivastava et al. 2014).

    Survivors are scaled up in training. So the mean over masks is x, and nothing is scaled afterwards. The variance is
    x² drop / (1 − drop) (derivations D7.2 and D7.3). There is no mode flag: without dropout, do not call this.

    Args:
        x: (..., B, H) float.
        keep: (..., B, H) boolean, as `dropout_mask` draws it, with as many leading axes as x or more.
        drop: the probability of dropping, in [0, 1).

    Returns:
        out, (..., B, H).
        The cache for `dropout_backward`.

    Raises:
        ValueError: if shapes or devices do not match, or drop is out of range.
        TypeError: if a dtype is wrong.
    """
    scale = get_xp(x=x).astype(keep, x.dtype)  # (..., B, H)
    scale *= 1 / (1 - drop)
    return x * scale, (scale, x.ndim)


def _dropout_cache(name: str, cache: Any, given: Arguments) -> Cache:
    """Check a cache of `dropout_forward`: its scale must have dout's dtype and device, and fit dout's last axes."""
    scale, dout = floats("scale", cache[0], given).shape, given["dout"].shape
    if scale[-2:] != dout[-2:]:
        raise ValueError(f"dout must have the mask's last axes, {scale[-2:]}, got shape {dout}")
    return cache


@guard(dout=floats, cache=_dropout_cache)
def dropout_backward(dout: A, cache: Cache) -> A:
    """Return dx: dout / (1 − drop) where keep, else 0 (derivation D6.8).

    Args:
        dout: (..., B, H) float.
        cache: from `dropout_forward`.

    Returns:
        dx, of x's shape.

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.
    """
    scale, ndim = cache
    dx: A = dout * scale  # (..., B, H)
    return _sum_over_students(dx, ndim)
