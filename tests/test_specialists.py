"""P3 and P4: the dustbin's correction, and one answer from a generalist and its specialists."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, complex_step, naive_softmax, purely, relative_error
from strategies import logits

from minikd.theory.specialists import (
    Specialist,
    answer,
    combine,
    dustbin_correction,
    reverse_specialist_cost,
    specialist_cost,
)


@st.composite
def committees(draw, specialists=3, full=False, size=8.0):
    """(z, generalist, specialists): an answer's logits, and the models' for the same cases."""
    N, K = draw(st.integers(1, 3)), draw(st.integers(2, 6))
    committee = []
    for _ in range(draw(st.integers(0, specialists))):
        order = draw(st.permutations(range(K)))
        k = K if full else draw(st.integers(1, K))
        committee.append(Specialist(order[:k], draw(logits((N, k + (k < K)), size))))
    return draw(logits((N, K), size)), draw(logits((N, K), size)), committee


def seen(q, classes):
    """What a model sees of one case's q: its classes in its order, and all others in one sum."""
    others = [q[k] for k in range(len(q)) if k not in classes]
    return [q[k] for k in classes] + ([sum(others)] if others else [])


def naive_cost(z, generalist, specialists, reverse=False):
    """The textbook's, summed over the cases, so that `complex_step` gives every case's gradient at once."""
    cost = 0.0
    for n in range(len(z)):
        q = naive_softmax(z[n])
        for classes, own in [(range(len(q)), generalist), *specialists]:
            for p_i, q_i in zip(naive_softmax(own[n]), seen(q, classes), strict=True):
                cost = cost + (q_i * np.log(q_i / p_i) if reverse else p_i * np.log(p_i / q_i))
    return cost


COSTS = pytest.mark.parametrize(
    ("cost", "reverse"),
    [(specialist_cost, False), (reverse_specialist_cost, True)],
    ids=["KL(p‖q)", "KL(q‖p)"],
)


def example(N=2, K=6, seed=0):
    """Specialists that overlap, and leave class 5 to the generalist."""
    rng = np.random.default_rng(seed)
    committee = [Specialist(classes, 2 * rng.standard_normal((N, 3))) for classes in ([0, 1], [3, 1], [4, 2])]
    return 2 * rng.standard_normal((N, K)), 2 * rng.standard_normal((N, K)), committee


# ---- the dustbin -----------------------------------------------------------------------------------------------------


@pytest.mark.derivation("D10.1")
@pytest.mark.parametrize("sampled", [0.2, 0.5, 0.9])
def test_the_correction_turns_the_training_shares_into_the_true_ones(sampled):
    """Four classes with known densities over five things to see; the last two are the dustbin."""
    density = np.random.default_rng(0).dirichlet(np.ones(5), size=4)
    within, share = np.array([0.3, 0.7, 0.6, 0.4]), 0.1

    def specialist(part):
        joint = (within * [part, part, 1 - part, 1 - part])[:, None] * density
        return np.log([joint[0], joint[1], joint[2] + joint[3]]).T  # (5, 3)

    corrected = dustbin_correction(specialist(sampled), share=share, sampled=sampled)
    np.testing.assert_allclose(naive_softmax(corrected), naive_softmax(specialist(share)), rtol=32 * EPS)


def test_the_correction_is_nothing_where_the_sampling_was_fair():
    z = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    fair = dustbin_correction(z, share=0.3, sampled=0.3)
    np.testing.assert_array_equal(fair, z, strict=True)
    oversampled = dustbin_correction(z, share=0.1)  # half, where a tenth would be fair: 5 times, the rest 5/9 times
    np.testing.assert_allclose(oversampled - z, np.broadcast_to([0, 0, 0, math.log(9)], z.shape), rtol=1e-6)


