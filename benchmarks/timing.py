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
from typing import Any, NamedTuple

import numpy as np

from minikd.engines.device import CPU, Device, to_host

PAUSE = 0.05  # seconds before a turn
LEAST = 5  # rounds, however long they take
TURN = 5  # times in a turn, where the host computes
BLOCK = 50  # steps between two synchronisations, on a GPU

Step = Callable[[], Any]
"""One step of a contestant; returns what must agree with the others', or None."""


class Steps(NamedTuple):
    """A contestant whose every call takes several steps, as a launch of a CUDA graph does.

    Attributes:
        call: takes the steps; returns what each of them must agree on, (steps, ...), or None.
        steps: how many.
        alive: what must not be freed while the call is in use. A graph has the addresses of the arrays that were there
            before it, and does not keep them alive.
    """

    call: Callable[[], Any]
    steps: int
    alive: Any = None

    def __call__(self) -> Any:
        return self.call()


Contestants = Mapping[str, Step | Steps]


@dataclass
class Bench:
    """Where to measure and how long; gathers why a contestant was left out.

    Attributes:
        pace: what the seconds of each row are multiplied with.
    """

    device: Device = CPU
    quick: bool = False
    pace: float = 1.0
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """The device as it is called in file names and on the command line."""
        return "cpu" if self.device.host else "gpu"

    @property
    def graph(self) -> int:
        """The number of steps that a contestant takes per call if it can take any number."""
        return 2 if self.quick else BLOCK if self.place == "gpu" else TURN

    def wait(self) -> None:
        """Until the device has done its work, PyTorch's too."""
        if self.device.name == "gpu":
            self.device.xp.cuda.Device().synchronize()

    def leave_out(self, what: str, error: Exception) -> None:
        """Note that a contestant takes no part, and why."""
        self.left_out[what] = (str(error).strip() or type(error).__name__).splitlines()[0]

    def measure(
        self,
        steps: Contestants,
        seconds: float,
        turn: int = TURN,
        block: int = BLOCK,
        warm: bool = True,
        tolerance: float | None = 1e-4,
    ) -> dict[str, Any]:
        """Run rounds for this many seconds. Return how many times were taken, and the quartiles of seconds per step.

        Args:
            steps: the contestants.
            seconds: as `take_turns` takes it, at pace 1.
            turn: as `take_turns` takes it, where the host computes.
            block: as `take_turns` takes it, on a GPU.
            warm: as `take_turns` takes it.
            tolerance: as `agree` takes it, or None for steps that return different things.
        """
        if tolerance is not None:
            agree(steps, tolerance)
        on_gpu = self.place == "gpu"
        pace = {"turn": 1 if on_gpu else turn, "block": block if on_gpu else 1, "least": LEAST, "pause": PAUSE}
        if self.quick:
            pace = {"turn": 1, "block": 1, "least": 1, "pause": 0.0}
        seconds = 0.0 if self.quick else seconds * self.pace
        rounds, times = take_turns(steps, seconds=seconds, warm=warm, wait=self.wait, **pace)
        return {"rounds": rounds, "timed": len(next(iter(times.values()))), "seconds": quartiles(times)}


def take_turns(
    steps: Contestants,
    *,
    seconds: float,
    least: int,
    turn: int = 1,
    block: int = 1,
    pause: float = 0.0,
    warm: bool = True,
    wait: Callable[[], None] = lambda: None,
) -> tuple[int, dict[str, list[float]]]:
    """Return the number of rounds, and each contestant's seconds per step, one for each time taken.

    Args:
        steps: the contestants.
        seconds: no round begins after these, once there were `least`.
        least: rounds, however long they take.
        turn: times that are taken in a turn.
        block: steps that are timed as one. A contestant that takes more of them per call takes as many fewer times.
        pause: seconds before a turn.
        warm: whether a turn begins with a call that is not timed.
        wait: returns when the device is done.
    """
    names = list(steps)
    times: dict[str, list[float]] = {name: [] for name in names}
    began, rounds = perf_counter(), 0
    while rounds < least or perf_counter() - began < seconds:
        first = rounds % len(names)
        for name in names[first:] + names[:first]:
            step, each = steps[name], _per_call(steps[name])
            calls = max(1, block // each)
            sleep(pause)
            if warm:
                step()
            wait()
            for _ in range(max(1, turn * block // (calls * each))):
                start = perf_counter()
                for _ in range(calls):
                    step()
                wait()
                times[name].append((perf_counter() - start) / (calls * each))
        rounds += 1
    return rounds, times


def _per_call(step: Step | Steps) -> int:
    return step.steps if isinstance(step, Steps) else 1


def quartiles(times: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return lower quartile, median and upper quartile of each contestant's seconds, to four digits."""
    return {name: [float(f"{q:.4g}") for q in np.percentile(t, [25, 50, 75])] for name, t in times.items()}


def over(row: Mapping[str, Any], name: str, *others: str) -> float:
    """Return a contestant's median over the best median of the others that took part; nan where none did."""
    medians = {contestant: median for contestant, (_, median, _) in row["seconds"].items()}
    return medians.get(name, math.nan) / min((medians[other] for other in others if other in medians), default=math.nan)


def agree(steps: Contestants, tolerance: float) -> None:
    """Check that the first two steps return the same whoever takes them: else the clock compares different things.

    Args:
        steps: the contestants.
        tolerance: relative to the largest element. 1e-4 leaves room for float32 sums of a thousand terms in another
            order, about 1e-6, which pass through the first update into the second step.
    """
    came = {name: _first_two(step) for name, step in steps.items()}
    values = {name: value for name, value in came.items() if value is not None}
    for name, value in values.items():
        first = next(iter(values.values()))
        for got, expected in zip(value, first, strict=True):
            if not np.max(np.abs(got - expected)) <= tolerance * np.max(np.abs(expected)):
                raise SystemExit(f"the contestants do not take the same step: {name} gives {got}, not {expected}")


def _first_two(step: Step | Steps) -> list[np.ndarray] | None:
    """Return what a contestant's first two steps return, on the host, or None if they return nothing.

    Each value is read before the next step, which may write to the same memory.
    """
    hosts: list[np.ndarray] = []
    for _ in range(max(1, 2 // _per_call(step))):
        if (value := step()) is None:
            return None
        hosts.append(np.array(to_host(value.cpu() if hasattr(value, "cpu") else value)))
    return list(hosts[0][:2]) if isinstance(step, Steps) else hosts
