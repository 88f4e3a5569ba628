"""A student answers with the user's own labels, from the user's own numbers, and is the same after a file."""

import json
from itertools import pairwise

import numpy as np
import pytest

from minikd.data.checks import DataError
from minikd.data.inputs import Inputs
from minikd.distil.student import Student, load_student
from minikd.training import checkpoint
from minikd.training.checkpoint import CheckpointError
from minikd.training.config import TrainConfig
from minikd.training.network import Network
from minikd.training.runs import load_network, save_network

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(40, 3)) * [1.0, 1e-3, 50.0] + [0.0, 5.0, 1e6]


def network(*sizes: int, dtype: str = "float64") -> Network:
    count = sum(D * H + H for D, H in pairwise(sizes))
    return Network(sizes, RNG.normal(size=count).astype(dtype))


def by_hand(x: np.ndarray, student: Student) -> np.ndarray:
    """The logits in float64, from what the network reads."""
    h = x
    layers = [(np.asarray(W, np.float64), np.asarray(b, np.float64)) for W, b in student.network.layers()]
    for i, (W, b) in enumerate(layers):
        h = h @ W + b
        if i < len(layers) - 1:
            h = np.maximum(h, 0)
    return h


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-12)])
def test_features_are_standardised_and_the_answers_are_the_users_labels(dtype, tolerance):
    student = Student(network(3, 7, 4, dtype=dtype), Inputs.of(FEATURES), np.array(["a", "bb", "c", "d"]))
    x = ((FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)).astype(np.float32)  # as it was trained on
    expected = by_hand(x, student)
    z = student.logits(FEATURES)
    assert (z.dtype, z.shape) == (dtype, (40, 4))
    np.testing.assert_allclose(z, expected, rtol=tolerance, atol=tolerance)
    e = np.exp(expected)
    np.testing.assert_allclose(
        student.predict_proba(FEATURES), e / e.sum(axis=1, keepdims=True), rtol=0, atol=10 * tolerance
    )
    names = ["a", "bb", "c", "d"]
    assert student.predict(FEATURES.tolist()).tolist() == [names[k] for k in expected.argmax(axis=1)]


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_images_are_taken_as_bytes_or_as_floats_and_a_dark_one_too(shape):
    images = RNG.integers(0, 256, size=(5, *shape)).astype(np.uint8)
    images[0] = 0
    images[1] //= 9
    student = Student(network(int(np.prod(shape)), 5, 2), Inputs.of(images), np.array([3, 8]))
    expected = by_hand(images.reshape(5, -1) / 255, student)
    for same in (images, images.astype(np.int64), images / 255, (images / 255).astype(np.float32), images * 1.0):
        np.testing.assert_allclose(student.logits(same), expected, rtol=1e-12)
        if same.max() > 1:
            continue
        for i in range(5):  # one by one, dark ones too
            np.testing.assert_allclose(student.logits(same[i : i + 1]), expected[i : i + 1], rtol=1e-12)


def test_answers_do_not_depend_on_the_batch():
    student = Student(network(3, 7, 4), Inputs.of(FEATURES), np.arange(4))
    many = np.tile(FEATURES, (60, 1))
    np.testing.assert_allclose(student.logits(many), np.tile(student.logits(FEATURES), (60, 1)), rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4)), r"must have the shape \(N, 3\) of those learnt from, got float64 of shape \(2, 4\)"),
        (np.zeros((0, 3)), "must have the shape"),
        (np.zeros(3), "must have the shape"),
        (np.array([[0, np.nan, 0]]), "features must be finite, got nan in row 0, column 1"),
        (np.array([["a", "b", "c"]]), "features must be numbers"),
    ],
)
def test_examples_that_do_not_fit_are_refused(x, message):
    with pytest.raises(DataError, match=message):
        Student(network(3, 4), Inputs.of(FEATURES), np.arange(4)).logits(x)


@pytest.mark.parametrize("x", [np.full((1, 2, 2), 256.0), np.full((1, 2, 2), -1), np.full((1, 2, 2), np.nan)])
def test_images_outside_their_range_are_refused(x):
    with pytest.raises(DataError, match=r"whole numbers in 0\.\.255 or floats in \[0, 1\], got"):
        Student(network(4, 2), Inputs((2, 2)), np.arange(2)).predict(x)


LABELS = [
    np.arange(1, 5),
    np.array([-3, 0, 7, 9], np.int8),
    np.array(["é", "b" * 200, "c", "名"]),
    np.array([0.5, 1, 2, 3]),
]


