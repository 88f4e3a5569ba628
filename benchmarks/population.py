"""A step of S students trained as a population, data preparation included, against a step of one run alone.

Students of several temperatures share their batches; students of several seeds have batches of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contestants import ALPHA, MOMENTUM, RATE, T, floor, images, name, random_targets, training
from benchmarks.timing import Bench, over
from minikd.training.config import TrainConfig

LABELS, UNIT = ("network", "students"), "ms"
WIDTHS, POPULATIONS = (30, 100, 300), (1, 2, 4, 8, 16, 32, 64, 128)


def rows(bench: Bench) -> list[dict[str, Any]]:
    dataset = images(bench)
    targets = random_targets(dataset)
    measured = []
    for width in WIDTHS[:1] if bench.quick else WIDTHS:
        for S in POPULATIONS[:2] if bench.quick else POPULATIONS:
            hidden = (width, width)
            common = {"hidden": hidden, "learning_rate": RATE, "momentum": MOMENTUM, "alpha": ALPHA, "clip_norm": None}
            configs = {
                "one run": TrainConfig(T=T, **common),
                "shared batches": TrainConfig(T=tuple(np.linspace(2, 20, S).tolist()), **common),
                "own batches": TrainConfig(T=T, seed=tuple(range(S)), **common),
            }
            steps = {what: training(c, dataset, targets, bench.device)[0] for what, c in configs.items()}
            steps["floor of one"] = floor((784, *hidden, 10), configs["one run"].batch_size, bench.device)
            timed = bench.measure(steps, seconds=8, tolerance=None)  # S costs beside one
            measured.append({"network": name(hidden), "students": S, **timed})
    return measured


def derived(row: dict[str, Any]) -> dict[str, float]:
    """The cost of a student, where that of a run alone is 1."""
    return {
        f"{what} ÷ runs": over(row, what, "one run") / row["students"] for what in ("shared batches", "own batches")
    }
