"""What networks learn from beside MNIST: sets without labels, colour, and hundreds of classes."""

from dataclasses import replace

import numpy as np
import pytest

from minikd.core.mlp import mlp_forward
from minikd.data.checks import DataError
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import CPU
from minikd.training.answers import count_errors, logits
from minikd.training.batches import Feed
from minikd.training.config import TrainConfig
from minikd.training.loop import Run, train

CONFIG = TrainConfig(hidden=(8,), epochs=2, batch_size=10, T=3.0, alpha=1.0)
K = 3


def images(labels=None, shape=(6, 4), N=40, classes=K):
    return Dataset(np.random.default_rng(3).integers(0, 256, (N, *shape), np.uint8), labels, "images", classes)


def frames(labels=None, N=40):
    values = np.random.default_rng(3).standard_normal((N, 5)).astype(np.float32)
    return Frames(values, np.arange(N), labels, "frames", K, 1)


def targets(data):
    v = 4 * np.random.default_rng(4).standard_normal((len(data), data.classes)).astype(np.float32)
    return SoftTargets(v, data.fingerprint, "mine")


@pytest.mark.parametrize("make", [images, frames])
@pytest.mark.parametrize("alpha", [1.0, (1.0, 1.0)])
def test_a_student_learns_the_same_without_labels_as_with_labels_of_no_weight(make, alpha):
    config = replace(CONFIG, alpha=alpha, seed=(0, 1) if isinstance(alpha, tuple) else 0)
    labelled, unlabelled = make(np.arange(40) % K), make()
    expected = train(config, labelled, soft_targets=targets(labelled), evaluation=labelled)
    got = train(config, unlabelled, soft_targets=targets(unlabelled), evaluation=labelled)
    np.testing.assert_array_equal(got.flat, expected.flat)
    assert [one["errors"] for one in got.history] == [one["errors"] for one in expected.history]
    np.testing.assert_array_equal(logits(got, unlabelled), logits(got, labelled))


@pytest.mark.parametrize("make", [images, frames])
def test_what_needs_labels_says_so_before_any_work(make):
    unlabelled, name = make(), make().name
    for alpha in (0.0, 0.9, (1.0, 0.9)):
        seeds = (0, 1) if isinstance(alpha, tuple) else 0
        with pytest.raises(
            ValueError, match=f"{name} has no labels, so all weight must be on soft targets.* set alpha=1"
        ):
            Run(replace(CONFIG, alpha=alpha, seed=seeds), unlabelled, soft_targets=targets(unlabelled))
    with pytest.raises(ValueError, match="gives weight to soft targets, but got none"):
        Run(CONFIG, unlabelled)
    with pytest.raises(DataError, match=f"{name} has no labels, so errors cannot be counted on it: give a data set"):
        Run(CONFIG, unlabelled, soft_targets=targets(unlabelled), evaluation=unlabelled)
    network = train(CONFIG, unlabelled, soft_targets=targets(unlabelled))
    with pytest.raises(DataError, match=f"{name} has no labels, so errors cannot be counted"):
        count_errors(network, unlabelled)


def test_unlabelled_frames_are_told_from_labelled_ones_and_keep_none():
    labelled, unlabelled = frames(np.zeros(40, np.int64)), frames()
    assert labelled.fingerprint != unlabelled.fingerprint
    assert (unlabelled.labelled, len(unlabelled), unlabelled.take([3, 1]).labels) == (False, 40, None)


def test_the_network_reads_red_green_and_blue_of_a_pixel_side_by_side():
    colour = images(np.arange(40) % K, shape=(6, 4, 3))
    (batch,) = Feed(TrainConfig(hidden=(8,), batch_size=40, seed=2), colour, None, CPU).batches(0)
    rows = colour.images.reshape(40, -1) * np.float32(1 / 255)
    known = {row.tobytes(): label for row, label in zip(rows, colour.labels, strict=True)}
    assert [known[x.tobytes()] for x in batch.x] == batch.y.tolist()
    network = train(replace(CONFIG, alpha=0.0, T=1.0), colour)
    z, _ = mlp_forward(rows, network.layers())
    np.testing.assert_array_equal(logits(network, colour), z)


def test_jitter_moves_whole_pixels_of_colour_images():
    """Every channel of a jittered image moves as the grey image of this channel does, by up to 2 pixels."""
    colour = images(np.zeros(40, np.int64), shape=(6, 4, 3))
    config = TrainConfig(hidden=(8,), batch_size=40, seed=2, jitter=2, dtype="float64")
    (moved,) = Feed(config, colour, None, CPU).batches(0)
    for channel in range(3):
        grey = Dataset(colour.images[..., channel], colour.labels, "grey", K)
        (expected,) = Feed(config, grey, None, CPU).batches(0)
        np.testing.assert_array_equal(moved.x.reshape(40, 6, 4, 3)[..., channel].reshape(40, -1), expected.x)
    assert not np.array_equal(np.sort(moved.x, axis=None), np.sort(colour.images / 255, axis=None))


@pytest.mark.parametrize("classes", [2, 300, 1000])
def test_networks_have_as_many_outputs_as_there_are_classes(classes):
    labels = np.arange(2000) % classes
    data = images(labels, N=2000, classes=0)
    network = train(
        replace(CONFIG, alpha=0.5, epochs=1, batch_size=100), data, soft_targets=targets(data), evaluation=data
    )
    assert network.sizes == (24, 8, classes)
    assert count_errors(network, data) == np.count_nonzero(logits(network, data).argmax(axis=-1) != labels)


# ---- the kernels -----------------------------------------------------------------------------------------------------


def on_both(cuda_device, config, data, **others):
    """The same run on a CPU and by the CUDA engine."""
    return [train(config, data, device=device, **others) for device in (CPU, cuda_device)]


@pytest.mark.parametrize("classes", [2, 300, 1000])
def test_the_kernels_take_as_many_classes_as_the_core(cuda_device, classes):
    data = images(np.arange(120) % classes, N=120, classes=classes)
    config = replace(CONFIG, alpha=0.5, dtype="float64", seed=(0, 1))
    expected, got = on_both(cuda_device, config, data, soft_targets=targets(data), evaluation=data)
    np.testing.assert_allclose(got.flat, expected.flat, rtol=1e-9, atol=1e-12)
    assert got.history[-1]["errors"] == expected.history[-1]["errors"]


@pytest.mark.parametrize("make", [images, frames])
@pytest.mark.parametrize("alpha", [1.0, (1.0, 1.0)])
def test_the_kernels_learn_from_sets_without_labels(cuda_device, make, alpha):
    config = replace(CONFIG, alpha=alpha, seed=(0, 1) if isinstance(alpha, tuple) else 0, dtype="float64")
    data = make()
    expected, got = on_both(cuda_device, config, data, soft_targets=targets(data))
    np.testing.assert_allclose(got.flat, expected.flat, rtol=1e-9, atol=1e-12)


def test_the_kernels_move_whole_pixels_of_colour_images(cuda_device):
    colour = images(np.arange(40) % K, shape=(6, 4, 3))
    config = TrainConfig(hidden=(8,), batch_size=20, seed=2, jitter=2, drop_input=0.2)
    on_host, on_card = ([*Feed(config, colour, None, device).batches(0)] for device in (CPU, cuda_device))
    for one, other in zip(on_host, on_card, strict=True):
        np.testing.assert_array_equal(cuda_device.get(other.x), one.x)
