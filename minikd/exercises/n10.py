"""The exercises of notebook 10: the arithmetic of a step, and where it breaks even with the launches."""

from typing import Any

from minikd.exercises import Exercise

_NETWORKS: tuple[tuple[int, ...], ...] = ((784, 800, 800, 10), (784, 30, 10), (784, 10))


def _flops(sizes: Any, B: float, forward: int = 1, first_dx: bool = False, two: int = 2) -> float:
    products = [two * B * sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1)]
    weights_and_inputs = 2 * sum(products) - (0 if first_dx else products[0])
    return float(forward * sum(products) + weights_and_inputs)


EXERCISES = {
    "10.1": Exercise(
        "the floating-point operations of a step",
        solution=_flops,
        cases=tuple((sizes, B) for sizes in _NETWORKS for B in (1, 128)),
        mistakes={
            "the first layer's dx is not computed: nobody needs it": lambda sizes, B: _flops(sizes, B, first_dx=True),
            "a multiplication and an addition are two": lambda sizes, B: _flops(sizes, B, two=1),
            "the backward pass alone; the forward pass has a product a layer too": lambda sizes, B: _flops(
                sizes, B, forward=0
            ),
            "the forward pass alone; backward has two products a layer": lambda sizes, B: float(
                sum(2 * B * sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1))
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
            "the forward pass alone; count backward too": lambda sizes, n, overhead, rate: (
                n * overhead * rate / sum(2 * sizes[i] * sizes[i + 1] for i in range(len(sizes) - 1))
            ),
        },
    ),
}
