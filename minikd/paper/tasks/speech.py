"""What a job of speech can be: the aligned corpus, an acoustic model, a committee of them, the choice of a temperature.

All of them rest on one job that is not done by a worker, `recordings`: whoever asks for the rows provides it, from a
folder or the public archive (`provide`), so a worker needs no data of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import Device
from minikd.paper.lab.jobs import Job, Result, Store
from minikd.paper.tasks.networks import Best, Output, tuples
from minikd.speech import hmm, recogniser
from minikd.speech.features import CENTRE
from minikd.speech.recordings import PARTS, Recordings
from minikd.speech.utterances import draw
from minikd.theory.ensembles import geometric_mean
from minikd.training.answers import count_errors, logits
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

PENALTIES = (-30.0, -45.0, -60.0, -75.0, -90.0, -105.0)
"""Insertion penalties, in nats: each system gets the one with the fewest word errors on the development set."""
PROBE = 10_000
"""Development frames, drawn at random, on which early stopping looks after each epoch."""


# ---- recordings ------------------------------------------------------------------------------------------------------


def recordings_job(digest: str) -> Job:
    """The recordings of this digest, as other jobs read them."""
    return Job("recordings", {"digest": digest}, title="the recordings", work=0.0)


def provide(recordings: Recordings, store: Store) -> None:
    """Keep recordings in the store as the result of their job."""
    job = recordings_job(recordings.digest)
    if job not in store:
        arrays = {name: getattr(recordings, name) for name in ("samples", "bounds", "digits", "takes")}
        store.put(job, Result({"seconds": 0.0, "speakers": recordings.speakers.tolist()}, arrays))


def recordings_task(settings: dict[str, Any], inputs: dict[str, Result], device: Device) -> Output:
    """Never to be done by a worker: `provide` keeps the result before any job that needs it is asked for."""
    raise ValueError(f"the recordings {settings['digest'][:8]}… must be provided before the jobs of speech")


def _recordings(result: Result) -> Recordings:
    speakers = np.array(result.record["speakers"])
    return Recordings(speakers=speakers, digest="", **result.arrays)


# ---- the corpus ------------------------------------------------------------------------------------------------------


def corpus_task(settings: dict[str, Any], inputs: dict[str, Result], device: Device) -> Output:
    """Draw the utterances of every part, align them without their noise, and keep their noisy frames with the labels.

    A part's utterances are those of `passes` over its recordings, drawn from a seed of its own, or the `first` of them.
    The labels settle on one pass of the training part.

    Record: per_digit, the states of a digit; changed, the share of labels that changed in each round of alignment;
    digits, by part what is said in each utterance. Arrays: stay, of the model; by part frames, starts, bounds, labels.
    """
    recordings = _recordings(inputs["recordings"])
    record: dict[str, Any] = {"per_digit": settings["per_digit"], "digits": {}}
    arrays: dict[str, np.ndarray] = {}
    for seed, part in enumerate(PARTS):
        passes = settings["passes"][part]
        utterances = draw(recordings, part, passes=passes, snrs=settings["snrs"], seed=seed)
        utterances = utterances[: settings["first"] or None]
        clean, noisy = (recogniser.corpus(utterances, noisy=noisy) for noisy in (False, True))
        if part == "train":
            first_pass = recogniser.corpus(utterances[: -(-len(utterances) // passes)], noisy=False)
            hidden = tuple(settings["hidden"])
            aligner, _, record["changed"] = recogniser.settle(
                first_pass, settings["per_digit"], hidden=hidden, device=device
            )
            arrays["stay"] = aligner.model.stay
        record["digits"][part] = noisy.digits
        arrays[f"{part}.labels"] = aligner.labels(clean, device).astype(np.uint8)
        for name in ("frames", "starts", "bounds"):
            arrays[f"{part}.{name}"] = getattr(noisy, name)
    return record, arrays


@dataclass(frozen=True)
class Speech:
    """The result of a corpus job, part by part as networks and recognisers take it."""

    result: Result

    @cached_property
    def model(self) -> hmm.Model:
        """The digits' states."""
        return hmm.Model(self.result.record["per_digit"], self.result.arrays["stay"])

    @cached_property
    def log_prior(self) -> np.ndarray:
        """Of the states, among the training part's labels."""
        return recogniser.log_priors(self.result.arrays["train.labels"], self.model.states)

    def corpus(self, part: str) -> recogniser.Corpus:
        """The utterances of a part; of no use for a flat start, since where each digit lies is not kept."""
        frames, starts, bounds = (
            freeze(self.result.arrays[f"{part}.{name}"]) for name in ("frames", "starts", "bounds")
        )
        digits = [tuple(one) for one in self.result.record["digits"][part]]
        return recogniser.Corpus(frames, starts, bounds, digits, spans=[])

    def examples(self, part: str) -> Frames:
        """Every frame of a part with its state."""
        labels = self.result.arrays[f"{part}.labels"]
        return self.corpus(part).examples(labels, self.model.states, f"{part} speech")

    def share(self, share: float, seed: int) -> np.ndarray:
        """The training frames, (n,) in rising order, of a share of the utterances, at least one, drawn at random."""
        bounds = self.result.arrays["train.bounds"]
        U = len(bounds) - 1
        chosen = np.random.default_rng(seed).permutation(U)[: max(1, round(share * U))]
        return np.concatenate([np.arange(bounds[u], bounds[u + 1]) for u in np.sort(chosen)])

    def judge(self, answers: Callable[[str], np.ndarray], *, words: bool) -> Output:
        """What logits (N, states), by part, are worth.

        Record: frames, by part the number of frames and of those that are right; with words also penalty, and
        development, the word errors there by penalty. Arrays: by part, for each utterance, right frames, and with words
        the errors; frames and words, how many it has.
        """
        record: dict[str, Any] = {"frames": {}}
        arrays: dict[str, np.ndarray] = {}
        for part in ("development", "test", "speaker"):
            z, speech = answers(part), self.corpus(part)
            right = np.argmax(z, axis=-1) == self.result.arrays[f"{part}.labels"]
            record["frames"][part] = [len(right), int(np.count_nonzero(right))]
            arrays[f"{part}.right"] = np.add.reduceat(right, speech.bounds[:-1], dtype=np.int64)
            arrays[f"{part}.frames"] = np.diff(speech.bounds)
            if not words:
                continue
            score = recogniser.scores(z, self.log_prior)
            if part == "development":
                tried = {c: int(self._errors(score, speech, c)[0].sum()) for c in PENALTIES}
                record["penalty"] = min(PENALTIES, key=lambda c: tried[c])
                record["development"] = {f"{c:g}": errors for c, errors in tried.items()}
            arrays[f"{part}.errors"], arrays[f"{part}.words"] = self._errors(score, speech, record["penalty"])
        return record, arrays

    def _errors(self, score: np.ndarray, speech: recogniser.Corpus, penalty: float) -> tuple[np.ndarray, np.ndarray]:
        return recogniser.word_errors(speech.digits, recogniser.recognise(score, speech, self.model, penalty))


