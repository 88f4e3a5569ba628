"""The benchmarks: the clock is fair, every section runs, and the page says what the committed results say."""

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import strict_cupy

from benchmarks import __main__ as command
from benchmarks import (
    against,
    choose_pairs,
    choose_paper,
    choose_quick,
    dark_knowledge,
    memory,
    pytorch,
    report,
    study_student,
    timing,
)
from benchmarks.contestants import FLOOR_GRAPH, MINIKD_GRAPH
from benchmarks.timing import Bench
from minikd.core.softmax import softmax
from minikd.data.images import Dataset
from minikd.paper.rows.specialists import PLANS
from minikd.paper.tasks.networks import Data
from minikd.theory.statistics import Interval
from minikd.training.config import TrainConfig


@pytest.fixture
def alone(monkeypatch):
    """As where neither PyTorch nor scikit-learn nor JAX is installed."""
    monkeypatch.setattr(pytorch, "torch", None)
    for module in ("sklearn.neural_network", "jax"):
        monkeypatch.setitem(sys.modules, module, None)


# ---- the clock -------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only steps move, and a diary of them."""

    def __init__(self, monkeypatch):
        self.now, self.diary = 0.0, []
        monkeypatch.setattr(timing, "perf_counter", lambda: self.now)
        monkeypatch.setattr(timing, "sleep", lambda seconds: self.diary.append("|"))

    def step(self, name, seconds):
        def take():
            self.now += seconds
            self.diary.append(name)

        return take


def test_contestants_take_turns_in_an_order_that_turns(monkeypatch):
    clock = Clock(monkeypatch)
    steps = {name: clock.step(name, seconds) for name, seconds in (("a", 1.0), ("b", 2.0))}
    rounds, times = timing.take_turns(steps, seconds=0, least=2, turn=2, wait=lambda: clock.diary.append("."))
    assert "".join(clock.diary) == "|a.a.a.|b.b.b.|b.b.b.|a.a.a."  # a pause, one to warm up, then two that count
    assert (rounds, times) == (2, {"a": [1.0] * 4, "b": [2.0] * 4})


def test_a_block_of_steps_is_timed_as_one_and_waited_for_once(monkeypatch):
    clock = Clock(monkeypatch)

    def wait():
        clock.now += 3.0  # the device finishes what was queued

    _, times = timing.take_turns({"a": clock.step("a", 1.0)}, seconds=0, least=1, block=3, wait=wait, warm=False)
    assert times == {"a": [2.0]}
    assert clock.diary.count("a") == 3


def test_a_contestant_that_takes_several_steps_per_call_takes_fewer_calls(monkeypatch):
    clock = Clock(monkeypatch)
    steps = {"a": clock.step("a", 1.0), "b": timing.Steps(clock.step("b", 4.0), 8)}
    _, times = timing.take_turns(steps, seconds=0, least=1, turn=4, block=4, warm=False)
    assert (clock.diary.count("a"), clock.diary.count("b")) == (16, 2)
    assert times == {"a": [1.0] * 4, "b": [0.5] * 2}


def test_rounds_go_on_until_the_time_is_up(monkeypatch):
    clock = Clock(monkeypatch)
    assert timing.take_turns({"a": clock.step("a", 1.0)}, seconds=9.5, least=2)[0] == 5  # of two seconds each


def test_quartiles_are_the_spread():
    assert timing.quartiles({"a": [4.0, 1.0, 3.0, 2.0, 5.0]}) == {"a": [2.0, 3.0, 4.0]}


def test_contestants_that_do_other_work_are_not_timed():
    steps = {"floor": lambda: None, "a": lambda: np.array([1.0, 2.0]), "b": lambda: np.array([1.0, 2.001])}
    timing.agree(steps, tolerance=1e-3)
    with pytest.raises(SystemExit, match="b gives"):
        timing.agree(steps, tolerance=1e-4)
    with pytest.raises(SystemExit, match="b gives"):
        timing.agree({"a": lambda: np.array(1.0), "b": lambda: np.array(math.nan)}, tolerance=1.0)


