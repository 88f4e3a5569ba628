"""R1 to R3: soft targets as regularisers, with 3 % of the training set (Hinton et al. 2015, section 6).

The paper used speech, as `minikd.paper.rows.speech` does. Here the data are MNIST's. Early stopping takes the epoch
with the fewest errors on 10,000 training digits that the student does not learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minikd.paper.lab.jobs import Job, Json
from minikd.paper.lab.scoreboard import NOT, REPRODUCED, Jobs, Name, Outcome, Results, Row, verdict
from minikd.paper.lab.statistics import fraction, mean_sd
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import training

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
FEW = 0.03
T = 4.0
EPOCHS = {  # by share: small sets get more epochs, and still fewer steps
    "smoke": dict.fromkeys(SHARES, 2),
    "cpu": {0.01: 200, 0.03: 100, 0.1: 40, 0.3: 20, 1.0: 10},
    "full": {0.01: 600, 0.03: 400, 0.1: 200, 0.3: 100, 1.0: 60},
}
HARD, STOPPED, SOFT = "hard", "hard, stopped early", "soft"


# ---- judges, of MNIST and of speech ----------------------------------------------------------------------------------


Accuracy: TypeAlias = dict[str, list[float]]
"""The per cent right of the cases learnt from, "train", and of the test set, "test". One number per network."""


def beside(values: Sequence[float], figure: float, why: str) -> tuple[str, str]:
    """Return the verdict and the reason for the first row of a group: its mean must be within a quarter of a figure."""
    if abs(float(np.mean(values)) - figure) <= figure / 4:
        return REPRODUCED, why
    return NOT, f"{why}; more than a quarter away from the paper's {figure:g} %"


class Judges(NamedTuple):
    """How few data are judged. Results are named by HARD, STOPPED or SOFT, and by the share of the data.

    Attributes:
        measure: returns the per cent right of the cases learnt from, and of the test set, from a record. Under
            "stopped" a record may have a record of the same run, stopped early.
        digits: how many decimals are shown.
        overfits: hard targets overfit if the training accuracy is this many points higher.
        noise: early stopping is needed if it gains more points than this.
        figure: the paper's test accuracy with all data, if ours should be near it.
        note: returns what else there is to say about soft targets.
    """

    measure: Callable[[Json], tuple[float, float]]
    digits: int
    overfits: float
    noise: float
    figure: float | None = None
    note: Callable[[Results], str] = lambda results: ""

    def curve(self, results: Results) -> dict[str, dict[float, Accuracy]]:
        """Return the accuracy by kind and share, shares in rising order."""
        found: dict[str, dict[float, Accuracy]] = {HARD: {}, STOPPED: {}, SOFT: {}}
        for name, (record, _) in sorted(results.items(), key=lambda item: item[0].at):
            kinds = {name.kind: record} | ({STOPPED: record["stopped"]} if "stopped" in record else {})
            for kind, one in kinds.items():
                accuracy = found[kind].setdefault(name.at, {"train": [], "test": []})
                for part, right in zip(accuracy, self.measure(one), strict=True):
                    accuracy[part].append(right)
        return found

    def words(self, accuracy: Accuracy) -> str:
        """Return both accuracies in words."""
        return ", ".join(f"{part} {mean_sd(values, self.digits)} %" for part, values in accuracy.items())

    def all_hard(self, profile: str, results: Results) -> Outcome:
        """Judge hard targets with all the data, which the other rows are compared with."""
        found, why = self.curve(results)[HARD][1.0], "the other rows are compared with this one"
        judged, why = (REPRODUCED, why) if self.figure is None else beside(found["test"], self.figure, why)
        return Outcome(self.words(found), judged, why, {HARD: found})

    def few_hard(self, profile: str, results: Results) -> Outcome:
        """Judge the paper's claim that hard targets overfit with few data, and that early stopping is needed."""
        curve = self.curve(results)
        found = {kind: curve[kind][FEW] for kind in (STOPPED, HARD)}
        ours = "; ".join(f"{kind}: {self.words(accuracy)}" for kind, accuracy in found.items())
        stopped, to_the_end, learnt = (
            float(np.mean(found[kind][part])) for kind, part in ((STOPPED, "test"), (HARD, "test"), (HARD, "train"))
        )
        overfits, needed = learnt - to_the_end > self.overfits, stopped - to_the_end > self.noise
        why = f"early stopping changes the test accuracy by {stopped - to_the_end:+.{self.digits}f} points"
        return Outcome(ours, verdict(overfits and needed, overfits), why, found)

    def few_soft(self, profile: str, results: Results) -> Outcome:
        """Judge the paper's claim that soft targets from few data, not stopped early, keep most of what all data give.

        The paper's own figures set the standard: the share that soft targets save of the points that hard targets lose.
        """
        curve = self.curve(results)
        soft, hard, everything = curve[SOFT][FEW], curve[STOPPED][FEW], curve[HARD][1.0]
        lost = [float(np.mean(everything["test"])) - float(np.mean(one["test"])) for one in (hard, soft)]
        saved, paper = fraction(lost[0] - lost[1], lost[0]), (57.0 - 44.5) / (58.9 - 44.5)
        numbers = {"curve": {kind: {str(share): by[share] for share in by} for kind, by in curve.items()}}
        if saved is None:
            why = "hard targets lose nothing, so there is nothing to save"
            return Outcome(self.words(soft), NOT, why, numbers)
        points = f"{lost[0]:.{self.digits}f} points that hard targets lose"
        why = f"soft targets save {saved:.0%} of the {points}; in the paper {paper:.0%}{self.note(results)}"
        return Outcome(self.words(soft), verdict(saved >= paper, saved > 0), why, numbers)


