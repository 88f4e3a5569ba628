"""Choices that minikd makes for you: the temperature, the weight of the soft targets, and how to train.

Each choice comes with the reason for it, one sentence with the numbers that decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import guard, optional, temperature
from minikd.core.guard import labels as labels_of
from minikd.core.mlp import parameter_count
from minikd.core.softmax import softmax
from minikd.theory.host import cases
from minikd.training.config import TrainConfig

NARROW, WIDE = (0.05, 8.0), (0.6, 3.0)
"""Two students: parameters per logit to match, and the range of the logits in units of T that suits the student."""
LEAST, MOST = 0.1, 0.6
"""The labels' share of a fresh student's gradient."""
PER_ERROR = 20.0
"""How much of that share each share of the teacher's mistakes gives to the labels."""
EXPLAINED = 2.0
"""How many contradictions count as false labels for each one where the teacher is surer than usual."""
WORTHLESS = 0.01
"""The weight of a teacher that has nothing to teach, if there are labels. Its share of the gradient is no larger."""
WIDER = 2
"""The teacher that minikd trains is this many times as wide as the student."""


class Choice(NamedTuple):
    """A number that was chosen, and why.

    Attributes:
        value: the number.
        why: one sentence.
    """

    value: float
    why: str


def brief(number: float, digits: int = 2) -> str:
    """Return a number in words, without an exponent if it is smaller than a million.

    >>> brief(0.0234), brief(99.6), brief(183.0), brief(1234.5, 3), brief(1.9e29)
    ('0.023', '100', '183', '1,234', '1.9e+29')
    """
    return f"{number:,.0f}" if 10**digits - 0.5 <= number < 1e6 else f"{number:.{digits}g}"


@guard(v=cases)
def choose_T(v: NDArray[Any], hidden: Sequence[int], inputs: int) -> Choice:
    """Choose the temperature for a student from the range of its teacher's logits and its own size.

    A class that lies b below the teacher's top pulls with exp(−b/T) of the top's weight (derivation D4.6). For the
    least likely class, b is the range R of the logits. So R/T decides how much of the tail the student must match:

    - A large student can match all logits, so the tail may keep a share of 5 %: T = R/3. From there on distillation
      comes ever nearer to matching logits (derivation D3.10), and a higher T changes little.
    - A small student cannot. At T = R/8 a class half-way down keeps 2 %, and the last one 0.03 %.

    Matching logits means N (K − 1) numbers, because a constant is free (derivation D3.13). A student is large if it has
    0.6 parameters or more for each of them, and small with 0.05 or fewer. In between, R/T falls as a power of the size.
    Rows M4 and M5 of PAPER.md decided these numbers: students of 30 to 800 units per layer, for 60,000 digits. T is
    never below 1, where T² would weaken the soft targets (derivation D5.7).

    Args:
        v: (N, K) float, the teacher's logits of the transfer set, in nats.
        hidden: the units of each of the student's hidden layers.
        inputs: D, how many numbers the student reads.

    Raises:
        ValueError: if a shape is wrong, or a logit is not finite.
        TypeError: if a dtype is wrong.

    >>> logits = np.array([[24.0, 9.0, 0.0], [0.0, 24.0, 8.0]] * 1000)
    >>> round(choose_T(logits, (300,), inputs=4).value, 2), round(choose_T(logits, (20,), inputs=4).value, 2)
    (8.0, 3.0)
    """
    N, K = v.shape
    R = float(np.median(np.ptp(v, axis=-1)))
    per_logit = parameter_count((inputs, *hidden, K)) / (N * (K - 1))
    power = math.log(NARROW[1] / WIDE[1]) / math.log(WIDE[0] / NARROW[0])
    nats = WIDE[1] * (WIDE[0] / min(max(per_logit, NARROW[0]), WIDE[0])) ** power  # R/T
    T = min(max(1.0, R / nats), 1e6)
    if R == 0:
        return Choice(T, f"T = {T:g}, because for most examples the teacher's logits are equal, at every temperature.")
    about = f"the teacher's logits have a range of {brief(R, 3)} in the median"
    if nats > R:
        return Choice(T, f"T = {T:g}, because {about}: so small a range needs no softening.")
    able = "can match all of them" if per_logit >= WIDE[0] else "can match most of them"
    if per_logit <= NARROW[0]:
        able = "must leave out those of the least likely classes"
    share = f"{100 * math.exp(-nats):.2g} %"
    why = (
        f"T = {brief(T, 3)}, because {about}, and a student with {brief(per_logit)} parameters for each of them "
        f"{able}: the range is {nats:.2g} T, so the least likely class keeps {share} of the likeliest one's weight."
    )
    return Choice(T, why)


