"""The exercises of notebook 9: the mean of an ensemble, and what a student keeps of its gain."""

from typing import Any

import numpy as np

from minikd.core.softmax import log_softmax, softmax
from minikd.learn.exercises import Exercise
from minikd.theory.ensembles import arithmetic_mean

_rng = np.random.default_rng(9)
_CASES = tuple((_rng.normal(0, 3, (M, 4, K)), T) for M, K, T in ((3, 5, 2.0), (5, 10, 8.0), (2, 3, 4.0)))


def _mean_at(v: Any, inner: float, outer: float) -> Any:
    return outer * np.log(softmax(v, inner).mean(axis=0))


EXERCISES = {
    "9.1": Exercise(
        "the arithmetic mean of an ensemble",
        solution=arithmetic_mean,
        cases=_CASES,
        mistakes={
            "the mean of the logits: that is the geometric mean of the probabilities": lambda v, T: v.mean(axis=0),
            "T in front is missing: the softmax at T divides by it again": lambda v, T: _mean_at(v, T, 1.0),
            "the members were averaged at T = 1, the mean at T is another": lambda v, T: _mean_at(v, 1.0, T),
            "probabilities; the next softmax takes logits": lambda v, T: softmax(v, T).mean(axis=0),
            "T is missing everywhere: the distributions are those at T": lambda v, T: _mean_at(v, 1.0, 1.0),
            "the mean of the logarithms: that is the geometric mean; first the mean, then the logarithm": lambda v, T: (
                T * log_softmax(v, T).mean(axis=0)
            ),
            "T multiplies the logarithm, it does not divide": lambda v, T: _mean_at(v, T, 1 / T),
            "the logarithm is missing: the next softmax takes logits": lambda v, T: T * softmax(v, T).mean(axis=0),
            "the logarithm is the natural one": (
                lambda v, T: _mean_at(v, T, T / np.log(2)),
                lambda v, T: _mean_at(v, T, T / np.log(10)),
            ),
            "the sign: log of a probability is negative": lambda v, T: -_mean_at(v, T, T),
            "the mean is over the members, axis 0": (
                lambda v, T: T * np.log(softmax(v, T).mean(axis=1)),
                lambda v, T: T * np.log(softmax(v, T).mean(axis=-1)),
                lambda v, T: T * np.log(softmax(v, T).mean()),
            ),
            "the sum of the members, divide by their number": lambda v, T: _mean_at(v, T, T) + T * np.log(len(v)),
        },
    ),
    "9.2": Exercise(
        "the share of the gain that a student keeps",
        solution=lambda members, ensemble, student: 1 - (student - ensemble) / (np.mean(members) - ensemble),
        cases=((np.array([150.0, 164.0, 154.0]), 130.0, 135.0), (np.array([90.0, 80.0]), 60.0, 95.0)),
        mistakes={
            "the share that is lost": lambda m, e, s: (s - e) / (np.mean(m) - e),
            "that is the share of all errors; compare with the ensemble's gain": lambda m, e, s: (
                (np.mean(m) - s) / np.mean(m)
            ),
            "the other way up": lambda m, e, s: (np.mean(m) - e) / (np.mean(m) - s),
            "the sign: gains are the members' errors less the others'": lambda m, e, s: (
                (s - np.mean(m)) / (np.mean(m) - e)
            ),
            "against the member in the middle; the ensemble's gain is over their mean": lambda m, e, s: (
                (np.median(m) - s) / (np.median(m) - e)
            ),
            "against the worst member; the ensemble's gain is over their mean": lambda m, e, s: (
                (np.max(m) - s) / (np.max(m) - e)
            ),
            "the sum of the members, it should be their mean": lambda m, e, s: (np.sum(m) - s) / (np.sum(m) - e),
            "one number per member: take the mean of the members first": lambda m, e, s: (m - s) / (m - e),
            "that is a ratio of errors; compare the gains": (lambda m, e, s: e / s, lambda m, e, s: s / e),
            "in per cent; a share is asked for": lambda m, e, s: 100 * (np.mean(m) - s) / (np.mean(m) - e),
            "against the best member; the ensemble's gain is over their mean": lambda m, e, s: (
                (np.min(m) - s) / (np.min(m) - e)
            ),
        },
    ),
}
