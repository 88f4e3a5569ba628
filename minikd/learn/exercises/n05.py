"""The exercises of notebook 5: the limit of high temperature, and its bound."""

from typing import Any

import numpy as np

from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(5)
_CASES = tuple((_rng.normal(1, 3, (4, K)), _rng.normal(-2, 5, (4, K)), T) for K, T in ((3, 2.0), (10, 8.0), (5, 20.0)))


def _bound(z: Any, v: Any, T: float) -> Any:
    range_z, range_v, range_d = (np.ptp(u, axis=-1) for u in (z, v, z - v))
    return range_d * (range_z + range_v) / (12 * 3**0.5 * T**3)


def _no_bound(z: Any, v: Any, T: float) -> dict[str, Any]:
    bound, below = _bound(z, v, T), 12 * 3**0.5 * T**3
    range_z, range_v, range_d = (np.ptp(u, axis=-1) for u in (z, v, z - v))
    size_z, size_v, size_d = (np.max(np.abs(u), axis=-1) for u in (z, v, z - v))
    return {
        "the error falls as 1/T³, one power faster than the gradient": [bound * T, bound * T**2, bound * T**3],
        "the range of z − v is a factor: near the teacher the bound vanishes": (range_z + range_v) / below,
        "this is the other bound, which does not vanish near the teacher": (range_z**2 + range_v**2) / below,
        "the teacher's range counts too": range_d * range_z / below,
        "the student's range counts too": range_d * range_v / below,
        "the ranges of z and v count too, not only that of z − v": range_d**2 / below,
        "the ranges of z and v are added, not multiplied": range_d * range_z * range_v / below,
        "the range of z − v multiplies the sum of the two others": (range_d + range_z + range_v) / below,
        "the constant is 12√3, not 12": bound * 3**0.5,
        "the constant is 12√3: 12 is missing": bound * 12,
        "the constant is 12√3: the root is of 3 only": bound * 2 * 3**0.5,
        "the constant is 12√3: the root is missing": bound / 3**0.5,
        "the constant divides": bound * (12 * 3**0.5) ** 2,
        "the constant is 12√3: 6√3 is that of the lemma, before the line is averaged": bound * 2,
        "the range of z − v is not the difference of the ranges": np.abs(range_z**2 - range_v**2) / below,
        "the range is the largest minus the smallest logit, not the largest size": size_d * (size_z + size_v) / below,
        "the range is each case's own, over the classes: axis=-1": np.ptp(z - v) * (np.ptp(z) + np.ptp(v)) / below,
    }


EXERCISES = {
    "5.1": Exercise("what the soft gradient tends to", gradient="high-temperature limit"),
    "5.2": Exercise("the bound that vanishes near the teacher", _bound, _no_bound, _CASES),
}
