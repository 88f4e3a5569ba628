"""The student that is taken away answers as it did here: as ONNX, and in ten lines of NumPy."""

import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minikd import export, mnist, runs
from minikd.config import TrainConfig
from minikd.data import load_mnist
from minikd.export import to_onnx
from minikd.train import Network, logits, train

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
CONFIG = TrainConfig(hidden=(30, 20), epochs=1)


@pytest.fixture(scope="module")
def student() -> Network:
    return train(CONFIG, load_mnist()[0].take(range(2000)))


@pytest.fixture(scope="module")
def test_set():
    return load_mnist()[1]


def session(path: Path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="checked against onnxruntime, which is not here")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


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
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs the library onnx: python -m pip install 'minikd\[onnx\]'"):
        to_onnx(student, tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_before_it_trains(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        mnist.main(["--export", "student.pb", "--out", str(tmp_path / "runs")])
    assert stopped.value.code == 2
    assert "must end in .onnx" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_command_exports_the_distilled_student(tmp_path, test_set, capsys):
    pytest.importorskip("onnx")
    train_set = load_mnist()[0]
    for prefix, dataset, n in (("train", train_set, 600), ("t10k", test_set, 200)):
        images = struct.pack(">4I", 0x803, n, 28, 28) + dataset.images[:n].tobytes()
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">2I", 0x801, n) + dataset.labels[:n].tobytes()
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
    out, path = tmp_path / "runs", tmp_path / "student.onnx"
    small = ["--hidden", "20", "--teacher-hidden", "20", "--epochs", "1", "--teacher-epochs", "1", "--quiet"]
    mnist.main([*small, "--data", str(tmp_path), "--out", str(out), "--export", str(path)])
    (saved,) = out.glob("T8-*/seed0/student-distilled.safetensors")
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


def test_the_ten_lines_of_the_readme_answer_as_the_student_does(student, test_set, tmp_path):
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "load_file" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    assert "minikd" not in code
    runs.save_network(tmp_path / "student.safetensors", student, CONFIG)
    np.save(tmp_path / "images.npy", test_set.images[:500])
    code += "\nprint(*predict(np.load('images.npy')))\n"
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert list(map(int, out.split())) == logits(student, test_set)[:500].argmax(axis=-1).tolist()
