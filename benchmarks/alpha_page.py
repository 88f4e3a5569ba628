"""The page about the choice of alpha, made from the results of `python -m benchmarks.choose_alpha`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.beyond_page import clear, shown, table, wrapped
from minikd.distil import choices
from minikd.system.files import write_atomically
from minikd.theory.statistics import Interval, mean_interval

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "choose_alpha.json", HERE / "ALPHA.md"
OWN, UNSEEN, WEAK, FALSE = "own answers", "held-out answers", "weak teacher", "false labels"
KINDS = (OWN, UNSEEN, WEAK, FALSE)
"""What a teacher's answers and the labels are."""
SHIPPED = "shipped teacher"
Row = dict[str, Any]


class Rule(NamedTuple):
    """The constants of `labels_share`."""

    least: float
    most: float
    explained: float

    def share(self, row: Row) -> float:
        """Return the labels' share of the gradient for a setting."""
        return choices.labels_share(row["contradicted"], row["sure"], **self._asdict())[0]


NOW = Rule(choices.LEAST, choices.MOST, choices.EXPLAINED)
"""minikd's rule."""
CANDIDATES = [Rule(*one) for one in product((0.0, 0.1, 0.2, 0.3, 0.45), (0.45, 0.6, 0.75, 0.9), (2.0, 4.0, 8.0))]


def write() -> None:
    """Write the page from the committed results."""
    write_atomically(PAGE, page(json.loads(RESULT.read_text(encoding="utf-8"))).encode())


def accuracies(row: Row, shares: Sequence[float]) -> np.ndarray:
    """Return the percentage of right answers for each share of the labels that was tried."""
    right: np.ndarray = 100 * (1 - np.array(row["errors"][: len(shares)]) / row["judged"])
    return right


def accuracy(row: Row, shares: Sequence[float], rule: Rule) -> float:
    """Return the percentage of right answers with a rule's share, between two shares on the straight line.

    >>> row = {"errors": [2, 4], "judged": 10, "contradicted": 0.0, "sure": 0.0}
    >>> accuracy(row, (0.0, 1.0), Rule(0.5, 0.6, 2.0))
    70.0
    """
    return float(np.interp(rule.share(row), shares, accuracies(row, shares)))


def by_data(rows: Sequence[Row], shares: Sequence[float], rule: Rule) -> dict[str, float]:
    """Return a rule's accuracy for each data set: the mean over its settings. All of MNIST is one data set."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["data"].split(",")[0], []).append(accuracy(row, shares, rule))
    return {data: float(np.mean(each)) for data, each in found.items()}


def best(rows: Sequence[Row], shares: Sequence[float]) -> Rule:
    """Return the candidate with the highest mean accuracy over data sets; of equals, the nearest to minikd's."""

    def order(rule: Rule) -> tuple[float, float]:
        far = sum(abs(own - other) for own, other in zip(rule, NOW, strict=True))
        return -round(float(np.mean(list(by_data(rows, shares, rule).values()))), 6), far

    return min(CANDIDATES, key=order)


def left_out(rows: Sequence[Row], shares: Sequence[float]) -> dict[str, tuple[Rule, float]]:
    """Return for each data set the best rule without it, and the points it gains over minikd's rule there."""
    found, now = {}, by_data(rows, shares, NOW)
    for data in now:
        rule = best([row for row in rows if row["data"].split(",")[0] != data], shares)
        found[data] = rule, by_data(rows, shares, rule)[data] - now[data]
    return found


# ---- tables and sentences --------------------------------------------------------------------------------------------


def points(values: Sequence[float]) -> list[str]:
    """Return percentages with one decimal place, the highest in bold.

    >>> points([71.23, 90.0])
    ['71.2', '**90.0**']
    """
    texts = [f"{one:.1f}" for one in values]
    best_text = max(texts, key=float)
    return [f"**{one}**" if one == best_text else one for one in texts]


def of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind]


def by_kind(rows: Sequence[Row], shares: Sequence[float]) -> str:
    """Return the table of mean accuracies over the settings of each kind."""
    lines = []
    for kind in KINDS:
        found = of_kind(rows, kind)
        means = np.mean([accuracies(row, shares) for row in found], axis=0)
        lines.append([kind, str(len(found)), *points(means)])
    return table(["what the teacher says", "settings", *(f"{100 * share:g} %" for share in shares)], lines)


