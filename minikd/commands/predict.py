"""Name the class of images or features with a student that `minikd distil` saved.

examples:
  minikd predict student.safetensors photo.png      one image
  minikd predict student.safetensors photos/        every PNG and JPEG file in a folder
  minikd predict student.safetensors features.csv   one example per line, commas between the numbers
  minikd predict student.safetensors examples.npy   features (N, D) or images, as the student learnt from

Each line of the answer is the name of a file or the number of a row (from 0), the class, and its probability, with tabs
between them. The first line of a .csv file is a header if none of its cells is a number; it is no row. A tab or a line
break in a name is written as in Python: \\t, \\n.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.commands.work import ending_in_one_line, place
from minikd.data.checks import DataError, to_fit
from minikd.data.pictures import SUFFIXES, named, read_picture
from minikd.distil.student import Student, load_student
from minikd.system.arrays import read_csv, read_npy
from minikd.system.cli import Parser, reason
from minikd.system.console import fit


def read_examples(path: Path, student: Student) -> tuple[list[str], NDArray[Any]]:
    """Return the names of examples, and the examples as the student takes them.

    Args:
        path: an image, a folder of images, or a .npy or .csv file.
        student: who reads them.

    Raises:
        ValueError: if there is nothing that this student can read. The message names the file.
        OSError: if a file cannot be read.
    """
    kind, shape = path.suffix.lower(), student.inputs.shape
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            inner = sorted(one.name for one in path.iterdir() if one.is_dir())
            fix = f"name one of its sub-folders, such as {path / inner[0]}" if inner else "put PNG or JPEG files there"
            raise DataError(f"{path}: no image in this folder: {fix}")
        return [file.name for file in files], _images(files, shape)
    if kind in SUFFIXES:
        return [path.name], _images([path], shape)
    if kind not in (".npy", ".csv"):
        rule = "what to predict must be an image, a folder of images, a .npy file or a .csv file"
        raise DataError(f"{rule}, got {str(path)!r}: convert it")
    x = read_npy(path) if kind == ".npy" else read_csv(path)
    if x.shape == shape:
        x = x[np.newaxis]  # a single example
    if x.shape[1:] != shape or len(x) == 0:
        want = ", ".join(map(str, ("N", *shape)))
        fix = to_fit(x.shape, shape)
        raise DataError(f"{path}: the student reads examples of shape ({want}), got {x.shape}: {fix}")
    return [str(row) for row in range(len(x))], x


def _images(files: Sequence[Path], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return images of the student's size, (N, rows, cols) or (N, rows, cols, 3)."""
    if len(shape) == 1:
        raise DataError(f"{files[0]}: this student reads {shape[0]} features, not images: give a .npy or .csv file")
    return np.stack([read_picture(file, shape) for file in files])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the class and its probability for each example."""
    parser = Parser("predict", __doc__)
    parser.add_argument("student", type=place, help="the .safetensors file of a student")
    about = "an image, a folder of images, or a .npy or .csv file with one example per row"
    parser.add_argument("input", type=place, metavar="INPUT", help=about)
    about = "print a list in JSON, with the probability of every class"
    parser.add_argument("--json", action="store_true", help=about)
    args = parser.parse_args(argv)
    with ending_in_one_line(parser):
        student = load_student(args.student)
        try:
            names, x = read_examples(args.input, student)
        except OSError as error:
            raise DataError(f"{reason(error)}: check the path and its permissions") from None
        q = student.predict_proba(x)  # (N, K)
    chosen, labels = q.argmax(axis=-1).tolist(), student.labels.tolist()
    if not args.json:
        for name, k, row in zip(names, chosen, q, strict=True):
            print(fit(f"{named(name)}\t{named(labels[k])}\t{row[k]:.4f}"))
        return
    answers = [
        {
            "name": name,
            "class": labels[k],
            "probability": float(row[k]),
            "probabilities": {str(label): float(one) for label, one in zip(labels, row, strict=True)},
        }
        for name, k, row in zip(names, chosen, q, strict=True)
    ]
    print(json.dumps(answers, indent=1))
