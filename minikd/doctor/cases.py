"""Where the doctor tries a gradient: arguments that it draws, or the learner's own, and the truth there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.doctor.oracle import EPS, Slope, complex_step
from minikd.doctor.problem import Argument, Made, Mistake, Outputs, Problem

ROUNDING = 64  # times EPS times the numbers that are added up: the largest error of a right gradient, however written
TINY = 1e-290  # below this, a complex step underflows
LARGEST = 5000  # elements; one forward pass each
TELLING = 1e-3  # relative: if rounding is larger, a probe can show that yours is wrong, but not how right it is
UPSTREAM = "(dout)"  # the key of a gradient from above that is passed by position


class Probe(NamedTuple):
    """One place to try a gradient at, and the truth there."""

    where: str
    given: dict[str, Any]  # the arguments, with the gradient from above
    offered: dict[str, Any]  # what the learner's function may ask for
    slopes: tuple[Slope, ...]  # the truth, for each output
    cost: float | None = None

    @property
    def truth(self) -> Outputs:
        return tuple(slope.value for slope in self.slopes)

    def permitted(self, eps: float) -> list[Any]:
        """Return, for each output, how far a right gradient may be from the truth."""
        return [ROUNDING * eps * slope.size + slope.slack + TINY for slope in self.slopes]

    def is_finite(self) -> bool:
        return all(np.all(np.isfinite(truth)) for truth in self.truth)

    def uncertainty(self) -> float:
        """Return the error a right gradient may have, relative to its largest element: the worst of the outputs."""
        sizes = map(judged_sizes, self.truth, self.permitted(EPS))
        return max((rounding / size for size, rounding in sizes if size), default=math.inf)


def judged_sizes(truth: NDArray[Any], permitted: Any) -> tuple[float, float]:
    """Return the largest number of the truth and the largest permitted error, where there is a derivative."""
    permitted = np.broadcast_to(permitted, truth.shape)
    judged = np.isfinite(permitted)
    size, rounding = (float(np.max(np.abs(array), initial=0.0, where=judged)) for array in (truth, permitted))
    return size, rounding


@dataclass(eq=False)
class Case:
    """Where to try a gradient, and what the known mistakes would give there."""

    problem: str  # by name
    outputs: tuple[str, ...]
    probes: list[Probe]
    method: str  # where the truth comes from
    recipe: Callable[[Made, Probe], Outputs]
    overwrites: bool = False  # whether the function may write into the arguments that it returns
    twins: bool = False  # whether the last probe is the first one with another z
    kept: dict[int, tuple[list[tuple[Mistake, ...]], NDArray[Any]]] = field(default_factory=dict)  # of the search

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """All that the recipe can make."""
        made = Made()
        self.recipe(made, self.probes[0])
        return tuple(made.possible)

    @property
    def oracle(self) -> str:
        """The method, and how many digits it can tell, if any."""
        told = max(share for share in (probe.uncertainty() for probe in self.probes) if share <= TELLING)
        return f"{self.method}; good to {int(-math.log10(told))} digits"


@lru_cache(maxsize=64)
def case_of(problem: Problem, seed: int) -> Case:
    """Return the places to try a known problem at: four shapes, one of them square, and for a cost a second z."""
    rng = np.random.default_rng(seed)
    drawn = []
    for square in (False, False, False, True):
        B, K, D, H = (int(size) for size in rng.permutation([3, 4, 5, 6, 7])[:4])  # no two alike, unless square
        sizes = {"B": B, "K": K, "D": D, "H": D if square else H}
        given = {key: draw(rng, argument, sizes) for key, argument in problem.arguments.items()}
        drawn.append((given | _upstream(problem, rng, sizes), sizes))
    if problem.is_cost:
        given, sizes = drawn[0]
        drawn.append((given | {"z": draw(rng, problem.arguments["z"], sizes)}, sizes))
    return Case(
        problem.name,
        problem.outputs,
        [_probe(problem, given, sizes) for given, sizes in drawn],
        "the definition of a step" if problem.overwrites else "complex step through the textbook's forward pass",
        recipe=lambda made, probe: problem.recipe(made, **probe.given),
        overwrites=bool(problem.overwrites),
        twins=problem.is_cost,
    )


DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...], int], Any]] = {  # by kind; no number is 0, ½ or 1
    "array": lambda rng, shape, K: rng.uniform(0.4, 0.8) + 1.5 * rng.standard_normal(shape),  # not of mean zero
    "away from zero": lambda rng, shape, K: rng.uniform(0.1, 2.0, shape) * rng.choice([-1, 1], shape),
    "labels": lambda rng, shape, K: rng.integers(0, K, shape),
    "mask": lambda rng, shape, K: rng.permuted(np.arange(math.prod(shape)) % 3 > 0).reshape(shape),
    "temperature": lambda rng, shape, K: rng.uniform(0.6, 0.8) if rng.random() < 0.3 else rng.uniform(1.3, 3.7),
    "weight": lambda rng, shape, K: rng.uniform(0.2, 0.4),
    "probability": lambda rng, shape, K: rng.uniform(0.15, 0.4),
    "rate": lambda rng, shape, K: rng.uniform(0.05, 0.3),
    "weight of the past": lambda rng, shape, K: rng.uniform(0.6, 0.9),
}
DRAWS["logits"] = DRAWS["array"]


def draw(rng: np.random.Generator, argument: Argument, sizes: Mapping[str, int]) -> Any:
    """Return an argument with nothing special about it: no two numbers are equal, and none is the size of an axis."""
    return DRAWS[argument.kind](rng, tuple(sizes[axis] for axis in argument.axes), sizes.get("K", 0))


def _upstream(problem: Problem, rng: np.random.Generator, sizes: Mapping[str, int]) -> dict[str, Any]:
    return {name: draw(rng, argument, sizes) for name, argument in problem.upstream.items()}


def _probe(problem: Problem, given: dict[str, Any], sizes: Mapping[str, int], where: str = "") -> Probe:
    dout = next((given[name] for name in problem.upstream), 1.0)
    arguments = {name: given[name] for name in problem.arguments}

    with np.errstate(all="ignore"):
        truth = tuple(complex_step(along(problem.forward, arguments, dout, name), given[name]) for name in problem.wrt)
        truth = truth or problem.forward(**arguments)
        cost = float(problem.forward(**arguments)) if problem.is_cost else None
        size, extras = problem.size(**given), problem.extras(**given)
    used = {axis for argument in problem.arguments.values() for axis in argument.axes}
    where = where or ", ".join(f"{axis} = {sizes[axis]}" for axis in sizes if axis in used)
    return Probe(where, given, given | extras, tuple(map(Slope, truth, size)), cost)


def along(forward: Callable[..., Any], arguments: Mapping[str, Any], dout: Any, name: str) -> Callable[[Any], Any]:
    """Return Σ dout forward as a function of the argument of that name."""
    return lambda x: np.sum(dout * np.asarray(forward(**copies({**arguments, name: x}))))


# ---- arguments of the learner's own ----------------------------------------------------------------------------------


def own_probe(problem: Problem, arguments: dict[str, Any], rng: np.random.Generator) -> Probe:
    """Return the learner's own arguments as a place to try, after checking that they fit the problem.

    Raises:
        TypeError: if an argument is missing, unknown or of another type.
        ValueError: if an argument has another shape, or is out of range.
    """
    wanted = {**problem.arguments, **{name: problem.upstream[name] for name in problem.upstream if name in arguments}}
    if arguments.keys() != wanted.keys():
        raise TypeError(
            f"{problem.name} has the arguments {', '.join(problem.arguments)}: got {', '.join(arguments)}; "
            "give all of them, or none"
        )
    given = {name: _converted(name, arguments[name], argument.kind) for name, argument in wanted.items()}
    sizes: dict[str, int] = {}
    for name, (axes, _) in wanted.items():
        shape = np.shape(given[name])
        if len(shape) != len(axes):
            rule = f"have the axes ({', '.join(axes)})" if axes else "be a single number"
            raise ValueError(f"{name} must {rule}, got shape {shape}: one student, no leading axes")
        for axis, length in zip(axes, shape, strict=True):
            if sizes.setdefault(axis, length) != length or length == 0:
                raise ValueError(f"{name} must have {axis} = {sizes[axis] or 'one or more'}, got shape {shape}")
    for name, (_, kind) in wanted.items():
        _check_range(name, given[name], kind, sizes)
    check_count({name: given[name] for name in problem.wrt})
    given = _upstream(problem, rng, sizes) | given
    probe = _probe(problem, {name: exact(value) for name, value in given.items()}, sizes, "your own arguments")
    if not probe.is_finite():
        raise ValueError(f"{problem.name} has no finite gradient at your arguments: are they too large?")
    return probe._replace(offered=probe.offered | given)


def _converted(name: str, value: Any, kind: str) -> Any:
    """Return a number as a float; a list as an array; integers as floats, unless they are labels."""
    dtypes, words = {"labels": ("iu", "integers"), "mask": ("b", "booleans")}.get(kind, ("iuf", "real numbers"))
    array = np.asarray(value)
    if array.dtype.kind not in dtypes:
        raise TypeError(f"{name} must hold {words}, got {array.dtype}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {array.tolist()}")
    if array.ndim == 0:
        return array.item()
    return array.astype(float) if dtypes == "iuf" and array.dtype.kind != "f" else array


def _check_range(name: str, value: Any, kind: str, sizes: Mapping[str, int]) -> None:
    if kind == "labels" and not 0 <= np.min(value) <= np.max(value) < sizes["K"]:
        raise ValueError(f"{name} must be labels from 0 to K − 1 = {sizes['K'] - 1}, got {value.tolist()}")
    if kind == "temperature" and value <= 0:
        raise ValueError(f"{name} must be a finite number > 0, got {value}")
    if kind == "probability" and not 0 <= value < 1:
        raise ValueError(f"{name} must be a probability in [0, 1), got {value}")


def check_count(arrays: Mapping[str, Any]) -> None:
    """Raise ValueError if the arrays have more elements than a check can go through."""
    count = sum(np.size(array) for array in arrays.values())
    if count > LARGEST:
        raise ValueError(
            f"{', '.join(arrays)} may have {LARGEST} elements, one forward pass each, got {count}: "
            "pass a few cases and a few units; a wrong gradient is wrong there too"
        )


def exact(value: Any) -> Any:
    """Return float32 as float64, for the truth; anything else as it is."""
    return value.astype(np.float64) if is_float(value) else value


def is_float(value: Any) -> bool:
    """Tell whether this is an array of real numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def copies(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with a copy of each array."""
    return {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
