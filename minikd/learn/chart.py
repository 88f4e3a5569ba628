"""Charts for sliders: bars and lines as SVG, made in about a millisecond, so that they follow the hand.

Matplotlib needs a tenth of a second for a figure. All other figures are made with it.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence

from PIL import Image

from minikd.plots.canvas import LIKELIEST_WRONG, OKABE_ITO, OTHER_WRONG, TRUE_CLASS, Images

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 30, 44
DASHES = ("", "8 4", "2 4", "8 4 2 4")


def bars(
    values: Mapping[str, float],
    top: float,
    ylabel: str,
    *,
    title: str = "",
    xlabel: str = "",
    roles: Mapping[str, str] | None = None,
    image: Images | None = None,
) -> str:
    """Return a chart with one bar per name, as SVG.

    Args:
        values: maps names to numbers from 0 to `top`.
        top: where the axis ends. It should not move while the reader moves a slider.
        ylabel: of the axis.
        title: above the chart.
        xlabel: below the names.
        roles: maps some names to "true" or "wrong": the colours of the true class and of the highest other one.
        image: (rows, columns) uint8, drawn to the left, or None.

    >>> bars({"alone": 140, "distilled": 100}, top=200, ylabel="errors").count("<rect")
    2
    """
    left = LEFT + 110 * (image is not None)
    step = (WIDTH - left - RIGHT) / len(values)
    colours = {"true": TRUE_CLASS, "wrong": LIKELIEST_WRONG}
    parts = [*_frame(left, title, xlabel, ylabel), *_y_axis(left, _ticks(0, top), 0, top, log=False)]
    for i, (name, value) in enumerate(values.items()):
        y = _y(value, 0, top, log=False)
        x = left + (i + 0.15) * step
        colour = OKABE_ITO[0] if roles is None else colours.get(roles.get(name, ""), OTHER_WRONG)
        height = HEIGHT - BOTTOM - y
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{0.7 * step:.1f}" height="{height:.1f}" fill="{colour}"/>')
        middle = left + (i + 0.5) * step
        parts.append(_text(middle, y - 4, _brief(value, top), "middle", 11))
        parts.append(_text(middle, HEIGHT - BOTTOM + 15, name, "middle", 12))
    if image is not None:
        drawn = io.BytesIO()
        Image.fromarray(255 - image).save(drawn, "png")
        code = base64.b64encode(drawn.getvalue()).decode()
        place = f'x="4" y="{TOP + 30}" width="100" height="100" style="image-rendering:pixelated"'
        parts.append(f'<image {place} href="data:image/png;base64,{code}"/>')
    return _whole(parts)


def _brief(value: float, top: float) -> str:
    """Return a value in so few characters that it fits above its bar."""
    if top >= 100:
        return f"{value:,.0f}"
    return f"{value:.0e}".replace("e-0", "e-") if 0 < value < top / 1000 else f"{value:.2g}"


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    span: tuple[float, float],
    xlabel: str,
    ylabel: str,
    *,
    title: str = "",
    log: bool = False,
) -> str:
    """Return a chart with one line per name, as SVG. Each has a colour, a dash and its name below the title.

    Args:
        x: two or more rising numbers.
        series: maps names to as many numbers.
        span: where the y axis begins and ends. It should not move while the reader moves a slider.
        xlabel: of the x axis.
        ylabel: of the y axis.
        title: above the chart.
        log: whether both axes are logarithmic.

    >>> lines([1, 2, 4], {"a": [1, 2, 3], "b": [3, 2, 1]}, (0, 4), "T", "cost").count("<polyline")
    2
    """
    low, high = span
    ticks = [10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)] if log else None
    parts = [*_frame(LEFT, title, xlabel, ylabel), *_y_axis(LEFT, ticks or _ticks(low, high), low, high, log)]
    first, last = (math.log10(x[0]), math.log10(x[-1])) if log else (x[0], x[-1])

    def across(value: float) -> float:
        at = math.log10(value) if log else value
        return LEFT + (at - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    marks = [10.0**n for n in range(math.ceil(first), math.floor(last) + 1)] if log else _ticks(x[0], x[-1])
    parts += [_text(across(mark), HEIGHT - BOTTOM + 15, f"{mark:g}", "middle", 11) for mark in marks]
    for i, (name, values) in enumerate(series.items()):
        clipped = (min(max(value, low), high) for value in values)
        points = " ".join(f"{across(a):.1f},{_y(b, low, high, log):.1f}" for a, b in zip(x, clipped, strict=True))
        colour, dash = OKABE_ITO[i % len(OKABE_ITO)], DASHES[i % len(DASHES)]
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{points}" {style}/>')
        at = LEFT + i * (WIDTH - LEFT - RIGHT) / len(series)
        parts.append(f'<line x1="{at:.0f}" x2="{at + 24:.0f}" y1="{TOP - 7}" y2="{TOP - 7}" {style}/>')
        parts.append(_text(at + 28, TOP - 3, name, "start", 12))
    return _whole(parts)


def _whole(parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return f'{head} font-family="sans-serif"><path d="M0 0H{WIDTH}V{HEIGHT}H0z" fill="white"/>{"".join(parts)}</svg>'


def _text(x: float, y: float, words: str, anchor: str, size: int, turn: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{turn}'
    return f"<text {place}>{html.escape(words)}</text>"


def _frame(left: float, title: str, xlabel: str, ylabel: str) -> list[str]:
    """Return the title, the names of the axes, and the line at the bottom."""
    middle = (TOP + HEIGHT - BOTTOM) / 2
    turn = f' transform="rotate(-90 {left - 44:.0f} {middle:.0f})"'
    return [
        _text(left, 14, title, "start", 13),
        _text((left + WIDTH - RIGHT) / 2, HEIGHT - 8, xlabel, "middle", 12),
        _text(left - 44, middle, ylabel, "middle", 12, turn),
        f'<path d="M{left} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="black"/>',
    ]


def _y(value: float, low: float, high: float, log: bool) -> float:
    share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _y_axis(left: float, ticks: Sequence[float], low: float, high: float, log: bool) -> list[str]:
    made = []
    for tick in ticks:
        y = _y(tick, low, high, log)
        made.append(f'<path d="M{left} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        made.append(_text(left - 5, y + 4, f"{tick:g}" if tick < 1e5 else f"{tick:.0e}", "end", 11))
    return made


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers between two."""
    step = 10.0 ** math.floor(math.log10(high - low))
    step = next(step * share for share in (1, 0.5, 0.2, 0.1) if (high - low) / (step * share) >= 3)
    return [round(n * step, 10) for n in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]
