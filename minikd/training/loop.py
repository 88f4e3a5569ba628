"""The one training loop: a teacher, a student alone, a distilled student, and populations of any of them.

    data → mlp_forward → distillation_loss → mlp_backward → momentum_step

`train_step` is that line of code; `train` feeds it, and is the only place that knows the order of things. A number in
`TrainConfig` that is a tuple of S numbers makes a population: S networks with a leading axis, trained in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minikd.core.array import Array, get_xp
from minikd.core.layers import Cache
from minikd.core.losses import distillation_loss
from minikd.core.mlp import initialise, mlp_backward, mlp_forward, unflatten
from minikd.core.optim import clip_factor, limit_norm, momentum_step
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.engines import cuda as kernels
from minikd.engines import host
from minikd.engines.device import CPU, Device
from minikd.training import checkpoint
from minikd.training.answers import errors_of
from minikd.training.batches import Feed, Resident
from minikd.training.config import STREAMS, TrainConfig, stream
from minikd.training.network import Network
from minikd.training.schedule import warmup_cosine

if TYPE_CHECKING:
    from minikd.data.soft_targets import SoftTargets

BLOCK = 1 << 18
"""Parameters that the CPU updates at a time: weights, velocity, gradient and a temporary stay in its cache."""


class TrainingDiverged(ArithmeticError):
    """The cost is not finite any more; says the step, the learning rate and what to try."""


# ---- one step --------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class State:
    """What a run changes, on the device: parameters, velocity and gradient, flat, with the layers as their views."""

    sizes: tuple[int, ...]
    p: Array  # (..., P)
    v: Array  # (..., P)
    block: int | None = None  # on the host: parameters updated at a time
    fused: bool = False  # on a GPU: through the kernels

    def __post_init__(self) -> None:
        self.g = get_xp(p=self.p, v=self.v).zeros_like(self.p)  # (..., P)
        self.layers = unflatten(self.p, self.sizes)
        self.gradients = unflatten(self.g, self.sizes)
        P = self.p.shape[-1]
        block = self.block or P
        cuts = [(start, min(start + block, P)) for start in range(0, P, block)]
        self.blocks = [tuple(array[..., a:b] for array in (self.p, self.v, self.g)) for a, b in cuts]


def train_step(
    state: State,
    x: Array,
    *,
    y: Array | None = None,
    v: Array | None = None,
    T: float | Array = 1.0,
    alpha: float | Array = 0.0,
    learning_rate: float | Array,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    dropout: Sequence[Any] | None = None,
) -> Array:
    """One step of gradient descent on one batch, in place in `state`; nothing in it waits for the device.

    Args: x (..., B, D) float; y, v, T, alpha as `distillation_loss` takes them; learning_rate and momentum as
        `momentum_step`; clip_norm, as `clip_factor`, or None; max_norm for the hidden layers; dropout as the way's
        `mlp_forward` takes it.
    Returns: C, (...,), the cost before the step.
    """
    way = FUSED if state.fused else READABLE if state.block is None else HOST
    z, cache = way.forward(x, state.layers, dropout)
    C, dz = way.loss(z, v=v, y=y, T=T, alpha=alpha)
    way.backward(dz, cache, out=state.gradients)
    way.update(state, learning_rate=learning_rate, momentum=momentum, clip_norm=clip_norm, max_norm=max_norm)
    return C


def update(
    state: State, *, learning_rate: float | Array, momentum: float, clip_norm: float | None, max_norm: float | None
) -> None:
    """Clip the gradient, move the parameters, limit the norms of the hidden layers' weights, in place."""
    if clip_norm is not None:
        learning_rate = learning_rate * clip_factor(state.g, clip_norm)
    for p, velocity, g in state.blocks:
        momentum_step(p, velocity, g, learning_rate=learning_rate, momentum=momentum)
    if max_norm is not None:
        for W, _ in state.layers[:-1]:
            limit_norm(W, max_norm)


class Way(NamedTuple):
    """The four functions of a step. Every way does the same arithmetic, up to the order of sums."""

    forward: Callable[..., tuple[Array, Cache]]
    loss: Callable[..., tuple[Array, Array]]
    backward: Callable[..., Any]
    update: Callable[..., None]


