"""The command for a card: every stage works without one, and none stops the others."""

import json
import subprocess
import sys
from functools import partial

import pytest

from benchmarks import card, report
from benchmarks.card import Stage, carry_out
from minikd.paper.command import build_parser
from minikd.paper.rows import ROWS


def stage(name, code, *, share=1.0, least=0.0, said=card._last_line, file=None):
    return Stage(name, share, least, lambda seconds: ["-c", code], said, file)


def done(todo, seconds=60.0):
    """The stages as they are recorded, and what was recorded at each save."""
    record, saved = {"stages": []}, []
    carry_out(todo, seconds, record, lambda: saved.append(json.loads(json.dumps(record["stages"]))))
    return record["stages"], saved


def test_a_stage_is_saved_as_soon_as_it_ends_and_a_failure_does_not_stop_the_next():
    stages, saved = done(
        [stage("one", "print(1)"), stage("two", "raise ValueError('broken')"), stage("three", "print(3)")]
    )
    assert [(one["stage"], one["state"], one["said"]) for one in stages] == [
        ("one", "done", "1"),
        ("two", "failed", "ValueError: broken"),
        ("three", "done", "3"),
    ]
    assert [len(one) for one in saved] == [1, 2, 3]
    assert all(one["began"] <= one["ended"] and one["seconds"] >= 0 for one in stages)


@pytest.mark.slow
def test_a_stage_that_runs_out_of_time_is_stopped_with_all_that_it_started(monkeypatch):
    monkeypatch.setattr(card, "GRACE", 1.0)
    child = "import time; time.sleep(10_000)"  # it holds the pipe of the output, so while it lives nothing goes on
    code = f"import subprocess, sys; print('so far', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    (first, second), _ = done([stage("long", code), stage("short", "print(2)", share=2.0)], seconds=9.0)
    assert first["state"] == "stopped"
    assert first["said"].startswith("out of time: ")
    assert "so far" in first["output"]
    assert (second["state"], second["said"]) == ("done", "2")


def test_no_stage_begins_without_time_for_it_and_what_others_leave_over_is_shared():
    stages, _ = done([stage("big", "print(1)", least=40.0), stage("last", "print(2)", least=40.0)], seconds=60.0)
    assert [one["state"] for one in stages] == ["not begun", "done"]
    assert stages[0]["said"] == "30 s were left, and it needs 40 s"


def test_an_earlier_calls_file_is_not_taken_for_this_ones(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text("earlier")
    read = {"said": lambda output: path.read_text(), "file": path}
    writes = f"open({str(path)!r}, 'w').write('new')"
    codes = {"writes nothing": "print('nothing')", "writes": writes, "fails later": f"{writes}; 1 / 0"}
    stages, _ = done([stage(name, code, **read) for name, code in codes.items()])
    assert [one["said"] for one in stages] == ["nothing", "new", "ZeroDivisionError: division by zero; new"]


def test_a_stage_whose_summary_fails_shows_its_last_line():
    stages, _ = done([stage("one", "print('as it is')", said=json.loads), stage("two", "print(2)")])
    assert [(one["state"], one["said"]) for one in stages] == [("done", "as it is"), ("done", "2")]


@pytest.mark.slow
def test_the_tests_of_a_card_are_those_of_which_pytest_collects_cases_on_one():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *card.gpu_tests()]
    collect = partial(subprocess.run, cwd=card.ROOT, capture_output=True, text=True)
    collected = collect(command).stdout.splitlines()
    cases = {line for line in collected if "[cupy" in line or "[gpu" in line or "-gpu" in line}
    assert {case.split("::")[0] for case in cases} == set(card.gpu_tests())
    assert cases <= set(collect([*command, "-k", card.ON_A_CARD]).stdout.splitlines())


@pytest.mark.parametrize("quick", [True, False])
def test_the_tests_run_without_a_plugin_that_warns_of_workers(quick, tmp_path):
    (tests,) = [stage for stage in card.stages(tmp_path, None, quick) if stage.name == "tests"]
    command = tests.command(60.0)
    assert command[command.index("no:benchmark") - 1] == "-p"


def test_only_the_stages_that_are_named_are_carried_out(tmp_path, capsys):
    assert card.main(["--quick", "--out", str(tmp_path), "self-test"]) == 0
    assert [one["stage"] for one in json.loads((tmp_path / "card.json").read_text("utf-8"))["stages"]] == ["self-test"]


def test_a_stage_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit):
        card.main(["--quick", "tests", "stepp"])
    assert "no stage 'stepp': choose from self-test, tests, step" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dry_run_goes_through_every_stage_and_the_report_takes_it_in(tmp_path, monkeypatch, capsys):
    assert card.main(["--quick", "--out", str(tmp_path / "gpu")]) == 0
    record, printed = json.loads((tmp_path / "gpu" / "card.json").read_text("utf-8")), capsys.readouterr().out
    real = [one.name for one in card.stages(tmp_path, tmp_path, quick=False)]
    assert [one["stage"] for one in record["stages"]] == real
    assert {one["state"] for one in record["stages"]} == {"done"}
    assert record["machine"]["numpy"]
    assert record["packages"]["pytest"] == pytest.__version__
    assert len(record["commit"].rstrip("+")) in (40, len("unknown"))
    assert all(one["said"] in printed for one in record["stages"])
    for path in (tmp_path, card.ROOT, sys.prefix):  # what is published names no folder of this machine
        assert str(path) not in (tmp_path / "gpu" / "card.json").read_text("utf-8")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    results = report.load()
    assert {table for _, table in results} == {"step", "epoch", "population", "run", "card"}
    for _, table in results:
        assert record["machine"]["device"] in report.content(table, results)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 1e6


def test_the_rows_of_the_paper_come_last_in_their_order_and_resume_where_their_work_is_kept(tmp_path):
    last = card.stages(tmp_path / "out", tmp_path / "runs", quick=False)[-1]
    module, *words = last.command(60.0)[1:]
    args = build_parser().parse_args(words)
    assert (last.name, module, args.profile, args.gpu) == ("paper", "minikd.paper", "full", True)
    assert args.rows == [row for row in ROWS if not row.startswith("S") and not row.endswith("-speech")]
    assert args.rows[:9] == [f"M{n}" for n in range(1, 10)]
    assert (args.out, args.write) == (tmp_path / "runs", tmp_path / "out" / "full.json")
    assert last.file == args.write


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("stopped", 1), ("not begun", 1), ("failed", 1)])
def test_a_self_test_that_was_not_finished_is_no_success(state, code, monkeypatch, tmp_path):
    def carry_out(todo, seconds, record, save):
        record["stages"] += [{"stage": "self-test", "state": state}, {"stage": "epoch", "state": "stopped"}]

    monkeypatch.setattr(card, "carry_out", carry_out)
    monkeypatch.setattr(report, "card", str)
    assert card.main(["--quick", "--out", str(tmp_path)]) == code


def test_without_a_card_the_command_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(SystemExit) as caught:
        card.main(["--out", str(tmp_path / "results")])
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("benchmarks.card: no GPU: ")
    assert not (tmp_path / "results").exists()
