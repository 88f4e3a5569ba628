"""D3: the high-temperature limit."""

import random
from itertools import product

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import (
    NUMERIC,
    SYMBOLIC,
    TEMPERATURES,
    checks,
    close,
    logits,
    pairs,
    root,
    softmax,
    zero_mean,
)
from derivations.checks import symbolic as sym
from derivations.checks.cases import array, indices, numeric_cases, one_case, symbolic_cases
from derivations.checks.cases import softmax as softmax_of
from derivations.checks.symbolic import CLASSES, SCOPE, dot, is_zero, symbols
from derivations.meaning import Function, Meaning

ADVERSE = "random, tied, one-hot and far-spread logits, K = 2 to 10"
t = sp.Symbol("t", positive=True)  # 1/T


def zero_mean_symbols(K, letters="zv"):
    return [[*u[:-1], -sum(u[:-1])] for u in symbols(K, letters)]


def sharpest():
    """Logits with a range of 1, for which the bounds are all but reached at T = 1/0.14."""
    return zero_mean([mpf(1), *[mpf(0)] * 4])


def constant():
    return 12 * mp.sqrt(mpf(3))


def in_t(z):
    """The softmax of t z, an expression in t."""
    return sym.softmax(z, 1 / t)


def spread(z):
    return max(z) - min(z)


def distance(z, v, T):
    """The largest error of logit matching on a case."""
    rows = zip(z, v, softmax(z, T), softmax(v, T), strict=True)
    return max(abs((q_i - p_i) / T - (z_i - v_i) / (len(z) * T**2)) for z_i, v_i, q_i, p_i in rows)


def generic(centred, classes=(3, 5)):
    """Logits in which no term of an expansion vanishes by chance."""
    for i, K in enumerate(classes):
        rng = random.Random(i)
        z, v = ([mpf(rng.gauss(0, 2)) for _ in range(K)] for _ in "zv")
        yield (zero_mean(z), zero_mean(v)) if centred else (z, v)


def is_centred(e):
    return abs(e.z.sum()) < mpf(10) ** -40 and abs(e.v.sum()) < mpf(10) ** -40


MEANS = {
    "bar z": lambda e: e.z.sum() / e.K, "bar v": lambda e: e.v.sum() / e.K,
    "overline z^2": lambda e: (e.z**2).sum() / e.K, "overline v^2": lambda e: (e.v**2).sum() / e.K,
    "overline z^3": lambda e: (e.z**3).sum() / e.K, "overline v^3": lambda e: (e.v**3).sum() / e.K,
}  # fmt: skip


@checks("D3.1", kind=NUMERIC, scope="random logits, K = 3 and 5, T = 10¹⁰ and 10¹¹; the rest is of that order exactly")
def first_order():
    for z, v in generic(centred=False):
        yield one_case(z, v, mpf(1))


@checks("D3.2", kind=SYMBOLIC, scope=SCOPE)
def logit_matching_of_zero_mean_logits():
    yield from symbolic_cases()
    for K in CLASSES:
        z, v = zero_mean_symbols(K)
        for i in range(K):
            linear = (1 + z[i] / sym.T) / (K + sum(z) / sym.T) - (1 + v[i] / sym.T) / (K + sum(v) / sym.T)
            is_zero(linear / sym.T - (z[i] - v[i]) / (K * sym.T**2))


@checks("D3.3", kind=NUMERIC, scope="random logits, K = 3 and 5; and the limit with SymPy, K = 2, 3, 4")
def the_limit_of_any_logits():
    for z, v in generic(centred=False):
        yield one_case(z, v, mpf(1), **MEANS)
    for K in CLASSES:
        z, v = symbols(K)
        for i in range(K):
            # T² dC/dz is (q − p)/t, whose limit at t = 0 is the slope of q − p there, as q = p = 1/K at t = 0
            limit = sp.diff(in_t(z)[i] - in_t(v)[i], t).subs(t, 0)
            is_zero(limit - (z[i] - sum(z) / K - v[i] + sum(v) / K) / K)


def along_t(u, t, symbolic=False, **more):
    """One probability on the way from uniform, at t = 1/T."""
    means = {
        "s": lambda e: softmax_of(e, e.t * e.u),
        "bar u_s": lambda e: (e.s * e.u).sum(),
        "T": lambda e: 1 / e.t,
        "K": len(u),
    }
    return Meaning({"u": array(u), "t": t, **means, **more}, indices("ij", len(u)), symbolic=symbolic)


