"""PAPER.md and its figures are what the committed results say."""

import json
import re

import pytest
from PIL import Image

from minikd.paper import page
from minikd.paper.figures import FIGURES, OF_THE_TEACHER
from minikd.paper.lab.jobs import missing
from minikd.paper.rows import ROWS, speech
from minikd.training import runs
from minikd.training.teacher import load_teacher

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


@pytest.fixture(scope="module", params=[" ".join(picture) for picture in PICTURES])
def panels(request):
    """The panels of a figure of the page, laid out."""
    profile, name = request.param.split()
    figure = FIGURES[name][0](page.numbers(name, page.load(profile)))
    figure.draw_without_rendering()
    return figure.axes


def ticks(axis):
    """The values at an axis's ticks that are seen, and what is written there."""
    lower, upper = sorted(axis.get_view_interval())
    every = {float(tick.get_loc()): tick.label1.get_text() for tick in axis.get_major_ticks()}
    return {value: text for value, text in every.items() if lower <= value <= upper}


@pytest.mark.slow
def test_no_axis_of_accuracy_reaches_beyond_100_per_cent(panels):
    for panel in panels:
        if panel.get_ylabel().startswith("right, %"):
            assert max(ticks(panel.yaxis)) <= 100
            assert panel.get_ylim()[1] - 100 < 0.03 * (100 - panel.get_ylim()[0])


def test_a_logarithmic_axis_has_four_numbers_or_more(panels):
    for axis in (axis for panel in panels for axis in (panel.xaxis, panel.yaxis) if axis.get_scale() == "log"):
        assert sum(bool(text) for text in ticks(axis).values()) >= 4


def test_every_star_is_explained_in_a_legend(panels):
    legends = [panel.get_legend() for panel in panels if panel.get_legend()] + panels[0].figure.legends
    words = [text.get_text() for legend in legends for text in legend.get_texts()]
    stars = [line for panel in panels for line in panel.lines if line.get_marker() == "*"]
    assert not stars or any("the paper's" in text for text in words)


def test_the_curves_credit_the_paper_only_with_the_widths_that_it_speaks_of():
    panels = FIGURES["curves"][0](page.numbers("curves", page.load("cpu"))).axes
    said = {panel.get_title(loc="left").split()[0]: len(panel.patches) for panel in panels}
    assert said == {"30": 1, "100": 0, "300": 1, "800": 1}
    assert [panel.get_legend() is not None for panel in panels] == [True, False, True, True]


def test_each_star_of_speech_has_the_colour_of_our_line_of_its_kind():
    test, train = FIGURES["frames"][0](page.numbers("frames", page.load("cpu-speech"))).axes
    ours = {container.get_label(): container.lines[0].get_color() for container in test.containers}
    for panel, of in ((test, (58.9, 44.5, 57.0)), (train, (63.4, 67.3, 65.4))):
        stars = {float(line.get_ydata()[0]): line.get_markerfacecolor() for line in panel.lines
                 if line.get_marker() == "*" and len(line.get_ydata())}  # fmt: skip
        assert stars == dict(zip(of, (ours["hard"], ours["hard, stopped early"], ours["soft"]), strict=True))


def test_networks_with_the_same_errors_each_have_their_dot():
    panel = FIGURES["students"][0](page.numbers("students", page.load("cpu"))).axes[0]
    alone = next(line for line in panel.lines if line.get_xdata().tolist() == [136, 136, 136])
    assert len(set(alone.get_ydata().tolist())) == 3


def test_the_words_for_a_picture_say_what_it_shows():
    pages = [page.PAGE, *(page.ROOT / name for name in ("README.md", "benchmarks/README.md"))]
    for words in (words for path in pages for words in re.findall(r"!\[(.*?)\]", path.read_text("utf-8"))):
        assert len(words.split()) >= 5, words


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


@pytest.mark.slow
def test_another_number_makes_another_page(monkeypatch):
    load = page.load

    def changed(profile):
        text = json.dumps(load(profile))
        return json.loads(re.sub(r'"ours": "', '"ours": "9', text))

    monkeypatch.setattr(page, "load", changed)
    assert page.fill(TEXT) != TEXT


@pytest.mark.slow
def test_the_check_says_when_the_page_is_stale(monkeypatch, tmp_path, capsys):
    stale = tmp_path / "PAPER.md"
    stale.write_text(TEXT.replace("| M1 |", "| M0 |"), encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", stale)
    with pytest.raises(SystemExit, match="1"):
        page.main(["--check"])
    assert "run python -m minikd.paper.page" in capsys.readouterr().err
