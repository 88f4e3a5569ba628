"""P4 to P6: a generalist and specialists on pairs of digits, 100 classes (Hinton et al. 2015, section 5).

P5 and P6 use P1 to P4: sets of classes found without labels, specialists that start from the generalist's weights with
half their examples special, a corrected dustbin, and one answer from all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from minikd.paper.lab.jobs import Job, Json
from minikd.paper.lab.scoreboard import NOT, Jobs, Name, Outcome, Results, Row, of, verdict
from minikd.paper.tasks.pairs import answers_task, closed_forms_task, generalist_task, specialist_task
from minikd.theory.statistics import Interval, fraction, mean_interval, mean_sd
from minikd.training.config import TrainConfig


class Plan(NamedTuple):
    """What a profile makes of the section."""

    pairs: tuple[int, ...]  # what `load_pairs` takes: to train on, to test with, the seed of their draw
    width: int
    epochs: tuple[int, int]  # of the generalist, of a specialist
    specialists: tuple[int, int]  # how many, classes each
    seeds: int
    steps: tuple[int, int]  # of the descent beside the closed forms: few, many
    T: float = 20.0  # of the predictions that the class sets come from


RATE = 0.1  # the learning rate, of all networks

# `python -m benchmarks.choose_pairs` chose the width and T of "cpu" on pairs of held-out training images.
PLANS = {
    "smoke": Plan((2000, 500, 0), width=30, epochs=(4, 2), specialists=(3, 8), seeds=2, steps=(10, 100)),
    "cpu": Plan((60_000, 10_000, 0), width=12, epochs=(30, 20), specialists=(20, 10), seeds=5, steps=(100, 10_000)),
    "full": Plan((60_000, 50_000, 0), width=12, epochs=(60, 40), specialists=(20, 10), seeds=5, steps=(100, 10_000)),
}


def _generalist(plan: Plan, seed: int) -> Job:
    config = TrainConfig((plan.width,) * 2, plan.epochs[0], learning_rate=RATE, clip_norm=1.0, seed=seed)
    count, size = plan.specialists
    settings = {"pairs": list(plan.pairs), "config": config.record(), "specialists": count, "size": size, "T": plan.T}
    work = 1e-9 * plan.pairs[0] * plan.width * plan.epochs[0] * 150
    return Job(generalist_task, settings, {}, f"generalist, seed {seed}", work)


def combined(plan: Plan) -> Jobs:
    """Return the jobs that count the answers of generalists, one per seed, and of their specialists."""
    named = {}
    for seed in range(plan.seeds):
        needs = {"generalist": (by := _generalist(plan, seed))}
        own = {"pairs": list(plan.pairs), "config": {**by.settings["config"], "epochs": plan.epochs[1]}}
        for m in range(plan.specialists[0]):
            title = f"specialist {m} of generalist {seed}"
            needs[f"specialist {m}"] = Job(specialist_task, own | {"index": m}, {"generalist": by}, title, by.work / 8)
        title = f"the answers of generalist {seed} and specialists"
        named[Name("answers", seed=seed)] = Job(answers_task, {"pairs": list(plan.pairs)}, needs, title)
    return named


def _jobs(profile: str) -> Jobs:
    return combined(PLANS[profile])


def _closed_forms(profile: str) -> Jobs:
    """Return the job on three generalists, or as many as there are, of the same pairs."""
    plan = PLANS[profile]
    needs = {f"generalist {seed}": _generalist(plan, seed) for seed in range(min(3, plan.seeds))}
    settings = {"steps": list(plan.steps)}
    return {Name("closed forms"): Job(closed_forms_task, settings, needs, "answers under full coverage", 10.0)}


def _judge_closed_forms(profile: str, results: Results) -> Outcome:
    record = results[Name("closed forms")].record
    apart = {kind: record[kind] for kind in ("arithmetic", "geometric")}
    ours = "largest difference of a probability: " + ", ".join(
        f"{far[-1]:.2g} from the {kind} mean" for kind, far in apart.items()
    )
    close = all(far[-1] < 0.01 and far[-1] < 0.5 * far[0] for far in apart.values())
    few, many = PLANS[profile].steps
    before = ", ".join(f"{kind} {far[0]:.2g}" for kind, far in apart.items())
    why = f"of 300 cases × 100 classes, between {many:,} steps of plain descent and the closed form; after {few}: "
    return Outcome(ours, verdict(close), why + before, {"steps": [few, many], **apart})


class Accuracy(NamedTuple):
    """Accuracies in per cent, one per generalist."""

    before: np.ndarray
    after: np.ndarray

    def words(self) -> str:
        """Return both in words."""
        return f"{mean_sd(self.before, 2)} → {mean_sd(self.after, 2)} %"

    def gain(self) -> Interval:
        """Return the interval of the gain in points, over all seeds of generalists."""
        return mean_interval(self.after - self.before)


def accuracies(records: Sequence[Json]) -> tuple[Accuracy, Accuracy]:
    """Return the accuracy among the classes of specialists, and overall, from the records of `answers_task`."""
    cases, general, special = np.array([record["conditional"] for record in records]).T
    before, after, tested = np.array([[record[name] for name in ("before", "after", "tested")] for record in records]).T
    conditional = Accuracy(100 * general / cases, 100 * special / cases)
    return conditional, Accuracy(100 - 100 * before / tested, 100 - 100 * after / tested)


def _judge_accuracy(profile: str, results: Results) -> Outcome:
    records = [result.record for result in of(results, "answers")]
    conditional, overall = accuracies(records)
    among, everywhere = conditional.gain(), overall.gain()
    why = (
        f"the gain is {everywhere.value:+.2f} points overall {everywhere.words(2, sign=True)}, and {among.value:+.2f} "
        f"points among the specialists' classes {among.words(2, sign=True)}"
    )
    judged = verdict(min(among.low, everywhere.low) > 0, everywhere.low > 0)
    words = f"the overall gain: {everywhere.words(2, sign=True)} points"
    ours = f"conditional {conditional.words()}, overall {overall.words()}"
    numbers = {"records": records, "gains": {"conditional": list(among), "overall": list(everywhere)}}
    return Outcome(ours, judged, why, numbers, words, len(records))


Covered: TypeAlias = dict[int, np.ndarray]
"""By the number of specialists for the class: the cases, the errors before, and the errors after."""


def _judge_cover(profile: str, results: Results) -> Outcome:
    records = [result.record["covered"] for result in of(results, "answers")]
    seeds: list[Covered] = [{int(c): np.array(counts) for c, counts in covered.items()} for covered in records]
    total: Covered = {c: np.sum([one[c] for one in seeds if c in one], axis=0) for c in sorted(set().union(*seeds))}
    slopes = [slope for one in seeds if (slope := _slope(one)) is not None]
    rows = [
        [str(c), f"{counts[0]:,}", "none was right" if (gain := _gain(counts)) is None else f"{gain:+.2f} %"]
        for c, counts in total.items()
    ]
    numbers: Json = {
        "covered": {str(c): counts.tolist() for c, counts in total.items()},
        "slopes": slopes,
        "table": {"head": ["specialists for the class", "cases, all seeds", "relative gain in accuracy"], "rows": rows},
    }
    if not slopes:
        why = "classes have the same number of specialists, or none of their cases was right: there is no slope"
        return Outcome("no slope", NOT, why, numbers, "", 0)
    found = mean_interval(slopes)
    why = "each seed has a slope of the gain over the number of specialists, weighted by cases"
    if len(slopes) < len(seeds):
        why += f"; {len(seeds) - len(slopes)} of {len(seeds)} seeds have none"
    words = f"slope, per further specialist: {found.words(2, sign=True)} points"
    ours = f"{found.value:+.2f} points per further specialist"
    return Outcome(ours, verdict(found.low > 0), why, numbers, words, len(slopes))


def _gain(counts: np.ndarray) -> float | None:
    """Return the relative gain in accuracy in per cent; None if no case was right before."""
    cases, before, after = counts.tolist()
    return fraction(100 * (before - after), cases - before)


def _slope(covered: Covered) -> float | None:
    """Return how much the gain grows per further specialist, weighted by cases; None without two known gains."""
    known = {c: gain for c, counts in covered.items() if (gain := _gain(counts)) is not None}
    if len(known) < 2:
        return None
    weights = np.sqrt([covered[c][0] for c in known])
    return float(np.polyfit(list(known), list(known.values()), 1, w=weights)[0])


ROWS = (
    Row("P4",
        "specialists for all classes: the answer of least divergence is a mean of all models; its direction says which",
        "arithmetic, geometric", _closed_forms, _judge_closed_forms),
    Row("P5", "pairs of digits: accuracy among a specialist's classes, and overall, generalist → with specialists",
        "43.1 → 45.9 %, 25.0 → 26.1 % (on JFT)", _jobs, _judge_accuracy),
    Row("P6", "the same: relative gain in accuracy by the number of specialists for the class",
        "+3.4 % with one, +7.4 % two, … +14.1 % ten (on JFT)", _jobs, _judge_cover),
)  # fmt: skip
