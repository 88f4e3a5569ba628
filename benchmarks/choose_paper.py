"""How the teacher and the distilled student of the paper's rows were chosen: on held-out images, never on the test set.

    python -m benchmarks.choose_paper

trains every candidate below on the first 50,000 training images and counts its errors on the last 10,000 of them. Each
candidate is the base with one or more settings changed. The base teacher teaches the students, and the unclipped one
the last of them, with two seeds each. Finished work is kept below `runs`, so the same command resumes after a stop. At
the end the table is printed, and `benchmarks/results/choose_paper.json` is written. It takes about 80 minutes on two
cores.
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

RESULT = Path(__file__).parent / "results" / "choose_paper.json"
DATA = Data(held_out=10_000)
SEEDS = (0, 1)
TEACHER = TrainConfig(
    hidden=(1200, 1200),
    epochs=40,
    batch_size=256,
    learning_rate=0.3,
    clip_norm=1.0,
    drop_hidden=0.3,
    max_norm=15**0.5,
    jitter=2,
)
UNCLIPPED = {"clip_norm": None, "learning_rate": 0.15, "epochs": 80}
TEACHERS: list[dict[str, Any]] = [
    {},
    {"epochs": 80},
    {"epochs": 80, "drop_hidden": 0.4},
    {"drop_input": 0.2, "drop_hidden": 0.5},
    {"drop_hidden": 0.0},
    {"max_norm": None},
    {"max_norm": 2.0},
    {"jitter": 0},
    {"learning_rate": 0.15},
    UNCLIPPED,
]
STUDENT = TrainConfig(hidden=(800, 800), epochs=40, learning_rate=0.1, clip_norm=1.0, alpha=0.9, T=20.0)
STUDENTS: list[dict[str, Any]] = [
    {},
    {"alpha": 0.0, "T": 1.0},
    {"alpha": 0.5},
    {"alpha": 0.99},
    {"alpha": 1.0},
    {"learning_rate": 0.2},
    {"momentum": 0.95},
    {"epochs": 100},
    {"T": 4.0},
]
OF_UNCLIPPED: list[dict[str, Any]] = [
    {"alpha": 1.0},
    {"alpha": 1.0, "epochs": 100},
]


def jobs() -> dict[str, list[tuple[dict[str, Any], list[Job]]]]:
    """The runs: of each network, of each candidate, of each seed."""

    def teacher(changes: dict[str, Any]) -> Job:
        keep = ("train",) if changes in ({}, UNCLIPPED) else ()  # they teach the students
        return training(f"teacher {changes}", replace(TEACHER, **changes), DATA, keep=keep)

    def student(changes: dict[str, Any], seed: int, by: Job | None) -> Job:
        config = replace(STUDENT, seed=seed, **changes)
        by = by if config.alpha else None
        return training(f"student {changes}, seed {seed}", config, DATA, teacher=by)

    return {
        "teacher": [(changes, [teacher(changes)]) for changes in TEACHERS],
        "student": [(changes, [student(changes, seed, teacher({})) for seed in SEEDS]) for changes in STUDENTS],
        "student of the unclipped teacher": [
            (changes, [student(changes, seed, teacher(UNCLIPPED)) for seed in SEEDS]) for changes in OF_UNCLIPPED
        ],
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table, write the JSON."""
    Parser("choose_paper", __doc__ or "", package="benchmarks").parse_args(argv)
    store, networks = Store(Path("runs") / "paper" / "cpu"), jobs()
    every = [job for candidates in networks.values() for _, seeds in candidates for job in seeds]
    with engine.processes(2) as (executor, workers):
        engine.run(every, store, executor, workers=workers, on_done=lambda job: print(job.title, flush=True))
    rows = []
    for network, candidates in networks.items():
        for changes, seeds in candidates:
            results = [store.get(job).record for job in seeds]
            errors = [result["errors"] for result in results]
            seconds = float(np.mean([result["seconds"] for result in results]))
            rows.append({"network": network, "changes": changes, "errors": errors, "seconds": round(seconds)})
            print(f"{network:8} {changes or 'base'}  errors {errors}  {seconds:.0f} s each")
    record = {
        "command": "python -m benchmarks.choose_paper",
        "machine": machine(CPU),
        "base": {"teacher": TEACHER.record(), "student": STUDENT.record()},
        "rows": rows,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
