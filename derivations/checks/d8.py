"""D8: the means of an ensemble."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, mean, softmax, zero_mean
from derivations.checks import logits as one_case
from derivations.checks.cases import FEW, array, indices
from derivations.checks.cases import softmax as softmax_of
from derivations.checks.symbolic import T, delta, dot, is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols
from derivations.meaning import Meaning

SCOPE = "M = 2, K = 2 and 3"
CASES = "random, tied, one-hot and far-spread logits, M = 2 to 4, K = 2 to 10, T = 0.1 to 1000"
ARITHMETIC = {"bar p": lambda e: e.p.sum(axis=0) / e.M}
GEOMETRIC = {"bar v": lambda e: e.v.sum(axis=0) / e.M, "g": lambda e: softmax_of(e, e["bar v"] / e.T)}


def average(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def ensemble(v, t, symbolic=False, **more):
    """Members with the logits v; p is a row for each of them."""
    v = array(v)
    own = {"v": v, "T": t, "M": len(v), "K": len(v[0]), "p": lambda e: softmax_of(e, e.v / e.T)}
    ranges = {**indices("ijk", len(v[0])), "m": range(1, len(v) + 1)}
    return Meaning({**own, **more}, ranges, symbolic=symbolic)


def symbolic_ensembles(**more):
    for K in (2, 3):
        v, w, z = symbols(K, "vwz")
        yield ensemble([v, w], T, True, z=array(z), q=lambda e: softmax_of(e, e.z / e.T), **more)


def ensembles():
    """The logits of M members for one case: random ones of all magnitudes, and the adverse mixed among them."""
    rng = random.Random(0)
    for K in (2, 3, 5, 10):
        pool = list(one_case(12, (K,), seed=K))
        for _ in range(4):
            yield rng.sample(pool, rng.choice((2, 3, 4)))
        yield [pool[0], pool[0], pool[0]]
        yield [[mpf(20 * delta(i, m)) for i in range(K)] for m in range(K)]


def numeric_ensembles(**more):
    for rows in ensembles():
        for t in FEW:
            yield ensemble(rows, t, **more)


@checks("D8.1", kind=NUMERIC, scope=CASES)
def the_arithmetic_mean_is_a_distribution_and_a_draw_of_lots():
    for rows in ensembles():
        for t in FEW:
            p = [softmax(row, t) for row in rows]
            mixed = average(p)
            yield ensemble(rows, t, **{"bar p": array(mixed), "p": array(p)})
            close(mp.fsum(mixed), mpf(1))
            for i, p_i in enumerate(mixed):
                assert p_i >= max(p_m[i] for p_m in p) / len(p) * (1 - mpf(10) ** -50), "a member's answer got lost"


@checks("D8.2", "D8.3", kind=NUMERIC, scope=CASES)
def the_mean_logits():
    for rows in ensembles():
        for t in FEW:
            p = [softmax(row, t) for row in rows]
            roots = [mp.root(mp.fprod(column), len(rows)) for column in zip(*p, strict=True)]
            yield ensemble(rows, t, g=array(root / mp.fsum(roots) for root in roots))


@checks("D8.4", "D8.5", "D8.6", kind=SYMBOLIC, scope=SCOPE)
def the_arithmetic_mean():
    yield from symbolic_ensembles(**ARITHMETIC)


def with_another(rows, t, **more):
    """And other distributions p to compare with."""
    symbols_of_m = {"p_m": lambda e: softmax_of(e, e.v[e.m - 1] / e.T)}
    mixed = lambda e: softmax_of(e, e.v / e.T).sum(axis=0) / e.M  # noqa: E731
    for z in list(one_case(3, (len(rows[0]),), seed=1))[:4]:
        yield ensemble(rows, t, **{"bar p": mixed, **GEOMETRIC, **symbols_of_m, "p": array(softmax(z)), **more})


@checks("D8.7", "D8.9", kind=NUMERIC, scope=CASES)
def what_the_arithmetic_mean_is_nearest_to():
    for rows in ensembles():
        for t in FEW:
            yield from with_another(rows, t)


@checks("D8.8", kind=NUMERIC, scope=CASES)
def what_the_geometric_mean_is_nearest_to():
    def Z(e):
        rows = softmax_of(e, e.v / e.T)
        return e.apply("exp", e.apply("log", rows).sum(axis=0) / e.M).sum()

    for rows in ensembles():
        for t in FEW:
            for e in with_another(rows, t, Z=Z):
                yield e
                assert -mp.log(e.Z) >= -(mpf(10) ** -50), f"the least average divergence is {-mp.log(e.Z)}"


def spread(row):
    return max(row) - min(row)


RANGES = {"R_bar v": lambda e: spread(e["bar v"]), "R_m": lambda e: spread(e.v[e.m - 1])}


@checks("D8.10", kind=NUMERIC, scope=f"{CASES}; reached to 3 % at T = 1000", near=("0.9736",))
def the_means_agree_to_first_order():
    yield from numeric_ensembles(**ARITHMETIC, **GEOMETRIC, **RANGES)
    opposite = [[mpf(2), 0, 0, 0, 0], [mpf("-1.6"), 0, 0, 0, 0]]  # nearly: the spread of the mean logits counts too
    yield ensemble(opposite, mpf(1000), **ARITHMETIC, **GEOMETRIC, **RANGES)


@checks("D8.11", kind=NUMERIC, scope=f"{CASES}, and T = 10¹⁰; steps to the remainder by SymPy", near=("0.09195",))
def the_first_difference():
    for rows in ensembles():
        centred = [zero_mean(row) for row in rows]
        middle = average(centred)
        s = [mp.sqrt(mean([(row[i] - m_i) ** 2 for row in centred])) for i, m_i in enumerate(middle)]
        for t in [*FEW, mpf(10) ** 10]:
            yield ensemble(rows, t, s=array(s), **ARITHMETIC, **GEOMETRIC, **RANGES)
    the_steps_to_the_remainder()


def the_steps_to_the_remainder():
    p, low, r, t = sp.symbols("p low r t", real=True)
    mean_of_two = low + p * r
    two = p * (low + r - mean_of_two) ** 3 + (1 - p) * (low - mean_of_two) ** 3
    is_zero(two - p * (1 - p) * (1 - 2 * p) * r**3, "the third central moment on two values:")
    assert 1 + 1 / (6 * sp.sqrt(3)) < sp.Rational(11, 10) < sp.Rational(6, 5)

    (u,) = symbols(3, "u")
    s = softmax_symbols(u, 1 / t)
    mu = dot(s, u)
    variance, kappa = (dot(s, [(u_j - mu) ** n for u_j in u]) for n in (2, 3))
    claimed = s[0] * ((u[0] - mu) ** 3 - 3 * variance * (u[0] - mu) - kappa)
    is_zero((sp.diff(s[0], t, 3) - claimed).subs(t, 0), "the third derivative at the uniform distribution:")

    rng, largest = random.Random(0), 0.0
    for i in range(20_000):  # in doubles: any distribution, on two values or on any
        K = 2 + i % 4
        e = [rng.expovariate(1) ** (1 + 3 * (i % 2)) + 1e-12 for _ in range(K)]
        s = [e_j / sum(e) for e_j in e]
        u = [float(rng.random() < 0.5) if i % 3 else rng.random() for _ in range(K)]
        mu = sum(s_j * u_j for s_j, u_j in zip(s, u, strict=True))
        variance, kappa = (sum(s_j * (u_j - mu) ** n for s_j, u_j in zip(s, u, strict=True)) for n in (2, 3))
        third = s[0] * ((u[0] - mu) ** 3 - 3 * variance * (u[0] - mu) - kappa)
        largest = max(largest, abs(third) / (max(u) - min(u)) ** 3 if max(u) > min(u) else 0.0)
    assert 0.99 / 8 < largest < 1 / 8 + 1e-12, f"the largest third derivative found is {largest}"
