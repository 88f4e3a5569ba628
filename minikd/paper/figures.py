"""The figures of the scoreboard, drawn only from its numbers, and two of the teacher that ships, from its logits.

The figures of the scoreboard take the rows' numbers, by their ids, as `minikd.paper --write` keeps them. Stars are the
paper's numbers; dots, bars and lines are ours. The first line of a function's docstring is the caption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from minikd.plots.canvas import DASHES, OKABE_ITO, Figure, legend, scale_y, side_by_side  # before Matplotlib

# isort: split
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from minikd.core.softmax import softmax
from minikd.data.images import load_mnist
from minikd.paper.rows.gradients import balance, times_quieter
from minikd.paper.rows.missing import SHIFTS
from minikd.paper.rows.speech import PAPER as PAPER_SPEECH
from minikd.paper.rows.speech import TEMPERATURES
from minikd.paper.tasks.networks import GRADIENT_TEMPERATURES
from minikd.plots.speech import boundary, hearing
from minikd.plots.teacher import dark_knowledge
from minikd.speech.hmm import WORDS
from minikd.theory.limits import first_order_gradient, remainder_bound
from minikd.theory.statistics import fraction, prediction
from minikd.training.teacher import load_teacher

Numbers: TypeAlias = Mapping[str, Any]
Line: TypeAlias = tuple[str, Sequence[float], float | None]
"""A name, our numbers, and the paper's number if there is one."""
TEST_ERRORS = "test errors of 10,000, mean ± sd"
PAPER: Any = {"color": "black", "marker": "*", "markersize": 13, "linestyle": "none", "label": "the paper's"}
MARKERS = "osD^vP"
MEASURES = {"frames": "frames right, %", "words": "word error rate, %"}
"""What is measured of a recogniser, as an axis calls it."""


# ---- what figures share ----------------------------------------------------------------------------------------------


def _dress(panel: Axes, title: str = "", log_x: Sequence[float] = (), grid: Any = None, **axes: Any) -> None:
    """Set a panel's axes and its title, a logarithmic x-axis with these ticks, and the grid of one axis."""
    panel.set(**axes)
    panel.set_title(title, loc="left")
    if log_x:
        panel.set_xscale("log")
        panel.set_xticks(log_x, [f"{x:g}" for x in log_x])
        panel.minorticks_off()
    if grid:
        panel.grid(axis=grid, linewidth=0.5)


def _dots(panel: Axes, lines: Sequence[Line], xlabel: str, label: str = PAPER["label"]) -> None:
    """Draw a line for each name: a dot per network, a bar at their mean, where one more run lies, and a star."""
    for i, (_, values, paper) in enumerate(lines):
        mean, low, high = prediction(values)
        if len(values) > 1:
            ends: Any = {"xerr": [[mean - low], [high - mean]], "capsize": 5, "linewidth": 1, "zorder": 1}
            panel.errorbar(mean, i, color=OKABE_ITO[i], **ends)
        panel.plot(values, [i + offset for offset in _apart(values)], "o", color=OKABE_ITO[i], alpha=0.7)
        panel.plot([mean] * 2, [i - 0.28, i + 0.28], color=OKABE_ITO[i], linewidth=3)
        if paper is not None:
            panel.plot(paper, i, **{**PAPER, "label": label, "markerfacecolor": "none", "zorder": 3})
    grey: Any = {"color": "grey", "linestyle": "none"}
    panel.plot([], [], marker="o", label="one network", **grey)
    panel.plot([], [], marker="|", markersize=15, markeredgewidth=3, label="mean", **grey)
    panel.errorbar([], [], xerr=[], color="grey", capsize=5, linewidth=1, label="one more run lies here (95 %)")
    panel.set_yticks(range(len(lines)), [name for name, _, _ in lines])
    _dress(panel, grid="x", xlabel=xlabel, ylim=(len(lines) - 0.5, -0.5))


