"""The one training loop: a teacher, a student alone, a distilled student, and populations of any of them.

    data → engine.batches → engine.forward → engine.loss → engine.backward → engine.update

`train_step` is that line of code. `Run.epochs` is a generator that feeds it, one epoch at a time, and the only place
that knows the order of things. A CPU takes the steps of an epoch one by one. A GPU captures them once as a CUDA graph,
and launches that in each epoch. `train` is a plain loop over the epochs, with checkpoints. A number in `TrainConfig`
that is a tuple of S numbers makes a population: S networks with a leading axis, trained in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from minikd.core.array import Array
from minikd.core.guard import unguarded
from minikd.core.mlp import initialise
from minikd.data.checks import need_labels
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import CPU, Device, as_device
from minikd.engines.engine import Batch, Engine, State
from minikd.engines.graph import MOST_STEPS, Graph
from minikd.system.pace import Pace
from minikd.training import checkpoint
from minikd.training.answers import errors_of
from minikd.training.batches import Feed, Resident
from minikd.training.config import STREAMS, TrainConfig, stream
from minikd.training.network import Network
from minikd.training.schedule import warmup_cosine


class TrainingDiverged(ArithmeticError):
    """The cost is no longer finite. The message says the step, the learning rate and what to try.

    Args:
        problem: what happened.
        fix: what to try.
        students: which networks of a population it happened to; empty for a single network.
    """

    def __init__(self, problem: str, fix: str, students: Sequence[int] = ()) -> None:
        super().__init__(problem, fix, students)
        self.problem, self.fix, self.students = problem, fix, students

    def __str__(self) -> str:
        return f"{self.problem}: {self.fix}"

    def of(self, network: str, fix: str = "") -> TrainingDiverged:
        """Return the same error with the name of the network, and with what to try there."""
        return TrainingDiverged(f"{network}: {self.problem}", fix or self.fix, self.students)


def train_step(
    engine: Engine,
    state: State,
    batch: Batch,
    *,
    T: float | Array = 1.0,
    alpha: float | Array = 0.0,
    learning_rate: float | Array,
    momentum: float = 0.9,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    out: Array | None = None,
) -> Array:
    """Take one step of gradient descent on one batch, in place in `state`. Nothing in it waits for the device.

    Args:
        engine: how the step is carried out.
        state: overwritten.
        batch: one of those that the engine's `batches` yields.
        T: as `distillation_loss` takes it.
        alpha: as `distillation_loss` takes it.
        learning_rate: as `momentum_step` takes it.
        momentum: as `momentum_step` takes it.
        clip_norm: as `clip_factor` takes it, or None.
        max_norm: as `limit_norm` takes it, for the hidden layers, or None.
        out: None or (...,), overwritten with C.

    Returns:
        C, (...,), the cost before the step, in nats.
    """
    z, cache = engine.forward(batch.x, state, batch.dropout)
    C, dz = engine.loss(z, state, v=batch.v, y=batch.y, T=T, alpha=alpha, out=out)
    engine.backward(dz, cache, state)
    engine.update(state, learning_rate=learning_rate, momentum=momentum, clip_norm=clip_norm, max_norm=max_norm)
    return C


class Run:
    """One training run: everything is checked at construction, and `epochs` trains.

    `train` is the run that goes to the end of its schedule. Loop over `epochs` yourself to stop early, or to keep the
    best network.

    Args:
        config: as `train` takes it.
        dataset: as `train` takes it.
        soft_targets: as `train` takes it.
        start: as `train` takes it.
        evaluation: as `train` takes it.
        device: as `train` takes it.

    Raises:
        ValueError: for what does not fit together.
        TypeError: for a config, a data set or soft targets of another type.

    Attributes:
        state: what the run changes, on the device.
        history: one record per finished epoch, as `train` documents it.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset | Frames,
        *,
        soft_targets: SoftTargets | None = None,
        start: Network | None = None,
        evaluation: Dataset | Frames | None = None,
        device: Device | str = CPU,
    ) -> None:
        device = as_device(device)
        self.config, self.device, self.feed = config, device, Feed(config, dataset, soft_targets, device)
        if not isinstance(evaluation, Dataset | Frames | None):
            raise TypeError(f"evaluation must be a data set, as dataset is, or None, got {type(evaluation).__name__}")
        if evaluation is not None and evaluation.shape != dataset.shape:
            shapes = f"{dataset.shape} and {evaluation.shape}"
            raise ValueError(f"dataset and evaluation must have images of one size, got {shapes}")
        if evaluation is not None:
            need_labels(evaluation, "errors cannot be counted on it")
        self.sizes = (*self.feed.sizes, dataset.classes)
        parameters = _initial(self.sizes, config, start)
        self.state = State(self.sizes, device.put(parameters), device.put(np.zeros_like(parameters)))
        self.history: list[dict[str, Any]] = []
        alpha = 0.0 if soft_targets is None else config.alpha  # the feed has checked that it is 0 for every student
        self._T, self._alpha = (_per_student(value, config.dtype, device) for value in (config.T, alpha))
        self._rates: list[float | Array] = []  # of each step of the epoch
        self._all_rates: Array | None = None  # the same as one array on the device
        self._checked = False  # whether a step has been taken with its arguments checked
        self._captured: tuple[State, Graph, Array] | None = None  # an epoch of this state, and where its costs are
        self._evaluation = None if evaluation is None else Resident(evaluation, device)
        self._identity = {  # what a checkpoint must agree with
            "config": config.record(),
            "dataset": dataset.fingerprint,
            "teacher": None if soft_targets is None else soft_targets.teacher,
            "start": None if start is None else checkpoint.digest({"flat": start.flat}),
            "evaluation": None if evaluation is None else evaluation.fingerprint,
        }

    def network(self) -> Network:
        """Return a copy of the network as it is now, with its history so far."""
        return Network(self.sizes, np.array(self.device.get(self.state.parameters)), list(self.history))

    def epochs(self, on_step: Callable[[int, int], None] | None = None) -> Iterator[dict[str, Any]]:
        """Train from where the run is to the end of its schedule, and yield each epoch's record when it is done.

        Between two epochs you may look at the `network`, `save` the run, or stop. The run continues when you ask for
        the next epoch.

        Args:
            on_step: called after each step with (steps done, steps in all); once per epoch where that is one graph.

        Yields:
            The epoch's record, as `train` documents it.

        Raises:
            TrainingDiverged: if the cost is no longer finite.
        """
        for epoch in range(len(self.history), self.config.epochs):
            began = perf_counter()
            cost, rate = self._epoch(epoch, on_step)
            record: dict[str, Any] = {
                "epoch": epoch + 1,
                "cost": np.mean(cost, axis=0, dtype=np.float64).tolist(),
                "learning_rate": rate,
            }
            if self._evaluation is not None:
                record["errors"] = errors_of(self.state.layers, self._evaluation, self.device, self.config.dtype)
            record["seconds"] = round(perf_counter() - began, 3)
            self.history.append(record)
            yield record

    def save(self, path: Path) -> None:
        """Write a checkpoint. `resume` continues from it bit for bit (on a CPU).

        Raises:
            CheckpointError: if it cannot be written.
        """
        get = self.device.get
        arrays = {"p": get(self.state.parameters), "v": get(self.state.velocity)}
        streams = _streams(self.config, len(self.history))
        checkpoint.save(path, arrays, {**self._identity, "history": self.history, "streams": streams})

    def resume(self, path: Path) -> None:
        """Continue from the checkpoint at the path, if there is one.

        Raises:
            CheckpointError: if the checkpoint is damaged, or of another run.
        """
        try:
            arrays, record = checkpoint.load(path)
        except checkpoint.CheckpointMissingError:  # also where another process has just finished this network
            return
        for key, value in self._identity.items():
            if record.get(key) != value:
                raise checkpoint.CheckpointError(
                    path, f"it belongs to another {key}", "resume without it, or remove it"
                )
        shape, dtype = self.state.parameters.shape, self.config.dtype
        if {name: (a.shape, a.dtype) for name, a in arrays.items()} != dict.fromkeys("pv", (shape, np.dtype(dtype))):
            raise checkpoint.CheckpointError(
                path, "its arrays do not fit this network", "resume without it, or remove it"
            )
        history = record.get("history", [])
        if record.get("streams") != _streams(self.config, len(history)):
            raise checkpoint.CheckpointError(path, "its streams are not at the end of its history", "remove it")
        self.history = history
        self.state = State(self.sizes, self.device.put(arrays["p"]), self.device.put(arrays["v"]))

    def _epoch(self, epoch: int, on_step: Callable[[int, int], None] | None) -> tuple[np.ndarray, float | list[float]]:
        """Train for one epoch: the cost of each step, (steps, ...), and the last learning rate."""
        config, device, each = self.config, self.device, self.feed.steps
        first, steps = epoch * each, each * config.epochs
        factors = [warmup_cosine(step, steps, config.warmup) for step in range(first, first + each)]
        self.feed.fill(epoch)
        self._set_rates(factors)
        with np.errstate(over="ignore", invalid="ignore"):  # a cost that is not finite is found, and said in words
            if device.captures and each <= MOST_STEPS:
                cost = self._launch()
                if on_step is not None:
                    on_step(first + each, steps)
            else:
                costs = []
                for step, C in enumerate(self._steps(), start=first):
                    if device.host:  # reading costs nothing here; elsewhere it waits: there it is done once per epoch
                        _check_finite(np.asarray(C), step, steps, config)
                    costs.append(C)
                    if on_step is not None:
                        on_step(step + 1, steps)
                cost = device.get(device.xp.stack(costs))  # (steps, ...)
        if not device.host:
            for step, C in enumerate(cost, start=first):
                _check_finite(C, step, steps, config)
        return cost, np.multiply(config.learning_rate, factors[-1]).tolist()

    def _steps(self, costs: Array | None = None) -> Iterator[Array]:
        """Take the steps of the epoch that is filled in, one for each cost that is asked for.

        Args:
            costs: None, or (steps, ...) on the device, overwritten.
        """
        config = self.config
        for i, batch in enumerate(self.feed.batches()):
            with unguarded(self._checked):  # from step to step only the numbers change, so one check is enough
                C = train_step(
                    self.device.engine,
                    self.state,
                    batch,
                    T=self._T,
                    alpha=self._alpha,
                    learning_rate=self._rates[i],
                    momentum=config.momentum,
                    clip_norm=config.clip_norm,
                    max_norm=config.max_norm,
                    out=None if costs is None else costs[i, ...],
                )
            self._checked = True
            yield C

    def _launch(self) -> np.ndarray:
        """Take the steps of the epoch that is filled in as one graph, captured when this state is new: their costs."""
        state, device = self.state, self.device
        if self._captured is None or self._captured[0] is not state:
            costs = device.put(np.zeros((self.feed.steps, *state.parameters.shape[:-1]), self.config.dtype))
            graph = Graph(device.xp, lambda: self._steps(costs), changed=(state.parameters, state.velocity))
            self._captured = state, graph, costs
        _, graph, costs = self._captured
        graph.launch()
        return device.get(costs)

    def _set_rates(self, factors: list[float]) -> None:
        """Set the learning rate of each step of an epoch: floats, or views (1,) or (S, 1) of an array on the device."""
        peak: Any = self.config.learning_rate
        if isinstance(peak, tuple):
            peak = np.array(peak, self.config.dtype)
        elif self.device.host:
            self._rates = [peak * factor for factor in factors]
            return
        rates = np.array([peak * factor for factor in factors], self.config.dtype)[..., None]
        self._all_rates = self.device.refill(rates, self._all_rates)
        self._rates = [self._all_rates[i, ...] for i in range(len(factors))]


