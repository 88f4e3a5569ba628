"""Windows of frames: what `Frames` refuses, and that the training loop reads of them just what a reader would."""

import numpy as np
import pytest

from minikd.core.mlp import mlp_forward
from minikd.data.checks import DataError
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.engines.device import CPU
from minikd.training.answers import count_errors, logits
from minikd.training.batches import Feed
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network
from minikd.training.teacher import soft_targets

K, M, CONTEXT = 3, 4, 5


def frames(N=60, seed=0):
    """Windows that begin anywhere, whose class can be told from their middle frame."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, 80).astype(np.uint8)
    values = rng.standard_normal((84, M)).astype(np.float32)
    values[2:82, :K] += 3 * np.eye(K, dtype=np.float32)[labels]
    starts = np.sort(rng.permutation(80)[:N])
    return Frames(values, starts, labels[starts], "frames", K, CONTEXT)


def test_a_window_is_its_frames_end_to_end():
    speech = frames()
    expected = [speech.frames[start : start + CONTEXT].ravel() for start in speech.starts[[7, 0]]]
    np.testing.assert_array_equal(speech.windows([7, 0]), expected, strict=True)
    assert speech.shape == (CONTEXT, M)


def test_batches_hold_each_window_with_its_own_label_and_soft_targets():
    speech = frames()
    teacher = Network.from_layers(
        [(np.random.default_rng(1).standard_normal((M * CONTEXT, K)).astype("f4"), np.zeros(K, "f4"))], []
    )
    targets = soft_targets(teacher, speech)
    config = TrainConfig(hidden=(4,), batch_size=20, alpha=0.5, T=2.0, seed=3)
    seen = []
    for batch in Feed(config, speech, targets, CPU).batches(0):
        for x, y, v in zip(batch.x, batch.y, batch.v, strict=True):
            n = next(n for n in range(len(speech)) if np.array_equal(speech.windows([n])[0], x))
            assert y == speech.labels[n]
            np.testing.assert_allclose(v, x @ teacher.layers()[0][0], rtol=1e-4, atol=1e-5)
            seen.append(n)
    assert sorted(seen) == list(range(len(speech)))


def test_training_learns_what_windows_show():
    speech, other = frames(), frames(seed=1)
    network = train(TrainConfig(hidden=(16,), epochs=30, batch_size=10), speech, evaluation=other)
    assert network.history[-1]["errors"] == count_errors(network, other) < len(other) / 5
    z, _ = mlp_forward(other.windows(np.arange(len(other))), network.layers())
    np.testing.assert_array_equal(logits(network, other), z)


def test_frames_train_as_images_of_the_same_numbers_would():
    """Bytes as images, and the same numbers as frames that do not overlap: the same network, bit by bit."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 3, M), np.uint8), rng.integers(0, K, 40).astype(np.uint8)
    values = images.reshape(-1, M).astype(np.float32) * np.float32(1 / 255)
    config = TrainConfig(hidden=(8,), epochs=2, batch_size=8, drop_input=0.2)
    one = train(config, Dataset(images, labels, "images", K))
    other = train(config, Frames(values, np.arange(0, 120, 3), labels, "frames", K, 3))
    np.testing.assert_array_equal(one.flat, other.flat)


def test_the_fingerprint_tells_windows_labels_and_context_apart():
    speech = frames()
    changed = [
        Frames(speech.frames + 1, speech.starts, speech.labels, "frames", K, CONTEXT),
        Frames(speech.frames, speech.starts[::-1], speech.labels, "frames", K, CONTEXT),
        Frames(speech.frames, speech.starts, (speech.labels + 1) % K, "frames", K, CONTEXT),
        Frames(speech.frames, speech.starts, speech.labels, "frames", K, CONTEXT - 1),
    ]
    prints = {one.fingerprint for one in (speech, *changed)}
    assert len(prints) == 5
    assert speech.take(np.arange(60)).fingerprint == speech.fingerprint


