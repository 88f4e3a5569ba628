"""The stand-in itself: CUDA source runs on the host as it would on a GPU, and what a GPU would pass over is refused."""

import ctypes
import re

import host_cuda
import numpy as np
import pytest
import strict_cupy as xp
from strict_cupy import LIBRARY, cuda

needs_compiler = pytest.mark.skipif(host_cuda.compiler() is None, reason="no C++ compiler to run CUDA sources with")

SOURCE = r"""
typedef REAL real;
using size = unsigned int;

__device__ __forceinline__ real half_of(real x) { return x / 2; }

extern "C" __global__ void saxpy(const real* __restrict__ x, real* y, real a, size n)
{
    size i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}

// A block a row. The sum is a tree in shared memory; the maximum, in one shared number, is thread 0's.
extern "C" __global__ void __launch_bounds__(THREADS) softmax(
    const real* __restrict__ z, real* __restrict__ q, int K)  // rows of K
{
    __shared__ real sums[THREADS];
    __shared__ real top;
    z += (long long)blockIdx.x * K;
    q += (long long)blockIdx.x * K;
    if (threadIdx.x == 0) {
        top = z[0];
        for (int k = 1; k < K; ++k) top = max(top, z[k]);
    }
    __syncthreads();
    real sum = 0;
    for (int k = threadIdx.x; k < K; k += THREADS) sum += exp(z[k] - top);
    sums[threadIdx.x] = sum;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    for (int k = threadIdx.x; k < K; k += THREADS) q[k] = exp(z[k] - top) / sums[0];
}

extern "C" __global__ void places(int* out, int width)  // where each thread thinks that it is
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, j = blockIdx.y * blockDim.y + threadIdx.y;
    out[(blockIdx.z * gridDim.y * blockDim.y + j) * width + i] = 1000 * blockIdx.z + 100 * j + i;
}

extern "C" __global__ void functions(const real* x, real* out, bool* nan, unsigned char* byte, long long* large)
{
    real several[2] = {half_of(x[0]), x[threadIdx.x]};
    out[0] = exp(several[threadIdx.x]) + log(x[0]) + sqrt(x[0]) + fmax(x[0], x[1]) + min(x[0], (real)0);
    out[1] = expf(1.0f) + max(-1, 2) + min(3u, 4u);
    nan[0] = isnan(x[1]);
    byte[0] = 255;
    large[0] = 1LL << 40;
}

extern "C" __global__ void once_written(real* out)
{
    __shared__ real number;
    if (blockIdx.x == 0) number = 7;
    out[blockIdx.x] = number;
}

extern "C" __global__ void early(real* x)
{
    if (threadIdx.x == 3) return;
    __syncthreads();
    x[threadIdx.x] = 1;
}

extern "C" __global__ void two_barriers(real* x)
{
    if (threadIdx.x == 3) __syncthreads();
    else __syncthreads();
    x[threadIdx.x] = 1;
}

extern "C" __global__ void no_barrier(real* x)
{
    __shared__ real shared[8];
    shared[threadIdx.x] = x[threadIdx.x];
    x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void one_sum(const real* x, real* sum) { sum[0] += x[blockIdx.x]; }
extern "C" __global__ void shared_beyond(real* x)
{
    __shared__ real shared[8];
    shared[threadIdx.x + (int)x[0]] = 1;
    x[0] = shared[0];
}
extern "C" __global__ void shifted(const real* x, real* out, int by) { out[threadIdx.x] = x[(int)threadIdx.x + by]; }
extern "C" __global__ void writes_const(const real* x) { ((real*)x)[threadIdx.x] = 1; }
extern "C" __global__ void in_place(const real* __restrict__ x, real* out) { out[threadIdx.x] = 2 * x[threadIdx.x]; }
extern "C" __global__ void step(real* x, long long rows) { x[blockIdx.x * rows + threadIdx.x] += 1; }
"""
THREADS = 64
REAL = {"float32": "float", "float64": "double"}


