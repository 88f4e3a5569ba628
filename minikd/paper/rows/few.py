"""R1 to R3: soft targets as regularisers, with 3 % of the training set (Hinton et al. 2015, section 6).

The paper asked it of speech, as speech.py does; here it is asked of MNIST. Early stopping takes the epoch of fewest
errors on 10,000 training digits that the student does not learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row, fraction, mean_sd
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


def run(profile: str, kind: str, share: float, seed: int) -> Job:
    """A student of a share of the training set: `kind` HARD, STOPPED or SOFT."""
    data, batch_size = PLANS[profile].data, 32 if share < 0.1 else 128
    if data.first:
        share, batch_size = max(share, 0.1), 32
    data = replace(data, share=share, seed=seed)
    config = student(profile, epochs=EPOCHS[profile][share], seed=seed, batch_size=batch_size)
    title = f"student of {share:.0%}, {kind}, seed {seed}"
    if kind == SOFT:
        config = replace(config, alpha=1.0, T=T, learning_rate=0.1)
        return training(title, config, data, teacher=teacher(profile), count_train=True)
    return training(title, config, data, count_train=True, stop_early=kind == STOPPED)


def _seeds(profile: str) -> range:
    return range(PLANS[profile].students)


def _jobs(*wanted: tuple[str, float]) -> Callable[[str], dict[str, Job]]:
    def jobs(profile: str) -> dict[str, Job]:
        return {
            f"{kind} {share} {seed}": run(profile, kind, share, seed)
            for kind, share in wanted
            for seed in _seeds(profile)
        }

    return jobs


def _accuracies(results: Mapping[str, Result], kind: str, share: float) -> dict[str, list[float]]:
    """Per cent right of the cases learnt from, and of the test set; one number a seed."""
    found = [result.record for name, result in results.items() if name.rpartition(" ")[0] == f"{kind} {share}"]
    return {
        "train": [100 * (1 - record["train_errors"] / record["examples"]) for record in found],
        "test": [100 * (1 - record["errors"] / record["tested"]) for record in found],
    }


def _words(accuracy: Mapping[str, list[float]]) -> str:
    return f"train {mean_sd(accuracy['train'], 2)} %, test {mean_sd(accuracy['test'], 2)} %"


def _gap(results: Mapping[str, Result], kind: str, share: float) -> float:
    """Train less test accuracy, in points, in the mean."""
    accuracy = _accuracies(results, kind, share)
    return float(np.mean(accuracy["train"]) - np.mean(accuracy["test"]))


def _judge_all(profile: str, results: Mapping[str, Result]) -> Outcome:
    accuracy = _accuracies(results, HARD, 1.0)
    why = "the other rows are compared with this one"
    return Outcome(_words(accuracy), REPRODUCED, why, {HARD: accuracy})


def _judge_hard(profile: str, results: Mapping[str, Result]) -> Outcome:
    """The paper's claim: hard targets overfit, and early stopping is needed."""
    found = {kind: _accuracies(results, kind, FEW) for kind in (STOPPED, HARD)}
    ours = "; ".join(f"{kind}: {_words(accuracy)}" for kind, accuracy in found.items())
    stopped, to_the_end = (float(np.mean(found[kind]["test"])) for kind in (STOPPED, HARD))
    overfits, needed = _gap(results, HARD, FEW) > 1, stopped > to_the_end
    verdict = REPRODUCED if overfits and needed else DIRECTION if overfits else NOT
    why = f"early stopping changes the test accuracy by {stopped - to_the_end:+.2f} points"
    return Outcome(ours, verdict, why, found)


def _judge_soft(profile: str, results: Mapping[str, Result]) -> Outcome:
    """The paper's claim: soft targets alone, without early stopping, keep most of what all the data give."""
    soft, hard = _accuracies(results, SOFT, FEW), _accuracies(results, STOPPED, FEW)
    everything = float(np.mean(_accuracies(results, HARD, 1.0)["test"]))
    lost = [everything - float(np.mean(one["test"])) for one in (hard, soft)]
    saved, paper = fraction(lost[0] - lost[1], lost[0]), (57.0 - 44.5) / (58.9 - 44.5)
    numbers: dict[str, Any] = {"curve": {}}
    for name in results:
        kind, share, _ = name.rsplit(" ", 2)
        numbers["curve"].setdefault(kind, {})[share] = _accuracies(results, kind, float(share))
    if saved is None:
        why = "hard targets lose nothing, so there is nothing to save"
        return Outcome(_words(soft), NOT, why, numbers)
    verdict = REPRODUCED if saved >= paper else DIRECTION if saved > 0 else NOT
    why = f"soft targets save {saved:.0%} of the {lost[0]:.2f} points that hard targets lose; in the paper {paper:.0%}"
    return Outcome(_words(soft), verdict, why, numbers)


_ALL = (HARD, 1.0)
_FEW = ((STOPPED, FEW), (HARD, FEW))
_CURVE = tuple((kind, share) for share in SHARES for kind in (HARD, STOPPED, SOFT) if (kind, share) != (STOPPED, 1.0))

ROWS = (
    Row("R1", "hard targets, all training data: accuracy (the paper's: speech)", "train 63.4 %, test 58.9 %",
        _jobs(_ALL), _judge_all),
    Row("R2", "hard targets, 3 % of the data, stopped early and not", "train 67.3 %, test 44.5 % (stopped early)",
        _jobs(*_FEW), _judge_hard),
    Row("R3", "soft targets, 3 % of the data, not stopped; and the curve over 1 to 100 %", "train 65.4 %, test 57.0 %",
        _jobs(*_CURVE), _judge_soft),
)  # fmt: skip
