"""`minikd distil` and `minikd predict`: from data and a teacher to a student, and to the names of new examples."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minikd.commands import distil, export, predict
from minikd.core.softmax import softmax
from minikd.distil import job
from minikd.distil.choices import settings
from minikd.distil.student import Student, load_student
from minikd.training import checkpoint

ROOT = Path(__file__).parent.parent
K, N, M = 3, 90, 60
QUICK = ["--hidden", "8", "--epochs", "10", "--quiet"]
OWN = ["--teacher-hidden", "12", "--teacher-epochs", "10"]


def blobs(n, seed):
    """Features around one centre per class, the classes as words, and the logits of one who knows the rule."""
    rng = np.random.default_rng(seed)
    k = np.arange(n) % K
    x = 100 + 20 * (2 * np.eye(K, 4)[k] + rng.normal(0, 0.7, (n, 4)))
    return x, np.array(["ant", "bee", "cow"])[k], (x[:, :K] - 100) / 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data in three files, and the teacher's logits of all of them."""
    place = tmp_path_factory.mktemp("data")
    (x, y, v), (x_test, y_test, v_test), (more, _, v_more) = blobs(N, 0), blobs(M, 1), blobs(300, 2)
    own = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
    np.savez(place / "data.npz", **own)
    np.savez(place / "more.npz", **own, x_transfer=more)
    np.save(place / "v.npy", np.concatenate([v, v_test]))
    np.save(place / "train.npy", v)
    np.save(place / "all.npy", np.concatenate([v, v_more, v_test]))
    np.save(place / "p.npy", softmax(np.concatenate([v, v_test])))
    np.save(place / "shuffled.npy", np.random.default_rng(0).permutation(np.concatenate([v, v_test])))
    np.save(place / "nan.npy", np.full((N, K), np.nan))
    np.save(place / "new.npy", x_test[:5])
    return place


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; return its status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words, data="data.npz", main=distil.main):
        words = [str(folder / word) if (folder / word).is_file() else word for word in words]
        try:
            main([str(folder / data), *words] if main is distil.main else words)
        except SystemExit as ended:
            return (ended.code, *capsys.readouterr())
        return (0, *capsys.readouterr())

    return run


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_without_a_teacher_it_trains_one_and_says_so(run):
    status, out, err = run(*QUICK, *OWN)
    assert (status, err) == (0, "")
    assert "Without --teacher, a larger network with dropout, 4-12-3, was trained to be the teacher." in out
    for words in ("T = ", "alpha = ", "because", "The soft targets ", "60 test examples"):
        assert words in out
    assert re.search(r"^student distilled +\d", out, re.M)


def test_the_run_folder_holds_the_student_the_results_and_every_epoch(run):
    status, out, _ = run("--teacher", "v.npy", *QUICK, "--json")
    assert status == 0
    results = json.loads(out)
    place = Path(results["folder"])
    there = {file.name for file in place.iterdir()}
    assert there == {
        "config.json",
        "metrics.jsonl",
        "results.json",
        "student-alone.safetensors",
        "student-distilled.safetensors",
        "student.safetensors",
    }
    assert json.loads((place / "results.json").read_text()) == results
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    assert [line["network"] for line in lines] == ["student alone"] * 10 + ["student distilled"] * 10
    assert results["networks"]["teacher"]["errors"] < 10
    student = load_student(results["files"]["student"])
    assert student.about["teacher"] == ["v.npy"]
    assert results["networks"]["student distilled"]["errors"] == student.about["errors"]


