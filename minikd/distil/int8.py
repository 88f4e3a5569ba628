"""Weights as bytes: a quarter of their size in float32, at the cost that `benchmarks/results/int8.json` states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.distil.student import Student
from minikd.training.network import Network


def quantise(W: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return weights as whole numbers from −127 to 127, and the scale of each column: W ≈ whole · scale.

    Args:
        W: (D, H) float.

    Returns:
        whole (D, H) int8, and scale (H,) float32. A weight moves by scale/2 at most.

    >>> whole, scale = quantise(np.array([[1.27, 0.0], [-0.5, 0.0]]))
    >>> whole.tolist(), [f"{one:.2f}" for one in scale]
    ([[127, 0], [-50, 0]], ['0.01', '1.00'])
    """
    scale = (np.abs(W).max(axis=0) / 127).astype(np.float32)
    scale[scale == 0] = 1.0
    return np.rint(W / scale).astype(np.int8), scale


def rounded_to_int8(student: Student) -> Student:
    """Return the student whose weights are those that int8 leaves of them, to measure what that costs. Biases stay.

    Args:
        student: left as it is.
    """
    layers = [(np.multiply(*quantise(W)).astype(W.dtype), b) for W, b in student.network.layers()]
    return replace(student, network=Network.from_layers(layers, student.network.history))
