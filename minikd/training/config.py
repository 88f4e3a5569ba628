"""The configuration of a training run, checked before any work, and its streams of randomness."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

_NORM = (Real, type(None))
_RULES: dict[str, tuple[Any, Callable[[Any], bool], str]] = {  # the type, the range, and both in words
    "hidden": (Integral, lambda H: H >= 1, "a tuple of layer sizes, each a whole number ≥ 1"),
    "epochs": (Integral, lambda n: n >= 1, "a whole number ≥ 1"),
    "batch_size": (Integral, lambda B: B >= 1, "a whole number ≥ 1"),
    "learning_rate": (Real, lambda r: 0 < r < math.inf, "a finite number > 0"),
    "warmup": (Real, lambda w: 0 <= w < 1, "a share of the run, in [0, 1)"),
    "momentum": (Real, lambda m: 0 <= m < 1, "a number in [0, 1)"),
    "clip_norm": (_NORM, lambda c: c is None or 0 < c < math.inf, "a finite L2 norm > 0, or None"),
    "drop_input": (Real, lambda d: 0 <= d < 1, "a probability of dropping, in [0, 1)"),
    "drop_hidden": (Real, lambda d: 0 <= d < 1, "a probability of dropping, in [0, 1)"),
    "max_norm": (_NORM, lambda c: c is None or 0 < c < math.inf, "a finite L2 norm > 0, or None"),
    "jitter": (Integral, lambda j: j >= 0, "a whole number of pixels ≥ 0"),
    "alpha": (Real, lambda a: 0 <= a <= 1, "the weight of the soft targets, in [0, 1]"),
    "T": (Real, lambda T: 1e-3 <= T <= 1e6, "a temperature from 1e-3 to 1e6"),
    "seed": (Integral, lambda s: s >= 0, "a whole number ≥ 0"),
    "dtype": (str, lambda d: d in ("float32", "float64"), "'float32' or 'float64'"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run, except the data and the soft targets.

    Batch size, learning rate, warm-up, momentum and clipping have the defaults of the students of `python -m
    minikd.mnist`, which were chosen on held-out training images. The gradient is clipped because T² times the soft
    gradient of a fresh student is so large that unclipped steps lead it astray.

    `learning_rate`, `alpha`, `T` and `seed` may be tuples of S numbers. Then S students train in one pass, as a
    population. Students of one seed share their batches.

    Args:
        hidden: units of each hidden layer. These layers are ReLU.
        epochs: passes over the data.
        batch_size: examples per step. The last N mod batch_size of each epoch's shuffled order are left out.
        learning_rate: the peak. The rate first rises linearly, then falls to zero as half a cosine.
        warmup: the share of the run, in [0, 1), over which the learning rate rises.
        momentum: in [0, 1).
        clip_norm: the largest L2 norm of a step's gradient, or None. A longer gradient is scaled down to it. A student
            needs this; a teacher that trains for many epochs does better without it (PAPER.md).
        drop_input: the probability of dropping an input.
        drop_hidden: the probability of dropping a hidden unit.
        max_norm: the largest L2 norm (not its square) of a hidden unit's incoming weights, or None.
        jitter: images are moved by up to this many pixels each way; the gap is filled with zeros.
        alpha: the weight of the soft targets, in [0, 1]. The labels get the rest.
        T: the temperature of the soft targets.
        seed: initial weights, batch order, dropout and jitter each draw from a different stream.
        dtype: "float32" or "float64".

    Raises:
        ValueError: if a value is out of range. The message states the rule and the value.
    """

    PER_STUDENT: ClassVar = ("learning_rate", "alpha", "T", "seed")

    hidden: tuple[int, ...]
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float | tuple[float, ...] = 0.2
    warmup: float = 0.02
    momentum: float = 0.9
    clip_norm: float | None = 1.0
    drop_input: float = 0.0
    drop_hidden: float = 0.0
    max_norm: float | None = None
    jitter: int = 0
    alpha: float | tuple[float, ...] = 0.0
    T: float | tuple[float, ...] = 1.0
    seed: int | tuple[int, ...] = 0
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, tuple):
            raise ValueError(f"hidden must be a tuple of layer sizes, such as (30, 30), got {self.hidden!r}")
        for name, (kind, holds, rule) in _RULES.items():
            value = getattr(self, name)
            many = isinstance(value, tuple) and name in ("hidden", *self.PER_STUDENT)
            right = [isinstance(v, kind) and not isinstance(v, bool) and holds(v) for v in (value if many else [value])]
            if not right or not all(right):
                listed = name in self.PER_STUDENT and isinstance(value, list | np.ndarray)
                fix = ": write a tuple, with one number per student" if listed else ""
                raise ValueError(f"{name} must be {rule}, got {value!r}{fix}")
            if kind is not str and value is not None:  # NumPy's numbers become Python's, which promote no array
                plain = int if kind is Integral else float
                object.__setattr__(self, name, tuple(map(plain, value)) if many else plain(value))
        lengths = {name: len(value) for name in self.PER_STUDENT if isinstance(value := getattr(self, name), tuple)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"a population has one size, got {lengths}: give each as many numbers, or a single one")

    @property
    def population(self) -> int | None:
        """The size S of the population, or None for a single network."""
        return next((len(value) for n in self.PER_STUDENT if isinstance(value := getattr(self, n), tuple)), None)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds: one per student, or a single one that all students share."""
        return self.seed if isinstance(self.seed, tuple) else (self.seed,)

    def record(self) -> dict[str, Any]:
        """Return the configuration in plain JSON types."""
        return dict(json.loads(json.dumps(asdict(self))))


STREAMS = ("initialisation", "order", "jitter", "dropout")


def stream(seed: int, name: str, epoch: int = 0) -> np.random.Generator:
    """Return the random generator for one use of randomness in one epoch.

    Every stream comes from the seed, and none from the state of another stream. So changing the number of epochs, or
    turning jitter on, changes no other stream. A checkpoint only needs the number of the epoch.

    Args:
        seed: of the run.
        name: of the use, one of `STREAMS`.
        epoch: from 0.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(name), epoch)))
