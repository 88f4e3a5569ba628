"""The training loop: its streams, its soft targets, its populations, its checkpoints, and how it fails."""

import math
import re
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from oracles import relative_error

from minikd.core.losses import distillation_loss
from minikd.core.mlp import initialise, mlp_backward, mlp_forward, unflatten
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.engines import readable
from minikd.engines.device import CPU
from minikd.engines.engine import Batch, State
from minikd.system.pace import Pace
from minikd.training.answers import count_errors, logits
from minikd.training.batches import Feed
from minikd.training.checkpoint import CheckpointError
from minikd.training.config import TrainConfig, stream
from minikd.training.loop import Run, TrainingDiverged, train, train_step
from minikd.training.teacher import soft_targets

TINY = TrainConfig(hidden=(12, 9), epochs=3, batch_size=16, learning_rate=0.05, dtype="float64")


@pytest.fixture(scope="module")
def white() -> Dataset:
    """A hundred white images, in whose batches every zero was dropped."""
    return Dataset(np.full((100, 5, 6), 255, np.uint8), np.zeros(100, np.uint8), "white", classes=10)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """100 random images of 6 × 5 pixels: enough to follow every number."""
    rng = np.random.default_rng(5)
    return Dataset(
        rng.integers(0, 256, (100, 6, 5), dtype=np.uint8), rng.integers(0, 10, 100, dtype=np.uint8), "digits"
    )


@pytest.fixture(scope="module")
def targets(digits):
    return soft_targets(train(replace(TINY, seed=9), digits), digits)


# ---- batches and streams ---------------------------------------------------------------------------------------------


def numbers_of(feed: Feed, dataset: Dataset, epoch: int) -> list[list[int]]:
    """Which examples each batch holds, found by their pixels."""
    known = {(image.reshape(-1) / 255).round(9).tobytes(): n for n, image in enumerate(dataset.images)}
    return [[known[x.round(9).tobytes()] for x in batch.x] for batch in feed.batches(epoch)]


def test_an_epoch_holds_each_example_at_most_once_and_leaves_out_the_remainder(digits):
    feed = Feed(TINY, digits, None, CPU)
    first, second = ([n for batch in numbers_of(feed, digits, epoch) for n in batch] for epoch in (0, 1))
    assert len(first) == len(set(first)) == 96
    assert first != second, "each epoch has an order of its own"


def test_labels_and_soft_targets_follow_the_shuffled_images(digits, targets):
    feed = Feed(replace(TINY, alpha=0.5), digits, targets, CPU)
    for numbers, batch in zip(numbers_of(feed, digits, 3), feed.batches(3), strict=True):
        assert batch.y.tolist() == digits.labels[numbers].tolist()
        assert np.array_equal(batch.v, targets.logits[numbers])


def test_one_use_of_randomness_never_moves_another(digits):
    base = numbers_of(Feed(TINY, digits, None, CPU), digits, 1)
    assert numbers_of(Feed(replace(TINY, epochs=50, drop_hidden=0.5), digits, None, CPU), digits, 1) == base
    jittered = Feed(replace(TINY, jitter=1), digits, None, CPU)
    assert [b.y.tolist() for b in jittered.batches(1)] == [digits.labels[n].tolist() for n in base]
    draws = {name: stream(7, name).random() for name in ("initialisation", "order", "jitter", "dropout")}
    assert len(set(draws.values())) == 4


def test_jitter_moves_each_image_by_up_to_so_many_pixels_both_ways_and_fills_with_zeros():
    dot = np.zeros((400, 7, 7), np.uint8)
    dot[:, 3, 3] = 255
    config = TrainConfig(hidden=(2,), batch_size=400, jitter=2)
    (batch,) = Feed(config, Dataset(dot, np.zeros(400, np.uint8), "dots"), None, CPU).batches(0)
    places = np.argwhere(batch.x.reshape(400, 7, 7) == 1)[:, 1:] - 3  # where the dot went, (400, 2)
    assert {tuple(place) for place in places.tolist()} == {(r, c) for r in range(-2, 3) for c in range(-2, 3)}
    assert np.all(np.abs(places.mean(axis=0)) < 4 * math.sqrt(2 / 400)), "as often one way as the other"
    assert batch.x.sum() == 400, "nothing else enters"


