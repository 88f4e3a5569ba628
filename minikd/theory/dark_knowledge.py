"""What a teacher says about the wrong classes, which no label does: how much it is, and what the student gets from it.

Hinton et al. 2015 call it dark knowledge. The soft cost and its gradient are a part on the true class and a part among
the wrong ones (derivations D12.15 and D12.16). These functions take the parts apart.
"""

from __future__ import annotations

import math
from typing import Any

from minikd.core.array import A, Array, get_xp, one_hot
from minikd.core.guard import Arguments, guard, labels, like, logits, temperature
from minikd.core.softmax import log_softmax, softmax


def _with_wrong_classes(name: str, v: Any, given: Arguments) -> Any:
    """Check the logits: there must be a wrong class."""
    v = logits(name, v, given)
    if v.shape[-1] < 2:
        raise ValueError(f"{name} must have two classes or more, because one of them is wrong, got shape {v.shape}")
    return v


@guard(z=_with_wrong_classes, v=like("z"), y=labels("z"), T=temperature("z"))
def split_soft_gradient(z: A, *, v: A, y: Array, T: float | Array) -> tuple[A, A]:
    """Return the soft gradient of each case in two parts: on the true class, and among the wrong classes.

        γ_i = (1/T) (q_y − p_y) ([i = y] − [i ≠ y] q̂_i),      ω_i = (1/T) (1 − p_y) [i ≠ y] (q̂_i − p̂_i)

    Here q̂ and p̂ are the probabilities of the wrong classes, divided by their sum (Furlanello et al. 2018; Zhao et al.
    2022; derivations D12.15 and D12.16). γ + ω is the soft gradient. γ is the gradient of the hard label with another
    weight (derivation D12.17). A step along the natural gradient of one part leaves the other part as it is
    (derivation D12.18).

    Args:
        z: (..., B, K) float, the student's logits in nats, K ≥ 2.
        v: the teacher's logits in nats, of z's dtype and of z's shape, or broadcasting to it.
        y: (B,) or (..., B) integer labels in 0 … K − 1.
        T: the temperature, dimensionless: a number > 0, or an array (..., 1, 1) of z's dtype, one per student.

    Returns:
        γ and ω, each of z's shape: gradients of each case's own cost, not divided by B.

    Raises:
        ValueError: if shapes or devices do not match, a label or T is out of range, or there is only one class.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    >>> for part in split_soft_gradient(z, v=v, y=np.array([0]), T=8.0):
    ...     print(part.round(5))
    [[-0.00434  0.00197  0.00237]]
    [[ 0.       0.00326 -0.00326]]
    """
    q, p, true = softmax(z, T), softmax(v, T), one_hot(y, z)  # (..., B, K)
    wrong = 1 - true
    q_hat, p_hat = (wrong * get_xp(z=z).exp(_log_among_wrong(u, wrong, T)) for u in (z, v))  # (..., B, K)
    on_true = (1/T) * _total(true * (q - p)) * (true - q_hat)  # fmt: skip
    among_wrong = (1/T) * _total(wrong * p) * (q_hat - p_hat)  # fmt: skip
    return on_true, among_wrong


@guard(v=_with_wrong_classes, y=labels("v"), T=temperature("v"))
def dark_knowledge(v: A, *, y: Array, T: float | Array) -> A:
    """Return how much a teacher says about the wrong classes of each case, in nats.

        KL(p‖p') = (1 − p_y) (log(K − 1) − H(p̂))        (derivation D12.22)

    Here p' is what is left if the teacher forgets it, as `forget_wrong_classes` does.

    Args:
        v: (..., B, K) float, the teacher's logits in nats, K ≥ 2.
        y: as `split_soft_gradient` takes it.
        T: as `split_soft_gradient` takes it.

    Returns:
        (..., B), from 0, where all wrong classes are alike, to log(K − 1).

    Raises:
        ValueError: as `split_soft_gradient`.
        TypeError: as `split_soft_gradient`.

    >>> import numpy as np
    >>> v = np.array([[4.0, 3.0, 0.0], [4.0, 1.5, 1.5]])
    >>> print(dark_knowledge(v, y=np.array([0, 0]), T=1.0).round(4))
    [0.1399 0.    ]
    """
    xp, wrong = get_xp(v=v), 1 - one_hot(y, v)
    log_p_hat = _log_among_wrong(v, wrong, T)  # (..., B, K)
    negative_entropy = xp.sum(wrong * xp.exp(log_p_hat) * log_p_hat, axis=-1)  # (..., B)
    return xp.sum(wrong * softmax(v, T), axis=-1) * (math.log(v.shape[-1] - 1) + negative_entropy)


@guard(v=_with_wrong_classes, y=labels("v"), T=temperature("v"))
def forget_wrong_classes(v: A, *, y: Array, T: float | Array) -> A:
    """Return logits of a teacher that is as sure of the true class at T, but finds all wrong classes alike.

        v'_y = v_y,      v'_i = T log( (1/(K − 1)) Σ_{j ≠ y} exp(v_j/T) )  for i ≠ y

    At T its probabilities are those of a smoothed label with the share β = K (1 − p_y)/(K − 1), one for each case
    (derivations D12.19 to D12.21). A student of this teacher gets no dark knowledge.

    Args:
        v: as `dark_knowledge` takes it.
        y: as `dark_knowledge` takes it.
        T: as `dark_knowledge` takes it.

    Returns:
        v', (..., B, K), to be passed on as the logits of a teacher at this T.

    Raises:
        ValueError: as `split_soft_gradient`.
        TypeError: as `split_soft_gradient`.

    >>> import numpy as np
    >>> print(forget_wrong_classes(np.array([[4.0, 3.0, 0.0]]), y=np.array([0]), T=2.0).round(4))
    [[4.     2.0165 2.0165]]
    """
    wrong = 1 - one_hot(y, v)  # (..., B, K)
    return v - T * wrong * (math.log(v.shape[-1] - 1) + _log_among_wrong(v, wrong, T))  # T log Σ is v_j − T log p̂_j


def _log_among_wrong(v: A, wrong: A, T: float | Array) -> A:
    """Return log p̂, (..., B, K): the log-softmax over the wrong classes only. It is 0 for the true class."""
    xp = get_xp(v=v)
    is_wrong: A = wrong > 0
    return xp.where(is_wrong, log_softmax(xp.where(is_wrong, v, -math.inf), T), 0.0)


def _total(x: A) -> A:
    """Return the sum over the classes, (..., B, 1)."""
    return get_xp(x=x).sum(x, axis=-1, keepdims=True)
