"""The exercises of notebook 12: the noise of a label, and the batch at which noise and signal are equal."""

from typing import Any

import numpy as np

from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(12)
_TEACHERS = tuple((_rng.normal(0, 2, (N, K)),) for N, K in ((4, 3), (3, 10), (6, 5)))
_GRADIENTS = tuple((_rng.normal(0.5, 1, (N, P)),) for N, P in ((5, 3), (8, 4), (4, 9)))


def _noise(v: Any) -> Any:
    return 1 - np.sum(softmax(v) ** 2, axis=-1)


def _no_noise(v: Any) -> dict[str, Any]:
    p, K = softmax(v), v.shape[-1]
    return {
        "that is the sum of the squares; the noise is 1 minus it": np.sum(p**2, axis=-1),
        "v are logits: p is their softmax": [1 - np.sum(v**2, axis=-1), v.max(axis=-1)],
        "the sum is over the classes, axis=-1: one number per case": 1 - np.sum(p**2, axis=0),
        "one number per case: the mean comes later": [np.mean(_noise(v)), 1 - np.sum(p**2)],
        "the square comes before the sum: a sum of probabilities is 1": 1 - np.sum(p, axis=-1) ** 2,
        "the sum of the squares, not the root of it": 1 - np.sqrt(np.sum(p**2, axis=-1)),
        "the sum over the classes, not their mean": 1 - np.mean(p**2, axis=-1),
        "all classes count, not only the most likely one": [1 - p.max(axis=-1), 1 - p.max(axis=-1) ** 2],
        "that is the entropy of p, another measure of doubt": -np.sum(p * np.log(p), axis=-1),
        "p (1 − p) is summed over the classes, not averaged": _noise(v) / K,
        "1 is subtracted from: the sign is the other way round": -_noise(v),
    }


def _scale(g: Any) -> Any:
    return np.sum(np.var(g, axis=0, ddof=1)) / np.sum(np.mean(g, axis=0) ** 2)


def _no_scale(g: Any) -> dict[str, Any]:
    total, signal = np.sum(np.var(g, axis=0, ddof=1)), np.sum(np.mean(g, axis=0) ** 2)
    return {
        "the divisor is N − 1: write ddof=1": np.sum(np.var(g, axis=0)) / signal,
        "that is the total variance; divide it by the squared length of the mean": total,
        "the fraction is upside down: noise over signal": signal / total,
        "the length of the mean gradient is squared": total / np.sqrt(signal),
        "the total variance is divided, not its root": [np.sqrt(total / signal), np.sqrt(total) / signal],
        "variances are summed over the parameters, not averaged": np.mean(np.var(g, axis=0, ddof=1)) / signal,
        "standard deviations do not add up; variances do": np.sum(np.std(g, axis=0, ddof=1)) / signal,
        "cases are rows: axis=0": np.sum(np.var(g, axis=-1, ddof=1)) / np.sum(np.mean(g, axis=-1) ** 2),
        "the variance is around each parameter's own mean: axis=0": np.var(g, ddof=1) * g.shape[-1] / signal,
        "the mean of the squares is not a variance: subtract the squared mean": np.mean(np.sum(g**2, axis=-1)) / signal,
        "the signal is the length of the mean gradient, not the mean length": total / np.mean(np.sum(g**2, axis=-1)),
        "the noise of one case: it is not divided by the number of cases": total / len(g) / signal,
    }


EXERCISES = {
    "12.1": Exercise("the noise of a drawn label", _noise, _no_noise, _TEACHERS),
    "12.2": Exercise("the batch at which noise and signal are equal", _scale, _no_scale, _GRADIENTS),
}
