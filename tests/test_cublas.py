"""cuBLAS by ctypes, on a library in C++ that has cuBLAS's signatures, and one handle per stream and thread."""

import dataclasses
import subprocess
import sys
import threading
from types import ModuleType, SimpleNamespace

import host_cuda
import numpy as np
import pytest
import strict_cuda
import strict_cupy as xp

from minikd.engines import cublas, cuda
from minikd.engines.gpu import DeviceError

# What the CUDA toolkit's cublas_api.h declares, with products as loops. Its memory is the host's, as the stand-in's is.
LIBRARY = r"""
#include <stddef.h>
struct Handle { void* stream; void* workspace; size_t size; int mode; };
extern "C" {
int cublasCreate_v2(Handle** handle) { *handle = new Handle(); return 0; }
int cublasSetStream_v2(Handle* handle, void* stream) { handle->stream = stream; handle->workspace = 0; return 0; }
int cublasSetWorkspace_v2(Handle* handle, void* workspace, size_t size)
{
    handle->workspace = workspace; handle->size = size; return 0;
}
int cublasSetMathMode(Handle* handle, int mode) { handle->mode = mode; return mode == 0 || mode == 3 ? 0 : 7; }
#define GEMM(letter, real) \
int cublas##letter##gemmStridedBatched(Handle* handle, int transa, int transb, int m, int n, int k, const real* alpha, \
    const real* A, int lda, long long stepA, const real* B, int ldb, long long stepB, const real* beta, \
    real* C, int ldc, long long stepC, int count) \
{ \
    if (!handle->workspace || handle->size < (32 << 20)) return 1; \
    for (long long s = 0; s < count; s++) for (int i = 0; i < m; i++) for (int j = 0; j < n; j++) { \
        real sum = 0; \
        for (int l = 0; l < k; l++) \
            sum += A[s * stepA + (transa ? i * lda + l : l * lda + i)] \
                * B[s * stepB + (transb ? l * ldb + j : j * ldb + l)]; \
        real* c = C + s * stepC + j * ldc + i; \
        *c = *beta ? *alpha * sum + *beta * *c : *alpha * sum; \
    } \
    return 0; \
} \
int cublas##letter##gemm_v2(Handle* handle, int transa, int transb, int m, int n, int k, const real* alpha, \
    const real* A, int lda, const real* B, int ldb, const real* beta, real* C, int ldc) \
{ \
    if (m == 13) return 13; \
    return cublas##letter##gemmStridedBatched( \
        handle, transa, transb, m, n, k, alpha, A, lda, 0, B, ldb, 0, beta, C, ldc, 0, 1); \
}
GEMM(S, float)
GEMM(D, double)
}
"""


@pytest.fixture
def found(tmp_path, monkeypatch):
    """A library that CuPy's finder finds; afterwards the stand-in has its own again."""
    if host_cuda.compiler() is None:
        pytest.skip("no C++ compiler for the library")
    (tmp_path / "cublas.cpp").write_text(LIBRARY)
    path, asked = tmp_path / "libcublas.so", []
    subprocess.run([host_cuda.compiler(), "-shared", "-fPIC", "-o", path, tmp_path / "cublas.cpp"], check=True)
    package, finder = ModuleType("cuda"), ModuleType("cuda.pathfinder")
    finder.load_nvidia_dynamic_lib = lambda name: asked.append(name) or SimpleNamespace(abs_path=str(path))
    package.pathfinder = finder
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", finder)
    monkeypatch.delitem(cublas.libraries, xp)
    fresh(monkeypatch)
    yield asked
    assert asked == ["cublas"]  # loaded once


def fresh(monkeypatch):
    """No handle is there yet."""
    monkeypatch.setattr(cublas, "_thread", cublas._Thread())
    monkeypatch.setattr(cublas, "_spare", type(cublas._spare)(list))


@pytest.mark.parametrize(
    ("symbols", "said"), [("", "undefined symbol: cublasCreate_v2"), (None, "cannot open shared object file")]
)
def test_a_library_that_is_not_cublas_is_told_in_one_line(tmp_path, monkeypatch, symbols, said):
    if host_cuda.compiler() is None:
        pytest.skip("no C++ compiler for the library")
    path = tmp_path / "libcublas.so"
    if symbols is not None:
        (tmp_path / "empty.cpp").write_text(symbols)
        subprocess.run([host_cuda.compiler(), "-shared", "-fPIC", "-o", path, tmp_path / "empty.cpp"], check=True)
    package = ModuleType("cuda")
    package.pathfinder = SimpleNamespace(load_nvidia_dynamic_lib=lambda name: SimpleNamespace(abs_path=str(path)))
    monkeypatch.setitem(sys.modules, "cuda", package)
    monkeypatch.delitem(cublas.libraries, xp)
    with pytest.raises(DeviceError, match=rf"^the GPU failed: cuBLAS cannot be loaded \(.*{said}.*\); install CuPy"):
        cublas.Handle(xp)


