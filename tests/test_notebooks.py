"""The notebooks: each runs from scratch, prints what is committed, stays small; its exercises know their mistakes."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from test_speech import FSDD

from minikd import exercises, notebooks, widgets
from minikd.exercises import Exercise, exercise, keep_progress, progress

pytest.importorskip("nbclient", reason="notebooks need the extra kernel")

PATHS = sorted(notebooks.FOLDER.glob("[0-9][0-9]-*.ipynb"))
NUMBERS = [int(path.name[:2]) for path in PATHS]
EXERCISES = [(str(notebook), number) for notebook in NUMBERS for number in exercises.exercises(str(notebook))]


def cells(path: Path, kind: str) -> list[str]:
    """The sources of a notebook's cells of a kind."""
    return [cell.source for cell in notebooks.read(path).cells if cell.cell_type == kind]


def folded(notebook: str) -> dict[str, dict[str, object]]:
    """The names that each folded solution of a notebook defines, by the exercise's number."""
    path = PATHS[NUMBERS.index(int(notebook))]
    imports = "\n".join(
        line for cell in cells(path, "code") for line in cell.split("\n") if line.startswith(("import ", "from "))
    )
    found = {}
    for cell in cells(path, "markdown"):
        for number, code in re.findall(r"Solution of ([\d.]+)</summary>\s+```python\n(.*?)```", cell, re.DOTALL):
            names: dict[str, object] = {}
            exec(imports, names)
            exec(code, names)
            found[number] = names
    return found


# ---- the notebooks ---------------------------------------------------------------------------------------------------


def test_there_are_eleven_notebooks_numbered_from_one() -> None:
    assert list(range(1, 12)) == NUMBERS


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_scratch_and_prints_what_is_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.name.startswith("11-"):
        if not FSDD.exists():
            pytest.skip(f"the spoken digits are not at {FSDD}; they may not be embedded")
        monkeypatch.setenv("MINIKD_FSDD", str(FSDD))
    assert notebooks.difference(notebooks.read(path), notebooks.execute(path)) == ""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_whole_and_fit_to_read(path: Path) -> None:
    assert path.stat().st_size < 1e6
    code = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it with --execute"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert sum("assert " in cell.source for cell in code) >= 3
    assert max(len(cell.source.split("\n")) for cell in code) <= 22
    said = [json.dumps(output) for cell in code for output in cell.outputs]
    assert not any(str(place) in text for text in said for place in (notebooks.FOLDER.parent, sys.prefix))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", cell):
            assert (path.parent / target).exists(), target


def test_a_notebook_that_prints_something_else_is_seen() -> None:
    committed, made = notebooks.read(PATHS[0]), notebooks.read(PATHS[0])
    assert notebooks.difference(committed, made) == ""
    output = next(
        output
        for cell in made.cells
        if cell.cell_type == "code" and notebooks.VARIES not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type == "stream"
    )
    output.text = "something else"
    assert "now prints\nsomething else" in notebooks.difference(committed, made)


def test_a_notebook_that_warns_fails(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import warnings; warnings.warn('careful')")])
    nbformat.write(book, tmp_path / "warns.ipynb")
    with pytest.raises(ValueError, match=r"wrote to stderr[\s\S]*careful"):
        notebooks.execute(tmp_path / "warns.ipynb")


def test_a_number_that_no_notebook_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        notebooks.main(["--check", "99"])
    assert stopped.value.code == 2
    assert "notebooks are numbered 1 to 11, got 99" in capsys.readouterr().err


def test_an_installed_package_without_the_repository_says_where_the_notebooks_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="run this from a clone"):
        notebooks.find()


# ---- sliders ---------------------------------------------------------------------------------------------------------


def test_a_slider_draws_what_it_stands_at(monkeypatch: pytest.MonkeyPatch) -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.delenv(widgets.STATIC, raising=False)
    made: list[object] = []
    shown: list[dict[str, float]] = []
    monkeypatch.setattr(ipywidgets, "VBox", lambda children: made.extend(children) or ipywidgets.Box(children))
    widgets.explore(lambda **values: shown.append(values), T=[1, 8], digit=[3])
    assert shown == [{"T": 1, "digit": 3}]
    made[0].value = 8
    assert shown[-1] == {"T": 8, "digit": 3}


def test_where_nobody_can_move_a_slider_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(widgets.STATIC, "1")
    widgets.explore(lambda T: None, T=[1.0])
    assert capsys.readouterr().out == "Run this notebook, and sliders for T stand here.\n"


# ---- the exercises ---------------------------------------------------------------------------------------------------


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
    assert "not written yet" in repr(exercise(number, lambda *a, **k: ...)) or exercises.find(number).gradient
    said = [
        output["data"]["text/plain"]
        for cell in notebooks.read(path).cells
        if cell.cell_type == "code" and f'exercise("{number}"' in cell.source
        for output in cell.outputs
    ]
    assert len(said) == 1
    assert "not written yet" in said[0]


@pytest.mark.parametrize(("notebook", "number"), EXERCISES)
def test_every_mistake_of_an_exercise_is_named(notebook: str, number: str) -> None:
    task = exercises.find(number)
    for words, mistaken in task.mistakes.items():
        with np.errstate(all="ignore"):
            verdict = exercise(number, mistaken)
        assert not verdict
        assert words in repr(verdict)


DOUBLE = Exercise("double it", solution=lambda x: 2 * x, cases=((np.ones(3),), (np.arange(2.0),)))


def test_an_exercise_says_what_is_wrong() -> None:
    def into_argument(x: np.ndarray) -> np.ndarray:
        x *= 2
        return x

    def stops(x: np.ndarray) -> np.ndarray:
        raise KeyError("W1")

    assert DOUBLE.judge(lambda x: x + x)
    assert "not written yet" in DOUBLE.judge(lambda x: None).words
    assert "writes into its arguments" in DOUBLE.judge(into_argument).words
    assert "it stopped with KeyError" in DOUBLE.judge(stops).words
    assert DOUBLE.judge(lambda x: 2.0).words == "wrong: the answer should have shape (3,), it has ()"
    assert DOUBLE.judge(lambda x: 3 * x).words == "wrong: at [1., 1., 1.] it should be [2., 2., 2.], it is [3., 3., 3.]"
    assert "it is a str" in DOUBLE.judge(lambda x: "six").words
    assert not DOUBLE.judge(lambda x: 2 * x * (np.nan if len(x) == 2 else 1))


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


def test_progress_is_kept_where_the_reader_wishes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "find", lambda number: DOUBLE)
    monkeypatch.setattr(exercises, "_kept", [])
    exercise("1.1", lambda x: 2 * x)
    assert progress() == []
    keep_progress(str(tmp_path / "progress.json"))
    exercise("10.1", lambda x: 2 * x)
    exercise("2.1", lambda x: 2 * x)
    exercise("1.2", lambda x: x)
    assert progress() == ["2.1", "10.1"]
    assert sorted(json.loads((tmp_path / "progress.json").read_text())) == ["10.1", "2.1"]
