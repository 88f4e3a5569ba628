"""D4: what is left of a class far below the top at low temperature."""

import sympy as sp
from mpmath import mp, mpf

from derivations.checks import NUMERIC, checks, pairs
from derivations.checks.cases import FEW, array, numeric_cases, one_case
from derivations.checks.symbolic import T, is_zero

COLD = [mpf(1) / 100, *FEW]
CASES = "random, tied, one-hot and far-spread logits, K = 2 to 10, T = 0.01 to 1000"


SEEN = "; no class more than 60 T below the top, where differences no longer see its gradient"


def cases(**more):
    """With the distances of each class below the top."""
    below = {"a": lambda e: max(e.z) - e.z, "b": lambda e: max(e.v) - e.v}
    return numeric_cases(COLD, **below, **more)


def seen_cases(**more):
    for e in cases(**more):
        if max(max(e.a), max(e.b)) <= 60 * e.T:
            yield e


@checks("D4.1", kind=NUMERIC, scope=CASES + SEEN, near=("1.0",))
def at_most_the_larger_probability():
    yield from seen_cases()


@checks(
    "D4.2",
    kind=NUMERIC,
    scope=f"{CASES}; all but reached below the top, by ties and by a lone winner",
    near=("0.9472", "1.0", "0.9472", "1.0"),
)
def the_distance_fixes_the_probability():
    """The top and what is near it apart: their bounds would hide how near the others come."""
    for e in cases():
        for probabilities in (e.q, e.p):
            assert mpf(1) / e.K <= max(probabilities) * (1 + mpf(10) ** -50)
            assert max(probabilities) <= 1
        yield e.over(i=[i + 1 for i in range(e.K) if min(e.a[i], e.b[i]) >= e.T / 2])


@checks("D4.3", kind=NUMERIC, scope=f"{CASES}{SEEN}; the upper bound is reached", near=("1.0", "1.0"))
def the_gradient_is_between_two_exponentials():
    yield from seen_cases()


@checks("D4.4", kind=NUMERIC, scope=f"{CASES}, every two classes{SEEN}", near=("0.4", "315 of 705"))
def a_far_class_is_lost_beside_a_near_one():
    yield from seen_cases(g=lambda e: array(map(min, e.a, e.b)))


@checks("D4.5", kind=NUMERIC, scope=f"{CASES}{SEEN}; from next to the teacher to far away", near=("0.9993",))
def near_the_teacher_the_weight_is_the_probability():
    for z, v in pairs(count=8):
        for t in COLD:
            for near in (mpf(10) ** -6, mpf(10) ** -3, mpf(1) / 10, mpf(1)):
                z_near = [v_i + near * (z_i - v_i) for z_i, v_i in zip(z, v, strict=True)]
                if max(max(z_near) - min(z_near), max(v) - min(v)) <= 60 * t:
                    yield one_case(z_near, v, t, R_d=lambda e: max(e.z - e.v) - min(e.z - e.v))


@checks("D4.6", kind=NUMERIC, scope="random logits, every share; the ratio of the weights with SymPy")
def the_temperature_for_a_share():
    for v in ([mpf(0), mpf(-3), mpf(-7)], [mpf(2), mpf(-1), mpf(1) / 2, mpf(1)]):
        for t in (mpf(1), mpf(5) / 2, mpf(20)):
            b = [max(v) - v_i for v_i in v]
            for b_i in b[1:]:
                yield one_case(v, v, t, s=mp.exp(-b_i / t), b=array(b), p_max=lambda e: max(e.p)).over(
                    i=[i + 1 for i, distance in enumerate(b) if distance > 0]
                )
    b, s = sp.symbols("b s", positive=True)
    is_zero(sp.exp(-b / T).subs(T, b / sp.log(1 / s)) - s)
    for share, expected in (("0.1", "8.7"), ("0.01", "4.3"), ("0.5", "29.0")):
        found = mp.nstr(20 / mp.log(1 / mpf(share)), 2)
        assert found == expected, f"20 nats down, the share {share} takes T = {found}"
