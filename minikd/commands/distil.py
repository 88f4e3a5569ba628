"""Distil your own: a small network learns your data from a large teacher, and leaves for wherever you need it.

DATA is an .npz file with the arrays x_train, y_train, x_test and y_test, and x_transfer if you have examples without
labels; or a folder with the four IDX files; or a folder with one sub-folder of PNG or JPEG files per class. Examples
are features (N, D), or images (N, rows, columns) or (N, rows, columns, 3). If the teacher answers x_transfer, the
student learns from the examples of x_train and x_transfer by the teacher's answers only: alpha is 1, because one alpha
holds for all examples, and y_train is not used.

The teacher is what you have: its logits in a .npy file, one row per example, in the order of the data: the rows of
train, then those of x_transfer (if there is one), then those of test; later parts may be left out. In a folder of
pictures, the rows come by class folder, then by file name, both sorted; without a folder test, the last fifth of each
class is the test part. Or the teacher is an ONNX model, or a network of minikd. Several files are an ensemble. Without
--teacher the command trains a larger network first.

examples:
  minikd distil data.npz                              train a teacher, and distil it
  minikd distil data.npz --teacher logits.npy         distil your own teacher
  minikd distil data.npz --teacher a.onnx b.onnx      distil an ensemble
  minikd distil photos/ --hidden 30,30 --search       a tiny student, with T and learning rate searched for
  minikd distil data.npz --export student.onnx student.py
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from minikd.commands.work import ending_in_one_line, place
from minikd.distil.api import Auto
from minikd.distil.choices import WIDER
from minikd.distil.job import Distillation, Request
from minikd.distil.leave import check_export_path, export_student
from minikd.distil.onnx_model import read_by_onnx
from minikd.distil.report import words
from minikd.distil.student import Student
from minikd.distil.teachers import MEANS
from minikd.system.cli import Parser, numbers, reason
from minikd.system.console import fit
from minikd.system.files import check_writable
from minikd.training.config import TrainConfig


def number_or_auto(text: str) -> float | Auto:
    """Return a number, or "auto"."""
    try:
        return "auto" if text == "auto" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number or auto, got {text!r}") from None


def build_parser() -> Parser:
    """Return the options."""
    parser = Parser("distil", __doc__)
    parser.add_argument("data", type=place, metavar="DATA", help="an .npz file, or a folder: see above")
    add = parser.add_argument_group("the teacher").add_argument
    about = ".npy (logits or probabilities), .onnx or .safetensors; several are an ensemble"
    add("--teacher", type=place, nargs="+", default=[], metavar="FILE", help=about)
    about = "of an ensemble: the mean of logits, or of probabilities, which holds at one T [geometric]"
    add("--mean", choices=MEANS, default=MEANS[0], help=about)
    about = f"units of the teacher that the command trains [{WIDER} times the student's]"
    add("--teacher-hidden", type=numbers(int), metavar="H,H", help=about)
    add("--teacher-epochs", type=int, metavar="N", help="passes of this teacher over the training part [by its size]")

    add = parser.add_argument_group("the student").add_argument
    add("--hidden", type=numbers(int), default=(300, 300), metavar="H,H", help="units of each hidden layer [300,300]")
    about = "the temperature, > 0, or auto: by the teacher's logits and the student's width [auto]"
    add("--T", type=number_or_auto, default="auto", metavar="T", help=about)
    about = "the weight of the soft targets, > 0 to 1, or auto; the labels get the rest [auto]"
    add("--alpha", type=number_or_auto, default="auto", metavar="A", help=about)
    add("--search", action="store_true", help="search for T and the learning rate on held-out training examples")
    add("--epochs", type=int, metavar="N", help="passes over the training part [by its size]")
    add("--learning-rate", type=float, metavar="R", help="the peak of the learning rate [by the size of the data]")
    add("--seed", type=int, default=0, metavar="S", help="of weights, order and dropout [0]")
    about = "train on the GPU with CuPy"
    add("--gpu", dest="device", action="store_const", const="gpu", default="cpu", help=about)

    add = parser.add_argument_group("results").add_argument
    add("--out", type=place, default=Path("runs"), metavar="DIR", help="where run folders and teachers are kept [runs]")
    add("--resume", action="store_true", help="resume the latest run with these settings in --out")
    about = "write the distilled student there: .onnx, .py (needs only NumPy) or .safetensors"
    add("--export", nargs="+", default=[], metavar="FILE", help=about)
    add("--json", action="store_true", help="print the results as JSON, not in words")
    add("--quiet", action="store_true", help="show no progress bars")
    return parser


def check_options(args: argparse.Namespace) -> None:
    """Refuse options that are out of range or do not go together."""
    if args.alpha != "auto" and not 0 < args.alpha <= 1:
        alone = "" if args.alpha else ": without soft targets the distilled student is the student alone"
        raise ValueError(f"alpha must be > 0 and at most 1, got {args.alpha:g}{alone}")
    names = ("epochs", "learning_rate", "T", "alpha", "seed")
    given = {name: value for name in names if (value := getattr(args, name)) not in (None, "auto")}
    TrainConfig(hidden=args.hidden, **given)
    own = {"--teacher-hidden": args.teacher_hidden, "--teacher-epochs": args.teacher_epochs}
    TrainConfig(hidden=args.teacher_hidden or (1,), epochs=1 if args.teacher_epochs is None else args.teacher_epochs)
    for option, value in own.items():
        if value is not None and args.teacher:
            raise ValueError(f"{option} is for a teacher that the command trains: leave it or --teacher out")
    if args.mean != MEANS[0] and len(args.teacher) < 2:
        raise ValueError(f"--mean {args.mean} is for several teachers, got {len(args.teacher)}: leave it out")
    if args.search and (args.T != "auto" or args.learning_rate is not None):
        raise ValueError("--search looks for T and the learning rate: leave --T and --learning-rate out")
    check_exports(args.export, [*args.teacher, args.data])


def check_exports(files: Sequence[str], inputs: Sequence[Path]) -> None:
    """Check before long work that `leave` can write each file, and that none of them is overwritten or read.

    >>> check_exports(["a.py", "./a.py"], [])
    Traceback (most recent call last):
    ValueError: --export must name each file once, got './a.py' again: leave it out, or choose another path
    """
    read, written = {path.resolve() for path in inputs}, set[Path]()
    for file in files:
        target = Path(file).resolve()
        if target in read:
            raise ValueError(f"--export must not overwrite what the command reads, got {file!r}: choose another path")
        if target in written:
            again = f"--export must name each file once, got {file!r} again"
            raise ValueError(f"{again}: leave it out, or choose another path")
        written.add(target)
        if Path(file).suffix == ".safetensors":
            check_writable(file)
        elif Path(file).suffix in (".onnx", ".py"):
            check_export_path(file)
        else:
            rule = "--export takes FILE.onnx, FILE.py or FILE.safetensors"
            raise ValueError(f"{rule}, got {file!r}: choose one of these endings")


def leave(student: Student, file: str) -> None:
    """Write a student in the form that the ending of the file names."""
    if Path(file).suffix == ".safetensors":
        student.save(file)
    else:
        export_student(student, file)


def wrapped(text: str) -> str:
    """Return a text with its long lines broken, as the standard output can show it."""
    lines = [textwrap.fill(line, 120, subsequent_indent="    " if line[:1] == " " else "") for line in text.split("\n")]
    return fit("\n".join(lines))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check everything that can be checked, then train, print the results in words, and export the student."""
    parser = build_parser()
    args = parser.parse_args(argv)

    def say(line: str) -> None:
        if not args.json:
            print(wrapped(line), flush=True)

    with ending_in_one_line(parser):
        check_options(args)
        request = Request(**{field.name: getattr(args, field.name) for field in fields(Request)})
        results, student = Distillation(request, parser.remark, say).run()
    if args.json:
        print(json.dumps(results, indent=1), flush=True)
    else:
        print(
            wrapped(f"\n{words(results, results['reasons'])}\nThe student: {results['files']['student']}"), flush=True
        )
    for file in args.export:
        try:
            leave(student, file)
            if file.endswith(".onnx"):
                say(f"{file} reads {read_by_onnx(student.inputs)}")
        except Exception as error:
            again = f"python -m minikd.export {results['files']['student']} {file}"
            parser.fail(f"the student is not exported ({reason(error)}); it is kept: {again}", code=1)
