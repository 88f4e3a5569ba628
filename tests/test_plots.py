"""The figures show what they were given: every bar, curve and word is read back and recomputed here."""

import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text
from PIL import Image

from minikd import plots
from minikd.plots import canvas
from minikd.theory.statistics import Interval
from minikd.training.answers import choose_ambiguous


def naive_softmax(z, T):
    powers = [math.exp(z_i / T) for z_i in z]
    return [power / sum(powers) for power in powers]


def naive_entropy(z):
    return -sum(q * math.log(q) for q in naive_softmax(z, 1.0))


def examples(n=3, K=10, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
    return images, np.arange(n) % K, 4 * rng.normal(size=(n, K))


def records(*errors, cost=1.0):
    return [
        {"epoch": epoch, "cost": cost / epoch, "errors": wrong, "learning_rate": 0.1}
        for epoch, wrong in enumerate(errors, start=1)
    ]


def heights(panel):
    return [bar.get_height() for bar in panel.patches]


def words(panel):
    return [text.get_text() for text in panel.texts]


# The dark knowledge


@pytest.mark.slow
@pytest.mark.parametrize("T", [0.5, 1.0, 8.0, 20.0])
def test_bars_are_the_softmax_at_one_and_at_T(T):
    images, labels, logits = examples()
    axes = plots.dark_knowledge(images, labels, logits, T).axes
    for row, z in enumerate(logits):
        assert heights(axes[4 * row + 1]) == pytest.approx(naive_softmax(z, 1.0), rel=1e-12)
        assert heights(axes[4 * row + 2]) == pytest.approx(naive_softmax(z, T), rel=1e-12)


@pytest.mark.slow
def test_the_chart_at_one_is_logarithmic_and_reaches_below_its_smallest_bar():
    images, labels, logits = examples()
    for sharp, soft in zip(
        *(plots.dark_knowledge(images, labels, logits, 8.0).axes[i::4] for i in (1, 2)), strict=True
    ):
        assert (sharp.get_yscale(), soft.get_yscale()) == ("log", "linear")
        assert sharp.get_ylim()[0] < min(heights(sharp))
        assert soft.get_ylim()[1] > max(heights(soft))


@pytest.mark.slow
def test_the_image_is_shown_as_given():
    images, labels, logits = examples()
    axes = plots.dark_knowledge(images, labels, logits, 8.0).axes
    for row, image in enumerate(images):
        np.testing.assert_array_equal(axes[4 * row].images[0].get_array(), image)


def test_the_true_class_and_the_likeliest_wrong_one_have_colours_of_their_own():
    images, _, _ = examples(n=1)
    figure = plots.dark_knowledge(images, np.array([2]), np.array([[0.0, 3.0, 5.0, -1.0]]), 8.0)
    figure_colours = [bar.get_facecolor() for bar in figure.axes[2].patches]
    assert figure_colours[0] == figure_colours[3]
    assert len(set(figure_colours)) == 3


def test_the_words_name_the_likeliest_wrong_class_and_its_lead_over_the_least_likely():
    images, _, _ = examples(n=1)
    logits = np.array([[math.log(2e6), 9.0, 20.0, 0.0]])  # 2: the true class; then 0, and last 3
    lines = words(plots.dark_knowledge(images, np.array([2]), logits, 4.0).axes[3])
    assert lines == [
        "true class: 2",
        "likeliest wrong answer: 0",
        "likelier than 3, the least likely,",
        "2 × 10⁶ times at T = 1,",
        "38 times at T = 4",  # (2·10⁶)^(1/4) = 37.6
    ]


def test_with_two_classes_there_is_one_wrong_answer_and_nothing_to_compare_it_with():
    images, labels, logits = examples(n=1, K=2)
    assert words(plots.dark_knowledge(images, labels, logits, 8.0).axes[3]) == [
        "true class: 0",
        "likeliest wrong answer: 1",
    ]


@pytest.mark.slow
def test_a_probability_too_small_for_a_float_is_drawn_without_a_warning(tmp_path):
    images, _, _ = examples(n=1)
    figure = plots.dark_knowledge(images, np.array([0]), np.array([[2000.0, 1000.0, 0.0]], np.float32), 20.0)
    assert words(figure.axes[3])[3] == "2 × 10⁴³⁴ times at T = 1,"
    plots.save(figure, tmp_path / "extreme.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 28, 28), np.uint8)}, r"images must be uint8 .* n = 3 .*got uint8 \(2, 28, 28\): pass"),
        ({"images": np.zeros((3, 28, 28))}, r"images must be uint8 .*got float64"),
        ({"images": np.zeros((3, 784), np.uint8)}, r"images must be uint8 of shape \(n, rows, cols\)"),
        ({"labels": np.array([0, 1])}, r"labels must have shape \(3,\), one label per case, .*got \(2,\)"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "labels must hold integer labels, got float64"),
        ({"labels": np.array([0, 1, 10])}, "labels must hold labels in 0 … K − 1 = 9, .*got 10"),
        ({"labels": np.array([0, 1, -1])}, "labels must hold labels in 0 … K − 1 = 9, .*got -1"),
        ({"logits": np.zeros(10)}, r"logits must have shape \(N, K\) with N ≥ 1, K ≥ 2, got \(10,\)"),
        ({"logits": np.zeros((3, 1)), "labels": np.zeros(3, int)}, r"logits must have shape .* K ≥ 2, got \(3, 1\)"),
        ({"logits": np.full((3, 10), np.nan)}, "logits must be finite, got inf or nan"),
        ({"T": 0.0}, "T must be a finite number > 0, got 0.0"),
    ],
)
def test_dark_knowledge_refuses_what_does_not_fit_and_says_why(change, message):
    images, labels, logits = examples()
    with pytest.raises((ValueError, TypeError), match=message):
        plots.dark_knowledge(**{"images": images, "labels": labels, "logits": logits, "T": 8.0, **change})


