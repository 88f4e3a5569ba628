"""Pairs of digits: what they are, which classes go together, specialists from the generalist's weights, the counts."""

import numpy as np
import pytest

from minikd.core.softmax import softmax
from minikd.engines.device import CPU
from minikd.paper.lab.jobs import Result
from minikd.paper.tasks.pairs import (
    answers_task,
    closed_forms_task,
    confusable,
    generalist_task,
    load_pairs,
    specialist_task,
)
from minikd.training.config import TrainConfig

PAIRS = [600, 200, 0]


def settings(**more):
    return {
        "pairs": PAIRS,
        "config": TrainConfig(hidden=(20,), epochs=1, batch_size=32, clip_norm=1.0).record(),
        **more,
    }


@pytest.fixture(scope="module")
def generalist():
    return Result(*generalist_task(settings(specialists=2, size=10, T=4.0), {}, CPU))


def specialist(generalist, index=0, **config):
    wanted = settings(index=index)
    wanted["config"].update(config)
    return Result(*specialist_task(wanted, {"generalist": generalist}, CPU))


@pytest.mark.slow
def test_a_pair_is_two_images_of_one_set_side_by_side_and_its_class_is_both_digits(mnist_data):
    pairs, test_pairs = load_pairs(*PAIRS)
    assert (pairs.images.shape, pairs.classes, len(test_pairs)) == ((600, 28, 56), 100, 200)
    for source, made in zip(mnist_data, (pairs, test_pairs), strict=True):
        label_of = {image.tobytes(): label for image, label in zip(source.images, source.labels, strict=True)}
        for image, label in zip(made.images[:50], made.labels[:50], strict=True):
            assert divmod(int(label), 10) == (label_of[image[:, :28].tobytes()], label_of[image[:, 28:].tobytes()])


@pytest.mark.slow
def test_held_out_pairs_are_of_the_last_training_images_and_no_pair_to_train_on_is(mnist_data):
    train_set, _ = mnist_data
    known, held = ({image.tobytes() for image in part} for part in np.split(train_set.images, [50_000]))
    for made, source in zip(load_pairs(50, 50, 0, 10_000), (known, held), strict=True):
        halves = {half.tobytes() for image in made.images for half in (image[:, :28], image[:, 28:])}
        assert halves <= source


def test_pairs_come_from_their_seed_alone():
    load_pairs.cache_clear()
    again = load_pairs.__wrapped__(*PAIRS)[0]
    assert again.fingerprint == load_pairs(*PAIRS)[0].fingerprint
    assert again.fingerprint != load_pairs(600, 200, 1)[0].fingerprint


def test_classes_that_are_taken_for_each_other_get_one_specialist():
    rng = np.random.default_rng(0)
    K, N = 12, 3000
    y = rng.integers(0, K, N)
    group = np.arange(K) % 3  # classes of one remainder share their probability
    p = np.where(group[y][:, None] == group, 0.2 + 0.05 * rng.random((N, K)), 0.01)
    sets = confusable(p / p.sum(axis=1, keepdims=True), clusters=12, size=4, seed=0)  # every class starts a centre
    assert {tuple(classes % 3) for classes in sets} == {(0,) * 4, (1,) * 4, (2,) * 4}


def test_a_specialist_that_has_not_learned_yet_ranks_its_classes_as_the_generalist_does(generalist):
    classes = generalist.arrays["classes"][0]
    z = specialist(generalist, learning_rate=1e-12).arrays["test"]
    v = generalist.arrays["test"]
    np.testing.assert_allclose(z[:, :-1], v[:, classes], atol=1e-4)


def test_half_of_a_specialists_examples_are_of_its_classes(generalist):
    pairs, _ = load_pairs(*PAIRS)
    count = int(np.isin(pairs.labels, generalist.arrays["classes"][1]).sum())
    record = specialist(generalist, index=1).record
    assert record == {"share": count / 600, "examples": 2 * count}


def test_the_answers_are_counted_as_defined(generalist):
    """Two specialists, one knowing the labels of its classes: it fixes all errors that the generalist lets it see."""
    _, test = load_pairs(*PAIRS)
    sets = generalist.arrays["classes"]
    v = np.random.default_rng(0).standard_normal((200, 100)) + 2 * np.eye(100)[test.labels]  # often right

    def knows(classes):
        z = np.full((200, 11), -20.0)
        z[:, -1] = 0.0
        for column, k in enumerate(classes):
            z[test.labels == k, column] = 20.0
        return z

    inputs = {f"specialist {m}": Result({}, {"test": knows(sets[m])}) for m in range(2)}
    inputs["generalist"] = Result({}, {"test": v, "classes": sets})
    record, _ = answers_task({"pairs": PAIRS}, inputs, CPU)
    coverage = np.array([np.sum(sets == k) for k in test.labels])
    wrong = np.argmax(v, axis=1) != test.labels
    assert (record["before"], record["tested"]) == (wrong.sum(), 200)
    assert {int(c): n[:2] for c, n in record["covered"].items()} == {
        c: [(coverage == c).sum(), wrong[coverage == c].sum()] for c in set(coverage.tolist())
    }
    assert sum(n[2] for n in record["covered"].values()) == record["after"] < record["before"]
    cases = sum(np.isin(test.labels, classes).sum() for classes in sets)
    restricted = [classes[np.argmax(v[:, classes], axis=1)] == test.labels for classes in sets]
    assert record["conditional"] == [cases, sum(r.sum() for r in restricted), cases]


def test_descent_is_held_against_the_means_of_all_models():
    rng = np.random.default_rng(0)
    inputs = {str(m): Result({}, {"test": 2 * rng.standard_normal((40, 6))}) for m in range(3)}
    record, _ = closed_forms_task({"steps": [1, 300]}, inputs, CPU)
    p = np.stack([softmax(one.arrays["test"]) for one in inputs.values()])
    means = {"arithmetic": p.mean(axis=0), "geometric": np.prod(p, axis=0) ** (1 / 3)}
    uniform = np.full((40, 6), 1 / 6)
    first = softmax(4 / 3 * (p.sum(axis=0) - 3 * uniform))  # one step from the uniform answer, by hand
    assert record["arithmetic"][0] == pytest.approx(np.abs(first - means["arithmetic"]).max(), rel=1e-9)
    for kind, (far, near) in {kind: record[kind] for kind in means}.items():
        assert near < 1e-3 < far, kind
