"""The gradient doctor: it compares a gradient that you wrote with the truth, and names the mistake if there is one.

    check       `check_gradient`, the way in
    oracle      the truth, by complex steps or central differences
    cases       where a gradient is tried: arguments drawn by the doctor, or the learner's own
    trials      calls the learner's function, and compares
    search      finds the mistakes that give the learner's numbers
    findings    what is wrong, in words
    diagnosis   what the learner sees
    problem     how a problem and its mistakes are described
    catalogue   the mistakes that several problems share
    problems/   one file per problem
    textbook    the formulas of the forward passes
    words       explains each mistake, from mistakes.md

>>> import numpy as np
>>> from minikd.doctor import check_gradient
>>> def my_gradient(z, v, T):
...     q = np.exp(z / T) / np.sum(np.exp(z / T), axis=-1, keepdims=True)
...     p = np.exp(v / T) / np.sum(np.exp(v / T), axis=-1, keepdims=True)
...     return (q - p) / len(z)
>>> print(check_gradient(my_gradient, "soft cross-entropy").verdict)
wrong: missing 1/T
>>> print(check_gradient(lambda z, v, T: my_gradient(z, v, T) / T, "soft cross-entropy"))  # doctest: +ELLIPSIS
right, to ...
"""

from minikd.doctor.check import check_gradient
from minikd.doctor.diagnosis import Diagnosis

__all__ = ["Diagnosis", "check_gradient"]
