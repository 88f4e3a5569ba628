"""The exercises of notebook 14: the eight functions of the capstone, "Distillation from nothing"."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from minikd.core.losses import hard_cross_entropy, soft_cross_entropy
from minikd.core.softmax import softmax
from minikd.learn.exercises import Exercise, Verdict
from minikd.learn.exercises.n01 import EXERCISES as FIRST

HINTS = {
    "ellipsis": "a function that it calls still returns its dots: write that one first",
    "positional argument": "keep the template's arguments, in their order",
}
"""What an error says, and what is often behind it."""
MISFIT = re.compile(r"matmul: Input operand 1 .*?\(size (\d+) is different from (\d+)\)")
"""What NumPy says of factors that do not fit."""
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""How far a right answer may be from minikd's, as a share of the largest number."""
LARGE = 50.0
"""Logits, in nats, from which on a cost may be infinite, because log 0 is. Its gradient may not."""


@dataclass(frozen=True)
class Part(Exercise):
    """A function of the capstone. It must work for all shapes, dtypes and temperatures, not only for those of MNIST.

    Args:
        name: of the function.
        arguments: their names, in order.
        outputs: the names of what it returns, in order.
        truth: a right function of these arguments.
        tries: arguments of many shapes and both dtypes. A function is tried on them once its formula is right.
            `mistakes`, beside a `gradient`, are wrong costs that have this gradient.
    """

    name: str = ""
    arguments: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    truth: Callable[..., Any] | None = None
    tries: Sequence[tuple[Any, ...]] = ()

    def judge(self, function: Callable[..., Any]) -> Verdict:
        """Return what is wrong with the function, if anything: first its formula, then its shapes and dtypes."""
        verdict = super().judge(self._by_position(function))
        if not verdict:
            words = MISFIT.sub(r"in `@` the first factor has \2 columns, and the second has \1 rows", verdict.words)
            words += next((f"; {hint}" for error, hint in HINTS.items() if error in words), "")
            return verdict if words == verdict.words else Verdict(False, words)
        for case in self.tries:
            if wrong := next(self._faults(function, case), ""):
                return Verdict(False, f"wrong: {wrong}; tried with {self._shapes(case)}")
        return verdict

    def _by_position(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with the names of arguments by which the doctor knows them."""

        def named(*given: Any, **rest: Any) -> Any:
            return function(*given, *(rest[name] for name in self.arguments[len(given) :]))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, kind) for name in self.arguments]
        named.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return named

    def _faults(self, function: Callable[..., Any], case: tuple[Any, ...]) -> Iterator[str]:
        """Yield what is wrong with the answer to a case."""
        assert self.truth is not None
        given = deepcopy(case)
        try:
            with np.errstate(all="ignore"):
                answer = function(*given)
        except Exception as error:
            yield f"it stopped with {type(error).__name__}: {error}"
            return
        for name, before, after in zip(self.arguments, case, given, strict=True):
            if not np.array_equal(before, after):
                yield f"it writes into {name}, which the caller still needs: make a new array"
        answers, truths = [(one,) if len(self.outputs) == 1 else one for one in (answer, self.truth(*case))]
        if not isinstance(answers, tuple | list) or len(answers) != len(self.outputs):
            kind = f"{len(answers)} things" if isinstance(answers, tuple | list) else f"one {type(answers).__name__}"
            yield f"return ({', '.join(self.outputs)}), in this order; it returns {kind}"
            return
        for name, yours, truth in zip(self.outputs, answers, truths, strict=True):
            if name != "C":
                yield from _array_faults(name, yours, truth)
            elif np.ndim(yours) or np.asarray(yours).dtype.kind not in "fiu":
                yield f"C should be one number, and is a {type(yours).__name__}"
            elif np.max(np.abs(case[0])) < LARGE and not np.isclose(yours, truth, rtol=1e-4):
                known = self.wrong_answers(case).items()
                known_as = next((f": {words}" for words, ways in known if np.isclose(yours, ways[0], rtol=1e-4)), "")
                yield f"C is {float(yours):.6g}; it should be {float(truth):.6g}{known_as}"

    def _shapes(self, case: tuple[Any, ...]) -> str:
        """Say at which arguments: the shapes of arrays, and the values of numbers."""
        sizes = (f"= {one}" if np.ndim(one) == 0 else f"of shape {np.shape(one)}" for one in case)
        dtype = next(one.dtype for one in case if isinstance(one, np.ndarray))
        return f"{dtype} {', '.join(f'{name} {size}' for name, size in zip(self.arguments, sizes, strict=True))}"


def _array_faults(name: str, yours: Any, truth: Any) -> Iterator[str]:
    """Yield what is wrong with an array: its type, dtype, shape or numbers."""
    if not isinstance(yours, np.ndarray):
        yield f"{name} should be an array, and is a {type(yours).__name__}"
    elif yours.shape != truth.shape:
        yield f"{name} has the shape {yours.shape}; it should have {truth.shape}"
    elif yours.dtype != truth.dtype:
        yield f"{name} is {yours.dtype}, but the arguments are {truth.dtype}: return their dtype, if need be by .astype"
    elif not np.all(np.isfinite(yours)):
        fix = ": subtract each case's largest logit before exp" if name in ("q", "dz") else ""
        yield f"{name} is not finite{fix}"
    else:
        off = np.abs(yours - truth)
        if np.max(off) > TOLERANCE[truth.dtype.name] * np.max(np.abs(truth)):
            at = np.unravel_index(np.argmax(off), off.shape)
            index = ", ".join(str(int(i)) for i in at)
            yield f"right elsewhere, but {name}[{index}] is {yours[at]:.6g} and should be {truth[at]:.6g}"


# ---- where the functions are tried -----------------------------------------------------------------------------------

_rng = np.random.default_rng(14)


def _arrays(dtype: str, *shapes: tuple[int, ...], size: float = 2.0) -> tuple[Any, ...]:
    return tuple((size * _rng.standard_normal(shape)).astype(dtype) for shape in shapes)


_BOTH = ("float32", "float64")
_SIZES, _TEMPERATURES = ((1, 2), (3, 3), (7, 10), (128, 10), (5, 26)), (0.7, 1.0, 8, 20.0, 3)
_LOGITS = [
    *((_arrays(dtype, size, size), T) for dtype in _BOTH for size, T in zip(_SIZES, _TEMPERATURES, strict=True)),
    *((_arrays(dtype, (4, 10), (4, 10), size=400.0), 2.0) for dtype in _BOTH),
]
_LABELLED = [(z, _rng.integers(0, z.shape[1], len(z)).astype(kind))
             for ((z, _), _), kind in zip(_LOGITS, ["int64", "uint8"] * 6, strict=True)]  # fmt: skip
_LAYERS = [_arrays(dtype, (B, H), (B, D), (D, H), (H,))
           for dtype in _BOTH for B, D, H in ((1, 3, 2), (4, 4, 4), (6, 1, 5), (128, 784, 10))]  # fmt: skip
_STEPS = [(*_arrays(dtype, shape, shape, shape), rate, momentum) for dtype in _BOTH
          for shape, rate, momentum in (((5,), 0.1, 0.9), ((4, 3), 0.3, 0.5), ((2, 2), 0.2, 0.0))]  # fmt: skip


def _not_affine(x: Any, W: Any, b: Any) -> dict[str, Any]:
    out = x @ W
    return {
        "the bias b is missing": out,
        "the sign of the bias": out - b,
        "the bias is a factor; it should be added": out * b,
        "the bias is added twice": out + 2 * b,
        "all biases are added to each output; each output has its own": out + np.sum(b),
        "averaged over the batch: each case has its own output": (out + b) / len(x),
        "that is the ReLU of it, which is a function of its own": np.maximum(out + b, 0.0),
    }


def _not_relu(x: Any) -> dict[str, Any]:
    return {
        "that is the absolute value": np.abs(x),
        "it keeps what is negative: take the larger of x and 0": np.minimum(x, 0.0),
        "that is its derivative, 1 where x > 0: keep x there": np.where(x > 0, 1.0, 0.0),
        "np.max takes the largest of an axis; np.maximum(x, 0) compares element by element": [np.max(x, 0), np.max(x)],
        "a leak: what is negative becomes 0": [np.where(x > 0, x, share * x) for share in (0.01, 0.1, 0.2)],
        "it is cut off above, too": np.clip(x, 0.0, 1.0),
        "that is the sigmoid": 1 / (1 + np.exp(-x)),
        "the sign": -np.maximum(x, 0.0),
    }


def _not_the_soft_cost(z: Any, v: Any, T: Any) -> dict[str, Any]:
    divergence = soft_cross_entropy(z, v=v, T=T)[0] - soft_cross_entropy(v, v=v, T=T)[0]
    return {"this is the divergence; the cross-entropy has the teacher's entropy too (D2.7)": divergence}


def _affine_forward(x: Any, W: Any, b: Any) -> Any:
    return x @ W + b


def _relu_forward(x: Any) -> Any:
    return np.maximum(x, x.dtype.type(0))


def _step(parameters: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float) -> Any:
    velocity = momentum * velocity - learning_rate * gradient
    return parameters + velocity, velocity


EXERCISES = {
    "14.1": Part(
        "the softened softmax", FIRST["1.1"].solution, FIRST["1.1"].mistakes, FIRST["1.1"].cases,
        name="softmax", arguments=("z", "T"), outputs=("q",), truth=softmax,
        tries=[(z, T) for (z, _), T in _LOGITS],
    ),
    "14.2": Part(
        "the soft cost and its gradient", mistakes=_not_the_soft_cost, gradient="soft cross-entropy",
        name="soft_cost", arguments=("z", "v", "T"), outputs=("C", "dz"),
        truth=lambda z, v, T: soft_cross_entropy(z, v=v, T=T),
        tries=[(z, v, T) for (z, v), T in _LOGITS],
    ),
    "14.3": Part(
        "the hard cost and its gradient", gradient="hard cross-entropy",
        name="hard_cost", arguments=("z", "y"), outputs=("C", "dz"),
        truth=lambda z, y: hard_cross_entropy(z, y=y),
        tries=_LABELLED,
    ),
    "14.4": Part(
        "the affine layer, forward", _affine_forward, _not_affine, [case[1:] for case in _LAYERS[4:7]],
        name="affine_forward", arguments=("x", "W", "b"), outputs=("out",), truth=_affine_forward,
        tries=[case[1:] for case in _LAYERS],
    ),
    "14.5": Part(
        "the affine layer, backward", gradient="affine",
        name="affine_backward", arguments=("dout", "x", "W"), outputs=("dx", "dW", "db"),
        truth=lambda dout, x, W: (dout @ W.T, x.T @ dout, np.sum(dout, axis=0)),
        tries=[case[:3] for case in _LAYERS],
    ),
    "14.6": Part(
        "the ReLU, forward", _relu_forward, _not_relu, [case[:1] for case in _LAYERS[4:6]],
        name="relu_forward", arguments=("x",), outputs=("out",), truth=_relu_forward,
        tries=[case[:1] for case in _LAYERS],
    ),
    "14.7": Part(
        "the ReLU, backward", gradient="relu",
        name="relu_backward", arguments=("dout", "x"), outputs=("dx",),
        truth=lambda dout, x: dout * (x > 0),
        tries=[(case[0], _arrays(case[0].dtype.name, case[0].shape)[0]) for case in _LAYERS],
    ),
    "14.8": Part(
        "a step with momentum", gradient="momentum",
        name="momentum_step", arguments=("parameters", "velocity", "gradient", "learning_rate", "momentum"),
        outputs=("parameters", "velocity"), truth=_step, tries=_STEPS,
    ),
}  # fmt: skip
