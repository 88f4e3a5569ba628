"""The plan of the house: which room may use which, and no circle anywhere."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [  # a room may import rooms of the floors above its own line, and nothing below it
    {"core", "system"},
    {"engines", "doctor"},
    {"data", "theory"},
    {"training"},
    {"speech", "distil"},
    {"plots"},
    {"learn"},
    {"paper", "commands"},
]
INSIDE_PAPER = ["lab", "tasks", "rows"]  # each may use those before it
DOORS = {"minikd", "minikd.__main__", "minikd.distil.__main__", "minikd.speech.__main__"}
"""They open rooms of every floor, and no room opens them."""


def modules() -> dict[str, ast.Module]:
    """Every module of minikd by its dotted name."""
    found = {}
    for path in sorted((ROOT / "minikd").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


TREES = modules()


def imported(name: str, *, at_once: bool) -> set[str]:
    """The modules of minikd that a module imports: anywhere, or `at_once`, when it is imported itself."""
    tree, found = TREES[name], set()
    nodes = ast.walk(tree) if not at_once else iter(_outside_functions(tree))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in TREES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {one for one in found if one in TREES} - {name}


def _outside_functions(node: ast.AST) -> list[ast.AST]:
    inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.FunctionDef)]
    return [one for child in inner for one in [child, *_outside_functions(child)]]


def room(name: str) -> str:
    return name.split(".")[1] if "." in name else ""


ROOMS = {room(name) for name in TREES if f"minikd.{room(name)}" in TREES and name != f"minikd.{room(name)}"}


def test_every_room_has_its_floor():
    assert set().union(*FLOORS) == ROOMS


def test_the_import_graph_has_no_circle():
    graph = {name: imported(name, at_once=True) - {"minikd"} for name in TREES if name != "minikd"}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as circle:
        pytest.fail(" → ".join(circle.args[1]))


def test_the_core_uses_nothing_outside_itself():
    outside = {one for name in TREES if room(name) == "core" for one in imported(name, at_once=False)}
    assert {room(one) for one in outside} == {"core"}


@pytest.mark.parametrize("name", [name for name in TREES if room(name) in ROOMS and name not in DOORS])
def test_a_room_uses_only_rooms_of_the_floors_before_it(name):
    number = next(i for i, floor in enumerate(FLOORS) if room(name) in floor)
    allowed = {room(name)}.union(*FLOORS[:number])
    used = {room(one) for one in imported(name, at_once=True) if one != "minikd"}
    assert used <= allowed, f"{name} imports {sorted(used - allowed)}"


@pytest.mark.parametrize("name", [name for name in TREES if name.startswith("minikd.paper.") and name.count(".") == 3])
def test_in_the_paper_the_lab_knows_no_tasks_and_tasks_know_no_rows(name):
    place = INSIDE_PAPER.index(name.split(".")[2])
    used = {one.split(".")[2] for one in imported(name, at_once=False) if one.startswith("minikd.paper.")}
    assert used <= set(INSIDE_PAPER[: place + 1])


def test_nothing_imports_a_door():
    doors = {name for name in TREES if name.endswith("__main__")}
    doors |= {"minikd.mnist", "minikd.export", "minikd.backend", "minikd.predict"}
    assert {name: found for name in TREES if (found := imported(name, at_once=False) & doors)} == {}
