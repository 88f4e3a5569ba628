"""How the doctor describes a problem and the mistakes that can be made in it.

A *recipe* is the gradient by hand. Wherever a learner may go wrong, it asks `made` for the value to use: the right one,
or what a learner who makes a certain mistake writes there. So two mistakes at once need no code of their own, and the
catalogue of a problem is what its recipe asks for. The recipe is never the truth: a test holds it, without any mistake,
to the derivative of the textbook's forward pass.

Shapes: B cases, K classes, D inputs, H outputs. There is one student: no leading axes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

Outputs: TypeAlias = tuple[NDArray[Any], ...]
"""The gradients that a backward pass returns, one per argument."""


class Mistake(NamedTuple):
    """One mistake at one place of a gradient. At most one mistake can be made at a place."""

    place: str
    name: str
    way: int  # which of several ways to make this mistake
    is_factor: bool  # whether it only multiplies the gradient by a number; three mistakes at once often do


class Made:
    """The mistakes that a recipe makes, by place. A recipe that makes none notes in `possible` all that it can make."""

    def __init__(self, mistakes: Iterable[Mistake] = ()) -> None:
        self.at = {mistake.place: mistake for mistake in mistakes}
        self.possible: dict[Mistake, None] = {}

    def __call__(self, place: str, right: Any, wrong: Mapping[str, Any], is_factor: bool = False) -> Any:
        """Return the value to use at this place of the gradient.

        Args:
            place: its name.
            right: the right value. Here and in `wrong`, a function of no arguments is called if its value is needed.
            wrong: for each mistake that can be made here, by name, its value, or a list of values: several ways.
            is_factor: whether the value only multiplies the gradient.

        Returns:
            The value of the mistake that is made here; `right` if none is.
        """
        if not self.at:
            self._note(place, wrong, is_factor)
        value, mistake = right, self.at.get(place)
        if mistake is not None and mistake.name in wrong:
            value = wrong[mistake.name]
            value = value[mistake.way] if isinstance(value, list) else value
        return value() if callable(value) else value

    def factor(self, place: str, right: Any, wrong: Mapping[str, Any]) -> Any:
        """Return the value to use for a factor of the whole gradient."""
        return self(place, right, wrong, is_factor=True)

    def _note(self, place: str, wrong: Mapping[str, Any], is_factor: bool) -> None:
        for name, value in wrong.items():
            for way in range(len(value) if isinstance(value, list) else 1):
                self.possible[Mistake(place, name, way, is_factor)] = None


class Argument(NamedTuple):
    """An argument of a forward pass: its axes, one letter each, and what kind of numbers it holds."""

    axes: str
    kind: str


LOGITS, LABELS, TEMPERATURE = Argument("BK", "logits"), Argument("B", "labels"), Argument("", "temperature")


@dataclass(frozen=True, eq=False)
class Problem:
    """What the doctor knows of one gradient.

    Attributes:
        name: as the learner gives it. minikd's functions have the same name, perhaps with `_forward`, `_backward` and
            so on.
        arguments: of the forward pass, by name.
        forward: the textbook's, of the arguments; a cost, or an array of the axes of `upstream`.
        recipe: (made, **arguments) -> the gradients, with the mistakes that `made` makes.
        size: (**arguments) -> for each gradient, the size of the numbers that a right program adds and subtracts on its
            way there, so that it may be off by some EPS of it. Infinite where the derivative does not exist.
        wrt: the arguments whose gradients are asked for, in order.
        overwrites: for a step of an optimiser, the arguments that it returns and may overwrite: `forward` is the truth.
        upstream: the gradient that comes from above, by name; none for a cost.
        extras: what the learner's function may ask for beyond the arguments, computed from them.
    """

    name: str
    arguments: Mapping[str, Argument]
    forward: Callable[..., Any]
    recipe: Callable[..., Outputs]
    size: Callable[..., tuple[Any, ...]]
    wrt: tuple[str, ...] = ("z",)
    overwrites: tuple[str, ...] = ()
    upstream: Mapping[str, Argument] = field(default_factory=dict)
    extras: Callable[..., dict[str, Any]] = field(default=lambda **arguments: {})

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what the learner's function returns."""
        return self.overwrites or tuple(f"d{name}" for name in self.wrt)

    @property
    def is_cost(self) -> bool:
        """Whether the forward pass returns a single number."""
        return not self.upstream and not self.overwrites
