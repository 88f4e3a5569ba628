"""The workers of the paper's jobs: however one of them ends, the call ends too, and says why in one line."""

import os
import re
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from itertools import chain, repeat

import pytest

from minikd import __version__
from minikd.paper.command import main
from minikd.paper.lab import cluster
from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Job, Store
from minikd.paper.tasks.networks import mean_task

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
from minikd.paper.lab import executor as engine

if __name__ == "__main__":
    with engine.processes(2) as (executor, _):
        for future in [executor.submit(time.sleep, 0.5) for _ in range(2)]:
            future.result()
        try:
            executor.submit(Large).result(timeout=90)
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
from minikd.paper.lab import executor as engine

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
from minikd.paper.lab import executor as engine

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

INTERRUPTED_AGAIN = """
import os, signal, subprocess, time
from minikd.paper.lab import executor as engine

kill = subprocess.Popen.kill

def kill_late(process):
    signal.raise_signal(signal.SIGINT)
    kill(process)

subprocess.Popen.kill = kill_late
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits deafness
try:
    with engine.processes(1) as (executor, _):
        executor.submit(os.getpid).result()
        busy = executor.submit(time.sleep, 600)
        while not busy.running():
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("stopped")
"""

PRINTS = """
import os
from minikd.paper.lab import executor as engine

if __name__ == "__main__":
    with engine.processes(1) as (executor, _):
        executor.submit(os.system, "echo printed").result()
        print(executor.submit(sum, [3, 4]).result())
"""

DASK = """
from minikd.paper.lab import cluster
from minikd.paper.__main__ import main

cluster.LIMIT = 2
"""

PORT = """
import socket, threading

server, keep = socket.create_server(("127.0.0.1", 0)), []

def serve():
    while True:
        ANSWERS

threading.Thread(target=serve, daemon=True).start()
main(["M1", "--dask", f"tcp://127.0.0.1:{server.getsockname()[1]}"])
"""

SCHEDULER = """
import os, subprocess, sys, threading
from pathlib import Path

if __name__ == "__main__":
    from distributed import LocalCluster
    from minikd.paper.__main__ import main

    started = []

    def start_worker(path):
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        more = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
        env = {**os.environ, "PYTHONPATH": str(Path(path).resolve())}
        started.append(subprocess.Popen(worker + more, env=env, stderr=subprocess.DEVNULL))

    def obey():
        for order in sys.stdin:
            exec(order)

    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=0, **options) as cluster:
        threading.Thread(target=obey, daemon=True).start()
        try:
            main(["M3", "M7", "--profile", "smoke", "--dask", cluster.scheduler_address, "--out", "out"])
        finally:
            for process in started:
                process.kill()
"""


pytestmark = pytest.mark.slow  # nearly every test starts processes

started = []


@pytest.fixture(autouse=True)
def no_process_outlives_its_test():
    """Keep one failing test from making those after it fail."""
    yield
    while started:
        with started.pop() as process:  # which closes its pipes and waits
            process.kill()


def python(folder, text, **options):
    script = folder / "script.py"
    script.write_text(text)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": folder, **options}
    started.append(subprocess.Popen([sys.executable, script], **options))
    return started[-1]


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


def test_another_ctrl_c_does_not_keep_the_workers_from_being_stopped(tmp_path):
    out, err = python(tmp_path, INTERRUPTED_AGAIN).communicate(timeout=60)
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
    assert capsys.readouterr().err == "minikd.paper: Too many open files\n"


# ---- a Dask cluster --------------------------------------------------------------------------------------------------


