"""Runs a reader's file for `minikd grade`, in a process of its own.

It is started as a script, and takes `values` from its own folder. It imports nothing else of minikd. The reader's file
can import only NumPy and what comes with Python. Requests come on the standard input and replies go to the standard
output, one line of JSON each. The reader's file has other streams: it reads nothing, and what it prints is counted and
dropped.
"""

from __future__ import annotations

import importlib
import importlib.abc
import io
import json
import os
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY = 4 * 2**30
"""Bytes that the process may take, where the system can limit it."""


class OnlyNumPy(importlib.abc.MetaPathFinder):
    """Refuses to import anything except NumPy and Python's own modules, and remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ImportError for a module that the file may not use. Leave the search for others to Python."""
        root = name.partition(".")[0]
        if root != "numpy" and root not in sys.stdlib_module_names:
            self.asked.append(root)
            raise ImportError(f"use only NumPy, not {root}")


class Counted(io.TextIOBase):
    """A stream that counts the lines that are written to it, and drops them."""

    lines = 0

    def write(self, text: str) -> int:
        """Count the lines of a text."""
        self.lines += text.count("\n")
        return len(text)


class Worker:
    """A reader's file, and what `minikd grade` may ask of it: every public method answers a request of its name."""

    def __init__(self, values: Any) -> None:
        self.values, self.path = values, ""
        self.names: dict[str, Any] = {}  # of the reader's module
        self.solution: dict[str, Any] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.finder, self.printed = OnlyNumPy(), Counted()
        sys.meta_path.insert(0, self.finder)
        sys.stdout, sys.stderr = self.printed, Counted()  # warnings are no prints

    def ready(self) -> dict[str, Any]:
        """Say that Python and NumPy have started."""
        return {}

    def load(self, path: str, solution: str) -> dict[str, Any]:
        """Run a reader's file, and the solution that stands in for what is wrong in it. Name the functions."""
        with open(solution, encoding="utf-8") as file:
            exec(compile(file.read(), solution, "exec"), self.solution)
        self.path = path
        sys.path.insert(0, os.path.dirname(path))
        with open(path, "rb") as source:
            code = compile(source.read(), path, "exec", dont_inherit=True)
        module = types.ModuleType("my_distillation")  # not `__main__`, so the block for that does not run
        module.__file__, sys.modules[module.__name__], self.names = path, module, module.__dict__
        exec(code, self.names)
        self.functions = {name: value for name, value in self.names.items() if callable(value)}
        return {"functions": list(self.functions)}

    def call(self, name: str, arguments: Sequence[Any], instead: Sequence[str]) -> dict[str, Any]:
        """Call a function, with the solution's in place of those named in `instead`: its result, and its arguments."""
        given = [self.values.decode(argument) for argument in arguments]
        before = {other: self.names[other] for other in instead if other in self.names}
        self.names.update({other: self.solution[other] for other in instead})
        try:
            result = self.functions[name](*given)
        finally:
            self.names.update(before)
        return {"result": self.values.encode(result), "after": [self.values.encode(one) for one in given]}

    def train(self, data: str, seed: int) -> dict[str, Any]:
        """Run the training of the file on the data of an NPZ file. Return the layers of its three networks."""
        import numpy as np

        with np.load(data) as arrays:
            made = self.functions["distil"](arrays["images"], arrays["y"], seed)
        networks = [made.get(name) if isinstance(made, dict) else None for name in ("teacher", "alone", "distilled")]
        return {"networks": self.values.encode(networks)}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for. Whatever the reader's file raises becomes part of the reply."""
        self.printed.lines, self.finder.asked[:] = 0, []
        try:
            reply: dict[str, Any] = getattr(self, request.pop("do"))(**request)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too
            reply = {"error": self._described(error)}
        return {**reply, "printed": self.printed.lines, "imported": self.finder.asked}

    def _described(self, error: BaseException) -> dict[str, Any]:
        """Return the type and message of an error, and the last line of the reader's file that it came through."""
        with suppress(BaseException):  # a message that raises
            message = str(error.msg) if isinstance(error, SyntaxError) else str(error)
            line, text = 0, ""
            if isinstance(error, SyntaxError) and error.filename == self.path:
                line, text = error.lineno or 0, error.text or ""
            for frame in traceback.extract_tb(error.__traceback__):
                if frame.filename == self.path:
                    line, text = frame.lineno or 0, frame.line or ""
            return {"kind": type(error).__name__, "message": message[:500], "line": line, "text": text.strip()[:200]}
        return {"kind": type(error).__name__, "message": "", "line": 0, "text": ""}


def limit_memory() -> None:
    """Let the process fail instead of the machine, where the system has such a limit."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Answer requests until there are no more."""
    requests, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sys.path.insert(0, HERE)
    worker = Worker(importlib.import_module("values"))
    sys.path.pop(0)
    limit_memory()
    for line in requests:
        print(json.dumps(worker.answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