READABLE = Way(mlp_forward, distillation_loss, mlp_backward, update)
HOST = Way(host.mlp_forward, host.distillation_loss, host.mlp_backward, update)
FUSED = Way(kernels.mlp_forward, kernels.distillation_loss, kernels.mlp_backward, kernels.update)


# ---- the loop --------------------------------------------------------------------------------------------------------


def train(
    config: TrainConfig,
    dataset: Dataset | Frames,
    *,
    soft_targets: SoftTargets | None = None,
    start: Network | None = None,
    evaluation: Dataset | Frames | None = None,
    device: Device = CPU,
    checkpoint_path: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Network], None] | None = None,
) -> Network:
    """Train a network, or a population of them, from its initial weights to the end of its schedule.

    Args:
        config: what to train. dataset: the transfer set, or the training set.
        soft_targets: the teacher's logits for just this data set; needed where alpha > 0.
        start: a network of these layer sizes whose weights to begin with, in place of random ones; a single one for
            every student of a population.
        evaluation: a data set on which errors are counted after each epoch. They are recorded, and decide nothing.
        device: where to train.
        checkpoint_path: a file that is replaced after each epoch; with resume=True training goes on from it if it is
            there, and ends with the same bits as if it had never stopped (on the CPU).
        on_step: called with (steps done, steps in all). on_epoch: with the network as it is, its history so far among
            it; its weights go on changing, so copy what you keep.
    Returns: the network, with a history of one record an epoch: epoch (from 1), cost (the mean training cost in nats),
        learning_rate (the last step's), seconds (wall time) and, with evaluation, errors. In a population, numbers
        that differ between students are lists.
    Raises: ValueError before any work for what does not fit together; TrainingDiverged; CheckpointError.
    """
    if evaluation is not None and evaluation.shape != dataset.shape:
        shapes = f"{dataset.shape} and {evaluation.shape}"
        raise ValueError(f"dataset and evaluation must have images of one size, got {shapes}")
    feed = Feed(config, dataset, soft_targets, device)
    sizes = (*feed.sizes, dataset.classes)
    identity = {
        "config": config.record(),
        "dataset": dataset.fingerprint,
        "teacher": None if soft_targets is None else soft_targets.teacher,
        "start": None if start is None else checkpoint.digest({"flat": start.flat}),
        "evaluation": None if evaluation is None else evaluation.fingerprint,
    }
    p, v, history = _start(sizes, config, start, identity, checkpoint_path if resume else None)
    state = State(sizes, device.put(p), device.put(v), block=BLOCK if device.host else None, fused=device.fused)
    held = None if evaluation is None else Resident(evaluation, device)
    for epoch in range(len(history), config.epochs):
        began = perf_counter()
        cost, rate = _epoch(state, feed, epoch, on_step)
        record = {
            "epoch": epoch + 1,
            "cost": np.mean(cost, axis=0, dtype=np.float64).tolist(),
            "learning_rate": rate,
        }
        if held is not None:
            record["errors"] = errors_of(state.layers, held, device, config.dtype)
        record["seconds"] = round(perf_counter() - began, 3)
        history.append(record)
        if checkpoint_path is None and on_epoch is None:
            continue
        flat = device.get(state.p)
        if checkpoint_path is not None:
            arrays = {"p": flat, "v": device.get(state.v)}
            checkpoint.save(
                checkpoint_path, arrays, {**identity, "history": history, "streams": _streams(config, len(history))}
            )
        if on_epoch is not None:
            on_epoch(Network(sizes, flat, history))
    return Network(sizes, device.get(state.p), history)


