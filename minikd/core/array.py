"""The arrays of the core, and the one dialect that NumPy and CuPy share.

The core never asks where it runs: `get_xp(z=z, v=v)` takes the namespace from the arrays, and checks that they belong
together. `Array` and `Namespace` list all that the core uses, so a type checker finds whatever is outside the dialect.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, Protocol, TypeVar, cast

import numpy as np

A = TypeVar("A", bound="Array")
"""One kind of array: a function that gets NumPy arrays returns NumPy arrays."""


class Array(Protocol):
    """An array of NumPy, of CuPy, or of another namespace that follows the array API standard."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def mT(self: A) -> A: ...

    def __getitem__(self: A, index: Any, /) -> A: ...
    def __setitem__(self, index: Any, value: Any, /) -> None: ...
    def __neg__(self: A) -> A: ...
    def __add__(self: A, other: Any, /) -> A: ...
    def __radd__(self: A, other: Any, /) -> A: ...
    def __sub__(self: A, other: Any, /) -> A: ...
    def __rsub__(self: A, other: Any, /) -> A: ...
    def __mul__(self: A, other: Any, /) -> A: ...
    def __rmul__(self: A, other: Any, /) -> A: ...
    def __truediv__(self: A, other: Any, /) -> A: ...
    def __rtruediv__(self: A, other: Any, /) -> A: ...
    def __matmul__(self: A, other: Any, /) -> A: ...
    def __pow__(self: A, other: Any, /) -> A: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


class Namespace(Protocol):
    """The module whose functions act on an `Array`: numpy, cupy, or another one of the standard."""

    float32: Any
    float64: Any
    uint8: Any
    int64: Any
    uint32: Any

    def isdtype(self, dtype: Any, kind: str) -> bool: ...
    def astype(self, x: A, dtype: Any) -> A: ...
    def zeros_like(self, x: A) -> A: ...
    def ones_like(self, x: A, *, dtype: Any = None) -> A: ...
    def arange(self, stop: int, *, dtype: Any) -> Any: ...
    def reshape(self, x: A, shape: tuple[int, ...]) -> A: ...
    def expand_dims(self, x: A, *, axis: int) -> A: ...
    def concat(self, arrays: Sequence[A], *, axis: int) -> A: ...
    def take(self, x: A, indices: Array, *, axis: int) -> A: ...
    def matmul(self, x: A, y: Array) -> A: ...
    def multiply(self, x: A, y: Array) -> A: ...
    def exp(self, x: A) -> A: ...
    def log(self, x: A) -> A: ...
    def sqrt(self, x: A) -> A: ...
    def abs(self, x: A) -> A: ...
    def isfinite(self, x: A) -> A: ...
    def maximum(self, x: A, y: Any) -> A: ...
    def where(self, condition: A, x: Any, y: Any) -> A: ...
    def all(self, x: A) -> A: ...
    def max(self, x: A, *, axis: Any = None, keepdims: bool = False) -> A: ...
    def min(self, x: A, *, axis: Any = None, keepdims: bool = False) -> A: ...
    def sum(self, x: A, *, axis: Any = None, keepdims: bool = False) -> A: ...
    def cumulative_sum(self, x: A, *, axis: int) -> A: ...
    def argmax(self, x: A, *, axis: int) -> A: ...
    def count_nonzero(self, x: A, *, axis: int) -> A: ...


def _direct_numpy() -> Namespace:
    """Return NumPy, with some functions replaced by the compiled ones that they call, for the same bits.

    These functions of NumPy are written in Python, and take up to 3 µs to call the compiled ones. A training step calls
    them about twenty times.
    """
    direct = ModuleType("numpy", "NumPy, called directly.")
    vars(direct).update(vars(np))
    vars(direct).update(
        max=partial(np.maximum.reduce, axis=None),
        sum=partial(np.add.reduce, axis=None),
        astype=np.ndarray.astype,
        reshape=np.ndarray.reshape,
        take=np.ndarray.take,
    )
    return cast(Namespace, direct)


NUMPY = _direct_numpy()
"""The namespace of NumPy's arrays."""


