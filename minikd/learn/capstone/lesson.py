"""What notebook 14 does with the reader's functions: it trains with them, if all are right."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from minikd.learn.capstone.process import SOLUTION
from minikd.learn.capstone.template import FUNCTIONS
from minikd.learn.exercises import find


def program(*functions: Callable[..., Any]) -> ModuleType:
    """Return the file `my_distillation.py` as a module, with the reader's eight functions in it if all are right.

    If one is not, the module has the eight functions of the solution. A line says which ones train.

    Args:
        functions: the reader's, in the order of the exercises.

    Raises:
        ValueError: if there are not eight.
    """
    yours = dict(zip(FUNCTIONS, functions, strict=True))
    right = [name for name, number in FUNCTIONS.items() if find(number).judge(yours[name])]
    module = ModuleType("my_distillation", "The capstone's file.")
    exec(compile(SOLUTION.read_text(encoding="utf-8"), str(SOLUTION), "exec"), module.__dict__)
    if len(right) == len(FUNCTIONS):
        module.__dict__.update(yours)
        print("All eight functions are right: your own code trains.")
    else:
        print(f"{len(right)} of your 8 functions are right, so the solution that comes with minikd trains.")
    return module
