"""A generalist and specialists that know a part of the classes each, combined into one answer (Hinton et al. 2015, §5).

A specialist answers with its own classes and one more, the dustbin, for all the others. Nothing says how a dustbin's
mass is shared out, so the answer q is sought that suits all models at once: q = softmax(z), with z found case by case.
Cases are apart from each other: costs come one a case, and no gradient is divided by their number.

Shapes: N cases, K classes, k of them a specialist's own. All is on the host; costs and answers in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minikd.core.softmax import log_softmax
from minikd.theory.ensembles import arithmetic_mean, geometric_mean
from minikd.theory.priors import class_mask, shift_classes


class Specialist(NamedTuple):
    """A specialist's answer to N cases.

    classes: the k numbers of its own classes. z: (N, k + 1) float, its logits in nats: those of its classes in that
    order, then the dustbin's. A specialist for all K classes has no dustbin: z is (N, K).
    """

    classes: Sequence[int]
    z: np.ndarray


def dustbin_correction(z: np.ndarray, *, share: float, sampled: float = 0.5) -> np.ndarray:
    """A specialist's logits, with the dustbin's raised as far as its training cases were too few.

        z′_dustbin = z_dustbin + log (sampled / share) − log ((1 − sampled) / (1 − share))

    The paper adds the logarithm of the proportion by which the classes were oversampled; this is that proportion
    against the dustbin's own (Hinton et al. 2015, P3; derivation D10.1).

    Args:
        z: (..., k + 1) float on the host, the dustbin last, nats.
        share: the part that the specialist's classes are of all cases, in (0, 1).
        sampled: the part that they were of its training cases, in (0, 1).
    Returns: z′, of z's shape and dtype.
    Raises: TypeError for z, ValueError for the shares.

    >>> dustbin_correction(np.array([[2.0, 1.0, 0.0]]), share=0.2).round(3)
    array([[2.   , 1.   , 1.386]])
    """
    for name, value in (("share", share), ("sampled", sampled)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must be in (0, 1), got {value}")
    s = math.log(sampled / share) - math.log((1 - sampled) / (1 - share))
    return shift_classes(z, [z.shape[-1] - 1], s)


def specialist_cost(
    z: np.ndarray, *, generalist: np.ndarray, specialists: Sequence[Specialist]
) -> tuple[np.ndarray, np.ndarray]:
    """How far each case's answer is from what the models say: the divergences of q from all of them.

        C = KL(p^g‖q) + Σ_m KL(p^m‖q),      dz_k = Σ_m (q_k − p̃^m_k)      (Hinton et al. 2015, P4; derivation D10.2)

    In KL(p^m‖q) the mass of q over m's dustbin is summed. p̃^m is p^m with its dustbin's mass spread over the classes in
    it, in proportion to q; it is p^g for the generalist (derivations D10.3 to D10.5).

    Args: z (N, K) float on the host, nats; generalist (N, K), its logits; specialists, active in all these cases.
    Returns: C, (N,), nats, of each case; dz, (N, K), the gradient of each case's own cost, not divided by N.
    Raises: TypeError for what are no float arrays on the host; ValueError for shapes, classes and values.

    >>> g, z = np.log([[0.5, 0.3, 0.2]]), np.zeros((1, 3))
    >>> C, dz = specialist_cost(z, generalist=g, specialists=[Specialist([0], np.log([[0.8, 0.2]]))])
    >>> print(C.round(4), dz.round(4))
    [0.5285] [[-0.6333  0.2667  0.3667]]
    """
    generalist, specialists = _checked(generalist, specialists, z)
    return _cost(*_log_probabilities(z, generalist, specialists))


def _cost(log_q: np.ndarray, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q, p = np.exp(log_q), np.exp(log_p)  # (N, K), (1 + M, N, K)
    C = np.sum(p * (log_p - log_q), axis=(0, -1))  # (N,)
    dz = np.sum(q - p, axis=0)  # (N, K)
    return C, dz


def reverse_specialist_cost(
    z: np.ndarray, *, generalist: np.ndarray, specialists: Sequence[Specialist]
) -> tuple[np.ndarray, np.ndarray]:
    """As `specialist_cost`, with the divergences the other way round.

        C = KL(q‖p^g) + Σ_m KL(q‖p^m),      dz_k = q_k (l_k − Σ_j q_j l_j),      l = Σ_m (log q − log p̃^m)

    (Hinton et al. 2015, P4; derivation D10.10.) Arguments, returns and errors as there.

    >>> g, z = np.log([[0.5, 0.3, 0.2]]), np.zeros((1, 3))
    >>> C, dz = reverse_specialist_cost(z, generalist=g, specialists=[Specialist([0], np.log([[0.8, 0.2]]))])
    >>> print(C.round(4), dz.round(4))
    [0.5811] [[-0.6207  0.2428  0.3779]]
    """
    generalist, specialists = _checked(generalist, specialists, z)
    return _reverse_cost(*_log_probabilities(z, generalist, specialists))


def _reverse_cost(log_q: np.ndarray, log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q, ratio = np.exp(log_q), np.sum(log_q - log_p, axis=0)  # (N, K), (N, K)
    C = np.sum(q * ratio, axis=-1)  # (N,)
    dz = q * (ratio - C[:, None])  # (N, K)
    return C, dz


def combine(
    generalist: np.ndarray,
    specialists: Sequence[Specialist],
    *,
    reverse: bool = False,
    tolerance: float = 1e-9,
    passes: int = 10_000,
) -> np.ndarray:
    """The answer that suits all models best: for each case the z of least `specialist_cost`, by descent.

        q ← (1/(1 + M)) Σ_m p̃^m(q)  =  q − dz/(1 + M)      (Hinton et al. 2015, P4; derivation D10.8)

    Each pass spreads the dustbins in proportion to q, and then answers with the mean of what is now an ensemble over
    all classes. It is a step against the gradient with no rate to choose, and cannot raise the cost; a rate that is
    safe for all logits at once (derivation D10.6) leaves rare classes behind. Where the gradient vanishes is the
    least cost of all (derivation D10.7). Without dustbins, and with one specialist, one pass is the solution
    (derivation D10.9).

    Args:
        generalist: (N, K) float on the host, logits in nats. specialists: active in all these cases; may be none.
        reverse: whether KL(q‖p) is to be least, and not KL(p‖q): the means are then geometric (derivation D10.11).
        tolerance: the largest L2 norm of a case's gradient to end with, > 0, dimensionless.
        passes: the most passes.
    Returns: z, (N, K) float64, log-probabilities of the answer.
    Raises: as `specialist_cost`; ArithmeticError where the gradient is still larger after the last pass.

    >>> g = np.log([[0.5, 0.3, 0.2]])
    >>> z = combine(g, [Specialist([0], np.log([[0.8, 0.2]]))])
    >>> print(np.exp(z).round(3))
    [[0.65 0.21 0.14]]
    """
    generalist, specialists = _checked(generalist, specialists)
    if not 0 < tolerance < math.inf or passes < 1:
        raise ValueError(f"tolerance must be > 0 and finite, passes at least 1, got {tolerance} and {passes}")
    N, z = len(generalist), generalist
    found, left = np.empty_like(z), np.arange(N)  # answers, and the cases that are yet to have one: they are the rows
    for _ in range(passes + 1):
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
        f"after {passes} passes the gradient of {np.count_nonzero(on)} of {N} cases is above "
        f"{tolerance}, at worst {norm.max():.3g}: allow more passes or a larger tolerance"
    )


def answer(
    generalist: np.ndarray, specialists: Sequence[Specialist], *, reverse: bool = False, tolerance: float = 1e-9
) -> np.ndarray:
    """The combined answer to each case, from the specialists for the class that the generalist likes best.

    The paper's inference with n = 1 (P4): other specialists are not asked, and where there is none the generalist's
    answer stands. Arguments and errors as `combine`.

    Args: generalist (N, K), logits; specialists, their answers to the same N cases, active or not.
    Returns: z, (N, K) float64, log-probabilities.
    """
    generalist, specialists = _checked(generalist, specialists)
    z: np.ndarray = log_softmax(generalist)  # (N, K)
    best = np.argmax(generalist, axis=-1)  # (N,)
    for k in np.unique(best):
        cases = best == k
        active = [Specialist(classes, own[cases]) for classes, own in specialists if k in classes]
        if active:
            z[cases] = combine(generalist[cases], active, reverse=reverse, tolerance=tolerance)
    return z


def _log_probabilities(
    z: np.ndarray, generalist: np.ndarray, specialists: Sequence[Specialist]
) -> tuple[np.ndarray, np.ndarray]:
    """log q, (N, K), and log p̃, (1 + M, N, K): the generalist's, then each specialist's, its dustbin spread."""
    log_q: np.ndarray = log_softmax(np.asarray(z, np.float64))
    log_p = [log_softmax(generalist)]
    for classes, own in specialists:
        log_own, inside = log_softmax(own), class_mask(classes, z.shape[-1])
        spread = np.empty_like(log_q)
        spread[:, list(classes)] = log_own[:, : len(classes)]
        if not inside.all():
            spread[:, ~inside] = log_own[:, -1:] + log_softmax(log_q[:, ~inside])  # the dustbin, and q's shares of it
        log_p.append(spread)
    return log_q, np.stack(log_p)


def _checked(
    generalist: np.ndarray, specialists: Sequence[Specialist], z: np.ndarray | None = None
) -> tuple[np.ndarray, list[Specialist]]:
    """The models' logits as float64, once all arguments are known to fit."""
    g = _float64("generalist", generalist)
    if g.ndim != 2 or 0 in g.shape:
        raise ValueError(f"generalist must have shape (N, K) with N, K > 0, got {g.shape}")
    if z is not None and _float64("z", z).shape != g.shape:
        raise ValueError(f"z must have the generalist's shape {g.shape}, got {z.shape}")
    N, K = g.shape
    checked = []
    for m, (classes, own) in enumerate(specialists):
        k = int(class_mask(classes, K).sum())
        columns = k if k == K else k + 1
        own = _float64(f"specialist {m}'s z", own)
        if own.shape != (N, columns):
            raise ValueError(f"specialist {m}, for {k} of {K} classes, must have z of shape {(N, columns)}: one column "
                             f"a class and, unless it has all, one for the dustbin; got {own.shape}")  # fmt: skip
        checked.append(Specialist(classes, own))
    return g, checked


def _float64(name: str, z: np.ndarray) -> np.ndarray:
    if not isinstance(z, np.ndarray) or z.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} must be a float32 or float64 NumPy array, got {getattr(z, 'dtype', type(z).__name__)}")
    if not np.isfinite(z).all():
        raise ValueError(f"{name} must be finite, got inf or nan")
    return z.astype(np.float64)
