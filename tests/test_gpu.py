"""A GPU is known only by what it does; whatever is missing or fails is one line, with its cause and what follows."""

import errno
import importlib.util
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minikd import __version__
from minikd.commands import gpu as selftest
from minikd.commands import mnist
from minikd.data.images import Dataset
from minikd.engines import gpu
from minikd.engines.device import get_device
from minikd.engines.gpu import DeviceError, gpu_errors, probe_gpu
from minikd.paper.lab import executor as engine

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
        999: "cudaErrorUnknown: unknown error",
    },
)
CUDADriverError = cuda_error(
    "CUDADriverError",
    "cupy_backends.cuda.api.driver",
    {209: "CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for execution on the device"},
)
CUBLASError = cuda_error(
    "CUBLASError",
    "cupy_backends.cuda.libs.cublas",
    {1: "CUBLAS_STATUS_NOT_INITIALIZED", 3: "CUBLAS_STATUS_ALLOC_FAILED"},
)


class OutOfMemoryError(MemoryError):
    __module__ = "cupy.cuda.memory"


class CompileException(Exception):
    __module__ = "cupy.cuda.compiler"


class DynamicLibNotFoundError(RuntimeError):
    __module__ = "cuda.pathfinder._dynamic_libs.load_dl_common"


FULL = OutOfMemoryError("Out of memory allocating 1,000,000,000 bytes (allocated so far: 5,000,000,000 bytes).")
NO_NVRTC = DynamicLibNotFoundError(
    'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13 or libnvrtc.so.12\n'
)
ARCHITECTURE = CompileException("nvrtc: error: invalid value for --gpu-architecture (-arch)\n")
SYNTAX = CompileException('/tmp/a.cubin.cu(12): error: identifier "foo" is undefined\n')
HEADER = CompileException(
    '/tmp/a.cubin.cu(129): catastrophic error: cannot open source file "vector_types.h"\n  #include "vector_types.h"\n'
)


def raised_from(error, cause):
    error.__cause__ = cause
    return error


