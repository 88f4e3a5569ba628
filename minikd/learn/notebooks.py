"""The notebooks: python -m minikd.notebooks opens them, --execute makes their outputs, --check compares them.

You open copies, in a folder that git ignores: your answers stay there, and the repository stays clean. Executing and
checking need nbclient and ipykernel. Opening needs JupyterLab. The extra `notebooks` has them all.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from minikd.learn import exercises
from minikd.learn.widgets import STATIC
from minikd.system.cli import Parser
from minikd.system.console import fit
from minikd.system.files import sha256, write_atomically

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
YOURS = FOLDER.with_name("my-notebooks")
"""The reader's copies, and the file of the exercises that were right."""
PROGRESS_FILE = "progress.json"
VARIES = "varies"
"""The tag of a cell whose output may differ from run to run: times, and what training gives on another processor."""
ABOUT = """\
Open the notebooks in JupyterLab, or see which exercises you have solved. You work on copies, in my-notebooks.
--execute and --check are for those who write notebooks."""
EXAMPLES = """\
examples:
  python -m minikd.notebooks                            open the first notebook in JupyterLab
  python -m minikd.notebooks 4                          open notebook 4
  python -m minikd.notebooks --progress                 say which exercises you have solved
  python -m minikd.notebooks 4 --no-browser --port 8890
  python -m minikd.notebooks --check 1 4                run notebooks 1 and 4, and compare what they print

The first option that is not listed above, and everything after it, goes to JupyterLab as it is. JupyterLab listens
on localhost only and asks for its token, unless its own options say otherwise."""


def find(numbers: Sequence[int] = ()) -> list[Path]:
    """Return the paths of the notebooks with these numbers. Without numbers, return all paths in order.

    Raises:
        ValueError: if no notebook has a number, or there are no notebooks.
    """
    every = {int(path.name.split("-")[0]): path for path in sorted(FOLDER.glob("[0-9][0-9]-*.ipynb"))}
    if not every:
        raise ValueError("the notebooks are in the repository, not in the installed package: run this from a clone")
    missing = [number for number in numbers if number not in every]
    if missing:
        raise ValueError(f"notebooks are numbered {min(every)} to {max(every)}, got {missing[0]}")
    return [every[number] for number in numbers or every]


def read(path: Path) -> Any:
    """Return a notebook in nbformat's form."""
    import nbformat

    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def execute(path: Path, then: str = "") -> Any:
    """Return the notebook with the outputs that it has in a fresh kernel, without widgets.

    Args:
        path: of the notebook.
        then: code to run in the same kernel after the last cell, such as checks of what the cells have computed. It
            leaves no trace in the notebook.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises, or `then` does.
        ValueError: if a cell writes to the standard error, as warnings do.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.cells.append(nbformat.v4.new_code_cell(then))  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        coalesce_streams=True,  # what is printed in one go on a fast machine stays in one piece on a slow one
        extra_arguments=["--log-level=40"],  # the kernel's own remarks are not the notebook's
        resources={"metadata": {"path": str(path.parent)}},
    )
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads of small products wait for each other
    client.execute(env={**os.environ, **one_thread, STATIC: "1"})
    notebook.cells.pop()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of this run
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"{path.name} wrote to stderr:\n{output.text}")
    return notebook


def printed(notebook: Any) -> list[tuple[str, str]]:
    """Return, for each code cell that may not vary, its first line and what it prints or shows as text."""
    return [
        (cell.source.split("\n")[0], "".join(map(_text, cell.outputs)))
        for cell in notebook.cells
        if cell.cell_type == "code" and VARIES not in cell.metadata.get("tags", [])
    ]


def _text(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    return str(output.data.get("text/plain", "")) + "\n"


def difference(committed: Any, made: Any) -> str:
    """Say where two executions of a notebook differ in what must be equal. Return "" where they agree."""
    for (cell, before), (other, after) in zip(printed(committed), printed(made), strict=True):
        if (cell, before) != (other, after):
            return f"the cell that begins with {cell!r} printed\n{before}and now prints\n{after}"
    return ""


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that are ours, and those for JupyterLab, which begin with the first option that is not ours.

    >>> split(["4", "--no-browser", "--port", "8890"])
    (['4'], ['--no-browser', '--port', '8890'])
    """
    ours = ("-h", "--help", "--version", "--progress", "--execute", "--check")
    first = next((i for i, one in enumerate(argv) if one.startswith("-") and one not in ours), len(argv))
    return list(argv[:first]), list(argv[first:])


def _is_complete(argument: str) -> bool:
    """Return whether an argument of JupyterLab is complete, so that a number after it is not its value."""
    return argument in ("--no-browser", "--allow-root", "--debug", "-y") or "=" in argument or argument[:1] != "-"