def test_the_second_step_is_looked_at_too():
    costs = iter([1.0, 1.5])  # the first is right, the update is not
    with pytest.raises(SystemExit, match=r"b gives 1\.5"):
        timing.agree({"a": lambda: np.array(1.0), "b": lambda: np.array(next(costs))}, tolerance=1e-4)


def test_a_value_is_read_before_the_next_step_writes_over_it():
    cost = np.array(3.0)

    def step():
        cost[...] -= 1.0
        return cost

    costs = iter([2.0, 1.0])
    timing.agree({"a": lambda: np.array(next(costs)), "b": step}, tolerance=1e-4)


def test_several_steps_at_once_must_agree_with_single_ones_step_by_step():
    def singles():
        costs = iter([3.0, 2.0, 1.0])
        return lambda: np.array(next(costs))

    timing.agree({"a": singles(), "b": timing.Steps(lambda: np.array([3.0, 2.0, 1.0]), 3)}, tolerance=1e-4)
    with pytest.raises(SystemExit, match=r"b gives 2\.5, not 2\.0"):
        timing.agree({"a": singles(), "b": timing.Steps(lambda: np.array([3.0, 2.5, 1.0]), 3)}, tolerance=1e-4)


def test_a_ratio_is_to_the_best_of_those_who_took_part():
    row = {"seconds": {"a": [0, 3.0, 9], "b": [0, 2.0, 9], "c": [0, 1.5, 9]}}
    assert timing.over(row, "a", "b", "c", "absent") == 2.0
    assert math.isnan(timing.over(row, "a", "absent"))
    assert math.isnan(timing.over(row, "absent", "a"))


# ---- the sections ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_step_is_measured_against_another_checkouts(capsys):
    ours = sys.modules["benchmarks.contestants"]
    against.main([str(Path(against.__file__).parents[1]), "--quick"])
    units, B, here, _, there, _, ratio = capsys.readouterr().out.splitlines()[1].split()
    assert (units, B) == ("30", "32")
    assert float(ratio) == pytest.approx(float(here) / float(there), rel=0.02)
    assert sys.modules["benchmarks.contestants"] is ours


def test_a_folder_that_is_no_checkout_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        against.main([str(tmp_path)])
    assert f"FOLDER must be a checkout of minikd, with benchmarks/contestants.py in it, got {tmp_path}" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.parametrize("section", report.SECTIONS)
def test_a_section_runs_without_pytorch_and_scikit_learn(alone, section, capsys):
    command.main([section, "--quick"])
    out = capsys.readouterr().out
    module = report.SECTIONS[section]
    assert f"| {' | '.join(module.LABELS)} |" in out
    assert f"`python -m benchmarks {section} --quick`" in out
    assert "| PyTorch" not in out
    assert ("Left out: PyTorch" in out) == (section in ("step", "epoch", "inference"))
    assert ("Left out: JAX" in out) == (section == "step")
    assert ("Left out: scikit-learn" in out) == (section == "epoch")


@pytest.mark.slow
@pytest.mark.parametrize("section", ["step", "epoch", "population", "inference", "prepare"])
def test_a_section_runs_on_a_stand_in_for_the_gpu_and_waits_for_it(alone, section, monkeypatch):
    waited = []
    monkeypatch.setattr(Bench, "wait", lambda bench: waited.append(bench.place))
    rows = report.SECTIONS[section].rows(Bench(strict_cupy.device(), quick=True))
    assert all(min(times) > 0 for row in rows for times in row["seconds"].values())
    assert set(waited) == {"gpu"}


def test_without_a_gpu_the_command_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit) as caught:
        command.main(["step", "--gpu", "--quick"])
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("benchmarks: no GPU: ")


