"""The command of the paper's experiments: its scoreboard, its workers, and calls that are stopped."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_jobs import SMALL, TINY, a_student, a_teacher, damage, do
from spoken import FSDD

from minikd import __version__
from minikd.paper import command as paper
from minikd.paper import figures, page
from minikd.paper.command import build_parser
from minikd.paper.lab import scoreboard
from minikd.paper.lab.board import Board
from minikd.paper.lab.jobs import Store
from minikd.paper.lab.scoreboard import Name, table
from minikd.paper.rows import ROWS, speech
from minikd.paper.tasks.networks import training
from minikd.plots.canvas import save


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "minikd.paper", *map(str, arguments)], capture_output=True, text=True, **options
    )


def numbers(out):
    """A scoreboard without what may differ from call to call: times, and the folder, which ends a command."""
    board = json.loads(out)
    for line in board:
        del line["seconds"]
        line["command"] = line["command"].partition(" --out ")[0]
    return board


TWO = ("M3", "M7")  # rows that share a teacher, for calls that are to be short


def two(board):
    return [line for line in board if line["row"] in TWO]


SPEECH = [row.id for row in speech.ROWS]
EXPECTED = list(ROWS) if FSDD.exists() else [row for row in ROWS if row not in SPEECH]
ASKED = ["--data", FSDD] if FSDD.exists() else EXPECTED
"""Every row; those of speech only if the recordings are there, because the package holds only a few."""


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The whole scoreboard, tiny, by two processes; and where its results are kept."""
    out = tmp_path_factory.mktemp("smoke")
    done = command(*ASKED, "--profile", "smoke", "--json", "--out", out)
    assert done.returncode == 0, done.stderr
    return numbers(done.stdout), out


@pytest.mark.slow
def test_every_row_runs_and_smoke_claims_nothing(smoke):
    board, _ = smoke
    assert [line["row"] for line in board] == EXPECTED
    for line in board:
        assert line["verdict"] == "claims nothing"
        asked = build_parser().parse_args(shlex.split(line["command"])[3:])
        assert (asked.rows, asked.profile, asked.data) == (
            [line["row"]],
            "smoke",
            FSDD if line["row"] in SPEECH else None,
        )
    assert "claims nothing" in table(board)


