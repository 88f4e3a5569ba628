"""The whole quick run, and the way to the first step; with a GPU or --quick, the teacher's 60 epochs and the grid too.

The way to the first step is measured by alternate processes: imports, data, and the first step itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
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
SIXTY, GRID = "teacher of the paper, 60 epochs", "T × width grid, populations of 10, 6 epochs"
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


def rows(bench: Bench) -> list[dict[str, Any]]:
    small = ["--hidden", "9", "--teacher-hidden", "9", "--epochs", "1", "--teacher-epochs", "1"] if bench.quick else []
    flags = ["--quiet", *small, *(["--gpu"] if bench.place == "gpu" else [])]
    with TemporaryDirectory() as folder:
        starts = {
            FIRST_STEP: partial(_process, "-c", TO_FIRST_STEP, *flags, "--out", f"{folder}/start", status=STEPPED),
            "python -c 'import numpy'": partial(_process, "-c", "import numpy"),
        }
        if find_spec("torch"):
            starts["python -c 'import torch'"] = partial(_process, "-c", "import torch")
        whole = {QUICK_RUN: partial(_process, "-m", "minikd.mnist", *flags, "--out", f"{folder}/whole")}
        measured = _rows(starts, rounds=1 if bench.quick else 10) + _rows(whole)
    if bench.quick or bench.place == "gpu":
        measured += _rows({SIXTY: partial(_teacher, bench), GRID: partial(_grid, bench)})
    return measured


def _rows(steps: Mapping[str, Step], rounds: int = 1) -> list[dict[str, Any]]:
    _, times = take_turns(steps, seconds=0, least=rounds, warm=False)
    found = quartiles(times)
    return [{"what": what, "rounds": rounds, "timed": rounds, "seconds": {"time": found[what]}} for what in steps]


def _process(*arguments: str, status: int = 0) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != status:
        raise SystemExit(f"python {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")


def _teacher(bench: Bench) -> None:
    """The paper's teacher, with dropout, max-norm and jitter, for 60 epochs of all training images."""
    config = PRESETS["paper"][TEACHER]
    dataset = images(bench) if bench.quick else load_mnist()[0]
    train(replace(config, epochs=1 if bench.quick else 60), dataset, device=bench.device)


def _grid(bench: Bench) -> None:
    """Students of each width and temperature, for the quick preset's epochs; those of one width are a population."""
    config = replace(PRESETS["quick"][DISTILLED], T=TEMPERATURES)
    dataset = images(bench) if bench.quick else load_mnist()[0]
    for width in WIDTHS[:1] if bench.quick else WIDTHS:
        students = replace(config, hidden=(width, width))
        train(students, dataset, soft_targets=random_targets(dataset), device=bench.device)


def derived(row: dict[str, Any]) -> dict[str, float]:
    return {}
