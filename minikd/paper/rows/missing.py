"""M6 to M9: students whose transfer set lacked classes, before and after one bias is moved (Hinton et al. 2015, §3).

There are three ways to shift. "none" shifts nothing. "oracle" is the paper's way, the best shift on the test labels.
"honest" sees no label at all: it makes the mean probability of the moved classes on the unlabelled training images
equal to the teacher's there (derivation D9).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minikd.core.softmax import softmax
from minikd.paper.lab.jobs import Json
from minikd.paper.lab.scoreboard import Jobs, Name, Outcome, Results, Row, as_good, of, verdict
from minikd.paper.rows.students import PLANS, one_more, student, teacher
from minikd.paper.tasks.networks import errors, training
from minikd.theory.priors import matching_shift, shift_classes
from minikd.theory.statistics import Interval, mean_interval, mean_sd, prediction

SHIFTS = np.round(np.arange(-12.0, 12.01, 0.1), 1)  # nats, that the oracle tries
WAYS = ("none", "oracle", "honest")
T = 20.0


class Case(NamedTuple):
    """A transfer set.

    Attributes:
        name: for people.
        kept: its classes.
        moved: the classes whose bias is moved.
        epochs: of its students, by profile.
    """

    name: str
    kept: tuple[int, ...]
    moved: tuple[int, ...]
    epochs: Mapping[str, int]

    def jobs(self, profile: str) -> Jobs:
        """Return the teacher's job and its students'."""
        by, data = teacher(profile), replace(PLANS[profile].data, classes=self.kept)
        named = {Name("teacher"): by}
        for seed in range(PLANS[profile].students):
            config = student(profile, seed=seed, epochs=self.epochs[profile], alpha=1.0, T=T)
            title = f"student {self.name}, seed {seed}"
            named[Name("student", seed=seed)] = training(title, config, data, teacher=by, keep=("train", "test"))
        return named


WITHOUT_3 = Case("without 3s", tuple(k for k in range(10) if k != 3), (3,), {"smoke": 2, "cpu": 20, "full": 100})
ONLY_7_8 = Case("of 7s and 8s", (7, 8), (7, 8), {"smoke": 2, "cpu": 30, "full": 100})


# ---- before and after ------------------------------------------------------------------------------------------------


def measure(case: Case, profile: str, results: Results) -> Json:
    """Measure the errors of each student by every shift.

    Returns:
        - shift, errors, wrong: by way of shifting, one number per student. `wrong` counts errors on the moved classes.
        - cases: how many test cases are of the moved classes, and how many there are.
        - curve: the mean errors at `SHIFTS`.
    """
    _, _, _, test = PLANS[profile].data.load()
    theirs = np.isin(test.labels, case.moved)  # (N,)
    v = results[Name("teacher")].arrays["train"]  # (N, K), of training images
    p = softmax(v, T=1.0)[:, list(case.moved)].sum(axis=-1)  # (N,)
    share = float(np.mean(p, dtype=np.float64))
    found: Json = {what: {way: [] for way in WAYS} for what in ("shift", "errors", "wrong")}
    curves = []
    for result in of(results, "student"):
        z = result.arrays["test"]
        curves.append([errors(shift_classes(z, case.moved, s), test.labels) for s in SHIFTS])
        oracle, honest = SHIFTS[np.argmin(curves[-1])], matching_shift(result.arrays["train"], case.moved, share)
        for way, s in zip(WAYS, (0.0, float(oracle), honest), strict=True):
            shifted = shift_classes(z, case.moved, s)
            found["shift"][way].append(round(s, 2))
            found["errors"][way].append(errors(shifted, test.labels))
            found["wrong"][way].append(errors(shifted[theirs], test.labels[theirs]))
    found["cases"] = [int(np.count_nonzero(theirs)), len(test)]
    return found | {"curve": np.mean(curves, axis=0).tolist()}


def _judge_before(profile: str, results: Results) -> Outcome:
    found = measure(WITHOUT_3, profile, results)
    counts, threes = found["errors"]["none"], found["wrong"]["none"]
    right = 1 - float(np.mean(threes)) / found["cases"][0]
    ours = f"{mean_sd(counts)}, of them {mean_sd(threes)} on 3s"
    why = f"{right:.1%} of the 3s are right, although no student ever saw a 3; in the paper 86.8 %"
    knows_some = mean_interval(threes).high < 0.9 * found["cases"][0]  # guessing gets a tenth of them
    judged = verdict(as_good(counts, 206) and as_good(threes, 133), knows_some)
    words = f"{one_more(counts)}, of them {prediction(threes).words()} on 3s"
    return Outcome(ours, judged, why, found, words, len(counts))


def _judge_after(profile: str, results: Results) -> Outcome:
    found = measure(WITHOUT_3, profile, results)
    ours = "; ".join(
        f"{way}: {mean_sd(found['errors'][way])}, of them {mean_sd(found['wrong'][way])} on 3s, "
        f"shift {mean_sd(found['shift'][way])}"
        for way in ("oracle", "honest")
    )
    oracle = found["errors"]["oracle"]
    right = 1 - float(np.mean(found["wrong"]["oracle"])) / found["cases"][0]
    saved = _saved(found)
    why = (
        f"with the oracle's shift {right:.1%} of the 3s are right; the honest shift saves {saved.value:.1f} errors "
        f"{saved.words()}"
    )
    return Outcome(ours, verdict(as_good(oracle, 109), saved.low > 0), why, found, one_more(oracle), len(oracle))


def _saved(found: Json) -> Interval:
    """Return how many errors the honest shift saves. The oracle's shift cannot do harm, so it would prove nothing."""
    none, honest = (np.array(found["errors"][way]) for way in ("none", "honest"))
    return mean_interval(none - honest)