def copy_for_the_reader(remark: Callable[[str], None]) -> None:
    """Copy all notebooks to where the reader works. A copy that the reader has changed is never overwritten.

    Args:
        remark: is called with a line for each notebook that is newer than a copy which the reader has changed.
    """
    YOURS.mkdir(exist_ok=True)
    record = YOURS / ".copied.json"  # the SHA-256 of each notebook as it was when it was copied
    copied = json.loads(record.read_text("utf-8")) if record.exists() else {}
    for path in find():
        copy, now = YOURS / path.name, sha256(path)
        if not copy.exists() or sha256(copy) == copied.get(path.name):
            shutil.copyfile(path, copy)
            copied[path.name] = now
        elif copied.get(path.name) != now:
            place = copy.relative_to(FOLDER.parent).as_posix()
            remark(f"{path.name} is newer than your copy, which has your work: rename {place} to get the new one")
    write_atomically(record, (json.dumps(copied, indent=1) + "\n").encode())


def progress_in_words() -> str:
    """Return a table of the exercises that the reader has solved, one line per notebook."""
    done = exercises.progress(YOURS / PROGRESS_FILE)
    lines, solved, total = [], 0, 0
    for path in find():
        known = exercises.exercises(path.name.split("-")[0].lstrip("0"))
        right = [number for number in known if number in done]
        to_do = [f"{number} {task.title}" for number, task in known.items() if number not in done]
        about = path.stem[3:].replace("-", " ") + (f"; next: {to_do[0]}" if to_do else "")
        lines.append(f"{path.name[:2]}  {len(right)} of {len(known)}  {about}")
        solved, total = solved + len(right), total + len(known)
    return fit("\n".join([*lines, f"{solved} of {total} exercises solved"]))


def open_lab(path: Path, options: Sequence[str], remark: Callable[[str], None]) -> None:
    """Run JupyterLab until the reader stops it. Its root is the repository's, so that links to pages work.

    Args:
        path: of the notebook that is opened.
        options: for JupyterLab.
        remark: is called with each line that the reader should see.
    """
    from jupyterlab.labapp import LabApp

    as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Windows has none
    if as_root and "--allow-root" not in options:
        remark("you are root, so JupyterLab is started with --allow-root")
        options = ["--allow-root", *options]
    copy_for_the_reader(remark)
    path = YOURS / path.name
    os.environ[exercises.PROGRESS] = str(YOURS / PROGRESS_FILE)  # the kernels inherit it
    place = [
        f"--ServerApp.root_dir={FOLDER.parent}",
        f"--LabApp.default_url=/lab/tree/{path.relative_to(FOLDER.parent).as_posix()}",
    ]
    LabApp.launch_instance([*place, *options])


def main(argv: Sequence[str] | None = None) -> None:
    """Open a notebook, or execute or check several."""
    parser = Parser("notebooks", ABOUT, EXAMPLES)
    parser.usage = "%(prog)s [-h] [--version] [--progress | --execute | --check] [N ...] [options of JupyterLab]"
    parser.add_argument(
        "numbers", nargs="*", type=int, metavar="N", help="the notebook to open, or those to run; default: 1, or all"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--progress", action="store_true", help="say which exercises you have solved")
    what.add_argument("--execute", action="store_true", help="run them from scratch, and save what they print")
    what.add_argument("--check", action="store_true", help="run them from scratch, and compare; change nothing")
    ours, of_lab = split(sys.argv[1:] if argv is None else argv)
    args = parser.parse_args(ours)
    runs = args.execute or args.check
    if (runs or args.progress) and of_lab:
        parser.error(f"JupyterLab is not started with --progress, --execute or --check, so leave out {of_lab[0]}")
    if args.progress and args.numbers:
        parser.error("--progress is about all notebooks, so leave out their numbers")
    late = [one for one, before in zip(of_lab[1:], of_lab, strict=False) if one.isdecimal() and _is_complete(before)]
    if late:
        parser.error(f"the number of the notebook comes before the options: python -m minikd.notebooks {late[0]} …")
    if not runs and len(args.numbers) > 1:
        parser.error(f"give the number of one notebook to open, got {len(args.numbers)}")
    try:
        paths = find(args.numbers)
        if args.progress:
            print(progress_in_words())
            return
    except ValueError as error:
        parser.error(str(error))
    needed = "nbclient" if runs else "jupyterlab"
    if importlib.util.find_spec(needed) is None:
        parser.error(f"this needs {needed}: python -m pip install --editable '.[notebooks]'")
    if runs:
        sys.exit(1 if run(paths, keep=args.execute) else 0)
    open_lab(paths[0], of_lab, parser.remark)


def run(paths: Sequence[Path], keep: bool) -> int:
    """Execute notebooks.

    Args:
        paths: of the notebooks.
        keep: whether to save them. Otherwise their outputs are compared with the committed ones, and differences are
            printed.

    Returns:
        How many differ.
    """
    import nbformat

    failed = 0
    for path in paths:
        began = perf_counter()
        notebook = execute(path)
        print(f"{path.name}: {perf_counter() - began:.0f} s", flush=True)
        if keep:
            write_atomically(path, (nbformat.writes(notebook) + "\n").encode())  # type: ignore[no-untyped-call]
        elif words := difference(read(path), notebook):
            print(words)
            failed += 1
    return failed
