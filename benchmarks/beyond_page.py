"""The page about distillation beyond MNIST, made from the results of `python -m benchmarks.beyond`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minikd.system.files import write_atomically
from minikd.theory.statistics import Interval, mean_interval, mean_sd

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "beyond.json", HERE / "BEYOND.md"
TREES = 300
"""Of each forest."""
BEST = "5 kB"
"""The student that most tables are about."""
REST, VOTES = "SVM, one against the rest", "SVM, votes of pairs"
Row = dict[str, Any]


def write() -> None:
    """Write the page from the committed results."""
    write_atomically(PAGE, page(json.loads(RESULT.read_text(encoding="utf-8"))).encode())


def difference(first: Sequence[float], second: Sequence[float], scale: float = 1.0) -> Interval:
    """Return the mean of first − second over the seeds, with its 95 % interval."""
    return mean_interval(scale * (np.asarray(first) - np.asarray(second)))


def clear(one: Interval) -> int:
    """Return the sign of a difference whose interval leaves 0 out, or 0.

    >>> clear(Interval(1.0, 0.5, 1.5)), clear(Interval(-1.0, -2.0, 0.5))
    (1, 0)
    """
    return int(one.low > 0) - int(one.high < 0)


def shown(one: Interval, digits: int = 1) -> str:
    """Return a difference with its interval, in bold if that leaves 0 out.

    >>> shown(Interval(1.0, 0.5, 1.5)), shown(Interval(-1.0, -2.0, 0.5))
    ('**+1.0 [+0.5, +1.5]**', '−1.0 [−2.0, +0.5]')
    """
    text = f"{one.value:+.{digits}f} {one.words(digits, sign=True)}".replace("-", "−")
    return f"**{text}**" if clear(one) else text


def percent(values: Sequence[float]) -> str:
    return mean_sd(100 * np.asarray(values))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))


def named(row: Row) -> list[str]:
    return [row["data"], row["model"]]


def gain(row: Row, size: str = BEST) -> Interval:
    """Return the points of accuracy that the soft targets gain."""
    student = row["students"][size]
    return difference(student["distilled"]["accuracy"], student["alone"]["accuracy"], 100)


def to_teacher(row: Row, size: str = BEST) -> Interval:
    """Return the points of accuracy by which the distilled student is ahead of its teacher."""
    return difference(row["students"][size]["distilled"]["accuracy"], row["teacher"]["accuracy"], 100)


def loss(row: Row, size: str = BEST) -> Interval:
    """Return by how much the soft targets change the log loss, in nats."""
    student = row["students"][size]
    return difference(student["distilled"]["log_loss"], student["alone"]["log_loss"])


def counted(found: Sequence[Interval], better: str, worse: str) -> str:
    """Return how many differences are clear, in words.

    >>> counted([Interval(1.0, 0.5, 1.5), Interval(-1.0, -2.0, 0.5)], "higher", "lower")
    'clearly higher in 1 of 2, clearly lower in 0; elsewhere the difference may be chance'
    """
    signs = [clear(one) for one in found]
    rest = "" if all(signs) else "; elsewhere the difference may be chance"
    return f"clearly {better} in {signs.count(1)} of {len(signs)}, clearly {worse} in {signs.count(-1)}{rest}"


def span(values: Sequence[float], digits: int = 1, *, sign: bool = False) -> str:
    """Return the smallest and the largest of some values in words."""
    ends = (round(end, digits) + 0.0 for end in (min(values), max(values)))  # + 0.0 turns −0.0 into 0.0
    low, high = (f"{end:{'+' * sign}.{digits}f}".replace("-", "−") for end in ends)
    return f"{low} to {high}"


# ---- tables ----------------------------------------------------------------------------------------------------------


def data(rows: Sequence[Row]) -> str:
    cells = {
        row["data"]: [row["data"], row["source"], *(f"{row[key]:,}" for key in ("examples", "features", "classes"))]
        for row in rows
    }
    return table(["data", "inside", "examples", "features", "classes"], list(cells.values()))


def accuracy(rows: Sequence[Row]) -> str:
    head = ["data", "teacher", "student", "teacher, %", "alone, %", "distilled, %", "distilled − alone, points"]
    lines = []
    for row in rows:
        for size, student in row["students"].items():
            first = named(row) if size == next(iter(row["students"])) else ["", ""]
            found = [row["teacher"], student["alone"], student["distilled"]]
            right = [percent(one["accuracy"]) for one in found]
            lines.append([*first, size, *right, shown(gain(row, size)), shown(to_teacher(row, size))])
    return table([*head, "distilled − teacher, points"], lines)


def calibration(rows: Sequence[Row]) -> str:
    head = ["data", "teacher", "log loss: teacher", "alone", "distilled", "distilled − alone"]
    lines = []
    for row in rows:
        student = row["students"][BEST]
        found = [row["teacher"], student["alone"], student["distilled"]]
        losses = [mean_sd(one["log_loss"], 3) for one in found]
        errors = [percent(one["ece"]) for one in found]
        lines.append([*named(row), *losses, shown(loss(row), 3), *errors])
    return table([*head, "ECE, %: teacher", "alone", "distilled"], lines)


def hindsight(row: Row, grid: Sequence[Sequence[float]]) -> tuple[int, Interval]:
    """Return the place in the grid of the best T and alpha on the test parts, and how far ahead it is, in points."""
    student = row["students"][BEST]
    right = np.array([one["accuracy"] for one in student["grid"]])  # (pairs, seeds)
    losses = np.array([one["log_loss"] for one in student["grid"]])
    best = int(np.lexsort([losses.mean(axis=1), -right.mean(axis=1).round(9)])[0])
    assert len(right) == len(grid)
    return best, difference(right[best], student["distilled"]["accuracy"], 100)


def settings(rows: Sequence[Row], grid: Sequence[Sequence[float]]) -> str:
    head = ["data", "teacher", "T chosen", "alpha chosen", "accuracy, %", "T, hindsight", "alpha, hindsight"]
    lines = []
    for row in rows:
        student = row["students"][BEST]
        best, ahead = hindsight(row, grid)
        chosen = [f"{np.mean(student['distilled'][key]):.2g}" for key in ("T", "alpha")]
        right = percent(student["distilled"]["accuracy"])
        other = percent(student["grid"][best]["accuracy"])
        lines.append([*named(row), *chosen, right, *(f"{one:g}" for one in grid[best]), other, shown(ahead)])
    return table([*head, "accuracy, hindsight, %", "hindsight − chosen, points"], lines)


def held_out(rows: Sequence[Row]) -> str:
    head = ["data", "teacher", "teacher right on its own examples, %", "teacher right on the test part, %"]
    lines = []
    for row in rows:
        student = row["students"][BEST]
        other, own = student["held out"], student["distilled"]
        points = difference(other["accuracy"], own["accuracy"], 100)
        nats = difference(other["log_loss"], own["log_loss"])
        seen = [percent(row["teacher"][key]) for key in ("seen", "accuracy")]
        lines.append([*named(row), *seen, shown(points), shown(nats, 3)])
    return table([*head, "held-out − own answers, points", "log loss, nats"], lines)


def cost(rows: Sequence[Row]) -> str:
    head = ["data", "teacher", "teacher, pickled", "student: weights", "ONNX", "ONNX int8"]
    lines = []
    for row in rows:
        student = row["students"][BEST]
        files = [student["bytes"][name] for name in ("safetensors", "onnx", "onnx int8")]
        sizes = [f"{np.mean(one) / 1000:,.1f} kB" for one in (row["teacher"]["bytes"], *files)]
        times = [one["latency"][batch][0] for batch in ("1", "1000") for one in (row["teacher"], student)]
        lost = difference(student["int8"]["accuracy"], student["distilled"]["accuracy"], 100)
        lines.append([*named(row), *sizes, shown(lost, 2), *(f"{1000 * one:.3g}" for one in times)])
    times = [f"{who}, {batch}, ms" for batch in ("1 at once", "1,000 at once") for who in ("teacher", "student")]
    return table([*head, "int8 − float32, points", *times], lines)


# ---- sentences -------------------------------------------------------------------------------------------------------


def _where(rows: Sequence[Row], found: Sequence[Interval], sign: int) -> str:
    """Return for which rows a difference is clear, in words."""
    names = [f"{row['data']} ({row['model']})" for row, one in zip(rows, found, strict=True) if clear(one) == sign]
    return ", ".join(names) or "none"


def whether_it_helps(rows: Sequence[Row]) -> str:
    lines = []
    for size in rows[0]["students"]:
        gains, behind = ([measure(row, size) for row in rows] for measure in (gain, to_teacher))
        lines.append(
            f"- **{size}:** distilled against alone, accuracy is {counted(gains, 'higher', 'lower')}"
            f". All differences: {span([one.value for one in gains], sign=True)} points. Higher: "
            f"{_where(rows, gains, 1)}. Lower: {_where(rows, gains, -1)}. Against the teacher, it is "
            f"{counted(behind, 'higher', 'lower')}. All differences: {span([one.value for one in behind], sign=True)} "
            "points."
        )
    return "\n".join(lines)


def two_machines(rows: Sequence[Row]) -> str:
    """Return how the two support vector machines of digits teach, and what follows; nothing without them."""
    machines = {row["model"]: row for row in rows if row["data"] == "digits"}
    if not {VOTES, REST} <= set(machines):
        return ""
    rest, votes = machines[REST], machines[VOTES]
    sizes = list(rest["students"])
    right = [percent(row["teacher"]["accuracy"]) for row in (rest, votes)]
    ahead = [
        difference(*(row["students"][size]["distilled"]["accuracy"] for row in (rest, votes)), 100) for size in sizes
    ]
    signs = [clear(one) for one in ahead]
    listed = "; ".join(f"{size} {shown(one)}" for size, one in zip(sizes, ahead, strict=True))
    advice = "So either may teach here."
    if 1 in signs and -1 not in signs:
        advice = "So wrap an `SVC` in `OneVsRestClassifier` before you distil it."
    return (
        f"Two of the teachers are support vector machines (SVM) of digits. On the test part {right[0]} % of the "
        f"answers are right with one machine against the rest, and {right[1]} % with votes of pairs. An `SVC` for "
        "three or more classes counts the votes of pairs of classes, and its probabilities go in steps from vote to "
        "vote. The student of one against the rest is ahead of the student of votes by these points: "
        f"{listed}. {advice} We added one against the rest after we had seen the result of votes of pairs."
    )


def how_sure(rows: Sequence[Row]) -> str:
    losses = [loss(row) for row in rows]
    students = [row["students"][BEST] for row in rows]
    errors = [difference(one["distilled"]["ece"], one["alone"]["ece"], 100) for one in students]
    means = [
        [float(np.mean(one["ece"])) for one in (row["teacher"], student["alone"], student["distilled"])]
        for row, student in zip(rows, students, strict=True)
    ]
    followed = [distilled > alone for teacher, alone, distilled in means if teacher > alone]
    return (
        f"The log loss of the distilled student is {counted(losses, 'higher (worse)', 'lower (better)')}. Better: "
        f"{_where(rows, losses, -1)}. Worse: {_where(rows, losses, 1)}. Does a student take over its teacher's "
        f"calibration error (ECE)? In {len(followed)} of {len(rows)} the teacher's is above that of the student alone, "
        f"and in {followed.count(True)} of these the distilled student's is too. Against the student alone it is "
        f"{counted(errors, 'higher (worse)', 'lower (better)')}. Worse: {_where(rows, errors, 1)}."
    )


def about_T(rows: Sequence[Row], grid: Sequence[Sequence[float]]) -> str:
    found = [hindsight(row, grid) for row in rows]
    ahead = [one for _, one in found]
    students = [row["students"][BEST]["distilled"] for row in rows]
    T, alpha = ([float(np.mean(student[key])) for student in students] for key in ("T", "alpha"))
    best_T, best_alpha = zip(*(grid[place] for place, _ in found), strict=True)
    lower, lowest = sum(best < own for best, own in zip(best_alpha, alpha, strict=True)), min(one for _, one in grid)
    better = _where(rows, ahead, 1)
    lesson = f"the pair that is best with hindsight is clearly better than the chosen one for {better}"
    if better == "none":
        lesson = "even the pair that is best with hindsight is nowhere clearly better than the chosen one"
    return (
        f"minikd chose T from {span(T)} and alpha from {span(alpha, 2)}; with hindsight, T from {span(best_T, 0)} and "
        f"alpha from {span(best_alpha, 2)} would have been best. That would have changed accuracy by "
        f"{span([one.value for one in ahead], sign=True)} points, and is {counted(ahead, 'better', 'worse')}. The best "
        f"alpha is below the chosen one in {lower} of {len(rows)}, and the lowest one that was tried, {lowest:g}, in "
        f"{best_alpha.count(lowest)}. Hindsight means: {len(grid)} pairs were tried, and the one that is best *on the "
        f"test parts* was taken. Nobody can choose so, and the best of {len(grid)} looks better than it is. **What was "
        f"learnt about T and alpha:** {lesson}. [How alpha is chosen](ALPHA.md) compares rules on held-out examples, "
        "without the test parts."
    )


def about_folds(rows: Sequence[Row]) -> str:
    students = [row["students"][BEST] for row in rows]
    both = [(student["held out"], student["distilled"]) for student in students]
    points = [difference(other["accuracy"], own["accuracy"], 100) for other, own in both]
    nats = [difference(other["log_loss"], own["log_loss"]) for other, own in both]
    seen = [100 * float(np.mean(row["teacher"]["seen"])) for row in rows]
    return (
        f"The teachers are right on {span(seen)} % of their own training examples, so their answers there say little "
        "beyond the labels. Held-out answers are those of copies that were fitted to the other four fifths: "
        "`DistilledClassifier(forest, folds=5)`. With them, accuracy is "
        f"{counted(points, 'higher', 'lower')}, and log loss is {counted(nats, 'higher (worse)', 'lower (better)')}. "
        f"Better log loss: {_where(rows, nats, -1)}. Worse: {_where(rows, nats, 1)}."
    )


PAGE_TEXT = """# Beyond MNIST

