"""Matplotlib, whatever the user's settings: every figure looks the same everywhere, and none needs a backend.

Import this module before Matplotlib itself: it survives an `MPLBACKEND` that names a backend which is not installed
here, as a process inherits it from a notebook, and a `matplotlibrc` that cannot be read. Figures are made from
Matplotlib's objects, never with pyplot, so no backend is ever loaded.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any


def _load() -> ModuleType:
    """Import Matplotlib with the user's settings, or with its own where the user's make the import fail."""
    found = importlib.util.find_spec("matplotlib")
    try:
        return importlib.import_module("matplotlib")
    # A backend that is not installed; a matplotlibrc that cannot be read or decoded; before Matplotlib 3.11, no home.
    except (ValueError, OSError, RuntimeError) as error:
        if found is None or not found.submodule_search_locations:
            raise
        if isinstance(error, RuntimeError):
            os.environ["MPLCONFIGDIR"] = folder = tempfile.mkdtemp(prefix="matplotlib-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        del sys.modules[name]  # half of an import
    here, backend = Path.cwd(), os.environ.pop("MPLBACKEND", None)
    # A matplotlibrc in the working directory comes before all others, and this one is Matplotlib's own.
    os.chdir(Path(found.submodule_search_locations[0], "mpl-data"))
    try:
        return importlib.import_module("matplotlib")
    finally:
        os.chdir(here)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


_load()

from matplotlib import figure, rc_context, rcdefaults, rcParams  # noqa: E402

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so the same figure everywhere
    "font.size": 12,
    "axes.titlesize": 12,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""What differs from Matplotlib's own defaults; Any, because their type lists every setting by name."""


@contextmanager
def style() -> Iterator[None]:
    """Draw with our settings only; afterwards the user's are back. It is a context and a decorator.

    >>> with style():
    ...     rcParams["font.size"], rcParams["text.usetex"]
    (12.0, False)
    """
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        yield


class Figure(figure.Figure):
    """A figure in our style wherever it is drawn: a notebook draws it later, when the user's settings are back."""

    @style()
    def draw(self, renderer: Any) -> None:
        """Draw the figure, as Matplotlib does."""
        super().draw(renderer)

    @style()
    def get_tightbbox(self, *args: Any, **options: Any) -> Any:
        """Return the box around everything drawn, as Matplotlib does."""
        return super().get_tightbbox(*args, **options)
