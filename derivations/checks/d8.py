"""D8: the means of an ensemble."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, TEMPERATURES, checks, close, mean, softmax, zero_mean
from derivations.checks import logits as one_case
from derivations.checks.symbolic import T, cross_entropy, delta, is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols

SCOPE = "M = 2, K = 2 and 3"
CASES = "random, tied, one-hot and far-spread logits, M = 2 to 4, K = 2 to 10, T = 0.1 to 1000"


def members_symbols():
    for K in (2, 3):
        v, w = symbols(K, "vw")
        yield K, (v, w), (softmax_symbols(v), softmax_symbols(w))


def average(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def geometric(rows):
    """The textbook's: roots of products, normalised."""
    roots = [mp.root(mp.fprod(column), len(rows)) for column in zip(*rows, strict=True)]
    return [root / mp.fsum(roots) for root in roots], mp.fsum(roots)


def entropy(p):
    return -mp.fsum(p_i * mp.log(p_i) for p_i in p)


def divergence(p, q):
    return mp.fsum(p_i * mp.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True))


def ensembles():
    """The logits of M members for one case: random ones of all magnitudes, and the adverse mixed among them."""
    rng = random.Random(0)
    for K in (2, 3, 5, 10):
        pool = list(one_case(12, (K,), seed=K))
        for _ in range(12):
            yield rng.sample(pool, rng.choice((2, 3, 4)))
        yield [pool[0], pool[0], pool[0]]
        yield [[mpf(20 * delta(i, m)) for i in range(K)] for m in range(K)]


@checks("D8.1", kind=NUMERIC, scope=CASES)
def the_arithmetic_mean_is_a_distribution_and_a_draw_of_lots():
    for rows in ensembles():
        for t in TEMPERATURES:
            p = [softmax(row, t) for row in rows]
            mixed = average(p)
            close(mp.fsum(mixed), mpf(1))
            for i, p_i in enumerate(mixed):
                assert p_i >= max(p_m[i] for p_m in p) / len(p) * (1 - mpf(10) ** -50), "a member's answer got lost"


@checks("D8.2", "D8.3", kind=SYMBOLIC, scope=SCOPE)
def the_mean_logits():
    for K, rows, p in members_symbols():
        roots = [sp.sqrt(p[0][i] * p[1][i]) for i in range(K)]
        q = softmax_symbols([(v_i + w_i) / 2 for v_i, w_i in zip(*rows, strict=True)])
        for i in range(K):  # as ratios, in which the sums cancel
            is_zero(sp.log(roots[i]) - sp.log(roots[0]) - (sp.log(q[i]) - sp.log(q[0])))
        is_zero(sum(q) - 1)


@checks("D8.4", kind=SYMBOLIC, scope=SCOPE)
def the_logits_of_the_arithmetic_mean():
    for K, _, p in members_symbols():
        mixed = average(p)
        q = softmax_symbols([T * sp.log(p_i) for p_i in mixed])
        for i in range(K):
            is_zero(q[i] - mixed[i])


@checks("D8.5", "D8.6", kind=SYMBOLIC, scope=SCOPE)
def the_average_of_the_costs_and_of_their_gradients():
    for K, _, p in members_symbols():
        (z,) = symbols(K, "z")
        q, mixed = softmax_symbols(z), average(p)
        costs = sum(cross_entropy(p_m, q) for p_m in p) / 2
        is_zero(cross_entropy(mixed, q) - costs)
        for k in range(K):
            is_zero(sp.diff(costs, z[k]) - (q[k] - mixed[k]) / T)


@checks("D8.7", "D8.9", kind=NUMERIC, scope=CASES)
def what_the_arithmetic_mean_is_nearest_to():
    for rows in ensembles():
        for t in TEMPERATURES:
            p = [softmax(row, t) for row in rows]
            mixed = average(p)
            disagreement = mean([divergence(p_m, mixed) for p_m in p])
            entropies = mean([entropy(p_m) for p_m in p])
            close(entropy(mixed) - entropies, disagreement, scale=mpf(1))
            assert disagreement > -(mpf(10) ** -50), f"the members' disagreement is {disagreement}"
            for z in one_case(3, (len(mixed),), seed=1):
                q = softmax(z)
                total = mean([divergence(p_m, q) for p_m in p])
                close(total, disagreement + divergence(mixed, q), scale=mpf(1))


@checks("D8.8", kind=NUMERIC, scope=CASES)
def what_the_geometric_mean_is_nearest_to():
    for rows in ensembles():
        for t in TEMPERATURES:
            p = [softmax(row, t) for row in rows]
            g, Z = geometric(p)
            assert -mp.log(Z) >= -(mpf(10) ** -50), f"the least average divergence is {-mp.log(Z)}"
            for z in one_case(3, (len(g),), seed=1):
                q = softmax(z)
                close(mean([divergence(q, p_m) for p_m in p]), divergence(q, g) - mp.log(Z), scale=mpf(1))


@checks("D8.10", kind=NUMERIC, scope=f"{CASES}, and its rate")
def the_means_agree_to_first_order():
    for rows in ensembles():
        for t in TEMPERATURES:
            apart, bound = distances(rows, t), square_bound(rows, t)
            assert max(apart) <= bound + mpf(10) ** -50, f"{max(apart)} is above the bound, {bound}"
    opposite = [[mpf(1), 0, 0, 0, 0], [mpf(-1), 0, 0, 0, 0]]  # the geometric mean is uniform, the arithmetic is not
    reached = max(distances(opposite, mpf(1000))) / square_bound(opposite, mpf(1000))
    assert reached > mpf(9) / 10, f"only {reached} of the bound is reached"


def distances(rows, t):
    p, q = average([softmax(row, t) for row in rows]), softmax(average(rows), t)
    return [abs(p_i - q_i) for p_i, q_i in zip(p, q, strict=True)]


def spread(row):
    return max(row) - min(row)


def square_bound(rows, t):
    return (spread(average(rows)) ** 2 + mean([spread(row) ** 2 for row in rows])) / (12 * mp.sqrt(3) * t**2)


@checks("D8.11", kind=NUMERIC, scope=f"{CASES}, and its rate at T = 10¹⁰")
def the_first_difference():
    for rows in ensembles():
        centred = [zero_mean(row) for row in rows]
        middle = average(centred)
        s = [mean([(row[i] - m_i) ** 2 for row in centred]) for i, m_i in enumerate(middle)]
        for t in [*TEMPERATURES, mpf(10) ** 10]:
            p, q = average([softmax(row, t) for row in rows]), softmax(average(rows), t)
            bound = (spread(average(rows)) ** 3 + mean([spread(row) ** 3 for row in rows])) / (5 * t**3)
            for i, s_i in enumerate(s):
                leading = (s_i - mean(s)) / (2 * len(s) * t**2)
                rest = abs(p[i] - q[i] - leading)
                assert rest <= bound + mpf(10) ** -50, f"at T = {t} the rest {rest} is above the bound, {bound}"