def broken_after(rows, *, by=None):
    """The rows of a section that is stopped in the middle."""
    yield from rows
    if by is not None:
        raise by


def test_a_section_that_is_stopped_keeps_the_rows_that_it_has(monkeypatch, tmp_path, capsys):
    (first, second) = records()["cpu", "step"]["rows"][:2]
    rows = broken_after([first, second], by=KeyboardInterrupt)
    monkeypatch.setattr(report.SECTIONS["step"], "rows", lambda bench: rows)
    with pytest.raises(KeyboardInterrupt):
        command.main(["step", "--quick", "--out", str(tmp_path / "there")])
    assert json.loads((tmp_path / "there" / "step.json").read_text("utf-8"))["rows"] == [first, second]


def test_no_row_begins_after_the_last_minute_and_the_table_says_so(monkeypatch, tmp_path, capsys):
    (first, second) = records()["cpu", "step"]["rows"][:2]
    monkeypatch.setattr(report.SECTIONS["step"], "rows", lambda bench: broken_after([first, second]))
    command.main(["step", "--quick", "--out", str(tmp_path), "--minutes", "0"])
    assert json.loads((tmp_path / "step.json").read_text("utf-8"))["rows"] == [first]
    assert "Left out: any later rows (the time was up)." in capsys.readouterr().out


def test_an_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["steps"])
    assert "no section 'steps': choose from step, epoch" in capsys.readouterr().err


# ---- the page --------------------------------------------------------------------------------------------------------


def records() -> dict:
    """Made-up results: a step is 1.2 floors and 0.8 of PyTorch, a population is half of its runs."""
    about = {"command": "python -m …", "left_out": {"PyTorch compiled": "no compiler"}}
    about["machine"] = {"device": "a processor", "cores": 2, "python": "3.11", "threads": {"torch: openmp": 2}}
    timed = {"rounds": 5, "timed": 25}
    times = {"floor": [1e-3] * 3, "minikd": [1.1e-3, 1.2e-3, 1.4e-3], "PyTorch eager": [1.5e-3] * 3}
    networks = ["784-1200-1200-10", "784-30-30-10"]
    steps = [{"network": n, "batch": B, **timed, "seconds": times} for n in networks for B in (32, 128)]
    S_steps = {"one run": [1.0] * 3, "shared batches": [16.0] * 3, "own batches": [32.0] * 3, "floor of one": [0.5] * 3}
    students = [{"network": networks[1], "students": 32, **timed, "seconds": S_steps}]
    memory_rows = [{"run": "a run", "MiB after each epoch": [40.0, 50.0, 50.5, 51.5]}]
    rows = {"step": steps, "population": students, "memory": memory_rows}
    return {("cpu", section): {**about, "rows": rows[section]} for section in rows}


def test_a_table_shows_medians_spread_ratios_and_what_was_left_out():
    table = report.table("step", records()["cpu", "step"])
    head, _, first, *_ = table.splitlines()
    assert head == (
        "| network | batch | floor, ms | minikd, ms | PyTorch eager, ms "
        "| minikd ÷ floor | minikd ÷ best PyTorch | minikd ÷ PyTorch eager |"
    )
    assert first == "| 784-1200-1200-10 | 32 | 1.00 ± 0.00 | 1.20 ± 0.15 | 1.50 ± 0.00 | 1.20 | 0.80 | 0.80 |"
    assert "a processor, 2 cores; python 3.11; threads: torch: openmp 2. Medians of 25 times" in table
    assert table.endswith("Left out: PyTorch compiled (no compiler).")