def _epoch(
    state: State, feed: Feed, epoch: int, on_step: Callable[[int, int], None] | None
) -> tuple[np.ndarray, float | list[float]]:
    """Train for one epoch: the cost of each step, (steps, ...), and the last learning rate."""
    config, device, first, steps = feed.config, feed.device, epoch * feed.steps, feed.steps * feed.config.epochs
    T, alpha = (_per_student(getattr(config, name), config.dtype, device) for name in ("T", "alpha"))
    factors = [warmup_cosine(step, steps, config.warmup) for step in range(first, first + feed.steps)]
    costs = []
    with np.errstate(over="ignore", invalid="ignore"):  # a cost that is not finite is found, and said in words
        batches = zip(feed.batches(epoch), _rates(config, factors, device), strict=True)
        for step, (batch, rate) in enumerate(batches, start=first):
            C = train_step(
                state,
                batch.x,
                y=batch.y,
                v=batch.v,
                T=T,
                alpha=alpha,
                learning_rate=rate,
                momentum=config.momentum,
                clip_norm=config.clip_norm,
                max_norm=config.max_norm,
                dropout=batch.dropout,
            )
            costs.append(C)
            if device.host:  # reading costs nothing here; elsewhere it waits, so there it is done once an epoch
                _check_finite(np.asarray(C), step, steps, config)
            if on_step is not None:
                on_step(step + 1, steps)
    cost = device.get(device.xp.stack(costs))  # (steps, ...)
    for step, C in enumerate(cost, start=first):
        _check_finite(C, step, steps, config)
    return cost, (np.asarray(config.learning_rate) * factors[-1]).tolist()


def _start(
    sizes: Sequence[int], config: TrainConfig, start: Network | None, identity: dict[str, Any], path: Path | None
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Parameters, velocity and history to start from: a checkpoint's if there is one at the path, else fresh ones."""
    if start is None:
        fresh = [initialise(sizes, stream(seed, "initialisation"), config.dtype) for seed in config.seeds]
    else:
        if start.sizes != tuple(sizes) or start.flat.ndim != 1 or start.flat.dtype != config.dtype:
            raise ValueError(
                f"start must be one {config.dtype} network of layer sizes {tuple(sizes)}, got {start.flat.dtype} "
                f"{start.flat.shape[:-1]} of {start.sizes}"
            )
        fresh = [start.flat]
    S = config.population
    p = fresh[0].copy() if S is None else np.stack([fresh[i % len(fresh)] for i in range(S)])
    if path is None:
        return p, np.zeros_like(p), []
    try:
        arrays, record = checkpoint.load(path)
    except checkpoint.CheckpointMissingError:  # also where another process has just finished this network
        return p, np.zeros_like(p), []
    for key, value in identity.items():
        if record.get(key) != value:
            raise checkpoint.CheckpointError(path, f"it belongs to another {key}", "resume without it, or remove it")
    if {name: (a.shape, a.dtype) for name, a in arrays.items()} != dict.fromkeys("pv", (p.shape, p.dtype)):
        raise checkpoint.CheckpointError(path, "its arrays do not fit this network", "resume without it, or remove it")
    history = record.get("history", [])
    if record.get("streams") != _streams(config, len(history)):
        raise checkpoint.CheckpointError(path, "its streams are not at the end of its history", "remove it")
    return arrays["p"], arrays["v"], history


def _streams(config: TrainConfig, epochs: int) -> dict[str, Any]:
    """The state of every stream after so many epochs: they are functions of the seed and the epoch's number."""
    return {name: {"seed": list(config.seeds), "next_epoch": epochs} for name in STREAMS}


def _per_student(value: float | tuple[float, ...], dtype: str, device: Device) -> float | Array:
    """A number as it is; S numbers as an array (S, 1, 1) on the device."""
    return device.put(np.array(value, dtype).reshape(-1, 1, 1)) if isinstance(value, tuple) else float(value)


def _rates(config: TrainConfig, factors: list[float], device: Device) -> list[float | Array]:
    """The learning rate of each step of an epoch: numbers, or arrays (S, 1) that went to the device in one upload."""
    if not isinstance(config.learning_rate, tuple):
        return [config.learning_rate * factor for factor in factors]
    peak = np.array(config.learning_rate, config.dtype)
    rates = device.put(np.stack([peak * factor for factor in factors])[..., None])  # (steps, S, 1)
    return [rates[i, ...] for i in range(len(factors))]


def _check_finite(C: np.ndarray, step: int, steps: int, config: TrainConfig) -> None:
    if not np.isfinite(C).all():
        rate = np.round(np.multiply(config.learning_rate, warmup_cosine(step, steps, config.warmup)), 6).tolist()
        raise TrainingDiverged(
            f"the cost is {C.tolist()} at step {step + 1} of {steps}, learning rate {rate}: "
            "try a lower learning rate, a longer warm-up, or a smaller clip_norm"
        )
