"""The clock: contestants take turns in one process, so that whatever else the machine does falls on all of them alike.

Threads of OpenBLAS and OpenMP spin for a while after their work is done, and would burden whoever comes next. So each
turn is a pause in which they fall asleep, a step that is not timed, and some that are; and the order turns too. On a
GPU, where a step is over before its work is done, a block of steps is timed from one synchronisation to the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Any

import numpy as np

from minikd.engines.device import CPU, Device, to_host

PAUSE = 0.05  # seconds before a turn
LEAST = 5  # rounds, however long they take
BLOCK = 50  # steps between two synchronisations, on a GPU

Step = Callable[[], Any]
"""One step of a contestant; returns what must agree with the others', or None."""


@dataclass
class Bench:
    """Where to measure and how long; gathers why a contestant was left out."""

    device: Device = CPU
    quick: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The device as it is called in file names and on the command line."""
        return "cpu" if self.device.host else "gpu"

    def wait(self) -> None:
        """Until the device has done its work, PyTorch's too."""
        if self.device.name == "gpu":
            self.device.xp.cuda.Device().synchronize()

    def measure(
        self,
        steps: Mapping[str, Step],
        seconds: float,
        turn: int = 5,
        block: int = BLOCK,
        warm: bool = True,
        tolerance: float | None = 1e-4,
    ) -> dict[str, Any]:
        """Run rounds for this many seconds. Return how many steps were timed, and the quartiles of seconds per step.

        turn counts where the host computes, block on a GPU; tolerance as `agree` takes it, or None for steps that
        return different things.
        """
        if tolerance is not None:
            agree(steps, tolerance)
        on_gpu = self.place == "gpu"
        pace = {"turn": 1 if on_gpu else turn, "block": block if on_gpu else 1, "least": LEAST, "pause": PAUSE}
        if self.quick:
            seconds, pace = 0.0, {"turn": 1, "block": 1, "least": 1, "pause": 0.0}
        rounds, times = take_turns(steps, seconds=seconds, warm=warm, wait=self.wait, **pace)
        return {"rounds": rounds, "timed": len(next(iter(times.values()))), "seconds": quartiles(times)}


def take_turns(
    steps: Mapping[str, Step],
    *,
    seconds: float,
    least: int,
    turn: int = 1,
    block: int = 1,
    pause: float = 0.0,
    warm: bool = True,
    wait: Callable[[], None] = lambda: None,
) -> tuple[int, dict[str, list[float]]]:
    """The number of rounds, and the seconds of each step timed.

    Args: steps by name; seconds after which no round begins, once there were `least`; in a turn, `turn` times `block`
        steps after a pause and, with warm, a step that is not timed; wait, until the device is done.
    """
    names = list(steps)
    times: dict[str, list[float]] = {name: [] for name in names}
    began, rounds = perf_counter(), 0
    while rounds < least or perf_counter() - began < seconds:
        first = rounds % len(names)
        for name in names[first:] + names[:first]:
            step = steps[name]
            sleep(pause)
            if warm:
                step()
            wait()
            for _ in range(turn):
                start = perf_counter()
                for _ in range(block):
                    step()
                wait()
                times[name].append((perf_counter() - start) / block)
        rounds += 1
    return rounds, times


def quartiles(times: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Lower quartile, median and upper quartile of each contestant's seconds, to four digits."""
    return {name: [float(f"{q:.4g}") for q in np.percentile(t, [25, 50, 75])] for name, t in times.items()}


def over(row: Mapping[str, Any], name: str, *others: str) -> float:
    """A contestant's median over the best median of the others that took part; nan where none did."""
    medians = {contestant: median for contestant, (_, median, _) in row["seconds"].items()}
    return medians.get(name, math.nan) / min((medians[other] for other in others if other in medians), default=math.nan)


def agree(steps: Mapping[str, Step], tolerance: float) -> None:
    """What the first two steps return must be the same whoever takes them: else the clock compares different things.

    The tolerance is relative to the largest element. 1e-4 leaves room for float32 sums of a thousand terms in another
    order, about 1e-6, which pass through the first update into the second step.
    """
    for _ in range(2):
        came = {name: value for name, step in steps.items() if (value := step()) is not None}
        values = {name: to_host(value.cpu() if hasattr(value, "cpu") else value) for name, value in came.items()}
        for name, value in values.items():
            first = next(iter(values.values()))
            if not np.max(np.abs(value - first)) <= tolerance * np.max(np.abs(first)):
                raise SystemExit(f"the contestants do not take the same step: {name} gives {value}, not {first}")


# ---- the machine -----------------------------------------------------------------------------------------------------
