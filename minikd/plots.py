"""Every figure: learning curves, and the dark knowledge in a teacher's wrong answers.

Figures are made with matplotlib's objects alone, never with pyplot: no global state, and no display is needed.
In a notebook, say `%matplotlib inline` once; a figure that ends a cell is then shown.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image, PngImagePlugin  # matplotlib needs it too

from minikd.checkpoint import write_atomically
from minikd.softmax import softmax

# Okabe & Ito's colours, which the colour-blind tell apart too. Yellow is pale on white, so it comes last.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
TRUE_CLASS, LIKELIEST_WRONG, OTHER_WRONG = OKABE_ITO[0], OKABE_ITO[1], "#999999"

STYLE: Any = {  # for rc_context, whose type lists every setting by name
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the same figure everywhere
    "font.size": 12,
    "axes.titlesize": 12,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
DPI = 150
LABEL_GAP = 0.055  # least distance between two labels at the lines' ends, as a share of the panel's height


@rc_context(STYLE)
def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], evaluated_on: str = "test") -> Figure:
    """Draw the errors of several networks against the epoch in one panel, and the training cost of each in its own.

    The costs stand apart because they cannot be compared: a distillation cost carries T², and cannot fall below the
    entropy of the teacher's answers.

    Args:
        histories: a network's name -> its records, one an epoch and in order, each with `epoch` (from 1), `cost` (mean
            training cost, nats a case) and `errors` (wrong cases on the evaluated set); other keys are not read.
        evaluated_on: the name of that set, for the axis.
    Returns: a Figure; its axes are the errors, then the costs in the order of `histories`.
    Raises: ValueError for no networks, a network with no records, a missing key or a value that is not finite.

    >>> records = [{"epoch": 1, "cost": 0.5, "errors": 300}, {"epoch": 2, "cost": 0.1, "errors": 150}]
    >>> learning_curves({"student alone": records}).axes[0].lines[0].get_ydata().tolist()
    [300.0, 150.0]
    """
    if not histories:
        raise ValueError("histories must name at least one network, got none: pass {name: records}")
    curves = {name: _columns(name, records) for name, records in histories.items()}
    colours = {name: OKABE_ITO[i % len(OKABE_ITO)] for i, name in enumerate(curves)}
    last = max(epoch[-1] for epoch, _, _ in curves.values())

    figure = Figure(figsize=(12, max(5.0, 1.7 * len(curves))), layout="constrained")
    grid = figure.add_gridspec(len(curves), 2, width_ratios=(2, 1))
    left = figure.add_subplot(grid[:, 0])
    for name, (epoch, _, errors) in curves.items():
        left.plot(epoch, errors, color=colours[name], linewidth=2, label=name)
    left.set(xlabel="epoch", ylabel=f"wrong cases, {evaluated_on} set", xlim=(0, 1.03 * last))
    left.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    _scale_y(left, np.concatenate([errors for _, _, errors in curves.values()]))
    left.set_title(f"Errors on the {evaluated_on} set, {left.get_yscale()} scale", loc="left")
    _label_ends(left, {name: (epoch[-1], errors[-1]) for name, (epoch, _, errors) in curves.items()}, colours)

    for row, (name, (epoch, cost, _)) in enumerate(curves.items()):
        panel = figure.add_subplot(grid[row, 1], sharex=left)
        panel.plot(epoch, cost, color=colours[name], linewidth=2, marker="o" if len(epoch) == 1 else None, label=name)
        panel.set_title(f"Training cost: {name}", loc="left", color=colours[name])
        panel.set_ylabel("nats a case")
        panel.tick_params(labelbottom=row == len(curves) - 1)
        _scale_y(panel, cost)
    panel.set_xlabel("epoch")
    return figure


@rc_context(STYLE)
def dark_knowledge(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    logits: NDArray[Any],
    T: float,
    title: str = "Dark knowledge: how a teacher ranks the wrong answers",
) -> Figure:
    """Draw one row an example: the image, the teacher's probabilities at T = 1 (log axis) and at T, what to look at.

    At T = 1 the wrong answers differ by orders of magnitude, so only a log axis shows their ranking. At T the same
    ranking stands on a linear axis, which is where a cost can feel it (Hinton et al. 2015, E1).

    Args:
        images: (n, rows, cols) uint8, 0 for background.
        labels: (n,) int, the true classes, 0 … K − 1.
        logits: (n, K) float on the host, the teacher's, in nats.
        T: float > 0, the temperature of the second chart, dimensionless.
    Returns: a Figure; its axes are, row by row, the image, the chart at T = 1, the chart at T, the words.
    Raises: ValueError for shapes that do not fit, labels outside 0 … K − 1, logits that are not finite, or a bad T.

    >>> figure = dark_knowledge(np.zeros((1, 28, 28), np.uint8), np.array([0]), np.array([[3.0, 1.0, 0.0]]), T=2.0)
    >>> print(np.round([bar.get_height() for bar in figure.axes[2].patches], 2))  # the softmax of (1.5, 0.5, 0)
    [0.63 0.23 0.14]
    """
    images = np.asarray(images)
    labels, logits = _check(labels, logits)
    n = len(logits)
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) != n or n == 0:
        raise ValueError(
            f"images must be uint8 of shape (n, rows, cols) with n = {n} > 0 as in logits, "
            f"got {images.dtype} {images.shape}: pass the raw images of the same examples"
        )
    sharp, soft = softmax(logits), softmax(logits, T)  # (n, K) each

    figure = Figure(figsize=(11, 0.9 + 1.3 * n), layout="constrained")
    figure.suptitle(title, fontsize=15)
    panels = figure.subplots(n, 4, squeeze=False, gridspec_kw={"width_ratios": (1, 3, 3, 2.3)})
    floor = 10 ** np.floor(np.log10(max(np.min(sharp), 1e-300)))  # one scale for all rows, so that they compare
    for row, image, label, z, q_sharp, q_soft in zip(panels, images, labels, logits, sharp, soft, strict=True):
        _draw_example(row, image, label, z, q_sharp, q_soft, T)
    for panel in panels[:, 1]:
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(numticks=4))
        panel.yaxis.set_minor_locator(NullLocator())
        panel.set_ylim(floor / 2, 2)
    for panel in panels[:, 2]:
        panel.set_ylim(0, 1.05 * np.max(soft))
    panels[0, 1].set_title("at T = 1, log scale", loc="left")
    panels[0, 2].set_title(f"at T = {T:g}, linear scale", loc="left")
    for panel in panels[-1, 1:3]:
        panel.set_xlabel("class")
    return figure


def choose_ambiguous(logits: NDArray[Any], labels: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Choose the rightly classified examples of which the teacher is least sure: those with most dark knowledge to see.

    The measure is the entropy −Σ_k q_k log q_k at T = 1, in nats. The most ambiguous of each class come first, then
    the second of each class, and so on, until there are `count`.

    Args: logits (n, K) float on the host, in nats; labels (n,) int; count, how many to choose.
    Returns: (count,) int, indices sorted by class and, within one, most ambiguous first; of equals, the first index.
    Raises: ValueError for shapes that do not fit, or where fewer than `count` examples are rightly classified.

    >>> logits = np.array([[9.0, 0.0], [1.0, 0.0], [0.0, 2.0], [5.0, 0.0]])
    >>> choose_ambiguous(logits, np.array([0, 0, 1, 1]), count=2).tolist()  # the last one is classified wrongly
    [1, 2]
    """
    labels, logits = _check(labels, logits)
    right = np.flatnonzero(np.argmax(logits, axis=-1) == labels)
    if not 1 <= count <= len(right):
        raise ValueError(
            f"count must be from 1 to the {len(right)} rightly classified examples, got {count}: "
            "ask for fewer, or pass more examples"
        )
    q = softmax(logits[right])  # (m, K)
    entropy = -np.sum(q * np.log(np.where(q > 0, q, 1.0)), axis=-1)  # (m,); 0 log 0 = 0
    order = right[np.argsort(-entropy, kind="stable")]  # (m,) most ambiguous first
    rank = np.zeros(len(order), dtype=np.intp)  # within its class: 0 for the most ambiguous
    for k in np.unique(labels[order]):
        of_class = labels[order] == k
        rank[of_class] = np.arange(np.count_nonzero(of_class))
    chosen = order[np.argsort(rank, kind="stable")][:count]
    return chosen[np.argsort(labels[chosen], kind="stable")]


