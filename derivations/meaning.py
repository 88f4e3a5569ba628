"""What the symbols of a displayed equation stand for.

A check says it for each: an array over the classes, a number, a function, or how to work it out from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from mpmath import mp, mpf

from derivations.latex import NotRead

DIGITS = 120
STEP = mpf(10) ** -40
ALWAYS = ("softmax", "KL", "Var", "H", "O")


class Function(NamedTuple):
    """A symbol that takes arguments: `value(meaning, *arguments)`.

    Attributes:
        value: the function.
        of: the symbols that it takes where none are written: dm/ds is that of m(s).
    """

    value: Callable[..., Any]
    of: tuple[str, ...] = ()


class Operator(NamedTuple):
    """A symbol that acts on an expression and not on its value: `act(meaning, *trees)`. An expectation, say."""

    act: Callable[..., Any]


class Unset(Exception):
    """An index has no value yet: the claim is for all that it can have."""


class OutOfRange(Exception):
    """There is no such element: the claim is not about this index."""


NOTHING = object()
"""In place of a value that an index is wanting for."""


class Meaning:
    """What each symbol of a display stands for.

    Args:
        symbols: by name, as `spelled` spells them: "q", "bar z", "R_z", "q^(1)". A value; a Function or an Operator; or
            any other callable, which works the value out from this meaning.
        ranges: of each index, what it can be; or a callable of this meaning.
        words: conditions in words, as they stand in the display, with what they say of this meaning.
        symbolic: whether the numbers are SymPy's.
    """

    def __init__(self, symbols: dict, ranges: dict, words: dict | None = None, symbolic: bool = False) -> None:
        self.symbols, self.ranges, self.words, self.symbolic = symbols, ranges, words or {}, symbolic
        self.known: dict[str, Any] = {}
        self.before: Meaning | None = None
        self.waiting: dict[str, str] = {}

    def but(self, **symbols: Any) -> Meaning:
        """The same, except for these symbols; all that depends on them follows."""
        return Meaning({**self.symbols, **symbols}, self.ranges, self.words, self.symbolic)

    def at(self, index: str, number: Any) -> Meaning:
        """The same with a value for an index. What does not depend on the index is not worked out again."""
        return self.with_more(**{index: number}) if index not in self.symbols else self.but(**{index: number})

    def with_more(self, **symbols: Any) -> Meaning:
        """The same with symbols that had no meaning yet. What could be worked out without them is not done again."""
        found = self.but(**symbols)
        found.before = self
        return found

    def over(self, **ranges: Any) -> Meaning:
        """The same, with these ranges."""
        return Meaning(self.symbols, {**self.ranges, **ranges}, self.words, self.symbolic)

    def __contains__(self, name: str) -> bool:
        return name in self.symbols

    def __getitem__(self, name: str) -> Any:
        if name not in self.known:
            if name not in self.symbols:
                raise Unset(name) if name in self.ranges else NotRead(f"the check does not say what {name} is")
            found = self.symbols[name]
            lazy = callable(found) and not isinstance(found, Function | Operator)
            self.known[name] = self._worked_out(name, found) if lazy else found
        if self.known[name] is NOTHING:
            raise Unset(self.waiting[name])
        return self.known[name]

    def _worked_out(self, name: str, found: Callable[[Meaning], Any]) -> Any:
        if self.before is not None:
            try:
                return self.before[name]
            except (Unset, NotRead):
                pass
        try:
            return found(self)
        except Unset as unset:
            self.waiting[name] = str(unset)
            return NOTHING

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def range(self, name: str) -> Iterable[Any]:
        found = self.ranges.get(name)
        if found is None:
            raise NotRead(f"the check does not say over what {name} runs")
        return found(self) if callable(found) else found

    @property
    def functions(self) -> frozenset[str]:
        def takes(found: Any) -> bool:
            one = next(iter(found.values()), None) if isinstance(found, dict) else found
            return isinstance(one, Function | Operator)

        taking = (name for name, found in self.symbols.items() if takes(found))
        return frozenset([*taking, *ALWAYS])

    def number(self, text: str) -> Any:
        return sp.Rational(text) if self.symbolic else mpf(text)

    def apply(self, name: str, x: Any) -> Any:
        """log, exp, sqrt, tanh of a number or of each element."""
        return np.frompyfunc(getattr(sp if self.symbolic else mp, name), 1, 1)(x)


# ---- slopes ----------------------------------------------------------------------------------------------------------


def slope(f: Callable[[Any], Any], x: Any, symbolic: bool) -> Any:
    if symbolic:
        y = _stand_in(x)
        return np.frompyfunc(lambda out: _slope_of(out, y, x), 1, 1)(f(y))
    return (f(x + STEP) - f(x - STEP)) / (2 * STEP)


@cache
def _stand_in(x: Any) -> Any:
    """A symbol to differentiate along: the same one for the same expression, so that its slopes are found again."""
    return sp.Dummy(real=True)


@cache
def _slope_of(out: Any, y: Any, x: Any) -> Any:
    return sp.diff(out, y).subs(y, x)


def derived(function: Function, order: int) -> Function:
    """f' or f'' of a function of one number."""
    if order == 0:
        return function
    lower = derived(function, order - 1)
    return Function(lambda e, x: slope(lambda y: lower.value(e, y), x, e.symbolic))


def replaced(array: Any, place: tuple, new: Any) -> Any:
    """A copy in which one element is another."""
    if not place:
        return new
    first, rest = place[0], place[1:]
    if isinstance(array, dict):
        return {**array, first: replaced(array[first], rest, new)}
    copy = list(array)
    copy[first - 1] = replaced(array[first - 1], rest, new)
    return np.array(copy, dtype=object)


def differential(cost: str, name: str) -> Callable[[Meaning], Any]:
    """The array dX of ∂C/∂X, as the derivations of the network write it."""

    def slopes(e: Meaning) -> Any:
        def at(*place: int) -> Any:
            def along(x: Any) -> Any:
                return e.but(**{name: replaced(e[name], place, x)})[cost]

            here = e[name]
            for i in place:
                here = here[i - 1]
            return slope(along, here, e.symbolic)

        shape = np.shape(e[name])
        found = np.empty(shape, dtype=object)
        for place in np.ndindex(shape):
            found[place] = at(*(i + 1 for i in place))
        return found if shape else found[()]

    return slopes
