"""D7: dropout, by writing out all masks of small networks."""

import itertools
import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, derivative, logits, softmax
from derivations.checks.symbolic import delta, is_zero

DROPS = [mpf(1) / 10, mpf(1) / 2, mpf(9) / 10]


def masks(n, drop):
    """(k, P(k)) for every mask of n units, by D7.1."""
    for k in itertools.product((0, 1), repeat=n):
        P = 1
        for k_i in k:
            P *= (1 - drop) ** k_i * drop ** (1 - k_i)
        yield k, P


def dropped(x, k, drop):
    return [k_i * x_i / (1 - drop) for x_i, k_i in zip(x, k, strict=True)]


# ---- the members -----------------------------------------------------------------------------------------------------

d = sp.Symbol("d", positive=True)
UNITS = (1, 2, 3, 4)
EVERY_MASK = "every mask of 1 to 4 units, any drop and any input"


@checks("D7.1", kind=SYMBOLIC, scope=EVERY_MASK)
def the_probability_of_a_mask():
    for n in UNITS:
        everything = list(masks(n, d))
        assert len(everything) == 2**n
        is_zero(sum(P for _, P in everything) - 1)
        for i in range(n):
            is_zero(sum(P for k, P in everything if k[i] == 0) - d, "the share of masks that drop a unit:")


@checks("D7.2", "D7.3", kind=SYMBOLIC, scope=EVERY_MASK)
def mean_and_covariance():
    for n in UNITS:
        x = sp.symbols(f"x1:{n + 1}", real=True)
        out = [(dropped(x, k, d), P) for k, P in masks(n, d)]
        for i in range(n):
            is_zero(sum(P * o[i] for o, P in out) - x[i])
            for j in range(n):
                covariance = sum(P * o[i] * o[j] for o, P in out) - x[i] * x[j]
                is_zero(covariance - d / (1 - d) * x[i] ** 2 * delta(i, j))


# ---- small networks, numerically -------------------------------------------------------------------------------------


def affine(h, W, b):
    return [mp.fsum([h_i * row[j] for h_i, row in zip(h, W, strict=True)]) + b_j for j, b_j in enumerate(b)]


def relu(a):
    return [max(a_j, 0) for a_j in a]


def absolute(a):
    return [abs(a_j) for a_j in a]


def average(weighted):
    """The mean of vectors: Σ P · vector over (vector, P)."""
    weighted = list(weighted)
    return [mp.fsum(P * vector[i] for vector, P in weighted) for i in range(len(weighted[0][0]))]


def cases(outputs=3):
    """Inputs of every kind, with random weights to so many outputs, and a drop."""
    rng = random.Random(7)
    for i, x in enumerate(logits(count=20, classes=(2, 3, 5))):
        W = [[mpf(rng.gauss(0, 1)) for _ in range(outputs)] for _ in x]
        yield x, W, [mpf(rng.gauss(0, 1)) for _ in range(outputs)], DROPS[i % 3]


def noise(x, W, j, drop):
    """The standard deviation of an affine layer's output j, by D7.3."""
    return mp.sqrt(drop / (1 - drop) * mp.fsum((x_i * row[j]) ** 2 for x_i, row in zip(x, W, strict=True)))


ENUMERATED = "every mask of 2 to 5 units, random and adverse inputs, drop = 0.1, 0.5, 0.9"


def members(x, W, b, drop):
    return [(affine(dropped(x, k, drop), W, b), P) for k, P in masks(len(x), drop)]


def two_layers(count=6):
    """A network with masks on its inputs and on its hidden units: everything that D7.7 speaks of."""
    rng = random.Random(17)
    for x, W, b, drop in itertools.islice(cases(), count):
        V, c = [[mpf(rng.gauss(0, 1)) for _ in range(2)] for _ in range(3)], [mpf(rng.gauss(0, 1)) for _ in range(2)]
        other = mpf(1) / 5
        z = [
            (affine(dropped(relu(a), k, other), V, c), P_inputs * P_hidden)
            for a, P_inputs in members(x, W, b, drop)
            for k, P_hidden in masks(3, other)
        ]
        yield (x, W, b, drop), (V, c), z


