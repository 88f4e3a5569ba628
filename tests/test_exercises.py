"""The exercises of the notebooks know their mistakes, and their solutions are right."""

import ast
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_notebooks import NUMBERS, PATHS, cells

from minikd.learn import exercises, notebooks
from minikd.learn.exercises import Exercise, exercise, progress
from minikd.system.html import RIGHT, WRONG

EXERCISES = [(str(notebook), number) for notebook in NUMBERS for number in exercises.exercises(str(notebook))]


def folded(notebook: str) -> dict[str, dict[str, object]]:
    """The names that each folded solution of a notebook defines, by the exercise's number."""
    path = PATHS[NUMBERS.index(int(notebook))]
    imports = "\n".join(
        line for cell in cells(path, "code") for line in cell.split("\n") if line.startswith(("import ", "from "))
    )
    found: dict[str, dict[str, object]] = {}
    names: dict[str, object] = {}
    for cell in cells(path, "markdown"):
        for number, code in re.findall(r"Solution of ([\d.]+)</summary>\s+```python\n(.*?)```", cell, re.DOTALL):
            names = dict(names)  # a solution may use those before it
            exec(imports, names)
            exec(code, names)
            found[number] = names
    return found


@pytest.mark.parametrize("notebook", sorted({notebook for notebook, _ in EXERCISES}, key=int))
def test_a_notebook_has_two_exercises_or_more_each_with_its_stub_and_its_solution(notebook: str) -> None:
    path, known = PATHS[NUMBERS.index(int(notebook))], exercises.exercises(notebook)
    assert len(known) >= 2
    asked = re.findall(r'exercise\("([\d.]+)"', "\n".join(cells(path, "code")))
    assert asked == list(known) == list(folded(notebook))


@pytest.mark.parametrize(("notebook", "number"), EXERCISES)
def test_the_folded_solution_is_right_and_the_stub_is_not_written_yet(notebook: str, number: str) -> None:
    path, names = PATHS[NUMBERS.index(int(notebook))], folded(notebook)[number]
    called = re.search(rf'exercise\("{re.escape(number)}", (\w+)\)', "\n".join(cells(path, "code")))
    assert called is not None
    verdict = exercise(number, names[called[1]])
    assert verdict, verdict
    said = [
        output["data"]["text/plain"]
        for cell in notebooks.read(path).cells
        if cell.cell_type == "code" and f'exercise("{number}"' in cell.source
        for output in cell.outputs
    ]
    assert len(said) == 1
    assert "not written yet" in said[0]


@pytest.mark.parametrize(("notebook", "number"), EXERCISES)
def test_the_cell_of_an_exercise_has_the_dots_that_its_message_speaks_of(notebook: str, number: str) -> None:
    path = PATHS[NUMBERS.index(int(notebook))]
    (cell,) = (cell for cell in cells(path, "code") if f'exercise("{number}"' in cell)
    function = ast.parse(cell).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert [ast.unparse(line) for line in function.body[1:]] == ["return ..."]
    assert ast.get_docstring(function)
    defined: dict[str, Callable[..., object]] = {}
    exec(ast.unparse(function), defined)
    assert exercise(number, defined[function.name]).words.endswith(": " + exercises.NOT_YET)
    assert "place of the dots" in exercises.NOT_YET
    assert "in place of `return ...`" in (notebooks.FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", ["1.1", "2.1", "4.1"])
def test_an_exercise_without_return_is_told_so(number: str) -> None:
    def forgets(*arguments: object, **named: object) -> None:
        np.ones(3)

    def gives_up(*arguments: object, **named: object) -> None:
        raise NotImplementedError

    assert exercise(number, forgets).words.endswith(": " + exercises.NOTHING)
    assert exercise(number, gives_up).words.endswith(": " + exercises.NOT_YET)
    assert "put your own line" not in exercises.NOTHING


def test_a_sum_that_lost_its_axis_is_pointed_at() -> None:
    def without_keepdims(z: np.ndarray, T: float) -> np.ndarray:
        return np.exp(z / T) / np.exp(z / T).sum(axis=-1)

    with np.errstate(all="ignore"):
        verdict = exercise("1.1", without_keepdims)
    assert "stopped with ValueError" in verdict.words
    assert (
        "(3,4) (3,); does a sum over an axis need keepdims=True, or an array one more axis, as in y[:, None]?; at [["
        in (verdict.words)
    )


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda x: math.exp(x), "np.exp and np.log take arrays"),
        (lambda x: x if x > 0 else 0, "use np.where"),
        (lambda x: max(x, -x), "np.max"),
    ],
)
def test_a_function_for_one_number_that_gets_an_array_is_pointed_at(function: Callable[..., object], hint: str) -> None:
    assert hint in DOUBLE.judge(function).words


@pytest.mark.parametrize(("notebook", "number"), EXERCISES)
def test_every_mistake_of_an_exercise_is_named(notebook: str, number: str) -> None:
    task = exercises.find(number)
    known = [task.wrong_answers(case) for case in task.cases]
    for words, ways in known[0].items() if known else ():
        for way in range(len(ways)):
            answers = iter([answers[words][way] for answers in known])
            verdict = task.judge(lambda *case, answers=answers: next(answers))
            assert not verdict
            assert verdict.words == f"wrong: {words}", "another mistake has the same numbers"


