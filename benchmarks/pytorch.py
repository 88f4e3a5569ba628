"""PyTorch doing the same as minikd, each way that it offers, on arrays of its own with the same contents."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.contestants import ALPHA, MOMENTUM, RATE, Case, T
from benchmarks.timing import Bench, Step, Steps
from minikd.core.mlp import initialise, unflatten
from minikd.data.images import CLASSES, Dataset
from minikd.data.jitter import pad, window_index
from minikd.data.soft_targets import SoftTargets
from minikd.training.config import TrainConfig, stream

try:
    import torch
except ImportError:
    torch = None

EAGER, FUSED, COMPILED, GRAPHS, WHOLE, WHOLE_COMPILED = WAYS = tuple(
    f"PyTorch {way}" for way in ("eager", "fused", "compiled", "reduce-overhead", "graph", "compiled graph")
)
"""A step launched one by one, the first four; and whole steps, SGD included, as one CUDA graph, the last two."""
WARM_UP = 3  # steps before a capture, on a stream of their own


def place_of(bench: Bench) -> str | None:
    """Return where PyTorch computes beside this device: "cpu", "cuda", or None, with the reason left in the bench."""
    if torch is None:
        bench.left_out["PyTorch"] = "not installed; it comes with the extra bench"
    elif bench.place == "gpu" and not torch.cuda.is_available():
        bench.left_out["PyTorch"] = "installed without CUDA"
    else:
        return "cuda" if bench.place == "gpu" else "cpu"
    return None


def distillation_steps(case: Case, bench: Bench) -> dict[str, Step | Steps]:
    """Return the same distillation step in each way that PyTorch offers, as far as they work here."""
    place = place_of(bench)
    if place is None:
        return {}
    torch.compiler.reset()  # each shape for itself: past a limit of shapes PyTorch falls back to eager mode
    steps: dict[str, Step | Steps] = {}
    for kind in WAYS if place == "cuda" else WAYS[:3]:
        try:
            steps[kind] = _step(case, place, kind, bench.graph)
        except Exception as error:  # no compiler, or one that fails, in any of a dozen ways
            bench.leave_out(kind, error)
    return steps


def _step(case: Case, place: str, kind: str, several: int = 1) -> Step | Steps:
    """One step on arrays that stay where they are; or, as a graph, `several` of them."""
    model = network(case.sizes, case.start, place)
    x, y, v = (torch.from_numpy(array).to(place) for array in case[1:4])
    optimiser = _optimiser(model, fused=kind != EAGER)

    def forward(x: Any, y: Any, v: Any) -> Any:
        return _cost(model(x), y, v)

    if kind in (COMPILED, GRAPHS, WHOLE_COMPILED):
        forward = torch.compile(forward, fullgraph=True, mode="reduce-overhead" if kind == GRAPHS else "default")
        forward(x, y, v).backward()  # if it fails it fails here

    def step() -> Any:
        optimiser.zero_grad()
        C = forward(x, y, v)
        C.backward()
        optimiser.step()
        return C.detach()

    return _captured(step, optimiser, several) if kind in (WHOLE, WHOLE_COMPILED) else step


def _captured(step: Step, optimiser: Any, several: int) -> Steps:
    """Return `several` whole steps as one CUDA graph, by PyTorch's recipe: warm up on a side stream, capture, replay.

    The optimiser makes its velocities in the first step, so they are there before the capture. The gradients are not:
    the graph keeps them in memory of its own. In the end parameters and velocities are as they were in the beginning.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    start = [parameter.detach().clone() for parameter in parameters]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    optimiser.zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        costs = torch.stack([step() for _ in range(several)])
    with torch.no_grad():
        for parameter, initial in zip(parameters, start, strict=True):
            parameter.copy_(initial)
            optimiser.state[parameter]["momentum_buffer"].zero_()

    def replay() -> Any:
        graph.replay()
        return costs

    return Steps(replay, several, alive=step)


