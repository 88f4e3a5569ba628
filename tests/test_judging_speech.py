"""How S1 to S4, and R1 to R3 on speech, are judged: by recordings, in frames and words, and by shares of a gain."""

import json

import numpy as np
import pytest

from minikd.paper.lab.jobs import Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REFERENCE, REPRODUCED, Name
from minikd.paper.rows import ROWS, speech
from minikd.paper.rows.few import FEW, STOPPED
from minikd.theory.statistics import DRAWS, bootstrap

RECORDINGS = 200


def system(right, errors, learnt=(100, 70), seed=0, **more):
    """A result with this many right frames of 100, and wrong words of 5, in each recording; more or less, by seed."""
    rng = np.random.default_rng(seed)
    arrays, frames = {}, {}
    for part in ("development", "test", "speaker"):
        own = right + rng.integers(-5, 6, RECORDINGS)
        wrong = rng.random((RECORDINGS, 5)) < errors / 5
        arrays |= {f"{part}.right": own, f"{part}.frames": np.full(RECORDINGS, 100)}
        arrays |= {f"{part}.errors": wrong.sum(axis=1), f"{part}.words": np.full(RECORDINGS, 5)}
        frames[part] = [100 * RECORDINGS, int(own.sum())]
    return Result({"frames": frames, "learnt": list(learnt), **more}, arrays)


def board(single, ensemble, student, errors=(1.0, 0.5, 0.6)):
    """Four members, their ensemble, and its students: frames right of one or, as a list, of each."""
    students = student if isinstance(student, list) else [student] * 3
    named = {Name(speech.HARD, 1.0, i): system(single + i % 2, errors[0]) for i in range(4)}
    named |= {Name("ensemble"): system(ensemble, errors[1]), Name("temperature"): Result({"T": 2.0}, {})}
    return named | {Name("student", seed=i): system(right, errors[2]) for i, right in enumerate(students)}


# ---- S1 to S4 --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ensemble", "student", "errors", "verdicts"),
    [
        (70, 69, (1.0, 0.5, 0.6), (REPRODUCED, REPRODUCED, REPRODUCED)),
        (70, 66, (1.0, 0.5, 0.6), (REPRODUCED, REPRODUCED, DIRECTION)),
        (70, 60, (1.0, 0.5, 1.2), (REPRODUCED, NOT, NOT)),
        (70, 69, (1.0, 0.99, 1.2), (DIRECTION, DIRECTION, REPRODUCED)),  # words are lost, or won by chance
        (62, 62, (1.0, 0.5, 0.6), (NOT, NOT, NOT)),  # only words are gained
    ],
)
def test_systems_are_judged_against_the_members_mean_in_both_measures(ensemble, student, errors, verdicts):
    results = board(62, ensemble, student, errors)
    assert tuple(ROWS[row].judge("cpu", results).verdict for row in ("S2", "S3", "S4")) == verdicts


@pytest.mark.parametrize(("row", "seeds"), [("S2", 4), ("S3", 3)])
def test_a_gain_has_its_interval_in_both_measures(row, seeds):
    outcome = ROWS[row].judge("cpu", board(62, 70, 69))
    gain = outcome.numbers["gain"]
    ends = {}
    for name, (value, low, high) in gain.items():
        assert 0 < low < value < high
        ends[name] = f"[+{low:.2f}, +{high:.2f}] points"
    measures = f"frames right: {ends['frames']} more; words wrong: {ends['words']} less"
    assert outcome.interval == f"{measures}; with other networks and other recordings"
    assert "says nothing about another ensemble" in outcome.why
    assert outcome.seeds == seeds


def test_a_single_network_is_what_others_are_compared_with_and_claims_nothing():
    for results in (board(62, 70, 68, errors=(0.55, 0.5, 0.5)), board(10, 70, 68, errors=(4.0, 0.5, 0.5))):
        baseline = {name: one for name, one in results.items() if name.kind == speech.HARD}
        for row in ("S1", "R1-speech"):
            outcome = ROWS[row].judge("cpu", baseline)
            assert (outcome.verdict, outcome.interval, outcome.seeds) == (REFERENCE, "", 4)
            assert "claims nothing, because the noise was chosen" in outcome.why


