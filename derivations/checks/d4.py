"""D4: what is left of a class far below the top at low temperature."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import DIGITS, NUMERIC, SYMBOLIC, TEMPERATURES, checks, pairs, softmax
from derivations.checks.symbolic import T, is_zero

COLD = [mpf(1) / 100, *TEMPERATURES]
CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.01 to 1000"


def cases():
    for z, v in pairs():
        for t in COLD:
            yield z, v, t, softmax(z, t), softmax(v, t)


def distances(z):
    """How far each class lies below the top."""
    return [max(z) - z_i for z_i in z]


def at_most(number, bound):
    """number ≤ bound, but for the rounding of two positive numbers."""
    assert number <= bound * (1 + mpf(10) ** (10 - DIGITS)), f"{mp.nstr(number, 12)} is above {mp.nstr(bound, 12)}"


def gradients(t, q, p):
    return [(q_i - p_i) / t for q_i, p_i in zip(q, p, strict=True)]


@checks("D4.1", kind=NUMERIC, scope=CASES)
def at_most_the_larger_probability():
    for _, _, t, q, p in cases():
        for dz, q_i, p_i in zip(gradients(t, q, p), q, p, strict=True):
            at_most(abs(dz), max(q_i, p_i) / t)


@checks("D4.2", kind=NUMERIC, scope=f"{CASES}; both ends are reached, by ties and by a lone winner")
def the_distance_fixes_the_probability():
    reached = set()
    for z, _, t, q, _ in cases():
        for a, q_i in zip(distances(z), q, strict=True):
            low, high = mp.exp(-a / t) / len(z), mp.exp(-a / t)
            at_most(low, q_i)
            at_most(q_i, high)
            reached |= {end for end, bound in (("low", low), ("high", high)) if abs(q_i / bound - 1) < mpf(10) ** -40}
    assert reached == {"low", "high"}


@checks("D4.3", kind=NUMERIC, scope=f"{CASES}; the upper bound is reached to 12 digits")
def the_gradient_is_between_two_exponentials():
    largest = mpf(0)
    for z, v, t, q, p in cases():
        for dz, a, b in zip(gradients(t, q, p), distances(z), distances(v), strict=True):
            upper = mp.exp(-min(a, b) / t) / t
            lower = upper * (mpf(1) / len(z) - mp.exp(-abs(a - b) / t))
            at_most(lower, abs(dz))
            at_most(abs(dz), upper)
            largest = max(largest, abs(dz) / upper)
    assert largest > 1 - mpf(10) ** -12


@checks("D4.4", kind=NUMERIC, scope=f"{CASES}, every two classes")
def a_far_class_is_lost_beside_a_near_one():
    compared = 0
    for z, v, t, q, p in cases():
        K, a, b, dz = len(z), distances(z), distances(v), gradients(t, q, p)
        for k in range(K):
            if abs(a[k] - b[k]) < t * mp.log(2 * K):
                continue
            for i in range(K):
                ratio = mp.exp(-(min(a[i], b[i]) - min(a[k], b[k])) / t)
                at_most(abs(dz[i]), 2 * K * ratio * abs(dz[k]))
                compared += ratio < mpf(1) / (2 * K)
    assert compared > 100, f"only {compared} pairs of classes were far enough apart"


@checks("D4.5", kind=NUMERIC, scope=f"{CASES}, from next to the teacher to far away; reached to 10 %")
def near_the_teacher_the_weight_is_the_probability():
    largest = mpf(0)
    for z, v in pairs():
        for t in COLD:
            p = softmax(v, t)
            for near in (mpf(10) ** -6, mpf(10) ** -3, mpf(1) / 10, mpf(1)):
                d = [near * (z_i - v_i) for z_i, v_i in zip(z, v, strict=True)]
                q = softmax([v_i + d_i for v_i, d_i in zip(v, d, strict=True)], t)
                centre, r = mp.fsum(p_i * d_i for p_i, d_i in zip(p, d, strict=True)), (max(d) - min(d)) / t
                rounding = mpf(10) ** (20 - DIGITS) * (1 + r) / t  # d was made by differences of z and v
                for dz, p_i, d_i in zip(gradients(t, q, p), p, d, strict=True):
                    rest, bound = abs(dz - p_i * (d_i - centre) / t**2), p_i / (2 * t) * r**2 * mp.exp(r)
                    at_most(rest, bound + p_i * rounding)
                    if r > mpf(10) ** -12:
                        largest = max(largest, rest / bound)
    assert largest > mpf("0.9"), f"the bound is reached to {mp.nstr(largest, 3)} only"


@checks("D4.6", kind=SYMBOLIC, scope="any distance, any share")
def the_temperature_for_a_share():
    b, s = sp.symbols("b s", positive=True)
    is_zero(sp.exp(-b / T).subs(T, b / sp.log(1 / s)) - s)
    for distance, share, expected in ((20, 0.1, 8.7), (20, 0.01, 4.3), (20, 0.5, 29)):
        assert abs(distance / sp.log(1 / share) - expected) < 0.2
    v = sp.symbols("v1:4", real=True)
    e = [sp.exp(v_i / T) for v_i in v]
    is_zero((e[1] / sum(e)) / (e[0] / sum(e)) - sp.exp(-(v[0] - v[1]) / T))