@rc_context(STYLE)
def gradient_ratio(yours: NDArray[Any], truth: NDArray[Any], name: str = "gradient") -> Figure:
    """Draw yours / truth against the truth, a point an element: what a wrong gradient is wrong by, at a glance.

    A right gradient lies on the line at 1, one with a factor too many on another; one that lacks a term is a cloud.
    Elements whose truth is zero have no ratio and are left out, as the title says.

    Args: yours and truth, of one shape, float; name, what the gradient is called, for the axes.
    Returns: a Figure with one panel.
    Raises: ValueError for two shapes, or a truth that is not finite.

    >>> figure = gradient_ratio(np.array([2.0, -1.0]), np.array([1.0, -0.5]))
    >>> figure.axes[0].collections[0].get_offsets().tolist()
    [[1.0, 2.0], [-0.5, 2.0]]
    """
    yours, truth = np.asarray(yours, float), np.asarray(truth, float)
    if yours.shape != truth.shape:
        raise ValueError(f"yours must have the truth's shape, {truth.shape}, got {yours.shape}: mend that first")
    if not np.all(np.isfinite(truth)):
        raise ValueError("truth must be finite: choose arguments at which the gradient exists")
    kept = (truth != 0) & np.isfinite(yours)
    x, ratio = truth[kept], yours[kept] / truth[kept]
    right = np.abs(ratio - 1) < 1e-6  # what the eye cannot tell from 1, in any case

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panel = figure.add_subplot()
    panel.axhline(1.0, color=OTHER_WRONG, linewidth=1.5, zorder=0)
    panel.axhline(0.0, color=OTHER_WRONG, linewidth=1.5, linestyle=":", zorder=0)
    for those, colour, marker in ((right, TRUE_CLASS, "o"), (~right, LIKELIEST_WRONG, "D")):  # form as well as colour
        if np.any(those):
            panel.scatter(x[those], ratio[those], color=colour, marker=marker, s=30)
    if np.max(np.abs(ratio), initial=0.0) > 20:
        panel.set_yscale("symlog", linthresh=2)
    panel.set(xlabel=f"the true {name}", ylabel="yours / truth")
    left_out = f", {kept.size - np.count_nonzero(kept)} left out" if not np.all(kept) else ""
    panel.set_title(f"{name}: {np.count_nonzero(right)} of {kept.size} elements right{left_out}", loc="left")
    return figure