# ---- the costs -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@COSTS
@pytest.mark.derivation("D10.2", "D10.5", "D10.10")
@given(drawn=committees())
def test_each_case_costs_its_divergences_from_all_models(cost, reverse, drawn):
    z, generalist, specialists = drawn
    C, _ = cost(z, generalist=generalist, specialists=specialists)
    assert C.shape == (len(z),)
    for n in range(len(z)):
        one = [Specialist(classes, own[[n]]) for classes, own in specialists]
        # terms of up to 16 nats for each class of each model
        assert C[n] == pytest.approx(naive_cost(z[[n]], generalist[[n]], one, reverse), abs=1e-12)


@pytest.mark.slow
@COSTS
@pytest.mark.derivation("D10.3", "D10.4", "D10.10")
@given(drawn=committees())
def test_the_gradient_by_hand_is_the_complex_steps(cost, reverse, drawn):
    z, generalist, specialists = drawn
    _, dz = cost(z, generalist=generalist, specialists=specialists)
    expected = complex_step(lambda z: naive_cost(z, generalist, specialists, reverse), z)
    assert np.abs(dz - expected).max() <= 1e-12  # differences of numbers of at most 1, or 16 nats reversed
    assert np.abs(dz.sum(axis=-1)).max() <= 1e-12


@COSTS
def test_the_gradient_of_an_ordinary_case_is_right_to_all_digits(cost, reverse):
    z, generalist, specialists = example()
    _, dz = cost(z, generalist=generalist, specialists=specialists)
    expected = complex_step(lambda z: naive_cost(z, generalist, specialists, reverse), z)
    assert relative_error(dz, expected) < 1e-14


def test_the_dustbin_is_spread_in_proportion_to_the_answer():
    """One specialist, by hand: 0.6 of its mass on classes whose shares of q are 2 to 1."""
    q, g = np.array([[0.4, 0.4, 0.2]]), np.array([[0.2, 0.3, 0.5]])
    _, dz = specialist_cost(np.log(q), generalist=np.log(g), specialists=[Specialist([0], np.log([[0.4, 0.6]]))])
    np.testing.assert_allclose(dz, 2 * q - g - [[0.4, 0.4, 0.2]], rtol=0, atol=4 * EPS)


@COSTS
def test_an_answer_that_all_models_agree_with_costs_nothing(cost, reverse):
    z, _, specialists = example()
    agreeing = [Specialist(classes, np.log([seen(q, classes) for q in naive_softmax(z)])) for classes, _ in specialists]
    C, dz = cost(z, generalist=z + 7, specialists=agreeing)
    assert np.abs(C).max() < 1e-14
    assert np.abs(dz).max() < 1e-14


# ---- the answer ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D10.7")
@given(drawn=committees())
def test_the_cost_lies_above_every_tangent_in_q(drawn):
    """So where the gradient vanishes nothing is lower."""
    z, other, specialists = drawn
    generalist = (z + other) / 2
    (C, dz), (C_other, _) = (specialist_cost(one, generalist=generalist, specialists=specialists) for one in (z, other))
    q, q_other = naive_softmax(z), naive_softmax(other)
    tangent = C + np.sum(dz / q * (q_other - q), axis=-1)
    assert np.all(tangent <= C_other + 64 * EPS * (1 + len(specialists)) * (1 / q).max(axis=-1))  # dz/q magnifies EPS


@pytest.mark.slow
def test_no_other_answer_that_we_try_costs_less():
    _, generalist, specialists = example()
    models = {"generalist": generalist, "specialists": specialists}
    best = combine(**models)
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1, 1.0, 10.0):
        other = best + size * rng.standard_normal((100, *best.shape))
        least = specialist_cost(best, **models)[0]
        assert all(np.all(specialist_cost(z, **models)[0] > least + 1e-3 * min(size, 1) ** 2) for z in other)


