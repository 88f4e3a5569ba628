"""Side tasks, such as saving, that must not take much of the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter

SHARE = 0.05
"""The share of the time that a side task may take."""


class Pace:
    """Decides when a task is due: the first time, and then whenever it has taken at most `SHARE` of the time.

    Args:
        clock: returns the time in seconds.

    >>> times = iter([0.0, 1.0, 15.0, 21.0, 22.0])
    >>> pace, done = Pace(lambda: next(times)), []
    >>> for epoch in (1, 2, 3):  # a save takes 1 s, so the next one is due after 19 s more
    ...     pace.do(lambda: done.append(epoch))
    >>> done
    [1, 3]
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock, self._due = clock, -math.inf

    def do(self, task: Callable[[], object]) -> None:
        """Call the task if it is due."""
        began = self._clock()
        if began < self._due:
            return
        task()
        ended = self._clock()
        self._due = ended + (ended - began) * (1 / SHARE - 1)
