"""A generalist, and specialists that each know some classes, combined into one answer (Hinton et al. 2015, §5).

A specialist answers with its own classes and one more, the dustbin, for all the others. Nothing says how a dustbin's
mass is shared out. So we look for the answer q that suits all models at once: q = softmax(z), with z found case by
case. Cases are independent of each other: there is one cost per case, and no gradient is divided by their number.

Shapes: N cases, K classes, k of them a specialist's own. Everything is on the host; costs and answers are float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import Arguments, guard, number
from minikd.core.softmax import log_softmax
from minikd.theory.ensembles import arithmetic_mean, geometric_mean
from minikd.theory.host import cases, cases_like, host_floats, share, tolerance
from minikd.theory.priors import class_mask, shift_classes

Logits: TypeAlias = NDArray[np.floating]
Float64: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[Float64, Float64]
_passes = number(lambda passes: passes >= 1, "at least 1")


class Specialist(NamedTuple):
    """A specialist's answer to N cases.

    Args:
        classes: the k numbers of its own classes.
        z: (N, k + 1) float, its logits in nats: those of its classes in that order, then the dustbin's. A specialist
            for all K classes has no dustbin: z is (N, K).
    """

    classes: Sequence[int]
    z: Logits


def _committee(name: str, value: Any, given: Arguments) -> list[Specialist]:
    """Check that each specialist has the columns that its classes need, for the generalist's cases; return float64."""
    N, K = given["generalist"].shape
    checked = []
    for m, (classes, own) in enumerate(value):
        k = int(class_mask(classes, K).sum())
        shape = (N, k if k == K else k + 1)
        z = host_floats(f"specialist {m}'s z", own, given)
        if z.shape != shape:
            raise ValueError(f"specialist {m}, for {k} of {K} classes, must have z of shape {shape}: one column per "
                             f"class and, unless it has all, one for the dustbin; got {z.shape}")  # fmt: skip
        checked.append(Specialist(classes, cases(f"specialist {m}'s z", z, given)))
    return checked


@guard(z=host_floats, share=share, sampled=share)
def dustbin_correction(z: Logits, *, share: float, sampled: float = 0.5) -> Logits:
    """Return a specialist's logits, with the dustbin's raised to make up for its too few training cases.

        z′_dustbin = z_dustbin + log (sampled / share) − log ((1 − sampled) / (1 − share))

    The paper adds the logarithm of the proportion by which the classes were oversampled. This is that proportion
    relative to the dustbin's own (Hinton et al. 2015, P3; derivation D10.1).

    Args:
        z: (..., k + 1) float on the host, the dustbin last, nats.
        share: the share of the specialist's classes among all cases, in (0, 1).
        sampled: their share among its training cases, in (0, 1).

    Returns:
        z′, of z's shape and dtype.

    Raises:
        TypeError: if z is not a float array on the host.
        ValueError: if a share is out of range.

    >>> dustbin_correction(np.array([[2.0, 1.0, 0.0]]), share=0.2).round(3)
    array([[2.   , 1.   , 1.386]])
    """
    s = math.log(sampled / share) - math.log((1 - sampled) / (1 - share))
    return shift_classes(z, [z.shape[-1] - 1], s)


