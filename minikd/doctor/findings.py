"""From trials to a diagnosis: what is wrong, and how to say it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations
from typing import NamedTuple

import numpy as np

from minikd.doctor.cases import ROUNDING, Case
from minikd.doctor.diagnosis import Diagnosis, element
from minikd.doctor.oracle import EPS
from minikd.doctor.search import SAME, explain
from minikd.doctor.textbook import largest
from minikd.doctor.trials import Call, Compared, Trial, attempt
from minikd.doctor.words import why

SAME_COST = 1e-6  # relative; a cost with 1e-12 added in its logarithm is still the same one
NEARLY = 1e-4  # relative: nearer than this, the arithmetic is wrong and not the formula
SHOWN = 3  # explanations
NEARLY_RIGHT = (
    "the formula is right, or nearly so, but this is more than rounding: did you add a small number in a logarithm or "
    "a division, use float32 on the way, or take differences instead of a derivative?"
)
SECOND_TIME = "Two calls with the same arguments give two gradients: does it keep something, or draw at random?"
RAISES = "it raises "


class Finding(NamedTuple):
    """What to say: the words of a diagnosis."""

    verdict: str
    details: tuple[str, ...]
    mistakes: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...] = ()
    right: bool = False


def diagnose(call: Call, case: Case, trials: list[Trial], ran: list[Trial]) -> Diagnosis:
    """Return what is wrong: first whether there is a gradient at all, then its numbers.

    Args:
        call: calls the learner's function.
        case: where it was tried.
        trials: what it did there, at every probe.
        ran: those trials where it did not raise.
    """
    if refused := next((trial for trial in ran if trial.complaint), None):
        ran, finding = [refused], _named(refused.complaint)
    elif _bits(ran[0]) != _bits(attempt(call, case, ran[0].probe)):
        ran, finding = ran[:1], _named({"different numbers the second time": SECOND_TIME})
    else:
        finding = _judge(case, trials, ran)
    trial = next((trial for trial in ran if not trial.is_right), ran[0])
    nothing = Compared(case.outputs[0], np.empty(0), trial.probe.truth[0], math.inf)
    shown = trial.worst if trial.gradients else nothing
    return Diagnosis(
        **finding._asdict(),
        error=_error(ran),
        oracle=case.oracle,
        output=shown.name,
        worst=shown.worst,
        yours=shown.yours,
        truth=shown.truth.copy(),
    )


def _judge(case: Case, trials: list[Trial], ran: list[Trial]) -> Finding:
    faults = dict(_faults(case, trials))
    wrong = [trial for trial in ran if not trial.is_right]
    if not wrong:
        return _right(ran, faults)
    if sets := explain(case, trials):
        faults = {name: words for name, words in faults.items() if not name.startswith(RAISES)}  # this may be why
        words = {name: why(case.problem, name) for names in sets[:SHOWN] for name in names} | faults
        details = (*(f"{name}: {said}" for name, said in words.items()), *_where(wrong[0]))
        verdict = f"wrong: {'; and '.join([_either(sets), *faults])}"
        return Finding(verdict, details, (*sets[0], *faults), tuple(sets[1:]))
    if plain := _plain_fault(case, wrong):
        return _named(plain | faults)
    off, worst = _error(ran), wrong[0].worst
    how = f"but only by {off:.0e}" if off < NEARLY else "in a way that I do not know"
    at = element(worst.name if len(case.outputs) > 1 else "", worst.worst)
    hints = [NEARLY_RIGHT] if off < NEARLY else _factor_hints(ran)
    if right := [trial.probe.where for trial in ran if trial.is_right]:
        hints.append(f"right at {'; '.join(right)}")
    details = (*_where(wrong[0]), *hints, *faults.values())
    return Finding(f"wrong, {how}, worst at {at}", details, tuple(faults))


def _named(faults: Mapping[str, str]) -> Finding:
    return Finding(f"wrong: {next(iter(faults))}", tuple(faults.values()), tuple(faults))


def _right(ran: list[Trial], faults: dict[str, str]) -> Finding:
    error = f"{_error(ran):.0e}" if _error(ran) else "the last bit"
    verdict = f"right, to {error}{' (float32)' if any(trial.eps > EPS for trial in ran) else ''}"
    if faults:
        verdict = f"the gradient's numbers are right, but {' and '.join(faults)}"
    tried = f"tried at {'; '.join(trial.probe.where for trial in ran)}"
    return Finding(verdict, (*faults.values(), tried), tuple(faults), right=not faults)


def _error(ran: list[Trial]) -> float:
    return max((gradient.error for trial in ran for gradient in trial.gradients), default=math.nan)


# ---- what is wrong apart from the gradient's numbers -----------------------------------------------------------------


def _bits(trial: Trial) -> list[bytes]:
    return [output.tobytes() for output in trial.outputs]


def _faults(case: Case, trials: list[Trial]) -> Iterator[tuple[str, str]]:
    """Yield a name and what to do, for all that is wrong apart from the gradient's numbers."""
    if trial := next((trial for trial in trials if trial.written), None):
        words = "The caller still needs its arguments: work on a copy, or make a new array instead of `x -= `."
        yield f"it writes into {' and '.join(trial.written)}", words
    if trial := next((trial for trial in trials if trial.raised is not None), None):
        kind = type(trial.raised).__name__
        yield f"{RAISES}{kind} elsewhere", f"{kind} at {trial.probe.where}: {trial.raised}"
    if complaint := _cost_fault(case, trials):
        yield "the cost is not the one of this gradient", complaint


