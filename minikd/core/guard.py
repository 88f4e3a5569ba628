"""The checks of the core. One line above a function declares them, so the body is only mathematics.

    @guard(z=logits, v=like("z"), T=temperature("z"))
    def soft_cross_entropy(z, *, v, T): ...

A *rule* checks one argument. It takes the argument's name, its value and all arguments by name. It returns the value to
use, or raises an error that states the rule, the value that came and how to fix it. Rules run in the order in which
they are declared. Inside a guarded function nothing is checked again, so a cost may call the softmax without paying
twice. The training loop checks its first step, and runs the others inside `unguarded()`.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from numbers import Real
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

from minikd.core.array import Array, get_float_xp, get_xp, on_host

P = ParamSpec("P")
R = TypeVar("R")

Arguments: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[str, Any, Arguments], Any]

_unguarded: ContextVar[bool] = ContextVar("unguarded", default=False)


def guard(**rules: Rule) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the checks of a function's arguments; the function itself stays reachable as `__wrapped__`.

    Args:
        rules: for each argument to be checked, by name, its rule. Rules compare the dtype and the device of the other
            arguments with those of the function's first argument.
    """

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            if _unguarded.get():
                return function(*args, **kwargs)
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return function(*args, **kwargs)  # Python says what is wrong, with the function's name
            bound.apply_defaults()
            given = bound.arguments
            for name, rule in rules.items():
                given[name] = rule(name, given[name], given)
            token = _unguarded.set(True)
            try:
                return function(*bound.args, **bound.kwargs)
            finally:
                _unguarded.reset(token)

        return checked

    return declare


class unguarded:
    """Run guarded functions without their checks, for callers that have checked, such as the training loop.

    Args:
        when: False to change nothing.
    """

    def __init__(self, when: bool = True) -> None:
        self._when = when

    def __enter__(self) -> None:
        self._token = _unguarded.set(self._when or _unguarded.get())

    def __exit__(self, *raised: object) -> None:
        _unguarded.reset(self._token)


# ---- rules for arrays ------------------------------------------------------------------------------------------------


def floats(name: str, value: Any, given: Arguments) -> Array:
    """Require a float32 or float64 array, with the dtype and the device of the function's first argument."""
    first = next(iter(given))
    get_float_xp(**{first: given[first], name: value})
    return value  # type: ignore[no-any-return]


def logits(name: str, value: Any, given: Arguments) -> Array:
    """Require `floats` of shape (..., B, K), not empty."""
    z = floats(name, value, given)
    if z.ndim < 2 or 0 in z.shape:
        raise ValueError(f"{name} must have shape (..., B, K) with B, K > 0, got {z.shape}")
    return z


def like(other: str) -> Rule:
    """Require `floats` of the other argument's shape. The leading axes, those of a population, may broadcast to it."""

    def rule(name: str, value: Any, given: Arguments) -> Array:
        v, shape = floats(name, value, given), given[other].shape
        if not _fits(v.shape, shape, own=2):
            raise ValueError(f"{name} must have {other}'s shape {shape} or broadcast to it, got {v.shape}")
        return v

    return rule


def same_shape(other: str) -> Rule:
    """Require `floats` of exactly the other argument's shape."""

    def rule(name: str, value: Any, given: Arguments) -> Array:
        x, shape = floats(name, value, given), given[other].shape
        if x.shape != shape:
            raise ValueError(f"{name} must have the shape of {other}, {shape}, got {x.shape}")
        return x

    return rule


def labels(other: str) -> Rule:
    """Require integer labels in 0 … K − 1, one per case of the other argument, which is (..., B, K).

    On a GPU, where reading them would wait, their range is not checked here: `Dataset` has checked it.
    """

    def rule(name: str, value: Any, given: Arguments) -> Array:
        z: Array = given[other]
        xp = get_xp(**{other: z, name: value})
        if not _fits(value.shape, z.shape[:-1], own=1):
            raise ValueError(
                f"{name} must have shape {z.shape[:-1]}, one label per case, or broadcast to it, got {value.shape}"
            )
        if not xp.isdtype(value.dtype, "integral"):
            raise TypeError(f"{name} must hold integer labels, got {value.dtype}: convert it with astype")
        if on_host(value):
            _check_range(name, value, other, z.shape[-1])
        return value  # type: ignore[no-any-return]

    return rule


