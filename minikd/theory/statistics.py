"""The statistics behind every verdict on networks: what must be shown, and how sure it must be.

Every verdict rests on a 95 % interval. There are two kinds, for two questions:

- *Could one more run of ours be as good as the paper's?* The paper reports single runs, on the same test set as ours.
  `prediction` is the interval in which one more run of ours lies.
- *Is there an effect?* `mean_interval` answers for these test cases, from several seeds. `bootstrap` answers for other
  test cases too: it draws networks and cases anew.

Two runs on one test set differ less than two runs on two test sets, so the binomial standard deviation is no part of
this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 10_000
"""How often `bootstrap` draws."""
_T_975 = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930,
)  # fmt: skip
"""The 97.5 % quantiles of Student's t, for 1 to 19 degrees of freedom."""


class Interval(NamedTuple):
    """A 95 % interval around a figure.

    Attributes:
        value: the figure.
        low: the lower end.
        high: the upper end.
    """

    value: float
    low: float
    high: float

    def words(self, digits: int = 1, *, sign: bool = False, percent: bool = False) -> str:
        """Return both ends in words.

        >>> Interval(25.0, 1.25, 48.5).words(), Interval(0.8, -0.5, 1.5).words(0, percent=True)
        ('[1.2, 48.5]', '[-50 %, 150 %]')
        >>> Interval(1.0, -0.5, 2.5).words(sign=True)
        '[-0.5, +2.5]'
        """
        scale, unit = (100, " %") if percent else (1, "")
        low, high = (f"{scale * end:{'+' if sign else ''}.{digits}f}{unit}" for end in (self.low, self.high))
        return f"[{low}, {high}]"


# ---- several runs on the same test cases -----------------------------------------------------------------------------


def mean_sd(values: Sequence[float] | np.ndarray, digits: int = 1) -> str:
    """Return the mean and the standard deviation in words, as in "119.0 ± 4.9"; of a single value only the value.

    >>> mean_sd([118, 120]), mean_sd([118])
    ('119.0 ± 1.4', '118')
    """
    if len(values) == 1:
        return f"{round(values[0], digits):g}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def prediction(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the interval in which one more run lies: mean ± t · s · √(1 + 1/n).

    A single run tells nothing about another one, so its interval has no ends.

    Args:
        values: of n runs that differ in their seeds, n up to 20.

    >>> prediction([64, 63, 65, 68, 70]).words()
    '[57.1, 74.9]'
    """
    return _around(values, one_more=1)


def mean_interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Return the interval of the mean over all seeds: mean ± t · s / √n.

    It is about these test cases. A single run has an interval without ends.

    Args:
        values: of n runs, or of n pairs of runs, that differ in their seeds, n up to 20.

    >>> mean_interval([1.0, 2.0, 3.0]).words()
    '[-0.5, 4.5]'
    """
    return _around(values, one_more=0)


def _around(values: Sequence[float] | np.ndarray, one_more: int) -> Interval:
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    half = _T_975[n - 2] * float(np.std(values, ddof=1)) * math.sqrt(one_more + 1 / n)
    return Interval(mean, mean - half, mean + half)


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided p-value of paired differences, for the hypothesis that they have no direction.

    It is the share of all patterns of signs whose mean is at least as far from 0. With n pairs, it is at least 2^(1 −
    n).

    Args:
        differences: (n,), n from 1 to 16; the result is exact.

    Raises:
        ValueError: if there are no differences, or more than 16.

    >>> sign_flip_p([1.0, 2.0, 3.0]), sign_flip_p([1.0, -1.0])
    (0.25, 1.0)
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or not 1 <= len(d) <= 16:
        raise ValueError(f"sign_flip_p takes 1 to 16 differences, got shape {d.shape}")
    sums = np.abs(np.array(list(product((1.0, -1.0), repeat=len(d)))) @ d)  # (2ⁿ,)
    return float(np.mean(sums >= abs(d.sum()) * (1 - 1e-12)))


