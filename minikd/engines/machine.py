"""What you must know about a machine to judge the numbers that were measured on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from minikd import __version__
from minikd.engines.device import Device


def machine(device: Device) -> dict[str, Any]:
    """Return what you must know to judge numbers measured there, in plain JSON types.

    Args:
        device: where they were measured.

    Returns:
        device (the processor's or the card's name), architecture, cores, cuda (for a card), python, a version for
        minikd and each library that bears on speed, and threads (of each pool of threads).
    """
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and needed only here

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = {"device": _processor(), "architecture": platform.machine(), "cores": cores}
    if device.name.startswith("gpu"):
        runtime = device.xp.cuda.runtime
        about["device"] = runtime.getDeviceProperties(runtime.getDevice())["name"].decode()
        about["cuda"] = runtime.runtimeGetVersion()
    about |= {"python": platform.python_version(), "minikd": __version__}
    for package in ("numpy", "torch", "jax", "scikit-learn", "cupy-cuda12x", "cupy-cuda13x"):
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
    """Return the size of each pool of threads in this process, such as NumPy's OpenBLAS and PyTorch's OpenMP."""
    pools = {}
    for pool in threadpool_info():
        folder = Path(pool["filepath"]).parent
        pools[f"{folder.parent.name if folder.name == 'lib' else folder.name}: {pool['internal_api']}"] = pool
    return {name: pool["num_threads"] for name, pool in sorted(pools.items())}