def _check_range(name: str, y: Array, other: str, K: int) -> None:
    """Check that every label is a class: the case of any other label would count as one without a target."""
    if isinstance(y, np.ndarray) and y.dtype == np.int64 and y.view(np.uint64).max() < K:
        return  # the usual labels, in one pass: a negative number reads as a huge one
    xp: Any = get_xp(y=y)
    low, high = int(xp.min(y)), int(xp.max(y))
    if low < 0 or high >= K:
        raise ValueError(
            f"{name} must hold labels in 0 … K − 1 = {K - 1}, as {other} has K = {K} classes, got "
            f"{low if low < 0 else high}: leave out the cases that have no label, or give {other} a column for each "
            "class"
        )


def _fits(shape: tuple[int, ...], target: tuple[int, ...], own: int) -> bool:
    """Return whether the last `own` axes are the target's, and the leading axes, the population's, broadcast to its."""
    if len(shape) < own or shape[len(shape) - own :] != target[len(target) - own :]:
        return False
    try:
        return np.broadcast_shapes(shape, target) == target
    except ValueError:
        return False


# ---- rules for numbers -----------------------------------------------------------------------------------------------


def optional(rule: Rule) -> Rule:
    """Return the rule for an argument that may also be None."""
    return lambda name, value, given: None if value is None else rule(name, value, given)


def number(holds: Callable[[Any], Any], words: str) -> Rule:
    """Return the rule for a number for which `holds` is true. It becomes a Python float, which promotes no array."""

    def rule(name: str, value: Any, given: Arguments) -> float:
        if not isinstance(value, Real) or not holds(value):
            raise ValueError(f"{name} must be {words}, got {value}")
        return float(value)

    return rule


norm = number(lambda norm: 0 < norm < math.inf, "a finite L2 norm > 0")


def per_student(holds: Callable[[Any], Any], words: str, of: str = "") -> Rule:
    """Return the rule for a number for which `holds` is true, or an array (..., 1, 1) of one per student.

    A number comes back as a Python float, which promotes no array. An array must have the dtype and the device of the
    function's first argument. Its values are checked where the host can read them. On a GPU, reading would wait, so
    there the maker of the array must check them, as `TrainConfig` does.

    Args:
        holds: whether the value, or each value of an array, is in range.
        words: the range in words.
        of: the argument whose population the leading axes must fit; empty where they may add a population.
    """

    def rule(name: str, value: Any, given: Arguments) -> float | Array:
        if isinstance(value, Real):
            if not holds(value):
                raise ValueError(f"{name} must be {words}, got {float(value)}")
            return float(value)
        if not hasattr(value, "shape"):
            raise TypeError(f"{name} must be {words}, or an array (..., 1, 1), got {type(value).__name__}")
        array = floats(name, value, given)
        if array.shape[-2:] != (1, 1):
            raise ValueError(f"{name} must be a number or an array of shape (..., 1, 1), got shape {array.shape}")
        if on_host(array) and not get_xp(**{name: array}).all(holds(array)):
            raise ValueError(f"{name} must be {words}, got {np.asarray(array).ravel().tolist()}")
        if of and not _fits(array.shape[:-2], given[of].shape[:-2], own=0):
            students = given[of].shape[:-2]
            raise ValueError(
                f"{name} has shape {array.shape}, one number per student, but {of} has students {students}"
            )
        return array

    return rule


def temperature(of: str = "") -> Rule:
    """Return the rule for the temperature T: a finite number > 0, or one per student."""
    return per_student(lambda T: (T > 0) & (math.inf > T), "a finite number > 0", of)


def weight(of: str = "") -> Rule:
    """Return the rule for alpha, the weight of the soft targets: a number in [0, 1], or one per student."""
    return per_student(lambda alpha: (alpha >= 0) & (alpha <= 1), "a number in [0, 1]", of)