def holm(p: Sequence[float]) -> list[float]:
    """Return the p-values of several tests, corrected for their number by Holm's method (1979).

    If those below 0.05 are called significant, the chance of a single false one among all tests is at most 5 %.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p), 0.0
    for done, test in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - done) * p[test]))
        corrected[test] = largest
    return corrected


# ---- other test cases, too -------------------------------------------------------------------------------------------


def fraction(part: float, whole: float) -> float | None:
    """Return part / whole, or None unless whole > 0: a share of nothing, or of a loss, has no meaning.

    >>> fraction(2.0, 4.0), fraction(-1.0, 0.0), fraction(-2.0, -4.0)
    (0.5, None, None)
    """
    return part / whole if whole > 0 else None


def paired(first: int, second: int, cases: int) -> Interval:
    """Return the interval of the difference of two networks' errors on the same cases, for as many other cases.

    Only a case that exactly one of them gets right tells them apart. With a such cases for the first network and b for
    the second one, the difference is b − a. Its interval is Agresti and Min's (2005), which adds half a case to both
    kinds. So it stays honest where a and b are small, when a bootstrap would draw what is there and nothing else.

    Args:
        first: how many cases only the first network gets right.
        second: how many cases only the second one gets right.
        cases: how many cases there are.

    Returns:
        The errors that the second network saves. It is better beyond chance if the whole interval lies above 0.

    >>> paired(0, 4, 1000).words(sign=True), paired(0, 6, 1000).words(sign=True), paired(0, 0, 1000).words(sign=True)
    ('[-0.4, +8.4]', '[+0.8, +11.2]', '[-2.0, +2.0]')
    """
    N, difference = cases + 2, second - first
    half = 1.96 * math.sqrt(first + second + 1 - difference**2 / N)
    return Interval(difference, cases / N * (difference - half), cases / N * (difference + half))


def bootstrap(
    groups: Sequence[np.ndarray],
    total: np.ndarray,
    clusters: Sequence[int] | np.ndarray | None = None,
    *,
    paired: Sequence[int] = (),
) -> np.ndarray:
    """Draw what each group's mean network would score with other networks and other cases.

    Of n networks, n − 1 are drawn with replacement, and so are clusters of cases. A draw of n − 1 has the variance that
    the mean of n has; a draw of n would have too little (Rao and Wu 1988). The network of a group of one is not drawn.
    All groups get the same cases.

    Args:
        groups: (networks, U) each: what every network scored on each of the U cases.
        total: (U,), how much can be scored there.
        clusters: (U,), which cases belong together, because they share what they are made of. By default, every case is
            alone.
        paired: the places of groups whose networks are pairs, such as those of one seed, and are drawn together.

    Returns:
        (DRAWS, groups), per cent.
    """
    rng = np.random.default_rng(0)
    numbers = np.arange(len(total)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    rows = np.concatenate([*groups, np.asarray(total)[None]])  # (networks of all groups + 1, U)
    summed = np.stack([np.bincount(numbers, weights=row) for row in rows])
    kinds, often = np.unique(summed, axis=1, return_counts=True)  # most images are easy: alike to every network
    picked = _draw(rng, often)  # (DRAWS, kinds)
    found, drawn_together = [], None
    bounds = np.cumsum([0, *map(len, groups)])
    for place, (begin, end) in enumerate(pairwise(bounds)):
        if drawn_together is None or place not in paired:
            weights = _draw(rng, np.ones(end - begin, int)) / max(1, end - begin - 1)
        else:
            weights = drawn_together
        if place in paired:
            drawn_together = weights
        found.append(100 * np.sum((picked @ kinds[begin:end].T) * weights, axis=1) / (picked @ kinds[-1]))
    return np.stack(found, axis=1)


def _draw(rng: np.random.Generator, often: np.ndarray) -> np.ndarray:
    """Draw n − 1 of n things with replacement, where each kind is there so often; count each kind: (DRAWS, kinds)."""
    n = int(often.sum())
    return rng.multinomial(n - 1, often / n, size=DRAWS).astype(float) if n > 1 else np.ones((DRAWS, 1))


def interval(value: float, draws: np.ndarray) -> Interval:
    """Return the interval of a figure from the bootstrap's draws of it."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def share(part: float, whole: float, parts: np.ndarray, wholes: np.ndarray) -> Interval | None:
    """Return which share of a gain is kept, or None if there is no gain, or if the gain may be chance.

    A draw without a gain has no share. On either side it counts as one that is infinitely far off.

    Args:
        part: what is kept.
        whole: the gain.
        parts: (DRAWS,), the bootstrap's draws of the part.
        wholes: (DRAWS,), those of the whole.
    """
    kept = fraction(part, whole)
    if kept is None or float(np.quantile(wholes, 0.025, method="lower")) <= 0:
        return None
    low, high = (
        float(np.quantile(np.divide(parts, wholes, out=np.full(len(parts), far), where=wholes > 0), quantile))
        for far, quantile in ((-np.inf, 0.025), (np.inf, 0.975))
    )
    return Interval(kept, low, high)
