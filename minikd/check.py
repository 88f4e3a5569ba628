"""The gradient doctor: compares a gradient that you wrote with the truth, and names the mistake where there is one.

>>> import numpy as np
>>> from minikd import check
>>> def my_gradient(z, v, T):
...     q = np.exp(z / T) / np.sum(np.exp(z / T), axis=-1, keepdims=True)
...     p = np.exp(v / T) / np.sum(np.exp(v / T), axis=-1, keepdims=True)
...     return (q - p) / len(z)
>>> print(check.gradient(my_gradient, "soft cross-entropy").verdict)
wrong: missing 1/T
>>> print(check.gradient(lambda z, v, T: my_gradient(z, v, T) / T, "soft cross-entropy"))  # doctest: +ELLIPSIS
right, to ...

The truth is the derivative of a forward pass by a complex step, f'(x) = Im f(x + ih)/h, which subtracts nothing and so
loses no digits. What the doctor asks of your function, and what it knows, `gradient` says; the mistakes are in
`minikd.mistakes`.
"""

from __future__ import annotations

import html
import inspect
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations, pairwise, permutations
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from minikd.mistakes import GENERAL, PROBLEMS, Argument, Made, Mistake, Outputs, Problem, general_recipe
from minikd.system.console import fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 64  # times EPS times the numbers that are added up: what a right gradient may be off by, however written
SAME = 1e-9  # relative: two ways to make one mistake differ by rounding, two mistakes by far more
LARGEST = 5000  # elements; one forward pass each
SAME_COST = 1e-6  # relative; a cost with 1e-12 added in its logarithm is still the same one
NEARLY = 1e-4  # relative: nearer than this, it is the arithmetic that is wrong, not the formula
TELLING = 1e-3  # relative: where rounding is larger than this, a probe may tell that yours is wrong, not how right
SHOWN = 3  # explanations
NEARLY_RIGHT = (
    "the formula is right, or nearly so, but this is more than rounding: is a small number added in a logarithm or a "
    "division, is something float32 on the way, or is it differences in place of a derivative?"
)
RAISES = "it raises "
UPSTREAM = "(dout)"  # the key of a gradient from above that is passed by place
STEP = 1e-30  # of the complex step: its square is far below rounding
TINY = 1e-290  # and times less than this it underflows

Explanation: TypeAlias = tuple[Mistake, ...]
"""Mistakes that were made together."""


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """What the doctor found. It is true where the gradient is right; `print` it, or let a notebook show it."""

    right: bool
    verdict: str  # in a line
    details: tuple[str, ...]  # what is wrong and where to look
    mistakes: tuple[str, ...]  # by name; empty where the gradient is right, or wrong in no way that the doctor knows
    alternatives: tuple[tuple[str, ...], ...]  # other mistakes which are the same in numbers
    error: float  # max |yours − truth| / max |truth|, the worst of all probes
    oracle: str  # where the truth comes from
    output: str  # the gradient that is shown, "dz"
    worst: tuple[int, ...]  # the index of its largest error, where it has the truth's shape
    yours: NDArray[Any] = field(default_factory=lambda: np.empty(0))  # at the first probe where it is wrong
    truth: NDArray[Any] = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        object.__setattr__(self, "verdict", fit(self.verdict))  # it is often printed without the rest

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return fit("\n".join([self.verdict, *(f"  {line}" for line in (*self.details, f"truth: {self.oracle}"))]))

    __repr__ = __str__

    def rows(self, count: int = 5) -> list[tuple[str, float, float, float]]:
        """The elements that are worst: index, yours, the truth, and their ratio (nan where the truth is zero)."""
        if self.yours.shape != self.truth.shape:
            return []
        with np.errstate(all="ignore"):
            distance = np.abs(self.yours - self.truth)
        order = np.argsort(-np.where(np.isnan(distance), np.inf, distance), axis=None, kind="stable")[:count]
        rows = []
        for flat in order:
            index = tuple(int(i) for i in np.unravel_index(flat, self.truth.shape))
            yours, truth = float(self.yours[index]), float(self.truth[index])
            rows.append((_at(self.output, index), yours, truth, yours / truth if truth else math.nan))
        return rows

    def _repr_html_(self) -> str:
        cell = "padding:2px 12px;text-align:right;font-family:monospace"
        colour = "#009E73" if self.right else "#D55E00"
        parts = [f'<p style="color:{colour};font-weight:bold;margin:4px 0">{html.escape(self.verdict)}</p>']
        parts += [f'<p style="margin:2px 0">{html.escape(line)}</p>' for line in self.details]
        heads = "".join(f'<th style="{cell}">{head}</th>' for head in ("", "yours", "truth", "yours / truth"))
        lines = [
            "".join(f'<td style="{cell}">{html.escape(value)}</td>' for value in (where, *map(_number, numbers)))
            for where, *numbers in self.rows()
        ]
        if lines:
            body = "".join(f"<tr>{line}</tr>" for line in (heads, *lines))
            parts.append(f'<table style="border-collapse:collapse">{body}</table>')
        parts.append(f'<p style="color:#555555;margin:2px 0">truth: {html.escape(self.oracle)}</p>')
        return f"<div>{''.join(parts)}</div>"

    def plot(self) -> Figure:
        """The ratio of yours to the truth, element by element: see `minikd.plots.gradient_ratio`."""
        from minikd.plots.figures import gradient_ratio

        return gradient_ratio(self.yours, self.truth, name=self.output)