def test_taking_shares_the_frames():
    taken = frames().take(np.array([4, 0, 4]))
    assert len(taken) == 3
    assert np.array_equal(taken.starts, frames().starts[[4, 0, 4]])
    speech = frames()
    assert np.shares_memory(speech.take([1]).frames, speech.frames)
    assert not speech.frames.flags.writeable


def test_integers_of_every_type_are_starts_and_labels():
    speech = frames()
    other = Frames(speech.frames, speech.starts.astype(">u2"), speech.labels.astype(np.int64), "frames", K, CONTEXT)
    assert other.fingerprint == speech.fingerprint
    assert (other.starts.dtype, other.labels.dtype) == (np.int64, np.uint8)


def test_a_later_change_of_the_callers_arrays_does_not_reach_the_windows():
    speech = frames()
    values, starts, labels = speech.frames.copy(), speech.starts.copy(), speech.labels.copy()
    theirs = Frames(values, starts, labels, "frames", K, CONTEXT)
    before = theirs.fingerprint
    values += 1
    starts[:], labels[:] = 0, 0
    np.testing.assert_array_equal(theirs.windows([7, 0]), speech.windows([7, 0]))
    assert theirs.labels.tolist() == speech.labels.tolist()
    assert Frames(theirs.frames, theirs.starts, theirs.labels, "again", K, CONTEXT).fingerprint == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": np.zeros((84, M))}, "frames must be (F, M) float32, got float64 of shape (84, 4)"),
        ({"frames": [[1.0]]}, "frames must be (F, M) float32, got list"),
        ({"frames": np.full((84, M), np.nan, np.float32)}, "frames must be finite"),
        ({"starts": np.zeros(60)}, "starts must be (N,) integers, got float64 of shape (60,)"),
        ({"starts": np.zeros((60, 1), np.int64)}, "starts must be (N,) integers, got int64 of shape (60, 1)"),
        ({"starts": np.full(60, 2**63, np.uint64)}, "start in 0..79, got 9223372036854775808..9223372036854775808"),
        ({"starts": np.full(60, 80)}, "windows of 5 among 84 frames start in 0..79, got 80..80"),
        ({"starts": np.full(60, -1)}, "start in 0..79, got -1..-1"),
        ({"starts": np.zeros(0, np.int64), "labels": np.zeros(0, np.uint8)}, "starts must not be empty"),
        ({"labels": np.zeros(59, np.uint8)}, "every window needs one label, got 60 windows and 59 labels"),
        ({"labels": np.full(60, 256)}, "labels lie in 0..2, got 256 at position 0"),
        ({"labels": np.zeros(60)}, "labels must be integers, got float64"),
        ({"labels": np.full(60, 3, np.uint8)}, "labels lie in 0..2, got 3 at position 0"),
        ({"context": 0}, "context must be a whole number >= 1, got 0"),
        ({"classes": 65_537}, "classes must be a whole number in 2..65536, got 65537"),
        ({"classes": 1}, "classes must be a whole number in 2..65536, got 1"),
    ],
)
def test_what_frames_refuse(change, words):
    speech = frames()
    fields = {name: getattr(speech, name) for name in ("frames", "starts", "labels", "name", "classes", "context")}
    with pytest.raises(DataError) as raised:
        Frames(**{**fields, **change})
    assert words in str(raised.value)


def test_jitter_and_another_size_are_refused():
    with pytest.raises(ValueError, match="jitter moves images, but frames holds frames, got jitter = 2: set jitter=0"):
        train(TrainConfig(hidden=(4,), jitter=2, batch_size=10), frames())
    images = Dataset(np.zeros((2, 3, M), np.uint8), np.zeros(2, np.uint8), "images", K)
    with pytest.raises(ValueError, match=r"images of one size, got \(5, 4\) and \(3, 4\)"):
        train(TrainConfig(hidden=(4,), batch_size=10), frames(), evaluation=images)
