"""E8: an ensemble, its two means as teachers, and how much of its gain one student keeps (Hinton et al. 2015, §2, §4).

The members are students without a teacher, which differ only in their seeds. The student is one more network of their
size, and all of them teach it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Jobs, Name, Outcome, Results, Row, effect
from minikd.paper.rows.students import PLANS, errors, student, wrong
from minikd.paper.tasks.networks import mean, training
from minikd.theory.statistics import bootstrap, interval, mean_sd, share

KINDS = ("arithmetic", "geometric")
T = 4.0
MEMBERS = {"smoke": (3, 30, 2), "cpu": (10, 300, 12), "full": (10, 800, 30)}  # how many, units, epochs
STUDENTS = {"smoke": 2, "cpu": 5, "full": 5}


def _jobs(profile: str) -> Jobs:
    count, width, epochs = MEMBERS[profile]
    data = PLANS[profile].data
    shape: dict[str, Any] = {"hidden": (width, width), "epochs": epochs}
    members = [
        training(f"member {seed} of the ensemble", student(profile, seed=seed, **shape), data, keep=("train", "test"))
        for seed in range(count)
    ]
    named = {Name("member", seed=seed): member for seed, member in enumerate(members)}
    for kind in KINDS:
        named[Name(f"{kind} mean")] = by = mean(f"the ensemble's {kind} mean", kind, T, members, data)
        for i in range(STUDENTS[profile]):
            config = student(profile, seed=100 + i, alpha=0.9, T=T, **shape)
            title = f"student of the {kind} mean, {i}"
            named[Name(f"{kind} student", seed=i)] = training(title, config, data, teacher=by)
    return named


def _judge(profile: str, results: Results) -> Outcome:
    members = errors(results, "member")
    single = float(np.mean(members))
    numbers: Json = {"members": members}
    found, words, intervals = [], [f"members {mean_sd(members)}"], []
    for kind in KINDS:
        (ensemble,), students = errors(results, f"{kind} mean"), errors(results, f"{kind} student")
        networks = [wrong(results, name) for name in ("member", f"{kind} mean", f"{kind} student")]
        cases = networks[0].shape[1]
        draws = bootstrap(networks, np.ones(cases)) * cases / 100
        gains, kept_of_them = draws[:, 0] - draws[:, 1], draws[:, 0] - draws[:, 2]
        kept = share(single - float(np.mean(students)), single - ensemble, kept_of_them, gains)
        found.append(kept)
        gain = interval(single - ensemble, gains)
        said = "no gain that is sure" if kept is None else f"keeps {kept.value:.0%} of the gain"
        words.append(f"{kind} mean {ensemble}, its student {mean_sd(students)}: {said}")
        intervals.append(f"{kind}: {f'gain {gain.words(0)} errors' if kept is None else kept.words(0, percent=True)}")
        numbers |= {kind: ensemble, f"{kind}, student": students, f"{kind}, share": list(kept) if kept else None}
    why = "the paper's student kept more than 80 %, in speech (S4); the interval does not cover another ensemble"
    verdicts = [effect(kept, 0.8) for kept in found]
    judged = next(name for name in (NOT, DIRECTION, REPRODUCED) if name in verdicts)
    seeds = len(errors(results, "arithmetic student"))
    return Outcome("; ".join(words), judged, why, numbers, f"share kept, {', '.join(intervals)}", seeds)


ROWS = (
    Row("E8", "{members} networks, both means, a student of each: errors and the share of the gain that it keeps",
        "more than 80 % (on speech)", _jobs, _judge, lambda profile: MEMBERS[profile][0]),
)  # fmt: skip
