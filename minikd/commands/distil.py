"""Distil your own: a small network learns your data from a large teacher, and leaves for wherever you need it.

DATA is an .npz file with the arrays x_train, y_train, x_test and y_test, and x_transfer if you have examples without
labels; or a folder with the four IDX files; or a folder with one sub-folder of PNG or JPEG files per class. Examples
are features (N, D), or images (N, rows, columns) or (N, rows, columns, 3). If the teacher answers x_transfer, the
student learns from the examples of x_train and x_transfer by the teacher's answers only: alpha is 1, because one alpha
holds for all examples, and y_train is not used.

The teacher is what you have: its logits in a .npy file, one row per example, in the order of the data: the rows of
train, then those of x_transfer (if there is one), then those of test; later parts may be left out. In a folder of
pictures, the rows come by class folder, then by file name, both sorted; without a folder test, the last fifth of each
class is the test part. Or the teacher is an ONNX model, or a network of minikd. Several files are an ensemble. Without
--teacher the command trains a larger network first.

examples:
  minikd distil data.npz                              train a teacher, and distil it
  minikd distil data.npz --teacher logits.npy         distil your own teacher
  minikd distil data.npz --teacher a.onnx b.onnx      distil an ensemble
  minikd distil photos/ --hidden 30,30 --search       a tiny student, with T and learning rate searched for
  minikd distil data.npz --export student.onnx student.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from minikd.commands.work import ending_in_one_line, place
from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.load import load_data
from minikd.data.soft_targets import SoftTargets, soft_targets_from
from minikd.distil.api import Auto, chosen
from minikd.distil.choices import Choice, settings, without_labels
from minikd.distil.leave import check_export_path, export_student
from minikd.distil.onnx_model import read_by_onnx
from minikd.distil.reasons import reasons
from minikd.distil.report import ALONE, DISTILLED, TEACHER, Measured, latencies, seen, summarise, words
from minikd.distil.search import search
from minikd.distil.student import Student
from minikd.distil.teachers import MEANS, PARTS, Answers, OurNetwork, Part, ask, ensemble, open_teachers, raw_inputs
from minikd.engines.device import get_device
from minikd.engines.machine import machine
from minikd.system.cli import Parser, numbers, reason
from minikd.system.console import fit
from minikd.system.files import check_writable
from minikd.training import runs
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.network import Network

WIDER = 2
"""The teacher that the command trains is this many times as wide as the student."""
STUDENT = "student.safetensors"
"""The distilled student in the run folder, with its inputs and labels."""


def number_or_auto(text: str) -> float | Auto:
    """Return a number, or "auto"."""
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or auto, got {text!r}") from None


def build_parser() -> Parser:
    """Return the options."""
    parser = Parser("distil", __doc__)
    parser.add_argument("data", type=place, metavar="DATA", help="an .npz file, or a folder: see above")
    add = parser.add_argument_group("the teacher").add_argument
    about = ".npy (logits or probabilities), .onnx or .safetensors; several are an ensemble"
    add("--teacher", type=place, nargs="+", default=[], metavar="FILE", help=about)
    about = "of an ensemble: the mean of logits, or of probabilities, which holds at one T [geometric]"
    add("--mean", choices=MEANS, default=MEANS[0], help=about)
    about = f"units of the teacher that the command trains [{WIDER} times the student's]"
    add("--teacher-hidden", type=numbers(int), metavar="H,H", help=about)
    add("--teacher-epochs", type=int, metavar="N", help="passes of this teacher over the training part [by its size]")

    add = parser.add_argument_group("the student").add_argument
    add("--hidden", type=numbers(int), default=(300, 300), metavar="H,H", help="units of each hidden layer [300,300]")
    about = "the temperature, > 0, or auto: by the teacher's logits and the student's width [auto]"
    add("--T", type=number_or_auto, default="auto", metavar="T", help=about)
    about = "the weight of the soft targets, > 0 to 1, or auto; the labels get the rest [auto]"
    add("--alpha", type=number_or_auto, default="auto", metavar="A", help=about)
    add("--search", action="store_true", help="search for T and the learning rate on held-out training examples")
    add("--epochs", type=int, metavar="N", help="passes over the training part [by its size]")
    add("--learning-rate", type=float, metavar="R", help="the peak of the learning rate [by the size of the data]")
    add("--seed", type=int, default=0, metavar="S", help="of weights, order and dropout [0]")
    add("--gpu", action="store_true", help="train on the GPU with CuPy")

    add = parser.add_argument_group("results").add_argument
    add("--out", type=place, default=Path("runs"), metavar="DIR", help="where run folders and teachers are kept [runs]")
    add("--resume", action="store_true", help="resume the latest run with these settings in --out")
    about = "write the distilled student there: .onnx, .py (needs only NumPy) or .safetensors"
    add("--export", nargs="+", default=[], metavar="FILE", help=about)
    add("--json", action="store_true", help="print the results as JSON, not in words")
    add("--quiet", action="store_true", help="show no progress bars")
    return parser


class Distillation:
    """The job that the command line asks for. All that can be checked before training is checked.

    Args:
        args: of `build_parser`.
        warn: is called with each warning.
        say: is called with each line that the reader should see while the work goes on.

    Raises:
        DeviceError: if there is no usable GPU.
        ValueError: if anything else is wrong, in one line.
    """

    def __init__(self, args: argparse.Namespace, warn: Callable[[str], None], say: Callable[[str], None]) -> None:
        self.args, self.warn, self.say = args, warn, say
        self._check_options()
        self.device = get_device("gpu" if args.gpu else "cpu")
        self.loaded = load_data(args.data)
        self._check_transfer()
        self.sources = open_teachers(args.teacher, self.loaded)
        self.read = [None if source.model else ask(source, self.loaded) for source in self.sources]

    def _check_options(self) -> None:
        """Refuse options that are out of range or do not go together."""
        args = self.args
        if args.alpha != "auto" and not 0 < args.alpha <= 1:
            alone = "" if args.alpha else ": without soft targets the distilled student is the student alone"
            raise ValueError(f"alpha must be > 0 and at most 1, got {args.alpha:g}{alone}")
        names = ("epochs", "learning_rate", "T", "alpha", "seed")
        given = {name: value for name in names if (value := getattr(args, name)) not in (None, "auto")}
        TrainConfig(hidden=args.hidden, **given)
        own = {"--teacher-hidden": args.teacher_hidden, "--teacher-epochs": args.teacher_epochs}
        TrainConfig(
            hidden=args.teacher_hidden or (1,), epochs=1 if args.teacher_epochs is None else args.teacher_epochs
        )
        for option, value in own.items():
            if value is not None and args.teacher:
                raise ValueError(f"{option} is for a teacher that the command trains: leave it or --teacher out")
        if args.mean != MEANS[0] and len(args.teacher) < 2:
            raise ValueError(f"--mean {args.mean} is for several teachers, got {len(args.teacher)}: leave it out")
        if args.search and (args.T != "auto" or args.learning_rate is not None):
            raise ValueError("--search looks for T and the learning rate: leave --T and --learning-rate out")
        check_exports(args.export, [*args.teacher, args.data])

    def _check_transfer(self) -> None:
        """Refuse a weight for labels that transfer examples do not have."""
        alpha = self.args.alpha
        if self.loaded.transfer is not None and alpha not in ("auto", 1):
            rule = "alpha must be 1 with x_transfer, whose examples have no labels"
            raise ValueError(f"{rule}, got {alpha:g}: leave --alpha or x_transfer out")

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What was asked for, in plain JSON types."""
        args = self.args
        parts = {part: data for part in PARTS if (data := getattr(self.loaded, part)) is not None}
        return {
            "data": {part: {"examples": len(data), "sha256": data.fingerprint} for part, data in parts.items()},
            "teacher": [{"file": path.name, "sha256": file_sha256(path)} for path in args.teacher],
            **{name: getattr(args, name) for name in ("mean", "teacher_hidden", "teacher_epochs", "hidden", "T")},
            **{name: getattr(args, name) for name in ("alpha", "search", "epochs", "learning_rate", "seed")},
            "device": self.device.name,
        }

    @cached_property
    def folder(self) -> Path:
        """The run folder, made when it is first asked for."""
        return runs.open_run(self.args.out, f"{self.args.data.resolve().stem}-{runs.key(self.asked)}", self.args.resume)

    def run(self) -> tuple[dict[str, Any], Student]:
        """Train or find the networks, and write the run folder.

        Returns:
            The results in plain JSON types, and the student.
        """
        runs.write_json(self.folder / "config.json", self.asked)
        self.metrics = runs.Metrics(self.folder / "metrics.jsonl")
        for line in self.loaded.said:
            self.say(sentence(line))
        answers = self._teach()
        dataset, targets, config = self._choose(answers)
        self.config = config
        batch_size = min(config.batch_size, len(self.loaded.train))  # there may be many more transfer examples
        alone_config = replace(config, alpha=0.0, T=1.0, batch_size=batch_size)
        alone = self._obtain(ALONE, alone_config, self.loaded.train)
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

    def _teach(self) -> list[Answers]:
        """Return the answers of each teacher, and warn of what is doubtful about them."""
        if not self.sources:
            return [self._own_teacher()]
        answers = []
        for source, read in zip(self.sources, self.read, strict=True):
            one = read or ask(source, self.loaded)
            answers.append(one)
            for line in one.said:
                self.say(sentence(line))
            for doubt in one.doubts:
                self.warn(doubt)
        return answers

    def _results(self, targets: SoftTargets, dataset: Part, alone: Network, student: Student) -> dict[str, Any]:
        """Return the results in plain JSON types, and write them."""
        test = self.loaded.test
        z, z_alone = (self._logits(network, test) for network in (student.network, alone))
        times = latencies(lambda data: student.logits(raw_inputs(data, self.loaded)), test)
        size = student.network.flat.size, student.network.flat.nbytes  # of the student alone, too
        measured, measured_alone = Measured(z, *size, times), Measured(z_alone, *size)
        found = summarise(test.labels, measured, alone=measured_alone, teacher=self._measured_teacher())
        config, own = self.config, self._logits(student.network, dataset)
        evidence = seen(found, config, targets.logits, labels=dataset.labels, z=own)
        results = {
            "asked": self.asked,
            "choices": {name: choice._asdict() for name, choice in self.choices.items()},
            "config": config.record(),
            **found,
            "reasons": reasons(evidence) if evidence is not None else [],
            "files": {"student": str(self.folder / STUDENT), "export": self.args.export},
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
        times = latencies(lambda data: [source.answer(data) for source in self.sources], self.loaded.test)
        return Measured(v, counts, total([source.size for source in self.sources]), times)

    def _logits(self, network: Network, data: Part) -> NDArray[np.floating]:
        return np.asarray(self.device.get(logits(network, data, self.device)))

    def _own_teacher(self) -> Answers:
        """Train a teacher that is wider than the student, with dropout, and return its answers."""
        args, train_set = self.args, self.loaded.train
        hidden = args.teacher_hidden or tuple(WIDER * units for units in args.hidden)
        blank = np.zeros((len(train_set), train_set.classes))
        config = settings(blank, hidden, T=1.0, alpha=0.0, seed=args.seed)
        epochs = args.teacher_epochs or config.epochs
        config = replace(
            config, epochs=epochs, drop_hidden=0.4, drop_input=0.1 if isinstance(train_set, Dataset) else 0
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
        args, loaded = self.args, self.loaded
        self.teacher = ensemble(answers)
        dataset, v = self._transfer_set()
        T, alpha = chosen(v, dataset.labels, args.hidden, loaded.inputs.size, args.T, args.alpha)
        if dataset.labels is None:
            alpha = alpha._replace(why=without_labels(len(loaded.train), len(dataset) - len(loaded.train)))
        if args.mean != MEANS[0]:
            self.teacher = ensemble(answers, args.mean, T.value)
            dataset, v = self._transfer_set()
        if len(answers) > 1:
            self.say(sentence(self.teacher.said[-1]))
        config = settings(v, args.hidden, T=T.value, alpha=alpha.value, seed=args.seed)
        given = {"epochs": args.epochs, "learning_rate": args.learning_rate}
        config = replace(config, **{name: value for name, value in given.items() if value is not None})
        self.choices = {"T": T, "alpha": alpha}
        for choice in self.choices.values():
            self.say(choice.why)
        targets = soft_targets_from(v, dataset, self.teacher.T)
        if args.search:
            config = self._search(config, dataset, targets)
        return dataset, targets, config

    def _transfer_set(self) -> tuple[Part, NDArray[np.float32]]:
        """Return the examples that the distilled student learns from, and the teacher's logits for them."""
        train, transfer, v = self.loaded.train, self.loaded.transfer, self.teacher.logits
        if transfer is None or "transfer" not in v:
            return train, v["train"]
        return joined(train, transfer), np.concatenate([v["train"], v["transfer"]])

    def _search(self, config: TrainConfig, dataset: Part, targets: SoftTargets) -> TrainConfig:
        """Return the configuration with the T and the learning rate that do best on held-out examples."""
        with tqdm(desc="search", unit="step", leave=False, disable=True if self.args.quiet else None) as bar:

            def update(done: int, steps: int) -> None:
                bar.total = steps
                bar.update(done - bar.n)

            found = search(config, dataset, targets, device=self.device, on_step=update)
        assert isinstance(found.config.T, float)
        self.choices["search"] = Choice(found.config.T, found.why)
        self.say(found.why)
        return found.config

    def _path(self, name: str, config: TrainConfig) -> Path:
        """Return where a network is kept: teachers for any run that wants the same, begun or finished."""
        if name != TEACHER:
            return self.folder / f"{name.replace(' ', '-')}.safetensors"
        sets = [self.asked["data"][part]["sha256"] for part in ("train", "test")]
        return Path(self.args.out / "teachers" / f"{runs.key([config.record(), *sets, self.device.name])}.safetensors")

    def _obtain(self, name: str, config: TrainConfig, dataset: Part, targets: SoftTargets | None = None) -> Network:
        """Return a network of this name, and keep it in the run folder."""
        network, _ = runs.obtain(
            self._path(name, config),
            config,
            dataset,
            self.loaded.test,
            soft_targets=targets,
            device=self.device,
            resume=self.args.resume or name == TEACHER,
            title=name,
            quiet=self.args.quiet,
            on_epoch=lambda network: self.metrics.set(config.seeds[0], name, network.history),
        )
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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def check_exports(files: Sequence[str], inputs: Sequence[Path]) -> None:
    """Check before long work that `leave` can write each file, and that none of them is overwritten or read.

    >>> check_exports(["a.py", "./a.py"], [])
    Traceback (most recent call last):
    ValueError: --export must name each file once, got './a.py' again: leave it out, or choose another path
    """
    read, written = {path.resolve() for path in inputs}, set[Path]()
    for file in files:
        target = Path(file).resolve()
        if target in read:
            raise ValueError(f"--export must not overwrite what the command reads, got {file!r}: choose another path")
        if target in written:
            again = f"--export must name each file once, got {file!r} again"
            raise ValueError(f"{again}: leave it out, or choose another path")
        written.add(target)
        if Path(file).suffix == ".safetensors":
            check_writable(file)
        elif Path(file).suffix in (".onnx", ".py"):
            check_export_path(file)
        else:
            rule = "--export takes FILE.onnx, FILE.py or FILE.safetensors"
            raise ValueError(f"{rule}, got {file!r}: choose one of these endings")


def leave(student: Student, file: str) -> None:
    """Write a student in the form that the ending of the file names."""
    if Path(file).suffix == ".safetensors":
        student.save(file)
    else:
        export_student(student, file)


def wrapped(text: str) -> str:
    """Return a text with its long lines broken, as the standard output can show it."""
    lines = [textwrap.fill(line, 120, subsequent_indent="    " if line[:1] == " " else "") for line in text.split("\n")]
    return fit("\n".join(lines))


def sentence(text: str) -> str:
    """Return a remark as a sentence. The names of files stay as they are.

    >>> sentence("labels 1 to 26 became classes 0 to 25"), sentence("v.npy: logits for train")
    ('Labels 1 to 26 became classes 0 to 25.', 'v.npy: logits for train.')
    """
    return f"{text if '.' in text.split()[0] else text[:1].upper() + text[1:]}."


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check everything that can be checked, then train, print the results in words, and export the student."""
    parser = build_parser()
    args = parser.parse_args(argv)

    def say(line: str) -> None:
        if not args.json:
            print(wrapped(line), flush=True)

    with ending_in_one_line(parser):
        job = Distillation(args, parser.remark, say)
        results, student = job.run()
    if args.json:
        print(json.dumps(results, indent=1), flush=True)
    else:
        print(
            wrapped(f"\n{words(results, results['reasons'])}\nThe student: {results['files']['student']}"), flush=True
        )
    for file in args.export:
        try:
            leave(student, file)
            if file.endswith(".onnx"):
                say(f"{file} reads {read_by_onnx(student.inputs)}")
        except Exception as error:
            again = f"python -m minikd.export {results['files']['student']} {file}"
            parser.fail(f"the student is not exported ({reason(error)}); it is kept: {again}", code=1)
