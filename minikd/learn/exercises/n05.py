"""The exercises of notebook 5: the limit of high temperature, and its bound."""

from typing import Any

import numpy as np

from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise
from minikd.theory.limits import remainder_bound

_rng = np.random.default_rng(5)
_CASES = tuple((_rng.normal(1, 3, (4, K)), _rng.normal(-2, 5, (4, K)), T) for K, T in ((3, 2.0), (10, 8.0), (5, 20.0)))


def _limit(z: Any, v: Any, T: float) -> Any:
    d = z - v
    return (d - d.mean(axis=-1, keepdims=True)) / (z.shape[-1] * T**2)


def _no_limit(z: Any, v: Any, T: float) -> dict[str, Any]:
    limit, d, (B, K) = _limit(z, v, T), z - v, z.shape
    mean_z, mean_v, sum_d = (np.sum(u, axis=-1, keepdims=True) / n for u, n in ((z, K), (v, K), (d, 1)))
    return {
        "the logits are not of zero mean, and the mean counts: subtract it": d / (K * T**2),
        "one factor 1/T is missing: one comes from the chain rule, one from the series": limit * T,
        "1/K is missing: the softmax of small logits is (1 + u)/K": limit * K,
        "the sign: the gradient is student minus teacher": -limit,
        "both factors 1/T are missing": limit * T**2,
        "1/T³ is how the error falls; the gradient falls as 1/T²": limit / T,
        "one gradient per case: no mean over the batch, so no 1/B": limit / B,
        "1/K once: it is a sum over classes, not a mean": limit / K,
        "the mean is each case's own, over the classes: axis=-1, keepdims=True": [
            (d - d.mean(axis=axis)) / (K * T**2) for axis in (0, None)
        ],
        "the means of both z and v are subtracted": [(d - mean_z) / (K * T**2), (d + mean_v) / (K * T**2)],
        "the mean is subtracted, not the sum": (d - sum_d) / (K * T**2),
        "that is the exact gradient; return what it tends to": (softmax(z, T) - softmax(v, T)) / T,
        "the teacher is subtracted": _limit(z, -v, T),
    }


def _bound(z: Any, v: Any, T: float) -> Any:
    return remainder_bound(z, v=v, T=T)[:, 0]


def _no_bound(z: Any, v: Any, T: float) -> dict[str, Any]:
    bound, below = _bound(z, v, T), 12 * 3**0.5 * T**3
    range_z, range_v, range_d = (np.ptp(u, axis=-1) for u in (z, v, z - v))
    size_z, size_v = (np.max(np.abs(u), axis=-1) for u in (z, v))
    return {
        "the error falls as 1/T³, one power faster than the gradient": [bound * T, bound * T**2, bound * T**3],
        "the ranges are squared": (range_z + range_v) / below,
        "the teacher's range counts too": range_z**2 / below,
        "the student's range counts too": range_v**2 / below,
        "the constant is 12√3, not 12": bound * 3**0.5,
        "the constant is 12√3: 12 is missing": bound * 12,
        "the constant is 12√3: the root is of 3 only": bound * 2 * 3**0.5,
        "the constant is 12√3: the root is missing": bound / 3**0.5,
        "the constant divides": bound * (12 * 3**0.5) ** 2,
        "the squares are added": (range_z**2 - range_v**2) / below,
        "z and v have a range each; that of their difference may be zero": range_d**2 / below,
        "the range is the largest minus the smallest logit, not the largest size": (size_z**2 + size_v**2) / below,
        "the range is each case's own, over the classes: axis=-1": (np.ptp(z) ** 2 + np.ptp(v) ** 2) / below,
        "the square of a sum is not the sum of squares": (range_z + range_v) ** 2 / below,
    }


EXERCISES = {
    "5.1": Exercise("what the soft gradient tends to", _limit, _no_limit, _CASES),
    "5.2": Exercise("the bound of the theorem", _bound, _no_bound, _CASES),
}
