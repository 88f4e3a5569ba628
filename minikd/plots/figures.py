"""Every figure: learning curves, and the dark knowledge in a teacher's wrong answers.

Figures are made in the style of `minikd.plots.canvas`: neither a backend nor a user's matplotlibrc matters.
In a notebook, say `%matplotlib inline` once; a figure that ends a cell is then shown.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from minikd.plots.canvas import Figure, style  # before Matplotlib

# isort: split
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray
from PIL import Image, PngImagePlugin  # matplotlib needs it too

from minikd.core.softmax import softmax
from minikd.system.files import write_atomically
from minikd.training.answers import check_answers

# Okabe & Ito's colours, which the colour-blind tell apart too. Yellow is pale on white, so it comes last.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
TRUE_CLASS, LIKELIEST_WRONG, OTHER_WRONG = OKABE_ITO[0], OKABE_ITO[1], "#999999"

DASHES = ("-", "--", "-.", ":")

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
DPI = 150
LABEL_GAP = 0.055  # least distance between two labels at the lines' ends, as a share of the panel's height


@style()
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
    scale_y(left, np.concatenate([errors for _, _, errors in curves.values()]))
    left.set_title(f"Errors on the {evaluated_on} set, {left.get_yscale()} scale", loc="left")
    _label_ends(left, {name: (epoch[-1], errors[-1]) for name, (epoch, _, errors) in curves.items()}, colours)

    for row, (name, (epoch, cost, _)) in enumerate(curves.items()):
        panel = figure.add_subplot(grid[row, 1], sharex=left)
        panel.plot(epoch, cost, color=colours[name], linewidth=2, marker="o" if len(epoch) == 1 else None, label=name)
        panel.set_title(f"Training cost: {name}", loc="left", color=colours[name])
        panel.set_ylabel("nats a case")
        panel.tick_params(labelbottom=row == len(curves) - 1)
        scale_y(panel, cost)
    panel.set_xlabel("epoch")
    return figure


@style()
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
    labels, logits = check_answers(labels, logits)
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
        panel.set_ylim(floor / 2, 1)
    for panel in panels[:, 2]:
        panel.set_ylim(0, min(1, 1.05 * np.max(soft)))
    panels[0, 1].set_title("at T = 1, log scale", loc="left")
    panels[0, 2].set_title(f"at T = {T:g}, linear scale", loc="left")
    for panel in panels[-1, 1:3]:
        panel.set_xlabel("class")
    return figure


@style()
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


# ---- for the notebooks -----------------------------------------------------------------------------------------------


@style()
def digits(images: NDArray[np.uint8], captions: Sequence[str] = (), columns: int = 10, title: str = "") -> Figure:
    """Draw images in a grid, each with its caption below.

    Args: images (n, rows, cols) uint8, 0 for background; captions, n of them or none; columns, of the grid.
    Returns: a Figure; its first n axes are the images in order.
    Raises: ValueError for images of another shape or dtype, or captions that are not n.

    >>> [panel.get_title() for panel in digits(np.zeros((2, 28, 28), np.uint8), ["a 3", "a 5"]).axes]
    ['a 3', 'a 5']
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) == 0:
        raise ValueError(
            f"images must be uint8 of shape (n, rows, cols) with n > 0, got {images.dtype} {images.shape}: "
            "pass the raw images"
        )
    if captions and len(captions) != len(images):
        raise ValueError(f"captions must be one an image, {len(images)}, or none, got {len(captions)}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(max(columns, 4), 0.4 * bool(title) + rows * (1 + 0.3 * bool(captions))))
    figure.set_layout_engine("constrained")
    for i, image in enumerate(images):
        panel = figure.add_subplot(rows, columns, i + 1)
        panel.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        panel.set_axis_off()
        if captions:
            panel.set_title(captions[i], y=-0.3, fontsize=10)
    if title:
        figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


@style()
def distributions(
    rows: Mapping[str, NDArray[Any]],
    true_class: int | None = None,
    image: NDArray[np.uint8] | None = None,
    log: bool = False,
    title: str = "",
    ylabel: str = "probability",
) -> Figure:
    """Draw distributions over the same classes side by side, on one axis of probability.

    The true class and the likeliest wrong one have the colours that they have in `dark_knowledge`.

    Args: rows, a name -> probabilities (K,); image, drawn to the left; log, whether the axis is logarithmic.
    Returns: a Figure; its axes are the image, if there is one, and the charts in the order of `rows`.
    Raises: ValueError for no rows, or distributions of several lengths.

    >>> figure = distributions({"T = 1": np.array([0.9, 0.1]), "T = 8": np.array([0.6, 0.4])}, true_class=0)
    >>> [[round(float(bar.get_height()), 2) for bar in panel.patches] for panel in figure.axes]
    [[0.9, 0.1], [0.6, 0.4]]
    """
    shapes = {np.shape(q) for q in rows.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"rows must be distributions over the same K classes, each (K,), got shapes {sorted(shapes)}")
    charts = list(rows)
    ratios = [0.5] * (image is not None) + [1.0] * len(charts)
    height = 3 + 0.3 * bool(title) + 0.3 * (true_class is not None)
    figure = Figure(figsize=(min(3 + 3 * len(charts), 13), height), layout="constrained")
    panels = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0].tolist()
    if image is not None:
        panels[0].imshow(image, cmap="gray_r", vmin=0, vmax=255)
        panels[0].set_axis_off()
    lowest = min(float(np.min(q[q > 0])) for q in map(np.asarray, rows.values()))
    for panel, name in zip(panels[-len(charts) :], charts, strict=True):
        q = np.asarray(rows[name], float)
        colours = [OTHER_WRONG] * len(q)
        if true_class is not None:
            likeliest = next(int(k) for k in np.argsort(-q, kind="stable") if k != true_class)
            colours[true_class], colours[likeliest] = TRUE_CLASS, LIKELIEST_WRONG
        panel.bar(np.arange(len(q)), q, color=colours)
        panel.set_xticks(range(0, len(q), -(-len(q) // 10)))
        panel.set(xlabel="class", yscale="log" if log else "linear")
        panel.set_ylim((lowest / 3, 1) if log else (0, min(1, 1.05 * max(float(np.max(q)) for q in rows.values()))))
        if log:
            panel.yaxis.set_major_locator(LogLocator(numticks=6))
            panel.yaxis.set_minor_locator(NullLocator())
        panel.set_title(name, loc="left")
    panels[-len(charts)].set_ylabel(ylabel + ", log scale" * log)
    if true_class is not None:
        key = [Patch(color=TRUE_CLASS, label="the true class"), Patch(color=LIKELIEST_WRONG, label="the highest other")]
        figure.legend(handles=key, loc="outside lower center", ncols=2, frameon=False, fontsize=10)
    if title:
        figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


@style()
def curves(
    x: ArrayLike,
    series: Mapping[str, Any],
    xlabel: str,
    ylabel: str,
    title: str = "",
    logx: bool = False,
    logy: bool = False,
    marks: Mapping[str, float] | None = None,
    horizontals: Mapping[str, float] | None = None,
) -> Figure:
    """Draw a line for each name, told apart by colour and by dashes, with marked places on both axes.

    If x has few values, each has its dot and its tick.

    Args: x (n,); series, a name -> y (n,), or a pair (mean, sd), drawn with a band; marks, a name -> x of a vertical
        line; horizontals, a name -> y of a horizontal one.
    Returns: a Figure with one panel; its first lines are the series in order.
    Raises: ValueError for no series, or one that has not n values.

    >>> figure = curves([1, 2], {"a": [3, 4], "b": ([5, 6], [1, 1])}, xlabel="T", ylabel="errors", marks={"here": 1.5})
    >>> [line.get_ydata().tolist() for line in figure.axes[0].lines[:2]]
    [[3.0, 4.0], [5.0, 6.0]]
    """
    x = np.asarray(x, float)
    if not series:
        raise ValueError("series must name at least one line, got none: pass {name: y}")
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    panel = figure.add_subplot()
    few = len(x) <= 12
    for i, (name, y) in enumerate(series.items()):
        mean, sd = y if isinstance(y, tuple) else (y, None)
        mean = np.asarray(mean, float)
        if mean.shape != x.shape or (sd is not None and np.shape(sd) != x.shape):
            raise ValueError(f"each series must have the {x.shape} values of x, got {mean.shape} for {name!r}")
        look: Any = {"color": OKABE_ITO[i % len(OKABE_ITO)], "linewidth": 2.2, "marker": "o" if few else None}
        panel.plot(x, mean, DASHES[i % len(DASHES)], label=name, **look)
        if sd is not None:
            sd = np.asarray(sd, float)
            panel.fill_between(x, mean - sd, mean + sd, color=OKABE_ITO[i % len(OKABE_ITO)], alpha=0.2, linewidth=0)
    panel.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    if few:
        panel.set_xticks(x, [f"{value:g}" for value in x])
        panel.xaxis.set_minor_locator(NullLocator())
    elif logx and 3 < x.max() / x.min() <= 1e3:
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for name, at in (marks or {}).items():
        panel.axvline(at, color="black", linewidth=1, linestyle=":")
        panel.annotate(
            name, (at, 1), xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points", ha="center",
            fontsize=10,
        )  # fmt: skip
    for name, at in (horizontals or {}).items():  # named beside the panel, where no line can cross the name
        panel.axhline(at, color="black", linewidth=1, linestyle="--")
        panel.annotate(
            name, (1, at), xycoords=("axes fraction", "data"), xytext=(5, 0), textcoords="offset points", va="center",
            fontsize=10,
        )  # fmt: skip
    if len(series) > 1 or horizontals:
        panel.legend(frameon=False, fontsize=10)
    panel.set_title(title, loc="left", pad=20 if marks else None)
    return figure


@style()
def bars(
    values: Mapping[str, float],
    ylabel: str,
    spread: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw one bar per name with its value above it, ± its spread, and a dash at a reference such as the paper's.

    Each bar has its own colour as far as the colours go; more bars than colours are of one colour.

    Args: values, a name -> a number; spread and reference, of some of these names.
    Returns: a Figure with one panel.
    Raises: ValueError for no values, or a spread or reference of a name that has none.

    >>> figure = bars({"alone": 140.0, "distilled": 100.0}, "test errors", reference={"alone": 146})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['140', '100']
    """
    spread, reference = spread or {}, reference or {}
    unknown = {*spread, *reference} - set(values)
    if not values or unknown:
        raise ValueError(f"spread and reference must be of names in values, {list(values)}, got {sorted(unknown)}")
    figure = Figure(figsize=(min(2.5 + 1.6 * len(values), 12), 4.2), layout="constrained")
    panel = figure.add_subplot()
    for i, (name, value) in enumerate(values.items()):
        panel.bar(i, value, color=OKABE_ITO[i if len(values) <= len(OKABE_ITO) else 0], width=0.65)
        if name in spread:
            panel.errorbar(i, value, yerr=spread[name], color="black", capsize=5)
        panel.text(i, value + spread.get(name, 0.0), _brief(value), ha="center", va="bottom")
        if name in reference:
            panel.plot([i - 0.4, i + 0.4], [reference[name]] * 2, color="black", linewidth=3, label="the paper's")
    panel.set_xticks(range(len(values)), list(values))
    panel.set_ylabel(ylabel)
    panel.margins(y=0.12)
    if reference:
        panel.legend(*(part[:1] for part in panel.get_legend_handles_labels()), frameon=False, fontsize=10)
    panel.set_title(title, loc="left")
    return figure


@style()
def network_diagram(
    layers: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    activations: Sequence[NDArray[Any]] = (),
    gradients: Sequence[tuple[NDArray[Any], NDArray[Any]]] = (),
    title: str = "",
) -> Figure:
    """Draw a network of a few units a layer: a unit's value in its circle, a weight on its line, its gradient below.

    Weights are blue where positive and orange, dashed, where negative; lines are as thick as the weights are large.

    Args: layers [(W (D, H), b (H,)), …]; activations, a vector a layer from the inputs to the logits, or none;
        gradients [(dW, db), …] of the same shapes, or none.
    Raises: ValueError for a layer of more than eight units, or shapes that do not fit.

    >>> W, b = np.array([[0.5, -0.25]]), np.zeros(2)
    >>> figure = network_diagram([(W, b)], activations=[np.array([2.0]), np.array([1.0, -0.5])])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.50', '-0.25', '2.00', '1.00', '-0.50', 'x', 'z']
    """
    sizes = [np.shape(layers[0][0])[0], *[np.shape(W)[1] for W, _ in layers]]
    shapes = [np.shape(value) for value in activations]
    if max(sizes) > 8 or (shapes and shapes != [(n,) for n in sizes]):
        raise ValueError(f"a diagram is of at most 8 units a layer, with a value each, got {sizes} and values {shapes}")
    if gradients and [np.shape(dW) for dW, _ in gradients] != [np.shape(W) for W, _ in layers]:
        raise ValueError("gradients must be one (dW, db) a layer, of the shapes of (W, b)")
    figure = Figure(figsize=(10, 1.2 + 1.15 * max(sizes)), layout="constrained")
    panel = figure.add_subplot()
    panel.set_axis_off()
    place = [[(3.2 * i, (n - 1) / 2 - j) for j in range(n)] for i, n in enumerate(sizes)]
    largest = max(float(np.max(np.abs(W))) for W, _ in layers) or 1.0
    for i, (W, _) in enumerate(layers):
        for (d, h), w in np.ndenumerate(W):
            (x0, y0), (x1, y1) = place[i][d], place[i + 1][h]
            colour, style = (OKABE_ITO[0], "-") if w >= 0 else (OKABE_ITO[1], "--")
            panel.plot([x0, x1], [y0, y1], style, color=colour, linewidth=0.5 + 3 * abs(w) / largest, zorder=1)
            at = (
                0.2 + 0.14 * h if sizes[i + 1] > 1 else 0.4
            )  # staggered, so that crossing lines keep their numbers apart
            words = f"{w:.2f}" + (f"\n{gradients[i][0][d, h]:+.2f}" if gradients else "")
            panel.text(
                x0 + at * (x1 - x0), y0 + at * (y1 - y0), words, ha="center", va="center", fontsize=8, zorder=2,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
            )  # fmt: skip
    for i, units in enumerate(place):
        for j, (x, y) in enumerate(units):
            panel.plot(x, y, "o", markersize=36, markerfacecolor="white", markeredgecolor="black", zorder=3)
            if activations:
                panel.text(x, y, f"{activations[i][j]:.2f}", ha="center", va="center", fontsize=10, zorder=4)
    names = ["x", *[f"h{i}" if len(sizes) > 3 else "h" for i in range(1, len(sizes) - 1)], "z"]
    for i, name in enumerate(names):
        panel.text(3.2 * i, max(sizes) / 2 + 0.25, name, ha="center", fontsize=13)
    panel.set(xlim=(-0.6, 3.2 * (len(sizes) - 1) + 0.6), ylim=(-max(sizes) / 2 - 0.1, max(sizes) / 2 + 0.5))
    panel.set_title(title, loc="left")
    return figure


# ---- files and parts ------------------------------------------------------------------------------------------------


@style()
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


def scale_y(panel: Axes, values: ArrayLike) -> None:
    """Scale the y axis by logarithms with a few plain numbers at its ticks, or linearly if a value is not positive."""
    lowest, highest = np.min(values), np.max(values)
    if lowest <= 0:
        return
    panel.set_yscale("log")
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    for least_ratio, subs in ((1000, (1,)), (100, (1, 3)), (10, (1, 2, 5)), (3, (1, 1.5, 2, 3, 5, 7))):
        if highest / lowest >= least_ratio:
            panel.yaxis.set_major_locator(LogLocator(subs=subs))
            return
    panel.yaxis.set_major_locator(MaxNLocator(7))  # so narrow that logarithms are all but linear


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


def _brief(value: float) -> str:
    """Return a value as it stands above a bar, with three digits or all before the point: '4.34', '441', '1,329'."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


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
