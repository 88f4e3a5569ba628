"""A student that has left answers as it did here: as ONNX, and as one Python file that needs only NumPy."""

import importlib.util
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import int8
from minikd.commands import export as command
from minikd.data.inputs import Inputs
from minikd.distil.int8 import quantise, rounded_to_int8
from minikd.distil.leave import export_student, student_to_python
from minikd.distil.onnx_model import read_by_onnx, student_to_onnx
from minikd.distil.student import Student
from minikd.training.network import Network

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(50, 3)) * [1.0, 1e-3, 2.0] + [
    0.0,
    5.0,
    1e7,
]  # float32 would round the last to whole numbers
GREY = RNG.integers(0, 256, size=(50, 4, 5)).astype(np.uint8)
RGB = RNG.integers(0, 256, size=(50, 4, 5, 3)).astype(np.uint8)
EXAMPLES = {"features": FEATURES, "grey": GREY, "rgb": RGB, "float grey": (GREY / 255).astype(np.float32)}
NAMES = np.array(['a"b\\', "'''\n\"\"\"", "日本"])


def student_of(x: np.ndarray, dtype: str, hidden: tuple[int, ...] = (9, 6)) -> Student:
    """A student of random weights."""
    inputs = Inputs.of(x)
    sizes = (inputs.size, *hidden, 3)
    network = Network(sizes, RNG.normal(size=sum(D * H + H for D, H in pairwise(sizes))).astype(dtype))
    about = {"T": 4.0, "note": '""" é', "loss": float("nan")}
    return Student(network, inputs, NAMES, about)


