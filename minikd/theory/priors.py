"""Class priors: a student whose transfer set lacked classes, repaired by one number (Hinton et al. 2015, M6 to M9).

Suppose a student was trained without 3s. Its logit for 3 is then too low by nearly the same amount on every case. The
logit is not infinitely low, as it would be with hard labels. Its bias comes to rest where the mean of q is the mean of
p, and the teacher gives every digit some small chance of being a 3 (derivations D9.5, D9.6). So it is enough to raise
one bias. Cases without labels tell by how much, if the share of 3s among them is known.

All of this happens on the host, once, after training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import guard, number
from minikd.theory.host import cases, host_floats, share

EPS = float(np.finfo(np.float64).eps)


@guard(z=host_floats, s=number(math.isfinite, "finite"))
def shift_classes(z: NDArray[np.floating], classes: Sequence[int], s: float) -> NDArray[np.floating]:
    """Return the logits with s added to those of some classes.

        z′_k = z_k + s [k ∈ classes]      (Hinton et al. 2015, M7 and M9; derivations D9.1 to D9.4)

    This multiplies the odds of these classes together by e^s, on every case, and does not change their odds among
    themselves. It repairs exactly the effect of a different proportion of these classes in training.

    Args:
        z: (..., K) float on the host: logits, or a network's last biases.
        classes: distinct numbers in 0 … K − 1.
        s: the shift in nats, finite. If a class never occurs, leave it out instead of shifting it to −∞.

    Returns:
        z′, of z's shape and dtype.

    Raises:
        TypeError: if z is not a float array on the host.
        ValueError: if its shape, the classes or s are wrong.

    >>> shift_classes(np.array([[1.0, 2.0, 3.0]]), [0, 2], -7.5)
    array([[-6.5,  2. , -4.5]])
    """
    shifts = np.where(class_mask(classes, z.shape[-1]), float(s), 0.0)  # (K,)
    return np.asarray(z + shifts, z.dtype)


@guard(z=cases, prior=share)
def matching_shift(z: NDArray[np.floating], classes: Sequence[int], prior: float) -> float:
    """Return the shift of some classes that makes their mean probability equal to their known share.

        (1/N) Σ_n Σ_{k ∈ classes} q_nk(s) = prior,      q(s) = softmax(shift_classes(z, classes, s))

    There is exactly one such s (derivations D9.7, D9.8). No label is needed. If the student's odds are wrong only by a
    constant factor, then s undoes it, except for the cases' own scatter around the prior (derivation D9.9). Where the
    student is sure of every case, a wide range of s does equally well in 53 bits, and one of them is returned.

    Args:
        z: (N, K) float on the host, the student's logits in nats (at T = 1) for cases that the prior holds for.
        classes: distinct numbers in 0 … K − 1, some but not all.
        prior: the share of the cases that belong to these classes together, in (0, 1).

    Returns:
        s, in nats, to 53 bits of max(1, |s|) except for the rounding of the mean.

    Raises:
        TypeError: if z is not a float array on the host.
        ValueError: if its shape is wrong, a logit is not finite, or the classes or the prior are out of range.

    >>> z = np.log(np.array([[0.1, 0.9], [0.2, 0.8]]))
    >>> s = matching_shift(z, [0], prior=0.5)
    >>> q = np.exp(shift_classes(z, [0], s))
    >>> print(round(s, 3), (q[:, 0] / q.sum(axis=-1)).round(3))
    1.792 [0.4 0.6]
    """
    inside = class_mask(classes, z.shape[-1])
    if inside.all():
        raise ValueError(f"classes must leave out one of the {inside.size}: all together have probability 1 at every s")
    odds = _log_sum_exp(z[:, inside]) - _log_sum_exp(z[:, ~inside])  # (N,), the logarithm of q / (1 − q) at s = 0
    wanted = math.log(prior) - math.log1p(-prior)
    low, high = wanted - float(odds.max()), wanted - float(odds.min())  # no case above the prior, and none below it
    while high - low > EPS * max(1.0, abs(low), abs(high)):
        middle = (low + high) / 2
        q = np.exp(-np.logaddexp(0.0, -(odds + middle)))  # (N,)
        low, high = (middle, high) if q.mean() < prior else (low, middle)
    return (low + high) / 2


def class_mask(classes: Sequence[int], K: int) -> NDArray[np.bool_]:
    """Return which of K classes are listed, (K,) bool.

    Raises:
        ValueError: unless they are distinct numbers in 0 … K − 1, at least one.

    >>> class_mask([0, 2], 4)
    array([ True, False,  True, False])
    """
    listed = list(classes)
    if not listed or not all(isinstance(k, Integral) and 0 <= k < K for k in listed) or len(set(listed)) < len(listed):
        raise ValueError(f"classes must be distinct numbers in 0 … {K - 1}, at least one, got {listed}")
    mask = np.zeros(K, bool)
    mask[listed] = True
    return mask


def _log_sum_exp(z: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return log Σ_k exp(z_k), (N,), for z (N, K)."""
    return np.asarray(np.logaddexp.reduce(z, axis=-1))
