"""The exercises of the notebooks: a function to complete, and in words what is wrong with it.

    exercise("1.1", soften)

An exercise on a gradient goes to the doctor, `minikd.doctor.check_gradient`. Any other has a solution, cases to try it
on, and the mistakes that people make, each a function that makes just that one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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

NOT_YET = "not written yet: put your own line in place of the dots, and run the cell again"
NOTHING = "it returns nothing: end it with `return` and your answer"


@dataclass(frozen=True)
class Verdict:
    """What came of an exercise: true if it is right, and words for the reader."""

    right: bool
    words: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return fit(self.words)


@dataclass(frozen=True)
class Exercise:
    """A function to complete.

    title: what it is to do, in a few words. gradient: the name by which the doctor knows the problem; or
    solution: a right function, cases: the arguments it is tried on, mistakes: words, and the function that makes just
    that mistake, or several that make it in several ways, and tolerance: relative to the largest number of the right
    answer.
    """

    title: str
    gradient: str | None = None
    solution: Callable[..., Any] | None = None
    cases: Sequence[tuple[Any, ...]] = ()
    mistakes: Mapping[str, Callable[..., Any] | Sequence[Callable[..., Any]]] = field(default_factory=dict)
    tolerance: float = 1e-6

    def judge(self, function: Callable[..., Any]) -> Verdict:
        """Try the function, and say what is wrong with it. What it raises comes back as words."""
        if self.gradient is not None:
            return self._diagnose(function, self.gradient)
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
                return Verdict(False, "it writes into its arguments: work on new arrays, the caller needs the old ones")
        assert self.solution is not None
        wrong = [i for i, answer in enumerate(answers) if not self._equal(answer, self.solution(*self.cases[i]))]
        if not wrong:
            return Verdict(True, f"right, on {len(answers)} cases")
        everywhere = list(range(len(answers)))
        finite = [i for i in everywhere if _is_finite(answers[i])]
        for tried in (everywhere, finite):  # a mistake may come together with an overflow elsewhere
            for words in self.mistakes if tried else ():
                if any(all(self._equal(answers[i], way(*self.cases[i])) for i in tried) for way in self.ways(words)):
                    rest = (f"; and it is not finite at {_shown(self.cases[i])}" for i in everywhere if i not in tried)
                    return Verdict(False, f"wrong: {words}{next(rest, '')}")
        return Verdict(False, self._difference(answers[wrong[0]], self.cases[wrong[0]]))

    def ways(self, words: str) -> Sequence[Callable[..., Any]]:
        """The functions that make the mistake of those words."""
        mistaken = self.mistakes[words]
        return (mistaken,) if callable(mistaken) else mistaken

    def _diagnose(self, function: Callable[..., Any], problem: str) -> Verdict:
        made: list[Any] = []

        def listening(*arguments: Any, **named: Any) -> Any:
            made.append(function(*arguments, **named))
            return made[-1]

        listening.__wrapped__ = function  # type: ignore[attr-defined]
        try:
            diagnosis = check_gradient(listening, problem)
        except Exception as error:
            return Verdict(False, _stopped(error))
        missing = next((words for words in map(_missing, made) if words), None)
        return Verdict(False, missing) if missing else Verdict(bool(diagnosis), str(diagnosis))

    def _equal(self, answer: Any, truth: Any) -> bool:
        answer, truth = _numbers(answer), np.asarray(truth, float)
        if answer is None or answer.shape != truth.shape:
            return False
        size = float(np.max(np.abs(truth[np.isfinite(truth)]), initial=0.0))
        with np.errstate(invalid="ignore"):
            near = np.abs(answer - truth) <= self.tolerance * max(size, 1e-30)
        return bool(np.all(near | (answer == truth) | (np.isnan(answer) & np.isnan(truth))))

    def _difference(self, answer: Any, case: tuple[Any, ...]) -> str:
        assert self.solution is not None
        truth, came = np.asarray(self.solution(*case), float), _numbers(answer)
        wanted = f"have shape {truth.shape}" if truth.shape else "be one number"
        if came is None:
            return f"wrong: the answer should {wanted}, all of it real numbers; it is {_kind(answer)}"
        if came.shape != truth.shape:
            return f"wrong: the answer should {wanted}, it has shape {came.shape}"
        right, yours = _short(truth), _short(came)
        off = f", off by {np.max(np.abs(came - truth)):.0e}" if right == yours else ""
        return f"wrong: at {_shown(case)} it should be {right}, it is {yours}{off}"


def _numbers(answer: Any) -> Any:
    """The answer as an array of real numbers; None where it is something else, or its parts have several shapes."""
    try:
        return None if np.iscomplexobj(answer) else np.asarray(answer, float)
    except (TypeError, ValueError):
        return None


def _kind(answer: Any) -> str:
    """What an answer is that is no array of real numbers."""
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {' and '.join(type(part).__name__ for part in answer)}"
    return "complex: take its imaginary part" if np.iscomplexobj(answer) else f"a {type(answer).__name__}"


def _is_finite(answer: Any) -> bool:
    answer = _numbers(answer)
    return answer is not None and bool(np.all(np.isfinite(answer)))


def _missing(answer: Any) -> str | None:
    """Words for an answer that is not there: the dots of the cell, or None."""
    parts = answer if isinstance(answer, tuple) else (answer,)
    return NOT_YET if any(part is Ellipsis for part in parts) else NOTHING if answer is None else None


HINTS = {  # what an error says, and what is often behind it
    "broadcast": "does a sum over an axis need keepdims=True, or an array one more axis, as in y[:, None]?",
    "truth value of an array": "`if`, `max` and `min` compare single numbers; use np.where, np.max or np.min",
    "converted to Python scalars": "`math` takes one number; np.exp and np.log take arrays",
}


def _stopped(error: Exception, where: str = "") -> str:
    if isinstance(error, NotImplementedError):
        return NOT_YET
    said = str(error).strip()
    hint = next((f"; {hint}" for words, hint in HINTS.items() if words in said), "")
    return f"it stopped with {type(error).__name__}: {said}{hint}{where}"


def exercise(number: str, function: Callable[..., Any]) -> Verdict:
    """What is to be said of the reader's function for an exercise, "notebook.exercise" as in "1.2".

    Raises: ValueError for an exercise that does not exist.
    """
    task = find(number)
    verdict = task.judge(function)
    if verdict:
        _note(number)
    return Verdict(verdict.right, f"Exercise {number}, {task.title}: {verdict.words}")


def find(number: str) -> Exercise:
    """The exercise of that number. Raises: ValueError."""
    known = exercises(number.split(".")[0])
    if number not in known:
        raise ValueError(f"an exercise is one of {', '.join(known) or '1.1, 1.2, …'}, got {number!r}")
    return known[number]


def exercises(notebook: str) -> dict[str, Exercise]:
    """The exercises of a notebook, by number; none if it has none."""
    module = f"{__name__}.n{notebook.zfill(2)}"
    return dict(import_module(module).EXERCISES) if notebook.isdigit() and find_spec(module) else {}


# ---- progress --------------------------------------------------------------------------------------------------------

_kept: list[Path] = []  # at most one: where the reader wants progress kept


def keep_progress(path: str = "progress.json") -> None:
    """From now on write down in this file which exercises were right; the next session reads it."""
    _kept[:] = [Path(path)]


def progress() -> list[str]:
    """The exercises that were right so far, as the file of `keep_progress` has them."""
    if not _kept or not _kept[0].exists():
        return []
    return sorted(json.loads(_kept[0].read_text(encoding="utf-8")), key=lambda number: [*map(int, number.split("."))])


def _note(number: str) -> None:
    if _kept:
        write_atomically(_kept[0], (json.dumps(sorted({*progress(), number})) + "\n").encode())


def _shown(case: tuple[Any, ...]) -> str:
    return ", ".join(_short(argument) for argument in case)


def _short(value: Any) -> str:
    if callable(value):
        return str(value.__name__).strip("_")
    text = np.array2string(np.asarray(value), precision=4, separator=", ", threshold=12)
    return " ".join(text.split())
