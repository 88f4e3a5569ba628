"""`minikd grade`: whatever is in a file, it ends in one clear sentence for each function, or for the file."""

import ast
import json
import os
import re
import runpy
import sys
from pathlib import Path
from textwrap import indent

import numpy as np
import pytest
from capstone import TEXT, with_functions, written

import minikd
from minikd.commands import grade
from minikd.data.images import Dataset
from minikd.learn.capstone import noise, process
from minikd.learn.capstone.judge import MISSING, STOPS, WRONG, judge
from minikd.learn.capstone.process import SOLUTION
from minikd.learn.capstone.template import template
from minikd.learn.capstone.values import decode, encode

SHORT = 3.0
"""Seconds for files that loop."""


# ---- hostile files ---------------------------------------------------------------------------------------------------

HOSTILE = {
    "softmax": ("while True:\n    pass", STOPS,
                "it did not end within 3 seconds: is there a loop that does not stop?"),
    "soft_cost": ("import sys\nsys.exit(3)", STOPS,
                  "it calls exit (line {}: `sys.exit(3)`): return the result instead"),
    "hard_cost": ("import os\nos._exit(0)", STOPS,
                  "it ended the whole process: it may only return, or raise an error"),
    "affine_forward": ("x += 1\nreturn x @ W + b", WRONG,
                       "it writes into its arguments: work on new arrays; the caller needs the old ones"),
    "affine_backward": ("from minikd import softmax\nreturn dout @ W.T, x.T @ dout, dout.sum(axis=0)", STOPS,
                        "it imports minikd (line {}: `from minikd import softmax`): write it in plain NumPy"),
    "relu_forward": ("np.ones((10**6, 10**5)) + 1\nreturn np.maximum(x, 0)", STOPS, "it needs more memory"),
    "relu_backward": ("return dout * missing", STOPS,
                      "it stopped with NameError: name 'missing' is not defined (line {}: `return dout * missing`)"),
    "momentum_step": ("return np.nan * parameters, velocity", WRONG, "wrong: parameters is not finite"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing limits the memory of a process")
def test_each_function_of_a_hostile_file_ends_in_one_sentence(tmp_path):
    text = with_functions(**{name: body for name, (body, _, _) in HOSTILE.items()})
    report = judge(written(tmp_path, text), SHORT)
    for one in report.functions:
        body, status, words = HOSTILE[one.name]
        before = text[: text.index(indent(body, "    "))] + body[: max(body.find("sys.exit"), 0)]
        assert (one.name, one.status) == (one.name, status), one.words
        assert one.verdict.startswith(words.format(before.count("\n") + 1))
    assert report.right == 0


LOADING = [
    ("while True: pass", "it did not end within 3 seconds"),
    ("import sys\nsys.exit()", "it calls exit (line 2: `sys.exit()`)"),
    ("def softmax(z, T)\n    return z", "SyntaxError: expected ':' (line 1: `def softmax(z, T)`)"),
    ("import torch", "it imports torch (line 1: `import torch`): write it in plain NumPy"),
    ("try:\n    import minikd\nexcept ImportError:\n    pass", "it imports minikd: write it in plain NumPy"),
    ("1 / 0", "ZeroDivisionError: division by zero (line 1: `1 / 0`)"),
    ("input('name? ')", "it waits for input() (line 1: `input('name? ')`): remove that line"),
    ("def f(n): return f(n + 1)\nf(0)", "RecursionError: "),
    ("class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd", "Odd: "),
    ("\0", "source code string cannot contain null bytes"),
    ("import os, time\nos.kill(os.getpid(), 9)\ntime.sleep(5)", "it ended the whole process"),
    (
        "import os\nfor i in range(3, 20):\n    try: os.write(i, b'x' * 99 + b'\\n')\n    except OSError: pass",
        "it ended the",
    ),
]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize(("text", "words"), LOADING)
def test_a_file_that_cannot_be_loaded_is_one_sentence(tmp_path, text, words, capsys):
    file = written(tmp_path, text)
    assert grade.main([file, "--timeout", "3"]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"{file}: it cannot be loaded: ")
    assert words in out
    assert out.count("\n") == 1


def test_a_file_that_is_not_there_is_one_sentence(capsys):
    assert grade.main(["no/such.py"]) == 1
    assert capsys.readouterr().out == "no/such.py: it cannot be loaded: no/such.py: No such file or directory\n"


@pytest.mark.slow
def test_a_file_may_print_much_and_is_told_to_stop(tmp_path):
    flood = "for i in range(100_000):\n    print('x' * 100)\nreturn np.maximum(x, 0)"
    report = judge(written(tmp_path, with_functions(relu_forward=flood)), 60)
    assert report.right == 8
    assert report.remarks == ["it prints: remove the prints before you hand it in"]


@pytest.mark.slow
def test_a_function_that_is_slow_in_every_call_does_not_hold_up_a_class(tmp_path):
    slow = "import time\ntime.sleep(0.4)\nreturn np.maximum(x, 0)"
    report = judge(written(tmp_path, with_functions(relu_forward=slow)), SHORT)
    assert [one.words for one in report.functions if one.status == STOPS] == [
        "it did not end within 3 seconds: is there a loop that does not stop?"
    ]


@pytest.mark.slow
def test_one_mistake_costs_one_point(tmp_path):
    """The costs use the softmax: they are judged with the solution's, if the file's own is wrong."""
    report = judge(written(tmp_path, with_functions(softmax="return z / T")), 30)
    assert report.right == 7
    assert report.functions[0].status == WRONG


@pytest.mark.slow
def test_a_file_without_a_function_is_told_which_and_one_with_a_class_is_judged(tmp_path):
    text = TEXT.replace("def softmax(z, T):", "def soft_max(z, T):")
    report = judge(written(tmp_path, text), 30)
    assert report.functions[0].status == MISSING
    assert report.functions[0].words == "there is no function softmax: keep the template's names"
    assert report.right == 7


def test_values_come_back_as_they_went():
    for value in (
        1,
        2.5,
        True,
        None,
        ...,
        np.float32(2),
        np.arange(6).reshape(2, 3),
        (np.ones(2), 1),
        [1j * np.ones(1)],
    ):
        back = decode(json.loads(json.dumps(encode(value))))
        assert type(back) is type(value)
        assert repr(back) == repr(value)
    assert type(decode(encode("six"))).__name__ == "str"
    assert type(decode(encode(np.array(["six"], object)))).__name__ == "ndarray"


# ---- the command -----------------------------------------------------------------------------------------------------

TWO_MISTAKES = {
    "soft_cost": "q, p = softmax(z, T), softmax(v, T)\nreturn -np.sum(p * np.log(q)) / len(z), (q - p) / len(z)",
    "relu_backward": "return ...",
}


@pytest.mark.slow
def test_a_file_is_told_its_mistakes_and_its_total(tmp_path, capsys):
    file = written(tmp_path, with_functions(**TWO_MISTAKES))
    assert grade.main([file]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "softmax          right"
    assert lines[1] == "soft_cost        wrong: missing 1/T"
    assert lines[2].split(": ")[0].strip() == "missing 1/T"
    assert "relu_backward    not written yet" in lines
    assert lines[-1] == "6 of 8 functions are right"


@pytest.mark.slow
def test_a_class_is_one_row_per_file_and_what_went_wrong_often(tmp_path, capsys):
    written(tmp_path, TEXT, "ada.py")
    for name in ("bob.py", "eve.py"):
        written(tmp_path, with_functions(**TWO_MISTAKES), name)
    written(tmp_path, "import torch", "zoe.py")
    (tmp_path / "notes.txt").write_text("not a file of the class")
    assert grade.main([str(tmp_path)]) == 1
    head, ada, bob, eve, zoe, _, legend, _, *shared = capsys.readouterr().out.splitlines()
    assert head.split() == ["file", "right", *"12345678"]
    assert ada.split() == [str(tmp_path / "ada.py"), "8", "of", "8", *["right"] * 8]
    assert bob.partition("bob.py")[2] == eve.partition("eve.py")[2]
    assert re.split(r"\s\s+", bob)[1:] == ["6 of 8", "right", "wrong", *["right"] * 4, "not yet", "right"]
    assert re.split(r"\s\s+", zoe)[1:] == ["0 of 8", "it cannot be loaded: it imports torch (line 1: `import torch`): "
                                           "write it in plain NumPy"]  # fmt: skip
    assert legend.startswith("1 softmax, 2 soft_cost, ")
    assert shared == ["mistakes that several files share:", "2 files  soft_cost: wrong: missing 1/T"]


@pytest.mark.slow
def test_the_page_for_teachers_shows_what_the_command_prints(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parent.parent / "docs" / "class.md").read_text("utf-8")
    (shown,) = re.findall(r"```console\n(.*?)```", page, re.S)
    (tmp_path / "class").mkdir()
    monkeypatch.chdir(tmp_path)
    written(Path("class"), TEXT, "ada.py")
    written(Path("class"), with_functions(**TWO_MISTAKES), "bob.py")
    written(Path("class"), with_functions(soft_cost=TWO_MISTAKES["soft_cost"]), "eve.py")
    assert grade.main(["class"]) == 1
    assert capsys.readouterr().out == shown.replace("class/", f"class{os.sep}")


@pytest.mark.slow
def test_json_has_every_file_and_the_exit_status_says_whether_all_passed(tmp_path, capsys):
    right, wrong = written(tmp_path, TEXT), written(tmp_path, with_functions(**TWO_MISTAKES), "bob.py")
    assert grade.main([right, "--json"]) == 0
    (ada,) = json.loads(capsys.readouterr().out)
    assert (ada["file"], ada["right"], ada["passed"], ada["problem"], ada["training"]) == (right, 8, True, "", None)
    assert grade.main([right, wrong, "--json"]) == 1
    _, bob = json.loads(capsys.readouterr().out)
    assert not bob["passed"]
    assert [one["status"] for one in bob["functions"]].count("right") == 6
    assert bob["functions"][1] == {
        "name": "soft_cost", "exercise": "14.2", "status": "wrong", "words": bob["functions"][1]["words"],
    }  # fmt: skip
    assert bob["functions"][1]["words"].startswith("wrong: missing 1/T\n")


def test_the_template_is_written_once_and_never_over_a_file(tmp_path, capsys):
    file = tmp_path / "mine.py"
    assert grade.main(["--template", str(file)]) == 0
    assert file.read_text("utf-8") == template()
    assert capsys.readouterr().out == f"{file}: write the eight functions, then run python -m minikd.grade {file}\n"
    file.write_text("an evening's work")
    with pytest.raises(SystemExit, match="2"):
        grade.main(["--template", str(file)])
    assert "is already there, and is left as it is" in capsys.readouterr().err
    assert file.read_text() == "an evening's work"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give files to check, or --template FILE, or --record"),
        (["a.py", "--record"], "give files to check, or --template FILE, or --record"),
        (["a.py", "--timeout", "0"], "must be a number of seconds > 0, got '0'"),
        (["--template", "no/such/folder/a.py"], "no/such/folder/a.py: No such file or directory"),
        (["."], "holds no file that ends in .py"),
    ],
)
def test_a_wrong_command_line_is_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        grade.main(words)
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


# ---- the noise of the training ---------------------------------------------------------------------------------------


def test_within_the_noise_can_fail():
    runs = json.loads((SOLUTION.parent / noise.FILE).read_text("utf-8"))["runs"]
    assert [run["seed"] for run in runs] == list(noise.SEEDS)
    assert len(runs) >= 8
    for run in runs:
        assert noise.compare(run)["within"], "a run of minikd's own"
    mean = {name: round(np.mean([run[name] for run in runs])) for name in noise.NAMES}
    assert noise.compare(mean)["within"]
    for name in noise.NAMES:
        for change in (0.7, 1.4):
            assert not noise.compare({**mean, name: round(change * mean[name])})["within"]
    assert not noise.compare({**mean, "distilled": mean["alone"]})["within"], "a student that its teacher did not help"


def test_the_record_has_the_settings_of_the_file():
    kept = json.loads((SOLUTION.parent / noise.FILE).read_text("utf-8"))
    assert kept["command"] == noise.COMMAND
    assert {"device", "cores", "python", "numpy", "minikd"} <= set(kept["machine"])
    for name, config in {"teacher": noise.TEACHER, "alone": noise.ALONE, "distilled": noise.DISTILLED}.items():
        assert kept["settings"][name] == {key: value for key, value in config.record().items() if key != "seed"}
    train = next(node for node in ast.parse(TEXT).body if isinstance(node, ast.FunctionDef) and node.name == "train")
    defaults = {
        argument.arg: ast.literal_eval(value)
        for argument, value in zip(train.args.args[::-1], train.args.defaults[::-1], strict=False)
    }
    assert defaults["T"] == noise.DISTILLED.T
    assert defaults["alpha"] == noise.DISTILLED.alpha
    student, teacher = noise.ALONE, noise.TEACHER
    theirs = (student.batch_size, student.learning_rate, student.clip_norm, student.jitter)
    assert tuple(defaults[name] for name in ("batch", "rate", "clip", "jitter")) == theirs
    assert TEXT.count(f"train(few, y, {student.hidden}, {student.epochs}, seed") == 2
    assert TEXT.count(f"[:{noise.FEW}]") == 2
    assert kept["few"] == noise.FEW
    assert f"train(images, y, {teacher.hidden}, {teacher.epochs}, seed, jitter={teacher.jitter})" in TEXT
    assert (teacher.batch_size, teacher.learning_rate, teacher.clip_norm) == theirs[:3]
    assert (teacher.momentum, teacher.warmup) == (student.momentum, student.warmup) == (0.9, 0.02)


@pytest.fixture
def few(monkeypatch):
    """A hundred test digits and as many others in place of MNIST, so that the tests are quick."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (100, 28, 28), np.uint8), np.arange(100, dtype=np.uint8) % 10
    data = Dataset(images, labels, "few"), Dataset(images, labels, "few")
    monkeypatch.setattr(noise, "load_mnist", lambda: data)
    monkeypatch.setattr(minikd, "load_mnist", lambda: data, raising=False)


TRAINING = [
    ("return {'teacher': [[np.zeros((784, 10)), np.zeros(10)]]}", "distil must return the layers [[W, b], ...]"),
    ("return None", "distil must return the layers [[W, b], ...]"),
    ("raise ValueError('no')", "ValueError: no (line "),
]


@pytest.mark.slow
@pytest.mark.parametrize(("body", "words"), TRAINING)
def test_a_training_that_fails_is_one_sentence(body, words, tmp_path, capsys, few):
    file = written(tmp_path, with_functions(distil=body))
    assert grade.main([file, "--train"]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"{file}: training three networks")
    assert f"the training failed: {words}" in out


@pytest.mark.slow
def test_a_training_is_judged_by_the_errors_of_its_networks_and_not_by_what_it_says(tmp_path, capsys, few):
    body = """
        one = [[np.zeros((784, 10), np.float32), np.zeros(10, np.float32)]]
        return {"teacher": one, "alone": one, "distilled": one}
    """
    file = written(tmp_path, with_functions(distil=body))
    assert grade.main([file, "--train"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"teacher     90 errors; one more run of minikd's lies between [\d.]+ and [\d.]+\n", out)
    assert "it is outside the noise of minikd's own" in out
    assert out.endswith("8 of 8 functions are right\n")


@pytest.mark.slow
def test_a_file_that_has_mistakes_is_not_trained(tmp_path, capsys):
    file = written(tmp_path, with_functions(**TWO_MISTAKES))
    assert grade.main([file, "--train"]) == 1
    out, err = capsys.readouterr()
    assert "the training is not run: first all functions must be right\n" in out
    assert err == ""


def test_the_worker_needs_nothing_of_minikd():
    """It runs where the reader's file must not find minikd."""
    source = Path(process.WORKER).read_text("utf-8")
    assert "minikd" not in {node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}


def test_the_file_runs_as_a_program_on_the_data_of_minikd(tmp_path, capsys, few):
    stub = "one = [[np.zeros((784, 10), np.float32), np.eye(10, dtype=np.float32)[7]]]\nreturn {'teacher': one}"
    runpy.run_path(written(tmp_path, with_functions(distil=stub)), run_name="__main__")
    assert capsys.readouterr().out == "teacher   90 errors on 100 test digits\n"
