"""D6: the layers, the network, populations, the initial weights and the step."""

import itertools
import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, derivative, logits, pairs, softmax
from derivations.checks.symbolic import delta, is_zero

# ---- one layer -------------------------------------------------------------------------------------------------------

B, D, H = 2, 3, 2


def matrix(name, rows, columns):
    return sp.Matrix(rows, columns, sp.symbols(f"{name}:{rows}:{columns}", real=True))


def any_cost(outputs):
    """A cost of these outputs in which each has a slope of its own, which depends on all."""
    weights = sp.symbols(f"g:{len(outputs)}", real=True)
    return sum(g * a for g, a in zip(weights, outputs, strict=True)) + sum(outputs) ** 3 + sp.prod(list(outputs))


def upstream(outputs):
    """∂C/∂output of `any_cost`, at these outputs."""
    symbols = matrix("out", *outputs.shape)
    cost, here = any_cost(symbols), dict(zip(symbols, outputs, strict=True))
    return symbols.applyfunc(lambda out: sp.diff(cost, out).subs(here, simultaneous=True))


def affine():
    """x, W, b, and the outputs by D6.1."""
    x, W, b = matrix("x", B, D), matrix("W", D, H), matrix("b", 1, H)
    return x, W, b, sp.Matrix(B, H, lambda n, j: sum(x[n, i] * W[i, j] for i in range(D)) + b[j])


AFFINE = f"every element, {B} cases, {D} inputs, {H} outputs, a cost that mixes all outputs"


@checks("D6.1", "D6.5", kind=SYMBOLIC, scope=AFFINE)
def affine_as_products():
    x, W, b, a = affine()
    ones = sp.ones(B, 1)
    C, da = any_cost(a), upstream(a)
    assert sp.expand(a - (x * W + ones * b)) == sp.zeros(B, H), "the elements of a are not those of the products"
    for argument, gradient in ((x, da * W.T), (W, x.T * da), (b, ones.T * da)):
        for element, claimed in zip(argument, gradient, strict=True):
            is_zero(sp.diff(C, element) - claimed)


@checks("D6.2", kind=SYMBOLIC, scope=AFFINE)
def the_gradient_of_an_input():
    x, W, _, a = affine()
    C, da = any_cost(a), upstream(a)
    for n, i in itertools.product(range(B), range(D)):
        is_zero(sp.diff(C, x[n, i]) - sum(da[n, j] * W[i, j] for j in range(H)))


@checks("D6.3", kind=SYMBOLIC, scope=AFFINE)
def the_gradient_of_a_weight():
    x, W, _, a = affine()
    C, da = any_cost(a), upstream(a)
    for i, j in itertools.product(range(D), range(H)):
        is_zero(sp.diff(C, W[i, j]) - sum(x[n, i] * da[n, j] for n in range(B)))


@checks("D6.4", kind=SYMBOLIC, scope=AFFINE)
def the_gradient_of_a_bias():
    _, _, b, a = affine()
    C, da = any_cost(a), upstream(a)
    for j in range(H):
        is_zero(sp.diff(C, b[j]) - sum(da[n, j] for n in range(B)))


@checks("D6.6", kind=NUMERIC, scope="random inputs of 10⁻³ to 10² and adverse ones, off the kink")
def the_slope_of_relu():
    for a in logits():
        dr = [mp.sin(i + 1) for i in range(len(a))]

        def cost(a, dr=dr):
            return mp.fsum(dr_i * max(a_i, 0) for a_i, dr_i in zip(a, dr, strict=True))

        for i in range(len(a)):
            if abs(a[i]) > mpf(10) ** -19:  # farther from the kink than the step of the difference
                close(derivative(cost, a, i), dr[i] if a[i] > 0 else 0, tolerance=mpf(10) ** -30, scale=mpf(1))