@checks("D3.4", "D3.5", kind=SYMBOLIC, scope=SCOPE)
def slope_and_curvature():
    for K in CLASSES:
        yield along_t(symbols(K, "u")[0], t, symbolic=True)


@checks("D3.6", kind=SYMBOLIC, scope=f"{SCOPE}, any distribution")
def curvature_by_class_and_rest():
    """The distribution is any: e is its start, and u the direction in which it goes."""
    for K in CLASSES:
        (u,) = symbols(K, "u")
        start = array(sp.symbols(f"e1:{K + 1}", positive=True))

        def class_and_rest(e, start=start):
            weights = start * e.apply("exp", e.t * e.u)
            return weights / weights.sum()

        def of_rest(power, class_and_rest=class_and_rest):
            def moment(e):
                s = class_and_rest(e)
                return (s[1:] * e.u[1:] ** power).sum() / s[1:].sum()

            return moment

        mean_of_rest, square_of_rest = of_rest(1), of_rest(2)
        symbols_of_rest = {
            "s_i": lambda e, f=class_and_rest: f(e)[0],
            "s": lambda e, f=class_and_rest: f(e)[0],
            "d": lambda e, m=mean_of_rest: e.u[0] - m(e),
            "w": lambda e, m=mean_of_rest, m2=square_of_rest: m2(e) - m(e) ** 2,
        }
        yield along_t(u, sp.Integer(0), symbolic=True, **symbols_of_rest)


def cubic(s):
    return s * (1 - s) * (1 - 2 * s)


@checks("D3.7", kind=SYMBOLIC, scope="exactly")
def the_maximum_of_the_cubic():
    yield Meaning({}, {})
    s = sp.Symbol("s", real=True)
    stationary = [root for root in sp.solve(sp.diff(cubic(s), s), s) if 0 < root < 1]
    is_zero(min(stationary) - (3 - sp.sqrt(3)) / 6)
    values = [sp.simplify(cubic(root)) for root in [*stationary, 0, 1]]
    is_zero(max(values) - 1 / (6 * sp.sqrt(3)))


@checks(
    "D3.8",
    kind=NUMERIC,
    scope="random and adverse logits; each step of the proof by SymPy; and 20,000 random distributions in doubles",
    near=("1.0",),
)
def the_curvature_is_bounded():
    for u in logits(count=8, classes=(2, 3, 5)):
        for at in (mpf(1) / 20, mpf(1)):
            yield along_t(u, at, R_u=spread(u))
    best = (3 - mp.sqrt(3)) / 6
    yield along_t(
        sharpest(), mp.log(4 * best / (1 - best)), R_u=mpf(1)
    )  # one of five classes has just this probability
    rng, largest = random.Random(0), 0.0
    for i in range(20_000):  # any distribution at all, in double precision: the margin below is far above rounding
        K = 2 + i % 6
        kind = i % 4
        e = [rng.expovariate(1) ** (1 + 3 * (kind % 2)) + 1e-12 for _ in range(K)]
        s = [e_j / sum(e) for e_j in e]
        u = [rng.random() if kind < 2 else float(rng.random() < 0.5) for _ in range(K)]
        if spread(u) == 0:
            continue
        centre = sum(s_j * u_j for s_j, u_j in zip(s, u, strict=True))
        variance = sum(s_j * (u_j - centre) ** 2 for s_j, u_j in zip(s, u, strict=True))
        largest = max(largest, abs(s[0] * ((u[0] - centre) ** 2 - variance)) / spread(u) ** 2)
    assert 0.99 / (6 * 3**0.5) < largest <= 1 / (6 * 3**0.5) * (1 + 1e-12), f"the largest found is {largest}"
    every_step_of_the_proof()