def test_images_stay_bytes_and_batches_are_of_the_dtype(digits):
    feed = Feed(replace(TINY, dtype="float32"), digits, None, CPU)
    batch = next(feed.batches(0))
    assert (feed.source.X.dtype, batch.x.dtype) == (np.uint8, np.float32)
    assert 0 <= batch.x.min() < batch.x.max() <= 1


def kept(batch):
    """The masks of a batch of white images, layer by layer: the input's shows in x."""
    assert batch.dropout[0] is None, "the input's dropout is done already"
    return [batch.x > 0, *(state.keep for state in batch.dropout[1:])]


def test_dropout_masks_differ_between_steps_layers_and_seeds(white):
    feed = Feed(replace(TINY, hidden=(30,), drop_input=0.5, drop_hidden=0.5, seed=(1, 2)), white, None, CPU)
    one, two = (kept(batch) for batch, _ in zip(feed.batches(0), range(2), strict=False))
    assert one[0].shape == (2, 16, 30)
    masks = [one[0][0], one[0][1], one[1][0], two[0][0], two[1][1]]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert 0.4 < np.mean(a == b) < 0.6


# ---- where it begins -------------------------------------------------------------------------------------------------


def test_training_begins_at_the_weights_given_and_leaves_them_alone(digits):
    begun = train(replace(TINY, seed=9), digits)
    before = begun.flat.copy()
    still = train(replace(TINY, epochs=1, learning_rate=1e-12), digits, start=begun)
    assert np.allclose(still.flat, before, rtol=0, atol=1e-9)
    moved = train(replace(TINY, learning_rate=(1e-12, 0.1)), digits, start=begun)
    assert np.allclose(moved.flat[0], before, rtol=0, atol=1e-9)
    assert not np.allclose(moved.flat[1], before, rtol=0, atol=1e-3)
    assert np.array_equal(begun.flat, before)


def test_a_start_that_does_not_fit_is_refused(digits):
    for other in (replace(TINY, hidden=(5,)), replace(TINY, seed=(0, 1)), replace(TINY, dtype="float32")):
        with pytest.raises(ValueError, match=r"start must be one float64 network of layer sizes \(\d+, "):
            train(TINY, digits, start=train(other, digits))


def test_a_checkpoint_from_another_start_is_refused(digits, tmp_path):
    path = tmp_path / "c.safetensors"
    train(TINY, digits, start=train(replace(TINY, seed=9), digits), checkpoint_path=path)
    with pytest.raises(CheckpointError, match="belongs to another start"):
        train(TINY, digits, checkpoint_path=path, resume=True)


def test_each_epochs_network_is_handed_out_with_its_history(digits):
    seen = []
    last = train(TINY, digits, on_epoch=lambda network: seen.append((network.flat.copy(), len(network.history))))
    assert [epochs for _, epochs in seen] == [1, 2, 3]
    assert np.array_equal(seen[-1][0], last.flat)
    assert not np.array_equal(seen[0][0], last.flat)


# ---- soft targets ----------------------------------------------------------------------------------------------------


def test_soft_targets_are_the_same_bits_twice_and_independent_of_dropout(digits):
    teacher = train(replace(TINY, drop_hidden=0.5), digits)
    first, second = soft_targets(teacher, digits), soft_targets(teacher, digits)
    assert np.array_equal(first.logits, second.logits)
    z, _ = mlp_forward(digits.images.reshape(100, -1) / 255, teacher.layers())
    assert np.allclose(first.logits, z, rtol=1e-12)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(TINY, alpha=0.5, jitter=1), "set jitter=0"),
        (TINY, "alpha = 0 gives them no weight"),
    ],
)
def test_soft_targets_that_do_not_fit_the_configuration_are_refused(digits, targets, config, message):
    with pytest.raises(ValueError, match=message):
        train(config, digits, soft_targets=targets)


