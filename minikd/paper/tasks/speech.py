"""What a job of speech can be: the aligned corpus, an acoustic model, a committee of them, the choice of a temperature.

All of them need one job that no worker does, `recordings`. The caller provides its result, from a folder or the public
archive (`provide`), so a worker needs no data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.engines.device import Device
from minikd.paper.lab.jobs import Inputs, Job, Json, Output, Result, Store
from minikd.paper.tasks.networks import Best, config_of, host_logits, soft_targets
from minikd.speech import hmm, recogniser
from minikd.speech.features import CENTRE
from minikd.speech.recordings import PARTS, Recordings
from minikd.speech.utterances import draw
from minikd.theory.ensembles import geometric_mean
from minikd.training.answers import count_errors
from minikd.training.loop import train
from minikd.training.network import Network

JUDGED = PARTS[1:]
"""The parts that nothing is trained on."""
PENALTIES = (-30.0, -45.0, -60.0, -75.0, -90.0, -105.0)
"""Insertion penalties, in nats: each system gets the one with the fewest word errors on the development set."""
PROBE = 10_000
"""Early stopping looks at this many development frames, drawn at random, after each epoch."""


# ---- recordings ------------------------------------------------------------------------------------------------------


def recordings_job(digest: str) -> Job:
    """Return the job of the recordings with this digest, as other jobs read them."""
    return Job(recordings_task, {"digest": digest}, title="the recordings", work=0.0)


def provide(recordings: Recordings, store: Store) -> None:
    """Keep recordings in the store as the result of their job."""
    job = recordings_job(recordings.digest)
    if job not in store:
        arrays = {name: getattr(recordings, name) for name in ("samples", "bounds", "digits", "takes")}
        store.put(job, Result({"seconds": 0.0, "speakers": recordings.speakers.tolist()}, arrays))


def recordings_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Refuse: `provide` keeps this result before anybody asks for a job that needs it."""
    raise ValueError(f"the recordings {settings['digest'][:8]}… must be provided before the jobs of speech")


def _recordings(result: Result) -> Recordings:
    return Recordings(speakers=np.array(result.record["speakers"]), digest="", **result.arrays)


# ---- the corpus ------------------------------------------------------------------------------------------------------


