"""What a report says of teacher, student alone and distilled student."""

import json
from itertools import count

import numpy as np
import pytest

from minikd.distil.reasons import reasons
from minikd.distil.report import ALONE, DISTILLED, TEACHER, Measured, idle, latency, saved, seen, summarise, words
from minikd.theory.calibration import calibration_error, log_loss
from minikd.training.config import TrainConfig

K = 4


def answering(wrong, N=1000, sure=4.0, **known):
    """A network that gets the examples in `wrong` wrong, and labels."""
    y = np.arange(N) % K
    z = sure * np.eye(K)[np.where(np.isin(np.arange(N), wrong), (y + 1) % K, y)]
    return Measured(z, **known)


def compared(teacher=range(30), alone=range(100), distilled=range(50), **known):
    y = np.arange(1000) % K
    given = {"alone": alone, "teacher": teacher}
    others = {name: None if wrong is None else answering(wrong) for name, wrong in given.items()}
    return summarise(y, answering(distilled, **known), **others)


def test_figures_are_those_of_the_networks():
    results = compared(sure=1.0)
    y, z = np.arange(1000) % K, answering(range(50), sure=1.0).z
    row = results["networks"][DISTILLED]
    assert [results["networks"][name]["errors"] for name in (TEACHER, ALONE, DISTILLED)] == [30, 100, 50]
    assert row["accuracy"] == 0.95
    assert row["confidence"] == pytest.approx(np.e / (np.e + 3))
    assert row["log_loss"] == log_loss(z, y)
    assert row["calibration_error"] == calibration_error(z, y) == pytest.approx(0.95 - np.e / (np.e + 3))
    assert results["agreement"] == 0.98
    assert json.loads(json.dumps(results)) == results


def test_a_gain_has_the_interval_of_its_pairs():
    value, low, high = compared()["gain"]
    assert value == 50
    assert (low, high) == pytest.approx((50 - 13.7, 50 + 13.7), abs=0.3)  # 1.96 √51, less what is common
    said = words(compared())
    assert "The soft targets saved 50 errors: +5.00 points of accuracy, 95 % interval [+3.6" in said
    assert "] for other test examples and these two networks. Another --seed trains two others, whose" in said
    assert "may be chance" not in said


@pytest.mark.parametrize(
    ("distilled", "said"),
    [
        (50, "The distilled student makes 50 errors fewer than the student alone. This is not the teacher's doing, "),
        (101, "The distilled student makes 1 error more than the student alone. This is not the teacher's doing, "),
        (100, "Both students make as many errors. The teacher has no part in this, because w."),
    ],
)
def test_a_difference_that_is_not_the_teachers_doing_is_not_called_its_doing(distilled, said):
    report = words({**compared(distilled=range(distilled)), "idle": "w"}, ["Because."])
    assert said in report
    assert ("because w: another --seed may differ by as much" in report) == (distilled != 100)
    assert "The soft targets" not in report
    assert "keeps" not in report
    assert "The likeliest reasons why the soft targets did not help" in report


def test_a_difference_is_not_the_teachers_doing_where_it_has_no_weight_or_is_right_by_chance():
    y = np.arange(1000) % K
    good, mad = answering([]).z, answering([]).z[np.random.default_rng(0).permutation(1000)]
    assert idle([5, 1, 9], 0.01, good, y) == "the soft targets have a weight of only 0.01"
    assert "no more often than by chance" in idle([5, 1, 9], 0.9, mad, y)
    assert idle([-5, -9, -1], 0.9, mad, y) == ""  # a teacher like this does harm
    assert idle([5, 1, 9], 0.9, good, y) == ""


def test_probabilities_that_are_clearly_worse_than_alone_are_remarked_on():
    results = compared(distilled=range(95), sure=12.0)
    alone, distilled = (results["networks"][name]["log_loss"] for name in (ALONE, DISTILLED))
    value, low, high = results["log_loss_gain"]
    assert value == pytest.approx(alone - distilled)
    assert low < value < high < 0
    said = words(results)
    assert f"Its log loss of {distilled:.3f} is clearly higher than the {alone:.3f} of the student alone" in said
    assert "try a smaller --hidden" in said
    assert "clearly higher" not in words(compared(distilled=range(95)))
    assert "clearly higher" not in words(compared(alone=range(1), distilled=range(2)))  # by chance
    assert compared(alone=None)["log_loss_gain"] is None


