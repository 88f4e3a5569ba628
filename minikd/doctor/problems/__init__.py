"""The problems that the doctor knows by name, one file each. For a forward function of your own, see `own`."""

from importlib import import_module

from minikd.doctor.problem import Problem

FILES = (
    "soft_cross_entropy",
    "hard_cross_entropy",
    "distillation",
    "logit_matching",
    "limit",
    "softmax",
    "log_softmax",
    "affine",
    "relu",
    "dropout",
    "momentum",
)
_problems: list[Problem] = [import_module(f"{__name__}.{file}").PROBLEM for file in FILES]
PROBLEMS = {problem.name: problem for problem in _problems}
