"""Your own data: what is read from .npz files and folders, what is said of it, and what is refused in one line."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
from test_idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, idx, refused, write_folder

from minikd.data import npz
from minikd.data.classes import Classes
from minikd.data.load import load_data


def arrays(**changes):
    """Features whose units differ, of three classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4)) * [1, 100, 1e-3, 1] + [0, 5, 1, 7]
    made = {"x_train": x[:40], "y_train": np.arange(40) % 3, "x_test": x[40:], "y_test": np.arange(20) % 3}
    return {name: array for name, array in {**made, **changes}.items() if array is not None}


@pytest.fixture
def saved(tmp_path):
    def save(packed=True, **changes):
        path = tmp_path / "mine.npz"
        (np.savez_compressed if packed else np.savez)(path, **arrays(**changes))
        return path

    return save


def image_arrays(*shape, dtype=np.uint8):
    pixels = np.random.default_rng(1).integers(0, 256, (60, *shape)).astype(dtype)
    pixels = pixels / 255 if dtype is float else pixels
    return {"x_train": pixels[:40], "x_test": pixels[40:]}


# ---- .npz ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_features_are_standardised_by_the_training_part(saved, packed):
    transfer = np.random.default_rng(2).standard_normal((7, 4))
    loaded, given = load_data(saved(packed, x_transfer=transfer)), arrays()
    mean, scale = given["x_train"].mean(axis=0), given["x_train"].std(axis=0)
    for part, x in ((loaded.train, given["x_train"]), (loaded.test, given["x_test"]), (loaded.transfer, transfer)):
        np.testing.assert_allclose(part.windows(np.arange(len(x))), (x - mean) / scale, rtol=1e-5, atol=1e-6)
    assert (loaded.train.labels.tolist(), loaded.test.labels.tolist()) == (
        given["y_train"].tolist(),
        given["y_test"].tolist(),
    )
    assert not loaded.transfer.labelled
    assert {loaded.train.classes, loaded.test.classes, loaded.transfer.classes} == {3}
    assert [part.name for part in loaded[:3]] == ["mine train", "mine test", "mine transfer"]
    assert loaded.labels.tolist() == [0, 1, 2]
    assert loaded.said == ["features (4) are standardised by their means and deviations in the training set"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, float])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_images_grey_and_rgb_are_read(saved, shape, dtype):
    loaded, expected = load_data(saved(**image_arrays(*shape, dtype=dtype))), image_arrays(*shape)
    own = shape[:2] if shape[2:] == (1,) else shape
    np.testing.assert_array_equal(loaded.train.images, expected["x_train"].reshape(40, *own))
    np.testing.assert_array_equal(loaded.test.images, expected["x_test"].reshape(20, *own))
    assert (loaded.inputs.shape, loaded.said, loaded.transfer) == (own, [], None)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1, 2, 3], "labels 1 to 3 became classes 0 to 2"),
        ([-1, 0, 1], "labels -1 to 1 became classes 0 to 2"),
        ([2, 5, 9], "labels 2, 5, 9 became classes 0 to 2, in sorted order"),
        (["cat", "dog", "eel"], "labels 'cat', 'dog', 'eel' became classes 0 to 2, in sorted order"),
        ([b"cat", b"dog", b"eel"], "labels 'cat', 'dog', 'eel' became classes 0 to 2, in sorted order"),
        ([0.0, 1.0, 2.0], ""),
        ([[0], [1], [2]], ""),
        (
            ["a\n\x1b[2J", "b", "c" * 99],
            f"labels 'a\\n\\x1b[2J', 'b', '{'c' * 40}…' became classes 0 to 2, in sorted order",
        ),
    ],
)
def test_labels_of_every_kind_become_classes_and_it_is_said(saved, labels, said):
    own = np.array(labels)
    loaded = load_data(saved(y_train=own[arrays()["y_train"]], y_test=own[arrays()["y_test"]]))
    assert loaded.train.labels.tolist() == arrays()["y_train"].tolist()
    assert loaded.test.labels.tolist() == arrays()["y_test"].tolist()
    assert loaded.said[:-1] == ([said] if said else [])
    words = [one.decode() if isinstance(one, bytes) else one for one in own.reshape(-1).tolist()]
    assert loaded.labels.tolist() == words


def test_labels_that_are_true_or_false_stay_so(saved):
    given = arrays()
    loaded = load_data(saved(y_train=given["y_train"] > 0, y_test=given["y_test"] > 0))
    np.testing.assert_array_equal(loaded.labels, np.array([False, True]), strict=True)
    np.testing.assert_array_equal(loaded.train.labels, given["y_train"] > 0)
    assert [remark for remark in loaded.said if "label" in remark] == []
    mixed = load_data(saved(y_train=given["y_train"] > 0, y_test=given["y_test"] % 2))
    np.testing.assert_array_equal(mixed.test.labels, given["y_test"] % 2)
    refused(lambda: load_data(saved(y_train=given["y_train"] > 9)), "y_train: all labels are False")


