"""The page to play with: distillation by hand in a browser, in one file that asks no server for anything.

examples:
  minikd play                                    open the page
  python -m minikd.play --write docs/play.html   write it to a file
  python -m minikd.play --record                 choose the digits anew, train the student without 3s, keep both
"""

from __future__ import annotations

import re
import tempfile
import webbrowser
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from minikd.system.cli import Parser
from minikd.system.files import check_writable, write_atomically

PARTS = "page"
"""The folder beside this module that holds the page's parts: its text, style, scripts and digits."""
_PART = re.compile(r"@@([\w.]+)@@")


def page() -> str:
    """Return the page as HTML, with its style, scripts and digits inside."""
    folder = resources.files("minikd.learn") / PARTS

    def part(name: str) -> str:
        return folder.joinpath(name).read_text(encoding="utf-8").rstrip("\n")

    return _PART.sub(lambda found: part(found[1]), part("page.html")) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Open the page in a browser, write it to a file, or record its digits anew."""
    parser = Parser("play", __doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", metavar="FILE", help="write the page to this file, and open nothing")
    what.add_argument("--record", action="store_true", help="make the page's digits and logits anew: a minute")
    args = parser.parse_args(argv)
    if args.record:
        from minikd.learn.digits import record

        path = Path(__file__).parent / PARTS / "digits.json"
        write_atomically(path, record().encode())
        print(path)
    elif args.write:
        try:
            check_writable(args.write)
        except ValueError as error:
            parser.error(str(error))
        write_atomically(args.write, page().encode())
    else:
        path = Path(tempfile.mkdtemp(prefix="minikd-")) / "play.html"  # the browser reads it after this command ends
        write_atomically(path, page().encode())
        if webbrowser.open(path.as_uri()):
            print(f"opened {path}")
        else:
            print(f"there is no browser here: open {path} in one")
