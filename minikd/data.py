"""Images and labels on the host: MNIST as it ships with minikd, any folder of IDX files, splits, subsets and padding.

Everything here is checked once, when it enters; what comes after may trust a `Dataset`. N counts examples.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import os
import struct
import sys
import zlib
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable
    else:
        from importlib.abc import Traversable
    _Stream = IO[bytes] | gzip.GzipFile | lzma.LZMAFile

CLASSES = 10
MNIST_SHA256 = {  # of the unpacked files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_SUFFIXES = ("", ".gz", ".xz")  # in order of preference
_RANKS = {"images": 3, "labels": 1}
_MAGICS = {kind: bytes([0, 0, 0x08, rank]) for kind, rank in _RANKS.items()}  # 0x08: unsigned bytes
_CHUNK = 1 << 20


class DataError(ValueError):
    """Data that cannot be used: one line that says where, what is wrong and how to mend it."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled grey images, at least one, checked at construction; the arrays it hands out are read-only views.

    `images`: (N, rows, cols) uint8, 0 for background; `labels`: (N,) uint8, below `classes`; `name`: for messages;
    `classes`: how many there are, 2 to 256, all or not all of them with an example.
    Raises `DataError` where type, shape or a label breaks these rules.

    >>> pair = Dataset(np.zeros((2, 3, 3), np.uint8), np.array([7, 1], np.uint8), "pair")
    >>> len(pair), pair.take([1]).labels.tolist(), pair.fingerprint[:8]
    (2, [1], '7d753301')
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    name: str
    classes: int = CLASSES

    def __post_init__(self) -> None:
        for kind, rank in _RANKS.items():
            array = getattr(self, kind)
            _check_bytes(f"{self.name}: {kind}", array, rank)
            if 0 in array.shape:
                raise DataError(
                    f"{self.name}: {kind} must not be empty, got shape {array.shape}: give at least 1 example"
                )
            view = array.view()
            view.flags.writeable = False  # the fingerprint speaks for these bytes
            object.__setattr__(self, kind, view)
        check_labels(self.name, self.labels, self.classes, len(self.images), "image")

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
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


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


def check_labels(name: str, labels: NDArray[np.uint8], classes: int, count: int, example: str) -> None:
    """That each of `count` examples, images say, has one label below `classes`, which is 2 to 256."""
    whole(f"{name}: classes", classes, 2, 256)
    if len(labels) != count:
        counts = f"{count} {example}s and {len(labels)} labels"
        raise DataError(f"{name}: every {example} needs one label, got {counts}: give as many of each")
    if problem := _label_problem(labels, classes):
        raise DataError(f"{name}: {problem}: relabel or drop that example")


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

    The four files carry the names in `MNIST_SHA256`; each may be plain, `.gz` or `.xz`, and the first of these that
    exists is read. Images of any size, the same in both sets. Memory grows with the bytes that are there, never with
    what a header claims. Raises `DataError` naming the file.
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
    """Cuts off the last `count` examples for choosing hyper-parameters, so that the test set stays unseen.

    Returns (the rest, the held-out ones), views without a copy. The cut follows from `count` alone; nothing is drawn.
    Raises `DataError` unless `count` is in 1..N-1.

    >>> five = Dataset(np.zeros((5, 1, 1), np.uint8), np.arange(5, dtype=np.uint8), "five")
    >>> [part.labels.tolist() for part in held_out_split(five, 2)]
    [[0, 1, 2], [3, 4]]
    """
    count = whole("count", count, 1, len(train) - 1)
    rest = replace(train, images=train.images[:-count], labels=train.labels[:-count], name=f"{train.name}[:-{count}]")
    last = replace(train, images=train.images[-count:], labels=train.labels[-count:], name=f"{train.name}[-{count}:]")
    return rest, last


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
    _check_bytes("images", images, 3)
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
            raise self._error(self._find("t10k-images-idx3-ubyte"), problem, "put files of one data set there")
        return train, test

    def _part(self, prefix: str, role: str) -> Dataset:
        image_file, label_file = (self._find(f"{prefix}-{kind}-idx{rank}-ubyte") for kind, rank in _RANKS.items())
        images, labels = self._read(image_file, "images"), self._read(label_file, "labels")
        if len(images) != len(labels):
            problem = f"{len(labels)} labels, but {image_file.name} has {len(images)} images"
            raise self._error(label_file, problem, "put files of one data set there")
        if label_problem := _label_problem(labels):
            raise self._error(label_file, label_problem, f"use a data set of {CLASSES} classes")
        return Dataset(images, labels, f"{self.name} {role}")

    def _find(self, name: str) -> Traversable:
        files = [self.folder.joinpath(name + suffix) for suffix in _SUFFIXES]
        for file in files:
            try:
                if file.is_file():
                    return file
            except OSError as error:
                raise self._error(file, f"cannot be read ({error.strerror})", "check its permissions") from error
        looked_for = " or ".join(file.name for file in files)
        raise self._error(files[0], f"no such file, looked for {looked_for}", "put one of them there")

    def _read(self, file: Traversable, kind: str) -> NDArray[np.uint8]:
        """One IDX file of images, (N, rows, cols), or labels, (N,)."""
        try:
            with file.open("rb") as packed, closing(_unpacked(packed, file.name)) as stream:
                data, shape = self._decode(file, kind, stream)
        except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
            raise self._error(file, f"damaged {Path(file.name).suffix} stream ({error})") from error
        except OSError as error:
            raise self._error(file, f"cannot be read ({error.strerror})", "check its permissions") from error
        expected = self.sums.get(file.name.removesuffix(".gz").removesuffix(".xz"))
        if expected and hashlib.sha256(data).hexdigest() != expected:
            raise self._error(file, "its SHA-256 is not the expected one")
        return np.frombuffer(data, dtype=np.uint8, offset=len(data) - math.prod(shape)).reshape(shape)

    def _decode(self, file: Traversable, kind: str, stream: _Stream) -> tuple[bytearray, tuple[int, ...]]:
        """The unpacked bytes and the shape in their header: a magic number, then a big-endian uint32 an axis."""
        rank, data = _RANKS[kind], bytearray()
        header = 4 + 4 * rank
        _extend(data, stream, header)
        if data[:4] != _MAGICS[kind][: len(data)]:
            raise self._error(file, *_magic_problem(bytes(data[:4]), kind))
        if len(data) < header:
            raise self._error(file, f"truncated: a header has {header} bytes, {len(data)} came")
        shape = struct.unpack(f">{rank}I", data[4:])
        if 0 in shape:
            raise self._error(file, f"the header promises 0 {('examples', 'rows', 'columns')[shape.index(0)]}")
        promised = header + math.prod(shape)
        _extend(data, stream, promised + 1)  # reaching for the end also lets gzip and xz check their sums
        if len(data) < promised:
            raise self._error(file, f"truncated: the header promises {promised} bytes, {len(data)} came")
        if len(data) > promised:
            raise self._error(file, f"oversized: the header promises {promised} bytes, more came after the end")
        return data, shape

    def _error(self, file: Traversable, problem: str, mend: str = "download it again") -> DataError:
        return DataError(f"{file}: {problem}: {self.mend or mend}")


