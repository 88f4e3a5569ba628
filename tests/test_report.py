"""What a run of `python -m minikd.mnist` says of its numbers."""

import pytest

from minikd.commands import report
from minikd.commands.report import ALONE, DISTILLED, TEACHER, reasons
from minikd.training.config import TrainConfig


def said(
    teacher=(70, 70),
    alone=(140, 140),
    distilled=(165, 167),
    logit_range=30.0,
    examples=60_000,
    **settings,
):
    """The reasons for these errors, pair by pair, of a student that nothing else speaks against."""
    counts = {TEACHER: teacher, ALONE: alone, DISTILLED: distilled}
    rows = {name: {"errors_mean": sum(errors) / len(errors)} for name, errors in counts.items()}
    rows[TEACHER]["logit_range"] = logit_range
    saved = [a - b for a, b in zip(alone, distilled, strict=True)]
    mean = sum(saved) / len(saved)
    sd = None if len(saved) == 1 else (sum((one - mean) ** 2 for one in saved) / (len(saved) - 1)) ** 0.5
    config = TrainConfig(hidden=(800, 800), **{"T": 8.0, "alpha": 0.9, "epochs": 6, **settings})
    asked = {
        "networks": {DISTILLED: config.record()},
        "train": {"examples": examples},
        "evaluation": {"examples": 10_000},
    }
    return reasons(asked, rows, {"errors": saved, "mean": mean, "sd": sd})


def test_a_clear_gain_needs_no_reason():
    assert said(alone=(140, 150), distilled=(110, 118)) == []
    assert said(teacher=(70,), alone=(150,), distilled=(100,)) == []


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"teacher": (130, 132)}, "The teacher makes 131 errors and the student alone 140"),
        ({"clip_norm": None}, "gradient was not clipped"),
        ({"T": 1.0}, "T = 1 is low for logits with a range of 30"),
        ({"T": 200.0}, "T = 200 is high for logits with a range of 30"),
        ({"alpha": 0.1}, "a weight of only 0.1"),
        ({"epochs": 2}, "With --epochs 2 a student takes only 936 steps"),
        ({"epochs": 20, "examples": 6000}, "With --epochs 20 a student takes only 920 steps"),
        ({"alone": (8900, 8900), "distilled": (9200, 9200)}, "makes 8,900 errors on 10,000 examples, so it has hardly"),
        ({"alone": (140, 160), "distilled": (150, 145)}, "the mean of 2 pairs differs by up to 25 errors"),
        ({"teacher": (70,), "alone": (140,), "distilled": (130,)}, "one pair of runs differs by up to 23 errors"),
    ],
)
def test_each_cause_is_named_where_it_is_the_only_one(case, words):
    (reason,) = said(**case)
    assert words in reason


def test_two_pairs_that_agree_by_chance_are_no_clear_gain():
    (reason,) = said(alone=(140, 140), distilled=(130, 130))
    assert "the mean of 2 pairs differs by up to 16 errors" in reason


def test_a_student_that_made_errors_only_when_distilled_hears_why():
    (reason,) = said(teacher=(0,), alone=(0,), distilled=(112,), T=0.5)
    assert "T = 0.5 is low" in reason


def test_a_loss_without_a_visible_cause_says_so():
    assert said() == ["None of the causes that minikd can see applies."]


def test_a_student_without_errors_has_nothing_to_gain():
    assert said(alone=(0,), distilled=(0,), teacher=(0,)) == [
        "The student alone makes no errors, so there is nothing to gain."
    ]


def test_a_weak_teacher_comes_before_everything_else():
    found = said(teacher=(139, 139), epochs=2, T=1.0)
    assert [one.split()[0] for one in found] == ["The", "T", "With"]


def printed(teacher, alone, distilled, doubts=()):
    """The table of runs with these errors, a number for each seed."""
    counts = dict(zip(report.NETWORKS, (teacher, alone, distilled), strict=True))
    rows = {
        name: {
            "sizes": [4, 3, 2],
            "parameters": 23,
            "errors": errors,
            "errors_mean": sum(errors) / len(errors),
            "errors_sd": report._sd(errors),
            "paper": None,
            "seconds": 1.0,
        }
        for name, errors in counts.items()
    }
    gain = [a - b for a, b in zip(alone, distilled, strict=True)]
    asked = {
        "networks": {report.DISTILLED: {"T": 8.0, "alpha": 0.9}},
        "seeds": list(range(len(alone))),
        "train": {"name": "digits", "examples": 60_000},
        "evaluation": {"name": "digits", "examples": 10_000},
    }
    about = {"errors": gain, "mean": sum(gain) / len(gain), "sd": report._sd(gain)}
    results = {"asked": asked, "results": rows, "gain": about, "reasons": doubts, "teachers_reused": []}
    results["folder"] = "runs"
    return report.table(results)


@pytest.mark.parametrize(
    ("teacher", "alone", "distilled", "share"),
    [
        ([100], [145], [120], "56 % of the way"),
        ([143], [145], [120], None),  # 1,250 % of a way of two errors
        ([145], [145], [120], None),
        ([160], [145], [120], None),
        ([100, 104], [120, 122], [110, 112], None),
        ([100] * 9, [120] * 9, [110] * 9, "50 % of the way"),
        ([100], [145], [150], None),
    ],
)
def test_the_share_of_the_way_is_given_where_the_way_is_no_chance(teacher, alone, distilled, share):
    words = printed(teacher, alone, distilled)
    assert ("of the way" in words) == (share is not None)
    assert share is None or share in words


def test_a_gain_that_may_be_chance_is_called_so_and_no_share_of_a_way():
    words = printed([100], [145], [130], doubts=["By chance, one pair of runs differs by up to 23 errors."])
    assert "The soft targets saved 15 errors.\nThis gain may be chance. The likeliest reason first:" in words
    assert "of the way" not in words
