"""Values as plain JSON types, on their way between `minikd grade` and the process that runs a reader's file.

Nothing is pickled: a reader's file must not decide what runs in the process that judges it.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

LARGEST = 64 * 2**20
"""Bytes of the largest array that is passed on."""


def encode(value: Any) -> dict[str, Any]:
    """Return a value as JSON types. Of what is no number, array, tuple or list, only the type's name is kept.

    >>> encode((1.5, ...))
    {'kind': 'tuple', 'parts': [{'kind': 'number', 'value': 1.5}, {'kind': 'dots'}]}
    >>> encode("six")
    {'kind': 'other', 'name': 'str'}
    """
    if value is None or value is Ellipsis:
        return {"kind": "nothing" if value is None else "dots"}
    if type(value) in (bool, float) or (type(value) is int and abs(value) < 2**63):
        return {"kind": "number", "value": value}
    if type(value) in (tuple, list) and len(value) < 100:
        return {"kind": type(value).__name__, "parts": [encode(part) for part in value]}
    scalar = isinstance(value, np.generic)
    if (scalar or type(value) is np.ndarray) and value.dtype.kind in "biufc" and value.nbytes <= LARGEST:
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {
            "kind": "array",
            "dtype": value.dtype.str,
            "shape": list(value.shape),
            "data": data,
            "scalar": scalar,
        }
    return {"kind": "other", "name": type(value).__name__}


def decode(record: dict[str, Any]) -> Any:
    """Return the value that `encode` was given. What it did not keep becomes an object of a type of that name.

    >>> decode(encode((np.ones(2, np.float32), None)))
    (array([1., 1.], dtype=float32), None)
    """
    kind = record["kind"]
    if kind in ("nothing", "dots"):
        return None if kind == "nothing" else ...
    if kind == "number":
        return record["value"]
    if kind in ("tuple", "list"):
        parts = [decode(part) for part in record["parts"]]
        return tuple(parts) if kind == "tuple" else parts
    if kind == "array":
        array = np.frombuffer(base64.b64decode(record["data"]), record["dtype"]).reshape(record["shape"]).copy()
        return array[()] if record["scalar"] else array
    return type(str(record["name"]), (), {})()
