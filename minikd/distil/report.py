"""What came of a distillation, in numbers and in words.

`summarise` compares teacher, student alone and distilled student on the test part. `words` says it to people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.core.guard import guard
from minikd.core.guard import labels as labels_of
from minikd.core.softmax import log_softmax
from minikd.distil.choices import WORTHLESS, at_chance, brief
from minikd.distil.doubts import listed
from minikd.distil.reasons import EXPLAINED, Seen, errors
from minikd.theory.calibration import BINS, log_loss, reliability
from minikd.theory.host import cases
from minikd.theory.statistics import Interval, bootstrap, paired, share
from minikd.training.config import TrainConfig

TEACHER, ALONE, DISTILLED = "teacher", "student alone", "student distilled"
BATCHES = (1, 1000)
"""The sizes of batches whose latency is reported."""
ABSURD = 100.0
"""A log loss above this, in nats, is no longer a matter of learning: every answer would be wrong, and sure to e⁻¹⁰⁰."""
RUNAWAY = 2.0
"""If the interval of a share is longer, the share is too uncertain to say."""
NOISE = 1.25
"""Two latencies whose ratio is at most this large may differ by chance."""


@dataclass(frozen=True)
class Measured:
    """What is known of a network, or of another model.

    Args:
        z: (N, K) float, its logits on the test part, at T = 1.
        parameters: how many it has, or None.
        size: of its weights in bytes, or None.
        latency: seconds that a batch takes, by the batch's size.
    """

    z: NDArray[Any]
    parameters: int | None = None
    size: int | None = None
    latency: Mapping[int, float] = field(default_factory=dict)


def latency(
    call: Callable[[], object], *, seconds: float = 0.5, least: int = 5, clock: Callable[[], float] = perf_counter
) -> float:
    """Return how many seconds a call takes: the median of many, after one that does not count.

    Args:
        call: such as `lambda: student.predict(x[:1])`.
        seconds: for how long to repeat it.
        least: how often to repeat it at least, at least 1.
        clock: returns the time in seconds.
    """
    call()
    taken: list[float] = []
    began = clock()
    while len(taken) < least or clock() - began < seconds:
        before = clock()
        call()
        taken.append(clock() - before)
    return median(taken)


def latencies(answer: Callable[[NDArray[Any]], object], x: NDArray[Any]) -> dict[int, float]:
    """Return the seconds that answers for examples take, by the size of the batch."""
    times = {}
    for size in BATCHES:
        batch = x[np.resize(np.arange(len(x)), size)]
        times[size] = latency(partial(answer, batch), seconds=0.1, least=2)
    return times


def summarise(
    labels: NDArray[Any], distilled: Measured, *, alone: Measured | None = None, teacher: Measured | None = None
) -> dict[str, Any]:
    """Compare the networks on the test part, in plain JSON types.

    Args:
        labels: (N,) int, of the test part.
        distilled: the distilled student.
        alone: the student of the same size that saw labels only, or None.
        teacher: the teacher, or None where it has not answered the test part.

    Returns:
        examples: N.
        bins: of the calibration error.
        networks: for each, by name: errors, accuracy, confidence (mean), log_loss (nats), calibration_error,
            parameters, bytes, latency.
        gain: the errors that the soft targets saved, with their 95 % interval (value, low, high), or None. It covers
            other test examples, and no other seeds.
        log_loss_gain: by how many nats the log loss is lower with soft targets, with its interval, or None.
        kept: which share of the teacher's advantage the student keeps, with its interval, or None.
        agreement: on which share of the examples the student gives its teacher's answer, or None.

    Raises:
        ValueError: if shapes do not match, a logit is not finite, or a label is out of range.
        TypeError: if a dtype is wrong.
    """
    given = {TEACHER: teacher, ALONE: alone, DISTILLED: distilled}
    there = {name: measured for name, measured in given.items() if measured is not None}
    wrong = {name: _wrong(measured.z, labels) for name, measured in there.items()}  # (N,) bool each
    gain, nats, kept, agreement = None, None, None, None
    if alone is not None:
        gain = list(saved(wrong[ALONE], wrong[DISTILLED]))
        nats = list(_nats_saved(alone.z, distilled.z, labels))
    if teacher is not None:
        agreement = float(np.mean(np.argmax(teacher.z, axis=-1) == np.argmax(distilled.z, axis=-1)))
    if alone is not None and teacher is not None:
        kept = _kept(*wrong.values())
    return {
        "examples": len(labels),
        "bins": BINS,
        "networks": {name: _figures(measured, labels, wrong[name]) for name, measured in there.items()},
        "gain": gain,
        "log_loss_gain": nats,
        "kept": kept and [end if math.isfinite(end) else None for end in kept],
        "agreement": agreement,
    }


def saved(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Interval:
    """Return the errors that the second network saves, with the interval for as many other examples.

    Args:
        before: (N,), which examples the first network gets wrong.
        after: (N,), which the second one does.
    """
    return paired(int(np.count_nonzero(after & ~before)), int(np.count_nonzero(before & ~after)), len(before))


def _nats_saved(before: NDArray[Any], after: NDArray[Any], labels: NDArray[Any]) -> Interval:
    """Return by how much the log loss of the second network is lower, for as many other examples."""
    log_q = [np.asarray(log_softmax(z.astype(np.float64), 1.0)) for z in (before, after)]
    first, second = (-rows[np.arange(len(labels)), labels] for rows in log_q)
    value, half = float(np.mean(first - second)), 1.96 * float(np.std(first - second)) / math.sqrt(len(labels))
    return Interval(value, value - half, value + half)


def idle(gain: Sequence[float] | None, alpha: float, v: NDArray[Any], labels: NDArray[Any]) -> str:
    """Return why the difference between the two students is not the teacher's doing, or "" if it may be.

    Args:
        gain: as `summarise` returns it.
        alpha: the weight of the soft targets.
        v: (N, K) float, the teacher's logits of the training part.
        labels: (N,) int, of the training part.
    """
    if alpha <= WORTHLESS:
        return f"the soft targets have a weight of only {alpha:.2g}"
    if gain is not None and gain[0] > 0 and at_chance(np.argmax(v, axis=-1), labels, v.shape[1]):
        return "the teacher agrees with the labels no more often than by chance"
    return ""


@guard(z=cases, y=labels_of("z"))
def _wrong(z: NDArray[Any], y: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.argmax(z, axis=-1) != y)


def _figures(measured: Measured, labels: NDArray[Any], wrong: NDArray[np.bool_]) -> dict[str, Any]:
    errors, N = int(np.count_nonzero(wrong)), len(wrong)
    curve = reliability(measured.z, labels)
    return {
        "errors": errors,
        "accuracy": 1 - errors / N,
        "confidence": float(np.nansum(curve.number * curve.confidence) / N),
        "log_loss": log_loss(measured.z, labels),
        "calibration_error": curve.error,
        "parameters": measured.parameters,
        "bytes": measured.size,
        "latency": {str(batch): taken for batch, taken in measured.latency.items()},
    }


def _kept(teacher: NDArray[np.bool_], alone: NDArray[np.bool_], distilled: NDArray[np.bool_]) -> Interval | None:
    """Return the share of the teacher's advantage over the student alone that the distilled student keeps."""
    if saved(alone, teacher).low <= 0:
        return None
    groups = [wrong[None].astype(float) for wrong in (teacher, alone, distilled)]
    draws = bootstrap(groups, np.ones(len(alone)))  # (DRAWS, 3), per cent
    part, whole = (float(np.count_nonzero(alone) - np.count_nonzero(other)) for other in (distilled, teacher))
    return share(part, whole, draws[:, 1] - draws[:, 2], draws[:, 1] - draws[:, 0])