def train(
    config: TrainConfig,
    dataset: Dataset | Frames,
    *,
    soft_targets: SoftTargets | None = None,
    start: Network | None = None,
    evaluation: Dataset | Frames | None = None,
    device: Device | str = CPU,
    checkpoint_path: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Network], None] | None = None,
) -> Network:
    """Train a network, or a population of them, from its initial weights to the end of its schedule.

    Args:
        config: what to train.
        dataset: the transfer set, or the training set.
        soft_targets: the teacher's logits for exactly this data set; needed where alpha > 0.
        start: a single network of these layer sizes. Training begins with its weights, not with random ones, and so
            does every student of a population.
        evaluation: a data set on which errors are counted after each epoch. They are recorded, and decide nothing.
        device: where to train: "cpu", "gpu" or a `Device`.
        checkpoint_path: a file that is replaced after the first epoch, and then after epochs: after each one, or less
            often if this would take more than a twentieth of the time.
        resume: whether to continue from the checkpoint, if it is there. The run then ends with the same bits as if it
            had never stopped (on a CPU).
        on_step: called with (steps done, steps in all), as `Run.epochs` does.
        on_epoch: called with a copy of the network as it is, with its history so far.

    Returns:
        The network. Its history has one record per epoch: epoch (from 1), cost (the mean training cost in nats),
        learning_rate (the last step's), seconds (wall time) and, with evaluation, errors. In a population, numbers that
        differ between students are lists.

    Raises:
        ValueError: before any work, if the arguments do not fit together.
        TrainingDiverged: if the cost is no longer finite.
        CheckpointError: if a checkpoint is damaged, of another run, or cannot be written.
    """
    run = Run(config, dataset, soft_targets=soft_targets, start=start, evaluation=evaluation, device=device)
    if resume and checkpoint_path is not None:
        run.resume(checkpoint_path)
    pace = Pace()
    for _ in run.epochs(on_step):
        if checkpoint_path is not None:
            pace.do(partial(run.save, checkpoint_path))
        if on_epoch is not None:
            on_epoch(run.network())
    return run.network()


