"""NumPy or CuPy: the namespace comes from the arrays.

The core never asks where it runs: `get_xp(z=z, v=v)` answers from the arrays, after checking that they belong together.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of NumPy, of CuPy, or of another namespace that keeps to the array API standard."""

Namespace: TypeAlias = Any
"""The module whose functions act on an `Array`: numpy, cupy, …"""


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
                "move both with minikd.engines.device.to_device"
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


def on_host(array: Array) -> bool:
    """Whether the array's values can be read without waiting for a device, by what it says of its memory (DLPack)."""
    if type(array) is np.ndarray:
        return True
    return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] == 1  # kDLCPU
