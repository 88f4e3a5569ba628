"""The committed results as tables and plots: python -m benchmarks.report fills README.md anew, or with --check looks.

A table stands in README.md between `<!-- table:step -->` and `<!-- /table:step -->`, and so do the aims and the plots.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import epoch, inference, memory, population, prepare, run, step
from benchmarks.contestants import TEACHER, name
from benchmarks.pytorch import COMPILED, EAGER, FUSED, GRAPHS
from benchmarks.timing import over
from minikd.plots.canvas import OKABE_ITO, Figure, save, scale_y, style
from minikd.system.cli import Parser, start
from minikd.system.files import write_atomically

HERE = Path(__file__).parent
RESULTS, PLOTS, README = HERE / "results", HERE / "plots", HERE / "README.md"
SECTIONS: dict[str, Any] = {
    "step": step,
    "epoch": epoch,
    "run": run,
    "population": population,
    "inference": inference,
    "prepare": prepare,
    "memory": memory,
}
PLACES = ("cpu", "gpu")
MISSING = "not measured yet"
Results = dict[tuple[str, str], dict[str, Any]]


def load() -> Results:
    """(place, section) → record, of those that were measured."""
    paths = {(place, section): RESULTS / place / f"{section}.json" for place in PLACES for section in SECTIONS}
    return {key: json.loads(path.read_text(encoding="utf-8")) for key, path in paths.items() if path.exists()}


# ---- tables ----------------------------------------------------------------------------------------------------------


def table(section: str, record: dict[str, Any]) -> str:
    """A section's rows in Markdown, and below them what they are and where they come from."""
    module, rows = SECTIONS[section], record["rows"]
    names = list(dict.fromkeys(contestant for row in rows for contestant in row.get("seconds", ())))
    ratios = [{title: f"{value:.2f}" for title, value in module.derived(row).items() if value == value} for row in rows]
    titles = list(dict.fromkeys(title for row in ratios for title in row))
    cells = [
        [
            *(_text(row[label]) for label in module.LABELS),
            *(_median(row, contestant, module.UNIT) for contestant in names),
            *(ratio.get(title, "") for title in titles),
        ]
        for row, ratio in zip(rows, ratios, strict=True)
    ]
    unit = f", {module.UNIT}" if module.UNIT else ""
    lines = _markdown([*module.LABELS, *(f"{contestant}{unit}" for contestant in names), *titles], cells)
    left_out = [f"Left out: {what} ({why})." for what, why in record["left_out"].items()]
    return "\n".join([*lines, "", _caption(record), *left_out])


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _median(row: dict[str, Any], contestant: str, unit: str) -> str:
    """Median ± half the distance between the quartiles, to three digits of the median."""
    if contestant not in row["seconds"]:
        return ""
    lower, median, upper = (value * {"ms": 1e3, "s": 1}[unit] for value in row["seconds"][contestant])
    digits = max(0, 2 - math.floor(math.log10(median)))
    spread = f" ± {(upper - lower) / 2:.{digits}f}" if row["timed"] > 1 else ""
    return f"{median:.{digits}f}{spread}"


def _caption(record: dict[str, Any]) -> str:
    machine, timed = record["machine"], [row["timed"] for row in record["rows"] if "timed" in row]
    words = [f"{key} {value}" for key, value in machine.items() if key not in ("device", "cores", "threads")]
    threads = ", ".join(f"{pool} {count}" for pool, count in machine["threads"].items())
    lines = [f"{machine['device']}, {machine['cores']} cores; {', '.join(words)}; threads: {threads or 'unknown'}."]
    if timed:
        several = " to ".join(map(str, sorted({min(timed), max(timed)})))
        lines.append(f"Medians of {several} times, ± half the distance between the quartiles.")
    return " ".join([*lines, f"`{record['command']}`"])


# ---- aims ------------------------------------------------------------------------------------------------------------


class Aim(NamedTuple):
    """What a column should not exceed, in each row that has one of these values in these columns."""

    place: str
    section: str
    column: str
    limit: float
    about: dict[str, tuple[Any, ...]]


