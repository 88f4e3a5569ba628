"""D3: the theorem, sharpened. From D3.16 on."""

import random

import numpy as np
import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, pairs, softmax, zero_mean
from derivations.checks.cases import array, indices, numeric_cases, one_case
from derivations.checks.cases import softmax as softmax_of
from derivations.checks.d3 import ADVERSE, EVERY, is_centred, spread
from derivations.checks.symbolic import CLASSES, SCOPE, is_zero, symbols
from derivations.meaning import Function, Meaning

BEST = (3 - mp.sqrt(3)) / 6
"""The probability at which the lemma is reached."""


def slope(s, u, delta):
    """f_i(u, Δ) for all classes: in products of moments, as the derivation does not write it."""
    mean_u, mean_delta, mean_product = (s * u).sum(), (s * delta).sum(), (s * u * delta).sum()
    return s * (u * delta - u * mean_delta - mean_u * delta + 2 * mean_u * mean_delta - mean_product)


def covariance(s, u, delta):
    return (s * (u - (s * u).sum()) * (delta - (s * delta).sum())).sum()


# ---- the rate and its slope ------------------------------------------------------------------------------------------


def on_the_line(z, v, t, place, symbolic=False, **more):
    """A place on the line from the teacher to the student, with the distribution there."""

    def rate(e, t):
        s = softmax_of(e, t * e.u)
        return s * (e.Delta - (s * e.Delta).sum())

    symbols = {
        "z": array(z), "v": array(v), "t": t, "lambda": place, "K": len(z),
        "T": lambda e: 1 / e.t,
        "Delta": lambda e: e.z - e.v,
        "u": lambda e: e.v + e["lambda"] * e.Delta,
        "s": lambda e: softmax_of(e, e.t * e.u),
        "q": lambda e: softmax_of(e, e.t * e.z),
        "p": lambda e: softmax_of(e, e.t * e.v),
        "bar u_s": lambda e: (e.s * e.u).sum(),
        "bar Delta_s": lambda e: (e.s * e.Delta).sum(),
        "g": Function(rate),
        "f": Function(lambda e, u, delta: slope(e.s, u, delta)),
        "Cov": Function(lambda e, u, delta: covariance(e.s, u, delta)),
        "Cov_s": Function(lambda e, u, delta: covariance(e.s, u, delta)),
        "R_u": lambda e: spread(e.u), "R_Delta": lambda e: spread(e.Delta),
        "R_z": lambda e: spread(e.z), "R_v": lambda e: spread(e.v),
    }  # fmt: skip
    return Meaning({**symbols, **more}, indices("ij", len(z)), symbolic=symbolic)


def any_distribution(K):
    """Symbols that add up to 1."""
    first = sp.symbols(f"s1:{K}", positive=True)
    return array([*first, 1 - sum(first)])


def from_any_distribution(K, **more):
    """What `on_the_line` means, from a place with any distribution on, where t and λ count from 0."""
    u, delta = map(array, symbols(K, "ud"))
    start = any_distribution(K)

    def distribution(e, t, place):
        weights = start * e.apply("exp", t * e.u + place * e.Delta)
        return weights / weights.sum()

    def rate(e, t):
        s = distribution(e, t, 0)
        return s * (e.Delta - (s * e.Delta).sum())

    def now(e):
        return distribution(e, e.t, e.t * e["lambda"])

    symbols_now = {"u": u, "Delta": delta, "s": now, "g": Function(rate), "t": sp.Symbol("t", positive=True), **more}
    return on_the_line(u, u, sp.Integer(0), sp.Integer(0), symbolic=True).but(**symbols_now)


@checks("D3.16", kind=SYMBOLIC, scope=f"{SCOPE}, any distribution")
def the_rate_on_the_line():
    for K in CLASSES:
        yield from_any_distribution(K, u=array([sp.Integer(0)] * K))


@checks("D3.17", kind=SYMBOLIC, scope="K = 2 and 3, any distribution")
def the_slope_of_the_rate():
    for K in (2, 3):
        yield from_any_distribution(K, t=sp.Integer(0))


# ---- the lemma -------------------------------------------------------------------------------------------------------


