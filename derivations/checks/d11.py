"""D11: the hidden Markov model, by enumerating every path."""

import random
from itertools import product

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, checks, softmax
from derivations.checks import logits as one_case
from derivations.checks.cases import array, indices
from derivations.meaning import Function, Meaning

SCOPE = "2 to 4 states, 1 to 5 frames, every path, a third of the arcs missing"


def models(count=15):
    """(π, a, e, b): weights of beginning, of arcs, of ending, and likelihoods b[t][s], some of them zero."""
    rng = random.Random(0)

    def weight():
        return mpf(0) if rng.random() < 0.3 else mpf(rng.random())

    for i in range(count):
        S, F = 2 + i % 3, 1 + i % 5
        a = [[weight() for _ in range(S)] for _ in range(S)]
        pi, e = [weight() for _ in range(S)], [weight() for _ in range(S)]
        pi[0] = e[-1] = mpf(1)
        for s in range(S):  # there is a path: stay, or go on
            a[s][s], a[s][(s + 1) % S] = mpf(rng.random()), mpf(rng.random())
        yield pi, a, e, [[mpf(rng.random()) ** 3 for _ in range(S)] for _ in range(F)]


def beginning(path, pi, a, e, b):
    """The weight of the beginning of a path, without that of its end."""
    value = pi[path[0]] * b[0][path[0]]
    for t in range(1, len(path)):
        value *= a[path[t - 1]][path[t]] * b[t][path[t]]
    return value


def weight_of(path, pi, a, e, b):
    return beginning(path, pi, a, e, b) * e[path[-1]]


def paths(b):
    return list(product(range(len(b[0])), repeat=len(b)))


def best_of(model):
    return max(paths(model[-1]), key=lambda s: weight_of(s, *model))


def with_words(model, **more):
    """The letters of D11: states count from 0, as frames do; a frame x_t is the row of its likelihoods."""
    pi, a, e, b = model
    S, F = len(pi), len(b)

    def over_beginnings(choose, s):
        """Of all beginnings that are in s at frame t, for each t."""
        ends = {t: [path for path in product(range(S), repeat=t + 1) if path[-1] == s] for t in range(F)}
        return {t: choose(beginning(path, *model) for path in ends[t]) for t in range(F)}

    of = {
        "pi": Function(lambda at, s: pi[s]), "a": Function(lambda at, r, s: a[r][s]), "e": Function(lambda at, s: e[s]),
        "b": Function(lambda at, frame: dict(enumerate(frame))), "x": dict(enumerate(b)), "F": F,
        "p": Function(lambda at, x, s: weight_of([*s.values()], *model)),
        "alpha": Function(lambda at, s: over_beginnings(mp.fsum, s)),
        "delta": Function(lambda at, s: {t: mp.log(w) for t, w in over_beginnings(max, s).items()}),
    }  # fmt: skip
    ranges = {"s": range(S), "r": range(S), "t": range(1, F)}
    ranges["paths"] = [{"s": dict(enumerate(path))} for path in paths(b)]
    return Meaning({**of, **more}, ranges)


def for_paths(e):
    """The same, where s is a path."""
    return e.over(s=[path["s"] for path in e.range("paths")], t=range(int(e.F)))


@checks("D11.1", kind=NUMERIC, scope=SCOPE)
def a_paths_weight_is_a_product():
    for model in models():
        yield for_paths(with_words(model))


@checks("D11.2", "D11.3", kind=NUMERIC, scope=SCOPE)
def sum_and_maximum_pass_through():
    for model in models():
        yield with_words(model)


@checks("D11.4", kind=NUMERIC, scope=SCOPE)
def the_best_path_is_read_backwards():
    for model in models(count=60):
        yield with_words(model, s=dict(enumerate(best_of(model))))


@checks("D11.5", kind=NUMERIC, scope=SCOPE, near=("1.0", "1.0"))
def the_sum_lies_near_its_largest_term():
    for model in models():
        yield for_paths(with_words(model, N=sum(weight_of(s, *model) > 0 for s in paths(model[-1]))))


