"""D12: what soft targets say beyond the label: their noise, the natural gradient, and the wrong classes."""

import random

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, TEMPERATURES, checks, pairs
from derivations.checks.cases import array, indices, numeric_cases, one_case, softmax, symbolic_cases
from derivations.checks.symbolic import CLASSES, SCOPE
from derivations.meaning import Meaning

CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.1 to 1000"
MODERATE = "random logits, K = 2, 3, 5, T = 0.5 to 1000"
FEW_CLASSES = "K = 2, 3"
LABELLED = "K = 2, 3, 4, every label, any probabilities"
RANDOM = "random and tied logits, K = 2, 3, 5, every label, T = 0.5 and 20"


def with_labels(cases):
    """The same, and y is an index as i is: the label that is drawn."""
    for e in cases:
        yield e.over(y=range(1, e.K + 1))


def any_probabilities():
    """q and p that sum to one, in symbols, for each number of classes."""
    for K in CLASSES:
        q, p = (array(sp.symbols(f"{letter}1:{K + 1}", positive=True)) for letter in "qp")
        for e in symbolic_cases([K]):
            yield e.but(q=q / q.sum(), p=p / p.sum())


# ---- noise -----------------------------------------------------------------------------------------------------------


@checks("D12.1", kind=SYMBOLIC, scope=FEW_CLASSES)
def the_mean_of_drawn_labels():
    yield from with_labels(e.but(T=sp.Integer(1)) for e in symbolic_cases(CLASSES[:2]))


@checks("D12.2", kind=SYMBOLIC, scope=f"{SCOPE}, any probabilities")
def the_noise_of_drawn_labels():
    yield from with_labels(any_probabilities())


@checks("D12.3", kind=NUMERIC, scope=CASES, near=("1.0",))
def the_most_noise():
    yield from numeric_cases()


@checks("D12.4", kind=SYMBOLIC, scope="N = 2, K = 2, any probabilities; 60 digits, N = 5, K = 3")
def noise_over_cases():
    def meaning(q, p, symbolic):
        N, K = q.shape
        return Meaning({"q": q, "p": p, "N": N}, {**indices("ky", K), **indices("n", N)}, symbolic=symbolic)

    q, p = (array([[x, 1 - x] for x in sp.symbols(f"{letter}1:3", real=True)]) for letter in "qp")
    yield meaning(q, p, symbolic=True)
    rng = random.Random(3)
    cases = [one_case(*([mpf(rng.gauss(0, 2)) for _ in range(3)] for _ in "zv"), mpf(1)) for _ in range(5)]
    yield meaning(array(e.q for e in cases), array(e.p for e in cases), symbolic=False)


@checks("D12.5", kind=NUMERIC, scope="a layer of tanh with random weights, K = 2, 3, five weights")
def noise_of_the_weights():
    rng = random.Random(0)
    for K in (2, 3):
        theta, into, out = (
            array(mpf(rng.gauss(0, 1)) for _ in range(count)).reshape(shape)
            for count, shape in ((5, 5), (5, 5), (5 * K, (K, 5)))
        )

        def network(e, into=into, out=out):
            return out @ e.apply("tanh", into * e.theta)

        v = [mpf(rng.gauss(0, 1)) for _ in range(K)]
        e = one_case(v, v, mpf(1), theta=theta).but(z=network)
        yield e.over(y=range(1, K + 1), j=range(1, 6))


# ---- near the teacher ------------------------------------------------------------------------------------------------


def spread(d):
    return max(d) - min(d)


def apart(z, v, T, **more):
    """A student z and a teacher v, with the spread of their difference."""
    return one_case(z, v, T, **{"R_z-v": spread(array(z) - array(v)), **more})


def all_apart():
    for z, v in pairs(8):
        for T in TEMPERATURES[::2]:
            yield apart(z, v, T)


@checks("D12.6", kind=NUMERIC, scope="random logits, K = 2, 3, 5, T = 8; with SymPy, K = 2")
def the_fisher_information_is_the_curvature():
    yield from symbolic_cases([2])
    yield from (e for e in moderate() if e.T == 8)


@checks("D12.7", kind=NUMERIC, scope=CASES, near=("1.0",))
def the_gradient_near_the_teacher():
    yield from all_apart()
    best = (3 - mp.sqrt(mpf(3))) / 6  # of all probabilities, this one bends the most: D3.7
    v = array([mp.log(4 * best / (1 - best)), *[mpf(0)] * 4])
    step = array([mpf(10) ** -6, *[mpf(0)] * 4])
    yield apart(v + step, v, mpf(1))


def fisher(e):
    return array([[q_k * (int(k == j) - q_j) for j, q_j in enumerate(e.q)] for k, q_k in enumerate(e.q)])


@checks("D12.8", kind=SYMBOLIC, scope=f"{SCOPE}, any probabilities")
def the_pseudo_inverse():
    for e in any_probabilities():
        yield e.but(Phi=fisher)


def natural_gradient(e):
    """The solution of (Φ/T²) ν = ∂C/∂z whose elements sum to zero, from linear equations."""
    gradient = mp.matrix(list((e.q - e.p) / e.T))
    metric = mp.matrix((fisher(e) / e.T**2 + 1).tolist())  # where the elements sum to zero, the 1 adds nothing
    return array(mp.lu_solve(metric, gradient))


def inverse_fisher(e):
    """From the inverse of a matrix that has one: the 1 adds 1/K² to each element of it."""
    return array(((mp.matrix((fisher(e) + 1).tolist())) ** -1).tolist()) - mpf(1) / e.K**2


