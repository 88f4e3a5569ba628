"""A verdict as HTML, for notebooks: one coloured sentence, more lines, and a table."""

from __future__ import annotations

import html
from collections.abc import Sequence

RIGHT, WRONG, ASIDE = "#00734F", "#B34700", "#555555"
"""Colours of words that colour-blind readers can tell apart, dark enough to be read on white."""
_CELL = "padding:2px 12px;text-align:right;font-family:monospace"


def verdict(
    right: bool,
    sentence: str,
    lines: Sequence[str] = (),
    head: Sequence[str] = (),
    rows: Sequence[Sequence[str]] = (),
    below: str = "",
) -> str:
    """Return a verdict as HTML.

    Args:
        right: whether the sentence is good news.
        sentence: in colour and bold.
        lines: below it, one paragraph each.
        head: the head of a table.
        rows: of the table; without rows there is no table.
        below: in grey at the end.

    >>> verdict(True, "right, on 3 cases")
    '<div><p style="color:#00734F;font-weight:bold;margin:4px 0">right, on 3 cases</p></div>'
    """
    parts = [f'<p style="color:{RIGHT if right else WRONG};font-weight:bold;margin:4px 0">{html.escape(sentence)}</p>']
    parts += [f'<p style="margin:2px 0">{html.escape(line)}</p>' for line in lines]
    if rows:
        table = [("th", head), *(("td", row) for row in rows)]
        written = ("".join(f'<{tag} style="{_CELL}">{html.escape(text)}</{tag}>' for text in row) for tag, row in table)
        body = "".join(f"<tr>{line}</tr>" for line in written)
        parts.append(f'<table style="border-collapse:collapse">{body}</table>')
    if below:
        parts.append(f'<p style="color:{ASIDE};margin:2px 0">{html.escape(below)}</p>')
    return f"<div>{''.join(parts)}</div>"
