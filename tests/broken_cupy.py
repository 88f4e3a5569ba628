"""A stand-in for CuPy that fails as CuPy 14.2 does, and a machine without a GPU."""

import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minikd.engines import gpu
from minikd.engines.device import get_device
from minikd.engines.gpu import DeviceError

ROOT = Path(__file__).parents[1]


# ---- the errors of CuPy 14.2, by class, code and text ----------------------------------------------------------------


def cuda_error(name, module, texts):
    def begin(self, status):
        self.status = status
        RuntimeError.__init__(self, texts[status])

    return type(name, (RuntimeError,), {"__init__": begin, "__module__": module})


CUDARuntimeError = cuda_error(
    "CUDARuntimeError",
    "cupy_backends.cuda.api.runtime",
    {
        2: "cudaErrorMemoryAllocation: out of memory",
        35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
        46: "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable",
        100: "cudaErrorNoDevice: no CUDA-capable device is detected",
        209: "cudaErrorNoKernelImageForDevice: no kernel image is available for execution on the device",
        214: "cudaErrorECCUncorrectable: uncorrectable ECC error encountered",
        34: "cudaErrorStubLibrary: CUDA driver is a stub library",
        222: "cudaErrorUnsupportedPtxVersion: the provided PTX was compiled with an unsupported toolchain.",
        700: "cudaErrorIllegalAddress: an illegal memory access was encountered",
        719: "cudaErrorLaunchFailure: unspecified launch failure",
        802: "cudaErrorSystemNotReady: system not yet initialized",
        803: "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver combination",
        804: "cudaErrorCompatNotSupportedOnDevice: forward compatibility was attempted on non supported HW",
        900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
        999: "cudaErrorUnknown: unknown error",
    },
)


def fake_cupy(*, driver=13000, devices=1, factor=1.0, product=None, version="14.2.0", **runtime):
    """A CuPy with only what the probe asks of it; a driver, a count or a product may be an error to raise."""

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
    cupy.__version__ = version
    cupy.ndarray = Array
    cupy.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            driverGetVersion=answer(driver),
            getDeviceCount=answer(devices),
            memGetInfo=answer(runtime.get("memory", (2**29, 80 * 2**30))),
            runtimeGetVersion=answer(runtime.get("cuda", 13000)),
            is_hip=runtime.get("hip", False),
        ),
        Device=lambda: SimpleNamespace(compute_capability=runtime.get("capability", "90")),
        cublas=SimpleNamespace(getMathMode=lambda handle: 0),
        get_cublas_handle=answer(1),
    )
    cupy.asarray = Array
    cupy.asnumpy = lambda array: array.a
    cupy.sum = lambda array: np.sum(array.a)
    return cupy


# ---- what is asked, and what is heard --------------------------------------------------------------------------------


def machine(monkeypatch):
    """A machine on which minikd is installed, with driver, wheels and environment as a test says."""
    known = SimpleNamespace(driver=13000, wheels=["cupy-cuda13x"])
    monkeypatch.setattr(gpu, "_driver_version", lambda: known.driver)
    found = metadata.distribution
    monkeypatch.setattr(metadata, "distribution", lambda name: None if name == "minikd" else found(name))
    monkeypatch.setattr(
        metadata, "distributions", lambda: [SimpleNamespace(metadata={"Name": name}) for name in known.wheels]
    )
    for name in ("CUDA_VISIBLE_DEVICES", "CUPY_CACHE_DIR", "CUPY_GPU_MEMORY_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    return known


def refusal(monkeypatch):
    """What the probe says, of a fake CuPy or of what is on the path: one line that ends with something to do."""

    def refused(*cupy):
        monkeypatch.setitem(sys.modules, "cupy", *(cupy or [None]))
        if not cupy:
            monkeypatch.delitem(sys.modules, "cupy")
        with pytest.raises(DeviceError) as caught:
            get_device("gpu")
        message = str(caught.value)
        assert re.fullmatch(r"no GPU: [^\n]+; [^\n]+", message)
        return message

    return refused


def install(extra):
    return f'install it: {sys.executable} -m pip install "minikd[{extra}]"'


def remove(*wheels):
    return f"remove it ({sys.executable} -m pip uninstall -y {' '.join(wheels)}), then "


def cupy_of(tmp_path, monkeypatch):
    """An installed package `cupy` with this __init__.py."""

    def write(source, place="site-packages/cupy/__init__.py"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / place.partition("/")[0])
        return path

    return write
