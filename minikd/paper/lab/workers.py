"""Processes on this machine that do calls, behind the interface of `concurrent.futures`.

`concurrent.futures.ProcessPoolExecutor` and loky give all workers one queue for their results. If a worker is killed
while it writes there, half a result stays in the queue, and whoever reads it waits forever. Here each worker has its
own pipes. When a worker ends, at whatever moment and for whatever reason, its pipes end too. There is nothing to lock.

A worker is a new Python: a fork would copy the locks of threads and the context of a GPU. It does not import the script
that started it, so the script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from typing import IO, Any

BOOT = "import sys; sys.path[:] = sys.argv[1:]; from minikd.paper.lab import workers; workers.serve()"
BROKEN = (OSError, EOFError, pickle.UnpicklingError)  # what a pipe raises that ends before a message does


class Workers(Executor):
    """At most `count` processes, each started when there is work for it.

    An exception in a call comes back as a RuntimeError with the same text. If a worker ends before its call does, the
    call raises BrokenExecutor, which says how the worker ended.
    """

    def __init__(self, count: int) -> None:
        self._threads = ThreadPoolExecutor(count)  # one per process: it sends the calls and waits for the replies
        self._mine = threading.local()
        self._started: list[_Process] = []
        self._lock = threading.Lock()
        self._killed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do a call in a process; function, arguments and result must be picklable."""
        return self._threads.submit(self._do, (fn, args, kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the processes end when the calls are done, and wait for both."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        if wait:
            for process in self._started:
                process.close()

    def kill(self) -> None:
        """End the processes at once. A thread does this, because another Ctrl-C would stop the main thread halfway."""
        ending = threading.Thread(target=self._end)
        ending.start()
        ending.join()

    def _end(self) -> None:
        with self._lock:
            self._killed = True
            for process in self._started:
                process.popen.kill()
        self.shutdown(cancel_futures=True)

    def _do(self, call: object) -> Any:
        if not hasattr(self._mine, "process"):
            with self._lock:
                if self._killed:
                    raise BrokenExecutor("the workers were stopped")
                self._mine.process = _Process()
                self._started.append(self._mine.process)
        failure, result = self._mine.process.ask(call)
        if failure is not None:
            raise RuntimeError(failure)
        return result


class _Process:
    """A process and the pipes to it and from it."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", BOOT, *sys.path]
        try:
            with _without_ctrl_c():
                self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise BrokenExecutor(f"a worker cannot be started ({error.strerror}): try fewer with --workers") from None
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self._calls, self._replies = self.popen.stdin, self.popen.stdout

    def ask(self, call: object) -> Any:
        try:
            _write(self._calls, pickle.dumps(call))
            reply = pickle.load(self._replies)
        except BROKEN:
            raise BrokenExecutor(_how_it_ended(self.popen.wait())) from None
        return pickle.loads(reply)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a process that was killed reads nothing more
            self._calls.close()
        self.popen.wait()
        self._replies.close()


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Mask Ctrl-C in this thread. A process started now inherits the mask, and leaves Ctrl-C to this process."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how_it_ended(code: int) -> str:
    if code == -9:
        return "a worker was killed, perhaps for lack of memory: try fewer with --workers"
    how = f"by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"by itself, with code {code}"
    return f"a worker ended {how}, before its job was done"


def _write(stream: IO[bytes], message: bytes) -> None:
    """Send a message, which `pickle.load` reads as a whole."""
    pickle.dump(message, stream)
    stream.flush()


# ---- in a worker -----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Do the calls that come on the standard input; end when it ends, so a killed parent leaves no worker behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows, which has no mask
    calls, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing that a job prints is taken for a reply
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        with contextlib.suppress(*BROKEN):
            while True:
                waiting.put(pickle.load(calls))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            _write(replies, reply(waiting.get()))


def reply(call: bytes) -> bytes:
    """Do a pickled call; return the pickle of two things: the text of its exception or None, and its result."""
    try:
        fn, args, kwargs = pickle.loads(call)
        return pickle.dumps((None, fn(*args, **kwargs)))
    except Exception as error:
        return pickle.dumps((str(error) or type(error).__name__, None))
