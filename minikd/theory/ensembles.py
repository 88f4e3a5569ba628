"""An ensemble teaches through one array of logits, made from its members' by one of two means (E8)."""

from __future__ import annotations

from minikd.core.array import Array, get_float_xp
from minikd.core.softmax import check_temperature, log_softmax


def geometric_mean(v: Array) -> Array:
    """Logits whose softened softmax is the normalised geometric mean of the members' distributions, at every T at once.

        v̄_i = (1/M) Σ_m v_mi      (Hinton et al. 2015, E8; derivations D8.2, D8.3)

    Of all distributions this one has the smallest average divergence KL(p‖p_m) to the members (derivation D8.8): a
    class that one member rules out stays ruled out.

    Args: v (M, ..., N, K) float, the logits of M members in nats.
    Returns: (..., N, K), to be passed on as the logits of one teacher.
    Raises: ValueError for the shape, TypeError for the dtype.

    >>> import numpy as np
    >>> geometric_mean(np.array([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]]))
    array([[2., 1., 0.]])
    """
    xp = get_float_xp(v=v)
    M = _members(v)
    return xp.sum(v, axis=0) / M  # (..., N, K)


def arithmetic_mean(v: Array, T: float | Array) -> Array:
    """Logits whose softmax softened by T is the arithmetic mean of the members' distributions at T.

        v̄_i = T log p̄_i,      p̄_i = (1/M) Σ_m p_mi      (Hinton et al. 2015, E8; derivations D8.1, D8.4)

    With them the soft cost at T, and its gradient, is the average over the members taken as teachers one by one
    (derivations D8.5, D8.6); at another T they have no such meaning. Of all distributions this one has the smallest
    average divergence KL(p_m‖p) from the members, and its entropy is no less than their average (derivations D8.7,
    D8.9). At high T both means agree, but for a term in 1/T² (derivations D8.10, D8.11).

    Args:
        v: (M, ..., N, K) float, the logits of M members in nats.
        T: float > 0, or an array (..., 1, 1) of v's dtype whose leading axes broadcast with those of v after the
            first. One ensemble for students at S temperatures is v (M, 1, N, K) with T (S, 1, 1).
    Returns: (..., N, K), to be passed on as the logits of one teacher, none above 0 but for rounding.
    Raises: ValueError for the shapes and T, TypeError for the dtypes.

    >>> import numpy as np
    >>> from minikd.core.softmax import softmax
    >>> v = np.array([[[4.0, 0.0, 0.0]], [[0.0, 2.0, 0.0]]])
    >>> print(softmax(v, T=2.0).round(3).tolist(), softmax(arithmetic_mean(v, T=2.0), T=2.0).round(3))
    [[[0.787, 0.107, 0.107]], [[0.212, 0.576, 0.212]]] [[0.499 0.341 0.159]]
    """
    xp = get_float_xp(v=v)
    M = _members(v)
    T = check_temperature(T, v)
    if not isinstance(T, float) and not _broadcast(T.shape, v.shape[1:]):
        raise ValueError(
            f"T must be a number, or broadcast with the logits of one member, {v.shape[1:]}, got shape {T.shape}: "
            "for students at several temperatures give v (M, 1, N, K)"
        )
    log_p = log_softmax(v, T)  # (M, ..., N, K)
    largest = xp.max(log_p, axis=0)  # (..., N, K): of the exponentials below at least one is 1
    return T * (largest + xp.log(xp.sum(xp.exp(log_p - largest), axis=0) / M))


def _members(v: Array) -> int:
    """M, once v is known to hold the logits of an ensemble."""
    if v.ndim < 3 or 0 in v.shape:
        raise ValueError(f"v must have shape (M, ..., N, K) with M members' logits, M, N, K > 0, got {v.shape}")
    return int(v.shape[0])


def _broadcast(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether an array of the first shape, which has no more axes than the other, can meet one of the other."""
    pairs = zip(reversed(shape), reversed(other), strict=False)
    return len(shape) <= len(other) and all(a == b or 1 in (a, b) for a, b in pairs)