def corpus_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Draw the utterances of every part, align them without their noise, and keep their noisy frames with the labels.

    A part's utterances are those of `passes` over its recordings, drawn from a seed of its own, or the `first` of them.
    The labels settle on one pass over the training part.

    Returns:
        The record:

        - per_digit: the states of a digit.
        - changed: the share of labels that changed in each round of alignment.
        - digits: by part, what is said in each utterance.

        The arrays: stay, of the model; and by part

        - frames, starts, bounds: of `recogniser.Corpus`.
        - labels: (N,), the state of each frame.
        - recordings: (W,), the recording of each word, through all utterances.
        - owners: (N,), the recording of each frame, or the one that is nearest to a frame of silence.
    """
    recordings = _recordings(inputs["recordings"])
    record: Json = {"per_digit": settings["per_digit"], "digits": {}}
    arrays: dict[str, np.ndarray] = {}
    for seed, part in enumerate(PARTS):
        passes = settings["passes"][part]
        utterances = draw(recordings, part, passes=passes, snrs=settings["snrs"], seed=seed)
        utterances = utterances[: settings["first"] or None]
        clean, noisy = (recogniser.corpus(utterances, noisy=noisy) for noisy in (False, True))
        if part == "train":
            first_pass = recogniser.corpus(utterances[: -(-len(utterances) // passes)], noisy=False)
            per_digit, hidden = settings["per_digit"], tuple(settings["hidden"])
            aligner, _, record["changed"] = recogniser.settle(first_pass, per_digit, hidden=hidden, device=device)
            arrays["stay"] = aligner.model.stay
        record["digits"][part] = noisy.digits
        arrays[f"{part}.labels"] = aligner.labels(clean, device).astype(np.uint8)
        arrays[f"{part}.recordings"] = said = np.concatenate([one.recordings for one in utterances])
        arrays[f"{part}.owners"] = said[recogniser.words_of_frames(noisy)]
        for name in ("frames", "starts", "bounds"):
            arrays[f"{part}.{name}"] = getattr(noisy, name)
    return record, arrays


def _by_recording(counts: np.ndarray, recordings: np.ndarray) -> np.ndarray:
    """Add up the counts of every recording's words or frames; return the sums, recordings in rising order."""
    _, which = np.unique(recordings, return_inverse=True)
    return np.bincount(which, weights=counts).astype(np.int64)


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
        """The states' logarithmic frequencies among the training part's labels."""
        return recogniser.log_priors(self.result.arrays["train.labels"], self.model.states)

    def corpus(self, part: str) -> recogniser.Corpus:
        """Return the utterances of a part. A flat start cannot use them: where each digit lies is not kept."""
        arrays, digits = self.result.arrays, [tuple(one) for one in self.result.record["digits"][part]]
        frames, starts, bounds = (freeze(arrays[f"{part}.{name}"]) for name in ("frames", "starts", "bounds"))
        return recogniser.Corpus(frames, starts, bounds, digits, spans=[])

    def examples(self, part: str) -> Frames:
        """Return every frame of a part with its state."""
        labels = self.result.arrays[f"{part}.labels"]
        return self.corpus(part).examples(labels, self.model.states, f"{part} speech")

    def share(self, share: float, seed: int) -> np.ndarray:
        """Draw a share of the training utterances, at least one; return their frames, (n,) in rising order."""
        bounds = self.result.arrays["train.bounds"]
        U = len(bounds) - 1
        chosen = np.random.default_rng(seed).permutation(U)[: max(1, round(share * U))]
        return np.concatenate([np.arange(bounds[u], bounds[u + 1]) for u in np.sort(chosen)])

    def judge(self, answers: Callable[[str], np.ndarray], *, words: bool) -> Output:
        """Judge logits by what they get right.

        Args:
            answers: returns the logits of a part, (N, states).
            words: whether to recognise words, too.

        Returns:
            The record:

            - frames: by part, the number of frames, and how many are right.
            - penalty: the chosen insertion penalty, with `words`.
            - development: the word errors on the development set by penalty, with `words`.

            The arrays, by part, with one number per recording, over all passes:

            - right, frames: how many frames are right, and how many there are.
            - errors, words: how many word errors and words there are, with `words`.
        """
        record: Json = {"frames": {}}
        arrays: dict[str, np.ndarray] = {}
        for part in JUDGED:
            z, speech = answers(part), self.corpus(part)
            labels, owners, said = (self.result.arrays[f"{part}.{name}"] for name in ("labels", "owners", "recordings"))
            right = np.argmax(z, axis=-1) == labels
            record["frames"][part] = [len(right), int(np.count_nonzero(right))]
            arrays[f"{part}.right"] = _by_recording(right, owners)
            arrays[f"{part}.frames"] = _by_recording(np.ones(len(owners)), owners)
            if words:
                score = recogniser.scores(z, self.log_prior)
                if part == "development":
                    tried = {c: int(self._errors(score, speech, c).sum()) for c in PENALTIES}
                    record["penalty"] = min(PENALTIES, key=lambda c: tried[c])
                    record["development"] = {f"{c:g}": errors for c, errors in tried.items()}
                arrays[f"{part}.errors"] = _by_recording(self._errors(score, speech, record["penalty"]), said)
                arrays[f"{part}.words"] = _by_recording(np.ones(len(said)), said)
        return record, arrays

    def _errors(self, score: np.ndarray, speech: recogniser.Corpus, penalty: float) -> np.ndarray:
        return recogniser.word_errors(speech.digits, recogniser.recognise(score, speech, self.model, penalty))


# ---- networks --------------------------------------------------------------------------------------------------------


