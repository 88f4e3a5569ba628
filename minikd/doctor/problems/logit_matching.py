"""Logit matching: dz = (z − v)/B."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import averaged, half_square, two_logits
from minikd.doctor.problem import LOGITS, Made, Outputs, Problem
from minikd.doctor.textbook import centred, largest, log_softmax, softmax, sums


def _recipe(made: Made, z: Any, v: Any) -> Outputs:
    factor = half_square(made) * averaged(made, z)
    z, v = two_logits(made, z, v)
    d = z - v
    wrong = {
        "probabilities where logits belong": lambda: softmax(z) - softmax(v),
        "log-probabilities where logits belong": lambda: log_softmax(z) - log_softmax(v),
        "means removed": lambda: centred(d),
        "absolute difference": np.sign(d),
        "distance not squared": lambda: d / np.sqrt(sums(d**2)),
        "the terms of the cost in place of its gradient": [d**2 / 2, d**2],
    }
    return (factor * made("difference", d, wrong),)


PROBLEM = Problem(
    name="logit matching",
    arguments={"z": LOGITS, "v": LOGITS},
    forward=lambda z, v: np.sum((z - v) ** 2) / 2 / len(z),
    recipe=_recipe,
    size=lambda z, v: (largest(z, v) / len(z),),
)
