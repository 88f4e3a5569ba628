"""A notebook that a student handed in: its exercises are judged, whatever else is in it."""

import json
import re
from pathlib import Path

import pytest

from minikd.commands import grade
from minikd.learn import handed_in
from minikd.learn.capstone.judge import MISSING, NOT_WRITTEN, RIGHT, STOPS, WRONG
from minikd.learn.handed_in import judge_notebook
from minikd.learn.notebooks import FOLDER

SOLUTION = re.compile(r"<summary>Solution of ([\d.]+)</summary>\n\n```python\n(.*?)```", re.DOTALL)
CALL = re.compile(r'^exercise\("([\d.]+)", \w+\)$', re.MULTILINE)

MISTAKE = {"4.1": "def soft_gradient(z, v, T):\n    return (softmax(z, T) - softmax(v, T)) / len(z)"}


def notebook_with(number, folder, answers=None, more=()):
    """The path of a notebook whose exercises are solved, with other code in the cells of some, and more cells."""
    (path,) = FOLDER.glob(f"{number:02}-*.ipynb")
    notebook = json.loads(path.read_text("utf-8"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    solved = {**dict(SOLUTION.findall("\n".join(sources))), **(answers or {})}
    for cell, source in zip(notebook["cells"], sources, strict=True):
        call = CALL.search(source)
        if cell["cell_type"] == "code" and call:
            cell["source"] = f"{solved[call[1]]}\n\n{call[0]}"
    notebook["cells"] += [{"cell_type": "code", "source": source} for source in more]
    (folder / path.name).write_text(json.dumps(notebook), "utf-8")
    return str(folder / path.name)


@pytest.mark.parametrize("number", range(1, 14))
def test_every_notebook_with_its_solutions_is_right_without_a_run_of_it(number, tmp_path, capsys):
    file = notebook_with(number, tmp_path)
    numbers = handed_in.Notebook(file).numbers()
    assert len(numbers) >= 2
    for exercise in numbers:
        handed_in.main(file, exercise, "60")
        assert json.loads(capsys.readouterr().out.splitlines()[-1])[0] == RIGHT


@pytest.mark.slow
@pytest.mark.parametrize("number", [4, 14])
def test_a_notebook_in_which_all_is_right_passes(number, tmp_path):
    report = judge_notebook(notebook_with(number, tmp_path), 10)
    assert [one.status for one in report.functions] == [RIGHT] * report.total
    assert report.passed


def test_a_notebook_in_which_nothing_is_written_has_no_point():
    report = judge_notebook(str(next(FOLDER.glob("04-*"))), 10)
    assert [(one.name, one.status) for one in report.functions] == [
        ("4.1 soft_gradient", NOT_WRITTEN),
        ("4.2 hard_gradient", NOT_WRITTEN),
    ]
    assert not report.passed


ANSWERS = [
    ("def f(z, v, T):\n    return (softmax(z, T) - softmax(v, T)) / len(z)\nsoft_gradient = f", WRONG, "missing 1/T"),
    ("%time\nprint(nowhere)\ndef soft_gradient(z, v, T):\n    return helper(z, v, T)", RIGHT, ""),
    ("def soft_gradient(z, v, T)\n    return z", STOPS, "SyntaxError: expected ':' (line 1: `def "),
    ("def soft_gradient(z, v, T):\n    while True: pass", STOPS, "it did not end within 2 seconds"),
    ("import os\ndef soft_gradient(z, v, T):\n    os._exit(0)", STOPS, "it ended the whole process"),
    ("def soft_gradient(z, v, T):\n    exit()", STOPS, "it calls exit: return the result instead"),
    ("def soft_gradient(z, v, T):\n    input()", STOPS, "it waits for input(): remove that line"),
    ("import torch_\ndef soft_gradient(z, v, T):\n    return torch_.sum(z)", STOPS, "name 'torch_' is not defined"),
    ("other = 1", STOPS, "NameError: name 'soft_gradient' is not defined"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "status", "words"), ANSWERS)
def test_whatever_is_in_a_cell_the_exercise_beside_it_is_judged(cell, status, words, tmp_path):
    helper = "def helper(z, v, T):\n    return (softmax(z, T) - softmax(v, T)) / T / len(z)"
    report = judge_notebook(notebook_with(4, tmp_path, {"4.1": cell}, [helper, "1 / 0"]), 2)
    soft, hard = report.functions
    assert (soft.status, hard.status) == (status, RIGHT), soft.words
    assert words in soft.words


@pytest.mark.slow
def test_in_the_capstones_notebook_one_mistake_costs_one_point(tmp_path):
    answers = {
        "14.1": "import matplotlib\nprint(softmax(z, 1))\nsmall = 1\ndef softmax(z, T):\n    return z / T",
        "14.4": "shift = 0\ndef affine_forward(x, W, b):\n    return x @ W + b + shift",
        "14.6": "from minikd import relu_forward",
    }
    report = judge_notebook(notebook_with(14, tmp_path, answers), 10)
    assert [one.status for one in report.functions] == [WRONG, *[RIGHT] * 4, MISSING, RIGHT, RIGHT]


BAD = [
    ("not JSON", "it cannot be loaded: it is no notebook, or damaged"),
    ('{"cells": [{"cell_type": "code", "source": "1 + 1"}]}', "this is a notebook without exercises: hand in"),
    ('{"cells": [{"cell_type": "code", "source": "exercise(1.1, f); exercise(\\"99.1\\", f)"}]}', "without exercises"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_a_notebook_without_exercises_is_one_sentence(text, words, tmp_path, capsys):
    file = tmp_path / "a.ipynb"
    file.write_text(text, "utf-8")
    assert grade.main([str(file)]) == 1
    out = capsys.readouterr().out
    assert words in out
    assert out.count("\n") == 1


@pytest.mark.slow
def test_the_page_for_teachers_shows_what_the_command_prints_of_a_notebook(tmp_path, capsys):
    page = (FOLDER.parent / "docs" / "class.md").read_text("utf-8")
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    answers = {**MISTAKE, "4.2": "def hard_gradient(z, y):\n    return ..."}
    assert grade.main([notebook_with(4, tmp_path, answers)]) == 1
    without_numbers = re.compile(r"-?\d+\.\d{3,}")
    assert without_numbers.sub("#", capsys.readouterr().out) == without_numbers.sub("#", shown)


@pytest.mark.slow
def test_a_lost_call_is_missing_and_a_training_is_of_a_file(tmp_path, capsys):
    file = Path(notebook_with(4, tmp_path))
    file.write_text(file.read_text("utf-8").replace('exercise(\\"4.2\\", hard_gradient)', ""), "utf-8")
    assert grade.main([str(file), "--train"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "4.1 soft_gradient  right"
    assert lines[1].endswith('there is no call exercise("4.2", ...): keep the line below the function')
    assert lines[2] == "the training is not run: it needs the capstone as a file that ends in .py"


@pytest.mark.slow
def test_a_class_with_a_folder_for_each_student_is_graded_and_what_is_skipped_is_said(tmp_path, capsys):
    for name in ("ada", "bob", "bob/.ipynb_checkpoints"):
        (tmp_path / name).mkdir()
        notebook_with(4, tmp_path / name, MISTAKE)
    (tmp_path / "bob" / "notes.txt").write_text("no code")
    assert grade.main([str(tmp_path), "--verbose"]) == 1
    out, err = capsys.readouterr()
    assert err == "minikd.grade: skipped what is neither .py nor .ipynb: 1 file\n"
    assert out.count("  4.1 soft_gradient  wrong: missing 1/T\n") == 2
    assert len(re.findall(r"ipynb  1 of 2    4\.1 wrong     4\.2 right\n", out)) == 2
    assert out.endswith("\nmistakes that several files share:\n2 files  4.1 soft_gradient: wrong: missing 1/T\n")
