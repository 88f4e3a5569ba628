"""A run of the command that is killed at any moment ends with the same bits when it is resumed."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_mnist import SMALL, write_digits

from minikd.training.checkpoint import load


def weights(run: Path) -> dict[str, np.ndarray]:
    return {f"{path.name} {name}": a for path in sorted(run.glob("seed0/*")) for name, a in load(path)[0].items()}


# The command, which kills itself at the n-th call of a function; it says how many calls there were if it comes so far.
KILLED = """
import os, signal, sys
from minikd.commands import mnist

last, calls = int(sys.argv[1]), 0

def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
    if calls == last:
        os.kill(os.getpid(), signal.SIGKILL)

mnist.draw = lambda *arguments: None  # figures are drawn afresh from the networks
sys.setprofile(count)
mnist.main(sys.argv[2:])
sys.setprofile(None)
print(calls, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path, mnist_data):
    write_digits(tmp_path, mnist_data)
    args = [*SMALL, "--data", str(tmp_path), "--json", "--drop", "0.1,0.2"]

    def run(last: int, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(last), *args, "--out", str(out), *more]
        return subprocess.run(command, capture_output=True, text=True)

    straight = run(0, tmp_path / "straight")
    assert straight.returncode == 0, straight.stderr
    calls = int(straight.stderr)
    expected = weights(Path(json.loads(straight.stdout)["folder"]))
    assert len(expected) == 21  # three networks, each with three layers and the scale of its pixels

    seed = random.randrange(1000)
    print(f"moments drawn with seed {seed}")
    moments = random.Random(seed)
    for _ in range(5):
        killed = run(int(moments.uniform(0.05, 0.4) * calls), tmp_path / "killed", "--resume")
        if killed.returncode == 0:  # so little was left
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    ended = run(0, tmp_path / "killed", "--resume")
    assert ended.returncode == 0, ended.stderr
    (folder_of_run,) = [path for path in (tmp_path / "killed").iterdir() if path.name != "teachers"]
    found = weights(folder_of_run)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(array, found[name]), f"{name} differs; the moments were drawn with seed {seed}"
    epochs = [
        (e["network"], e["epoch"]) for e in map(json.loads, (folder_of_run / "metrics.jsonl").read_text().splitlines())
    ]
    assert len(epochs) == len(set(epochs)) == 4 + 3 + 3
