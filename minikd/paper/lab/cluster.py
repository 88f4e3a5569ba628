"""A Dask cluster that does calls, behind the interface of `concurrent.futures`.

Workers are sent only built-in functions and bytes. A worker that lacks minikd can then answer with an error. If it
were sent a function of minikd, it could not read the message: it would close itself, and nobody would learn why.
"""

from __future__ import annotations

import logging
import pickle
import platform
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures import TimeoutError as TooLong  # on Python 3.10 it differs from the built-in one
from contextlib import contextmanager
from functools import partial
from threading import Thread
from typing import Any, TypeVar

import numpy as np
from tqdm import tqdm

from minikd import __version__
from minikd.paper.lab import workers

LIMIT = 10.0  # seconds for an answer that needs no work
CALL = "__import__('importlib').import_module('minikd.paper.lab.cluster').answer(version, call)"

T = TypeVar("T")


@contextmanager
def dask(address: str) -> Iterator[tuple[Executor, Callable[[], int]]]:
    """Use the workers of a Dask cluster, which may come, go and die; minikd must be installed where they run.

    Args:
        address: of the scheduler.

    Yields:
        The executor, and a function that returns how many threads compute at the moment.

    Raises:
        ValueError: if the extra `dask` is missing, no scheduler answers, or a worker cannot do jobs of minikd.
    """
    try:
        from distributed import Client
        from distributed.utils import silence_logging_cmgr
    except ImportError:
        raise ValueError("--dask needs the extra `dask`: python -m pip install 'minikd[dask]'") from None
    with silence_logging_cmgr(logging.CRITICAL):  # no tracebacks of its own: we report each cause in one line
        try:
            # Its own limit does not hold if something accepts the connection and says nothing.
            client = within(1.5 * LIMIT, lambda: Client(address, timeout=LIMIT))
        except Exception as error:
            if isinstance(error, (OSError, ValueError)) and not isinstance(error, TooLong):
                wrong = f"no Dask scheduler at {address!r} ({error})"
                fix = "start one with `dask scheduler`, and give its address, as in tcp://127.0.0.1:8786"
            else:  # silence, or whatever distributed makes of foreign bytes
                wrong = f"what listens at {address!r} is no Dask scheduler"
                fix = "give the scheduler's own address, not its dashboard's"
            raise ValueError(f"{wrong}: {fix}") from None
        with client:
            cluster = Cluster(client, address)
            try:
                cluster.count()
            except BrokenExecutor as error:
                raise ValueError(str(error)) from None
            yield cluster, cluster.count


class Cluster(Executor):
    """Does calls on the workers of a cluster; if the cluster fails, BrokenExecutor names the cause."""

    def __init__(self, client: Any, address: str) -> None:
        self._client, self._address = client, address
        self._executor = client.get_executor(pure=False)
        self._fit: set[str] = set()
        self._waiting = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do a call on some worker; function, arguments and result must be picklable."""
        future: Future[Any] = Future()
        call = _named(fn, args, kwargs)
        try:
            answered = self._executor.submit(eval, CALL, call)
        except Exception:  # the client closes itself when it has lost the scheduler
            raise BrokenExecutor(self._gone()) from None
        answered.add_done_callback(partial(_hand_on, future))
        return future

    def count(self) -> int:
        """Return how many threads compute at the moment; new workers do a small call first.

        If there are none, a line says so.

        Raises:
            BrokenExecutor: if the scheduler is gone, or a worker cannot do jobs of minikd.
        """
        try:
            threads = within(3 * LIMIT, self._client.nthreads)
        except Exception:
            raise BrokenExecutor(self._gone()) from None
        new = [worker for worker in threads if worker not in self._fit]
        if new:
            self._try(new)
        fit = self._fit & threads.keys()
        if not fit and not self._waiting:
            has = "none that answers" if threads else "none"
            say(f"waiting for workers: the Dask cluster has {has}; `dask worker ADDRESS` starts one")
        self._waiting = not fit
        return sum(threads[worker] for worker in fit)

    def _try(self, new: list[str]) -> None:
        """Have each new worker do a small call, outside the queue of tasks. One that has just gone stops no run."""
        try:
            call = _named(versions)
            answers = within(LIMIT, lambda: self._client.run(eval, CALL, call, workers=new, on_error="return"))
        except Exception:
            return
        for worker, answer in answers.items():
            if isinstance(answer, OSError):
                continue
            if isinstance(answer, Exception):
                raise BrokenExecutor(_unfit(f"the Dask worker {worker}", answer))
            there = pickle.loads(answer)[1]
            if there != versions():
                say(f"the Dask worker {worker} has {there}, not {versions()}: its last digits may differ")
            self._fit.add(worker)

    def _gone(self) -> str:
        return f"the Dask scheduler at {self._address} no longer answers"


def answer(version: str, call: bytes) -> bytes:
    """Do a call on a worker, if its minikd has the same version as the caller's."""
    if version != __version__:
        raise ImportError(f"its minikd is {__version__}")
    return workers.reply(call)


def versions() -> str:
    """Return what the last digits of a result depend on, besides the processor."""
    return f"Python {platform.python_version()} and NumPy {np.__version__}"


def _named(fn: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the names that `CALL` reads."""
    return {"version": __version__, "call": pickle.dumps((fn, args, kwargs or {}))}


def _hand_on(future: Future[Any], answered: Future[bytes]) -> None:
    """Pass the cluster's answer on to a call's future."""
    if answered.cancelled():
        future.set_exception(BrokenExecutor("the Dask scheduler has gone, and the job with it"))
        return
    error = answered.exception()
    if error is None:
        failure, result = pickle.loads(answered.result())
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(RuntimeError(failure))
    elif type(error).__name__ == "KilledWorker":
        future.set_exception(BrokenExecutor("one Dask worker after another ended during this job: see their logs"))
    else:
        future.set_exception(BrokenExecutor(_unfit("a Dask worker", error)))


def _unfit(worker: str, error: BaseException) -> str:
    cure = f": install minikd {__version__} where it runs" if isinstance(error, ImportError) else ""
    return f"{worker} cannot do jobs of minikd ({type(error).__name__}: {error}){cure}"


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, or raise what it raises. If it takes longer, give it up and raise TimeoutError."""
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=do, daemon=True).start()
    return future.result(timeout=seconds)


def say(line: str) -> None:
    """Print a line above the progress, if any."""
    tqdm.write(line, file=sys.stderr)