NO_CUBLAS = raised_from(
    ImportError('Failure finding "libcublasLt.so.13": No such file'),
    DynamicLibNotFoundError('Failure finding "libcublasLt.so.13": No such file'),
)
UNLOADED = raised_from(
    RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared object file"),
    OSError("libnvrtc.so.12: cannot open shared object file: No such file or directory"),
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


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine on which minikd is installed, with driver, wheels and environment as a test says."""
    known = SimpleNamespace(driver=13000, wheels=["cupy-cuda13x"])
    monkeypatch.setattr(gpu, "_driver_version", lambda: known.driver)
    installed = SimpleNamespace(
        distributions=lambda: [SimpleNamespace(metadata={"Name": name}) for name in known.wheels],
        distribution=lambda name: None,
        PackageNotFoundError=metadata.PackageNotFoundError,
    )
    monkeypatch.setattr(gpu, "metadata", installed)
    for name in ("CUDA_VISIBLE_DEVICES", "CUPY_CACHE_DIR", "CUPY_GPU_MEMORY_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    return known


@pytest.fixture
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


# ---- CuPy is missing, in part or whole, or is something else ---------------------------------------------------------


@pytest.mark.parametrize(("driver", "extra"), [(12090, "gpu12"), (13000, "gpu13"), (13020, "gpu13")])
def test_a_missing_cupy_is_named_with_the_extra_that_fits_the_driver(driver, extra, machine, refusal):
    machine.driver, machine.wheels = driver, []
    message = refusal(None)  # None: what an import of a module that is not there comes to
    assert message == f"no GPU: CuPy is not installed; {install(extra)}"


def test_a_missing_cupy_on_a_machine_without_a_driver_says_both(machine, refusal):
    machine.driver, machine.wheels = 0, []
    assert refusal(None) == f"no GPU: CuPy is not installed, and no NVIDIA driver is seen; {install('gpu12')}"


def test_a_clone_that_was_not_installed_is_installed_from_its_folder(machine, refusal, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    machine.wheels = []
    monkeypatch.setattr(gpu.metadata, "distribution", missing)
    assert f'-m pip install "{ROOT}[gpu13]"' in refusal(None)


def test_files_that_another_wheels_removal_took_are_missed(machine, refusal):
    machine.wheels = ["cupy-cuda13x"]  # pip uninstall cupy-cuda12x, where both were installed, leaves this
    message = refusal(None)
    assert message == (
        "no GPU: CuPy is only partly installed (cupy-cuda13x should be here, but its files are gone); "
        f"{remove('cupy-cuda13x')}{install('gpu13')}"
    )


def test_an_empty_leftover_folder_is_a_cupy_that_is_only_partly_installed(machine, refusal, tmp_path, monkeypatch):
    (tmp_path / "cupy").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    if importlib.util.find_spec("cupy").origin is not None:
        pytest.skip("a whole CuPy is installed here, and comes first")
    machine.wheels = []
    assert refusal() == (
        f"no GPU: CuPy is only partly installed (all that Python finds is the folder {tmp_path / 'cupy'}); "
        f"{install('gpu13')}"
    )


HEADING = """
================================================================
Failed to import CuPy.

If you installed CuPy via wheels (cupy-cudaXXX or cupy-rocm-X-X), make sure that the package matches with the version \
of CUDA or ROCm installed.

Original error:
  {name}: {error}
================================================================
"""


def wrapped(line):
    """The source of CuPy's own __init__.py: it sets the error of a line under a heading."""
    heading = HEADING.format(name="{type(e).__name__}", error="{e}")
    return f"try:\n    {line}\nexcept Exception as e:\n    raise ImportError(f'''{heading}''') from e\n"


PARTLY = {
    "cupy_backends is gone": (wrapped("import cupy_backends_that_is_gone"), "cupy_backends_that_is_gone"),
    "a part of cupy is gone": ("from cupy import a_part_that_is_gone", "cannot import name 'a_part_that_is_gone'"),
    "a package that it needs is gone": ("import cuda_that_is_gone", "No module named 'cuda_that_is_gone'"),
    "__init__.py is empty": ("", "it lacks cupy.__version__"),
    "the version is none": ("asarray = cuda = ndarray = __version__ = None", "its version reads None"),
    "the version is no number": ("asarray = cuda = ndarray = 1; __version__ = 'x'", "its version reads 'x'"),
    "__init__.py is cut short": ("__version__ = '14.2.0'\ndef asarray(): ...", "it lacks cupy.cuda"),
}
BROKEN = {
    "a library of the system": (
        wrapped("raise ImportError('libstdc++.so.6: version `GLIBCXX_3.4.29 not found')"),
        "ImportError: libstdc++.so.6: version `GLIBCXX_3.4.29 not found",
    ),
    "a DLL": (
        "raise ImportError('DLL load failed while importing core: The specified module could not be found.', "
        "path='core.pyd')",
        "ImportError: DLL load failed while importing core: The specified module could not be found.",
    ),
    "NumPy": ("raise AttributeError('np.float_ was removed')", "AttributeError: np.float_ was removed"),
    "an OSError": ("raise OSError('libcuda.so.1: cannot open shared object')", "OSError: libcuda.so.1: cannot open"),
    "no message": ("raise RuntimeError", "(RuntimeError)"),
}


@pytest.fixture
def cupy_of(tmp_path, monkeypatch):
    """An installed package `cupy` with this __init__.py."""

    def write(source, place="site-packages/cupy/__init__.py"):
        path = tmp_path / place
        path.parent.mkdir(parents=True)
        path.write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / place.partition("/")[0])
        return path

    return write


@pytest.mark.parametrize("case", PARTLY)
def test_a_cupy_that_lacks_a_part_is_only_partly_installed(case, cupy_of, refusal, machine):
    source, said = PARTLY[case]
    cupy_of(source)
    machine.driver = 12020
    machine.wheels = ["cupy-cuda12x", "cupy-cuda13x"]
    message = refusal()
    assert message.startswith("no GPU: CuPy is only partly installed (")
    assert said in message
    assert message.endswith(f"; {remove('cupy-cuda12x', 'cupy-cuda13x')}{install('gpu12')}")


@pytest.mark.parametrize("case", BROKEN)
def test_a_cupy_that_cannot_be_imported_repeats_the_cause_and_advises_nothing_else(case, cupy_of, refusal):
    source, said = BROKEN[case]
    cupy_of(source)
    message = refusal()
    assert message.startswith("no GPU: CuPy cannot be imported (")
    assert said in message
    assert message.endswith(f'; its full message: {sys.executable} -c "import cupy"')


OWN = {"harmless": "x = 1", "raises": "raise ValueError('of your own')", "ends Python": "raise SystemExit(3)"}


