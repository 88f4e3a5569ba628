"""Distillation beyond MNIST: what is measured is what it is called, and the page says what the results say."""

import json

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra sklearn is not installed")
pytest.importorskip("onnx", reason="the extra onnx is not installed")

from benchmarks import beyond, beyond_page
from minikd.core.mlp import parameter_count
from minikd.distil import distil
from minikd.theory.statistics import Interval

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 3))
Y = (X @ [1.0, -1.0, 0.5] > 0).astype(int)
V = np.stack([-3 * X @ [1.0, -1.0, 0.5], 3 * X @ [1.0, -1.0, 0.5]], axis=1)


def test_a_width_is_the_largest_within_the_budget():
    H = beyond.width(5, 64, 10)
    assert 4 * parameter_count((64, H, 10)) <= 5000 < 4 * parameter_count((64, H + 1, 10))


def test_a_student_of_the_population_is_the_one_that_distil_makes():
    student = distil(X, Y, teacher_logits=V, hidden=(5,), T=2.0, alpha=0.7, seed=3)
    pairs = [(1.0, 0.0), (2.0, 0.7)]
    z = beyond.population((X, Y), V, (5,), pairs, 3, X)
    np.testing.assert_allclose(z[1], student.logits(X), rtol=1e-3, atol=1e-3)
    assert np.abs(z[0] - z[1]).max() > 0.5


def test_the_student_alone_learns_nothing_from_the_teacher():
    once, again = (beyond.population((X, Y), v, (5,), [(1.0, 0.0), (2.0, 0.7)], 3, X) for v in (V, -V))
    np.testing.assert_array_equal(once[0], again[0])
    assert np.abs(once[1] - again[1]).max() > 0.5


@pytest.mark.parametrize(("name", "N", "D", "K"), [("ImageSegments", 2310, 18, 7), ("Phishing", 1250, 9, 2)])
def test_the_data_sets_of_river_are_what_the_page_says(name, N, D, K):
    pytest.importorskip("river", reason="the extra bench is not installed")
    x, y = beyond.of_river(name)
    assert (x.shape, len(y), sorted(set(y.tolist()))) == ((N, D), N, list(range(K)))


def test_seeds_are_gathered_into_lists_at_the_leaves():
    found = [{"a": {"b": 1.00000049}, "c": [2, 3], "once": {"d": 4}}, {"a": {"b": 2.0}, "c": [5, 6], "once": None}]
    assert beyond.gathered(found) == {"a": {"b": [1.0, 2.0]}, "c": [[2, 5], [3, 6]], "once": {"d": [4]}}


@pytest.mark.slow
def test_one_seed_of_a_small_case_has_all_that_the_page_needs():
    case = beyond.Case("made up", "this test", lambda: (X, Y), "random forest", beyond.forest)
    row = json.loads(json.dumps(beyond.measure(case, [0, 1])))
    record = {"rows": [row], "grid": beyond.GRID, "seeds": [0, 1], "machine": {"device": "a machine"}}
    page = beyond_page.page(record)
    assert "| made up | this test | 120 | 3 | 2 |" in page
    assert "Two seeds." in page
    assert row["teacher"]["seen"] == [1.0, 1.0]
    assert len(row["students"]["5 kB"]["grid"]) == len(beyond.GRID)
    assert row["students"]["1 kB"]["bytes"]["onnx int8"][0] < row["students"]["20 kB"]["bytes"]["onnx int8"][0]


def of(alone, distilled):
    """A row in which a student scores this on each seed, and its teacher 0.9."""
    student = {"alone": {"accuracy": alone}, "distilled": {"accuracy": distilled}}
    return {"data": "d", "model": "m", "teacher": {"accuracy": [0.9] * len(alone)}, "students": {"5 kB": student}}


def test_only_a_difference_whose_interval_leaves_0_out_is_called_clear():
    rows = [of([0.8, 0.82, 0.81], [0.85, 0.87, 0.86]), of([0.8, 0.9, 0.7], [0.81, 0.7, 0.9])]
    gains = [beyond_page.gain(row) for row in rows]
    assert gains[0] == pytest.approx((5, 5, 5))
    assert [beyond_page.clear(one) for one in gains] == [1, 0]
    words = beyond_page.whether_it_helps(rows)
    assert "clearly higher in 1 of 2, clearly lower in 0; elsewhere the difference may be chance" in words
    assert "Higher: d (m). Lower: none." in words
    assert beyond_page.shown(Interval(-1.0, -2.0, -0.5)) == "**−1.0 [−2.0, −0.5]**"


