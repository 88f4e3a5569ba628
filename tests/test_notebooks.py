"""The notebooks: each runs from scratch, prints what is committed, and stays small."""

import importlib.machinery
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from spoken import FSDD

from minikd.learn import notebooks, widgets

if importlib.util.find_spec("nbclient") is None:  # not importorskip: the import takes seconds
    pytest.skip("notebooks need the extra kernel", allow_module_level=True)

ROOT = Path(__file__).parent.parent
PATHS = sorted(notebooks.FOLDER.glob("[0-9][0-9]-*.ipynb"))
PAGES = [
    *ROOT.glob("*.md"),
    *(page for part in ("notebooks", "derivations", "benchmarks") for page in (ROOT / part).glob("*.md")),
    *PATHS,
]
NUMBERS = [int(path.name[:2]) for path in PATHS]


def cells(path: Path, kind: str) -> list[str]:
    """The sources of a notebook's cells of a kind."""
    return [cell.source for cell in notebooks.read(path).cells if cell.cell_type == kind]


# ---- the notebooks ---------------------------------------------------------------------------------------------------


def test_the_notebooks_are_numbered_from_one_without_a_gap() -> None:
    assert NUMBERS
    assert list(range(1, len(NUMBERS) + 1)) == NUMBERS


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_scratch_and_prints_what_is_committed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.name.startswith("11-"):
        if not FSDD.exists():
            pytest.skip(f"the spoken digits are not at {FSDD}; they may not be embedded")
        monkeypatch.setenv("MINIKD_FSDD", str(FSDD))
    assert notebooks.difference(notebooks.read(path), notebooks.execute(path)) == ""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_whole_and_fit_to_read(path: Path) -> None:
    assert path.stat().st_size < 1e6
    code = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it with --execute"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
    assert sum("assert " in cell.source for cell in code) >= 3
    assert max(len(cell.source.split("\n")) for cell in code) <= 22
    said = [json.dumps(output) for cell in code for output in cell.outputs]
    assert not any(str(place) in text for text in said for place in (notebooks.FOLDER.parent, sys.prefix))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_asks_for_what_the_table_says_before_it(path: Path) -> None:
    table = (notebooks.FOLDER / "README.md").read_text("utf-8")
    row = next(line for line in table.splitlines() if f"]({path.name})" in line).strip("|").split("|")
    about = re.search(r"\*(\d+) minutes\. Before: (.*?)At the end", cells(path, "markdown")[0], re.DOTALL)
    assert about is not None
    assert about[1] == row[3].strip(), "minutes"
    linked = [str(int(number)) for number in re.findall(r"\((\d\d)-", about[2])]
    assert linked == re.findall(r"\b\d+\b", row[4]), "before"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_equations_that_a_notebook_names_are_in_the_derivations(path: Path) -> None:
    tags = "\n".join(page.read_text("utf-8") for page in (ROOT / "derivations").glob("*.md"))
    for name in re.findall(r"\bD\d+(?:\.\d+)?\b", "\n".join(cells(path, "markdown"))):
        assert re.search(rf"\b{re.escape(name)}\b", tags), name


def test_every_constant_that_notebook_10_assumes_has_its_slider() -> None:
    moved = next(cell for cell in cells(PATHS[9], "code") if cell.startswith("explore("))
    assert re.findall(r"(\w+)=\[", moved) == ["overhead_us", "teraflops", "terabytes_per_s"]


def test_notebook_10_prints_a_whole_kernel() -> None:
    shown = next(text for _, text in notebooks.printed(notebooks.read(PATHS[9])) if "__global__" in text)
    assert shown.startswith("// log sum_k exp")
    assert shown.count("{") == shown.count("}")


def test_notebook_7_says_how_many_training_digits_its_teacher_gets_wrong() -> None:
    said = "".join(text for _, text in notebooks.printed(notebooks.read(PATHS[6])))
    assert re.search(r"76 errors on the 10,000 test digits, \d+ on the 60,000 that it was trained on", said)


def test_a_notebook_that_prints_something_else_is_seen() -> None:
    committed, made = notebooks.read(PATHS[0]), notebooks.read(PATHS[0])
    assert notebooks.difference(committed, made) == ""
    output = next(
        output
        for cell in made.cells
        if cell.cell_type == "code" and notebooks.VARIES not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type == "stream"
    )
    output.text = "something else"
    assert "now prints\nsomething else" in notebooks.difference(committed, made)


@pytest.mark.slow
def test_a_notebook_that_warns_fails(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import warnings; warnings.warn('careful')")])
    nbformat.write(book, tmp_path / "warns.ipynb")
    with pytest.raises(ValueError, match=r"wrote to stderr[\s\S]*careful"):
        notebooks.execute(tmp_path / "warns.ipynb")


def test_a_number_that_no_notebook_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        notebooks.main(["--check", "99"])
    assert stopped.value.code == 2
    assert f"notebooks are numbered 1 to {NUMBERS[-1]}, got 99" in capsys.readouterr().err


def test_an_installed_package_without_the_repository_says_where_the_notebooks_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="run this from a clone"):
        notebooks.find()


# ---- links, and JupyterLab -------------------------------------------------------------------------------------------


