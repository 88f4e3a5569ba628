"""S1 to S4 and R1 to R3 on speech: an acoustic model, an ensemble, a student of it, and few data (sections 4 and 6).

Everything that is chosen is chosen on the development set: each system's insertion penalty, the student's T, and when
to stop early. The noise is such that a single network's word error rate lies near the paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from minikd.data.checks import DataError
from minikd.paper.lab.jobs import Job, Result
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, Outcome, Row, fraction, mean_sd
from minikd.paper.tasks.speech import recordings_job
from minikd.speech.features import ADVANCE
from minikd.speech.recordings import FSDD_DIGEST, Recordings
from minikd.training.config import TrainConfig

TEMPERATURES = (1.0, 2.0, 5.0, 10.0)
HARD_WEIGHT = 0.5
"""Of the labels, beside 1 for the soft targets; `alpha` is the soft targets' share of the two."""
FEW = 0.03
FEW_T = 2.0
HARD, STOPPED, SOFT = "hard", "hard, stopped early", "soft"
PAPER = {"baseline": (58.9, 10.9), "ensemble": (61.1, 10.7), "student": (60.8, 10.7)}
"""Per cent of the frames that are right, and of the words that are wrong."""
DRAWS = 10_000


@dataclass(frozen=True)
class Plan:
    """What a profile makes of the section.

    digest: of the recordings. first: so many utterances of each part alone; 0 for all. passes: over each part's
    recordings. snrs: dB. per_digit: states. aligner, hidden: hidden layers of the aligning network, of the others.
    members: of the ensemble. epochs: of a member, of the students among which T is chosen, of the student. students:
    repetitions of it. few: seeds of the curve over shares, and the epochs by share.
    """

    digest: str
    first: int
    passes: Mapping[str, int]
    snrs: tuple[float, ...]
    per_digit: int
    aligner: tuple[int, ...]
    hidden: tuple[int, ...]
    members: int
    epochs: tuple[int, int, int]
    students: int
    few: tuple[int, Mapping[float, int]]
    batch_size: int = 256
    learning_rate: float = 0.1
    shares: tuple[float, ...] = field(default=(0.01, FEW, 0.1, 0.3, 1.0))


NOISE = (-2.0, 4.0, 9.0)
PLANS = {
    "smoke": Plan(
        FSDD_DIGEST,
        first=12,
        passes={"train": 1, "development": 1, "test": 1, "speaker": 1},
        snrs=NOISE,
        per_digit=5,
        aligner=(24,),
        hidden=(24, 24),
        members=2,
        epochs=(1, 1, 1),
        students=2,
        few=(1, dict.fromkeys((0.01, 0.03, 0.1, 0.3, 1.0), 1)),
        batch_size=32,
    ),
    "cpu": Plan(
        FSDD_DIGEST,
        first=0,
        passes={"train": 4, "development": 5, "test": 10, "speaker": 2},
        snrs=NOISE,
        per_digit=8,
        aligner=(256, 256),
        hidden=(512,) * 4,
        members=10,
        epochs=(2, 2, 6),
        students=5,
        few=(2, {0.01: 40, 0.03: 25, 0.1: 8, 0.3: 3, 1.0: 2}),
    ),
    "full": Plan(
        FSDD_DIGEST,
        first=0,
        passes={"train": 16, "development": 10, "test": 20, "speaker": 4},
        snrs=NOISE,
        per_digit=8,
        aligner=(512, 512),
        hidden=(2560,) * 8,
        members=10,
        epochs=(2, 4, 12),
        students=10,
        few=(5, {0.01: 40, 0.03: 25, 0.1: 8, 0.3: 4, 1.0: 2}),
    ),
}


def check(plan: Plan, recordings: Recordings) -> None:
    """Raises: DataError where a recording is too short to pass through all states of its digit, a frame in each."""
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
    """The aligned corpus that everything here rests on."""
    settings = {
        "first": plan.first,
        "passes": dict(plan.passes),
        "snrs": list(plan.snrs),
        "per_digit": plan.per_digit,
        "hidden": list(plan.aligner),
    }
    return Job("corpus", settings, {"recordings": recordings_job(plan.digest)}, "the aligned corpus", 60.0)