def gradient(
    function: Callable[..., Any],
    of: str | Callable[..., Any],
    *,
    seed: int = 0,
    wrt: str | Sequence[str] | None = None,
    **arguments: Any,
) -> Diagnosis:
    """Say whether `function` is the gradient of `of`, and if it is not, which mistake it makes.

    `function` takes the arguments by the names below (as many of them as it has use for) and returns what stands on
    the right; for a cost it may return (C, dz), and the cost is then checked too, up to a constant.

        soft cross-entropy        z, v, T                             dz
        hard cross-entropy        z, y                                dz
        distillation              z, v, y, T, alpha                   dz
        logit matching            z, v                                dz
        high-temperature limit    z, v, T                             dz, of Σ ½((z − z̄) − (v − v̄))²/(K T²), a case
        softmax                   dq, q, T (or z)                     dz
        log-softmax               dlog_q, log_q, T (or z)             dz
        affine                    dout, x, W, b                       dx, dW, db
        relu                      dout, x (or out)                    dx
        dropout                   dout, x, keep, drop                 dx
        momentum                  p, v, g, learning_rate, momentum    p, v after the step, or None if overwritten

    The doctor tries it at arguments that it draws, of several shapes, T and logits, where no two mistakes look alike.

    Args:
        of: a problem by name; or minikd's function of it; or any forward function of your own, of the `arguments`. If
            that returns an array, yours is a backward pass and gets the gradient from above, dout, as first argument.
        seed: what the doctor draws from.
        wrt: for a forward function of your own, the argument, or arguments, whose gradient yours is; the first float
            array if not given.
        arguments: those of the forward pass (z, not q; x, not dout). A known problem needs none; given some, the doctor
            tries yours there too. Lists become arrays. At most 5,000 elements: a check takes a forward pass for each.
    Returns: a `Diagnosis`.
    Raises: ValueError and TypeError for arguments that do not fit; what your function raised, if it raised everywhere.

    >>> import numpy as np
    >>> def backward(dout, x):
    ...     return dout * (x < 0)
    >>> check_up = gradient(backward, "relu")
    >>> check_up.mistakes
    ('ReLU mask from the wrong side',)
    >>> gradient(lambda x: 3 * x, lambda x: np.sum(x**2), x=np.array([1.0, 2.0])).verdict
    'wrong, and not one of those I know, worst at [1]'
    """
    problem = _known(of)
    if problem is None:
        assert callable(of)
        case = _case_of_a_function(of, seed, wrt, arguments)
        probes = case.probes
    else:
        if wrt is not None:
            raise TypeError(
                f"wrt is for forward functions of your own: {problem.name} is with respect to {problem.wrt}"
            )
        case = _case_of_a_problem(problem.name, seed)
        own = [_own_probe(problem, arguments, np.random.default_rng([seed, 1]))] if arguments else []
        probes = [*own, *case.probes]
    call = _caller(function, case, probes[0])
    with np.errstate(all="ignore"):  # an overflow of yours is told by its result
        trials = [_try(call, case, probe) for probe in probes]
        ran = [trial for trial in trials if trial.raised is None]
        if not ran and trials[0].raised is not None:
            raise trials[0].raised
        return _diagnose(call, case, trials, ran)


# ---- where a gradient is tried ---------------------------------------------------------------------------------------


class Probe(NamedTuple):
    """One place to try a gradient at, and the truth there."""

    where: str
    given: dict[str, Any]  # the arguments, with the gradient from above
    offered: dict[str, Any]  # what the learner's function may ask for
    truth: Outputs
    size: tuple[Any, ...]  # for each output, of the numbers that are rounded on the way to it
    slack: tuple[Any, ...]  # for each output, what the truth itself may be off by
    cost: float | None = None

    def permitted(self, eps: float) -> list[Any]:
        """For each output, what a right gradient may be off by."""
        return [ROUNDING * eps * size + slack + TINY for size, slack in zip(self.size, self.slack, strict=True)]


class Case:
    """Where to try a gradient, and what the known mistakes would give there."""

    def __init__(
        self,
        outputs: tuple[str, ...],
        probes: list[Probe],
        oracle: str,
        mistakes: tuple[Mistake, ...],
        recipe: Callable[[Made, Probe], Outputs],
        *,
        overwrites: bool = False,
        twins: bool = False,
    ) -> None:
        self.outputs, self.probes, self.oracle = outputs, probes, oracle
        self.overwrites = overwrites  # whether the function may write into the arguments that it returns
        self.twins = twins  # whether the last probe is the first one with another z
        self._mistakes, self._recipe = mistakes, recipe
        self._sums: dict[int, tuple[list[Explanation], NDArray[Any], NDArray[Any]]] = {}

    def explain(self, trials: list[Trial]) -> list[Explanation]:
        """The smallest sets of mistakes that give the same numbers at every probe, if any does.

        They are sets of one or two, and of three where at most one of them is more than a factor.
        """
        first = next(trial for trial in trials if trial.probe is self.probes[0])
        for number in (1, 2, 3):
            found: dict[tuple[str, ...], Explanation] = {}
            for explanation in self._near(number, first):
                values = [self._value(explanation, trial.probe) for trial in trials]
                if all(map(_fits, trials, values)) and self._leaves_a_trace(explanation):
                    found.setdefault(tuple(mistake.name for mistake in explanation), explanation)
            if found:
                return list(found.values())
        return []

    def _near(self, number: int, first: Trial) -> list[Explanation]:
        """The sets of that many mistakes whose gradients at the first probe may be the learner's: a weighted sum is.

        These sums are kept, as they are the same for everyone; they spare a comparison for each of thousands of sets.
        """
        if number not in self._sums:
            sets = list(self._sets(number))
            values = [self._value(explanation, first.probe) or () for explanation in sets]
            sums = np.array([_weighted_sum(value) if value else np.nan for value in values])
            slack = np.array([SAME * sum(array.size * _largest(array) for array in value) for value in values])
            self._sums[number] = sets, sums, slack
        sets, sums, slack = self._sums[number]
        if first.raised is not None:
            return sets
        rounding = sum(array.size * np.max(eps) for array, eps in zip(first.outputs, first.permitted, strict=True))
        return [sets[i] for i in np.flatnonzero(np.abs(sums - _weighted_sum(first.outputs)) <= slack + rounding)]

    def _sets(self, number: int) -> Iterator[Explanation]:
        """Every set of that many mistakes which can be made together."""
        for explanation in combinations(self._mistakes, number):
            if len({mistake.place for mistake in explanation}) == number and (
                number < 3 or sum(mistake.is_factor for mistake in explanation) >= 2
            ):
                yield explanation

    def _leaves_a_trace(self, explanation: Explanation) -> bool:
        """Whether it gives wrong numbers: two mistakes may cancel, or leave zeros, for which there are other words."""
        values = [self._value(explanation, probe) for probe in self.probes]
        return not all(map(_is_truth, self.probes, values)) and any(np.any(a) for value in values for a in value or ())

    def _value(self, explanation: Explanation, probe: Probe) -> Outputs | None:
        """The recipe's gradients with those mistakes; None where they cannot be worked out, as shapes do not fit."""
        try:
            return self._recipe(frozenset(explanation), probe)
        except ValueError:
            return None


