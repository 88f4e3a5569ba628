"""What every data set checks when data enter it, and how it keeps its arrays from changing afterwards.

from minikd.data import checks
labels = checks.labels(name, labels, classes, count, "image")
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Number = TypeVar("Number", bound=np.generic)

MOST_CLASSES = 1 << 16
"""Labels are kept in one or two bytes."""
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
    """Refuse anything that is empty, or not a NumPy array with the axes of images, grey or RGB, or of labels.

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
    colour = kind == "images" and array.ndim == 4
    if colour and array.shape[3] != 3:
        fix = "give grey images as images[..., 0], RGB without alpha as images[..., :3]"
        if array.shape[1] in (1, 3):
            fix = "put the channels last, as images.transpose(0, 2, 3, 1) does"
        raise DataError(f"{what} of 4 axes must be (N, rows, cols, 3), got shape {array.shape}: {fix}")
    if array.ndim != rank and not colour:
        words = "1 axis" if rank == 1 else f"{rank} axes"
        raise DataError(f"{what} must have {words}, got shape {array.shape}: {FIXES[kind]}")
    if 0 in array.shape:
        raise DataError(f"{what} must not be empty, got shape {array.shape}: {no_empty_axis(array.shape)}")


def no_empty_axis(shape: Sequence[int]) -> str:
    """Return what to do about examples of a shape (N, …) with an axis of length 0.

    >>> no_empty_axis((0, 64)), no_empty_axis((300, 0))
    ('give at least 1 example', 'give at least 1 number per example')
    """
    return "give at least 1 example" if shape[0] == 0 else "give at least 1 number per example"


def to_fit(got: Sequence[int], shape: Sequence[int]) -> str:
    """Return what to do about examples of another shape than those learnt from.

    Args:
        got: the shape of all examples, (N, …).
        shape: of one example learnt from.

    >>> to_fit((7, 65), (64,))
    'give the 64 columns that were learnt from, without an index and labels'
    """
    if 0 in got:
        return no_empty_axis(got)
    if prod(got[1:]) == prod(shape):
        return "reshape them"
    if len(shape) == 1 == len(got) - 1:
        extra = ", without an index and labels" if got[1] > shape[0] else ""
        return f"give the {shape[0]} columns that were learnt from{extra}"
    return "give examples like those learnt from"


def labels(name: str, given: NDArray[Any] | None, classes: int, count: int, example: str) -> Any:
    """Return the labels of a data set, (count,) uint8 or, of more than 256 classes, uint16; None where there are none.

    Args:
        name: the name of the data set.
        given: (count,) integers below `classes`, or None for a transfer set without labels.
        classes: how many classes there are, 2 to 65,536.
        count: how many examples the data set has.
        example: what one example is called, such as "image".

    Raises:
        DataError: if a rule is broken.
    """
    whole_number(f"{name}: classes", classes, 2, MOST_CLASSES)
    if given is None:
        return None
    axes(f"{name}: labels", given, "labels")
    if len(given) != count:
        counts = f"{count} {example}s and {len(given)} labels"
        raise DataError(f"{name}: every {example} needs one label, got {counts}: give as many of each")
    return class_numbers(name, given, classes)


def classes_of(name: str, labels: object) -> int:
    """Return the number of classes that labels show, counted from 0: at least 2.

    Raises:
        DataError: if there are no labels.
    """
    if labels is None:
        raise DataError(f"{name}: examples without labels do not show how many classes there are: give classes")
    if not isinstance(labels, np.ndarray) or labels.size == 0 or labels.dtype.kind not in "iu":
        return 2  # `labels` refuses them
    return min(max(2, int(labels.max()) + 1), MOST_CLASSES)


def need_labels(dataset: Any, what: str) -> NDArray[np.unsignedinteger[Any]]:
    """Return the labels of a data set.

    Args:
        dataset: a `Dataset` or `Frames`.
        what: cannot be done without them, as in "errors cannot be counted".

    Raises:
        DataError: if it is a transfer set without labels.
    """
    if not dataset.labelled:
        raise DataError(f"{dataset.name} has no labels, so {what}: give a data set with labels")
    found: NDArray[np.unsignedinteger[Any]] = dataset.labels
    return found


def class_numbers(what: str, labels: NDArray[Any], classes: int) -> NDArray[np.unsignedinteger[Any]]:
    """Return labels as uint8, or as uint16 if there are more than 256 classes.

    Args:
        what: names the labels in the message.
        labels: (N,) integers in 0 … classes − 1.
        classes: how many classes there are.

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
        elif high >= MOST_CLASSES:
            advice = f"there are at most {MOST_CLASSES:,} classes: number them from 0"
        else:
            from_one = ", or labels - 1 if they count from 1" if low == 1 else ""
            advice = f"give classes={high + 1}{from_one}, or drop or relabel those examples"
        first = f"{labels[wrong[0]]} at position {wrong[0]}, {wrong.size} outside, all in {low}..{high}"
        raise DataError(f"{what}: labels lie in 0..{classes - 1}, got {first}: {advice}")
    kind = np.uint8 if classes <= 256 else np.uint16
    return labels if labels.dtype == kind else freeze(labels.astype(kind))


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


def sha256(sizes: Sequence[int], *arrays: NDArray[Any] | None) -> str:
    """Return the SHA-256 (hex) of sizes and of the bytes of arrays: equal data have equal digests."""
    digest = hashlib.sha256(np.array(sizes, dtype="<i8").tobytes())
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