def distributed(s, u, delta, symbolic=False):
    """Any distribution with any u and Δ, and all sets of classes."""
    K = len(s)
    subsets = [frozenset(i for i in range(1, K + 1) if bits >> i - 1 & 1) for bits in range(2**K)]
    one = sp.Integer(1) if symbolic else mpf(1)
    indicators = {subset: array(one * (i in subset) for i in range(1, K + 1)) for subset in subsets}
    symbols = {
        "s": array(s), "u": array(u), "Delta": array(delta),
        "f": Function(lambda e, u, delta: slope(e.s, u, delta)),
        "1": indicators,
        "1_A^c": lambda e: 1 - indicators[e.A],
        "R_u": lambda e: spread(e.u), "R_Delta": lambda e: spread(e.Delta),
    }  # fmt: skip
    return Meaning(symbols, {**indices("i", K), "A": subsets, "B": subsets}, symbolic=symbolic)


def distributions(classes):
    """Random and adverse distributions, each with two random or adverse vectors."""
    for z, v in pairs(8, classes, seed=5):
        yield distributed(softmax(z), v, z)
        yield distributed(softmax(v), z, [z_i - v_i for z_i, v_i in zip(z, v, strict=True)])


def reached(K):
    """The class with the best probability, and two vectors that set it apart: one of spread 2, one of spread 3."""
    s = [BEST, *[(1 - BEST) / (K - 1)] * (K - 1)]
    return distributed(s, [mpf(9), *[mpf(7)] * (K - 1)], [mpf(-4), *[mpf(-1)] * (K - 1)])


@checks(
    "D3.18",
    kind=NUMERIC,
    scope="random and adverse distributions, K = 2 to 10; 100,000 random ones in doubles; reached",
    near=("1.0",),
)
def the_lemma():
    yield reached(2)
    yield reached(5)
    yield from distributions((2, 3, 5, 10))
    rng, largest = np.random.default_rng(0), 0.0
    for i in range(50):
        K = 2 + i % 6
        s = rng.dirichlet(np.full(K, (0.2, 1.0, 5.0)[i % 3]), 2000)
        u, delta = rng.random((2, 2000, K))
        if i % 2:
            u, delta = np.round(u), np.round(delta)
        centred = [x - (s * x).sum(axis=1, keepdims=True) for x in (u, delta)]
        product = centred[0] * centred[1]
        change = np.abs(s * (product - (s * product).sum(axis=1, keepdims=True))).max(axis=1)
        largest = max(largest, float(np.max(change - np.ptp(u, axis=1) * np.ptp(delta, axis=1) / (6 * 3**0.5))))
    assert -1e-5 < largest < 1e-12, f"{largest} of the bound is missing"


@checks("D3.19", kind=NUMERIC, scope="random and adverse distributions, K = 2 and 3, all sets; reached", near=("1.0",))
def two_values_are_the_worst():
    yield reached(2)
    yield reached(3)
    yield from distributions((2, 3))


@checks("D3.20", kind=SYMBOLIC, scope="K = 2 and 3, any distribution, all sets")
def the_complement_of_a_set():
    for K in (2, 3):
        (delta,) = map(array, symbols(K, "d"))
        yield distributed(any_distribution(K), delta, delta, symbolic=True)


@checks("D3.21", kind=SYMBOLIC, scope="any masses of class i, of A only, of B only, of both and of neither")
def the_slope_for_sets():
    s = any_distribution(5)
    in_A, in_B = (array(map(sp.Integer, bits)) for bits in ((1, 1, 0, 1, 0), (1, 0, 1, 1, 0)))
    masses = {"s": s[0], "r": sum(s[1:]), "a": s[1] + s[3], "b": s[2] + s[3], "c": s[3]}
    f = Function(lambda e, u, delta: slope(s, u, delta))
    yield Meaning({"f": f, "i": 1, "1_A": in_A, "1_B": in_B, **masses}, {}, symbolic=True)