def geometric(z, t):
    """G of D7.4, and its sum."""
    log_q = [([mp.log(q_c) for q_c in softmax(z_k, t)], P) for z_k, P in z]
    G = [mp.exp(mean_log) for mean_log in average(log_q)]
    return G, mp.fsum(G)


TEMPERATURES = (mpf(1), mpf(8))


def numbers_agree(vector, other, what, scale=0):
    for a, b in zip(vector, other, strict=True):
        close(a, b, what, mpf(10) ** -35, scale)


@checks("D7.4", kind=NUMERIC, scope="every mask of the inputs and hidden units of small ReLU networks, T = 1 and 8")
def the_geometric_mean_of_softmaxes():
    for (_, _, z), t in itertools.product(two_layers(), TEMPERATURES):
        G, Z = geometric(z, t)
        numbers_agree([g / Z for g in G], softmax(average(z), t), "the geometric mean")


@checks("D7.5", kind=NUMERIC, scope=f"{ENUMERATED}, T = 1 and 8 (softmaxes of logits up to 40 T apart)")
def one_layer_is_exact():
    for (x, W, b, drop), t in itertools.product(cases(), TEMPERATURES):
        z, without = members(x, W, b, drop), affine(x, W, b)
        numbers_agree(average(z), without, "the mean logits", scale=max(map(abs, without)))
        spread = max(max(z_k) - min(z_k) for z_k, _ in z) / t
        if spread < 40:  # else a member's probability leaves too few of the 60 digits
            G, Z = geometric(z, t)
            numbers_agree([g / Z for g in G], softmax(without, t), "the geometric mean")


@checks("D7.6", kind=NUMERIC, scope=f"{ENUMERATED}; the bound reached in the example")
def across_a_relu():
    for x, W, b, drop in cases():
        z, without = members(x, W, b, drop), affine(x, W, b)
        size = max(1, *map(abs, without), *(abs(a) for a_k, _ in z for a in a_k))
        after, sizes = average((relu(a), P) for a, P in z), average((absolute(a), P) for a, P in z)
        for j in range(3):
            gap, sd = after[j] - max(without[j], 0), noise(x, W, j, drop)
            close(gap, (sizes[j] - abs(without[j])) / 2, "the gap", scale=size)
            assert -size * mpf(10) ** -50 <= gap <= sd / 2 + size * mpf(10) ** -50, f"{gap} is not in 0 … {sd / 2}"
            signs = {mp.sign(a[j]) for a, _ in z} - {0}
            assert (gap > size * mpf(10) ** -40) == (len(signs) == 2), "exact just where no mask changes the sign"
            close(mp.sqrt(average(([(a[j] - without[j]) ** 2], P) for a, P in z)[0]), sd, "sd", mpf(10) ** -25, size)
    x, W, b, drop = [mpf(1)], [[mpf(1)]], [mpf(-1)], mpf(1) / 2
    ((mean,), sd) = average((relu(a), P) for a, P in members(x, W, b, drop)), noise(x, W, 0, drop)
    assert affine(x, W, b) == [0]
    assert mean == sd / 2 == mpf(1) / 2


@checks("D7.7", kind=NUMERIC, scope="every mask of the inputs and of 3 hidden units, 2 classes")
def through_a_hidden_layer():
    for (x, W, b, drop), (V, c), z in two_layers():
        inner = affine(x, W, b)
        without, mean = affine(relu(inner), V, c), average(z)
        sizes = average((absolute(a), P) for a, P in members(x, W, b, drop))
        for i in range(2):
            gap = abs(mean[i] - without[i])
            close(gap, abs(mp.fsum((sizes[j] - abs(inner[j])) * V[j][i] for j in range(3))) / 2, "gap", scale=mpf(1))
            bound = mp.fsum(abs(V[j][i]) * noise(x, W, j, drop) for j in range(3)) / 2
            assert gap <= bound * (1 + mpf(10) ** -50), f"{gap} is more than {bound}"


