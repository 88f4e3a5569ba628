"""The exercises of notebook 9: the mean of an ensemble, and what a student keeps of its gain."""

from typing import Any

import numpy as np

from minikd.exercises import Exercise
from minikd.softmax import softmax
from minikd.targets import arithmetic_mean

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
            "the sum of the members, divide by their number": lambda v, T: _mean_at(v, T, T) + T * np.log(len(v)),
        },
    ),
    "9.2": Exercise(
        "the share of the gain that a student keeps",
        solution=lambda members, ensemble, student: 1 - (student - ensemble) / (np.mean(members) - ensemble),
        cases=((np.array([150.0, 160.0, 155.0]), 130.0, 135.0), (np.array([90.0, 80.0]), 60.0, 95.0)),
        mistakes={
            "the share that is lost": lambda m, e, s: (s - e) / (np.mean(m) - e),
            "that is the share of all errors; compare with the ensemble's gain": lambda m, e, s: (
                (np.mean(m) - s) / np.mean(m)
            ),
            "the other way up": lambda m, e, s: (np.mean(m) - e) / (np.mean(m) - s),
            "against the best member; the ensemble's gain is over their mean": lambda m, e, s: (
                (np.min(m) - s) / (np.min(m) - e)
            ),
        },
    ),
}
