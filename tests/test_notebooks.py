"""The notebooks: each runs from scratch, prints what is committed, and stays small."""

import importlib.machinery
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from minikd.learn import exercises, notebooks

if importlib.util.find_spec("nbclient") is None:  # not importorskip: the import takes seconds
    pytest.skip("notebooks need the extra kernel", allow_module_level=True)

ROOT = Path(__file__).parent.parent
LESSONS = Path(__file__).parent / "lessons"
"""Checks that run in a notebook's kernel after its last cell, where the reader does not see them."""
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
def test_a_notebook_runs_from_scratch_and_prints_what_is_committed(path: Path) -> None:
    checks = (LESSONS / f"n{path.name[:2]}.py").read_text("utf-8")
    assert notebooks.difference(notebooks.read(path), notebooks.execute(path, checks)) == ""


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_small_whole_and_fit_to_read(path: Path) -> None:
    assert path.stat().st_size < 1e6
    code = [cell for cell in notebooks.read(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run it with --execute"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert any("[Figure: " in text for cell in code for text in map(notebooks._text, cell.outputs))
    assert "assert " not in "".join(cell.source for cell in code), "put it into tests/lessons, or say it with claim"
    assert (LESSONS / f"n{path.name[:2]}.py").read_text("utf-8").count("assert ") >= 3
    assert max(len(cell.source.split("\n")) for cell in code) <= 22
    said = [json.dumps(output) for cell in code for output in cell.outputs]
    assert not any(str(place) in text for text in said for place in (notebooks.FOLDER.parent, sys.prefix))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_picture_of_a_notebook_has_words_for_readers_who_do_not_see_it(path: Path) -> None:
    outputs = [output for cell in notebooks.read(path).cells for output in cell.get("outputs", [])]
    assert not any("image/png" in output.get("data", {}) for output in outputs), (
        "show it with minikd.learn.widgets.show"
    )
    pages = "".join(output.get("data", {}).get("text/html", "") for output in outputs)
    pictures = re.findall(r"<img [^>]*>", pages)
    assert pictures
    assert all(re.search(r'alt="[^"]{40,}"', picture) for picture in pictures)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_asks_for_predictions_and_shows_no_answer_before_them(path: Path) -> None:
    assert "**Predict:**" not in "".join(cells(path, "markdown")), "ask with minikd.learn.widgets.predict"
    code = [cell for cell in notebooks.read(path).cells if "@predict(" in cell.source and cell.cell_type == "code"]
    assert len(code) >= 3
    for cell in code:
        # JupyterLab shows the first line of a folded cell. Anything else belongs into a cell of its own.
        assert cell.source.startswith("@predict(\n")
        assert cell.metadata["jupyter"] == {"source_hidden": True}, "the code knows the answer: fold it"
        assert "hide-input" in cell.metadata["tags"], "fold it on the site too"
        page = "".join(output.data.get("text/html", "") for output in cell.outputs if "data" in output)
        assert page.count("<details>") == page.count("</details>") == 1


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
    moved = next(cell for cell in cells(PATHS[9], "code") if "explore(" in cell and "import" not in cell)
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
def test_checks_run_after_the_last_cell_and_leave_no_trace(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    nbformat.write(book, tmp_path / "one.ipynb")
    assert [cell.source for cell in notebooks.execute(tmp_path / "one.ipynb", "assert x == 1").cells] == ["x = 1"]
    with pytest.raises(Exception, match="AssertionError"):
        notebooks.execute(tmp_path / "one.ipynb", "assert x == 2")


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
def yours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for the reader's copies, beside the notebooks as it must be, and removed afterwards."""
    with tempfile.TemporaryDirectory(dir=ROOT, prefix="my-notebooks-") as folder:
        monkeypatch.setattr(notebooks, "YOURS", Path(folder))
        yield Path(folder)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, yours: Path) -> list[list[str]]:
    """The arguments with which a stand-in for JupyterLab is started."""
    calls: list[list[str]] = []
    lab, app = types.ModuleType("jupyterlab"), types.ModuleType("jupyterlab.labapp")
    lab.__spec__ = importlib.machinery.ModuleSpec("jupyterlab", None)
    app.LabApp = types.SimpleNamespace(launch_instance=calls.append)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jupyterlab", lab)
    monkeypatch.setitem(sys.modules, "jupyterlab.labapp", app)
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setenv(exercises.PROGRESS, "")  # so that it is put back: the launcher sets it
    return calls


def test_jupyterlab_starts_at_the_root_of_the_repository_with_options_passed_through(
    started: list[list[str]], yours: Path
) -> None:
    notebooks.main([])
    notebooks.main(["4", "--no-browser", "--port", "8890", "--ip=127.0.0.1"])
    root = f"--ServerApp.root_dir={ROOT}"
    assert started == [
        [root, f"--LabApp.default_url=/lab/tree/{yours.name}/{PATHS[0].name}"],
        [
            *(root, f"--LabApp.default_url=/lab/tree/{yours.name}/{PATHS[3].name}"),
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
        (["--check", "1", "--port", "1"], "JupyterLab is not started with --progress, --execute or --check, so leave"),
        (["--progress", "3"], "--progress is about all notebooks, so leave out their numbers"),
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
            if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab/tree/my-notebooks/07-.*\?token=(\w+)", line):
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


# ---- the reader's copies, and progress -------------------------------------------------------------------------------


def test_a_copy_that_the_reader_changed_is_kept_and_an_untouched_one_follows_the_original(
    monkeypatch: pytest.MonkeyPatch, yours: Path, tmp_path: Path
) -> None:
    for path in PATHS[:2]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    monkeypatch.setattr(notebooks, "YOURS", tmp_path / "mine")
    said: list[str] = []
    notebooks.copy_for_the_reader(said.append)
    first, second = (tmp_path / "mine" / path.name for path in PATHS[:2])
    assert first.read_bytes() == PATHS[0].read_bytes()
    first.write_text("my work", "utf-8")
    notebooks.copy_for_the_reader(said.append)
    assert said == []
    for path in PATHS[:2]:
        (tmp_path / path.name).write_text("newer", "utf-8")
    notebooks.copy_for_the_reader(said.append)
    assert first.read_text("utf-8") == "my work"
    assert second.read_text("utf-8") == "newer"
    assert len(said) == 1
    assert said[0].startswith(f"{PATHS[0].name} is newer than your copy, which has your work: rename ")


def test_progress_names_each_notebook_and_the_next_exercise(yours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (yours / "progress.json").write_text('["4.1", "1.1", "1.2"]', "utf-8")
    notebooks.main(["--progress"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(PATHS) + 1
    assert lines[0] == "01  2 of 2  what does T do to a 7"
    assert lines[3].startswith("04  1 of 2  q minus p line by line; next: 4.2 ")
    assert re.fullmatch(r"3 of \d+ exercises solved", lines[-1])


def test_damaged_progress_is_said_in_one_line(yours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (yours / "progress.json").write_text("{", "utf-8")
    with pytest.raises(SystemExit):
        notebooks.main(["--progress"])
    assert "must hold the numbers of exercises, and it is damaged: rename it" in capsys.readouterr().err
