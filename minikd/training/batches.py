"""From resident data to batches: what the training loop reads, on whichever device it runs.

Images stay on the device as uint8, and their floats exist for one batch at a time. Frames stay as they are, and a
window of them is cut for each example, as a jittered image is cut from its padded copy. An epoch's order and jitter are
drawn on the host from their streams and moved across once, so every device sees the same cases in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minikd.core.array import Array
from minikd.core.layers import dropout_mask, hash32
from minikd.core.mlp import Dropout
from minikd.data.frames import Frames
from minikd.data.images import Dataset, pad, window_index
from minikd.engines import cuda as kernels
from minikd.engines.device import Device
from minikd.training.config import STREAMS, TrainConfig, stream

if TYPE_CHECKING:
    from minikd.data.soft_targets import SoftTargets


class Batch(NamedTuple):
    """What one step reads; a leading axis S where the students of a population have batches of their own."""

    x: Array  # (..., B, D) float, pixels in [0, 1]
    y: Array  # (..., B) int64
    v: Array | None  # (..., B, K) float, the teacher's logits
    dropout: list[Any] | None  # for the input of each layer: None, a `Dropout`, or for the kernels a `Keyed`


class Resident:
    """A data set on a device, for answers in its own order: y (N,) int64, and its inputs."""

    def __init__(self, dataset: Dataset | Frames, device: Device) -> None:
        self.y = device.put(dataset.labels.astype(np.int64))
        self.xp, self.device, self.dataset = device.xp, device, dataset
        if isinstance(dataset, Dataset):
            self.X = device.put(dataset.images.reshape(len(dataset), -1))  # (N, D) uint8

    def inputs(self, start: int, stop: int, dtype: str) -> Array:
        """The inputs of the examples from start to stop, (stop − start, D) of the dtype."""
        if isinstance(self.dataset, Dataset):
            return scaled(self.xp, self.X[start:stop, :], dtype)
        return self.device.put(self.dataset.windows(np.arange(start, stop)).astype(dtype))


class Feed:
    """The batches of a run, epoch by epoch: gathered, jittered and scaled, with their soft targets and dropout.

    Raises at construction: ValueError where configuration, data and soft targets do not fit together.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset | Frames, soft_targets: SoftTargets | None, device: Device
    ) -> None:
        _check_fit(config, dataset, soft_targets)
        self.config, self.device, self.xp = config, device, device.xp
        self.N, self.B = len(dataset), config.batch_size
        self.steps = self.N // self.B  # an epoch
        self.leading = (len(config.seed),) if isinstance(config.seed, tuple) else ()  # of a batch
        rows, cols = dataset.shape
        self.sizes = (rows * cols, *config.hidden)  # of the inputs of each layer

        self.y = device.put(dataset.labels.astype(np.int64))  # (N,)
        self.V = None if soft_targets is None else device.put(soft_targets.logits.astype(config.dtype))  # (N, K)
        # Example n is rows × cols numbers of X, `width` from one row to the next, from n·stride plus a shift on: the
        # jitter of images, the start of a window of frames.
        self.width, self.cols = cols + 2 * config.jitter, cols
        self.starts: np.ndarray | None = None
        if isinstance(dataset, Frames):
            self.X, self.stride = device.put(dataset.frames.astype(config.dtype).reshape(-1)), 0
            self.starts = dataset.starts * cols  # (N,)
        else:
            padded = pad(dataset.images, config.jitter)  # (N, D or more) uint8
            self.X, self.stride = device.put(padded.reshape(-1) if config.jitter else padded), padded.shape[1]
        moved = config.jitter or self.starts is not None
        self.window = device.put(window_index(rows, cols, config.jitter)) if moved else None  # (D,)

        self.drops = (config.drop_input, *[config.drop_hidden] * len(config.hidden))  # of the inputs of each layer
        self.counters = [  # (B, size) uint32, for each layer that has dropout
            device.put(hash32(np.arange(self.B * size, dtype=np.uint32).reshape(self.B, size))) if drop else None
            for size, drop in zip(self.sizes, self.drops, strict=True)
        ]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of one epoch (from 0): each example at most once, the last N mod B of the order left out."""
        put, take, leading = self.device.put, self.xp.take, self.leading
        drawn = self._draw("order", epoch)  # (steps, S·B)
        order, shifts = put(drawn), None  # one upload each
        if self.config.jitter:
            shifts = put(self._draw("jitter", epoch))
        elif self.starts is not None:
            shifts = put(self.starts[drawn])
        keys = [self._keys(layer, epoch) if drop else None for layer, drop in enumerate(self.drops)]
        for i in range(self.steps):
            n, shift = order[i, ...], None if shifts is None else shifts[i, ...]
            if self.device.fused:
                keyed = [
                    None if key is None else kernels.Keyed(key[i, ...], drop)
                    for key, drop in zip(keys, self.drops, strict=True)
                ]
                x, y, v = kernels.batch(
                    self.X, n, shift, image=(self.stride, self.width, self.cols, self.sizes[0]), y=self.y, V=self.V,
                    leading=leading, dropout=keyed[0], dtype=self.config.dtype,
                )  # fmt: skip
                yield Batch(x, y, v, keyed)
                continue
            y = self._cases(take(self.y, n, axis=0))
            v = None if self.V is None else self._cases(take(self.V, n, axis=0))
            yield Batch(self._cases(self._inputs(n, shift)), y, v, self._masks(keys, i))

    def _draw(self, name: str, epoch: int) -> np.ndarray:
        """An epoch's order, or its shifts as offsets into padded images: (steps, S·B) int64, drawn on the host."""
        drawn = []
        for seed in self.config.seeds:
            rng = stream(seed, name, epoch)
            if name == "order":
                numbers = rng.permutation(self.N)[: self.steps * self.B]
            else:
                down, right = rng.integers(0, 2 * self.config.jitter + 1, size=(2, self.steps * self.B))
                numbers = down * self.width + right
            drawn.append(numbers.reshape(self.steps, self.B))
        return np.ascontiguousarray(np.concatenate(drawn, axis=1), dtype=np.int64)

    def _inputs(self, n: Array, shift: Array | None) -> Array:
        """The examples number n: images, moved, in [0, 1], or windows of frames; (S·B, D) float."""
        if shift is None:
            chosen = self.xp.take(self.X, n, axis=0)  # (S·B, D) uint8
        else:
            start = self.xp.expand_dims(n * self.stride + shift, axis=-1)  # (S·B, 1)
            index = self.xp.reshape(start + self.window, (-1,))  # (S·B·D,)
            chosen = self.xp.reshape(self.xp.take(self.X, index, axis=0), (n.shape[0], self.sizes[0]))
        return chosen if self.starts is not None else scaled(self.xp, chosen, self.config.dtype)

    def _cases(self, array: Array) -> Array:
        """(S·B, …) as (S, B, …) where students have batches of their own."""
        return self.xp.reshape(array, (*self.leading, self.B, *array.shape[1:])) if self.leading else array

    def _keys(self, layer: int, epoch: int) -> Array:
        """A layer's keys of dropout for an epoch, (steps, S) uint32: one a step and a seed.

        They lie on the device where a kernel or a population reads them there, else on the host.
        """
        first = [
            np.random.SeedSequence(seed, spawn_key=(STREAMS.index("dropout"), layer)).generate_state(1)[0]
            for seed in self.config.seeds
        ]
        step = np.arange(epoch * self.steps, (epoch + 1) * self.steps, dtype=np.uint32)
        keys = hash32(np.array(first, np.uint32) + step[:, None])
        return self.device.put(keys) if self.leading or self.device.fused else keys

    def _masks(self, keys: list[Array | None], i: int) -> list[Dropout | None] | None:
        """The dropout of step i of an epoch, drawn."""
        if not any(self.drops):
            return None
        masks: list[Dropout | None] = []
        for counters, key, drop in zip(self.counters, keys, self.drops, strict=True):
            if key is None:
                masks.append(None)
                continue
            now = self.xp.reshape(key[i, ...], (-1, 1, 1)) if self.leading else int(key[i, 0])
            masks.append(Dropout(dropout_mask(counters, now, drop), drop))
        return masks