@guard(generalist=cases, specialists=_committee, z=cases_like("generalist"))
def specialist_cost(z: Logits, *, generalist: Logits, specialists: Sequence[Specialist]) -> Pair:
    """Return how far each case's answer is from what the models say: the sum of its divergences from them.

        C = KL(p^g‖q) + Σ_m KL(p^m‖q),      dz_k = Σ_m (q_k − p̃^m_k)      (Hinton et al. 2015, P4; derivation D10.2)

    In KL(p^m‖q) the mass of q over m's dustbin is summed. p̃^m is p^m with its dustbin's mass spread over the classes in
    it, in proportion to q; it is p^g for the generalist (derivations D10.3 to D10.5).

    Args:
        z: (N, K) float on the host, the answer's logits in nats.
        generalist: (N, K) float, its logits in nats.
        specialists: those that are active in all these cases.

    Returns:
        C, (N,), in nats, and dz, (N, K), the gradient of each case's own cost, not divided by N.

    Raises:
        TypeError: if something is not a float array on the host.
        ValueError: if shapes, classes or values are wrong.

    >>> g, z = np.log([[0.5, 0.3, 0.2]]), np.zeros((1, 3))
    >>> C, dz = specialist_cost(z, generalist=g, specialists=[Specialist([0], np.log([[0.8, 0.2]]))])
    >>> print(C.round(4), dz.round(4))
    [0.5285] [[-0.6333  0.2667  0.3667]]
    """
    return _cost(*_log_probabilities(z, generalist, specialists))


def _cost(log_q: Float64, log_p: Float64) -> Pair:
    q, p = np.exp(log_q), np.exp(log_p)  # (N, K), (1 + M, N, K)
    C = np.sum(p * (log_p - log_q), axis=(0, -1))  # (N,)
    dz = np.sum(q - p, axis=0)  # (N, K)
    return C, dz


@guard(generalist=cases, specialists=_committee, z=cases_like("generalist"))
def reverse_specialist_cost(z: Logits, *, generalist: Logits, specialists: Sequence[Specialist]) -> Pair:
    """Return the cost and the gradient of `specialist_cost`, with the divergences the other way round.

        C = KL(q‖p^g) + Σ_m KL(q‖p^m),      dz_k = q_k (l_k − Σ_j q_j l_j),      l = Σ_m (log q − log p̃^m)

    (Hinton et al. 2015, P4; derivation D10.10.)

    Args:
        z: as `specialist_cost` takes it.
        generalist: as `specialist_cost` takes it.
        specialists: as `specialist_cost` takes them.

    Returns:
        C, (N,), and dz, (N, K), as `specialist_cost` returns them.

    Raises:
        TypeError: as `specialist_cost`.
        ValueError: as `specialist_cost`.

    >>> g, z = np.log([[0.5, 0.3, 0.2]]), np.zeros((1, 3))
    >>> C, dz = reverse_specialist_cost(z, generalist=g, specialists=[Specialist([0], np.log([[0.8, 0.2]]))])
    >>> print(C.round(4), dz.round(4))
    [0.5811] [[-0.6207  0.2428  0.3779]]
    """
    return _reverse_cost(*_log_probabilities(z, generalist, specialists))


def _reverse_cost(log_q: Float64, log_p: Float64) -> Pair:
    q, ratio = np.exp(log_q), np.sum(log_q - log_p, axis=0)  # (N, K), (N, K)
    C = np.sum(q * ratio, axis=-1)  # (N,)
    dz = q * (ratio - C[:, None])  # (N, K)
    return C, dz


