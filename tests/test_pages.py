"""The pages beside the README: their examples run, their links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "TROUBLESHOOTING.md", ROOT / "CONTRIBUTING.md", ROOT / "PAPER.md", ROOT / "notebooks" / "README.md"]
EXAMPLES = [
    (page.name, code) for page in PAGES for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
]


@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_an_example_runs(page, code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    promised = re.findall(r"print\(.*  # (wrong: .*)", code)
    assert promised in ([], done.stdout.splitlines())


def test_three_examples_are_in_the_troubleshooting():
    assert [page for page, _ in EXAMPLES].count("TROUBLESHOOTING.md") == 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(((?!https?:)[^)#]+)[^)]*\)", page.read_text("utf-8"))
    assert all((page.parent / link).exists() for link in links), links
