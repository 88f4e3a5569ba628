"""Arrays are known by where they live, a GPU only by what it does, and whatever is missing is said in one line."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import strict_cupy

from minikd import backend
from minikd.backend import CPU, DeviceError, get_device, get_float_xp, get_xp, multiply, probe_gpu, to_device, to_host

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


def test_a_product_written_in_place_is_the_product(device, float_dtype):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(float_dtype) for shape in ((3, 4, 5), (3, 5, 2)))
    flat = device.put(np.zeros((3, 20), float_dtype))
    out = device.xp.reshape(flat[..., 7:15], (3, 4, 2))  # as a layer's gradient lies in a population's flat array
    there = device.put(a), device.put(b)
    assert multiply(*there, out=out) is out
    np.testing.assert_array_equal(device.get(out), device.get(multiply(*there)))
    np.testing.assert_allclose(device.get(out), a @ b, atol=1e-5)
    np.testing.assert_array_equal(device.get(flat)[:, 7:15].reshape(3, 4, 2), device.get(out))


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
    with pytest.raises(ValueError, match=rf"^the device must be 'cpu' or 'gpu', got '{name}'$"):
        get_device(name)
    with pytest.raises(ValueError, match="the device must be 'cpu' or 'gpu'"):
        to_device(np.zeros(1), name)


def test_the_cpu_is_numpy_and_copies_nothing():
    array = np.zeros(3)
    assert get_device("cpu") is CPU
    assert CPU.xp is np
    assert CPU.put(array) is array
    assert CPU.host


def test_the_docstrings_examples_hold():
    failed, tried = doctest.testmod(backend)
    assert tried > 0
    assert failed == 0


def test_the_default_path_never_imports_cupy():
    code = """
import importlib, pkgutil, sys
import numpy as np
import minikd
for module in pkgutil.iter_modules(minikd.__path__):
    importlib.import_module("minikd." + module.name)
from minikd.config import TrainConfig
rng = np.random.default_rng(0)
data = minikd.data.Dataset(rng.integers(0, 256, (8, 4, 4), dtype=np.uint8), np.arange(8, dtype=np.uint8), "eight")
network = minikd.train.train(TrainConfig(hidden=(3,), epochs=1, batch_size=4), data, evaluation=data)
minikd.targets.soft_targets(network, data)
assert minikd.backend.get_device("cpu").xp is np
print([name for name in sys.modules if name.partition(".")[0] in ("cupy", "cupyx", "cupy_backends")])
"""
    command = [sys.executable, "-W", "error", "-c", code]
    home = Path(backend.__file__).parents[1]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=home)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[]\n", "", 0)


# ---- the probe -------------------------------------------------------------------------------------------------------


class CUDARuntimeError(RuntimeError):
    """Stands for cupy_backends' error of this name."""


def fake_cupy(*, driver=13000, devices=1, factor=1.0, product=None):
    """A CuPy with just what the probe asks of it; a driver, a count or a product may be an error to raise."""

    def answer(value):
        def call():
            if isinstance(value, Exception):
                raise value
            return value

        return call

    class Array:
        def __init__(self, a):
            self.a = a

        def __mul__(self, number):
            return Array(self.a * (number * factor))

        def __matmul__(self, other):
            if product is not None:
                raise product
            return Array(self.a @ other.a)

    cupy = ModuleType("cupy")
    cupy.ndarray = Array
    cupy.cuda = SimpleNamespace(
        runtime=SimpleNamespace(driverGetVersion=answer(driver), getDeviceCount=answer(devices)),
        cublas=SimpleNamespace(getMathMode=lambda handle: 0),
        get_cublas_handle=answer(1),
    )
    cupy.asarray = Array
    cupy.asnumpy = lambda array: array.a
    cupy.sum = lambda array: np.sum(array.a)
    return cupy


def refusal(monkeypatch, cupy, driver_seen_without_cupy=0):
    """What the probe says of this CuPy: one line, which ends with a command or a step to take."""
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return reason(monkeypatch, driver_seen_without_cupy)


def reason(monkeypatch, driver_seen_without_cupy=0):
    monkeypatch.setattr(backend, "_driver_version", lambda: driver_seen_without_cupy)
    with pytest.raises(DeviceError) as caught:
        get_device("gpu")
    message = str(caught.value)
    assert message.startswith("no GPU: ")
    assert "\n" not in message
    return message


def install(cuda, options=""):
    return f'{sys.executable} -m pip install {options}"cupy-cuda{cuda}x[ctk]>=14"'


