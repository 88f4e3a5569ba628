"""The truth: the derivative of a function of one array, f(x), by complex steps or by central differences.

A complex step, f'(x) = Im f(x + ih)/h, subtracts nothing and so loses no digits. A function that takes only real
numbers is differentiated by central differences, which come with a bound of their error.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.doctor.textbook import largest

EPS = float(np.finfo(np.float64).eps)
STEP = 1e-30  # of the complex step: its square is far below rounding


class Slope(NamedTuple):
    """A derivative, and how exactly it is known."""

    value: NDArray[Any]
    size: Any  # of the numbers that are rounded on the way to it
    slack: Any = 0.0  # how large the error of each number may be; infinite at a kink
    by_complex_step: bool = True  # otherwise by central differences


def complex_step(f: Callable[[Any], Any], x: NDArray[Any]) -> NDArray[Any]:
    """Return ∂f/∂x, by one evaluation per element: Im f(x + ih)/h."""
    derivative = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        stepped = x.astype(np.complex128)
        stepped[index] += 1j * STEP
        derivative[index] = np.imag(f(stepped)) / STEP
    return derivative


def central_differences(f: Callable[[Any], Any], x: NDArray[Any], h: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ∂f/∂x from differences over h, h/2 and h/4, extrapolated to zero (Richardson 1911), and its error.

    The error is infinite at a kink, where the slopes to both sides differ and no number is the derivative.
    """
    derivative, error = np.empty(x.shape), np.empty(x.shape)

    def at(index: tuple[int, ...], step: float) -> float:
        moved = x.copy()
        moved[index] += step
        return float(f(moved))

    here = float(f(x))
    for index in np.ndindex(x.shape):
        values = [(at(index, step), at(index, -step), step) for step in (h, h / 2, h / 4)]
        first = [(ahead - behind) / (2 * step) for ahead, behind, step in values]
        second = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(first)]
        derivative[index] = (16 * second[1] - second[0]) / 15
        noise = 8 * EPS * (max(abs(ahead) for ahead, _, _ in values) + abs(here)) / h
        error[index] = 10 * abs(derivative[index] - second[1]) + 4 * noise
        # How far apart the slopes on both sides are: if the function is smooth, this halves with the step
        gaps = [abs(ahead - 2 * here + behind) / step for ahead, behind, step in values]
        if gaps[2] > 0.9 * gaps[0] and gaps[2] > 1e-4 * abs(first[0]) + 1000 * noise:
            error[index] = np.inf
    return derivative, error


def slope(f: Callable[[Any], Any], x: NDArray[Any], scales: Iterable[float]) -> Slope:
    """Return ∂f/∂x of a learner's function: by complex steps, if these agree with central differences.

    Central differences take their step from the more informative of the scales.
    """
    tried = [central_differences(f, x, 1e-3 * scale) for scale in sorted({spread(x), *scales})]
    by_difference, slack = min(tried, key=lambda pair: float(np.median(pair[1])))
    exact = _complex_step_if_taken(f, x)
    if exact is None or not np.all(np.abs(exact - by_difference) <= slack + 1e-6 * largest(by_difference)):
        return Slope(by_difference, largest(by_difference), slack, by_complex_step=False)
    smooth = np.isfinite(slack)
    return Slope(exact, largest(exact) + _roughness(f, x, exact, smooth), np.where(smooth, 0.0, np.inf))


def _complex_step_if_taken(f: Callable[[Any], Any], x: NDArray[Any]) -> NDArray[Any] | None:
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an imaginary part that is dropped: the differences notice it
            return complex_step(f, x)
    except Exception:  # whatever a function raises that takes no complex numbers
        return None


def _roughness(f: Callable[[Any], Any], x: NDArray[Any], here: NDArray[Any], smooth: NDArray[Any]) -> float:
    """Return how rough the gradient is, in multiples of EPS.

    It is the second difference over steps so small that only rounding is left of it. A gradient that is a small
    difference of large numbers is rough, as q − p is at high T.
    """
    rng, roughest = np.random.default_rng(0), 0.0
    for _ in range(3):
        step = 1e-8 * spread(x) * rng.uniform(-1, 1, x.shape)  # its square, too, is EPS
        ahead, behind = (_complex_step_if_taken(f, moved) for moved in (x + step, x - step))
        if ahead is not None and behind is not None:
            roughest = max(roughest, largest((ahead - 2 * here + behind)[smooth]))
    return roughest / (4 * EPS)


def spread(x: NDArray[Any]) -> float:
    """Return the root of the mean square, or 1 if it is zero."""
    return float(np.sqrt(np.mean(x**2))) or 1.0
