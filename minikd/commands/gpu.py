"""The command `python -m minikd.backend`: test the GPU, in under a minute.

It prints the card and the versions; how far the results of each fused kernel are from those of the readable function
that it replaces; and the launches and the time of a training step: with the readable functions, with the kernels
launched one by one, and as part of a CUDA graph. Beside these stands the floor, a graph of only the step's products and
one pass over its parameters. This tells you whether you can trust the card. If you report a fault,
begin with this output.
"""

from __future__ import annotations

import platform
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np

from minikd import __version__
from minikd.core.guard import unguarded
from minikd.core.mlp import initialise
from minikd.data.images import Dataset
from minikd.engines import cuda, readable
from minikd.engines.device import CPU, Device, get_device
from minikd.engines.engine import Batch, State
from minikd.engines.gpu import DeviceError, gpu_errors
from minikd.engines.graph import Graph
from minikd.system.cli import Parser
from minikd.training.batches import Feed
from minikd.training.config import TrainConfig
from minikd.training.loop import train_step

TOLERANCE = 1e-5
"""The largest deviation of a float32 kernel, as a share of the norm of the right result."""
NETWORKS = ((784, 1200, 1200, 10), (784, 30, 30, 10))
BATCH = 128
NUMBERS = {"T": (1, 8, 20), "alpha": (0.1, 0.5, 0.9), "learning_rate": (0.1, 0.2, 0.3)}


EXAMPLES = """\
exit status:
  0  every kernel is right
  1  a kernel deviates too far: please report the output
  2  no usable GPU, or it failed: one line on the standard error says why
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, print the report, and exit with 0 if every kernel is right, 1 if not, 2 without a usable GPU."""
    parser = Parser("backend", __doc__ or "", EXAMPLES)
    parser.parse_args(argv)
    try:
        device = get_device("gpu")
        with gpu_errors():
            for line in describe(device):
                print(line)
            status = report(device)
    except DeviceError as error:
        parser.fail(str(error))
    sys.exit(status)


def report(device: Device, networks: tuple[tuple[int, ...], ...] = NETWORKS, steps: int = 200) -> int:
    """Print deviations, launches and times.

    Args:
        device: one that has the kernels.
        networks: the layer sizes of the networks whose steps are timed.
        steps: how many are timed in each block.

    Returns:
        0 if no deviation is too large, else 1.
    """
    fused, plain = replace(device, engine=cuda), replace(device, engine=readable)
    print("\nkernels of  deviation from the readable function, float32")
    found = deviations(fused)
    for name, deviation in found.items():
        print(f"{name:12}{deviation:.1e}  {'ok' if deviation <= TOLERANCE else f'TOO LARGE: at most {TOLERANCE}'}")
    print(f"\ndistillation step, batch {BATCH}   launches     readable        fused        graph        floor")
    for sizes in networks:
        with cuda.counting() as launches:
            distillation_step(fused, sizes)()
        ms = [
            ms_per_step(distillation_step(plain, sizes), plain, steps),
            ms_per_step(distillation_step(fused, sizes), fused, steps),
            ms_per_step(distillation_step(fused, sizes), fused, steps, captured=True),
            ms_per_step(floor_step(fused, sizes), fused, steps, captured=True),
        ]
        print(f"{'-'.join(map(str, sizes)):30}{sum(launches.values()):>9}" + "".join(f"{one:>10.3f} ms" for one in ms))
    return 0 if all(deviation <= TOLERANCE for deviation in found.values()) else 1


def describe(device: Device) -> Iterator[str]:
    """Yield the card and the versions, one line each."""
    cupy = device.xp
    card = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    yield f"card     {card['name'].decode()}, compute capability {card['major']}.{card['minor']}"
    yield f"memory   {card['totalGlobalMem'] / 2**30:.0f} GiB, {card['multiProcessorCount']} multiprocessors"
    driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    yield f"CUDA     driver {driver // 1000}.{driver % 1000 // 10}, runtime {runtime // 1000}.{runtime % 1000 // 10}"
    yield f"Python   {platform.python_version()}, minikd {__version__}, CuPy {cupy.__version__}, NumPy {np.__version__}"


# ---- deviations ------------------------------------------------------------------------------------------------------


