"""How E6 and E9 are judged: gradients that fall as 1/T², that differ less between cases, and that take higher rates."""

import json

import numpy as np
import pytest

from minikd.paper import figures
from minikd.paper.lab.jobs import Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Name
from minikd.paper.rows import ROWS, gradients
from minikd.paper.tasks.networks import GRADIENT_TEMPERATURES

EPOCHS = (0, 1, 10)


def one(epoch, hard=100.0, soft=50.0, exponent=2.0, at_4=1.0):
    """What a network shows at a moment: hard and soft noise (None has no upper bound), and how soft gradients fall."""
    sizes = [T**-exponent * (at_4 if T == 4.0 else 1.0) for T in GRADIENT_TEMPERATURES]
    return {
        "epoch": epoch,
        "hard": {"size": 0.5, "noise": hard, "noise_at_least": hard or 900.0},
        "soft": [{"size": size, "noise": soft, "noise_at_least": soft or 900.0} for size in sizes],
        "identity": {"hard": 0.5, "soft": 0.375, "expected": 0.125},
    }


def networks(*seeds):
    """Results of networks, each given by what it shows at every moment."""
    return {
        Name("gradients", seed=seed): Result({"moments": [one(epoch, **shown) for epoch in EPOCHS]}, {})
        for seed, shown in enumerate(seeds)
    }


# ---- E6: the law, and the balance ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ([{"exponent": e} for e in (1.99, 2.0, 2.01)], REPRODUCED),
        ([{"at_4": a} for a in (2.9, 3.0, 3.1)], DIRECTION),
        ([{"at_4": a} for a in (1.5, 1.9, 2.3)], DIRECTION),  # a mean of 1.9, but an interval beyond 2
        ([{"exponent": 1.0}] * 3, NOT),
        ([{"exponent": e} for e in (1.81, 2.0, 2.19)], NOT),  # a mean of 2, and an interval beyond ± 0.2
    ],
)
def test_gradients_must_fall_as_the_square_of_T_and_be_balanced_over_all_seeds(seeds, verdict):
    outcome = ROWS["E6"].judge("cpu", networks(*seeds))
    assert (outcome.verdict, outcome.seeds) == (verdict, 3)


