"""The command: python -m minikd.paper runs the paper's experiments and prints the scoreboard."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minikd.data.checks import DataError
from minikd.engines.device import CPU, get_device
from minikd.engines.gpu import DeviceError
from minikd.engines.machine import machine
from minikd.paper.lab import cluster
from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Job, Store
from minikd.paper.lab.jobs import missing as not_done
from minikd.paper.lab.scoreboard import PROFILES, Row
from minikd.paper.rows import ensembles, false_labels, few, gradients, grid, missing, specialists, speech, students
from minikd.paper.tasks import speech as acoustics
from minikd.speech.recordings import FSDD, Recordings, check_extra, check_official, fetch, load
from minikd.system.cli import Parser, reason
from minikd.system.console import fit
from minikd.system.files import check_writable, write_atomically
from minikd.training.checkpoint import CheckpointError

SECTIONS: tuple[Any, ...] = (students, grid, missing, gradients, ensembles, few, false_labels, specialists, speech)
ROWS: dict[str, Row] = {row.id: row for section in SECTIONS for row in section.ROWS}

EXAMPLES = """\
examples:
  python -m minikd.paper                      every row, with real figures, on two cores
  python -m minikd.paper M6 M7                two rows, and what they rest on
  python -m minikd.paper --profile smoke      every row, tiny: does it run? It claims nothing
  python -m minikd.paper --profile full --gpu more seeds, full length
  python -m minikd.paper S3 --data DIR        a row of speech, on recordings that are there already

Rows of speech (S1 to S4, R1-speech to R3-speech) need the extra `speech` and the Free Spoken Digit Dataset, which is
fetched once. Where all rows are asked for and it cannot be had, these rows are left out, and a line says why.

