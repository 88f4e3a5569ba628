"""Why soft targets did not help: what only a report about one's own teacher can see."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minikd.distil.reasons import Seen, _of_the_settings, _of_the_student, _of_the_teacher, reasons
from minikd.training.config import TrainConfig

CONFIG = TrainConfig(hidden=(30,), epochs=100, batch_size=32, alpha=0.9, T=4.0)
SEEN = Seen(
    examples=1000,
    alone=100.0,
    distilled=150.0,
    noise=20.0,
    spread=20.0,
    config=CONFIG,
    transfer=3000,
    teacher=50.0,
    teacher_learnt=0.96,
    followed=(0.97, 0.95),
)


def test_nothing_that_can_be_seen_is_said_to_be_nothing():
    assert reasons(SEEN) == ["None of the causes that minikd can see applies."]
    assert reasons(replace(SEEN, teacher=None, teacher_learnt=None, followed=None)) == reasons(SEEN)


def test_a_gain_beyond_the_noise_needs_no_reason_and_one_within_it_does():
    assert reasons(replace(SEEN, distilled=79.0)) == []
    (reason,) = reasons(replace(SEEN, distilled=80.0))
    assert "By chance, one pair of runs differs by up to 20 errors" in reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"teacher_learnt": 1.0},
            "is right about 100.0 % of the examples that it teaches, but about 95.0 % of the test",
        ),
        ({"followed": (0.8, 0.79)}, "its teacher's answer on only 80.0 % of the examples that it learnt from"),
        (
            {"followed": (0.99, 0.9)},
            "on 99.0 % of the examples that it learnt from, but on 90.0 % of the test examples",
        ),
        (
            {"teacher": 90.0, "teacher_learnt": 0.91},
            "the teacher has little to teach. Use a better one, or an ensemble.",
        ),
    ],
)
def test_each_cause_is_named_where_it_is_the_only_one(changes, words):
    (reason,) = reasons(replace(SEEN, **changes))
    assert words in reason


COLUMNS = "column 0 seems to be class 2, column 2 class 0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": COLUMNS, "teacher": 950.0}, f"are in another order than the classes: {COLUMNS}. Put them in the"),
        (
            {"constant": "column 5", "alone": 600.0, "distilled": 600.0},
            "Of the features, column 5 never varied in training",
        ),
        ({"columns": COLUMNS, "constant": "column 5"}, COLUMNS),
    ],
)
def test_where_one_cause_explains_all_others_it_is_the_only_one(changes, words):
    (reason,) = reasons(replace(SEEN, **changes))
    assert words in reason


def test_a_search_is_advised_where_the_rule_for_T_may_be_wrong_and_nowhere_else():
    floor, few = {"floored": 0.9, "spread": 27.6}, {"transfer": 900, "classes": 300}
    for changes, words in (
        (floor, "for 90 % of the examples the smallest logit is the same floor"),
        (few, "only 3 ex"),
    ):
        changed = replace(SEEN, config=replace(CONFIG, batch_size=8), **changes)
        assert not any("--search" in reason for reason in reasons(changed))  # T was given, or searched for
        (reason,) = reasons(replace(changed, chosen_T=True))
        assert words in reason
        assert "Try --search, which looks for T" in reason
    votes = replace(SEEN, floored=1.0, spread=5.3, chosen_T=True)  # half a vote of a forest of 100 trees
    assert not any("--search" in reason for reason in reasons(votes))


def test_a_gain_that_is_not_the_teachers_doing_needs_reasons():
    idle = replace(SEEN, distilled=50.0, idle=True, teacher=900.0, teacher_learnt=0.1, followed=(0.1, 0.1))
    (reason,) = reasons(idle)
    assert "the teacher has little to teach" in reason


def test_the_page_of_trouble_explains_every_cause_in_this_order():
    page = (Path(__file__).parent.parent / "TROUBLESHOOTING.md").read_text("utf-8")
    section = " ".join(page.partition("## Distillation does not help")[2].partition("\n## ")[0].split())
    explained = re.findall(r'\d+\. \*"(.+?)"\*: ', section)
    causes = [*_of_the_teacher(SEEN, "", str), *_of_the_settings(SEEN, str), *_of_the_student(SEEN, str)]
    assert [[words in cause for cause in causes] for words in explained] == np.eye(len(causes), dtype=bool).tolist()


def test_no_advice_that_cannot_help():
    flat = replace(SEEN, spread=0.0, config=replace(CONFIG, T=1.0, alpha=0.01), teacher=95.0, teacher_learnt=0.9)
    assert not any("--T" in reason or "--alpha" in reason for reason in reasons(flat))


def test_settings_are_called_what_the_reader_calls_them():
    seen = replace(SEEN, config=replace(CONFIG, T=1.0))
    assert "Raise --T." in reasons(seen)[0]
    assert "Raise `T`." in reasons(seen, named="`{}`".format)[0]
