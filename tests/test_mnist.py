"""The command, as a user meets it: its table, its run folder, its refusals."""

import json
import re
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident

import numpy as np
import pytest
from safetensors.numpy import load_file

from minikd.commands import mnist, report
from minikd.data.images import load_idx_folder
from minikd.engines import device as backend
from minikd.engines.gpu import DeviceError
from minikd.training import runs
from minikd.training.checkpoint import load, save
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

SMALL = [
    "--hidden",
    "20,20",
    "--teacher-hidden",
    "50,50",
    "--epochs",
    "3",
    "--teacher-epochs",
    "4",
    "--batch-size",
    "32",
]
SMALL += ["--teacher-batch-size", "32", "--quiet"]


def write_digits(path, mnist_data) -> None:
    """The first 1,500 and 300 images of MNIST as a folder of IDX files."""
    for prefix, dataset, n in zip(("train", "t10k"), mnist_data, (1500, 300), strict=True):
        images = struct.pack(">4I", 0x803, n, 28, 28) + dataset.images[:n].tobytes()
        (path / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        (path / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + dataset.labels[:n].tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mnist_data) -> Path:
    path = tmp_path_factory.mktemp("idx")
    write_digits(path, mnist_data)
    return path


DRAW = mnist.draw


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """No figures, except in tests that are about them: they take ten times as long as training small networks."""
    monkeypatch.setattr(mnist, "draw", lambda *args: None)


@pytest.fixture
def command(folder, tmp_path, capsys):
    """Run the command in this process; returns its standard output."""

    def run(*args: str) -> str:
        mnist.main([*SMALL, "--data", str(folder), "--out", str(tmp_path / "runs"), *args])
        out, err = capsys.readouterr()
        assert err == "", "quiet"
        return out

    return run


def refusal(capsys, *args: str) -> str:
    """The one line with which the command refuses, having exited with 2 and printed nothing else."""
    with pytest.raises(SystemExit) as caught:
        mnist.main([*args])
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1), err
    return err.rstrip()


def test_the_commands_students_and_the_library_have_the_same_defaults():
    configs = mnist.configurations(mnist.build_parser().parse_args([]))
    own = {"hidden", "epochs", "T", "alpha"}  # what the command adds: sizes, lengths and the distillation
    for config in (configs[report.ALONE], configs[report.DISTILLED]):
        default = TrainConfig(hidden=config.hidden).record()
        assert {name: value for name, value in config.record().items() if name not in own} == {
            name: value for name, value in default.items() if name not in own
        }


def test_the_papers_teacher_is_not_clipped_and_its_students_are():
    configs = mnist.configurations(mnist.build_parser().parse_args(["--preset", "paper"]))
    assert [config.clip_norm for config in configs.values()] == [None, 1.0, 1.0]


def test_students_and_teacher_are_clipped_each_by_its_own_option():
    args = mnist.build_parser().parse_args(["--clip-norm", "None", "--teacher-clip-norm", "2"])
    configs = mnist.configurations(args)
    assert [config.clip_norm for config in configs.values()] == [2.0, None, None]


@pytest.mark.slow
def test_a_distillation_that_does_not_help_says_why_and_where_to_read_on(command):
    out = command("--T", "4", "--teacher-epochs", "1", "--epochs", "1")
    assert "- With --epochs 1 a student takes only 46 steps" in out
    assert 'TROUBLESHOOTING.md explains them, under "Distillation does not help".' in out
    assert "## Distillation does not help" in (Path(__file__).parent.parent / "TROUBLESHOOTING.md").read_text("utf-8")


