"""The exercises of notebook 3: a backward pass, and what a test of one is made of."""

from typing import Any

import numpy as np

from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(3)
_STEPS = tuple(float(f"1e-{digits}") for digits in range(1, 13))
_TRUTH = np.array([[2.0, 0.0, -8.0], [0.5, 1.0, 0.0]])
_PAIRS = ((_TRUTH + 0.01 * _rng.normal(size=_TRUTH.shape), _TRUTH), (0 * _TRUTH, 1e-6 * _TRUTH), (3 * _TRUTH, _TRUTH))


def _relative(yours: Any, truth: Any) -> Any:
    return np.max(np.abs(yours - truth)) / np.max(np.abs(truth))


def _not_relative(yours: Any, truth: Any) -> dict[str, Any]:
    error, own, size = np.abs(yours - truth), np.abs(yours), np.abs(truth)
    largest, largest_own, largest_size, mean = np.max(error), np.max(own), np.max(size), np.mean(error)
    return {
        "absolute: small gradients pass whatever they are": largest,
        "element by element: it divides by the zeros of the truth": [
            np.max(error / below) for below in (size, np.maximum(own, size), own + size)
        ],
        "the mean of the errors; it should be the largest: one wrong element is enough": [
            mean / below for below in (largest_size, np.mean(size))
        ],
        "that is a ratio of lengths; divide the largest error by the largest element": (
            np.linalg.norm(error) / np.linalg.norm(size)
        ),
        "relative to both gradients; only the truth's size is known to be right": [
            largest / below for below in (max(largest_own, largest_size), largest_own + largest_size)
        ],
        "the largest element of the truth needs its absolute value, too": largest / np.max(truth),
        "the fraction is upside down": largest_size / largest,
        "relative to your own gradient, which may be zero or far too large": largest / largest_own,
        "without the absolute value, errors below the truth pass": np.max(yours - truth) / largest_size,
    }


def _exp_sin(x: Any) -> Any:
    return np.exp(np.sin(x))


def _cube(x: Any) -> Any:
    return x**3 - x


_SLOPES = ((_exp_sin, 0.7), (_cube, -1.3), (_cube, 2.0))


def _slope(f: Any, x: Any) -> Any:
    return 3 * x * x - 1 if f is _cube else np.cos(x) * np.exp(np.sin(x))


def _no_complex_step(f: Any, x: Any) -> dict[str, Any]:
    tiny, one_sided = f(x + 1e-30j), (*_STEPS[:8], *(-h for h in _STEPS[:8]))
    stepped = {h: f(x + 1j * h).imag for h in (*_STEPS, 1e-20, 1e-30, 1e-100, 1e-200)}
    return {
        "a difference of two nearly equal numbers loses digits": [(f(x + h) - f(x - h)) / (2 * h) for h in _STEPS],
        "a one-sided difference: right to half of the digits": [(f(x + h) - f(x)) / h for h in one_sided],
        "the step is too large: its square must vanish beside 1, take 1e-30": [stepped[h] / h for h in _STEPS[:6]],
        "the imaginary part must be divided by the step": list(stepped.values()),
        "divided by twice the step: nothing is subtracted, so one step is enough": tiny.imag / 2e-30,
        "the sign": -tiny.imag / 1e-30,
        "the real part is the function itself; the derivative is in the imaginary part": tiny.real,
    }


EXERCISES = {
    "3.1": Exercise("the backward pass of the softmax", gradient="softmax"),
    "3.2": Exercise("a relative error", _relative, _not_relative, _PAIRS),
    "3.3": Exercise("a derivative by a complex step", _slope, _no_complex_step, _SLOPES, tolerance=1e-13),
}
