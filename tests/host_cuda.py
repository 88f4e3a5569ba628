"""CUDA source compiled for the host and launched there, every access to memory checked; `host_cuda.h` says how.

A wrong index, a write through const, two threads that meet at one item without a barrier in between, and a barrier that
not all threads of a block reach end the launch with a `KernelError`. What this cannot show: the GPU's rounding (nvcc
fuses a · b + c), its limits of registers and shared memory, and an index that strays from one array into another.
"""

from __future__ import annotations

import ctypes
import functools
import getpass
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HEADER = Path(__file__).with_name("host_cuda.h")
FLAGS = ("-O1", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-builtin", "-U_FORTIFY_SOURCE", "-w")
IGNORED = ("-lineinfo", "--generate-line-info", "--fmad=")  # nothing here depends on them


class KernelError(RuntimeError):
    """A kernel did what no kernel may do: the message names the thread, the array and the access."""


@functools.cache
def compiler() -> str | None:
    """The path of the host's C++ compiler, None where there is none that is known to work."""
    return next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None) if sys.platform == "linux" else None


# ---- kernels ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameter:
    """A kernel's parameter: a pointer to items of the dtype, or a value of it."""

    name: str
    pointer: bool
    const: bool
    restrict: bool
    dtype: np.dtype


@dataclass(frozen=True)
class Kernel:
    """A kernel's signature, the most threads its block may have, and the way to launch it."""

    name: str
    parameters: list[Parameter]
    max_threads: int
    call: int  # the address of a function that takes the arguments' addresses
    start: Callable[..., None]

    def launch(self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any]) -> None:
        """Run it on checked arguments: for pointers NumPy arrays or None, for values NumPy scalars.

        An array is C-contiguous, but for steps along its first axis; what lies between its rows is not its own.

        Raises: ValueError where two arrays overlap that must not; KernelError for what a thread did.
        """
        values = [
            np.array(0 if one is None else _address(one), np.uintp) if parameter.pointer else np.array(one)
            for one, parameter in zip(arguments, self.parameters, strict=True)
        ]
        pieces = self._pieces(arguments)
        fault = _Fault()
        self.start(
            ctypes.c_void_p(self.call),
            (ctypes.c_void_p * len(values))(*map(_address, values)),
            (ctypes.c_uint * 12)(*[0] * 6, *block, *grid),
            (_Region * len(pieces))(*(piece.region for piece in pieces)),
            len(pieces),
            ctypes.byref(fault),
        )
        if fault.kind:
            raise KernelError(f"{self.name}: {_tell(fault, pieces)}")

    def _pieces(self, arguments: Sequence[Any]) -> list[_Piece]:
        """The memory that the kernel may touch; pieces that overlap become one."""
        pieces: list[_Piece] = []
        for array, parameter in zip(arguments, self.parameters, strict=True):
            if array is None or not parameter.pointer:
                continue
            for part in [array] if array.flags.c_contiguous else array:
                start = _address(part)
                new = _Region(start, start + part.nbytes, part.itemsize, not parameter.const)
                for piece in list(pieces):
                    old, other = piece.region, piece.parameter
                    if old.start >= new.stop or new.start >= old.stop:
                        continue
                    if (parameter.restrict or other.restrict) and (old.writable or new.writable):
                        raise ValueError(
                            f"{self.name}: {other.name} and {parameter.name} overlap, one of them may be written and "
                            "one is __restrict__: give it memory of its own, or drop __restrict__"
                        )
                    pieces.remove(piece)
                    new.start, new.stop = min(new.start, old.start), max(new.stop, old.stop)
                    new.item, new.writable = min(new.item, old.item), new.writable or old.writable
                pieces.append(_Piece(new, parameter, array))
        return pieces


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


_OUTSIDE, _CONSTANT, _RACE, _BARRIER = range(1, 5)  # kinds of fault


class _Region(ctypes.Structure):
    _fields_ = [
        ("start", ctypes.c_size_t), ("stop", ctypes.c_size_t), ("item", ctypes.c_int), ("writable", ctypes.c_int),
        ("cells", ctypes.c_void_p),
    ]  # fmt: skip


class _Fault(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_int), ("write", ctypes.c_int), ("other", ctypes.c_int), ("size", ctypes.c_int),
        ("address", ctypes.c_size_t), ("block", ctypes.c_uint * 3), ("thread", ctypes.c_uint * 3),
    ]  # fmt: skip


class _Piece(NamedTuple):
    """A stretch of memory, and the array it belongs to."""

    region: _Region
    parameter: Parameter
    array: np.ndarray

    def distance(self, address: int) -> int:
        return max(self.region.start - address, address - self.region.stop + 1, 0)


