"""D9: shares of the classes, and the shift that repairs them."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, mean, root, softmax
from derivations.checks import logits as one_case
from derivations.checks.cases import array, indices
from derivations.checks.cases import softmax as softmax_of
from derivations.checks.symbolic import is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols
from derivations.meaning import Function, Meaning

CASES = "random, tied, one-hot and far-spread logits, K = 3 to 10"


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


def mean_probability(cases, S, by):
    return mean([together(z, S, by) for z in cases])


def log_odds_of(z, S):
    """From the logits, so that nothing cancels where the set is all but certain."""
    inside, outside = (mp.fsum(mp.exp(z_k) for k, z_k in enumerate(z) if (k in S) == side) for side in (True, False))
    return mp.log(inside) - mp.log(outside)


def log_odds(p):
    return mp.log(p) - mp.log(1 - p)


@checks("D9.1", kind=NUMERIC, scope="counted among 200 cases that are three classes with four looks")
def bayes():
    rng = random.Random(0)
    cases = [(rng.randrange(3), rng.randrange(4)) for _ in range(200)]
    of_class = [mpf(sum(k == j for k, _ in cases)) for j in range(3)]

    def density(e, x):
        return array(cases.count((j, x)) / of_class[j] for j in range(3))

    def counted(e, x):
        looks_so = [k for k, look in cases if look == x]
        return array(mpf(looks_so.count(j)) / len(looks_so) for j in range(3))

    symbols = {"pi": array(count / 200 for count in of_class), "f": Function(density), "q": Function(counted)}
    yield Meaning(symbols, {**indices("jk", 3), "x": range(4)})


@checks("D9.2", kind=SYMBOLIC, scope="K = 2, 3")
def other_shares():
    for K in (2, 3):
        f, old, new = (array(sp.symbols(f"{letter}1:{K + 1}", positive=True)) for letter in ("f", "old", "new"))

        def logits(share):
            return Function(lambda e, x: e.apply("log", e[share]) + e.apply("log", x))

        def right(e, x):
            return e["pi'"] * x / (e["pi'"] * x).sum()

        of = {"pi": old, "pi'": new, "x": f, "z": logits("pi"), "z'": logits("pi'"), "q'": Function(right)}
        yield Meaning(of, indices("k", K), symbolic=True)


@checks("D9.3", kind=SYMBOLIC, scope="K = 3 and 4, sets of one and two classes", near=("18 of 34",))
def the_odds():
    s = sp.Symbol("s", real=True)
    both = {"for k,j both in S or both outside": lambda e: (e.k in e.S) == (e.j in e.S)}
    for K, S in ((3, (1,)), (3, (1, 3)), (4, (2, 4))):
        z = array(symbols(K, "z")[0])
        shift = array(s if k + 1 in S else 0 for k in range(K))
        of = {
            "S": S, "s": s,
            "q": lambda e, z=z: softmax_of(e, z), "q'": lambda e, z=z, shift=shift: softmax_of(e, z + shift),
            "Q": lambda e: sum(e.q[k - 1] for k in e.S), "Q'": lambda e: sum(e["q'"][k - 1] for k in e.S),
        }  # fmt: skip
        yield Meaning(of, indices("jk", K), both, symbolic=True)


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
            needed = log_odds_of(right, S) - log_odds_of(z, S)
            yield Meaning({"s": needed, "pi_S": old, "pi'_S": new}, {})
            for a, b in zip(softmax(shifted(z, S, needed)), softmax(right), strict=True):
                close(a, b)


def transfer(z, p, T, **more):
    """The cost of a transfer set in the biases b of the last layer."""

    def cost(e):
        return -(e.p * e.apply("log", e.q)).sum() / e.N

    own = {
        "z": lambda e: array(z) + e.b, "b": array([mpf(0)] * len(z[0])), "p": array(p), "T": T, "N": len(z),
        "q": lambda e: softmax_of(e, e.z / e.T), "C": cost,
    }  # fmt: skip
    return Meaning(
        {**own, **more}, {"n": range(1, len(z) + 1), **indices("k", len(z[0]))}, {"for every b_3": lambda e: True}
    )


@checks("D9.5", kind=NUMERIC, scope=f"{CASES}, six cases, T = 0.1 to 1000; at rest and not")
def the_slope_in_the_bias():
    for teacher, _ in transfer_sets(3):
        K, rng = len(teacher[0]), random.Random(len(teacher[0]))
        z = [[mpf(rng.gauss(0, 1)) for _ in range(K)] for _ in teacher]
        for T in (mpf(1) / 2, mpf(1), mpf(20)):
            yield transfer(z, [softmax(v, T) for v in teacher], T)
            yield transfer(z, [softmax(row, T) for row in [*z[1:], z[0]]], T)  # the same answers, for other cases


@checks("D9.6", kind=NUMERIC, scope=f"{CASES}, biases from -1000 to 1000")
def the_slope_without_a_label():
    for cases, _ in transfer_sets(6):
        K = len(cases[0])
        labels = [n % K if n % K != 2 else 0 for n in range(len(cases))]
        one_hot = [[mpf(k == y) for k in range(K)] for y in labels]
        for b in (mpf(-10), mpf(0), mpf(3)):
            biases = array(b if k == 2 else mpf(0) for k in range(K))
            yield transfer(cases, one_hot, mpf(1), b=biases)
        for b in (mpf(-1000), mpf(1000)):
            assert mean_probability(cases, [2], b) > 0, f"the slope at b = {b} is not above zero"


def shifting(cases, S, **more):
    """The mean probability m of the set S on these cases, at any shift."""
    Q = Function(lambda e, s: array(together(z, S, s) for z in cases))
    N = len(cases)
    m = Function(lambda e, s: mean_probability(cases, S, s), ("s",))
    return Meaning({"Q": Q, "m": m, "N": N, **more}, {"n": range(1, N + 1)}, {"for exactly one s": lambda e: True})


@checks(
    "D9.7", kind=NUMERIC, scope=f"{CASES}, shifts from -3 to 3; a case with SymPy, K = 3, sets of one and two classes"
)
def the_mean_rises():
    for cases, S in transfer_sets(6):
        for by in (mpf(-3), mpf(0), mpf(3)):
            yield shifting(cases, S, s=by)
    s = sp.Symbol("s", real=True)
    for S in ((1,), (0, 2)):
        (z,) = symbols(3, "z")
        Q = sum(softmax_symbols(shifted(z, S, s), 1)[k] for k in S)
        at_0 = Q.subs(s, 0)
        is_zero(Q - 1 / (1 + sp.exp(-(sp.log(at_0) - sp.log(1 - at_0)) - s)))


@checks("D9.8", kind=NUMERIC, scope=f"{CASES}, six cases, shares from 10⁻⁹ to 1 − 10⁻⁹", near=("0.9982", "0.9982"))
def one_shift():
    for cases, S in transfer_sets(6):
        a = [log_odds_of(z, S) for z in cases]
        for share in (mpf(10) ** -9, mpf(1) / 10, mpf(1) / 2, 1 - mpf(10) ** -9):
            w, far = log_odds(share), max(map(abs, a)) + 100
            found = root(lambda s, x=cases, S=S, y=share: mean_probability(x, S, s) - y, -far, far)
            yield shifting(cases, S, **{"pi'_S": share, "w": w, "a": array(a), "s": found})
        for a_n in a:  # further from every a, the mean stands still in 60 digits
            left, right = (mean_probability(cases, S, side - a_n) for side in (-1, 1))
            assert left < right, f"the mean probability does not rise: {left}, {right}"
        assert mean_probability(cases, S, -far) < mpf(10) ** -40, "the mean does not go to 0"
        assert mean_probability(cases, S, far) > 1 - mpf(10) ** -40, "the mean does not go to 1"


@checks("D9.9", kind=NUMERIC, scope="random cases, planted shifts from -8 to 8, right and wrong shares")
def the_planted_shift():
    rng = random.Random(0)
    for planted in (mpf(-8), mpf(-3), mpf(0), mpf("3.5"), mpf("7.6")):
        right = [[mpf(rng.gauss(0, 2)) for _ in range(4)] for _ in range(6)]
        S = [0, 3]
        student = [shifted(z, S, -planted) for z in right]
        of_right = array(together(z, S, mpf(0)) for z in right)
        for off in (mpf(0), mean(of_right) / 10, -mean(of_right) / 10):
            share = mean(of_right) + off
            if not 0 < share < 1:
                continue
            found = root(lambda s, x=student, S=S, y=share: mean_probability(x, S, s) - y, planted - 20, planted + 20)
            if off == 0:
                close(found, planted, tolerance=mpf(10) ** -25, scale=mpf(1))
                continue
            between = place_of_slope(student, S, off / (found - planted), planted, found)
            known = {"s": found, "s^ast": planted, "pi'_S": share, "Q^ast": of_right, "xi": between}
            yield shifting(student, S, **known)


def place_of_slope(cases, S, slope, low, high):
    """Between these two shifts, where the mean probability rises at this slope, as the theorem promises."""

    def above(s):
        q = [together(z, S, s) for z in cases]
        return mean([q_n * (1 - q_n) for q_n in q]) - slope

    places = [low + (high - low) * i / 50 for i in range(51)]
    for a, b in zip(places, places[1:]):  # noqa: B905, RUF007
        if above(a) * above(b) <= 0:
            return root(above, min(a, b), max(a, b))
    raise AssertionError(f"{slope} is no slope between {low} and {high}")
