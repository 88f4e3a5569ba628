"""How the quick preset's hyper-parameters were chosen: on the last 10,000 training images, never on the test set.

    python -m benchmarks.choose_quick --gpu --workers 4

trains every candidate below on the first 50,000 training images and counts its errors on the last 10,000 of them. A
teacher is judged by the errors of its students: each of its three runs teaches three students. The best teacher that is
no smaller than the student then teaches the students of the second table. Students alone come last. `work` is the
number of epochs times the millions of parameters, which says roughly how long the candidate takes on a CPU.

Finished work is kept below --out, so the same command resumes after a stop. At the end
`benchmarks/results/choose_quick.json` is written. It takes about two minutes on a card, and hours on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minikd.core.mlp import parameter_count
from minikd.engines.device import get_device
from minikd.engines.machine import machine
from minikd.paper.lab import executor
from minikd.paper.lab.jobs import Job, Json, Store
from minikd.paper.tasks.networks import Data, training
from minikd.system.cli import Parser, start
from minikd.theory.statistics import mean_sd
from minikd.training.config import TrainConfig

RESULT = Path(__file__).parent / "results" / "choose_quick.json"
DATA = Data(held_out=10_000)
SEEDS = (0, 1, 2)
TEACHER = TrainConfig(hidden=(1200, 1200), epochs=16, batch_size=256, learning_rate=0.2, clip_norm=None, jitter=2)
STUDENT = TrainConfig(hidden=(800, 800), epochs=6, T=8.0, alpha=0.9, seed=SEEDS)

TEACHERS: list[Json] = [
    {"batch_size": 128, "epochs": 10, "clip_norm": 1.0},
    {},
    {"drop_hidden": 0.1},
    {"hidden": (1000, 1000), "epochs": 20},
    {"hidden": (1000, 1000), "epochs": 20, "warmup": 0.1},
    {"hidden": (1000, 1000), "epochs": 22, "batch_size": 512, "learning_rate": 0.3},
    {"hidden": (800, 800), "epochs": 26},
    {"hidden": (800, 800), "epochs": 26, "learning_rate": 0.3},
    {"hidden": (800, 800), "epochs": 30, "batch_size": 512, "learning_rate": 0.3},
    {"hidden": (800, 800), "epochs": 30, "batch_size": 512, "learning_rate": 0.4},
    {"hidden": (600, 600), "epochs": 36},
]
STUDENTS: list[Json] = [
    {"T": 4.0},
    {"T": 20.0},
    {"alpha": 1.0},
    {"learning_rate": 0.1},
    {"clip_norm": None, "learning_rate": 0.1},
    {"clip_norm": None},
    {"epochs": 8},
]
ALONE: list[Json] = [{}, {"learning_rate": 0.1}, {"clip_norm": None}, {"epochs": 8}]


def teachers(changes: Json) -> list[Job]:
    """Return the runs of a teacher, one per seed."""
    configs = [replace(TEACHER, **changes, seed=seed) for seed in SEEDS]
    return [
        training(f"teacher {changes}, seed {config.seed}", config, DATA, keep=("train",), may_diverge=True)
        for config in configs
    ]


def students(changes: Json, by: Sequence[Job] | None) -> list[Job]:
    """Return the runs of three students each: one run per teacher, or a single one without a teacher."""
    if by is None:
        config = replace(STUDENT, **changes, T=1.0, alpha=0.0)
        return [training(f"students alone {changes}", config, DATA, may_diverge=True)]
    config = replace(STUDENT, **changes)
    return [training(f"students {changes} of {one.title}", config, DATA, teacher=one, may_diverge=True) for one in by]


def work(config: TrainConfig) -> float:
    """Return the epochs times the millions of parameters."""
    return round(config.epochs * parameter_count((784, *config.hidden, 10)) / 1e6, 1)


def mean(errors: Any) -> float | None:
    """Return the mean of counts, which may be lists, or None if a run diverged or there is none."""
    return float(np.mean(errors)) if errors and None not in errors else None


def markdown(record: Json) -> str:
    """Return the tables of a result, in Markdown."""
    base, student = record["teacher"], record["student"]
    tables = [
        ("the teacher: " + _words(base), base, record["teachers"]),
        (
            f"the student: {_words(student)}, T = {student['T']:g}, alpha = {student['alpha']:g}",
            student,
            record["students"],
        ),
        ("the student alone", student, record["alone"]),
    ]
    parts = []
    for title, base, rows in tables:
        head = [title, "work", *(["its errors"] if "students" in rows[0] else []), "errors of the students"]
        lines = [head, ["---"] * len(head)]
        for row in rows:
            own = [_counts(row["errors"])] if "students" in row else []
            lines.append(
                [_changed(base, row["changes"]), f"{row['work']:g}", *own, _counts(row.get("students", row["errors"]))]
            )
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts)


def _words(config: Json) -> str:
    units = " and ".join(map(str, config["hidden"]))
    clip = f"clip {config['clip_norm']:g}" if config["clip_norm"] else "no clip"
    epochs, batch, rate = config["epochs"], config["batch_size"], config["learning_rate"]
    return f"{units} units, {epochs} epochs, batches of {batch}, rate {rate:g}, {clip}"


def _changed(base: Json, changes: Json) -> str:
    """Say what a candidate changes."""
    names = {"batch_size": "batches of {}", "epochs": "{} epochs", "hidden": "{} units", "learning_rate": "rate {}"}
    names |= {"clip_norm": "clip {}", "warmup": "warm-up {}", "drop_hidden": "dropout {}"}
    said = {
        name: "none" if value is None else value[0] if name == "hidden" else value for name, value in changes.items()
    }
    words = ", ".join(names.get(name, f"{name} = {{}}").format(value) for name, value in said.items())
    return words.replace("clip none", "no clip") or "as it is"


def _counts(errors: Any) -> str:
    """Return mean ± sd of counts, or that runs diverged."""
    flat = [count for part in errors for count in (part if isinstance(part, list) else [part])]
    return mean_sd(flat) if flat and None not in flat else "diverged"


def main(argv: Sequence[str] | None = None) -> None:
    """Run every candidate, print the tables, write the JSON."""
    parser = Parser("choose_quick", __doc__ or "", package="benchmarks")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU with CuPy")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes [2]")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept [runs]")
    args = parser.parse_args(argv)
    device = "gpu" if args.gpu else "cpu"
    store = Store(args.out / "paper" / device)

    def errors(groups: Sequence[Sequence[Job]]) -> list[list[Any]]:
        """Do these jobs. Returns: the errors of each, None where a run diverged."""
        every = [job for jobs in groups for job in jobs]
        with executor.processes(args.workers) as (pool, count):
            done = lambda job: print(job.title, flush=True)  # noqa: E731
            executor.run(every, store, pool, workers=count, device=device, on_done=done)
        return [[store.get(job).record["errors"] for job in jobs] for jobs in groups]

    def table(name: str, candidates: Sequence[Json], base: TrainConfig, found: Sequence[Json]) -> list[Json]:
        """Print and return a table: what each candidate changes, its work, and what was found."""
        rows = [
            {"changes": changes, "work": work(replace(base, **changes)), **one}
            for changes, one in zip(candidates, found, strict=True)
        ]
        print(name, *rows, sep="\n", flush=True)
        return rows

    own = errors([teachers(changes) for changes in TEACHERS])
    kept = [teachers(c) if None not in e else [] for c, e in zip(TEACHERS, own, strict=True)]
    theirs = errors([students({}, by) for by in kept])
    found = [{"errors": e, "students": s, "mean": mean(s)} for e, s in zip(own, theirs, strict=True)]
    tables = {"teachers": table("teachers", TEACHERS, TEACHER, found)}
    fits = [i for i, c in enumerate(TEACHERS) if replace(TEACHER, **c).hidden >= STUDENT.hidden and found[i]["mean"]]
    best = min(fits, key=lambda i: found[i]["mean"])
    for name, candidates, by in (("students", STUDENTS, kept[best]), ("alone", ALONE, None)):
        counts = errors([students(changes, by) for changes in candidates])
        tables[name] = table(name, candidates, STUDENT, [{"errors": e, "mean": mean(e)} for e in counts])
    command = f"python -m benchmarks.choose_quick{' --gpu --workers 4' if args.gpu else ''}"
    record = {"command": command, "machine": machine(get_device(device)), "seeds": SEEDS}
    record |= {"teacher": TEACHER.record(), "student": STUDENT.record(), "best": TEACHERS[best]}
    RESULT.write_text(json.dumps({**record, **tables}, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
