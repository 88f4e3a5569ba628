"""E6 and E9: how large gradients are, how much they differ between cases, and what rate they tolerate (§2, §2.1).

Hard and soft costs are measured on the same cases and the same networks: fresh ones, and the same after some epochs.
The networks are students of one teacher that differ in their seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, errors_by, of, verdict
from minikd.paper.rows.students import PLANS, student, teacher
from minikd.paper.tasks.networks import GRADIENT_TEMPERATURES, gradients, training
from minikd.theory.statistics import Interval, mean_interval

WIDTH = {"smoke": 16, "cpu": 300, "full": 800}
EPOCHS = {"smoke": 2, "cpu": 10, "full": 20}
NETWORKS = {"smoke": 2, "cpu": 5, "full": 5}  # in which gradients are measured
RATES = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
KINDS: dict[str, dict[str, float]] = {
    "hard": {},
    "soft, T = 4": {"alpha": 1.0, "T": 4.0},
    "soft, T = 20": {"alpha": 1.0, "T": 20.0},
}
SOFT = {kind: soft["T"] for kind, soft in KINDS.items() if soft}
Moment: TypeAlias = Sequence[Json]
"""What `gradients_task` measured at one moment of each network."""


def _measured(profile: str) -> Jobs:
    plan, named = PLANS[profile], {}
    for seed in range(NETWORKS[profile]):
        config = student(profile, hidden=(WIDTH[profile],) * 2, epochs=EPOCHS[profile], alpha=0.9, T=8.0, seed=seed)
        title = f"gradients of hard and soft costs, seed {seed}"
        named[Name("gradients", seed=seed)] = gradients(title, config, plan.data, teacher(profile))
    return named


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


def _moments(results: Results) -> list[Moment]:
    return list(zip(*(result.record["moments"] for result in of(results, "gradients")), strict=True))


def _geometric(logs: Sequence[float] | np.ndarray) -> Interval:
    """Return the interval of the geometric mean of factors, from their logarithms."""
    return Interval(*np.exp(mean_interval(logs)).tolist())


def _when(moment: Moment) -> str:
    epoch = moment[0]["epoch"]
    return f"after epoch {epoch}" if epoch else "fresh network"


# ---- their size ------------------------------------------------------------------------------------------------------


def balance(moment: Moment) -> np.ndarray:
    """Return the mean size of T² × the soft gradient over that of the hard one, (networks, T)."""
    size = np.array([[soft["size"] / one["hard"]["size"] for soft in one["soft"]] for one in moment])
    return np.asarray(np.array(GRADIENT_TEMPERATURES) ** 2 * size)


def _judge_size(profile: str, results: Results) -> Outcome:
    moments, T = _moments(results), np.array(GRADIENT_TEMPERATURES)
    slopes, factors, rows = [], [], []
    for moment in moments:
        balanced = balance(moment)
        slope = mean_interval(np.log(balanced[:, -1] / balanced[:, -2]) / np.log(T[-1] / T[-2]) - 2)
        high = balanced[:, T >= 4]
        factor = _geometric(np.log(high.max(axis=1) / high.min(axis=1)))
        slopes.append(slope)
        factors.append(factor)
        smallest, largest = balanced.mean(axis=0).min(), balanced.mean(axis=0).max()
        ends = [f"{found.value:.2f} {found.words(2)}" for found in (slope, factor)]
        rows.append([_when(moment), ends[0], f"{smallest:.2g} to {largest:.2g}", ends[1]])
    furthest = max(slopes, key=lambda slope: max(abs(slope.low + 2), abs(slope.high + 2)))
    worst = max(factors, key=lambda factor: factor.high)
    law = furthest.low >= -2.2 and furthest.high <= -1.8
    head = [
        f"{len(moments[0])} networks",
        f"slope at T = {T[-1]:g}",
        "T² · soft ÷ hard",
        "largest ÷ smallest, T from 4",
    ]
    return Outcome(
        f"slope {furthest.value:.2f} at T = {T[-1]:g}; from T = 4 on, T² balances within a factor of {worst.value:.2g}",
        verdict(law and worst.high <= 2, law),
        "the slope must lie within −2 ± 0.2, and the factor must be at most 2; shown are the worst of the moments",
        {"moments": moments, "table": {"head": head, "rows": rows}},
        f"slope {furthest.words(2)}; factor {worst.words(2)}",
        len(moments[0]),
    )


# ---- how much they differ --------------------------------------------------------------------------------------------


def quieter(hard: Json, soft: Json) -> float:
    """Return the logarithm of how many times as much hard gradients vary between cases as soft ones do.

    Where the hard noise has no upper bound, its lower bound counts, so the result is too small. Where the soft noise
    has none, the result is −∞.
    """
    if soft["noise"] is None:
        return -math.inf
    return math.log((hard["noise_at_least"] if hard["noise"] is None else hard["noise"]) / soft["noise"])


def times_quieter(moment: Moment, T: float) -> Interval:
    """Return how many times as much hard gradients vary as soft ones at T: the geometric mean over the networks."""
    logs = [quieter(one["hard"], _soft(one, T)) for one in moment]
    if -math.inf in logs:
        return Interval(0.0, 0.0, math.inf)
    return _geometric(logs)


def _soft(one: Json, T: float) -> Json:
    return dict(one["soft"][GRADIENT_TEMPERATURES.index(T)])


def _noise(found: Sequence[Json]) -> str:
    """Return the geometric mean of the networks' noise in words."""
    values = [one["noise_at_least"] if one["noise"] is None else one["noise"] for one in found]
    bound = "more than " if any(one["noise"] is None for one in found) else ""
    return f"{bound}{np.exp(np.mean(np.log(values))):,.0f}"


