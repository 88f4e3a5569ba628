"""From resident data to batches: what the training loop reads, on whichever device it runs.

Images stay on the device as uint8, and their floats exist for one batch at a time. Frames stay as they are, and a
window of them is cut for each example, as a jittered image is cut from its padded copy. An epoch's order and jitter are
drawn on the host from their streams and moved across once, so every device sees the same cases in the same order. They
stay where they are on the device, so that a graph that was captured in one epoch reads those of the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from minikd.core.array import Array
from minikd.core.masks import hash32
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.jitter import pad, window_index
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import Device
from minikd.engines.engine import Batch, Draw, Source
from minikd.engines.readable import scaled
from minikd.training.config import STREAMS, TrainConfig, stream


class Resident:
    """A data set on a device, for answers in its own order: its inputs, and y, (N,) int64 or None."""

    def __init__(self, dataset: Dataset | Frames, device: Device) -> None:
        self.y = device.put(dataset.labels.astype(np.int64)) if dataset.labelled else None
        self.device, self.dataset = device, dataset
        if isinstance(dataset, Dataset):
            self.X = device.put(dataset.images.reshape(len(dataset), -1))  # (N, D) uint8

    def inputs(self, start: int, stop: int, dtype: str) -> Array:
        """Return the inputs of the examples from start to stop, (stop − start, D) of the dtype."""
        if isinstance(self.dataset, Dataset):
            x: Array = scaled(self.X[start:stop, :], dtype)
        else:
            x = self.device.put(self.dataset.windows(np.arange(start, stop)).astype(dtype))
        return x


class Feed:
    """The batches of a run, epoch by epoch.

    Raises:
        ValueError: at construction, if configuration, data and soft targets do not fit together.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset | Frames, soft_targets: SoftTargets | None, device: Device
    ) -> None:
        _check_fit(config, dataset, soft_targets)
        self.config, self.device, self.N = config, device, len(dataset)
        self.steps = self.N // config.batch_size  # per epoch
        put, rows, self.pixel = device.put, dataset.shape[0], math.prod(dataset.shape[2:])  # 1, or 3 for RGB
        cols, border = dataset.shape[1] * self.pixel, config.jitter * self.pixel  # numbers in a row of an example
        self.sizes = (rows * cols, *config.hidden)  # of the inputs of each layer
        self.width = cols + 2 * border  # of a row of an example, padded
        self.starts: np.ndarray | None = None  # (N,), where windows of frames start
        if isinstance(dataset, Frames):
            self.starts = dataset.starts * cols
            X: np.ndarray = dataset.frames.astype(config.dtype).reshape(-1)
            stride = 0
        else:
            X = pad(dataset.images, config.jitter)  # (N, D or more) uint8
            stride = X.shape[1]
        moved = bool(config.jitter) or self.starts is not None
        drops = (config.drop_input, *[config.drop_hidden] * len(config.hidden))
        self.source = Source(
            X=put(X.reshape(-1) if moved else X),
            y=put(dataset.labels.astype(np.int64) if dataset.labelled else np.zeros(self.N, np.int64)),  # of no weight
            V=None if soft_targets is None else put(soft_targets.logits.astype(config.dtype)),
            stride=stride,
            width=self.width,
            cols=cols,
            window=put(window_index(rows, cols, border)) if moved else None,
            inputs=rows * cols,
            batch_size=config.batch_size,
            leading=(len(config.seed),) if isinstance(config.seed, tuple) else (),
            counters=[
                put(_counters(config.batch_size, size)) if drop else None
                for size, drop in zip(self.sizes, drops, strict=True)
            ],
            drops=drops,
            dtype=config.dtype,
        )
        self._draws: list[Array | None] = [None] * (2 + len(drops))  # of an epoch: order, shifts, keys of each layer

    def fill(self, epoch: int) -> None:
        """Draw an epoch (from 0): each kind of draw goes to the device in one upload, to where the last epoch's was."""
        order = self._order(epoch)  # (steps, S·B)
        shifts = None
        if self.config.jitter:
            shifts = self._jitter(epoch)  # (steps, S·B)
        elif self.starts is not None:
            shifts = self.starts[order]
        keys = [self._keys(layer, epoch) if drop else None for layer, drop in enumerate(self.source.drops)]
        self._draws = [
            None if drawn is None else self.device.refill(drawn, buffer)
            for drawn, buffer in zip([order, shifts, *keys], self._draws, strict=True)
        ]

    def batches(self, epoch: int | None = None) -> Iterator[Batch]:
        """Return the batches of one epoch, with each example at most once: the last N mod B are left out.

        Take them before another epoch is filled in.

        Args:
            epoch: from 0; None takes the one that was filled in last.
        """
        if epoch is not None:
            self.fill(epoch)
        n, shift, *keys = self._draws
        assert n is not None, "fill the feed first"
        return self.device.engine.batches(self.source, Draw(n, shift, keys))

    def _order(self, epoch: int) -> np.ndarray:
        """Return the examples of an epoch, step by step: (steps, S·B) int64."""
        return self._drawn("order", epoch, lambda rng: rng.permutation(self.N)[: self.steps * self.config.batch_size])

    def _jitter(self, epoch: int) -> np.ndarray:
        """Return an epoch's shifts, as offsets into padded images: (steps, S·B) int64."""

        def offsets(rng: np.random.Generator) -> np.ndarray:
            down, right = rng.integers(0, 2 * self.config.jitter + 1, size=(2, self.steps * self.config.batch_size))
            return np.asarray(down * self.width + right * self.pixel)

        return self._drawn("jitter", epoch, offsets)

    def _drawn(self, name: str, epoch: int, draw: Callable[[np.random.Generator], np.ndarray]) -> np.ndarray:
        """Return what every seed's stream of that name gives in an epoch, side by side: (steps, S·B) int64."""
        drawn = [draw(stream(seed, name, epoch)).reshape(self.steps, -1) for seed in self.config.seeds]
        return np.ascontiguousarray(np.concatenate(drawn, axis=1), dtype=np.int64)

    def _keys(self, layer: int, epoch: int) -> np.ndarray:
        """Return a layer's keys of dropout in an epoch, (steps, S) uint32: one per step and seed."""
        first = [
            np.random.SeedSequence(seed, spawn_key=(STREAMS.index("dropout"), layer)).generate_state(1)[0]
            for seed in self.config.seeds
        ]
        step = np.arange(epoch * self.steps, (epoch + 1) * self.steps, dtype=np.uint32)
        return np.asarray(hash32(np.array(first, np.uint32) + step[:, None]))


