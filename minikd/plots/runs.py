"""Several runs of the same thing, one dot per run, and one more run beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minikd.plots.canvas import OKABE_ITO, Figure, legend, side_by_side, style
from minikd.theory.statistics import Interval


@style()
def dots(
    runs: Mapping[str, Sequence[float]],
    yours: Mapping[str, float],
    ylabel: str,
    title: str = "",
    *,
    limits: Mapping[str, Interval],
) -> Figure:
    """Draw one dot per run in a column per name, and your own run as a diamond on a bar where it may lie.

    Args:
        runs: maps names to the numbers of several runs.
        yours: maps the same names to the number of your run.
        ylabel: of the y axis.
        title: of the panel.
        limits: maps the same names to where your number may lie.

    Returns:
        A Figure with one panel.

    Raises:
        ValueError: if the names differ.

    >>> limits = {"alone": Interval(145, 130, 160), "distilled": Interval(100, 90, 110)}
    >>> runs = {"alone": [140, 150], "distilled": [100, 99]}
    >>> figure = dots(runs, {"alone": 145, "distilled": 98}, "errors", limits=limits)
    >>> figure.axes[0].get_ylabel()
    'errors'
    """
    if not list(runs) == list(yours) == list(limits):
        raise ValueError(
            f"runs, yours and limits must have the same names, got {list(runs)}, {list(yours)} and {list(limits)}"
        )
    figure, (panel,) = side_by_side(1, 2 + 2.2 * len(runs), 4.2)
    for i, (name, numbers) in enumerate(runs.items()):
        beside = i - 0.1 + 0.03 * (np.arange(len(numbers)) % 3 - 1)  # equal numbers stay apart
        panel.scatter(beside, numbers, s=40, color=OKABE_ITO[0], alpha=0.7, label="minikd" if i == 0 else None)
        panel.text(i + 0.2, yours[name], f"{yours[name]:,.0f}", va="center")
    for i, (_, low, high) in enumerate(limits.values()):
        label = "one more run lies here" if i == 0 else None
        panel.bar(i + 0.1, high - low, 0.16, bottom=low, color="#DDDDDD", zorder=0, label=label)
    for i, name in enumerate(runs):
        panel.scatter(i + 0.1, yours[name], s=90, color=OKABE_ITO[1], marker="D", label="yours" if i == 0 else None)
    panel.set_xticks(range(len(runs)), list(runs))
    panel.set(xlim=(-0.5, len(runs) - 0.5), ylabel=ylabel)
    panel.use_sticky_edges = False  # of the bars: room below the lowest one
    panel.margins(y=0.15)
    legend(panel)
    panel.set_title(title, loc="left")
    return figure
