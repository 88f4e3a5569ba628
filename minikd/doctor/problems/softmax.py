"""The softmax, backward: dz = (1/T) q (dq − Σ q dq)."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import chain_rule, passed_back
from minikd.doctor.problem import LOGITS, TEMPERATURE, Argument, Made, Outputs, Problem
from minikd.doctor.textbook import largest, softmax, sums


def _recipe(made: Made, dq: Any, z: Any, T: float) -> Outputs:
    factor = chain_rule(made, T) * passed_back(made, len(z))
    q = softmax(z / T)
    q = made("q", q, {"softmax of q": [lambda: softmax(q), lambda: softmax(q / T)]})
    total = sums(q * dq)
    wrong = {
        "the sum forgotten": dq,
        "only the diagonal q(1 − q)": dq * (1 - q),
        "the sum over the wrong axis": dq - np.sum(q * dq, axis=0),
        "the sum over the whole batch": dq - np.sum(q * dq),
        "the sum not weighted by q": dq - sums(dq),
        "the mean over classes in place of the sum": dq - total / z.shape[-1],
        "the log-softmax's formula": dq / q - sums(dq),
        "the sum added instead of subtracted": dq + total,
        "q missing on the sum": dq - total / q,
        "q only on the sum": dq / q - total,
        "1/T on the sum only": T * dq - total,
        "the upstream gradient forgotten": 1 - q,
    }
    inside = made("sum", dq - total, wrong)
    return (factor * made("q", q, {"q forgotten": 1.0}) * inside,)


PROBLEM = Problem(
    name="softmax",
    arguments={"z": LOGITS, "T": TEMPERATURE},
    upstream={"dq": Argument("BK", "array")},
    forward=lambda z, T: softmax(z / T),
    recipe=_recipe,
    size=lambda dq, z, T: ((1 + largest(z) / T) / T * largest(dq),),
    extras=lambda dq, z, T: {"q": softmax(z / T)},
)
