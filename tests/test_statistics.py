"""The statistics behind the paper's verdicts."""

import mpmath
import numpy as np
import pytest

from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, as_good, effect
from minikd.theory import statistics
from minikd.theory.statistics import (
    DRAWS,
    Interval,
    bootstrap,
    holm,
    mean_interval,
    paired,
    prediction,
    share,
    sign_flip_p,
)


def below(t, freedom):
    """The share of Student's t below t, by the incomplete beta function."""
    x = freedom / (freedom + t**2)
    return 1 - mpmath.betainc(freedom / 2, 0.5, 0, x, regularized=True) / 2


def test_the_quantiles_are_those_of_students_t():
    for freedom, t in enumerate(statistics._T_975, start=1):
        assert float(below(t, freedom)) == pytest.approx(0.975, abs=5e-6)


def test_the_intervals_hold_the_next_run_and_the_mean_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    runs, more = rng.normal(100, 6, (4000, 5)), rng.normal(100, 6, 4000)
    inside = [one.low <= x <= one.high for one, x in zip(map(prediction, runs), more, strict=True)]
    assert 0.94 < np.mean(inside) < 0.96
    assert 0.94 < np.mean([one.low <= 100 <= one.high for one in map(mean_interval, runs)]) < 0.96


def test_one_run_decides_nothing():
    assert prediction([50]) == (50, -np.inf, np.inf)
    assert not as_good([50], 67)
    assert effect(mean_interval([50.0])) == NOT


def test_an_effect_needs_its_whole_interval():
    assert effect(Interval(0.9, 0.81, 0.99), 0.8) == REPRODUCED
    assert effect(Interval(0.9, 0.79, 0.99), 0.8) == DIRECTION
    assert effect(Interval(0.9, -0.01, 2.0), 0.8) == NOT
    assert effect(None) == NOT


def test_the_sign_flip_test_is_uniform_under_no_effect_and_small_under_one():
    rng = np.random.default_rng(0)
    p = [sign_flip_p(rng.standard_normal(8)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09
    assert sign_flip_p(rng.standard_normal(10) + 3) == 2 / 2**10


def test_holms_correction_keeps_the_chance_of_any_false_alarm():
    rng = np.random.default_rng(0)
    alarms = [min(holm(rng.random(7))) < 0.05 for _ in range(2000)]
    assert 0.03 < np.mean(alarms) < 0.06
    assert holm([0.001, 0.9]) == [0.002, 0.9]


def test_the_bootstrap_spreads_as_networks_and_cases_do():
    rng = np.random.default_rng(1)
    cases = 400
    hard = rng.random(cases) < 0.2  # of other cases: √(0.2 · 0.8 / 400)
    alike = bootstrap([np.tile(hard, (5, 1))], np.ones(cases))
    assert alike.shape == (DRAWS, 1)
    assert alike.std() == pytest.approx(100 * hard.std() / 20, rel=0.05)
    shares = np.array([0.1, 0.2, 0.3, 0.4, 0.5])  # of other networks: s / √5, with n − 1 in s
    every = bootstrap([np.repeat(shares[:, None], cases, axis=1)], np.ones(cases))
    assert every.std() == pytest.approx(100 * shares.std(ddof=1) / np.sqrt(5), rel=0.05)
    single = bootstrap([np.full((1, cases), 0.5)], np.ones(cases))
    np.testing.assert_allclose(single, 50)


def test_cases_of_one_cluster_are_drawn_together():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(50), 10)
    hard = (rng.random(50) < 0.3)[clusters]
    one_by_one, together = (bootstrap([hard[None]], np.ones(500), of).std() for of in (None, clusters))
    assert together == pytest.approx(np.sqrt(10) * one_by_one, rel=0.1)


def test_pairs_of_networks_are_drawn_together():
    level = np.array([0.1, 0.3, 0.5, 0.7, 0.9])[:, None] * np.ones((5, 20))
    groups, total = [level, level + 0.05], np.ones(20)
    pairs, alone = (np.diff(bootstrap(groups, total, paired=of), axis=1) for of in ((0, 1), ()))
    np.testing.assert_allclose(pairs, 5)
    assert alone.std() > 10


def test_a_share_of_a_gain_that_may_be_chance_is_none():
    draws = np.random.default_rng(0).standard_normal(DRAWS)
    assert share(5.0, -1.0, draws, draws - 1) is None
    assert share(5.0, 1.0, draws, draws + 1) is None
    kept = share(8.0, 10.0, 8 + draws, 10 + draws)
    assert kept.low < 0.8 == kept.value < kept.high < 1.0


@pytest.mark.parametrize(("only", "N"), [((0.002, 0.004), 300), ((0.01, 0.03), 500), ((0.1, 0.05), 100)])
def test_the_interval_of_a_pair_holds_the_true_difference_in_95_of_100_test_sets(only, N):
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(N, [*only, 1 - sum(only)], size=2000)
    found = [paired(int(a), int(b), N) for a, b, _ in drawn]
    inside = np.mean([one.low <= N * (only[1] - only[0]) <= one.high for one in found])
    assert 0.94 < inside <= 1
    assert [one.value for one in found] == [int(b - a) for a, b, _ in drawn]


def test_two_alike_networks_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    for each in (0.002, 0.01, 0.1):
        drawn = rng.multinomial(500, [each, each, 1 - 2 * each], size=2000)
        found = [paired(int(a), int(b), 500) for a, b, _ in drawn]
        assert np.mean([one.low > 0 or one.high < 0 for one in found]) < 0.06
