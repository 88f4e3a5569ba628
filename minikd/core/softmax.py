"""E1, the softened softmax: q_i = exp(z_i/T) / Σ_j exp(z_j/T), its logarithm, and the backward pass of both."""

from __future__ import annotations

from minikd.core.array import A, Array, get_xp
from minikd.core.guard import floats, guard, same_shape, temperature


@guard(z=floats, T=temperature())
def log_softmax(z: A, T: float | Array = 1.0) -> A:
    """Return the logarithm of the softened softmax of z, which is finite for every finite input.

        log q_i = u_i − log Σ_j exp(u_j),   u_i = (z_i − max_j z_j) / T

    (Hinton et al. 2015, E1; derivation D1.4.) Adding a number to every logit of a case changes nothing (derivation
    D1.2), so the largest logit is moved to zero first. Then no exponential overflows, and at least one of them is 1, so
    the logarithm is that of a number in [1, K].

    Args:
        z: (..., B, K) float32 or float64, logits in nats.
        T: the temperature, dimensionless: a number > 0, or an array (..., 1, 1) of z's dtype, one per student.

    Returns:
        log q, (..., B, K), in nats.

    Raises:
        ValueError: if T is out of range or of another shape.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> log_softmax(np.array([[1e30, 0.0]]))
    array([[ 0.e+00, -1.e+30]])
    """
    xp = get_xp(z=z)
    u = (z - xp.max(z, axis=-1, keepdims=True)) / T  # (..., B, K), largest 0
    return u - xp.log(xp.sum(xp.exp(u), axis=-1, keepdims=True))  # (..., B, K)


@guard(dlog_q=floats, log_q=same_shape("dlog_q"), T=temperature())
def log_softmax_backward(dlog_q: A, log_q: A, T: float | Array = 1.0) -> A:
    """Return ∂C/∂z, given ∂C/∂log q.

        dz_i = (1/T) (dlog_q_i − q_i Σ_j dlog_q_j)        (derivations D1.6 and D1.8)

    Args:
        dlog_q: (..., B, K) float, ∂C/∂log q.
        log_q: (..., B, K), as `log_softmax` returned it.
        T: the temperature that `log_softmax` had.

    Returns:
        dz, (..., B, K).

    Raises:
        ValueError: if shapes do not match, or T is out of range.
        TypeError: if a dtype is wrong.
    """
    xp = get_xp(log_q=log_q)
    return (1/T) * (dlog_q - xp.exp(log_q) * xp.sum(dlog_q, axis=-1, keepdims=True))  # (..., B, K)  # fmt: skip


@guard(z=floats, T=temperature())
def softmax(z: A, T: float | Array = 1.0) -> A:
    """Return the class probabilities of z, softened by the temperature.

        q_i = exp(z_i/T) / Σ_j exp(z_j/T)        (Hinton et al. 2015, E1; derivations D1.1 and D1.3)

    T = 1 is the ordinary softmax. A higher T gives a softer distribution, which has a higher entropy (derivations D1.10
    and D1.11). It becomes uniform as T → ∞, and all on the largest logit as T → 0 (derivations D1.12 and D1.13).

    Args:
        z: as `log_softmax` takes it.
        T: as `log_softmax` takes it.

    Returns:
        q, (..., B, K), in [0, 1]. It sums to one over K.

    Raises:
        ValueError: as `log_softmax`.
        TypeError: as `log_softmax`.

    >>> import numpy as np
    >>> z = np.array([[4.0, 2.0, 0.0]])
    >>> print(softmax(z).round(3), softmax(z, T=8.0).round(3))
    [[0.867 0.117 0.016]] [[0.419 0.326 0.254]]
    """
    return get_xp(z=z).exp(log_softmax(z, T))


@guard(dq=floats, q=same_shape("dq"), T=temperature())
def softmax_backward(dq: A, q: A, T: float | Array = 1.0) -> A:
    """Return ∂C/∂z, given ∂C/∂q.

        dz_i = (1/T) q_i (dq_i − Σ_j q_j dq_j)        (derivations D1.5 and D1.7)

    Args:
        dq: (..., B, K) float, ∂C/∂q.
        q: (..., B, K), as `softmax` returned it.
        T: the temperature that `softmax` had.

    Returns:
        dz, (..., B, K). Each row sums to zero, because shifting all logits of a case changes nothing (derivation D1.9).

    Raises:
        ValueError: if shapes do not match, or T is out of range.
        TypeError: if a dtype is wrong.
    """
    xp = get_xp(q=q)
    return (1/T) * q * (dq - xp.sum(q * dq, axis=-1, keepdims=True))  # (..., B, K)  # fmt: skip
