"""Jitter: images in a border of zeros, and the windows that move them by a few pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError, describe, whole_number


def pad(images: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Put a border of zeros around each image, `by` pixels wide on all four sides, and flatten it.

    Args:
        images: (N, rows, cols) or (N, rows, cols, 3) uint8.
        by: the width of the border in pixels, ≥ 0.

    Returns:
        (N, (rows + 2 by)(cols + 2 by)) uint8, or three times as long for RGB, a new C-contiguous array.

    Raises:
        DataError: if the images are of another kind, or the border is negative.

    >>> pad(np.full((1, 1, 2), 9, np.uint8), 1).reshape(3, 4).tolist()
    [[0, 0, 0, 0], [0, 9, 9, 0], [0, 0, 0, 0]]
    """
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(f"images must be (N, rows, cols) uint8, or RGB, got {describe(images)}: give a Dataset's")
    by = whole_number("by", by, 0)
    count, rows, cols, *channels = images.shape
    padded = np.zeros((count, rows + 2 * by, cols + 2 * by, *channels), dtype=np.uint8)
    padded[:, by : by + rows, by : by + cols] = images
    return padded.reshape(count, -1)


def window_index(rows: int, cols: int, by: int) -> NDArray[np.int64]:
    """Return where the top-left rows × cols window lies in one flat image made by `pad`.

    Jitter is this index plus one number. With w = cols + 2 by, the width of a padded image, pixel (r, c) of the window
    is at r·w + c. Adding down·w + right, with both in 0..2 by, slides the window over the padded image. This moves the
    picture by (by − down, by − right) pixels, where positive means down and to the right. At down = right = by the
    picture is not moved, and it has equal room on either side. The border's zeros enter at an edge, never the far side
    of the picture. For RGB a row is 3 cols bytes in a border of 3 by, and a step to the right is 3 bytes.

    Args:
        rows: of an image before it was padded, ≥ 1.
        cols: of an image before it was padded, ≥ 1.
        by: the width of the border in pixels, ≥ 0.

    Returns:
        (rows·cols,) int64.

    Raises:
        DataError: if a size is out of range.

    >>> padded = pad(np.array([[[1, 2]]], np.uint8), 1)  # 3 × 4 pixels
    >>> down, right = 1, 0  # by (0, +1): one to the right
    >>> padded[0, window_index(1, 2, 1) + (down * 4 + right)].tolist()
    [0, 1]
    """
    rows, cols, by = whole_number("rows", rows, 1), whole_number("cols", cols, 1), whole_number("by", by, 0)
    down = np.arange(rows, dtype=np.int64)[:, np.newaxis] * (cols + 2 * by)  # (rows, 1)
    return (down + np.arange(cols, dtype=np.int64)).reshape(-1)  # (rows·cols,)