def test_a_share_whose_interval_runs_away_is_called_uncertain():
    results = compared()
    for low, high in ((-1.0, 9.0), (None, 1.0), (0.0, None)):
        said = words({**results, "kept": [0.8, low, high]})
        assert "Which share of it the distilled student keeps is too uncertain to say." in said
        assert "keeps 80 %" not in said
    assert "95 % interval [0 %, 190 %]" in words({**results, "kept": [0.8, 0.0, 1.9]})


def test_an_absurd_loss_is_blamed_on_columns_that_never_varied_in_training():
    y = np.array([0, 1])
    results = summarise(y, Measured(-1e4 * np.eye(K)[y]), alone=Measured(9.0 * np.eye(K)[y]))
    said = words({**results, "constant": [5]})
    assert "In the features, column 5 never varied in training: leave this out." in said
    assert "diverged" not in said
    assert "diverged" in words({**results, "constant": []})


def test_few_cases_are_called_chance_and_a_loss_a_loss():
    assert "saved 4 errors: +0.40 points of accuracy, 95 % interval [-0.04, +0.84]" in words(
        compared(distilled=range(96))
    )
    assert "may be chance" in words(compared(distilled=range(96)))
    assert "The soft targets cost 50 errors: -5.00 points" in words(compared(distilled=range(150)))


def test_the_kept_share_is_that_of_the_teachers_advantage():
    kept = compared()["kept"]
    assert kept[0] == pytest.approx(50 / 70)
    assert 0.5 < kept[1] < kept[0] < kept[2] < 0.9
    assert "keeps 71 % of its teacher's advantage of 70 errors over the student alone, 95 % interval [" in words(
        compared()
    )


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (
            range(100),
            "The teacher has no advantage over the student alone: it makes 100 errors, and the student alone 100.",
        ),
        (range(130), "it makes 130 errors, and the student alone 100. So there is nothing to keep."),
        (range(97), "advantage over the student alone is 3 errors, which may be chance"),
    ],
)
def test_a_teacher_without_an_advantage_has_no_share_of_it(teacher, said):
    results = compared(teacher=teacher)
    assert results["kept"] is None
    assert said in words(results)


def test_a_student_that_is_worse_than_alone_keeps_nothing():
    said = words(compared(distilled=range(150)))
    assert "keeps nothing of its teacher's advantage of 70 errors." in said


def test_what_is_not_known_is_left_out():
    alone = words(summarise(np.arange(1000) % K, answering(range(50))))
    for word in ("teacher", "soft targets", "parameters", "size", "batch"):
        assert word not in alone
    assert "student distilled" in alone
    assert "advantage" not in words(compared(teacher=None))
    assert "saved" not in words(compared(alone=None))


def test_sizes_and_times_are_compared_with_the_teachers():
    y = np.arange(1000) % K
    teacher = answering(range(30), parameters=2_000_000, size=8_000_000, latency={1: 0.02, 1000: 0.5})
    student = answering(range(50), parameters=1200, size=5000, latency={1: 0.00002, 1000: 1.0})
    said = words(summarise(y, student, teacher=teacher))
    for word in ("2,000,000", "1,200", "8.0 MB", "5.0 kB", "20 ms", "20 µs", "500 ms", "1 s"):
        assert f" {word}" in said
    assert "1,600 times smaller, 1,000 times faster for a batch of 1, 2.0 times slower for a batch of 1,000" in said


def test_what_differs_by_no_more_than_noise_is_called_equal():
    y = np.arange(1000) % K
    teacher = answering(range(30), parameters=1200, size=4800, latency={1: 0.00002, 1000: 1.0})
    student = answering(range(50), parameters=1200, size=4800, latency={1: 0.000024, 1000: 0.9})
    said = words(summarise(y, student, teacher=teacher))
    assert "it is as large, as fast for a batch of 1, as fast for a batch of 1,000." in said


