"""What networks answer: logits, errors, and the examples about which a teacher is least sure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.core.array import Array
from minikd.core.guard import guard
from minikd.core.guard import labels as labels_of
from minikd.core.mlp import Layers, mlp_forward
from minikd.core.softmax import softmax
from minikd.data.checks import need_labels
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.engines.device import CPU, Device, as_device
from minikd.theory.host import cases
from minikd.training.batches import Resident
from minikd.training.network import Network


def logits(network: Network, dataset: Dataset | Frames, device: Device | str = CPU) -> Array:
    """Return the network's logits for every example, without dropout and jitter: the same bits each time.

    Args:
        network: one network, or a population.
        dataset: the examples; their labels are not used.
        device: where to compute: "cpu", "gpu" or a `Device`.

    Returns:
        (..., N, K) on the device, in nats.
    """
    device = as_device(device)
    layers, held = network.layers(device), Resident(dataset, device)
    z: Array = device.xp.concat([part for _, part in _answers(layers, held, network.flat.dtype.name)], axis=-2)
    return z


def count_errors(network: Network, dataset: Dataset | Frames, device: Device | str = CPU) -> Any:
    """Count the examples that the network assigns to a wrong class.

    Args:
        network: one network, or a population.
        dataset: the examples and their labels.
        device: where to compute: "cpu", "gpu" or a `Device`.

    Returns:
        An int; for a population a list with one count per student.

    Raises:
        DataError: if the examples have no labels.
    """
    device = as_device(device)
    return errors_of(network.layers(device), Resident(dataset, device), device, network.flat.dtype.name)


def errors_of(layers: Layers[Array], held: Resident, device: Device, dtype: str) -> Any:
    """Count the wrong answers of layers on the device, as `count_errors` does."""
    need_labels(held.dataset, "errors cannot be counted")
    xp, total = device.xp, 0
    y: Any = held.y
    for part, z in _answers(layers, held, dtype):
        total = total + xp.count_nonzero(xp.argmax(z, axis=-1) != y[part], axis=-1)  # (...,), on the device
    return device.get(total).tolist()


def _answers(layers: Layers[Array], held: Resident, dtype: str, batch: int = 1000) -> Iterator[tuple[slice, Array]]:
    """Yield which examples, and their logits, 1,000 at a time."""
    N = len(held.dataset)
    for start in range(0, N, batch):
        stop = min(start + batch, N)
        z, _ = mlp_forward(held.inputs(start, stop, dtype), layers)
        yield slice(start, stop), z


@guard(logits=cases, labels=labels_of("logits"))
def choose_ambiguous(logits: NDArray[Any], labels: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Choose the correctly classified examples about which the teacher is least sure: they show most dark knowledge.

    The measure is the entropy −Σ_k q_k log q_k at T = 1, in nats. The most ambiguous example of each class comes first,
    then the second of each class, and so on, until there are `count`.

    Args:
        logits: (n, K) float on the host, in nats.
        labels: (n,) int.
        count: how many to choose.

    Returns:
        (count,) int: indices sorted by class, and within a class by ambiguity, the most ambiguous first. Of equal ones
        the first index comes first.

    Raises:
        ValueError: if shapes do not match, a label is outside 0 … K − 1, a logit is not finite, or fewer than `count`
            examples are classified correctly.
        TypeError: if a dtype is wrong.

    >>> logits = np.array([[9.0, 0.0], [1.0, 0.0], [0.0, 2.0], [5.0, 0.0]])
    >>> choose_ambiguous(logits, np.array([0, 0, 1, 1]), count=2).tolist()  # the last one is classified wrongly
    [1, 2]
    """
    right = np.flatnonzero(np.argmax(logits, axis=-1) == labels)
    if not 1 <= count <= len(right):
        raise ValueError(
            f"count must be from 1 to the {len(right)} correctly classified examples, got {count}: "
            "ask for fewer, or pass more examples"
        )
    q = np.asarray(softmax(logits[right]))  # (m, K)
    entropy = -np.sum(q * np.log(np.where(q > 0, q, 1.0)), axis=-1)  # (m,); 0 log 0 = 0
    order = right[np.argsort(-entropy, kind="stable")]  # (m,) most ambiguous first
    rank = np.zeros(len(order), dtype=np.intp)  # within its class: 0 for the most ambiguous
    for k in np.unique(labels[order]):
        of_class = labels[order] == k
        rank[of_class] = np.arange(np.count_nonzero(of_class))
    chosen = order[np.argsort(rank, kind="stable")][:count]
    return chosen[np.argsort(labels[chosen], kind="stable")]
