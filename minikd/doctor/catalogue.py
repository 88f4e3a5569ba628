"""The mistakes that several problems share, each at the place of the gradient where it is made."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minikd.doctor.problem import Made
from minikd.doctor.textbook import log_softmax, one_hot, through_softmax


def sign(made: Made, name: str = "sign") -> Any:
    """Return 1, or −1 if the sign is mistaken."""
    return made.factor("sign", 1, {name: -1})


def chain_rule(made: Made, T: float) -> Any:
    """Return 1/T, the factor that z/T leaves in front."""
    wrong = {"missing 1/T": 1.0, "1/T twice": 1 / T**2, "T in place of 1/T": T, "T² in place of 1/T": T**2}
    return made.factor("1/T", 1 / T, wrong)


def averaged(made: Made, z: Any) -> Any:
    """Return 1/B, by which a cost multiplies the sum over cases and classes."""
    B, K = z.shape
    wrong = {"mean over the batch forgotten": 1.0, "mean over the batch taken twice": 1 / B**2}
    return made.factor("batch", 1 / B, wrong) * made.factor("classes", 1, {"mean over classes instead of sum": 1 / K})


def passed_back(made: Made, B: int) -> Any:
    """Return 1, by which a backward pass multiplies what comes from above."""
    return sign(made) * made.factor("batch", 1, {"averaged over the batch": 1 / B})


def upstream(made: Made, dout: Any, x: Any) -> Any:
    """Return what a layer without parameters passes back where it lets everything through: dout."""
    wrong = {
        "the upstream gradient forgotten": np.ones_like(dout),
        "the forward pass in place of the backward pass": x,
    }
    return made("upstream", dout, wrong) * passed_back(made, len(dout))


def logs(made: Made, u: Any) -> Any:
    """Return the logarithm of softmax(u)."""
    wrong = {
        "softmax along the batch": lambda: log_softmax(u, axis=0),
        "softmax over the whole batch": lambda: log_softmax(u, axis=None),
        "exponentials not divided by their sum": u,
    }
    return made("axis", lambda: log_softmax(u), wrong)


def soft_difference(made: Made, z: Any, v: Any, T: float) -> Any:
    """Return q − p, (B, K)."""

    def softmax(u: Any) -> Any:
        return np.exp(logs(made, u))

    def twice(u: Any, q: Any, T: float) -> list[Any]:  # q is softmax(u/T)
        return [lambda: softmax(q), lambda: softmax(softmax(u) / T), lambda: softmax(q / T)]

    wrong: dict[str, Any] = {
        "T only on the student": (T, 1.0),
        "T only on the teacher": (1.0, T),
        "T forgotten in both softmaxes": (1.0, 1.0),
        "T multiplied instead of divided": (1 / T, 1 / T),
    }
    T_z, T_v = made("T", (T, T), wrong)
    log_p, log_q = logs(made, v / T_v), logs(made, z / T_z)
    p, q = np.exp(log_p), np.exp(log_q)
    wrong = {
        "p forgotten": 0 * v,
        "p added instead of subtracted": -p,
        "log p where p belongs": log_p,
        "the teacher's one answer in place of its probabilities": lambda: one_hot(np.argmax(v, axis=-1), v.shape[-1]),
        "logits where the teacher's probabilities belong": [v, v / T],
        "probabilities where the teacher's logits belong": twice(v, p, T_v),
    }
    p = made("p", p, wrong)
    wrong = {
        "q forgotten": 0 * z,
        "softmax applied twice to the student": twice(z, q, T_z),
        "logits where the student's probabilities belong": [z, z / T],
        "log q where q belongs": log_q,
    }
    q = made("q", q, wrong)

    def back(dq: Any) -> Callable[[], Any]:
        return lambda: through_softmax(q, dq)

    wrong = {
        "teacher and student swapped in the cost": [back(-log_p), back(log_q - log_p)],
        "squared error on probabilities": [back(q - p), back(2 * (q - p))],
    }
    return made("cost", q - p, wrong)


def label(made: Made, y: Any, K: int) -> Any:
    """Return the one-hot rows of the labels, (B, K)."""
    right = one_hot(y, K)
    zeros = np.zeros_like(right)
    wrong = {
        "label not subtracted": zeros,
        "label subtracted twice": 2 * right,
        "label added instead of subtracted": -right,
        "labels counted from 1": [lambda: np.roll(right, -1, axis=-1), lambda: one_hot(y - 1, K)],
        "the label's number subtracted": zeros + y[:, None],
        "labels used as rows": lambda: zeros + np.isin(np.arange(len(y)), y)[:, None],
        "every label subtracted in every case": lambda: zeros + np.max(right, axis=0),
        "1 subtracted from every class": zeros + 1,
    }
    return made("label", right, wrong)


def two_logits(made: Made, z: Any, v: Any) -> tuple[Any, Any]:
    """Return z and v, which are to be compared."""
    v = made("teacher", v, {"teacher forgotten": 0 * v, "teacher added instead of subtracted": -v})
    return made("student", z, {"student forgotten": 0 * z}), v


def half_square(made: Made) -> Any:
    """Return 1, the factor that the derivative of half a square leaves."""
    return sign(made) * made.factor("2", 1, {"factor 2": 2, "factor ½": 0.5})
