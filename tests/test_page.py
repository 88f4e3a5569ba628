"""PAPER.md and its figures are what the committed results say."""

import json
import re

import pytest
from PIL import Image

from minikd.paper import page
from minikd.paper.choices import KNOWLEDGE, load_study
from minikd.paper.command import build_parser
from minikd.paper.figures import FIGURES, OF_THE_TEACHER
from minikd.paper.lab.jobs import missing
from minikd.paper.rows import ROWS
from minikd.training import runs
from minikd.training.teacher import load_teacher

TEXT = page.PAGE.read_text(encoding="utf-8")
PICTURES = page.pictures(TEXT)
PROFILES = [profile for profile in ("cpu", "cpu-speech", "full") if page.load(profile)]


def test_the_page_is_what_the_results_say():
    assert page.fill(TEXT) == TEXT


def test_the_page_has_a_mark_for_every_figure_and_the_sections_have_each_once():
    marked = [name for profile, *names in (mark.split() for _, mark, _ in page.MARK.findall(TEXT)) for name in names]
    assert set(FIGURES) < set(marked)
    assert sorted(name for names in page.SECTIONS for name in names) == sorted(FIGURES)


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
            assert max(ticks(panel.yaxis)) <= 100 + 1e-9  # a tick may be 100.00000000000001
            assert panel.get_ylim()[1] - 100 < 0.03 * (100 - panel.get_ylim()[0])


def test_a_logarithmic_axis_has_four_numbers_or_more(panels):
    for axis in (axis for panel in panels for axis in (panel.xaxis, panel.yaxis) if axis.get_scale() == "log"):
        assert sum(bool(text) for text in ticks(axis).values()) >= 4


def test_every_star_is_explained_in_a_legend(panels):
    legends = [panel.get_legend() for panel in panels if panel.get_legend()] + panels[0].figure.legends
    words = [text.get_text() for legend in legends for text in legend.get_texts()]
    stars = [line for panel in panels for line in panel.lines if line.get_marker() == "*"]
    assert not stars or any("the paper's" in text for text in words)


def grid():
    """Made-up errors of the rows of the grid, which have temperatures of their own."""
    fine, coarse = [1.0, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0], [1.0, 2.0, 4.0, 8.0, 12.0, 20.0, 40.0]
    errors = {str(width): [[100 + t for t in coarse], [90 + t for t in coarse]] for width in (800, 100, 300)}
    return {"M5": {"T": fine, "errors": {"30": [[200 + t for t in fine]]}}, "M4": {"T": coarse, "errors": errors}}


def test_the_curves_credit_the_paper_only_with_the_widths_that_it_speaks_of():
    figure = FIGURES["curves"][0](grid())
    said = {panel.get_title(loc="left").split()[0]: len(panel.patches) for panel in figure.axes}
    assert said == {"30": 1, "100": 0, "300": 1, "800": 1}
    (words,) = figure.legends[0].get_texts()
    assert words.get_text() == "the paper's: significantly better (30 units), fairly similar (300 units or more)"


def test_the_map_boxes_what_the_paper_speaks_of_and_leaves_out_what_was_not_run():
    panel = FIGURES["map"][0](grid()).axes[0]
    T = [float(text.get_text()) for text in panel.get_xticklabels()]
    boxes = {}
    for box in panel.patches:
        first, last = round(box.get_x() + 0.46), round(box.get_x() + box.get_width() - 0.46)
        boxes[round(box.get_y() + 0.46)] = T[first], T[last]
    assert boxes == {0: (2.5, 4), 2: (8, 40), 3: (8, 40)}
    shown = {tuple(map(round, text.get_position())): text.get_text() for text in panel.texts}
    assert (shown[T.index(2.5), 0], shown[T.index(2.5), 1], shown[T.index(20), 3]) == ("202", "–", "115")


def test_each_star_of_speech_has_the_colour_of_our_line_of_its_kind():
    by_share = {at: {"train": [70.0, 80.0], "test": [50.0, 60.0]} for at in ("0.03", "1.0")}
    curve = dict.fromkeys(("hard", "hard, stopped early", "soft"), by_share)
    test, train = FIGURES["frames"][0]({"R3-speech": {"curve": curve}}).axes
    ours = {container.get_label(): container.lines[0].get_color() for container in test.containers}
    for panel, of in ((test, (58.9, 44.5, 57.0)), (train, (63.4, 67.3, 65.4))):
        stars = {float(line.get_ydata()[0]): line.get_markerfacecolor() for line in panel.lines
                 if line.get_marker() == "*" and len(line.get_ydata())}  # fmt: skip
        assert stars == dict(zip(of, (ours["hard"], ours["hard, stopped early"], ours["soft"]), strict=True))


