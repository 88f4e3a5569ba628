"""Jobs: the independent pieces of work that the rows need, and the folder that keeps their results.

A job is a task, its settings in plain JSON, and the jobs whose results it reads. The three together make its key. So
rows that ask for the same job share it, and work that was done once, before a kill or for another row, is found again.
A job's result depends on nothing else: not on the rows you ask for, the number of workers, or their order.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from minikd.engines.device import Device
from minikd.training import checkpoint, runs

Json: TypeAlias = dict[str, Any]
"""Plain JSON, by name."""
REVISION = 2
"""Increase it when a task computes or returns something else, so that an old result is never taken for a new one."""


class Result(NamedTuple):
    """The result of a job.

    Attributes:
        record: plain JSON; `seconds` is its computing time on one core, and `machine` where it was computed.
        arrays: by name, on the host.
    """

    record: Json
    arrays: dict[str, np.ndarray]


Inputs: TypeAlias = dict[str, Result]
"""The results of a job's needs."""
Output: TypeAlias = tuple[Json, dict[str, np.ndarray]]
"""A record and arrays, as a task returns them."""
Task: TypeAlias = Callable[[Json, Inputs, Device], Output]
"""What a job does: from its settings, the results of its needs, and a device."""


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work.

    Attributes:
        do: the task, a module's function: a worker imports it by its dotted name.
        settings: plain JSON.
        needs: the jobs whose results the task reads, by the task's names for them.
        title: for people.
        work: how long it takes, relative to other jobs; the time left is estimated from it.
    """

    do: Task
    settings: Json
    needs: dict[str, Job] = field(default_factory=dict)
    title: str = ""
    work: float = 1.0

    @property
    def task(self) -> str:
        """The task's name in keys and records: that of `closed_forms_task` is "closed forms"."""
        return self.do.__name__.removesuffix("_task").replace("_", " ")

    @cached_property
    def key(self) -> str:
        """Equal for jobs that give the same result."""
        return runs.key([REVISION, self.task, self.settings, {name: job.key for name, job in self.needs.items()}])


class Store:
    """A folder of results, one sealed file per job. A file is there as a whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, job: Job) -> Path:
        """Return where the result of a job is, or will be."""
        return self.folder / f"{job.key}.safetensors"

    def __contains__(self, job: object) -> bool:
        return isinstance(job, Job) and self.path(job).exists()

    def put(self, job: Job, result: Result) -> None:
        """Keep a result."""
        checkpoint.save(self.path(job), result.arrays, {**result.record, "title": job.title})

    def get(self, job: Job) -> Result:
        """Return a result that was kept.

        Raises:
            CheckpointError: if the file is missing or damaged.
        """
        arrays, record = checkpoint.load(self.path(job))
        return Result(record, arrays)


def missing(jobs: Iterable[Job], store: Container[Job] = ()) -> dict[str, Job]:
    """Return, by key, the jobs still to be done for these, each after those it needs; without a store, all of them."""
    found: dict[str, Job] = {}

    def visit(job: Job) -> None:
        if job.key not in found and job not in store:
            for need in job.needs.values():
                visit(need)
            found[job.key] = job

    for job in jobs:
        visit(job)
    return found
