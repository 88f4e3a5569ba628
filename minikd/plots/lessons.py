"""What the notebooks draw: digits, distributions over classes, curves, bars, and a network with its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from minikd.plots import canvas
from minikd.plots.canvas import DASHES, LIKELIEST_WRONG, OKABE_ITO, TRUE_CLASS, Figure, Floats, Images, style


@style()
def digits(images: Images, captions: Sequence[str] = (), columns: int = 10, title: str = "") -> Figure:
    """Draw images in a grid, each with its caption below.

    Args:
        images: (n, rows, cols) uint8, 0 for background.
        captions: one per image, or none.
        columns: of the grid.
        title: of the figure.

    Returns:
        A Figure. Its first n axes are the images in order.

    Raises:
        ValueError: if the images have another shape or dtype, or the number of captions is wrong.

    >>> [panel.get_title() for panel in digits(np.zeros((2, 28, 28), np.uint8), ["a 3", "a 5"]).axes]
    ['a 3', 'a 5']
    """
    images = canvas.check_images(images)
    if captions and len(captions) != len(images):
        raise ValueError(f"captions must be one per image, {len(images)}, or none, got {len(captions)}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = 0.4 * bool(title) + rows * (1 + 0.3 * bool(captions))
    figure = Figure(figsize=(max(columns, 4), height), layout="constrained")
    for i, image in enumerate(images):
        panel = figure.add_subplot(rows, columns, i + 1)
        canvas.show_image(panel, image)
        if captions:
            panel.set_title(captions[i], y=-0.3, fontsize=10)
    if title:
        figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


@style()
def distributions(
    rows: Mapping[str, Floats],
    true_class: int | None = None,
    image: Images | None = None,
    log: bool = False,
    title: str = "",
    ylabel: str = "probability",
) -> Figure:
    """Draw distributions over the same classes side by side, on one axis of probability.

    The true class and the likeliest wrong one have the colours that they have in `dark_knowledge`.

    Args:
        rows: maps names to probabilities (K,).
        true_class: 0 … K − 1, or None to colour no class.
        image: drawn to the left, or None.
        log: whether the axis is logarithmic.
        title: of the figure.
        ylabel: of the axis.

    Returns:
        A Figure. Its axes are the image, if there is one, and the charts in the order of `rows`.

    Raises:
        ValueError: if there are no rows, or the distributions differ in length.

    >>> figure = distributions({"T = 1": np.array([0.9, 0.1]), "T = 8": np.array([0.6, 0.4])}, true_class=0)
    >>> [[round(float(bar.get_height()), 2) for bar in panel.patches] for panel in figure.axes]
    [[0.9, 0.1], [0.6, 0.4]]
    """
    shapes = {np.shape(q) for q in rows.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ValueError(f"rows must be distributions over the same K classes, each (K,), got shapes {sorted(shapes)}")
    together = np.array(list(rows.values()), float)  # (rows, K)
    ratios = [0.5] * (image is not None) + [1.0] * len(rows)
    height = 3 + 0.3 * bool(title) + 0.3 * (true_class is not None)
    figure, panels = canvas.side_by_side(len(ratios), min(3 + 3 * len(rows), 13), height, width_ratios=ratios)
    if image is not None:
        canvas.show_image(panels[0], image)
    charts = panels[-len(rows) :]
    for panel, name, q in zip(charts, rows, together, strict=True):
        canvas.draw_classes(panel, q, true_class)
        panel.set_xlabel("class")
        if log:
            canvas.log_y(panel, ticks=6)
        panel.set_ylim((np.min(together[together > 0]) / 3, 1) if log else (0, min(1, 1.05 * np.max(together))))
        panel.set_title(name, loc="left")
    charts[0].set_ylabel(ylabel + ", log scale" * log)
    if true_class is not None:
        names = {TRUE_CLASS: "the true class", LIKELIEST_WRONG: "the highest other"}
        key = [Patch(color=colour, label=name) for colour, name in names.items()]
        figure.legend(handles=key, loc="outside lower center", ncols=2)
    if title:
        figure.suptitle(title, x=0.01, horizontalalignment="left")
    return figure


@style()
def curves(
    x: ArrayLike,
    series: Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]],
    xlabel: str,
    ylabel: str,
    title: str = "",
    logx: bool = False,
    logy: bool = False,
    marks: Mapping[str, float] | None = None,
    horizontals: Mapping[str, float] | None = None,
) -> Figure:
    """Draw one line per name, told apart by colour and by dashes, with marked places on both axes.

    If x has few values, each value has a dot and a tick.

    Args:
        x: (n,).
        series: maps names to y (n,), or to a tuple (mean, sd), which is drawn with a band.
        xlabel: of the x axis.
        ylabel: of the y axis.
        title: of the panel.
        logx: whether the x axis is logarithmic.
        logy: whether the y axis is logarithmic.
        marks: maps names to the x of vertical lines.
        horizontals: maps names to the y of horizontal lines.

    Returns:
        A Figure with one panel. Its first lines are the series in order.

    Raises:
        ValueError: if there are no series, or one does not have n values.

    >>> figure = curves([1, 2], {"a": [3, 4], "b": ([5, 6], [1, 1])}, xlabel="T", ylabel="errors", marks={"here": 1.5})
    >>> [line.get_ydata().tolist() for line in figure.axes[0].lines[:2]]
    [[3.0, 4.0], [5.0, 6.0]]
    """
    x = np.asarray(x, float)
    if not series:
        raise ValueError("series must name at least one line, got none: pass {name: y}")
    figure, (panel,) = canvas.side_by_side(1, 10, 4.6)
    few = len(x) <= 12
    for i, (name, y) in enumerate(series.items()):
        mean, sd = (np.asarray(part, float) for part in (y if isinstance(y, tuple) else (y, np.zeros_like(x))))
        if mean.shape != x.shape or sd.shape != x.shape:
            raise ValueError(f"each series must have the {x.shape} values of x, got {mean.shape} for {name!r}")
        colour, dashes, marker = OKABE_ITO[i % len(OKABE_ITO)], DASHES[i % len(DASHES)], "o" if few else None
        panel.plot(x, mean, dashes, label=name, color=colour, linewidth=2.2, marker=marker)
        if isinstance(y, tuple):
            panel.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.2, linewidth=0)
    panel.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear", yscale="log" if logy else "linear")
    if few:
        panel.set_xticks(x, [f"{value:g}" for value in x])
        panel.xaxis.set_minor_locator(NullLocator())
    elif logx and 3 < x.max() / x.min() <= 1e3:
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    _mark(panel, marks or {}, horizontals or {})
    if len(series) > 1 or horizontals:
        panel.legend()
    panel.set_title(title, loc="left", pad=20 if marks else None)
    return figure


def _mark(panel: Axes, verticals: Mapping[str, float], horizontals: Mapping[str, float]) -> None:
    """Draw lines through marked places, and write their names beside the panel, where no curve can cross them."""
    for name, at in verticals.items():
        panel.axvline(at, color="black", linewidth=1, linestyle=":")
        above = ("data", "axes fraction")
        panel.annotate(name, (at, 1), (0, 3), above, textcoords="offset points", ha="center", fontsize=10)
    for name, at in horizontals.items():
        panel.axhline(at, color="black", linewidth=1, linestyle="--")
        beside = ("axes fraction", "data")
        panel.annotate(name, (1, at), (5, 0), beside, textcoords="offset points", va="center", fontsize=10)


@style()
def bars(
    values: Mapping[str, float],
    ylabel: str,
    spread: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Draw one bar per name with its value above it, ± its spread, and a dash at a reference such as the paper's.

    Args:
        values: maps names to numbers.
        ylabel: of the y axis.
        spread: maps some of these names to the half-length of an error bar.
        reference: maps some of these names to the paper's numbers.
        title: of the panel.

    Returns:
        A Figure with one panel.

    Raises:
        ValueError: if there are no values, or a spread or a reference has a name without a value.

    >>> figure = bars({"alone": 140.0, "distilled": 100.0}, "test errors", reference={"alone": 146})
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['140', '100']
    """
    spread, reference = spread or {}, reference or {}
    unknown = {*spread, *reference} - set(values)
    if not values or unknown:
        raise ValueError(f"spread and reference must be of names in values, {list(values)}, got {sorted(unknown)}")
    figure, (panel,) = canvas.side_by_side(1, min(2.5 + 1.6 * len(values), 12), 4.2)
    for i, (name, value) in enumerate(values.items()):
        panel.bar(i, value, color=OKABE_ITO[0], width=0.65)
        if name in spread:
            panel.errorbar(i, value, yerr=spread[name], color="black", capsize=5)
        words = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # at least three digits: 4.34, 441, 1,329
        panel.text(i, value + spread.get(name, 0.0), words, ha="center", va="bottom")
        if name in reference:
            panel.plot([i - 0.4, i + 0.4], [reference[name]] * 2, color="black", linewidth=3, label="the paper's")
    panel.set_xticks(range(len(values)), list(values))
    panel.set_ylabel(ylabel)
    panel.margins(y=0.12)
    if reference:
        canvas.legend(panel)
    panel.set_title(title, loc="left")
    return figure


