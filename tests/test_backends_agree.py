"""The core and the training loop give one answer on every backend: the same bits where NumPy computes underneath."""

import dataclasses
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import strict_cupy

from minikd.core.array import get_xp
from minikd.core.layers import (
    affine_backward,
    affine_forward,
    dropout_backward,
    dropout_forward,
    relu_backward,
    relu_forward,
)
from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy
from minikd.core.masks import dropout_mask, hash32
from minikd.core.mlp import Dropout, initialise, mlp_backward, mlp_forward, parameter_count, unflatten
from minikd.core.optim import clip_factor, limit_norm, momentum_step
from minikd.core.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from minikd.data.images import Dataset
from minikd.engines import readable
from minikd.engines.device import CPU
from minikd.engines.engine import Batch, State
from minikd.training.answers import logits
from minikd.training.config import TrainConfig
from minikd.training.loop import train, train_step
from minikd.training.teacher import soft_targets

S, B, D, H, K = 3, 7, 6, 5, 4
SIZES = (D, H, K)
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # of a norm, on a GPU, whose sums run in another order


def inputs(dtype, leading, seed=0):
    """The arguments of every core function, drawn on the host: for one student, or for a population of three."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (3 * rng.standard_normal((*leading, *shape))).astype(dtype)

    def uint32(*shape):
        return rng.integers(0, 2**32, shape, dtype=np.uint32)

    many = bool(leading)
    return SimpleNamespace(
        z=normal(B, K),
        v=normal(B, K),
        y=rng.integers(0, K, (*leading, B)),
        T=np.array([0.5, 1.0, 20.0], dtype).reshape(-1, 1, 1) if many else 4.0,
        alpha=np.array([0.0, 0.3, 1.0], dtype).reshape(-1, 1, 1) if many else 0.7,
        rate=np.array([0.1, 0.01, 1.0], dtype).reshape(-1, 1) if many else 0.1,
        upstream=normal(B, K),
        x=normal(B, D),
        shared_x=normal(B, D)[0] if many else normal(B, D),
        W=normal(D, H),
        b=normal(H),
        dout=normal(B, H),
        keep=rng.random((*leading, B, H)) < 0.6,
        counters=uint32(B, H),
        key=uint32(S, 1, 1) if many else int(rng.integers(0, 2**32)),
        p=normal(parameter_count(SIZES)),
        velocity=normal(parameter_count(SIZES)),
        g=normal(parameter_count(SIZES)),
    )


def put(arguments, device):
    """The same arguments on the device; numbers stay numbers, and nothing is shared with the host's arrays."""
    moved = {name: device.put(a.copy()) if isinstance(a, np.ndarray) else a for name, a in vars(arguments).items()}
    return SimpleNamespace(**moved)


def flat(result):
    """The arrays of a nested result, in order."""
    if isinstance(result, list | tuple):
        return [array for one in result for array in flat(one)]
    return [] if result is None else [result]


def network(a):
    """Forward and backward through a network with dropout, the gradients written into views of one flat array."""
    z, cache = mlp_forward(a.x, unflatten(a.p, SIZES), [None, Dropout(a.keep, 0.4)])
    g = get_xp(p=a.p).zeros_like(a.p)
    gradients, dx = mlp_backward(a.upstream, cache, out=unflatten(g, SIZES), input_gradient=True)
    return z, gradients, dx, g


def network_afresh(a):
    """The same without dropout and without a place for the gradients."""
    z, cache = mlp_forward(a.shared_x, unflatten(a.p, SIZES))
    return z, *mlp_backward(a.upstream, cache)


def gradients_written(a):
    out = tuple(get_xp(W=a.W).zeros_like(one) for one in (a.W, a.b))
    return affine_backward(a.dout, affine_forward(a.x, a.W, a.b)[1], out=out, input_gradient=False), out


