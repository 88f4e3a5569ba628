"""What soft targets say beyond the label: their noise, the natural gradient near the teacher, and the wrong classes."""

import itertools
import math

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, complex_step, naive_entropy, naive_softmax, relative_error, spread
from strategies import temperatures

from minikd.core.losses import hard_cross_entropy, logit_matching, soft_cross_entropy
from minikd.core.softmax import log_softmax, softmax
from minikd.paper.tasks.networks import total_variance
from minikd.theory.dark_knowledge import dark_knowledge, forget_wrong_classes, split_soft_gradient

WARM = temperatures(0.5, 1e4)  # the textbook's exponentials are numbers, and no wrong class underflows


def cases(K=10, B=4, seed=0, size=2.0):
    """z, v and y of ordinary size."""
    rng = np.random.default_rng([seed, K])
    return size * rng.standard_normal((B, K)), size * rng.standard_normal((B, K)), rng.integers(0, K, B)


def soft_gradient(z, v, T):
    """Of each case's own cost, by the core."""
    return soft_cross_entropy(z, v=v, T=T)[1] * z.shape[-2]


def hard_gradient(z, y):
    return hard_cross_entropy(z, y=y)[1] * z.shape[-2]


def zero_mean(z):
    return z - z.mean(axis=-1, keepdims=True)


# ---- less noise ------------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D12.1", "D12.2")
@pytest.mark.parametrize("K", [2, 3, 10])
def test_soft_gradients_are_the_mean_of_hard_ones_which_vary_by_one_minus_the_sum_of_squares(K):
    z, v, _ = cases(K)
    p, soft = naive_softmax(v), soft_gradient(z, v, 1.0)
    hard = np.stack([hard_gradient(z, np.full(len(z), y)) for y in range(K)], axis=1)  # (B, y, K)
    assert relative_error(np.einsum("by,byk->bk", p, hard), soft) < 8 * EPS
    noise = np.einsum("by,byk->b", p, (hard - soft[:, None]) ** 2)
    assert relative_error(noise, 1 - np.sum(p**2, axis=-1)) < 32 * EPS


@pytest.mark.derivation("D12.3")
@given(v=strategies.students(), T=WARM)
def test_the_noise_of_a_label_is_at_most_that_of_a_uniform_teacher(v, T):
    noise = 1 - np.sum(softmax(v, T) ** 2, axis=-1)
    assert np.all(noise >= -8 * EPS)
    assert np.all(noise <= 1 - 1 / v.shape[-1] + 8 * EPS)


@pytest.mark.derivation("D12.3")
def test_the_noise_is_largest_for_a_uniform_teacher_and_vanishes_for_a_certain_one():
    uniform, certain = softmax(np.zeros((1, 4))), softmax(np.array([[900.0, 0.0, 0.0, 0.0]]))
    assert 1 - np.sum(uniform**2) == 3 / 4
    assert 1 - np.sum(certain**2) == 0


@pytest.mark.derivation("D12.4")
def test_the_total_variance_of_drawn_labels_exceeds_that_of_soft_targets_by_their_noise_on_average():
    """All 27 ways to draw three labels, each with its probability."""
    z, v, _ = cases(K=3, B=3)
    p = naive_softmax(v)
    hard = sum(
        np.prod(p[range(3), y]) * total_variance(hard_gradient(z, np.array(y)))
        for y in itertools.product(range(3), repeat=3)
    )
    soft = total_variance(soft_gradient(z, v, 1.0))
    assert hard - soft == pytest.approx(np.mean(1 - np.sum(p**2, axis=-1)), rel=1e-13)


@pytest.mark.derivation("D12.5")
def test_the_gradient_of_the_last_layer_loses_the_noise_times_its_inputs():
    rng = np.random.default_rng(0)
    h, W, b = rng.standard_normal((1, 6)), rng.standard_normal((6, 4)), rng.standard_normal(4)
    z, v = h @ W + b, rng.standard_normal((1, 4))
    p = naive_softmax(v)[0]

    def of_weights(dz):
        return np.concatenate([(h.T @ dz).ravel(), dz[0]])

    soft = of_weights(soft_gradient(z, v, 1.0))
    noise = sum(p[y] * np.sum((of_weights(hard_gradient(z, np.array([y]))) - soft) ** 2) for y in range(4))
    assert noise == pytest.approx((1 + np.sum(h**2)) * (1 - np.sum(p**2)), rel=1e-13)


# ---- near the teacher ------------------------------------------------------------------------------------------------