def test_hindsight_takes_the_pair_with_the_best_mean_and_the_lower_loss_of_equals():
    grid = [
        {"accuracy": [0.9, 0.8], "log_loss": [0.1, 0.1]},
        {"accuracy": [0.8, 1.0], "log_loss": [0.3, 0.3]},
        {"accuracy": [1.0, 0.8], "log_loss": [0.2, 0.2]},
    ]
    row = {"students": {"5 kB": {"grid": grid, "distilled": {"accuracy": [0.9, 0.7]}}}}
    best, ahead = beyond_page.hindsight(row, [(1, 0.3), (1, 0.6), (1, 0.9)])
    assert (best, ahead.value) == (2, pytest.approx(10))


@pytest.mark.parametrize(("votes", "advice"), [(0.7, "So wrap an `SVC`"), (0.9, "So either may teach here")])
def test_the_advice_about_support_vector_machines_follows_from_their_students(votes, advice):
    rows = [
        of([0.8, 0.8, 0.8], [right, right + 0.01, right - 0.01]) | {"data": "digits", "model": model}
        for right, model in ((0.9, beyond_page.REST), (votes, beyond_page.VOTES))
    ]
    words = beyond_page.two_machines(rows)
    assert advice in words
    assert "We added one against the rest after we had seen the result of votes of pairs." in words
    assert beyond_page.two_machines(rows[:1]) == ""


@pytest.mark.parametrize(
    ("right", "lower", "lowest", "lesson"),
    [
        ([0.7, 0.6, 0.5], 1, 1, "nowhere clearly better"),
        ([0.5, 0.9, 0.6], 1, 0, "clearly better than the chosen one for d (m)"),
        ([0.5, 0.6, 0.7], 0, 0, "nowhere clearly better"),
    ],
)
def test_the_lesson_about_alpha_follows_from_what_was_found(right, lower, lowest, lesson):
    row = of([0.6, 0.6, 0.6], [0.7, 0.71, 0.69])
    row["students"]["5 kB"]["distilled"] |= {"T": [2.0] * 3, "alpha": [0.5] * 3}
    row["students"]["5 kB"]["grid"] = [{"accuracy": [one] * 3, "log_loss": [0.1] * 3} for one in right]
    words = beyond_page.about_T([row], [(1.0, 0.03), (1.0, 0.3), (1.0, 0.9)])
    assert f"The best alpha is below the chosen one in {lower} of 1" in words
    assert f"the lowest one that was tried, 0.03, in {lowest}." in words
    assert lesson in words


def test_the_page_is_what_the_committed_results_say():
    record = json.loads(beyond_page.RESULT.read_text(encoding="utf-8"))
    assert beyond_page.PAGE.read_text(encoding="utf-8") == beyond_page.page(record), (
        "run python -m benchmarks.beyond --page"
    )
    assert [(row["data"], row["model"]) for row in record["rows"]] == [(case.data, case.model) for case in beyond.CASES]
    assert all(len(row["teacher"]["accuracy"]) == len(beyond.SEEDS) for row in record["rows"])


def test_what_the_texts_say_of_single_teachers_is_in_the_results():
    record = json.loads(beyond_page.RESULT.read_text(encoding="utf-8"))
    rows = {(row["data"], row["model"]): row for row in record["rows"]}
    forest = rows["digits", "random forest"]
    student = forest["students"]["5 kB"]
    assert student["hidden"] == [16] * 5
    size, onnx, int8 = (
        np.mean(b) for b in (forest["teacher"]["bytes"], *map(student["bytes"].get, ("onnx", "onnx int8")))
    )
    teacher, right, rounded = (
        100 * np.mean(one["accuracy"]) for one in (forest["teacher"], student["distilled"], student["int8"])
    )
    readme = " ".join((beyond_page.HERE.parent / "README.md").read_text(encoding="utf-8").split())
    forests = f"forests of {beyond_page.TREES} trees, {size / 1e6:.1f} MB each"
    assert f"{forests}, were right on {teacher:.1f} % of the test part" in readme
    assert f"on {right:.1f} % with {onnx / 1000:.1f} kB, or {rounded:.1f} % with {int8 / 1000:.1f} kB as int8" in readme
    one, votes = rows["digits", "SVM, one against the rest"], rows["digits", "SVM, votes of pairs"]
    assert abs(np.mean(one["teacher"]["accuracy"]) - np.mean(votes["teacher"]["accuracy"])) < 0.002
    assert beyond_page.clear(beyond_page.gain(votes)) == -1 < beyond_page.clear(beyond_page.gain(one, "20 kB")) == 1
    for data in ("digits", "wine"):
        row = rows[data, "random forest"]
        parts = [row["students"]["5 kB"][name]["ece"] for name in ("distilled", "alone")]
        assert beyond_page.difference(*parts).low > 0
    assert max(rows["phishing", "random forest"]["teacher"]["seen"]) < 1
