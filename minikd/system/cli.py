"""What the commands share: a parser, streams that survive every console, and one line for whatever stops them."""

from __future__ import annotations

import argparse
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NoReturn

from minikd import __version__
from minikd.system.console import SPELL

BROKEN_PIPE = 141
"""The exit status of a command whose reader has gone, as in `… | head`: what a shell reports for other programs."""


_typed: ContextVar[str] = ContextVar("typed", default="")
"""How the reader called the command that runs now, if that was not `python -m` and its module."""


@contextmanager
def typed(words: str) -> Iterator[None]:
    """Let the command inside call itself what the reader typed, such as `minikd mnist`."""
    token = _typed.set(words)
    try:
        yield
    finally:
        _typed.reset(token)


class Parser(argparse.ArgumentParser):
    """The options of a command. The help shows its text and examples as they are written.

    Args:
        name: of the module, below the package.
        about: what the command does; the docstring of its module, as a rule. A line "examples:" or "example:", and all
            that comes after it, stands at the end of the help.
        examples: for the end of the help, if there are none in `about`.
        package: that holds the module; empty where the name is that of a package.

    Attributes:
        command: `python -m PACKAGE.NAME`, which works without a PATH: for lines that the reader is to repeat.
    """

    def __init__(self, name: str, about: str | None, examples: str = "", package: str = "minikd") -> None:
        self.command = f"python -m {f'{package}.{name}'.strip('.')}"
        text, *own = re.split(r"\n(?=examples?:\n)", about or "", maxsplit=1)  # there are no docstrings under -OO
        super().__init__(
            prog=_typed.get() or self.command,
            description=text,
            epilog=own[0] if own else examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--version", action="version", version=f"minikd {__version__}")

    def error(self, message: str) -> NoReturn:
        """End the program because the command line is wrong."""
        self.fail(f"{message} (--help explains every option)")

    def fail(self, message: str, code: int = 2) -> NoReturn:
        """End the program with one line on the standard error."""
        self.remark(message)
        sys.exit(code)

    def remark(self, message: str) -> None:
        """Print one line on the standard error, and continue."""
        print(f"{self.prog.removeprefix('python -m ')}: {one_line(message)}", file=sys.stderr)


def one_line(message: object) -> str:
    """Return a message without its line breaks."""
    return " ".join(str(message).split("\n"))


def reason(error: BaseException) -> str:
    """Return in one line why something failed, and which file it was, if any.

    >>> reason(FileNotFoundError(2, "No such file or directory", "a.png")), reason(OSError(28, "No space left"))
    ('a.png: No such file or directory', 'No space left')
    >>> reason(KeyError("x"))
    "KeyError: 'x'"
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ValueError):  # ours say what is wrong
        return one_line(error)
    return f"{type(error).__name__}: {one_line(error)}"


# ---- the process -----------------------------------------------------------------------------------------------------


def start(main: Callable[[], Any]) -> NoReturn:
    """Run a command as the whole process, as `python -m` does, and end with its exit status.

    Closed streams, a reader that has gone and a full disk end the process without a traceback. Ctrl-C does too, however
    often you press it.

    Args:
        main: runs the command, and returns its exit status, a message for the standard error, or None.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background job of a shell ignores it
        signal.signal(signal.SIGINT, _stop)
    _open_closed_streams()
    replace_what_consoles_lack()
    try:
        try:
            status = main()
        except SystemExit as ended:
            status = ended.code
        except KeyboardInterrupt:
            status = 130
            print("stopped", file=sys.stderr)
        if isinstance(status, str):
            print(status, file=sys.stderr)
            status = 1
        sys.stdout.flush()
    except BrokenPipeError:
        status = BROKEN_PIPE
    except OSError as error:
        status = 1
        with suppress(OSError):  # it may be the standard error that cannot be written
            print(f"stopped: {reason(error)}", file=sys.stderr)
    _drop_what_cannot_be_written()
    sys.exit(status)


def _stop(*_: object) -> NoReturn:
    """End the command at the first Ctrl-C, and ignore later ones: they would only disturb its last steps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def replace_what_consoles_lack() -> None:
    """Let a console that lacks ≥ or ± show >= or +- instead of failing."""
    for console in (sys.stdout, sys.stderr):
        if isinstance(console, io.TextIOWrapper):
            console.reconfigure(errors=SPELL)


def _open_closed_streams() -> None:
    """Replace closed streams, as after `>&-`, by ones that write nowhere. Python has None for them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (it stays open to the end)


def _drop_what_cannot_be_written() -> None:
    """Discard what a stream still holds and cannot write. Python would complain about it at the end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


# ---- options ---------------------------------------------------------------------------------------------------------


def numbers(kind: Callable[[str], Any], count: int | None = None) -> Callable[[str], tuple[Any, ...]]:
    """Return a parser of numbers that are joined by commas: "30,30" → (30, 30).

    Args:
        kind: turns the text of one number into the number.
        count: how many there must be, if that is fixed.
    """

    def parse(text: str) -> tuple[Any, ...]:
        try:
            values = tuple(kind(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be numbers joined by commas, as in 30,30, got {text!r}") from None
        if count is not None and len(values) != count:
            raise argparse.ArgumentTypeError(f"must be {count} numbers joined by a comma, got {text!r}")
        return values

    return parse
