"""The exercises of notebook 7: what was saved, and how sure that is."""

from typing import Any

import numpy as np

from minikd.learn.exercises import Exercise

_PAIRS = (
    (np.array([150.0, 141, 160, 139]), np.array([121.0, 118, 119, 124])),
    (np.array([98.0, 101, 103]), np.array([95.0, 92, 99])),
)


def _paired(alone: Any, taught: Any, ddof: int = 1, root: bool = True) -> Any:
    n = len(alone)
    saved = [a - b for a, b in zip(alone, taught, strict=True)]
    mean = sum(saved) / n
    variance = sum((s - mean) ** 2 for s in saved) / (n - ddof)
    return mean, (variance / n if root else variance) ** 0.5


def _unpaired(alone: Any, taught: Any, ddof: int = 1) -> Any:
    of_both = sum(np.var(counts, ddof=ddof) for counts in (alone, taught)) / len(alone)
    return np.mean(alone) - np.mean(taught), of_both**0.5


EXERCISES = {
    "7.1": Exercise(
        "errors saved, pair by pair",
        solution=_paired,
        cases=_PAIRS,
        mistakes={
            "unpaired: take the differences first, what a seed gives to both then cancels": (
                _unpaired,
                lambda a, b: _unpaired(a, b, ddof=0),
            ),
            "the standard deviation of the pairs; the standard error of their mean is it over √S": (
                lambda a, b: _paired(a, b, root=False),
                lambda a, b: _paired(a, b, ddof=0, root=False),
            ),
            "the variance of the mean; the standard error is its root": (
                lambda a, b: (_paired(a, b)[0], _paired(a, b)[1] ** 2),
                lambda a, b: (_paired(a, b)[0], _paired(a, b, ddof=0)[1] ** 2),
            ),
            "the standard deviation goes over √S, not over S": (
                lambda a, b: (_paired(a, b)[0], _paired(a, b)[1] / len(a) ** 0.5),
                lambda a, b: (_paired(a, b)[0], _paired(a, b, ddof=0)[1] / len(a) ** 0.5),
            ),
            "over √S: that S − 1 is in the standard deviation already": lambda a, b: (
                _paired(a, b)[0],
                _paired(a, b, root=False)[1] / (len(a) - 1) ** 0.5,
            ),
            "the sum of the differences, it should be their mean": lambda a, b: (np.sum(a - b), _paired(a, b)[1]),
            "the other order: first the mean, then the standard error": lambda a, b: _paired(a, b)[::-1],
            "the standard error is missing: return both": lambda a, b: _paired(a, b)[0],
            "divide by S − 1, not S: the mean was estimated from the same pairs (ddof=1)": lambda a, b: _paired(
                a, b, ddof=0
            ),
            "the sign: errors saved are alone − taught": (
                lambda a, b: (-_paired(a, b)[0], _paired(a, b)[1]),
                lambda a, b: _paired(b, a, root=False),
                lambda a, b: _paired(b, a, ddof=0, root=False),
            ),
        },
    ),
    "7.2": Exercise(
        "the share of the way to the teacher",
        solution=lambda teacher, alone, taught: 1 - (taught - teacher) / (alone - teacher),
        cases=((67, 146, 74), (80, 140, 110), (100, 150, 160)),
        mistakes={
            "that is the share of errors saved; the teacher is the goal, not zero errors": lambda t, a, s: (a - s) / a,
            "that is the share left to go": lambda t, a, s: (s - t) / (a - t),
            "the other way up": lambda t, a, s: (a - t) / (a - s),
            "the sign: errors saved are alone − taught": lambda t, a, s: (s - a) / (a - t),
            "that is the ratio of the two networks' errors": (lambda t, a, s: t / s, lambda t, a, s: s / t),
            "in per cent; a share is asked for": lambda t, a, s: 100 * (a - s) / (a - t),
            "divide by the whole way, alone − teacher": (
                lambda t, a, s: (a - s) / t,
                lambda t, a, s: float(a - s),
                lambda t, a, s: (a - s) / (s - t),
            ),
        },
    ),
}
