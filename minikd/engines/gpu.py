"""A usable GPU, or one line that says why there is none. This is the only file that imports CuPy.

Every line repeats the cause, and advises only what follows from it. If nothing does, it says where to look. Causes are
recognised by the class of an error and by CUDA's codes, because texts change between versions.
"""

from __future__ import annotations

import ctypes
import errno
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from importlib.metadata import Distribution  # slow to import, and needed only where something is wrong

WHEELS = {"gpu12": "cupy-cuda12x", "gpu13": "cupy-cuda13x"}
"""The wheel of CuPy that each extra brings, one per version of CUDA, as in pyproject.toml."""
OLDEST = 14
"""The oldest CuPy that the extras bring."""
LOOK = "nvidia-smi shows the state of the card, and the kernel's log (dmesg) its faults"
REPORT = (
    "please report it with the output of python -m minikd.backend; MINIKD_FUSED=0 in the environment trains without "
    "minikd's own kernels"
)
DEV = Path("/dev")

CUDA_ERRORS = ("CUDARuntimeError", "CUDADriverError")
"""The classes whose `status` is one of CUDA's codes. The runtime and the driver have the same numbers."""
OUT_OF_MEMORY = {(CUDA_ERRORS[0], 2), (CUDA_ERRORS[1], 2), ("CUBLASError", 3)}
OLD_DRIVER, NO_DEVICE, NO_KERNEL = 35, 100, 209
KERNEL_FAULTS = {700, 715, 716, 717, 718, 719}
"""Codes of a kernel that read or wrote where it must not, or got lost. The reason is a bug, or the card."""
FAULTS = {
    34: "Python finds the CUDA toolkit's stub, not the driver's library ({said}); "
    "take the toolkit's folder `stubs` out of LD_LIBRARY_PATH",
    **dict.fromkeys(
        range(900, 909),
        "an epoch cannot be captured as a CUDA graph ({said}); please report it with the output of "
        "python -m minikd.backend; MINIKD_GRAPH=0 in the environment trains without graphs",
    ),
    46: "the card is taken ({said}); "
    "another process may hold it, or its compute mode forbids this one: nvidia-smi shows both",
    214: "the card's memory is faulty ({said}); "
    "try again; if it happens again, the card must be reset or replaced: nvidia-smi -q -d ECC counts such errors",
    222: "the driver is older than this CuPy's compiler ({said}); update the driver",
    802: "the card is not ready ({said}); "
    "see that the driver's services run, among them nvidia-fabricmanager where NVSwitch joins the cards",
    803: "the driver's library and its kernel module are of different versions ({said}); "
    "restart the machine, as after every update of the driver",
    804: "CUDA's forward compatibility does not serve this card ({said}); "
    "update the driver, or take the folder `compat` of CUDA out of LD_LIBRARY_PATH",
}
"""What is wrong and what to do, by CUDA's code of an error."""


class DeviceError(RuntimeError):
    """The GPU cannot be used, or it failed. The message says in one line why, and what to do."""


# ---- probing ---------------------------------------------------------------------------------------------------------


def probe_gpu() -> ModuleType:
    """Check that an import of CuPy, the driver, a device and a small product all work.

    If CuPy can be imported, there may still be no GPU. If there is a GPU, cuBLAS may still be missing.

    Returns:
        CuPy's module.

    Raises:
        DeviceError: if one of these does not work, in one line.
    """
    cupy = _import_cupy()
    try:
        wrong = _wrong_with(cupy)
    except Exception as error:
        wrong = _explain(error, cupy)
    if wrong:
        raise DeviceError(f"no GPU: {wrong}")
    return cupy


def _wrong_with(cupy: Any) -> str:
    """Say what of the driver, a device and a small product does not work, or "". CuPy may also raise."""
    runtime = cupy.cuda.runtime
    if not int(runtime.driverGetVersion()):
        return _no_driver()
    if not int(runtime.getDeviceCount()):
        return _no_device("the driver lists none")
    ones = cupy.asarray(np.ones((8, 8), np.float32))
    return "" if float(cupy.sum(_small_product(ones))) == 512.0 else f"a small product gave a wrong result; {LOOK}"


