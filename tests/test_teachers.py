"""Teachers of every kind: what they say of the data reaches the student, and what cannot be is refused in one line."""

import json
import sys

import numpy as np
import pytest

from minikd.core.mlp import parameter_count
from minikd.core.softmax import softmax
from minikd.data.checks import DataError
from minikd.data.inputs import Inputs
from minikd.data.load import Loaded, load_data
from minikd.distil.student import Student
from minikd.distil.teachers import ask, ensemble, open_teachers
from minikd.training.config import TrainConfig
from minikd.training.network import Network
from minikd.training.runs import save_network

K, D, N, M = 3, 4, 40, 30
"""Classes, features, training examples and test examples of the data below."""


def features(seed=0, transfer=0):
    """Data whose class is the largest of the first three features, with inputs in other units than the network's."""
    rng = np.random.default_rng(seed)
    x = {part: rng.normal(5, 3, (n, D)) for part, n in (("train", N), ("test", M), ("transfer", transfer)) if n}
    inputs = Inputs.of(x["train"])
    y = {part: rows[:, :K].argmax(axis=1) for part, rows in x.items()}
    parts = {part: inputs.dataset(x[part], y[part], part, K) for part in ("train", "test")}
    more = inputs.dataset(x["transfer"], None, "transfer", K) if transfer else None
    return x, Loaded(parts["train"], parts["test"], more, inputs, np.array(["ant", "bee", "cow"]), [], x)


def pictures(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (N, *shape)).astype(np.uint8)
    y = np.arange(N) % K
    inputs = Inputs.of(x)
    parts = [
        inputs.dataset(x[index], y[index], name, K) for name, index in (("train", slice(30)), ("test", slice(30, N)))
    ]
    return x, Loaded(*parts, None, inputs, np.arange(K), [], {})


def asked(path, loaded):
    (source,) = open_teachers([path], loaded)
    return ask(source, loaded)


def saved(tmp_path, v):
    np.save(tmp_path / "v.npy", v)
    return tmp_path / "v.npy"


def good(x):
    """The logits of a teacher who knows the rule."""
    return 2 * np.concatenate([x[part][:, :K] for part in ("train", "transfer", "test") if part in x])


# ---- .npy ------------------------------------------------------------------------------------------------------------


def test_rows_are_train_then_transfer_then_test_and_later_parts_may_lack(tmp_path):
    x, loaded = features(transfer=7)
    v = good(x)
    all_of_it = asked(saved(tmp_path, v), loaded).logits
    assert {part: len(rows) for part, rows in all_of_it.items()} == {"train": N, "transfer": 7, "test": M}
    np.testing.assert_allclose(all_of_it["test"], v[-M:], rtol=1e-6)
    np.testing.assert_allclose(all_of_it["transfer"], v[N : N + 7], rtol=1e-6)
    assert set(asked(saved(tmp_path, v[: N + 7]), loaded).logits) == {"train", "transfer"}
    few = asked(saved(tmp_path, v[:N]), loaded)
    assert set(few.logits) == {"train"}
    assert few.said == ["v.npy: logits for train; none for transfer and test"]
    assert few.doubts == []


def test_without_a_transfer_set_test_follows_train(tmp_path):
    x, loaded = features()
    assert list(asked(saved(tmp_path, good(x)), loaded).logits) == ["train", "test"]


@pytest.mark.parametrize("change", [np.asfortranarray, lambda v: v.astype(">f8"), lambda v: v.astype(np.float16)])
def test_layout_and_byte_order_do_not_matter(tmp_path, change):
    x, loaded = features()
    v = good(x)
    np.testing.assert_allclose(asked(saved(tmp_path, change(v)), loaded).logits["train"], v[:N], rtol=1e-2, atol=1e-2)


