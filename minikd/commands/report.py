"""The results of `python -m minikd.mnist`: as data, as a table, and as two figures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from minikd.core.mlp import parameter_count
from minikd.data.images import Dataset
from minikd.distil.reasons import EXPLAINED, Seen
from minikd.distil.reasons import reasons as causes
from minikd.engines.device import Device
from minikd.training.answers import choose_ambiguous, logits
from minikd.training.config import TrainConfig
from minikd.training.network import Network

TEACHER, ALONE, DISTILLED = NETWORKS = ("teacher", "student alone", "student distilled")
PAPER_ERRORS = {TEACHER: 67, ALONE: 146, DISTILLED: 74}  # M1, M2, M3: full length, T = 20, single runs
PAPER_SIZES = {TEACHER: (784, 1200, 1200, 10), ALONE: (784, 800, 800, 10), DISTILLED: (784, 800, 800, 10)}
MNIST_TEST = "fc6afb5445e3c37b9bb8ab589ee650753ab43a47df5205f953db1727b0091738"  # the test set's fingerprint


def summarise(
    asked: dict[str, Any],
    networks: dict[tuple[int, str], Network],
    logit_range: float,
    reused: list[str],
    folder: Path,
) -> dict[str, Any]:
    """Return the results of a run in plain JSON types.

    Args:
        asked: what was asked for, as `config.json` holds it.
        networks: by seed and name.
        logit_range: the teachers' largest logit minus their smallest on a typical training image, in nats.
        reused: the files of teachers that were there already.
        folder: of the run.
    """
    comparable = asked["evaluation"]["sha256"] == MNIST_TEST
    rows: dict[str, dict[str, Any]] = {}
    for name in NETWORKS:
        trained = [networks[seed, name] for seed in asked["seeds"]]
        sizes = trained[0].sizes
        errors = [network.history[-1]["errors"] for network in trained]
        rows[name] = {
            "sizes": list(sizes),
            "parameters": parameter_count(sizes),
            "errors": errors,
            "errors_mean": float(np.mean(errors)),
            "errors_sd": _sd(errors),
            "paper": PAPER_ERRORS[name] if comparable and sizes == PAPER_SIZES[name] else None,
            "seconds": round(sum(epoch["seconds"] for n in trained for epoch in n.history) / len(trained), 1),
        }
    rows[TEACHER]["logit_range"] = round(logit_range, 1)
    gain = np.subtract(rows[ALONE]["errors"], rows[DISTILLED]["errors"])
    found: dict[str, Any] = {"errors": gain.tolist(), "mean": float(gain.mean()), "sd": _sd(gain)}
    return {
        "asked": asked,
        "results": rows,
        "gain": found,
        "reasons": reasons(asked, rows, found),
        "teachers_reused": reused,
        "folder": str(folder),
    }


def reasons(asked: dict[str, Any], rows: dict[str, dict[str, Any]], gain: dict[str, Any]) -> list[str]:
    """Return why the soft targets did not help, as far as the results can tell, the likeliest reason first.

    They helped if the mean gain exceeds twice its standard error. About half of two students' errors are on images that
    the other one gets right. The standard deviation of the pairs is taken to be at least that of the number of these
    errors. So two pairs that agree by chance prove nothing.

    Args:
        asked: what was asked for, as `config.json` holds it.
        rows: the results of each network.
        gain: the errors that the soft targets saved, pair by pair, with their mean and standard deviation.

    Returns:
        One sentence or two per reason; none where the soft targets helped.
    """
    teacher, alone, distilled = (rows[name]["errors_mean"] for name in NETWORKS)
    pairs, taught = len(gain["errors"]), asked["networks"][DISTILLED]
    seen = Seen(
        examples=asked["evaluation"]["examples"],
        alone=alone,
        distilled=distilled,
        noise=2 * max(math.sqrt((alone + distilled) / 2), gain["sd"] or 0) / math.sqrt(pairs),
        spread=rows[TEACHER]["logit_range"],
        config=TrainConfig(**{**taught, "hidden": tuple(taught["hidden"])}),
        transfer=asked["train"]["examples"],
        teacher=teacher,
        pairs=pairs,
    )
    better = "Train it longer (--teacher-epochs) or make it wider (--teacher-hidden)"
    return causes(seen, better_teacher=better)


def _sd(values: Any) -> float | None:
    """Return the standard deviation of a sample, or None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def table(results: dict[str, Any]) -> str:
    """Return the results as a table for people."""
    asked, rows = results["asked"], results["results"]
    training, evaluation = asked["train"], asked["evaluation"]
    taught, seeds, N = asked["networks"][DISTILLED], asked["seeds"], evaluation["examples"]
    over = f"mean ± sd of seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    lines = [
        f"{training['name']}, {training['examples']:,} images; errors on {evaluation['name']}, {N:,} images; "
        f"T = {taught['T']:g}, alpha = {taught['alpha']:g}; {over}",
        "",
        f"{'':19}{'network':22}{'parameters':>10}  {'errors':>14}{'%':>7}{'paper':>8}{'time':>9}",
    ]
    for name, row in rows.items():
        sizes = "-".join(map(str, row["sizes"]))
        paper = "–" if row["paper"] is None else str(row["paper"])
        lines.append(
            f"{name:19}{sizes:22}{row['parameters']:>10,}  {_mean_sd(row['errors_mean'], row['errors_sd']):>14}"
            f"{100 * row['errors_mean'] / N:>7.2f}{paper:>8}{row['seconds']:>7.0f} s"
        )
    lines += ["", _verdict(rows, results["gain"], results["reasons"])]
    if results["reasons"]:
        found = "This gain may be chance." if results["gain"]["mean"] > 0 else "The soft targets did not help."
        lines += [f"{found} The likeliest reason first:", *(f"  - {one}" for one in results["reasons"])]
        lines.append(EXPLAINED)
    if any(row["paper"] is not None for row in rows.values()):
        lines.append(
            "The paper's figures are of single, much longer runs, at T = 20; a binomial sd is about 10 errors."
        )
    lines += [f"The teacher was already trained and is used again: {path}" for path in results["teachers_reused"]]
    return "\n".join([*lines, f"Run folder: {results['folder']}"])


