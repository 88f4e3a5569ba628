"""The study of alpha: its students are judged on examples that nobody learnt from, and its page says what was found."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra sklearn is not installed")
pytest.importorskip("onnx", reason="the extra onnx is not installed")

from sklearn.model_selection import train_test_split

from benchmarks import alpha_page, beyond, choose_alpha
from benchmarks.alpha_page import NOW, Rule
from minikd.core.losses import hard_cross_entropy, soft_cross_entropy
from minikd.distil.choices import choose_alpha as alpha_of
from minikd.distil.choices import labels_share, weight_of_share

SHARES = (0.0, 0.1, 0.6, 1.0)


def setting(data, wrong, contradicted=0.0, sure=0.0, kind=alpha_page.OWN):
    """A row in which students make these mistakes in 100, a number for each share, and 2 more with another T."""
    row = {"data": data, "teacher": "t", "kind": kind, "judged": 100, "learnt": 300, "T": 2.0}
    return row | {"errors": [*wrong, 9, 9], "contradicted": contradicted, "sure": sure}


def test_no_example_of_a_test_part_is_used():
    case = beyond.CASES[4]
    x, y = case.load()
    part, test, _, _ = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    lessons = list(choose_alpha.folds(case, alpha_page.OWN, choose_alpha.GaussianNB()).lessons())
    rows = lambda array: set(map(bytes, np.ascontiguousarray(array)))  # noqa: E731
    assert len(lessons) == choose_alpha.FOLDS
    for lesson in lessons:
        assert not rows(lesson.x) & rows(lesson.x_held)
        assert not (rows(lesson.x) | rows(lesson.x_held)) & rows(test)
    assert set.union(*(rows(lesson.x_held) for lesson in lessons)) == rows(part)


def test_false_labels_are_only_among_those_that_are_learnt():
    case, model = beyond.CASES[4], choose_alpha.GaussianNB()
    true, false = (next(choose_alpha.folds(case, kind, model).lessons()) for kind in (alpha_page.OWN, alpha_page.FALSE))
    assert 0.1 < np.mean(true.y != false.y) < 0.3
    assert (true.y_held == false.y_held).all()
    assert not np.array_equal(true.v, false.v)  # the teacher learnt the false labels too


def test_held_out_images_are_not_among_those_that_are_learnt():
    lesson = next(choose_alpha.mnist(300, alpha_page.SHIPPED, alpha_page.OWN).lessons())
    assert (lesson.x.shape, lesson.v.shape, lesson.x_held.shape) == ((300, 28, 28), (300, 10), (10_000, 28, 28))
    assert np.mean(lesson.v.argmax(axis=1) == lesson.y) > 0.98


def test_the_weight_of_a_share_gives_the_labels_this_share_of_the_first_gradient():
    rng = np.random.default_rng(0)
    v, y, T, z = 5 * rng.normal(size=(50, 4)), rng.integers(0, 4, 50), 3.0, np.zeros((1, 4))
    for share in (0.0, 0.2, 0.9):
        alpha = weight_of_share(share, v, T)
        soft = [alpha * T**2 * np.linalg.norm(soft_cross_entropy(z, v=row[None], T=T)[1]) for row in v]
        hard = [(1 - alpha) * np.linalg.norm(hard_cross_entropy(z, y=label[None])[1]) for label in y]
        assert np.mean(hard) / (np.mean(soft) + np.mean(hard)) == pytest.approx(share)


def test_the_study_judges_the_rule_that_minikd_has():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    v = 6.0 * (np.arange(3) == y[:, None]) + rng.normal(0, 2.0, (400, 3))
    row = dict(zip(("contradicted", "sure"), choose_alpha.contradictions(v, y), strict=True))
    assert row["contradicted"] > 0
    assert NOW.share(row) == labels_share(**row)[0]
    assert alpha_of(v, y, 2.0).value == pytest.approx(weight_of_share(NOW.share(row), v, 2.0))


def test_a_rule_is_chosen_by_data_sets_and_judged_on_the_one_left_out():
    low, high = [20, 10, 30, 40], [40, 30, 10, 20]  # errors with each share
    rows = [setting("a", low), setting("b, 300", low), setting("b, 1,000", low), setting("c", high)]
    rules = [Rule(0.1, 0.6, 2.0), Rule(0.6, 0.6, 2.0)]
    by_data = [alpha_page.by_data(rows, SHARES, rule) for rule in rules]
    assert by_data == [{"a": 90.0, "b": 90.0, "c": 70.0}, {"a": 70.0, "b": 70.0, "c": 90.0}]
    assert alpha_page.best(rows, SHARES) == NOW
    assert alpha_page.best(rows[3:], SHARES).least == 0.45
    assert alpha_page.left_out(rows, SHARES)["a"] == (NOW, 0.0)
    assert alpha_page.left_out([rows[0], rows[3]], SHARES)["a"][1] == pytest.approx(-14)  # as c chose


@pytest.mark.parametrize(("other", "words"), [(10, "is a clear gain. So minikd's rule should"), (30, "keeps its rule")])
def test_the_rule_is_only_kept_if_no_other_is_clearly_better_elsewhere(other, words):
    rows = [setting(data, [40, 20, other, other + n]) for n, data in enumerate("abcdef")]
    assert words in alpha_page.verdict(rows, SHARES)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([20, 10, 30, 40], ["higher than with minikd's in 0 of 1 such settings, and lower in 1"]),
        ([40, 30, 10, 20], ["higher than with minikd's in 1 of 1 such settings, and lower in 0"]),
    ],
)
def test_the_sentence_about_more_weight_for_labels_follows_from_the_numbers(wrong, words):
    text = alpha_page.more_for_labels([setting("a", wrong)], SHARES)
    assert all(one in text for one in words), text


def test_a_small_lesson_has_all_that_a_row_needs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int)
    v = np.stack([-3 * x[:, 0], 3 * x[:, 0]], axis=1)
    found = choose_alpha.one_lesson(choose_alpha.Lesson(x[:80], y[:80], v[:80], x[80:], y[80:]), 4)
    assert len(found["errors"]) == len(choose_alpha.SHARES) + len(choose_alpha.OTHER_SHARES) == len(found["log_loss"])
    assert (found["judged"], found["contradicted"], found["alpha"][0]) == (40, 0, 1)
    assert max(found["errors"]) < 10
    alone = beyond.population((x[:80], y[:80]), v[:80], (4,), [(1.0, 0.0), (2.0, 0.5)], 0, x[80:])
    assert found["errors"][len(choose_alpha.SHARES) - 1] == np.count_nonzero(alone[0].argmax(axis=1) != y[80:])


def test_the_page_is_what_the_committed_results_say():
    record = json.loads(alpha_page.RESULT.read_text(encoding="utf-8"))
    assert alpha_page.PAGE.read_text(encoding="utf-8") == alpha_page.page(record), (
        "run python -m benchmarks.choose_alpha --page"
    )
    measured = [(row["data"], row["teacher"], row["kind"]) for row in record["rows"]]
    assert measured == [(one.data, one.teacher, one.kind) for one in choose_alpha.SETTINGS]
