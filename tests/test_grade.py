"""`minikd grade`: what is right in a file of the capstone is called right, and what is not gets one clear sentence."""

import ast
import json
import os
import re
import runpy
import sys
from pathlib import Path
from textwrap import dedent, indent

import numpy as np
import pytest

import minikd
from minikd.commands import grade
from minikd.core.mlp import initialise, unflatten
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.learn.capstone import lesson, noise, process
from minikd.learn.capstone.judge import MISSING, NOT_WRITTEN, RIGHT, STOPS, WRONG, judge
from minikd.learn.capstone.process import SOLUTION
from minikd.learn.capstone.template import FUNCTIONS, solution, template
from minikd.learn.capstone.values import decode, encode
from minikd.learn.exercises import NOT_YET, exercise
from minikd.learn.exercises.n14 import EXERCISES
from minikd.training.config import TrainConfig, stream
from minikd.training.loop import train

TEXT = SOLUTION.read_text("utf-8")
SHORT = 3.0  # seconds, for files that loop


def with_functions(**bodies: str) -> str:
    """The solution with other bodies for some functions."""
    lines = TEXT.splitlines()
    for node in reversed(ast.parse(TEXT).body):
        if isinstance(node, ast.FunctionDef) and node.name in bodies:
            lines[node.body[0].lineno - 1 : node.end_lineno] = indent(dedent(bodies[node.name]), "    ").splitlines()
    return "\n".join(lines) + "\n"


def written(folder: Path, text: str, name: str = "ada.py") -> str:
    """The path of a file with this text."""
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def defined(**bodies: str) -> dict[str, object]:
    """What the solution with these bodies defines, in this process."""
    names: dict[str, object] = {"__name__": "my_distillation"}
    exec(with_functions(**bodies), names)
    return names


# ---- the solution, and the template that is made from it -------------------------------------------------------------


def test_the_solution_is_right_and_its_file_passes(tmp_path):
    report = judge(str(SOLUTION), 30)
    assert [one.status for one in report.functions] == [RIGHT] * 8
    assert report.passed
    assert not report.remarks


def test_the_solution_is_about_sixty_lines_of_numpy():
    tree = ast.parse(TEXT)
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"math", "numpy"}
    docstrings = [node.body[0] for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Module)]
    apart = {line for text in docstrings for line in range(text.lineno, text.end_lineno + 1)}
    main = next(node.lineno for node in tree.body if isinstance(node, ast.If))
    code = [n for n, line in enumerate(TEXT.splitlines()[: main - 1], 1) if line.strip() and line[0] != "#"]
    assert 50 <= len(set(code) - apart) <= 75
    assert list(FUNCTIONS) == [node.name for node in tree.body if isinstance(node, ast.FunctionDef)][:8]


def test_the_template_is_the_solution_with_dots_and_nothing_in_it_is_written_yet(tmp_path):
    text = template()
    assert text.count("    return ...\n") == 8
    for name in FUNCTIONS:
        body = solution(name).split("\n", 1)[1]
        assert body in TEXT
        assert body not in text
    assert text.partition("# ---- what follows")[2] == TEXT.partition("# ---- what follows")[2]
    report = judge(written(tmp_path, text), 30)
    assert {one.status for one in report.functions} == {NOT_WRITTEN}
    assert {one.words for one in report.functions} == {"not written yet"}
    assert NOT_YET.startswith("not written yet")


def test_the_solution_trains_with_less_data_too():
    rng = np.random.default_rng(0)
    names = defined()
    images, y = rng.random((256, 28, 28), np.float32), rng.integers(0, 10, 256).astype(np.uint8)
    layers = names["train"](images, y, (8,), 1, 0, jitter=1, v=rng.normal(size=(256, 10)).astype(np.float32))
    assert [a.shape for layer in layers for a in layer] == [(784, 8), (8,), (8, 10), (10,)]
    assert {a.dtype for layer in layers for a in layer} == {np.dtype("float32")}


# ---- mistakes --------------------------------------------------------------------------------------------------------

