"""D3: the high-temperature limit."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import (
    NUMERIC,
    SYMBOLIC,
    TEMPERATURES,
    checks,
    close,
    logits,
    mean,
    pairs,
    softmax,
    zero_mean,
)
from derivations.checks import symbolic as sym
from derivations.checks.symbolic import CLASSES, SCOPE, dot, is_zero, symbols

ADVERSE = "random, tied, one-hot and far-spread logits, K = 2 to 10"
t = sp.Symbol("t", positive=True)  # 1/T


def zero_mean_symbols(K, letters="zv"):
    return [[*u[:-1], -sum(u[:-1])] for u in symbols(K, letters)]


def constant():
    return 12 * mp.sqrt(mpf(3))


def in_t(z):
    """The softmax of t z, an expression in t."""
    return sym.softmax(z, 1 / t)


def spread(z):
    return max(z) - min(z)


def soft_gradient(z, v, T):
    return [(q_i - p_i) / T for q_i, p_i in zip(softmax(z, T), softmax(v, T), strict=True)]


def logit_matching(z, v, T):
    return [(z_i - v_i) / (len(z) * T**2) for z_i, v_i in zip(z, v, strict=True)]


def distance(z, v, T):
    """The largest error of logit matching on a case."""
    both = zip(soft_gradient(z, v, T), logit_matching(z, v, T), strict=True)
    return max(abs(soft - matching) for soft, matching in both)


@checks("D3.1", kind=SYMBOLIC, scope="K = 2, 3, 4, to second order in 1/T")
def first_order():
    for K in CLASSES:
        z, v = symbols(K)
        q, p = in_t(z), in_t(v)
        for i in range(K):
            soft = t * (q[i] - p[i])
            linear = t * ((1 + t * z[i]) / (K + t * sum(z)) - (1 + t * v[i]) / (K + t * sum(v)))
            for order in range(3):
                is_zero(sp.diff(soft - linear, t, order).subs(t, 0))
            third = sp.diff(soft - linear, t, 3).subs(t, 0)
            assert sp.simplify(third) != 0, "the two agree to third order: the error is smaller than stated"


@checks("D3.2", kind=SYMBOLIC, scope=SCOPE)
def logit_matching_of_zero_mean_logits():
    T = sym.T
    for K in CLASSES:
        z, v = zero_mean_symbols(K)
        for i in range(K):
            linear = ((1 + z[i] / T) / (K + sum(z) / T) - (1 + v[i] / T) / (K + sum(v) / T)) / T
            is_zero(linear - (z[i] - v[i]) / (K * T**2))


@checks("D3.3", kind=SYMBOLIC, scope=SCOPE)
def the_limit_of_any_logits():
    for K in CLASSES:
        z, v = symbols(K)
        for i in range(K):
            # T² dC/dz is (q − p)/t, whose limit at t = 0 is the slope of q − p there, as q = p = 1/K at t = 0
            limit = sp.diff(in_t(z)[i] - in_t(v)[i], t).subs(t, 0)
            is_zero(limit - (z[i] - sum(z) / K - v[i] + sum(v) / K) / K)


@checks("D3.4", "D3.5", kind=SYMBOLIC, scope=SCOPE)
def slope_and_curvature():
    for K in CLASSES:
        (u,) = zero_mean_symbols(K, "z")
        s = in_t(u)
        centre = dot(s, u)
        variance = dot(s, [u_j**2 for u_j in u]) - centre**2
        for i in range(K):
            is_zero(sp.diff(s[i], t) - s[i] * (u[i] - centre))
            is_zero(sp.diff(s[i], t, 2) - s[i] * ((u[i] - centre) ** 2 - variance))


@checks("D3.6", kind=SYMBOLIC, scope="K = 2, 3, 4, any distribution")
def curvature_by_class_and_rest():
    for K in CLASSES:
        (u,) = symbols(K, "u")
        e = sp.symbols(f"e1:{K + 1}", positive=True)
        s = [e_i / sum(e) for e_i in e]
        rest = [e_j / sum(e[1:]) for e_j in e[1:]]
        m = dot(rest, u[1:])
        w = dot(rest, [u_j**2 for u_j in u[1:]]) - m**2
        centre = dot(s, u)
        variance = dot(s, [u_j**2 for u_j in u]) - centre**2
        curvature = s[0] * ((u[0] - centre) ** 2 - variance)
        is_zero(curvature - s[0] * (1 - s[0]) * ((1 - 2 * s[0]) * (u[0] - m) ** 2 - w))


@checks("D3.7", kind=SYMBOLIC, scope="exactly")
def the_maximum_of_the_cubic():
    s = sp.Symbol("s", real=True)
    cubic = s * (1 - s) * (1 - 2 * s)
    stationary = [root for root in sp.solve(sp.diff(cubic, s), s) if 0 < root < 1]
    is_zero(min(stationary) - (3 - sp.sqrt(3)) / 6)
    values = [sp.simplify(cubic.subs(s, root)) for root in [*stationary, 0, 1]]
    is_zero(max(values) - 1 / (6 * sp.sqrt(3)))


@checks("D3.8", kind=NUMERIC, scope="20,000 random and adverse distributions; each step of the proof by SymPy")
def the_curvature_is_bounded():
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
    s, x = sp.symbols("s x", positive=True)
    bracket = x * (1 - 2 * (1 - s) * x)
    is_zero(bracket.subs(x, 1 / (4 * (1 - s))) * s * (1 - s) - s / 8)
    is_zero(sp.diff(bracket, x).subs(x, 1 / (4 * (1 - s))))
    is_zero(bracket.subs(x, 1) * s * (1 - s) - s * (1 - s) * (2 * s - 1))
    assert sp.Rational(3, 32) < 1 / (6 * sp.sqrt(3))


@checks("D3.9", kind=NUMERIC, scope=f"{ADVERSE}, T = 0.1 to 1000")
def taylor_of_one_distribution():
    for u in map(zero_mean, logits(count=80)):
        for T in TEMPERATURES:
            for s_i, u_i in zip(softmax(u, T), u, strict=True):
                error = abs(s_i - mpf(1) / len(u) - u_i / (T * len(u)))
                bound = spread(u) ** 2 / (constant() * T**2)
                assert error <= bound + mpf(10) ** -50, f"{error} > {bound} at T = {T}, u = {u}"
    u, T = zero_mean([mpf(2), mpf(0), mpf(-1)]), mpf(1)
    for i in range(3):

        def curvature(tau, i=i):
            s = softmax([tau * u_j for u_j in u])
            centre = mp.fsum(s_j * u_j for s_j, u_j in zip(s, u, strict=True))
            return s[i] * (
                (u[i] - centre) ** 2 - mp.fsum(s_j * (u_j - centre) ** 2 for s_j, u_j in zip(s, u, strict=True))
            )

        with mp.workdps(30):
            remainder = mp.quad(lambda tau: (1 / T - tau) * curvature(tau), [0, 1 / T])
        close(softmax(u, T)[i] - mpf(1) / 3 - u[i] / (3 * T), remainder, tolerance=mpf(10) ** -25)


@checks("D3.10", kind=NUMERIC, scope=f"{ADVERSE}, T = 0.001 to a million")
def the_theorem():
    for z, v in pairs(count=80):
        z, v = zero_mean(z), zero_mean(v)
        for T in [mpf(1) / 1000, *TEMPERATURES, mpf(10) ** 6]:
            bound = (spread(z) ** 2 + spread(v) ** 2) / (constant() * T**3)
            assert distance(z, v, T) <= bound * (1 + mpf(10) ** -40) + mpf(10) ** -45, f"T = {T}, z = {z}, v = {v}"


def sharpness(K, x):
    return constant() / x**2 * abs(mp.exp(x) / (mp.exp(x) + K - 1) - mpf(1) / K - (K - 1) * x / mpf(K) ** 2)


@checks("D3.11", kind=NUMERIC, scope="K = 2 to 50, R/T = 0.01 to 3")
def the_constant_is_sharp():
    for K in (2, 5, 50):
        for x in (mpf("0.01"), mpf("0.14"), mpf(3)):
            T = mpf(8)
            z = zero_mean([x * T] + [mpf(0)] * (K - 1))
            first = abs(soft_gradient(z, [mpf(0)] * K, T)[0] - z[0] / (K * T**2))
            close(first / (spread(z) ** 2 / (constant() * T**3)), sharpness(K, x), tolerance=mpf(10) ** -40)
    best = max((sharpness(K, mpf(i) / 100), K, i) for K in range(2, 51) for i in range(1, 301))
    assert best[1:] == (5, 14), f"the best is K = {best[1]}, x = {best[2] / 100}"
    assert mpf("0.9992") < best[0] < mpf("0.9993"), f"the ratio reached is {best[0]}"
    close(sharpness(5, mpf(10) ** -12), 6 * mp.sqrt(3) * mpf(12) / 125, tolerance=mpf(10) ** -10)


@checks("D3.12", kind=SYMBOLIC, scope="K = 2, 3, 4, to third order in 1/T")
def the_next_term():
    for K in CLASSES:
        z, v = zero_mean_symbols(K)
        q, p = in_t(z), in_t(v)
        z2, v2 = (sum(u_i**2 for u_i in u) / K for u in (z, v))
        for i in range(K):
            soft = t * (q[i] - p[i])
            terms = t**2 * (z[i] - v[i]) / K + t**3 * ((z[i] ** 2 - z2) - (v[i] ** 2 - v2)) / (2 * K)
            for order in range(4):
                is_zero(sp.diff(soft - terms, t, order).subs(t, 0))
    z, v = zero_mean_symbols(2)
    is_zero(z[0] ** 2 - z[1] ** 2, "two classes have a next term:")


@checks("D3.13", kind=SYMBOLIC, scope=SCOPE)
def the_limit_of_the_cost():
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


@checks("D3.14", kind=NUMERIC, scope=f"{ADVERSE}, tolerances 1, 5 and 10 %")
def a_temperature_that_suffices():
    for z, v in pairs(count=60):
        z, v = zero_mean(z), zero_mean(v)
        D = max(abs(z_i - v_i) for z_i, v_i in zip(z, v, strict=True))
        if D == 0:
            continue
        for tolerance in (mpf("0.01"), mpf("0.05"), mpf("0.1")):
            enough = len(z) * (spread(z) ** 2 + spread(v) ** 2) / (constant() * tolerance * D)
            for T in (enough, 2 * enough):
                allowed = tolerance * D / (len(z) * T**2)
                assert distance(z, v, T) <= allowed * (1 + mpf(10) ** -30), f"not within {tolerance} at {T}"


@checks("D3.15", kind=NUMERIC, scope="random logits, K = 3 to 10, a tolerance of 1e-6")
def about_where_it_happens():
    for z, v in list(pairs(count=40, classes=(3, 5, 10)))[:40]:
        z, v = zero_mean(z), zero_mean(v)
        D = max(abs(z_i - v_i) for z_i, v_i in zip(z, v, strict=True))
        z2, v2 = mean([z_i**2 for z_i in z]), mean([v_i**2 for v_i in v])
        term = max(abs((z_i**2 - z2) - (v_i**2 - v2)) for z_i, v_i in zip(z, v, strict=True))
        tolerance = mpf(10) ** -6
        T = term / (2 * tolerance * D)
        relative = distance(z, v, T) / (D / (len(z) * T**2))
        # The term after it is smaller by a part of about R²/(6 T) over the next term
        slack = (spread(z) ** 3 + spread(v) ** 3) / (term * T)
        close(relative, tolerance, tolerance=slack)
        assert slack < mpf("0.01"), f"the case is too near to a vanishing term, {slack}"