What was done is kept below --out, and found again by any later call that needs it: a call that was stopped, or killed,
goes on with the same command. Results are the same bits however many workers there are.
"""


def build_parser() -> Parser:
    """The options."""
    parser = Parser("paper", __doc__ or "", EXAMPLES)
    about = "the rows to run [all]: " + ", ".join(ROWS)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=about)
    add_options(parser)
    return parser


def add_options(parser: Parser) -> None:
    """The options of every command that runs rows."""
    parser.add_argument("--profile", choices=PROFILES, default="cpu", help="how long, how many seeds [cpu]")
    parser.add_argument("--workers", type=int, metavar="N", help="processes [2; with --gpu 1]")
    parser.add_argument("--dask", metavar="ADDRESS", help="send the work to the Dask cluster of this scheduler")
    parser.add_argument("--gpu", action="store_true", help="train on the GPU with CuPy")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where results are kept [runs]")
    parser.add_argument("--json", action="store_true", help="print the scoreboard as JSON, with all numbers")
    about = "keep the scoreboard of these rows there, with settings, machine and times"
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

    run(parser, args, rows, official, may_leave_out=not args.rows and args.data is None)


def command(parser: Parser, args: argparse.Namespace, rows: Sequence[str] = (), *, spoken: bool = True) -> str:
    """What does these rows again, with the same settings, and finds what was done before.

    Options that change neither are left out: --workers, --dask, and how the scoreboard is shown. So is --data for rows
    that are not of speech.
    """
    words = list(rows)
    for name in ("hidden", "members", "profile", "gpu", "data", "out"):
        value = getattr(args, name, None)
        if value == parser.get_default(name) or (name == "data" and not spoken):
            continue
        words.append(f"--{name}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return f"{parser.command} {shlex.join(words)}".rstrip()


def run(
    parser: Parser,
    args: argparse.Namespace,
    rows: Sequence[Row],
    recordings: Callable[[], Recordings],
    *,
    may_leave_out: bool = False,
) -> None:
    """Do what is missing of these rows, judge them, print the scoreboard, and write it; end for what goes wrong.

    Where a job fails, the rows that are finished are printed all the same.

    Args: args, of `add_options`. recordings, gets them, if a row is of speech. may_leave_out, whether such rows are
        left out, with a line, where they cannot be had.
    """
    if args.workers is not None and (args.workers < 1 or args.dask is not None):
        parser.fail(f"--workers must be ≥ 1, and is not for --dask, got {args.workers}")
    if args.write and args.write.suffix != ".json":
        parser.fail(f"--write needs a .json file, got {args.write}")
    jobs, failure = {row.id: row.jobs(args.profile) for row in rows}, ""
    try:
        if args.write:
            check_writable(args.write)
        # Refuse a GPU that is not there before anything is started. With --dask only the workers need one.
        here = machine(get_device(_device(args)) if args.dask is None else CPU)
        store = Store(args.out / "paper" / _device(args))
        do(args, jobs, store, recordings, may_leave_out=may_leave_out)
    except (DeviceError, ValueError) as error:  # bad data and bad checkpoints are ValueErrors
        parser.fail(str(error))
    except engine.JobError as error:
        failure = f"{error}; finished runs are kept, and the same command resumes from there"
    except OSError as error:
        parser.fail(reason(error))
    except KeyboardInterrupt:
        parser.fail("stopped; finished runs are kept, and the same command resumes from there", code=130)
    finished = {row: named for row, named in jobs.items() if all(job in store for job in named.values())}
    board, damage = scoreboard(parser, args, [row for row in rows if row.id in finished], finished, store)
    failure = failure or damage
    if board or not failure:
        print(json.dumps(board, indent=1) if args.json else fit(table(board)), flush=True)
    if failure:
        parser.fail(failure, code=1)
    if args.write:
        keep(parser, args, finished, store, board, here)


def _device(args: argparse.Namespace) -> str:
    return "gpu" if args.gpu else "cpu"


def do(
    args: argparse.Namespace,
    jobs: dict[str, dict[str, Job]],
    store: Store,
    recordings: Callable[[], Recordings],
    *,
    may_leave_out: bool,
) -> None:
    """Do what is missing of these jobs, which stand by row, and keep it in the store."""
    workers = args.workers or (1 if args.gpu else 2)
    with cluster.dask(args.dask) if args.dask is not None else engine.processes(workers) as (executor, count):
        jobs = available(jobs, store, recordings, may_leave_out=may_leave_out)
        with Progress(jobs, store, quiet=args.quiet) as progress:
            engine.run(
                [job for named in jobs.values() for job in named.values()],
                store,
                executor,
                workers=count,
                device=_device(args),
                on_done=progress.done,
            )


def scoreboard(
    parser: Parser, args: argparse.Namespace, rows: Sequence[Row], jobs: dict[str, dict[str, Job]], store: Store
) -> tuple[list[dict[str, Any]], str]:
    """The lines of these rows, whose jobs are all done, in plain JSON; and what is damaged, in words, or ""."""
    board, damage = [], ""
    for row in rows:
        own = (row.id,) if "rows" in args else ()
        asked = command(parser, args, own, spoken=_spoken(jobs[row.id]))
        try:
            board.append(judge(row, args.profile, jobs[row.id], store, asked))
        except CheckpointError as error:
            damage = damage or str(error)
    return board, damage


def keep(
    parser: Parser,
    args: argparse.Namespace,
    jobs: dict[str, dict[str, Job]],
    store: Store,
    board: Sequence[dict[str, Any]],
    here: dict[str, Any],
) -> None:
    """Write the scoreboard, and what made it, to the file that --write names."""
    done = not_done(job for named in jobs.values() for job in named.values()).values()
    spoken = any(_spoken(named) for named in jobs.values())
    asked = command(parser, args, getattr(args, "rows", ()), spoken=spoken)
    about = {"command": asked, "profile": args.profile, "machine": here}
    try:
        write(args.write, {**about, "rows": board, "runs": [run_record(job, store) for job in done]})
    except (OSError, ValueError) as error:
        parser.fail(f"{args.write} is not written: {reason(error)}", code=1)


def available(
    jobs: dict[str, dict[str, Job]], store: Store, recordings: Callable[[], Recordings], *, may_leave_out: bool
) -> dict[str, dict[str, Job]]:
    """The jobs by row, with the recordings kept in the store if a job that is yet to be done reads them.

    Where they cannot be had, rows of speech are left out, with a line that says why, if they may be.
    Raises: DataError where they may not be.
    """
    spoken = [row for row, named in jobs.items() if _spoken(not_done(named.values(), store))]
    if not spoken:
        return jobs
    try:
        check_extra()
        acoustics.provide(recordings(), store)
    except DataError as error:
        if not may_leave_out:
            raise
        print(f"{', '.join(spoken)} are left out: {error}", file=sys.stderr)
        return {row: named for row, named in jobs.items() if row not in spoken}
    return jobs


def _spoken(jobs: dict[str, Job]) -> bool:
    """Whether recordings are needed for these."""
    return any(job.task == "recordings" for job in not_done(jobs.values()).values())


def judge(row: Row, profile: str, jobs: dict[str, Job], store: Store, command: str) -> dict[str, Any]:
    """A line of the scoreboard in plain JSON."""
    results = {name: store.get(job) for name, job in jobs.items()}
    outcome = row.judge(profile, results)
    if profile == "smoke":
        outcome = outcome._replace(verdict="claims nothing", why="smoke shows that the code runs")
    return {
        "row": row.id,
        "claim": row.about(profile),
        "paper": row.paper,
        **outcome._asdict(),
        "command": command,
        "seconds": round(sum(result.record["seconds"] for result in results.values()), 1),
    }


def run_record(job: Job, store: Store) -> dict[str, Any]:
    """A run in plain JSON: what was asked of it, and how long it took one core, in seconds."""
    needs = [need.key for need in job.needs.values()]
    seconds = store.get(job).record["seconds"]
    return {"key": job.key, "title": job.title, "seconds": seconds, "needs": needs, "task": job.task, **job.settings}


def write(path: Path, record: dict[str, Any]) -> None:
    """Write plain JSON, an item of a list a line, so that a change is seen where it is."""
    lines = []
    for name, value in record.items():
        items = ",\n  ".join(json.dumps(item, ensure_ascii=False) for item in value) if isinstance(value, list) else ""
        text = f"[\n  {items}\n ]" if items else json.dumps(value, ensure_ascii=False)
        lines.append(f" {json.dumps(name)}: {text}")
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


def table(board: Sequence[dict[str, Any]]) -> str:
    """The scoreboard for people."""
    lines = []
    for line in board:
        lines += [
            f"{line['row']:<3} {line['claim']}",
            f"    paper    {line['paper']}",
            f"    ours     {line['ours']}",
            f"    verdict  {line['verdict']}: {line['why']}",
            f"    command  {line['command']}",
            "",
        ]
    return "\n".join(lines).rstrip()


class Progress:
    """A bar with the row at hand, the runs left and the time left; without a terminal a line for each run done."""

    def __init__(self, rows: dict[str, dict[str, Job]], store: Store, quiet: bool) -> None:
        self.left = {row: not_done(jobs.values(), store) for row, jobs in rows.items()}
        todo = {key: job for jobs in self.left.values() for key, job in jobs.items()}
        asked = not_done(job for jobs in rows.values() for job in jobs.values())
        reused = sum(job in store and job.task != "recordings" for job in asked.values())
        self.runs, self.quiet = len(todo), quiet
        if reused and not quiet:
            print(f"{reused} of {reused + len(todo)} runs were done before, and are used again", file=sys.stderr)
        self.bar = tqdm(
            total=round(sum(job.work for job in todo.values()), 3),
            disable=True if quiet else None,
            leave=False,
            file=sys.stderr,
            bar_format="{desc} {percentage:3.0f}% {bar} {elapsed}, {remaining} left",
        )
        self._show()

    def done(self, job: Job) -> None:
        """One more job is done."""
        self.runs -= 1
        rows = [row for row, jobs in self.left.items() if jobs.pop(job.key, None) and not jobs]
        if self.bar.disable and not self.quiet:
            complete = f"; {', '.join(rows)} complete" if rows else ""
            print(f"{job.title}: done, {self.runs} left{complete}", file=sys.stderr)
        self.bar.update(job.work)
        self._show()

    def _show(self) -> None:
        row = next((row for row, jobs in self.left.items() if jobs), "")
        self.bar.set_description_str(f"{row}: {self.runs} runs left")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
