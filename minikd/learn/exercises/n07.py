"""The exercises of notebook 7: what was saved, and how sure that is."""

from typing import Any

import numpy as np

from minikd.learn.exercises import Exercise

_PAIRS = (
    (np.array([150.0, 141, 160, 139]), np.array([121.0, 118, 119, 124])),
    (np.array([98.0, 101, 103]), np.array([95.0, 92, 99])),
)
_ERRORS = ((67, 146, 74), (80, 140, 110), (100, 150, 160))


def _saved(alone: Any, taught: Any) -> Any:
    saved = alone - taught
    return np.mean(saved), np.std(saved, ddof=1) / len(saved) ** 0.5


def _not_saved(alone: Any, taught: Any) -> dict[str, Any]:
    saved, n = alone - taught, len(alone)
    mean, error = _saved(alone, taught)
    sd, sd_over_n = np.std(saved, ddof=1), np.std(saved)
    unpaired = [((np.var(alone, ddof=d) + np.var(taught, ddof=d)) / n) ** 0.5 for d in (1, 0)]
    sds = (sd, sd_over_n)
    return {
        "unpaired: take the differences first, what a seed gives to both then cancels": [(mean, e) for e in unpaired],
        "that is the standard deviation of the pairs; divide it by √S for the standard error of their mean": [
            (mean, one) for one in sds
        ],
        "that is the variance of the mean; take its root": [(mean, one**2 / n) for one in sds],
        "divide the standard deviation by √S, not by S": [(mean, one / n) for one in sds],
        "divide by √S: the S − 1 is in the standard deviation already": (mean, sd / (n - 1) ** 0.5),
        "the sum of the differences; it should be their mean": (np.sum(saved), error),
        "the other order: first the mean, then the standard error": (error, mean),
        "the standard error is missing: return both": mean,
        "divide by S − 1, not S: the mean was estimated from the same pairs (ddof=1)": (mean, sd_over_n / n**0.5),
        "the sign: errors saved are alone − taught": [(-mean, error), (-mean, sd), (-mean, sd_over_n)],
    }


def _share(teacher: float, alone: float, taught: float) -> float:
    return (alone - taught) / (alone - teacher)


def _no_share(teacher: float, alone: float, taught: float) -> dict[str, Any]:
    share, saved, way, left = _share(teacher, alone, taught), alone - taught, alone - teacher, taught - teacher
    return {
        "that is the share of errors saved; the teacher is the goal, not zero errors": saved / alone,
        "that is the share left to go": left / way,
        "the fraction is upside down": 1 / share,
        "the sign: errors saved are alone − taught": -share,
        "that is the ratio of the two networks' errors": [teacher / taught, taught / teacher],
        "that is in per cent; return a share": 100 * share,
        "divide by the whole way, alone − teacher": [saved / teacher, float(saved), saved / left],
    }


EXERCISES = {
    "7.1": Exercise("errors saved, pair by pair", _saved, _not_saved, _PAIRS),
    "7.2": Exercise("the share of the way to the teacher", _share, _no_share, _ERRORS),
}
