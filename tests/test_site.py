"""The site builds without a warning and without a network, and every link in it leads somewhere."""

import doctest
import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import minikd

ROOT = Path(__file__).parent.parent
MISSING = [
    name
    for name in ("sphinx", "myst_nb", "pydata_sphinx_theme", "sphinx-mathjax-offline")
    if importlib.util.find_spec(name) is None
]
needs_sphinx = pytest.mark.skipif(
    bool(MISSING), reason=f"the site needs the extra docs, and Python 3.11: {', '.join(MISSING)} missing"
)

spec = importlib.util.spec_from_file_location("repository", ROOT / "docs" / "repository.py")
repository = importlib.util.module_from_spec(spec)
spec.loader.exec_module(repository)


# ---- what needs no Sphinx --------------------------------------------------------------------------------------------


def test_a_link_to_code_leads_to_the_line_that_defines_its_name():
    used = set()
    text = repository.relink("[`soft_cross_entropy`](../minikd/core/losses.py)", "derivations/D2-soft-targets.md", used)
    line = int(re.search(r"losses\.py\.html#L-(\d+)\)", text)[1])
    code = (ROOT / "minikd/core/losses.py").read_text("utf-8").splitlines()
    assert code[line - 1].startswith("def soft_cross_entropy(")


@pytest.mark.parametrize(
    ("page", "link", "on_the_site"),
    [
        ("README.md", "PAPER.md#speech", "paper.md#speech"),
        ("derivations/D2-soft-targets.md", "../README.md", "../manual.md"),
        ("docs/guides/onnx.md", "../../README.md#run-it", "../manual.md#run-it"),
        ("docs/guides/onnx.md", "../../minikd/core", "source:../source/minikd/core/index.html"),
        ("benchmarks/README.md", "../plots/cpu-map.png", "plots/cpu-map.png"),
        ("PAPER.md", "#speech", "#speech"),
        ("PAPER.md", "https://arxiv.org/abs/1503.02531", "https://arxiv.org/abs/1503.02531"),
    ],
)
def test_a_link_is_changed_as_the_site_needs_it(page, link, on_the_site):
    assert repository.relink(f"see [it]({link}).", page, set()) == f"see [it]({on_the_site})."


def test_the_examples_of_the_sites_own_code_hold():
    failed, tried = doctest.testmod(repository)
    assert (failed, tried > 0) == (0, True)


def test_a_link_to_nothing_is_refused_with_its_page_and_its_target():
    with pytest.raises(FileNotFoundError, match=r"README\.md links to lost\.md, but lost\.md is not"):
        repository.relink("[x](lost.md)", "README.md", set())


def test_code_is_not_taken_for_a_link():
    text = "```python\nf[0](PAPER.md)\n```\n`f[0](PAPER.md)`"
    assert repository.relink(text, "README.md", set()) == text


def test_the_groups_of_the_api_hold_every_public_name_once():
    assert [name for _, names in repository.groups() for name in names] == minikd.__all__


def test_every_equation_of_the_derivations_gets_links_to_its_code_and_tests():
    for path in (ROOT / "derivations").glob("D*.md"):
        text = path.read_text("utf-8")
        assert repository.with_places(text).count(":::{container} places") == text.count("\\tag{"), path.name


def test_the_copies_are_the_originals_except_for_links(tmp_path):
    repository.stage(tmp_path)
    bare = re.compile(r"\]\([^)]*\)")
    for name in ("PAPER.md", "CHANGELOG.md", "TROUBLESHOOTING.md"):
        original = (ROOT / name).read_text("utf-8")
        assert bare.sub("", (tmp_path / name.lower()).read_text("utf-8")) == bare.sub("", original)


def test_an_equation_of_the_summary_is_the_one_of_its_derivation():
    used = re.findall(r"^<!-- equation (\S+) -->$", (ROOT / "docs/summary.md").read_text("utf-8"), re.M)
    text = repository.filled((ROOT / "docs/summary.md").read_text("utf-8"))
    assert re.findall(r"\\tag\{(D[\d.]+)\}", text) == used
    assert "<!--" not in text
    for row in ("M1", "P6", "S4"):
        assert re.search(rf"^\| {row} \|.*reproduced.* \|$", text, re.M)
    assert "| row | claim | the paper | ours | verdict |" in text
    paper = (ROOT / "PAPER.md").read_text("utf-8")
    for words in ("reproduced", "reproduced in direction", "not reproduced", "reference"):
        assert f"| {words} | " in paper
        assert f"*{words.capitalize()}*: " in text


# ---- the built site --------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The anchors of a page, and what it links to or loads."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.links += [given[key] for key in ("href", "src") if given.get(key)]
        if "src" in given or tag == "link":
            self.loads.append(given.get("src") or given.get("href"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The pages of the built site by path, and the folder. A warning is an error."""
    out = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", "docs", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    return out, {path: Page(path) for path in out.rglob("*.html") if "_static" not in path.parts}


@needs_sphinx
@pytest.mark.slow
def test_every_local_link_and_anchor_leads_somewhere(site):
    out, pages = site
    lost = []
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchors = pages[target].anchors if target in pages and url.fragment else {unquote(url.fragment)}
            if not target.exists() or unquote(url.fragment) not in anchors:
                lost.append(f"{path.relative_to(out)}: {link}")
    assert len(pages) > 50
    assert lost == []


@needs_sphinx
@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    out, pages = site
    loads = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    assert loads == set()
    assert (out / "_static" / "tex-svg.js").stat().st_size > 1e6


@needs_sphinx
@pytest.mark.slow
def test_no_page_names_a_folder_of_the_machine_that_built_it(site):
    _, pages = site
    assert [path for path in pages if str(ROOT) in path.read_text("utf-8")] == []


@needs_sphinx
@pytest.mark.slow
def test_the_site_shows_every_page_notebook_and_public_name(site):
    out, _ = site
    assert all((out / place).with_suffix(".html").exists() for place in repository.pages().values())
    reference = "".join(path.read_text("utf-8") for path in (out / "api").glob("*.html"))
    assert [name for name in minikd.__all__ if f'id="minikd.{name}"' not in reference] == []


@needs_sphinx
@pytest.mark.slow
def test_a_tagged_equation_reaches_the_page_as_it_is_written(site):
    out, _ = site
    text = (out / "derivations" / "D2-soft-targets.html").read_text("utf-8")
    assert re.search(r"\\\[\\frac\{\\partial C\}\{\\partial z_k\} = [^\]]*\\tag\{D2\.4\}\s*\\\]", text)
    assert "\\begin{split}" not in text


@needs_sphinx
@pytest.mark.slow
def test_search_finds_the_words_of_a_derivation_and_of_a_notebook(site):
    index = (site[0] / "searchindex.js").read_text("utf-8")
    assert "derivations/D2-soft-targets" in index
    assert "notebooks/05-how-high-is-high" in index
    assert '"kullback"' in index or "kullback:" in index
