"""Soft targets: a teacher's logits for a whole transfer set, tied to both by their hashes.

A transfer set is the data that a student learns its teacher's answers on. Logits are stored, not probabilities, because
the probabilities at every temperature follow from them. They are indexed by example, so they follow whatever order the
examples are drawn in. They name the data and the teacher that they belong to, so they cannot be used with others. If
images are jittered, each moved image would need its own targets, so the training loop refuses the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import describe, private
from minikd.data.frames import Frames
from minikd.data.images import Dataset


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's logits for the examples of one data set.

    The array is kept read-only, and copied if something can still write to it. So the targets cannot change.

    Args:
        logits: (N, K) float, row n for example n, in nats.
        dataset: the fingerprint of the data that the logits were computed on.
        teacher: the digest of the weights that they came from.
        T: the only temperature at which they may be used, as for an `arithmetic_mean`, or None for every temperature.

    Raises:
        ValueError: unless the logits are a NumPy array.
    """

    logits: NDArray[np.floating]
    dataset: str
    teacher: str
    T: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.logits, np.ndarray):
            raise ValueError(f"soft targets must be a NumPy array, got {describe(self.logits)}: convert it on the host")
        object.__setattr__(self, "logits", private(self.logits))

    def check(self, dataset: Dataset | Frames) -> None:
        """Raise ValueError unless these are finite targets of exactly this data set, in this order."""
        if self.dataset != dataset.fingerprint:
            raise ValueError(
                f"the soft targets belong to another data set ({self.dataset[:8]}…) than {dataset.name} "
                f"({dataset.fingerprint[:8]}…), or to another order of it: compute them again with soft_targets"
            )
        shape = (len(dataset), dataset.classes)
        if self.logits.shape != shape:
            raise ValueError(f"soft targets must have one row per example, {shape}, got {self.logits.shape}")
        if not np.isfinite(self.logits).all():
            raise ValueError("soft targets must be finite, got inf or nan: the teacher has diverged, train it again")
