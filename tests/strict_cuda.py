"""What the stand-in for CuPy has of CUDA: counts, memory pools, streams, captured graphs, and cuBLAS.

A stream that is capturing records kernels and products with what they are given: numbers by value, arrays by address. A
graph reads and writes these addresses at every launch, whatever lies there by then: a number that a run meant to change
stays as it was, and memory that a pool has given to somebody else is overwritten. What CUDA refuses while a stream is
capturing ends the capture with an error.

`counting()` counts what would cost time on a GPU.
"""

from __future__ import annotations

import builtins
import ctypes
import operator
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count as numbers
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple

import numpy as np

# ---- what costs time on a GPU ----------------------------------------------------------------------------------------


@dataclass
class Count:
    """What happened inside `counting()`: kernels by name, waits of the host by name, arrays and bytes uploaded.

    A launched graph is one launch, the kernel "graph". Its nodes are counted on their own.
    """

    kernels: Counter[str] = field(default_factory=Counter)
    nodes: Counter[str] = field(default_factory=Counter)
    waited: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    uploaded: int = 0  # bytes

    @property
    def launches(self) -> int:
        return self.kernels.total()

    @property
    def waits(self) -> int:
        return self.waited.total()


_counts: list[Count] = []


@contextmanager
def counting() -> Iterator[Count]:
    """A count that starts at zero and runs until the block ends; counts may be nested."""
    count = Count()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts[:] = [one for one in _counts if one is not count]


def launched(name: str, times: int = 1) -> None:
    """Count a kernel that the stand-in runs at once. CuPy's own cuBLAS is refused while a stream is capturing."""
    stream = get_current_stream()
    if stream.is_capturing():
        if name == "matmul":
            raise stream.invalid(NotImplementedError("calling cuBLAS API during stream capture is unsupported"))
        raise NotImplementedError(f"{name} is captured by CUDA, but the stand-in captures kernels and cuBLAS only")
    stream.follow_all_others()
    for count in _counts:
        count.kernels[name] += times


def waited(name: str) -> None:
    _refuse_while_capturing()
    stream = get_current_stream()
    stream.follow_all_others()
    Stream.done = stream.last
    for count in _counts:
        count.waited[name] += 1


def uploaded(size: int) -> None:
    _refuse_while_capturing()
    get_current_stream().follow_all_others()
    for count in _counts:
        count.uploads += 1
        count.uploaded += size


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


def _refuse_while_capturing() -> None:
    stream = get_current_stream()
    if stream.is_capturing():
        words = "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing"
        raise stream.invalid(CUDARuntimeError(words))


# ---- memory ----------------------------------------------------------------------------------------------------------

_memories: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()  # by address
_pointed_at: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()  # arrays outside the pools


class Memory:
    """What cudaMalloc returns. It is freed with this object."""

    device_id = 0

    def __init__(self, size: int) -> None:
        self.size, self.bytes = size, np.empty(size, np.uint8)
        self.ptr = self.bytes.ctypes.data
        _memories[self.ptr] = self


class UnownedMemory:
    """Memory that somebody else frees."""

    def __init__(self, ptr: int, size: int, owner: object, device_id: int = -1) -> None:
        self.ptr, self.size, self._owner = ptr, size, owner


class MemoryPointer:
    def __init__(self, mem: Memory | UnownedMemory, offset: int) -> None:
        self.mem, self.ptr = mem, mem.ptr + offset


_lost: list[list[Memory | UnownedMemory]] = []