@lru_cache(maxsize=64)
def _case_of_a_problem(name: str, seed: int) -> Case:
    problem = PROBLEMS[name]
    rng = np.random.default_rng(seed)
    drawn = []
    for square in (False, False, False, True):
        B, K, D, H = (int(size) for size in rng.permutation([3, 4, 5, 6, 7])[:4])  # no two alike, unless square
        sizes = {"B": B, "K": K, "D": D, "H": D if square else H}
        given = {key: _draw(rng, argument, sizes) for key, argument in problem.arguments.items()}
        drawn.append((given | _draw_upstream(problem, rng, sizes), sizes))
    is_cost = bool(problem.wrt) and not problem.upstream
    if is_cost:
        given, sizes = drawn[0]
        drawn.append((given | {name: _draw(rng, problem.arguments[name], sizes) for name in problem.wrt}, sizes))
    probes = [_probe(problem, given, sizes) for given, sizes in drawn]
    method = "complex step through the textbook's forward pass" if problem.wrt else "the definition of a step"
    return Case(
        problem.outputs,
        probes,
        f"{method}; it tells {_digits(probes)} digits",
        problem.mistakes,
        recipe=lambda made, probe: problem.recipe(made, **probe.given),
        overwrites=not problem.wrt,
        twins=is_cost,
    )


def _draw(rng: np.random.Generator, argument: Argument, sizes: dict[str, int]) -> Any:
    """An argument with nothing special about it: no two of its numbers alike, none of them 0, ½, 1 or a size."""
    shape = tuple(sizes[axis] for axis in argument.axes)
    match argument.kind:
        case "logits" | "array":
            return rng.uniform(0.4, 0.8) + 1.5 * rng.standard_normal(shape)  # not of mean zero
        case "away from zero":
            return rng.uniform(0.1, 2.0, shape) * rng.choice([-1, 1], shape)
        case "labels":
            return rng.integers(0, sizes["K"], shape)
        case "mask":
            return rng.permuted(np.arange(math.prod(shape)) % 3 > 0).reshape(shape)
        case "temperature":
            return float(rng.uniform(0.6, 0.8) if rng.random() < 0.3 else rng.uniform(1.3, 3.7))
    low, high = {
        "weight": (0.2, 0.4),
        "probability": (0.15, 0.4),
        "rate": (0.05, 0.3),
        "weight of the past": (0.6, 0.9),
    }[argument.kind]
    return float(rng.uniform(low, high))


def _draw_upstream(problem: Problem, rng: np.random.Generator, sizes: dict[str, int]) -> dict[str, Any]:
    return {problem.upstream: _draw(rng, Argument(problem.out_axes, "array"), sizes)} if problem.upstream else {}


def _probe(problem: Problem, given: dict[str, Any], sizes: dict[str, int], where: str = "") -> Probe:
    dout = given.get(problem.upstream, 1.0)
    forward_arguments = {name: given[name] for name in problem.arguments}

    def total(**arguments: Any) -> Any:
        return np.sum(dout * problem.forward(**arguments))

    with np.errstate(all="ignore"):
        truth = tuple(_complex_step(total, forward_arguments, name) for name in problem.wrt)
        truth = truth or problem.forward(**forward_arguments)
        cost = None if problem.upstream or not problem.wrt else float(total(**forward_arguments))
        size, extras = problem.size(**given), problem.extras(**given)
    letters = [letter for letter in sizes if any(letter in argument.axes for argument in problem.arguments.values())]
    where = where or ", ".join(f"{letter} = {sizes[letter]}" for letter in letters)
    return Probe(where, given, given | extras, truth, size, (0.0,) * len(truth), cost)


