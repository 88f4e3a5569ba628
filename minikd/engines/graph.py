"""A CUDA graph: what a function launches, captured once and launched again as a whole.

On a GPU each launch costs the host tens of µs, with the Python around it, and a small network's kernels take less. A
graph of a whole epoch is one launch. It has every step of the epoch, each with its own addresses, and no counter of
steps on the device: so kernels are the same as for single launches, and capturing costs about what launching the epoch
one by one would. On an NVIDIA H100, the steps of four networks took 69 to 129 µs as a graph, and 736 to 893 µs with
their 15 launches one by one (batch 128, `python -m benchmarks step --gpu --pace 0.25`).

A graph keeps addresses and numbers as they were while it was captured. What changes from launch to launch must lie in
arrays that stay where they are, and be written there before the launch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minikd.core.array import Array

MOST_STEPS = 2_500
"""The longest epoch that becomes a graph: 60,000 examples in batches of 32 have 1,875 steps. Each step adds about 15
nodes to the memory that a graph takes, and to the time of its first launch. Longer epochs are launched one by one."""


class Graph:
    """What a function launches, as one launch. It owns all the memory that it uses, except arrays that existed before.

    Arrays that the function makes and drops while it is captured lie in a pool of the graph's own. No other pool may
    have them: an array that got this memory next would share it with the graph.

    Args:
        xp: CuPy.
        steps: returns an iterator that launches something for each item. It must not wait or upload. The first step is
            taken once beforehand: it compiles kernels and loads those of cuBLAS, which cannot happen during a capture.
            So it must launch every kind of kernel.
        changed: the arrays that the first step changes and depends on. They are put back after it.

    Raises:
        Exception: what a step raises.
    """

    def __init__(self, xp: Any, steps: Callable[[], Iterator[Any]], changed: Sequence[Array]) -> None:
        self._cuda, self._memory = xp.cuda, list[Any]()
        self._pool = xp.cuda.MemoryPool(_keeping(xp, self._memory))
        self._stream = xp.cuda.Stream(non_blocking=True)
        with self._in_place():  # so its first product makes a handle of cuBLAS whose workspace is in this pool
            _rehearse(xp, steps, changed)
            with _uncollected():
                self._graph = self._capture(steps)

    def launch(self) -> None:
        """Launch the graph on the current stream, after what was launched there before. This does not wait for it.

        Launches of one graph follow each other, whatever their streams.
        """
        self._graph.launch()

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Make the graph's stream and pool the current ones: after the work so far, and before the work to come."""
        outside = self._cuda.get_current_stream()
        self._stream.wait_event(outside.record())
        try:
            with self._stream, self._cuda.using_allocator(self._pool.malloc):
                yield
        finally:
            outside.wait_event(self._stream.record())

    def _capture(self, steps: Callable[[], Iterator[Any]]) -> Any:
        self._stream.begin_capture()  # CuPy's mode allows cudaMalloc, should the pool need more
        try:
            for _ in steps():
                pass
        except BaseException:
            with suppress(Exception):  # the capture may have become invalid, and ends all the same
                self._stream.end_capture()
            raise
        return self._stream.end_capture()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let Python collect no cycles: some object may wait for the device when it goes, and no capture survives that."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _keeping(xp: Any, memory: list[Any]) -> Callable[[int], Any]:
    """Return an allocator for a pool, whose memory lives exactly as long as the list.

    A pool that needs more may free some. And a pool of CuPy 14 that is gone never frees its unused blocks.
    """

    def allocate(size: int) -> Any:
        try:
            mine = xp.cuda.Memory(size)
        except xp.cuda.runtime.CUDARuntimeError:  # CuPy's own pool may have memory that nobody uses
            xp.get_default_memory_pool().free_all_blocks()
            mine = xp.cuda.Memory(size)
        memory.append(mine)
        return xp.cuda.MemoryPointer(xp.cuda.UnownedMemory(mine.ptr, size, None, mine.device_id), 0)

    return allocate


def _rehearse(xp: Any, steps: Callable[[], Iterator[Any]], changed: Sequence[Array]) -> None:
    """Take the first step, and put back what it changes."""
    before = [xp.empty_like(array) for array in changed]
    for copy, array in zip(before, changed, strict=True):
        copy[...] = array
    next(steps())
    for copy, array in zip(before, changed, strict=True):
        array[...] = copy