def _tell(fault: _Fault, pieces: list[_Piece]) -> str:
    """What a thread did, in words."""
    who = f"thread {tuple(fault.thread)} of block {tuple(fault.block)}"
    if fault.kind == _BARRIER:
        other = f"waits at line {fault.other}" if fault.other else "has ended"
        return f"{who} waits at the barrier of line {fault.size}, but another thread of its block {other}"
    nearest = min(pieces, key=lambda piece: piece.distance(fault.address), default=None)
    far = nearest.distance(fault.address) if nearest else sys.maxsize
    if far and fault.kind != _OUTSIDE:
        what = "shared memory"
    elif far > 2**30:
        what = f"address {fault.address:#x}"
    else:
        items = (fault.address - _address(nearest.array)) // nearest.array.itemsize
        what = f"{nearest.parameter.name}[{items}], its shape {nearest.array.shape}"
    did = f"{who} {'writes' if fault.write else 'reads'} {what}"
    if fault.kind == _OUTSIDE:
        return f"{did}: outside all arrays"
    if fault.kind == _CONSTANT:
        return f"{did}: it is const"
    other = {-1: "another block", 0xFFFF: "other threads"}.get(fault.other, f"thread {fault.other}")
    return f"{did}: {other} used it too, with no barrier in between"


# ---- the compiler ----------------------------------------------------------------------------------------------------


def load(code: str, options: tuple[str, ...] = ()) -> dict[str, Kernel]:
    """The kernels of a source by name.

    Args: options as for NVRTC: -DNAME, -DNAME=value, -std=c++17 or newer; the options of `IGNORED` change nothing here.
    Raises: ValueError for another option and for a source that does not compile.
    """
    given = ["-std=c++17"]
    for option in options:
        if re.fullmatch(r"-D\w+(=.*)?|--?std=c\+\+(17|20)", option):
            given.append(re.sub("^--std", "-std", option))
        elif not option.startswith(IGNORED):
            raise ValueError(f"the host's compiler has nothing for the option {option!r}: use -D… or -std=c++17")
    plain = re.sub(r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), code, flags=re.DOTALL)
    if "#include" in plain:
        raise ValueError("#include: NVRTC reads none of the host's headers, and the kernels need none")
    found = re.findall(r"__global__\s+void\s+(?:__launch_bounds__\s*\(\s*(\w+)[^)]*\)\s*)?(\w+)\s*\(([^)]*)\)", plain)
    exports = "".join(f"HOST_CUDA_EXPORT({name}, {threads or 1024})\n" for threads, name, _ in found)
    library = ctypes.PyDLL(str(_build(f'#line 1 "kernels"\n{code}\n#line 1 "exports"\n{exports}', tuple(given))))
    library.host_cuda_launch.restype = None
    return {name: _kernel(library, name, text) for _, name, text in found}


def _kernel(library: ctypes.PyDLL, name: str, text: str) -> Kernel:
    """One of the library's kernels: names and __restrict__ from the source, types from the compiler."""
    signature = getattr(library, f"host_cuda_signature_{name}")
    signature.restype = ctypes.c_char_p
    parameters = []
    for code, declared in zip(signature().decode().split(), filter(str.strip, text.split(",")), strict=True):
        last = re.findall(r"\w+", declared)[-1]
        if code[2] == "?":
            raise ValueError(f"{name}: the type of {last} is none that NumPy knows")
        parameters.append(
            Parameter(last, code[0] == "p", code[1] == "c", "__restrict__" in declared, np.dtype(code[2:]))
        )
    call = ctypes.cast(getattr(library, f"host_cuda_call_{name}"), ctypes.c_void_p).value
    return Kernel(name, parameters, getattr(library, f"host_cuda_threads_{name}")(), call, library.host_cuda_launch)


@functools.cache
def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout


def _build(source: str, options: tuple[str, ...]) -> Path:
    """The library of a source, compiled unless an earlier run has; it appears under its name when it is whole."""
    path = compiler()
    if path is None:
        raise RuntimeError("kernels on the host need Linux and a C++ compiler: install g++ (Debian: apt install g++)")
    parts = (source, HEADER.read_text(), path, _version(path), *FLAGS, *options)
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    cache = Path(tempfile.gettempdir(), f"minikd-host-cuda-{getpass.getuser()}")
    cache.mkdir(mode=0o700, exist_ok=True)
    library = cache / f"{key[:32]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=cache) as place:
            work = Path(place)
            (work / "kernels.cpp").write_text(f'#include "{HEADER}"\n{source}')
            kernels = (*FLAGS, *options, "-fsanitize=thread", "-c", "kernels.cpp", "-o", "kernels.o")
            runtime = ("-O2", *FLAGS[1:], "-std=c++17", "-DHOST_CUDA_RUNTIME", "-shared", "-Wl,--no-undefined")
            for arguments in (kernels, (*runtime, "kernels.o", "-x", "c++", str(HEADER), "-o", "library.so", "-lm")):
                done = subprocess.run([path, *arguments], cwd=work, capture_output=True, text=True)
                if done.returncode:
                    raise ValueError(f"the kernels do not compile:\n{done.stderr}")
            os.replace(work / "library.so", library)
    return library
