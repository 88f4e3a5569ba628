"""The layers: affine, ReLU, dropout. Each backward pass stands beside its forward pass.

Shapes: B cases, D inputs, H outputs. Leading axes, written `...`, are a population: S students at once.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, TypeAlias

from minikd.core.array import Array, get_float_xp, get_xp, multiply

Cache: TypeAlias = Any
"""What a forward pass leaves for its backward pass."""


# ---- affine ----------------------------------------------------------------------------------------------------------


def affine_forward(x: Array, W: Array, b: Array) -> tuple[Array, Cache]:
    """out = x W + b, for every case (derivation D6.1).

    Args: x (..., B, D), W (..., D, H), b (..., H), of one float dtype; x may lack leading axes that W has: the
        students of a population then share it.
    Returns: out (..., B, H), and the cache for `affine_backward`.
    Raises: ValueError for shapes and devices; TypeError for dtypes.

    >>> import numpy as np
    >>> out, cache = affine_forward(np.array([[1.0, 2.0]]), np.array([[1.0], [10.0]]), np.array([0.5]))
    >>> print(out)
    [[21.5]]
    """
    get_float_xp(x=x, W=W, b=b)
    check_affine(x.shape, W.shape, b.shape)
    out = x @ W  # (..., B, H)
    out += b[..., None, :]  # (..., 1, H)
    return out, (x, W)


def check_affine(x: tuple[int, ...], W: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x W + b; raises ValueError where the shapes do not fit."""
    if len(W) < 2 or b != (*W[:-2], W[-1]):
        raise ValueError(f"W must have shape (..., D, H) and b (..., H), got {W} and {b}")
    if len(x) < 2 or x[-1] != W[-2] or x[:-2] not in ((), W[:-2]):
        raise ValueError(f"x must have shape (..., B, {W[-2]}) for W {W}, with its leading axes or none, got {x}")
    return (*W[:-2], x[-2], W[-1])