def _identity(moments: Sequence[Moment]) -> list[Json]:
    """Return, for each moment, both sides of the law of total variance that `variances` measures."""
    found: list[Json] = []
    for moment in moments:
        measured = [one["identity"] for one in moment]
        more = mean_interval([one["hard"] - one["soft"] for one in measured])
        expected = float(np.mean([one["expected"] for one in measured]))
        found.append({"epoch": moment[0]["epoch"], "more": list(more), "expected": expected})
    return found


def _judge_noise(profile: str, results: Results) -> Outcome:
    moments, identity = _moments(results), _identity(_moments(results))
    less = {(i, T): times_quieter(moment, T) for i, moment in enumerate(moments) for T in SOFT.values()}
    counts = {kind: errors_by(results, kind) for kind in KINDS}
    highest = {kind: tolerated(by_rate) for kind, by_rate in counts.items()}
    sizes = {kind: _size(moments[0], SOFT.get(kind)) for kind in KINDS}
    steps = {kind: rate * sizes[kind] for kind, rate in highest.items()}

    less_fresh = all(found.low > 1 for (i, _), found in less.items() if i == 0)
    less_trained = all(found.low > 1 for (i, _), found in less.items() if i > 0)
    faster = all(highest[kind] > highest["hard"] for kind in SOFT)
    judged = verdict(less_fresh and less_trained and faster, less_trained)

    last, more = len(moments) - 1, Interval(*identity[-1]["more"])
    ratios = ", ".join(f"{less[last, T].value:.1f} (T = {T:g})" for T in SOFT.values())
    ours = "; ".join(
        [
            f"hard ÷ soft variance {_when(moments[last])}: {ratios}",
            "highest rate: " + ", ".join(f"{_rate(rate)} ({kind})" for kind, rate in highest.items()),
            f"labels drawn from p: {more.value:.4f} more variance, 1 − ‖p‖²: {identity[-1]['expected']:.4f}",
        ]
    )
    why = (
        "a rate is tolerated if every seed makes at most a quarter more errors than that kind at its best rate; none "
        f"means that no rate tried, {RATES[0]:g} to {RATES[-1]:g}, is tolerated; times the size of the gradient at the "
        f"fresh network, the highest rates are {', '.join(f'{_rate(step)} ({kind})' for kind, step in steps.items())}; "
        f"the variance that drawn labels add has the interval {more.words(4)}"
    )
    weak, T = min(((i, T) for i, T in less if i > 0), key=lambda one: less[one].low)
    numbers = {
        "moments": moments,
        "identity": identity,
        "errors": counts,
        "highest": highest,
        "steps": steps,
        "table": {"head": ["", *KINDS], "rows": [*_noises(moments, less), *_rates(highest, sizes, steps)]},
    }
    words = f"hard ÷ soft variance, T = {T:g} {_when(moments[weak])}: {less[weak, T].words()}"
    return Outcome(ours, judged, why, numbers, words, len(moments[0]))


def _noises(moments: Sequence[Moment], less: Mapping[tuple[int, float], Interval]) -> list[list[str]]:
    """Return the lines of the table about variance."""
    rows = []
    for i, moment in enumerate(moments):
        noises = [_noise([one["hard"] for one in moment])]
        noises += [_noise([_soft(one, T) for one in moment]) for T in SOFT.values()]
        ratios = [f"{less[i, T].value:.1f} {less[i, T].words()}" for T in SOFT.values()]
        rows.append([f"variance ÷ squared mean, {_when(moment)}", *noises])
        rows.append([f"hard ÷ soft, {_when(moment)}", "", *ratios])
    return rows


# ---- the rates -------------------------------------------------------------------------------------------------------


def _size(moment: Moment, T: float | None) -> float:
    """Return the mean size of the gradient of a case: of the hard cost, or of the soft one at T times T²."""
    return float(np.mean([one["hard"]["size"] if T is None else T**2 * _soft(one, T)["size"] for one in moment]))


def _rates(*lines: Mapping[str, float]) -> list[list[str]]:
    """Return the lines of the table about rates."""
    titles = ("highest rate", "mean size of the gradient of a case, fresh network, soft × T²", "highest rate × size")
    return [[title, *map(_rate, line.values())] for title, line in zip(titles, lines, strict=True)]


def _rate(rate: float) -> str:
    """Return a rate in words.

    >>> _rate(0.0125), _rate(0.0)
    ('0.0125', 'none')
    """
    return f"{rate:.3g}" if rate else "none"


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