def kernel(name, dtype="float32"):
    return xp.RawModule(code=SOURCE, options=(f"-DREAL={REAL[dtype]}", f"-DTHREADS={THREADS}")).get_function(name)


def normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def put(*shape):
    return xp.asarray(np.ones(shape, np.float32))


DTYPES = pytest.mark.parametrize("dtype", REAL)


# ---- kernels ---------------------------------------------------------------------------------------------------------


@needs_compiler
@DTYPES
def test_a_kernel_writes_what_its_source_says_and_counts_as_one_launch(dtype):
    x, y = normal(1000, dtype=dtype), normal(1000, dtype=dtype, seed=1)
    saxpy, there = kernel("saxpy", dtype), xp.asarray(y)
    with xp.counting() as count:
        saxpy((4,), (256,), (xp.asarray(x), there, np.dtype(dtype).type(0.3), np.uint32(999)))
    assert (count.kernels, count.waits) == ({"saxpy": 1}, 0)
    expected = y + np.dtype(dtype).type(0.3) * x
    np.testing.assert_array_equal(there.get(), [*expected[:999], y[999]])


@needs_compiler
@DTYPES
@pytest.mark.parametrize("K", [1, 10, 63, 200])
def test_a_sum_over_shared_memory_waits_at_each_barrier(K, dtype):
    z = 5 * normal(7, K, dtype=dtype)
    q = xp.empty((7, K), dtype)
    kernel("softmax", dtype)((7,), (THREADS,), (xp.asarray(z), q, np.int32(K)))
    expected = np.exp(z - z.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(q.get(), expected, rtol=(K + 10) * np.finfo(dtype).eps)  # a rounding a term


@needs_compiler
def test_grids_and_blocks_have_three_axes():
    out = xp.empty((2, 6, 12), np.int32)
    kernel("places")((3, 2, 2), (4, 3), (out, np.int32(12)))
    z, j, i = np.indices(out.shape)
    np.testing.assert_array_equal(out.get(), 1000 * z + 100 * j + i)


@needs_compiler
@DTYPES
def test_functions_and_types_are_cudas(dtype):
    x = np.array([4.0, np.nan], dtype)
    out, nan, byte, large = (xp.empty(n, d) for n, d in ((2, dtype), (1, np.bool_), (1, np.uint8), (1, np.int64)))
    kernel("functions", dtype)((1,), (1,), (xp.asarray(x), out, nan, byte, large))
    first = np.exp(2.0) + np.log(4.0) + 2.0 + 4.0 + 0.0  # of a number and NaN, fmax gives the number
    np.testing.assert_allclose(out.get(), [first, np.exp(1.0) + 2 + 3], rtol=1e-6)
    assert [one.get().tolist() for one in (nan, byte, large)] == [[True], [255], [2**40]]


@needs_compiler
def test_shared_memory_keeps_nothing_from_block_to_block_and_empty_holds_nan():
    out = xp.empty(4, np.float32)
    kernel("once_written")((3,), (1,), (out,))
    np.testing.assert_array_equal(out.get(), np.array([7, np.nan, np.nan, np.nan], np.float32))


@needs_compiler
def test_a_kernel_may_have_views_of_one_array_and_no_array():
    flat = xp.asarray(np.arange(12, dtype=np.float32))
    shifted = kernel("shifted")
    shifted((1,), (4,), (flat[2:8], flat[8:12], np.int32(1)))
    assert flat.get().tolist() == [*range(8), 3, 4, 5, 6]
    rows = xp.reshape(flat, (3, 4))[:, 1:3]  # two numbers of each row: as a layer's biases in a population
    kernel("step")((3,), (2,), (rows, np.int64(4)))
    assert flat.get().tolist() == [0, 2, 3, 3, 4, 6, 7, 7, 3, 5, 6, 6]
    with pytest.raises(host_cuda.KernelError, match=r"reads x\[2\], its shape \(3, 2\): outside all arrays"):
        kernel("step")((3,), (2,), (rows, np.int64(2)))  # the strides forgotten
    with pytest.raises(host_cuda.KernelError, match="reads address 0x4: outside all arrays"):
        shifted((1,), (4,), (None, flat, np.int32(1)))


ONE, TWO = np.float32(1), np.int32(2)
LINE = SOURCE[: SOURCE.index("void two_barriers")].count("\n") + 3  # of the first of two barriers
FAULTS = {
    "a read beyond the end": ("shifted", 4, lambda: (put(5), put(4), TWO), "3, 0, 0) of block (0, 0, 0) reads x[5]"),
    "a read before the start": ("shifted", 4, lambda: (put(8), put(4), np.int32(-1)), "reads x[-1], its shape (8,)"),
    "a write beyond the end": ("shifted", 4, lambda: (put(8), put(3), TWO), "writes out[3], its shape (3,): outside"),
    "a write beyond shared memory": ("shared_beyond", 1, lambda: (put(1) * 1e6,), "outside all arrays"),
    "a write through const": ("writes_const", 2, lambda: (put(2),), "writes x[0], its shape (2,): it is const"),
    "a thread that ends early": (
        "early", 8, lambda: (put(8),), f"the barrier of line {LINE - 6}, but another thread of its block has ended",
    ),
    "two barriers at once": (
        "two_barriers", 8, lambda: (put(8),), f"of line {LINE}, but another thread of its block waits at line",
    ),
    "a barrier forgotten": ("no_barrier", 8, lambda: (put(8),), "shared memory: thread"),
    "a sum by several threads": ("one_sum", 2, lambda: (put(2), put(1)), "reads sum[0]"),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("name", FAULTS)
def test_what_no_kernel_may_do_ends_the_launch_and_the_next_one_is_sound(name):
    called, threads, arguments, said = FAULTS[name]
    for _ in range(2):
        with pytest.raises(host_cuda.KernelError, match=rf"^{called}: thread \(.*{re.escape(said)}"):
            kernel(called)((1,), (threads,), arguments())
    test_a_sum_over_shared_memory_waits_at_each_barrier(10, "float32")


@needs_compiler
def test_two_blocks_meet_even_across_barriers():
    with pytest.raises(host_cuda.KernelError, match=r"block \(1, 0, 0\) reads sum\[0\].*: another block used it"):
        kernel("one_sum")((2,), (1,), (put(2), put(1)))


SAXPY = (put(4), put(4), ONE, np.uint32(4))
REFUSED = {
    "an argument too few": (SAXPY[:3], TypeError, "saxpy takes 4 arguments (x, y, a, n), got 3"),
    "another dtype": ((xp.astype(SAXPY[0], np.float64), *SAXPY[1:]), TypeError, "x points to float32, got"),
    "a Python float": ((*SAXPY[:2], 1.0, SAXPY[3]), TypeError, "a is a value, got float: write np.float32(…)"),
    "a Python int": ((*SAXPY[:3], 4), TypeError, "n is a value, got int: write np.uint32(…)"),
    "a scalar of another dtype": ((*SAXPY[:3], np.int32(4)), TypeError, "n is uint32, got int32"),
    "an array for a value": ((*SAXPY[:2], put(1), SAXPY[3]), TypeError, "a is a value, got ndarray"),
    "a value for an array": ((ONE, *SAXPY[1:]), TypeError, "x is a pointer, got float32"),
    "the host's array": ((np.ones(4, np.float32), *SAXPY[1:]), TypeError, "x is a pointer, got ndarray"),
    "a transposed array": ((put(2, 2).T, *SAXPY[1:]), ValueError, "x: kernels look at no strides, got shape (2, 2)"),
    "every other element": ((put(8)[::2], *SAXPY[1:]), ValueError, "x: kernels look at no strides, got shape (4,)"),
}  # fmt: skip


@needs_compiler
@pytest.mark.parametrize("name", REFUSED)
def test_an_argument_that_does_not_fit_its_parameter_is_refused(name):
    arguments, error, said = REFUSED[name]
    with xp.counting() as count, pytest.raises(error, match=re.escape(said)):
        kernel("saxpy")((1,), (4,), arguments)
    assert count.launches == 0


@needs_compiler
@pytest.mark.parametrize(
    ("grid", "block", "error"),
    [
        ((1,), (1025,), ValueError), ((1,), (32, 33), ValueError), ((1,), (0,), ValueError), ((0,), (1,), ValueError),
        ((1, 65536), (1,), ValueError), ((1, 1, 65536), (1,), ValueError), ((1,), (1, 1, 65), ValueError),
        (1, (1,), TypeError), ((1,), [1], TypeError), ((1, 1, 1, 1), (1,), TypeError), ((1.0,), (1,), TypeError),
    ],
)  # fmt: skip
def test_a_grid_or_block_beyond_cudas_limits_is_refused(grid, block, error):
    with pytest.raises(error, match=r"saxpy's (grid|block)|float"):
        kernel("saxpy")(grid, block, SAXPY)


@needs_compiler
def test_a_kernels_own_limits_hold():
    with pytest.raises(ValueError, match="at most 64 in all"):
        kernel("softmax")((1,), (THREADS + 1,), (put(1), put(1), np.int32(1)))
    with pytest.raises(ValueError, match="shared_mem is for extern __shared__"):
        kernel("saxpy")((1,), (1,), SAXPY, shared_mem=4)
    x = put(4)
    with pytest.raises(ValueError, match="x and out overlap, one of them may be written and one is __restrict__"):
        kernel("in_place")((1,), (4,), (x, x))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        ("#include <math.h>", (), "#include"),
        ("", ("--use_fast_math",), "'--use_fast_math'"),
        ('extern "C" __global__ void k(float* x) { x[0] = INFINITY; }', (), "kernels:1:"),
        ('extern "C" __global__ void k(float** x) {}', (), "the type of x is none that NumPy knows"),
        ('extern "C" __global__ void k(float* x) {}', ("-DX=1", "--std=c++17", "-lineinfo"), "no kernel 'saxpy', only"),
    ],
)
def test_a_source_that_nvrtc_would_refuse_is_refused(code, options, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        xp.RawModule(code=code, options=options).get_function("saxpy")


# ---- cuBLAS ----------------------------------------------------------------------------------------------------------

WORKSPACE = xp.empty(1024, np.uint8)
NUMBERS = {dtype: np.array([1, 0, -0.5], dtype) for dtype in REAL}


def new_handle():
    """A handle of cuBLAS for the current stream."""
    address = ctypes.c_void_p()
    LIBRARY.cublasCreate_v2(ctypes.byref(address))
    LIBRARY.cublasSetStream_v2(address.value, cuda.get_current_stream().ptr)
    LIBRARY.cublasSetWorkspace_v2(address.value, WORKSPACE.data.ptr, WORKSPACE.nbytes)
    return address.value


HANDLE = new_handle()


def number(dtype, i):
    """The address of 1, 0 or −0.5."""
    return NUMBERS[dtype].ctypes.data + i * NUMBERS[dtype].itemsize


def by_columns(*shape, ld, dtype="float32", seed=0):
    """Matrices (…, m, n) and flat memory that holds them by columns, ld elements from one column to the next."""
    memory = normal(*shape[:-2], shape[-1], ld, dtype=dtype, seed=seed)
    return memory[..., : shape[-2]].mT.copy(), xp.asarray(memory)


@DTYPES
@pytest.mark.parametrize("beta", [0, 1, 2])
@pytest.mark.parametrize("transb", [0, 1])
@pytest.mark.parametrize("transa", [0, 1])
def test_gemm_is_numpys_product(transa, transb, beta, dtype):
    m, n, k = 3, 4, 5
    a, A = by_columns(*((k, m) if transa else (m, k)), ld=7, dtype=dtype)
    b, B = by_columns(*((n, k) if transb else (k, n)), ld=6, dtype=dtype, seed=1)
    c, C = by_columns(m, n, ld=5, dtype=dtype, seed=2)
    before = C.get()
    if beta == 1:  # the address of zero: C may hold anything
        C = xp.empty_like(C)
    product = (a.T if transa else a) @ (b.T if transb else b)
    gemm = LIBRARY.cublasSgemm_v2 if dtype == "float32" else LIBRARY.cublasDgemm_v2
    with xp.counting() as count:
        gemm(
            HANDLE, transa, transb, m, n, k, number(dtype, 2), A.data.ptr, 7, B.data.ptr, 6,
            number(dtype, beta), C.data.ptr, 5,
        )  # fmt: skip
    assert count.kernels == {"gemm": 1}
    expected = -0.5 * product + (0 if beta == 1 else NUMBERS[dtype][beta] * c)
    np.testing.assert_allclose(C.get()[:, :m].T, expected, atol=20 * np.finfo(dtype).eps)
    between = C.get()[:, m:]
    assert np.isnan(between).all() if beta == 1 else np.array_equal(between, before[:, m:])


@DTYPES
def test_a_batched_gemm_shares_and_strides_through_flat_memory(dtype):
    """Students' products x @ W of row-major arrays: one x for all, weights inside flat parameters."""
    S, rows, D, H, P, first = 3, 4, 5, 2, 17, 6
    flat, x = normal(S, P, dtype=dtype), normal(rows, D, dtype=dtype, seed=1)
    W = flat[:, first : first + D * H].reshape(S, D, H)
    flat_there, x_there, out = xp.asarray(flat), xp.asarray(x), xp.empty((S, rows, H), dtype)
    gemm = LIBRARY.cublasSgemmStridedBatched if dtype == "float32" else LIBRARY.cublasDgemmStridedBatched
    gemm(
        HANDLE, 0, 0, H, rows, D, number(dtype, 0), flat_there[:, first:].data.ptr, H, P, x_there.data.ptr, D, 0,
        number(dtype, 1), out.data.ptr, H, rows * H, S,
    )  # fmt: skip
    np.testing.assert_array_equal(out.get(), x @ W)


def test_tf32_rounds_operands_to_ten_bits_ties_to_even_and_nothing_in_float64():
    eps, most = 2.0**-10, float(np.finfo(np.float32).max)
    a = np.array([1 + eps, 1 + eps / 2, 1 + 3 * eps / 2, -1 - eps / 2 - 2.0**-23, np.inf, most])
    exact, rounded = a.astype(np.float32), np.array([1 + eps, 1, 1 + 2 * eps, -1 - eps, np.inf, np.inf], np.float32)
    for mode, dtype, expected in ((0, "float32", exact), (3, "float32", rounded), (3, "float64", a)):
        A, B, C = xp.asarray(a.astype(dtype)), xp.asarray(np.ones(1, dtype)), xp.empty(6, dtype)
        gemm = LIBRARY.cublasSgemm_v2 if dtype == "float32" else LIBRARY.cublasDgemm_v2
        handle = new_handle()
        LIBRARY.cublasSetMathMode(handle, mode)
        gemm(handle, 0, 0, 6, 1, 1, number(dtype, 0), A.data.ptr, 6, B.data.ptr, 1, number(dtype, 1), C.data.ptr, 6)
        np.testing.assert_array_equal(C.get(), expected)


def gemm_of_ones(**changes):
    """A sound product of a 2 × 3 and a 3 × 2 matrix, but for the changes."""
    A, B, C, one = put(6), put(6), put(4), number("float32", 0)
    call = {
        "handle": HANDLE, "transa": 0, "transb": 0, "m": 2, "n": 2, "k": 3, "alpha": one, "A": A.data.ptr, "lda": 2,
        "B": B.data.ptr, "ldb": 3, "beta": one, "C": C.data.ptr, "ldc": 2,
    }  # fmt: skip
    changes = {name: call[change] if isinstance(change, str) else change for name, change in changes.items()}
    LIBRARY.cublasSgemm_v2(*{**call, **changes}.values())
    return C.get()


GEMMS_REFUSED = {
    "another handle": ({"handle": 0}, "no handle of cuBLAS"),
    "a negative size": ({"m": -1}, "m must be an int ≥ 0, got -1"),
    "an unknown operation": ({"transa": 3}, "transa must be 0"),
    "a short leading dimension of A": ({"lda": 1}, "lda must be at least 2"),
    "a short leading dimension of transposed A": ({"transa": 1}, "lda must be at least 3"),
    "a short leading dimension of B": ({"ldb": 2}, "ldb must be at least 3"),
    "a short leading dimension of C": ({"ldc": 1}, "ldc must be at least 2"),
    "A beyond its array": ({"lda": 3}, "A of shape (1, 3, 2), steps (0, 3, 1), lies in no live array"),
    "a null pointer": ({"B": 0}, "B of shape (1, 2, 3), steps (0, 3, 1), lies in no live array"),
    "C beyond its array": ({"ldc": 3}, "C of shape (1, 2, 2), steps (0, 3, 1), lies in no live array"),
    "C over A": ({"C": "A"}, "C overlaps A or B"),
    "no alpha": ({"alpha": 0}, "got a null pointer"),
}


@pytest.mark.parametrize("name", GEMMS_REFUSED)
def test_a_gemm_that_cublas_refuses_or_that_leaves_its_arrays_is_refused(name):
    np.testing.assert_array_equal(gemm_of_ones(), 4)
    changes, said = GEMMS_REFUSED[name]
    with xp.counting() as count, pytest.raises(ValueError, match=re.escape(said)):
        gemm_of_ones(**changes)
    assert count.launches == 0


def test_the_address_of_an_array_that_is_gone_is_refused():
    with pytest.raises(ValueError, match=r"A of shape .* lies in no live array"):
        gemm_of_ones(A=put(1000, 1000).data.ptr)


def test_a_handle_that_lost_its_workspace_to_a_new_stream_is_refused():
    handle, stream = new_handle(), cuda.Stream(non_blocking=True)
    stream.wait_event(cuda.get_current_stream().record())
    with pytest.raises(ValueError, match="the handle must have the current stream"), stream:
        gemm_of_ones(handle=handle)
    cuda.get_current_stream().wait_event(stream.record())
    LIBRARY.cublasSetStream_v2(handle, cuda.get_current_stream().ptr)
    with pytest.raises(ValueError, match="and, set after it, a workspace"):
        gemm_of_ones(handle=handle)


def test_work_on_a_stream_waits_for_that_on_others_by_an_event():
    x, stream = put(4), cuda.Stream(non_blocking=True)
    with pytest.raises(RuntimeError, match="this stream has not waited for what was launched on another one"), stream:
        x + x
    stream.wait_event(cuda.get_current_stream().record())
    with stream:
        x + x
    with pytest.raises(RuntimeError, match="this stream has not waited for what was launched on another one"):
        x.get()
    with stream:
        x.get()  # the host has waited, so whatever it launches now comes later
    x + x


def test_cupys_own_handle_knows_two_math_modes():
    handle = cuda.get_cublas_handle()
    for mode in (3, cuda.cublas.CUBLAS_DEFAULT_MATH):
        cuda.cublas.setMathMode(handle, mode)
        assert cuda.cublas.getMathMode(handle) == mode
    with pytest.raises(ValueError, match="the math mode must be"):
        cuda.cublas.setMathMode(handle, 1)


def test_synchronising_is_a_wait():
    with xp.counting() as count:
        cuda.Device().synchronize()
        cuda.runtime.deviceSynchronize()
    assert (count.waits, count.launches) == (2, 0)


def test_an_array_tells_how_it_lies():
    x = xp.asarray(np.zeros((2, 3, 4)))
    assert (x.strides, x.itemsize, x.nbytes, x.flags.c_contiguous, x.mT.flags.c_contiguous) == (
        (96, 32, 8), 8, 192, True, False,
    )  # fmt: skip
    assert x[1:, 2:, ...].data.ptr - x.data.ptr == 96 + 2 * 32