def _apart(values: Sequence[float], step: float = 0.18) -> list[float]:
    """Return how far up or down each dot stands, so that dots of one value do not hide each other.

    >>> _apart([136, 78, 136], step=0.5)
    [-0.25, 0.0, 0.25]
    """
    values = list(values)
    return [step * (values[:n].count(value) - (values.count(value) - 1) / 2) for n, value in enumerate(values)]


def _curve(panel: Axes, x: Sequence[float], values: Iterable[Sequence[float]], i: int, label: str = "") -> None:
    """Draw the mean of the values at each x, ± their standard deviation, in the colour and with the marker number i."""
    columns = [np.asarray(one) for one in values]
    sd = [one.std(ddof=1) for one in columns] if min(map(len, columns)) > 1 else None
    panel.errorbar(x, [one.mean() for one in columns], yerr=sd, label=label or None, **_line(i))


def _line(i: int) -> dict[str, Any]:
    """Return how the curve number i looks."""
    return {"color": OKABE_ITO[i], "marker": MARKERS[i], "linestyle": DASHES[i], "linewidth": 2, "capsize": 3}


def _at_most_100(panel: Axes) -> None:
    """End an axis of per cent at 100, with room for the marks there, and cut the ± that reaches further."""
    lower, upper = panel.get_ylim()
    if upper > 100:
        panel.set_ylim(lower, 100 + 0.02 * (100 - lower))
        panel.spines["left"].set_bounds(lower, 100)


# ---- figures of the scoreboard ---------------------------------------------------------------------------------------


def students(rows: Numbers) -> Figure:
    """M1 to M3: test errors, one dot per seed, and the interval in which one more run lies."""
    return _test_errors(
        ("teacher", rows["M1"]["errors"], 67),
        ("student alone", rows["M2"]["errors"], 146),
        ("student distilled, T = 20", rows["M3"]["distilled"], 74),
    )


def ensembles(rows: Numbers) -> Figure:
    """E8: test errors of the members, of both means, and of the students of each; stars keep 80 % of the gain."""
    found = rows["E8"]
    lines: list[Line] = [("members", found["members"], None)]
    single = float(np.mean(found["members"]))
    for kind in ("arithmetic", "geometric"):
        lines.append((f"{kind} mean", [found[kind]], None))
        lines.append((f"{kind} mean's students", found[f"{kind}, student"], single - 0.8 * (single - found[kind])))
    return _test_errors(*lines, label="the paper's: more than 80 % kept")


def _test_errors(*lines: Line, label: str = PAPER["label"]) -> Figure:
    figure, (panel,) = side_by_side(1, width=9, height=0.9 + 0.55 * len(lines))
    _dots(panel, lines, "test errors of 10,000", label)
    legend(panel, loc="outside upper right", ncols=4)
    return figure


def systems(rows: Numbers) -> Figure:
    """S1 to S4: frames right and words wrong of single networks, their ensemble and its students, on the test set."""
    figure, panels = side_by_side(2, width=11, height=3.8)
    names = {"one network": ("S1", "baseline"), "ensemble": ("S2", "ensemble"), "student": ("S3", "student")}
    for place, (panel, (measure, xlabel)) in enumerate(zip(panels, MEASURES.items(), strict=True)):
        lines = [
            (name, rows[row][kind]["test"][measure], PAPER_SPEECH[kind][place]) for name, (row, kind) in names.items()
        ]
        _dots(panel, lines, xlabel)
    legend(panels[0], loc="outside upper right", ncols=4)
    return figure


def _grid(rows: Numbers) -> dict[int, tuple[list[float], np.ndarray]]:
    """Return width → temperatures, and errors (seeds, temperatures); narrow ones first."""
    found = {}
    for row in (rows["M5"], rows["M4"]):
        for width in sorted(row["errors"], key=int):
            found[int(width)] = row["T"], np.array(row["errors"][width])
    return found


def _claimed(place: int, width: int) -> tuple[float, float] | None:
    """Return the temperatures at which the paper says something about a width, the narrowest of which has place 0."""
    return (2.5, 4.0) if place == 0 else (8.0, 40.0) if width >= 300 else None


CLAIMED = "the paper's: significantly better (30 units), fairly similar (300 units or more)"