def _small_product(ones: Any) -> Any:
    """Compute one kernel compiled at run time (NVRTC) and one product (cuBLAS): what the training loop will need."""
    return (ones * 1.0) @ ones


@contextmanager
def gpu_errors() -> Iterator[None]:
    """Turn what CuPy or CUDA raises inside into a DeviceError of one line. Other errors pass."""
    try:
        yield
    except Exception as error:
        cause, cupy = _cause(error), sys.modules.get("cupy")
        theirs = {type(one).__module__.partition(".")[0] for one in (error, cause)} & {"cupy", "cupy_backends", "cuda"}
        cache = isinstance(cause, OSError) and cause.filename and _cache_fault(cause)  # else it may be any full disk
        if cupy is None or not (theirs or cache):
            raise
        raise DeviceError(f"the GPU failed: {_explain(error, cupy, training=True)}") from None


# ---- CuPy itself -----------------------------------------------------------------------------------------------------


def _import_cupy() -> ModuleType:
    """Return CuPy, if it is whole, built for NVIDIA's cards and new enough.

    Raises:
        DeviceError: if it is not.
    """
    if said := _stranger("cupy"):  # a script of the user's own must not even run
        raise DeviceError(f"no GPU: {said}")
    try:
        import cupy
    except Exception as error:
        raise DeviceError(f"no GPU: {_not_imported(error)}") from None
    if missing := [name for name in ("__version__", "asarray", "cuda", "ndarray") if not hasattr(cupy, name)]:
        bare = getattr(cupy, "__file__", None) is None  # a folder without __init__.py
        why = f"all that Python finds is the folder {cupy.__path__[0]}" if bare else f"it lacks cupy.{missing[0]}"
        raise DeviceError(f"no GPU: {_in_part(why)}")
    if getattr(getattr(cupy.cuda, "runtime", None), "is_hip", False):
        raise DeviceError(
            "no GPU: this CuPy is built for AMD's cards (ROCm), and minikd's kernels for NVIDIA's; "
            f"with a card of NVIDIA's, {_replace()}"
        )
    major = re.match(r"\d+", str(cupy.__version__))
    if major is None:
        raise DeviceError(f"no GPU: {_in_part(f'its version reads {cupy.__version__!r}')}")
    if int(major[0]) < OLDEST:
        raise DeviceError(f"no GPU: CuPy {cupy.__version__} is too old, version {OLDEST} is needed; {_replace()}")
    return cupy  # type: ignore[no-any-return]


def _not_imported(error: Exception) -> str:
    """Say why CuPy could not be imported."""
    if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
        if wheels := _wheels():
            return _in_part(f"{' and '.join(wheels)} should be here, but its files are gone")
        driver = _driver_version()
        return f"CuPy is not installed{'' if driver else ', and no NVIDIA driver is seen'}; install it: {_install()}"
    cause = _cause(error)
    if said := _stranger("cuda") or _cache_fault(cause):
        return said
    incomplete = isinstance(cause, ImportError) and (cause.path or "").endswith(".py")  # it names what is not there
    if incomplete or isinstance(cause, ModuleNotFoundError):
        return _in_part(_one_line(cause))
    return f'CuPy cannot be imported ({_one_line(cause)}); its full message: {_python()} -c "import cupy"'


def _in_part(why: str) -> str:
    return f"CuPy is only partly installed ({why}); {_replace()}"


