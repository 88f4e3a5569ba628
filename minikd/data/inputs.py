"""What a network reads of an example: the pixels of an image as numbers in [0, 1], or standardised features.

`Inputs` is learnt from the training part, and goes with the network wherever it goes. So whoever uses the network gives
images as they are, or features in their own units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError, axes, describe, freeze, no_empty_axis, to_fit
from minikd.data.frames import Frames
from minikd.data.images import Dataset, pixels

WHITE = 255.0
"""The scale of images, whose network reads pixels / 255."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """How raw examples become what a network reads: D numbers each.

    Args:
        shape: of an example: (rows, cols) or (rows, cols, 3) for images, (D,) for features.
        mean: (D,) float64 for features, None for images.
        scale: (D,) float64, > 0, for features, None for images. The network reads (x − mean) / scale.
        pixels: how the images were written that were learnt from: "bytes", 0 to 255, or "floats" in [0, 1]. Both can be
            read, in steps of 1/255. An ONNX file takes only this form.
    """

    shape: tuple[int, ...]
    mean: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None
    pixels: str = "bytes"

    @classmethod
    def of(cls, x: NDArray[Any], what: str = "examples") -> Inputs:
        """Learn from training examples what a network shall read.

        Args:
            x: (N, D) features, any real dtype, or images as `Dataset` takes them, (N, rows, cols) or
                (N, rows, cols, 3).
            what: names the examples in messages.

        Returns:
            The inputs. Features that are constant get the scale 1.

        Raises:
            DataError: if x is anything else, or features are not finite.
        """
        if not isinstance(x, np.ndarray) or x.ndim not in (2, 3, 4) or 0 in x.shape:
            rule = f"{what} must be features (N, D), or images (N, rows, cols) or (N, rows, cols, 3)"
            empty = isinstance(x, np.ndarray) and 0 in x.shape
            raise DataError(f"{rule}, got {describe(x)}: {no_empty_axis(x.shape) if empty else 'reshape them'}")
        if x.ndim > 2:
            x = _one_channel(x)
            axes(f"{what}: images", x, "images")
            return cls(x.shape[1:], pixels="floats" if x.dtype.kind == "f" and x.max() <= 1 else "bytes")
        features = _finite(x, what)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = features.mean(axis=0), features.std(axis=0)
        if not (np.isfinite(mean).all() and np.isfinite(scale).all()):
            column = int(np.argmin(np.isfinite(mean) & np.isfinite(scale)))
            raise DataError(f"{what}: features are too large to standardise, in column {column}: use another unit")
        scale[scale <= 1e-12 * np.abs(mean)] = 1.0  # constant, to within rounding
        scale[scale == 0] = 1.0
        return cls(x.shape[1:], freeze(mean), freeze(scale))

    @property
    def size(self) -> int:
        """D: how many numbers the network reads."""
        return math.prod(self.shape)

    def rows(self, x: NDArray[Any], dtype: str = "float32") -> NDArray[Any]:
        """Return what the network reads: (N, D) of the dtype, with the bits that it was trained on.

        Args:
            x: as `of` takes them, of this shape. Images may all be dark.
            dtype: "float32" or "float64".

        Raises:
            DataError: as `dataset`.
        """
        x = self._checked(x, "the input")
        if self.mean is None:
            read = pixels("the input: images", x, dark=True).reshape(len(x), -1).astype(dtype)
            read *= 1 / 255
            return read
        return self._standardised(x, "the input").astype(np.float32).astype(dtype)

    def dataset(
        self, x: NDArray[Any], y: NDArray[Any] | None, name: str, classes: int, what: str = ""
    ) -> Dataset | Frames:
        """Return examples as minikd trains on them.

        Args:
            x: as `of` takes them, of this shape.
            y: (N,) integers below `classes`, or None for a transfer set without labels.
            name: of the data set.
            classes: how many classes there are.
            what: names the examples in messages, such as a file and its array. The name if it is left out.

        Raises:
            DataError: if the examples have another shape, or break a rule of `Dataset` or `Frames`.
        """
        x = self._checked(x, what or name)
        if self.mean is None:
            return Dataset(pixels(f"{what or name}: images", x), y, name, classes)
        standard = freeze(self._standardised(x, what or name).astype(np.float32))
        return Frames(standard, np.arange(len(x)), y, name, classes, 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a file keeps beside the weights: of images only the scale, which is white."""
        if self.mean is None or self.scale is None:
            return {"scale": np.array(WHITE)}
        return {"mean": self.mean, "scale": self.scale}

    def record(self) -> dict[str, Any]:
        """Return what a file's record says of the inputs, in plain JSON types."""
        return {"shape": list(self.shape), "pixels": self.pixels}

    @classmethod
    def from_file(cls, shape: list[int], arrays: Mapping[str, NDArray[Any]], pixels: str = "bytes") -> Inputs:
        """Return the inputs that a file describes by their shape, `arrays` and how pixels are written."""
        mean, scale = arrays.get("mean"), arrays.get("scale")
        if len(shape) > 1 and mean is None and scale is not None and scale.shape == () and scale == WHITE:
            scale = None
        return cls(tuple(shape), mean, scale, pixels)

    def _checked(self, x: object, what: str) -> NDArray[Any]:
        """Return examples of this shape, or refuse them."""
        if isinstance(x, np.ndarray):
            x = _one_channel(x)
            if x.ndim == 1 + len(self.shape) and x.shape[1:] == self.shape and len(x):
                return x
        shape = f"(N, {', '.join(map(str, self.shape))})"
        fix = to_fit(x.shape, self.shape) if isinstance(x, np.ndarray) else "give a NumPy array"
        raise DataError(f"{what}: examples must have the shape {shape} of those learnt from, got {describe(x)}: {fix}")

    def _standardised(self, x: NDArray[Any], what: str) -> NDArray[np.float64]:
        """Return (x − mean) / scale, (N, D) float64, within what float32 holds."""
        assert self.mean is not None
        assert self.scale is not None
        largest = float(np.finfo(np.float32).max)
        with np.errstate(over="ignore"):
            standard: NDArray[np.float64] = (_finite(x, what) - self.mean) / self.scale
        return np.clip(standard, -largest, largest)


def _one_channel(x: NDArray[Any]) -> NDArray[Any]:
    """Return images (N, rows, cols, 1), as some libraries keep grey ones, as (N, rows, cols); others as they are."""
    return x[..., 0] if x.ndim == 4 and x.shape[3] == 1 else x


def _finite(x: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Return features as float64, or refuse them."""
    if x.dtype.kind not in "biuf":
        raise DataError(f"{what}: features must be numbers, got {x.dtype}: encode categories as numbers first")
    features = x.astype(np.float64)
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        row, column = bad[0]
        fix = "fill gaps in, or leave these examples out"
        found = f"{features[row, column]} in row {row}, column {column}"
        raise DataError(f"{what}: features must be finite, got {found}: {fix}")
    return features
