"""S1 to S4 and R1 to R3 on speech: an acoustic model, an ensemble, a student of it, and few data (sections 4 and 6).

Everything that is chosen is chosen on the development set: each system's insertion penalty, the student's T, and when
to stop early. The noise is such that a single network's word error rate lies near the paper's.

The intervals cover other networks and other recordings of the same speakers. They do not cover another ensemble, since
there is one, with fixed members, and all students learn from it. Nor do they cover other speakers: the speaker that no
network heard is a single one, and reported apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from minikd.core.mlp import parameter_count
from minikd.data.checks import DataError
from minikd.paper.lab.jobs import Job, Json, Result, Task
from minikd.paper.lab.scoreboard import NOT, REFERENCE, Jobs, Name, Outcome, Results, Row, effect, grouped, of, verdict
from minikd.paper.rows.few import FEW, HARD, SHARES, SOFT, STOPPED, Judges, Run
from minikd.paper.tasks.speech import (
    JUDGED,
    acoustic_task,
    committee_task,
    corpus_task,
    look_task,
    recordings_job,
    temperature_task,
)
from minikd.speech.features import ADVANCE
from minikd.speech.recordings import FSDD_DIGEST, PARTS, Recordings
from minikd.theory.statistics import Interval, bootstrap, interval, mean_sd, share
from minikd.training.config import TrainConfig

TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
HARD_WEIGHT = 0.5
"""Of the labels, beside 1 for the soft targets; `alpha` is the soft targets' share of the two."""
FEW_T = 2.0
SNRS = (-2.0, 4.0, 9.0)
"""Signal-to-noise ratios, dB."""
PAPER = {"baseline": (58.9, 10.9), "ensemble": (61.1, 10.7), "student": (60.8, 10.7)}
"""Per cent of the frames that are right, and of the words that are wrong."""


@dataclass(frozen=True)
class Plan:
    """What a profile makes of the section.

    Attributes:
        digest: of the recordings.
        passes: over the recordings of each part.
        per_digit: states.
        aligner: hidden layers of the aligning network.
        hidden: hidden layers of the other networks.
        members: of the ensemble.
        epochs: of a member, of the students among which T is chosen, of the student.
        students: repetitions of the student.
        few: how many seeds the curve over shares has, and how many epochs, by share.
        first: take only this many utterances of each part; 0 for all.
        batch_size: of all networks except the aligning one.
    """

    digest: str
    passes: Mapping[str, int]
    per_digit: int
    aligner: tuple[int, ...]
    hidden: tuple[int, ...]
    members: int
    epochs: tuple[int, int, int]
    students: int
    few: Mapping[float, tuple[int, int]]
    first: int = 0
    batch_size: int = 256


def _passes(*counts: int) -> dict[str, int]:
    return dict(zip(PARTS, counts, strict=True))


PLANS = {
    "smoke": Plan(
        FSDD_DIGEST, _passes(1, 1, 1, 1), per_digit=5, aligner=(24,), hidden=(24, 24), members=2, epochs=(1, 1, 1),
        students=2, few=dict.fromkeys(SHARES, (1, 1)), first=12, batch_size=32,
    ),
    "cpu": Plan(
        FSDD_DIGEST, _passes(4, 5, 10, 2), per_digit=8, aligner=(256, 256), hidden=(512,) * 4, members=10,
        epochs=(2, 2, 12), students=3, few={0.01: (2, 40), 0.03: (5, 25), 0.1: (2, 8), 0.3: (2, 3), 1.0: (2, 2)},
    ),
    "full": Plan(
        FSDD_DIGEST, _passes(16, 10, 20, 4), per_digit=8, aligner=(512, 512), hidden=(2560,) * 8, members=10,
        epochs=(2, 4, 12), students=10, few={0.01: (5, 40), 0.03: (5, 25), 0.1: (5, 8), 0.3: (5, 4), 1.0: (5, 2)},
    ),
}  # fmt: skip


