"""Utterances: strings of three to seven digits by one speaker, with pauses, in noise, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minikd.speech import Floats, Ints
from minikd.speech.recordings import RATE, Recordings

DIGITS = range(3, 8)
"""How many digits a string may have."""
PAUSE = (0.0, 0.3)
"""Seconds of silence between digits, drawn evenly."""
EDGE = 0.1
"""Seconds that are added before the first digit and after the last one."""
SPEECH = 0.05
"""The root mean square of an utterance's digits. All utterances are equally loud."""
BREATH = 1e-4
"""The root mean square of the noise that even a quiet room has. Without it, silence would have no logarithm."""
TALKERS = 6
"""How many recordings speak at the same time in babble."""
KINDS = ("white", "babble")


@dataclass(frozen=True, eq=False)
class Utterance:
    """A string of digits.

    Args:
        digits: what is said.
        recordings: the numbers of their recordings.
        spans: (digits, 2) int64, the samples of each digit's recording, [from, to).
        clean: (n,) float64, the samples without noise.
        noisy: (n,) float64, the samples with noise.
        kind: of the noise, one of KINDS.
        snr: the signal-to-noise ratio in dB.
    """

    digits: tuple[int, ...]
    recordings: tuple[int, ...]
    spans: Ints
    clean: Floats
    noisy: Floats
    kind: str
    snr: float


def draw(recordings: Recordings, part: str, *, passes: int, snrs: Sequence[float], seed: int) -> list[Utterance]:
    """Draw strings that use each recording of a part once per pass, with noise from training recordings.

    Args:
        recordings: what the strings are made of.
        part: as `Recordings.part` names it.
        passes: how often each recording is used.
        snrs: signal-to-noise ratios in dB. One of them, and white noise or babble, is drawn for each utterance.
        seed: strings, pauses and noise follow from it.
    """
    rng = np.random.default_rng(seed)
    numbers, others = recordings.part(part), recordings.part("train")
    drawn = []
    for _ in range(passes):
        for speaker in sorted(set(recordings.speakers[numbers].tolist())):
            own = rng.permutation(numbers[recordings.speakers[numbers] == speaker])
            for string in _strings(own, rng):
                clean, spans = _join([recordings.signal(n) for n in string], rng)
                kind, snr = KINDS[rng.integers(len(KINDS))], float(rng.choice(snrs))
                noise = rng.standard_normal(len(clean))
                if kind == "babble":
                    noise = _babble(recordings, np.setdiff1d(others, string), len(clean), rng)
                digits = tuple(recordings.digits[string].tolist())
                noisy = add_noise(clean, noise, snr)
                drawn.append(Utterance(digits, tuple(string.tolist()), spans, clean, noisy, kind, snr))
    return drawn


def add_noise(clean: Floats, noise: Floats, snr: float) -> Floats:
    """Return speech, whose digits have the power SPEECH², plus noise at the signal-to-noise ratio in dB, (n,)."""
    scale = SPEECH * 10 ** (-snr / 20) / np.sqrt(np.mean(noise**2))
    noisy: Floats = clean + scale * noise
    return noisy


def _strings(numbers: Ints, rng: np.random.Generator) -> list[Ints]:
    """Cut recordings into strings of three to seven. The last one takes what is left, or joins the one before."""
    cuts = np.cumsum(rng.integers(DIGITS.start, DIGITS.stop, size=len(numbers)))
    strings = np.split(numbers, cuts[cuts < len(numbers)])
    if len(strings) > 1 and len(strings[-1]) < DIGITS.start:
        tail = np.concatenate(strings[-2:])  # of four to nine
        strings[-2:] = [tail] if len(tail) < DIGITS.stop else np.array_split(tail, 2)
    return strings


def _join(signals: Sequence[Floats], rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Join digits with pauses, at the loudness SPEECH, in a room with a little noise; also return their spans."""
    pauses = rng.uniform(*PAUSE, size=len(signals) + 1)
    pauses[[0, -1]] += EDGE
    silent = np.round(pauses * RATE).astype(np.int64)
    lengths = np.array([len(signal) for signal in signals])
    begins = np.cumsum(silent[:-1]) + np.cumsum(lengths) - lengths
    speech = BREATH * rng.standard_normal(lengths.sum() + silent.sum())
    scale = SPEECH / np.sqrt(np.mean(np.concatenate(signals) ** 2))
    for signal, begin in zip(signals, begins, strict=True):
        speech[begin : begin + len(signal)] += scale * signal
    return speech, np.column_stack([begins, begins + lengths])


def _babble(recordings: Recordings, numbers: Ints, length: int, rng: np.random.Generator) -> Floats:
    """Return several voices at once, (length,). Each is recordings in random order, equally loud, without a pause."""
    voices = np.zeros((TALKERS, length))
    for voice in voices:
        filled = -int(rng.integers(RATE // 4))  # voices do not begin together
        while filled < length:
            signal = recordings.signal(int(rng.choice(numbers)))
            signal = signal / np.sqrt(np.mean(signal**2))
            signal = signal[max(0, -filled) :][: length - max(0, filled)]
            begin = max(0, filled)
            voice[begin : begin + len(signal)] = signal
            filled = begin + len(signal)
    babble: Floats = voices.sum(axis=0)
    return babble
