"""The mutation gate itself: its list is sound, and what no test notices fails it."""

import ast
import builtins
import contextlib
import functools
import io
from pathlib import Path

import pytest
from mutants import MUTANTS
from mutants.__main__ import ROOT, main
from mutants.planting import Mutant, find_module, mutated, plain, planted, title

# ---- the list --------------------------------------------------------------------------------------------------------


def test_there_are_mutants_in_every_area():
    assert {mutant.area for mutant in MUTANTS} >= {
        *("soft cost", "hard cost", "distillation loss", "logit matching", "softmax", "layers", "network", "dropout"),
        *("max-norm", "optimiser", "training", "jitter", "soft targets", "ensembles", "population"),
    }


def test_no_two_mutants_share_a_name_or_a_change():
    assert len(set(map(title, MUTANTS))) == len(MUTANTS)
    assert len({(mutant.module, mutant.within, mutant.find, mutant.put) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=title)
def test_a_mutant_is_another_program_in_a_module_that_holds_its_code_once(mutant):
    assert mutated(mutant, ROOT) != plain(find_module(mutant.module, ROOT))


@functools.cache
def words(module: str) -> set[str]:
    """Every name of a module: variables, functions, arguments, imports."""
    nodes = ast.walk(ast.parse(find_module(module, ROOT).read_text(encoding="utf-8")))
    return {text for node in nodes for text in vars(node).values() if isinstance(text, str)}


def names(code: str, context: type[ast.expr_context] | tuple[type[ast.expr_context], ...]) -> set[str]:
    return {
        node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name) and isinstance(node.ctx, context)
    }


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if not mutant.module.endswith(".cu")], ids=title)
def test_a_mutant_uses_no_name_that_its_module_lacks(mutant):
    """Else it ends in a NameError, which any test would catch."""
    there = words(mutant.module) | set(dir(builtins)) | names(mutant.put, (ast.Store, ast.Del))
    assert names(mutant.put, ast.Load) <= there


def test_the_tests_of_every_mutant_are_there():
    for mutant in MUTANTS:
        assert mutant.tests
        for test in mutant.tests:
            assert (ROOT / "tests" / test.partition("::")[0]).is_file(), f"{title(mutant)}: no file tests/{test}"


# ---- planting --------------------------------------------------------------------------------------------------------


def plant(module: str, bug: str, tmp_path, name: str = "pairs.py") -> str:
    """The module's source with the bug of one block planted."""
    folder = tmp_path / "minikd" / "sums"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(module)
    (mutant,) = planted("sums", name.removesuffix(".py"), "test_sums.py", bug)
    return mutated(mutant, tmp_path)


def test_code_is_found_whatever_its_layout_and_comments_are(tmp_path):
    module = "def plus(a, b):\n    c = (a  # the first\n         + b)\n    return (\n        2 * c\n    )\n"
    assert plant(module, "a bug\n- a + b\n+ a - b", tmp_path) == "def plus(a, b):\n    c = a - b\n    return 2 * c"
    statements = "a bug\n- c = a + b\n- return 2 * c\n+ return a"
    assert plant(module, statements, tmp_path) == "def plus(a, b):\n    return a"


def test_what_is_put_in_keeps_its_own_precedence(tmp_path):
    assert plant("c = 2 * (a + b)", "a bug\n- a + b\n+ a", tmp_path) == "c = 2 * a"
    assert plant("c = 2 * a", "a bug\n- a\n+ a + b", tmp_path) == "c = 2 * (a + b)"


def test_a_bug_can_be_in_one_function_only(tmp_path):
    module = "class A:\n\n    def f():\n        return 1\n\ndef f():\n    return 1"
    planted_there = plant(module, "a bug\n@ A.f\n- return 1\n+ return 2", tmp_path)
    assert planted_there == module.replace("1", "2", 1)
    with pytest.raises(ValueError, match="stands 2 times"):
        plant(module, "a bug\n- return 1\n+ return 2", tmp_path)
    with pytest.raises(ValueError, match="f must be there once, and is there 2 times"):
        plant(module, "a bug\n@ f\n- return 1\n+ return 2", tmp_path)


def test_three_dots_stand_for_any_body(tmp_path):
    module = "def f(a):\n    if a:\n        print(a)\n        return 2\n    if not a:\n        return 1\n"
    assert plant(module, "a bug\n- if a:\n-     ...", tmp_path) == "def f(a):\n    if not a:\n        return 1"


def test_taking_out_a_whole_body_leaves_a_program(tmp_path):
    assert plant("def f(a):\n    a += 1", "a bug\n- a += 1", tmp_path) == "def f(a):\n    pass"


def test_text_of_a_kernel_is_found_however_it_is_spaced(tmp_path):
    kernel = "for (i = 0;\n         i < n; i++) {\n"
    bug = "a bug\n- i = 0; i < n\n+ i = 1; i < n"
    assert plant(kernel, bug, tmp_path, name="pairs.cu") == "for (i = 1; i < n; i++) {\n"
    with pytest.raises(ValueError, match="stands 0 times"):
        plant("i < n", bug, tmp_path, name="pairs.cu")


