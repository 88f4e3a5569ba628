"""The search for T and the rate on held-out examples."""

from dataclasses import replace

import numpy as np
import pytest

from minikd.data.frames import Frames
from minikd.data.images import Dataset
from minikd.data.soft_targets import SoftTargets
from minikd.distil.search import Round, search
from minikd.training.config import TrainConfig
from minikd.training.loop import TrainingDiverged

K = 4
CONFIG = TrainConfig(hidden=(16,), epochs=8, batch_size=32, learning_rate=0.1, alpha=0.8, T=4.0, seed=3)


def points(N=400):
    """Features with a teacher that knows the rule, in a random order."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 6)).astype(np.float32)
    v = 4 * X @ rng.normal(size=(6, K)).astype(np.float32)
    data = Frames(X, np.arange(N), np.argmax(v, axis=1), "points", K, 1)
    return data, SoftTargets(v, data.fingerprint, "rule")


def images(N=200):
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, N)
    pixels = (np.arange(16).reshape(4, 4) // 4 == y[:, None, None]) * 200 + rng.integers(0, 50, (N, 4, 4))
    data = Dataset(pixels.astype(np.uint8), y, "stripes", K)
    return data, SoftTargets(8 * np.eye(K, dtype=np.float32)[y], data.fingerprint, "rule")


def test_each_round_halves_the_candidates_and_doubles_the_epochs():
    found = search(CONFIG, *points())
    assert [len(one.T) for one in found.rounds] == [16, 8, 4, 2]
    assert [one.epochs for one in found.rounds] == [1, 2, 4, 8]
    for before, after in zip(found.rounds, found.rounds[1:], strict=False):
        kept = set(zip(after.T, after.learning_rate, strict=True))
        pairs = dict(zip(zip(before.T, before.learning_rate, strict=True), before.errors, strict=True))
        assert max(pairs[one] for one in kept) <= min(error for one, error in pairs.items() if one not in kept)


def test_what_is_found_is_the_best_of_the_last_round_and_all_else_is_as_it_was():
    found = search(CONFIG, *points())
    last = found.rounds[-1]
    best = int(np.argmin(last.errors))
    assert found.config == replace(CONFIG, T=last.T[best], learning_rate=last.learning_rate[best])


def test_a_rate_that_learns_nothing_loses_and_a_T_that_teaches_nothing_too():
    config = replace(CONFIG, alpha=1.0, T=0.01)
    found = search(config, *points(), temperatures=[4.0, 0.01], learning_rates=[1e-6, 0.1])
    assert (found.config.T, found.config.learning_rate) == (4.0, 0.1)
    found = search(replace(CONFIG, learning_rate=1e-6), *points(), temperatures=[4.0], learning_rates=[0.1])
    assert found.config.learning_rate == 0.1
    assert "what was chosen without a search, T = 4 and a rate of 1e-06, made " in found.why


def test_a_candidate_that_diverges_loses_and_the_others_are_as_they_were_without_it():
    found = search(CONFIG, *points(), temperatures=[4.0], learning_rates=[0.1, 1e38, 0.05, 1e37])
    assert found.rounds[0].errors[1] == found.rounds[0].errors[3] == 80
    assert found.rounds[0].learning_rate == (0.1, 1e38, 0.05, 1e37)
    assert found.rounds[-1].learning_rate == (0.1, 0.05)
    without = search(CONFIG, *points(), temperatures=[4.0], learning_rates=[0.1, 0.05])
    assert found.rounds[-1] == without.rounds[-1]
    assert found.config == without.config


def test_a_search_says_so_where_every_candidate_diverges():
    with pytest.raises(TrainingDiverged, match=r"every candidate of the search: the cost is .*: try lower"):
        search(replace(CONFIG, learning_rate=1e38), *points(), temperatures=[4.0], learning_rates=[1e37])


def test_the_seed_decides_everything():
    assert search(CONFIG, *points()) == search(CONFIG, *points())
    assert search(CONFIG, *points()).rounds != search(replace(CONFIG, seed=4), *points()).rounds


def test_held_out_examples_are_not_learnt_from():
    """A teacher that lies about the held-out examples changes nothing."""
    data, targets = points()
    held = np.concatenate([np.flatnonzero(data.labels == k)[-(np.sum(data.labels == k) // 10) :] for k in range(K)])
    lies = targets.logits.copy()
    lies[held] = -lies[held]
    honest, lied = (search(CONFIG, data, one) for one in (targets, SoftTargets(lies, data.fingerprint, "liar")))
    assert honest.rounds == lied.rounds


@pytest.mark.parametrize("make", [points, images])
def test_images_and_features_are_searched_and_progress_is_told(make):
    heard, steps = [], []
    found = search(CONFIG, *make(), on_round=heard.append, on_step=lambda *at: steps.append(at))
    assert heard == found.rounds
    assert isinstance(heard[0], Round)
    done, totals = zip(*steps, strict=True)
    assert list(done) == list(range(1, totals[0] + 1))
    assert set(totals) == {done[-1]}


def test_soft_targets_of_one_temperature_are_searched_at_that_one():
    data, targets = points()
    only = SoftTargets(targets.logits, data.fingerprint, "mean", T=4.0)
    assert {T for one in search(CONFIG, data, only).rounds for T in one.T} == {4.0}


def test_T_stays_at_1_or_above():
    assert min(search(replace(CONFIG, T=1.5, epochs=1), *points(100)).rounds[0].T) == 1.0


def test_fewer_examples_than_a_batch_are_one_batch():
    assert search(replace(CONFIG, batch_size=50), *points(50)).config.batch_size == 50


def test_the_reason_has_its_numbers():
    found = search(CONFIG, *points())
    T, rate = found.config.T, found.config.learning_rate
    assert found.why.startswith(
        f"T = {T:g} and a rate of {rate:g}, because of 16 candidates (T 1 to 8, rates 0.025 to 0.2)"
    )
    assert f"{min(found.rounds[-1].errors)} on 80 held-out examples" in found.why
    alone = search(CONFIG, *points(), temperatures=[4.0], learning_rates=[0.1])
    assert alone.why == "T = 4 and a rate of 0.1, because nothing else was to be tried."


def test_what_cannot_be_searched_is_refused():
    data, targets = points()
    with pytest.raises(ValueError, match="of one student, got a population of 2"):
        search(replace(CONFIG, T=(1.0, 2.0)), data, targets)
    with pytest.raises(ValueError, match=r"share must be in \(0, 1\), got 1"):
        search(CONFIG, data, targets, share=1)
    with pytest.raises(ValueError, match="another data set"):
        search(CONFIG, data.take(np.arange(100)), targets)
