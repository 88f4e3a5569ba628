"""Why soft targets did not help, as far as the results of a run can tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minikd.distil.choices import brief
from minikd.training.config import TrainConfig

EXPLAINED = 'TROUBLESHOOTING.md explains them, under "Distillation does not help".'
"""Where the reader finds more about the reasons."""
FEW_EXAMPLES = 10  # per class
VOTES = 10.0  # nats: the votes of a forest span less, unless it has 10,000 trees
FEW_STEPS = 1000  # two epochs of MNIST in batches of 128 are fewer, three are more


@dataclass(frozen=True)
class Seen:
    """What a run knows about its networks. Errors are counted on the test part, and are means if there are several.

    Args:
        examples: of the test part.
        alone: the errors of the student that saw labels only.
        distilled: those of the distilled student.
        noise: by how many errors two students may differ by chance.
        spread: the range of the teacher's logits on a typical example, in nats.
        config: the distilled student's.
        transfer: how many examples it learnt from.
        teacher: the teacher's errors, or None where nobody knows them.
        teacher_learnt: which share of the transfer set's labels the teacher gives, or None.
        followed: how often the student gives its teacher's answer on the transfer set and on the test part, or None.
        pairs: how many pairs of students there are.
        constant: the columns of features that are constant in training, but not in the test part, in words, or "".
        columns: which class each of the teacher's columns seems to be if they are in another order, in words, or "".
        idle: whether no difference between the students can be the teacher's doing.
        chosen_T: whether minikd chose T by the range of the teacher's logits, and did not search for it.
        floored: for which share of the transfer set the smallest logit is the smallest of all.
        classes: how many there are, or None.
    """

    examples: int
    alone: float
    distilled: float
    noise: float
    spread: float
    config: TrainConfig
    transfer: int
    teacher: float | None = None
    teacher_learnt: float | None = None
    followed: tuple[float, float] | None = None
    pairs: int = 1
    constant: str = ""
    columns: str = ""
    idle: bool = False
    chosen_T: bool = False
    floored: float = 0.0
    classes: int | None = None

    @property
    def helped(self) -> bool:
        """Whether the distilled student makes fewer errors, beyond chance, and by what its teacher taught."""
        return self.alone - self.distilled > self.noise and not self.idle


def option(setting: str) -> str:
    """Return how a setting is named on a command line.

    >>> option("learning_rate")
    '--learning-rate'
    """
    return "--" + setting.replace("_", "-")


def errors(number: float) -> str:
    """Return a number of errors in words.

    >>> errors(1), errors(0), errors(1234)
    ('1 error', 'no errors', '1,234 errors')
    """
    return f"{number:,.0f} error{'' if round(number) == 1 else 's'}" if number else "no errors"


def reasons(
    seen: Seen,
    named: Callable[[str], str] = option,
    better_teacher: str = "Use a better one, or an ensemble",
) -> list[str]:
    """Return why the soft targets did not help, the likeliest reason first.

    Args:
        seen: what is known.
        named: how the reader names a setting.
        better_teacher: what the reader can do about a weak teacher.

    Returns:
        One sentence or two per reason; none where the soft targets helped.
    """
    if seen.helped:
        return []
    if seen.alone == seen.distilled == 0:
        return ["The student alone makes no errors, so there is nothing to gain."]
    causes = _of_the_teacher(seen, better_teacher, named) | _of_the_settings(seen, named) | _of_the_student(seen, named)
    found = [words for words, holds in causes.items() if holds]
    if seen.columns or (seen.constant and _hardly_learnt(seen)):
        return found[:1]  # the others follow from it
    return found or ["None of the causes that minikd can see applies."]


def _of_the_teacher(seen: Seen, better: str, named: Callable[[str], str]) -> dict[str, bool]:
    causes = {
        f"The teacher's columns are in another order than the classes: {seen.columns}. Put them in the order of the "
        "sorted labels.": bool(seen.columns),
        f"Of the features, {seen.constant} never varied in training, but in the test part, so no network can learn "
        "what this means. Leave it out.": bool(seen.constant),
        f"The student alone makes {errors(seen.alone)} on {seen.examples:,} examples, so it has hardly learnt "
        f"anything. Lower {named('learning_rate')}, or raise {named('epochs')} or {named('hidden')}.": (
            _hardly_learnt(seen)
        ),
    }
    if seen.teacher is None:
        return causes
    causes[
        f"The teacher makes {errors(seen.teacher)} and the student alone {seen.alone:.0f}, so the teacher has "
        f"little to teach. {better}."
    ] = _weak(seen)
    right = 1 - seen.teacher / seen.examples
    if seen.teacher_learnt is not None:
        causes[
            f"The teacher is right about {100 * seen.teacher_learnt:.1f} % of the examples that it teaches, but about "
            f"{100 * right:.1f} % of the test examples: it knows the former by heart, so its answers there tell little "
            "more than the labels. Add examples that it has not learnt from; they need no labels."
        ] = seen.teacher_learnt - right > 0.03
    return causes


def _hardly_learnt(seen: Seen) -> bool:
    return seen.alone > seen.examples / 2


def _weak(seen: Seen) -> bool:
    return seen.teacher is not None and seen.teacher > 0.8 * seen.alone


def _of_the_settings(seen: Seen, named: Callable[[str], str]) -> dict[str, bool]:
    config, spread = seen.config, seen.spread
    T, alpha, ranged = config.T, config.alpha, f"for logits with a range of {brief(spread, 3)}"
    assert not isinstance(T, tuple)
    assert not isinstance(alpha, tuple)
    about_T = f"T = {brief(T, 3)}"
    steps = config.epochs * (seen.transfer // config.batch_size)
    each = seen.transfer / (seen.classes or 1)
    return {
        f"The student's gradient was not clipped, and T² makes its first steps large. Set {named('clip_norm')} to 1.": (
            config.clip_norm is None and T > 1
        ),
        f"{about_T} is low {ranged}: the softened probabilities tell little more than "
        f"the labels. Raise {named('T')}.": 12 * T < spread < 1e6 and seen.floored <= 0.5,
        f"{about_T} is high {ranged}: the softened probabilities are nearly equal. Lower {named('T')}.": 0
        < spread
        < T / 4
        and T > 1,
        f"minikd chose {about_T} by the range of the logits, but for {100 * seen.floored:.0f} % of the examples the "
        f"smallest logit is the same floor, which tells nothing about the range. Try {named('search')}, which looks "
        "for T, or raise the floor.": seen.chosen_T and seen.floored > 0.5 and spread > VOTES,
        f"There are only {each:.0f} examples per class, and then the {about_T} that minikd chose may be far off. Try "
        f"{named('search')}, which looks for T.": seen.chosen_T and seen.classes is not None and each < FEW_EXAMPLES,
        f"The soft targets have a weight of only {alpha:.2g}. Raise {named('alpha')}.": alpha < 0.2 and not _weak(seen),
        f"With {named('epochs')} {config.epochs} a student takes only {steps:,} steps. It needs more to learn the "
        f"teacher's answers than to learn the labels. Raise {named('epochs')}.": steps < FEW_STEPS,
    }


def _of_the_student(seen: Seen, named: Callable[[str], str]) -> dict[str, bool]:
    causes = {}
    if seen.followed is not None:
        learnt, test = (100 * share for share in seen.followed)
        causes = {
            f"The student gives its teacher's answer on only {learnt:.1f} % of the examples that it learnt from: it is "
            f"too small, or it learnt too briefly. Raise {named('hidden')} or {named('epochs')}.": learnt < 90
            and not seen.idle,
            f"The student gives its teacher's answer on {learnt:.1f} % of the examples that it learnt from, but on "
            f"{test:.1f} % of the test examples: it needs more examples, and they need no labels.": learnt - test > 5,
        }
    pair = "one pair of runs differs" if seen.pairs == 1 else f"the mean of {seen.pairs} pairs differs"
    causes[f"By chance, {pair} by up to {errors(seen.noise)}. More seeds or more test examples would tell."] = (
        abs(seen.alone - seen.distilled) <= seen.noise
    )
    return causes
