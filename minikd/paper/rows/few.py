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

from minikd.paper.lab.jobs import Job, Json, Result
from minikd.paper.lab.scoreboard import REFERENCE, Jobs, Name, Outcome, Results, Row, effect, verdict
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import training
from minikd.theory.statistics import bootstrap, interval, mean_interval, mean_sd, share

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
FEW = 0.03
T = 4.0
EPOCHS = {  # by share: small sets get more epochs, and still fewer steps
    "smoke": dict.fromkeys(SHARES, 2),
    "cpu": {0.01: 200, 0.03: 100, 0.1: 40, 0.3: 20, 1.0: 10},
    "full": {0.01: 400, 0.03: 200, 0.1: 80, 0.3: 40, 1.0: 20},
}
SEEDS = {"smoke": (2, 1), "cpu": (5, 2), "full": (5, 3)}
"""Where a verdict rests on them, and on the rest of the curve."""
HARD, STOPPED, SOFT = "hard", "hard, stopped early", "soft"
SAVED = (57.0 - 44.5) / (58.9 - 44.5)
"""The share that soft targets save, in the paper, of what hard targets lose."""


# ---- judges, of MNIST and of speech ----------------------------------------------------------------------------------


class Run(NamedTuple):
    """What a network got right.

    Attributes:
        train: per cent of the cases that it learnt from.
        right: (U,), how much of each test case.
        total: (U,), how much there is of it.
    """

    train: float
    right: np.ndarray
    total: np.ndarray

    @property
    def test(self) -> float:
        """Per cent of the test set."""
        return 100 * float(self.right.sum() / self.total.sum())


Curve: TypeAlias = dict[str, dict[float, list[Run]]]
"""Runs by kind and share, one per seed."""


