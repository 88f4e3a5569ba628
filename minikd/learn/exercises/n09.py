"""The exercises of notebook 9: the mean of an ensemble, and what a student keeps of its gain."""

from typing import Any

import numpy as np

from minikd.core.softmax import log_softmax, softmax
from minikd.learn.exercises import Exercise
from minikd.theory.ensembles import arithmetic_mean

_rng = np.random.default_rng(9)
_VOTES = tuple((_rng.normal(0, 3, (M, 4, K)), T) for M, K, T in ((3, 5, 2.0), (5, 10, 8.0), (2, 3, 4.0)))
_GAINS = ((np.array([150.0, 164.0, 154.0]), 130.0, 135.0), (np.array([90.0, 80.0]), 60.0, 95.0))


def _no_mean(v: Any, T: float) -> dict[str, Any]:
    p = softmax(v, T)  # (M, B, K)
    log_mean, log_mean_at_1 = np.log(p.mean(axis=0)), np.log(softmax(v).mean(axis=0))
    mean_log = log_softmax(v, T).mean(axis=0)
    return {
        "the mean of the logits: that is the geometric mean of the probabilities": v.mean(axis=0),
        "T in front is missing: the softmax at T divides by it again": log_mean,
        "the members were averaged at T = 1; the mean at T is different": T * log_mean_at_1,
        "those are probabilities; the next softmax takes logits": p.mean(axis=0),
        "T is missing everywhere: the distributions are those at T": log_mean_at_1,
        "the mean of the logarithms: that is the geometric mean; first the mean, then the logarithm": T * mean_log,
        "T multiplies the logarithm; it does not divide it": log_mean / T,
        "the logarithm is missing: the next softmax takes logits": T * p.mean(axis=0),
        "take the natural logarithm": [T * log_mean / np.log(2), T * log_mean / np.log(10)],
        "the sign: log of a probability is negative": -T * log_mean,
        "the mean is over the members, axis 0": [T * np.log(p.mean(axis=axis)) for axis in (1, -1, None)],
        "that is the sum of the members: divide by their number": T * np.log(p.sum(axis=0)),
    }


def _kept(members: Any, ensemble: float, student: float) -> Any:
    return (np.mean(members) - student) / (np.mean(members) - ensemble)


def _not_kept(members: Any, ensemble: float, student: float) -> dict[str, Any]:
    share, kept = _kept(members, ensemble, student), np.mean(members) - student
    of_median, of_worst, of_best, of_sum = (
        _kept(f(members), ensemble, student) for f in (np.median, np.max, np.min, np.sum)
    )
    return {
        "the share that is lost": 1 - share,
        "that is the share of all errors; compare with the ensemble's gain": kept / np.mean(members),
        "the fraction is upside down": 1 / share,
        "the sign: gains are the members' errors minus the others'": -share,
        "against the member in the middle; the ensemble's gain is over their mean": of_median,
        "against the worst member; the ensemble's gain is over their mean": of_worst,
        "the sum of the members; it should be their mean": of_sum,
        "one number per member: take the mean of the members first": (members - student) / (members - ensemble),
        "that is a ratio of errors; compare the gains": [ensemble / student, student / ensemble],
        "that is in per cent; return a share": 100 * share,
        "against the best member; the ensemble's gain is over their mean": of_best,
    }


EXERCISES = {
    "9.1": Exercise("the arithmetic mean of an ensemble", arithmetic_mean, _no_mean, _VOTES),
    "9.2": Exercise("the share of the gain that a student keeps", _kept, _not_kept, _GAINS),
}
