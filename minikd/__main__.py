"""The command `minikd`, or `python -m minikd`: the map of all commands, and the way to each of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from minikd.system.cli import Parser, start, typed

COMMANDS = {
    "mnist": ("minikd.commands.mnist", "train a teacher, a student alone and the same student distilled"),
    "distil": ("minikd.commands.distil", "distil your own data and your own teacher into a small network"),
    "predict": ("minikd.commands.predict", "name the class of images or features with such a network"),
    "paper": ("minikd.paper.command", "repeat the paper's experiments, and compare with its numbers"),
    "speech": ("minikd.paper.speech_command", "distil an ensemble that hears spoken digits into one network"),
    "notebooks": ("minikd.learn.notebooks", "open the notebooks, one question each"),
    "play": ("minikd.learn.play", "open a page in the browser, where you distil by hand"),
    "grade": ("minikd.commands.grade", "check the capstone or the exercises, of one reader or of a class"),
    "gpu": ("minikd.commands.gpu", "test the GPU: the kernels against the readable functions, and their speed"),
    "export": ("minikd.commands.export", "write a trained network as ONNX, or as one Python file"),
}
"""The module of each command, which is imported only when the command is used, and what the command does."""
ABOUT = "Knowledge distillation (Hinton, Vinyals & Dean 2015) that you can read, check and use."
MAP = f"""\
commands:
{chr(10).join(f"  {name:11}{what}" for name, (_, what) in COMMANDS.items())}

Begin with one of these:
  python -m minikd.mnist --T 8        see distillation work: about three minutes on two cores
  python -m minikd.notebooks          understand it, step by step
  python -m minikd.distil data.npz    use it on your own data

`minikd COMMAND --help` explains the options of a command. `minikd mnist` and `python -m minikd.mnist` are the same
command, and so for the others; `minikd gpu` is `python -m minikd.backend`.

Read on in the repository: README.md (where to start), PAPER.md (the paper's numbers, and ours), TROUBLESHOOTING.md
(when it does not work).
"""


def main(argv: Sequence[str] | None = None, prog: str = "minikd") -> object:
    """Run the command that the first word names, or show the map.

    Args:
        argv: the words after the program's name; those of this process if not given.
        prog: what the reader typed for this program.

    Returns:
        What the command returns, which is its exit status.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in COMMANDS:
        module = import_module(COMMANDS[words[0]][0])
        with typed(f"{prog} {words[0]}"):
            return module.main(words[1:])
    with typed(prog):
        parser = Parser("", ABOUT, MAP)
    parser.usage = "%(prog)s [-h] [--version] COMMAND [options of the command]"
    if words and words[0] not in ("-h", "--help", "--version"):
        parser.fail(f"the first word must be a command ({', '.join(COMMANDS)}), got {words[0]!r}: see {prog} --help")
    parser.parse_args(words or ["--help"])
    return None


def script() -> NoReturn:
    """Be the program `minikd`."""
    start(main)


if __name__ == "__main__":
    start(lambda: main(prog="python -m minikd"))
