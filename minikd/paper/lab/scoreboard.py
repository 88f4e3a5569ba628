"""A row of the scoreboard: a claim of the paper, its figure, the jobs that measure ours, and how they are judged.

Rows name their jobs by profile: "smoke" proves that the code runs and claims nothing, "cpu" gives real figures on two
cores, "full" repeats them with more seeds at full length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minikd.paper.lab.jobs import Job, Result

PROFILES = ("smoke", "cpu", "full")
REPRODUCED, DIRECTION, NOT = "reproduced", "reproduced in direction", "not reproduced"


class Outcome(NamedTuple):
    """What came of a row: our figure in words, the verdict, why, and the numbers behind it in plain JSON."""

    ours: str
    verdict: str
    why: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A claim.

    id: as the project numbers the paper's claims. claim: in a line; {members} in it stands for the size of an ensemble.
    paper: the paper's figure, as text. jobs: profile → the row's jobs by name. judge: profile and their results →
    outcome. members: profile → the size of its ensemble.
    """

    id: str
    claim: str
    paper: str
    jobs: Callable[[str], dict[str, Job]]
    judge: Callable[[str, Mapping[str, Result]], Outcome]
    members: Callable[[str], int] = lambda profile: 0

    def about(self, profile: str) -> str:
        """The claim as a profile tests it."""
        members = self.members(profile)
        return self.claim.format(members="ten" if members == 10 else members)


# ---- statistics ------------------------------------------------------------------------------------------------------


def mean_sd(values: Sequence[float], digits: int = 1) -> str:
    """ "119.0 ± 4.9": the mean and the standard deviation; of a single value the value alone.

    >>> mean_sd([118, 120]), mean_sd([118])
    ('119.0 ± 1.4', '118')
    """
    if len(values) == 1:
        return f"{round(values[0], digits):g}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def fraction(part: float, whole: float) -> float | None:
    """part / whole, or None where there is no whole: a share of nothing, or of a loss, has no meaning.

    >>> fraction(2.0, 4.0), fraction(-1.0, 0.0), fraction(-2.0, -4.0)
    (0.5, None, None)
    """
    return part / whole if whole > 0 else None


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p that paired differences have no direction: the share of all sign patterns with a mean as far from 0.

    Exact for up to 16 pairs, the most that are taken. With n pairs it is never below 2^(1 − n).

    >>> sign_flip_p([1.0, 2.0, 3.0]), sign_flip_p([1.0, -1.0])
    (0.25, 1.0)
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or not 1 <= len(d) <= 16:
        raise ValueError(f"sign_flip_p takes 1 to 16 differences, got shape {d.shape}")
    sums = np.abs(np.array(list(product((1.0, -1.0), repeat=len(d)))) @ d)  # (2ⁿ,)
    return float(np.mean(sums >= abs(d.sum()) * (1 - 1e-12)))


def near(value: float, figure: float, out_of: int = 10_000) -> bool:
    """Whether a mean count of errors is at most the paper's, which is of a single run, and two binomial sd."""
    return value <= figure + 2 * math.sqrt(figure * (1 - figure / out_of))
