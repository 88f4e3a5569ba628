"""The checks of the core: what each rule accepts and refuses, and that they run once, outside the mathematics."""

import contextlib
import inspect
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import strict_cupy
from hypothesis import given
from hypothesis import strategies as st

from minikd.core import guard as rules
from minikd.core.guard import (
    floats,
    guard,
    labels,
    like,
    logits,
    norm,
    optional,
    per_student,
    same_shape,
    temperature,
    unguarded,
    weight,
)
from minikd.core.losses import distillation_loss, soft_cross_entropy
from minikd.core.softmax import softmax
from minikd.data.images import Dataset
from minikd.engines.device import CPU
from minikd.training import loop
from minikd.training.config import TrainConfig
from minikd.training.loop import Run, train
from minikd.training.teacher import soft_targets

# ---- declaring -------------------------------------------------------------------------------------------------------


def positive(name, value, given):
    if value <= 0:
        raise ValueError(f"{name} must be > 0, got {value}")
    return float(value)


@guard(a=positive, b=positive)
def halves(a, *, b=2):
    """Return the halves of both."""
    return a / 2, b / 2


@guard(a=positive)
def through(a, b):
    return halves(a, b=b)


def test_a_rule_sees_what_comes_by_position_by_name_and_by_default():
    assert halves(3) == halves(a=3, b=2) == (1.5, 1.0)
    for call in (lambda: halves(0), lambda: halves(a=0), lambda: halves(1, b=0)):
        with pytest.raises(ValueError, match=r"^[ab] must be > 0, got 0$"):
            call()

    @guard(a=positive)
    def from_default(a=0):
        return a

    with pytest.raises(ValueError, match="a must be > 0, got 0"):
        from_default()


def test_the_function_gets_what_the_rule_returns():
    assert guard(a=lambda name, value, given: (name, value + 1))(lambda a: a)(1) == ("a", 2)


def test_rules_run_in_the_order_in_which_they_are_declared_and_see_what_the_earlier_ones_made():
    seen = []

    def note(name, value, given):
        seen.append((name, dict(given)))
        return value + 10

    guard(b=note, a=note)(lambda a, b: None)(1, 2)
    assert seen == [("b", {"a": 1, "b": 2}), ("a", {"a": 1, "b": 12})]


def test_what_the_function_does_not_take_is_refused_as_python_does():
    for arguments, message in (((), "halves.. missing 1 required"), ((1, 2), "halves.. takes 1 positional")):
        with pytest.raises(TypeError, match=message):
            halves(*arguments)


def test_a_guarded_function_shows_its_own_body_signature_and_words():
    assert "(q - p) / B" in inspect.getsource(soft_cross_entropy)  # test_readme.py holds the whole line, spaces and all
    assert str(inspect.signature(halves)) == "(a, *, b=2)"
    assert list(inspect.signature(soft_cross_entropy).parameters) == ["z", "v", "T"]
    assert (halves.__name__, halves.__doc__) == ("halves", "Return the halves of both.")
    assert halves.__wrapped__(0, b=0) == (0, 0)


# ---- where nothing is checked ----------------------------------------------------------------------------------------


def test_nothing_is_checked_again_inside_a_guarded_function():
    assert through(1, -4) == (0.5, -2.0)
    with pytest.raises(ValueError, match="b must be > 0"):
        halves(1, b=-4)  # and afterwards it is


def test_checks_go_on_after_a_guarded_function_fails():
    @guard(a=positive)
    def fails(a):
        raise KeyError(a)

    for error, a in ((KeyError, 1), (ValueError, 0), (ValueError, 0)):
        with pytest.raises(error):
            fails(a)
    with pytest.raises(ValueError, match="a must be > 0"):
        halves(0)


