"""The fused kernels against the readable functions that they equal: one test over both, on a GPU or on the host.

Without a GPU the kernels' own CUDA source is compiled for the host and run there by the stand-in for CuPy, which also
counts launches and finds what is read or written outside an array.
"""

import ctypes
import dataclasses
import functools
import importlib.metadata
import os
import subprocess
import sys

import host_cuda
import numpy as np
import pytest
import strict_cupy
from test_backends_agree import RUNS, config, dataset, numpys_run, run, teachers_targets

from minikd.commands import gpu as selftest
from minikd.core import losses, masks, mlp, optim
from minikd.core.guard import guard
from minikd.data.frames import Frames
from minikd.engines import cuda as kernels
from minikd.engines import readable
from minikd.engines.device import CPU, get_device
from minikd.engines.engine import State
from minikd.training.batches import Feed

TOLERANCE = {"float32": 1e-5, "float64": 1e-13}  # of the norm


@pytest.fixture(scope="session")
def device(cuda_device):
    return cuda_device


def assert_near(device, got, expected, dtype):
    """Equal up to rounding, measured by the norm of the whole array: some of its numbers are near zero by accident."""
    got = device.get(got)
    assert got.dtype == expected.dtype == dtype
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= TOLERANCE[dtype] * np.linalg.norm(expected)


LEADING = pytest.mark.parametrize("leading", [(), (3,)], ids=["one student", "a population"])


# ---- the source ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("capability", [75, 80, 86, 89, 90])
def test_the_source_compiles_for_cards_from_turing_to_hopper(capability, dtype):
    """With NVRTC, which is what CuPy compiles it with; no GPU is needed."""
    nvrtc = load_nvrtc()
    program = ctypes.c_void_p()
    source = kernels.source().encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"kernels.cu", 0, None, None) == 0
    options = [f"--gpu-architecture=compute_{capability}", *kernels.options(dtype)]
    failed = nvrtc.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options))
    )
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()


@functools.cache
def load_nvrtc():
    try:
        files = importlib.metadata.files("nvidia-cuda-nvrtc-cu12")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12 (Linux and Windows)")
    library = next(file for file in files if file.name.startswith(("libnvrtc.so", "nvrtc64_")))
    return ctypes.CDLL(str(library.locate()))


# ---- products --------------------------------------------------------------------------------------------------------


def as_stored(array, order, device):
    """The matrix on the device, its rows or its columns contiguous."""
    return device.put(np.ascontiguousarray(array)) if order == "rows" else device.put(np.ascontiguousarray(array.mT)).mT


@pytest.mark.parametrize("leading_a", [(), (3,)], ids=["a shared", "a each"])
@pytest.mark.parametrize("leading_b", [(), (3,)], ids=["b shared", "b each"])
@pytest.mark.parametrize("order_a", ["rows", "columns"])
@pytest.mark.parametrize("order_b", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 5, 6), (4, 1, 6), (4, 5, 1), (1, 1, 1)])
def test_a_product_is_the_readable_one(shape, order_b, order_a, leading_b, leading_a, device, float_dtype):
    rng, (M, J, N) = np.random.default_rng(0), shape
    a = rng.standard_normal((*leading_a, M, J)).astype(float_dtype)
    b = rng.standard_normal((*leading_b, J, N)).astype(float_dtype)
    got = kernels.product(as_stored(a, order_a, device), as_stored(b, order_b, device))
    assert_near(device, got, a @ b, float_dtype)


def test_a_population_multiplies_views_of_its_flat_parameters_in_one_launch(device, float_dtype):
    rng, sizes = np.random.default_rng(0), (6, 5, 4)
    flat = rng.standard_normal((3, mlp.parameter_count(sizes))).astype(float_dtype)
    x, d = (rng.standard_normal(shape).astype(float_dtype) for shape in ((7, 6), (3, 7, 5)))
    W = mlp.unflatten(device.put(flat), sizes)[0][0]
    into = device.put(np.zeros_like(flat))
    dW = mlp.unflatten(into, sizes)[0][0]
    products = [
        functools.partial(kernels.product, device.put(x), W),
        functools.partial(kernels.product, device.put(d), W.mT),
        functools.partial(kernels.product, device.put(x).mT, device.put(d), dW),
    ]
    expected_W = mlp.unflatten(flat, sizes)[0][0]
    for product, expected in zip(products, (x @ expected_W, d @ expected_W.mT, x.mT @ d), strict=True):
        with strict_cupy.counting() as count:
            got = product()
        assert count.launches in (0, 1)  # 0 where a true GPU did it
        assert_near(device, got, expected, float_dtype)
    untouched = mlp.unflatten(device.get(into), sizes)
    assert not untouched[0][1].any()
    assert not any(array.any() for array in untouched[1])


