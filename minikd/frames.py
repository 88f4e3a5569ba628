"""Windows of frames: labelled examples that overlap, as an acoustic model reads speech.

A frame is a short stretch of a signal, described by M numbers; an example is `context` frames on end, and its label is
the class of one of them. Windows share the frames that they have in common, so a second of speech takes the memory of
its hundred frames and not of its hundred windows. Wherever minikd takes a `Dataset` of images it takes `Frames`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data import DataError, check_index, check_labels, whole


@dataclass(frozen=True, eq=False)
class Frames:
    """Labelled windows of frames, at least one, checked at construction; the arrays it hands out are read-only views.

    frames: (F, M) float32, finite, of about unit size: they reach the network as they are. starts: (N,) int64, window n
    is frames[starts[n] : starts[n] + context]. labels: (N,) uint8, below `classes`. name: for messages. classes: 2 to
    256. context: frames in a window. Raises `DataError` where type, shape or a value breaks these rules.

    >>> frames = np.arange(8, dtype=np.float32).reshape(4, 2)
    >>> pair = Frames(frames, np.array([0, 2]), np.array([1, 0], np.uint8), "pair", classes=2, context=2)
    >>> len(pair), pair.shape, pair.windows([1]).tolist()
    (2, (2, 2), [[4.0, 5.0, 6.0, 7.0]])
    """

    frames: NDArray[np.float32]
    starts: NDArray[np.int64]
    labels: NDArray[np.uint8]
    name: str
    classes: int
    context: int

    def __post_init__(self) -> None:
        whole(f"{self.name}: context", self.context, 1)
        for kind, dtype, rank in (("frames", np.float32, 2), ("starts", np.int64, 1), ("labels", np.uint8, 1)):
            array = getattr(self, kind)
            if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != rank:
                came = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise DataError(
                    f"{self.name}: {kind} must be a NumPy array of {np.dtype(dtype)} with {rank} axes, got {came}: "
                    "convert it"
                )
            view = array.view()
            view.flags.writeable = False  # the fingerprint speaks for these bytes
            object.__setattr__(self, kind, view)
        if not np.isfinite(self.frames).all():
            raise DataError(f"{self.name}: frames must be finite, got inf or nan: look at the features")
        last = len(self.frames) - self.context
        if len(self.starts) == 0:
            raise DataError(f"{self.name}: starts must not be empty: give at least 1 window")
        check_labels(self.name, self.labels, self.classes, len(self.starts), "window")
        if self.starts.min() < 0 or self.starts.max() > last:
            span = f"{self.starts.min()}..{self.starts.max()}"
            raise DataError(
                f"{self.name}: windows of {self.context} among {len(self.frames)} frames start in 0..{last}, got "
                f"{span}: leave room for them"
            )

    def __len__(self) -> int:
        """The number of examples, N."""
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int]:
        """(context, M): what an example is, for a network of context · M inputs."""
        return self.context, self.frames.shape[1]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of frames, windows and labels: equal data, equal value, whatever the name."""
        digest = hashlib.sha256(np.array([*self.frames.shape, self.context], dtype="<i8").tobytes())
        for array in (self.frames, self.starts, self.labels):
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def take(self, index: ArrayLike) -> Frames:
        """The examples at `index`, in its order and under the same name; the frames are shared, none is copied.

        `index`: as `minikd.data.Dataset.take` takes it; raises as it does.
        """
        chosen = check_index(self.name, index, len(self))
        return replace(self, starts=self.starts[chosen], labels=self.labels[chosen])

    def windows(self, index: ArrayLike) -> NDArray[np.float32]:
        """The inputs of the examples at `index` (n,), as a network reads them: (n, context · M) float32."""
        at = self.starts[np.asarray(index)][:, np.newaxis] + np.arange(self.context)  # (n, context)
        inputs: NDArray[np.float32] = self.frames[at].reshape(len(at), -1)
        return inputs
