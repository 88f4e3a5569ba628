"""What the commands share: a parser, and one line on the standard error for whatever ends them."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from minikd import __version__


class Parser(argparse.ArgumentParser):
    """The options of `python -m minikd.<name>`; text and examples stand in the help as they are written."""

    def __init__(self, name: str, about: str, examples: str) -> None:
        super().__init__(
            prog=f"python -m minikd.{name}",
            description=about,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"minikd {__version__}")

    def error(self, message: str) -> NoReturn:
        """End for what the command line says."""
        self.fail(f"{message} (--help explains every option)")

    def fail(self, message: str, code: int = 2) -> NoReturn:
        """End the program with one line on the standard error."""
        print(f"{self.prog.split()[-1]}: {' '.join(message.splitlines())}", file=sys.stderr)
        sys.exit(code)


def replace_what_consoles_lack() -> None:
    """Let a console that lacks ≥ or ± show a ? there, and break nothing."""
    for console in (sys.stdout, sys.stderr):
        if isinstance(console, io.TextIOWrapper):
            console.reconfigure(errors="replace")


def numbers(kind: Callable[[str], Any], count: int | None = None) -> Callable[[str], tuple[Any, ...]]:
    """A parser of numbers joined by commas, `count` of them if given: "30,30" → (30, 30)."""

    def parse(text: str) -> tuple[Any, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be numbers joined by commas, as in 30,30, got {text!r}") from None
        if count is not None and len(values) != count:
            raise argparse.ArgumentTypeError(f"must be {count} numbers joined by a comma, got {text!r}")
        return values

    return parse
