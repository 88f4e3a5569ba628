"""From arrays in memory to a student, in one call."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from minikd.core.mlp import parameter_count
from minikd.data.checks import describe
from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.inputs import Inputs
from minikd.data.soft_targets import SoftTargets, logit_array, soft_targets_from
from minikd.distil.choices import Choice, choose_alpha, choose_T, most_by_chance, settings, teacher_settings
from minikd.distil.doubts import INCOMPLETE, incomplete, renamed, whole_of
from minikd.distil.student import Student, label_array
from minikd.engines.device import CPU, Device
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import TrainingDiverged, train
from minikd.training.network import Network

Auto = Literal["auto"]
LIGHT = 50e6
"""Batch × parameters, up to which a step runs on one thread. Where other work keeps the cores busy, threads wait for
each other: two of them made steps 3 to 11 times as long on two such cores."""
EXTREME = "look for extreme values in the data"
"""What to try where training has diverged although the learning rate is minikd's own."""


def distil(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    teacher_logits: ArrayLike,
    labels: ArrayLike | None = None,
    hidden: Sequence[int] = (300, 300),
    T: float | Auto = "auto",
    alpha: float | Auto = "auto",
    epochs: int | None = None,
    seed: int = 0,
    dtype: str = "float32",
    device: Device | str = CPU,
) -> Student:
    """Return a small network that has learnt from a teacher's logits, and from the labels if there are any.

    Args:
        x: the transfer set: (N, D) features in any units, or images, (N, rows, cols) or (N, rows, cols, 3), as integers
            in 0 … 255 or floats in [0, 1], which are rounded to steps of 1/255.
        y: (N,) labels: numbers or text; or None, so that only the teacher is learnt from.
        teacher_logits: (N, K) in nats, row n for example n. `logits_from_probabilities` makes them of probabilities.
        labels: (K,) the label of each column of the logits. If you leave it out, it is 0 to K − 1 where every y is such
            a number. Otherwise it is the sorted labels in y, as scikit-learn's `classes_` is.
        hidden: units of each hidden layer of the student.
        T: the temperature of the soft targets, or "auto".
        alpha: the weight of the soft targets, in (0, 1], or "auto". Without y it must be 1. 0 is left out, because with
            it the student would learn nothing from its teacher.
        epochs: passes over the data, or None for a number that suits the size of the data.
        seed: of the initial weights and of the order of the examples.
        dtype: "float32" or "float64".
        device: where to train: "cpu", "gpu" or a `Device`.

    Returns:
        The student. Its `about` says which T and alpha were chosen, why, and how it was trained. There is a warning if
        the teacher agrees with y no more often than chance, if its columns seem to be in another order than the labels,
        or if its logits look like incomplete probabilities.

    Raises:
        ValueError: before any work, if the arguments do not fit together. `DataError` is one.
        TrainingDiverged: if the cost is no longer finite.

    >>> x = np.linspace(-1.0, 1.0, 100)[:, np.newaxis]
    >>> v = np.hstack([-9 * x, 9 * x])
    >>> student = distil(x, np.where(x[:, 0] > 0, "right", "left"), teacher_logits=v, hidden=(8,), epochs=20)
    >>> student.predict([[-0.7], [0.5]]).tolist()
    ['left', 'right']
    """
    if y is None and alpha not in (1, "auto"):
        raise ValueError(f"without y there is only the teacher to learn from, so alpha must be 1, got {alpha}: pass y")
    if isinstance(alpha, int | float) and not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be > 0 and at most 1, got {alpha}: it is the weight of the soft targets")
    check_hidden(hidden)
    x, v = np.asarray(x), _logits(teacher_logits)
    names, classes = class_numbers(y, labels, v.shape[1])
    inputs = Inputs.of(x)
    dataset = inputs.dataset(x, classes, "x", len(names))
    targets = soft_targets_from(v, dataset)
    if classes is not None:
        _warn_of_order(v, classes, names)
    best_T, best_alpha = chosen(v, classes, hidden, inputs.size, T, alpha)
    config = settings(v, hidden, T=best_T.value, alpha=best_alpha.value, seed=seed, dtype=dtype)
    if epochs is not None:
        config = replace(config, epochs=epochs)
    network = _trained("the student", config, dataset, targets, device)
    why = {"T": best_T.why, "alpha": best_alpha.why}
    about = {"config": config.record(), "why": why, "teacher": targets.teacher}
    return Student(network, inputs, names, about)


def check_hidden(hidden: object) -> None:
    """Refuse a number where there must be one per hidden layer."""
    if isinstance(hidden, int | np.integer):
        fix = f"for one layer write ({hidden},)"
        raise ValueError(f"hidden must be the units of each hidden layer, such as (300, 300), got {hidden}: {fix}")


def _logits(given: ArrayLike) -> NDArray[np.floating]:
    """Return a teacher's logits, (N, K). Refuse percentages and counts; warn of what may be no logits."""
    v = logit_array(given)
    if whole := whole_of([v]):
        what, votes = ("percentages", "") if whole == 100 else ("counts of votes", f", voters={whole:.0f}")
        rule = f"logits must not be {what}, but every row is >= 0 and sums to {whole:,.0f}"
        raise ValueError(f"{rule}: pass logits_from_probabilities(p / {whole:.0f}{votes})")
    if incomplete([v]):
        warnings.warn(f"teacher_logits: {INCOMPLETE}", stacklevel=3)
    return v


