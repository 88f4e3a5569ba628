"""The paper's experiments: jobs and what is kept of them, workers that make no difference, and how rows are judged."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_speech import FSDD
from threadpoolctl import threadpool_limits

from minikd import __version__
from minikd.core.losses import distillation_loss
from minikd.core.mlp import initialise, mlp_backward, mlp_forward, unflatten
from minikd.core.softmax import softmax
from minikd.engines.device import CPU
from minikd.paper import command as paper
from minikd.paper import figures, page
from minikd.paper.command import ROWS, build_parser, table
from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Job, Result, Store
from minikd.paper.lab.jobs import missing as not_done
from minikd.paper.lab.scoreboard import DIRECTION, NOT, REPRODUCED, near, sign_flip_p
from minikd.paper.rows import few, gradients, grid, missing, speech
from minikd.paper.tasks.networks import (
    GRADIENT_TEMPERATURES,
    Data,
    _gradients,
    gradients_task,
    mean,
    mean_task,
    train_task,
    training,
)
from minikd.plots.figures import save
from minikd.training.answers import count_errors, logits
from minikd.training.checkpoint import CheckpointError
from minikd.training.config import TrainConfig
from minikd.training.loop import train
from minikd.training.network import Network

SMALL = Data(first=200)
TINY = TrainConfig(hidden=(8,), epochs=1, batch_size=20, learning_rate=0.1)


def a_teacher(seed=0):
    return training("teacher", replace(TINY, seed=seed), SMALL, keep=("train", "test"))


def a_student(teacher, data=SMALL, **changes):
    config = replace(TINY, alpha=0.5, T=4.0, **changes)
    return training("student", config, data, teacher=teacher, keep=("test",))


def do(jobs, folder, threads=1):
    store, done = Store(folder), []
    with threadpool_limits(1), ThreadPoolExecutor(threads) as executor:  # which lifts it again, for other tests
        engine.run(jobs, store, executor, workers=lambda: threads, on_done=lambda job: done.append(job.key))
    return store, done


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


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_a_key_is_of_what_decides_the_result_and_nothing_else():
    job = a_student(a_teacher())
    same = Job(job.task, json.loads(json.dumps(job.settings)), dict(job.needs), "another title", work=9.0)
    assert same.key == job.key
    others = [
        a_student(a_teacher(seed=1)),
        a_student(a_teacher(), seed=1),
        a_student(a_teacher(), data=replace(SMALL, wrong=0.1)),
        replace(job, task="mean"),
        replace(job, needs={}),
        replace(job, settings={**job.settings, "keep": []}),
    ]
    assert len({one.key for one in [job, *others]}) == 1 + len(others)


def test_what_is_missing_comes_after_what_it_needs_and_each_job_once(tmp_path):
    teacher = a_teacher()
    jobs = [a_student(teacher), a_student(a_teacher(), seed=1)]
    found = list(not_done(jobs, Store(tmp_path)))
    assert found == [teacher.key, jobs[0].key, jobs[1].key]


def test_a_job_that_was_done_is_not_done_again_nor_what_it_alone_needed(tmp_path):
    job = a_student(a_teacher())
    store, done = do([job], tmp_path)
    assert done == [job.needs["teacher"].key, job.key]
    store.path(job.needs["teacher"]).unlink()
    assert do([job], tmp_path)[1] == []
    assert do([a_student(a_teacher(), seed=1)], tmp_path)[1][0] == job.needs["teacher"].key


def test_a_damaged_result_is_refused_not_used(tmp_path):
    job = a_teacher()
    store, _ = do([job], tmp_path)
    path = store.path(job)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(CheckpointError, match=path.name):
        store.get(job)


def test_results_are_the_same_bits_however_many_workers_there_are(tmp_path):
    teacher = a_teacher()
    jobs = [a_student(teacher, seed=seed) for seed in range(3)]
    stores = [do(jobs, tmp_path / str(threads), threads)[0] for threads in (1, 3)]
    for job in [teacher, *jobs]:
        one, three = (store.get(job) for store in stores)
        assert one.arrays.keys() == three.arrays.keys() > set()
        for name, array in one.arrays.items():
            assert np.array_equal(array, three.arrays[name])
        assert one.record["errors"] == three.record["errors"]


def test_a_failed_job_is_named_and_what_ran_beside_it_is_kept(tmp_path):
    bad = training("one that diverges", replace(TINY, learning_rate=1e30), SMALL)
    good = a_teacher()
    with pytest.raises(engine.JobError, match=r"^one that diverges: the cost is .* try a lower learning rate"):
        do([good, bad], tmp_path, threads=2)
    assert good in Store(tmp_path)
    assert bad not in Store(tmp_path)


def test_the_job_that_most_work_waits_for_goes_first(tmp_path):
    alone = [replace(a_teacher(seed), title="alone", work=3.0) for seed in (5, 6)]
    teacher = replace(a_teacher(), work=1.0)
    pupil = replace(a_student(teacher), work=10.0)
    _, done = do([*alone, pupil], tmp_path)
    assert done[0] == teacher.key


# ---- tasks -----------------------------------------------------------------------------------------------------------


def test_a_share_is_drawn_once_for_a_seed_and_smaller_shares_lie_in_larger_ones():
    _, three, transfer, _ = Data(share=0.03).load()
    _, ten, _, _ = Data(share=0.1).load()
    assert len(three) == len(transfer) == 1800
    assert set(three) < set(ten)
    assert set(three) != set(Data(share=0.03, seed=1).load()[1])
    assert np.bincount(transfer.labels).min() > 100  # of all digits


@pytest.mark.parametrize("wrong", [0.1, 0.4])
def test_wrong_labels_are_as_many_as_said_and_never_right_by_chance(wrong):
    full, chosen, transfer, _ = Data(first=5000, wrong=wrong).load()
    assert np.array_equal(chosen, np.arange(5000))
    false = full.labels != transfer.labels
    assert np.count_nonzero(false) == round(5000 * wrong)
    assert np.array_equal(full.images, transfer.images)
    assert np.bincount(transfer.labels[false], minlength=10).min() > 0.5 * 5000 * wrong / 10


def test_a_transfer_set_of_some_classes_has_the_rows_of_its_own_images():
    full, chosen, transfer, test = Data(first=300, classes=(7, 8)).load()
    assert set(transfer.labels.tolist()) == {7, 8}
    assert np.array_equal(full.images[chosen], transfer.images)
    assert set(test.labels.tolist()) == set(range(10))


def test_choices_are_made_on_training_images():
    full, _, _, test = Data(held_out=10_000).load()
    everything = Data().load()[0]
    assert len(full) == 50_000
    assert np.array_equal(test.images, everything.images[50_000:])


def test_a_student_is_taught_by_its_teachers_answers_to_its_own_images():
    """A teacher whose answers are made up, one class for each image: soft targets alone teach just that."""
    data = Data(first=200, classes=(1, 7))
    full, chosen, _, _ = data.load()
    v = np.full((len(full), 10), -20.0, np.float32)
    v[np.arange(len(full)), np.where(full.labels == 1, 5, 2)] = 20.0
    config = replace(TINY, alpha=1.0, T=1.0, epochs=60, batch_size=5)
    job = training("student", config, data, keep=("train",))
    _, arrays = train_task(job.settings, {"teacher": Result({}, {"train": v})}, CPU)
    said = np.argmax(arrays["train"][chosen], axis=-1)
    assert np.array_equal(said, np.where(full.labels[chosen] == 1, 5, 2))


def test_a_task_trains_what_train_trains():
    full, _, transfer, test = SMALL.load()
    record, arrays = train_task(a_teacher().settings, {}, CPU)
    network = train(TINY, transfer)
    (W1, b1), (W2, b2) = network.layers()
    z = np.maximum(test.images.reshape(200, -1) / np.float32(255) @ W1 + b1, 0) @ W2 + b2
    assert np.allclose(arrays["test"], z, rtol=1e-4, atol=1e-5)
    assert arrays["train"].shape == (len(full), 10)
    assert record["errors"] == np.count_nonzero(z.argmax(axis=-1) != test.labels)


def test_early_stopping_takes_the_first_best_epoch_on_images_that_were_not_learnt_from():
    data, config = Data(first=1000, share=0.05), replace(TINY, epochs=60, learning_rate=0.3)
    full, chosen, transfer, test = data.load()
    job = training("stopped", config, data, keep=("test",), stop_early=True, count_train=True)
    record, arrays = train_task(job.settings, {}, CPU)
    others = np.setdiff1d(np.arange(1000), chosen)
    held = full.take(np.random.default_rng(0).permutation(others))
    seen = []
    train(config, transfer, on_epoch=lambda n: seen.append((count_errors(n, held), n.flat.copy(), n.sizes)))
    best = min(range(60), key=lambda epoch: seen[epoch][0])
    assert record["epoch"] == best + 1 < 60
    network = Network(seen[best][2], seen[best][1])
    assert np.array_equal(arrays["test"], logits(network, test))
    assert record["train_errors"] == count_errors(network, transfer)
    everything = training("all", config, Data(first=1000), stop_early=True)
    with pytest.raises(ValueError, match="take a smaller share"):
        train_task(everything.settings, {}, CPU)


@pytest.mark.parametrize("kind", ["arithmetic", "geometric"])
def test_the_mean_of_an_ensemble_is_that_of_its_distributions(kind):
    rng = np.random.default_rng(0)
    members = {
        str(m): Result({}, {name: rng.standard_normal((200, 10)) for name in ("train", "test")}) for m in range(3)
    }
    job = mean("mean", kind, 4.0, {name: a_teacher() for name in members}, SMALL)
    record, arrays = mean_task(job.settings, members, CPU)
    p = np.stack([softmax(member.arrays["train"], 4.0) for member in members.values()])
    expected = p.mean(axis=0) if kind == "arithmetic" else np.exp(np.log(p).mean(axis=0))
    expected /= expected.sum(axis=-1, keepdims=True)
    assert np.allclose(softmax(arrays["train"], 4.0), expected, rtol=1e-10)
    assert record.get("T") == (4.0 if kind == "arithmetic" else None)


def test_gradients_are_measured_case_by_case():
    rng = np.random.default_rng(0)
    sizes = (12, 7, 6, 5)
    layers = unflatten(initialise(sizes, rng, "float64"), sizes)
    x, v, y = rng.random((9, 12)), rng.standard_normal((9, 5)), rng.integers(0, 5, 9)
    z, caches = mlp_forward(x, layers)
    _, dz = distillation_loss(z, v=v, y=y, T=3.0, alpha=0.5)
    found = _gradients(caches, 9 * dz)
    single = []
    for n in range(9):
        zn, cache = mlp_forward(x[n : n + 1], layers)
        _, dzn = distillation_loss(zn, v=v[n : n + 1], y=y[n : n + 1], T=3.0, alpha=0.5)
        single.append(np.concatenate([array.ravel() for pair in mlp_backward(dzn, cache)[0] for array in pair]))
    g = np.array(single)
    variance = np.mean(np.sum((g - g.mean(axis=0)) ** 2, axis=1))
    assert found["noise"] == pytest.approx(variance / np.sum(g.mean(axis=0) ** 2), rel=1e-10)
    assert found["size"] == pytest.approx(9 * np.linalg.norm(dz, axis=1).mean(), rel=1e-12)


def test_gradients_are_looked_at_fresh_after_an_epoch_and_at_the_end():
    teacher = Result({}, {"train": np.random.default_rng(0).standard_normal((200, 10)).astype(np.float32)})
    config = replace(TINY, epochs=3, alpha=0.9, T=4.0)
    record, _ = gradients_task(gradients.gradients("", config, SMALL, a_teacher()).settings, {"teacher": teacher}, CPU)
    assert [moment["epoch"] for moment in record["moments"]] == [0, 1, 3]
    for moment in record["moments"]:
        sizes = [one["size"] for one in moment["soft"]]
        assert sizes[-1] / sizes[-2] == pytest.approx((40 / 100) ** 2, rel=0.05)  # the limit, E4


def test_a_run_that_may_diverge_says_so_and_no_more():
    job = training("hot", replace(TINY, learning_rate=1e30), SMALL, may_diverge=True)
    assert train_task(job.settings, {}, CPU) == ({"errors": None}, {})


def test_every_row_names_tasks_that_are_there_and_shares_what_it_can():
    for profile in ("smoke", "cpu", "full"):
        jobs = {row.id: row.jobs(profile) for row in ROWS.values()}
        keys = {id: {job.key for job in named.values()} for id, named in jobs.items()}
        assert {job.task for named in jobs.values() for job in named.values()} <= set(engine.TASKS)
        assert keys["M2"] < keys["M3"]
        assert keys["M6"] == keys["M7"]
        assert keys["M1"] & keys["M6"]


# ---- judging ---------------------------------------------------------------------------------------------------------


def counted(**kinds):
    return {f"{kind} {i}": Result({"errors": n}, {}) for kind, counts in kinds.items() for i, n in enumerate(counts)}


@pytest.mark.parametrize(
    ("alone", "distilled", "verdict"),
    [
        ([140, 150], [70, 78], REPRODUCED),
        ([140, 150], [100, 110], DIRECTION),
        ([140, 150], [139, 151], NOT),
    ],
)
def test_distillation_is_judged_by_its_figure_and_by_every_pair(alone, distilled, verdict):
    outcome = ROWS["M3"].judge("cpu", counted(alone=alone, distilled=distilled))
    assert outcome.verdict == verdict
    assert outcome.numbers["alone"] == alone


def test_a_count_is_judged_against_the_papers_and_the_noise_of_one_run():
    assert near(67 + 16, 67)
    assert not near(67 + 17, 67)
    assert ROWS["M1"].judge("cpu", counted(teacher=[60, 66])).verdict == REPRODUCED
    assert ROWS["M1"].judge("cpu", counted(teacher=[90, 96])).verdict == NOT


def test_the_sign_flip_test_is_uniform_under_no_effect_and_small_under_one():
    rng = np.random.default_rng(0)
    p = [sign_flip_p(rng.standard_normal(8)) for _ in range(400)]
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09
    assert sign_flip_p(rng.standard_normal(10) + 3) == 2 / 2**10


def table_of_errors(means, seeds=8, width=30, noise=2.0):
    rng = np.random.default_rng(0)
    errors = np.array(means) + noise * rng.standard_normal((seeds, len(means)))
    return {f"{width} {seed}": Result({"errors": row.tolist()}, {}) for seed, row in enumerate(errors)}


@pytest.mark.parametrize(("dip", "verdict"), [((2.5, 3.0, 4.0), REPRODUCED), ((), NOT), ((12.0, 20.0, 40.0), NOT)])
def test_a_best_temperature_must_beat_both_sides_significantly(dip, verdict):
    means = [400.0 - 30 * (T in dip) for T in grid.TEMPERATURES]
    if not dip:
        means = [400.0 + T for T in grid.TEMPERATURES]  # the lowest T is best
    outcome = ROWS["M5"].judge("cpu", table_of_errors(means))
    assert outcome.verdict == verdict
    assert outcome.numbers["errors"]["30"]


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, REPRODUCED), (1.0, NOT)])
def test_flat_means_within_the_noise_of_one_run(slope, verdict):
    results = table_of_errors([100 + slope * T for T in grid.TEMPERATURES], width=300)
    results |= table_of_errors([90.0] * 10, width=800)
    assert ROWS["M4"].judge("cpu", results).verdict == verdict


@pytest.mark.parametrize(
    ("taught", "verdict", "share"), [(122, REPRODUCED, 0.9), (130, DIRECTION, 0.5), (141, NOT, -0.05)]
)
def test_the_share_of_an_ensembles_gain_that_a_student_keeps(taught, verdict, share):
    results = counted(member=[138, 142], **{"arithmetic-taught": [taught], "geometric-taught": [taught]})
    results |= {f"{kind} ensemble": Result({"errors": 120}, {}) for kind in ("arithmetic", "geometric")}
    outcome = ROWS["E8"].judge("cpu", results)
    assert outcome.verdict == verdict
    assert outcome.numbers["geometric, share"] == pytest.approx(share)


def test_an_ensemble_that_gains_nothing_keeps_no_share():
    results = counted(member=[138, 142], **{"arithmetic-taught": [130], "geometric-taught": [130]})
    results |= {f"{kind} ensemble": Result({"errors": 150}, {}) for kind in ("arithmetic", "geometric")}
    outcome = ROWS["E8"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert json.loads(json.dumps(outcome.numbers, allow_nan=False))["geometric, share"] is None


@pytest.mark.parametrize("without", ["arithmetic", "geometric"])
def test_one_mean_that_gains_nothing_is_not_hidden_by_the_other(without):
    results = counted(member=[138, 142], **{"arithmetic-taught": [122], "geometric-taught": [122]})
    errors = {"arithmetic": 120, "geometric": 120, without: 140}
    results |= {f"{kind} ensemble": Result({"errors": count}, {}) for kind, count in errors.items()}
    outcome = ROWS["E8"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.why == f"the ensemble gained nothing by its {without} mean"
    assert f"{without} mean 140, its student 122: there is no gain to keep" in outcome.ours
    assert "keeps 90% of the gain" in outcome.ours
    assert outcome.numbers[f"{without}, share"] is None


def covered(*groups):
    return {f"answers {i}": Result({"covered": counts}, {}) for i, counts in enumerate(groups)}


def test_a_relative_gain_needs_cases_that_were_right_before():
    """With none right before, 30 cases put right would be a gain of 3,000 %."""
    outcome = ROWS["P6"].judge("cpu", covered({"0": [100, 50, 50], "1": [100, 50, 40], "2": [50, 50, 20]}))
    assert outcome.ours == "0: +0.00 % (100 cases), 1: +20.00 % (100 cases), 2: none was right (50 cases)"
    assert "slope +20.00 points" in outcome.why
    assert len(figures.specialists({"P6": outcome.numbers}).axes[0].texts) == 2


@pytest.mark.parametrize("groups", [{"1": [100, 50, 40]}, {"1": [100, 50, 40], "2": [50, 50, 20]}])
def test_one_number_of_specialists_has_no_slope(groups):
    outcome = ROWS["P6"].judge("cpu", covered(groups))
    assert outcome.verdict == NOT
    assert "there is no slope" in outcome.why


def learnt(results):
    """kind → (train, test) accuracy in per cent, as results of 1,000 examples."""
    return {
        f"{kind} {share} 0": Result(
            {"examples": 1000, "tested": 1000, "train_errors": 10 * (100 - train), "errors": 10 * (100 - test)}, {}
        )
        for (kind, share), (train, test) in results.items()
    }


def test_few_examples_are_judged_by_what_soft_targets_save_of_what_hard_ones_lose():
    results = learnt(
        {
            (few.HARD, 1.0): (100, 98),
            (few.STOPPED, 0.03): (99, 90),
            (few.HARD, 0.03): (100, 89),
            (few.SOFT, 0.03): (99, 97.5),
        }
    )
    soft = ROWS["R3"].judge("cpu", results)
    assert (soft.verdict, soft.ours) == (REPRODUCED, "train 99 %, test 97.5 %")
    assert "soft targets save 94% of the 8.00 points that hard targets lose" in soft.why
    assert ROWS["R2"].judge("cpu", results).verdict == REPRODUCED
    results |= learnt({(few.HARD, 0.03): (100, 91), (few.SOFT, 0.03): (99, 92)})
    assert ROWS["R3"].judge("cpu", results).verdict == DIRECTION
    assert ROWS["R2"].judge("cpu", results).verdict == DIRECTION
    results |= learnt({(few.SOFT, 0.03): (99, 89)})
    assert ROWS["R3"].judge("cpu", results).verdict == NOT


def test_soft_targets_save_no_share_where_hard_ones_lose_nothing():
    results = learnt(
        {
            (few.HARD, 1.0): (100, 90),
            (few.STOPPED, 0.03): (99, 90),
            (few.HARD, 0.03): (99, 90),
            (few.SOFT, 0.03): (99, 95),
        }
    )
    outcome = ROWS["R3"].judge("cpu", results)
    assert outcome.verdict == NOT
    assert outcome.why == "hard targets lose nothing, so there is nothing to save"


def test_no_kind_is_faster_where_no_rate_is_tolerated():
    results = {"gradients": moment(1.0, 0.5, 2.0)}
    results |= {f"{kind}; {rate}; 0": Result({"errors": None}, {}) for kind in gradients.KINDS for rate in (0.1, 0.2)}
    assert ROWS["E9"].judge("cpu", results).verdict == DIRECTION  # quieter


@pytest.mark.parametrize(("oracle", "honest", "words"), [(9, 4, "5.0 errors fewer"), (4, 9, "5.0 errors more")])
def test_the_honest_shift_may_be_the_better_one(oracle, honest, words, monkeypatch):
    errors = {"none": [20], "oracle": [oracle], "honest": [honest]}
    found = {"errors": errors, "wrong": errors, "shift": errors, "cases": [100, 1000]}
    monkeypatch.setattr(missing, "measure", lambda *_: found)
    assert ROWS["M7"].judge("cpu", {}).why.endswith(f"the honest shift makes {words}")


def test_a_rate_is_tolerated_if_every_seed_ends_well():
    counts = {"0.1": [100, 104], "0.2": [100, 100], "0.4": [120, 110], "0.8": [90, 300], "1.6": [None, 100]}
    assert gradients.tolerated(counts) == 0.4
    assert gradients.tolerated({"0.1": [None]}) == 0.0


def moment(hard_noise, soft_noise, exponent):
    soft = [{"size": T**-exponent, "noise": soft_noise} for T in GRADIENT_TEMPERATURES]
    return Result({"moments": [{"epoch": 0, "hard": {"size": 0.5, "noise": hard_noise}, "soft": soft}]}, {})


@pytest.mark.parametrize(("exponent", "verdict"), [(2.0, REPRODUCED), (1.0, NOT)])
def test_gradients_must_fall_as_the_square_of_T(exponent, verdict):
    assert ROWS["E6"].judge("cpu", {"gradients": moment(1.0, 0.5, exponent)}).verdict == verdict


@pytest.mark.parametrize(
    ("soft_noise", "rate", "verdict"), [(0.5, 0.4, REPRODUCED), (0.5, 0.1, DIRECTION), (2.0, 0.1, NOT)]
)
def test_soft_targets_must_be_quieter_and_faster(soft_noise, rate, verdict):
    results = {"gradients": moment(1.0, soft_noise, 2.0)}
    for kind in gradients.KINDS:
        for tried in (0.1, 0.2, 0.4):
            fine = tried <= (0.2 if kind == "hard" else rate)
            results[f"{kind}; {tried}; 0"] = Result({"errors": 100 if fine else None}, {})
    outcome = ROWS["E9"].judge("cpu", results)
    assert outcome.verdict == verdict
    assert outcome.numbers["highest"]["hard"] == 0.2


@pytest.mark.parametrize(("helps", "verdict"), [(6, REPRODUCED), (4, DIRECTION), (2, NOT)])
def test_soft_targets_are_judged_in_every_setting_of_false_labels(helps, verdict):
    jobs = ROWS["N1"].jobs("cpu")
    settings = sorted({name.rpartition(" ")[0] for name in jobs} - {"clean 0.0"})
    assert len(settings) == 6
    results = {
        name: Result({"errors": [200, 0, 0, 0, 0, 150 if name.rpartition(" ")[0] in settings[:helps] else 250]}, {})
        for name in jobs
    }
    assert ROWS["N1"].judge("cpu", results).verdict == verdict


def biased(test, s):
    """The logits of a student that knows every digit, but likes 3s less by s nats."""
    z = np.where(np.arange(10) == test.labels[:, None], 4.0, 0.0)
    z[:, 3] -= s
    return z


def test_both_shifts_undo_a_bias_that_is_one_number():
    full, _, _, test = Data(first=1000).load()
    results = {
        "teacher": Result({}, {"train": biased(full, 0.0)}),
        "student 0": Result({}, {"train": biased(full, 6.0), "test": biased(test, 6.0)}),
    }
    found = missing.measure(missing.WITHOUT_3, "smoke", results)
    threes = int(np.count_nonzero(test.labels == 3))
    assert found["cases"] == [threes, 1000]
    assert found["errors"] == {"none": [threes], "oracle": [0], "honest": [0]}
    assert found["wrong"]["none"] == [threes]
    assert found["shift"]["honest"] == [6.0]
    assert 2.0 < found["shift"]["oracle"][0] < 10.0
    assert found["curve"][list(missing.SHIFTS).index(0.0)] == threes


def test_the_honest_shift_sees_no_label(monkeypatch):
    full, _, _, test = Data(first=1000).load()
    results = {
        "teacher": Result({}, {"train": biased(full, 0.0)}),
        "student 0": Result({}, {"train": biased(full, 6.0), "test": biased(test, 6.0)}),
    }
    before = missing.measure(missing.WITHOUT_3, "smoke", results)["shift"]
    load = Data.load

    def other_labels(self):
        full, chosen, transfer, test = load(self)
        return full, chosen, transfer, replace(test, labels=np.full_like(test.labels, 3))

    monkeypatch.setattr(Data, "load", other_labels)
    after = missing.measure(missing.WITHOUT_3, "smoke", results)["shift"]
    assert after["honest"] == before["honest"]
    assert after["oracle"] != before["oracle"]


# ---- the command -----------------------------------------------------------------------------------------------------


TWO = ("M3", "M7")  # rows that share a teacher, for calls that are to be short


def two(board):
    return [line for line in board if line["row"] in TWO]


SPEECH = [row.id for row in speech.ROWS]
EXPECTED = list(ROWS) if FSDD.exists() else [row for row in ROWS if row not in SPEECH]
ASKED = ["--data", FSDD] if FSDD.exists() else EXPECTED
"""Every row; but those of speech only where the recordings are, for they may not be embedded."""


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The whole scoreboard, tiny, by two processes; and where its results are kept."""
    out = tmp_path_factory.mktemp("smoke")
    done = command(*ASKED, "--profile", "smoke", "--json", "--out", out)
    assert done.returncode == 0, done.stderr
    return numbers(done.stdout), out


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


