"""The affine layer, backward: dx = dout Wᵀ, dW = xᵀ dout, db = Σ dout."""

from typing import Any

import numpy as np

from minikd.doctor.catalogue import passed_back
from minikd.doctor.problem import Argument, Made, Outputs, Problem
from minikd.doctor.textbook import largest


def _recipe(made: Made, dout: Any, x: Any, W: Any, b: Any) -> Outputs:
    B = len(x)
    dout = made("upstream", dout, {"the upstream gradient forgotten": np.ones_like(dout)})
    summed = np.sum(dout, axis=0)
    wrong_dx = {
        "W not transposed in dx": [lambda: dout @ W, lambda: dout @ W.reshape(W.T.shape)],
        "dx transposed": lambda: W @ dout.T,
        "dx averaged over the batch": lambda: dout @ W.T / B,
    }
    wrong_db = {
        "db summed over the wrong axis": np.sum(dout, axis=1),
        "db averaged over the batch": summed / B,
        "db not summed": dout,
        "db summed over everything": np.asarray(np.sum(dout)),
        "db without the gradient from above": np.ones_like(summed),
        "db with an axis too many": summed[None, :],
    }
    dx = made("dx", lambda: dout @ W.T, wrong_dx)
    wrong_dW = {
        "dW transposed": lambda: dout.T @ x,
        "x not transposed in dW": lambda: x.reshape(x.T.shape) @ dout,
    }
    dW = made("dW axes", lambda: x.T @ dout, wrong_dW)
    dW = dW * made("dW batch", 1, {"dW averaged over the batch": 1 / B})
    db = made("db", summed, wrong_db)
    factor = passed_back(made, B)
    return (
        factor * made("dx sign", 1, {"sign of dx": -1}) * dx,
        factor * made("dW sign", 1, {"sign of dW": -1}) * dW,
        factor * made("db sign", 1, {"sign of db": -1}) * db,
    )


PROBLEM = Problem(
    name="affine",
    arguments={"x": Argument("BD", "array"), "W": Argument("DH", "array"), "b": Argument("H", "array")},
    upstream={"dout": Argument("BH", "array")},
    wrt=("x", "W", "b"),
    forward=lambda x, W, b: x @ W + b,
    recipe=_recipe,
    size=lambda dout, x, W, b: (
        largest(np.abs(dout) @ np.abs(W.T)),
        largest(np.abs(x.T) @ np.abs(dout)),
        largest(np.sum(np.abs(dout), axis=0)),
    ),
)
