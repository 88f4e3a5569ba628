"""Sliders for the notebooks. Each notebook also shows a still picture of what a slider shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

STATIC = "MINIKD_STATIC"
"""The environment variable that says that no slider can be moved, as when the notebooks are executed."""


def explore(draw: Callable[..., Any], **choices: Sequence[float]) -> None:
    """Show what `draw` returns for the values at which the reader's sliders stand.

    Args:
        draw: takes the values by name, and returns a figure, or anything else that a notebook shows.
        **choices: the values of each slider, by its name. A slider begins at the first one, and has them in rising
            order.
    """
    names = ", ".join(choices)
    if os.environ.get(STATIC):
        print(f"Run this notebook, and sliders for {names} stand here.")
        return
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        print(f"Sliders for {names} need ipywidgets: python -m pip install 'minikd[notebooks]'")
        return

    def follow(**values: float) -> None:
        display(draw(**values))  # type: ignore[no-untyped-call]

    sliders = {
        name: ipywidgets.SelectionSlider(
            options=[(f"{value:g}", value) for value in sorted(values)],
            value=values[0],
            description=name,
            style={"description_width": "initial"},  # as wide as the name
            continuous_update=False,
        )
        for name, values in choices.items()
    }
    picture = ipywidgets.interactive_output(follow, sliders)
    display(ipywidgets.VBox([*sliders.values(), picture]))  # type: ignore[no-untyped-call]
