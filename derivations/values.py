"""Give the trees of a displayed equation their values, and compare the two sides of each of its relations.

A partial derivative is taken of what the numerator means: by SymPy where the numbers are symbols, else by central
differences with far more digits than are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from mpmath import mp, mpf

from derivations.latex import Node, NotRead
from derivations.meaning import DIGITS, Function, Meaning, Operator, OutOfRange, Unset, derived, replaced, slope

FAR = mpf(10) ** 15
COMPARED = mpf(10) ** -25
NOISE = mpf(10) ** -70


def value(node: Any, e: Meaning) -> Any:
    """What an expression is worth."""
    return VALUES[node.kind](e, *node.parts)


def _multiply(e: Meaning, a: Node, b: Node) -> Any:
    left, right = value(a, e), value(b, e)
    matrices = isinstance(left, np.ndarray) and isinstance(right, np.ndarray)
    return left @ right if matrices else left * right


def _divide(e: Meaning, a: Node, b: Node) -> Any:
    """Of two integers too, which Python would divide to a double."""
    above = value(a, e)
    return (e.number(str(above)) if isinstance(above, int) else above) / value(b, e)


def _truth(e: Meaning, chain: list) -> Any:
    """[a > b], for numbers or for each element."""
    left, relation, right = value(chain[0], e), chain[1], value(chain[2], e)
    found = left in right if relation == "∈" else np.frompyfunc(ORDER[relation], 2, 1)(left, right)
    return found + e.number("0")


ORDER: dict[str, Callable[[Any, Any], int]] = {
    "=": lambda a, b: int(a == b), "≠": lambda a, b: int(a != b), "<": lambda a, b: int(a < b),
    ">": lambda a, b: int(a > b), "≤": lambda a, b: int(a <= b), "≥": lambda a, b: int(a >= b),
}  # fmt: skip


def _cases(e: Meaning, *rows: list) -> Any:
    for (result,), condition in rows:
        if holds(condition, e):
            return value(result, e)
    raise OutOfRange("no case holds")


def element(found: Any, indices: list | None, e: Meaning) -> Any:
    """An element of an array, counted from 1, or of a dictionary; a row, where a dot stands for all columns."""
    for index in indices or ():
        if index.kind == "all":
            continue
        at = value(index, e)
        at = int(at) if isinstance(at, mpf | sp.Basic) else at
        if isinstance(found, dict):
            if at not in found:
                raise OutOfRange(at)
            found = found[at]
        elif not 1 <= at <= len(found):
            raise OutOfRange(at)
        else:
            found = found[at - 1]
    return found


def _scripted(e: Meaning, base: Node, primes: str, sub: str, indices: list | None, sup: str, power: Any) -> Any:
    if base.kind != "name":
        return raised(element(value(base, e), indices, e), sup, power, e)
    name = base.parts[0] + primes
    if name == "e" and sup and not sub:
        return e.apply("exp", value(power, e))
    if f"{name}_{sub}^{sup}" in e and sub and sup:
        return e[f"{name}_{sub}^{sup}"]
    if f"{name}^{sup}" in e and sup:
        return element(e[f"{name}^{sup}"], indices, e)
    if f"{name}_{sub}" in e and sub:
        return raised(e[f"{name}_{sub}"], sup, power, e)
    return raised(element(e[name], indices, e), sup, power, e)


def raised(base: Any, sup: str, power: Any, e: Meaning) -> Any:
    if not sup:
        return base
    if sup != "top" and power is None:
        raise NotRead(f"the check does not say what ^{sup} is")
    return base.T if sup == "top" else base ** value(power, e)


def _call(e: Meaning, function: Node, arguments: tuple) -> Any:
    base, primes, sub, indices = (function, "", "", None)
    if function.kind == "scripted":
        base, primes, sub, indices, _, _ = function.parts
    name = base.parts[0]
    for known in (f"{name}{primes}_{sub}", name + primes):
        if known in e:
            found, indices = e[known], None if known == f"{name}{primes}_{sub}" else indices
            break
    else:
        found = BUILT_IN[name](e, sub, indices) if name in BUILT_IN else derived(e[name], len(primes))
    if isinstance(found, Operator):
        return found.act(e, *arguments)
    if isinstance(found, Function):
        values = [argument if isinstance(argument, str) else value(argument, e) for argument in arguments]
        return found.value(e, *values) if name in ("Var",) else element(found.value(e, *values), indices, e)
    found = element(found, indices, e)  # a function for each index
    return found.value(e, *(value(argument, e) for argument in arguments))


def _softmax(e: Meaning, sub: str, indices: Any) -> Function:
    def softmax(e: Meaning, z: Any) -> Any:
        exponentials = e.apply("exp", z if e.symbolic else z - max(z))
        return exponentials / exponentials.sum()

    return Function(softmax)


def _divergence(e: Meaning, sub: str, indices: Any) -> Function:
    return Function(lambda e, p, q: (p * e.apply("log", p / q)).sum())


def _entropy(e: Meaning, sub: str, indices: Any) -> Function:
    return Function(lambda e, p: -(p * e.apply("log", p)).sum())


def _variance(e: Meaning, sub: str, indices: Any) -> Function:
    """Under the distribution that the subscript names."""
    q = e[sub] if sub in e else value(indices[0], e)
    return Function(lambda e, u: (q * u**2).sum() - (q * u).sum() ** 2)


def _extreme(choose: Callable[..., Any]) -> Callable[..., Function]:
    return lambda e, sub, indices: Function(lambda e, *x: np.frompyfunc(lambda *each: choose(each), len(x), 1)(*x))


BUILT_IN: dict[str, Callable[..., Function]] = {
    "softmax": _softmax, "KL": _divergence, "H": _entropy, "Var": _variance, "max": _extreme(max), "min": _extreme(min),
}  # fmt: skip


# ---- sums, limits, derivatives, integrals ----------------------------------------------------------------------------


def each(over: tuple, upper: Node | None, e: Meaning) -> Iterable[Meaning]:
    """The meaning at every value of the indices under a sum."""
    if over[0] == "words":  # such as "paths": each a set of symbols
        return (e.but(**symbols) for symbols in e.range(over[1]))
    if over[0] == "from":
        first, last = int(value(over[2], e)), int(value(upper, e))
        return (e.at(over[1], i) for i in range(first, last + 1))
    if over[0] == "in":
        return (e.at(over[1], i) for i in value(over[2], e))
    if over[0] == "except":
        left_out = value(over[2], e)
        return (e.at(over[1], i) for i in e.range(over[1]) if i != left_out)
    found: Iterable[Meaning] = [e]
    for name in over[1]:
        found = [at.at(name, i) for at in found for i in at.range(name)]
    return found


def _over(e: Meaning, operator: str, over: tuple, upper: Node | None, body: Node) -> Any:
    if over[0] == "between":
        return highest(e, over[1], value(over[2], e), value(over[3], e), body)
    try:
        found = [(value(body, at), at) for at in each(over, upper, e)]
    except OutOfRange as gone:
        raise NotRead(f"a sum or a product reaches {gone}, which is not there") from gone
    if operator in ("sum", "prod"):
        total = e.number("0" if operator == "sum" else "1")
        for out, _ in found:
            total = total + out if operator == "sum" else total * out
        return total
    if operator == "argmax":
        return max(found, key=lambda pair: pair[0])[1][over[1][0]]
    return (min if operator == "min" else max)(out for out, _ in found)


def highest(e: Meaning, name: str, low: Any, high: Any, body: Node) -> Any:
    """The maximum of an expression of one real number between two others."""
    x = sp.Symbol(name, real=True)
    with_symbol = Meaning({**e.symbols, name: x}, e.ranges, e.words, symbolic=True)
    found = sp.maximum(value(body, with_symbol), x, sp.Interval(sp.nsimplify(low), sp.nsimplify(high)))
    return found if e.symbolic else mpf(sp.N(found, DIGITS))


def _limit(e: Meaning, over: tuple, body: Node) -> Any:
    """At a number so large that nothing is left of 1 over it: Richardson's extrapolation from three of them."""
    far, farther, farthest = (value(body, e.but(**{over[1]: k * FAR})) for k in (1, 2, 4))
    return (8 * farthest - 6 * farther + far) / 3


