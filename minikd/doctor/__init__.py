"""The gradient doctor: it compares a gradient that you wrote with the truth, and names the mistake if there is one.

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