def students(teachers):
    return FIGURES["students"][0](
        {"M1": {"errors": teachers}, "M2": {"errors": [136] * 3}, "M3": {"distilled": [80, 90]}}
    )


def test_networks_with_the_same_errors_each_have_their_dot():
    panel = students([70, 64]).axes[0]
    alone = next(line for line in panel.lines if line.get_xdata().tolist() == [136, 136, 136])
    assert len(set(alone.get_ydata().tolist())) == 3


def test_beside_the_networks_there_is_the_interval_of_one_more_run_unless_there_is_only_one():
    def intervals(figure):
        bars = [container.lines[2][0].get_segments() for container in figure.axes[0].containers]
        return [segment[:, 0].tolist() for segments in bars for segment in segments]

    teacher, alone, distilled = intervals(students([70, 64, 63, 65, 68]))
    assert teacher == pytest.approx([57.1, 74.9], abs=0.05)
    assert (alone, len(distilled)) == ([136, 136], 2)
    assert len(intervals(students([70]))) == 2


def test_the_words_for_a_picture_say_what_it_shows():
    pages = [page.PAGE, *(page.ROOT / name for name in ("README.md", "benchmarks/README.md"))]
    for words in (words for path in pages for words in re.findall(r"!\[(.*?)\]", path.read_text("utf-8"))):
        assert len(words.split()) >= 5, words


@pytest.mark.parametrize("name", OF_THE_TEACHER)
def test_a_figure_of_the_readme_is_drawn_from_the_teacher_that_ships_and_small(name):
    path = page.PLOTS / f"{name}.png"
    assert path.stat().st_size < 150_000
    assert Image.open(path).text["Source"] == load_teacher()[1].teacher


def test_the_figure_of_the_calibration_is_drawn_from_the_committed_result_and_small():
    path = page.PLOTS / "calibration.png"
    assert path.stat().st_size < 150_000
    assert Image.open(path).text["Source"] == runs.key(load_study(KNOWLEDGE))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_results_are_of_the_runs_that_the_code_would_do(profile):
    record, (name, _, _) = page.load(profile), profile.partition("-")
    there = [line["row"] for line in record["rows"]]
    assert there == [id for id in page.expected(profile) if id in there] != []
    runs = {run["key"] for run in record["runs"]}
    wanted = {id: set(missing(ROWS[id].jobs(name).values())) for id in there}
    assert {id: keys - runs for id, keys in wanted.items()} == {id: set() for id in there}
    assert runs == set().union(*wanted.values())
    minutes = {"cpu": 110, "cpu-speech": 90}.get(profile)
    if minutes is not None:
        assert sum(run["seconds"] for run in record["runs"]) < minutes * 60 * 2


@pytest.mark.parametrize("profile", PROFILES)
def test_an_interval_of_one_more_run_is_of_five_runs_or_more(profile):
    for line in page.load(profile)["rows"]:
        assert line["seeds"] >= 5 or not line["interval"].startswith("one more run")


# ---- a page of made-up results ---------------------------------------------------------------------------------------


