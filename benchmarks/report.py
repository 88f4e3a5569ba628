"""The committed results as tables and plots: python -m benchmarks.report fills README.md anew, or with --check looks.

A table stands in README.md between `<!-- table:step -->` and `<!-- /table:step -->`, and so do the aims, the plots and
the choices of the quick preset and of the pairs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import choose_pairs, choose_quick, epoch, inference, memory, population, prepare, run, step
from benchmarks.contestants import FLOOR_GRAPH, MINIKD_GRAPH, TEACHER, name
from benchmarks.jax_scan import JAX
from benchmarks.pytorch import COMPILED, EAGER, FUSED, GRAPHS, WHOLE, WHOLE_COMPILED
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
MISSING = "not measured yet"
WIDEST = 16  # columns; a wider table becomes two, of times and of ratios
Results = dict[tuple[str, str], dict[str, Any]]


def load() -> Results:
    """Return (folder, table) → record, one folder per machine."""
    paths = {
        (folder.name, table): folder / f"{table}.json"
        for folder in sorted(RESULTS.iterdir())
        for table in (*SECTIONS, "card")
    }
    return {key: json.loads(path.read_text(encoding="utf-8")) for key, path in paths.items() if path.exists()}


def on(record: dict[str, Any]) -> str:
    """Return the kind of device on which a record was measured."""
    return "GPU" if "cuda" in record["machine"] else "CPU"


# ---- tables ----------------------------------------------------------------------------------------------------------


def table(section: str, record: dict[str, Any]) -> str:
    """Return a section's rows in Markdown, and below them what they are and where they come from."""
    module = SECTIONS[section]
    networks = list(dict.fromkeys(row.get("network") for row in record["rows"]))
    rows = sorted(record["rows"], key=lambda row: (networks.index(row.get("network")), row.get("batch", 0)))
    names = list(dict.fromkeys(who for row in rows for who in row.get("seconds", ())))
    ratios = [{title: f"{value:.2f}" for title, value in module.derived(row).items() if value == value} for row in rows]
    titles = list(dict.fromkeys(title for row in ratios for title in row))
    unit = f", {module.UNIT}" if module.UNIT else ""
    labels = [list(module.LABELS), *([_text(row[label]) for label in module.LABELS] for row in rows)]
    times = [[f"{who}{unit}" for who in names], *([_median(row, who, module.UNIT) for who in names] for row in rows)]
    shares = [titles, *([ratio.get(title, "") for title in titles] for ratio in ratios)]
    tables = [(labels, times, shares)]
    if len(labels[0]) + len(names) + len(titles) > WIDEST:
        tables = [(labels, times), (labels, shares)]
    lines = []
    for parts in tables:
        head, *cells = ([cell for part in line for cell in part] for line in zip(*parts, strict=True))
        lines += [*_markdown(head, cells), ""]
    left_out = [f"Left out: {what} ({why})." for what, why in record["left_out"].items()]
    return "\n".join([*lines, _caption(record), *left_out])


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _text(value: Any) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _median(row: dict[str, Any], contestant: str, unit: str) -> str:
    """Median ± half the distance between the quartiles, where they are known, to three digits of the median."""
    if contestant not in row["seconds"]:
        return ""
    scale, (lower, median, upper) = {"ms": 1e3, "s": 1}[unit], row["seconds"][contestant]
    digits = max(0, 2 - math.floor(math.log10(scale * median)))
    spread = f" ± {scale * (upper - lower) / 2:.{digits}f}" if row.get("timed", 1) > 1 else ""
    return f"{scale * median:.{digits}f}{spread}"


def _caption(record: dict[str, Any]) -> str:
    machine, timed = record["machine"], [row["timed"] for row in record["rows"] if "timed" in row]
    words = [f"{key} {value}" for key, value in machine.items() if key not in ("device", "cores", "threads")]
    cores = f", {machine['cores']} cores" if "cores" in machine else ""
    threads = ", ".join(f"{pool} {count}" for pool, count in machine.get("threads", {}).items())
    lines = [f"{machine['device']}{cores}; {', '.join(words)}{f'; threads: {threads}' if threads else ''}."]
    if timed:
        several = " to ".join(map(str, sorted({min(timed), max(timed)})))
        lines.append(f"Medians of {several} times, ± half the distance between the quartiles.")
    if "source" in record:
        lines.append(f"Source: {record['source']}.")
    return " ".join([*lines, f"`{record['command']}`"])


