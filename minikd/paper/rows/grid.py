"""M4 and M5: which T suits which width (Hinton et al. 2015, section 3).

Students of one width and one seed differ in T alone: a population that shares its batches and its first weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row, sign_flip_p
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import training

TEMPERATURES = (1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0)
LOW = (2.5, 3.0, 4.0)  # the paper's best for 30 units
NOISE = 10  # errors: about the binomial standard deviation of one run


class Cell(NamedTuple):
    """A width's students: how many seeds, of how many epochs each."""

    width: int
    seeds: int
    epochs: int


PLANNED = {
    "smoke": (Cell(8, 2, 1), Cell(16, 2, 1)),
    "cpu": (Cell(30, 8, 20), Cell(100, 5, 10), Cell(300, 5, 8), Cell(800, 3, 6)),
    "full": tuple(Cell(width, 10, 60) for width in (30, 100, 300, 800)),
}


def _jobs(wanted: Callable[[str, Cell], bool]) -> Callable[[str], dict[str, Job]]:
    def jobs(profile: str) -> dict[str, Job]:
        by, data = teacher(profile), PLANS[profile].data
        named = {}
        for cell in PLANNED[profile]:
            for seed in range(cell.seeds if wanted(profile, cell) else 0):
                config = student(
                    profile,
                    hidden=(cell.width,) * 2,
                    epochs=cell.epochs,
                    seed=seed,
                    alpha=0.9,
                    T=TEMPERATURES,
                    learning_rate=0.1,
                )
                title = f"{len(TEMPERATURES)} students of {cell.width} units, seed {seed}"
                named[f"{cell.width} {seed}"] = training(title, config, data, teacher=by)
        return named

    return jobs


def counts(results: Mapping[str, Result]) -> dict[int, np.ndarray]:
    """Width → errors, (seeds, temperatures)."""
    widths = dict.fromkeys(int(name.split()[0]) for name in results)
    return {
        width: np.array([result.record["errors"] for name, result in results.items() if name.startswith(f"{width} ")])
        for width in widths
    }


def _numbers(found: Mapping[int, np.ndarray]) -> dict[str, Any]:
    return {"T": list(TEMPERATURES), "errors": {str(width): errors.tolist() for width, errors in found.items()}}


def _judge_flat(profile: str, results: Mapping[str, Result]) -> Outcome:
    found = counts(results)
    high = [T >= 8 for T in TEMPERATURES]
    spread, words = {}, []
    for width, errors in found.items():
        means = errors[:, high].mean(axis=0)
        if width >= 300 or profile == "smoke":
            spread[width] = float(np.ptp(means))
        words.append(f"{width} units: {means.min():.1f} to {means.max():.1f}")
    flat = max(spread.values()) <= NOISE
    within = f"{max(spread.values()):.1f} errors; the noise of one run is about {NOISE}"
    why = f"with 300 units or more, the means at T = 8 to 40 lie within {within}"
    return Outcome("; ".join(words), REPRODUCED if flat else NOT, why, _numbers(found))


def _judge_low(profile: str, results: Mapping[str, Result]) -> Outcome:
    found = counts(results)
    errors = found[min(found)]  # (seeds, temperatures)
    low = np.array([T in LOW for T in TEMPERATURES])
    best = TEMPERATURES[int(np.argmin(errors.mean(axis=0)))]
    inside = errors[:, low].mean(axis=1)  # (seeds,)
    sides = {"below": np.array(TEMPERATURES) < min(LOW), "above": np.array(TEMPERATURES) > max(LOW)}
    differences = {side: errors[:, at].mean(axis=1) - inside for side, at in sides.items()}
    p = {side: sign_flip_p(difference) for side, difference in differences.items()}
    better = {side: bool(difference.mean() > 0) for side, difference in differences.items()}
    ours = f"best T = {best:g}; T of 2.5 to 4: {inside.mean():.1f} errors, " + ", ".join(
        f"{side} {inside.mean() + difference.mean():.1f} (p = {p[side]:.2g})"
        for side, difference in differences.items()
    )
    sure = all(better[side] and p[side] < 0.05 for side in sides)
    verdict = REPRODUCED if sure else DIRECTION if all(better.values()) else NOT
    why = "exact two-sided sign-flip test over seeds: T from 2.5 to 4 against the lower and the higher T"
    return Outcome(ours, verdict, why, _numbers(found) | {"p": p})


def _wider(profile: str, cell: Cell) -> bool:
    return not _narrowest(profile, cell)


def _narrowest(profile: str, cell: Cell) -> bool:
    return cell == min(PLANNED[profile])


ROWS = (
    Row("M4", "300 units or more: test errors at T = 8 to 40", "fairly similar", _jobs(_wider), _judge_flat),
    Row("M5", "30 units: test errors by T", "T of 2.5 to 4 significantly better", _jobs(_narrowest),
        _judge_low),
)  # fmt: skip
