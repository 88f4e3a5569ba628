"""Bugs in the checks of the derivations, and in what compares a display with them.

A check says what each symbol means; `tests/test_displays.py` changes every sign and number of every display, and every
meaning. The bugs here are in what the checks assert beyond the displays, and in the comparison itself.
"""

from .planting import planted

HOLDS = "test_derivations.py::test_every_equation_holds[{}]"
COMPARES = " ".join(
    f"test_displays.py::{test}"
    for test in (
        "test_a_bound_is_as_near_as_the_check_says",
        "test_an_arrow_needs_a_case_on_either_side",
        "test_a_relation_that_no_input_reaches_is_refused",
        "test_equal_means_to_25_digits",
        "test_an_inequality_may_not_fail_by_more_than_rounding",
        "test_a_number_after_about_is_true_to_its_last_digit",
        "test_what_is_zero_at_one_place_is_not_proven",
        "test_a_derivative_is_taken_of_what_the_cost_means",
        "test_a_condition_must_be_met",
        "test_a_pinned_display_is_held_by_its_digest",
    )
)


def in_check(tag: str, bugs: str) -> list:
    """Bugs in the check of one equation."""
    return planted(f"check of {tag}", f"checks.{tag.partition('.')[0].lower()}", HOLDS.format(tag), bugs)


