"""What the doctor found: the diagnosis that the learner gets, in a terminal or in a notebook."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from minikd.system.console import fit
from minikd.system.html import verdict as as_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What the doctor found. It is true if the gradient is right; `print` it, or let a notebook show it.

    Attributes:
        right: whether the gradient is right.
        verdict: in one line.
        details: what is wrong and where to look.
        mistakes: by name; empty if the gradient is right, or wrong in a way that the doctor does not know.
        alternatives: other sets of mistakes, which give the same numbers.
        error: max |yours − truth| / max |truth|, the worst of all probes.
        oracle: where the truth comes from.
        output: the gradient that is shown, as in "dz".
        worst: the index of its largest error; empty if it has another shape than the truth.
        yours: that gradient, at the first probe where it is wrong.
        truth: what it should be there.
    """

    right: bool
    verdict: str
    details: tuple[str, ...]
    mistakes: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...]
    error: float
    oracle: str
    output: str
    worst: tuple[int, ...] = ()
    yours: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    truth: NDArray[Any] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", fit(self.verdict))  # it is often printed without the rest

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return fit("\n".join([self.verdict, *(f"  {line}" for line in (*self.details, f"truth: {self.oracle}"))]))

    __repr__ = __str__

    def rows(self, count: int = 5) -> list[tuple[str, float, float, float]]:
        """Return the worst elements: index, yours, the truth, and their ratio (nan if the truth is zero)."""
        if self.yours.shape != self.truth.shape:
            return []
        with np.errstate(all="ignore"):
            distance = np.abs(self.yours - self.truth)
        order = np.argsort(-np.where(np.isnan(distance), np.inf, distance), axis=None, kind="stable")[:count]
        indices = list(zip(*np.unravel_index(order, self.truth.shape), strict=True))
        pairs = [(float(self.yours[index]), float(self.truth[index])) for index in indices]
        ratios = [yours / truth if truth else math.nan for yours, truth in pairs]
        return [(element(self.output, i), *pair, ratio) for i, pair, ratio in zip(indices, pairs, ratios, strict=True)]

    def _repr_html_(self) -> str:
        rows = [(where, *(f"{number:.6g}" for number in numbers)) for where, *numbers in self.rows()]
        head = ("", "yours", "truth", "yours / truth")
        return as_html(self.right, self.verdict, self.details, head, rows, f"truth: {self.oracle}")

    def plot(self) -> Figure:
        """Return a figure of the ratio of yours to the truth, element by element: `minikd.plots.gradient_ratio`."""
        from minikd.plots import gradient_ratio

        return gradient_ratio(self.yours, self.truth, name=self.output)


def element(name: str, index: tuple[int, ...]) -> str:
    """Return "dz[2, 1]"."""
    return f"{name}[{', '.join(map(str, index))}]"
