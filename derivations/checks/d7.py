"""D7: dropout, by writing out all masks of small networks."""

import itertools
import random

import numpy as np
import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, derivative, logits, softmax
from derivations.checks.cases import array
from derivations.checks.symbolic import is_zero
from derivations.meaning import Function, Meaning, Operator
from derivations.values import value

DROPS = [mpf(1) / 10, mpf(1) / 2, mpf(9) / 10]


def every_mask(n):
    return [array(k) for k in itertools.product((0, 1), repeat=n)]


def probability(k, drop):
    """Of a mask: a power for the units that it keeps, and one for those that it drops."""
    kept = int(sum(k))
    return (1 - drop) ** kept * drop ** (len(k) - kept)


def dropped(x, k, drop):
    return k * x / (1 - drop)


# ---- what the letters mean -------------------------------------------------------------------------------------------


def mean(e, tree):
    """E[…]: the mean over the masks."""
    return sum(e.weight(k) * value(tree, e.at("k", k)) for k in e.range("k"))


def covariance(e, a, b):
    rows = [(e.weight(k), value(a, e.at("k", k)), value(b, e.at("k", k))) for k in e.range("k")]
    return sum(P * x * y for P, x, y in rows) - sum(P * x for P, x, _ in rows) * sum(P * y for P, _, y in rows)


def over_masks(masks, weight, counts, symbolic=False, **symbols):
    """Symbols that depend on a mask k, with the probability of each mask."""
    own = {
        "E": Operator(mean), "Cov": Operator(covariance), "Var": Operator(lambda e, a: covariance(e, a, a)),
        "P": Function(lambda e, k: weight(k)), "weight": lambda e: weight,
    }  # fmt: skip
    ranges = {letter: range(1, count + 1) for letter, count in counts.items()}
    return Meaning({**own, **symbols}, {**ranges, "k": masks}, symbolic=symbolic)


# ---- the members -----------------------------------------------------------------------------------------------------

d = sp.Symbol("d", positive=True)
UNITS = (1, 2, 3, 4)
EVERY_MASK = "every mask of 1 to 4 units, any drop and any input"


@checks("D7.1", "D7.2", "D7.3", kind=SYMBOLIC, scope=EVERY_MASK)
def the_masks_and_what_they_leave():
    for n in UNITS:
        x = array(sp.symbols(f"x1:{n + 1}", real=True))
        masks = every_mask(n)
        assert len(masks) == 2**n
        for i in range(n):
            is_zero(sum(probability(k, d) for k in masks if k[i] == 0) - d, "the share of masks that drop a unit:")
        counts = {"i": n, "j": n}
        yield over_masks(
            masks, lambda k: probability(k, d), counts, True, n=n, d=d, x=x, o=lambda e: dropped(e.x, e.k, e.d)
        )


# ---- small networks, numerically -------------------------------------------------------------------------------------


def cases(outputs=3, count=8):
    """Inputs of every kind, with random weights to so many outputs, and a drop."""
    rng = random.Random(7)
    for i, x in enumerate(logits(count=count, classes=(2, 3, 5))):
        W = array([[mpf(rng.gauss(0, 1)) for _ in range(outputs)] for _ in x])
        yield array(x), W, array([mpf(rng.gauss(0, 1)) for _ in range(outputs)]), DROPS[i % 3]


ENUMERATED = "every mask of 2 to 5 units, random and adverse inputs, drop = 0.1, 0.5, 0.9"


def softmax_of(z, t):
    return array(softmax(list(z), t))


def ensemble(e):
    """G of D7.4: the product of the members' answers, each to the power of its probability."""
    powers = [e.weight(k) * e.apply("log", softmax_of(e.z.value(e, k), e.T)) for k in e.range("k")]
    return e.apply("exp", sum(powers))


ANSWERS = {"q": Function(lambda e, k: softmax_of(e.z.value(e, k), e.T))}


def one_layer(x, W, b, drop, t=1, **more):
    """The masks of the inputs of an affine layer."""
    counts = {"i": len(x), "c": len(b), "j": len(b)}
    symbols = {
        "x": x, "W": W, "b": b, "d": drop, "T": t, "bar z": lambda e: e.x @ e.W + e.b,
        "z": Function(lambda e, k: dropped(e.x, k, e.d) @ e.W + e.b), **more,
    }  # fmt: skip
    return over_masks(every_mask(len(x)), lambda k: probability(k, drop), counts, **symbols)


def two_layers(t=1, count=3, **more):
    """A network with masks on its inputs and on its hidden units: everything that D7.7 speaks of."""
    rng = random.Random(17)
    for x, W, b, drop in itertools.islice(cases(), count):
        V = array([[mpf(rng.gauss(0, 1)) for _ in range(2)] for _ in range(3)])
        own, other = array([mpf(rng.gauss(0, 1)) for _ in range(2)]), mpf(1) / 5

        def hidden(e, k):
            return dropped(e.x, k, e.d) @ e.W + e.b

        def logits_of(e, k, own=own, other=other, hidden=hidden):
            return dropped(np.maximum(hidden(e, k[0]), 0), k[1], other) @ e.V + own

        symbols = {
            "x": x, "W": W, "V": V, "b": b, "d": drop, "T": t, "z": Function(logits_of),
            "a": lambda e, hidden=hidden: hidden(e, e.k[0]), "bar a": lambda e: e.x @ e.W + e.b,
            "bar z": lambda e, own=own: np.maximum(e["bar a"], 0) @ e.V + own, **more,
        }  # fmt: skip
        masks = list(itertools.product(every_mask(len(x)), every_mask(3)))

        def weight(k, drop=drop, other=other):
            return probability(k[0], drop) * probability(k[1], other)

        yield over_masks(masks, weight, {"i": len(x), "j": 3, "c": 2}, **symbols)