def accuracy(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Return per cent right of the cases learnt from, "train", and of the test set, "test"; one number per network."""
    return {"train": [run.train for run in runs], "test": [run.test for run in runs]}


def _mean(runs: Sequence[Run]) -> float:
    return float(np.mean([run.test for run in runs]))


def _draws(*groups: Sequence[Run], paired: tuple[int, int]) -> np.ndarray:
    """Return the bootstrap's draws of each group's test accuracy, (DRAWS, groups), per cent."""
    return bootstrap([np.stack([run.right for run in runs]) for runs in groups], groups[0][0].total, paired=paired)


class Judges(NamedTuple):
    """How few data are judged. Results are named by HARD, STOPPED or SOFT, and by the share of the data.

    Attributes:
        runs: returns what a result shows, by kind: a run, or also the same run when it was stopped early.
        cases: what the bootstrap draws anew, beside networks, in a word.
        digits: how many decimals are shown.
        overfits: hard targets overfit if the training accuracy is more than this many points higher.
        reference: why hard targets with all data claim nothing.
        note: returns what else there is to say about soft targets.
    """

    runs: Callable[[Name, Result], dict[str, Run]]
    cases: str
    digits: int
    overfits: float
    reference: str
    note: Callable[[Results], str] = lambda results: ""

    def curve(self, results: Results) -> Curve:
        """Return the runs, shares in rising order."""
        found: Curve = {HARD: {}, STOPPED: {}, SOFT: {}}
        for name, result in sorted(results.items(), key=lambda item: item[0].at):
            for kind, run in self.runs(name, result).items():
                found[kind].setdefault(name.at, []).append(run)
        return found

    def words(self, runs: Sequence[Run]) -> str:
        """Return both accuracies in words."""
        return ", ".join(f"{part} {mean_sd(values, self.digits)} %" for part, values in accuracy(runs).items())

    def all_hard(self, profile: str, results: Results) -> Outcome:
        """Show hard targets with all the data, which the other rows are compared with."""
        runs = self.curve(results)[HARD][1.0]
        return Outcome(self.words(runs), REFERENCE, self.reference, {HARD: accuracy(runs)}, seeds=len(runs))

    def few_hard(self, profile: str, results: Results) -> Outcome:
        """Judge the paper's claim that hard targets overfit with few data, and that early stopping is needed.

        Two intervals must bear it out: that of the points by which the training accuracy is higher, over seeds, and
        that of the points that early stopping gains, with other networks and other test cases.
        """
        curve = self.curve(results)
        stopped, hard = (curve[kind][FEW] for kind in (STOPPED, HARD))
        gap = mean_interval([run.train - run.test for run in hard])
        draws = _draws(hard, stopped, paired=(0, 1))
        gain = interval(_mean(stopped) - _mean(hard), draws[:, 1] - draws[:, 0])
        why = (
            f"without stopping, the training accuracy is {gap.value:.{self.digits}f} points higher "
            f"{gap.words(self.digits)} than the test accuracy; above {self.overfits:g} we call it overfitting; early "
            f"stopping changes the test accuracy by {gain.value:+.{self.digits}f} points"
        )
        judged = verdict(gap.low > self.overfits and gain.low > 0)
        ours = "; ".join(f"{kind}: {self.words(runs)}" for kind, runs in ((STOPPED, stopped), (HARD, hard)))
        numbers = {STOPPED: accuracy(stopped), HARD: accuracy(hard), "gain": list(gain)}
        words = f"gain by early stopping: {gain.words(self.digits, sign=True)} points"
        return Outcome(ours, judged, why, numbers, self._drawn(words), len(hard))

    def few_soft(self, profile: str, results: Results) -> Outcome:
        """Judge the paper's claim that soft targets from few data, not stopped early, keep most of what all data give.

        The paper's own figures set the standard, `SAVED`. All students have the same teacher, so the interval says
        nothing about another teacher.
        """
        curve = self.curve(results)
        everything, hard, soft = curve[HARD][1.0], curve[STOPPED][FEW], curve[SOFT][FEW]
        draws = _draws(everything, hard, soft, paired=(1, 2))
        lost, saved = draws[:, 0] - draws[:, 1], draws[:, 2] - draws[:, 1]
        loss = interval(_mean(everything) - _mean(hard), lost)
        found = share(_mean(soft) - _mean(hard), loss.value, saved, lost)
        numbers: Json = {
            "curve": {kind: {str(at): accuracy(by[at]) for at in by} for kind, by in curve.items()},
            "saved": found and list(found),
        }
        if found is None:
            doubt = "lose nothing" if loss.value <= 0 else "may lose points only by chance"
            why = f"hard targets {doubt}, so there is nothing to save"
            words = f"lost by hard targets: {loss.words(self.digits, sign=True)} points"
        else:
            points = f"{loss.value:.{self.digits}f} points that hard targets lose"
            why = f"soft targets save {found.value:.0%} of the {points}; in the paper {SAVED:.0%}{self.note(results)}"
            words = f"saved: {found.words(0, percent=True)}"
        why += "; the interval says nothing about another teacher, because all students have the same one"
        return Outcome(self.words(soft), effect(found, SAVED), why, numbers, self._drawn(words), len(soft))

    def _drawn(self, words: str) -> str:
        return f"{words}, with other networks and other {self.cases}"


# ---- MNIST -----------------------------------------------------------------------------------------------------------


def run(profile: str, kind: str, at: float, seed: int) -> Job:
    """Return the job of a student of the share `at` of the training set: `kind` is HARD or SOFT.

    A run on hard targets also tells what it was like when early stopping would have ended it.
    """
    data, batch_size, epochs = PLANS[profile].data, 32 if at < 0.1 else 128, EPOCHS[profile][at]
    if data.first:
        at, batch_size = max(at, 0.1), 32
    soft: dict[str, Any] = {"alpha": 1.0, "T": T} if kind == SOFT else {}
    return training(
        f"student of {at:.0%}, {kind}, seed {seed}",
        student(profile, epochs=epochs, seed=seed, batch_size=batch_size, **soft),
        replace(data, share=at, seed=seed),
        teacher=teacher(profile) if soft else None,
        count_train=True,
        stop_early=kind == HARD and at < 1,
    )


def _jobs(wanted: Sequence[tuple[str, float]], profile: str) -> Jobs:
    named, (judged, rest) = {}, SEEDS[profile]
    for kind, at in wanted:
        for seed in range(judged if at == FEW or (kind, at) == (HARD, 1.0) else rest):
            named[Name(kind, at, seed)] = run(profile, kind, at, seed)
    return named


def _runs(name: Name, result: Result) -> dict[str, Run]:
    record, arrays = result
    kinds = {name.kind: (record, arrays["wrong"])}
    if "stopped" in record:
        kinds[STOPPED] = (record["stopped"], arrays["stopped.wrong"])
    return {
        kind: Run(100 * (1 - found["train_errors"] / record["examples"]), ~wrong, np.ones(len(wrong)))
        for kind, (found, wrong) in kinds.items()
    }


_WHY = "it claims nothing, because the paper's figure is of speech; the other rows are compared with this one"
_JUDGES = Judges(_runs, "test images", digits=2, overfits=1, reference=_WHY)
_CURVE = [(kind, at) for at in SHARES for kind in (HARD, SOFT)]

ROWS = (
    Row("R1", "hard targets, all training data: accuracy (the paper's: speech)", "train 63.4 %, test 58.9 %",
        partial(_jobs, [(HARD, 1.0)]), _JUDGES.all_hard),
    Row("R2", "hard targets, 3 % of the data, stopped early and not", "train 67.3 %, test 44.5 % (stopped early)",
        partial(_jobs, [(HARD, FEW)]), _JUDGES.few_hard),
    Row("R3", "soft targets, 3 % of the data, not stopped; and the curve over 1 to 100 %", "train 65.4 %, test 57.0 %",
        partial(_jobs, _CURVE), _JUDGES.few_soft),
)  # fmt: skip
