"""Every command survives its surroundings: a console without ², a reader that goes, a disk that is full."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minikd.system import cli
from minikd.system import console as consoles
from minikd.system.console import SPELL

ROOT = Path(__file__).parent.parent
COMMANDS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for folder in ("minikd", "derivations", "benchmarks", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if not path.name.startswith("test_") and 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
} - {  # parts of others
    "benchmarks.memory",
    "minikd.distil.standalone",
    "minikd.learn.capstone.my_distillation",
    "minikd.learn.capstone.worker",
    "minikd.learn.handed_in",
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


def run(*command: str, encoding: str | None = None, **options) -> subprocess.CompletedProcess[bytes]:
    """Run a command of the repository in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    if encoding is not None:
        environment |= {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, *command], env=environment, **options)


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of the shell, in which {python} is this Python; `pipefail` gives the first command's exit status."""
    line = line.replace("{python}", f"'{sys.executable}'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=environment, cwd=cwd, capture_output=True, text=True
    )


# ---- every command ---------------------------------------------------------------------------------------------------


def test_every_command_is_found_here():
    assert {
        "minikd.mnist",
        "minikd.export",
        "minikd.paper",
        "minikd.paper.page",
        "derivations",
    } <= COMMANDS
    assert {"benchmarks", "benchmarks.report", "tests.mutants"} <= COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_starts_in_one_place(command):
    path = ROOT.joinpath(*command.split("."))
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    (last,) = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.If)][-1:]
    assert ast.unparse(last.body[-1]).startswith(("start(", "cli.start(")), f"{command} must end with cli.start(main)"


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_knows_help_and_version_on_every_console(command):
    said = run("-m", command, "--help", encoding="ascii", cwd=ROOT)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(f"usage: python -m {command} ".encode())
    assert b"--version" in said.stdout
    assert said.stdout.isascii()
    assert said.stderr == b""


def test_a_command_says_its_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.Parser("mnist", "about").parse_args(["--version"])
    assert capsys.readouterr().out.startswith("minikd ")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
