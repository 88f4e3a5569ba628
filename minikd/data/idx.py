"""IDX files, MNIST's format: 0, 0, a code for the type, the number of axes, a big-endian uint32 per axis, the elements.

The bytes of a file, not its name, tell whether it is packed. If a file cannot be read, the error says what it is.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import math
import struct
import sys
import zlib
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import FIXES, RANKS

if TYPE_CHECKING:
    if sys.version_info >= (3, 11):
        from importlib.resources.abc import Traversable as Traversable
    else:
        from importlib.abc import Traversable as Traversable
    _Stream = IO[bytes] | gzip.GzipFile | lzma.LZMAFile

_AXES = {"images": ("examples", "rows", "columns"), "labels": ("examples", "columns")}
_TYPES = {8: np.uint8, 9: np.int8, 11: np.int16, 12: np.int32, 13: np.float32, 14: np.float64}
_QMNIST_COLUMNS = 8  # of its labels, int32 with 2 axes; the first is the class
_PACKINGS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz"}
_UNPACK = "unpack it, and give the folder of what was in it"
_FOREIGN = {  # what people have in place of an IDX file, by its first bytes, and how to get one
    b"PK\3\4": ("a zip archive", _UNPACK),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    b"BZh": ("a bzip2 stream", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("a Zstandard stream", _UNPACK),
    b"\x93NUMPY": ("a NumPy file", "load it with numpy.load, and build a minikd.data.images.Dataset"),
    b"version https://git-lfs": ("a Git LFS pointer", "fetch the file that it stands for"),
    b"<": ("a web page", "download the file itself"),
}
_CHUNK = 1 << 20


class IdxError(ValueError):
    """This file cannot be read. The message says what is wrong with it, and `fix` what to do about it."""

    def __init__(self, problem: str, fix: str = "download it again") -> None:
        super().__init__(problem)
        self.fix = fix


def read_idx(file: Traversable, kind: str, sha256: str = "") -> NDArray[Any]:
    """Read the array in an IDX file, plain or packed by gzip or xz.

    Memory grows with the bytes that are there, never with what the header claims.

    Args:
        file: a path, or a file inside a package.
        kind: "images" or "labels".
        sha256: the digest that the unpacked bytes must have, in hex, or "" for any.

    Returns:
        Images, (N, rows, cols), or labels, (N,), of the type that the header names. Of QMNIST's labels this is the
        first column, which is the class.

    Raises:
        IdxError: if the file cannot be read, or holds something else.
    """
    packing = ""
    try:
        with file.open("rb") as packed:
            packing = _packing(packed.read(6))
            packed.seek(0)
            with closing(_unpacked(packed, packing)) as stream:
                data, dtype, shape = _decode(stream, kind, packing)
    except (gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise IdxError(f"damaged {packing} stream ({error})") from error
    except OSError as error:
        raise IdxError(f"cannot be read ({error.strerror})", "check its permissions") from error
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise IdxError("its SHA-256 is not the expected one")
    array = np.frombuffer(data, dtype=dtype, offset=4 + 4 * len(shape)).reshape(shape)
    if kind == "images" or array.ndim == 1:
        return array
    if shape[1] != _QMNIST_COLUMNS or array.max() <= 1:  # of 0 and 1 only: rows with a 1 in the class's column
        found = f"{_words(dtype, 2)}, {shape[0]} × {shape[1]}"
        raise IdxError(f"holds {found}, not the {_QMNIST_COLUMNS} columns of QMNIST's labels", FIXES["labels"])
    return array[:, 0]


def _packing(head: bytes) -> str:
    return next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), "")


def _unpacked(packed: IO[bytes], packing: str) -> _Stream:
    if packing == "gzip":
        return gzip.GzipFile(fileobj=packed, mode="rb")
    return lzma.LZMAFile(packed, format=lzma.FORMAT_XZ) if packing else packed


def _decode(stream: _Stream, kind: str, packing: str) -> tuple[bytearray, np.dtype[Any], tuple[int, ...]]:
    """Return the unpacked bytes, and the type and shape in their header."""
    data, dtype, rank = bytearray(), np.dtype(np.uint8), RANKS[kind]
    _extend(data, stream, 4)
    if any(data[:2]):
        _extend(data, stream, 24)
        raise _foreign(bytes(data), packing)
    if len(data) == 4:
        dtype, rank = _elements(kind, data[2], data[3])
    header = 4 + 4 * rank
    _extend(data, stream, header)
    if len(data) < header:
        raise IdxError(f"truncated: a header has {header} bytes, found {len(data)}")
    shape = struct.unpack(f">{rank}I", data[4:])
    if 0 in shape:
        raise IdxError(f"the header promises 0 {_AXES[kind][shape.index(0)]}")
    promised = header + math.prod(shape) * dtype.itemsize
    _extend(data, stream, promised + 1)  # reading up to the end also lets gzip and xz check their sums
    if len(data) < promised:
        raise IdxError(f"truncated: the header promises {promised} bytes, found {len(data)}")
    if len(data) > promised:
        raise IdxError(f"oversized: the header promises {promised} bytes, but more follow")
    return data, dtype, shape


def _extend(data: bytearray, stream: _Stream, size: int) -> None:
    """Read on until `data` has `size` bytes or the stream ends, one chunk at a time, because `size` may be a lie."""
    while len(data) < size and (chunk := stream.read(min(_CHUNK, size - len(data)))):
        data += chunk


def _elements(kind: str, code: int, rank: int) -> tuple[np.dtype[Any], int]:
    """Return the dtype and the rank that a header names, where such a file may have them."""
    if code not in _TYPES:
        raise IdxError(f"not an IDX file, whose third byte names a type, or damaged: got 0x{code:02x}")
    dtype = np.dtype(_TYPES[code]).newbyteorder(">")
    if rank == RANKS[kind] or (kind == "labels" and (dtype, rank) == (np.dtype(">i4"), 2)):  # the second: QMNIST's
        return dtype, rank
    if rank not in range(1, 5):
        found = f"not an IDX file of {kind}: its header says {_words(dtype, rank)}"
        raise IdxError(found, f"put the {kind} file in its place")
    other = next((name for name, its in RANKS.items() if its == rank and dtype == np.uint8), "")
    problem = f"holds {_words(dtype, rank)}, but {kind} have {RANKS[kind]}"
    raise IdxError(problem, f"these may be {other}: put the {kind} file in its place" if other else FIXES[kind])


def _words(dtype: np.dtype[Any], rank: int) -> str:
    return f"{dtype.name} numbers with {rank} {'axis' if rank == 1 else 'axes'}"


def _foreign(head: bytes, packing: str) -> IdxError:
    """Return the error about a file that begins like this and is no IDX file."""
    within = f" inside {packing}" if packing else ""
    if inner := _packing(head):
        return IdxError(f"holds {inner}{within}", "unpack it once")
    for magic, (words, fix) in _FOREIGN.items():
        if head.lstrip().startswith(magic):
            return IdxError(f"holds {words}{within}, not IDX", fix)
    return IdxError(f"holds bytes{within} that are not IDX, they begin with 0x{head[:4].hex()}")
