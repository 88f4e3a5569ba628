"""A run is a generator of epochs: it stops where you stop and goes on where you ask; to stop early, break the loop."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from minikd.data.images import Dataset
from minikd.training.answers import count_errors, logits
from minikd.training.checkpoint import CheckpointError
from minikd.training.config import TrainConfig
from minikd.training.loop import Run, train
from minikd.training.teacher import soft_targets

CONFIG = TrainConfig(hidden=(12, 9), epochs=4, batch_size=16, drop_hidden=0.5, jitter=1)


@pytest.fixture(scope="module")
def digits():
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 256, (100, 6, 5), dtype=np.uint8), rng.integers(0, 10, 100, dtype=np.uint8), "noise")


@pytest.fixture(scope="module")
def whole(digits):
    return train(CONFIG, digits, evaluation=digits)


def plain(history):
    """A history without what a clock says."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def test_a_run_yields_one_record_per_epoch_and_ends_with_the_bits_of_train(digits, whole):
    run = Run(CONFIG, digits, evaluation=digits)
    before = run.network().flat.copy()
    records = [dict(record) for record in run.epochs()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert set(records[0]) == {"epoch", "cost", "learning_rate", "errors", "seconds"}
    assert records == run.history == run.network().history
    assert plain(records) == plain(whole.history)
    np.testing.assert_array_equal(run.network().flat, whole.flat, strict=True)
    assert np.any(before != whole.flat)


def test_nothing_is_trained_before_an_epoch_is_asked_for_or_after_the_last(digits):
    run = Run(CONFIG, digits)
    before = run.network().flat.copy()
    epochs = run.epochs()
    np.testing.assert_array_equal(run.network().flat, before)
    next(epochs)
    after_one = run.network().flat.copy()
    assert np.any(after_one != before)
    assert len(run.history) == 1
    assert len(list(epochs)) == 3
    ended = run.network().flat.copy()
    assert list(epochs) == list(run.epochs()) == []
    np.testing.assert_array_equal(run.network().flat, ended)


@pytest.mark.parametrize("cut", [1, 3])
def test_a_run_that_stops_goes_on_where_it_is(cut, digits, whole):
    run = Run(CONFIG, digits, evaluation=digits)
    assert [record["epoch"] for record in islice(run.epochs(), cut)] == list(range(1, cut + 1))
    assert len(run.history) == cut
    assert [record["epoch"] for record in run.epochs()] == list(range(cut + 1, 5))
    np.testing.assert_array_equal(run.network().flat, whole.flat, strict=True)
    assert plain(run.history) == plain(whole.history)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_saved_midway_ends_with_the_same_bits_elsewhere(dtype, digits, tmp_path):
    config, path = replace(CONFIG, dtype=dtype, seed=(1, 2)), tmp_path / "run"
    expected = train(config, digits)
    first = Run(config, digits)
    for record in first.epochs():
        if record["epoch"] == 2:
            first.save(path)
            break
    second = Run(config, digits)
    second.resume(path)
    np.testing.assert_array_equal(second.network().flat, first.network().flat, strict=True)
    assert plain(second.history) == plain(first.history)
    assert [record["epoch"] for record in second.epochs()] == [3, 4]
    np.testing.assert_array_equal(second.network().flat, expected.flat, strict=True)


def test_a_run_resumes_only_its_own_checkpoint_and_starts_afresh_without_one(digits, tmp_path):
    run = Run(CONFIG, digits)
    run.resume(tmp_path / "missing")
    assert run.history == []
    next(run.epochs())
    run.save(tmp_path / "run")
    other = Run(replace(CONFIG, seed=1), digits)
    with pytest.raises(CheckpointError, match="it belongs to another config"):
        other.resume(tmp_path / "run")
    assert other.history == []


def test_early_stopping_is_a_plain_loop(digits):
    run, best, kept = Run(replace(CONFIG, epochs=50), digits, evaluation=digits), np.inf, None
    for record in run.epochs():
        if record["errors"] >= best:
            break
        best, kept = record["errors"], run.network().flat.copy()
    assert 1 < len(run.history) < 50
    assert run.history[-1]["errors"] >= best == run.history[-2]["errors"]
    assert np.any(kept != run.network().flat), "the weights that were kept are a copy"


def test_each_step_is_reported_over_the_whole_schedule(digits):
    seen = []
    run = Run(CONFIG, digits)
    for _ in islice(run.epochs(lambda done, steps: seen.append((done, steps))), 2):
        pass
    assert seen == [(step, 24) for step in range(1, 13)]


def test_what_does_not_fit_is_refused_before_any_epoch(digits):
    with pytest.raises(ValueError, match=r"alpha = 0\.5 gives weight to soft targets, but got none"):
        Run(replace(CONFIG, alpha=0.5), digits)
    other = Dataset(np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.uint8), "small")
    with pytest.raises(ValueError, match="dataset and evaluation must have images of one size"):
        Run(CONFIG, digits, evaluation=other)
    with pytest.raises(TypeError, match="dataset must be a data set"):
        Run(CONFIG, digits.images, evaluation=digits)
    with pytest.raises(TypeError, match="evaluation must be a data set, as dataset is, or None, got ndarray"):
        Run(CONFIG, digits, evaluation=digits.images)


def test_what_a_network_answers_is_computed_on_a_device_given_by_its_name(digits, whole):
    expected = logits(whole, digits)
    np.testing.assert_array_equal(logits(whole, digits, "cpu"), expected)
    np.testing.assert_array_equal(soft_targets(whole, digits, device="cpu").logits, expected)
    assert count_errors(whole, digits, "cpu") == count_errors(whole, digits)
    for answer in (logits, count_errors, soft_targets):
        with pytest.raises(ValueError, match="the device must be 'cpu', or 'gpu' for an NVIDIA card, got 'tpu'"):
            answer(whole, digits, "tpu")
