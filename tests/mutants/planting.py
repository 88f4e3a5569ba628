"""How a bug is written down, and how it is planted: by syntax tree, so that layout and comments do not matter.

In a file of CUDA C++ it is planted by text, however that is spaced.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Mutant(NamedTuple):
    """One planted bug."""

    area: str
    name: str  # what is wrong, in words
    module: str  # the end of its dotted name, as much of it as names one file; `.cu` ends that of a kernel's
    find: str  # code to take out, one expression or statements in a row, which the module holds just once
    put: str  # code to put in its place
    tests: tuple[str, ...]  # files in tests/, or single tests of them, the one most likely to notice first
    within: str = ""  # the dotted name of the function or class that holds it just once; all of the module if empty


def planted(area: str, module: str, tests: str, bugs: str) -> list[Mutant]:
    """Return the mutants of one module, from blocks of text.

    A block is the bug's name, then the lines to take out (`- `) and to put in (`+ `). A line `@ Feed.batches` says that
    the bug is in that function only.

    Args:
        area: what the bugs are about.
        module: the end of the module's dotted name: `losses`, or `paper.plots` where there are two of the name.
        tests: files in tests/, or single tests of them, the one most likely to notice first.
        bugs: the blocks, an empty line between two.
    """
    mutants = []
    for block in bugs.strip().split("\n\n"):
        name, *lines = block.splitlines()
        within, find, put = ("\n".join(line[2:] for line in lines if line[0] == sign) for sign in "@-+")
        mutants.append(Mutant(area, name, module, find, put, tuple(tests.split()), within))
    return mutants


def title(mutant: Mutant) -> str:
    return f"{mutant.area}: {mutant.name}"


# ---- planting one ----------------------------------------------------------------------------------------------------


def mutated(mutant: Mutant, root: Path) -> str:
    """Return the module's source with the bug planted; Python as `plain` writes it.

    Args:
        mutant: the bug.
        root: the folder that holds minikd/ and derivations/.
    Raises:
        ValueError: what to take out does not stand there just once.
    """
    path = find_module(mutant.module, root)
    try:
        if path.suffix == ".cu":
            return _plant_in_text(plain(path), mutant.find, mutant.put)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        _plant(_find_scope(tree, mutant.within), mutant.find, mutant.put)
    except ValueError as reason:
        place = path.relative_to(root).as_posix()
        raise ValueError(f"stale mutant, {title(mutant)}: {reason} in {place}: bring it up to date") from None
    return ast.unparse(tree)


def plain(path: Path) -> str:
    """Return a module's source as `mutated` writes it, without a bug: Python as `ast.unparse` does, CUDA as it is."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".cu" else ast.unparse(ast.parse(text))


def find_module(module: str, root: Path) -> Path:
    """Return the file below root/minikd or root/derivations whose dotted name ends in `module`.

    Raises:
        ValueError: there is no such file, or more than one.
    """
    kinds = ("minikd/**/*.py", "minikd/**/*.cu", "derivations/**/*.py")
    files = (path.relative_to(root) for kind in kinds for path in root.glob(kind))
    name = f".{module}"
    match [
        path.as_posix() for path in sorted(files) if ("." + ".".join(path.parts)).removesuffix(".py").endswith(name)
    ]:
        case [path]:
            return root / path
        case paths:
            places = " and ".join(paths) or "no file"
            raise ValueError(
                f"a mutant's module must be one file of the code or checks, and {module} is {places}: name it in full"
            )


def _find_scope(tree: ast.Module, within: str) -> ast.AST:
    """Return the function or class of that dotted name, or the tree where there is no name."""
    scope: ast.AST = tree
    for name in filter(None, within.split(".")):
        found = [
            node
            for node in ast.walk(scope)
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not scope and node.name == name
        ]
        if len(found) != 1:
            raise ValueError(f"{within} must be there once, and is there {len(found)} times")
        scope = found[0]
    return scope


def _plant(scope: ast.AST, find: str, put: str) -> None:
    """Put code in the place of the one piece of the tree that equals `find`."""
    out, new = _parse(find), _parse(put)
    places = list(_places(scope, out))
    if len(places) != 1:
        raise ValueError(f"its code must stand once and stands {len(places)} times (`{find}`)")
    [(holder, field, start)] = places
    value = getattr(holder, field)
    if isinstance(value, list):
        value[start : start + len(out)] = new
        if not value and field == "body":
            value.append(ast.Pass())
    else:
        setattr(holder, field, new[0])


def _parse(code: str) -> list[ast.AST]:
    """Return the code's statements, or its one expression."""
    body = ast.parse(code).body
    return [body[0].value] if len(body) == 1 and isinstance(body[0], ast.Expr) else list(body)


def _places(scope: ast.AST, code: list[ast.AST]) -> Iterator[tuple[ast.AST, str, int]]:
    """Yield the node, the field and, where that is a list, the index in it where `code` stands."""
    for node in ast.walk(scope):
        for field, value in ast.iter_fields(node):
            items = value if isinstance(value, list) else [value]
            for start in range(len(items) - len(code) + 1):
                if type(items[start]) is type(code[0]) and _equal(items[start : start + len(code)], code):
                    yield node, field, start


def _equal(found: Any, wanted: Any) -> bool:
    """Whether two trees are the same program, where a body `...` in the second stands for any body."""
    if isinstance(wanted, ast.AST):
        return type(found) is type(wanted) and all(
            _equal(getattr(found, field, None), getattr(wanted, field, None)) for field in wanted._fields
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return _is_any_body(wanted) or (len(found) == len(wanted) and all(map(_equal, found, wanted)))
    return type(found) is type(wanted) and found == wanted


def _is_any_body(code: list[Any]) -> bool:
    match code:
        case [ast.Expr(value=ast.Constant(value=value))]:
            return value is ...
    return False


def _plant_in_text(text: str, find: str, put: str) -> str:
    """Return the text with `put` in the place of the one piece that equals `find`, however it is spaced."""
    pattern = re.compile(r"\s+".join(map(re.escape, find.split())))
    if (count := len(pattern.findall(text))) != 1:
        raise ValueError(f"its text must stand once and stands {count} times (`{find}`)")
    return pattern.sub(lambda _: put, text)