TEMPERATURES = (mpf(1), mpf(8))


@checks("D7.4", kind=NUMERIC, scope="every mask of the inputs and hidden units of small ReLU networks, T = 1 and 8")
def the_geometric_mean_of_softmaxes():
    for t in TEMPERATURES:
        yield from two_layers(t, **ANSWERS)


@checks("D7.5", kind=NUMERIC, scope=f"{ENUMERATED}, T = 1 and 8 (softmaxes of logits up to 40 T apart)")
def one_layer_is_exact():
    for (x, W, b, drop), t in itertools.product(cases(), TEMPERATURES):
        e = one_layer(x, W, b, drop, t, G=ensemble, Z=lambda e: e.G.sum())
        z = [e.z.value(e, k) for k in e.range("k")]
        if max(max(z_k) - min(z_k) for z_k in z) / t < 40:  # else a member's probability leaves too few of the digits
            yield e


@checks("D7.6", kind=NUMERIC, scope=f"{ENUMERATED}; the bound reached in the example", near=("1.0",))
def across_a_relu():
    inputs = [(x, W[:, j], b[j], drop) for x, W, b, drop in cases() for j in range(3)]
    for x, w, b, drop in [*inputs, (array([mpf(1)]), array([mpf(1)]), mpf(-1), mpf(1) / 2)]:
        symbols = {
            "x": x, "w": w, "d": drop, "bar a": (x * w).sum() + b,
            "a": lambda e, w=w, b=b: (dropped(e.x, e.k, e.d) * w).sum() + b,
        }  # fmt: skip
        yield over_masks(every_mask(len(x)), lambda k, drop=drop: probability(k, drop), {"i": len(x)}, **symbols)
        a = [(dropped(x, k, drop) * w).sum() + b for k in every_mask(len(x))]
        size = max(1, *map(abs, a))
        after = sum(probability(k, drop) * max(a_k, 0) for k, a_k in zip(every_mask(len(x)), a, strict=True))
        gap, signs = after - max((x * w).sum() + b, 0), {mp.sign(a_k) for a_k in a} - {0}
        assert (gap > size * mpf(10) ** -40) == (len(signs) == 2), "exact just where no mask changes the sign"


@checks("D7.7", kind=NUMERIC, scope="every mask of the inputs and of 3 hidden units, 2 classes", near=("0.4045",))
def through_a_hidden_layer():
    yield from two_layers(count=6)


# ---- what is being minimised -----------------------------------------------------------------------------------------


def soft_cost(z, p, t):
    return -mp.fsum(p_c * mp.log(q_c) for p_c, q_c in zip(p, softmax(list(z), t), strict=True))


@checks("D7.8", kind=NUMERIC, scope="every mask of small ReLU networks, several targets, T = 1 and 8")
def the_penalty_without_a_target():
    for t in TEMPERATURES:
        for p in ([mpf(1), mpf(0)], [mpf(1) / 2, mpf(1) / 2], softmax([mpf(2), mpf(-1)], t)):
            cost = Function(lambda e, z, p=p: soft_cost(z, p, e.T))
            yield from two_layers(t, count=2, C=cost, G=ensemble, Z=lambda e: e.G.sum())


n, K = 3, 2


def linear_model():
    """A linear model in symbols, and the squared cost."""
    x, v, b = (array(sp.symbols(f"{letter}1:{count + 1}")) for letter, count in (("x", n), ("v", K), ("b", K)))
    W = array(sp.symbols(f"W:{n}:{K}")).reshape(n, K)
    symbols = {
        "x": x, "v": v, "b": b, "W": W, "d": d, "bar z": lambda e: e.x @ e.W + e.b,
        "z": Function(lambda e, k: dropped(e.x, k, e.d) @ e.W + e.b),
        "C": Function(lambda e, z: ((z - e.v) ** 2).sum() / 2),
    }  # fmt: skip
    return over_masks(every_mask(n), lambda k: probability(k, d), {"i": n, "c": K}, True, **symbols)


@checks("D7.9", kind=SYMBOLIC, scope=f"every mask of {n} units, {K} outputs, any drop")
def the_squared_cost():
    yield linear_model()


@checks("D7.10", kind=NUMERIC, scope=f"every mask: the soft cost, {ENUMERATED}; the squared cost with SymPy")
def the_gradient_is_unbiased():
    yield linear_model()
    t, p = mpf(2), softmax([mpf(1), mpf(0), mpf(-2)])
    for x, W, b, drop in itertools.islice(cases(), 3):
        masks = every_mask(len(x))

        def mean_cost(weights, x=x, b=b, drop=drop, masks=masks):
            W = array(weights).reshape(-1, 3)
            return mp.fsum(probability(k, drop) * soft_cost(dropped(x, k, drop) @ W + b, p, t) for k in masks)

        def step_gradient(k, i, c, x=x, W=W, b=b, drop=drop):
            h = dropped(x, k, drop)
            return h[i] * (softmax(list(h @ W + b), t)[c] - p[c]) / t

        for i, c in itertools.product(range(len(x)), range(3)):
            mean_slope = mp.fsum(probability(k, drop) * step_gradient(k, i, c) for k in masks)
            slope = derivative(mean_cost, list(W.flat), 3 * i + c)
            close(slope, mean_slope, "the gradient", mpf(10) ** -25, scale=mpf(1))