def _own_probe(problem: Problem, arguments: dict[str, Any], rng: np.random.Generator) -> Probe:
    """The learner's own arguments, once they are known to fit the problem."""
    unknown = [name for name in arguments if name not in (*problem.arguments, problem.upstream)]
    missing = [name for name in problem.arguments if name not in arguments]
    if unknown or missing:
        raise TypeError(
            f"{problem.name} has the arguments {', '.join(problem.arguments)}: got {', '.join(arguments)}; "
            "give all of them, or none"
        )
    axes = {name: argument.axes for name, argument in problem.arguments.items()} | {problem.upstream: problem.out_axes}
    sizes: dict[str, int] = {}
    given = {}
    for name in (*problem.arguments, *([problem.upstream] if problem.upstream in arguments else [])):
        kind = problem.arguments[name].kind if name in problem.arguments else "array"
        value = given[name] = _converted(name, arguments[name], kind)
        if np.ndim(value) != len(axes[name]):
            wanted = f"have the axes ({', '.join(axes[name])})" if axes[name] else "be a single number"
            raise ValueError(f"{name} must {wanted}, got shape {np.shape(value)}: one student, no leading axes")
        for axis, length in zip(axes[name], np.shape(value), strict=True):
            if sizes.setdefault(axis, length) != length or length == 0:
                raise ValueError(
                    f"{name} must have {axis} = {sizes[axis] or 'one or more'}, got shape {np.shape(value)}"
                )
    for name, argument in problem.arguments.items():
        if argument.kind == "labels" and not 0 <= np.min(given[name]) <= np.max(given[name]) < sizes["K"]:
            raise ValueError(f"{name} must be labels from 0 to K − 1 = {sizes['K'] - 1}, got {given[name].tolist()}")
        if argument.kind == "temperature" and given[name] <= 0:
            raise ValueError(f"{name} must be a finite number > 0, got {given[name]}")
        if argument.kind == "probability" and not 0 <= given[name] < 1:
            raise ValueError(f"{name} must be a probability in [0, 1), got {given[name]}")
    _check_count({name: given[name] for name in problem.wrt})
    given = _draw_upstream(problem, rng, sizes) | given
    exact = {name: _exact(value) for name, value in given.items()}
    probe = _probe(problem, exact, sizes, where="your own arguments")
    if not all(np.all(np.isfinite(truth)) for truth in probe.truth):
        raise ValueError(f"{problem.name} has no finite gradient at your arguments: are they too large?")
    return probe._replace(offered=probe.offered | given)


def _converted(name: str, value: Any, kind: str) -> Any:
    """A number as a float; a list as an array; integers as floats, unless they are labels."""
    wanted = {"labels": "iu", "mask": "b"}.get(kind, "iuf")
    array = np.asarray(value)
    if array.dtype.kind not in wanted:
        what = {"labels": "integers", "mask": "booleans"}.get(kind, "real numbers")
        raise TypeError(f"{name} must hold {what}, got {array.dtype}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {array.tolist()}")
    if array.ndim == 0:
        return array.item()
    return array.astype(float) if wanted == "iuf" and array.dtype.kind != "f" else array


def _exact(value: Any) -> Any:
    """float32 as float64, for the truth."""
    return value.astype(np.float64) if _is_float(value) else value


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _array_of_list(value: Any) -> Any:
    """A list of numbers as an array; what else an argument may be, such as a list of layers, as it is."""
    numbers = isinstance(value, list) and not any(isinstance(item, np.ndarray | tuple) for item in value)
    return np.asarray(value) if numbers else value


def _check_count(arrays: dict[str, Any]) -> None:
    count = sum(np.size(array) for array in arrays.values())
    if count > LARGEST:
        raise ValueError(
            f"{', '.join(arrays)} may have {LARGEST} elements, one forward pass each, got {count}: "
            "pass a few cases and a few units; a wrong gradient is wrong there too"
        )


def _known(of: str | Callable[..., Any]) -> Problem | None:
    """The problem of that name, or the one that a function of minikd computes; None for a function of one's own."""
    if isinstance(of, str):
        if of not in PROBLEMS:
            raise ValueError(f"of must be one of {', '.join(PROBLEMS)}, or a forward function, got {of!r}")
        return PROBLEMS[of]
    if not callable(of):
        raise TypeError(f"of must be the name of a problem or a forward function, got {type(of).__name__}")
    name = f"{getattr(of, '__module__', '')}.{getattr(of, '__qualname__', '')}"
    return next((problem for problem in PROBLEMS.values() if name in problem.aliases), None)


# ---- a forward function of the learner's own -------------------------------------------------------------------------


def _case_of_a_function(
    forward: Callable[..., Any], seed: int, wrt: str | Sequence[str] | None, arguments: dict[str, Any]
) -> Case:
    arguments = {name: _array_of_list(value) for name, value in arguments.items()}
    floats = [name for name, value in arguments.items() if _is_float(value) and value.ndim]
    if not floats:
        raise TypeError(f"a forward function of your own needs arguments, one a float array at least, got {arguments}")
    names = (floats[0],) if wrt is None else (wrt,) if isinstance(wrt, str) else tuple(wrt)
    for name in names:
        if name not in floats:
            raise TypeError(f"wrt must name float arrays among the arguments, {', '.join(floats)}, got {name!r}")
    _check_count({name: arguments[name] for name in names})
    rng = np.random.default_rng(seed)
    out = forward(**_copies(arguments))
    dtype = np.asarray(out).dtype if isinstance(out, np.ndarray | np.generic | float) else type(out).__name__
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{_name(forward)} must return a float or a float array, got {dtype}")
    out = np.asarray(out)
    T = float(arguments["T"]) if isinstance(arguments.get("T"), int | float | np.number) else None
    oracle = _Oracle(forward, names, T)
    probes = []
    for i in range(3):
        given = {key: _exact(value) if i == 0 else _redrawn(rng, key, value) for key, value in arguments.items()}
        dout = rng.standard_normal(out.shape) + 0.3 if out.ndim else np.ones(())
        try:
            probe = oracle.probe(given, dout, f"redraw {i} of them" if i else "your own arguments")
        except Exception:  # a redraw that the forward function turns down is no place to try a gradient at
            if i == 0:
                raise
            continue
        if i == 0:
            probe = probe._replace(offered=probe.offered | arguments)
        if all(np.all(np.isfinite(truth)) for truth in probe.truth):
            probes.append(probe)
        elif i == 0:
            raise ValueError(f"{_name(forward)} has no finite gradient at your arguments")
    return Case(
        tuple(f"d{name}" for name in names),
        probes,
        oracle.words(probes),
        tuple(mistake for mistake in GENERAL if T is not None or mistake.place != "T"),
        recipe=_general,
    )


def _general(made: Made, probe: Probe) -> Outputs:
    dout, T = probe.given.get(UPSTREAM, np.ones(())), probe.given.get("T", 1.0)
    cases = dout if dout.ndim else probe.truth[0]
    return tuple(general_recipe(made, truth, dout, T, cases.shape[0], cases.shape[-1]) for truth in probe.truth)


