"""Places for arrays: the CPU, and a GPU once it is known to work.

Whoever owns data (the training loop, a notebook) picks a `Device` once and moves arrays with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minikd.core.array import NUMPY, Array, get_xp
from minikd.engines import cublas, cuda, readable
from minikd.engines.engine import Engine
from minikd.engines.gpu import probe_gpu


@dataclass(frozen=True)
class Device:
    """A place for arrays: its namespace, the two ways across, and the engine that trains there.

    Attributes:
        name: what the user calls it, "cpu" or "gpu".
        xp: the namespace there.
        put: takes a NumPy array on the host, and returns it there.
        get: takes an array there, waits until it is computed, and returns it as a NumPy array on the host.
        host: whether values can be read there without waiting.
        engine: how a training step is carried out there.
    """

    name: str
    xp: Any
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]
    host: bool = False
    engine: Engine = readable

    @property
    def captures(self) -> bool:
        """Whether an epoch is captured as a CUDA graph: by the CUDA engine, unless MINIKD_GRAPH=0 is set."""
        return self.engine is cuda and os.environ.get("MINIKD_GRAPH") != "0"

    def refill(self, array: np.ndarray, buffer: Array | None) -> Array:
        """Return an array of the host's, moved there: into the buffer, whose address a graph knows, if there is one."""
        there: Array = self.put(array)
        if buffer is None:
            return there
        buffer[...] = there
        return buffer


CPU = Device("cpu", NUMPY, put=np.asarray, get=np.asarray, host=True)


def get_device(name: str, *, tf32: bool | None = None) -> Device:
    """Return the device called "cpu" or "gpu", after probing the GPU.

    A GPU trains with the engine `minikd.engines.cuda`, an epoch as one CUDA graph. With MINIKD_GRAPH=0 in the
    environment it launches kernels one by one. With MINIKD_FUSED=0 it trains with the readable engine.

    Args:
        name: "cpu" or "gpu".
        tf32: whether cuBLAS may multiply float32 matrices on tensor cores (compute capability 8.0 on), for the whole
            process. None leaves that as it is, which is off at first. TF32 reads each factor with 10 bits of its
            mantissa instead of 23, so a product of two has a relative error of up to 2⁻¹⁰, 8,000 times that of float32.
            Sums stay float32; so do costs, norms and the update.

    Raises:
        ValueError: if the name is another one, or TF32 is asked for without a GPU.
        DeviceError: if there is no usable GPU.

    >>> get_device("cpu").xp.__name__
    'numpy'
    """
    if name == "cpu":
        if tf32:
            raise ValueError("TF32 is a number format of GPUs: leave tf32 out, or use the device 'gpu'")
        return CPU
    if name == "gpu":
        cupy: Any = probe_gpu()
        engine = readable if os.environ.get("MINIKD_FUSED") == "0" else cuda
        # Runs with TF32 and without it have different names, so that neither is taken for the other.
        name = "gpu, TF32" if cublas.allow_tf32(cupy, tf32) else "gpu"
        return Device(name, cupy, put=cupy.asarray, get=cupy.asnumpy, engine=engine)
    raise ValueError(f"the device must be 'cpu', or 'gpu' for an NVIDIA card, got {name!r}")


def as_device(device: str | Device) -> Device:
    """Return a device given by its name, or as it is.

    Args:
        device: "cpu", "gpu" or a `Device`.

    Raises:
        ValueError: as `get_device`.
        DeviceError: as `get_device`.
    """
    return get_device(device) if isinstance(device, str) else device


def to_device(array: Array, device: str | Device) -> Any:
    """Return the array on the device, copied only if necessary.

    Args:
        array: an array of NumPy or CuPy.
        device: "cpu", "gpu" or a `Device`.
    """
    target = as_device(device)
    return array if get_xp(array=array) is target.xp else target.put(to_host(array))


def to_host(array: Any) -> np.ndarray:
    """Return the array as a NumPy array. For an array on the GPU, wait until it is computed."""
    return np.asarray(array.get() if hasattr(array, "get") else array)
