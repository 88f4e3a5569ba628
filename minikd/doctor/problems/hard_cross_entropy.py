"""The hard cross-entropy: dz = (q − one-hot label)/B."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import averaged, label, logs, sign
from minikd.doctor.problem import LABELS, LOGITS, Made, Outputs, Problem
from minikd.doctor.textbook import hard_cross_entropy, largest, one_hot, through_softmax


def _recipe(made: Made, z: Any, y: Any) -> Outputs:
    B, K = z.shape
    factor, target = sign(made), label(made, y, K)
    factor *= averaged(made, z)
    log_q, hot = logs(made, z), one_hot(y, K)
    wrong: dict[str, Any] = {
        "q forgotten": 0 * z,
        "softmax applied twice to the student": lambda: np.exp(logs(made, np.exp(log_q))),
        "logits where the student's probabilities belong": z,
        "log q where q belongs": log_q,
    }
    q = made("q", np.exp(log_q), wrong)
    difference = q - target
    squared = through_softmax(q, difference)
    wrong = {
        "squared error on probabilities": [squared, 2 * squared],
        "gradient at the label only": hot * difference,
        "stopped at q": lambda: -hot / np.exp(log_q),
        "the terms of the cost in place of its gradient": -hot * log_q,
        "brackets around q minus the label forgotten": [B * q - hot, q - B * hot],
    }
    return (factor * made("cost", difference, wrong),)


PROBLEM = Problem(
    name="hard cross-entropy",
    arguments={"z": LOGITS, "y": LABELS},
    forward=hard_cross_entropy,
    recipe=_recipe,
    size=lambda z, y: ((1 + largest(z)) / len(z),),
)