MISTAKES = [
    ("softmax", "e = np.exp(z * T)\nreturn e / e.sum(axis=-1, keepdims=True)", "T multiplies the logits"),
    ("softmax", "e = np.exp(z / T)\nreturn e / e.sum(axis=-1, keepdims=True)", "subtract each case's largest logit"),
    ("softmax", "e = np.exp((z - z.max()) / T)\nreturn e / e.sum()", "the sum is over the whole batch"),
    ("softmax", "e = np.exp((z - z.max()) / T)\nreturn e / e.sum(axis=0)", "the sum is over the batch"),
    ("softmax", "e = np.exp(z - z.max(axis=1, keepdims=True))\nreturn e / e.sum(axis=1, keepdims=True)", "no effect"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\nreturn -np.sum(p * np.log(q)) / len(z), (q - p) / len(z)",
     "missing 1/T"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\nreturn -np.sum(p * np.log(q)) / len(z), (p - q) / T / len(z)",
     "q and p swapped"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\nreturn -np.sum(p * np.log(q)) / len(z), (q - p) / T",
     "mean over the batch forgotten"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\nreturn -np.mean(p * np.log(q)), (q - p) / T / z.size",
     "mean over classes instead of sum"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, 1)\nreturn -np.sum(p * np.log(q)) / len(z), (q - p) / T / len(z)",
     "T"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\nreturn -np.sum(p * np.log(q)), (q - p) / T / len(z)",
     "the cost is not the one of this gradient"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\n"
     "return np.sum(p * np.log(p / q)) / len(z), (q - p) / T / len(z)", "C is "),
    ("soft_cost", "return (softmax(z, T) - softmax(v, T)) / T / len(z)", "return (C, dz)"),
    ("hard_cost", "q, p = softmax(z, 1.0), np.arange(z.shape[-1]) == y[:, None]\nreturn -np.log(q[p]).mean(), q - p",
     "mean over the batch forgotten"),
    ("hard_cost", "q, p = softmax(z, 1.0), np.eye(10)[y]\nreturn -np.sum(p * np.log(q)) / len(z), (q - p) / len(z)",
     "stopped with ValueError"),
    ("hard_cost", "q, p = softmax(z, 1.0), np.eye(z.shape[1])[y]\n"
     "return -np.sum(p * np.log(q)) / len(z), (q - p) / len(z)", "dz is float64, but the arguments are float32"),
    ("affine_forward", "return x @ W", "the bias b is missing"),
    ("affine_forward", "return x @ W.T + b", "in `@` the first factor has 3 columns, and the second has 2 rows"),
    ("affine_backward", "return dout @ W, x.T @ dout, dout.sum(axis=0)", "W not transposed in dx"),
    ("affine_backward", "return dout @ W.T, dout.T @ x, dout.sum(axis=0)", "dW transposed"),
    ("affine_backward", "return dout @ W.T, x.T @ dout, dout", "db not summed"),
    ("affine_backward", "return dout @ W.T, x.T @ dout / len(x), dout.sum(axis=0)", "dW averaged over the batch"),
    ("affine_backward", "return x.T @ dout, dout @ W.T, dout.sum(axis=0)", "the gradients in another order"),
    ("relu_forward", "return np.max(x, 0)", "np.max takes the largest of an axis"),
    ("relu_forward", "return abs(x)", "that is the absolute value"),
    ("relu_backward", "return dout * np.maximum(x, 0)", "the output in place of its derivative"),
    ("relu_backward", "return dout * (dout > 0)", "ReLU mask from dout"),
    ("relu_backward", "return x > 0", "return a NumPy array, float64 or float32"),
    ("momentum_step", "velocity = momentum * velocity + learning_rate * gradient\n"
     "return parameters + velocity, velocity", "sign of the gradient"),
    ("momentum_step", "velocity = momentum * velocity - learning_rate * gradient\n"
     "return parameters + momentum * velocity, velocity", "momentum applied twice"),
    ("momentum_step", "new = momentum * velocity - learning_rate * gradient\nreturn parameters + new, velocity",
     "the old velocity returned"),
    ("momentum_step", "velocity *= momentum\nvelocity -= learning_rate * gradient\nparameters += velocity",
     "it returns nothing"),
    ("momentum_step", "gradient *= learning_rate\nvelocity = momentum * velocity - gradient\n"
     "return parameters + velocity, velocity", "it writes into gradient"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body", "words"), MISTAKES)
def test_a_wrong_function_is_refused_and_its_mistake_is_named(name, body, words):
    with np.errstate(all="ignore"):
        verdict = EXERCISES[FUNCTIONS[name]].judge(defined(**{name: body})[name])
    assert not verdict
    assert words in verdict.words


def test_what_is_behind_an_error_is_said():
    assert EXERCISES["14.1"].judge(lambda z: z).words.endswith("; keep the template's arguments, in their order")
    unwritten = defined(softmax="return ...")["soft_cost"]
    assert EXERCISES["14.2"].judge(unwritten).words.endswith("still returns its dots: write that one first")


RIGHT_TOO = [
    ("softmax", "e = np.exp(z / T - (z / T).max(axis=1)[:, None])\nreturn e / e.sum(axis=1)[:, None]"),
    ("hard_cost", "q, B = softmax(z, 1), len(z)\nC, dz = -np.log(q[np.arange(B), y]).mean(), q.copy()\n"
     "dz[np.arange(B), y] -= 1\nreturn C, dz / B"),
    ("affine_forward", "return np.dot(x, W) + b[None, :]"),
    ("affine_backward", "dx, dW = np.dot(dout, W.T), np.dot(x.T, dout)\nreturn [dx, dW, dout.sum(0)]"),
    ("relu_forward", "return x * (x > 0)"),
    ("relu_backward", "dx = dout.copy()\ndx[x <= 0] = 0\nreturn dx"),
    ("momentum_step", "velocity *= momentum\nvelocity -= learning_rate * gradient\nparameters += velocity\n"
     "return parameters, velocity"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), RIGHT_TOO)
def test_another_right_way_is_right(name, body):
    with np.errstate(all="ignore"):
        verdict = exercise(FUNCTIONS[name], defined(**{name: body})[name])
    assert verdict, verdict


def sometimes(name, answer):
    """The right function, but with another answer for a single case: a shape that the doctor does not try."""
    right = defined()[name]
    return lambda *given: answer if len(given[0]) == 1 else right(*given)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "wrong: return (C, dz), in this order; it returns one NoneType; tried with float32 z of shape (1, 2), "),
        ((None, 0), "wrong: C should be one number, and is a NoneType; "),
        ((1j, 0), "wrong: C should be one number, and is a complex; "),
        ((np.ones(2), 0), "wrong: C should be one number, and is a ndarray; "),
        ((0.0, None), "wrong: C is 0; it should be "),
    ],
)
def test_an_odd_answer_to_one_case_is_one_sentence(answer, words):
    verdict = EXERCISES["14.2"].judge(sometimes("soft_cost", answer))
    assert verdict.words.startswith(words)
    assert "\n" not in verdict.words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3.0, "wrong: out should be an array, and is a float"),
        (np.ones(2), "wrong: out has the shape (2,); it should have (1, 2)"),
        (np.full((1, 2), np.inf, np.float32), "wrong: out is not finite; tried"),
        (np.ones((1, 2), np.float32), "wrong: right elsewhere, but out[0, 1] is 1 and should be -6.59"),
    ],
)
def test_an_odd_array_for_one_case_is_one_sentence(answer, words):
    """The formula is tried on float64 first: the odd answer comes for float32 only."""
    right = defined()["affine_forward"]
    verdict = EXERCISES["14.4"].judge(lambda x, W, b: answer if x.dtype == np.float32 else right(x, W, b))
    assert verdict.words.startswith(words)


