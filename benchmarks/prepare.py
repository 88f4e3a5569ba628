"""Data preparation for the teacher: gather, bytes to floats, jitter, dropout masks; as a share of its step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

from benchmarks.contestants import TEACHER, case, images, minikd_step, name
from benchmarks.timing import Bench, over
from minikd.engines.engine import Batch
from minikd.training.batches import Feed
from minikd.training.config import TrainConfig

LABELS, UNIT = ("network", "preparation"), "ms"
RUNS: dict[str, dict[str, Any]] = {
    "gather": {},
    "gather, jitter": {"jitter": 2},
    "gather, jitter, dropout masks": {"jitter": 2, "drop_input": 0.2, "drop_hidden": 0.5},
}


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    hidden, dataset = (30, 30) if bench.quick else TEACHER, images(bench)
    for what, settings in RUNS.items():
        feed = Feed(TrainConfig(hidden, **settings), dataset, None, bench.device)
        batches = _without_end(feed)
        steps = {
            "preparation": partial(_prepare, batches),
            "step": minikd_step(case(hidden, feed.config.batch_size), bench.device, next(batches).dropout, alpha=0.0),
        }
        yield {"network": name(hidden), "preparation": what, **bench.measure(steps, seconds=10)}


def _without_end(feed: Feed) -> Iterator[Batch]:
    for epoch in count():
        yield from feed.batches(epoch)


def _prepare(batches: Iterator[Batch]) -> None:
    next(batches)


def derived(row: dict[str, Any]) -> dict[str, float]:
    return {"preparation ÷ step": over(row, "preparation", "step")}
