"""The gate: plant the bugs, and say which ones no test noticed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import MUTANTS
from .planting import Mutant, mutated, title
from .trial import PASSED, PRELOADED, PROCESSES, copy, examine

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None, mutants: Iterable[Mutant] = MUTANTS, root: Path = ROOT) -> int:
    """Plant the mutants that the arguments choose, say what became of each, and return the exit status."""
    from minikd.cli import Parser  # not above: the processes of the tests import this file before their own minikd

    parser = Parser("mutants", "Plant bugs, one at a time; the tests must see them.", package="tests")
    parser.add_argument("words", nargs="*", help="plant only those whose area or name holds one of these")
    parser.add_argument("--list", action="store_true", help="name the bugs and plant none")
    options = parser.parse_args(arguments)
    chosen = [m for m in mutants if not options.words or any(word in title(m) for word in options.words)]
    if not chosen:
        parser.error(f"no mutant's area or name holds {' or '.join(options.words)}: --list shows them")
    if options.list:
        print(*map(title, chosen), sep="\n")
        return 0

    began = time.perf_counter()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the mutants themselves fill the cores
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        still = Path(folder)  # one state of the tree for all, whatever is edited meanwhile
        copy(root, still)
        try:
            for mutant in chosen:
                mutated(mutant, still)
        except ValueError as stale:
            print(stale)
            return 1
        tests = sorted({test for mutant in chosen for test in mutant.tests})
        for test, verdict in zip(tests, pool.map(lambda test: examine(still, [test]), tests), strict=True):
            if verdict.reason != PASSED:
                print(f"without a mutant {test} must pass: {verdict.reason}")
                return 1
        survivors = []
        verdicts = pool.map(lambda mutant: examine(still, mutant.tests, mutant), chosen)
        for mutant, verdict in zip(chosen, verdicts, strict=True):
            outcome = f"caught by {verdict.test}" if verdict.test else "NOT CAUGHT"
            print(f"{title(mutant)}\n    {outcome}, {verdict.seconds:.1f} s", flush=True)
            if not verdict.test:
                survivors.append(f"{title(mutant)}\n    {' '.join(mutant.tests)}: {verdict.reason}")
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} mutants caught, in {time.perf_counter() - began:.0f} s")
    if survivors:
        print("\nNot caught, so a test is missing:", *survivors, sep="\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    from minikd.cli import start

    PROCESSES.set_forkserver_preload(PRELOADED)
    start(main)
