"""One distillation step, timed against the bare matrix products of its shapes and against PyTorch doing the same.

    python -m benchmarks.step [--rounds 40]

Contestants take turns in one process, so whatever else the machine does falls on all of them alike:

    products  the eight matrix products of forward and backward pass into arrays that are there already: the floor
    minikd    `minikd.train.train_step`: gradients into one flat array, updated in place a block at a time
    clipped   the same with the gradient's norm clipped, as `python -m minikd.mnist` does
    fresh     the same functions with an array of its own for every gradient, updated whole: what flat storage saves
    torch     PyTorch, eager: autograd, and its SGD with momentum (left out where PyTorch is not installed)

Each step is of the student's cost, soft and hard targets at T = 8 with the teacher's logits at hand, float32. Prints
the medians in milliseconds and the ratios to the floor, and writes `benchmarks/results/step.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import numpy as np

from minikd.losses import distillation_loss
from minikd.mlp import initialise, mlp_backward, mlp_forward, unflatten
from minikd.optim import momentum_step
from minikd.train import BLOCK, State, train_step

try:
    import torch
except ImportError:
    torch = None

RESULT = Path(__file__).parent / "results" / "step.json"
SHAPES = ((784, 1200, 1200, 10), (784, 800, 800, 10))
BATCHES = (128, 512)
T, ALPHA, RATE, MOMENTUM = 8.0, 0.9, 0.01, 0.9
TURN, PAUSE = 5, 0.05  # steps timed in a turn; seconds before it

Step = Callable[[], Any]


def contestants(sizes: tuple[int, ...], B: int) -> dict[str, Step]:
    """The steps to time, by name, each on arrays of its own with the same contents."""
    rng = np.random.default_rng(0)
    x = rng.random((B, sizes[0]), dtype=np.float32)  # (B, D)
    y = rng.integers(0, 10, B)  # (B,)
    v = (5 * rng.standard_normal((B, 10))).astype(np.float32)  # (B, K)
    start = initialise(sizes, rng)  # (P,)
    steps = {
        "products": products(sizes, B, rng),
        "minikd": flat(sizes, x, y, v, start, clip_norm=None),
        "clipped": flat(sizes, x, y, v, start, clip_norm=1e6),
        "fresh": fresh(sizes, x, y, v, start),
    }
    if torch is not None:
        steps["torch"] = pytorch(sizes, x, y, v, start)
    return steps


def products(sizes: tuple[int, ...], B: int, rng: np.random.Generator) -> Step:
    hidden = [rng.random((B, size), dtype=np.float32) for size in sizes]
    weights = [rng.random((D, H), dtype=np.float32) for D, H in pairwise(sizes)]
    outs = [np.empty_like(h) for h in hidden]
    gradients = [np.empty_like(W) for W in weights]

    def step() -> None:
        for i, W in enumerate(weights):
            np.matmul(hidden[i], W, out=outs[i + 1])
        for i, W in reversed(list(enumerate(weights))):
            np.matmul(hidden[i].mT, hidden[i + 1], out=gradients[i])
            if i > 0:
                np.matmul(hidden[i + 1], W.mT, out=outs[i])

    return step


def flat(sizes: tuple[int, ...], x: Any, y: Any, v: Any, start: Any, clip_norm: float | None) -> Step:
    state = State(sizes, start.copy(), np.zeros_like(start), block=BLOCK)
    settings = {"T": T, "alpha": ALPHA, "learning_rate": RATE, "momentum": MOMENTUM, "clip_norm": clip_norm}
    return lambda: train_step(state, x, y=y, v=v, **settings)


def fresh(sizes: tuple[int, ...], x: Any, y: Any, v: Any, start: Any) -> Step:
    layers = [(W.copy(), b.copy()) for W, b in unflatten(start, sizes)]
    velocities = [(np.zeros_like(W), np.zeros_like(b)) for W, b in layers]

    def step() -> Any:
        z, cache = mlp_forward(x, layers)
        C, dz = distillation_loss(z, v=v, y=y, T=T, alpha=ALPHA)
        gradients, _ = mlp_backward(dz, cache)
        for layer, velocity, gradient in zip(layers, velocities, gradients, strict=True):
            for p, u, g in zip(layer, velocity, gradient, strict=True):
                momentum_step(p, u, g, learning_rate=RATE, momentum=MOMENTUM)
        return C

    return step


def pytorch(sizes: tuple[int, ...], x: Any, y: Any, v: Any, start: Any) -> Step:
    modules: list[Any] = []
    for W, b in unflatten(start, sizes):
        linear = torch.nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T.copy()))
            linear.bias.copy_(torch.from_numpy(b.copy()))
        modules += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
    optimiser = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    cross_entropy = torch.nn.functional.cross_entropy
    x, y, v = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(v)

    def step() -> Any:
        optimiser.zero_grad()
        z = model(x)
        soft = cross_entropy(z / T, torch.softmax(v / T, dim=-1))
        cost = ALPHA * T**2 * soft + (1 - ALPHA) * cross_entropy(z, y)
        cost.backward()
        optimiser.step()
        return cost.detach()

    return step


def agree(steps: dict[str, Step]) -> None:
    """The first two costs must be the same whoever takes the step: else the clock compares different things."""
    for _ in range(2):
        costs = {name: float(steps[name]()) for name in steps if name != "products"}
        if max(costs.values()) - min(costs.values()) > 1e-4 * max(costs.values()):
            raise SystemExit(f"the contestants do not take the same step: {costs}")


def measure(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of each step in each round. The contestants take turns, in an order that turns too.

    Threads of OpenBLAS and OpenMP spin for a while after their work is done, and would burden whoever comes next: so
    each turn is a pause in which they fall asleep, a step that is not timed, and `TURN` steps that are.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for r in range(-1, rounds):  # the first round warms up
        for name in names[r % len(names) :] + names[: r % len(names)]:
            sleep(PAUSE)
            steps[name]()
            for _ in range(TURN):
                began = perf_counter()
                steps[name]()
                if r >= 0:
                    seconds[name].append(perf_counter() - began)
    return seconds


def main() -> None:
    """Measure every shape and batch, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help=f"rounds of {TURN} timed steps [40]")
    rounds = parser.parse_args().rounds
    rows = []
    print(f"{'network':20}{'batch':>6}  median ms, and its ratio to the products'")
    for sizes in SHAPES:
        for B in BATCHES:
            steps = contestants(sizes, B)
            agree(steps)
            seconds = measure(steps, rounds)
            ms = {name: 1e3 * float(np.median(s)) for name, s in seconds.items()}
            quartiles = {name: (1e3 * np.percentile(s, [25, 75])).round(3).tolist() for name, s in seconds.items()}
            ratio = {name: value / ms["products"] for name, value in ms.items()}
            rows.append({"sizes": sizes, "batch": B, "median_ms": ms, "quartiles_ms": quartiles, "ratio": ratio})
            cells = "  ".join(f"{name} {ms[name]:6.2f} ({ratio[name]:.2f})" for name in ms)
            print(f"{'-'.join(map(str, sizes)):20}{B:>6}  {cells}", flush=True)
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": None if torch is None else torch.__version__,
    }
    RESULT.parent.mkdir(exist_ok=True)
    record = {"command": "python -m benchmarks.step", "rounds": rounds, "machine": machine, "rows": rows}
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