@pytest.mark.parametrize("labels", LABELS, ids=lambda labels: labels.dtype.str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_student_is_the_same_after_a_file(labels, dtype, tmp_path):
    student = Student(network(3, 5, 4, dtype=dtype), Inputs.of(FEATURES), labels, {"T": 4.0, "why": "auto"})
    student.save(tmp_path / "new" / "student.safetensors")
    found = load_student(tmp_path / "new" / "student.safetensors")
    np.testing.assert_array_equal(found.logits(FEATURES), student.logits(FEATURES))
    assert found.labels.dtype == labels.dtype
    assert found.labels.tolist() == labels.tolist()
    assert (found.about, found.inputs.shape) == ({"T": 4.0, "why": "auto"}, (3,))


def test_a_student_of_images_is_the_same_after_a_file(tmp_path):
    images = RNG.integers(0, 256, size=(5, 3, 4, 3)).astype(np.uint8)
    student = Student(network(36, 2), Inputs.of(images), np.array([False, True]))
    student.save(tmp_path / "s")
    found = load_student(tmp_path / "s")
    np.testing.assert_array_equal(found.logits(images), student.logits(images))
    assert found.predict(images).dtype == bool
    assert found.inputs.pixels == "bytes"
    of_floats = Student(student.network, Inputs.of(images / 255), np.array([False, True]))
    of_floats.save(tmp_path / "s")
    assert load_student(tmp_path / "s").inputs.pixels == "floats"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(3), "must be 4 numbers or 4 texts, one per class, got int64 of shape"),
        (np.array([1, "a", 2, 3], dtype=object), "must be 4 numbers or 4 texts"),
        (np.array([0, 1, 2, np.nan]), "labels must be finite"),
        (np.array(["a", "b", "c", "a"]), "differ from one another"),
        (np.array(["a", "b", "c", "d" * 201]), "at most 200 characters, got 201"),
    ],
)
def test_labels_that_name_no_classes_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        Student(network(3, 4), Inputs.of(FEATURES), labels)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"reads 4 numbers, but examples of shape \(3,\) have 3"):
        Student(network(4, 2), Inputs.of(FEATURES), np.arange(2))
    with pytest.raises(ValueError, match="a student is one network, got a population of 2"):
        Student(Network((3, 2), np.zeros((2, 8))), Inputs.of(FEATURES), np.arange(2))


def test_a_student_and_a_network_are_told_in_one_line():
    one = network(3, 7, 6, dtype="float32")
    student = Student(Network(one.sizes, one.flat, [{"epoch": 1}] * 200), Inputs.of(FEATURES), np.arange(6))
    told = "Network(3-7-6, float32)"
    assert repr(student) == f"Student({told}, features of shape (3,), labels 0, 1, 2, …, 5)"
    assert repr(Network((3, 2), np.zeros((4, 8)))) == "Network(3-2, float64, 4 of them)"


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_network_whose_file_does_not_say_what_it_reads_is_refused(tmp_path):
    config = TrainConfig(hidden=(3,), epochs=1, dtype="float64")
    for D in (16, 12):  # 16 pixels would be a square image; they may as well be features
        one = network(D, 3, 2)
        save_network(tmp_path / "bare", Network(one.sizes, one.flat, [{"epoch": 1}]), config)
        with pytest.raises(CheckpointError, match=rf"does not say what its {D} inputs are: use student\.safetensors"):
            load_student(tmp_path / "bare")
    assert load_student(tmp_path / "bare", Inputs((3, 4))).inputs.size == 12


def test_a_network_whose_file_says_what_it_reads_is_a_student(tmp_path):
    config = TrainConfig(hidden=(3,), epochs=1, dtype="float64")
    one = network(16, 3, 2)
    trained = Network(one.sizes, one.flat, [{"epoch": 1}])
    save_network(tmp_path / "images", trained, config, Inputs((4, 4)))
    images = RNG.integers(0, 256, size=(5, 4, 4)).astype(np.uint8)
    student = load_student(tmp_path / "images")
    np.testing.assert_allclose(student.logits(images), by_hand(images.reshape(5, 16) / 255, student), rtol=1e-12)
    assert student.labels.tolist() == [0, 1]
    x = RNG.normal(size=(40, 16)) * 7 + 3
    save_network(tmp_path / "features", trained, config, Inputs.of(x), np.array(["no", "yes"]))
    same = Student(trained, Inputs.of(x), np.array(["no", "yes"]))
    found = load_student(tmp_path / "features", Inputs((4, 4)))  # the file counts
    np.testing.assert_array_equal(found.logits(x), same.logits(x))
    assert found.labels.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(load_network(tmp_path / "features", config).flat, trained.flat)
    with pytest.raises(ValueError, match=r"shape \(3, 4\) are 12 numbers, but the network reads 16: give the inputs"):
        save_network(tmp_path / "wrong", trained, config, Inputs((3, 4)))


