"""What the costs do with their arguments: dtypes kept, nothing written to, errors in words."""

import re

import numpy as np
import pytest
import strict_cupy
from loss_cases import costs, soft_like, student_teacher_labels
from oracles import (
    dtypes,
    purely,
)

from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy
from minikd.engines import readable
from minikd.engines.engine import Batch, State
from minikd.training.loop import train_step


@pytest.fixture(params=costs(10))
def cost(request):
    return costs(10)[request.param]


@pytest.fixture(params=soft_like())
def soft(request):
    return soft_like()[request.param]


# ---- dtypes, purity --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("number", [0.5, np.float64(0.5), np.float32(0.5), "array"])
def test_the_dtype_is_the_logits_whatever_T_and_alpha_are(dtype, number):
    z, v, y = student_teacher_labels(5, population=(2,))
    z, v = z.astype(dtype), v.astype(dtype)
    number = np.full((2, 1, 1), 0.5, dtype) if isinstance(number, str) else number
    for C, dz in (
        soft_cross_entropy(z, v=v, T=number),
        hard_cross_entropy(z, y=y),
        logit_matching(z, v=v),
        distillation_loss(z, v=v, y=y, T=number, alpha=number),
        distillation_loss(z, v=v, y=y, T=number, alpha=0.5),
        distillation_loss(z, v=v, y=y, T=2.0, alpha=number),
        distillation_loss(z, v=v, T=number, alpha=1.0),
        distillation_loss(z, y=y, T=number, alpha=0.0),
    ):
        assert dtypes([C, dz]) == {np.dtype(dtype)}
        assert C.shape == (2,)
        assert dz.shape == z.shape
    for one in (soft_cross_entropy(z[0], v=v[0], T=2.0), distillation_loss(z[0], v=v[0], y=y[0], T=2.0, alpha=0.5)):
        assert dtypes(one) == {np.dtype(dtype)}
        assert one[0].shape == ()


def test_costs_write_into_no_argument():
    z, v, y = student_teacher_labels(5, population=(2,))
    T, alpha = np.full((2, 1, 1), 2.0), np.full((2, 1, 1), 0.5)
    purely(soft_cross_entropy, z, v=v, T=T)
    purely(hard_cross_entropy, z, y=y)
    purely(logit_matching, z, v=v)
    purely(distillation_loss, z, v=v, y=y, T=T, alpha=alpha)
    purely(distillation_loss, z, v=v, T=T, alpha=1.0)
    purely(distillation_loss, z, y=y, alpha=0.0)


def test_float32_gradients_agree_with_float64_in_norm(cost):
    z, v, y = student_teacher_labels(10, B=64)
    C, dz = cost(z, v, y)
    C_single, dz_single = cost(z.astype(np.float32), v.astype(np.float32), y)
    assert C_single == pytest.approx(C, rel=1e-5)
    assert np.linalg.norm(dz_single - dz) < 1e-5 * np.linalg.norm(dz)


HARD = [lambda z, y: hard_cross_entropy(z, y=y), lambda z, y: distillation_loss(z, y=y, alpha=0.0)]
hard_costs = pytest.mark.parametrize("hard", HARD, ids=["hard", "distillation"])
Z = np.zeros((4, 3))


@pytest.mark.parametrize("shape", [(4, 2), (3, 3), (3,), (1, 3), (4, 1), (2, 4, 3), ()])
def test_a_teacher_of_another_shape_is_refused(soft, shape):
    message = f"v must have z's shape (4, 3) or broadcast to it, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        soft(Z, np.zeros(shape))


@pytest.mark.parametrize("shape", [(3, 4, 3), (2, 1, 3)])
def test_teachers_that_do_not_fit_the_population_are_refused(soft, shape):
    message = f"v must have z's shape (2, 4, 3) or broadcast to it, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        soft(np.zeros((2, 4, 3)), np.zeros(shape))


@hard_costs
@pytest.mark.parametrize("shape", [(3,), (5,), (1,), (4, 1), (4, 3), ()])
def test_labels_of_another_shape_are_refused(hard, shape):
    message = f"y must have shape (4,), one label per case, or broadcast to it, got {shape}"
    with pytest.raises(ValueError, match=re.escape(message)):
        hard(Z, np.zeros(shape, int))