@COSTS
@pytest.mark.derivation("D10.8", "D10.11")
def test_no_pass_raises_the_cost(cost, reverse):
    _, generalist, specialists = example(N=20)
    costs = [cost(generalist, generalist=generalist, specialists=specialists)[0]]
    for tolerance in np.geomspace(1, 1e-9, 10):
        z = combine(generalist, specialists, reverse=reverse, tolerance=tolerance)
        costs.append(cost(z, generalist=generalist, specialists=specialists)[0])
    assert np.all(np.diff(costs, axis=0) <= 1e-14)
    assert np.all(costs[-1] < costs[0] - 0.01)


@COSTS
@pytest.mark.derivation("D10.8", "D10.11")
def test_at_the_answer_q_is_the_mean_of_the_models_with_their_dustbins_spread(cost, reverse):
    _, generalist, specialists = example()
    q = naive_softmax(combine(generalist, specialists, reverse=reverse, tolerance=1e-13))
    spreads = [naive_softmax(generalist)]
    for classes, own in specialists:
        p, others = naive_softmax(own), [k for k in range(6) if k not in classes]
        spread = np.zeros_like(q)
        spread[:, classes] = p[:, :-1]
        spread[:, others] = p[:, -1:] * q[:, others] / q[:, others].sum(axis=-1, keepdims=True)
        spreads.append(spread)
    mean = np.prod(spreads, axis=0) ** (1 / 4) if reverse else sum(spreads) / 4
    np.testing.assert_allclose(q, mean / mean.sum(axis=-1, keepdims=True), rtol=0, atol=1e-11)


@pytest.mark.slow
@pytest.mark.derivation("D10.8")
@given(drawn=committees())
def test_the_combined_answer_has_a_vanishing_gradient(drawn):
    _, generalist, specialists = drawn
    z = combine(generalist, specialists, tolerance=1e-5, passes=100_000)  # where models clash, descent creeps
    np.testing.assert_allclose(np.exp(z).sum(axis=-1), 1, rtol=1e-14)
    gradient = complex_step(lambda z: naive_cost(z, generalist, specialists), z)
    assert np.linalg.norm(gradient, axis=-1).max() <= 1.001e-5


@pytest.mark.slow
@pytest.mark.derivation("D10.6", "D10.7")
def test_descent_on_the_logits_at_the_safe_rate_never_climbs_and_arrives_at_the_same_answer():
    z, generalist, specialists = example()
    rate = 2 / (1 + len(specialists))
    C, dz = specialist_cost(z, generalist=generalist, specialists=specialists)
    for _ in range(3000):
        z = z - rate * dz
        before, fall = C, np.sum(dz * dz, axis=-1) / (1 + len(specialists))
        C, dz = specialist_cost(z, generalist=generalist, specialists=specialists)
        assert np.all(before - C >= fall - 1e-14)
    assert np.abs(dz).max() < 1e-9
    best = naive_softmax(combine(generalist, specialists, tolerance=1e-12))
    np.testing.assert_allclose(naive_softmax(z), best, rtol=0, atol=1e-7)


