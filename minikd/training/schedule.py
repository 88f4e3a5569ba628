"""The learning-rate schedule."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate: it rises linearly to 1, then falls to zero as half a cosine.

    Args:
        step: from 0 to steps − 1.
        steps: the length of the run.
        warmup: the share of the run, in [0, 1), that the rise takes.

    Returns:
        The factor, in (0, 1].

    Raises:
        ValueError: if a number is out of range.

    >>> [round(warmup_cosine(step, 10, warmup=0.2), 2) for step in range(10)]
    [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """
    if not (0 <= step < steps and 0 <= warmup < 1):
        raise ValueError(f"step must be in 0 … steps − 1 and warmup in [0, 1), got {step} of {steps}, {warmup}")
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