def _stranger(package: str) -> str | None:
    """Name the file or folder that hides a package of CuPy, because Python looks in the working directory first.

    Args:
        package: "cupy", or "cuda", which CuPy needs.

    Returns:
        The words, or None if nothing hides it.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module that came from no file
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    home = origin.parent
    known = any((home / name).exists() for name in ("_core", "_version.py"))  # a few of CuPy's own files
    if origin.stem == "__init__" and (known or {"site-packages", "dist-packages"} & {*home.parts}):
        return None
    return f"Python takes {home if origin.stem == '__init__' else origin} for {package}; rename it"


def _wheels() -> list[str]:
    """Return the packages of CuPy that are installed, by pip's record. There should be one."""
    from importlib.metadata import distributions

    def name_of(one: Distribution) -> str:
        return str(_ask(lambda: one.metadata["Name"])).lower()  # half a package may lack its record

    names = {name_of(one) for one in distributions()}
    return sorted(name for name in names if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm")))


# ---- what to install -------------------------------------------------------------------------------------------------


def _install(extra: str | None = None) -> str:
    """Return the command that installs an extra; if none is given, the one for the driver, or `gpu12` without a driver.

    If minikd is installed, pip takes the extra from there, wherever it came from. A clone that was never installed is
    named by its folder, so that pip fetches no other package of the same name.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    extra = extra or ("gpu13" if _driver_version() >= 13000 else "gpu12")
    try:
        distribution("minikd")
        source = "minikd"
    except PackageNotFoundError:
        source = str(Path(__file__).parents[2])
    return f'{_python()} -m pip install "{source}[{extra}]"'


def _replace(extra: str | None = None) -> str:
    """Say how to install an extra anew. Packages that are there must go first, because they share files."""
    wheels = _wheels()
    remove = f"remove it ({_python()} -m pip uninstall -y {' '.join(wheels)}), then " if wheels else ""
    return f"{remove}install it: {_install(extra)}"


def _python() -> str:
    return f'"{sys.executable}"' if " " in sys.executable else sys.executable


def _setup() -> str:
    return f'{_python()} -c "import cupy; cupy.show_config()" shows how CuPy is set up'


def _driver_version() -> int:
    """Return CUDA's version of the driver, 1000·major + 10·minor, without CuPy; 0 where there is no driver."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version = ctypes.c_int(0)
        return version.value if library.cuDriverGetVersion(ctypes.byref(version)) == 0 else 0
    except (OSError, AttributeError):
        return 0


# ---- errors of CuPy and CUDA -----------------------------------------------------------------------------------------


def _explain(error: Exception, cupy: Any, *, training: bool = False) -> str:
    """Say what an error of CuPy or CUDA means, its cause, and what follows from it."""
    cause = _cause(error)
    said, kind, status = _one_line(cause), type(cause).__name__, getattr(cause, "status", None)
    code = status if kind in CUDA_ERRORS else None
    if isinstance(cause, MemoryError) or (kind, status) in OUT_OF_MEMORY:
        return _no_memory(said, cupy, training)
    if code == OLD_DRIVER:
        return _old_driver(said, cupy)
    if code == NO_DEVICE:
        return _no_device(said)
    if code in FAULTS:
        return FAULTS[code].format(said=said)
    if fault := _cache_fault(cause):
        return fault
    source = str(cause) if kind == "CompileException" else ""
    unloaded = isinstance(cause, ImportError) or (isinstance(cause, OSError) and cause.errno is None)
    if unloaded or kind == "DynamicLibNotFoundError" or "cannot open source file" in source:
        return _no_library(said)
    if code == NO_KERNEL or "--gpu-architecture" in source:
        return _no_kernel(said, cupy)
    if training and (source or code in KERNEL_FAULTS):
        return f"a kernel failed ({said}); {REPORT}"
    limit = os.environ.get("CUPY_GPU_MEMORY_LIMIT")
    if isinstance(cause, ValueError) and limit and limit.rstrip("%") in said:
        return f"CUPY_GPU_MEMORY_LIMIT is {limit!r} ({said}); set it to a number of bytes, or to a share such as 50%"
    return f"{said}; {LOOK if hasattr(cause, 'status') else _setup()}"


def _no_memory(said: str, cupy: Any, training: bool) -> str:
    room = _ask(lambda: cupy.cuda.runtime.memGetInfo())
    free = f": {room[0] / 2**30:.1f} of {room[1] / 2**30:.1f} GiB are free" if room else ""
    limit = os.environ.get("CUPY_GPU_MEMORY_LIMIT")
    advice = ["use smaller layers or batches"] * training
    advice += [f"CUPY_GPU_MEMORY_LIMIT is {limit}: raise it"] if limit else []
    advice += ["another process may hold the rest: nvidia-smi lists the processes"]
    return f"the GPU has too little memory ({said}){free}; {', or '.join(advice)}"


def _no_driver() -> str:
    advice = "install it"
    if sys.platform == "linux":
        advice += " (Debian: sudo apt install nvidia-driver, Ubuntu: sudo ubuntu-drivers install)"
        advice += "; a container must be started with the GPU (docker run --gpus all)"
    return f"the NVIDIA driver is missing or not loaded; {advice}; nvidia-smi must list the card"


def _old_driver(said: str, cupy: Any) -> str:
    driver = _ask(lambda: cupy.cuda.runtime.driverGetVersion()) or 0
    if driver == 0:
        return _no_driver()
    fits = "gpu13" if driver >= 13000 else "gpu12"
    served = f"CUDA {driver // 1000}.{driver % 1000 // 10}"
    if driver < 12000 or WHEELS[fits] in _wheels():
        return f"the driver is too old for this CuPy: it serves {served} ({said}); update the driver"
    return f"the driver serves {served}, this CuPy needs more ({said}); {_replace(fits)}"


def _no_device(said: str) -> str:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    nodes = [node for name in ("nvidiactl", "nvidia-uvm", "nvidia[0-9]*") for node in sorted(DEV.glob(name))]
    closed = [str(node) for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if hidden is not None:
        advice = f"CUDA_VISIBLE_DEVICES is {hidden!r}: unset it, or name a card that nvidia-smi -L lists"
    elif closed:
        advice = f"you may not open {', '.join(closed)}: ask for the right to read and write these files"
    else:
        advice = "nvidia-smi -L must list a card; a container must be started with it (docker run --gpus all)"
    return f"the driver works but shows no device ({said}); {advice}"


def _no_library(said: str) -> str:
    wheels = _wheels()
    extra = next((extra for extra, wheel in WHEELS.items() if wheels == [wheel]), None)
    if extra:
        advice = f"install them: {_install(extra)}"
    elif len(wheels) > 1:  # each loads libraries of its own version
        advice = _replace()
    else:
        advice = "install the CUDA toolkit that this CuPy was built for, or set CUDA_PATH to it"
    return f"CUDA's libraries are missing or broken ({said}); {advice}"


def _no_kernel(said: str, cupy: Any) -> str:
    card = _ask(lambda: str(cupy.cuda.Device().compute_capability))
    known = f"this card, of compute capability {card[:-1]}.{card[-1]}" if card else "this card"
    old = card and int(card) < 75 and (_ask(lambda: cupy.cuda.runtime.runtimeGetVersion()) or 0) >= 13000
    advice = f"CUDA 13 serves compute capability 7.5 and later; {_replace('gpu12')}" if old else LOOK
    return f"CuPy has no kernels for {known} ({said}); {advice}"


def _cache_fault(cause: BaseException) -> str | None:
    """Say that CuPy's cache of compiled kernels cannot be written, if that is what an error means."""
    if not isinstance(cause, OSError) or cause.errno is None:
        return None
    folder = Path(os.path.abspath(os.environ.get("CUPY_CACHE_DIR", os.path.expanduser("~/.cupy/kernel_cache"))))
    if isinstance(cause.filename, str):
        path = Path(os.path.abspath(cause.filename))
        if folder != path and folder not in path.parents and path not in folder.parents:
            return None
    elif cause.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    advice = f"make {folder} a writable folder with room, or set CUPY_CACHE_DIR to one"
    return f"CuPy cannot use its cache of compiled kernels ({_one_line(cause)}); {advice}"


def _cause(error: BaseException) -> BaseException:
    """Return the first error, from which the others were raised. CuPy wraps some in a heading."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _one_line(error: BaseException) -> str:
    """Return the first line of an error's message, shortened; with the error's class unless it names a code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    name = type(error).__name__
    text = lines[0] if lines and hasattr(error, "status") else ": ".join([name, *lines[:1]])
    return text if len(text) <= 200 else text[:199] + "…"


def _ask(question: Callable[[], Any]) -> Any:
    """Return the answer of a GPU that may be in trouble, or None if it gives no answer."""
    try:
        return question()
    except Exception:
        return None