*`python -m benchmarks.beyond` measures and writes this page, sentences with numbers included. Do not edit it.*

A model of scikit-learn teaches small networks, on data sets that come inside two packages: nothing is downloaded.
Both packages are under the BSD-3-Clause licence, and their data come from the UCI Machine Learning Repository. minikd
does not redistribute them.

{data}

{seeds} seeds. Each makes a new stratified split into 70 % for training and 30 % for testing, a new teacher and new
networks. "Alone" is the same student, from the same initial weights and for as many steps, on the labels only. A
student has one hidden layer, as wide as the named kB of float32 weights allow. T, alpha and the length of training
are those that `distil` chooses. A number is a mean ± the standard deviation over the seeds. A difference is a mean of
pairs with its 95 % interval, in **bold** if the interval leaves 0 out. The splits of one data set share examples, so
these intervals are a little too narrow, and among this many of them some leave 0 out by chance.

## Does it help?

{helps}

{machines}

{accuracy}

## How sure are they?

{sure} ECE is the calibration error over 15 bins; log loss is in nats; students of {best}.

{calibration}

## T and alpha

{about_T}

{settings}

## Own answers, or held-out answers?

{about_folds} `folds` is off unless you ask for it. Try it where labels are noisy: some pages of phishing have the same
features and another label, so that even the forest cannot know them all by heart.

