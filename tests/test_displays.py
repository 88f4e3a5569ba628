"""The displayed formula is what is checked: each is read, and a sign or a number that changes in it is noticed."""

import os
import random
import re
import subprocess
import sys
from decimal import Decimal
from functools import cache

import mpmath
import numpy as np
import pytest
import sympy

from derivations import tags
from derivations.checks import CHECKS, DIGITS, PARSED, PINNED, SYMBOLIC, checks, digest_of, evaluate, load
from derivations.display import read
from derivations.evidence import DEFINED, Evidence
from derivations.latex import NotRead
from derivations.meaning import Function, Meaning, Operator

load()
PARSED_TAGS = sorted((tag for tag, check in CHECKS.items() if check.display == PARSED), key=tags.number)

FLIPPED = {"+": "-", "-": "+", r"\le": r"\ge", r"\ge": r"\le", "<": ">", ">": "<"}
SIGN_OR_NUMBER = re.compile(r"\d+(?:\.\d+)?|[+-]|\\[lg]e(?![A-Za-z])|(?<![A-Za-z])[<>]")

NO_FACTOR = "the order of a rest knows no factor"
HARMLESS: dict[str, dict[str, str]] = {
    "D2.9": {r"_i} \;\ge\; [- → +]\sum_i p_i": "the sum is zero, so its sign says nothing"},
    "D3.1": {r"left( \frac{[1 → 2]}{T^3} \righ": NO_FACTOR},
    "D3.11": {r"1T (q_1 - p_[1 → 2]) - \frac{z_": "the teacher knows nothing: its probabilities are all the same"},
    "D3.12": {r"left( \frac{[1 → 2]}{T^4} \righ": NO_FACTOR},
    "D6.7": {r"max(t, [0 → 1]) \ge s\,t": "true as well: where |t| is large, a constant does not count"},
    "D6.18": {r"lVert w [- → +] u \rVert \;": "true as well: the triangle inequality holds for the sum too"},
    "D7.1": {r"= \prod_{i=[1 → 2]}^{n} \big(": "each factor is one, so their number says nothing"},
    "D7.2": {r"x_i}{1 - d} [+ → -] d \cdot 0 =": "nothing is added"},
}
"""Changes after which an equation says the same, or is true all the same; by tag, with the reason."""


def changes(latex):
    """(what was changed, the display after it), one sign or number at a time."""
    latex = re.sub(r"\\tag\{.*?\}", "", latex)
    for match in SIGN_OR_NUMBER.finditer(latex):
        old, (start, end) = match[0], match.span()
        new = FLIPPED.get(old) or str(Decimal(old) + 1)
        what = f"{latex[max(start - 12, 0) : start]}[{old} → {new}]{latex[end : end + 12]}"
        yield what.strip("\\ \n"), latex[:start] + new + latex[end:]


@cache
def inputs(cases):
    """All that a check yields, once for all changes."""
    with mpmath.workdps(DIGITS):
        return list(cases() or ())


def failure(tag, latex, given=None):
    """Why a display does not hold on the inputs of its check, or on others; None if it does. Proves nothing."""
    check = CHECKS[tag]
    try:
        with mpmath.workdps(DIGITS):
            evaluate(lambda: inputs(check.cases) if given is None else given, {tag: latex}, check.near, proofs=False)
    except AssertionError as error:
        return str(error)
    return None


# ---- every display ---------------------------------------------------------------------------------------------------


def test_four_fifths_of_the_displays_are_parsed():
    assert len(PARSED_TAGS) >= 0.8 * len(tags.equations())


@pytest.mark.slow
@pytest.mark.parametrize("tag", PARSED_TAGS)
def test_each_sign_and_each_number_of_a_display_matters(tag):
    unchanged = failure(tag, tags.display(tag))
    assert unchanged is None, unchanged
    survivors = [what for what, latex in changes(tags.display(tag)) if failure(tag, latex) is None]
    harmless = HARMLESS.get(tag, {})
    unnoticed = [what for what in survivors if what not in harmless]
    assert not unnoticed, f"nothing fails after {unnoticed}"
    assert not harmless.keys() - set(survivors), f"these are noticed, and need no reason: {harmless.keys()}"