def test_every_network_of_a_run_says_what_it_reads_and_what_its_classes_are_called(run, folder):
    _, out, _ = run(*QUICK, *OWN, "--json")
    place, x = Path(json.loads(out)["folder"]), np.load(folder / "data.npz")["x_test"]
    (teacher,) = Path("runs/teachers").glob("*.safetensors")
    student = load_student(place / "student.safetensors")
    for file in (teacher, place / "student-alone.safetensors", place / "student-distilled.safetensors"):
        found = load_student(file)
        np.testing.assert_array_equal(found.inputs.mean, student.inputs.mean)
        np.testing.assert_array_equal(found.inputs.scale, student.inputs.scale)
        assert found.labels.tolist() == student.labels.tolist()
        assert run(str(file), "new.npy", main=predict.main)[0] == 0
    np.testing.assert_array_equal(load_student(place / "student-distilled.safetensors").logits(x), student.logits(x))


def test_a_teacher_is_not_taken_over_from_data_in_another_unit_or_with_other_labels(run, folder):
    data = dict(np.load(folder / "data.npz"))
    for name, change in {
        "unit": {part: data[part] * 2 for part in ("x_train", "x_test")},  # the same numbers once standardised
        "labels": {part: np.char.add("a ", data[part]) for part in ("y_train", "y_test")},
    }.items():
        np.savez(folder / f"{name}.npz", **(data | change))
    for count, name in enumerate(("data", "unit", "labels"), start=1):
        assert run(*QUICK, *OWN, data=f"{name}.npz")[0] == 0
        assert len(list(Path("runs/teachers").glob("*.safetensors"))) == count


def test_sizes_are_those_of_the_weights_and_one_measurement_is_told_once(run):
    run("--teacher", "v.npy", *QUICK, "--export", "t.safetensors")
    _, out, _ = run("--teacher", "t.safetensors", *QUICK, "--epochs", "40", "--json")
    rows = json.loads(out)["networks"]
    parameters = 4 * 8 + 8 + 8 * 3 + 3
    assert {(row["parameters"], row["bytes"]) for row in rows.values()} == {(parameters, 4 * parameters)}
    assert rows["student alone"]["latency"] == {}
    assert set(rows["student distilled"]["latency"]) == set(rows["teacher"]["latency"]) == {"1", "1000"}
    _, out, _ = run("--teacher", "t.safetensors", "t.safetensors", *QUICK, "--json")
    assert json.loads(out)["networks"]["teacher"]["bytes"] == 2 * 4 * parameters


def test_the_counted_errors_are_those_of_the_student_that_is_left(run, folder):
    _, out, _ = run("--teacher", "v.npy", *QUICK, "--json")
    results = json.loads(out)
    data = np.load(folder / "data.npz")
    answers = load_student(results["files"]["student"]).predict(data["x_test"])
    assert np.count_nonzero(answers != data["y_test"]) == results["networks"]["student distilled"]["errors"]


def test_given_choices_are_taken_and_auto_ones_are_chosen(run):
    _, out, _ = run("--teacher", "v.npy", *QUICK, "--T", "3.5", "--alpha", "auto", "--json")
    choices = json.loads(out)["choices"]
    assert choices["T"] == {"value": 3.5, "why": "T = 3.5, because you asked for it."}
    assert "because" in choices["alpha"]["why"]


def test_a_transfer_set_without_labels_is_learnt_from(run):
    status, out, _ = run("--teacher", "all.npy", *QUICK, "--json", data="more.npz")
    assert status == 0
    results = json.loads(out)
    assert results["config"]["alpha"] == 1
    assert results["asked"]["data"]["transfer"]["examples"] == 300
    assert results["choices"]["alpha"]["why"] == (
        "alpha = 1, because there are no labels for x_transfer, and one alpha holds for all examples: the student "
        "learns from 90 training and 300 transfer examples by the teacher's answers only, and the training labels are "
        "not used."
    )


def test_a_transfer_set_that_the_teacher_does_not_know_is_left_out_and_that_is_said(run):
    status, out, _ = run("--teacher", "train.npy", *QUICK, data="more.npz")
    assert status == 0
    assert "none for transfer and test" in out
    assert not re.search(r"^teacher +\d", out, re.M)