{held_out}

## Size and speed

Students of {best}. A forest has {trees} trees. The teacher is counted as a pickle, the student as its safetensors,
ONNX and int8 ONNX files; a file has about 2 kB beside the weights, for the standardisation, the labels and the record
of its training. Times are medians of `predict_proba` for the first seed, on {device}, one thread. Compare them with
each other.

{cost}
"""


def page(record: Row) -> str:
    """Return the page in Markdown."""
    rows, grid = record["rows"], record["grid"]
    text = PAGE_TEXT.format(
        data=data(rows),
        seeds=("Zero", "One", "Two", "Three", "Four", "Five")[len(record["seeds"])],
        helps=whether_it_helps(rows),
        machines=two_machines(rows),
        accuracy=accuracy(rows),
        sure=how_sure(rows),
        calibration=calibration(rows),
        about_T=about_T(rows, grid),
        settings=settings(rows, grid),
        about_folds=about_folds(rows),
        held_out=held_out(rows),
        best=BEST,
        trees=TREES,
        device=record["machine"]["device"],
        cost=cost(rows),
    )
    return "\n\n".join(map(wrapped, filter(None, text.rstrip("\n").split("\n\n")))) + "\n"


def wrapped(paragraph: str) -> str:
    """Return a paragraph in lines of 120 characters; headings, lists and tables as they are."""
    if paragraph[0] in "#-|":
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), 120, break_long_words=False, break_on_hyphens=False)