def test_the_share_that_is_kept_is_of_the_means_and_its_interval_holds_it():
    outcome = ROWS["S4"].judge("cpu", board(62, 70, 68))
    single, ensemble, student = 62.5, 70.0, 68.0
    assert outcome.numbers["kept"] == pytest.approx((student - single) / (ensemble - single), abs=0.02)
    low, high = outcome.numbers["interval"]
    assert low < outcome.numbers["kept"] < high
    ends = f"[{100 * low:.0f} %, {100 * high:.0f} %]"
    assert outcome.interval == f"kept: {ends}, with other networks and other recordings"
    assert "all students learn from it" in outcome.why


def test_a_share_above_80_per_cent_on_average_is_not_enough():
    outcome = ROWS["S4"].judge("cpu", board(62, 70, [69, 69, 68]))
    assert outcome.numbers["kept"] > 0.8 > outcome.numbers["interval"][0]
    assert outcome.verdict == DIRECTION


@pytest.mark.parametrize(
    ("ensemble", "student", "why"),
    [
        (61, 60, "the ensemble gained nothing, -1.5"),  # a ratio of two negative numbers would be 160 %
        (None, 60, "the ensemble gained nothing, +0.00 points"),  # and one over zero an error
        (63, 63, "the ensemble's gain may be chance, +0.5"),
    ],
)
def test_an_ensemble_without_a_sure_gain_leaves_no_share_to_keep(ensemble, student, why):
    results = board(62, 70 if ensemble is None else ensemble, student)
    if ensemble is None:
        results |= {Name(speech.HARD, 1.0, i): results[Name("ensemble")] for i in range(4)}
    outcome = ROWS["S4"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.why.startswith(why)
    assert "there is no share to keep" in outcome.why
    assert outcome.numbers == {"kept": None, "interval": None, "students": None}
    assert "%" in outcome.ours
    assert outcome.interval.startswith("the ensemble's gain: [")


def test_the_interval_of_a_share_is_finite_where_a_few_draws_gain_nothing(monkeypatch):
    draws = np.tile([60.0, 62.0, 61.5], (DRAWS, 1))
    draws[:200, 1] = np.linspace(58, 60, 200)  # 2 % of the draws: their ratios have the wrong sign, or are huge
    monkeypatch.setattr(speech, "bootstrap", lambda counts, total: draws)
    outcome = ROWS["S4"].judge("cpu", board(62, 70, 68))
    assert outcome.numbers["interval"] == [0.75, 0.75]
    draws[:300, 1] = 59.0
    assert ROWS["S4"].judge("cpu", board(62, 70, 68)).verdict == NOT


# ---- R2 and R3 -------------------------------------------------------------------------------------------------------


def few(stopped, to_the_end, soft, full=60, train_hard=95, seeds=2):
    """Networks of 3 %, and two of all the speech: frames right."""

    def learnt(share):
        return [100, share]

    def hard(seed):
        early = system(stopped, 1.0, learnt=learnt(70))
        run = system(to_the_end, 1.0, learnt=learnt(train_hard), stopped=early.record)
        return run._replace(arrays=run.arrays | {"stopped.test.right": early.arrays["test.right"]})

    named = {Name(speech.HARD, 1.0, i): system(full, 1.0) for i in range(2)}
    named |= {Name(speech.HARD, FEW, seed): hard(seed) for seed in range(seeds)}
    return named | {Name(speech.SOFT, FEW, seed): system(soft, 1.0, learnt=learnt(65), seed=1) for seed in range(seeds)}


@pytest.mark.parametrize(
    ("stopped", "to_the_end", "soft", "verdicts"),
    [
        (45, 40, 59, (REPRODUCED, REPRODUCED)),
        (45, 46, 50, (NOT, DIRECTION)),
        (45, 45, 44, (NOT, NOT)),
    ],
)
def test_few_data_are_judged_by_what_stopping_and_soft_targets_save(stopped, to_the_end, soft, verdicts):
    results = few(stopped, to_the_end, soft)
    assert tuple(ROWS[row].judge("cpu", results).verdict for row in ("R2-speech", "R3-speech")) == verdicts
    curve = ROWS["R3-speech"].judge("cpu", results).numbers["curve"]
    assert curve[speech.HARD]["1.0"]["test"] == pytest.approx([60, 60], abs=1)
    assert curve[STOPPED][str(FEW)]["test"] == pytest.approx([stopped, stopped], abs=1)


@pytest.mark.parametrize("changes", [{"train_hard": 49}, {"seeds": 1}])
def test_early_stopping_is_not_needed_where_it_is_not_sure_that_hard_targets_overfit(changes):
    outcome = ROWS["R2-speech"].judge("cpu", few(45, 40, 59, **changes))
    assert outcome.verdict == NOT
    assert json.dumps(outcome.numbers, allow_nan=False)
    assert "other networks and other recordings" in outcome.interval


def test_the_share_of_lost_frames_that_is_saved_has_its_interval():
    outcome = ROWS["R3-speech"].judge("cpu", few(45, 40, 56))
    value, low, high = outcome.numbers["saved"]
    assert value == pytest.approx((56 - 45) / (60 - 45), abs=0.05)
    assert low < value < high
    assert outcome.interval.startswith(f"saved: [{100 * low:.0f} %, {100 * high:.0f} %], with other networks")


def test_soft_targets_save_no_share_of_speech_where_hard_ones_lose_nothing():
    outcome = ROWS["R3-speech"].judge("cpu", few(61, 61, 62, full=58))
    assert outcome.verdict == NOT
    assert outcome.why.startswith("hard targets lose nothing, so there is nothing to save")
    assert outcome.numbers["curve"]
    assert outcome.numbers["saved"] is None


def test_a_share_of_little_speech_says_how_much_it_is():
    results = few(45, 40, 59)
    assert "; with so little speech, 3% means 100%" in ROWS["R3-speech"].judge("cpu", results).why
    results |= {Name(speech.HARD, 1.0): system(60, 1.0, learnt=(3300, 2000))}
    assert "so little" not in ROWS["R3-speech"].judge("cpu", results).why


# ---- what is drawn ---------------------------------------------------------------------------------------------------


def test_the_bootstrap_spreads_as_networks_and_recordings_do():
    """One network on U recordings of rates with variance s²: the mean's is s²/U."""
    one = system(60, 1.0)
    frames, right = one.arrays["test.frames"], one.arrays["test.right"]
    draws = bootstrap([right[None], right[None]], frames)
    assert np.array_equal(draws[:, 0], draws[:, 1])  # the same recordings for all
    expected = np.std(right) / np.sqrt(RECORDINGS)
    assert draws.std() == pytest.approx(expected, rel=0.1)
    apart = bootstrap([np.stack([system(level, 1.0).arrays["test.right"] for level in (50, 70)])], frames)
    assert apart.std() == pytest.approx(np.std([50, 70], ddof=1) / np.sqrt(2), rel=0.1)  # two networks, drawn anew


def test_clusters_of_equal_utterances_spread_as_clusters_do_and_not_as_utterances():
    """Ten utterances that are all alike tell no more than one of them."""
    right = np.random.default_rng(0).integers(50, 71, 40)
    often, clusters = np.repeat(right, 10), np.repeat(np.arange(40), 10)
    total = np.full(400, 100)
    alone = bootstrap([right[None]], total[:40])
    together = bootstrap([often[None]], total, clusters)
    as_if_independent = bootstrap([often[None]], total)
    assert together.std() == pytest.approx(alone.std(), rel=0.05)
    assert together.std() == pytest.approx(np.std(right) / np.sqrt(39), rel=0.05)
    assert as_if_independent.std() == pytest.approx(together.std() / np.sqrt(10), rel=0.1)
    shuffled = np.random.default_rng(1).permutation(400)
    assert np.allclose(bootstrap([often[shuffled][None]], total, clusters[shuffled]), together)


def test_students_of_the_ensemble_train_for_12_epochs_and_3_per_cent_has_most_seeds():
    plan = speech.PLANS["cpu"]
    assert plan.epochs[2] == 12
    assert plan.students >= 3  # the bootstrap draws them
    jobs = ROWS["R3-speech"].jobs("cpu")
    for kind in (speech.HARD, speech.SOFT):
        seeds = {at: sum(name[:2] == (kind, at) for name in jobs) for at in plan.few}
        assert seeds[FEW] == 5
        assert min(seeds.values()) >= 2
