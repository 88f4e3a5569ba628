"""Places for arrays: the CPU, and a GPU once it is known to work.

Whoever owns data (the training loop, a notebook) picks a `Device` once and moves arrays with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minikd.core.array import Array, Namespace, get_xp
from minikd.engines.gpu import probe_gpu


@dataclass(frozen=True)
class Device:
    """A place for arrays: its namespace and the two ways across.

    name: what the user calls it, "cpu" or "gpu".
    xp:   the namespace there.
    put:  host NumPy array → array there. get: array there → host NumPy array, waiting until it is computed.
    host: whether values can be read without waiting.
    fused: whether training takes the way of `minikd.engines.cuda` there.
    """

    name: str
    xp: Namespace
    put: Callable[[np.ndarray], Array]
    get: Callable[[Array], np.ndarray]
    host: bool = False
    fused: bool = False


CPU = Device("cpu", np, put=np.asarray, get=np.asarray, host=True)


MATH_MODES = {False: 0, True: 3}
"""cuBLAS's, without and with TF32: CUBLAS_DEFAULT_MATH and CUBLAS_TF32_TENSOR_OP_MATH, for which CuPy has no name."""


def get_device(name: str, *, tf32: bool | None = None) -> Device:
    """The device called "cpu" or "gpu"; the GPU is probed first.

    Training on the GPU goes through the fused kernels of `minikd.engines.cuda`, or with MINIKD_FUSED=0 in the
    environment through the readable functions alone.

    tf32: whether cuBLAS may multiply float32 matrices on tensor cores (compute capability 8.0 on), for the whole
        process; None leaves that as it is, which is off at first. It reads each factor with 10 bits of its mantissa
        instead of 23, so a product of two carries a relative error of up to 2⁻¹⁰, 8,000 times that of float32. Sums
        stay float32; so do costs, norms and the update.

    Raises: ValueError for another name, or TF32 without a GPU; DeviceError where there is no usable GPU.

    >>> get_device("cpu").xp.__name__
    'numpy'
    """
    if name == "cpu":
        if tf32:
            raise ValueError("TF32 is a number format of GPUs: leave tf32 out, or take the device 'gpu'")
        return CPU
    if name == "gpu":
        cupy = probe_gpu()
        cublas, handle = cupy.cuda.cublas, cupy.cuda.get_cublas_handle()
        if tf32 is not None:
            cublas.setMathMode(handle, MATH_MODES[tf32])
        fused = os.environ.get("MINIKD_FUSED", "1") != "0"
        # Runs with TF32 and without it have names of their own, so that one does not pass for the other.
        name = "gpu, TF32" if cublas.getMathMode(handle) == MATH_MODES[True] else "gpu"
        return Device(name, cupy, put=cupy.asarray, get=cupy.asnumpy, fused=fused)
    raise ValueError(f"the device must be 'cpu' or 'gpu', got {name!r}")


def to_device(array: Array, device: str | Device) -> Array:
    """The array on the device ("cpu", "gpu" or a `Device`), copied only where it must be."""
    target = get_device(device) if isinstance(device, str) else device
    return array if get_xp(array=array) is target.xp else target.put(to_host(array))


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array; for one on the GPU this waits until it is computed."""
    return np.asarray(array.get() if hasattr(array, "get") else array)