def _at(e: Meaning, body: Node, chain: list) -> Any:
    return value(body, e.but(**{chain[0].parts[0]: value(chain[2], e)}))


def target(node: Node, e: Meaning) -> tuple[str, tuple]:
    """The symbol that a derivative is taken with respect to, and the place in it."""
    if node.kind == "name":
        return node.parts[0], ()
    base, primes, sub, indices, _, _ = node.parts
    name = base.parts[0] + primes
    if f"{name}_{sub}" in e:
        return f"{name}_{sub}", ()
    return name, tuple(int(value(index, e)) for index in indices or ())


def _derivative(e: Meaning, body: Node, targets: list) -> Any:
    first, rest = targets[0], targets[1:]
    logarithm = first.kind == "function"
    name, place = target(first.parts[1] if logarithm else first, e)
    here = e[name]
    for at in place:
        here = element(here, [Node("number", (str(at),))], e)

    def along(x: Any) -> Any:
        at = e.but(**{name: replaced(e[name], place, e.apply("exp", x) if logarithm else x)})
        out = _derivative(at, body, rest) if rest else value(body, at)
        return out.value(at, *(at[name] for name in out.of)) if isinstance(out, Function) else out

    return slope(along, e.apply("log", here) if logarithm else here, e.symbolic)


def _integral(e: Meaning, name: str, low: Node, high: Node, body: Node) -> Any:
    a, b = value(low, e), value(high, e)

    def integrand(x: Any) -> Any:
        with mpmath.workdps(DIGITS):
            return value(body, e.but(**{name: x}))

    with mpmath.workdps(30):
        return mp.quad(integrand, [a, (a + b) / 2, b])


