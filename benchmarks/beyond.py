"""Distillation beyond MNIST: teachers of scikit-learn and small students, on data sets that packages bring along.

    python -m benchmarks.beyond

Five seeds, each with a new split into 70 % and 30 % and new networks; about eight minutes on one core. It needs the
extra `bench`, and downloads nothing. It writes `benchmarks/results/beyond.json` and `benchmarks/BEYOND.md`. With
`--page` it only writes the page, from the results that are there.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from benchmarks import beyond_page
from minikd.data.inputs import Inputs
from minikd.data.soft_targets import soft_targets_from
from minikd.distil import Student, distil, export_student
from minikd.distil.choices import settings
from minikd.distil.int8 import rounded_to_int8
from minikd.distil.report import BATCHES, latency
from minikd.distil.sklearn import classifier_logits, held_out_logits
from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.system.cli import Parser, start
from minikd.theory.calibration import calibration_error, log_loss
from minikd.training.answers import logits
from minikd.training.loop import train
from minikd.training.runs import write_json

SEEDS = range(5)
BUDGETS = (1, 5, 20)
"""Students: one hidden layer, as wide as this many kB of float32 weights allow."""
GRID = tuple(product((1.0, 2.0, 4.0, 8.0), (0.03, 0.1, 0.3, 0.6, 0.9, 1.0)))
"""The T and alpha that are tried with hindsight, for the student of 5 kB."""
FOLDS = 5
Data = tuple[np.ndarray, np.ndarray]
Row = dict[str, Any]


class Case(NamedTuple):
    """A data set, and a model that can be fitted to it, given a seed."""

    data: str
    source: str
    load: Callable[[], Data]
    model: str
    teacher: Callable[[int], Any]


def of_river(name: str) -> Data:
    """Return the examples and class numbers of a data set inside the package river."""
    from river import datasets

    examples, labels = zip(*getattr(datasets, name)(), strict=True)
    x = np.array([list(one.values()) for one in examples], np.float64)
    return x, np.unique([str(one) for one in labels], return_inverse=True)[1]


def of_sklearn(load: Callable[..., Any]) -> Callable[[], Data]:
    return lambda: load(return_X_y=True)


def forest(seed: int) -> Any:
    return RandomForestClassifier(beyond_page.TREES, random_state=seed)


def boosted(seed: int) -> Any:
    return GradientBoostingClassifier(random_state=seed)


def votes_of_pairs(seed: int) -> Any:
    """Return support vector machines of pairs of classes: each has a vote. Calibrated, votes become probabilities."""
    return CalibratedClassifierCV(SVC(random_state=seed), ensemble=False)


def one_against_rest(seed: int) -> Any:
    """Return a support vector machine per class, whose margins become probabilities."""
    return CalibratedClassifierCV(OneVsRestClassifier(SVC(random_state=seed)), ensemble=False)


CASES = [
    Case("digits", "scikit-learn", of_sklearn(load_digits), "random forest", forest),
    Case("digits", "scikit-learn", of_sklearn(load_digits), beyond_page.REST, one_against_rest),
    Case("digits", "scikit-learn", of_sklearn(load_digits), beyond_page.VOTES, votes_of_pairs),
    Case("breast cancer", "scikit-learn", of_sklearn(load_breast_cancer), "gradient boosting", boosted),
    Case("wine", "scikit-learn", of_sklearn(load_wine), "random forest", forest),
    Case("image segments", "river", lambda: of_river("ImageSegments"), "gradient boosting", boosted),
    Case("phishing", "river", lambda: of_river("Phishing"), "random forest", forest),
]


def width(budget: int, D: int, K: int) -> int:
    """Return the units of a hidden layer with which all weights and biases take this many kB as float32, or less."""
    return max(2, (1000 * budget // 4 - K) // (D + K + 1))


def figures(z: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return what is measured of answers to the test part."""
    right = float(np.mean(np.argmax(z, axis=-1) == y))
    return {"accuracy": right, "log_loss": log_loss(z, y), "ece": calibration_error(z, y)}


def population(
    part: Data, v: np.ndarray, hidden: tuple[int, ...], pairs: Sequence[tuple[float, float]], seed: int, x: np.ndarray
) -> np.ndarray:
    """Train a student for each (T, alpha), as `distil` would, in one pass; return their logits for x, (S, N, K)."""
    inputs, K = Inputs.of(part[0]), v.shape[1]
    T, alpha = zip(*pairs, strict=True)
    config = replace(settings(v, hidden, T=1.0, alpha=0.0, seed=seed), T=T, alpha=alpha)
    dataset = inputs.dataset(*part, "training part", K)
    network = train(config, dataset, soft_targets=soft_targets_from(v, dataset))
    return np.asarray(logits(network, inputs.dataset(x, None, "test part", K)))