@guard(generalist=cases, specialists=_committee, tolerance=tolerance, passes=_passes)
def combine(
    generalist: Logits,
    specialists: Sequence[Specialist],
    *,
    reverse: bool = False,
    tolerance: float = 1e-9,
    passes: int = 10_000,
) -> Float64:
    """Return the answer that suits all models best: for each case the z of least `specialist_cost`, by descent.

        q ← (1/(1 + M)) Σ_m p̃^m(q)  =  q − dz/(1 + M)      (Hinton et al. 2015, P4; derivation D10.8)

    Each pass spreads the dustbins in proportion to q, and then answers with the mean of what is now an ensemble over
    all classes. This is a step against the gradient with no learning rate to choose, and it cannot raise the cost. A
    rate that is safe for all logits at once (derivation D10.6) makes slow progress on rare classes. Where the gradient
    vanishes, the cost is the least of all (derivation D10.7). Without dustbins, and with one specialist, one pass is
    the solution (derivation D10.9).

    Args:
        generalist: (N, K) float on the host, logits in nats.
        specialists: those that are active in all these cases. There may be none.
        reverse: whether to minimise KL(q‖p) and not KL(p‖q). The means are then geometric (derivation D10.11).
        tolerance: the largest L2 norm of a case's gradient to end with, > 0, dimensionless.
        passes: the most passes, ≥ 1.

    Returns:
        z, (N, K) float64, log-probabilities of the answer.

    Raises:
        TypeError: as `specialist_cost`.
        ValueError: as `specialist_cost`, and if tolerance or passes are out of range.
        ArithmeticError: if a gradient is still larger after the last pass.

    >>> g = np.log([[0.5, 0.3, 0.2]])
    >>> z = combine(g, [Specialist([0], np.log([[0.8, 0.2]]))])
    >>> print(np.exp(z).round(3))
    [[0.65 0.21 0.14]]
    """
    N, z = len(generalist), generalist
    found, left = np.empty_like(z, np.float64), np.arange(N)  # answers, and the cases without one: they are the rows
    for _ in range(int(passes) + 1):
        log_q, log_p = _log_probabilities(z, generalist, specialists)
        _, dz = _reverse_cost(log_q, log_p) if reverse else _cost(log_q, log_p)
        norm = np.linalg.norm(dz, axis=-1)  # (rows,)
        on = norm > tolerance
        found[left[~on]] = log_q[~on]
        if not on.any():
            return found
        z = geometric_mean(log_p) if reverse else arithmetic_mean(log_p, T=1.0)
        if not on.all():  # a few cases take many times the passes of the others
            left, z, generalist = left[on], z[on], generalist[on]
            specialists = [Specialist(classes, own[on]) for classes, own in specialists]
    raise ArithmeticError(
        f"after {int(passes)} passes the gradient of {np.count_nonzero(on)} of {N} cases is above "
        f"{tolerance}, at worst {norm.max():.3g}: allow more passes or a larger tolerance"
    )


@guard(generalist=cases, specialists=_committee, tolerance=tolerance, passes=_passes)
def answer(
    generalist: Logits,
    specialists: Sequence[Specialist],
    *,
    reverse: bool = False,
    tolerance: float = 1e-9,
    passes: int = 10_000,
) -> Float64:
    """Return the combined answer to each case, from the specialists for the class that the generalist likes best.

    This is the paper's inference with n = 1 (P4). Other specialists are not asked. If there is none for the class, the
    generalist's answer stands.

    Args:
        generalist: (N, K) float on the host, logits in nats.
        specialists: their answers to the same N cases, active or not.
        reverse: as `combine` takes it.
        tolerance: as `combine` takes it.
        passes: as `combine` takes it.

    Returns:
        z, (N, K) float64, log-probabilities.

    Raises:
        TypeError: as `combine`.
        ValueError: as `combine`.
        ArithmeticError: as `combine`.
    """
    z = np.asarray(log_softmax(generalist), np.float64)  # (N, K)
    best = np.argmax(generalist, axis=-1)  # (N,)
    for k in np.unique(best):
        asked = best == k
        active = [Specialist(classes, own[asked]) for classes, own in specialists if k in classes]
        if active:
            z[asked] = combine(generalist[asked], active, reverse=reverse, tolerance=tolerance, passes=passes)
    return z


def _log_probabilities(z: Logits, generalist: Logits, specialists: Sequence[Specialist]) -> Pair:
    """Return log q, (N, K), and log p̃, (1 + M, N, K): the generalist's, then each specialist's, its dustbin spread."""
    log_q: Float64 = log_softmax(np.asarray(z, np.float64))
    log_p = [log_softmax(generalist)]
    for classes, own in specialists:
        log_own, inside = log_softmax(own), class_mask(classes, z.shape[-1])
        spread = np.empty_like(log_q)
        spread[:, list(classes)] = log_own[:, : len(classes)]
        if not inside.all():
            spread[:, ~inside] = log_own[:, -1:] + log_softmax(log_q[:, ~inside])  # the dustbin, and q's shares of it
        log_p.append(spread)
    return log_q, np.stack(log_p)
