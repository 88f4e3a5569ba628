"""The student that is taken away answers as it did here: as ONNX, and in ten lines of NumPy."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minikd.commands import export, mnist
from minikd.data.inputs import Inputs
from minikd.distil.onnx_model import to_onnx
from minikd.distil.student import Student
from minikd.training import runs
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

GUIDE = (Path(__file__).parent.parent / "docs" / "guides" / "command.md").read_text(encoding="utf-8")
CONFIG = TrainConfig(hidden=(30, 20), epochs=1)


@pytest.fixture(scope="module")
def student(mnist_data) -> Network:
    return train(CONFIG, mnist_data[0].take(range(2000)))


@pytest.fixture(scope="module")
def test_set(mnist_data):
    return mnist_data[1]


def session(path: Path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="checked against onnxruntime, which is not here")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_onnxruntime_gives_the_same_logits_and_probabilities(student, test_set, tmp_path):
    pytest.importorskip("onnx")
    to_onnx(student, tmp_path / "student.onnx", {"T": 8.0})
    runtime = session(tmp_path / "student.onnx")
    for images in (test_set.images, test_set.images[:1]):  # any batch
        pixels = images.reshape(len(images), -1).astype(np.float32) / 255
        z, q = runtime.run(["logits", "probabilities"], {"pixels": pixels})
        ours = logits(student, test_set)[: len(images)]
        assert np.linalg.norm(z - ours) < 1e-5 * np.linalg.norm(ours)
        e = np.exp(ours - ours.max(axis=-1, keepdims=True))
        np.testing.assert_allclose(q, e / e.sum(axis=-1, keepdims=True), atol=1e-5)
    said = runtime.get_modelmeta().custom_metadata_map
    assert said["T"] == "8.0"
    assert len(said["weights"]) == 64


def test_a_network_of_float64_is_written_in_float32(tmp_path):
    pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    network = Network((4, 3), rng.normal(size=15))
    to_onnx(network, tmp_path / "a.onnx")
    x = rng.random((5, 4))
    (z,) = session(tmp_path / "a.onnx").run(["logits"], {"pixels": x.astype(np.float32)})
    (W, b), *_ = network.layers()
    np.testing.assert_allclose(z, x @ W + b, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_exported_is_refused(student, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match=r"must end in \.onnx, got 'student.pb'"):
        to_onnx(student, "student.pb")
    with pytest.raises(ValueError, match="is not there: make it first"):
        to_onnx(student, tmp_path / "no" / "student.onnx")
    with pytest.raises(ValueError, match="got a population of 2"):
        to_onnx(Network(student.sizes, np.stack([student.flat] * 2)), tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"onnx/README": ""}, r"needs the library onnx \(.*onnx is not it\): python -m pip install 'minikd\[onnx\]'"),
        ({"onnx.py": "x = 1"}, r"needs the library onnx \(.*onnx\.py is not it\): python -m pip install"),
        (
            {"onnx/__init__.py": "import no_such_library"},
            r"onnx cannot be imported \(ModuleNotFoundError: .*no_such_lib",
        ),
        (
            {"onnx/__init__.py": "raise ImportError('DLL load failed\\nwhile importing')"},
            r"\(ImportError: DLL load failed ",
        ),
        ({"onnx/__init__.py": "None + 1"}, r"onnx cannot be imported \(TypeError: "),
        ({}, r"needs the library onnx: python -m pip install 'minikd\[onnx\]'"),
    ],
    ids=["a folder", "a file", "a part is missing", "broken", "unfit", "none"],
)
def test_an_onnx_that_cannot_be_used_is_refused_before_training(files, message, tmp_path, monkeypatch, capsys):
    for name, text in files.items():
        (tmp_path / "path" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "path" / name).write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path")])  # nothing else: as if the library were not installed
    with pytest.raises(SystemExit) as stopped:
        mnist.main(["--export", str(tmp_path / "student.onnx"), "--out", str(tmp_path / "runs")])
    monkeypatch.undo()
    out, err = capsys.readouterr()
    assert (stopped.value.code, out, err.count("\n")) == (2, "", 1), err
    assert re.search(message, err)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["folder.onnx", "no/student.onnx"])
def test_an_export_that_cannot_be_written_is_refused_before_training(name, tmp_path, capsys):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(SystemExit) as stopped:
        mnist.main(["--export", str(tmp_path / name), "--out", str(tmp_path / "runs")])
    out, err = capsys.readouterr()
    assert (stopped.value.code, out, err.count("\n")) == (2, "", 1), err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_an_export_that_fails_after_training_costs_neither_the_table_nor_the_student(
    small, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("onnx")

    def fail(*arguments, **options):
        raise RuntimeError("no room\nat all")

    monkeypatch.setattr(mnist, "to_onnx", fail)
    with pytest.raises(SystemExit) as stopped:
        mnist.main([*small, "--export", str(tmp_path / "student.onnx")])
    monkeypatch.undo()
    out, err = capsys.readouterr()
    assert stopped.value.code == 1
    assert "student distilled" in out
    assert re.search(
        r"\Aminikd.mnist: the student is not exported \(RuntimeError: no room at all\); it is kept: .+\n\Z", err
    )
    export.main(err.split("python -m minikd.export ")[1].split())  # what the message advises
    assert (tmp_path / "student.onnx").exists()


def test_the_command_refuses_before_it_trains(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        mnist.main(["--export", "student.pb", "--out", str(tmp_path / "runs")])
    assert stopped.value.code == 2
    assert "must end in .onnx" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def small(tmp_path, monkeypatch, mnist_data, test_set) -> list[str]:
    """Options of a run that takes a second."""
    monkeypatch.setattr(mnist, "draw", lambda *args: None)  # the figures would take ten
    train_set = mnist_data[0]
    for prefix, dataset, n in (("train", train_set, 600), ("t10k", test_set, 200)):
        images = struct.pack(">4I", 0x803, n, 28, 28) + dataset.images[:n].tobytes()
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">2I", 0x801, n) + dataset.labels[:n].tobytes()
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
    options = ["--hidden", "20", "--teacher-hidden", "20", "--epochs", "1", "--teacher-epochs", "1", "--quiet"]
    return [*options, "--data", str(tmp_path), "--out", str(tmp_path / "runs")]


@pytest.mark.slow
def test_the_command_exports_the_distilled_student(small, tmp_path, test_set):
    pytest.importorskip("onnx")
    path = tmp_path / "student.onnx"
    mnist.main([*small, "--export", str(path)])
    (saved,) = (tmp_path / "runs").glob("T8-*/seed0/student-distilled.safetensors")
    pixels = test_set.images[:200].reshape(200, -1).astype(np.float32) / 255
    (z,) = session(path).run(["logits"], {"pixels": pixels})
    ours = logits(runs.load_network(saved), test_set.take(range(200)))
    np.testing.assert_allclose(z, ours, rtol=1e-4, atol=1e-4)
    export.main([str(saved), str(tmp_path / "again.onnx")])
    (again,) = session(tmp_path / "again.onnx").run(["logits"], {"pixels": pixels})
    np.testing.assert_array_equal(again, z)


def test_a_file_that_is_no_network_is_refused_in_one_line(tmp_path, capsys):
    pytest.importorskip("onnx")
    with pytest.raises(SystemExit) as stopped:
        export.main([str(tmp_path / "none.safetensors"), str(tmp_path / "a.onnx")])
    assert stopped.value.code == 2
    assert "no such file" in capsys.readouterr().err


def test_the_ten_lines_of_the_guide_answer_as_the_student_does(student, test_set, tmp_path):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.S) if "load_file" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    assert "minikd" not in code
    code += "\nprint(*predict(np.load('new.npy')))\n"

    def answers(x):
        np.save(tmp_path / "new.npy", x)
        line = [sys.executable, "-c", code]
        out = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        return list(map(int, out.split()))

    images = test_set.images[:500]
    expected = logits(student, test_set)[:500].argmax(axis=-1).tolist()
    runs.save_network(tmp_path / "student.safetensors", student, CONFIG, Inputs.of(images))
    assert answers(images) == expected
    names = np.array([f"digit {k}" for k in range(10)])
    Student(student, Inputs.of(images), names).save(tmp_path / "student.safetensors")
    assert answers(images) == expected
    x = images.reshape(500, -1) * 1000.0 - 7
    of_features = Student(student, Inputs.of(x), names)
    of_features.save(tmp_path / "student.safetensors")
    assert names[answers(x)].tolist() == of_features.predict(x).tolist()
    runs.save_network(tmp_path / "student.safetensors", student, CONFIG, Inputs.of(x), names)
    assert names[answers(x)].tolist() == of_features.predict(x).tolist()
    runs.save_network(tmp_path / "student.safetensors", student, CONFIG)  # the file does not say what it reads
    with pytest.raises(subprocess.CalledProcessError):
        answers(images)


def test_a_network_whose_file_does_not_say_what_it_reads_is_not_exported(student, tmp_path, capsys):
    pytest.importorskip("onnx")
    runs.save_network(tmp_path / "bare.safetensors", student, CONFIG)
    for name in ("a.onnx", "a.py"):
        with pytest.raises(SystemExit) as stopped:
            export.main([str(tmp_path / "bare.safetensors"), str(tmp_path / name)])
        assert stopped.value.code == 2
        assert "does not say what its 784 inputs are: use student.safetensors" in capsys.readouterr().err
        assert not (tmp_path / name).exists()