def grid_map(rows: Numbers) -> Figure:
    """M4, M5: mean test errors of each width and T; the colour is how many per cent they are above the width's best."""
    grid = _grid(rows)
    T = sorted({t for tried, _ in grid.values() for t in tried})
    means = np.full((len(grid), len(T)), np.nan)
    for i, (tried, errors) in enumerate(grid.values()):
        means[i, np.searchsorted(T, tried)] = errors.mean(axis=0)
    above = 100 * (means / np.nanmin(means, axis=1, keepdims=True) - 1)
    figure, (panel,) = side_by_side(1, width=10, height=1.9 + 0.65 * len(means))
    image = panel.imshow(above, cmap="cividis_r", aspect="auto")
    dark = above > 0.5 * np.nanmax(above)
    for (i, j), mean in np.ndenumerate(means):
        words = "–" if np.isnan(mean) else f"{mean:.0f}"
        panel.text(j, i, words, ha="center", va="center", color="white" if dark[i, j] else "black")
    for i, width in enumerate(grid):
        if (claimed := _claimed(i, width)) is not None:
            first, last = np.searchsorted(T, claimed)
            look: Any = {"fill": False, "edgecolor": "black", "linewidth": 2.5, "label": CLAIMED}
            panel.add_patch(Rectangle((first - 0.46, i - 0.46), last - first + 0.92, 0.92, **look))
    panel.set_xticks(range(len(T)), [f"{t:g}" for t in T])
    panel.set_yticks(range(len(means)), [str(width) for width in grid])
    title = "Mean test errors of 10,000" + (" (–: not run)" if np.isnan(means).any() else "")
    _dress(panel, title=title, xlabel="temperature T", ylabel="units per hidden layer")
    figure.colorbar(image, ax=panel, label="above the width's best, %")
    legend(panel, loc="outside lower center")
    return figure


def grid_curves(rows: Numbers) -> Figure:
    """M4, M5: test errors over T, a panel per width, ± the sd over seeds; grey is where the paper looks."""
    grid = _grid(rows)
    figure, panels = side_by_side(len(grid), width=3.6 * len(grid), height=4.2)
    for panel, (i, (width, (T, errors))) in zip(panels, enumerate(grid.items()), strict=True):
        if (claimed := _claimed(i, width)) is not None:
            panel.axvspan(*claimed, color="black", alpha=0.1, label=CLAIMED, linewidth=0)
        _curve(panel, T, errors.T, i)
        _dress(panel, title=f"{width} units, {len(errors)} seeds", log_x=(1, 2, 4, 8, 20, 40), xlabel="temperature T")
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    panels[0].set_ylabel(TEST_ERRORS)
    legend(panels[0], loc="outside lower center")
    return figure


def shifts(rows: Numbers) -> Figure:
    """M6 to M9: errors of students that never saw some digits, against the shift of the biases."""
    figure, panels = side_by_side(2, width=11, height=5)
    to_percent = 100 / rows["M9"]["cases"][1]
    words = {"none": "no shift", "honest": "honest: sees no label", "oracle": "oracle: chosen on the test set"}
    looks: tuple[Any, ...] = (
        {"marker": "o", "color": OKABE_ITO[0], "markersize": 9},
        {"marker": "D", "color": OKABE_ITO[1], "markersize": 13, "fillstyle": "none", "markeredgewidth": 2},
        {"marker": "s", "color": OKABE_ITO[2], "markersize": 7},
    )
    about = (
        ("M7", "No 3s in the transfer set", "test errors of 10,000", "bias of 3 raised by (nats)", 1.0,
         ((0, 206), (3.5, 109))),
        ("M9", "Only 7s and 8s in the transfer set", "test errors, %", "biases of 7 and 8 raised by (nats)", to_percent,
         ((0, 47.3), (-7.6, 13.2))),
    )  # fmt: skip
    for panel, (row, title, ylabel, xlabel, unit, paper) in zip(panels, about, strict=True):
        found = rows[row]
        curve = unit * np.array(found["curve"])
        panel.plot(SHIFTS, curve, color=OKABE_ITO[0], linewidth=2, label="mean of the students")
        for (way, label), look in zip(words.items(), looks, strict=True):
            at = float(np.mean(found["shift"][way])), unit * float(np.mean(found["errors"][way]))
            panel.plot(*at, linestyle="none", label=label, **look)
        panel.plot(*zip(*paper, strict=True), **{**PAPER, "label": "the paper's, without and with its shift"})
        scale_y(panel, panel.dataLim.intervaly)
        _dress(panel, title=title, grid="y", xlabel=xlabel, ylabel=ylabel)
    legend(panels[0], loc="outside lower center", ncols=3)
    return figure