def card(record: dict[str, Any]) -> str:
    """Return what `python -m benchmarks.card` did, stage by stage."""
    keys = ("stage", "state", "seconds", "said")
    cells = [["" if stage[key] is None else str(stage[key]) for key in keys] for stage in record["stages"]]
    lines = _markdown(["stage", "state", "seconds", "result"], cells)
    return "\n".join([*lines, "", f"Commit {record['commit']}. {_caption({**record, 'rows': []})}"])


def pairs(record: dict[str, Any]) -> str:
    """Return what `python -m benchmarks.choose_pairs` found on held-out pairs, and what it chose."""
    chosen = f"Chosen: {record['chosen']['width']} units per layer, T = {record['chosen']['T']:g}."
    return "\n".join([choose_pairs.table(record), "", f"{chosen} {_caption(record)}"])


# ---- aims ------------------------------------------------------------------------------------------------------------


class Aim(NamedTuple):
    """What a column should not exceed, in each row that has one of these values in these columns."""

    on: str
    section: str
    column: str
    limit: float
    about: dict[str, tuple[Any, ...]]


SMALL = (name((30, 30)),)
AIMS = (
    Aim("CPU", "step", "minikd ÷ best PyTorch", 1.00, {}),
    Aim("CPU", "step", "minikd ÷ best PyTorch", 0.50, {"network": SMALL}),
    Aim("CPU", "step", f"minikd ÷ {JAX}", 1.00, {}),
    Aim("CPU", "prepare", "preparation ÷ step", 0.10, {}),
    Aim("CPU", "population", "shared batches ÷ runs", 0.70, {"network": SMALL, "students": (32,)}),
    Aim("CPU", "population", "own batches ÷ runs", 0.70, {"network": SMALL, "students": (32,)}),
    Aim("CPU", "memory", memory.GROWTH, 1.0, {}),
    Aim("CPU", "run", "time", 1.5, {"what": (run.FIRST_STEP,)}),
    Aim("GPU", "step", f"minikd ÷ {EAGER}", 0.50, {}),
    Aim("GPU", "step", f"minikd ÷ {GRAPHS}", 1.00, {}),
    Aim("GPU", "step", f"{MINIKD_GRAPH} ÷ {GRAPHS}", 0.15, {}),
    Aim("GPU", "step", f"{MINIKD_GRAPH} ÷ best PyTorch", 0.90, {}),
    Aim("GPU", "step", f"{MINIKD_GRAPH} ÷ {FLOOR_GRAPH}", 1.50, {}),
    Aim("GPU", "run", "time", 5.0, {"what": (run.QUICK_TRAINING,)}),
    Aim("GPU", "run", "time", 40.0, {"what": (run.LONG,)}),
    Aim("GPU", "run", "time", 60.0, {"what": (run.GRID,)}),
)


def aims(results: Results) -> str:
    """Return each aim with the row that is furthest from it, on whichever machine."""
    lines = []
    for aim in AIMS:
        records = [found for (_, table), found in results.items() if table == aim.section and on(found) == aim.on]
        found = [
            (value, record["machine"]["device"], row)
            for record in records
            for row in record["rows"]
            if all(row[label] in values for label, values in aim.about.items())
            and not math.isnan(value := _value(aim, row))
        ]
        about = ", ".join(f"{label} {', '.join(map(str, values))}" for label, values in aim.about.items())
        verdict = [MISSING, "", ""]
        if found:
            worst, device, row = max(found, key=lambda one: one[0])
            met = sum(value <= aim.limit for value, _, _ in found)
            labels = [label for label in SECTIONS[aim.section].LABELS if not isinstance(row[label], list)]
            where = f"{device}: {', '.join(f'{label} {row[label]}' for label in labels)}"
            verdict = [f"{worst:.2f}", where, "met" if met == len(found) else f"not met (met in {met} of {len(found)})"]
        lines.append([aim.on, aim.section, aim.column, about, f"≤ {aim.limit:.2f}", *verdict])
    return "\n".join(_markdown(["on", "section", "what", "where", "aim", "worst", "in", "met?"], lines))


def _value(aim: Aim, row: dict[str, Any]) -> float:
    """A ratio, or where there is none of that name the median of a contestant, s."""
    ratios = SECTIONS[aim.section].derived(row)
    return ratios[aim.column] if aim.column in ratios else row.get("seconds", {}).get(aim.column, (0, math.nan))[1]


# ---- plots -----------------------------------------------------------------------------------------------------------


MARKERS = {"minikd": "o", EAGER: "s", FUSED: "D", COMPILED: "^", GRAPHS: "v", JAX: "P"}
CAPTURED = {MINIKD_GRAPH: "minikd", WHOLE: FUSED, WHOLE_COMPILED: COMPILED}
"""A CUDA graph is drawn as what it captures is, except dash-dotted."""


