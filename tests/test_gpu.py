"""What is said where CuPy is missing, in part or whole, or is something else."""

import importlib.util
import sys
from importlib import metadata

import broken_cupy
import pytest
from broken_cupy import ROOT, CUDARuntimeError, fake_cupy, install, remove

machine = pytest.fixture(autouse=True)(broken_cupy.machine)
refusal = pytest.fixture(broken_cupy.refusal)
cupy_of = pytest.fixture(broken_cupy.cupy_of)


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
    monkeypatch.setattr(metadata, "distribution", missing)
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