# ---- what is being minimised -----------------------------------------------------------------------------------------


def soft_cost(z, p, t):
    return -mp.fsum(p_c * mp.log(q_c) for p_c, q_c in zip(p, softmax(z, t), strict=True))


def log_sum(z, t):
    return mp.log(mp.fsum(mp.exp(z_c / t) for z_c in z))


@checks("D7.8", kind=NUMERIC, scope="every mask of small ReLU networks, several targets, T = 1 and 8")
def the_penalty_without_a_target():
    for (_, _, z), t in itertools.product(two_layers(), TEMPERATURES):
        mean = average(z)
        _, Z = geometric(z, t)
        penalty = mp.fsum(P * log_sum(z_k, t) for z_k, P in z) - log_sum(mean, t)
        close(penalty, -mp.log(Z), "the penalty", mpf(10) ** -35, scale=mpf(1))
        for p in ([mpf(1), mpf(0)], [mpf(1) / 2, mpf(1) / 2], softmax([mpf(2), mpf(-1)], t)):
            excess = mp.fsum(P * soft_cost(z_k, p, t) for z_k, P in z) - soft_cost(mean, p, t)
            close(excess, penalty, "the excess of the mean cost", mpf(10) ** -35, scale=mpf(1))
            assert excess > 0, f"the mean cost is {excess} above that of the mean"


n, K = 3, 2


def linear_model():
    """x, W, v, the logits without dropout, and the mean over the masks of the squared cost."""
    x, v, b = sp.symbols(f"x1:{n + 1}"), sp.symbols(f"v1:{K + 1}"), sp.symbols(f"b1:{K + 1}")
    W = sp.Matrix(n, K, sp.symbols(f"W:{n}:{K}"))

    def z(inputs):
        return [sum(inputs[i] * W[i, c] for i in range(n)) + b[c] for c in range(K)]

    def cost(inputs):
        return sum((z_c - v_c) ** 2 for z_c, v_c in zip(z(inputs), v, strict=True)) / 2

    return x, W, v, z(x), cost


@checks("D7.9", kind=SYMBOLIC, scope=f"every mask of {n} units, {K} outputs, any drop")
def the_squared_cost():
    x, W, v, z, cost = linear_model()
    mean = sum(P * cost(dropped(x, k, d)) for k, P in masks(n, d))
    penalty = d / (1 - d) * sum(x[i] ** 2 * W[i, c] ** 2 for i in range(n) for c in range(K)) / 2
    is_zero(mean - sum((z_c - v_c) ** 2 for z_c, v_c in zip(z, v, strict=True)) / 2 - penalty)


@checks("D7.10", kind=NUMERIC, scope=f"every mask: the soft cost, {ENUMERATED}; the squared cost with SymPy")
def the_gradient_is_unbiased():
    x, W, v, z, cost = linear_model()
    for i, c in itertools.product(range(n), range(K)):
        mean = sum(P * sp.diff(cost(dropped(x, k, d)), W[i, c]) for k, P in masks(n, d))
        is_zero(mean - x[i] * (z[c] - v[c]) - d / (1 - d) * x[i] ** 2 * W[i, c])
    t, p = mpf(2), softmax([mpf(1), mpf(0), mpf(-2)])
    for x, W, b, drop in itertools.islice(cases(), 6):
        weights = [w for row in W for w in row]

        def mean_cost(weights, x=x, b=b, drop=drop):
            W = [weights[i : i + 3] for i in range(0, len(weights), 3)]
            return mp.fsum(P * soft_cost(z, p, t) for z, P in members(x, W, b, drop))

        def step_gradient(k, i, c, x=x, W=W, b=b, drop=drop):
            h = dropped(x, k, drop)
            return h[i] * (softmax(affine(h, W, b), t)[c] - p[c]) / t

        for i, c in itertools.product(range(len(x)), range(3)):
            mean = mp.fsum(P * step_gradient(k, i, c) for k, P in masks(len(x), drop))
            close(derivative(mean_cost, weights, 3 * i + c), mean, "the gradient", mpf(10) ** -25, scale=mpf(1))
