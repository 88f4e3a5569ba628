"""`python -m derivations`: every equation with its statement, its code, its tests, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from derivations import tags
from derivations.checks import PARSED, PINNED, load
from derivations.tags import ROOT, Equation, Place
from minikd.system.cli import Parser, start

BEGIN, END = "<!-- where it stands: python -m derivations --write -->", "<!-- end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("derivations", "Check every tagged equation: its statement, its code, its tests.", package="")
    parser.add_argument("which", nargs="*", metavar="D2 or D2.4", help="these derivations or equations; all by default")
    parser.add_argument("--write", action="store_true", help="renew the tables at the end of each derivation")
    options = parser.parse_args(arguments)
    if not __debug__:
        parser.fail("the checks are assertions: run without python -O and without PYTHONOPTIMIZE, which leave them out")
    if options.write:
        for path in tags.files():
            path.write_text(with_table(path), encoding="utf-8", newline="\n")
        return 0
    chosen = [
        equation
        for equation in tags.equations().values()
        if not options.which or {equation.tag, equation.tag.split(".")[0]} & set(options.which)
    ]
    if not chosen:
        parser.error(f"there is no equation {' '.join(options.which)}: the first is {next(iter(tags.equations()))}")
    code, tests, checks = tags.docstrings(), tags.tests(), load()
    began, failed = perf_counter(), 0
    for equation in chosen:
        verdict, holds = judge(equation.tag, code, tests, checks)
        failed += not holds
        print(f"{equation.tag:6} {equation.statement}")
        for name, places in (("code", code), ("test", tests)):
            for i, place in enumerate(places.get(equation.tag, [])):
                print(f"       {name if i == 0 else '':8}{place}")
        print(f"       verdict {verdict}\n", flush=True)
    seconds = perf_counter() - began
    ties = [checks[equation.tag].display for equation in chosen if equation.tag in checks]
    print(", ".join(f"{kind}: {ties.count(kind)}" for kind in (PARSED, PINNED)))
    print(f"{len(chosen) - failed} of {len(chosen)} equations hold, each with code and tests ({seconds:.0f} s)")
    return 1 if failed else 0


def judge(tag: str, code: dict, tests: dict, checks: dict) -> tuple[str, bool]:
    """The verdict in words, and whether the equation has code, a test and a check that passes."""
    missing = [what for what, found in (("code", code), ("test", tests), ("check", checks)) if tag not in found]
    if missing:
        return f"MISSING: no {' and no '.join(missing)}", False
    failure = checks[tag].verdict()
    if failure:
        return f"FAILS: {failure}", False
    return f"holds: {checks[tag].says}", True


def with_table(path: Path) -> str:
    """A derivation's text with its table renewed."""
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{path.name} must have one table, between {BEGIN} and {END}")
    code, tests, checks = tags.docstrings(), tags.tests(), load()
    rows = ["| equation | code | tests | checked by |", "|---|---|---|---|"]
    for equation in tags.equations().values():
        if equation.file == path:
            check = checks.get(equation.tag)
            cells = [_link(equation), _places(code.get(equation.tag, [])), _places(tests.get(equation.tag, []))]
            cells.append(check.says if check else "")
            rows.append(f"| {' | '.join(cells)} |")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n" + "\n".join(rows) + f"\n{END}{rest.split(END)[1]}"


def _link(equation: Equation) -> str:
    """A link to the equation's heading, by the anchor that GitHub gives it."""
    heading = f"{equation.tag} {equation.statement}".lower()
    anchor = "".join(c for c in heading if c.isalnum() or c in " -_").replace(" ", "-")
    return f"[{equation.tag}](#{anchor})"


def _places(places: list[Place]) -> str:
    return "<br>".join(
        f"[`{place.name}`](../{place.file.relative_to(ROOT).as_posix()})" for place in dict.fromkeys(places)
    )


if __name__ == "__main__":
    start(main)