def test_images_with_another_scale_than_white_are_refused(tmp_path):
    inputs = Inputs((2, 2))
    arrays = {"W1": np.zeros((4, 2)), "b1": np.zeros(2), "scale": np.array(16.0)}
    record = {"student": 1, "sizes": [4, 2], "dtype": "float64", **inputs.record(), "about": {}}
    checkpoint.save(tmp_path / "a", arrays, record | {"labels": [0, 1], "label_dtype": "<i8"})
    with pytest.raises(CheckpointError, match="mean and scale must be"):
        load_student(tmp_path / "a")


def damaged(change) -> tuple[dict, dict]:
    """The arrays and the record of a student, changed, as a stranger may write them."""
    arrays = {"W1": np.zeros((3, 2)), "b1": np.zeros(2), "mean": np.zeros(3), "scale": np.ones(3)}
    record = {"student": 1, "sizes": [3, 2], "dtype": "float64", "shape": [3], "labels": [0, 1], "label_dtype": "<i8"}
    record["about"] = {}
    change(arrays, record)
    return arrays, record


CHANGES = {
    "nothing": lambda a, r: r.clear(),
    "a label is missing": lambda a, r: r.update(labels=[0]),
    "labels of another kind": lambda a, r: r.update(labels=["a", "b"]),
    "labels are objects": lambda a, r: r.update(label_dtype="O"),
    "labels claim a length": lambda a, r: r.update(label_dtype="S1000000000"),
    "a label is long": lambda a, r: r.update(labels=["a", "b" * 10**6], label_dtype="<U1"),
    "labels are lists": lambda a, r: r.update(labels=[[0], [1]]),
    "a label overflows": lambda a, r: r.update(labels=[0, 10**400]),
    "the shape is huge": lambda a, r: r.update(shape=[10**9, 10**9]),
    "the shape is text": lambda a, r: r.update(shape="33"),
    "pixels are unknown": lambda a, r: r.update(pixels=["bytes"]),
    "the shape is negative": lambda a, r: r.update(shape=[-1, -3]),
    "the scale is zero": lambda a, r: a.update(scale=np.zeros(3)),
    "the scale is missing": lambda a, r: a.pop("scale"),
    "the mean is not finite": lambda a, r: a.update(mean=np.full(3, np.inf)),
    "the mean is short": lambda a, r: a.update(mean=np.zeros(2)),
    "a weight is not finite": lambda a, r: a.update(b1=np.full(2, np.nan)),
    "a layer does not fit": lambda a, r: a.update(b1=np.zeros(3)),
    "a layer is missing": lambda a, r: a.pop("b1"),
    "other sizes": lambda a, r: r.update(sizes=[4, 2]),
    "another dtype": lambda a, r: r.update(dtype="float32"),
    "the inputs are missing": lambda a, r: r.pop("shape"),
    "the labels are missing": lambda a, r: r.pop("labels"),
    "about is a list": lambda a, r: r.update(about=[]),
    "weights are integers": lambda a, r: (
        a.update(W1=np.zeros((3, 2), int), b1=np.zeros(2, int)),
        r.update(dtype="<i8"),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_foreign_file_is_refused_in_one_line(change, tmp_path):
    checkpoint.save(tmp_path / "a", *damaged(lambda a, r: None))
    assert load_student(tmp_path / "a").predict(np.ones((1, 3))).tolist() == [0]
    checkpoint.save(tmp_path / "b", *damaged(change))
    with pytest.raises(CheckpointError) as refused:
        load_student(tmp_path / "b")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_cut_file_and_a_pickle_are_refused(tmp_path):
    path = tmp_path / "student"
    Student(network(3, 4), Inputs.of(FEATURES), np.arange(4)).save(path)
    whole = path.read_bytes()
    for data in (whole[:-9], whole[:20], b"", b"\x80\x04K\x01.", json.dumps({"student": 1}).encode()):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            load_student(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_student(tmp_path / "none")
