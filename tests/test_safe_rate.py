"""The rate that minikd chooses is safe: for every teacher, every T, every width and depth, every batch."""

from dataclasses import replace

import numpy as np
import pytest

from minikd.core.losses import distillation_loss
from minikd.data.frames import Frames
from minikd.data.soft_targets import SoftTargets
from minikd.distil.choices import settings
from minikd.training.answers import logits
from minikd.training.loop import TrainingDiverged, train

T = (1.0, 3.0, 10.0, 30.0, 100.0)  # one population
N, K = 400, 4
rng = np.random.default_rng(0)
X = rng.normal(size=(N, 10)).astype(np.float32)
V = X @ rng.normal(size=(10, K)).astype(np.float32)  # a range of about 6 nats
DATA = Frames(X, np.arange(N), np.argmax(V, axis=1), "points", K, 1)


def learnt(scale, hidden, **changes):
    """The costs after 8 epochs or 400 steps, that of the answer that all classes are alike, and its errors."""
    v = V * np.float32(scale)
    config = replace(settings(v, hidden, T=1.0, alpha=0.7), T=T, **changes)
    config = replace(config, epochs=max(1, min(8, 400 * config.batch_size // N)))
    z = logits(train(config, DATA, soft_targets=SoftTargets(v, DATA.fingerprint, "points")), DATA)  # (5, N, K)
    per_T = {"T": np.float32(T).reshape(-1, 1, 1), "alpha": 0.7, "v": np.broadcast_to(v, z.shape)}
    y = np.broadcast_to(DATA.labels.astype(np.int64), z.shape[:-1])
    cost, idle = (distillation_loss(one, y=y, **per_T)[0] for one in (z, np.zeros_like(z)))
    return cost, idle, np.count_nonzero(np.argmax(z, axis=-1) != y, axis=-1)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e2, 1e3])
@pytest.mark.parametrize(
    ("hidden", "batch_size"), [((20,), 25), ((200, 200), 25), ((30,) * 8, 25), ((20, 20), 1), ((20, 20), 8)]
)
def test_no_student_diverges_and_each_learns(scale, hidden, batch_size):
    cost, idle, errors = learnt(scale, hidden, batch_size=batch_size)
    assert np.isfinite(cost).all()
    assert (cost <= idle * 1.0001).all()  # at T = 100 and a range of 0.06, both are the teacher's entropy, times T²
    assert (errors < 0.45 * N).all()  # guessing makes about 0.65 N errors


@pytest.mark.parametrize("hidden", [(200, 200), (30,) * 8])
def test_it_is_the_clipping_that_makes_the_rate_safe(hidden):
    with pytest.raises(TrainingDiverged, match="the cost is"):
        learnt(1e3, hidden, clip_norm=None)
