"""A step of S students trained as a population, as `train` takes it, against a step of one run alone.

Students of several temperatures share their batches; students of several seeds have batches of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.contestants import ALPHA, MOMENTUM, RATE, T, floor, images, minikd_epoch, name, random_targets
from benchmarks.timing import Bench, Step, Steps, over
from minikd.training.config import TrainConfig

LABELS, UNIT = ("network", "students"), "ms"
WIDTHS, POPULATIONS = (30, 100, 300), (1, 2, 4, 8, 16, 32, 64, 128)


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    dataset = images(bench)
    if bench.place == "cpu":  # an epoch of five steps, because some take half a second
        dataset = dataset.take(np.arange(128 * bench.graph))
    each = len(dataset) // 128  # steps of an epoch
    targets = random_targets(dataset)
    for width in WIDTHS[:1] if bench.quick else WIDTHS:
        for S in POPULATIONS[:2] if bench.quick else POPULATIONS:
            hidden = (width, width)
            common = {"hidden": hidden, "learning_rate": RATE, "momentum": MOMENTUM, "alpha": ALPHA, "clip_norm": None}
            configs = {
                "one run": TrainConfig(T=T, **common),
                "shared batches": TrainConfig(T=tuple(np.linspace(2, 20, S).tolist()), **common),
                "own batches": TrainConfig(T=T, seed=tuple(range(S)), **common),
            }
            epochs = {what: minikd_epoch(c, dataset, targets, bench.device) for what, c in configs.items()}
            steps: dict[str, Step | Steps] = {what: Steps(call, each) for what, call in epochs.items()}
            steps["floor of one"] = floor((784, *hidden, 10), configs["one run"].batch_size, bench.device)
            timed = bench.measure(steps, seconds=8, tolerance=None)  # S costs beside one
            yield {"network": name(hidden), "students": S, **timed}


def derived(row: dict[str, Any]) -> dict[str, float]:
    """The cost of a student, where that of a run alone is 1."""
    return {
        f"{what} ÷ runs": over(row, what, "one run") / row["students"] for what in ("shared batches", "own batches")
    }