PURE = {
    "softmax": lambda a: softmax(a.z, a.T),
    "log_softmax": lambda a: log_softmax(a.z, a.T),
    "softmax_backward": lambda a: softmax_backward(a.upstream, softmax(a.z, a.T), a.T),
    "log_softmax_backward": lambda a: log_softmax_backward(a.upstream, log_softmax(a.z, a.T), a.T),
    "soft_cross_entropy": lambda a: soft_cross_entropy(a.z, v=a.v, T=a.T),
    "hard_cross_entropy": lambda a: hard_cross_entropy(a.z, y=a.y),
    "distillation_loss": lambda a: distillation_loss(a.z, v=a.v, y=a.y, T=a.T, alpha=a.alpha),
    "distillation_loss, soft only": lambda a: distillation_loss(a.z, v=a.v, T=a.T, alpha=1.0),
    "distillation_loss, hard only": lambda a: distillation_loss(a.z, y=a.y, alpha=0.0),
    "logit_matching": lambda a: logit_matching(a.z, v=a.v),
    "affine_forward": lambda a: affine_forward(a.x, a.W, a.b)[0],
    "affine_backward": lambda a: affine_backward(a.dout, affine_forward(a.x, a.W, a.b)[1]),
    "affine_backward, shared x": lambda a: affine_backward(a.dout, affine_forward(a.shared_x, a.W, a.b)[1]),
    "affine_backward, out=": gradients_written,
    "relu_forward": lambda a: relu_forward(a.dout)[0],
    "relu_backward": lambda a: relu_backward(a.dout, relu_forward(a.b[..., None, :] + a.dout)[1]),
    "dropout_forward": lambda a: dropout_forward(a.dout, a.keep, 0.4)[0],
    "dropout_backward": lambda a: dropout_backward(a.dout, dropout_forward(a.dout, a.keep, 0.4)[1]),
    "dropout_mask": lambda a: dropout_mask(a.counters, a.key, 0.3),
    "dropout_mask, no drop": lambda a: dropout_mask(a.counters, a.key, 0.0),
    "dropout_mask, nearly all dropped": lambda a: dropout_mask(a.counters, a.key, 1 - 2**-53),
    "hash32": lambda a: hash32(a.counters),
    "clip_factor": lambda a: clip_factor(a.g, 5.0),
    "mlp": network,
    "mlp, afresh": network_afresh,
}
IN_PLACE = {
    "momentum_step": lambda a: momentum_step(a.p, a.velocity, a.g, learning_rate=a.rate, momentum=0.9),
    "limit_norm": lambda a: limit_norm(a.W, 4.0),
}
LEADING = pytest.mark.parametrize("leading", [(), (S,)], ids=["one student", "a population"])


def assert_agree(device, got, expected, float_dtype):
    """One array equals the one that NumPy gave: device, dtype, shape and values."""
    assert got.device == device.put(np.zeros(1, np.float32)).device
    host = device.get(got)
    assert host.dtype == expected.dtype
    assert host.dtype.kind != "f" or host.dtype == float_dtype
    assert host.shape == expected.shape
    if device.name == "gpu" and host.dtype.kind == "f":
        assert np.linalg.norm(host - expected) <= TOLERANCE[float_dtype] * np.linalg.norm(expected)
    else:
        np.testing.assert_array_equal(host, expected, strict=True)
        assert host.tobytes() == expected.tobytes()  # the sign of zero too


@LEADING
@pytest.mark.parametrize("name", PURE)
def test_a_core_function_gives_numpys_result_and_leaves_its_arguments(name, leading, device, float_dtype):
    arguments = inputs(float_dtype, leading)
    expected = [np.asarray(one) for one in flat(PURE[name](put(arguments, CPU)))]
    assert expected
    assert "dropped" in name or all(one.any() for one in expected)  # an answer that nothing gives by chance
    there = put(arguments, device)
    got = flat(PURE[name](there))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert_agree(device, one, other, float_dtype)
    for argument, before in vars(arguments).items():
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(device.get(getattr(there, argument)), before)


@LEADING
@pytest.mark.parametrize("name", IN_PLACE)
def test_an_update_in_place_gives_numpys_result(name, leading, device, float_dtype):
    arguments = inputs(float_dtype, leading)
    here, there = put(arguments, CPU), put(arguments, device)
    IN_PLACE[name](here)
    IN_PLACE[name](there)
    changed = set()
    for argument, before in vars(arguments).items():
        if isinstance(before, np.ndarray):
            after = getattr(here, argument)
            assert_agree(device, getattr(there, argument), after, float_dtype)
            if not np.array_equal(after, before):
                changed.add(argument)
    assert changed == {"momentum_step": {"p", "velocity"}, "limit_norm": {"W"}}[name]


# ---- devices that do not belong together -----------------------------------------------------------------------------

MIXED = {
    "get_xp": (lambda here, there: get_xp(z=here.z, v=there.v), "z", "v"),
    "log_softmax": (lambda here, there: log_softmax(here.z, there.T), "z", "T"),
    "soft_cross_entropy": (lambda here, there: soft_cross_entropy(here.z, v=there.v, T=1.0), "z", "v"),
    "hard_cross_entropy": (lambda here, there: hard_cross_entropy(here.z, y=there.y), "z", "y"),
    "distillation_loss": (
        lambda here, there: distillation_loss(here.z, v=here.v, y=here.y, alpha=there.alpha), "z", "alpha",
    ),
    "logit_matching": (lambda here, there: logit_matching(here.z, v=there.v), "z", "v"),
    "affine_forward": (lambda here, there: affine_forward(here.x, here.W, there.b), "x", "b"),
    "dropout_forward": (lambda here, there: dropout_forward(here.dout, there.keep, 0.5), "x", "keep"),
}  # fmt: skip


