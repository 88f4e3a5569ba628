"""The whole quick run, and the way to the first step; with a GPU or --quick, the teacher's 500 epochs and the grid too.

The way to the first step is measured by alternate processes: imports, data, and the first step itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contestants import images, random_targets
from benchmarks.timing import Bench, Step, quartiles, take_turns
from minikd.commands.mnist import PRESETS
from minikd.commands.report import DISTILLED, TEACHER
from minikd.data.images import load_mnist
from minikd.training.loop import train

LABELS, UNIT = ("what",), "s"
ROOT = Path(__file__).parent.parent
FIRST_STEP, QUICK_RUN = "python -m minikd.mnist to its first step", "python -m minikd.mnist, the whole quick run"
QUICK_TRAINING = "python -m minikd.mnist, training of its three networks"
LONG, GRID = "teacher of the paper, 500 epochs", "T × width grid, populations of 10, 6 epochs"
WIDTHS, TEMPERATURES = (30, 100, 300, 800), (1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0)

STEPPED = 77  # an exit status that nothing else has
TO_FIRST_STEP = f"""
import os, sys
import minikd.training.loop
step = minikd.training.loop.train_step
def first(*arguments, **settings):
    step(*arguments, **settings)
    os._exit({STEPPED})
minikd.training.loop.train_step = first
from minikd.commands.mnist import main
main(sys.argv[1:])
"""


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    small = ["--hidden", "9", "--teacher-hidden", "9", "--epochs", "1", "--teacher-epochs", "1"] if bench.quick else []
    flags = ["--quiet", *small, *(["--gpu"] if bench.place == "gpu" else [])]
    with TemporaryDirectory() as folder:
        yield from _quick_run(flags, Path(folder, "whole"))
        if bench.quick or bench.place == "gpu":
            yield from _rows({LONG: partial(_teacher, bench)})
            yield from _rows({GRID: partial(_grid, bench)})
        starts = {
            FIRST_STEP: partial(_process, "-c", TO_FIRST_STEP, *flags, "--out", f"{folder}/start", status=STEPPED),
            "python -c 'import numpy'": partial(_process, "-c", "import numpy"),
        }
        if find_spec("torch"):
            starts["python -c 'import torch'"] = partial(_process, "-c", "import torch")
        yield from _rows(starts, rounds=1 if bench.quick else max(3, round(10 * bench.pace)))


def _quick_run(flags: Sequence[str], out: Path) -> Iterator[dict[str, Any]]:
    """Time the whole command; then the training that its own results report, with the errors of the networks."""
    yield from _rows({QUICK_RUN: partial(_process, "-m", "minikd.mnist", "--T", "8", *flags, "--out", str(out))})
    (path,) = out.glob("*/results.json")
    networks = json.loads(path.read_text(encoding="utf-8"))["results"]
    errors = {network: found["errors_mean"] for network, found in networks.items()}
    yield {**_row(QUICK_TRAINING, 1, [sum(found["seconds"] for found in networks.values())] * 3), "errors": errors}


def _rows(steps: Mapping[str, Step], rounds: int = 1) -> list[dict[str, Any]]:
    _, times = take_turns(steps, seconds=0, least=rounds, warm=False)
    found = quartiles(times)
    return [_row(what, rounds, found[what]) for what in steps]


def _row(what: str, rounds: int, seconds: list[float]) -> dict[str, Any]:
    return {"what": what, "rounds": rounds, "timed": rounds, "seconds": {"time": seconds}}


def _process(*arguments: str, status: int = 0) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != status:
        raise SystemExit(f"python {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")


def _teacher(bench: Bench) -> None:
    """The paper's teacher, with dropout, max-norm and jitter, for 500 epochs of all training images."""
    config = PRESETS["paper"][TEACHER]
    dataset = images(bench) if bench.quick else load_mnist()[0]
    train(replace(config, epochs=1 if bench.quick else 500), dataset, device=bench.device)


def _grid(bench: Bench) -> None:
    """Students of each width and temperature, for the quick preset's epochs; those of one width are a population."""
    config = replace(PRESETS["quick"][DISTILLED], T=TEMPERATURES)
    dataset = images(bench) if bench.quick else load_mnist()[0]
    for width in WIDTHS[:1] if bench.quick else WIDTHS:
        students = replace(config, hidden=(width, width))
        train(students, dataset, soft_targets=random_targets(dataset), device=bench.device)


def derived(row: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of a row, by their titles."""
    return {}
