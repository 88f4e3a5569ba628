"""Check a file of the capstone "Distillation from nothing", in which the reader writes eight functions.

The command runs the file, in a process of its own that must answer in time. Grade unknown files in a container.
Its exit status is 0 only if everything is right.

examples:
  minikd grade --template my_distillation.py   write the file that you begin with
  minikd grade my_distillation.py              say of each function what is right, and which mistake it makes
  minikd grade my_distillation.py --train      also train with it, and compare with minikd's own networks
  minikd grade class/                          one row for each file of a folder
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
from minikd.system.cli import Parser, reason
from minikd.system.files import write_atomically

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
    parser.add_argument("files", metavar="FILE", nargs="*", help="a file to check, or a folder of them")
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
        print("\n".join(alone(reports[0]) if len(reports) == 1 else table(reports)))
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
    """Return the files that were named, and those of the folders that were named."""
    found = []
    for path in map(Path, given):
        inside = sorted(map(str, path.glob("*.py"))) if path.is_dir() else [str(path)]
        if not inside:
            parser.fail(f"the folder {path} holds no file that ends in .py")
        found += inside
    return found


def _report(file: str, args: argparse.Namespace) -> Report:
    """Judge a file, and train with it if that is asked for and all its functions are right."""
    report = judge(file, args.timeout)
    if args.train and not report.passed:
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
    width = max(map(len, FUNCTIONS))
    lines = []
    for one in report.functions:
        first, *rest = one.words.split("\n")
        lines.append(f"{one.name:{width}}  {RIGHT if one.status == RIGHT else first}")
        lines += [] if one.status == RIGHT else [f"{'':{width}}  {line}" for line in rest]
    return [*lines, *report.remarks, *_training(report), f"{report.right} of {len(FUNCTIONS)} functions are right"]


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
    trained = any(report.training is not None for report in reports)
    columns = [str(number + 1) for number in range(len(FUNCTIONS))]
    lines = [_row("file", width, "right", columns, "training" if trained else "")]
    for report in reports:
        if report.problem:
            lines.append(f"{report.file:{width}}  {f'0 of {len(FUNCTIONS)}':8}  {report.problem}")
            continue
        training = "" if report.training is None else "within" if report.training["within"] else "outside"
        total = f"{report.right} of {len(FUNCTIONS)}"
        lines.append(_row(report.file, width, total, [one.status for one in report.functions], training))
    lines += ["", ", ".join(f"{number} {name}" for number, name in zip(columns, FUNCTIONS, strict=True))]
    wrong = [one for report in reports for one in report.functions if one.status == WRONG]
    counts = Counter(f"{one.name}: {one.verdict}" for one in wrong).most_common(5)
    shared = [f"{count} files  {words}" for words, count in counts if count > 1]
    return [*lines, *(["", "mistakes that several files share:", *shared] if shared else [])]


def _row(file: str, width: int, total: str, cells: Sequence[str], training: str) -> str:
    return f"{file:{width}}  {total:8}  {''.join(f'{cell:9}' for cell in cells)}{training}".rstrip()
