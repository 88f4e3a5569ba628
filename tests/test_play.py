"""The page to play with: it is one file that asks nobody, its digits are real, and its arithmetic is minikd's."""

import base64
import json
import math
import os
import re
import shutil
import webbrowser
from importlib import resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from minikd import distillation_loss, hard_cross_entropy, load_mnist, load_teacher, soft_cross_entropy, softmax
from minikd.core.losses import logit_matching
from minikd.core.softmax import log_softmax
from minikd.learn.digits import MISSING, SHIFTS, chosen, without_the_missing
from minikd.learn.play import main, page
from minikd.theory.limits import remainder_bound
from minikd.theory.priors import shift_classes

WRITTEN = Path(__file__).parent.parent / "docs" / "play.html"
DATA = json.loads((resources.files("minikd.learn") / "page" / "digits.json").read_text(encoding="utf-8"))
TEMPERATURES = [0.5, 1.0, 1.7, 2.0, 4.0, 8.0, 12.0, 20.0, 47.0, 100.0, 200.0]


# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_page_is_what_the_command_writes(tmp_path):
    main(["--write", str(tmp_path / "play.html")])
    assert (tmp_path / "play.html").read_bytes() == WRITTEN.read_bytes()


def test_the_page_is_one_small_file_that_asks_nobody_for_anything():
    text = page()
    assert len(text.encode()) < 400_000
    assert "@@" not in text
    assert "default-src 'none'" in text  # the browser would refuse, too
    assert len(re.findall("https?:", text)) == len(re.findall('<a href="https:', text))
    for asks in (" src=", "url(", "@import", "<link", "fetch(", "XMLHttpRequest", "import("):
        assert asks not in text


@pytest.mark.parametrize("there_is_one", [True, False])
def test_the_command_opens_the_page_or_says_where_it_is(monkeypatch, capsys, there_is_one):
    asked = []
    monkeypatch.setattr(webbrowser, "open", lambda address: asked.append(address) or there_is_one)
    main([])
    said = capsys.readouterr().out
    path = Path(re.search(r"open(?:ed)? (.+?)(?: in one)?\n", said)[1])
    assert asked == [path.as_uri()]
    assert path.read_text(encoding="utf-8") == page()
    assert said.startswith("opened" if there_is_one else "there is no browser here")
    shutil.rmtree(path.parent)


# ---- the digits ------------------------------------------------------------------------------------------------------


def test_the_digits_are_test_digits_with_the_shipped_teachers_logits():
    _, test_set = load_mnist()
    v = np.asarray(load_teacher()[1].logits, np.float64)
    assert [digit["n"] for digit in DATA["digits"]] == chosen(v, test_set.labels)
    for digit in DATA["digits"]:
        n = digit["n"]
        assert digit["y"] == test_set.labels[n]
        assert base64.b64decode(digit["pixels"]) == test_set.images[n].tobytes()
        np.testing.assert_allclose(digit["z"], v[n], rtol=0, atol=0.6e-4)


def test_there_are_sixty_and_the_teacher_doubts_some_and_gets_some_wrong():
    surest = [softmax(np.array([digit["z"]])).max() for digit in DATA["digits"]]
    wrong = [digit for digit in DATA["digits"] if np.argmax(digit["z"]) != digit["y"]]
    assert len(DATA["digits"]) == 60
    assert 20 <= sum(one < 0.9 for one in surest) <= 30
    assert 5 <= len(wrong) <= 10


def test_the_counts_of_a_shift_are_those_of_the_shifted_answers():
    rng = np.random.default_rng(0)
    _, test_set = load_mnist()
    some = test_set.take(range(500))
    z = rng.normal(size=(500, 10)) * 3
    z[:, MISSING] -= 3
    found = without_the_missing(some, z, honest=1.234)
    assert (found["honest"], found["threes"]) == (1.23, int(np.sum(some.labels == 3)))
    for s in (-2.0, 0.0, 3.1, 8.0):
        errors = missed = called = 0
        for row, y in zip(z, some.labels, strict=True):
            said = max(range(10), key=lambda k: row[k] + (s if k == 3 else 0))
            errors, missed, called = errors + (said != y), missed + (y == 3 != said), called + (said == 3 != y)
        assert found["counts"][SHIFTS.index(s)] == [errors, missed, called]
    for digit in found["digits"]:
        assert np.argmax(digit["z"]) != 3  # without a shift
        assert np.argmax(np.array(digit["z"]) + 8.0 * (np.arange(10) == 3)) == 3


def test_the_recorded_shift_without_labels_is_about_as_good_as_the_best():
    missing = DATA["missing"]
    errors = [counts[0] for counts in missing["counts"]]
    assert missing["shifts"] == SHIFTS
    assert errors[SHIFTS.index(round(missing["honest"], 1))] <= 1.1 * min(errors)
    assert errors[SHIFTS.index(0.0)] > 1.5 * min(errors)