ONLY_HERE = [  # right at the shapes, dtype or temperature of the training
    ("softmax", "e = np.exp((z - z.max(axis=-1, keepdims=True)) / 4.0)\nreturn e / e.sum(axis=-1, keepdims=True)"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\nreturn -np.sum(p * np.log(q)) / 128, (q - p) / T / 128"),
    ("hard_cost", "q, p = softmax(z, 1.0), np.arange(10) == y[:, None]\nreturn -np.log(q[p]).mean(), (q - p) / len(z)"),
    ("hard_cost", "q, p = softmax(z, 1.0), np.arange(z.shape[-1]) == y[:, None]\n"
     "return -np.log(q[p]).mean(), ((q - p) / len(z)).astype(np.float32)"),
    ("soft_cost", "e, f = np.exp(z / T), np.exp(v / T)\nq = e / e.sum(axis=-1, keepdims=True)\n"
     "p = f / f.sum(axis=-1, keepdims=True)\nreturn -np.sum(p * np.log(q)) / len(z), (q - p) / T / len(z)"),
    ("affine_forward", "out = np.empty((128, W.shape[1]), x.dtype)\nout[:] = x @ W + b\nreturn out"),
    ("momentum_step", "velocity = 0.9 * velocity - learning_rate * gradient\nreturn parameters + velocity, velocity"),
    ("momentum_step", "velocity = momentum * velocity - learning_rate * gradient\n"
     "return (parameters + velocity if parameters.ndim == 2 else parameters), velocity"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), ONLY_HERE)
def test_what_is_right_only_for_the_training_is_refused(name, body):
    with np.errstate(all="ignore"):
        assert not EXERCISES[FUNCTIONS[name]].judge(defined(**{name: body})[name])


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
    ("input('name? ')", "EOFError: "),
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


# ---- the notebook ----------------------------------------------------------------------------------------------------


def test_the_notebook_trains_with_the_readers_functions_only_if_all_are_right(capsys):
    mine = [defined()[name] for name in FUNCTIONS]
    module = lesson.program(*mine)
    assert [getattr(module, name) for name in FUNCTIONS] == mine
    assert capsys.readouterr().out == "All eight functions are right: your own code trains.\n"
    module = lesson.program(*mine[:-1], lambda *arguments: ...)
    assert not {getattr(module, name) for name in FUNCTIONS} & set(mine)
    said = "7 of your 8 functions are right, so the solution that comes with minikd trains.\n"
    assert capsys.readouterr().out == said
    z, out = (
        np.ones((2, 3), np.float32),
        module.forward([[np.eye(3, dtype=np.float32), np.zeros(3, np.float32)]], np.eye(3)),
    )
    assert module.softmax(z, 1.0) == pytest.approx(1 / 3)
    assert out[0].shape == (3, 3)


def test_minikds_own_runs_are_drawn_beside_the_readers():
    runs = noise.minikds()
    assert list(runs) == [*noise.NAMES, "saved"]
    assert runs["saved"] == [a - b for a, b in zip(runs["alone"], runs["distilled"], strict=True)]
    assert {len(numbers) for numbers in runs.values()} == {len(noise.SEEDS)}


# ---- the training, and minikd's --------------------------------------------------------------------------------------


class MinikdsNumbers:
    """Stands in for the file's generator: it draws what minikd draws, weight by weight and batch by batch."""

    def __init__(self, seed, sizes, batch):
        self.seed, self.batch, self.epoch, self.used = seed, batch, -1, 0
        self.weights = iter(unflatten(initialise(sizes, stream(seed, "initialisation"), "float64"), sizes))

    def normal(self, mean, sd, shape):
        W, _ = next(self.weights)
        assert (mean, W.shape) == (0, shape)
        return W

    def permutation(self, n):
        self.epoch, self.used, self.steps = self.epoch + 1, 0, n // self.batch
        return stream(self.seed, "order", self.epoch).permutation(n)

    def integers(self, low, high, size):
        drawn = stream(self.seed, "jitter", self.epoch).integers(low, high, size=(2, self.steps * self.batch))
        self.used += self.batch
        return drawn[:, self.used - self.batch : self.used].reshape(size)


@pytest.mark.parametrize(("jitter", "taught"), [(0, True), (0, False), (2, False)])
def test_the_files_training_is_minikds_if_both_draw_the_same_numbers(monkeypatch, jitter, taught):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (300, 28, 28), np.uint8), rng.integers(0, 10, 300).astype(np.uint8)
    data, v = Dataset(images, labels, "some"), rng.normal(0, 5, (300, 10))
    config = TrainConfig((12, 9), epochs=60, jitter=jitter, T=4.0, alpha=0.9 if taught else 0.0, dtype="float64")
    soft = SoftTargets(v, data.fingerprint, "random") if taught else None
    theirs = train(config, data, soft_targets=soft)
    mine = defined()
    real = np.random.default_rng
    fake = lambda seed: MinikdsNumbers(0, (784, 12, 9, 10), 128) if seed == "fake" else real(seed)  # noqa: E731
    monkeypatch.setattr(np.random, "default_rng", fake)
    layers = mine["train"](images / 255, labels, (12, 9), 60, "fake", jitter=jitter, v=v if taught else None)
    flat = np.concatenate([a.ravel() for layer in layers for a in layer])
    assert np.max(np.abs(flat - theirs.flat)) < 1e-6 * np.max(np.abs(flat))


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
