"""Data as people really have them, and as an adversary would make them: each ends in a student or in a clear sentence.

Whoever wrote these cases had not read the code that loads data.
"""

import io
import json
import sys
import zipfile

import numpy as np
import pytest

from minikd.commands.distil import main
from minikd.distil.student import load_student

N = 60
RNG = np.random.default_rng(0)


def blobs(n=N, D=4, K=3, seed=0):
    """Features around one centre per class, and the class of each."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % K
    return 3 * np.eye(K, D)[y] + rng.normal(0, 0.5, (n, D)), y


def arrays(x, y, n=N * 2 // 3, **more):
    """The arrays of an .npz file: the first n examples are for training."""
    return {"x_train": x[:n], "y_train": y[:n], "x_test": x[n:], "y_test": y[n:], **more}


def digits(n=N, K=3, shape=(6, 6)):
    rng = np.random.default_rng(1)
    y = np.arange(n) % K
    x = rng.integers(0, 60, (n, *shape))
    for k in range(K):
        x[y == k, k % shape[0], k // shape[0]] = 255  # one bright pixel tells the class
    return x.astype(np.uint8), y


X, Y = blobs()
IMAGES, CLASSES = digits()


def letters():
    x, y = digits(26 * 4, 26, (8, 8))
    return arrays(x, y + 1, 26 * 3)


def many_classes():
    y = np.tile(np.arange(1001), 3)
    x = np.random.default_rng(0).normal(size=(1001, 16))[y]
    return arrays(x.astype(np.float32), y, 2002)


def one_value(x, value):
    changed = np.array(x, dtype=np.float64)
    changed[5, 1] = value
    return changed


STUDENTS = {
    "one feature": lambda: arrays(np.r_[-np.ones(30), np.ones(30)][np.argsort(RNG.random(N))][:, None], Y % 2),
    "five examples": lambda: {"x_train": X[:3], "y_train": Y[:3], "x_test": X[3:6], "y_test": Y[3:6]},
    "three images": lambda: {f"{a}_{b}": v[:3] for a, v in (("x", IMAGES), ("y", CLASSES)) for b in ("train", "test")},
    "26 letters from 1": letters,
    "1,001 classes": many_classes,
    "labels of text": lambda: arrays(X, np.array(["ant", "bee", "cow"])[Y]),
    "labels in another script": lambda: arrays(X, np.array(["蟻", "пчела", "vaca"])[Y]),
    "labels -1 and 1": lambda: arrays(X, 2 * (Y > 0) - 1),
    "labels far apart": lambda: arrays(X, np.array([3, 17, 10**12])[Y]),
    "labels of bool": lambda: arrays(X, Y > 0),
    "features of bool": lambda: arrays(X > 1, Y),
    "features of huge integers": lambda: arrays((X * 1e17).astype(np.int64), Y),
    "features of 1e30": lambda: arrays(X * 1e30, Y),
    "features of 1e-30": lambda: arrays(X * 1e-30, Y),
    "features of float16": lambda: arrays(X.astype(np.float16), Y),
    "features of uint8": lambda: arrays((X * 20 + 80).astype(np.uint8), Y),
    "a constant column": lambda: arrays(np.c_[X, np.full(N, 7.0)], Y),
    "a column that is constant in training only": lambda: arrays(np.c_[X, np.arange(N) >= 40], Y),
    "columns of the sizes 1e-9 and 1e9": lambda: arrays(X * [1e-9, 1e9, 1, 1], Y),
    "Fortran order": lambda: arrays(np.asfortranarray(X), Y),
    "big-endian": lambda: arrays(X.astype(">f4"), Y.astype(">i4")),
    "images of whole floats up to 255": lambda: arrays(IMAGES.astype(np.float64), CLASSES),
    "images of floats in [0, 1]": lambda: arrays((IMAGES / 255).astype(np.float32), CLASSES),
    "images in colour": lambda: arrays(np.repeat(IMAGES[..., None], 3, axis=-1), CLASSES),
    "images of one pixel": lambda: arrays((120 * CLASSES + 15).astype(np.uint8)[:, None, None], CLASSES),
    "images of one row": lambda: arrays(IMAGES.reshape(N, 1, 36), CLASSES),
    "a class lacks in test": lambda: arrays(X, np.where(np.arange(N) < 40, Y, Y % 2)),
    "a transfer set": lambda: arrays(X, Y, x_transfer=blobs(20, seed=5)[0]),
    "sorted by class": lambda: {
        "x_train": X[np.argsort(Y[:40], kind="stable")],
        "y_train": np.sort(Y[:40]),
        "x_test": X[40:],
        "y_test": Y[40:],
    },
}

SENTENCES = {
    "a feature is nan": (lambda: arrays(one_value(X, np.nan), Y), "nan"),
    "a feature is infinite": (lambda: arrays(one_value(X, np.inf), Y), "inf"),
    "features of text": (lambda: arrays(X.astype(str), Y), "number"),
    "features of complex numbers": (lambda: arrays(X + 1j, Y), "complex"),
    "features of dates": (lambda: arrays(X.astype("datetime64[s]"), Y), "datetime"),
    "a class lacks in training": (lambda: arrays(X, np.where(np.arange(N) >= 40, Y, Y % 2)), "train"),
    "one class only": (lambda: arrays(X, Y * 0), "class"),
    "labels with nan": (lambda: arrays(X, np.where(np.arange(N) == 5, np.nan, Y)), "label|y_train"),
    "labels with fractions": (lambda: arrays(X, Y + np.linspace(0, 0.9, N)), "label|y_train"),
    "labels in columns": (lambda: arrays(X, np.eye(3)[Y]), "argmax"),
    "no examples": (lambda: arrays(X[:0], Y[:0], 0), "empty|no example|at least"),
    "no features": (lambda: arrays(X[:, :0], Y), "empty|shape"),
    "no test part": (lambda: {"x_train": X, "y_train": Y}, "x_test"),
    "other names": (lambda: {"data": X, "target": Y}, "x_train"),
    "more labels than examples": (lambda: arrays(X, Y) | {"y_train": Y}, "60"),
    "test of another width": (lambda: arrays(X, Y) | {"x_test": X[40:, :3]}, "shape"),
    "transfer of another width": (lambda: arrays(X, Y, x_transfer=X[:, :3]), "transfer"),
    "transfer with nan": (lambda: arrays(X, Y, x_transfer=one_value(X, np.nan)), "nan"),
    "images with four colours": (lambda: arrays(np.repeat(IMAGES[..., None], 4, axis=-1), CLASSES), "shape|colour"),
    "images that were standardised": (lambda: arrays(IMAGES / 100 - 1, CLASSES), r"\[0, 1\]"),
    "images of fractions up to 255": (lambda: arrays(IMAGES / 1.7 + 50, CLASSES), "255"),
    "a single number": (lambda: arrays(X, Y) | {"x_train": np.float64(3)}, "shape|features"),
    "videos": (lambda: arrays(np.zeros((N, 2, 6, 6, 3)), Y), "shape"),
    "records": (lambda: arrays(np.zeros(N, [("a", "f4"), ("b", "i4")]), Y), "number|axes|features"),
}


def run(capsys, path, tmp_path, *more):
    """Run the command, and return its status and what it printed."""
    words = [str(path), "--hidden", "6", "--epochs", "2", "--teacher-hidden", "8", "--teacher-epochs", "2", "--quiet"]
    status = 0
    try:
        main([*words, "--out", str(tmp_path / "runs"), "--json", *more])
    except SystemExit as ended:
        status = ended.code
    return (status, *capsys.readouterr())


def refused(outcome, message):
    """Check that the command has said in one line what is wrong, and has printed nothing else."""
    status, out, err = outcome
    assert (status, out) == (2, ""), err
    assert err.startswith("minikd.distil: ")
    assert err.count("\n") == 1
    assert "Error" not in err
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(err)


@pytest.mark.parametrize("name", STUDENTS)
def test_odd_data_end_in_a_student(name, capsys, tmp_path):
    given = STUDENTS[name]()
    np.savez(tmp_path / "data.npz", **given)
    status, out, err = run(capsys, tmp_path / "data.npz", tmp_path)
    assert status == 0, err
    results = json.loads(out)
    student = load_student(results["files"]["student"])
    answers = student.predict(given["x_test"])
    assert set(answers.tolist()) <= set(given["y_train"].tolist())
    q = student.predict_proba(given["x_test"])
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", SENTENCES)
def test_data_that_cannot_be_used_end_in_a_sentence(name, capsys, tmp_path):
    make, message = SENTENCES[name]
    np.savez(tmp_path / "data.npz", **make())
    refused(run(capsys, tmp_path / "data.npz", tmp_path), message)
    assert not (tmp_path / "runs").exists()


# ---- files that lie --------------------------------------------------------------------------------------------------


class Malice:
    def __reduce__(self):
        return sys.exit, (99,)


def test_objects_are_not_unpickled(capsys, tmp_path):
    x = np.array([[Malice()] * 4] * N, dtype=object)
    np.savez(tmp_path / "data.npz", **arrays(x, Y))
    refused(run(capsys, tmp_path / "data.npz", tmp_path), "object|pickle")


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(shape, dtype="<f8"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00v\x00" + text.encode().ljust(117) + b"\n"


GOOD = {name: npy(array) for name, array in arrays(X, Y).items()}


@pytest.mark.parametrize(
    "shape", ["(1000000000000, 4)", "(40, 4000000000)", "(-40, 4)", "(4e9, 4)", "(" + "9" * 30 + ", 4)", "x" * 20]
)
def test_a_header_that_lies_takes_no_memory(shape, capsys, tmp_path):
    npz(tmp_path / "data.npz", **GOOD | {"x_train": header(shape) + bytes(40 * 4 * 8)})
    refused(run(capsys, tmp_path / "data.npz", tmp_path), r"data\.npz")


def test_a_zip_bomb_does_not_go_off(capsys, tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in GOOD.items():
            if name != "x_train":
                file.writestr(f"{name}.npy", data)
        with file.open("x_train.npy", "w", force_zip64=True) as member:
            member.write(header("(40, 20000000)"))  # 6.4 GB
            for _ in range(300):
                member.write(bytes(1 << 20))  # of which 0.3 GB are there
    refused(run(capsys, tmp_path / "data.npz", tmp_path), "x_train")


@pytest.mark.parametrize(
    "content", [b"", b"PK\3\4", b"hello", b"\x93NUMPY\x01\x00", b"PK\5\6" + bytes(18), b"\x80\x04\x95"]
)
def test_a_file_that_is_none_is_refused(content, capsys, tmp_path):
    (tmp_path / "data.npz").write_bytes(content)
    refused(run(capsys, tmp_path / "data.npz", tmp_path), r"data\.npz")


def test_a_file_that_was_cut_short_is_refused(capsys, tmp_path):
    np.savez(tmp_path / "whole.npz", **arrays(X, Y))
    data = (tmp_path / "whole.npz").read_bytes()
    for part in (len(data) // 2, len(data) - 10):
        (tmp_path / "data.npz").write_bytes(data[:part])
        refused(run(capsys, tmp_path / "data.npz", tmp_path), r"data\.npz")


def test_flipped_bytes_are_noticed(capsys, tmp_path):
    np.savez_compressed(tmp_path / "data.npz", **arrays(X, Y))
    data = bytearray((tmp_path / "data.npz").read_bytes())
    data[400:420] = bytes(20)
    (tmp_path / "data.npz").write_bytes(data)
    refused(run(capsys, tmp_path / "data.npz", tmp_path), r"data\.npz")


def test_what_is_not_there_or_no_data_is_refused(capsys, tmp_path):
    refused(run(capsys, tmp_path / "none.npz", tmp_path), r"none\.npz")
    (tmp_path / "empty").mkdir()
    refused(run(capsys, tmp_path / "empty", tmp_path), "empty")
    (tmp_path / "table.csv").write_text("1,2\n")
    refused(run(capsys, tmp_path / "table.csv", tmp_path), r"table\.csv")


# ---- folders of pictures ---------------------------------------------------------------------------------------------


def folder(tmp_path, mode="L", size=(6, 6), ending="png", count=6):
    image = pytest.importorskip("PIL.Image")
    for k, name in enumerate(("ant", "bee")):
        for part, n in (("train", count), ("test", 3)):
            place = tmp_path / "pictures" / part / name
            place.mkdir(parents=True)
            for i in range(n):
                picture = image.new("L", size, 40 + 150 * k + i).convert(mode)
                picture.save(place / f"{i}.{ending}")
    return tmp_path / "pictures"


@pytest.mark.parametrize(("mode", "ending"), [("L", "png"), ("L", "jpg"), ("RGB", "png"), ("RGB", "jpg"), ("P", "png")])
def test_a_folder_of_pictures_ends_in_a_student(mode, ending, capsys, tmp_path):
    status, out, err = run(capsys, folder(tmp_path, mode, ending=ending), tmp_path)
    assert status == 0, err
    assert load_student(json.loads(out)["files"]["student"]).labels.tolist() == ["ant", "bee"]


def test_a_picture_of_another_size_is_refused(capsys, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (7, 6)).save(folder(tmp_path) / "train" / "ant" / "5.png")
    refused(run(capsys, tmp_path / "pictures", tmp_path), r"5\.png")


def test_a_picture_that_is_none_is_refused(capsys, tmp_path):
    (folder(tmp_path) / "train" / "ant" / "5.png").write_bytes(b"<html>not found</html>")
    refused(run(capsys, tmp_path / "pictures", tmp_path), r"5\.png")


def test_a_picture_with_a_huge_header_takes_no_memory(capsys, tmp_path):
    path = folder(tmp_path) / "train" / "ant" / "5.png"
    data = bytearray(path.read_bytes())
    data[16:24] = b"\x00\x00\xf0\x00" * 2  # 61,440 × 61,440 pixels, with a wrong checksum
    path.write_bytes(data)
    refused(run(capsys, tmp_path / "pictures", tmp_path), r"5\.png")
