"""The exercises of notebook 10: the arithmetic of a step, and where it breaks even with the launches."""

from typing import Any

from minikd.learn.exercises import Exercise

_NETWORKS: tuple[tuple[int, ...], ...] = ((784, 800, 800, 10), (784, 30, 10), (784, 10))


def _flops(sizes: Any, B: float, forward: int = 1, first_dx: bool = False, two: int = 2) -> float:
    products = [two * B * sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1)]
    weights_and_inputs = 2 * sum(products) - (0 if first_dx else products[0])
    return float(forward * sum(products) + weights_and_inputs)


def _forward(sizes: Any, B: float) -> float:
    return float(sum(2 * B * sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1)))


EXERCISES = {
    "10.1": Exercise(
        "the floating-point operations of a step",
        solution=_flops,
        cases=tuple((sizes, B) for sizes in _NETWORKS for B in (1, 128)),
        mistakes={
            "the first layer's dx is not computed: nobody needs it": lambda sizes, B: _flops(sizes, B, first_dx=True),
            "a multiplication and an addition are two": lambda sizes, B: _flops(sizes, B, two=1),
            "a multiplication and an addition are two; and the first layer's dx is not computed": lambda sizes, B: (
                _flops(sizes, B, first_dx=True, two=1)
            ),
            "of the whole batch: B is missing": (
                lambda sizes, B: _flops(sizes, 1),
                lambda sizes, B: _flops(sizes, 1, first_dx=True),
            ),
            "backward has two products per layer, for dW and dx": lambda sizes, B: 2 * _forward(sizes, B),
            "the number of weights; a step multiplies each with B cases, forward and backward": (
                lambda sizes, B: _forward(sizes, 0.5),
                lambda sizes, B: _forward(sizes, 0.5) + sum(sizes[1:]),
            ),
            "a layer is missing": lambda sizes, B: _flops(sizes[:-1], B) if len(sizes) > 2 else 0.0,
            "that is only the backward pass; the forward pass has one product per layer too": lambda sizes, B: _flops(
                sizes, B, forward=0
            ),
            "that is only the forward pass; backward has two products per layer": (
                lambda sizes, B: _forward(sizes, B),
                lambda sizes, B: _forward(sizes, B / 2),
            ),
        },
    ),
    "10.2": Exercise(
        "the batch at which work and launches break even",
        solution=lambda sizes, launches, overhead, rate: launches * overhead / (_flops(sizes, 1) / rate),
        cases=tuple((sizes, launches, 1e-5, 3e13) for sizes in _NETWORKS[:2] for launches in (18, 95)),
        mistakes={
            "the other way up": lambda sizes, n, overhead, rate: _flops(sizes, 1) / rate / (n * overhead),
            "one launch; a step has several": lambda sizes, n, overhead, rate: overhead * rate / _flops(sizes, 1),
            "that is only the forward pass; count backward too": lambda sizes, n, overhead, rate: (
                n * overhead * rate / _forward(sizes, 1)
            ),
            "the first layer's dx is not computed": lambda sizes, n, overhead, rate: (
                n * overhead * rate / _flops(sizes, 1, first_dx=True)
            ),
            "a multiplication and an addition are two": lambda sizes, n, overhead, rate: (
                n * overhead * rate / _flops(sizes, 1, two=1)
            ),
            "operations; divide by those of one example": lambda sizes, n, overhead, rate: n * overhead * rate,
            "seconds of all launches; how many examples take as long?": lambda sizes, n, overhead, rate: n * overhead,
            "seconds of one example; how many take as long as the launches?": lambda sizes, n, overhead, rate: (
                _flops(sizes, 1) / rate
            ),
            "work takes flops / rate: the rate is on the wrong side": lambda sizes, n, overhead, rate: (
                n * overhead / (_flops(sizes, 1) * rate)
            ),
        },
    ),
}