def test_the_changes_that_the_issue_was_about_are_noticed():
    """The sign of the gradient, the constant of the theorem, and an inequality the wrong way round."""
    for tag, old, new in (
        ("D2.4", "q_k - p_k", "q_k + p_k"),
        ("D2.4", r"\frac{1}{T}", r"-\frac{1}{T}"),
        ("D3.10", r"12\sqrt3", r"99\sqrt3"),
        ("D3.10", r"12\sqrt3", r"11\sqrt3"),
        ("D10.8", r"C(q^+) \;\le\; C(q)", r"C(q^+) \;\ge\; C(q)"),
    ):
        assert old in tags.display(tag)
        assert failure(tag, tags.display(tag).replace(old, new)) is not None, f"{tag} with {new}"


def test_the_words_of_a_condition_matter():
    latex = tags.display("D9.3")
    assert "both outside" in latex
    assert "the check does not say what this means" in failure("D9.3", latex.replace("both outside", "one outside"))


# ---- what a check must say -------------------------------------------------------------------------------------------


def of(latex, *meanings, near=()):
    """Why a display does not hold where its symbols have these values; None if it does."""
    try:
        evaluate(lambda: meanings, {"D0.1": latex}, near)
    except AssertionError as error:
        return str(error)
    return None


def numbers(**symbols):
    return Meaning(symbols, {})


def test_a_symbol_without_a_meaning_is_refused():
    assert of("a = b", numbers(a=1)) == "the display cannot be evaluated: the check does not say what b is"


def test_a_relation_that_no_input_reaches_is_refused():
    assert "never compared" in of(r"a = 1 \qquad \text{for } b > 2", numbers(a=1, b=2))


def test_a_bound_is_as_near_as_the_check_says():
    latex, e = r"a \le \frac{1}{2}", numbers(a=mpmath.mpf("0.4"))
    assert of(latex, e, near=["0.8"]) is None
    assert "reached to ('0.8',), not to ('1.0',)" in of(latex, e, near=["1.0"])


def test_a_condition_must_be_met():
    latex, met, unmet = r"a = 1 \quad \text{for } b > 2", numbers(a=1, b=3), numbers(a=5, b=1)
    assert of(latex, met, unmet, near=["1 of 2"]) is None
    assert "is wrong" in of(latex, met, numbers(a=5, b=3))


def test_equal_means_to_25_digits():
    assert of("a = 1", numbers(a=1 + mpmath.mpf(10) ** -30)) is None
    assert of("a = 1", numbers(a=1 + mpmath.mpf(10) ** -15)) is not None


def test_an_inequality_may_not_fail_by_more_than_rounding():
    above, below = (numbers(a=1 + sign * mpmath.mpf(10) ** -15) for sign in (1, -1))
    assert of(r"a \le 1", below, near=["1.0"]) is None
    assert "is wrong" in of(r"a \le 1", above, near=["1.0"])
    assert of(r"a \ge 1", above, near=["1.0"]) is None
    assert "is wrong" in of(r"a \ge 1", below, near=["1.0"])


def test_a_number_after_about_is_true_to_its_last_digit():
    assert of(r"a \approx 0.0962", numbers(a=mpmath.mpf("0.09624"))) is None
    assert "is not about" in of(r"a \approx 0.0962", numbers(a=mpmath.mpf("0.0963")))


def test_what_is_zero_at_one_place_is_not_proven():
    a, place = sympy.Symbol("a", real=True), sympy.Rational(random.Random(0).randint(11, 99), 37)
    e = Meaning({"a": a, "b": place}, {}, symbolic=True)
    assert of("a = a", e) is None
    assert "is not 0" in of("a = b", e)


