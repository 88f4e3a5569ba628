"""Machine checks of the tagged equations: symbolic where SymPy can, else to 60 digits on random and adverse inputs.

A check says what every symbol of a displayed equation means, on many inputs: it yields a `Meaning` for each. The
display is then read and evaluated there, so the formula that is checked is the one on the page. The check itself
asserts what goes beyond the display, such as the steps of a proof. A display that cannot be read is pinned: its check
asserts all of it, and names the digest of the display.

A check shares no code with minikd: what is checked here is the mathematics. That the code is the mathematics is what
the tests hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import mpmath
from mpmath import mp, mpf

from derivations import tags
from derivations.evidence import Evidence
from derivations.latex import NotRead
from derivations.meaning import Meaning

DIGITS = 60
ZERO, ONE = mpf(0), mpf(1)
TOLERANCE = mpf(10) ** (15 - DIGITS)  # fifteen digits are left to cancellation

SYMBOLIC, NUMERIC = "SymPy", f"{DIGITS} digits"
PARSED, PINNED = "display parsed", "display pinned"


class Check(NamedTuple):
    """How an equation is checked.

    Attributes:
        run: raises AssertionError if it does not hold.
        kind: by what means.
        scope: of what it is known to hold, in words.
        display: how the displayed formula is tied to the check.
        cases: the check itself, which may yield the inputs on which the display is evaluated.
        near: of each bound in the display, how near to it an input comes.
    """

    run: Callable[[], None]
    kind: str
    scope: str
    display: str = PARSED
    cases: Callable[[], Iterable[Meaning] | None] = lambda: None
    near: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """By what means the equation is checked, of what, how near to its bounds, and how its display is tied to it."""
        met = [part for part in self.near if " of " in part]
        bounds = [part for part in self.near if part not in met]
        parts = [f"{self.kind}, {self.scope}"]
        parts += [f"bounds reached to {', '.join(bounds)}"] if bounds else []
        parts += [f"conditions met by {', '.join(met)} inputs"] if met else []
        return "; ".join([*parts, self.display])

    def verdict(self) -> str | None:
        """None where the equation holds, else what does not."""
        try:
            with mpmath.workdps(DIGITS):
                self.run()
        except AssertionError as error:
            return str(error) or "an assertion failed"
        return None


CHECKS: dict[str, Check] = {}


def checks(
    *of: str, kind: str, scope: str, near: Iterable[str] = (), pinned: dict[str, str] | None = None
) -> Callable[[Callable], Callable]:
    """Enter a function as the check of these equations.

    Args:
        *of: the tags. The displays of all that are not pinned are evaluated on each `Meaning` that the function yields.
        kind: SYMBOLIC or NUMERIC.
        scope: of what the equations are known to hold, in words.
        near: how near the inputs come to each bound in the display, as `Evidence.nearness` counts it.
        pinned: the digest of each display that is not evaluated.
    """

    def enter(cases: Callable) -> Callable:
        def run() -> None:
            for tag, digest in (pinned or {}).items():
                now = digest_of(tags.display(tag))
                assert now == digest, f"the display has changed: check it, and pin {now}"
            evaluate(cases, {tag: tags.display(tag) for tag in of if tag not in (pinned or {})}, near)

        for tag in of:
            assert tag not in CHECKS, f"{tag} has two checks"
            CHECKS[tag] = Check(run, kind, scope, PINNED if tag in (pinned or {}) else PARSED, cases, tuple(near))
        return cases

    return enter


def digest_of(latex: str) -> str:
    """Of a display, whatever its spaces."""
    return sha256("".join(latex.split()).encode()).hexdigest()[:12]


def evaluate(cases: Callable, displays: dict[str, str], near: Iterable[str], proofs: bool = True) -> None:
    """Hold displays against all that a check yields; raise AssertionError if one of them fails.

    Args:
        cases: the check.
        displays: the LaTeX of each, by tag.
        near: how near to each bound the inputs come.
        proofs: whether SymPy must also prove each equality of symbols, which was compared at one random place.
    """
    found = {tag: Evidence(latex) for tag, latex in displays.items()}
    try:
        for e in cases() or ():
            for evidence in found.values():
                evidence.add(e)
        for evidence in found.values():
            evidence.settle(near)
            if proofs:
                evidence.prove()
    except (NotRead, ZeroDivisionError, ValueError, TypeError) as error:
        raise AssertionError(f"the display cannot be evaluated: {error}") from error


def load() -> dict[str, Check]:
    """Every check, by tag.

    Raises:
        RuntimeError: if Python was told to leave out the assertions.
    """
    if not __debug__:
        raise RuntimeError(
            "the checks are assertions, which python -O and PYTHONOPTIMIZE leave out: run them without either"
        )
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


def root(f: Callable[[mpf], mpf], low: mpf, high: mpf) -> mpf:
    """Where f changes its sign: by bisection to ten digits, and by the secant from there."""
    left = mp.sign(f(low))
    assert left != mp.sign(f(high)), "the function has one sign at both ends"
    while high - low > mpf(10) ** -10 * max(1, abs(high)):
        middle = (low + high) / 2
        low, high = (middle, high) if mp.sign(f(middle)) == left else (low, middle)
    return mp.findroot(f, (low, high), solver="secant", verify=False)


# ---- assertions ------------------------------------------------------------------------------------------------------


def close(a: mpf, b: mpf, what: str = "", tolerance: mpf = TOLERANCE, scale: mpf = ZERO) -> None:
    """a = b, but for rounding relative to the larger of them, or of `scale` where both may vanish."""
    bound = tolerance * max(abs(a), abs(b), abs(scale), mpf(10) ** -DIGITS)
    assert abs(a - b) <= bound, f"{what} {mpmath.nstr(a, 12)} is not {mpmath.nstr(b, 12)}"