def acoustic(
    plan: Plan,
    title: str,
    needs: Mapping[str, Job],
    *,
    epochs: int,
    share: float = 1.0,
    words: bool = False,
    stop_early: bool = False,
    keep: bool = False,
    **changes: Any,
) -> Job:
    """The job that trains an acoustic model; needs, except the corpus, as `minikd.paper.tasks.speech.acoustic_task`."""
    settings = {"hidden": plan.hidden, "batch_size": plan.batch_size, "learning_rate": plan.learning_rate}
    config = TrainConfig(**{**settings, "clip_norm": 1.0, "epochs": epochs, **changes})
    asked = {"config": config.record(), "share": share, "words": words, "stop_early": stop_early, "keep": keep}
    frames = 134_000 * plan.passes["train"] * share if not plan.first else 3000
    inputs = 26 * 40
    parameters = sum(a * b for a, b in zip((inputs, *plan.hidden), (*plan.hidden, 81), strict=True))
    work = 0.6e-10 * parameters * frames * epochs + (20 if words else 8)
    return Job("acoustic", asked, {"corpus": corpus(plan), **needs}, title, work)


def member(plan: Plan, seed: int) -> Job:
    """A single network on the labels: the baseline, and a member of the ensemble."""
    title = f"acoustic model {seed}"
    return acoustic(plan, title, {}, epochs=plan.epochs[0], seed=seed, words=True, keep=True)


def committee(plan: Plan, size: int) -> Job:
    """The first `size` networks as one teacher: all of them the ensemble, one alone the teacher of R3."""
    members = {f"member {seed}": member(plan, seed) for seed in range(size)}
    settings = {"words": size > 1, "hidden": list(plan.hidden)}
    title = "the ensemble" if size > 1 else "the answers of acoustic model 0"
    return Job("committee", settings, {"corpus": corpus(plan), **members}, title, 20.0 * size)


def look(plan: Plan) -> Job:
    """What the ensemble hears of a test utterance with a 7 in it, for two figures."""
    members = {f"member {seed}": member(plan, seed) for seed in range(plan.members)}
    settings = {"digit": 7, "count": 130, "hidden": list(plan.hidden)}
    return Job("look", settings, {"corpus": corpus(plan), **members}, "what the ensemble hears", 1.0)


def _taught(plan: Plan, title: str, needs: Mapping[str, Job], seed: int, epochs: int, T: float, words: bool) -> Job:
    alpha = 1 / (1 + HARD_WEIGHT)
    needs = {"teacher": committee(plan, plan.members), **needs}
    return acoustic(plan, title, needs, epochs=epochs, seed=seed, alpha=alpha, T=T, words=words)


def temperature(plan: Plan) -> Job:
    """The choice of T on the development set, among one short run of the student for each."""
    tried = {
        f"{T:g}": _taught(plan, f"student at T = {T:g}", {}, 99, plan.epochs[1], T, words=True) for T in TEMPERATURES
    }
    return Job("temperature", {}, tried, "the choice of T", 0.0)


def student(plan: Plan, i: int) -> Job:
    """The ensemble's student at the T that was chosen, repetition i; the T = 1 in its settings is never used."""
    needs = {"temperature": temperature(plan)}
    return _taught(plan, f"the ensemble's student, {i}", needs, 100 + i, plan.epochs[2], 1.0, words=True)


def few(plan: Plan, kind: str, share: float, seed: int) -> Job:
    """A network of a share of the data, HARD or SOFT; HARD's job also says what early stopping gives."""
    title = f"acoustic model of {share:.0%}, {kind}, {seed}"
    epochs, seed = plan.few[1][share], 200 + seed
    if kind == HARD:
        return acoustic(plan, title, {}, epochs=epochs, share=share, seed=seed, stop_early=True)
    needs = {"teacher": committee(plan, 1)}
    return acoustic(plan, title, needs, epochs=epochs, share=share, seed=seed, alpha=1.0, T=FEW_T)


Jobs = dict[str, Job]


def _members(plan: Plan) -> Jobs:
    return {f"baseline {seed}": member(plan, seed) for seed in range(plan.members)}


def _ensemble(plan: Plan) -> Jobs:
    return _members(plan) | {"ensemble": committee(plan, plan.members)}


def _ensemble_and_look(plan: Plan) -> Jobs:
    return _ensemble(plan) | {"look": look(plan)}


def _students(plan: Plan) -> Jobs:
    chosen = temperature(plan)
    sweep = {f"T {T}": job for T, job in chosen.needs.items()}
    students = {f"student {i}": student(plan, i) for i in range(plan.students)}
    return _ensemble(plan) | sweep | {"temperature": chosen} | students


def _all_hard(plan: Plan) -> Jobs:
    return {f"baseline {seed}": member(plan, seed) for seed in range(plan.members)}


def _few_hard(plan: Plan) -> Jobs:
    return {f"{HARD} {FEW} {seed}": few(plan, HARD, FEW, seed) for seed in range(plan.few[0])}


