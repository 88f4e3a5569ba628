"""Images on the host: MNIST as it ships with minikd, any folder of IDX files, splits and subsets.

Everything here is checked once, when it enters. Code that comes after may trust a `Dataset`. N counts examples.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data import checks
from minikd.data.checks import RANKS, DataError, freeze, private
from minikd.data.classes import Classes
from minikd.data.frames import Frames
from minikd.data.idx import IdxError, read_idx

if TYPE_CHECKING:
    from minikd.data.idx import Traversable

CLASSES = 10
MNIST_SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
# How people and programs name the four files, in order of preference. Some mirrors say test, 7-Zip puts a dot, and
# QMNIST keeps what it knows about an image in eight columns.
_PREFIXES = {"train": ("train", "qmnist-train"), "t10k": ("t10k", "test", "qmnist-test")}
_EMNIST = re.compile(r"(emnist-[a-z]+)-train-images[-.]idx3-ubyte(?:\.gz|\.xz)?")
_ENDINGS = {"images": ("idx3-ubyte",), "labels": ("idx1-ubyte", "idx2-int")}
_SUFFIXES = ("", ".gz", ".xz")
OVERSHOOT = 0.1  # how far outside [0, 1] rounding and resizing leave floats


@dataclass(frozen=True, eq=False)
class Dataset:
    """Grey or RGB images, at least one, labelled or not, checked at construction and kept as read-only bytes.

    Arrays that something can still write to are copied, so the fingerprint stays true. Read-only ones are shared.

    Args:
        images: (N, rows, cols), 0 for background, or (N, rows, cols, 3). Three forms are taken: uint8; whole numbers of
            any integer or float dtype, with white at 255; floats in [0, 1], which are multiplied by 255 and rounded.
            Refused as scaled wrongly: converted images that are all darker than half white, and 100 or more images of
            0 and 1.
        labels: (N,) integers of any dtype, below `classes`; None for a transfer set without labels, which only soft
            targets can teach.
        name: for messages.
        classes: how many classes there are, 2 to 65,536. Not every class needs an example. 0 takes one more than the
            largest label, and at least 2.

    Raises:
        DataError: if type, shape or a value breaks these rules.

    >>> pair = Dataset(np.zeros((2, 3, 3), np.uint8), np.array([7, 1], np.uint8), "pair")
    >>> len(pair), pair.take([1]).labels.tolist(), pair.fingerprint[:8]
    (2, [1], '7d753301')
    """

    images: NDArray[np.uint8]
    labels: Any  # (N,) uint8 or uint16, or None
    name: str
    classes: int = 0

    def __post_init__(self) -> None:
        images = pixels(f"{self.name}: images", self.images)
        if self.classes == 0:
            object.__setattr__(self, "classes", checks.classes_of(self.name, self.labels))
        labels = checks.labels(self.name, self.labels, self.classes, len(images), "image")
        object.__setattr__(self, "images", private(images))
        object.__setattr__(self, "labels", None if labels is None else private(labels))

    def __len__(self) -> int:
        """Return the number of examples, N."""
        return len(self.images)

    @property
    def labelled(self) -> bool:
        """Whether the examples have labels."""
        return self.labels is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, cols) or (rows, cols, 3): what an example is, for a network of as many inputs as it has numbers."""
        return self.images.shape[1:]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the images' shape, bytes and labels. Equal data have equal ones; names are ignored."""
        return checks.sha256(self.images.shape, self.images, self.labels)

    def take(self, index: ArrayLike) -> Dataset:
        """Return the examples at `index`, in its order and under the same name.

        Args:
            index: 1-D integers in 0 … N − 1, repeats allowed, or N booleans.

        Raises:
            DataError: if the index is anything else, or no example is left.
        """
        chosen = checks.index(self.name, index, len(self))
        labels = freeze(self.labels[chosen]) if self.labelled else None
        return replace(self, images=freeze(self.images[chosen]), labels=labels)


Data = TypeVar("Data", Dataset, Frames)


def load_mnist() -> tuple[Dataset, Dataset]:
    """Return the MNIST training set (60,000 images) and test set (10,000) that ship inside minikd, 28 × 28 pixels.

    Raises:
        DataError: if a file is missing or its bytes are not the expected ones.

    >>> train, test = load_mnist()
    >>> train.images.shape, test.labels[:4].tolist()
    ((60000, 28, 28), [7, 2, 1, 0])
    """
    folder = resources.files("minikd").joinpath("embedded").joinpath("mnist")
    fix = "the installation is damaged: reinstall minikd"
    return _datasets(_Folder(folder, _PREFIXES, MNIST_SHA256, fix).load(), "MNIST")


