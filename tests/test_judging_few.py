"""How R1 to R3 of MNIST are judged: what soft targets save of what hard ones lose, and whether stopping early helps."""

import json
import math

import numpy as np
import pytest

from minikd.paper.lab.jobs import Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REFERENCE, REPRODUCED, Name
from minikd.paper.rows import ROWS, few

N = 4000


def learnt(kind, at, tests, train=100.0):
    """Results with this accuracy on N test images, per cent, one per seed. All networks find the same images hard."""
    hardest_first = np.random.default_rng(0).permutation(N)
    return {
        Name(kind, at, seed): Result(
            {"examples": 1000, "train_errors": round(10 * (100 - train))},
            {"wrong": hardest_first < round(N * (1 - test / 100))},
        )
        for seed, test in enumerate(tests)
    }


def board(*, everything=(98.0, 98.1, 97.9), hard=(89.5, 90, 90.5), gain=(1.0, 1.2, 0.8), soft=(95,) * 3, train=100):
    stopped = [test + more for test, more in zip(hard, gain, strict=True)]
    return (
        learnt(few.HARD, 1.0, everything)
        | learnt(few.HARD, few.FEW, hard, train)
        | learnt(few.STOPPED, few.FEW, stopped)
        | learnt(few.SOFT, few.FEW, soft)
    )


def judged(row, **changes):
    return ROWS[row].judge("cpu", board(**changes))


@pytest.mark.parametrize("everything", [(98.0, 98.1, 97.9), (10.0, 10.0, 10.0)])
def test_hard_targets_with_all_data_claim_nothing(everything):
    outcome = judged("R1", everything=everything)
    assert outcome.verdict == REFERENCE
    assert "claims nothing" in outcome.why
    assert (outcome.interval, outcome.seeds) == ("", 3)
    assert outcome.numbers[few.HARD]["test"] == pytest.approx(everything)


# ---- R2 --------------------------------------------------------------------------------------------------------------


def test_early_stopping_is_judged_seed_by_seed():
    """The seeds lie 6 points apart, and each of them gains about one."""
    outcome = judged("R2", hard=(87, 90, 93))
    assert outcome.verdict == REPRODUCED
    value, low, high = outcome.numbers["gain"]
    assert value == pytest.approx(1)
    assert 0.5 < low < value < high < 1.5
    assert outcome.interval.startswith(f"gain by early stopping: [+{low:.2f}, +{high:.2f}] points, with other networks")
    assert outcome.seeds == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"gain": (0, 0, 0)},
        {"gain": (-1, -1, -1)},
        {"gain": (2.0, -0.5, -0.5)},  # more on average, by chance
        {"train": 91},  # better than the test set by one point on average, but not for sure
        {"train": 85},
        {"hard": (90,), "gain": (1,)},  # nothing is known about other seeds
    ],
)
def test_hard_targets_must_overfit_and_stopping_must_help_or_the_claim_fails(changes):
    assert judged("R2", **changes).verdict == NOT


# ---- R3 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("soft", "verdict"),
    [
        ((97.7, 97.7, 97.7), REPRODUCED),
        ((95, 95, 95), DIRECTION),
        ((98.5, 98.5, 95.4), DIRECTION),  # the paper's share on average, by chance
        ((91, 91.2, 90.8), NOT),
        ((80, 80, 80), NOT),
    ],
)
def test_soft_targets_are_judged_by_the_interval_of_the_share_that_they_save(soft, verdict):
    outcome = judged("R3", soft=soft)
    assert outcome.verdict == verdict
    value, low, high = outcome.numbers["saved"]
    assert value == pytest.approx((np.mean(soft) - 91) / (98 - 91), abs=0.001)
    assert low <= value <= high
    assert f"soft targets save {value:.0%} of the 7.00 points that hard targets lose; in the paper 87%" in outcome.why
    assert "about another teacher" in outcome.why
    ends = f"[{100 * low:.0f} %, {100 * high:.0f} %]"
    assert outcome.interval == f"saved: {ends}, with other networks and other test images"


def test_a_mean_share_above_the_papers_is_not_enough():
    outcome = judged("R3", soft=(98.5, 98.5, 95.4))
    assert outcome.numbers["saved"][0] > few.SAVED > outcome.numbers["saved"][1]


@pytest.mark.parametrize(
    ("everything", "doubt"),
    [
        ((91, 91, 91), "hard targets lose nothing, so"),
        ((80, 80, 80), "hard targets lose nothing, so"),
        ((91, 91.2, 90.9), "hard targets may lose points only by chance, so"),
    ],
)
def test_no_share_is_saved_where_hard_targets_lose_nothing_for_sure(everything, doubt):
    outcome = judged("R3", everything=everything)
    assert outcome.verdict == NOT
    assert outcome.why.startswith(f"{doubt} there is nothing to save")
    assert outcome.interval.startswith("lost by hard targets: [")
    assert json.loads(json.dumps(outcome.numbers, allow_nan=False))["saved"] is None
    assert outcome.numbers["curve"]


def test_students_of_the_same_data_are_drawn_together():
    """They differ from seed to seed, but what soft targets save is the same for each."""
    apart = judged("R3", hard=(85, 90, 95), soft=(97, 93, 89)).numbers["saved"]
    alike = judged("R3", hard=(85, 90, 95), soft=(89, 93, 97)).numbers["saved"]
    assert apart[0] == pytest.approx(alike[0])
    assert alike[2] - alike[1] < 0.7 * (apart[2] - apart[1])


def test_the_curve_has_every_share_and_kind_and_one_number_per_seed():
    results = board() | learnt(few.SOFT, 0.1, (96,), train=99)
    curve = ROWS["R3"].judge("cpu", results).numbers["curve"]
    assert list(curve) == [few.HARD, few.STOPPED, few.SOFT]
    assert list(curve[few.SOFT]) == ["0.03", "0.1"]
    assert curve[few.SOFT]["0.1"]["train"] == pytest.approx([99])
    assert curve[few.HARD]["1.0"]["test"] == pytest.approx([98.0, 98.1, 97.9])


def test_a_run_on_hard_targets_is_also_what_it_was_when_it_would_have_been_stopped():
    results = board()
    for seed in range(3):
        wrong = {"wrong": results[few.HARD, few.FEW, seed], "stopped.wrong": results.pop((few.STOPPED, few.FEW, seed))}
        arrays = {name: result.arrays["wrong"] for name, result in wrong.items()}
        record = {**wrong["wrong"].record, "stopped": {"train_errors": 5}}
        results[Name(few.HARD, few.FEW, seed)] = Result(record, arrays)
    outcome = ROWS["R2"].judge("cpu", results)
    assert outcome.verdict == REPRODUCED
    assert outcome.numbers[few.STOPPED]["train"] == pytest.approx([99.5] * 3)
    assert outcome.numbers["gain"] == judged("R2").numbers["gain"]


@pytest.mark.parametrize("profile", ["cpu", "full"])
def test_five_seeds_are_where_a_verdict_rests_on_them(profile):
    jobs = ROWS["R3"].jobs(profile)
    seeds = {kind_at: sum(name[:2] == kind_at for name in jobs) for kind_at in {name[:2] for name in jobs}}
    assert {seeds[kind, few.FEW] for kind in (few.HARD, few.SOFT)} | {seeds[few.HARD, 1.0]} == {5}
    assert min(seeds.values()) >= 2
    assert jobs.items() >= {name: jobs[name] for name in ROWS["R2"].jobs(profile)}.items()
    assert math.isclose(few.SAVED, 0.868, abs_tol=0.001)
