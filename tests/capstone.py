"""Files of the capstone for the tests: the solution, with mistakes."""

import ast
from pathlib import Path
from textwrap import dedent, indent

from minikd.learn.capstone.process import SOLUTION

TEXT = SOLUTION.read_text("utf-8")


def with_functions(**bodies: str) -> str:
    """The solution with other bodies for some functions."""
    lines = TEXT.splitlines()
    for node in reversed(ast.parse(TEXT).body):
        if isinstance(node, ast.FunctionDef) and node.name in bodies:
            lines[node.body[0].lineno - 1 : node.end_lineno] = indent(dedent(bodies[node.name]), "    ").splitlines()
    return "\n".join(lines) + "\n"


def written(folder: Path, text: str, name: str = "ada.py") -> str:
    """The path of a file with this text."""
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def defined(**bodies: str) -> dict[str, object]:
    """What the solution with these bodies defines, in this process."""
    names: dict[str, object] = {"__name__": "my_distillation"}
    exec(with_functions(**bodies), names)
    return names
