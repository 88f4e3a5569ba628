"""D6: the layers, the network, populations, the initial weights and the step."""

import itertools
import random

import numpy as np
import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, logits, pairs, softmax
from derivations.checks.cases import array
from derivations.checks.symbolic import delta, is_zero
from derivations.meaning import DIGITS, Function, Meaning, Operator, differential, slope
from derivations.values import value

# ---- one layer -------------------------------------------------------------------------------------------------------

B, D, H = 2, 3, 2


def matrix(name, rows, columns):
    return array(sp.symbols(f"{name}:{rows}:{columns}", real=True)).reshape(rows, columns)


def any_cost(outputs):
    """A cost of these outputs in which each has a slope of its own, which depends on all."""
    outputs = list(np.ravel(outputs))
    weights = sp.symbols(f"g:{len(outputs)}", real=True)
    return sum(g * a for g, a in zip(weights, outputs, strict=True)) + sum(outputs) ** 3 + sp.prod(outputs)


def affine(**more):
    """A layer in symbols, with any cost behind it."""
    symbols = {
        "x": matrix("x", B, D), "W": matrix("W", D, H), "b": matrix("b", 1, H)[0],
        "a": lambda e: array([[sum(row * column) for column in e.W.T] for row in e.x]) + e.b,
        "C": lambda e: any_cost(e.a),
        **{f"d{name}": differential("C", name) for name in "xWba"},
    }  # fmt: skip
    ranges = {"n": range(1, B + 1), "i": range(1, D + 1), "j": range(1, H + 1)}
    return Meaning({**symbols, **more}, ranges, symbolic=True)


AFFINE = f"every element, {B} cases, {D} inputs, {H} outputs, a cost that mixes all outputs"


@checks("D6.1", "D6.2", "D6.3", "D6.4", kind=SYMBOLIC, scope=AFFINE)
def every_element_of_an_affine_layer():
    yield affine()


@checks("D6.5", kind=SYMBOLIC, scope=AFFINE)
def affine_as_products():
    yield affine(b=matrix("b", 1, H), **{"1": array([[1]] * B)})


@checks(
    "D6.6",
    kind=NUMERIC,
    scope="random inputs of 10⁻³ to 10² and adverse ones, at the kink and off it",
    near=("108 of 160",),
)
def the_slope_of_relu():
    for a in logits(count=12):
        for i, a_i in enumerate(a):
            symbols = {"a": a_i, "dr": mp.sin(i + 1), "r": lambda e: max(e.a, 0), "C": lambda e: e.dr * e.r}
            yield Meaning({**symbols, "da": differential("C", "a")}, {})


@checks("D6.7", kind=NUMERIC, scope="slopes from −2 to 3 in steps of 1/20, t of 10⁻³⁰ to 10³⁰, both signs")
def the_slopes_at_the_kink():
    steps = [sign * mpf(10) ** exponent for exponent in range(-30, 31, 6) for sign in (-1, 1)]
    for s in (mpf(i) / 20 for i in range(-40, 61)):
        yield Meaning({"s": s}, {"t": [*steps, mpf(0)]}, {"for every t": lambda e: True})


@checks("D6.8", kind=SYMBOLIC, scope="3 units, each of their 8 masks, any drop")
def the_gradient_of_dropout():
    for keep in itertools.product((0, 1), repeat=3):
        symbols = {
            "r": matrix("r", 1, 3), "drop": sp.Symbol("drop", positive=True), "keep": array([list(keep)]),
            "m": lambda e: e.keep / (1 - e.drop), "h": lambda e: e.m * e.r, "C": lambda e: any_cost(e.h),
            "dr": differential("C", "r"), "dh": differential("C", "h"),
        }  # fmt: skip
        yield Meaning(symbols, {"n": (1,), "j": (1, 2, 3)}, symbolic=True)


# ---- the network -----------------------------------------------------------------------------------------------------