def check(plan: Plan, recordings: Recordings) -> None:
    """Check that every recording is long enough to pass through all states of its digit, one frame in each.

    Raises:
        DataError: if a recording is too short.
    """
    least, lengths = plan.per_digit * ADVANCE, np.diff(recordings.bounds)
    if lengths.min() < least:
        n = int(np.argmin(lengths))
        name = f"{recordings.digits[n]}_{recordings.speakers[n]}_{recordings.takes[n]}.wav"
        raise DataError(
            f"{name}: with {plan.per_digit} states per digit a recording lasts at least {least} samples, got "
            f"{lengths[n]}: leave it out"
        )


# ---- jobs ------------------------------------------------------------------------------------------------------------


def corpus(plan: Plan) -> Job:
    """Return the job of the aligned corpus, which everything here needs."""
    settings = {
        "first": plan.first,
        "passes": dict(plan.passes),
        "snrs": list(SNRS),
        "per_digit": plan.per_digit,
        "hidden": list(plan.aligner),
    }
    return Job(corpus_task, settings, {"recordings": recordings_job(plan.digest)}, "the aligned corpus", 60.0)


def acoustic(plan: Plan, title: str, needs: Mapping[str, Job], config: Mapping[str, Any], **asked: Any) -> Job:
    """Return the job that trains an acoustic model.

    Args:
        plan: of the section.
        title: for people.
        needs: those of `acoustic_task`, except the corpus.
        config: fields of TrainConfig, with the epochs at least.
        **asked: settings of `acoustic_task`: share, words, stop_early, keep.
    """
    common = {"hidden": plan.hidden, "batch_size": plan.batch_size, "learning_rate": 0.1, "clip_norm": 1.0}
    made = TrainConfig(**{**common, **config})
    settings = {"config": made.record(), "share": 1.0, "words": False, "stop_early": False, "keep": False, **asked}
    frames = 3000 if plan.first else 134_000 * plan.passes["train"] * settings["share"]
    parameters = parameter_count((26 * 40, *plan.hidden, 81))
    work = 0.6e-10 * parameters * frames * made.epochs + (20 if settings["words"] else 8)
    return Job(acoustic_task, settings, {"corpus": corpus(plan), **needs}, title, work)


def member(plan: Plan, seed: int) -> Job:
    """Return the job of a single network on the labels: the baseline, and a member of the ensemble."""
    config = {"epochs": plan.epochs[0], "seed": seed}
    return acoustic(plan, f"acoustic model {seed}", {}, config, words=True, keep=True)


def _together(do: Task, plan: Plan, size: int, title: str, work: float, **settings: Any) -> Job:
    """Return a job of what the first `size` networks answer together."""
    members = {f"member {seed}": member(plan, seed) for seed in range(size)}
    return Job(do, {**settings, "hidden": list(plan.hidden)}, {"corpus": corpus(plan), **members}, title, work)


def committee(plan: Plan, size: int) -> Job:
    """Return the job of the first `size` networks as one teacher: all are the ensemble, a single one teaches R3."""
    title = "the ensemble" if size > 1 else "the answers of acoustic model 0"
    return _together(committee_task, plan, size, title, 20.0 * size, words=size > 1)


def look(plan: Plan) -> Job:
    """Return the job of what the ensemble hears of a test utterance with a 7 in it, for two figures."""
    return _together(look_task, plan, plan.members, "what the ensemble hears", 1.0, digit=7, count=130)


def _taught(plan: Plan, title: str, needs: Mapping[str, Job], **config: Any) -> Job:
    needs = {"teacher": committee(plan, plan.members), **needs}
    return acoustic(plan, title, needs, {"alpha": 1 / (1 + HARD_WEIGHT), **config}, words=True)


def temperature(plan: Plan) -> Job:
    """Return the job that chooses T on the development set, among one short run of the student for each."""
    settings = {"seed": 99, "epochs": plan.epochs[1]}
    tried = {f"{T:g}": _taught(plan, f"student at T = {T:g}", {}, T=T, **settings) for T in TEMPERATURES}
    return Job(temperature_task, {}, tried, "the choice of T", 0.0)


