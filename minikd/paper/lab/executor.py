"""How jobs are done: through an executor of `concurrent.futures`, either processes here or a Dask cluster.

A worker gets a job's inputs and returns its result. Only this process writes files, so a worker may be anywhere. A job
computes on one thread of BLAS wherever it runs. So results have the same bits however many workers there are, and two
jobs side by side are faster than one job on two threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from functools import cache
from time import process_time, sleep

from threadpoolctl import threadpool_limits

from minikd.engines.device import get_device
from minikd.engines.gpu import gpu_errors
from minikd.engines.machine import machine
from minikd.paper.lab.jobs import Inputs, Job, Json, Result, Store, Task, missing
from minikd.paper.lab.workers import Workers
from minikd.training.checkpoint import CheckpointError

PAUSE = 1.0  # seconds between two checks of the workers


class JobError(RuntimeError):
    """A job failed; the message says which, and why. Everything done before it is kept."""


@gpu_errors()
def perform(task: Task, settings: Json, inputs: Inputs, device: str) -> Result:
    """Do one job, wherever this runs. From then on this process has one thread of BLAS.

    The limit is never lifted. It holds for the whole process, in which another thread may be computing.
    """
    began = process_time()
    threadpool_limits(1)
    record, arrays = task(settings, inputs, get_device(device))
    return Result({**record, "seconds": round(process_time() - began, 2), "machine": _machine(device)}, arrays)


@cache
def _machine(device: str) -> Json:
    """Return what you must know about this machine, except its threads: a job has one."""
    return {name: value for name, value in machine(get_device(device)).items() if name != "threads"}


def run(
    jobs: Iterable[Job],
    store: Store,
    executor: Executor,
    *,
    workers: Callable[[], int],
    device: str = "cpu",
    stage: Mapping[str, int] | None = None,
    on_done: Callable[[Job], None] = lambda job: None,
) -> None:
    """Do the missing jobs and keep their results.

    The jobs of the first stage come first. Among those of one stage, the jobs that most work waits for come first. No
    worker is idle for this: while no job of a stage is ready, jobs of the next stage begin.

    Args:
        jobs: to be done, with all that they need.
        store: where results are kept.
        executor: does the jobs. It holds two jobs per worker at any time, so that no worker is idle, and gets no new
            ones while there are no workers.
        workers: returns the present number of workers; it is asked every second and may raise BrokenExecutor.
        device: "cpu" or "gpu", where the workers compute.
        stage: of each job, by key; None if all are of one stage.
        on_done: called as each result is kept.

    Raises:
        JobError: if a job failed, after the jobs beside it have ended and are kept. At once, if workers are lost or a
            result that others need is damaged.
    """
    waiting = missing(jobs, store)
    urgency = _urgency(waiting)
    running: dict[Future[Result], Job] = {}
    failed: JobError | None = None
    while running or (waiting and failed is None):
        ready = [job for job in waiting.values() if all(need in store for need in job.needs.values())]
        ready.sort(key=lambda job: (stage[job.key] if stage else 0, -urgency[job.key]))
        try:
            room = 2 * workers() - len(running)
            for job in ready[: max(0, room)] if failed is None else ():
                inputs = {name: store.get(need) for name, need in job.needs.items()}
                running[executor.submit(perform, job.do, job.settings, inputs, device)] = job
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
    """Return the work from each job to the end of the longest chain of jobs that wait for it."""
    urgency = {key: job.work for key, job in jobs.items()}
    for key in reversed(jobs):  # those that need others come after them
        for need in jobs[key].needs.values():
            if need.key in jobs:
                urgency[need.key] = max(urgency[need.key], jobs[need.key].work + urgency[key])
    return urgency


# ---- executors -------------------------------------------------------------------------------------------------------


@contextmanager
def processes(count: int) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Start `count` processes on this machine. An error in the block, such as Ctrl-C, stops them at once."""
    executor = Workers(count)
    try:
        yield executor, lambda: count
    except BaseException:
        executor.kill()
        raise
    executor.shutdown()
