"""Arrays are known by where they live, and move between devices unchanged; the stand-in for CuPy is as strict as it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import strict_cupy

import minikd
from minikd.core.array import get_float_xp, get_xp, write_into
from minikd.engines.device import CPU, get_device, to_device, to_host

# ---- namespaces ------------------------------------------------------------------------------------------------------


def test_the_namespace_comes_from_the_arrays(device):
    a, b = device.put(np.zeros(3, np.float32)), device.put(np.zeros((2, 2), np.int64))
    assert get_xp(a=a) is device.xp
    assert get_xp(a=a, b=b) is device.xp
    assert get_float_xp(a=a) is device.xp


@pytest.mark.parametrize("value", [[1.0, 2.0], (1.0,), 1.0, None, "abc", memoryview(b"abc")])
def test_what_is_no_array_is_refused_by_name_and_type(value):
    mend = f"z must be a NumPy or CuPy array, got {type(value).__name__}: convert it with numpy.asarray"
    with pytest.raises(TypeError, match=f"^{re.escape(mend)}$"):
        get_xp(v=np.zeros(1), z=value)


@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint32", "bool"])
def test_a_dtype_that_is_no_float_is_refused_by_name(dtype, device):
    array = device.put(np.ones(2, dtype))
    with pytest.raises(TypeError, match=rf"^y must be float32 or float64, got .*{dtype}.*: convert it with astype$"):
        get_float_xp(z=device.put(np.ones(2, np.float32)), y=array)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "complex64"])
def test_other_floats_are_refused(dtype):
    with pytest.raises(TypeError, match="z must be float32 or float64"):
        get_float_xp(z=np.ones(2, dtype))


def test_two_float_dtypes_are_refused_rather_than_promoted(device):
    if device.name == "array-api-strict-no-float64":
        pytest.skip("this device has no float64")
    z, v = device.put(np.ones(2, np.float32)), device.put(np.ones((), np.float64))  # 0-d counts too
    with pytest.raises(TypeError, match=r"^z is .*float32.* but v is .*float64.*: convert one of them with astype$"):
        get_float_xp(z=z, v=v)


def test_what_is_written_in_place_is_what_the_function_returns(device, float_dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(float_dtype) for shape in ((3, 4, 5), (3, 5, 2)))
    flat = device.put(np.zeros((3, 20), float_dtype))
    out = device.xp.reshape(flat[..., 7:15], (3, 4, 2))  # as a layer's gradient lies in a population's flat array
    matmul, there = device.xp.matmul, (device.put(a), device.put(b))
    assert write_into(out, matmul, *there) is out
    np.testing.assert_array_equal(device.get(out), device.get(write_into(None, matmul, *there)))
    np.testing.assert_allclose(device.get(out), a @ b, atol=1e-5)
    np.testing.assert_array_equal(device.get(flat)[:, 7:15].reshape(3, 4, 2), device.get(out))
    rows = flat[..., 15:17]  # as the gradient of a bias does
    assert write_into(rows, device.xp.sum, there[1], axis=-2) is rows
    np.testing.assert_allclose(device.get(flat)[:, 15:17], b.sum(axis=-2), atol=1e-5)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (-2, -1)])
@pytest.mark.parametrize("name", ["max", "sum"])
def test_a_reduction_called_directly_is_that_of_numpy(name, axis, keepdims):
    a = np.random.default_rng(0).standard_normal((3, 5, 7)).astype(np.float32)
    options = {"keepdims": keepdims} | ({} if axis is None else {"axis": axis})
    np.testing.assert_array_equal(
        getattr(get_xp(a=a), name)(a, **options), getattr(np, name)(a, **options), strict=True
    )


# ---- devices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "uint32", "bool"])
def test_what_goes_to_a_device_comes_back_the_same(dtype, device):
    array = np.random.default_rng(0).integers(0, 2, (3, 4)).astype(dtype)
    back = device.get(device.put(array))
    assert type(back) is np.ndarray
    np.testing.assert_array_equal(back, array, strict=True)


def test_moving_between_devices_copies_only_where_it_must():
    gpu = strict_cupy.device()
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    there = to_device(array, gpu)
    assert isinstance(there, strict_cupy.ndarray)
    assert to_device(there, gpu) is there
    assert to_device(array, "cpu") is array
    assert to_host(array) is array
    for back in (to_device(there, "cpu"), to_device(there, CPU), to_host(there)):
        assert type(back) is np.ndarray
        np.testing.assert_array_equal(back, array, strict=True)


@pytest.mark.parametrize("name", ["tpu", "", "CPU", "cuda"])
def test_an_unknown_device_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"^the device must be 'cpu', or 'gpu' for an NVIDIA card, got '{name}'$"):
        get_device(name)
    with pytest.raises(ValueError, match="the device must be 'cpu', or 'gpu'"):
        to_device(np.zeros(1), name)


def test_the_cpu_is_numpy_and_copies_nothing():
    array = np.zeros(3)
    assert get_device("cpu") is CPU
    assert CPU.xp is get_xp(array=array)
    assert CPU.put(array) is array
    assert CPU.host


def test_the_default_path_never_imports_cupy():
    code = """
