"""Arrays in files of strangers: nothing is unpickled, and no memory is taken because a header says so."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MARKS = {";": "semicolons", "\t": "tabs"}
"""What other programs write between numbers."""


def read_npy(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array of numbers in a .npy file, in the byte order of this machine.

    The file is mapped, so a header that promises more than the file holds is refused before any memory is taken.

    Args:
        path: the file.

    Raises:
        ValueError: if it is no such file, or holds something else than numbers. The message names the file.
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{os.fspath(path)}: not a .npy file: write it with numpy.save")
    try:
        mapped = np.load(Path(path), mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # NumPy's parser of headers lets through whatever Python's own raises
        fix = "save an array of numbers, not of Python objects" if "object" in str(error).lower() else "save it again"
        wrong = " ".join(str(error).split())
        raise ValueError(f"{os.fspath(path)}: damaged, or not an array of numbers ({wrong}): {fix}") from None
    if mapped.dtype.kind not in "biuf":
        raise ValueError(f"{os.fspath(path)}: it holds {mapped.dtype}, not numbers: encode them as numbers first")
    return np.array(mapped, mapped.dtype.newbyteorder("="), order="C")  # a copy: the file may change


def read_csv(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Return the numbers in a .csv file, (N, D): commas between them, one example per line, with or without a header.

    The first line is a header if none of its cells is a number.

    Args:
        path: the file, in UTF-8.

    Raises:
        ValueError: if it holds anything else. The message names the file, the line and the column.
        OSError: if it cannot be read.
    """
    rows: list[list[float]] = []
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            for cells in lines:
                if not cells:
                    continue
                numbers = [_number(cell) for cell in cells]
                if None in numbers:
                    if lines.line_num == 1 and _is_header(cells):
                        continue
                    raise ValueError(f"{name}: line {lines.line_num}, {_wrong(cells, numbers.index(None))}")
                if rows and len(numbers) != len(rows[0]):
                    got = f"{len(numbers)} numbers, the first has {len(rows[0])}"
                    raise ValueError(f"{name}: every line must have as many numbers, line {lines.line_num} has {got}")
                rows.append([number for number in numbers if number is not None])
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{name}: not a table in UTF-8 ({error}): save it as CSV") from None
    if not rows:
        raise ValueError(f"{name}: it holds no line of numbers: give one example per line")
    return np.array(rows)


def _is_header(cells: list[str]) -> bool:
    """Return whether a first line names columns. A line with one number is an example, perhaps a damaged one."""
    text = "".join(cells)
    return bool(text) and not any(mark in text for mark in _MARKS) and all(_number(cell) is None for cell in cells)


def _wrong(cells: list[str], column: int) -> str:
    """Return what is wrong with a cell that is no number."""
    for mark, name in _MARKS.items():
        if mark in cells[column]:
            return f"column {column + 1}: there are {name} between the numbers: write commas, and numbers with a point"
    got = f"got {cells[column][:20]!r}"
    return f"column {column + 1} must be a number, {got}: write numbers with a point, and commas between them"


def _number(cell: str) -> float | None:
    """Return the number in a cell, or None."""
    try:
        return float(cell)
    except ValueError:
        return None
