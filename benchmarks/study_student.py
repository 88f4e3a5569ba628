"""What limits the distilled student of the paper's rows? A study on held-out images, never on the test set.

    python -m benchmarks.study_student

A teacher and its students learn from the first 50,000 training images, and their errors are counted on the last 10,000.
Each row of the study changes one thing about the student 784-800-800-10, which learns from soft targets at T = 20:

- how long it learns, and so how closely it fits its teacher;
- the transfer set: half of the images, or shifted copies of all of them beside, with the teacher's answers to these;
- the teacher, which is smoother with more dropout.

Besides the errors, each row reports how far the student is from its teacher: the root mean square of z − v, the logits
without their mean over classes, on the images learnt from and on held-out ones; and on how many held-out images the two
do not name the same digit. Finished work is kept below --out, so the same command resumes after a stop. At the end
`benchmarks/results/study_student.json` is written. It takes about 25 minutes on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from benchmarks.choose_paper import BASE, DATA, teacher
from minikd.data.images import Dataset
from minikd.engines.device import CPU, Device
from minikd.engines.machine import machine
from minikd.paper.lab import executor
from minikd.paper.lab.jobs import Inputs, Job, Json, Output, Store
from minikd.paper.tasks.networks import Data, config_of, errors, host_logits, soft_targets
from minikd.system.cli import Parser, start
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network
from minikd.training.teacher import soft_targets as teacher_answers

RESULT = Path(__file__).parent / "results" / "study_student.json"
SEEDS = (0, 1, 2)
STUDENT = TrainConfig(hidden=(800, 800), epochs=30, learning_rate=0.1, clip_norm=1.0, alpha=1.0, T=20.0)


class Row(NamedTuple):
    """A row of the study.

    Attributes:
        about: what is changed, in words.
        student: changes to the student's configuration.
        teacher: changes to the teacher's configuration.
        images: how many of the training images are learnt from.
        copies: how many shifted copies of each image are learnt from, too.
    """

    about: str
    student: Mapping[str, Any] = MappingProxyType({})
    teacher: Mapping[str, Any] = MappingProxyType({})
    images: int = 50_000
    copies: int = 0


ROWS = (
    Row("as it is: 30 epochs"),
    Row("10 epochs", {"epochs": 10}),
    Row("half of the images, 60 epochs", {"epochs": 60}, images=25_000),
    Row("four shifted copies of each image beside it, 6 epochs", {"epochs": 6}, copies=4),
    Row("a teacher with more dropout", teacher={"drop_input": 0.1, "drop_hidden": 0.4, "learning_rate": 0.1}),
)


def student(row: Row, seed: int) -> Job:
    """A student of a row."""
    config = replace(STUDENT, seed=seed, **row.student)
    settings: Json = {"config": config.record(), "data": asdict(DATA), "images": row.images, "copies": row.copies}
    settings["by"] = list(BASE.hidden)  # of the teacher
    work = 1e-10 * 1.3e6 * row.images * (1 + row.copies) * config.epochs
    return Job(student_task, settings, {"teacher": teacher(dict(row.teacher))}, f"{row.about}, seed {seed}", work)


def shifted(data: Dataset, reach: int, seed: int) -> Dataset:
    """Return the images moved by up to `reach` pixels each way, at random; the gap is filled with zeros."""
    rng = np.random.default_rng(seed)
    rows, columns = data.shape
    padded = np.pad(data.images, ((0, 0), (reach, reach), (reach, reach)))
    down, right = rng.integers(0, 2 * reach + 1, size=(2, len(data)))
    moved = [image[i : i + rows, j : j + columns] for image, i, j in zip(padded, down, right, strict=True)]
    return replace(data, images=np.stack(moved))


def student_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Train a student on a part of the images, and on shifted copies of them, with its teacher's answers to all.

    Returns:
        The record: errors and other, counts of held-out images that are wrong, and where student and teacher do not
        name the same digit; near and far, the root mean square of z − v on the images learnt from and on held-out ones.
    """
    full, _, _, held = Data(**settings["data"]).load()
    config, by = config_of(settings), inputs["teacher"]
    chosen = np.arange(settings["images"])
    source, v = full.take(chosen), by.arrays["train"][chosen]
    transfer, targets = source, soft_targets(by, chosen, source)
    if settings["copies"]:  # beside the images, which the teacher answers anew
        parts = [source, *(shifted(source, 2, seed) for seed in range(1, settings["copies"] + 1))]
        images = np.concatenate([part.images for part in parts])
        transfer = Dataset(images, np.tile(source.labels, len(parts)), "with shifted copies", full.classes)
        sizes = (transfer.images[0].size, *settings["by"], full.classes)
        targets = teacher_answers(Network(sizes, by.arrays["weights"]), transfer, device)
    network = train(config, transfer, soft_targets=targets, device=device)
    z, v_held = host_logits(network, held, device), by.arrays["test"]
    record = {
        "errors": errors(z, held.labels),
        "other": int(np.count_nonzero(np.argmax(z, axis=-1) != np.argmax(v_held, axis=-1))),
        "near": _apart(host_logits(network, source, device), v),
        "far": _apart(z, v_held),
    }
    return record, {}


def _apart(z: np.ndarray, v: np.ndarray) -> float:
    """Return the root mean square of z − v, each without its mean over classes."""
    apart = (z - v).astype(np.float64)
    return float(np.sqrt(np.mean((apart - apart.mean(axis=-1, keepdims=True)) ** 2)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, print the table, write the JSON."""
    parser = Parser("study_student", __doc__ or "", package="benchmarks")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept [runs]")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes of one thread each [2]")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.fail(f"--workers must be ≥ 1, got {args.workers}")
    store = Store(args.out / "paper" / "cpu")
    jobs = [[student(row, seed) for seed in SEEDS] for row in ROWS]
    with executor.processes(args.workers) as (pool, workers):
        every = [job for seeds in jobs for job in seeds]
        executor.run(every, store, pool, workers=workers, on_done=lambda job: print(job.title, flush=True))
    rows = []
    for row, seeds in zip(ROWS, jobs, strict=True):
        records = [store.get(job).record for job in seeds]
        found = {name: [record[name] for record in records] for name in ("errors", "other", "near", "far")}
        by = store.get(teacher(dict(row.teacher))).record["errors"]
        rows.append({"about": row.about, "teacher": by, **found, "seconds": round(records[0]["seconds"])})
        print(rows[-1], flush=True)
    base = {"teacher": BASE.record(), "student": STUDENT.record()}
    record = {"command": "python -m benchmarks.study_student", "machine": machine(CPU), "seeds": SEEDS, "base": base}
    RESULT.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    from benchmarks import study_student  # workers import the task by this name

    start(study_student.main)