import importlib, pkgutil, sys
import numpy as np
import minikd
for module in pkgutil.walk_packages(minikd.__path__, "minikd."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
from minikd.training.config import TrainConfig
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 4, 4), dtype=np.uint8)
data = minikd.data.images.Dataset(images, np.arange(8, dtype=np.uint8), "eight")
network = minikd.training.loop.train(TrainConfig(hidden=(3,), epochs=1, batch_size=4), data, evaluation=data)
minikd.training.teacher.soft_targets(network, data)
assert minikd.engines.device.get_device("cpu").xp.__name__ == "numpy"
print([name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends")])
"""
    command = [sys.executable, "-W", "error", "-c", code]
    home = Path(minikd.__file__).parents[1]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=home)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[]\n", "", 0)


# ---- the stand-in ----------------------------------------------------------------------------------------------------

Z = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -1.0]], np.float32)
REFUSED = {
    "a method": (lambda z, xp: z.max(), AttributeError, "write xp.max"),
    "astype as a method": (lambda z, xp: z.astype(np.float64), AttributeError, "write xp.astype"),
    "reshape as a method": (lambda z, xp: z.reshape(6), AttributeError, "write xp.reshape"),
    "a function outside the dialect": (lambda z, xp: xp.clip(z, 0.0, None), AttributeError, "clip is not in"),
    "randomness": (lambda z, xp: xp.random, AttributeError, "random is not in"),
    "creation with device=": (lambda z, xp: xp.zeros(3, np.float32, device="cpu"), TypeError, "device"),
    "the standard's door": (lambda z, xp: z.__array_namespace__(), AttributeError, "__array_namespace__"),
    ".T on three axes": (lambda z, xp: xp.reshape(z, (1, 2, 3)).T, AttributeError, "write .mT"),
    "an index array": (lambda z, xp: z[xp.argmax(z, axis=-1)], IndexError, "write xp.take"),
    "a mask as an index": (lambda z, xp: z[z > 0], IndexError, "one-hot mask"),
    "an index array to write to": (lambda z, xp: z.__setitem__((np.arange(2), 0), 1.0), IndexError, "write xp.take"),
    "an overlong slice": (lambda z, xp: z[..., 1:4], IndexError, "within bounds"),
    "another float dtype": (lambda z, xp: z + xp.astype(z, np.float64), TypeError, "nothing is promoted"),
    "another float dtype, 0-d": (lambda z, xp: z * xp.asarray(np.array(2.0)), TypeError, "nothing is promoted"),
    "a product of two dtypes": (lambda z, xp: z @ xp.astype(z, np.float64).mT, TypeError, "one float dtype"),
    "a mask times floats": (lambda z, xp: (z > 0) * z, TypeError, "nothing is promoted"),
    "integers made floats": (lambda z, xp: xp.argmax(z, axis=-1) * 0.5, TypeError, "nothing is promoted"),
    "a NumPy scalar": (lambda z, xp: z * np.float64(2.0), TypeError, "Unsupported type"),
    "a NumPy scalar on the left": (lambda z, xp: np.float32(2.0) * z, TypeError, "Unsupported type"),
    "a NumPy array": (lambda z, xp: z + Z, TypeError, "Unsupported type"),
    "a NumPy array on the left": (lambda z, xp: Z + z, TypeError, "Unsupported type"),
    "a NumPy function": (lambda z, xp: np.exp(z), TypeError, "ufunc"),
    "a silent way home": (lambda z, xp: np.asarray(z), TypeError, "use .get()"),
    "a function of a NumPy array": (lambda z, xp: xp.exp(Z), TypeError, "Unsupported type"),
    "a condition on the host": (lambda z, xp: xp.where(Z > 0, z, 0.0), TypeError, "Unsupported type"),
    "a number too large": (
        lambda z, xp: xp.zeros(2, np.uint32) >= 2**32, OverflowError, "out of bounds for uint32",
    ),
    "a negative number": (lambda z, xp: xp.zeros(2, np.uint32) ^ -1, OverflowError, "out of bounds for uint32"),
    "a list": (lambda z, xp: xp.asarray([1.0]), TypeError, "got list"),
    "a set of devices": (lambda z, xp: {z.device}, TypeError, "unhashable"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_the_stand_in_refuses_what_cupy_or_the_dialect_does_not_know(name):
    call, error, said = REFUSED[name]
    with pytest.raises(error, match=re.escape(said)):
        call(strict_cupy.asarray(Z), strict_cupy)


def test_the_stand_in_counts_launches_and_waits_but_no_views():
    xp, z = strict_cupy, strict_cupy.asarray(Z)
    with xp.counting() as views:
        view = xp.reshape(xp.expand_dims(z.mT[:2, ...], axis=0), (1, 2, 2))
        assert (view.shape, view.dtype, view.device == z.device, len(z)) == ((1, 2, 2), np.float32, True, 2)
    assert (views.launches, views.waits) == (0, 0)
    with xp.counting() as launches:
        total = xp.sum(xp.exp(z) * 2.0)
        assert (type(total), total.shape) == (xp.ndarray, ())  # an array, where NumPy gives a scalar
        total += 1.0
        z[..., 0] = 5.0
        z @ z.mT
        xp.asarray(Z)
    assert launches.kernels == {"sum": 1, "exp": 1, "mul": 1, "iadd": 1, "copy": 1, "matmul": 1}
    assert (launches.waits, launches.uploads) == (0, 1)
    assert xp.asnumpy(z).tolist() == [[5.0, -2.0, 3.0], [5.0, 0.0, -1.0]]
    with xp.counting() as waits:
        float(total), int(total), bool(total), repr(total), f"{total:.2f}", str(total), total.get(), xp.asnumpy(total)
        list(z)
    assert waits.waits == 9
    assert waits.launches == 0


def test_the_stand_in_keeps_uint32():
    x = strict_cupy.asarray(np.array([1, 2**32 - 1], np.uint32))
    for result in (x * 0xFFFFFFFF, x ^ 5, x >> 16):
        assert result.dtype == np.uint32
    assert (x * 0xFFFFFFFF).get().tolist() == [2**32 - 1, 1]


def test_the_stand_ins_batched_products_copy_what_lies_crosswise():
    xp = strict_cupy
    a = xp.asarray(np.ones((2, 3, 3), np.float32))
    with xp.counting() as count:
        a @ a
    assert count.kernels == {"matmul": 1}
    with xp.counting() as count:
        a.mT @ a
    assert count.kernels == {"matmul copies an operand": 1, "matmul": 1}