def _unpacked(packed: IO[bytes], name: str) -> _Stream:
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=packed, mode="rb")
    if name.endswith(".xz"):
        return lzma.LZMAFile(packed, format=lzma.FORMAT_XZ)
    return packed


def _extend(data: bytearray, stream: _Stream, size: int) -> None:
    """Reads on until `data` has `size` bytes or the stream ends; a chunk at a time, for `size` may be a lie."""
    while len(data) < size and (chunk := stream.read(min(_CHUNK, size - len(data)))):
        data += chunk


def _magic_problem(came: bytes, kind: str) -> tuple[str, str]:
    """What is wrong with a magic number, and the mend."""
    other = next((name for name, magic in _MAGICS.items() if magic == came), "")
    expected = f"magic number 0x{_MAGICS[kind].hex()} ({kind}) expected, 0x{came.hex()}"
    if other:
        return f"{expected} ({other}) came", f"put the {kind} file in its place"
    if came.startswith(b"\x1f\x8b"):
        return f"{expected} (gzip) came", "add .gz to the file's name"
    return f"{expected} came", "download it again"


def _label_problem(labels: NDArray[np.uint8], classes: int = CLASSES) -> str:
    """Says which label is out of range first, or nothing."""
    wrong = np.flatnonzero(labels >= classes)
    return f"labels lie in 0..{classes - 1}, got {labels[wrong[0]]} at position {wrong[0]}" if wrong.size else ""


def _check_bytes(what: str, array: object, rank: int) -> None:
    if not isinstance(array, np.ndarray):
        raise DataError(f"{what} must be a NumPy array, got {type(array).__name__}: convert it on the host")
    if array.dtype != np.uint8:
        raise DataError(f"{what} must be uint8, got {array.dtype}: convert with .astype(np.uint8)")
    if array.ndim != rank:
        raise DataError(f"{what} must have {rank} axes, got shape {array.shape}: reshape it")


def whole(what: str, value: object, low: int, high: int | None = None) -> int:
    """The value as a Python int, whose arithmetic cannot wrap; raises `DataError` where it is none of low..high."""
    whole = int(value) if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else None
    if whole is None or whole < low or (high is not None and whole > high):
        span = f"in {low}..{high}" if high is not None else f">= {low}"
        raise DataError(f"{what} must be a whole number {span}, got {value!r}: choose one")
    return whole