@pytest.mark.parametrize("name", MIXED)
def test_arrays_on_two_devices_are_refused_by_name_and_place(name, device):
    call, first, second = MIXED[name]
    other = strict_cupy.device() if device is CPU else CPU
    arguments = inputs("float32", (S,))
    with pytest.raises(ValueError, match=f"^{first} is on ") as caught:
        call(put(arguments, device), put(arguments, other))
    message = str(caught.value)
    places = {"cpu": "the CPU", "gpu": "the GPU"}
    assert f"{first} is on {places.get(device.name, device.xp.__name__)}" in message
    assert f" but {second} is on {places.get(other.name, other.xp.__name__)}" in message
    assert message.endswith(": move both with minikd.engines.device.to_device")


def test_two_devices_of_one_namespace_are_told_apart():
    xp = pytest.importorskip("array_api_strict")
    z, v = (xp.asarray(np.ones((1, 2)), device=xp.Device(name)) for name in ("device1", "device2"))
    with pytest.raises(ValueError, match=r"z is on .*device1.* but v is on .*device2.*: move both with "):
        soft_cross_entropy(z, v=v, T=1.0)


# ---- whole runs ------------------------------------------------------------------------------------------------------


@functools.cache
def dataset(n=128):
    """Images of 8 × 8 that a network can tell apart: each class brightens pixels of its own."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 10, n, dtype=np.uint8)
    images = rng.integers(0, 120, (n, 8, 8), dtype=np.uint8)
    bright = rng.integers(0, 2, (10, 8, 8), dtype=np.uint8)
    return Dataset(images + 120 * bright[labels], labels, "synthetic")


def config(**changes):
    """Twenty steps on `dataset()`: 128 examples are four batches."""
    return TrainConfig(**{"hidden": (16, 12), "epochs": 5, "batch_size": 32, "clip_norm": None, **changes})


RUNS = {
    "a distilled student": {"alpha": 0.7, "T": 4.0},
    "a distilled student, clipped": {"alpha": 0.7, "T": 4.0, "clip_norm": 0.5},
    "a teacher with dropout, max-norm and jitter": {
        "drop_input": 0.2, "drop_hidden": 0.5, "max_norm": 1.0, "jitter": 1,
    },
    "a population of seeds and temperatures": {
        "seed": (0, 1, 2), "T": (1.0, 4.0, 20.0), "alpha": 0.7, "clip_norm": 1.0,
    },
    "a population of rates and weights": {"seed": 5, "learning_rate": (0.3, 0.1), "alpha": (0.0, 1.0), "T": 2.0},
    "a population with dropout and jitter": {"seed": (3, 4), "drop_input": 0.2, "drop_hidden": 0.5, "jitter": 2},
}  # fmt: skip


@functools.cache
def teachers_targets():
    return soft_targets(train(config(hidden=(24,), seed=11), dataset()), dataset())


def run(name, device=CPU, data=None, evaluate=True, **changes):
    """A run by name: the network, after twenty steps unless the changes say otherwise."""
    chosen, data = config(**{**RUNS[name], **changes}), dataset() if data is None else data
    targets = None
    if chosen.alpha:
        targets = teachers_targets() if data is dataset() else soft_targets(train(config(), dataset()), data)
    evaluation = dataset() if evaluate else None
    return train(chosen, data, soft_targets=targets, evaluation=evaluation, device=device)


@functools.cache
def numpys_run(name, dtype):
    """NumPy's run by the functions of the core, without the layout of the logits that sums in another order."""

    def loss(z, state, out=None, **arguments):
        return distillation_loss(z, **arguments)

    plain = SimpleNamespace(**{**vars(readable), "loss": loss})
    return run(name, dataclasses.replace(CPU, engine=plain), dtype=dtype)


@pytest.mark.parametrize("name", RUNS)
def test_twenty_steps_end_with_numpys_bits(name, device, float_dtype):
    expected, got = numpys_run(name, float_dtype), run(name, device, dtype=float_dtype)
    assert got.flat.dtype == float_dtype
    assert got.flat.shape == expected.flat.shape
    costs, expected_costs = ([one["cost"] for one in network.history] for network in (got, expected))
    errors, expected_errors = ([one["errors"] for one in network.history] for network in (got, expected))
    assert len(costs) == 5
    assert np.max(expected_costs[-1]) < np.max(expected_costs[0])  # something was learned
    if device.name == "cpu":  # only the order of sums over classes differs
        np.testing.assert_allclose(got.flat, expected.flat, atol=1e-5 if float_dtype == "float32" else 1e-14)
        np.testing.assert_allclose(costs, expected_costs, rtol=1e-5 if float_dtype == "float32" else 1e-14)
        assert errors == expected_errors
    elif device.name == "gpu":  # rounding differs, and a run carries it on: cost and errors only
        np.testing.assert_allclose(costs, expected_costs, rtol=1e-3)
        np.testing.assert_allclose(errors, expected_errors, atol=3)
    else:
        np.testing.assert_array_equal(got.flat, expected.flat, strict=True)
        assert (costs, errors) == (expected_costs, expected_errors)


