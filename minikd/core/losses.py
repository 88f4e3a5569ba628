"""The costs of distillation: hard, soft, both together (E2, E6, E7), and matching logits (E4).

Every cost takes logits, sums over the K classes and averages over the B cases, and returns (C, dz): the cost and its
gradient with respect to the student's logits, from one function, so that one is the antiderivative of the other. There
is no option to average over classes: that shrinks the gradient by K and is the commonest bug of distillation code.

Targets are keyword-only, so teacher and student cannot be swapped by position.
"""

from __future__ import annotations

import numpy as np

from minikd.core.array import Array, Namespace, get_float_xp, get_xp, on_host
from minikd.core.softmax import check_scalar, check_temperature, log_softmax, softmax


def soft_cross_entropy(z: Array, *, v: Array, T: float | Array) -> tuple[Array, Array]:
    """Cross-entropy of the student's softened probabilities q with the teacher's, p, both at temperature T.

        C = −(1/B) Σ_b Σ_i p_i log q_i,      dz_i = (1/T) (q_i − p_i) / B

    (Hinton et al. 2015, E2; derivation D2.1 to D2.5.) The cost of a case is at least the entropy of p, and reaches it
    where z = v up to a constant: it is that entropy plus KL(p‖q), whose gradient is the same (derivation D2.7 to D2.9).
    It is convex in z, and a step against dz leads towards the teacher (derivations D2.10 and D2.11). At low T a class
    far below the top in both z and v has next to no gradient (E5; derivation D4.1 to D4.6).

    Args:
        z: (..., B, K) float, the student's logits in nats.
        v: the teacher's logits, of z's dtype; z's shape, or broadcasting to it.
        T: float > 0 or an array (..., 1, 1), dimensionless.
    Returns: C, (...,), nats: summed over K, averaged over B; dz, z's shape.
    Raises: ValueError for shapes, devices and T; TypeError for dtypes.

    >>> import numpy as np
    >>> z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    >>> C, dz = soft_cross_entropy(z, v=v, T=8.0)
    >>> print(f"{C:.4f}", dz.round(5))
    1.0726 [[-0.00434  0.00523 -0.00089]]
    """
    T = check_temperature(T, z)
    _check(z, v=v, T=T)
    return _soft(z, v, T)


def _soft(z: Array, v: Array, T: float | Array) -> tuple[Array, Array]:
    xp, B = get_xp(z=z), z.shape[-2]
    log_q = log_softmax(z, T)  # (..., B, K)
    q = xp.exp(log_q)  # (..., B, K)
    p = softmax(v, T)  # (..., B, K)
    C = -xp.sum(p * log_q, axis=(-2, -1)) / B  # (...,)
    dz = (1/T) * (q - p) / B  # (..., B, K)  # fmt: skip
    return C, dz


def hard_cross_entropy(z: Array, *, y: Array) -> tuple[Array, Array]:
    """Cross-entropy of the student's probabilities at T = 1 with the labels: soft targets that are all on one class.

        C = −(1/B) Σ_b log q_y,      dz_i = (q_i − [i = y]) / B        (derivation D2.6)

    Args:
        z: (..., B, K) float, the student's logits in nats.
        y: (B,) or (..., B) integer labels in 0 … K − 1. On a GPU, where reading them would wait, their range is
            checked where data enter, not here.
    Returns: C, (...,), nats: averaged over B; dz, z's shape.
    Raises: ValueError for shapes, devices and labels out of range; TypeError for dtypes.

    >>> import numpy as np
    >>> C, dz = hard_cross_entropy(np.array([[2.0, -1.0, 0.5]]), y=np.array([0]))
    >>> print(f"{C:.4f}", dz.round(4))
    0.2413 [[-0.2144  0.0391  0.1753]]
    """
    _check(z, y=y)
    return _hard(z, y)


