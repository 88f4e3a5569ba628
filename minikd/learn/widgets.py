"""A hand on a slider, for the notebooks; what it shows stands there as a still picture too."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

STATIC = "MINIKD_STATIC"
"""The environment variable that says that nobody is there to move a slider, as when the notebooks are printed."""


def explore(draw: Callable[..., Any], **choices: Sequence[float]) -> None:
    """Show what `draw` returns for the values that the reader's sliders stand at.

    Args: draw(**values) → a figure, or anything that a notebook shows; choices, a slider's name and its values. The
        slider begins at the first, and has them in order of size.
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