# Choosing examples


def test_chosen_examples_are_rightly_classified_and_the_most_ambiguous_of_their_class():
    _, labels, logits = examples(n=400)
    logits[np.arange(400), labels] += 3.0
    chosen = choose_ambiguous(logits, labels, 10)
    assert labels[chosen].tolist() == list(range(10))
    for k, index in enumerate(chosen):
        right = [i for i in range(400) if labels[i] == k and logits[i].argmax() == k]
        assert 0 < len(right) < 40  # the case is a real one: some of the class are classified wrongly
        assert index == max(right, key=lambda i: naive_entropy(logits[i]))


def test_fewer_examples_than_classes_are_the_most_ambiguous_of_all_classes():
    logits = np.array([[9.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.5]])
    assert choose_ambiguous(logits, np.array([0, 1, 2, 2]), 2).tolist() == [1, 2]  # not 2 and 3


def test_more_examples_than_classes_take_the_second_of_each_class_before_any_third():
    logits = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [0.0, 8.0], [0.0, 7.0]])
    assert choose_ambiguous(logits, np.array([0, 0, 0, 1, 1]), 4).tolist() == [0, 1, 4, 3]


def test_equally_ambiguous_examples_come_in_their_order():
    assert choose_ambiguous(np.tile([1.0, 0.0], (50, 1)), np.zeros(50, int), 5).tolist() == [0, 1, 2, 3, 4]


def test_a_certain_example_has_entropy_zero_and_not_nan():
    logits = np.array([[5000.0, 0.0], [1.0, 0.0]])
    assert choose_ambiguous(logits, np.array([0, 0]), 2).tolist() == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, -1, 2])
def test_a_count_that_cannot_be_met_is_refused(count):
    with pytest.raises(ValueError, match=f"from 1 to the 1 correctly classified examples, got {count}: ask for fewer"):
        choose_ambiguous(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), count)


# Learning curves