def every(rows: Sequence[Row], shares: Sequence[float]) -> str:
    """Return the table of all settings."""
    lines = []
    for row in rows:
        about = [row["data"], row["teacher"], row["kind"], f"{row['learnt']:,.0f}", f"{row['T']:.2g}"]
        said = [f"{100 * row[name]:.1f}" for name in ("contradicted", "sure")]
        lines.append([*about, *said, f"{100 * NOW.share(row):.0f} %", *points(accuracies(row, shares))])
    head = ["data", "teacher", "what it says", "examples", "T", "contradicts, %", "surely, %", "minikd's share"]
    return table([*head, *(f"{100 * share:g} %" for share in shares)], lines)


def words(rule: Rule) -> str:
    """Return a rule's constants in words."""
    return f"{100 * rule.least:.0f} to {100 * rule.most:.0f} %, {rule.explained:g} per sure one"


def elsewhere(rows: Sequence[Row], shares: Sequence[float]) -> str:
    """Return the table of rules that were chosen without a data set, and judged on it."""
    now = by_data(rows, shares, NOW)
    lines = [
        [data, words(rule), f"{now[data]:.2f}", f"{gain:+.2f}".replace("-", "−")]
        for data, (rule, gain) in left_out(rows, shares).items()
    ]
    return table(["left out", "rule chosen without it", "accuracy with minikd's rule, %", "gain, points"], lines)


def gains(rows: Sequence[Row], shares: Sequence[float]) -> Interval:
    """Return the mean gain of rules on the data sets that they were chosen without, in points."""
    return mean_interval([gain for _, gain in left_out(rows, shares).values()])


def verdict(rows: Sequence[Row], shares: Sequence[float]) -> str:
    """Return what follows for the rule."""
    found = gains(rows, shares)
    sign = ("may be chance", "is a clear gain", "is a clear loss")[clear(found)]
    so = "So minikd's rule should change." if clear(found) == 1 else "So minikd keeps its rule."
    return (
        f"All data sets together choose {words(best(rows, shares))}; minikd's rule is {words(NOW)}. On the data set "
        f"that it was chosen without, a rule is ahead of minikd's by {shown(found, 2)} points on average, which "
        f"{sign}. {so}"
    )


def more_for_labels(rows: Sequence[Row], shares: Sequence[float]) -> str:
    """Return what more weight for the labels does where the teacher answers for its own examples."""
    found, much = of_kind(rows, OWN), 0.6
    ahead = [float(np.interp(much, shares, accuracies(row, shares))) - accuracy(row, shares, NOW) for row in found]
    return (
        f"Do labels deserve more weight where a teacher answers for the examples that it learnt? With a share of "
        f"{100 * much:.0f} %, accuracy is higher than with minikd's in {sum(one > 0 for one in ahead)} of {len(found)} "
        f"such settings, and lower in {sum(one < 0 for one in ahead)}; on average by {shown(mean_interval(ahead), 2)} "
        "points, with the interval over settings. The student alone is ahead of the student with minikd's share in "
        f"{sum(accuracies(row, shares)[-1] > accuracy(row, shares, NOW) for row in found)} of them."
    )


def trade(rows: Sequence[Row], shares: Sequence[float]) -> str:
    """Return what a larger share does for each reason why a teacher contradicts labels."""
    low, high = (list(shares).index(share) for share in (0.1, 0.6))
    parts = []
    for kind in (UNSEEN, WEAK, FALSE):
        ahead = [accuracies(row, shares) for row in of_kind(rows, kind)]
        parts.append(f"{kind} {shown(mean_interval([each[high] - each[low] for each in ahead]), 2)}")
    return (
        f"From {100 * shares[low]:.0f} to {100 * shares[high]:.0f} %, accuracy changes on average by these points: "
        f"{'; '.join(parts)}."
    )


