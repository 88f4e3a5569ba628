"""The progress of the jobs, for people."""

from __future__ import annotations

import sys

from tqdm import tqdm

from minikd.paper.lab.jobs import Job, Store, missing
from minikd.paper.lab.scoreboard import Jobs


class Progress:
    """A bar with the current row, the runs left and the time left; without a terminal, a line for each run done."""

    def __init__(self, rows: dict[str, Jobs], store: Store, quiet: bool) -> None:
        self.left = {row: missing(jobs.values(), store) for row, jobs in rows.items()}
        todo = {key: job for jobs in self.left.values() for key, job in jobs.items()}
        asked = missing(job for jobs in rows.values() for job in jobs.values())
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

    def done(self, job: Job) -> list[str]:
        """Count one more job as done. Return the rows that are complete with it."""
        self.runs -= 1
        rows = [row for row, jobs in self.left.items() if jobs.pop(job.key, None) and not jobs]
        if self.bar.disable and not self.quiet:
            complete = f"; {', '.join(rows)} complete" if rows else ""
            print(f"{job.title}: done, {self.runs} left{complete}", file=sys.stderr)
        self.bar.update(job.work)
        self._show()
        return rows

    def _show(self) -> None:
        row = next((row for row, jobs in self.left.items() if jobs), "")
        self.bar.set_description_str(f"{row}: {self.runs} runs left")

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
