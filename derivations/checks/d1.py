"""D1: the softened softmax, its slopes, and its ends."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, logits, mean
from derivations.checks import softmax as softmax_numbers
from derivations.checks.cases import FEW, array, one_case, softmax, symbolic_cases
from derivations.checks.symbolic import CLASSES, SCOPE, T, is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols
from derivations.meaning import Function

CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.1 to 1000"


def cases(temperatures=FEW):
    """(z, T, q), q written as in D1.1."""
    for z in logits(count=8):
        for t in temperatures:
            yield z, t, softmax_numbers(z, t)


@checks("D1.1", kind=NUMERIC, scope=CASES)
def positive_with_sum_one_and_the_ordinary_softmax_at_1():
    for z, t, q in cases():
        assert min(q) > 0
        close(mp.fsum(q), mpf(1))
        for a, b in zip(q, softmax_numbers([z_i / t for z_i in z]), strict=True):
            close(a, b)
        yield one_case(z, z, t, q=array(q))


@checks("D1.2", kind=SYMBOLIC, scope=SCOPE)
def shift_invariance():
    yield from symbolic_cases(c=sp.Symbol("c", real=True))


@checks("D1.3", kind=SYMBOLIC, scope=SCOPE)
def ratios_know_only_differences():
    yield from symbolic_cases()
    for K in CLASSES:
        (z,) = symbols(K, "z")
        q = softmax_symbols(z)
        for i in range(K):
            for j in range(K):
                is_zero(T * sp.log(q[i] / q[j]) - (z[i] - z[j]))


@checks("D1.4", kind=NUMERIC, scope=f"{CASES}; both bounds are reached", near=("1.0", "1.0"))
def the_stable_logarithm():
    for z, t, q in cases():
        assert max((z_i - max(z)) / t for z_i in z) == 0
        yield one_case(z, z, t, q=array(q))


@checks("D1.5", "D1.6", kind=SYMBOLIC, scope=SCOPE)
def the_jacobians():
    yield from symbolic_cases(S=lambda e: e.apply("exp", e.z / e.T).sum())


def with_upstream(cost):
    """Cases with a cost made of q and of upstream gradients w, any numbers."""
    for K in CLASSES:
        w = array(sp.symbols(f"w1:{K + 1}", real=True))
        yield from symbolic_cases([K], C=lambda e, w=w: cost(w, e.q, e))


@checks("D1.7", kind=SYMBOLIC, scope=SCOPE)
def the_backward_pass():
    yield from with_upstream(lambda w, q, e: (w * q).sum())


@checks("D1.8", kind=SYMBOLIC, scope=SCOPE)
def the_backward_pass_of_the_logarithm():
    yield from with_upstream(lambda w, q, e: (w * e.apply("log", q)).sum())


@checks("D1.9", kind=SYMBOLIC, scope=f"{SCOPE}; three costs that are made of q, and one that is not", near=("9 of 12",))
def gradients_sum_to_zero():
    of_q = {"if C is made of q only": lambda e: e.of_q}
    for K in CLASSES:
        w = array(sp.symbols(f"w1:{K + 1}", real=True))
        for made_of in (lambda q, e: q, lambda q, e: e.apply("log", q), lambda q, e: q**2):
            cost = Function(lambda e, z, w=w, f=made_of: (w * f(softmax(e, z / e.T), e)).sum())
            yield from symbolic_cases([K], C=cost, of_q=True, words=of_q)
        cost = Function(lambda e, z, w=w: (w * z**2).sum())
        yield from symbolic_cases([K], C=cost, of_q=False, words=of_q)


@checks("D1.10", kind=SYMBOLIC, scope=SCOPE)
def the_slope_in_T():
    yield from symbolic_cases()


@checks("D1.11", kind=NUMERIC, scope=f"{CASES}, the slope by differences")
def the_entropy_grows_by_the_variance():
    for z, t, q in cases():
        yield one_case(
            z, z, t, H=lambda e: -(e.q * e.apply("log", e.q)).sum(), **{"bar z": lambda e: (e.q * e.z).sum()}
        )
        centre = mp.fsum(q_i * z_i for q_i, z_i in zip(q, z, strict=True))
        assert max(z) == min(z) or mp.fsum(q_i * (z_i - centre) ** 2 for q_i, z_i in zip(q, z, strict=True)) > 0


@checks(
    "D1.12",
    kind=NUMERIC,
    scope=f"{CASES}; all are reached in the limit, the second pair with 10⁶ classes, to 6 digits",
    near=("1.0", "1.0", "1.0"),
)
def the_end_of_high_temperatures():
    hot = mpf(10) ** 6
    for z, t, _ in [*cases(), ([mpf(1), mpf(0)], hot, None)]:
        yield one_case(z, z, t, R=max(z) - min(z))
    others = mpf(10) ** 6  # of so many equal ones, the mean probability is as good as theirs
    winner = mp.exp(1 / hot) / (mp.exp(1 / hot) + others)
    close(mp.log((others + 1) * winner) * hot, mpf(1), tolerance=mpf(10) ** -5)


@checks(
    "D1.13",
    kind=NUMERIC,
    scope=f"{CASES}, and T down to 0.001; reached to 12 digits where all others tie",
    near=("1.0",),
)
def the_end_of_low_temperatures():
    two_winners = [mpf(3), mpf(3), mpf(0), mpf(0), mpf(0)]
    inputs = [*cases([mpf(1) / 1000, mpf(1) / 100, *FEW]), (two_winners, mpf(1) / 10, None)]
    for z, t, _ in inputs:
        q = softmax_numbers(z, t)
        tied = sum(z_i == max(z) for z_i in z)
        winners = [q_i for q_i, z_i in zip(q, z, strict=True) if z_i == max(z)]
        close(mean(winners), max(q))
        below = [z_i for z_i in z if z_i < max(z)]
        yield one_case(z, z, t, m=tied, q_max=lambda e: max(e.q), gap=max(z) - max(below) if below else mpf(1))