def network(sizes: tuple[int, ...], start: np.ndarray, place: str, drop: tuple[float, float] = (0.0, 0.0)) -> Any:
    """Return the network with minikd's initial weights; drop, of the inputs and of the hidden units."""
    modules: list[Any] = []
    for i, (W, b) in enumerate(unflatten(start, sizes)):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        modules += [torch.nn.ReLU()] * (i > 0) + [torch.nn.Dropout(drop[i > 0])] * (drop[i > 0] > 0) + [linear]
    return torch.nn.Sequential(*modules).to(place)


def logits(case: Case, place: str) -> Step:
    """Return a step that computes the logits of a batch."""
    model, x = network(case.sizes, case.start, place).eval(), torch.from_numpy(case.x).to(place)
    return torch.inference_mode()(lambda: model(x))


def _optimiser(model: Any, fused: bool) -> Any:
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, fused=True if fused else None)


def _cost(z: Any, y: Any, v: Any) -> Any:
    """Return the cost of `minikd.core.losses.distillation_loss`; without v, that of the hard targets."""
    hard = torch.nn.functional.cross_entropy(z, y)
    if v is None:
        return hard
    soft = torch.nn.functional.cross_entropy(z / T, torch.softmax(v / T, dim=-1))
    return ALPHA * T**2 * soft + (1 - ALPHA) * hard


def epochs(config: TrainConfig, dataset: Dataset, targets: SoftTargets | None, bench: Bench) -> dict[str, Step]:
    """Return the same epoch in each way that PyTorch offers without a compiler, as far as they work here."""
    place, found = place_of(bench), dict[str, Step]()
    for kind in [] if place is None else [EAGER, FUSED, *([WHOLE] if place == "cuda" else [])]:
        try:
            found[kind] = epoch_of(config, dataset, targets, place, kind)
        except Exception as error:
            bench.leave_out(kind, error)
    return found


def epoch_of(config: TrainConfig, dataset: Dataset, targets: SoftTargets | None, place: str, kind: str) -> Step:
    """Return an epoch from resident bytes: index_select, jitter by a gather with an offset for each case, nn.Dropout.

    As a graph, a step reads the numbers of its examples where they are copied before each launch. Returns the mean
    cost.
    """
    N, rows, cols = dataset.images.shape
    B, steps, by = config.batch_size, N // config.batch_size, config.jitter
    torch.manual_seed(config.seed)  # of the order, the jitter and the masks
    sizes = (rows * cols, *config.hidden, CLASSES)
    start = initialise(sizes, stream(config.seed, "initialisation"))
    model = network(sizes, start, place, (config.drop_input, config.drop_hidden))
    optimiser = _optimiser(model, fused=kind != EAGER)
    X = torch.from_numpy(pad(dataset.images, by)).to(place)  # (N, D or more) uint8
    window = torch.from_numpy(window_index(rows, cols, by)).to(place)  # (D,)
    y = torch.from_numpy(dataset.labels.astype(np.int64)).to(place)
    V = None if targets is None else torch.from_numpy(targets.logits.copy()).to(place)

    def pixels(n: Any) -> Any:
        if by == 0:
            return X.index_select(0, n)
        down, right = torch.randint(0, 2 * by + 1, (2, B), device=place)
        start = n * X.shape[1] + down * (cols + 2 * by) + right
        return torch.take(X, start[:, None] + window)

    def step(n: Any) -> Any:
        optimiser.zero_grad()
        z = model(pixels(n).float().div_(255))
        C = _cost(z, y.index_select(0, n), None if V is None else V.index_select(0, n))
        C.backward()
        optimiser.step()
        return C.detach()

    if kind == WHOLE:
        numbers = torch.arange(B, device=place)
        graph = _captured(lambda: step(numbers), optimiser, 1)

    def take(n: Any) -> Any:
        if kind != WHOLE:
            return step(n)
        numbers.copy_(n)
        return graph()[0]

    def epoch() -> Any:
        total = torch.zeros((), device=place)
        for n in torch.randperm(N, device=place)[: steps * B].view(steps, B):
            total += take(n)
        return total / steps

    return epoch
