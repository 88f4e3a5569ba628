"""The exercises of a notebook that a student handed in, judged without a run of the whole notebook.

Only the cells with exercises run, and what they may need of the others: imports and functions. Each exercise has a
process of its own, in which this module is a program: python -m minikd.learn.handed_in NOTEBOOK NUMBER SECONDS
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from threading import Timer
from typing import Any

from minikd.learn.capstone.judge import MISSING, STOPS, Judged, Report, judge, said, status_of
from minikd.learn.capstone.process import LOOPS, QUITS, Ended
from minikd.learn.exercises import PROGRESS, exercises, find

START = 60.0
"""Seconds for Python, minikd and the notebook's imports, on a machine that is busy."""
LATE = 93
"""The exit status of a process whose time is over."""
CALL = re.compile(r"^exercise\(\s*[\"'](\d+\.\d+)[\"']", re.MULTILINE)
MAGIC = re.compile(r"^\s*[%!].*$", re.MULTILINE)
"""A line for Jupyter, which is no Python."""


class Notebook:
    """The code of a notebook, as far as its exercises need it.

    Args:
        file: the path.

    Attributes:
        statements: what runs before an exercise is judged.
        given: the expression for the function of each exercise, by number.
        broken: what is wrong with a cell that is no Python, by the number of its exercise.

    Raises:
        OSError: if there is no such file.
        Ended: if it is no notebook.
    """

    def __init__(self, file: str) -> None:
        self.statements: list[ast.stmt] = []
        self.given: dict[str, ast.expr] = {}
        self.broken: dict[str, str] = {}
        try:
            cells = json.loads(Path(file).read_text(encoding="utf-8"))["cells"]
            sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        except (ValueError, KeyError, TypeError):
            raise Ended("it is no notebook, or damaged") from None
        for source in sources:
            self._add(MAGIC.sub("", source))

    def _add(self, source: str) -> None:
        """Keep what is needed of a cell."""
        numbers = CALL.findall(source)
        try:
            body = ast.parse(source).body
        except SyntaxError as error:
            text = (error.text or "").strip()
            self.broken |= dict.fromkeys(numbers, f"SyntaxError: {error.msg} (line {error.lineno}: `{text}`)")
            return
        for statement in body:
            calls: list[Any] = [node for node in ast.walk(statement) if _is_exercise(node)]
            called = {call.args[0].value: call.args[1] for call in calls}
            self.given |= called
            if not called and (numbers or _defines(statement)):
                self.statements.append(statement)

    def numbers(self) -> list[str]:
        """Return the numbers of all exercises that a notebook with these has."""
        first = next(iter(self.given | self.broken), "")
        return list(exercises(first.partition(".")[0]))


def _is_exercise(node: Any) -> bool:
    """Return whether this is a call `exercise("4.1", function)`."""
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "exercise"
    return is_call and len(node.args) == 2 and isinstance(getattr(node.args[0], "value", None), str)


def _defines(statement: ast.stmt) -> bool:
    """Return whether this is an import, or a function that is no prediction."""
    if isinstance(statement, ast.FunctionDef):
        return not any("predict" in ast.unparse(decorator) for decorator in statement.decorator_list)
    return isinstance(statement, ast.Import | ast.ImportFrom)


def judge_notebook(file: str, timeout: float) -> Report:
    """Judge all exercises of a notebook. Those of the capstone's are judged as its file would be.

    Args:
        file: the path.
        timeout: the seconds that all calls of one function may take together.
    """
    try:
        notebook = Notebook(file)
    except (OSError, ValueError, Ended) as error:  # null bytes are a ValueError
        return Report(file, problem=f"it cannot be loaded: {said(error)}")
    known = notebook.numbers()
    if not known:
        return Report(file, problem="this is a notebook without exercises: hand in the one from my-notebooks")
    if known[0].startswith("14."):
        report = replace(_judge_as_a_file(notebook, timeout), file=file)
    else:
        judged = [_judge_exercise(file, notebook, number, timeout) for number in known]
        report = Report(file, judged, total=len(known))
    for at, one in enumerate(report.functions):
        if one.exercise in notebook.broken:
            report.functions[at] = replace(one, status=STOPS, words=notebook.broken[one.exercise])
    return report


def _judge_as_a_file(notebook: Notebook, timeout: float) -> Report:
    """Judge the functions of the capstone's notebook as a file of them, in plain NumPy."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "my_distillation.py"
        file.write_text("".join(map(_in_a_file, notebook.statements)), encoding="utf-8")
        return judge(str(file), timeout)


def _in_a_file(statement: ast.stmt) -> str:
    """Return a statement for a file of the capstone: no import that it refuses, and nothing that stops it."""
    text = ast.unparse(statement)
    if isinstance(statement, ast.FunctionDef):
        return f"{text}\n"
    if isinstance(statement, ast.Import | ast.ImportFrom):
        root = re.split(r"[\s.]", text)[1]
        return f"{text}\n" if root == "numpy" or root in sys.stdlib_module_names else ""
    return f"try:\n{indent(text, '    ')}\nexcept Exception:\n    pass\n"


def _judge_exercise(file: str, notebook: Notebook, number: str, timeout: float) -> Judged:
    """Judge one exercise in a process of its own."""
    if number not in notebook.given:
        words = f'there is no call exercise("{number}", ...): keep the line below the function'
        return Judged(number, number, MISSING, words)
    name = f"{number} {ast.unparse(notebook.given[number])}"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    environment.pop(PROGRESS, None)  # what a student solved is not the teacher's progress
    try:
        done = subprocess.run(
            [sys.executable, "-m", "minikd.learn.handed_in", file, number, str(timeout)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            encoding="utf-8",
            timeout=START + timeout,
            check=False,
        )
        status, words = json.loads((done.stdout.splitlines() or [""])[-1])
    except subprocess.TimeoutExpired:
        status, words = STOPS, LOOPS.format(timeout)
    except ValueError:
        status, words = STOPS, LOOPS.format(timeout) if done.returncode == LATE else QUITS
    return Judged(name, number, status, words)


def main(file: str, number: str, timeout: str) -> None:
    """Judge one exercise in this process, and print its status and the words as JSON."""
    notebook, names = Notebook(file), {"__name__": "notebook"}
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        for statement in notebook.statements:
            with suppress(Exception):  # what it should have made is missed by the exercise, if it needs it
                exec(compile(ast.Module([statement], []), file, "exec"), names)
        timer = Timer(float(timeout), os._exit, [LATE])
        timer.daemon = True
        timer.start()
        try:
            function = eval(compile(ast.Expression(notebook.given[number]), file, "eval"), names)
            answer = status_of(find(number).judge(function))
        except SystemExit:
            answer = STOPS, "it calls exit: return the result instead"
        except Exception as error:
            answer = STOPS, said(error)
        timer.cancel()
    print("", json.dumps(answer), sep="\n", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