def other_temperature(record: Row) -> str:
    """Return what another temperature does."""
    rows, shares, T = record["rows"], record["shares"], record["other_T"]
    parts = []
    for kind in KINDS:
        ahead = []
        for row in of_kind(rows, kind):
            place = list(shares).index(record["other_shares"][0])
            own, other = row["errors"][place], row["errors"][len(shares)]
            ahead.append(100 * (own - other) / row["judged"])
        parts.append(f"{kind} {shown(mean_interval(ahead), 2)}")
    return (
        f"With T = {T:g} in place of the chosen T and a share of {100 * record['other_shares'][0]:.0f} %, accuracy "
        f"changes on average over settings by these points: {'; '.join(parts)}."
    )


PAGE_TEXT = """# How alpha is chosen

*`python -m benchmarks.choose_alpha` measures and writes this page, sentences with numbers included. Do not edit it.*

With `alpha="auto"`, minikd decides which share the labels get of the gradient of a fresh student
([D5.2](../derivations/D5-balance.md#d52-in-the-gradient-one-t-is-left-over)), and alpha follows from it. The share is
{per_error:g} times the share of examples about which the teacher is probably mistaken, but from {least:.0f} to
{most:.0f} %. A label that the teacher contradicts is the teacher's mistake, or it is false. For each contradiction
where the teacher is surer than usual, {explained:g} contradictions count as false labels, and the rest as mistakes.

This page looks for better numbers, on held-out examples. For the data sets of [Beyond MNIST](BEYOND.md), students
learn from three quarters of the training part of its first split, and are judged on the rest, four times. The test part
is not used. The other splits there deal the same examples anew, so their test parts share examples with this training
part. For MNIST, students learn from a few of the first 50,000 training images, and are judged on the last 10,000. The
teacher that ships with minikd has seen the labels of all of them. A student has one hidden layer: 5 kB of weights, or
{units:.0f} units for MNIST. There are {settings} settings of four kinds:

- **own answers:** the teacher answers for the examples that it learnt. It contradicts at most {heart:.1f} % of their
  labels.
- **held-out answers:** copies of the teacher, or a network, answer for examples that they have not seen.
- **weak teacher:** the teacher answers for the examples that it learnt, but cannot learn all of their labels.
- **false labels:** {false:.0f} % of the labels that student and teacher learn are false. Those that students are judged
  on are true.

## Which share is best?

These are mean accuracies in per cent over the settings of a kind, for each share of the labels. At 0 % the student
learns from the teacher only, at 100 % from the labels only. The highest number of a line is in bold. The share is that
of a fresh student's gradient. A student that knows its labels by heart hardly feels them any more, so 90 % is still far
from labels only.

{by_kind}

{more}

A teacher that makes mistakes, and a teacher of false labels, both contradict labels. {trade} The rule must tell them
apart by the teacher's answers only.

{other_T}

## Would other numbers do better elsewhere?

{rules} rules were tried: other least and largest shares, and other numbers of contradictions that count as false
labels for each sure one. The best rule has the highest mean accuracy over data sets, where a data set counts as the
mean of its settings. Between two shares that were tried, accuracy is taken from the straight line. A rule is then
chosen without each data set in turn, and judged on it. The interval is over data sets.

{verdict}

{elsewhere}

## All settings

These are of one split and one seed, so small differences may be chance. `results/choose_alpha.json` also has the log
loss.

{every}
"""


def page(record: Row) -> str:
    """Return the page in Markdown."""
    rows, shares = record["rows"], record["shares"]
    text = PAGE_TEXT.format(
        per_error=choices.PER_ERROR,
        least=100 * NOW.least,
        most=100 * NOW.most,
        explained=NOW.explained,
        settings=len(rows),
        false=100 * record["false"],
        units=max(row["units"] for row in rows if row["data"].startswith("MNIST")),
        heart=max(100 * row["contradicted"] for row in of_kind(rows, OWN)),
        by_kind=by_kind(rows, shares),
        trade=trade(rows, shares),
        more=more_for_labels(rows, shares),
        other_T=other_temperature(record),
        rules=len(CANDIDATES),
        verdict=verdict(rows, shares),
        elsewhere=elsewhere(rows, shares),
        every=every(rows, shares),
    )
    return "\n\n".join(map(wrapped, text.rstrip("\n").split("\n\n"))) + "\n"
