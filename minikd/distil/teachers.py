"""The teacher's logits for the user's data, whatever the teacher is: an array, an ONNX model, a network of minikd.

    sources = open_teachers(["logits.npy", "model.onnx"], loaded)  # all that can be checked without work is checked
    answers = [ask(source, loaded) for source in sources]
    teacher = ensemble(answers, "geometric")

N counts the examples of a part of the data (train, transfer or test), and K the classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.load import Loaded
from minikd.data.soft_targets import logits_from_probabilities
from minikd.distil.doubts import INCOMPLETE, doubts_of, incomplete, sums_to_1, whole_of
from minikd.distil.student import Student, load_student
from minikd.system.arrays import read_npy
from minikd.system.cli import reason
from minikd.theory.ensembles import arithmetic_mean, geometric_mean

Part: TypeAlias = Dataset | Frames
PARTS = ("train", "transfer", "test")
"""The order of rows in a file of logits."""
MEANS = ("geometric", "arithmetic")
SUFFIXES = (".npy", ".onnx", ".safetensors")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a teacher says of the parts of the data.

    Args:
        logits: by part: (N, K) float32, finite, in nats. A part that the teacher does not know is absent.
        said: remarks in words, such as how probabilities became logits.
        doubts: warnings in words.
        T: the only temperature at which the logits may be used, or None for every temperature.
    """

    logits: dict[str, NDArray[np.float32]]
    said: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    T: float | None = None


