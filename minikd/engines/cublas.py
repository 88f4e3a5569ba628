"""cuBLAS by ctypes, with handles of our own: CuPy refuses to call cuBLAS during a capture, although cuBLAS allows it.

A handle serves one stream in one thread, with a workspace that nobody else writes to: a graph keeps using its own.
Single launches go through handles of the same kind, so that cuBLAS chooses alike, and a graph gives the same bits.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import defaultdict
from typing import Any

from minikd.engines.gpu import DeviceError

WORKSPACE = 32 << 20
"""Bytes: cuBLAS's default on compute capability 9.0 and later; on other cards it is 4 MiB, and more does no harm."""
DEFAULT, TF32 = 0, 3
"""Math modes: CUBLAS_DEFAULT_MATH and CUBLAS_TF32_TENSOR_OP_MATH, for which CuPy has no name."""

_mode = DEFAULT

_POINTER, _INT, _STEP = ctypes.c_void_p, ctypes.c_int, ctypes.c_longlong
_SIZES = (_INT,) * 5  # two transposes, then m, n and k
_GEMM = (_POINTER, *_SIZES, _POINTER, *(_POINTER, _INT) * 2, _POINTER, _POINTER, _INT)
_BATCHED = (_POINTER, *_SIZES, _POINTER, *(_POINTER, _INT, _STEP) * 2, _POINTER, _POINTER, _INT, _STEP, _INT)
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasSetMathMode": (_POINTER, _INT),
    "cublasSgemm_v2": _GEMM,
    "cublasDgemm_v2": _GEMM,
    "cublasSgemmStridedBatched": _BATCHED,
    "cublasDgemmStridedBatched": _BATCHED,
}

libraries: dict[Any, Any] = {}
"""cuBLAS for a namespace, loaded when first needed. The stand-in for CuPy in the tests enters its own."""


def _library(xp: Any) -> Any:
    """Return the library that CuPy uses, by the finder that CuPy uses."""
    if xp not in libraries:
        from cuda import pathfinder  # comes with CuPy

        try:
            library = ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublas").abs_path)
            for name, types in _SIGNATURES.items():
                getattr(library, name).argtypes = types
        except (OSError, AttributeError) as error:
            raise DeviceError(f"the GPU failed: cuBLAS cannot be loaded ({error}); install CuPy's extra anew") from None
        libraries[xp] = library
    return libraries[xp]


def allow_tf32(xp: Any, allowed: bool | None) -> bool:
    """Set whether cuBLAS may use TF32, for every handle and for CuPy's, through which the readable engine multiplies.

    Args:
        xp: CuPy.
        allowed: None leaves it as minikd last set it, which is off at first. The handle of CuPy in this thread is set
            to the same.

    Returns:
        Whether it may.
    """
    global _mode
    if allowed is not None:
        _mode = TF32 if allowed else DEFAULT
    cupys = xp.cuda.get_cublas_handle()
    if xp.cuda.cublas.getMathMode(cupys) != _mode:
        xp.cuda.cublas.setMathMode(cupys, _mode)
    return _mode == TF32


class Handle:
    """A handle of cuBLAS for the current stream, with a workspace from the current allocator."""

    def __init__(self, xp: Any) -> None:
        self._xp, self._library, self._mode = xp, _library(xp), -1
        # A handle is used again, never destroyed: that would wait for the device, which no capture survives.
        spare = _spare[xp, xp.cuda.runtime.getDevice()]
        self._address = spare.pop() if spare else self._create()
        weakref.finalize(self, spare.append, self._address)
        self._workspace = xp.empty(WORKSPACE, xp.uint8)
        self.call("cublasSetStream_v2", xp.cuda.get_current_stream().ptr)  # this also takes the workspace away, so:
        self.call("cublasSetWorkspace_v2", self._workspace.data.ptr, WORKSPACE)

    def _create(self) -> int:
        address = ctypes.c_void_p()
        self._check(self._library.cublasCreate_v2(ctypes.byref(address)))
        return address.value or 0

    def gemm(self, name: str, *arguments: Any) -> None:
        """Call one of cuBLAS's products, such as cublasSgemm_v2, in the math mode that is set."""
        if self._mode != _mode:
            self.call("cublasSetMathMode", _mode)
            self._mode = _mode
        self.call(name, *arguments)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of cuBLAS on this handle.

        Raises:
            CUBLASError: CuPy's, if cuBLAS says that it failed.
        """
        self._check(getattr(self._library, name)(self._address, *arguments))

    def _check(self, status: int) -> None:
        if status:
            raise self._xp.cuda.cublas.CUBLASError(status)


_spare: defaultdict[tuple[Any, int], list[int]] = defaultdict(list)


class _Thread(threading.local):
    def __init__(self) -> None:
        """Begin a thread without handles: by device, by stream."""
        self.handles: defaultdict[int, Any] = defaultdict(weakref.WeakKeyDictionary)


_thread = _Thread()


def handle(xp: Any) -> Handle:
    """Return this thread's handle for the current stream. It lives as long as the stream."""
    handles, stream = _thread.handles[xp.cuda.runtime.getDevice()], xp.cuda.get_current_stream()
    if stream not in handles:
        handles[stream] = Handle(xp)
    found: Handle = handles[stream]
    return found