def test_the_latency_is_the_median_after_a_call_that_does_not_count():
    ticks, calls = count(), []
    slow = {0: 90.0, 2: 70.0}
    now = [0.0]

    def call():
        now[0] += slow.get(len(calls), 2.0)
        calls.append(next(ticks))

    assert latency(call, seconds=0, least=5, clock=lambda: now[0]) == 2
    assert len(calls) == 6
    assert latency(call, seconds=100, least=1, clock=lambda: now[0]) == 2
    assert len(calls) == 6 + 1 + 50


def test_a_loss_comes_with_its_likeliest_reason():
    config = TrainConfig(hidden=(30,), epochs=100, batch_size=32, alpha=0.9, T=4.0)
    y = np.arange(1000) % K
    v = answering([], sure=16.0).z
    results = compared(teacher=range(80), alone=range(110), distilled=range(150))
    about = seen(results, config, v, labels=y, z=answering(range(20)).z)
    assert (about.teacher, about.alone, about.distilled, about.spread, about.transfer) == (80, 110, 150, 16, 1000)
    assert about.teacher_learnt == 1
    assert about.followed == (0.98, 0.93)
    found = reasons(about)
    assert "it knows the former by heart" in found[0]
    assert f"the likeliest first:\n  - {found[0]}" in words(results, found)
    assert seen(compared(alone=None), config, v) is None
    assert not seen(compared(), config, v).followed


def test_numbers_of_small_and_of_diverged_runs_can_be_read():
    said = words(compared(teacher=range(1), alone=range(2), distilled=range(1)))
    assert "The soft targets saved 1 error: " in said
    assert "advantage over the student alone is 1 error, which" in said
    assert "saved no errors: +0.00 points" in words(compared(distilled=range(100)))
    y = np.array([0, 1])
    right, wrong = Measured(9.0 * np.eye(K)[y]), Measured(9.0 * np.eye(K)[1 - y])
    assert "-100.00 points of accuracy, 95 % interval [-100.00, " in words(summarise(y, wrong, alone=right))
    results = summarise(y, Measured(1e30 * wrong.z), alone=right, teacher=Measured(1e9 * wrong.z))
    said = words(results)
    assert max(map(len, said.split("\n")[2:6])) < 90
    assert "The log loss of the student distilled is 9e+30 nats, which is absurd: do not use it. Its training" in said
    assert "The log loss of the teacher is 9e+09 nats, which is absurd: do not use it. Are its logits in nats?" in said
    assert "absurd" not in words(compared())


@pytest.mark.parametrize(
    ("distilled", "heading"),
    [
        (96, "This gain may be chance. The likeliest reasons why it is not larger, the likeliest first:"),
        (100, "The likeliest reasons why the soft targets did not help, the likeliest first:"),
        (120, "The likeliest reasons why the soft targets did not help, the likeliest first:"),
    ],
)
def test_the_heading_of_the_reasons_does_not_deny_a_gain(distilled, heading):
    said = words(compared(distilled=range(distilled)), ["Because."])
    assert f"\n{heading}\n  - Because." in said
    assert ("did not help" in said) == (distilled >= 100)


def test_a_gain_and_its_noise_agree_about_chance():
    config = TrainConfig(hidden=(30,), alpha=0.9, T=4.0)
    for errors in range(90, 100):
        results = compared(distilled=range(errors))
        assert seen(results, config, answering([]).z).helped == (results["gain"][1] > 0)


def test_saved_counts_only_what_one_of_them_gets_right():
    before, after = np.array([True, True, False, False]), np.array([True, False, False, True])
    assert saved(before, after).value == 0
    assert saved(before, np.zeros(4, bool)).value == 2


def test_logits_and_labels_must_fit():
    with pytest.raises(ValueError, match="y must"):
        summarise(np.arange(999) % K, answering([]))
    with pytest.raises(ValueError, match="finite"):
        summarise(np.zeros(2, int), Measured(np.full((2, 3), np.nan)))