def shuffled(v):
    return v[np.random.default_rng(3).permutation(len(v))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:-1], r"as many rows as the data, 40 \(train\) or 70 \(train \+ test\), got 69: the rows must be"),
        (
            lambda v: v[:, :2],
            r"one column per class, \(N, 3\), got shape \(70, 2\): the teacher has 2 classes, the data 3",
        ),
        (lambda v: v.T, r"one column per class, \(N, 3\), got shape \(3, 70\): transpose them"),
        (lambda v: v.argmax(axis=1), r"must be \(N, 3\), got shape \(70,\): save the teacher's logits of all classes"),
        (lambda v: v[:, :1], r"not the class or one score"),
        (lambda v: np.where(v > 15, np.nan, v), r"must be finite, got nan in row \d+ of train"),
        (lambda v: np.where(v > 15, -np.inf, v), r"got -inf in row \d+ of train: raise log-probabilities"),
        (lambda v: v * 1e60, "must be finite"),
        (lambda v: v.astype(str), "it holds <U32, not numbers"),
        (lambda v: v.astype(complex), "it holds complex128, not numbers"),
        (lambda v: np.eye(K)[v.argmax(axis=1)], "must say more than 0 and 1"),
        (np.zeros_like, "it says the same of every example: it has nothing to teach"),
        (lambda v: np.tile([3.0, 1.0, -2.0], (len(v), 1)), "it says the same of every example"),
        (lambda v: np.tile(np.arange(len(v))[:, None], K), "it says the same of every example"),
    ],
)
def test_what_cannot_be_logits_is_refused_in_one_line(tmp_path, change, message):
    x, loaded = features()
    with pytest.raises(ValueError, match=message) as caught:
        asked(saved(tmp_path, change(good(x))), loaded)
    assert "\n" not in str(caught.value)
    assert "v.npy" in str(caught.value) or "0 and 1" in str(caught.value)


class Malice:
    def __reduce__(self):
        return sys.exit, (99,)


def test_nothing_is_unpickled(tmp_path):
    _, loaded = features()
    np.save(tmp_path / "v.npy", np.array([[Malice()] * K] * N, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not of Python objects"):
        open_teachers([tmp_path / "v.npy"], loaded)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000, 3), }".ljust(127)
        + b"\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (-4, 3), }".ljust(127) + b"\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (9"
        + b"9" * 40
        + b", 3), }"
        + b" " * 20,
        b"\x93NUMPY\x01\x00v\x00" + b"(" * 118,
    ],
)
def test_a_damaged_or_lying_file_is_refused_and_takes_no_memory(tmp_path, content):
    _, loaded = features()
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"v\.npy: (not a \.npy file|damaged)") as caught:
        open_teachers([tmp_path / "v.npy"], loaded)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["v.pt", "v", "v.npz", "v.npy"])
def test_another_kind_of_file_or_none_is_refused(tmp_path, name):
    _, loaded = features()
    with pytest.raises(DataError, match=r"ends in \.npy, \.onnx, \.safetensors|No such file"):
        open_teachers([tmp_path / name], loaded)


# ---- probabilities, and doubts ---------------------------------------------------------------------------------------


def test_probabilities_become_logits_and_it_is_said(tmp_path):
    x, loaded = features()
    p = softmax(good(x))
    answers = asked(saved(tmp_path, p), loaded)
    assert "its rows are probabilities, so their logarithms are taken as logits" in answers.said[-1]
    np.testing.assert_allclose(softmax(answers.logits["train"]), p[:N], atol=1e-6)


def test_rounded_probabilities_with_zeros_become_finite_logits(tmp_path):
    x, loaded = features()
    answers = asked(saved(tmp_path, softmax(good(x)).round(2)), loaded)
    low = min(float(v.min()) for v in answers.logits.values())
    assert low == pytest.approx(np.log(0.005))


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_percentages_are_probabilities_and_it_is_said(tmp_path, digits):
    x, loaded = features()
    p = (100 * softmax(good(x) / 4)).round(digits)
    answers, expected = (asked(saved(tmp_path, each), loaded) for each in (p, p / 100))
    assert answers.said[1] == "v.npy: its rows are percentages, so they are divided by 100"
    assert answers.said[2:] == expected.said[1:] != []
    np.testing.assert_allclose(answers.logits["train"], expected.logits["train"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_counts_of_votes_are_divided_by_their_number_and_it_is_said(tmp_path, dtype):
    x, loaded = features()
    votes = np.random.default_rng(0).multinomial(50, softmax(good(x))).astype(dtype)
    answers, expected = (asked(saved(tmp_path, each), loaded) for each in (votes, votes / 50))
    assert answers.said[1] == "v.npy: its rows are counts of 50 votes, so they are divided by 50"
    assert answers.said[2:] == expected.said[1:] != []
    np.testing.assert_allclose(answers.logits["train"], expected.logits["train"], rtol=1e-5, atol=1e-6)


def test_logits_that_are_the_same_number_for_one_class_are_no_votes(tmp_path):
    x, loaded = features()
    assert len(asked(saved(tmp_path, 4 * np.eye(K)[good(x).argmax(axis=1)]), loaded).said) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda p: np.where(p == p.min(axis=1, keepdims=True), 0, p),  # the top two
        lambda p: (p * 0.98).round(1),
        lambda p: p / (p + 0.3),  # a sigmoid for each class
    ],
)
def test_rows_that_look_like_incomplete_probabilities_are_doubted(tmp_path, change):
    x, loaded = features()
    p = softmax(good(x) / 4)
    (doubt,) = asked(saved(tmp_path, change(p)), loaded).doubts
    assert "in [0, 1], but the rows do not sum to 1: these look like incomplete probabilities" in doubt
    assert "docs/guides/probabilities.md" in doubt
    assert asked(saved(tmp_path, p), loaded).doubts == []


