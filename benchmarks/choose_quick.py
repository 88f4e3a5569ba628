"""How the quick preset's hyper-parameters were chosen: on the last 10,000 training images, never on the test set.

    python -m benchmarks.choose_quick

trains every candidate below on the first 50,000 training images, counts its errors on the held-out 10,000, prints a
table and writes `benchmarks/results/choose_quick.json`. Teachers first; the students then learn from the best of them,
alone and distilled at the same rate and for as many epochs, two seeds each. Two processes of one thread each.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minikd.cli import Parser, start
from minikd.config import TrainConfig
from minikd.data import Dataset, load_mnist
from minikd.targets import SoftTargets, soft_targets
from minikd.train import TrainingDiverged, train

RESULT = Path(__file__).parent / "results" / "choose_quick.json"
TEACHER = TrainConfig(hidden=(1200, 1200), epochs=12, jitter=2)
STUDENT = TrainConfig(hidden=(800, 800), epochs=6)
SEEDS = (0, 1)
RATES = (0.1, 0.2)

TEACHERS: list[dict[str, Any]] = [{"learning_rate": r, "clip_norm": c} for r in RATES for c in (None, 1.0)]
STUDENTS: list[dict[str, Any]] = []
for rate in RATES:
    STUDENTS += [{"learning_rate": rate, "clip_norm": clip} for clip in (None, 1.0)]
    STUDENTS += [{"learning_rate": rate, "clip_norm": None, "T": 8.0, "alpha": 0.9}]
    STUDENTS += [{"learning_rate": rate, "clip_norm": 1.0, "T": T, "alpha": 0.9} for T in (4.0, 8.0, 20.0)]
    STUDENTS += [{"learning_rate": rate, "clip_norm": 1.0, "T": 8.0, "alpha": 1.0}]


@cache
def split() -> tuple[Dataset, Dataset]:
    """The first 50,000 images to train on and the last 10,000, held out; once per process."""
    train_set = load_mnist()[0]
    # By place: MNIST is not sorted by class.
    return train_set.take(range(50_000)), train_set.take(range(50_000, 60_000))


def run(config: TrainConfig, targets: SoftTargets | None = None) -> tuple[float, SoftTargets | None]:
    """Errors on the held-out images (nan where training diverged), and the soft targets that a teacher gives."""
    train_set, held_out = split()
    try:
        network = train(config, train_set, evaluation=held_out, soft_targets=targets)
    except TrainingDiverged:
        return float("nan"), None
    given = soft_targets(network, train_set) if config.hidden == TEACHER.hidden else None
    return float(network.history[-1]["errors"]), given


def main(argv: Sequence[str] | None = None) -> None:
    """Run every candidate, print the table, write the JSON."""
    Parser("choose_quick", __doc__ or "", package="benchmarks").parse_args(argv)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the processes started from here on read it
    rows: list[dict[str, Any]] = []

    def report(network: str, settings: dict[str, Any], errors: Sequence[float]) -> None:
        known = [None if np.isnan(e) else e for e in errors]  # JSON has no nan
        rows.append(
            {"network": network, **settings, "errors": known, "mean": None if None in known else np.mean(known)}
        )
        print(f"{network:10s} {settings}  errors {list(errors)}  mean {np.mean(errors):.1f}", flush=True)

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        taught = list(pool.map(run, [replace(TEACHER, **settings) for settings in TEACHERS]))
        for settings, (errors, _) in zip(TEACHERS, taught, strict=True):
            report("teacher", settings, [errors])
        targets = taught[int(np.nanargmin([errors for errors, _ in taught]))][1]

        jobs = []
        for settings in STUDENTS:
            students = [replace(STUDENT, seed=seed, **settings) for seed in SEEDS]
            given = [targets if "T" in settings else None] * len(SEEDS)
            jobs.append((settings, pool.map(run, students, given)))
        for settings, results in jobs:
            report("distilled" if "T" in settings else "alone", settings, [errors for errors, _ in results])

    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "numpy": np.__version__}
    RESULT.parent.mkdir(exist_ok=True)
    record = {"command": "python -m benchmarks.choose_quick", "seeds": SEEDS, "machine": machine, "rows": rows}
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