def test_soft_targets_of_other_data_or_of_another_order_are_refused(digits, targets):
    for other in (digits.take(np.arange(100)[::-1]), digits.take(np.arange(99))):
        with pytest.raises(ValueError, match="belong to another data set"):
            train(replace(TINY, alpha=0.5), other, soft_targets=targets)


def test_a_later_change_of_the_callers_arrays_reaches_neither_soft_targets_nor_their_data_set(digits, targets):
    images, theirs = digits.images.copy(), targets.logits.copy()
    dataset = Dataset(images, digits.labels, "mine")
    soft = SoftTargets(theirs, dataset.fingerprint, "mine")
    images[:], theirs[:] = images[::-1], 0
    config = replace(TINY, alpha=0.5)
    same = train(config, digits, soft_targets=targets)
    np.testing.assert_array_equal(train(config, dataset, soft_targets=soft).flat, same.flat)
    with pytest.raises(ValueError, match="soft targets must be a NumPy array, got list"):
        SoftTargets([[1.0, 2.0]], dataset.fingerprint, "mine")


def test_missing_and_infinite_soft_targets_are_refused(digits, targets):
    with pytest.raises(ValueError, match="but got none: pass soft_targets"):
        train(replace(TINY, alpha=0.5), digits)
    with pytest.raises(ValueError, match="must be finite"):
        SoftTargets(np.full_like(targets.logits, np.nan), digits.fingerprint, "x").check(digits)
    with pytest.raises(ValueError, match=r"one row per example, \(100, 10\)"):
        SoftTargets(targets.logits[:50], digits.fingerprint, "x").check(digits)


def test_an_arithmetic_means_targets_train_at_their_own_T_alone(digits, targets):
    mean = replace(targets, T=2.0)
    train(replace(TINY, alpha=0.5, T=2.0), digits, soft_targets=mean)
    for T in (2.5, (2.0, 2.5)):
        with pytest.raises(ValueError, match=r"hold only for T = 2\.0,"):
            train(replace(TINY, alpha=0.5, T=T), digits, soft_targets=mean)


def test_the_teachers_digest_tells_teachers_apart(digits, targets):
    again = soft_targets(train(replace(TINY, seed=9), digits), digits)
    other = soft_targets(train(replace(TINY, seed=10), digits), digits)
    assert targets.teacher == again.teacher != other.teacher


def test_a_population_cannot_be_the_teacher(digits):
    with pytest.raises(ValueError, match="must be one network"):
        soft_targets(train(replace(TINY, seed=(1, 2)), digits), digits)


# ---- what training does ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_student_learns_digits_and_more_from_a_better_informed_teacher(mnist_data):
    everything, test = mnist_data
    few, some = everything.take(np.arange(600)), everything.take(np.arange(600, 6600))
    student = TrainConfig(hidden=(40,), epochs=8, batch_size=32)
    teacher = train(TrainConfig(hidden=(100,), epochs=5), some)
    alone = train(student, few)
    taught = train(replace(student, alpha=0.9, T=3.0), few, soft_targets=soft_targets(teacher, few))
    errors = [count_errors(network, test) for network in (teacher, taught, alone)]
    assert errors[0] < errors[1] < errors[2] < 2000


def test_the_history_holds_the_mean_cost_the_rate_and_the_errors(digits):
    network = train(TINY, digits, evaluation=digits)
    assert [record["epoch"] for record in network.history] == [1, 2, 3]
    assert network.history[-1]["errors"] == count_errors(network, digits)
    assert network.history[-1]["errors"] == np.count_nonzero(logits(network, digits).argmax(-1) != digits.labels)
    assert 0 < network.history[-1]["learning_rate"] < network.history[0]["learning_rate"] < 0.05
    assert network.history[0]["cost"] == pytest.approx(math.log(10), abs=1)


def test_max_norm_holds_for_hidden_layers_alone(digits):
    network = train(replace(TINY, max_norm=0.5), digits)
    norms = [np.linalg.norm(W, axis=0).max() for W, _ in network.layers()]
    assert max(norms[:-1]) <= 0.5 + 1e-12 < norms[-1]