@pytest.mark.parametrize(
    ("b", "out"),
    [
        (np.zeros((3, 2)), None),
        (np.zeros((3, 2), np.float32), np.zeros((4, 2))),
        (np.zeros((3, 2), np.float32), np.zeros((4, 3), np.float32)),
    ],
    ids=["factor", "result", "shape"],
)
def test_a_product_of_other_types_or_into_another_shape_is_refused(b, out):
    a = xp.asarray(np.zeros((4, 3), np.float32))
    with pytest.raises(TypeError, match=r"^a product of float32 needs float32 factors, and a result of shape \(4, 2\)"):
        cuda.product(a, xp.asarray(b), None if out is None else xp.asarray(out))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("leading", [(), (3,)], ids=["one student", "a population"])
@pytest.mark.parametrize("transposed", [False, True])
def test_cublas_receives_the_arguments_of_a_product(transposed, leading, dtype, found):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((*leading, *shape)).astype(dtype) for shape in ((4, 5), (5, 6)))
    got = cuda.product(xp.asarray(np.ascontiguousarray(a.mT)).mT if transposed else xp.asarray(a), xp.asarray(b))
    np.testing.assert_allclose(got.get(), a @ b, rtol=1e-5)


def test_a_status_becomes_cupys_own_error(found):
    a, b = (xp.asarray(np.ones(shape, np.float32)) for shape in ((2, 3), (3, 13)))
    with pytest.raises(xp.CUBLASError) as failed:
        cuda.product(a, b)
    assert failed.value.status == 13


# ---- handles ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def none_yet(monkeypatch):
    fresh(monkeypatch)


def test_there_is_one_handle_per_stream_and_thread(none_yet):
    here, elsewhere = cublas.handle(xp), []
    assert cublas.handle(xp) is here
    with strict_cuda.Stream(non_blocking=True):
        there = cublas.handle(xp)
        assert cublas.handle(xp) is there
    thread = threading.Thread(target=lambda: elsewhere.append(cublas.handle(xp)))
    thread.start()
    thread.join()
    assert len({id(one) for one in (here, there, *elsewhere)}) == 3
    assert len({one._address for one in (here, there, *elsewhere)}) == 3
    assert len({one._workspace.data.ptr for one in (here, there, *elsewhere)}) == 3


def test_a_handle_is_used_again_when_its_stream_is_gone(none_yet):
    addresses = []
    for _ in range(3):
        with strict_cuda.Stream(non_blocking=True):
            addresses.append(cublas.handle(xp)._address)
    assert len(set(addresses)) == 1


def test_a_handle_follows_the_math_mode(none_yet):
    handle = cublas.handle(xp)
    a = xp.asarray(np.full((1, 1), 1 + 2.0**-12, np.float32))
    try:
        for allowed, expected in ((True, 1.0), (False, 1 + 2.0**-11 + 2.0**-24), (True, 1.0)):
            assert cublas.allow_tf32(xp, allowed) is allowed
            assert cublas.allow_tf32(xp, None) is allowed
            assert cuda.product(a, a).get()[0, 0] == np.float32(expected)
            assert xp.cuda.cublas.getMathMode(xp.cuda.get_cublas_handle()) == (cublas.TF32 if allowed else 0)
        assert cublas.handle(xp) is handle
    finally:
        cublas.allow_tf32(xp, False)


def test_a_captured_product_needs_no_cupy(none_yet):
    stream = strict_cuda.Stream(non_blocking=True)
    stream.wait_event(strict_cuda.get_current_stream().record())
    a = dataclasses.replace(xp.device(), engine=cuda).put(np.eye(3, dtype=np.float32))
    stream.wait_event(strict_cuda.get_current_stream().record())
    with stream:
        cublas.handle(xp)
        stream.begin_capture()
        with pytest.raises(NotImplementedError, match="calling cuBLAS API during stream capture is unsupported"):
            a @ a
        with pytest.raises(strict_cuda.CUDARuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
        out = xp.empty((3, 3), np.float32)
        stream.begin_capture()
        cuda.product(a, a, out)
        graph = stream.end_capture()
        assert np.isnan(out.get()).all()
        graph.launch()
        np.testing.assert_array_equal(out.get(), np.eye(3))