def test_what_a_display_defines_must_be_needed():
    assert of("a = b + 1, \\quad b = 2", numbers(a=3)) is None
    assert "says what c is, and nothing needs it" in of("a = b + 1, \\quad c = 2", numbers(a=3, b=2))


def test_an_arrow_needs_a_case_on_either_side():
    latex = r"a = 1 \quad \Longleftrightarrow \quad b = 2"
    assert of(latex, numbers(a=1, b=2), numbers(a=3, b=4)) is None
    assert "never true, or never false" in of(latex, numbers(a=1, b=2))
    assert "claim 1 is False" in of(latex, numbers(a=1, b=2), numbers(a=3, b=2))


def test_a_derivative_is_taken_of_what_the_cost_means():
    latex = r"\frac{\partial C}{\partial z_k} = 2 z_k"
    e = Meaning({"z": [mpmath.mpf(3), mpmath.mpf(5)], "C": lambda e: sum(x**2 for x in e.z)}, {"k": (1, 2)})
    assert of(latex, e) is None
    assert of(latex.replace("2 z_k", "3 z_k"), e) is not None


def test_a_function_takes_its_brackets_and_a_factor_does_not():
    assert of("f(a) = 4 a", Meaning({"a": 2, "f": Function(lambda e, x: x**3)}, {})) is None
    assert of("f(a) = 6", numbers(a=2, f=3)) is None


@pytest.mark.parametrize("latex", ["a = {", "a = )", "a < b c = ", r"\frac{\partial^2 C}{\partial z}"])
def test_what_cannot_be_read_is_refused(latex):
    with pytest.raises(NotRead):
        read(latex)


def test_a_pinned_display_is_held_by_its_digest(monkeypatch):
    monkeypatch.setattr(tags, "display", {"D0.1": "a = b"}.get)
    monkeypatch.setattr("derivations.checks.CHECKS", {})

    def entered(digest):
        from derivations.checks import CHECKS as now

        now.clear()
        checks("D0.1", kind=SYMBOLIC, scope="nothing", pinned={"D0.1": digest})(lambda: None)
        return now["D0.1"]

    right = entered(digest_of("a  =  b"))
    assert (right.display, right.verdict()) == (PINNED, None)
    assert f"pin {digest_of('a = b')}" in entered(digest_of("a = -b")).verdict()


