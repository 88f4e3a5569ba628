"""Soft targets: a teacher's logits for a whole transfer set, worked out once and tied to both by their hashes.

Logits are stored, not probabilities: every temperature follows from them. They are indexed by example, so they follow
whatever order the examples are drawn in; and they name the data and the teacher that they belong to, so they cannot be
used with others. Jittered images would need targets of their own, so the training loop refuses that pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minikd.backend import CPU, Device
from minikd.checkpoint import digest
from minikd.data import CLASSES, Dataset
from minikd.train import Network, logits


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's logits for the examples of one data set.

    logits: (N, K) float, row n for example n, nats. dataset: the fingerprint of the images and labels they were worked
    out on. teacher: the digest of the weights they came from.
    """

    logits: np.ndarray
    dataset: str
    teacher: str

    def check(self, dataset: Dataset) -> None:
        """Raises: ValueError unless these are finite targets of just this data set, in this order."""
        if self.dataset != dataset.fingerprint:
            raise ValueError(
                f"the soft targets belong to another data set ({self.dataset[:8]}…) than {dataset.name} "
                f"({dataset.fingerprint[:8]}…), or to another order of it: work them out again with soft_targets"
            )
        if self.logits.shape != (len(dataset), CLASSES):
            raise ValueError(
                f"soft targets have one row an example, {(len(dataset), CLASSES)}, got {self.logits.shape}"
            )
        if not np.isfinite(self.logits).all():
            raise ValueError("soft targets must be finite, got inf or nan: the teacher has diverged, train it again")


def soft_targets(teacher: Network, dataset: Dataset, device: Device = CPU) -> SoftTargets:
    """The teacher's logits for every example of the data set, without dropout and without jitter.

    Args: teacher, a single network, not a population; dataset, the transfer set, whose labels are not looked at.
    """
    if teacher.flat.ndim != 1:
        raise ValueError(f"the teacher must be one network, got a population of {teacher.flat.shape[:-1]}")
    z = device.get(logits(teacher, dataset, device))
    return SoftTargets(z, dataset.fingerprint, digest({"flat": teacher.flat}))