HISTORIES = {
    "teacher": records(400, 120, 90, 67),
    "student alone": records(300, 200, 146),
    "student distilled": records(250, 110, 74, cost=900.0),
}


def test_curves_hold_the_values_of_the_records():
    errors, *costs = plots.learning_curves(HISTORIES).axes
    assert len(costs) == len(HISTORIES)
    lines = {line.get_label(): line for line in errors.lines}
    for panel, (name, history) in zip(costs, HISTORIES.items(), strict=True):
        assert name in panel.get_title(loc="left")
        for line, key in ((lines[name], "errors"), (panel.lines[0], "cost")):
            assert line.get_xdata().tolist() == [record["epoch"] for record in history]
            assert line.get_ydata().tolist() == [record[key] for record in history]


def test_each_line_ends_in_its_final_value_and_name():
    figure = plots.learning_curves(HISTORIES, evaluated_on="held-out")
    assert sorted(words(figure.axes[0])) == ["146  student alone", "67  teacher", "74  student distilled"]
    assert "held-out" in figure.axes[0].get_ylabel()


def test_a_network_has_one_colour_in_all_panels_and_no_other_network_has_it():
    errors, *costs = plots.learning_curves(HISTORIES).axes
    colours = [panel.lines[0].get_color() for panel in costs]
    assert [line.get_color() for line in errors.lines[:3]] == colours
    assert len(set(colours)) == 3


@pytest.mark.slow
def test_labels_of_equal_ends_do_not_overlap():
    figure = plots.learning_curves({f"network {i}": records(300, 70) for i in range(3)})
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(label) for label in figure.axes[0].texts]  # without the leading line
    boxes.sort(key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))


@pytest.mark.slow
@pytest.mark.parametrize(
    "history", [records(412), records(0, 0), records(5, 0), records(3, 3, cost=0.0), records(90, 89)]
)
def test_short_flat_and_zero_histories_are_drawn_without_a_warning(history, tmp_path):
    plots.save(plots.learning_curves({"network": history}), tmp_path / "curves.png")


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ({}, "histories must name at least one network, got none: pass"),
        ({"teacher": []}, "at least one record, got none for 'teacher': train it"),
        (
            {"teacher": [{"epoch": 1, "cost": 0.5}]},
            r"must have 'errors', got \['cost', 'epoch'\] in record 1 of 'teacher'",
        ),
        ({"teacher": records(5, 4, cost=math.nan)}, "cost must be finite, got nan in record 1 of 'teacher': drop"),
    ],
)
def test_learning_curves_refuse_what_cannot_be_drawn_and_say_why(histories, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curves(histories)


# The files, and the house's ways


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw", [lambda: plots.learning_curves(HISTORIES), lambda: plots.dark_knowledge(*examples(10), 8.0)]
)
def test_a_saved_figure_is_small_at_150_dpi_and_the_same_bytes_twice(draw, tmp_path):
    for name in ("a.png", "b.png"):
        plots.save(draw(), tmp_path / name)
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert len(data) < 300_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]  # no temporary file is left
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert set(image.info) == {"dpi"}  # no date, no software
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
        shown = {colour for _, colour in image.convert("RGB").getcolors(256)}
    assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= shown  # packing the colours leaves the palette as it is


def test_a_file_that_would_not_be_a_png_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.png"):
        plots.save(plots.learning_curves(HISTORIES), tmp_path / "curves.pdf")