@pytest.mark.slow
def test_a_written_scoreboard_has_what_made_it_and_every_figure_can_be_drawn_from_it(smoke, tmp_path):
    _, out = smoke
    path = tmp_path / "smoke.json"
    done = command(*ASKED, "--profile", "smoke", "--json", "--out", out, "--write", path)
    assert done.returncode == 0, done.stderr
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["rows"] == json.loads(done.stdout)
    (machine,) = record["machines"]
    assert machine["numpy"] == np.__version__
    assert {run.get("machine", "data") for run in record["runs"]} <= {0, "data"}
    keys = [run["key"] for run in record["runs"]]
    assert len(set(keys)) == len(keys) == len(list((out / "paper" / "cpu").iterdir()))
    assert all(set(run["needs"]) <= set(keys) for run in record["runs"])
    runs = {run["title"]: run for run in record["runs"]}
    assert runs["student distilled, seed 1"]["config"]["seed"] == 1
    assert runs["student distilled, seed 1"]["seconds"] > 0
    assert {id for _, ids in figures.FIGURES.values() for id in ids} == set(ROWS)
    for name, (draw, ids) in figures.FIGURES.items():
        if not set(ids) <= set(EXPECTED):
            continue
        save(draw(page.numbers(name, record)), tmp_path / f"{name}.png")
        for id in ids:
            assert f"**{id}, claims nothing**" in page.section([name], record, "smoke")
    assert page.scoreboard(record, "smoke").count("claims nothing") == len(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "message"),
    [("a.txt", "--write needs a .json file"), ("nowhere/a.json", "the folder of 'nowhere/a.json' is not there")],
)
def test_a_scoreboard_that_could_not_be_kept_is_refused_before_any_work(file, message, tmp_path):
    done = command("--write", file, "--out", "out", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert message in done.stderr


@pytest.mark.slow
def test_a_printed_command_does_its_row_again_and_finds_what_was_done(smoke):
    _, out = smoke
    done = command(*TWO, "--profile", "smoke", "--out", out, "--workers", 1)
    printed = [line.partition("command  ")[2] for line in done.stdout.splitlines() if "command  " in line]
    assert printed == [f"python -m minikd.paper {row} --profile smoke --out {out}" for row in TWO]
    again = subprocess.run([sys.executable, *shlex.split(printed[1])[1:]], capture_output=True, text=True)
    assert re.search(r"(\d+) of \1 runs were done before", again.stderr)
    assert again.stdout.strip() == done.stdout[done.stdout.index("M7") :].strip()


@pytest.mark.parametrize(
    ("given", "printed"),
    [
        (["M1"], "python -m minikd.paper M1"),
        (["M1", "--profile", "cpu", "--workers", "3", "--dask", "tcp://host:1", "--quiet", "--json"], "…"),
        (["M1", "--gpu", "--profile", "full"], "… --profile full --gpu"),
        (["M1", "--data", "a folder", "--out", "two words"], "… --data 'a folder' --out 'two words'"),
    ],
)
def test_a_command_has_every_option_that_decides_the_result_or_its_place(given, printed):
    parser = build_parser()
    asked = paper.Call(parser, parser.parse_args(given)).command(["M1"])
    assert asked == printed.replace("…", "python -m minikd.paper M1")


@pytest.mark.slow
def test_rows_that_are_finished_are_shown_when_a_job_of_another_row_fails(monkeypatch, tmp_path, capsys):
    bad = training("one that diverges", replace(TINY, learning_rate=1e30), SMALL)
    good = replace(ROWS["M2"], jobs=lambda profile: {Name("alone"): training("small", TINY, SMALL, keep=("test",))})
    failing = replace(ROWS["M1"], jobs=lambda profile: {Name("teacher"): bad})
    monkeypatch.setattr(paper, "ROWS", {"M2": good})
    paper.main(["--profile", "smoke", "--out", str(tmp_path), "--workers", "1", "--quiet"])
    alone = capsys.readouterr().out
    monkeypatch.setattr(paper, "ROWS", {"M1": failing, "M2": good})
    with pytest.raises(SystemExit) as stopped:
        paper.main(["--profile", "smoke", "--out", str(tmp_path), "--workers", "1", "--quiet"])
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert said.out == alone
    assert said.err.startswith("minikd.paper: one that diverges: the cost is")
    assert len(said.err.splitlines()) == 1


def test_a_machine_without_a_gpu_keeps_what_a_cluster_with_gpus_has_done(monkeypatch, tmp_path, capsys):
    job = training("small", TINY, SMALL, keep=("test",))
    monkeypatch.setattr(paper, "ROWS", {"M2": replace(ROWS["M2"], jobs=lambda profile: {Name("alone"): job})})
    do([job], tmp_path / "paper" / "gpu")

    @contextmanager
    def cluster(address):
        yield None, lambda: 1

    def none(name, **options):
        assert name == "cpu", "this machine has no GPU"

    monkeypatch.setattr(paper.cluster, "dask", cluster)
    monkeypatch.setattr(paper, "get_device", none)
    path = tmp_path / "a.json"
    paper.main(["--profile", "smoke", "--out", str(tmp_path), "--dask", "tcp://host:1", "--gpu", "--write", str(path)])
    assert "M2" in capsys.readouterr().out
    assert json.loads(path.read_text(encoding="utf-8"))["machines"][0]["numpy"] == np.__version__


@pytest.mark.slow
def test_a_damaged_result_costs_only_its_own_rows(monkeypatch, tmp_path, capsys):
    teacher, other = a_teacher(), training("small", TINY, SMALL, keep=("test",))
    student = a_student(teacher)
    rows = {
        "M1": replace(ROWS["M1"], jobs=lambda profile: {Name("teacher"): teacher}),
        "M2": replace(ROWS["M2"], jobs=lambda profile: {Name("alone"): other}),
    }
    asked = ["--profile", "smoke", "--out", str(tmp_path), "--workers", "1", "--quiet"]
    monkeypatch.setattr(paper, "ROWS", rows)
    paper.main(["M2", *asked])
    alone = capsys.readouterr().out
    paper.main(asked)
    path = Store(tmp_path / "paper" / "cpu").path(teacher)
    damage(path)
    for needed in ({}, {"M3": replace(ROWS["M3"], jobs=lambda profile: {Name("distilled"): student})}):
        monkeypatch.setattr(paper, "ROWS", {**rows, **needed})
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            paper.main(asked)
        said = capsys.readouterr()
        assert (stopped.value.code, said.out) == (1, alone)
        assert f"{path}: damaged" in said.err
        assert "remove it and run again" in said.err
        assert len(said.err.splitlines()) == 1


def test_a_scoreboard_is_printed_before_it_is_written(monkeypatch, tmp_path, capsys):
    good = replace(ROWS["M2"], jobs=lambda profile: {Name("alone"): training("small", TINY, SMALL, keep=("test",))})
    monkeypatch.setattr(paper, "ROWS", {"M2": good})

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scoreboard, "write_atomically", full)
    with pytest.raises(SystemExit) as stopped:
        paper.main(["--profile", "smoke", "--out", str(tmp_path), "--quiet", "--write", str(tmp_path / "a.json")])
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert "M2" in said.out
    assert "a.json is not written: No space left on device" in said.err


