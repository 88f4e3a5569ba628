"""How one bug is tried: on a copy of the tree, by tests that run in a process of their own."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from .planting import Mutant, find_module, mutated

TIMEOUT = 300  # seconds that the tests of one mutant may take
PASSED = "its tests pass"

# Where the platform can fork, the processes are forks of one that has imported what all of them need, but not minikd.
PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
PROCESSES.set_forkserver_preload(["array_api_strict", "hypothesis", "numpy", "pytest", __name__])


class Verdict(NamedTuple):
    """What the tests said: the first test that failed, or why there is none."""

    test: str | None
    reason: str  # in words
    seconds: float


def copy(root: Path, place: Path) -> None:
    """Copy what the tests of a mutant need, without bytecode, which could be that of the file before the bug."""
    for folder in ("minikd", "tests", "derivations"):
        shutil.copytree(root / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", place)


def examine(
    root: Path, tests: Sequence[str], mutant: Mutant | None = None, *, first: Sequence[str] = (), only: bool = False
) -> Verdict:
    """Run tests until one fails, on a fresh copy of root.

    Args:
        root: the tree to copy.
        tests: files in tests/, or single tests of them.
        mutant: the bug to plant in the copy, or None.
        first: the tests to begin with, as `test_losses.py::test_softmax`; they need not be in those files.
        only: whether to leave it at them.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as folder:
        place = Path(folder).resolve()
        copy(root, place)
        if mutant is not None:
            find_module(mutant.module, place).write_text(mutated(mutant, root), encoding="utf-8")
        test, reason = _ask(place, tests, first, only)
    return Verdict(test, reason, time.perf_counter() - began)


def _ask(place: Path, *what: Any) -> tuple[str | None, str]:
    """Run the tests of the tree at `place` in a new process: the first one that failed, and what is to say of it."""
    log = place / "log"
    log.touch()
    receiver, sender = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=run, args=(sender, place, *what))
    process.start()
    sender.close()  # so that the end of the process is the end of the pipe
    if not receiver.poll(TIMEOUT):
        process.kill()
        process.join()
        return None, f"no test failed in {TIMEOUT} s"
    try:
        status, failed = receiver.recv()
        process.join()
    except EOFError:  # it ended without an answer
        process.join()
        status, failed = process.exitcode, None
    if status == 1 and failed:
        return failed, f"{failed} fails"
    if status == 0:
        return None, PASSED
    return None, f"no test failed, but pytest ended with {status}\n{log.read_text(encoding='utf-8')}"


# ---- in the process that runs the tests ------------------------------------------------------------------------------


def run(sender: Connection, place: Path, tests: Sequence[str], first: Sequence[str], only: bool) -> None:
    """Run the tests of the tree at `place`, and send pytest's exit status and the first test that failed."""
    log = os.open(place / "log", os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(place)
    sys.dont_write_bytecode = True
    sys.path[:0] = places = [str(place), str(place / "tests")]  # the copy before all else
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*places, os.environ.get("PYTHONPATH")]))
    os.environ |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONUTF8": "1"}  # loading plugins takes long
    os.environ.pop("PYTEST_ADDOPTS", None)

    import pytest

    watch = Watch(place, first, only)
    options = ["-x", "-q", "--tb=line", "-o", "addopts=", "-p", "no:cacheprovider", "--assert=plain"]
    status = pytest.main([*options, *[f"tests/{test}" for test in tests]], plugins=[watch])
    sender.send((int(status), watch.failed))


class Watch:
    """A plugin of pytest: the tests run on the copy, the quickest to fail first, and the first that fails is noted."""

    def __init__(self, place: Path, first: Sequence[str], only: bool) -> None:
        self.place, self.first, self.only = place, first, only
        self.failed: str | None = None

    def pytest_configure(self) -> None:
        import minikd

        home = Path(minikd.__file__).resolve().parent.parent
        if home != self.place:
            raise RuntimeError(f"the tests would import minikd from {home}, not from the copy in {self.place}")

        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutants",
            database=None,
            derandomize=True,
            deadline=None,  # a slow machine is no caught mutant
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate),  # that an example fails is enough, it need not be shrunk
        )
        settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        first = {f"tests/{test}": place for place, test in enumerate(self.first)}
        if self.only:
            items[:] = [item for item in items if item.nodeid in first]
            assert len(items) == len(first), "a test that caught a mutant is gone without one"
        # Then the tests of a single case, and last the property tests, which draw a hundred.
        items.sort(key=lambda item: (first.get(item.nodeid, len(first)), hasattr(item.obj, "hypothesis")))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and report.when == "call" and self.failed is None:
            self.failed = report.nodeid.removeprefix("tests/")
