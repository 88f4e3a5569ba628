"""The page of the paper's numbers: python -m minikd.paper.page fills PAPER.md, draws its figures and the README's.

Everything between the marks in PAPER.md, and every figure, is made only from the committed results. The page belongs to
a clone of the repository. An installed package has the results without it.

A mark names a table of what was tried ("choice", "recipes", "study", "knowledge"), or a profile and what to show of its
results: "scoreboard", or the names of figures, whose rows are listed once below them, or "figures" for all of them.
Where there are no results yet, the page says what makes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from minikd.paper.choices import KNOWLEDGE, TABLES, calibration, load_study, markdown
from minikd.paper.figures import FIGURES, OF_THE_TEACHER
from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REFERENCE, REPRODUCED
from minikd.paper.rows import ROWS, speech
from minikd.plots.canvas import save, style
from minikd.system.cli import Parser, start
from minikd.system.files import write_atomically
from minikd.training import runs
from minikd.training.teacher import load_teacher

ROOT = Path(__file__).parents[2]
PAGE, PLOTS = ROOT / "PAPER.md", ROOT / "plots"
RESULTS = Path(__file__).parent / "results"
MARK = re.compile(r"(<!-- table: ([\w -]+) -->\n).*?(<!-- /table: \2 -->)", re.DOTALL)
READINGS = ("N1",)
"""Rows that test what people say, and not a claim of the paper."""
SECTIONS = (
    ("students",), ("map", "curves"), ("shifts",), ("gradients",), ("ensembles",), ("few",), ("specialists",),
    ("labels",), ("systems", "heard", "doubts", "temperatures"), ("frames",),
)  # fmt: skip
"""The figures that belong together, as the mark "figures" shows them."""
WAITING = {
    "full": "python -m minikd.paper --profile full --gpu --write minikd/paper/results/full.json",
}
"""What makes the results that may be missing, by profile."""


def load(profile: str) -> Json | None:
    """Return the committed results of a profile, or None while they wait for a machine."""
    path = RESULTS / f"{profile}.json"
    if not path.exists() and profile in WAITING:
        return None
    return dict(json.loads(path.read_text(encoding="utf-8")))


def expected(profile: str) -> list[str]:
    """Return the rows that belong to a profile's results. Without a card, those of speech have results of their own.

    >>> expected("cpu-speech")[:2], "S1" in expected("cpu"), {"M1", "S1"} <= set(expected("full"))
    (['S1', 'S2'], False, True)
    """
    spoken = {row.id for row in speech.ROWS}
    return [id for id in ROWS if profile in WAITING or (id in spoken) == profile.endswith("-speech")]


# ---- the scoreboard --------------------------------------------------------------------------------------------------


def scoreboard(record: Json | None, profile: str) -> str:
    """Return the scoreboard: a table, the rows that still wait for a run, and how the results were made.

    The rows that are no claims of the paper have a table of their own.
    """
    if record is None:
        return f"Waiting for a run on a card. This command makes it: `{WAITING[profile]}`"
    claims = [line for line in record["rows"] if line["row"] not in READINGS]
    readings = [line for line in record["rows"] if line["row"] in READINGS]
    parts = [counted(claims), *_table(claims)]
    if readings:
        parts += ["", "What people say, which is not counted among the paper's claims:", "", *_table(readings)]
    there = {line["row"] for line in record["rows"]}
    waiting = [id for id in expected(profile) if id not in there]
    if waiting:
        parts += ["", f"Waiting for a run: {', '.join(waiting)}."]
    return "\n".join([*parts, "", _made(record)])


def counted(lines: Sequence[Json]) -> str:
    """Return how many claims have which verdict, in words, and a blank line."""
    verdicts = [line["verdict"] for line in lines]
    references = verdicts.count(REFERENCE)
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in (REPRODUCED, DIRECTION, NOT))
    beside = f"; beside them, {references} row{'s' * (references > 1)} for reference" if references else ""
    return f"Of {len(verdicts) - references} claims: {counts}{beside}.\n"


def _table(lines: Iterable[Json]) -> list[str]:
    names = ("row", "claim", "paper", "ours", "interval", "seeds", "verdict")
    head = ("row", "claim", "the paper", "ours", "95 % interval", "seeds", "verdict")
    return markdown(head, ([str(line[name]) or "–" for name in names] for line in lines))


def _made(record: Json) -> str:
    """Return how the results were made, and where."""
    machines = []
    for machine in record["machines"]:
        about = {name: value for name, value in machine.items() if name not in ("device", "cores")}
        versions = ", ".join(f"{name} {value}" for name, value in about.items())
        machines.append(f"{machine['device']}, {machine['cores']} cores; {versions}")
    if len(machines) > 1:
        counts = [sum(run["machine"] == number for run in record["runs"] if "machine" in run)
                  for number in range(len(machines))]  # fmt: skip
        machines = [f"{count} runs on {machine}" for count, machine in zip(counts, machines, strict=True)]
    total = f"{len(record['runs'])} runs, {_took(sum(run['seconds'] for run in record['runs']))} in total"
    return f"`{record['command']}`: {'; '.join([total, *machines])}."


def _took(seconds: float) -> str:
    """Return in words how much time of a processor this is: that of one core, or of a GPU's host.

    >>> _took(59), _took(61), _took(3600)
    ('under a minute', '1 minute of processor time', '60 minutes of processor time')
    """
    minutes = round(seconds / 60)
    return f"{minutes} minute{'s' * (minutes > 1)} of processor time" if seconds >= 60 else "under a minute"


# ---- the sections ----------------------------------------------------------------------------------------------------


def section(names: Sequence[str], record: Json | None, profile: str) -> str:
    """Return figures that belong together, and then each of their rows once.

    A row has its verdict, the reason, the command that does only this row, and its own table if it has one.
    """
    if record is None:
        return ""
    lines = {line["row"]: line for line in record["rows"]}
    parts = []
    for name in names:
        missing = [id for id in FIGURES[name][1] if id not in lines]
        shown = caption(name)
        if missing:
            parts += [f"*{shown}*: this figure waits for a run of {', '.join(missing)}.", ""]
        else:
            parts += [f"![{shown}]({picture(profile, name)})", "", f"*{shown}.*", ""]
    shown_rows = [lines[id] for id in rows_of(names) if id in lines]
    for line in shown_rows:
        parts.append(
            f"- **{line['row']}, {line['verdict']}**: {line['why']}. `{line['command']}`, {_took(line['seconds'])}."
        )
    for line in shown_rows:
        if "table" in line["numbers"]:
            found = line["numbers"]["table"]
            parts += ["", f"**{line['row']}** in detail:", "", *markdown(found["head"], found["rows"])]
    return "\n".join(parts).rstrip("\n")


def caption(name: str) -> str:
    """Return what a figure shows, in words: the first line of what draws it."""
    return (FIGURES[name][0].__doc__ or "").splitlines()[0].rstrip(".")


def rows_of(names: Iterable[str]) -> list[str]:
    """Return the rows of some figures, each once.

    >>> rows_of(["map", "curves"])
    ['M4', 'M5']
    """
    return list(dict.fromkeys(id for name in names for id in FIGURES[name][1]))


def sections(record: Json | None, profile: str) -> str:
    """Return all sections of which a profile's results have a row."""
    there = set() if record is None else {line["row"] for line in record["rows"]}
    return "\n\n".join(section(names, record, profile) for names in SECTIONS if there & set(rows_of(names)))


