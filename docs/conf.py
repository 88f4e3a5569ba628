"""How Sphinx builds the site: `python -m sphinx -W -b html docs OUT`. It needs the extra `docs`, and no network."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import repository  # noqa: E402

import minikd  # noqa: E402

project = "minikd"
copyright = "the authors of minikd"
version = release = minikd.__version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.linkcode", "sphinx.ext.mathjax"]
exclude_patterns = ["static", "templates"]
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!minikd\.[a-zA-Z_]+$).*")]  # only public names of minikd have an entry here

# ---- pages -----------------------------------------------------------------------------------------------------------

nb_execution_mode = "off"  # the notebooks come with their outputs, and CI runs them elsewhere
nb_output_stderr = "remove"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_fence_as_directive = ["math"]
myst_dmath_double_inline = True
myst_heading_anchors = 4
myst_heading_anchors_html_ids = True  # GitHub's anchors on the page itself: MyST-Parser 5.2 and newer
myst_url_schemes = {"http": None, "https": None, "mailto": None, "source": "{{path}}#{{fragment}}"}

# ---- mathematics -----------------------------------------------------------------------------------------------------
# MathJax draws the formulas in the reader's browser. The site carries MathJax itself, one file of 2 MB, so it asks no
# other server for anything, and works from a folder. The file comes with a package, so the repository does not hold it.
# Not MathML: browsers draw it with the fonts that the reader happens to have, and know no \tag.

_mathjax = find_spec("sphinx-mathjax-offline")
if _mathjax is None or not _mathjax.submodule_search_locations:
    raise ImportError("the site needs MathJax, but sphinx-mathjax-offline is not installed: pip install -e '.[docs]'")
_static = Path(_mathjax.submodule_search_locations[0]) / "static" / "mathjax"
mathjax_path = "tex-svg.js"
mathjax3_config = {"svg": {"fontCache": "global"}}

# ---- the API ---------------------------------------------------------------------------------------------------------

default_role = "code"  # docstrings write code in single backticks
autodoc_typehints = "signature"
autodoc_preserve_defaults = True  # as the code writes them: no path of the machine that builds
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False

# ---- the look --------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "minikd"
html_static_path = ["static", str(_static / "tex-svg.js")]
html_css_files = ["minikd.css"]
html_extra_path = [name for name in ("play.html",) if (HERE / name).exists()]
html_sidebars = {place.removesuffix(".md"): [] for place in repository.pages().values() if "/" not in place}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "minikd"},
    "header_links_before_dropdown": 6,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Lead from a function or class of the API to its code."""
    name = info["fullname"]
    if domain != "py" or "." in name:
        return None
    path = repository.home(getattr(minikd, name))
    return f"../{repository.SOURCE}/{path}.html#L-{repository.definition(path, name)}"


def as_rst(lines: list[str]) -> list[str]:
    """Return a docstring as reStructuredText: equations as they stand, and tags that lead to their derivations.

    >>> as_rst(["The cost (derivation D2.1) of |z|:", "", "    C = x*y", "", "Args:", "    x: a number."])[2:]
    ['.. code-block:: none', '', '    C = x*y', '', 'Args:', '    x: a number.']
    >>> as_rst(["(derivation D2.1)"])[0][:54]
    '(derivation `D2.1 <../derivations/D2-soft-targets.html#'
    """
    made: list[str] = []
    section = inside = False
    for line in lines:
        indented = line.startswith("    ")
        section = (section and (indented or not line)) or bool(re.fullmatch(r"[A-Z]\w+:", line))
        if indented and not section and not inside:
            made += [".. code-block:: none", ""]
        inside = (inside and (indented or not line)) or (indented and not section)
        made.append(line if inside or line.lstrip().startswith(">>>") else _prose(line))
    return made


def _prose(line: str) -> str:
    """A line with links at its tags, and without what would be a substitution: |s|."""
    line = re.sub(r"\|(\w+)\|", r"\\|\1\\|", line)
    return re.sub(r"\bD\d+\.\d+\b", lambda tag: f"`{tag[0]} <../{repository.where()[tag[0]]}>`__", line)


def _docstring(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def _equations(app: Any, doctree: Any) -> None:
    """Leave a displayed formula as it is written: Sphinx would put it into an environment that allows no tag."""
    from docutils import nodes

    for node in doctree.findall(nodes.math_block):
        if not node.get("no-wrap"):
            node["no-wrap"] = node["nowrap"] = True
            node.children = [nodes.Text(f"\\[{node.astext()}\\]")]


def _sources(app: Any) -> Iterator[tuple[str, dict[str, str], str]]:
    """The pages that show code."""
    for name, title, body in repository.shown(app.shown_files):
        yield name, {"title": title, "body": body}, "page.html"


def setup(app: Any) -> None:
    """Read the sources from a copy in the build's own folder: see repository.py."""
    app.srcdir = type(app.srcdir)(app.doctreedir / "sources")
    app.shown_files = repository.stage(Path(app.srcdir))
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("doctree-read", _equations)
    app.connect("html-collect-pages", _sources)