class Network:
    """A small network on a batch, with its masks and its cost; a gradient by differences for anything in it.

    Args:
        x: (B, D) array.
        layers: [(W, b), …].
        masks: those of each layer's inputs.
        p: (B, K) array, the targets.
        T: the temperature.
    """

    def __init__(self, x, layers, masks, p, T):
        self.x, self.layers, self.masks, self.p, self.T = x, layers, masks, p, T

    def outputs(self, layers, x, first=0, start=None):
        """What comes out of each layer from `first` on, where `start` comes out of it, if that is given."""
        outs, h = [], self.masks[0] * x
        for i in range(first, len(layers)):
            W, b = layers[i]
            outs.append(start if i == first and start is not None else h @ W + b)
            if i < len(layers) - 1:
                h = self.masks[i + 1] * np.maximum(outs[-1], 0)
        return outs

    def cost(self, z):
        q = array(softmax(list(row), self.T) for row in z)
        return -sum(p_k * mp.log(q_k) for p_k, q_k in zip(self.p.flat, q.flat, strict=True)) / len(z)

    def gradient(self, of, at):
        """∂cost/∂array, the cost as a function of the array at hand."""
        found = np.empty(at.shape, dtype=object)
        for place in np.ndindex(at.shape):

            def along(x, place=place):
                moved = at.copy()
                moved[place] = x
                return self.cost(of(moved))

            found[place] = slope(along, at[place], False)
        return found

    def meaning(self):
        with mp.workdps(DIGITS):  # a slope has a third of them
            return self._meaning()

    def _meaning(self):
        L, outs = len(self.layers), self.outputs(self.layers, self.x)
        hs = {0: self.masks[0] * self.x}
        hs |= {i: self.masks[i] * np.maximum(outs[i - 1], 0) for i in range(1, L)}

        def with_layer(i, W=None, b=None):
            own = self.layers[i]
            return [*self.layers[:i], (own[0] if W is None else W, own[1] if b is None else b), *self.layers[i + 1 :]]

        def last(layers=self.layers, x=self.x, **start):
            return self.outputs(layers, x, **start)[-1]

        counted = range(1, L + 1)
        own = dict(zip(counted, self.layers, strict=True))
        symbols = {
            "x": self.x, "h": hs, "a": dict(zip(counted, outs, strict=True)), "z": outs[-1], "L": L, "B": len(self.x),
            "m": dict(enumerate(self.masks)), "p": self.p, "q": array(softmax(list(row), self.T) for row in outs[-1]),
            "T": self.T, "1": array([[mpf(1)]] * len(self.x)),
            "W": {i: W for i, (W, _) in own.items()}, "b": {i: b for i, (_, b) in own.items()},
            "dz": self.gradient(lambda z: z, outs[-1]), "dx": self.gradient(lambda x: last(x=x), self.x),
            "da": {i: self.gradient(lambda a, i=i: last(first=i - 1, start=a), outs[i - 1]) for i in counted},
            "dW": {i: self.gradient(lambda W, i=i: last(with_layer(i - 1, W=W)), W) for i, (W, _) in own.items()},
            "db": {i: self.gradient(lambda b, i=i: last(with_layer(i - 1, b=b)), b) for i, (_, b) in own.items()},
        }  # fmt: skip
        return Meaning(symbols, {"ell": counted})


NETWORKS = ((3, 2), (2, 3, 2), (3, 4, 2, 3))


@checks("D6.9", "D6.10", "D6.11", kind=NUMERIC, scope=f"every parameter and input of networks {NETWORKS}, T = 1 and 8")
def the_gradient_of_the_network():
    rng = random.Random(6)
    cases, drop = 3, mpf(2) / 5

    def normal(*shape):
        return array([mpf(rng.gauss(0, 1)) for _ in range(int(np.prod(shape)))]).reshape(shape)

    for sizes, t in itertools.product(NETWORKS, (mpf(1), mpf(8))):
        layers = [(normal(i, j), normal(1, j)) for i, j in itertools.pairwise(sizes)]
        masks = [
            array([[int(rng.random() > drop) / (1 - drop) for _ in range(w)] for _ in range(cases)]) for w in sizes
        ]
        targets = array(softmax(list(3 * row), t) for row in normal(cases, sizes[-1]))
        network = Network(normal(cases, sizes[0]), layers, masks[:-1], targets, t)
        outs = network.outputs(layers, network.x)
        assert len({a > 0 for out in outs[:-1] for a in out.flat}) == (2 if len(layers) > 1 else 0)
        yield network.meaning()