def picture(profile: str, name: str) -> str:
    """Return where a figure is, seen from the page."""
    return f"{PLOTS.name}/{profile}-{name}.png"


def numbers(name: str, record: Json) -> Json:
    """Return the numbers of a figure's rows, by id."""
    return {row["row"]: row["numbers"] for row in record["rows"] if row["row"] in FIGURES[name][1]}


def pictures(text: str) -> list[tuple[str, str]]:
    """Return the profile and the name of every figure that a page of this text shows."""
    found = []
    for profile, *names in (mark.split() for _, mark, _ in MARK.findall(text)):
        record = load(profile) if names else None
        there = set() if record is None else {line["row"] for line in record["rows"]}
        for name in FIGURES if names == ["figures"] else names:
            if name in FIGURES and set(FIGURES[name][1]) <= there:
                found.append((profile, name))
    return found


# ---- the page --------------------------------------------------------------------------------------------------------


def content(mark: str) -> str:
    """Return what belongs between the marks of a name."""
    if mark in TABLES:
        return TABLES[mark]()
    profile, *names = mark.split()
    record = load(profile)
    if names == ["scoreboard"]:
        return scoreboard(record, profile)
    return sections(record, profile) if names == ["figures"] else section(names, record, profile)


def fill(text: str) -> str:
    """Return the text with everything between its marks made anew."""

    def filled(found: re.Match[str]) -> str:
        between = content(found[2])
        return f"{found[1]}{between}\n{found[3]}" if between else f"{found[1]}{found[3]}"

    return MARK.sub(filled, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Fill PAPER.md and draw the figures. With --check, only report whether the page agrees with the results."""
    parser = Parser("paper.page", "Fill PAPER.md and draw its figures and the README's, from the committed results.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if PAPER.md would change")
    check = parser.parse_args(argv).check
    if not PAGE.exists():
        parser.fail("PAPER.md is not there: the page is made in a clone of the repository", code=1)
    text = PAGE.read_text(encoding="utf-8")
    filled = fill(text)
    if check:
        if filled != text:
            parser.fail("PAPER.md is not what the results say: run python -m minikd.paper.page", code=1)
        return
    write_atomically(PAGE, filled.encode())
    PLOTS.mkdir(exist_ok=True)
    draw(text)


@style()
def draw(text: str) -> None:
    """Draw the figures that a page of this text shows, that of the calibration, and the README's."""
    for profile, name in pictures(text):
        shown = numbers(name, load(profile) or {})
        save(FIGURES[name][0](shown), ROOT / picture(profile, name), source=runs.key(shown))
    for name, drawn in OF_THE_TEACHER.items():
        save(drawn(), PLOTS / f"{name}.png", source=load_teacher()[1].teacher)
    save(calibration(), PLOTS / "calibration.png", source=runs.key(load_study(KNOWLEDGE)))


if __name__ == "__main__":
    start(main)