# ---- populations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropping", [0.0, 0.3])
def test_students_trained_together_equal_students_trained_alone(digits, targets, dropping):
    config = replace(TINY, drop_hidden=dropping)
    each = [
        replace(config, seed=s, T=T, alpha=a, learning_rate=r)
        for s, T, a, r in [(0, 1.5, 0.2, 0.1), (1, 8.0, 0.9, 0.05), (2, 20.0, 1.0, 0.02)]
    ]
    together = replace(
        config, **{name: tuple(getattr(c, name) for c in each) for name in ("seed", "T", "alpha", "learning_rate")}
    )
    population = train(together, digits, soft_targets=targets, evaluation=digits)
    for i, alone in enumerate(each):
        network = train(alone, digits, soft_targets=targets, evaluation=digits)
        assert np.linalg.norm(population.flat[i] - network.flat) <= 1e-12 * np.linalg.norm(network.flat)
        assert population.history[-1]["errors"][i] == network.history[-1]["errors"]
        assert population.history[-1]["cost"][i] == pytest.approx(network.history[-1]["cost"], rel=1e-12)


def test_students_of_one_seed_share_their_batches_and_their_start(digits, targets):
    population = train(replace(TINY, T=(2.0, 2.0, 9.0), alpha=1.0), digits, soft_targets=targets)
    alone = train(replace(TINY, T=2.0, alpha=1.0), digits, soft_targets=targets)
    assert np.array_equal(population.flat[0], population.flat[1])
    assert not np.array_equal(population.flat[0], population.flat[2])
    assert np.linalg.norm(population.flat[0] - alone.flat) <= 1e-12 * np.linalg.norm(alone.flat)


def test_a_population_of_seeds_has_the_bits_of_each_alone(digits):
    config = replace(TINY, dtype="float32", jitter=1, drop_input=0.2, max_norm=1.0)
    population = train(replace(config, seed=(3, 4)), digits)
    for i, seed in enumerate((3, 4)):
        assert np.array_equal(population.flat[i], train(replace(config, seed=seed), digits).flat)


@pytest.mark.parametrize("alpha", [(0.0,), (0.0, 0.0)])
def test_a_population_that_gives_soft_targets_no_weight_needs_none(digits, alpha):
    population = train(replace(TINY, alpha=alpha), digits)
    for one in population.flat:
        np.testing.assert_allclose(one, train(TINY, digits).flat, rtol=1e-12, atol=1e-12)


# ---- stopping and going on -------------------------------------------------------------------------------------------


class Stopped(Exception):
    pass


@pytest.mark.parametrize("config", [TINY, replace(TINY, dtype="float32", jitter=1, drop_hidden=0.4, seed=(1, 2))])
def test_a_stopped_run_goes_on_to_the_same_bits(digits, tmp_path, config):
    path = tmp_path / "run.safetensors"

    def stop(network):
        raise Stopped

    for _ in range(2):
        with pytest.raises(Stopped):
            train(config, digits, checkpoint_path=path, resume=True, on_epoch=stop)
    resumed = train(config, digits, checkpoint_path=path, resume=True)
    straight = train(config, digits)
    assert np.array_equal(resumed.flat, straight.flat)
    assert [r["cost"] for r in resumed.history] == [r["cost"] for r in straight.history]


def test_saving_takes_a_twentieth_of_the_time_at_most(digits, tmp_path, monkeypatch):
    now, saved = 0.0, []

    def save(run, path):
        nonlocal now
        saved.append(len(run.history))
        now += 1.0

    def epoch_done(network):
        nonlocal now
        now += 5.0

    monkeypatch.setattr("minikd.training.loop.Pace", lambda: Pace(lambda: now))
    monkeypatch.setattr(Run, "save", save)
    train(replace(TINY, epochs=10), digits, checkpoint_path=tmp_path / "run.safetensors", on_epoch=epoch_done)
    assert saved == [1, 5, 9]


def test_without_resume_a_checkpoint_is_not_read(digits, tmp_path):
    path = tmp_path / "run.safetensors"
    path.write_bytes(b"no checkpoint")
    train(TINY, digits, checkpoint_path=path)
    assert len(train(TINY, digits, checkpoint_path=path, resume=True).history) == 3


