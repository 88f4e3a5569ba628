"""The exercises of notebook 2: two backward passes, judged by the doctor."""

from minikd.learn.exercises import Exercise

EXERCISES = {
    "2.1": Exercise("the backward pass of the affine layer", gradient="affine"),
    "2.2": Exercise("the backward pass of the ReLU", gradient="relu"),
}
