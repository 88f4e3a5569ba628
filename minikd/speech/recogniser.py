"""A recogniser of digit strings: frames aligned with states, and a network's posteriors turned into words.

    utterances → corpus → flat start → (train → align) until the labels settle → train → recognise

The network is minikd's own MLP, trained by `minikd.training.loop.train`. Recognition needs only its logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.core.softmax import log_softmax
from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.engines.device import CPU, Device
from minikd.speech import Floats, Ints, hmm
from minikd.speech.features import CONTEXT, frames_within, log_mel, normalise, with_context
from minikd.speech.utterances import Utterance
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

ALIGNING = 0.5
"""The power of the priors when speech is aligned. Silence alone is a third of all frames. At a boundary the network is
undecided, and a whole prior gives the frame to the digit. The next network learns that, so silence shrinks by 1.5 % of
all frames per round. Without priors it grows by 0.5 %. With half a prior it stays the same."""
ROUNDS = 8
"""The most rounds of alignment."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Utterances as the network reads them.

    Args:
        frames: (F, 40) float32, each utterance's normalised frames with its context around it.
        starts: (N,) int64, where each frame's window begins.
        bounds: (U + 1,) int64; of the N frames, those from bounds[u] up to bounds[u + 1] are utterance u.
        digits: what is said in each utterance.
        spans: for each utterance (digits, 2) int64, the frames of each digit's recording, counted from its first one.
    """

    frames: NDArray[np.float32]
    starts: Ints
    bounds: Ints
    digits: list[tuple[int, ...]]
    spans: list[Ints]

    def __len__(self) -> int:
        """Return the number of utterances, U."""
        return len(self.digits)

    def examples(self, labels: NDArray[np.integer], states: int, name: str) -> Frames:
        """Return every frame with its window and its state, as `minikd.training.loop.train` takes them."""
        return Frames(self.frames, self.starts, labels.astype(np.uint8), name, states, CONTEXT)


def corpus(utterances: Sequence[Utterance], noisy: bool) -> Corpus:
    """Return the features of utterances, with their noise or without."""
    own = [normalise(log_mel(u.noisy if noisy else u.clean)) for u in utterances]
    padded, lengths = [with_context(frames) for frames in own], [len(frames) for frames in own]
    begins = np.cumsum([0, *map(len, padded[:-1])])
    starts = [begin + np.arange(n) for begin, n in zip(begins, lengths, strict=True)]
    spans = [frames_within(u.spans, n) for u, n in zip(utterances, lengths, strict=True)]
    frames, windows = freeze(np.concatenate(padded)), freeze(np.concatenate(starts))  # shared by examples
    return Corpus(frames, windows, np.cumsum([0, *lengths]), [u.digits for u in utterances], spans)


def words_of_frames(speech: Corpus) -> Ints:
    """Return the word of each frame, (N,), counted through all utterances. A pause is halved between its neighbours."""
    first = [  # frame of each word
        begin + np.concatenate([[0], (spans[:-1, 1] + spans[1:, 0]) // 2])
        for begin, spans in zip(speech.bounds[:-1], speech.spans, strict=True)
    ]
    return np.searchsorted(np.concatenate(first), np.arange(speech.bounds[-1]), side="right") - 1


# ---- alignment -------------------------------------------------------------------------------------------------------


def flat_start(speech: Corpus, model: hmm.Model) -> Ints:
    """Return the first labels, (N,): each recording cut evenly into its digit's states, with silence in between."""
    labels = np.full(len(speech.starts), model.states - 1)
    for u, digits in enumerate(speech.digits):
        for digit, (begin, end) in zip(digits, speech.bounds[u] + speech.spans[u], strict=True):
            states = np.arange(end - begin) * model.per_digit // (end - begin)
            labels[begin:end] = digit * model.per_digit + states
    return labels


def log_priors(labels: NDArray[np.integer], states: int) -> Floats:
    """Return the log share of each state among the labels, (states,). Each count gets one more, so none is −∞."""
    counts = np.bincount(labels, minlength=states) + 1
    log_prior: Floats = np.log(counts / counts.sum())
    return log_prior


def scores(z: NDArray[np.floating], log_prior: Floats) -> Floats:
    """Return the log likelihood of each frame in each state, (N, states), up to one number per frame.

        log p(x | s) = log p(s | x) − log p(s) + log p(x)      (derivation D11.6)

    Dividing by priors is a shift of the network's last biases (derivation D11.8).

    Args:
        z: (N, states), the network's logits.
        log_prior: (states,), as `log_priors` returns them.
    """
    return log_softmax(z.astype(np.float64)) - log_prior


def align(score: Floats, speech: Corpus, model: hmm.Model) -> Ints:
    """Return the labels, (N,), of the best path of each utterance through the states of its text.

    Args:
        score: (N, states), as `scores` returns it.
        speech: the utterances.
        model: how many states there are, and how long they last.

    Raises:
        ValueError: if an utterance has fewer frames than its text has states.
    """
    labels = np.empty(len(score), np.int64)
    for u, digits in enumerate(speech.digits):
        own = slice(speech.bounds[u], speech.bounds[u + 1])
        graph = hmm.chain(model, digits)
        weight, path = hmm.viterbi(score[own][:, graph.state], graph)
        if not np.isfinite(weight):
            raise ValueError(
                f"utterance {u} has {own.stop - own.start} frames for {len(digits)} digits of {model.per_digit} "
                "states: use fewer states per digit"
            )
        labels[own] = graph.state[path]
    return labels


