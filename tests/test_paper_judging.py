"""How the rows of the paper are judged: what counts as reproduced, and what is said of the rest."""

import json
from dataclasses import replace

import numpy as np
import pytest

from minikd.paper.lab.jobs import Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Name
from minikd.paper.lab.statistics import near, sign_flip_p
from minikd.paper.rows import ROWS, few, grid, missing
from minikd.paper.tasks.networks import Data


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


def learnt(results):
    """kind → (train, test) accuracy in per cent, as results of 1,000 examples."""
    return {
        Name(kind, share): Result(
            {"examples": 1000, "tested": 1000, "train_errors": 10 * (100 - train), "errors": 10 * (100 - test)}, {}
        )
        for (kind, share), (train, test) in results.items()
    }


def test_few_examples_are_judged_by_what_soft_targets_save_of_what_hard_ones_lose():
    results = learnt(
        {
            (few.HARD, 1.0): (100, 98),
            (few.STOPPED, 0.03): (99, 90),
            (few.HARD, 0.03): (100, 89),
            (few.SOFT, 0.03): (99, 97.5),
        }
    )
    soft = ROWS["R3"].judge("cpu", results)
    assert (soft.verdict, soft.ours) == (REPRODUCED, "train 99 %, test 97.5 %")
    assert "soft targets save 94% of the 8.00 points that hard targets lose" in soft.why
    assert ROWS["R2"].judge("cpu", results).verdict == REPRODUCED
    results |= learnt({(few.HARD, 0.03): (100, 91), (few.SOFT, 0.03): (99, 92)})
    assert ROWS["R3"].judge("cpu", results).verdict == DIRECTION
    assert ROWS["R2"].judge("cpu", results).verdict == DIRECTION
    results |= learnt({(few.SOFT, 0.03): (99, 89)})
    assert ROWS["R3"].judge("cpu", results).verdict == NOT


def test_soft_targets_save_no_share_where_hard_ones_lose_nothing():
    results = learnt(
        {
            (few.HARD, 1.0): (100, 90),
            (few.STOPPED, 0.03): (99, 90),
            (few.HARD, 0.03): (99, 90),
            (few.SOFT, 0.03): (99, 95),
        }
    )
    outcome = ROWS["R3"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.why == "hard targets lose nothing, so there is nothing to save"


@pytest.mark.parametrize(("oracle", "honest", "words"), [(9, 4, "5.0 errors fewer"), (4, 9, "5.0 errors more")])
def test_the_honest_shift_may_be_the_better_one(oracle, honest, words, monkeypatch):
    errors = {"none": [20], "oracle": [oracle], "honest": [honest]}
    found = {"errors": errors, "wrong": errors, "shift": errors, "cases": [100, 1000]}
    monkeypatch.setattr(missing, "measure", lambda *_: found)
    assert ROWS["M7"].judge("cpu", {}).why.endswith(f"the honest shift makes {words}")


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
