"""The exercises of notebook 6: what T² is for."""

from typing import Any

from minikd.learn.exercises import Exercise

_WEIGHTS = ((0.5, 1.0), (0.5, 20.0), (0.9, 4.0), (0.1, 8.0))


def _weight(alpha: float, T: float) -> float:
    return alpha / (alpha + (1 - alpha) * T**2)


def _no_weight(alpha: float, T: float) -> dict[str, Any]:
    return {
        "both weights must be divided by their sum, so that they are α′ and 1 − α′": alpha / T**2,
        "the soft gradient falls as 1/T², not as 1/T": alpha / (alpha + (1 - alpha) * T),
        "that is alpha as it was set; without T² the soft targets count for less": alpha,
        "that is the weight of the hard targets": 1 - _weight(alpha, T),
        "the ratio of the two weights; divide by their sum, not by the other": alpha / T**2 / (1 - alpha),
        "the wrong way round: without T² the soft targets count for less": 1 - _weight(1 - alpha, T),
    }


EXERCISES = {
    "6.1": Exercise("the weight of the soft targets when T² is forgotten", _weight, _no_weight, _WEIGHTS),
    "6.2": Exercise("the gradient of the distillation loss", gradient="distillation"),
}
