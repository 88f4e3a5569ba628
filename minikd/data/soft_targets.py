"""Soft targets: a teacher's logits for a whole transfer set, tied to both by their hashes.

A transfer set is the data that a student learns its teacher's answers on. Logits are stored, not probabilities, because
the probabilities at every temperature follow from them. They are indexed by example, so they follow whatever order the
examples are drawn in. They name the data and the teacher that they belong to, so they cannot be used with others. If
images are jittered, each moved image would need its own targets, so the training loop refuses the two together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data.checks import describe, freeze, private, sha256
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


def soft_targets_from(logits: ArrayLike, dataset: Dataset | Frames, T: float | None = None) -> SoftTargets:
    """Return the soft targets that logits from anywhere are for a data set: from PyTorch, a file, an API.

    Only you can make sure that row n belongs to example n: compute the logits in the order of the data, unshuffled.
    What counts is the softmax of a row, so log-probabilities are logits too. Turn probabilities into logits with
    `logits_from_probabilities`.

    Args:
        logits: (N, K) numbers on the host, in nats.
        dataset: the transfer set.
        T: the only temperature at which they may be used, as for an `arithmetic_mean`, or None for every temperature.

    Raises:
        ValueError: if there is not one row per example and one column per class, a number is not finite in float32, or
            the rows are probabilities.

    >>> pair = Dataset(np.zeros((2, 3, 3), np.uint8), np.array([1, 0], np.uint8), "pair", classes=2)
    >>> soft_targets_from([[-2.0, 3.0], [0.5, 0.0]], pair).logits.tolist()
    [[-2.0, 3.0], [0.5, 0.0]]
    """
    v = logit_array(logits, len(dataset), dataset.classes)
    return SoftTargets(v, dataset.fingerprint, sha256(v.shape, v), T)


def logit_array(logits: ArrayLike, examples: int | None = None, classes: int | None = None) -> NDArray[np.floating]:
    """Return logits from anywhere as a new (N, K) array of float32 or float64, or refuse them.

    Args:
        logits: as `soft_targets_from` takes them.
        examples: N, or None for any.
        classes: K, or None for any of 2 or more.

    Raises:
        ValueError: as `soft_targets_from`.
    """
    v = _on_host(logits, "logits")
    N, K = v.shape
    if examples not in (None, N):
        raise ValueError(f"there must be one row of logits per example, {examples}, got {N}: ask the teacher for each")
    if classes not in (None, K):
        raise ValueError(
            f"there must be one column of logits per class, {classes}, got {K}: give the teacher's classes"
        )
    with np.errstate(over="ignore"):
        bad = np.argwhere(~np.isfinite(v.astype(np.float32)))
    if len(bad):
        row, column = bad[0]
        fix = "of probabilities that are 0, take logits_from_probabilities"
        raise ValueError(f"logits must be finite, got {v[row, column]} in row {row}, column {column}: {fix}")
    if v.min() >= 0 and np.abs(v.sum(axis=1) - 1).max() < 1e-3:
        raise ValueError(
            "logits must not be probabilities, but every row is >= 0 and sums to 1: pass logits_from_probabilities(p)"
        )
    return freeze(v)


def logits_from_probabilities(p: ArrayLike, voters: int | None = None) -> NDArray[np.floating]:
    """Return logits whose softmax is p: v = log p, where a p below a floor counts as the floor.

    A zero has no logarithm, and seldom means that a class is impossible. If `voters` models vote, then a share below
    half a vote, 1/(2 voters), cannot be told from none: this is the floor. Otherwise the floor is 2⁻²³ ≈ 1.2e-7, the
    resolution of float32, and the logits span 16 nats at most.

    Args:
        p: (N, K) probabilities, or what is known of them, such as an API's top five with 0 for the rest. A row need
            not sum to 1, because the softmax does not change when a row is scaled.
        voters: the number of votes that p is the mean of: the trees of a forest, the neighbours of a classifier. None
            if p is not made of votes.

    Returns:
        (N, K), float32 or float64.

    Raises:
        ValueError: unless every p is in [0, 1] and every row has one above 0.

    >>> logits_from_probabilities([[0.0, 1.0], [0.5, 0.5]], voters=50).round(2).tolist()
    [[-4.61, 0.0], [-0.69, -0.69]]
    """
    q = _on_host(p, "probabilities")
    if not (q.min() >= 0 and q.max() <= 1 + 1e-6):
        raise ValueError(
            f"probabilities must lie in [0, 1], got {q.min():.6g}..{q.max():.6g}: are these logits already?"
        )
    empty = np.flatnonzero(q.max(axis=1) == 0)
    if len(empty):
        raise ValueError(f"a row of probabilities must have one above 0, got none in row {empty[0]}: leave it out")
    if voters is not None and not voters >= 1:
        raise ValueError(f"voters must be a whole number >= 1, got {voters}: how many models vote?")
    floor = 2.0**-23 if voters is None else 1 / (2 * voters)
    return freeze(np.log(np.maximum(q, q.dtype.type(floor))))


def _on_host(values: ArrayLike, what: str) -> NDArray[np.floating]:
    """Return a new (N, K) array of floats, N ≥ 1 and K ≥ 2, from whatever NumPy can read."""
    try:
        array = np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:  # PyTorch's gradients, CuPy's device, ragged lists
        fix = "in PyTorch, .detach().cpu().numpy(); in CuPy, .get()"
        raise ValueError(f"{what} must be an (N, K) array on the host ({error}): convert them, {fix}") from None
    if array.ndim != 2 or array.shape[0] < 1 or array.shape[1] < 2 or array.dtype.kind not in "iuf":
        rule = f"{what} must be numbers, (N, K), a row per example and a column per class, 2 or more"
        raise ValueError(f"{rule}, got {describe(array)}: stack them")
    return array.astype(np.float32 if array.dtype in (np.float32, np.float16) else np.float64)