def fisher(q):
    """Φ of one case."""
    return np.diag(q) - np.outer(q, q)


def natural_gradient(z, v, T):
    """Of one case: the soft gradient over the Fisher information, by NumPy's own pseudo-inverse."""
    return T**2 * np.linalg.pinv(fisher(naive_softmax(z, T)), hermitian=True) @ soft_gradient(z[None], v[None], T)[0]


@pytest.mark.derivation("D12.6")
@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_fisher_information_is_the_curvature_of_the_soft_cost_with_any_teacher(T):
    z, v, _ = cases(K=4, B=1)
    information = fisher(naive_softmax(z[0], T)) / T**2
    for k in range(4):  # a row of the curvature; E2 is (q − p)/T
        row = complex_step(lambda z, k=k: (naive_softmax(z, T)[0, k] - naive_softmax(v, T)[0, k]) / T, z)[0]
        assert relative_error(row, information[k]) < 1e-13
    h = 1e-6
    for direction in np.eye(4):
        ahead, behind = (soft_cross_entropy(z + s * h * direction, v=v, T=T)[1][0] for s in (1, -1))
        np.testing.assert_allclose((ahead - behind) / (2 * h), information @ direction, atol=1e-9)


@pytest.mark.slow
@pytest.mark.derivation("D12.7")
@given(zv=strategies.students_and_teachers(), T=temperatures(0.1, 1e4))
def test_near_the_teacher_the_gradient_is_the_fisher_information_times_the_difference_within_the_bound(zv, T):
    z, v = zv
    p, d = softmax(v, T), z - v
    linear = p * (d - np.sum(p * d, axis=-1, keepdims=True)) / T**2
    error = np.abs(soft_gradient(z, v, T) - linear).max(axis=-1)
    rounding = 64 * EPS * (1 + np.abs(d).max(axis=-1) / T) / T  # of d, whose mean may be far from 0
    assert np.all(error <= spread(d) ** 2 / (12 * math.sqrt(3) * T**3) * (1 + 1e-9) + rounding)


@pytest.mark.derivation("D12.8")
@pytest.mark.parametrize("K", [2, 3, 10])
def test_the_pseudo_inverse_of_the_fisher_information_divides_by_q_between_two_means(K):
    z, _, _ = cases(K, B=1)
    q = softmax(z)[0]
    mean = np.full((K, K), 1 / K)
    divided = (np.eye(K) - mean) @ np.diag(1 / q) @ (np.eye(K) - mean)
    assert relative_error(divided, np.linalg.pinv(fisher(q), hermitian=True)) < 1e-10


@pytest.mark.derivation("D12.9")
@pytest.mark.parametrize("T", [1.0, 4.0, 20.0])
def test_the_natural_gradient_is_a_difference_of_ratios(T):
    z, v, _ = cases(K=5)
    for z_b, v_b in zip(z, v, strict=True):
        ratio = np.exp(log_softmax(v_b[None], T) - log_softmax(z_b[None], T))[0]
        assert relative_error(T * (ratio.mean() - ratio), natural_gradient(z_b, v_b, T)) < 1e-9


def natural_in_closed_form(z, v, T):
    ratio = np.exp(log_softmax(v, T) - log_softmax(z, T))
    return -T * zero_mean(ratio)


@pytest.mark.slow
@pytest.mark.derivation("D12.10", "D12.11")
@given(zv=strategies.students_and_teachers(size=10.0), T=temperatures(1.0, 1e3))
def test_the_natural_gradient_is_logit_matching_within_the_bounds(zv, T):
    z, v = zv
    d, nu = z - v, natural_in_closed_form(z, v, T)
    r = spread(d)[..., None] / T
    rounding = 64 * EPS * T * np.exp(r) * (1 + np.abs(z).max() / T + np.abs(v).max() / T)
    error = np.abs(nu - zero_mean(logit_matching(z, v=v)[1] * z.shape[-2]))
    assert np.all(error <= (1 - 1 / z.shape[-1]) * T * (np.expm1(r) - r) + rounding)
    moved, asked = nu[..., :, None] - nu[..., None, :], d[..., :, None] - d[..., None, :]
    r, rounding = r[..., None], rounding[..., None]
    assert np.all(np.abs(moved) <= np.abs(asked) * np.exp(r) + rounding)
    assert np.all(moved * np.sign(asked) >= np.abs(asked) * np.exp(-r) - rounding)


