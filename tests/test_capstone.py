"""The capstone's eight functions: what is right is called right, and a mistake is named."""

import ast

import numpy as np
import pytest
from capstone import TEXT, defined, written

from minikd.core.mlp import initialise, unflatten
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.learn.capstone import lesson, noise
from minikd.learn.capstone.judge import NOT_WRITTEN, RIGHT, judge
from minikd.learn.capstone.process import SOLUTION
from minikd.learn.capstone.template import FUNCTIONS, solution, template
from minikd.learn.exercises import NOT_YET, exercise
from minikd.learn.exercises.n14 import EXERCISES
from minikd.training.config import TrainConfig, stream
from minikd.training.loop import train

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
    ("softmax", "e = np.exp((z - z.max(axis=-1, keepdims=True)) / T)\nreturn e / e.sum(axis=0)", "over the batch"),
    ("softmax", "e = np.exp((z - z.max(axis=0)) / T)\nreturn e / e.sum(axis=0)", "the sum is over the batch"),
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
     "return np.sum(p * np.log(p / q)) / len(z), (q - p) / T / len(z)", "this is the divergence; the cross-"),
    ("soft_cost", "q, p = softmax(z, T), softmax(v, T)\n"
     "return 1 - np.sum(p * np.log(q)) / len(z), (q - p) / T / len(z)", "C is "),
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
    ("momentum_step", "velocity *= momentum\nvelocity -= learning_rate * gradient\nparameters += velocity\n"
     "return parameters, velocity", "it writes into parameters"),
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
    ("relu_backward", "return dout * (x >= 0)"),  # at x = 0 every slope from 0 to 1 is right (D6.7)
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
