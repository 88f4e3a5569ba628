"""Soft targets: a teacher's logits for a whole transfer set, worked out once and tied to both by their hashes.

Logits are stored, not probabilities: every temperature follows from them. They are indexed by example, so they follow
whatever order the examples are drawn in; and they name the data and the teacher that they belong to, so they cannot be
used with others. Jittered images would need targets of their own, so the training loop refuses that pair.

An ensemble teaches through one array of logits, made from its members' by `geometric_mean` or `arithmetic_mean`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

import numpy as np

from minikd.backend import CPU, Array, Device, get_float_xp
from minikd.checkpoint import digest, load
from minikd.data import Dataset, came, freeze, private
from minikd.frames import Frames
from minikd.softmax import check_temperature, log_softmax
from minikd.train import Network, logits


@dataclass(frozen=True, eq=False)
class SoftTargets:
    """A teacher's logits for the examples of one data set.

    logits: (N, K) float, row n for example n, nats. dataset: the fingerprint of the images and labels they were worked
    out on. teacher: the digest of the weights they came from. T: the one temperature at which they may be used, as
    those of an `arithmetic_mean`, or None for all.
    Raises: ValueError unless the logits are a NumPy array. It is kept read-only, and copied where something can still
    write to it, so that targets stay what their teacher said.
    """

    logits: np.ndarray
    dataset: str
    teacher: str
    T: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.logits, np.ndarray):
            raise ValueError(f"soft targets must be a NumPy array, got {came(self.logits)}: convert it on the host")
        object.__setattr__(self, "logits", private(self.logits))

    def check(self, dataset: Dataset | Frames) -> None:
        """Raises: ValueError unless these are finite targets of just this data set, in this order."""
        if self.dataset != dataset.fingerprint:
            raise ValueError(
                f"the soft targets belong to another data set ({self.dataset[:8]}…) than {dataset.name} "
                f"({dataset.fingerprint[:8]}…), or to another order of it: work them out again with soft_targets"
            )
        shape = (len(dataset), dataset.classes)
        if self.logits.shape != shape:
            raise ValueError(f"soft targets have one row an example, {shape}, got {self.logits.shape}")
        if not np.isfinite(self.logits).all():
            raise ValueError("soft targets must be finite, got inf or nan: the teacher has diverged, train it again")


def soft_targets(teacher: Network, dataset: Dataset | Frames, device: Device = CPU) -> SoftTargets:
    """The teacher's logits for every example of the data set, without dropout and without jitter.

    Args: teacher, a single network, not a population; dataset, the transfer set, whose labels are not looked at.
    """
    if teacher.flat.ndim != 1:
        raise ValueError(f"the teacher must be one network, got a population of {teacher.flat.shape[:-1]}")
    z = device.get(logits(teacher, dataset, device))
    return SoftTargets(freeze(z), dataset.fingerprint, digest({"flat": teacher.flat}))


def load_teacher() -> tuple[SoftTargets, SoftTargets]:
    """The soft targets that ship inside minikd: a trained teacher's, for the two sets of `minikd.data.load_mnist`.

    The teacher is the one of the paper's rows: 784-1200-1200-10, dropout, max-norm and jitter, trained on all labels of
    the training set. `python -m minikd.paper.teacher` made the file; its record holds the configuration and the errors.
    Returns: for the training set, (60000, 10) float32, and for the test set, (10000, 10), in nats.
    Raises: CheckpointError where the file is damaged.

    >>> train_targets, test_targets = load_teacher()
    >>> train_targets.logits.shape, test_targets.logits.shape
    ((60000, 10), (10000, 10))
    """
    with resources.as_file(resources.files("minikd") / "embedded" / "teacher" / "mnist.safetensors") as path:
        arrays, record = load(path)
    train, test = (SoftTargets(arrays[part], record[f"{part}_set"], digest(arrays)) for part in ("train", "test"))
    return train, test


# ---- ensembles -------------------------------------------------------------------------------------------------------


def geometric_mean(v: Array) -> Array:
    """Logits whose softened softmax is the normalised geometric mean of the members' distributions, at every T at once.

        v̄_i = (1/M) Σ_m v_mi      (Hinton et al. 2015, E8; derivations D8.2, D8.3)

    Of all distributions this one has the smallest average divergence KL(p‖p_m) to the members (derivation D8.8): a
    class that one member rules out stays ruled out.

    Args: v (M, ..., N, K) float, the logits of M members in nats.
    Returns: (..., N, K), to be passed on as the logits of one teacher.
    Raises: ValueError for the shape, TypeError for the dtype.

    >>> import numpy as np
    >>> geometric_mean(np.array([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]]))
    array([[2., 1., 0.]])
    """
    xp = get_float_xp(v=v)
    M = _members(v)
    return xp.sum(v, axis=0) / M  # (..., N, K)


def arithmetic_mean(v: Array, T: float | Array) -> Array:
    """Logits whose softmax softened by T is the arithmetic mean of the members' distributions at T.

        v̄_i = T log p̄_i,      p̄_i = (1/M) Σ_m p_mi      (Hinton et al. 2015, E8; derivations D8.1, D8.4)

    With them the soft cost at T, and its gradient, is the average over the members taken as teachers one by one
    (derivations D8.5, D8.6); at another T they have no such meaning. Of all distributions this one has the smallest
    average divergence KL(p_m‖p) from the members, and its entropy is no less than their average (derivations D8.7,
    D8.9). At high T both means agree, but for a term in 1/T² (derivations D8.10, D8.11).

    Args:
        v: (M, ..., N, K) float, the logits of M members in nats.
        T: float > 0, or an array (..., 1, 1) of v's dtype whose leading axes broadcast with those of v after the
            first. One ensemble for students at S temperatures is v (M, 1, N, K) with T (S, 1, 1).
    Returns: (..., N, K), to be passed on as the logits of one teacher, none above 0 but for rounding.
    Raises: ValueError for the shapes and T, TypeError for the dtypes.

    >>> import numpy as np
    >>> from minikd.softmax import softmax
    >>> v = np.array([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]])
    >>> print(softmax(v, T=2.0).round(3).tolist(), softmax(arithmetic_mean(v, T=2.0), T=2.0).round(3))
    [[[0.787, 0.107, 0.107]], [[0.212, 0.576, 0.212]]] [[0.499 0.341 0.159]]
    """
    xp = get_float_xp(v=v)
    M = _members(v)
    T = check_temperature(T, v)
    if not isinstance(T, float) and not _broadcast(T.shape, v.shape[1:]):
        raise ValueError(
            f"T must be a number, or broadcast with the logits of one member, {v.shape[1:]}, got shape {T.shape}: "
            "for students at several temperatures give v (M, 1, N, K)"
        )
    log_p = log_softmax(v, T)  # (M, ..., N, K)
    largest = xp.max(log_p, axis=0)  # (..., N, K): of the exponentials below at least one is 1
    return T * (largest + xp.log(xp.sum(xp.exp(log_p - largest), axis=0) / M))


def _members(v: Array) -> int:
    """M, once v is known to hold the logits of an ensemble."""
    if v.ndim < 3 or 0 in v.shape:
        raise ValueError(f"v must have shape (M, ..., N, K) with M members' logits, M, N, K > 0, got {v.shape}")
    return int(v.shape[0])


def _broadcast(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether an array of the first shape, which has no more axes than the other, can meet one of the other."""
    pairs = zip(reversed(shape), reversed(other), strict=False)
    return len(shape) <= len(other) and all(a == b or 1 in (a, b) for a, b in pairs)
