"""What every data set checks when data enter it, and how it keeps its arrays from changing afterwards.

from minikd.data import checks
labels = checks.labels(name, labels, classes, count, "image")
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Number = TypeVar("Number", bound=np.generic)

RANKS = {"images": 3, "labels": 1}
FIXES = {  # for arrays and files of another rank; a mere reshape would scramble colours
    "images": "give grey images, (N, rows, cols): reshape flat rows, average colours",
    "labels": "give one class number per example; of rows with a 1 in the class's column, take the argmax",
}


class DataError(ValueError):
    """Data that cannot be used. The message is one line that says where, what is wrong and how to fix it."""


def describe(value: object) -> str:
    """Return the dtype and the shape of an array, or the type of anything else, for a message."""
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def whole_number(what: str, value: object, low: int, high: int | None = None) -> int:
    """Return the value as a Python int, whose arithmetic cannot wrap.

    Args:
        what: names the value in the message.
        value: an int or a NumPy integer.
        low: the least value allowed.
        high: the largest value allowed, or None for no limit.

    Raises:
        DataError: if the value is not a whole number in this range.
    """
    whole = int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None
    if whole is None or whole < low or (high is not None and whole > high):
        span = f"in {low}..{high}" if high is not None else f">= {low}"
        raise DataError(f"{what} must be a whole number {span}, got {value!r}: choose one")
    return whole


def axes(what: str, array: object, kind: str) -> None:
    """Refuse anything that is empty, or not a NumPy array with the axes of images or of labels.

    Args:
        what: names the array in the message.
        array: the value to check.
        kind: "images" or "labels".

    Raises:
        DataError: if a rule is broken.
    """
    rank = RANKS[kind]
    if not isinstance(array, np.ndarray):
        raise DataError(f"{what} must be a NumPy array, got {describe(array)}: convert it on the host")
    if array.ndim != rank:
        words = "1 axis" if rank == 1 else f"{rank} axes"
        raise DataError(f"{what} must have {words}, got shape {array.shape}: {FIXES[kind]}")
    if 0 in array.shape:
        raise DataError(f"{what} must not be empty, got shape {array.shape}: give at least 1 example")


def labels(name: str, given: NDArray[Any], classes: int, count: int, example: str) -> NDArray[np.uint8]:
    """Return the labels of a data set as bytes.

    Args:
        name: the name of the data set.
        given: (count,) integers below `classes`.
        classes: how many classes there are, 2 to 256.
        count: how many examples the data set has.
        example: what one example is called, such as "image".

    Raises:
        DataError: if a rule is broken.
    """
    whole_number(f"{name}: classes", classes, 2, 256)
    axes(f"{name}: labels", given, "labels")
    if len(given) != count:
        counts = f"{count} {example}s and {len(given)} labels"
        raise DataError(f"{name}: every {example} needs one label, got {counts}: give as many of each")
    return class_numbers(name, given, classes)


def class_numbers(what: str, labels: NDArray[Any], classes: int, fix: str = "") -> NDArray[np.uint8]:
    """Return labels as bytes.

    Args:
        what: names the labels in the message.
        labels: (N,) integers in 0 … classes − 1.
        classes: how many classes there are.
        fix: replaces the usual advice on labels out of range.

    Raises:
        DataError: if the labels are not integers, or are out of range.
    """
    if labels.dtype.kind not in "iu":
        exact = labels.dtype.kind == "b" or (labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()))
        way = ".astype(np.int64)" if exact else "np.unique(labels, return_inverse=True)[1], if each value is a class"
        raise DataError(f"{what}: labels must be integers, got {labels.dtype}: convert with {way}")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0:
            advice = "drop the examples that have no class"
        elif high > 255:
            advice = "there are at most 256 classes: number them from 0"
        else:
            from_one = ", or labels - 1 if they count from 1" if low == 1 else ""
            advice = f"give classes={high + 1}{from_one}, or drop or relabel those examples"
        first = f"{labels[wrong[0]]} at position {wrong[0]}, {wrong.size} outside, all in {low}..{high}"
        raise DataError(f"{what}: labels lie in 0..{classes - 1}, got {first}: {fix or advice}")
    return labels if labels.dtype == np.uint8 else freeze(labels.astype(np.uint8))


def index(name: str, given: ArrayLike, count: int) -> NDArray[np.integer]:
    """Return an index of examples as integers.

    Args:
        name: the name of the data set.
        given: 1-D integers in 0 … count − 1, or `count` booleans; at least one example must be chosen.
        count: how many examples the data set has.

    Raises:
        DataError: if a rule is broken.
    """
    chosen = np.asarray(given)
    if chosen.dtype == np.bool_ and chosen.shape == (count,):
        chosen = np.flatnonzero(chosen)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise DataError(f"{name}: an index is 1-D integers or {count} booleans, got {describe(chosen)}: convert it")
    if chosen.size == 0:
        raise DataError(f"{name}: the index must choose at least 1 example, got none: widen the choice")
    if chosen.min() < 0 or chosen.max() >= count:
        span = f"{chosen.min()}..{chosen.max()}"
        raise DataError(f"{name}: an index lies in 0..{count - 1}, got {span}: count from the first example")
    return chosen


# ---- arrays that stay as they are ------------------------------------------------------------------------------------


def freeze(array: NDArray[Number]) -> NDArray[Number]:
    """Make the array read-only, and return it. Use it for arrays that nobody else holds."""
    array.flags.writeable = False
    return array


def private(array: NDArray[Number]) -> NDArray[Number]:
    """Return a read-only view of the array, or of a copy if something can still write to its memory.

    An array is shared without a copy if it is read-only, and so is every array that it is a view of, down to one that
    owns its memory or lies in `bytes`.

    >>> own = np.zeros(3)
    >>> np.shares_memory(private(own), own), np.shares_memory(private(freeze(own)), own)
    (False, True)
    """
    owner: object = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return freeze((array if owner is None or isinstance(owner, bytes) else freeze(array.copy())).view())


def sha256(sizes: Sequence[int], *arrays: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of sizes and of the bytes of arrays: equal data have equal digests."""
    digest = hashlib.sha256(np.array(sizes, dtype="<i8").tobytes())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