@pytest.mark.derivation("D12.10", "D12.11")
@pytest.mark.parametrize("T", [0.5, 1.0, 20.0])
def test_near_the_teacher_the_natural_gradient_tends_to_logit_matching_at_every_T(T):
    """The plain gradient does not, except at high T."""
    z, v, _ = cases(K=5, B=1)
    for nearness in (1e-2, 1e-3):
        near = v + nearness * (z - v)
        matching = zero_mean(logit_matching(near, v=v)[1])[0]
        assert relative_error(natural_gradient(near[0], v[0], T), matching) < 10 * nearness / T
    plain = soft_gradient(near, v, T)[0] * 5 * T**2
    assert relative_error(plain, matching) > 0.2 / T


# ---- T = 1 in use ----------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D12.12")
@given(zv=strategies.students_and_teachers(), T=temperatures(0.1, 1e4))
def test_T_times_the_mismatch_of_the_log_odds_is_the_same_at_every_T(zv, T):
    z, v = zv

    def mismatch(T):
        return T * np.diff(log_softmax(z, T) - log_softmax(v, T), axis=-1)

    np.testing.assert_allclose(mismatch(T), mismatch(1.0), atol=1e-12 * (1 + T))


@pytest.mark.derivation("D12.12")
def test_a_student_that_matches_at_one_T_matches_at_every_T():
    _, v, _ = cases()
    assert np.abs(soft_gradient(v + 3, v, 20.0)).max() < 1e-16
    for T in (0.1, 1.0, 1000.0):
        np.testing.assert_allclose(softmax(v + 3, T), softmax(v, T), rtol=1e-12)


@pytest.mark.derivation("D12.13", "D12.14")
@given(zv=strategies.students_and_teachers(), T=temperatures(0.1, 1e4))
def test_probabilities_and_costs_are_no_farther_apart_than_the_logits_allow(zv, T):
    z, v = zv
    R, far = spread(z - v), np.abs(softmax(z, T) - softmax(v, T))
    assert np.all(far <= far.sum(axis=-1, keepdims=True) / 2 + 4 * EPS)
    assert np.all(far.sum(axis=-1) / 2 <= np.tanh(R / (4 * T)) + 64 * EPS)
    log_p, log_q = log_softmax(v, T), log_softmax(z, T)
    divergence = np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)
    assert np.all(divergence <= R**2 / (8 * T**2) + 64 * EPS * (1 + np.abs(log_p).max() + np.abs(log_q).max()))


@pytest.mark.derivation("D12.13", "D12.14")
def test_two_classes_that_look_alike_at_20_are_far_apart_at_1():
    z = np.array([[2.0, -2.0]])
    far = {T: np.abs(softmax(z, T) - softmax(-z, T)).max() for T in (1.0, 20.0)}
    assert far == pytest.approx({1.0: math.tanh(2), 20.0: math.tanh(0.1)}, rel=1e-12)
    small = z / 1000
    C, _ = soft_cross_entropy(small, v=-small, T=1.0)
    entropy = naive_entropy(naive_softmax(-small))[0]
    assert C - entropy == pytest.approx(0.008**2 / 8, rel=1e-4)


# ---- the wrong classes -----------------------------------------------------------------------------------------------


def target_cost(z, v, y, T):
    """The divergence of the true class against all others, less what does not depend on z."""
    q, p = naive_softmax(z, T)[..., y], naive_softmax(v, T)[..., y]
    return -p * np.log(q) - (1 - p) * np.log(1 - q)


def wrong_cost(z, v, y, T):
    """The cross-entropy among the wrong classes, with the weight of all of them."""
    q, p = np.delete(naive_softmax(z, T), y, axis=-1), np.delete(naive_softmax(v, T), y, axis=-1)
    return -np.sum(p * np.log(q / np.sum(q)))


@pytest.mark.derivation("D12.15", "D12.16")
@pytest.mark.parametrize("K", [2, 3, 10])
@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_soft_cost_and_its_gradient_are_a_part_on_the_true_class_and_one_among_the_wrong(K, T):
    z, v, labels = cases(K)
    parts = split_soft_gradient(z, v=v, y=labels, T=T)
    for i, y in enumerate(labels):
        C, _ = soft_cross_entropy(z[i : i + 1], v=v[i : i + 1], T=T)
        assert target_cost(z[i], v[i], y, T) + wrong_cost(z[i], v[i], y, T) == pytest.approx(C, rel=1e-13)
        on_true, among_wrong = (
            complex_step(lambda z, cost=cost, i=i, y=y: cost(z, v[i], y, T), z[i]) for cost in (target_cost, wrong_cost)
        )
        assert relative_error(parts[0][i], on_true) < 1e-13
        np.testing.assert_allclose(parts[1][i], among_wrong, atol=1e-15)


