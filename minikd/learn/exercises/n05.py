"""The exercises of notebook 5: the limit of high temperature, and its bound."""

from typing import Any

import numpy as np

from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise
from minikd.theory.limits import remainder_bound

_rng = np.random.default_rng(5)
_CASES = tuple((_rng.normal(1, 3, (4, K)), _rng.normal(-2, 5, (4, K)), T) for K, T in ((3, 2.0), (10, 8.0), (5, 20.0)))


def _limit(z: Any, v: Any, T: float, power: int = 2, divide: bool = True) -> Any:
    K = z.shape[-1]
    centre = np.eye(K) - 1 / K
    return (z - v) @ centre / ((K if divide else 1) * T**power)


def _bound(z: Any, v: Any, T: float) -> Any:
    return remainder_bound(z, v=v, T=T)[:, 0]


def _ranges(z: Any) -> Any:
    return np.max(z, axis=-1) - np.min(z, axis=-1)


EXERCISES = {
    "5.1": Exercise(
        "what the soft gradient tends to",
        solution=_limit,
        cases=_CASES,
        mistakes={
            "the logits are not of zero mean, and the mean counts: subtract it": lambda z, v, T: (
                (z - v) / (z.shape[-1] * T**2)
            ),
            "one factor 1/T is missing: one comes from the chain rule, one from the series": lambda z, v, T: _limit(
                z, v, T, power=1
            ),
            "1/K is missing: the softmax of small logits is (1 + u)/K": lambda z, v, T: _limit(z, v, T, divide=False),
            "the sign: the gradient is student less teacher": lambda z, v, T: -_limit(z, v, T),
            "both factors 1/T are missing": lambda z, v, T: _limit(z, v, T, power=0),
            "1/T³ is how the error falls; the gradient falls as 1/T²": lambda z, v, T: _limit(z, v, T, power=3),
            "a case each: no mean over the batch, so no 1/B": lambda z, v, T: _limit(z, v, T) / len(z),
            "1/K once: it is a sum over classes, not a mean": lambda z, v, T: _limit(z, v, T) / z.shape[-1],
            "the mean is each case's own, over the classes: axis=-1, keepdims=True": (
                lambda z, v, T: (z - v - (z - v).mean(axis=0)) / (z.shape[-1] * T**2),
                lambda z, v, T: (z - v - (z - v).mean()) / (z.shape[-1] * T**2),
            ),
            "the means of both z and v are subtracted": (
                lambda z, v, T: (z - z.mean(axis=-1, keepdims=True) - v) / (z.shape[-1] * T**2),
                lambda z, v, T: (z - v + v.mean(axis=-1, keepdims=True)) / (z.shape[-1] * T**2),
            ),
            "the mean is subtracted, not the sum": lambda z, v, T: (
                (z - v - (z - v).sum(axis=-1, keepdims=True)) / (z.shape[-1] * T**2)
            ),
            "the exact gradient; asked for is what it tends to": lambda z, v, T: (softmax(z, T) - softmax(v, T)) / T,
            "the teacher is subtracted": lambda z, v, T: _limit(z, -v, T),
        },
    ),
    "5.2": Exercise(
        "the bound of the theorem",
        solution=_bound,
        cases=_CASES,
        mistakes={
            "the error falls as 1/T³, one power faster than the gradient": (
                lambda z, v, T: T * _bound(z, v, T),
                lambda z, v, T: T**2 * _bound(z, v, T),
                lambda z, v, T: T**3 * _bound(z, v, T),
            ),
            "the ranges are squared": lambda z, v, T: (_ranges(z) + _ranges(v)) / (12 * 3**0.5 * T**3),
            "the teacher's range counts too": lambda z, v, T: _ranges(z) ** 2 / (12 * 3**0.5 * T**3),
            "the student's range counts too": lambda z, v, T: _ranges(v) ** 2 / (12 * 3**0.5 * T**3),
            "the constant is 12√3, not 12": lambda z, v, T: 3**0.5 * _bound(z, v, T),
            "the constant is 12√3: 12 is missing": lambda z, v, T: 12 * _bound(z, v, T),
            "the constant is 12√3: the root is of 3 only": lambda z, v, T: 2 * 3**0.5 * _bound(z, v, T),
            "the constant is 12√3: the root is missing": lambda z, v, T: _bound(z, v, T) / 3**0.5,
            "the constant divides": lambda z, v, T: (12 * 3**0.5) ** 2 * _bound(z, v, T),
            "the squares are added": lambda z, v, T: (_ranges(z) ** 2 - _ranges(v) ** 2) / (12 * 3**0.5 * T**3),
            "z and v have a range each; that of their difference may be zero": lambda z, v, T: (
                _ranges(z - v) ** 2 / (12 * 3**0.5 * T**3)
            ),
            "the range is the largest less the smallest logit, not the largest size": lambda z, v, T: (
                (np.max(np.abs(z), axis=-1) ** 2 + np.max(np.abs(v), axis=-1) ** 2) / (12 * 3**0.5 * T**3)
            ),
            "the range is each case's own, over the classes: axis=-1": lambda z, v, T: (
                (np.ptp(z) ** 2 + np.ptp(v) ** 2) / (12 * 3**0.5 * T**3)
            ),
            "the square of a sum is not the sum of squares": lambda z, v, T: (
                (_ranges(z) + _ranges(v)) ** 2 / (12 * 3**0.5 * T**3)
            ),
        },
    ),
}
