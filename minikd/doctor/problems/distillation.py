"""The distillation loss: alpha T² times the soft gradient, and 1 − alpha times the hard one."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import averaged, label, logs, soft_difference
from minikd.doctor.problem import LABELS, LOGITS, TEMPERATURE, Argument, Made, Outputs, Problem
from minikd.doctor.textbook import hard_cross_entropy, largest, soft_cross_entropy


def _forward(z: Any, v: Any, y: Any, T: float, alpha: float) -> Any:
    return alpha * T**2 * soft_cross_entropy(z, v, T) + (1 - alpha) * hard_cross_entropy(z, y)


def _recipe(made: Made, z: Any, v: Any, y: Any, T: float, alpha: float) -> Outputs:
    B, K = z.shape
    wrong: dict[str, Any] = {
        "missing T²": (1.0, 1.0),
        "T in place of T²": (T, 1.0),
        "divided by T² instead of multiplied": (1 / T**2, 1.0),
    }
    weights = np.array(made.factor("T²", (T**2, 1.0), wrong))  # of the soft and of the hard part
    weights *= made("T² on hard", (1.0, 1.0), {"T² on the hard part too": (1.0, T**2)})
    weights *= made.factor("1/T", (1 / T, 1.0), {"missing 1/T in the soft part": (1.0, 1.0)})
    wrong = {
        "alpha and 1 − alpha swapped": (1 - alpha, alpha),
        "1 − alpha forgotten": (alpha, 1.0),
        "alpha forgotten": (1.0, 1 - alpha),
        "alpha and 1 − alpha forgotten": (1.0, 1.0),
        "alpha on the hard part too": (alpha, alpha),
    }
    weights *= made("weights", (alpha, 1 - alpha), wrong)
    weights *= made("parts", (1.0, 1.0), {"hard part forgotten": (1.0, 0.0), "soft part forgotten": (0.0, 1.0)})
    wrong = {"q and p swapped in the soft part": (-1, 1), "sign of the hard part": (1, -1), "sign": (-1, -1)}
    weights *= made.factor("sign", (1, 1), wrong)
    wrong = {"mean over the batch in the soft part only": (1, B), "mean over the batch in the hard part only": (B, 1)}
    weights *= made.factor("batch", (1, 1), wrong)
    weights *= made.factor("classes", (1, 1), {"mean over classes in the soft part only": (1 / K, 1)})
    T_hard, chain = made("hard T", (1.0, 1.0), {"hard targets at temperature T": [(T, 1.0), (T, 1 / T)]})
    hard = chain * (np.exp(logs(made, z / T_hard)) - label(made, y, K))
    soft = soft_difference(made, z, v, T)
    return (averaged(made, z) * (weights[0] * soft + weights[1] * hard),)


PROBLEM = Problem(
    name="distillation",
    arguments={"z": LOGITS, "v": LOGITS, "y": LABELS, "T": TEMPERATURE, "alpha": Argument("", "weight")},
    forward=_forward,
    recipe=_recipe,
    size=lambda z, v, y, T, alpha: ((alpha * T * (1 + largest(z, v) / T) + (1 - alpha) * (1 + largest(z))) / len(z),),
)