def test_an_arithmetic_mean_of_two_teachers_fixes_the_temperature(run):
    status, out, _ = run("--teacher", "v.npy", "p.npy", "--mean", "arithmetic", *QUICK)
    assert status == 0
    assert "p.npy: its rows are probabilities" in out
    assert "arithmetic mean of 2 teachers" in out


def test_a_search_says_what_it_tried(run):
    status, out, _ = run("--teacher", "v.npy", "--search", "--hidden", "6", "--epochs", "4", "--quiet")
    assert status == 0
    assert "held-out examples" in " ".join(out.split())


def test_what_is_remarked_on_the_data_is_in_the_results_too(run, folder, tmp_path):
    data = dict(np.load(folder / "data.npz"))
    some = data["y_test"] != "bee"
    np.savez("some.npz", **{**data, "x_test": data["x_test"][some], "y_test": data["y_test"][some]})
    remark = "The test set has no example of 'bee', so the errors say nothing about this class."
    assert remark in run(*QUICK, *OWN, data=tmp_path / "some.npz")[1]
    assert remark in json.loads(run(*QUICK, *OWN, "--json", data=tmp_path / "some.npz")[1])["remarks"]


def test_a_teacher_in_another_order_is_doubted_before_training(run):
    status, _, err = run("--teacher", "shuffled.npy", *QUICK)
    assert status == 0
    assert "are its rows in the order of the data?" in err


def test_columns_in_another_order_are_the_first_reason(run, folder):
    np.save("turned.npy", np.load(folder / "v.npy")[:, [1, 2, 0]])
    status, out, err = run("--teacher", str(Path("turned.npy").resolve()), *QUICK, "--json")
    assert status == 0
    columns = "column 0 seems to be class bee, column 1 class cow, column 2 class ant"
    assert err.count(columns) == 2  # for train and test
    results = json.loads(out)
    assert results["idle"] == "the soft targets have a weight of only 0.0091"
    (reason,) = results["reasons"]
    assert columns in reason


def test_a_column_that_never_varies_in_training_is_named_before_and_after(run, folder):
    data = dict(np.load(folder / "data.npz"))
    data["x_train"] = np.where(np.arange(4) == 3, 7.0, data["x_train"])
    data["x_test"] = np.where(np.arange(4) == 3, 1e5 * data["x_test"], data["x_test"])
    np.savez("constant.npz", **data)
    status, out, err = run("--teacher", "v.npy", *QUICK, data=Path("constant.npz").resolve())
    assert status == 0
    assert "column 3 of the features never varies in train, but in test: nothing can be learnt of this" in err
    said = " ".join(out.split())
    assert said.count("In the features, column 3 never varied in training") == 2  # of both students
    assert "Of the features, column 3 never varied in training, but in the test part, so no network can" in said
    assert "diverged" not in said