@st.composite
def labelled(draw, size=30.0):
    z, v = draw(strategies.students_and_teachers(size=size))
    return z, v, draw(strategies.labels(z))


@pytest.mark.slow
@pytest.mark.derivation("D12.16")
@given(zvy=labelled(), T=temperatures(0.001, 1e6))
def test_the_two_parts_add_up_to_the_soft_gradient_for_any_logits(zvy, T):
    z, v, y = zvy
    on_true, among_wrong = split_soft_gradient(z, v=v, y=y, T=T)
    np.testing.assert_allclose(on_true + among_wrong, soft_gradient(z, v, T), atol=32 * EPS / T)
    true = np.arange(z.shape[-1]) == y[..., None]
    assert not among_wrong[true].any()
    assert np.abs(among_wrong.sum(axis=-1)).max() <= 32 * EPS / T


@pytest.mark.derivation("D12.17")
@pytest.mark.parametrize("T", [1.0, 4.0])
def test_the_part_on_the_true_class_is_the_hard_gradient_with_another_weight(T):
    z, v, y = cases()
    rows = np.arange(len(z))
    q_y, p_y = softmax(z, T)[rows, y], softmax(v, T)[rows, y]
    weight = ((p_y - q_y) / (1 - q_y))[:, None]
    on_true, _ = split_soft_gradient(z, v=v, y=y, T=T)
    assert relative_error(on_true, weight * hard_gradient(z / T, y) / T) < 1e-13


@pytest.mark.derivation("D12.17")
def test_a_student_that_is_surer_than_its_teacher_is_pulled_back():
    sure, unsure, y = np.array([[5.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0]]), np.array([0])
    assert split_soft_gradient(sure, v=unsure, y=y, T=1.0)[0][0, 0] > 0
    assert hard_gradient(sure, y)[0, 0] < 0


@pytest.mark.derivation("D12.18")
@given(zvy=labelled(size=5.0), T=WARM)
def test_the_two_parts_are_orthogonal_under_the_inverse_of_the_fisher_information(zvy, T):
    z, v, y = zvy
    on_true, among_wrong = split_soft_gradient(z, v=v, y=y, T=T)
    products = on_true * among_wrong / softmax(z, T)
    assert np.all(np.abs(products.sum(axis=-1)) <= 64 * EPS * (np.abs(products).sum(axis=-1) + 1 / T**2))


@pytest.mark.derivation("D12.18")
def test_a_natural_step_on_one_part_leaves_the_other_part_as_it_is():
    z, v, y = cases(K=4, B=1)
    on_true, among_wrong = (part[0] for part in split_soft_gradient(z, v=v, y=y, T=2.0))
    inverse = np.linalg.pinv(fisher(naive_softmax(z[0], 2.0)), hermitian=True)
    for step, other in ((on_true, wrong_cost), (among_wrong, target_cost)):
        changes = [
            other(z[0] - h * inverse @ step, v[0], y[0], 2.0) - other(z[0], v[0], y[0], 2.0) for h in (1e-3, 2e-3)
        ]
        assert abs(changes[1]) < 5 * abs(changes[0]) + 1e-14, "of first order it would double"
        assert abs(changes[0]) < 1e-6


@pytest.mark.derivation("D12.19", "D12.20")
@pytest.mark.parametrize("beta", [0.01, 0.1, 0.5])
def test_a_smoothed_label_is_part_label_and_part_uniform_target(beta):
    z, _, y = cases()
    one_hot = np.eye(10)[y]
    v = math.log(1 + 10 * (1 - beta) / beta) * one_hot  # the one gap that its logits have
    np.testing.assert_allclose(softmax(v), (1 - beta) * one_hot + beta / 10, rtol=1e-13)
    (C, dz), (C_hard, hard) = soft_cross_entropy(z, v=v, T=1.0), hard_cross_entropy(z, y=y)
    C_uniform, uniform = soft_cross_entropy(z, v=np.zeros_like(z), T=1.0)
    assert pytest.approx((1 - beta) * C_hard + beta * C_uniform, rel=1e-13) == C
    assert relative_error(dz, (1 - beta) * hard + beta * uniform) < 1e-12


