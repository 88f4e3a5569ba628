"""Text for consoles that lack the characters of mathematics, such as those of Windows.

`fit` spells a text with the characters that the standard output can show. The commands write with the same spelling.
"""

from __future__ import annotations

import codecs
import sys
import unicodedata

SPELL = "minikd.spell"
"""The name of this spelling as an error handler of `codecs`: `text.encode("ascii", SPELL)`."""

SPELLED = {
    "−": "-",
    "–": "-",
    "…": "...",
    "→": "->",
    "×": "x",
    "·": ".",
    "÷": "/",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "√": "sqrt ",
    "∞": "inf",
    "∂": "d",
    "Σ": "sum",
    "‖": "|",
    "′": "'",
    "½": "1/2",
}


def fit(text: str) -> str:
    """Return the text as the standard output can show it: unchanged where it has all characters.

    >>> fit("q − p ≥ 0")
    'q − p ≥ 0'
    >>> "q − p ≥ 0, α = T²".encode("ascii", SPELL).decode("ascii")
    'q - p >= 0, alpha = T^2'
    """
    encoding = getattr(sys.stdout, "encoding", None)  # there may be no standard output
    return text.encode(encoding, SPELL).decode(encoding) if encoding else text


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Handle what cannot be encoded, for `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(character: str) -> str:
    """Return a character in ASCII: by the table, as the name of a Greek letter, or without its accents; else "?"."""
    name = unicodedata.name(character, "")
    if character in SPELLED:
        return SPELLED[character]
    if name.startswith("GREEK SMALL LETTER "):
        return name.rpartition(" ")[2].lower()
    if unicodedata.combining(character):
        return ""
    plain = "".join(SPELLED.get(c, c) for c in unicodedata.normalize("NFKD", character))
    plain = plain.encode("ascii", "ignore").decode()
    if name.startswith(("SUPERSCRIPT", "MODIFIER LETTER")):
        return f"^{plain}"
    return plain or "?"


codecs.register_error(SPELL, _spell)