def seen(
    results: Mapping[str, Any],
    config: TrainConfig,
    v: NDArray[Any],
    *,
    labels: NDArray[Any] | None = None,
    z: NDArray[Any] | None = None,
    columns: str = "",
    chosen_T: bool = False,
) -> Seen | None:
    """Return what the results tell about why soft targets help or not, or None without a student alone.

    Args:
        results: of `summarise`.
        config: the distilled student's.
        v: (N, K) float, the teacher's logits of the transfer set.
        labels: (N,) int, of the transfer set, or None.
        z: (N, K) float, the distilled student's logits of the transfer set, or None.
        columns: as `Seen` takes it.
        chosen_T: as `Seen` takes it.
    """
    rows = results["networks"]
    if results["gain"] is None:
        return None
    answers = np.argmax(v, axis=-1)
    value, low, high = results["gain"]
    followed = None
    if z is not None and results["agreement"] is not None:
        followed = float(np.mean(np.argmax(z, axis=-1) == answers)), results["agreement"]
    return Seen(
        examples=results["examples"],
        alone=rows[ALONE]["errors"],
        distilled=rows[DISTILLED]["errors"],
        noise=max(value - low, high - value),
        spread=float(np.median(np.ptp(v, axis=-1))),
        config=config,
        transfer=len(v),
        teacher=rows[TEACHER]["errors"] if TEACHER in rows else None,
        teacher_learnt=None if labels is None else float(np.mean(answers == labels)),
        followed=followed,
        constant=listed(results.get("constant") or []),
        columns=columns,
        idle=bool(results.get("idle")),
        chosen_T=chosen_T,
        floored=float(np.mean(v.min(axis=-1) <= v.min() + 1e-4)),
        classes=v.shape[1],
    )


