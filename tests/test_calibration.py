"""Whether networks are right as often as they say."""

import numpy as np
import pytest

from minikd.theory.calibration import BINS, calibration_error, log_loss, reliability


def drawn(N=20_000, K=5, size=2.0):
    """Logits, and labels that are drawn from them: whoever says these logits is calibrated."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, size, (N, K))
    y = np.argmax(z + rng.gumbel(size=z.shape), axis=-1)
    return z, y


def test_who_draws_the_labels_is_calibrated_and_who_exaggerates_is_not():
    z, y = drawn()
    assert calibration_error(z, y) < 0.01
    assert calibration_error(3 * z, y) > 0.15
    assert calibration_error(z / 3, y) > 0.15
    assert log_loss(z, y) < min(log_loss(3 * z, y), log_loss(z / 3, y))


@pytest.mark.parametrize("N", [100, 1000, 10_000])
def test_chance_leaves_about_the_error_that_the_docstring_names(N):
    found = np.mean([calibration_error(*(part[i * N : (i + 1) * N] for part in drawn(4 * N))) for i in range(4)])
    assert found == pytest.approx(np.sqrt(BINS / N) / 3, rel=0.6)


def test_the_curve_is_that_of_a_plain_loop():
    z, y = drawn(500)
    q = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    edges, number, confidence, accuracy = reliability(z, y, bins=10)
    error = 0.0
    for b in range(10):
        inside = [i for i in range(500) if b / 10 < q[i].max() <= (b + 1) / 10]
        assert number[b] == len(inside)
        if inside:
            assert confidence[b] == pytest.approx(np.mean([q[i].max() for i in inside]))
            assert accuracy[b] == pytest.approx(np.mean([q[i].argmax() == y[i] for i in inside]))
            error += len(inside) / 500 * abs(confidence[b] - accuracy[b])
        else:
            assert np.isnan(confidence[b])
            assert np.isnan(accuracy[b])
    assert edges.tolist() == pytest.approx([b / 10 for b in range(11)])
    assert calibration_error(z, y, bins=10) == pytest.approx(error)


def test_sure_and_wrong_is_an_error_of_1_and_sure_and_right_of_0():
    z = np.array([[1e3, 0.0], [0.0, 1e3]])
    assert calibration_error(z, np.array([0, 1])) == 0
    assert calibration_error(z, np.array([1, 0])) == 1
    assert log_loss(z, np.array([1, 0])) == 1000


def test_the_log_loss_is_that_of_a_plain_loop():
    z, y = drawn(300)
    losses = [-np.log(np.exp(row)[label] / np.exp(row).sum()) for row, label in zip(z, y, strict=True)]
    assert log_loss(z, y) == pytest.approx(np.mean(losses))
    assert log_loss(z.astype(np.float32), y) == pytest.approx(log_loss(z, y), rel=1e-6)


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        calibration_error(np.zeros((2, 2)), np.array([0, 1]), bins=0)
