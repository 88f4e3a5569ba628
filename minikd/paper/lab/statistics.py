"""The statistics behind the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 10_000
"""How often `bootstrap` draws."""


def mean_sd(values: Sequence[float] | np.ndarray, digits: int = 1) -> str:
    """Return the mean and the standard deviation in words, as in "119.0 ± 4.9"; of a single value only the value.

    >>> mean_sd([118, 120]), mean_sd([118])
    ('119.0 ± 1.4', '118')
    """
    if len(values) == 1:
        return f"{round(values[0], digits):g}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def fraction(part: float, whole: float) -> float | None:
    """Return part / whole, or None unless whole > 0: a share of nothing, or of a loss, has no meaning.

    >>> fraction(2.0, 4.0), fraction(-1.0, 0.0), fraction(-2.0, -4.0)
    (0.5, None, None)
    """
    return part / whole if whole > 0 else None


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p-value of paired differences, for the hypothesis that they have no direction.

    It is the share of all patterns of signs whose mean is at least as far from 0. With n pairs, it is at least 2^(1 −
    n).

    Args:
        differences: (n,), n from 1 to 16; the result is exact.

    Raises:
        ValueError: if there are no differences, or more than 16.

    >>> sign_flip_p([1.0, 2.0, 3.0]), sign_flip_p([1.0, -1.0])
    (0.25, 1.0)
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or not 1 <= len(d) <= 16:
        raise ValueError(f"sign_flip_p takes 1 to 16 differences, got shape {d.shape}")
    sums = np.abs(np.array(list(product((1.0, -1.0), repeat=len(d)))) @ d)  # (2ⁿ,)
    return float(np.mean(sums >= abs(d.sum()) * (1 - 1e-12)))


def near(value: float, figure: float) -> bool:
    """Return whether a mean count of errors is at most the paper's plus two binomial standard deviations.

    The paper's figure comes from a single run, on 10,000 images.
    """
    return value <= figure + 2 * math.sqrt(figure * (1 - figure / 10_000))


def bootstrap(groups: Sequence[np.ndarray], total: np.ndarray) -> np.ndarray:
    """Draw what each group's mean network would score with other networks and other utterances.

    Networks and utterances are drawn anew, with replacement. All groups get the same utterances.

    Args:
        groups: (networks, U) each: what every network scored on each of the U utterances.
        total: (U,), how much can be scored there.

    Returns:
        (DRAWS, groups), per cent.
    """
    rng = np.random.default_rng(0)
    U = len(total)
    picked = rng.multinomial(U, np.full(U, 1 / U), size=DRAWS)  # (DRAWS, U): how often each
    found = []
    for counts in groups:
        M = len(counts)
        weights = rng.multinomial(M, np.full(M, 1 / M), size=DRAWS) / M  # (DRAWS, networks)
        found.append(100 * np.sum(picked * (weights @ counts), axis=1) / (picked @ total))
    return np.stack(found, axis=1)