def test_many_classes_are_said_in_few_words():
    classes = Classes.of("mine", np.arange(0, 2000, 2))
    assert classes.remark() == "labels 0, 2, 4, …, 1998 became classes 0 to 999, in sorted order"
    np.testing.assert_array_equal(
        classes.numbers("mine", np.array([1998, 0, 600])), np.array([999, 0, 300], np.uint16), strict=True
    )


def test_names_of_classes_stand_in_for_their_labels(saved):
    loaded = load_data(saved(class_names=np.array(["ant", "bee", "cow"])))
    assert loaded.labels.tolist() == ["ant", "bee", "cow"]
    for names in (["ant", "bee"], ["ant", "bee", "bee"], [1, 2, 3]):
        refused(lambda names=names: load_data(saved(class_names=np.array(names))), "class_names", "3 different strings")


def test_arrays_that_are_not_used_are_said(saved):
    loaded = load_data(saved(x_val=np.zeros(3), y_transfer=np.zeros(3), x_transfer=arrays()["x_test"]))
    assert loaded.said[0] == "arrays in the file that are not used: 'x_val', 'y_transfer'"


def test_a_class_without_a_test_example_is_said(saved):
    remark = "the test set has no example of 0, 2, so the errors say nothing about these 2 of 3 classes"
    assert remark in load_data(saved(y_test=np.ones(20, int))).said


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"x_test": None}, ["there is no array x_test", "'x_train', 'y_train', 'y_test'", "numpy.savez"]),
        ({"y_train": None, "y_test": None}, ["there is no array y_train or y_test"]),
        ({"x_train": np.zeros(40)}, ["mine.npz: x_train must be features (N, D), or images", "float64 of shape (40,)"]),
        (
            {"x_train": np.zeros((40, 0))},
            ["x_train must not be empty", "(40, 0)", "give at least 1 number per example"],
        ),
        (
            {"x_train": arrays()["x_train"][:39]},
            ["y_train: every example needs one label, got 39 examples and 40 labels"],
        ),
        ({"x_test": np.zeros((20, 5))}, ["mine.npz: x_test: ", "shape (N, 4)", "(20, 5)"]),
        ({"x_test": np.zeros((20, 4, 4))}, ["mine.npz: x_test: ", "shape (N, 4)", "(20, 4, 4)"]),
        ({"x_transfer": np.zeros((9, 3))}, ["mine.npz: x_transfer: ", "shape (N, 4)", "(9, 3)"]),
        (
            {"x_train": np.full((40, 4), np.nan)},
            ["mine.npz: x_train: ", "features must be finite, got nan in row 0, column 0"],
        ),
        (
            {"x_test": np.full((20, 4), -np.inf)},
            ["mine.npz: x_test: ", "features must be finite, got -inf in row 0, column 0"],
        ),
        ({"x_train": arrays()["x_train"] * 1e305}, ["mine.npz: x_train: ", "too large", "column 0"]),
        ({"x_train": np.ones((40, 4))}, ["mine.npz: x_train: all examples are alike"]),
        ({"x_train": np.zeros((40, 4, 4), np.uint8)}, ["mine.npz: x_train: all examples are alike"]),
        (
            {"x_train": np.linspace(-3, 4, 640).reshape(40, 4, 4)},
            ["mine.npz: x_train: ", "in -3..4", "reshape other features to (N, D)"],
        ),
        (
            {"x_train": image_arrays(4, 4)["x_train"], "x_test": np.full((20, 4, 4), 0.1)},
            ["mine.npz: x_test: images: white is 1"],
        ),
        ({"x_train": np.full((40, 4, 4), np.nan)}, ["mine.npz: x_train: ", "in nan..nan: fill the gaps"]),
        ({"x_train": arrays()["x_train"] * 1j}, ["x_train must hold numbers or strings, got complex128"]),
        (
            {"x_train": np.full((40, 4), "a")},
            ["mine.npz: x_train: features must be numbers, got <U1", "encode categories"],
        ),
        ({"y_train": np.zeros(40, int)}, ["y_train: all labels are 0", "at least 2 classes"]),
        ({"y_train": np.zeros(40, "U1")}, ["y_train: all labels are ''", "at least 2 classes"]),
        ({"y_train": np.linspace(0, 1, 40)}, ["y_train: labels must be whole numbers or strings", "at position 1"]),
        ({"y_train": np.where(np.arange(40) == 3, np.nan, 1)}, ["y_train", "got nan at position 3"]),
        ({"y_train": np.full(40, 2**63, np.uint64)}, ["y_train", "got 9223372036854775808 at position 0"]),
        ({"y_train": np.eye(40)}, ["y_train must have 1 axis", "(40, 40)", "argmax"]),
        ({"y_train": np.arange(40) % 2}, ["y_test: label 2 at position 2 has no example in the training set"]),
        ({"y_test": np.full(20, "a")}, ["y_test: labels are words, but the training set's are numbers"]),
        ({"y_train": np.arange(40) % 3 * np.timedelta64(1)}, ["y_train must hold numbers or strings, got timedelta64"]),
        ({"y_train": np.frombuffer(b"\0\0\x11\0" * 40, "<U1")}, ["y_train: labels hold characters that are not text"]),
        ({"y_train": np.full(40, b"\xff")}, ["y_train: labels are bytes that are not UTF-8"]),
    ],
)
def test_bad_arrays_are_refused_in_one_line(saved, changes, parts):
    refused(lambda: load_data(saved(**changes)), *parts)