# ---- in words --------------------------------------------------------------------------------------------------------


def words(results: Mapping[str, Any], reasons: list[str] | None = None) -> str:
    """Return the results of `summarise` as a table and as sentences.

    Args:
        results: of `summarise`. Two more items are optional: `idle`, which `idle` returns, and `constant`, the columns
            of the features that vary in the test part only.
        reasons: why the soft targets did not help, as `minikd.distil.reasons.reasons` says, or nothing.
    """
    lines = [*_table(results), "", *filter(None, (_gain(results), _advantage(results), _agreement(results)))]
    lines += [*_absurd(results), *filter(None, (_calibration(results), _log_loss(results), _size(results)))]
    if reasons:
        chance = "This gain may be chance. The likeliest reasons why it is not larger"
        failed = "The likeliest reasons why the soft targets did not help"
        may_be = results["gain"] and results["gain"][0] > 0 and not results.get("idle")
        lines += [f"{chance if may_be else failed}, the likeliest first:"]
        lines += [*(f"  - {one}" for one in reasons), EXPLAINED]
    return "\n".join(lines)


def _table(results: Mapping[str, Any]) -> list[str]:
    rows = {name: _cells(row) for name, row in results["networks"].items()}
    titles = [title for title in rows[DISTILLED] if any(cells[title] for cells in rows.values())]
    lines = [["", *titles], *([name, *(cells[title] or "–" for title in titles)] for name, cells in rows.items())]
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    bins = f"{results['bins']} bins of equal width"
    examples = f"{results['examples']:,} test example{'' if results['examples'] == 1 else 's'}"
    return [
        f"{examples}; log loss in nats; ECE is the calibration error over {bins}",
        "",
        *(f"{line[0]:{widths[0] - 2}}" + "".join(map(str.rjust, line[1:], widths[1:])) for line in lines),
    ]


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what the table says of a network, by column. What is not known is empty."""
    times = {f"{batch:,} at once": row["latency"].get(str(batch)) for batch in BATCHES}
    return {
        "errors": f"{row['errors']:,}",
        "accuracy": f"{100 * row['accuracy']:.2f} %",
        "log loss": f"{row['log_loss']:.3f}" if row["log_loss"] < 1000 else f"{row['log_loss']:.3g}",
        "ECE": f"{100 * row['calibration_error']:.1f} %",
        "parameters": "" if row["parameters"] is None else f"{row['parameters']:,}",
        "size": "" if row["bytes"] is None else _bytes(row["bytes"]),
        **{title: "" if taken is None else _seconds(taken) for title, taken in times.items()},
    }


def _gain(results: Mapping[str, Any]) -> str:
    if results["gain"] is None:
        return ""
    gain, N = Interval(*results["gain"]), results["examples"]
    if results.get("idle"):
        return _idle(gain.value, results["idle"])
    points = Interval(*(min(max(100 * end / N, -100.0), 100.0) for end in gain))
    did = "saved" if gain.value >= 0 else "cost"
    sure = "" if gain.low > 0 or gain.high < 0 else "; this may be chance"
    return (
        f"The soft targets {did} {errors(abs(gain.value))}: {points.value:+.2f} points of accuracy, 95 % interval "
        f"{points.words(2, sign=True)} for other test examples and these two networks{sure}. Another --seed trains two "
        "others, whose difference may lie outside."
    )


def _idle(saved: float, why: str) -> str:
    """Say that the teacher has no part in the difference."""
    if not saved:
        return f"Both students make as many errors. The teacher has no part in this, because {why}."
    return (
        f"The distilled student makes {errors(abs(saved))} {'fewer' if saved > 0 else 'more'} than the student alone. "
        f"This is not the teacher's doing, because {why}: another --seed may differ by as much, in either direction."
    )


def _advantage(results: Mapping[str, Any]) -> str:
    rows = results["networks"]
    if not {TEACHER, ALONE} <= rows.keys():
        return ""
    advantage = rows[ALONE]["errors"] - rows[TEACHER]["errors"]
    if advantage <= 0:
        return (
            f"The teacher has no advantage over the student alone: it makes {errors(rows[TEACHER]['errors'])}, and "
            f"the student alone {rows[ALONE]['errors']:,}. So there is nothing to keep."
        )
    if results["kept"] is None:
        may = "may be chance, so a share of it would mean nothing"
        return f"The teacher's advantage over the student alone is {errors(advantage)}, which {may}."
    if results.get("idle"):
        return ""
    value, low, high = results["kept"]
    if value <= 0:
        return f"The distilled student keeps nothing of its teacher's advantage of {errors(advantage)}."
    if low is None or high is None or high - low > RUNAWAY:
        return (
            f"The teacher's advantage over the student alone is {errors(advantage)}. Which share of it the distilled "
            "student keeps is too uncertain to say."
        )
    return (
        f"The distilled student keeps {100 * value:.0f} % of its teacher's advantage of {errors(advantage)} over the "
        f"student alone, 95 % interval {Interval(value, low, high).words(0, percent=True)}."
    )


def _agreement(results: Mapping[str, Any]) -> str:
    agreement = results["agreement"]
    return (
        "" if agreement is None else f"It gives its teacher's answer on {100 * agreement:.2f} % of the test examples."
    )


def _absurd(results: Mapping[str, Any]) -> list[str]:
    """Name the networks that are wrong beyond reason."""
    fix = {TEACHER: "Are its logits in nats?"}
    usual = "Its training has diverged: lower --learning-rate."
    if constant := results.get("constant"):
        usual = fix[TEACHER] = f"In the features, {listed(constant)} never varied in training: leave this out."
    return [
        f"The log loss of the {name} is {brief(row['log_loss'], 3)} nats, which is absurd: do not use it. "
        f"{fix.get(name, usual)}"
        for name, row in results["networks"].items()
        if row["log_loss"] > ABSURD
    ]


def _calibration(results: Mapping[str, Any]) -> str:
    """Say how sure the distilled student is, and how often it is right."""
    row = results["networks"][DISTILLED]
    sure, right = 100 * row["confidence"], 100 * row["accuracy"]
    return f"It is {sure:.1f} % sure of its answers on average, and {right:.1f} % of them are right."


def _log_loss(results: Mapping[str, Any]) -> str:
    """Warn where the distilled student's probabilities are clearly worse than those of the student alone."""
    if results["log_loss_gain"] is None or results["log_loss_gain"][2] >= 0:
        return ""
    alone, distilled = (results["networks"][name]["log_loss"] for name in (ALONE, DISTILLED))
    if not 1.1 * alone < distilled <= ABSURD:
        return ""
    return (
        f"Its log loss of {distilled:.3f} is clearly higher than the {alone:.3f} of the student alone, so its "
        "probabilities are worse, whatever its errors. If you use them, try a smaller --hidden, or a lower --T."
    )