def session(path: Path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def imported(path: Path):
    """The Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= 3e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("rounded", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", EXAMPLES)
def test_onnx_takes_examples_as_they_are_and_answers_as_the_student(kind, dtype, rounded, tmp_path):
    pytest.importorskip("onnx")
    x = EXAMPLES[kind]
    student = student_of(x, dtype)
    student_to_onnx(student, tmp_path / "student.onnx", int8=rounded)
    runtime = session(tmp_path / "student.onnx")
    same = rounded_to_int8(student) if rounded else student
    for batch in (x, x[:1]):
        z, q, index = runtime.run(["logits", "probabilities", "label_index"], {runtime.get_inputs()[0].name: batch})
        close(z, same.logits(batch))
        np.testing.assert_allclose(q, same.predict_proba(batch), atol=3e-6)
        assert NAMES[index].tolist() == same.predict(batch).tolist()
    said = runtime.get_modelmeta().custom_metadata_map
    assert json.loads(said["labels"]) == NAMES.tolist()
    assert json.loads(said["about"])["T"] == 4.0


@pytest.mark.parametrize("kind", EXAMPLES)
def test_what_the_onnx_file_reads_is_said(kind, tmp_path):
    pytest.importorskip("onnx")
    student = student_of(EXAMPLES[kind], "float32")
    student_to_onnx(student, tmp_path / "student.onnx")
    one = session(tmp_path / "student.onnx").get_inputs()[0]
    numbers = {"tensor(double)": "float64", "tensor(uint8)": "uint8", "tensor(float)": "float32 in [0, 1]"}[one.type]
    assert read_by_onnx(student.inputs) == f"{one.name}: {numbers}, ({', '.join(map(str, one.shape))})"


@pytest.mark.parametrize("rounded", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", EXAMPLES)
def test_the_python_file_answers_as_the_student(kind, dtype, rounded, tmp_path):
    x = EXAMPLES[kind]
    student = student_of(x, dtype)
    student_to_python(student, tmp_path / "student.py", int8=rounded)
    module = imported(tmp_path / "student.py")
    same = rounded_to_int8(student) if rounded else student
    for batch in (x, x[:1]):
        close(module.logits(batch), same.logits(batch))
        np.testing.assert_allclose(module.predict_proba(batch), same.predict_proba(batch), atol=3e-6)
        assert module.predict(batch).tolist() == same.predict(batch).tolist()
    assert json.loads(module.ABOUT)["note"] == '""" é'


def test_the_python_file_does_not_guess_what_white_is_from_the_batch(tmp_path):
    student = student_of(GREY, "float32")
    student_to_python(student, tmp_path / "images.py")
    module = imported(tmp_path / "images.py")
    dark = np.array([GREY[0] % 2, GREY[1]])  # 0 and 1 as bytes are nearly black, with and without a neighbour
    close(module.logits(dark), student.logits(dark))
    close(module.logits(dark[:1].astype(np.int64)), module.logits(dark)[:1])
    close(module.logits(GREY[..., np.newaxis]), student.logits(GREY))
    standardised = GREY / 127.5 - 1
    for wrong in (GREY / 255 + 1e-4 * (GREY == 255), GREY / 254.9, standardised, GREY.astype(float)):
        with pytest.raises(ValueError, match=r"must be integers in 0\.\.255 or floats in \[0, 1\], got float64 in"):
            module.logits(wrong)
    for wrong, message in (
        (GREY.astype(np.int64) - 1, r"0\.\.255 or .* got int64 in -1\.\."),
        (GREY.astype(np.int64) + 1, r"0\.\.255 or .* got int64 in 1\.\.256"),
        (GREY > 9, "must be numbers, got bool"),
        (GREY[:0], r"got \(0, 4, 5\)"),
        (np.full((1, 4, 5), np.nan), "must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            module.logits(wrong)


def test_the_python_file_takes_features_as_the_student_does(tmp_path):
    student = student_of(FEATURES, "float32")
    student_to_python(student, tmp_path / "features.py")
    module = imported(tmp_path / "features.py")
    assert np.isfinite(module.inputs(FEATURES[:1] + 1e308)).all()
    with pytest.raises(ValueError, match="must be numbers, got <U"):
        module.logits(np.array([["1", "2", "3"]]))


def test_a_student_without_hidden_layers_leaves_too(tmp_path):
    student = student_of(FEATURES, "float32", ())
    student_to_python(student, tmp_path / "a.py")
    close(imported(tmp_path / "a.py").logits(FEATURES), student.logits(FEATURES))


def test_the_python_file_is_a_command_that_needs_only_numpy(tmp_path):
    student = student_of(GREY, "float32")
    student_to_python(student, tmp_path / "student.py")
    code = (tmp_path / "student.py").read_text("utf-8")
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.M)) == {"base64", "sys", "numpy"}
    assert max(map(len, code.splitlines())) <= 200
    np.save(tmp_path / "data.npy", GREY)
    np.save(tmp_path / "wrong.npy", FEATURES)
    np.savez(tmp_path / "several.npz", x=GREY)
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-X", "utf8", "student.py", *words]
        return subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False, encoding="utf-8")

    said = run("data.npy")
    assert said.returncode == 0, said.stderr
    p = student.predict_proba(GREY).max(axis=1)
    shown = [label.replace("\n", "\\n") for label in student.predict(GREY)]
    expected = [f"{label}\t{best:.4f}" for label, best in zip(shown, p, strict=True)]
    assert said.stdout == "".join(line + "\n" for line in expected)
    for words, message in (
        (["wrong.npy"], r"wrong.npy: examples must have the shape \(4, 5\), so x must be \('N', 4, 5\), got \(50, 3\)"),
        (["objects.npy"], "objects.npy: Object arrays cannot be loaded"),
        (["none.npy"], "none.npy: .*No such file"),
        (["several.npz"], r"several.npz: not a \.npy file: write an array with numpy\.save"),
        ([], "usage: python .*student.py data.npy"),
    ):
        said = run(*words)
        assert (said.returncode, said.stderr.count("\n")) == (1, 1), said.stderr
        assert re.search(message, said.stderr)


def test_the_python_file_prints_one_line_per_example_whatever_the_labels_hold(tmp_path, monkeypatch, capsys):
    one = student_of(FEATURES, "float32")
    student = Student(one.network, one.inputs, np.array(["a\nb", "c\td", "é\r"]))
    student_to_python(student, tmp_path / "odd.py")
    np.save(tmp_path / "data.npy", FEATURES)
    monkeypatch.setattr(sys, "argv", ["odd.py", str(tmp_path / "data.npy")])
    imported(tmp_path / "odd.py").main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FEATURES)
    assert {line.split("\t")[0] for line in lines} <= {"a\\nb", "c\\td", "é\\r"}


