"""Dropout's masks: a counter-based hash of integers, so the bits are the same on every backend."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from minikd.core.array import Array, get_xp


def dropout_mask(counters: Any, key: int | Array, drop: float) -> Any:
    """Return True where a unit is kept.

    Unit i is kept at one step where hash(counter_i xor key) is at least drop · 2³². There is no generator whose state
    would have to be kept: a mask is a function of its key. Units are kept independently of each other (derivation
    D7.1).

    Args:
        counters: (B, H) uint32, `hash32` of 0, 1, 2, …: scattered once, so that keys that differ in one bit draw
            unrelated masks.
        key: an int in 0 … 2³² − 1, or an array (..., 1, 1) uint32: one per step, layer and student.
        drop: the probability of dropping, in [0, 1).

    Returns:
        keep, (..., B, H) bool.

    Raises:
        ValueError: if drop is out of range.
        TypeError: if counters or keys are not uint32.

    >>> import numpy as np
    >>> counters = hash32(np.arange(100_000, dtype=np.uint32))
    >>> print(round(float(dropout_mask(counters, 7, drop=0.2).mean()), 2))
    0.8
    """
    if isinstance(key, Integral):
        key = int(key)  # NumPy's integers would promote the counters
    return hash32(counters ^ key) >= drop_threshold(drop)


def drop_threshold(drop: float) -> int:
    """Return drop · 2³²: a unit is dropped where its hash is below it.

    Raises:
        ValueError: if drop is outside [0, 1).
    """
    return min(round(check_drop(drop) * 2**32), 2**32 - 1)


def check_drop(drop: float) -> float:
    """Return drop, after checking that it is a probability in [0, 1).

    Raises:
        ValueError: if it is not.
    """
    if not 0 <= drop < 1:
        raise ValueError(f"drop must be a probability in [0, 1), got {drop}: it is the share dropped, not kept")
    return drop


def hash32(x: Any) -> Any:
    """Return a mix of 32 bits in which every bit of the input flips each bit of the output half of the time.

    Three shifts and two products modulo 2³²: the construction of MurmurHash3's finaliser, with C. Wellons' constants.

    Args:
        x: uint32, any shape.

    Returns:
        uint32, of x's shape; a bijection of 0 … 2³² − 1.

    Raises:
        TypeError: if x has another dtype, in which the products would not wrap.
    """
    if x.dtype != get_xp(x=x).uint32:
        raise TypeError(f"hash32 takes uint32, counters and key alike, got {x.dtype}: convert it with astype")
    h = x ^ (x >> 16)
    h *= 0x7FEB352D
    h ^= h >> 15
    h *= 0x846CA68B
    h ^= h >> 16
    return h