@checks("D6.7", kind=NUMERIC, scope="slopes from −2 to 3 in steps of 1/100, t of 10⁻³⁰ to 10³⁰, both signs")
def the_slopes_at_the_kink():
    steps = [sign * mpf(10) ** exponent for exponent in range(-30, 31) for sign in (-1, 1)]
    for s in (mpf(i) / 100 for i in range(-200, 301)):
        below = all(max(t, 0) >= s * t for t in [*steps, mpf(0)])
        assert below == (0 <= s <= 1), f"the line of slope {s} {'stays below' if below else 'crosses'}"


@checks("D6.8", kind=SYMBOLIC, scope="3 units, each of their 8 masks, any drop")
def the_gradient_of_dropout():
    r, drop = matrix("r", 1, 3), sp.Symbol("drop", positive=True)
    for keep in itertools.product((0, 1), repeat=3):
        m = [k / (1 - drop) for k in keep]
        h = sp.Matrix([[m_j * r_j for m_j, r_j in zip(m, r, strict=True)]])
        C, dh = any_cost(h), upstream(h)
        for j in range(3):
            is_zero(sp.diff(C, r[j]) - m[j] * dh[j])


# ---- the network -----------------------------------------------------------------------------------------------------


def product(x, W):
    return [[mp.fsum(a * b for a, b in zip(row, column, strict=True)) for column in zip(*W, strict=True)] for row in x]


def transposed(W):
    return [list(column) for column in zip(*W, strict=True)]


def times(x, *others):
    """Element by element."""
    return [[mp.fprod(elements) for elements in zip(*rows, strict=True)] for rows in zip(x, *others, strict=True)]


def forward(x, layers, masks):
    """D6.9: the inputs h of every layer, and what comes out of it, a; the last is z."""
    hs, outs = [times(masks[0], x)], []
    for i, (W, b) in enumerate(layers):
        outs.append([[a + b_j for a, b_j in zip(row, b, strict=True)] for row in product(hs[-1], W)])
        if i < len(layers) - 1:
            hs.append(times(masks[i + 1], [[max(a, 0) for a in row] for row in outs[-1]]))
    return hs, outs


def backward(dz, hs, outs, layers, masks):
    """D6.10 and D6.11: [(dW, db), …] and dx."""
    gradients, da = [], dz
    for i in reversed(range(len(layers))):
        gradients.append((product(transposed(hs[i]), da), [mp.fsum(column) for column in zip(*da, strict=True)]))
        dh = product(da, transposed(layers[i][0]))
        da = times(dh, masks[i], [[int(a > 0) for a in row] for row in outs[i - 1]]) if i > 0 else times(dh, masks[0])
    return gradients[::-1], da


def shaped(numbers, sizes):
    """[(W, b), …] from a flat list."""
    numbers, layers = iter(numbers), []
    for width_in, width_out in itertools.pairwise(sizes):
        W = [[next(numbers) for _ in range(width_out)] for _ in range(width_in)]
        layers.append((W, [next(numbers) for _ in range(width_out)]))
    return layers


def flat(layers):
    return [number for W, b in layers for row in [*W, b] for number in row]


NETWORKS = ((3, 2), (2, 3, 2), (3, 4, 2, 3))


@checks("D6.9", "D6.10", "D6.11", kind=NUMERIC, scope=f"every parameter and input of networks {NETWORKS}, T = 1 and 8")
def the_gradient_of_the_network():
    rng = random.Random(6)
    cases, drop = 3, mpf(2) / 5
    for sizes, t in itertools.product(NETWORKS, (mpf(1), mpf(8))):
        start = cases * sizes[0]  # inputs first, then parameters
        count = start + sum(i * j + j for i, j in itertools.pairwise(sizes))
        everything = [mpf(rng.gauss(0, 1)) for _ in range(count)]
        keeps = [[[rng.random() > drop for _ in range(width)] for _ in range(cases)] for width in sizes]
        masks = [[[int(keep) / (1 - drop) for keep in row] for row in rows] for rows in keeps]
        targets = [softmax([mpf(rng.gauss(0, 3)) for _ in range(sizes[-1])], t) for _ in range(cases)]

        def split(everything, sizes=sizes, start=start):
            return [everything[n : n + sizes[0]] for n in range(0, start, sizes[0])], shaped(everything[start:], sizes)

        def cost(everything, split=split, masks=masks, targets=targets, t=t):
            z = forward(*split(everything), masks)[1][-1]
            log_q = [[mp.log(q_i) for q_i in softmax(row, t)] for row in z]
            return -mp.fsum(mp.fdot(p, row) for p, row in zip(targets, log_q, strict=True)) / cases

        x, layers = split(everything)
        hs, outs = forward(x, layers, masks)
        assert len({a > 0 for out in outs[:-1] for row in out for a in row}) == (2 if len(layers) > 1 else 0)
        answers = zip([softmax(row, t) for row in outs[-1]], targets, strict=True)
        dz = [[(q_i - p_i) / t / cases for q_i, p_i in zip(q, p, strict=True)] for q, p in answers]
        gradients, dx = backward(dz, hs, outs, layers, masks)
        claimed = [number for row in dx for number in row] + flat(gradients)
        largest = max(abs(number) for number in claimed)
        for i in range(count):
            close(derivative(cost, everything, i), claimed[i], f"number {i}", mpf(10) ** -30, scale=largest)


