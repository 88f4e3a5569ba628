"""Images and labels on the host: MNIST as it ships with minikd, any folder of IDX files, splits, subsets and padding.

Everything here is checked once, when it enters; what comes after may trust a `Dataset`. N counts examples.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data.idx import MENDS, RANKS, read_idx

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable

CLASSES = 10
MNIST_SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# How people and programs name the four files, in order of preference: some mirrors say test, 7-Zip puts a dot, and
# QMNIST keeps what it knows of an image in eight columns.
_PREFIXES = {"train": ("train", "qmnist-train"), "t10k": ("t10k", "test", "qmnist-test")}
_ENDINGS = {"images": ("idx3-ubyte",), "labels": ("idx1-ubyte", "idx2-int")}
_SUFFIXES = ("", ".gz", ".xz")
_Number = TypeVar("_Number", bound=np.generic)


class DataError(ValueError):
    """Data that cannot be used: one line that says where, what is wrong and how to fix it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled grey images, at least one, checked at construction and kept as read-only bytes.

    Args:
        images: (N, rows, cols), 0 for background: uint8; or whole numbers of any integer or float dtype, with white at
            255; or floats in [0, 1], which are multiplied by 255 and rounded. Refused as
            scaled wrongly: what such a conversion leaves darker than half white, and 100 or more images of 0 and 1.
        labels: (N,) integers of any dtype, below `classes`.
        name: for messages.
        classes: how many there are, 2 to 256. Not every class needs an example.
    Raises: DataError where type, shape or a value breaks these rules.

    Arrays that something can still write to are copied, so the fingerprint stays true. Read-only ones are shared.

    >>> pair = Dataset(np.zeros((2, 3, 3), np.uint8), np.array([7, 1], np.uint8), "pair")
    >>> len(pair), pair.take([1]).labels.tolist(), pair.fingerprint[:8]
    (2, [1], '7d753301')
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    name: str
    classes: int = CLASSES

    def __post_init__(self) -> None:
        images = _pixels(f"{self.name}: images", self.images)
        labels = check_labels(self.name, self.labels, self.classes, len(images), "image")
        object.__setattr__(self, "images", private(images))
        object.__setattr__(self, "labels", private(labels))

    def __len__(self) -> int:
        """The number of examples, N."""
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols): what an example is, for a network of rows · cols inputs."""
        rows, cols = self.images.shape[1:]
        return rows, cols

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the images' shape and bytes and the labels: equal data, equal value, whatever the name."""
        digest = hashlib.sha256(np.array(self.images.shape, dtype="<i8").tobytes())
        for array in (self.images, self.labels):
            digest.update(np.ascontiguousarray(array).reshape(-1).data)
        return digest.hexdigest()

    def take(self, index: ArrayLike) -> Dataset:
        """The examples at `index`, in its order and under the same name.

        `index`: 1-D integers in 0..N-1, repeats allowed, or N booleans. Raises `DataError` for anything else, and where
        nothing is left.
        """
        chosen = check_index(self.name, index, len(self))
        return replace(self, images=freeze(self.images[chosen]), labels=freeze(self.labels[chosen]))


def freeze(array: NDArray[_Number]) -> NDArray[_Number]:
    """The array itself, made read-only: for arrays that nobody else holds."""
    array.flags.writeable = False
    return array


def private(array: NDArray[_Number]) -> NDArray[_Number]:
    """A read-only view of the array, or of a copy where something can still write to its memory.

    Shared without a copy: an array that is read-only, as is every array that it is a view of, down to one that owns its
    memory or lies in `bytes`.

    >>> own = np.zeros(3)
    >>> np.shares_memory(private(own), own), np.shares_memory(private(freeze(own)), own)
    (False, True)
    """
    owner: object = array
    while isinstance(owner, np.ndarray) and not owner.flags.writeable:
        owner = owner.base
    return freeze((array if owner is None or isinstance(owner, bytes) else freeze(array.copy())).view())


def check_index(name: str, index: ArrayLike, count: int) -> NDArray[np.integer]:
    """An index of examples as 1-D integers in 0..count-1, from these or from `count` booleans; raises `DataError`."""
    chosen = np.asarray(index)
    if chosen.dtype == np.bool_ and chosen.shape == (count,):
        chosen = np.flatnonzero(chosen)
    came = f"{chosen.dtype} of shape {chosen.shape}"
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise DataError(f"{name}: an index is 1-D integers or {count} booleans, got {came}: convert it")
    if chosen.size == 0:
        raise DataError(f"{name}: the index must choose at least 1 example, got none: widen the choice")
    if chosen.min() < 0 or chosen.max() >= count:
        span = f"{chosen.min()}..{chosen.max()}"
        raise DataError(f"{name}: an index lies in 0..{count - 1}, got {span}: count from the first example")
    return chosen


