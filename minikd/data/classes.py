"""Classes from labels: networks count classes from 0, and people have labels of their own, numbers or words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.data import checks
from minikd.data.checks import MOST_CLASSES, DataError

_SHOWN = 40  # characters of a label in a message


class Classes(NamedTuple):
    """The classes of a training set.

    Attributes:
        labels: (K,) int64, bool or str, the reader's own label of each class, in sorted order.

    >>> classes = Classes.of("letters", np.array([3, 1, 2, 3]))
    >>> classes.numbers("letters", np.array([3, 3, 1])).tolist(), classes.remark()
    ([2, 2, 0], 'labels 1 to 3 became classes 0 to 2')
    """

    labels: NDArray[Any]

    @classmethod
    def of(cls, what: str, given: object) -> Classes:
        """Return the classes that the labels of a training set show.

        Args:
            what: names the labels in messages.
            given: (N,) or (N, 1): integers, floats or bools that are whole numbers, or strings.

        Raises:
            DataError: if they are anything else, or show fewer than 2 classes or more than 65,536.
        """
        labels = np.unique(_tidy(what, given))
        if len(labels) == 1:
            raise DataError(f"{what}: all labels are {shown(labels[0])}: give examples of at least 2 classes")
        if len(labels) > MOST_CLASSES:
            fix = "are these measurements? minikd learns classes only"
            raise DataError(f"{what}: there are at most {MOST_CLASSES:,} classes, got {len(labels):,}: {fix}")
        return cls(labels)

    def numbers(self, what: str, given: object) -> NDArray[np.unsignedinteger[Any]]:
        """Return the class of each label: (N,), from 0.

        Args:
            what: names the labels in messages.
            given: as `of` takes them.

        Raises:
            DataError: as `of`, and if the training set has no example of a label.
        """
        own = _tidy(what, given)
        if (own.dtype.kind == "U") != (self.labels.dtype.kind == "U"):
            kinds = {True: "words", False: "numbers"}
            got = f"{kinds[own.dtype.kind == 'U']}, but the training set's are {kinds[own.dtype.kind != 'U']}"
            raise DataError(f"{what}: labels are {got}: write both alike")
        at = np.minimum(np.searchsorted(self.labels, own), len(self.labels) - 1)
        wrong = np.flatnonzero(self.labels[at] != own)
        if wrong.size:
            first = f"label {shown(own[wrong[0]])} at position {wrong[0]}"
            fix = "add some to it, or drop the examples of this label"
            raise DataError(f"{what}: {first} has no example in the training set: {fix}")
        return checks.class_numbers(what, at, len(self.labels))

    def remark(self) -> str:
        """Return in words how labels became classes, or nothing where they are 0 … K − 1 already."""
        K = len(self.labels)
        if self.labels.dtype.kind != "U":
            first, last = int(self.labels[0]), int(self.labels[-1])
            if (first, last) == (0, K - 1):
                return ""
            if last - first == K - 1:
                return f"labels {span(first, last)} became classes {span(0, K - 1)}"
        return f"labels {listed(self.labels)} became classes {span(0, K - 1)}, in sorted order"


def shown(label: Any) -> str:
    """Return a label for a message: a number as it is, a string in quotes, on one line and cut where it is long.

    >>> shown(np.int64(3)), shown("a\\nb")
    ('3', "'a\\\\nb'")
    """
    if not isinstance(label, str):
        return str(label)
    text = str(label)
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def span(first: int, last: int) -> str:
    """Return a range of whole numbers in words.

    >>> span(0, 1), span(1, 26)
    ('0 and 1', '1 to 26')
    """
    return f"{first} {'and' if last == first + 1 else 'to'} {last}"


def listed(labels: Any) -> str:
    """Return labels for a message, at most five of them."""
    few = [*labels[:3], *labels[-1:]] if len(labels) > 5 else labels
    words = [shown(label) for label in few]
    return ", ".join([*words[:-1], "…", words[-1]] if len(labels) > 5 else words)


def _tidy(what: str, given: object) -> NDArray[Any]:
    """Return labels as (N,) int64, bool or str."""
    y = given
    if isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    checks.axes(what, y, "labels")
    assert isinstance(y, np.ndarray)
    kind = y.dtype.kind
    if kind == "U":
        codes = np.ascontiguousarray(y.astype(y.dtype.newbyteorder("="))).view(np.uint32)
        if (codes > 0x10FFFF).any() or ((codes >= 0xD800) & (codes < 0xE000)).any():
            raise DataError(f"{what}: labels hold characters that are not text: write them anew")
        return y
    if kind == "S":
        try:
            return np.char.decode(y, "utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{what}: labels are bytes that are not UTF-8: save them with dtype=str") from None
    if kind not in "biuf":
        fix = "save them as integers, or text as y.astype(str)"
        raise DataError(f"{what}: labels must be whole numbers or strings, got {y.dtype}: {fix}")
    whole = (np.abs(y) < 2**53) & (y == np.rint(y)) if kind == "f" else y <= np.iinfo(np.int64).max
    if not whole.all():
        at = int(np.argmin(whole))
        fix = "drop the examples without a class; minikd learns classes, not measurements"
        raise DataError(f"{what}: labels must be whole numbers or strings, got {y[at]} at position {at}: {fix}")
    return y if kind == "b" else y.astype(np.int64)
