"""The scoreboard of a call: a row is judged as soon as its jobs are done, and kept in a file at once.

So a call that is stopped, killed or fails leaves a file with the rows that were finished. A later call takes them in
and adds the rest. Each run in the file says on which machine it was done.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from minikd.paper.lab.jobs import Job, Json, Store, missing
from minikd.paper.lab.scoreboard import Jobs, Row, write
from minikd.training.checkpoint import CheckpointError


class Done(NamedTuple):
    """A row that is finished.

    Attributes:
        line: of the scoreboard.
        runs: what it rests on, each with the whole `machine`.
    """

    line: Json
    runs: list[Json]


class Board:
    """The scoreboard of a call.

    Attributes:
        jobs: those of each row, by its id.
        failure: which result is damaged, in one line; "" if none is.
        error: what a judge raised; None if none did.
        taken: the rows whose results are only in the file, where an earlier call wrote them.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        profile: str,
        store: Store,
        command: Callable[[Iterable[Job], Row | None], str],
        path: Path | None = None,
    ) -> None:
        """Take in what the file holds.

        Args:
            rows: of the call, in their order.
            profile: which one.
            store: where results are.
            command: returns the command that does these jobs again, for one row or for all.
            path: the file; None for none.
        """
        self._rows, self._profile, self.store, self._command, self._path = rows, profile, store, command, path
        self.jobs: dict[str, Jobs] = {row.id: row.jobs(profile) for row in rows}
        self.failure = ""
        self.error: Exception | None = None
        self._done = self._earlier()
        self.taken = tuple(self._done)

    def lines(self) -> list[Json]:
        """Return the lines of the finished rows, in the order of the rows."""
        return [self._done[row.id].line for row in self._rows if row.id in self._done]

    def left(self) -> dict[str, Jobs]:
        """Return the jobs by row, except those of the rows that were taken in."""
        return {row: named for row, named in self.jobs.items() if row not in self.taken}

    def add(self, ids: Iterable[str]) -> None:
        """Judge rows whose jobs are all done, and keep them in the file.

        A row that cannot be judged is left out. `failure` or `error` says why, and the work on other rows goes on.
        """
        ids = list(ids)
        for row in (row for row in self._rows if row.id in ids):
            jobs = self.jobs[row.id]
            try:
                line = row.judged(self._profile, jobs, self.store, self._command(jobs.values(), row))
                self._done[row.id] = Done(line, run_records(jobs.values(), self.store) if self._path else [])
            except CheckpointError as error:
                self.failure = self.failure or str(error)
            except Exception as error:
                self.error = self.error or error
        if ids:
            with contextlib.suppress(OSError):  # it must not stop the work; the last call of `keep` says what is wrong
                self.keep()

    def keep(self) -> None:
        """Write the finished rows into the file, if there is one.

        Raises:
            OSError: if it cannot be written.
        """
        if self._path is not None:
            write(self._path, self._record())

    def _record(self) -> Json:
        """Return the scoreboard in plain JSON; the machines have numbers in it."""
        done = [self._done[row.id] for row in self._rows if row.id in self._done]
        named = (job for row in self._rows if row.id in self._done for job in self.jobs[row.id].values())
        command = self._command(named, None)
        machines: list[Json] = []
        runs: list[Json] = []
        for run in (run for _, of in done for run in of):
            if "machine" in run and run["machine"] not in machines:
                machines.append(run["machine"])
            numbered = {**run, "machine": machines.index(run["machine"])} if "machine" in run else run
            if numbered not in runs:  # a second one of the same key was done again, on another machine
                runs.append(numbered)
        about = {"command": command, "profile": self._profile, "machines": machines}
        return {**about, "rows": [line for line, _ in done], "runs": runs}

    def _earlier(self) -> dict[str, Done]:
        """Return the finished rows of the file that this call would do in the same way, and whose results are lost."""
        try:
            record: Json = json.loads(self._path.read_text(encoding="utf-8")) if self._path else {}
            runs = [
                (run["key"], {**run, "machine": record["machines"][run["machine"]]} if "machine" in run else run)
                for run in record.get("runs", ())
            ]
            lines: dict[str, Json] = {line["row"]: line for line in record.get("rows", ()) if line["command"]}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return {}  # no file, or none of ours: it is replaced
        found = {}
        for row in (row for row in self._rows if row.id in lines):
            jobs, line = self.jobs[row.id].values(), lines[row.id]
            keys = missing(jobs).keys()
            same = line["command"] == self._command(jobs, row) and keys <= {key for key, _ in runs}
            if same and not all(job in self.store for job in jobs):
                found[row.id] = Done(line, [run for key, run in runs if key in keys])
        return found


def run_records(jobs: Iterable[Job], store: Store) -> list[Json]:
    """Return in plain JSON the settings of each run, how many seconds it took on one core, and its machine."""
    records = []
    for job in missing(jobs).values():
        record = store.get(job).record
        about: Json = {name: record[name] for name in ("seconds", "machine") if name in record}
        needs = [need.key for need in job.needs.values()]
        records.append({"key": job.key, "title": job.title, **about, "needs": needs, "task": job.task, **job.settings})
    return records
