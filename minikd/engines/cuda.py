"""The CUDA engine: a training step in a fifth of the launches, by fused kernels beside the lines that they replace.

On a GPU, launches take most of the time of a small network's step. The readable engine issues 77 to 103 of them. Each
costs 5 to 30 µs, and most cost far more than their arithmetic. Here one kernel does what several lines of the core do:

    batches    the gather, scaling, jitter and input dropout of the batches of a few steps
    forward    bias, ReLU and dropout of a hidden layer in one, after its product
    loss       the last bias, both softmaxes, both costs, their gradient and that of the bias: one block per student
    backward   the backward pass of dropout and ReLU with the gradient of the bias, of a hidden layer, in one
    update     clipping, momentum and parameters in one; then max-norm, one block per 32 units

The readable engine is the reference, and the text to read. `tests/test_kernels.py` runs one test over both. The kernels
are in `kernels.cu`. MINIKD_FUSED=0 in the environment makes a GPU use the readable engine.

Shapes: S students (one leading axis at most), B cases, D inputs, H outputs, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minikd.core.array import Array, get_xp
from minikd.core.guard import guard
from minikd.core.layers import Cache
from minikd.core.losses import DISTILLATION
from minikd.core.masks import drop_threshold
from minikd.engines import cublas
from minikd.engines.engine import Batch, Draw, Source, State

THREADS = 256
"""Threads of a block that runs along one axis."""
COLUMNS, ROWS = 32, 32
"""Threads of a block that sums columns: this many adjacent columns, this many rows at once."""
STRIP = 1024
"""Parameters that one block of the update works on."""
PARTS = 256
"""The most partial sums of a gradient's square."""
AHEAD = 16 << 20
"""Bytes of inputs that are made at once: few enough to be still in a card's cache when they are read."""

# ---- launching -------------------------------------------------------------------------------------------------------


class Keyed(NamedTuple):
    """A layer's dropout state at one step, not drawn yet: the kernel that needs the mask computes it.

    Attributes:
        keys: (1,) or (S,) uint32 on the device, as `minikd.core.masks.dropout_mask` takes them.
        drop: the probability of dropping.
    """

    keys: Array
    drop: float


def _dropout(state: Keyed | None) -> tuple[Array | None, int, np.uint32, float]:
    """Return a dropout state for a kernel: keys or a null pointer, 1 if each student has keys, threshold, scale."""
    if state is None:
        return None, 0, np.uint32(0), 1.0
    return state.keys, int(state.keys.shape[0] > 1), np.uint32(drop_threshold(state.drop)), 1 / (1 - state.drop)


@cache
def _kernel(xp: Any, name: str, dtype: str) -> Any:
    """Return a compiled kernel by name, for float32 or float64."""
    return _module(xp, dtype).get_function(name)


@cache
def _module(xp: Any, dtype: str) -> Any:
    return xp.RawModule(code=source(), options=options(dtype))


def source() -> str:
    """Return the CUDA C++ of all kernels, as one translation unit: the file `kernels.cu` beside this one."""
    return Path(__file__).with_name("kernels.cu").read_text(encoding="utf-8")


def options(dtype: str) -> tuple[str, ...]:
    """Return the compiler's options for float32 or float64: the type `real`, and the sizes of blocks."""
    real = {"float32": "float", "float64": "double"}[dtype]
    return (f"-DREAL={real}", f"-DTHREADS={THREADS}", f"-DSTRIP={STRIP}", f"-DCOLUMNS={COLUMNS}", f"-DROWS={ROWS}")


def _launch(xp: Any, name: str, grid: tuple[int, ...], block: tuple[int, ...], dtype: Any, *args: Any) -> None:
    """Start a kernel. Pass an int as `int`, a float as `real`, None as a null pointer, and an array as its address."""
    _count(name)
    real = dtype.type
    typed = [np.int32(a) if type(a) is int else real(a) if type(a) is float else a for a in args]
    _kernel(xp, name, dtype.name)(grid, block, tuple(typed))


