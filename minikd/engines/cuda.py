"""Fused CUDA kernels: a training step in a fifth of the launches, each beside the readable function that it equals.

A small network's step is bound by launches on a GPU: the readable functions issue 82 to 108, and each costs 5 to 15 µs,
most of them far more than their arithmetic. Here a kernel does what several lines of the core do, by their name:

    batch               the gather, scaling, jitter and input dropout of `minikd.training.batches.Feed`
    mlp_forward         bias, ReLU and dropout in one, after each product
    distillation_loss   both softmaxes, both costs and their gradient: a thread per case, a block per student
    mlp_backward        dropout's and ReLU's backward pass with the bias gradient, after each product
    update              clipping, momentum and parameters in one; then max-norm, a block for 32 units

The core is the reference and stays the text to read. `tests/test_kernels.py` runs one test over both. The sources are
plain CUDA C++: no warp intrinsics, no atomics, no vector types; every sum has a fixed order, so a run repeats its bits.
`train` takes this way where the device says so (`Device.fused`, which MINIKD_FUSED=0 turns off).

Shapes: S students (one leading axis at most), B cases, D inputs, H outputs, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minikd.core.array import Array, Namespace, get_xp
from minikd.core.layers import Cache, drop_threshold
from minikd.core.losses import check_distillation
from minikd.core.mlp import Layers
from minikd.core.optim import check_norm

if TYPE_CHECKING:
    from minikd.training.loop import State

THREADS = 256
"""Threads of a block that runs along one axis."""
COLUMNS, ROWS = 32, 32
"""Threads of a block that sums columns: so many neighbours of a row, so many rows at once."""
STRIP = 1024
"""Parameters that one block of the update works on."""
PARTS = 256
"""At most so many partial sums of a gradient's square."""

COMMON = r"""
typedef REAL real;
typedef long long offset;

// The mix of 32 bits of minikd.core.layers.hash32.
__device__ unsigned int hash32(unsigned int x)
{
    x = (x ^ (x >> 16)) * 0x7FEB352Du;
    x = (x ^ (x >> 15)) * 0x846CA68Bu;
    return x ^ (x >> 16);
}

// What a unit is multiplied by: 0, or scale if it is kept. The counter numbers the units of one mask, (B, H).
__device__ real kept(unsigned int counter, unsigned int key, unsigned int drop, real scale)
{
    return hash32(hash32(counter) ^ key) >= drop ? scale : (real)0;
}

// The sum of one number of each thread of a block, for all of them, in a fixed order.
__device__ real block_sum(real mine, real* sums)
{
    sums[threadIdx.x] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    return sums[0];
}
"""

# ---- launching -------------------------------------------------------------------------------------------------------


class Keyed(NamedTuple):
    """A layer's dropout state at one step, not drawn yet: the kernel that needs the mask works it out.

    keys: (1,) or (S,) uint32 on the device, as `minikd.core.layers.dropout_mask` takes them; drop, the probability.
    """

    keys: Array
    drop: float


def _dropout(state: Keyed | None) -> tuple[Array | None, int, np.uint32, float]:
    """A dropout state as kernels take it: keys or a null pointer, 1 if each student has its own, threshold, scale."""
    if state is None:
        return None, 0, np.uint32(0), 1.0
    return state.keys, int(state.keys.shape[0] > 1), np.uint32(drop_threshold(state.drop)), 1 / (1 - state.drop)


@cache
def _kernel(xp: Namespace, name: str, dtype: str) -> Any:
    """A compiled kernel by name, for float32 or float64."""
    return _module(xp, dtype).get_function(name)


@cache
def _module(xp: Namespace, dtype: str) -> Any:
    return xp.RawModule(code=source(), options=options(dtype))


def source() -> str:
    """The CUDA C++ of all kernels, as one translation unit."""
    return COMMON + BATCH + BIAS_RELU + DISTILLATION_LOSS + RELU_BACKWARD + SQUARE_NORM + MOMENTUM_STEP + LIMIT_NORM