@rc_context(STYLE)
def save(figure: Figure, path: str | os.PathLike[str], source: str | None = None) -> None:
    """Write `figure` as a PNG of 150 dots an inch: the whole file or nothing, and the same bytes each time.

    Args: source, a name for the numbers it shows, kept in the file as its text "Source".
    Raises: ValueError for a path that does not end in .png.
    """
    if not os.fspath(path).endswith(".png"):
        raise ValueError(f"path must end in .png, the only format written, got {os.fspath(path)!r}: rename it")
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})  # no version, no date
    colours = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)  # a third of the size
    about = PngImagePlugin.PngInfo()
    if source is not None:
        about.add_text("Source", source)
    colours.save(packed, format="png", dpi=(DPI, DPI), optimize=True, pnginfo=about)
    write_atomically(path, packed.getvalue())


def _columns(name: str, records: Sequence[Mapping[str, float]]) -> tuple[NDArray[np.float64], ...]:
    """Return the columns epoch, cost and errors of one network's records, checked; each (epochs,)."""
    if not records:
        raise ValueError(
            f"each network must have at least one record, got none for {name!r}: train it, or leave it out"
        )
    for number, record in enumerate(records, start=1):
        for key in ("epoch", "cost", "errors"):
            if key not in record:
                raise ValueError(
                    f"each record must have {key!r}, got {sorted(record)} in record {number} of {name!r}: add it"
                )
            if not np.isfinite(record[key]):
                raise ValueError(
                    f"{key} must be finite, got {record[key]} in record {number} of {name!r}: "
                    "drop the records from where training diverged"
                )
    return tuple(np.array([record[key] for record in records], dtype=float) for key in ("epoch", "cost", "errors"))


