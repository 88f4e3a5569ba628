"""Choices that minikd makes for you: the temperature, the weight of the soft targets, and how to train.

Each choice comes with the reason for it, one sentence with the numbers that decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import guard, temperature
from minikd.core.guard import labels as labels_of
from minikd.core.softmax import softmax
from minikd.theory.host import cases
from minikd.training.config import TrainConfig

NARROW, WIDE = (3.0, 8.0), (30.0, 3.0)
"""Two students: units per class, and the range of the logits in units of T that suits such a student."""


class Choice(NamedTuple):
    """A number that was chosen, and why.

    Attributes:
        value: the number.
        why: one sentence.
    """

    value: float
    why: str


@guard(v=cases)
def choose_T(v: NDArray[Any], hidden: Sequence[int]) -> Choice:
    """Choose the temperature for a student from the range of its teacher's logits and its own width.

    A class that lies b below the teacher's top pulls with the share exp(−b/T) of the top's weight (derivation D4.6). For
    the least likely class, b is the range R of the logits. So R/T decides how much of the tail the student must match:

    - A wide student can match all logits, so the tail may keep a share of 5 %: T = R/3. From there on distillation is
      so near to matching logits (derivation D3.10) that a higher T changes little.
    - A narrow student cannot. At T = R/8 a class half-way down keeps 2 %, and the last one 0.03 %.

    Wide means at least 30 units per class in the narrowest hidden layer, and narrow at most 3. In between, R/T falls as
    a power of the width. Rows M4 and M5 of PAPER.md (30 to 800 units, 10 classes, a range of 24 to 29) decided these
    numbers. That classes count as the width's unit is our reading: K − 1 logits per example must come out of one layer.
    T is never below 1, where T² would weaken the soft targets (derivation D5.7).

    Args:
        v: (N, K) float, the teacher's logits of the transfer set, in nats.
        hidden: the units of each of the student's hidden layers, at least one.

    Raises:
        ValueError: if a shape is wrong, or a logit is not finite.
        TypeError: if a dtype is wrong.

    >>> logits = np.array([[24.0, 9.0, 0.0], [0.0, 24.0, 8.0]])
    >>> round(choose_T(logits, hidden=(90,)).value, 2), round(choose_T(logits, hidden=(9, 9)).value, 2)
    (8.0, 3.0)
    """
    if not hidden:
        raise ValueError("hidden must name at least one layer, got none: give its units, such as (300, 300)")
    K, R = v.shape[1], float(np.median(np.ptp(v, axis=-1)))
    per_class = min(hidden) / K
    power = math.log(NARROW[1] / WIDE[1]) / math.log(WIDE[0] / NARROW[0])
    nats = WIDE[1] * (WIDE[0] / min(max(per_class, NARROW[0]), WIDE[0])) ** power  # R/T
    T = min(max(1.0, R / nats), 1e6)
    about = f"the teacher's logits have a range of {R:.3g} in the median"
    if R < nats:
        return Choice(T, f"T = {T:g}, because {about}: so small a range needs no softening.")
    able = "can match all logits" if per_class >= WIDE[0] else "must leave the least likely classes out"
    if NARROW[0] < per_class < WIDE[0]:
        able = "can match most logits"
    return Choice(
        T,
        f"T = {T:.3g}, because {about}, and a student with {per_class:.3g} units per class {able}: the range is "
        f"{nats:.2g} T, so the least likely class keeps {100 * math.exp(-nats):.2g} % of the likeliest one's weight.",
    )