@pytest.mark.slow
def test_drawing_changes_no_setting_of_matplotlib_and_no_argument():
    before = dict(matplotlib.rcParams)
    arguments = examples()
    copies = [array.copy() for array in arguments]
    plots.learning_curves(HISTORIES)
    plots.dark_knowledge(*arguments, 8.0)
    assert dict(matplotlib.rcParams) == before
    for array, copy in zip(arguments, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.slow
def test_no_text_is_smaller_than_ten_points():
    for figure in (plots.learning_curves(HISTORIES), plots.dark_knowledge(*examples(), 8.0)):
        for panel in figure.axes:
            texts = [
                *panel.texts,
                panel.xaxis.label,
                panel.yaxis.label,
                *panel.get_xticklabels(),
                *panel.get_yticklabels(),
            ]
            assert min(text.get_fontsize() for text in texts) >= 10


@pytest.mark.slow
def test_pyplot_is_never_imported(tmp_path):
    program = (
        "import sys; from minikd import plots; "
        "plots.save(plots.learning_curves({'a': [dict(epoch=1, cost=1.0, errors=5)]}), sys.argv[1]); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.png")], check=True)


# Whatever the user's settings


DRAW = """
import hashlib, sys
from pathlib import Path
from minikd import plots
from minikd.training.answers import choose_ambiguous
figure = plots.learning_curves({"a": [dict(epoch=1, cost=1.0, errors=5), dict(epoch=2, cost=0.5, errors=3)]})
plots.save(figure, sys.argv[1])
print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""
SHOW = """
figure.canvas.print_figure(sys.argv[1], dpi=72, bbox_inches="tight")  # as a notebook shows it
print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""
NO_HOME = """
import os, pwd
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
os.environ.pop("HOME", None)
"""


def drawn(program: str, folder, **environment: str) -> list[str]:
    """The digests of the files that the program draws in this working directory."""
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder / "a.png")],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return drawn(DRAW + SHOW, tmp_path_factory.mktemp("undisturbed"))


RESTYLED = b"text.usetex: True\nfont.size: 30\naxes.facecolor: red\nsavefig.dpi: 20\nxtick.labelsize: 3\n"
WRONG = b"figure.dpi: nonsense\nno such line\nno.such: 1\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "place"),
    [(RESTYLED, "here"), (RESTYLED + WRONG, "home"), (b"\xff\xfe not text", "here"), (b"\xff\xfe not text", "home")],
    ids=["restyled", "wrong", "undecodable, here", "undecodable"],
)
def test_no_matplotlibrc_breaks_or_restyles_a_figure_saved_or_shown(settings, place, tmp_path, undisturbed):
    folder = tmp_path / place
    folder.mkdir()
    (folder / "matplotlibrc").write_bytes(settings)
    environment = {"MPLCONFIGDIR": str(folder)} if place == "home" else {}
    where = tmp_path if place == "home" else folder
    assert drawn(DRAW + SHOW, where, **environment) == undisturbed


@pytest.mark.slow
def test_figures_need_no_folder_for_settings(tmp_path, undisturbed):
    (tmp_path / "file").write_text("")
    assert drawn(DRAW + SHOW, tmp_path, MPLCONFIGDIR=str(tmp_path / "file" / "none")) == undisturbed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no passwd")
