"""The command with other classes than ten: as many as the labels show, and what it says of them."""

import json

import numpy as np
import pytest
from test_idx import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, idx, write_folder
from test_mnist import refusal

from minikd.commands import mnist

SMALL = ["--hidden", "30", "--teacher-hidden", "40", "--epochs", "4", "--teacher-epochs", "4"]
SMALL += ["--batch-size", "20", "--teacher-batch-size", "20", "--jitter", "0", "--learning-rate", "0.2"]


def spots(n, labels, seed):
    """Images whose bright spot tells the class."""
    own = np.random.default_rng(seed).choice(labels, n)
    images = np.random.default_rng(seed).integers(0, 60, (n, 8, 8), dtype=np.uint8)
    for image, k in zip(images, own, strict=True):
        image.reshape(-1)[k % 64] = image.reshape(-1)[k * 7 % 64] = 255
    return images, own


def write(folder, labels):
    for names, n, seed in (((TRAIN_IMAGES, TRAIN_LABELS), 60 * len(labels), 0), ((TEST_IMAGES, TEST_LABELS), 400, 1)):
        images, own = spots(n, labels, seed)
        write_folder(folder, {names[0]: images})
        (folder / names[1]).write_bytes(idx(own))
    return folder


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (range(2), ""),
        (range(3), ""),
        (range(1, 27), "mnist: labels 1 to 26 became classes 0 to 25\n"),
        ([3, 5, 40], "mnist: labels 3, 5, 40 became classes 0 to 2, in sorted order\n"),
    ],
    ids=["2", "3", "letters", "sparse"],
)
def test_networks_have_the_classes_of_the_labels_and_learn_them(tmp_path, capsys, monkeypatch, labels, said):
    drawn = len(labels) != 3  # figures take longer than training
    if not drawn:
        monkeypatch.setattr(mnist, "draw", lambda *args: None)
    folder = write(tmp_path / "own", list(labels))
    mnist.main([*SMALL, "--data", str(folder), "--out", str(tmp_path / "runs"), "--json", "--quiet"])
    out, err = capsys.readouterr()
    assert err == "".join(f"minikd.{line}" for line in said.splitlines(keepends=True))
    results = json.loads(out)
    for row in results["results"].values():
        assert row["sizes"][-1] == len(labels)
        assert row["errors"][0] < 400 * (1 - 1 / len(labels)) / 2
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.name != "teachers")
    assert len([*run.glob("*.png")]) == (2 if drawn else 0)


def test_a_folder_of_one_class_is_refused_before_anything_is_written(tmp_path, capsys):
    folder = write(tmp_path / "own", [7])
    line = refusal(capsys, "--data", str(folder), "--out", str(tmp_path / "runs"))
    assert "all labels are 7: give examples of at least 2 classes" in line
    assert not (tmp_path / "runs").exists()
