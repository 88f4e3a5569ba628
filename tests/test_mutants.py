"""The mutation gate itself: its list is sound, and what no test notices fails it."""

import ast
import contextlib
import io
import shutil
from pathlib import Path

import mutants
import pytest
from mutants import MUTANTS, ROOT, Mutant, main, mutated, title

# ---- the list --------------------------------------------------------------------------------------------------------


def test_there_are_mutants_enough_in_every_area():
    assert len(MUTANTS) >= 30
    assert {mutant.area for mutant in MUTANTS} >= {
        *("soft cost", "hard cost", "distillation loss", "logit matching", "softmax", "layers", "network", "dropout"),
        *("max-norm", "optimiser", "training", "jitter", "soft targets", "ensembles", "population"),
    }


def test_no_two_mutants_share_a_name_or_a_change():
    assert len(set(map(title, MUTANTS))) == len(MUTANTS)
    assert len({(mutant.file, mutant.find, mutant.put) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=title)
def test_a_mutant_is_another_program_in_a_file_that_its_text_fits_once(mutant):
    still = (ROOT / "minikd" / mutant.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(mutated(mutant, ROOT))) != ast.dump(ast.parse(still))  # no mere comment either


def test_the_tests_of_every_mutant_are_there():
    for mutant in MUTANTS:
        assert mutant.tests
        for test in mutant.tests:
            assert (ROOT / "tests" / test).is_file(), f"{title(mutant)}: no file tests/{test}"


# ---- the gate, on a package of one function --------------------------------------------------------------------------

CAUGHT = Mutant("sums", "a product in place of a sum", "sums.py", "a + b", "a * b", ("test_sums.py",))
SURVIVOR = Mutant("sums", "a comment reworded", "sums.py", "# both", "# the two", ("test_sums.py",))
BROKEN = Mutant("sums", "a module that cannot be imported", "sums.py", "return a", "return (a", ("test_sums.py",))
STALE = Mutant("sums", "a bug in lines that are gone", "sums.py", "a - b", "b - a", ("test_sums.py",))


@pytest.fixture
def root(tmp_path) -> Path:
    """A tree like this one, with a minikd that adds two numbers."""
    for folder in ("minikd", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "minikd" / "__init__.py").touch()
    (tmp_path / "minikd" / "sums.py").write_text("def plus(a, b):\n    return a + b  # both\n")
    (tmp_path / "tests" / "test_sums.py").write_text(
        "from minikd.sums import plus\n\ndef test_plus_adds():\n    assert plus(2, 3) == 5\n"
    )
    shutil.copy(mutants.__file__, tmp_path / "tests")
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
    assert "sums: a comment reworded\n    test_sums.py: its tests pass\n" in survivors
    assert f"{title(BROKEN)}\n    test_sums.py: no test failed, but pytest ended with 2" in survivors
    assert "SyntaxError" in survivors


def test_a_stale_mutant_is_refused_by_name_before_anything_runs(root):
    status, said = gate([CAUGHT, STALE], root)
    assert status == 1
    assert said.startswith(f"stale mutant, {title(STALE)}: its text must stand once in minikd/sums.py")
    assert "stands there 0 times" in said
    assert title(CAUGHT) not in said
    (root / "minikd" / "sums.py").write_text("def zero(a, b):\n    return a - b - (a - b)\n")
    with pytest.raises(ValueError, match="stands there 2 times"):
        mutated(STALE, root)


def test_tests_that_fail_without_a_mutant_stop_the_gate(root):
    (root / "minikd" / "sums.py").write_text("def plus(a, b):\n    return a + b + 1  # both\n")
    assert gate([CAUGHT], root) == (
        1,
        "without a mutant test_sums.py must pass: test_sums.py::test_plus_adds fails\n",
    )


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