def scaled(xp: object, pixels: Array, dtype: str) -> Array:
    """Bytes 0 … 255 as floats 0 … 1, of the dtype; any shape."""
    x = xp.astype(pixels, getattr(xp, dtype))  # type: ignore[attr-defined]
    x *= 1 / 255
    return x


def _check_fit(config: TrainConfig, dataset: Dataset | Frames, soft_targets: SoftTargets | None) -> None:
    if config.batch_size > len(dataset):
        raise ValueError(
            f"batch_size must be at most the number of examples, {len(dataset)}, got {config.batch_size}: lower it"
        )
    if config.jitter and isinstance(dataset, Frames):
        raise ValueError(
            f"jitter moves images, but {dataset.name} holds frames, got jitter = {config.jitter}: set jitter=0"
        )
    needs_soft = config.alpha != 0 and any(np.atleast_1d(config.alpha))
    if soft_targets is None:
        if needs_soft:
            raise ValueError(f"alpha = {config.alpha} gives weight to soft targets, but none came: pass soft_targets")
        return
    if not needs_soft:
        raise ValueError("soft targets came, but alpha = 0 gives them no weight: raise alpha, or leave them out")
    if config.jitter:
        raise ValueError(
            f"soft targets belong to the images as they are, but jitter = {config.jitter} moves them: set jitter=0"
        )
    if soft_targets.T is not None and set(np.atleast_1d(config.T)) != {soft_targets.T}:
        raise ValueError(
            f"these soft targets hold for T = {soft_targets.T} alone, as an arithmetic mean's do, got T = {config.T}: "
            "train at that T, or work them out for yours"
        )
    soft_targets.check(dataset)
