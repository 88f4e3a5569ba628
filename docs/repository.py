"""Lay out the site's sources: the repository's own pages, with links that work on the site.

No page is written twice. The README, the derivations, the notebooks and the other pages stay where they are, and a copy
goes into a folder of the build. Five things change in it:

- a link to a page leads to this page of the site;
- a link to a file of the code leads to a page that shows it, at the line of the function that the link names;
- an equation has links to its code and its tests, from the table at the end of its derivation;
- a mark such as `<!-- equation D2.4 -->` or `<!-- scoreboard cpu -->` becomes that equation or that table;
- a page that introduces a folder lists the folder's pages.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ALONE = {
    "README.md": "manual.md",
    "PAPER.md": "paper.md",
    "TROUBLESHOOTING.md": "troubleshooting.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
    "minikd/doctor/mistakes.md": "mistakes.md",
}
"""Pages of the repository that stand alone, and where each stands on the site."""

FOLDERS = {"derivations": "D*.md", "notebooks": "*.ipynb", "docs/guides": "*.md"}
"""Folders of pages: each has a README.md that introduces it, and these pages."""

LANGUAGES = {".py": "python", ".cu": "cuda", ".md": "markdown"}
"""How a file of code is coloured."""

SOURCE = "source"
"""The site's folder of pages that show code."""

CODE = re.compile(r"(```.*?\n```|(?<!`)`[^`\n]+`(?!`))", re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
ROW = re.compile(r"^\| \[(D\d+\.\d+)\]\((#[^)]*)\) \| (.+?) \| (.+?) \|", re.MULTILINE)
TAGGED = re.compile(r"^\\tag\{(D\d+\.\d+)\}\n```\n", re.MULTILINE)
MARK = re.compile(r"^<!-- (equation|scoreboard) (\S+) -->$", re.MULTILINE)
PLAY = "**Play first:** on [this page](source:play.html) you drag T and the logits. You need not install anything."
GROUP = re.compile(r"^    # (.+)$")


@cache
def pages() -> dict[str, str]:
    """Return the site's pages: path in the repository -> path on the site."""
    found = dict(ALONE)
    for folder, pattern in FOLDERS.items():
        found[f"{folder}/README.md"] = f"{folder}/index.md"
        for path in sorted((ROOT / folder).glob(pattern), key=_by_number):
            found.setdefault(f"{folder}/{path.name}", f"{folder}/{path.name}")
    for path in sorted((ROOT / "docs").glob("*.md")):
        found[f"docs/{path.name}"] = path.name
    return {path: place.removeprefix("docs/") for path, place in found.items()}


def _by_number(path: Path) -> tuple[int, str]:
    number = re.match(r"D?(\d+)", path.name)
    return (int(number[1]) if number else 0, path.name)


# ---- links -----------------------------------------------------------------------------------------------------------


def relink(text: str, path: str, used: set[str]) -> str:
    """Return the Markdown of a page with links that work on the site.

    Args:
        text: the page's Markdown.
        path: the page's path in the repository.
        used: the files and folders that links lead to and that are no pages. This call adds to it.

    >>> used = set()
    >>> relink("[the costs](../minikd/core/losses.py), [D2](D2-soft-targets.md)", "derivations/README.md", used)
    '[the costs](source:../source/minikd/core/losses.py.html), [D2](D2-soft-targets.md)'
    >>> used
    {'minikd/core/losses.py'}
    >>> relink("`[kept](../PAPER.md)` [PAPER.md](../PAPER.md#speech)", "notebooks/README.md", used)
    '`[kept](../PAPER.md)` [PAPER.md](../paper.md#speech)'
    """

    def other(link: re.Match[str]) -> str:
        mark, name, target = link.groups()
        return f"{mark}[{name}]({_target(name, target, path, used)})"

    # A name in backticks may be the text of a link, so links are found first; then those within code are put back.
    kept = {m.span() for m in CODE.finditer(text)}
    inside = [m.span() for m in LINK.finditer(text) if any(a <= m.start() and m.end() <= b for a, b in kept)]
    return LINK.sub(lambda link: link[0] if link.span() in inside else other(link), text)


def _target(name: str, target: str, path: str, used: set[str]) -> str:
    """Where a link leads on the site."""
    file, hash_, anchor = target.partition("#")
    if not file or re.match(r"[a-z]+:", file):
        return target
    here = posixpath.dirname(pages()[path])
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(path), file))
    if posixpath.dirname(wanted) == "docs/api":
        return file + hash_ + anchor
    if wanted in pages():
        return posixpath.relpath(pages()[wanted], here or ".") + hash_ + anchor
    if not (ROOT / wanted).exists():
        raise FileNotFoundError(f"{path} links to {target}, but {wanted} is not in the repository")
    used.add(wanted)
    if Path(wanted).suffix == ".png":
        return posixpath.relpath(wanted, here or ".")
    line = definition(wanted, name.strip("`"))
    shown = f"{SOURCE}/{wanted}" + ("/index" if (ROOT / wanted).is_dir() else "") + ".html"
    return f"source:{posixpath.relpath(shown, here or '.')}" + (f"#L-{line}" if line else "")


