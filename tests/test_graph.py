"""An epoch as a CUDA graph: the bits of single launches, in every kind of run, with memory of its own.

The stand-in for CuPy captures what the CUDA engine launches, and launches it again. On a GPU the same tests run.
"""

import dataclasses
import functools
import gc
import weakref
from types import SimpleNamespace

import host_cuda
import numpy as np
import pytest
import strict_cupy
from test_backends_agree import RUNS, config, dataset, teachers_targets

from minikd.data.frames import Frames
from minikd.engines import cublas, cuda, readable
from minikd.engines.engine import State
from minikd.engines.graph import MOST_STEPS, Graph
from minikd.training import loop
from minikd.training.loop import Run, TrainingDiverged, train


@pytest.fixture
def device(cuda_device, monkeypatch):
    """A device whose engine captures: the stand-in, or the GPU."""
    monkeypatch.delenv("MINIKD_GRAPH", raising=False)
    return cuda_device


@functools.cache
def frames():
    rng = np.random.default_rng(0)
    return Frames(
        rng.standard_normal((150, 7)).astype(np.float32), rng.permutation(140)[:128], dataset().labels, "frames", 10, 5
    )


KINDS = {**RUNS, "frames": {}, "an epoch that leaves examples out": {"batch_size": 30}}


def new_run(name, device, **changes):
    """A run of three epochs by the name of its kind."""
    chosen = config(**{"epochs": 3, **KINDS[name], **changes})
    targets = teachers_targets() if chosen.alpha else None
    return Run(chosen, frames() if name == "frames" else dataset(), soft_targets=targets, device=device)


def ended(run):
    """What is left of a run that is driven to its end: parameters, costs and rates."""
    for _ in run.epochs():
        pass
    return outcome(run)


def outcome(run):
    records = [{key: value for key, value in one.items() if key != "seconds"} for one in run.history]
    return run.network().flat, records


@pytest.fixture
def one_by_one(monkeypatch):
    """What a run without a graph leaves."""

    def run(name, device, **changes):
        with monkeypatch.context() as patch:
            patch.setenv("MINIKD_GRAPH", "0")
            return ended(new_run(name, device, **changes))

    return run


def assert_same(got, expected):
    np.testing.assert_array_equal(got[0], expected[0], strict=True)
    assert got[1] == expected[1]


# ---- the bits of single launches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KINDS)
def test_a_graph_gives_the_bits_of_single_launches(name, dtype, device, one_by_one, monkeypatch):
    monkeypatch.setattr(cuda, "AHEAD", 3 * 8 * 32 * 64)  # a few batches at once, and then fewer
    run = new_run(name, device, dtype=dtype)
    assert_same(ended(run), one_by_one(name, device, dtype=dtype))
    assert run._captured is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_run_resumed_by_an_object_that_has_a_graph_of_another_state_ends_with_the_same_bits(
    name, device, one_by_one, tmp_path
):
    run = new_run(name, device)
    for _ in run.epochs():
        if len(run.history) == 1:
            run.save(tmp_path / "midway")
    run.resume(tmp_path / "midway")
    assert len(run.history) == 1
    assert_same(ended(run), one_by_one(name, device))


@pytest.mark.slow
def test_two_runs_whose_epochs_alternate_end_with_the_bits_of_each_alone(device, one_by_one):
    """The second one is made when the first one's graph has dropped its arrays: a shared pool would give it these."""
    names = "a distilled student, clipped", "a teacher with dropout, max-norm and jitter"
    first = new_run(names[0], device)
    epochs = [first.epochs()]
    next(epochs[0])
    second = new_run(names[1], device)
    epochs.append(second.epochs())
    for _ in range(2):
        for one in (epochs[1], epochs[0]):
            next(one)
    next(epochs[1])
    for name, run in zip(names, (first, second), strict=True):
        assert_same(outcome(run), one_by_one(name, device))


