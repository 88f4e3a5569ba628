"""An epoch of 12,800 images from resident bytes, with and without jitter and dropout; scikit-learn on hard targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks import pytorch
from benchmarks.contestants import ALPHA, MOMENTUM, RATE, TEACHER, T, images, minikd_epoch, name, random_targets
from benchmarks.pytorch import EAGER, FUSED, WHOLE
from benchmarks.timing import Bench, Step, over
from minikd.data.images import Dataset
from minikd.training.config import TrainConfig

LABELS, UNIT = ("network", "what"), "s"
HARD, NOISE, SOFT = "hard targets", "hard targets, jitter and dropout", "distilled"
RUNS = ((TEACHER, HARD), (TEACHER, NOISE), ((800, 800), SOFT), ((30, 30), HARD), ((30, 30), SOFT))
SETTINGS: dict[str, dict[str, Any]] = {
    HARD: {},
    NOISE: {"jitter": 2, "drop_input": 0.2, "drop_hidden": 0.5},
    SOFT: {"T": T, "alpha": ALPHA},
}


def rows(bench: Bench) -> Iterator[dict[str, Any]]:
    """Yield each row as soon as it is measured."""
    dataset = images(bench)
    for hidden, what in [((30, 30), one) for one in SETTINGS] if bench.quick else RUNS:
        config = TrainConfig(hidden, learning_rate=RATE, momentum=MOMENTUM, clip_norm=None, **SETTINGS[what])
        targets = random_targets(dataset) if config.alpha else None
        steps = {"minikd": minikd_epoch(config, dataset, targets, bench.device)}
        steps |= pytorch.epochs(config, dataset, targets, bench)
        if what == HARD and bench.place == "cpu":
            steps |= sklearn_epoch(config, dataset, bench)
        # The order of the images is each contestant's own, so the mean costs of an epoch agree only roughly.
        timed = bench.measure(steps, seconds=30, turn=1, block=1, warm=False, tolerance=0.05)
        yield {"network": name(hidden), "what": what, **timed}


def sklearn_epoch(config: TrainConfig, dataset: Dataset, bench: Bench) -> dict[str, Step]:
    """`partial_fit` is one epoch in batches, shuffled, from float32 images. Its initial weights are its own."""
    try:
        from sklearn.neural_network import MLPClassifier
    except ImportError:
        bench.left_out["scikit-learn"] = "not installed; it comes with the extra bench"
        return {}
    classifier = MLPClassifier(
        config.hidden,
        solver="sgd",
        alpha=0.0,
        batch_size=config.batch_size,
        learning_rate_init=RATE,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        random_state=0,
    )
    X = dataset.images.reshape(len(dataset), -1).astype(np.float32) / 255

    def epoch() -> None:
        classifier.partial_fit(X, dataset.labels, classes=np.arange(10))

    return {"scikit-learn": epoch}


def derived(row: dict[str, Any]) -> dict[str, float]:
    """Return the ratios of a row, by their titles."""
    return {
        "minikd ÷ best PyTorch": over(row, "minikd", EAGER, FUSED, WHOLE),
        "minikd ÷ scikit-learn": over(row, "minikd", "scikit-learn"),
    }