# ---- a file that grows row by row ------------------------------------------------------------------------------------


def row_of(id, *jobs, **changes):
    """A row with small jobs of its own."""
    named = {Name("alone", seed=i): job for i, job in enumerate(jobs)}
    return replace(ROWS["M2"], id=id, jobs=lambda profile: named, **changes)


def small(seed, **changes):
    return training(f"small {seed}", replace(TINY, seed=seed, **changes), SMALL, keep=("test",))


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    """Make a call of these rows with --write full.json, in a folder; return what the file holds, status and stderr."""

    def call(folder, *rows):
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        monkeypatch.setattr(paper, "ROWS", {row.id: row for row in rows})
        status = 0
        try:
            paper.main(["--profile", "smoke", "--workers", "1", "--write", "full.json"])
        except SystemExit as stopped:
            status = stopped.code
        text = Path("full.json").read_text(encoding="utf-8")
        return re.sub(r'"seconds": [\d.]+', '"seconds": 0', text), status, capsys.readouterr().err

    return call


def held(text):
    return [line["row"] for line in json.loads(text)["rows"]]


@pytest.mark.slow
def test_a_call_that_fails_leaves_a_file_with_the_rows_before_it_and_a_later_call_adds_the_rest(call):
    first, second = row_of("M1", small(0)), row_of("M2", small(1), small(0))
    text, status, _ = call("in two", first, row_of("M2", small(1, learning_rate=1e30), small(0)))
    assert (held(text), status) == (["M1"], 1)
    text, status, err = call("in two", first, second)
    assert (held(text), status) == (["M1", "M2"], 0)
    assert "1 of 2 runs were done before" in err
    assert text == call("in one", first, second)[0]