def get_xp(**arrays: Array) -> Namespace:
    """Return the namespace that all the arrays share, after checking that they live in one place.

    Args:
        arrays: the arrays by name, as the caller's own arguments are called. The names go into the error.

    Raises:
        TypeError: if something is not an array.
        ValueError: if the arrays are on different devices.

    >>> get_xp(z=np.zeros(3)).__name__
    'numpy'
    """
    for array in arrays.values():
        if type(array) is not np.ndarray:
            break
    else:
        return NUMPY  # the usual case on a CPU, asked about twenty times per step

    first = xp = None
    for name, array in arrays.items():
        its_xp = _namespace(array)
        if its_xp is None:
            raise TypeError(
                f"{name} must be a NumPy or CuPy array, got {type(array).__name__}: convert it with numpy.asarray"
            )
        device = _device(array)
        if first is None:
            first, xp, home = name, its_xp, device
        elif its_xp is not xp or device != home:
            raise ValueError(
                f"{first} is on {_place(xp, home)} but {name} is on {_place(its_xp, device)}: "
                "move both with minikd.engines.device.to_device"
            )
    return cast(Namespace, xp)


def get_float_xp(**arrays: Array) -> Namespace:
    """Return the namespace of arrays that must all be float32 or all float64.

    Args:
        arrays: as `get_xp` takes them.

    Raises:
        TypeError: if there is another dtype, or if both occur, because nothing is promoted silently. Also if something
            is not an array.
        ValueError: if the arrays are on different devices.
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


def _namespace(array: Any) -> Any:
    """Return the namespace that an array names. CuPy's arrays name none, so theirs is the package of their type."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__() if hasattr(array, "device") else None
    package = sys.modules.get(type(array).__module__.partition(".")[0])
    return package if isinstance(array, getattr(package, "ndarray", ())) else None


def _device(array: Any) -> Any:
    return array.device


def _place(xp: Any, device: Any) -> str:
    if xp is np:
        return "the CPU"
    return "the GPU" if xp.__name__ == "cupy" else f"{xp.__name__}'s {device}"


def on_host(array: Any) -> bool:
    """Return whether the array says that its values can be read without waiting for a device."""
    if type(array) is np.ndarray:
        return True
    return hasattr(array, "__dlpack_device__") and array.__dlpack_device__()[0] == 1  # kDLCPU


def write_into(out: A | None, function: Callable[..., A], *operands: Any, **options: Any) -> A:
    """Return function(*operands, **options), written straight into `out` where the namespace can.

    NumPy and CuPy take `out=`, which saves a fresh array and a pass over memory. The array API standard has no `out=`,
    so with other namespaces the result is copied in, with the same bits.

    Args:
        out: an array of the result's shape and dtype, overwritten; or None, for a fresh one.
        function: a function of the namespace, such as `xp.matmul`.
        operands: its arguments by position.
        options: its arguments by name.

    >>> total = np.zeros(2)
    >>> write_into(total, np.sum, np.ones((3, 2)), axis=0) is total
    True
    """
    if out is None:
        return function(*operands, **options)
    if _is_numpy_or_cupy(out):
        return function(*operands, **options, out=out)
    out[...] = function(*operands, **options)
    return out


def one_hot(y: Array, z: A) -> A:
    """Return an array of z's shape, dtype and device: 1 where the class is the label, else 0.

    Args:
        y: (..., B) integer labels.
        z: (..., B, K).

    >>> one_hot(np.array([2, 0]), np.zeros((2, 3)))
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    is_label: Any = class_numbers(z, y.dtype) == y[..., None, :]  # (..., K, B)
    column: A = get_xp(z=z).astype(is_label, z.dtype)  # (..., K, B)
    return column.mT


def class_numbers(z: Array, dtype: Any) -> Any:
    """Return the class numbers 0 … K − 1 on z's device, as a column.

    The array API standard makes numbers on another device only with `device=`, which CuPy does not have. So where only
    the standard can be used, the numbers come from z, by a cumulative sum of ones.

    Args:
        z: (..., B, K).
        dtype: the labels' integer dtype, which may be too narrow for K.

    Returns:
        (..., K, 1) or (K, 1), integers that compare with labels of the dtype.
    """
    xp = get_xp(z=z)
    if _is_numpy_or_cupy(z):
        return xp.arange(z.shape[-1], dtype=xp.int64)[:, None]
    return xp.cumulative_sum(xp.ones_like(z[..., :1, :].mT, dtype=dtype), axis=-2) - 1


def _is_numpy_or_cupy(array: Array) -> bool:
    """Return whether its namespace has more than the bare standard: `out=`, and arrays on the current device."""
    return type(array) is np.ndarray or hasattr(get_xp(array=array), "ndarray")
