"""Arrays from an .npz file that anybody may have made: nothing is unpickled, and nothing expands without bound."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from minikd.data.checks import DataError, no_empty_axis
from minikd.data.classes import listed

LIMIT = 4 << 30
"""Bytes that the arrays of a file may have in all, unpacked."""
_LARGE = 256 << 20
"""Bytes above which an array is refused if packing made it more than `_DENSEST` times smaller."""
_DENSEST = 1000
_HEAD = 1 << 14  # bytes; NumPy refuses headers of more than 10,000
_CHUNK = 1 << 20
_KINDS = "biufSU"  # bools, numbers, bytes, strings
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; zipfile bounds no step of the others


def read_npz(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), only: Sequence[str] = ()
) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Return arrays of an .npz file by name, and the names of the other arrays, which are not read.

    Memory grows with the bytes that are there, never with what a header claims, and not beyond `LIMIT`.

    Args:
        path: the file.
        required: the names of the arrays that must be there.
        optional: the names of those that may be there.
        only: the names of those of the required arrays that are read, or none to read all arrays.

    Raises:
        DataError: if the file cannot be read, or an array is missing, too large or of another kind. Object arrays are
            refused, because they can only be unpickled, which would run whatever code they hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            missing = [name for name in required if name not in there]
            if missing:
                holds = listed(list(there)) if there else "nothing"
                fix = f"numpy.savez(FILE, {', '.join(f'{name}=…' for name in required)}) writes what is needed"
                raise DataError(f"{path}: there is no array {' or '.join(missing)}, the file holds {holds}: {fix}")
            arrays, left = {}, LIMIT
            for name in only or (*required, *(name for name in optional if name in there)):
                arrays[name] = _array(archive, there[name], f"{path}: {name}", left)
                left -= arrays[name].nbytes
            return arrays, [name for name in there if name not in (*required, *optional)]
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): check the file") from None
    except Exception as error:  # a damaged file makes zipfile and NumPy raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged, or not an .npz file ({reason[:120]}): write it again") from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str, most: int) -> NDArray[Any]:
    """Return one array of at most `most` bytes."""
    if info.compress_type not in _PACKINGS:
        raise DataError(f"{what} is packed in a way that NumPy does not write: write it with numpy.savez_compressed")
    with archive.open(info) as stream:
        head = io.BytesIO(stream.read(_HEAD))  # a header cannot ask for more
        version = npy.read_magic(head)
        if version not in _HEADERS:
            raise DataError(f"{what} has a header of version {version}, for records only: give a plain array")
        shape, by_columns, dtype = _HEADERS[version](head)
        if dtype.hasobject:
            fix = "save text as y.astype(str), and numbers as x.astype(float)"
            raise DataError(f"{what} holds Python objects, which could run code when they are read: {fix}")
        if dtype.kind not in _KINDS:
            raise DataError(f"{what} must hold numbers or strings, got {dtype}: convert it")
        size = math.prod(shape) * dtype.itemsize
        if size <= 0 or min(shape, default=1) < 0:
            raise DataError(f"{what} must not be empty, got shape {shape} of {dtype}: {no_empty_axis(shape)}")
        if size > most:
            before = f", and those before it have {LIMIT - most:,}" if most < LIMIT else ""
            fix = "use uint8 for images and float32 for features, or fewer examples"
            limit = f"the arrays of a file may have {LIMIT:,} in all{before}"
            raise DataError(f"{what} unpacks to {size:,} bytes, but {limit}: {fix}")
        if size > _LARGE and size > _DENSEST * info.compress_size:
            found = f"{info.compress_size:,} bytes that unpack to {size:,}"
            raise DataError(f"{what} has {found}, so its numbers are nearly all alike: look at how it was made")
        data = bytearray(head.read())
        while len(data) <= size and (chunk := stream.read(min(_CHUNK, size + 1 - len(data)))):
            data += chunk  # reading up to the end also lets zipfile check the sum
    if len(data) != size:
        found = f"only {len(data):,}" if len(data) < size else "more"
        raise DataError(f"{what} is damaged: its header promises {size:,} bytes, found {found}: write it again")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
