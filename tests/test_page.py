"""PAPER.md and its figures are what the committed results say."""

import json
import re

import pytest
from PIL import Image

from minikd import runs
from minikd.paper import page, speech
from minikd.paper.__main__ import ROWS
from minikd.paper.figures import FIGURES, OF_THE_TEACHER
from minikd.paper.jobs import missing
from minikd.targets import load_teacher

TEXT = page.PAGE.read_text(encoding="utf-8")
PICTURES = [mark.split() for _, mark, _ in page.MARK.findall(TEXT) if mark.partition(" ")[2] in FIGURES]
PROFILES = sorted({profile for profile, _ in PICTURES})


def test_the_page_is_what_the_results_say():
    assert page.fill(TEXT) == TEXT
    assert {name for profile, name in PICTURES if profile.startswith("cpu")} == set(FIGURES)


@pytest.mark.parametrize(("profile", "name"), PICTURES)
def test_a_figure_is_drawn_from_the_results_and_small(profile, name):
    path = page.ROOT / page.picture(profile, name)
    assert path.stat().st_size < 150_000
    assert Image.open(path).text["Source"] == runs.key(page.numbers(name, page.load(profile)))


@pytest.mark.parametrize("name", OF_THE_TEACHER)
def test_a_figure_of_the_readme_is_drawn_from_the_teacher_that_ships_and_small(name):
    path = page.PLOTS / f"{name}.png"
    assert path.stat().st_size < 150_000
    assert Image.open(path).text["Source"] == load_teacher()[1].teacher


@pytest.mark.parametrize("profile", PROFILES)
def test_the_results_are_of_the_runs_that_the_code_would_do(profile):
    record, (name, _, of) = page.load(profile), profile.partition("-")
    rows = [row for row in ROWS.values() if (row in speech.ROWS) == (of == "speech")]
    assert [row["row"] for row in record["rows"]] == [row.id for row in rows]
    wanted = missing(job for row in rows for job in row.jobs(name).values())
    assert {run["key"] for run in record["runs"]} == set(wanted)
    minutes = {"cpu": 90, "cpu-speech": 40}.get(profile)
    if minutes is not None:
        assert sum(run["seconds"] for run in record["runs"]) < minutes * 60 * 2


def test_another_number_makes_another_page(monkeypatch):
    load = page.load

    def changed(profile):
        text = json.dumps(load(profile))
        return json.loads(re.sub(r'"ours": "', '"ours": "9', text))

    monkeypatch.setattr(page, "load", changed)
    assert page.fill(TEXT) != TEXT


def test_the_check_says_when_the_page_is_stale(monkeypatch, tmp_path):
    stale = tmp_path / "PAPER.md"
    stale.write_text(TEXT.replace("| M1 |", "| M0 |"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", stale)
    with pytest.raises(SystemExit, match=r"run python -m minikd\.paper\.page"):
        page.main(["--check"])