@pytest.mark.derivation("D12.20")
def test_a_student_of_smoothed_labels_ends_with_one_gap_and_one_of_labels_does_not():
    z, y = np.array([[0.3, 1.0, -2.0]]), np.array([1])
    v = math.log(1 + 3 * 0.9 / 0.1) * np.eye(3)[y]
    for _ in range(3000):
        z = z - 2.0 * soft_cross_entropy(z, v=v, T=1.0)[1]
    assert z[0, 0] == pytest.approx(z[0, 2], abs=1e-6)
    assert z[0, 1] - z[0, 0] == pytest.approx(math.log(28), abs=1e-6)
    assert hard_gradient(z, y)[0, 1] < -0.01


@pytest.mark.derivation("D12.21", "D12.22")
@pytest.mark.parametrize("T", [1.0, 4.0, 20.0])
def test_without_its_dark_knowledge_a_teacher_is_a_smoothed_label_as_sure_as_it_was(T):
    z, v, y = cases()
    p, forgot = naive_softmax(v, T), forget_wrong_classes(v, y=y, T=T)
    true = np.eye(10)[y]
    p_y = np.sum(p * true, axis=-1, keepdims=True)
    beta = 10 * (1 - p_y) / 9
    smoothed = (1 - beta) * true + beta / 10
    np.testing.assert_allclose(softmax(forgot, T), smoothed, rtol=1e-12)
    p_hat = (1 - true) * p / (1 - p_y)
    added = (1 - p_y) * (1 - true) * (1 / 9 - p_hat) / T
    assert relative_error(soft_gradient(z, v, T) - soft_gradient(z, forgot, T), added) < 1e-12
    lost = np.sum(p * np.log(p / smoothed), axis=-1)
    assert relative_error(dark_knowledge(v, y=y, T=T), lost) < 1e-12


@pytest.mark.slow
@pytest.mark.derivation("D12.22")
@given(zvy=labelled(), T=temperatures(0.001, 1e6))
def test_dark_knowledge_lies_between_nothing_and_a_doubt_between_two_classes(zvy, T):
    _, v, y = zvy
    nats, K = dark_knowledge(v, y=y, T=T), v.shape[-1]
    assert nats.shape == v.shape[:-1]
    assert np.all(nats >= -32 * EPS)
    p_y = np.take_along_axis(softmax(v, T), y[..., None], axis=-1)[..., 0]
    assert np.all(nats <= (1 - p_y) * math.log(K - 1) + 32 * EPS)
    forgot = forget_wrong_classes(v, y=y, T=T)
    assert np.abs(dark_knowledge(forgot, y=y, T=T)).max() < 1e-12
    # rounding of the logits, up to 30 nats and T log K, is divided by T again
    true_now = np.take_along_axis(softmax(forgot, T), y[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(true_now, p_y, atol=256 * EPS * (1 + 30 / T))


@pytest.mark.derivation("D12.22")
def test_a_teacher_says_most_about_the_wrong_classes_between_low_and_high_T():
    v, y = np.array([[9.0, 6.0, 0.0, -1.0]]), np.array([0])
    low, middle, high = (dark_knowledge(v, y=y, T=T)[0] for T in (0.1, 4.0, 1000.0))
    assert middle > 0.1
    assert low < 1e-9
    assert high < 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("leading", [(), (3,)])
def test_the_parts_keep_the_dtype_and_split_each_student_of_a_population(dtype, leading):
    rng = np.random.default_rng(0)
    z, v = (rng.standard_normal((*leading, 4, 5)).astype(dtype) for _ in "zv")
    y = rng.integers(0, 5, 4)
    for found in (*split_soft_gradient(z, v=v, y=y, T=2.0), forget_wrong_classes(v, y=y, T=2.0)):
        assert (found.dtype, found.shape) == (dtype, z.shape)
    nats = dark_knowledge(v, y=y, T=2.0)
    assert (nats.dtype, nats.shape) == (dtype, z.shape[:-1])


@pytest.mark.parametrize(
    "call",
    [
        lambda one, y: split_soft_gradient(one, v=one, y=y, T=1.0),
        lambda one, y: dark_knowledge(one, y=y, T=1.0),
        lambda one, y: forget_wrong_classes(one, y=y, T=1.0),
    ],
    ids=["split", "knowledge", "forget"],
)
def test_a_case_of_one_class_has_no_wrong_class(call):
    with pytest.raises(
        ValueError, match=r"must have two classes or more, because one of them is wrong, got shape \(2, 1\)"
    ):
        call(np.zeros((2, 1)), np.array([0, 0]))
    with pytest.raises(ValueError, match="y must"):
        call(np.zeros((2, 3)), np.array([0, 3]))
