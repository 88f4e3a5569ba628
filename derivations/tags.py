"""Where each tagged equation stands: in a derivation, in the docstrings of the code, and on the tests.

A derivation gives an equation a heading, `### D2.4 What it says`, and a displayed formula with `\\tag{D2.4}`. A
docstring cites it as `derivation D2.4`, `derivation D2.1 to D2.4` or `derivations D1.4, D2.4`; a test carries
`@pytest.mark.derivation("D2.4")`. All is read from the files' text: nothing is imported.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent

TAG = r"D\d+\.\d+"
HEADING = re.compile(rf"^### ({TAG}) (.+)$", re.MULTILINE)
DISPLAY = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CITATION = re.compile(rf"derivations?\s+({TAG}(?:(?:,|,?\s+and|\s+to)\s+{TAG})*)")


class Equation(NamedTuple):
    tag: str
    statement: str
    file: Path


class Place(NamedTuple):
    """A function, class or module: where its definition starts."""

    file: Path
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}:{self.line} {self.name}"


def number(tag: str) -> tuple[int, int]:
    """D10.2 as (10, 2), to sort by."""
    result, equation = tag[1:].split(".")
    return int(result), int(equation)


def files() -> list[Path]:
    """The derivations, D1 first."""
    return sorted(HERE.glob("D*.md"), key=lambda path: int(re.match(r"D(\d+)", path.name)[1]))


def equations() -> dict[str, Equation]:
    """Every equation that has a heading, by tag, in the order of the files."""
    found = {}
    for path in files():
        for tag, statement in HEADING.findall(path.read_text(encoding="utf-8")):
            found[tag] = Equation(tag, statement, path)
    return found


def displays(path: Path) -> list[str]:
    """The LaTeX of every displayed formula of a derivation."""
    return DISPLAY.findall(path.read_text(encoding="utf-8"))


@cache
def _by_tag() -> dict[str, str]:
    return {re.search(r"\\tag\{(.*?)\}", latex)[1]: latex for path in files() for latex in displays(path)}


def display(tag: str) -> str:
    """The LaTeX of one displayed formula."""
    return _by_tag()[tag]


@cache
def docstrings() -> dict[str, list[Place]]:
    """Tag -> the functions, classes and modules of minikd whose docstrings cite it."""
    found = defaultdict(list)
    for path in sorted((ROOT / "minikd").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                place = Place(path, getattr(node, "lineno", 1), getattr(node, "name", path.stem))
                for tag in cited(ast.get_docstring(node) or ""):
                    found[tag].append(place)
    return dict(found)


@cache
def tests() -> dict[str, list[Place]]:
    """Tag -> the tests that are marked with it."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for tag in _marks(node):
                    found[tag].append(Place(path, node.lineno, node.name))
    return dict(found)


def cited(text: str) -> Iterator[str]:
    """The tags that a docstring cites, ranges written out.

    >>> list(cited("(Hinton et al. 2015, E2; derivation D2.1 to D2.3); see derivations D1.4 and D3.1"))
    ['D2.1', 'D2.2', 'D2.3', 'D1.4', 'D3.1']
    """
    for citation in CITATION.findall(text):
        parts = re.findall(rf"(to)?\s*({TAG})", citation)
        for (_, previous), (to, tag) in zip([("", ""), *parts], parts, strict=False):
            first = number(previous)[1] + 1 if to else number(tag)[1]
            if to and number(previous)[0] != number(tag)[0]:
                raise ValueError(f"a range of tags must stay within one derivation, got {previous} to {tag}")
            yield from (f"D{number(tag)[0]}.{i}" for i in range(first, number(tag)[1] + 1))


def _marks(node: ast.FunctionDef) -> Iterator[str]:
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.derivation":
            yield from (ast.literal_eval(argument) for argument in decorator.args)