@pytest.mark.parametrize("case", OWN)
@pytest.mark.parametrize(("place", "named"), [("own/cupy.py", "own/cupy.py"), ("own/cupy/__init__.py", "own/cupy")])
def test_a_file_of_your_own_that_is_taken_for_cupy_is_named_and_does_not_run(
    case, place, named, cupy_of, refusal, tmp_path
):
    cupy_of(OWN[case], place)
    assert refusal() == f"no GPU: Python takes {tmp_path / named} for cupy; rename it"


def test_a_file_of_your_own_that_hides_what_cupy_needs_is_named(cupy_of, refusal, monkeypatch):
    monkeypatch.delitem(sys.modules, "cuda", raising=False)
    cupy_of("""raise ModuleNotFoundError("No module named 'cuda.pathfinder'", name="cuda.pathfinder")""")
    own = cupy_of("x = 1", "own/cuda.py")
    assert refusal() == f"no GPU: Python takes {own} for cuda; rename it"


@pytest.mark.parametrize("version", ["13.6.0", "9.0.0b1"])
def test_an_old_cupy_is_refused_with_its_version(version, refusal):
    assert refusal(fake_cupy(version=version)) == (
        f"no GPU: CuPy {version} is too old, version 14 is needed; {remove('cupy-cuda13x')}{install('gpu13')}"
    )


def test_a_cupy_for_amds_cards_is_refused(refusal, machine):
    machine.wheels = ["cupy-rocm-7-0"]
    message = refusal(fake_cupy(hip=True))
    assert "this CuPy is built for AMD's cards (ROCm)" in message
    assert message.endswith(f"{remove('cupy-rocm-7-0')}{install('gpu13')}")


# ---- the driver and the card -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", [0, CUDARuntimeError(35)], ids=["0", "an error"])
def test_a_missing_driver_is_named(driver, refusal):
    message = refusal(fake_cupy(driver=driver, devices=CUDARuntimeError(35)))
    assert message.startswith("no GPU: the NVIDIA driver is missing or not loaded; ")
    assert message.endswith("; nvidia-smi must list the card")
    assert "pip" not in message


@pytest.mark.parametrize(
    ("driver", "wheels", "advice"),
    [
        (12020, ["cupy-cuda13x"], f"{remove('cupy-cuda13x')}{install('gpu12')}"),
        (12020, ["cupy-cuda12x"], "update the driver"),
        (11040, ["cupy-cuda13x"], "update the driver"),  # neither extra serves it
        (13000, ["cupy-cuda13x"], "update the driver"),
    ],
)
def test_a_driver_that_is_too_old_is_named_with_what_helps_it(driver, wheels, advice, machine, refusal):
    machine.wheels = wheels
    message = refusal(fake_cupy(driver=driver, devices=CUDARuntimeError(35)))
    assert f"CUDA {driver // 1000}.{driver % 1000 // 10}" in message
    assert "CUDA driver version is insufficient" in message
    assert message.endswith(f"; {advice}")


@pytest.mark.parametrize("devices", [0, CUDARuntimeError(100)], ids=["none", "an error"])
@pytest.mark.parametrize("visible", [None, "", "9"])
def test_no_device_is_told_from_a_hidden_one(visible, devices, refusal, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "DEV", tmp_path)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    message = refusal(fake_cupy(devices=devices))
    assert message.startswith("no GPU: the driver works but shows no device (")
    assert "nvidia-smi -L" in message
    assert (f"CUDA_VISIBLE_DEVICES is {visible!r}: unset it" in message) == (visible is not None)


