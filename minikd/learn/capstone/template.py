"""The file that a reader begins with: the solution, with dots in place of what the reader writes."""

from __future__ import annotations

import ast

from minikd.learn.capstone.process import SOLUTION
from minikd.learn.exercises.n14 import EXERCISES

FUNCTIONS = {part.name: number for number, part in EXERCISES.items()}
"""The number of the exercise for each function of the file, in order."""


def template() -> str:
    """Return the text of the file. A function keeps its first line and its docstring, and gets `return ...`."""
    text = SOLUTION.read_text(encoding="utf-8")
    lines = text.splitlines()
    for function in reversed(ast.parse(text).body):
        if isinstance(function, ast.FunctionDef) and function.name in FUNCTIONS:
            docstring, *_, last = function.body
            lines[docstring.end_lineno : last.end_lineno] = ["    return ..."]
    return "\n".join(lines) + "\n"


def solution(name: str) -> str:
    """Return the lines of the solution that define this function.

    >>> print(solution("relu_forward"))
    def relu_forward(x):
        return np.maximum(x, 0)
    """
    text = SOLUTION.read_text(encoding="utf-8")
    (function,) = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)
    first, *body = text.splitlines()[function.lineno - 1 : function.end_lineno]
    return "\n".join([first, *body[1:]])
