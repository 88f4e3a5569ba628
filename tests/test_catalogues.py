"""The three catalogues of mistakes cover each other: what is planted, what the doctor names, what the exercises name.

A bug that is planted in a gradient is a mistake that people make, so the doctor should name it; where it does not, the
reason stands here. An exercise on a gradient leaves the mistakes to the doctor; any other defines its own.
"""

import pytest
from learners import mistakes_of
from mutants import MUTANTS

from minikd.doctor.problems import PROBLEMS
from minikd.learn.exercises import exercises
from minikd.learn.exercises.n14 import Part


def table(text):
    return dict(line.split(" | ") for line in text.replace("\n  ", " ").strip().splitlines())


# What the doctor calls the bugs that are planted in gradients, by area: first the problems that the area is about
NAMED = {
    ("soft cost", "soft cross-entropy"): """
the gradient without its 1/T | missing 1/T
the gradient with the wrong sign: training leads away from the teacher | q and p swapped
the gradient zero: nothing is distilled | dz is zero everywhere
logit matching, the limit of high T, taken for the gradient at every T | logit matching in place of the cross-entropy
the gradient divided by the number of cases twice | mean over the batch taken twice
cost and gradient averaged over the classes too: K times too small | mean over classes instead of sum
cost and gradient summed over the cases: B times too large | mean over the batch forgotten
cost and gradient with T² here, and once more in the distillation loss | T in place of 1/T
half the squared error of the softened probabilities, with its own right gradient | squared error on probabilities
the divergence of p from q, the other way round, with its own right gradient | teacher and student swapped in the cost
q and p swapped in the cost | the cost is not the one of this gradient
the logarithm forgotten: a divergence that is negative | the cost is not the one of this gradient
T on the student's side alone | T only on the student
T on the teacher's side alone | T only on the teacher
the teacher's logits on both sides | dz is zero everywhere
the student's logits on both sides | dz is zero everywhere
the teacher's probabilities put through the softmax again | probabilities where the teacher's logits belong
the student's probabilities put through the softmax again | softmax applied twice to the student
soft targets hardened on the way: the dark knowledge is gone | the teacher's one answer in place of its probabilities
""",
    ("hard cost", "hard cross-entropy"): """
the gradient without its target | label not subtracted
the gradient with the wrong sign | sign
a gradient for the label's own logit alone | gradient at the label only
the gradient summed over the cases | mean over the batch forgotten
cost and gradient averaged over the classes too | mean over classes instead of sum
classes counted from one | labels counted from 1
""",
    ("distillation loss", "distillation"): """
T² forgotten | missing T²
T in place of T² | T in place of T²
T² on the cost and not on the gradient | missing T²
T² on the hard part too | T² on the hard part too
alpha and 1 − alpha swapped | alpha and 1 − alpha swapped
hard targets at full weight, whatever alpha is | 1 − alpha forgotten
hard targets at temperature T | hard targets at temperature T
the hard gradient left out of the sum | hard part forgotten
the soft gradient left out of the sum | soft part forgotten
""",
    ("logit matching", "logit matching"): """
the cost without its half, so that the gradient is half of the cost's own | the cost is not the one of this gradient
cost and gradient averaged over the classes too | mean over classes instead of sum
z and v swapped: the same cost, the gradient turned round | sign
""",
    ("softmax", "softmax", "log-softmax"): """
softmax backward without its sum | the sum forgotten
softmax backward with a sum that forgets q | the sum not weighted by q
softmax backward without the factor q | q forgotten
softmax backward with the Jacobian's diagonal alone | only the diagonal q(1 − q)
softmax backward without 1/T | missing 1/T
log-softmax backward without its sum | the sum forgotten
log-softmax backward with log q where q belongs | log q where q belongs
log-softmax backward without 1/T | missing 1/T
""",
    ("layers", "affine", "relu"): """
dW from a reshaped x, where it should be transposed | x not transposed in dW
dx through a reshaped W, where it should be transposed | W not transposed in dx
dW averaged over the cases, which the cost did already | dW averaged over the batch
db averaged over the cases, which the cost did already | db averaged over the batch
ReLU backward without its mask | missing ReLU mask
ReLU backward with the mask inverted | ReLU mask from the wrong side
ReLU backward with the mask of the gradient, not of the output | ReLU mask from dout
ReLU backward written over the gradient that came in | it writes into dout
""",
    ("dropout", "dropout"): """
survivors not scaled up | dropout scale forgotten
survivors scaled by 1/drop: keep and drop confused | scaled by 1/drop
the dropped units kept and the kept ones dropped | dropout mask inverted
the backward pass without the scale | dropout scale forgotten
the backward pass without the mask | missing dropout mask
""",
    ("optimiser", "momentum"): """
a step uphill | sign of the gradient
momentum with the wrong sign | sign of the momentum
(1 − momentum) on the gradient: steps ten times too short | 1 − momentum on the gradient
the learning rate forgotten | learning rate missing
the learning rate outside the velocity, which matters once it changes | another convention: the learning
  rate outside the velocity
Nesterov's look ahead, where the classical form is promised | Nesterov's step
the velocity in a new array, so that the caller's never changes | the old velocity returned
the gradient scaled in place | it writes into gradient
""",
}
FAULTS = {  # which the doctor finds in any gradient
    "dz is zero everywhere",
    "the cost is not the one of this gradient",
    "it writes into dout",
    "it writes into gradient",
}
REASONS = {  # why the doctor does not name a bug
    "rounding": "the formula is right: digits are lost, or only extreme logits or T go wrong",
    "forward": "it is in a forward pass, which the doctor takes from the textbook",
    "kink": "any value is right where there is no derivative",
    "number": "it depends on a number of the learner's own, which the doctor does not know",
    "check": "it is in a check of the arguments, not in the gradient",
    "elsewhere": "it is in something that is not a gradient or not one of the doctor's problems",
}
UNNAMED = {
    "soft cost": """
the gradient in half precision, the cost still in full | rounding
the gradient clipped, which the cost knows nothing of | number
an epsilon inside the logarithm | rounding
probabilities clipped before the logarithm | rounding
the logarithm of the softmax in place of the log-softmax: infinite at low T | rounding
a finite cost whose gradient is inf / inf at low T | rounding
""",
    "hard cost": """
labels below zero let through | check
labels above the last class let through by the quick check | check
""",
    "distillation loss": """
T² forgotten where there are soft targets alone | elsewhere
""",
    "softmax": """
the largest logit not subtracted: the exponential overflows | rounding
the largest logit of the whole batch subtracted: other cases underflow | rounding
T multiplies the logits | forward
normalised over the cases | forward
T divides the log-probabilities, which then do not sum to one | forward
a NumPy float64 for T, which makes every gradient float64 | rounding
""",
    "layers": """
the bias forgotten | forward
db added to what the last step left there | elsewhere
ReLU's kink let through | kink
ReLU written over its input | forward
""",
    "dropout": """
a mask that keeps the share it should drop | elsewhere
the same mask whatever the key | elsewhere
the same mask at every step | elsewhere
the same key for every layer | elsewhere
every case of a batch drops the same units | elsewhere
the share for inputs and the share for hidden units confused | elsewhere
""",
    "optimiser": """
weight decay that nobody asked for | number
clipping that lengthens long gradients | elsewhere
clipping that stretches short gradients too | elsewhere
clipping by the square of the norm | elsewhere
a warm-up whose first step is wasted on a rate of zero | elsewhere
a cosine that begins with the warm-up, not after it | elsewhere
""",
}


