"""What looks wrong about a teacher's answers, before a student learns from them.

N counts the examples, and K the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.distil.choices import at_chance, brief

INCOMPLETE = (
    "all numbers lie in [0, 1], but the rows do not sum to 1: these look like incomplete probabilities, which are no "
    "logits: docs/guides/probabilities.md completes them"
)
"""The warning where rows are `incomplete`."""
SHOWN = 3
"""How many columns in the wrong place a message names."""


def sums_to_1(v: NDArray[Any], tolerance: float) -> bool:
    """Return whether each row sums to 1."""
    return bool(np.abs(v.sum(axis=-1) - 1).max() <= tolerance)


def whole_of(parts: Sequence[NDArray[Any]]) -> float | None:
    """Return what a probability of 1 is called in rows of percentages or of counted votes, or None for other rows.

    Rows whose only number above 0 is always the same are not counted votes: they may be logits.

    Args:
        parts: (N, K) numbers each.

    >>> whole_of([np.array([[30.0, 70.1]])]), whole_of([np.array([[2, 3], [5, 0]])]), whole_of([np.array([[4, 0]])])
    (100.0, 5.0, None)
    """
    if not all(np.isfinite(v).all() and v.min() >= 0 for v in parts):
        return None
    if all(v.max() <= 101 and sums_to_1(v / 100, 0.05) for v in parts):
        return 100.0
    votes = float(parts[0][0].sum())
    counted = votes > 1 and all((v == np.round(v)).all() and (v.sum(axis=-1) == votes).all() for v in parts)
    return votes if counted and any(np.count_nonzero(v) > len(v) for v in parts) else None


def incomplete(parts: Sequence[NDArray[Any]]) -> bool:
    """Return whether rows look like probabilities of which a part is missing, as if each were only the top five.

    Args:
        parts: (N, K) numbers each, which are not probabilities that sum to 1.

    >>> incomplete([np.array([[0.7, 0.2, 0.0]])]), incomplete([np.array([[0.7, 0.2, -3.0]])])
    (True, False)
    """
    return all(v.min() >= 0 and v.max() <= 1 for v in parts) and any(v.any() for v in parts)


def renamed(answers: NDArray[Any], classes: NDArray[Any], labels: NDArray[Any]) -> str:
    """Return which class each column seems to be, if the columns are in another order than the classes.

    That is so if each column nearly always means one class, and mostly another one than its own.

    Args:
        answers: (N,) int, the column of the teacher's answer.
        classes: (N,) int, the class of each example.
        labels: (K,) the label of each class.

    Returns:
        Some words, or none where the columns seem to be in order.

    >>> renamed(np.arange(90) % 3, np.arange(90) % 3, np.array(["ant", "bee", "cow"]))
    ''
    >>> renamed((np.arange(90) + 1) % 3, np.arange(90) % 3, np.array(["ant", "bee", "cow"]))
    'column 0 seems to be class cow, column 1 class ant, column 2 class bee'
    """
    K, y = len(labels), classes.astype(np.int64)
    pairs, counts = np.unique(answers * K + y, return_counts=True)
    pairs, counts = pairs[np.argsort(counts, kind="stable")], np.sort(counts)
    meant, often = np.arange(K), np.zeros(K, dtype=np.int64)  # of each column, the class that it meets most often
    meant[pairs // K], often[pairs // K] = pairs % K, counts  # the last one stays, which is the most frequent
    right = np.count_nonzero(answers == y)
    if often.sum() <= 0.8 * len(y) or right >= 0.5 * often.sum() or len(np.unique(meant[pairs // K])) < 2:
        return ""
    moved = np.flatnonzero(meant != np.arange(K)).tolist()
    named = [f"column {column} class {labels[meant[column]]}" for column in moved[:SHOWN]]
    more = [] if len(moved) <= SHOWN else ["…"]
    return ", ".join([*named, *more]).replace(" class ", " seems to be class ", 1)


def strange_columns(train: NDArray[Any], other: NDArray[Any]) -> list[int]:
    """Return the columns of features that are constant in training, but vary in another part.

    No network can learn what such a column means, and it keeps its own unit, because it has no deviation.

    Args:
        train: (N, D), the training part, standardised.
        other: (N, D), the other part, standardised likewise.

    >>> strange_columns(np.array([[0.0, 1.0], [0.0, -1.0]]), np.array([[900.0, 0.5]]))
    [0]
    """
    constant, varies = np.abs(train).max(axis=0) < 1e-6, np.abs(other).max(axis=0) > 0.1
    columns: list[int] = np.flatnonzero(constant & varies).tolist()
    return columns


def listed(columns: Sequence[int]) -> str:
    """Return the names of columns in words.

    >>> listed([5]), listed([5, 7, 8, 9]), listed([])
    ('column 5', 'columns 5, 7, 8, …', '')
    """
    if not columns:
        return ""
    more = ["…"] if len(columns) > SHOWN else []
    return f"column{'s'[: len(columns) > 1]} {', '.join([*map(str, columns[:SHOWN]), *more])}"


def doubts_of(v: NDArray[Any], classes: NDArray[Any], labels: NDArray[Any], part: str) -> list[str]:
    """Return warnings in words, where a teacher's answers do not fit the labels.

    A teacher whose rows are in another order than the data is right as often as chance (`at_chance`). One whose columns
    are in another order is right nearly always, if each column is renamed.

    Args:
        v: (N, K) float, the teacher's logits of a part of the data.
        classes: (N,) int, the class of each example.
        labels: (K,) the label of each class.
        part: the name of the part.
    """
    found = []
    if (ranged := float(np.median(np.ptp(v, axis=1)))) > 1e4:
        found.append(f"its logits for {part} have a range of {brief(ranged, 3)} nats, which is absurd: did it diverge?")
    chosen, y = v.argmax(axis=1), classes.astype(np.int64)
    right = int(np.count_nonzero(chosen == y))
    share = f"only {100 * right / len(y):.1f} % of its answers for {part} agree with the labels"
    if columns := renamed(chosen, y, labels):
        found.append(f"{share}: {columns}, so put the columns in the order of the sorted labels")
    elif at_chance(chosen, y, len(labels)):
        found.append(f"{share}, which is chance: are its rows in the order of the data?")
    elif right < np.bincount(y).max():
        found.append(f"{share}, fewer than the commonest class has: is it the right teacher?")
    return found
