"""What the page to play with shows: real test digits, their teacher's logits, and a student that never saw a 3.

The page has these numbers in a file, because training gives slightly different ones on another processor.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.core.softmax import log_softmax
from minikd.data.images import Dataset, load_mnist
from minikd.data.soft_targets import SoftTargets
from minikd.theory.priors import matching_shift, shift_classes
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.teacher import load_teacher

MISSING = 3
POOL = 15_000
"""How many training images the student without 3s chooses its transfer set from, as in notebook 8."""
SHIFTS = [round(-2 + 0.1 * i, 1) for i in range(101)]
"""Where the bias slider of the page can stand, in nats."""
DECIMALS = 4


def record() -> str:
    """Return the page's data as JSON: the digits of `chosen`, and what `without_the_missing` says."""
    _, test_set = load_mnist()
    _, targets = load_teacher()
    v = np.asarray(targets.logits, np.float64)
    data = {
        "digits": [_digit(test_set, n, v[n]) for n in chosen(v, test_set.labels)],
        "missing": without_the_missing(test_set, *student_without_the_missing(test_set)),
    }
    return json.dumps(data, separators=(",", ":")).replace('{"n"', '\n{"n"') + "\n"


def chosen(v: NDArray[np.float64], labels: NDArray[np.uint8]) -> list[int]:
    """Return six test digits of each class: three that the teacher gets right, and the three that it doubts most.

    The three are those at a tenth, at half and at nine tenths of the digits by rising entropy, at T = 1.

    Args:
        v: (N, K), the teacher's logits.
        labels: (N,).
    """
    log_p = log_softmax(v)
    entropy, right = -np.sum(np.exp(log_p) * log_p, axis=-1), v.argmax(axis=-1) == labels
    digits: list[int] = []
    for k in range(v.shape[-1]):
        order = np.flatnonzero(labels == k)
        order = order[np.argsort(entropy[order], kind="stable")]
        sure = order[right[order]]
        digits += [int(sure[len(sure) * tenths // 10]) for tenths in (5, 1, 9)] + order[-3:].tolist()
    return digits


def student_without_the_missing(test_set: Dataset) -> tuple[NDArray[np.float64], float]:
    """Train the student of notebook 8, which sees no 3.

    Returns:
        Its logits for the test set, (N, K), and the shift of class 3 that makes its mean probability of a 3 on
        unlabelled digits the teacher's.
    """
    train_set, _ = load_mnist()
    targets, _ = load_teacher()
    pool, v = train_set.take(range(POOL)), targets.logits[:POOL]
    index = np.flatnonzero(pool.labels != MISSING)
    transfer = pool.take(index)
    soft = SoftTargets(v[index], transfer.fingerprint, targets.teacher)
    config = TrainConfig(hidden=(300,), epochs=12, learning_rate=0.1, clip_norm=1.0, alpha=1.0, T=20.0)
    student = train(config, transfer, soft_targets=soft)
    prior = float(np.exp(log_softmax(np.asarray(v, np.float64)))[:, MISSING].mean())
    unlabelled = np.asarray(logits(student, pool), np.float64)
    return np.asarray(logits(student, test_set), np.float64), matching_shift(unlabelled, [MISSING], prior)


def without_the_missing(test_set: Dataset, z: NDArray[np.float64], honest: float) -> dict[str, Any]:
    """Return what a shift of class 3 does to a student: counts over the test set, and forty digits that change class.

    Args:
        test_set: the images and labels.
        z: (N, K), the student's logits.
        honest: the shift that was chosen without labels.
    """
    labels, is_3 = test_set.labels, test_set.labels == MISSING
    counts = []
    for s in SHIFTS:
        said = shift_classes(z, [MISSING], s).argmax(axis=-1)
        called_3 = said == MISSING
        counts.append([int(np.sum(one)) for one in (said != labels, is_3 & ~called_3, called_3 & ~is_3)])
    needed = np.delete(z, MISSING, axis=-1).max(axis=-1) - z[:, MISSING]  # (N,), the shift from which it says 3
    faces: list[int] = []
    for which in (is_3, ~is_3):
        order = np.flatnonzero(which & (needed > 0) & (needed < SHIFTS[-1]))
        order = order[np.argsort(needed[order], kind="stable")]
        faces += order[np.linspace(0, len(order) - 1, 20).astype(int)].tolist()
    return {
        "threes": int(is_3.sum()),
        "honest": round(honest, 2),
        "shifts": SHIFTS,
        "counts": counts,
        "digits": [_digit(test_set, n, z[n]) for n in faces],
    }


def _digit(test_set: Dataset, n: int, z: NDArray[np.float64]) -> dict[str, Any]:
    """Return a test digit as the page reads it: its number, label, 28 × 28 bytes and ten logits."""
    pixels = base64.b64encode(test_set.images[n].tobytes()).decode()
    return {"n": n, "y": int(test_set.labels[n]), "z": z.round(DECIMALS).tolist(), "pixels": pixels}
