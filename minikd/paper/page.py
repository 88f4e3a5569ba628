"""The page of the paper's numbers: python -m minikd.paper.page fills PAPER.md, draws its figures and the README's.

Everything between the marks in PAPER.md, and every figure, is made only from the committed results. The page belongs to
a clone of the repository. An installed package has the results without it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from minikd.paper.figures import FIGURES, OF_THE_TEACHER
from minikd.paper.lab.jobs import Json
from minikd.plots.canvas import save, style
from minikd.system.cli import Parser, start
from minikd.system.files import write_atomically
from minikd.training import runs
from minikd.training.teacher import load_teacher

ROOT = Path(__file__).parents[2]
PAGE, PLOTS = ROOT / "PAPER.md", ROOT / "plots"
RESULTS = Path(__file__).parent / "results"
CHOICE = ROOT / "benchmarks" / "results" / "choose_paper.json"
MARK = re.compile(r"(<!-- table: ([\w -]+) -->\n).*?(<!-- /table: \2 -->)", re.DOTALL)


def load(profile: str) -> Json:
    """Return the committed results of a profile."""
    return dict(json.loads((RESULTS / f"{profile}.json").read_text(encoding="utf-8")))


def scoreboard(record: Json) -> str:
    """Return a table with claim, the paper's figure, ours and verdict; and below it how they were made."""
    head = ("row", "claim", "the paper", "ours", "verdict")
    rows = ([line[name] for name in ("row", "claim", "paper", "ours", "verdict")] for line in record["rows"])
    about = {name: value for name, value in record["machine"].items() if name not in ("device", "cores", "threads")}
    versions = ", ".join(f"{name} {value}" for name, value in about.items())
    minutes = sum(run["seconds"] for run in record["runs"]) / 60
    made = (
        f"`{record['command']}`: {len(record['runs'])} runs, {minutes:.0f} minutes on one core in total; "
        f"{record['machine']['device']}, {record['machine']['cores']} cores; {versions}."
    )
    return "\n".join([*markdown(head, rows), "", made])


def section(name: str, record: Json, profile: str) -> str:
    """Return a figure and, for each of its rows, the verdict, the reason, and the command that does only this row."""
    draw, ids = FIGURES[name]
    shown = (draw.__doc__ or "").splitlines()[0].rstrip(".")
    lines = [f"![{shown}]({picture(profile, name)})", ""]
    for row in record["rows"]:
        if row["row"] in ids:
            minutes = f"{row['seconds'] / 60:.0f} minutes on one core" if row["seconds"] >= 60 else "under a minute"
            lines.append(f"- **{row['row']}, {row['verdict']}**: {row['why']}. `{row['command']}`, {minutes}.")
    return "\n".join(lines)


def choice(record: Json) -> str:
    """Return what was tried on held-out images, and the results."""
    rows = []
    for row in record["rows"]:
        changed = ", ".join(f"{name} {value}" for name, value in row["changes"].items())
        rows.append([row["network"], changed or "as it is", ", ".join(map(str, row["errors"])), f"{row['seconds']} s"])
    return "\n".join(
        [*markdown(("network", "changed", "errors, one per seed", "time"), rows), "", f"`{record['command']}`"]
    )


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def picture(profile: str, name: str) -> str:
    """Return where a figure is, seen from the page."""
    return f"{PLOTS.name}/{profile}-{name}.png"


def numbers(name: str, record: Json) -> Json:
    """Return the numbers of a figure's rows, by id."""
    return {row["row"]: row["numbers"] for row in record["rows"] if row["row"] in FIGURES[name][1]}


def content(mark: str) -> str:
    """Return what belongs between the marks of a name: "choice", or a profile and "scoreboard" or a figure."""
    if mark == "choice":
        return choice(json.loads(CHOICE.read_text(encoding="utf-8")))
    profile, name = mark.split()
    return scoreboard(load(profile)) if name == "scoreboard" else section(name, load(profile), profile)


def fill(text: str) -> str:
    """Return the text with everything between its marks made anew."""
    return MARK.sub(lambda found: f"{found[1]}{content(found[2])}\n{found[3]}", text)


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
    """Draw the figures that a page of this text shows, and the README's."""
    for profile, name in (mark.split() for _, mark, _ in MARK.findall(text) if " " in mark):
        if name in FIGURES:
            shown = numbers(name, load(profile))
            save(FIGURES[name][0](shown), ROOT / picture(profile, name), source=runs.key(shown))
    for name, drawn in OF_THE_TEACHER.items():
        save(drawn(), PLOTS / f"{name}.png", source=load_teacher()[1].teacher)


if __name__ == "__main__":
    start(main)
