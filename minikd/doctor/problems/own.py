"""A forward function of the learner's own, of which the doctor knows only the slope."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.doctor.cases import TELLING, UPSTREAM, Case, Probe, along, check_count, copies, exact, is_float
from minikd.doctor.catalogue import sign
from minikd.doctor.oracle import slope
from minikd.doctor.problem import Made, Outputs
from minikd.doctor.trials import dtype_of

OWN = "a forward function of your own"


def case_of_own(
    forward: Callable[..., Any], seed: int, wrt: str | Sequence[str] | None, arguments: dict[str, Any]
) -> Case:
    """Return where to try the gradient of a learner's forward function: at the given arguments, and near them.

    Raises:
        TypeError: if no argument is a float array, or the function does not return float numbers.
        ValueError: if the function has no gradient that can be found.
    """
    name = getattr(forward, "__name__", "the forward function")
    arguments = {key: _array_of_list(value) for key, value in arguments.items()}
    floats = [key for key, value in arguments.items() if is_float(value) and value.ndim]
    if not floats:
        raise TypeError(f"a forward function of your own needs arguments, one a float array at least, got {arguments}")
    names = (floats[0],) if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for key in names:
        if key not in floats:
            raise TypeError(f"wrt must name float arrays among the arguments, {', '.join(floats)}, got {key!r}")
    check_count({key: arguments[key] for key in names})
    out = forward(**copies(arguments))
    if dtype_of(out) not in (np.float32, np.float64):
        raise TypeError(f"{name} must return a float or a float array, got {dtype_of(out)}")
    rng, shape = np.random.default_rng(seed), np.shape(out)

    def probe_at(where: str, given: dict[str, Any]) -> Probe:
        dout = rng.standard_normal(shape) + 0.3 if shape else np.ones(())
        scales = [abs(float(given["T"])) or 1.0] if _is_number(given.get("T")) else []
        slopes = tuple(slope(along(forward, given, dout, key), given[key], scales) for key in names)
        cost = None if shape else float(forward(**copies(given)))
        given = {**given, UPSTREAM: dout} if shape else given
        return Probe(where, given, given, slopes, cost)

    first = probe_at("your own arguments", {key: exact(value) for key, value in arguments.items()})
    if not first.is_finite():
        raise ValueError(f"{name} has no finite gradient at your arguments")
    probes = [first._replace(offered=first.offered | arguments)]
    for i in (1, 2):
        given = {key: _redrawn(rng, key, value) for key, value in arguments.items()}
        with suppress(Exception):  # a forward function may refuse these arguments
            probe = probe_at(f"redraw {i} of them", given)
            probes += [probe] if probe.is_finite() else []
    method = (
        "complex step through your forward function"
        if all(one.by_complex_step for probe in probes for one in probe.slopes)
        else "central differences of your forward function, which does not take complex numbers"
    )
    if min(probe.uncertainty() for probe in probes) > TELLING:
        raise ValueError(
            f"the truth, by {method}, is lost in rounding: is it zero, or does the function have a kink, a jump or "
            "float32 in it? Try other arguments, or float64"
        )
    return Case(OWN, tuple(f"d{key}" for key in names), probes, method, recipe)


def recipe(made: Made, probe: Probe) -> Outputs:
    """Return the truth, with the mistakes that any gradient can have."""
    dout, T = probe.given.get(UPSTREAM, np.ones(())), probe.given.get("T")
    cases = dout if dout.ndim else probe.truth[0]
    B, K = cases.shape[0], cases.shape[-1]
    scale = sign(made)
    if T is not None and _is_number(T):
        powers = {"T times too large": T, "T times too small": 1 / T}
        scale *= made("T", 1, powers | {"T² times too large": T**2, "T² times too small": 1 / T**2})
    scale *= made.factor("batch", 1, {"B times too large": B, "B times too small": 1 / B})
    scale *= made.factor("classes", 1, {"K times too large": K, "K times too small": 1 / K})
    scale *= made.factor("2", 1, {"factor 2": 2, "factor ½": 0.5})
    return tuple(scale * _with_axes(made, truth, dout) for truth in probe.truth)


def _with_axes(made: Made, truth: NDArray[Any], dout: NDArray[Any]) -> Any:
    wrong = {"transposed": truth.T}
    for axis in range(dout.ndim):  # where the truth is the sum of dout, as a bias's gradient is
        total = np.sum(dout, axis=axis)
        if total.shape == truth.shape and np.allclose(total, truth, rtol=1e-6):
            wrong.setdefault("not summed", dout)
            if dout.ndim == 2:
                wrong.setdefault("summed over the wrong axis", np.sum(dout, axis=1 - axis))
    return made("axes", truth, wrong)


def _redrawn(rng: np.random.Generator, name: str, value: Any) -> Any:
    """Return an argument of the same shape, spread, signs and zeros; rows still sum to one; T changes a little."""
    if name == "T" and _is_number(value):
        return float(value) * float(rng.uniform(1.1, 1.4))
    if not is_float(value) or not value.ndim:
        return value
    value = exact(value)
    redrawn = rng.permuted(value, axis=-1) * rng.uniform(0.8, 1.25, value.shape)
    if np.all(value >= 0) and np.allclose(np.sum(value, axis=-1), 1, rtol=0, atol=1e-6):
        redrawn /= np.sum(redrawn, axis=-1, keepdims=True)
    return redrawn


def _array_of_list(value: Any) -> Any:
    """Return a list of numbers as an array; anything else, such as a list of layers, as it is."""
    numbers = isinstance(value, list) and not any(isinstance(item, np.ndarray | tuple) for item in value)
    return np.asarray(value) if numbers else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number)