@pytest.mark.parametrize("name", ["learning_rate", "seed", "hidden"])
def test_a_checkpoint_of_another_configuration_is_refused(digits, tmp_path, name):
    path = tmp_path / "run.safetensors"
    train(TINY, digits, checkpoint_path=path)
    other = replace(TINY, **{name: {"learning_rate": 0.06, "seed": 1, "hidden": (12, 8)}[name]})
    with pytest.raises(CheckpointError, match=r"run.safetensors: it belongs to another config"):
        train(other, digits, checkpoint_path=path, resume=True)


def test_a_checkpoint_of_other_data_or_another_teacher_is_refused(digits, targets, tmp_path):
    path, config = tmp_path / "run.safetensors", replace(TINY, alpha=0.5)
    train(config, digits, soft_targets=targets, checkpoint_path=path)
    other = soft_targets(train(replace(TINY, seed=10), digits), digits)
    with pytest.raises(CheckpointError, match="another teacher"):
        train(config, digits, soft_targets=other, checkpoint_path=path, resume=True)
    train(TINY, digits, checkpoint_path=path)
    with pytest.raises(CheckpointError, match="another dataset"):
        train(TINY, digits.take(np.arange(64)), checkpoint_path=path, resume=True)


# ---- failing ---------------------------------------------------------------------------------------------------------


def test_a_cost_that_is_not_finite_stops_the_run_and_names_step_rate_and_mend(digits):
    steps = []
    with pytest.raises(TrainingDiverged) as caught:
        train(replace(TINY, learning_rate=1e200), digits, on_step=lambda done, of: steps.append(done))
    found = re.fullmatch(
        r"the cost is (nan|inf) at step (\d+) of 18, learning rate (\S+): try a lower .*", str(caught.value)
    )
    assert found, caught.value
    assert int(found[2]) == len(steps) + 1, "at once"
    assert 0 < float(found[3]) <= 1e200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", (0,)),
        ("hidden", ()),
        ("hidden", 800),
        ("hidden", (2.5,)),
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", (0.1, -1.0)),
        ("warmup", 1.0),
        ("momentum", 1.0),
        ("drop_input", 1.0),
        ("drop_hidden", -0.1),
        ("max_norm", 0.0),
        ("clip_norm", -1.0),
        ("jitter", -1),
        ("jitter", 1.5),
        ("alpha", 1.1),
        ("T", 0.0),
        ("T", 1e-4),
        ("T", (2.0, math.inf)),
        ("T", "8"),
        ("seed", -1),
        ("epochs", (1, 2)),
        ("epochs", True),
        ("dtype", "float16"),
    ],
)
def test_a_bad_setting_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be .*got {re.escape(repr(value))}"):
        replace(TINY, **{name: value})


def test_a_population_has_one_size():
    with pytest.raises(ValueError, match="one size"):
        replace(TINY, seed=(1, 2), T=(1.0, 2.0, 3.0))


def test_a_batch_larger_than_the_data_is_refused(digits):
    with pytest.raises(ValueError, match="batch_size must be at most the number of examples, 100, got 101"):
        train(replace(TINY, batch_size=101), digits)


