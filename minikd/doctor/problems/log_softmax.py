"""The log-softmax, backward: dz = (1/T) (dlog_q − q Σ dlog_q)."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import chain_rule, passed_back
from minikd.doctor.problem import LOGITS, TEMPERATURE, Argument, Made, Outputs, Problem
from minikd.doctor.textbook import largest, log_softmax, sums, through_softmax


def _recipe(made: Made, dlog_q: Any, z: Any, T: float) -> Outputs:
    factor = chain_rule(made, T) * passed_back(made, len(z))
    log_q = log_softmax(z / T)
    q, summed = np.exp(log_q), sums(dlog_q)
    wrong: dict[str, Any] = {
        "the sum forgotten": 0.0,
        "only the diagonal 1 − q": dlog_q,
        "the sum over the wrong axis": np.sum(dlog_q, axis=0),
        "the sum over the whole batch": np.sum(dlog_q),
        "the sum weighted by q": sums(q * dlog_q),
        "the mean over classes in place of the sum": summed / z.shape[-1],
        "the sum added instead of subtracted": -summed,
    }
    total = made("sum", summed, wrong)
    share = made("q", q, {"q forgotten": 1.0, "log q where q belongs": log_q})
    wrong = {
        "the softmax's formula": lambda: through_softmax(q, dlog_q),
        "q on dlog_q too": q * (dlog_q - summed),
        "1/T on the sum only": T * dlog_q - share * total,
        "the upstream gradient forgotten": 1 - q,
    }
    return (factor * made("sum", dlog_q - share * total, wrong),)


PROBLEM = Problem(
    name="log-softmax",
    arguments={"z": LOGITS, "T": TEMPERATURE},
    upstream={"dlog_q": Argument("BK", "array")},
    forward=lambda z, T: log_softmax(z / T),
    recipe=_recipe,
    size=lambda dlog_q, z, T: ((1 + largest(z) / T) / T * largest(np.sum(np.abs(dlog_q), axis=-1)),),
    extras=lambda dlog_q, z, T: {"log_q": log_softmax(z / T)},
)