def test_an_aim_is_met_where_every_row_is_within_it():
    said = [line.split(" | ") for line in report.aims(records()).splitlines()[2:]]
    verdicts = [(cells[2], cells[4], cells[5], cells[7].rstrip(" |")) for cells in said]
    assert ("minikd ÷ best PyTorch", "≤ 1.00", "0.80", "met") in verdicts
    assert ("minikd ÷ best PyTorch", "≤ 0.50", "0.80", "not met (met in 0 of 2)") in verdicts
    assert ("shared batches ÷ runs", "≤ 0.70", "0.50", "met") in verdicts
    assert ("own batches ÷ runs", "≤ 0.70", "1.00", "not met (met in 0 of 1)") in verdicts
    assert (memory.GROWTH, "≤ 1.00", "1.50", "not met (met in 0 of 1)") in verdicts
    assert {cells[5] for cells in said if cells[0] == "| GPU"} == {report.MISSING}


def on_a_card(**times):
    """A made-up step on a card, medians in ms."""
    seconds = {name.replace("_", " "): [None, 1e-3 * ms, None] for name, ms in times.items()}
    row = {"network": "784-800-800-10", "batch": 128, "seconds": seconds}
    machine = {"device": "a card", "cuda": 13000, "python": "3.12"}
    return {"command": "python -m …", "machine": machine, "source": "one run", "left_out": {}, "rows": [row]}


def test_an_aim_for_a_graph_is_judged_by_the_graph_and_one_for_single_launches_by_those():
    singles = {"floor": 0.2, "minikd": 0.5, "PyTorch_eager": 1.4, "PyTorch_reduce-overhead": 1.0}
    graphs = {"minikd,_graph": 0.12, "floor,_graph": 0.1, "PyTorch_graph": 0.1}

    def verdicts(record):
        said = [line.split(" | ") for line in report.aims({("gpu", "step"): record}).splitlines()[2:]]
        return {cells[2]: (cells[5], cells[6].partition(":")[0]) for cells in said if cells[1:2] == ["step"]}

    waiting = (report.MISSING, "")
    found = verdicts(on_a_card(**singles))
    assert found["minikd ÷ PyTorch reduce-overhead"] == ("0.50", "a card")
    assert found["minikd, graph ÷ PyTorch reduce-overhead"] == found["minikd, graph ÷ best PyTorch"] == waiting
    found = verdicts(on_a_card(**singles, **graphs))
    assert found["minikd, graph ÷ PyTorch reduce-overhead"] == ("0.12", "a card")
    assert found["minikd, graph ÷ best PyTorch"] == ("1.20", "a card")  # PyTorch's own graph is the best
    assert found["minikd, graph ÷ floor, graph"] == ("1.20", "a card")


def test_an_aim_looks_at_every_machine_of_its_kind():
    first, second = records()["cpu", "step"], records()["cpu", "step"]
    second["machine"] = {"device": "another processor"}
    second["rows"] = [{**row, "seconds": {**row["seconds"], "minikd": [3e-3] * 3}} for row in second["rows"]]
    (line,) = [
        line
        for line in report.aims({("cpu", "step"): first, ("other", "step"): second}).splitlines()
        if "÷ best PyTorch" in line and "≤ 1.00" in line
    ]
    assert "| 2.00 | another processor: network 784-1200-1200-10, batch 32 | not met (met in 4 of 8) |" in line


def test_a_table_of_medians_without_their_spread_names_its_source():
    table = report.table("step", on_a_card(floor=0.18, minikd=0.476))
    assert "| 784-800-800-10 | 128 | 0.180 | 0.476 | 2.64 |" in table
    assert table.endswith("a card; cuda 13000, python 3.12. Source: one run. `python -m …`")


def test_a_table_that_is_too_wide_to_read_becomes_two_of_times_and_of_ratios(monkeypatch):
    step = on_a_card(floor=0.2, minikd=0.5, **{"minikd,_graph": 0.12, "floor,_graph": 0.1})
    (head, _, row, *_) = report.table("step", step).splitlines()
    monkeypatch.setattr(report, "WIDEST", head.count(" | "))  # one less than it has
    times, _, first, _, ratios, _, second, *_ = report.table("step", step).splitlines()
    assert times == "| network | batch | floor, ms | minikd, ms | minikd, graph, ms | floor, graph, ms |"
    assert ratios == "| network | batch | minikd ÷ floor | minikd, graph ÷ floor, graph |"
    assert first == "| 784-800-800-10 | 128 | 0.200 | 0.500 | 0.120 | 0.100 |"
    assert second == "| 784-800-800-10 | 128 | 2.50 | 1.20 |"
    assert row == first + second.removeprefix("| 784-800-800-10 | 128 |")


