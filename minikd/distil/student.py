"""A student that can be taken away: a network, what it reads, and what its answers are called.

You give it images or features as you have them, and it answers with your own labels. Its file is a safetensors file, so
reading a stranger's student runs none of the stranger's code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.core.mlp import mlp_forward
from minikd.core.softmax import softmax
from minikd.data.checks import describe, freeze
from minikd.data.classes import listed
from minikd.data.inputs import Inputs
from minikd.training import checkpoint
from minikd.training.checkpoint import CheckpointError
from minikd.training.network import Network
from minikd.training.runs import label_record

BATCH = 1000
"""Examples that pass through the network at a time."""
LONGEST = 200
"""Characters in a label. NumPy gives every label of an array the room of the longest, so a file must not name one."""
_ANOTHER = "use another copy, or distil again"
_SAY = "use student.safetensors of its run folder, or pass inputs, such as Inputs((28, 28)), to load_student"


@dataclass(frozen=True, eq=False)
class Student:
    """A trained network with everything that is needed to use it.

    Args:
        network: a single network, not a population.
        inputs: how examples become what the network reads.
        labels: (K,) your own label of each class: all numbers, all booleans or all text of up to 200 characters, and no
            two alike.
        about: how the student came to be, in plain JSON types: T, alpha, the teacher, accuracies.

    Raises:
        ValueError: if these do not fit together.

    >>> network = Network((2, 2), np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]))  # W = I, b = 0
    >>> student = Student(network, Inputs.of(np.array([[1.0, 10.0], [3.0, 30.0]])), np.array(["cat", "dog"]))
    >>> student.predict(np.array([[3, 10], [2, 25]])).tolist()
    ['cat', 'dog']
    """

    network: Network
    inputs: Inputs
    labels: NDArray[Any]
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.check_single("a student is")
        D, K = self.network.sizes[0], self.network.sizes[-1]
        if self.inputs.size != D:
            raise ValueError(
                f"the network reads {D} numbers, but examples of shape {self.inputs.shape} have {self.inputs.size}: "
                "give the inputs that it was trained with"
            )
        object.__setattr__(self, "labels", label_array(self.labels, K))

    def __repr__(self) -> str:
        """Return one line: the network's sizes, what an example is, and the labels, of which at most five are told."""
        kind = "images" if self.inputs.mean is None else "features"
        return f"Student({self.network!r}, {kind} of shape {self.inputs.shape}, labels {listed(self.labels.tolist())})"

    def logits(self, x: ArrayLike) -> NDArray[Any]:
        """Return the logits of examples, computed on the CPU in the network's dtype, 1,000 examples at a time.

        Args:
            x: (N, …) examples as they were learnt from, at least one: features in their own units, or images, either
                integers in 0 … 255 or floats in [0, 1].

        Returns:
            (N, K) in nats.

        Raises:
            DataError: if there are none, or they have another shape, or values that cannot be used.
        """
        rows = self.inputs.rows(np.asarray(x), self.network.flat.dtype.name)  # (N, D)
        layers = self.network.layers()
        parts = [mlp_forward(rows[start : start + BATCH], layers)[0] for start in range(0, len(rows), BATCH)]
        return np.concatenate(parts)

    def predict_proba(self, x: ArrayLike) -> NDArray[Any]:
        """Return the probability of each class, at T = 1: the temperature is only for training.

        Args:
            x: as `logits` takes it.

        Returns:
            (N, K); each row sums to 1, and its columns are in the order of `labels`.
        """
        return np.asarray(softmax(self.logits(x)))

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """Return the label of the most likely class of each example, (N,).

        Args:
            x: as `logits` takes it.
        """
        answer: NDArray[Any] = self.labels[np.argmax(self.logits(x), axis=-1)]
        return answer

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the student as one safetensors file, which `load_student` reads.

        The file holds the weights W1 (D, H), b1 (H,), W2, …; for features also `mean` and `scale`, (D,) each, and for
        images the `scale` 255. Its record holds the shape of an example, how its pixels are written, the labels and
        `about`.

        Args:
            path: the file. Missing folders are made.

        Raises:
            CheckpointError: if the file cannot be written.
        """
        record = {
            "student": 1,
            "sizes": self.network.sizes,
            "dtype": self.network.flat.dtype.name,
            **self.inputs.record(),
            **label_record(self.labels),
            "about": self.about,
        }
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        checkpoint.save(path, {**self.network.arrays(), **self.inputs.arrays()}, record)


def label_array(labels: ArrayLike, classes: int) -> NDArray[Any]:
    """Return one label per class as an array that nobody can change.

    Args:
        labels: (K,) all numbers, all booleans or all text.
        classes: K.

    Raises:
        ValueError: if these are not K different labels of one kind, or text is too long.

    >>> label_array(np.array(["cat", "dog"], dtype=object), 2).dtype.kind
    'U'
    """
    array = np.asarray(labels)
    if array.dtype.kind == "O":  # pandas and csv give text as objects
        items = array.ravel().tolist()
        if all(isinstance(one, str) for one in items) or all(type(one) is int for one in items):
            array = np.array(items).reshape(array.shape)
    if array.shape != (classes,) or array.dtype.kind not in "biufU":
        raise ValueError(f"labels must be {classes} numbers or {classes} texts, one per class, got {describe(array)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            f"labels must be finite, got {array.tolist()}: fill the gaps in y, or leave these examples out"
        )
    if array.dtype.kind == "U" and array.dtype.itemsize > 4 * LONGEST:
        raise ValueError(f"a label has at most {LONGEST} characters, got {array.dtype.itemsize // 4}: shorten it")
    if len(np.unique(array)) < classes:
        raise ValueError(f"labels must differ from one another, got {array.tolist()}: name each class once")
    return freeze(array.copy())


def load_student(path: str | os.PathLike[str], inputs: Inputs | None = None) -> Student:
    """Return a student that `Student.save` wrote, or a network that `save_network` wrote as a student.

    The networks in run folders say what they read. Those of `minikd mnist` have no labels, so their classes are called
    0 to K − 1. Nothing is guessed: a file that does not say what its network reads is refused.

    Args:
        path: the file.
        inputs: what the network reads, for a file that does not say so. Otherwise the file counts.

    Raises:
        CheckpointError: if the file is missing, damaged, of another kind, or does not say what the network reads.
    """
    arrays, record = checkpoint.load(path)
    try:
        own = record.get("student") == 1
        network = Network.from_arrays(arrays, [] if own else record["history"])
        dtype = record["dtype"] if own else record["config"]["dtype"]
        if list(network.sizes) != record["sizes"] or network.flat.dtype != dtype or dtype not in ("float32", "float64"):
            raise ValueError("its weights are not those that its record describes")
        if not np.isfinite(network.flat).all():
            raise ValueError("its weights are not finite")
        described = inputs
        if own or "shape" in record:
            described = Inputs.from_file(_shape(record["shape"]), arrays, record.get("pixels", "bytes"))
        if described is None:
            wrong = f"it does not say what its {network.sizes[0]} inputs are"
            raise CheckpointError(path, wrong, _SAY)
        _check_inputs(described)
        labels = _labels_of(record) if own or "labels" in record else np.arange(network.sizes[-1])
        about = record["about"] if own else {"config": record["config"]}
        if not isinstance(about, dict):
            raise ValueError("what it says about itself is not an object")
        return Student(network, described, labels, about)
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        why = f"missing {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(path, f"it does not hold a student that can be used ({why})", _ANOTHER) from None


def _shape(given: Any) -> list[int]:
    """Return the shape of an example, or refuse what is none."""
    if not isinstance(given, list) or not given or not all(type(side) is int and side > 0 for side in given):
        raise ValueError(f"the shape of an example is {given!r}")
    return given


def _check_inputs(inputs: Inputs) -> None:
    """Refuse inputs that no examples have: rules that `Inputs.of` keeps, but a file may break."""
    mean, scale = inputs.mean, inputs.scale
    if inputs.pixels not in ("bytes", "floats"):
        raise ValueError(f"pixels are bytes or floats, not {inputs.pixels!r}")
    if mean is None and scale is None:
        if len(inputs.shape) not in (2, 3):
            raise ValueError(f"the shape {inputs.shape} is not that of an image, and there is no mean of features")
        return
    for array in (mean, scale):
        if array is None or array.shape != inputs.shape or array.ndim != 1 or array.dtype != np.float64:
            raise ValueError("mean and scale must be (D,) float64 each")
        if not np.isfinite(array).all():
            raise ValueError("mean and scale must be finite")
    if scale is not None and not (scale > 0).all():
        raise ValueError("the scale must be > 0")


def _labels_of(record: dict[str, Any]) -> NDArray[Any]:
    """Return the labels that a record holds. Text gets no dtype from the file, which could claim any length."""
    kind = np.dtype(record["label_dtype"]).kind
    given = record["labels"]
    if not isinstance(given, list) or not all(isinstance(one, str) == (kind == "U") for one in given):
        raise ValueError("its labels are not of the kind that it says")
    if kind == "U":
        if any(len(one) > LONGEST for one in given):
            raise ValueError(f"a label has more than {LONGEST} characters")
        return np.array(given)
    if kind not in "biuf":
        raise ValueError(f"labels of dtype {record['label_dtype']!r}")
    return np.array(given, record["label_dtype"])