@pytest.mark.parametrize(
    ("command", "words"),
    [("derivations D6.7", "slopes from -2 to 3"), ("tests.mutants --list", "alpha and 1 - alpha swapped")],
)
def test_output_survives_a_console_that_lacks_characters(command, words, encoding):
    said = run("-m", *command.split(), encoding=encoding, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    assert said.stderr == b""
    assert words in said.stdout.decode(encoding)


@pytest.mark.slow
def test_a_diagnosis_can_be_printed_on_a_console_that_lacks_characters(tmp_path):
    script = """
import numpy as np
from minikd.doctor import check_gradient

def my_gradient(z, v, T):
    q = np.exp(z / T) / np.exp(z / T).sum(axis=-1, keepdims=True)
    p = np.exp(v / T) / np.exp(v / T).sum(axis=-1, keepdims=True)
    return (p - q) / len(z)

diagnosis = check_gradient(my_gradient, "soft cross-entropy")
print(diagnosis)
print(diagnosis.verdict, repr(diagnosis))
"""
    for encoding in ("cp1252", "ascii"):
        said = run("-c", script, encoding=encoding, cwd=tmp_path)
        assert said.returncode == 0, said.stderr
        assert b"The gradient is q - p, student minus teacher" in said.stdout


# ---- streams that go -------------------------------------------------------------------------------------------------


@pytest.fixture
def broken_pipe():
    """A pipe whose reader has gone, as that of `… | head`."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.slow
@posix
@pytest.mark.parametrize("command", ["derivations D6.7", "tests.mutants --list"])
def test_a_reader_that_goes_ends_the_command_quietly(command, broken_pipe):
    ended = run("-m", *command.split(), cwd=ROOT, stdout=broken_pipe, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (cli.BROKEN_PIPE, b"")


@posix
def test_a_reader_that_goes_while_progress_is_printed_ends_the_command_quietly(broken_pipe):
    """Also where the command takes the error for one of its files, and says so."""
    body = """
import sys
from minikd.system.cli import Parser, reason, start
def main():
    try:
        print("progress", file=sys.stderr)
    except OSError as error:
        Parser("x", "").fail(reason(error))
start(main)
"""
    for stream, other in (("stderr", "stdout"), ("stdout", "stderr")):
        program = body.replace("sys.stderr", f"sys.{stream}")
        ended = run(
            "-c", program, **{stream: broken_pipe, other: broken_pipe if stream == "stdout" else subprocess.PIPE}
        )
        assert ended.returncode == cli.BROKEN_PIPE


@pytest.mark.slow
@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_under_the_output_is_one_line(tmp_path):
    ended = shell("{python} -m tests.mutants --list > /dev/full", ROOT)
    assert (ended.returncode, ended.stderr) == (1, "stopped: No space left on device\n")
    ended = shell("{python} -m minikd.mnist --T 0 2> /dev/full", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")


@pytest.mark.slow
@posix
def test_closed_streams_are_no_error(tmp_path):
    ended = shell("{python} -m minikd.mnist --version >&-", tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = shell("{python} -m minikd.mnist --T 0 2>&-", tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")


def program(body: str) -> subprocess.CompletedProcess[bytes]:
    return run("-c", f"from minikd.system.cli import start\ndef main():\n    {body}\nstart(main)")


@pytest.mark.parametrize(
    ("body", "status", "err"),
    [
        ("pass", 0, b""),
        ("return 3", 3, b""),
        ("raise SystemExit('in words')", 1, b"in words\n"),
        ("raise KeyboardInterrupt", 130, b"stopped\n"),
        ("open('/no/such/file')", 1, b"stopped: /no/such/file: No such file or directory\n"),
    ],
)
def test_a_command_ends_with_its_status_and_at_most_one_line(body, status, err):
    ended = program(body)
    assert (ended.returncode, ended.stdout) == (status, b"")
    assert ended.stderr.replace(b"\r", b"") == err


PRESSED_TWICE = """
import signal
from minikd.system.cli import start
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits deafness
def main():
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.raise_signal(signal.SIGINT)
        print("tidied up")
start(main)
"""


def test_another_ctrl_c_does_not_disturb_a_command_that_ends():
    ended = run("-c", PRESSED_TWICE)
    assert (ended.returncode, ended.stdout.split(), ended.stderr.split()) == (130, [b"tidied", b"up"], [b"stopped"])


def test_a_bug_is_not_hidden():
    assert b"ZeroDivisionError" in program("1 / 0").stderr


# ---- spelling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ascii"),
    [
        ("−½ Σ ∂C/∂z ‖g‖ ± 3 × 10⁻³", "-1/2 sum dC/dz |g| +- 3 x 10^-^3"),
        ("0 ≤ α ≤ 1, T → ∞", "0 <= alpha <= 1, T -> inf"),
        ("zᵀ, h₁, naïve, …", "z^T, h1, naive, ..."),
        ("漢", "?"),
    ],
)
def test_what_a_console_lacks_is_spelled_out(text, ascii):
    assert text.encode("ascii", SPELL).decode("ascii") == ascii
    assert text.encode("utf-8", SPELL).decode("utf-8") == text


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "q − p"), ("cp1252", "q - p"), (None, "q − p")])
def test_a_text_is_spelled_only_where_the_standard_output_lacks_its_characters(encoding, shown, monkeypatch):
    class Console:
        pass

    console = Console()
    if encoding:
        console.encoding = encoding
    monkeypatch.setattr(sys, "stdout", console)
    assert consoles.fit("q − p") == shown


@pytest.mark.slow
def test_importing_the_library_leaves_the_streams_of_the_user_alone():
    code = "import sys; before = sys.stdout.errors, sys.stderr.errors; import minikd.doctor, minikd.commands.mnist; "
    assert run("-c", code + "assert before == (sys.stdout.errors, sys.stderr.errors)").returncode == 0