def test_filling_a_page_replaces_what_stands_between_the_marks_and_nothing_else():
    page = "before\n<!-- table:{0} -->\n{1}<!-- /table:{0} -->\nafter\n"
    filled = report.fill(page.format("step", "old\n"), records())
    assert filled == page.format("step", f"\n{report.table('step', records()['cpu', 'step'])}\n\n")
    assert report.fill(page.format("epoch", ""), records()) == page.format("epoch", "\nepoch: not measured yet.\n\n")


@pytest.mark.slow
def test_results_are_written_found_again_and_drawn(alone, tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("".join(f"<!-- table:{m} -->\n<!-- /table:{m} -->\n" for m in ("aims", "plots", "step")), "utf-8")
    for constant, path in (("RESULTS", tmp_path), ("PLOTS", tmp_path / "plots"), ("README", readme)):
        monkeypatch.setattr(report, constant, path)
    made_up = records()
    for section in report.FIGURES:
        module = report.SECTIONS[section]
        monkeypatch.setattr(module, "rows", lambda bench, section=section: made_up["cpu", section]["rows"])
    command.main([*report.FIGURES, "--write"])
    loaded = report.load()
    assert {key: record["rows"] for key, record in loaded.items()} == {
        ("cpu", section): made_up["cpu", section]["rows"] for section in report.FIGURES
    }
    assert json.loads((tmp_path / "cpu" / "step.json").read_text())["machine"]["numpy"] == np.__version__
    assert "| 784-30-30-10 | 128 |" in readme.read_text("utf-8")
    for plot in re.findall(r"\]\((plots/.*?)\)", readme.read_text("utf-8")):
        assert 5_000 < (tmp_path / plot).stat().st_size < 100_000
    report.main(["--check"])
    readme.write_text(readme.read_text("utf-8").replace("| 128 |", "| 129 |"), "utf-8")
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        report.main(["--check"])
    assert "run python -m benchmarks.report" in capsys.readouterr().err


def test_a_curve_stands_for_each_contestant_that_took_part():
    left, right = report.plot_step(records()["cpu", "step"]).axes
    assert [line.get_label() for line in left.lines] == ["minikd", "PyTorch eager", "floor"]
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[30, 1.2], [1200, 1.2]])
    np.testing.assert_allclose(right.lines[2].get_xydata(), [[32, 1.0], [128, 1.0]])
    first = report.plot_population(records()["cpu", "population"]).axes[0]
    assert [line.get_ydata().tolist() for line in first.lines] == [[0.5], [1.0], [0.5]]


def test_every_contestant_has_a_curve_and_a_graph_the_colour_of_what_it_captures():
    ms = dict.fromkeys([*report.MARKERS, *report.CAPTURED, "floor", FLOOR_GRAPH], 1.0)
    (panel,) = report.plot_step(on_a_card(**ms)).axes[:1]
    lines = {line.get_label(): line for line in panel.lines}
    assert set(lines) == set(ms) >= {*pytorch.WAYS, MINIKD_GRAPH}
    looks = [(line.get_color(), line.get_linestyle()) for line in lines.values()]
    assert len(set(looks)) == len(looks)
    for graph, captured in {**report.CAPTURED, FLOOR_GRAPH: "floor"}.items():
        assert lines[graph].get_color() == lines[captured].get_color()