def deviations(device: Device) -> dict[str, float]:
    """Return how far each fused function's results are from the readable one's on the host, as a share of their norm.

    The test covers everything: three students with different temperatures, weights and learning rates, dropout, jitter,
    clipping and max-norm.
    """
    rng, sizes = np.random.default_rng(0), (784, 100, 70, 10)
    images = rng.integers(0, 256, (500, 28, 28), dtype=np.uint8)
    dataset = Dataset(images, rng.integers(0, 10, 500, dtype=np.uint8), "random", sizes[-1])
    config = TrainConfig(hidden=sizes[1:-1], batch_size=64, jitter=2, drop_input=0.2, drop_hidden=0.5, seed=(1, 2, 3))
    numbers = {name: np.array(values, np.float32).reshape(-1, 1, 1) for name, values in NUMBERS.items()}
    v = 5 * rng.standard_normal((3, 64, 10)).astype(np.float32)  # (S, B, K)
    flat = np.stack([initialise(sizes, rng) for _ in config.seeds])  # (S, P)

    def results(one: Device) -> dict[str, list[np.ndarray]]:
        engine, state = one.engine, State(sizes, one.put(flat), one.put(flat / 10))
        batch = next(Feed(config, dataset, None, one).batches(0))
        T, alpha, rate = (one.put(numbers[name]) for name in ("T", "alpha", "learning_rate"))
        z, cache = engine.forward(batch.x, state, batch.dropout)
        C, dz = engine.loss(z, state, v=one.put(v), y=batch.y, T=T, alpha=alpha)
        engine.backward(dz, cache, state)
        gradient = one.get(state.gradient).copy()
        engine.update(state, learning_rate=rate[..., 0], momentum=0.9, clip_norm=0.5, max_norm=1.0)
        return {
            "batch": [one.get(batch.x), one.get(batch.y)],
            "forward": [one.get(z)],
            "loss": [one.get(C), one.get(dz)],
            "backward": [gradient],
            "update": [one.get(state.parameters), one.get(state.velocity)],
        }

    got, expected = results(device), results(CPU)
    return {name: max(map(_distance, got[name], expected[name])) for name in got}


def _distance(got: np.ndarray, expected: np.ndarray) -> float:
    """Return ‖got − expected‖ / ‖expected‖."""
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


# ---- steps -----------------------------------------------------------------------------------------------------------


def distillation_step(device: Device, sizes: tuple[int, ...]) -> Callable[[], object]:
    """Return a step of a student of these sizes on one batch of random numbers."""
    rng = np.random.default_rng(0)
    batch = Batch(
        x=device.put(rng.random((BATCH, sizes[0]), dtype=np.float32)),
        y=device.put(rng.integers(0, sizes[-1], BATCH)),
        v=device.put(rng.standard_normal((BATCH, sizes[-1])).astype(np.float32)),
        dropout=None,
    )
    state = _state(device, sizes)
    return partial(train_step, device.engine, state, batch, T=8.0, alpha=0.9, learning_rate=0.01, clip_norm=1.0)


def floor_step(device: Device, sizes: tuple[int, ...], batch: int = BATCH) -> Callable[[], None]:
    """Return the least that a step must do: its products, and one pass over parameters, velocity and gradient."""
    rng, state = np.random.default_rng(0), _state(device, sizes)
    h, d = ([device.put(rng.random((batch, size), dtype=np.float32)) for size in sizes] for _ in range(2))

    def step() -> None:
        for i, (W, _) in enumerate(state.layers):
            cuda.product(h[i], W, h[i + 1])
        for i, (W, _) in reversed(list(enumerate(state.layers))):
            cuda.product(h[i].mT, d[i + 1], state.gradients[i][0])
            if i > 0:
                cuda.product(d[i + 1], W.mT, d[i])
        cuda.update(state, learning_rate=0.0, momentum=0.9, clip_norm=None, max_norm=None)

    return step


def _state(device: Device, sizes: tuple[int, ...]) -> State:
    parameters = initialise(sizes, np.random.default_rng(0))
    return State(sizes, device.put(parameters), device.put(np.zeros_like(parameters)))


def ms_per_step(step: Callable[[], object], device: Device, steps: int, *, captured: bool = False) -> float:
    """Return the median over five blocks of steps, in ms. Each block begins and ends by waiting for the device.

    Args:
        step: what is timed.
        device: where.
        steps: in each block.
        captured: whether a block is launched as one CUDA graph, not step by step.
    """

    def unchecked() -> object:
        with unguarded():  # as in training, which checks its first step only
            return step()

    def block() -> Iterator[object]:
        return (unchecked() for _ in range(steps))

    graph = Graph(device.xp, block, ()) if captured else None
    seconds = []
    for _ in range(6):  # the first one warms up
        began = perf_counter()
        if graph is None:
            deque(block(), maxlen=0)
        else:
            graph.launch()
        device.xp.cuda.Device().synchronize()
        seconds.append((perf_counter() - began) / steps)
    return 1e3 * float(np.median(seconds[1:]))
