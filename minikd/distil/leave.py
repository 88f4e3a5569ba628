"""How a student leaves: as an ONNX model, or as one Python file that needs only NumPy; its weights float32 or int8."""

from __future__ import annotations

import base64
import json
import os
from importlib import resources
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.distil.int8 import quantise
from minikd.distil.onnx_model import check_onnx_path, student_to_onnx
from minikd.distil.student import Student
from minikd.system.files import check_writable, write_atomically


def check_export_path(path: str | os.PathLike[str]) -> None:
    """Check before long work that `export_student` can write there.

    Args:
        path: the file, ending in .onnx or .py.

    Raises:
        ValueError: if the name is wrong, the folder cannot be written, or the library onnx is missing or broken.
    """
    if Path(path).suffix == ".onnx":
        check_onnx_path(path)
    elif Path(path).suffix == ".py":
        check_writable(path)
    else:
        raise ValueError(
            f"a student leaves as FILE.onnx or FILE.py, got {os.fspath(path)!r}: choose one of these endings"
        )


def export_student(student: Student, path: str | os.PathLike[str], *, int8: bool = False) -> None:
    """Write a student in the form that the ending of the path names.

    Args:
        student: to write; of a `DistilledClassifier`, its `student_`.
        path: ending in .onnx (`student_to_onnx`) or .py (`student_to_python`).
        int8: whether the weights are rounded to bytes. With 20,000 parameters or more, the file shrinks to about a
            quarter; the smaller it is, the more of it are no weights.

    Raises:
        ValueError: as `check_export_path`, and if it is no student.
    """
    if not isinstance(student, Student):
        raise ValueError(
            f"export_student writes a Student, got {type(student).__name__}: of a DistilledClassifier, give student_"
        )
    check_export_path(path)
    write = student_to_onnx if Path(path).suffix == ".onnx" else student_to_python
    write(student, path, int8=int8)


def student_to_python(student: Student, path: str | os.PathLike[str], *, int8: bool = False) -> None:
    """Write a student as one Python file that needs only NumPy: the whole file or nothing.

    The file has `predict`, `predict_proba` and `logits`, and is a command: `python student.py data.npy`. It computes in
    float32, whatever the network's dtype is.

    Args:
        student: to write.
        path: the file.
        int8: whether the weights are rounded to bytes, as `rounded_to_int8` does.

    Raises:
        OSError: if the file cannot be written.
    """
    code = resources.files("minikd.distil").joinpath("standalone.py").read_text(encoding="utf-8")
    before, _, rest = code.partition("ABOUT = ")
    _, mark, after = rest.partition("# ---- the end of")
    write_atomically(path, f"{before}{_learnt(student, int8)}\n{mark}{after}".encode())


def _learnt(student: Student, int8: bool) -> str:
    """Return the lines that define what was learnt. Whatever comes from the user is a literal in ASCII."""
    mean, scale = (None if one is None else _array(one) for one in (student.inputs.mean, student.inputs.scale))
    lines = [
        f"ABOUT = {json.dumps(student.about)!a}",
        f"LABELS = np.array({student.labels.tolist()!a}, {student.labels.dtype.str!a})",
        f"SHAPE = {tuple(student.inputs.shape)}",
        f"D = {prod(student.inputs.shape)}",
        f"MEAN = {mean}",
        f"SCALE = {scale}",
        "LAYERS = []",
    ]
    for W, b in student.network.layers():
        weights = _array(W.astype(np.float32))
        if int8:
            whole, each = quantise(W)
            weights = f"{_array(whole)} * {_array(each)}"
        lines.append(f"LAYERS.append(({weights}, {_array(b.astype(np.float32))}))")
    return "\n".join(lines) + "\n"


def _array(numbers: NDArray[Any]) -> str:
    """Return a call of `array` in the Python file that gives these numbers."""
    little = np.asarray(numbers, numbers.dtype.newbyteorder("<"), order="C")
    text = base64.b64encode(little.tobytes()).decode()
    lines = [text[i : i + 120] for i in range(0, len(text), 120)]
    wrapped = text if len(text) < 80 else "\n" + "\n".join(lines) + "\n"
    return f'array("{little.dtype.str}", {little.shape}, """{wrapped}""")'