def _curve(plan: Plan) -> Jobs:
    named = _all_hard(plan)
    for share in plan.shares:
        for kind in (HARD, SOFT):
            if (kind, share) != (HARD, 1.0):
                named |= {f"{kind} {share} {seed}": few(plan, kind, share, seed) for seed in range(plan.few[0])}
    return named


# ---- what came of them -----------------------------------------------------------------------------------------------


def _of(results: Mapping[str, Result], kind: str) -> list[Result]:
    return [result for name, result in results.items() if name == kind or name.startswith(f"{kind} ")]


def accuracy(results: Sequence[Result], part: str) -> list[float]:
    """Per cent of the frames of a part that are right, a network each."""
    return [100 * right / frames for frames, right in (one.record["frames"][part] for one in results)]


def word_error_rate(results: Sequence[Result], part: str) -> list[float]:
    """Per cent of the words of a part that are wrong, a network each."""
    return [100 * float(one.arrays[f"{part}.errors"].sum() / one.arrays[f"{part}.words"].sum()) for one in results]


def _measures(results: Sequence[Result]) -> dict[str, dict[str, list[float]]]:
    """By part: frames, per cent right, and words, per cent wrong, a network each."""
    return {
        part: {"frames": accuracy(results, part), "words": word_error_rate(results, part)}
        for part in ("development", "test", "speaker")
    }


def _words(measures: Mapping[str, Mapping[str, list[float]]]) -> str:
    """Test set, and the speaker that nothing was trained or chosen on."""
    test, speaker = measures["test"], measures["speaker"]
    return (
        f"frames {mean_sd(test['frames'], 2)} %, WER {mean_sd(test['words'], 2)} %; of a speaker never heard "
        f"{mean_sd(speaker['frames'], 1)} %, WER {mean_sd(speaker['words'], 1)} %"
    )


def bootstrap(groups: Sequence[Sequence[Result]], kind: str, seed: int = 0) -> np.ndarray:
    """Draws of the test measure of each group's mean network, as other networks and other utterances would give it.

    Networks and utterances are drawn anew, with replacement, the same utterances for all groups.

    Args: groups, of networks. kind, "right" for frames or "errors" for words. Returns: (DRAWS, groups), per cent.
    """
    rng = np.random.default_rng(seed)
    size = "frames" if kind == "right" else "words"
    total = groups[0][0].arrays[f"test.{size}"]
    picked = rng.multinomial(len(total), np.full(len(total), 1 / len(total)), size=DRAWS)  # (draws, U): how often each
    found = []
    for group in groups:
        counts = np.stack([one.arrays[f"test.{kind}"] for one in group])  # (networks, U)
        weights = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), size=DRAWS) / len(group)
        found.append(100 * np.sum(picked * (weights @ counts), axis=1) / (picked @ total))
    return np.stack(found, axis=1)


def _gain(better: Sequence[Result], than: Sequence[Result]) -> dict[str, list[float]]:
    """Points gained on the test set, of frames that are right and of words that are wrong: mean and 95 % interval."""
    gains = {}
    for name, kind, sign in (("frames", "right", 1), ("words", "errors", -1)):
        draws = sign * np.diff(bootstrap([than, better], kind), axis=1)
        measure = accuracy if kind == "right" else word_error_rate
        mean = sign * (np.mean(measure(better, "test")) - np.mean(measure(than, "test")))
        gains[name] = [float(mean), *np.quantile(draws, [0.025, 0.975]).tolist()]
    return gains


def _in_words(gain: Mapping[str, Sequence[float]]) -> str:
    frames, words = gain["frames"], gain["words"]
    return (
        f"{frames[0]:+.2f} points of frames [{frames[1]:+.2f}, {frames[2]:+.2f}], {-words[0]:+.2f} of WER "
        f"[{-words[2]:+.2f}, {-words[1]:+.2f}] against the mean of the members"
    )


def _verdict(gain: Mapping[str, Sequence[float]]) -> str:
    """Reproduced: better in both measures, and not by chance; in direction: better in both in the mean."""
    if min(gain[name][1] for name in gain) > 0:
        return REPRODUCED
    return DIRECTION if min(gain[name][0] for name in gain) > 0 else NOT


def _beside(values: Sequence[float], figure: float, why: str) -> tuple[str, str]:
    """Verdict and reason for the first row of a group: reproduced if within a quarter of the figure."""
    if abs(float(np.mean(values)) - figure) <= figure / 4:
        return REPRODUCED, why
    return NOT, f"{why}; more than a quarter away from the paper's {figure:g} %"


