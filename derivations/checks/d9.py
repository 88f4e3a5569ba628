"""D9: shares of the classes, and the shift that repairs them."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, TEMPERATURES, checks, close, derivative, mean, softmax
from derivations.checks import logits as one_case
from derivations.checks.symbolic import is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols

CASES = "random, tied, one-hot and far-spread logits, K = 3 to 10"
s = sp.Symbol("s", real=True)


def transfer_sets(count=12, classes=(3, 5, 10)):
    """Logits of several cases, each of another magnitude, and a set of some but not all classes."""
    rng = random.Random(0)
    for i in range(count):
        K = classes[i % len(classes)]
        pool = list(one_case(9, (K,), seed=i))
        yield rng.sample(pool, 6), sorted(rng.sample(range(K), rng.randint(1, K - 1)))


def shifted(z, S, by):
    return [z_k + by if k in S else z_k for k, z_k in enumerate(z)]


def together(z, S, by):
    """The probability of the set S of classes once they are shifted."""
    q = softmax(shifted(z, S, by))
    return mp.fsum(q[k] for k in S)


def log_odds_of(z, S):
    """From the logits, so that nothing cancels where the set is all but certain."""
    inside, outside = (mp.fsum(mp.exp(z_k) for k, z_k in enumerate(z) if (k in S) == side) for side in (True, False))
    return mp.log(inside) - mp.log(outside)


def log_odds(p):
    return mp.log(p) - mp.log(1 - p)


@checks(
    "D9.1", kind=NUMERIC, scope="counted among 200 cases that are three classes with four looks, in exact fractions"
)
def bayes():
    rng = random.Random(0)
    cases = [(rng.randrange(3), rng.randrange(4)) for _ in range(200)]
    share = [sp.Rational(sum(k == j for k, _ in cases), 200) for j in range(3)]
    density = [
        [sp.Rational(sum(c == (j, x) for c in cases), sum(k == j for k, _ in cases)) for x in range(4)]
        for j in range(3)
    ]
    for x in range(4):
        looks_so = [k for k, look in cases if look == x]
        for j in range(3):
            bayes = share[j] * density[j][x] / sum(share[i] * density[i][x] for i in range(3))
            assert bayes == sp.Rational(looks_so.count(j), len(looks_so)), f"{bayes} of class {j} at {x}"


@checks("D9.2", kind=SYMBOLIC, scope="K = 2, 3")
def other_shares():
    for K in (2, 3):
        f, old, new = (sp.symbols(f"{letter}1:{K + 1}", positive=True) for letter in ("f", "old", "new"))
        z = [sp.log(old[k]) + sp.log(f[k]) for k in range(K)]
        q = softmax_symbols([z[k] + sp.log(new[k] / old[k]) for k in range(K)], 1)
        right = [new[k] * f[k] for k in range(K)]
        for k in range(K):
            assert sp.simplify(sp.expand_log(q[k], force=True) - right[k] / sum(right)) == 0


@checks("D9.3", kind=SYMBOLIC, scope="K = 3 and 4, sets of one and two classes")
def the_odds():
    for K, S in ((3, (0,)), (3, (0, 2)), (4, (1, 3))):
        (z,) = symbols(K, "z")
        before, after = softmax_symbols(z, 1), softmax_symbols(shifted(z, S, s), 1)
        odds, odds_after = (sum(q[k] for k in S) / sum(q[k] for k in range(K) if k not in S) for q in (before, after))
        assert sp.simplify(odds_after - sp.exp(s) * odds) == 0
        for k in range(K):
            for j in range(K):
                if (k in S) == (j in S):
                    assert sp.simplify(after[k] / after[j] - before[k] / before[j]) == 0


@checks("D9.4", kind=NUMERIC, scope="random densities and shares, K = 3 to 10, sets of every size")
def the_shift_of_a_set():
    rng = random.Random(0)
    for K in (3, 5, 10):
        for size in range(1, K):
            S = rng.sample(range(K), size)
            f, parts = ([mpf(rng.random()) + mpf(10) ** -3 for _ in range(K)] for _ in range(2))
            old, new = mpf(rng.random()), mpf(rng.random())

            def shares(of_S, S=S, parts=parts, K=K):
                inside, outside = mp.fsum(parts[k] for k in S), mp.fsum(parts[k] for k in range(K) if k not in S)
                return [part * (of_S / inside if k in S else (1 - of_S) / outside) for k, part in enumerate(parts)]

            z, right = ([mp.log(p * f_k) for p, f_k in zip(shares(of_S), f, strict=True)] for of_S in (old, new))
            repaired = softmax(shifted(z, S, log_odds(new) - log_odds(old)))
            for a, b in zip(repaired, softmax(right), strict=True):
                close(a, b)


@checks("D9.5", kind=NUMERIC, scope=f"{CASES}, six cases, T = 0.1 to 1000")
def the_slope_in_the_bias():
    for teacher, _ in transfer_sets(6):
        K, rng = len(teacher[0]), random.Random(len(teacher[0]))
        z = [[mpf(rng.gauss(0, 1)) for _ in range(K)] for _ in teacher]
        for T in TEMPERATURES:
            p = [softmax(v, T) for v in teacher]

            def cost(b, z=z, p=p, T=T):
                q = [softmax([z_k + b_k for z_k, b_k in zip(row, b, strict=True)], T) for row in z]
                crosses = [
                    -mp.fsum(p_k * mp.log(q_k) for p_k, q_k in zip(*rows, strict=True))
                    for rows in zip(p, q, strict=True)
                ]
                return mean(crosses)

            q = [softmax(row, T) for row in z]
            for k in (0, K - 1):
                by_hand = (mean([row[k] for row in q]) - mean([row[k] for row in p])) / T
                close(derivative(cost, [mpf(0)] * K, k), by_hand, tolerance=mpf(10) ** -30, scale=1 / T)


@checks("D9.6", kind=NUMERIC, scope=f"{CASES}, biases from -1000 to 1000")
def the_slope_without_a_label():
    for cases, S in transfer_sets(6):
        missing, K = S[0], len(cases[0])
        labels = [(missing + 1 + n % (K - 1)) % K for n in range(len(cases))]
        for b in (mpf(-1000), mpf(-10), mpf(0), mpf(1000)):

            def cost(bias, cases=cases, labels=labels, missing=missing):
                q = [softmax(shifted(z, [missing], bias[0])) for z in cases]
                return mean([-mp.log(row[y]) for row, y in zip(q, labels, strict=True)])

            slope = mean([together(z, [missing], b) for z in cases])
            assert slope > 0, f"the slope at b = {b} is {slope}"
            if abs(b) <= 10:
                close(derivative(cost, [b], 0), slope, tolerance=mpf(10) ** -15)


@checks("D9.7", kind=SYMBOLIC, scope="K = 3, sets of one and two classes; the mean is a sum of such cases")
def the_mean_rises():
    for S in ((1,), (0, 2)):
        (z,) = symbols(3, "z")
        Q = sum(softmax_symbols(shifted(z, S, s), 1)[k] for k in S)
        at_0 = Q.subs(s, 0)
        is_zero(Q - 1 / (1 + sp.exp(-(sp.log(at_0) - sp.log(1 - at_0)) - s)))
        assert sp.simplify(sp.diff(Q, s) - Q * (1 - Q)) == 0


def mean_probability(cases, S, by):
    return mean([together(z, S, by) for z in cases])


@checks("D9.8", kind=NUMERIC, scope=f"{CASES}, six cases, shares from 10⁻⁹ to 1 − 10⁻⁹")
def one_shift():
    for cases, S in transfer_sets():
        a = [log_odds_of(z, S) for z in cases]
        for share in (mpf(10) ** -9, mpf(1) / 10, mpf(1) / 2, mpf(9) / 10, 1 - mpf(10) ** -9):
            low, high = log_odds(share) - max(a), log_odds(share) - min(a)
            slack = mpf(10) ** -40  # both ends are the shift itself where all cases are alike
            assert mean_probability(cases, S, low) <= share + slack, "the lower end is too high"
            assert mean_probability(cases, S, high) >= share - slack, "the upper end is too low"
        for a_n in a:  # further from every a, the mean stands still in 60 digits
            left, right = (mean_probability(cases, S, side - a_n) for side in (-1, 1))
            assert left < right, f"the mean probability does not rise: {left}, {right}"
        far = max(map(abs, a)) + 100
        assert mean_probability(cases, S, -far) < mpf(10) ** -40, "the mean does not go to 0"
        assert mean_probability(cases, S, far) > 1 - mpf(10) ** -40, "the mean does not go to 1"


@checks("D9.9", kind=NUMERIC, scope="random cases, planted shifts from -8 to 8, right and wrong shares")
def the_planted_shift():
    rng = random.Random(0)
    for planted in (mpf(-8), mpf(-3), mpf(0), mpf("3.5"), mpf("7.6")):
        right = [[mpf(rng.gauss(0, 2)) for _ in range(4)] for _ in range(6)]
        S = [0, 3]
        student = [shifted(z, S, -planted) for z in right]
        of_right = mean_probability(right, S, mpf(0))
        for off in (mpf(0), of_right / 10, -of_right / 10):
            share = of_right + off
            if not 0 < share < 1:
                continue
            ends = (planted - 20, planted + 20)
            found = mp.findroot(
                lambda x, z=student, S=S, y=share: mean_probability(z, S, x) - y, ends, solver="anderson"
            )
            if off == 0:
                close(found, planted, tolerance=mpf(10) ** -25, scale=mpf(1))
                continue
            slope = off / (found - planted)  # the mean slope between them, which the theorem places within its range
            slopes = [
                mean([together(z, S, x) * (1 - together(z, S, x)) for z in student])
                for x in (planted + (found - planted) * i / 100 for i in range(101))
            ]
            assert min(slopes) <= slope <= max(slopes), f"{slope} is no slope between {planted} and {found}"
