"""A step with momentum: velocity = momentum velocity − learning_rate gradient, then parameters + velocity."""

from typing import Any

from minikd.doctor.problem import Argument, Made, Outputs, Problem
from minikd.doctor.textbook import largest


def _forward(parameters: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float) -> Outputs:
    velocity = momentum * velocity - learning_rate * gradient
    return parameters + velocity, velocity


def _recipe(
    made: Made, parameters: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float
) -> Outputs:
    conventions = {  # the factors of the gradient in the velocity, and of the velocity in the step
        "another convention: the learning rate outside the velocity": [(1, -learning_rate), (-1, learning_rate)],
        "another convention: the velocity points uphill": (learning_rate, -1),
        "another convention: an average of the gradients": (1 - momentum, -learning_rate),
    }
    of_gradient, of_velocity = made("convention", (0, 0), conventions)
    if of_gradient:
        new = momentum * velocity + of_gradient * gradient
        return parameters + of_velocity * new, new
    minus = made("gradient's sign", -1, {"sign of the gradient": 1})
    wrong_memory = {
        "sign of the momentum": -momentum,
        "momentum forgotten": 0.0,
        "1 − momentum on the old velocity": 1 - momentum,
        "momentum applied twice": momentum**2,
    }
    wrong_rate = {
        "1 − momentum on the gradient": (1 - momentum) * learning_rate,
        "momentum on the gradient too": momentum * learning_rate,
        "learning rate missing": 1.0,
        "learning rate applied twice": learning_rate**2,
    }
    memory, rate = made("memory", momentum, wrong_memory), made("rate", learning_rate, wrong_rate)
    memory, rate = made("rate", (memory, rate), {"learning rate and momentum swapped": (learning_rate, momentum)})
    new = memory * velocity + minus * rate * gradient
    wrong_step = {
        "sign of the step": -new,
        "learning rate applied twice": learning_rate * new,
        "momentum applied twice": momentum * new,
        "parameters moved by the gradient": -learning_rate * gradient,
        "parameters moved by the old velocity": velocity,
        "Nesterov's step": memory * new - rate * gradient,
        "sign of the step, and the learning rate applied twice": -learning_rate * new,
        "parameters not moved": 0.0,
    }
    return parameters + made("step", new, wrong_step), made("returned", new, {"the old velocity returned": velocity})


ARRAY = Argument("DH", "array")
PROBLEM = Problem(
    name="momentum",
    arguments={
        "parameters": ARRAY,
        "velocity": ARRAY,
        "gradient": ARRAY,
        "learning_rate": Argument("", "rate"),
        "momentum": Argument("", "weight of the past"),
    },
    overwrites=("parameters", "velocity"),
    wrt=(),
    forward=_forward,
    recipe=_recipe,
    size=lambda parameters, velocity, gradient, learning_rate, momentum: (
        (largest(parameters) + largest(velocity) + learning_rate * largest(gradient),) * 2
    ),
)