@pytest.mark.parametrize("about", NAMED, ids=lambda about: about[0])
def test_the_doctor_names_every_bug_planted_in_a_gradient_or_a_reason_says_why_not(about):
    area, *problems = about
    named, unnamed = table(NAMED[about]), table(UNNAMED.get(area, ""))
    assert sorted([*named, *unnamed]) == sorted(bug.name for bug in MUTANTS if bug.area == area)
    known = {mistake.name for problem in problems for mistake in mistakes_of(PROBLEMS[problem])}
    assert set(named.values()) <= known | FAULTS
    assert set(unnamed.values()) <= set(REASONS)


def all_exercises():
    return [task for notebook in range(1, 100) for task in exercises(str(notebook)).values()]


def test_an_exercise_on_a_gradient_leaves_its_mistakes_to_the_doctor_and_any_other_defines_its_own():
    assert any(task.gradient for task in all_exercises())
    for task in all_exercises():
        if task.gradient is None:
            assert task.mistakes is not None, task.title
        else:
            assert task.gradient in PROBLEMS
            assert task.mistakes is None or isinstance(task, Part)  # its cost has mistakes too, which no doctor sees
            assert task.solution is None


def test_no_exercise_defines_a_mistake_that_the_doctor_has_under_the_same_name():
    known = {mistake.name for problem in PROBLEMS.values() for mistake in mistakes_of(problem)}
    for task in all_exercises():
        assert not any(known & set(task.wrong_answers(case)) for case in task.cases), task.title
