"""What the README shows is what the code does, and so for the pages on training and on the GPU."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks import run
from minikd.commands.mnist import PRESETS
from minikd.commands.report import table

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
FLOWING = TEXT.replace("\n", " ")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)
GPU = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
ON_THE_GPU = GPU.replace("\n", " ")


def test_the_loss_in_the_readme_is_the_one_in_the_code():
    code = (ROOT / "minikd" / "core" / "losses.py").read_text(encoding="utf-8")
    lines = BLOCKS[0][1].splitlines()
    assert lines[-1] == "dz = (1/T) * (q - p) / B"
    for line in lines:
        assert f"    {line.partition('  #')[0]}  #" in code, line


EXAMPLES = [
    (code, printed)
    for (kind, code), (next_kind, printed) in pairwise(BLOCKS)
    if (kind, next_kind) == ("python", "text") and "sklearn" not in code  # tests/test_guides.py
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_an_example_prints_what_stands_below_it(code, printed, capsys):
    exec(code, {})
    assert capsys.readouterr() == (printed, "")


def test_every_file_that_the_readme_links_to_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / link).exists(), link


def test_the_table_in_the_readme_is_the_committed_result():
    results = json.loads((ROOT / "benchmarks" / "results" / "quick.json").read_text(encoding="utf-8"))
    assert table(results).rpartition("\nRun folder")[0] in TEXT


def on_a_card(table):
    """The rows of a table that was measured on a card."""
    record = json.loads((ROOT / "benchmarks" / "results" / "gpu" / f"{table}.json").read_text(encoding="utf-8"))
    assert f"`{record['command']}`" in ON_THE_GPU
    return record["rows"]


def test_the_times_on_a_card_are_the_committed_ones():
    columns = ["minikd, graph", "minikd", *(f"PyTorch {way}" for way in ("eager", "reduce-overhead", "compiled graph"))]
    steps = {row["network"]: row["seconds"] for row in on_a_card("step") if row["batch"] == 128}
    us = {network: {who: 1e6 * median for who, (_, median, _) in times.items()} for network, times in steps.items()}
    for network, median in us.items():
        cells = [network, *(f"{median[who] / 1000:#.3g}" for who in [*columns, "JAX scan"])]
        assert f"| {' | '.join(cells)} |" in GPU
        assert median["minikd, graph"] < min(median[who] for who in median if who.startswith("PyTorch"))
    launch = [median["minikd"] / 15 for median in us.values()]
    assert f"minikd's 15 launches took {min(launch):.0f} to {max(launch):.0f} µs each" in ON_THE_GPU
    faster = [median["minikd"] / median["minikd, graph"] for median in us.values()]
    assert f"{min(faster):.0f} to {max(faster):.0f} times as fast as its launches one by one" in ON_THE_GPU
    beside_jax = {network: median["minikd, graph"] / median["JAX scan"] for network, median in us.items()}
    assert [network for network, ratio in beside_jax.items() if ratio >= 1] == ["784-30-30-10"]
    assert f"except for 30 units, where it takes {beside_jax['784-30-30-10']:.2f} times as long as JAX" in ON_THE_GPU
    spread = max((high - low) / 2 / median for low, median, high in (one["minikd"] for one in steps.values()))
    assert f"minikd's quartiles is up to {100 * spread:.0f} % of the median" in ON_THE_GPU


def test_the_runs_on_a_card_are_the_committed_ones():
    seconds = {row["what"]: row["seconds"]["time"][1] for row in on_a_card("run")}
    took = f"the paper's teacher took {seconds[run.LONG]:.0f} s for 500 epochs"
    assert took in ON_THE_GPU
    assert took in FLOWING
    quick = seconds[run.QUICK_TRAINING]
    assert f"trained its three networks in {quick:.1f} s, which misses our aim of 5 s" in ON_THE_GPU


def test_what_a_card_said_of_the_kernels_is_the_committed_record():
    record = json.loads((ROOT / "benchmarks" / "results" / "gpu" / "card.json").read_text(encoding="utf-8"))
    said = {stage["stage"]: stage["said"] for stage in record["stages"]}
    (deviation,) = re.findall(r"every kernel within (\S+) of the readable function", said["self-test"])
    assert f"within {deviation.replace('e-0', 'e-')} of the readable function" in ON_THE_GPU
    passed, skipped = re.findall(r"\d+(?= passed| skipped)", said["tests"])
    assert f"{passed} test cases passed there, none failed, and {skipped} were skipped by design" in ON_THE_GPU
    assert "failed" not in said["tests"]


def test_the_quick_preset_is_what_the_committed_result_used():
    results = json.loads((ROOT / "benchmarks" / "results" / "quick.json").read_text(encoding="utf-8"))
    assert results["asked"]["seeds"] == [0, 1, 2, 3, 4]
    for name, config in PRESETS["quick"].items():
        assert {**results["asked"]["networks"][name], "seed": 0} == config.record()


def test_the_papers_teacher_has_the_recipe_that_was_measured_on_a_card():
    results = json.loads((ROOT / "minikd" / "paper" / "results" / "full.json").read_text(encoding="utf-8"))
    (errors,) = (row["numbers"]["errors"] for row in results["rows"] if row["row"] == "M1")
    configs = [run["config"] for run in results["runs"] if run["title"].startswith("teacher, seed")]
    teacher = PRESETS["paper"]["teacher"].record()
    assert configs == [{**teacher, "seed": seed} for seed in range(len(errors))]
    machines = {run["machine"] for run in results["runs"] if run["title"].startswith("teacher, seed")}
    assert all("H100" in results["machines"][number]["device"] for number in machines)
    made = f"{', '.join(map(str, errors[:-1]))} and {errors[-1]} errors"
    assert f"made {made}, {np.mean(errors):.1f} on average" in FLOWING
