"""How the teacher of the paper's rows was chosen for two cores: on held-out images, never on the test set.

    python -m benchmarks.choose_paper

trains every candidate below on the first 50,000 training images and counts its errors on the last 10,000 of them. The
longest take 80 epochs, because people wait for the rows of the profile "cpu". Finished work is kept below --out, so the
same command resumes after a stop. At the end the table is printed, and `benchmarks/results/choose_paper.json` is
written. It takes about an hour on two cores.

The recipe of 500 epochs, for a GPU, was chosen in the same way on a GPU. What limits the student is the question of
`python -m benchmarks.study_student`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.paper.lab import executor
from minikd.paper.lab.jobs import Job, Store
from minikd.paper.tasks.networks import Data, training
from minikd.system.cli import Parser, start
from minikd.training.config import TrainConfig

RESULT = Path(__file__).parent / "results" / "choose_paper.json"
DATA = Data(held_out=10_000)
BASE = TrainConfig(
    hidden=(1200, 1200),
    epochs=80,
    batch_size=256,
    learning_rate=0.15,
    clip_norm=None,
    drop_hidden=0.3,
    max_norm=15**0.5,
    jitter=2,
)
CANDIDATES: list[dict[str, Any]] = [
    {},
    {"learning_rate": 0.1},
    {"drop_input": 0.1, "drop_hidden": 0.4, "learning_rate": 0.1},
    {"epochs": 50},
    {"epochs": 50, "learning_rate": 0.1},
]


def teacher(changes: dict[str, Any]) -> Job:
    """Return the run of a candidate. It keeps what a study of students needs, which asks the base for more answers."""
    keep = ("train", "test") if changes else ("train", "test", "weights")
    return training(f"teacher {changes}", replace(BASE, **changes), DATA, keep=keep)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table, write the JSON."""
    parser = Parser("choose_paper", __doc__ or "", package="benchmarks")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept [runs]")
    store, jobs = Store(parser.parse_args(argv).out / "paper" / "cpu"), [teacher(changes) for changes in CANDIDATES]
    with executor.processes(2) as (pool, workers):
        executor.run(jobs, store, pool, workers=workers, on_done=lambda job: print(job.title, flush=True))
    rows = []
    for changes, job in zip(CANDIDATES, jobs, strict=True):
        record = store.get(job).record
        rows.append({"changes": changes, "errors": record["errors"], "seconds": round(record["seconds"])})
        print(rows[-1])
    command = "python -m benchmarks.choose_paper"
    record = {"command": command, "machine": machine(CPU), "base": BASE.record(), "rows": rows}
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
