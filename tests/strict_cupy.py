"""A strict stand-in for CuPy: NumPy underneath, but only what CuPy does and only what minikd's dialect allows.

It is a namespace as CuPy is one: `strict_cupy.ndarray`, `strict_cupy.exp`, … Its arrays know no `__array_namespace__`,
never turn into NumPy arrays by themselves, and reduce to 0-d arrays, never to scalars. What lies outside the dialect is
refused with an error that says what to write. The numbers are NumPy's, so results agree to the bit.

`RawModule` runs CUDA source on the host, through `host_cuda`. Streams, memory pools, graphs and cuBLAS are those of
`strict_cuda`, and so is `counting()`.
"""

from __future__ import annotations

import builtins
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NoReturn

import host_cuda
import numpy as np
import strict_cuda
from strict_cuda import counting, get_default_memory_pool  # noqa: F401
from strict_cuda import launched as _launch
from strict_cuda import waited as _wait

from minikd.engines import cublas
from minikd.engines import device as backend

float32, float64, int64, int32, uint32, uint8, bool_ = (
    np.float32, np.float64, np.int64, np.int32, np.uint32, np.uint8, np.bool_,
)  # fmt: skip
isdtype = np.isdtype


def device() -> backend.Device:
    """The stand-in as a device for minikd's training loop."""
    return backend.Device("strict-cupy", sys.modules[__name__], put=asarray, get=asnumpy)


# ---- the array -------------------------------------------------------------------------------------------------------


class Device:
    """As CuPy's: equal by id, and so not hashable."""

    def __init__(self, id: int = 0) -> None:
        self.id = id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


def _refuse(what: str, instead: str = "see the dialect in the design") -> NoReturn:
    raise AttributeError(f"{what} is not in minikd's dialect: {instead}")


def _binary(name: str) -> Callable[[ndarray, Any], ndarray]:
    operate = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        return _launched(name, operate(*_operands(name, self, other)))

    return method


def _reflected(name: str) -> Callable[[ndarray, Any], ndarray]:
    operate = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        return _launched(name, operate(*reversed(_operands(name, self, other))))

    return method


def _in_place(name: str) -> Callable[[ndarray, Any], ndarray]:
    operate = getattr(operator, name)

    def method(self: ndarray, other: Any) -> ndarray:
        mine, theirs = _operands(name, self, other)
        operate(mine, theirs)  # NumPy refuses a result of another shape or kind
        _launch(name)
        return self

    return method