# ---- what it prints and leaves behind --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_table_has_a_row_for_each_network_and_ends_with_the_run_folder(command, monkeypatch):
    monkeypatch.setattr(mnist, "draw", DRAW)
    out = command("--T", "4")
    for name, sizes, parameters in [
        ("teacher", "784-50-50-10", "42,310"),
        ("student alone", "784-20-20-10", "16,330"),
        ("student distilled", "784-20-20-10", "16,330"),
    ]:
        assert re.search(rf"^{name} +{sizes} +{parameters} +\d+ +\d+\.\d\d +– +\d+ s$", out, re.M), out
    assert "T = 4, alpha = 0.9" in out
    assert re.search(r"The soft targets (saved|cost) \d+ errors", out)
    run = Path(re.search(r"\nRun folder: (.+)\n\Z", out)[1])
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*")) == [
        "config.json",
        "dark_knowledge.png",
        "learning_curves.png",
        "metrics.jsonl",
        "results.json",
        "seed0/student-alone.safetensors",
        "seed0/student-distilled.safetensors",
        "seed0/teacher.safetensors",
    ]


@pytest.mark.slow
def test_the_numbers_agree_wherever_they_stand(command, folder):
    results = json.loads(command("--json", "--seeds", "2"))
    run = Path(results["folder"])
    assert json.loads((run / "results.json").read_text()) == results
    assert json.loads((run / "config.json").read_text()) == results["asked"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * (4 + 3 + 3)
    for name, row in results["results"].items():
        final = [
            line["errors"]
            for line in lines
            if line["network"] == name and line["epoch"] == (4 if name == "teacher" else 3)
        ]
        assert final == row["errors"]
        assert row["errors_mean"] == np.mean(final)
        assert row["errors_sd"] == pytest.approx(np.std(final, ddof=1))
    rows = results["results"]
    assert results["gain"]["errors"] == [
        a - d for a, d in zip(rows["student alone"]["errors"], rows["student distilled"]["errors"], strict=True)
    ]


@pytest.mark.slow
def test_the_weights_serve_without_minikd(command, mnist_data):
    results = json.loads(command("--json"))
    w = load_file(Path(results["folder"]) / "seed0" / "student-distilled.safetensors")
    images, labels = mnist_data[1].images[:300], mnist_data[1].labels[:300]
    h = np.maximum(images.reshape(300, 784) / np.float32(255) @ w["W1"] + w["b1"], 0)
    h = np.maximum(h @ w["W2"] + w["b2"], 0)
    assert np.sum((h @ w["W3"] + w["b3"]).argmax(1) != labels) == results["results"]["student distilled"]["errors"][0]


@pytest.mark.slow
def test_alone_and_distilled_are_a_pair_of_one_seed(command):
    asked = json.loads(command("--json"))["asked"]["networks"]
    differ = {k for k in asked["student alone"] if asked["student alone"][k] != asked["student distilled"][k]}
    assert differ == {"alpha", "T"}


@pytest.mark.slow
def test_a_teacher_trained_before_is_used_again_and_said_so(command):
    first = json.loads(command("--json", "--T", "4"))
    second = command("--T", "5")
    assert first["teachers_reused"] == []
    assert "The teacher was already trained and is used again" in second
    other = json.loads(command("--json", "--jitter", "1"))
    assert other["teachers_reused"] == []


@pytest.mark.slow
def test_a_second_run_of_the_same_settings_gets_a_folder_of_its_own_and_the_same_errors(command):
    first, second = (json.loads(command("--json")) for _ in range(2))
    assert second["folder"] == first["folder"] + "-2"
    assert second["results"]["student alone"]["errors"] == first["results"]["student alone"]["errors"]


@pytest.mark.slow
def test_resuming_a_finished_run_prints_it_again_and_trains_nothing(command, monkeypatch):
    first = json.loads(command("--json"))
    written = {path: path.stat().st_mtime_ns for path in Path(first["folder"]).rglob("*.safetensors")}
    monkeypatch.setattr(runs, "train", lambda *args, **options: pytest.fail("it trained again"))
    again = json.loads(command("--json", "--resume"))
    assert again["folder"] == first["folder"]
    assert {path: path.stat().st_mtime_ns for path in Path(first["folder"]).rglob("*.safetensors")} == written
    for results in (first, again):
        for row in results["results"].values():
            del row["seconds"]
    assert again["results"] == first["results"]


def test_a_run_is_found_again_whatever_its_temperature_is_called(tmp_path):
    first = runs.open_run(tmp_path, "T1e+06-seed0", resume=False)
    assert runs.open_run(tmp_path, "T1e+06-seed0", resume=True) == first
    assert runs.open_run(tmp_path, "T1e+06-seed0", resume=False).name == "T1e+06-seed0-2"


@pytest.mark.slow
def test_resuming_finds_the_latest_run_also_after_a_gap(command):
    first, second, third = (Path(json.loads(command("--json"))["folder"]) for _ in range(3))
    shutil.rmtree(second)
    assert json.loads(command("--json", "--resume"))["folder"] == str(third)
    assert third.name == first.name + "-3"


@pytest.mark.slow
def test_a_run_of_another_temperature_goes_on_with_a_half_trained_teacher(capsys, command, tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs.Metrics, "set", stop)  # after the first epoch
        with pytest.raises(SystemExit, match="130"):
            command("--T", "4")
    assert "stopped; the same command with --resume continues from here" in capsys.readouterr().err
    (partial,) = (tmp_path / "runs" / "teachers").glob("*.checkpoint.safetensors")
    assert len(load(partial)[1]["history"]) == 1
    run = Path(json.loads(command("--json", "--T", "5"))["folder"])
    assert len(load(run / "seed0" / "teacher.safetensors")[1]["history"]) == 4
    assert not partial.exists()


@pytest.mark.slow
def test_the_papers_figures_stand_beside_its_own_networks_alone(command, folder, mnist_data):
    assert json.loads(command("--json"))["results"]["teacher"]["paper"] is None
    asked = {
        "networks": {report.DISTILLED: TrainConfig(hidden=(30, 30)).record()},
        "seeds": [0],
        "train": {"examples": 60_000},
        "evaluation": {"sha256": mnist_data[1].fingerprint, "examples": 10_000},
    }
    history = [{"errors": 100, "seconds": 1.0}]
    networks = {
        (0, name): Network(sizes, np.zeros(0), history)
        for name, sizes in zip(
            report.NETWORKS, [(784, 1200, 1200, 10), (784, 800, 800, 10), (784, 30, 30, 10)], strict=True
        )
    }
    rows = report.summarise(asked, networks, 30.0, [], folder)["results"]
    assert [row["paper"] for row in rows.values()] == [67, 146, None]


@pytest.mark.slow
def test_held_out_images_stand_in_for_the_test_set(command):
    asked = json.loads(command("--json", "--held-out", "200"))["asked"]
    assert (asked["train"]["examples"], asked["evaluation"]["examples"]) == (1300, 200)
    assert "200 held out of all classes" in asked["evaluation"]["name"]


def test_eight_identical_commands_at_once_get_a_folder_each(tmp_path):
    """Each start lists the folders before any start has made its own: the worst moment, in every one of them."""
    together = Barrier(8, timeout=60)
    waits = {}

    class Meeting(type(tmp_path)):
        def iterdir(self):
            entries = list(super().iterdir())
            if waits.setdefault(get_ident(), True):
                waits[get_ident()] = False
                together.wait()
            return entries

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: runs.open_run(Meeting(tmp_path), "T8-seed0-x", resume=False), range(8)))
    assert sorted(folder.name for folder in folders) == ["T8-seed0-x", *(f"T8-seed0-x-{n}" for n in range(2, 9))]