def made_up(*ids, **changes):
    """Results of these rows: the first half reproduced, the others references."""
    rows = [
        {"row": id, "claim": f"claim of {id}", "paper": "1", "ours": "2", "verdict": verdict, "why": f"because of {id}",
         "numbers": {}, "interval": "", "seeds": 5, "command": f"python -m minikd.paper {id}", "seconds": 61.0}
        for id, verdict in zip(ids, ["reproduced"] * (len(ids) // 2) + ["reference"] * len(ids), strict=False)
    ]  # fmt: skip
    machine = {"device": "a processor", "cores": 2, "python": "3.11"}
    runs = [{"key": "a", "seconds": 60.0, "machine": 0}, {"key": "b", "seconds": 120.0}]
    return {"command": "python -m minikd.paper", "machines": [machine], "rows": rows, "runs": runs} | changes


@pytest.fixture
def results(monkeypatch):
    """The results that the page finds, by profile: every row on two cores, and none of a card."""
    found = {profile: made_up(*page.expected(profile)) for profile in ("cpu", "cpu-speech")}
    monkeypatch.setattr(page, "load", found.get)
    return found


def test_the_scoreboard_shows_the_interval_and_the_number_of_seeds():
    record = made_up("M1", "M2")
    record["rows"][0] |= {"interval": "one more run: [57.1, 74.9] errors", "seeds": 7}
    text = page.scoreboard(record, "cpu")
    assert "| row | claim | the paper | ours | 95 % interval | seeds | verdict |" in text
    assert "| M1 | claim of M1 | 1 | 2 | one more run: [57.1, 74.9] errors | 7 | reproduced |" in text
    assert "| M2 | claim of M2 | 1 | 2 | – | 5 | reference |" in text
    counts = "1 reproduced, 0 reproduced in direction, 0 not reproduced"
    assert f"Of 1 claims: {counts}; beside them, 1 row for reference." in text
    assert (
        "`python -m minikd.paper`: 2 runs, 3 minutes of processor time in total; a processor, 2 cores; python 3.11."
        in text
    )


def test_rows_that_are_not_there_wait_and_so_do_their_figures(results):
    results["cpu"] = record = made_up(*[id for id in page.expected("cpu") if id not in ("M1", "P6")])
    assert "Waiting for a run: M1, P6." in page.scoreboard(record, "cpu")
    assert "Waiting" not in page.scoreboard(made_up(*page.expected("cpu")), "cpu")
    shown = page.section(["students"], record, "cpu")
    assert "this figure waits for a run of M1" in shown
    assert "![" not in shown
    assert "- **M2, reproduced**: because of M2." in shown
    assert {("cpu", "map"), ("cpu", "students"), ("cpu", "specialists")} & set(page.pictures(TEXT)) == {("cpu", "map")}


def test_what_people_say_is_not_counted_among_the_claims():
    record = made_up("M1", "N1")
    record["rows"][1]["verdict"] = "reproduced"
    claims, readings = page.scoreboard(record, "cpu").split("What people say")
    assert "Of 1 claims: 1 reproduced" in claims
    assert "| M1 |" in claims
    assert "| N1 |" not in claims
    assert "| N1 |" in readings


def test_every_row_has_its_reason_once_on_the_page(results):
    text = page.fill(TEXT)
    for id in ROWS:
        assert len(re.findall(rf"^- \*\*{id}, \w+\*\*: because of {id}\.", text, re.M)) == 1
    assert text.count("\n![") == len(FIGURES) + 1  # the calibration


def test_a_table_of_a_row_stands_below_its_figures_with_the_rows_name():
    record = made_up("E6", "E9")
    record["rows"][1]["numbers"] = {"table": {"head": ["", "hard"], "rows": [["rate", "0.1"], ["size", "3"]]}}
    shown = page.section(["gradients"], record, "cpu")
    table = "**E9** in detail:\n\n|  | hard |\n| --- | --- |\n| rate | 0.1 |\n| size | 3 |"
    assert shown.endswith(table)
    assert shown.index("plots/cpu-gradients.png") < shown.index("- **E9,") < shown.index(table)
    assert "**E6** in detail" not in shown


def test_the_page_takes_in_the_results_of_a_card_when_they_come(results):
    text = page.fill(TEXT)
    waiting = re.search(r"Waiting for a run on a card. This command makes it: `(.*)`", text)
    args = build_parser().parse_args(waiting[1].split()[3:])
    assert (args.rows, args.profile, args.gpu) == ([], "full", True)
    assert page.ROOT / args.write == page.RESULTS / "full.json"
    assert "plots/full-" not in text
    results["full"] = made_up("M1", "M2", "M3", "S1")
    text = page.fill(text)
    assert waiting[0] not in text
    assert text.count("| M2 | claim of M2 |") == 2
    assert re.findall(r"!\[.*\]\(plots/full-(\w+)\.png\)", text) == ["students"]
    assert ("full", "students") in page.pictures(text)
    del results["full"]
    assert page.fill(text) == page.fill(TEXT)


def test_the_page_says_which_runs_were_done_on_which_machine():
    record = made_up("M1")
    record["machines"] = [{"device": "card A", "cores": 8, "cuda": 13}, {"device": "card B", "cores": 4, "cuda": 12}]
    record["runs"] = [{"seconds": 60.0, "machine": number} for number in (0, 0, 1)]
    assert "2 runs on card A, 8 cores; cuda 13; 1 runs on card B, 4 cores; cuda 12." in page.scoreboard(record, "full")


# ---- the command -----------------------------------------------------------------------------------------------------


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
