"""Write a student as ONNX, which runtimes on phones, in browsers and in databases read, or as one Python file.

examples:
  python -m minikd.export runs/RUN/student.safetensors student.onnx
  python -m minikd.export student.safetensors student.py     this file needs only NumPy
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minikd.distil.leave import check_export_path, export_student
from minikd.distil.onnx_model import read_by_onnx, to_onnx
from minikd.distil.student import load_student
from minikd.system.cli import Parser, reason
from minikd.system.console import fit
from minikd.training import checkpoint


def main(argv: Sequence[str] | None = None) -> None:
    """Turn a student, or a network that a run saved, into a file that needs no minikd."""
    parser = Parser("export", __doc__)
    parser.add_argument("network", help="a .safetensors file: a student, or a network from a run folder")
    parser.add_argument("file", help="the file to write, ending in .onnx or .py")
    parser.add_argument("--int8", action="store_true", help="round the weights to bytes: a quarter of a large file")
    args = parser.parse_args(argv)
    try:
        check_export_path(args.file)
        _, record = checkpoint.load(args.network)
        student = load_student(args.network)
        if "labels" in record or args.int8 or Path(args.file).suffix == ".py":
            export_student(student, args.file, int8=args.int8)
            if Path(args.file).suffix == ".onnx":
                print(fit(f"{args.file} reads {read_by_onnx(student.inputs)}"))
        else:  # a network of `minikd mnist`: the model takes pixels, as that of its own --export
            to_onnx(student.network, args.file)
    except ValueError as error:  # CheckpointError is one
        parser.fail(str(error))
    except OSError as error:
        parser.fail(reason(error))
