"""The jobs of the paper's experiments: what a key says, what is kept, and what the tasks give."""

import json
from dataclasses import replace
from importlib import import_module
from itertools import product

import numpy as np
import pytest
from small_jobs import SMALL, TINY, a_student, a_teacher, damage, do

from minikd.core.losses import distillation_loss
from minikd.core.mlp import initialise, mlp_backward, mlp_forward, unflatten
from minikd.core.softmax import softmax
from minikd.engines.device import CPU
from minikd.paper.lab import executor as engine
from minikd.paper.lab.jobs import Job, Result, Store
from minikd.paper.lab.jobs import missing as not_done
from minikd.paper.rows import ROWS, gradients
from minikd.paper.tasks.networks import (
    Data,
    gradients_task,
    mean,
    mean_task,
    measure_gradients,
    train_task,
    training,
    variances,
)
from minikd.training.answers import count_errors, logits
from minikd.training.checkpoint import CheckpointError
from minikd.training.loop import train
from minikd.training.network import Network

# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_a_key_is_of_what_decides_the_result_and_nothing_else():
    job = a_student(a_teacher())
    same = Job(job.do, json.loads(json.dumps(job.settings)), dict(job.needs), "another title", work=9.0)
    assert same.key == job.key
    others = [
        a_student(a_teacher(seed=1)),
        a_student(a_teacher(), seed=1),
        a_student(a_teacher(), data=replace(SMALL, wrong=0.1)),
        replace(job, do=mean_task),
        replace(job, needs={}),
        replace(job, settings={**job.settings, "keep": []}),
    ]
    assert len({one.key for one in [job, *others]}) == 1 + len(others)


def test_what_is_missing_comes_after_what_it_needs_and_each_job_once(tmp_path):
    teacher = a_teacher()
    jobs = [a_student(teacher), a_student(a_teacher(), seed=1)]
    found = list(not_done(jobs, Store(tmp_path)))
    assert found == [teacher.key, jobs[0].key, jobs[1].key]


@pytest.mark.slow
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
    damage(path)
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


def test_the_jobs_of_an_earlier_stage_go_first_and_no_worker_waits_for_them(tmp_path):
    teacher, first = replace(a_teacher(), work=1.0), replace(a_teacher(5), work=0.1)
    pupil = replace(a_student(teacher), work=10.0)
    stage = {first.key: 0, teacher.key: 1, pupil.key: 1}
    _, done = do([pupil, first], tmp_path, stage=stage)
    assert done == [first.key, teacher.key, pupil.key]


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
    """Make up a teacher's answers, one class for each image: soft targets teach exactly these, without labels."""
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


@pytest.mark.slow
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
    networks = Network(seen[best][2], seen[best][1]), Network(seen[-1][2], seen[-1][1])
    assert record["stopped"]["epoch"] == best + 1 < 60
    for network, found, name in zip(networks, (record["stopped"], record), ("stopped.wrong", "wrong"), strict=True):
        assert np.array_equal(arrays[name], np.argmax(logits(network, test), axis=-1) != test.labels)
        assert found["errors"] == arrays[name].sum()
        assert found["train_errors"] == count_errors(network, transfer)
    assert not np.array_equal(arrays["wrong"], arrays["stopped.wrong"])
    everything = training("all", config, Data(first=1000), stop_early=True)
    with pytest.raises(ValueError, match="use a smaller share"):
        train_task(everything.settings, {}, CPU)


@pytest.mark.parametrize("kind", ["arithmetic", "geometric"])
def test_the_mean_of_an_ensemble_is_that_of_its_distributions(kind):
    rng = np.random.default_rng(0)
    members = {
        str(m): Result({}, {name: rng.standard_normal((200, 10)) for name in ("train", "test")}) for m in range(3)
    }
    job = mean("mean", kind, 4.0, [a_teacher() for _ in members], SMALL)
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
    found = measure_gradients(caches, 9 * dz)
    single = []
    for n in range(9):
        zn, cache = mlp_forward(x[n : n + 1], layers)
        _, dzn = distillation_loss(zn, v=v[n : n + 1], y=y[n : n + 1], T=3.0, alpha=0.5)
        single.append(np.concatenate([array.ravel() for pair in mlp_backward(dzn, cache)[0] for array in pair]))
    g = np.array(single)
    squared_mean = np.sum(g.mean(axis=0) ** 2)
    assert found["noise_at_least"] == pytest.approx(np.sum(np.var(g, axis=0)) / squared_mean, rel=1e-10)
    variance = np.sum(np.var(g, axis=0, ddof=1))
    assert found["noise"] == pytest.approx(variance / (squared_mean - variance / 9), rel=1e-10)
    assert found["size"] == pytest.approx(9 * np.linalg.norm(dz, axis=1).mean(), rel=1e-12)


