"""The exercises of notebook 8: shifting classes, and matching a prior."""

from typing import Any

import numpy as np

from minikd.exercises import Exercise
from minikd.priors import shift_classes
from minikd.softmax import softmax

_rng = np.random.default_rng(8)
_Z = _rng.normal(0, 3, (6, 5))
_SHIFTS = ((_Z, [3], 1.5), (_Z, [0, 4], -2.0))
_PRIORS = ((_Z, [3], 0.8, 0.1), (_Z, [0, 4], -1.0, 0.3))


def _mean_share(z: Any, classes: Any, s: float) -> Any:
    e = np.exp(z)
    inside = e[:, classes].sum(axis=-1) * np.exp(s)
    outside = np.delete(e, classes, axis=-1).sum(axis=-1)
    return np.mean(inside / (inside + outside))


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
            "the other classes moved": lambda z, classes, s: z + s - (shift_classes(z, classes, s) - z),
        },
    ),
    "8.2": Exercise(
        "how far the mean probability is from the prior",
        solution=lambda z, classes, s, prior: _mean_share(z, classes, s) - prior,
        cases=_PRIORS,
        mistakes={
            "the shift was not used": lambda z, classes, s, prior: _mean_share(z, classes, 0.0) - prior,
            "answers were counted; probabilities are smooth in s, so that a zero exists": _counted,
            "several classes: add up their probabilities, then take the mean over cases": lambda z, c, s, prior: (
                (softmax(shift_classes(z, c, s))[:, c].mean() - prior) if len(c) > 1 else _mean_share(z, c, s) - prior
            ),
        },
    ),
}
