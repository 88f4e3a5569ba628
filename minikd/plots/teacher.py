"""Dark knowledge: how a teacher ranks the wrong answers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from minikd.core.guard import guard, temperature
from minikd.core.guard import labels as labels_of
from minikd.core.softmax import softmax
from minikd.plots import canvas
from minikd.plots.canvas import LIKELIEST_WRONG, TRUE_CLASS, Figure, Floats, Images, Ints, style
from minikd.theory.host import cases

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@style()
@guard(logits=cases, labels=labels_of("logits"), T=temperature())
def dark_knowledge(
    images: Images,
    labels: Ints,
    logits: Floats,
    T: float,
    title: str = "Dark knowledge: how a teacher ranks the wrong answers",
) -> Figure:
    """Draw one row per example: the image, the teacher's probabilities at T = 1 and at T, and what to look at.

    At T = 1 the wrong answers differ by orders of magnitude, so only a log axis shows their ranking. At T the same
    ranking can be seen on a linear axis, which is where a cost can feel it (Hinton et al. 2015, E1).

    Args:
        images: (n, rows, cols) uint8, 0 for background.
        labels: (n,) int, the true classes, 0 … K − 1.
        logits: (n, K) float on the host, the teacher's, in nats.
        T: float > 0, the temperature of the second chart, dimensionless.
        title: of the figure.

    Returns:
        A Figure. Its axes are, row by row, the image, the chart at T = 1, the chart at T, the words.

    Raises:
        ValueError: if shapes do not match, a label is outside 0 … K − 1, a logit is not finite, or T is out of range.
        TypeError: if a dtype is wrong.

    >>> figure = dark_knowledge(np.zeros((1, 28, 28), np.uint8), np.array([0]), np.array([[3.0, 1.0, 0.0]]), T=2.0)
    >>> print(np.round([bar.get_height() for bar in figure.axes[2].patches], 2))  # the softmax of (1.5, 0.5, 0)
    [0.63 0.23 0.14]
    """
    n = len(logits)
    images = canvas.check_images(images, n)
    sharp, soft = softmax(logits), softmax(logits, T)  # (n, K) each

    figure = Figure(figsize=(11, 0.9 + 1.3 * n), layout="constrained")
    figure.suptitle(title, fontsize=15)
    panels = figure.subplots(n, 4, squeeze=False, gridspec_kw={"width_ratios": (1, 3, 3, 2.3)})
    floor = 10 ** np.floor(np.log10(max(float(np.min(sharp)), 1e-300)))  # one scale for all rows, so that they compare
    for row in range(n):
        picture, at_one, at_T, words = panels[row]
        wrong = canvas.rank_wrong(logits[row], labels[row])
        canvas.show_image(picture, images[row])
        for panel, q in ((at_one, sharp[row]), (at_T, soft[row])):
            canvas.draw_classes(panel, q, labels[row], wrong[0])
            panel.set_ylabel("probability")
        _describe(words, logits[row], labels[row], wrong, T)
        canvas.log_y(at_one, ticks=4)
        at_one.set_ylim(floor / 2, 1)
        at_T.set_ylim(0, min(1, 1.05 * np.max(soft)))
    panels[0, 1].set_title("at T = 1, log scale", loc="left")
    panels[0, 2].set_title(f"at T = {T:g}, linear scale", loc="left")
    for panel in panels[-1, 1:3]:
        panel.set_xlabel("class")
    return figure


def _describe(panel: Axes, z: NDArray[np.float64], label: int, wrong: Sequence[int], T: float) -> None:
    """Write what to look at in a row: the true class, and the likeliest and the least likely wrong one."""
    likeliest, least = wrong[0], wrong[-1]
    lines = [
        (f"true class: {label}", TRUE_CLASS),
        (f"likeliest wrong answer: {likeliest}", LIKELIEST_WRONG),
    ]
    if least != likeliest:
        gap = float(z[likeliest] - z[least])  # q_likeliest/q_least = exp(gap/T)
        lines += [(f"likelier than {least}, the least likely,", "black")]
        lines += [(f"{_times(gap)} at T = 1,", "black"), (f"{_times(gap / T)} at T = {T:g}", "black")]
    panel.set_axis_off()
    for i, (line, colour) in enumerate(lines):
        panel.text(0, 0.95 - 0.225 * i, line, color=colour, va="center", transform=panel.transAxes)


def _times(log_ratio: float) -> str:
    """Return exp(log_ratio) in words: '3.2 times', '450 times', '6 × 10⁷ times'. Nothing overflows."""
    power = log_ratio / math.log(10)
    if power < 4:
        ratio = 10**power
        return f"{ratio:,.{1 if ratio < 10 else 0}f} times"
    mantissa, exponent = round(10 ** (power % 1)), int(power)
    if mantissa == 10:
        mantissa, exponent = 1, exponent + 1
    return f"{mantissa} × 10{str(exponent).translate(SUPERSCRIPTS)} times"
