"""NumPy or CuPy: the namespace comes from the arrays.

The core never asks where it runs: `get_xp(z=z, v=v)` answers from the arrays, after checking that they belong together.
Whoever owns data (the training loop, a notebook) picks a `Device` once and moves arrays with it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from minikd.gpu import DeviceError as DeviceError
from minikd.gpu import gpu_errors as gpu_errors
from minikd.gpu import probe_gpu

Array: TypeAlias = Any
"""An array of NumPy, of CuPy, or of another namespace that keeps to the array API standard."""

Namespace: TypeAlias = Any
"""The module whose functions act on an `Array`: numpy, cupy, …"""


# ---- arrays ----------------------------------------------------------------------------------------------------------


def get_xp(**arrays: Array) -> Namespace:
    """The namespace that all the arrays share, once they are known to live in one place.

    Args: the arrays by name, as the caller's own arguments are called; the names go into the error.
    Raises: TypeError for what is no array, ValueError for arrays on different devices.

    >>> get_xp(z=np.zeros(3)).__name__
    'numpy'
    """
    for array in arrays.values():
        if type(array) is not np.ndarray:
            break
    else:
        return np  # the usual case on a CPU, asked some twenty times a step: a tenth of a small network's step

    first = xp = None
    for name, array in arrays.items():
        its_xp = _namespace(array)
        if its_xp is None:
            raise TypeError(
                f"{name} must be a NumPy or CuPy array, got {type(array).__name__}: convert it with numpy.asarray"
            )
        if first is None:
            first, xp, device = name, its_xp, array.device
        elif its_xp is not xp or array.device != device:
            raise ValueError(
                f"{first} is on {_place(xp, device)} but {name} is on {_place(its_xp, array.device)}: "
                "move both with minikd.backend.to_device"
            )
    return xp


def _namespace(array: Any) -> Namespace | None:
    """The namespace that an array names; CuPy's name none, so there it is the package that defines their type."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__() if hasattr(array, "device") else None
    package = sys.modules.get(type(array).__module__.partition(".")[0])
    return package if isinstance(array, getattr(package, "ndarray", ())) else None


def get_float_xp(**arrays: Array) -> Namespace:
    """As `get_xp`, for arrays that must all be float32 or all float64.

    Raises: TypeError for another dtype, and for two dtypes at once: nothing is promoted silently.
    """
    xp = get_xp(**arrays)
    first, dtype = None, None
    for name, array in arrays.items():
        if array.dtype is dtype:
            continue
        if array.dtype not in (xp.float32, xp.float64):
            raise TypeError(f"{name} must be float32 or float64, got {array.dtype}: convert it with astype")
        if first is None:
            first, dtype = name, array.dtype
        elif array.dtype != dtype:
            raise TypeError(f"{first} is {dtype} but {name} is {array.dtype}: convert one of them with astype")
    return xp


def _place(xp: Namespace, device: Any) -> str:
    if xp is np:
        return "the CPU"
    return "the GPU" if xp.__name__ == "cupy" else f"{xp.__name__}'s {device}"


def multiply(a: Array, b: Array, out: Array | None = None) -> Array:
    """The matrix product a @ b, written straight into `out` where the namespace can.

    NumPy and CuPy take `out=`, which saves a fresh array and a pass over memory for each gradient. The array API
    standard knows no `out=`: there the product is copied in, to the same bits.

    Args: a (..., I, J), b (..., J, K), out None or (..., I, K), overwritten.
    """
    if out is None:
        return a @ b
    xp = get_xp(a=a, b=b, out=out)
    if hasattr(xp, "ndarray"):  # NumPy and CuPy, not the bare standard
        return xp.matmul(a, b, out=out)
    out[...] = a @ b
    return out


# ---- devices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """A place for arrays: its namespace and the two ways across.

    name: what the user calls it, "cpu" or "gpu".
    xp:   the namespace there.
    put:  host NumPy array → array there. get: array there → host NumPy array, waiting until it is computed.
    host: whether values can be read without waiting.
    fused: whether training takes the way of `minikd.kernels` there.
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

    Training on the GPU goes through the fused kernels of `minikd.kernels`, or with MINIKD_FUSED=0 in the environment
    through the readable functions alone.

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


def on_host(array: Array) -> bool:
    """Whether the array's values can be read without waiting for a device, by what it says of its memory (DLPack)."""
    if type(array) is np.ndarray:
        return True
    return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] == 1  # kDLCPU


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array; for one on the GPU this waits until it is computed."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


if __name__ == "__main__":
    from minikd import cli, selftest

    cli.start(selftest.main)
