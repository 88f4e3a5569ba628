"""How high is a high temperature on MNIST? How far the soft gradient is from logit matching, for a real teacher.

    python -m benchmarks.how_high

trains a teacher of ten epochs and its student (about two minutes), and computes the soft gradient of every test
image: for the student before its first step and after its last. Labels are not used. Prints two tables and writes
`benchmarks/results/how_high.json`. The error of a case is the largest one of its ten elements, relative to the largest
element of logit matching; derivation D3 says what it should be.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minikd.core.losses import soft_cross_entropy
from minikd.core.mlp import initialise
from minikd.data.images import load_mnist
from minikd.engines.device import CPU
from minikd.system.cli import Parser, start
from minikd.theory.limits import estimated_temperature, remainder_bound, sufficient_temperature
from minikd.training.answers import logits
from minikd.training.config import TrainConfig, stream
from minikd.training.loop import train
from minikd.training.network import Network
from minikd.training.teacher import soft_targets

RESULT = Path(__file__).parent / "results" / "how_high.json"
TEACHER = TrainConfig(hidden=(1200, 1200), epochs=10, learning_rate=0.2, clip_norm=1.0, jitter=2)
STUDENT = TrainConfig(hidden=(800, 800), epochs=6, learning_rate=0.2, clip_norm=1.0, T=8.0, alpha=0.9)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0, 40.0, 100.0, 1000.0)
TOLERANCES = (0.01, 0.05, 0.1)


def zero_mean(z: np.ndarray) -> np.ndarray:
    return z - z.mean(axis=-1, keepdims=True)


def errors(z: np.ndarray, v: np.ndarray, T: float) -> tuple[np.ndarray, np.ndarray]:
    """The relative error of logit matching on each case, (N,), and the bound on it."""
    N, K = z.shape
    matching = (z - v) / (K * T**2)
    largest = np.abs(matching).max(axis=-1)
    gradient = soft_cross_entropy(z, v=v, T=T)[1] * N
    return np.abs(gradient - matching).max(axis=-1) / largest, remainder_bound(z, v=v, T=T)[:, 0] / largest


def needed(z: np.ndarray, v: np.ndarray, tolerance: float, grid: np.ndarray) -> np.ndarray:
    """Return the lowest T of a rising grid from which a case's error stays within the tolerance, (N,)."""
    last_bad = np.zeros(len(z), int)  # one more than the number of the last T that is not within it
    for i, T in enumerate(grid):
        last_bad[errors(z, v, T)[0] > tolerance] = i + 1
    return grid[np.minimum(last_bad, len(grid) - 1)]


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure, print, write."""
    Parser("how_high", __doc__ or "", package="benchmarks").parse_args(argv)
    train_set, test_set = load_mnist()
    teacher = train(TEACHER, train_set)
    student = train(STUDENT, train_set, soft_targets=soft_targets(teacher, train_set))
    fresh = Network(student.sizes, initialise(student.sizes, stream(STUDENT.seed, "initialisation")))
    v = zero_mean(CPU.get(logits(teacher, test_set)).astype(np.float64))
    grid = np.geomspace(0.1, 1e4, 251)

    rows: dict[str, Any] = {}
    for name, network in (("before the first step", fresh), ("after the last step", student)):
        z = zero_mean(CPU.get(logits(network, test_set)).astype(np.float64))
        at = {T: [float(np.median(values)) for values in errors(z, v, T)] for T in TEMPERATURES}
        within = {
            tolerance: {
                "measured": float(np.median(needed(z, v, tolerance, grid))),
                "estimated (D3.15)": float(np.median(estimated_temperature(z, v=v, tolerance=tolerance))),
                "sufficient (D3.34)": float(np.median(sufficient_temperature(z, v=v, tolerance=tolerance))),
            }
            for tolerance in TOLERANCES
        }
        rows[name] = {"median error and bound at T": at, "median T for a tolerance of": within}
        print(f"\nstudent {name}: error of logit matching, median of {len(z):,} test images, relative")
        print("T        " + "".join(f"{T:>9g}" for T in TEMPERATURES))
        print("measured " + "".join(f"{at[T][0]:9.3f}" for T in TEMPERATURES))
        print("bound    " + "".join(f"{at[T][1]:9.3f}" for T in TEMPERATURES))
        print("\nT needed   measured   estimated   sufficient")
        for tolerance, found in within.items():
            print(f"{tolerance:8.0%}" + "".join(f"{T:12.0f}" for T in found.values()))
    spread = np.percentile(np.ptp(v, axis=-1), [5, 50, 95])
    print("\nspread of the teacher's logits, nats: 5 % {:.1f}, median {:.1f}, 95 % {:.1f}".format(*spread))

    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "numpy": np.__version__}
    record = {"command": "python -m benchmarks.how_high", "seed": 0, "machine": machine, "student": rows}
    record["spread of the teacher's logits, percentiles 5, 50, 95"] = spread.tolist()
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    start(main)
