"""Machine checks of the tagged equations: symbolic where SymPy can, else to 60 digits on random and adverse inputs.

A check is a function that raises AssertionError if its equation does not hold. It shares no code with minikd: what is
checked here is the mathematics; that the code is the mathematics is what the tests hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import mpmath
from mpmath import mp, mpf

DIGITS = 60
ZERO, ONE = mpf(0), mpf(1)
TOLERANCE = mpf(10) ** (15 - DIGITS)  # fifteen digits are left to cancellation

SYMBOLIC, NUMERIC = "SymPy", f"{DIGITS} digits"


class Check(NamedTuple):
    run: Callable[[], None]
    kind: str
    scope: str  # of what it is known to hold, in words

    def verdict(self) -> str | None:
        """None where the equation holds, else what does not."""
        try:
            with mpmath.workdps(DIGITS):
                self.run()
        except AssertionError as error:
            return str(error) or "an assertion failed"
        return None


CHECKS: dict[str, Check] = {}


def checks(*tags: str, kind: str, scope: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Enter a function as the check of these equations."""

    def enter(run: Callable[[], None]) -> Callable[[], None]:
        for tag in tags:
            assert tag not in CHECKS, f"{tag} has two checks"
            CHECKS[tag] = Check(run, kind, scope)
        return run

    return enter


def load() -> dict[str, Check]:
    """Every check, by tag."""
    for path in sorted(Path(__file__).parent.glob("d*.py")):
        import_module(f"{__name__}.{path.stem}")
    return CHECKS


# ---- inputs ----------------------------------------------------------------------------------------------------------


def logits(count: int = 40, classes: tuple[int, ...] = (2, 3, 5, 10), seed: int = 0) -> Iterator[list[mpf]]:
    """Logits of one case: random ones of all magnitudes, then the adverse: ties, one-hot, a huge range, constants."""
    rng = random.Random(seed)
    for i in range(count):
        K, size = classes[i % len(classes)], 10 ** rng.uniform(-3, 2)
        yield [mpf(rng.gauss(0, size)) for _ in range(K)]
    for K in classes:
        yield [mpf(0)] * K
        yield [mpf(7)] + [mpf(0)] * (K - 1)
        yield [mpf(-7)] + [mpf(0)] * (K - 1)
        yield [mpf(3)] * (K - 1) + [mpf(-3)]
        yield [mpf(10) ** (3 - 3 * i) for i in range(K)]


def pairs(count: int = 40, classes: tuple[int, ...] = (2, 3, 5, 10), seed: int = 0) -> Iterator[tuple[list, list]]:
    """(z, v): a student's and a teacher's logits of one case."""
    students, teachers = logits(count, classes, seed), list(logits(count, classes, seed + 1))
    for i, z in enumerate(students):
        fitting = [v for v in teachers if len(v) == len(z)]
        yield z, fitting[i % len(fitting)]


TEMPERATURES = [mpf(1) / 10, mpf(1) / 2, mpf(1), mpf(5) / 2, mpf(8), mpf(20), mpf(1000)]


# ---- textbook formulas on lists of numbers ---------------------------------------------------------------------------


def softmax(z: list, T: mpf = ONE) -> list:
    e = [mp.exp(z_i / T) for z_i in z]
    return [e_i / sum(e) for e_i in e]


def mean(z: list) -> mpf:
    return mp.fsum(z) / len(z)


def zero_mean(z: list) -> list:
    return [z_i - mean(z) for z_i in z]


def derivative(f: Callable[[list], mpf], x: list, i: int) -> mpf:
    """∂f/∂x_i by central differences with a step of 10⁻²⁰: good to 40 of the 60 digits less what f's scale takes."""
    h = mpf(10) ** (-DIGITS // 3)
    ahead, behind = list(x), list(x)
    ahead[i] += h
    behind[i] -= h
    return (f(ahead) - f(behind)) / (2 * h)


# ---- assertions ------------------------------------------------------------------------------------------------------


def close(a: mpf, b: mpf, what: str = "", tolerance: mpf = TOLERANCE, scale: mpf = ZERO) -> None:
    """a = b, but for rounding relative to the larger of them, or of `scale` where both may vanish."""
    bound = tolerance * max(abs(a), abs(b), abs(scale), mpf(10) ** -DIGITS)
    assert abs(a - b) <= bound, f"{what} {mpmath.nstr(a, 12)} is not {mpmath.nstr(b, 12)}"