def of_sets(s, only_A, only_B, both):
    """The masses of class i, and of the other classes in one set or in both."""
    a, b, r = only_A + both, only_B + both, 1 - s
    distribution, in_A, in_B = array([s, only_A, only_B, both, r - a - b + both]), [1, 1, 0, 1, 0], [1, 0, 1, 1, 0]
    f = slope(distribution, array(map(mpf, in_A)), array(map(mpf, in_B)))[0]
    return Meaning({"f": f, "s": s, "r": r, "a": a, "b": b, "c": both, "x": r - b}, {})


def masses():
    """Random ones, and those at which a bound is reached."""
    rng = random.Random(0)
    for s in (mpf(1) / 20, BEST, mpf(1) / 3, mpf(1) / 2, mpf(7) / 10, mpf(3) / 4, 1 - BEST, mpf(9) / 10):
        r = 1 - s
        yield of_sets(s, mpf(0), mpf(0), mpf(0))
        yield of_sets(s, r / 2, r / 2, mpf(0))  # together all of the rest
        yield of_sets(s, r / 4, r / 4, mpf(0))
        yield of_sets(s, r / 4, r / 4, r / 2)  # overlapping, and nothing outside
        yield of_sets(s, mpf(0), mpf(0), r)
        for both, only_B in ((r, mpf(0)), (r / 2, mpf(0)), (r / 4, mpf(0)), (r / 4, r / 2)):
            yield of_sets(s, mpf(0), only_B, both)  # one inside the other
        for _ in range(10):
            parts = [mpf(rng.expovariate(1)) for _ in range(4)]
            yield of_sets(s, *(r * part / sum(parts) for part in parts[:3]))
    yield of_sets(mpf(3) / 4, mpf(0), mpf(0), mpf(0))


RANDOM = "random masses, and those at which it is reached"


@checks("D3.22", kind=NUMERIC, scope=RANDOM, near=("1.0", "1.0"))
def the_mass_of_the_intersection():
    yield from masses()


@checks("D3.23", kind=NUMERIC, scope=RANDOM, near=("1.0", "1.0", "86 of 153"))
def from_above_beside_each_other():
    yield from masses()


@checks("D3.24", kind=NUMERIC, scope=RANDOM, near=("1.0", "1.0", "91 of 153"))
def from_above_overlapping():
    yield from masses()


@checks("D3.25", kind=SYMBOLIC, scope="exactly", near=("0.7698",))
def the_other_end():
    yield Meaning({}, {})
    s = sp.Symbol("s", real=True)
    is_zero(sp.diff(s * (1 - s) ** 2 / 2, s) - (1 - s) * (1 - 3 * s) / 2)


@checks("D3.26", kind=NUMERIC, scope=RANDOM, near=("1.0", "1.0", "111 of 153"))
def from_below():
    yield from masses()


@checks("D3.27", kind=NUMERIC, scope=RANDOM, near=("1.0", "1.0", "0.9743", "115 of 153"))
def from_below_up_to_three_quarters():
    yield from masses()


@checks("D3.28", kind=NUMERIC, scope=RANDOM, near=("1.0", "1.0", "58 of 153"))
def from_below_beyond():
    yield from masses()


# ---- the theorem -----------------------------------------------------------------------------------------------------


def near_the_teacher(h, size):
    """Logits for which the bound is all but reached at T = 10 times the size: z = (1 + h) v."""
    v = zero_mean([size, *[mpf(0)] * 4])
    return [(1 + h) * v_i for v_i in v], v


def random_ends(K):
    rng = random.Random(K)
    return [zero_mean([mpf(rng.gauss(0, 1)) for _ in range(K)]) for _ in "zv"]


def lines(count, classes):
    """The two ends of lines, of zero mean."""
    for z, v in pairs(count, classes, seed=3):
        yield zero_mean(z), zero_mean(v)


@checks("D3.29", kind=NUMERIC, scope="random logits, K = 3 and 5; reached to a thousandth", near=("0.9994",))
def the_rate_leaves_its_start():
    yield on_the_line(*near_the_teacher(mpf(1), mpf(2)), mpf("0.05"), mpf(0))
    yield on_the_line(*random_ends(3), mpf(2), mpf(0))


