"""A recogniser of digit strings: frames aligned with states, and a network's posteriors turned into words.

    utterances → corpus → flat start → (train → align) until the labels settle → train → recognise

The network is minikd's own MLP; it is trained elsewhere, by `minikd.train.train`, and comes in here as its logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minikd.frames import Frames
from minikd.softmax import log_softmax
from minikd.speech import hmm
from minikd.speech.features import CONTEXT, frames_within, log_mel, normalise, with_context
from minikd.speech.utterances import Utterance


@dataclass(frozen=True, eq=False)
class Corpus:
    """Utterances as the network reads them.

    frames: (F, 40) float32, each utterance's normalised frames with its context around. starts: (N,) int64, where each
    frame's window begins. bounds: (U + 1,) int64, utterance u is the frames bounds[u] … bounds[u + 1] of the N. digits:
    what is said in each. spans: (digits, 2) int64 for each, the frames of each digit's recording, from the first of
    the utterance.
    """

    frames: NDArray[np.float32]
    starts: NDArray[np.int64]
    bounds: NDArray[np.int64]
    digits: list[tuple[int, ...]]
    spans: list[NDArray[np.int64]]

    def __len__(self) -> int:
        """The number of utterances, U."""
        return len(self.digits)

    def examples(self, labels: NDArray[np.integer], states: int, name: str) -> Frames:
        """Every frame with its window and its state, as `minikd.train.train` takes them."""
        return Frames(self.frames, self.starts, labels.astype(np.uint8), name, states, CONTEXT)


def corpus(utterances: Sequence[Utterance], noisy: bool) -> Corpus:
    """The features of utterances, with their noise or without."""
    padded, starts, lengths, begin = [], [], [], 0
    for utterance in utterances:
        frames = normalise(log_mel(utterance.noisy if noisy else utterance.clean))
        padded.append(with_context(frames))
        starts.append(begin + np.arange(len(frames)))
        lengths.append(len(frames))
        begin += len(padded[-1])
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    spans = [frames_within(u.spans, n) for u, n in zip(utterances, lengths, strict=True)]
    return Corpus(np.concatenate(padded), np.concatenate(starts), bounds, [u.digits for u in utterances], spans)


# ---- alignment -------------------------------------------------------------------------------------------------------


def flat_start(speech: Corpus, model: hmm.Model) -> NDArray[np.int64]:
    """The first labels, (N,): each recording cut evenly into the states of its digit; what lies between is silence."""
    labels = np.full(len(speech.starts), model.states - 1)
    for u, digits in enumerate(speech.digits):
        for digit, (begin, end) in zip(digits, speech.bounds[u] + speech.spans[u], strict=True):
            states = np.arange(end - begin) * model.per_digit // (end - begin)
            labels[begin:end] = digit * model.per_digit + states
    return labels


def log_priors(labels: NDArray[np.integer], states: int) -> NDArray[np.float64]:
    """How often each state occurs among the labels, (states,), in logarithms; each as if once more, so none is −∞."""
    counts = np.bincount(labels, minlength=states) + 1
    log_prior: NDArray[np.float64] = np.log(counts / counts.sum())
    return log_prior


def scores(z: NDArray[np.floating], log_prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """The network's logits (N, states) as the log likelihood of each frame in each state, up to a number of the frame.

        log p(x | s) = log p(s | x) − log p(s) + log p(x)      (derivation D11.6)

    Dividing by priors is a shift of the network's last biases (derivation D11.8).
    """
    score: NDArray[np.float64] = log_softmax(z.astype(np.float64)) - log_prior
    return score


def align(score: NDArray[np.float64], speech: Corpus, model: hmm.Model) -> NDArray[np.int64]:
    """The labels (N,) of the best path of each utterance through the states of its text; score as `scores` gives it.

    Raises: ValueError where an utterance has fewer frames than its text has states.
    """
    labels = np.empty(len(score), np.int64)
    for u, digits in enumerate(speech.digits):
        own = slice(speech.bounds[u], speech.bounds[u + 1])
        graph = hmm.chain(model, digits)
        weight, path = hmm.viterbi(score[own][:, graph.state], graph)
        if not np.isfinite(weight):
            raise ValueError(
                f"utterance {u} has {own.stop - own.start} frames for {len(digits)} digits of {model.per_digit} "
                "states: take fewer states a digit"
            )
        labels[own] = graph.state[path]
    return labels


def durations(labels: NDArray[np.int64], speech: Corpus, per_digit: int) -> hmm.Model:
    """The model whose states last as long, in the mean, as they do among aligned labels (derivation D11.9)."""
    model = hmm.fresh(per_digit)
    begins = np.append(True, labels[1:] != labels[:-1])
    begins[speech.bounds[:-1]] = True
    frames = np.bincount(labels, minlength=model.states)
    visits = np.bincount(labels[begins], minlength=model.states)
    stay = np.clip((frames - visits) / np.maximum(frames, 1), 0.05, 0.98)
    return hmm.Model(per_digit, np.log(stay))


# ---- recognition -----------------------------------------------------------------------------------------------------


def recognise(score: NDArray[np.float64], speech: Corpus, model: hmm.Model, penalty: float) -> list[tuple[int, ...]]:
    """The digits of each utterance: the best path through the loop; score as `scores` gives it."""
    lengths = np.diff(speech.bounds)
    together = np.zeros((len(speech), lengths.max(), model.states))
    for u in range(len(speech)):
        together[u, : lengths[u]] = score[speech.bounds[u] : speech.bounds[u + 1]]
    _, paths = hmm.viterbi(together, hmm.loop(model, penalty), lengths)
    return [hmm.words(path, model) for path in paths]


def word_errors(said: Sequence[tuple[int, ...]], heard: Sequence[tuple[int, ...]]) -> tuple[int, int]:
    """Substitutions, insertions and deletions, and the number of words that were said; their ratio is the WER."""
    import jiwer

    reference, hypothesis = ([" ".join(map(str, digits)) for digits in text] for text in (said, heard))
    found = jiwer.process_words(reference, hypothesis)
    errors = found.substitutions + found.insertions + found.deletions
    return errors, found.hits + found.substitutions + found.deletions