@checks("D6.12", kind=NUMERIC, scope="every number of the example, the gradients by central differences")
def the_network_to_follow_by_hand():
    half, sizes = mpf(1) / 2, (2, 3, 2)
    layers = [([[3, 1, 1], [-1, -1, 1]], [0, 0, 0]), ([[2, 1], [4, -2], [1, 5]], [0, 2])]
    masks = [[[1, 1]], [[2, 2, 0]]]
    hs, (a, z) = forward([[1, 2]], layers, masks)
    assert (a, hs[1], z) == ([[1, -1, 3]], [[2, 0, 0]], [[4, 4]])
    assert softmax(z[0]) == [half, half]
    dz = [[-half, half]]
    dh = product(dz, transposed(layers[1][0]))
    assert dh == [[-half, -3, 2]]
    assert times(dh, masks[1], [[1, 0, 1]]) == [[-1, 0, 0]]

    def cost(everything):
        return -mp.log(softmax(forward([everything[:2]], shaped(everything[2:], sizes), masks)[1][-1][0])[0])

    everything = [mpf(number) for number in [1, 2, *flat(layers)]]
    close(cost(everything), mp.log(2))
    dlayers = [([[-1, 0, 0], [-2, 0, 0]], [-1, 0, 0]), ([[-1, 1], [0, 0], [0, 0]], [-half, half])]
    for i, claimed in enumerate([-3, 1, *flat(dlayers)]):
        close(derivative(cost, everything, i), mpf(claimed), f"number {i}", mpf(10) ** -30, scale=mpf(1))


# ---- populations -----------------------------------------------------------------------------------------------------


@checks("D6.13", "D6.14", kind=SYMBOLIC, scope="3 students of 2 inputs and 2 outputs, as one block-diagonal network")
def students_side_by_side():
    S = 3
    xs, Ws, bs = ([matrix(f"{name}{s}_", rows, 2) for s in range(S)] for name, rows in (("x", B), ("W", 2), ("b", 1)))
    wide = sp.Matrix.hstack(*xs) * sp.diag(*Ws) + sp.ones(B, 1) * sp.Matrix.hstack(*bs)
    own = [wide[:, 2 * s : 2 * s + 2] for s in range(S)]
    C = sum(any_cost(a) for a in own)
    for s in range(S):
        alone = xs[s] * Ws[s] + sp.ones(B, 1) * bs[s]
        parameters = [*Ws[s], *bs[s]]
        for parameter in parameters:
            slope = sp.diff(C, parameter)
            is_zero(slope - sp.diff(any_cost(alone), parameter))
            for other in (number for u in range(S) if u != s for number in [*Ws[u], *bs[u]]):
                is_zero(sp.diff(slope, other))
    x = matrix("shared", B, 2)
    shared = {old: new for each in xs for old, new in zip(each, x, strict=True)}
    for i, element in enumerate(x):
        each = [sp.diff(any_cost(own[s]), xs[s][i]) for s in range(S)]
        is_zero(sp.diff(C.subs(shared), element) - sum(each).subs(shared))


