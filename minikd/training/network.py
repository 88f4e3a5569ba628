"""A trained network: its layer sizes, its parameters and its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from minikd.core.mlp import Layers, unflatten
from minikd.engines.device import CPU, Device, as_device


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network, or a population of them, on the host.

    Args:
        sizes: of the layers, from inputs to classes.
        flat: (P,) all parameters, or (S, P) for a population of S; `minikd.core.mlp.unflatten` says in which order.
        history: one record per epoch, as `train` documents it.
    """

    sizes: tuple[int, ...]
    flat: np.ndarray
    history: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        """Return one line with the sizes: the weights and the history are long."""
        population = "" if self.flat.ndim == 1 else f", {len(self.flat)} of them"
        return f"Network({'-'.join(map(str, self.sizes))}, {self.flat.dtype}{population})"

    def layers(self, device: Device | str = CPU) -> Layers[Any]:
        """Return the parameters on the device ("cpu", "gpu" or a `Device`), as [(W (..., D, H), b (..., H)), …]."""
        return unflatten(as_device(device).put(self.flat), self.sizes)

    def check_single(self, what: str) -> None:
        """Check that this is one network, not a population.

        Raises:
            ValueError: if it is a population. The message begins with `what`, as in "a file holds".
        """
        if self.flat.ndim != 1:
            raise ValueError(
                f"{what} one network, got a population of {self.flat.shape[0]}: choose one, "
                "as Network(sizes, flat[0]) does"
            )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights as a file keeps them: W1 (D, H), b1 (H,), W2, …, on the host."""
        arrays = {}
        for i, (W, b) in enumerate(self.layers(), start=1):
            arrays[f"W{i}"], arrays[f"b{i}"] = W, b
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], history: list[dict[str, Any]]) -> Network:
        """Return the network whose weights a file keeps, as `arrays` names them. Other names are not looked at.

        Raises:
            KeyError: if a layer is missing.
            ValueError: as `from_layers`.
        """
        count = max(1, sum(name.startswith("W") for name in arrays))
        return cls.from_layers([(arrays[f"W{i}"], arrays[f"b{i}"]) for i in range(1, count + 1)], history)

    @classmethod
    def from_layers(cls, layers: Layers[Any], history: list[dict[str, Any]]) -> Network:
        """Return the network that consists of these layers.

        Args:
            layers: [(W, b), …] on the host, W (D, H) and b (H,).
            history: one record per epoch.

        Raises:
            ValueError: if a layer does not take what the one before it gives.
        """
        sizes = (layers[0][0].shape[-2], *[W.shape[-1] for W, _ in layers])
        shapes = [shape for W, b in layers for shape in (W.shape, b.shape)]
        if shapes != [shape for D, H in pairwise(sizes) for shape in ((D, H), (H,))]:
            raise ValueError(f"layers must chain as W (D, H), b (H,), got {shapes}")
        return cls(sizes, np.concatenate([np.ravel(np.asarray(array)) for layer in layers for array in layer]), history)
