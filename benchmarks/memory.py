"""Resident memory of a process that trains, after each of six epochs: it must not grow.

What is resident, not the peak of it: that comes from unpacking MNIST, and would hide what is lost later.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.contestants import images, random_targets
from benchmarks.timing import Bench
from minikd.engines.device import get_device
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

LABELS, UNIT = ("run", "MiB after each epoch"), ""
STATUS = Path("/proc/self/status")
EPOCHS = 6
RUNS: dict[str, dict[str, Any]] = {
    "one network, jitter and dropout": {"jitter": 2, "drop_input": 0.2, "drop_hidden": 0.5, "max_norm": 3.87},
    "four students, distilled": {"T": (2.0, 4.0, 8.0, 20.0), "alpha": 0.9, "clip_norm": 1.0},
}
GROWTH = "MiB grown since epoch 2"


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    if not STATUS.exists():
        bench.left_out["memory"] = f"{STATUS} is not there"
        return
    for run in RUNS:
        arguments = [run, bench.device.name, str(int(bench.quick))]
        command = [sys.executable, "-m", "benchmarks.memory", *arguments]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
        yield {"run": run, "MiB after each epoch": json.loads(done.stdout)}


def watch(run: str, bench: Bench) -> list[float]:
    """Train, and look after each epoch: MiB resident, or on a GPU what CuPy's pool holds there."""
    dataset, seen = images(bench), []
    config = TrainConfig((100, 100), epochs=EPOCHS, learning_rate=0.01, **RUNS[run])

    def look(network: Network) -> None:
        if bench.place == "gpu":
            seen.append(round(bench.device.xp.get_default_memory_pool().total_bytes() / 2**20, 1))
            return
        (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS")]
        seen.append(round(int(line.split()[1]) / 1024, 1))

    targets = random_targets(dataset) if config.alpha else None
    train(config, dataset, soft_targets=targets, device=bench.device, on_epoch=look)
    return seen


def derived(row: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of a row, by their titles."""
    _, second, *later = row["MiB after each epoch"]
    return {GROWTH: max(later) - second}


if __name__ == "__main__":
    run, device, quick = sys.argv[1:]
    print(json.dumps(watch(run, Bench(get_device(device), quick=quick == "1"))))