def test_the_logits_of_a_data_set_are_numpys(device, float_dtype):
    expected = numpys_run("a population of seeds and temperatures", float_dtype)
    got = logits(expected, dataset(), device)
    assert_agree(device, got, logits(expected, dataset(), CPU), float_dtype)


# ---- one step --------------------------------------------------------------------------------------------------------


def step_arguments(device, dtype, leading):
    """A state and a batch with everything in play, on the device."""
    rng = np.random.default_rng(3)
    sizes = (64, 16, 12, 10)
    p = np.array(np.broadcast_to(initialise(sizes, rng, dtype), (*leading, parameter_count(sizes))))
    state = State(sizes, device.put(p), device.put(np.zeros_like(p)))

    def number(*values):
        return device.put(np.array(values, dtype).reshape(-1, 1, 1)) if leading else values[0]

    keys = np.array([1, 2, 3], np.uint32).reshape(-1, 1, 1)
    counters = [hash32(np.arange(8 * size, dtype=np.uint32).reshape(8, size)) for size in sizes[:-1]]
    settings = {
        "batch": Batch(
            x=device.put(rng.random((*leading, 8, 64)).astype(dtype)),
            y=device.put(rng.integers(0, 10, (*leading, 8))),
            v=device.put(rng.standard_normal((*leading, 8, 10)).astype(dtype)),
            dropout=[
                Dropout(dropout_mask(device.put(c), device.put(keys) if leading else 5, drop), drop)
                for c, drop in zip(counters, (0.2, 0.5, 0.5), strict=True)
            ],
        ),
        "T": number(4.0, 2.0, 8.0),
        "alpha": number(0.7, 0.5, 0.1),
        "learning_rate": number(0.1, 0.2, 0.3)[..., 0] if leading else 0.1,
        "clip_norm": 0.1,
        "max_norm": 1.0,
    }
    return state, settings


@LEADING
def test_a_step_keeps_dtype_and_device(leading, device, float_dtype):
    state, settings = step_arguments(device, float_dtype, leading)
    before = device.get(state.parameters).copy()
    C = train_step(readable, state, **settings)
    home = device.put(np.zeros(1, np.float32)).device
    for array in (C, state.parameters, state.velocity, state.gradient, *flat(state.layers), *flat(state.gradients)):
        assert np.dtype(device.get(array).dtype) == float_dtype
        assert array.device == home
    assert C.shape == leading
    moved = unflatten(device.get(state.parameters) - before, state.sizes)
    assert all(one.any() for one in flat(moved))  # every layer: the layers are views of p, and their gradients of g


@LEADING
def test_a_step_never_waits_for_the_device(leading):
    state, settings = step_arguments(strict_cupy.device(), "float32", leading)
    with strict_cupy.counting() as count:
        train_step(readable, state, **settings)
    assert count.launches > 0
    assert count.waited == {}
    assert count.uploads == 0


@pytest.mark.parametrize("name", RUNS)
def test_an_epoch_waits_for_its_costs_its_errors_and_at_the_end_for_the_weights(name):
    waits = {}
    for batch_size in (32, 8):
        run_here = functools.partial(run, name, strict_cupy.device(), epochs=2, batch_size=batch_size)
        with strict_cupy.counting() as count:
            run_here()
        waits[128 // batch_size] = count.waits
    assert waits == {4: 2 + 2 + 1, 16: 2 + 2 + 1}  # costs of two epochs, errors of two, weights


# Kernels launched per step, batch and all, as measured. A GPU needs 5 to 15 µs for each, so a rise is a regression.
# A population's products first copy what cuBLAS cannot take as it lies: transposed operands, views of flat parameters.
LAUNCHES = {
    "a distilled student": 77,
    "a distilled student, clipped": 84,
    "a teacher with dropout, max-norm and jitter": 103,
    "a population of seeds and temperatures": 98,
    "a population of rates and weights": 90,
    "a population with dropout and jitter": 102,
}


@pytest.mark.parametrize("name", RUNS)
def test_a_step_launches_no_more_kernels_than_it_did(name):
    kernels = []
    for batch_size in (32, 8):  # 4 steps and 16
        with strict_cupy.counting() as count:
            run(name, strict_cupy.device(), evaluate=False, epochs=1, batch_size=batch_size)
        kernels.append(count.kernels)
    a_step = {kernel: n / 12 for kernel, n in (kernels[1] - kernels[0]).items()}
    assert 0 < sum(a_step.values()) <= LAUNCHES[name], a_step