def test_a_module_is_found_in_any_room_by_the_end_of_its_name(tmp_path):
    for place in ("minikd/core/sums.py", "minikd/core/product.py", "minikd/paper/product.py", "minikd/paper/mysums.py"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    assert find_module("sums", tmp_path) == tmp_path / "minikd/core/sums.py"
    assert find_module("paper.product", tmp_path) == tmp_path / "minikd/paper/product.py"
    with pytest.raises(
        ValueError, match=r"product is minikd/core/product\.py and minikd/paper/product\.py: name it in"
    ):
        find_module("product", tmp_path)
    with pytest.raises(ValueError, match="quotient is no file"):
        find_module("quotient", tmp_path)


# ---- the gate, on a package of one function --------------------------------------------------------------------------

CAUGHT = Mutant("sums", "a product in place of a sum", "sums", "a + b", "a * b", ("test_sums.py",))
SURVIVOR = Mutant("sums", "the terms swapped", "sums", "a + b", "b + a", ("test_sums.py",))
BROKEN = Mutant("sums", "a module that cannot be imported", "sums", "TWO = 2", "TWO = two", ("test_sums.py",))
STALE = Mutant("sums", "a bug in lines that are gone", "sums", "a - b", "b - a", ("test_sums.py",))
SUMS = "TWO = 2\n\n\ndef plus(a, b):\n    return a + b  # both\n"


@pytest.fixture
def root(tmp_path) -> Path:
    """A tree like this one, with a minikd that adds two numbers."""
    for folder in ("minikd", "tests", "derivations"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "minikd" / "__init__.py").touch()
    (tmp_path / "minikd" / "sums.py").write_text(SUMS)
    (tmp_path / "tests" / "test_sums.py").write_text(
        "from minikd.sums import plus\n\ndef test_plus_adds():\n    assert plus(2, 3) == 5\n"
    )
    return tmp_path


def gate(chosen: list[Mutant], root: Path) -> tuple[int, str]:
    """The gate's exit status, and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        return main([], chosen, root), said.getvalue()


def test_a_caught_mutant_is_named_with_its_test_and_leaves_the_tree_alone(root):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    status, said = gate([CAUGHT], root)
    assert status == 0
    assert said.startswith("sums: a product in place of a sum\n    caught by test_sums.py::test_plus_adds, ")
    assert "1 of 1 mutants caught" in said
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_survivors_fail_the_gate_and_are_named_last_a_broken_module_among_them(root):
    status, said = gate([SURVIVOR, CAUGHT, BROKEN], root)
    assert status == 1
    survivors = said[said.index("1 of 3 mutants caught") :]
    assert title(CAUGHT) not in survivors
    assert "sums: the terms swapped\n    test_sums.py: its tests pass\n" in survivors
    assert f"{title(BROKEN)}\n    test_sums.py: no test failed, but pytest ended with 2" in survivors
    assert "NameError" in survivors


def test_a_stale_mutant_is_refused_by_name_before_anything_runs(root):
    status, said = gate([CAUGHT, STALE], root)
    assert status == 1
    assert said.startswith(f"stale mutant, {title(STALE)}: its code must stand once and stands 0 times (`a - b`)")
    assert "in minikd/sums.py: bring it up to date" in said
    assert title(CAUGHT) not in said
    (root / "minikd" / "sums.py").write_text("def zero(a, b):\n    return a - b - (a - b)\n")
    with pytest.raises(ValueError, match="stands 2 times"):
        mutated(STALE, root)


def test_a_test_that_fails_without_a_mutant_stops_the_gate(root):
    (root / "minikd" / "sums.py").write_text(SUMS.replace("a + b", "a + b + 1"))
    test = "test_sums.py::test_plus_adds"
    assert gate([CAUGHT], root) == (1, f"without a mutant {test} must pass: {test} fails\n")


def test_a_minikd_from_elsewhere_stops_the_gate(root):
    (root / "minikd" / "__init__.py").write_text("__file__ = '/elsewhere/minikd/__init__.py'\n")
    status, said = gate([CAUGHT], root)
    assert status == 1
    assert "not from the copy in" in said


def test_words_choose_among_the_mutants(capsys):
    assert main(["--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [title(mutant) for mutant in MUTANTS]
    assert main(["jitter", "Nesterov", "--list"]) == 0
    chosen = capsys.readouterr().out.splitlines()
    assert chosen == [title(m) for m in MUTANTS if "jitter" in title(m) or "Nesterov" in title(m)]
    assert 2 < len(chosen) < 15
    with pytest.raises(SystemExit) as refused:
        main(["no such word"])
    assert refused.value.code == 2
    assert "no mutant's area or name holds no such word" in capsys.readouterr().err