SMALL = (name((30, 30)),)
AIMS = (
    Aim("cpu", "step", "minikd ÷ floor", 1.10, {"batch": (128, 512, 1024)}),
    Aim("cpu", "step", "minikd ÷ best PyTorch", 0.85, {}),
    Aim("cpu", "step", "minikd ÷ best PyTorch", 0.50, {"network": SMALL}),
    Aim("cpu", "prepare", "preparation ÷ step", 0.10, {}),
    Aim("cpu", "population", "shared batches ÷ runs", 0.70, {"network": SMALL, "students": (32,)}),
    Aim("cpu", "population", "own batches ÷ runs", 0.70, {"network": SMALL, "students": (32,)}),
    Aim("cpu", "memory", memory.GROWTH, 1.0, {}),
    Aim("cpu", "run", "time", 1.5, {"what": (run.FIRST_STEP,)}),
    Aim("gpu", "step", f"minikd ÷ {EAGER}", 0.50, {}),
    Aim("gpu", "step", f"minikd ÷ {GRAPHS}", 1.00, {}),
    Aim("gpu", "run", "time", 10.0, {"what": (run.SIXTY,)}),
    Aim("gpu", "run", "time", 60.0, {"what": (run.GRID,)}),
)


def aims(results: Results) -> str:
    """Each aim with the row that is furthest from it."""
    lines = []
    for aim in AIMS:
        module = SECTIONS[aim.section]
        rows = results.get((aim.place, aim.section), {"rows": []})["rows"]
        rows = [row for row in rows if all(row[label] in values for label, values in aim.about.items())]
        found = [(_value(aim, row), row) for row in rows if not math.isnan(_value(aim, row))]
        worst, row = max(found, key=lambda pair: pair[0], default=(math.nan, {}))
        met = sum(value <= aim.limit for value, _ in found)
        verdict = "met" if met == len(found) else f"not met (met in {met} of {len(found)})"
        about = ", ".join(f"{label} {', '.join(map(str, values))}" for label, values in aim.about.items())
        where = ", ".join(
            f"{label} {row[label]}" for label in module.LABELS if row and not isinstance(row[label], list)
        )
        measured = [f"{worst:.2f}", where, verdict] if found else [MISSING, "", ""]
        lines.append([aim.place.upper(), aim.section, aim.column, about, f"≤ {aim.limit:.2f}", *measured])
    return "\n".join(_markdown(["on", "section", "what", "where", "aim", "worst", "in", "met?"], lines))


def _value(aim: Aim, row: dict[str, Any]) -> float:
    """A ratio, or where there is none of that name the median of a contestant, s."""
    ratios = SECTIONS[aim.section].derived(row)
    return ratios[aim.column] if aim.column in ratios else row.get("seconds", {}).get(aim.column, (0, math.nan))[1]


# ---- plots -----------------------------------------------------------------------------------------------------------


def plot_step(record: dict[str, Any]) -> Figure:
    """Milliseconds per step against the width of the network and against the batch; the floor is black and dashed."""
    by_width = {int(row["network"].split("-")[1]): row for row in record["rows"] if row["batch"] == 128}
    by_batch = {row["batch"]: row for row in record["rows"] if row["network"] == name(TEACHER)}
    curves = {}
    for axis, by in (("units of each hidden layer, batch 128", by_width), (f"batch, {name(TEACHER)}", by_batch)):
        drawn = curves[axis] = {}
        for i, contestant in enumerate(["minikd", EAGER, FUSED, COMPILED, GRAPHS]):
            look = {"color": OKABE_ITO[i], "marker": "osD^v"[i], "label": contestant}
            drawn[contestant] = ({x: 1e3 * _of(row, contestant) for x, row in by.items()}, look)
        look = {"color": "black", "linestyle": "--", "label": "floor"}
        drawn["floor"] = ({x: 1e3 * _of(row, "floor") for x, row in by.items()}, look)
    return _figure(curves, "ms per step")


