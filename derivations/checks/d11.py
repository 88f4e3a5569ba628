"""D11: the hidden Markov model, by enumerating every path."""

import random
from itertools import product

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, softmax
from derivations.checks import logits as one_case

SCOPE = "2 to 4 states, 1 to 5 frames, every path, a third of the arcs missing"


def models(count=60):
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


def weight_of(path, pi, a, e, b):
    """D11.1."""
    value = pi[path[0]] * b[0][path[0]] * e[path[-1]]
    for t in range(1, len(path)):
        value *= a[path[t - 1]][path[t]] * b[t][path[t]]
    return value


def paths(b):
    return product(range(len(b[0])), repeat=len(b))


def best_beginnings(pi, a, b):
    """δ of D11.3, as products."""
    S = range(len(pi))
    delta = [[pi[s] * b[0][s] for s in S]]
    for t in range(1, len(b)):
        delta.append([b[t][s] * max(delta[-1][r] * a[r][s] for r in S) for s in S])
    return delta


@checks("D11.1", "D11.2", kind=NUMERIC, scope=SCOPE)
def the_forward_pass_adds_up_all_paths():
    for pi, a, e, b in models():
        S = range(len(pi))
        alpha = [pi[s] * b[0][s] for s in S]
        for t in range(1, len(b)):
            alpha = [b[t][s] * mp.fsum(alpha[r] * a[r][s] for r in S) for s in S]
        close(mp.fsum(weight_of(s, pi, a, e, b) for s in paths(b)), mp.fsum(alpha[s] * e[s] for s in S))


@checks("D11.3", "D11.4", kind=NUMERIC, scope=SCOPE)
def the_best_path_is_read_backwards():
    for pi, a, e, b in models():
        S, delta = range(len(pi)), best_beginnings(pi, a, b)
        best = max(weight_of(s, pi, a, e, b) for s in paths(b))
        close(best, max(delta[-1][s] * e[s] for s in S))
        path = [max(S, key=lambda s: delta[-1][s] * e[s])]
        for t in range(len(b) - 1, 0, -1):
            path.insert(0, max(S, key=lambda r: delta[t - 1][r] * a[r][path[0]]))
        close(weight_of(path, pi, a, e, b), best)


@checks("D11.5", kind=NUMERIC, scope=SCOPE)
def the_sum_lies_near_its_largest_term():
    for model in models():
        weights = [w for s in paths(model[-1]) if (w := weight_of(s, *model)) > 0]
        total, largest = mp.fsum(weights), max(weights)
        assert largest <= total * (1 + mpf(10) ** -50)
        assert mp.log(total) <= mp.log(largest) + mp.log(len(weights)) + mpf(10) ** -50


@checks("D11.6", kind=SYMBOLIC, scope="any joint probability of two states")
def a_likelihood_is_a_posterior_over_a_prior():
    here, other, elsewhere = sp.symbols("p_xs p_xr p_s_elsewhere", positive=True)
    p_x, p_s = here + other, here + elsewhere
    bayes = sp.log(here / p_x) - sp.log(p_s) + sp.log(p_x)
    assert sp.simplify(sp.expand_log(sp.log(here / p_s) - bayes, force=True)) == 0


@checks("D11.7", kind=NUMERIC, scope=SCOPE)
def a_number_of_the_frame_shifts_every_path_alike():
    rng = random.Random(1)
    for pi, a, e, b in models():
        c = [mpf(rng.gauss(0, 3)) for _ in b]
        shifted = [[mp.exp(c_t) * b_s for b_s in row] for c_t, row in zip(c, b, strict=True)]
        for s in paths(b):
            close(weight_of(s, pi, a, e, shifted), mp.exp(mp.fsum(c)) * weight_of(s, pi, a, e, b))


@checks("D11.8", kind=NUMERIC, scope="random, tied, one-hot and far-spread logits, K = 2 to 10")
def priors_are_a_shift_of_the_biases():
    for z in one_case():
        prior = softmax([mpf(i) / 3 for i in range(len(z))])
        log_sum = max(z) + mp.log(mp.fsum(mp.exp(z_k - max(z)) for z_k in z))
        for z_s, p_s in zip(z, prior, strict=True):
            q_s = mp.exp(z_s - log_sum)
            close(mp.log(q_s) - mp.log(p_s), (z_s - mp.log(p_s)) - log_sum, scale=max(map(abs, z)))


@checks("D11.9", kind=SYMBOLIC, scope="every number of frames and visits")
def the_mean_duration_is_the_one_that_was_seen():
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
    for model in models():
        weighed = [(w, s) for s in paths(model[-1]) if (w := weight_of(s, *model)) > 0]

        def words(s):
            return sum(now == 0 and (t == 0 or s[t - 1] != 0) for t, now in enumerate(s))

        counts = [words(max(weighed, key=lambda one: mp.log(one[0]) + c * words(one[1]))[1]) for c in prices]
        assert counts == sorted(counts), f"{counts} words at rising prices"