def every_step_of_the_proof():
    """A class has the probability s; the others have the shares r of the rest, and logits u from 0 to R."""
    s, x, R = sp.symbols("s x R", positive=True)
    u, (r1, r2) = sp.symbols("u1:4"), sp.symbols("r1:3")
    r = (r1, r2, 1 - r1 - r2)

    def mean_and_variance(u):
        m = dot(r, u)
        return m, dot(r, [(u_j - m) ** 2 for u_j in u])

    m, w = mean_and_variance(u)
    is_zero(m * (R - m) - w - dot(r, [u_j * (R - u_j) for u_j in u]), "w ≤ m(R − m):")
    turned_m, turned_w = mean_and_variance([R - u_j for u_j in u])
    is_zero(turned_m - (R - m), "the mean after all signs are turned:")
    is_zero(turned_w - w, "the variance after all signs are turned:")

    largest = 1 / (6 * sp.sqrt(3))
    m = sp.Symbol("m", positive=True)
    is_zero(s * (1 - s) + (s - sp.Rational(1, 2)) ** 2 - sp.Rational(1, 4), "s(1 − s) ≤ 1/4:")
    is_zero(m * (R - m) + (m - R / 2) ** 2 - R**2 / 4, "m(R − m) ≤ R²/4:")
    assert sp.Rational(1, 4) * sp.Rational(1, 4) < largest, "s ≤ 1/2"

    bracket = x * (1 - 2 * (1 - s) * x)
    is_zero((m * (R - m) + (2 * s - 1) * (R - m) ** 2).subs(m, R - R * x) - R**2 * bracket, "the bracket:")
    is_zero(sp.diff(bracket, x, 2) + 4 * (1 - s), "the bracket is concave in x:")
    is_zero(sp.diff(bracket, x).subs(x, 1 / (4 * (1 - s))), "the place of its maximum:")
    is_zero(bracket.subs(x, 1 / (4 * (1 - s))) * s * (1 - s) - s / 8, "its maximum:")
    assert (s / 8).subs(s, sp.Rational(3, 4)) == sp.Rational(3, 32) < largest, "1/2 < s ≤ 3/4"
    is_zero(sp.diff(bracket, x).subs(x, 1) - 4 * (s - sp.Rational(3, 4)), "it rises up to x = 1 for s > 3/4:")
    is_zero(bracket.subs(x, 1) * s * (1 - s) - cubic(1 - s), "s > 3/4:")


@checks("D3.9", kind=NUMERIC, scope=f"{ADVERSE}, T = 0.1 to 1000", near=("0.9992",))
def taylor_of_one_distribution():
    inputs = [(zero_mean([mpf(2), mpf(0), mpf(-1)]), mpf(1)), (sharpest(), mpf("0.14"))]
    for u, at in inputs:
        yield along_t(u, at, R_u=spread(u), s=Function(lambda e, t: softmax_of(e, t * e.u)))
    nearest = mpf(0)
    for u, T in [*product(map(zero_mean, logits()), TEMPERATURES), (sharpest(), 1 / mpf("0.14"))]:
        bound = spread(u) ** 2 / (constant() * T**2)
        for s_i, u_i in zip(softmax(u, T), u, strict=True):
            error = abs(s_i - mpf(1) / len(u) - u_i / (T * len(u)))
            assert error <= bound + mpf(10) ** -50, f"{error} > {bound} at T = {T}, u = {u}"
            nearest = max(nearest, error / bound if bound else mpf(0))
    assert nearest > mpf("0.999"), f"the bound is reached to {nearest} only"


EVERY = "for every T>0,Kge 2 and all zero-mean z,v"


@checks("D3.10", kind=NUMERIC, scope=f"{ADVERSE}, T = 0.001 to a million; reached to a thousandth", near=("0.9992",))
def the_theorem():
    words = {EVERY: lambda e: e.T > 0 and e.K >= 2 and is_centred(e)}
    twice = [2 * z_i for z_i in sharpest()]  # a range of 2, whose square is not its cube
    yield one_case(twice, [mpf(0)] * 5, 2 / mpf("0.14"), words=words)
    yield from numeric_cases([mpf(1) / 1000, mpf(1), mpf(20), mpf(10) ** 6], centred=True, words=words)


