"""The limit of high temperatures: dz = ((z − z̄) − (v − v̄))/(K T²)/B."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import averaged, half_square, two_logits
from minikd.doctor.problem import LOGITS, TEMPERATURE, Made, Outputs, Problem
from minikd.doctor.textbook import centred, largest, softmax, sums


def _recipe(made: Made, z: Any, v: Any, T: float) -> Outputs:
    K = z.shape[-1]
    factor = averaged(made, z)
    z, v = two_logits(made, z, v)
    wrong: dict[str, Any] = {
        "right only for zero-mean logits": z - v,
        "the mean removed on one side only": [lambda: centred(z) - v, lambda: z - centred(v)],
        "the mean over the batch removed": lambda: centred(z - v, axis=0),
        "the mean of the whole batch removed": lambda: centred(z - v, axis=None),
        "the sum removed instead of the mean": lambda: z - v - sums(z - v),
        "the exact gradient, not its limit": lambda: K * T * (softmax(z / T) - softmax(v / T)),
    }
    d = made("difference", lambda: centred(z - v), wrong)
    factor *= made.factor("1/K", 1 / K, {"missing 1/K": 1.0})
    wrong = {"1/T in place of 1/T²": 1 / T, "missing 1/T²": 1.0, "1/T³ in place of 1/T²": 1 / T**3}
    return (factor * made.factor("1/T²", 1 / T**2, wrong) * half_square(made) * d,)


PROBLEM = Problem(
    name="high-temperature limit",
    arguments={"z": LOGITS, "v": LOGITS, "T": TEMPERATURE},
    forward=lambda z, v, T: np.sum((centred(z) - centred(v)) ** 2) / 2 / z.shape[-1] / T**2 / len(z),
    recipe=_recipe,
    size=lambda z, v, T: (largest(z, v) / T**2 / z.size,),
)
