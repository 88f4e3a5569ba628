"""What the README shows is what the code does."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from minikd.commands.mnist import PRESETS
from minikd.commands.report import table

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.S)


def test_the_loss_in_the_readme_is_the_one_in_the_code():
    code = (ROOT / "minikd" / "core" / "losses.py").read_text(encoding="utf-8")
    lines = BLOCKS[0][1].splitlines()
    assert lines[-1] == "dz = (1/T) * (q - p) / B"
    for line in lines:
        assert f"    {line.partition('  #')[0]}  #" in code, line


EXAMPLES = [
    (code, printed)
    for (kind, code), (next_kind, printed) in pairwise(BLOCKS)
    if (kind, next_kind) == ("python", "text") and "soft_targets" not in code  # training differs between processors
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_an_example_prints_what_stands_below_it(code, printed, capsys):
    exec(code, {})
    assert capsys.readouterr() == (printed, "")


@pytest.mark.slow
def test_the_example_of_the_functions_shows_a_gain_that_holds_over_seeds(capsys):
    (code,) = [code for kind, code in BLOCKS if kind == "python" and "soft_targets" in code]
    exec(code, {})
    out = capsys.readouterr().out
    name, teacher, *rows = out.splitlines()[0].split() + out.splitlines()[1:]
    errors = {row.split()[0]: json.loads(row[row.index("[") :]) for row in rows}
    assert (name, list(errors)) == ("teacher", ["alone", "distilled"])
    assert int(teacher) < 200
    saved = [a - b for a, b in zip(errors["alone"], errors["distilled"], strict=True)]
    assert len(saved) == 4
    assert sum(saved) > 0
    assert np.mean(saved) > np.std(saved, ddof=1) / 2, f"the gain does not hold over seeds: {saved}"


def test_every_file_that_the_readme_links_to_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / link).exists(), link


def test_the_table_in_the_readme_is_the_committed_result():
    results = json.loads((ROOT / "benchmarks" / "results" / "quick.json").read_text(encoding="utf-8"))
    assert table(results).rpartition("\nRun folder")[0] in TEXT


def test_the_times_on_a_card_are_the_committed_ones():
    h200 = ROOT / "benchmarks" / "results" / "h200"
    found = [json.loads((h200 / f"{table}.json").read_text("utf-8"))["rows"] for table in ("step", "prototype")]
    steps, graphs = (
        {row["network"]: row["seconds"] for row in reversed(rows) if row["batch"] == 128} for rows in found
    )
    for network, single in steps.items():
        shown = [single[who] for who in ("minikd", "PyTorch eager", "PyTorch reduce-overhead")]
        cells = [network, *(f"{1e3 * median:.3g}" for _, median, _ in [*shown, graphs[network]["graph"]])]
        assert f"| {' | '.join(cells)} |" in TEXT


def test_the_quick_preset_is_what_the_committed_result_used():
    results = json.loads((ROOT / "benchmarks" / "results" / "quick.json").read_text(encoding="utf-8"))
    assert results["asked"]["seeds"] == [0, 1, 2, 3, 4]
    for name, config in PRESETS["quick"].items():
        assert {**results["asked"]["networks"][name], "seed": 0} == config.record()


def test_the_papers_teacher_has_the_recipe_that_was_measured_on_a_card():
    recipes = json.loads((ROOT / "benchmarks" / "results" / "h200" / "recipes.json").read_text(encoding="utf-8"))
    measured = [row for row in recipes["teachers"] if row["images"] == 60_000]
    teacher = PRESETS["paper"]["teacher"]
    for row in measured:
        assert row["drop"] == [teacher.drop_input, teacher.drop_hidden]
        assert all(row[name] == getattr(teacher, name) for name in ("learning_rate", "batch_size", "epochs"))
    errors = [row["test"] for row in measured]
    text = TEXT.replace("\n", " ")
    assert f"made {', '.join(map(str, errors[:-1]))} and {errors[-1]} errors, {np.mean(errors):.1f} on average" in text