def _hard(z: Array, y: Array) -> tuple[Array, Array]:
    xp, B = get_xp(z=z), z.shape[-2]
    log_q = log_softmax(z)  # (..., B, K)
    q = xp.exp(log_q)  # (..., B, K)
    p = _one_hot(xp, y, z)  # (..., B, K)
    C = -xp.sum(p * log_q, axis=(-2, -1)) / B  # (...,)
    dz = (q - p) / B  # (..., B, K)
    return C, dz


def distillation_loss(
    z: Array,
    *,
    v: Array | None = None,
    y: Array | None = None,
    T: float | Array = 1.0,
    alpha: float | Array = 1.0,
) -> tuple[Array, Array]:
    """The student's cost: soft targets with weight alpha, hard targets with weight 1 − alpha (E6, E7).

        C = alpha T² C_soft(z, v, T) + (1 − alpha) C_hard(z, y)        (derivations D5.1 and D5.2)

    The soft gradient shrinks as 1/T², and T² undoes it, so that alpha keeps its meaning as T changes. That balance is
    asymptotic in T, not exact (derivations D5.3 and D5.4); at low T the soft part fades (derivation D5.7). Bounds for
    every T stand in derivations D5.5 and D5.6. Without T² it is the cost of another alpha (derivation D5.8). alpha = 1
    needs no labels, alpha = 0 no teacher.

    Args:
        z, v, T: as `soft_cross_entropy`. y: as `hard_cross_entropy`.
        alpha: float in [0, 1] or an array (..., 1, 1) of z's dtype: the weight of the soft targets, dimensionless.
    Returns: C, (...,), nats; dz, z's shape.
    Raises: as the two costs; ValueError for an alpha out of range or a target that alpha needs and nobody gave.

    >>> import numpy as np
    >>> z, v, y = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]]), np.array([0])
    >>> C, dz = distillation_loss(z, v=v, y=y, T=8.0, alpha=0.9)
    >>> print(dz.round(4))
    [[-0.2715  0.305  -0.0335]]
    """
    T, alpha = check_distillation(z, v=v, y=y, T=T, alpha=alpha)
    if isinstance(alpha, float) and alpha == 0:
        return _hard(z, y)
    soft_weight = alpha * T**2  # the only T² of minikd
    C_soft, dz_soft = _soft(z, v, T)
    if isinstance(alpha, float) and alpha == 1:
        return _of_cost(soft_weight) * C_soft, soft_weight * dz_soft
    hard_weight = 1 - alpha
    C_hard, dz_hard = _hard(z, y)
    C = _of_cost(soft_weight) * C_soft + _of_cost(hard_weight) * C_hard  # (...,)
    dz = soft_weight * dz_soft + hard_weight * dz_hard  # (..., B, K)
    return C, dz


def check_distillation(
    z: Array, *, v: Array | None, y: Array | None, T: float | Array, alpha: float | Array
) -> tuple[float | Array, float | Array]:
    """T and alpha, once all that `distillation_loss` takes is known to fit; raises as it does."""
    alpha = check_scalar("alpha", alpha, z, lambda a: (a >= 0) & (a <= 1), "a number in [0, 1]")
    T = check_temperature(T, z)
    _check(z, v=v, y=y, T=T, alpha=alpha)
    soft_only, hard_only = (isinstance(alpha, float) and alpha == end for end in (1.0, 0.0))
    if v is None and not hard_only:
        raise ValueError(f"alpha = {alpha} gives weight to soft targets, but v is None: pass v, or alpha=0.0")
    if y is None and not soft_only:
        raise ValueError(f"alpha = {alpha} gives weight to hard targets, but y is None: pass y, or alpha=1.0")
    return T, alpha


