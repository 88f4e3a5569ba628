"""Calibration: whether a network that is sure to 90 % is right in 90 of 100 cases.

A network's confidence in a case is the largest of its probabilities at T = 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import guard
from minikd.core.guard import labels as labels_of
from minikd.core.losses import hard_cross_entropy
from minikd.core.softmax import softmax
from minikd.theory.host import cases

BINS = 15
"""Bins of equal width, unless told otherwise: as many as in Guo et al. 2017."""


class Reliability(NamedTuple):
    """The reliability curve of a network: cases of like confidence, bin by bin.

    Attributes:
        edges: (bins + 1,), from 0 to 1. A confidence on an edge belongs to the bin below it.
        number: (bins,) int, how many cases are in each bin.
        confidence: (bins,), their mean confidence, nan in an empty bin.
        accuracy: (bins,), which share of them is right, nan in an empty bin.
    """

    edges: NDArray[np.float64]
    number: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error, as `calibration_error` returns it."""
        some = self.number > 0
        gap = np.abs(self.accuracy[some] - self.confidence[some])
        return float(np.sum(self.number[some] * gap) / np.sum(self.number))


@guard(z=cases, y=labels_of("z"))
def reliability(z: NDArray[Any], y: NDArray[Any], bins: int = BINS) -> Reliability:
    """Return the reliability curve: how often a network is right, given how sure it is.

    Args:
        z: (N, K) float, its logits in nats.
        y: (N,) int, the labels.
        bins: how many bins of equal width divide the confidences from 0 to 1, at least 1.

    Raises:
        ValueError: if a shape is wrong, a logit is not finite, a label is out of range, or there is no bin.
        TypeError: if a dtype is wrong.

    >>> z = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    >>> curve = reliability(z, np.array([0, 1, 1]), bins=2)
    >>> curve.number.tolist(), curve.confidence[1].round(3).item(), curve.accuracy[1].round(3).item()
    ([0, 3], 0.8, 0.667)
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    confident = np.max(np.asarray(softmax(z)), axis=-1)  # (N,)
    right = np.argmax(z, axis=-1) == y  # (N,)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confident, side="left") - 1, 0, bins - 1)  # (N,)
    number, sure, hits = (np.bincount(place, weights, bins) for weights in (None, confident, right.astype(float)))
    each = np.where(number > 0, number, np.nan)  # (bins,)
    return Reliability(edges, number, sure / each, hits / each)


def calibration_error(z: NDArray[Any], y: NDArray[Any], bins: int = BINS) -> float:
    """Return the expected calibration error (ECE): the mean distance of accuracy and confidence (Guo et al. 2017).

        ECE = Σ_b (n_b / N) |accuracy_b − confidence_b|

    It depends on the bins, so name them beside the figure. In a bin of few cases the two differ by chance, so even a
    perfect network has an error of about √(bins/N) times a third: compare networks on the same cases only.

    Args:
        z: as `reliability` takes it.
        y: as `reliability` takes it.
        bins: as `reliability` takes it.

    Returns:
        The error, from 0 to 1.

    Raises:
        ValueError: as `reliability`.
        TypeError: as `reliability`.

    >>> z = np.log([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    >>> round(calibration_error(z, np.array([0, 1, 1]), bins=2), 3)  # |2/3 − 0.8|
    0.133
    """
    return reliability(z, y, bins).error


@guard(z=cases, y=labels_of("z"))
def log_loss(z: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the mean log loss, −log of the probability of the label, in nats.

    A network that is sure and wrong pays for each case what it was sure of. So the loss counts calibration and errors.

    Args:
        z: as `reliability` takes it.
        y: as `reliability` takes it.

    Raises:
        ValueError: as `reliability`.
        TypeError: as `reliability`.

    >>> round(log_loss(np.zeros((3, 10)), np.array([0, 5, 9])), 4)  # log 10
    2.3026
    """
    C, _ = hard_cross_entropy(z, y=y)
    return float(C)
