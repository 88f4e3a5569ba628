"""The command: python -m minikd.mnist trains a teacher, a student alone and the same student distilled."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minikd.commands.export import check_onnx_path, to_onnx
from minikd.commands.report import ALONE, DISTILLED, TEACHER, draw, summarise, table
from minikd.data.images import Dataset, held_out_split, load_idx_folder, load_mnist
from minikd.engines.device import Device, get_device
from minikd.engines.gpu import DeviceError, gpu_errors
from minikd.system.cli import Parser, numbers, reason
from minikd.system.console import fit
from minikd.training import runs
from minikd.training.config import LEARNING_RATE, TrainConfig
from minikd.training.loop import TrainingDiverged
from minikd.training.network import Network
from minikd.training.teacher import soft_targets


@dataclass(frozen=True)
class Preset:
    """What a run uses where the command line says nothing; other defaults are `TrainConfig`'s.

    The teacher's settings carry `teacher_`, except those that no student has.
    """

    T: float
    epochs: int
    teacher_epochs: int
    alpha: float = 0.9
    hidden: tuple[int, ...] = (800, 800)
    batch_size: int = TrainConfig.batch_size
    learning_rate: float = LEARNING_RATE
    teacher_hidden: tuple[int, ...] = (1200, 1200)
    teacher_batch_size: int = TrainConfig.batch_size
    teacher_learning_rate: float = LEARNING_RATE
    teacher_clip_norm: float | None = TrainConfig.clip_norm
    drop: tuple[float, float] = (TrainConfig.drop_input, TrainConfig.drop_hidden)
    max_norm: float | None = TrainConfig.max_norm
    jitter: int = 2
    momentum: float = TrainConfig.momentum
    warmup: float = TrainConfig.warmup
    clip_norm: float | None = TrainConfig.clip_norm


PRESETS = {
    "quick": Preset(T=8.0, epochs=6, teacher_epochs=10),
    "paper": Preset(
        T=20.0,
        epochs=60,
        teacher_epochs=500,
        teacher_learning_rate=0.1,
        teacher_clip_norm=None,  # clipped, it would cost its students about twenty errors (PAPER.md)
        drop=(0.2, 0.5),
        max_norm=15**0.5,
    ),
}

ABOUT = """\
Knowledge distillation on MNIST (Hinton, Vinyals & Dean 2015). Three networks are trained: a large teacher; a small
student alone, on the labels; and the same student, from the same initial weights and in the same order of examples,
distilled: it also learns from the teacher's probabilities, softened by a temperature T.
"""

EXAMPLES = """\
examples:
  python -m minikd.mnist --T 8                 the three networks, quickly: about two minutes on two cores
  python -m minikd.mnist --T 8 --seeds 5       five times over: mean and standard deviation, paired by seed
  python -m minikd.mnist --hidden 30,30 --T 3  30 units per layer: the paper found T from 2.5 to 4 best
  python -m minikd.mnist --T 20 --alpha 1      soft targets only: the student sees no label
  python -m minikd.mnist --held-out 10000      choose settings on training images, and leave the test set alone
  python -m minikd.mnist --export student.onnx take the student away, for any ONNX runtime
  python -m minikd.mnist --preset paper --gpu  the paper's teacher at full length

A teacher that --out already holds, trained with the same settings on the same data, is used again. So trying several
temperatures costs only the students. A run that was stopped goes on with the same command and --resume.
"""


# ---- the command line ------------------------------------------------------------------------------------------------


def norm(text: str) -> float | str:
    """An L2 norm, or "none" for no constraint."""
    return "none" if text.lower() == "none" else float(text)


def place(text: str) -> Path:
    """A path. An empty one, as an unset variable of a shell leaves it, would be the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("must be a path, got an empty one: is a variable of your shell unset?")
    return Path(text)


