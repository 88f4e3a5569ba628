"""The exercises of notebook 8: shifting classes, and matching a prior."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise
from minikd.theory.priors import shift_classes

_rng = np.random.default_rng(8)
_Z = _rng.normal(0, 3, (6, 5))
_SHIFTS = ((_Z, [3], 1.5), (_Z, [0, 4], -2.0))
_PRIORS = ((_Z, [3], 0.8, 0.1), (_Z, [0, 4], -1.0, 0.3))


def _mean_share(z: Any, classes: Any, s: float) -> Any:
    e = np.exp(z)
    inside = e[:, classes].sum(axis=-1) * np.exp(s)
    outside = np.delete(e, classes, axis=-1).sum(axis=-1)
    return np.mean(inside / (inside + outside))


def _changed(z: Any, classes: Any, change: Callable[[Any], Any]) -> Any:
    z = z.copy()
    z[:, classes] = change(z[:, classes])
    return z


def _on_probabilities(z: Any, classes: Any, s: float) -> Any:
    q = softmax(z)
    q[:, classes] += s
    return q


def _counted(z: Any, classes: Any, s: float, prior: float) -> Any:
    return np.mean(np.isin(shift_classes(z, classes, s).argmax(axis=-1), classes)) - prior


EXERCISES = {
    "8.1": Exercise(
        "the bias of some classes raised",
        solution=shift_classes,
        cases=_SHIFTS,
        mistakes={
            "the sign: s > 0 makes the classes more probable": lambda z, classes, s: shift_classes(z, classes, -s),
            "all classes moved alike, and that changes nothing": lambda z, classes, s: z + s,
            "probabilities were shifted; the bias belongs to the logits": _on_probabilities,
            "multiplied by s; a shift is added": lambda z, classes, s: _changed(z, classes, lambda own: own * s),
            "set to s; a shift is added": lambda z, classes, s: _changed(z, classes, lambda own: 0 * own + s),
            "multiplied by exp(s): that is for probabilities; logits get s added": lambda z, classes, s: _changed(
                z, classes, lambda own: own * np.exp(s)
            ),
            "added exp(s): the odds get that factor, and the logits get s": lambda z, classes, s: shift_classes(
                z, classes, np.exp(s)
            ),
            "rows were shifted, that is cases; classes are columns: z[:, classes]": lambda z, classes, s: (
                shift_classes(z.T, classes, s).T
            ),
            "only the first of the classes was shifted": lambda z, classes, s: shift_classes(z, classes[:1], s),
            "probabilities; the logits are asked for": lambda z, classes, s: softmax(shift_classes(z, classes, s)),
            "the other classes moved": lambda z, classes, s: z + s - (shift_classes(z, classes, s) - z),
        },
    ),
    "8.2": Exercise(
        "how far the mean probability is from the prior",
        solution=lambda z, classes, s, prior: _mean_share(z, classes, s) - prior,
        cases=_PRIORS,
        mistakes={
            "the sign: mean probability less prior": lambda z, c, s, prior: prior - _mean_share(z, c, s),
            "the prior is not subtracted": lambda z, c, s, prior: _mean_share(z, c, s),
            "the prior is subtracted, not divided by": lambda z, c, s, prior: _mean_share(z, c, s) / prior,
            "without its sign: a zero is found where the sign changes": (
                lambda z, c, s, prior: abs(_mean_share(z, c, s) - prior),
                lambda z, c, s, prior: (_mean_share(z, c, s) - prior) ** 2,
            ),
            "the sign of the shift": lambda z, c, s, prior: _mean_share(z, c, -s) - prior,
            "the sum over cases, it should be their mean": lambda z, c, s, prior: len(z) * _mean_share(z, c, s) - prior,
            "one number per case: take the mean over cases": lambda z, c, s, prior: (
                softmax(shift_classes(z, c, s))[:, c].sum(axis=-1) - prior
            ),
            "shifted after the softmax; the shift belongs to the logits": (
                lambda z, c, s, prior: _on_probabilities(z, c, s)[:, c].sum(axis=-1).mean() - prior,
                lambda z, c, s, prior: np.exp(s) * _mean_share(z, c, 0.0) - prior,
            ),
            "the shift was not used": lambda z, classes, s, prior: _mean_share(z, classes, 0.0) - prior,
            "answers were counted; probabilities are smooth in s, so that a zero exists": _counted,
            "several classes: add up their probabilities, then take the mean over cases": lambda z, c, s, prior: (
                (softmax(shift_classes(z, c, s))[:, c].mean() - prior) if len(c) > 1 else _mean_share(z, c, s) - prior
            ),
        },
    ),
}