def _judge_baseline(profile: str, results: Mapping[str, Result]) -> Outcome:
    measures = _measures(_of(results, "baseline"))
    changed = results["baseline 0"].record["learnt"]
    right = 100 * changed[1] / changed[0]
    why = f"the other rows are compared with this one; {right:.1f} % of the frames learnt are right"
    verdict, why = _beside(measures["test"]["words"], PAPER["baseline"][1], why)
    return Outcome(_words(measures), verdict, why, {"baseline": measures})


def _judge_ensemble(profile: str, results: Mapping[str, Result]) -> Outcome:
    members, ensemble = _of(results, "baseline"), _of(results, "ensemble")
    gain, measures = _gain(ensemble, members), _measures(ensemble)
    why = f"{_in_words(gain)}; in the paper +2.2 and −0.2"
    numbers: dict[str, Any] = {"ensemble": measures, "gain": gain}
    if "look" in results:
        record, arrays = results["look"]
        shown = {"frames": 1, "labels": 0, "z": 1}  # decimals, for a figure
        numbers["look"] = {name: np.round(arrays[name].astype(float), d).tolist() for name, d in shown.items()}
        numbers["look"]["digits"] = record["digits"]
    return Outcome(_words(measures), _verdict(gain), why, numbers)


def _judge_student(profile: str, results: Mapping[str, Result]) -> Outcome:
    members, students = _of(results, "baseline"), _of(results, "student")
    gain, measures = _gain(students, members), _measures(students)
    T = results["temperature"].record["T"]
    sweep = {name.split()[1]: _measures([result]) for name, result in results.items() if name.startswith("T ")}
    numbers = {"student": measures, "gain": gain, "T": T, "sweep": sweep}
    ours = f"T = {T:g} of 1, 2, 5, 10: {_words(measures)}"
    return Outcome(ours, _verdict(gain), f"{_in_words(gain)}; in the paper +1.9 and −0.2", numbers)


def _judge_kept(profile: str, results: Mapping[str, Result]) -> Outcome:
    groups = [_of(results, kind) for kind in ("baseline", "ensemble", "student")]
    single, ensemble, student = (float(np.mean(accuracy(group, "test"))) for group in groups)
    kept, draws = fraction(student - single, ensemble - single), bootstrap(groups, "right")
    gained, kept_of_it = draws[:, 1] - draws[:, 0], draws[:, 2] - draws[:, 0]
    least, most = np.quantile(gained, 0.025, method="lower"), np.quantile(gained, 0.975, method="higher")
    if kept is None or least <= 0:
        ours = f"frames {single:.2f} %, ensemble {ensemble:.2f} %, student {student:.2f} %"
        gain = f"{ensemble - single:+.2f} points of frames [{least:+.2f}, {most:+.2f}]"
        why = f"the ensemble gained nothing, {gain}" if kept is None else f"the ensemble's gain may be chance, {gain}"
        return Outcome(ours, NOT, f"{why}; there is no share to keep", dict.fromkeys(("kept", "interval", "students")))
    # A draw whose ensemble gains nothing has no share; it counts as one that is as far off as can be, on either side.
    low, high = (
        float(np.quantile(np.divide(kept_of_it, gained, out=np.full(DRAWS, far), where=gained > 0), quantile))
        for far, quantile in ((-np.inf, 0.025), (np.inf, 0.975))
    )
    runs = [(one - single) / (ensemble - single) for one in accuracy(groups[2], "test")]
    verdict = REPRODUCED if kept > 0.8 else DIRECTION if kept > 0 and low > 0 else NOT
    ours = f"{kept:.0%} [{low:.0%}, {high:.0%}]"
    why = f"{len(runs)} students, {min(runs):.0%} to {max(runs):.0%}; interval from draws of networks and utterances"
    return Outcome(ours, verdict, why, {"kept": kept, "interval": [low, high], "students": runs})


def _shares(results: Mapping[str, Result], kind: str, share: float) -> dict[str, list[float]]:
    """Per cent right of the frames learnt from, and of the test set; one number a network."""
    if share == 1.0 and kind == HARD:
        found = [result.record for result in _of(results, "baseline")]
    else:
        job = HARD if kind == STOPPED else kind
        found = [result.record for result in _of(results, f"{job} {share}")]
        if kind == STOPPED:
            found = [record["stopped"] for record in found]
    return {
        "train": [100 * record["learnt"][1] / record["learnt"][0] for record in found],
        "test": [100 * record["frames"]["test"][1] / record["frames"]["test"][0] for record in found],
    }