def few(rows: Numbers) -> Figure:
    """R1 to R3: accuracy on the test set and on the training cases, against the share of the training set."""
    return _curves(rows["R3"]["curve"])


def speech_few(rows: Numbers) -> Figure:
    """R1 to R3 on speech: frames right in the test set and in the training cases, against the share of the speech."""
    curve = rows["R3-speech"]["curve"]
    figure = _curves(curve)
    papers = {"hard": (100, 58.9, 63.4), "hard, stopped early": (3, 44.5, 67.3), "soft": (3, 57.0, 65.4)}
    for i, kind in enumerate(curve):  # a star has the colour of our line of its kind
        share, *accuracy = papers[kind]
        for panel, right in zip(figure.axes, accuracy, strict=True):
            panel.plot(share, right, **{**PAPER, "label": None, "markerfacecolor": OKABE_ITO[i], "zorder": 3})
    figure.axes[0].plot([], [], **{**PAPER, "markerfacecolor": "white", "label": "the paper's, in our colours"})
    legend(figure.axes[0])
    return figure


def _curves(curve: Mapping[str, Any]) -> Figure:
    figure, panels = side_by_side(2, width=11, height=4.2)
    for panel, of, title in zip(panels, ("test", "train"), ("test set", "the training cases themselves"), strict=True):
        for i, (kind, by_share) in enumerate(curve.items()):
            shares = sorted(by_share, key=float)
            accuracy = [by_share[share][of] for share in shares]  # some shares have more networks
            _curve(panel, [100 * float(share) for share in shares], accuracy, i, kind)
        panel.set_xscale("log")
        _at_most_100(panel)
        names = {"xlabel": "share of the training set, %", "ylabel": "right, %; mean ± sd"}
        _dress(panel, title=f"Accuracy, {title}", log_x=(1, 3, 10, 30, 100), grid="y", **names)
    legend(panels[0])
    return figure


def heard(rows: Numbers) -> Figure:
    """S2: the beginning of a test utterance as log-mel frames, and the ensemble's probability of each digit."""
    return hearing(*_look(rows))


