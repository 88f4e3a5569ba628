"""The command: python -m minikd.mnist trains a teacher, a student alone and the same student distilled."""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from minikd import __version__, runs
from minikd.backend import Device, DeviceError, get_device
from minikd.config import TrainConfig
from minikd.data import Dataset, held_out_split, load_idx_folder, load_mnist
from minikd.mlp import parameter_count
from minikd.targets import soft_targets
from minikd.train import Network, TrainingDiverged, logits

TEACHER, ALONE, DISTILLED = NETWORKS = ("teacher", "student alone", "student distilled")
PAPER_ERRORS = {TEACHER: 67, ALONE: 146, DISTILLED: 74}  # M1, M2, M3: full length, T = 20, single runs
PAPER_SIZES = {TEACHER: (784, 1200, 1200, 10), ALONE: (784, 800, 800, 10), DISTILLED: (784, 800, 800, 10)}
MNIST_TEST = "fc6afb5445e3c37b9bb8ab589ee650753ab43a47df5205f953db1727b0091738"  # the test set's fingerprint


@dataclass(frozen=True)
class Preset:
    """Everything a run needs that the command line does not say; the teacher's settings carry `teacher_`."""

    T: float
    alpha: float
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    teacher_hidden: tuple[int, ...]
    teacher_epochs: int
    teacher_batch_size: int
    teacher_learning_rate: float
    drop: tuple[float, float]
    max_norm: float | None
    jitter: int
    momentum: float = 0.9
    warmup: float = 0.02
    clip_norm: float | None = 1.0


