"""How the rows of the paper are judged: what counts as reproduced, and what is said of the rest."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minikd.paper import figures
from minikd.paper.lab.jobs import Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Name
from minikd.paper.lab.statistics import near, sign_flip_p
from minikd.paper.rows import ROWS, gradients, grid, missing
from minikd.paper.tasks.networks import GRADIENT_TEMPERATURES, Data


def counted(**kinds):
    return {
        Name(kind, seed=i): Result({"errors": n}, {}) for kind, counts in kinds.items() for i, n in enumerate(counts)
    }


@pytest.mark.parametrize(
    ("alone", "distilled", "verdict"),
    [
        ([140, 150], [70, 78], REPRODUCED),
        ([140, 150], [100, 110], DIRECTION),
        ([140, 150], [139, 151], NOT),
    ],
)
def test_distillation_is_judged_by_its_figure_and_by_every_pair(alone, distilled, verdict):
    outcome = ROWS["M3"].judge("cpu", counted(alone=alone, distilled=distilled))
    assert outcome.verdict == verdict
    assert outcome.numbers["alone"] == alone


def test_a_count_is_judged_against_the_papers_and_the_noise_of_one_run():
    assert near(67 + 16, 67)
    assert not near(67 + 17, 67)
    assert ROWS["M1"].judge("cpu", counted(teacher=[60, 66])).verdict == REPRODUCED
    assert ROWS["M1"].judge("cpu", counted(teacher=[90, 96])).verdict == NOT


def test_the_sign_flip_test_is_uniform_under_no_effect_and_small_under_one():
    rng = np.random.default_rng(0)
    p = [sign_flip_p(rng.standard_normal(8)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09
    assert sign_flip_p(rng.standard_normal(10) + 3) == 2 / 2**10


def table_of_errors(means, seeds=8, width=30, noise=2.0):
    rng = np.random.default_rng(0)
    errors = np.array(means) + noise * rng.standard_normal((seeds, len(means)))
    return {Name("students", width, seed): Result({"errors": row.tolist()}, {}) for seed, row in enumerate(errors)}


@pytest.mark.parametrize(("dip", "verdict"), [((2.5, 3.0, 4.0), REPRODUCED), ((), NOT), ((12.0, 20.0, 40.0), NOT)])
def test_a_best_temperature_must_beat_both_sides_significantly(dip, verdict):
    means = [400.0 - 30 * (T in dip) for T in grid.TEMPERATURES]
    if not dip:
        means = [400.0 + T for T in grid.TEMPERATURES]  # the lowest T is best
    outcome = ROWS["M5"].judge("cpu", table_of_errors(means))
    assert outcome.verdict == verdict
    assert outcome.numbers["errors"]["30"]


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, REPRODUCED), (1.0, NOT)])
def test_flat_means_within_the_noise_of_one_run(slope, verdict):
    results = table_of_errors([100 + slope * T for T in grid.TEMPERATURES], width=300)
    results |= table_of_errors([90.0] * 10, width=800)
    assert ROWS["M4"].judge("cpu", results).verdict == verdict


@pytest.mark.parametrize(
    ("taught", "verdict", "share"), [(122, REPRODUCED, 0.9), (130, DIRECTION, 0.5), (141, NOT, -0.05)]
)
def test_the_share_of_an_ensembles_gain_that_a_student_keeps(taught, verdict, share):
    results = counted(member=[138, 142], **{"arithmetic student": [taught], "geometric student": [taught]})
    results |= {Name(f"{kind} mean"): Result({"errors": 120}, {}) for kind in ("arithmetic", "geometric")}
    outcome = ROWS["E8"].judge("cpu", results)
    assert outcome.verdict == verdict
    assert outcome.numbers["geometric, share"] == pytest.approx(share)


def test_an_ensemble_that_gains_nothing_keeps_no_share():
    results = counted(member=[138, 142], **{"arithmetic student": [130], "geometric student": [130]})
    results |= {Name(f"{kind} mean"): Result({"errors": 150}, {}) for kind in ("arithmetic", "geometric")}
    outcome = ROWS["E8"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert json.loads(json.dumps(outcome.numbers, allow_nan=False))["geometric, share"] is None


@pytest.mark.parametrize("without", ["arithmetic", "geometric"])
def test_one_mean_that_gains_nothing_is_not_hidden_by_the_other(without):
    results = counted(member=[138, 142], **{"arithmetic student": [122], "geometric student": [122]})
    errors = {"arithmetic": 120, "geometric": 120, without: 140}
    results |= {Name(f"{kind} mean"): Result({"errors": count}, {}) for kind, count in errors.items()}
    outcome = ROWS["E8"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.why == f"the ensemble gained nothing by its {without} mean"
    assert f"{without} mean 140, its student 122: there is no gain to keep" in outcome.ours
    assert "keeps 90% of the gain" in outcome.ours
    assert outcome.numbers[f"{without}, share"] is None


def covered(*groups):
    return {Name("answers", seed=i): Result({"covered": counts}, {}) for i, counts in enumerate(groups)}


def test_a_relative_gain_needs_cases_that_were_right_before():
    """With none right before, 30 cases put right would be a gain of 3,000 %."""
    outcome = ROWS["P6"].judge("cpu", covered({"0": [100, 50, 50], "1": [100, 50, 40], "2": [50, 50, 20]}))
    assert outcome.ours == "0: +0.00 % (100 cases), 1: +20.00 % (100 cases), 2: none was right (50 cases)"
    assert "slope +20.00 points" in outcome.why
    assert len(figures.specialists({"P6": outcome.numbers}).axes[0].texts) == 2


@pytest.mark.parametrize("groups", [{"1": [100, 50, 40]}, {"1": [100, 50, 40], "2": [50, 50, 20]}])
def test_one_number_of_specialists_has_no_slope(groups):
    outcome = ROWS["P6"].judge("cpu", covered(groups))
    assert outcome.verdict == NOT
    assert "there is no slope" in outcome.why


def test_no_kind_is_faster_where_no_rate_is_tolerated():
    results = {Name("gradients"): moment(1.0, 0.5, 2.0)}
    results |= {Name(kind, rate): Result({"errors": None}, {}) for kind in gradients.KINDS for rate in (0.1, 0.2)}
    assert ROWS["E9"].judge("cpu", results).verdict == DIRECTION  # quieter


@pytest.mark.parametrize(("oracle", "honest", "words"), [(9, 4, "5.0 errors fewer"), (4, 9, "5.0 errors more")])
def test_the_honest_shift_may_be_the_better_one(oracle, honest, words, monkeypatch):
    errors = {"none": [20], "oracle": [oracle], "honest": [honest]}
    found = {"errors": errors, "wrong": errors, "shift": errors, "cases": [100, 1000]}
    monkeypatch.setattr(missing, "measure", lambda *_: found)
    assert ROWS["M7"].judge("cpu", {}).why.endswith(f"the honest shift makes {words}")


def test_a_rate_is_tolerated_if_every_seed_ends_well():
    counts = {0.1: [100, 104], 0.2: [100, 100], 0.4: [120, 110], 0.8: [90, 300], 1.6: [None, 100]}
    assert gradients.tolerated(counts) == 0.4
    assert gradients.tolerated({0.1: [None]}) == 0.0


def moment(hard_noise, soft_noise, exponent):
    soft = [{"size": T**-exponent, "noise": soft_noise} for T in GRADIENT_TEMPERATURES]
    return Result({"moments": [{"epoch": 0, "hard": {"size": 0.5, "noise": hard_noise}, "soft": soft}]}, {})


@pytest.mark.parametrize(("exponent", "verdict"), [(2.0, REPRODUCED), (1.0, NOT)])
def test_gradients_must_fall_as_the_square_of_T(exponent, verdict):
    assert ROWS["E6"].judge("cpu", {Name("gradients"): moment(1.0, 0.5, exponent)}).verdict == verdict


@pytest.mark.parametrize(
    ("soft_noise", "rate", "verdict"), [(0.5, 0.4, REPRODUCED), (0.5, 0.1, DIRECTION), (2.0, 0.1, NOT)]
)
def test_soft_targets_must_be_quieter_and_faster(soft_noise, rate, verdict):
    results = {Name("gradients"): moment(1.0, soft_noise, 2.0)}
    for kind in gradients.KINDS:
        for tried in (0.1, 0.2, 0.4):
            fine = tried <= (0.2 if kind == "hard" else rate)
            results[Name(kind, tried)] = Result({"errors": 100 if fine else None}, {})
    outcome = ROWS["E9"].judge("cpu", results)
    assert outcome.verdict == verdict
    assert outcome.numbers["highest"]["hard"] == 0.2


@pytest.mark.parametrize(("helps", "verdict"), [(6, REPRODUCED), (4, DIRECTION), (2, NOT)])
def test_soft_targets_are_judged_in_every_setting_of_false_labels(helps, verdict):
    jobs = ROWS["N1"].jobs("cpu")
    settings = sorted({name[:2] for name in jobs} - {("clean", 0.0)})
    assert len(settings) == 6
    results = {
        name: Result({"errors": [200, 0, 0, 0, 0, 150 if name[:2] in settings[:helps] else 250]}, {}) for name in jobs
    }
    assert ROWS["N1"].judge("cpu", results).verdict == verdict


def biased(test, s):
    """The logits of a student that knows every digit, but likes 3s less by s nats."""
    z = np.where(np.arange(10) == test.labels[:, None], 4.0, 0.0)
    z[:, 3] -= s
    return z


def test_both_shifts_undo_a_bias_that_is_one_number():
    full, _, _, test = Data(first=1000).load()
    results = {
        Name("teacher"): Result({}, {"train": biased(full, 0.0)}),
        Name("student"): Result({}, {"train": biased(full, 6.0), "test": biased(test, 6.0)}),
    }
    found = missing.measure(missing.WITHOUT_3, "smoke", results)
    threes = int(np.count_nonzero(test.labels == 3))
    assert found["cases"] == [threes, 1000]
    assert found["errors"] == {"none": [threes], "oracle": [0], "honest": [0]}
    assert found["wrong"]["none"] == [threes]
    assert found["shift"]["honest"] == [6.0]
    assert 2.0 < found["shift"]["oracle"][0] < 10.0
    assert found["curve"][list(missing.SHIFTS).index(0.0)] == threes


def test_the_honest_shift_sees_no_label(monkeypatch):
    full, _, _, test = Data(first=1000).load()
    results = {
        Name("teacher"): Result({}, {"train": biased(full, 0.0)}),
        Name("student"): Result({}, {"train": biased(full, 6.0), "test": biased(test, 6.0)}),
    }
    before = missing.measure(missing.WITHOUT_3, "smoke", results)["shift"]
    load = Data.load

    def other_labels(self):
        full, chosen, transfer, test = load(self)
        return full, chosen, transfer, replace(test, labels=np.full_like(test.labels, 3))

    monkeypatch.setattr(Data, "load", other_labels)
    after = missing.measure(missing.WITHOUT_3, "smoke", results)["shift"]
    assert after["honest"] == before["honest"]
    assert after["oracle"] != before["oracle"]
