"""Images from folders of PNG and JPEG files, one sub-folder per class."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError
from minikd.data.npz import LIMIT

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
_GREY = ("1", "L", "LA")  # Pillow's modes for black and white, grey, and grey with alpha
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")  # more than 8 bits per channel


class Pictures:
    """The picture files of a data set, found but not read.

    Args:
        root: for messages: the folder that the reader gave.

    Attributes:
        files: by part ("train", "test", "transfer"), the label of each file and the file, in sorted order.
        others: how many files were left out, because they are not called .png, .jpg or .jpeg, or are no files.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.others = root, 0
        self.files: dict[str, list[tuple[str, Path]]] = {}

    def add_classes(self, part: str, folder: Path) -> None:
        """Find the files of a part: those in the sub-folders of a folder, whose names are the labels.

        Raises:
            DataError: if there are none, also in one sub-folder of the training part, or its name is not text.
        """
        self.files[part] = []
        for sub in folders(folder):
            if not sub.name.isprintable():
                raise DataError(f"{named(sub)}: the name of a class must be printable text: rename the folder")
            found = self._pictures(sub)
            if part == "train" and not found:
                raise DataError(
                    f"{named(sub)}: no PNG or JPEG files of this class: put some there, or remove the folder"
                )
            self.files[part] += [(sub.name, file) for file in found]
        if not self.files[part]:
            fix = "put the pictures of each class into a sub-folder of its own"
            raise DataError(f"{named(folder)}: no PNG or JPEG files in its sub-folders: {fix}")

    def add_unlabelled(self, part: str, folder: Path) -> None:
        """Find the files of a part without labels: those that lie directly in a folder.

        Raises:
            DataError: if there are none.
        """
        self.files[part] = [("", file) for file in self._pictures(folder)]
        if not self.files[part]:
            raise DataError(f"{named(folder)}: no PNG or JPEG files: put some there, or remove the folder")

    def labels(self, part: str) -> NDArray[Any]:
        """Return the label of each file of a part, (N,): integers if all names of classes are, else strings."""
        every = {label for files in self.files.values() for label, _ in files if label}
        whole = all(label.isdecimal() and label.isascii() and str(int(label[:18])) == label for label in every)
        return np.array([int(label) if whole else label for label, _ in self.files[part]])

    def read(self) -> dict[str, NDArray[np.uint8]]:
        """Return the images of each part, (N, rows, cols) if all are grey, else (N, rows, cols, 3).

        Raises:
            DataError: if a file is damaged, or too large, or of another size than the first one.
        """
        first: tuple[Path, tuple[int, int]] | None = None
        colour = False
        for file in self._all():  # the headers only
            with _opened(file) as image:
                colour = colour or image.mode not in _GREY
                first = first or (file, image.size)
                if image.size != first[1]:
                    (wide, high), (w, h) = first[1], image.size
                    fix = "resize all pictures to one size"
                    raise DataError(
                        f"{named(file)}: {w} × {h} pixels, but {named(first[0])} has {wide} × {high}: {fix}"
                    )
        assert first is not None
        (cols, rows), count = first[1], sum(1 for _ in self._all())
        shape = (rows, cols, 3) if colour else (rows, cols)
        size = count * rows * cols * (3 if colour else 1)
        if size > LIMIT:
            fix = "shrink the pictures, or use fewer"
            raise DataError(f"{named(self.root)}: the pictures need {size:,} bytes, {LIMIT:,} at most: {fix}")
        found = {}
        for part, files in self.files.items():
            found[part] = np.empty((len(files), *shape), np.uint8)
            for n, (_, file) in enumerate(files):
                found[part][n] = _pixels(file, "RGB" if colour else "L", shape)
        return found

    def _all(self) -> Iterator[Path]:
        return (file for files in self.files.values() for _, file in files)

    def _pictures(self, folder: Path) -> list[Path]:
        """Return the pictures in a folder, sorted; whatever else there is, except hidden files, is counted."""
        found = []
        for path in _inside(folder):
            if path.suffix.lower() in SUFFIXES and os.path.isfile(path):  # no pipe, no device, no dangling link
                found.append(path)
            else:
                self.others += 1
        return found


def read_picture(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return a picture of a known size.

    Args:
        file: a PNG or JPEG file.
        shape: (rows, cols) for grey, or (rows, cols, 3).

    Raises:
        DataError: if the file is damaged, or of another size.
    """
    rows, cols = shape[:2]
    with _opened(file) as image:
        if image.size != (cols, rows):
            w, h = image.size
            fix = f"resize it, in Python by Image.open(…).resize(({cols}, {rows})).save(…) of Pillow"
            raise DataError(f"{named(file)}: {w} × {h} pixels, but {cols} × {rows} are needed: {fix}")
    return _pixels(file, "RGB" if len(shape) == 3 else "L", shape)


def folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and those that archives leave behind."""
    return [path for path in _inside(folder) if os.path.isdir(path)]


def named(path: object) -> str:
    """Return a path, or another name, for a message: on one line, whatever bytes it has."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in str(path))


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"{named(folder)}: cannot be read ({error.strerror}): check its permissions") from None


def _opened(file: Path) -> Image:
    """Return a picture of which only the header is read."""
    from PIL import Image as pillow  # which no other data need

    with _judged(file):
        image = pillow.open(file, formats=_FORMATS)
    if image.mode in _DEEP:
        image.close()
        raise DataError(f"{named(file)}: more than 8 bits per channel: convert it to 8 bits")
    return image


def _pixels(file: Path, mode: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    with _opened(file) as image, _judged(file):
        pixels = np.asarray(image.convert(mode))
    if pixels.shape != shape:  # changed since its header was read
        raise DataError(f"{named(file)}: changed while it was read: try again")
    return pixels


@contextmanager
def _judged(file: Path) -> Iterator[None]:
    """Turn whatever Pillow raises about a file, and its warning of a decompression bomb, into a DataError."""
    from PIL import Image as pillow

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            yield
    except (pillow.DecompressionBombWarning, pillow.DecompressionBombError):
        limit = f"more than Pillow's limit of {pillow.MAX_IMAGE_PIXELS:,} pixels"
        raise DataError(f"{named(file)}: {limit}: shrink the picture") from None
    except Exception as error:  # a damaged file makes Pillow raise almost anything
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not a whole PNG or JPEG file"
        raise DataError(f"{named(file)}: cannot be read ({reason}): replace the file or remove it") from None