def _size(results: Mapping[str, Any]) -> str:
    """Say how much smaller and faster than its teacher the distilled student is."""
    rows = results["networks"]
    if TEACHER not in rows:
        return ""
    teacher, student = rows[TEACHER], rows[DISTILLED]
    said = []
    if teacher["bytes"] and student["bytes"]:
        said.append(_times(teacher["bytes"] / student["bytes"], "smaller", "larger", "as large", 1.05))
    for batch in map(str, BATCHES):
        if batch in teacher["latency"] and batch in student["latency"]:
            ratio = teacher["latency"][batch] / student["latency"][batch]
            said.append(f"{_times(ratio, 'faster', 'slower', 'as fast', NOISE)} for a batch of {int(batch):,}")
    return f"Beside its teacher, it is {', '.join(said)}." if said else ""


def _times(ratio: float, more: str, less: str, same: str, noise: float) -> str:
    """Return a ratio in words; one within the noise is none.

    >>> [_times(ratio, "faster", "slower", "as fast", 1.25) for ratio in (3.04, 0.5, 1.2, 0.81)]
    ['3.0 times faster', '2.0 times slower', 'as fast', 'as fast']
    """
    times = max(ratio, 1 / ratio)
    if times <= noise:
        return same
    return f"{times:,.{0 if times >= 10 else 1}f} times {more if ratio >= 1 else less}"


def _bytes(size: float) -> str:
    """Return a size in words.

    >>> _bytes(512), _bytes(5120), _bytes(2.5e6)
    ('512 B', '5.1 kB', '2.5 MB')
    """
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _seconds(taken: float) -> str:
    """Return a time in words.

    >>> _seconds(2.5e-5), _seconds(0.0123), _seconds(2.0)
    ('25 µs', '12.3 ms', '2 s')
    """
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if taken * scale >= 1:
            return f"{taken * scale:.3g} {unit}"
    return f"{taken * 1e6:.3g} µs"
