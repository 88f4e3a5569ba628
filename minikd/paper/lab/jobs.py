"""Jobs: the independent pieces of work that the rows rest on, and the folder that keeps what they gave.

A job is the name of a task, its settings in plain JSON, and the jobs whose results it reads. The three together are its
key, so rows that ask for the same job share it, and what was done once, before a kill or for another row, is found
again. A job's result depends on nothing else: not on the rows asked for, the number of workers or their order.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minikd.training import checkpoint, runs

REVISION = 1
"""To be raised when a task's arithmetic changes, so that no result of the old one is taken for the new one's."""


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work.

    task: a name in `minikd.paper.lab.executor.TASKS`. settings: plain JSON. needs: the jobs whose results the task
    reads, by the names it knows them by. title: for people. work: its length beside that of other jobs, for the time
    left.
    """

    task: str
    settings: dict[str, Any]
    needs: dict[str, Job] = field(default_factory=dict)
    title: str = ""
    work: float = 1.0

    @cached_property
    def key(self) -> str:
        """Equal for jobs that give the same result."""
        return runs.key([REVISION, self.task, self.settings, {name: job.key for name, job in self.needs.items()}])


class Result(NamedTuple):
    """What a job gave: a record in plain JSON, `seconds` of computing among it, and arrays on the host."""

    record: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Store:
    """A folder of results, one sealed file a job; a file is there as a whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, job: Job) -> Path:
        """Where the result of a job is, or will be."""
        return self.folder / f"{job.key}.safetensors"

    def __contains__(self, job: object) -> bool:
        return isinstance(job, Job) and self.path(job).exists()

    def put(self, job: Job, result: Result) -> None:
        """Keep a result."""
        checkpoint.save(self.path(job), result.arrays, {**result.record, "title": job.title})

    def get(self, job: Job) -> Result:
        """A result that was kept; raises CheckpointError where it is missing or damaged."""
        arrays, record = checkpoint.load(self.path(job))
        return Result(record, arrays)


def missing(jobs: Iterable[Job], store: Container[Job] = ()) -> dict[str, Job]:
    """By key, the jobs that are yet to be done for these to be, each after those it needs; without a store, all."""
    found: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.key not in found and job not in store:
            for need in job.needs.values():
                visit(need)
            found[job.key] = job

    for job in jobs:
        visit(job)
    return found
