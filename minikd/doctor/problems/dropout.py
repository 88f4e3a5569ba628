"""Dropout, backward: dx = dout/(1 − drop) where a unit was kept, and 0 elsewhere."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import upstream
from minikd.doctor.problem import Argument, Made, Outputs, Problem
from minikd.doctor.textbook import largest


def _recipe(made: Made, dout: Any, x: Any, keep: Any, drop: float) -> Outputs:
    wrong = {
        "dropout scale forgotten": 1.0,
        "dropout scale twice": 1 / (1 - drop) ** 2,
        "scaled by 1/drop": 1 / drop if drop else np.inf,
        "multiplied by 1 − drop instead of divided": 1 - drop,
        "multiplied by drop": drop,
    }
    scale = made.factor("scale", 1 / (1 - drop), wrong)
    mask = made("mask", keep, {"missing dropout mask": 1.0, "dropout mask inverted": ~keep})
    return (scale * mask * upstream(made, dout, x),)


PROBLEM = Problem(
    name="dropout",
    arguments={"x": Argument("BH", "array"), "keep": Argument("BH", "mask"), "drop": Argument("", "probability")},
    upstream={"dout": Argument("BH", "array")},
    wrt=("x",),
    forward=lambda x, keep, drop: np.where(keep, x, 0.0) / (1 - drop),
    recipe=_recipe,
    size=lambda dout, x, keep, drop: (largest(dout) / (1 - drop),),
)