class MemoryPool:
    """A pool that hands out again what has come back, as CuPy's does, but splits nothing.

    As in CuPy 14, what nobody uses when the pool is gone is lost: its chunks and their arena keep each other alive.
    """

    def __init__(self, allocator: Callable[[int], MemoryPointer] | None = None) -> None:
        self._allocator = allocator or (lambda size: MemoryPointer(Memory(size), 0))
        self._free: list[Memory | UnownedMemory] = []
        weakref.finalize(self, _lost.append, self._free).atexit = False

    def free_all_blocks(self) -> None:
        self._free.clear()

    def malloc(self, size: int) -> Any:
        """A buffer, whose memory comes back to the pool when the last array in it is gone."""
        size = -(-builtins.max(size, 1) // 512) * 512
        fitting = [one for one in self._free if size <= one.size <= 4 * size]
        if fitting:
            memory = builtins.min(fitting, key=lambda one: one.size)
            self._free.remove(memory)
        else:
            memory = self._allocator(size).mem
        buffer = (ctypes.c_char * size).from_address(memory.ptr)
        weakref.finalize(buffer, _come_back, weakref.ref(self), memory).atexit = False
        return buffer


def _come_back(pool: weakref.ref[MemoryPool], memory: Memory | UnownedMemory) -> None:
    if (there := pool()) is not None:
        there._free.append(memory)


_default_pool = MemoryPool()
_allocators: list[Callable[[int], Any]] = [_default_pool.malloc]


def get_default_memory_pool() -> MemoryPool:
    return _default_pool


@contextmanager
def using_allocator(allocator: Callable[[int], Any]) -> Iterator[None]:
    _allocators.append(allocator)
    try:
        yield
    finally:
        _allocators.pop()


def allocate(shape: int | tuple[int, ...], dtype: Any, like: np.ndarray | None = None) -> np.ndarray:
    """An array in memory of the allocator in force. Every byte is 0xFF, so floats are NaN: what nobody wrote shows."""
    model = np.empty(shape, dtype) if like is None else like
    buffer = _allocators[-1](model.nbytes)
    ctypes.memset(buffer, 0xFF, model.nbytes)
    return np.ndarray(model.shape, model.dtype, buffer, strides=model.strides)


def pointer(array: np.ndarray) -> int:
    """The address of an array's first element, and from then on kernels and cuBLAS may touch the memory behind it."""
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    _pointed_at[base.ctypes.data] = base
    return array.ctypes.data


def memory_at(what: str, address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The array at an address, once it lies within one live array's memory, or one pool's."""
    item = np.dtype(dtype).itemsize
    if 0 in shape:
        return np.empty(shape, dtype)
    end = address + item + builtins.sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    owners = [(start, base.nbytes) for start, base in _pointed_at.items()]
    if get_current_stream().replaying:  # a graph does not know what lies there by now
        owners += [(start, memory.size) for start, memory in _memories.items()]
    for start, size in owners:
        if start <= address and end <= start + size:
            if (address - start) % item:
                raise ValueError(f"gemm: {what} is not aligned to {item} bytes")
            memory = (ctypes.c_char * (end - address)).from_address(address)
            return np.ndarray(shape, dtype, memory, strides=strides)
    raise ValueError(
        f"gemm: {what} of shape {shape}, steps {tuple(one // item for one in strides)}, lies in no live array: "
        f"{address:#x} to {end:#x}"
    )


class Place(NamedTuple):
    """Where an array lies, which is all that a captured kernel knows of it."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, array: np.ndarray) -> Place:
        return cls(pointer(array), array.shape, array.strides, array.dtype)

    def array(self) -> np.ndarray:
        return memory_at("an argument", *self)


# ---- streams and graphs ----------------------------------------------------------------------------------------------

_pointers, _operations = numbers(0), numbers(1)


class Event:
    def __init__(self) -> None:
        self.after = 0  # the last operation before it

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or get_current_stream()
        self.after = builtins.max(stream.last, stream.seen)


class Stream:
    """As CuPy's: equal where the pointers are. Work on one stream must wait, by an event, for all work on others.

    CUDA asks for that only where they share memory. Here they do.
    """

    null: Stream
    done = 0  # the last operation that the host has waited for
    all: ClassVar[weakref.WeakSet[Stream]] = weakref.WeakSet()

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr = next(_pointers)
        self.last, self.seen = 0, 0  # this stream's last operation, and the last one that it has waited for
        self.replaying = False
        Stream.all.add(self)
        self._nodes: list[tuple[str, Callable[[], None]]] | None = None
        self._invalid = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __enter__(self) -> Stream:
        _streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _streams.pop()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        self.seen = builtins.max(self.seen, event.after)

    def follow_all_others(self) -> None:
        """Count an operation on this stream."""
        if any(other.last > builtins.max(self.seen, Stream.done) for other in Stream.all if other is not self):
            raise RuntimeError("this stream has not waited for what was launched on another one: use an event")
        self.last = next(_operations)

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._nodes is not None:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is capturing already")
        self._nodes, self._invalid = [], False

    def end_capture(self) -> Graph:
        nodes, self._nodes = self._nodes, None
        if nodes is None:
            raise CUDARuntimeError("cudaErrorIllegalState: the stream is not capturing")
        if self._invalid:
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated: operation failed due to a previous error")
        return Graph(nodes)

    def is_capturing(self) -> bool:
        return self._nodes is not None

    def invalid(self, error: Exception) -> Exception:
        """The error, after which the capture can no longer succeed."""
        self._invalid = True
        return error

    def enqueue(self, name: str, call: Callable[[], None]) -> None:
        """Run a kernel or a product, or record it."""
        if self._nodes is None:
            call()
            launched(name)
        else:
            self._nodes.append((name, call))


class Graph:
    """As CuPy's, from `Stream.end_capture`."""

    def __init__(self, nodes: list[tuple[str, Callable[[], None]]]) -> None:
        self._nodes = nodes

    def launch(self, stream: Stream | None = None) -> None:
        stream = stream or get_current_stream()
        launched("graph")
        for count in _counts:
            count.nodes.update(name for name, _ in self._nodes)
        stream.replaying = True
        try:
            for _, call in self._nodes:
                call()
        finally:
            stream.replaying = False


Stream.null = Stream(null=True)
_streams = [Stream.null]


def get_current_stream() -> Stream:
    return _streams[-1]


# ---- cuBLAS ----------------------------------------------------------------------------------------------------------

DEFAULT_MATH, TF32 = 0, 3


def check_math_mode(mode: int) -> int:
    if mode not in (DEFAULT_MATH, TF32):
        raise ValueError(f"the math mode must be 0 (default) or 3 (TF32, for which CuPy has no name), got {mode!r}")
    return mode


class Cublas:
    """The library's functions by their names in C. They return a status; what no caller may mean is an error."""

    def __init__(self) -> None:
        self._handles: dict[int, SimpleNamespace] = {}
        for letter, dtype in (("S", np.float32), ("D", np.float64)):
            setattr(self, f"cublas{letter}gemm_v2", self._gemm(dtype, strided=False))
            setattr(self, f"cublas{letter}gemmStridedBatched", self._gemm(dtype, strided=True))

    def cublasCreate_v2(self, handle: Any) -> int:
        _refuse_while_capturing()
        handle._obj.value = 0x1000 + len(self._handles)  # what ctypes.byref points to
        self._handles[handle._obj.value] = SimpleNamespace(stream=None, workspace=None, mode=DEFAULT_MATH)
        return 0

    def cublasSetStream_v2(self, handle: int, stream: int) -> int:
        there = self._at(handle)
        there.stream, there.workspace = stream, None
        return 0

    def cublasSetWorkspace_v2(self, handle: int, workspace: int, size: int) -> int:
        memory_at("the workspace", workspace, (size,), (1,), np.uint8)
        self._at(handle).workspace = workspace
        return 0

    def cublasSetMathMode(self, handle: int, mode: int) -> int:
        self._at(handle).mode = check_math_mode(mode)
        return 0

    def _at(self, handle: int) -> SimpleNamespace:
        if handle not in self._handles:
            raise ValueError(f"{handle!r} is no handle of cuBLAS: write cublasCreate_v2")
        return self._handles[handle]

    def _gemm(self, dtype: Any, strided: bool) -> Callable[..., int]:
        """C = α op(A) op(B) + β C, its matrices stored by columns, one or a batch of them."""

        def gemm(
            handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
            A: int, lda: int, step_a: int, B: int, ldb: int, step_b: int,
            beta: int, C: int, ldc: int, step_c: int, count: int,
        ) -> int:  # fmt: skip
            there, stream = self._at(handle), get_current_stream()
            if there.stream != stream.ptr or there.workspace is None:
                raise ValueError("gemm: the handle must have the current stream and, set after it, a workspace")
            if not (alpha and beta):
                raise ValueError("gemm: alpha and beta are addresses of numbers on the host, got a null pointer")
            number = ctypes.c_float if dtype is np.float32 else ctypes.c_double
            factors = number.from_address(alpha).value, number.from_address(beta).value
            shape = transa, transb, m, n, k, count
            matrices = (A, lda, step_a), (B, ldb, step_b), (C, ldc, step_c)
            _check_gemm(*shape, *matrices)
            tf32 = there.mode == TF32 and dtype is np.float32
            stream.enqueue("gemm", lambda: _multiply(dtype, tf32, shape, *factors, *matrices))
            return 0

        def single(
            handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int,
            A: int, lda: int, B: int, ldb: int, beta: int, C: int, ldc: int,
        ) -> int:  # fmt: skip
            return gemm(handle, transa, transb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1)

        return gemm if strided else single


Matrices = tuple[int, int, int]  # address, leading dimension, step


def _check_gemm(
    transa: int, transb: int, m: int, n: int, k: int, count: int, a: Matrices, b: Matrices, c: Matrices
) -> None:
    for name, value in {"m": m, "n": n, "k": k, "batchCount": count}.items():
        if not 0 <= operator.index(value) < 2**31:
            raise ValueError(f"gemm: {name} must be an int ≥ 0, got {value}")
    for name, value in {"transa": transa, "transb": transb}.items():
        if value not in (0, 1):
            raise ValueError(f"gemm: {name} must be 0 (as stored) or 1 (transposed), got {value}")
    columns = {"lda": m if transa == 0 else k, "ldb": k if transb == 0 else n, "ldc": m}
    for (name, least), (_, ld, _) in zip(columns.items(), (a, b, c), strict=True):
        if not builtins.max(1, least) <= operator.index(ld) < 2**31:
            raise ValueError(f"gemm: {name} must be at least {builtins.max(1, least)}, got {ld}")
    steps = a[2], b[2], c[2]
    if builtins.min(steps) < 0 or (count > 1 and c[2] < (n - 1) * c[1] + m):
        raise ValueError(f"gemm: strides {', '.join(map(str, steps))}: none is negative, and C's matrices lie apart")


def _multiply(
    dtype: Any, tf32: bool, shape: tuple[int, ...], alpha: float, beta: float, A: Matrices, B: Matrices, C: Matrices
) -> None:
    """NumPy sees the transposes, whose rows are contiguous: Cᵀ = α op(B)ᵀ op(A)ᵀ + β Cᵀ."""
    transa, transb, m, n, k, count = shape
    item = np.dtype(dtype).itemsize
    stored = {
        "A": (A, (k, m) if transa == 0 else (m, k)),
        "B": (B, (n, k) if transb == 0 else (k, n)),
        "C": (C, (n, m)),
    }
    a, b, c = (
        memory_at(name, address, (count, *lines), (step * item, ld * item, item), dtype)
        for name, ((address, ld, step), lines) in stored.items()
    )
    if np.shares_memory(a, c) or np.shares_memory(b, c):
        raise ValueError("gemm: C overlaps A or B")
    if tf32:
        a, b = _tf32(a), _tf32(b)
    product = np.matmul(b if transb == 0 else b.mT, a if transa == 0 else a.mT)
    if alpha != 1:
        product *= alpha
    c[...] = product if beta == 0 else product + dtype(beta) * c


def _tf32(x: np.ndarray) -> np.ndarray:
    """float32 rounded to 10 bits of mantissa, ties to even."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = ((bits + 0xFFF + (bits >> 13 & 1)) & ~np.uint32(0x1FFF)).view(np.float32)
    return np.where(np.isfinite(x), rounded, x)
