"""The command: python -m minikd.paper runs the paper's experiments and prints the scoreboard.

examples:
  python -m minikd.paper                      every row, with real figures, on two cores
  python -m minikd.paper M6 M7                two rows, and the work that they need
  python -m minikd.paper --profile smoke      every row, tiny: does it run? It claims nothing
  python -m minikd.paper --profile full --gpu --write full.json
                                              more seeds, full length, on a card
  python -m minikd.paper S3 --data DIR        a row of speech, on recordings that are there already

Rows of speech (S1 to S4, R1-speech to R3-speech) need the extra `speech` and the Free Spoken Digit Dataset, which is
fetched once. If you ask for all rows and it cannot be fetched, these rows are left out, and a line says why.

Results are kept below --out, and any later call that needs them finds them there. If a call was stopped or killed, the
same command resumes it. Results are the same bits however many workers there are.

The rows are finished in their order, the most important first. With --write, the file has each row as soon as it is
finished. A later call with the same file adds the rest, even if the results below --out are lost: it takes the rows
that it would do in the same way from the file.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from minikd.data.checks import DataError
from minikd.engines.device import get_device
from minikd.engines.gpu import DeviceError
from minikd.paper.lab import cluster, executor, scoreboard
from minikd.paper.lab.board import Board
from minikd.paper.lab.jobs import Job, Store, missing
from minikd.paper.lab.progress import Progress
from minikd.paper.lab.scoreboard import PROFILES, Jobs, Row
from minikd.paper.rows import ROWS
from minikd.paper.tasks.speech import provide
from minikd.speech.recordings import FSDD, Recordings, check_extra, check_official, fetch, load
from minikd.system.cli import Parser, reason
from minikd.system.console import fit
from minikd.system.files import check_writable


class Call(NamedTuple):
    """A command line that runs rows.

    Attributes:
        parser: the parser with the options of `add_options`.
        args: what it parsed.
        recordings: returns the recordings, if a row is of speech.
        may_leave_out: whether such rows are left out, with a line, if the recordings are not available.
    """

    parser: Parser
    args: argparse.Namespace
    recordings: Callable[[], Recordings] = fetch
    may_leave_out: bool = False

    @property
    def device(self) -> str:
        """Where the workers compute."""
        return "gpu" if self.args.gpu else "cpu"

    def command(self, rows: Iterable[str] = (), *, spoken: bool = True) -> str:
        """Return the command that does these rows again, with the same settings, and finds what was done before.

        Options that change neither are left out: --workers, --dask, and how the scoreboard is shown. For rows that are
        not of speech, --data is left out too. `python -m minikd.speech` has no rows to name.
        """
        words = list(rows) if "rows" in self.args else []
        for name in ("hidden", "members", "profile", "gpu", "data", "out"):
            value = getattr(self.args, name, None)
            if value == self.parser.get_default(name) or (name == "data" and not spoken):
                continue
            words.append(f"--{name}")
            if value is not True:
                words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
        return f"{self.parser.command} {shlex.join(words)}".rstrip()


def build_parser() -> Parser:
    """Return the options."""
    parser = Parser("paper", __doc__)
    about = "the rows to run [all]: " + ", ".join(ROWS)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=about)
    add_options(parser)
    return parser


def add_options(parser: Parser) -> None:
    """Add the options of every command that runs rows."""
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="how long, how many seeds [cpu]")
    parser.add_argument("--workers", type=int, metavar="N", help="processes [2; with --gpu 1]")
    parser.add_argument("--dask", metavar="ADDRESS", help="send the work to the Dask cluster of this scheduler")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU with CuPy")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where results are kept [runs]")
    parser.add_argument("--json", action="store_true", help="print the scoreboard as JSON, with all numbers")
    about = "keep each of these rows there once it is finished, with settings, machines and times"
    parser.add_argument("--write", type=Path, metavar="FILE.json", help=about)
    about = f"a folder that holds recordings/*.wav, or the archive of {FSDD} [fetched once]"
    parser.add_argument("--data", type=Path, metavar="DIR", help=about)
    parser.add_argument("--quiet", action="store_true", help="no progress")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check, do what is missing, judge, print."""
    parser = build_parser()
    args = parser.parse_args(argv)
    unknown = [name for name in args.rows if name not in ROWS]
    if unknown:
        parser.fail(f"no row is called {unknown[0]}: the rows are {', '.join(ROWS)}")
    rows = [row for name, row in ROWS.items() if not args.rows or name in args.rows]

    def official() -> Recordings:
        if args.data is None:
            return fetch()
        recordings = load(args.data)
        check_official(recordings, args.data)
        return recordings

    run(Call(parser, args, official, may_leave_out=not args.rows and args.data is None), rows)