@checks("D3.30", kind=NUMERIC, scope="random logits, K = 2 to 10, three places on each line; reached", near=("1.0",))
def the_spread_on_the_line():
    for z, v in (near_the_teacher(mpf(1), mpf(3)), *map(random_ends, (2, 3, 5, 10))):
        for place in (mpf("0.1"), mpf("0.5"), mpf("0.7")):  # at an end, the spread of the other end does not count
            yield on_the_line(z, v, mpf(1), place)


@checks("D3.31", kind=NUMERIC, scope="random logits, K = 2, 3 and 5; reached to a thousandth", near=("0.9994",))
def along_the_line():
    yield on_the_line(*near_the_teacher(mpf("0.1"), mpf(2)), mpf("0.05"), mpf(0))
    for K in (2, 3):
        yield on_the_line(*random_ends(K), mpf(2), mpf(0))


def sharp_cases():
    """(z, v, T) for which the bound is all but reached, near the teacher and far from it."""
    for size in (mpf(1) / 3, mpf(1), mpf(3)):  # squares, cubes and the numbers themselves differ
        for h in (mpf(10) ** -9, mpf("0.1"), mpf(1)):
            yield *near_the_teacher(h, size), 10 * size
        z, _ = near_the_teacher(mpf(0), size)
        yield z, [mpf(0)] * 5, size / mpf("0.14")
        yield [mpf(0)] * 5, z, size / mpf("0.14")


@checks("D3.32", kind=NUMERIC, scope=f"{ADVERSE}, T = 0.001 to a million; reached to a thousandth", near=("0.9994",))
def the_theorem_sharpened():
    yield from theorem_cases({EVERY: lambda e: e.T > 0 and e.K >= 2 and is_centred(e)})


@checks("D3.33", kind=NUMERIC, scope=f"{ADVERSE}, T = 0.001 to a million; both reached", near=("0.9994", "1.0"))
def the_smaller_of_the_two():
    yield from theorem_cases({"for zero-mean z,v": is_centred})


def difference(e):
    return spread(e.z - e.v)


def theorem_cases(words):
    more = {"R_z-v": difference, "words": words}
    for z, v, T in sharp_cases():
        yield one_case(z, v, T, **more)
    for z, _ in lines(4, (2, 3, 5)):
        yield one_case(z, [-z_i for z_i in z], mpf(2), **more)
    yield from numeric_cases([mpf(1) / 1000, mpf(1), mpf(20), mpf(10) ** 6], centred=True, **more)


def largest_difference(e):
    return max(abs(e.z - e.v))


def tolerance_cases(enough):
    """Cases at, just below and far above a temperature."""
    cases = [*lines(4, (2, 3, 5)), *((z, v) for z, v, _ in sharp_cases())]
    cases += [([1 + h, -1 - h], [mpf(1), mpf(-1)]) for h in (mpf("0.001"), mpf("0.1"))]
    for z, v in cases:
        D = max(abs(z_i - v_i) for z_i, v_i in zip(z, v, strict=True))
        for tolerance in (mpf("0.01"), mpf("0.1"), mpf("0.5")) if D else ():
            T = enough(len(z), spread(z), spread(v), spread(array(z) - array(v)), D) / (mp.sqrt(mpf(3)) * tolerance)
            for t in (T * mpf("0.999"), T, 2 * T):
                yield one_case(z, v, t, varepsilon=tolerance, D=largest_difference, **{"R_z-v": difference})


@checks(
    "D3.34",
    kind=NUMERIC,
    scope=f"{ADVERSE}, tolerances 1 to 50 %; reached to a thousandth",
    near=("0.9987", "1062 of 1170"),
)
def the_lower_temperature():
    yield from tolerance_cases(lambda K, R_z, R_v, R, D: K * min(R_z**2 + R_v**2, R * (R_z + R_v)) / (12 * D))


@checks("D3.35", kind=NUMERIC, scope=f"{ADVERSE}, tolerances 1 to 50 %", near=("1.0", "0.6902", "1062 of 1170"))
def however_near():
    yield from tolerance_cases(lambda K, R_z, R_v, R, D: K * (R_z + R_v) / 6)
