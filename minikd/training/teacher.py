"""The soft targets of a trained teacher, and those that ship inside minikd."""

from __future__ import annotations

from importlib import resources

from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import CPU, Device, as_device
from minikd.training.answers import logits
from minikd.training.checkpoint import digest, load
from minikd.training.network import Network


def soft_targets(teacher: Network, dataset: Dataset | Frames, device: Device | str = CPU) -> SoftTargets:
    """Return the teacher's logits for every example of the data set, without dropout and without jitter.

    Args:
        teacher: a single network, not a population.
        dataset: the transfer set. Its labels are not used.
        device: where to compute: "cpu", "gpu" or a `Device`.

    Raises:
        ValueError: if the teacher is a population.
    """
    teacher.check_single("the teacher must be")
    device = as_device(device)
    z = device.get(logits(teacher, dataset, device))
    return SoftTargets(freeze(z), dataset.fingerprint, digest({"flat": teacher.flat}))


def load_teacher() -> tuple[SoftTargets, SoftTargets]:
    """Return the soft targets that ship inside minikd: a trained teacher's, for the two sets of `load_mnist`.

    It is the teacher of the paper's rows: 784-1200-1200-10, dropout, max-norm and jitter, trained on all labels of the
    training set. `python -m minikd.paper.teacher` made the file; its record holds the configuration and the errors.

    Returns:
        Soft targets for the training set, (60000, 10) float32, and for the test set, (10000, 10), in nats.

    Raises:
        CheckpointError: if the file is damaged.

    >>> train_targets, test_targets = load_teacher()
    >>> train_targets.logits.shape, test_targets.logits.shape
    ((60000, 10), (10000, 10))
    """
    with resources.as_file(resources.files("minikd") / "embedded" / "teacher" / "mnist.safetensors") as path:
        arrays, record = load(path)
    train, test = (SoftTargets(arrays[part], record[f"{part}_set"], digest(arrays)) for part in ("train", "test"))
    return train, test
