"""What a run of `python -m minikd.mnist` says: its results as data, as a table, and as two figures."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from minikd import __version__
from minikd.backend import Device
from minikd.data import Dataset
from minikd.mlp import parameter_count
from minikd.train import Network, logits

TEACHER, ALONE, DISTILLED = NETWORKS = ("teacher", "student alone", "student distilled")
PAPER_ERRORS = {TEACHER: 67, ALONE: 146, DISTILLED: 74}  # M1, M2, M3: full length, T = 20, single runs
PAPER_SIZES = {TEACHER: (784, 1200, 1200, 10), ALONE: (784, 800, 800, 10), DISTILLED: (784, 800, 800, 10)}
MNIST_TEST = "fc6afb5445e3c37b9bb8ab589ee650753ab43a47df5205f953db1727b0091738"  # the test set's fingerprint


def summarise(
    asked: dict[str, Any], networks: dict[tuple[int, str], Network], reused: list[str], folder: Path
) -> dict[str, Any]:
    """The results of a run in plain JSON types."""
    comparable = asked["evaluation"]["sha256"] == MNIST_TEST
    rows: dict[str, dict[str, Any]] = {}
    for name in NETWORKS:
        runs_of = [networks[seed, name] for seed in asked["seeds"]]
        errors = [network.history[-1]["errors"] for network in runs_of]
        rows[name] = {
            "sizes": list(runs_of[0].sizes),
            "parameters": parameter_count(runs_of[0].sizes),
            "errors": errors,
            "errors_mean": float(np.mean(errors)),
            "errors_sd": _sd(errors),
            "paper": PAPER_ERRORS[name] if comparable and runs_of[0].sizes == PAPER_SIZES[name] else None,
            "seconds": round(float(np.mean([sum(e["seconds"] for e in n.history) for n in runs_of])), 1),
        }
    gain = np.subtract(rows[ALONE]["errors"], rows[DISTILLED]["errors"])
    return {
        "asked": asked,
        "results": rows,
        "gain": {"errors": gain.tolist(), "mean": float(gain.mean()), "sd": _sd(gain)},
        "teachers_reused": reused,
        "minikd": __version__,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "folder": str(folder),
    }


def _sd(values: Any) -> float | None:
    """The standard deviation of a sample, or None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def table(results: dict[str, Any]) -> str:
    """The results as a person reads them."""
    asked, rows, gain = results["asked"], results["results"], results["gain"]
    taught, seeds, N = asked["networks"][DISTILLED], asked["seeds"], asked["evaluation"]["examples"]
    many = len(seeds) > 1
    papers = {name for name, row in rows.items() if row["paper"] is not None}
    training, evaluation = asked["train"], asked["evaluation"]
    lines = [
        f"{training['name']}, {training['examples']:,} images; errors on {evaluation['name']}, {N:,} images; "
        f"T = {taught['T']:g}, alpha = {taught['alpha']:g}; "
        + (f"mean ± sd of seeds {seeds[0]} to {seeds[-1]}" if many else f"seed {seeds[0]}"),
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
    way = rows[ALONE]["errors_mean"] - rows[TEACHER]["errors_mean"]
    worth = (
        f"The soft targets {'saved' if gain['mean'] >= 0 else 'cost'} {_mean_sd(abs(gain['mean']), gain['sd'])} errors"
    )
    worth += " (the differences of the pairs)" if many else ""
    if gain["mean"] > 0 and way > 0:
        worth += f": {100 * gain['mean'] / way:.0f} % of the way from the student alone to its teacher"
    lines += ["", worth + "."]
    if papers:
        lines.append(
            "The paper's figures are of single, much longer runs, at T = 20; a binomial sd is about 10 errors."
        )
    if results["teachers_reused"]:
        lines += [f"The teacher was already trained and is used again: {p}" for p in results["teachers_reused"]]
    return "\n".join([*lines, f"Run folder: {results['folder']}"])


def _mean_sd(mean: float, sd: float | None) -> str:
    return f"{mean:.0f}" if sd is None else f"{mean:.1f} ± {sd:.1f}"


def draw(networks: dict[str, Network], test_set: Dataset, T: Any, device: Device, folder: Path) -> None:
    """Write the two figures of a run: the learning curves, and a page of the teacher's dark knowledge."""
    from minikd import plots  # matplotlib takes half a second to import, and training should not wait for it

    curves = plots.learning_curves({name: n.history for name, n in networks.items()}, evaluated_on=test_set.name)
    plots.save(curves, folder / "learning_curves.png")
    v = device.get(logits(networks[TEACHER], test_set, device))
    right = int(np.count_nonzero(v.argmax(axis=-1) == test_set.labels))
    if right == 0:  # a teacher so bad that it has nothing to show
        return
    chosen = plots.choose_ambiguous(v, test_set.labels, count=min(6, right))
    page = plots.dark_knowledge(test_set.images[chosen], test_set.labels[chosen], v[chosen], T)
    plots.save(page, folder / "dark_knowledge.png")