def moderate(**more):
    """Logits that leave each probability large enough for linear equations in 120 digits."""
    rng = random.Random(1)
    for K in (2, 3, 5):
        for T in (mpf(1) / 2, mpf(1), mpf(8), mpf(1000)):
            z, v = ([mpf(rng.gauss(0, 3)) for _ in range(K)] for _ in "zv")
            yield apart(z, v, T, nu=natural_gradient, **more)


@checks("D12.9", kind=NUMERIC, scope=f"{MODERATE}; ν from linear equations")
def the_natural_gradient():
    yield from moderate(Psi=inverse_fisher)


def with_all_on(k, difference, T):
    """A student whose probability is all on class k, and a teacher at this difference from it."""
    z = array([mpf(60) * T * (i == k) for i in range(len(difference))])
    return apart(z, z - array(difference), T, nu=natural_gradient)


def moderate_and_extreme():
    yield from moderate()
    R, small = mpf(3), mpf(10) ** -7
    for T in (mpf(1), mpf(8)):
        yield with_all_on(2, [mpf(0), small, R], T)
        yield with_all_on(2, [R, R - small, mpf(0)], T)
        yield with_all_on(0, [R, mpf(0), mpf(0)], T)


@checks("D12.10", kind=NUMERIC, scope=f"{MODERATE}; and the extremes", near=("1.0", "1.0", "144 of 206"))
def two_logits():
    yield from moderate_and_extreme()


@checks("D12.11", kind=NUMERIC, scope=f"{MODERATE}; and the extremes", near=("1.0",))
def the_error_of_logit_matching():
    yield from moderate_and_extreme()


# ---- T = 1 in use ----------------------------------------------------------------------------------------------------


@checks("D12.12", kind=SYMBOLIC, scope=SCOPE)
def the_log_odds():
    at_one = {"q^(1)": lambda e: softmax(e, e.z), "p^(1)": lambda e: softmax(e, e.v)}
    yield from symbolic_cases(**at_one)


@checks("D12.13", kind=NUMERIC, scope=CASES, near=("1.0", "1.0"))
def the_probabilities():
    yield from all_apart()
    yield apart([mpf(1), mpf(-1)], [mpf(-1), mpf(1)], mpf(2))


@checks("D12.14", kind=NUMERIC, scope=CASES, near=("1.0",))
def the_cost():
    yield from all_apart()
    small = mpf(1) / 1000
    yield apart([small, -small], [mpf(0), mpf(0)], mpf(1))


# ---- the wrong classes -----------------------------------------------------------------------------------------------


def label(e):
    return array([e.number(str(int(i + 1 == e.y))) for i in range(e.K)])


def true_part(e):
    return (e.q[e.y - 1] - e.p[e.y - 1]) * (label(e) - (1 - label(e)) * e["hat q"]) / e.T


def wrong_part(e):
    return (1 - e.p[e.y - 1]) * (1 - label(e)) * (e["hat q"] - e["hat p"]) / e.T


HATS = {"hat p": lambda e: e.p / (1 - e.p[e.y - 1]), "hat q": lambda e: e.q / (1 - e.q[e.y - 1])}
PARTS = {**HATS, "gamma": true_part, "omega": wrong_part}


def labelled(cases, **more):
    """The same for every label y."""
    for e in cases:
        for y in range(1, e.K + 1):
            yield e.but(y=y, **more)


def random_logits():
    """Not so far apart that a probability is one to all digits: there is no wrong class then."""
    rng = random.Random(2)
    for K in (2, 3, 5):
        for T in (mpf(1) / 2, mpf(20)):
            z, v = ([mpf(rng.gauss(0, 3)) for _ in range(K)] for _ in "zv")
            yield one_case(z, v, T)
            yield one_case([mpf(0)] * K, [mpf(1)] * (K - 1) + [mpf(0)], T)


def without(name, cases):
    """The same without a meaning of this symbol, which the display gives itself."""
    for e in cases:
        rest = {other: found for other, found in e.symbols.items() if other != name}
        yield Meaning(rest, e.ranges, e.words, e.symbolic)


@checks("D12.15", kind=SYMBOLIC, scope=LABELLED)
def the_cost_in_two_parts():
    yield from labelled(any_probabilities())


@checks("D12.16", kind=NUMERIC, scope=RANDOM)
def the_gradient_in_two_parts():
    yield from labelled(random_logits(), **HATS)


@checks("D12.17", "D12.18", kind=SYMBOLIC, scope=LABELLED)
def the_parts():
    yield from labelled(any_probabilities(), **PARTS)


@checks("D12.19", kind=SYMBOLIC, scope=f"{FEW_CLASSES}, every label")
def smoothed_labels():
    cost = {"C": lambda e: -(e.p * e.apply("log", e.q)).sum(), "beta": sp.Symbol("beta", positive=True)}
    yield from without("p", labelled(symbolic_cases(CLASSES[:2]), T=sp.Integer(1), **cost))


@checks("D12.20", kind=NUMERIC, scope="K = 2, 3, 10, every label, β = 0.001 to 1, T = 1 and 20", near=("294 of 339",))
def their_logits():
    for K in (2, 3, 10):
        for y in range(1, K + 1):
            for beta, T in ((mpf(1) / 1000, mpf(1)), (mpf(1) / 10, mpf(20)), (mpf(1), mpf(1))):
                e = one_case([mpf(0)] * K, [mpf(0)] * K, T, y=y, beta=beta)
                yield e.but(v=T * e.apply("log", (1 - beta) * label(e) + beta / K))


@checks("D12.21", "D12.22", kind=SYMBOLIC, scope=LABELLED)
def what_the_teacher_adds():
    yield from labelled(any_probabilities(), **HATS)
