"""All contestants of the benchmarks take the same step: minikd, PyTorch, JAX, and each of them as a graph."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import host_cuda
import numpy as np
import pytest
import strict_cupy

from benchmarks import contestants, jax_scan, pytorch, timing
from benchmarks.contestants import case, floor, minikd_step
from benchmarks.timing import Bench
from minikd.engines import cuda
from minikd.engines.device import CPU
from minikd.training.config import TrainConfig


def test_with_pytorch_all_take_the_same_step():
    pytest.importorskip("torch")
    given = case((30, 30), 32)
    eager = pytorch._step(given, "cpu", pytorch.EAGER)
    timing.agree({"minikd": minikd_step(given, CPU), "PyTorch": eager}, tolerance=1e-4)
    logits = minikd_step(case((30, 30), 8), CPU, T=1.0)
    with pytest.raises(SystemExit, match="same step"):
        timing.agree({"minikd": logits, "PyTorch": pytorch._step(case((30, 30), 8), "cpu", pytorch.EAGER)}, 1e-4)


@pytest.mark.slow
def test_with_jax_all_take_the_same_step():
    pytest.importorskip("jax")
    given = case((30, 30), 32)
    steps = {"minikd": minikd_step(given, CPU), **jax_scan.distillation_steps(given, Bench(quick=True))}
    assert list(steps) == ["minikd", jax_scan.JAX]
    timing.agree(steps, tolerance=1e-4)


@pytest.mark.skipif(host_cuda.compiler() is None, reason="no C++ compiler to run CUDA sources on the host")
def test_graphs_take_the_same_steps_as_single_launches():
    given, bench = case((30, 30), 32), Bench(replace(strict_cupy.device(), engine=cuda), quick=True)
    found = contestants.graphs(given, bench)
    assert bench.left_out == {}
    # What a graph reads must be kept: else these arrays get its memory.
    taken = [bench.device.put(np.full(8 * 2**k, 7, np.float32)) for k in range(13) for _ in range(9)]
    assert {name: one.steps for name, one in found.items()} == {contestants.FLOOR_GRAPH: 2, contestants.MINIKD_GRAPH: 2}
    timing.agree({"minikd": minikd_step(given, bench.device), **found}, tolerance=1e-6)
    assert all((bench.device.get(array) == 7).all() for array in taken)
    assert contestants.graphs(given, Bench(quick=True)) == {}  # on a CPU nothing is captured


def test_where_nothing_can_be_captured_the_others_are_measured_all_the_same(monkeypatch):
    def refuse(xp, steps, changed):
        raise RuntimeError("\nno capture\nhere")

    monkeypatch.setattr(contestants, "Graph", refuse)
    bench = Bench(strict_cupy.device(), quick=True)
    assert contestants.graphs(case((30, 30), 32), bench) == {}
    assert bench.left_out == dict.fromkeys((contestants.FLOOR_GRAPH, contestants.MINIKD_GRAPH), "no capture")


@pytest.fixture
def captured_by_torch(monkeypatch):
    """PyTorch whose CUDA graphs are recordings of what it does on the CPU."""
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    class Graph(TorchDispatchMode):
        """Records each operation with its arguments, where a card would record the launch; does all again."""

        def __init__(self):
            super().__init__()
            self.calls = []

        def __torch_dispatch__(self, function, types, arguments=(), settings=None):
            result = function(*arguments, **(settings or {}))
            self.calls.append((function, arguments, settings or {}, result))
            return result

        def replay(self):
            with torch._C._AutoDispatchBelowAutograd():
                for function, arguments, settings, result in self.calls:
                    again = function(*arguments, **settings)
                    both = (one if isinstance(one, tuple | list) else (one,) for one in (result, again))
                    for old, new in zip(*both, strict=True):
                        if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                            old.copy_(new)

    streams = SimpleNamespace(wait_stream=lambda other: None)
    for name, stand_in in {
        "Stream": lambda: streams,
        "current_stream": lambda: streams,
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Graph,
        "graph": lambda graph: graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)


def test_pytorchs_whole_step_as_a_graph_takes_the_same_steps(captured_by_torch):
    given = case((30, 30), 32)
    whole = pytorch._step(given, "cpu", pytorch.WHOLE, several=3)
    assert whole.alive is not None  # the recording keeps all arrays, and a graph keeps none
    single = minikd_step(given, CPU)
    for _ in range(2):  # the second launch goes on where the first ended
        expected = [single() for _ in range(3)]
        np.testing.assert_allclose(whole().numpy(), np.array(expected), rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"T": 8.0, "alpha": 0.9}, {"jitter": 2, "drop_hidden": 0.5}])
def test_pytorchs_epoch_of_graphs_trains_like_its_epoch_of_steps(settings, captured_by_torch):
    dataset = contestants.images(Bench(quick=True))
    targets = contestants.random_targets(dataset) if "alpha" in settings else None
    config = TrainConfig((30, 30), batch_size=32, clip_norm=None, **settings)
    steps, graphs = (pytorch.epoch_of(config, dataset, targets, "cpu", kind) for kind in (pytorch.FUSED, pytorch.WHOLE))
    costs = [[float(epoch()) for _ in range(4)] for epoch in (steps, graphs)]
    np.testing.assert_allclose(*costs, rtol=0.05)
    assert costs[1][3] < costs[1][0]  # it learns


def test_the_floor_has_the_eight_products_and_nothing_else():
    with strict_cupy.counting() as count:
        floor((784, 30, 20, 10), 32, strict_cupy.device())()
    assert count.kernels["matmul"] == 8
    assert count.launches == 8 + 2  # and the update's two passes
    assert count.waits == 0
