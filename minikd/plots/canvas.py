"""What all figures share: Matplotlib without the user's settings, colours, scales, and the file that is written.

Every figure looks the same everywhere, and none needs a backend. Import this module before Matplotlib itself. It
survives a `matplotlibrc` that cannot be read, and an `MPLBACKEND` that names a backend which is not installed here, as
a process may inherit it from a notebook. Figures are made from Matplotlib's objects, never with pyplot, so no backend
is ever loaded.
"""

from __future__ import annotations

import atexit
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias


def _load() -> None:
    """Import Matplotlib with the user's settings, or with its own where the user's make the import fail."""
    try:
        importlib.import_module("matplotlib")
        return
    except (ValueError, OSError):  # a backend that is not installed; a matplotlibrc that cannot be read or decoded
        pass
    except RuntimeError:  # before Matplotlib 3.11, no home
        os.environ["MPLCONFIGDIR"] = folder = tempfile.mkdtemp(prefix="matplotlib-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        del sys.modules[name]  # half of an import
    own = importlib.util.find_spec("matplotlib")
    assert own is not None
    assert own.origin is not None
    here, backend = Path.cwd(), os.environ.pop("MPLBACKEND", None)
    # A matplotlibrc in the working directory comes before all others, and this one is Matplotlib's own.
    os.chdir(Path(own.origin).with_name("mpl-data"))
    try:
        importlib.import_module("matplotlib")
    finally:
        os.chdir(here)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


_load()

import numpy as np  # noqa: E402
from matplotlib import figure, rc_context, rcdefaults, rcParams  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter  # noqa: E402
from numpy.typing import ArrayLike, NDArray  # noqa: E402
from PIL import Image, PngImagePlugin  # noqa: E402  # Matplotlib needs it too

from minikd.system.files import write_atomically  # noqa: E402

Floats: TypeAlias = NDArray[np.floating]
Ints: TypeAlias = NDArray[np.integer]
Images: TypeAlias = NDArray[np.uint8]
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so the same figure everywhere
    "font.size": 12,
    "axes.titlesize": 12,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
"""What differs from Matplotlib's own defaults. Its type is Any, because theirs lists every setting by name."""

# Okabe & Ito's colours, which colour-blind readers can tell apart too. Yellow is pale on white, so it comes last.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
TRUE_CLASS, LIKELIEST_WRONG, OTHER_WRONG = OKABE_ITO[0], OKABE_ITO[1], "#999999"
DASHES = ("-", "--", "-.", ":")
DPI = 150


@contextmanager
def style() -> Iterator[None]:
    """Draw with our settings only, as a context or a decorator. Afterwards the user's settings are back.

    >>> with style():
    ...     rcParams["font.size"], rcParams["text.usetex"]
    (12.0, False)
    """
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        yield


class Figure(figure.Figure):
    """A figure in our style wherever it is drawn. A notebook draws it later, when the user's settings are back."""

    @style()
    def draw(self, renderer: Any) -> None:
        """Draw the figure, as Matplotlib does."""
        super().draw(renderer)

    @style()
    def get_tightbbox(self, *args: Any, **options: Any) -> Any:
        """Return the box around everything drawn, as Matplotlib does."""
        return super().get_tightbbox(*args, **options)


@style()
def side_by_side(count: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure of this size, in inches, and its panels side by side; the options are those of `subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False, **options)[0].tolist()


@style()
def legend(panel: Axes, **options: Any) -> None:
    """Add a legend that shows each name once, however many were drawn under it; the options are those of `legend`."""
    handles, names = panel.get_legend_handles_labels()
    once = dict(zip(names, handles, strict=True))
    place = panel.figure if "outside" in str(options.get("loc")) else panel
    place.legend(once.values(), once, **options)


@style()
def save(figure: Figure, path: str | os.PathLike[str], source: str | None = None) -> None:
    """Write a figure as a PNG of 150 dots per inch: the whole file or nothing, and the same bytes each time.

    Args:
        figure: the figure.
        path: the file, which must end in .png.
        source: a name for the numbers that the figure shows, kept in the file as its text "Source".

    Raises:
        ValueError: if the path does not end in .png.
    """
    if not os.fspath(path).endswith(".png"):
        raise ValueError(f"path must end in .png, the only format written, got {os.fspath(path)!r}: rename it")
    write_atomically(path, png(figure, source))


@style()
def png(figure: Figure, source: str | None = None) -> bytes:
    """Return a figure as a PNG of 150 dots per inch, the same bytes each time.

    Args:
        figure: the figure.
        source: as `save` takes it.
    """
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Software": None})  # no version, no date
    colours = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)  # a third of the size
    about = PngImagePlugin.PngInfo()
    if source is not None:
        about.add_text("Source", source)
    colours.save(packed, format="png", dpi=(DPI, DPI), optimize=True, pnginfo=about)
    return packed.getvalue()


# ---- scales ----------------------------------------------------------------------------------------------------------


def scale_y(panel: Axes, values: ArrayLike) -> None:
    """Make the y axis logarithmic, with a few plain numbers at its ticks, or linear if a value is not positive."""
    lowest, highest = np.min(values), np.max(values)
    if lowest <= 0:
        return
    log_y(panel)
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    for least_ratio, subs in ((1000, (1,)), (100, (1, 3)), (10, (1, 2, 5)), (3, (1, 1.5, 2, 3, 5, 7))):
        if highest / lowest >= least_ratio:
            panel.yaxis.set_major_locator(LogLocator(subs=subs))
            return
    panel.yaxis.set_major_locator(MaxNLocator(7))  # a range so narrow that logarithms are nearly linear


def log_y(panel: Axes, ticks: int | None = None) -> None:
    """Make the y axis logarithmic, without minor ticks and with at most this many major ones."""
    panel.set_yscale("log")
    panel.yaxis.set_minor_locator(NullLocator())
    if ticks is not None:
        panel.yaxis.set_major_locator(LogLocator(numticks=ticks))


# ---- images and classes ----------------------------------------------------------------------------------------------


def check_images(images: Images, n: int | None = None) -> Images:
    """Return the images. Raise ValueError unless they are uint8, and n of them, or any number > 0 for n = None."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) == 0 or n not in (None, len(images)):
        number = "n" if n is None else f"n = {n}"
        raise ValueError(
            f"images must be uint8 of shape (n, rows, cols) or RGB with {number} > 0, got {images.dtype} "
            f"{images.shape}: pass the raw images, one per example"
        )
    return images


def show_image(panel: Axes, image: Images) -> None:
    """Draw an image, grey with white for 0 or RGB, without axes."""
    panel.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    panel.set_axis_off()


def rank_wrong(scores: Floats, true_class: int) -> list[int]:
    """Return the wrong classes by their scores (K,), the likeliest first."""
    return [int(k) for k in np.argsort(-scores, kind="stable") if k != true_class]


def draw_classes(panel: Axes, q: Floats, true_class: int | None, likeliest: int | None = None) -> None:
    """Draw one bar per class of q (K,), in the colours of the true class, the likeliest wrong one and the others."""
    colours = [OTHER_WRONG] * len(q)
    if true_class is not None:
        colours[true_class] = TRUE_CLASS
        colours[rank_wrong(q, true_class)[0] if likeliest is None else likeliest] = LIKELIEST_WRONG
    panel.bar(np.arange(len(q)), q, color=colours)
    ticks = 10 if len(q) <= 100 else 5  # of three digits or more
    panel.set_xticks(range(0, len(q), -(-len(q) // ticks)))  # every class, or a few of many