@pytest.mark.slow
def test_a_graph_outlives_whatever_else_is_allocated_between_its_launches(device, one_by_one):
    name, taken = "a population of seeds and temperatures", []
    run = new_run(name, device)
    for _ in run.epochs():
        taken += [device.put(np.full(n, 7, np.float32)) for n in (10, 1_000, 3_000, 10_000, 30_000) for _ in range(3)]
    assert_same(outcome(run), one_by_one(name, device))
    assert all((device.get(array) == 7).all() for array in taken)


@pytest.fixture
def graphs_memory(device, monkeypatch):
    """The memory of graphs that is there."""
    alive = weakref.WeakSet()

    class Memory(device.xp.cuda.Memory):
        def __init__(self, size):
            super().__init__(size)
            alive.add(self)

    monkeypatch.setattr(device.xp.cuda, "Memory", Memory)
    return alive


def test_a_graph_frees_its_memory_when_its_run_is_gone(device, graphs_memory):
    """CuPy 14's pools do not: what nobody uses when a pool is gone stays allocated until the process ends."""
    run = new_run("a teacher with dropout, max-norm and jitter", device)
    next(run.epochs())
    assert sum(memory.size for memory in graphs_memory) > cublas.WORKSPACE
    del run
    assert not graphs_memory


def test_a_graph_takes_memory_that_cupys_own_pool_keeps_for_nobody(device, monkeypatch):
    freed, memory, error = [], device.xp.cuda.Memory, device.xp.cuda.runtime.CUDARuntimeError

    def scarce(size):
        if not freed:
            raise error(2)
        return memory(size)

    monkeypatch.setattr(device.xp.cuda, "Memory", scarce)
    pool = SimpleNamespace(free_all_blocks=lambda: freed.append("CuPy's"))
    monkeypatch.setattr(device.xp, "get_default_memory_pool", lambda: pool)
    next(new_run("a distilled student", device).epochs())
    assert freed == ["CuPy's"]


# ---- when there is no graph ------------------------------------------------------------------------------------------


def test_the_environment_turns_graphs_off(device, monkeypatch):
    for value, captured in (("1", True), ("0", False)):
        monkeypatch.setenv("MINIKD_GRAPH", value)
        run = new_run("a distilled student", device)
        next(run.epochs())
        assert (run._captured is not None) is captured


def test_the_readable_engine_is_never_captured(device):
    run = new_run("a distilled student", dataclasses.replace(device, engine=readable))
    next(run.epochs())
    assert run._captured is None


def test_an_epoch_that_is_too_long_is_launched_one_by_one(device, one_by_one, monkeypatch):
    assert MOST_STEPS > 60_000 // 32
    monkeypatch.setattr(loop, "MOST_STEPS", 3)
    run = new_run("a distilled student", device)
    assert_same(ended(run), one_by_one("a distilled student", device))
    assert run._captured is None


# ---- what a run tells ------------------------------------------------------------------------------------------------


def test_steps_are_reported_once_per_epoch(device):
    told = []
    train(config(epochs=3), dataset(), device=device, on_step=lambda done, of: told.append((done, of)))
    assert told == [(4, 12), (8, 12), (12, 12)]


def test_divergence_is_reported_with_its_step_and_rate(device, monkeypatch):
    said = []
    for value in ("1", "0"):
        monkeypatch.setenv("MINIKD_GRAPH", value)
        with pytest.raises(TrainingDiverged) as diverged:
            train(config(learning_rate=1e12), dataset(), device=device)
        said.append(str(diverged.value))
    assert said[0] == said[1]
    assert "of 20, learning rate " in said[0]


# ---- capturing -------------------------------------------------------------------------------------------------------


