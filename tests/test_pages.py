"""The pages beside the README: their examples run, their links lead somewhere."""

import re
from pathlib import Path

import pytest

from minikd.paper.rows import ROWS

ROOT = Path(__file__).parent.parent
NAMES = ("TROUBLESHOOTING.md", "CONTRIBUTING.md", "PAPER.md", "notebooks/README.md",
         "benchmarks/README.md", "derivations/README.md")  # fmt: skip
PAGES = [ROOT / name for name in NAMES]
EXAMPLES = [
    (page.name, code) for page in PAGES for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_an_example_runs(page, code, capsys):
    exec(code, {})
    out, err = capsys.readouterr()
    assert err == ""
    promised = re.findall(r"print\(.*  # (wrong: .*)", code)
    assert promised in ([], out.splitlines())


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(((?!https?:)[^)#]+)[^)]*\)", page.read_text("utf-8"))
    assert all((page.parent / link).exists() for link in links), links


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_to_a_heading_finds_it(page):
    links = re.findall(r"\]\(((?!https?:)[^)#]*)#([^)]+)\)", page.read_text("utf-8"))
    lost = [(to, name) for to, name in links if name not in anchors(page.parent / to if to else page)]
    assert lost == []


# ---- commands --------------------------------------------------------------------------------------------------------

DOCS = [*PAGES, ROOT / "README.md"]


def other_pythons(text: str) -> list[str]:
    """The words of a shell's lines that start a Python, except the environment's own and the one that makes it."""
    words = re.findall(r"\S*\bpython3?(?= )(?: -m venv)?", re.sub(r"#.*", "", text))
    return [word for word in words if word not in (".venv/bin/python", "python3 -m venv")]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_shells_lines_run_as_they_stand_after_the_readmes_set_up(page):
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.S)
    assert [word for block in blocks for word in other_pythons(block)] == []


def test_a_python_that_nobody_activated_is_found():
    assert other_pythons("python -m minikd.mnist\npip install .") == ["python"]
    assert other_pythons("python3 -m venv .venv && venv/bin/python -m pip list  # python -m pip") == ["venv/bin/python"]


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_whose_text_says_python_says_which(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    says = re.search(r"in\s+running\s+text,\s+`python`\s+stands\s+for\s+`\.venv/bin/python`", text, re.I)
    assert says or "`python -m" not in re.sub(r"\s+", " ", text)


def test_the_papers_page_names_every_row_of_its_results():
    text = (ROOT / "PAPER.md").read_text("utf-8")
    named = re.search(r"minikd\.paper ([A-Z0-9 ]+) --write minikd/paper/results/cpu\.json", text)
    spoken = {"S1", "S2", "S3", "S4", "R1-speech", "R2-speech", "R3-speech"}
    assert named is not None
    assert named[1].split() == [row for row in ROWS if row not in spoken]
