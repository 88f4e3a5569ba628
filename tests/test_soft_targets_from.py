"""Logits from anywhere become soft targets, or are refused with the way to fix them."""

import numpy as np
import pytest

from minikd.core.softmax import softmax
from minikd.data.images import Dataset
from minikd.data.soft_targets import logits_from_probabilities, soft_targets_from

DATA = Dataset(np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 2], np.uint8), "three", classes=3)
V = np.random.default_rng(0).normal(size=(3, 3))


class Tensor:
    """What NumPy sees of a tensor of PyTorch."""

    def __init__(self, values, requires_grad=False):
        self.values, self.requires_grad = values, requires_grad

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        return np.array(self.values, dtype)


@pytest.mark.parametrize("same", [V, V.tolist(), V.astype(np.float32), Tensor(V), V.astype(np.float16)])
def test_logits_of_any_kind_become_soft_targets_of_the_data(same):
    targets = soft_targets_from(same, DATA)
    targets.check(DATA)
    np.testing.assert_allclose(targets.logits, V, atol=2e-3)
    assert targets.logits.dtype in (np.float32, np.float64)
    assert soft_targets_from(V, DATA, T=4.0).T == 4.0


def test_targets_keep_their_numbers_and_name_their_teacher():
    own = V.copy()
    targets = soft_targets_from(own, DATA)
    own[0] = 9
    np.testing.assert_array_equal(targets.logits, V)
    assert targets.teacher == soft_targets_from(V, DATA).teacher != soft_targets_from(V + 1, DATA).teacher


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (V[:2], "one row of logits per example, 3, got 2"),
        (V[:, :2], "one column of logits per class, 3, got 2"),
        (V[0], r"must be numbers, \(N, K\), a row per example"),
        (V.astype(str), "must be numbers"),
        ([[1.0, 2.0], [1.0]], r"must be an \(N, K\) array on the host"),
        (Tensor(V, requires_grad=True), r"requires grad.\): convert them, in PyTorch, .detach\(\).cpu\(\).numpy\(\)"),
        (np.where(np.eye(3) > 0, np.nan, V), "must be finite, got nan in row 0, column 0"),
        (
            np.where(np.eye(3) > 0, -np.inf, V),
            "got -inf in row 0, column 0: of probabilities that are 0, take logits_f",
        ),
        (np.where(np.eye(3) > 0, 1e39, V), "must be finite, got 1e.39"),
        (softmax(V), r"must not be probabilities, .+: pass logits_from_probabilities\(p\)"),
        (np.eye(3), "must not be probabilities"),
    ],
)
def test_what_are_no_logits_of_this_data_is_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        soft_targets_from(logits, DATA)


def test_the_softmax_of_the_logits_is_p():
    p = softmax(V)
    np.testing.assert_allclose(softmax(logits_from_probabilities(p)), p, rtol=1e-12)
    soft_targets_from(np.log(p), DATA)  # log-probabilities are logits


@pytest.mark.parametrize("voters", [1, 10, 500])
def test_less_than_half_a_vote_counts_as_half_a_vote(voters):
    p = np.array([[0.0, 1.0], [0.1 / voters, 1 - 0.1 / voters]])
    v = logits_from_probabilities(p, voters)
    np.testing.assert_allclose(v[:, 0], np.log(0.5 / voters))


def test_without_votes_the_floor_is_the_resolution_of_float32():
    for dtype in (np.float32, np.float64):
        v = logits_from_probabilities(np.array([[0, 1], [1e-30, 1], [1e-6, 1]], dtype))
        np.testing.assert_allclose(v, np.log([[2.0**-23, 1], [2.0**-23, 1], [1e-6, 1]]), rtol=1e-6)
        assert v.dtype == dtype


@pytest.mark.parametrize(
    ("p", "voters", "message"),
    [
        (V, None, r"must lie in \[0, 1\], got .+ are these logits already"),
        ([[0.5, 0.5], [0, 0]], None, "one above 0, got none in row 1"),
        ([[0.5, np.nan]], None, r"must lie in \[0, 1\], got nan"),
        ([[0.5, 0.5]], 0, "voters must be a whole number >= 1, got 0"),
    ],
)
def test_what_are_no_probabilities_is_refused(p, voters, message):
    with pytest.raises(ValueError, match=message):
        logits_from_probabilities(p, voters)
