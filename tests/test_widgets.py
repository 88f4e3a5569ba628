"""What a notebook does with its reader: predictions wait for an answer, sliders follow, pictures have words."""

import html
import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minikd import plots
from minikd.learn import chart, widgets

ipywidgets = pytest.importorskip("ipywidgets", reason="widgets need the extra notebooks")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The widgets that are shown, for a reader who can move them."""
    made: list[Any] = []
    monkeypatch.delenv(widgets.STATIC, raising=False)
    monkeypatch.setattr(widgets, "_show_widget", made.append)
    return made


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is shown where nobody can move a widget: as HTML and as text."""
    made: list[tuple[str, str]] = []
    monkeypatch.setenv(widgets.STATIC, "1")
    monkeypatch.setattr(widgets, "_display", lambda page, plain: made.append((page, plain)))
    return made


# ---- predictions -----------------------------------------------------------------------------------------------------


def test_the_result_of_a_prediction_waits_for_the_answer(shown: list[Any]) -> None:
    revealed: list[str] = []

    @widgets.predict("Does it rise?", "yes", ["yes", "no"])
    def answer() -> None:
        revealed.append("it does")

    question, field, button, words, _ = shown[0].children
    assert "Does it rise?" in question.value
    assert field.value is None
    assert button.disabled
    assert button.layout.width == "max-content", "or JupyterLab cuts its words off"
    assert revealed == []
    field.value = "no"
    assert not button.disabled
    button.click()
    assert revealed == ["it does"]
    assert "You said: no. In fact: yes." in words.value
    assert field.disabled
    assert button.disabled


def test_a_number_is_typed_and_compared(shown: list[Any]) -> None:
    widgets.predict("How many errors?", 100.0, unit="errors")(lambda: None)
    _, field, button, words, _ = shown[0].children
    assert field.description == "errors"
    field.value = "80"
    button.click()
    assert "You said 80 errors. It is 100 errors, so you were 20 % too low." in words.value


@pytest.mark.parametrize(("typed", "number"), [("0", 0.0), (" −1.5 ", -1.5), ("1e-4", 1e-4)])
def test_every_number_can_be_typed_also_zero(shown: list[Any], typed: str, number: float) -> None:
    widgets.predict("How much?", number)(lambda: None)
    _, field, button, words, _ = shown[0].children
    assert field.value == ""
    for other in ("", "much", "nan", "-"):
        field.value = other
        assert button.disabled
    field.value = typed
    assert not button.disabled
    button.click()
    assert "That is right." in words.value


@pytest.mark.parametrize("typed", ["banana", "45,5", "nan", "1e400"])
def test_what_is_no_number_is_answered_with_the_form_of_one(shown: list[Any], typed: str) -> None:
    widgets.predict("How many errors?", 100.0)(lambda: None)
    _, field, button, words, _ = shown[0].children
    field.value = typed
    assert button.disabled
    assert "Type one number, with a point for decimals" in words.value
    field.value = "45.5"
    assert not button.disabled
    assert words.value == ""


@pytest.mark.parametrize(
    ("guess", "truth", "close", "right", "words"),
    [
        (0.0, 0.0, 0.0, True, "You said 0. That is right."),
        (0.05, 0.0, 0.1, True, "You said 0.05. It is 0, so you were close."),
        (1.0, 0.0, 0.1, False, "You said 1. It is 0."),
        (-2.0, 2.0, 0.1, False, "You said -2. It is 2."),
        (150.0, 100.0, 0.1, False, "You said 150. It is 100, so you were 50 % too high."),
        (10.0, 100.0, 0.1, False, "You said 10. It is 100, so you were wrong by a factor of 10."),
        (1e-5, 2e-5, 0.1, False, "You said 1e-05. It is 2e-05, so you were 50 % too low."),
    ],
)
def test_a_number_gets_a_comment_that_says_how_close_it_was(
    guess: float, truth: float, close: float, right: bool, words: str
) -> None:
    assert widgets.comment(guess, truth, close) == (right, words)


def test_where_widgets_cannot_run_question_and_answer_are_folded(pages: list[tuple[str, str]]) -> None:
    pytest.importorskip("IPython")

    @widgets.predict("Is 1 < 2?", "yes", ["yes", "no"])
    def answer() -> None:
        print("1 < 2:", 1 < 2)

    page, plain = pages[0]
    before, folded = page.split("<details>")
    assert "Is 1 &lt; 2?" in before
    assert "<li>no</li>" in before
    assert "The answer" not in before
    assert "1 &lt; 2: True" in folded
    assert plain == "Predict: Is 1 < 2? (yes; no)\nThe answer: yes\n1 < 2: True"


