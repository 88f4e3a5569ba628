"""M1 to M3: the teacher, the student alone, and the student distilled at T = 20 (Hinton et al. 2015, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row, mean_sd, near, sign_flip_p
from minikd.paper.tasks.networks import Data, training
from minikd.training.config import TrainConfig


class Lengths(NamedTuple):
    """What a profile makes of the section."""

    data: Data
    teachers: int  # seeds
    students: int  # seeds
    hidden: tuple[int, int]  # of the teacher, of the student
    epochs: tuple[int, int, int]  # of the teacher, the student alone, the student distilled


PLANS = {
    "smoke": Lengths(Data(first=1000), teachers=1, students=2, hidden=(40, 30), epochs=(3, 2, 2)),
    "cpu": Lengths(Data(), teachers=2, students=3, hidden=(1200, 800), epochs=(80, 20, 100)),
    "full": Lengths(Data(), teachers=5, students=5, hidden=(1200, 800), epochs=(500, 60, 200)),
}


def teacher(profile: str, seed: int = 0) -> Job:
    """The teacher of seed `seed`: dropout, max-norm and jitter, on all labels; other rows are taught by seed 0's."""
    plan = PLANS[profile]
    config = TrainConfig(
        hidden=(plan.hidden[0],) * 2,
        epochs=plan.epochs[0],
        batch_size=256 if plan.data.first == 0 else 32,
        learning_rate=0.15,
        clip_norm=None,  # clipping cost the teacher two errors, and its students twenty
        drop_hidden=0.3,
        max_norm=15**0.5,
        jitter=2,
        seed=seed,
    )
    return training(f"teacher, seed {seed}", config, plan.data, keep=("train", "test"))


def student(profile: str, **changes: Any) -> TrainConfig:
    """The student's configuration: no regularisation; `changes` are fields of TrainConfig."""
    plan = PLANS[profile]
    settings = {
        "hidden": (plan.hidden[1],) * 2,
        "epochs": plan.epochs[1],
        "batch_size": 128 if plan.data.first == 0 else 32,
        "learning_rate": 0.2,
        "clip_norm": 1.0,
    }
    return TrainConfig(**{**settings, **changes})


def alone(profile: str, seed: int) -> Job:
    """A student on the labels alone."""
    return training(f"student alone, seed {seed}", student(profile, seed=seed), PLANS[profile].data, keep=("test",))


def distilled(profile: str, seed: int) -> Job:
    """A student of the paper's T = 20, on soft targets alone, taught by the teacher of its own seed if there is one."""
    plan = PLANS[profile]
    config = student(profile, seed=seed, epochs=plan.epochs[2], alpha=1.0, T=20.0, learning_rate=0.1)
    by = teacher(profile, seed % plan.teachers)
    return training(f"student distilled, seed {seed}", config, plan.data, teacher=by, keep=("test",))


def _teachers(profile: str) -> dict[str, Job]:
    return {f"teacher {seed}": teacher(profile, seed) for seed in range(PLANS[profile].teachers)}


def _alone(profile: str) -> dict[str, Job]:
    return {f"alone {seed}": alone(profile, seed) for seed in range(PLANS[profile].students)}


def _pairs(profile: str) -> dict[str, Job]:
    return _alone(profile) | {f"distilled {seed}": distilled(profile, seed) for seed in range(PLANS[profile].students)}


def errors(results: Mapping[str, Result], kind: str) -> list[int]:
    """The errors of the jobs whose name begins so, in the order of their names' numbers."""
    return [result.record["errors"] for name, result in results.items() if name.startswith(f"{kind} ")]


def _judge_count(kind: str, figure: int) -> Callable[[str, Mapping[str, Result]], Outcome]:
    def judge(profile: str, results: Mapping[str, Result]) -> Outcome:
        counts = errors(results, kind)
        right = near(float(np.mean(counts)), figure)
        why = f"{'at most' if right else 'more than'} the paper's single run plus two binomial standard deviations"
        return Outcome(mean_sd(counts), REPRODUCED if right else NOT, why, {"errors": counts})

    return judge


def _judge_distilled(profile: str, results: Mapping[str, Result]) -> Outcome:
    before, after = errors(results, "alone"), errors(results, "distilled")
    saved = [a - b for a, b in zip(before, after, strict=True)]
    words = f"{mean_sd(saved)} errors fewer than the student alone, pair by pair; the paper's student saved 72"
    helps = min(saved) > 0
    verdict = REPRODUCED if helps and near(float(np.mean(after)), 74) else DIRECTION if helps else NOT
    return Outcome(mean_sd(after), verdict, words, {"alone": before, "distilled": after, "p": sign_flip_p(saved)})


ROWS = (
    Row(
        "M1", "teacher, 2 × 1200, dropout, max-norm, jitter: test errors", "67", _teachers, _judge_count("teacher", 67)
    ),
    Row(
        "M2",
        "student, 2 × 800, no regularisation, hard targets: test errors",
        "146",
        _alone,
        _judge_count("alone", 146),
    ),
    Row("M3", "the same student, soft targets at T = 20, no jitter: test errors", "74", _pairs, _judge_distilled),
)
