"""The tables of choices and experiments beside the paper's rows, for the page, and a figure of one of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minikd.plots.canvas import OKABE_ITO, Figure, side_by_side  # before Matplotlib

# isort: split
import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.theory.statistics import mean_interval, mean_sd

USUAL_RATE = 0.2
"""A student's rate above this does harm."""
LEAST = 10
"""Test images in a bin of the figure, for each network; bins with fewer are left out."""
KNOWLEDGE = "dark_knowledge"
COMPARED = (
    ("labels", "smoothed labels"),
    ("smoothed labels", "wrong classes alike"),
    ("smoothed labels", "equally sure of every image"),
    ("smoothed labels", "soft targets"),
    ("wrong classes alike", "soft targets"),
    ("equally sure of every image", "soft targets"),
    ("wrong classes exchanged", "wrong classes alike"),
)
"""What students of the same seeds learn from: which two the page compares."""
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def load_study(name: str) -> Json:
    """Return the committed results of a choice or an experiment."""
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def _made(record: Json, *about: str) -> str:
    """Return in words what made a record, and on which machine."""
    machine = record["machine"]
    said = ", ".join([f"`{record['command']}`", *about])
    return f"{said}, on {machine['device']}, {machine['cores']} cores."


def _drop(shares: Sequence[float]) -> str:
    """Return the shares that are dropped, of the inputs and of the hidden units."""
    return " / ".join(f"{share:g}" for share in shares)


def teachers() -> str:
    """Return the teachers that were tried on two cores."""
    record = load_study("choose_paper")
    base, rows = record["base"], []
    for row in record["rows"]:
        config = {**base, **row["changes"]}
        drop = _drop([config["drop_input"], config["drop_hidden"]])
        cells = [f"{config['epochs']}", drop, f"{config['learning_rate']:g}", f"{row['errors']}"]
        rows.append([*cells, f"{row['seconds'] / 60:.0f} minutes"])
    head = ("epochs", "drop, inputs / hidden", "rate", "errors", "time on one core")
    return "\n".join([*markdown(head, rows), "", _made(record)])


def recipes() -> str:
    """Return the teachers that were tried on a card: those on 50,000 images, and the five seeds on all."""
    record = load_study("h200/recipes")
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
    record, rows = load_study("h200/recipes"), []
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
    record = load_study("study_student")
    rows = []
    for row in record["rows"]:
        found = [mean_sd(row[name], digits) for name, digits in (("errors", 1), ("other", 1), ("near", 2), ("far", 2))]
        rows.append([row["about"], f"{row['teacher']}", *found])
    head = ("student", "its teacher's errors", "its errors", "other answers than its teacher's",
            "z − v, images learnt from", "z − v, held-out images")  # fmt: skip
    seeds = f"{len(record['seeds'])} seeds of the student"
    return "\n".join([*markdown(head, rows), "", _made(record, seeds, "one teacher per row")])


def passed_on() -> str:
    """Return what students learnt from the soft targets, from parts of them, and from labels."""
    record = load_study(KNOWLEDGE)
    T, names = record["student"]["T"], ("errors", "ece 1", "log loss 1", "ece T")
    rows = [["(the teacher itself)", *_calibrated([record["teacher"]], names)]]
    rows += [[row["targets"], *_calibrated(row["students"], names)] for row in record["rows"]]
    head = ("what the student learns from", "errors", "ECE at T = 1, %", "log loss at T = 1", f"ECE at T = {T:g}, %")
    made = _made(record, f"{len(record['student']['seed'])} seeds")
    return "\n".join([*markdown(head, rows), "", "Pair by pair:", "", *_compared(record), "", made])


def _compared(record: Json) -> list[str]:
    """Return the lines of a table: how many errors one kind of target saves against another, pair by pair."""
    errors = {row["targets"]: np.array([one["errors"] for one in row["students"]]) for row in record["rows"]}
    saved = [mean_interval(errors[before] - errors[after]) for before, after in COMPARED]
    cells = [[*pair, f"{one.value:.1f}", one.words()] for pair, one in zip(COMPARED, saved, strict=True)]
    return markdown(("instead of", "learning from", "saves errors", "95 % interval"), cells)


def _calibrated(found: Sequence[Json], names: Sequence[str]) -> list[str]:
    """Return means ± sd of errors, of calibration errors in per cent, and of losses."""
    ways = {"errors": (1, 1), "ece 1": (100, 2), "log loss 1": (1, 3), "ece T": (100, 1)}
    return [mean_sd([ways[name][0] * one[name] for one in found], ways[name][1]) for name in names]


def calibration() -> Figure:
    """How often a network is right, given how sure it is at T = 1: the teacher, students of labels, of soft targets."""
    record = load_study(KNOWLEDGE)
    rows = {row["targets"]: row["students"] for row in record["rows"]}
    shown = {
        "the teacher": [record["teacher"]],
        "students of labels": rows["labels"],
        "students of soft targets": rows["soft targets"],
    }
    figure, panels = side_by_side(len(shown), width=11, height=4, sharey=True)
    for i, (panel, (title, found)) in enumerate(zip(panels, shown.items(), strict=True)):
        number, right, sure = (
            np.sum([one["bins"][name] for one in found], axis=0) for name in ("number", "right", "sure")
        )
        some = number >= LEAST * len(found)
        error = 1.96 * np.sqrt(right * (number - right) / np.maximum(number, 1) ** 3)[some]
        panel.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
        ends: Any = {"capsize": 3, "linewidth": 1, "marker": "o", "linestyle": "none", "color": OKABE_ITO[i]}
        panel.errorbar((sure[some] / number[some]), (right[some] / number[some]), yerr=error, **ends)
        panel.set(xlim=(0.4, 1.02), ylim=(0.2, 1.02), xlabel="probability of the class that it names")
        panel.set_title(title, loc="left")
    panels[0].set_ylabel("share that is right")
    return figure


TABLES = {"choice": teachers, "recipes": recipes, "tried": students, "study": study, "knowledge": passed_on}
"""The tables by their marks."""