@checks("D6.12", kind=NUMERIC, scope="every number of the example, the gradients by differences")
def the_network_to_follow_by_hand():
    """What goes in is read from the display: x, the weights, the biases, the mask and the target."""

    def network(e):
        row = lambda numbers: numbers.reshape(1, -1)  # noqa: E731
        assert set(e["m_1"]) <= {0, 2}, "a mask drops a unit, or doubles it where half of them are dropped"
        masks = [row(array([mpf(1), mpf(1)])), row(e["m_1"])]
        layers = [(e["W_1"], row(e["b_1"])), (e["W_2"], row(e["b_2"]))]
        return Network(row(e.x), layers, masks, row(e.p), e.T).meaning()

    def found(name, layer=None):
        def of(e):
            value = network(e)[name] if layer is None else network(e)[name][layer]
            return value[0] if len(value) == 1 else value

        return of

    def cost(e):
        return -sum(p_k * mp.log(q_k) for p_k, q_k in zip(e.p, e.q, strict=True))

    symbols = {name: found(name) for name in ("z", "q", "dz", "dx")} | {"C": cost}
    symbols |= {f"{name}_{layer}": found(name, layer) for name in ("a", "da", "dW", "db") for layer in (1, 2)}
    yield Meaning({**symbols, "h_1": found("h", 1)}, {})


# ---- populations -----------------------------------------------------------------------------------------------------


@checks(
    "D6.13",
    kind=SYMBOLIC,
    scope="3 students of 2 inputs and 2 outputs, as one block-diagonal network",
    near=("6 of 9",),
)
def students_side_by_side():
    students = range(1, 4)
    own = {s: Function(lambda e, theta, s=s: theta**3 * sp.Symbol(f"g{s}") + sp.exp(s * theta)) for s in students}
    theta = array(sp.symbols("theta1:4", real=True))
    yield Meaning({"C": own, "theta": theta}, dict.fromkeys("stu", students), symbolic=True)

    S = 3
    xs, Ws, bs = (
        [sp.Matrix(matrix(f"{name}{s}_", rows, 2)) for s in range(S)] for name, rows in (("x", B), ("W", 2), ("b", 1))
    )
    wide = sp.Matrix.hstack(*xs) * sp.diag(*Ws) + sp.ones(B, 1) * sp.Matrix.hstack(*bs)
    outputs = [wide[:, 2 * s : 2 * s + 2] for s in range(S)]
    C = sum(any_cost(a) for a in outputs)
    for s in range(S):
        alone = xs[s] * Ws[s] + sp.ones(B, 1) * bs[s]
        for parameter in [*Ws[s], *bs[s]]:
            its_slope = sp.diff(C, parameter)
            is_zero(its_slope - sp.diff(any_cost(alone), parameter))
            for other in (number for u in range(S) if u != s for number in [*Ws[u], *bs[u]]):
                is_zero(sp.diff(its_slope, other))


@checks("D6.14", kind=SYMBOLIC, scope="3 students of 2 inputs and 2 outputs")
def a_shared_input():
    S = 3
    Ws, bs = ([matrix(f"{name}{s}_", rows, 2) for s in range(S)] for name, rows in (("W", 2), ("b", 1)))
    symbols = {
        "x": matrix("x", B, 2),
        "xs": lambda e: [e.x] * S,
        "each": lambda e: [any_cost(x @ W + b) for x, W, b in zip(e.xs, Ws, bs, strict=True)],
        "C": lambda e: sum(e.each),
        "dx": differential("C", "x"),
        "dx_s": lambda e: differential("own", "x")(e.but(own=lambda at: at.each[e.s - 1])),
    }
    same = {"for x_1=ldots =x_S=x": lambda e: all(x is e.x for x in e.xs)}
    yield Meaning(symbols, {"s": range(1, S + 1)}, same, symbolic=True)


# ---- where the weights start -----------------------------------------------------------------------------------------