@checks("D3.11", kind=NUMERIC, scope="K = 2 to 50, R/T = 0.01 to 3")
def the_constant_is_sharp():
    for K in (2, 5, 50):
        for x in (mpf("0.01"), mpf("0.14"), mpf(3)):
            T = mpf(8)
            yield one_case(zero_mean([x * T, *[mpf(0)] * (K - 1)]), [mpf(0)] * K, T, R=x * T, x=x)

    def sharpness(K, x):
        return constant() / x**2 * abs(mp.exp(x) / (mp.exp(x) + K - 1) - mpf(1) / K - (K - 1) * x / mpf(K) ** 2)

    place = (3 - mp.sqrt(3)) / 6
    passed = mp.log(4 * place / (1 - place))  # one of five classes has just this probability there
    assert mp.nstr(passed, 2) == "0.069", f"the curve passes the best place at x = {passed}"
    best = max((sharpness(K, mpf(i) / 100), K, i) for K in range(2, 51) for i in range(1, 301, 1 if K == 5 else 10))
    assert best[1:] == (5, 14), f"the best is K = {best[1]}, x = {best[2] / 100}"
    assert mpf("0.9992") < best[0] < mpf("0.9993"), f"the ratio reached is {best[0]}"
    close(sharpness(5, mpf(10) ** -12), 6 * mp.sqrt(3) * mpf(12) / 125, tolerance=mpf(10) ** -10)


@checks("D3.12", kind=NUMERIC, scope="random logits, K = 3 and 5, T = 10¹⁰ and 10¹¹; the rest is of that order exactly")
def the_next_term():
    for z, v in generic(centred=True):
        yield one_case(z, v, mpf(1), **MEANS)
    z, v = zero_mean_symbols(2)
    is_zero(z[0] ** 2 - z[1] ** 2, "two classes have a next term:")
    weights = [mp.nstr(5 * p_i, 2 + (i > 0)) for i, p_i in enumerate(softmax([mpf(-4), *[mpf(1)] * 4], mpf(10)))]
    assert weights == ["0.66", *["1.09"] * 4], f"the weights of the example are {weights}"


@checks("D3.13", kind=NUMERIC, scope="random logits, K = 3 and 5; and the limit with SymPy, K = 2, 3, 4")
def the_limit_of_the_cost():
    for z, v in generic(centred=True):
        yield one_case(z, v, mpf(1), words={"for zero-mean z,v": is_centred})
    for K in CLASSES:
        z, v = zero_mean_symbols(K)
        p = in_t(v)
        log_ratio = [t * (v_i - z_i) for v_i, z_i in zip(v, z, strict=True)]
        normaliser = sp.log(sum(sp.exp(t * z_i) for z_i in z)) - sp.log(sum(sp.exp(t * v_i) for v_i in v))
        divergence = dot(p, log_ratio) + normaliser
        for order in (0, 1):
            is_zero(sp.diff(divergence, t, order).subs(t, 0))
        limit = sp.diff(divergence, t, 2).subs(t, 0) / 2  # of T² times the divergence
        is_zero(limit - sum((z_i - v_i) ** 2 for z_i, v_i in zip(z, v, strict=True)) / (2 * K))


@checks(
    "D3.14",
    kind=NUMERIC,
    scope=f"{ADVERSE}, tolerances 1, 5 and 10 %; reached to a thousandth",
    near=("0.9991", "858 of 942"),
)
def a_temperature_that_suffices():
    cases = [*pairs(count=12), (sharpest(), [mpf(0)] * 5)]
    for z, v in cases:
        z, v = zero_mean(z), zero_mean(v)
        D = max(abs(z_i - v_i) for z_i, v_i in zip(z, v, strict=True))
        for tolerance in (mpf("0.01"), mpf("0.05"), mpf("0.1")) if D else ():
            enough = len(z) * (spread(z) ** 2 + spread(v) ** 2) / (constant() * tolerance * D)
            for T in (enough * mpf("0.999"), enough, 2 * enough):
                yield one_case(z, v, T, D=D, varepsilon=tolerance)


@checks(
    "D3.15",
    kind=NUMERIC,
    scope="random logits, K = 2 to 10, and v = -z; within 0.01 % at a tolerance of 1e-6",
)
def about_where_it_happens():
    tolerance = mpf(10) ** -6
    opposite = [(z, [-z_i for z_i in z]) for z, _ in generic(centred=True)]  # no second order, as for K = 2
    for z, v in [*generic(centred=True, classes=(2, 3, 5, 10)), *opposite]:
        D = max(abs(z_i - v_i) for z_i, v_i in zip(z, v, strict=True))

        def too_far(log_T, z=z, v=v, D=D):
            T = mp.exp(log_T)
            return distance(z, v, T) * len(z) * T**2 / D - tolerance

        there = mp.exp(root(too_far, mpf(3), mpf(25)))
        yield one_case(z, v, mpf(1), T_varepsilon=there, D=D, varepsilon=tolerance, **{"≈": mpf(10) ** -4}, **MEANS)
