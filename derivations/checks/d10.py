"""D10: the dustbin, and one answer from a generalist and its specialists."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, derivative, mean, softmax
from derivations.checks import logits as one_case
from derivations.checks.cases import array, indices
from derivations.checks.cases import softmax as softmax_of
from derivations.checks.symbolic import dot, is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols
from derivations.meaning import Function, Meaning, OutOfRange

CASES = "random, tied, one-hot and far-spread logits, K = 3 to 10, none to three specialists"
SMALL = mpf(10) ** -40
COMMITTEES = 12


def committees(full=False, count=COMMITTEES):
    """(z, models): an answer's logits, and for each model its classes and its probabilities, the dustbin's last.

    The generalist comes first; a model for all classes has no dustbin.
    """
    rng = random.Random(0)
    for i in range(count):
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
    return mp.fsum(p_i * mp.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True) if p_i)


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


# ---- what the letters mean -------------------------------------------------------------------------------------------


def of_model(e):
    return e.models[e.m]


def its_probabilities(e):
    classes, p = of_model(e)
    return {k + 1: p_k for k, p_k in zip(classes, p, strict=False)}  # the last p is the dustbin's


def its_dustbin(e):
    classes, p = of_model(e)
    if len(p) == len(classes):
        raise OutOfRange("this model has no dustbin")
    return p[-1]


def own_divergence(e, p, q):
    """KL(p ‖ q), of distributions over all classes, or with one side as a model sees it: its classes, and a dustbin."""
    classes, (*_, last) = of_model(e)
    dustbin = [last] if len(classes) < e.K else []
    if isinstance(p, dict):
        return divergence([*p.values(), *dustbin], seen(list(q), classes))
    if isinstance(q, dict):
        return divergence(seen(list(p), classes), [*q.values(), *dustbin])
    return divergence(list(p), list(q))


def committee(z, models, words=None, **more):
    """An answer q from the logits z, and models that see some classes each, the others in a dustbin."""
    everything = range(len(z))
    own = {
        "z": array(z), "K": len(z), "M": len(models) - 1, "models": lambda e: models,
        "q": lambda e: softmax_of(e, e.z), "p^m": its_probabilities, "p_D^m": its_dustbin,
        "S_m": lambda e: [k + 1 for k in of_model(e)[0]],
        "D_m": lambda e: [k + 1 for k in everything if k not in of_model(e)[0]],
        "tilde p^m": lambda e: array(spread(list(e.q), *of_model(e))),
        "KL": Function(own_divergence), "C": lambda e: cost_of(list(e.q), models),
    }  # fmt: skip
    ranges = {**indices("jkl", len(z)), "i": lambda e: e.S_m, "m": range(len(models))}
    return Meaning({**own, **more}, ranges, words)


def after(e, average):
    """The answer after one step."""
    return array(average([spread(list(e.q), *model) for model in e.models]))


# ---- the dustbin -----------------------------------------------------------------------------------------------------


@checks("D10.1", kind=NUMERIC, scope="random shares; with SymPy for two classes and a dustbin of two, any densities")
def the_dustbin_correction():
    rng = random.Random(4)
    for _ in range(8):
        pi, r = mpf(rng.random()), mpf(rng.random())
        f = [mpf(rng.random()) for _ in range(3)]  # of a class and of two in the dustbin, with shares within it

        def lacks(part, f=f):
            return mp.log((1 - part) * (f[1] / 3 + 2 * f[2] / 3)) - mp.log(part * f[0])

        yield Meaning({"pi": pi, "r": r, "s": lacks(pi) - lacks(r)}, {})

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
        yield committee(z, models, C=Function(lambda e, z, models=models: cost_of(list(softmax_of(e, z)), models)))
        q = softmax(z)
        assert cost_of(q, models) >= -SMALL, f"the cost is {cost_of(q, models)}"
        close(cost_of(q, [(classes, seen(q, classes)) for classes, _ in models]), mpf(0), scale=mpf(1))


@checks("D10.3", kind=SYMBOLIC, scope="K = 4, dustbins of one, two and three classes")
def the_slope_of_the_log_of_a_sum():
    z = array(symbols(4, "z")[0])
    for D in ((3,), (1, 4), (2, 3, 4)):
        of = {"z": z, "q": lambda e: softmax_of(e, e.z), "D_m": D, "Q_m": lambda e, D=D: sum(e.q[j - 1] for j in D)}
        yield Meaning(of, indices("k", 4), symbolic=True)


@checks("D10.4", kind=NUMERIC, scope=f"{CASES}, against differences")
def the_gradient():
    for z, models in committees():
        yield committee(z, models, Q_m=lambda e: sum(e.q[k - 1] for k in e.D_m))


@checks("D10.5", kind=NUMERIC, scope=f"{CASES}, against random ways to spread", near=("1.0",))
def the_kindest_way_to_spread():
    rng = random.Random(1)
    for z, models in committees():
        q = softmax(z)
        for others in (q, *([q_k * mpf(rng.uniform(0.1, 1)) for q_k in q] for _ in range(2))):
            yield committee(z, models, r=lambda e, others=others: array(spread(others, *of_model(e))))
        for classes, p in models:
            nearest, here = spread(q, classes, p), seen(q, classes)
            close(divergence(q, nearest), divergence(here, p), scale=mpf(1))
            for _ in range(5):
                other = spread([q_k * mpf(rng.uniform(0.1, 1)) for q_k in q], classes, p)
                assert divergence(q, other) >= divergence(here, p) - SMALL, "another way to spread is nearer, reversed"


def dustbin_or_nothing(e):
    classes, p = of_model(e)
    return p[-1] if len(p) > len(classes) else mpf(0)


def within_dustbin(e):
    """q within the dustbin of model m, zero elsewhere."""
    inside = array(q_k if k + 1 in e.D_m else mpf(0) for k, q_k in enumerate(e.q))
    return inside / inside.sum() if e.D_m else inside


@checks(
    "D10.6",
    kind=NUMERIC,
    scope=f"{CASES}; the equation with SymPy: K = 3, a dustbin of two",
    near=("1.0",),
)
def the_curvature():
    whole = {"p_D^m": dustbin_or_nothing, "q|D_m": within_dustbin}
    rng = random.Random(2)
    for z, models in committees(count=5):
        yield committee(z, models, u=array(mpf(rng.gauss(0, 1)) for _ in z), **whole)
    even = [mpf(0), mpf(0)]
    yield committee(even, [([0, 1], softmax(even))], u=array([mpf(1), mpf(-1)]), **whole)

    z, u = symbols(3, "zu")
    q, weight = softmax_symbols(z, 1), sp.Symbol("p_D", positive=True)

    def variance(w):
        return dot(w, [u_k**2 for u_k in u]) - dot(w, u) ** 2

    within = [q[k] / (q[1] + q[2]) if k > 0 else sp.Integer(0) for k in range(3)]
    C = -(1 - weight) * sp.log(q[0]) - weight * sp.log(q[1] + q[2])
    second = sum(u[k] * u[m] * sp.diff(C, z[k], z[m]) for k in range(3) for m in range(3))
    is_zero(second - (variance(q) - weight * variance(within)))

    nearest = mpf(0)
    two = [mpf(1) / 1000, mpf(0)]  # next to the place where the curvature is largest
    for z, models in [*committees(), (two, [([0, 1], [mpf(1) / 2] * 2)])]:
        q, M = softmax(z), len(models) - 1
        dz = [mp.fsum(column) for column in zip(*[gaps(q, spread(q, *model)) for model in models], strict=True)]
        lower = cost_of(softmax([z_k - d_k * 2 / (1 + M) for z_k, d_k in zip(z, dz, strict=True)]), models)
        least, fall = mp.fsum(d**2 for d in dz) / (1 + M), cost_of(q, models) - lower
        assert fall >= least - SMALL, f"a safe step lowers the cost by {fall}, less than {least}"
        nearest = max(nearest, least / fall)
    assert nearest > mpf("0.999"), f"the least fall is reached to {nearest} only"


def gaps(q, p):
    return [q_k - p_k for q_k, p_k in zip(q, p, strict=True)]


def as_a_cost(of):
    """A cost as a function of the answer q."""
    return Function(lambda e, q: of(list(q), e.models), ("q",))


def answer(models):
    """Where the slope of the cost vanishes: near it by D10.8, and to all digits by Newton's method."""

    def slopes(*q):
        spreads = [spread(q, *model) for model in models]
        return [mp.fsum(column) - len(models) * q_k for column, q_k in zip(zip(*spreads, strict=True), q, strict=True)]

    q = models[0][1]
    for _ in range(50):
        q = arithmetic([spread(q, *model) for model in models])
    return list(mp.findroot(slopes, q))


