"""M6 to M9: a class that training did not show, and the shift that repairs it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from oracles import EPS, naive_softmax, purely
from strategies import logits

from minikd.core.layers import affine_backward, affine_forward
from minikd.core.losses import hard_cross_entropy, soft_cross_entropy
from minikd.core.softmax import softmax
from minikd.theory.priors import class_mask, matching_shift, shift_classes
from minikd.training.teacher import load_teacher


@st.composite
def cases_and_classes(draw, size=30.0):
    """z (N, K), and some of its classes, not all."""
    N, K = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    order = draw(st.permutations(range(K)))
    return draw(logits((N, K), size)), order[: draw(st.integers(1, K - 1))]


def probability(z, classes, s=0.0):
    """(N,): of the classes together, after the shift; the textbook's."""
    shifts = np.zeros(z.shape[-1])
    shifts[list(classes)] = s
    return naive_softmax(z + shifts)[:, list(classes)].sum(axis=-1)


def log_odds(p):
    return math.log(p) - math.log1p(-p)


# ---- shifting --------------------------------------------------------------------------------------------------------


@st.composite
def worlds(draw):
    """Densities (K, X) of K classes over X things to see, and two sets of shares (K,)."""
    K, X = draw(st.integers(2, 5)), draw(st.integers(1, 6))
    parts = st.floats(1e-3, 1)
    density = draw(hnp.arrays(np.float64, (K, X), elements=parts))
    shares = draw(hnp.arrays(np.float64, (2, K), elements=parts))
    return density / density.sum(axis=-1, keepdims=True), *(shares / shares.sum(axis=-1, keepdims=True))


@pytest.mark.slow
@pytest.mark.derivation("D9.1", "D9.2")
@given(world=worlds())
def test_one_shift_a_class_turns_old_shares_into_new_ones_for_every_case(world):
    density, old, new = world
    z = np.log(old[:, None] * density).T  # (X, K), the ideal student's
    for k in range(len(old)):
        z = shift_classes(z, [k], math.log(new[k] / old[k]))
    joint = (new[:, None] * density).T
    np.testing.assert_allclose(naive_softmax(z), joint / joint.sum(axis=-1, keepdims=True), rtol=64 * EPS)


@pytest.mark.slow
@pytest.mark.derivation("D9.3")
@given(drawn=cases_and_classes(size=5.0), s=st.floats(-10, 10))
def test_a_shift_multiplies_the_odds_of_its_classes_and_leaves_the_odds_within(drawn, s):
    z, classes = drawn
    inside = np.isin(np.arange(z.shape[-1]), classes)
    before, after = naive_softmax(z), naive_softmax(shift_classes(z, classes, s))
    odds, odds_after = (q[:, inside].sum(axis=-1) / q[:, ~inside].sum(axis=-1) for q in (before, after))
    np.testing.assert_allclose(odds_after, math.exp(s) * odds, rtol=256 * EPS)
    for side in (inside, ~inside):
        conditional, conditional_after = (q[:, side] / q[:, side].sum(axis=-1, keepdims=True) for q in (before, after))
        np.testing.assert_allclose(conditional_after, conditional, rtol=256 * EPS)


def test_the_papers_shift_multiplies_the_odds_of_a_3_by_33():
    z = np.random.default_rng(0).standard_normal((4, 10))
    odds, odds_after = (q / (1 - q) for q in (probability(z, [3]), probability(shift_classes(z, [3], 3.5), [3])))
    np.testing.assert_allclose(odds_after / odds, 33.115451958692, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.derivation("D9.4")
@given(world=worlds(), share=st.floats(0.01, 0.99), size=st.integers(1, 4))
def test_one_shift_repairs_a_set_whose_share_changed(world, share, size):
    density, old, _ = world
    classes = range(min(size, len(old) - 1))
    of_old = old[list(classes)].sum()
    new = np.where(np.isin(np.arange(len(old)), classes), old * share / of_old, old * (1 - share) / (1 - of_old))
    z = np.log(old[:, None] * density).T
    repaired = shift_classes(z, classes, log_odds(share) - log_odds(of_old))
    joint = (new[:, None] * density).T
    np.testing.assert_allclose(naive_softmax(repaired), joint / joint.sum(axis=-1, keepdims=True), rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 4)])
def test_a_shift_keeps_shape_and_dtype_and_its_argument(dtype, shape):
    """So that a network's biases can be shifted as logits are."""
    z = np.ones(shape, dtype)
    shifted = purely(shift_classes, z, np.array([0, 3]), np.float64(-0.5))
    assert shifted.dtype == dtype
    np.testing.assert_array_equal(shifted, np.broadcast_to([0.5, 1, 1, 0.5], shape))


# ---- where the bias comes to rest ------------------------------------------------------------------------------------


def last_layer(K=5, N=8, D=3, seed=0):
    rng = np.random.default_rng(seed)
    x, W, b = rng.standard_normal((N, D)), rng.standard_normal((D, K)), rng.standard_normal(K)
    return x, W, b, 3 * rng.standard_normal((N, K))