def student(plan: Plan, i: int) -> Job:
    """Return the job of the ensemble's student, repetition i; the chosen T replaces the T = 1 in its settings."""
    needs = {"temperature": temperature(plan)}
    return _taught(plan, f"the ensemble's student, {i}", needs, seed=100 + i, epochs=plan.epochs[2], T=1.0)


def few(plan: Plan, kind: str, at: float, seed: int) -> Job:
    """Return the job of a network that learns the share `at`, HARD or SOFT. HARD also reports early stopping."""
    title = f"acoustic model of {at:.0%}, {kind}, {seed}"
    config = {"epochs": plan.few[at][1], "seed": 200 + seed}
    if kind == HARD:
        return acoustic(plan, title, {}, config, share=at, stop_early=True)
    return acoustic(plan, title, {"teacher": committee(plan, 1)}, {**config, "alpha": 1.0, "T": FEW_T}, share=at)


def _members(plan: Plan) -> Jobs:
    """Return the baseline's jobs: hard targets, all data."""
    return {Name(HARD, 1.0, seed): member(plan, seed) for seed in range(plan.members)}


def _ensemble(plan: Plan) -> Jobs:
    return _members(plan) | {Name("ensemble"): committee(plan, plan.members)}


def _ensemble_and_look(plan: Plan) -> Jobs:
    return _ensemble(plan) | {Name("look"): look(plan)}


def _students(plan: Plan) -> Jobs:
    chosen = temperature(plan)
    sweep = {Name("tried", T): job for T, job in zip(TEMPERATURES, chosen.needs.values(), strict=True)}
    students = {Name("student", seed=i): student(plan, i) for i in range(plan.students)}
    return _ensemble(plan) | sweep | {Name("temperature"): chosen} | students


def _few(wanted: Sequence[tuple[str, float]], plan: Plan) -> Jobs:
    return {Name(kind, at, i): few(plan, kind, at, i) for kind, at in wanted for i in range(plan.few[at][0])}


def _curve(plan: Plan) -> Jobs:
    wanted = [(kind, at) for at in SHARES for kind in (HARD, SOFT) if (kind, at) != (HARD, 1.0)]
    return _members(plan) | _few(wanted, plan)


# ---- what came of them -----------------------------------------------------------------------------------------------

Measures: TypeAlias = dict[str, dict[str, list[float]]]
"""By part: "frames", per cent right, and "words", per cent wrong; one number per network."""
Gain: TypeAlias = dict[str, Interval]
"""Points gained on the test set in "frames" right and in "words" wrong."""
DRAWN = "with other networks and other recordings"
"""What the intervals cover."""


def accuracy(results: Sequence[Result], part: str) -> list[float]:
    """Return per cent of the frames of a part that are right, one number per network."""
    return [100 * right / frames for frames, right in (one.record["frames"][part] for one in results)]


def word_error_rate(results: Sequence[Result], part: str) -> list[float]:
    """Return per cent of the words of a part that are wrong, one number per network."""
    return [100 * float(one.arrays[f"{part}.errors"].sum() / one.arrays[f"{part}.words"].sum()) for one in results]


def _measures(results: Sequence[Result]) -> Measures:
    return {part: {"frames": accuracy(results, part), "words": word_error_rate(results, part)} for part in JUDGED}


def _words(measures: Measures) -> str:
    """Return in words the results on the test set, and on the speaker that nothing was trained or chosen on."""
    test, speaker = measures["test"], measures["speaker"]
    return (
        f"frames {mean_sd(test['frames'], 2)} %, WER {mean_sd(test['words'], 2)} %; of a speaker never heard "
        f"{mean_sd(speaker['frames'], 1)} %, WER {mean_sd(speaker['words'], 1)} %"
    )


