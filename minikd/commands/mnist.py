"""Knowledge distillation on MNIST (Hinton, Vinyals & Dean 2015). The command trains three networks: a large teacher; a
small student alone, on the labels; and the same student distilled. The distilled student begins with the same weights
and sees the same examples in the same order, but it also learns from the teacher's probabilities, which a temperature T
softens.

examples:
  python -m minikd.mnist --T 8                 the three networks, quickly: about three minutes on two cores
  python -m minikd.mnist --T 8 --seeds 5       five times: mean and standard deviation, paired by seed
  python -m minikd.mnist --hidden 30,30 --T 3  30 units per layer: the paper found T from 2.5 to 4 best
  python -m minikd.mnist --T 20 --alpha 1      only soft targets: the student sees no label
  python -m minikd.mnist --held-out 10000      choose settings on training images, and leave the test set alone
  python -m minikd.mnist --export student.onnx take the student away, for any ONNX runtime
  python -m minikd.mnist --preset paper --gpu  the paper's teacher at full length

If --out already holds a teacher with the same settings and data, the command uses it again. So trying several
temperatures only costs the students. To resume a run that was stopped, repeat the command with --resume.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from minikd.commands.report import ALONE, DISTILLED, NETWORKS, TEACHER, draw, summarise, table
from minikd.commands.work import ending_in_one_line, place
from minikd.data.images import Dataset, held_out_split, load_mnist
from minikd.data.inputs import Inputs
from minikd.data.load import load_idx
from minikd.data.soft_targets import SoftTargets
from minikd.distil.onnx_model import check_onnx_path, to_onnx
from minikd.engines.device import get_device
from minikd.engines.machine import machine
from minikd.system.cli import Parser, numbers, reason
from minikd.system.console import fit
from minikd.training import runs
from minikd.training.config import TrainConfig
from minikd.training.loop import TrainingDiverged
from minikd.training.network import Network
from minikd.training.teacher import soft_targets

# ---- the settings of the networks ------------------------------------------------------------------------------------


def _preset(teacher: TrainConfig, student: TrainConfig) -> dict[str, TrainConfig]:
    """Return the configurations of the three networks, given those of the teacher and of the distilled student."""
    return {TEACHER: teacher, ALONE: replace(student, alpha=0.0, T=1.0), DISTILLED: student}


PRESETS = {
    "quick": _preset(
        TrainConfig(hidden=(800, 800), epochs=30, batch_size=512, learning_rate=0.3, clip_norm=None, jitter=2),
        TrainConfig(hidden=(800, 800), epochs=6, T=8.0, alpha=0.9),
    ),
    "paper": _preset(
        TrainConfig(
            hidden=(1200, 1200),
            epochs=500,
            batch_size=256,
            learning_rate=0.1,
            clip_norm=None,  # clipped, it would cost its students about twenty errors (PAPER.md)
            drop_input=0.1,
            drop_hidden=0.4,
            max_norm=15**0.5,
            jitter=2,
        ),
        TrainConfig(hidden=(800, 800), epochs=60, T=20.0, alpha=0.9),
    ),
}
"""The settings of the networks, unless the command line changes them."""


def norm(text: str) -> float | None:
    """Return an L2 norm, or None for "none", which is no limit."""
    return None if text.lower() == "none" else float(text)


Setting: TypeAlias = tuple[Callable[[str], Any], str, str]
"""How the value of an option is read, what stands for it in the help, and what the help says."""
_SIZE_AND_STEPS: dict[str, Setting] = {  # separate for students and teacher
    "hidden": (numbers(int), "H,H", "units of each hidden layer"),
    "epochs": (int, "N", "passes over the training set"),
    "batch-size": (int, "B", "examples per step"),
    "learning-rate": (float, "R", "the peak: the rate rises at first, then falls as a cosine"),
    "clip-norm": (norm, "C", "the largest L2 norm of a step's gradient, or none"),
}
_MAX_NORM = "the largest L2 norm of a hidden unit's weights (the root of the squared length in papers), or none"
SETTINGS: dict[str, dict[str, Setting]] = {
    "distillation": {
        "T": (float, "T", "the temperature, > 0; 1 is the ordinary softmax, higher is softer"),
        "alpha": (float, "A", "the weight of the soft targets, 0 to 1; the labels get the rest"),
    },
    "the student, alone and distilled": _SIZE_AND_STEPS,
    "the teacher": {
        **{f"teacher-{option}": setting for option, setting in _SIZE_AND_STEPS.items()},
        "drop": (numbers(float, 2), "I,H", "the probabilities of dropping an input and a hidden unit"),
        "max-norm": (norm, "C", _MAX_NORM),
        "jitter": (int, "PIXELS", "images are moved by up to this many pixels each way"),
    },
    "every network": {
        "momentum": (float, "M", "of gradient descent"),
        "warmup": (float, "W", "the share of the steps over which the learning rate rises"),
        "dtype": (str, "{float32,float64}", "of all arithmetic"),
    },
}
"""The options for the networks, without their dashes, in groups."""
GROUPS = dict(zip(SETTINGS, ([DISTILLED], [ALONE, DISTILLED], [TEACHER], NETWORKS), strict=True))
"""The networks that a group of options sets."""


def _fields(option: str) -> list[str]:
    """Return the fields of a `TrainConfig` that an option sets."""
    return ["drop_input", "drop_hidden"] if option == "drop" else [option.removeprefix("teacher-").replace("-", "_")]


def configurations(args: argparse.Namespace) -> dict[str, TrainConfig]:
    """Return the configurations of the three networks for seed 0: those of the preset, changed by the options.

    Raises:
        ValueError: if a value is out of range.
    """
    configs, given = dict(PRESETS[args.preset]), vars(args)
    for title, settings in SETTINGS.items():
        changes: dict[str, Any] = {}
        for option in settings:
            if option in given:
                fields, value = _fields(option), given[option]
                changes |= zip(fields, value if len(fields) > 1 else [value], strict=True)
        for name in GROUPS[title]:
            configs[name] = replace(configs[name], **changes)
    if configs[DISTILLED].alpha == 0:
        raise ValueError("alpha must be > 0: without soft targets the distilled student is the student alone")
    return configs


# ---- the command line ------------------------------------------------------------------------------------------------


def _typed(value: Any) -> str:
    """Return a value as the reader would type it."""
    if isinstance(value, tuple):
        return ",".join(map(_typed, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


def build_parser() -> Parser:
    """Return the options. A setting that is not given is absent from the result, because the preset has its value."""
    parser = Parser("mnist", __doc__)
    for title, settings in SETTINGS.items():
        add = parser.add_argument_group(title).add_argument
        configs = {name: preset[GROUPS[title][-1]] for name, preset in PRESETS.items()}
        for option, (kind, metavar, about) in settings.items():
            values = {n: ",".join(_typed(getattr(c, field)) for field in _fields(option)) for n, c in configs.items()}
            alike = len(set(values.values())) == 1
            default = values["quick"] if alike else ", ".join(f"{name} {value}" for name, value in values.items())
            about += f" [{default}]"
            add(f"--{option}", dest=option, type=kind, metavar=metavar, default=argparse.SUPPRESS, help=about)
    _add_options_of_the_run(parser)
    return parser


def _add_options_of_the_run(parser: Parser) -> None:
    add = parser.add_argument_group("the run").add_argument
    add("--preset", choices=sorted(PRESETS), default="quick", help="which defaults the networks have [quick]")
    add("--seed", type=int, default=0, metavar="S", help="of weights, order, dropout and jitter [0]")
    about = "how many seeds, from S on; each trains all three networks [1]"
    add("--seeds", type=int, default=1, metavar="N", help=about)
    add("--gpu", action="store_true", help="train on the GPU with CuPy")
    add("--tf32", action="store_true", help="with --gpu: multiply on tensor cores, which round the factors to 10 bits")

    add = parser.add_argument_group("data and results").add_argument
    add("--data", type=place, metavar="DIR", help="a folder with four IDX files, in place of MNIST")
    about = "count errors on N training images, not on the test set: the last of each class, in proportion to its size"
    add("--held-out", type=int, metavar="N", help=about)
    add("--out", type=place, default=Path("runs"), metavar="DIR", help="where run folders and teachers are kept [runs]")
    add("--resume", action="store_true", help="resume the latest run with these settings in --out")
    add("--export", metavar="FILE.onnx", help="write the distilled student of the first seed as ONNX there")
    add("--json", action="store_true", help="print the results as JSON, not as a table")
    add("--quiet", action="store_true", help="show no progress bars")


# ---- the run ---------------------------------------------------------------------------------------------------------


class Run:
    """The three networks that the command line asks for. All that can be checked before training is checked.

    Args:
        args: of `build_parser`.

    Raises:
        DeviceError: if there is no usable GPU.
        ValueError: if anything else is wrong, in one line.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.device = args, get_device("gpu" if args.gpu else "cpu", tf32=args.tf32)
        if args.export is not None:
            check_onnx_path(args.export)
        self.configs = configurations(args)  # for seed 0
        if args.seed < 0 or args.seeds < 1:
            raise ValueError(f"--seed must be ≥ 0 and --seeds ≥ 1, got {args.seed} and {args.seeds}")
        self.seeds = list(range(args.seed, args.seed + args.seeds))
        self.said: list[str] = []  # remarks on the data
        if args.data is None:
            train_set, test_set = load_mnist()
        else:
            loaded = load_idx(args.data)
            assert isinstance(loaded.train, Dataset)
            assert isinstance(loaded.test, Dataset)
            train_set, test_set, self.said = loaded.train, loaded.test, loaded.said
        if args.held_out is not None:
            train_set, test_set = held_out_split(train_set, args.held_out)
        for name, config in self.configs.items():
            if config.batch_size > len(train_set):
                wrong = f"the {name}'s batch size, {config.batch_size}, exceeds the {len(train_set)} examples"
                raise ValueError(f"{wrong}: lower --{'teacher-' if name == TEACHER else ''}batch-size")
        self.train_set, self.test_set = train_set, test_set
        self.reused: list[str] = []  # the files of teachers that were there already

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The settings that were asked for, in plain JSON types."""
        sets = {"train": self.train_set, "evaluation": self.test_set}
        return {
            "networks": {n: {k: v for k, v in c.record().items() if k != "seed"} for n, c in self.configs.items()},
            "seeds": self.seeds,
            **{part: {"name": s.name, "examples": len(s), "sha256": s.fingerprint} for part, s in sets.items()},
            "device": self.device.name,
        }

    @cached_property
    def folder(self) -> Path:
        """The run folder, made when it is first asked for."""
        name = f"T{self.configs[DISTILLED].T:g}-seed{self.seeds[0]}-{runs.key(self.asked)}"
        return runs.open_run(self.args.out, name, self.args.resume)

    def train(self) -> tuple[dict[str, Any], dict[str, Network]]:
        """Train or find the three networks for every seed, and write the run folder.

        Returns:
            The results in plain JSON types, and the networks of the first seed by name.
        """
        runs.write_json(self.folder / "config.json", self.asked)
        metrics = runs.Metrics(self.folder / "metrics.jsonl")
        networks: dict[tuple[int, str], Network] = {}
        ranges = []
        for seed in self.seeds:
            targets = None
            for name, config in self.configs.items():
                networks[seed, name] = network = self._obtain(name, replace(config, seed=seed), targets, metrics)
                if name == TEACHER:
                    targets = soft_targets(network, self.train_set, self.device)
                    ranges.append(np.median(np.ptp(targets.logits, axis=-1)))
        results = summarise(self.asked, networks, float(np.mean(ranges)), self.reused, self.folder)
        results["machine"] = machine(self.device)
        runs.write_json(self.folder / runs.RESULTS, results)
        return results, {name: networks[self.seeds[0], name] for name in self.configs}

    def _obtain(self, name: str, config: TrainConfig, targets: SoftTargets | None, metrics: runs.Metrics) -> Network:
        """Return a network of this name and seed, and keep it in the run folder."""
        assert isinstance(config.seed, int)
        seed, title = config.seed, f"{name}, seed {config.seed}"
        own = path = runs.network_path(self.folder, seed, name)
        if name == TEACHER:  # kept for any run that wants the same, begun or finished
            sets = [self.asked[part]["sha256"] for part in ("train", "evaluation")]
            path = self.args.out / "teachers" / f"{runs.key([config.record(), *sets, self.device.name])}.safetensors"

        try:
            network, found = runs.obtain(
                path,
                config,
                self.train_set,
                self.test_set,
                soft_targets=targets if name == DISTILLED else None,
                device=self.device,
                resume=self.args.resume or name == TEACHER,
                title=title,
                quiet=self.args.quiet,
                on_epoch=lambda network: metrics.set(seed, name, network.history, finished=False),
            )
        except TrainingDiverged as error:
            raise error.of(title) from None
        metrics.set(seed, name, network.history)
        if not own.exists():
            runs.save_network(own, network, config, Inputs(self.train_set.shape))
            self.reused += [str(path)] if found else []
        return network


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check everything that can be checked, then train, print the results, and draw and export them."""
    parser = build_parser()
    args = parser.parse_args(argv)
    with ending_in_one_line(parser):
        run = Run(args)
        for remark in run.said:
            parser.remark(remark)
        results, networks = run.train()
    print(json.dumps(results, indent=1) if args.json else fit(table(results)), flush=True)
    distilled = run.configs[DISTILLED]
    try:
        draw(networks, run.test_set, distilled.T, run.device, run.folder)
    except Exception as error:
        parser.remark(f"the figures are not drawn ({reason(error)}); the same command with --resume draws them")
    if args.export is not None:
        student = networks[DISTILLED]
        errors = f"{student.history[-1]['errors']} of {len(run.test_set)}"
        try:
            to_onnx(student, args.export, {"T": distilled.T, "alpha": distilled.alpha, "errors": errors})
        except Exception as error:
            saved = runs.network_path(run.folder, args.seed, DISTILLED)
            again = f"python -m minikd.export {saved} {args.export}"
            parser.fail(f"the student is not exported ({reason(error)}); it is kept: {again}", code=1)