def bias_gradient(x, W, b, **targets):
    z, cache = affine_forward(x, W, b)
    cost = hard_cross_entropy if "y" in targets else soft_cross_entropy
    return z, affine_backward(cost(z, **targets)[1], cache)[2]


@pytest.mark.derivation("D9.5")
@pytest.mark.parametrize("T", [0.5, 1.0, 8.0])
def test_the_bias_gradient_is_the_difference_of_the_mean_probabilities(T):
    x, W, b, v = last_layer()
    z, db = bias_gradient(x, W, b, v=v, T=T)
    expected = (naive_softmax(z, T).mean(axis=0) - naive_softmax(v, T).mean(axis=0)) / T
    np.testing.assert_allclose(db, expected, rtol=0, atol=1e-14)
    assert np.abs(expected).min() > 1e-4


@pytest.mark.derivation("D9.5")
@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_bias_of_a_class_rests_where_the_student_finds_it_as_likely_as_the_teacher(T):
    x, W, b, v = last_layer()
    v[:, 3] -= 6  # no transfer case is a 3, and the teacher knows that, nearly
    prior = naive_softmax(v, T)[:, 3].mean()
    at_rest = shift_classes(b, [3], T * matching_shift((x @ W + b) / T, [3], prior))
    assert np.isfinite(at_rest[3])
    assert abs(bias_gradient(x, W, at_rest, v=v, T=T)[1][3]) < 1e-15
    assert bias_gradient(x, W, shift_classes(at_rest, [3], 0.5), v=v, T=T)[1][3] > 1e-6
    assert bias_gradient(x, W, shift_classes(at_rest, [3], -0.5), v=v, T=T)[1][3] < -1e-6


@pytest.mark.slow
@pytest.mark.derivation("D9.5")
def test_the_page_has_the_mean_probabilities_of_the_shipped_teacher(mnist_data):
    (train, _), (targets, _) = mnist_data, load_teacher()
    three = train.labels == 3
    p = [softmax(np.asarray(targets.logits, np.float64), T)[:, 3] for T in (1.0, 20.0)]
    others, all_digits = ([p_T[cases].mean() for p_T in p] for cases in (~three, slice(None)))
    sentences = (
        f"On the {np.sum(~three):,} training digits that are not a 3, the teacher that minikd ships gives 3 a mean "
        f"probability of {others[0]:.4f} at $T = 1$ and of {others[1]:.3f} at $T = 20$. On all {len(three):,} it is "
        f"{all_digits[0]:.3f} and {all_digits[1]:.3f}. The share of 3s among these is {three.mean():.3f}."
    )
    page = Path(__file__).parents[1] / "derivations" / "D9-missing-class.md"
    assert sentences in " ".join(page.read_text(encoding="utf-8").split())


@pytest.mark.derivation("D9.6")
@pytest.mark.parametrize("bias", [-100.0, -10.0, 0.0, 10.0])
def test_with_hard_labels_the_bias_of_a_missing_class_falls_for_ever(bias):
    x, W, b, _ = last_layer()
    b[3] = bias
    z, db = bias_gradient(x, W, b, y=np.array([0, 1, 2, 4, 0, 1, 2, 4]))
    assert db[3] == pytest.approx(naive_softmax(z)[:, 3].mean(), rel=1e-12)
    assert db[3] > 0


# ---- matching --------------------------------------------------------------------------------------------------------

PRIORS = st.floats(1e-6, 1 - 1e-6)


@pytest.mark.slow
@pytest.mark.derivation("D9.8")
@given(drawn=cases_and_classes(), prior=PRIORS)
def test_the_shift_makes_the_mean_probability_the_prior(drawn, prior):
    z, classes = drawn
    s = matching_shift(z, classes, prior)
    # dm/ds is at most m(1 − m): so many ulps of s, which is below 100, and of the mean itself
    assert abs(probability(z, classes, s).mean() - prior) <= 256 * EPS * (1 + abs(s))


@pytest.mark.slow
@pytest.mark.derivation("D9.7", "D9.8")
@given(drawn=cases_and_classes(size=5.0), prior=st.floats(0.01, 0.98), more=st.floats(0.001, 0.01))
def test_the_shift_rises_with_the_prior_as_the_mean_variance_says(drawn, prior, more):
    z, classes = drawn
    s, higher = (matching_shift(z, classes, one) for one in (prior, prior + more))
    assert s < higher
    along = [probability(z, classes, one) for one in np.linspace(s, higher, 33)]
    slopes = [(Q * (1 - Q)).mean() for Q in along]
    assert min(slopes) * 0.9 <= more / (higher - s) <= max(slopes) * 1.1  # a mean slope, between samples of it


@pytest.mark.slow
@pytest.mark.derivation("D9.9")
@given(drawn=cases_and_classes(size=10.0), planted=st.floats(-8, 8))
def test_a_planted_shift_is_found_where_the_prior_is_the_mean_of_the_right_probabilities(drawn, planted):
    z, classes = drawn
    right = probability(z, classes)
    prior = right.mean()
    variance = (right * (1 - right)).mean()
    assume(variance > 1e-6)  # else rounding of the mean is divided by next to nothing
    found = matching_shift(shift_classes(z, classes, -planted), classes, prior)
    assert abs(found - planted) <= 64 * EPS * (1 + abs(planted) + 1 / variance)


