"""Windows of frames: examples that overlap, because this is how an acoustic model reads speech.

A frame is a short stretch of a signal, described by M numbers. An example is `context` frames in a row, and its label
is the class of one of them. Windows share the frames that they have in common, so a second of speech takes the memory
of its hundred frames and not of its hundred windows. Wherever minikd takes a `Dataset` of images, it also takes
`Frames`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data import checks
from minikd.data.checks import DataError, describe, freeze, private


@dataclass(frozen=True, eq=False)
class Frames:
    """Windows of frames, at least one, labelled or not, checked at construction and kept read-only.

    Arrays that something can still write to are copied, so the fingerprint stays true. Read-only ones are shared.

    Args:
        frames: (F, M) float32, finite, of about unit size: they reach the network as they are.
        starts: (N,) integers of any dtype; window n is frames[starts[n] : starts[n] + context].
        labels: (N,) integers of any dtype, below `classes`; None for a transfer set without labels.
        name: for messages.
        classes: how many classes there are, 2 to 65,536.
        context: frames in a window.

    Raises:
        DataError: if type, shape or a value breaks these rules.

    >>> frames = np.arange(8, dtype=np.float32).reshape(4, 2)
    >>> pair = Frames(frames, np.array([0, 2]), np.array([1, 0], np.uint8), "pair", classes=2, context=2)
    >>> len(pair), pair.shape, pair.windows([1]).tolist()
    (2, (2, 2), [[4.0, 5.0, 6.0, 7.0]])
    """

    frames: NDArray[np.float32]
    starts: NDArray[np.int64]
    labels: Any  # (N,) uint8 or uint16, or None
    name: str
    classes: int
    context: int

    def __post_init__(self) -> None:
        checks.whole_number(f"{self.name}: context", self.context, 1)
        frames, starts = self.frames, self.starts
        if not isinstance(frames, np.ndarray) or frames.dtype != np.float32 or frames.ndim != 2:
            got = describe(frames)
            raise DataError(f"{self.name}: frames must be (F, M) float32, got {got}: convert or reshape them")
        if not isinstance(starts, np.ndarray) or starts.dtype.kind not in "iu" or starts.ndim != 1:
            got = describe(starts)
            raise DataError(f"{self.name}: starts must be (N,) integers, got {got}: convert or reshape them")
        if not np.isfinite(frames).all():
            raise DataError(f"{self.name}: frames must be finite, got inf or nan: look at the features")
        if len(starts) == 0:
            raise DataError(f"{self.name}: starts must not be empty: give at least 1 window")
        labels = checks.labels(self.name, self.labels, self.classes, len(starts), "window")
        last = len(frames) - self.context
        if starts.min() < 0 or starts.max() > last:
            raise DataError(
                f"{self.name}: windows of {self.context} among {len(frames)} frames start in 0..{last}, got "
                f"{starts.min()}..{starts.max()}: leave room for them"
            )
        if starts.dtype != np.int64:
            starts = freeze(starts.astype(np.int64))
        for kind, array in (("frames", frames), ("starts", starts), ("labels", labels)):
            object.__setattr__(self, kind, None if array is None else private(array))

    def __len__(self) -> int:
        """Return the number of examples, N."""
        return len(self.starts)

    @property
    def labelled(self) -> bool:
        """Whether the examples have labels."""
        return self.labels is not None

    @property
    def shape(self) -> tuple[int, int]:
        """(context, M): what an example is, for a network of context · M inputs."""
        return self.context, self.frames.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of frames, windows and labels. Equal data have equal fingerprints; names are ignored."""
        return checks.sha256((*self.frames.shape, self.context), self.frames, self.starts, self.labels)

    def take(self, index: ArrayLike) -> Frames:
        """Return the examples at `index`, in its order and under the same name. The frames are shared, not copied.

        Args:
            index: as `minikd.data.images.Dataset.take` takes it.

        Raises:
            DataError: as `minikd.data.images.Dataset.take`.
        """
        chosen = checks.index(self.name, index, len(self))
        labels = freeze(self.labels[chosen]) if self.labelled else None
        return replace(self, starts=freeze(self.starts[chosen]), labels=labels)

    def windows(self, index: ArrayLike) -> NDArray[np.float32]:
        """Return the inputs of the examples at `index` (n,), as a network reads them: (n, context · M) float32."""
        at = self.starts[np.asarray(index)][:, np.newaxis] + np.arange(self.context)  # (n, context)
        inputs: NDArray[np.float32] = self.frames[at].reshape(len(at), -1)
        return inputs