def is_at_rest(e):
    spreads = sum(array(spread(list(e.q), *model)) for model in e.models)
    return max(abs(spreads - len(e.models) * e.q)) < SMALL


@checks(
    "D10.7",
    kind=NUMERIC,
    scope=f"{CASES}: at a random answer and at rest, against others; and a curvature in z below zero",
    near=("1.0", "1.0", "72 of 144"),
)
def convex_in_q():
    rng = random.Random(3)
    near = mpf(10) ** -6
    at_rest = {"if sum _mtilde p^m_k=(1+M)q_k for every k": is_at_rest}
    for z, models in committees():
        rest = answer(models)
        for q in (rest, softmax(z)):
            far = [softmax([mpf(rng.gauss(0, size)) for _ in z]) for size in (1, 3)]
            beside = [
                softmax([mp.log(q_k) + by * r_k for q_k, r_k in zip(q, far[0], strict=True)]) for by in (near, -near)
            ]
            for other in (q, rest, *far, *beside):
                of = {"q": array(q), "q'": array(other), "C": as_a_cost(cost_of)}
                yield committee(z, models, words=at_rest, **of)

    z, third = [mpf(3), mpf(0), mpf(0)], mpf(1) / 3
    models = [(list(range(3)), [third, third, third]), ([0], [mpf(1) / 100, mpf(99) / 100])]

    def along(t):
        return cost_of(softmax([z[0], z[1] + t, z[2] - t]), models)

    h = mpf(10) ** -10
    assert (along(h) - 2 * along(mpf(0)) + along(-h)) / h**2 < 0, "the cost looks convex in z"