def noise_of(dz):
    """Measure the gradients of a layer with these gradients of its bias, and none of its weights."""
    _, caches = mlp_forward(np.zeros((len(dz), 1)), [(np.zeros((1, dz.shape[1])), np.zeros(dz.shape[1]))])
    return measure_gradients(caches, dz)


def test_the_noise_of_gradients_does_not_saturate_at_the_number_of_cases():
    N, K, mean = 200, 4000, 0.1
    found = noise_of(mean + np.random.default_rng(0).standard_normal((N, K)))
    r = 1 / mean**2  # half of N, so the plug-in is about r / (1 + r/N)
    assert found["noise"] == pytest.approx(r, rel=0.05)
    assert found["noise_at_least"] == pytest.approx(r / 1.5, rel=0.05)


def test_noise_has_no_upper_bound_where_the_mean_cannot_be_told_from_zero():
    assert noise_of(np.array([[1.0], [-0.9]])) == {"size": 0.95, "noise": None, "noise_at_least": pytest.approx(361)}
    assert noise_of(np.array([[1.0], [1.0]]))["noise"] == 0


def test_hard_gradients_vary_by_what_the_labels_add_exactly():
    """The law of total variance: over all ways to draw labels, the weighted mean is exact."""
    rng = np.random.default_rng(0)
    z, v = rng.standard_normal((2, 4, 3))
    q, p = softmax(z), softmax(v)
    hard = 0.0
    for y in product(range(3), repeat=4):
        d = q - np.eye(3)[list(y)]
        hard += np.prod(p[range(4), y]) * np.sum((d - d.mean(axis=0)) ** 2) / 3
    found = variances(z, v, 4000, rng)
    assert found["soft"] + found["expected"] == pytest.approx(hard, rel=1e-12)
    assert found["hard"] == pytest.approx(hard, rel=0.01)  # by draws


def test_gradients_are_looked_at_fresh_after_an_epoch_and_at_the_end():
    teacher = Result({}, {"train": np.random.default_rng(0).standard_normal((200, 10)).astype(np.float32)})
    config = replace(TINY, epochs=3, alpha=0.9, T=4.0)
    record, _ = gradients_task(gradients.gradients("", config, SMALL, a_teacher()).settings, {"teacher": teacher}, CPU)
    assert [moment["epoch"] for moment in record["moments"]] == [0, 1, 3]
    for moment in record["moments"]:
        identity = moment["identity"]
        assert identity["hard"] - identity["soft"] == pytest.approx(identity["expected"], rel=0.05)
        sizes = [one["size"] for one in moment["soft"]]
        assert sizes[-1] / sizes[-2] == pytest.approx((40 / 100) ** 2, rel=0.05)  # the limit, E4


def test_a_run_that_may_diverge_says_so_and_no_more():
    job = training("hot", replace(TINY, learning_rate=1e30), SMALL, may_diverge=True)
    assert train_task(job.settings, {}, CPU) == ({"errors": None}, {})


@pytest.mark.slow
def test_a_worker_finds_the_task_of_every_row_by_its_name_and_rows_share_what_they_can():
    for profile in ("smoke", "cpu", "full"):
        jobs = {row.id: row.jobs(profile) for row in ROWS.values()}
        keys = {id: {job.key for job in named.values()} for id, named in jobs.items()}
        every = not_done(job for named in jobs.values() for job in named.values()).values()
        tasks = {job.do: job.task for job in every}
        assert len(set(tasks.values())) == len(tasks)  # the name is part of the key
        assert all(getattr(import_module(do.__module__), do.__name__) is do for do in tasks)
        assert keys["M2"] < keys["M3"]
        assert keys["M6"] == keys["M7"]
        assert keys["M1"] & keys["M6"]