def logit_matching(z: Array, *, v: Array) -> tuple[Array, Array]:
    """Half the squared distance of the logits: what distillation becomes as T → ∞, for zero-mean logits (E4).

        C = (1/B) Σ_b Σ_i ½ (z_i − v_i)²,      dz_i = (z_i − v_i) / B        (Hinton et al. 2015, E4)

    T² times the gradient of the soft cross-entropy tends to 1/K of this one, and so does T² times its cost, but for the
    teacher's entropy (derivations D3.2, D3.3 and D3.13). `minikd.theory.limits` says how near it is at a given T.
    Arguments, shapes and errors as `soft_cross_entropy`; C in nats², and it overflows where the square of a difference
    does.

    >>> import numpy as np
    >>> C, dz = logit_matching(np.array([[1.0, -1.0]]), v=np.array([[3.0, -3.0]]))
    >>> print(C, dz)
    4.0 [[-2.  2.]]
    """
    _check(z, v=v)
    xp, B = get_xp(z=z), z.shape[-2]
    difference = z - v  # (..., B, K)
    return 0.5 * xp.sum(difference * difference, axis=(-2, -1)) / B, difference / B


def _one_hot(xp: Namespace, y: Array, z: Array) -> Array:
    """(..., B, K) of z's dtype: 1 where the class is the label. The class numbers are counted off z, on its device."""
    class_number = xp.cumulative_sum(xp.ones_like(z[..., :1, :].mT, dtype=y.dtype), axis=-2) - 1  # (..., K, 1)
    return xp.astype(class_number == y[..., None, :], z.dtype).mT


def _check(z: Array, v: Array | None = None, y: Array | None = None, **per_student: float | Array) -> None:
    """That z, its targets and the numbers that each student has for itself fit: asked once for a whole cost."""
    if v is None:
        get_float_xp(z=z)
    else:
        get_float_xp(z=z, v=v)
    if z.ndim < 2 or 0 in z.shape:
        raise ValueError(f"z must have shape (..., B, K) with B, K > 0, got {z.shape}")
    if v is not None and not _fits(v.shape, z.shape, own=2):
        raise ValueError(f"v must have z's shape {z.shape} or broadcast to it, got {v.shape}")
    if y is not None:
        get_xp(z=z, y=y)
        if not _fits(y.shape, z.shape[:-1], own=1):
            raise ValueError(f"y must have shape {z.shape[:-1]}, one label a case, or broadcast to it, got {y.shape}")
        if not get_xp(y=y).isdtype(y.dtype, "integral"):
            raise TypeError(f"y must hold integer labels, got {y.dtype}: convert it with astype")
        if on_host(y):
            _check_range(y, z.shape[-1])
    for name, value in per_student.items():
        if not isinstance(value, float) and not _fits(value.shape[:-2], z.shape[:-2], own=0):
            raise ValueError(f"{name} has shape {value.shape}, one number a student, but z has students {z.shape[:-2]}")


def _check_range(y: Array, K: int) -> None:
    """That labels are classes. One that is not would match no class, as if its case had no target at all."""
    if isinstance(y, np.ndarray) and y.dtype == np.int64 and y.view(np.uint64).max() < K:
        return  # the usual labels, in one pass: a negative number reads as a huge one
    xp = get_xp(y=y)
    low, high = int(xp.min(y)), int(xp.max(y))
    if low < 0 or high >= K:
        raise ValueError(
            f"y must hold labels in 0 … K − 1 = {K - 1}, as z has K = {K} classes, got {low if low < 0 else high}: "
            "leave out the cases that have no label, or give z a column for each class"
        )


def _fits(shape: tuple[int, ...], target: tuple[int, ...], own: int) -> bool:
    """Whether the last `own` axes are the target's, and the leading ones, the population's, broadcast to its."""
    if shape == target:
        return True
    if not own <= len(shape) <= len(target) or (own and shape[-own:] != target[-own:]):
        return False
    pairs = zip(reversed(shape[: len(shape) - own]), reversed(target[: len(target) - own]), strict=False)
    return all(s in (1, t) for s, t in pairs)


def _of_cost(weight: float | Array) -> float | Array:
    """A weight (..., 1, 1) of gradients as a weight (...,) of costs; a number stays one."""
    return weight if isinstance(weight, float) else weight[..., 0, 0]
