"""Figures of speech show the numbers that they are given, and refuse what does not fit."""

import numpy as np
import pytest

from minikd.core.softmax import softmax
from minikd.plots.speech import SECONDS, boundary, hearing, name

PER_DIGIT, STATES, F = 2, 21, 12
RNG = np.random.default_rng(0)
FRAMES = RNG.normal(size=(F, 40)).astype(np.float32)
LABELS = np.array([20, 20, 6, 6, 6, 7, 7, 7, 20, 4, 5, 20])
Z = RNG.normal(size=(F, STATES)).astype(np.float32)


def test_a_picture_of_what_is_heard_holds_frames_digits_and_what_is_said():
    above, below, *scales = hearing(FRAMES, LABELS, Z, PER_DIGIT).axes
    assert [scale.get_ylabel() for scale in scales] == ["log energy", "probability"]
    assert np.array_equal(above.images[0].get_array(), FRAMES.T)
    q = softmax(Z.astype(np.float64))
    shown = below.images[0].get_array()
    np.testing.assert_allclose(shown[3], q[:, 6] + q[:, 7])  # a 3 is its two states
    np.testing.assert_allclose(shown[10], q[:, 20])
    np.testing.assert_allclose(shown.sum(axis=0), 1)
    line = below.lines[0]
    assert line.get_ydata()[:F].tolist() == [10, 10, 3, 3, 3, 3, 3, 3, 10, 2, 2, 10]
    assert line.get_xdata()[-1] == pytest.approx(F * SECONDS)


def test_the_boundary_shows_both_states_and_the_likeliest_other_at_each_temperature():
    figure = boundary(Z, LABELS, 5, (1.0, 4.0), PER_DIGIT)
    for panel, T in zip(figure.axes, (1.0, 4.0), strict=True):
        lines = {line.get_label(): line for line in panel.lines[:3]}
        for state, label in ((6, "3·1"), (7, "3·2")):
            np.testing.assert_allclose(lines[label].get_ydata(), softmax(Z[:F].astype(np.float64), T)[:, state])
        assert lines["3·1"].get_xdata()[0] == -5
        assert panel.get_title() == f"T = {T:g}"
        assert all(float(at).is_integer() for at in panel.get_xticks())


def test_states_have_names():
    assert [name(state, 8) for state in (0, 63, 80)] == ["0·1", "7·8", "silence"]


@pytest.mark.parametrize("at", [0, F, -1])
def test_a_boundary_that_is_none_is_refused(at):
    with pytest.raises(ValueError, match=f"at must be a frame from 1 to 11, with one before it, got {at}"):
        boundary(Z, LABELS, at, (1.0,), PER_DIGIT)


def test_arrays_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="one row per frame"):
        hearing(FRAMES[1:], LABELS, Z, PER_DIGIT)