@pytest.mark.slow
def test_rows_whose_results_are_lost_are_taken_from_the_file_if_they_would_be_done_in_the_same_way(call, tmp_path):
    first, second = row_of("M1", small(0)), row_of("M2", small(1), small(0))
    once, _, _ = call("lost", first)
    shutil.rmtree(tmp_path / "lost" / "runs")
    elsewhere = {**json.loads(once), "machines": [{"device": "another", "cores": 9}]}
    (tmp_path / "lost" / "full.json").write_text(json.dumps(elsewhere))
    text, _, err = call("lost", first, second)
    assert "M1 are taken from full.json, because the results that they rest on are no longer below runs" in err
    assert "small 1: done, 1 left" in err
    record = json.loads(text)
    assert record["rows"][0] == json.loads(once)["rows"][0]
    assert [machine["device"] == "another" for machine in record["machines"]] == [True, False]
    assert [(run["title"], run["machine"]) for run in record["runs"]] == [
        ("small 0", 0),
        ("small 1", 1),
        ("small 0", 1),
    ]
    for other in (row_of("M1", small(2)), replace(first, id="M3")):  # other runs, another row: nothing to take
        shutil.rmtree(tmp_path / "lost" / "runs")
        text, _, err = call("lost", other)
        assert (held(text), "taken" in err) == ([other.id], False)


@pytest.mark.parametrize(
    "text",
    [None, "", "[1]", "{}", '{"rows": 3}', '{"rows": [{}]}', '{"rows": [{"row": "M1"}], "machine": {}, "runs": []}'],
)
def test_nothing_is_taken_from_a_file_that_is_no_scoreboard(text, tmp_path):
    path = tmp_path / "full.json"
    if text is not None:
        path.write_text(text)
    board = Board([row_of("M1", small(0))], "smoke", Store(tmp_path), lambda jobs, row: "", path)
    assert board.taken == ()


@pytest.mark.slow
def test_a_judge_that_breaks_does_not_stop_the_rows_after_it(call, tmp_path):
    def broken(profile, results):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        call("broken", row_of("M1", small(0), judge=broken), row_of("M2", small(1)))
    assert held((tmp_path / "broken" / "full.json").read_text("utf-8")) == ["M2"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")
def test_a_killed_call_leaves_a_whole_file_that_the_same_call_completes(tmp_path):
    words = [sys.executable, "-m", "minikd.paper", *TWO, "--profile", "smoke", "--quiet", "--write", "full.json"]
    texts = []
    for kill in (True, False):
        folder = tmp_path / str(kill)
        folder.mkdir()
        if kill:
            process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
            while not (folder / "full.json").exists():
                assert process.poll() is None, "it ended without a row"
                time.sleep(0.01)
            process.kill()
            process.wait()
            assert set(held((folder / "full.json").read_text("utf-8"))) <= set(TWO)
        assert subprocess.run(words, cwd=folder, stdout=subprocess.DEVNULL).returncode == 0
        texts.append(re.sub(r'"seconds": [\d.]+', '"seconds": 0', (folder / "full.json").read_text("utf-8")))
    assert texts[0] == texts[1]
    assert held(texts[0]) == list(TWO)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["paper", "speech"])
def test_a_command_knows_its_version(module):
    done = subprocess.run([sys.executable, "-m", f"minikd.{module}", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"minikd {__version__}\n")


def test_a_claim_has_as_many_networks_as_its_profile():
    assert ROWS["E8"].about("cpu").startswith("ten networks,")
    assert ROWS["E8"].about("smoke").startswith("3 networks,")
    assert ROWS["S2"].about("full") == "ensemble of ten"
    assert all("{" not in row.about("smoke") for row in ROWS.values())
    committed = {row["row"]: row["claim"] for profile in ("cpu", "cpu-speech") for row in page.load(profile)["rows"]}
    assert {id: ROWS[id].about("cpu") for id in committed} == committed


@pytest.mark.slow
def test_one_worker_gives_the_scoreboard_of_two(smoke, tmp_path):
    board, _ = smoke
    done = command(*TWO, "--profile", "smoke", "--json", "--workers", 1, "--out", tmp_path)
    assert numbers(done.stdout) == two(board)
    assert "; M3 complete\n" in done.stderr


@pytest.mark.slow
def test_a_second_call_does_nothing_again_and_says_so(smoke):
    board, out = smoke
    files = {path: path.stat().st_mtime_ns for path in (out / "paper" / "cpu").iterdir()}
    done = command(*ASKED, "--profile", "smoke", "--json", "--out", out)
    assert numbers(done.stdout) == board
    runs = len(files) - FSDD.exists()  # the recordings are a file, and no run
    assert f"{runs} of {runs} runs were done before" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in (out / "paper" / "cpu").iterdir()} == files