def _draws(groups: Sequence[Sequence[Result]], score: str, total: str) -> np.ndarray:
    """Return the bootstrap's draws of what each group scores on the test set, (DRAWS, groups), per cent.

    The cases are recordings. Utterances are no cases, because every pass strings the same recordings together again.
    """
    counts = [np.stack([one.arrays[f"test.{score}"] for one in group]) for group in groups]
    return bootstrap(counts, groups[0][0].arrays[f"test.{total}"])


def _gain(better: Sequence[Result], than: Sequence[Result]) -> Gain:
    gains = {}
    for name, score, measure, sign in (("frames", "right", accuracy, 1), ("words", "errors", word_error_rate, -1)):
        draws = sign * np.diff(_draws([than, better], score, name), axis=1)
        mean = sign * (np.mean(measure(better, "test")) - np.mean(measure(than, "test")))
        gains[name] = interval(float(mean), draws)
    return gains


def _judge_baseline(profile: str, results: Results) -> Outcome:
    members = of(results, HARD, 1.0)
    measures = _measures(members)
    frames, right = members[0].record["learnt"]
    why = (
        "it claims nothing, because the noise was chosen so that its WER lies near the paper's; the other rows are "
        f"compared with this one; {100 * right / frames:.1f} % of the frames learnt are right; the speaker never heard "
        "is a single one, so other speakers may differ"
    )
    return Outcome(_words(measures), REFERENCE, why, {"baseline": measures}, seeds=len(members))


def _judge_system(kind: str, paper: str, uncovered: str, profile: str, results: Results) -> Outcome:
    """Judge the ensemble or its students against the mean of the members.

    A gain is reproduced if both measures gain, by their whole intervals. It is reproduced in direction if frames do.
    """
    systems, members, groups = of(results, kind), of(results, HARD, 1.0), grouped(results)
    measures, gain = _measures(systems), _gain(systems, members)
    numbers: Json = {kind: measures, "gain": {name: list(found) for name, found in gain.items()}}
    ours = _words(measures)
    if "temperature" in groups:
        numbers["T"] = T = results[Name("temperature")].record["T"]
        numbers["sweep"] = {f"{tried:g}": _measures(found) for tried, found in groups.get("tried", {}).items()}
        ours = f"T = {T:g} of 1, 2, 5, 10: {ours}"
    if "look" in groups:
        record, arrays = results[Name("look")]
        decimals = {"frames": 1, "labels": 0, "z": 1}  # enough for a figure
        shown = {name: np.round(arrays[name].astype(float), d).tolist() for name, d in decimals.items()}
        numbers["look"] = {**shown, "digits": record["digits"]}
    frames, words = gain["frames"], gain["words"]
    why = (
        f"{frames.value:+.2f} points of frames and {-words.value:+.2f} of WER against the mean of the members; in the "
        f"paper {paper}; {uncovered}"
    )
    more, less = (found.words(2, sign=True) for found in (frames, words))
    rests = f"frames right: {more} points more; words wrong: {less} points less; {DRAWN}"
    judged = verdict(min(frames.low, words.low) > 0, frames.low > 0)
    seeds = len(members) if len(systems) == 1 else len(systems)
    return Outcome(ours, judged, why, numbers, rests, seeds)


_ONE_ENSEMBLE = "the interval says nothing about another ensemble: this one has fixed members"
_ONE_TEACHER = f"{_ONE_ENSEMBLE}, and all students learn from it"


