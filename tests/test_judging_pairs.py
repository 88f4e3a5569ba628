"""How P4 to P6 are judged: closed forms that are reached, specialists that help, and help more where they are more."""

import json

import pytest

from minikd.paper import figures
from minikd.paper.lab.jobs import Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Name
from minikd.paper.rows import ROWS


@pytest.mark.parametrize(
    ("apart", "verdict"),
    [
        ([0.1, 0.005], REPRODUCED),
        ([0.1, 0.02], NOT),  # too far off
        ([0.008, 0.005], NOT),  # the descent hardly moves
    ],
)
def test_closed_forms_are_reached_or_not(apart, verdict):
    results = {Name("closed forms"): Result({"arithmetic": [0.1, 0.001], "geometric": apart}, {})}
    outcome = ROWS["P4"].judge("cpu", results)
    assert (outcome.verdict, outcome.interval, outcome.seeds) == (verdict, "", 1)
    assert outcome.ours.startswith("largest difference of a probability: 0.001 from the arithmetic mean, ")


# ---- P5: accuracy, of specialists and of all together ----------------------------------------------------------------


def answered(overall, conditional):
    """Results of generalists with 100 errors of 1,000 pairs, and 450 of 500 right among the classes of specialists.

    Args:
        overall: by how many errors fewer the combination makes, one number per generalist.
        conditional: how many more of the 500 the specialists get right.
    """
    return {
        Name("answers", seed=seed): Result(
            {"before": 100, "after": 100 - fewer, "conditional": [500, 450, 450 + more], "tested": 1000}, {}
        )
        for seed, (fewer, more) in enumerate(zip(overall, conditional, strict=True))
    }


@pytest.mark.parametrize(
    ("overall", "conditional", "verdict"),
    [
        ([18, 20, 22], [9, 10, 11], REPRODUCED),
        ([18, 20, 22], [1, 10, 19], DIRECTION),  # among their classes the gain may be chance
        ([18, 20, 22], [-9, -10, -11], DIRECTION),
        ([1, 20, 39], [9, 10, 11], NOT),  # overall, it may be
        ([-18, -20, -22], [9, 10, 11], NOT),
        ([20], [10], NOT),  # one generalist decides nothing
    ],
)
def test_specialists_must_help_among_their_classes_and_overall(overall, conditional, verdict):
    outcome = ROWS["P5"].judge("cpu", answered(overall, conditional))
    assert (outcome.verdict, outcome.seeds) == (verdict, len(overall))


def test_accuracies_are_compared_generalist_by_generalist():
    outcome = ROWS["P5"].judge("cpu", answered([18, 20, 22], [9, 10, 11]))
    assert outcome.ours == "conditional 90.00 ± 0.00 → 92.00 ± 0.20 %, overall 90.00 ± 0.00 → 92.00 ± 0.20 %"
    assert outcome.interval == "the overall gain: [+1.50, +2.50] points"
    assert outcome.numbers["gains"]["conditional"] == pytest.approx([2.0, 1.503, 2.497], abs=1e-3)


# ---- P6: the gain by the number of specialists -----------------------------------------------------------------------


def covered(*groups):
    return {Name("answers", seed=i): Result({"covered": counts}, {}) for i, counts in enumerate(groups)}


def rising(*slopes):
    """Results whose relative gain rises by this many per cent from none to one specialist, one number per seed."""
    return covered(*({"0": [200, 100, 100], "1": [200, 100, 100 - slope]} for slope in slopes))


@pytest.mark.parametrize(
    ("slopes", "verdict"),
    [
        ((4, 5, 6), REPRODUCED),
        ((0, 5, 10), NOT),  # positive on average, which may be chance
        ((0, 0, 0), NOT),
        ((-4, -5, -6), NOT),
        ((5,), NOT),
    ],
)
def test_the_gain_must_grow_with_the_number_of_specialists_over_all_seeds(slopes, verdict):
    outcome = ROWS["P6"].judge("cpu", rising(*slopes))
    assert (outcome.verdict, outcome.seeds) == (verdict, len(slopes))
    assert outcome.numbers["slopes"] == pytest.approx(list(slopes))


def test_a_slope_is_weighted_by_the_cases_of_its_seed():
    counts = {"0": [100, 50, 50], "1": [10_000, 5000, 4500], "2": [1, 0, 1]}  # gains of 0, 10 and −100 %
    outcome = ROWS["P6"].judge("cpu", covered(counts, counts))
    assert outcome.ours == "+8.79 points per further specialist"


def test_the_gains_are_shown_over_all_seeds_and_need_cases_that_were_right_before():
    """With none right before, 30 cases put right would be a gain of 3,000 %."""
    one = {"0": [100, 50, 50], "1": [1000, 500, 400], "2": [50, 50, 20]}
    outcome = ROWS["P6"].judge("cpu", covered(one, {**one, "3": [10, 5, 4]}))
    assert outcome.numbers["table"] == {
        "head": ["specialists for the class", "cases, all seeds", "relative gain in accuracy"],
        "rows": [
            ["0", "200", "+0.00 %"],
            ["1", "2,000", "+20.00 %"],
            ["2", "100", "none was right"],
            ["3", "10", "+20.00 %"],
        ],
    }
    assert outcome.numbers["covered"]["1"] == [2000, 1000, 800]
    assert len(figures.specialists({"P6": outcome.numbers}).axes[0].texts) == 3
    json.dumps(outcome.numbers, allow_nan=False)


@pytest.mark.parametrize("groups", [{"1": [100, 50, 40]}, {"1": [100, 50, 40], "2": [50, 50, 20]}])
def test_one_number_of_specialists_has_no_slope(groups):
    outcome = ROWS["P6"].judge("cpu", covered(groups, groups))
    assert (outcome.verdict, outcome.seeds) == (NOT, 0)
    assert "there is no slope" in outcome.why


def test_a_seed_without_a_slope_is_left_out_and_said():
    results = rising(4, 5, 6) | {Name("answers", seed=3): Result({"covered": {"1": [100, 50, 40]}}, {})}
    outcome = ROWS["P6"].judge("cpu", results)
    assert (outcome.verdict, outcome.seeds) == (REPRODUCED, 3)
    assert outcome.why.endswith("1 of 4 seeds have none")