def test_a_floor_that_is_launched_one_by_one_is_not_drawn_beside_graphs():
    on_the_cpu = records()["cpu", "population"]
    on_the_gpu = {**on_the_cpu, "machine": {"device": "a card", "cuda": 13000}}
    drawn = [
        [line.get_label() for line in report.plot_population(one).axes[0].lines] for one in (on_the_cpu, on_the_gpu)
    ]
    assert drawn == [["shared batches", "own batches", "floor of one run"], ["shared batches", "own batches"]]


def test_what_the_page_says_of_graphs_and_populations_on_a_card_is_in_the_results():
    text, results = " ".join(report.README.read_text("utf-8").split()), report.load()
    rows = results["gpu", "step"]["rows"]

    def range_of(ratio, digits=2):
        return " to ".join(f"{end([ratio(row) for row in rows]):.{digits}f}" for end in (min, max))

    def graph_over(*others):
        return lambda row: timing.over(row, MINIKD_GRAPH, *others)

    assert f"{range_of(lambda row: timing.over(row, 'minikd', MINIKD_GRAPH), 0)} times as fast as its launches" in text
    assert f"{range_of(graph_over(FLOOR_GRAPH))} times as long as the floor's graph" in text
    assert f"of whose time minikd takes {range_of(graph_over(*pytorch.WAYS))}." in text
    assert f"{range_of(lambda row: 1e6 * row['seconds']['minikd'][1] / 15, 0)} µs each" in text
    many = next(row for row in results["gpu", "population"]["rows"] if row["students"] == 128)
    shared, own = (timing.over(many, what, "one run") for what in ("shared batches", "own batches"))
    assert f"take {shared:.1f} times as long as one if they share their batches, and {own:.1f} times" in text


def test_the_page_is_what_the_committed_results_say():
    text, results = report.README.read_text("utf-8"), report.load()
    marks = {*report.SECTIONS, "card", "aims", "plots", "pairs", "quick"}
    assert set(re.findall(r"<!-- table:(\w+) -->", text)) == marks
    assert report.fill(text, results) == text, "run python -m benchmarks.report"
    for plot in re.findall(r"\]\((plots/.*?)\)", text):
        assert (report.HERE / plot).stat().st_size < 100_000, plot


@pytest.mark.slow
def test_the_quick_preset_is_chosen_among_candidates_of_which_one_diverges(monkeypatch, tmp_path, capsys):
    tiny = TrainConfig(hidden=(8,), epochs=1, batch_size=20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choose_quick, "RESULT", tmp_path / "choose_quick.json")
    monkeypatch.setattr(choose_quick, "DATA", Data(first=200, held_out=10_000))
    monkeypatch.setattr(choose_quick, "TEACHER", replace(tiny, hidden=(9,)))
    monkeypatch.setattr(choose_quick, "STUDENT", replace(tiny, T=8.0, alpha=0.9, seed=(0, 1)))
    teachers = [{"learning_rate": 1e30, "clip_norm": None}, {"hidden": (7,), "epochs": 9}, {}, {"epochs": 5}]
    monkeypatch.setattr(choose_quick, "TEACHERS", teachers)
    monkeypatch.setattr(choose_quick, "STUDENTS", [{"epochs": 2}, {"learning_rate": 1e30, "clip_norm": None}])
    monkeypatch.setattr(choose_quick, "ALONE", [{}])
    choose_quick.main([])
    record = json.loads((tmp_path / "choose_quick.json").read_text())
    assert record["teachers"][0] | {"work": 0} == {
        "changes": teachers[0], "work": 0, "errors": [None] * 3, "students": [], "mean": None
    }  # fmt: skip
    means = [row["mean"] for row in record["teachers"][1:]]
    for row, mean in zip(record["teachers"][1:], means, strict=True):
        assert np.shape(row["students"]) == (3, 2)
        assert 0 < mean == np.mean(row["students"]) < 200
    assert record["best"] == teachers[2 + int(np.argmin(means[1:]))]  # the one of 7 units is smaller than its students
    assert [row["mean"] is None for row in record["students"]] == [False, True]
    text = choose_quick.markdown(record)
    assert text.count("diverged") == 3
    assert "| 7 units, 9 epochs | 0.1 |" in text


