"""The exercises of notebook 4: the gradients of the two costs, judged by the doctor."""

from minikd.learn.exercises import Exercise

EXERCISES = {
    "4.1": Exercise("the gradient of the soft cost", gradient="soft cross-entropy"),
    "4.2": Exercise("the gradient of the hard cost", gradient="hard cross-entropy"),
}
