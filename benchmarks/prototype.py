"""A step of a prototype that launched 100 steps, data preparation included, as one CUDA graph. It was measured once."""

from __future__ import annotations

from typing import Any

from benchmarks.timing import over

LABELS, UNIT = ("what", "network", "batch"), "ms"


def derived(row: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of a graph to single launches, and to the products and the update alone as a graph."""
    return {"graph ÷ one by one": over(row, "graph", "one by one"), "graph ÷ floor": over(row, "graph", "floor, graph")}