def test_a_product_names_what_does_not_fit(device):
    a, b = (device.put(np.zeros(shape, np.float32)) for shape in ((4, 5), (6, 7)))
    with pytest.raises(ValueError, match=r"as many columns of a as rows of b.*, got \(4, 5\) and \(6, 7\)"):
        kernels.product(a, b)
    with pytest.raises(ValueError, match="contiguous rows or columns"):
        kernels.product(a, device.put(np.zeros((5, 4, 2), np.float32))[..., 0])


def test_tf32_rounds_the_factors_of_products_and_nothing_else(device, monkeypatch):
    monkeypatch.setattr("minikd.engines.device.probe_gpu", lambda: device.xp)
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal((40, 40)).astype(np.float32) for _ in range(2))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    error, names = {}, {}
    for tf32 in (True, False):  # in this order, so that the mode is put back
        there = get_device("gpu", tf32=tf32)
        got = there.get(kernels.product(there.put(a), there.put(b)))
        error[tf32], names[tf32] = np.linalg.norm(got - exact) / np.linalg.norm(exact), there.name
    assert error[False] < 1e-6
    assert error[False] < error[True] < 2**-10
    assert names == {True: "gpu, TF32", False: "gpu"}
    assert get_device("gpu", tf32=True).name == get_device("gpu").name == "gpu, TF32"  # as it is, unless told
    assert get_device("gpu", tf32=False).name == "gpu"


# ---- a batch ---------------------------------------------------------------------------------------------------------

FEEDS = {
    "plain": {},
    "soft targets": {"alpha": 0.5, "T": 4.0},
    "jitter": {"jitter": 2, "batch_size": 31},  # its last block of threads is not full
    "dropout": {"drop_input": 0.3, "drop_hidden": 0.5},
    "a population of seeds": {"seed": (3, 4, 5), "drop_input": 0.3, "jitter": 1},
    "a population of temperatures": {"T": (2.0, 3.0), "alpha": 0.5},
}


@pytest.mark.parametrize("ahead", [0, 3 * 4 * 31 * 64, 1 << 20], ids=["one by one", "a few at once", "all at once"])
@pytest.mark.parametrize("name", FEEDS)
def test_a_batch_has_the_readable_ones_bits(name, ahead, device, float_dtype, monkeypatch):
    monkeypatch.setattr(kernels, "AHEAD", ahead)
    chosen = config(dtype=float_dtype, **FEEDS[name])
    targets = teachers_targets() if chosen.alpha else None
    expected = list(Feed(chosen, dataset(), targets, CPU).batches(1))
    got = list(Feed(chosen, dataset(), targets, device).batches(1))
    assert len(got) == len(expected) == 4
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(device.get(one.x), other.x, strict=True)
        np.testing.assert_array_equal(device.get(one.y), other.y, strict=True)
        if targets is None:
            assert one.v is None
        else:
            np.testing.assert_array_equal(device.get(one.v), other.v, strict=True)


def test_a_batch_of_frames_has_the_readable_ones_bits(device, float_dtype):
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((50, 7)).astype(np.float32)
    speech = Frames(frames, rng.permutation(46)[:40], rng.integers(0, 10, 40).astype(np.uint8), "frames", 10, 5)
    chosen = config(dtype=float_dtype, seed=(3, 4), batch_size=9)
    batches = zip(
        Feed(chosen, speech, None, CPU).batches(1), Feed(chosen, speech, None, device).batches(1), strict=True
    )
    for expected, got in batches:
        np.testing.assert_array_equal(device.get(got.x), expected.x, strict=True)
        np.testing.assert_array_equal(device.get(got.y), expected.y, strict=True)


# ---- forward and backward --------------------------------------------------------------------------------------------

SIZES = (20, 33, 40, 10)  # more and less than a block of columns