def affine_backward(
    dout: Array, cache: Cache, *, out: tuple[Array, Array] | None = None, input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """The gradients of the three arguments of `affine_forward`.

        dx = dout Wᵀ,      dW = xᵀ dout,      db = Σ_b dout_b        (derivation D6.2 to D6.5)

    Args:
        dout: (..., B, H). cache: from `affine_forward`.
        out: arrays (dW, db) to write into, if the caller has a place for them.
        input_gradient: False for a first layer, whose dx nobody needs: a third of its products.
    Returns: dx (x's shape; None without input_gradient), dW (..., D, H), db (..., H).
    """
    x, W = cache
    xp = get_float_xp(dout=dout, W=W)
    dW_out, db_out = (None, None) if out is None else out
    dW = multiply(x.mT, dout, out=dW_out)  # (..., D, H)
    db = xp.sum(dout, axis=-2)  # (..., H)
    if db_out is not None:
        db_out[...] = db
        db = db_out
    if not input_gradient:
        return None, dW, db
    return _sum_over_students(dout @ W.mT, x.ndim), dW, db


def _sum_over_students(dx: Array, ndim: int) -> Array:
    """dx without the leading axes that x, of `ndim` axes, lacked: where students share x, each adds to its gradient
    (derivation D6.14).
    """
    return dx if dx.ndim == ndim else get_xp(dx=dx).sum(dx, axis=tuple(range(dx.ndim - ndim)))


# ---- ReLU ------------------------------------------------------------------------------------------------------------


def relu_forward(x: Array) -> tuple[Array, Cache]:
    """out = max(x, 0). Shape (..., B, H) in and out.

    The output is all that the backward pass needs: it is positive just where x is.
    """
    xp = get_float_xp(x=x)
    out = xp.maximum(x, 0.0)
    return out, out


def relu_backward(dout: Array, cache: Cache) -> Array:
    """dx = dout where x > 0, else 0, at the kink x = 0 too (derivations D6.6 and D6.7). Shape (..., B, H) in and out.

    A product with the mask: `where` would say the same of finite gradients, but on a CPU it branches at every element,
    which costs 15 times as much on a mask as irregular as this one.
    """
    out = cache
    xp = get_float_xp(dout=dout, out=out)
    if dout.shape != out.shape:
        raise ValueError(f"dout must have the output's shape, {out.shape}, got {dout.shape}")
    return dout * xp.astype(out > 0, dout.dtype)


# ---- dropout ---------------------------------------------------------------------------------------------------------


def dropout_forward(x: Array, keep: Array, drop: float) -> tuple[Array, Cache]:
    """out = x / (1 − drop) where keep, else 0: inverted dropout (Srivastava et al. 2014).

    Survivors are scaled up while training, so the mean over masks is x and nothing is scaled afterwards; the variance
    is x² drop / (1 − drop) (derivations D7.2 and D7.3). There is no mode flag: whoever wants no dropout does not call
    this.

    Args: x (..., B, H) float; keep (..., B, H) boolean, as `dropout_mask` draws it, with as many leading axes or more;
        drop in [0, 1), the probability of dropping.
    Returns: out (..., B, H), and the cache for `dropout_backward`.
    Raises: ValueError for shapes, devices and drop; TypeError for dtypes.
    """
    xp = get_float_xp(x=x)
    get_xp(x=x, keep=keep)
    _check_drop(drop)
    if not xp.isdtype(keep.dtype, "bool"):
        raise TypeError(f"keep must be boolean, got {keep.dtype}: draw it with dropout_mask")
    if keep.shape[-2:] != x.shape[-2:]:
        raise ValueError(f"keep must have x's last axes, {x.shape[-2:]}, got {keep.shape}")
    scale = xp.astype(keep, x.dtype)  # (..., B, H)
    scale *= 1 / (1 - drop)
    return x * scale, (scale, x.ndim)


def dropout_backward(dout: Array, cache: Cache) -> Array:
    """dx = dout / (1 − drop) where keep, else 0 (derivation D6.8). Shape (..., B, H) in and out."""
    scale, ndim = cache
    get_float_xp(dout=dout, scale=scale)
    return _sum_over_students(dout * scale, ndim)


def dropout_mask(counters: Array, key: int | Array, drop: float) -> Array:
    """True where a unit is kept: the same bits on every backend, as they come from integers alone.

    Unit i at one step is kept where hash(counter_i xor key) is at least drop · 2³², so no generator has a state to
    carry: a mask is a function of its key. Units are kept independently of each other (derivation D7.1).

    Args:
        counters: (B, H) uint32, `hash32` of 0, 1, 2, …: scattered once, so that keys that differ in a bit draw
            unrelated masks.
        key: int in 0 … 2³² − 1, or (..., 1, 1) uint32: one a step, a layer and a student.
        drop: in [0, 1), the probability of dropping.
    Returns: keep, (..., B, H) bool.

    >>> import numpy as np
    >>> counters = hash32(np.arange(100_000, dtype=np.uint32))
    >>> print(round(float(dropout_mask(counters, 7, drop=0.2).mean()), 2))
    0.8
    """
    if isinstance(key, Integral):
        key = int(key)  # NumPy's integers would promote the counters
    return hash32(counters ^ key) >= drop_threshold(drop)


def drop_threshold(drop: float) -> int:
    """drop · 2³²: a unit is dropped where its hash is below. Raises ValueError for drop outside [0, 1)."""
    _check_drop(drop)
    return min(round(drop * 2**32), 2**32 - 1)


def hash32(x: Array) -> Array:
    """A mix of 32 bits in which every bit of the input flips each bit of the output half of the time.

    Three shifts and two products modulo 2³², the construction of MurmurHash3's finaliser with C. Wellons' constants.

    Args: x, uint32, any shape. Returns: uint32, the same shape; a bijection of 0 … 2³² − 1.
    Raises: TypeError for another dtype, in which the products would not wrap.
    """
    if x.dtype != get_xp(x=x).uint32:
        raise TypeError(f"hash32 takes uint32, counters and key alike, got {x.dtype}: convert it with astype")
    h = x ^ (x >> 16)
    h *= 0x7FEB352D
    h ^= h >> 15
    h *= 0x846CA68B
    h ^= h >> 16
    return h


def _check_drop(drop: float) -> None:
    if not 0 <= drop < 1:
        raise ValueError(f"drop must be a probability in [0, 1), got {drop}: it is the share dropped, not kept")
