"""The problems that the doctor knows by name, one file each. For a forward function of your own, see `own`."""

from minikd.doctor.problem import Problem
from minikd.doctor.problems import (
    affine,
    distillation,
    dropout,
    hard_cross_entropy,
    limit,
    log_softmax,
    logit_matching,
    momentum,
    relu,
    soft_cross_entropy,
    softmax,
)

PROBLEMS: dict[str, Problem] = {
    module.PROBLEM.name: module.PROBLEM
    for module in (
        soft_cross_entropy,
        hard_cross_entropy,
        distillation,
        logit_matching,
        limit,
        softmax,
        log_softmax,
        affine,
        relu,
        dropout,
        momentum,
    )
}
