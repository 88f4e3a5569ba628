"""A reader's file in a process of its own, which may loop, exit or crash without harm to the one that judges it."""

from __future__ import annotations

import builtins
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from minikd.learn.capstone.values import decode, encode

SOLUTION = Path(__file__).parent / "my_distillation.py"
WORKER = Path(__file__).parent / "worker.py"
_READY = 60.0
"""Seconds for Python and NumPy to start, on a machine that is busy."""


QUITS = "it ended the whole process: it may only return, or raise an error"
LOOPS = "it did not end within {:g} seconds: is there a loop that does not stop?"
"""Why there is no answer."""


class Ended(Exception):
    """The reader's file ended its process, did not end in time, or could not be read. The message is a sentence."""


class Process:
    """A reader's file that was loaded, and the way to call its functions.

    Args:
        path: of the file.
        timeout: the seconds that loading it may take, and all calls of one function together.

    Attributes:
        functions: the names that the file defines.
        printed: how many lines it printed so far.

    Raises:
        OSError: if there is no such file.
        Ended: if the file imports something else than NumPy, does not end, or exits.
        Exception: what the file raised.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        path.stat()  # a file that is not there is our error, not the reader's
        self.timeout, self.printed = timeout, 0
        one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads of small products wait for others
        environment = {**os.environ, **one_thread, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.ask({"do": "ready"}, _READY)
            load = {"do": "load", "path": str(path.resolve()), "solution": str(SOLUTION)}
            self.functions: list[str] = self.ask(load, timeout)["functions"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def function(self, name: str, instead: Sequence[str]) -> Callable[..., Any]:
        """Return a function that calls the one of that name over there. What it raises there is raised here.

        Args:
            name: of the function.
            instead: functions of the solution that stand in for those of the file during the call.
        """

        left = self.timeout

        def call(*arguments: Any) -> Any:
            nonlocal left
            request = {"do": "call", "name": name, "arguments": list(map(encode, arguments)), "instead": list(instead)}
            began = perf_counter()
            reply = self.ask(request, max(left, 0.0))
            left -= perf_counter() - began
            for argument, after in zip(arguments, reply["after"], strict=True):
                if isinstance(argument, np.ndarray):
                    argument[...] = decode(after)  # so that the one who asked sees what was written into it
            return decode(reply["result"])

        return call

    def ask(self, request: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request, and return the reply, which must come in time.

        Args:
            request: for a method of the worker.
            timeout: in seconds.

        Raises:
            Ended: if there is no reply in time, or the process ended.
            Exception: what the reader's file raised, with the line where it did.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            reply: dict[str, Any] = json.loads(self._lines.get(timeout=timeout))
        except queue.Empty:
            raise Ended(LOOPS.format(self.timeout)) from None
        except (OSError, ValueError):  # a pipe that is closed, or a line that is no reply
            raise Ended(QUITS) from None
        self.printed += reply["printed"]
        error = reply.get("error")
        at = f" (line {error['line']}: `{error['text']}`)" if error and error["line"] else ""
        if reply["imported"]:
            raise Ended(f"it imports {reply['imported'][0]}{at}: write it in plain NumPy")
        if error:
            raise _raised(error["kind"], error["message"], at)
        return reply

    def _read(self) -> None:
        """Pass on the lines that come, and an empty one at the end."""
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.put(line)
        except (OSError, ValueError):  # it was closed
            pass
        self._lines.put("")


def _raised(name: str, message: str, at: str) -> Exception:
    """Return what the reader's file raised as an error of the same name, with the line where it did."""
    if name == "SystemExit":
        return Ended(f"it calls exit{at}: return the result instead")
    if name == "EOFError":  # the worker's standard input is empty
        return Ended(f"it waits for input(){at}: remove that line")
    if name == "MemoryError":
        return Ended(f"it needs more memory than the 4 GiB that it may use{at}")
    known = getattr(builtins, name, None)
    plain = (ArithmeticError, AttributeError, LookupError, NameError, NotImplementedError, TypeError, ValueError)
    is_plain = isinstance(known, type) and issubclass(known, plain) and not issubclass(known, UnicodeError)
    kind: Any = known if is_plain else type(name, (Exception,), {})
    error: Exception = kind(f"{message}{at}")
    return error