def plot_population(record: dict[str, Any]) -> Figure:
    """Cost per student against the size of the population, with the floor of one run, all as shares of one run."""
    curves = {}
    for width in population.WIDTHS:
        by = {row["students"]: row for row in record["rows"] if row["network"] == name((width, width))}
        shares = {S: population.derived(row) for S, row in by.items()}
        curves[f"students of {width} units"] = {
            what: ({S: share[what] for S, share in shares.items()}, {"color": colour, "marker": marker, "label": label})
            for what, label, colour, marker in (
                ("shared batches ÷ runs", "shared batches", OKABE_ITO[0], "o"),
                ("own batches ÷ runs", "own batches", OKABE_ITO[1], "s"),
            )
        } | {
            "floor": (
                {S: over(row, "floor of one", "one run") for S, row in by.items()},
                {"color": "black", "linestyle": "--", "label": "floor of one run"},
            )
        }
    return _figure(curves, "cost per student, one run = 1")


FIGURES = {"step": plot_step, "population": plot_population}


def _of(row: dict[str, Any], contestant: str) -> float:
    return row["seconds"].get(contestant, (math.nan,) * 3)[1]


def _figure(panels: dict[str, dict[str, tuple[dict[int, float], dict[str, Any]]]], ylabel: str) -> Figure:
    """A panel for each entry, titled by its horizontal axis: curves as ({x: y}, look), logarithmic both ways."""
    with style():
        figure = Figure(figsize=(4.5 * len(panels), 4.2), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for panel, (axis, curves) in zip(axes, panels.items(), strict=True):
            points = sorted({x for ys, _ in curves.values() for x in ys})
            for ys, look in curves.values():
                seen = [(x, ys[x]) for x in sorted(ys) if not math.isnan(ys[x])]
                if seen:
                    panel.plot(*zip(*seen, strict=True), linewidth=2, **look)
            panel.set(xscale="log", xlabel=axis)
            panel.set_xticks(points, map(str, points))
            panel.minorticks_off()
            panel.grid(axis="y", linewidth=0.5)
        scale_y(axes[0], axes[0].dataLim.intervaly)  # they share it
        axes[0].set_ylabel(ylabel)
        axes[0].legend(frameon=False, fontsize=10)
    return figure


# ---- README.md -------------------------------------------------------------------------------------------------------


def content(mark: str, results: Results) -> str:
    """What belongs between the marks of that name."""
    if mark == "aims":
        return aims(results)
    if mark == "plots":
        words = {s: (draw.__doc__ or "").splitlines()[0].rstrip(".") for s, draw in FIGURES.items()}
        links = [f"![{p.upper()}: {words[s]}](plots/{p}-{s}.png)" for p, s in results if s in FIGURES]
        return "\n\n".join(links) or f"Plots: {MISSING}."
    return "\n\n".join(table(mark, results[p, mark]) for p in PLACES if (p, mark) in results) or f"{mark}: {MISSING}."


def fill(text: str, results: Results) -> str:
    """The text with everything between its marks made anew."""
    marked = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table:\2 -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}\n{content(found[2], results)}\n\n{found[3]}", text)


def main(argv: Sequence[str] | None = None) -> None:
    """Fill README.md and draw the plots; with --check only say whether README.md is what the results say."""
    parser = Parser("report", "Fill README.md with the committed results, and draw the plots.", package="benchmarks")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if README.md would change")
    check, results = parser.parse_args(argv).check, load()
    text = README.read_text(encoding="utf-8")
    filled = fill(text, results)
    if check:
        if filled != text:
            parser.fail(f"{README} is not what the results say: run python -m benchmarks.report", code=1)
        return
    write_atomically(README, filled.encode())
    PLOTS.mkdir(exist_ok=True)
    for (place, section), record in results.items():
        if section in FIGURES:
            save(FIGURES[section](record), PLOTS / f"{place}-{section}.png")


if __name__ == "__main__":
    start(main)