@pytest.mark.parametrize(("truth", "choices"), [("maybe", ["yes", "no"]), ("yes", [])])
def test_a_truth_that_nobody_can_choose_is_refused(truth: str, choices: list[str]) -> None:
    with pytest.raises(ValueError, match="truth must be"):
        widgets.predict("?", truth, choices)


# ---- facts and figures -----------------------------------------------------------------------------------------------


def test_a_claim_that_does_not_hold_stops_the_notebook() -> None:
    with pytest.raises(AssertionError, match="this does not hold here: 1 is 2"):
        widgets.claim("1 is 2", 1 == 2)


def test_a_figure_is_shown_with_its_words(pages: list[tuple[str, str]]) -> None:
    widgets.show(plots.bars({"a": 1.0}, "errors"), 'One bar, "a".')
    page, plain = pages[0]
    assert plain == '[Figure: One bar, "a".]'
    found = re.search(r'alt="(.*?)"', page)
    assert found is not None
    assert html.unescape(found[1]) == 'One bar, "a".'
    assert 'src="data:image/png;base64,' in page


# ---- sliders ---------------------------------------------------------------------------------------------------------


def test_a_slider_draws_what_it_stands_at_while_it_moves(shown: list[Any]) -> None:
    widgets.explore(lambda **values: str(values), "Numbers.", T=[8, 1, 20], digit=[3])
    T, digit, picture = shown[0].children
    assert T.continuous_update
    assert picture.value == "{'T': 8, 'digit': 3}"
    T.value = 20
    assert picture.value == "{'T': 20, 'digit': 3}"
    assert [label for label, _ in T.options] == ["1", "8", "20"]
    assert T.style.description_width == "initial"
    assert T.layout.width == f"{chart.WIDTH}px"
    assert digit.description == "digit"


def test_where_nobody_can_move_a_slider_its_picture_stands_there(pages: list[tuple[str, str]]) -> None:
    widgets.explore(lambda T: chart.bars({"a": T}, 10, "errors"), "One bar.", T=[2, 1])
    page, plain = pages[0]
    assert plain == "[Chart: One bar.] T = 2"
    assert 'src="data:image/svg+xml;base64,' in page
    assert "Run this notebook" not in page


BARS: Any = {"top": 1.0, "ylabel": "probability", "roles": {"7": "true"}, "image": np.zeros((28, 28), np.uint8)}


@pytest.mark.parametrize(
    "draw",
    [
        lambda: chart.bars({str(k): k / 9 for k in range(10)}, **BARS),
        lambda: chart.lines([1, 10, 100], {"a < b": [1, 5, 200], "c": [3, 2, 1]}, (1, 100), "x", "y", log=True),
        lambda: chart.lines([-1, 0, 2], {"a": [1, -5, 2]}, (-5, 5), "x", "y", title="a & b"),
    ],
)
def test_a_chart_is_sound_svg_inside_its_frame_and_quick(draw: Callable[[], str]) -> None:
    root = ET.fromstring(draw())
    for rect in root.iter("{http://www.w3.org/2000/svg}rect"):
        y, height = float(rect.get("y", "nan")), float(rect.get("height", "nan"))
        assert height >= 0
        assert chart.TOP - 0.1 <= y <= y + height <= chart.HEIGHT - chart.BOTTOM + 0.1
    for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
        ys = [float(point.split(",")[1]) for point in str(line.get("points")).split()]
        assert chart.TOP - 0.1 <= min(ys) <= max(ys) <= chart.HEIGHT - chart.BOTTOM + 0.1
    times = []
    for _ in range(5):
        began = time.perf_counter()
        draw()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05  # 20 frames per second, if nothing else takes time


def test_taller_values_are_taller_bars() -> None:
    root = ET.fromstring(chart.bars({"a": 1, "b": 2}, 4, "errors"))
    heights = [float(rect.get("height", "nan")) for rect in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert heights[1] == pytest.approx(2 * heights[0])
    assert heights[1] == pytest.approx((chart.HEIGHT - chart.TOP - chart.BOTTOM) / 2, abs=0.1)


def test_values_above_bars_are_short_enough_to_stand_side_by_side() -> None:
    values = [0.00055, 2.6e-23, 0.0012, 0.5, 1.0, 0.0]
    root = ET.fromstring(chart.bars({str(k): value for k, value in enumerate(values)}, 1.0, "probability"))
    said = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for words in ("6e-4", "3e-23", "0.0012", "0.5", "1", "0"):
        assert words in said