def options(dtype: str) -> tuple[str, ...]:
    """The compiler's options for float32 or float64: the type `real`, and the sizes of blocks."""
    real = {"float32": "float", "float64": "double"}[dtype]
    return (f"-DREAL={real}", f"-DTHREADS={THREADS}", f"-DSTRIP={STRIP}", f"-DCOLUMNS={COLUMNS}", f"-DROWS={ROWS}")


def _launch(xp: Namespace, name: str, grid: tuple[int, ...], block: tuple[int, ...], dtype: Any, *args: Any) -> None:
    """Start a kernel. A Python int goes as `int`, a float as `real`, None as a null pointer, an array its address."""
    _count(name)
    real = dtype.type
    typed = [np.int32(a) if type(a) is int else real(a) if type(a) is float else a for a in args]
    _kernel(xp, name, dtype.name)(grid, block, tuple(typed))


_counts: list[Counter[str]] = []


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """The launches of this module inside the block, by name; one thread's, to be read when it is over."""
    count: Counter[str] = Counter()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts[:] = [one for one in _counts if one is not count]


def _count(name: str) -> None:
    for count in _counts:
        count[name] += 1


def _blocks(n: int, size: int = THREADS) -> int:
    return -(-n // size)


def _students(array: Array) -> int:
    return int(array.shape[0]) if array.ndim > 2 else 1


def _step(array: Array | None, own: int) -> Any:
    """Elements from one student to the next: 0 where they share the array, whose last `own` axes are a student's."""
    if array is None or array.ndim == own or array.shape[0] == 1:
        return np.int64(0)
    return np.int64(array.strides[0] // array.itemsize)


# ---- products --------------------------------------------------------------------------------------------------------


def product(a: Array, b: Array, out: Array | None = None) -> Array:
    """The matrix product a @ b, `minikd.core.array.multiply`, in one call of cuBLAS however transposed or strided.

    CuPy's own batched products copy every operand that is not C-contiguous: transposes, and weights that are views of
    a population's flat parameters. A leading dimension and a step between students are all that cuBLAS needs.

    Args: a (..., M, J), b (..., J, N), out None or (..., M, N), overwritten; a or b may lack the leading axis. The rows
        or the columns of each are contiguous.
    """
    xp, (M, J), N = get_xp(a=a, b=b), a.shape[-2:], b.shape[-1]
    if b.shape[-2] != J or (a.ndim == b.ndim and a.shape[:-2] != b.shape[:-2]):
        raise ValueError(
            f"a product needs as many columns of a as rows of b, and as many students, got {a.shape} and {b.shape}"
        )
    if out is None:
        out = xp.empty((*(a.shape[:-2] or b.shape[:-2]), M, N), a.dtype)
    _count("product")
    # cuBLAS stores matrices by columns. What it reads as a matrix is the transpose of ours, so b comes first.
    (a_order, lda, a_step), (b_order, ldb, b_step), (_, ldc, c_step) = _layout(a), _layout(b), _layout(out)
    one, zero = _ONE_AND_ZERO[a.dtype.name]
    cublas, handle, A, B, C = xp.cuda.cublas, xp.cuda.get_cublas_handle(), a.data.ptr, b.data.ptr, out.data.ptr
    if out.ndim == 2:
        gemm = cublas.sgemm if a.dtype == xp.float32 else cublas.dgemm
        gemm(handle, b_order, a_order, N, M, J, one, B, ldb, A, lda, zero, C, ldc)
    else:
        gemm = cublas.sgemmStridedBatched if a.dtype == xp.float32 else cublas.dgemmStridedBatched
        S = out.shape[0]
        gemm(handle, b_order, a_order, N, M, J, one, B, ldb, b_step, A, lda, a_step, zero, C, ldc, c_step, S)
    return out


_NUMBERS = {dtype: np.array([1, 0], dtype) for dtype in ("float32", "float64")}
_ONE_AND_ZERO = {dtype: (a.ctypes.data, a.ctypes.data + a.itemsize) for dtype, a in _NUMBERS.items()}
"""Addresses of 1 and 0 on the host, where cuBLAS reads the factors of a product."""


def _layout(a: Array) -> tuple[int, int, int]:
    """How matrices lie: 1 if columns are contiguous, not rows; the leading dimension; the step between students."""
    (rows, columns), (down, right) = a.shape[-2:], (stride // a.itemsize for stride in a.strides[-2:])
    if right == 1 and down >= columns:
        return 0, down, int(_step(a, own=2))
    if down == 1 and right >= rows:
        return 1, right, int(_step(a, own=2))
    raise ValueError(f"a product needs contiguous rows or columns, got shape {a.shape} with strides {a.strides}")


# ---- a batch ---------------------------------------------------------------------------------------------------------

BATCH = r"""
// A thread an input: example n of the images X, moved by the shift, as numbers in [0, 1], or of the frames F, as they
// are; with dropout. The first threads of a case fetch its label and its teacher's logits.
extern "C" __global__ void batch(
    const unsigned char* __restrict__ X, const real* __restrict__ F,
    const offset* __restrict__ n, const offset* __restrict__ shift,
    offset stride, int width, int cols, int D, int rows, int B, real pixel_scale,
    const unsigned int* __restrict__ keys, int own_key, unsigned int drop, real keep_scale,
    const offset* __restrict__ y, const real* __restrict__ V, int K,
    real* __restrict__ x_out, offset* __restrict__ y_out, real* __restrict__ v_out)
{
    offset i = (offset)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (offset)rows * D) return;
    int row = (int)(i / D), j = (int)(i % D);
    offset place = n[row] * stride + (shift ? shift[row] : 0) + (j / cols) * width + j % cols;
    real x = F ? F[place] : (real)X[place] * pixel_scale;
    if (keys) x *= kept((unsigned int)(row % B * D + j), keys[own_key ? row / B : 0], drop, keep_scale);
    x_out[i] = x;
    if (j == 0) y_out[row] = y[n[row]];
    if (V) for (int k = j; k < K; k += D) v_out[(offset)row * K + k] = V[n[row] * K + k];
}
"""


def batch(
    X: Array,
    n: Array,
    shift: Array | None,
    *,
    image: tuple[int, int, int, int],
    y: Array,
    V: Array | None,
    leading: tuple[int, ...],
    dropout: Keyed | None,
    dtype: str,
) -> tuple[Array, Array, Array | None]:
    """The batch of one step, as the readable lines of `minikd.training.batches.Feed` make it, to the same bits.

    Args:
        X: uint8, resident images, padded where they are to be moved; or frames of the dtype, flat. n: (S·B,) int64,
            examples. shift: (S·B,) int64, where in its padded copy each image starts, or where in X each window does,
            or None.
        image: the bytes of an image in X, 0 for frames; the width of a row there, the width of an example, and its
            inputs, D.
        y: (N,) int64. V: (N, K) or None. leading: () or (S,), of what is returned. dropout: of the input.
    Returns: x (..., B, D) of the dtype, y (..., B), v (..., B, K) or None.
    """
    xp, rows, (stride, width, cols, D) = get_xp(X=X, n=n, y=y), n.shape[0], image
    B = rows // leading[0] if leading else rows
    real = np.dtype(dtype)
    x_out, y_out = xp.empty((*leading, B, D), real), xp.empty((*leading, B), y.dtype)
    K = 0 if V is None else V.shape[1]
    v_out = None if V is None else xp.empty((*leading, B, K), real)
    inputs = (X, None) if X.dtype == xp.uint8 else (None, X)
    _launch(
        xp, "batch", (_blocks(rows * D),), (THREADS,), real,
        *inputs, n, shift, np.int64(stride), width, cols, D, rows, B, 1 / 255, *_dropout(dropout), y, V, K,
        x_out, y_out, v_out,
    )  # fmt: skip
    return x_out, y_out, v_out


# ---- forward ---------------------------------------------------------------------------------------------------------

BIAS_RELU = r"""
// A thread a unit and case: a = max(a + b, 0) with dropout for a hidden layer, a = a + b for the last one.
// A comparison with nan is false, so nan passes through, as it does through NumPy's maximum.
extern "C" __global__ void bias_relu(
    real* __restrict__ a, const real* __restrict__ b, offset b_step, int B, int H, offset size, int hidden,
    const unsigned int* __restrict__ keys, int own_key, unsigned int drop, real keep_scale)
{
    offset i = (offset)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    offset student = i / ((offset)B * H);
    real out = a[i] + b[student * b_step + i % H];
    if (hidden && out < 0) out = 0;
    if (keys) out *= kept((unsigned int)(i % ((offset)B * H)), keys[own_key ? student : 0], drop, keep_scale);
    a[i] = out;
}
"""


def mlp_forward(x: Array, layers: Layers, dropout: Sequence[Keyed | None] | None = None) -> tuple[Array, Cache]:
    """The logits of a network: `minikd.core.mlp.mlp_forward`, a product and a kernel a layer.

    Args: x (..., B, D), with the input's dropout done by `batch`; layers; dropout, for each layer that of its input,
        the first of them ignored.
    Returns: z, (..., B, K), and the cache for `mlp_backward`.
    """
    h, caches = x, []
    for i, (W, b) in enumerate(layers):
        xp = get_xp(h=h, W=W, b=b)
        a = product(h, W)  # (..., B, H)
        B, H = a.shape[-2:]
        hidden = i < len(layers) - 1
        state = dropout[i + 1] if hidden and dropout is not None else None
        _launch(
            xp, "bias_relu", (_blocks(a.size),), (THREADS,), a.dtype,
            a, b, _step(b, own=1), B, H, np.int64(a.size), int(hidden), *_dropout(state),
        )  # fmt: skip
        caches.append((h, W, 1.0 if state is None else 1 / (1 - state.drop)))
        h = a
    return h, caches


# ---- the cost --------------------------------------------------------------------------------------------------------

DISTILLATION_LOSS = r"""
// log sum_k exp((z_k - largest) / T); the largest comes back too.
__device__ real log_sum_exp(const real* z, int K, real T, real* largest)
{
    real m = z[0], sum = 0;
    for (int k = 1; k < K; k++) if (z[k] > m) m = z[k];
    for (int k = 0; k < K; k++) sum += exp((z[k] - m) / T);
    *largest = m;
    return log(sum);
}

// A block per student, a thread per case: both costs, their gradient. v is null without soft targets, y without labels.
extern "C" __global__ void distillation_loss(
    const real* __restrict__ z, const real* __restrict__ v, offset v_step, const offset* __restrict__ y, offset y_step,
    const real* __restrict__ T_of, offset T_step, real T,
    const real* __restrict__ alpha_of, offset alpha_step, real alpha,
    int B, int K, real* __restrict__ C, real* __restrict__ dz)
{
    __shared__ real sums[THREADS];
    offset student = blockIdx.x;
    if (T_of) T = T_of[student * T_step];
    if (alpha_of) alpha = alpha_of[student * alpha_step];
    real soft_weight = alpha * (T * T), hard_weight = 1 - alpha, cost = 0;
    for (int b = threadIdx.x; b < B; b += THREADS) {
        const real* zb = z + (student * B + b) * K;
        real* dzb = dz + (student * B + b) * K;
        for (int k = 0; k < K; k++) dzb[k] = 0;
        real z_max, v_max;
        if (v) {
            const real* vb = v + student * v_step + (offset)b * K;
            real log_sum_q = log_sum_exp(zb, K, T, &z_max), log_sum_p = log_sum_exp(vb, K, T, &v_max), soft = 0;
            for (int k = 0; k < K; k++) {
                real log_q = (zb[k] - z_max) / T - log_sum_q;
                real q = exp(log_q), p = exp((vb[k] - v_max) / T - log_sum_p);
                soft -= p * log_q;
                dzb[k] += soft_weight * ((1/T) * (q - p) / B);
            }
            cost += soft_weight * soft;
        }
        if (y) {
            int label = (int)y[student * y_step + b];
            real log_sum_q = log_sum_exp(zb, K, 1, &z_max);
            for (int k = 0; k < K; k++) {
                real log_q = zb[k] - z_max - log_sum_q;
                dzb[k] += hard_weight * ((exp(log_q) - (k == label ? 1 : 0)) / B);
                if (k == label) cost -= hard_weight * log_q;
            }
        }
    }
    cost = block_sum(cost, sums);
    if (threadIdx.x == 0) C[student] = cost / B;
}
"""


def distillation_loss(
    z: Array,
    *,
    v: Array | None = None,
    y: Array | None = None,
    T: float | Array = 1.0,
    alpha: float | Array = 1.0,
) -> tuple[Array, Array]:
    """The student's cost and its gradient: `minikd.core.losses.distillation_loss` in one launch.

    Arguments, returns and errors as there; z and v lie row by row in memory, y is int64.
    """
    T, alpha = check_distillation(z, v=v, y=y, T=T, alpha=alpha)
    if y is not None and y.dtype != np.int64:
        raise TypeError(f"y must be int64 for the fused kernels, got {y.dtype}: convert it with astype")
    for name, logits in (("z", z), ("v", v)):
        if logits is not None and not logits.flags.c_contiguous:
            raise ValueError(f"{name} must be C-contiguous for the fused kernels, got strides {logits.strides}")
    xp, (B, K), S = get_xp(z=z), z.shape[-2:], _students(z)
    C, dz = xp.empty(z.shape[:-2], z.dtype), xp.empty(z.shape, z.dtype)
    if isinstance(alpha, float) and alpha in (0.0, 1.0):
        v, y = (None, y) if alpha == 0 else (v, None)
    _launch(
        xp, "distillation_loss", (S,), (THREADS,), z.dtype,
        z, v, _step(v, own=2), y, _step(y, own=1),
        *_number(T), *_number(alpha), B, K, C, dz,
    )  # fmt: skip
    return C, dz


def _number(value: float | Array) -> tuple[Array | None, Any, float]:
    """A number, or an array (S, …) with one a student, as kernels take it: its address, its step, its value."""
    return (None, np.int64(0), value) if isinstance(value, float) else (value, _step(value, own=0), 0.0)


# ---- backward --------------------------------------------------------------------------------------------------------

RELU_BACKWARD = r"""
// A block COLUMNS units: what comes back through dropout and ReLU, d where h > 0, times the scale of what was kept, and
// the gradient of the bias, its sum over the cases. h is null where there is no ReLU.
extern "C" __global__ void relu_backward(
    real* __restrict__ d, const real* __restrict__ h, real scale, real* __restrict__ db, offset db_step, int B, int H)
{
    __shared__ real sums[ROWS][COLUMNS];
    int j = blockIdx.x * COLUMNS + threadIdx.x;
    offset first = (offset)blockIdx.y * B * H;
    real sum = 0;
    if (j < H) for (int b = threadIdx.y; b < B; b += ROWS) {
        offset i = first + (offset)b * H + j;
        real value = d[i];
        if (h) d[i] = value *= (h[i] > 0 ? scale : (real)0);
        sum += value;
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || j >= H) return;
    for (int row = 1; row < ROWS; row++) sum += sums[row][threadIdx.x];
    db[blockIdx.y * db_step + j] = sum;
}
"""


def mlp_backward(dz: Array, cache: Cache, *, out: Layers) -> None:
    """The gradient of every parameter, into `out`: `minikd.core.mlp.mlp_backward`, two products and a kernel a layer.

    Args: dz (..., B, K); cache from `mlp_forward`; out, layers to write the gradients into, views of a flat array.
    """
    d, above = dz, None  # no ReLU follows the last layer
    for i, (h, W, scale) in reversed(list(enumerate(cache))):
        dW, db = out[i]
        xp, (B, H) = get_xp(d=d, W=W), d.shape[-2:]
        _launch(
            xp, "relu_backward", (_blocks(H, COLUMNS), _students(d)), (COLUMNS, ROWS), d.dtype,
            d, above, scale, db, _step(db, own=1), B, H,
        )  # fmt: skip
        product(h.mT, d, out=dW)
        if i > 0:
            d, above = product(d, W.mT), h


# ---- update ----------------------------------------------------------------------------------------------------------

SQUARE_NORM = r"""
// A block a part of a student's gradient: the sum of its squares.
extern "C" __global__ void square_norm(const real* __restrict__ g, offset P, real* __restrict__ parts)
{
    __shared__ real sums[THREADS];
    real sum = 0;
    for (offset i = (offset)blockIdx.x * THREADS + threadIdx.x; i < P; i += (offset)gridDim.x * THREADS) {
        real value = g[blockIdx.y * P + i];
        sum += value * value;
    }
    sum = block_sum(sum, sums);
    if (threadIdx.x == 0) parts[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}
"""

MOMENTUM_STEP = r"""
// A block STRIP parameters of a student: v = momentum v - rate g, p = p + v, the rate scaled where the gradient's norm
// exceeds clip_norm. Where the norm is not finite the rate is nan, so that the next cost shows it.
extern "C" __global__ void momentum_step(
    real* __restrict__ p, real* __restrict__ v, const real* __restrict__ g, offset P,
    const real* __restrict__ rate_of, offset rate_step, real rate, real momentum,
    const real* __restrict__ parts, int n_parts, real clip_norm)
{
    __shared__ real sums[THREADS];
    offset student = blockIdx.y;
    if (rate_of) rate = rate_of[student * rate_step];
    if (parts) {
        real sum = 0;
        for (int i = threadIdx.x; i < n_parts; i += THREADS) sum += parts[student * n_parts + i];
        real norm = sqrt(block_sum(sum, sums));
        rate *= clip_norm / (norm > clip_norm ? norm : clip_norm) + (norm - norm);
    }
    offset first = (offset)blockIdx.x * STRIP;
    for (offset i = first + threadIdx.x; i < P && i < first + STRIP; i += THREADS) {
        offset at = student * P + i;
        real velocity = momentum * v[at] - rate * g[at];
        v[at] = velocity;
        p[at] += velocity;
    }
}
"""

LIMIT_NORM = r"""
// A block COLUMNS units: their incoming weights, scaled down to max_norm where their norm exceeds it.
extern "C" __global__ void limit_norm(real* __restrict__ W, offset W_step, int D, int H, real max_norm)
{
    __shared__ real sums[ROWS][COLUMNS];
    int j = blockIdx.x * COLUMNS + threadIdx.x;
    real* column = W + blockIdx.y * W_step + j;
    real sum = 0;
    if (j < H) for (int d = threadIdx.y; d < D; d += ROWS) sum += column[(offset)d * H] * column[(offset)d * H];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    real total = 0;
    for (int row = 0; row < ROWS; row++) total += sums[row][threadIdx.x];
    real norm = sqrt(total);
    if (j >= H || norm <= max_norm) return;
    for (int d = threadIdx.y; d < D; d += ROWS) column[(offset)d * H] *= max_norm / norm;
}
"""


def update(
    state: State,
    *,
    learning_rate: float | Array,
    momentum: float,
    clip_norm: float | None,
    max_norm: float | None,
) -> None:
    """Move the parameters, in place: `minikd.core.optim`'s `clip_factor`, `momentum_step` and `limit_norm`.

    Args: state; learning_rate a number or (S, 1), the others as there or None.
    """
    p, v, g = state.p, state.v, state.g
    xp, P, S = get_xp(p=p, v=v, g=g), p.shape[-1], p.shape[0] if p.ndim > 1 else 1
    parts, n_parts = None, 0
    if clip_norm is not None:
        check_norm("clip_norm", clip_norm)
        n_parts = min(_blocks(P, STRIP), PARTS)
        parts = xp.empty((S, n_parts), p.dtype)
        _launch(xp, "square_norm", (n_parts, S), (THREADS,), p.dtype, g, np.int64(P), parts)
    _launch(
        xp, "momentum_step", (_blocks(P, STRIP), S), (THREADS,), p.dtype,
        p, v, g, np.int64(P), *_number(learning_rate), momentum, parts, n_parts, float(clip_norm or 0),
    )  # fmt: skip
    if max_norm is not None:
        check_norm("max_norm", max_norm)
        for W, _ in state.layers[:-1]:
            D, H = W.shape[-2:]
            _launch(
                xp, "limit_norm", (_blocks(H, COLUMNS), S), (COLUMNS, ROWS), p.dtype,
                W, _step(W, own=2), D, H, float(max_norm),
            )  # fmt: skip