@checks(
    "D6.15",
    kind=NUMERIC,
    scope="two-point, three-point and normal weights, D = 2 to 5, random and adverse inputs",
    near=("54 of 108",),
)
def the_mean_square_through_relu():
    for h in logits(count=12, classes=(2, 3, 5)):
        D = len(h)
        for variance in (mpf(2) / D, mpf(1) / D):
            two, three = mp.sqrt(variance), mp.sqrt(3 * variance)
            for law in (
                {two: mpf(1) / 2, -two: mpf(1) / 2},
                {three: mpf(1) / 6, -three: mpf(1) / 6, mpf(0): mpf(2) / 3},
            ):
                drawn = [(array(W), mp.fprod(law[w] for w in W)) for W in itertools.product(law, repeat=D)]

                def mean(e, tree, drawn=drawn):
                    return sum(P * value(tree, e.but(W=W)) for W, P in drawn)

                symbols = {"h": array(h), "D": D, "sigma": mp.sqrt(variance), "E": Operator(mean)}
                yield Meaning({**symbols, "a": lambda e: (e.W * e.h).sum()}, {})
        mean_square = mp.fsum(h_i**2 for h_i in h) / D
        if mean_square > 0:  # a sum of normal weights is normal
            sd = mp.sqrt(2 * mean_square)
            with mp.workdps(25):
                after = mp.quad(lambda a: a**2 * mp.npdf(a), [0, 4, 16]) * sd**2
            close(after, mean_square, "the mean square of normal weights", mpf(10) ** -20)


# ---- the step --------------------------------------------------------------------------------------------------------


@checks("D6.16", kind=NUMERIC, scope="t = 1 to 8, and 10⁴ for the limit; by induction over all t with SymPy")
def momentum_at_a_constant_gradient():
    for mu, rate, g in ((mpf(9) / 10, mpf(1) / 10, mpf(3)), (mpf(1) / 2, mpf(2), mpf(-1))):
        v = [mpf(0)]
        for _ in range(8):
            v.append(mu * v[-1] - rate * g)
        symbols = {"mu": mu, "varepsilon": rate, "g": g, "v": dict(enumerate(v)), "→": {"t": 10**4}}
        yield Meaning(symbols, {"t": range(1, 9)})

    mu, rate, g, t = sp.Symbol("mu", positive=True), *sp.symbols("rate g", real=True), sp.Symbol("t", positive=True)

    def velocity(t):
        return -rate * g * (1 - mu**t) / (1 - mu)

    is_zero(velocity(sp.Integer(0)))
    is_zero(mu * velocity(t) - rate * g - velocity(t + 1))
    ratio = sp.Rational(9, 10)
    assert sp.limit(velocity(t).subs(mu, ratio), t, sp.oo) == -rate * g / (1 - ratio)


def norm(w):
    return mp.sqrt(mp.fsum(w_i**2 for w_i in w))


LIMITS = [mpf(1) / 1000, mpf(1), mp.sqrt(15), mpf(1000)]


@checks(
    "D6.17",
    kind=NUMERIC,
    scope="random vectors of 10⁻³ to 10² and adverse ones, zero among them, four limits",
    near=("1.0", "112 of 128"),
)
def clipping_keeps_the_direction():
    for g, M in itertools.product(logits(count=12), LIMITS):
        yield Meaning({"g": array(g), "M": M}, {})


@checks(
    "D6.18",
    kind=NUMERIC,
    scope="random and adverse weights, points inside, on the sphere and next to the nearest",
    near=("1.0", "1.0"),
)
def the_nearest_point_of_the_ball():
    for (w, u), M in itertools.product(pairs(count=12), LIMITS):
        if norm(w) <= M:
            continue
        nearest = [w_i * M / norm(w) for w_i in w]
        distance = norm([a - b for a, b in zip(w, nearest, strict=True)])
        close(norm(nearest), M, "the length of the nearest point")
        close(distance, norm(w) - M, "its distance")
        beside = [a + M / 10**6 * delta(i, 0) for i, a in enumerate(nearest)]
        inside = [a * min(mpf(1), M / norm(u)) if norm(u) > 0 else a for a in u]
        beside = [(a + M / 10**6 * delta(i, 0)) / (1 + mpf(10) ** -6) for i, a in enumerate(nearest)]
        for allowed in (inside, beside, [-a for a in nearest], [a / 2 for a in nearest], [mpf(0)] * len(w)):
            yield Meaning({"w": array(w), "u": array(allowed), "M": M, "w'": array(nearest)}, {})
            away = norm([a - b for a, b in zip(w, allowed, strict=True)])
            slack = norm(w) * mpf(10) ** -50
            assert norm(allowed) <= M + slack
            assert away >= norm(w) - norm(allowed) - slack, "the triangle inequality"
            assert norm(w) - norm(allowed) >= distance - slack, "a longer vector is allowed"
            apart = norm([a - b for a, b in zip(allowed, nearest, strict=True)])
            assert away > distance or apart < mpf(10) ** -20 * M, "another vector is as near"