def load_idx_folder(folder: str | os.PathLike[str]) -> tuple[Dataset, Dataset]:
    """Return the training set and the test set in a folder of IDX files laid out like MNIST's, such as Fashion-MNIST.

    The four files have the names in `MNIST_SHA256`, or names with a dot, as in `train-images.idx3-ubyte`, or with
    `test` in place of `t10k`, or QMNIST's, or those of one set of EMNIST. Each may be plain, `.gz` or `.xz`, and the
    first of these that exists is read. The bytes tell whether a file is packed. Images may have any size, the same in
    both sets, and any type that `Dataset` takes. The labels of the training set show the classes; labels other than
    0 … K − 1, such as EMNIST's letters 1 to 26, become these in sorted order. Memory grows with the bytes that are
    there, never with what a header claims.

    Args:
        folder: the path.

    Raises:
        DataError: if a file is missing or cannot be used, or the training set lacks a class. The message names it.
    """
    return _datasets(read_idx_folder(folder), Path(folder).resolve().name)


class IdxPart(NamedTuple):
    """Images, their labels as they are, and the file of each: one part of a folder of IDX files."""

    images: NDArray[np.uint8]
    labels: NDArray[Any]
    image_file: str
    label_file: str


def read_idx_folder(folder: str | os.PathLike[str]) -> tuple[IdxPart, IdxPart]:
    """Return the training part and the test part of a folder, as `load_idx_folder` finds them.

    Raises:
        DataError: as `load_idx_folder`, except for labels, which are not looked at.
    """
    path = Path(folder)
    try:
        problem = "" if path.is_dir() else "is not a folder" if path.exists() else "does not exist"
        names = [file.name for file in path.iterdir()] if not problem else []
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    if problem:
        raise DataError(f"{path}: {problem}: give the folder that holds the four IDX files")
    sets = sorted({found[1] for name in names if (found := _EMNIST.fullmatch(name))})
    if len(sets) > 1:
        fix = "put the four files of one into a folder of their own"
        raise DataError(f"{path}: holds several sets of EMNIST ({', '.join(sets)}): {fix}")
    parts = {
        part: (*usual, *(f"{one}-{role}" for one in sets))
        for (part, usual), role in zip(_PREFIXES.items(), ("train", "test"), strict=True)
    }
    return _Folder(path, parts).load()


def _datasets(parts: tuple[IdxPart, IdxPart], name: str) -> tuple[Dataset, Dataset]:
    """Return the training set and the test set of two parts of a folder."""
    classes = Classes.of(parts[0].label_file, parts[0].labels)
    train, test = (
        Dataset(one.images, classes.numbers(one.label_file, one.labels), f"{name} {role}", len(classes.labels))
        for one, role in zip(parts, ("train", "test"), strict=True)
    )
    return train, test


def held_out_split(train: Data, count: int) -> tuple[Data, Data]:
    """Cut off examples for choosing hyper-parameters, so that the test set stays unseen.

    The split is stratified by a fixed rule, so it does not matter whether the data are sorted by class, and nothing is
    drawn. Each class gives its last examples, in proportion to its size. The examples that rounding leaves over come
    from the classes that are furthest below their share; among equals, the smallest label comes first. Every class
    keeps at least one example to learn from. Both parts keep the order of the data.

    Args:
        train: the data to split.
        count: how many examples to hold out.

    Returns:
        The rest, and the held-out examples.

    Raises:
        DataError: unless `count` is at least 1 and leaves one example in every class that has any, and if there are no
            labels.

    >>> five = Dataset(np.zeros((5, 1, 1), np.uint8), np.array([0, 0, 0, 1, 1]), "five")
    >>> [part.labels.tolist() for part in held_out_split(five, 2)]
    [[0, 0, 1], [0, 1]]
    """
    labels = checks.need_labels(train, "examples cannot be held out class by class")
    N, sizes = len(train), np.bincount(labels, minlength=train.classes)  # (K,)
    most = N - int(np.count_nonzero(sizes))
    if most < 1:
        raise DataError(f"{train.name}: no class has 2 examples, so none can be held out: give more examples")
    count = checks.whole_number(
        f"{train.name}: the number held out, with one example left to every class,", count, 1, most
    )
    given = count * sizes // N  # (K,)
    for _ in range(count - int(given.sum())):
        spare = np.flatnonzero(given < sizes - 1)
        given[spare[np.argmax((count * sizes - N * given)[spare])]] += 1
    held = np.zeros(N, dtype=np.bool_)
    for label in np.flatnonzero(given):
        held[np.flatnonzero(labels == label)[-given[label] :]] = True
    rest = replace(train.take(~held), name=f"{train.name} less {count} of all classes")
    return rest, replace(train.take(held), name=f"{train.name}, {count} held out of all classes")


def subset(dataset: Data, keep_classes: Iterable[int]) -> Data:
    """Return the examples of some classes, in their order, such as a transfer set without 3s.

    Args:
        dataset: the data to choose from.
        keep_classes: the labels to keep.

    Raises:
        DataError: if the data set does not have a class or labels, or no example is left.

    >>> four = Dataset(np.zeros((4, 1, 1), np.uint8), np.array([3, 1, 3, 8], np.uint8), "four", classes=10)
    >>> subset(four, set(range(10)) - {3}).labels.tolist()
    [1, 8]
    """
    classes = [checks.whole_number("a class to keep", one, 0, dataset.classes - 1) for one in keep_classes]
    labels = checks.need_labels(dataset, "its classes cannot be told apart")
    return dataset.take(np.isin(labels, np.array(classes, dtype=labels.dtype)))


