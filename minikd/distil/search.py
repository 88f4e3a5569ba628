"""A short search for T and the learning rate, on examples that are held out of the transfer set.

It is successive halving (Jamieson and Talwalkar 2016): all candidates learn for a short time as one population, the
better half learns twice as long, and so on, until two have learnt for the full time. Each round begins anew, and does
not go on with the networks of the last one: the rate falls to zero at the end of each run, so networks that went on
would be those of no schedule, and what is compared would not be what you train afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.data.images import Dataset, held_out_split
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import CPU, Device, as_device
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import TrainingDiverged, train
from minikd.training.network import Network

FACTORS = (1.0, 0.5, 2.0, 0.25)
"""What T and the rate are multiplied by, unless told otherwise. Of equal candidates, the first one wins."""


class Round(NamedTuple):
    """A round of the search.

    Attributes:
        epochs: how long its candidates learnt.
        T: the temperature of each candidate.
        learning_rate: the rate of each candidate.
        errors: the held-out errors of each candidate.
    """

    epochs: int
    T: tuple[float, ...]
    learning_rate: tuple[float, ...]
    errors: tuple[int, ...]


class Found(NamedTuple):
    """What a search found.

    Attributes:
        config: the configuration that it began with, with the best T and rate.
        why: one sentence with the numbers that decided.
        rounds: what was tried.
    """

    config: TrainConfig
    why: str
    rounds: list[Round]


def search(
    config: TrainConfig,
    dataset: Dataset | Frames,
    soft_targets: SoftTargets,
    *,
    temperatures: Sequence[float] = (),
    learning_rates: Sequence[float] = (),
    share: float = 0.2,
    device: Device | str = CPU,
    on_round: Callable[[Round], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Found:
    """Find the T and the learning rate whose student makes the fewest errors on held-out examples.

    Each round costs the same, about as much as two students of the configuration. The same arguments give the same
    result. Train the configuration that is found on all examples.

    An error is an answer other than the label; without labels, other than the teacher's. Two candidates whose errors
    differ by less than the root of their sum may differ by chance. A candidate that diverges gets everything wrong, and
    the others of its round begin anew.

    Args:
        config: of one student; its T and rate are tried as well.
        dataset: the transfer set. Its last examples of each class are held out. Neighbouring windows of frames overlap,
            so a search on speech finds settings that are too good for other speakers.
        soft_targets: the teacher's logits of the data set.
        temperatures: to try, or nothing for 1, ½, 2 and ¼ times that of the configuration; of at least 1.
        learning_rates: to try, or nothing for 1, ½, 2 and ¼ times that of the configuration.
        share: how much of the data set to hold out, in (0, 1).
        device: where to train: "cpu", "gpu" or a `Device`.
        on_round: called with each round when it is done.
        on_step: called after each step with (steps done, steps of the whole search).

    Raises:
        ValueError: if the configuration is of a population, the share is out of range, or as `train`.
        DataError: if too few examples are there to hold some out.
        TrainingDiverged: if every candidate diverges.
    """
    if config.population is not None:
        raise ValueError(f"search takes the configuration of one student, got a population of {config.population}")
    if not 0 < share < 1:
        raise ValueError(f"share must be in (0, 1), got {share}")
    soft_targets.check(dataset)
    assert not isinstance(config.alpha, tuple)
    parts = _split(dataset, soft_targets, share, config.alpha)
    if soft_targets.T is not None or config.alpha == 0:
        temperatures = _numbers(config.T)
    alive = _candidates(config, temperatures, learning_rates)
    default, rounds = alive[0], list[Round]()
    lengths = [max(1, config.epochs >> halvings) for halvings in reversed(range(len(alive).bit_length() - 1))]
    batch_size = min(config.batch_size, len(parts.learnt))
    done, total = 0, sum(lengths) * (len(parts.learnt) // batch_size)

    def count(step: int, steps: int) -> None:
        if on_step is not None:
            on_step(done + step, total)

    for epochs in lengths:
        each = replace(config, epochs=epochs, batch_size=batch_size)
        errors = _errors(each, alive, parts, device, count)
        done += epochs * (len(parts.learnt) // batch_size)
        T, rates = zip(*alive, strict=True)
        rounds.append(Round(epochs, T, rates, tuple(errors.get(one, len(parts.held)) for one in alive)))
        if on_round is not None:
            on_round(rounds[-1])
        alive = sorted(errors, key=lambda one: errors[one])[: max(1, len(alive) // 2)]
    best = replace(config, T=alive[0][0], learning_rate=alive[0][1])
    return Found(best, _why(alive[0], default, rounds, len(parts.held)), rounds)


def _errors(
    config: TrainConfig,
    alive: Sequence[tuple[float, float]],
    parts: _Parts,
    device: Device | str,
    on_step: Callable[[int, int], None],
) -> dict[tuple[float, float], int]:
    """Return the held-out errors of candidates, trained as one population, without those that diverge."""
    while True:
        T, rates = zip(*alive, strict=True)
        tried = replace(config, T=T, learning_rate=rates)
        try:
            network = train(tried, parts.learnt, soft_targets=parts.targets, device=device, on_step=on_step)
        except TrainingDiverged as error:
            alive = [one for i, one in enumerate(alive) if i not in error.students]
            if not alive:
                raise error.of("every candidate of the search", "try lower learning rates") from None
        else:
            return dict(zip(alive, parts.errors(network, device).tolist(), strict=True))


class _Parts(NamedTuple):
    """The examples to learn from, their soft targets or None, and the held-out ones with what is right there (n,)."""

    learnt: Dataset | Frames
    targets: SoftTargets | None
    held: Dataset | Frames
    answers: NDArray[np.integer]

    def errors(self, network: Network, device: Device | str) -> NDArray[np.integer]:
        """Return how many held-out examples each network of a population gets wrong, (S,)."""
        device = as_device(device)
        with np.errstate(over="ignore", invalid="ignore"):
            z = device.get(logits(network, self.held, device))  # (S, n, K)
        wrong = (np.argmax(z, axis=-1) != self.answers) | ~np.isfinite(z).all(axis=-1)  # (S, n)
        return np.asarray(np.count_nonzero(wrong, axis=-1))


def _split(dataset: Dataset | Frames, soft_targets: SoftTargets, share: float, alpha: float) -> _Parts:
    """Hold out the last examples of each class: of the label, or of the teacher's answer where there are no labels."""
    v, labels = soft_targets.logits, dataset.labels
    right = np.argmax(v, axis=-1) if labels is None else labels
    N = len(v)
    numbers: Any = Frames(np.zeros((N, 1), np.float32), np.arange(N), right, dataset.name, dataset.classes, 1)
    halves: Any = held_out_split(numbers, max(1, round(share * N)))
    rest, held = (half.starts for half in halves)
    learnt, targets = dataset.take(rest), None
    if alpha > 0:
        targets = SoftTargets(freeze(v[rest]), learnt.fingerprint, soft_targets.teacher, soft_targets.T)
    return _Parts(learnt, targets, dataset.take(held), right[held])


