"""Learning curves: the errors and the training costs of several networks, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from minikd.plots.canvas import OKABE_ITO, Figure, scale_y, style

KEYS = ("epoch", "cost", "errors")
LABEL_GAP = 0.055  # least distance between two labels at the lines' ends, as a share of the panel's height


@style()
def learning_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], evaluated_on: str = "test") -> Figure:
    """Draw the errors of several networks against the epoch in one panel, and the training cost of each in its own.

    Each cost has its own panel, because the costs cannot be compared: a distillation cost carries T², and cannot fall
    below the entropy of the teacher's answers.

    Args:
        histories: maps each network's name to its records, one per epoch and in order. Each record has `epoch` (from
            1), `cost` (mean training cost, nats per case) and `errors` (wrong cases on the evaluated set). Other keys
            are not read.
        evaluated_on: the name of that set, for the axis.

    Returns:
        A Figure. Its axes are the errors, then the costs in the order of `histories`.

    Raises:
        ValueError: if there are no networks, a network has no records, a key is missing, or a value is not finite.

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
        panel.set_ylabel("nats per case")
        panel.tick_params(labelbottom=row == len(curves) - 1)
        scale_y(panel, cost)
    panel.set_xlabel("epoch")
    return figure


def _columns(name: str, records: Sequence[Mapping[str, float]]) -> tuple[NDArray[np.float64], ...]:
    """Return the columns epoch, cost and errors of one network's records, each (epochs,), after checking them."""
    if not records:
        raise ValueError(
            f"each network must have at least one record, got none for {name!r}: train it, or leave it out"
        )
    for number, record in enumerate(records, start=1):
        where = f"in record {number} of {name!r}"
        for key in KEYS:
            if key not in record:
                raise ValueError(f"each record must have {key!r}, got {sorted(record)} {where}: add it")
            if not np.isfinite(record[key]):
                raise ValueError(
                    f"{key} must be finite, got {record[key]} {where}: drop the records from where training diverged"
                )
    return tuple(np.array([record[key] for record in records], dtype=float) for key in KEYS)


def _label_ends(panel: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]) -> None:
    """Write each line's final value and name at the panel's right edge, without overlaps, joined to the line's end."""
    panel.set_xlim(panel.get_xlim())  # the labels must not move the axes
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
        place: Any = {"xytext": (1.03, heights[name] - too_high), "textcoords": "axes fraction", "va": "center"}
        leader = {"arrowstyle": "-", "linestyle": ":", "color": colours[name], "relpos": (0, 0.5)}
        panel.annotate(f"{errors:,g}  {name}", ends[name], color=colours[name], arrowprops=leader, **place)
