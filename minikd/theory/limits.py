"""How high is a high temperature? E3 and E4 as functions, with bounds that hold for all logits.

As T grows, distillation tends to matching logits. These functions say how near it is for given logits: the gradient of
each case, its first terms in 1/T, and a bound on the rest. Training needs none of them.
"""

from __future__ import annotations

import math

import numpy as np

from minikd.core.array import A, Array, Namespace, get_xp
from minikd.core.guard import floats, guard, number, temperature

_tolerance = number(lambda tolerance: 0 < tolerance < math.inf, "a finite number > 0: 0.01 is one per cent")


@guard(z=floats, v=floats, T=temperature())
def first_order_gradient(z: A, *, v: A, T: float | Array) -> A:
    """Return the paper's approximation of the soft gradient of each case, from exp(x) ≈ 1 + x.

        dz_i ≈ (1/T) [ (1 + z_i/T) / (K + Σ_j z_j/T) − (1 + v_i/T) / (K + Σ_j v_j/T) ]

    (Hinton et al. 2015, E3; derivation D3.1.) With logits of zero mean it is (z_i − v_i)/(K T²) (E4, derivation D3.2).
    With other logits it differs from that, and tends to the difference of the logits after their means are subtracted
    (derivation D3.3).

    Args:
        z: (..., B, K) float, the student's logits in nats.
        v: (..., B, K) float, the teacher's logits in nats.
        T: the temperature, a number > 0 or an array (..., 1, 1).

    Returns:
        (..., B, K), the gradient of each case's own cost, not divided by B.

    Raises:
        ValueError: if 1 + z/T sums to 0 over a case, or T is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> z, v = np.array([[1.0, 0.0, -1.0]]), np.array([[3.0, -1.0, -2.0]])
    >>> print(first_order_gradient(z, v=v, T=10.0).round(5))
    [[-0.00667  0.00333  0.00333]]
    """
    xp = get_xp(z=z)
    return (1 / T) * (_linear_softmax(xp, z / T) - _linear_softmax(xp, v / T))


@guard(z=floats, v=floats, T=temperature())
def second_order_term(z: A, *, v: A, T: float | Array) -> A:
    """Return the next term of the soft gradient after (z_i − v_i)/(K T²): the largest part that logit matching misses.

        ((z_i² − mean z²) − (v_i² − mean v²)) / (2 K T³),   z and v minus their means        (derivation D3.12)

    Args:
        z: as `first_order_gradient` takes it.
        v: as `first_order_gradient` takes it.
        T: as `first_order_gradient` takes it.

    Returns:
        (..., B, K).

    Raises:
        ValueError: if T is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> print(second_order_term(np.array([[2.0, -1.0, -1.0]]), v=np.zeros((1, 3)), T=10.0).round(6))
    [[ 0.000333 -0.000167 -0.000167]]
    """
    xp = get_xp(z=z)
    z, v = _zero_mean(xp, z), _zero_mean(xp, v)
    square = z * z - v * v  # (..., B, K)
    return _zero_mean(xp, square) / (2 * z.shape[-1] * T**3)


@guard(z=floats, v=floats, T=temperature())
def remainder_bound(z: A, *, v: A, T: float | Array) -> A:
    """Return a bound on how far the soft gradient of a case can be from logit matching, for every T, K and all logits.

        |(1/T)(q_i − p_i) − (z_i − v_i)/(K T²)| ≤ min(R_z² + R_v², R_{z−v} (R_z + R_v)) / (12√3 T³)

    Here z and v have zero mean, and R_u is the spread of u: its largest element of a case minus its smallest. The two
    bounds are derivation D3.4 to D3.10 and derivation D3.16 to D3.33. The second vanishes as z tends to v. Both are
    sharp to within a thousandth (derivation D3.11).

    Args:
        z: as `first_order_gradient` takes it.
        v: as `first_order_gradient` takes it.
        T: as `first_order_gradient` takes it.

    Returns:
        (..., B, 1).

    Raises:
        ValueError: if T is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> print(remainder_bound(np.array([[3.0, 0.0]]), v=np.array([[0.0, 4.0]]), T=8.0).round(6))
    [[0.002349]]
    >>> print(remainder_bound(np.array([[3.0, 0.0]]), v=np.array([[4.0, 0.0]]), T=8.0).round(6))
    [[0.000658]]
    """
    return _product_of_spreads(get_xp(z=z), z, v) / (12 * math.sqrt(3) * T**3)


