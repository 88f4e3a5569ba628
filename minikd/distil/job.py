"""The job of `minikd distil`: from data and a teacher to a student in a run folder, with what came of it.

Beside the files that `minikd.training.runs` describes, the run folder holds:

    student.safetensors        the distilled student, with its inputs and labels
    answers-1.safetensors, …   what each teacher answered that is a model
    search.json                what a search found
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minikd.core.mlp import parameter_count
from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.load import load_data
from minikd.data.soft_targets import SoftTargets, soft_targets_from
from minikd.distil.api import EXTREME, Auto, chosen, few_threads
from minikd.distil.choices import Choice, settings, teacher_settings, without_labels
from minikd.distil.doubts import listed, renamed, strange_columns
from minikd.distil.reasons import reasons
from minikd.distil.report import ALONE, DISTILLED, TEACHER, Measured, idle, latencies, seen, summarise
from minikd.distil.search import Found, search
from minikd.distil.student import Student
from minikd.distil.teachers import MEANS, PARTS, Answers, OurNetwork, Part, ask, ensemble, open_teachers
from minikd.engines.device import get_device
from minikd.engines.machine import machine
from minikd.system.files import sha256
from minikd.training import checkpoint, runs
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import TrainingDiverged
from minikd.training.network import Network

STUDENT = "student.safetensors"
"""The distilled student in the run folder, with its inputs and labels."""
MANY = 200
"""With more parameters than this for each example, a smaller student may do as well."""


@dataclass(frozen=True)
class Request:
    """What a job is asked for. `minikd distil --help` says more about each.

    Args:
        data: an .npz file, or a folder, as `load_data` reads them.
        teacher: files, as `open_teachers` reads them. Without any, a larger network is trained.
        mean: how several teachers become one, as `ensemble` takes it.
        teacher_hidden: units of the teacher that is trained, or None for `WIDER` times the student's.
        teacher_epochs: passes of this teacher over the training part, or None for a number that suits its size.
        hidden: units of each hidden layer of the student.
        T: the temperature, or "auto".
        alpha: the weight of the soft targets, or "auto".
        search: whether to search for T and the learning rate.
        epochs: passes of a student, or None for a number that suits the size of the data.
        learning_rate: of a student, or None for the usual one.
        seed: of weights, order and dropout.
        device: where to train: "cpu" or "gpu".
        out: the folder of run folders and teachers.
        resume: whether to resume the latest run of these settings.
        export: the files that the student will be written to afterwards, for the record.
        quiet: whether to show no progress.
    """

    data: Path
    teacher: Sequence[Path]
    mean: str
    teacher_hidden: tuple[int, ...] | None
    teacher_epochs: int | None
    hidden: tuple[int, ...]
    T: float | Auto
    alpha: float | Auto
    search: bool
    epochs: int | None
    learning_rate: float | None
    seed: int
    device: str
    out: Path
    resume: bool
    export: Sequence[str]
    quiet: bool


class Distillation:
    """A job, from data and a teacher to a run folder. All that can be checked before training is checked.

    Args:
        request: what is asked for.
        warn: is called with each warning.
        say: is called with each line that the reader should see while the work goes on.

    Raises:
        DeviceError: if there is no usable GPU.
        ValueError: if anything else is wrong, in one line.
    """

    def __init__(self, request: Request, warn: Callable[[str], None], say: Callable[[str], None]) -> None:
        self.request, self.warn, self.say = request, warn, say
        self.remarks: list[str] = []  # on the data and on the teachers
        self.device = get_device(request.device)
        self.loaded = load_data(request.data)
        self._check_transfer()
        self.sources = open_teachers(request.teacher, self.loaded)
        self.read = [None if source.model else ask(source, self.loaded) for source in self.sources]

    def _check_transfer(self) -> None:
        """Refuse a weight for labels that transfer examples do not have."""
        alpha = self.request.alpha
        if self.loaded.transfer is not None and alpha not in ("auto", 1):
            rule = "alpha must be 1 with x_transfer, whose examples have no labels"
            raise ValueError(f"{rule}, got {alpha:g}: leave --alpha or x_transfer out")

    def _constant(self) -> list[int]:
        """Return the columns of features that vary in the test part only, and warn of them."""
        train, test = self.loaded.train, self.loaded.test
        if not (isinstance(train, Frames) and isinstance(test, Frames)):
            return []
        columns = strange_columns(train.frames, test.frames)
        if columns:
            does = f"of the features never var{'ies' if len(columns) == 1 else 'y'} in train, but in test"
            self.warn(f"{listed(columns)} {does}: nothing can be learnt of this in train, so leave such columns out")
        return columns

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What was asked for, in plain JSON types."""
        request = self.request
        parts = {part: data for part in PARTS if (data := getattr(self.loaded, part)) is not None}
        return {
            "data": {part: {"examples": len(data), "sha256": data.fingerprint} for part, data in parts.items()},
            "features": checkpoint.digest(self.loaded.features),  # in their own units, as a teacher sees them
            "teacher": [{"file": path.name, "sha256": sha256(path)} for path in request.teacher],
            **{name: getattr(request, name) for name in ("mean", "teacher_hidden", "teacher_epochs", "hidden", "T")},
            **{name: getattr(request, name) for name in ("alpha", "search", "epochs", "learning_rate", "seed")},
            "device": self.device.name,
        }

    @cached_property
    def folder(self) -> Path:
        """The run folder, made when it is first asked for."""
        request = self.request
        return runs.open_run(request.out, f"{request.data.resolve().stem}-{runs.key(self.asked)}", request.resume)

    def run(self) -> tuple[dict[str, Any], Student]:
        """Train or find the networks, and write the run folder.

        Returns:
            The results in plain JSON types, and the student.
        """
        runs.write_json(self.folder / "config.json", self.asked)
        self.metrics = runs.Metrics(self.folder / "metrics.jsonl")
        for line in self.loaded.said:
            self._remark(line)
        self.constant = self._constant()
        answers = self._teach()
        dataset, targets, config = self._choose(answers)
        self.config = config
        alone = self._obtain(ALONE, self._alone(config, len(dataset)), self.loaded.train)
        distilled = self._obtain(DISTILLED, config, dataset, targets)
        about = {
            "config": config.record(),
            "why": {name: choice.why for name, choice in self.choices.items()},
            "teacher": [one["file"] for one in self.asked["teacher"]] or "trained by minikd",
            "errors": distilled.history[-1]["errors"],
            "test examples": len(self.loaded.test),
        }
        student = Student(distilled, self.loaded.inputs, self.loaded.labels, about)
        student.save(self.folder / STUDENT)
        return self._results(targets, dataset, alone, student), student

    def _alone(self, config: TrainConfig, transfer: int) -> TrainConfig:
        """Return how the student alone is trained: as suits the training part, which may be smaller."""
        request, N = self.request, len(self.loaded.train)
        own = settings(np.zeros((N, 2)), request.hidden, T=1.0, alpha=0.0, seed=request.seed)
        own = replace(own, epochs=request.epochs or own.epochs, learning_rate=config.learning_rate)
        if transfer > N:
            each = ((own, N), (config, transfer))
            ways = [f"{size:,} examples for {one.epochs} epochs in batches of {one.batch_size}" for one, size in each]
            self._remark(f"the student alone learns from {ways[0]}, the distilled student from {ways[1]}")
        return own

    def _remark(self, text: str) -> None:
        self.remarks.append(sentence(text))
        self.say(self.remarks[-1])

    def _teach(self) -> list[Answers]:
        """Return the answers of each teacher, and warn of what is doubtful about them."""
        if not self.sources:
            return [self._own_teacher()]
        answers = []
        for number, read in enumerate(self.read):
            one = read or self._answers(number)
            answers.append(one)
            for line in one.said:
                self._remark(line)
            for doubt in one.doubts:
                self.warn(doubt)
        return answers

    def _answers(self, number: int) -> Answers:
        """Return what a teacher that is a model answers. The run folder keeps it, so a resumed run need not ask."""
        path = self.folder / f"answers-{number + 1}.safetensors"
        own = {"teacher": self.asked["teacher"][number]["sha256"]}
        of = own | {name: self.asked[name] for name in ("data", "features")}
        with suppress(checkpoint.CheckpointMissingError):
            arrays, record = checkpoint.load(path)
            if record.get("of") == of:
                return Answers(arrays, record["said"], record["doubts"])
        answers = ask(self.sources[number], self.loaded)
        checkpoint.save(path, answers.logits, {"of": of, "said": answers.said, "doubts": answers.doubts})
        return answers

    def _results(self, targets: SoftTargets, dataset: Part, alone: Network, student: Student) -> dict[str, Any]:
        """Return the results in plain JSON types, and write them."""
        test = self.loaded.test
        z, z_alone = (self._logits(network, test) for network in (student.network, alone))
        times = self._latencies(student.logits)
        size = student.network.flat.size, student.network.flat.nbytes  # of the student alone, too
        measured, measured_alone = Measured(z, *size, times), Measured(z_alone, *size)
        found = summarise(test.labels, measured, alone=measured_alone, teacher=self._measured_teacher())
        config, own = self.config, self._logits(student.network, dataset)
        v, labels = self.teacher.logits["train"], self.loaded.train.labels
        found |= {
            "idle": idle(found["gain"], self.choices["alpha"].value, v, labels),
            "constant": self.constant,
        }
        evidence = seen(
            found,
            config,
            targets.logits,
            labels=dataset.labels,
            z=own,
            columns=renamed(np.argmax(v, axis=-1), labels, self.loaded.labels),
            chosen_T=self.request.T == "auto" and not self.request.search,
        )
        results = {
            "asked": self.asked,
            "remarks": self.remarks,
            "choices": {name: choice._asdict() for name, choice in self.choices.items()},
            "config": config.record(),
            **found,
            "reasons": reasons(evidence) if evidence is not None else [],
            "files": {"student": str(self.folder / STUDENT), "export": self.request.export},
            "folder": str(self.folder),
            "machine": machine(self.device),
        }
        runs.write_json(self.folder / runs.RESULTS, results)
        return results

    def _measured_teacher(self) -> Measured | None:
        """Return what is known of the teacher, or None where nobody knows its answers for the test part."""
        v = self.teacher.logits.get("test")
        if v is None:
            return None
        if not all(source.model for source in self.sources):
            return Measured(v)
        counts = total([source.parameters for source in self.sources])
        times = self._latencies(lambda x: [source.answer(x) for source in self.sources])
        return Measured(v, counts, total([source.size for source in self.sources]), times)

    def _latencies(self, answer: Callable[[NDArray[Any]], object]) -> dict[int, float]:
        x = self.loaded.examples("test")
        assert x is not None
        return latencies(answer, x)

    def _logits(self, network: Network, data: Part) -> NDArray[np.floating]:
        return np.asarray(self.device.get(logits(network, data, self.device)))

    def _own_teacher(self) -> Answers:
        """Train a teacher, and return its answers."""
        request, train_set = self.request, self.loaded.train
        config = teacher_settings(
            len(train_set),
            request.hidden,
            images=isinstance(train_set, Dataset),
            hidden=request.teacher_hidden,
            epochs=request.teacher_epochs,
            seed=request.seed,
        )
        network = self._obtain(TEACHER, config, train_set)
        student = Student(network, self.loaded.inputs, self.loaded.labels)
        self.say(
            f"Without --teacher, a larger network with dropout, {sizes_of(network)}, was trained to be the teacher."
        )
        own = OurNetwork("the teacher", student, list(range(train_set.classes)), self.loaded)
        self.sources = [own]
        return ask(own, self.loaded)

    def _choose(self, answers: list[Answers]) -> tuple[Part, SoftTargets, TrainConfig]:
        """Return what the distilled student learns from, and how. Each choice is said with its reason."""
        request, loaded = self.request, self.loaded
        self.teacher = ensemble(answers)
        dataset, v = self._transfer_set()
        T, alpha = chosen(v, dataset.labels, request.hidden, loaded.inputs.size, request.T, request.alpha)
        if dataset.labels is None:
            alpha = alpha._replace(why=without_labels(len(loaded.train), len(dataset) - len(loaded.train)))
        if request.mean != MEANS[0]:
            self.teacher = ensemble(answers, request.mean, T.value)
            dataset, v = self._transfer_set()
        if len(answers) > 1:
            self._remark(self.teacher.said[-1])
        config = settings(v, request.hidden, T=T.value, alpha=alpha.value, seed=request.seed)
        rate = request.learning_rate or config.learning_rate
        config = replace(config, epochs=request.epochs or config.epochs, learning_rate=rate)
        self.choices = {"T": T, "alpha": alpha}
        for choice in self.choices.values():
            self.say(choice.why)
        parameters = parameter_count((loaded.inputs.size, *request.hidden, v.shape[1]))
        if parameters > MANY * len(dataset):
            few = f"a student of {parameters:,} parameters learns from {len(dataset):,} examples"
            self._remark(f"{few}: a smaller one, such as --hidden 30, may do as well")
        targets = soft_targets_from(v, dataset, self.teacher.T)
        if request.search:
            config = self._search(config, dataset, targets)
        return dataset, targets, config

    def _transfer_set(self) -> tuple[Part, NDArray[np.float32]]:
        """Return the examples that the distilled student learns from, and the teacher's logits for them."""
        train, transfer, v = self.loaded.train, self.loaded.transfer, self.teacher.logits
        if transfer is None or "transfer" not in v:
            return train, v["train"]
        return joined(train, transfer), np.concatenate([v["train"], v["transfer"]])

    def _search(self, config: TrainConfig, dataset: Part, targets: SoftTargets) -> TrainConfig:
        """Return the configuration with the T and the learning rate that do best on held-out examples.

        The run folder keeps them, so a resumed run need not search.
        """
        path, kept = self.folder / "search.json", dict[str, Any]()
        of = {"config": config.record(), "data": dataset.fingerprint, "teacher": targets.teacher}
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("of") != of:
            found = self._searched(config, dataset, targets)
            kept = {"of": of, "T": found.config.T, "learning_rate": found.config.learning_rate, "why": found.why}
            runs.write_json(path, kept)
        self.choices["search"] = Choice(kept["T"], kept["why"])
        self.say(kept["why"])
        return replace(config, T=kept["T"], learning_rate=kept["learning_rate"])

    def _searched(self, config: TrainConfig, dataset: Part, targets: SoftTargets) -> Found:
        with tqdm(desc="search", unit="step", leave=False, disable=True if self.request.quiet else None) as bar:

            def update(done: int, steps: int) -> None:
                bar.total = steps
                bar.update(done - bar.n)

            with few_threads(config, dataset):
                return search(config, dataset, targets, device=self.device, on_step=update)

    def _path(self, name: str, config: TrainConfig) -> Path:
        """Return where a network is kept: teachers for any run that wants the same, begun or finished."""
        if name != TEACHER:
            return self.folder / f"{name.replace(' ', '-')}.safetensors"
        sets = [self.asked["data"][part]["sha256"] for part in ("train", "test")]
        units = [self.asked["features"], self.loaded.labels.tolist()]  # its file says what it reads and answers
        key = runs.key([config.record(), *sets, *units, self.device.name])
        return self.request.out / "teachers" / f"{key}.safetensors"

    def _obtain(self, name: str, config: TrainConfig, dataset: Part, targets: SoftTargets | None = None) -> Network:
        """Return a network of this name, and keep it in the run folder."""
        try:
            with few_threads(config, dataset):
                network, _ = runs.obtain(
                    self._path(name, config),
                    config,
                    dataset,
                    self.loaded.test,
                    soft_targets=targets,
                    device=self.device,
                    resume=self.request.resume or name == TEACHER,
                    title=name,
                    quiet=self.request.quiet,
                    on_epoch=lambda network: self.metrics.set(config.seeds[0], name, network.history, finished=False),
                    inputs=self.loaded.inputs,
                    labels=self.loaded.labels,
                )
        except TrainingDiverged as error:
            own = name == TEACHER or self.request.learning_rate is None
            raise error.of(name, EXTREME if own else "lower --learning-rate") from None
        self.metrics.set(config.seeds[0], name, network.history)
        return network


def total(counts: list[int | None]) -> int | None:
    """Return the sum, or None where one of the numbers is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def sizes_of(network: Network) -> str:
    """Return the sizes of a network's layers in words."""
    return "-".join(map(str, network.sizes))


def joined(train: Part, transfer: Part) -> Part:
    """Return the examples of both parts as one transfer set, without labels."""
    if isinstance(train, Dataset) and isinstance(transfer, Dataset):
        images = freeze(np.concatenate([train.images, transfer.images]))
        return replace(train, images=images, labels=None, name="train and transfer")
    assert isinstance(train, Frames)
    assert isinstance(transfer, Frames)
    frames = freeze(np.concatenate([train.frames, transfer.frames]))
    starts = freeze(np.arange(len(frames)))
    return replace(train, frames=frames, starts=starts, labels=None, name="train and transfer")


def sentence(text: str) -> str:
    """Return a remark as a sentence. The names of files stay as they are.

    >>> sentence("labels 1 to 26 became classes 0 to 25"), sentence("v.npy: logits for train")
    ('Labels 1 to 26 became classes 0 to 25.', 'v.npy: logits for train.')
    """
    return f"{text if '.' in text.split()[0] else text[:1].upper() + text[1:]}."
