"""What is right in a reader's file, and what is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minikd.learn.capstone.process import Ended, Process
from minikd.learn.capstone.template import FUNCTIONS
from minikd.learn.exercises import NOT_YET, Verdict, find
from minikd.system.cli import reason

RIGHT, WRONG, STOPS, NOT_WRITTEN, MISSING = "right", "wrong", "stops", "not yet", "missing"
"""What a function can be."""


@dataclass(frozen=True)
class Judged:
    """A function of a file.

    Attributes:
        name: of the function.
        exercise: its number in notebook 14.
        status: one of `RIGHT`, `WRONG`, `STOPS`, `NOT_WRITTEN` and `MISSING`.
        words: what is wrong, and where to look.
    """

    name: str
    exercise: str
    status: str
    words: str

    @property
    def verdict(self) -> str:
        """The first line of the words."""
        return self.words.partition("\n")[0]


@dataclass
class Report:
    """What is right in a file.

    Attributes:
        file: as it was named.
        functions: one after the other; none if the file could not be loaded.
        problem: why the file could not be loaded, or "".
        remarks: what is no mistake, but should be changed.
        total: how many functions there should be.
        training: what `minikd.learn.capstone.noise.compare` says, if the file was trained.
    """

    file: str
    functions: list[Judged] = field(default_factory=list)
    problem: str = ""
    remarks: list[str] = field(default_factory=list)
    total: int = len(FUNCTIONS)
    training: dict[str, Any] | None = None

    @property
    def right(self) -> int:
        """How many functions are right."""
        return sum(one.status == RIGHT for one in self.functions)

    @property
    def passed(self) -> bool:
        """Whether all functions are right, and the training too, if there was one."""
        return not self.problem and self.right == self.total and (self.training is None or self.training["within"])


def judge(file: str, timeout: float) -> Report:
    """Run a file in a process of its own, and judge its functions.

    A function is judged with the solution in place of those before it that are not right. So one mistake costs one
    point.

    Args:
        file: the path.
        timeout: the seconds that loading the file may take, and all calls of one function together.
    """
    report = Report(file)
    process: Process | None = None
    try:
        for name in FUNCTIONS:
            process = process or Process(Path(file), timeout)
            instead = [one.name for one in report.functions if one.status != RIGHT]
            judged, goes_on = _judge_function(process, name, instead)
            report.functions.append(judged)
            if process.printed:
                report.remarks = ["it prints: remove the prints before you hand it in"]
            if not goes_on:
                process.close()
                process = None
    except Exception as error:
        report.problem = f"it cannot be loaded: {said(error)}"
    finally:
        if process is not None:
            process.close()
    return report


def _judge_function(process: Process, name: str, instead: list[str]) -> tuple[Judged, bool]:
    """Judge a function of a file, and say whether the process goes on after it."""
    number = FUNCTIONS[name]
    if name not in process.functions:
        return Judged(name, number, MISSING, f"there is no function {name}: keep the template's names"), True
    call = process.function(name, instead)
    ended: list[Ended] = []

    def until_it_ends(*arguments: Any) -> Any:
        if ended:
            raise ended[0]
        try:
            return call(*arguments)
        except Ended as error:
            ended.append(error)
            raise

    verdict = find(number).judge(until_it_ends)
    if ended:
        return Judged(name, number, STOPS, str(ended[0])), False
    return Judged(name, number, *status_of(verdict)), True


def status_of(verdict: Verdict) -> tuple[str, str]:
    """Return the status that a verdict gives a function, and its words."""
    if verdict.words == NOT_YET:
        return NOT_WRITTEN, "not written yet"
    stopped = verdict.words.startswith("it stopped with")
    return RIGHT if verdict else STOPS if stopped else WRONG, verdict.words


def said(error: Exception) -> str:
    """Return what an error says: the sentence of an `Ended`, or the type and message of another."""
    if isinstance(error, Ended):
        return str(error)
    return reason(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
