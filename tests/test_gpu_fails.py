"""What is said where the driver, the card or the work on it fails."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import broken_cupy
import numpy as np
import pytest
from broken_cupy import ROOT, CUDARuntimeError, cuda_error, fake_cupy, install, remove

from minikd import __version__
from minikd.commands import gpu as selftest
from minikd.commands import mnist
from minikd.data.images import Dataset
from minikd.engines import gpu
from minikd.engines.device import get_device
from minikd.engines.gpu import DeviceError, gpu_errors, probe_gpu
from minikd.paper.lab import executor as engine

machine = pytest.fixture(autouse=True)(broken_cupy.machine)
refusal = pytest.fixture(broken_cupy.refusal)
cupy_of = pytest.fixture(broken_cupy.cupy_of)

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
    "a capture": (CUDARuntimeError(900), "cannot be captured as a CUDA graph", "MINIKD_GRAPH=0 in the environment"),
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


@pytest.mark.slow
def test_the_self_test_explains_itself_and_names_its_version():
    ended = backend_command("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: python -m minikd.backend ")
    assert "exit status:" in ended.stdout
    ended = backend_command("--version")
    assert (ended.returncode, ended.stdout) == (0, f"minikd {__version__}\n")


@pytest.mark.slow
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