# ---- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    reason = "needs Playwright for Python: python -m pip install 'minikd[browser]'"
    api = pytest.importorskip("playwright.sync_api", reason=reason)
    path = os.environ.get("MINIKD_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("needs Chromium: install it, or set MINIKD_CHROMIUM to its path")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser):
    """Open the page in a window of a given width, and check at the end that it made no request and no error."""
    tabs, asked, errors = [], [], []

    def open_page(width: int = 1280, touch: bool = False):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, has_touch=touch, is_mobile=touch, reduced_motion="reduce"
        )
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text))
        tab.goto(WRITTEN.as_uri())
        tabs.append(context)
        return tab

    yield open_page
    for context in tabs:
        context.close()
    assert asked == [WRITTEN.as_uri()] * len(tabs)
    assert errors == []


CASES = [
    {"z": z.tolist(), "v": digit["z"], "y": digit["y"], "T": T}
    for digit in DATA["digits"]
    for z in (np.zeros(10), np.random.default_rng(digit["n"]).normal(size=10) * 6, 0.9 * np.array(digit["z"]) + 1)
    for T in TEMPERATURES
]
COMPUTE = """cases => cases.map(({z, v, y, T}) => {
    const m = window.minikd, soft = m.softCrossEntropy(z, v, T), hard = m.hardCrossEntropy(z, y);
    const both = m.distillationLoss(z, {v, y, T, alpha: 0.3});
    const off = m.distillationLoss(z, {v, y, T, alpha: 0.3, balanced: false});
    return {
        log_q: m.logSoftmax(z, T), q: m.softmax(z, T), H: m.entropy(v, T), C: soft.C, dz: soft.dz, C_hard: hard.C,
        dz_hard: hard.dz, C_both: both.C, dz_both: both.dz, C_off: off.C, dz_off: off.dz,
        limit: m.limitGradient(z, v, T), bound: m.remainderBound(z, v, T),
        shifted: m.shiftClass(z, 3, T), next: m.descend(z, both.dz, 0.5),
    };
})"""


def ours(z, v, y, T):
    """What minikd says about a case: the same names as in `COMPUTE`."""
    z, v, y = np.array([z]), np.array([v]), np.array([y])
    C, dz = soft_cross_entropy(z, v=v, T=T)
    C_hard, dz_hard = hard_cross_entropy(z, y=y)
    C_both, dz_both = distillation_loss(z, v=v, y=y, T=T, alpha=0.3)
    centred = [u - u.mean() for u in (z, v)]
    return {
        "log_q": log_softmax(z, T), "q": softmax(z, T), "H": soft_cross_entropy(v, v=v, T=T)[0],
        "C": C, "dz": dz, "C_hard": C_hard, "dz_hard": dz_hard, "C_both": C_both, "dz_both": dz_both,
        "C_off": 0.3 * C + 0.7 * C_hard, "dz_off": 0.3 * dz + 0.7 * dz_hard,
        "limit": logit_matching(centred[0], v=centred[1])[1] / (10 * T**2),
        "bound": remainder_bound(z, v=v, T=T),
        "shifted": shift_classes(z, [3], T), "next": z - 0.5 * dz_both,
    }  # fmt: skip


@pytest.mark.slow
def test_the_arithmetic_is_minikds_for_every_digit_and_temperature(opened):
    found = opened().evaluate(COMPUTE, CASES)
    assert len(found) == 60 * 3 * len(TEMPERATURES)
    expected = [ours(**case) for case in CASES]
    assert set(found[0]) == set(expected[0])
    for name in expected[0]:
        theirs, mine = ([np.squeeze(one[name]) for one in answers] for answers in (found, expected))
        np.testing.assert_allclose(theirs, mine, rtol=1e-12, atol=1e-12, err_msg=name)


TEXTS = """() => [...document.querySelectorAll("svg text")].map((text) => {
    const {x, width} = text.getBBox(), {y} = text.getBoundingClientRect(), svg = text.ownerSVGElement;
    return {
        words: text.textContent, size: parseFloat(getComputedStyle(text).fontSize), left: x, right: x + width, y,
        tick: text.getAttribute("class") === "tick", svg: svg.id, whole: svg.clientWidth,
    };
})"""


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_fits_its_window_and_no_text_is_tiny_or_on_another(opened, width, log):
    tab = opened(width, touch=width < 500)
    tab.check("[value=log]" if log else "[value=linear]")
    set_T(tab, 8.0)
    tab.locator('#teacher[aria-label*="T = 8.0"]').wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    texts = tab.evaluate(TEXTS)
    assert len(texts) > 100
    for text in texts:
        assert text["size"] >= 12, text
        assert -8 <= text["left"] < text["right"] <= text["whole"] + 8, text
    ticks = sorted((one["svg"], round(one["y"]), one["left"], one["right"]) for one in texts if one["tick"])
    for (svg, y, _, right), (other, its_y, left, _) in pairwise(ticks):
        assert (svg, y) != (other, its_y) or left > right + 4, (svg, y)