def sizes(student: Student) -> dict[str, int]:
    """Return the bytes of the files that a student leaves as."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in {
            "safetensors": student.save,
            "onnx": lambda path: export_student(student, path),
            "onnx int8": lambda path: export_student(student, path, int8=True),
        }.items():
            path = Path(folder) / f"student.{name.split()[0]}"
            write(path)
            found[name] = path.stat().st_size
    return found


def latencies(answer: Callable[[np.ndarray], Any], x: np.ndarray) -> dict[str, float]:
    """Return the seconds that a batch takes, by its size."""
    many = np.resize(x, (max(BATCHES), x.shape[1]))
    return {str(batch): latency(lambda batch=batch: answer(many[:batch]), seconds=0.2) for batch in BATCHES}


def one_seed(case: Case, seed: int) -> Row:
    """Return what one split, one teacher and its students give, each entry a number for this seed."""
    x, y = case.load()
    K = int(y.max()) + 1
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    teacher = case.teacher(seed).fit(x_train, y_train)
    v = classifier_logits(teacher, x_train)
    found: Row = {"teacher": figures(classifier_logits(teacher, x_test), y_test), "students": {}}
    found["teacher"] |= {"bytes": len(pickle.dumps(teacher)), "seen": float(np.mean(v.argmax(axis=1) == y_train))}
    found["teacher"]["latency"] = latencies(teacher.predict_proba, x_test) if seed == 0 else None
    for budget in BUDGETS:
        hidden = (width(budget, x.shape[1], K),)
        student = distil(x_train, y_train, teacher_logits=v, hidden=hidden, seed=seed)
        chosen = student.about["config"]
        tried = [(1.0, 0.0), (chosen["T"], chosen["alpha"]), *(GRID if budget == 5 else ())]
        z = population((x_train, y_train), v, hidden, tried, seed, x_test)
        row: Row = {"hidden": hidden[0], "alone": figures(z[0], y_test)}
        row["distilled"] = figures(student.logits(x_test), y_test) | {"T": chosen["T"], "alpha": chosen["alpha"]}
        row["int8"] = figures(rounded_to_int8(student).logits(x_test), y_test)
        row["bytes"] = sizes(student)
        if budget == 5:
            row["grid"] = [figures(one, y_test) for one in z[2:]]
            other = held_out_logits(teacher, x_train, y_train, FOLDS, seed)
            student = distil(x_train, y_train, teacher_logits=other, hidden=hidden, seed=seed)
            row["held out"] = figures(student.logits(x_test), y_test)
            row["held out"]["alpha"] = student.about["config"]["alpha"]
            row["latency"] = latencies(student.predict_proba, x_test) if seed == 0 else None
        found["students"][f"{budget} kB"] = row
    return found


def gathered(found: Sequence[Any]) -> Any:
    """Return what every seed has found as one tree. Its leaves are lists with an entry per seed that has one."""
    found = [one for one in found if one is not None]
    if isinstance(found[0], dict):
        return {key: gathered([one[key] for one in found]) for key in found[0]}
    if isinstance(found[0], list):
        return [gathered(one) for one in zip(*found, strict=True)]
    return [round(one, 6) if isinstance(one, float) else one for one in found]


def measure(case: Case, seeds: Sequence[int]) -> Row:
    """Return the row of a case."""
    x, y = case.load()
    about = {"data": case.data, "source": case.source, "model": case.model, "examples": len(x), "features": x.shape[1]}
    return {**about, "classes": int(y.max()) + 1, **gathered([one_seed(case, seed) for seed in seeds])}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every case, write the JSON after each, and the page."""
    parser = Parser("beyond", __doc__ or "", package="benchmarks")
    parser.add_argument("--page", action="store_true", help="measure nothing; write the page from the results")
    if not parser.parse_args(argv).page:
        record: Row = {"command": "python -m benchmarks.beyond", "seeds": list(SEEDS), "grid": GRID, "folds": FOLDS}
        record |= {"machine": machine(CPU), "rows": []}
        for case in CASES:
            record["rows"].append(measure(case, SEEDS))
            print(f"{case.data}, {case.model}: done", flush=True)
            write_json(beyond_page.RESULT, record)
    beyond_page.write()


if __name__ == "__main__":
    start(main)