class Source(Protocol):
    """A teacher in a file, opened and checked."""

    @property
    def name(self) -> str:
        """The name of the file."""

    @property
    def said(self) -> list[str]:
        """What the reader should know of it."""

    @property
    def parameters(self) -> int | None:
        """How many it has, or None where nobody knows."""

    @property
    def size(self) -> int | None:
        """Return the bytes of its weights, or of its file if it holds little else; None where nobody knows."""

    @property
    def model(self) -> bool:
        """Whether it can be asked about any examples, and not only those that it has answered already."""

    def raw(self, part: str) -> NDArray[Any] | None:
        """Return its answers (N, K) for a part of the data, logits or probabilities; None where it has none."""

    def answer(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return its answers for examples as their maker knows them (`Loaded.examples`), if it is a model."""


# ---- files -----------------------------------------------------------------------------------------------------------


def open_teachers(paths: Sequence[str | os.PathLike[str]], loaded: Loaded) -> list[Source]:
    """Open the files of teachers, and check all that can be checked before work.

    Args:
        paths: `.npy`, `.onnx` or `.safetensors` files.
        loaded: the data that the teachers are asked about.

    Raises:
        ValueError: if one cannot be a teacher of these data. The message names the file.
    """
    return [_open(Path(path), loaded) for path in paths]


def _open(path: Path, loaded: Loaded) -> Source:
    if path.suffix not in SUFFIXES:
        fix = "save the logits with numpy.save, or the model as ONNX"
        raise DataError(f"a teacher is a file that ends in {', '.join(SUFFIXES)}, got {str(path)!r}: {fix}")
    try:
        if path.suffix == ".npy":
            return Rows.open(path, loaded)
        if path.suffix == ".onnx":
            from minikd.distil.onnx_teacher import OnnxTeacher

            return OnnxTeacher(path, loaded)
        return OurNetwork.open(path, loaded)
    except OSError as error:
        raise DataError(f"{reason(error)}: check the path of --teacher and its permissions") from None


@dataclass(frozen=True, eq=False)
class Rows:
    """Logits in a .npy file: one row per example, in the order of the data."""

    name: str
    parts: dict[str, NDArray[Any]]
    said: list[str]
    parameters: int | None = None
    size: int | None = None
    model: bool = False

    @classmethod
    def open(cls, path: Path, loaded: Loaded) -> Rows:
        """Read the rows: those of train, then of transfer if there is one, then of test. Later parts may lack.

        Raises:
            DataError: if the file is no array of numbers, or its shape fits no such sequence.
        """
        v, K = read_npy(path), loaded.train.classes
        sizes = {part: len(data) for part in PARTS if (data := getattr(loaded, part)) is not None}
        ends = np.cumsum(list(sizes.values())).tolist()
        ways = [f"{end:,} ({' + '.join(list(sizes)[: i + 1])})" for i, end in enumerate(ends)]
        if v.ndim == 1 or (v.ndim == 2 and v.shape[1] == 1 and K > 1):
            fix = "save the teacher's logits of all classes, not the class or one score"
            raise DataError(f"{path}: logits must be (N, {K}), got shape {v.shape}: {fix}")
        if v.ndim != 2 or v.shape[1] != K:
            rule = f"logits must have one column per class, (N, {K}), got shape {v.shape}"
            fix = "transpose them" if v.ndim == 2 and len(v) == K and v.shape[1] in ends else _order
            if v.ndim == 2 and len(v) in ends:
                rule += f": the teacher has {v.shape[1]} classes, the data {K}"
            raise DataError(f"{path}: {rule}: {fix}")
        if len(v) not in ends:
            rule = f"logits must have as many rows as the data, {' or '.join(ways)}"
            raise DataError(f"{path}: {rule}, got {len(v):,}: {_rows}")
        stops = [end for end in ends if end <= len(v)]
        parts = dict(zip(sizes, np.split(v, stops[:-1]), strict=False))
        absent = [part for part in sizes if part not in parts]
        without = f"; none for {' and '.join(absent)}" if absent else ""
        return cls(path.name, parts, [f"{path.name}: logits for {' and '.join(parts)}{without}"])

    def raw(self, part: str) -> NDArray[Any] | None:
        """Return the rows of a part, or None."""
        return self.parts.get(part)

    def answer(self, x: NDArray[Any]) -> NDArray[Any]:
        """Refuse: rows are all there is."""
        raise NotImplementedError("a file of logits answers nothing else")


_order = "give one column per class, in the order of the sorted labels"
_rows = "the rows must be those of train, then of transfer (if there is one), then of test; later parts may be left out"


@dataclass(frozen=True, eq=False)
class OurNetwork:
    """A network of minikd, in a file of `Student.save` or of `save_network`."""

    name: str
    student: Student
    columns: list[int]
    """Which of the network's classes is each of the data's."""
    loaded: Loaded
    model: bool = True

    @classmethod
    def open(cls, path: Path, loaded: Loaded) -> OurNetwork:
        """Read a network, and check that it fits the data.

        Raises:
            ValueError: if it does not fit, or the file is damaged.
        """
        student = load_student(path)
        shape, K = loaded.inputs.shape, loaded.train.classes
        if student.inputs.shape != shape:
            read = f"the network reads examples of shape {student.inputs.shape}, but those of the data have {shape}"
            raise DataError(f"{path}: {read}: use a teacher of such data")
        own, theirs = list(map(str, student.labels.tolist())), list(map(str, loaded.labels.tolist()))
        if len(own) != K:
            raise DataError(f"{path}: the network knows {len(own)} classes, but the data have {K}: use another teacher")
        if sorted(own) == sorted(theirs):
            columns = [own.index(label) for label in theirs]
        elif own == list(map(str, range(K))):  # such as one of `minikd mnist`, whose classes have no names
            columns = list(range(K))
        else:
            known = f"{', '.join(own[:4])}, …, but the data's are {', '.join(theirs[:4])}, …"
            raise DataError(f"{path}: the network's classes are {known}: use a teacher of such data")
        return cls(path.name, student, columns, loaded)

    @property
    def parameters(self) -> int:
        """The number of its parameters."""
        return self.student.network.flat.size

    @property
    def size(self) -> int:
        """The bytes of its parameters."""
        return self.student.network.flat.nbytes

    @property
    def said(self) -> list[str]:
        """Say the network's size."""
        return [f"{self.name}: a network of minikd, {'-'.join(map(str, self.student.network.sizes))}"]

    def raw(self, part: str) -> NDArray[Any] | None:
        """Return the network's logits for a part."""
        x = self.loaded.examples(part)
        return None if x is None else self.answer(x)

    def answer(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the network's logits."""
        z: NDArray[Any] = self.student.logits(x)[:, self.columns]
        return z


# ---- answers ---------------------------------------------------------------------------------------------------------


def ask(source: Source, loaded: Loaded) -> Answers:
    """Return a teacher's logits for all parts of the data that it knows, and what is doubtful about them.

    Raises:
        DataError: if they are not finite, or cannot be logits.
    """
    found, said = {}, list(source.said)
    for part in PARTS:
        v = source.raw(part)
        if v is not None:
            found[part] = v
    if whole := whole_of(list(found.values())):
        what = "percentages" if whole == 100 else f"counts of {whole:,.0f} votes"
        said.append(f"{source.name}: its rows are {what}, so they are divided by {whole:,.0f}")
        found = {part: v / whole for part, v in found.items()}
    kind = _kind(source.name, found)
    if kind == "probabilities":
        said.append(f"{source.name}: its rows are probabilities, so their logarithms are taken as logits")
        found = _logarithms(source.name, found)
    elif kind == "log-probabilities":
        said.append(f"{source.name}: its rows are log-probabilities, which serve as logits at every temperature")
    answers = Answers({part: v.astype(np.float32) for part, v in found.items()}, said)
    relative = np.concatenate([v - v.max(axis=1, keepdims=True) for v in answers.logits.values()])
    if len(relative) > 1 and np.ptp(relative, axis=0).max() <= 1e-6 * np.abs(relative).max():
        fix = "it has nothing to teach, so use another teacher, or leave --teacher out"
        raise DataError(
            f"{source.name}: a teacher must tell examples apart, but it says the same of every example: {fix}"
        )
    doubts = [INCOMPLETE] if kind == "logits" and incomplete(list(found.values())) else []
    for part in ("train", "test"):
        if part in answers.logits:
            doubts += doubts_of(answers.logits[part], getattr(loaded, part).labels, loaded.labels, part)
    return replace(answers, doubts=[f"{source.name}: {doubt}" for doubt in doubts])


def _kind(name: str, found: dict[str, NDArray[Any]]) -> str:
    """Return what the rows are: "logits", "probabilities" or "log-probabilities".

    Raises:
        DataError: if a number is not finite, also as float32.
    """
    for part, v in found.items():
        with np.errstate(over="ignore"):
            finite = np.isfinite(v.astype(np.float32))
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            fix = "raise log-probabilities to at least -30" if v[row, column] == -np.inf else "train the teacher again"
            raise DataError(f"{name}: logits must be finite, got {v[row, column]} in row {row} of {part}: {fix}")
    if all(v.min() >= 0 and v.max() <= 1 + 1e-6 and sums_to_1(v, 0.05) for v in found.values()):  # rounded ones too
        return "probabilities"
    log = all(v.max() <= 1e-6 and sums_to_1(np.exp(v.astype(np.float64)), 1e-3) for v in found.values())
    return "log-probabilities" if log else "logits"


def _logarithms(name: str, found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return logits for probabilities. A zero counts as half the smallest one above zero: half a vote of a forest.

    Raises:
        DataError: if they only say 0 and 1.
    """
    above = [p[p > 0] for p in found.values()]
    least = min(float(p.min()) for p in above)
    if least == 1:
        fix = "ask the teacher about examples that it was not trained on, such as out-of-bag ones"
        raise DataError(f"{name}: probabilities must say more than 0 and 1, which the labels say too: {fix}")
    zeros = any(not p.all() for p in found.values())
    voters = min(2**22, round(1 / least)) if zeros else None
    return {part: logits_from_probabilities(p, voters) for part, p in found.items()}


def ensemble(answers: Sequence[Answers], mean: str = "geometric", T: float | None = None) -> Answers:
    """Return the answers of several teachers as those of one (Hinton et al. 2015, E8).

    Args:
        answers: of each teacher. A part counts only if all of them know it.
        mean: "geometric", which serves every temperature, or "arithmetic", which fixes it.
        T: the temperature for an arithmetic mean.

    Raises:
        ValueError: if the mean is neither, or an arithmetic one has no temperature.
    """
    if mean not in MEANS:
        raise ValueError(f"mean must be {' or '.join(MEANS)}, got {mean!r}: choose one")
    said, found = ([line for one in answers for line in getattr(one, name)] for name in ("said", "doubts"))
    if len(answers) == 1:
        return answers[0]
    if mean == "geometric":
        T = None
    elif T is None:
        raise ValueError("an arithmetic mean holds at one temperature: give T")
    together = {}
    for part in PARTS:
        if all(part in one.logits for one in answers):
            members = np.stack([one.logits[part] for one in answers])  # (M, N, K)
            together[part] = geometric_mean(members) if T is None else arithmetic_mean(members, T)
    return Answers(together, [*said, f"the {mean} mean of {len(answers)} teachers teaches"], found, T)
