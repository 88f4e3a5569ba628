"""E8: an ensemble, its two means as teachers, and how much of its gain one student keeps (Hinton et al. 2015, §2, §4).

The members are students alone, which differ in their seed; the student is one more of their size, taught by all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row, fraction, mean_sd
from minikd.paper.rows.students import PLANS, errors, student
from minikd.paper.tasks.networks import mean, training

KINDS = ("arithmetic", "geometric")
T = 4.0
MEMBERS = {"smoke": (3, 30, 2), "cpu": (10, 300, 20), "full": (10, 800, 60)}  # how many, units, epochs
STUDENTS = {"smoke": 2, "cpu": 5, "full": 10}


def _jobs(profile: str) -> dict[str, Job]:
    count, width, epochs = MEMBERS[profile]
    data = PLANS[profile].data
    shape: dict[str, Any] = {"hidden": (width, width), "epochs": epochs}
    members = {
        f"member {seed}": training(
            f"member {seed} of the ensemble", student(profile, seed=seed, **shape), data, keep=("train", "test")
        )
        for seed in range(count)
    }
    named = dict(members)
    for kind in KINDS:
        named[f"{kind} ensemble"] = by = mean(f"the ensemble's {kind} mean", kind, T, members, data)
        for i in range(STUDENTS[profile]):
            pupil = student(profile, seed=100 + i, alpha=0.9, T=T, learning_rate=0.1, **shape)
            named[f"{kind}-taught {i}"] = training(f"student of the {kind} mean, {i}", pupil, data, teacher=by)
    return named


def _judge(profile: str, results: Mapping[str, Result]) -> Outcome:
    members = errors(results, "member")
    single = float(np.mean(members))
    numbers: dict[str, Any] = {"members": members}
    kept: dict[str, float | None] = {}
    words = [f"members {mean_sd(members)}"]
    for kind in KINDS:
        ensemble = results[f"{kind} ensemble"].record["errors"]
        students = errors(results, f"{kind}-taught")
        kept[kind] = fraction(single - float(np.mean(students)), single - ensemble)
        found = "there is no gain to keep" if kept[kind] is None else f"keeps {kept[kind]:.0%} of the gain"
        words.append(f"{kind} mean {ensemble}, its student {mean_sd(students)}: {found}")
        numbers |= {kind: ensemble, f"{kind}, student": students, f"{kind}, share": kept[kind]}
    shares = [one for one in kept.values() if one is not None]
    if len(shares) < len(kept):
        without = " and ".join(kind for kind, one in kept.items() if one is None)
        return Outcome("; ".join(words), NOT, f"the ensemble gained nothing by its {without} mean", numbers)
    verdict = REPRODUCED if min(shares) > 0.8 else DIRECTION if min(shares) > 0 else NOT
    return Outcome("; ".join(words), verdict, "the paper's student kept more than 80 %, in speech (S4)", numbers)


ROWS = (
    Row("E8", "{members} networks, both means, a student of each: errors and the share of the gain that it keeps",
        "more than 80 % (on speech)", _jobs, _judge,
        lambda profile: MEMBERS[profile][0]),
)  # fmt: skip
