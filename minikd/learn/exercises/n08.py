"""The exercises of notebook 8: shifting classes, and matching a prior."""

from typing import Any

import numpy as np

from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise
from minikd.theory.priors import shift_classes

_rng = np.random.default_rng(8)
_Z = _rng.normal(0, 3, (6, 5))
_SHIFTS = ((_Z, [3], 1.5), (_Z, [0, 4], -2.0))
_PRIORS = ((_Z, [3], 0.8, 0.1), (_Z, [0, 4], -1.0, 0.3))


def _added(z: Any, classes: Any, amount: Any) -> Any:
    changed = z.copy()
    changed[:, classes] += amount
    return changed


def _not_shifted(z: Any, classes: Any, s: float) -> dict[str, Any]:
    own, shifted, times = z[:, classes], shift_classes(z, classes, s), np.exp(s)
    multiplied = _added(z, classes, own * times - own)
    return {
        "the sign: s > 0 makes the classes more probable": shift_classes(z, classes, -s),
        "all classes moved alike, and that changes nothing": z + s,
        "probabilities were shifted; the bias belongs to the logits": _added(softmax(z), classes, s),
        "z was multiplied by s; a shift is added": _added(z, classes, own * s - own),
        "z was set to s; a shift is added": _added(z, classes, s - own),
        "z was multiplied by exp(s): that is for probabilities; add s to logits": multiplied,
        "exp(s) was added: the odds get that factor; add s to the logits": _added(z, classes, times),
        "rows were shifted, which are cases; classes are columns: z[:, classes]": _added(z.T, classes, s).T,
        "only the first of the classes was shifted": _added(z, classes[:1], s),
        "those are probabilities; return the logits": softmax(shifted),
        "the other classes moved": z + s - (shifted - z),
    }


def _too_many(z: Any, classes: Any, s: float, prior: float) -> Any:
    return np.mean(np.sum(softmax(shift_classes(z, classes, s))[:, classes], axis=-1)) - prior


def _not_too_many(z: Any, classes: Any, s: float, prior: float) -> dict[str, Any]:
    shifted = shift_classes(z, classes, s)
    own = softmax(shifted)[:, classes]  # (B, number of classes)
    share, unshifted = np.mean(own.sum(axis=-1)), softmax(z)[:, classes].sum(axis=-1).mean()
    counted = np.mean(np.isin(shifted.argmax(axis=-1), classes))
    too_late = (unshifted + s * len(classes), unshifted * np.exp(s))
    return {
        "the sign: mean probability minus prior": prior - share,
        "the prior is not subtracted": share,
        "the prior is subtracted, not divided by": share / prior,
        "without its sign: a zero is found where the sign changes": [abs(share - prior), (share - prior) ** 2],
        "the sign of the shift": _too_many(z, classes, -s, prior),
        "the sum over cases; it should be their mean": len(z) * share - prior,
        "one number per case: take the mean over cases": own.sum(axis=-1) - prior,
        "shifted after the softmax; the shift belongs to the logits": [one - prior for one in too_late],
        "the shift was not used": unshifted - prior,
        "answers were counted; probabilities are smooth in s, so that a zero exists": counted - prior,
        "several classes: add up their probabilities, then take the mean over cases": own.mean() - prior,
    }


EXERCISES = {
    "8.1": Exercise("the bias of some classes raised", shift_classes, _not_shifted, _SHIFTS),
    "8.2": Exercise("how far the mean probability is from the prior", _too_many, _not_too_many, _PRIORS),
}
