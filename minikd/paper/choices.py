"""The tables of what was tried on held-out images before the paper's rows had their settings, for the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.theory.statistics import mean_sd

USUAL_RATE = 0.2
"""A student's rate above this does harm."""
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _load(name: str) -> Json:
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def _drop(shares: Sequence[float]) -> str:
    """Return the shares that are dropped, of the inputs and of the hidden units."""
    return " / ".join(f"{share:g}" for share in shares)


def teachers() -> str:
    """Return the teachers that were tried on two cores."""
    record = _load("choose_paper")
    base, rows = record["base"], []
    for row in record["rows"]:
        config = {**base, **row["changes"]}
        drop = _drop([config["drop_input"], config["drop_hidden"]])
        cells = [f"{config['epochs']}", drop, f"{config['learning_rate']:g}", f"{row['errors']}"]
        rows.append([*cells, f"{row['seconds'] / 60:.0f} minutes"])
    head = ("epochs", "drop, inputs / hidden", "rate", "errors", "time on one core")
    return "\n".join([*markdown(head, rows), "", f"`{record['command']}`"])


def recipes() -> str:
    """Return the teachers that were tried on a card: those on 50,000 images, and the five seeds on all."""
    record = _load("h200/recipes")
    rows = []
    for row in record["teachers"]:
        if "held_out" in row:
            cells = [f"{row['epochs']}", _drop(row["drop"]), f"{row['learning_rate']:g}", f"{row['batch_size']}"]
            rows.append([*cells, f"{row['held_out']}", f"{row['test']}"])
    final = [row["test"] for row in record["teachers"] if "held_out" not in row]
    head = ("epochs", "drop, inputs / hidden", "rate", "batch", "held-out errors", "test errors")
    words = (
        f"Five seeds of the recipe of row M1 on all 60,000 images: {', '.join(map(str, final))} test errors, "
        f"{np.mean(final):.1f} on average."
    )
    return "\n".join([*markdown(head, rows), "", words])


def students() -> str:
    """Return the students of the teachers that were tried on a card, those of each teacher together."""
    record, rows = _load("h200/recipes"), []
    asked = [row for row in record["students"] if "held_out" in row and row["learning_rate"] <= USUAL_RATE]
    for teacher in (row for row in record["teachers"] if "held_out" in row):
        own = {name: teacher[name] for name in ("drop", "learning_rate", "epochs")}
        found = [row["held_out"] for row in asked if own.items() <= row["teacher"].items()]
        if found:
            cells = [
                f"{teacher['epochs']}",
                _drop(teacher["drop"]),
                f"{teacher['held_out']}",
                f"{len(found)}",
                mean_sd(found),
            ]
            rows.append([*cells, f"{min(found)} to {max(found)}"])
    head = ("teacher's epochs", "its drop, inputs / hidden", "its errors", "students", "their errors", "fewest to most")
    return "\n".join(markdown(head, rows))


def study() -> str:
    """Return what was changed about the distilled student, and what came of it."""
    record = _load("study_student")
    rows = []
    for row in record["rows"]:
        found = [mean_sd(row[name], digits) for name, digits in (("errors", 1), ("other", 1), ("near", 2), ("far", 2))]
        rows.append([row["about"], f"{row['teacher']}", *found])
    head = ("student", "its teacher's errors", "its errors", "other answers than its teacher's",
            "z − v, images learnt from", "z − v, held-out images")  # fmt: skip
    return "\n".join([*markdown(head, rows), "", f"`{record['command']}`, {len(record['seeds'])} seeds."])


TABLES = {"choice": teachers, "recipes": recipes, "tried": students, "study": study}
"""The tables by their marks."""