def _both(accuracy: Mapping[str, list[float]]) -> str:
    return f"train {mean_sd(accuracy['train'])} %, test {mean_sd(accuracy['test'])} %"


def _judge_all_hard(profile: str, results: Mapping[str, Result]) -> Outcome:
    found = _shares(results, HARD, 1.0)
    verdict, why = _beside(found["test"], PAPER["baseline"][0], "the other rows are compared with this one")
    return Outcome(_both(found), verdict, why, {HARD: found})


def _judge_few_hard(profile: str, results: Mapping[str, Result]) -> Outcome:
    found = {kind: _shares(results, kind, FEW) for kind in (STOPPED, HARD)}
    ours = "; ".join(f"{kind}: {_both(accuracy)}" for kind, accuracy in found.items())
    stopped, to_the_end = (float(np.mean(found[kind]["test"])) for kind in (STOPPED, HARD))
    overfits = float(np.mean(found[HARD]["train"])) - to_the_end > 10
    needed = stopped - to_the_end > 1  # point: less than that is noise
    verdict = REPRODUCED if overfits and needed else DIRECTION if overfits else NOT
    return Outcome(
        ours, verdict, f"early stopping changes the test accuracy by {stopped - to_the_end:+.1f} points", found
    )


def _judge_few_soft(profile: str, results: Mapping[str, Result]) -> Outcome:
    soft, hard = _shares(results, SOFT, FEW), _shares(results, STOPPED, FEW)
    everything = float(np.mean(_shares(results, HARD, 1.0)["test"]))
    lost = [everything - float(np.mean(one["test"])) for one in (hard, soft)]
    saved, paper = fraction(lost[0] - lost[1], lost[0]), (57.0 - 44.5) / (58.9 - 44.5)
    curve: dict[str, dict[str, Any]] = {HARD: {}, STOPPED: {}, SOFT: {}}
    shares = sorted({float(name.split()[-2]) for name in results if not name.startswith("baseline")} | {1.0})
    for share in shares:
        for kind in curve:
            if (kind, share) != (STOPPED, 1.0):
                curve[kind][str(share)] = _shares(results, kind, share)
    if saved is None:
        why = "hard targets lose nothing, so there is nothing to save"
        return Outcome(_both(soft), NOT, why, {"curve": curve})
    verdict = REPRODUCED if saved >= paper else DIRECTION if saved > 0 else NOT
    why = f"soft targets save {saved:.0%} of the {lost[0]:.1f} points that hard targets lose; in the paper {paper:.0%}"
    learnt, every = (results[name].record["learnt"][0] for name in (f"{SOFT} {FEW} 0", "baseline 0"))
    if learnt > 1.5 * FEW * every:  # a share is one utterance at least
        why += f"; with so little speech, {FEW:.0%} means {learnt / every:.0%}"
    return Outcome(_both(soft), verdict, why, {"curve": curve})


_ABOUT: tuple[tuple[str, str, str, Callable[[Plan], Jobs], Callable[..., Outcome]], ...] = (
    ("S1", "one acoustic model, mean of {members}: frames right, and word error rate", "58.9 %, WER 10.9 %",
     _members, _judge_baseline),
    ("S2", "ensemble of {members}", "61.1 %, WER 10.7 %", _ensemble_and_look, _judge_ensemble),
    ("S3", "one student of the ensemble, hard weight 0.5", "T = 2 of 1, 2, 5, 10: 60.8 %, WER 10.7 %",
     _students, _judge_student),
    ("S4", "the share of the ensemble's gain in frames that its student keeps", "more than 80 %",
     _students, _judge_kept),
    ("R1-speech", "hard targets, all of the speech: frames right", "train 63.4 %, test 58.9 %",
     _all_hard, _judge_all_hard),
    ("R2-speech", "hard targets, 3 % of the speech, stopped early and not", "train 67.3 %, test 44.5 % (stopped early)",
     _few_hard, _judge_few_hard),
    ("R3-speech", "soft targets, 3 % of the speech, not stopped; and the curve over 1 to 100 %",
     "train 65.4 %, test 57.0 %", _curve, _judge_few_soft),
)  # fmt: skip


def rows(plans: Mapping[str, Plan]) -> tuple[Row, ...]:
    """The rows of speech, as these plans, one a profile, have them."""

    def jobs(make: Callable[[Plan], Jobs], profile: str) -> Jobs:
        return make(plans[profile])

    def members(profile: str) -> int:
        return plans[profile].members

    return tuple(Row(id, claim, paper, partial(jobs, make), judge, members) for id, claim, paper, make, judge in _ABOUT)


ROWS = rows(PLANS)