def test_an_error_during_the_capture_ends_it_and_comes_out_as_itself(device, monkeypatch):
    run, calls, streams = new_run("a distilled student", device), [], []
    batches, stream = run.feed.batches, device.xp.cuda.Stream
    monkeypatch.setattr(device.xp.cuda, "Stream", lambda **how: streams.append(stream(**how)) or streams[-1])

    def one_and_no_more():
        calls.append(batches())
        yield next(calls[-1])
        if len(calls) == 2:  # the first call is the rehearsal's, the second one the capture's
            raise KeyError("my own mistake")

    monkeypatch.setattr(run.feed, "batches", one_and_no_more)
    with pytest.raises(KeyError, match="my own mistake"):
        next(run.epochs())
    assert not streams[0].is_capturing()
    device.get(run.state.parameters)  # the device still works, and so does another run
    monkeypatch.undo()
    assert np.isfinite(ended(new_run("a distilled student", device))[0]).all()


def test_a_step_that_waits_cannot_be_captured(device):
    state = State((2, 1), *(device.put(np.zeros(3, np.float32)) for _ in range(2)))

    def steps():
        for _ in range(2):
            yield device.get(state.parameters)

    with pytest.raises(Exception, match="captur"):
        Graph(device.xp, steps, ())


def test_nothing_is_collected_during_a_capture(device):
    """A cycle of somebody else's may wait for the device when it goes."""
    gone = []

    class Cycle:
        def __init__(self):
            self.itself = self

        def __del__(self):
            gone.append(device.xp.cuda.get_current_stream().is_capturing())

    def steps():
        for _ in range(3):
            yield [Cycle() for _ in range(100)]

    often = gc.get_threshold()
    gc.set_threshold(10)
    try:
        Graph(device.xp, steps, ())
        assert gc.isenabled()
        gc.collect()
    finally:
        gc.set_threshold(*often)
    assert len(gone) == 400  # three steps, and the rehearsal
    assert not any(gone)


def test_a_graph_reads_arrays_where_they_are_and_numbers_as_they_were(device):
    state, gradient = State((2, 1), *(device.put(np.zeros(3, np.float32)) for _ in range(2))), np.ones(3, np.float32)
    rate = device.put(np.ones(1, np.float32))

    def steps():
        for _ in range(2):
            yield cuda.update(state, learning_rate=rate, momentum=0.5, clip_norm=None, max_norm=None)

    graph = Graph(device.xp, steps, (state.parameters, state.velocity))
    for value in (1, 10):
        state.gradient[...] = device.put(gradient)
        rate[...] = device.put(np.full(1, value, np.float32))
        graph.launch()
    # Velocities −1 and −1.5, then −0.75 − 10 and −5.375 − 10.
    np.testing.assert_array_equal(device.get(state.velocity), np.full(3, -15.375, np.float32))
    np.testing.assert_array_equal(device.get(state.parameters), np.full(3, -2.5 - 10.75 - 15.375, np.float32))


# ---- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
def test_an_epoch_is_one_launch_one_wait_and_an_upload_per_kind_of_draw(name, monkeypatch):
    if host_cuda.compiler() is None:
        pytest.skip("no C++ compiler to run CUDA sources on the host")
    monkeypatch.delenv("MINIKD_GRAPH", raising=False)
    run = new_run(name, dataclasses.replace(strict_cupy.device(), engine=cuda))
    epochs = run.epochs()
    next(epochs)
    with strict_cupy.counting() as count:
        next(epochs)
    kinds = 2 + bool(run.config.jitter) + len([drop for drop in run.feed.source.drops if drop])  # order and rates, …
    assert count.kernels == {"graph": 1, "copy": kinds}  # each upload is copied to where the graph reads it
    assert (count.uploads, count.waited) == (kinds, {"get": 1})
    assert count.nodes.total() == 1 + 4 * NODES[name]  # the first one makes the batches


NODES = {  # per step: the same as launched one by one
    "a distilled student": 14,
    "a distilled student, clipped": 15,
    "a teacher with dropout, max-norm and jitter": 16,
    "a population of seeds and temperatures": 15,
    "a population of rates and weights": 14,
    "a population with dropout and jitter": 14,
}
