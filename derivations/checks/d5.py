"""D5: T² and the balance of soft and hard targets."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import (
    DIGITS,
    NUMERIC,
    SYMBOLIC,
    TEMPERATURES,
    checks,
    close,
    pairs,
    softmax,
    zero_mean,
)
from derivations.checks.symbolic import CLASSES, T, cross_entropy, delta, is_zero, symbols
from derivations.checks.symbolic import softmax as softmax_symbols

ALL_T = [mpf(1) / 1000, mpf(1) / 100, *TEMPERATURES, mpf(10) ** 6]
CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.001 to 10⁶"
ROUNDING = mpf(10) ** (15 - DIGITS)

alpha = sp.Symbol("alpha", positive=True)


def cases():
    """(z, v, T, T (q − p)), z and v of zero mean."""
    for z, v in pairs():
        z, v = zero_mean(z), zero_mean(v)
        for t in ALL_T:
            yield z, v, t, [t * (q_i - p_i) for q_i, p_i in zip(softmax(z, t), softmax(v, t), strict=True)]


def norm(x):
    return mp.sqrt(mp.fsum(x_i**2 for x_i in x))


def spread(x):
    return max(x) - min(x)


def cost(z, v, y):
    """D5.1."""
    soft, hard = cross_entropy(softmax_symbols(v), softmax_symbols(z)), -sp.log(softmax_symbols(z, 1)[y])
    return alpha * T**2 * soft + (1 - alpha) * hard


@checks("D5.1", "D5.2", kind=SYMBOLIC, scope="K = 2, 3, every label")
def one_T_is_left_in_the_gradient():
    for K in CLASSES[:2]:
        z, v = symbols(K)
        q, p, q_1 = softmax_symbols(z), softmax_symbols(v), softmax_symbols(z, 1)
        for y in range(K):
            C = cost(z, v, y)
            for i in range(K):
                is_zero(sp.diff(C, z[i]) - (alpha * T * (q[i] - p[i]) + (1 - alpha) * (q_1[i] - delta(i, y))))


@checks("D5.3", kind=NUMERIC, scope=f"{CASES}; reached to 1 % at T = 10⁶")
def the_limit_of_high_temperatures():
    def distance_and_bound(z, v, t, balanced):
        far = max(abs(g - (z_i - v_i) / len(z)) for g, z_i, v_i in zip(balanced, z, v, strict=True))
        return far, (spread(z) ** 2 + spread(v) ** 2) / (12 * mp.sqrt(3) * t)

    for z, v, t, balanced in cases():
        far, bound = distance_and_bound(z, v, t, balanced)
        assert far <= bound + ROUNDING * (t + norm(z) + norm(v)), f"{far} is more than {bound}"
    z, hot = zero_mean([mpf(1), *[mpf(0)] * 4]), mpf(10) ** 6
    far, bound = distance_and_bound(z, [mpf(0)] * 5, hot, [hot * (q_i - mpf(1) / 5) for q_i in softmax(z, hot)])
    assert far > mpf("0.99") * bound


@checks("D5.4", kind=SYMBOLIC, scope="K = 2; the sign of h' at 400 places")
def two_classes_only_rise():
    x, a, b = sp.symbols("x a b", real=True)

    def sigma(x):
        return 1 / (1 + sp.exp(-x))

    h = sigma(x) - x * sp.diff(sigma(x), x)
    is_zero(sp.diff(T * (sigma(a / T) - sigma(b / T)), T) - (h.subs(x, a / T) - h.subs(x, b / T)))
    is_zero((sp.diff(h, x) - x * sp.diff(sigma(x), x) * sp.tanh(x / 2)).rewrite(sp.exp))
    slope = sp.lambdify(x, sp.diff(h, x), "mpmath")
    assert all(slope(mpf(i) / 10) >= 0 for i in range(-200, 201))


@checks("D5.5", kind=SYMBOLIC, scope="K = 2, 3; the bound in 60 digits at every T")
def the_curvature():
    for K in CLASSES[:2]:
        z, v, u = symbols(K, "zvu")
        second = sum(u[k] * u[m] * sp.diff(cost(z, v, 0), z[k], z[m]) for k in range(K) for m in range(K))

        def variance(q, u=u):
            return (
                sum(q_k * u_k**2 for q_k, u_k in zip(q, u, strict=True))
                - sum(q_k * u_k for q_k, u_k in zip(q, u, strict=True)) ** 2
            )

        expected = alpha * variance(softmax_symbols(z)) + (1 - alpha) * variance(softmax_symbols(z, 1))
        is_zero(second - expected)
    largest = mpf(0)
    for z, u in pairs():
        for t in ALL_T:
            q, size = softmax(z, t), norm(zero_mean(u))
            centre = mp.fsum(q_k * u_k for q_k, u_k in zip(q, u, strict=True))
            curvature = mp.fsum(q_k * (u_k - centre) ** 2 for q_k, u_k in zip(q, u, strict=True))
            assert curvature <= size**2 / 2 + ROUNDING * (1 + size**2)
            largest = max(largest, curvature / size**2 if size else mpf(0))
    assert largest > mpf("0.499"), f"the bound is reached to {largest} of 0.5 only"


@checks("D5.6", kind=NUMERIC, scope=f"{CASES}; both are reached to 0.1 %")
def the_size():
    linear = half = mpf(0)
    for z, v, t, balanced in cases():
        size, far = norm(balanced), norm([z_i - v_i for z_i, v_i in zip(z, v, strict=True)])
        assert size <= min(mp.sqrt(2) * t, far / 2) + ROUNDING * (t + norm(z) + norm(v))
        linear = max(linear, size / (mp.sqrt(2) * t))
        half = max(half, size / (far / 2) if far else mpf(0))
    assert min(linear, half) > mpf("0.999"), f"reached are {linear} and {half} of the bounds"
    # and ‖z − v‖/K, what the limit has, is no bound: the example of the text
    overshoot = norm([mpf("1.6") * (q_i - mpf(1) / 100) for q_i in softmax([mpf(10)] + [mpf(0)] * 99, mpf("1.6"))])
    close(overshoot, mpf("1.334"), tolerance=mpf(1) / 1000)
    assert overshoot > 13 * norm(zero_mean([mpf(10)] + [mpf(0)] * 99)) / 100


@checks("D5.7", kind=NUMERIC, scope=CASES)
def it_fades_linearly():
    differ = 0
    for z, v, t, balanced in cases():
        (g_z, i_z), (g_v, i_v) = margin(z), margin(v)
        bound = (len(z) - 1) * t * (mp.exp(-g_z / t) + mp.exp(-g_v / t))
        for i, g in enumerate(balanced):
            assert abs(g - t * (delta(i, i_z) - delta(i, i_v))) <= bound + ROUNDING * t
        differ += i_z != i_v and bound < t / 2
    assert differ > 20


def margin(z):
    """How far the winner is ahead, and which it is; with ties 0 ahead, and the bound says nothing."""
    first, second = sorted(z, reverse=True)[:2]
    return first - second, z.index(first)


@checks("D5.8", kind=SYMBOLIC, scope="any two costs")
def leaving_T_squared_out():
    soft, hard = sp.symbols("C_soft C_hard", real=True)
    other, c = alpha / (alpha + (1 - alpha) * T**2), alpha / T**2 + 1 - alpha
    is_zero(alpha * soft + (1 - alpha) * hard - c * (other * T**2 * soft + (1 - other) * hard))
    assert abs(other.subs({alpha: 0.9, T: 20}) - 0.022) < 0.0005
    is_zero(c.subs(alpha, 1) - 1 / T**2)