# ---- networks --------------------------------------------------------------------------------------------------------


def acoustic_task(settings: dict[str, Any], inputs: dict[str, Result], device: Device) -> Output:
    """Train an acoustic model on a `share` of the training utterances; `teacher`, if needed, gives its soft targets.

    `temperature`, if needed, is a job that chose one, which takes the place of the configuration's. A share of fewer
    frames than a batch is one batch.

    Record: what `Speech.judge` says, with words if `words` asks for them; T; cost, of the last epoch; learnt, the
    frames learnt from and those of them that are right at the end. With `stop_early` also stopped: the same frames and
    learnt of the first epoch with the fewest errors on `PROBE` development frames, and its number.
    Arrays: as `Speech.judge`; with `keep` also flat, the weights.
    """
    speech, config = Speech(inputs["corpus"]), TrainConfig(**tuples(settings["config"]))
    if "temperature" in inputs:
        config = replace(config, T=inputs["temperature"].record["T"])
    chosen = speech.share(settings["share"], config.seeds[0])
    data = speech.examples("train").take(chosen)
    config = replace(config, batch_size=min(config.batch_size, len(data)))
    targets = None
    if "teacher" in inputs:
        targets = SoftTargets(freeze(inputs["teacher"].arrays["train"][chosen]), data.fingerprint, "")
    stop = None
    if settings["stop_early"]:
        development = speech.examples("development")
        probe = np.random.default_rng(0).permutation(len(development))[:PROBE]
        stop = Best(development.take(probe), device)
    network = train(config, data, soft_targets=targets, device=device, on_epoch=stop)

    def judged(network: Network, words: bool) -> Output:
        record, arrays = speech.judge(
            lambda part: device.get(logits(network, speech.examples(part), device)), words=words
        )
        return {**record, "learnt": [len(data), len(data) - count_errors(network, data, device)]}, arrays

    record, arrays = judged(network, settings["words"])
    record |= {"T": config.T, "cost": network.history[-1]["cost"]}
    if stop is not None:
        stopped, _ = judged(stop.network, words=False)
        record["stopped"] = {**stopped, "epoch": stop.epoch}
    return record, arrays | ({"flat": network.flat} if settings["keep"] else {})