def test_a_mistake_is_named_where_an_overflow_hides_part_of_it() -> None:
    def sharper_and_without_its_maximum(z: np.ndarray, T: float) -> np.ndarray:
        e = np.exp(z)
        return e / e.sum(axis=-1, keepdims=True)

    with np.errstate(all="ignore"):
        verdict = exercises.find("1.1").judge(sharper_and_without_its_maximum)
    assert verdict.words.startswith("wrong: T has no effect: ")
    assert "; and it is not finite at " in verdict.words


DOUBLE = Exercise("double it", solution=lambda x: 2 * x, cases=((np.ones(3),), (np.arange(2.0),)))


def test_an_exercise_says_what_is_wrong() -> None:
    def into_argument(x: np.ndarray) -> np.ndarray:
        x *= 2
        return x

    def stops(x: np.ndarray) -> np.ndarray:
        raise KeyError("W1")

    assert DOUBLE.judge(lambda x: x + x)
    assert DOUBLE.judge(lambda x: ...).words == exercises.NOT_YET
    assert DOUBLE.judge(lambda x: None).words == exercises.NOTHING
    assert "writes into its arguments" in DOUBLE.judge(into_argument).words
    assert "it stopped with KeyError" in DOUBLE.judge(stops).words
    assert DOUBLE.judge(lambda x: 2.0).words == "wrong: the answer should have shape (3,), it has shape ()"
    assert DOUBLE.judge(lambda x: 3 * x).words == "wrong: at [1., 1., 1.] it should be [2., 2., 2.], it is [3., 3., 3.]"
    assert "it is a str" in DOUBLE.judge(lambda x: "six").words
    assert not DOUBLE.judge(lambda x: 2 * x * (np.nan if len(x) == 2 else 1))


def test_an_answer_that_is_no_array_of_real_numbers_is_told_in_words() -> None:
    assert DOUBLE.judge(lambda x: 2 * x + 0j).words.endswith("it is complex: take its imaginary part")
    mean_and_error = exercises.find("7.1").judge(lambda alone, taught: (alone - taught, 5.0))
    assert mean_and_error.words.endswith("all of it real numbers; it is a tuple of ndarray and float")
    one = exercises.find("3.2").judge(lambda yours, truth: np.abs(yours - truth) / np.max(np.abs(truth)))
    assert one.words == "wrong: the answer should be one number, it has shape (2, 3)"


def test_what_is_off_by_less_than_is_shown_is_told_as_a_difference() -> None:
    def five_points(f: Callable[[float], float], x: float, h: float = 1e-3) -> float:
        return (f(x - 2 * h) - 8 * f(x - h) + 8 * f(x + h) - f(x + 2 * h)) / (12 * h)

    words = exercises.find("3.3").judge(five_points).words
    assert re.fullmatch(r"wrong: at exp_sin, 0\.7 it should be 1\.4566, it is 1\.4566, off by \de-\d\d", words)


def test_a_clipped_softmax_is_not_called_right_nor_a_median_for_a_mean() -> None:
    def clipped(z: np.ndarray, T: float) -> np.ndarray:
        e = np.exp(np.clip(z / T, -500, 500))
        return e / e.sum(axis=-1, keepdims=True)

    assert exercises.find("1.1").judge(clipped).words.startswith("wrong: clipped")
    kept = exercises.find("9.2").judge(lambda m, e, s: (np.median(m) - s) / (np.median(m) - e))
    assert kept.words.startswith("wrong: against the member in the middle")


def test_an_exercise_on_a_gradient_goes_to_the_doctor() -> None:
    task = Exercise("a gradient", gradient="soft cross-entropy")

    def softmax(u: np.ndarray) -> np.ndarray:
        e = np.exp(u - u.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    assert task.judge(lambda z, v, T: (softmax(z / T) - softmax(v / T)) / T / len(z))
    assert "missing 1/T" in task.judge(lambda z, v, T: (softmax(z / T) - softmax(v / T)) / len(z)).words
    assert "not written yet" in task.judge(lambda z, v, T: ...).words


def test_an_exercise_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an exercise is one of 1\.1, .*, got '1\.9'"):
        exercise("1.9", len)
    with pytest.raises(ValueError, match="got 'one'"):
        exercise("one", len)


def test_progress_is_kept_where_the_launcher_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "find", lambda number: DOUBLE)
    place = tmp_path / "progress.json"
    monkeypatch.delenv(exercises.PROGRESS, raising=False)
    exercise("1.1", lambda x: 2 * x)
    assert progress(place) == []
    monkeypatch.setenv(exercises.PROGRESS, str(place))
    exercise("10.1", lambda x: 2 * x)
    exercise("2.1", lambda x: 2 * x)
    exercise("1.2", lambda x: x)
    assert progress(place) == ["2.1", "10.1"]
    assert sorted(json.loads(place.read_text())) == ["10.1", "2.1"]


def test_a_verdict_comes_as_a_coloured_table() -> None:
    page = DOUBLE.judge(lambda x: 3 * x)._repr_html_()
    assert WRONG in page
    assert "<th" in page
    assert "[2., 2., 2.]" in page
    assert "[3., 3., 3.]" in page
    assert RIGHT in DOUBLE.judge(lambda x: 2 * x)._repr_html_()
    assert "yours / truth" in exercises.find("4.1").judge(lambda z, v, T: z + 1)._repr_html_()
