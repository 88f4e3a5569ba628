"""A trained network: its layer sizes, its parameters and its history."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from minikd.core.mlp import Layers, unflatten
from minikd.engines.device import CPU, Device


@dataclass(frozen=True, eq=False)
class Network:
    """Layer sizes and parameters, on the host: what a run takes away.

    sizes: from inputs to classes. flat: (P,), or (S, P) for a population; see `minikd.core.mlp.unflatten`.
    history: one record per epoch, as `train` documents it.
    """

    sizes: tuple[int, ...]
    flat: np.ndarray
    history: list[dict[str, Any]] = field(default_factory=list)

    def layers(self, device: Device = CPU) -> Layers[Any]:
        """[(W, b), …] on the device."""
        return unflatten(device.put(self.flat), self.sizes)

    @classmethod
    def from_layers(cls, layers: Layers[Any], history: list[dict[str, Any]]) -> Network:
        """A network of host layers [(W, b), …]; raises ValueError where they do not chain."""
        sizes = (layers[0][0].shape[-2], *[W.shape[-1] for W, _ in layers])
        shapes = [shape for W, b in layers for shape in (W.shape, b.shape)]
        if shapes != [shape for D, H in pairwise(sizes) for shape in ((D, H), (H,))]:
            raise ValueError(f"layers must chain as W (D, H), b (H,), got {shapes}")
        return cls(sizes, np.concatenate([np.ravel(np.asarray(array)) for layer in layers for array in layer]), history)