_counts: list[Counter[str]] = []


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count the launches of this module inside the block, by name, in one thread. Read them after the block."""
    count: Counter[str] = Counter()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts[:] = [one for one in _counts if one is not count]


def _count(name: str) -> None:
    for count in _counts:
        count[name] += 1


def _cupy(array: Array) -> Any:
    """Return CuPy, or what stands in for it: a namespace with more than the dialect of the core."""
    return get_xp(array=array)


def _blocks(n: int, size: int = THREADS) -> int:
    return -(-n // size)


def _students(array: Array) -> int:
    return int(array.shape[0]) if array.ndim > 2 else 1


def _step(array: Any, own: int) -> Any:
    """Return the elements from one student's part, of the last `own` axes, to the next; 0 if they share the array."""
    if array is None or array.ndim == own or array.shape[0] == 1:
        return np.int64(0)
    return np.int64(array.strides[0] // array.itemsize)


# ---- products --------------------------------------------------------------------------------------------------------


def product(a: Any, b: Any, out: Any = None) -> Any:
    """Return the matrix product a @ b, in one call of cuBLAS however transposed or strided.

    CuPy's own batched products copy every operand that is not C-contiguous: transposes, and weights that are views of
    a population's flat parameters. A leading dimension and a step between students are all that cuBLAS needs.

    Args:
        a: (..., M, J), its rows or its columns contiguous. It may lack the leading axis that b has.
        b: (..., J, N), its rows or its columns contiguous. It may lack the leading axis that a has.
        out: None or (..., M, N), overwritten.

    Raises:
        ValueError: if shapes do not match, or neither rows nor columns are contiguous.
        TypeError: if the dtypes differ, or `out` is of another shape.
    """
    xp, (M, J), N = _cupy(a), a.shape[-2:], b.shape[-1]
    if b.shape[-2] != J or (a.ndim == b.ndim and a.shape[:-2] != b.shape[:-2]):
        raise ValueError(
            f"a product needs as many columns of a as rows of b, and as many students, got {a.shape} and {b.shape}"
        )
    shape = (*(a.shape[:-2] or b.shape[:-2]), M, N)
    if out is None:
        out = xp.empty(shape, a.dtype)
    if (b.dtype, out.dtype, out.shape) != (a.dtype, a.dtype, shape):
        raise TypeError(
            f"a product of {a.dtype} needs {a.dtype} factors, and a result of shape {shape}, got {b.dtype} and "
            f"{out.dtype} {out.shape}: convert with astype"
        )
    _count("product")
    # cuBLAS stores matrices by columns. What it reads as a matrix is the transpose of ours, so b comes first.
    (a_order, lda, a_step), (b_order, ldb, b_step), (_, ldc, c_step) = _layout(a), _layout(b), _layout(out)
    one, zero = _ONE_AND_ZERO[a.dtype.name]
    gemm, name = cublas.handle(xp).gemm, "cublasSgemm" if a.dtype == xp.float32 else "cublasDgemm"
    sizes, A, B, C = (b_order, a_order, N, M, J), a.data.ptr, b.data.ptr, out.data.ptr
    if out.ndim == 2:
        gemm(f"{name}_v2", *sizes, one, B, ldb, A, lda, zero, C, ldc)
    else:
        S = out.shape[0]
        gemm(f"{name}StridedBatched", *sizes, one, B, ldb, b_step, A, lda, a_step, zero, C, ldc, c_step, S)
    return out


_NUMBERS = {dtype: np.array([1, 0], dtype) for dtype in ("float32", "float64")}
_ONE_AND_ZERO = {dtype: (a.ctypes.data, a.ctypes.data + a.itemsize) for dtype, a in _NUMBERS.items()}
"""Addresses of 1 and 0 on the host, where cuBLAS reads the factors of a product."""


def _layout(a: Any) -> tuple[int, int, int]:
    """Return how matrices lie: 1 if columns are contiguous, else 0; leading dimension; step between students."""
    (rows, columns), (down, right) = a.shape[-2:], (stride // a.itemsize for stride in a.strides[-2:])
    if right == 1 and down >= columns:
        return 0, down, int(_step(a, own=2))
    if down == 1 and right >= rows:
        return 1, right, int(_step(a, own=2))
    raise ValueError(
        f"a product needs contiguous rows or columns, got shape {a.shape} with strides {a.strides}: "
        "copy it with xp.ascontiguousarray"
    )


# ---- a batch ---------------------------------------------------------------------------------------------------------


def batches(source: Source, draw: Draw) -> Iterator[Batch]:
    """Yield the batches of an epoch, with the same bits as the readable engine's.

    One launch makes those of a few steps. The masks of hidden layers are not drawn yet.
    """
    steps, rows = draw.n.shape
    ahead = max(1, AHEAD // (rows * source.inputs * np.dtype(source.dtype).itemsize))
    for first in range(0, steps, ahead):
        yield from _few_batches(source, draw.at(slice(first, min(first + ahead, steps))))


def _few_batches(source: Source, draw: Draw) -> Iterator[Batch]:
    xp, real, steps, rows = _cupy(source.X), np.dtype(source.dtype), draw.n.shape[0], draw.n.size
    B, K = source.batch_size, 0 if source.V is None else source.V.shape[1]
    shape = (steps, *source.leading, B)
    x, y = xp.empty((*shape, source.inputs), real), xp.empty(shape, source.y.dtype)
    v = None if source.V is None else xp.empty((*shape, K), real)
    images = (source.X, None) if source.X.dtype == xp.uint8 else (None, source.X)
    key, _, *drop = _dropout(None if draw.keys[0] is None else Keyed(draw.keys[0], source.drops[0]))
    _launch(
        xp, "batch", (_blocks(rows * source.inputs),), (THREADS,), real,
        *images, draw.n, draw.shift, np.int64(source.stride), source.width, source.cols, source.inputs, rows, B,
        1 / 255, key, *drop, source.y, source.V, K, x, y, v,
    )  # fmt: skip
    for i in range(steps):
        keys = zip(draw.at(i).keys[1:], source.drops[1:], strict=True)
        dropout = [None, *(None if key is None else Keyed(key, share) for key, share in keys)]
        yield Batch(x[i, ...], y[i, ...], None if v is None else v[i, ...], dropout)


# ---- forward ---------------------------------------------------------------------------------------------------------


def forward(x: Array, state: State, dropout: Sequence[Keyed | None] | None = None) -> tuple[Array, Cache]:
    """Return the logits of a network without the bias of the last layer, which `loss` adds.

    The rest is that of `minikd.core.mlp.mlp_forward`: one product per layer, and one kernel per hidden layer.

    Args:
        x: (..., B, D), with the input's dropout done by `batches`.
        state: its layers are read.
        dropout: for each layer the dropout of its input. The first must be None: there is no kernel for it here.

    Returns:
        z, (..., B, K).
        The cache for `backward`.

    Raises:
        ValueError: if there is dropout on the input.
    """
    dropout = [None] * len(state.layers) if dropout is None else dropout
    if dropout[0] is not None:
        raise ValueError("`batches` applies the dropout of the input, so dropout[0] must be None here, got a state")
    h, caches = x, []
    for (W, b), keyed in zip(state.layers[:-1], dropout[1:], strict=True):
        a = product(h, W)  # (..., B, H)
        B, H = a.shape[-2:]
        _launch(
            _cupy(a), "bias_relu", (_blocks(a.size),), (THREADS,), a.dtype,
            a, b, _step(b, own=1), B, H, np.int64(a.size), *_dropout(keyed),
        )  # fmt: skip
        caches.append((h, W, 1.0 if keyed is None else 1 / (1 - keyed.drop)))
        h = a
    W, _ = state.layers[-1]
    return product(h, W), [*caches, (h, W, 1.0)]


# ---- the cost --------------------------------------------------------------------------------------------------------


@guard(**DISTILLATION)
def loss(
    z: Array,
    state: State,
    *,
    v: Array | None = None,
    y: Array | None = None,
    T: float | Array = 1.0,
    alpha: float | Array = 1.0,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Return the cost and dz, as `minikd.core.losses.distillation_loss`, in one launch.

    Args:
        z: (..., B, K), row by row in memory, without the bias of the last layer, which is added here, in place.
        state: the bias of its last layer is read, and the gradient of this bias is written.
        v: None, or of z's shape or (B, K), row by row in memory.
        y: None, or (..., B) int64.
        T: as `distillation_loss` takes it.
        alpha: as `distillation_loss` takes it.
        out: None or (...,) of z's dtype, overwritten with C.

    Returns:
        C, (...,).
        dz, of z's shape.

    Raises:
        ValueError: as `distillation_loss`, and if logits do not lie row by row.
        TypeError: as `distillation_loss`, and if labels are not int64.
    """
    if y is not None and y.dtype != np.int64:
        raise TypeError(f"y must be int64 for the fused kernels, got {y.dtype}: convert it with astype")
    logits: Any
    for name, logits in (("z", z), ("v", v)):
        if logits is not None and not logits.flags.c_contiguous:
            raise ValueError(f"{name} must be C-contiguous for the fused kernels, got strides {logits.strides}")
    xp, (B, K), S = _cupy(z), z.shape[-2:], _students(z)
    C, dz = xp.empty(z.shape[:-2], z.dtype) if out is None else out, xp.empty(z.shape, z.dtype)
    b, db = state.layers[-1][1], state.gradients[-1][1]
    if isinstance(alpha, float) and alpha in (0.0, 1.0):
        v, y = (None, y) if alpha == 0 else (v, None)
    _launch(
        xp, "distillation_loss", (S,), (THREADS,), z.dtype,
        z, b, _step(b, own=1), v, _step(v, own=2), y, _step(y, own=1), *_number(T), *_number(alpha), B, K,
        C, dz, db, _step(db, own=1),
    )  # fmt: skip
    return C, dz


def _number(value: float | Array) -> tuple[Array | None, Any, float]:
    """Return a number, or an array (S, …) of one per student, for a kernel: its address, its step, its value."""
    return (None, np.int64(0), value) if isinstance(value, float) else (value, _step(value, own=0), 0.0)


# ---- backward --------------------------------------------------------------------------------------------------------


def backward(dz: Array, cache: Cache, state: State) -> None:
    """Write the gradient of every parameter, except the last bias, as `minikd.core.mlp.mlp_backward`.

    It takes two products per layer, and one kernel per hidden layer.

    Args:
        dz: (..., B, K).
        cache: from `forward`.
        state: its gradients are overwritten, except that of the last bias, which `loss` writes.
    """
    d = dz
    for i, (h, W, _) in reversed(list(enumerate(cache))):
        product(h.mT, d, out=state.gradients[i][0])
        if i == 0:
            break
        d, scale, db = product(d, W.mT), cache[i - 1][2], state.gradients[i - 1][1]
        B, H = d.shape[-2:]
        _launch(
            _cupy(d), "relu_backward", (_blocks(H, COLUMNS), _students(d)), (COLUMNS, ROWS), d.dtype,
            d, h, scale, db, _step(db, own=1), B, H,
        )  # fmt: skip


# ---- update ----------------------------------------------------------------------------------------------------------


def update(
    state: State,
    *,
    learning_rate: float | Array,
    momentum: float,
    clip_norm: float | None,
    max_norm: float | None,
) -> None:
    """Move the parameters, in place, as `clip_factor`, `momentum_step` and `limit_norm` of `minikd.core.optim` do.

    Args:
        state: overwritten.
        learning_rate: a number or (S, 1).
        momentum: as `momentum_step` takes it.
        clip_norm: as `clip_factor` takes it, or None.
        max_norm: as `limit_norm` takes it, or None.
    """
    p, v, g = state.parameters, state.velocity, state.gradient
    xp, P, S = _cupy(p), p.shape[-1], p.shape[0] if p.ndim > 1 else 1
    parts, n_parts = None, 0
    if clip_norm is not None:
        n_parts = min(_blocks(P, STRIP), PARTS)
        parts = xp.empty((S, n_parts), p.dtype)
        _launch(xp, "square_norm", (n_parts, S), (THREADS,), p.dtype, g, np.int64(P), parts)
    _launch(
        xp, "momentum_step", (_blocks(P, STRIP), S), (THREADS,), p.dtype,
        p, v, g, np.int64(P), *_number(learning_rate), momentum, parts, n_parts, float(clip_norm or 0),
    )  # fmt: skip
    if max_norm is not None:
        for W, _ in state.layers[:-1]:
            D, H = W.shape[-2:]
            _launch(
                xp, "limit_norm", (_blocks(H, COLUMNS), S), (COLUMNS, ROWS), p.dtype,
                W, _step(W, own=2), D, H, float(max_norm),
            )  # fmt: skip
