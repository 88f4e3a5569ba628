"""The ReLU, backward: dx = dout where x > 0, and 0 elsewhere."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import upstream
from minikd.doctor.problem import Argument, Made, Outputs, Problem
from minikd.doctor.textbook import largest


def _recipe(made: Made, dout: Any, x: Any) -> Outputs:
    wrong = {
        "missing ReLU mask": 1.0,
        "ReLU mask from the wrong side": x < 0,
        "ReLU mask from dout": dout > 0,
        "ReLU mask from dout too": (x > 0) & (dout > 0),
        "the output in place of its derivative": np.maximum(x, 0),
        "the input in place of the mask": x,
        "the sign of x in place of the mask": np.sign(x),
    }
    return (made("mask", x > 0, wrong) * upstream(made, dout, x),)


PROBLEM = Problem(
    name="relu",
    arguments={"x": Argument("BH", "away from zero")},
    upstream={"dout": Argument("BH", "array")},
    wrt=("x",),
    forward=lambda x: np.where(x.real > 0, x, 0.0),
    recipe=_recipe,
    size=lambda dout, x: (np.where(x == 0, np.inf, largest(dout)),),  # any value is right at the kink
    extras=lambda dout, x: {"out": np.maximum(x, 0.0)},
)
