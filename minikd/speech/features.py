"""From a waveform to what the network reads: log-mel frames, normalised, in windows of 26 (Hinton et al. 2015, §4)."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minikd.data.checks import freeze
from minikd.speech import Floats, Ints
from minikd.speech.recordings import RATE

WINDOW, ADVANCE = 200, 80
"""Samples: a frame covers 25 ms, and the next one begins 10 ms later."""
SPECTRUM = 512
"""Points of the Fourier transform: the window, then zeros, so that even the narrowest filter spans a few points."""
FILTERS = 40
CONTEXT, CENTRE = 26, 20
"""Frames in a window, and the one of them, counted from 0, whose state is to be predicted: the 21st."""
FLOOR = 1e-10
"""The least energy of a filter, about 100 dB below a loud vowel. It gives digital silence a finite logarithm."""


def hertz_to_mel(hertz: ArrayLike) -> Floats:
    """Return the pitch in mel, 2595 log₁₀(1 + f/700). A listener hears equal steps in mel as equal.

    >>> print(hertz_to_mel([0, 700, 1000]).round(1))
    [   0.   781.2 1000. ]
    """
    return 2595 * np.log10(1 + np.asarray(hertz, np.float64) / 700)


@cache
def mel_filters() -> Floats:
    """Return 40 triangular filters, evenly spaced in mel from 0 to half the rate, each half-overlapping its neighbours.

    In mel, filter m rises from 0 at edge m to 1 at edge m + 1 and falls to 0 at edge m + 2. So between the first peak
    and the last one the filters add up to 1 at every frequency.

    Returns:
        (257, 40), the weight of each frequency of a real Fourier transform in each filter.

    >>> W = mel_filters()
    >>> W.shape, bool(np.allclose(W.sum(axis=1)[10:240], 1))
    ((257, 40), True)
    """
    edges = np.linspace(0, hertz_to_mel(RATE / 2), FILTERS + 2)  # mel
    at = hertz_to_mel(np.arange(SPECTRUM // 2 + 1) * RATE / SPECTRUM)[:, np.newaxis]  # (frequencies, 1)
    weights: Floats = np.maximum(0, 1 - np.abs(at - edges[1:-1]) / (edges[1] - edges[0]))
    return freeze(weights)  # the cache hands it out again


def log_mel(signal: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the logarithm of the energy that each filter lets through, frame by frame.

    A frame is 25 ms under a Hann window. Its power spectrum goes through the filters.

    Args:
        signal: (n,) float, samples in [−1, 1], n ≥ 200.

    Returns:
        (F, 40) float32, natural logarithms, with F = 1 + (n − 200) // 80.

    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(800) / RATE)
    >>> frames = log_mel(tone)
    >>> frames.shape, int(frames[0].argmax()), int(np.argmin(np.abs(mel_filters().argmax(axis=0) * RATE / 512 - 1000)))
    ((8, 40), 18, 18)
    """
    pieces = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::ADVANCE]  # (F, 200)
    spectra = np.fft.rfft(pieces * np.hanning(WINDOW), SPECTRUM)  # (F, 257)
    energy = (np.abs(spectra) ** 2) @ mel_filters()  # (F, 40)
    return np.log(np.maximum(energy, FLOOR)).astype(np.float32)


def normalise(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return frames (F, 40) with their mean over the utterance subtracted, divided by their standard deviation.

    This removes what a microphone does to the sound.
    """
    mean, sd = frames.mean(axis=0), frames.std(axis=0)
    normalised: NDArray[np.float32] = (frames - mean) / np.maximum(sd, 1e-3)
    return normalised


def with_context(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return frames (F, 40) with the first and the last one repeated, so that every frame has a window: (F + 25, 40).

    Window n begins at row n, and row n + 20 is frame n.
    """
    return np.pad(frames, ((CENTRE, CONTEXT - 1 - CENTRE), (0, 0)), mode="edge")


def frames_within(spans: Ints, count: int) -> Ints:
    """Return which of `count` frames have their middle in stretches of samples; both are (..., 2), [from, to)."""
    return np.clip(-(-(spans - WINDOW // 2) // ADVANCE), 0, count)
