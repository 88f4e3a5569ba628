"""The soft cross-entropy: dz = (1/T)(q − p)/B."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import averaged, chain_rule, logs, sign, soft_difference
from minikd.doctor.problem import LOGITS, TEMPERATURE, Made, Outputs, Problem
from minikd.doctor.textbook import centred, largest, soft_cross_entropy, through_softmax


def _recipe(made: Made, z: Any, v: Any, T: float) -> Outputs:
    B, K = z.shape
    factor = chain_rule(made, T) * sign(made, "q and p swapped") * averaged(made, z)
    difference = soft_difference(made, z, v, T)
    log_q, log_p = logs(made, z / T), logs(made, v / T)
    q, p = np.exp(log_q), np.exp(log_p)
    wrong = {  # 1/T is a factor of all of it, so T cancels it where it does not belong
        "the softmax's Jacobian once too often": lambda: through_softmax(q, difference) / T,
        "logit matching in place of the cross-entropy": [(z - v) / (K * T), lambda: centred(z - v) / (K * T)],
        "stopped at q": [-T * p / q, -p / q],
        "stopped at log q": -T * p,
        "gradient with respect to v": lambda: through_softmax(p, -log_q),
        "only each class's own term": -p * (1 - q),
        "the terms of the cost in place of its gradient": [-T * p * log_q, T * p * (log_p - log_q)],
        "brackets around q − p forgotten": [B * q - p, T * q - p, B * T * q - p, B * q - T * p],
    }
    return (factor * made("cost", difference, wrong),)


PROBLEM = Problem(
    name="soft cross-entropy",
    arguments={"z": LOGITS, "v": LOGITS, "T": TEMPERATURE},
    forward=soft_cross_entropy,
    recipe=_recipe,
    size=lambda z, v, T: ((1 + largest(z, v) / T) / T / len(z),),
)
