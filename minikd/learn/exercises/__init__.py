"""The exercises of the notebooks: you complete a function, and learn in words what is wrong with it.

    exercise("1.1", soften)

The doctor, `minikd.doctor.check_gradient`, judges a gradient. Any other function is tried on some cases. Its answers
are compared with those of a solution, and with those that the usual mistakes give.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from minikd.doctor import check_gradient
from minikd.system.console import fit
from minikd.system.files import write_atomically
from minikd.system.html import verdict as as_html

PROGRESS = "MINIKD_PROGRESS"
"""The environment variable that names the file in which exercises that were right are kept. The launcher sets it."""
NOT_YET = "not written yet: put your own line in place of the dots, and run the cell again"
NOTHING = "it returns nothing: end it with `return` and your answer"
HINTS = {
    "broadcast": "does a sum over an axis need keepdims=True, or an array one more axis, as in y[:, None]?",
    "truth value of an array": "`if`, `max` and `min` compare single numbers; use np.where, np.max or np.min",
    "EOF when reading": "it waits for input(): remove that line",
    "converted to Python scalars": "`math` takes one number; np.exp and np.log take arrays",
}
"""What an error says, and what is often behind it."""


@dataclass(frozen=True)
class Verdict:
    """The result of an exercise: true if the function is right, and words for the reader.

    Attributes:
        right: whether it is.
        words: all there is to say, as text.
        page: the same as HTML, with a table. If it is empty, a notebook shows the words.
    """

    right: bool
    words: str
    page: str = field(default="", repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return fit(self.words)

    def _repr_html_(self) -> str:
        return self.page or as_html(self.right, self.words)


@dataclass(frozen=True)
class Exercise:
    """A function to complete: a `gradient`, or anything else that has a `solution`.

    Args:
        title: what the function computes, in a few words.
        solution: a right function.
        mistakes: a function of the same arguments. It returns what wrong functions return, by the words for their
            mistake: an answer, or a list of them if there are several ways to make the mistake.
        cases: the arguments on which a function is tried.
        gradient: the name by which the doctor knows the problem. It takes the place of solution, mistakes and cases.
        tolerance: of an answer, as a share of the largest number in the right one.
    """

    title: str
    solution: Callable[..., Any] | None = None
    mistakes: Callable[..., dict[str, Any]] | None = None
    cases: Sequence[tuple[Any, ...]] = ()
    gradient: str | None = None
    tolerance: float = 1e-6

    def judge(self, function: Callable[..., Any]) -> Verdict:
        """Return what is wrong with the function, if anything. An error that it raises becomes words too."""
        if self.gradient is not None:
            return self._ask_the_doctor(function, self.gradient)
        answers = []
        for case in self.cases:
            given = deepcopy(case)
            try:
                answers.append(function(*given))
            except Exception as error:
                return Verdict(False, _stopped(error, f"; at {_shown(case)}"))
            if missing := _missing(answers[-1]):
                return Verdict(False, missing)
            if not all(np.array_equal(one, other) for one, other in zip(given, case, strict=True)):
                return Verdict(False, "it writes into its arguments: work on new arrays; the caller needs the old ones")
        assert self.solution is not None
        truths = [self.solution(*case) for case in self.cases]
        wrong = [i for i, truth in enumerate(truths) if not self._equal(answers[i], truth)]
        if not wrong:
            return Verdict(True, f"right, on {len(answers)} cases")
        first = wrong[0]
        words = self._recognise(answers) or _difference(answers[first], truths[first], self.cases[first])
        rows = [
            ("wrong" if i in wrong else "right", _shown(case), _brief(truth), _brief(answer))
            for i, (case, truth, answer) in enumerate(zip(self.cases, truths, answers, strict=True))
        ]
        page = as_html(False, f"wrong: {words}", head=("", "at", "truth", "yours"), rows=rows[first : first + 4])
        return Verdict(False, f"wrong: {words}", page)

    def wrong_answers(self, case: tuple[Any, ...]) -> dict[str, list[Any]]:
        """Return the answers of wrong functions in a case, one per way to make a mistake, by the words for it."""
        if self.mistakes is None:
            return {}
        with np.errstate(all="ignore"):
            found = self.mistakes(*case)
        return {words: answer if isinstance(answer, list) else [answer] for words, answer in found.items()}

    def _recognise(self, answers: list[Any]) -> str:
        """Return the words for the mistake that gives these answers, or ""."""
        known = [self.wrong_answers(case) for case in self.cases]
        everywhere = range(len(answers))
        finite = [i for i, one in enumerate(map(_numbers, answers)) if one is not None and np.all(np.isfinite(one))]
        for tried in (everywhere, finite):  # a mistake may come together with an overflow elsewhere
            for words, ways in known[0].items() if tried else ():
                if any(all(self._equal(answers[i], known[i][words][way]) for i in tried) for way in range(len(ways))):
                    rest = (f"; and it is not finite at {_shown(self.cases[i])}" for i in everywhere if i not in tried)
                    return words + next(rest, "")
        return ""

    def _ask_the_doctor(self, function: Callable[..., Any], problem: str) -> Verdict:
        made: list[Any] = []

        def listening(*arguments: Any, **named: Any) -> Any:
            made.append(function(*arguments, **named))
            return made[-1]

        listening.__wrapped__ = function  # type: ignore[attr-defined]
        try:
            diagnosis = check_gradient(listening, problem)
        except Exception as error:
            return Verdict(False, _stopped(error))
        missing = next(filter(None, map(_missing, made)), "")
        return Verdict(False, missing) if missing else Verdict(bool(diagnosis), str(diagnosis), diagnosis._repr_html_())

    def _equal(self, answer: Any, truth: Any) -> bool:
        answer, truth = _numbers(answer), np.asarray(truth, float)
        if answer is None or answer.shape != truth.shape:
            return False
        size = float(np.max(np.abs(truth[np.isfinite(truth)]), initial=0.0))
        return np.allclose(answer, truth, rtol=0, atol=self.tolerance * max(size, 1e-30), equal_nan=True)


# ---- the reader's way in ---------------------------------------------------------------------------------------------


def exercise(number: str, function: Callable[..., Any]) -> Verdict:
    """Judge the reader's function for an exercise.

    Args:
        number: of the notebook and the exercise, as in "1.2".
        function: the reader's.

    Returns:
        A verdict, true if the function is right. It is shown in words.

    Raises:
        ValueError: if the exercise does not exist.
    """
    task = find(number)
    verdict = task.judge(function)
    kept = _kept_at()
    if verdict and kept is not None:
        write_atomically(kept, (json.dumps(sorted({*progress(kept), number})) + "\n").encode())
    name = f"Exercise {number}, {task.title}"
    page = f"<p><b>{html.escape(name)}</b></p>{verdict._repr_html_()}"
    return Verdict(verdict.right, f"{name}: {verdict.words}", page)


def find(number: str) -> Exercise:
    """Return the exercise of that number.

    Raises:
        ValueError: if there is none.
    """
    known = exercises(number.split(".")[0])
    if number not in known:
        raise ValueError(f"an exercise is one of {', '.join(known) or '1.1, 1.2, …'}, got {number!r}")
    return known[number]


def exercises(notebook: str) -> dict[str, Exercise]:
    """Return the exercises of a notebook by number; none if it has none."""
    module = f"{__name__}.n{notebook.zfill(2)}"
    return dict(import_module(module).EXERCISES) if notebook.isdigit() and find_spec(module) else {}


def _kept_at() -> Path | None:
    """Return the file in which progress is kept, if any."""
    place = os.environ.get(PROGRESS)
    return Path(place) if place else None


def progress(path: Path) -> list[str]:
    """Return the numbers of the exercises that were right so far, in order.

    Args:
        path: the file in which they are kept. It need not exist.

    Raises:
        ValueError: if the file holds something else.
    """
    if not path.exists():
        return []
    try:
        return sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda number: [*map(int, number.split("."))])
    except (ValueError, TypeError, AttributeError):
        fix = "rename it, and solve an exercise again to begin a new one"
        raise ValueError(f"{path} must hold the numbers of exercises, and it is damaged: {fix}") from None


# ---- answers, in words -----------------------------------------------------------------------------------------------


def _numbers(answer: Any) -> Any:
    """Return the answer as an array of real numbers, or None where it is something else."""
    try:
        return None if np.iscomplexobj(answer) else np.asarray(answer, float)
    except (TypeError, ValueError):
        return None


def _difference(answer: Any, truth: Any, case: tuple[Any, ...]) -> str:
    """Say how an answer differs from the right one."""
    truth, came = np.asarray(truth, float), _numbers(answer)
    wanted = f"the answer should {f'have shape {truth.shape}' if truth.shape else 'be one number'}"
    if came is None:
        return f"{wanted}, all of it real numbers; it is {_kind(answer)}"
    if came.shape != truth.shape:
        return f"{wanted}, it has shape {came.shape}"
    right, yours = _short(truth), _short(came)
    off = f", off by {np.max(np.abs(came - truth)):.0e}" if right == yours else ""
    return f"at {_shown(case)} it should be {right}, it is {yours}{off}"


def _brief(answer: Any) -> str:
    """Return an answer in one line of a table."""
    return _short(answer) if _numbers(answer) is not None else _kind(answer)


def _kind(answer: Any) -> str:
    """Say what an answer is, if it is not an array of real numbers."""
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {' and '.join(type(part).__name__ for part in answer)}"
    return "complex: take its imaginary part" if np.iscomplexobj(answer) else f"a {type(answer).__name__}"


def _missing(answer: Any) -> str:
    """Say that there is no answer: the cell still has its dots, or returns nothing. Return "" if there is one."""
    parts = answer if isinstance(answer, tuple) else (answer,)
    return NOT_YET if any(part is Ellipsis for part in parts) else NOTHING if answer is None else ""


def _stopped(error: Exception, where: str = "") -> str:
    """Say what an error in the reader's function means."""
    if isinstance(error, NotImplementedError):
        return NOT_YET
    said = str(error).strip()
    hint = next((f"; {hint}" for words, hint in HINTS.items() if words in said), "")
    return f"it stopped with {type(error).__name__}: {said}{hint}{where}"


def _shown(case: tuple[Any, ...]) -> str:
    return ", ".join(map(_short, case))


def _short(value: Any) -> str:
    if callable(value):
        return str(value.__name__).strip("_")
    text = np.array2string(np.asarray(value), precision=4, separator=", ", threshold=12)
    return " ".join(text.split())