@pytest.mark.parametrize(
    ("shape", "parts"),
    [((5, 4, 4), ["(N, rows, cols, 3)", "[..., :3]"]), ((3, 5, 4), ["transpose(0, 2, 3, 1)"])],
)
def test_images_with_other_channels_are_refused_with_a_fix(saved, shape, parts):
    refused(lambda: load_data(saved(**image_arrays(*shape))), "mine.npz: x_train: ", *parts)


def test_too_many_classes_are_taken_for_measurements():
    refused(lambda: Classes.of("y", np.arange(70_000)), "at most 65,536 classes, got 70,000", "measurements")


def test_nothing_is_unpickled(tmp_path, saved):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    objects = np.array([Trap()] * 40, object)
    refused(lambda: load_data(saved(y_train=objects)), "y_train holds Python objects", "save text as y.astype(str)")
    path = tmp_path / "plain.npz"  # a pickle in place of the archive, which numpy.load would read if it were allowed to
    path.write_bytes(pickle.dumps(Trap()))
    refused(lambda: load_data(path), "plain.npz", "not an .npz file")
    assert not (tmp_path / "sprung").exists()


def with_member(path, name, data, packing=zipfile.ZIP_DEFLATED):
    """Replace an array of a good file by these bytes."""
    with zipfile.ZipFile(path, "w", packing) as archive:
        for one, array in arrays().items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{one}.npy", data if one == name else buffer.getvalue())
    return path


def header(text, version=(1, 0)):
    body = text.encode().ljust(118) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(body)) + body


def promise(shape, descr="<f8"):
    return header(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}")


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (promise((10**6, 8)) + bytes(64), ["its header promises 64,000,000 bytes, found only 64"]),
        (promise((10**15, 8)) + bytes(64), ["unpacks to 64,000,000,000,000,000 bytes"]),
        (promise((1, 8)) + bytes(65), ["its header promises 64 bytes, found more"]),
        (promise((1, 8)) + bytes(100_000_000), ["its header promises 64 bytes, found more"]),
        (promise((-1, 8)) + bytes(64), ["must not be empty, got shape (-1, 8)"]),
        (promise((-1, -8)) + bytes(64), ["must not be empty, got shape (-1, -8)"]),
        (promise((2, 2), "<U500000000") + bytes(64), ["unpacks to 8,000,000,000 bytes"]),
        (promise((2, 2), "<U0"), ["must not be empty"]),
        (promise((2, 2), "|V8") + bytes(32), ["must hold numbers or strings, got |V8"]),
        (promise((2,), [("a", "<f8")]) + bytes(16), ["must hold numbers or strings"]),
        (promise((2, 2), "|O") + bytes(32), ["holds Python objects"]),
        (header("__import__('os').abort()"), ["not an .npz file"]),
        (header("[" * 117), ["not an .npz file"]),
        (promise((2, 2))[:50], ["not an .npz file"]),
        (b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b" " * 50_000_000, ["not an .npz file"]),
        (b"\x93NUMPY\3\0" + bytes(200), ["header of version (3, 0)"]),
        (b"\x93NUMPY\7\0" + bytes(200), ["header of version (7, 0)"]),
        (b"", ["not an .npz file"]),
        (b"hello", ["not an .npz file"]),
    ],
)
def test_a_header_that_lies_costs_no_memory_and_runs_no_code(tmp_path, data, parts):
    path = with_member(tmp_path / "lies.npz", "x_train", data)
    data = None
    tracemalloc.start()
    try:
        refused(lambda: load_data(path), "lies.npz", *parts)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_bomb_goes_off_nowhere(tmp_path, monkeypatch):
    """An honest header of an array that is packed a thousandfold, and many of them."""
    monkeypatch.setattr(npz, "LIMIT", 1 << 20)
    data = promise((1 << 10, 1 << 8)) + bytes(1 << 21)
    path = with_member(tmp_path / "bomb.npz", "x_train", data)
    assert path.stat().st_size < 20_000
    refused(
        lambda: load_data(path),
        "x_train unpacks to 2,097,152 bytes, but the arrays of a file may have 1,048,576 in all: ",
    )
    data = promise((1 << 10, 1 << 6)) + bytes(1 << 19)
    monkeypatch.setattr(npz, "LIMIT", (1 << 19) + 100)
    refused(
        lambda: load_data(with_member(path, "x_train", data)),
        "y_train unpacks to",
        "in all, and those before it have 524,288: ",
    )