@cache
def _lines(path: str) -> tuple[str, ...]:
    return tuple((ROOT / path).read_text(encoding="utf-8").splitlines())


def definition(path: str, name: str) -> int | None:
    """Return the number of the line where a Python file defines a name, or None.

    >>> definition("minikd/core/losses.py", "no_such_name") is None
    True
    """
    if not path.endswith(".py") or not name.isidentifier():
        return None
    starts = (i for i, line in enumerate(_lines(path), 1) if re.match(rf"\s*(def|class) {name}\b", line))
    return next(starts, None)


# ---- the sources of the site -----------------------------------------------------------------------------------------


def stage(folder: Path) -> set[str]:
    """Write the sources of the site into a folder, and return the files and folders that the site must show.

    A file that has not changed is not written again, so that Sphinx does not read it again.
    """
    used: set[str] = set()
    written = {place: _page(path, used).encode() for path, place in pages().items()}
    written |= {f"api/{name}": text.encode() for name, text in api(used).items()}
    pictures = {path: (ROOT / path).read_bytes() for path in used if path.endswith(".png")}
    for place, content in (written | pictures).items():
        target = folder / place
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    for old in [path for path in folder.rglob("*") if path.is_file()]:
        if old.relative_to(folder).as_posix() not in written | pictures:
            old.unlink()
    return used - set(pictures)


def _page(path: str, used: set[str]) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".ipynb"):
        notebook = json.loads(text)
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = relink("".join(cell["source"]), path, used)
        return json.dumps(notebook, ensure_ascii=False)
    folder, name = posixpath.split(path)
    text = relink(with_places(filled(text)), path, used)
    return text + contents(folder) if folder in FOLDERS and name == "README.md" else text


def filled(text: str) -> str:
    """Return a page with what its marks name: equations, tables, and the page to play with if it exists.

    >>> print(filled("<!-- equation D2.4 -->").splitlines()[1])
    \\frac{\\partial C}{\\partial z_k} = \\frac{1}{T}\\,(q_k - p_k)
    """
    text = text.replace("<!-- play -->", PLAY if (ROOT / "docs" / "play.html").exists() else "")
    return MARK.sub(lambda mark: equation(mark[2]) if mark[1] == "equation" else scoreboard(mark[2]), text)


@cache
def derivations() -> dict[str, str]:
    """Return the text of each derivation by its file's name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "derivations").glob("D*.md"))}


def equation(tag: str) -> str:
    """Return the display of one equation as its derivation has it."""
    ((display),) = (
        found
        for text in derivations().values()
        for found in re.findall(r"^```math\n.*?^```$", text, re.MULTILINE | re.DOTALL)
        if f"\\tag{{{tag}}}" in found
    )
    return display


def scoreboard(name: str) -> str:
    """Return row, claim, the paper's figure, ours and the verdict from a scoreboard of PAPER.md."""
    text = (ROOT / "PAPER.md").read_text(encoding="utf-8")
    table = text.split(f"<!-- table: {name} scoreboard -->")[1].split("<!-- /table")[0]
    lines = [line.strip("| ").split(" | ") for line in re.search(r"(^\|.*\n)+", table, re.MULTILINE)[0].splitlines()]
    return "\n".join(f"| {' | '.join([*line[:4], line[-1]])} |" for line in lines)


@cache
def where() -> dict[str, str]:
    """Return the place of each equation: tag -> page of the site and anchor.

    >>> where()["D2.4"]
    'derivations/D2-soft-targets.html#d24-the-gradient-is-the-difference-of-the-probabilities-over-t'
    """
    rows = ((name, row) for name, text in derivations().items() for row in ROW.findall(text))
    return {tag: f"derivations/{name.removesuffix('.md')}.html{anchor}" for name, (tag, anchor, _, _) in rows}


def with_places(text: str) -> str:
    r"""Return a derivation with its code and its tests below each equation. Its table says what they are.

    >>> table = "| [D2.4](#x) | [`f`](f.py) | [`test_f`](t.py)<br>[`test_g`](t.py) | SymPy |"
    >>> print(with_places("```math\nC = 0\n\\tag{D2.4}\n```\n" + table).splitlines()[6])
    Code: [`f`](f.py). Tests: [`test_f`](t.py), [`test_g`](t.py).
    """
    places = {
        tag: (code.replace("<br>", ", "), tests.replace("<br>", ", ")) for tag, _, code, tests in ROW.findall(text)
    }

    def place(display: re.Match[str]) -> str:
        if display[1] not in places:
            return display[0]
        code, tests = places[display[1]]
        return f"{display[0]}\n:::{{container}} places\nCode: {code}. Tests: {tests}.\n:::\n"

    return TAGGED.sub(place, text)


