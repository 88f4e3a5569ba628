"""Class priors: a student whose transfer set lacked classes, repaired by one number (Hinton et al. 2015, M6 to M9).

Trained without 3s, a student's logit for 3 is too low by the same amount on every case, or nearly. It is not low
without end, as it would be with hard labels: its bias comes to rest where the mean of q is the mean of p, and the
teacher gives every digit some small chance of being a 3 (derivations D9.5, D9.6). So it is enough to raise one bias;
and by how much can be read off cases without labels, if the share of 3s among them is known.

All of this happens on the host, once, after training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np

EPS = float(np.finfo(np.float64).eps)


def shift_classes(z: np.ndarray, classes: Sequence[int], s: float) -> np.ndarray:
    """The logits with s added to those of some classes.

        z′_k = z_k + s [k ∈ classes]      (Hinton et al. 2015, M7 and M9; derivations D9.1 to D9.4)

    It multiplies the odds of these classes together by e^s, on every case, and leaves their odds among themselves
    alone. That repairs exactly what another proportion of these classes in training has done.

    Args: z (..., K) float on the host: logits, or a network's last biases; classes, numbers in 0 … K − 1; s, nats.
    Returns: z′, of z's shape and dtype.
    Raises: TypeError for z, ValueError for its shape, the classes and s.

    >>> shift_classes(np.array([[1.0, 2.0, 3.0]]), [0, 2], -7.5)
    array([[-6.5,  2. , -4.5]])
    """
    _check_host(z)
    if not math.isfinite(s):
        raise ValueError(f"s must be finite, got {s}: a class that is never meant is better left out")
    shifts = np.where(class_mask(classes, z.shape[-1]), float(s), 0.0)  # (K,)
    return np.asarray(z + shifts, z.dtype)


def matching_shift(z: np.ndarray, classes: Sequence[int], prior: float) -> float:
    """The shift of some classes that makes their mean probability equal to their known share.

        (1/N) Σ_n Σ_{k ∈ classes} q_nk(s) = prior,      q(s) = softmax(shift_classes(z, classes, s))

    There is just one such s (derivations D9.7, D9.8). No label is needed; and if the student's odds are wrong by a
    constant factor alone, then s undoes it, but for the cases' own scatter about the prior (derivation D9.9). Where
    the student is sure of every case, a wide range of s does equally well in 53 bits, and one of them is returned.

    Args:
        z: (N, K) float on the host, the student's logits in nats (at T = 1) for cases that the prior holds for.
        classes: numbers in 0 … K − 1, some but not all.
        prior: their share of the cases, together, in (0, 1).
    Returns: s, nats, to 53 bits of max(1, |s|) but for the rounding of the mean.
    Raises: TypeError for z; ValueError for its shape, for logits that are not finite, for classes and prior.

    >>> z = np.log(np.array([[0.1, 0.9], [0.2, 0.8]]))
    >>> s = matching_shift(z, [0], prior=0.5)
    >>> q = np.exp(shift_classes(z, [0], s))
    >>> print(round(s, 3), (q[:, 0] / q.sum(axis=-1)).round(3))
    1.792 [0.4 0.6]
    """
    _check_host(z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"z must have shape (N, K) with N, K > 0, got {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError("z must be finite, got inf or nan: the student has diverged, train it again")
    inside = class_mask(classes, z.shape[-1])
    if inside.all():
        raise ValueError(f"classes must leave out one of the {inside.size}: all together have probability 1 at every s")
    if not 0 < prior < 1:
        raise ValueError(f"prior must be a share in (0, 1), got {prior}")
    z = z.astype(np.float64)
    odds = _log_sum_exp(z[:, inside]) - _log_sum_exp(z[:, ~inside])  # (N,), the logarithm of q / (1 − q) at s = 0
    wanted = math.log(prior) - math.log1p(-prior)
    low, high = wanted - float(odds.max()), wanted - float(odds.min())  # no case above the prior, and none below it
    while high - low > EPS * max(1.0, abs(low), abs(high)):
        middle = (low + high) / 2
        q = np.exp(-np.logaddexp(0.0, -(odds + middle)))  # (N,)
        low, high = (middle, high) if q.mean() < prior else (low, middle)
    return (low + high) / 2


def class_mask(classes: Sequence[int], K: int) -> np.ndarray:
    """(K,) bool: which classes are among those listed.

    Raises: ValueError unless they are distinct numbers in 0 … K − 1, at least one.

    >>> class_mask([0, 2], 4)
    array([ True, False,  True, False])
    """
    listed = list(classes)
    if not listed or not all(isinstance(k, Integral) and 0 <= k < K for k in listed) or len(set(listed)) < len(listed):
        raise ValueError(f"classes must be distinct numbers in 0 … {K - 1}, at least one, got {listed}")
    mask = np.zeros(K, bool)
    mask[listed] = True
    return mask


def _log_sum_exp(z: np.ndarray) -> np.ndarray:
    """log Σ_k exp(z_k), (N,), for z (N, K)."""
    return np.asarray(np.logaddexp.reduce(z, axis=-1))


def _check_host(z: np.ndarray) -> None:
    if not isinstance(z, np.ndarray):
        raise TypeError(f"z must be a NumPy array, got {type(z).__name__}: bring it with minikd.engines.device.to_host")
    if z.dtype not in (np.float32, np.float64):
        raise TypeError(f"z must be float32 or float64, got {z.dtype}: convert it with astype")
    if z.ndim == 0:
        raise ValueError("z must have shape (..., K), got a single number")