def test_figures_need_no_home(tmp_path, undisturbed):
    assert drawn(NO_HOME + DRAW + SHOW, tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("module", ["minikd.plots", "minikd.plots.speech", "minikd.paper.figures", "benchmarks.report"])
def test_a_backend_that_is_not_installed_does_not_matter(module, tmp_path, undisturbed):
    root = str(Path(__file__).parent.parent)
    program = f"import sys; sys.path.insert(0, {root!r}); import {module}\n"
    program += "import os; assert os.environ['MPLBACKEND'] == 'nonsense'\n"
    assert drawn(program + DRAW + SHOW, tmp_path, MPLBACKEND="nonsense") == undisturbed


def test_drawing_leaves_the_settings_of_the_user_as_they_are():
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        figure = plots.learning_curves(HISTORIES)
        figure.canvas.draw()
        assert dict(matplotlib.rcParams) == before


# The ratio of a gradient to the truth


def test_the_ratio_plot_holds_the_ratio_of_every_element_that_has_one():
    truth = np.array([[1.0, -2.0, 0.0], [0.5, 4.0, -1.0]])
    yours = np.array([[3.0, -2.0, 1.0], [1.5, 12.0, np.nan]])
    panel = plots.gradient_ratio(yours, truth, name="dz").axes[0]
    right, wrong = (points.get_offsets().tolist() for points in panel.collections)
    assert right == [[-2.0, 1.0]]
    assert wrong == [[1.0, 3.0], [0.5, 3.0], [4.0, 3.0]]
    assert panel.get_title(loc="left") == "dz: 1 of 6 elements right, 2 left out"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("the true dz", "yours / truth")
    assert panel.collections[0].get_facecolor().tolist() != panel.collections[1].get_facecolor().tolist()
    assert not np.array_equal(*(points.get_paths()[0].vertices for points in panel.collections))  # nor the same form


@pytest.mark.slow
@pytest.mark.parametrize(
    "yours", [np.ones(3), np.zeros(3), np.full(3, np.nan), np.array([1.0, 1e9, -1e9]), np.array([1.0, 2.0, 3.0])]
)
def test_the_ratio_plot_of_any_gradient_is_drawn_without_a_warning(yours, tmp_path):
    plots.save(plots.gradient_ratio(yours, np.array([1.0, 2.0, 0.0])), tmp_path / "ratio.png")


@pytest.mark.parametrize(
    ("yours", "truth", "message"),
    [
        (np.ones(3), np.ones((3, 1)), r"yours must have the truth's shape, \(3, 1\), got \(3,\): fix that first"),
        (np.ones(2), np.array([1.0, np.inf]), "truth must be finite"),
    ],
)
def test_the_ratio_plot_refuses_what_cannot_be_drawn_and_says_why(yours, truth, message):
    with pytest.raises(ValueError, match=message):
        plots.gradient_ratio(yours, truth)


# ---- the figures of the notebooks ------------------------------------------------------------------------------------


def test_digits_draws_each_image_with_its_caption():
    images = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)
    panels = plots.digits(images, ["a", "b", "c"], columns=2).axes
    assert [panel.get_title() for panel in panels] == ["a", "b", "c"]
    for panel, image in zip(panels, images, strict=True):
        assert np.array_equal(panel.images[0].get_array(), image)


@pytest.mark.parametrize(
    ("images", "captions", "message"),
    [
        (np.zeros((0, 4, 4), np.uint8), (), r"with n > 0, got uint8 \(0, 4, 4\)"),
        (np.zeros((1, 4, 4)), (), "got float64"),
        (np.zeros((2, 4, 4), np.uint8), ["one"], "one per image, 2, or none, got 1"),
    ],
)
def test_digits_refuses_what_it_cannot_draw(images, captions, message):
    with pytest.raises(ValueError, match=message):
        plots.digits(images, captions)


def test_distributions_share_an_axis_and_colour_what_matters():
    q = np.array([0.1, 0.7, 0.15, 0.05])
    figure = plots.distributions({"sharp": q, "soft": np.full(4, 0.25)}, true_class=1, image=np.zeros((4, 4), np.uint8))
    picture, sharp, soft = figure.axes
    assert picture.images
    assert [bar.get_height() for bar in sharp.patches] == q.tolist()
    colours = [to_hex(bar.get_facecolor()).upper() for bar in sharp.patches]
    assert colours == [canvas.OTHER_WRONG, canvas.TRUE_CLASS, canvas.LIKELIEST_WRONG, canvas.OTHER_WRONG]
    assert sharp.get_ylim() == soft.get_ylim()
    log = plots.distributions({"one": q}, log=True, ylabel="share").axes[0]
    assert log.get_yscale() == "log"
    assert log.get_ylabel() == "share, log scale"
    assert log.get_ylim()[0] < 0.05


@pytest.mark.parametrize("rows", [{}, {"a": np.ones(3), "b": np.ones(4)}, {"a": np.ones((2, 2))}])
def test_distributions_are_over_the_same_classes(rows):
    with pytest.raises(ValueError, match="over the same K classes"):
        plots.distributions(rows)