def test_a_written_scoreboard_has_what_made_it_and_every_figure_can_be_drawn_from_it(smoke, tmp_path):
    _, out = smoke
    path = tmp_path / "smoke.json"
    done = command(*ASKED, "--profile", "smoke", "--json", "--out", out, "--write", path)
    assert done.returncode == 0, done.stderr
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["rows"] == json.loads(done.stdout)
    assert record["machine"]["numpy"] == np.__version__
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
            assert f"**{id}, claims nothing**" in page.section(name, record, "smoke")
    assert page.scoreboard(record).count("claims nothing") == len(EXPECTED)


@pytest.mark.parametrize(
    ("file", "message"),
    [("a.txt", "--write needs a .json file"), ("nowhere/a.json", "the folder of 'nowhere/a.json' is not there")],
)
def test_a_scoreboard_that_could_not_be_kept_is_refused_before_any_work(file, message, tmp_path):
    done = command("--write", file, "--out", "out", cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert message in done.stderr


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
    asked = paper.command(parser, parser.parse_args(given), ["M1"])
    assert asked == printed.replace("…", "python -m minikd.paper M1")


def test_rows_that_are_finished_are_shown_when_a_job_of_another_row_fails(monkeypatch, tmp_path, capsys):
    bad = training("one that diverges", replace(TINY, learning_rate=1e30), SMALL)
    good = replace(ROWS["M2"], jobs=lambda profile: {"alone 0": training("small", TINY, SMALL, keep=("test",))})
    failing = replace(ROWS["M1"], jobs=lambda profile: {"teacher 0": bad})
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
    monkeypatch.setattr(paper, "ROWS", {"M2": replace(ROWS["M2"], jobs=lambda profile: {"alone 0": job})})
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
    assert json.loads(path.read_text(encoding="utf-8"))["machine"]["numpy"] == np.__version__


def test_a_damaged_result_costs_only_its_own_rows(monkeypatch, tmp_path, capsys):
    teacher, other = a_teacher(), training("small", TINY, SMALL, keep=("test",))
    student = a_student(teacher)
    rows = {
        "M1": replace(ROWS["M1"], jobs=lambda profile: {"teacher 0": teacher}),
        "M2": replace(ROWS["M2"], jobs=lambda profile: {"alone 0": other}),
    }
    asked = ["--profile", "smoke", "--out", str(tmp_path), "--workers", "1", "--quiet"]
    monkeypatch.setattr(paper, "ROWS", rows)
    paper.main(["M2", *asked])
    alone = capsys.readouterr().out
    paper.main(asked)
    path = Store(tmp_path / "paper" / "cpu").path(teacher)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    for needed in ({}, {"M3": replace(ROWS["M3"], jobs=lambda profile: {"distilled 0": student})}):
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
    good = replace(ROWS["M2"], jobs=lambda profile: {"alone 0": training("small", TINY, SMALL, keep=("test",))})
    monkeypatch.setattr(paper, "ROWS", {"M2": good})

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paper, "write_atomically", full)
    with pytest.raises(SystemExit) as stopped:
        paper.main(["--profile", "smoke", "--out", str(tmp_path), "--quiet", "--write", str(tmp_path / "a.json")])
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert "M2" in said.out
    assert "a.json is not written: No space left on device" in said.err


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
    assert {id: row.about("cpu") for id, row in ROWS.items()} == committed


def test_one_worker_gives_the_scoreboard_of_two(smoke, tmp_path):
    board, _ = smoke
    done = command(*TWO, "--profile", "smoke", "--json", "--workers", 1, "--out", tmp_path)
    assert numbers(done.stdout) == two(board)
    assert "; M3 complete\n" in done.stderr


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
    until = time.monotonic() + 120
    while not list(Path(out).glob("paper/cpu/*.safetensors")):
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


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
from minikd.paper import engine

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


def test_a_cluster_that_loses_a_worker_gives_the_same_scoreboard(smoke, tmp_path):
    pytest.importorskip("distributed")
    board, _ = smoke
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER)
    done = subprocess.run([sys.executable, script, tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert "killed" in done.stderr, done.stderr
    assert numbers(done.stdout) == two(board), done.stderr
