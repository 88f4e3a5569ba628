"""The exercises of notebook 5: the limit of high temperature, and its bound."""

from typing import Any

import numpy as np

from minikd.exercises import Exercise
from minikd.limits import remainder_bound

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
        },
    ),
    "5.2": Exercise(
        "the bound of the theorem",
        solution=_bound,
        cases=_CASES,
        mistakes={
            "the error falls as 1/T³, one power faster than the gradient": lambda z, v, T: T * _bound(z, v, T),
            "the ranges are squared": lambda z, v, T: (_ranges(z) + _ranges(v)) / (12 * 3**0.5 * T**3),
            "the teacher's range counts too": lambda z, v, T: _ranges(z) ** 2 / (12 * 3**0.5 * T**3),
            "the constant is 12√3, not 12": lambda z, v, T: 3**0.5 * _bound(z, v, T),
            "the square of a sum is not the sum of squares": lambda z, v, T: (
                (_ranges(z) + _ranges(v)) ** 2 / (12 * 3**0.5 * T**3)
            ),
        },
    ),
}