def begin(out, *more):
    """A call for two rows that is under way: its first result is there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "minikd.paper", *TWO, "--profile", "smoke", "--json", "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(Path(out).glob("paper/cpu/*.safetensors")):
        assert process.poll() is None, "it ended without a result"
        time.sleep(0.01)
    return process


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])  # as names: Windows lacks the first
def test_a_call_that_was_stopped_goes_on_where_it_was(smoke, tmp_path, how):
    board, _ = smoke
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits deafness
    process = begin(tmp_path)
    signal.signal(signal.SIGINT, heard)
    process.send_signal(getattr(signal, how))
    _, err = process.communicate(timeout=60)
    if how == "SIGINT":
        assert process.returncode == 130
        assert err.splitlines()[-1].endswith("stopped; finished runs are kept, and the same command resumes from there")
        assert "Traceback" not in err
    done = command(*TWO, "--profile", "smoke", "--json", "--out", tmp_path)
    reused = int(re.search(r"(\d+) of \d+ runs were done before", done.stderr)[1])
    assert reused >= 1
    assert numbers(done.stdout) == two(board)


STOP = """
import sys, time
from minikd.paper.lab import executor as engine

if __name__ == "__main__":
    try:
        with engine.processes(1) as (executor, _):
            executor.submit(len, b"").result()
            executor.submit(bytes, 300_000_000)
            time.sleep(float(sys.argv[1]))
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.3, 0.4, 0.5])
def test_a_call_ends_that_is_stopped_while_a_worker_sends_its_result(tmp_path, delay):
    script = tmp_path / "stop.py"
    script.write_text(STOP)
    done = subprocess.run([sys.executable, script, str(delay)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "stopped\n", done.stderr


@pytest.mark.slow
def test_a_worker_that_is_killed_is_said_in_one_line_and_costs_only_its_own_work(smoke, tmp_path):
    psutil = pytest.importorskip("psutil")  # distributed brings it
    board, _ = smoke
    process = begin(tmp_path, "--quiet")
    for child in psutil.Process(process.pid).children():
        if "workers.serve" in " ".join(child.cmdline()):
            child.kill()
            break
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (1, 1), err
    assert "a worker was killed" in err
    done = command(*TWO, "--profile", "smoke", "--json", "--out", tmp_path)
    assert numbers(done.stdout) == two(board)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["M99"], "no row is called M99: the rows are M1, M2"),
        (["--workers", "0"], "--workers must be ≥ 1"),
        (["--profile", "huge"], "invalid choice"),
        (["--dask", "tcp://127.0.0.1:9"], "no Dask scheduler at 'tcp://127.0.0.1:9'"),
    ],
)
def test_a_call_that_cannot_be_met_ends_in_one_line(arguments, message, tmp_path):
    done = command(*arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("**/*.safetensors"))


CLUSTER = """
import sys, threading, time
from pathlib import Path
from distributed import LocalCluster
from minikd.paper.__main__ import main

if __name__ == "__main__":
    out = Path(sys.argv[1])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as cluster:
        def kill():
            while not list(out.glob("paper/cpu/*.safetensors")):
                time.sleep(0.01)
            next(iter(cluster.workers.values())).process.process._process.kill()
            print("killed", file=sys.stderr)
        threading.Thread(target=kill, daemon=True).start()
        main(["M3", "M7", "--profile", "smoke", "--json", "--dask", cluster.scheduler_address, "--out", str(out)])
"""


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_the_same_scoreboard(smoke, tmp_path):
    pytest.importorskip("distributed")
    board, _ = smoke
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    done = subprocess.run([sys.executable, script, tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert "killed" in done.stderr, done.stderr
    assert numbers(done.stdout) == two(board), done.stderr
