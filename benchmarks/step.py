"""A distillation step with the teacher's logits at hand: minikd, PyTorch, JAX, and the floor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks import jax_scan, pytorch
from benchmarks.contestants import (
    FLOOR_GRAPH,
    MINIKD_GRAPH,
    STUDENTS,
    TEACHER,
    case,
    floor,
    graphs,
    minikd_step,
    name,
    turn_of,
)
from benchmarks.pytorch import EAGER, GRAPHS, WAYS
from benchmarks.timing import Bench, over

LABELS, UNIT = ("network", "batch"), "ms"
BATCHES = (32, 128, 512, 1024)


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    shapes = [(hidden, B) for hidden in (TEACHER, *STUDENTS) for B in BATCHES]
    shapes.sort(key=lambda shape: shape[1] != 128)  # those that matter most come first, in case time runs out
    for hidden, B in [(STUDENTS[-1], 32)] if bench.quick else shapes:
        given = case(hidden, B)
        steps = {
            "floor": floor(given.sizes, B, bench.device),
            "minikd": minikd_step(given, bench.device),
            "minikd, clipped": minikd_step(given, bench.device, clip_norm=1e6),  # measures the norm, changes nothing
            **graphs(given, bench),
            **pytorch.distillation_steps(given, bench),
            **jax_scan.distillation_steps(given, bench),
        }
        yield {"network": name(hidden), "batch": B, **bench.measure(steps, seconds=12, turn=turn_of(given))}


def derived(row: dict[str, Any]) -> dict[str, float]:
    """minikd beside its rivals: launched one by one, and as a graph."""
    rivals = {"floor": ("floor",), "best PyTorch": WAYS, **{one: (one,) for one in (EAGER, GRAPHS, jax_scan.JAX)}}
    ratios = {f"minikd ÷ {what}": over(row, "minikd", *others) for what, others in rivals.items()}
    rivals = {FLOOR_GRAPH: (FLOOR_GRAPH,), "best PyTorch": WAYS, GRAPHS: (GRAPHS,), jax_scan.JAX: (jax_scan.JAX,)}
    return ratios | {f"{MINIKD_GRAPH} ÷ {what}": over(row, MINIKD_GRAPH, *others) for what, others in rivals.items()}