def plot_step(record: dict[str, Any]) -> Figure:
    """Milliseconds per step against the network's width and against the batch; floors are black, graphs dash-dotted."""
    by_width = {int(row["network"].split("-")[1]): row for row in record["rows"] if row["batch"] == 128}
    by_batch = {row["batch"]: row for row in record["rows"] if row["network"] == name(TEACHER)}
    colours = dict(zip(MARKERS, OKABE_ITO, strict=False))
    looks = {who: {"color": colours[who], "marker": MARKERS[who]} for who in MARKERS}
    looks |= {who: {**looks[what], "linestyle": "-."} for who, what in CAPTURED.items()}
    looks |= {"floor": {"color": "black", "linestyle": "--"}, FLOOR_GRAPH: {"color": "black", "linestyle": "-."}}
    curves = {
        axis: {who: ({x: 1e3 * _of(row, who) for x, row in by.items()}, {**looks[who], "label": who}) for who in looks}
        for axis, by in (("units of each hidden layer, batch 128", by_width), (f"batch, {name(TEACHER)}", by_batch))
    }
    return _figure(curves, "ms per step")


def plot_population(record: dict[str, Any]) -> Figure:
    """Cost per student against the size of the population, as a share of one run; on a CPU its floor is dashed."""
    curves = {}
    for width in population.WIDTHS:
        by = {row["students"]: row for row in record["rows"] if row["network"] == name((width, width))}
        shares = {S: population.derived(row) for S, row in by.items()}
        drawn = curves[f"students of {width} units"] = {
            what: ({S: share[what] for S, share in shares.items()}, {"color": colour, "marker": marker, "label": label})
            for what, label, colour, marker in (
                ("shared batches ÷ runs", "shared batches", OKABE_ITO[0], "o"),
                ("own batches ÷ runs", "own batches", OKABE_ITO[1], "s"),
            )
        }
        if on(record) == "CPU":  # on a GPU the floor is launched one by one, and a run is a graph
            floors = {S: over(row, "floor of one", "one run") for S, row in by.items()}
            drawn["floor"] = (floors, {"color": "black", "linestyle": "--", "label": "floor of one run"})
    return _figure(curves, "cost per student, one run = 1")


FIGURES = {"step": plot_step, "population": plot_population}


def _of(row: dict[str, Any], contestant: str) -> float:
    return row["seconds"].get(contestant, (math.nan,) * 3)[1]


def _figure(panels: dict[str, dict[str, tuple[dict[int, float], dict[str, Any]]]], ylabel: str) -> Figure:
    """A panel for each entry that has several points, if any has, titled by its horizontal axis, logarithmic both ways.

    Args:
        panels: for each, its curves as ({x: y}, look).
        ylabel: of all panels.
    """
    curved = {axis: curves for axis, curves in panels.items() if len({x for ys, _ in curves.values() for x in ys}) > 1}
    panels = curved or panels
    with style():
        figure = Figure(figsize=(4.5 * len(panels) + 2.5, 4.2), layout="constrained")
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
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=10)
    return figure


# ---- README.md -------------------------------------------------------------------------------------------------------


def content(mark: str, results: Results) -> str:
    """Return what belongs between the marks of that name."""
    if mark == "aims":
        return aims(results)
    if mark == "plots":
        words = {s: (draw.__doc__ or "").splitlines()[0].rstrip(".") for s, draw in FIGURES.items()}
        drawn = {(p, s): found["machine"]["device"] for (p, s), found in results.items() if s in FIGURES}
        links = [f"![{device}: {words[s]}](plots/{p}-{s}.png)" for (p, s), device in drawn.items()]
        return "\n\n".join(links) or "Plots: not measured yet."
    if mark == "pairs" and choose_pairs.RESULT.exists():
        return pairs(json.loads(choose_pairs.RESULT.read_text(encoding="utf-8")))
    if mark == "quick" and choose_quick.RESULT.exists():
        record = json.loads(choose_quick.RESULT.read_text(encoding="utf-8"))
        return f"{choose_quick.markdown(record)}\n\n{_caption({**record, 'rows': []})}"
    found = [card(record) if mark == "card" else table(mark, record) for (_, t), record in results.items() if t == mark]
    return "\n\n".join(found) or f"{mark}: {MISSING}."


def fill(text: str, results: Results) -> str:
    """Return the text with everything between its marks made anew."""
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
    for (folder, section), record in results.items():
        if section in FIGURES:
            save(FIGURES[section](record), PLOTS / f"{folder}-{section}.png")


if __name__ == "__main__":
    start(main)
