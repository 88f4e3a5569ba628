"""M4 and M5: which T suits which width (Hinton et al. 2015, section 3).

Students of one width and one seed differ only in T: they are a population that shares its batches and first weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, errors_by, verdict
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import training
from minikd.theory.statistics import holm, mean_interval, sign_flip_p

FINE = (1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0)
COARSE = (1.0, 2.0, 4.0, 8.0, 12.0, 20.0, 40.0)
LOW = (2.5, 3.0, 4.0)  # the paper's best for 30 units
HIGH = 8.0  # from here on, the paper found all T fairly similar
SIMILAR = 0.1  # our reading of "fairly similar": within a tenth of their mean


class Cell(NamedTuple):
    """A width's students: how many seeds, of how many epochs each, and their T."""

    width: int
    seeds: int
    epochs: int
    temperatures: tuple[float, ...] = COARSE


PLANNED = {  # the narrowest first, for M5; the others for M4
    "smoke": (Cell(8, 2, 1, FINE), Cell(16, 2, 1)),
    "cpu": (Cell(30, 12, 20, FINE), Cell(100, 5, 6), Cell(300, 5, 5), Cell(800, 5, 3)),
    "full": (Cell(30, 12, 30, FINE), *(Cell(width, 5, 30) for width in (100, 300, 800))),
}


def _jobs(cells: slice, profile: str) -> Jobs:
    by, data, named = teacher(profile), PLANS[profile].data, {}
    for width, seeds, epochs, temperatures in PLANNED[profile][cells]:
        for seed in range(seeds):
            shape: dict[str, Any] = {"hidden": (width, width), "epochs": epochs}
            config = student(profile, seed=seed, alpha=0.9, T=temperatures, **shape)
            title = f"{len(temperatures)} students of {width} units, seed {seed}"
            named[Name("students", width, seed)] = training(title, config, data, teacher=by)
    return named


def _counts(results: Results, temperatures: tuple[float, ...]) -> tuple[dict[int, np.ndarray], Json]:
    """Return width → errors, (seeds, temperatures); and the same in plain JSON."""
    found = {int(width): np.array(errors) for width, errors in errors_by(results, "students").items()}
    errors = {str(width): errors.tolist() for width, errors in found.items()}
    return found, {"T": list(temperatures), "errors": errors}


def _judge_flat(profile: str, results: Results) -> Outcome:
    found, numbers = _counts(results, COARSE)
    high = np.array(COARSE) >= HIGH
    means = {width: errors[:, high].mean(axis=0) for width, errors in found.items()}
    ours = "; ".join(f"{width} units: {of.min():.1f} to {of.max():.1f}" for width, of in means.items())
    wide = {width: errors for width, errors in found.items() if width >= 300 or profile == "smoke"}
    away = [
        mean_interval(100 * (at_T - of.mean(axis=1)) / of.mean())
        for of in (errors[:, high] for errors in wide.values())
        for at_T in of.T
    ]
    least, most = min(one.low for one in away), max(one.high for one in away)
    similar = max(-least, most) <= 100 * SIMILAR
    why = (
        f"with 300 units or more, {'every' if similar else 'not every'} T from 8 to 40 is surely within "
        f"{100 * SIMILAR:.0f} % of their mean, which is how we read “fairly similar”"
    )
    words = f"the T furthest from the mean: [{least:+.1f} %, {most:+.1f} %]"
    return Outcome(ours, verdict(similar), why, numbers, words, min(map(len, wide.values())))


def _judge_low(profile: str, results: Results) -> Outcome:
    found, numbers = _counts(results, FINE)
    errors, T = found[min(found)], np.array(FINE)  # (seeds, temperatures), (temperatures,)
    best = T[np.argmin(errors.mean(axis=0))]
    inside = errors[:, np.isin(T, LOW)].mean(axis=1)  # (seeds,)
    others = ~np.isin(T, LOW)
    worse = errors[:, others].T - inside  # (other temperatures, seeds)
    p = dict(zip(T[others], holm([sign_flip_p(difference) for difference in worse]), strict=True))
    gains = [mean_interval(difference) for difference in worse]
    significant = [gain.value > 0 and p_value < 0.05 for gain, p_value in zip(gains, p.values(), strict=True)]
    sides = [mean_interval(errors[:, side].mean(axis=1) - inside) for side in (min(LOW) > T, max(LOW) < T)]
    ours = f"best T = {best:g}; T of 2.5 to 4: {inside.mean():.1f} errors; below {sides[0].value:+.1f}, " + (
        f"above {sides[1].value:+.1f}"
    )
    tests = ", ".join(f"T = {t:g} {gain.value:+.1f} (p = {p[t]:.2g})" for t, gain in zip(p, gains, strict=True))
    why = f"errors more than with T of 2.5 to 4: {tests}; exact sign-flip tests over seeds, corrected by Holm's method"
    words = f"errors more below: {sides[0].words(sign=True)}, above: {sides[1].words(sign=True)}"
    judged = verdict(all(significant), min(side.low for side in sides) > 0)
    return Outcome(ours, judged, why, numbers | {"p": {f"{t:g}": value for t, value in p.items()}}, words, len(errors))


ROWS = (
    Row("M4", "300 units or more: test errors at T = 8 to 40", "fairly similar",
        partial(_jobs, slice(1, None)), _judge_flat),
    Row("M5", "30 units: test errors by T", "T of 2.5 to 4 significantly better", partial(_jobs, slice(1)), _judge_low),
)  # fmt: skip
