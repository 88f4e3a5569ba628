"""From a teacher's probabilities to its logits, for teachers that tell no more: forests, and services on the net."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError, describe

SUM_TOLERANCE = 0.05
"""How far a row of rounded probabilities may be from a sum of 1."""


def look_like_probabilities(v: NDArray[Any]) -> bool:
    """Return whether every row of v (N, K) can be a distribution: in [0, 1], with a sum of 1 except for rounding."""
    return bool(v.min() >= 0 and v.max() <= 1 and np.abs(v.sum(axis=-1) - 1).max() <= SUM_TOLERANCE)


def look_like_log_probabilities(v: NDArray[Any]) -> bool:
    """Return whether every row of v (N, K) can be the logarithms of a distribution."""
    return bool(v.max() <= 1e-6 and np.abs(np.exp(np.asarray(v, np.float64)).sum(axis=-1) - 1).max() <= 1e-3)


def logits_from_probabilities(p: NDArray[Any]) -> NDArray[np.float64]:
    """Return log p, which serves as logits at every temperature: they differ from the teacher's by a constant per row.

    A probability of 0 has no logarithm. It only says that the teacher's answer was too small to be told. So it counts
    as half the smallest probability above 0 in the whole array: half a tree of a forest, half of a rounded digit.

    Args:
        p: (N, K) probabilities, each row with the sum 1, except for rounding.

    Returns:
        (N, K) float64, in nats.

    Raises:
        DataError: if p is anything else, or only says 0 and 1.

    >>> logits_from_probabilities(np.array([[0.5, 0.5, 0.0], [0.9, 0.1, 0.0]])).round(2).tolist()
    [[-0.69, -0.69, -3.0], [-0.11, -2.3, -3.0]]
    """
    if not isinstance(p, np.ndarray) or p.ndim != 2 or 0 in p.shape or p.dtype.kind not in "biuf":
        raise DataError(f"probabilities must be numbers (N, K), got {describe(p)}: give one row per example")
    if not np.isfinite(p).all() or not look_like_probabilities(p):
        raise DataError("probabilities must lie in [0, 1], and each row must have the sum 1: give logits as they are")
    if np.isin(p, (0, 1)).all():
        raise DataError(
            "probabilities must say more than 0 and 1, which the labels say too: give those of examples that the "
            "teacher was not trained on, such as out-of-bag ones"
        )
    p = p.astype(np.float64)
    logits: NDArray[np.float64] = np.log(np.where(p > 0, p, p[p > 0].min() / 2))
    return logits


def logits_from_top(classes: NDArray[Any], p: NDArray[Any], K: int) -> NDArray[np.float64]:
    """Return logits where the teacher only names its few likeliest classes. The others share what is left evenly.

    Args:
        classes: (N, k) integers in 0 … K − 1, different in each row.
        p: (N, k) their probabilities, with a sum of at most 1 in each row, except for rounding.
        K: how many classes there are.

    Returns:
        (N, K) float64, in nats. An unnamed class is never likelier than the least likely named one.

    Raises:
        DataError: if a rule is broken.

    >>> logits_from_top(np.array([[2, 0]]), np.array([[0.7, 0.2]]), K=4).round(2).tolist()
    [[-1.61, -3.0, -0.36, -3.0]]
    """
    classes, p = np.asarray(classes), np.asarray(p)
    if classes.ndim != 2 or classes.shape != p.shape or classes.dtype.kind not in "iu" or not 1 <= classes.shape[1] < K:
        got = f"{describe(classes)} and {describe(p)}"
        raise DataError(f"classes must be integers (N, k) and p (N, k), with 1 <= k < K = {K}, got {got}: reshape them")
    if classes.min() < 0 or classes.max() >= K:
        raise DataError(f"classes must lie in 0..{K - 1}, got {classes.min()}..{classes.max()}: number them from 0")
    if (np.diff(np.sort(classes, axis=1), axis=1) == 0).any():
        raise DataError("the classes of a row must be different: each is named once")
    if not (p > 0).all() or not (p.sum(axis=1) <= 1 + SUM_TOLERANCE).all():
        raise DataError("p must be > 0, with a sum of at most 1 in each row: leave out classes of probability 0")
    k = classes.shape[1]
    left = np.maximum(1 - p.sum(axis=1), 0) / (K - k)  # for each unnamed class
    least = p.min(axis=1)
    left = np.where(left > 0, np.minimum(left, least), least / (2 * (K - k)))
    full = np.repeat(left[:, np.newaxis], K, axis=1)  # (N, K)
    np.put_along_axis(full, classes, p, axis=1)
    logits: NDArray[np.float64] = np.log(full)
    return logits