def test_int8_is_a_quarter_of_float32_and_moves_a_weight_by_half_a_step_at_most(tmp_path):
    pytest.importorskip("onnx")
    x = RNG.normal(size=(20, 100))
    student = student_of(x, "float32", (100,))
    for ending in ("onnx", "py"):
        export_student(student, tmp_path / f"a.{ending}")
        export_student(student, tmp_path / f"b.{ending}", int8=True)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["b.onnx"] < 0.35 * sizes["a.onnx"]
    assert sizes["b.py"] < 0.4 * sizes["a.py"]
    for W, _ in student.network.layers():
        whole, scale = quantise(W)
        assert np.abs(whole).max(axis=0).tolist() == [127] * W.shape[1]
        assert (np.abs(whole * scale - W) <= scale * 0.5001).all()


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"leaves as FILE.onnx or FILE.py, got 'a.txt': choose one"):
        export_student(student_of(FEATURES, "float32"), "a.txt")
    with pytest.raises(ValueError, match="writes a Student, got Network: of a DistilledClassifier, give student_"):
        export_student(student_of(FEATURES, "float32").network, "a.py")
    with pytest.raises(ValueError, match="is not there: make it first"):
        export_student(student_of(FEATURES, "float32"), tmp_path / "no" / "a.py")


@pytest.mark.parametrize("options", [[], ["--int8"]])
def test_the_command_exports_a_student(options, tmp_path, capsys):
    pytest.importorskip("onnx")
    student = student_of(FEATURES, "float32")
    student.save(tmp_path / "student.safetensors")
    for name in ("a.onnx", "a.py"):
        command.main([str(tmp_path / "student.safetensors"), str(tmp_path / name), *options])
    assert capsys.readouterr().out == f"{tmp_path / 'a.onnx'} reads features: float64, (batch, 3)\n"
    same = rounded_to_int8(student) if options else student
    close(imported(tmp_path / "a.py").logits(FEATURES), same.logits(FEATURES))
    close(session(tmp_path / "a.onnx").run(["logits"], {"features": FEATURES})[0], same.logits(FEATURES))


def test_the_benchmark_counts_the_errors_that_int8_adds(monkeypatch):
    pytest.importorskip("onnx")
    student = student_of(GREY, "float32")
    flipped = Student(Network(student.network.sizes, -student.network.flat), student.inputs, NAMES)
    monkeypatch.setattr(int8, "rounded_to_int8", lambda one: flipped)
    y = student.predict(GREY)
    row = int8.measure("made up", lambda hidden, seed: [(student, GREY, y)] * 2, (9, 6), [0, 1])
    wrong = 2 * int(np.sum(flipped.predict(GREY) != y))
    assert wrong > 0
    assert (row["tested"], row["errors"], row["differ"]) == (100, {"float32": [0, 0], "int8": [wrong] * 2}, [wrong] * 2)
    assert (row["loss_percent"], row["two_standard_errors"]) == (wrong, 0)


def test_int8_is_offered_because_it_costs_less_than_a_tenth_of_a_per_cent():
    record = json.loads((Path(__file__).parent.parent / "benchmarks" / "results" / "int8.json").read_text("utf-8"))
    assert record["offered"]
    assert {row["data"] for row in record["rows"]} == {"MNIST", "digits"}
    for row in record["rows"]:
        lost = np.subtract(row["errors"]["int8"], row["errors"]["float32"]) / row["tested"]
        assert 100 * lost.mean() + row["two_standard_errors"] < 0.1


def test_the_sizes_in_the_readme_are_the_measured_ones():
    root = Path(__file__).parent.parent
    readme = " ".join((root / "README.md").read_text("utf-8").split())
    record = json.loads((root / "benchmarks" / "results" / "int8.json").read_text("utf-8"))
    for row in record["rows"]:
        size, small = row["bytes"]["float32.onnx"], row["bytes"]["int8.onnx"]
        if (row["data"], row["hidden"]) == ("digits", [16]):
            assert f"to an ONNX file of {size / 1000:.0f} kB" in readme
            assert f"with 1,210 parameters, shrinks to {small / 1000:.0f} kB" in readme
        else:
            assert size > 4 * 20_000
            assert 0.25 <= small / size < 0.275
    assert "A file of 20,000 parameters or more shrinks to about a quarter" in readme