def _cost_fault(case: Case, trials: list[Trial]) -> str:
    """Return what is wrong with the learner's costs, if there are any.

    Those of a known problem may differ from the textbook's by what does not depend on z, as a divergence does from a
    cross-entropy: the last probe is the first one with another z, where the difference must be the same.
    """
    costs = [(trial, *trial.cost) for trial in trials if trial.cost is not None]
    constant, judged = 0.0, costs
    if case.twins:
        judged = [cost for cost in costs if cost[0].probe is case.probes[0]]
        constant = next((yours - truth for trial, yours, truth in costs if trial.probe is case.probes[-1]), 0.0)
    for trial, yours, truth in judged:
        permitted = max(SAME_COST, ROUNDING * trial.eps) * (abs(yours) + abs(truth))
        if not abs(yours - truth - constant) <= permitted:
            words = f"At {trial.probe.where} C is {yours:.6g}, and should be {truth:.6g}"
            return f"{words}{', up to a constant' if case.twins else ''}: the gradient is that of another cost."
    return ""


def _plain_fault(case: Case, wrong: list[Trial]) -> dict[str, str]:
    """Return the first of these that there is: another order or shape, a nan, nothing but zeros. Empty if none is."""
    for order in list(permutations(range(len(case.outputs))))[1:]:
        if all(_is_right_in(order, trial) for trial in wrong):
            names = (case.outputs[order.index(came)] for came in range(len(order)))
            words = f"Return ({', '.join(case.outputs)}); yours are ({', '.join(names)})."
            return {"the gradients in another order": words}
    for trial in wrong:
        for gradient in trial.gradients:
            name, yours, truth = gradient.name, gradient.yours, gradient.truth
            if yours.shape != truth.shape:
                words = f"{name} has the shape {yours.shape} at {trial.probe.where}; expected {truth.shape}."
                return {f"the shape of {name}": words}
            if not np.all(np.isfinite(yours)):
                index = tuple(int(i) for i in np.argwhere(~np.isfinite(yours))[0])
                words = f"{element(name, index)} is {yours[index]} at {trial.probe.where}"
                return {f"{name} is not finite": f"{words}: does an exponential overflow, or a zero divide?"}
    for gradients in zip(*(trial.gradients for trial in wrong), strict=True):
        if not any(np.any(gradient.yours) or not np.any(gradient.truth) for gradient in gradients):
            words = "Nothing can be learnt from it: did you fill it in, or compare q with itself?"
            return {f"{gradients[0].name} is zero everywhere": words}
    return {}


def _is_right_in(order: tuple[int, ...], trial: Trial) -> bool:
    """Tell whether the gradients are right if they are taken in this order."""
    return all(
        replace(gradient, yours=trial.outputs[came]).is_right
        for gradient, came in zip(trial.gradients, order, strict=True)
    )


# ---- words -----------------------------------------------------------------------------------------------------------


def _where(trial: Trial) -> list[str]:
    """Return the worst element, and which gradients are right."""
    lines, worst = [], trial.worst
    if worst.has_shape:
        yours, truth = worst.yours[worst.worst], worst.truth[worst.worst]
        ratio = f", {yours / truth:.4g} times it" if truth else ""
        compared = f", a difference of {yours - truth:.1e}" if worst.error < NEARLY else ratio
        where = f"{element(worst.name, worst.worst)} at {trial.probe.where}"
        lines.append(f"worst: {where}: yours {yours:.6g}, the truth {truth:.6g}{compared}")
    if right := [gradient.name for gradient in trial.gradients if gradient.is_right]:
        lines.append(f"right: {' and '.join(right)}")
    return lines


def _factor_hints(ran: list[Trial]) -> list[str]:
    """Return by what factor yours differs from the truth, if it is one."""
    factors = [factor for trial in ran if (factor := _multiple(trial)) is not None]
    if len(factors) < len(ran):
        return []
    if all(abs(factor - factors[0]) <= SAME * abs(factors[0]) for factor in factors):
        return [f"yours is {factors[0]:.6g} times the truth everywhere"]
    several = ", ".join(f"{factor:.4g}" for factor in factors)
    return [f"yours is the truth times a factor that depends on the arguments: {several}"]


def _multiple(trial: Trial) -> float | None:
    """Return c, if yours is c times the truth."""
    yours, truth = (np.concatenate(list(map(np.ravel, arrays))) for arrays in (trial.outputs, trial.probe.truth))
    factor = float(yours @ truth) / (float(truth @ truth) or math.inf)
    return factor if factor and largest(yours - factor * truth) <= SAME * abs(factor) * largest(truth) else None


def _either(sets: list[tuple[str, ...]]) -> str:
    joined = ["; and ".join(names) for names in sets]
    if len(joined) == 1:
        return joined[0]
    more = f", or {len(joined) - SHOWN} more" if len(joined) > SHOWN else ""
    return f"either {', or '.join(joined[:SHOWN])}{more}, which give the same numbers"