@guard(v=cases, labels=optional(labels_of("v")), T=temperature())
def choose_alpha(v: NDArray[Any], labels: NDArray[Any] | None, T: float) -> Choice:
    """Choose the weight of the soft targets from what the labels can add to them.

    Without labels it is 1. With them, the labels get a share g of the gradient of a fresh student, whose logits are
    equal. It is the share of norms in α T ‖q − p‖ and (1 − α) ‖q − [y]‖ (derivation D5.2), averaged over the examples.
    g is 20 times the share of examples on which the teacher is mistaken, but from 0.1 to 0.6: a teacher that knows its
    examples by heart leaves the labels 0.1. `benchmarks/ALPHA.md` compares other numbers on held-out examples.

    A label that the teacher contradicts is the teacher's mistake or a false label. False labels do not care how sure
    the teacher is, and mistakes happen where it is not. So for each contradiction where the teacher is surer than
    usual, one where it is not counts as a false label too; the rest are mistakes. If the teacher contradicts more than
    half of the labels, all are mistakes.

    A teacher has nothing to teach if it agrees with the labels no more often than chance, or if its probabilities are
    nearly equal. Then alpha is 0.01 at most, and the labels get about 99 % of the gradient or more.

    Args:
        v: (N, K) float, the teacher's logits of the transfer set, in nats.
        labels: (N,) int, or None.
        T: the temperature at which the student will learn.

    Raises:
        ValueError: if a shape is wrong, a logit is not finite, a label is out of range, or T is.
        TypeError: if a dtype is wrong.

    >>> logits = np.array([[24.0, 9.0, 0.0], [0.0, 24.0, 8.0]])
    >>> round(choose_alpha(logits, np.array([0, 1]), T=8.0).value, 2), choose_alpha(logits, None, T=8.0).value
    (0.6, 1.0)
    """
    if labels is None:
        return Choice(1.0, "alpha = 1, because there are no labels: the student learns from the teacher only.")
    K = v.shape[1]
    contradicted, sure = contradictions(v, labels)
    g, mistaken = labels_share(contradicted, sure)
    soft, hard = _lengths(v, T)
    agreed = brief(100 * (1 - contradicted), 3)
    no_use = ""
    if at_chance(np.argmax(v, axis=-1), labels, K):
        no_use = f"the teacher agrees with {agreed} % of the labels, no more than by chance"
    elif soft < 0.02 * hard:
        no_use = f"the teacher's probabilities at T = {brief(T, 3)} are nearly equal"
    if no_use:
        alpha = WORTHLESS * (hard / max(soft, hard))
        return Choice(alpha, f"alpha = {alpha:.2g}, because {no_use}: it has nothing to teach, but the labels have.")
    alpha = weight_of_share(g, v, T)
    why = (
        f"alpha = {alpha:.2g}, because the teacher agrees with {agreed} % of the labels and is "
        f"probably mistaken about {brief(100 * mistaken)} %: so the labels get {100 * g:.0f} % of a fresh student's "
        f"gradient, whose soft part is {brief(soft / hard)} times as long as its hard part."
    )
    return Choice(alpha, why)


def contradictions(v: NDArray[Any], labels: NDArray[Any]) -> tuple[float, float]:
    """Return the shares of the labels that the teacher contradicts, and that it contradicts surer than usual.

    It is surer than usual where the distance of its highest logit from the next one is above the median.

    Args:
        v: as `choose_alpha` takes it.
        labels: (N,) int.
    """
    margin = np.diff(np.partition(v, -2, axis=-1)[:, -2:])[:, 0]  # (N,)
    wrong = np.argmax(v, axis=-1) != labels
    return float(np.mean(wrong)), float(np.mean(wrong & (margin > np.median(margin))))


def labels_share(
    contradicted: float, sure: float, *, least: float = LEAST, most: float = MOST, explained: float = EXPLAINED
) -> tuple[float, float]:
    """Return the labels' share of a fresh student's gradient, and the share of examples that the teacher mistakes.

    Args:
        contradicted: as `contradictions` returns it.
        sure: as `contradictions` returns it.
        least: the smallest share.
        most: the largest share.
        explained: how many contradictions count as false labels for each sure one.
    """
    mistaken = contradicted if contradicted > 0.5 else max(0.0, contradicted - explained * sure)
    return min(max(least, PER_ERROR * mistaken), most), mistaken


def weight_of_share(g: float, v: NDArray[Any], T: float) -> float:
    """Return the alpha with which labels have the share g of a fresh student's gradient.

    Args:
        g: in [0, 1].
        v: as `choose_alpha` takes it.
        T: the temperature.
    """
    soft, hard = _lengths(v, T)
    return (1 - g) * hard / ((1 - g) * hard + g * soft)


