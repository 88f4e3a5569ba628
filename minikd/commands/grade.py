"""Check a file of the capstone "Distillation from nothing", or the exercises of a notebook.

The command runs the functions, in a process of their own that must answer in time. Grade unknown files in a container.
Its exit status is 0 only if everything is right.

examples:
  minikd grade --template my_distillation.py   write the file that you begin with
  minikd grade my_distillation.py              say of each function what is right, and which mistake it makes
  minikd grade my_distillation.py --train      also train with it, and compare with minikd's own networks
  minikd grade my-notebooks/04-*.ipynb         the same for the exercises of notebook 4
  minikd grade class/                          one row for each file and notebook of a folder and its subfolders
  minikd grade class/ --verbose                each file's mistakes, too
  minikd grade class/ --json > grades.json     the same, for a program
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from minikd.learn.capstone.judge import RIGHT, WRONG, Report, judge, said
from minikd.learn.capstone.template import FUNCTIONS, template
from minikd.learn.handed_in import judge_notebook
from minikd.system.cli import Parser, reason
from minikd.system.files import write_atomically

NOTEBOOK = ".ipynb"
TIMEOUT = 10.0
"""Seconds that a function may take for all its tests. A right one takes milliseconds."""


def seconds(text: str) -> float:
    """Return a number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of seconds > 0, got {text!r}")
    return value


def build_parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser("grade", __doc__)
    parser.add_argument("files", metavar="FILE", nargs="*", help="a .py file or a notebook to check, or a folder")
    parser.add_argument("--verbose", action="store_true", help="of several files, say what is wrong in each")
    parser.add_argument("--train", action="store_true", help="run its training too, if all is right: about a minute")
    parser.add_argument("--json", action="store_true", help="print the grades as JSON")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT,
        metavar="S",
        help=f"seconds for one function; {TIMEOUT:g} if not given",
    )
    parser.add_argument("--template", metavar="FILE", help="write the template to this file, which must not exist yet")
    parser.add_argument("--record", action="store_true", help="train the networks anew that --train compares with")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check files, or write the template or the record. Return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if (args.template is not None) + args.record + bool(args.files) != 1:
        parser.error("give files to check, or --template FILE, or --record")
    if args.template is not None:
        _write_template(parser, args.template)
        return 0
    if args.record:
        _record()
        return 0
    files = _files(parser, args.files)
    reports = [_report(file, args) for file in files]
    if args.json:
        print(json.dumps([{**asdict(one), "right": one.right, "passed": one.passed} for one in reports], indent=1))
    else:
        several = len(reports) > 1
        for report in reports if args.verbose and several else ():
            print("\n  ".join([f"{report.file}:", *alone(report)]), end="\n\n")
        print("\n".join(table(reports) if several else alone(reports[0])))
    return 0 if all(one.passed for one in reports) else 1


