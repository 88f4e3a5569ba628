"""One teacher from the logits of an ensemble, by one of two means (Hinton et al. 2015, E8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minikd.core.array import A, Array, get_xp
from minikd.core.guard import Arguments, floats, guard, temperature
from minikd.core.softmax import log_softmax


def _members(name: str, v: Any, given: Arguments) -> Any:
    """Check v: it must be the logits of an ensemble."""
    v = floats(name, v, given)
    if v.ndim < 3 or 0 in v.shape:
        raise ValueError(f"{name} must have shape (M, ..., N, K) with M members' logits, M, N, K > 0, got {v.shape}")
    return v


def _one_member(name: str, T: Any, given: Arguments) -> Any:
    """Check T: it must be a temperature that broadcasts with the logits of each member."""
    T, member = temperature()(name, T, given), given["v"].shape[1:]
    try:
        fits = isinstance(T, float) or len(np.broadcast_shapes(T.shape, member)) == len(member)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must be a number, or broadcast with the logits of one member, {member}, got shape {T.shape}: "
            "for students at several temperatures give v (M, 1, N, K)"
        )
    return T


@guard(v=_members)
def geometric_mean(v: A) -> A:
    """Return logits whose softened softmax is the normalised geometric mean of the members', at every T at once.

        v̄_i = (1/M) Σ_m v_mi      (Hinton et al. 2015, E8; derivations D8.2, D8.3)

    Of all distributions this one has the smallest average divergence KL(p‖p_m) to the members (derivation D8.8). A
    class that one member rules out stays ruled out.

    Args:
        v: (M, ..., N, K) float, the logits of M members in nats.

    Returns:
        (..., N, K), to be passed on as the logits of one teacher.

    Raises:
        ValueError: if the shape is wrong.
        TypeError: if the dtype is wrong.

    >>> import numpy as np
    >>> geometric_mean(np.array([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]]))
    array([[2., 1., 0.]])
    """
    return get_xp(v=v).sum(v, axis=0) / v.shape[0]  # (..., N, K)


@guard(v=_members, T=_one_member)
def arithmetic_mean(v: A, T: float | Array) -> A:
    """Return logits whose softmax softened by T is the arithmetic mean of the members' distributions at T.

        v̄_i = T log p̄_i,      p̄_i = (1/M) Σ_m p_mi      (Hinton et al. 2015, E8; derivations D8.1, D8.4)

    With these logits the soft cost at T, and its gradient, is the average over the members taken as teachers one by one
    (derivations D8.5, D8.6). At another T they have no such meaning. Of all distributions this one has the smallest
    average divergence KL(p_m‖p) from the members, and its entropy is at least their average (derivations D8.7, D8.9).
    At high T both means agree, except for a term in 1/T² (derivations D8.10, D8.11).

    Args:
        v: (M, ..., N, K) float, the logits of M members in nats.
        T: float > 0, or an array (..., 1, 1) of v's dtype whose leading axes broadcast with those of v after the
            first. One ensemble for students at S temperatures is v (M, 1, N, K) with T (S, 1, 1).

    Returns:
        (..., N, K), to be passed on as the logits of one teacher. None is above 0, except for rounding.

    Raises:
        ValueError: if shapes do not match, or T is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> from minikd.core.softmax import softmax
    >>> v = np.array([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]])
    >>> print(softmax(v, T=2.0).round(3).tolist(), softmax(arithmetic_mean(v, T=2.0), T=2.0).round(3))
    [[[0.787, 0.107, 0.107]], [[0.212, 0.576, 0.212]]] [[0.499 0.341 0.159]]
    """
    xp, M = get_xp(v=v), v.shape[0]
    log_p = log_softmax(v, T)  # (M, ..., N, K)
    largest = xp.max(log_p, axis=0)  # (..., N, K), so that at least one of the exponentials below is 1
    return T * (largest + xp.log(xp.sum(xp.exp(log_p - largest), axis=0) / M))
