"""The costs of distillation: soft, hard, both together (E2, E6, E7), and matching logits (E4).

Every cost takes logits, sums over the K classes and averages over the B cases. It returns (C, dz), the cost and its
gradient with respect to the student's logits, from one function, so dz is always the gradient of this C. There
is no option to average over the classes: that shrinks the gradient by K, and is the commonest bug of distillation code.

Targets are keyword-only, so nobody can swap teacher and student by position.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minikd.core.array import A, Array, get_xp, on_host, one_hot
from minikd.core.guard import Arguments, guard, labels, like, logits, optional, temperature, weight
from minikd.core.softmax import log_softmax, softmax


@guard(z=logits, v=like("z"), T=temperature("z"))
def soft_cross_entropy(z: A, *, v: A, T: float | Array) -> tuple[A, A]:
    """Return the cross-entropy of the student's softened probabilities q with the teacher's, p, both at temperature T.

        C = −(1/B) Σ_b Σ_i p_i log q_i,      dz_i = (1/T) (q_i − p_i) / B

    (Hinton et al. 2015, E2; derivation D2.1 to D2.5.) The cost of a case is the entropy of p plus KL(p‖q), whose
    gradient is the same. So it is at least that entropy, and equals it where z = v up to a constant (derivation D2.7 to
    D2.9). It is convex in z, and a step against dz leads towards the teacher (derivations D2.10 and D2.11). At low T a
    class far below the top in both z and v has almost no gradient (E5; derivation D4.1 to D4.6). Its curvature is the
    Fisher information of q, which times z − v is the gradient near the teacher (derivations D12.6 and D12.7). A student
    that matches at one T matches at every T, exactly or within bounds (derivation D12.12 to D12.14).

    Args:
        z: (..., B, K) float, the student's logits in nats.
        v: the teacher's logits in nats, of z's dtype and of z's shape, or broadcasting to it.
        T: the temperature, dimensionless: a number > 0, or an array (..., 1, 1) of z's dtype, one per student.

    Returns:
        C, (...,), in nats: summed over K, averaged over B.
        dz, of z's shape.

    Raises:
        ValueError: if shapes or devices do not match, or T is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> z, v = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]])
    >>> C, dz = soft_cross_entropy(z, v=v, T=8.0)
    >>> print(f"{C:.4f}", dz.round(5))
    1.0726 [[-0.00434  0.00523 -0.00089]]
    """
    xp, B = get_xp(z=z), z.shape[-2]
    log_q = log_softmax(z, T)  # (..., B, K)
    q, p = xp.exp(log_q), softmax(v, T)  # (..., B, K)
    C = -xp.sum(p * log_q, axis=(-2, -1)) / B  # (...,)
    dz = (1/T) * (q - p) / B  # (..., B, K)  # fmt: skip
    return C, dz


@guard(z=logits, y=labels("z"))
def hard_cross_entropy(z: A, *, y: Array) -> tuple[A, A]:
    """Return the cross-entropy of the student's probabilities at T = 1 with the labels.

    A label is a soft target that puts all its weight on one class. It pushes each wrong class i down by q_i, so two
    of them are pushed equally only if their logits are equal.

        C = −(1/B) Σ_b log q_y,      dz_i = (q_i − [i = y]) / B        (derivation D2.6)

    Args:
        z: (..., B, K) float, the student's logits in nats.
        y: (B,) or (..., B) integer labels in 0 … K − 1. On a GPU, where reading them would wait, their range is not
            checked here: `Dataset` has checked it. Check labels of your own.

    Returns:
        C, (...,), in nats: averaged over B.
        dz, of z's shape.

    Raises:
        ValueError: if shapes or devices do not match, or a label is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> C, dz = hard_cross_entropy(np.array([[2.0, -1.0, 0.5]]), y=np.array([0]))
    >>> print(f"{C:.4f}", dz.round(4))
    0.2413 [[-0.2144  0.0391  0.1753]]
    """
    xp, B = get_xp(z=z), z.shape[-2]
    log_q = log_softmax(z)  # (..., B, K)
    q, p = xp.exp(log_q), one_hot(y, z)  # (..., B, K)
    C = -xp.sum(p * log_q, axis=(-2, -1)) / B  # (...,)
    dz = (q - p) / B  # (..., B, K)
    return C, dz


def _weight_with_its_targets(name: str, alpha: Any, given: Arguments) -> Any:
    """Check alpha: it must be a weight, and every target that it gives weight to must be there."""
    alpha = weight("z")(name, alpha, given)
    single = alpha if isinstance(alpha, float) else None
    if given["v"] is None and single != 0:
        raise ValueError(f"alpha = {_shown(alpha)} gives weight to soft targets, but v is None: pass v, or alpha=0.0")
    if given["y"] is None and single != 1:
        raise ValueError(f"alpha = {_shown(alpha)} gives weight to hard targets, but y is None: pass y, or alpha=1.0")
    return alpha


def _shown(alpha: Any) -> Any:
    """A weight, or those of a population, in one line."""
    return alpha if isinstance(alpha, float) else np.ravel(np.asarray(alpha)).tolist() if on_host(alpha) else "an array"


DISTILLATION = {
    "z": logits,
    "v": optional(like("z")),
    "y": optional(labels("z")),
    "T": temperature("z"),
    "alpha": _weight_with_its_targets,
}
"""The rules for the arguments of `distillation_loss`, on every engine."""


@guard(**DISTILLATION)
def distillation_loss(
    z: A,
    *,
    v: A | None = None,
    y: Array | None = None,
    T: float | Array = 1.0,
    alpha: float | Array = 1.0,
) -> tuple[A, A]:
    """Return the student's cost: soft targets with weight alpha, hard targets with weight 1 − alpha (E6, E7).

        C = alpha T² C_soft(z, v, T) + (1 − alpha) C_hard(z, y)        (derivations D5.1 and D5.2)

    The soft gradient shrinks as 1/T². The factor T² undoes that, so alpha keeps its meaning as T changes. The balance
    is asymptotic in T, and not exact (derivations D5.3 and D5.4); at low T the soft part fades (derivation D5.7).
    Bounds that hold for every T are in derivations D5.5 and D5.6. Without T² it is the cost of another alpha
    (derivation D5.8). alpha = 1 needs no labels, and alpha = 0 needs no teacher.

    Args:
        z: as `soft_cross_entropy` takes it.
        v: as `soft_cross_entropy` takes it; None only where alpha is the number 0.
        y: as `hard_cross_entropy` takes it; None only where alpha is the number 1.
        T: as `soft_cross_entropy` takes it.
        alpha: the weight of the soft targets, dimensionless: a number in [0, 1], or an array (..., 1, 1) of z's dtype,
            one per student.

    Returns:
        C, (...,), in nats.
        dz, of z's shape.

    Raises:
        ValueError: as the two costs. Also if alpha is out of range, or a target that it gives weight to is None.
        TypeError: as the two costs.

    >>> import numpy as np
    >>> z, v, y = np.array([[2.0, -1.0, 0.5]]), np.array([[3.0, -2.0, 1.0]]), np.array([0])
    >>> C, dz = distillation_loss(z, v=v, y=y, T=8.0, alpha=0.9)
    >>> print(dz.round(4))
    [[-0.2715  0.305  -0.0335]]
    """
    soft_weight = alpha * T**2  # the only T² of the core
    hard_weight = 1 - alpha
    if v is None or _is(alpha, 0):
        return hard_cross_entropy(z, y=y)  # type: ignore[arg-type]  # alpha < 1, so y is there
    C_soft, dz_soft = soft_cross_entropy(z, v=v, T=T)
    if y is None or _is(alpha, 1):
        return _of_cost(soft_weight) * C_soft, soft_weight * dz_soft
    C_hard, dz_hard = hard_cross_entropy(z, y=y)
    C = _of_cost(soft_weight) * C_soft + _of_cost(hard_weight) * C_hard  # (...,)
    dz = soft_weight * dz_soft + hard_weight * dz_hard  # (..., B, K)
    return C, dz


def _is(alpha: float | Array, end: float) -> bool:
    """Return whether alpha is a single number at this end of its range. Then one of the two costs has no weight."""
    return isinstance(alpha, float | int) and alpha == end


def _of_cost(weight: float | Array) -> float | Array:
    """Return a weight of gradients, (..., 1, 1), as a weight of costs, (...,). A number stays a number."""
    return weight if isinstance(weight, float | int) else weight[..., 0, 0]


@guard(z=logits, v=like("z"))
def logit_matching(z: A, *, v: A) -> tuple[A, A]:
    """Return half the squared distance of the logits: what distillation becomes as T → ∞, for zero-mean logits (E4).

        C = (1/B) Σ_b Σ_i ½ (z_i − v_i)²,      dz_i = (z_i − v_i) / B        (Hinton et al. 2015, E4)

    T² times the gradient of the soft cross-entropy tends to 1/K of this one. T² times its cost, minus the teacher's
    entropy, tends to 1/K of this cost (derivations D3.2, D3.3 and D3.13). `minikd.theory.limits` says how near it is
    at a given T. At every T the natural gradient of the soft cost is z − v less its mean, if z is near the teacher
    (derivation D12.8 to D12.11).

    Args:
        z: as `soft_cross_entropy` takes it.
        v: as `soft_cross_entropy` takes it.

    Returns:
        C, (...,), in nats². It overflows where the square of a difference does.
        dz, of z's shape.

    Raises:
        ValueError: if shapes or devices do not match.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> C, dz = logit_matching(np.array([[1.0, -1.0]]), v=np.array([[3.0, -3.0]]))
    >>> print(C, dz)
    4.0 [[-2.  2.]]
    """
    xp, B = get_xp(z=z), z.shape[-2]
    difference = z - v  # (..., B, K)
    C = 0.5 * xp.sum(difference * difference, axis=(-2, -1)) / B  # (...,)
    dz = difference / B  # (..., B, K)
    return C, dz