@pytest.mark.slow
@pytest.mark.derivation("D10.9")
@given(drawn=committees(full=True))
def test_under_full_coverage_the_answer_is_the_arithmetic_mean(drawn):
    _, generalist, specialists = drawn
    models = [naive_softmax(generalist)] + [in_order(classes, own) for classes, own in specialists]
    got = naive_softmax(combine(generalist, specialists, passes=1, tolerance=1e-12))
    np.testing.assert_allclose(got, sum(models) / len(models), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.derivation("D10.11")
@given(drawn=committees(full=True))
def test_under_full_coverage_the_other_direction_gives_the_geometric_mean(drawn):
    _, generalist, specialists = drawn
    models = [naive_softmax(generalist)] + [in_order(classes, own) for classes, own in specialists]
    product = np.prod(models, axis=0) ** (1 / len(models))
    got = naive_softmax(combine(generalist, specialists, reverse=True, passes=1, tolerance=1e-12))
    np.testing.assert_allclose(got, product / product.sum(axis=-1, keepdims=True), rtol=1e-12)


def in_order(classes, own):
    """The probabilities of a specialist for all classes, class 0 first."""
    return naive_softmax(own)[:, np.argsort(classes)]


@pytest.mark.derivation("D10.9")
@pytest.mark.parametrize("reverse", [False, True])
def test_one_specialist_takes_one_pass_and_none_takes_no_pass(reverse):
    _, generalist, specialists = example()
    combine(generalist, specialists[:1], reverse=reverse, passes=1, tolerance=1e-14)
    with pytest.raises(ArithmeticError):
        combine(generalist, specialists, reverse=reverse, passes=1, tolerance=1e-14)
    alone = combine(generalist, [], reverse=reverse)
    np.testing.assert_allclose(naive_softmax(alone), naive_softmax(generalist), rtol=8 * EPS)


@pytest.mark.parametrize("reverse", [False, True])
def test_renaming_the_classes_renames_the_answer(reverse):
    _, generalist, specialists = example()
    order = np.random.default_rng(1).permutation(6)
    renamed = [Specialist(np.argsort(order)[list(classes)], own) for classes, own in specialists]
    z, again = (
        combine(g, models, reverse=reverse)
        for g, models in ((generalist, specialists), (generalist[:, order], renamed))
    )
    np.testing.assert_allclose(again, z[:, order], rtol=0, atol=1e-13)
    assert relative_error(again, z) > 0.1


@pytest.mark.parametrize("reverse", [False, True])
def test_cases_do_not_know_of_each_other(reverse):
    _, generalist, specialists = example()
    together = combine(generalist, specialists, reverse=reverse)
    for n in range(2):
        alone = combine(generalist[[n]], [Specialist(c, own[[n]]) for c, own in specialists], reverse=reverse)
        np.testing.assert_allclose(alone[0], together[n], rtol=0, atol=1e-7)  # it may stop some passes earlier


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype):
    generalist = np.array([[1e30, 0.0, -1e30], [0.0, 0.0, 0.0]], dtype)
    specialists = [Specialist([2], np.array([[1e30, -1e30], [-1e30, 1e30]], dtype)), Specialist([0, 2], generalist)]
    for z in (generalist, -generalist, np.zeros_like(generalist)):
        for cost in (specialist_cost, reverse_specialist_cost):
            C, dz = cost(z, generalist=generalist, specialists=specialists)
            assert C.dtype == dz.dtype == np.float64
            assert np.isfinite(C).all()
            assert np.isfinite(dz).all()
    z = combine(generalist, specialists[:1])
    np.testing.assert_allclose(naive_softmax(z), [[0.5, 0, 0.5], [5 / 12, 5 / 12, 1 / 6]], rtol=1e-14)


# ---- who is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_only_specialists_for_the_generalists_favourite_are_asked(reverse):
    generalist = 3 * np.eye(6)[[0, 1, 5, 3]]  # the favourites
    _, _, specialists = example(N=4)
    z = answer(generalist, specialists, reverse=reverse)
    for n, asked in enumerate([[0], [0, 1], [], [1]]):  # their classes are {0, 1}, {3, 1} and {4, 2}
        committee = [Specialist(specialists[m].classes, specialists[m].z[[n]]) for m in asked]
        np.testing.assert_allclose(z[[n]], combine(generalist[[n]], committee, reverse=reverse), rtol=0, atol=1e-7)
    assert np.abs(z[0] - z[1][[1, 0, 2, 3, 4, 5]]).max() > 0.1


# ---- purity and errors -----------------------------------------------------------------------------------------------


def test_nothing_is_written_into():
    z, generalist, specialists = example()
    purely(specialist_cost, z, generalist=generalist, specialists=specialists)
    purely(reverse_specialist_cost, z, generalist=generalist, specialists=specialists)
    purely(combine, generalist, specialists)
    purely(answer, generalist, specialists)
    purely(dustbin_correction, z, share=0.1)


