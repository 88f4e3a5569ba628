"""Everything that needs a GPU, in one command: python -m benchmarks.card --minutes 8.

The stages come in the order of their importance: the GPU's self-test, the tests, a training step and an epoch beside
all rivals, populations, the quick command with the long runs, and the paper's rows, except those of speech. Each is a
process of its own, gets a share of the time that is left, and is recorded as soon as it ends. A stage that fails, or
runs out of time, does not stop the next. Nothing is fetched from a network.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from benchmarks import report
from minikd.paper.rows import ROWS, speech
from minikd.system.cli import Parser, start
from minikd.system.files import check_writable
from minikd.training.runs import write_json

ROOT = Path(__file__).parent.parent
GRACE = 5.0  # seconds in which a stage that is asked to stop can do so
KEPT = 80  # lines of a stage's output
PAPER = tuple(id for id, row in ROWS.items() if row not in speech.ROWS)
"""The paper's rows, the most important first; those of speech need recordings."""
ON_A_CARD = "(cupy or gpu) and not strict-cupy"
"""Which cases of the test files run on a card, as pytest's -k takes it."""
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:benchmark")
"""Plugins that the tests do without. If pytest-benchmark is there, it warns of workers, and warnings are errors."""
PACKAGES = {
    "pytest": "the tests need it: it comes with the extra test",
    "hypothesis": "the tests need it: it comes with the extra test",
    "array_api_strict": "the tests need it: it comes with the extra test",
    "torch": "the rivals are left out without it: it comes with the extra bench, built for CUDA",
    "jax": "one rival is left out without it: install jax[cuda13] or jax[cuda12]",
}
"""What a stage needs besides minikd and CuPy, and what is lost without it."""
DESCRIBE = """
import json, sys
from minikd.engines.device import get_device
from minikd.engines.gpu import DeviceError, gpu_errors
from minikd.engines.machine import machine
try:
    with gpu_errors():
        print(json.dumps(machine(get_device(sys.argv[1]))))
except DeviceError as error:
    sys.exit(str(error))
"""
DRY_SELF_TEST = """
import sys
sys.path.insert(0, "tests")
import strict_cupy
from minikd.commands.gpu import report
sys.exit(report(strict_cupy.device(), networks=((784, 9, 10),), steps=1))
"""


class Stage(NamedTuple):
    """A part of the work.

    Attributes:
        name: for people.
        share: of the time that is left, beside the shares of the stages after it.
        least: seconds; with less it does not begin.
        command: what Python runs, from the seconds that it may take.
        said: what came, in words, from the output.
        file: what the stage writes, if it writes a file; `said` reads it.
    """

    name: str
    share: float
    least: float
    command: Callable[[float], Sequence[str]]
    said: Callable[[str], str]
    file: Path | None = None


def stages(out: Path, runs: Path | None, quick: bool) -> list[Stage]:
    """Return the stages in their order; with quick, tiny ones that need no card.

    Args:
        out: the folder of the results.
        runs: the folder where the paper's finished work is kept, so that a later call resumes it; None for its own.
        quick: whether this is the dry run.
    """
    gpu = ["--quick"] if quick else ["--gpu", "--pace", "0.25"]
    self_test = ["-c", DRY_SELF_TEST] if quick else ["-m", "minikd.backend"]
    tests = ["tests/test_backend.py"] if quick else ["--require-gpu", "-k", ON_A_CARD, *_workers(), *gpu_tests()]
    full = out / "full.json"
    paper = [*PAPER[:2], "--profile", "smoke"] if quick else [*PAPER, "--profile", "full", "--gpu"]
    paper += [*([] if runs is None else ["--out", str(runs)]), "--write", str(full), "--quiet"]

    def section(name: str, share: float, least: float) -> Stage:
        path = out / f"{name}.json"

        def command(seconds: float) -> list[str]:
            minutes = f"{0.8 * (seconds - GRACE) / 60:.2f}"  # a row that begins then still has a fifth of the time
            return ["-m", "benchmarks", name, *gpu, "--out", str(out), "--minutes", minutes]

        return Stage(name, share, least, command, lambda output: _rows_said(path), path)

    return [
        Stage("self-test", 0.08, 10, lambda seconds: self_test, _deviation_said),
        Stage("tests", 0.20, 20, lambda seconds: ["-m", "pytest", "-q", *WITHOUT, *tests], _last_line),
        section("step", 0.30, 30),
        section("epoch", 0.08, 15),
        section("population", 0.10, 15),
        section("run", 0.16, 20),
        Stage(
            "paper", 0.08, 20, lambda seconds: ["-m", "minikd.paper", *paper], lambda output: _rows_judged(full), full
        ),
    ]


