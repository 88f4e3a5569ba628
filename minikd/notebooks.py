"""The notebooks: python -m minikd.notebooks opens them, --execute makes their outputs, --check compares them.

Executing and checking need nbclient and ipykernel, opening needs JupyterLab: the extra `notebooks` has them all.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from minikd.checkpoint import write_atomically
from minikd.widgets import STATIC

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
VARIES = "varies"
"""The tag of a cell that prints what need not be equal: times, and what training gives on another processor."""


def find(numbers: Sequence[int] = ()) -> list[Path]:
    """The notebooks of these numbers, or all, in order. Raises: ValueError where there is none."""
    every = {int(path.name.split("-")[0]): path for path in sorted(FOLDER.glob("[0-9][0-9]-*.ipynb"))}
    if not every:
        raise ValueError("the notebooks are in the repository, not in the installed package: run this from a clone")
    missing = [number for number in numbers if number not in every]
    if missing:
        raise ValueError(f"notebooks are numbered {min(every)} to {max(every)}, got {missing[0]}")
    return [every[number] for number in numbers or every]


def read(path: Path) -> Any:
    """A notebook, as nbformat has it."""
    import nbformat

    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def execute(path: Path) -> Any:
    """The notebook with the outputs that it has in a fresh kernel, sliders left out.

    Raises: nbclient's CellExecutionError where a cell raises; ValueError where one writes to stderr, as warnings do.
    """
    from nbclient import NotebookClient

    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=40"],  # the kernel's own remarks are not the notebook's
        resources={"metadata": {"path": str(path.parent)}},
    )
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # threads of small products wait for each other
    client.execute(env={**os.environ, **one_thread, STATIC: "1"})
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
    """What each code cell prints or shows as text, and what it begins with, but for cells tagged as varying."""
    return [
        (cell.source.split("\n")[0], "".join(_texts(cell)))
        for cell in notebook.cells
        if cell.cell_type == "code" and VARIES not in cell.metadata.get("tags", [])
    ]


def _texts(cell: Any) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        elif "image/png" in output.data:
            yield "a picture\n"
        else:
            yield output.data.get("text/plain", "") + "\n"


def difference(committed: Any, made: Any) -> str:
    """Where two executions of a notebook differ in what must be equal, in words; empty where they do not."""
    for (cell, before), (other, after) in zip(printed(committed), printed(made), strict=True):
        if (cell, before) != (other, after):
            return f"the cell that begins with {cell!r} printed\n{before}and now prints\n{after}"
    return ""


def main(argv: Sequence[str] | None = None) -> None:
    """Open, execute or check."""
    parser = argparse.ArgumentParser(prog="python -m minikd.notebooks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("numbers", nargs="*", type=int, metavar="N", help="these notebooks alone, with the options")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--execute", action="store_true", help="run them from scratch, and keep what they print")
    what.add_argument("--check", action="store_true", help="run them from scratch, and compare; change nothing")
    args = parser.parse_args(argv)
    try:
        paths = find(args.numbers)
    except ValueError as error:
        parser.error(str(error))
    needed = "nbclient" if args.execute or args.check else "jupyterlab"
    if importlib.util.find_spec(needed) is None:
        parser.error(f"this needs {needed}: python -m pip install --editable '.[notebooks]'")
    if not (args.execute or args.check):
        first = paths[0] if args.numbers else FOLDER
        sys.exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(first)]))
    import nbformat

    failed = 0
    for path in paths:
        began = perf_counter()
        notebook = execute(path)
        print(f"{path.name}: {perf_counter() - began:.0f} s", flush=True)
        if args.execute:
            write_atomically(path, (nbformat.writes(notebook) + "\n").encode())  # type: ignore[no-untyped-call]
        elif words := difference(read(path), notebook):
            print(words)
            failed += 1
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