def _initial(sizes: tuple[int, ...], config: TrainConfig, start: Network | None) -> np.ndarray:
    """Return initial parameters, (P,), or (S, P) for a population: random ones, or those of `start`."""
    if start is None:
        fresh = [initialise(sizes, stream(seed, "initialisation"), config.dtype) for seed in config.seeds]
    else:
        if start.sizes != sizes or start.flat.ndim != 1 or start.flat.dtype != config.dtype:
            raise ValueError(
                f"start must be one {config.dtype} network of layer sizes {sizes}, got {start.flat.dtype} "
                f"{start.flat.shape[:-1]} of {start.sizes}"
            )
        fresh = [start.flat]
    S = config.population
    return fresh[0].copy() if S is None else np.stack([fresh[i % len(fresh)] for i in range(S)])


def _streams(config: TrainConfig, epochs: int) -> dict[str, Any]:
    """Return the state of every stream after this many epochs. It follows from the seed and the epoch's number."""
    return {name: {"seed": list(config.seeds), "next_epoch": epochs} for name in STREAMS}


def _per_student(value: float | tuple[float, ...], dtype: str, device: Device) -> float | Array:
    """Return a number as it is; S numbers as an array (S, 1, 1) on the device."""
    if not isinstance(value, tuple):
        return float(value)
    array: Array = device.put(np.array(value, dtype).reshape(-1, 1, 1))
    return array


def _check_finite(C: np.ndarray, step: int, steps: int, config: TrainConfig) -> None:
    if not np.isfinite(C).all():
        rate = np.round(np.multiply(config.learning_rate, warmup_cosine(step, steps, config.warmup)), 6).tolist()
        raise TrainingDiverged(
            f"the cost is {C.tolist()} at step {step + 1} of {steps}, learning rate {rate}",
            "try a lower learning rate, a longer warm-up, or a smaller clip_norm",
            np.flatnonzero(~np.isfinite(C)).tolist() if C.ndim else (),
        )
