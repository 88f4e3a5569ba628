"""NumPy or CuPy: the namespace comes from the arrays, and this is the only file that imports CuPy.

The core never asks where it runs: `get_xp(z=z, v=v)` answers from the arrays, after checking that they belong together.
Whoever owns data (the training loop, a notebook) picks a `Device` once and moves arrays with it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of NumPy, of CuPy, or of another namespace that keeps to the array API standard."""

Namespace: TypeAlias = Any
"""The module whose functions act on an `Array`: numpy, cupy, …"""


class DeviceError(RuntimeError):
    """No usable GPU: the message says in one line what is missing and the command that mends it."""


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
        name = (
            "gpu, TF32" if cublas.getMathMode(handle) == MATH_MODES[True] else "gpu"
        )  # runs of one do not pass for runs of the other
        return Device(name, cupy, put=cupy.asarray, get=cupy.asnumpy, fused=fused)
    raise ValueError(f"the device must be 'cpu' or 'gpu', got {name!r}")


def to_device(array: Array, device: str | Device) -> Array:
    """The array on the device ("cpu", "gpu" or a `Device`), copied only where it must be."""
    target = get_device(device) if isinstance(device, str) else device
    return array if get_xp(array=array) is target.xp else target.put(to_host(array))


def to_host(array: Array) -> np.ndarray:
    """The array as a NumPy array; for one on the GPU this waits until it is computed."""
    return np.asarray(array.get() if hasattr(array, "get") else array)


# ---- the GPU, probed -------------------------------------------------------------------------------------------------


def probe_gpu() -> ModuleType:
    """CuPy, once an import, the driver, a device and a small product have all been seen to work.

    An importable CuPy does not mean a GPU, and a GPU that is found may still lack cuBLAS; each step has a message of
    its own, one line that ends with the command that mends it.

    Raises: DeviceError.
    """
    try:
        import cupy
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise DeviceError(f"no GPU: CuPy is not installed; install it: {_install(_driver_version())}") from None
        raise DeviceError(
            f"no GPU: CuPy is installed but cannot be imported ({_one_line(error)}); "
            f"reinstall it, one wheel only: {_install(_driver_version(), '--force-reinstall ')}"
        ) from None

    try:
        driver = int(cupy.cuda.runtime.driverGetVersion())
    except Exception:
        driver = 0
    if driver == 0:
        raise DeviceError(
            "no GPU: the NVIDIA driver is missing or not loaded; install it (Debian, Ubuntu: "
            "sudo apt install nvidia-driver) and see that nvidia-smi lists the card"
        )

    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(
            f"no GPU: the driver (CUDA {_dotted(driver)}) does not serve this CuPy ({_one_line(error)}); "
            f"install the wheel for it: {_install(driver, '--force-reinstall ')}"
        ) from None
    if count == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        mend = "unset CUDA_VISIBLE_DEVICES" if hidden is not None else "nvidia-smi -L must list a card"
        raise DeviceError(f"no GPU: the driver works but shows no device; {mend}")

    try:
        ones = cupy.asarray(np.ones((8, 8), np.float32))
        works = float(cupy.sum(_small_product(ones))) == 512.0
        reason = "it gave a wrong result"
    except Exception as error:
        works, reason = False, _one_line(error)
    if not works:
        raise DeviceError(
            f"no GPU: a small product failed ({reason}); install CUDA's libraries: "
            f"{_install(driver, '--force-reinstall ')}"
        )
    return cupy  # type: ignore[no-any-return]


def _small_product(ones: Array) -> Array:
    """One kernel compiled at run time (NVRTC) and one product (cuBLAS): what the training loop will need."""
    return (ones * 1.0) @ ones


def _driver_version() -> int:
    """CUDA's version of the driver as 1000·major + 10·minor, asked without CuPy; 0 where there is none."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version = ctypes.c_int(0)
        return version.value if library.cuDriverGetVersion(ctypes.byref(version)) == 0 else 0
    except (OSError, AttributeError):
        return 0


def _install(driver: int, options: str = "") -> str:
    """The command that installs the CuPy wheel for a driver: CUDA 13's from driver 13.0 on, else CUDA 12's."""
    wheel = "cupy-cuda13x" if driver >= 13000 else "cupy-cuda12x"
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f'{python} -m pip install {options}"{wheel}[ctk]>=14"'


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _one_line(error: BaseException) -> str:
    """The first line of an error's message that says something, shortened; CuPy puts the cause under a heading."""
    lines = [line.strip() for line in str(error).rpartition("Original error:")[2].splitlines()]
    text = next((line for line in lines if line.strip("= -*")), type(error).__name__)
    return text if len(text) <= 160 else text[:157] + "…"


if __name__ == "__main__":
    from minikd import selftest

    sys.exit(selftest.main())