def _judge_kept(profile: str, results: Results) -> Outcome:
    groups = [of(results, HARD, 1.0), of(results, "ensemble"), of(results, "student")]
    single, ensemble, student = (float(np.mean(accuracy(group, "test"))) for group in groups)
    draws = _draws(groups, "right", "frames")
    gains, parts = draws[:, 1] - draws[:, 0], draws[:, 2] - draws[:, 0]
    gain = interval(ensemble - single, gains)
    kept = share(student - single, gain.value, parts, gains)
    seeds = len(groups[2])
    if kept is None:
        ours = f"frames {single:.2f} %, ensemble {ensemble:.2f} %, student {student:.2f} %"
        doubt = "the ensemble gained nothing" if gain.value <= 0 else "the ensemble's gain may be chance"
        why = f"{doubt}, {gain.value:+.2f} points of frames; there is no share to keep"
        rests = f"the ensemble's gain: {gain.words(2, sign=True)} points of frames, {DRAWN}"
        return Outcome(ours, NOT, why, dict.fromkeys(("kept", "interval", "students")), rests, seeds)
    runs = [(one - single) / gain.value for one in accuracy(groups[2], "test")]
    why = f"the {seeds} students keep {min(runs):.0%} to {max(runs):.0%}; {_ONE_TEACHER}"
    numbers = {"kept": kept.value, "interval": [kept.low, kept.high], "students": runs}
    rests = f"kept: {kept.words(0, percent=True)}, {DRAWN}"
    return Outcome(f"{100 * kept.value:.0f} %", effect(kept, 0.8), why, numbers, rests, seeds)


def _runs(name: Name, result: Result) -> dict[str, Run]:
    """Return the run, and the same one stopped early, by kind; the cases of the test set are recordings."""
    kinds = {name.kind: (result.record, "test.right")}
    if "stopped" in result.record:
        kinds[STOPPED] = (result.record["stopped"], "stopped.test.right")
    found = {}
    for kind, (record, right) in kinds.items():
        learnt, of_them = record["learnt"]
        found[kind] = Run(100 * of_them / learnt, result.arrays[right], result.arrays["test.frames"])
    return found


def _little_speech(results: Results) -> str:
    """Return what a share means if a single utterance is more than that."""
    learnt, every = (results[name].record["learnt"][0] for name in (Name(SOFT, FEW), Name(HARD, 1.0)))
    return f"; with so little speech, {FEW:.0%} means {learnt / every:.0%}" if learnt > 1.5 * FEW * every else ""


_FEW = Judges(
    _runs,
    "recordings",
    digits=1,
    overfits=10,
    reference="it claims nothing, because the noise was chosen so that S1 lies near the paper's; the other rows are "
    "compared with this one",
    note=_little_speech,
)


def rows(plans: Mapping[str, Plan]) -> tuple[Row, ...]:
    """Return the rows of speech as these plans, one per profile, have them."""

    def row(id: str, claim: str, paper: str, jobs: Callable[[Plan], Jobs], judge: Callable[..., Outcome]) -> Row:
        return Row(
            id, claim, paper, lambda profile: jobs(plans[profile]), judge, lambda profile: plans[profile].members
        )

    return (
        row("S1", "one acoustic model, mean of {members}: frames right, and word error rate", "58.9 %, WER 10.9 %",
            _members, _judge_baseline),
        row("S2", "ensemble of {members}", "61.1 %, WER 10.7 %", _ensemble_and_look,
            partial(_judge_system, "ensemble", "+2.2 and −0.2", _ONE_ENSEMBLE)),
        row("S3", "one student of the ensemble, hard weight 0.5", "T = 2 of 1, 2, 5, 10: 60.8 %, WER 10.7 %",
            _students, partial(_judge_system, "student", "+1.9 and −0.2", _ONE_TEACHER)),
        row("S4", "the share of the ensemble's gain in frames that its student keeps", "more than 80 %",
            _students, _judge_kept),
        row("R1-speech", "hard targets, all of the speech: frames right", "train 63.4 %, test 58.9 %",
            _members, _FEW.all_hard),
        row("R2-speech", "hard targets, 3 % of the speech, stopped early and not",
            "train 67.3 %, test 44.5 % (stopped early)", partial(_few, [(HARD, FEW)]), _FEW.few_hard),
        row("R3-speech", "soft targets, 3 % of the speech, not stopped; and the curve over 1 to 100 %",
            "train 65.4 %, test 57.0 %", _curve, _FEW.few_soft),
    )  # fmt: skip


ROWS = rows(PLANS)
