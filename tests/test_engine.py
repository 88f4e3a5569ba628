"""The engine's workers: however one of them ends, the call ends too, and says why in one line."""

import os
import subprocess
import sys

import pytest

from minikd.paper import engine
from minikd.paper.__main__ import main

# A result that kills its worker as soon as the worker has begun to send it.
LARGE = """
import os, signal, sys, threading

SENDING = {"_write", "_send", "_send_bytes"}

class Large:
    def __init__(self):
        self.data = bytes(300_000_000)

    def __reduce__(self):
        sender = threading.get_ident()

        def kill():
            while sys._current_frames()[sender].f_code.co_name not in SENDING:
                pass
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        return bytes, (self.data,)
"""

SENDS = """
import time
from concurrent.futures import BrokenExecutor
from large import Large
from minikd.paper import engine

if __name__ == "__main__":
    with engine.processes(2) as (executor, _):
        for future in [executor.submit(time.sleep, 0.5) for _ in range(2)]:
            future.result()
        try:
            executor.submit(Large).result(timeout=30)
        except BrokenExecutor:
            print("broken")
"""

ROW = """
from minikd.paper.__main__ import main

main(["M1", "--profile", "smoke", "--out", "out", "--quiet"])
"""

NO_SHARED_MEMORY = """
import _multiprocessing

class NoSemaphore:
    SEM_VALUE_MAX = 1

    def __new__(cls, *arguments):
        raise FileNotFoundError(2, "No such file or directory")

_multiprocessing.SemLock = NoSemaphore
"""

BUSY = """
import os, time
from minikd.paper import engine

if __name__ == "__main__":
    with engine.processes(2) as (executor, _):
        for pid in [executor.submit(os.getpid), executor.submit(os.getpid)]:
            pid.result()
        print("busy", flush=True)
        executor.submit(time.sleep, 600)
        executor.submit(time.sleep, 600).result()
"""

INTERRUPTED = """
import os, signal, time
from minikd.paper import engine

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits deafness
    try:
        with engine.processes(2) as (executor, _):
            def busy():
                executor.submit(os.getpid).result()
                executor.submit(time.sleep, 600)

            STARTED
            os.killpg(0, signal.SIGINT)
            time.sleep(60)
    except KeyboardInterrupt:
        print("stopped")
"""

PRINTS = """
import os
from minikd.paper import engine

if __name__ == "__main__":
    with engine.processes(1) as (executor, _):
        executor.submit(os.system, "echo printed").result()
        print(executor.submit(sum, [3, 4]).result())
"""


def python(folder, text, **options):
    script = folder / "script.py"
    script.write_text(text)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder, **options}
    return subprocess.Popen([sys.executable, script], **options)


def test_a_worker_that_is_killed_while_it_sends_its_result_breaks_the_executor(tmp_path):
    (tmp_path / "large.py").write_text(LARGE)
    out, err = python(tmp_path, SENDS).communicate(timeout=120)
    assert (out, err) == ("broken\n", "")


def test_a_script_needs_no_main_guard(tmp_path):
    out, err = python(tmp_path, ROW).communicate(timeout=120)
    assert "M1" in out
    assert err == ""


def test_workers_need_no_shared_memory(tmp_path):
    out, err = python(tmp_path, NO_SHARED_MEMORY + ROW).communicate(timeout=120)
    assert "M1" in out
    assert err == ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no groups of processes that a signal reaches")
@pytest.mark.parametrize("started", ["pass", "executor.submit(time.sleep, 600); time.sleep(0.05)", "busy()"])
def test_ctrl_c_in_a_terminal_which_reaches_the_workers_too_stops_them_without_a_word(tmp_path, started):
    process = python(tmp_path, INTERRUPTED.replace("STARTED", started), start_new_session=True)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("stopped\n", "")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_parent_that_is_killed_leaves_no_worker_behind(tmp_path):
    psutil = pytest.importorskip("psutil")  # distributed brings it
    process = python(tmp_path, BUSY)
    assert process.stdout.readline() == "busy\n"
    workers = psutil.Process(process.pid).children(recursive=True)
    assert len(workers) >= 2
    process.kill()
    process.communicate(timeout=60)  # its pipes end when no worker holds them any more
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def test_a_worker_that_ends_by_itself_says_how():
    with engine.processes(1) as (executor, _):
        failure = executor.submit(sys.exit, 3).exception(timeout=60)
    assert str(failure) == "a worker ended by itself, with code 3, before its job was done"


def test_what_a_job_prints_is_not_taken_for_its_result(tmp_path):
    out, err = python(tmp_path, PRINTS).communicate(timeout=60)
    assert (out, err.split()) == ("7\n", ["printed"])


def test_an_error_of_the_system_that_is_about_no_file_is_told_without_one(tmp_path, monkeypatch, capsys):
    def processes(count):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(engine, "processes", processes)
    with pytest.raises(SystemExit):
        main(["M1", "--out", str(tmp_path)])
    assert capsys.readouterr().err == "minikd.paper: [Errno 24] Too many open files\n"