@checks("D11.6", kind=NUMERIC, scope="random joint probabilities of three states and four frames")
def a_likelihood_is_a_posterior_over_a_prior():
    rng = random.Random(2)
    joint = {(f"x{t}", s): mpf(rng.random()) for t in range(4) for s in range(3)}
    joint = {pair: P / mp.fsum(joint.values()) for pair, P in joint.items()}

    def of_one(one):
        return mp.fsum(P for pair, P in joint.items() if one in pair)

    def p(e, *arguments):
        given, frame = arguments[-1], [one for one in arguments if isinstance(one, str) and one != "|"]
        if "|" not in arguments:
            return of_one(given)
        return joint[frame[0], next(one for one in arguments if isinstance(one, int))] / of_one(given)

    yield Meaning({"p": Function(p), "x": {t: f"x{t}" for t in range(4)}}, {"s": range(3), "t": range(4)})


@checks("D11.7", kind=NUMERIC, scope=SCOPE)
def a_number_of_the_frame_shifts_every_path_alike():
    rng = random.Random(1)
    words = {"for every path s": lambda e: True, "if log b_s(x_t) becomes log b_s(x_t)+c_t": lambda e: True}
    for pi, a, e, b in models():
        c = [mpf(rng.gauss(0, 3)) for _ in b]
        shifted = [[mp.exp(c_t) * b_s for b_s in row] for c_t, row in zip(c, b, strict=True)]
        p_c = Function(lambda at, x, s, model=(pi, a, e, shifted): weight_of([*s.values()], *model))
        at = for_paths(with_words((pi, a, e, b), p_c=p_c, c=dict(enumerate(c))))
        yield Meaning(at.symbols, at.ranges, words)


@checks("D11.8", kind=NUMERIC, scope="random, tied, one-hot and far-spread logits, K = 2 to 10")
def priors_are_a_shift_of_the_biases():
    for z in one_case(count=8):
        prior = softmax([mpf(i) / 3 for i in range(len(z))])
        of = {"z": array(z), "q": array(softmax(z)), "p": Function(lambda e, s, prior=prior: prior[s - 1])}
        yield Meaning(of, indices("ks", len(z)))


@checks("D11.9", kind=NUMERIC, scope="several numbers of frames and visits; with SymPy for all of them")
def the_mean_duration_is_the_one_that_was_seen():
    for D, V in ((mpf(30), mpf(4)), (mpf(100), mpf(99)), (mpf(7), mpf(2))):
        for off in (mpf(0), V / D / 100, -V / D / 100):
            yield Meaning({"D": D, "V": V, "hat a": 1 - V / D + off}, {})
    a, D, V = sp.symbols("a D V", positive=True)
    slope = sp.diff((D - V) * sp.log(a) + V * sp.log(1 - a), a)
    assert sp.simplify(slope.subs(a, 1 - V / D)) == 0
    assert sp.simplify(sp.diff(slope, a) + (D - V) / a**2 + V / (1 - a) ** 2) == 0  # below zero: a maximum
    d = sp.Symbol("d", integer=True, positive=True)
    for stay in (sp.Rational(1, 3), sp.Rational(9, 10)):
        assert sp.summation(d * stay ** (d - 1) * (1 - stay), (d, 1, sp.oo)) == 1 / (1 - stay)


@checks("D11.10", kind=NUMERIC, scope=SCOPE + ", a word at each visit of state 0")
def a_lower_price_never_brings_more_words():
    prices = [mpf(c) for c in (-20, -5, -2, -1, 0, 1, 3)]

    def words(s):
        return sum(now == 0 and (t == 0 or s[t - 1] != 0) for t, now in enumerate(s))

    for model in models(count=30):
        weighed = [(w, s) for s in paths(model[-1]) if (w := weight_of(s, *model)) > 0]
        best = [max(weighed, key=lambda one: mp.log(one[0]) + c * words(one[1]))[1] for c in prices]
        for (c, s), (other, s_other) in product(zip(prices, best, strict=True), repeat=2):
            of = {"c": c, "c'": other, "s": s, "s'": s_other, "W": Function(lambda e, s: words(s))}
            yield Meaning(of, {})