def test_curves_draw_means_bands_and_marked_places():
    x, mean, sd = np.array([1.0, 10.0, 100.0]), np.array([5.0, 3.0, 4.0]), np.array([1.0, 0.5, 0.25])
    figure = plots.curves(
        x, {"plain": 2 * mean, "with a band": (mean, sd)}, "T", "errors", title="A title", logx=True,
        marks={"T = 8": 8.0}, horizontals={"teacher": 2.0},
    )  # fmt: skip
    (panel,) = figure.axes
    assert panel.lines[0].get_ydata().tolist() == [10.0, 6.0, 8.0]
    assert panel.lines[0].get_linestyle() != panel.lines[1].get_linestyle()
    band = panel.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 2.5
    assert band[:, 1].max() == 6.0
    assert panel.lines[2].get_xdata() == [8.0, 8.0]
    assert panel.lines[3].get_ydata() == [2.0, 2.0]
    assert [text.get_text() for text in panel.texts] == ["T = 8", "teacher"]
    assert (panel.get_xscale(), panel.get_yscale(), panel.get_title(loc="left")) == ("log", "linear", "A title")


def test_no_axis_of_probability_reaches_beyond_one():
    sure = np.array([1.0 - 1e-9, 1e-9])
    for log in (False, True):
        assert plots.distributions({"sure": sure}, log=log).axes[0].get_ylim()[1] == 1
    logits = np.array([[0.0, 20.0]])
    _, sharp, soft, _ = plots.dark_knowledge(np.zeros((1, 4, 4), np.uint8), np.array([1]), logits, 1.0).axes
    assert (sharp.get_ylim()[1], soft.get_ylim()[1]) == (1, 1)