def _verdict(rows: dict[str, dict[str, Any]], gain: dict[str, Any], doubts: list[str]) -> str:
    """Say what the soft targets saved, and which share of the way to the teacher that is, if neither is chance."""
    pairs = len(gain["errors"])
    did = "saved" if gain["mean"] >= 0 else "cost"
    words = f"The soft targets {did} {_mean_sd(abs(gain['mean']), gain['sd'])} errors"
    words += " (the differences of the pairs)" if pairs > 1 else ""
    alone, teacher = rows[ALONE]["errors_mean"], rows[TEACHER]["errors_mean"]
    way_is_sure = alone - teacher > 2 * math.sqrt((alone + teacher) / pairs)  # twice its binomial sd
    if gain["mean"] > 0 and way_is_sure and not doubts:
        words += f": {100 * gain['mean'] / (alone - teacher):.0f} % of the way from the student alone to its teacher"
    return f"{words}."


def _mean_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.0f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"


def draw(networks: dict[str, Network], test_set: Dataset, T: Any, device: Device, folder: Path) -> None:
    """Write the two figures of a run: the learning curves, and a page of the teacher's dark knowledge.

    Args:
        networks: of one seed, by name.
        test_set: whose images are shown.
        T: the temperature of the distillation.
        device: where to compute.
        folder: of the run.
    """
    from minikd import plots  # matplotlib takes half a second to import, and training should not wait for it

    curves = plots.learning_curves({name: n.history for name, n in networks.items()}, evaluated_on=test_set.name)
    plots.save(curves, folder / "learning_curves.png")
    v = device.get(logits(networks[TEACHER], test_set, device))
    right = int(np.count_nonzero(v.argmax(axis=-1) == test_set.labels))
    if right == 0:  # a teacher so bad that it has nothing to show
        return
    chosen = choose_ambiguous(v, test_set.labels, count=min(6, right))
    page = plots.dark_knowledge(test_set.images[chosen], test_set.labels[chosen], v[chosen], T)
    plots.save(page, folder / "dark_knowledge.png")
