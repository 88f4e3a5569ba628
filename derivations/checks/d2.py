"""D2: the cost of soft targets and its gradient."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, TEMPERATURES, checks, close, pairs
from derivations.checks import softmax as softmax_numbers
from derivations.checks.symbolic import CLASSES, SCOPE, T, cross_entropy, delta, dot, is_zero, softmax, symbols

CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.1 to 1000"


def log_sum(z):
    return sp.log(sum(sp.exp(z_j / T) for z_j in z))


@checks("D2.1", "D2.2", kind=SYMBOLIC, scope=SCOPE)
def the_definition_is_the_form_in_logits():
    for K in CLASSES:
        z, v = symbols(K)
        p = softmax(v)
        is_zero(cross_entropy(p, softmax(z)) - (-dot(p, z) / T + log_sum(z)))


@checks("D2.3", kind=SYMBOLIC, scope=SCOPE)
def the_slope_of_the_log_sum():
    for K in CLASSES:
        (z,) = symbols(K, "z")
        for z_k, q_k in zip(z, softmax(z), strict=True):
            is_zero(sp.diff(log_sum(z), z_k) - q_k / T)


@checks("D2.4", kind=SYMBOLIC, scope=SCOPE)
def the_gradient():
    for K in CLASSES:
        z, v = symbols(K)
        q, p = softmax(z), softmax(v)
        C = cross_entropy(p, q)
        for k in range(K):
            is_zero(sp.diff(C, z[k]) - (q[k] - p[k]) / T)


@checks("D2.5", kind=SYMBOLIC, scope="B = 3, K = 2")
def the_gradient_of_a_batch():
    B, K = 3, 2
    z, v = symbols(B * K)
    cases = [(z[i : i + K], v[i : i + K]) for i in range(0, B * K, K)]
    C = sum(cross_entropy(softmax(v_b), softmax(z_b)) for z_b, v_b in cases) / B
    for z_b, v_b in cases:
        for k in range(K):
            is_zero(sp.diff(C, z_b[k]) - (softmax(z_b)[k] - softmax(v_b)[k]) / T / B)


@checks("D2.6", kind=SYMBOLIC, scope="K = 2, 3, 4, every label")
def hard_targets():
    for K in CLASSES:
        (z,) = symbols(K, "z")
        q = softmax(z, 1)
        for y in range(K):
            one_hot = [delta(i, y) for i in range(K)]
            is_zero(cross_entropy(one_hot, q) + sp.log(q[y]))
            for k in range(K):
                is_zero(sp.diff(-sp.log(q[y]), z[k]) - (q[k] - delta(k, y)))


@checks("D2.7", kind=SYMBOLIC, scope=SCOPE)
def entropy_and_divergence():
    for K in CLASSES:
        p, q = (sp.symbols(f"{letter}1:{K + 1}", positive=True) for letter in "pq")
        divergence = sum(p_i * sp.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True))
        is_zero(cross_entropy(p, q) - cross_entropy(p, p) - divergence)


@checks("D2.8", kind=SYMBOLIC, scope=SCOPE)
def the_gradient_of_the_divergence():
    for K in CLASSES:
        z, v = symbols(K)
        q, p = softmax(z), softmax(v)
        divergence = sum(p_i * sp.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True))
        for k in range(K):
            is_zero(sp.diff(divergence, z[k]) - (q[k] - p[k]) / T)


@checks("D2.9", kind=NUMERIC, scope=CASES)
def the_divergence_is_not_negative():
    for z, v in pairs():
        for t in TEMPERATURES:
            q, p = softmax_numbers(z, t), softmax_numbers(v, t)
            divergence = mp.fsum(p_i * mp.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True))
            differs = max(abs(p_i - q_i) for p_i, q_i in zip(p, q, strict=True))
            assert divergence > 0 if differs > mpf(10) ** -20 else abs(divergence) < mpf(10) ** -18, (
                f"KL = {divergence}"
            )
            assert 2 * divergence >= differs**2 - mpf(10) ** -50, "less than Pinsker's inequality allows"


@checks("D2.10", kind=SYMBOLIC, scope=SCOPE)
def the_second_derivative_is_a_variance():
    for K in CLASSES:
        z, v, u = symbols(K, "zvu")
        q = softmax(z)
        C = -dot(softmax(v), z) / T + log_sum(z)
        second = sum(u[k] * u[m] * sp.diff(C, z[k], z[m]) for k in range(K) for m in range(K))
        is_zero(second - (dot(q, [u_k**2 for u_k in u]) - dot(q, u) ** 2) / T**2)


@checks("D2.11", kind=NUMERIC, scope="random pairs of logits, K = 2 to 10, T = 2 and 20, to 20 digits")
def the_step_leads_to_the_teacher():
    for z, v in list(pairs(count=12))[:12]:
        d = [z_k - v_k for z_k, v_k in zip(z, v, strict=True)]
        for t in (mpf(2), mpf(20)):
            if max(d) - min(d) > 20 * t:  # the variance is a needle there, which the quadrature would miss
                continue

            def variance(s, v=v, d=d, t=t):
                q = softmax_numbers([v_k + s * d_k for v_k, d_k in zip(v, d, strict=True)], t)
                centre = mp.fsum(q_k * d_k for q_k, d_k in zip(q, d, strict=True))
                return mp.fsum(q_k * (d_k - centre) ** 2 for q_k, d_k in zip(q, d, strict=True))

            q, p = softmax_numbers(z, t), softmax_numbers(v, t)
            slope = mp.fsum((q_k - p_k) / t * d_k for q_k, p_k, d_k in zip(q, p, d, strict=True))
            with mp.workdps(25):
                added_up = mp.quad(variance, [0, mpf(1) / 4, mpf(1) / 2, mpf(3) / 4, 1]) / t**2
            close(slope, added_up, tolerance=mpf(10) ** -20)
            assert slope > 0, f"the slope towards the teacher is {slope}"