def acoustic_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Train an acoustic model on a `share` of the training utterances; `teacher`, if needed, gives its soft targets.

    `temperature`, if needed, is a job that chose T; its choice replaces the configuration's. A share with fewer frames
    than a batch is one batch.

    Returns:
        The record: what `Speech.judge` says, with words if `words` asks for them, and

        - T: the temperature.
        - cost: that of the last epoch.
        - learnt: the number of frames learnt from, and how many are right at the end.
        - stopped: with `stop_early`, the same frames and learnt for the first epoch with the fewest errors on `PROBE`
          development frames, and the number of this epoch.

        The arrays of `Speech.judge`; with `keep` also flat, the weights; and with `stop_early` also stopped.test.right,
        of that epoch.
    """
    speech, config = Speech(inputs["corpus"]), config_of(settings)
    if "temperature" in inputs:
        config = replace(config, T=inputs["temperature"].record["T"])
    chosen = speech.share(settings["share"], config.seeds[0])
    data = speech.examples("train").take(chosen)
    config = replace(config, batch_size=min(config.batch_size, len(data)))
    targets = soft_targets(inputs["teacher"], chosen, data) if "teacher" in inputs else None
    stop = None
    if settings["stop_early"]:
        development = speech.examples("development")
        stop = Best(development.take(np.random.default_rng(0).permutation(len(development))[:PROBE]), device)
    network = train(config, data, soft_targets=targets, device=device, on_epoch=stop)

    def judged(network: Network, words: bool) -> Output:
        record, arrays = speech.judge(lambda part: host_logits(network, speech.examples(part), device), words=words)
        return {**record, "learnt": [len(data), len(data) - count_errors(network, data, device)]}, arrays

    record, arrays = judged(network, settings["words"])
    record |= {"T": config.T, "cost": network.history[-1]["cost"]}
    if stop is not None:
        stopped, early = judged(stop.network, words=False)
        record["stopped"] = {**stopped, "epoch": stop.epoch}
        arrays["stopped.test.right"] = early["test.right"]
    return record, arrays | ({"flat": network.flat} if settings["keep"] else {})


def _mean_answer(settings: Json, inputs: Inputs, data: Frames, device: Device) -> np.ndarray:
    """Return the geometric mean of the answers of acoustic models, (N, states)."""
    sizes = (data.shape[0] * data.shape[1], *settings["hidden"], data.classes)
    members = [Network(sizes, result.arrays["flat"]) for name, result in inputs.items() if name != "corpus"]
    return geometric_mean(np.stack([host_logits(member, data, device) for member in members]))


def committee_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Average the answers of acoustic models by the geometric mean, or pass on those of a single one.

    Either is a teacher for every T.

    Returns:
        The record and the arrays of `Speech.judge`, with words if `words` asks for them. Another array is train, the
        logits of all training frames, (N, states).
    """
    speech = Speech(inputs["corpus"])

    def answers(part: str) -> np.ndarray:
        return _mean_answer(settings, inputs, speech.examples(part), device)

    record, arrays = speech.judge(answers, words=settings["words"])
    return record, arrays | {"train": answers("train")}


def look_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Look at what a committee hears in the first `count` frames of the first test utterance that says `digit`.

    If only a few utterances were drawn and none says it, look at the first one.

    Returns:
        The record: digits, what is said in the whole utterance.
        The arrays: frames (count, 40), as the network reads them; labels (count,); z (count, states), the geometric
        mean's logits.
    """
    speech = Speech(inputs["corpus"])
    corpus, data = speech.corpus("test"), speech.examples("test")
    u = next((u for u, digits in enumerate(corpus.digits) if settings["digit"] in digits), 0)
    begin, end = corpus.bounds[u : u + 2]
    own = np.arange(begin, min(end, begin + settings["count"]))
    z = _mean_answer(settings, inputs, data.take(own), device)
    frames = corpus.frames[corpus.starts[own] + CENTRE]
    return {"digits": corpus.digits[u]}, {"frames": frames, "labels": data.labels[own], "z": z}


def temperature_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Choose the T of the student that is right on most development frames.

    Returns:
        The record: T; and right, by T, how many frames each student gets right.
    """
    right = {result.record["T"]: result.record["frames"]["development"][1] for result in inputs.values()}
    best = max(right, key=lambda T: right[T])
    return {"T": best, "right": {f"{T:g}": count for T, count in right.items()}}, {}
