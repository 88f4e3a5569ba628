"""The cases, minikd's contestants, and the floor. PyTorch is in a module of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from benchmarks.timing import Bench, Step, Steps
from minikd.commands.gpu import floor_step
from minikd.core.guard import unguarded
from minikd.core.mlp import initialise, mlp_forward, parameter_count, unflatten
from minikd.data.images import CLASSES, Dataset, load_mnist
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import Device
from minikd.engines.engine import Batch, State
from minikd.engines.graph import Graph
from minikd.training.config import TrainConfig
from minikd.training.loop import Run, train_step

FLOOR_GRAPH, MINIKD_GRAPH = "floor, graph", "minikd, graph"
ENDLESS = 10**9  # epochs: the cosine of the learning rate stays at 1

T, ALPHA, RATE, MOMENTUM = 8.0, 0.9, 0.01, 0.9
TEACHER, STUDENTS = (1200, 1200), ((800, 800), (300, 300), (30, 30))


class Case(NamedTuple):
    """A batch with its targets, and the weights to start from, on the host."""

    sizes: tuple[int, ...]
    x: np.ndarray  # (B, D)
    y: np.ndarray  # (B,)
    v: np.ndarray  # (B, K)
    start: np.ndarray  # (P,)


def case(hidden: tuple[int, ...], B: int) -> Case:
    """Return random numbers for a network with these hidden layers."""
    rng = np.random.default_rng(0)
    sizes = (784, *hidden, CLASSES)
    x = rng.random((B, 784), dtype=np.float32)
    return Case(sizes, x, rng.integers(0, CLASSES, B), teacher_like(B, rng), initialise(sizes, rng))


def turn_of(case: Case) -> int:
    """Return how many steps on a case make a turn: about 50 ms."""
    return min(max(400_000_000 // (parameter_count(case.sizes) * len(case.y)), 5), 200)


def teacher_like(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return logits with a spread as a teacher's, (n, K)."""
    return (5 * rng.standard_normal((n, CLASSES))).astype(np.float32)


def images(bench: Bench) -> Dataset:
    """Return the first 12,800 training images: a hundred batches of 128."""
    return load_mnist()[0].take(np.arange(256 if bench.quick else 12_800))


def random_targets(dataset: Dataset) -> SoftTargets:
    """Return soft targets that cost no teacher: time does not depend on what they say."""
    return SoftTargets(teacher_like(len(dataset), np.random.default_rng(0)), dataset.fingerprint, "random")


def name(hidden: tuple[int, ...]) -> str:
    """Return the layer sizes as a network's name."""
    return "-".join(map(str, (784, *hidden, CLASSES)))


# ---- the floor -------------------------------------------------------------------------------------------------------


def floor(sizes: tuple[int, ...], B: int, device: Device, *, forward_only: bool = False) -> Step:
    """Return the bare products of both passes, into arrays that are there already, and then the update's traffic.

    The update must read parameters, velocity and gradient, and write the first two: 20 bytes per parameter. Here an
    array is scaled in place, 8 bytes, and another one is added to a third, 12.
    """
    rng = np.random.default_rng(0)

    def fill(*shape: int) -> Any:
        return device.put(rng.random(shape, dtype=np.float32))

    hidden, outs = ([fill(B, size) for size in sizes] for _ in range(2))
    weights, gradients = ([fill(D, H) for D, H in pairwise(sizes)] for _ in range(2))
    p, v, g = (fill(parameter_count(sizes)) for _ in range(3))
    matmul = device.xp.matmul

    def step() -> None:
        nonlocal p, v
        for i, W in enumerate(weights):
            matmul(hidden[i], W, out=outs[i + 1])
        if forward_only:
            return
        for i, W in reversed(list(enumerate(weights))):
            matmul(hidden[i].mT, hidden[i + 1], out=gradients[i])
            if i > 0:
                matmul(hidden[i + 1], W.mT, out=outs[i])
        v *= 1.0
        p += g

    return step


# ---- minikd ----------------------------------------------------------------------------------------------------------


def minikd_step(
    case: Case, device: Device, dropout: Sequence[Any] | None = None, state: State | None = None, **settings: Any
) -> Step:
    """Return a distillation step on one batch, or what dropout and other settings of `train_step` make of it."""
    state = state or _state(case.sizes, case.start.copy(), device)
    batch = Batch(*map(device.put, (case.x, case.y, case.v)), dropout)
    settings = {"T": T, "alpha": ALPHA, "learning_rate": RATE, "momentum": MOMENTUM, **settings}

    def step(out: Any = None) -> Any:
        with unguarded():  # as in training, which checks its first step only
            return train_step(device.engine, state, batch, out=out, **settings)

    return step


def minikd_logits(case: Case, device: Device) -> Step:
    """Return a step that computes the logits of a batch."""
    layers, x = unflatten(device.put(case.start), case.sizes), device.put(case.x)
    return lambda: mlp_forward(x, layers)[0]


def _state(sizes: tuple[int, ...], start: np.ndarray, device: Device) -> State:
    return State(sizes, device.put(start), device.put(np.zeros_like(start)))


def minikd_epoch(config: TrainConfig, dataset: Dataset, targets: SoftTargets | None, device: Device) -> Step:
    """An epoch as `train` runs it, at a constant learning rate, data preparation included. Returns the mean cost."""
    config = replace(config, epochs=ENDLESS, warmup=0.0)
    epochs = Run(config, dataset, soft_targets=targets, device=device).epochs()
    return lambda: np.asarray(next(epochs)["cost"])


# ---- CUDA graphs -----------------------------------------------------------------------------------------------------


def graphs(case: Case, bench: Bench) -> dict[str, Steps]:
    """Return the floor and minikd's step, each as a CUDA graph of `bench.graph` steps, where Graph works."""
    found: dict[str, Steps] = {}
    for what, make in {FLOOR_GRAPH: _floor_graph, MINIKD_GRAPH: _minikd_graph}.items():
        try:
            if not bench.device.host:
                found[what] = make(case, bench)
        except Exception as error:  # the others can be measured all the same
            bench.leave_out(what, error)
    return found


def _floor_graph(case: Case, bench: Bench) -> Steps:
    step = floor_step(bench.device, case.sizes, len(case.y))  # not `floor`: CuPy's products refuse a capture

    def steps() -> Iterator[None]:
        return (step() for _ in range(bench.graph))

    graph = Graph(bench.device.xp, steps, changed=())
    return Steps(graph.launch, bench.graph, alive=steps)


def _minikd_graph(case: Case, bench: Bench) -> Steps:
    device = bench.device
    state = _state(case.sizes, case.start.copy(), device)
    step = minikd_step(case, device, state=state)
    costs = device.put(np.zeros(bench.graph, np.float32))

    def steps() -> Iterator[None]:
        return (step(costs[i, ...]) for i in range(bench.graph))

    graph = Graph(device.xp, steps, (state.parameters, state.velocity))

    def launch() -> Any:
        graph.launch()
        return costs

    return Steps(launch, bench.graph, alive=steps)