def run(call: Call, rows: Sequence[Row]) -> None:
    """Do what is missing of these rows, judge them, print the scoreboard, and write it; exit on errors.

    Each row is written as soon as it is finished. If a job fails, the rows that are finished are printed all the same.
    """
    parser, args, failure = call.parser, call.args, ""
    if args.workers is not None and (args.workers < 1 or args.dask is not None):
        parser.fail(f"--workers must be ≥ 1, and cannot be used with --dask, got {args.workers}")
    if args.write and args.write.suffix != ".json":
        parser.fail(f"--write needs a .json file, got {args.write}")

    def command(jobs: Iterable[Job], row: Row | None) -> str:
        return call.command(getattr(args, "rows", ()) if row is None else [row.id], spoken=_spoken(jobs))

    try:
        if args.write:
            check_writable(args.write)
        if args.dask is None:  # else only the workers need a GPU
            get_device(call.device)  # refuse a missing one before anything is started
        store = Store(args.out / "paper" / call.device)
        board = Board(rows, args.profile, store, command, args.write)
        do(call, board)
    except (DeviceError, ValueError) as error:  # bad data and bad checkpoints are ValueErrors
        parser.fail(str(error))
    except executor.JobError as error:
        failure = f"{error}; finished runs are kept, and the same command resumes from there"
    except OSError as error:
        parser.fail(reason(error))
    except KeyboardInterrupt:
        parser.fail("stopped; finished runs are kept, and the same command resumes from there", code=130)
    failure, lines = failure or board.failure, board.lines()
    if lines or not failure:
        print(json.dumps(lines, indent=1) if args.json else fit(scoreboard.table(lines)), flush=True)
    if board.error:
        raise board.error
    if failure:
        parser.fail(failure, code=1)
    try:
        board.keep()
    except OSError as error:
        parser.fail(f"{args.write} is not written: {reason(error)}", code=1)


def do(call: Call, board: Board) -> None:
    """Do what is missing of the board's jobs, the first row first, and add each row once it is finished."""
    args, store = call.args, board.store
    workers = args.workers or (1 if args.gpu else 2)
    if board.taken and not args.quiet:
        why = f"the results that they rest on are no longer below {args.out}"
        print(f"{', '.join(board.taken)} are taken from {args.write}, because {why}", file=sys.stderr)
    with cluster.dask(args.dask) if args.dask is not None else executor.processes(workers) as (pool, count):
        jobs = available(call, board.left(), store)
        every = [job for named in jobs.values() for job in named.values()]
        with closing(Progress(jobs, store, quiet=args.quiet)) as progress:
            board.add([row for row, left in progress.left.items() if not left])
            stage: dict[str, int] = {}
            for number, left in enumerate(progress.left.values()):
                stage = dict.fromkeys(left, number) | stage

            def done(job: Job) -> None:
                board.add(progress.done(job))

            executor.run(every, store, pool, workers=count, device=call.device, stage=stage, on_done=done)


def available(call: Call, jobs: dict[str, Jobs], store: Store) -> dict[str, Jobs]:
    """Return the jobs by row, and keep the recordings in the store if a job still to be done reads them.

    If the recordings are not available, rows of speech are left out if that is allowed, and a line says why.

    Raises:
        DataError: if they may not be left out.
    """
    spoken = [row for row, named in jobs.items() if _spoken(named.values(), store)]
    if not spoken:
        return jobs
    try:
        check_extra()
        provide(call.recordings(), store)
    except DataError as error:
        if not call.may_leave_out:
            raise
        print(f"{', '.join(spoken)} are left out: {error}", file=sys.stderr)
        return {row: named for row, named in jobs.items() if row not in spoken}
    return jobs


def _spoken(jobs: Iterable[Job], store: Container[Job] = ()) -> bool:
    """Return whether these jobs need the recordings. With a store, only the jobs still to be done count."""
    return any(job.task == "recordings" for job in missing(jobs, store).values())