@pytest.mark.slow
def test_every_picture_and_every_control_has_words(opened):
    tab = opened()
    silent = tab.evaluate(
        """() => [...document.querySelectorAll("[role=img], [role=group], [role=slider], [role=radiogroup]")]
            .filter((one) => !one.getAttribute("aria-label")).map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert silent == []
    before = tab.get_attribute("#teacher", "aria-label")
    set_T(tab, 8.0)
    tab.locator('#teacher[aria-label*="T = 8.0"]').wait_for()
    assert "7: 0.99998" in before


def set_range(tab, selector, value):
    tab.eval_on_selector(
        selector, "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", str(value)
    )


def set_T(tab, T):
    set_range(tab, "#T", round(1000 * math.log(T / 0.5) / math.log(400)))


def handle(tab, k):
    return tab.locator(f'#logits [data-class="{k}"]')


def value(tab, k):
    tab.evaluate("new Promise(requestAnimationFrame)")
    return float(handle(tab, k).get_attribute("aria-valuenow"))


@pytest.mark.slow
def test_a_logit_moves_with_the_mouse_a_finger_and_the_keyboard(opened):
    tab = opened(360, touch=True)
    handle(tab, 4).scroll_into_view_if_needed()
    tab.click("#fold")  # the guide may lie over it
    box = handle(tab, 4).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x + 3, y)
    tab.mouse.down()
    tab.mouse.move(x + 23, y)
    tab.mouse.move(x + 33, y)
    dragged = value(tab, 4)
    tab.mouse.up()
    assert dragged > 5
    assert value(tab, 4) == dragged
    tab.touchscreen.tap(x - 30, y)
    assert value(tab, 4) < -5
    handle(tab, 4).focus()
    tab.keyboard.press("Home")
    lowest = value(tab, 4)
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("PageUp")
    assert value(tab, 4) == lowest + 5.5
    assert value(tab, 5) == 0


@pytest.mark.slow
def test_a_reader_can_do_all_ten_stops_and_hears_what_they_did(opened):
    tab = opened()

    def steps(count):
        tab.evaluate("(count) => { for (let i = 0; i < count; i++) document.getElementById('step').click(); }", count)

    def choose(sign):
        tab.locator("#digits label", has_text=sign).first.locator("input").check(force=True)

    def drag_the_top_logit():
        top = int(re.search(r"Drag your (\d)", tab.inner_text("#ask"))[1])
        handle(tab, top).focus()
        tab.keyboard.press("PageUp")
        for _ in range(60):
            said = handle(tab, top).get_attribute("aria-valuetext").replace("−", "-")
            mine, teachers = (float(one) for one in re.findall(r"[+-][\d.]+", said))
            if abs(mine - teachers) < 0.5:
                return
            tab.keyboard.press("ArrowRight" if mine < teachers else "ArrowLeft")
            value(tab, top)

    deeds = [
        lambda: set_T(tab, 8),
        lambda: (set_T(tab, 1), tab.check("[value=log]")),
        lambda: set_T(tab, 200),
        lambda: (set_T(tab, 1), tab.check("[value=linear]"), choose("•")),
        drag_the_top_logit,
        lambda: (set_T(tab, 20), tab.uncheck("#student-figure ~ .controls [data-bind=balanced]")),
        lambda: (tab.check("#student-figure ~ .controls [data-bind=balanced]"), set_T(tab, 200)),
        lambda: (set_T(tab, 8), steps(60)),
        lambda: (choose("×"), steps(30), set_range(tab, "[data-bind=alpha]", 0.3), steps(30)),
        lambda: set_range(tab, "[data-bind=shift]", 5),
    ]
    answers = []
    for number, deed in enumerate(deeds, 1):
        tab.evaluate("new Promise(requestAnimationFrame)")
        assert tab.inner_text("#stop-number") == f"Stop {number}/10", "done before the reader did anything"
        deed()
        tab.locator("#stop-number", has_text=f"Stop {number}/10 ✓").wait_for()
        answers.append(tab.inner_text("#say"))
        tab.click("#next")
    assert all(re.search(r"\d", answer) for answer in answers)
    assert not any(re.search("undefined|NaN|null|Infinity", answer) for answer in answers)
    assert "It makes 355 errors." in answers[-1]


@pytest.mark.slow
def test_play_runs_until_it_is_paused_and_a_label_teaches_no_difference_between_wrong_classes(opened):
    tab = opened()
    set_T(tab, 8)
    tab.click("#play")
    tab.locator("#steps", has_text=re.compile(r"After ([2-9]\d|\d{3}) steps")).wait_for()
    tab.click("#play")
    tab.locator("#play", has_text=re.compile("^Play$")).wait_for()  # the page is drawn in the next frame
    said = [
        re.findall(r"(\d): ([+−]\d+\.\d)", tab.get_attribute(f"#{student}", "aria-label").split("The teacher’s:")[0])
        for student in ("hard", "soft")
    ]
    hard, soft = ({k: float(z.replace("−", "-")) for k, z in student} for student in said)
    assert len({z for k, z in hard.items() if k != "7"}) == 1
    assert len({z for k, z in soft.items() if k != "7"}) > 5