def test_training_is_the_loop_that_its_configuration_describes(digits, targets):
    """The same steps in plain arithmetic, so that each setting is known to reach the place where it counts."""
    config = replace(TINY, alpha=0.6, T=3.0, learning_rate=0.2, momentum=0.5, warmup=0.25, clip_norm=0.3, max_norm=1.5)
    sizes, rise, steps = (30, *TINY.hidden, 10), 4, 18  # the rise is a quarter, rounded
    p = initialise(sizes, stream(0, "initialisation"), "float64")
    v, layers, norms, lengths = np.zeros_like(p), unflatten(p, sizes), [], []
    feed = Feed(config, digits, targets, CPU)
    for step, batch in enumerate(batch for epoch in range(3) for batch in feed.batches(epoch)):
        z, cache = mlp_forward(batch.x, layers)
        _, dz = distillation_loss(z, v=batch.v, y=batch.y, T=3.0, alpha=0.6)
        g = np.concatenate([array.ravel() for layer in mlp_backward(dz, cache)[0] for array in layer])
        norms.append(np.linalg.norm(g))
        factor = (step + 1) / rise if step < rise else (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2
        v = 0.5 * v - 0.2 * factor * min(1.0, 0.3 / norms[-1]) * g
        p += v
        for W, _ in layers[:-1]:
            lengths.extend(np.linalg.norm(W, axis=0))
            W *= np.minimum(1.0, 1.5 / np.linalg.norm(W, axis=0))
    assert min(norms) < 0.3 < max(norms), "some steps are clipped, and some are not"
    assert min(lengths) < 1.5 < max(lengths), "some columns are shortened, and some are not"
    assert relative_error(train(config, digits, soft_targets=targets).flat, p) < 1e-12


@pytest.mark.parametrize("block", [1, 7, 50, 68])
def test_parameters_updated_in_blocks_have_the_bits_of_all_at_once(block, monkeypatch):
    sizes, rng = (5, 7, 3), np.random.default_rng(0)  # 66 parameters
    start, velocity, gradient = rng.standard_normal((3, 66))
    whole, cut = (State(sizes, start.copy(), velocity.copy()) for _ in range(2))
    for state, at_once in ((whole, 66), (cut, block)):
        monkeypatch.setattr(readable, "BLOCK", at_once)
        state.gradient[...] = gradient
        readable.update(state, learning_rate=0.1, momentum=0.9, clip_norm=1.0, max_norm=None)
    np.testing.assert_array_equal(cut.parameters, whole.parameters)
    assert np.all(whole.parameters != start)


def test_inputs_and_hidden_units_are_dropped_by_shares_of_their_own(white):
    """Within five standard deviations, over all masks of an epoch; and each case has a mask of its own."""
    feed = Feed(replace(TINY, drop_input=0.2, drop_hidden=0.6), white, None, CPU)
    for masks, drop in zip(zip(*map(kept, feed.batches(0)), strict=True), (0.2, 0.6, 0.6), strict=True):
        keep = np.stack(masks)  # (steps, B, D)
        assert abs(np.mean(~keep) - drop) < 5 * math.sqrt(drop * (1 - drop) / keep.size)
        assert len({tuple(mask) for mask in keep.reshape(-1, keep.shape[-1])}) > 0.8 * len(keep) * 16
    batch = next(feed.batches(0))
    assert [state.drop for state in batch.dropout[1:]] == [0.6, 0.6]
    assert set(np.unique(batch.x).round(12)) == {0.0, 1.25}, "what is kept is scaled up"


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_a_step_allocates_what_backpropagation_needs(monkeypatch):
    """Counted, not timed. Of (B, H): two products, with their ReLUs in place, then what comes back and a mask."""
    monkeypatch.setattr(readable, "BLOCK", 1 << 14)  # so that what the update allocates is small
    B, H = 128, 256
    rng = np.random.default_rng(0)
    sizes = (784, H, H, 10)
    p = initialise(sizes, rng)
    state = State(sizes, p, np.zeros_like(p))
    x, v = rng.random((B, 784), dtype=np.float32), rng.standard_normal((B, 10)).astype(np.float32)
    batch = Batch(x, rng.integers(0, 10, B), v, dropout=None)
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        train_step(readable, state, batch, T=8.0, alpha=0.9, learning_rate=0.01, clip_norm=1.0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] == pytest.approx(peaks[2], rel=0.01)
    assert peaks[2] < 4.6 * B * H * 4


def test_memory_does_not_grow_from_epoch_to_epoch(digits, targets):
    held = []
    config = TrainConfig(hidden=(32,), epochs=6, batch_size=32, alpha=0.5, T=4.0, drop_hidden=0.5, clip_norm=1.0)
    tracemalloc.start()
    train(config, digits, soft_targets=targets, on_epoch=lambda _: held.append(tracemalloc.get_traced_memory()[0]))
    tracemalloc.stop()
    assert max(held[2:]) - held[1] < 16_384  # four records of the history, and what Python keeps for itself
