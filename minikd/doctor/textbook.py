"""The formulas of the textbook, from which the doctor's forward passes are made.

They take complex numbers, so that a complex step gives their derivative to the last digits. Shapes: B cases, K classes.
"""

from typing import Any

import numpy as np


def log_softmax(u: Any, axis: int | None = -1) -> Any:
    """Return the logarithm of softmax(u)."""
    u = u - np.max(u.real, axis=axis, keepdims=True)
    return u - np.log(np.sum(np.exp(u), axis=axis, keepdims=True))


def softmax(u: Any) -> Any:
    """Return exp(u) over its sum along the last axis."""
    return np.exp(log_softmax(u))


def through_softmax(q: Any, dq: Any) -> Any:
    """Return ∂C/∂u from ∂C/∂q, for q = softmax(u)."""
    return q * (dq - sums(q * dq))


def soft_cross_entropy(z: Any, v: Any, T: float) -> Any:
    """Return −Σ p log q / B at temperature T."""
    return -np.sum(softmax(v / T) * log_softmax(z / T)) / len(z)


def hard_cross_entropy(z: Any, y: Any) -> Any:
    """Return the mean over the cases of −log q at the label."""
    return -np.sum(one_hot(y, z.shape[-1]) * log_softmax(z)) / len(z)


def one_hot(y: Any, K: int) -> Any:
    """Return (B, K) rows with a 1 at the label."""
    return (np.arange(K) == y[:, None]).astype(float)


def centred(z: Any, axis: int | None = -1) -> Any:
    """Return z less its mean."""
    return z - np.mean(z, axis=axis, keepdims=True)


def sums(a: Any) -> Any:
    """Return the sum over the classes of each case, (B, 1)."""
    return np.sum(a, axis=-1, keepdims=True)


def largest(*arrays: Any) -> float:
    """Return the largest absolute value, or 0 if there is none."""
    return max(float(np.max(np.abs(array), initial=0.0)) for array in arrays)
