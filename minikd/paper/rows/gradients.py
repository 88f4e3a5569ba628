"""E6 and E9: how large gradients are, how much they differ between cases, and what rate they tolerate (§2, §2.1).

Hard and soft costs are measured on the same cases and the same networks: a fresh one, and the same after some epochs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, errors_by, verdict
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


def _measured(profile: str) -> Jobs:
    config = student(profile, hidden=(WIDTH[profile],) * 2, epochs=EPOCHS[profile], alpha=0.9, T=8.0)
    title = "gradients of hard and soft costs"
    return {Name("gradients"): gradients(title, config, PLANS[profile].data, teacher(profile))}


def _tolerated(profile: str) -> Jobs:
    data, by, named = PLANS[profile].data, teacher(profile), _measured(profile)
    settings: Json = {"hidden": (WIDTH[profile],) * 2, "epochs": 2, "clip_norm": None}
    for kind, soft in KINDS.items():
        for rate in RATES:
            for seed in range(PLANS[profile].students):
                config = student(profile, **settings, seed=seed, learning_rate=rate, **soft)
                title = f"rate {rate:g}, {kind}, seed {seed}"
                taught = by if soft else None
                named[Name(kind, rate, seed)] = training(title, config, data, teacher=taught, may_diverge=True)
    return named


def _judge_size(profile: str, results: Results) -> Outcome:
    moments, T = results[Name("gradients")].record["moments"], np.array(GRADIENT_TEMPERATURES)
    words, slopes, balance = [], [], []
    for moment in moments:
        size = np.array([one["size"] for one in moment["soft"]])
        slope = float((np.diff(np.log(size)) / np.diff(np.log(T)))[-1])
        scaled = T**2 * size / moment["hard"]["size"]
        slopes.append(slope)
        balance.append(float(scaled[T >= 4].max() / scaled[T >= 4].min()))
        words.append(
            f"epoch {moment['epoch']}: slope {slope:.2f} at T = {T[-1]:g}, T²·soft / hard from {scaled.min():.2g} "
            f"to {scaled.max():.2g}"
        )
    law, balanced = all(abs(slope + 2) < 0.2 for slope in slopes), max(balance) <= 2
    why = f"from T = 4 on, T² keeps the soft gradients within a factor of {max(balance):.2g}"
    return Outcome("; ".join(words), verdict(law and balanced, law), why, {"moments": moments})


def _judge_noise(profile: str, results: Results) -> Outcome:
    moments, words, less = results[Name("gradients")].record["moments"], [], []
    for moment in moments:
        hard, soft = moment["hard"]["noise"], dict(zip(GRADIENT_TEMPERATURES, moment["soft"], strict=True))
        at_4, at_20 = soft[4.0]["noise"], soft[20.0]["noise"]
        less.append(max(at_4, at_20) < hard)
        words.append(
            f"epoch {moment['epoch']}: variance between cases over squared mean: hard {hard:.3g}, "
            f"{at_4:.3g} at T = 4, {at_20:.3g} at T = 20"
        )
    counts = {kind: errors_by(results, kind) for kind in KINDS}
    highest = {kind: tolerated(by_rate) for kind, by_rate in counts.items()}
    words.append("highest rate: " + ", ".join(f"{rate:g} ({kind})" for kind, rate in highest.items()))
    faster = [0 < highest[kind] >= highest["hard"] for kind in KINDS if kind != "hard"]
    judged = verdict(all(less) and all(faster), all(less) or all(faster))
    why = "a rate is tolerated if every seed makes at most a quarter more errors than that kind at its best rate"
    return Outcome("; ".join(words), judged, why, {"moments": moments, "errors": counts, "highest": highest})


def tolerated(counts: Mapping[float, list[int | None]]) -> float:
    """Return the highest rate at which every seed's errors are within a quarter of the best mean, or 0 if none is.

    Args:
        counts: by rate, the errors of each seed; None where the run diverged.
    """
    means = [float(np.mean([n for n in errors if n is not None])) for errors in counts.values() if None not in errors]
    limit = 1.25 * min(means, default=0.0)
    right = [rate for rate, errors in counts.items() if all(n is not None and n <= limit for n in errors)]
    return max(right, default=0.0)


ROWS = (
    Row("E6", "soft gradients scale as 1/T², so T² balances them with hard ones", "roughly balanced", _measured,
        _judge_size),
    Row("E9", "soft targets: less variance of the gradient between cases, and a higher learning rate", "less; higher",
        _tolerated, _judge_noise),
)  # fmt: skip