def test_two_processes_that_train_one_network_at_once_both_end_well(folder, tmp_path):
    config = TrainConfig(hidden=(10,), epochs=2, batch_size=32)
    dataset, path = load_idx_folder(folder)[1], tmp_path / "teacher.safetensors"

    def finished_elsewhere(network):
        if not path.exists():
            runs.obtain(path, config, dataset, dataset, resume=True, quiet=True)  # resumes the first one's checkpoint

    network, found = runs.obtain(path, config, dataset, dataset, resume=True, quiet=True, on_epoch=finished_elsewhere)
    assert not found
    assert [entry.name for entry in tmp_path.iterdir()] == ["teacher.safetensors"]
    assert np.array_equal(runs.load_network(path, config).flat, network.flat)


def test_a_checkpoint_that_goes_between_two_looks_is_no_error(folder, tmp_path):
    class Gone(type(tmp_path)):
        def exists(self, **options):
            return True  # a moment ago it was there

    config, dataset = TrainConfig(hidden=(10,), epochs=1, batch_size=32), load_idx_folder(folder)[1]
    network = train(config, dataset, checkpoint_path=Gone(tmp_path / "gone.safetensors"), resume=True)
    assert len(network.history) == 1


@pytest.mark.slow
def test_the_table_is_printed_before_anything_is_drawn_and_a_figure_costs_only_itself(
    capsys, folder, tmp_path, monkeypatch
):
    printed = []

    def fail(*arguments, **options):
        printed.append(capsys.readouterr().out)
        raise RuntimeError("latex could not\nbe found")

    monkeypatch.setattr(mnist, "draw", fail)
    mnist.main([*SMALL, "--data", str(folder), "--out", str(tmp_path)])
    assert "student distilled" in printed[0]
    out, err = capsys.readouterr()
    assert out == ""
    words = "the figures are not drawn (RuntimeError: latex could not be found)"
    assert err == f"minikd.mnist: {words}; the same command with --resume draws them\n"
    monkeypatch.setattr(mnist, "draw", DRAW)
    mnist.main([*SMALL, "--data", str(folder), "--out", str(tmp_path), "--resume"])
    (page,) = tmp_path.glob("T8-*/dark_knowledge.png")
    assert page.stat().st_size > 1000