def test_nothing_is_given_to_an_executor_while_there_are_no_workers(tmp_path, monkeypatch):
    class Strict(ThreadPoolExecutor):
        def submit(self, *arguments):
            assert asked[-1] > 0
            return super().submit(*arguments)

    def workers():
        asked.append(next(counts))
        return asked[-1]

    monkeypatch.setattr(engine, "PAUSE", 0.001)
    asked, counts = [], chain([0, 0], repeat(1))
    job = Job(mean_task, {}, title="no inputs")
    with Strict(1) as executor, pytest.raises(engine.JobError, match="no inputs"):  # it was tried, and failed
        engine.run([job], Store(tmp_path), executor, workers=workers)
    assert asked[:3] == [0, 0, 1]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "no Dask scheduler at '' (missing port number in address ''): start one with"),
        ("not an address", "no Dask scheduler at 'not an address' (missing port number"),
        ("http://127.0.0.1:8787/status", "no Dask scheduler at 'http://127.0.0.1:8787/status' (unknown address scheme"),
    ],
)
def test_an_address_that_is_none_is_refused_in_one_line(address, message, tmp_path):
    pytest.importorskip("distributed")
    _, err = python(tmp_path, f'{DASK}main(["M1", "--dask", {address!r}])').communicate(timeout=120)
    assert err.startswith(f"minikd.paper: {message}")
    assert len(err.splitlines()) == 1


SILENT = "keep.append(server.accept())"
WEB = 'keep.append(server.accept()[0]); keep[-1].send(b"HTTP/1.0 400 Bad request syntax\\r\\n\\r\\n" + bytes(999))'


@pytest.mark.parametrize("answers", [SILENT, WEB])
def test_a_port_of_something_else_is_refused_in_one_line(answers, tmp_path):
    pytest.importorskip("distributed")
    process = python(tmp_path, DASK + PORT.replace("ANSWERS", answers))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.startswith("minikd.paper: what listens at 'tcp://127.0.0.1:")
    assert len(err.splitlines()) == 1, err


class Run:
    """A call that sends its work to a cluster, whose workers this test starts and stops."""

    def __init__(self, folder):
        self.folder, self.said = folder, []
        self.process = python(folder, SCHEDULER, stdin=subprocess.PIPE)

    def until(self, words):
        for line in self.process.stderr:
            self.said.append(line)
            if words in line:
                return
        pytest.fail(f"ended without saying {words!r}: {self.said}")

    def tell(self, order):
        print(order, file=self.process.stdin, flush=True)

    def end(self):
        out, err = self.process.communicate(timeout=300)
        return out, self.said + err.splitlines(keepends=True)


def test_a_run_waits_for_workers_and_says_so_at_the_start_and_when_it_has_lost_them(tmp_path):
    pytest.importorskip("distributed")
    run = Run(tmp_path)
    run.until("waiting for workers")
    run.tell("cluster.scale(1)")
    run.until("teacher, seed 0: done")
    run.tell("cluster.scale(0)")
    run.until("waiting for workers")
    run.tell("cluster.scale(1)")
    out, said = run.end()
    assert run.process.returncode == 0, said
    assert "M7" in out


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("raise ModuleNotFoundError(\"No module named 'minikd'\")", "No module named 'minikd'"),
        # Where minikd is installed for editing, its subpackages are found behind the other one.
        ('__version__ = "0.0.1"', "(?:No module named 'minikd.paper'|its minikd is 0.0.1)"),
    ],
)
def test_a_worker_that_lacks_minikd_is_named_with_the_cause_before_it_gets_a_job(package, message, tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "other" / "minikd").mkdir(parents=True)
    (tmp_path / "other" / "minikd" / "__init__.py").write_text(package)
    run = Run(tmp_path)
    run.until("waiting for workers")
    run.tell("start_worker('other')")
    _, err = run.end()
    assert run.process.returncode == 1
    assert re.search(rf"the Dask worker tcp://\S+ cannot do jobs of minikd \(\w+: {message}\): install minikd", err[-1])
    assert len(err) == 2
    assert not list(tmp_path.glob("out/**/*.safetensors"))


def test_a_worker_with_another_version_of_minikd_refuses_a_job():
    with pytest.raises(ImportError, match=f"its minikd is {__version__}"):
        cluster.answer("0.0.0", b"")


def test_a_job_whose_workers_end_one_after_another_names_that_as_the_cause():
    scheduler = pytest.importorskip("distributed.scheduler")
    answered, future = Future(), Future()
    answered.set_exception(scheduler.KilledWorker("job", None, 3))
    cluster._hand_on(future, answered)
    assert isinstance(future.exception(), BrokenExecutor)
    assert str(future.exception()).startswith("one Dask worker after another ended during this job")
