"""The command `minikd`: a map, and the same commands as `python -m minikd.mnist` and the others."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from minikd.__main__ import COMMANDS, main
from minikd.paper import command
from minikd.system import cli

ROOT = Path(__file__).parent.parent
DOORS = {
    "mnist": "minikd.mnist",
    "distil": "minikd.distil",
    "predict": "minikd.predict",
    "paper": "minikd.paper",
    "speech": "minikd.speech",
    "notebooks": "minikd.notebooks",
    "play": "minikd.play",
    "grade": "minikd.grade",
    "gpu": "minikd.backend",
    "export": "minikd.export",
}
"""The module that `python -m` runs for each command."""


def run(*command: str, encoding: str = "utf-8", **options) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, *command], env=environment, text=True, encoding="utf-8", **options)


def ended(capsys, *words: str) -> tuple[object, str, str]:
    """The exit status of `minikd` with these words, and what it printed on both streams."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    return (caught.value.code, *capsys.readouterr())


# ---- the map ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_the_map_has_a_line_for_every_command_what_to_try_first_and_where_to_read_on(capsys, words):
    status, out, err = ended(capsys, *words)
    assert (status, err) == (0, "")
    assert out.startswith("usage: minikd ")
    lines = out.splitlines()
    for name, (_, what) in COMMANDS.items():
        assert lines.count(f"  {name:11}{what}") == 1
    assert len([line for line in lines if line.startswith("  python -m minikd.")]) == 3
    for page in ("README.md", "PAPER.md", "TROUBLESHOOTING.md"):
        assert page in out
        assert (ROOT / page).exists()
    assert all(len(line) <= 120 for line in lines)


def test_the_map_imports_no_command_and_not_even_numpy():
    code = """
import sys
from minikd.__main__ import main
try:
    main(["--help"])
except SystemExit:
    loaded = {"numpy", "minikd.commands", "minikd.paper", "minikd.speech"} & set(sys.modules)
    assert not loaded, loaded
"""
    assert run("-c", code).stderr == ""


@pytest.mark.slow
def test_a_command_imports_only_itself():
    code = """
import sys
from minikd.__main__ import main
try:
    main(["export", "--help"])
except SystemExit:
    loaded = {"minikd.commands.mnist", "minikd.paper", "minikd.speech", "minikd.learn"} & set(sys.modules)
    assert not loaded, loaded
"""
    assert run("-c", code).stderr == ""


@pytest.mark.parametrize("word", ["mnsit", "--T", "", "minikd.mnist", "-m"])
def test_a_word_that_is_no_command_is_one_line_with_the_list(capsys, word):
    status, out, err = ended(capsys, word, "8")
    assert (status, out) == (2, "")
    listed = "mnist, distil, predict, paper, speech, notebooks, play, grade, gpu, export"
    assert err == f"minikd: the first word must be a command ({listed}), got {word!r}: see minikd --help\n"


def test_it_says_its_version(capsys):
    assert ended(capsys, "--version")[:2] == (0, f"minikd {cli.__version__}\n")


# ---- the commands ----------------------------------------------------------------------------------------------------


def test_every_command_has_a_door():
    assert set(DOORS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_the_one_that_its_door_starts(name):
    door = DOORS[name] + (".__main__" if (ROOT / DOORS[name].replace(".", "/")).is_dir() else "")
    assert import_module(door).main is import_module(COMMANDS[name][0]).main


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_exactly_the_options_of_its_door(capsys, name):
    def parts(text: str) -> tuple[str, str]:
        usage, _, rest = text.partition("\n\n")
        return " ".join(usage.split()), rest

    status, out, err = ended(capsys, name, "--help")
    assert (status, err) == (0, "")
    with pytest.raises(SystemExit):
        import_module(COMMANDS[name][0]).main(["--help"])
    usage, rest = parts(capsys.readouterr().out)
    assert usage.startswith(f"usage: python -m {DOORS[name]} ")
    assert parts(out) == (usage.replace(f"python -m {DOORS[name]} ", f"minikd {name} "), rest)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["mnist", "--T", "0"], "T must be a temperature from 1e-3 to 1e6, got 0.0"),
        (["paper", "M99"], "no row is called M99"),
        (["speech", "--members", "1"], "--members must be ≥ 2"),
        (["notebooks", "--check", "99"], "notebooks are numbered"),
        (["play", "--write", "no/such/folder.html"], "the folder of 'no/such/folder.html' is not there"),
        (["grade"], "give files to check, or --template FILE, or --record"),
        (["gpu", "--fast"], "unrecognized arguments: --fast (--help explains every option)"),
        (["export", "a.safetensors", "a.pb"], "a student leaves as FILE.onnx or FILE.py, got 'a.pb'"),
    ],
)
def test_an_error_begins_with_what_the_reader_typed(capsys, words, wrong):
    status, out, err = ended(capsys, *words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"minikd {words[0]}: ")
    assert wrong in err
    with pytest.raises(SystemExit):
        import_module(COMMANDS[words[0]][0]).main(words[1:])
    assert capsys.readouterr().err == err.replace(f"minikd {words[0]}: ", f"{DOORS[words[0]]}: ")


def test_a_command_to_repeat_needs_no_path():
    with cli.typed("minikd paper"):
        parser = command.build_parser()
    assert parser.prog == "minikd paper"
    asked = command.Call(parser, parser.parse_args(["N1", "--profile", "smoke"]))
    assert asked.command(["N1"]) == "python -m minikd.paper N1 --profile smoke"


# ---- the process -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_package_installs_the_command():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    ((module, function),) = re.findall(r'\[project\.scripts\]\nminikd = "(.+):(.+)"\n', project)
    said = run("-c", f"import sys; from {module} import {function}; sys.exit({function}())", "mnist", "--T", "0")
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.startswith("minikd mnist: T must be")


@pytest.mark.slow
def test_python_m_names_itself_in_full():
    said = run("-m", "minikd", "export", "--help", cwd=ROOT)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.startswith("usage: python -m minikd export ")
    said = run("-m", "minikd", "export", "x", cwd=ROOT)
    assert (said.returncode, said.stdout, said.stderr.partition(":")[0]) == (2, "", "minikd export")


@pytest.mark.slow
def test_a_console_without_the_characters_of_mathematics_shows_others():
    said = run("-m", "minikd", "speech", "--members", "1", encoding="ascii", cwd=ROOT)
    assert said.stderr.startswith("minikd speech: --members must be >= 2")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
@pytest.mark.parametrize("words", [["--help"], pytest.param(["export", "--help"], marks=pytest.mark.slow)])
def test_a_reader_that_goes_ends_it_quietly(words):
    reader, writer = os.pipe()
    os.close(reader)
    said = run("-m", "minikd", *words, cwd=ROOT, stdout=writer)
    os.close(writer)
    assert (said.returncode, said.stderr) == (cli.BROKEN_PIPE, "")


@pytest.mark.slow
def test_ctrl_c_ends_it_with_one_line():
    code = """
import signal, sys, types
from minikd import __main__
from minikd.system.cli import start
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell inherits deafness
sys.modules["pressed"] = types.SimpleNamespace(main=lambda words: signal.raise_signal(signal.SIGINT))
__main__.COMMANDS["press"] = ("pressed", "")
start(lambda: __main__.main(["press"]))
"""
    said = run("-c", code)
    assert (said.returncode, said.stdout, said.stderr) == (130, "", "stopped\n")
