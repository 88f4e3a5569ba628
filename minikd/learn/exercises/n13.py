"""The exercises of notebook 13: what a teacher says of the wrong classes, how much that is, and calibration."""

from typing import Any

import numpy as np

from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(13)
_TARGETS = tuple((softmax(_rng.normal(0, 2, (N, K))), _rng.integers(0, K, N)) for N, K in ((4, 3), (3, 10), (6, 5)))
_ANSWERS = tuple(
    (sure := _rng.uniform(0.2, 1, N), _rng.random(N) < sure**2, bins) for N, bins in ((40, 5), (60, 10), (25, 4))
)


def _among_wrong(p: Any, y: Any) -> Any:
    wrong = 1 - np.eye(p.shape[-1])[y]
    return p * wrong / np.sum(p * wrong, axis=-1, keepdims=True)


def _not_among_wrong(p: Any, y: Any) -> dict[str, Any]:
    K = p.shape[-1]
    wrong = 1 - np.eye(K)[y]
    p_y = np.sum(p * (1 - wrong), axis=-1, keepdims=True)
    return {
        "they must sum to 1: divide by what is left, 1 − p_y": p * wrong,
        "the true class is not among the wrong ones: its share is 0": p / (1 - p_y),
        "that is p as it came": p,
        "divided by p_y; what is left for the wrong classes is 1 − p_y": p * wrong / p_y,
        "multiplied by 1 − p_y; divide": p * wrong * (1 - p_y),
        "all wrong classes alike: that forgets what the teacher says": wrong / (K - 1),
        "the true class was kept, and the wrong ones were removed": p * (1 - wrong),
        "each case has its own sum: axis=-1, keepdims=True": p * wrong / np.sum(p * wrong),
        "the largest of p was removed; the true class may be another one": _among_wrong(p, p.argmax(axis=-1)),
        "divided by the number of wrong classes; divide by their probability": p * wrong / (K - 1),
        "p are probabilities already: no second softmax": [_among_wrong(softmax(p), y), softmax(p * wrong)],
    }


def _dark(p: Any, y: Any) -> Any:
    return (1 - p[np.arange(len(p)), y]) * (np.log(p.shape[-1] - 1) - _entropy(_among_wrong(p, y)))


def _entropy(p: Any) -> Any:
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1)


def _not_dark(p: Any, y: Any) -> dict[str, Any]:
    K, p_y, H = p.shape[-1], p[np.arange(len(p)), y], _entropy(_among_wrong(p, y))
    alike = (1 - p_y[:, None]) / (K - 1) * np.ones(K)
    alike[np.arange(len(p)), y] = p_y
    return {
        "it counts only where the true class is not drawn: the weight 1 − p_y is missing": np.log(K - 1) - H,
        "the weight is 1 − p_y, not p_y": p_y * (np.log(K - 1) - H),
        "there are K − 1 wrong classes, not K": (1 - p_y) * (np.log(K) - H),
        "that is the entropy among the wrong classes; subtract it from log(K − 1)": [(1 - p_y) * H, H],
        "log(K − 1) minus the entropy, not plus": (1 - p_y) * (np.log(K - 1) + H),
        "the sign is the other way round": -_dark(p, y),
        "the entropy is of the wrong classes, divided by their sum; that was the entropy of p": (
            (1 - p_y) * (np.log(K - 1) - _entropy(p))
        ),
        "in nats, with the natural logarithm; those are bits": _dark(p, y) / np.log(2),
        "one number per case: the mean comes later": np.mean(_dark(p, y)),
        "the divergence is of p from p', not of p' from p": np.sum(alike * np.log(alike / p), axis=-1),
    }


def _ece(confidence: Any, right: Any, bins: int) -> float:
    return sum(n * abs(gap) for n, gap in _gaps(confidence, right, bins)) / len(right)


def _gaps(confidence: Any, right: Any, bins: int) -> list[tuple[int, float]]:
    """Return for each bin with a case in it how many there are, and accuracy minus confidence."""
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    members = [place == b for b in range(bins) if np.any(place == b)]
    return [(int(one.sum()), float(right[one].mean() - confidence[one].mean())) for one in members]


def _no_ece(confidence: Any, right: Any, bins: int) -> dict[str, Any]:
    gaps = _gaps(confidence, right, bins)
    of_all = float(right.mean() - confidence.mean())
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    middle = sum(
        np.sum(place == b) / len(right) * abs(right[place == b].mean() - (b + 0.5) / bins)
        for b in range(bins)
        if np.any(place == b)
    )
    return {
        "each bin counts by its number of cases, n_b / N": [
            float(np.mean([abs(gap) for _, gap in gaps])),
            sum(abs(gap) for _, gap in gaps) / bins,
        ],
        "the weights n_b / N are missing": sum(abs(gap) for _, gap in gaps),
        "the weights are shares: divide by the number of all cases": sum(n * abs(gap) for n, gap in gaps),
        "without the absolute value, bins that are too sure cancel those that are not sure enough": [
            of_all,
            -of_all,
            abs(of_all),
        ],
        "the difference is not squared": [
            sum(n * gap**2 for n, gap in gaps) / len(right),
            float(np.sqrt(sum(n * gap**2 for n, gap in gaps) / len(right))),
        ],
        "that is the largest difference of a bin; take the mean": max(abs(gap) for _, gap in gaps),
        "bins come first: a single case is right or not": float(np.mean(np.abs(right - confidence))),
        "compare with the mean confidence in a bin, not with its middle": middle,
        "1 minus the error": 1 - _ece(confidence, right, bins),
    }


EXERCISES = {
    "13.1": Exercise("the wrong classes among themselves", _among_wrong, _not_among_wrong, _TARGETS),
    "13.2": Exercise("how much dark knowledge there is", _dark, _not_dark, _TARGETS),
    "13.3": Exercise("the expected calibration error", _ece, _no_ece, _ANSWERS),
}
