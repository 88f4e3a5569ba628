"""Momentum, gradient clipping and max-norm. These functions write into their arguments."""

from __future__ import annotations

from minikd.core.array import A, Array, get_xp
from minikd.core.guard import floats, guard, norm, number, same_shape

_momentum = number(lambda momentum: 0 <= momentum < 1, "a number in [0, 1)")


@guard(parameters=floats, velocity=same_shape("parameters"), gradient=same_shape("parameters"), momentum=_momentum)
def momentum_step(
    parameters: Array, velocity: Array, gradient: Array, *, learning_rate: float | Array, momentum: float
) -> None:
    """Take one step of gradient descent with momentum, in place.

        velocity ← momentum · velocity − learning_rate · gradient,      parameters ← parameters + velocity

    This is the classical form (Polyak 1964). There is no factor (1 − momentum) on the gradient, so at a constant
    gradient the steps grow to learning_rate / (1 − momentum) times it (derivation D6.16).

    Args:
        parameters: float, any shape; overwritten.
        velocity: of the parameters' shape and dtype; overwritten.
        gradient: of the parameters' shape and dtype.
        learning_rate: a number, or an array that broadcasts, one per student.
        momentum: in [0, 1).

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> parameters, velocity, gradient = np.array([1.0]), np.array([0.0]), np.array([1.0])
    >>> for _ in range(2): momentum_step(parameters, velocity, gradient, learning_rate=0.1, momentum=0.9)
    >>> print(parameters.round(2), velocity.round(2))
    [0.71] [-0.19]
    """
    velocity *= momentum
    velocity -= learning_rate * gradient
    parameters += velocity


@guard(gradient=floats, clip_norm=norm)
def clip_factor(gradient: A, clip_norm: float) -> A:
    """Return the factor that scales a gradient so that its L2 norm is at most clip_norm (Pascanu et al. 2013).

        min(1, clip_norm / ‖gradient‖)        (derivation D6.17)

    Distillation needs it in its first steps. A fresh student's logits are near zero, so T² times the soft gradient is
    about v/K: several times a hard gradient where the teacher's logits are large. A learning rate that suits the rest
    of the run may then diverge. Once z is near v, nothing is clipped.

    Args:
        gradient: (..., P) float, all gradients of a network.
        clip_norm: a finite number > 0.

    Returns:
        (..., 1), in (0, 1], on the gradient's device: multiply the learning rate by it. For an infinite norm it
        is nan, so that the next cost is nan, and training stops.

    Raises:
        ValueError: if clip_norm is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> clip_factor(np.array([[3.0, 4.0], [0.3, 0.4]]), clip_norm=1.0)
    array([[0.2],
           [1. ]])
    """
    xp = get_xp(gradient=gradient)
    square = gradient[..., None, :] @ gradient[..., :, None]  # (..., 1, 1), one pass over the gradient
    norm = xp.sqrt(square[..., 0])  # (..., 1)
    nan_if_infinite = norm - norm  # else 0
    return clip_norm / xp.maximum(norm, clip_norm) + nan_if_infinite


@guard(W=floats, max_norm=norm)
def limit_norm(W: Array, max_norm: float) -> None:
    """Scale down, in place, the incoming weights of each unit whose L2 norm exceeds max_norm.

    The norm becomes max_norm, and the result is the nearest matrix that is allowed (derivation D6.18). This is the
    weight constraint of dropout training. Papers often give the square: a squared length of at most 15 is max_norm =
    √15 ≈ 3.87.

    Args:
        W: (..., D, H) float; a unit's incoming weights are a column; overwritten.
        max_norm: a finite number > 0, in units of the weights.

    Raises:
        ValueError: if max_norm is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> W = np.array([[3.0, 0.3], [4.0, 0.4]])
    >>> limit_norm(W, max_norm=1.0)
    >>> print(W)
    [[0.6 0.3]
     [0.8 0.4]]
    """
    xp = get_xp(W=W)
    norm = xp.sqrt(xp.sum(W * W, axis=-2, keepdims=True))  # (..., 1, H)
    W *= max_norm / xp.maximum(norm, max_norm)
