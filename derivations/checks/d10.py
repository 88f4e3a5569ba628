"""D10: the dustbin, and one answer from a generalist and its specialists."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, derivative, mean, softmax
from derivations.checks import logits as one_case
from derivations.checks.symbolic import dot, is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols

CASES = "random, tied, one-hot and far-spread logits, K = 3 to 10, none to three specialists"
SMALL = mpf(10) ** -40


def committees(full=False):
    """(z, models): an answer's logits, and for each model its classes and its probabilities, the dustbin's last.

    The generalist comes first; a model for all classes has no dustbin.
    """
    rng = random.Random(0)
    for i in range(24):
        K = (3, 5, 10)[i % 3]
        pool = list(one_case(9, (K,), seed=i))
        z = [mpf(rng.gauss(0, 1)) for _ in range(K)]
        models = [(list(range(K)), softmax(rng.choice(pool)))]
        for _ in range(i % 4):
            classes = rng.sample(range(K), K if full else rng.randint(1, K - 1))
            models.append((classes, softmax(rng.choice(pool)[: len(classes)] + [mpf(1)] * (not full))))
        yield z, models


def seen(q, classes):
    """What a model can see of q: its own classes, and the rest in one sum."""
    rest = [q_k for k, q_k in enumerate(q) if k not in classes]
    return [q[k] for k in classes] + ([mp.fsum(rest)] if rest else [])


def divergence(p, q):
    return mp.fsum(p_i * mp.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True))


def cost_of(q, models):
    return mp.fsum(divergence(p, seen(q, classes)) for classes, p in models)


def reverse_of(q, models):
    return mp.fsum(divergence(seen(q, classes), p) for classes, p in models)


def spread(q, classes, p):
    rest = mp.fsum(q_k for k, q_k in enumerate(q) if k not in classes)
    return [p[classes.index(k)] if k in classes else p[-1] * q_k / rest for k, q_k in enumerate(q)]


def arithmetic(rows):
    return [mean(column) for column in zip(*rows, strict=True)]


def geometric(rows):
    roots = [mp.exp(mean([mp.log(x) for x in column])) for column in zip(*rows, strict=True)]
    return [root / mp.fsum(roots) for root in roots]


@checks("D10.1", kind=SYMBOLIC, scope="two classes and a dustbin of two, any densities and shares")
def the_dustbin_correction():
    f, a = sp.symbols("f1:5", positive=True), sp.symbols("a1:5", positive=True)  # densities; relative shares
    share, sampled = (sp.Rational(1, 1) / (1 + sp.Symbol(name, positive=True)) for name in ("o", "w"))

    def logits_of(part):
        weights = [part * a[k] / (a[0] + a[1]) if k < 2 else (1 - part) * a[k] / (a[2] + a[3]) for k in range(4)]
        own = [w * f_k for w, f_k in zip(weights, f, strict=True)]
        return [sp.log(own[0]), sp.log(own[1]), sp.log(own[2] + own[3])]

    trained, right = logits_of(sampled), logits_of(share)
    s = sp.log((sampled / share) / ((1 - sampled) / (1 - share)))
    for k in range(2):
        lacking = (right[2] - right[k]) - (trained[2] - trained[k])
        assert sp.simplify(sp.exp(lacking - s)) == 1


@checks("D10.2", kind=NUMERIC, scope=CASES)
def the_cost_is_a_divergence():
    """Never negative, and zero where every model sees in q what it says itself."""
    for z, models in committees():
        q = softmax(z)
        assert cost_of(q, models) >= -SMALL, f"the cost is {cost_of(q, models)}"
        close(cost_of(q, [(classes, seen(q, classes)) for classes, _ in models]), mpf(0), scale=mpf(1))
        written_out = mpf(0)
        for classes, p in models:
            for i, k in enumerate(classes):
                written_out += p[i] * mp.log(p[i] / q[k])
            if len(p) > len(classes):
                written_out += p[-1] * (mp.log(p[-1]) - mp.log(1 - mp.fsum(q[k] for k in classes)))
        close(cost_of(q, models), written_out, scale=mpf(1))


@checks("D10.3", kind=SYMBOLIC, scope="K = 4, dustbins of one, two and three classes")
def the_slope_of_the_log_of_a_sum():
    (z,) = symbols(4, "z")
    q = softmax_symbols(z, 1)
    for D in ((2,), (0, 3), (1, 2, 3)):
        Q = sum(q[j] for j in D)
        for k in range(4):
            assert sp.simplify(sp.diff(sp.log(Q), z[k]) - ((q[k] / Q if k in D else 0) - q[k])) == 0


@checks("D10.4", kind=NUMERIC, scope=f"{CASES}, against central differences")
def the_gradient():
    for z, models in committees():
        q = softmax(z)
        spreads = [spread(q, *model) for model in models]
        for k in range(len(z)):
            by_hand = mp.fsum(q[k] - p[k] for p in spreads)
            slope = derivative(lambda z, models=models: cost_of(softmax(z), models), z, k)
            close(slope, by_hand, tolerance=mpf(10) ** -30, scale=mpf(1))


@checks("D10.5", kind=NUMERIC, scope=f"{CASES}, against random ways to spread")
def the_kindest_way_to_spread():
    rng = random.Random(1)
    for z, models in committees():
        q = softmax(z)
        for classes, p in models:
            nearest, here = spread(q, classes, p), seen(q, classes)
            close(divergence(nearest, q), divergence(p, here), scale=mpf(1))
            close(divergence(q, nearest), divergence(here, p), scale=mpf(1))
            for _ in range(5):
                other = spread([q_k * mpf(rng.uniform(0.1, 1)) for q_k in q], classes, p)
                assert divergence(other, q) >= divergence(p, here) - SMALL, "another way to spread is nearer"
                assert divergence(q, other) >= divergence(here, p) - SMALL, "another way to spread is nearer, reversed"


@checks(
    "D10.6", kind=SYMBOLIC, scope="the equation: K = 3, a dustbin of two; the bound and the step: 60 digits, " + CASES
)
def the_curvature():
    z, u = symbols(3, "zu")
    q, weight = softmax_symbols(z, 1), sp.Symbol("p_D", positive=True)

    def variance(w):
        return dot(w, [u_k**2 for u_k in u]) - dot(w, u) ** 2

    within = [q[k] / (q[1] + q[2]) if k > 0 else sp.Integer(0) for k in range(3)]
    C = -(1 - weight) * sp.log(q[0]) - weight * sp.log(q[1] + q[2])
    second = sum(u[k] * u[m] * sp.diff(C, z[k], z[m]) for k in range(3) for m in range(3))
    is_zero(second - (variance(q) - weight * variance(within)))

    rng = random.Random(2)
    for z, models in committees():
        q, M = softmax(z), len(models) - 1
        u = [mpf(rng.gauss(0, 1)) for _ in z]
        dz = [mp.fsum(column) for column in zip(*[gaps(q, spread(q, *model)) for model in models], strict=True)]
        for v in (u, dz, [mpf(1), mpf(-1)] + [mpf(0)] * (len(z) - 2)):
            whole = sum_of_squares(v, q)
            assert whole <= sum(v_k**2 for v_k in v) / 2, "a variance is above half the sum of the squares"
        after = cost_of(softmax([z_k - d_k * 2 / (1 + M) for z_k, d_k in zip(z, dz, strict=True)]), models)
        fall = mp.fsum(d**2 for d in dz) / (1 + M)
        assert after <= cost_of(q, models) - fall + SMALL, f"a safe step lowers the cost by less than {fall}"


def gaps(q, p):
    return [q_k - p_k for q_k, p_k in zip(q, p, strict=True)]


def sum_of_squares(u, q):
    centre = mp.fsum(q_k * u_k for q_k, u_k in zip(q, u, strict=True))
    return mp.fsum(q_k * (u_k - centre) ** 2 for q_k, u_k in zip(q, u, strict=True))


@checks("D10.7", kind=NUMERIC, scope=f"{CASES}: the tangent in q at every q, and a curvature in z below zero")
def convex_in_q():
    rng = random.Random(3)
    for z, models in committees():
        q = softmax(z)
        slopes = [
            -mp.fsum(column) / q_k
            for column, q_k in zip(zip(*[spread(q, *m) for m in models], strict=True), q, strict=True)
        ]
        for _ in range(5):
            other = softmax([mpf(rng.gauss(0, 3)) for _ in z])
            below = cost_of(q, models) + mp.fsum(s * d for s, d in zip(slopes, gaps(other, q), strict=True))
            assert cost_of(other, models) >= below - SMALL, "the cost lies below its tangent"
    for z, models in list(committees())[1:8]:
        q = softmax(z)
        for _ in range(400):
            q = arithmetic([spread(q, *model) for model in models])
        for _ in range(20):
            other = softmax([mpf(rng.gauss(0, 3)) for _ in z])
            assert cost_of(other, models) >= cost_of(q, models) - SMALL, "there is a lower place"

    z, third = [mpf(3), mpf(0), mpf(0)], mpf(1) / 3
    models = [(list(range(3)), [third, third, third]), ([0], [mpf(1) / 100, mpf(99) / 100])]

    def along(t):
        return cost_of(softmax([z[0], z[1] + t, z[2] - t]), models)

    h = mpf(10) ** -10
    assert (along(h) - 2 * along(mpf(0)) + along(-h)) / h**2 < 0, "the cost looks convex in z"


@checks("D10.8", kind=NUMERIC, scope=CASES)
def the_step():
    for z, models in committees():
        q = softmax(z)
        for _ in range(3):
            spreads = [spread(q, *model) for model in models]
            after = arithmetic(spreads)
            for k, after_k in enumerate(after):
                slope = derivative(lambda z, models=models: cost_of(softmax(z), models), [mp.log(q_k) for q_k in q], k)
                close(after_k, q[k] - slope / len(models), tolerance=mpf(10) ** -30, scale=mpf(1))
            assert cost_of(after, models) <= cost_of(q, models) + SMALL, "a step raised the cost"
            q = after


@checks("D10.9", kind=NUMERIC, scope=f"{CASES}, all for all classes, in any order; and one specialist")
def full_coverage():
    for z, models in committees(full=True):
        q = arithmetic([[p[classes.index(k)] for k in range(len(z))] for classes, p in models])
        for k in range(len(z)):
            slope = derivative(lambda z, models=models: cost_of(softmax(z), models), [mp.log(q_k) for q_k in q], k)
            close(slope, mpf(0), tolerance=mpf(10) ** -30, scale=mpf(1))
    for _, models in committees():
        if len(models) == 2:
            q = arithmetic([spread(models[0][1], *model) for model in models])
            for q_k, again in zip(q, arithmetic([spread(q, *model) for model in models]), strict=True):
                close(q_k, again)


@checks("D10.10", kind=NUMERIC, scope=f"{CASES}, against central differences")
def the_reverse_gradient():
    for z, models in committees():
        q = softmax(z)
        spreads = [spread(q, *model) for model in models]
        ratio = [mp.fsum(mp.log(q_k / p[k]) for p in spreads) for k, q_k in enumerate(q)]
        centre = mp.fsum(q_k * l_k for q_k, l_k in zip(q, ratio, strict=True))
        close(centre, reverse_of(q, models), scale=mpf(1))
        for k, q_k in enumerate(q):
            slope = derivative(lambda z, models=models: reverse_of(softmax(z), models), z, k)
            close(slope, q_k * (ratio[k] - centre), tolerance=mpf(10) ** -30, scale=mpf(1000))


@checks("D10.11", kind=NUMERIC, scope=f"{CASES}, and all for all classes")
def the_reverse_step():
    for full in (False, True):
        for z, models in committees(full):
            q = softmax(z)
            for _ in range(3):
                after = geometric([spread(q, *model) for model in models])
                assert reverse_of(after, models) <= reverse_of(q, models) + SMALL, "a step raised the cost"
                q = after
            if full:
                for k in range(len(z)):
                    slope = derivative(lambda z, m=models: reverse_of(softmax(z), m), [mp.log(q_k) for q_k in q], k)
                    close(slope, mpf(0), tolerance=mpf(10) ** -30, scale=mpf(1))
