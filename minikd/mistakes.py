"""The catalogue of the gradient doctor: the problems that it knows, and the mistakes that learners make in each.

A problem is a forward pass as the textbook has it, which takes complex numbers, so that its derivative is known to the
last digits; a draw of arguments; and a *recipe*: the gradient by hand, with a switch for each mistake. `made` holds the
switches that are on, so a mistake is a change of the recipe, and two at once come by construction. The recipe is never
the truth: with no switch on it must equal the derivative of the forward pass, and a test holds it to that.

Shapes: B cases, K classes, D inputs, H outputs. There is one student: no leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Outputs: TypeAlias = tuple[NDArray[Any], ...]
"""The gradients that a backward pass returns, one an argument."""


FACTOR_PLACES = frozenset({"1/T", "T²", "1/T²", "1/K", "2", "sign", "batch", "classes", "scale"})


class Mistake(NamedTuple):
    """One mistake, in words. Of several in one place of the gradient, at most one can be made at a time."""

    place: str
    name: str
    why: str
    way: str = ""  # of several to make one mistake

    @property
    def is_factor(self) -> bool:
        """Whether it only multiplies the gradient by a number, which three mistakes at once often do."""
        return self.place in FACTOR_PLACES


Made: TypeAlias = frozenset[Mistake]
"""The switches that are on."""


class Argument(NamedTuple):
    """An argument of a forward pass: its axes, a letter each, and what kind of numbers it holds."""

    axes: str
    kind: str


@dataclass(frozen=True)
class Problem:
    """What the doctor knows of one gradient.

    forward: the textbook's, of the arguments by name; a cost, or an array of the axes `out_axes`.
    wrt: the arguments whose gradients are asked for, in order; none where the truth is a definition, `forward` itself.
    upstream: the name of the gradient that comes from above; empty for a cost.
    recipe: (made, arguments) -> the gradients, with the mistakes in `made`.
    size: the arguments -> for each gradient, the size of the numbers that a right program adds and subtracts on its way
        there, so that it may be off by some EPS of it. Infinite where the derivative does not exist.
    extras: what the learner's function may ask for beyond the arguments, worked out from them.
    """

    name: str
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]
    wrt: tuple[str, ...]
    forward: Callable[..., Any]
    recipe: Callable[..., Outputs]
    size: Callable[..., tuple[Any, ...]]
    mistakes: tuple[Mistake, ...]
    upstream: str = ""
    out_axes: str = ""
    extras: Callable[..., dict[str, Any]] = lambda **arguments: {}
    aliases: tuple[str, ...] = ()  # minikd's own functions of it


# ---- what the forward passes and the recipes are made of -------------------------------------------------------------


def _log_softmax(u: Any, axis: int | None = -1) -> Any:
    u = u - np.max(u.real, axis=axis, keepdims=True)
    return u - np.log(np.sum(np.exp(u), axis=axis, keepdims=True))


def _softmax(u: Any) -> Any:
    return np.exp(_log_softmax(u))


def _one_hot(y: Any, K: int) -> Any:
    return (np.arange(K) == y[:, None]).astype(float)  # (B, K)


def _centred(z: Any, axis: int | None = -1) -> Any:
    return z - np.mean(z, axis=axis, keepdims=True)


def _through_softmax(q: Any, dq: Any) -> Any:
    """From ∂C/∂q to ∂C/∂u, for q = softmax(u)."""
    return q * (dq - np.sum(q * dq, axis=-1, keepdims=True))


def _pick(made: Made, right: Any, wrong: Mapping[Mistake, Any]) -> Any:
    """The value that goes with the mistake made, of several in one place, or the right one; worked out if it must be.

    A value may be a function of no arguments: the doctor tries thousands of sets of mistakes, and needs one value each.
    """
    value = next((value for mistake, value in wrong.items() if mistake in made), right)
    return value() if callable(value) else value


def _largest(*arrays: Any) -> float:
    return max(float(np.max(np.abs(array))) for array in arrays)


LOGITS, LABELS, TEMPERATURE = Argument("BK", "logits"), Argument("B", "labels"), Argument("", "temperature")

# ---- mistakes that several problems share ----------------------------------------------------------------------------

NO_1_T = Mistake("1/T", "missing 1/T", "The chain rule through z/T leaves a factor 1/T in front.")
TWICE_1_T = Mistake("1/T", "1/T twice", "z/T is differentiated once, so one factor 1/T is left, not two.")
TIMES_T2 = Mistake(
    "1/T",
    "T² in place of 1/T",
    "The chain rule divides by T; T² belongs to the weight of the soft cost in the distillation loss.",
)
TIMES_T = Mistake(
    "1/T",
    "T in place of 1/T",
    "The chain rule through z/T divides by T; a T², which turns 1/T into T, belongs to the distillation loss alone.",
)
SIGN = Mistake("sign", "sign", "The whole gradient points the other way: a minus is lost, or one too many.")
NO_BATCH_MEAN = Mistake(
    "batch",
    "mean over the batch forgotten",
    "The cost is an average over the B cases, so each case's gradient is divided by B.",
)
TWO_BATCH_MEANS = Mistake(
    "batch",
    "mean over the batch taken twice",
    "One division by B is enough: is it in the cost already, or in what comes from above?",
)
CLASS_MEAN = Mistake(
    "classes",
    "mean over classes instead of sum",
    "A case's cost is a sum over its K classes; a mean makes the gradient K times too small.",
)
T_ON_STUDENT = Mistake(
    "T", "T only on the student", "The teacher's logits are divided by T too: p = softmax(v/T), not softmax(v)."
)
T_ON_TEACHER = Mistake(
    "T", "T only on the teacher", "The student's logits are divided by T too: q = softmax(z/T), not softmax(z)."
)
NO_T = Mistake(
    "T",
    "T forgotten in both softmaxes",
    "Both sides are softened: q = softmax(z/T), p = softmax(v/T). The 1/T in front does not replace that.",
)
T_MULTIPLIED = Mistake(
    "T", "T multiplied instead of divided", "Softer means z/T: multiplied by T the logits get sharper."
)
NO_P = Mistake("p", "p forgotten", "The gradient is the difference of two distributions; the teacher's is missing.")
P_ADDED = Mistake("p", "p added instead of subtracted", "The gradient is q − p: it vanishes where the two agree.")
LOG_P = Mistake(
    "p", "log p where p belongs", "Probabilities are subtracted, not their logarithms: take the exponential."
)
HARD_P = Mistake(
    "p",
    "the teacher's one answer in place of its probabilities",
    "p is all of softmax(v/T), not 1 at its largest logit.",
)
LOGITS_AS_P = Mistake("p", "logits where the teacher's probabilities belong", "Take the softmax before you subtract.")
LOGITS_AS_P_OVER_T = LOGITS_AS_P._replace(way="v/T")
SOFTMAX_OF_P = Mistake(
    "p",
    "probabilities where the teacher's logits belong",
    "v holds logits: a softmax before the softmax at T flattens the teacher almost to a constant.",
)
SOFTMAX_OF_P_AT_1 = SOFTMAX_OF_P._replace(way="the first at T, the second at 1")
SOFTMAX_OF_P_AT_T = SOFTMAX_OF_P._replace(way="both at T")
SOFTMAX_TWICE = Mistake(
    "q", "softmax applied twice to the student", "z holds logits, and one softmax makes them probabilities."
)
SOFTMAX_TWICE_FIRST_AT_1 = SOFTMAX_TWICE._replace(way="the first at 1, the second at T")
SOFTMAX_TWICE_AT_T = SOFTMAX_TWICE._replace(way="both at T")
NO_STUDENT = Mistake(
    "q", "q forgotten", "The gradient is the difference of two distributions; the student's is missing."
)
LOGITS_AS_Q = Mistake("q", "logits where the student's probabilities belong", "Take the softmax before you subtract.")
LOGITS_AS_Q_OVER_T = LOGITS_AS_Q._replace(way="z/T")
LOG_Q = Mistake(
    "q", "log q where q belongs", "The cost contains log q, but its gradient contains q: take the exponential."
)
BATCH_AXIS = Mistake(
    "axis", "softmax along the batch", "Probabilities sum to one over the classes of a case: axis=-1, not axis=0."
)
WHOLE_BATCH = Mistake(
    "axis",
    "softmax over the whole batch",
    "Each case has probabilities of its own, which sum to one: axis=-1, keepdims=True in the sum.",
)
UNNORMALISED = Mistake(
    "axis",
    "exponentials not divided by their sum",
    "Probabilities of a case sum to one: divide by Σ exp over the classes.",
)
SWAPPED_COST = Mistake(
    "cost",
    "teacher and student swapped in the cost",
    "In −Σ p log q the teacher weighs and the student is in the logarithm; here it is the other way round.",
)
SWAPPED_DIVERGENCE = SWAPPED_COST._replace(way="Σ q log (q/p)")
SQUARED_ERROR = Mistake(
    "cost",
    "squared error on probabilities",
    "Its gradient keeps the softmax's Jacobian and vanishes where q saturates; in the cross-entropy's that cancels.",
)
SQUARED_ERROR_WITHOUT_HALF = SQUARED_ERROR._replace(way="without ½")
LABEL_FORGOTTEN = Mistake("label", "label not subtracted", "The gradient is q − 1 at the label: the 1 is missing.")
LABEL_TWICE = Mistake(
    "label", "label subtracted twice", "The gradient is q − 1 at the label, not q − 2: subtract it once."
)
LABEL_ADDED = Mistake("label", "label added instead of subtracted", "The gradient is q − 1 at the label, not q + 1.")
LABELS_FROM_1 = Mistake(
    "label", "labels counted from 1", "Class 0 is the first column: subtract at column y, not y − 1."
)
LABEL_AS_NUMBER = Mistake(
    "label",
    "the label's number subtracted",
    "A label says which class, not how much: subtract its one-hot row, 1 at y.",
)
LABEL_ROWS = Mistake(
    "label", "labels used as rows", "q[y] are rows, that is cases; the label chooses a column: q[np.arange(B), y]."
)
LABEL_EVERYWHERE = Mistake(
    "label",
    "every label subtracted in every case",
    "q[:, y] takes the columns of all labels in every row; a case has one label: q[np.arange(B), y].",
)

LABEL_IN_EVERY_CLASS = Mistake(
    "label", "1 subtracted from every class", "Only the label's column loses 1: subtract its one-hot row."
)
BRACKETS = Mistake(
    "cost", "brackets around q − p forgotten", "1/T and 1/B multiply all of q − p: put the difference into brackets."
)
BRACKETS_OF_T = BRACKETS._replace(way="1/T on p only")
BRACKETS_OF_BOTH = BRACKETS._replace(way="1/T and 1/B on p only")
BRACKETS_OF_EACH = BRACKETS._replace(way="1/T on q only, 1/B on p only")

LABEL_MISTAKES = (
    LABEL_FORGOTTEN,
    LABEL_TWICE,
    LABEL_ADDED,
    LABELS_FROM_1,
    LABEL_AS_NUMBER,
    LABEL_ROWS,
    LABEL_EVERYWHERE,
    LABEL_IN_EVERY_CLASS,
)
AXES = (BATCH_AXIS, WHOLE_BATCH, UNNORMALISED)
P_AND_Q = (
    T_ON_STUDENT, T_ON_TEACHER, NO_T, T_MULTIPLIED,
    NO_P, P_ADDED, LOG_P, HARD_P, LOGITS_AS_P, LOGITS_AS_P_OVER_T,
    SOFTMAX_OF_P, SOFTMAX_OF_P_AT_1, SOFTMAX_OF_P_AT_T,
    NO_STUDENT, SOFTMAX_TWICE, SOFTMAX_TWICE_FIRST_AT_1, SOFTMAX_TWICE_AT_T,
    LOGITS_AS_Q, LOGITS_AS_Q_OVER_T, LOG_Q, *AXES,
    SWAPPED_COST, SWAPPED_DIVERGENCE, SQUARED_ERROR, SQUARED_ERROR_WITHOUT_HALF,
)  # fmt: skip


def _logs(made: Made, u: Any) -> Any:
    """The logarithm of softmax(u), with the mistakes of `AXES`."""
    if UNNORMALISED in made:
        return u
    return _log_softmax(u, None if WHOLE_BATCH in made else 0 if BATCH_AXIS in made else -1)


def _soft_difference(made: Made, z: Any, v: Any, T: float) -> Any:
    """q − p, (B, K), with the mistakes of `P_AND_Q`."""

    def softmax(u: Any) -> Any:
        return np.exp(_logs(made, u))

    T_z = _pick(made, T, {T_ON_TEACHER: 1.0, NO_T: 1.0, T_MULTIPLIED: 1 / T})
    T_v = _pick(made, T, {T_ON_STUDENT: 1.0, NO_T: 1.0, T_MULTIPLIED: 1 / T})
    log_q, log_p = _logs(made, z / T_z), _logs(made, v / T_v)
    q = _pick(
        made,
        np.exp(log_q),
        {
            NO_STUDENT: np.zeros_like(z),
            SOFTMAX_TWICE: lambda: softmax(np.exp(log_q)),
            SOFTMAX_TWICE_FIRST_AT_1: lambda: softmax(softmax(z) / T_z),
            SOFTMAX_TWICE_AT_T: lambda: softmax(np.exp(log_q) / T_z),
            LOGITS_AS_Q: z,
            LOGITS_AS_Q_OVER_T: z / T,
            LOG_Q: log_q,
        },
    )
    p = _pick(
        made,
        np.exp(log_p),
        {
            NO_P: np.zeros_like(v),
            P_ADDED: lambda: -np.exp(log_p),
            LOG_P: log_p,
            HARD_P: lambda: _one_hot(np.argmax(v, axis=-1), v.shape[-1]),
            LOGITS_AS_P: v,
            LOGITS_AS_P_OVER_T: v / T,
            SOFTMAX_OF_P: lambda: softmax(softmax(v) / T_v),
            SOFTMAX_OF_P_AT_1: lambda: softmax(np.exp(log_p)),
            SOFTMAX_OF_P_AT_T: lambda: softmax(np.exp(log_p) / T_v),
        },
    )
    return _pick(
        made,
        q - p,
        {
            SWAPPED_COST: lambda: _through_softmax(q, -log_p),
            SWAPPED_DIVERGENCE: lambda: _through_softmax(q, log_q - log_p),
            SQUARED_ERROR: lambda: _through_softmax(q, q - p),
            SQUARED_ERROR_WITHOUT_HALF: lambda: 2 * _through_softmax(q, q - p),
        },
    )


def _averaged(made: Made, B: int, K: int) -> float:
    """What the sum over cases and classes is multiplied by: 1/B."""
    over_cases = _pick(made, 1 / B, {NO_BATCH_MEAN: 1.0, TWO_BATCH_MEANS: 1 / B**2})
    return float(over_cases / _pick(made, 1, {CLASS_MEAN: K}))


# ---- soft cross-entropy ----------------------------------------------------------------------------------------------

SWAPPED = SIGN._replace(
    name="q and p swapped",
    why="The gradient is q − p, student less teacher: a step against p − q moves away from the teacher.",
)
JACOBIAN_TWICE = Mistake(
    "cost",
    "the softmax's Jacobian once too often",
    "(1/T)(q − p) is the gradient with respect to the logits already: there is no softmax left to go back through.",
)
MATCHED = Mistake(
    "cost",
    "logit matching in place of the cross-entropy",
    "(z − v)/(K T²) is what (1/T)(q − p) tends to as T grows, for logits of zero mean; at T = 20 it is still far off.",
)
MATCHED_WITHOUT_MEANS = MATCHED._replace(way="means removed")
WRT_Q = Mistake(
    "cost", "stopped at q", "−p/q is the gradient with respect to q: go on through the softmax, to the logits z."
)
WRT_Q_OVER_T = WRT_Q._replace(way="with the 1/T")
WRT_LOG_Q = Mistake(
    "cost", "stopped at log q", "−p is the gradient with respect to log q: go on through the softmax, to the logits z."
)
WRT_V = Mistake(
    "cost",
    "gradient with respect to v",
    "The teacher stands still: asked for is the gradient at the student's logits z.",
)
OWN_TERM = Mistake(
    "cost",
    "only each class's own term",
    "Every logit moves every probability: −p_i (1 − q_i) lacks the other classes' p_j q_i. Together they are q − p.",
)
COST_TERMS = Mistake(
    "cost",
    "the terms of the cost in place of its gradient",
    "−p log q adds up to the cost; differentiate it by z: q − p.",
)

DIVERGENCE_TERMS = COST_TERMS._replace(way="of the divergence")


def _soft_forward(z: Any, v: Any, T: float) -> Any:
    return -np.sum(_softmax(v / T) * _log_softmax(z / T)) / len(z)


def _soft_recipe(made: Made, z: Any, v: Any, T: float) -> Outputs:
    B, K = z.shape
    factor = _pick(made, 1 / T, {NO_1_T: 1.0, TWICE_1_T: 1 / T**2, TIMES_T: T, TIMES_T2: T**2})
    sign = _pick(made, 1, {SWAPPED: -1})
    difference = _soft_difference(made, z, v, T)
    log_q, log_p = _logs(made, z / T), _logs(made, v / T)
    q, p = np.exp(log_q), np.exp(log_p)
    difference = _pick(  # the factor 1/T comes later, so T undoes it where it comes in behind q alone
        made,
        difference,
        {
            JACOBIAN_TWICE: lambda: _through_softmax(q, difference) / T,
            MATCHED: (z - v) / (K * T),
            MATCHED_WITHOUT_MEANS: lambda: _centred(z - v) / (K * T),
            WRT_Q: -T * p / q,
            WRT_Q_OVER_T: -p / q,
            WRT_LOG_Q: -T * p,
            WRT_V: lambda: _through_softmax(p, -log_q),
            OWN_TERM: -p * (1 - q),
            COST_TERMS: -T * p * log_q,
            DIVERGENCE_TERMS: T * p * (log_p - log_q),
            BRACKETS: B * q - p,
            BRACKETS_OF_T: T * q - p,
            BRACKETS_OF_BOTH: B * T * q - p,
            BRACKETS_OF_EACH: B * q - T * p,
        },
    )
    return (sign * factor * difference * _averaged(made, B, K),)


SOFT = Problem(
    name="soft cross-entropy",
    aliases=("minikd.core.losses.soft_cross_entropy",),
    arguments={"z": LOGITS, "v": LOGITS, "T": TEMPERATURE},
    outputs=("dz",),
    wrt=("z",),
    forward=_soft_forward,
    recipe=_soft_recipe,
    size=lambda z, v, T: ((1 + _largest(z, v) / T) / T / len(z),),
    mistakes=(
        NO_1_T, TWICE_1_T, TIMES_T, TIMES_T2, SWAPPED, NO_BATCH_MEAN, TWO_BATCH_MEANS, CLASS_MEAN,
        *P_AND_Q, JACOBIAN_TWICE, MATCHED, MATCHED_WITHOUT_MEANS,
        WRT_Q, WRT_Q_OVER_T, WRT_LOG_Q, WRT_V, OWN_TERM, COST_TERMS, DIVERGENCE_TERMS,
        BRACKETS, BRACKETS_OF_T, BRACKETS_OF_BOTH, BRACKETS_OF_EACH,
    ),
)  # fmt: skip

# ---- hard cross-entropy ----------------------------------------------------------------------------------------------

ONLY_AT_LABEL = Mistake(
    "cost", "gradient at the label alone", "The other logits count too, through the sum of the softmax: q there, not 0."
)
WRT_LABEL_Q = WRT_Q._replace(
    why="−1/q at the label is the gradient with respect to q: go on through the softmax, to z."
)
LABEL_COST = COST_TERMS._replace(
    why="−log q at the label is the cost; differentiate it by z: q less the one-hot label."
)

HARD_BRACKETS = Mistake(
    "cost",
    "brackets around q less the label forgotten",
    "1/B multiplies q and the label's 1 alike: subtract first, then divide.",
)
HARD_BRACKETS_OF_Q = HARD_BRACKETS._replace(way="1/B on q only")


def _hard_forward(z: Any, y: Any) -> Any:
    return -np.sum(_one_hot(y, z.shape[-1]) * _log_softmax(z)) / len(z)


def _label(made: Made, y: Any, K: int) -> Any:
    one_hot = _one_hot(y, K)
    return _pick(
        made,
        one_hot,
        {
            LABEL_FORGOTTEN: 0 * one_hot,
            LABEL_TWICE: 2 * one_hot,
            LABEL_ADDED: -one_hot,
            LABELS_FROM_1: lambda: np.roll(one_hot, -1, axis=-1),
            LABEL_AS_NUMBER: lambda: np.zeros_like(one_hot) + y[:, None],
            LABEL_ROWS: lambda: np.zeros_like(one_hot) + np.isin(np.arange(len(y)), y)[:, None],
            LABEL_EVERYWHERE: np.zeros_like(one_hot) + np.max(one_hot, axis=0),
            LABEL_IN_EVERY_CLASS: np.ones_like(one_hot),
        },
    )


def _hard_recipe(made: Made, z: Any, y: Any) -> Outputs:
    B, K = z.shape
    log_q = _logs(made, z)
    q = _pick(
        made,
        np.exp(log_q),
        {
            NO_STUDENT: np.zeros_like(z),
            SOFTMAX_TWICE: lambda: np.exp(_logs(made, np.exp(log_q))),
            LOGITS_AS_Q: z,
            LOG_Q: log_q,
        },
    )
    difference = q - _label(made, y, K)
    difference = _pick(
        made,
        difference,
        {
            SQUARED_ERROR: lambda: _through_softmax(q, difference),
            SQUARED_ERROR_WITHOUT_HALF: lambda: 2 * _through_softmax(q, difference),
            ONLY_AT_LABEL: lambda: _one_hot(y, K) * difference,
            WRT_LABEL_Q: lambda: -_one_hot(y, K) / np.exp(log_q),
            LABEL_COST: lambda: -_one_hot(y, K) * log_q,
            HARD_BRACKETS: lambda: B * q - _one_hot(y, K),
            HARD_BRACKETS_OF_Q: lambda: q - B * _one_hot(y, K),
        },
    )
    return (_pick(made, 1, {SIGN: -1}) * difference * _averaged(made, B, K),)


HARD = Problem(
    name="hard cross-entropy",
    aliases=("minikd.core.losses.hard_cross_entropy",),
    arguments={"z": LOGITS, "y": LABELS},
    outputs=("dz",),
    wrt=("z",),
    forward=_hard_forward,
    recipe=_hard_recipe,
    size=lambda z, y: ((1 + _largest(z)) / len(z),),
    mistakes=(
        SIGN, *LABEL_MISTAKES, NO_BATCH_MEAN, TWO_BATCH_MEANS, CLASS_MEAN,
        NO_STUDENT, SOFTMAX_TWICE, LOGITS_AS_Q, LOG_Q, *AXES,
        SQUARED_ERROR, SQUARED_ERROR_WITHOUT_HALF, ONLY_AT_LABEL, WRT_LABEL_Q, LABEL_COST,
        HARD_BRACKETS, HARD_BRACKETS_OF_Q,
    ),
)  # fmt: skip

# ---- distillation ----------------------------------------------------------------------------------------------------

NO_T2 = Mistake(
    "T²",
    "missing T²",
    "The soft gradient shrinks as 1/T²; T² in front of the soft cost keeps it in balance with the hard one.",
)
T_FOR_T2 = Mistake(
    "T²",
    "T in place of T²",
    "The soft gradient shrinks as 1/T²: one 1/T from the chain rule, one from q − p; T makes up for only one of them. "
    "To leave out both T² and the chain rule's 1/T is the same in numbers.",
)
T2_DIVIDED = Mistake(
    "T²",
    "divided by T² instead of multiplied",
    "The soft gradient shrinks as 1/T² already: multiply by T² to undo that.",
)
T2_ON_HARD = Mistake(
    "T² on hard", "T² on the hard part too", "The hard cost is at T = 1 and shrinks with no T: it carries no T²."
)
SOFT_NO_1_T = NO_1_T._replace(name="missing 1/T in the soft part")
WEIGHTS_SWAPPED = Mistake(
    "weights", "alpha and 1 − alpha swapped", "alpha weighs the soft part, 1 − alpha the hard part."
)
NO_HARD_WEIGHT = Mistake("weights", "1 − alpha forgotten", "The hard part has a weight too: 1 − alpha.")
NO_SOFT_WEIGHT = Mistake("weights", "alpha forgotten", "The soft part has a weight too: alpha.")
NO_WEIGHTS = Mistake("weights", "alpha and 1 − alpha forgotten", "alpha weighs the soft part, 1 − alpha the hard part.")
ALPHA_ON_BOTH = Mistake("weights", "alpha on the hard part too", "The hard part gets what is left: 1 − alpha.")
HARD_AT_T = Mistake(
    "hard T", "hard targets at temperature T", "The labels are met at T = 1: softmax(z), not softmax(z/T)."
)
HARD_AT_T_WITH_1_T = HARD_AT_T._replace(way="with the 1/T of its chain rule")
NO_HARD = Mistake(
    "parts", "hard part forgotten", "The cost has two parts: add (1 − alpha) times the gradient with the labels."
)
NO_SOFT = Mistake(
    "parts", "soft part forgotten", "The cost has two parts: add alpha T² times the gradient with the teacher."
)
SOFT_SIGN = SIGN._replace(name="q and p swapped in the soft part", why="The soft part is q − p, student less teacher.")
HARD_SIGN = SIGN._replace(name="sign of the hard part", why="The hard part is q less the one-hot label.")
HARD_NO_BATCH_MEAN = NO_BATCH_MEAN._replace(name="mean over the batch in the soft part only")
SOFT_NO_BATCH_MEAN = NO_BATCH_MEAN._replace(name="mean over the batch in the hard part only")
SOFT_CLASS_MEAN = CLASS_MEAN._replace(
    name="mean over classes in the soft part only",
    why="Both parts are sums over classes; a mean makes the soft one K times too small.",
)


def _distillation_forward(z: Any, v: Any, y: Any, T: float, alpha: float) -> Any:
    return alpha * T**2 * _soft_forward(z, v, T) + (1 - alpha) * _hard_forward(z, y)


def _distillation_recipe(made: Made, z: Any, v: Any, y: Any, T: float, alpha: float) -> Outputs:
    B, K = z.shape
    soft_weight, hard_weight = _pick(
        made,
        (alpha, 1 - alpha),
        {
            WEIGHTS_SWAPPED: (1 - alpha, alpha),
            NO_HARD_WEIGHT: (alpha, 1.0),
            NO_SOFT_WEIGHT: (1.0, 1 - alpha),
            NO_WEIGHTS: (1.0, 1.0),
            ALPHA_ON_BOTH: (alpha, alpha),
        },
    )
    balance = _pick(made, T**2, {NO_T2: 1.0, T_FOR_T2: T, T2_DIVIDED: 1 / T**2})
    hard_balance = _pick(made, 1.0, {T2_ON_HARD: T**2})
    soft_sign, hard_sign = _pick(made, (1, 1), {SIGN: (-1, -1), SOFT_SIGN: (-1, 1), HARD_SIGN: (1, -1)})
    soft_sum, hard_sum = _pick(
        made,
        (1, 1),
        {
            HARD_NO_BATCH_MEAN: (1, B),
            SOFT_NO_BATCH_MEAN: (B, 1),
            SOFT_CLASS_MEAN: (1 / K, 1),
            NO_SOFT: (0, 1),
            NO_HARD: (1, 0),
        },
    )
    T_hard = _pick(made, 1.0, {HARD_AT_T: T, HARD_AT_T_WITH_1_T: T})
    q = np.exp(_logs(made, z / T_hard))
    at_T = _pick(made, 1.0, {HARD_AT_T_WITH_1_T: 1 / T})
    soft = soft_sign * _pick(made, 1 / T, {SOFT_NO_1_T: 1.0}) * _soft_difference(made, z, v, T)
    hard = hard_sign * at_T * (q - _label(made, y, K))
    dz = soft_weight * balance * soft_sum * soft + hard_weight * hard_balance * hard_sum * hard
    return (dz * _averaged(made, B, K),)


DISTILLATION = Problem(
    name="distillation",
    aliases=("minikd.core.losses.distillation_loss",),
    arguments={"z": LOGITS, "v": LOGITS, "y": LABELS, "T": TEMPERATURE, "alpha": Argument("", "weight")},
    outputs=("dz",),
    wrt=("z",),
    forward=_distillation_forward,
    recipe=_distillation_recipe,
    size=lambda z, v, y, T, alpha: (
        (alpha * T * (1 + _largest(z, v) / T) + (1 - alpha) * (1 + _largest(z))) / len(z),
    ),
    mistakes=(
        NO_T2, T_FOR_T2, T2_DIVIDED, T2_ON_HARD, SOFT_NO_1_T,
        WEIGHTS_SWAPPED, NO_HARD_WEIGHT, NO_SOFT_WEIGHT, NO_WEIGHTS, ALPHA_ON_BOTH,
        HARD_AT_T, HARD_AT_T_WITH_1_T, NO_HARD, NO_SOFT, SOFT_SIGN, HARD_SIGN, SIGN, *LABEL_MISTAKES,
        NO_BATCH_MEAN, TWO_BATCH_MEANS, HARD_NO_BATCH_MEAN, SOFT_NO_BATCH_MEAN, CLASS_MEAN, SOFT_CLASS_MEAN,
        *P_AND_Q,
    ),
)  # fmt: skip

# ---- logit matching, and the limit of high temperatures --------------------------------------------------------------

FACTOR_2 = Mistake("2", "factor 2", "The cost carries a ½, which takes the 2 of the square away.")
FACTOR_HALF = Mistake("2", "factor ½", "The square gives a 2, which takes the cost's ½ away.")
NO_TEACHER = Mistake(
    "teacher", "teacher forgotten", "The student's logits are compared with the teacher's: subtract v."
)
TEACHER_ADDED = Mistake(
    "teacher", "teacher added instead of subtracted", "The gradient vanishes where z = v: subtract v."
)
STUDENT_FORGOTTEN = Mistake(
    "student", "student forgotten", "The student's logits are compared with the teacher's: it is z less v."
)
MATCHED_LOGARITHMS = Mistake(
    "difference",
    "log-probabilities where logits belong",
    "It is the logits that are matched here: no softmax, no logarithm.",
)
COST_FOR_GRADIENT = Mistake(
    "difference", "the terms of the cost in place of its gradient", "½d² adds up to the cost; its derivative is d."
)
COST_WITHOUT_HALF = COST_FOR_GRADIENT._replace(way="without ½")
MATCHED_PROBABILITIES = Mistake(
    "difference", "probabilities where logits belong", "It is the logits that are matched here: no softmax."
)
MEANS_REMOVED = Mistake(
    "difference",
    "means removed",
    "This cost compares the logits as they are; only the limit at high T removes their means.",
)
ABSOLUTE = Mistake("difference", "absolute difference", "The derivative of ½d² is d, not its sign.")
UNSQUARED = Mistake(
    "difference", "distance not squared", "d/‖d‖ is the gradient of the distance; the cost is half its square."
)


def _two_logits(made: Made, z: Any, v: Any) -> tuple[Any, Any]:
    """z and v with a sign or one of them lost."""
    return (_pick(made, z, {STUDENT_FORGOTTEN: 0 * z}), _pick(made, v, {NO_TEACHER: 0 * v, TEACHER_ADDED: -v}))


def _matching_recipe(made: Made, z: Any, v: Any) -> Outputs:
    B, K = z.shape
    z, v = _two_logits(made, z, v)
    d = z - v
    d = _pick(
        made,
        d,
        {
            MATCHED_PROBABILITIES: lambda: _softmax(z) - _softmax(v),
            MATCHED_LOGARITHMS: lambda: _log_softmax(z) - _log_softmax(v),
            MEANS_REMOVED: lambda: _centred(d),
            ABSOLUTE: np.sign(d),
            UNSQUARED: lambda: d / np.sqrt(np.sum(d**2, axis=-1, keepdims=True)),
            COST_FOR_GRADIENT: d**2 / 2,
            COST_WITHOUT_HALF: d**2,
        },
    )
    factor = _pick(made, 1, {SIGN: -1}) * _pick(made, 1, {FACTOR_2: 2, FACTOR_HALF: 0.5})
    return (factor * d * _averaged(made, B, K),)


MATCHING = Problem(
    name="logit matching",
    aliases=("minikd.core.losses.logit_matching",),
    arguments={"z": LOGITS, "v": LOGITS},
    outputs=("dz",),
    wrt=("z",),
    forward=lambda z, v: np.sum((z - v) ** 2) / 2 / len(z),
    recipe=_matching_recipe,
    size=lambda z, v: (_largest(z, v) / len(z),),
    mistakes=(
        SIGN, FACTOR_2, FACTOR_HALF, NO_BATCH_MEAN, TWO_BATCH_MEANS, CLASS_MEAN,
        NO_TEACHER, TEACHER_ADDED, STUDENT_FORGOTTEN, MATCHED_PROBABILITIES, MATCHED_LOGARITHMS,
        MEANS_REMOVED, ABSOLUTE, UNSQUARED, COST_FOR_GRADIENT, COST_WITHOUT_HALF,
    ),
)  # fmt: skip

MEANS_KEPT = Mistake(
    "difference",
    "right only for zero-mean logits",
    "(z − v)/(K T²) holds if the logits of each case have mean zero: remove the means of z and of v first.",
)
ONE_MEAN_KEPT = Mistake(
    "difference", "the mean removed on one side only", "The means of both z and v are removed: z − z̄ − (v − v̄)."
)
OTHER_MEAN_KEPT = ONE_MEAN_KEPT._replace(way="v's")
MEAN_OVER_BATCH = Mistake(
    "difference", "the mean over the batch removed", "The mean is that of a case's own logits: axis=-1, not axis=0."
)
MEAN_OVER_ALL = Mistake(
    "difference", "the mean of the whole batch removed", "Each case has a mean of its own: axis=-1, keepdims=True."
)
NOT_THE_LIMIT = Mistake(
    "difference",
    "the exact gradient, not its limit",
    "(1/T)(q − p) is right at every T; asked for is what it tends to.",
)
NO_1_K = Mistake("1/K", "missing 1/K", "At high T every probability is near 1/K, which stays in front.")
TWO_1_K = CLASS_MEAN._replace(place="1/K", why="The 1/K in front is all there is: the cost is a sum over classes.")
T3_FOR_T2 = Mistake("1/T²", "1/T³ in place of 1/T²", "1/T³ is how the remainder falls; the limit itself falls as 1/T².")
T_FOR_T2_LIMIT = Mistake(
    "1/T²", "1/T in place of 1/T²", "One 1/T is the chain rule's, another the first term of exp(z/T)."
)
NO_1_T2 = Mistake("1/T²", "missing 1/T²", "One 1/T is the chain rule's, another the first term of exp(z/T).")


def _limit_recipe(made: Made, z: Any, v: Any, T: float) -> Outputs:
    B, K = z.shape
    z, v = _two_logits(made, z, v)
    d = _pick(
        made,
        _centred(z - v),
        {
            MEANS_KEPT: z - v,
            ONE_MEAN_KEPT: _centred(z) - v,
            OTHER_MEAN_KEPT: z - _centred(v),
            MEAN_OVER_BATCH: lambda: _centred(z - v, axis=0),
            MEAN_OVER_ALL: lambda: _centred(z - v, axis=None),
            NOT_THE_LIMIT: lambda: K * T * (_softmax(z / T) - _softmax(v / T)),
        },
    )
    factor = _pick(made, 1, {SIGN: -1}) * _pick(made, 1, {FACTOR_2: 2, FACTOR_HALF: 0.5})
    factor *= _pick(made, 1 / T**2, {T_FOR_T2_LIMIT: 1 / T, NO_1_T2: 1.0, T3_FOR_T2: 1 / T**3})
    factor *= _pick(made, 1 / K, {NO_1_K: 1.0, TWO_1_K: 1 / K**2})
    return (factor * d * _averaged(made, B, K),)


LIMIT = Problem(
    name="high-temperature limit",
    arguments={"z": LOGITS, "v": LOGITS, "T": TEMPERATURE},
    outputs=("dz",),
    wrt=("z",),
    forward=lambda z, v, T: np.sum((_centred(z) - _centred(v)) ** 2) / 2 / z.shape[-1] / T**2 / len(z),
    recipe=_limit_recipe,
    size=lambda z, v, T: (_largest(z, v) / T**2 / z.size,),
    mistakes=(
        MEANS_KEPT, ONE_MEAN_KEPT, OTHER_MEAN_KEPT, MEAN_OVER_BATCH, MEAN_OVER_ALL, NOT_THE_LIMIT, NO_1_K, TWO_1_K,
        NO_TEACHER, TEACHER_ADDED, STUDENT_FORGOTTEN, T_FOR_T2_LIMIT, NO_1_T2, T3_FOR_T2,
        SIGN, FACTOR_2, FACTOR_HALF, NO_BATCH_MEAN, TWO_BATCH_MEANS,
    ),
)  # fmt: skip

# ---- softmax and log-softmax -----------------------------------------------------------------------------------------

SUM_FORGOTTEN = Mistake(
    "sum", "the sum forgotten", "Every logit moves every probability: subtract the sum over the classes, too."
)
DIAGONAL = Mistake(
    "sum", "only the diagonal q(1 − q)", "That is each class's own derivative; the others', −q_i q_j, are missing."
)
DIAGONAL_LOG = Mistake(
    "sum", "only the diagonal 1 − q", "That is each class's own derivative; the others', −q_i, are missing."
)
WRONG_SUM_AXIS = Mistake("sum", "the sum over the wrong axis", "The sum runs over the classes of a case: axis=-1.")
SUM_OVER_ALL = Mistake(
    "sum", "the sum over the whole batch", "Sum over the classes of each case by itself: axis=-1, keepdims=True."
)
NOT_WEIGHTED = Mistake("sum", "the sum not weighted by q", "It is the mean of dq under q that is subtracted: Σ q dq.")
WEIGHTED = Mistake(
    "sum", "the sum weighted by q", "Here dlog_q is summed as it is; weighted by q it is in the softmax's."
)
MEAN_FOR_SUM = Mistake(
    "sum", "the mean over classes in place of the sum", "Sum over the classes; a mean is K times too small."
)
NO_Q = Mistake("q", "q forgotten", "A factor q stands in front: a class of small probability moves little.")
NO_Q_LOG = Mistake("q", "q forgotten", "The sum is shared out by the probabilities: q times Σ dlog_q.")
LOG_Q_FOR_Q = Mistake("q", "log q where q belongs", "The sum is shared out by q: take the exponential of log q.")
SUM_ADDED = Mistake(
    "sum", "the sum added instead of subtracted", "A shift of all logits changes nothing: the sum is subtracted."
)
NO_Q_ON_SUM = Mistake("sum", "q missing on the sum", "q stands in front of the whole bracket: q dq − q Σ q dq.")
NO_Q_ON_DQ = Mistake("sum", "q only on the sum", "q stands in front of the whole bracket: q dq − q Σ q dq.")
Q_ON_BOTH = Mistake("sum", "q on dlog_q too", "Only the sum is shared out by q: dlog_q − q Σ dlog_q.")
SOFTMAX_OF_Q = Mistake("q", "softmax of q", "q holds probabilities already: no softmax is taken again.")
SOFTMAX_OF_Q_AT_T = SOFTMAX_OF_Q._replace(way="at T")
AVERAGED = Mistake(
    "batch", "averaged over the batch", "The average is in what comes from above already, from the cost: no 1/B here."
)
UPSTREAM_FORGOTTEN = Mistake(
    "upstream",
    "the upstream gradient forgotten",
    "A backward pass multiplies what comes from above by its own derivative.",
)
NO_UPSTREAM = UPSTREAM_FORGOTTEN._replace(place="sum")
FORWARD_AGAIN = Mistake(
    "upstream",
    "the forward pass in place of the backward pass",
    "A backward pass changes dout, the gradient from above; x only tells which of it passes.",
)
T_ON_SUM_ONLY = Mistake(
    "sum", "1/T on the sum only", "1/T stands in front of the whole bracket, dq's part and the sum's."
)
OTHER_SOFTMAX = Mistake(
    "sum", "the log-softmax's formula", "dq − q Σ dq goes back from log q; from q it is q (dq − Σ q dq)."
)
OTHER_LOG_SOFTMAX = Mistake(
    "sum", "the softmax's formula", "q (dq − Σ q dq) goes back from q; from log q it is dlog_q − q Σ dlog_q."
)


def _chain_factor(made: Made, T: float, B: int) -> Any:
    factor = _pick(made, 1 / T, {NO_1_T: 1.0, TWICE_1_T: 1 / T**2, TIMES_T: T})
    return factor * _pick(made, 1, {SIGN: -1}) / _pick(made, 1, {AVERAGED: B})


def _softmax_recipe(made: Made, dq: Any, z: Any, T: float) -> Outputs:
    q = _softmax(z / T)
    q = _pick(made, q, {SOFTMAX_OF_Q: lambda: _softmax(q), SOFTMAX_OF_Q_AT_T: lambda: _softmax(q / T)})
    front = 1.0 if NO_Q in made else q
    total = np.sum(q * dq, axis=-1, keepdims=True)
    inside = _pick(
        made,
        dq - total,
        {
            SUM_FORGOTTEN: dq,
            DIAGONAL: dq * (1 - q),
            WRONG_SUM_AXIS: dq - np.sum(q * dq, axis=0),
            SUM_OVER_ALL: dq - np.sum(q * dq),
            NOT_WEIGHTED: dq - np.sum(dq, axis=-1, keepdims=True),
            MEAN_FOR_SUM: dq - np.mean(q * dq, axis=-1, keepdims=True),
            OTHER_SOFTMAX: dq / q - np.sum(dq, axis=-1, keepdims=True),
            SUM_ADDED: dq + total,
            NO_Q_ON_SUM: dq - total / q,
            NO_Q_ON_DQ: dq / q - total,
            NO_UPSTREAM: 1 - q,
            T_ON_SUM_ONLY: T * dq - total,
        },
    )
    return (_chain_factor(made, T, len(z)) * front * inside,)


SOFTMAX = Problem(
    name="softmax",
    aliases=("minikd.core.softmax.softmax", "minikd.core.softmax.softmax_backward"),
    arguments={"z": LOGITS, "T": TEMPERATURE},
    upstream="dq",
    out_axes="BK",
    outputs=("dz",),
    wrt=("z",),
    forward=lambda z, T: _softmax(z / T),
    recipe=_softmax_recipe,
    size=lambda dq, z, T: ((1 + _largest(z) / T) / T * _largest(dq),),
    extras=lambda dq, z, T: {"q": _softmax(z / T)},
    mistakes=(
        NO_1_T, TWICE_1_T, TIMES_T, SIGN, SUM_FORGOTTEN, DIAGONAL, WRONG_SUM_AXIS, SUM_OVER_ALL, NOT_WEIGHTED,
        MEAN_FOR_SUM, OTHER_SOFTMAX, SUM_ADDED, NO_Q_ON_SUM, NO_Q_ON_DQ, T_ON_SUM_ONLY, NO_UPSTREAM, NO_Q,
        SOFTMAX_OF_Q, SOFTMAX_OF_Q_AT_T, AVERAGED,
    ),
)  # fmt: skip


def _log_softmax_recipe(made: Made, dlog_q: Any, z: Any, T: float) -> Outputs:
    log_q = _log_softmax(z / T)
    q = np.exp(log_q)
    share = _pick(made, q, {NO_Q_LOG: 1.0, LOG_Q_FOR_Q: log_q})
    total = np.sum(dlog_q, axis=-1, keepdims=True)
    total = _pick(
        made,
        total,
        {
            SUM_FORGOTTEN: 0.0,
            DIAGONAL_LOG: dlog_q,
            WRONG_SUM_AXIS: np.sum(dlog_q, axis=0),
            SUM_OVER_ALL: np.sum(dlog_q),
            WEIGHTED: np.sum(q * dlog_q, axis=-1, keepdims=True),
            MEAN_FOR_SUM: total / z.shape[-1],
            SUM_ADDED: -total,
        },
    )
    inside = _pick(made, dlog_q - share * total, {
        OTHER_LOG_SOFTMAX: lambda: _through_softmax(q, dlog_q),
        Q_ON_BOTH: lambda: q * (dlog_q - np.sum(dlog_q, axis=-1, keepdims=True)),
        NO_UPSTREAM: 1 - q,
        T_ON_SUM_ONLY: T * dlog_q - share * total,
    })  # fmt: skip
    return (_chain_factor(made, T, len(z)) * inside,)


LOG_SOFTMAX = Problem(
    name="log-softmax",
    aliases=("minikd.core.softmax.log_softmax", "minikd.core.softmax.log_softmax_backward"),
    arguments={"z": LOGITS, "T": TEMPERATURE},
    upstream="dlog_q",
    out_axes="BK",
    outputs=("dz",),
    wrt=("z",),
    forward=lambda z, T: _log_softmax(z / T),
    recipe=_log_softmax_recipe,
    size=lambda dlog_q, z, T: ((1 + _largest(z) / T) / T * _largest(np.sum(np.abs(dlog_q), axis=-1)),),
    extras=lambda dlog_q, z, T: {"log_q": _log_softmax(z / T)},
    mistakes=(
        NO_1_T, TWICE_1_T, TIMES_T, SIGN, SUM_FORGOTTEN, DIAGONAL_LOG, WRONG_SUM_AXIS, SUM_OVER_ALL, WEIGHTED,
        MEAN_FOR_SUM, SUM_ADDED, OTHER_LOG_SOFTMAX, Q_ON_BOTH, T_ON_SUM_ONLY, NO_UPSTREAM,
        NO_Q_LOG, LOG_Q_FOR_Q, AVERAGED,
    ),
)  # fmt: skip

# ---- affine ----------------------------------------------------------------------------------------------------------

W_TRANSPOSED = Mistake(
    "dx", "transposed weight in dx", "dx = dout Wᵀ: (B, H) times (H, D). A square W hides that W itself does not fit."
)
DX_TRANSPOSED = Mistake("dx", "dx transposed", "dx has x's shape, (B, D): dout Wᵀ, not W doutᵀ.")
ALL_AVERAGED = AVERAGED._replace(place="batch")
DX_SIGN, DW_SIGN, DB_SIGN = (
    SIGN._replace(place=f"{name} sign", name=f"sign of {name}", why=f"{name} points the other way: a minus too many.")
    for name in ("dx", "dW", "db")
)
DW_TRANSPOSED = Mistake("dW axes", "dW transposed", "dW has W's shape, (D, H): xᵀ dout, not doutᵀ x.")
DW_AVERAGED = Mistake(
    "dW batch", "dW averaged over the batch", "The average is in dout already, from the cost: dW is a sum over cases."
)
DX_AVERAGED = Mistake("dx", "dx averaged over the batch", "Each case has a dx of its own, and 1/B is in dout already.")
DB_WRONG_AXIS = Mistake(
    "db", "db summed over the wrong axis", "A bias serves all cases: sum over the batch, axis=0, and keep H."
)
DB_AVERAGED = Mistake(
    "db", "db averaged over the batch", "The average is in dout already, from the cost: db is a sum over cases."
)
DB_NOT_SUMMED = Mistake(
    "db", "db not summed", "A bias serves all cases, so its gradient is the sum over them: shape (H,)."
)
DB_OF_ONES = Mistake(
    "db", "db without the gradient from above", "∂out/∂b is 1, times dout from above: the sum of dout."
)
DB_TWO_AXES = Mistake("db", "db with an axis too many", "db has b's shape, (H,): no keepdims in its sum.")
DB_SUMMED_TO_ONE = Mistake("db", "db summed over everything", "Each of the H biases has a gradient of its own: axis=0.")


def _affine_recipe(made: Made, dout: Any, x: Any, W: Any, b: Any) -> Outputs:
    if UPSTREAM_FORGOTTEN in made:
        dout = np.ones_like(dout)
    B, dW, db = len(x), x.T @ dout, np.sum(dout, axis=0)
    dx = _pick(made, lambda: dout @ W.T, {W_TRANSPOSED: lambda: dout @ W, DX_TRANSPOSED: lambda: W @ dout.T})
    dW = _pick(made, dW, {DW_TRANSPOSED: dW.T})
    db = _pick(
        made,
        db,
        {
            DB_WRONG_AXIS: lambda: np.sum(dout, axis=1),
            DB_AVERAGED: db / B,
            DB_NOT_SUMMED: dout,
            DB_SUMMED_TO_ONE: lambda: np.asarray(np.sum(dout)),
            DB_OF_ONES: np.ones_like(db),
            DB_TWO_AXES: db[None, :],
        },
    )
    factor = _pick(made, 1, {SIGN: -1}) / _pick(made, 1, {ALL_AVERAGED: B})
    return (
        _pick(made, factor, {DX_SIGN: -factor}) * dx / _pick(made, 1, {DX_AVERAGED: B}),
        _pick(made, factor, {DW_SIGN: -factor}) * dW / _pick(made, 1, {DW_AVERAGED: B}),
        _pick(made, factor, {DB_SIGN: -factor}) * db,
    )


AFFINE = Problem(
    name="affine",
    aliases=("minikd.core.layers.affine_forward", "minikd.core.layers.affine_backward"),
    arguments={"x": Argument("BD", "array"), "W": Argument("DH", "array"), "b": Argument("H", "array")},
    upstream="dout",
    out_axes="BH",
    outputs=("dx", "dW", "db"),
    wrt=("x", "W", "b"),
    forward=lambda x, W, b: x @ W + b,
    recipe=_affine_recipe,
    size=lambda dout, x, W, b: (
        _largest(np.abs(dout) @ np.abs(W.T)),
        _largest(np.abs(x.T) @ np.abs(dout)),
        _largest(np.sum(np.abs(dout), axis=0)),
    ),
    mistakes=(
        W_TRANSPOSED, DX_TRANSPOSED, DX_AVERAGED, DW_TRANSPOSED, DW_AVERAGED,
        DB_WRONG_AXIS, DB_AVERAGED, DB_NOT_SUMMED, DB_SUMMED_TO_ONE, DB_OF_ONES, DB_TWO_AXES,
        SIGN, DX_SIGN, DW_SIGN, DB_SIGN, ALL_AVERAGED, UPSTREAM_FORGOTTEN,
    ),
)  # fmt: skip

# ---- ReLU and dropout ------------------------------------------------------------------------------------------------

NO_MASK = Mistake(
    "mask", "missing ReLU mask", "Where x < 0 the output is flat, so nothing passes back: dout where x > 0."
)
WRONG_SIDE = Mistake(
    "mask", "ReLU mask from the wrong side", "It is where x > 0 that the gradient passes; this passes it where x < 0."
)
MASK_FROM_DOUT = Mistake(
    "mask", "ReLU mask from dout", "The mask asks for the sign of x, in the forward pass, not for dout's."
)
BOTH_MASKS = Mistake("mask", "ReLU mask from dout too", "Only the sign of x counts: a negative dout passes as well.")
OUTPUT_AS_MASK = Mistake("mask", "the output in place of its derivative", "The slope is 1 where x > 0, not x.")
INPUT_AS_MASK = Mistake("mask", "the input in place of the mask", "The slope is 1 where x > 0 and 0 elsewhere, not x.")
SIGN_AS_MASK = Mistake("mask", "the sign of x in place of the mask", "The slope is 0 where x < 0, not −1.")


def _upstream(made: Made, dout: Any, x: Any) -> Any:
    """What a layer with no parameters passes back where it lets all through, with the mistakes of `PASSING`."""
    scale = _pick(made, 1, {SIGN: -1}) / _pick(made, 1, {AVERAGED: len(dout)})
    return scale * _pick(made, dout, {UPSTREAM_FORGOTTEN: np.ones_like(dout), FORWARD_AGAIN: x})


PASSING = (UPSTREAM_FORGOTTEN, FORWARD_AGAIN, AVERAGED, SIGN)


def _relu_recipe(made: Made, dout: Any, x: Any) -> Outputs:
    mask = _pick(
        made,
        x > 0,
        {
            NO_MASK: 1.0,
            WRONG_SIDE: x < 0,
            MASK_FROM_DOUT: dout > 0,
            BOTH_MASKS: (x > 0) & (dout > 0),
            OUTPUT_AS_MASK: np.maximum(x, 0),
            INPUT_AS_MASK: x,
            SIGN_AS_MASK: np.sign(x),
        },
    )
    return (_upstream(made, dout, x) * mask,)


RELU = Problem(
    name="relu",
    aliases=("minikd.core.layers.relu_forward", "minikd.core.layers.relu_backward"),
    arguments={"x": Argument("BH", "away from zero")},
    upstream="dout",
    out_axes="BH",
    outputs=("dx",),
    wrt=("x",),
    forward=lambda x: np.where(x.real > 0, x, 0.0),
    recipe=_relu_recipe,
    size=lambda dout, x: (np.where(x == 0, np.inf, _largest(dout)),),  # no derivative at the kink: any value may stand
    extras=lambda dout, x: {"out": np.maximum(x, 0.0)},
    mistakes=(
        NO_MASK, WRONG_SIDE, MASK_FROM_DOUT, BOTH_MASKS, OUTPUT_AS_MASK, INPUT_AS_MASK, SIGN_AS_MASK, *PASSING,
    ),
)  # fmt: skip

NO_SCALE = Mistake(
    "scale",
    "dropout scale forgotten",
    "The forward pass divides the survivors by 1 − drop, so the backward pass does too.",
)
SCALE_TWICE = Mistake("scale", "dropout scale twice", "Divide by 1 − drop once: is it in the mask already?")
SCALE_BY_DROP = Mistake("scale", "scaled by 1/drop", "Divide by the probability of keeping, 1 − drop, not of dropping.")
SCALE_DROP = Mistake("scale", "multiplied by drop", "Divide by the probability of keeping, 1 − drop.")
SCALE_MULTIPLIED = Mistake(
    "scale", "multiplied by 1 − drop instead of divided", "Survivors are scaled up: 1/(1 − drop)."
)
NO_DROPOUT_MASK = Mistake(
    "mask", "missing dropout mask", "What was dropped had no say in the output: its gradient is 0."
)
MASK_INVERTED = Mistake(
    "mask", "dropout mask inverted", "keep is True where a unit is kept; the gradient passes there."
)


def _dropout_recipe(made: Made, dout: Any, x: Any, keep: Any, drop: float) -> Outputs:
    scale = _pick(
        made,
        1 / (1 - drop),
        {
            NO_SCALE: 1.0,
            SCALE_TWICE: 1 / (1 - drop) ** 2,
            SCALE_BY_DROP: 1 / drop if drop else np.inf,
            SCALE_MULTIPLIED: 1 - drop,
            SCALE_DROP: drop,
        },
    )
    mask = _pick(made, keep, {NO_DROPOUT_MASK: 1.0, MASK_INVERTED: ~keep})
    return (scale * _upstream(made, dout, x) * mask,)


DROPOUT = Problem(
    name="dropout",
    aliases=("minikd.core.layers.dropout_forward", "minikd.core.layers.dropout_backward"),
    arguments={"x": Argument("BH", "array"), "keep": Argument("BH", "mask"), "drop": Argument("", "probability")},
    upstream="dout",
    out_axes="BH",
    outputs=("dx",),
    wrt=("x",),
    forward=lambda x, keep, drop: np.where(keep, x, 0.0) / (1 - drop),
    recipe=_dropout_recipe,
    size=lambda dout, x, keep, drop: (_largest(dout) / (1 - drop),),
    mistakes=(
        NO_SCALE, SCALE_TWICE, SCALE_BY_DROP, SCALE_MULTIPLIED, SCALE_DROP, NO_DROPOUT_MASK, MASK_INVERTED, *PASSING,
    ),
)  # fmt: skip

# ---- momentum --------------------------------------------------------------------------------------------------------

GRADIENT_SIGN = Mistake("g sign", "sign of the gradient", "The velocity goes against the gradient: − learning_rate g.")
MEMORY_SIGN = Mistake("memory", "sign of the momentum", "The old velocity carries on: + momentum v.")
STEP_SIGN = Mistake("step", "sign of the step", "The velocity holds the minus already: p + v.")
DAMPED = Mistake(
    "g factor", "1 − momentum on the gradient", "The classical form has no (1 − momentum): the full gradient enters."
)
MEMORY_ON_G = Mistake(
    "g factor",
    "momentum on the gradient too",
    "momentum multiplies the old velocity only; the gradient gets learning_rate.",
)
DAMPED_MEMORY = Mistake(
    "memory", "1 − momentum on the old velocity", "momentum is the share that stays: the old velocity gets momentum."
)
MEMORY_TWICE = Mistake("memory", "momentum applied twice", "The old velocity gets momentum once.")
MEMORY_IN_STEP = MEMORY_TWICE._replace(place="step", why="momentum is in the velocity already: p + v.")
NO_RATE = Mistake("g factor", "learning rate missing", "The gradient enters the velocity times learning_rate.")
RATE_TWICE = Mistake("g factor", "learning rate applied twice", "It is in the velocity already, once.")
RATE_IN_STEP = RATE_TWICE._replace(place="step")
NO_MEMORY = Mistake(
    "memory", "momentum forgotten", "The old velocity stays, times momentum; without it this is plain descent."
)
MIXED_UP = Mistake(
    "g factor", "learning rate and momentum swapped", "momentum multiplies v, learning_rate multiplies g."
)
BY_GRADIENT = Mistake(
    "step", "parameters moved by the gradient", "They move by the new velocity: p + v, not p − learning_rate g."
)
OLD_VELOCITY = Mistake("step", "parameters moved by the old velocity", "First the velocity, then p + the new one.")
SIGN_AND_RATE = Mistake(
    "step",
    "sign of the step, and the learning rate applied twice",
    "The velocity holds −learning_rate g already: p + v, not p − learning_rate v.",
)
NOT_MOVED = Mistake("step", "parameters not moved", "The step ends with p + the new velocity.")
OLD_RETURNED = Mistake(
    "returned", "the old velocity returned", "The new velocity is needed in the next step: return p and the new v."
)
NESTEROV = Mistake("step", "Nesterov's step", "It looks one step ahead; the classical step is p + the new velocity.")
RATE_OUTSIDE = Mistake(
    "convention",
    "another convention: the learning rate outside the velocity",
    "v = momentum v + g, p = p − learning_rate v is the same method at a constant rate, but not the same v.",
)
RATE_OUTSIDE_DOWNHILL = RATE_OUTSIDE._replace(way="momentum v − g")
UPHILL = Mistake(
    "convention",
    "another convention: the velocity points uphill",
    "v = momentum v + learning_rate g, p = p − v starts from a v of the other sign; here v is the step itself.",
)
AVERAGE_OF_G = Mistake(
    "convention",
    "another convention: an average of the gradients",
    "v = momentum v + (1 − momentum) g, p = p − learning_rate v scales the rate by 1 − momentum; here g comes in full.",
)


def _momentum_forward(p: Any, v: Any, g: Any, learning_rate: float, momentum: float) -> Outputs:
    v = momentum * v - learning_rate * g
    return p + v, v


def _momentum_recipe(made: Made, p: Any, v: Any, g: Any, learning_rate: float, momentum: float) -> Outputs:
    conventions = {  # of the gradient in the velocity, and of the velocity in the step
        RATE_OUTSIDE: (1, -learning_rate),
        RATE_OUTSIDE_DOWNHILL: (-1, learning_rate),
        UPHILL: (learning_rate, -1),
        AVERAGE_OF_G: (1 - momentum, -learning_rate),
    }
    for gradient_factor, step_factor in (factors for convention, factors in conventions.items() if convention in made):
        new = momentum * v + gradient_factor * g
        return p + step_factor * new, new
    memory = _pick(
        made,
        momentum,
        {
            MEMORY_SIGN: -momentum,
            NO_MEMORY: 0.0,
            MIXED_UP: learning_rate,
            DAMPED_MEMORY: 1 - momentum,
            MEMORY_TWICE: momentum**2,
        },
    )
    rate = _pick(
        made,
        learning_rate,
        {
            DAMPED: (1 - momentum) * learning_rate,
            NO_RATE: 1.0,
            RATE_TWICE: learning_rate**2,
            MIXED_UP: momentum,
            MEMORY_ON_G: momentum * learning_rate,
        },
    )
    new = memory * v + _pick(made, -1, {GRADIENT_SIGN: 1}) * rate * g
    step = _pick(
        made,
        new,
        {
            STEP_SIGN: -new,
            RATE_IN_STEP: learning_rate * new,
            BY_GRADIENT: -learning_rate * g,
            OLD_VELOCITY: v,
            NESTEROV: memory * new - rate * g,
            MEMORY_IN_STEP: momentum * new,
            SIGN_AND_RATE: -learning_rate * new,
            NOT_MOVED: 0.0,
        },
    )
    return p + step, v if OLD_RETURNED in made else new


MOMENTUM = Problem(
    name="momentum",
    aliases=("minikd.core.optim.momentum_step",),
    arguments={
        "p": Argument("DH", "array"),
        "v": Argument("DH", "array"),
        "g": Argument("DH", "array"),
        "learning_rate": Argument("", "rate"),
        "momentum": Argument("", "weight of the past"),
    },
    outputs=("p", "v"),
    wrt=(),
    forward=_momentum_forward,
    recipe=_momentum_recipe,
    size=lambda p, v, g, learning_rate, momentum: (_largest(p) + _largest(v) + learning_rate * _largest(g),) * 2,
    mistakes=(
        GRADIENT_SIGN, MEMORY_SIGN, STEP_SIGN, DAMPED, NO_RATE, RATE_TWICE, RATE_IN_STEP, NO_MEMORY, MIXED_UP,
        MEMORY_ON_G, DAMPED_MEMORY, MEMORY_TWICE, MEMORY_IN_STEP, SIGN_AND_RATE, NOT_MOVED, OLD_RETURNED,
        BY_GRADIENT, OLD_VELOCITY, NESTEROV, RATE_OUTSIDE, RATE_OUTSIDE_DOWNHILL, UPHILL, AVERAGE_OF_G,
    ),
)  # fmt: skip

PROBLEMS = {
    problem.name: problem
    for problem in (
        SOFT, HARD, DISTILLATION, MATCHING, LIMIT, SOFTMAX, LOG_SOFTMAX, AFFINE, RELU, DROPOUT, MOMENTUM,
    )
}  # fmt: skip


# ---- any other gradient ----------------------------------------------------------------------------------------------

SCALES = (  # place, name, why, and the factor by which it makes the gradient too large
    ("sign", "sign", SIGN.why, lambda T, B, K: -1),
    ("T", "T times too large", "A 1/T of the chain rule is missing, or there is a T too many.", lambda T, B, K: T),
    ("T", "T times too small", "There is a 1/T too many, or a T missing.", lambda T, B, K: 1 / T),
    ("T", "T² times too large", "A 1/T² is missing, or there is a T² too many.", lambda T, B, K: T**2),
    ("T", "T² times too small", "There is a 1/T² too many, or a T² missing.", lambda T, B, K: 1 / T**2),
    ("batch", "B times too large", "B, the first axis: a mean over the batch forgotten?", lambda T, B, K: B),
    ("batch", "B times too small", "B, the first axis: a mean over the batch too many?", lambda T, B, K: 1 / B),
    ("classes", "K times too large", "K, the last axis: a mean over it forgotten?", lambda T, B, K: K),
    ("classes", "K times too small", "K, the last axis: a mean over it in place of a sum?", lambda T, B, K: 1 / K),
    ("2", "factor 2", "A ½ in the cost takes away the 2 of a square: is it forgotten?", lambda T, B, K: 2),
    ("2", "factor ½", "The 2 that a square leaves is missing.", lambda T, B, K: 0.5),
)
FACTORS = {Mistake(place, name, why): factor for place, name, why, factor in SCALES}
TRANSPOSED = Mistake("axes", "transposed", "The numbers are right, but rows and columns are exchanged.")
NOT_SUMMED = Mistake("axes", "not summed", "What every case uses has a gradient that is summed over the cases.")
WRONG_AXIS = Mistake("axes", "summed over the wrong axis", "Sum the gradient from above over the other axis.")
GENERAL = (*FACTORS, TRANSPOSED, NOT_SUMMED, WRONG_AXIS)


def general_recipe(made: Made, truth: Any, dout: Any, T: float, B: int, K: int) -> Any:
    """The gradient `truth` with the mistakes of `GENERAL`, for the gradient from above, dout, of whichever axes."""
    scale = math.prod(factor(T, B, K) for mistake, factor in FACTORS.items() if mistake in made)
    if TRANSPOSED in made:
        return scale * truth.T
    for axis in range(dout.ndim):  # where the truth is the sum of dout, as a bias's gradient is
        total = np.sum(dout, axis=axis)
        if total.shape == truth.shape and np.allclose(total, truth, rtol=1e-6):
            if NOT_SUMMED in made:
                return scale * dout
            if WRONG_AXIS in made and dout.ndim == 2:
                return scale * np.sum(dout, axis=1 - axis)
    return scale * truth
