"""What a network reads of raw examples: the same numbers when it is used as when it was trained."""

import numpy as np
import pytest
from test_idx import refused

from minikd.data.inputs import Inputs
from minikd.engines.device import CPU
from minikd.training.batches import Resident


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (5, 4), (5, 4, 1), (5, 4, 3)])
def test_rows_are_the_bits_that_training_reads(shape, dtype):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (30, *shape)) if len(shape) > 1 else 9 * rng.standard_normal((30, 7)) + 4
    inputs = Inputs.of(x)
    held = Resident(inputs.dataset(x, None, "mine", 2), CPU)
    rows = inputs.rows(x, dtype)
    np.testing.assert_array_equal(rows, held.inputs(0, 30, dtype), strict=True)
    assert rows.shape == (30, inputs.size)
    again = Inputs.from_file(list(inputs.shape), inputs.arrays())
    np.testing.assert_array_equal(again.rows(x[:3], dtype), rows[:3])


def test_features_have_mean_0_and_deviation_1_and_constant_ones_are_0():
    x = np.random.default_rng(0).standard_normal((500, 4)) * [1, 1e-6, 1e6, 0] + [0, 1, 1e6, 0.1]
    rows = Inputs.of(x).rows(x, "float64")
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), [1, 1, 1, 0], atol=1e-5)


def test_a_single_dark_image_may_be_used_where_a_dark_set_may_not_be_learnt_from():
    x = np.full((1, 5, 4), 0.25)
    inputs = Inputs((5, 4))
    np.testing.assert_allclose(inputs.rows(x), np.full((1, 20), 64 / 255), rtol=1e-6)
    refused(lambda: inputs.dataset(x, None, "mine", 2), "too dark")


def test_a_value_far_from_those_learnt_from_stays_finite():
    inputs = Inputs.of(np.array([[0.0], [1e-30]]))
    assert np.isfinite(inputs.rows(np.array([[1e300]]))).all()
    assert np.isfinite(inputs.dataset(np.array([[-1e300]]), None, "mine", 2).frames).all()


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (np.zeros((2, 3)), ["shape (N, 5, 4)", "float64 of shape (2, 3)"]),
        (np.zeros((0, 5, 4)), ["shape (N, 5, 4)", "(0, 5, 4)"]),
        (np.zeros((5, 4)), ["shape (N, 5, 4)"]),
        ([[1.0]], ["shape (N, 5, 4)", "list"]),
        (np.full((1, 5, 4), np.nan), ["nan"]),
        (np.full((1, 5, 4), "a"), ["must be numbers"]),
    ],
)
def test_what_is_not_like_the_examples_learnt_from_is_refused(x, parts):
    refused(lambda: Inputs((5, 4)).rows(x), "the input: ", *parts)


def test_features_that_are_not_finite_are_named():
    inputs = Inputs.of(np.array([[0.0], [1.0]]))
    refused(lambda: inputs.rows(np.array([[np.nan]])), "the input: features must be finite, got nan in row 0, column 0")
    refused(lambda: Inputs.of(np.array([[np.inf]])), "examples: features must be finite, got inf in row 0, column 0")