def _redrawn(rng: np.random.Generator, name: str, value: Any) -> Any:
    """An argument of the same shape, spread, signs and zeros; rows that sum to one go on to; T moves a little."""
    if name == "T" and isinstance(value, int | float | np.number):
        return float(value) * float(rng.uniform(1.1, 1.4))
    if not _is_float(value) or not value.ndim:
        return value
    value = _exact(value)
    redrawn = rng.permuted(value, axis=-1) * rng.uniform(0.8, 1.25, value.shape)
    sums = np.sum(value, axis=-1)
    if np.all(value >= 0) and np.allclose(sums, 1, rtol=0, atol=1e-6):
        redrawn /= np.sum(redrawn, axis=-1, keepdims=True)
    return redrawn


class _Oracle:
    """The gradient of a forward function: by complex steps if it takes complex numbers, else by central differences."""

    def __init__(self, forward: Callable[..., Any], wrt: tuple[str, ...], T: float | None) -> None:
        self.forward, self.wrt, self.T, self.complex = forward, wrt, T, True

    def probe(self, given: dict[str, Any], dout: NDArray[Any], where: str) -> Probe:
        def total(**arguments: Any) -> Any:
            return np.sum(dout * np.asarray(self.forward(**_copies(arguments))))

        truths, sizes, slacks = [], [], []
        for name in self.wrt:
            by_difference, slack = self._central(total, given, name)
            by_complex_step = self._complex(total, given, name) if self.complex else None
            if by_complex_step is None or not _agree(by_complex_step, by_difference, slack):
                self.complex = False
                truths.append(by_difference)
                sizes.append(_largest(by_difference))
                slacks.append(slack)
            else:
                truths.append(by_complex_step)
                smooth = np.isfinite(slack)
                sizes.append(_largest(by_complex_step) + self._jitter(total, given, name, by_complex_step, smooth))
                slacks.append(np.where(smooth, 0.0, np.inf))
        cost = None if dout.ndim else float(total(**given))
        given = given | ({UPSTREAM: dout} if dout.ndim else {})
        return Probe(where, given, given, tuple(truths), tuple(sizes), tuple(slacks), cost)

    def words(self, probes: list[Probe]) -> str:
        method = (
            "complex step through your forward function"
            if self.complex
            else "central differences of your forward function, which does not take complex numbers"
        )
        if min(map(_uncertainty, probes)) > TELLING:
            raise ValueError(
                f"the truth, by {method}, is lost in rounding: is it zero, or has the function a kink, a jump or "
                "float32 in it? Try other arguments, or float64"
            )
        return f"{method}; it tells {_digits(probes)} digits"

    @staticmethod
    def _complex(total: Callable[..., Any], given: dict[str, Any], name: str) -> NDArray[Any] | None:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a dropped imaginary part, which the differences find out
                return _complex_step(total, given, name)
        except Exception:  # whatever a function says that takes no complex numbers
            return None

    def _jitter(
        self,
        total: Callable[..., Any],
        given: dict[str, Any],
        name: str,
        here: NDArray[Any],
        smooth: NDArray[Any],
    ) -> float:
        """How rough the gradient is: its second difference over steps so small that nothing but rounding is left of it.

        As a multiple of EPS. A gradient that is a small difference of large numbers is rough, as q − p is at high T.
        """
        x, rng, roughest = given[name], np.random.default_rng(0), 0.0
        for _ in range(3):
            step = 1e-8 * _spread(x) * rng.uniform(-1, 1, x.shape)  # its square, too, is EPS
            ahead, behind = (self._complex(total, given | {name: moved}, name) for moved in (x + step, x - step))
            if ahead is not None and behind is not None:
                roughest = max(roughest, _largest((ahead - 2 * here + behind)[smooth]))
        return roughest / (4 * EPS)

    def _central(
        self, total: Callable[..., Any], given: dict[str, Any], name: str
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Central differences, and what each may be off by; the step on T's scale or the array's: what tells more."""
        scales = {_spread(given[name])} | (set() if self.T is None else {abs(float(given["T"])) or 1.0})
        tried = [_central_differences(total, given, name, 1e-3 * scale) for scale in sorted(scales)]
        return min(tried, key=lambda pair: float(np.median(pair[1])))


def _spread(x: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(x**2))) or 1.0


def _uncertainty(probe: Probe) -> float:
    """What a right gradient may be off by, relative to its largest element: the worst of the outputs that are not 0."""
    shares = []
    for permitted, truth in zip(probe.permitted(EPS), probe.truth, strict=True):
        judged = np.isfinite(permitted)
        largest = np.max(np.abs(truth), initial=0.0, where=judged)
        if largest:
            shares.append(float(np.max(permitted, initial=0.0, where=judged) / largest))
    return max(shares, default=math.inf)


def _digits(probes: list[Probe]) -> int:
    """How many digits the truth can tell, where it can tell any."""
    return int(-math.log10(max(share for share in map(_uncertainty, probes) if share <= TELLING)))


def _complex_step(total: Callable[..., Any], given: dict[str, Any], name: str) -> NDArray[Any]:
    """∂ total/∂ name, by one complex evaluation an element: Im f(x + ih)/h."""
    x = given[name]
    derivative = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        stepped = x.astype(np.complex128)
        stepped[index] += 1j * STEP
        derivative[index] = np.imag(total(**(given | {name: stepped}))) / STEP
    return derivative


def _central_differences(
    total: Callable[..., Any], given: dict[str, Any], name: str, h: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """∂ total/∂ name from differences over h, h/2 and h/4, extrapolated to zero (Richardson 1911), and the error.

    The error is infinite at a kink, where the slopes to both sides differ and no number is the derivative.
    """
    x = given[name]
    derivative, error = np.empty(x.shape), np.empty(x.shape)

    def at(index: tuple[int, ...], step: float) -> float:
        moved = x.copy()
        moved[index] += step
        return float(total(**(given | {name: moved})))

    here = float(total(**given))
    for index in np.ndindex(x.shape):
        values = [(at(index, step), at(index, -step), step) for step in (h, h / 2, h / 4)]
        first = [(ahead - behind) / (2 * step) for ahead, behind, step in values]
        second = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(first)]
        derivative[index] = (16 * second[1] - second[0]) / 15
        noise = 8 * EPS * (max(abs(ahead) for ahead, _, _ in values) + abs(here)) / h
        error[index] = 10 * abs(derivative[index] - second[1]) + 4 * noise
        # How far the slopes to both sides are apart: where the function is smooth, it halves with the step
        gaps = [abs(ahead - 2 * here + behind) / step for ahead, behind, step in values]
        if gaps[2] > 0.9 * gaps[0] and gaps[2] > 1e-4 * abs(first[0]) + 1000 * noise:
            error[index] = np.inf
    return derivative, error


def _agree(exact: NDArray[Any], by_difference: NDArray[Any], slack: NDArray[Any]) -> bool:
    return bool(np.all(np.abs(exact - by_difference) <= slack + 1e-6 * _largest(by_difference)))


# ---- trying it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """What the learner's function did at a probe."""

    probe: Probe
    outputs: Outputs = ()
    cost: float | None = None
    raised: Exception | None = None
    complaint: tuple[str, str] | None = None  # what came back and is no gradient: a name, and what to do
    written: tuple[str, ...] = ()
    eps: float = EPS
    permitted: list[Any] = field(default_factory=list)

    def cost_offset(self) -> float:
        return (self.cost or 0.0) - (self.probe.cost or 0.0)

    def is_right(self, which: int | None = None, came: int | None = None) -> bool:
        """Whether one of the outputs, or every one, is the truth up to rounding; `came`: its place, if not its own."""
        if which is None:
            return all(map(self.is_right, range(len(self.outputs))))
        yours, truth = self.outputs[which if came is None else came], self.probe.truth[which]
        return yours.shape == truth.shape and bool(np.all(np.abs(yours - truth) <= self.permitted[which]))

    def distance(self, which: int) -> NDArray[Any]:
        """|yours − truth|: infinite for nan, zero where any number may stand."""
        distance = np.abs(self.outputs[which] - self.probe.truth[which])
        distance = np.where(np.isnan(distance), np.inf, distance)
        return np.where(np.isinf(self.permitted[which]) & np.isfinite(distance), 0.0, distance)

    def error_of(self, which: int) -> float:
        """max |yours − truth| / max |truth|; zero where yours is right and the truth itself is rounding alone."""
        truth, permitted = self.probe.truth[which], self.permitted[which]
        if self.outputs[which].shape != truth.shape:
            return math.inf
        permitted = np.broadcast_to(permitted, truth.shape)
        judged = np.isfinite(permitted)
        largest, rounding = (float(np.max(np.abs(a), initial=0.0, where=judged)) for a in (truth, permitted))
        if self.is_right(which) and rounding > TELLING * largest:
            return 0.0
        return float(np.max(self.distance(which))) / largest if largest else math.inf

    def worst_output(self) -> int:
        return max(range(len(self.outputs)), key=self.error_of)

    def worst_index(self, which: int) -> tuple[int, ...]:
        if self.outputs[which].shape != self.probe.truth[which].shape:
            return ()
        distance = self.distance(which)
        return tuple(int(i) for i in np.unravel_index(int(np.argmax(distance)), distance.shape))


Call: TypeAlias = Callable[[dict[str, Any]], Any]


def _caller(function: Callable[..., Any], case: Case, probe: Probe) -> Call:
    """Calls the learner's function with those of the arguments on offer that it takes."""
    if not callable(function):
        raise TypeError(f"function must be the one that works out your gradient, got {type(function).__name__}")
    first = [UPSTREAM] if UPSTREAM in probe.offered else []
    names = [name for name in probe.offered if name != UPSTREAM]
    try:
        parameters = list(inspect.signature(function).parameters.values())[len(first) :]
    except ValueError:  # some built-in functions have none to see
        parameters = []
    if parameters and all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        strange = [
            parameter.name
            for parameter in parameters
            if parameter.kind is not parameter.VAR_POSITIONAL and parameter.default is parameter.empty
            if parameter.name not in names
        ]
        if strange:
            raise TypeError(f"your function asks for {', '.join(strange)}: its arguments may be {', '.join(names)}")
        names = [parameter.name for parameter in parameters if parameter.name in names]

    def call(offered: dict[str, Any]) -> Any:
        return function(*(offered[key] for key in first), **{key: offered[key] for key in names})

    return call


def _try(call: Call, case: Case, probe: Probe) -> Trial:
    copies = _copies(probe.offered)
    try:
        result = call(copies)
    except Exception as error:
        return Trial(probe, raised=error)
    written = tuple(
        key.strip("()")
        for key, value in probe.offered.items()
        if isinstance(value, np.ndarray) and not np.array_equal(copies[key], value)
        if not (case.overwrites and key in case.outputs)
    )
    if case.overwrites and result is None:
        result = tuple(copies[name] for name in case.outputs)
    cost = None
    if len(case.outputs) == 1:
        if probe.cost is not None and isinstance(result, tuple) and len(result) == 2:
            cost, result = result
            if not isinstance(cost, int | float | np.ndarray | np.generic) or np.ndim(cost):
                return Trial(probe, complaint=("the cost is not a number", f"Return (C, dz); your C is {cost}."))
            cost = float(cost)
        result = (result,)
    elif not isinstance(result, tuple | list) or len(result) != len(case.outputs):
        what = f"{len(result)} of them" if isinstance(result, tuple | list) else f"one {type(result).__name__}"
        words = f"Return ({', '.join(case.outputs)}), in this order; yours returns {what}."
        return Trial(probe, complaint=("not the gradients asked for", words))
    for name, output in zip(case.outputs, result, strict=True):
        dtype = np.asarray(output).dtype if isinstance(output, np.ndarray | np.generic | float) else None
        if dtype not in (np.float32, np.float64):
            words = f"{name} is {dtype or type(output).__name__}: return a NumPy array, float64 or float32."
            return Trial(probe, complaint=("not a float array", words))
    outputs = tuple(np.array(output) for output in result)
    floats = [a.dtype for a in (*outputs, *probe.offered.values()) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    eps = max(float(np.finfo(dtype).eps) for dtype in floats)
    return Trial(probe, outputs, cost, written=written, eps=eps, permitted=probe.permitted(eps))


def _copies(arguments: dict[str, Any]) -> dict[str, Any]:
    return {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}


# ---- the diagnosis ---------------------------------------------------------------------------------------------------


def _diagnose(call: Call, case: Case, trials: list[Trial], ran: list[Trial]) -> Diagnosis:
    for trial in ran:
        if trial.complaint is not None:
            name, words = trial.complaint
            return _report(case, [trial], f"wrong: {name}", [words], (name,))
    if _differs(ran[0], _try(call, case, ran[0].probe)):
        name = "other numbers the second time"
        words = "Called twice with the same arguments it gives two gradients: does it remember, or draw at random?"
        return _report(case, ran[:1], f"wrong: {name}", [words], (name,))

    faults = dict(_faults(case, trials))  # apart from the gradient's numbers
    wrong = [trial for trial in ran if not trial.is_right()]
    if not wrong:
        tried = f"tried at {'; '.join(trial.probe.where for trial in ran)}"
        report = _report(case, ran, "", [*faults.values(), tried], tuple(faults))
        if faults:
            return replace(report, verdict=f"the gradient's numbers are right, but {' and '.join(faults)}")
        precision = " (float32)" if any(trial.eps > EPS for trial in ran) else ""
        error = f"{report.error:.0e}" if report.error else "the last bit"
        return replace(report, right=True, verdict=f"right, to {error}{precision}")

    explanations = case.explain(trials)
    if explanations:
        names = [tuple(mistake.name for mistake in explanation) for explanation in explanations]
        why = {mistake.name: mistake.why for explanation in explanations[:SHOWN] for mistake in explanation}
        faults = {name: words for name, words in faults.items() if not name.startswith(RAISES)}  # it may be why
        return _report(
            case,
            ran,
            f"wrong: {'; and '.join([_either(names), *faults])}",
            [*(f"{name}: {words}" for name, words in (why | faults).items()), *_where(case, wrong[0])],
            names[0] + tuple(faults),
            tuple(names[1:]),
        )
    plain = _plain_fault(case, wrong)
    if plain is not None:
        name, words = plain
        return _report(case, ran, f"wrong: {name}", [words, *faults.values()], (name, *faults))
    off = max(trial.error_of(i) for trial in ran for i in range(len(trial.outputs)))
    how = f"but only by {off:.0e}" if off < NEARLY else "and not one of those I know"
    verdict = f"wrong, {how}, worst at {_worst_words(case, wrong[0])}"
    hints = [NEARLY_RIGHT] if off < NEARLY else _factor_hints(ran)
    where = [trial.probe.where for trial in ran if trial.is_right()]
    hints += [f"right at {'; '.join(where)}"] if where else []
    return _report(case, ran, verdict, [*_where(case, wrong[0]), *hints, *faults.values()], tuple(faults))


def _report(
    case: Case,
    ran: list[Trial],
    verdict: str,
    details: list[str],
    mistakes: tuple[str, ...],
    alternatives: tuple[tuple[str, ...], ...] = (),
) -> Diagnosis:
    """The diagnosis, not yet right, with the first wrong probe's worst output to show."""
    shown = next((trial for trial in ran if not trial.is_right()), ran[0])
    which = shown.worst_output() if shown.outputs else 0
    return Diagnosis(
        right=False,
        verdict=verdict,
        details=tuple(details),
        mistakes=mistakes,
        alternatives=alternatives,
        error=max((trial.error_of(i) for trial in ran for i in range(len(trial.outputs))), default=math.nan),
        oracle=case.oracle,
        output=case.outputs[which],
        worst=shown.worst_index(which) if shown.outputs else (),
        yours=shown.outputs[which] if shown.outputs else np.empty(0),
        truth=shown.probe.truth[which].copy(),
    )


def _differs(first: Trial, second: Trial) -> bool:
    return len(first.outputs) != len(second.outputs) or not all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(first.outputs, second.outputs, strict=True)
    )


def _faults(case: Case, trials: list[Trial]) -> Iterator[tuple[str, str]]:
    """What is wrong with the function apart from the gradient's numbers: a name, and what to do."""
    for trial in trials:
        if trial.written:
            yield (
                f"it writes into {' and '.join(trial.written)}",
                "The caller still needs its arguments: work on a copy, or make a new array in place of `x -= `.",
            )
            break
    for trial in trials:
        if trial.raised is not None:
            kind = type(trial.raised).__name__
            yield f"{RAISES}{kind} elsewhere", f"{kind} at {trial.probe.where}: {trial.raised}"
            break
    complaint = _cost_fault(case, trials)
    if complaint:
        yield "the cost is not the one of this gradient", complaint


def _cost_fault(case: Case, trials: list[Trial]) -> str:
    """What is wrong with the learner's costs, if there are any.

    Those of a known problem may differ from the textbook's by what does not depend on z, as a divergence does from a
    cross-entropy: the last probe is the first one with another z, where the difference must be the same.
    """
    costs = [trial for trial in trials if trial.cost is not None]
    constant, judged = 0.0, costs
    if case.twins:
        judged = [trial for trial in costs if trial.probe is case.probes[0]]
        constant = next((trial.cost_offset() for trial in costs if trial.probe is case.probes[-1]), 0.0)
    for trial in judged:
        yours, truth = trial.cost, trial.probe.cost
        assert yours is not None
        assert truth is not None
        permitted = max(SAME_COST, ROUNDING * trial.eps) * (abs(yours) + abs(truth))
        if not abs(trial.cost_offset() - constant) <= permitted:
            words = f"At {trial.probe.where} C is {yours:.6g}, and should be {truth:.6g}"
            return f"{words}{', up to a constant' if case.twins else ''}: the gradient is that of another cost."
    return ""


def _plain_fault(case: Case, wrong: list[Trial]) -> tuple[str, str] | None:
    """Another order or shape, a nan, or nothing but zeros: the first that there is."""
    for order in list(permutations(range(len(case.outputs))))[1:]:
        if all(trial.is_right(which, came) for trial in wrong for which, came in enumerate(order)):
            names = (case.outputs[order.index(came)] for came in range(len(order)))
            words = f"Return ({', '.join(case.outputs)}); yours are ({', '.join(names)})."
            return "the gradients in another order", words
    for trial in wrong:
        for name, yours, truth in zip(case.outputs, trial.outputs, trial.probe.truth, strict=True):
            if yours.shape != truth.shape:
                words = f"{name} has the shape {yours.shape} at {trial.probe.where}; expected {truth.shape}."
                return f"the shape of {name}", words
            if not np.all(np.isfinite(yours)):
                index = tuple(int(i) for i in np.argwhere(~np.isfinite(yours))[0])
                words = f"{_at(name, index)} is {yours[index]} at {trial.probe.where}"
                return f"{name} is not finite", f"{words}: does an exponential overflow, or a zero divide?"
    for i, name in enumerate(case.outputs):
        if not any(np.any(trial.outputs[i]) or not np.any(trial.probe.truth[i]) for trial in wrong):
            return (
                f"{name} is zero everywhere",
                "Nothing is learnt from it: is it filled in, is q compared with itself?",
            )
    return None


def _where(case: Case, trial: Trial) -> list[str]:
    """The worst element, and which outputs are right."""
    which = trial.worst_output()
    yours, truth, lines = trial.outputs[which], trial.probe.truth[which], []
    if yours.shape == truth.shape:
        index = trial.worst_index(which)
        ratio = f", {yours[index] / truth[index]:.4g} times it" if truth[index] else ""
        if trial.error_of(which) < NEARLY:
            ratio = f", a difference of {yours[index] - truth[index]:.1e}"
        where = f"{_at(case.outputs[which], index)} at {trial.probe.where}"
        lines.append(f"worst: {where}: yours {yours[index]:.6g}, the truth {truth[index]:.6g}{ratio}")
    right = [name for i, name in enumerate(case.outputs) if trial.is_right(i)]
    return [*lines, f"right: {' and '.join(right)}"] if right else lines


def _worst_words(case: Case, trial: Trial) -> str:
    which = trial.worst_output()
    return _at(case.outputs[which] if len(case.outputs) > 1 else "", trial.worst_index(which))


def _factor_hints(ran: list[Trial]) -> list[str]:
    """By what yours differs from the truth, if it is a factor."""
    factors = [factor for trial in ran for factor in [_multiple(trial)] if factor is not None]
    if len(factors) < len(ran):
        return []
    if all(abs(factor - factors[0]) <= SAME * abs(factors[0]) for factor in factors):
        return [f"yours is {factors[0]:.6g} times the truth everywhere"]
    several = ", ".join(f"{factor:.4g}" for factor in factors)
    return [f"yours is a multiple of the truth, by a factor that the arguments decide: {several}"]


def _multiple(trial: Trial) -> float | None:
    """c, if yours is c times the truth."""
    yours, truth = (np.concatenate([np.ravel(a) for a in arrays]) for arrays in (trial.outputs, trial.probe.truth))
    square = float(truth @ truth)
    factor = float(yours @ truth) / square if square else 0.0
    off = float(np.max(np.abs(yours - factor * truth)))
    return factor if factor and off <= SAME * abs(factor) * _largest(truth) else None


def _either(names: list[tuple[str, ...]]) -> str:
    joined = ["; and ".join(group) for group in names]
    if len(joined) == 1:
        return joined[0]
    more = f", or {len(joined) - SHOWN} more" if len(joined) > SHOWN else ""
    return f"either {', or '.join(joined[:SHOWN])}{more}, which are the same in numbers"


# ---- comparing -------------------------------------------------------------------------------------------------------


def _same(a: NDArray[Any], b: NDArray[Any], permitted: Any) -> bool:
    """Whether a learner's gradient, or the truth, is what a recipe says; of a shape that may be wrong."""
    if a.shape != b.shape:
        return False
    if np.shape(permitted) not in ((), a.shape):
        permitted = np.max(permitted)
    return bool(np.all(np.abs(a - b) <= np.maximum(SAME * _largest(b), permitted)))


def _fits(trial: Trial, value: Outputs | None) -> bool:
    """Whether the learner's gradients are these. Where the function raised there is nothing to compare."""
    if trial.raised is not None:
        return True
    return value is not None and all(map(_same, trial.outputs, value, trial.permitted))


def _is_truth(probe: Probe, value: Outputs | None) -> bool:
    return value is not None and all(map(_same, value, probe.truth, probe.permitted(EPS)))


def _weighted_sum(outputs: Outputs) -> float:
    """Σ w a over all numbers, with |w| ≤ 1 in no simple relation to each other: few gradients share it."""
    return float(sum(np.cos(np.arange(1.0, array.size + 1)) @ np.ravel(array) for array in outputs))


def _largest(array: NDArray[Any]) -> float:
    return float(np.max(np.abs(array), initial=0.0))


def _at(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", "the forward function")
