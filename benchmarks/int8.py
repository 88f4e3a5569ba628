"""What weights in bytes cost: the errors of students before and after rounding, on data that no student has seen.

    python -m benchmarks.int8

MNIST: students of the embedded teacher, two epochs, counted on the 10,000 test images. scikit-learn's digits: students
of a random forest, 40 epochs, in five-fold cross-validation, so that each of the 1,797 examples is tested once per
seed. Both have a wide and a narrow student, and five seeds. It writes `benchmarks/results/int8.json`.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minikd.data.images import load_mnist
from minikd.distil.api import distil
from minikd.distil.int8 import rounded_to_int8
from minikd.distil.leave import student_to_python
from minikd.distil.onnx_model import student_to_onnx
from minikd.distil.student import Student
from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.system.cli import Parser, start
from minikd.training.teacher import load_teacher

RESULT = Path(__file__).parent / "results" / "int8.json"
SEEDS = range(5)
LIMIT = 0.1  # per cent of accuracy: int8 is offered if it costs less

Tested = tuple[Student, np.ndarray, np.ndarray]
"""A student, and the examples and labels that it is tested on."""


def mnist(hidden: tuple[int, ...], seed: int) -> Iterator[Tested]:
    """Yield the one student of a seed on MNIST."""
    (train, test), (targets, _) = load_mnist(), load_teacher()
    yield (
        distil(train.images, train.labels, teacher_logits=targets.logits, hidden=hidden, epochs=2, seed=seed),
        test.images,
        test.labels,
    )


def digits(hidden: tuple[int, ...], seed: int) -> Iterator[Tested]:
    """Yield the five students of a seed on scikit-learn's digits, each with the fold that it has not seen."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold

    from minikd.distil.sklearn import classifier_logits

    x, y = load_digits(return_X_y=True)
    for seen, unseen in StratifiedKFold(5, shuffle=True, random_state=seed).split(x, y):
        forest = RandomForestClassifier(100, random_state=seed).fit(x[seen], y[seen])
        logits = classifier_logits(forest, x[seen])
        yield distil(x[seen], y[seen], teacher_logits=logits, hidden=hidden, epochs=40, seed=seed), x[unseen], y[unseen]


CASES = [
    ("MNIST", mnist, (300, 300)),
    ("MNIST", mnist, (30,)),
    ("digits", digits, (300, 300)),
    ("digits", digits, (16,)),
]


def measure(name: str, students: Any, hidden: tuple[int, ...], seeds: Sequence[int]) -> dict[str, Any]:
    """Return a row: per seed, the errors with float32 and with int8, and the answers that differ; and the loss."""
    errors: dict[str, list[int]] = {"float32": [], "int8": []}
    differ, tested, last = [], 0, None
    for seed in seeds:
        counts = np.zeros(4, dtype=int)
        for student, x, y in students(hidden, seed):
            ours, rounded = student.predict(x), rounded_to_int8(student).predict(x)
            counts += [len(y), np.sum(ours != y), np.sum(rounded != y), np.sum(ours != rounded)]
            last = student
        tested, one, other, different = map(int, counts)
        errors["float32"].append(one)
        errors["int8"].append(other)
        differ.append(different)
    loss = 100 * np.subtract(errors["int8"], errors["float32"]) / tested  # (seeds,) per cent
    half = 2 * float(loss.std(ddof=1)) / math.sqrt(len(loss)) if len(loss) > 1 else math.nan
    return {
        "data": name,
        "hidden": hidden,
        "tested": tested,
        "errors": errors,
        "differ": differ,
        "loss_percent": round(float(loss.mean()), 4),
        "two_standard_errors": round(half, 4),
        "bytes": sizes(last),
    }


def sizes(student: Student | None) -> dict[str, int]:
    """Return the bytes of the files that a student leaves as."""
    assert student is not None
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for int8 in (False, True):
            for ending, write in (("onnx", student_to_onnx), ("py", student_to_python)):
                path = Path(folder) / f"{'int8' if int8 else 'float32'}.{ending}"
                write(student, path, int8=int8)
                found[path.name] = path.stat().st_size
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every case, print the table, write the JSON."""
    Parser("int8", __doc__ or "", package="benchmarks").parse_args(argv)
    rows = []
    for name, students, hidden in CASES:
        rows.append(measure(name, students, hidden, SEEDS))
        row = rows[-1]
        print(
            f"{name:7s} {hidden!s:11s} errors {row['errors']}  int8 costs {row['loss_percent']:+.3f} "
            f"± {row['two_standard_errors']:.3f} % of accuracy",
            flush=True,
        )
    offered = all(row["loss_percent"] + row["two_standard_errors"] < LIMIT for row in rows)
    print(f"int8 {'is' if offered else 'is not'} offered: the limit is {LIMIT} %")
    record = {"command": "python -m benchmarks.int8", "seeds": list(SEEDS), "limit_percent": LIMIT, "offered": offered}
    RESULT.write_text(json.dumps({**record, "machine": machine(CPU), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