class ndarray:
    """An array "on the GPU": `_a` is the NumPy array that nobody else may see."""

    __slots__ = ("_a",)
    __array_ufunc__ = None  # so that NumPy leaves its operators to ours, which refuse
    _a: np.ndarray

    def __init__(self, *_: Any) -> None:
        _refuse("ndarray(…)", "make the array on the host and move it with asarray")

    def __getattr__(self, name: str) -> NoReturn:
        if name == "T":  # the property below has refused
            _refuse(".T on more than two axes", "write .mT")
        if not name.startswith("_") and hasattr(sys.modules[__name__], name):
            _refuse(f"the array's .{name}", f"write xp.{name}(x, …)")
        _refuse(f"the array's .{name}")

    shape = property(lambda self: self._a.shape)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    dtype = property(lambda self: self._a.dtype)
    device = property(lambda self: Device())
    mT = property(lambda self: _new(self._a.mT))
    strides = property(lambda self: self._a.strides)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    flags = property(lambda self: SimpleNamespace(c_contiguous=self._a.flags.c_contiguous))

    @property
    def data(self) -> SimpleNamespace:
        """The address of its first element."""
        return SimpleNamespace(ptr=strict_cuda.pointer(self._a))

    @property
    def T(self) -> ndarray:
        if self.ndim > 2:
            raise AttributeError  # goes on to __getattr__
        return _new(self._a.T)

    # What waits for the device.

    def get(self) -> np.ndarray:
        _wait("get")
        return self._a.copy()

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("Implicit conversion to a NumPy array is not allowed: use .get()")

    def _waiting(name: str, call: Callable[[np.ndarray], Any]) -> Any:
        def method(self: ndarray, *arguments: Any) -> Any:
            _wait(name)
            return call(self._a, *arguments)

        return method

    __float__, __int__, __bool__ = _waiting("float", float), _waiting("int", int), _waiting("bool", builtins.bool)
    __repr__, __str__, __format__ = _waiting("repr", repr), _waiting("str", str), _waiting("format", format)
    del _waiting

    def __iter__(self) -> Iterator[ndarray]:
        _wait("iter")
        return (self[i, ...] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._a)

    # Operators.

    __add__, __sub__, __mul__, __truediv__, __pow__ = map(_binary, ("add", "sub", "mul", "truediv", "pow"))
    __and__, __or__, __xor__, __lshift__, __rshift__ = map(_binary, ("and_", "or_", "xor", "lshift", "rshift"))
    __lt__, __le__, __gt__, __ge__ = map(_binary, ("lt", "le", "gt", "ge"))
    __eq__, __ne__ = map(_binary, ("eq", "ne"))
    __radd__, __rsub__, __rmul__, __rtruediv__, __rpow__ = map(_reflected, ("add", "sub", "mul", "truediv", "pow"))
    __rand__, __ror__, __rxor__ = map(_reflected, ("and_", "or_", "xor"))
    __iadd__, __isub__, __imul__, __itruediv__ = map(_in_place, ("iadd", "isub", "imul", "itruediv"))
    __iand__, __ior__, __ixor__ = map(_in_place, ("iand", "ior", "ixor"))
    __ilshift__, __irshift__ = map(_in_place, ("ilshift", "irshift"))

    def __neg__(self) -> ndarray:
        return _launched("neg", -self._a)

    def __invert__(self) -> ndarray:
        return _launched("invert", ~self._a)

    def __matmul__(self, other: ndarray) -> ndarray:
        return matmul(self, other)

    # Indices: whole numbers, slices within bounds, … and None. The result is a view.

    def __getitem__(self, key: Any) -> ndarray:
        return _new(self._a[self._basic(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        target = self._a[self._basic(key)]
        _, value = _operands("copy", self, value)
        _launch("copy")
        target[...] = value

    def _basic(self, key: Any) -> tuple[Any, ...]:
        key = key if isinstance(key, tuple) else (key,)
        for one in key:
            if not (one is None or one is Ellipsis or type(one) in (int, slice)):
                raise IndexError(
                    f"an index of type {type(one).__name__} is not in minikd's dialect: write xp.take, "
                    "xp.take_along_axis or a one-hot mask"
                )
        axes = [one for one in key if one is not None]
        if Ellipsis in axes:
            at = axes.index(Ellipsis)
            axes[at : at + 1] = [slice(None)] * (self.ndim - len(axes) + 1)
        for one, size in zip(axes, self.shape, strict=False):
            if isinstance(one, slice):
                for end in (one.start, one.stop):
                    if end is not None and not -size <= end <= size:
                        raise IndexError(f"the slice {one} is longer than its axis, {size}: keep it within bounds")
        return (*key, ...) if Ellipsis not in key else key  # so that a number comes as a 0-d array


def _new(a: np.ndarray) -> ndarray:
    array = object.__new__(ndarray)
    array._a = a
    return array


def _launched(name: str, result: Any) -> ndarray:
    """The result of one kernel; where NumPy gives a scalar, CuPy gives a 0-d array."""
    _launch(name)
    return _new(np.asarray(result))


def _written(name: str, result: Any, out: ndarray | None) -> ndarray:
    """The result of one kernel, in `out` if there is one, which has the result's shape and dtype."""
    if out is None:
        return _launched(name, result)
    target = _array(out, name)
    if (target.shape, target.dtype) != (result.shape, result.dtype):
        raise TypeError(f"{name} of {result.dtype} {result.shape} into out of {target.dtype} {target.shape}")
    _launch(name)
    target[...] = result
    return out


def _array(x: Any, what: str) -> np.ndarray:
    if not isinstance(x, ndarray):
        raise TypeError(f"{what}: Unsupported type {type(x)}, strict_cupy.ndarray only")
    return x._a


def _operands(name: str, x: ndarray, y: Any) -> tuple[np.ndarray, Any]:
    """NumPy's view of an array and its partner, an array or a Python number, once the two may meet in one kernel."""
    a = x._a
    is_float = a.dtype.kind == "f"
    if isinstance(y, ndarray):
        b = y._a
        if a.dtype != b.dtype and (is_float or a.dtype.kind not in "iu" or b.dtype.kind not in "iu"):
            raise TypeError(f"{name} of {a.dtype} and {b.dtype}: nothing is promoted silently, write xp.astype")
        return a, b
    if type(y) not in (int, float):  # NumPy's scalars and arrays are turned away, np.float64 too, which is a float
        raise TypeError(f"{name}: Unsupported type {type(y)}: write a Python number, or an array on the device")
    if a.dtype.kind == "b" or (type(y) is float and not is_float):
        raise TypeError(f"{name} of {a.dtype} and the number {y!r}: nothing is promoted silently, write xp.astype")
    if not is_float and not np.iinfo(a.dtype).min <= y <= np.iinfo(a.dtype).max:
        raise OverflowError(f"Python integer {y} out of bounds for {a.dtype}")
    return a, y


def __getattr__(name: str) -> NoReturn:
    _refuse(f"strict_cupy.{name}")


# ---- functions -------------------------------------------------------------------------------------------------------


def asarray(host: np.ndarray) -> ndarray:
    """An array of the host's, uploaded."""
    if not isinstance(host, np.ndarray):
        raise TypeError(f"asarray takes a NumPy array, got {type(host).__name__}: make one on the host")
    strict_cuda.uploaded(host.nbytes)
    there = strict_cuda.allocate(0, host.dtype, like=np.empty_like(host))  # in the order of its memory
    there[...] = host
    return _new(there)


def asnumpy(x: ndarray) -> np.ndarray:
    _array(x, "asnumpy")
    return x.get()


def empty(shape: int | tuple[int, ...], dtype: Any) -> ndarray:
    """Every byte is 0xFF, so floats are NaN: what nobody wrote shows."""
    return _new(strict_cuda.allocate(shape, dtype))


def empty_like(x: ndarray, dtype: Any = None) -> ndarray:
    a = _array(x, "empty_like")
    return empty(a.shape, a.dtype if dtype is None else dtype)


def _filled(a: np.ndarray, value: int) -> ndarray:
    a[...] = value
    return _launched("fill", a)


def zeros(shape: int | tuple[int, ...], dtype: Any) -> ndarray:
    return _filled(strict_cuda.allocate(shape, dtype), 0)


def zeros_like(x: ndarray, dtype: Any = None) -> ndarray:
    a = _array(x, "zeros_like")
    return _filled(strict_cuda.allocate(a.shape, a.dtype if dtype is None else dtype), 0)


def ones_like(x: ndarray, dtype: Any = None) -> ndarray:
    return _launched("fill", np.ones_like(_array(x, "ones_like"), dtype))


def arange(stop: int, dtype: Any) -> ndarray:
    return _launched("arange", np.arange(stop, dtype=dtype))


def astype(x: ndarray, dtype: Any) -> ndarray:
    return _launched("astype", _array(x, "astype").astype(dtype))


def _elementwise(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[ndarray], ndarray]:
    def call(x: ndarray, /) -> ndarray:
        a = _array(x, function.__name__)
        if a.dtype.kind != "f":
            raise TypeError(f"{function.__name__} of {a.dtype}: nothing is promoted silently, write xp.astype")
        return _launched(function.__name__, function(a))

    return call


exp, log, sqrt = _elementwise(np.exp), _elementwise(np.log), _elementwise(np.sqrt)


def maximum(x: ndarray, y: Any, /, out: ndarray | None = None) -> ndarray:
    _array(x, "maximum")
    return _written("maximum", np.maximum(*_operands("maximum", x, y)), out)


def multiply(x: ndarray, y: Any, /, out: ndarray | None = None) -> ndarray:
    _array(x, "multiply")
    return _written("multiply", np.multiply(*_operands("multiply", x, y)), out)


def where(condition: ndarray, x: Any, y: Any, /) -> ndarray:
    if _array(condition, "where").dtype != np.bool_:
        raise TypeError(f"where needs a boolean condition, got {condition.dtype}")
    if isinstance(x, ndarray):
        a, b = _operands("where", x, y)
    else:
        _array(y, "where")
        b, a = _operands("where", y, x)
    return _launched("where", np.where(condition._a, a, b))


def max(x: ndarray, axis: Any = None, keepdims: bool = False) -> ndarray:
    return _launched("max", np.max(_array(x, "max"), axis=axis, keepdims=keepdims))


def sum(x: ndarray, axis: Any = None, *, out: ndarray | None = None, keepdims: bool = False) -> ndarray:
    return _written("sum", np.asarray(np.sum(_array(x, "sum"), axis=axis, keepdims=keepdims)), out)


def cumulative_sum(x: ndarray, /, *, axis: int) -> ndarray:
    return _launched("cumulative_sum", np.cumulative_sum(_array(x, "cumulative_sum"), axis=axis))


def argmax(x: ndarray, axis: int) -> ndarray:
    return _launched("argmax", np.argmax(_array(x, "argmax"), axis=axis))


def count_nonzero(x: ndarray, axis: Any = None) -> ndarray:
    return _launched("count_nonzero", np.count_nonzero(_array(x, "count_nonzero"), axis=axis))


def take(x: ndarray, indices: ndarray, axis: int) -> ndarray:
    """CuPy wraps an index that is out of bounds; here it is an error, as no caller may mean it."""
    return _launched("take", np.take(_array(x, "take"), _array(indices, "take"), axis=axis))


def take_along_axis(x: ndarray, indices: ndarray, axis: int) -> ndarray:
    a, index = _array(x, "take_along_axis"), _array(indices, "take_along_axis")
    _launch("arange", a.ndim - 1)
    return _launched("take_along_axis", np.take_along_axis(a, index, axis=axis))


def concat(arrays: Sequence[ndarray], axis: int = 0) -> ndarray:
    return _launched("concat", np.concat(_alike("concat", arrays), axis=axis))


def stack(arrays: Sequence[ndarray], axis: int = 0) -> ndarray:
    return _launched("stack", np.stack(_alike("stack", arrays), axis=axis))


def _alike(name: str, arrays: Sequence[ndarray]) -> list[np.ndarray]:
    found = [_array(x, name) for x in arrays]
    if len({a.dtype for a in found}) > 1:
        raise TypeError(f"{name} of {[str(a.dtype) for a in found]}: nothing is promoted silently, write xp.astype")
    return found


def expand_dims(x: ndarray, axis: int) -> ndarray:
    return _new(np.expand_dims(_array(x, "expand_dims"), axis))


def reshape(x: ndarray, shape: tuple[int, ...]) -> ndarray:
    """A view where the strides allow it, else a copy."""
    a = _array(x, "reshape")
    reshaped = np.reshape(a, shape)
    if not np.may_share_memory(a, reshaped):
        _launch("copy")
    return _new(reshaped)


def matmul(a: ndarray, b: ndarray, out: ndarray | None = None) -> ndarray:
    """As CuPy's: what cuBLAS cannot take as it lies in memory is copied first, and `out` copied into afterwards.

    A product of two matrices takes transposed operands; a batched one takes none that is not C-contiguous, weights that
    are views of a population's flat parameters among them.
    """
    x, y = _array(a, "matmul"), _array(b, "matmul")
    if x.dtype != y.dtype or x.dtype.kind != "f":
        raise TypeError(f"matmul of {x.dtype} and {y.dtype}: two arrays of one float dtype are needed")
    batched = builtins.max(x.ndim, y.ndim) > 2
    for operand in (x, y):
        if not (operand.flags.c_contiguous or (operand.flags.f_contiguous and not batched)):
            _launch("matmul copies an operand")
    if out is None:
        return _launched("matmul", np.matmul(x, y))
    target = _array(out, "matmul")
    if target.dtype != x.dtype:
        raise TypeError(f"matmul into {target.dtype} from {x.dtype}")
    if not target.flags.c_contiguous:
        _launch("matmul copies into out")
    _launch("matmul")
    np.matmul(x, y, out=target)
    return out


# ---- CUDA source -----------------------------------------------------------------------------------------------------


class RawModule:
    """CUDA source, compiled for the host when its first kernel is asked for."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        if not isinstance(options, tuple):
            raise TypeError(f"RawModule's options are a tuple, got {type(options).__name__}")
        self.code, self.options = code, options
        self._kernels: dict[str, host_cuda.Kernel] | None = None

    def get_function(self, name: str) -> RawKernel:
        if self._kernels is None:
            self._kernels = host_cuda.load(self.code, self.options)
        if name not in self._kernels:
            raise ValueError(f"the source has no kernel {name!r}, only {sorted(self._kernels)}")
        return RawKernel(self._kernels[name])


class RawKernel:
    """A kernel, ready to launch. Where CuPy passes whatever it is given, here each argument must fit its parameter."""

    def __init__(self, kernel: host_cuda.Kernel) -> None:
        self._kernel = kernel

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0
    ) -> None:
        kernel = self._kernel
        if shared_mem:
            raise ValueError(f"{kernel.name}: shared_mem is for extern __shared__, which no kernel here has")
        grid = _dimensions(f"{kernel.name}'s grid", grid, (2**31 - 1, 65535, 65535), 2**32 - 1)
        block = _dimensions(f"{kernel.name}'s block", block, (1024, 1024, 64), kernel.max_threads)
        if len(args) != len(kernel.parameters):
            names = ", ".join(parameter.name for parameter in kernel.parameters)
            raise TypeError(f"{kernel.name} takes {len(kernel.parameters)} arguments ({names}), got {len(args)}")
        values = [
            _argument(f"{kernel.name}'s {p.name}", p, one) for p, one in zip(kernel.parameters, args, strict=True)
        ]
        stream = strict_cuda.get_current_stream()
        if stream.is_capturing():
            values = [strict_cuda.Place.of(one) if isinstance(one, np.ndarray) else one for one in values]
        stream.enqueue(kernel.name, lambda: kernel.launch(grid, block, [*map(_found, values)]))


def _found(value: Any) -> Any:
    """An argument as it is, or what lies where a captured one was."""
    return value.array() if isinstance(value, strict_cuda.Place) else value


def _dimensions(what: str, given: tuple[int, ...], limits: tuple[int, int, int], most: int) -> tuple[int, ...]:
    """Three numbers, once they are within CUDA's limits."""
    if not (isinstance(given, tuple) and 1 <= len(given) <= 3):
        raise TypeError(f"{what} must be a tuple of 1 to 3 ints, got {given!r}")
    three = (*map(operator.index, given), 1, 1)[:3]
    if not all(1 <= n <= limit for n, limit in zip(three, limits, strict=True)) or np.prod(three, dtype=object) > most:
        raise ValueError(f"{what} must lie within {limits} and have at most {most} in all, got {given}")
    return three


def _argument(what: str, parameter: host_cuda.Parameter, given: Any) -> Any:
    """What the kernel gets: the NumPy array behind one of ours, None, or a NumPy scalar."""
    if not parameter.pointer:
        if not isinstance(given, np.generic):
            raise TypeError(f"{what} is a value, got {type(given).__name__}: write np.{parameter.dtype}(…)")
        if given.dtype != parameter.dtype:
            raise TypeError(f"{what} is {parameter.dtype}, got {given.dtype}")
        return given
    if given is None:
        return None
    if not isinstance(given, ndarray):
        raise TypeError(f"{what} is a pointer, got {type(given).__name__}: pass an array on the device, or None")
    a = given._a
    if a.dtype != parameter.dtype:
        raise TypeError(f"{what} points to {parameter.dtype}, got an array of {a.dtype}")
    if not (a.flags.c_contiguous or (a.ndim > 1 and a[0].flags.c_contiguous)):
        raise ValueError(f"{what}: kernels look at no strides, got shape {a.shape} with strides {a.strides}: copy it")
    return a


# ---- CUDA's own ------------------------------------------------------------------------------------------------------

_HANDLE = 1
_math_mode = strict_cuda.DEFAULT_MATH


def _check_handle(handle: int) -> None:
    if handle != _HANDLE:
        raise ValueError(f"{handle!r} is no handle of CuPy's: write xp.cuda.get_cublas_handle()")


def _set_math_mode(handle: int, mode: int) -> None:
    global _math_mode
    _check_handle(handle)
    _math_mode = strict_cuda.check_math_mode(mode)


def _get_math_mode(handle: int) -> int:
    _check_handle(handle)
    return _math_mode


class CUBLASError(RuntimeError):
    """As CuPy's."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(f"CUBLAS_STATUS {status}")


cuda = SimpleNamespace(
    **{name: getattr(strict_cuda, name) for name in ("Memory", "MemoryPointer", "MemoryPool", "UnownedMemory")},
    **{name: getattr(strict_cuda, name) for name in ("Stream", "Event", "get_current_stream", "using_allocator")},
    get_cublas_handle=lambda: _HANDLE,
    cublas=SimpleNamespace(
        CUBLAS_DEFAULT_MATH=0, setMathMode=_set_math_mode, getMathMode=_get_math_mode, CUBLASError=CUBLASError
    ),
    runtime=SimpleNamespace(
        deviceSynchronize=lambda: _wait("synchronize"),
        getDevice=lambda: 0,
        CUDARuntimeError=strict_cuda.CUDARuntimeError,
    ),
    Device=lambda: SimpleNamespace(synchronize=lambda: _wait("synchronize")),
)
LIBRARY = cublas.libraries[sys.modules[__name__]] = strict_cuda.Cublas()