def _lengths(v: NDArray[Any], T: float) -> tuple[float, float]:
    """Return the norms T ‖q − p‖ and ‖q − [y]‖ of a fresh student, averaged over the examples."""
    K, some = v.shape[1], v[:: max(1, len(v) // 10_000)]  # memory for 1,000 classes
    soft = T * float(np.mean(np.linalg.norm(np.asarray(softmax(some, T)) - 1 / K, axis=-1)))
    return soft, math.sqrt(1 - 1 / K)


def without_labels(train: int, transfer: int) -> str:
    """Return why alpha is 1 with x_transfer, and what the student learns from.

    Args:
        train: how many training examples there are.
        transfer: how many transfer examples.
    """
    return (
        "alpha = 1, because there are no labels for x_transfer, and one alpha holds for all examples: the student "
        f"learns from {train:,} training and {transfer:,} transfer examples by the teacher's answers only, and the "
        "training labels are not used."
    )


def at_chance(answers: NDArray[Any], labels: NDArray[Any], classes: int) -> bool:
    """Return whether a teacher agrees with the labels no more often than chance.

    Up to `most_by_chance` counts as chance, unless all answers are right.

    Args:
        answers: (N,) int, the classes that the teacher names.
        labels: (N,) int.
        classes: K.

    >>> at_chance(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]), 2), at_chance(np.arange(9), np.arange(9), 9)
    (True, False)
    """
    right = int(np.count_nonzero(answers == labels))
    return right < len(labels) and right <= most_by_chance(answers, labels, classes)


def most_by_chance(answers: NDArray[Any], labels: NDArray[Any], classes: int) -> float:
    """Return how many right answers may still be chance: three standard deviations above the number expected.

    Expected is the share Σ_k p_k q_k, where p_k is the share of class k among the labels and q_k among the answers.

    Args:
        answers: as `at_chance` takes it.
        labels: as `at_chance` takes it.
        classes: K.
    """
    N = len(labels)
    answered, labelled = (np.bincount(each.astype(np.int64), minlength=classes) for each in (answers, labels))  # (K,)
    chance = float(answered @ labelled) / N**2
    return N * chance + 3 * math.sqrt(N * chance * (1 - chance))


def settings(
    v: NDArray[Any], hidden: Sequence[int], *, T: float, alpha: float, seed: int = 0, dtype: str = "float32"
) -> TrainConfig:
    """Return how to train a student on a data set of this size, from 100 to 60,000 examples.

    Batches get smaller with few examples, and epochs grow as 1/√N. So few examples still make 2,000 steps, because a
    student needs more steps for its teacher's answers than for labels. The rate is that of the paper's students. It is
    safe for every teacher and T because the gradient is clipped: without that, a fresh student's gradient may be as
    long as half the teacher's logits (derivation D5.6).

    Args:
        v: (N, K), the teacher's logits of the transfer set.
        hidden: the units of each of the student's hidden layers.
        T: the temperature.
        alpha: the weight of the soft targets.
        seed: of the run.
        dtype: of all arithmetic.

    Raises:
        ValueError: as `TrainConfig`.

    >>> config = settings(np.zeros((1000, 3)), (30,), T=4.0, alpha=0.9)
    >>> config.batch_size, config.epochs, config.learning_rate, config.clip_norm
    (62, 155, 0.1, 1.0)
    """
    N = len(v)
    return TrainConfig(
        hidden=tuple(hidden),
        epochs=max(20, min(300, round(20 * math.sqrt(60_000 / N)))),
        batch_size=min(N, max(16, min(128, N // 16))),
        learning_rate=0.1,
        alpha=alpha,
        T=T,
        seed=seed,
        dtype=dtype,
    )


def teacher_settings(
    examples: int,
    student: Sequence[int],
    *,
    images: bool,
    hidden: Sequence[int] | None = None,
    epochs: int | None = None,
    seed: int = 0,
) -> TrainConfig:
    """Return how to train a teacher on the labels, for whoever has none.

    It must make fewer errors than the student alone will make, or it has nothing to teach. So it is `WIDER` times as
    wide, and it drops units while it trains, as the teacher of `python -m minikd.mnist --preset paper` does: 0.4 of the
    hidden units, and 0.1 of the pixels of images. Features are not dropped, because each may say what no other says.

    3,000 digits of MNIST, with two seeds, decided between this and half of the hidden units. On 10,000 other training
    digits, the teachers made 483 errors on average, not 547, and their students 539, not 578.

    Args:
        examples: how many there are to learn from.
        student: the units of each of the student's hidden layers.
        images: whether the examples are images.
        hidden: the units of each of the teacher's hidden layers, or None for `WIDER` times the student's.
        epochs: passes over the examples, or None for as many as a student needs.
        seed: of the run.

    Raises:
        ValueError: as `TrainConfig`.

    >>> config = teacher_settings(1000, (30,), images=True)
    >>> config.hidden, config.drop_input, config.drop_hidden
    ((60,), 0.1, 0.4)
    """
    wide = tuple(WIDER * units for units in student) if hidden is None else tuple(hidden)
    config = settings(np.zeros((examples, 2)), wide, T=1.0, alpha=0.0, seed=seed)
    epochs = config.epochs if epochs is None else epochs
    return replace(config, epochs=epochs, drop_input=0.1 if images else 0.0, drop_hidden=0.4)
