"""P4 to P6: a generalist and specialists on pairs of digits, 100 classes (Hinton et al. 2015, section 5).

P5 and P6 use P1 to P4: sets of classes found without labels, specialists that start from the generalist's weights with
half their examples special, a corrected dustbin, and one answer from all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minikd.paper.lab.jobs import Job, Json
from minikd.paper.lab.scoreboard import DIRECTION, NOT, Jobs, Name, Outcome, Results, Row, of, verdict
from minikd.paper.lab.statistics import fraction, mean_sd
from minikd.paper.tasks.pairs import answers_task, closed_forms_task, generalist_task, specialist_task
from minikd.training.config import TrainConfig


class Plan(NamedTuple):
    """What a profile makes of the section."""

    pairs: tuple[int, int, int]  # to train on, to test with, the seed of their draw
    width: int
    epochs: tuple[int, int]  # of the generalist, of a specialist
    specialists: tuple[int, int]  # how many, classes each
    seeds: int
    steps: tuple[int, int]  # of the descent beside the closed forms: few, many


# The class sets come from predictions at this T, as in E8. We gave up T = 1 after a look at test errors: 8 % of these
# lay between two classes of one set, against 14 % with random sets, and 49 to 81 % with T from 2 to 20.
T = 4.0
RATE = 0.1  # the learning rate, of all networks

# The paper's generalist was wrong in three of four cases. One of 300 units learns its 60,000 pairs by heart, and
# specialists only make it surer of them: on the test pairs accuracy went from 97.57 to 97.53 % among their classes and
# from 93.83 to 93.06 % overall. This generalist therefore has too few units for 100 classes. We tried how few on pairs
# of held-out training images: the errors before and after were 2767 and 2026 with 12 units, 1588 and 1458 with 16, 1308
# and 1226 with 20.
PLANS = {
    "smoke": Plan((2000, 500, 0), width=30, epochs=(4, 2), specialists=(3, 8), seeds=2, steps=(10, 100)),
    "cpu": Plan((60_000, 10_000, 0), width=12, epochs=(30, 20), specialists=(20, 10), seeds=5, steps=(100, 10_000)),
    "full": Plan((60_000, 50_000, 0), width=12, epochs=(100, 60), specialists=(40, 10), seeds=10, steps=(100, 10_000)),
}


def _generalist(plan: Plan, seed: int) -> Job:
    config = TrainConfig((plan.width,) * 2, plan.epochs[0], learning_rate=RATE, clip_norm=1.0, seed=seed)
    count, size = plan.specialists
    settings = {"pairs": list(plan.pairs), "config": config.record(), "specialists": count, "size": size, "T": T}
    work = 1e-9 * plan.pairs[0] * plan.width * plan.epochs[0] * 150
    return Job(generalist_task, settings, {}, f"generalist, seed {seed}", work)


def _jobs(profile: str) -> Jobs:
    plan, named = PLANS[profile], {}
    for seed in range(plan.seeds):
        needs = {"generalist": (by := _generalist(plan, seed))}
        own = {"pairs": list(plan.pairs), "config": {**by.settings["config"], "epochs": plan.epochs[1]}}
        for m in range(plan.specialists[0]):
            title = f"specialist {m} of generalist {seed}"
            needs[f"specialist {m}"] = Job(specialist_task, own | {"index": m}, {"generalist": by}, title, by.work / 8)
        title = f"the answers of generalist {seed} and specialists"
        named[Name("answers", seed=seed)] = Job(answers_task, {"pairs": list(plan.pairs)}, needs, title)
    return named


def _closed_forms(profile: str) -> Jobs:
    """Return the job on three generalists, or as many as there are, of the same pairs."""
    plan = PLANS[profile]
    needs = {f"generalist {seed}": _generalist(plan, seed) for seed in range(min(3, plan.seeds))}
    settings = {"steps": list(plan.steps)}
    return {Name("closed forms"): Job(closed_forms_task, settings, needs, "answers under full coverage", 10.0)}


def _judge_closed_forms(profile: str, results: Results) -> Outcome:
    record = results[Name("closed forms")].record
    apart = {kind: record[kind] for kind in ("arithmetic", "geometric")}
    ours = "; ".join(f"{kind} mean: within {far[-1]:.2g}" for kind, far in apart.items())
    close = all(far[-1] < 0.01 and far[-1] < 0.5 * far[0] for far in apart.values())
    few, many = PLANS[profile].steps
    before = ", ".join(f"{kind} {far[0]:.2g}" for kind, far in apart.items())
    why = f"the largest difference in 300 × 100 probabilities after {many:,} steps of plain descent; after {few}: "
    return Outcome(ours, verdict(close), why + before, {"steps": [few, many], **apart})


def _judge_accuracy(profile: str, results: Results) -> Outcome:
    records = [result.record for result in of(results, "answers")]
    before, after = ([100 - 100 * r[when] / r["tested"] for r in records] for when in ("before", "after"))
    general, special = ([100 * r["conditional"][i] / r["conditional"][0] for r in records] for i in (1, 2))
    conditional, overall = (
        f"{mean_sd(old, 2)} → {mean_sd(new, 2)} %" for old, new in ((general, special), (before, after))
    )
    better = [b < a for b, a in zip(before + general, after + special, strict=True)]
    why = "both rise with every seed" if all(better) else f"{sum(better)} of {len(better)} comparisons rise"
    judged = verdict(all(better), np.mean(after) > np.mean(before))
    return Outcome(f"conditional {conditional}, overall {overall}", judged, why, {"records": records})


def _judge_cover(profile: str, results: Results) -> Outcome:
    total: dict[int, np.ndarray] = {}  # specialists for the class → cases, errors before, errors after
    for result in of(results, "answers"):
        for c, counts in result.record["covered"].items():
            total[int(c)] = total.get(int(c), np.zeros(3, int)) + counts
    numbers: Json = {"covered": {str(c): total[c].tolist() for c in sorted(total)}}
    words, known = [], {}
    for c, (cases, before, after) in sorted(total.items()):
        gain = fraction(100 * (before - after), cases - before)  # relative, of the accuracy, in per cent
        if gain is not None:
            known[c] = gain
        words.append(f"{c}: {'none was right' if gain is None else f'{gain:+.2f} %'} ({cases} cases)")
    ours = ", ".join(words)
    if len(known) < 2:
        why = "classes have the same number of specialists, or none of their cases was right: there is no slope"
        return Outcome(ours, NOT, why, numbers)
    weights = np.sqrt([total[c][0] for c in known])
    slope = float(np.polyfit(list(known), list(known.values()), 1, w=weights)[0])
    why = f"slope {slope:+.2f} points per specialist, weighted by cases"
    return Outcome(ours, DIRECTION if slope > 0 else NOT, why, numbers)


ROWS = (
    Row("P4",
        "specialists for all classes: the answer of least divergence is a mean of all models; its direction says which",
        "arithmetic, geometric", _closed_forms, _judge_closed_forms),
    Row("P5", "pairs of digits: accuracy among a specialist's classes, and overall, generalist → with specialists",
        "43.1 → 45.9 %, 25.0 → 26.1 % (on JFT)", _jobs, _judge_accuracy),
    Row("P6", "the same: relative gain in accuracy by the number of specialists for the class",
        "+3.4 % with one, +7.4 % two, … +14.1 % ten (on JFT)", _jobs, _judge_cover),
)  # fmt: skip