def gpu_tests() -> list[str]:
    """Return the test files that have cases on a card: those whose tests ask for the fixture `device` or `gpu`."""
    asks = re.compile(r"^def test_\w+\([^)]*\b(?:device|gpu)\b", re.MULTILINE)
    paths = sorted((ROOT / "tests").glob("test_*.py"))
    return [f"tests/{path.name}" for path in paths if asks.search(path.read_text(encoding="utf-8"))]


def _workers() -> list[str]:
    return ["-n", str(min(12, os.cpu_count() or 1)), "--dist", "worksteal"] if find_spec("xdist") else []


# ---- what came, in words ---------------------------------------------------------------------------------------------


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip("= ") if lines else ""


def _deviation_said(output: str) -> str:
    found = [float(number) for number in re.findall(r"^\w+ +(\S+e[-+]\d+)  ok$", output, re.MULTILINE)]
    return f"every kernel within {max(found)} of the readable function" if found else _last_line(output)


def _rows_said(path: Path) -> str:
    record = json.loads(path.read_text(encoding="utf-8"))
    left_out = [f"{what} left out ({why})" for what, why in record["left_out"].items()]
    return "; ".join([f"{len(record['rows'])} rows measured", *left_out])


def _rows_judged(path: Path) -> str:
    return "; ".join(f"{row['row']} {row['verdict']}" for row in json.loads(path.read_text(encoding="utf-8"))["rows"])


# ---- the work --------------------------------------------------------------------------------------------------------


def carry_out(todo: Sequence[Stage], seconds: float, record: dict[str, Any], save: Callable[[], None]) -> None:
    """Carry out one stage after the other, and save the record after each.

    Args:
        todo: the stages.
        seconds: for all of them.
        record: each stage is added to its "stages".
        save: called after each stage.
    """
    end = monotonic() + seconds
    for i, stage in enumerate(todo):
        left, shares = end - monotonic(), sum(later.share for later in todo[i:])
        limit = left * (stage.share / shares if shares else 1.0)
        entry: dict[str, Any] = {"stage": stage.name, "command": None, "seconds": None}
        record["stages"].append(entry)
        if limit < stage.least:
            words = f"{max(limit, 0):.0f} s were left, and it needs {stage.least:.0f} s"
            entry |= {"state": "not begun", "said": words}
        else:
            _do(stage, limit, entry)
        print(f"{stage.name}: {entry['state']}: {entry['said']}", flush=True)
        save()


def _do(stage: Stage, limit: float, entry: dict[str, Any]) -> None:
    """Carry out one stage within the limit, s, and enter what came."""
    command, began, clock, before = stage.command(limit), _now(), monotonic(), _written(stage.file)
    entry["command"] = f"python {' '.join(command)}" if command[0] == "-m" else "a dry run"
    try:
        code, output = _process(command, limit)
        state = "stopped" if code is None else "done" if code == 0 else "failed"
    except OSError as error:
        state, output = "failed", str(error)
    said = [_last_line(output)] if state == "failed" else []
    if stage.file is None or _written(stage.file) != before:  # else it is an earlier call's
        said += [_said(stage, output)] if state != "failed" or stage.file else []
    said = "; ".join(said) or _last_line(output)
    if state == "stopped":
        said = f"out of time: {said}"
    times = {"began": began, "ended": _now(), "seconds": round(monotonic() - clock, 1)}
    entry |= {"state": state, "said": said, **times, "output": output.strip().splitlines()[-KEPT:]}


def _said(stage: Stage, output: str) -> str:
    """Return what came in the stage's own words, or its last line where these cannot be made."""
    try:
        return stage.said(output)
    except (OSError, ValueError, LookupError, TypeError):
        return _last_line(output)


def _written(path: Path | None) -> int | None:
    """Return when a file was written, in ns, or None if it is not there."""
    return path.stat().st_mtime_ns if path is not None and path.exists() else None