@checks("D10.8", kind=NUMERIC, scope=CASES, near=("1.0",))
def the_step():
    for z, models in committees():
        e = committee(z, models, C=as_a_cost(cost_of), **{"q^+": lambda e: after(e, arithmetic)})
        for _ in range(3):
            yield e
            e = e.but(z=array(mp.log(q_k) for q_k in e["q^+"]))


@checks("D10.9", kind=NUMERIC, scope=f"{CASES}, all for all classes, in any order; and one specialist")
def full_coverage():
    for z, models in committees(full=True):

        def one_step(e, z=z, models=models):
            """From the slope of the cost alone, by D10.8."""
            slopes = [derivative(lambda z, x=models: cost_of(softmax(z), x), z, k) for k in range(len(z))]
            return array(q_k - slope / len(models) for q_k, slope in zip(softmax(z), slopes, strict=True))

        yield committee(z, models, q=one_step)
        q = arithmetic([[p[classes.index(k)] for k in range(len(z))] for classes, p in models])
        for k in range(len(z)):
            slope = derivative(lambda z, models=models: cost_of(softmax(z), models), [mp.log(q_k) for q_k in q], k)
            close(slope, mpf(0), tolerance=mpf(10) ** -30, scale=mpf(1))
    for _, models in committees():
        if len(models) == 2:
            q = arithmetic([spread(models[0][1], *model) for model in models])
            for q_k, again in zip(q, arithmetic([spread(q, *model) for model in models]), strict=True):
                close(q_k, again)


@checks("D10.10", kind=NUMERIC, scope=f"{CASES}, against differences")
def the_reverse_gradient():
    for z, models in committees():
        reverse = Function(lambda e, z, models=models: reverse_of(list(softmax_of(e, z)), models), ("z",))
        yield committee(z, models, **{"C'": reverse})


@checks("D10.11", kind=NUMERIC, scope=f"{CASES}, and all for all classes", near=("1.0",))
def the_reverse_step():
    for full in (False, True):
        for z, models in committees(full):
            e = committee(z, models, **{"C'": as_a_cost(reverse_of), "q^+": lambda e: after(e, geometric)})
            for _ in range(3):
                if reverse_of(list(e.q), models) > SMALL:  # else it has arrived
                    yield e
                e = e.but(z=array(mp.log(q_k) for q_k in e["q^+"]))
            if full:
                for k in range(len(z)):
                    slope = derivative(lambda z, m=models: reverse_of(softmax(z), m), list(e.z), k)
                    close(slope, mpf(0), tolerance=mpf(10) ** -30, scale=mpf(1))