def _check(labels: ArrayLike, logits: ArrayLike) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return labels (n,) and logits (n, K) as int and float64, or raise ValueError where they do not fit."""
    labels, logits = np.asarray(labels), np.asarray(logits)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"logits must have shape (n, K) with K ≥ 2, got {logits.shape}: one row an example")
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be ints of shape ({len(logits)},) as logits has rows, got {labels.dtype} {labels.shape}: "
            "pass one class an example"
        )
    K = logits.shape[1]
    outside = labels[(labels < 0) | (labels >= K)]
    if len(outside):
        raise ValueError(
            f"labels must be from 0 to K − 1 = {K - 1}, got {outside[0]}: pass labels and logits of the same classes"
        )
    if not np.all(np.isfinite(logits)):
        bad = int(np.flatnonzero(~np.isfinite(logits).all(axis=-1))[0])
        raise ValueError(f"logits must be finite, got {logits[bad]} for example {bad}: the teacher has diverged")
    return labels.astype(np.intp), logits.astype(np.float64)


def _scale_y(panel: Axes, values: NDArray[np.float64]) -> None:
    """Scale the y axis by logarithms with a few plain numbers at its ticks, or linearly if a value is not positive."""
    lowest, highest = np.min(values), np.max(values)
    if lowest <= 0:
        return
    panel.set_yscale("log")
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for least_ratio, subs in ((100, (1,)), (10, (1, 2, 5)), (3, (1, 1.5, 2, 3, 5, 7))):
        if highest / lowest >= least_ratio:
            panel.yaxis.set_major_locator(LogLocator(subs=subs))
            return
    panel.yaxis.set_major_locator(MaxNLocator(4))  # so narrow that logarithms are all but linear


def _label_ends(panel: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Write each line's final value and name at the panel's right edge, none over another, joined to the line's end."""
    panel.set_xlim(panel.get_xlim())  # what comes now must not move the axes
    panel.set_ylim(panel.get_ylim())
    to_share = panel.transScale + panel.transLimits  # from (epoch, errors) to shares of the panel's width and height
    heights = {name: float(to_share.transform(end)[1]) for name, end in ends.items()}
    names = sorted(ends, key=lambda name: heights[name])
    for below, above in pairwise(names):
        heights[above] = max(heights[above], heights[below] + LABEL_GAP)
    too_high = max(0.0, heights[names[-1]] - 1.0)
    for name in names:
        epoch, errors = ends[name]
        panel.plot(epoch, errors, "o", color=colours[name])
        panel.annotate(
            f"{errors:,g}  {name}",
            xy=(epoch, errors),
            xytext=(1.03, heights[name] - too_high),
            textcoords="axes fraction",
            color=colours[name],
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "linestyle": ":", "color": colours[name], "relpos": (0, 0.5)},
        )


def _draw_example(
    panels: Sequence[Axes],
    image: NDArray[np.uint8],
    label: int,
    z: NDArray[np.float64],
    sharp: NDArray[np.float64],
    soft: NDArray[np.float64],
    T: float,
) -> None:
    """Draw a row of `dark_knowledge`: an image, its probabilities at T = 1 and at T, and what to look at in them."""
    K = len(z)
    wrong = [int(k) for k in np.argsort(-z, kind="stable") if k != label]  # likeliest first
    likeliest, least = wrong[0], wrong[-1]
    colours = [OTHER_WRONG] * K
    colours[label], colours[likeliest] = TRUE_CLASS, LIKELIEST_WRONG

    panels[0].imshow(image, cmap="gray_r", vmin=0, vmax=255)
    panels[0].set_axis_off()
    for panel, q in ((panels[1], sharp), (panels[2], soft)):
        panel.bar(np.arange(K), q, color=colours)
        panel.set_xticks(range(0, K, -(-K // 10)))  # every class, or about ten of many
        panel.set_ylabel("probability")

    lines = [(f"true class: {label}", TRUE_CLASS), (f"likeliest wrong answer: {likeliest}", LIKELIEST_WRONG)]
    if least != likeliest:
        gap = float(z[likeliest] - z[least])  # q_likeliest/q_least = exp(gap/T)
        lines += [(f"likelier than {least}, the least likely,", "black")]
        lines += [(f"{_times(gap)} at T = 1,", "black"), (f"{_times(gap / T)} at T = {T:g}", "black")]
    panels[3].set_axis_off()
    for i, (line, colour) in enumerate(lines):
        panels[3].text(0, 0.95 - 0.225 * i, line, color=colour, va="center", transform=panels[3].transAxes)


def _times(log_ratio: float) -> str:
    """Return exp(log_ratio) in words: '3.2 times', '450 times', '6 × 10⁷ times'; however large, nothing overflows."""
    power = log_ratio / math.log(10)
    if power < 4:
        ratio = 10**power
        return f"{ratio:,.{1 if ratio < 10 else 0}f} times"
    mantissa, exponent = round(10 ** (power % 1)), int(power)
    if mantissa == 10:
        mantissa, exponent = 1, exponent + 1
    return f"{mantissa} × 10{str(exponent).translate(SUPERSCRIPTS)} times"