@pytest.mark.slow
def test_where_no_bar_is_shown_there_is_a_line_for_each_network(capsys, folder, tmp_path):
    args = [*SMALL, "--data", str(folder), "--out", str(tmp_path), "--seeds", "2"]
    args.remove("--quiet")
    mnist.main([*args, "--json"])
    out, err = capsys.readouterr()
    results = json.loads(out)["results"]
    expected = [
        rf"{name}, seed {seed}: {results[name]['errors'][seed]} errors, \d+ s"
        for seed in (0, 1)
        for name in report.NETWORKS
    ]
    assert re.fullmatch("".join(f"{line}\n" for line in expected), err), err


def test_help_teaches_every_option(capsys):
    with pytest.raises(SystemExit, match="0"):
        mnist.main(["--help"])
    out = capsys.readouterr().out
    for action in mnist.build_parser()._actions:
        assert action.help, action.option_strings
        assert all(option in out for option in action.option_strings)
    assert "temperature" in out
    assert "[quick 8, paper 20]" in out


# ---- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--T", "0"], "T must be a temperature from 1e-3 to 1e6, got 0.0"),
        (["--T", "nan"], "T must be a temperature from 1e-3 to 1e6, got nan"),
        (["--T", "hot"], "argument --T: invalid float value: 'hot'"),
        (["--alpha", "1.5"], "alpha must be the weight of the soft targets, in [0, 1], got 1.5"),
        (["--alpha", "0"], "alpha must be > 0"),
        (["--hidden", "30,x"], "must be numbers joined by commas, as in 30,30, got '30,x'"),
        (["--hidden", "30,0"], "hidden must be a tuple of layer sizes, each a whole number ≥ 1, got (30, 0)"),
        (["--drop", "0.5"], "must be 2 numbers joined by a comma, got '0.5'"),
        (["--momentum", "1"], "momentum must be a number in [0, 1), got 1.0"),
        (["--max-norm", "big"], "argument --max-norm: invalid"),
        (["--seeds", "0"], "--seeds ≥ 1"),
        (
            ["--held-out", "60000"],
            "held out, with one example left to every class, must be a whole number in 1..59990, got 60000",
        ),
        (
            ["--batch-size", "60001"],
            "student alone's batch size, 60001, exceeds the 60000 examples: lower --batch-size",
        ),
        (["--teacher-batch-size", "60001"], "exceeds the 60000 examples: lower --teacher-batch-size"),
        (["--dtype", "float16"], "dtype must be 'float32' or 'float64', got 'float16'"),
        (["--data", "no-such-folder"], "no-such-folder: does not exist"),
        (["--data", ""], "argument --data: must be a path, got an empty one"),
        (["--out", ""], "argument --out: must be a path, got an empty one"),
        (["--preset", "slow"], "invalid choice: 'slow'"),
        (["--no-such", "1"], "unrecognized arguments: --no-such 1"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_written(capsys, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(capsys, *args)
    assert list(tmp_path.iterdir()) == []


def test_bad_data_is_refused_in_one_line(capsys, folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes((folder / "t10k-labels-idx1-ubyte").read_bytes()[:-1])
    assert "t10k-labels-idx1-ubyte: truncated" in refusal(capsys, "--data", str(tmp_path))


def test_an_out_that_is_a_file_is_refused_in_one_line(capsys, folder, tmp_path):
    (tmp_path / "file").write_text("")
    assert "--out must be a folder" in refusal(capsys, "--data", str(folder), "--out", str(tmp_path / "file"), *SMALL)


@pytest.mark.slow
def test_a_damaged_teacher_is_refused_in_one_line(capsys, command, folder, tmp_path):
    command()
    (teacher,) = (tmp_path / "runs" / "teachers").glob("*.safetensors")
    data = bytearray(teacher.read_bytes())
    data[-5] ^= 1
    teacher.write_bytes(data)
    args = [*SMALL, "--data", str(folder), "--out", str(tmp_path / "runs")]
    assert f"{teacher}: damaged" in refusal(capsys, *args)


@pytest.mark.slow
def test_a_forged_network_is_refused_in_one_line(capsys, command, folder, tmp_path):
    command()
    (teacher,) = (tmp_path / "runs" / "teachers").glob("*.safetensors")
    arrays, record = load(teacher)
    args = [*SMALL, "--data", str(folder), "--out", str(tmp_path / "runs")]
    for forged, told in [
        (arrays, {**record, "history": []}),
        ({**arrays, "W1": np.float32(1)}, record),
        ({name: a.astype(np.float64) for name, a in arrays.items()}, record),
        ({name: a for name, a in arrays.items() if name != "b2"}, record),
        (arrays, {"config": record["config"]}),
    ]:
        save(teacher, forged, told)
        assert f"{teacher}: it does not hold the network that its record describes" in refusal(capsys, *args)


def test_what_stands_in_the_way_of_a_teacher_is_named_in_one_line(capsys, folder, tmp_path):
    (tmp_path / "teachers").write_text("")
    said = refusal(capsys, *SMALL, "--data", str(folder), "--out", str(tmp_path))
    assert "teachers: File exists: move what is in the way" in said


def test_networks_that_do_not_fit_into_memory_are_refused_in_one_line(capsys, folder, tmp_path):
    args = [
        "--hidden",
        "1000000000000",
        "--data",
        str(folder),
        "--out",
        str(tmp_path),
        "--teacher-hidden",
        "1000000000000",
    ]
    assert "do not fit into memory" in refusal(capsys, *args)


def test_a_diverging_run_ends_in_one_line_with_the_step(capsys, folder, tmp_path):
    args = [*SMALL, "--data", str(folder), "--out", str(tmp_path), "--teacher-learning-rate", "1e30"]
    with pytest.raises(SystemExit) as caught:
        mnist.main(args)
    err = capsys.readouterr().err
    assert (caught.value.code, err.count("\n")) == (1, 1)
    assert re.search(
        r"teacher, seed 0: the cost is (nan|inf) at step \d+ of 184, learning rate \S+: try a lower learning rate", err
    )


def test_gpu_without_a_gpu_is_one_line_before_anything_else(capsys, tmp_path, monkeypatch):
    def probe():
        raise DeviceError("no GPU: what is missing; the command that fixes it")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "probe_gpu", probe)
    line = refusal(capsys, "--gpu", "--data", "no-such-folder")
    assert line == "minikd.mnist: no GPU: what is missing; the command that fixes it"
    assert list(tmp_path.iterdir()) == []


def test_tf32_without_the_gpu_is_one_line(capsys):
    assert "TF32 is a number format of GPUs" in refusal(capsys, "--tf32")


@pytest.mark.slow
def test_the_command_imports_neither_cupy_nor_matplotlib_before_it_trains():
    code = "import sys, minikd.commands.mnist; assert not {'cupy', 'matplotlib', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
