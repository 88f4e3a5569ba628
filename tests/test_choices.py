"""The choices that minikd makes for the user, held against what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from minikd.distil.choices import choose_T
from minikd.theory.statistics import mean_interval

RESULTS = Path(__file__).parent.parent / "minikd" / "paper" / "results"


def ranged(R, K=10, N=50):
    """Logits with a median range of R."""
    v = np.random.default_rng(0).uniform(0, 1, (N, K))
    v[:, 0], v[:, 1] = 0, 1
    return R * v


def measured():
    """(profile, width) → T (t,) and errors (seeds, t) of rows M4 and M5."""
    for profile in ("cpu", "full"):
        rows = json.loads((RESULTS / f"{profile}.json").read_text(encoding="utf-8"))["rows"]
        for row in rows:
            if row["row"] in ("M4", "M5"):
                T = np.array(row["numbers"]["T"])
                yield from ((profile, int(w), T, np.array(e)) for w, e in row["numbers"]["errors"].items())


GRID = {(profile, width): (T, errors) for profile, width, T, errors in measured()}


def excess(profile, width, chosen):
    """Errors more than at the width's best T, seed by seed, with an interval; between two T along log T."""
    T, errors = GRID[profile, width]
    at = np.array([np.interp(np.log(chosen), np.log(T), row) for row in errors])
    return mean_interval(at - errors[:, np.argmin(errors.mean(axis=0))])


@pytest.mark.parametrize("R", [24.0, 29.0])  # of the teachers of these rows, to within what their recipes change
@pytest.mark.parametrize(("profile", "width"), GRID)
def test_the_chosen_T_is_within_the_noise_of_the_best_T_of_each_width(profile, width, R):
    found = excess(profile, width, choose_T(ranged(R), (width, width)).value)
    assert found.low <= 0
    assert found.value < 0.05 * GRID[profile, width][1].mean()


@pytest.mark.parametrize(("width", "other"), [(30, 800), (800, 30)])
def test_the_T_for_another_width_would_be_worse_than_noise(width, other):
    assert excess("full", width, choose_T(ranged(29.0), (other, other)).value).low > 0


def test_T_grows_in_proportion_to_the_logits_and_with_the_narrowest_layer():
    assert choose_T(ranged(240.0), (800,)).value == pytest.approx(10 * choose_T(ranged(24.0), (800,)).value)
    chosen = [choose_T(ranged(24.0), (800, width)).value for width in (10, 30, 60, 100, 300, 800)]
    assert chosen == sorted(chosen)
    assert chosen[0] == chosen[1] < chosen[2] < chosen[3] < chosen[4] == chosen[5]


def test_the_range_is_the_typical_one_so_single_examples_decide_nothing():
    v = ranged(24.0)
    v[0] *= 1e6
    assert choose_T(v, (300,)).value == pytest.approx(8.0)


def test_T_is_never_below_1_and_constant_logits_are_no_error():
    for R in (0.0, 0.1, 2.9):
        assert choose_T(ranged(R), (300,)).value == 1


def test_the_reason_is_one_sentence_with_the_numbers_that_decided():
    words = choose_T(ranged(24.0), (300, 300)).why
    assert words == (
        "T = 8, because the teacher's logits have a range of 24 in the median, and a student with 30 units per class "
        "can match all logits: the range is 3 T, so the least likely class keeps 5 % of the likeliest one's weight."
    )
    assert "needs no softening" in choose_T(ranged(1.0), (300,)).why


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((2, 1)), np.full((2, 3), np.nan)])
def test_other_logits_are_refused(wrong):
    with pytest.raises(ValueError, match="^v must"):
        choose_T(wrong, (30,))


def test_a_student_without_hidden_layers_has_no_width():
    with pytest.raises(ValueError, match="hidden must name at least one layer"):
        choose_T(ranged(3.0), ())
