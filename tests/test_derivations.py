"""The derivations hold, and they, the code and the tests speak of the same equations."""

import re
from collections import defaultdict

import pytest

from derivations import tags
from derivations.__main__ import main, with_table
from derivations.checks import Check, load
from derivations.display import read
from derivations.latex import Node
from derivations.meaning import ALWAYS

EQUATIONS, CHECKS = tags.equations(), load()


def listed(found):
    return ", ".join(sorted(found, key=tags.number))


@pytest.mark.slow
@pytest.mark.parametrize("tag", sorted(CHECKS, key=tags.number))
def test_every_equation_holds(tag):
    failure = verdict(CHECKS[tag])
    assert failure is None, f"{tag}: {failure}"


VERDICTS = {}


def verdict(check):
    """One run for all the tags that a check has."""
    if check.run not in VERDICTS:
        VERDICTS[check.run] = check.verdict()
    return VERDICTS[check.run]


@pytest.mark.parametrize(
    ("what", "found"),
    [("docstring of minikd", tags.docstrings()), ("test", tags.tests()), ("machine check", CHECKS)],
    ids=["docstrings", "tests", "checks"],
)
def test_the_tags_are_the_same_set_in_both_directions(what, found):
    lost, unknown = EQUATIONS.keys() - found.keys(), found.keys() - EQUATIONS.keys()
    assert not lost, f"no {what} has {listed(lost)}: cite each where it is used, or leave it out of the derivation"
    assert not unknown, f"a {what} has {listed(unknown)}, which no derivation defines"


@pytest.mark.parametrize("path", tags.files(), ids=lambda path: path.stem)
def test_each_displayed_formula_stands_under_a_heading_with_its_own_tag(path):
    text = path.read_text(encoding="utf-8")
    in_displays = [re.findall(r"\\tag\{(.*?)\}", latex) for latex in tags.displays(path)]
    headings = [tag for tag, _ in tags.HEADING.findall(text)]
    assert [[tag] for tag in headings] == in_displays
    result = re.match(r"D\d+", path.name)[0]
    assert headings == [f"{result}.{i + 1}" for i in range(len(headings))]
    assert "$$" not in text, "displayed formulas stand in ```math blocks, where GitHub leaves backslashes alone"


@pytest.mark.parametrize("path", tags.files(), ids=lambda path: path.stem)
def test_inline_formulas_are_what_github_renders(path):
    """Markdown takes a backslash before punctuation away; and a formula may not end in a space or a line."""
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for formula in re.findall(r"\$([^$]*)\$", text):
        assert not re.search(r"\\[^A-Za-z]", formula), f"${formula}$ has a backslash that Markdown takes away"
        assert formula == formula.strip(), f"${formula}$ has a space inside its dollar signs"
    assert text.count("$") % 2 == 0


@pytest.mark.parametrize("path", tags.files(), ids=lambda path: path.stem)
def test_each_derivation_says_what_would_falsify_it_and_has_its_table(path):
    text = path.read_text(encoding="utf-8")
    assert "## What would falsify this" in text
    assert text == with_table(path), "run python -m derivations --write"


def test_every_link_of_a_derivation_leads_somewhere():
    for path in [*tags.files(), tags.HERE / "README.md"]:
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if not target.startswith("https:"):
                assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


def test_the_index_lists_every_derivation():
    index = (tags.HERE / "README.md").read_text(encoding="utf-8")
    for path in tags.files():
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert f"]({path.name})" in index
        assert title.split(" ", 1)[1] in index, f"the index does not have the title of {path.name}: {title}"


def letters(part):
    """The names in what was read from a display, except for those in words such as `max`."""
    if isinstance(part, Node):
        if part.kind == "name":
            yield part.parts[0]
        word = part.kind == "scripted" and len(part.parts[2]) > 2 and part.parts[2].isalpha()
        part = (part.parts[0], part.parts[5]) if word else part.parts
    for each in part if isinstance(part, tuple | list) else ():
        yield from letters(each)


def test_a_letter_with_several_meanings_is_in_the_table_with_every_equation_that_has_it():
    index = (tags.HERE / "README.md").read_text(encoding="utf-8")
    listed_for = defaultdict(list)
    for letter, where in re.findall(r"^\| \$(?:\\(?=bar))?(bar z|s|d|m)\S*\$ \|.*\| (D.*) \|$", index, re.MULTILINE):
        listed_for[letter] += tags.cited(f"derivation {where}")
    found_for = defaultdict(list)
    for tag in EQUATIONS:
        functions = frozenset({*ALWAYS, "E", "p"})
        for letter in set(letters([list(claim) for claim in read(tags.display(tag), functions)])) & listed_for.keys():
            found_for[letter].append(tag)
    assert len(listed_for) == 4
    assert {letter: sorted(where, key=tags.number) for letter, where in listed_for.items()} == found_for


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_shows_statement_code_test_and_verdict(capsys):
    assert main(["D2.4"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^D2\.4 +The gradient is the difference of the probabilities, over T$", out, re.MULTILINE)
    assert re.search(r"^ +code +minikd/core/losses\.py:\d+ soft_cross_entropy$", out, re.MULTILINE)
    assert re.search(r"^ +test +tests/test_losses\.py:\d+ test_\w+$", out, re.MULTILINE)
    assert "verdict holds: SymPy, K = 2, 3, 4" in out
    assert "display parsed: 1, display pinned: 0" in out
    assert "1 of 1 equations hold" in out


@pytest.mark.slow
def test_the_command_fails_where_an_equation_does(capsys, monkeypatch):
    def wrong():
        raise AssertionError("1 is not 2")

    monkeypatch.setitem(CHECKS, "D2.4", Check(wrong, "SymPy", "nothing"))
    monkeypatch.setattr("derivations.__main__.load", lambda: CHECKS)
    assert main(["D2.4"]) == 1
    assert "verdict FAILS: 1 is not 2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "what"), [("docstrings", "code"), ("tests", "test")])
def test_the_command_fails_where_an_equation_has_no_code_or_no_test(capsys, monkeypatch, reader, what):
    monkeypatch.setattr(tags, reader, dict)
    assert main(["D2.4"]) == 1
    assert f"verdict MISSING: no {what}" in capsys.readouterr().out


def test_an_equation_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["D99"])
    assert "there is no equation D99" in capsys.readouterr().err