def durations(labels: Ints, speech: Corpus, per_digit: int) -> hmm.Model:
    """Return the model whose states last as long, on average, as they do in aligned labels (derivation D11.9)."""
    model = hmm.fresh(per_digit)
    begins = np.append(True, labels[1:] != labels[:-1])
    begins[speech.bounds[:-1]] = True
    frames = np.bincount(labels, minlength=model.states)
    visits = np.bincount(labels[begins], minlength=model.states)
    stay = np.clip((frames - visits) / np.maximum(frames, 1), 0.05, 0.98)
    return hmm.Model(per_digit, np.log(stay))


def settle(
    speech: Corpus,
    per_digit: int,
    *,
    hidden: tuple[int, ...],
    device: Device = CPU,
    settled: float = 0.02,
) -> tuple[Aligner, Ints, list[float]]:
    """Find labels from the texts: after a flat start, a network learns the labels and aligns again, until they settle.

    Each round continues with the last one's network, for two epochs. The first round has three. There are at most
    `ROUNDS` rounds.

    Args:
        speech: without noise.
        per_digit: states per digit.
        hidden: units of each hidden layer of the aligning network.
        device: where the network is trained.
        settled: the share of labels that may still change in the last round.

    Returns:
        The last aligner, the labels, (N,), and the share that changed in each round.
    """
    model, network = hmm.fresh(per_digit), None
    changed: list[float] = []
    labels = flat_start(speech, model)
    while len(changed) < ROUNDS and (not changed or changed[-1] >= settled):
        config = TrainConfig(
            hidden=hidden,
            epochs=2 if changed else 3,
            learning_rate=0.05,
            clip_norm=1.0,
            batch_size=min(128, len(labels)),
            seed=len(changed),
        )
        examples = speech.examples(labels, model.states, "training speech")
        network = train(config, examples, start=network, device=device)
        aligner = Aligner(network, log_priors(labels, model.states), model)
        new = aligner.labels(speech, device)
        changed.append(float(np.mean(new != labels)))
        labels, model = new, durations(new, speech, per_digit)
    return aligner._replace(model=model), labels, changed


class Aligner(NamedTuple):
    """What aligns speech with its text: a network, the log priors of the labels that it learnt, and the model."""

    network: Network
    log_prior: Floats
    model: hmm.Model

    def labels(self, speech: Corpus, device: Device = CPU) -> Ints:
        """Return the states of all frames, (N,), by the best path through the states of each text."""
        examples = speech.examples(np.zeros(len(speech.starts), np.int64), self.model.states, "speech")
        z = device.get(logits(self.network, examples, device))
        return align(scores(z, ALIGNING * self.log_prior), speech, self.model)


# ---- recognition -----------------------------------------------------------------------------------------------------


def recognise(score: Floats, speech: Corpus, model: hmm.Model, penalty: float) -> list[tuple[int, ...]]:
    """Return the digits of each utterance, by the best path through the loop.

    Args:
        score: (N, states), as `scores` returns it.
        speech: the utterances.
        model: the states and how long they last.
        penalty: as `minikd.speech.hmm.loop` takes it.
    """
    lengths = np.diff(speech.bounds)
    together = np.zeros((len(speech), lengths.max(), model.states))
    for u in range(len(speech)):
        together[u, : lengths[u]] = score[speech.bounds[u] : speech.bounds[u + 1]]
    _, paths = hmm.viterbi(together, hmm.loop(model, penalty), lengths)
    return [hmm.words(path, model) for path in paths]


def word_errors(said: Sequence[tuple[int, ...]], heard: Sequence[tuple[int, ...]]) -> Ints:
    """Return the errors of each word that was said, (W,), counted through all utterances. Their mean is the error rate.

    A word is wrong if it was substituted or deleted. A word that was inserted counts as an error of the word before it,
    or of the first word.

    Args:
        said: the words of each utterance, at least one.
        heard: the words that were recognised.

    >>> word_errors([(1, 2, 3)], [(9, 1, 3)])
    array([1, 1, 0])
    """
    import jiwer

    errors = []
    for reference, hypothesis in zip(said, heard, strict=True):
        own = np.zeros(len(reference), np.int64)
        (chunks,) = jiwer.process_words(" ".join(map(str, reference)), " ".join(map(str, hypothesis))).alignments
        for chunk in chunks:
            if chunk.type == "insert":
                own[max(0, chunk.ref_start_idx - 1)] += chunk.hyp_end_idx - chunk.hyp_start_idx
            elif chunk.type != "equal":
                own[chunk.ref_start_idx : chunk.ref_end_idx] += 1
        errors.append(own)
    return np.concatenate(errors)
