"""A distillation step with the teacher's logits at hand: minikd, PyTorch, and the floor."""

from __future__ import annotations

from typing import Any

from benchmarks.contestants import STUDENTS, TEACHER, case, floor, minikd_step, name
from benchmarks.pytorch import COMPILED, EAGER, FUSED, GRAPHS, distillation_steps
from benchmarks.timing import Bench, over
from minikd.core.mlp import parameter_count

LABELS, UNIT = ("network", "batch"), "ms"
BATCHES = (32, 128, 512, 1024)


def rows(bench: Bench) -> list[dict[str, Any]]:
    shapes = [(hidden, B) for hidden in (TEACHER, *STUDENTS) for B in BATCHES]
    measured = []
    for hidden, B in shapes[-4:-3] if bench.quick else shapes:
        given = case(hidden, B)
        steps = {
            "floor": floor(given.sizes, B, bench.device),
            "minikd": minikd_step(given, bench.device),
            "minikd, clipped": minikd_step(given, bench.device, clip_norm=1e6),  # measures the norm, changes nothing
            **distillation_steps(given, bench),
        }
        turn = min(max(400_000_000 // (parameter_count(given.sizes) * B), 5), 200)  # steps: some 50 ms
        measured.append({"network": name(hidden), "batch": B, **bench.measure(steps, seconds=12, turn=turn)})
    return measured


def derived(row: dict[str, Any]) -> dict[str, float]:
    rivals = {"floor": ("floor",), "best PyTorch": (EAGER, FUSED, COMPILED, GRAPHS), EAGER: (EAGER,), GRAPHS: (GRAPHS,)}
    return {f"minikd ÷ {what}": over(row, "minikd", *others) for what, others in rivals.items()}
