"""The trials: calls the learner's function, and compares what it returns with the truth."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minikd.doctor.cases import TELLING, UPSTREAM, Case, Probe, copies, judged_sizes
from minikd.doctor.oracle import EPS
from minikd.doctor.problem import Outputs

Call: TypeAlias = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Compared:
    """One of the learner's gradients, beside the truth."""

    name: str
    yours: NDArray[Any]
    truth: NDArray[Any]
    permitted: Any  # how far a right one may be from the truth

    @property
    def has_shape(self) -> bool:
        return self.yours.shape == self.truth.shape

    @property
    def is_right(self) -> bool:
        """Whether it is the truth up to rounding."""
        return self.has_shape and bool(np.all(np.abs(self.yours - self.truth) <= self.permitted))

    @property
    def error(self) -> float:
        """max |yours − truth| / max |truth|; zero if yours is right and the truth is only rounding."""
        if not self.has_shape:
            return math.inf
        size, rounding = judged_sizes(self.truth, self.permitted)
        if self.is_right and rounding > TELLING * size:
            return 0.0
        return float(np.max(self._distance())) / size if size else math.inf

    @property
    def worst(self) -> tuple[int, ...]:
        """The index of the largest error."""
        if not self.has_shape:
            return ()
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(self._distance())), self.truth.shape))

    def _distance(self) -> NDArray[Any]:
        """Return |yours − truth|: infinite for nan, zero if any number is right."""
        distance = np.abs(self.yours - self.truth)
        distance = np.where(np.isnan(distance), np.inf, distance)
        return np.where(np.isinf(self.permitted) & np.isfinite(distance), 0.0, distance)


@dataclass(frozen=True)
class Trial:
    """What the learner's function did at a probe."""

    probe: Probe
    gradients: tuple[Compared, ...] = ()
    cost: tuple[float, float] | None = None  # yours and the truth
    raised: Exception | None = None
    complaint: Mapping[str, str] = field(default_factory=dict)  # why it returned no gradient: a name, and what to do
    written: tuple[str, ...] = ()  # the arguments that it wrote into
    eps: float = EPS

    @property
    def outputs(self) -> Outputs:
        return tuple(gradient.yours for gradient in self.gradients)

    @property
    def is_right(self) -> bool:
        return all(gradient.is_right for gradient in self.gradients)

    @property
    def worst(self) -> Compared:
        """The gradient with the largest error."""
        return max(self.gradients, key=lambda gradient: gradient.error)


def caller(function: Callable[..., Any], probe: Probe) -> Call:
    """Return a function that calls the learner's with those of the offered arguments that it takes."""
    if not callable(function):
        raise TypeError(f"function must be the one that computes your gradient, got {type(function).__name__}")
    first = [UPSTREAM] if UPSTREAM in probe.offered else []
    names = [name for name in probe.offered if name != UPSTREAM]
    parameters = list(inspect.signature(function).parameters.values())[len(first) :]
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        needed = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL and p.default is p.empty]
        if unknown := [name for name in needed if name not in names]:
            raise TypeError(f"your function asks for {', '.join(unknown)}: its arguments may be {', '.join(names)}")
        names = [parameter.name for parameter in parameters if parameter.name in names]

    def call(offered: dict[str, Any]) -> Any:
        return function(*(offered[key] for key in first), **{key: offered[key] for key in names})

    return call


def attempt(call: Call, case: Case, probe: Probe) -> Trial:
    """Call the learner's function at a probe, on copies of the arguments."""
    offered = copies(probe.offered)
    try:
        result = call(offered)
    except Exception as error:
        return Trial(probe, raised=error)
    written = tuple(
        key.strip("()")
        for key, value in probe.offered.items()
        if isinstance(value, np.ndarray) and not np.array_equal(offered[key], value)
        if not (case.overwrites and key in case.outputs)
    )
    if case.overwrites and result is None:
        result = tuple(offered[name] for name in case.outputs)
    cost = None
    if probe.cost is not None and isinstance(result, tuple) and len(result) == 2 and len(case.outputs) == 1:
        C, result = result
        if not isinstance(C, int | float | np.ndarray | np.generic) or np.ndim(C):
            return Trial(probe, complaint={"the cost is not a number": f"Return (C, dz); your C is {C}."})
        cost = float(C), probe.cost
    results = (result,) if len(case.outputs) == 1 else result
    if complaint := _complaint(case, results):
        return Trial(probe, complaint=complaint)
    outputs = [np.array(output) for output in results]
    floats = [a.dtype for a in (*outputs, *probe.offered.values()) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    eps = max(float(np.finfo(dtype).eps) for dtype in floats)
    gradients = tuple(map(Compared, case.outputs, outputs, probe.truth, probe.permitted(eps)))
    return Trial(probe, gradients, cost, written=written, eps=eps)


def _complaint(case: Case, results: Any) -> dict[str, str]:
    """Return why the results are not as many float arrays as asked for: a name, and what to do; empty if they are."""
    if not isinstance(results, tuple | list) or len(results) != len(case.outputs):
        what = f"{len(results)} of them" if isinstance(results, tuple | list) else f"one {type(results).__name__}"
        words = f"Return ({', '.join(case.outputs)}), in this order; yours returns {what}."
        return {"not the gradients asked for": words}
    for name, output in zip(case.outputs, results, strict=True):
        dtype = dtype_of(output)
        if dtype not in (np.float32, np.float64):
            return {"not a float array": f"{name} is {dtype}: return a NumPy array, float64 or float32."}
    return {}


def dtype_of(value: Any) -> Any:
    """Return the dtype of an array or a number, or the name of the type of anything else."""
    return np.asarray(value).dtype if isinstance(value, np.ndarray | np.generic | float) else type(value).__name__