def test_the_student_alone_is_trained_as_suits_its_own_examples_and_that_is_said(run):
    status, out, _ = run("--teacher", "all.npy", "--hidden", "3", "--quiet", "--json", data="more.npz")
    assert status == 0
    results = json.loads(out)
    alone, config = settings(np.zeros((N, K)), (3,), T=1.0, alpha=0.0), results["config"]
    assert (alone.epochs, alone.batch_size) != (config["epochs"], config["batch_size"])
    lines = Path(results["folder"], "metrics.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["network"] == "student alone" for line in lines) == alone.epochs
    assert results["remarks"][-1] == (
        f"The student alone learns from 90 examples for {alone.epochs} epochs in batches of {alone.batch_size}, the "
        f"distilled student from 390 examples for {config['epochs']} epochs in batches of {config['batch_size']}."
    )


def test_a_student_with_far_more_parameters_than_examples_is_remarked_on(run):
    remark = "learns from 90 examples: a smaller one, such as --hidden 30, may do as well."
    large = run("--teacher", "v.npy", "--hidden", "150,150", "--epochs", "1", "--quiet", "--json")[1]
    assert remark in json.loads(large)["remarks"][-1]
    assert remark not in run("--teacher", "v.npy", *QUICK, "--json")[1]


def test_every_export_gives_the_answers_of_the_student(run, folder, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    status, out, err = run("--teacher", "v.npy", *QUICK, "--export", "s.onnx", "s.py", "s.safetensors", "--json")
    assert (status, err) == (0, "")
    x = np.load(folder / "new.npy")
    expected = load_student("s.safetensors").predict_proba(x)
    session = runtime.InferenceSession("s.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["probabilities"], {"features": x})[0], expected, atol=1e-5)
    space = {"__name__": "student"}
    exec((tmp_path / "s.py").read_text(), space)
    np.testing.assert_allclose(space["predict_proba"](x), expected, atol=1e-5)
    assert json.loads(out)["files"]["export"] == ["s.onnx", "s.py", "s.safetensors"]


@pytest.mark.parametrize(("white", "dtype", "kind"), [(1.0, np.float32, "float"), (255, np.uint8, "uint8")])
def test_the_onnx_file_takes_images_as_they_were_learnt_from(run, tmp_path, white, dtype, kind):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    x = (np.random.default_rng(0).random((60, 4, 5)) * white).astype(dtype)
    y = np.arange(60) % 3
    np.savez("images.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    assert run(*QUICK, *OWN, "--export", "a.onnx", "s.safetensors", data=tmp_path / "images.npz")[0] == 0
    export.main(["s.safetensors", "b.onnx"])
    expected = load_student("s.safetensors").predict_proba(x)
    for name in ("a.onnx", "b.onnx"):
        session = runtime.InferenceSession(name, providers=["CPUExecutionProvider"])
        assert session.get_inputs()[0].type == f"tensor({kind})"
        np.testing.assert_allclose(session.run(["probabilities"], {"images": x})[0], expected, atol=1e-5)


# ---- what is refused before any work ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--T", "0"], "T must be a temperature"),
        (["--T", "warm"], r"--T: must be a number or auto, got 'warm' \("),
        (["--alpha", "half"], "--alpha: must be a number or auto, got 'half'"),
        (["--alpha", "nan"], "alpha must be > 0 and at most 1, got nan"),
        (["--alpha", "0"], "alpha must be > 0"),
        (["--alpha", "2"], "alpha must be > 0 and at most 1, got 2"),
        (["--epochs", "0"], "epochs must be"),
        (["--hidden", "0"], "hidden must be"),
        (["--hidden", "a"], "numbers joined by commas"),
        (["--seed", "-1"], "seed must be"),
        (["--teacher-epochs", "0"], "epochs must be"),
        (["--teacher", "v.npy", "--teacher-epochs", "3"], "--teacher-epochs is for a teacher that the command trains"),
        (["--mean", "arithmetic"], "--mean arithmetic is for several teachers, got 0"),
        (["--search", "--T", "3"], "--search looks for T"),
        (["--export", "s.pt"], r"FILE\.onnx, FILE\.py or FILE\.safetensors, got 's\.pt': choose one of these endings"),
        (["--export", "no/s.py"], "is not there: make it first"),
        (["--teacher", "none.npy"], r"none\.npy: No such file"),
        (["--teacher", "data.npz"], r"ends in \.npy, \.onnx, \.safetensors"),
        (["--teacher", "new.npy"], r"one column per class, \(N, 3\), got shape \(5, 4\)"),
        (["--teacher", "nan.npy"], r"nan\.npy: logits must be finite"),
        (["--out", ""], "must be a path"),
        (["--gpu", "--teacher", "v.npy"], "GPU|CuPy|card"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_any_work(run, words, message, tmp_path):
    if "--gpu" in words and os.environ.get("CUDA_PATH"):
        pytest.skip("there may be a card")
    status, out, err = run(*words, *(["--quiet"]))
    assert (status, out) == (2, "")
    assert err.startswith("minikd.distil: ")
    assert err.count("\n") == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export", ["t.safetensors", "./t.safetensors", "link.safetensors"])
def test_an_export_does_not_overwrite_the_teacher(run, export, tmp_path):
    (tmp_path / "t.safetensors").write_bytes(b"precious")
    if export.startswith("link"):
        try:
            (tmp_path / export).symlink_to("t.safetensors")
        except OSError:
            pytest.skip("links need a right here")
    status, out, err = run("--teacher", str(tmp_path / "t.safetensors"), "--export", export, *QUICK)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--export must not overwrite what the command reads" in err
    assert (tmp_path / "t.safetensors").read_bytes() == b"precious"


def test_an_export_is_named_once(run):
    status, _, err = run("--export", "a.py", "./a.py", *QUICK)
    assert status == 2
    assert "--export must name each file once" in err


def test_labels_have_no_weight_where_there_are_none(run):
    status, _, err = run("--teacher", "all.npy", "--alpha", "0.5", data="more.npz")
    assert status == 2
    assert "alpha must be 1 with x_transfer" in err


def test_a_network_that_diverges_is_named_with_what_to_do(run):
    status, _, err = run("--teacher", "v.npy", *QUICK, "--learning-rate", "1e38")
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(r"minikd.distil: student alone: the cost is .* at step \d+ of \d+, .*: lower --learning-rate", err)


# ---- interruptions ---------------------------------------------------------------------------------------------------


def test_a_run_is_resumed_with_the_same_results(run):
    first = json.loads(run("--teacher", "v.npy", *QUICK, "--json")[1])
    again = json.loads(run("--teacher", "v.npy", *QUICK, "--json", "--resume")[1])
    assert again["folder"] == first["folder"]
    for network in first["networks"]:
        assert again["networks"][network]["errors"] == first["networks"][network]["errors"]
    other = json.loads(run("--teacher", "v.npy", *QUICK, "--json")[1])
    assert other["folder"] == f"{first['folder']}-2"


def test_a_resumed_run_asks_no_model_again_and_does_not_search_again(run, monkeypatch):
    run("--teacher", "v.npy", *QUICK, "--export", "t.safetensors")
    words = ["--teacher", "t.safetensors", "v.npy", "t.safetensors", "--hidden", "6", "--epochs", "4", "--search"]
    first = json.loads(run(*words, "--quiet", "--json")[1])
    place = Path(first["folder"])
    assert {"answers-1.safetensors", "answers-3.safetensors", "search.json"} <= {file.name for file in place.iterdir()}
    done = []
    for name in ("ask", "search"):
        true = getattr(job, name)

        def noted(*given, name=name, true=true, **more):
            done.append(name)
            return true(*given, **more)

        monkeypatch.setattr(job, name, noted)
    for file in place.glob("student*"):
        file.unlink()
    again = json.loads(run(*words, "--quiet", "--json", "--resume")[1])
    assert done == ["ask"]  # of the file of logits
    for part in ("choices", "config"):
        assert again[part] == first[part]
    assert again["gain"] == first["gain"]
    other = {"of": "other", "said": [], "doubts": []}
    checkpoint.save(place / "answers-1.safetensors", {"train": np.zeros((N, K), np.float32)}, other)
    (place / "search.json").write_text('{"of": "other"}')
    assert json.loads(run(*words, "--quiet", "--json", "--resume")[1])["choices"] == first["choices"]
    assert done == ["ask", "ask", "ask", "search"]


def test_data_in_other_units_are_other_data_to_a_teacher(run, folder, tmp_path):
    run("--teacher", "v.npy", *QUICK, "--export", "t.safetensors")
    first = json.loads(run("--teacher", "t.safetensors", *QUICK, "--json")[1])
    data = dict(np.load(folder / "data.npz"))
    (tmp_path / "other").mkdir()
    doubled = {part: 2 * data[part] for part in ("x_train", "x_test")}  # the same once they are standardised
    np.savez("other/data.npz", **{**data, **doubled})
    words = ["--teacher", "t.safetensors", *QUICK, "--json", "--resume"]
    other = json.loads(run(*words, data=tmp_path / "other" / "data.npz")[1])
    assert other["asked"]["data"] == first["asked"]["data"]
    assert other["folder"] != first["folder"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_ends_in_one_line_and_the_run_can_be_resumed(folder, tmp_path):
    command = [sys.executable, "-m", "minikd.distil", str(folder / "data.npz"), "--hidden", "64,64", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits deafness
    with subprocess.Popen(
        [*command, "--epochs", "100000", "--teacher-epochs", "2"], env=environment, cwd=tmp_path, stderr=subprocess.PIPE
    ) as job:
        signal.signal(signal.SIGINT, heard)
        until = time.monotonic() + 60
        while not list(tmp_path.glob("runs/data-*/*.checkpoint.safetensors")) and time.monotonic() < until:
            time.sleep(0.05)
        job.send_signal(signal.SIGINT)
        _, err = job.communicate(timeout=60)
    assert job.returncode == 130
    assert err.decode() == "minikd.distil: stopped; the same command with --resume continues from here\n"


def test_a_disk_that_fills_up_ends_in_one_line(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minikd.training.runs.write_atomically", full)
    status, _, err = run("--teacher", "v.npy", *QUICK)
    assert status == 2
    assert "No space left on device; make room or fix its permissions, and repeat the command with --resume" in err
    assert err.count("\n") == 1


def test_an_export_that_fails_says_how_to_repeat_it(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(distil, "export_student", full)
    status, _, err = run("--teacher", "v.npy", *QUICK, "--export", "s.py")
    assert status == 1
    assert "No space left on device); it is kept: python -m minikd.export runs/" in err


# ---- predict ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def student(run):
    run("--teacher", "v.npy", *QUICK, "--export", "s.safetensors")
    return load_student("s.safetensors")


def test_predict_names_rows_of_arrays_and_tables_alike(run, folder, student):
    x = np.load(folder / "new.npy")
    q = student.predict_proba(x)
    expected = "".join(f"{n}\t{student.labels[row.argmax()]}\t{row.max():.4f}\n" for n, row in enumerate(q))
    assert run("s.safetensors", "new.npy", main=predict.main) == (0, expected, "")
    for header, mark in (("", ""), ("a,b,c,d\n", "\ufeff")):
        rows = "\n".join(",".join(repr(float(number)) for number in row) for row in x)
        Path("new.csv").write_text(mark + header + rows + "\n\n", encoding="utf-8")
        assert run("s.safetensors", "new.csv", main=predict.main) == (0, expected, "")


def test_predict_tells_all_probabilities_in_json(run, folder, student):
    status, out, _ = run("s.safetensors", "new.npy", "--json", main=predict.main)
    assert status == 0
    q = student.predict_proba(np.load(folder / "new.npy"))
    for n, (answer, row) in enumerate(zip(json.loads(out), q, strict=True)):
        assert answer["name"] == str(n)
        assert answer["class"] == student.labels[row.argmax()]
        assert answer["probabilities"] == {
            label: pytest.approx(float(p)) for label, p in zip(student.labels.tolist(), row, strict=True)
        }


def test_predict_writes_one_line_per_example_whatever_the_labels_hold(run, folder, student):
    Student(student.network, student.inputs, np.array(["a\nb", "c\td", "e\r"])).save("odd.safetensors")
    status, out, _ = run("odd.safetensors", "new.npy", main=predict.main)
    assert (status, len(out.splitlines())) == (0, 5)
    assert {line.split("\t")[1] for line in out.splitlines()} <= {"a\\nb", "c\\td", "e\\r"}


def test_predict_takes_a_single_example(run, folder, student):
    np.save("one.npy", np.load(folder / "new.npy")[0])
    assert run("s.safetensors", "one.npy", main=predict.main)[1].count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"1,2,3,4\n1,2,3\n", "line 2 has 3 numbers, the first has 4"),
        ("a.csv", b"1,2,3,4\n1,x,3,4\n", "line 2, column 2 must be a number, got 'x'"),
        ("a.csv", b"1,2,3,4\n1,,3,4\n", "line 2, column 2 must be a number, got ''"),
        ("a.csv", b"a,b,c,d\n", "no line of numbers"),
        ("a.csv", b"", "no line of numbers"),
        ("a.csv", b"\xff\xfe1,2\n", "not a table in UTF-8"),
        ("a.csv", b"1,,3,4\n1,2,3,4\n", "line 1, column 2 must be a number, got ''"),
        ("a.csv", b"1,2,x,4\n1,2,3,4\n", "line 1, column 3 must be a number, got 'x'"),
        ("a.csv", b",,,\n1,2,3,4\n", "line 1, column 1 must be a number, got ''"),
        ("a.csv", b"1;2;3;4\n2;3;4;5\n", "line 1, column 1: there are semicolons between the numbers: write commas"),
        ("a.csv", b"1,5;2,5;3;4\n", "line 1, column 2: there are semicolons between"),
        ("a.csv", b"1\t2\t3\t4\n", "line 1, column 1: there are tabs between"),
        ("a.csv", b"1,2,nan,4\n", "nan"),
        ("a.csv", b"1,2,3\n", r"shape \(N, 4\), got \(1, 3\): give the 4 columns that were learnt from$"),
        (
            "a.csv",
            b"0,1,2,3,4\n",
            r"got \(1, 5\): give the 4 columns that were learnt from, without an index and labels",
        ),
        ("a.npy", b"hello", r"not a \.npy file"),
        ("a.txt", b"hello", "must be an image, a folder of images"),
        ("a.png", b"hello", "reads 4 features, not images"),
    ],
)
def test_predict_refuses_what_it_cannot_read_in_one_line(run, student, name, content, message):
    Path(name).write_bytes(content)
    status, out, err = run("s.safetensors", name, main=predict.main)
    assert (status, out) == (2, "")
    assert err.startswith("minikd.predict: ")
    assert err.count("\n") == 1
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(err)


def test_predict_refuses_a_file_that_is_no_student(run, folder):
    status, out, err = run("new.npy", "new.npy", main=predict.main)
    assert (status, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_predict_reads_pictures_and_refuses_another_size(run, tmp_path, mode):
    image = pytest.importorskip("PIL.Image")
    for name, shade in (("dark", 20), ("light", 230)):
        for part, count in (("train", 12), ("test", 4)):
            place = tmp_path / "pictures" / part / name
            place.mkdir(parents=True)
            for i in range(count):
                image.new("L", (5, 4), shade + i).convert(mode).save(place / f"{i}.png")
    words = ["--epochs", "100", "--teacher-epochs", "100", "--quiet", "--export", "s.safetensors"]
    status, _, err = run("--hidden", "8", *words, data=tmp_path / "pictures")
    assert status == 0, err
    status, out, _ = run("s.safetensors", "pictures/test/dark", main=predict.main)
    assert [line.split("\t")[:2] for line in out.splitlines()] == [[f"{i}.png", "dark"] for i in range(4)]
    status, out, _ = run("s.safetensors", "pictures/test/light/0.png", main=predict.main)
    assert out.startswith("0.png\tlight\t")
    image.new("L", (4, 4)).save("small.png")
    status, out, err = run("s.safetensors", "small.png", main=predict.main)
    assert (status, out) == (2, "")
    assert "small.png: 4 × 4 pixels, but 5 × 4 are needed: resize it" in err
    Path("empty").mkdir()
    assert "no image in this folder: put PNG" in run("s.safetensors", "empty", main=predict.main)[2]
    err = run("s.safetensors", "pictures/test", main=predict.main)[2]
    assert f"no image in this folder: name one of its sub-folders, such as {Path('pictures/test/dark')}" in err
