"""D2: the cost of soft targets and its gradient."""

import sympy as sp
from mpmath import mpf

from derivations.checks import NUMERIC, SYMBOLIC, TEMPERATURES, checks, pairs
from derivations.checks import softmax as softmax_numbers
from derivations.checks.cases import array, numeric_cases, one_case, softmax, symbolic_cases
from derivations.checks.symbolic import CLASSES, SCOPE, T
from derivations.evidence import DEFINED
from derivations.meaning import Meaning

CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.1 to 1000"


def divergence(e):
    return (e.p * e.apply("log", e.p / e.q)).sum()


@checks("D2.1", "D2.2", "D2.3", "D2.4", kind=SYMBOLIC, scope=SCOPE)
def the_cost_and_its_gradient():
    yield from symbolic_cases()


@checks("D2.5", kind=SYMBOLIC, scope="B = 3, K = 2")
def the_gradient_of_a_batch():
    B, K = 3, 2
    z, v = (array(sp.symbols(f"{letter}:{B * K}", real=True)).reshape(B, K) for letter in "zv")

    def cost(e):
        log_sums = e.apply("log", e.apply("exp", e.z / e.T).sum(axis=1))
        return (log_sums - (e.p * e.z).sum(axis=1) / e.T).sum() / B

    q, p = (lambda e: softmax(e, e.z / e.T)), softmax(one_case(z[0], v[0], T, symbolic=True), v / T)
    symbols = {"z": z, "T": T, "B": B, "K": K, "q": q, "p": p, "C": cost}
    yield Meaning(symbols, {"b": range(1, B + 1), "i": range(1, K + 1)}, symbolic=True)


@checks("D2.6", kind=SYMBOLIC, scope="K = 2, 3, 4, every label")
def hard_targets():
    for e in symbolic_cases():
        one_hot = e.delta
        cost = lambda e, one_hot=one_hot: -(one_hot[e.y - 1] * e.apply("log", e.q)).sum()  # noqa: E731
        at_one = e.but(T=sp.Integer(1), C=cost)
        for y in range(1, e.K + 1):
            yield at_one.but(y=y)


@checks("D2.7", kind=SYMBOLIC, scope=SCOPE)
def entropy_and_divergence():
    for K in CLASSES:
        p, q = (array(sp.symbols(f"{letter}1:{K + 1}", positive=True)) for letter in "pq")
        yield from symbolic_cases([K], p=p, q=q, C=lambda e: -(e.p * e.apply("log", e.q)).sum())


@checks("D2.8", kind=SYMBOLIC, scope=SCOPE)
def the_gradient_of_the_divergence():
    yield from symbolic_cases()


@checks("D2.9", kind=NUMERIC, scope=f"{CASES}; zero only where q = p, by Pinsker's inequality, which is reached")
def the_divergence_is_not_negative():
    yield from numeric_cases()
    nearest = mpf(0)
    for e in numeric_cases(TEMPERATURES):
        differs = max(abs(difference) for difference in e.p - e.q)
        least = 2 * differs**2
        assert divergence(e) >= least - mpf(10) ** -50, "less than Pinsker's inequality allows"
        nearest = max(nearest, least / divergence(e) if differs > mpf(10) ** -20 else mpf(0))
    assert nearest > mpf("0.999"), f"Pinsker's inequality is reached to {nearest} only"


@checks("D2.10", kind=SYMBOLIC, scope=f"{SCOPE}; the sign in 60 digits")
def the_second_derivative_is_a_variance():
    for K in CLASSES:
        yield from symbolic_cases([K], u=array(sp.symbols(f"u1:{K + 1}", real=True)))
    for z, v in pairs(count=12, classes=(2, 3)):
        yield one_case(z, v, mpf(2), u=array(v))


@checks("D2.11", kind=NUMERIC, scope="random pairs of logits, K = 2 to 10, T = 2 and 20, to 25 digits")
def the_step_leads_to_the_teacher():
    for z, v in list(pairs(count=12))[:12]:
        d = [z_k - v_k for z_k, v_k in zip(z, v, strict=True)]
        for t in (mpf(2), mpf(20)):
            if max(d) - min(d) > 20 * t:  # the variance is a needle there, which the quadrature would miss
                continue
            yield one_case(z, v, t, q=DEFINED)
            q, p = softmax_numbers(z, t), softmax_numbers(v, t)
            slope = sum((q_k - p_k) / t * d_k for q_k, p_k, d_k in zip(q, p, d, strict=True))
            assert slope > 0, f"the slope towards the teacher is {slope}"
