"""M1 to M3: the teacher, the student alone, and the student distilled at T = 20 (Hinton et al. 2015, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Job
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, as_good, errors_by, of, verdict
from minikd.paper.tasks.networks import Data, training
from minikd.theory.statistics import bootstrap, interval, mean_sd, prediction
from minikd.training.config import TrainConfig


class Lengths(NamedTuple):
    """What a profile makes of the section."""

    data: Data
    teachers: int  # seeds
    students: int  # seeds
    width: int  # of the student
    epochs: tuple[int, int]  # of the student alone, and distilled


PLANS = {
    "smoke": Lengths(Data(first=1000), teachers=1, students=2, width=30, epochs=(2, 2)),
    "cpu": Lengths(Data(), teachers=5, students=5, width=800, epochs=(12, 30)),
    "full": Lengths(Data(), teachers=5, students=5, width=800, epochs=(60, 100)),
}


TEACHER = TrainConfig(
    hidden=(1200, 1200),
    epochs=50,
    batch_size=256,
    learning_rate=0.15,
    clip_norm=None,  # clipped, it would cost its students about twenty errors (PAPER.md)
    drop_hidden=0.3,
    max_norm=15**0.5,
    jitter=2,
)
"""The teacher of the profile "cpu": the best of its length, chosen on held-out images."""
RECIPES: dict[str, dict[str, Any]] = {
    "smoke": {"hidden": (40, 40), "epochs": 3, "batch_size": 32},
    "cpu": {},
    "full": {"epochs": 500, "learning_rate": 0.1, "drop_input": 0.1, "drop_hidden": 0.4},
}
"""What other profiles change. The recipe of 500 epochs was chosen on held-out images, on a GPU."""


def teacher(profile: str, seed: int = 0) -> Job:
    """Return the job of a teacher, on all labels with dropout, max-norm and jitter; seed 0's teaches the other rows."""
    config = replace(TEACHER, seed=seed, **RECIPES[profile])
    return training(f"teacher, seed {seed}", config, PLANS[profile].data, keep=("train", "test"))


def student(profile: str, **changes: Any) -> TrainConfig:
    """Return a student's configuration, without regularisation; `changes` are fields of TrainConfig.

    A student of soft targets learns at half the rate of a student of labels only.
    """
    plan = PLANS[profile]
    settings = {
        "hidden": (plan.width,) * 2,
        "epochs": plan.epochs[0],
        "batch_size": 32 if plan.data.first else 128,
        "learning_rate": 0.1 if "alpha" in changes else 0.2,
        "clip_norm": 1.0,
    }
    return TrainConfig(**{**settings, **changes})


def alone(profile: str, seed: int) -> Job:
    """Return the job of a student that sees only labels."""
    return training(f"student alone, seed {seed}", student(profile, seed=seed), PLANS[profile].data, keep=("test",))


def distilled(profile: str, seed: int) -> Job:
    """Return the job of a student at the paper's T = 20 that sees only soft targets.

    The teacher of the student's own seed teaches it, if there is one.
    """
    plan = PLANS[profile]
    config = student(profile, seed=seed, epochs=plan.epochs[1], alpha=1.0, T=20.0)
    by = teacher(profile, seed % plan.teachers)
    return training(f"student distilled, seed {seed}", config, plan.data, teacher=by, keep=("test",))


KINDS: dict[str, Callable[[str, int], Job]] = {"teacher": teacher, "alone": alone, "distilled": distilled}


def _jobs(kinds: Sequence[str], profile: str) -> Jobs:
    plan, named = PLANS[profile], {}
    for kind in kinds:
        for seed in range(plan.teachers if kind == "teacher" else plan.students):
            named[Name(kind, seed=seed)] = KINDS[kind](profile, seed)
    return named


def errors(results: Results, kind: str) -> list[int]:
    """Return the test errors of the jobs of one kind, one number per seed."""
    return errors_by(results, kind)[0.0]


def one_more(values: Sequence[float] | np.ndarray, unit: str = "errors", digits: int = 1) -> str:
    """Return in words the interval that decides about a figure of a single run."""
    return f"one more run: {prediction(values).words(digits)} {unit}"


def wrong(results: Results, kind: str) -> np.ndarray:
    """Return which test images the networks of a kind get wrong, (networks, N)."""
    return np.stack([result.arrays["wrong"] for result in of(results, kind)])


def _judge_count(kind: str, figure: int, profile: str, results: Results) -> Outcome:
    counts = errors(results, kind)
    good = as_good(counts, figure)
    why = f"one more run of ours {'could' if good else 'would not'} be as good as the paper's single run"
    found = wrong(results, kind)
    if kind == "alone" and len(found) > 1:
        apart = np.mean([np.count_nonzero(a != b) for i, a in enumerate(found) for b in found[:i]])
        why += f"; two of these students disagree on which of {apart:.0f} images are right"
    return Outcome(mean_sd(counts), verdict(good), why, {"errors": counts}, one_more(counts), len(counts))


def _judge_distilled(profile: str, results: Results) -> Outcome:
    before, after = errors(results, "alone"), errors(results, "distilled")
    saved = [a - b for a, b in zip(before, after, strict=True)]
    networks = [wrong(results, kind) for kind in ("alone", "distilled")]
    draws = bootstrap(networks, np.ones(networks[0].shape[1]), paired=(0, 1)) / 100 * networks[0].shape[1]
    helps = interval(float(np.mean(saved)), draws[:, 0] - draws[:, 1])
    why = (
        f"{mean_sd(saved)} errors fewer than the student alone, pair by pair, {helps.words(0)} with other networks and "
        "other images; the paper's student saved 72"
    )
    judged = verdict(helps.low > 0 and as_good(after, 74), helps.low > 0)
    numbers = {"alone": before, "distilled": after, "saved": list(helps)}
    return Outcome(mean_sd(after), judged, why, numbers, one_more(after), len(after))


ROWS = (
    Row("M1", "teacher, 2 × 1200, dropout, max-norm, jitter: test errors", "67",
        partial(_jobs, ["teacher"]), partial(_judge_count, "teacher", 67)),
    Row("M2", "student, 2 × 800, no regularisation, hard targets: test errors", "146",
        partial(_jobs, ["alone"]), partial(_judge_count, "alone", 146)),
    Row("M3", "the same student, soft targets at T = 20, no jitter: test errors", "74",
        partial(_jobs, ["alone", "distilled"]), _judge_distilled),
)  # fmt: skip
