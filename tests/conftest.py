"""The fixtures that run one test on every backend, and the profiles of the property tests."""

import dataclasses
import os

import array_api_strict
import host_cuda
import numpy as np
import pytest
import strict_cupy
from hypothesis import settings
from threadpoolctl import threadpool_limits

from minikd.data.images import load_mnist
from minikd.engines import cuda
from minikd.engines.device import CPU, Device, get_device
from minikd.engines.gpu import DeviceError

settings.register_profile("minikd", deadline=None, print_blob=True)
settings.register_profile("thorough", settings.get_profile("minikd"), max_examples=10_000)  # 100 times as many
settings.load_profile("minikd")


def pytest_addoption(parser):
    parser.addoption("--require-gpu", action="store_true", help="fail, rather than skip, where there is no usable GPU")
    parser.addoption("--thorough", action="store_true", help="draw 100 times as many examples in each property test")


def pytest_configure(config):
    if hasattr(config, "workerinput"):  # one process of pytest-xdist per core: one thread of BLAS for each
        threadpool_limits(1)
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # also for the processes that tests start
    if config.getoption("--thorough"):
        settings.load_profile("thorough")


@pytest.fixture(scope="session")
def mnist_data():
    """The 60,000 and 10,000 digits that are embedded, read once: it takes half a second."""
    return load_mnist()


# ---- devices ---------------------------------------------------------------------------------------------------------


def array_api_device(name, device):
    """array-api-strict on one of its devices: NumPy turns its arrays away, except for those on the first one."""
    home = array_api_strict.Device("CPU_DEVICE")
    return Device(
        name,
        array_api_strict,
        put=lambda array: array_api_strict.asarray(array, device=device, copy=True),
        get=lambda array: np.asarray(array.to_device(home)),
    )


def cupy_device(config):
    try:
        return get_device("gpu")
    except DeviceError as reason:
        if config.getoption("--require-gpu"):
            pytest.fail(f"--require-gpu was given, but: {reason}", pytrace=False)
        pytest.skip(str(reason))


@pytest.fixture(params=["host", "gpu"], scope="session")
def cuda_device(request):
    """Where the CUDA engine's kernels run: on the host through the stand-in for CuPy, or on the GPU."""
    if request.param == "gpu":
        return dataclasses.replace(cupy_device(request.config), engine=cuda)
    if host_cuda.compiler() is None:
        pytest.skip("no C++ compiler to run CUDA sources on the host")
    return dataclasses.replace(strict_cupy.device(), engine=cuda)


DEVICES = {
    "numpy": lambda config: CPU,
    "array-api-strict": lambda config: array_api_device("array-api-strict", array_api_strict.Device("device1")),
    "array-api-strict-no-float64": lambda config: array_api_device(
        "array-api-strict-no-float64", array_api_strict.Device("no_float64")
    ),
    "strict-cupy": lambda config: strict_cupy.device(),
    "cupy": cupy_device,
}


@pytest.fixture(scope="session", params=DEVICES)  # for the session, so that property tests may use it
def device(request):
    """A `minikd.engines.device.Device`, one after the other; CuPy's is skipped where there is no usable GPU."""
    return DEVICES[request.param](request.config)


@pytest.fixture(scope="session", params=["float32", "float64"])
def float_dtype(request, device):
    """The name of a float dtype that the device knows."""
    if request.param == "float64" and device.name == "array-api-strict-no-float64":
        pytest.skip("this device has no float64")
    return request.param
