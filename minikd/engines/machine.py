"""What a reader must know of a machine to place the numbers that were measured on it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from minikd.engines.device import Device


def machine(device: Device) -> dict[str, Any]:
    """What a reader must know to place the numbers: processor, versions, and the threads that are in effect."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = {"device": _processor(), "architecture": platform.machine(), "cores": cores}
    if device.name == "gpu":
        runtime = device.xp.cuda.runtime
        about["device"] = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
        about["cuda"] = runtime.runtimeGetVersion()
    about["python"] = platform.python_version()
    for package in ("minikd", "numpy", "torch", "scikit-learn", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            about[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**about, "threads": _threads()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _threads() -> dict[str, Any]:
    """The size of each pool of threads in this process: NumPy's and SciPy's OpenBLAS, PyTorch's OpenMP and MKL."""
    pools = {}
    for pool in threadpool_info():
        folder = Path(pool["filepath"]).parent
        pools[f"{folder.parent.name if folder.name == 'lib' else folder.name}: {pool['internal_api']}"] = pool
    return {name: pool["num_threads"] for name, pool in sorted(pools.items())}
