"""The training of a reader's file, beside that of minikd with the same settings and ten seeds.

`python -m minikd.grade --record` trains minikd's networks, and keeps their errors in `noise.json` beside this module.
The reader's run must lie where one more run of minikd's would.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from minikd.data.images import Dataset, load_mnist
from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.learn.capstone.process import Ended, Process
from minikd.learn.capstone.values import decode
from minikd.theory.statistics import Interval, prediction
from minikd.training.answers import count_errors
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network
from minikd.training.teacher import soft_targets

COMMAND = "python -m minikd.grade --record"
TEACHER = TrainConfig(hidden=(300, 300), epochs=6, jitter=2)
ALONE = TrainConfig(hidden=(60, 60), epochs=40)
DISTILLED = replace(ALONE, T=4.0, alpha=0.9)
FILE = "noise.json"
FEW = 6000
"""How many training digits the students see: the first of the 60,000 that the teacher sees."""
NAMES = ("teacher", "alone", "distilled")
SAVED = "saved"
"""The name of the errors of the student alone less those of the distilled one."""
SEEDS = range(10)
WIDER = 1.5
"""How much wider the intervals are than those of 95 %: four numbers are judged, and a right file rarely fails."""
PATIENCE = 1800.0
"""Seconds that a file's training may take."""


def record(say: Callable[[str], None]) -> str:
    """Train minikd's own three networks with each seed, and return their errors as JSON.

    Args:
        say: gets a line after each seed.
    """
    runs = []
    for seed in SEEDS:
        runs.append(train_three(seed))
        say(json.dumps(runs[-1]))
    return written(runs)


def train_three(seed: int) -> dict[str, Any]:
    """Train a teacher, a student alone and a distilled student, and return their test errors and the seconds."""
    (train_set, test_set), began = load_mnist(), perf_counter()
    few = train_set.take(range(FEW))
    teacher = train(replace(TEACHER, seed=seed), train_set)
    alone = train(replace(ALONE, seed=seed), few)
    distilled = train(replace(DISTILLED, seed=seed), few, soft_targets=soft_targets(teacher, few))
    errors = [count_errors(network, test_set) for network in (teacher, alone, distilled)]
    return {"seed": seed, **dict(zip(NAMES, errors, strict=True)), "seconds": round(perf_counter() - began, 1)}


def written(runs: Sequence[dict[str, Any]]) -> str:
    """Return the runs as JSON, with the settings and the machine."""
    settings = {name: config.record() for name, config in zip(NAMES, (TEACHER, ALONE, DISTILLED), strict=True)}
    for one in settings.values():
        del one["seed"]
    kept = {"command": COMMAND, "machine": machine(CPU), "settings": settings, "few": FEW, "runs": runs}
    return json.dumps(kept, indent=1) + "\n"


def minikds() -> dict[str, list[int]]:
    """Return the test errors of minikd's own runs by network, and how many errors the teacher saved its student."""
    runs = json.loads(resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8"))["runs"]
    numbers = [with_saved(run) for run in runs]
    return {name: [one[name] for one in numbers] for name in (*NAMES, SAVED)}


def with_saved(errors: Mapping[str, int]) -> dict[str, int]:
    """Return the errors of the three networks, and how many the teacher saved its student."""
    return {**{name: errors[name] for name in NAMES}, SAVED: errors["alone"] - errors["distilled"]}


def expected() -> dict[str, Interval]:
    """Return where each number must lie: in the interval of one more run of minikd's, made wider."""
    found = {}
    for name, numbers in minikds().items():
        value, low, high = prediction(numbers)
        found[name] = Interval(value, value - WIDER * (value - low), value + WIDER * (high - value))
    return found


def compare(errors: Mapping[str, int]) -> dict[str, Any]:
    """Return whether the errors of a teacher, a student alone and a distilled student are within minikd's noise.

    Returns:
        `within`, and for each of `numbers` the `errors`, and the `low` and `high` end of where they must lie.
    """
    yours, rows = with_saved(errors), {}
    for name, (_, low, high) in expected().items():
        rows[name] = {"errors": yours[name], "low": round(low, 1), "high": round(high, 1)}
    return {"within": all(row["low"] <= row["errors"] <= row["high"] for row in rows.values()), "numbers": rows}


def run(file: str, seed: int = 0) -> dict[str, Any]:
    """Run the training of a reader's file, count the errors of its networks, and compare them with minikd's.

    The file gets the training images and labels. The test set stays here.

    Args:
        file: the path.
        seed: for the file's training.

    Returns:
        What `compare` returns, and the `seconds` that it took.

    Raises:
        Ended: if the file does not return three networks in time.
        Exception: what the file raised.
    """
    train_set, test_set = load_mnist()
    with tempfile.TemporaryDirectory() as folder, Process(Path(file), PATIENCE) as process:
        data = Path(folder) / "data.npz"
        np.savez(data, images=train_set.images.astype(np.float32) / 255, y=train_set.labels)
        began = perf_counter()
        made = decode(process.ask({"do": "train", "data": str(data), "seed": seed}, PATIENCE)["networks"])
        seconds = round(perf_counter() - began)
    errors = {name: _errors(name, layers, test_set) for name, layers in zip(NAMES, made, strict=True)}
    return {**compare(errors), "seconds": seconds}


def _errors(name: str, layers: Any, test_set: Dataset) -> int:
    """Return how many test digits a network of the reader's gets wrong.

    Raises:
        Ended: if it is no network.
    """
    try:
        network = Network.from_layers([(np.asarray(W, np.float32), np.asarray(b, np.float32)) for W, b in layers], [])
        return int(count_errors(network, test_set))
    except (TypeError, ValueError):
        raise Ended(f"distil must return the layers [[W, b], ...] of the network {name!r}") from None
