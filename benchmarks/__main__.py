"""The command: python -m benchmarks measures, prints tables, and writes JSON to benchmarks/results/."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import report
from benchmarks.timing import Bench
from minikd.engines.device import get_device
from minikd.engines.gpu import DeviceError, gpu_errors
from minikd.engines.machine import machine
from minikd.system.cli import Parser, start
from minikd.system.files import check_writable
from minikd.training.runs import write_json

ABOUT = "minikd against PyTorch, scikit-learn and the bare matrix products, taking turns: medians and their spread."


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the sections asked for, one after the other; each is printed, and written, as soon as it is done."""
    parser = Parser("benchmarks", ABOUT, package="")
    parser.add_argument("sections", nargs="*", metavar="section", help=f"{', '.join(report.SECTIONS)} [all of them]")
    parser.add_argument(
        "--quick", action="store_true", help="a round of small things, to see that all works; JSON only with --out"
    )
    parser.add_argument("--gpu", action="store_true", help="CuPy and PyTorch with CUDA")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the JSON goes [results/cpu or results/gpu here]")
    about = "begin no row after this many minutes; rows that are measured are kept"
    parser.add_argument("--minutes", type=float, default=math.inf, metavar="M", help=about)
    about = "measure each row for this many times as long as usual [1]"
    parser.add_argument("--pace", type=float, default=1.0, metavar="X", help=about)
    parser.add_argument("--write", action="store_true", help="then draw the plots and fill README.md's tables anew")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.sections if name not in report.SECTIONS]:
        parser.error(f"no section {unknown[0]!r}: choose from {', '.join(report.SECTIONS)}")
    try:
        measure(args)
    except (DeviceError, ValueError) as error:
        parser.fail(str(error))
    if args.write and not args.quick:
        report.main([])


@gpu_errors()
def measure(args: argparse.Namespace) -> None:
    """Measure, print and write the sections that the command line asks for; a section is written row by row."""
    device, end = get_device("gpu" if args.gpu else "cpu"), perf_counter() + 60 * args.minutes
    place = args.out or report.RESULTS / Bench(device).place
    paths = {name: place / f"{name}.json" for name in args.sections or report.SECTIONS}
    keep = args.out is not None or not args.quick
    if keep:
        place.mkdir(parents=True, exist_ok=True)
        for path in paths.values():
            check_writable(path)
    for name, path in paths.items():
        bench = Bench(device, args.quick, args.pace)
        command = f"python -m benchmarks {name}{' --gpu' * args.gpu}{' --quick' * args.quick}"
        command += f" --pace {args.pace:g}" if args.pace != 1 else ""
        about = {"command": command, "machine": machine(device)}
        record: dict[str, Any] = {**about, "left_out": bench.left_out, "rows": []}
        for row in report.SECTIONS[name].rows(bench):
            record["rows"].append(row)
            late = perf_counter() > end
            if late:
                bench.left_out["any later rows"] = "the time was up"
            record["machine"] = machine(device)  # again, because threads are known once the libraries are loaded
            if keep:
                write_json(path, record)
            if late:
                break
        print(f"{name}\n\n{report.table(name, record)}\n", flush=True)


if __name__ == "__main__":
    start(main)