def test_a_card_that_you_may_not_open_is_named(refusal, monkeypatch, tmp_path):
    for name in ("nvidiactl", "nvidia0", "nvidia-modeset"):
        (tmp_path / name).touch()
    monkeypatch.setattr(gpu, "DEV", tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    message = refusal(fake_cupy(devices=CUDARuntimeError(100)))
    assert f"you may not open {tmp_path / 'nvidiactl'}, {tmp_path / 'nvidia0'}: ask for the right" in message


ADVICE = {  # the error, what stands in its line besides its own text, and the end of the line
    "busy or locked": (CUDARuntimeError(46), "the card is taken", "its compute mode forbids this one: nvidia-smi"),
    "ECC": (CUDARuntimeError(214), "memory is faulty", "nvidia-smi -q -d ECC counts such errors"),
    "an old driver": (CUDARuntimeError(222), "older than this CuPy's compiler", "; update the driver"),
    "not ready": (CUDARuntimeError(802), "not ready", "nvidia-fabricmanager where NVSwitch joins the cards"),
    "updated": (CUDARuntimeError(803), "of different versions", "restart the machine, as after every update"),
    "no kernel image": (CUDARuntimeError(209), "this card, of compute capability 9.0", gpu.LOOK),
    "no binary": (CUDADriverError(209), "this card, of compute capability 9.0", gpu.LOOK),
    "an unknown architecture": (ARCHITECTURE, "this card, of compute capability 9.0", gpu.LOOK),
    "a stub": (CUDARuntimeError(34), "the CUDA toolkit's stub", "out of LD_LIBRARY_PATH"),
    "forward compatibility": (CUDARuntimeError(804), "does not serve this card", "out of LD_LIBRARY_PATH"),
    "unknown": (CUDARuntimeError(999), "", gpu.LOOK),
    "a failed launch": (CUDARuntimeError(719), "", gpu.LOOK),
    "cuBLAS": (CUBLASError(1), "", gpu.LOOK),
    "a kernel of CuPy's": (SYNTAX, "CompileException: ", gpu._setup()),
    "another error": (ValueError("of another kind"), "ValueError: ", gpu._setup()),
    "no message": (RuntimeError(), "RuntimeError", gpu._setup()),
    "a file elsewhere": (PermissionError(errno.EACCES, "Permission denied", "/elsewhere"), "/elsewhere", gpu._setup()),
}


@pytest.mark.parametrize("case", ADVICE)
def test_a_failure_repeats_its_cause_and_advises_only_what_follows(case, refusal):
    error, what, advice = ADVICE[case]
    message = refusal(fake_cupy(product=error))
    assert str(error).strip() in message
    assert what in message
    assert advice in message
    assert "pip" not in message


@pytest.mark.parametrize("error", [FULL, CUDARuntimeError(2), CUBLASError(3)], ids=["CuPy", "CUDA", "cuBLAS"])
def test_a_full_card_says_how_much_is_free_and_who_may_hold_it(error, refusal, monkeypatch):
    end = "another process may hold the rest: nvidia-smi lists the processes"
    message = refusal(fake_cupy(product=error))
    assert message == f"no GPU: the GPU has too little memory ({gpu._one_line(error)}): 0.5 of 80.0 GiB are free; {end}"
    unasked = refusal(fake_cupy(product=error, memory=CUDARuntimeError(2)))  # a card that does not even tell
    assert unasked == f"no GPU: the GPU has too little memory ({gpu._one_line(error)}); {end}"
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", "1%")
    assert "CUPY_GPU_MEMORY_LIMIT is 1%: raise it" in refusal(fake_cupy(product=error))


@pytest.mark.parametrize(
    ("limit", "said"),
    [("4GB", "invalid literal for int() with base 10: '4GB'"), ("half%", "could not convert string to float: 'half'")],
)
def test_a_memory_limit_that_cupy_cannot_read_is_named(limit, said, refusal, monkeypatch):
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", limit)
    message = refusal(fake_cupy(product=ValueError(said)))
    assert message.startswith(f"no GPU: CUPY_GPU_MEMORY_LIMIT is '{limit}' (ValueError: ")
    assert message.endswith("; set it to a number of bytes, or to a share such as 50%")


@pytest.mark.parametrize("error", [CUDARuntimeError(209), ARCHITECTURE], ids=["no image", "no architecture"])
def test_a_card_that_cuda_13_has_left_behind_gets_cuda_12(error, refusal):
    message = refusal(fake_cupy(product=error, capability="61"))
    assert "of compute capability 6.1" in message
    assert message.endswith(f"{remove('cupy-cuda13x')}{install('gpu12')}")
    assert message != refusal(fake_cupy(product=error, capability="61", cuda=12090))


LIBRARIES = {"NVRTC": NO_NVRTC, "cuBLAS": NO_CUBLAS, "unloaded": UNLOADED, "headers": HEADER}


@pytest.mark.parametrize("case", LIBRARIES)
@pytest.mark.parametrize(
    ("wheels", "advice"),
    [
        (["cupy-cuda13x"], f'install them: {sys.executable} -m pip install "minikd[gpu13]"'),
        (["cupy-cuda12x"], f'install them: {sys.executable} -m pip install "minikd[gpu12]"'),  # never both wheels
        (["cupy-cuda12x", "cupy-cuda13x"], f"{remove('cupy-cuda12x', 'cupy-cuda13x')}{install('gpu13')}"),
        (["cupy"], "install the CUDA toolkit that this CuPy was built for, or set CUDA_PATH to it"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_missing_library_is_installed_with_the_wheel_that_is_there(case, wheels, advice, machine, refusal):
    error = LIBRARIES[case]
    machine.wheels = wheels
    message = refusal(fake_cupy(product=error))
    assert message.startswith("no GPU: CUDA's libraries are missing or broken (")
    assert str(error.__cause__ or error).splitlines()[0] in message
    assert message.endswith(f"; {advice}")


CACHE = {
    "a parent": FileNotFoundError(errno.ENOENT, "No such file or directory", "/no"),
    "the folder": PermissionError(errno.EACCES, "Permission denied", "/no/cache"),
    "a file": PermissionError(errno.EACCES, "Permission denied", "/no/cache/72f8.cubin"),
    "a read-only disk": OSError(errno.EROFS, "Read-only file system", "/no/cache/tmp1"),
    "a full disk": OSError(errno.ENOSPC, "No space left on device"),
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
}


@pytest.mark.parametrize("case", CACHE)
@pytest.mark.parametrize("when", ["at import", "at work"])
def test_a_kernel_cache_that_cannot_be_written_to_names_its_variable(case, when, refusal, monkeypatch, cupy_of):
    monkeypatch.setenv("CUPY_CACHE_DIR", "/no/cache")
    error = CACHE[case]
    if when == "at import":  # CuPy makes the folder there
        cupy_of(f"raise OSError(*{(*error.args, error.filename) if error.filename else error.args})")
        message = refusal()
    else:
        message = refusal(fake_cupy(product=error))
    assert message.startswith("no GPU: CuPy cannot use its cache of compiled kernels (")
    assert str(error) in message
    assert message.endswith(
        f"; make {Path('/no/cache').absolute()} a writable folder with room, or set CUPY_CACHE_DIR to one"
    )


@pytest.mark.parametrize("factor", [2.0, float("nan")])
def test_a_wrong_product_is_no_usable_gpu(factor, refusal):
    assert refusal(fake_cupy(factor=factor)) == f"no GPU: a small product gave a wrong result; {gpu.LOOK}"


def test_a_long_message_is_shortened(refusal):
    assert len(refusal(fake_cupy(product=RuntimeError("x" * 1000)))) < 350


def test_a_gpu_that_works_is_taken(monkeypatch):
    cupy = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert probe_gpu() is cupy
    device = get_device("gpu")
    assert (device.name, device.xp, device.host) == ("gpu", cupy, False)
    np.testing.assert_array_equal(device.get(device.put(np.arange(3))), np.arange(3))


def test_the_probe_of_this_machine_ends_in_a_gpu_or_in_one_line(monkeypatch):
    monkeypatch.undo()  # this machine, not that of the tests
    try:
        ended = get_device("gpu").xp.__name__
    except DeviceError as error:
        ended = str(error)
    assert re.fullmatch(r"cupy|no GPU: [^\n]+; [^\n]+", ended)


# ---- the GPU fails at work -------------------------------------------------------------------------------------------


def test_a_failure_at_work_is_one_line_and_other_errors_pass(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    with (
        pytest.raises(DeviceError, match=r"^the GPU failed: the card's memory is faulty \(cudaErrorECC") as caught,
        gpu_errors(),
    ):
        raise CUDARuntimeError(214)
    assert "\n" not in str(caught.value)
    for error in (
        ValueError("mine"),
        MemoryError("mine"),
        OSError(errno.EACCES, "mine", "/mine"),
        OSError(errno.ENOSPC, "a full disk"),
        KeyboardInterrupt(),
    ):
        with pytest.raises(type(error)) as same, gpu_errors():
            raise error
        assert same.value is error


FAILURES = {
    "memory": (FULL, "the GPU has too little memory (OutOfMemoryError: Out of memory allocating 1,000,000,000 bytes"),
    "launch": (CUDARuntimeError(719), "a kernel failed (cudaErrorLaunchFailure: unspecified launch failure)"),
    "address": (CUDARuntimeError(700), "a kernel failed (cudaErrorIllegalAddress: "),
    "compiler": (
        SYNTAX,
        'a kernel failed (CompileException: /tmp/a.cubin.cu(12): error: identifier "foo" is undefined',
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_gpu_that_fails_in_training_ends_the_command_in_one_line(case, capsys, tmp_path, monkeypatch):
    error, said = FAILURES[case]
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(mnist, "get_device", lambda name, tf32: SimpleNamespace(name="gpu"))
    monkeypatch.setattr(
        mnist, "load_mnist", lambda: [Dataset(np.zeros((9, 2, 2), np.uint8), np.arange(9, dtype=np.uint8) % 2, "9")] * 2
    )
    monkeypatch.setattr(mnist.runs, "obtain", fail)
    with pytest.raises(SystemExit) as caught:
        mnist.main(["--gpu", "--out", str(tmp_path), "--batch-size", "3", "--teacher-batch-size", "3"])
    line = capsys.readouterr().err
    assert caught.value.code == 2
    assert line.startswith(f"minikd.mnist: the GPU failed: {said}")
    assert line.count("\n") == 1
    assert ("use smaller layers or batches, or another process may hold" in line) == (case == "memory")
    assert (gpu.REPORT in line) == (case != "memory")


def test_a_gpu_that_fails_in_a_job_of_the_paper_says_so_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    monkeypatch.setattr(engine, "get_device", lambda name: None)

    def fail(settings, inputs, device):
        raise FULL

    with pytest.raises(
        DeviceError, match=r"^the GPU failed: the GPU has too little memory .*use smaller layers or batches"
    ):
        engine.perform(fail, {}, {}, "gpu")


# ---- one advice everywhere -------------------------------------------------------------------------------------------


def test_the_extras_that_are_advised_are_those_of_pyproject():
    extras = re.findall(
        r'^(gpu\d+) = \["([\w-]+)\[ctk\]>=(\d+)"\]$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M
    )
    assert {extra: wheel for extra, wheel, _ in extras} == gpu.WHEELS
    assert {int(oldest) for _, _, oldest in extras} == {gpu.OLDEST}


@pytest.mark.parametrize("page", ["README.md", "TROUBLESHOOTING.md", "notebooks/10-on-the-gpu.ipynb"])
def test_the_pages_advise_the_extras_as_the_errors_do(page):
    text = (ROOT / page).read_text("utf-8")
    assert set(re.findall(r"\bgpu\d+", text)) <= gpu.WHEELS.keys()
    advised = [word for word in re.split(r"[\s`]+", text) if re.search(r"\[gpu\d", word)]
    assert {word.rstrip(".,;:)\\n") for word in advised} <= {f'"minikd[{extra}]"' for extra in gpu.WHEELS}
    assert "cupy-cuda" not in text
    if page.endswith(".md"):
        commands = set(re.findall(r'-m pip install "minikd\[gpu1[23]\]"', text))
        assert commands == {gpu._install("gpu13").removeprefix(sys.executable).strip()}


# ---- python -m minikd.backend ----------------------------------------------------------------------------------------


def backend_command(*options):
    command = [sys.executable, "-W", "error", "-m", "minikd.backend", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_the_self_test_explains_itself_and_names_its_version():
    ended = backend_command("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: python -m minikd.backend ")
    assert "exit status:" in ended.stdout
    ended = backend_command("--version")
    assert (ended.returncode, ended.stdout) == (0, f"minikd {__version__}\n")


def test_the_self_test_refuses_what_it_does_not_know():
    ended = backend_command("--gpu")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "unrecognized arguments: --gpu" in ended.stderr


@pytest.mark.parametrize(("status", "fails"), [(0, None), (1, None), (2, FULL), (2, DeviceError("no GPU: gone; away"))])
def test_the_self_test_ends_with_its_status_and_one_line_for_a_failure(status, fails, capsys, monkeypatch):
    def report(device):
        if fails is not None:
            raise fails
        return status

    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    monkeypatch.setattr(selftest, "get_device", lambda name: None)
    monkeypatch.setattr(selftest, "describe", lambda device: ["the card"])
    monkeypatch.setattr(selftest, "report", report)
    with pytest.raises(SystemExit) as caught:
        selftest.main([])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (status, "the card\n")
    assert re.fullmatch(r"minikd\.backend: (the GPU failed|no GPU): [^\n]+\n" if fails else "", err)
