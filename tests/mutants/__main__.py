"""The gate: plant the bugs, and say which ones no test noticed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import MUTANTS
from .planting import Mutant, find_module, mutated, plain, title
from .trial import PASSED, Verdict, copy, examine

ROOT = Path(__file__).resolve().parents[2]


class BrokenTestError(AssertionError):
    """A test fails without a mutant."""


def main(arguments: Sequence[str] | None = None, mutants: Iterable[Mutant] = MUTANTS, root: Path = ROOT) -> int:
    """Plant the mutants that the arguments choose, say what became of each, and return the exit status."""
    from minikd.system.cli import Parser  # not above: the tests of a mutant import this file before their minikd

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
        for path in {find_module(mutant.module, still) for mutant in chosen}:  # as `mutated` writes them
            path.write_text(plain(path), encoding="utf-8")
        try:
            survivors = _plant_all(chosen, still, pool)
        except BrokenTestError as broken:
            pool.shutdown(cancel_futures=True)
            print(broken)
            return 1
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} mutants caught, in {time.perf_counter() - began:.0f} s")
    if survivors:
        print("\nNot caught, so a test is missing:", *survivors, sep="\n")
    return 1 if survivors else 0


def _plant_all(chosen: Sequence[Mutant], root: Path, pool: ThreadPoolExecutor) -> list[str]:
    """Plant the mutants, say what became of each, and return the survivors with reasons.

    Raises:
        BrokenTestError: a test fails without a mutant too, so that it catches nothing.
    """
    caught: dict[str, Mutant] = {}  # in order: the test that caught one mutant is likely to catch the next

    def plant(mutant: Mutant) -> Verdict:
        verdict = examine(root, mutant.tests, mutant, first=list(caught))
        if verdict.test and verdict.test not in caught:
            without = examine(root, [verdict.test.partition("::")[0]], first=[verdict.test], only=True)
            if without.reason != PASSED:
                raise BrokenTestError(f"without a mutant {verdict.test} must pass: {without.reason}")
            caught[verdict.test] = mutant
        return verdict

    survivors = []
    for mutant, verdict in zip(chosen, pool.map(plant, chosen), strict=True):
        outcome = f"caught by {verdict.test}" if verdict.test else "NOT CAUGHT"
        print(f"{title(mutant)}\n    {outcome}, {verdict.seconds:.1f} s", flush=True)
        if not verdict.test:
            survivors.append(f"{title(mutant)}\n    {' '.join(mutant.tests)}: {verdict.reason}")
    return survivors


if __name__ == "__main__":
    from minikd.system.cli import start

    start(main)