def test_distributions_say_what_their_colours_mean():
    figure = plots.distributions({"one": np.array([0.1, 0.7, 0.2])}, true_class=1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["the true class", "the highest other"]
    assert plots.distributions({"one": np.array([0.1, 0.7, 0.2])}).legends == []


@pytest.mark.parametrize("logx", [False, True])
def test_curves_of_a_few_points_have_a_dot_and_a_tick_at_each(logx):
    (panel,) = plots.curves([1, 2, 4, 8, 12, 20, 40], {"one": range(7)}, "T", "errors", logx=logx).axes
    assert [label.get_text() for label in panel.get_xticklabels()] == ["1", "2", "4", "8", "12", "20", "40"]
    assert panel.lines[0].get_marker() == "o"


def test_curves_name_a_horizontal_line_beside_the_panel_and_a_single_curve_in_the_legend():
    (panel,) = plots.curves(range(50), {"taught": range(50)}, "T", "errors", horizontals={"alone": 25.0}).axes
    panel.figure.draw_without_rendering()
    assert Text.get_window_extent(panel.texts[0]).x0 > panel.get_window_extent().x1
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["taught"]


def test_curves_refuse_what_has_no_x():
    with pytest.raises(ValueError, match="at least one line"):
        plots.curves([1, 2], {}, "x", "y")
    with pytest.raises(ValueError, match=r"the \(2,\) values of x, got \(3,\) for 'a'"):
        plots.curves([1, 2], {"a": [1, 2, 3]}, "x", "y")


def test_bars_give_three_digits_and_have_one_colour_because_names_tell_them_apart():
    (panel,) = plots.bars({"a": 4.9904, "b": 441.4, "c": 1329.0}, "errors").axes
    assert [text.get_text() for text in panel.texts] == ["4.99", "441", "1,329"]
    assert {to_hex(bar.get_facecolor()).upper() for bar in panel.patches} == {canvas.OKABE_ITO[0]}


def test_bars_show_values_spread_and_reference():
    figure = plots.bars({"a": 3.0, "b": 5.0}, "errors", spread={"a": 1.0}, reference={"b": 4.0})
    (panel,) = figure.axes
    assert [bar.get_height() for bar in panel.patches] == [3.0, 5.0]
    assert [text.get_text() for text in panel.texts] == ["3", "5"]
    assert panel.texts[0].get_position()[1] == 4.0, "above its error bar"
    assert any(list(line.get_ydata()) == [4.0, 4.0] for line in panel.lines)
    with pytest.raises(ValueError, match=r"got \['c'\]"):
        plots.bars({"a": 3.0}, "errors", spread={"c": 1.0})


def test_a_network_is_drawn_with_its_values_weights_and_gradients():
    layers = [(np.array([[1.5], [-0.5]]), np.zeros(1)), (np.array([[2.0]]), np.zeros(1))]
    values = [np.array([1.0, 2.0]), np.array([0.5]), np.array([1.0])]
    gradients = [(np.array([[0.25], [-0.75]]), np.zeros(1)), (np.array([[3.0]]), np.zeros(1))]
    (panel,) = plots.network_diagram(layers, values, gradients).axes
    words = [text.get_text() for text in panel.texts]
    assert words == ["1.50\n+0.25", "−0.50\n−0.75", "2.00\n+3.00", "1.00", "2.00", "0.50", "1.00", "x", "h", "z"]
    positive, negative = panel.lines[0], panel.lines[1]
    assert positive.get_linestyle() == "-"
    assert negative.get_linestyle() == "--"
    assert positive.get_linewidth() > negative.get_linewidth()
    with pytest.raises(ValueError, match="at most 8 units"):
        plots.network_diagram([(np.zeros((9, 1)), np.zeros(1))])
    with pytest.raises(ValueError, match="at most 8 units"):
        plots.network_diagram(layers, values[:2])
    with pytest.raises(ValueError, match="of the shapes"):
        plots.network_diagram(layers, values, gradients[:1])


def test_the_weights_of_a_network_stand_apart_and_only_on_their_own_lines():
    rng = np.random.default_rng(8)
    layers = [(rng.normal(size=(3, 4)), np.zeros(4)), (rng.normal(size=(4, 2)), np.zeros(2))]
    figure = plots.network_diagram(layers, gradients=layers)
    (panel,) = figure.axes
    figure.savefig(os.devnull, format="png")
    lines = [np.array(line.get_xydata()) for line in panel.lines[:20]]
    labels = panel.texts[:20]
    boxes = [label.get_window_extent().transformed(panel.transData.inverted()) for label in labels]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    for i, box in enumerate(boxes):
        heights = [np.interp((box.x0 + box.x1) / 2, *line.T, left=np.nan, right=np.nan) for line in lines]
        assert box.y0 < heights[i] < box.y1
        assert not any(box.y0 < height < box.y1 for height in heights[:i] + heights[i + 1 :])


# ---- several runs ----------------------------------------------------------------------------------------------------


def test_dots_show_every_run_and_yours_on_a_bar_from_limit_to_limit():
    runs, yours = {"alone": [140, 150, 160], "distilled": [100, 99]}, {"alone": 145, "distilled": 98}
    limits = {"alone": Interval(150, 120, 180), "distilled": Interval(99.5, 80, 119)}
    (panel,) = plots.dots(runs, yours, "errors", limits=limits).axes
    *columns, first, second = (np.asarray(drawn.get_offsets()) for drawn in panel.collections)
    assert [column[:, 1].tolist() for column in columns] == list(runs.values())
    assert [[first[0, 1], second[0, 1]], [text.get_text() for text in panel.texts]] == [[145, 98], ["145", "98"]]
    assert [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in panel.patches] == [(120, 180), (80, 119)]
    for bar, diamond in zip(panel.patches, (first, second), strict=True):
        assert bar.get_x() < diamond[0, 0] < bar.get_x() + bar.get_width()
    with pytest.raises(ValueError, match="runs, yours and limits must have the same names"):
        plots.dots(runs, yours, "errors", limits={"alone": limits["alone"]})
