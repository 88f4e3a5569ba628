"""Logits of teacher and students: what distillation is for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import pytorch
from benchmarks.contestants import STUDENTS, TEACHER, case, floor, minikd_logits, name
from benchmarks.timing import Bench, over

LABELS, UNIT = ("network", "batch"), "ms"
BATCHES = (1, 1000)


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    place = pytorch.place_of(bench)
    for hidden in STUDENTS[-1:] if bench.quick else (TEACHER, *STUDENTS):
        for B in BATCHES:
            given = case(hidden, B)
            steps = {
                "floor": floor(given.sizes, B, bench.device, forward_only=True),
                "minikd": minikd_logits(given, bench.device),
            }
            if place is not None:
                steps[pytorch.EAGER] = pytorch.logits(given, place)
            yield {"network": name(hidden), "batch": B, **bench.measure(steps, seconds=4, turn=50)}


def derived(row: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of a row, by their titles."""
    return {"minikd ÷ PyTorch": over(row, "minikd", pytorch.EAGER)}