VALUES: dict[str, Callable[..., Any]] = {
    "name": lambda e, name: e[name],
    "number": lambda e, text: e.number(text),
    "group": lambda e, a: value(a, e),
    "labelled": lambda e, a, label: value(a, e),
    "add": lambda e, a, b: value(a, e) + value(b, e),
    "subtract": lambda e, a, b: value(a, e) - value(b, e),
    "negative": lambda e, a: -value(a, e),
    "elementwise": lambda e, a, b: value(a, e) * value(b, e),
    "sqrt": lambda e, a: e.apply("sqrt", value(a, e)),
    "norm": lambda e, a: e.apply("sqrt", (value(a, e) ** 2).sum()),
    "absolute": lambda e, a: np.abs(value(a, e)),
    "function": lambda e, name, a: e.apply(name, value(a, e)),
    "row": lambda e, *items: np.array([value(item, e) for item in items], dtype=object),
    "pmatrix": lambda e, *rows: np.array([[value(cell[0], e) for cell in row] for row in rows], dtype=object),
    "multiply": _multiply, "divide": _divide, "truth": _truth, "cases": _cases, "scripted": _scripted, "call": _call,
    "at": _at, "over": _over, "limit": _limit, "derivative": _derivative, "integral": _integral,
}  # fmt: skip
"""How to work out each kind of node."""


# ---- relations -------------------------------------------------------------------------------------------------------


def holds(chain: list, e: Meaning) -> bool:
    """Whether every relation of a chain is true."""
    values = [value(part, e) if isinstance(part, Node) and part.kind != "interval" else part for part in chain]
    return all(related(*values[i : i + 3], e) for i in range(0, len(chain) - 2, 2))


def holds_for_all(chain: list, e: Meaning) -> bool:
    """Whether every relation of a chain is true, whatever the indices are that have no value yet."""
    try:
        return holds(chain, e)
    except Unset as unset:
        index = str(unset)
    return all(holds_for_all(chain, e.at(index, at)) for at in e.range(index))


def related(left: Any, relation: str, right: Any, e: Meaning) -> bool:
    if relation == "∈":
        if not isinstance(right, Node):
            return left in right
        opening, low, high, closing = right.parts
        low, high = value(low, e), value(high, e)
        return (low <= left if opening == "[" else low < left) and (left <= high if closing == "]" else left < high)
    if relation == "→":
        return abs(left - right) <= mpf(10) ** -5
    if relation in "=≠":
        return equal(left, right) == (relation == "=")
    slack = max(COMPARED * max(abs(left), abs(right)), NOISE) if relation in "≤≥" else 0
    return bool(left <= right + slack if relation in "≤<" else left >= right - slack) and (
        relation in "≤≥" or left != right
    )


def equal(a: Any, b: Any) -> bool:
    """a = b, to the digits that are compared; of arrays, element by element."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.shape != b.shape:
            return False
        return all(equal(x, y) for x, y in zip(*(side.flat for side in np.broadcast_arrays(a, b)), strict=True))
    return bool(a == b or abs(a - b) <= COMPARED * max(1, abs(a), abs(b)))