def check_labels(name: str, labels: NDArray[Any], classes: int, count: int, example: str) -> NDArray[np.uint8]:
    """The labels as bytes, once each of `count` examples, images say, has one below `classes`, which is 2 to 256."""
    whole(f"{name}: classes", classes, 2, 256)
    _check_axes(f"{name}: labels", labels, "labels")
    if len(labels) != count:
        counts = f"{count} {example}s and {len(labels)} labels"
        raise DataError(f"{name}: every {example} needs one label, got {counts}: give as many of each")
    return _class_numbers(name, labels, classes)


def load_mnist() -> tuple[Dataset, Dataset]:
    """The MNIST training set (60 000 images) and test set (10 000) that ship inside minikd, 28 × 28 pixels.

    Raises `DataError` if a file is missing or its bytes are not the expected ones.

    >>> train, test = load_mnist()
    >>> train.images.shape, test.labels[:4].tolist()
    ((60000, 28, 28), [7, 2, 1, 0])
    """
    folder = resources.files("minikd").joinpath("embedded").joinpath("mnist")
    return _Source(folder, "MNIST", MNIST_SHA256, "the installation is damaged: reinstall minikd").load()


def load_idx_folder(folder: str | os.PathLike[str]) -> tuple[Dataset, Dataset]:
    """Training and test set from a folder of IDX files laid out as MNIST's are, such as Fashion-MNIST.

    The four files carry the names in `MNIST_SHA256`, or with a dot, as in `train-images.idx3-ubyte`, or with `test` for
    `t10k`, or those of QMNIST. Each may be plain, `.gz` or `.xz`, and the first of these that exists is read; whether a
    file is packed is seen from its bytes. Images of any size, the same in both sets, and of any type that `Dataset`
    takes. Memory grows with the bytes that are there, never with what a header claims. Raises `DataError` naming the
    file.
    """
    path = Path(folder)
    try:
        problem = "" if path.is_dir() else "is not a folder" if path.exists() else "does not exist"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    if problem:
        raise DataError(f"{path}: {problem}: give the folder that holds the four IDX files")
    return _Source(path, path.resolve().name).load()


