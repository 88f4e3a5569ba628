"""D5: T² and the balance of soft and hard targets."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, SYMBOLIC, checks, close, softmax, zero_mean
from derivations.checks.cases import array, numeric_cases, one_case, symbolic_cases
from derivations.checks.cases import softmax as softmax_of
from derivations.checks.symbolic import CLASSES, T, is_zero
from derivations.evidence import DEFINED
from derivations.meaning import Function

ALL_T = [mpf(1) / 1000, mpf(1) / 10, mpf(1), mpf(5) / 2, mpf(20), mpf(10) ** 6]
CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.001 to 10⁶"


def norm(x):
    return mp.sqrt(mp.fsum(x_i**2 for x_i in x))


def hard_cost(e):
    at_one = e.apply("exp", e.z)
    return e.apply("log", at_one.sum()) - e.z[e.y - 1]


MIXED = {
    "C": lambda e: (
        e.alpha * e.T**2 * (e.p * (e.apply("log", e.apply("exp", e.z / e.T).sum()) - e.z / e.T)).sum()
        + (1 - e.alpha) * hard_cost(e)
    ),
    "q^(1)": lambda e: softmax_of(e, e.z),
}


@checks("D5.1", "D5.2", kind=SYMBOLIC, scope="K = 2, 3, every label")
def one_T_is_left_in_the_gradient():
    for K in CLASSES[:2]:
        for y in range(1, K + 1):
            yield from symbolic_cases([K], y=y, alpha=sp.Symbol("alpha", positive=True), **MIXED)


@checks("D5.3", kind=NUMERIC, scope=f"{CASES}; reached to 1 % at T = 10⁶", near=("0.9977",))
def the_limit_of_high_temperatures():
    yield from numeric_cases(ALL_T, centred=True)
    for spread in (mpf(2), mpf(1) / 2):  # neither is its own square or cube
        yield one_case(zero_mean([spread, *[mpf(0)] * 4]), [mpf(0)] * 5, mpf(10) ** 6)


@checks(
    "D5.4", kind=NUMERIC, scope="K = 2, in 60 digits; with SymPy, but the sign of h' at 400 places", near=("66 of 78",)
)
def two_classes_only_rise():
    sigma = Function(lambda e, x: 1 / (1 + e.apply("exp", -x)))
    for e in numeric_cases(ALL_T, classes=(2,), h=DEFINED, sigma=sigma):
        yield e.but(a=e.z[0] - e.z[1], b=e.v[0] - e.v[1])
    x, a, b = sp.symbols("x a b", real=True)

    def sigma_of(x):
        return 1 / (1 + sp.exp(-x))

    h = sigma_of(x) - x * sp.diff(sigma_of(x), x)
    is_zero(sp.diff(T * (sigma_of(a / T) - sigma_of(b / T)), T) - (h.subs(x, a / T) - h.subs(x, b / T)))
    is_zero((sp.diff(h, x) - x * sp.diff(sigma_of(x), x) * sp.tanh(x / 2)).rewrite(sp.exp))
    slope = sp.lambdify(x, sp.diff(h, x), "mpmath")
    assert all(slope(mpf(i) / 10) >= 0 for i in range(-200, 201))


@checks("D5.5", kind=SYMBOLIC, scope="K = 2, 3; the bound in 60 digits, T = 0.001, 1 and 20", near=("1.0",))
def the_curvature():
    for K in CLASSES[:2]:
        u, alpha = array(sp.symbols(f"u1:{K + 1}", real=True)), sp.Symbol("alpha", positive=True)
        yield from symbolic_cases([K], y=1, alpha=alpha, u=u, **MIXED)
    for e in numeric_cases(ALL_T[::2], count=4, classes=(2, 3), y=1, alpha=mpf(7) / 10, **MIXED):
        yield e.but(u=array(zero_mean(list(e.v))))
    two = [mpf(0), mpf(0)]
    yield one_case(two, two, mpf(1), y=1, alpha=mpf(7) / 10, u=array([mpf(1), mpf(-1)]), **MIXED)
    soft, hard = (mp.fprod(softmax([mpf(10), mpf(0)], t)) for t in (mpf(10), mpf(1)))  # for u = (1, 0)
    assert (mp.nstr(soft, 3), mp.nstr(hard, 2)) == ("0.197", "4.5e-5"), f"the example has {soft} and {hard}"


@checks("D5.6", kind=NUMERIC, scope=f"{CASES}; both are reached to 0.1 %", near=("1.0", "1.0"))
def the_size():
    yield from numeric_cases(ALL_T, centred=True)
    # and ‖z − v‖/K, what the limit has, is no bound: the example of the text
    overshoot = norm([mpf("1.6") * (q_i - mpf(1) / 100) for q_i in softmax([mpf(10)] + [mpf(0)] * 99, mpf("1.6"))])
    close(overshoot, mpf("1.334"), tolerance=mpf(1) / 1000)
    assert overshoot > 13 * norm(zero_mean([mpf(10)] + [mpf(0)] * 99)) / 100


@checks("D5.7", kind=NUMERIC, scope=CASES, near=("1.0",))
def it_fades_linearly():
    differ = 0
    for e in numeric_cases(ALL_T, count=20, centred=True):
        (g_z, i_z), (g_v, i_v) = margin(list(e.z)), margin(list(e.v))
        yield e.but(g_z=g_z, i_z=i_z, g_v=g_v, i_v=i_v)
        differ += i_z != i_v and (e.K - 1) * (mp.exp(-g_z / e.T) + mp.exp(-g_v / e.T)) < mpf(1) / 2
    assert differ > 10


def margin(z):
    """How far the winner is ahead, and which it is; with ties 0 ahead, and the bound says nothing."""
    first, second = sorted(z, reverse=True)[:2]
    return first - second, z.index(first) + 1


@checks("D5.8", kind=SYMBOLIC, scope="any two costs")
def leaving_T_squared_out():
    alpha, soft, hard = sp.symbols("alpha C_soft C_hard", positive=True)
    yield from symbolic_cases([2], alpha=alpha, C_soft=soft, C_hard=hard)
    other, c = alpha / (alpha + (1 - alpha) * T**2), alpha / T**2 + 1 - alpha
    assert abs(other.subs({alpha: 0.9, T: 20}) - 0.022) < 0.0005
    is_zero(c.subs(alpha, 1) - 1 / T**2)