MUTANTS = [
    *in_check(
        "D2.9",
        """
Pinsker's inequality with 2.1 in place of 2
- 2 * differs ** 2
+ 2.1 * differs ** 2

Pinsker's inequality with 1 in place of 2: true, and not sharp
- 2 * differs ** 2
+ differs ** 2
""",
    ),
    *in_check(
        "D3.7",
        """
the cubic without its last factor
- s * (1 - s) * (1 - 2 * s)
+ s * (1 - s)

the maximum of the cubic with 6.1√3
- max(values) - 1 / (6 * sp.sqrt(3))
+ max(values) - 1 / (sp.Rational(61, 10) * sp.sqrt(3))

the place of the maximum with the other sign
- min(stationary) - (3 - sp.sqrt(3)) / 6
+ min(stationary) - (3 + sp.sqrt(3)) / 6
""",
    ),
    *in_check(
        "D3.8",
        """
a variance of the rest of at most m(R − m), its sign turned
- m * (R - m) - w
+ m * (R - m) + w

signs turned without moving the logits back
- [R - u_j for u_j in u]
+ [-u_j for u_j in u]

s(1 − s) at most 1/5
- s * (1 - s) + (s - sp.Rational(1, 2)) ** 2 - sp.Rational(1, 4)
+ s * (1 - s) + (s - sp.Rational(1, 2)) ** 2 - sp.Rational(1, 5)

m(R − m) at most R²/5
- m * (R - m) + (m - R / 2) ** 2 - R ** 2 / 4
+ m * (R - m) + (m - R / 2) ** 2 - R ** 2 / 5

the case s ≤ 1/2 with a bound that is too large
- sp.Rational(1, 4) * sp.Rational(1, 4) < largest
+ sp.Rational(1, 4) < largest

the bracket without its 2
- x * (1 - 2 * (1 - s) * x)
+ x * (1 - (1 - s) * x)

s/8 where s goes up to 0.8
- (s / 8).subs(s, sp.Rational(3, 4))
+ (s / 8).subs(s, sp.Rational(4, 5))

the constant of the bound with 5√3
- 0.99 / (6 * 3 ** 0.5) < largest <= 1 / (6 * 3 ** 0.5) * (1 + 1e-12)
+ 0.99 / (5 * 3 ** 0.5) < largest <= 1 / (5 * 3 ** 0.5) * (1 + 1e-12)

the constant of the bound with 6.1√3
- 0.99 / (6 * 3 ** 0.5) < largest <= 1 / (6 * 3 ** 0.5) * (1 + 1e-12)
+ 0.99 / (6.1 * 3 ** 0.5) < largest <= 1 / (6.1 * 3 ** 0.5) * (1 + 1e-12)
""",
    ),
    *in_check(
        "D3.9",
        """
the constant of the remainder with 12.02√3
@ constant
- 12 * mp.sqrt(mpf(3))
+ mpf("12.02") * mp.sqrt(mpf(3))

the constant of the remainder with 11.98√3: true, and not sharp
@ constant
- 12 * mp.sqrt(mpf(3))
+ mpf("11.98") * mp.sqrt(mpf(3))
""",
    ),
    *in_check(
        "D3.11",
        """
the sharpest K is 4
- best[1:] == (5, 14)
+ best[1:] == (4, 14)

a limit at small x with 13/125
- 6 * mp.sqrt(3) * mpf(12) / 125
+ 6 * mp.sqrt(3) * mpf(13) / 125
""",
    ),
    *in_check(
        "D3.13",
        """
the limit of the cost over K
- sum((z_i - v_i) ** 2 for z_i, v_i in zip(z, v, strict=True)) / (2 * K)
+ sum((z_i - v_i) ** 2 for z_i, v_i in zip(z, v, strict=True)) / K
""",
    ),
    *in_check(
        "D4.6",
        """
a tenth of the top's share at T = 8.6
- ("0.1", "8.7")
+ ("0.1", "8.6")
""",
    ),
    *in_check(
        "D5.4",
        """
the slope of h with tanh(x)
- sp.tanh(x / 2)
+ sp.tanh(x)

the slope of h below zero
- slope(mpf(i) / 10) >= 0
+ slope(mpf(i) / 10) <= 0
""",
    ),
    *in_check(
        "D5.6",
        """
an overshoot of 14 times the limit
- 13
+ 14
""",
    ),
    *in_check(
        "D5.8",
        """
a mixture of 0.023
- 0.022
+ 0.023
""",
    ),
    *in_check(
        "D7.6",
        """
exact where a mask changes the sign
- len(signs) == 2
+ len(signs) == 1
""",
    ),
    *in_check(
        "D7.10",
        """
the gradient of a step without 1/T
- h[i] * (softmax(list(h @ W + b), t)[c] - p[c]) / t
+ h[i] * (softmax(list(h @ W + b), t)[c] - p[c])
""",
    ),
    *in_check(
        "D8.11",
        """
a third central moment with 1 − 3p
- p * (1 - p) * (1 - 2 * p) * r ** 3
+ p * (1 - p) * (1 - 3 * p) * r ** 3

a bracket of at most R³
- 1 + 1 / (6 * sp.sqrt(3)) < sp.Rational(11, 10) < sp.Rational(6, 5)
+ 1 + 1 / (6 * sp.sqrt(3)) < sp.Rational(10, 10) < sp.Rational(6, 5)

a third derivative with 2σ²
- claimed = s[0] * ((u[0] - mu) ** 3 - 3 * variance * (u[0] - mu) - kappa)
+ claimed = s[0] * ((u[0] - mu) ** 3 - 2 * variance * (u[0] - mu) - kappa)

a third derivative of at most R³/9
- 0.99 / 8 < largest < 1 / 8 + 1e-12
+ 0.99 / 9 < largest < 1 / 9 + 1e-12
""",
    ),
    *in_check(
        "D9.8",
        """
a mean that falls
- left < right
+ left > right
""",
    ),
    *in_check(
        "D10.1",
        """
the correction without the odds of the others
- sp.log((sampled / share) / ((1 - sampled) / (1 - share)))
+ sp.log(sampled / share)
""",
    ),
    *in_check(
        "D10.6",
        """
a least fall that is a tenth larger
- mp.fsum(d**2 for d in dz) / (1 + M)
+ mp.fsum(d**2 for d in dz) / (1 + M) * 11 / 10

a least fall that is a tenth smaller: true, and not sharp
- mp.fsum(d**2 for d in dz) / (1 + M)
+ mp.fsum(d**2 for d in dz) / (1 + M) * 9 / 10

a step of 5/(1 + M)
- d_k * 2 / (1 + M)
+ d_k * 5 / (1 + M)

the variance within the dustbin added
- variance(q) - weight * variance(within)
+ variance(q) + weight * variance(within)
""",
    ),
    *in_check(
        "D10.7",
        """
a cost that is convex in z
- (along(h) - 2 * along(mpf(0)) + along(-h)) / h ** 2 < 0
+ (along(h) - 2 * along(mpf(0)) + along(-h)) / h ** 2 > 0

no answer ever at rest
- max(abs(spreads - len(e.models) * e.q)) < SMALL
+ max(abs(spreads - len(e.models) * e.q)) < 0
""",
    ),
    *in_check(
        "D11.8",
        """
the probabilities of the logits less their priors
- array(softmax(z))
+ array(softmax([z_k - mp.log(p_k) for z_k, p_k in zip(z, prior, strict=True)]))
""",
    ),
    *in_check(
        "D11.9",
        """
the share of staying without the visits
- 1 - V / D + off
+ 1 - 1 / D + off

the curvature of the likelihood above zero
- sp.diff(slope, a) + (D - V) / a**2 + V / (1 - a) ** 2
+ sp.diff(slope, a) - (D - V) / a**2 - V / (1 - a) ** 2

a mean duration of 1/a
- 1 / (1 - stay)
+ 1 / stay
""",
    ),
    *planted(
        "meanings of D2",
        "checks.cases",
        HOLDS.format("D2.4"),
        """
a student at T = 1
- softmax(e, e.z / e.T)
+ softmax(e, e.z)

a teacher at T = 1
- softmax(e, e.v / e.T)
+ softmax(e, e.v)

a cost with z in place of the logarithm of q
- e.apply("log", e.apply("exp", e.z / e.T).sum()) - e.z / e.T
+ -e.z / e.T
""",
    ),
    *planted(
        "comparison",
        "derivations.evidence",
        COMPARES,
        """
a bound that may be as loose as it likes
- self.nearness() == tuple(near)
+ True

an arrow that is always true
- not claim.arrow or len(self.truths[number]) == 2
+ True

a relation that no input reaches let through
- (number, i) in self.compared
+ True

a condition that is always met
- all(holds(chain, e) for chain in relations)
+ True

"about" to one digit fewer
- mpf(10) ** -len(tree.parts[0].split(".")[1]) / 2
+ mpf(10) ** -len(tree.parts[0].split(".")[1]) * 5

one random place taken for a proof
- proven(difference)
+ True
""",
    ),
    *planted(
        "comparison",
        "derivations.values",
        COMPARES,
        """
equal to ten digits
- mpf(10) ** -25
+ mpf(10) ** -10

an inequality that may fail a little
- max(COMPARED * max(abs(left), abs(right)), NOISE) if relation in "≤≥" else 0
+ mpf(10) ** -10

at most and at least mixed up
- left <= right + slack if relation in "≤<" else left >= right - slack
+ left >= right - slack if relation in "≤<" else left <= right + slack
""",
    ),
    *planted(
        "comparison",
        "derivations.meaning",
        COMPARES,
        """
half a slope
- (f(x + STEP) - f(x - STEP)) / (2 * STEP)
+ (f(x + STEP) - f(x - STEP)) / (4 * STEP)
""",
    ),
    *planted(
        "comparison",
        "derivations.checks.__init__",
        COMPARES,
        """
a pinned display that may change
- now == digest
+ True
""",
    ),
]