def _counters(batch_size: int, size: int) -> np.ndarray:
    """Return the counters of a layer's dropout, scattered: (B, size) uint32."""
    return np.asarray(hash32(np.arange(batch_size * size, dtype=np.uint32).reshape(batch_size, size)))


_KINDS = {
    "config": "a TrainConfig",
    "dataset": 'a data set: make one with Dataset(images, labels, "name")',
    "soft_targets": 'SoftTargets: soft_targets(teacher, dataset), or SoftTargets(logits, dataset.fingerprint, "name")',
}


def _check_fit(config: TrainConfig, dataset: Dataset | Frames, soft_targets: SoftTargets | None) -> None:
    for name, value, kinds in (
        ("config", config, TrainConfig),
        ("dataset", dataset, (Dataset, Frames)),
        ("soft_targets", soft_targets, (SoftTargets, type(None))),
    ):
        if not isinstance(value, kinds):
            raise TypeError(f"{name} must be {_KINDS[name]}, got {type(value).__name__}")
    if config.batch_size > len(dataset):
        raise ValueError(
            f"batch_size must be at most the number of examples, {len(dataset)}, got {config.batch_size}: lower it"
        )
    if config.jitter and isinstance(dataset, Frames):
        raise ValueError(
            f"jitter moves images, but {dataset.name} holds frames, got jitter = {config.jitter}: set jitter=0"
        )
    if not dataset.labelled and not np.all(np.equal(config.alpha, 1)):
        raise ValueError(
            f"{dataset.name} has no labels, so all weight must be on soft targets, got alpha = {config.alpha}: "
            "set alpha=1"
        )
    needs_soft = config.alpha != 0 and any(np.atleast_1d(config.alpha))
    if soft_targets is None:
        if needs_soft:
            raise ValueError(f"alpha = {config.alpha} gives weight to soft targets, but got none: pass soft_targets")
        return
    if not needs_soft:
        raise ValueError("soft targets were given, but alpha = 0 gives them no weight: raise alpha, or leave them out")
    if config.jitter:
        raise ValueError(
            f"soft targets belong to the images as they are, but jitter = {config.jitter} moves them: set jitter=0"
        )
    if soft_targets.T is not None and set(np.atleast_1d(config.T)) != {soft_targets.T}:
        raise ValueError(
            f"these soft targets hold only for T = {soft_targets.T}, as an arithmetic mean's do, got T = {config.T}: "
            "train at that T, or compute them for yours"
        )
    soft_targets.check(dataset)