def network(leading, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((*leading, mlp.parameter_count(SIZES))).astype(dtype) / 4


def state_of(flat, device, sizes=SIZES):
    """A state on the device with these parameters."""
    return State(sizes, device.put(flat), device.put(np.zeros_like(flat)))


def dropout(device, leading, own_keys, B):
    """One dropout for the hidden layers, as the readable functions take it and as the kernels do."""
    keys = np.arange(1, 4 if own_keys and leading else 2, dtype=np.uint32)
    drawn, keyed = [None], [None]
    for drop, size in ((0.5, SIZES[1]), (0.2, SIZES[2])):
        counters = masks.hash32(np.arange(B * size, dtype=np.uint32).reshape(B, size))
        key = keys.reshape(-1, 1, 1) if len(keys) > 1 else int(keys[0])
        drawn.append(mlp.Dropout(masks.dropout_mask(counters, key, drop), drop))
        keyed.append(kernels.Keyed(device.put(keys), drop))
    return drawn, keyed


@LEADING
@pytest.mark.parametrize("shared_x", [False, True], ids=["x each", "x shared"])
@pytest.mark.parametrize("drops", [None, "shared keys", "own keys"])
@pytest.mark.parametrize("B", [5, 70])  # less and more than a block of rows
def test_forward_and_backward_are_the_readable_ones(B, drops, shared_x, leading, device, float_dtype):
    rng, flat = np.random.default_rng(1), network(leading, float_dtype)
    x = rng.standard_normal((*leading, B, 20) if not shared_x else (B, 20)).astype(float_dtype)
    dz = rng.standard_normal((*leading, B, 10)).astype(float_dtype)
    drawn, keyed = (None, None) if drops is None else dropout(device, leading, drops == "own keys", B)

    z, cache = mlp.mlp_forward(x, mlp.unflatten(flat, SIZES), drawn)
    g = np.zeros_like(flat)
    mlp.mlp_backward(dz, cache, out=mlp.unflatten(g, SIZES))

    x_there, dz_there, state = device.put(x), device.put(dz), state_of(flat, device)
    got, cache = kernels.forward(x_there, state, keyed)
    last = mlp.unflatten(flat, SIZES)[-1][1][..., None, :]  # the loss adds this bias, and writes its gradient
    assert_near(device, got, z - last, float_dtype)
    kernels.backward(dz_there, cache, state)
    for got_pair, pair in zip(state.gradients, mlp.unflatten(g, SIZES), strict=True):
        for got, expected in zip(got_pair, pair, strict=True):
            if got is not state.gradients[-1][1]:
                assert_near(device, got, expected, float_dtype)
    np.testing.assert_array_equal(device.get(x_there), x)  # arguments are not written to
    np.testing.assert_array_equal(device.get(dz_there), dz)


def test_nan_passes_through_the_hidden_layers(device):
    flat = network((), "float32")
    x = np.zeros((2, 20), np.float32)
    x[0, 0] = np.nan
    z, _ = kernels.forward(device.put(x), state_of(flat, device))
    assert np.isnan(device.get(z)).tolist() == [[True] * 10, [False] * 10]


# ---- the cost --------------------------------------------------------------------------------------------------------

COSTS = {
    "soft": {"alpha": 1.0, "T": 4.0, "y": None},
    "hard": {"alpha": 0.0, "v": None},
    "both": {"alpha": 0.7, "T": 8.0},
    "low temperature": {"alpha": 0.7, "T": 0.05},
    "each its own": {"alpha": (0.0, 0.3, 1.0), "T": (1.0, 20.0, 0.5)},
}


@LEADING
@pytest.mark.parametrize("shared", [False, True], ids=["targets each", "targets shared"])
@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize(("B", "K"), [(7, 10), (300, 3), (4, 100)])  # less and more cases than a block has threads
def test_the_cost_is_the_readable_one(B, K, name, shared, leading, device, float_dtype):
    arguments, rng = dict(COSTS[name]), np.random.default_rng(2)
    if not leading and isinstance(arguments["alpha"], tuple):
        pytest.skip("numbers of a population")
    own = () if shared else leading
    z = (10 * rng.standard_normal((*leading, B, K))).astype(float_dtype)
    arguments.setdefault("v", (10 * rng.standard_normal((*own, B, K))).astype(float_dtype))
    arguments.setdefault("y", rng.integers(0, K, (*own, B)))
    for number in ("alpha", "T"):
        if isinstance(arguments.get(number), tuple):
            arguments[number] = np.array(arguments[number], float_dtype).reshape(-1, 1, 1)
    C, dz = losses.distillation_loss(z, **arguments)
    there = {key: device.put(value) if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    flat = rng.standard_normal((*leading, K + K)).astype(float_dtype)  # of a layer with one input: weights, then biases
    state, out = state_of(flat, device, (1, K)), device.put(np.zeros(leading, float_dtype))
    unbiased = device.put(z - flat[..., None, K:])
    got_C, got_dz = kernels.loss(unbiased, state, **there, out=out)
    assert_near(device, got_C, np.asarray(C), float_dtype)
    np.testing.assert_array_equal(device.get(out), device.get(got_C))
    assert_near(device, got_dz, dz, float_dtype)
    assert_near(device, unbiased, z, float_dtype)
    gradient = device.get(state.gradient)
    assert np.linalg.norm(gradient[..., K:] - dz.sum(axis=-2)) <= TOLERANCE[float_dtype] * np.abs(dz).sum()
    assert not gradient[..., :K].any()


def test_the_cost_is_nan_where_a_logit_is(device):
    z = np.zeros((3, 10), np.float32)
    z[1, 2] = np.nan
    state = state_of(np.zeros(20, np.float32), device, (1, 10))
    C, _ = kernels.loss(device.put(z), state, v=device.put(np.zeros_like(z)), T=2.0)
    assert np.isnan(device.get(C))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"T": 0.0}, "T must be a finite number > 0, got 0.0"),
        ({"alpha": 2.0}, r"alpha must be a number in \[0, 1\], got 2.0"),
        ({"v": None}, "alpha = 0.5 gives weight to soft targets, but v is None"),
        ({"v": np.zeros((3, 4), np.float32)}, "v must have z's shape"),
        ({"y": np.zeros(3, np.int32)}, "y must be int64"),
    ],
)
def test_the_cost_refuses_what_the_readable_one_refuses(arguments, rule, device):
    given = {"v": np.zeros((3, 10), np.float32), "y": np.zeros(3, np.int64), "alpha": 0.5, **arguments}
    there = {key: device.put(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
    with pytest.raises((ValueError, TypeError), match=rule):
        kernels.loss(device.put(np.zeros((3, 10), np.float32)), state_of(np.zeros(20), device, (1, 10)), **there)


# ---- the update ------------------------------------------------------------------------------------------------------


@LEADING
@pytest.mark.parametrize("clip_norm", [None, 0.5, 1e6])
@pytest.mark.parametrize("max_norm", [None, 1.0])
def test_an_update_is_the_readable_one(max_norm, clip_norm, leading, device, float_dtype):
    rng = np.random.default_rng(3)
    p, v, g = (network(leading, float_dtype, seed) for seed in range(3))
    rate = rng.random((3, 1)).astype(float_dtype) if leading else 0.1
    settings = {"momentum": 0.9, "clip_norm": clip_norm, "max_norm": max_norm}
    expected, state = State(SIZES, p.copy(), v.copy()), State(SIZES, device.put(p), device.put(v))
    expected.gradient[...] = g
    state.gradient[...] = device.put(g)
    readable.update(expected, learning_rate=rate, **settings)
    kernels.update(state, learning_rate=device.put(rate) if leading else rate, **settings)
    for name in ("parameters", "velocity", "gradient"):
        assert_near(device, getattr(state, name), getattr(expected, name), float_dtype)
    if max_norm is not None:
        norms = np.linalg.norm(device.get(state.layers[0][0]), axis=-2)
        assert norms.max() <= max_norm * (1 + 1e-6)


def test_the_norm_of_many_parameters_is_summed_as_well_as_the_readable_one(device):
    """More parts than a block has threads, and a last block that is not full."""
    P = kernels.STRIP * (kernels.PARTS + 3) + 17
    rng = np.random.default_rng(4)
    sizes = (P - 1, 1)  # P parameters
    g = rng.standard_normal(P).astype(np.float32)
    state = State(sizes, device.put(np.zeros(P, np.float32)), device.put(np.zeros(P, np.float32)))
    state.gradient[...] = device.put(g)
    kernels.update(state, learning_rate=1.0, momentum=0.0, clip_norm=1.0, max_norm=None)
    assert_near(device, state.parameters, -g * optim.clip_factor(g, 1.0), "float32")


def test_a_gradient_that_is_not_finite_spoils_the_parameters_where_the_next_cost_shows_it(device):
    state = State((3, 2), *(device.put(np.zeros(8, np.float32)) for _ in range(2)))
    state.gradient[...] = device.put(np.array([np.inf, *range(7)], np.float32))
    kernels.update(state, learning_rate=0.1, momentum=0.9, clip_norm=1.0, max_norm=None)
    assert np.isnan(device.get(state.parameters)).all()


# ---- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_twenty_fused_steps_end_where_the_readable_ones_do(name, device, float_dtype):
    """Rounding differs, and a run carries it on: a hundred times the tolerance of one step."""
    expected, got = numpys_run(name, float_dtype), run(name, device, dtype=float_dtype)
    assert np.linalg.norm(got.flat - expected.flat) <= 100 * TOLERANCE[float_dtype] * np.linalg.norm(expected.flat)
    costs, expected_costs = ([one["cost"] for one in network.history] for network in (got, expected))
    np.testing.assert_allclose(costs, expected_costs, rtol=100 * TOLERANCE[float_dtype])


# Launches per step for three layers, besides one for the batches of many steps. Eight are products; each hidden layer
# takes two kernels; the cost and the update are one each, clipping is one more, and max-norm is one per hidden layer.
LAUNCHES = {
    "a distilled student": 14,
    "a distilled student, clipped": 15,
    "a teacher with dropout, max-norm and jitter": 16,
    "a population of seeds and temperatures": 15,
    "a population of rates and weights": 14,
    "a population with dropout and jitter": 14,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_fused_step_is_at_most_sixteen_launches_and_an_epoch_waits_and_uploads_once(name, monkeypatch):
    if host_cuda.compiler() is None:
        pytest.skip("no C++ compiler to run CUDA sources on the host")
    monkeypatch.setenv("MINIKD_GRAPH", "0")
    counts = []
    for batch_size in (32, 8):  # 4 steps and 16
        with strict_cupy.counting() as count:
            run(
                name,
                dataclasses.replace(strict_cupy.device(), engine=kernels),
                evaluate=False,
                epochs=1,
                batch_size=batch_size,
            )
        counts.append(count)
    a_step = {kernel: n / 12 for kernel, n in (counts[1].kernels - counts[0].kernels).items()}
    assert sum(a_step.values()) == LAUNCHES[name] <= 16, a_step
    assert counts[0].waited == counts[1].waited == {"get": 2}  # the costs of the epoch, the weights
    assert counts[0].uploads == counts[1].uploads  # none for a step


RATES = 4 * 4  # bytes, of four steps
EPOCH = {  # bytes that go to the device for an epoch of 128 examples, 4 steps: 8 per place in the order, and so on
    "a distilled student": 128 * 8 + RATES,
    "a distilled student, clipped": 128 * 8 + RATES,
    "a teacher with dropout, max-norm and jitter": 128 * (8 + 8) + 4 * 3 * 4 + RATES,  # shifts; keys of three layers
    "a population of seeds and temperatures": 3 * 128 * 8 + RATES,
    "a population of rates and weights": 128 * 8 + 2 * RATES,
    "a population with dropout and jitter": 2 * (128 * (8 + 8) + 4 * 3 * 4) + RATES,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_epoch_uploads_its_order_and_little_else(name, device):
    if device.xp is not strict_cupy:
        pytest.skip("bytes are counted on the stand-in")
    uploaded = []
    for epochs in (1, 3):
        with strict_cupy.counting() as count:
            run(name, device, evaluate=False, epochs=epochs)
        uploaded.append(count.uploaded)
    assert (uploaded[1] - uploaded[0]) / 2 == EPOCH[name]


# ---- the self-test ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_self_test_finds_every_kernel_right_and_counts_a_steps_launches(device, capsys):
    assert selftest.report(device, networks=((30, 20, 10),), steps=2) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("batch", "forward", "loss", "backward", "update"):
        assert any(line.startswith(name) and line.endswith("ok") for line in lines), name
    step = next(line.split() for line in lines if line.startswith("30-20-10"))
    assert step[1] == "10"  # five products, two kernels of the hidden layer, the cost, the norm and the update


@pytest.mark.parametrize("captured", [False, True])
def test_the_self_test_times_steps_without_checks_as_training_takes_them(captured, device):
    """A check asks CUDA about arrays, which is no part of a capture."""
    checked = []

    @guard(a=lambda *_: checked.append(True))
    def step(a=1):
        return a

    selftest.ms_per_step(step, device, 2, captured=captured)
    assert not checked


@pytest.mark.slow
def test_the_self_test_fails_on_a_kernel_that_is_wrong(device, capsys, monkeypatch):
    loss = kernels.loss

    def tilted(z, state, **arguments):
        C, dz = loss(z, state, **arguments)
        return C * 1.001, dz

    monkeypatch.setattr(kernels, "loss", tilted)
    assert selftest.report(device, networks=(), steps=1) == 1
    wrong = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "TOO LARGE" in line]
    assert wrong == ["loss"]


@pytest.mark.slow
def test_the_self_test_says_in_one_line_that_there_is_no_gpu():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-m", "minikd.backend"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert done.stderr.startswith("minikd.backend: no GPU: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_minikd_fused_0_turns_the_kernels_off(monkeypatch):
    monkeypatch.setattr("minikd.engines.device.probe_gpu", lambda: strict_cupy)
    for value, fused in ((None, True), ("1", True), ("0", False)):
        if value is None:
            monkeypatch.delenv("MINIKD_FUSED", raising=False)
        else:
            monkeypatch.setenv("MINIKD_FUSED", value)
        assert get_device("gpu").engine is (kernels if fused else readable)