def _write_template(parser: Parser, path: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        parser.fail(f"{path} is already there, and is left as it is: choose another name")
    except OSError as error:
        parser.fail(reason(error))
    print(f"{path}: write the eight functions, then run {parser.command} {path}")


def _record() -> None:
    from minikd.learn.capstone import noise

    path = Path(noise.__file__).with_name(noise.FILE)
    write_atomically(path, noise.record(lambda line: print(line, file=sys.stderr, flush=True)).encode())
    print(path)


def _files(parser: Parser, given: Sequence[str]) -> list[str]:
    """Return the files that were named, and those of the folders that were named, and of their subfolders.

    Hidden folders are left out: Jupyter keeps older versions of notebooks in them.
    """
    found, skipped = [], 0
    for path in map(Path, given):
        if not path.is_dir():
            found.append(str(path))
            continue
        every = [one for one in sorted(path.rglob("*")) if one.is_file() and not _hidden(one.relative_to(path))]
        inside = [str(one) for one in every if one.suffix in (".py", NOTEBOOK)]
        if not inside:
            parser.fail(f"the folder {path} holds no file that ends in .py or {NOTEBOOK}")
        found, skipped = found + inside, skipped + len(every) - len(inside)
    if skipped:
        parser.remark(f"skipped what is neither .py nor {NOTEBOOK}: {skipped} file{'s' * (skipped > 1)}")
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _report(file: str, args: argparse.Namespace) -> Report:
    """Judge a file, and train with it if that is asked for and all its functions are right."""
    report = judge_notebook(file, args.timeout) if file.endswith(NOTEBOOK) else judge(file, args.timeout)
    if args.train and file.endswith(NOTEBOOK):
        report.remarks.append("the training is not run: it needs the capstone as a file that ends in .py")
    elif args.train and not report.passed:
        report.remarks.append("the training is not run: first all functions must be right")
    elif args.train:
        from minikd.learn.capstone import noise

        print(f"{file}: training three networks, which takes about a minute", file=sys.stderr, flush=True)
        try:
            report.training = noise.run(file)
        except Exception as error:
            report.training = {"within": False, "problem": said(error)}
    return report


# ---- what is printed -------------------------------------------------------------------------------------------------


def alone(report: Report) -> list[str]:
    """Return the lines for a single file: each function with what is wrong, the training, and the total."""
    if report.problem:
        return [f"{report.file}: {report.problem}"]
    width, lines = max(len(one.name) for one in report.functions), []
    for one in report.functions:
        first, *rest = one.words.split("\n")
        lines.append(f"{one.name:{width}}  {RIGHT if one.status == RIGHT else first}")
        lines += [] if one.status == RIGHT else [f"{'':{width}}  {line}" for line in rest]
    return [*lines, *report.remarks, *_training(report), f"{report.right} of {report.total} functions are right"]


def _training(report: Report) -> list[str]:
    """Return the lines on the training of a file; none if it was not trained."""
    if report.training is None:
        return []
    if "problem" in report.training:
        return [f"the training failed: {report.training['problem']}"]
    lines = [
        f"{name:10}{row['errors']:4} errors; one more run of minikd's lies between {row['low']} and {row['high']}"
        for name, row in report.training["numbers"].items()
    ]
    verdict = "within" if report.training["within"] else "outside"
    return [*lines, f"the training took {report.training['seconds']} s; it is {verdict} the noise of minikd's own"]


def table(reports: Sequence[Report]) -> list[str]:
    """Return the lines for several files: one row each, what the columns are, and the commonest mistakes."""
    width = max(len(report.file) for report in reports)
    of_exercises = [one for one in reports if one.total != len(FUNCTIONS)]
    files = [one for one in reports if one.total == len(FUNCTIONS)]
    lines = _capstones(files, width) if files else []
    lines += [""] if files and of_exercises else []
    for report in of_exercises:
        cells = [f"{one.exercise} {one.status}" for one in report.functions]
        lines.append(_row(report, width, [f"{cell:14}" for cell in cells]))
    wrong = [one for report in reports for one in report.functions if one.status == WRONG]
    counts = Counter(f"{one.name}: {one.verdict}" for one in wrong).most_common(5)
    shared = [f"{count} files  {words}" for words, count in counts if count > 1]
    return [*lines, *(["", "mistakes that several files share:", *shared] if shared else [])]


def _capstones(reports: Sequence[Report], width: int) -> list[str]:
    """Return a row for each file of the capstone, under a head, and what the columns are."""
    trained = any(report.training is not None for report in reports)
    columns = [str(number + 1) for number in range(len(FUNCTIONS))]
    head = f"{'file':{width}}  right     {_cells(columns)}{'training' if trained else ''}".rstrip()
    rows = [_row(report, width, [one.status for one in report.functions]) for report in reports]
    return [head, *rows, "", ", ".join(f"{number} {name}" for number, name in zip(columns, FUNCTIONS, strict=True))]


def _row(report: Report, width: int, cells: Sequence[str]) -> str:
    """Return a row: the file, its points, and its functions or what is wrong with the file."""
    training = "" if report.training is None else "within" if report.training["within"] else "outside"
    points = f"{report.right} of {report.total}"
    return f"{report.file:{width}}  {points:8}  {report.problem or _cells(cells) + training}".rstrip()


def _cells(cells: Sequence[str]) -> str:
    return "".join(f"{cell:9}" for cell in cells)