@pytest.mark.derivation("D9.9")
def test_the_error_is_the_scatter_of_the_cases_over_the_mean_variance():
    """Labels drawn from the right probabilities, their share for a prior: a small error, as the theorem says."""
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal((10_000, 10))
    z[:, 3] -= 1
    right = probability(z, [3])
    share = (rng.random(10_000) < right).mean()
    found = matching_shift(shift_classes(z, [3], -3.5), [3], share)
    expected = (share - right.mean()) / (right * (1 - right)).mean()
    assert found - 3.5 == pytest.approx(expected, rel=0.1)  # the slope changes a little on the way
    assert 0 < abs(found - 3.5) < 0.2


@pytest.mark.slow
@given(drawn=cases_and_classes(), prior=PRIORS, rng=st.integers(0, 99).map(np.random.default_rng))
def test_neither_the_order_of_the_cases_nor_that_of_the_classes_matters(drawn, prior, rng):
    z, classes = drawn
    s = matching_shift(z, classes, prior)
    order, renamed = rng.permutation(len(z)), rng.permutation(z.shape[-1])
    again = matching_shift(z[order][:, renamed], np.argsort(renamed)[classes], prior)
    moved = abs(probability(z, classes, again).mean() - probability(z, classes, s).mean())
    assert moved <= 256 * EPS * (1 + abs(s))  # of the mean: in a flat curve s itself may be another


@pytest.mark.slow
@given(drawn=cases_and_classes(), prior=PRIORS)
def test_the_shift_of_the_other_classes_is_the_opposite(drawn, prior):
    z, classes = drawn
    others = sorted(set(range(z.shape[-1])) - set(classes))
    s = -matching_shift(z, others, 1 - prior)
    assert abs(probability(z, classes, s).mean() - prior) <= 256 * EPS * (1 + abs(s))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits(dtype):
    z = np.array([[1e30, -1e30, 0.0], [-1e30, 1e30, 0.0], [0.0, 0.0, 0.0]], dtype)
    for classes, prior in (([0], 0.5), ([1, 2], 0.9), ([2], 1e-300)):
        s = matching_shift(z, classes, prior)
        assert isinstance(s, float)
        assert math.isfinite(s)
    s = matching_shift(z, [0], 0.5)  # one is, one is not, so the third must be undecided: odds of 1/2, doubled
    assert s == pytest.approx(math.log(2), rel=1e-14)


def test_matching_writes_into_no_argument():
    purely(matching_shift, np.random.default_rng(0).standard_normal((4, 3)), np.array([1]), 0.3)


# ---- errors ----------------------------------------------------------------------------------------------------------

Z = np.zeros((4, 3))


@pytest.mark.parametrize("classes", [[], [3], [-1], [0, 0], [0.0], ["0"]])
def test_classes_that_are_none_are_refused(classes):
    message = re.escape(f"classes must be distinct numbers in 0 … 2, at least one, got {classes}")
    for call in (
        lambda: class_mask(classes, 3),
        lambda: shift_classes(Z, classes, 1.0),
        lambda: matching_shift(Z, classes, 0.5),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_all_classes_together_are_refused():
    with pytest.raises(ValueError, match="classes must leave out one of the 3: all together have probability 1"):
        matching_shift(Z, [2, 0, 1], 0.5)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_prior_that_no_shift_reaches_is_refused(prior):
    with pytest.raises(ValueError, match=re.escape(f"prior must be a share in (0, 1), got {prior}")):
        matching_shift(Z, [0], prior)


@pytest.mark.parametrize("s", [math.nan, math.inf, -math.inf])
def test_a_shift_that_is_not_finite_is_refused(s):
    with pytest.raises(ValueError, match=f"s must be finite, got {s}"):
        shift_classes(Z, [0], s)


def test_logits_of_a_wrong_kind_are_refused():
    for call in (lambda z: shift_classes(z, [0], 1.0), lambda z: matching_shift(z, [0], 0.5)):
        with pytest.raises(
            TypeError, match=r"z must be a NumPy array, got list: bring it with minikd\.engines\.device\.to_host"
        ):
            call([[0.0, 1.0]])
        with pytest.raises(TypeError, match="z must be float32 or float64, got int64: convert it with astype"):
            call(np.zeros((4, 3), np.int64))
        with pytest.raises(ValueError, match="z must have shape"):
            call(np.zeros(()))
    for shape in [(3,), (2, 4, 3), (0, 3)]:
        with pytest.raises(ValueError, match=re.escape(f"z must have shape (N, K) with N ≥ 1, K ≥ 2, got {shape}")):
            matching_shift(np.zeros(shape), [0], 0.5)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="z must be finite, got inf or nan"):
            matching_shift(np.array([[0.0, wrong]]), [0], 0.5)
