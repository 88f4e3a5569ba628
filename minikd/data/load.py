"""Your own data, from an .npz file, a folder of IDX files, or a folder of pictures: checked before any work."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError
from minikd.data.classes import Classes, listed
from minikd.data.frames import Frames
from minikd.data.images import OVERSHOOT, Dataset, held_out_split, read_idx_folder
from minikd.data.inputs import Inputs
from minikd.data.npz import read_npz
from minikd.data.pictures import Pictures, folders, named

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_transfer", "class_names")
_FORMS = (
    f"give an .npz file with the arrays {', '.join(ARRAYS)}, a folder of four IDX files, or a folder with one "
    "sub-folder of PNG or JPEG files per class"
)
_IDX = re.compile(r".*(images|labels)[-.]idx\d.*")
_SHARE = 5  # one in this many pictures is held out where there is no test folder


class Loaded(NamedTuple):
    """A data set for distillation.

    Attributes:
        train: what the teacher, and the student alone, learn from.
        test: where errors are counted.
        transfer: more examples without labels, for a student to learn from its teacher, or None.
        inputs: what a network reads of an example.
        labels: (K,) the reader's own label of each class, integers, bools or strings.
        said: remarks in words, such as "labels 1 to 26 became classes 0 to 25".
        features: by part, the features as they came, in their own units; empty for images.
    """

    train: Dataset | Frames
    test: Dataset | Frames
    transfer: Dataset | Frames | None
    inputs: Inputs
    labels: NDArray[Any]
    said: list[str]
    features: Mapping[str, NDArray[Any]]

    def examples(self, part: str) -> NDArray[Any] | None:
        """Return a part as its maker knows it, features as they came or images as bytes; None where there is none."""
        data = getattr(self, part)
        return data.images if isinstance(data, Dataset) else self.features.get(part)


class Part(NamedTuple):
    """Examples and labels as they came, and what messages call each: the file, and the array in it."""

    x: NDArray[Any]
    y: NDArray[Any]
    x_what: str
    y_what: str


def load_data(path: str | os.PathLike[str]) -> Loaded:
    """Return the data in a file or a folder. Nothing in it is trusted, and nothing is unpickled.

    Three forms are read. Labels that are not 0 … K − 1 become these, in sorted order.

    - An .npz file with the arrays `x_train`, `y_train`, `x_test` and `y_test`. x are images, as `Dataset` takes them or
      (N, rows, cols, 1), or features (N, D), which are standardised on the training part. y are integers, bools or
      strings. `x_transfer` may hold examples without labels, and `class_names` K strings, in the sorted order of the
      labels.
    - A folder of IDX files, as `load_idx_folder` reads it.
    - A folder of PNG and JPEG files of one size, in one sub-folder per class, whose name is the label. `train` and
      `test` may each hold such sub-folders, and `transfer`, beside them, files without labels. Otherwise the last fifth
      of the pictures of each class is held out for the test.

    Examples keep their order, which the rows of a teacher's logits must have: the training part, then the transfer
    part, then the test part. The pictures of a part come folder by folder, in the order of the folders' names, and
    within a folder in the order of the files' names. Names are sorted as text, so "10" comes before "9". The pictures
    that are held out keep this order, and so does the rest.

    Args:
        path: of the file or folder.

    Raises:
        DataError: if something is missing, cannot be read or breaks a rule.
    """
    place = Path(path)
    if os.path.isdir(place):
        names = os.listdir(place) if os.access(place, os.R_OK | os.X_OK) else []
        if any(_IDX.fullmatch(name) for name in names):
            return load_idx(place)
        return _load_pictures(place)
    if not os.path.isfile(place):
        problem = "is not a file or a folder" if os.path.lexists(place) else "does not exist"
        raise DataError(f"{named(place)}: {problem}: {_FORMS}")
    if place.suffix.lower() != ".npz":
        raise DataError(f"{named(place)}: not an .npz file by its name: {_FORMS}")
    return _load_npz(place)


def load_idx(folder: str | os.PathLike[str]) -> Loaded:
    """Return the data in a folder of IDX files: as `load_idx_folder`, with the labels and what is to be said.

    Raises:
        DataError: as `load_idx_folder`.
    """
    train, test = (Part(*one) for one in read_idx_folder(folder))
    return _assembled(Path(folder).resolve().name, train, test)


def _load_npz(path: Path) -> Loaded:
    file = named(path)
    labels, _ = read_npz(path, ARRAYS, only=("y_train", "y_test"))
    classes = Classes.of(f"{file}: y_train", labels["y_train"])  # before the examples are read
    classes.numbers(f"{file}: y_test", labels["y_test"])
    found, unused = read_npz(path, ARRAYS, OPTIONAL)
    train, test = (
        Part(found[f"x_{one}"], found[f"y_{one}"], f"{file}: x_{one}", f"{file}: y_{one}") for one in ("train", "test")
    )
    transfer = (found["x_transfer"], f"{file}: x_transfer") if "x_transfer" in found else None
    loaded = _assembled(named(Path(path.stem)), train, test, transfer)
    if unused:
        loaded.said.insert(0, f"arrays in the file that are not used: {listed(unused)}")
    if "class_names" not in found:
        return loaded
    names, K = found["class_names"], len(loaded.labels)
    if names.dtype.kind != "U" or names.shape != (K,) or len(np.unique(names)) < K:
        got = f"{names.dtype} of shape {names.shape}"
        raise DataError(f"{named(path)}: class_names must be {K} different strings, one per class, got {got}: fix them")
    return loaded._replace(labels=names)


def _load_pictures(root: Path) -> Loaded:
    pictures, there = Pictures(root), {folder.name.lower(): folder for folder in folders(root)}
    if not there:
        raise DataError(f"{named(root)}: holds no IDX files and no sub-folders: {_FORMS}")
    if ("train" in there) != ("test" in there):
        one, other = ("train", "test") if "train" in there else ("test", "train")
        raise DataError(f"{named(root)}: there is a folder {one}, but none called {other}: add it, or rename it")
    said = []
    if "train" in there:
        for part in ("train", "test"):
            pictures.add_classes(part, there[part])
        if "transfer" in there:
            pictures.add_unlabelled("transfer", there["transfer"])
        if ignored := sorted(set(there) - {"train", "test", "transfer"}):
            said.append(f"folders beside train and test were left out: {listed(ignored)}")
    else:
        pictures.add_classes("train", root)
    what = {part: named(there.get(part, root)) for part in pictures.files}
    classes = Classes.of(what["train"], pictures.labels("train"))
    if "test" in what:  # all this before the pictures are read
        for label in np.setdiff1d(pictures.labels("test"), classes.labels).tolist():
            fix = f"add it to {what['train']}, or remove it"
            raise DataError(f"{named(there['test'] / str(label))}: the training set has no folder of this class: {fix}")
    if pictures.others:
        said.append(f"left out because they are not PNG or JPEG files by their names: {pictures.others:,}")
    x = pictures.read()
    train, *test = (Part(x[part], pictures.labels(part), what[part], what[part]) for part in x if part != "transfer")
    transfer = (x["transfer"], what["transfer"]) if "transfer" in x else None
    name = named(root.resolve()).rpartition(os.sep)[2]
    loaded = _assembled(name, train, test[0] if test else None, transfer)
    return loaded._replace(said=[*said, *loaded.said])


def _assembled(name: str, train: Part, test: Part | None, transfer: tuple[NDArray[Any], str] | None = None) -> Loaded:
    """Return data from their parts. Without a test part, some of the training part is held out.

    Args:
        name: of the data set.
        train: the training part.
        test: the test part, or None.
        transfer: examples without labels, and what messages call them, or None.

    Raises:
        DataError: if a part breaks a rule.
    """
    for part in (train, *([] if test is None else [test])):
        if part.x.ndim and part.y.ndim and len(part.x) != len(part.y):
            got = f"{len(part.x):,} examples and {len(part.y):,} labels"
            raise DataError(f"{part.y_what}: every example needs one label, got {got}: give as many of each")
    classes = Classes.of(train.y_what, train.y)
    y = {"train": classes.numbers(train.y_what, train.y)}
    if test is not None:
        y["test"] = classes.numbers(test.y_what, test.y)
    said = [remark] if (remark := classes.remark()) else []
    inputs, K = _inputs(train), len(classes.labels)
    learnt = inputs.dataset(train.x, y["train"], f"{name} train", K, train.x_what)
    if test is not None:
        tested = inputs.dataset(test.x, y["test"], f"{name} test", K, test.x_what)
    else:
        assert isinstance(learnt, Dataset)  # only pictures come without
        if len(learnt) == K:
            fix = "so none can be held out for the test: add pictures, or folders train and test"
            raise DataError(f"{train.x_what}: no class has 2 examples, {fix}")
        count = max(1, min(len(learnt) // _SHARE, len(learnt) - K))
        learnt, tested = held_out_split(learnt, count)
        held = "1 picture is" if count == 1 else f"{count:,} pictures are"
        said.append(f"there is no test folder, so {held} held out for it: the last of each class")
    absent = np.flatnonzero(np.bincount(tested.labels, minlength=K) == 0)
    if len(absent):
        them = "this class" if len(absent) == 1 else f"these {len(absent):,} of {K:,} classes"
        said.append(
            f"the test set has no example of {listed(classes.labels[absent])}, so the errors say nothing about {them}"
        )
    if inputs.mean is not None:
        said.append(f"features ({inputs.size:,}) are standardised by their means and deviations in the training set")
    more = None if transfer is None else inputs.dataset(transfer[0], None, f"{name} transfer", K, transfer[1])
    given = {"train": train.x, "test": test and test.x, "transfer": transfer and transfer[0]}
    features = {part: x for part, x in given.items() if x is not None} if inputs.mean is not None else {}
    return Loaded(learnt, tested, more, inputs, classes.labels, said, features)


def _inputs(train: Part) -> Inputs:
    """Return what a network reads of training examples, of which at least two differ."""
    x, what = train.x, train.x_what
    inputs = Inputs.of(x, what)
    if (x == x[:1]).all():
        raise DataError(f"{what}: all examples are alike, so nothing can be learnt: look at how they were made")
    if inputs.mean is None and x.dtype.kind == "f" and (x.min() < -OVERSHOOT or x.max() > 255):  # else `pixels` says it
        got = f"numbers in {x.min():.6g}..{x.max():.6g}"
        fix = "scale pixels into [0, 1], or reshape other features to (N, D)"
        raise DataError(f"{what}: examples with {x.ndim - 1} axes are taken for images, but got {got}: {fix}")
    return inputs
