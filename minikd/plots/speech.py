"""Figures of speech: what a network hears, and how sure it is where one state gives way to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from minikd.core.softmax import softmax
from minikd.plots.canvas import DASHES, OKABE_ITO, Figure, Floats, Ints, side_by_side, style
from minikd.speech.features import ADVANCE
from minikd.speech.recordings import RATE

SECONDS = ADVANCE / RATE
"""From the beginning of one frame to that of the next."""


def name(state: int, per_digit: int) -> str:
    """Return a state's name for people: "7·3" is the third state of a 7.

    >>> name(58, 8), name(80, 8)
    ('7·3', 'silence')
    """
    return "silence" if state == 10 * per_digit else f"{state // per_digit}·{state % per_digit + 1}"


@style()
def hearing(frames: Floats, labels: Ints, z: Floats, per_digit: int) -> Figure:
    """Draw what is heard: log-mel frames, and below them the network's probability of each digit, with what is said.

    Args:
        frames: (F, 40), log-mel, normalised or not.
        labels: (F,) int, the aligned states.
        z: (F, states), logits in nats.
        per_digit: states per digit.

    Returns:
        A Figure of two panels on one axis of time, then their colour scales.

    Raises:
        ValueError: if the lengths differ.
    """
    F, q = _length(frames, labels, z), softmax(z.astype(np.float64))
    by_digit = np.column_stack([q[:, :-1].reshape(F, 10, per_digit).sum(axis=-1), q[:, -1]])  # (F, 11)
    figure = Figure(figsize=(10, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    about = {"aspect": "auto", "origin": "lower", "interpolation": "nearest"}
    energy = above.imshow(frames.T, extent=(0, F * SECONDS, 0, frames.shape[1]), cmap="magma", **about)
    above.set(ylabel="mel filter", title="What reaches the network")
    sure = below.imshow(by_digit.T, extent=(0, F * SECONDS, -0.5, 10.5), cmap="cividis", vmin=0, vmax=1, **about)
    figure.colorbar(energy, ax=above, label="log energy")
    figure.colorbar(sure, ax=below, label="probability")
    said = np.where(labels == 10 * per_digit, 10, labels // per_digit)
    below.step(SECONDS * np.arange(F + 1), np.append(said, said[-1]), where="post", color="white", linewidth=1.5)
    below.set_yticks(range(11), [*map(str, range(10)), "silence"])
    below.set(xlabel="time, s", title="The network's probability of each digit; the white line is what is said")
    return figure


@style()
def boundary(z: Floats, labels: Ints, at: int, T: Sequence[float], per_digit: int) -> Figure:
    """Draw the softened probabilities of the states around a change of state, one panel per temperature.

    Args:
        z: (F, states), logits in nats.
        labels: (F,) int, the aligned states.
        at: the first frame of the later state.
        T: temperatures.
        per_digit: states per digit.

    Returns:
        A Figure. Its lines are the two states, and the likeliest third one.

    Raises:
        ValueError: if the lengths differ, or no frame comes before `at`.
    """
    F, z = _length(labels, z), z.astype(np.float64)
    if not 0 < at < F:
        raise ValueError(f"at must be a frame from 1 to {F - 1}, with one before it, got {at}")
    near = np.arange(max(0, at - 8), min(F, at + 9))
    shown = [int(labels[at - 1]), int(labels[at])]
    others = np.delete(np.arange(z.shape[-1]), shown)
    shown.append(int(others[np.argmax(softmax(z[near]).mean(axis=0)[others])]))
    figure, row = side_by_side(len(T), 3.6 * len(T), 3.6, sharey=True)
    for panel, t in zip(row, T, strict=True):
        p = softmax(z[near], t)
        for i, state in enumerate(shown):
            panel.plot(near - at, p[:, state], DASHES[i], color=OKABE_ITO[i], linewidth=2, label=name(state, per_digit))
        panel.axvline(-0.5, color="black", linewidth=0.8, linestyle=":")
        panel.set(xlabel="frames from the change", title=f"T = {t:g}", ylim=(0, 1))
        panel.xaxis.set_major_locator(MultipleLocator(4))  # there are no half frames
    figure.axes[0].set_ylabel("probability")
    figure.axes[-1].legend(title="digit·state")
    return figure


def _length(*arrays: NDArray[np.generic]) -> int:
    """Return the number of rows, which all arrays must have."""
    if len({len(array) for array in arrays}) != 1 or len(arrays[0]) == 0:
        raise ValueError(
            f"arrays must have one row per frame, and at least one, got shapes {[a.shape for a in arrays]}"
        )
    return len(arrays[0])
