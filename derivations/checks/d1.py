"""D1: the softened softmax, its slopes, and its ends."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, TEMPERATURES, checks, close, logits, mean
from derivations.checks import softmax as softmax_numbers
from derivations.checks.symbolic import CLASSES, SCOPE, T, delta, dot, is_zero, softmax, symbols

CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.1 to 1000"


def cases():
    """(z, T, q), q written as in D1.1."""
    for z in logits():
        for t in TEMPERATURES:
            yield z, t, softmax_numbers(z, t)


@checks("D1.1", kind=NUMERIC, scope=CASES)
def positive_with_sum_one_and_the_ordinary_softmax_at_1():
    for z, t, q in cases():
        assert min(q) > 0
        close(mp.fsum(q), mpf(1))
        softened = softmax_numbers([z_i / t for z_i in z])
        for i, q_i in enumerate(q):
            close(q_i, mp.exp(z[i] / t) / mp.fsum(mp.exp(z_j / t) for z_j in z))
            close(q_i, softened[i])


@checks("D1.2", kind=SYMBOLIC, scope=SCOPE)
def shift_invariance():
    c = sp.Symbol("c", real=True)
    for K in CLASSES:
        (z,) = symbols(K, "z")
        for before, after in zip(softmax(z), softmax([z_i + c for z_i in z]), strict=True):
            is_zero(after - before)


@checks("D1.3", kind=SYMBOLIC, scope=SCOPE)
def ratios_know_only_differences():
    for K in CLASSES:
        (z,) = symbols(K, "z")
        q = softmax(z)
        for i in range(K):
            for j in range(K):
                is_zero(q[i] / q[j] - sp.exp((z[i] - z[j]) / T))
                is_zero(T * sp.log(q[i] / q[j]) - (z[i] - z[j]))


@checks("D1.4", kind=NUMERIC, scope=CASES)
def the_stable_logarithm():
    for z, t, q in cases():
        u = [(z_i - max(z)) / t for z_i in z]
        assert max(u) == 0
        total = mp.fsum(mp.exp(u_i) for u_i in u)
        assert 1 <= total <= len(z), f"the sum is {total}"
        for u_i, q_i in zip(u, q, strict=True):
            close(u_i - mp.log(total), mp.log(q_i), scale=mpf(1))


@checks("D1.5", "D1.6", kind=SYMBOLIC, scope=SCOPE)
def the_jacobians():
    for K in CLASSES:
        (z,) = symbols(K, "z")
        q = softmax(z)
        for i in range(K):
            for j in range(K):
                is_zero(sp.diff(q[i], z[j]) - q[i] * (delta(i, j) - q[j]) / T)
                is_zero(sp.diff(sp.log(q[i]), z[j]) - (delta(i, j) - q[j]) / T)


@checks("D1.7", "D1.8", kind=SYMBOLIC, scope=SCOPE)
def the_backward_passes():
    """Of a cost Σ w_k q_k, and of Σ w_k log q_k: the upstream gradient is w, any numbers."""
    for K in CLASSES:
        z, w = symbols(K, "zw")
        q = softmax(z)
        for i in range(K):
            is_zero(sp.diff(dot(w, q), z[i]) - q[i] * (w[i] - dot(q, w)) / T)
            is_zero(sp.diff(dot(w, [sp.log(q_k) for q_k in q]), z[i]) - (w[i] - q[i] * sum(w)) / T)


@checks("D1.9", kind=SYMBOLIC, scope=f"{SCOPE}; a linear, a logarithmic and a quadratic cost")
def gradients_sum_to_zero():
    for K in CLASSES:
        z, w = symbols(K, "zw")
        q = softmax(z)
        for C in (dot(w, q), dot(w, [sp.log(q_k) for q_k in q]), dot(w, [q_k**2 for q_k in q])):
            is_zero(sum(sp.diff(C, z_i) for z_i in z))


@checks("D1.10", kind=SYMBOLIC, scope=SCOPE)
def the_slope_in_T():
    for K in CLASSES:
        (z,) = symbols(K, "z")
        q = softmax(z)
        for z_i, q_i in zip(z, q, strict=True):
            through_the_logits = sum(sp.diff(q_i, z_j) * (-z_j / T) for z_j in z)
            is_zero(sp.diff(q_i, T) - through_the_logits)
            is_zero(sp.diff(q_i, T) + q_i * (z_i - dot(q, z)) / T**2)


@checks("D1.11", kind=NUMERIC, scope=f"{CASES}, by differences to 15 digits")
def the_entropy_grows_by_the_variance():
    h = mpf(10) ** -20

    def entropy(z, t):
        return -mp.fsum(q_i * mp.log(q_i) for q_i in softmax_numbers(z, t))

    for z, t, q in cases():
        centre = mp.fsum(q_i * z_i for q_i, z_i in zip(q, z, strict=True))
        slope = mp.fsum(q_i * (z_i - centre) ** 2 for q_i, z_i in zip(q, z, strict=True)) / t**3
        differences = (entropy(z, t + h) - entropy(z, t - h)) / (2 * h)
        # Differences of numbers near 1 in 60 digits, over 1e-20: what is far below 1e-35 they cannot see
        close(differences, slope, tolerance=mpf(10) ** -15, scale=mpf(10) ** -18)
        assert slope > 0 or max(z) == min(z), f"the entropy's slope is {slope}"


@checks("D1.12", kind=NUMERIC, scope=f"{CASES}; and both are reached in the limit, at T = 10⁶ to 6 digits")
def the_end_of_high_temperatures():
    for z, t, q in cases():
        R, uniform = max(z) - min(z), mpf(1) / len(z)
        for q_i in q:
            rounding = mpf(10) ** -55
            assert abs(q_i - uniform) <= R / (4 * t) + rounding, f"{q_i} is too far from 1/K"
            assert mp.exp(-R / t) - rounding <= len(z) * q_i <= mp.exp(R / t) * (1 + rounding), f"K q = {len(z) * q_i}"
    hot = mpf(10) ** 6
    two = softmax_numbers([mpf(1), mpf(0)], hot)[0]
    close((two - mpf(1) / 2) * 4 * hot, mpf(1), tolerance=mpf(10) ** -6)
    others = mpf(10) ** 6  # of so many equal ones, the mean probability is as good as theirs
    winner = mp.exp(1 / hot) / (mp.exp(1 / hot) + others)
    close(mp.log((others + 1) * winner) * hot, mpf(1), tolerance=mpf(10) ** -5)


@checks("D1.13", kind=NUMERIC, scope=f"{CASES}, and T down to 0.001; reached to 12 digits where all others tie")
def the_end_of_low_temperatures():
    cold = [mpf(1) / 1000, mpf(1) / 100]
    for z in logits():
        tied = sum(z_i == max(z) for z_i in z)
        below = [z_i for z_i in z if z_i < max(z)]
        for t in cold + TEMPERATURES:
            q = softmax_numbers(z, t)
            winners = [q_i for q_i, z_i in zip(q, z, strict=True) if z_i == max(z)]
            assert len(winners) == tied
            close(mean(winners), max(q))
            left = mp.fsum(q_i for q_i, z_i in zip(q, z, strict=True) if z_i < max(z))
            close(left, 1 - tied * max(q), tolerance=mpf(10) ** -50, scale=mpf(1))
            bound = mpf(len(below)) / tied * mp.exp(-(max(z) - max(below)) / t) if below else mpf(0)
            assert 0 <= left <= bound * (1 + mpf(10) ** -50), f"{left} is left, more than {bound}"
    two_winners = softmax_numbers([mpf(3), mpf(3), mpf(0), mpf(0), mpf(0)], mpf(1) / 10)
    close(mp.fsum(two_winners[2:]), mpf(3) / 2 * mp.exp(-30), tolerance=mpf(10) ** -12)
