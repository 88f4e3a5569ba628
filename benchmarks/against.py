"""The training step of this tree against another checkout's: python -m benchmarks.against FOLDER.

Both take turns in one process, on the same networks and batches, and must compute the same costs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from benchmarks import contestants
from benchmarks.step import BATCHES
from benchmarks.timing import Bench, Step, over
from minikd.system.cli import Parser, start

HERE, THERE = "this tree", "the other"


def step_of(folder: Path) -> Callable[[tuple[int, ...], int], Step]:
    """Return the function that makes a distillation step for these hidden layers and batch size, from a checkout.

    Args:
        folder: holds minikd/ and benchmarks/. Its modules are loaded beside those of this tree.

    Raises:
        ValueError: where the folder is no checkout.
    """
    if not (folder / "benchmarks" / "contestants.py").is_file():
        raise ValueError(f"FOLDER must be a checkout of minikd, with benchmarks/contestants.py in it, got {folder}")
    ours = _taken_out()
    sys.path.insert(0, str(folder.resolve()))
    try:
        others, timing = (import_module(f"benchmarks.{name}") for name in ("contestants", "timing"))
    finally:
        sys.path.pop(0)
        _taken_out()
        sys.modules.update(ours)
    device = timing.Bench().device
    return lambda hidden, B: others.minikd_step(others.case(hidden, B), device)


def _taken_out() -> dict[str, object]:
    """The loaded modules of minikd and of the benchmarks, which Python now forgets."""
    names = [name for name in sys.modules if name.partition(".")[0] in ("minikd", "benchmarks")]
    return {name: sys.modules.pop(name) for name in names}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every shape, and print medians and their ratio."""
    parser = Parser("benchmarks.against", (__doc__ or "").splitlines()[0], package="")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="another checkout of minikd")
    parser.add_argument("--quick", action="store_true", help="one small shape, to see that it works")
    args = parser.parse_args(argv)
    try:
        theirs = step_of(args.folder)
    except ValueError as error:
        parser.fail(str(error))
    bench = Bench(quick=args.quick)
    print(f"{'units per layer':>16}{'batch':>7}{HERE:>14}{THERE:>14}{'ratio':>8}")
    shapes = [(hidden, B) for hidden in (contestants.TEACHER, *contestants.STUDENTS) for B in BATCHES]
    for hidden, B in shapes[-4:-3] if args.quick else shapes:
        given = contestants.case(hidden, B)
        steps = {HERE: contestants.minikd_step(given, bench.device), THERE: theirs(hidden, B)}
        row = bench.measure(steps, seconds=8, turn=contestants.turn_of(given))
        ms = [1e3 * row["seconds"][name][1] for name in (HERE, THERE)]
        print(f"{hidden[0]:>16}{B:>7}{ms[0]:>11.3f} ms{ms[1]:>11.3f} ms{over(row, HERE, THERE):>8.3f}", flush=True)


if __name__ == "__main__":
    start(main)