def build_parser() -> Parser:
    """The options; each default is a preset's, and the help says which."""
    parser = Parser("mnist", ABOUT, EXAMPLES)

    def add(group: Any, flag: str, help: str, **options: Any) -> None:
        name = flag.lstrip("-").replace("-", "_")
        given = {preset: getattr(values, name) for preset, values in PRESETS.items() if hasattr(values, name)}
        if given:
            shown = {preset: _shown(value) for preset, value in given.items()}
            one = len(set(shown.values())) == 1
            default = shown["quick"] if one else ", ".join(f"{preset} {value}" for preset, value in shown.items())
            help = f"{help} [{default}]"
        group.add_argument(flag, help=help, **options)

    soft = parser.add_argument_group("distillation")
    add(soft, "--T", "the temperature, > 0; 1 is the ordinary softmax, higher is softer", type=float, metavar="T")
    add(soft, "--alpha", "the weight of the soft targets, 0 to 1; the labels get the rest", type=float, metavar="A")

    student = parser.add_argument_group("the student, alone and distilled")
    add(student, "--hidden", "units of each hidden layer", type=numbers(int), metavar="H,H")
    add(student, "--epochs", "passes over the training set", type=int, metavar="N")
    add(student, "--batch-size", "examples per step", type=int, metavar="B")
    add(student, "--learning-rate", "the peak: it rises at first, then falls as a cosine", type=float, metavar="R")
    add(student, "--clip-norm", "the largest L2 norm of a step's gradient, or none", type=norm, metavar="C")

    teacher = parser.add_argument_group("the teacher")
    add(teacher, "--teacher-hidden", "units of each hidden layer", type=numbers(int), metavar="H,H")
    add(teacher, "--teacher-epochs", "passes over the training set", type=int, metavar="N")
    add(teacher, "--teacher-batch-size", "examples per step", type=int, metavar="B")
    add(teacher, "--teacher-learning-rate", "the peak", type=float, metavar="R")
    add(teacher, "--teacher-clip-norm", "the largest L2 norm of a step's gradient, or none", type=norm, metavar="C")
    add(teacher, "--drop", "probabilities of dropping an input, a hidden unit", type=numbers(float, 2), metavar="I,H")
    add(
        teacher,
        "--max-norm",
        "the largest L2 norm of a hidden unit's weights (the root of the squared length in papers), or none",
        type=norm,
        metavar="C",
    )
    add(teacher, "--jitter", "images are moved by up to this many pixels, each way", type=int, metavar="PIXELS")

    both = parser.add_argument_group("every network")
    add(both, "--preset", "where the other defaults come from [quick]", choices=sorted(PRESETS), default="quick")
    add(both, "--momentum", "of gradient descent", type=float, metavar="M")
    add(both, "--warmup", "the share of the steps over which the learning rate rises", type=float, metavar="W")
    add(both, "--dtype", "of all arithmetic [float32]", choices=("float32", "float64"), default="float32")
    add(both, "--seed", "of weights, order, dropout and jitter [0]", type=int, default=0, metavar="S")
    add(
        both,
        "--seeds",
        "how many seeds, from S on; each trains all three networks [1]",
        type=int,
        default=1,
        metavar="N",
    )
    add(both, "--gpu", "train on the GPU with CuPy", action="store_true")
    add(both, "--tf32", "with --gpu: products on tensor cores, their factors rounded to 10 bits", action="store_true")

    files = parser.add_argument_group("data and results")
    add(files, "--data", "a folder of four IDX files, plain, .gz or .xz, in place of MNIST", type=place, metavar="DIR")
    add(
        files,
        "--held-out",
        "count errors on N training images, not on the test set: the last of each class, in proportion to its size",
        type=int,
        metavar="N",
    )
    add(
        files,
        "--out",
        "where run folders and teachers are kept [runs]",
        type=place,
        default=Path("runs"),
        metavar="DIR",
    )
    add(files, "--resume", "go on with the latest run of these settings in --out", action="store_true")
    add(files, "--export", "write the distilled student of the first seed as ONNX there", metavar="FILE.onnx")
    add(files, "--json", "print the results as JSON, not as a table", action="store_true")
    add(files, "--quiet", "no progress bars", action="store_true")
    return parser


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_shown(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value).lower()


def settings(args: argparse.Namespace) -> Preset:
    """The preset with what the command line says put in its place."""
    said: dict[str, Any] = {f.name: value for f in fields(Preset) if (value := getattr(args, f.name)) is not None}
    none: dict[str, Any] = {name: None for name, value in said.items() if value == "none"}
    return replace(PRESETS[args.preset], **{**said, **none})


def configurations(chosen: Preset, dtype: str) -> dict[str, TrainConfig]:
    """The three networks' configurations, for seed 0.

    Raises: ValueError for a value out of range.
    """
    common: dict[str, Any] = {"momentum": chosen.momentum, "warmup": chosen.warmup, "dtype": dtype}
    teacher = TrainConfig(
        hidden=chosen.teacher_hidden,
        epochs=chosen.teacher_epochs,
        batch_size=chosen.teacher_batch_size,
        learning_rate=chosen.teacher_learning_rate,
        clip_norm=chosen.teacher_clip_norm,
        drop_input=chosen.drop[0],
        drop_hidden=chosen.drop[1],
        max_norm=chosen.max_norm,
        jitter=chosen.jitter,
        **common,
    )
    alone = TrainConfig(
        hidden=chosen.hidden,
        epochs=chosen.epochs,
        batch_size=chosen.batch_size,
        learning_rate=chosen.learning_rate,
        clip_norm=chosen.clip_norm,
        **common,
    )
    if chosen.alpha == 0:
        raise ValueError("alpha must be > 0: without soft targets the distilled student is the student alone")
    return {TEACHER: teacher, ALONE: alone, DISTILLED: replace(alone, alpha=chosen.alpha, T=chosen.T)}


