"""The exercises of notebook 3: a backward pass, and what a test of one is made of."""

from typing import Any

import numpy as np

from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(3)
_STEPS = tuple(float(f"1e-{digits}") for digits in range(1, 13))
_TRUTH = np.array([[2.0, 0.0, -8.0], [0.5, 1.0, 0.0]])
_PAIRS = ((_TRUTH + 0.01 * _rng.normal(size=_TRUTH.shape), _TRUTH), (0 * _TRUTH, 1e-6 * _TRUTH), (3 * _TRUTH, _TRUTH))


def _element_by_element(yours: Any, truth: Any, size: Any = None) -> Any:
    with np.errstate(all="ignore"):
        return np.max(np.abs(yours - truth) / (np.abs(truth) if size is None else size))


def _by_yours(yours: Any, truth: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.max(np.abs(yours - truth)) / np.max(np.abs(yours))


def _exp_sin(x: Any) -> Any:
    return np.exp(np.sin(x))


def _cube(x: Any) -> Any:
    return x**3 - x


def _slope(f: Any, x: Any) -> Any:
    return 3 * x * x - 1 if f is _cube else np.cos(x) * np.exp(np.sin(x))


EXERCISES = {
    "3.1": Exercise("the backward pass of the softmax", gradient="softmax"),
    "3.2": Exercise(
        "a relative error",
        solution=lambda yours, truth: (
            np.linalg.norm((yours - truth).ravel(), np.inf) / np.linalg.norm(truth.ravel(), np.inf)
        ),
        cases=_PAIRS,
        mistakes={
            "absolute: small gradients pass whatever they are": lambda yours, truth: np.max(np.abs(yours - truth)),
            "element by element: it divides by the zeros of the truth": (
                _element_by_element,
                lambda yours, truth: _element_by_element(yours, truth, np.maximum(np.abs(yours), np.abs(truth))),
                lambda yours, truth: _element_by_element(yours, truth, np.abs(yours) + np.abs(truth)),
            ),
            "the mean of the errors, it should be the largest: one wrong element is enough": (
                lambda yours, truth: np.mean(np.abs(yours - truth)) / np.max(np.abs(truth)),
                lambda yours, truth: np.mean(np.abs(yours - truth)) / np.mean(np.abs(truth)),
            ),
            "a ratio of lengths, over all elements; the largest error over the largest element is asked for": (
                lambda yours, truth: np.linalg.norm(yours - truth) / np.linalg.norm(truth)
            ),
            "relative to both gradients; only the truth's size is known to be right": (
                lambda yours, truth: np.max(np.abs(yours - truth)) / max(np.max(np.abs(yours)), np.max(np.abs(truth))),
                lambda yours, truth: np.max(np.abs(yours - truth)) / (np.max(np.abs(yours)) + np.max(np.abs(truth))),
            ),
            "the largest element of the truth needs its absolute value, too": lambda yours, truth: (
                np.max(np.abs(yours - truth)) / np.max(truth)
            ),
            "the other way up": lambda yours, truth: np.max(np.abs(truth)) / np.max(np.abs(yours - truth)),
            "relative to your own gradient, which may be zero or far too large": _by_yours,
            "without the absolute value errors below the truth pass": lambda yours, truth: (
                np.max(yours - truth) / np.max(np.abs(truth))
            ),
        },
    ),
    "3.3": Exercise(
        "a derivative by a complex step",
        solution=_slope,
        cases=((_exp_sin, 0.7), (_cube, -1.3), (_cube, 2.0)),
        tolerance=1e-13,
        mistakes={
            "a difference of two nearly equal numbers loses digits": [
                lambda f, x, h=h: (f(x + h) - f(x - h)) / (2 * h) for h in _STEPS
            ],
            "a one-sided difference: right to half of the digits": [
                lambda f, x, h=h: (f(x + h) - f(x)) / h for h in (*_STEPS[:8], *(-h for h in _STEPS[:8]))
            ],
            "the step is too large: its square must vanish beside 1, take 1e-30": [
                lambda f, x, h=h: f(x + 1j * h).imag / h for h in _STEPS[:6]
            ],
            "the imaginary part must be divided by the step": [
                lambda f, x, h=h: f(x + 1j * h).imag for h in (*_STEPS, 1e-20, 1e-30, 1e-100, 1e-200)
            ],
            "divided twice the step: nothing is subtracted, so one step is enough": lambda f, x: (
                f(x + 1e-30j).imag / 2e-30
            ),
            "the sign": lambda f, x: -f(x + 1e-30j).imag / 1e-30,
            "the real part is the function itself; the derivative is in the imaginary part": lambda f, x: (
                f(x + 1e-30j).real
            ),
        },
    ),
}
