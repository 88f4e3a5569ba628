"""What do soft targets pass on, and are networks that learn from them calibrated? An experiment on MNIST.

    python -m benchmarks.dark_knowledge

Students 784-300-300-10 learn from the teacher that comes with minikd, at T = 8 and without labels. A row changes what
the teacher says of a training image with the label y, at this T. p are its probabilities:

- soft targets: p as it is.
- wrong classes alike: p_y as it is, and the rest divided equally among the wrong classes. No dark knowledge is left,
  only how sure the teacher is of each image (derivation D12.19).
- wrong classes exchanged: p_y as it is, and the probabilities of the wrong classes in another order, drawn for each
  image.
- equally sure of every image: p_y is its mean over the images, and the wrong classes keep their shares of the rest.
  Only dark knowledge differs from image to image.
- smoothed labels: p_y is its mean, and the wrong classes are alike. This teacher knows nothing but the labels.

The last students learn from the labels themselves. Each row reports errors on the test images, and at T = 1 and at the
training T the expected calibration error (`minikd.theory.calibration`, 15 bins) and the mean log loss. At the end
`benchmarks/results/dark_knowledge.json` is written. It takes about 20 minutes on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minikd.core.array import one_hot
from minikd.core.softmax import log_softmax, softmax
from minikd.data.images import Dataset, load_mnist
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import get_device
from minikd.engines.machine import machine
from minikd.paper.lab.jobs import Json
from minikd.system.cli import Parser, start
from minikd.theory.calibration import calibration_error, log_loss, reliability
from minikd.theory.dark_knowledge import forget_wrong_classes
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.teacher import load_teacher

RESULT = Path(__file__).parent / "results" / "dark_knowledge.json"
T = 8.0
STUDENT = TrainConfig(hidden=(300, 300), epochs=10, T=T, alpha=1.0, seed=(0, 1, 2, 3, 4))
ROWS = (
    "soft targets",
    "wrong classes alike",
    "wrong classes exchanged",
    "equally sure of every image",
    "smoothed labels",
    "labels",
)


def targets(row: str, v: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return what a teacher with the logits v (N, K) says in this row: logits (N, K) for use at T."""
    N, K = v.shape
    alike = forget_wrong_classes(v, y=y, T=T)
    if row == "soft targets":
        return v
    if row == "wrong classes alike":
        return alike
    if row == "wrong classes exchanged":
        others = np.argsort(np.random.default_rng(0).random((N, K)) + 9.0 * one_hot(y, v), axis=-1)[:, :-1]  # (N, K−1)
        exchanged = v.copy()
        np.put_along_axis(exchanged, np.sort(others, axis=-1), np.take_along_axis(v, others, axis=-1), axis=-1)
        return exchanged
    true = one_hot(y, v).astype(bool)  # (N, K)
    sure = np.mean(softmax(v, T)[true])  # over the images
    log_p = log_softmax(v if row == "equally sure of every image" else alike, T)
    rest = np.log1p(-np.exp(log_p[true]))[:, np.newaxis]  # (N, 1), what p leaves to the wrong classes
    made: np.ndarray = T * np.where(true, np.log(sure), log_p - rest + np.log1p(-sure)).astype(v.dtype)
    return made


def measured(z: np.ndarray, y: np.ndarray) -> Json:
    """Return the errors of logits (N, K), and their calibration at T = 1 and at the training T."""
    found: Json = {"errors": int(np.count_nonzero(np.argmax(z, axis=-1) != y))}
    for name, at in (("1", 1.0), ("T", T)):
        scaled = (z / at).astype(np.float64)
        found[f"ece {name}"], found[f"log loss {name}"] = calibration_error(scaled, y), log_loss(scaled, y)
    curve = reliability(z.astype(np.float64), y)
    hits = np.nan_to_num(curve.accuracy * curve.number)
    sure = np.nan_to_num(curve.confidence * curve.number)
    return {**found, "bins": {"number": curve.number.tolist(), "right": hits.tolist(), "sure": sure.tolist()}}


def students(row: str, data: tuple[Dataset, Dataset], v: SoftTargets, device: Any) -> list[Json]:
    """Train the students of a row. Returns: what was measured of each."""
    training, test = data
    if row == "labels":
        network = train(replace(STUDENT, alpha=0.0, T=1.0), training, device=device)
    else:
        made = targets(row, v.logits, training.labels.astype(np.int64))
        by = SoftTargets(made, training.fingerprint, row, T)
        network = train(STUDENT, training, soft_targets=by, device=device)
    z = device.get(logits(network, test, device))  # (S, N, K)
    return [measured(one, test.labels.astype(np.int64)) for one in z]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure, print a line per row, write the JSON."""
    parser = Parser("dark_knowledge", __doc__ or "", package="benchmarks")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU with CuPy")
    device = get_device("gpu" if parser.parse_args(argv).gpu else "cpu")
    data, (v, v_test) = load_mnist(), load_teacher()
    teacher = measured(v_test.logits, data[1].labels.astype(np.int64))
    rows = []
    for row in ROWS:
        found = students(row, data, v, device)
        rows.append({"targets": row, "students": found})
        print(f"{row:30} errors {[one['errors'] for one in found]}", flush=True)
    command = f"python -m benchmarks.dark_knowledge{' --gpu' if device.name == 'gpu' else ''}"
    record = {"command": command, "machine": machine(device), "student": STUDENT.record(), "teacher": teacher}
    RESULT.write_text(json.dumps({**record, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