def _rates(profile: str, results: Results) -> tuple[Json, dict[str, np.ndarray]]:
    """Return what `measure` finds of students of two classes; and their test errors in per cent, by way."""
    found = measure(ONLY_7_8, profile, results)
    return found, {way: 100 * np.array(counts) / found["cases"][1] for way, counts in found["errors"].items()}


def _judge_rate_before(profile: str, results: Results) -> Outcome:
    found, rates = _rates(profile, results)
    why = "the students never saw eight digits; guessing makes 90 % errors"
    none = rates["none"]
    judged = verdict(as_good(none, 47.3), mean_interval(none).high < 90)
    return Outcome(f"{mean_sd(none)} %", judged, why, found, one_more(none, "%"), len(none))


def _judge_rate_after(profile: str, results: Results) -> Outcome:
    found, rates = _rates(profile, results)
    ours = "; ".join(
        f"{way}: {mean_sd(rates[way])} %, shift {mean_sd(found['shift'][way])}" for way in ("oracle", "honest")
    )
    oracle, saved = rates["oracle"], _saved(found)
    why = f"without the shift {rates['none'].mean():.1f} %; the honest shift saves {saved.value:.0f} errors"
    judged = verdict(as_good(oracle, 13.2), saved.low > 0)
    return Outcome(ours, judged, f"{why} {saved.words(0)}", found, one_more(oracle, "%"), len(oracle))


ROWS = (
    Row("M6", "no 3s in the transfer set: test errors", "206, of them 133 on 3s", WITHOUT_3.jobs, _judge_before),
    Row("M7", "M6, the bias of 3 raised", "109, of them 14 on 3s (oracle, shift 3.5)", WITHOUT_3.jobs, _judge_after),
    Row("M8", "only 7s and 8s in the transfer set: test errors", "47.3 %", ONLY_7_8.jobs, _judge_rate_before),
    Row("M9", "M8, the biases of 7 and 8 lowered", "13.2 % (oracle, shift −7.6)", ONLY_7_8.jobs, _judge_rate_after),
)