def test_log_probabilities_serve_as_they_are_and_it_is_said(tmp_path):
    x, loaded = features()
    log_p = np.log(softmax(good(x)))
    answers = asked(saved(tmp_path, log_p), loaded)
    assert "log-probabilities" in answers.said[-1]
    np.testing.assert_allclose(answers.logits["train"], log_p[:N], rtol=1e-5)


def test_logits_are_taken_for_neither(tmp_path):
    x, loaded = features()
    assert len(asked(saved(tmp_path, good(x)), loaded).said) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shuffled, r"only \d.* % of its answers for train agree with the labels, which is chance: are its rows in the"),
        (
            lambda v: v[:, [1, 2, 0]],
            r"column 0 seems to be class bee, column 1 class cow, column 2 class ant, so put the columns in the order "
            "of the sorted labels",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_the_labels_is_doubted(tmp_path, change, message):
    x, loaded = features()
    doubts = asked(saved(tmp_path, change(good(x))), loaded).doubts
    assert len(doubts) == 2  # of train and test
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(doubts[0])


def test_a_diverged_teacher_is_doubted(tmp_path):
    x, loaded = features()
    doubts = asked(saved(tmp_path, 1e25 * good(x)), loaded).doubts
    assert len(doubts) == 2
    assert "nats, which is absurd: did it diverge?" in doubts[0]


def test_a_mediocre_teacher_is_not_doubted(tmp_path):
    x, loaded = features()
    v = good(x) + np.random.default_rng(0).normal(0, 6, (N + M, K))
    right = (v[:N].argmax(axis=1) == loaded.train.labels).mean()
    assert 0.5 < right < 0.9
    assert asked(saved(tmp_path, v), loaded).doubts == []


# ---- networks of minikd ----------------------------------------------------------------------------------------------


def network(sizes, seed=0):
    return Network(sizes, np.random.default_rng(seed).normal(size=parameter_count(sizes)).astype(np.float32))


def test_a_student_as_a_teacher_reads_its_own_units_and_its_classes_find_their_columns(tmp_path):
    x, loaded = features()
    teacher = Student(network((D, 5, K)), Inputs.of(x["test"]), np.array(["cow", "ant", "bee"]))
    teacher.save(tmp_path / "t.safetensors")
    v = asked(tmp_path / "t.safetensors", loaded).logits
    np.testing.assert_allclose(v["train"], teacher.logits(x["train"])[:, [1, 2, 0]], rtol=1e-4, atol=1e-4)


def test_a_network_of_minikd_mnist_teaches_images(tmp_path):
    x, loaded = pictures((4, 4))
    own = network((16, K))
    config = TrainConfig(hidden=(1,), epochs=1)
    trained = Network(own.sizes, own.flat, [{"epoch": 1}])
    save_network(tmp_path / "t.safetensors", trained, config, Inputs.of(x))
    v = asked(tmp_path / "t.safetensors", loaded).logits
    (W, b), *_ = own.layers()
    np.testing.assert_allclose(v["train"], x[:30].reshape(30, -1) / 255 @ W + b, rtol=1e-4, atol=1e-4)
    save_network(tmp_path / "t.safetensors", trained, config)
    with pytest.raises(ValueError, match="it does not say what its 16 inputs are"):
        open_teachers([tmp_path / "t.safetensors"], loaded)


@pytest.mark.parametrize(
    ("sizes", "labels", "message"),
    [
        ((D + 1, K), None, r"reads examples of shape \(5,\), but those of the data have \(4,\)"),
        ((D, K + 1), None, "knows 4 classes, but the data have 3"),
        ((D, K), ["x", "y", "z"], "the network's classes are x, y, z, …, but the data's are ant, bee, cow"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(tmp_path, sizes, labels, message):
    _, loaded = features()
    inputs = Inputs.of(np.random.default_rng(0).normal(size=(5, sizes[0])))
    names = np.array(labels) if labels else np.arange(sizes[-1])
    Student(network(sizes), inputs, names).save(tmp_path / "t.safetensors")
    with pytest.raises(DataError, match=message):
        open_teachers([tmp_path / "t.safetensors"], loaded)


# ---- ONNX ------------------------------------------------------------------------------------------------------------


def onnx_model(path, shape, output="logits", *, dtype="FLOAT", extra=(), classes=K, softmaxed=False, thresholds=None):
    """A model that flattens its input, or whether it is below thresholds, and multiplies it by W; returns W."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    h, kind = onnx.helper, getattr(onnx.TensorProto, dtype)
    size = int(np.prod([side if isinstance(side, int) else D for side in shape[1:]]))
    W = np.random.default_rng(1).normal(size=(size, classes)).astype(np.float32)
    to = onnx.TensorProto.FLOAT
    nodes = [h.make_node("Cast", ["x"], ["f"], to=to), h.make_node("Flatten", ["f"], ["flat"])]
    weights = [onnx.numpy_helper.from_array(W, "W")]
    if thresholds is not None:
        nodes[0] = h.make_node("Cast", ["below"], ["f"], to=to)
        nodes.insert(0, h.make_node("Less", ["x", "thresholds"], ["below"]))
        weights.append(onnx.numpy_helper.from_array(thresholds, "thresholds"))
    nodes.append(h.make_node("MatMul", ["flat", "W"], ["z"]))
    nodes.append(h.make_node("Softmax" if softmaxed else "Identity", ["z"], [output]))
    inputs = [h.make_tensor_value_info("x", kind, shape)]
    inputs += [h.make_tensor_value_info(name, to, [1]) for name in extra]
    outputs = [h.make_tensor_value_info(output, to, [None, classes])]
    if extra:
        nodes.append(h.make_node("Identity", list(extra), ["unused"]))
        outputs.append(h.make_tensor_value_info("unused", to, [1]))
    graph = h.make_graph(nodes, "teacher", inputs, outputs, weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return W


@pytest.mark.parametrize("shape", [["n", D], [None, "d"], [1, D], [16, D]])
@pytest.mark.parametrize("dtype", ["FLOAT", "DOUBLE"])
def test_an_onnx_model_reads_features_in_their_own_units_whatever_its_batch(tmp_path, shape, dtype):
    x, loaded = features()
    W = onnx_model(tmp_path / "t.onnx", shape, dtype=dtype)
    answers = asked(tmp_path / "t.onnx", loaded)
    np.testing.assert_allclose(answers.logits["train"], x["train"] @ W, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(answers.logits["test"], x["test"] @ W, rtol=1e-3, atol=1e-4)
    assert answers.said == ["t.onnx: asked through its input 'x'; its output 'logits' is taken"]


@pytest.mark.parametrize("dtype", ["FLOAT", "DOUBLE"])
def test_an_onnx_model_sees_the_very_bits_of_the_features_so_no_threshold_flips(tmp_path, dtype):
    x, _ = features()
    y = {part: rows[:, :K].argmax(axis=1) for part, rows in x.items()}
    arrays = {f"{name}_{part}": of[part] for name, of in (("x", x), ("y", y)) for part in ("train", "test")}
    np.savez(tmp_path / "data.npz", **arrays)
    thresholds = np.median(x["train"][1:], axis=0).astype(np.float32 if dtype == "FLOAT" else np.float64)
    W = onnx_model(tmp_path / "t.onnx", ["n", D], dtype=dtype, thresholds=thresholds)
    v = asked(tmp_path / "t.onnx", load_data(tmp_path / "data.npz")).logits["train"]
    assert (x["train"].astype(thresholds.dtype) == thresholds).any()
    np.testing.assert_allclose(v, (x["train"].astype(thresholds.dtype) < thresholds) @ W, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["FLOAT", "UINT8"])
@pytest.mark.parametrize(
    ("own", "wanted", "order"),
    [
        ((4, 5), ["n", 20], None),
        ((4, 5), ["n", 4, 5], None),
        ((4, 5), ["n", 1, 4, 5], None),
        ((4, 5), [7, 4, 5, 1], None),
        ((4, 5, 3), ["n", 3, 4, 5], (0, 3, 1, 2)),
        ((4, 5, 3), ["n", 4, 5, 3], None),
        ((4, 5, 3), ["n", 60], None),
    ],
)
def test_an_onnx_model_gets_images_in_the_shape_that_it_wants(tmp_path, own, wanted, order, dtype):
    x, loaded = pictures(own)
    W = onnx_model(tmp_path / "t.onnx", wanted, dtype=dtype)
    v = asked(tmp_path / "t.onnx", loaded).logits["train"]
    pixels = (x if order is None else x.transpose(order))[:30].reshape(30, -1) / (255 if dtype == "FLOAT" else 1)
    np.testing.assert_allclose(v, pixels @ W, rtol=1e-3, atol=1e-3)


def test_probabilities_of_an_onnx_model_become_logits(tmp_path):
    x, loaded = features()
    W = onnx_model(tmp_path / "t.onnx", ["n", D], "probabilities", softmaxed=True)
    answers = asked(tmp_path / "t.onnx", loaded)
    assert "its rows are probabilities" in answers.said[-1]
    expected = softmax(x["train"] @ W.astype(np.float64))
    np.testing.assert_allclose(softmax(answers.logits["train"]), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"shape": ["n", D + 1]},
            r"its input 'x' is \(n, 5\), but the data fit \(N, 4\): choose its features, or use a",
        ),
        ({"shape": ["n", 1, 2, 2]}, r"is \(n, 1, 2, 2\), but the data fit \(N, 4\): export it with a reshaped input"),
        ({"shape": ["n", D], "dtype": "INT64"}, r"must be float, got tensor\(int64\)"),
        ({"shape": ["n", D], "dtype": "UINT8"}, r"must be float, got tensor\(uint8\)"),
        ({"shape": ["n", D], "extra": ["mask"]}, r"must have one input, got 2 \(x, mask\)"),
        ({"shape": ["n", D], "classes": K + 1}, "the model has 4 classes, the data 3: use a teacher of these classes"),
        ({"shape": ["n", D], "classes": 1}, r"an output must be float \(N, 3\) and finite, got logits"),
    ],
)
def test_an_onnx_model_that_does_not_fit_is_refused_before_work(tmp_path, options, message):
    _, loaded = features()
    onnx_model(tmp_path / "t.onnx", **options)
    with pytest.raises(DataError, match=message):
        open_teachers([tmp_path / "t.onnx"], loaded)


def test_a_damaged_onnx_file_and_a_missing_runtime_are_said_in_one_line(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    _, loaded = features()
    (tmp_path / "t.onnx").write_bytes(b"no model")
    with pytest.raises(DataError, match=r"t\.onnx: not a model that onnxruntime can load") as caught:
        open_teachers([tmp_path / "t.onnx"], loaded)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DataError, match="needs onnxruntime: python -m pip install onnxruntime"):
        open_teachers([tmp_path / "t.onnx"], loaded)


# ---- ensembles -------------------------------------------------------------------------------------------------------


def test_two_teachers_teach_together_by_either_mean(tmp_path):
    x, loaded = features()
    v = np.stack([good(x), good(x) + np.random.default_rng(0).normal(0, 2, (N + M, K))])
    np.save(tmp_path / "a.npy", v[0])
    np.save(tmp_path / "b.npy", v[1][:N])  # does not know the test part
    answers = [ask(source, loaded) for source in open_teachers([tmp_path / "a.npy", tmp_path / "b.npy"], loaded)]
    geometric = ensemble(answers)
    assert list(geometric.logits) == ["train"]
    np.testing.assert_allclose(geometric.logits["train"], v[:, :N].mean(axis=0), rtol=1e-4, atol=1e-4)
    assert geometric.T is None
    arithmetic = ensemble(answers, "arithmetic", T=3.0)
    assert arithmetic.T == 3.0
    expected = softmax(v[:, :N], T=3.0).mean(axis=0)
    np.testing.assert_allclose(softmax(arithmetic.logits["train"], T=3.0), expected, atol=1e-5)
    assert json.dumps(arithmetic.said)
    with pytest.raises(ValueError, match="holds at one temperature"):
        ensemble(answers, "arithmetic")


def test_doubts_need_no_table_of_all_pairs_of_classes(tmp_path):
    most = 65_536  # such a table would have 34 GB
    x = np.random.default_rng(0).normal(size=(2, D))
    inputs = Inputs.of(x)
    one = inputs.dataset(x, np.array([5, 60_000]), "few", most)
    v = np.zeros((4, most), np.float32)
    v[[0, 1, 2, 3], [60_000, 5, 60_000, 5]] = 9
    answers = asked(saved(tmp_path, v), Loaded(one, one, None, inputs, np.arange(most), [], {}))
    assert "column 5 seems to be class 60000, column 60000 class 5, so put" in answers.doubts[0]