@pytest.mark.parametrize("shape", [(3,), (), (0, 3), (4, 0), (2, 0, 3)])
def test_logits_without_cases_or_classes_are_refused(shape):
    message = f"z must have shape (..., B, K) with B, K > 0, got {shape}"
    z = np.zeros(shape)
    for call in (
        lambda: soft_cross_entropy(z, v=z, T=1.0),
        lambda: logit_matching(z, v=z),
        lambda: distillation_loss(z, v=z),
        lambda: hard_cross_entropy(z, y=np.zeros(shape[:-1], int)),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


@hard_costs
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_])
def test_labels_that_are_no_integers_are_refused(hard, dtype):
    with pytest.raises(TypeError, match=f"y must hold integer labels, got {np.dtype(dtype)}: convert it with astype"):
        hard(Z, np.zeros(4, dtype))


TAKES_LABELS = {
    "hard": lambda z, y: hard_cross_entropy(z, y=y),
    "distillation": lambda z, y: distillation_loss(z, y=y, alpha=0.0),
    "distillation, with a teacher": lambda z, y: distillation_loss(z, v=z, y=y, T=2.0, alpha=0.5),
    "distillation, labels without weight": lambda z, y: distillation_loss(z, v=z, y=y, alpha=1.0),
    "distillation, class by class": lambda z, y: readable.loss(z, None, v=z, y=y, T=2.0, alpha=0.5),
}


@pytest.mark.parametrize("cost", TAKES_LABELS)
@pytest.mark.parametrize(
    "y",
    [
        np.array([0, 1, -1, 2]),
        np.array([0, 1, 3, 2]),
        np.array([0, -100, 1, 2]),  # an index that other libraries ignore
        np.array([0, 255, 1, 2], np.uint8),  # −1, wrapped
        np.array([0, -1, 1, 2], np.int8),
        np.array([0, -1, 1, 2], ">i8"),  # of another byte order
        np.array([0, 2**63, 1, 2], np.uint64),
        np.array([0, 0, 3, 0, 0, 0, 0, 0])[::2][[0, 1, 2, 3]],  # not contiguous
        np.array([[0, 1, 2, 0], [0, 1, 2, 3]]),  # the second student of a population
        np.array([[0, 1, 2, -1]]),  # one for all students
    ],
    ids=str,
)
def test_a_label_that_is_no_class_is_refused_on_the_host(cost, y):
    z = np.zeros((4, 3)) if y.ndim == 1 else np.zeros((2, 4, 3))
    wrong = int(y.min()) if int(y.min()) < 0 else int(y.max())
    with pytest.raises(
        ValueError, match=re.escape(f"y must hold labels in 0 … K − 1 = 2, as z has K = 3 classes, got {wrong}:")
    ):
        TAKES_LABELS[cost](z, y)


@pytest.mark.parametrize("z", [Z, np.zeros((2, 4, 3))], ids=["one", "population"])
def test_a_label_that_is_no_class_is_refused_in_any_namespace_of_the_host(z):
    strict = pytest.importorskip("array_api_strict")
    for y in ([0, 1, -1, 2], [0, 3, 1, 2]):
        with pytest.raises(ValueError, match=f"y must hold labels in .*got {3 if 3 in y else -1}:"):
            hard_cross_entropy(strict.asarray(z), y=strict.asarray(y))


def test_a_T_of_one_student_that_is_out_of_range_is_refused_in_any_namespace_of_the_host():
    strict = pytest.importorskip("array_api_strict")
    z, T = strict.asarray(np.zeros((2, 4, 3))), strict.asarray(np.array([2.0, -1.0]).reshape(2, 1, 1))
    with pytest.raises(ValueError, match=re.escape("T must be a finite number > 0, got [2.0, -1.0]")):
        soft_cross_entropy(z, v=z, T=T)


def test_nothing_waits_on_a_device_to_read_labels():
    device = strict_cupy.device()
    z, y = device.put(Z), device.put(np.array([0, 1, -1, 2]))
    with strict_cupy.counting() as count:
        hard_cross_entropy(z, y=y)
        distillation_loss(z, v=z, y=y, alpha=0.5)
    assert count.waits == 0


def test_a_step_of_training_refuses_a_label_that_is_no_class():
    state, batch = State((3, 2), *np.zeros((2, 8))), Batch(Z, np.array([0, 1, 0, 2]), None, None)
    with pytest.raises(ValueError, match=r"y must hold labels in 0 … K − 1 = 1, as z has K = 2 classes, got 2:"):
        train_step(readable, state, batch, learning_rate=0.1)
    assert not state.parameters.any()


