"""E6 and E9: how large gradients are, how much they differ between cases, and what rate they tolerate (§2, §2.1).

Hard and soft costs are measured on the same cases and the same networks: a fresh one, and after some epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import GRADIENT_TEMPERATURES, gradients, training

WIDTH = {"smoke": 16, "cpu": 300, "full": 800}
EPOCHS = {"smoke": 2, "cpu": 10, "full": 20}
RATES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
KINDS: dict[str, dict[str, float]] = {
    "hard": {},
    "soft, T = 4": {"alpha": 1.0, "T": 4.0},
    "soft, T = 20": {"alpha": 1.0, "T": 20.0},
}


def _shape(profile: str) -> dict[str, Any]:
    return {"hidden": (WIDTH[profile],) * 2}


def _measured(profile: str) -> dict[str, Job]:
    config = student(profile, **_shape(profile), epochs=EPOCHS[profile], alpha=0.9, T=8.0, learning_rate=0.1)
    title = "gradients of hard and soft costs"
    return {"gradients": gradients(title, config, PLANS[profile].data, teacher(profile))}


def _tolerated(profile: str) -> dict[str, Job]:
    by, named = teacher(profile), _measured(profile)
    for kind, soft in KINDS.items():
        for rate in RATES:
            for seed in range(PLANS[profile].students):
                config = student(
                    profile, **_shape(profile), epochs=2, seed=seed, clip_norm=None, learning_rate=rate, **soft
                )
                named[f"{kind}; {rate}; {seed}"] = training(
                    f"rate {rate:g}, {kind}, seed {seed}",
                    config,
                    PLANS[profile].data,
                    teacher=by if soft else None,
                    may_diverge=True,
                )
    return named


def _judge_size(profile: str, results: Mapping[str, Result]) -> Outcome:
    record = results["gradients"].record
    T = np.array(GRADIENT_TEMPERATURES)
    words, slopes, balance = [], [], []
    for moment in record["moments"]:
        size = np.array([one["size"] for one in moment["soft"]])
        slope = np.diff(np.log(size)) / np.diff(np.log(T))
        scaled = T**2 * size / moment["hard"]["size"]
        slopes.append(float(slope[-1]))
        balance.append(float(scaled[T >= 4].max() / scaled[T >= 4].min()))
        words.append(
            f"epoch {moment['epoch']}: slope {slope[-1]:.2f} at T = {T[-1]:g}, T²·soft / hard from {scaled.min():.2g} "
            f"to {scaled.max():.2g}"
        )
    law, balanced = all(abs(slope + 2) < 0.2 for slope in slopes), max(balance) <= 2
    verdict = REPRODUCED if law and balanced else DIRECTION if law else NOT
    why = f"from T = 4 on, T² keeps the soft gradients within a factor of {max(balance):.2g}"
    return Outcome("; ".join(words), verdict, why, {"moments": record["moments"]})


def _judge_noise(profile: str, results: Mapping[str, Result]) -> Outcome:
    record = results["gradients"].record
    words, less = [], []
    for moment in record["moments"]:
        soft = {f"{T:g}": one["noise"] for T, one in zip(GRADIENT_TEMPERATURES, moment["soft"], strict=True)}
        less.append(all(soft[T] < moment["hard"]["noise"] for T in ("4", "20")))
        words.append(
            f"epoch {moment['epoch']}: variance between cases over squared mean: hard {moment['hard']['noise']:.3g}, "
            f"{soft['4']:.3g} at T = 4, {soft['20']:.3g} at T = 20"
        )
    counts: dict[str, dict[str, list[int | None]]] = {kind: {} for kind in KINDS}
    for name, result in results.items():
        if name != "gradients":
            kind, rate, _ = name.split("; ")
            counts[kind].setdefault(rate, []).append(result.record["errors"])
    highest = {kind: tolerated(of) for kind, of in counts.items()}
    words.append("highest rate: " + ", ".join(f"{rate:g} ({kind})" for kind, rate in highest.items()))
    faster = [0 < highest[kind] >= highest["hard"] for kind in KINDS if kind != "hard"]
    verdict = REPRODUCED if all(less) and all(faster) else DIRECTION if all(less) or all(faster) else NOT
    why = "a rate is tolerated if every seed makes at most a quarter more errors than that kind at its best rate"
    return Outcome("; ".join(words), verdict, why, {"moments": record["moments"], "errors": counts, "highest": highest})


def tolerated(counts: Mapping[str, list[int | None]]) -> float:
    """The highest rate up to which every seed's errors are within a quarter of the best mean; 0 where none is."""
    means = [float(np.mean([n for n in errors if n is not None])) for errors in counts.values() if None not in errors]
    limit = 1.25 * min(means, default=0.0)
    right = [float(rate) for rate, errors in counts.items() if all(n is not None and n <= limit for n in errors)]
    return max(right, default=0.0)


ROWS = (
    Row("E6", "soft gradients scale as 1/T², so T² balances them with hard ones", "roughly balanced", _measured,
        _judge_size),
    Row("E9", "soft targets: less variance of the gradient between cases, and a higher learning rate", "less; higher",
        _tolerated, _judge_noise),
)  # fmt: skip
