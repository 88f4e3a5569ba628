"""Pairs of digits: a problem with 100 classes, some of them easily confused, and specialists for these.

A generalist learns all classes. Each specialist starts from the generalist's weights. It learns a few classes that the
generalist confuses, and a dustbin for all the others (Hinton et al. 2015, section 5).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from minikd.core.softmax import softmax
from minikd.data.images import Dataset
from minikd.engines.device import Device
from minikd.paper.lab.jobs import Inputs, Json, Output
from minikd.paper.tasks.networks import Data, config_of, errors, host_logits
from minikd.theory.ensembles import arithmetic_mean, geometric_mean
from minikd.theory.specialists import Specialist, answer, dustbin_correction, reverse_specialist_cost, specialist_cost
from minikd.training.loop import train
from minikd.training.network import Network


@cache
def load_pairs(train_count: int, test_count: int, seed: int, held_out: int = 0) -> tuple[Dataset, Dataset]:
    """Return pairs of MNIST's training images, and of its test images: (N, 28, 56), class 10 · left + right.

    With `held_out`, the last of this many training images stand in for the test images, for choices. No pair to train
    on then has one of them.
    """
    train_set, _, _, test = Data(held_out=held_out).load()
    rng = np.random.default_rng(seed)
    return _pair(train_set, train_count, rng), _pair(test, test_count, rng)


def _pair(single: Dataset, count: int, rng: np.random.Generator) -> Dataset:
    left, right = rng.integers(0, len(single), size=(2, count))
    images = np.concatenate([single.images[left], single.images[right]], axis=2)
    labels = single.classes * single.labels[left] + single.labels[right]
    return Dataset(images, labels, "pairs of digits", single.classes**2)


def confusable(p: np.ndarray, clusters: int, size: int, seed: int) -> np.ndarray:
    """Choose the class sets of the specialists, by on-line k-means on the columns of the predictions' covariance (P1).

    Classes that are often probable for the same images have similar columns. The columns come ten times, in a random
    order, and each moves the nearest centre part of the way towards it. Then a specialist gets the `size` classes
    nearest to its centre, so a class may have several specialists or none. No labels are needed.

    The generalist is nearly certain of what it was trained on. At T = 1 the columns are therefore almost orthogonal,
    and every set fills up with the same rare classes. A higher T brings out how the wrong answers rank.

    Args:
        p: (N, K), the generalist's softened probabilities.
        clusters: how many specialists.
        size: classes per specialist.
        seed: of the first centres, which are columns drawn at random, and of the order.

    Returns:
        (clusters, size) int, each row in rising order.
    """
    columns = np.cov(p.astype(np.float64), rowvar=False)  # (K, K)
    columns /= np.linalg.norm(columns, axis=0)  # as directions: how often a class occurs does not matter
    columns = columns.T
    rng = np.random.default_rng(seed)
    centres, counts = columns[rng.permutation(len(columns))[:clusters]], np.ones(clusters)
    for k in np.concatenate([rng.permutation(len(columns)) for _ in range(10)]):
        m = np.argmin(np.sum((centres - columns[k]) ** 2, axis=-1))
        counts[m] += 1
        centres[m] += (columns[k] - centres[m]) / counts[m]
    distance = np.sum((centres[:, None] - columns) ** 2, axis=-1)  # (clusters, K)
    return np.sort(np.argsort(distance, axis=-1, kind="stable")[:, :size], axis=-1)


def generalist_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Train a generalist on all classes, and choose those of the specialists.

    Returns:
        The record: errors, and tested, the number of test pairs.
        The arrays: flat, the weights; test, the logits (N, K); classes, (specialists, size).
    """
    train_set, test = load_pairs(*settings["pairs"])
    config = config_of(settings)
    network = train(config, train_set, device=device)
    z = host_logits(network, test, device)
    p = softmax(host_logits(network, train_set, device), settings["T"])
    classes = confusable(p, settings["specialists"], settings["size"], config.seeds[0])
    record = {"errors": errors(z, test.labels), "tested": len(test)}
    return record, {"flat": network.flat, "test": z, "classes": classes}