REINSTALL = "--force-reinstall "
# The message of CuPy's own __init__ when a library of its own or of CUDA cannot be loaded.
BROKEN_IMPORT = """
================================================================
Failed to import CuPy.

If you installed CuPy via wheels (cupy-cudaXXX or cupy-rocm-X-X), make sure that the package matches with the version \
of CUDA or ROCm installed.

Original error:
  ImportError: libcuda.so.1: cannot open shared object file: No such file or directory
================================================================
"""


@pytest.mark.parametrize(("driver", "cuda"), [(0, 12), (12090, 12), (13000, 13), (13020, 13)])
def test_a_missing_cupy_is_named_with_the_wheel_that_fits_the_driver(driver, cuda, monkeypatch):
    message = refusal(monkeypatch, None, driver)  # None: what an import of a module that is not there comes to
    assert message == f"no GPU: CuPy is not installed; install it: {install(cuda)}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"raise ImportError('''{BROKEN_IMPORT}''')", "libcuda.so.1: cannot open shared object file"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "numpy.core.multiarray failed to import"),
        ("import cupy_backends_that_are_gone", "No module named 'cupy_backends_that_are_gone'"),
    ],
    ids=["library", "numpy", "half a wheel"],
)
def test_a_cupy_that_cannot_be_imported_is_told_from_one_that_is_missing(source, said, tmp_path, monkeypatch):
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    message = reason(monkeypatch, 13000)
    assert message.startswith("no GPU: CuPy is installed but cannot be imported (")
    assert said in message
    assert message.endswith(f"; reinstall it, one wheel only: {install(13, REINSTALL)}")


@pytest.mark.parametrize("driver", [0, CUDARuntimeError("cudaErrorInsufficientDriver: …")], ids=["0", "an error"])
def test_a_missing_driver_is_named(driver, monkeypatch):
    message = refusal(monkeypatch, fake_cupy(driver=driver))
    assert message.startswith("no GPU: the NVIDIA driver is missing or not loaded; ")
    assert "sudo apt install nvidia-driver" in message
    assert "nvidia-smi" in message


@pytest.mark.parametrize(("driver", "cuda"), [(12020, 12), (13000, 13)])
def test_a_driver_that_does_not_serve_this_cupy_is_named_with_its_version_and_its_wheel(driver, cuda, monkeypatch):
    error = CUDARuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version\nand another line"
    )
    message = refusal(monkeypatch, fake_cupy(driver=driver, devices=error))
    assert f"the driver (CUDA {cuda}.{driver % 1000 // 10}) does not serve this CuPy" in message
    assert "CUDA driver version is insufficient" in message
    assert message.endswith(install(cuda, REINSTALL))


@pytest.mark.parametrize(
    ("visible", "mend"),
    [(None, "nvidia-smi -L must list a card"), ("", "unset CUDA_VISIBLE_DEVICES"), ("9", "unset CUDA_VISIBLE_DEVICES")],
)
def test_no_device_is_told_from_a_hidden_one(visible, mend, monkeypatch):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    message = refusal(monkeypatch, fake_cupy(devices=0))
    assert message == f"no GPU: the driver works but shows no device; {mend}"


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ({"product": ImportError('Failure finding "libcublasLt.so": …\nSearched in: …')}, 'finding "libcublasLt.so"'),
        ({"product": RuntimeError()}, "RuntimeError"),
        ({"product": RuntimeError("x" * 1000)}, "x" * 100 + "x" * 57 + "…)"),
        ({"factor": 2.0}, "it gave a wrong result"),
        ({"factor": float("nan")}, "it gave a wrong result"),
    ],
    ids=["no cuBLAS", "no message", "a long message", "wrong", "NaN"],
)
def test_a_product_that_fails_is_laid_to_cudas_libraries(flaw, said, monkeypatch):
    message = refusal(monkeypatch, fake_cupy(**flaw))
    assert message.startswith("no GPU: a small product failed (")
    assert said in message
    assert message.endswith(f"install CUDA's libraries: {install(13, REINSTALL)}")


def test_a_gpu_that_works_is_taken(monkeypatch):
    cupy = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert probe_gpu() is cupy
    gpu = get_device("gpu")
    assert (gpu.name, gpu.xp, gpu.host) == ("gpu", cupy, False)
    np.testing.assert_array_equal(gpu.get(gpu.put(np.arange(3))), np.arange(3))


def test_the_probe_of_this_machine_ends_in_a_gpu_or_in_one_line():
    try:
        ended = get_device("gpu").xp.__name__
    except DeviceError as error:
        ended = str(error)
    assert re.fullmatch(r"cupy|no GPU: [^\n]+; [^\n]+", ended)


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
