"""N1: do soft targets make a student less sensitive to false labels? (a common reading of Hinton et al. 2015)

A share of the training labels is replaced by other classes. Students differ in the weight of the soft targets, from 0,
the student alone, to 1; their teacher has learnt from clean labels, or from just these false ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row
from minikd.paper.rows.students import PLANS, student
from minikd.paper.tasks.networks import training
from minikd.training.config import TrainConfig

WRONG = (0.0, 0.1, 0.2, 0.4)
ALPHAS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
T = 4.0
TEACHERS = {"clean": "a teacher of clean labels", "same": "a teacher of the same false labels"}


class Lengths(NamedTuple):
    """Units and epochs of teacher and student, and seeds."""

    hidden: tuple[int, int]
    epochs: tuple[int, int]
    seeds: int


PLANNED = {
    "smoke": Lengths((20, 16), (2, 1), 2),
    "cpu": Lengths((800, 300), (8, 8), 3),
    "full": Lengths((1200, 800), (60, 30), 10),
}


def _jobs(profile: str) -> dict[str, Job]:
    plan, data = PLANNED[profile], PLANS[profile].data
    named = {}
    for wrong in WRONG:
        spoilt = replace(data, wrong=wrong)
        for kind in TEACHERS if wrong else ("clean",):
            by = training(
                f"teacher of {wrong if kind == 'same' else 0:.0%} false labels",
                _teacher(profile, plan),
                spoilt if kind == "same" else data,
                keep=("train",),
            )
            for seed in range(plan.seeds):
                config = student(
                    profile, hidden=(plan.hidden[1],) * 2, epochs=plan.epochs[1], seed=seed, alpha=ALPHAS, T=T,
                    learning_rate=0.1,
                )  # fmt: skip
                title = f"students of {wrong:.0%} false labels, {TEACHERS[kind]}, seed {seed}"
                named[f"{kind} {wrong} {seed}"] = training(title, config, spoilt, teacher=by)
    return named


def _teacher(profile: str, plan: Lengths) -> TrainConfig:
    return student(profile, hidden=(plan.hidden[0],) * 2, epochs=plan.epochs[0], jitter=2, drop_hidden=0.3)


def _judge(profile: str, results: Mapping[str, Result]) -> Outcome:
    counts: dict[str, dict[float, list[list[int]]]] = {kind: {} for kind in TEACHERS}
    for name, result in results.items():
        kind, share, _ = name.split()
        counts[kind].setdefault(float(share), []).append(result.record["errors"])
    numbers: dict[str, Any] = {"alpha": list(ALPHAS), "errors": counts}
    words, better = [], []
    for kind, by_share in counts.items():
        for wrong, errors in by_share.items():
            if not wrong:
                continue
            errors_of = np.array(errors, np.float64)  # (seeds, alphas)
            saved = errors_of[:, 0] - errors_of[:, -1]
            better.append(bool((saved > 0).all()))
            words.append(
                f"{wrong:.0%} false, {TEACHERS[kind]}: labels only {errors_of[:, 0].mean():.0f}, soft only "
                f"{errors_of[:, -1].mean():.0f}"
            )
    verdict = REPRODUCED if all(better) else DIRECTION if sum(better) > len(better) / 2 else NOT
    why = f"with every seed, soft targets without labels beat labels in {sum(better)} of {len(better)} settings"
    return Outcome("; ".join(words), verdict, why, numbers)


ROWS = (
    Row("N1", "10, 20, 40 % of the labels wrong: errors by the weight of the soft targets", "a common reading", _jobs,
        _judge),
)  # fmt: skip
