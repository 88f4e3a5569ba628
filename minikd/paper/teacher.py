"""The teacher that ships inside minikd: python -m minikd.paper.teacher makes its file.

It is the teacher of row M1 in the profile "cpu", with 80 epochs. The file holds logits, from which every temperature
follows. Weights would be four times as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from minikd.paper.lab import executor
from minikd.paper.lab.jobs import Store
from minikd.paper.rows.students import TEACHER
from minikd.paper.tasks.networks import Data, mnist, training
from minikd.system.cli import Parser, start
from minikd.system.files import check_writable
from minikd.training import checkpoint

FILE = Path(__file__).resolve().parent.parent / "embedded" / "teacher" / "mnist.safetensors"


def main(argv: Sequence[str] | None = None) -> None:
    """Train the teacher if it is not among the paper's runs yet, and write the file."""
    parser = Parser("paper.teacher", "Make the file of the teacher that ships.")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR", help="where runs are kept [runs]")
    out = parser.parse_args(argv).out
    job = training("the teacher that ships", replace(TEACHER, epochs=80), Data(), keep=("train", "test"))
    try:
        check_writable(FILE)
        store = Store(out / "paper" / "cpu")
        with executor.processes(1) as (pool, workers):
            executor.run([job], store, pool, workers=workers)
        result = store.get(job)
    except ValueError as error:
        parser.fail(str(error))
    except executor.JobError as error:
        parser.fail(str(error), code=1)
    train, test = mnist()
    record = {
        "command": "python -m minikd.paper.teacher",
        "config": job.settings["config"],
        "test_errors": result.record["errors"],
        "train_set": train.fingerprint,
        "test_set": test.fingerprint,
    }
    checkpoint.save(FILE, {part: result.arrays[part] for part in ("train", "test")}, record)
    print(f"{FILE.name}: {FILE.stat().st_size / 1e6:.1f} MB, {record['test_errors']} test errors")


if __name__ == "__main__":
    start(main)