@pytest.mark.slow
def test_the_students_of_the_study_differ_in_one_thing_each(monkeypatch, tmp_path, capsys):
    tiny = TrainConfig(hidden=(8, 8), epochs=1, batch_size=20, learning_rate=0.1)
    monkeypatch.chdir(tmp_path)
    for module in (choose_paper, study_student):
        monkeypatch.setattr(module, "RESULT", tmp_path / f"{module.__name__}.json")
        monkeypatch.setattr(module, "DATA", Data(first=200, held_out=10_000))
        monkeypatch.setattr(module, "BASE", tiny)
    monkeypatch.setattr(choose_paper, "CANDIDATES", [{}, {"epochs": 2}])
    monkeypatch.setattr(study_student, "STUDENT", replace(tiny, alpha=1.0, T=4.0))
    changes = [({}, {}, 0), ({"epochs": 5}, {}, 0), ({}, {"epochs": 2}, 0), ({}, {}, 2)]
    rows = [study_student.Row("a row", student, teacher, 100, copies) for student, teacher, copies in changes]
    monkeypatch.setattr(study_student, "ROWS", rows)
    choose_paper.main([])
    study_student.main([])
    chosen, studied = (json.loads(path.read_text()) for path in sorted(tmp_path.glob("*.json")))
    assert [row["changes"] for row in chosen["rows"]] == [{}, {"epochs": 2}]
    first, longer, other, copies = studied["rows"]
    assert [first["teacher"], other["teacher"]] == [row["errors"] for row in chosen["rows"]]
    assert first["teacher"] == longer["teacher"] != other["teacher"]
    for row in (longer, other, copies):
        assert row["near"] != first["near"]
        assert len(row["errors"]) == len(row["other"]) == 3
    assert np.mean(longer["near"]) < np.mean(first["near"])


def test_shifted_copies_are_moved_and_keep_their_labels():
    images = np.zeros((50, 5, 5), np.uint8)
    images[:, 2, 2] = 9
    data = Dataset(images, np.arange(50, dtype=np.uint8) % 3, "dots", 3)
    moved = study_student.shifted(data, 1, seed=0)
    assert (moved.labels == data.labels).all()
    assert moved.images.sum() == images.sum()
    rows, columns = np.nonzero(moved.images)[1:]
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}


def candidate(width, conditional, overall):
    """A row whose gains lie within 1 point of these."""
    gains = {"conditional": conditional, "overall": overall}
    return {"width": width} | {name: {"gain": Interval(gain, gain - 1, gain + 1)} for name, gain in gains.items()}


@pytest.mark.parametrize(
    ("gains", "width"),
    [
        ({12: (3, 3), 16: (2, 2), 20: (0.5, 2)}, 16),  # 20 units may gain nothing among the classes of specialists
        ({12: (3, 3), 16: (2, 2), 20: (2, 0.5)}, 16),  # nor overall
        ({12: (0.5, 2), 16: (-3, -3)}, 12),
    ],
)
def test_the_widest_generalist_whose_specialists_help_is_chosen(gains, width):
    assert choose_pairs.widest([candidate(width, *of) for width, of in gains.items()]) == width


