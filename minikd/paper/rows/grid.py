"""M4 and M5: which T suits which width (Hinton et al. 2015, section 3).

Students of one width and one seed differ only in T: they are a population that shares its batches and first weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, errors_by, verdict
from minikd.paper.lab.statistics import sign_flip_p
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


PLANNED = {  # the narrowest first, for M5; the others for M4
    "smoke": (Cell(8, 2, 1), Cell(16, 2, 1)),
    "cpu": (Cell(30, 8, 20), Cell(100, 5, 10), Cell(300, 5, 8), Cell(800, 3, 6)),
    "full": tuple(Cell(width, 10, 60) for width in (30, 100, 300, 800)),
}


def _jobs(cells: slice, profile: str) -> Jobs:
    by, data, named = teacher(profile), PLANS[profile].data, {}
    for width, seeds, epochs in PLANNED[profile][cells]:
        for seed in range(seeds):
            shape: dict[str, Any] = {"hidden": (width, width), "epochs": epochs}
            config = student(profile, seed=seed, alpha=0.9, T=TEMPERATURES, **shape)
            title = f"{len(TEMPERATURES)} students of {width} units, seed {seed}"
            named[Name("students", width, seed)] = training(title, config, data, teacher=by)
    return named


def _counts(results: Results) -> tuple[dict[int, np.ndarray], Json]:
    """Return width → errors, (seeds, temperatures); and the same in plain JSON."""
    found = {int(width): np.array(errors) for width, errors in errors_by(results, "students").items()}
    errors = {str(width): errors.tolist() for width, errors in found.items()}
    return found, {"T": list(TEMPERATURES), "errors": errors}


def _judge_flat(profile: str, results: Results) -> Outcome:
    found, numbers = _counts(results)
    means = {width: errors[:, np.array(TEMPERATURES) >= 8].mean(axis=0) for width, errors in found.items()}
    ours = "; ".join(f"{width} units: {of.min():.1f} to {of.max():.1f}" for width, of in means.items())
    spread = max(float(np.ptp(of)) for width, of in means.items() if width >= 300 or profile == "smoke")
    within = f"{spread:.1f} errors; the noise of one run is about {NOISE}"
    why = f"with 300 units or more, the means at T = 8 to 40 lie within {within}"
    return Outcome(ours, verdict(spread <= NOISE), why, numbers)


def _judge_low(profile: str, results: Results) -> Outcome:
    found, numbers = _counts(results)
    errors, T = found[min(found)], np.array(TEMPERATURES)  # (seeds, temperatures), (temperatures,)
    best = T[np.argmin(errors.mean(axis=0))]
    inside = errors[:, np.isin(T, LOW)].mean(axis=1)  # (seeds,)
    words, p, better = [], {}, []
    for side, there in (("below", min(LOW) > T), ("above", max(LOW) < T)):
        difference = errors[:, there].mean(axis=1) - inside
        p[side] = sign_flip_p(difference)
        better.append(difference.mean() > 0)
        words.append(f"{side} {inside.mean() + difference.mean():.1f} (p = {p[side]:.2g})")
    ours = f"best T = {best:g}; T of 2.5 to 4: {inside.mean():.1f} errors, {', '.join(words)}"
    judged = verdict(all(better) and max(p.values()) < 0.05, all(better))
    why = "exact two-sided sign-flip test over seeds: T from 2.5 to 4 against the lower and the higher T"
    return Outcome(ours, judged, why, numbers | {"p": p})


ROWS = (
    Row("M4", "300 units or more: test errors at T = 8 to 40", "fairly similar",
        partial(_jobs, slice(1, None)), _judge_flat),
    Row("M5", "30 units: test errors by T", "T of 2.5 to 4 significantly better", partial(_jobs, slice(1)), _judge_low),
)  # fmt: skip