def specialist_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Train specialist `index` from the generalist's weights, half its examples special (P2), and correct it (P3).

    Returns:
        The record: share, that of its classes among all examples; and examples, how many it learns from.
        The arrays: test, its corrected logits (N, size + 1).
    """
    train_set, test = load_pairs(*settings["pairs"])
    config = config_of(settings)
    arrays = inputs["generalist"].arrays
    classes = arrays["classes"][settings["index"]]
    special = np.flatnonzero(np.isin(train_set.labels, classes))
    rest = np.setdiff1d(np.arange(len(train_set)), special)
    rest = np.random.default_rng(settings["index"]).permutation(rest)[: len(special)]
    chosen = np.concatenate([special, rest])

    number = np.full(train_set.classes, len(classes), np.uint8)  # of the dustbin, except for its own classes
    number[classes] = np.arange(len(classes))
    data = Dataset(train_set.images[chosen], number[train_set.labels[chosen]], "special pairs", len(classes) + 1)

    sizes = (train_set.images[0].size, *config.hidden, train_set.classes)
    *hidden, (W, b) = Network(sizes, arrays["flat"]).layers()
    others = np.setdiff1d(np.arange(train_set.classes), classes)
    W = np.column_stack([W[:, classes], W[:, others].mean(axis=1)])
    b = np.append(b[classes], b[others].mean() + np.log(len(others)).astype(b.dtype))  # as probable as all of them
    network = train(config, data, start=Network.from_layers([*hidden, (W, b)], []), device=device)
    share = len(special) / len(train_set)
    z = dustbin_correction(host_logits(network, test, device), share=share, sampled=len(special) / len(chosen))
    return {"share": share, "examples": len(data)}, {"test": z}


def answers_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Count the combined answers (P4).

    Returns:
        The record:

        - before, after: the errors of the generalist and of the combination on the `tested` pairs.
        - conditional: the cases of all specialists' classes, and how many of them the generalist and the specialist get
          right if they choose only among these classes (P5).
        - covered: by the number of specialists for the true class, the cases, the errors before and the errors after
          (P6).
    """
    _, test = load_pairs(*settings["pairs"])
    g, y = inputs["generalist"].arrays["test"], test.labels
    sets = inputs["generalist"].arrays["classes"]
    specialists = [
        Specialist(classes.tolist(), inputs[f"specialist {m}"].arrays["test"]) for m, classes in enumerate(sets)
    ]
    before, after = (
        np.argmax(g, axis=-1) != y,
        np.argmax(answer(g, specialists, tolerance=1e-5, passes=1_000_000), axis=-1) != y,
    )
    conditional = np.zeros(3, int)
    for classes, (_, z) in zip(sets, specialists, strict=True):
        mine = np.isin(y, classes)
        own = (g[:, classes], z[:, :-1])
        right = [np.count_nonzero(classes[np.argmax(v[mine], axis=-1)] == y[mine]) for v in own]
        conditional += [np.count_nonzero(mine), *right]
    coverage = np.bincount(sets.ravel(), minlength=test.classes)[y]
    groups = {int(c): coverage == c for c in np.unique(coverage)}
    covered = {
        str(c): [int(np.count_nonzero(cases)), int(before[cases].sum()), int(after[cases].sum())]
        for c, cases in groups.items()
    }
    record = {"before": int(before.sum()), "after": int(after.sum()), "tested": len(test)}
    return record | {"conditional": conditional.tolist(), "covered": covered}, {}


def closed_forms_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Compare plain descent by the hand-written gradients with the closed forms (P4).

    All models cover all classes, because only then are the closed forms known. The models answer the first 300 test
    pairs. The first one is the generalist, and the others are its specialists, without a dustbin.

    Returns:
        The record: for "arithmetic" and "geometric", the largest difference between the probabilities of the descent's
        answer and of that mean, after each of `steps`.
    """
    v = np.stack([generalist.arrays["test"][:300].astype(np.float64) for generalist in inputs.values()])
    specialists = [Specialist(range(v.shape[-1]), own) for own in v[1:]]
    record = {}
    for kind, cost, closed in (
        ("arithmetic", specialist_cost, softmax(arithmetic_mean(v, T=1.0))),
        ("geometric", reverse_specialist_cost, softmax(geometric_mean(v))),
    ):
        z, apart = np.zeros_like(v[0]), []
        for step in range(1, max(settings["steps"]) + 1):
            _, dz = cost(z, generalist=v[0], specialists=specialists)
            z -= 4 / len(v) * dz
            if step in settings["steps"]:
                apart.append(float(np.max(np.abs(softmax(z) - closed))))
        record[kind] = apart
    return record, {}
