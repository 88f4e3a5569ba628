"""E1, the softened softmax: q_i = exp(z_i/T) / Σ_j exp(z_j/T), its logarithm, and the backward pass of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np

from minikd.core.array import Array, get_float_xp, on_host


def log_softmax(z: Array, T: float | Array = 1.0) -> Array:
    """The logarithm of the softened softmax, finite for every finite input.

        log q_i = u_i − log Σ_j exp(u_j),   u_i = (z_i − max_j z_j) / T

    (Hinton et al. 2015, E1; derivation D1.4.) Adding a number to every logit of a case changes nothing (derivation
    D1.2), so the largest is brought to zero first: no exponential overflows, and at least one is 1, so the logarithm is
    of a number in [1, K].

    Args:
        z: (..., B, K) float32 or float64, logits in nats.
        T: the temperature, dimensionless: a number > 0, or an array (..., 1, 1) of z's dtype, one a student.
    Returns: log q, (..., B, K), nats.
    Raises: ValueError for T out of range, TypeError for dtypes.

    >>> import numpy as np
    >>> log_softmax(np.array([[1e30, 0.0]]))
    array([[ 0.e+00, -1.e+30]])
    """
    xp = get_float_xp(z=z)
    T = check_temperature(T, z)
    u = (z - xp.max(z, axis=-1, keepdims=True)) / T  # (..., B, K), largest 0
    return u - xp.log(xp.sum(xp.exp(u), axis=-1, keepdims=True))


def log_softmax_backward(dlog_q: Array, log_q: Array, T: float | Array = 1.0) -> Array:
    """From ∂C/∂log q to ∂C/∂z.

        dz_i = (1/T) (dlog_q_i − q_i Σ_j dlog_q_j)        (derivations D1.6 and D1.8)

    Args: dlog_q and log_q (..., B, K), log_q as `log_softmax` returned it; T the same T.
    Returns: dz, (..., B, K).
    """
    xp = get_float_xp(dlog_q=dlog_q, log_q=log_q)
    T = check_temperature(T, log_q)
    return (1 / T) * (dlog_q - xp.exp(log_q) * xp.sum(dlog_q, axis=-1, keepdims=True))


def softmax(z: Array, T: float | Array = 1.0) -> Array:
    """Class probabilities, softened by the temperature.

        q_i = exp(z_i/T) / Σ_j exp(z_j/T)        (Hinton et al. 2015, E1; derivations D1.1 and D1.3)

    T = 1 is the ordinary softmax; a higher T gives a softer distribution, of a higher entropy (derivations D1.10 and
    D1.11): uniform as T → ∞, all on the largest logit as T → 0 (derivations D1.12 and D1.13). Arguments and errors as
    `log_softmax`.

    Returns: q, (..., B, K), in [0, 1], summing to one over K.

    >>> import numpy as np
    >>> z = np.array([[4.0, 2.0, 0.0]])
    >>> print(softmax(z).round(3), softmax(z, T=8.0).round(3))
    [[0.867 0.117 0.016]] [[0.419 0.326 0.254]]
    """
    return get_float_xp(z=z).exp(log_softmax(z, T))


def softmax_backward(dq: Array, q: Array, T: float | Array = 1.0) -> Array:
    """From ∂C/∂q to ∂C/∂z.

        dz_i = (1/T) q_i (dq_i − Σ_j q_j dq_j)        (derivations D1.5 and D1.7)

    Args: dq and q (..., B, K), q as `softmax` returned it; T the same T.
    Returns: dz, (..., B, K); each row sums to zero, as shifting all logits of a case changes nothing (derivation
        D1.9).
    """
    xp = get_float_xp(dq=dq, q=q)
    T = check_temperature(T, q)
    return (1 / T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))


def check_temperature(T: float | Array, z: Array) -> float | Array:
    """T, once it is known to be usable with the logits z: see `check_scalar`."""
    return check_scalar("T", T, z, lambda T: (T > 0) & (math.inf > T), "a finite number > 0")


def check_scalar(name: str, value: Any, z: Array, holds: Callable[[Any], Any], rule: str) -> float | Array:
    """A number, or one number for each student of a population, once it is known to be usable with the logits z.

    A number comes back as a Python float, which promotes no array. An array must be of z's dtype, on z's device, with
    ones as its last two axes. Its values are checked where the host can read them; on a GPU that would wait, so there
    they are checked by whoever made the array (the training loop does).

    Raises: ValueError for values out of range or another shape; TypeError for the type or dtype.
    """
    if isinstance(value, Real):
        if not holds(value):
            raise ValueError(f"{name} must be {rule}, got {float(value)}")
        return float(value)
    if not hasattr(value, "shape"):
        raise TypeError(f"{name} must be {rule}, or an array (..., 1, 1), got {type(value).__name__}")
    get_float_xp(**{"z": z, name: value})
    if value.ndim < 2 or value.shape[-2:] != (1, 1):
        raise ValueError(f"{name} must be a number or an array of shape (..., 1, 1), got shape {value.shape}")
    if on_host(value) and not get_float_xp(z=z).all(holds(value)):
        raise ValueError(f"{name} must be {rule}, got {np.asarray(value).ravel().tolist()}")
    return value
