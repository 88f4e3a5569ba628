"""The search: which mistakes, made together, give the learner's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minikd.doctor.cases import Case, Probe
from minikd.doctor.oracle import EPS
from minikd.doctor.problem import Made, Mistake, Outputs
from minikd.doctor.textbook import largest
from minikd.doctor.trials import Trial

SAME = 1e-9  # relative: two ways to make one mistake differ by rounding, and two mistakes by far more

Explanation: TypeAlias = tuple[Mistake, ...]
"""Mistakes that were made together."""


def explain(case: Case, trials: list[Trial]) -> list[tuple[str, ...]]:
    """Return the smallest sets of mistakes, by name, that give the same numbers at every probe, if any does.

    They are sets of one or two, and of three if at most one of them is more than a factor.
    """
    first = next(trial for trial in trials if trial.probe is case.probes[0])
    ran = [trial for trial in trials if trial.raised is None]  # elsewhere there is nothing to compare
    for number in (1, 2, 3):
        found: dict[tuple[str, ...], None] = {}
        for explanation in _near(case, number, first):
            fits = (
                _equal(trial.outputs, _value(case, explanation, trial.probe), [g.permitted for g in trial.gradients])
                for trial in ran
            )
            if all(fits) and _leaves_a_trace(case, explanation):
                found[tuple(mistake.name for mistake in explanation)] = None
        if found:
            return list(found)
    return []


def _near(case: Case, number: int, first: Trial) -> list[Explanation]:
    """Return the sets of that many mistakes whose gradients at the first probe may be the learner's: a weighted sum is.

    The case keeps these sums, because they are the same for every learner. They make it unnecessary to compare
    thousands of sets one by one.
    """
    if number not in case.kept:
        sets = list(_sets(case, number))
        values = [_value(case, explanation, first.probe) for explanation in sets]
        case.kept[number] = sets, np.array([np.nan if value is None else _weighted_sum(value) for value in values])
    sets, sums = case.kept[number]
    if first.raised is not None:
        return sets
    slack = sum(g.yours.size * (2 * SAME * largest(g.yours) + np.max(g.permitted)) for g in first.gradients)
    return [sets[i] for i in np.flatnonzero(np.abs(sums - _weighted_sum(first.outputs)) <= slack)]


def _sets(case: Case, number: int) -> Iterator[Explanation]:
    """Yield every set of that many mistakes which can be made together."""
    for explanation in combinations(case.mistakes, number):
        if len({mistake.place for mistake in explanation}) == number and (
            number < 3 or sum(mistake.is_factor for mistake in explanation) >= 2
        ):
            yield explanation


def _leaves_a_trace(case: Case, explanation: Explanation) -> bool:
    """Tell whether it gives wrong numbers. Two mistakes may cancel, or leave only zeros, which have other words."""
    values = [_value(case, explanation, probe) for probe in case.probes]
    right = [_equal(probe.truth, value, probe.permitted(EPS)) for probe, value in zip(case.probes, values, strict=True)]
    return not all(right) and any(np.any(array) for value in values for array in value or ())


def _value(case: Case, explanation: Explanation, probe: Probe) -> Outputs | None:
    """Return the gradients with those mistakes; None if they cannot be computed because shapes do not fit."""
    try:
        return case.recipe(Made(explanation), probe)
    except ValueError:
        return None


def _equal(outputs: Outputs, value: Outputs | None, permitted: Sequence[Any]) -> bool:
    return value is not None and all(map(_same, outputs, value, permitted))


def _same(a: NDArray[Any], b: NDArray[Any], permitted: Any) -> bool:
    """Tell whether two gradients are the same up to rounding; both may have a wrong shape."""
    if a.shape != b.shape:
        return False
    if np.shape(permitted) not in ((), a.shape):
        permitted = np.max(permitted)
    return bool(np.all(np.abs(a - b) <= np.maximum(SAME * largest(b), permitted)))


def _weighted_sum(outputs: Outputs) -> float:
    """Return Σ w a over all numbers, with |w| ≤ 1 in no simple relation to each other: few gradients share it."""
    return float(sum(np.cos(np.arange(1.0, array.size + 1)) @ np.ravel(array) for array in outputs))