def links(page: Path) -> list[str]:
    """Where the relative links of a page or a notebook lead, from the repository's root; above it, with dots."""
    text = page.read_text("utf-8") if page.suffix == ".md" else "\n".join(cells(page, "markdown"))
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [os.path.relpath(page.parent / target, ROOT).replace(os.sep, "/") for target in targets]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_what_jupyterlab_serves(page: Path) -> None:
    for target in links(page):
        assert (ROOT / target).exists(), target
        assert not target.startswith("."), f"{target} is above the root or hidden, so JupyterLab answers 404"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments with which a stand-in for JupyterLab is started."""
    calls: list[list[str]] = []
    lab, app = types.ModuleType("jupyterlab"), types.ModuleType("jupyterlab.labapp")
    lab.__spec__ = importlib.machinery.ModuleSpec("jupyterlab", None)
    app.LabApp = types.SimpleNamespace(launch_instance=calls.append)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jupyterlab", lab)
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", app)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    return calls


def test_jupyterlab_starts_at_the_root_of_the_repository_with_options_passed_through(started: list[list[str]]) -> None:
    notebooks.main([])
    notebooks.main(["4", "--no-browser", "--port", "8890", "--ip=127.0.0.1"])
    root = f"--ServerApp.root_dir={ROOT}"
    assert started == [
        [root, f"--LabApp.default_url=/lab/tree/notebooks/{PATHS[0].name}"],
        [
            *(root, f"--LabApp.default_url=/lab/tree/notebooks/{PATHS[3].name}"),
            *("--no-browser", "--port", "8890", "--ip=127.0.0.1"),
        ],
    ]


def test_root_is_allowed_to_open_jupyterlab_and_told_so(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    notebooks.main(["1"])
    assert capsys.readouterr().err == "minikd.notebooks: you are root, so JupyterLab is started with --allow-root\n"
    notebooks.main(["1", "--allow-root"])
    assert capsys.readouterr().err == ""
    assert [one.count("--allow-root") for one in started] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1", "2"], "give the number of one notebook to open, got 2"),
        (["--check", "1", "--port", "1"], "JupyterLab is not started with --execute or --check, so leave out --port"),
        (["--no-browser", "4"], "the number of the notebook comes before the options: python -m minikd.notebooks 4 "),
        (["--port", "8890", "4"], "comes before the options"),
    ],
)
def test_what_neither_the_launcher_nor_jupyterlab_can_do_is_refused(
    arguments: list[str], words: str, started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        notebooks.main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert started == []


def test_the_help_says_how_options_reach_jupyterlab(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        notebooks.main(["--help"])
    said = capsys.readouterr().out
    assert "options of JupyterLab]" in said
    assert "goes to JupyterLab as it is" in said


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """JupyterLab as the launcher starts it, with no settings of the user's: its address and its token."""
    pytest.importorskip("jupyterlab", reason="serving notebooks needs the extra notebooks")
    env = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    env |= {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME", "DATA")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "minikd.notebooks", "7", "--no-browser", "--port", port]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as lab:
        assert lab.stderr is not None
        said = ""
        for line in lab.stderr:
            said += line
            if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab/tree/notebooks/07-.*\?token=(\w+)", line):
                break
        assert found, said
        while lab.poll() is None:  # it says its address just before it listens
            try:
                socket.create_connection(("127.0.0.1", int(port))).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        try:
            yield found[1], found[2]
        finally:
            lab.terminate()
            lab.stderr.read()


@pytest.mark.slow
def test_jupyterlab_serves_every_link_and_asks_for_its_token(server: tuple[str, str]) -> None:
    address, token = server
    with pytest.raises(HTTPError, match="403") as refused:
        urlopen(f"{address}/api/contents")
    refused.value.close()
    for target in sorted({target for page in PAGES for target in links(page)}):
        with urlopen(f"{address}/api/contents/{quote(target)}?content=0&token={token}") as answer:  # 404 raises
            assert answer.status == 200, target


# ---- sliders ---------------------------------------------------------------------------------------------------------


def test_a_slider_draws_what_it_stands_at(monkeypatch: pytest.MonkeyPatch) -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.delenv(widgets.STATIC, raising=False)
    made: list[object] = []
    shown: list[dict[str, float]] = []
    monkeypatch.setattr(ipywidgets, "VBox", lambda children: made.extend(children) or ipywidgets.Box(children))
    widgets.explore(lambda **values: shown.append(values), T=[1, 8], digit=[3])
    assert shown == [{"T": 1, "digit": 3}]
    made[0].value = 8
    assert shown[-1] == {"T": 8, "digit": 3}


def test_a_slider_has_its_values_in_order_begins_at_the_first_given_and_shows_its_whole_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ipywidgets = pytest.importorskip("ipywidgets")
    monkeypatch.delenv(widgets.STATIC, raising=False)
    made: list[object] = []
    monkeypatch.setattr(ipywidgets, "VBox", lambda children: made.extend(children) or ipywidgets.Box(children))
    widgets.explore(lambda **values: None, overhead_us=[10, 2, 5])
    assert [label for label, _ in made[0].options] == ["2", "5", "10"]
    assert made[0].value == 10
    assert made[0].style.description_width == "initial"


def test_where_nobody_can_move_a_slider_a_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(widgets.STATIC, "1")
    widgets.explore(lambda T: None, T=[1.0])
    assert capsys.readouterr().out == "Run this notebook, and sliders for T stand here.\n"
