"""Two engines, one protocol; and what the readable one adds to the functions of the core."""

import inspect

import numpy as np
import pytest
import strict_cupy

from minikd.core.losses import distillation_loss
from minikd.core.mlp import Dropout, initialise
from minikd.engines import cuda, readable
from minikd.engines.device import CPU
from minikd.engines.engine import Engine, State

STEPS = ["batches", "forward", "loss", "backward", "update"]
ENGINES = pytest.mark.parametrize("engine", [readable, cuda], ids=["readable", "cuda"])
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
LEADING = pytest.mark.parametrize("leading", [(), (3,)], ids=["one student", "a population"])


def parameters(function):
    """Names and kinds, in order; an engine may have defaults where the protocol has none."""
    return [(p.name, p.kind) for p in inspect.signature(function).parameters.values() if p.name != "self"]


@ENGINES
@pytest.mark.parametrize("name", STEPS)
def test_an_engine_takes_what_the_protocol_says(name, engine):
    assert parameters(getattr(engine, name)) == parameters(getattr(Engine, name))


def test_the_protocol_is_the_five_functions_of_a_step():
    assert [name for name in vars(Engine) if not name.startswith("_")] == STEPS
    assert CPU.engine is readable


def test_the_cuda_engine_refuses_dropout_on_the_input_which_its_batch_has_done():
    dropout = cuda.Keyed(np.ones(1, np.uint32), 0.5)
    with pytest.raises(ValueError, match=r"so dropout\[0\] must be None here, got a state"):
        cuda.forward(np.zeros((2, 5), np.float32), state_of((5, 4, 3)), [dropout, None])


def state_of(sizes, flat=None):
    """A state of these parameters, or of random ones; its gradient is nan where nobody writes."""
    flat = initialise(sizes, np.random.default_rng(0)) if flat is None else flat
    state = State(sizes, flat, np.zeros_like(flat))
    state.gradient[...] = np.nan
    return state


# ---- the cost of the readable engine ---------------------------------------------------------------------------------


def case(K, leading, dtype, B=50):
    rng = np.random.default_rng(1)
    z, v = ((5 * rng.standard_normal((*leading, B, K))).astype(dtype) for _ in range(2))
    return z, {"v": v, "y": rng.integers(0, K, (*leading, B)), "T": 4.0, "alpha": 0.7}


@DTYPES
@LEADING
@pytest.mark.parametrize("K", [3, 10, 100])
def test_the_cost_is_the_cores_up_to_the_order_of_sums(K, leading, dtype):
    z, arguments = case(K, leading, dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-13
    for got, expected in zip(readable.loss(z, None, **arguments), distillation_loss(z, **arguments), strict=True):
        assert got.dtype == dtype
        assert np.shape(got) == np.shape(expected)
        assert np.any(expected)
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol * np.max(np.abs(expected)))


@LEADING
def test_the_cost_is_worked_out_on_logits_that_lie_class_by_class(leading, monkeypatch):
    z, arguments = case(10, leading, "float32")
    seen = {}

    def spy(z, **given):
        seen.update(given, z=z)
        return distillation_loss(z, **given)

    monkeypatch.setattr(readable, "distillation_loss", spy)
    _, dz = readable.loss(z, None, **arguments)
    for name, given in (("z", z), ("v", arguments["v"])):
        np.testing.assert_array_equal(seen[name], given, strict=True)
        assert seen[name].mT.flags.c_contiguous
        assert not seen[name].flags.c_contiguous
    assert dz.mT.flags.c_contiguous


@LEADING
def test_the_cost_writes_to_no_argument(leading):
    z, arguments = case(10, leading, "float32")
    layouts = z, np.ascontiguousarray(z.mT).mT  # the second one lies class by class already
    for z in layouts:
        before = {name: np.copy(value) for name, value in {**arguments, "z": z}.items()}
        _, dz = readable.loss(z, None, **arguments)
        dz[...] = 7
        for name, value in {**arguments, "z": z}.items():
            np.testing.assert_array_equal(value, before[name])


def test_the_cost_takes_either_target_without_the_other():
    z, arguments = case(10, (), "float64")
    v, y = arguments["v"], arguments["y"]
    for given in ({"v": v, "y": None, "alpha": 1.0}, {"v": None, "y": y, "alpha": 0.0}):
        got, expected = readable.loss(z, None, T=2.0, **given), distillation_loss(z, T=2.0, **given)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-12, atol=1e-15)


@LEADING
def test_the_cost_is_written_where_it_should_go(leading):
    z, arguments = case(10, leading, "float32")
    out = np.zeros(leading, np.float32)
    C, _ = readable.loss(z, None, **arguments, out=out)
    np.testing.assert_array_equal(out, C)
    assert out.all()


# ---- its other functions ---------------------------------------------------------------------------------------------


@DTYPES
@LEADING
@pytest.mark.parametrize("B", [1, 7, 500])
@pytest.mark.parametrize("drop", [0.0, 0.5])
def test_forward_and_backward_write_to_no_argument_and_fill_the_gradients(drop, B, leading, dtype):
    sizes, rng = (20, 300, 40, 10), np.random.default_rng(2)
    flat = rng.standard_normal((*leading, State(sizes, *2 * [initialise(sizes, rng, dtype)]).parameters.size))
    flat = flat.astype(dtype)
    x, dz = (rng.standard_normal((*leading, B, n)).astype(dtype) for n in (20, 10))
    masks = [rng.random((*leading, B, n)) >= drop for n in (300, 40)]
    dropout = [None, *(Dropout(mask, drop) for mask in masks)] if drop else None
    before = [array.copy() for array in (flat, x, dz, *masks)]
    state = state_of(sizes, flat)
    z, cache = readable.forward(x, state, dropout)
    assert readable.backward(dz, cache, state) is None
    assert (z.shape, z.dtype) == ((*leading, B, 10), dtype)
    assert np.isfinite(state.gradient).all()
    for array, was in zip((flat, x, dz, *masks), before, strict=True):
        np.testing.assert_array_equal(array, was)


def test_a_gpu_updates_all_parameters_at_once_where_a_cpu_goes_block_by_block(monkeypatch):
    launches = []
    for block in (7, 1000):
        monkeypatch.setattr(readable, "BLOCK", block)
        state = State((5, 7, 3), *(strict_cupy.asarray(np.zeros(66)) for _ in range(2)))
        with strict_cupy.counting() as count:
            readable.update(state, learning_rate=0.1, momentum=0.9, clip_norm=None, max_norm=None)
        launches.append(count.launches)
    assert launches[0] == launches[1] > 0


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 21), np.float32), r"x must have shape \(..., B, 20\)"),
        (np.zeros((4, 20)), "x is float64 but W is float32"),
        (np.zeros(20, np.float32), "x must have shape"),
    ],
)
def test_what_does_not_fit_is_refused(x, message):
    state = state_of((20, 30, 10))
    for _ in range(2):  # a refusal is not remembered as a fit
        with pytest.raises((ValueError, TypeError), match=message):
            readable.forward(x, state)
