"""The ratio of a gradient to the truth, element by element."""

from __future__ import annotations

import numpy as np

from minikd.plots.canvas import LIKELIEST_WRONG, OTHER_WRONG, TRUE_CLASS, Figure, Floats, side_by_side, style


@style()
def gradient_ratio(yours: Floats, truth: Floats, name: str = "gradient") -> Figure:
    """Draw yours / truth against the truth, one point per element, to show at a glance how a gradient is wrong.

    A right gradient lies on the line at 1. A gradient with an extra factor lies on another line. A gradient that lacks
    a term is a cloud. Elements whose truth is zero have no ratio and are left out, as the title says.

    Args:
        yours: float, the gradient to look at.
        truth: float, of the same shape.
        name: what the gradient is called, for the axes.

    Returns:
        A Figure with one panel.

    Raises:
        ValueError: if the shapes differ, or the truth is not finite.

    >>> figure = gradient_ratio(np.array([2.0, -1.0]), np.array([1.0, -0.5]))
    >>> figure.axes[0].collections[0].get_offsets().tolist()
    [[1.0, 2.0], [-0.5, 2.0]]
    """
    yours, truth = np.asarray(yours, float), np.asarray(truth, float)
    if yours.shape != truth.shape:
        raise ValueError(f"yours must have the truth's shape, {truth.shape}, got {yours.shape}: fix that first")
    if not np.all(np.isfinite(truth)):
        raise ValueError("truth must be finite: choose arguments at which the gradient exists")
    kept = (truth != 0) & np.isfinite(yours)
    x, ratio = truth[kept], yours[kept] / truth[kept]
    right = np.abs(ratio - 1) < 1e-6  # what the eye cannot tell from 1, in any case

    figure, (panel,) = side_by_side(1, 7, 4.5)
    panel.axhline(1.0, color=OTHER_WRONG, linewidth=1.5, zorder=0)
    panel.axhline(0.0, color=OTHER_WRONG, linewidth=1.5, linestyle=":", zorder=0)
    for those, colour, marker in ((right, TRUE_CLASS, "o"), (~right, LIKELIEST_WRONG, "D")):  # shape as well as colour
        if np.any(those):
            panel.scatter(x[those], ratio[those], color=colour, marker=marker, s=30)
    if np.max(np.abs(ratio), initial=0.0) > 20:
        panel.set_yscale("symlog", linthresh=2)
    panel.set(xlabel=f"the true {name}", ylabel="yours / truth")
    left_out = f", {kept.size - np.count_nonzero(kept)} left out" if not np.all(kept) else ""
    panel.set_title(f"{name}: {np.count_nonzero(right)} of {kept.size} elements right{left_out}", loc="left")
    return figure
