"""Rules of `minikd.core.guard` for functions that work on the host only, in NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import Arguments, Rule, number

share = number(lambda share: 0 < share < 1, "a share in (0, 1)")
tolerance = number(lambda tolerance: 0 < tolerance < math.inf, "a finite number > 0")


def host_floats(name: str, value: Any, given: Arguments) -> NDArray[np.floating]:
    """Require a float32 or float64 NumPy array with one axis or more. The last axis is classes."""
    if not isinstance(value, np.ndarray):
        raise TypeError(
            f"{name} must be a NumPy array, got {type(value).__name__}: bring it with minikd.engines.device.to_host"
        )
    if value.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be float32 or float64, got {value.dtype}: convert it with astype")
    if value.ndim == 0:
        raise ValueError(f"{name} must have shape (..., K), got a single number")
    return value


def cases(name: str, value: Any, given: Arguments) -> NDArray[np.float64]:
    """Require `host_floats` of shape (N, K), finite, with N ≥ 1 and K ≥ 2. They come back as float64."""
    z = host_floats(name, value, given)
    if z.ndim != 2 or len(z) == 0 or z.shape[1] < 2:
        raise ValueError(f"{name} must have shape (N, K) with N ≥ 1, K ≥ 2, got {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError(f"{name} must be finite, got inf or nan: the network has diverged, train it again")
    return z.astype(np.float64)


def cases_like(other: str) -> Rule:
    """Require `cases` of the other argument's shape."""

    def rule(name: str, value: Any, given: Arguments) -> NDArray[np.float64]:
        z, shape = cases(name, value, given), np.shape(given[other])
        if z.shape != shape:
            raise ValueError(f"{name} must have the {other}'s shape {shape}, got {z.shape}")
        return z

    return rule
