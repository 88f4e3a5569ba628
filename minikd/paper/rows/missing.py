"""M6 to M9: students whose transfer set lacked classes, before and after one bias is moved (Hinton et al. 2015, §3).

Three shifts: none; the paper's, chosen on the test labels and so an oracle's; and an honest one that sees no label at
all, which makes the mean probability of the moved classes on the unlabelled training images equal to the teacher's
there (derivation D9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minikd.core.softmax import softmax
from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row, mean_sd
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import errors, training
from minikd.theory.priors import matching_shift, shift_classes

SHIFTS = np.round(np.arange(-12.0, 12.01, 0.1), 1)  # nats, that the oracle tries
T = 20.0


class Case(NamedTuple):
    """A transfer set, and the classes whose bias is moved."""

    kept: tuple[int, ...]
    moved: tuple[int, ...]
    epochs: Mapping[str, int]


WITHOUT_3 = Case(tuple(k for k in range(10) if k != 3), (3,), {"smoke": 2, "cpu": 60, "full": 200})
ONLY_7_8 = Case((7, 8), (7, 8), {"smoke": 2, "cpu": 40, "full": 200})


def _jobs(case: Case, name: str) -> Callable[[str], dict[str, Job]]:
    def jobs(profile: str) -> dict[str, Job]:
        plan, by = PLANS[profile], teacher(profile)
        data = replace(plan.data, classes=case.kept)
        named = {"teacher": by}
        for seed in range(plan.students):
            config = student(profile, seed=seed, epochs=case.epochs[profile], alpha=1.0, T=T, learning_rate=0.1)
            named[f"student {seed}"] = training(
                f"student {name}, seed {seed}", config, data, teacher=by, keep=("train", "test")
            )
        return named

    return jobs


# ---- before and after ------------------------------------------------------------------------------------------------


def measure(case: Case, profile: str, results: Mapping[str, Result]) -> dict[str, Any]:
    """Errors before, with the oracle's shift and with the honest one, of each student; and the curve of their mean.

    Returns: `shift`, `errors` and `wrong` (those on the moved classes), each with "none", "oracle" and "honest", one
    number a student; `cases`, how many test cases the moved classes have, and there are in all; `curve`, the mean
    errors at `SHIFTS`.
    """
    _, _, _, test = PLANS[profile].data.load()
    theirs = np.isin(test.labels, case.moved)  # (N,)
    p = softmax(results["teacher"].arrays["train"], T=1.0)[:, list(case.moved)].sum(axis=-1)  # (N,) of training images
    found: dict[str, Any] = {
        what: {way: [] for way in ("none", "oracle", "honest")} for what in ("shift", "errors", "wrong")
    }
    curves = []
    for name, result in results.items():
        if name == "teacher":
            continue
        z = result.arrays["test"]
        curve = [errors(shift_classes(z, case.moved, s), test.labels) for s in SHIFTS]
        shifts = {
            "none": 0.0,
            "oracle": float(SHIFTS[np.argmin(curve)]),
            "honest": matching_shift(result.arrays["train"], case.moved, float(np.mean(p, dtype=np.float64))),
        }
        for way, s in shifts.items():
            shifted = shift_classes(z, case.moved, s)
            found["shift"][way].append(round(s, 2))
            found["errors"][way].append(errors(shifted, test.labels))
            found["wrong"][way].append(errors(shifted[theirs], test.labels[theirs]))
        curves.append(curve)
    found["cases"] = [int(np.count_nonzero(theirs)), len(test)]
    return found | {"curve": np.mean(curves, axis=0).tolist()}


def _judge_before(profile: str, results: Mapping[str, Result]) -> Outcome:
    found = measure(WITHOUT_3, profile, results)
    right = 1 - float(np.mean(found["wrong"]["none"])) / found["cases"][0]
    ours = f"{mean_sd(found['errors']['none'])}, of them {mean_sd(found['wrong']['none'])} on 3s"
    why = f"{right:.1%} of the 3s are right, although no student ever saw a 3; in the paper 86.8 %"
    return Outcome(ours, REPRODUCED if right >= 1 - 133 / 1010 else NOT, why, found)


def _judge_after(profile: str, results: Mapping[str, Result]) -> Outcome:
    found = measure(WITHOUT_3, profile, results)
    ours = "; ".join(
        f"{way}: {mean_sd(found['errors'][way])}, of them {mean_sd(found['wrong'][way])} on 3s, "
        f"shift {mean_sd(found['shift'][way])}"
        for way in ("oracle", "honest")
    )
    apart = float(np.mean(found["errors"]["honest"]) - np.mean(found["errors"]["oracle"]))
    right = 1 - float(np.mean(found["wrong"]["oracle"])) / found["cases"][0]
    honest = f"{abs(apart):.1f} errors {'fewer' if apart < 0 else 'more'}"
    why = f"with the oracle's shift {right:.1%} of the 3s are right; the honest shift makes {honest}"
    helps = np.mean(found["errors"]["oracle"]) < np.mean(found["errors"]["none"])
    near_enough = np.mean(found["errors"]["oracle"]) <= 109
    return Outcome(ours, REPRODUCED if near_enough else DIRECTION if helps else NOT, why, found)


def _judge_rates(way: str, figure: float) -> Callable[[str, Mapping[str, Result]], Outcome]:
    """The error rates of students of two classes, before or after a shift, against the paper's rate."""
    ways = ("none",) if way == "none" else ("oracle", "honest")

    def judge(profile: str, results: Mapping[str, Result]) -> Outcome:
        found = measure(ONLY_7_8, profile, results)
        rates = {one: 100 * np.array(found["errors"][one]) / found["cases"][1] for one in found["errors"]}
        ours = "; ".join(
            f"{mean_sd(rates[one])} %"
            if one == "none"
            else f"{one}: {mean_sd(rates[one])} %, shift {mean_sd(found['shift'][one])}"
            for one in ways
        )
        mean, before = float(np.mean(rates[ways[0]])), float(np.mean(rates["none"]))
        verdict = REPRODUCED if mean <= figure else DIRECTION if mean < (90 if way == "none" else before) else NOT
        why = (
            "the students never saw eight digits; guessing makes 90 % errors"
            if way == "none"
            else f"without the shift {before:.1f} %"
        )
        return Outcome(ours, verdict, why, found)

    return judge


_SEVEN_EIGHT = _jobs(ONLY_7_8, "of 7s and 8s")
_NO_THREE = _jobs(WITHOUT_3, "without 3s")

ROWS = (
    Row("M6", "no 3s in the transfer set: test errors", "206, of them 133 on 3s", _NO_THREE, _judge_before),
    Row("M7", "M6, the bias of 3 raised", "109, of them 14 on 3s (oracle, shift 3.5)", _NO_THREE, _judge_after),
    Row("M8", "only 7s and 8s in the transfer set: test errors", "47.3 %", _SEVEN_EIGHT, _judge_rates("none", 47.3)),
    Row(
        "M9",
        "M8, the biases of 7 and 8 lowered",
        "13.2 % (oracle, shift −7.6)",
        _SEVEN_EIGHT,
        _judge_rates("oracle", 13.2),
    ),
)
