"""Several runs of the same thing, one dot per run, and one more run beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from minikd.plots.canvas import OKABE_ITO, Figure, legend, side_by_side, style


@style()
def dots(runs: Mapping[str, Sequence[float]], yours: Mapping[str, float], ylabel: str, title: str = "") -> Figure:
    """Draw one dot per run in a column per name, and your own run as a diamond beside them.

    Args:
        runs: maps names to the numbers of several runs.
        yours: maps the same names to the number of your run.
        ylabel: of the y axis.
        title: of the panel.

    Returns:
        A Figure with one panel.

    Raises:
        ValueError: if the names differ.

    >>> figure = dots({"alone": [140, 150], "distilled": [100, 99]}, {"alone": 145, "distilled": 98}, "errors")
    >>> [len(column.get_offsets()) for column in figure.axes[0].collections]
    [2, 2, 1, 1]
    """
    if list(runs) != list(yours):
        raise ValueError(f"runs and yours must have the same names, got {list(runs)} and {list(yours)}")
    figure, (panel,) = side_by_side(1, 2 + 2.2 * len(runs), 4.2)
    for i, (name, numbers) in enumerate(runs.items()):
        beside = i - 0.1 + 0.03 * (np.arange(len(numbers)) % 3 - 1)  # equal numbers stay apart
        panel.scatter(beside, numbers, s=40, color=OKABE_ITO[0], alpha=0.7, label="minikd" if i == 0 else None)
        panel.text(i + 0.2, yours[name], f"{yours[name]:,.0f}", va="center")
    for i, name in enumerate(runs):
        panel.scatter(i + 0.1, yours[name], s=90, color=OKABE_ITO[1], marker="D", label="yours" if i == 0 else None)
    panel.set_xticks(range(len(runs)), list(runs))
    panel.set(xlim=(-0.5, len(runs) - 0.5), ylabel=ylabel)
    panel.margins(y=0.15)
    legend(panel)
    panel.set_title(title, loc="left")
    return figure