def committee_task(settings: dict[str, Any], inputs: dict[str, Result], device: Device) -> Output:
    """The geometric mean of the answers of acoustic models, or the answers of a single one: a teacher for every T.

    Record and arrays: as `Speech.judge`, with words if `words` asks for them; and train, the logits of all training
    frames, (N, states).
    """
    speech = Speech(inputs["corpus"])
    members = [result.arrays["flat"] for name, result in inputs.items() if name != "corpus"]
    inner = tuple(settings["hidden"])

    def answers(part: str) -> np.ndarray:
        data = speech.examples(part)
        sizes = (data.shape[0] * data.shape[1], *inner, data.classes)
        v = [device.get(logits(Network(sizes, flat), data, device)) for flat in members]
        mean: np.ndarray = geometric_mean(np.stack(v))
        return mean

    record, arrays = speech.judge(answers, words=settings["words"])
    return record, arrays | {"train": answers("train")}


def look_task(settings: dict[str, Any], inputs: dict[str, Result], device: Device) -> Output:
    """What a committee hears of the first test utterance that says `digit`, from its first frame on, `count` frames.

    Where a few utterances alone were drawn and none says it, the first of them.

    Record: digits, what is said in the whole utterance. Arrays: frames (count, 40), as the network reads them; labels
    (count,); z (count, states), the geometric mean's logits.
    """
    speech = Speech(inputs["corpus"])
    corpus, data = speech.corpus("test"), speech.examples("test")
    u = next((u for u, digits in enumerate(corpus.digits) if settings["digit"] in digits), 0)
    begin, end = corpus.bounds[u : u + 2]
    own = np.arange(begin, min(end, begin + settings["count"]))
    sizes = (data.shape[0] * data.shape[1], *settings["hidden"], data.classes)
    v = [
        device.get(logits(Network(sizes, result.arrays["flat"]), data.take(own), device))
        for name, result in inputs.items()
        if name != "corpus"
    ]
    frames = corpus.frames[corpus.starts[own] + CENTRE]
    return {"digits": corpus.digits[u]}, {
        "frames": frames,
        "labels": data.labels[own],
        "z": geometric_mean(np.stack(v)),
    }


def temperature_task(settings: dict[str, Any], inputs: dict[str, Result], device: Device) -> Output:
    """The T of the student that is right on most development frames. Record: T; right, of each student, by T."""
    right = {result.record["T"]: result.record["frames"]["development"][1] for result in inputs.values()}
    best = max(right, key=lambda T: right[T])
    return {"T": best, "right": {f"{T:g}": count for T, count in right.items()}}, {}


TASKS: Mapping[str, Callable[[dict[str, Any], dict[str, Result], Device], Output]] = {
    "recordings": recordings_task,
    "corpus": corpus_task,
    "acoustic": acoustic_task,
    "committee": committee_task,
    "temperature": temperature_task,
    "look": look_task,
}