def doubts(rows: Numbers) -> Figure:
    """S2: the ensemble's softened probabilities at a change of state in that utterance, a panel per temperature."""
    _, labels, z, per_digit = _look(rows)
    inner = np.flatnonzero(np.diff(labels) == 1) + 1  # from a state to the next of the same digit
    return boundary(z, labels, int(inner[len(inner) // 2]), TEMPERATURES, per_digit)


def _look(rows: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    found = rows["S2"]["look"]
    z = np.array(found["z"])
    return np.array(found["frames"]), np.array(found["labels"], int), z, (z.shape[1] - 1) // WORDS


def temperatures(rows: Numbers) -> Figure:
    """S3: frames right and word error rate of the ensemble's students over T, on the development set."""
    sweep = rows["S3"]["sweep"]
    T = [float(t) for t in sweep]
    figure, panels = side_by_side(2, width=11, height=3.6)
    for i, (panel, (measure, ylabel)) in enumerate(zip(panels, MEASURES.items(), strict=True)):
        values = [measures["development"][measure][0] for measures in sweep.values()]
        panel.plot(T, values, marker=MARKERS[i], color=OKABE_ITO[i], linewidth=2)
        panel.axvline(rows["S3"]["T"], color="black", linewidth=1, linestyle=":", label="chosen by frames right")
        panel.plot(
            2, 0, transform=panel.get_xaxis_transform(), clip_on=False, **{**PAPER, "label": "the paper's choice"}
        )
        title = "Development set, one short run per T"
        _dress(panel, title=title, log_x=T, grid="y", xlabel="temperature T", ylabel=ylabel)
    legend(panels[0])
    return figure


def false_labels(rows: Numbers) -> Figure:
    """N1: test errors against the weight of the soft targets, a curve per share of false labels."""
    found = rows["N1"]
    figure, panels = side_by_side(2, width=11, height=4.2, sharey=True)
    titles = {"clean": "Teacher of clean labels", "same": "Teacher of the same false labels"}
    for panel, (kind, by_share) in zip(panels, found["errors"].items(), strict=True):
        for i, share in enumerate(["0.0", "0.1", "0.2", "0.4"]):
            if share in by_share:
                _curve(panel, found["alpha"], np.array(by_share[share]).T, i, f"{100 * float(share):.0f} % false")
        _dress(panel, title=titles[kind], grid="y", xlabel="weight of the soft targets, α")
        legend(panel)
    scale_y(panels[0], panels[0].dataLim.intervaly)
    panels[0].set_ylabel(TEST_ERRORS)
    return figure


def gradients(rows: Numbers) -> Figure:
    """E6, E9: size of the soft gradients times T², and their variance between cases, over those of the hard ones."""
    T = GRADIENT_TEMPERATURES
    figure, (sizes, noises) = side_by_side(2, width=11, height=4.6)
    for i, moment in enumerate(rows["E6"]["moments"]):
        epoch = moment[0]["epoch"]
        _curve(sizes, T, balance(moment).T, i, f"after epoch {epoch}" if epoch else "fresh network")
        less = {t: times_quieter(moment, t) for t in T}
        known = [(t, 1 / found.value, 1 / found.high, 1 / found.low) for t, found in less.items() if found.low]
        at, ratio, low, high = np.reshape(known, (-1, 4)).T
        noises.errorbar(at, ratio, yerr=(ratio - low, high - ratio), **_line(i))
    about = (("Mean size of a gradient ± sd", "T² × soft ÷ hard"), ("Variance ÷ squared mean, 95 %", "soft ÷ hard"))
    for panel, (title, ylabel) in zip((sizes, noises), about, strict=True):
        paper = "the paper's: about 1 (left), below 1 (right)"
        panel.axhline(1, color="black", linestyle="--", linewidth=1, label=paper)
        _dress(panel, title=title, log_x=T, grid="y", xlabel="temperature T", ylabel=ylabel)
        scale_y(panel, [*panel.dataLim.intervaly, 1])
    legend(sizes, loc="outside lower center", ncols=4)
    return figure


def specialists(rows: Numbers) -> Figure:
    """P6: the relative gain in accuracy against the number of specialists for the case's class."""
    figure, (panel,) = side_by_side(1, width=8, height=4.4)
    for c, (cases, before, after) in sorted((int(c), counts) for c, counts in rows["P6"]["covered"].items()):
        gain = fraction(100 * (before - after), cases - before)
        if gain is not None:  # else none of these cases was right
            panel.plot(c, gain, "o", color=OKABE_ITO[0], markersize=8, label="ours, with the number of cases")
            place: Any = {"xytext": (0, 9), "textcoords": "offset points", "ha": "center", "fontsize": 10}
            panel.annotate(f"{cases:,}", (c, gain), **place)
    panel.plot([1, 2], [3.4, 7.4], **{**PAPER, "label": "the paper's, on JFT", "markerfacecolor": "none"})
    panel.axhline(0, color="black", linewidth=0.5)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.margins(y=0.15)
    _dress(panel, xlabel="specialists for the case's class", ylabel="relative gain in accuracy, %")
    legend(panel, loc="outside upper right", ncols=2)
    return figure


FIGURES: dict[str, tuple[Callable[[Numbers], Figure], tuple[str, ...]]] = {
    "students": (students, ("M1", "M2", "M3")),
    "map": (grid_map, ("M4", "M5")),
    "curves": (grid_curves, ("M4", "M5")),
    "shifts": (shifts, ("M6", "M7", "M8", "M9")),
    "gradients": (gradients, ("E6", "E9")),
    "ensembles": (ensembles, ("E8",)),
    "few": (few, ("R1", "R2", "R3")),
    "labels": (false_labels, ("N1",)),
    "specialists": (specialists, ("P4", "P5", "P6")),
    "systems": (systems, ("S1", "S2", "S3", "S4")),
    "heard": (heard, ("S2",)),
    "doubts": (doubts, ("S2",)),
    "temperatures": (temperatures, ("S3",)),
    "frames": (speech_few, ("R1-speech", "R2-speech", "R3-speech")),
}
"""By name: what draws it, and the rows whose numbers it may read."""


# ---- figures of the teacher that ships -------------------------------------------------------------------------------


def teacher_answers() -> Figure:
    """Three test digits and the answers of the teacher that ships: of a 2, a 7 and a 9 the one of median entropy."""
    (_, test), (_, targets) = load_mnist(), load_teacher()
    q = softmax(targets.logits)
    entropy = -np.sum(q * np.log(q), axis=-1)
    right = np.argmax(q, axis=-1) == test.labels
    chosen = []
    for k in (2, 7, 9):
        of_class = np.flatnonzero(right & (test.labels == k))
        chosen.append(of_class[np.argsort(entropy[of_class], kind="stable")[len(of_class) // 2]])
    title = "What a teacher knows of a digit"
    return dark_knowledge(test.images[chosen], test.labels[chosen], targets.logits[chosen], T=8.0, title=title)


def high_temperature() -> Figure:
    """The soft gradient, its limit, and the bounds on their difference over T: far from the teacher and near it."""
    v = load_teacher()[1].logits.astype(np.float64)  # (N, K)
    v = v - v.mean(axis=-1, keepdims=True)
    figure, panels = side_by_side(2, width=11, height=5, sharey=True)
    students = ("a student that knows nothing, z = 0", 0.0), ("a student near the teacher, z = 0.9 v", 0.9)
    for panel, (title, share) in zip(panels, students, strict=True):
        _gradient_and_limit(panel, share * v, v)
        _dress(panel, title, log_x=(1, 2, 4, 8, 20, 50, 100, 200, 500), xlabel="temperature T")
    panels[0].set_ylabel("largest element, mean over the cases")
    legend(panels[1], loc="outside lower center", ncols=3)
    return figure


def _gradient_and_limit(panel: Axes, z: Any, v: Any) -> None:
    """Draw the means over the cases of the gradient, its limit, their distance, and both bounds on that, over T."""
    T = np.geomspace(1, 500, 40)
    sizes = []
    for t in T.tolist():
        dz, matching = (softmax(z, t) - softmax(v, t)) / t, first_order_gradient(z, v=v, T=t)
        largest = [np.abs(d).max(axis=-1).mean() for d in (dz, matching, dz - matching)]
        sum_of_both = (remainder_bound(z, v=0 * v, T=t) + remainder_bound(v, v=0 * v, T=t)).mean()
        sizes.append([*largest, remainder_bound(z, v=v, T=t).mean(), sum_of_both])
    names = (
        "the gradient, (1/T)(q − p)",
        "its limit, (z − v)/(K T²)",
        "how far they are apart",
        "the smaller proven bound on that",
        "the bound (R_z² + R_v²)/(12√3 T³)",
    )
    for i, (name, line) in enumerate(zip(names, np.transpose(sizes), strict=True)):
        panel.plot(T, line, DASHES[i % 2 if i < 4 else 3], color=OKABE_ITO[i // 2], linewidth=2, label=name)
    for t in (8, 20):
        panel.axvline(t, color="black", linewidth=0.8, linestyle=":")
        panel.text(1.05 * t, 30, f"T = {t}")
    panel.set_yscale("log")


OF_THE_TEACHER: dict[str, Callable[[], Figure]] = {
    "dark-knowledge": teacher_answers,
    "high-temperature": high_temperature,
}
"""By name: what draws it, for the README."""
