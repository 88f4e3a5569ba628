"""How the quick preset's hyper-parameters were chosen: on the last 10,000 training images, never on the test set.

    python -m benchmarks.choose_quick

trains every candidate below on the first 50,000 training images and counts its errors on the last 10,000 of them.
Teachers come first. The students then learn alone and from the best of them, at the same rate and for as many epochs,
two seeds each. Finished work is kept below `runs`, so the same command resumes after a stop. At the end
`benchmarks/results/choose_quick.json` is written. Two processes of one thread each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Job, Store
from minikd.paper.tasks.networks import Data, training
from minikd.system.cli import Parser, start
from minikd.training.config import TrainConfig

RESULT = Path(__file__).parent / "results" / "choose_quick.json"
DATA = Data(held_out=10_000)
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


def teacher(settings: dict[str, Any]) -> list[Job]:
    """The run of a candidate."""
    config = replace(TEACHER, **settings)
    return [training(f"teacher {settings}", config, DATA, keep=("train",), may_diverge=True)]


def student(settings: dict[str, Any], by: Job) -> list[Job]:
    """The runs of a candidate, one per seed; those with a temperature are taught."""
    taught = by if "T" in settings else None
    return [
        training(
            f"student {settings}, seed {seed}",
            replace(STUDENT, seed=seed, **settings),
            DATA,
            teacher=taught,
            may_diverge=True,
        )
        for seed in SEEDS
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run every candidate, print the table, write the JSON."""
    Parser("choose_quick", __doc__ or "", package="benchmarks").parse_args(argv)
    store, rows = Store(Path("runs") / "paper" / "cpu"), []

    def compare(candidates: Sequence[tuple[str, dict[str, Any], list[Job]]]) -> list[float]:
        """Do their runs, and report each. Returns: the mean errors of each; infinite where a run diverged."""
        every = [job for _, _, jobs in candidates for job in jobs]
        with engine.processes(2) as (executor, workers):
            engine.run(every, store, executor, workers=workers, on_done=lambda job: print(job.title, flush=True))
        means = []
        for network, settings, jobs in candidates:
            errors = [store.get(job).record["errors"] for job in jobs]
            mean = None if None in errors else float(np.mean(errors))
            rows.append({"network": network, **settings, "errors": errors, "mean": mean})
            print(f"{network:10s} {settings}  errors {errors}  mean {mean}")
            means.append(np.inf if mean is None else mean)
        return means

    teachers = [("teacher", settings, teacher(settings)) for settings in TEACHERS]
    (best,) = teachers[int(np.argmin(compare(teachers)))][2]
    compare([("distilled" if "T" in settings else "alone", settings, student(settings, best)) for settings in STUDENTS])
    record = {"command": "python -m benchmarks.choose_quick", "seeds": SEEDS, "machine": machine(CPU), "rows": rows}
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