# ---- the run ---------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check everything that can be checked, then train, print the results, and draw and export them."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        device = get_device("gpu" if args.gpu else "cpu", tf32=args.tf32)
        if args.export is not None:
            check_onnx_path(args.export)
        chosen = settings(args)
        configs = configurations(chosen, args.dtype)
        if args.seed < 0 or args.seeds < 1:
            raise ValueError(f"--seed must be ≥ 0 and --seeds ≥ 1, got {args.seed} and {args.seeds}")
        train_set, test_set = load_mnist() if args.data is None else load_idx_folder(args.data)
        if args.held_out is not None:
            train_set, test_set = held_out_split(train_set, args.held_out)
        for name, config in configs.items():
            if config.batch_size > len(train_set):
                raise ValueError(f"the {name}'s batch size, {config.batch_size}, exceeds the {len(train_set)} examples")
        asked = {
            "networks": {n: {k: v for k, v in c.record().items() if k != "seed"} for n, c in configs.items()},
            "seeds": list(range(args.seed, args.seed + args.seeds)),
            "train": {"name": train_set.name, "examples": len(train_set), "sha256": train_set.fingerprint},
            "evaluation": {"name": test_set.name, "examples": len(test_set), "sha256": test_set.fingerprint},
            "device": device.name,
        }
        name = f"T{chosen.T:g}-seed{args.seed}-{runs.key(asked)}"
        folder = runs.open_run(args.out, name, args.resume)
        results, networks = run(asked, configs, train_set, test_set, device, args.out, folder, args.resume, args.quiet)
    except (DeviceError, ValueError) as error:  # bad data and bad checkpoints are ValueErrors
        parser.fail(str(error))
    except (FileExistsError, NotADirectoryError) as error:
        parser.fail(f"{reason(error)}: move what is in the way, and go on with --resume")
    except OSError as error:
        parser.fail(f"{reason(error)}; make room or fix its permissions, and go on with --resume")
    except MemoryError as error:
        parser.fail(f"the networks do not fit into memory ({error}): use smaller layers or batches")
    except TrainingDiverged as error:
        parser.fail(str(error), code=1)
    except KeyboardInterrupt:
        parser.fail("stopped; the same command with --resume goes on from here", code=130)
    print(json.dumps(results, indent=1) if args.json else fit(table(results)), flush=True)
    try:
        draw(networks, test_set, chosen.T, device, folder)
    except Exception as error:
        parser.remark(f"the figures are not drawn ({reason(error)}); the same command with --resume draws them")
    if args.export is not None:
        student = networks[DISTILLED]
        errors = f"{student.history[-1]['errors']} of {len(test_set)}"
        try:
            to_onnx(student, args.export, {"T": chosen.T, "alpha": chosen.alpha, "errors": errors})
        except Exception as error:
            saved = runs.network_path(folder, args.seed, DISTILLED)
            again = f"python -m minikd.export {saved} {args.export}"
            parser.fail(f"the student is not exported ({reason(error)}); it is kept: {again}", code=1)


@gpu_errors()
def run(
    asked: dict[str, Any],
    configs: dict[str, TrainConfig],
    train_set: Dataset,
    test_set: Dataset,
    device: Device,
    out: Path,
    folder: Path,
    resume: bool,
    quiet: bool,
) -> tuple[dict[str, Any], dict[str, Network]]:
    """Train or find the three networks for every seed; write the run folder.

    Returns: the results in plain JSON types, and the networks of the first seed by name.
    """
    runs.write_json(folder / "config.json", asked)
    metrics = runs.Metrics(folder / "metrics.jsonl")
    networks: dict[tuple[int, str], Network] = {}
    ranges, reused = [], []
    for seed in asked["seeds"]:
        targets = None
        for name, config in configs.items():
            config = replace(config, seed=seed)
            own = runs.network_path(folder, seed, name)
            path, go_on = own, resume
            if name == TEACHER:  # kept for any run that wants the same, begun or finished
                identity = [config.record(), asked["train"]["sha256"], asked["evaluation"]["sha256"], device.name]
                path, go_on = out / "teachers" / f"{runs.key(identity)}.safetensors", True

            def epoch_done(network: Network, seed: int = seed, name: str = name) -> None:
                metrics.set(seed, name, network.history)

            title = f"{name}, seed {seed}"
            try:
                network, found = runs.obtain(
                    path,
                    config,
                    train_set,
                    test_set,
                    soft_targets=targets if name == DISTILLED else None,
                    device=device,
                    resume=go_on,
                    title=title,
                    quiet=quiet,
                    on_epoch=epoch_done,
                )
            except TrainingDiverged as error:
                raise TrainingDiverged(f"{title}: {error}") from None
            epoch_done(network)
            networks[seed, name] = network
            if name == TEACHER:
                if not own.exists():
                    runs.save_network(own, network, config)
                    reused += [str(path)] if found else []
                targets = soft_targets(network, train_set, device)
                ranges.append(np.median(np.ptp(targets.logits, axis=-1)))
    results = summarise(asked, networks, float(np.mean(ranges)), reused, folder)
    runs.write_json(folder / runs.RESULTS, results)
    return results, {name: networks[asked["seeds"][0], name] for name in configs}