@style()
def by_class(series: Mapping[str, ArrayLike], ylabel: str, xlabel: str = "class", title: str = "") -> Figure:
    """Draw numbers per class, one bar per class and series, side by side. The numbers may be negative.

    Args:
        series: maps names to numbers (K,).
        ylabel: of the y axis.
        xlabel: of the x axis.
        title: of the panel.

    Returns:
        A Figure with one panel.

    Raises:
        ValueError: if there are no series, or they differ in length.

    >>> figure = by_class({"soft": [0.5, -0.2], "hard": [1.0, -1.0]}, "change of the logit")
    >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
    [0.5, -0.2, 1.0, -1.0]
    """
    lengths = {np.shape(numbers) for numbers in series.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ValueError(f"series must be numbers of the same K classes, each (K,), got shapes {sorted(lengths)}")
    classes = np.arange(next(iter(lengths))[0])
    figure, (panel,) = canvas.side_by_side(1, 9, 3.6)
    width = 0.8 / len(series)
    for i, (name, numbers) in enumerate(series.items()):
        place = classes + (i - (len(series) - 1) / 2) * width
        panel.bar(place, np.asarray(numbers, float), width, color=OKABE_ITO[i], label=name)
    panel.axhline(0, color="black", linewidth=0.8)
    panel.set_xticks(classes)
    panel.set_xlabel(xlabel)
    panel.set_ylabel(ylabel)
    canvas.legend(panel)
    panel.set_title(title, loc="left")
    return figure


@style()
def network_diagram(
    layers: Sequence[tuple[Floats, Floats]],
    activations: Sequence[Floats] = (),
    gradients: Sequence[tuple[Floats, Floats]] = (),
    title: str = "",
) -> Figure:
    """Draw a network of a few units per layer, with each unit's value in its circle and each weight on its line.

    Positive weights are blue. Negative ones are orange and dashed. The larger a weight is, the thicker its line is. Its
    gradient is written below it.

    Args:
        layers: [(W (D, H), b (H,)), …].
        activations: one vector per layer, from the inputs to the logits, or none.
        gradients: [(dW, db), …] of the same shapes, or none.
        title: of the panel.

    Raises:
        ValueError: if a layer has more than eight units, or shapes do not match.

    >>> W, b = np.array([[0.5, -0.25]]), np.zeros(2)
    >>> figure = network_diagram([(W, b)], activations=[np.array([2.0]), np.array([1.0, -0.5])])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.50', '−0.25', '2.00', '1.00', '−0.50', 'x', 'z']
    """
    sizes = [np.shape(layers[0][0])[0], *[np.shape(W)[1] for W, _ in layers]]
    shapes = [np.shape(value) for value in activations]
    if max(sizes) > 8 or (shapes and shapes != [(n,) for n in sizes]):
        raise ValueError(
            f"a diagram must have at most 8 units per layer, and one value for each, got {sizes} and values {shapes}"
        )
    if gradients and [np.shape(dW) for dW, _ in gradients] != [np.shape(W) for W, _ in layers]:
        raise ValueError("gradients must be one (dW, db) per layer, of the shapes of (W, b)")
    figure, (panel,) = canvas.side_by_side(1, 10, 1.2 + 1.15 * max(sizes))
    panel.set_axis_off()
    place = [[(3.2 * i, (n - 1) / 2 - j) for j in range(n)] for i, n in enumerate(sizes)]
    largest = max(float(np.max(np.abs(W))) for W, _ in layers) or 1.0
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    for i, (W, _) in enumerate(layers):
        ends = {(d, h): np.array([place[i][d], place[i + 1][h]]) for d, h in np.ndindex(W.shape)}
        taken: list[Floats] = []
        for (d, h), w in np.ndenumerate(W):
            colour, dashes = (OKABE_ITO[0], "-") if w >= 0 else (OKABE_ITO[1], "--")
            panel.plot(*ends[d, h].T, dashes, color=colour, linewidth=0.5 + 3 * abs(w) / largest, zorder=1)
            x, y = _clear_place(ends[d, h], [line for of, line in ends.items() if of != (d, h)], taken)
            taken.append(np.array([x, y]))
            words = f"{w:.2f}" + (f"\n{gradients[i][0][d, h]:+.2f}" if gradients else "")
            panel.text(x, y, words, ha="center", va="center", fontsize=10, zorder=2, bbox=box)
    for i, units in enumerate(place):
        for j, (x, y) in enumerate(units):
            panel.plot(x, y, "o", markersize=36, markerfacecolor="white", markeredgecolor="black", zorder=3)
            if activations:
                panel.text(x, y, f"{activations[i][j]:.2f}", ha="center", va="center", fontsize=10, zorder=4)
    for text in panel.texts:
        text.set_text(text.get_text().replace("-", "−"))
    names = ["x", *[f"h{i}" if len(sizes) > 3 else "h" for i in range(1, len(sizes) - 1)], "z"]
    for i, name in enumerate(names):
        panel.text(3.2 * i, max(sizes) / 2 + 0.25, name, ha="center", fontsize=13)
    panel.set(xlim=(-0.6, 3.2 * (len(sizes) - 1) + 0.6), ylim=(-max(sizes) / 2 - 0.1, max(sizes) / 2 + 0.5))
    panel.set_title(title, loc="left")
    return figure


def _clear_place(line: Floats, others: Sequence[Floats], taken: Sequence[Floats]) -> Floats:
    """Return the point on a line (2, 2) that is farthest from the other lines and from the points that are taken."""
    points = line[0] + np.linspace(0.15, 0.85, 71)[:, None] * (line[1] - line[0])  # (71, 2)
    clear = [np.linalg.norm((points - point) / (2, 1.5), axis=-1) for point in taken]
    for start, end in others:
        share = np.clip((points - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)  # of the way, (71,)
        clear.append(np.linalg.norm(points - start - share[:, None] * (end - start), axis=-1))
    return np.asarray(points[np.argmax(np.min(clear, axis=0))] if clear else points[35])