PRESETS = {
    "quick": Preset(
        T=8.0,
        alpha=0.9,
        hidden=(800, 800),
        epochs=6,
        batch_size=128,
        learning_rate=0.2,
        teacher_hidden=(1200, 1200),
        teacher_epochs=10,
        teacher_batch_size=128,
        teacher_learning_rate=0.2,
        drop=(0.0, 0.0),
        max_norm=None,
        jitter=2,
    ),
    "paper": Preset(
        T=20.0,
        alpha=0.9,
        hidden=(800, 800),
        epochs=60,
        batch_size=128,
        learning_rate=0.2,
        teacher_hidden=(1200, 1200),
        teacher_epochs=500,
        teacher_batch_size=128,
        teacher_learning_rate=0.1,
        drop=(0.2, 0.5),
        max_norm=15**0.5,
        jitter=2,
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
  python -m minikd.mnist --hidden 30,30 --T 3  a student of 30 units a layer: the paper found T from 2.5 to 4 best
  python -m minikd.mnist --T 20 --alpha 1      soft targets alone: the student sees no label
  python -m minikd.mnist --held-out 10000      choose settings on training images, and leave the test set alone
  python -m minikd.mnist --preset paper --gpu  the paper's teacher at full length

A teacher that --out already holds, trained with the same settings on the same data, is used again. So trying several
temperatures costs only the students. A run that was stopped goes on with the same command and --resume.
"""


# ---- the command line ------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        fail(f"{message} (--help explains every option)")


def fail(message: str, code: int = 2) -> NoReturn:
    """End the program with one line on the standard error."""
    print(f"minikd.mnist: {message}", file=sys.stderr)
    sys.exit(code)


def numbers(kind: Callable[[str], Any], count: int | None = None) -> Callable[[str], tuple[Any, ...]]:
    """A parser of numbers joined by commas, `count` of them if given: "30,30" → (30, 30)."""

    def parse(text: str) -> tuple[Any, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be numbers joined by commas, as in 30,30, got {text!r}") from None
        if count is not None and len(values) != count:
            raise argparse.ArgumentTypeError(f"must be {count} numbers joined by a comma, got {text!r}")
        return values

    return parse


def norm(text: str) -> float | str:
    """An L2 norm, or "none" for no constraint."""
    return text if text == "none" else float(text)


def build_parser() -> argparse.ArgumentParser:
    """The options; each default is a preset's, and the help says which."""
    parser = _Parser(
        prog="python -m minikd.mnist",
        description=ABOUT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

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
    add(student, "--batch-size", "examples a step", type=int, metavar="B")
    add(student, "--learning-rate", "the peak: it rises at first, then falls as a cosine", type=float, metavar="R")

    teacher = parser.add_argument_group("the teacher")
    add(teacher, "--teacher-hidden", "units of each hidden layer", type=numbers(int), metavar="H,H")
    add(teacher, "--teacher-epochs", "passes over the training set", type=int, metavar="N")
    add(teacher, "--teacher-batch-size", "examples a step", type=int, metavar="B")
    add(teacher, "--teacher-learning-rate", "the peak", type=float, metavar="R")
    add(teacher, "--drop", "probabilities of dropping an input, a hidden unit", type=numbers(float, 2), metavar="I,H")
    add(
        teacher,
        "--max-norm",
        "the largest L2 norm of a hidden unit's weights (the root of the squared length in papers), or none",
        type=norm,
        metavar="C",
    )
    add(teacher, "--jitter", "images are moved by up to so many pixels, each way", type=int, metavar="PIXELS")

    both = parser.add_argument_group("every network")
    add(both, "--preset", "where the other defaults come from [quick]", choices=sorted(PRESETS), default="quick")
    add(both, "--momentum", "of gradient descent", type=float, metavar="M")
    add(both, "--clip-norm", "the largest L2 norm of a step's gradient, or none", type=norm, metavar="C")
    add(both, "--warmup", "the share of the steps over which the learning rate rises", type=float, metavar="W")
    add(both, "--dtype", "of all arithmetic [float32]", choices=("float32", "float64"), default="float32")
    add(both, "--seed", "of weights, order, dropout and jitter [0]", type=int, default=0, metavar="S")
    add(both, "--seeds", "so many seeds from S on, all three networks each [1]", type=int, default=1, metavar="N")
    add(both, "--gpu", "train on the GPU with CuPy", action="store_true")

    files = parser.add_argument_group("data and results")
    add(files, "--data", "a folder of four IDX files, plain, .gz or .xz, in place of MNIST", metavar="DIR")
    add(files, "--held-out", "count errors on the last N training images, not on the test set", type=int, metavar="N")
    add(
        files, "--out", "where run folders and teachers are kept [runs]", type=Path, default=Path("runs"), metavar="DIR"
    )
    add(files, "--resume", "go on with the latest run of these settings in --out", action="store_true")
    add(files, "--json", "print the results as JSON, not as a table", action="store_true")
    add(files, "--quiet", "no progress bars", action="store_true")
    parser.add_argument("--version", action="version", version=f"minikd {__version__}")
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
    common: dict[str, Any] = {
        "momentum": chosen.momentum,
        "warmup": chosen.warmup,
        "clip_norm": chosen.clip_norm,
        "dtype": dtype,
    }
    teacher = TrainConfig(
        hidden=chosen.teacher_hidden,
        epochs=chosen.teacher_epochs,
        batch_size=chosen.teacher_batch_size,
        learning_rate=chosen.teacher_learning_rate,
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
        **common,
    )
    if chosen.alpha == 0:
        raise ValueError("alpha must be > 0: without soft targets the distilled student is the student alone")
    return {TEACHER: teacher, ALONE: alone, DISTILLED: replace(alone, alpha=chosen.alpha, T=chosen.T)}


# ---- the run ---------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check everything that can be checked, then train, report, and say where the run folder is."""
    for console in (sys.stdout, sys.stderr):  # one that lacks ≥ or ± shows a ? there, and nothing breaks
        if isinstance(console, io.TextIOWrapper):
            console.reconfigure(errors="replace")
    args = build_parser().parse_args(argv)
    try:
        device = get_device("gpu" if args.gpu else "cpu")
        chosen = settings(args)
        configs = configurations(chosen, args.dtype)
        if args.seed < 0 or args.seeds < 1:
            raise ValueError(f"--seed must be ≥ 0 and --seeds ≥ 1, got {args.seed} and {args.seeds}")
        train_set, test_set = load_idx_folder(args.data) if args.data else load_mnist()
        if args.held_out is not None:
            if not 0 < args.held_out < len(train_set):
                raise ValueError(f"--held-out must be from 1 to {len(train_set) - 1}, got {args.held_out}")
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
        results = run(asked, configs, train_set, test_set, device, args.out, folder, args.resume, args.quiet)
    except (DeviceError, ValueError) as error:  # bad data and bad checkpoints are ValueErrors
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; make room or mend its permissions, and go on with --resume")
    except MemoryError as error:
        fail(f"the networks do not fit into memory ({error}): use smaller layers or batches")
    except TrainingDiverged as error:
        fail(str(error), code=1)
    except KeyboardInterrupt:
        fail("stopped; the same command with --resume goes on from here", code=130)
    print(json.dumps(results, indent=1) if args.json else table(results))


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
) -> dict[str, Any]:
    """Train or find the three networks for every seed; write the run folder; return the results."""
    runs.write_json(folder / "config.json", asked)
    metrics = runs.Metrics(folder / "metrics.jsonl")
    networks: dict[tuple[int, str], Network] = {}
    reused = []
    for seed in asked["seeds"]:
        targets = None
        for name, config in configs.items():
            config = replace(config, seed=seed)
            own = folder / f"seed{seed}" / f"{name.replace(' ', '-')}.safetensors"
            path, go_on = own, resume
            if name == TEACHER:  # kept for any run that wants the same, begun or finished
                identity = [config.record(), asked["train"]["sha256"], asked["evaluation"]["sha256"], device.name]
                path, go_on = out / "teachers" / f"{runs.key(identity)}.safetensors", True

            def epoch_done(history: list[dict[str, Any]], seed: int = seed, name: str = name) -> None:
                metrics.set(seed, name, history)

            network, found = runs.obtain(
                path,
                config,
                train_set,
                test_set,
                soft_targets=targets if name == DISTILLED else None,
                device=device,
                resume=go_on,
                title=name if len(asked["seeds"]) == 1 else f"{name}, seed {seed}",
                quiet=quiet,
                on_epoch=epoch_done,
            )
            epoch_done(network.history)
            networks[seed, name] = network
            if name == TEACHER:
                if not own.exists():
                    runs.save_network(own, network, config)
                    reused += [str(path)] if found else []
                targets = soft_targets(network, train_set, device)
    results = summarise(asked, networks, reused, folder)
    runs.write_json(folder / runs.RESULTS, results)
    first = {name: networks[asked["seeds"][0], name] for name in configs}
    draw(first, test_set, configs[DISTILLED].T, device, folder)
    return results


def draw(networks: dict[str, Network], test_set: Dataset, T: Any, device: Device, folder: Path) -> None:
    """Write the two figures of a run: the learning curves, and a page of the teacher's dark knowledge."""
    from minikd import plots  # matplotlib takes half a second to import, and training should not wait for it

    curves = plots.learning_curves({name: n.history for name, n in networks.items()}, evaluated_on=test_set.name)
    plots.save(curves, folder / "learning_curves.png")
    v = device.get(logits(networks[TEACHER], test_set, device))
    right = int(np.count_nonzero(v.argmax(axis=-1) == test_set.labels))
    if right == 0:  # a teacher so bad that it has nothing to show
        return
    chosen = plots.choose_ambiguous(v, test_set.labels, count=min(6, right))
    page = plots.dark_knowledge(test_set.images[chosen], test_set.labels[chosen], v[chosen], T)
    plots.save(page, folder / "dark_knowledge.png")


# ---- the report ------------------------------------------------------------------------------------------------------


def summarise(
    asked: dict[str, Any], networks: dict[tuple[int, str], Network], reused: list[str], folder: Path
) -> dict[str, Any]:
    """The results of a run in plain JSON types."""
    comparable = asked["evaluation"]["sha256"] == MNIST_TEST
    rows: dict[str, dict[str, Any]] = {}
    for name in NETWORKS:
        runs_of = [networks[seed, name] for seed in asked["seeds"]]
        errors = [network.history[-1]["errors"] for network in runs_of]
        rows[name] = {
            "sizes": list(runs_of[0].sizes),
            "parameters": parameter_count(runs_of[0].sizes),
            "errors": errors,
            "errors_mean": float(np.mean(errors)),
            "errors_sd": _sd(errors),
            "paper": PAPER_ERRORS[name] if comparable and runs_of[0].sizes == PAPER_SIZES[name] else None,
            "seconds": round(float(np.mean([sum(e["seconds"] for e in n.history) for n in runs_of])), 1),
        }
    gain = np.subtract(rows[ALONE]["errors"], rows[DISTILLED]["errors"])
    return {
        "asked": asked,
        "results": rows,
        "gain": {"errors": gain.tolist(), "mean": float(gain.mean()), "sd": _sd(gain)},
        "teachers_reused": reused,
        "minikd": __version__,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "folder": str(folder),
    }


def _sd(values: Any) -> float | None:
    """The standard deviation of a sample, or None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def table(results: dict[str, Any]) -> str:
    """The results as a person reads them."""
    asked, rows, gain = results["asked"], results["results"], results["gain"]
    taught, seeds, N = asked["networks"][DISTILLED], asked["seeds"], asked["evaluation"]["examples"]
    many = len(seeds) > 1
    papers = {name for name, row in rows.items() if row["paper"] is not None}
    training, evaluation = asked["train"], asked["evaluation"]
    lines = [
        f"{training['name']}, {training['examples']:,} images; errors on {evaluation['name']}, {N:,} images; "
        f"T = {taught['T']:g}, alpha = {taught['alpha']:g}; "
        + (f"mean ± sd of seeds {seeds[0]} to {seeds[-1]}" if many else f"seed {seeds[0]}"),
        "",
        f"{'':19}{'network':22}{'parameters':>10}  {'errors':>14}{'%':>7}{'paper':>8}{'time':>9}",
    ]
    for name, row in rows.items():
        sizes = "-".join(map(str, row["sizes"]))
        paper = "–" if row["paper"] is None else str(row["paper"])
        lines.append(
            f"{name:19}{sizes:22}{row['parameters']:>10,}  {_mean_sd(row['errors_mean'], row['errors_sd']):>14}"
            f"{100 * row['errors_mean'] / N:>7.2f}{paper:>8}{row['seconds']:>7.0f} s"
        )
    way = rows[ALONE]["errors_mean"] - rows[TEACHER]["errors_mean"]
    worth = (
        f"The soft targets {'saved' if gain['mean'] >= 0 else 'cost'} {_mean_sd(abs(gain['mean']), gain['sd'])} errors"
    )
    worth += " (the differences of the pairs)" if many else ""
    if gain["mean"] > 0 and way > 0:
        worth += f": {100 * gain['mean'] / way:.0f} % of the way from the student alone to its teacher"
    lines += ["", worth + "."]
    if papers:
        lines.append(
            "The paper's figures are of single, much longer runs, at T = 20; a binomial sd is about 10 errors."
        )
    if results["teachers_reused"]:
        lines += [f"The teacher was already trained and is used again: {p}" for p in results["teachers_reused"]]
    return "\n".join([*lines, f"Run folder: {results['folder']}"])


def _mean_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.0f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"


if __name__ == "__main__":
    main()