def test_a_descent_that_does_not_arrive_says_so():
    _, generalist, specialists = example()
    message = (
        r"after 2 passes the gradient of 2 of 2 cases is above 1e-09, at worst 0\.\d+: allow more passes or a larger"
    )
    with pytest.raises(ArithmeticError, match=message):
        combine(generalist, specialists, passes=2)


def test_an_answer_may_take_more_passes():
    _, generalist, specialists = example()
    generalist[:, min(set(specialists[0].classes) & set(specialists[1].classes))] += 9  # so both specialists are asked
    with pytest.raises(ArithmeticError, match="allow more passes"):
        answer(generalist, specialists, passes=2)
    asked = combine(generalist, specialists[:2])  # the third is for other classes
    np.testing.assert_array_equal(answer(generalist, specialists, passes=9_999), asked)


@pytest.mark.parametrize("options", [{"tolerance": 0.0}, {"tolerance": math.nan}, {"tolerance": math.inf}])
def test_a_descent_without_end_is_refused(options):
    for ask in (combine, answer):
        with pytest.raises(ValueError, match=f"tolerance must be a finite number > 0, got {options['tolerance']}"):
            ask(np.zeros((2, 3)), [], **options)


def test_a_descent_without_beginning_is_refused():
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        combine(np.zeros((2, 3)), [], passes=0)


@pytest.mark.parametrize("name", ["share", "sampled"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, math.nan])
def test_shares_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=re.escape(f"{name} must be a share in (0, 1), got {value}")):
        dustbin_correction(np.zeros((2, 3)), **{"share": 0.1, name: value})


G = np.zeros((2, 4))


def with_specialists(*specialists):
    return [
        lambda: specialist_cost(G, generalist=G, specialists=specialists),
        lambda: reverse_specialist_cost(G, generalist=G, specialists=specialists),
        lambda: combine(G, specialists),
        lambda: answer(G, specialists),
    ]


@pytest.mark.parametrize(("k", "shape"), [(2, (2, 2)), (2, (2, 4)), (2, (3, 3)), (2, (3,)), (4, (2, 5))])
def test_a_specialist_of_another_shape_is_refused(k, shape):
    columns = 4 if k == 4 else k + 1
    message = re.escape(
        f"specialist 1, for {k} of 4 classes, must have z of shape (2, {columns}): one column per class"
    )
    for call in with_specialists(Specialist([0], np.zeros((2, 2))), Specialist(range(k), np.zeros(shape))):
        with pytest.raises(ValueError, match=message):
            call()


def test_classes_and_values_that_cannot_be_are_refused():
    for call in with_specialists(Specialist([0, 4], np.zeros((2, 3)))):
        with pytest.raises(ValueError, match=r"classes must be distinct numbers in 0 … 3, at least one, got \[0, 4\]"):
            call()
    for call in with_specialists(Specialist([0], np.full((2, 2), np.nan))):
        with pytest.raises(ValueError, match="specialist 0's z must be finite, got inf or nan"):
            call()
    for call in with_specialists(Specialist([0], [[0.0, 0.0]])):
        with pytest.raises(TypeError, match="specialist 0's z must be a NumPy array, got list"):
            call()
    for generalist in (np.zeros(4), np.zeros((0, 4)), np.zeros((2, 2, 4))):
        with pytest.raises(ValueError, match=r"generalist must have shape \(N, K\) with N ≥ 1, K ≥ 2, got"):
            combine(generalist, [])
    with pytest.raises(TypeError, match="generalist must be float32 or float64, got int64"):
        combine(np.zeros((2, 4), np.int64), [])
    for wrong in (np.zeros((2, 3)), np.zeros((1, 4))):
        with pytest.raises(
            ValueError, match=re.escape(f"z must have the generalist's shape (2, 4), got {wrong.shape}")
        ):
            specialist_cost(wrong, generalist=G, specialists=[])