def test_lists_are_refused(soft):
    with pytest.raises(TypeError, match=r"z must be a NumPy or CuPy array, got list: convert it with numpy\.asarray"):
        soft(Z.tolist(), Z)
    with pytest.raises(TypeError, match=r"v must be a NumPy or CuPy array, got list: convert it with numpy\.asarray"):
        soft(Z, Z.tolist())


@hard_costs
def test_lists_of_labels_are_refused(hard):
    with pytest.raises(TypeError, match="y must be a NumPy or CuPy array, got list: convert it"):
        hard(Z, [0, 1, 2, 0])


def test_arrays_in_two_places_are_refused(soft):
    elsewhere = pytest.importorskip("array_api_strict").asarray(Z)
    with pytest.raises(ValueError, match=r"z is on the CPU but v is on .*: move both with .*to_device"):
        soft(Z, elsewhere)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex128, np.bool_])
def test_logits_of_another_dtype_are_refused(soft, dtype):
    with pytest.raises(TypeError, match=f"z must be float32 or float64, got {np.dtype(dtype)}: convert it with astype"):
        soft(Z.astype(dtype), Z)
    with pytest.raises(TypeError, match=f"v must be float32 or float64, got {np.dtype(dtype)}: convert it with astype"):
        soft(Z, Z.astype(dtype))


def test_two_float_dtypes_at_once_are_refused(soft):
    with pytest.raises(TypeError, match="z is float32 but v is float64: convert one of them"):
        soft(Z.astype(np.float32), Z)


@pytest.mark.parametrize("T", [0.0, -1.0, float("nan"), float("inf")])
def test_T_out_of_range_is_refused(T):
    y = np.zeros(4, int)
    message = f"T must be a finite number > 0, got {T}"
    with pytest.raises(ValueError, match=re.escape(message)):
        soft_cross_entropy(Z, v=Z, T=T)
    for alpha in (0.5, 1.0):
        with pytest.raises(ValueError, match=re.escape(message)):
            distillation_loss(Z, v=Z, y=y, T=T, alpha=alpha)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf")])
def test_alpha_out_of_range_is_refused(alpha):
    y = np.zeros(4, int)
    with pytest.raises(ValueError, match=re.escape(f"alpha must be a number in [0, 1], got {alpha}")):
        distillation_loss(Z, v=Z, y=y, alpha=alpha)
    array = np.array([0.5, alpha]).reshape(2, 1, 1)
    with pytest.raises(ValueError, match=re.escape(f"alpha must be a number in [0, 1], got [0.5, {alpha}]")):
        distillation_loss(np.zeros((2, 4, 3)), v=Z, y=y, alpha=array)


def test_alpha_of_another_shape_or_dtype_is_refused():
    y = np.zeros(4, int)
    with pytest.raises(
        ValueError, match=r"alpha must be a number or an array of shape \(\.\.\., 1, 1\), got shape \(2,\)"
    ):
        distillation_loss(np.zeros((2, 4, 3)), v=Z, y=y, alpha=np.array([0.5, 0.5]))
    with pytest.raises(TypeError, match="z is float64 but alpha is float32"):
        distillation_loss(np.zeros((2, 4, 3)), v=Z, y=y, alpha=np.full((2, 1, 1), 0.5, np.float32))
    with pytest.raises(TypeError, match=r"alpha must be .*got str"):
        distillation_loss(Z, v=Z, y=y, alpha="half")


def test_one_number_a_student_needs_a_student_for_each():
    z, v, y = np.zeros((2, 4, 3)), np.zeros((4, 3)), np.zeros(4, int)
    for one in ({"T": np.ones((5, 1, 1))}, {"alpha": np.ones((5, 1, 1))}):
        with pytest.raises(
            ValueError, match=r"has shape \(5, 1, 1\), one number per student, but z has students \(2,\)"
        ):
            distillation_loss(z, v=v, y=y, **one)
    with pytest.raises(ValueError, match=r"T has shape \(2, 1, 1\), one number per student, but z has students \(\)"):
        soft_cross_entropy(z[0], v=v, T=np.ones((2, 1, 1)))


def test_arguments_are_checked_even_where_their_weight_is_zero():
    z, y = np.zeros((4, 3)), np.zeros(4, int)
    with pytest.raises(ValueError, match="T must be"):
        distillation_loss(z, y=y, T=-1.0, alpha=0.0)
    with pytest.raises(ValueError, match="v must have z's shape"):
        distillation_loss(z, v=np.zeros((4, 2)), y=y, alpha=0.0)