def _process(command: Sequence[str], limit: float) -> tuple[int | None, str]:
    """Run Python in a session of its own. Return its exit status, or None if it ran out of time, and its output."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        output = process.communicate(timeout=max(limit - GRACE, 0.1))[0]
        return process.returncode, output
    except subprocess.TimeoutExpired:
        return None, _stop(process)
    except BaseException:  # KeyboardInterrupt
        _stop(process)
        raise


def _stop(process: subprocess.Popen[str]) -> str:
    """Ask a process to stop, as Ctrl-C does; then end it, and all that it started. Return its output."""
    _signal(process, signal.SIGINT)
    try:
        output = process.communicate(timeout=GRACE)[0]
    except subprocess.TimeoutExpired:
        output = ""
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    return output or process.communicate()[0]


def _signal(process: subprocess.Popen[str], number: int) -> None:
    try:
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)
    except ProcessLookupError:  # all of them have ended
        pass


# ---- the record ------------------------------------------------------------------------------------------------------


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _commit() -> str:
    """Return the commit of this checkout, with a + if files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _without_paths(record: dict[str, Any], out: Path) -> Any:
    """Return the record without the names of this machine's folders: it is meant to be published."""
    text = json.dumps(record)
    places = {
        str(out): "OUT",
        sys.executable: "python",
        sys.prefix: "ENVIRONMENT",
        str(ROOT): ".",
        str(Path.home()): "~",
    }
    for place in sorted((place for place in places if len(place) > 1), key=len, reverse=True):
        text = text.replace(json.dumps(place)[1:-1], places[place])
    return json.loads(text)


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package.replace("_", "-"))
        except PackageNotFoundError:
            found[package] = "missing"
    return found


def _names() -> list[str]:
    return [stage.name for stage in stages(Path(), None, quick=True)]


def build_parser() -> Parser:
    """Return the options."""
    parser = Parser("card", __doc__ or "", package="benchmarks")
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"{', '.join(_names())} [all of them]")
    parser.add_argument("--minutes", type=float, default=8.0, metavar="M", help="for everything together [8]")
    about = "the folder of the results [results/gpu beside this file]"
    parser.add_argument("--out", type=Path, metavar="DIR", help=about)
    about = "where the paper's finished work is kept, and found again by a later call [runs in the repository]"
    parser.add_argument("--runs", type=Path, metavar="DIR", help=about)
    parser.add_argument("--quick", action="store_true", help="a dry run of every stage, tiny and without a card")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check the card and the packages, carry out the stages, and print what came. Return the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.minutes > 0:
        parser.error(f"--minutes must be > 0, got {args.minutes}")
    if unknown := [name for name in args.stages if name not in _names()]:
        parser.error(f"no stage {unknown[0]!r}: choose from {', '.join(_names())}")
    code, said = _process(["-c", DESCRIBE, "cpu" if args.quick else "gpu"], limit=120.0)
    if code != 0:
        silent = "the GPU did not answer within two minutes: nvidia-smi shows its state"
        parser.fail(silent if code is None else _last_line(said) or f"python ended with {code}: run minikd gpu")
    packages = _versions()
    for package in (name for name, found in packages.items() if found == "missing"):
        parser.remark(f"{package} is missing; {PACKAGES[package]}")
    with TemporaryDirectory() as nowhere:
        out = (args.out or (Path(nowhere) if args.quick else report.RESULTS / "gpu")).resolve()
        try:
            out.mkdir(parents=True, exist_ok=True)
            check_writable(out / "card.json")
        except (OSError, ValueError) as error:
            parser.fail(str(error))
        command = " ".join(["python -m benchmarks.card", *args.stages, f"--minutes {args.minutes:g}"])
        command += " --quick" * args.quick
        record: dict[str, Any] = {"command": command, "machine": json.loads(_last_line(said)), "commit": _commit()}
        record |= {"packages": packages, "stages": []}
        runs = Path(nowhere) if args.quick else args.runs and args.runs.resolve()
        todo = [stage for stage in stages(out, runs, args.quick) if not args.stages or stage.name in args.stages]
        carry_out(todo, 60 * args.minutes, record, lambda: write_json(out / "card.json", _without_paths(record, out)))
    print(f"\n{report.card(record)}")
    needed = [stage["state"] == "done" for stage in record["stages"] if stage["stage"] in ("self-test", "tests")]
    return int(not all(needed) or any(stage["state"] == "failed" for stage in record["stages"]))


if __name__ == "__main__":
    start(main)