def test_nothing_is_checked_unguarded_until_its_block_ends():
    with unguarded():
        assert halves(-2) == (-1.0, 1.0)
        with unguarded(), unguarded(False):  # False changes nothing
            assert halves(-2) == (-1.0, 1.0)
        assert halves(-2) == (-1.0, 1.0)
    with pytest.raises(ValueError, match="a must be > 0"):
        halves(-2)
    with unguarded(False), pytest.raises(ValueError, match="a must be > 0"):
        halves(-2)


def test_unguarded_ends_with_its_block_after_an_exception_too():
    with contextlib.suppress(KeyError), unguarded():
        raise KeyError
    with pytest.raises(ValueError, match="a must be > 0"):
        halves(-2)


def test_a_cost_checks_its_own_arguments_and_not_those_of_its_softmaxes(monkeypatch):
    counts = count_checks(monkeypatch)
    z = np.zeros((4, 3))
    soft_cross_entropy(z, v=z, T=2.0)
    assert counts == ["z", "v"]


# ---- the rules -------------------------------------------------------------------------------------------------------

Z = np.zeros((2, 4, 3))  # two students, four cases, three classes
STUDENTS = np.ones((2, 1, 1))

ACCEPTED = {
    "floats": (floats, [Z, np.zeros(()), np.zeros((0, 7))]),
    "logits": (logits, [Z, np.zeros((1, 1))]),
    "like": (like("z"), [Z, Z[0], Z[:1]]),
    "same_shape": (same_shape("z"), [Z]),
    "labels": (labels("z"), [np.full((2, 4), 2), np.zeros(4, np.uint8), np.zeros((1, 4), np.int8)]),
    "optional": (optional(same_shape("z")), [None, Z]),
    "norm": (norm, [1, 0.5, np.float32(2), 1e308]),
    "temperature": (temperature("z"), [1, 1e-300, 1e300, STUDENTS, STUDENTS[0], STUDENTS[:1]]),
    "temperature of a population of its own": (temperature(), [np.ones((5, 1, 1))]),
    "weight": (weight("z"), [0, 1, 0.5, 0 * STUDENTS, STUDENTS]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_rule_accepts_and_gives_on(name):
    rule, values = ACCEPTED[name]
    for value in values:
        got = rule("x", value, {"z": Z, "x": value})
        if isinstance(value, np.ndarray) or value is None:
            assert got is value
        else:
            assert type(got) is float, "so that it promotes no array"
            assert got == value


ORDER = "x must be float32 or float64, got int64: convert it with astype"
OTHER = "z is float64 but x is float32: convert one of them with astype"
LIST = "x must be a NumPy or CuPy array, got list: convert it with numpy.asarray"
SHAPE = "x must have z's shape (2, 4, 3) or broadcast to it, got "
LABELS = "x must have shape (2, 4), one label per case, or broadcast to it, got "
CLASS = "x must hold labels in 0 … K − 1 = 2, as z has K = 3 classes, got "
T = "x must be a finite number > 0, got "
ALPHA = "x must be a number in [0, 1], got "

REFUSED = {
    "floats": (floats, [
        (Z.astype(int), TypeError, ORDER), (Z.astype("f"), TypeError, OTHER), ([1.0], TypeError, LIST),
    ]),
    "logits": (logits, [
        (Z.astype("f"), TypeError, OTHER),
        (np.zeros(3), ValueError, "x must have shape (..., B, K) with B, K > 0, got (3,)"),
        (np.zeros((0, 3)), ValueError, "x must have shape (..., B, K) with B, K > 0, got (0, 3)"),
    ]),
    "like": (like("z"), [
        (Z.astype("f"), TypeError, OTHER),
        (Z[..., :2], ValueError, f"{SHAPE}(2, 4, 2)"),
        (Z[:, :1], ValueError, f"{SHAPE}(2, 1, 3)"),
        (Z[None], ValueError, f"{SHAPE}(1, 2, 4, 3)"),
        (np.zeros((3, 4, 3)), ValueError, f"{SHAPE}(3, 4, 3)"),
    ]),
    "same_shape": (same_shape("z"), [
        (Z.astype("f"), TypeError, OTHER),
        (Z[0], ValueError, "x must have the shape of z, (2, 4, 3), got (4, 3)"),
    ]),
    "labels": (labels("z"), [
        ([0] * 4, TypeError, LIST),
        (np.zeros(3, int), ValueError, f"{LABELS}(3,)"),
        (np.zeros((), int), ValueError, f"{LABELS}()"),
        (np.zeros((3, 4), int), ValueError, f"{LABELS}(3, 4)"),
        (np.zeros(4), TypeError, "x must hold integer labels, got float64: convert it with astype"),
        (np.array([0, 1, 2, 3]), ValueError, f"{CLASS}3: leave out the cases that have no label, or give z a column"),
        (np.array([0, 1, 2, -1]), ValueError, f"{CLASS}-1: leave out"),
        (np.array([0, 1, 2, 3], np.uint8), ValueError, f"{CLASS}3: leave out"),
    ]),
    "optional": (optional(floats), [([1.0], TypeError, LIST)]),
    "norm": (norm, [
        (value, ValueError, f"x must be a finite L2 norm > 0, got {value}")
        for value in (0, -1.0, math.inf, math.nan, "1", None)
    ]),
    "temperature": (temperature("z"), [
        (0, ValueError, f"{T}0.0"),
        (-1, ValueError, f"{T}-1.0"),
        (math.nan, ValueError, f"{T}nan"),
        (math.inf, ValueError, f"{T}inf"),
        (np.array([[[1.0]], [[0.0]]]), ValueError, f"{T}[1.0, 0.0]"),
        (np.array([[[1.0]], [[np.inf]]]), ValueError, f"{T}[1.0, inf]"),
        ("8", TypeError, "x must be a finite number > 0, or an array (..., 1, 1), got str"),
        (STUDENTS.astype("f"), TypeError, OTHER),
        (np.ones(2), ValueError, "x must be a number or an array of shape (..., 1, 1), got shape (2,)"),
        (np.ones((5, 1, 1)), ValueError, "x has shape (5, 1, 1), one number per student, but z has students (2,)"),
    ]),
    "weight": (weight("z"), [
        (-0.1, ValueError, f"{ALPHA}-0.1"),
        (1.5, ValueError, f"{ALPHA}1.5"),
        (math.nan, ValueError, f"{ALPHA}nan"),
        (np.array([[[0.5]], [[2.0]]]), ValueError, f"{ALPHA}[0.5, 2.0]"),
        (np.ones((3, 1, 1)), ValueError, "x has shape (3, 1, 1), one number per student, but z has students (2,)"),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_rule_refuses_in_one_line(name):
    rule, cases = REFUSED[name]
    for value, error, message in cases:
        with pytest.raises(error, match=f"^{re.escape(message)}") as caught:
            rule("x", value, {"z": Z, "x": value})
        assert "\n" not in str(caught.value)


def test_arrays_are_compared_with_the_first_argument_whatever_it_is_called():
    first, second = Z.astype("f"), Z
    with pytest.raises(TypeError, match="gradient is float32 but x is float64"):
        floats("x", second, {"gradient": first, "z": second, "x": second})


def test_nothing_waits_for_a_device_to_read_labels_or_numbers():
    z = strict_cupy.asarray(Z)
    with strict_cupy.counting() as count:
        for rule, values in ((labels("z"), np.full(4, 7)), (temperature("z"), -STUDENTS)):
            there = strict_cupy.asarray(values)
            assert rule("x", there, {"z": z, "x": there}) is there
    assert count.waits == count.launches == 0


@pytest.mark.parametrize("holds", [lambda x: x > 0, lambda x: (x > 0) & (x < 2)])
def test_one_condition_judges_a_number_and_each_number_of_an_array(holds):
    rule = per_student(holds, "right")
    assert rule("x", 1, {"x": 1}) == 1.0
    for value in (-1.0, np.array([1.0, -1.0]).reshape(2, 1, 1)):
        with pytest.raises(ValueError, match="x must be right, got"):
            rule("x", value, {"x": value})


SIZES = st.lists(st.integers(0, 3), max_size=4).map(tuple)


@given(shape=SIZES, target=SIZES, own=st.integers(0, 2))
def test_a_shape_fits_where_numpy_broadcasts_it_and_the_last_axes_are_the_same(shape, target, own):
    if len(target) < own:
        return
    try:
        np.broadcast_to(np.empty(shape), target)
        broadcasts = True
    except ValueError:
        broadcasts = False
    same = len(shape) >= own and shape[len(shape) - own :] == target[len(target) - own :]
    assert rules._fits(shape, target, own) == (broadcasts and same)


@given(target=SIZES, data=st.data())
def test_a_shape_made_to_broadcast_fits(target, data):
    shape = tuple(size if data.draw(st.booleans()) else 1 for size in target)[data.draw(st.integers(0, len(target))) :]
    assert np.broadcast_shapes(shape, target) == target
    assert rules._fits(shape, target, own=0)


# ---- training --------------------------------------------------------------------------------------------------------


def count_checks(monkeypatch):
    """The names of the arguments whose dtype and device a rule has looked at, from now on."""
    names, real = [], rules.get_float_xp

    def spy(**arrays):
        names.append(list(arrays)[-1])
        return real(**arrays)

    monkeypatch.setattr(rules, "get_float_xp", spy)
    return names


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return Dataset(rng.integers(0, 256, (64, 4, 4), dtype=np.uint8), rng.integers(0, 10, 64, dtype=np.uint8), "noise")


SMALL = TrainConfig(hidden=(7,), epochs=3, batch_size=16, alpha=0.5, T=4.0, drop_hidden=0.5, max_norm=1.0)


def test_training_checks_its_first_step_and_no_other(images, monkeypatch, tmp_path):
    targets = soft_targets(train(replace(SMALL, alpha=0.0), images), images)
    names = count_checks(monkeypatch)
    counts = []
    for epochs, batch_size in ((1, 64), (1, 16), (3, 16)):  # 1, 4 and 12 steps
        names.clear()
        train(replace(SMALL, epochs=epochs, batch_size=batch_size), images, soft_targets=targets)
        counts.append(list(names))
    assert counts[0] == counts[1] == counts[2]
    assert {"x", "W", "b", "z", "v", "dout", "gradient", "velocity"} <= set(counts[0])

    run = Run(SMALL, images, soft_targets=targets)
    next(run.epochs())
    run.save(tmp_path / "run")
    names.clear()
    train(SMALL, images, soft_targets=targets, checkpoint_path=tmp_path / "run", resume=True)
    assert names == counts[0], "a run that goes on checks its first step too"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_ends_with_the_same_bits_whether_or_not_its_steps_are_checked(images, dtype, monkeypatch):
    config = replace(SMALL, dtype=dtype, T=(1.0, 4.0), alpha=(0.3, 1.0))
    targets = soft_targets(train(replace(SMALL, alpha=0.0), images), images)

    def run():
        return train(config, images, soft_targets=targets, device=CPU).flat

    expected = run()
    with unguarded():
        never = run()
    monkeypatch.setattr(loop, "unguarded", lambda when: contextlib.nullcontext())
    for got in (never, run()):
        np.testing.assert_array_equal(got, expected, strict=True)
    assert np.ptp(expected) > 0


def test_a_cost_is_the_same_whether_or_not_it_is_checked():
    rng = np.random.default_rng(1)
    z, v = rng.standard_normal((2, 5, 3)).astype("f")
    y = rng.integers(0, 3, 5)
    expected = distillation_loss(z, v=v, y=y, T=2.0, alpha=0.7)
    with unguarded():
        got = distillation_loss(z, v=v, y=y, T=2.0, alpha=0.7)
        assert softmax(z, 2.0).dtype == "f"
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
