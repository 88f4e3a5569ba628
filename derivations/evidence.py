"""Hold a display against the inputs of its check, claim by claim, and remember how near each bound was."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from mpmath import mp, mpf

from derivations.display import Claim, Condition, read
from derivations.latex import Node, NotRead
from derivations.meaning import DIGITS, Function, Meaning, OutOfRange, Unset
from derivations.values import equal, holds, holds_for_all, related, value

DEFINED = Function(lambda e, *arguments: 1 / 0, ("as the display defines it",))
"""The meaning of a function that the display itself defines."""
PLAIN = {"for", "for every", "if", "where"}
ORDERS = ("≤", "≥", "<", ">")
TINY = mpf(10) ** -60


class Evidence:
    """What one display came to, over all the inputs of its check.

    Args:
        latex: of the display.
    """

    def __init__(self, latex: str) -> None:
        self.latex = latex
        self.claims: list[Claim] = []
        self.compared: set[tuple[int, int]] = set()
        self.nearest: dict[tuple[int, int], Any] = {}
        self.met: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        self.truths: dict[int, set[bool]] = defaultdict(set)
        self.ratios: dict[int, Any] = {}
        self.unproven: list[tuple[str, Any]] = []
        self.defined: dict[int, str] = {}
        self.used: set[str] = set()

    def add(self, e: Meaning) -> None:
        """Hold every claim against one input. Raise AssertionError where one fails."""
        self.claims = read(self.latex, e.functions)
        e, self.defined = with_definitions(self.claims, e, self.used)
        self.ratios = {}
        with mpmath.workdps(DIGITS):
            for number, claim in enumerate(self.claims):
                if claim.chain[0].kind == "call" and number in self.defined:
                    self.compared.add((number, 0))
                else:
                    self._hold(number, claim, e)

    def _hold(self, number: int, claim: Claim, e: Meaning) -> None:
        """One claim, for all that its indices can be."""
        try:
            with_arrow = holds(claim.arrow, e) if claim.arrow else None
            met = all(meets(condition, e) for condition in claim.conditions)
            if claim.conditions:
                self.met[number][1] += 1
                self.met[number][0] += met
            if met:
                self._relations(number, claim, e, with_arrow)
        except Unset as unset:
            index = str(unset)
        except OutOfRange:
            return
        else:
            return
        for at in e.range(index):
            self._hold(number, claim, e.at(index, at))

    def _relations(self, number: int, claim: Claim, e: Meaning, with_arrow: bool | None) -> None:
        chain = claim.chain
        if with_arrow is not None:
            just = holds_for_all(chain[-3:], e)
            assert just == with_arrow, f"claim {number + 1} is {just} where what the arrow points to is {with_arrow}"
            self.truths[number].add(just)
            chain = chain[:-2] if len(chain) > 3 else []
        defines = number in self.defined  # then its left side is what stands next to it, and is not needed here
        values = [value(part, e) if keeps(part) else part for part in chain[2 if defines else 0 :: 2]]
        values = [values[0], *values] if defines else values
        for i, relation in enumerate(chain[1::2]):
            after = chain[2 * i + 2]
            if relation == "→":
                values[i], values[i + 1] = (value(part, e.but(**e["→"])) for part in chain[2 * i : 2 * i + 3 : 2])
            if is_order(after):
                self._order((number, i), chain[2 * i], after, e)
            else:
                self._compare((number, i), values[i], relation, values[i + 1], after, e)

    def _order(self, place: tuple[int, int], left: Node, right: Node, e: Meaning) -> None:
        """left = right + O(…): from T = 10¹⁰ to 10¹¹ the rest falls as what stands in the brackets does."""
        if e.symbolic:
            return
        self.compared.add(place)
        kept, (_, (order,)) = right.parts[0], right.parts[1].parts
        at = [e.but(T=mpf(10) ** power) for power in (10, 11)]
        fall = [mp.log10(abs(value(left, hot) - value(kept, hot))) for hot in at]
        should = [mp.log10(value(order, hot)) for hot in at]
        difference = fall[1] - fall[0] - should[1] + should[0]
        assert abs(difference) < mpf("0.01"), f"the rest falls by 10^{shown(difference)} other than O says"

    def _compare(self, place: tuple[int, int], left: Any, relation: str, right: Any, tree: Node, e: Meaning) -> None:
        where = f"relation {place[1] + 1} of claim {place[0] + 1}:"
        if e.symbolic and relation != "=":
            return
        self.compared.add(place)
        if e.symbolic:
            for a, b in zip(*(side.flat for side in np.broadcast_arrays(left, right)), strict=True):
                difference = sp.sympify(a - b)
                assert vanishes(difference), f"{where} the difference is {str(difference)[:200]}"
                self.unproven.append((where, difference))
        elif relation == "≈":
            close = mpf(10) ** -len(tree.parts[0].split(".")[1]) / 2 if tree.kind == "number" else e["≈"] * abs(right)
            assert abs(left - right) <= close, f"{where} {shown(left)} is not about {shown(right)}"
        elif relation == "∝":
            first = self.ratios.setdefault(place[0], left / right)
            assert equal(left / right, first), f"{where} {shown(left)} is not in proportion"
        else:
            assert related(left, relation, right, e), f"{where} {shown(left)} {relation} {shown(right)} is wrong"
            if relation == "∈" and tree.kind == "interval":
                self._approach(place, left, value(tree.parts[2], e))
            if relation in ORDERS:
                self._approach(place, *((left, right) if relation in "≤<" else (right, left)))

    def _approach(self, place: tuple[int, int], low: Any, high: Any) -> None:
        """Remember how near the lower side comes to the higher one, as a part of it."""
        if (low > 0 or high < 0) and min(abs(low), abs(high)) > TINY:
            part = low / high if low > 0 else high / low
            self.nearest[place] = max(part, self.nearest.get(place, part))

    def prove(self) -> None:
        """Have SymPy prove each equality of symbols."""
        for where, difference in self.unproven:
            assert proven(difference), f"{where} {str(difference)[:200]} is not 0"

    def settle(self, near: Iterable[str]) -> None:
        """Nothing of the display may have been left out, and each bound is as near as the check says."""
        for number, claim in enumerate(self.claims):
            relations = len(claim.chain) // 2 - bool(claim.arrow)
            for i in range(relations):
                assert (number, i) in self.compared, f"relation {i + 1} of claim {number + 1} was never compared"
            assert not claim.arrow or len(self.truths[number]) == 2, (
                f"claim {number + 1} was never true, or never false"
            )
            name = self.defined.get(number)
            assert name is None or name in self.used, f"the display says what {name} is, and nothing needs it"
        assert self.nearness() == tuple(near), f"the bounds are reached to {self.nearness()}, not to {tuple(near)}"

    def nearness(self) -> tuple[str, ...]:
        """Of each bound the largest part that an input reaches; of each condition how many of the inputs meet it."""
        parts = [mpmath.nstr(mpf(part), 4) for _, part in sorted(self.nearest.items())]
        return (*parts, *(f"{met} of {of}" for _, (met, of) in sorted(self.met.items()) if met != of))


def keeps(part: Any) -> bool:
    """Whether a part of a chain has a value of its own."""
    return isinstance(part, Node) and part.kind != "interval" and not is_order(part)


def is_order(part: Any) -> bool:
    """Whether it ends in `+ O(…)`."""
    return part.kind == "add" and part.parts[1].kind == "call" and part.parts[1].parts[0] == Node("name", ("O",))


def meets(condition: Condition, e: Meaning) -> bool:
    """Whether an input is of the kind that a condition asks for."""
    if condition.phrase in e.words:
        return bool(e.words[condition.phrase](e))
    relations = [chain for chain in condition.chains if len(chain) > 1]
    if not set(condition.words) <= PLAIN or not relations:
        raise NotRead(f"the check does not say what this means: {condition.phrase}")
    return all(holds(chain, e) for chain in relations)


# ---- what a display itself defines -----------------------------------------------------------------------------------


def with_definitions(claims: list[Claim], e: Meaning, used: set[str]) -> tuple[Meaning, dict[int, str]]:
    """The meaning, with the symbols that only stand on the left of a claim; and what each claim defines.

    Args:
        claims: of the display.
        e: the meaning that the check gives.
        used: where a defined symbol enters itself as soon as something needs it.
    """
    defined = {}
    for number, claim in enumerate(claims):
        left = claim.chain[0]
        if claim.chain[1:2] != ["="]:
            continue
        name, tree = named(left, e), claim.chain[2]
        found: Any = None
        if left.kind == "call" and e.symbols.get(name) is DEFINED:
            found = function_of(left.parts[1], tree)
        elif left.kind == "name" and name not in e:
            found = lambda e, tree=tree: value(tree, e)  # noqa: E731
        elif left.kind == "scripted" and name is not None and name not in e:
            whole = name == left.parts[0].parts[0] + left.parts[1]
            indices = [index.parts[0] for index in left.parts[3] or ()] if whole else []
            found = lambda e, tree=tree, indices=indices: tabulated(tree, indices, e)  # noqa: E731
        if found is not None:
            e, defined[number] = e.with_more(**{name: noting(name, found, used)}), name
    return e, defined


def noting(name: str, found: Any, used: set[str]) -> Any:
    """The same, and it says that it was needed."""

    def work(e: Meaning, *arguments: Any) -> Any:
        used.add(name)
        return found.value(e, *arguments) if isinstance(found, Function) else found(e)

    return found._replace(value=work) if isinstance(found, Function) else work


def named(left: Node, e: Meaning) -> str | None:
    """The name under which the left side of a definition is bound; None, if it is bound already or is no name."""
    if left.kind == "name":
        return left.parts[0]
    if left.kind == "call":
        return named(left.parts[0], e)
    if left.kind != "scripted" or left.parts[0].kind != "name":
        return None
    base, primes, sub, indices, sup, _ = left.parts
    name = base.parts[0] + primes
    spelled = name + (f"_{sub}" if sub else "") + (f"^{sup}" if sup else "")
    is_index = not sub or (
        indices and all(i.kind != "name" or i.parts[0] in e.ranges or i.parts[0] in e for i in indices)
    )
    if spelled in e or f"{name}^{sup}" in e or (is_index and name in e):
        return None
    counted = not sub or all(i.kind == "name" and i.parts[0] in e.ranges for i in indices or [left])
    return name if counted and not sup else spelled


def function_of(parameters: tuple[Node, ...], tree: Node) -> Function:
    names = [parameter.parts[0] for parameter in parameters]
    return Function(lambda e, *arguments: value(tree, e.but(**dict(zip(names, arguments, strict=True)))), tuple(names))


def tabulated(tree: Node, indices: list[str], e: Meaning) -> Any:
    """The value for each index, as an array where they count from 1, else as a dictionary."""
    if not indices:
        return value(tree, e)
    found = {at: tabulated(tree, indices[1:], e.at(indices[0], at)) for at in e.range(indices[0])}
    counted = list(found) == list(range(1, len(found) + 1))
    return np.array([*found.values()], dtype=object) if counted else found


# ---- symbols ---------------------------------------------------------------------------------------------------------


def vanishes(difference: Any) -> bool:
    """Whether an expression is zero at one random place: it fails fast, where simplifying takes long."""
    rng = random.Random(0)
    if difference.has(sp.zoo, sp.nan):  # of a division by zero
        return False
    symbols = sorted(difference.free_symbols, key=str)
    place = [mpf(rng.randint(11, 99)) / 37 for _ in symbols]
    return abs(sp.lambdify(symbols, difference, "mpmath", cse=True)(*place)) < mpf(10) ** -20


@cache
def proven(difference: Any) -> bool:
    """Whether an expression is zero: as a fraction of exponentials, or as all that SymPy knows."""
    expanded = sp.expand_log(difference, force=True)
    return bool(sp.cancel(sp.together(rational(expanded))) == 0 or sp.simplify(expanded) == 0)


def rational(expression: Any) -> Any:
    """The same with a symbol for each exponential: what is zero for any numbers is so for exponentials."""
    symbols: dict[Any, Any] = {}

    def product(exponent: Any) -> Any:
        terms = (term.as_coeff_Mul() for term in sp.Add.make_args(sp.expand(exponent)))
        return sp.prod(symbols.setdefault(rest, sp.Dummy(positive=True)) ** number for number, rest in terms)

    return sp.expand_log(expression.replace(sp.exp, product), force=True)


def shown(number: Any) -> str:
    return mpmath.nstr(number, 12) if isinstance(number, mpf) else str(number)
