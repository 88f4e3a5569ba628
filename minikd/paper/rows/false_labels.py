"""N1: do soft targets make a student less sensitive to false labels? (a common reading of Hinton et al. 2015)

A share of the training labels is replaced by other classes. Students differ in the weight of the soft targets, from 0,
the student alone, to 1. Their teacher learnt either from clean labels or from these false ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, errors_by, verdict
from minikd.paper.rows.students import PLANS, student
from minikd.paper.tasks.networks import training
from minikd.theory.statistics import mean_interval, mean_sd

WRONG = (0.0, 0.1, 0.2, 0.4)
ALPHAS = (0.0, 0.5, 0.9, 1.0)
T = 4.0
TEACHERS = {"clean": "a teacher of clean labels", "same": "a teacher of the same false labels"}


class Lengths(NamedTuple):
    """Units and epochs of teacher and student, and seeds."""

    hidden: tuple[int, int]
    epochs: tuple[int, int]
    seeds: int


PLANNED = {
    "smoke": Lengths((20, 16), (2, 1), 2),
    "cpu": Lengths((800, 300), (8, 6), 3),
    "full": Lengths((1200, 800), (30, 15), 5),
}


def _jobs(profile: str) -> Jobs:
    (wide, narrow), (long, short), seeds = PLANNED[profile]
    taught = student(profile, hidden=(wide, wide), epochs=long, jitter=2, drop_hidden=0.3)
    named = {}
    for wrong in WRONG:
        clean, spoilt = PLANS[profile].data, replace(PLANS[profile].data, wrong=wrong)
        for kind, data in (("clean", clean), ("same", spoilt)) if wrong else (("clean", clean),):
            by = training(f"teacher of {data.wrong:.0%} false labels", taught, data, keep=("train",))
            for seed in range(seeds):
                config = student(profile, hidden=(narrow, narrow), epochs=short, seed=seed, alpha=ALPHAS, T=T)
                title = f"students of {wrong:.0%} false labels, {TEACHERS[kind]}, seed {seed}"
                named[Name(kind, wrong, seed)] = training(title, config, spoilt, teacher=by)
    return named


def _judge(profile: str, results: Results) -> Outcome:
    errors = {kind: errors_by(results, kind) for kind in TEACHERS}
    numbers: Json = {"alpha": list(ALPHAS), "errors": errors}
    saved, rows = [], []
    for kind, by_share in errors.items():
        for wrong, counts in by_share.items():
            if wrong:
                by_alpha = np.array(counts, np.float64).T  # (alphas, seeds)
                saved.append(mean_interval(by_alpha[0] - by_alpha[-1]))
                found = [f"{saved[-1].value:+.0f} {saved[-1].words(0, sign=True)}"]
                rows.append([TEACHERS[kind], f"{wrong:.0%}", *(mean_sd(of) for of in by_alpha), *found])
    head = ["teacher", "false labels", *(f"α = {alpha:g}" for alpha in ALPHAS), "saved by soft targets only"]
    helps = [one.low > 0 for one in saved]
    ours = f"soft targets without labels beat labels in {sum(helps)} of {len(helps)} settings"
    why = "a setting counts if the whole interval of the errors saved lies above 0; a teacher may know better or not"
    least = min(saved, key=lambda one: one.low)
    words = f"errors saved in the worst setting: {least.words(0, sign=True)}"
    judged = verdict(all(helps), sum(helps) > len(helps) / 2)
    numbers["table"] = {"head": head, "rows": rows}
    return Outcome(ours, judged, why, numbers, words, min(len(counts) for counts in errors["clean"].values()))


ROWS = (
    Row("N1", "10, 20, 40 % of the labels wrong: errors by the weight of the soft targets", "a common reading", _jobs,
        _judge),
)  # fmt: skip