def _candidates(
    config: TrainConfig, temperatures: Sequence[float], learning_rates: Sequence[float]
) -> list[tuple[float, float]]:
    """Return the pairs of T and rate, the configuration's own first."""
    (own_T,), (own_rate,) = _numbers(config.T), _numbers(config.learning_rate)
    T = temperatures or [max(min(1.0, own_T), factor * own_T) for factor in FACTORS]
    rates = learning_rates or [factor * own_rate for factor in FACTORS]
    return list(dict.fromkeys([(own_T, own_rate), *product(map(float, T), map(float, rates))]))


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _why(best: tuple[float, float], default: tuple[float, float], rounds: list[Round], held: int) -> str:
    """Return the reason in one sentence."""
    words = f"T = {best[0]:.3g} and a rate of {best[1]:.2g}"
    if not rounds:
        return f"{words}, because nothing else was to be tried."
    tried = rounds[0]
    reason = (
        f"{words}, because of {len(tried.T)} candidates (T {min(tried.T):.3g} to {max(tried.T):.3g}, rates "
        f"{min(tried.learning_rate):.2g} to {max(tried.learning_rate):.2g}) these made the fewest errors in the last "
        f"round, {min(rounds[-1].errors)} on {held:,} held-out examples"
    )
    if best == default:
        return f"{reason}; it is what was chosen without a search."
    both = [one for one in rounds if default in zip(one.T, one.learning_rate, strict=True)][-1]
    old, new = (both.errors[list(zip(both.T, both.learning_rate, strict=True)).index(one)] for one in (default, best))
    return (
        f"{reason}; what was chosen without a search, T = {default[0]:.3g} and a rate of {default[1]:.2g}, made {old} "
        f"where it made {new}, after {both.epochs} epochs."
    )
