"""What the letters of the derivations mean, for one case or a batch: in SymPy's symbols, or in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import sympy as sp
from mpmath import mpf

from derivations.checks import pairs, zero_mean
from derivations.checks.symbolic import CLASSES, T
from derivations.meaning import Meaning


def array(numbers: Iterable[Any]) -> np.ndarray:
    """Numbers, or rows of them, of any kind."""
    return np.array(list(numbers), dtype=object)


def softmax(e: Meaning, z: np.ndarray) -> np.ndarray:
    """Of one case, or of each row."""
    exponentials = e.apply("exp", z)
    return (exponentials.T / exponentials.sum(axis=-1)).T


def indices(letters: str, count: int) -> dict[str, range]:
    return {letter: range(1, count + 1) for letter in letters}


def one_case(
    z: Iterable, v: Iterable, T: Any, symbolic: bool = False, words: dict | None = None, **more: Any
) -> Meaning:
    """A student with the logits z and a teacher with v at the temperature T, and the soft cost."""
    z, v = array(z), array(v)
    symbols = {
        "z": z, "v": v, "T": T, "K": len(z),
        "q": lambda e: softmax(e, e.z / e.T),
        "p": lambda e: softmax(e, e.v / e.T),
        "C": lambda e: (e.p * (e.apply("log", e.apply("exp", e.z / e.T).sum()) - e.z / e.T)).sum(),
        "R_z": max(z) - min(z) if not symbolic else None,
        "R_v": max(v) - min(v) if not symbolic else None,
        "delta": np.identity(len(z), dtype=int).astype(object),
    }  # fmt: skip
    return Meaning({**symbols, **more}, indices("ijkl", len(z)), words, symbolic)


def symbolic_cases(classes: Iterable[int] = CLASSES, **more: Any) -> Iterator[Meaning]:
    """A case of each number of classes, in symbols."""
    for K in classes:
        z, v = (sp.symbols(f"{letter}1:{K + 1}", real=True) for letter in "zv")
        yield one_case(z, v, T, symbolic=True, **more)


FEW = [mpf(1) / 10, mpf(1), mpf(8), mpf(1000)]


def numeric_cases(
    temperatures: Iterable[Any] = FEW,
    count: int = 8,
    classes: tuple[int, ...] = (2, 3, 5, 10),
    centred: bool = False,
    **more: Any,
) -> Iterator[Meaning]:
    """Random, tied, one-hot and far-spread logits at each temperature."""
    for z, v in pairs(count, classes):
        if centred:
            z, v = zero_mean(z), zero_mean(v)
        for t in temperatures:
            yield one_case(z, v, t, **more)
