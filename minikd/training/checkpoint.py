"""Checkpoints: arrays and a JSON record in one safetensors file, written whole or not at all, checked when read.

There is no pickle, so reading a stranger's checkpoint runs none of the stranger's code. The file's metadata hold three
texts: `format` (the name and version of this layout), `record` (JSON) and `sha256` (over the arrays and the record, so
that one flipped bit is noticed). Any safetensors reader can open the file.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as bytes_from_arrays

from minikd.system.files import remove_leftovers, write_atomically

FORMAT = "minikd-checkpoint-1"
_ANOTHER_COPY = "use another copy, or remove it and run again"


class CheckpointError(ValueError):
    """A checkpoint cannot be written or trusted. One line says which file, what is wrong and how to fix it."""

    def __init__(self, path: str | os.PathLike[str], wrong: str, fix: str) -> None:
        super().__init__(" ".join(f"{os.fspath(path)}: {wrong}: {fix}".splitlines()))


class CheckpointMissingError(CheckpointError):
    """There is no file at the path."""


def digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 of named arrays. Two are equal exactly if all names, dtypes, shapes and bytes are equal.

    NaN payloads and the sign of zero matter. Byte order and memory layout do not.

    Args:
        arrays: host arrays of booleans or numbers, of any shape, by name.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: if an array has another dtype.

    >>> W = np.zeros((2, 3), dtype=np.float32)
    >>> digest({"W": W})[:8], digest({"W": W.reshape(3, 2)})[:8]
    ('9027214c', '672917bc')
    """
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = _plain(arrays[name])
        # The dtype and the shape say how many bytes follow, so no two mappings feed the hash the same text.
        sha.update(json.dumps([name, array.dtype.str, array.shape]).encode() + b"\n")
        sha.update(array.reshape(-1).view(np.uint8).data)
    return sha.hexdigest()


def save(path: str | os.PathLike[str], arrays: Mapping[str, npt.NDArray[Any]], record: Mapping[str, Any]) -> None:
    """Write arrays and a record as one checkpoint. A reader finds the old file or the new one, never a part.

    Args:
        path: the file.
        arrays: host arrays of any shape, by name, of dtypes that safetensors knows.
        record: plain JSON types, with keys of text. Tuples come back as lists, NaN and ±inf as themselves.

    Raises:
        CheckpointError: if that fails. A file that was there before is then untouched.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/student", {"b": np.ones(2)}, {"epoch": 3})
    ...     load(f"{folder}/student")
    ({'b': array([1., 1.])}, {'epoch': 3})
    """
    try:
        text = json.dumps(dict(record), sort_keys=True)
        if "__metadata__" in arrays:
            raise ValueError("safetensors keeps the name __metadata__ for itself")
        plain = {name: _plain(array) for name, array in arrays.items()}
        data = bytes_from_arrays(plain, {"format": FORMAT, "record": text, "sha256": _seal(plain, text)})
    except (TypeError, ValueError, RecursionError, SafetensorError) as error:
        fix = "give NumPy arrays of numbers, named by text, and a record of plain JSON types"
        raise CheckpointError(path, f"cannot be saved ({error})", fix) from error
    try:
        write_atomically(path, data)
    except OSError as error:
        wrong = f"cannot be written ({error.strerror or error}); what stood there before is untouched"
        raise CheckpointError(path, wrong, "make room, or save to another path") from error


def load(path: str | os.PathLike[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Return what `save` wrote, bit for bit, or refuse.

    Temporary files that a killed save left for this path are removed.

    Args:
        path: the file.

    Returns:
        (arrays, record). The arrays are writable and own their memory.

    Raises:
        CheckpointMissingError: if there is no file.
        CheckpointError: if the file is damaged, cut short, of another kind or of another version.
    """
    remove_leftovers(Path(os.path.realpath(path)))
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CheckpointError(path, "not a regular file", "give the path of a file that minikd saved")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata.get("format", ""))
            # Copies, because safetensors promises neither writable arrays nor ones that own their memory.
            arrays = {name: np.array(_plain(file.get_tensor(name))) for name in file.keys()}  # noqa: SIM118 (no iteration)
    except FileNotFoundError as error:
        raise CheckpointMissingError(path, "no such file", "check the path, or train without it first") from error
    except OSError as error:
        wrong = f"cannot be read ({error.strerror or error})"
        raise CheckpointError(path, wrong, "check the path and its permissions") from error
    except (SafetensorError, TypeError, AttributeError, KeyError) as error:  # the last three: a dtype that NumPy lacks
        raise CheckpointError(path, f"damaged or cut short, or not safetensors ({error})", _ANOTHER_COPY) from error

    text = metadata.get("record", "")
    if _seal(arrays, text) != metadata.get("sha256"):
        raise CheckpointError(path, "damaged (its contents do not match its sha256)", _ANOTHER_COPY)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, f"its record is not JSON ({error})", _ANOTHER_COPY) from error
    if not isinstance(record, dict):
        raise CheckpointError(path, "its record is not a JSON object", _ANOTHER_COPY)
    return arrays, record


def _check_format(path: str | os.PathLike[str], kind: str) -> None:
    """Refuse a file of another kind, or of another version."""
    if not kind.startswith("minikd-checkpoint-"):
        raise CheckpointError(path, "not a minikd checkpoint", "give the path of a file that minikd saved")
    if kind != FORMAT:
        raise CheckpointError(path, f"its format is {kind!r}, this minikd reads {FORMAT!r}", "upgrade minikd")


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the same numbers in the layout of the file: C order, little-endian. The shape stays, even if it is ()."""
    array = np.asarray(array)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"an array holds {array.dtype}, not numbers")
    return array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)


def _seal(arrays: Mapping[str, npt.NDArray[Any]], text: str) -> str:
    """Return the sha256 that the file holds: over the arrays' digest, then the record's text."""
    return hashlib.sha256((digest(arrays) + text).encode()).hexdigest()