@pytest.mark.slow
def test_the_specialists_are_chosen_on_held_out_pairs(monkeypatch, tmp_path, capsys):
    base = choose_pairs.BASE
    assert base.pairs[3] == 10_000
    tiny = base._replace(pairs=(2000, 200, 0, 10_000), epochs=(1, 1), specialists=(2, 10), seeds=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(choose_pairs, "RESULT", tmp_path / "choose_pairs.json")
    monkeypatch.setattr(choose_pairs, "BASE", tiny)
    monkeypatch.setattr(choose_pairs, "WIDTHS", (8, 12))
    monkeypatch.setattr(choose_pairs, "TEMPERATURES", (4.0, 20.0))
    choose_pairs.main([])
    record = json.loads((tmp_path / "choose_pairs.json").read_text())
    width = record["chosen"]["width"]
    assert [(row["width"], row["T"]) for row in record["rows"]] == [(8, 4.0), (12, 4.0), (width, 20.0)]
    best = max((row for row in record["rows"] if row["width"] == width), key=lambda row: row["overall"]["gain"][0])
    assert record["chosen"] == {"width": width, "T": best["T"]}
    out = capsys.readouterr().out
    assert "of pairs of held-out training images, 2 seeds" in out
    assert choose_pairs.table(record) in out


def test_the_rows_of_specialists_have_the_settings_that_were_chosen():
    chosen = json.loads(choose_pairs.RESULT.read_text("utf-8"))["chosen"]
    for profile in ("cpu", "full"):
        assert {"width": PLANS[profile].width, "T": PLANS[profile].T} == chosen


# ---- what soft targets pass on ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said():
    """What the teacher of each row says of 500 made-up images: probabilities (N, K) at T, and the labels."""
    rng = np.random.default_rng(1)
    v, y = 6 * rng.standard_normal((500, 10)), rng.integers(0, 10, 500)
    rows = {row: dark_knowledge.targets(row, v, y) for row in dark_knowledge.ROWS[:-1]}
    return {row: softmax(made, dark_knowledge.T) for row, made in rows.items()}, y


def true_and_wrong(p, y):
    """The probability of the true class, (N,), and those of the wrong classes, (N, K − 1)."""
    true = np.arange(p.shape[-1]) == y[:, np.newaxis]
    return p[true], p[~true].reshape(len(p), -1)


def test_a_row_changes_only_what_it_says_of_the_teacher(said):
    rows, y = said
    sure, wrong = true_and_wrong(rows["soft targets"], y)
    shares = wrong / wrong.sum(axis=-1, keepdims=True)
    for row, p in rows.items():
        np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
        p_y, others = true_and_wrong(p, y)
        everywhere = row in ("equally sure of every image", "smoothed labels")
        np.testing.assert_allclose(p_y, sure.mean() if everywhere else sure, rtol=1e-9)
        found = others / others.sum(axis=-1, keepdims=True)
        if row in ("wrong classes alike", "smoothed labels"):
            np.testing.assert_allclose(found, 1 / 9, rtol=1e-9)
        else:
            moved = row == "wrong classes exchanged"
            expected = (np.sort(shares), np.sort(found)) if moved else (shares, found)
            np.testing.assert_allclose(*expected, rtol=1e-9)
            assert (np.abs(found - shares).max() > 0.1) == moved


def test_what_is_measured_of_a_student_is_its_errors_and_its_calibration():
    z, y = np.log([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]]), np.array([0, 1, 0])
    found = dark_knowledge.measured(z, y)
    assert found["errors"] == 1
    assert found["ece 1"] == pytest.approx((2 * 0.4 + 0.4) / 3)
    assert found["log loss 1"] == pytest.approx(-np.log([0.9, 0.1, 0.6]).mean())
    assert sum(found["bins"]["number"]) == 3
    assert found["bins"]["right"][-2:] == [1.0, 0.0]


@pytest.mark.slow
def test_the_experiment_trains_students_of_every_row(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(dark_knowledge, "RESULT", tmp_path / "found.json")
    tiny = replace(dark_knowledge.STUDENT, hidden=(4,), epochs=1, batch_size=30_000, seed=(0, 1))
    monkeypatch.setattr(dark_knowledge, "STUDENT", tiny)
    dark_knowledge.main([])
    record = json.loads((tmp_path / "found.json").read_text())
    assert [row["targets"] for row in record["rows"]] == list(dark_knowledge.ROWS)
    assert [len(row["students"]) for row in record["rows"]] == [2] * 6
    assert record["teacher"]["errors"] < 100
