"""Momentum SGD, clipping and max-norm. The one module of the core that writes into its arguments."""

from __future__ import annotations

import math

from minikd.core.array import Array, get_float_xp


def momentum_step(p: Array, v: Array, g: Array, *, learning_rate: float | Array, momentum: float) -> None:
    """One step of gradient descent with momentum, in place.

        v ← momentum · v − learning_rate · g,      p ← p + v

    The classical form (Polyak 1964): no (1 − momentum) on the gradient, so at a constant gradient the steps grow to
    learning_rate / (1 − momentum) times it (derivation D6.16).

    Args: p parameters, v velocity (both overwritten), g gradient: one shape, one dtype; learning_rate a number, or an
        array that broadcasts, one a student.

    >>> import numpy as np
    >>> p, v, g = np.array([1.0]), np.array([0.0]), np.array([1.0])
    >>> for _ in range(2): momentum_step(p, v, g, learning_rate=0.1, momentum=0.9)
    >>> print(p.round(2), v.round(2))
    [0.71] [-0.19]
    """
    get_float_xp(p=p, v=v, g=g)
    if not p.shape == v.shape == g.shape:
        raise ValueError(f"p, v and g must have one shape, got {p.shape}, {v.shape} and {g.shape}")
    v *= momentum
    v -= learning_rate * g
    p += v


def clip_factor(g: Array, clip_norm: float) -> Array:
    """What the gradient of a step must be scaled by so that its L2 norm is at most clip_norm (Pascanu et al. 2013).

        min(1, clip_norm / ‖g‖)        (derivation D6.17)

    Distillation needs it at first: a fresh student's logits are near zero, so T² times the soft gradient is about
    v/K, several times a hard gradient where the teacher's logits are large, and a rate that suits the rest of the run
    may diverge in its first steps. Once z is near v nothing is clipped.

    Args: g (..., P), all gradients of a network; clip_norm > 0.
    Returns: (..., 1), in (0, 1], on g's device: to multiply the learning rate by.

    >>> import numpy as np
    >>> clip_factor(np.array([[3.0, 4.0], [0.3, 0.4]]), clip_norm=1.0)
    array([[0.2],
           [1. ]])
    """
    xp = get_float_xp(g=g)
    check_norm("clip_norm", clip_norm)
    square = g[..., None, :] @ g[..., :, None]  # (..., 1, 1), one pass over g
    norm = xp.sqrt(square[..., 0])  # (..., 1)
    return float(clip_norm) / xp.maximum(norm, float(clip_norm)) + (norm - norm)  # nan, not 0, where the norm is inf


def limit_norm(W: Array, max_norm: float) -> None:
    """Scale the incoming weights of each unit whose L2 norm exceeds max_norm down to it, in place: the nearest that is
    allowed (derivation D6.18).

    The weight constraint of dropout training. Papers often give the square: a squared length of at most 15 is
    max_norm = √15 ≈ 3.87.

    Args: W (..., D, H): a unit's incoming weights are a column; max_norm > 0, in units of the weights.

    >>> import numpy as np
    >>> W = np.array([[3.0, 0.3], [4.0, 0.4]])
    >>> limit_norm(W, max_norm=1.0)
    >>> print(W)
    [[0.6 0.3]
     [0.8 0.4]]
    """
    xp = get_float_xp(W=W)
    check_norm("max_norm", max_norm)
    norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))  # (..., 1, H)
    W *= float(max_norm) / xp.maximum(norm, float(max_norm))


def check_norm(name: str, norm: float) -> None:
    """Raises: ValueError unless 0 < norm < ∞."""
    if not 0 < norm < math.inf:
        raise ValueError(f"{name} must be a finite L2 norm > 0, got {norm}")
