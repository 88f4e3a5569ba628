"""The exercises of notebook 10: the arithmetic of a step, and where it breaks even with the launches."""

from itertools import pairwise
from typing import Any

from minikd.learn.exercises import Exercise

_NETWORKS: tuple[tuple[int, ...], ...] = ((784, 800, 800, 10), (784, 30, 10), (784, 10))
_BATCHES = tuple((sizes, B) for sizes in _NETWORKS for B in (1, 128))
_LAUNCHES = tuple((sizes, launches, 1e-5, 3e13) for sizes in _NETWORKS[:2] for launches in (15, 95))


def _forward(sizes: Any, B: float) -> float:
    """Count the operations of a product per layer: a multiplication and an addition per weight and case."""
    return float(sum(2 * B * D * H for D, H in pairwise(sizes)))


def _step(sizes: Any, B: float) -> float:
    """Count forward, dW, and the dx of all layers except the first, whose dx is not needed."""
    return 3 * _forward(sizes, B) - _forward(sizes[:2], B)


def _no_step(sizes: Any, B: float) -> dict[str, Any]:
    step, forward, with_dx = _step(sizes, B), _forward(sizes, B), 3 * _forward(sizes, B)
    weights = forward / (2 * B)
    return {
        "the first layer's dx is not computed, because it is not needed": with_dx,
        "a multiplication and an addition are two": step / 2,
        "a multiplication and an addition are two; and the first layer's dx is not computed": with_dx / 2,
        "B is missing: count the whole batch": [step / B, with_dx / B],
        "backward has two products per layer, for dW and dx": 2 * forward,
        "that is the number of weights; a step multiplies each with B cases, forward and backward": [
            weights + biases for biases in (0, sum(sizes[1:]))
        ],
        "a layer is missing": _step(sizes[:-1], B) if len(sizes) > 2 else 0.0,
        "that is only the backward pass; the forward pass has one product per layer too": step - forward,
        "that is only the forward pass; backward has two products per layer": [forward, forward / 2],
    }


def _break_even(sizes: Any, launches: float, overhead: float, rate: float) -> float:
    return launches * overhead / (_step(sizes, 1) / rate)


def _not_even(sizes: Any, launches: float, overhead: float, rate: float) -> dict[str, Any]:
    even, step, forward = _break_even(sizes, launches, overhead, rate), _step(sizes, 1), _forward(sizes, 1)
    return {
        "the fraction is upside down": 1 / even,
        "that counts one launch; a step has several": even / launches,
        "that is only the forward pass; count backward too": even * step / forward,
        "the first layer's dx is not computed": even * step / (3 * forward),
        "a multiplication and an addition are two": even * 2,
        "that is a number of operations; divide by those of one example": even * step,
        "that is the time of all launches; how many examples take as long?": launches * overhead,
        "that is the time of one example; how many take as long as the launches?": step / rate,
        "work takes flops / rate: the rate is on the wrong side": even / rate**2,
    }


EXERCISES = {
    "10.1": Exercise("the floating-point operations of a step", _step, _no_step, _BATCHES),
    "10.2": Exercise("the batch at which work and launches break even", _break_even, _not_even, _LAUNCHES),
}
