"""From arrays in memory to a student: labels of any kind, or none, features or images."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minikd.core.softmax import softmax
from minikd.data.checks import DataError
from minikd.distil import api
from minikd.distil.api import class_numbers, distil
from minikd.distil.student import load_student
from minikd.training.network import Network

RNG = np.random.default_rng(0)
N = 300
X = RNG.normal(size=(N, 4)) * [1, 1e-3, 1e3, 1] + [0, 7, 1e6, 0]
UNIT = (X - X.mean(axis=0)) / X.std(axis=0)
V = 4 * UNIT @ RNG.normal(size=(4, 3))  # a linear teacher
BEST = V.argmax(axis=1)
FAST = {"hidden": (16,), "epochs": 30}


@pytest.mark.parametrize("names", [["a", "b", "c"], [1, 2, 3], [-5, 0, 26], [0, 1, 2], [0.5, 1.5, 2.5]])
def test_a_student_learns_from_features_in_any_units_and_answers_in_the_users_labels(names, tmp_path):
    student = distil(X, np.array(names)[BEST], teacher_logits=V, **FAST)
    assert student.labels.tolist() == names
    assert np.mean(student.predict(X) == np.array(names)[BEST]) > 0.95
    student.save(tmp_path / "student.safetensors")
    np.testing.assert_array_equal(load_student(tmp_path / "student.safetensors").predict(X), student.predict(X))


def test_without_labels_the_student_learns_from_the_teacher_only():
    student = distil(X, teacher_logits=V, **FAST)
    assert np.mean(student.predict(X) == BEST) > 0.95
    assert student.about["config"]["alpha"] == 1
    named = distil(X, None, teacher_logits=V, labels=["a", "b", "c"], **FAST)
    assert named.predict(X).tolist() == np.array(["a", "b", "c"])[student.predict(X)].tolist()


def test_the_student_learns_the_teachers_answers_not_only_the_labels():
    wrong = (BEST + 1) % 3
    with pytest.warns(UserWarning, match=r"only 0\.0 % of the teacher's answers agree with y"):
        student = distil(X, wrong, teacher_logits=V, alpha=1.0, T=2.0, **FAST)
    assert np.mean(student.predict(X) == BEST) > 0.95
    p, q = softmax(V), student.predict_proba(X)
    assert np.abs(p - q).mean() < 0.05
    assert (student.about["config"]["T"], student.about["why"]["T"]) == (2.0, "T = 2.0, because you asked for it.")


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
@pytest.mark.parametrize(("pixels", "dtype"), [("bytes", np.uint8), ("floats", np.float32)])
def test_a_student_learns_from_images(shape, pixels, dtype):
    images = RNG.integers(0, 256, size=(N, *shape)).astype(np.uint8)
    images[:, :3] //= 2
    y = RNG.integers(0, 2, N)
    images[y == 1, :3] += 100
    v = np.where(y[:, None] == [0, 1], 4.0, 0.0)
    x = images if dtype == np.uint8 else (images / 255).astype(dtype)
    student = distil(x, y, teacher_logits=v, **FAST)
    assert np.mean(student.predict(x) == y) > 0.95
    assert student.inputs.pixels == pixels


def test_the_same_seed_gives_the_same_student_and_float64_is_kept():
    one, same, other = (distil(X, BEST, teacher_logits=V, hidden=(4,), epochs=2, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.network.flat, same.network.flat)
    assert not np.array_equal(one.network.flat, other.network.flat)
    assert distil(X, BEST, teacher_logits=V, hidden=(4,), epochs=2, dtype="float64").logits(X).dtype == np.float64


def test_a_class_that_no_example_has_is_kept():
    some = np.where(BEST == 2, 0, BEST)
    assert distil(X, some, teacher_logits=V, hidden=(4,), epochs=1).labels.tolist() == [0, 1, 2]
    text = np.array(["a", "b"])[some]
    with pytest.raises(ValueError, match="have 3 columns, but y has 2 different labels: pass labels"):
        distil(X, text, teacher_logits=V, **FAST)
    student = distil(X, text, teacher_logits=V, labels=["a", "b", "c"], hidden=(4,), epochs=1)
    assert student.labels.tolist() == ["a", "b", "c"]


def test_the_order_of_the_columns_is_that_of_the_labels():
    names, numbers = class_numbers(["x", "y", "x"], ["y", "x"], 2)
    assert (names.tolist(), numbers.tolist()) == (["y", "x"], [1, 0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None, "alpha": 0.5}, "without y .+ alpha must be 1, got 0.5"),
        ({"y": BEST[:9]}, "every .+ needs one label"),
        ({"y": np.eye(3)[BEST]}, r"y must be \(N,\), one label per example, .+take the argmax"),
        ({"y": np.where(BEST == 1, 9, BEST), "labels": [0, 1, 2]}, "every y must be one of labels, got 9"),
        ({"y": np.array([None, "a", "b"] * 100, dtype=object)}, "all numbers or all text"),
        ({"labels": ["a", "b"]}, "labels must be 3 numbers or 3 texts"),
        ({"teacher_logits": V[:5]}, "one row of logits per example, 300, got 5"),
        ({"teacher_logits": softmax(V)}, "must not be probabilities"),
        (
            {"teacher_logits": 100 * softmax(V)},
            r"must not be percentages, .+sums to 100: pass logits_from_probabilities\(p / 100\)$",
        ),
        ({"teacher_logits": RNG.multinomial(20, softmax(V))}, r"not be counts of votes.+p / 20, voters=20\)"),
        ({"x": np.where(UNIT > 2, np.nan, X)}, "features must be finite"),
        ({"x": X[:, 0]}, r"examples must be features \(N, D\), or images"),
        ({"alpha": 2}, "alpha must be > 0 and at most 1, got 2: it is the weight"),
        ({"alpha": 0.0}, "alpha = 0 gives them no weight"),
        ({"alpha": 0}, "alpha = 0 gives them no weight"),
        ({"T": 0.0}, "T must be a finite number > 0"),
        ({"T": "hot", "alpha": 0.5}, "T must be a temperature"),
        ({"hidden": (0,)}, "hidden must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(change, message):
    arguments = {"x": X, "y": BEST, "teacher_logits": V, **FAST, **change}
    with pytest.raises(ValueError, match=message) as refused:
        distil(**arguments)
    assert "\n" not in str(refused.value)


def test_a_teacher_in_another_order_is_doubted_and_one_that_cannot_be_told_from_chance_is_not():
    quick = {"hidden": (4,), "epochs": 1}
    with pytest.warns(UserWarning, match=r"agree with y, which is chance: are its rows in the order") as caught:
        distil(X, BEST, teacher_logits=V[::-1], **quick)
    assert caught[0].filename == __file__
    rare = (np.arange(N) == 5).astype(int)
    always = np.where(np.arange(2) == 0, 3.0, 0.0) + np.zeros((N, 1))  # says the common class of each example
    distil(X, rare, teacher_logits=always, **quick)
    distil(X[:10], BEST[:10], teacher_logits=V[:10], **quick)


def test_columns_in_another_order_are_doubted_by_the_name_of_each():
    for labels in (None, ["ant", "bee", "cow"]):
        y = BEST if labels is None else np.array(labels)[BEST]
        first = "2" if labels is None else "cow"
        with pytest.warns(
            UserWarning, match=rf"column 0 seems to be class {first}, .+: pass labels, the label of each"
        ):
            distil(X, y, teacher_logits=V[:, ::-1][:, [0, 2, 1]], labels=labels, hidden=(4,), epochs=1)


def test_rows_that_look_like_incomplete_probabilities_are_doubted():
    p = softmax(V / 4)
    top = np.where(p == p.min(axis=1, keepdims=True), 0, p)
    with pytest.warns(UserWarning, match="these look like incomplete probabilities") as caught:
        distil(X, BEST, teacher_logits=top, hidden=(4,), epochs=1)
    assert caught[0].filename == __file__


def test_a_number_of_units_without_its_layer_is_refused():
    for hidden in (4, np.int64(4)):
        with pytest.raises(
            ValueError, match=r"hidden must be the units of each hidden layer.*: for one layer write \(4,\)"
        ):
            distil(X, BEST, teacher_logits=V, hidden=hidden)


def test_a_row_of_features_is_no_image():
    student = distil(X, BEST, teacher_logits=V, hidden=(4,), epochs=1)
    with pytest.raises(DataError, match="must have the shape"):
        student.predict(X.reshape(-1, 2, 2))


@pytest.mark.parametrize(("hidden", "one"), [((30,), True), ((3000, 3000), False)])
def test_light_steps_take_one_thread_and_heavy_ones_all(monkeypatch, hidden, one):
    seen = []

    def train(config, dataset, **_):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return Network((2, 2), np.zeros(6))

    monkeypatch.setattr(api, "train", train)
    x = np.random.default_rng(0).normal(size=(200, 2))
    with threadpool_limits(2, user_api="blas"):
        distil(x, teacher_logits=x, hidden=hidden)
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    if 2 not in after:
        pytest.skip("this BLAS has one thread, or keeps their number to itself")
    assert set(seen) == ({1} if one else set(after))
