"""The engine: jobs through an executor of `concurrent.futures`, which may be processes here or a Dask cluster.

Workers get a job's inputs and return its result; files are written here alone, so a worker may be anywhere. A job
computes on one thread of BLAS wherever it runs: results are the same bits however many workers there are, and two jobs
side by side are faster than two threads for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from time import process_time, sleep
from typing import Any

from threadpoolctl import threadpool_limits

from minikd.engines.device import get_device
from minikd.engines.gpu import gpu_errors
from minikd.paper.lab.jobs import Job, Result, Store, missing
from minikd.paper.lab.workers import Workers
from minikd.paper.tasks import networks as tasks
from minikd.paper.tasks import pairs
from minikd.paper.tasks import speech as acoustics
from minikd.training.checkpoint import CheckpointError

TASKS = {**tasks.TASKS, **pairs.TASKS, **acoustics.TASKS}

PAUSE = 1.0  # seconds from one look at the workers to the next


class JobError(RuntimeError):
    """A job that failed: which, and why. What was done before it is kept."""


@gpu_errors()
def perform(task: str, settings: dict[str, Any], inputs: dict[str, Result], device: str) -> Result:
    """Do one job, wherever this runs; from then on this process has one thread of BLAS.

    The limit is never lifted: it holds for the whole process, in which a thread beside this one may be computing.
    """
    began = process_time()
    threadpool_limits(1)
    record, arrays = TASKS[task](settings, inputs, get_device(device))
    return Result({**record, "seconds": round(process_time() - began, 2)}, arrays)


def run(
    jobs: Iterable[Job],
    store: Store,
    executor: Executor,
    *,
    workers: Callable[[], int],
    device: str = "cpu",
    on_done: Callable[[Job], None] = lambda job: None,
) -> None:
    """Do what is missing of these jobs and keep it in the store, those that others wait longest for first.

    Args:
        workers: how many there are just now, asked every second; may raise BrokenExecutor. The executor has two jobs
            for each at any time, so that none is idle, and gets no more while there are no workers.
        device: "cpu" or "gpu", where the workers compute.
        on_done: called as each result is kept.
    Raises: JobError, when the jobs that run beside a failed one have ended and are kept, or at once, where workers are
        lost or a result that others need is damaged.
    """
    waiting = missing(jobs, store)
    urgency = _urgency(waiting)
    running: dict[Future[Result], Job] = {}
    failed: JobError | None = None
    while running or (waiting and failed is None):
        ready = [job for job in waiting.values() if all(need in store for need in job.needs.values())]
        ready.sort(key=lambda job: -urgency[job.key])
        try:
            room = 2 * workers() - len(running)
            for job in ready[: max(0, room)] if failed is None else ():
                inputs = {name: store.get(need) for name, need in job.needs.items()}
                running[executor.submit(perform, job.task, job.settings, inputs, device)] = job
                del waiting[job.key]
            if not running:  # no worker is there yet
                sleep(PAUSE)
            done, _ = wait(running, timeout=PAUSE, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                try:
                    store.put(job, future.result())
                except BrokenExecutor:
                    raise
                except Exception as error:
                    failed = failed or JobError(f"{job.title}: {error}")
                else:
                    on_done(job)
        except (BrokenExecutor, CheckpointError) as error:
            raise JobError(str(error)) from None
    if failed is not None:
        raise failed


def _urgency(jobs: dict[str, Job]) -> dict[str, float]:
    """The work from each job to the end of the longest chain of jobs that wait for it."""
    urgency = {key: job.work for key, job in jobs.items()}
    for key in reversed(jobs):  # those that need others come after them
        for need in jobs[key].needs.values():
            if need.key in jobs:
                urgency[need.key] = max(urgency[need.key], jobs[need.key].work + urgency[key])
    return urgency


# ---- executors -------------------------------------------------------------------------------------------------------


@contextmanager
def processes(count: int) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Processes on this machine, `count` of them. An error in the block, such as Ctrl-C, stops them at once."""
    executor = Workers(count)
    try:
        yield executor, lambda: count
    except BaseException:
        executor.kill()
        raise
    executor.shutdown()