@guard(z=floats, v=floats, tolerance=_tolerance)
def sufficient_temperature(z: A, *, v: A, tolerance: float) -> A:
    """Return a temperature above which logit matching is proven right to within a tolerance, case by case.

        T = K min(R_z² + R_v², R_{z−v} (R_z + R_v)) / (12√3 tolerance max_i |z_i − v_i|)

    Here z and v have zero mean, and R_u is the spread of u (derivations D3.14 and D3.34). At this temperature or a
    higher one, every element of the soft gradient differs from that of logit matching by at most tolerance times the
    largest element of logit matching. T is never above K (R_z + R_v) / (6√3 tolerance) (derivation D3.35).

    Args:
        z: as `first_order_gradient` takes it.
        v: as `first_order_gradient` takes it.
        tolerance: a number > 0, relative: 0.01 for one per cent.

    Returns:
        (..., B, 1), infinite where z − v is constant, because there is nothing to match.

    Raises:
        ValueError: if the tolerance is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> z, v = np.zeros((1, 10)), np.array([[9.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    >>> print(sufficient_temperature(z, v=v, tolerance=0.1).round(1))
    [[48.7]]
    """
    xp = get_xp(z=z)
    return _per_difference(xp, z.shape[-1] * _product_of_spreads(xp, z, v) / (12 * math.sqrt(3) * tolerance), z, v)


@guard(z=floats, v=floats, tolerance=_tolerance)
def estimated_temperature(z: A, *, v: A, tolerance: float) -> A:
    """Estimate the temperature at which logit matching is right to within a tolerance, from the next two terms.

        T ≈ max(max_i |a_i| / (2 tolerance D), √(max_i |b_i| / (6 tolerance D))),   D = max_i |z_i − v_i|
        a_i = (z_i² − mean z²) − (v_i² − mean v²)
        b_i = (z_i³ − 3 z_i mean z² − mean z³) − (v_i³ − 3 v_i mean v² − mean v³)        (derivation D3.15)

    Here the means of z and v are subtracted first. The second temperature counts where all a_i are about zero: for two
    classes, or v = −z. This is not a bound. It is more accurate for a smaller tolerance.

    Args:
        z: as `first_order_gradient` takes it.
        v: as `first_order_gradient` takes it.
        tolerance: as `sufficient_temperature` takes it.

    Returns:
        (..., B, 1), as `sufficient_temperature`.

    Raises:
        ValueError: if the tolerance is out of range.
        TypeError: if a dtype is wrong.

    >>> import numpy as np
    >>> z, v = np.zeros((1, 10)), np.array([[9.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    >>> print(estimated_temperature(z, v=v, tolerance=0.1).round(1))
    [[35.5]]
    """
    xp, K = get_xp(z=z), z.shape[-1]
    second, third = second_order_term(z, v=v, T=1.0), _third_order_term(xp, z, v)  # (..., B, K)
    from_second, from_third = (
        _per_difference(xp, K * _largest(xp, term) / tolerance, z, v) for term in (second, third)
    )
    return xp.maximum(from_second, xp.sqrt(from_third))


def _linear_softmax(xp: Namespace, u: A) -> A:
    """Return the softmax with 1 + u in place of exp(u)."""
    total = u.shape[-1] + xp.sum(u, axis=-1, keepdims=True)
    if isinstance(total, np.ndarray) and not np.all(total):  # on a GPU, looking would have to wait
        raise ValueError("1 + z/T sums to 0 over a case: T is far too low for a first-order approximation, raise it")
    return (1 + u) / total


def _third_order_term(xp: Namespace, z: A, v: A) -> A:
    """Return the term of the soft gradient in 1/T⁴, (..., B, K), at T = 1 (derivation D3.15)."""
    z, v = _zero_mean(xp, z), _zero_mean(xp, v)
    cubic = z**3 - v**3 - 3 * (z * _mean(xp, z * z) - v * _mean(xp, v * v))  # (..., B, K)
    return (cubic - _mean(xp, z**3 - v**3)) / (6 * z.shape[-1])


def _mean(xp: Namespace, z: A) -> A:
    return xp.sum(z, axis=-1, keepdims=True) / z.shape[-1]


def _zero_mean(xp: Namespace, z: A) -> A:
    return z - _mean(xp, z)


def _spread(xp: Namespace, z: A) -> A:
    return xp.max(z, axis=-1, keepdims=True) + xp.max(-z, axis=-1, keepdims=True)


def _product_of_spreads(xp: Namespace, z: A, v: A) -> A:
    """Return the smaller of R_z² + R_v² and R_{z−v} (R_z + R_v), (..., B, 1)."""
    R_z, R_v = _spread(xp, z), _spread(xp, v)
    sum_of_squares, product = R_z**2 + R_v**2, _spread(xp, z - v) * (R_z + R_v)
    return -xp.maximum(-sum_of_squares, -product)


def _largest(xp: Namespace, x: A) -> A:
    return xp.max(xp.maximum(x, -x), axis=-1, keepdims=True)


def _per_difference(xp: Namespace, numerator: A, z: A, v: A) -> A:
    """Return a numerator (..., B, 1) over max_i |z_i − v_i|, infinite where that is zero."""
    largest = _largest(xp, _zero_mean(xp, z - v))  # (..., B, 1)
    same: A = largest <= 0  # never below 0
    return xp.where(same, math.inf, numerator / xp.where(same, 1.0, largest))