def _warn_of_order(v: NDArray[Any], classes: NDArray[np.int64], names: NDArray[Any]) -> None:
    """Warn if the teacher's columns, or its rows, seem to be in another order than the classes, or the examples.

    Columns in another order mean other classes (`renamed`). With rows in another order, the teacher agrees with the
    labels by chance. Of these nothing is said where chance (`most_by_chance`) may reach 90 % or more, because the
    examples are few or most of them are of one class. A good teacher may look like that too there.
    """
    best, (N, K) = v.argmax(axis=1), v.shape
    right, most = int(np.count_nonzero(best == classes)), most_by_chance(best, classes, K)
    share = f"only {100 * right / N:.1f} % of the teacher's answers agree with y"
    if columns := renamed(best, classes, names):
        warnings.warn(f"{share}: {columns}: pass labels, the label of each column, in this order", stacklevel=3)
    elif right <= most < 0.9 * N:
        warnings.warn(f"{share}, which is chance: are its rows in the order of the examples?", stacklevel=3)


def train_teacher(
    x: NDArray[Any],
    classes: NDArray[np.int64],
    student: Sequence[int],
    *,
    epochs: int | None = None,
    seed: int = 0,
    device: Device | str = CPU,
) -> tuple[Network, NDArray[np.floating]]:
    """Train a teacher on the labels, for whoever has none, as `teacher_settings` says.

    Args:
        x: as `distil` takes it.
        classes: (N,) the class of each example, 0 to K − 1.
        student: units of each hidden layer of the student.
        epochs: passes over the data, or None for a number that suits the size of the data.
        seed: of the initial weights, of the order of the examples, and of dropout.
        device: where to train.

    Returns:
        The teacher, and its logits for x, (N, K).
    """
    K = int(classes.max()) + 1
    config = teacher_settings(len(x), student, images=x.ndim > 2, epochs=epochs, seed=seed)
    inputs = Inputs.of(x)
    dataset = inputs.dataset(x, classes, "x", K)
    teacher = _trained("the teacher", config, dataset, None, device)
    return teacher, np.asarray(logits(teacher, dataset))


def _trained(
    name: str, config: TrainConfig, dataset: Dataset | Frames, targets: SoftTargets | None, device: Device | str
) -> Network:
    try:
        with few_threads(config, dataset):
            return train(config, dataset, soft_targets=targets, device=device)
    except TrainingDiverged as error:
        raise error.of(name, EXTREME) from None


def few_threads(config: TrainConfig, dataset: Dataset | Frames) -> AbstractContextManager[object]:
    """Return a context in which products of matrices have a single thread, if the steps of training are light."""
    sizes = (math.prod(dataset.shape), *config.hidden, dataset.classes)
    threads = 1 if config.batch_size * parameter_count(sizes) <= LIGHT else None
    limited: AbstractContextManager[object] = threadpool_limits(threads, user_api="blas")
    return limited


def class_numbers(
    y: ArrayLike | None, labels: ArrayLike | None, classes: int
) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
    """Return the label of each class, and the class of each example.

    Args:
        y: as `distil` takes it.
        labels: as `distil` takes it.
        classes: K.

    Returns:
        (K,) labels, and (N,) class numbers; None where y is None.

    Raises:
        ValueError: if y has a label that no class has, or it is not clear which class has which label.

    >>> names, numbers = class_numbers(["b", "a", "b"], None, 2)
    >>> names.tolist(), numbers.tolist()
    (['a', 'b'], [1, 0, 1])
    """
    if y is None:
        return label_array(np.arange(classes) if labels is None else labels, classes), None
    given = np.asarray(y)
    if given.ndim != 1 or len(given) == 0:
        fix = "of rows with a 1 in the class's column, take the argmax"
        raise ValueError(f"y must be (N,), one label per example, got {describe(given)}: {fix}")
    try:
        distinct, place = np.unique(given, return_inverse=True)
    except TypeError:  # None or a number among text
        raise ValueError("y must be all numbers or all text, got both: fill the gaps, or leave them out") from None
    if labels is None:
        if given.dtype.kind in "iu" and distinct[0] >= 0 and distinct[-1] < classes:
            labels = np.arange(classes)
        elif len(distinct) != classes:
            raise ValueError(
                f"the teacher's logits have {classes} columns, but y has {len(distinct)} different labels: "
                "pass labels, the label of each column"
            )
        else:
            labels = distinct
    names = label_array(labels, classes)
    number = {name: k for k, name in enumerate(names.tolist())}
    unknown = [one for one in distinct.tolist() if one not in number]
    if unknown:
        raise ValueError(
            f"every y must be one of labels, got {unknown[0]!r}: leave these examples out, or add the label"
        )
    return names, np.array([number[one] for one in distinct.tolist()])[place]


def chosen(
    v: NDArray[Any],
    classes: NDArray[np.int64] | None,
    hidden: Sequence[int],
    inputs: int,
    T: float | Auto = "auto",
    alpha: float | Auto = "auto",
) -> tuple[Choice, Choice]:
    """Return T and alpha with a reason for each, whether you gave them or left them to minikd.

    Args:
        v: (N, K) the teacher's logits.
        classes: (N,) the class of each example, or None.
        hidden: as `distil` takes it.
        inputs: D, how many numbers the student reads.
        T: as `distil` takes it.
        alpha: as `distil` takes it.
    """
    T_choice = choose_T(v, hidden, inputs) if T == "auto" else Choice(T, f"T = {T}, because you asked for it.")
    if alpha == "auto":
        return T_choice, choose_alpha(v, classes, T_choice.value)
    return T_choice, Choice(alpha, f"alpha = {alpha}, because you asked for it.")