def contents(folder: str) -> str:
    """Return the list of a folder's pages, which the site shows beside them."""
    paths = [Path(path) for path in pages() if posixpath.dirname(path) == folder and not path.endswith("/README.md")]
    return toctree(f"{_numbered(path)} <{path.name}>" if path.suffix == ".ipynb" else path.name for path in paths)


def _numbered(path: Path) -> str:
    """The number and the title of a notebook."""
    title = "".join(json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"][0]["source"]).splitlines()[0]
    return f"{int(path.name[:2])} {title.lstrip('# ')}"


def toctree(names: Iterable[str]) -> str:
    """Return MyST's list of pages that belong to a page."""
    return "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"


# ---- the public names ------------------------------------------------------------------------------------------------


def groups() -> Iterator[tuple[str, list[str]]]:
    """Yield each group of public names with its heading, as minikd/__init__.py has them."""
    text = (ROOT / "minikd" / "__init__.py").read_text(encoding="utf-8")
    heading, names = "", []
    for line in text[text.index("_HOMES = {") : text.index('"""The public names')].splitlines():
        if comment := GROUP.match(line):
            if heading:
                yield heading, names
            heading, names = comment[1], []
        elif ":" in line:
            names = [*names, *re.findall(r'"(\w+)"', line.partition(":")[2])]
    yield heading, names


def api(used: set[str]) -> dict[str, str]:
    """Return the pages of the API reference, file name -> Markdown, and add the files that they link to."""
    import minikd

    made, rows = {}, []
    for heading, names in groups():
        used |= {home(getattr(minikd, name)) for name in names}
        title, _, rest = heading.partition(": ")
        file = title.split(",")[0].lower().replace(" ", "-").removeprefix("the-") + ".md"
        said = f"{rest[:1].upper()}{rest[1:]}." if rest else ""
        entries = [f"```{{eval-rst}}\n.. {_directive(getattr(minikd, name))}:: minikd.{name}\n```" for name in names]
        made[file] = f"# {title}\n\n{said}\n\n" + "\n\n".join(entries) + "\n"
        links = ", ".join(f"{{py:obj}}`{name} <minikd.{name}>`" for name in names)
        rows.append(f"| [{title}]({file}) | {links} |")
    table = "| group | names |\n|---|---|\n" + "\n".join(rows)
    said = (minikd.__doc__ or "").replace("below in groups", "here in groups")
    return {**made, "index.md": f"# API\n\n{said}\n{table}{toctree(made)}"}


def home(thing: object) -> str:
    """Return the file that defines a public name."""
    path = thing.__module__.replace(".", "/")
    return f"{path}.py" if (ROOT / f"{path}.py").exists() else f"{path}/__init__.py"


def _directive(thing: object) -> str:
    return "autoclass" if isinstance(thing, type) else "autofunction"


# ---- pages that show code --------------------------------------------------------------------------------------------


def shown(used: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield a page for each file and folder that the site must show: its name, its title and its HTML."""
    folders = {path for path in used if (ROOT / path).is_dir()}
    files = used - folders
    for folder in sorted(folders):
        inside = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / folder).rglob("*")) if _visible(path)]
        files |= set(inside)
        yield f"{SOURCE}/{folder}/index", folder, _listing(folder, inside)
    for path in sorted(files):
        yield f"{SOURCE}/{path}", path, highlighted(path)


def _visible(path: Path) -> bool:
    return path.is_file() and path.suffix in (".py", ".cu") and "__pycache__" not in path.parts


def _listing(folder: str, inside: list[str]) -> str:
    links = [(path, f"{posixpath.relpath(path, folder)}.html", html.escape(_summary(path))) for path in inside]
    items = "".join(f'<li><a href="{to}"><code>{path}</code></a> {said}</li>' for path, to, said in links)
    return f"<h1>{folder}/</h1><ul>{items}</ul>"


def _summary(path: str) -> str:
    return next((line.strip('"') for line in _lines(path)[:1] if line.startswith('"""')), "")


def highlighted(path: str) -> str:
    """Return the HTML that shows a file, with an anchor L-n at line n."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_by_name

    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".json"):  # long, and nobody links to a line of it
        return f"<h1>{path}</h1><pre>{html.escape(text)}</pre>"
    lexer = get_lexer_by_name(LANGUAGES.get(Path(path).suffix, "text"))
    form = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True, cssclass="highlight")
    code = highlight(text, lexer, form)
    return f"<h1>{path}</h1>{code}"