# ---- MNIST -----------------------------------------------------------------------------------------------------------


def run(profile: str, kind: str, share: float, seed: int) -> Job:
    """Return the job of a student of a share of the training set: `kind` is HARD, STOPPED or SOFT."""
    data, batch_size, epochs = PLANS[profile].data, 32 if share < 0.1 else 128, EPOCHS[profile][share]
    if data.first:
        share, batch_size = max(share, 0.1), 32
    soft: dict[str, Any] = {"alpha": 1.0, "T": T} if kind == SOFT else {}
    return training(
        f"student of {share:.0%}, {kind}, seed {seed}",
        student(profile, epochs=epochs, seed=seed, batch_size=batch_size, **soft),
        replace(data, share=share, seed=seed),
        teacher=teacher(profile) if soft else None,
        count_train=True,
        stop_early=kind == STOPPED,
    )


def _jobs(wanted: Sequence[tuple[str, float]], profile: str) -> Jobs:
    seeds = range(PLANS[profile].students)
    return {Name(kind, share, seed): run(profile, kind, share, seed) for kind, share in wanted for seed in seeds}


def _measure(record: Json) -> tuple[float, float]:
    counts = ("train_errors", "examples"), ("errors", "tested")
    train, test = (100 * (1 - record[errors] / record[cases]) for errors, cases in counts)
    return train, test


_JUDGES = Judges(_measure, digits=2, overfits=1, noise=0)
_CURVE = [(kind, share) for share in SHARES for kind in (HARD, STOPPED, SOFT) if (kind, share) != (STOPPED, 1.0)]

ROWS = (
    Row("R1", "hard targets, all training data: accuracy (the paper's: speech)", "train 63.4 %, test 58.9 %",
        partial(_jobs, [(HARD, 1.0)]), _JUDGES.all_hard),
    Row("R2", "hard targets, 3 % of the data, stopped early and not", "train 67.3 %, test 44.5 % (stopped early)",
        partial(_jobs, [(STOPPED, FEW), (HARD, FEW)]), _JUDGES.few_hard),
    Row("R3", "soft targets, 3 % of the data, not stopped; and the curve over 1 to 100 %", "train 65.4 %, test 57.0 %",
        partial(_jobs, _CURVE), _JUDGES.few_soft),
)  # fmt: skip