def held_out_split(train: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """Cuts off `count` examples for choosing hyper-parameters, so that the test set stays unseen.

    The split is stratified by a fixed rule, so it does not matter whether the data are sorted by class, and nothing is
    drawn. Each class gives its last examples, in proportion to its size. The examples that rounding leaves over come
    from the classes that are furthest below their share, and of equals from the smallest label. Every class keeps at
    least one example to learn from. Both parts keep the order of the data.

    Returns (the rest, the held-out ones). Raises `DataError` unless `count` is at least 1 and leaves one example to
    every class that has any.

    >>> five = Dataset(np.zeros((5, 1, 1), np.uint8), np.array([0, 0, 0, 1, 1]), "five")
    >>> [part.labels.tolist() for part in held_out_split(five, 2)]
    [[0, 0, 1], [0, 1]]
    """
    N, sizes = len(train), np.bincount(train.labels, minlength=train.classes)  # (K,)
    most = N - int(np.count_nonzero(sizes))
    if most < 1:
        raise DataError(f"{train.name}: no class has 2 examples, so none can be held out: give more examples")
    count = whole(f"{train.name}: the number held out, with one example left to every class,", count, 1, most)
    given = count * sizes // N  # (K,)
    for _ in range(count - int(given.sum())):
        spare = np.flatnonzero(given < sizes - 1)
        given[spare[np.argmax((count * sizes - N * given)[spare])]] += 1
    held = np.zeros(N, dtype=np.bool_)
    for label in np.flatnonzero(given):
        held[np.flatnonzero(train.labels == label)[-given[label] :]] = True
    rest = replace(train.take(~held), name=f"{train.name} less {count} of all classes")
    return rest, replace(train.take(held), name=f"{train.name}, {count} held out of all classes")


def subset(dataset: Dataset, keep_classes: Iterable[int]) -> Dataset:
    """The examples whose label is in `keep_classes`, in their order: a transfer set without 3s, say.

    Raises `DataError` for a class that the data set has not, and where no example is left.

    >>> four = Dataset(np.zeros((4, 1, 1), np.uint8), np.array([3, 1, 3, 8], np.uint8), "four")
    >>> subset(four, set(range(10)) - {3}).labels.tolist()
    [1, 8]
    """
    classes = [whole("a class to keep", one, 0, dataset.classes - 1) for one in keep_classes]
    return dataset.take(np.isin(dataset.labels, np.array(classes, dtype=np.uint8)))


def pad(images: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Sets each image in a border of zeros, `by` pixels wide on all four sides, and flattens it.

    `images`: (N, rows, cols) uint8. Returns a new C-contiguous (N, (rows + 2 by)(cols + 2 by)) uint8.
    Raises `DataError` unless by ≥ 0.

    >>> pad(np.full((1, 1, 2), 9, np.uint8), 1).reshape(3, 4).tolist()
    [[0, 0, 0, 0], [0, 9, 9, 0], [0, 0, 0, 0]]
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 3:
        raise DataError(f"images must be (N, rows, cols) uint8, got {came(images)}: give a Dataset's")
    by = whole("by", by, 0)
    count, rows, cols = images.shape
    padded = np.zeros((count, rows + 2 * by, cols + 2 * by), dtype=np.uint8)
    padded[:, by : by + rows, by : by + cols] = images
    return padded.reshape(count, (rows + 2 * by) * (cols + 2 * by))


def window_index(rows: int, cols: int, by: int) -> NDArray[np.int64]:
    """Where the top-left rows × cols window lies in one flat image made by `pad`: jitter is this index plus one number.

    With w = cols + 2 by, the width of a padded image, pixel (r, c) of the window is at r·w + c. Adding down·w + right,
    each of the two in 0..2 by, slides the window over the padded image and so moves the picture by
    (by − down, by − right) pixels, positive meaning down and to the right. At down = right = by the picture is unmoved,
    with as much room on either side; what enters at an edge is the border's zeros, never the picture's far side.

    Returns (rows·cols,) int64. Raises `DataError` unless rows, cols ≥ 1 and by ≥ 0.

    >>> padded = pad(np.array([[[1, 2]]], np.uint8), 1)  # 3 × 4 pixels
    >>> down, right = 1, 0  # by (0, +1): one to the right
    >>> padded[0, window_index(1, 2, 1) + (down * 4 + right)].tolist()
    [0, 1]
    """
    rows, cols, by = whole("rows", rows, 1), whole("cols", cols, 1), whole("by", by, 0)
    down = np.arange(rows, dtype=np.int64)[:, np.newaxis] * (cols + 2 * by)  # (rows, 1)
    return (down + np.arange(cols, dtype=np.int64)).reshape(-1)  # (rows·cols,)


@dataclass(frozen=True)
class _Source:
    """A folder with the four IDX files, on disk or inside the package; `mend` stands in for each error's own advice."""

    folder: Traversable
    name: str
    sums: dict[str, str] = field(default_factory=dict)
    mend: str = ""

    def load(self) -> tuple[Dataset, Dataset]:
        """(training set, test set), images of one size."""
        train, test = self._part("train", "train"), self._part("t10k", "test")
        size, expected = (" × ".join(map(str, part.images.shape[1:])) for part in (test, train))
        if size != expected:
            problem = f"images are {size}, but the training set's are {expected}"
            raise self._error(self._find("t10k", "images"), problem, "put files of one data set there")
        return train, test

    def _part(self, prefix: str, role: str) -> Dataset:
        image_file, label_file = (self._find(prefix, kind) for kind in RANKS)
        images, labels = self._read(image_file, "images"), self._read(label_file, "labels")
        if len(images) != len(labels):
            problem = f"{len(labels)} labels, but {image_file.name} has {len(images)} images"
            raise self._error(label_file, problem, "put files of one data set there")
        images = _pixels(f"{image_file}: images", images)
        labels = _class_numbers(str(label_file), labels, CLASSES, f"use a set of {CLASSES} classes, numbered from 0")
        return Dataset(images, labels, f"{self.name} {role}")

    def _find(self, prefix: str, kind: str) -> Traversable:
        names = [
            f"{start}-{kind}{mark}{ending}"
            for start in _PREFIXES[prefix]
            for ending in _ENDINGS[kind]
            for mark in ("-", ".")
        ]
        files = [self.folder.joinpath(name + suffix) for name in names for suffix in _SUFFIXES]
        try:
            for file in files:
                if file.is_file():
                    return file
            there = sorted(file.name for file in self.folder.iterdir()) if self.folder.is_dir() else []
        except OSError as error:
            raise self._error(files[0], f"cannot be read ({error.strerror})", "check its permissions") from error
        holds = ", ".join(there[:4]) + (", …" if len(there) > 4 else "") if there else "nothing"
        looked_for = f"looked for {names[0]} or {names[1]}, plain, .gz or .xz; the folder holds {holds}"
        raise self._error(files[0], f"no such file, {looked_for}", "put it there, or rename it")

    def _read(self, file: Traversable, kind: str) -> NDArray[Any]:
        unpacked = file.name.removesuffix(".gz").removesuffix(".xz")
        return read_idx(file, kind, partial(self._error, file), self.sums.get(unpacked, ""))

    def _error(self, file: Traversable, problem: str, mend: str = "download it again") -> DataError:
        return DataError(f"{file}: {problem}: {self.mend or mend}")


def came(array: object) -> str:
    """What was given in place of the right array, for a message."""
    return f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def _check_axes(what: str, array: object, kind: str) -> None:
    """That it is a NumPy array of the rank of images, or of labels, which is not empty."""
    rank = RANKS[kind]
    if not isinstance(array, np.ndarray):
        raise DataError(f"{what} must be a NumPy array, got {came(array)}: convert it on the host")
    if array.ndim != rank:
        axes = "1 axis" if rank == 1 else f"{rank} axes"
        raise DataError(f"{what} must have {axes}, got shape {array.shape}: {MENDS[kind]}")
    if 0 in array.shape:
        raise DataError(f"{what} must not be empty, got shape {array.shape}: give at least 1 example")


def _pixels(what: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    """Images as bytes, in the three forms that `Dataset` takes; floats need memory for 1000 images at a time."""
    _check_axes(what, images, "images")
    kind = images.dtype.kind
    if kind not in "iuf":
        raise DataError(f"{what} must be numbers, got {images.dtype}: convert them to integers in 0..255")
    low, high = images.min(), images.max()  # nan if there is one
    span = images.dtype.name + (f" in {low:.6g}..{high:.6g}" if kind == "f" else f" in {low}..{high}")
    if not (low >= 0 and high <= 255):
        mend = "undo the standardisation, or scale both sets alike into [0, 1]"
        raise DataError(f"{what} must be whole numbers in 0..255 or floats in [0, 1], got {span}: {mend}")
    scale = 255 if kind == "f" and high <= 1 else 1
    dark = 127 if images.dtype != np.uint8 else 1 if len(images) >= 100 else 0  # a few of a set may well be black
    if 0 < high * scale <= dark:
        mend = "divide by the number that is white; if they were cut from floats in [0, 1], give those"
        raise DataError(f"{what}: white is 1 for floats in [0, 1], else 255, got {span}, too dark: {mend}")
    if images.dtype == np.uint8:
        return images
    pixels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), 1000):
        scaled = images[start : start + 1000] * scale
        rounded = np.rint(scaled)
        if scale == 1 and (rounded != scaled).any():
            mend = "divide by 255, or round them"
            raise DataError(f"{what} above 1 must be whole numbers in 0..255, got {span} with fractions: {mend}")
        pixels[start : start + 1000] = rounded
    return freeze(pixels)


def _class_numbers(what: str, labels: NDArray[Any], classes: int, mend: str = "") -> NDArray[np.uint8]:
    """Labels as bytes, once they are integers in 0..classes-1; `mend` stands in for the advice on their range."""
    if labels.dtype.kind not in "iu":
        exact = labels.dtype.kind == "b" or (labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()))
        way = ".astype(np.int64)" if exact else "np.unique(labels, return_inverse=True)[1], if each value is a class"
        raise DataError(f"{what}: labels must be integers, got {labels.dtype}: convert with {way}")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        low, high = int(labels.min()), int(labels.max())
        if low < 0:
            own = "drop the examples that have no class"
        elif high > 255:
            own = "there are at most 256 classes: number them from 0"
        else:
            own = f"give classes={high + 1}" + (", or labels - 1 if they count from 1" if low == 1 else "")
            own += ", or drop or relabel those examples"
        first = f"{labels[wrong[0]]} at position {wrong[0]}, {wrong.size} outside, all in {low}..{high}"
        raise DataError(f"{what}: labels lie in 0..{classes - 1}, got {first}: {mend or own}")
    return labels if labels.dtype == np.uint8 else freeze(labels.astype(np.uint8))


def whole(what: str, value: object, low: int, high: int | None = None) -> int:
    """The value as a Python int, whose arithmetic cannot wrap; raises `DataError` where it is none of low..high."""
    whole = int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None
    if whole is None or whole < low or (high is not None and whole > high):
        span = f"in {low}..{high}" if high is not None else f">= {low}"
        raise DataError(f"{what} must be a whole number {span}, got {value!r}: choose one")
    return whole