# ---- where the weights start -----------------------------------------------------------------------------------------


@checks("D6.15", kind=NUMERIC, scope="two-point, three-point and normal weights, D = 2 to 5, random and adverse inputs")
def the_mean_square_through_relu():
    for h in logits(classes=(2, 3, 5)):
        D = len(h)
        variance, mean_square = mpf(2) / D, mp.fsum(h_i**2 for h_i in h) / D
        two = {mp.sqrt(variance): mpf(1) / 2, -mp.sqrt(variance): mpf(1) / 2}
        three = {mp.sqrt(3 * variance): mpf(1) / 6, -mp.sqrt(3 * variance): mpf(1) / 6, mpf(0): mpf(2) / 3}
        for law in (two, three):
            drawn = [(mp.fdot(W, h), mp.fprod(law[w] for w in W)) for W in itertools.product(law, repeat=D)]
            before = mp.fsum(P * a**2 for a, P in drawn)
            after = mp.fsum(P * max(a, 0) ** 2 for a, P in drawn)
            close(after, before / 2, "half the mean square")
            close(before, variance * D * mean_square, "the mean square of a")
            close(after, mean_square, "the mean square behind the ReLU")
        if mean_square > 0:  # a sum of normal weights is normal
            sd = mp.sqrt(variance * mp.fsum(h_i**2 for h_i in h))
            with mp.workdps(25):
                after = mp.quad(lambda a: a**2 * mp.npdf(a), [0, 4, 16]) * sd**2
            close(after, mean_square, "the mean square of normal weights", mpf(10) ** -20)


# ---- the step --------------------------------------------------------------------------------------------------------


@checks("D6.16", kind=SYMBOLIC, scope="by induction over all t, for any μ in (0, 1), rate and gradient")
def momentum_at_a_constant_gradient():
    mu, rate, g, t = sp.Symbol("mu", positive=True), *sp.symbols("rate g", real=True), sp.Symbol("t", positive=True)

    def velocity(t):
        return -rate * g * (1 - mu**t) / (1 - mu)

    is_zero(velocity(sp.Integer(0)))
    is_zero(mu * velocity(t) - rate * g - velocity(t + 1))
    for steps in range(1, 6):
        is_zero(-rate * g * sum(mu**i for i in range(steps)) - velocity(steps))
    ratio = sp.Rational(9, 10)
    assert sp.limit(velocity(t).subs(mu, ratio), t, sp.oo) == -rate * g / (1 - ratio)


def norm(w):
    return mp.sqrt(mp.fsum(w_i**2 for w_i in w))


LIMITS = [mpf(1) / 1000, mpf(1), mp.sqrt(15), mpf(1000)]


@checks("D6.17", kind=NUMERIC, scope="random vectors of 10⁻³ to 10² and adverse ones, zero among them, four limits")
def clipping_keeps_the_direction():
    for g, M in itertools.product(logits(), LIMITS):
        c = M / max(norm(g), M)
        clipped = [c * g_i for g_i in g]
        assert 0 < c <= 1
        close(norm(clipped), min(norm(g), M), "the norm")
        if norm(g) > 0:
            for before, after in zip(g, clipped, strict=True):
                close(after / norm(clipped), before / norm(g), "the direction")


@checks("D6.18", kind=NUMERIC, scope="random and adverse weights, points inside, on the sphere and next to the nearest")
def the_nearest_point_of_the_ball():
    for (w, u), M in itertools.product(pairs(), LIMITS):
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
            away = norm([a - b for a, b in zip(w, allowed, strict=True)])
            slack = norm(w) * mpf(10) ** -50
            assert norm(allowed) <= M + slack
            assert away >= norm(w) - norm(allowed) - slack, "the triangle inequality"
            assert norm(w) - norm(allowed) >= distance - slack, "a longer vector is allowed"
            apart = norm([a - b for a, b in zip(allowed, nearest, strict=True)])
            assert away > distance or apart < mpf(10) ** -20 * M, "another vector is as near"