@dataclass(frozen=True)
class _Folder:
    """A folder with the four IDX files, on disk or inside the package; `fix` replaces each error's own advice."""

    folder: Traversable
    prefixes: dict[str, tuple[str, ...]]
    sums: dict[str, str] = field(default_factory=dict)
    fix: str = ""

    def load(self) -> tuple[IdxPart, IdxPart]:
        """Return the training part and the test part, with images of one size."""
        train, test = self._part("train"), self._part("t10k")
        size, expected = (" × ".join(map(str, part.images.shape[1:])) for part in (test, train))
        if size != expected:
            problem = f"images are {size}, but the training set's are {expected}"
            raise self._error(self._find("t10k", "images"), problem, "put files of one data set there")
        return train, test

    def _part(self, prefix: str) -> IdxPart:
        image_file, label_file = (self._find(prefix, kind) for kind in RANKS)
        images, labels = self._read(image_file, "images"), self._read(label_file, "labels")
        if len(images) != len(labels):
            problem = f"{len(labels)} labels, but {image_file.name} has {len(images)} images"
            raise self._error(label_file, problem, "put files of one data set there")
        return IdxPart(pixels(f"{image_file}: images", images), labels, str(image_file), str(label_file))

    def _find(self, prefix: str, kind: str) -> Traversable:
        spellings = product(self.prefixes[prefix], _ENDINGS[kind], "-.")
        names = [f"{start}-{kind}{mark}{ending}" for start, ending, mark in spellings]
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
        try:
            return read_idx(file, kind, self.sums.get(unpacked, ""))
        except IdxError as error:
            raise self._error(file, str(error), error.fix) from error

    def _error(self, file: Traversable, problem: str, fix: str) -> DataError:
        return DataError(f"{file}: {problem}: {self.fix or fix}")


def pixels(what: str, images: NDArray[Any], *, dark: bool = False) -> NDArray[np.uint8]:
    """Return images as bytes, from the three forms that `Dataset` takes.

    Floats need extra memory for only 1,000 images at a time.

    Args:
        what: names the images in messages.
        images: (N, rows, cols) or (N, rows, cols, 3).
        dark: whether they may all be dark, as a few images may, but hardly a whole set.

    Raises:
        DataError: if they break a rule of `Dataset`.
    """
    checks.axes(what, images, "images")
    kind = images.dtype.kind
    if kind not in "iuf":
        fix = "convert them to integers in 0..255"
        if kind == "b":
            fix = "write np.where(x, 255, 0) if True is white, np.where(x, 0, 255) if it is black"
        raise DataError(f"{what} must be numbers, got {images.dtype}: {fix}")
    low, high = images.min(), images.max()  # nan if there is one
    span = images.dtype.name + (f" in {low:.6g}..{high:.6g}" if kind == "f" else f" in {low}..{high}")
    if kind == "f" and low >= -OVERSHOOT and 0.5 <= high <= 1 + OVERSHOOT and not 0 <= low <= high <= 1:
        reach = f"{high:.6g}" if high > 1 else f"{low:.6g}"
        raise DataError(f"{what}: floats must lie in [0, 1], got floats that reach {reach}: write np.clip(x, 0, 1)")
    if not (low >= 0 and high <= 255):
        fix = "undo the standardisation, or scale both sets alike into [0, 1]"
        if kind in "iu":
            sixteen = "write x // 257 if 65,535 is white, or " if high > 255 else ""
            fix = f"{sixteen}scale both sets alike into 0..255"
        if np.isnan(low):
            fix = "fill the gaps, or leave these images out"
        raise DataError(f"{what} must be whole numbers in 0..255 or floats in [0, 1], got {span}: {fix}")
    scale = 255 if kind == "f" and high <= 1 else 1
    darkest = 127 if images.dtype != np.uint8 else 1 if len(images) >= 100 else 0  # a few of a set may well be black
    if 0 < high * scale <= darkest and not dark:
        by = "" if high < 1 else f", {high:.6g} if that is white"
        fix = f"divide by the number that is white{by}; if they were cut from floats in [0, 1], give those"
        raise DataError(f"{what}: white is 1 for floats in [0, 1], else 255, got {span}, too dark: {fix}")
    if images.dtype == np.uint8:
        return images
    found = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), 1000):
        scaled = images[start : start + 1000] * scale
        rounded = np.rint(scaled)
        if scale == 1 and (rounded != scaled).any():
            fix = "divide by 255, or round them"
            raise DataError(f"{what} above 1 must be whole numbers in 0..255, got {span} with fractions: {fix}")
        found[start : start + 1000] = rounded
    return freeze(found)