def test_the_worst_moment_decides():
    results = networks({}, {}, {})
    for result in results.values():
        result.record["moments"][1] = one(1, exponent=1.5)
    outcome = ROWS["E6"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.interval.startswith("slope [-1.50, -1.50]")


def test_one_network_decides_nothing():
    assert ROWS["E6"].judge("cpu", networks({})).verdict == NOT


# ---- E9: the variance, and the rates ---------------------------------------------------------------------------------


def trained(rates, tried=(0.1, 0.2, 0.4)):
    """Results of runs at rates, of which those up to a kind's end well."""
    return {
        Name(kind, rate, seed): Result({"errors": 100 + seed if rate <= highest else None}, {})
        for kind, highest in zip(gradients.KINDS, rates, strict=True)
        for rate in tried
        for seed in range(2)
    }


def judged(moments, rates=(0.1, 0.2, 0.2)):
    """Judge three networks that are as `one` says at each moment; numbers are varied a little by the seed."""
    results = trained(rates)
    for seed in range(3):
        record = {"moments": [one(epoch, **shown[seed]) for epoch, shown in zip(EPOCHS, moments, strict=True)]}
        results[Name("gradients", seed=seed)] = Result(record, {})
    return ROWS["E9"].judge("cpu", results)


LESS = [{"soft": 40.0}, {"soft": 50.0}, {"soft": 60.0}]
MORE = [{"soft": 140.0}, {"soft": 150.0}, {"soft": 160.0}]
UNSURE = [{"soft": 10.0}, {"soft": 20.0}, {"soft": 120.0}]  # less on average
HARD_WITHOUT_END = [{"hard": None, "soft": soft} for soft in (600.0, 650.0, 700.0)]
HARD_WITHOUT_END_AND_SOFT_NEAR = [{"hard": None, "soft": soft} for soft in (800.0, 1000.0, 1200.0)]
SOFT_WITHOUT_END = [{"soft": None}, *LESS[1:]]


@pytest.mark.parametrize(
    ("moments", "rates", "verdict"),
    [
        ((LESS, LESS, LESS), (0.1, 0.2, 0.2), REPRODUCED),
        ((LESS, LESS, HARD_WITHOUT_END), (0.1, 0.2, 0.2), REPRODUCED),
        ((MORE, LESS, LESS), (0.1, 0.2, 0.2), DIRECTION),
        ((LESS, LESS, LESS), (0.1, 0.1, 0.2), DIRECTION),  # no higher than hard ones
        ((LESS, LESS, LESS), (0.0, 0.0, 0.0), DIRECTION),
        ((LESS, MORE, LESS), (0.1, 0.2, 0.2), NOT),
        ((LESS, LESS, UNSURE), (0.1, 0.2, 0.2), NOT),
        ((LESS, LESS, SOFT_WITHOUT_END), (0.1, 0.2, 0.2), NOT),
        ((LESS, LESS, HARD_WITHOUT_END_AND_SOFT_NEAR), (0.1, 0.2, 0.2), NOT),
    ],
)
def test_soft_targets_must_be_quieter_over_all_seeds_and_faster(moments, rates, verdict):
    outcome = judged(moments, rates)
    assert (outcome.verdict, outcome.seeds) == (verdict, 3)
    assert list(outcome.numbers["highest"].values()) == list(rates)
    json.dumps(outcome.numbers, allow_nan=False)


def test_the_interval_is_of_the_weakest_of_the_trained_networks():
    outcome = judged((MORE, HARD_WITHOUT_END, LESS))
    low, high = outcome.interval.removeprefix("hard ÷ soft variance, T = 4 after epoch 1: [").rstrip("]").split(", ")
    assert 1 < float(low) < 900 / 650 < float(high)


def test_no_rate_is_said_in_words_and_rates_are_compared_at_equal_size_of_the_gradient():
    outcome = judged((LESS, LESS, LESS), (0.4, 0.1, 0.0))
    assert "highest rate: 0.4 (hard), 0.1 (soft, T = 4), none (soft, T = 20)" in outcome.ours
    assert "none means that no rate tried" in outcome.why
    assert outcome.numbers["steps"] == pytest.approx({"hard": 0.4 * 0.5, "soft, T = 4": 0.1, "soft, T = 20": 0.0})
    assert outcome.numbers["table"]["rows"][-3:] == [
        ["highest rate", "0.4", "0.1", "none"],
        ["mean size of the gradient of a case, fresh network, soft × T²", "0.5", "1", "1"],
        ["highest rate × size", "0.2", "0.1", "none"],
    ]


def test_both_sides_of_the_law_of_total_variance_are_shown():
    outcome = judged((LESS, LESS, LESS))
    assert outcome.numbers["identity"] == [{"epoch": epoch, "more": [0.125] * 3, "expected": 0.125} for epoch in EPOCHS]
    assert "0.1250 more variance, 1 − ‖p‖²: 0.1250" in outcome.ours


def test_a_rate_is_tolerated_if_every_seed_ends_well():
    counts = {0.1: [100, 104], 0.2: [100, 100], 0.4: [120, 110], 0.8: [90, 300], 1.6: [None, 100]}
    assert gradients.tolerated(counts) == 0.4
    assert gradients.tolerated({0.1: [None]}) == 0.0


# ---- what the page makes of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [LESS, HARD_WITHOUT_END, SOFT_WITHOUT_END])
def test_the_tables_and_the_figure_show_every_moment(last):
    noises = judged((MORE, LESS, last)).numbers
    sizes = ROWS["E6"].judge("cpu", networks(*LESS)).numbers
    for numbers in (noises, sizes):
        head, rows = numbers["table"]["head"], numbers["table"]["rows"]
        assert all(isinstance(cell, str) for row in [head, *rows] for cell in row)
        assert {len(row) for row in rows} == {len(head)}
        assert all(any(when in row[0] for row in rows) for when in ("fresh network", "after epoch 1", "after epoch 10"))
    panels = figures.gradients({"E6": noises}).axes
    assert len(panels[0].containers) == 3
    drawn = [container.lines[0].get_ydata() for container in panels[1].containers]
    np.testing.assert_allclose(drawn[0], (1.4 * 1.5 * 1.6) ** (1 / 3))
    assert all(len(line) == len(GRADIENT_TEMPERATURES) for line in drawn[:2])