def test_a_large_array_that_is_packed_a_thousandfold_is_not_unpacked(tmp_path, monkeypatch):
    data = promise((1 << 10, 1 << 10)) + bytes(1 << 23)
    path = with_member(tmp_path / "bomb.npz", "x_train", data)
    refused(lambda: load_data(path), "examples and 40 labels")  # it is small enough to be read
    monkeypatch.setattr(npz, "_LARGE", (1 << 23) - 1)
    refused(lambda: load_data(path), "bytes that unpack to 8,388,608, so its numbers are nearly all alike")


def test_labels_are_judged_before_the_examples_are_read(saved):
    bad = {"x_train": np.zeros((40, 4), complex), "y_train": np.ones(40, int)}
    refused(lambda: load_data(saved(**bad)), "y_train: all labels are 1")
    bad = {"x_train": np.zeros((40, 4), complex), "y_test": np.full(20, 7)}
    refused(lambda: load_data(saved(**bad)), "y_test: label 7 at position 0 has no example")


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_that_can_expand_in_one_step_are_refused(tmp_path, packing):
    refused(lambda: load_data(with_member(tmp_path / "a.npz", "", b"", packing)), "y_train is packed in a way")


def test_every_damage_to_a_file_is_one_line_or_harmless(saved, tmp_path):
    whole, rng = saved().read_bytes(), np.random.default_rng(0)
    expected, bad = load_data(saved()), tmp_path / "bad.npz"
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
        bad.write_bytes(damaged if rng.random() < 0.7 else damaged[: rng.integers(len(whole))])
        try:
            loaded = load_data(bad)
        except ValueError as error:
            assert "bad" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert loaded.train.fingerprint == expected.train.fingerprint


# ---- files and folders -----------------------------------------------------------------------------------------------


def test_a_folder_of_idx_files_is_read_with_its_own_labels(tmp_path):
    write_folder(tmp_path / "letters")
    for name, labels in ((TRAIN_LABELS, [3, 1, 2, 2, 1, 3]), (TEST_LABELS, [2, 1])):
        (tmp_path / "letters" / name).write_bytes(idx(np.array(labels)))
    loaded = load_data(tmp_path / "letters")
    assert (loaded.train.labels.tolist(), loaded.test.labels.tolist()) == ([2, 0, 1, 1, 0, 2], [1, 0])
    assert (loaded.labels.tolist(), loaded.inputs.shape, loaded.train.name) == ([1, 2, 3], (4, 3), "letters train")
    remark = "the test set has no example of 3, so the errors say nothing about this class"
    assert loaded.said == ["labels 1 to 3 became classes 0 to 2", remark]
    images = tmp_path / "letters" / TRAIN_IMAGES
    images.write_bytes(idx(np.full((6, 4, 3), 200, np.uint8)))
    refused(lambda: load_data(tmp_path / "letters"), f"{images}: all examples are alike")
    (tmp_path / "letters" / TEST_IMAGES).unlink()
    refused(lambda: load_data(tmp_path / "letters"), TEST_IMAGES, "no such file")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("nowhere", ["nowhere: does not exist", "give an .npz file"]),
        ("data.csv", ["data.csv: not an .npz file by its name"]),
        ("empty", ["empty: holds no IDX files and no sub-folders"]),
        ("pipe.npz", ["pipe.npz: is not a file or a folder"]),
        ("loop", ["loop: is not a file or a folder"]),
        ("text.npz", ["text.npz", "not an .npz file"]),
        ("nothing.npz", ["no array x_train or y_train or x_test or y_test, the file holds nothing"]),
    ],
)
def test_what_is_no_data_is_refused(tmp_path, name, parts):
    (tmp_path / "data.csv").write_text("1,2\n")
    (tmp_path / "text.npz").write_text("1,2\n")
    np.savez(tmp_path / "nothing.npz")
    (tmp_path / "empty").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
    elif name in ("pipe.npz", "loop"):
        pytest.skip("no pipes here")
    refused(lambda: load_data(tmp_path / name), *parts)