# ---- python -O -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "environment"), [(["-O"], {}), ([], {"PYTHONOPTIMIZE": "1"})])
def test_without_assertions_nothing_is_said_to_hold(flags, environment):
    environment = {**os.environ, "PYTHONPATH": str(tags.ROOT), **environment}
    said = subprocess.run(
        [sys.executable, *flags, "-m", "derivations", "D2.4"], env=environment, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.splitlines() == [
        "derivations: the checks are assertions: run without python -O and without PYTHONOPTIMIZE, which leave them out"
    ]
    loaded = subprocess.run(
        [sys.executable, *flags, "-c", "from derivations.checks import load; load()"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert loaded.returncode == 1
    assert "RuntimeError: the checks are assertions" in loaded.stderr


# ---- every meaning of a symbol ---------------------------------------------------------------------------------------


def other(found):
    """Something of the same kind that is not the same; None for words, sets and what the display itself defines."""
    if isinstance(found, dict):
        others = {key: other(value) for key, value in found.items()}
        return None if any(value is None for value in others.values()) else others
    if isinstance(found, np.ndarray):
        return np.array([other(value) for value in found.flat], dtype=object).reshape(found.shape)
    if isinstance(found, bool):
        return not found
    if isinstance(found, int):
        return found + 1
    if isinstance(found, sympy.Expr):
        return found * sympy.Rational(8, 7) + sympy.Rational(1, 9)
    return found * mpmath.mpf(8) / 7 + mpmath.mpf(1) / 9 if isinstance(found, mpmath.mpf) else None


def is_computed(found):
    return (callable(found) or isinstance(found, Function)) and not isinstance(found, Operator) and found is not DEFINED


def replaced(e, names, change):
    """The same with something else for some symbols: what `change(name, value)` returns."""

    def of(name, found):
        if isinstance(found, Function):
            return found._replace(value=lambda e, *arguments: change(name, found.value(e, *arguments)))
        return lambda e: change(name, found(e) if callable(found) else found)

    return e.but(**{name: of(name, e.symbols[name]) for name in names if name in e.symbols})


def few_of(given):
    """Enough of the inputs to see what a display needs: one is enough in symbols."""
    return given[:1] if given[0].symbolic else given[:6]


def holds_on(tag, given):
    """Whether a display holds on these inputs, however near they come to its bounds."""
    evidence = Evidence(tags.display(tag))
    try:
        with mpmath.workdps(DIGITS):
            for e in given:
                evidence.add(e)
    except (AssertionError, NotRead, ArithmeticError, ValueError, TypeError):
        return False
    return True


def needed(tag, given):
    """Which symbols a display needs: those that the check computes, and those that it is given."""
    names = {name for e in given for name, found in e.symbols.items() if is_computed(found) or other(found) is not None}
    used = set()

    def note(name, value):
        used.add(name)
        return value

    assert holds_on(tag, [replaced(e, names, note) for e in few_of(given)])
    computed = {name for e in given for name in used & e.symbols.keys() if is_computed(e.symbols[name])}
    return sorted(computed), sorted(used - computed)


ANY_COST = "any cost, with its slopes on either side"
IDENTITY = "an identity in all numbers"
RISING = "any other number that rises with it"
SAME: dict[str, dict[str, str]] = {
    **{tag: {"C": ANY_COST} for tag in ("D1.7", "D1.8", "D1.9", "D4.4", "D6.2", "D6.3", "D6.4", "D6.5", "D6.8")},
    "D3.2": dict.fromkeys("KTvz", IDENTITY),
    "D3.29": {"u": "any logits of zero mean, with their own spread"},
    "D5.1": {"p": "any targets, on either side"},
    "D5.8": dict.fromkeys(("C_hard", "C_soft", "T", "alpha"), IDENTITY),
    "D6.13": {"theta": "any parameters"},
    "D6.7": {"s": "any slope: the equation says for which it holds"},
    "D7.4": {"z": "any logits of the members"},
    "D7.8": {"z": "any logits of the members"},
    "D8.5": dict.fromkeys("pq", IDENTITY),
    "D8.6": dict.fromkeys("pq", IDENTITY),
    "D10.5": {"KL": RISING, "q": "any answer"},
    "D10.11": {"C'": RISING},
    "D11.8": {"p": "any priors"},
    "D12.5": {"z": "any logits, with their slopes on either side"},
    "D11.10": dict.fromkeys(("W", "c", "c'"), RISING),
}
"""Symbols of a display that can mean something else: by tag, with the reason."""


@pytest.mark.slow
@pytest.mark.parametrize("tag", PARSED_TAGS)
def test_each_meaning_that_a_check_computes_matters(tag):
    """Else the display would say nothing of it: it would be a tautology, say."""
    assert set(meanings_that_do_not_matter(tag)) == SAME.get(tag, {}).keys()


def meanings_that_do_not_matter(tag):
    """Which computed symbols can mean something else; if all of them can, what is given must matter, or can as well."""
    with mpmath.workdps(DIGITS):
        given = inputs(CHECKS[tag].cases)

    def matters(name):
        changed = [replaced(e, [name], lambda name, value: other(value)) for e in given]
        return not holds_on(tag, few_of(changed)) or failure(tag, tags.display(tag), changed) is not None

    computed, plain = needed(tag, given)
    unnoticed = [name for name in computed if not matters(name)]
    if unnoticed == computed and not any(map(matters, plain)):
        unnoticed += plain
    return unnoticed
