"""How the specialists' generalist and class sets (P5, P6) were chosen: on held-out pairs, never on the test set.

    python -m benchmarks.choose_pairs

makes pairs of the first 50,000 training images to train on, and pairs of the last 10,000 of them to count errors with.
It chooses two settings, one after the other, by a rule that was written down before the first run:

1. The width is that of the widest generalist tried whose specialists help. They help if the 95 % intervals of both
   gains, among their classes and overall, lie wholly above 0. If none does, it is the narrowest.
2. T, of the predictions that the class sets come from, is the one with the largest mean gain overall at that width.

Each candidate has five generalists with their specialists. Finished work is kept below `runs`, so the same command
resumes after a stop. At the end the table is printed, and `benchmarks/results/choose_pairs.json` is written. It takes
about 15 minutes on two cores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Store
from minikd.paper.rows.specialists import PLANS, Plan, accuracies, combined
from minikd.system.cli import Parser, start

RESULT = Path(__file__).parent / "results" / "choose_pairs.json"
BASE = PLANS["cpu"]._replace(pairs=(60_000, 10_000, 0, 10_000), T=4.0)
WIDTHS = (12, 16, 20, 30)
TEMPERATURES = (1.0, 4.0, 20.0)


def measured(plan: Plan, store: Store) -> dict[str, Any]:
    """Return a candidate whose jobs are done: its settings, both accuracies of each seed, both gains."""
    row: dict[str, Any] = {"width": plan.width, "T": plan.T}
    found = accuracies([store.get(job).record for job in combined(plan).values()])
    for name, accuracy in zip(("conditional", "overall"), found, strict=True):
        row[name] = {"before": accuracy.before.tolist(), "after": accuracy.after.tolist(), "gain": accuracy.gain()}
    return row


def widest(rows: Sequence[dict[str, Any]]) -> int:
    """Return the width that the rule chooses among rows of one T."""
    helped = [row["width"] for row in rows if min(row[name]["gain"].low for name in ("conditional", "overall")) > 0]
    return max(helped, default=min(row["width"] for row in rows))


def cells(row: dict[str, Any]) -> list[str]:
    """Return a candidate's line of the table."""
    found = []
    for name in ("conditional", "overall"):
        value, low, high = row[name]["gain"]
        found += [f"{np.mean(row[name]['before']):.2f}", f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"]
    return [str(row["width"]), f"{row['T']:g}", *found]


def table(record: dict[str, Any]) -> str:
    """Return the table of a result, in Markdown."""
    head = ["units per layer", "T", "% right among a specialist's classes", "gain", "% right overall", "gain"]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *map(cells, record["rows"])))


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, choose, print the table, write the JSON."""
    Parser("choose_pairs", __doc__ or "", package="benchmarks").parse_args(argv)
    store = Store(Path("runs") / "paper" / "cpu")

    def compare(plans: Sequence[Plan]) -> list[dict[str, Any]]:
        every = [job for plan in plans for job in combined(plan).values()]
        with engine.processes(2) as (executor, workers):
            engine.run(every, store, executor, workers=workers, on_done=lambda job: print(job.title, flush=True))
        return [measured(plan, store) for plan in plans]

    rows = compare([BASE._replace(width=width) for width in WIDTHS])
    width = widest(rows)
    rows += compare([BASE._replace(width=width, T=T) for T in TEMPERATURES if T != BASE.T])
    at_width = [row for row in rows if row["width"] == width]
    best = max(at_width, key=lambda row: row["overall"]["gain"].value)
    record = {
        "command": "python -m benchmarks.choose_pairs",
        "machine": machine(CPU),
        "plan": BASE._asdict(),
        "rows": rows,
        "chosen": {"width": width, "T": best["T"]},
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\nof pairs of held-out training images, {BASE.seeds} seeds:\n{table(record)}\nchosen: {record['chosen']}")


if __name__ == "__main__":
    start(main)
