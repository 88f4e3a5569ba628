"""What a job of MNIST can be: train a network, average an ensemble, look at gradients.

A task takes plain settings and the results it needs, and returns a record and arrays. Teachers pass on their logits for
all training images. A transfer set is a part of these, so its soft targets are some of those rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from minikd.core.layers import Cache, affine_backward, relu_backward
from minikd.core.losses import hard_cross_entropy, soft_cross_entropy
from minikd.core.mlp import initialise, mlp_forward, parameter_count
from minikd.core.softmax import softmax
from minikd.data.checks import freeze
from minikd.data.frames import Frames
from minikd.data.images import Dataset, load_mnist
from minikd.data.soft_targets import SoftTargets
from minikd.engines.device import Device
from minikd.engines.readable import scaled
from minikd.paper.lab.jobs import Inputs, Job, Json, Output, Result
from minikd.theory.ensembles import arithmetic_mean, geometric_mean
from minikd.training.answers import count_errors, logits
from minikd.training.config import TrainConfig, stream
from minikd.training.loop import TrainingDiverged, train
from minikd.training.network import Network

GRADIENT_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0, 40.0, 100.0)
LABEL_DRAWS = 20
"""How often `gradients_task` draws labels from the teacher's probabilities."""


# ---- data ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Which part of MNIST, and which labels.

    Attributes:
        first: take only this many training and test images, for a quick look; 0 for all.
        held_out: let the last of this many training images stand in for the test set, for choices.
        classes: of the transfer set; () for all.
        share: of the training images, drawn at random.
        wrong: the share of labels that another class replaces, drawn at random.
        seed: of both draws.
    """

    first: int = 0
    held_out: int = 0
    classes: tuple[int, ...] = ()
    share: float = 1.0
    wrong: float = 0.0
    seed: int = 0

    def load(self) -> tuple[Dataset, np.ndarray, Dataset, Dataset]:
        """Load the data.

        Returns:
            The training images with their true labels.
            The index of the transfer set among them.
            The transfer set.
            The test images.
        """
        full, test = mnist()
        if self.held_out:  # by place, as the committed choices were made; MNIST is not sorted by class
            cut = len(full) - self.held_out
            full, test = full.take(np.arange(cut)), full.take(np.arange(cut, len(full)))
        if self.first:
            full, test = full.take(np.arange(self.first)), test.take(np.arange(self.first))
        N, rng = len(full), np.random.default_rng(self.seed)
        chosen = np.sort(rng.permutation(N)[: round(self.share * N)])
        if self.classes:
            chosen = chosen[np.isin(full.labels[chosen], self.classes)]
        transfer = full.take(chosen)
        if self.wrong:
            labels = transfer.labels.copy()
            false = rng.permutation(len(labels))[: round(self.wrong * len(labels))]
            other = rng.integers(1, full.classes, size=len(false), dtype=np.uint8)
            labels[false] = (labels[false] + other) % full.classes
            transfer = replace(transfer, labels=labels)
        return full, chosen, transfer, test


@cache
def mnist() -> tuple[Dataset, Dataset]:
    """Return MNIST, unpacked once per process: a worker does many jobs."""
    return load_mnist()


# ---- what tasks share ------------------------------------------------------------------------------------------------


def config_of(settings: Json) -> TrainConfig:
    """Return the configuration among a job's settings."""
    return TrainConfig(**_tuples(settings["config"]))


def host_logits(network: Network, data: Dataset | Frames, device: Device) -> np.ndarray:
    """Return a network's logits, (..., N, K), on the host."""
    return device.get(logits(network, data, device))


def errors(z: np.ndarray, labels: np.ndarray) -> Any:
    """Return how many of the largest logits (..., N, K) are not the label's: an int, or a list of them."""
    return np.count_nonzero(wrong(z, labels), axis=-1).tolist()


def wrong(z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return of which cases the largest logit (..., N, K) is not the label's, (..., N) bool."""
    return np.asarray(np.argmax(z, axis=-1) != labels)


class Best:
    """Early stopping: called after each epoch, it keeps the first network with the fewest errors on held-out cases."""

    def __init__(self, held: Dataset | Frames, device: Device) -> None:
        self.held, self.device, self.fewest = held, device, len(held) + 1

    def __call__(self, network: Network) -> None:
        count = count_errors(network, self.held, self.device)
        if count < self.fewest:
            self.fewest, self.epoch = count, network.history[-1]["epoch"]
            self.network = replace(network, flat=network.flat.copy())


def _data_of(settings: Json) -> Data:
    return Data(**_tuples(settings["data"]))


def _tuples(settings: Json) -> dict[str, Any]:
    """Return JSON's lists as the tuples they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


def soft_targets(teacher: Result, chosen: np.ndarray, transfer: Dataset | Frames) -> SoftTargets:
    """Return a teacher's answers to the transfer set, which has the training examples `chosen`."""
    return SoftTargets(freeze(teacher.arrays["train"][chosen]), transfer.fingerprint, "", teacher.record.get("T"))


def _outside(full: Dataset, chosen: np.ndarray, seed: Any) -> Dataset:
    """Return 10,000 training images for early stopping, drawn at random among those that are not chosen."""
    others = np.setdiff1d(np.arange(len(full)), chosen)
    if not len(others):
        raise ValueError("early stopping needs training images outside the transfer set: use a smaller share")
    return full.take(np.random.default_rng(seed).permutation(others)[:10_000])


# ---- tasks -----------------------------------------------------------------------------------------------------------


def train_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Train a network, or a population; `teacher`, if needed, gives its soft targets.

    With `may_diverge`, a run that diverges returns errors None, and nothing else.

    Returns:
        The record:

        - errors: on the `tested` test images, one number per student.
        - cost: that of the last epoch.
        - examples: how many the transfer set has.
        - train_errors: errors on the transfer set, with `count_train`.
        - stopped: with `stop_early`, errors and train_errors in the first epoch with the fewest errors on 10,000
          training images outside the transfer set, and the number of this epoch.

        The arrays:

        - wrong: which test images are wrong, (..., N) bool.
        - stopped.wrong: with `stop_early`, the same in that epoch.
        - train: the logits of all training images, (..., N, K), if `keep` lists it.
        - test: the logits of the test images, (..., N, K), if `keep` lists it.
        - weights: the flat parameters, (..., P), if `keep` lists them.
    """
    full, chosen, transfer, test = _data_of(settings).load()
    config = config_of(settings)
    targets = soft_targets(inputs["teacher"], chosen, transfer) if "teacher" in inputs else None
    best = Best(_outside(full, chosen, config.seed), device) if settings.get("stop_early") else None
    try:
        network = train(config, transfer, soft_targets=targets, device=device, on_epoch=best)
    except TrainingDiverged:
        if not settings.get("may_diverge"):
            raise
        return {"errors": None}, {}
    z = host_logits(network, test, device)
    record = {"cost": network.history[-1]["cost"], "examples": len(transfer), "tested": len(test)}
    record["errors"] = errors(z, test.labels)
    if settings.get("count_train"):
        record["train_errors"] = count_errors(network, transfer, device)
    keep = {"train": lambda: host_logits(network, full, device), "test": lambda: z, "weights": lambda: network.flat}
    arrays = {"wrong": wrong(z, test.labels), **{name: keep[name]() for name in settings["keep"]}}
    if best is not None:
        arrays["stopped.wrong"] = there = wrong(host_logits(best.network, test, device), test.labels)
        train_errors = count_errors(best.network, transfer, device)
        record["stopped"] = {"errors": int(there.sum()), "train_errors": train_errors, "epoch": best.epoch}
    return record, arrays


def mean_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Average an ensemble's answers to those of one teacher: `kind` is "geometric", or "arithmetic", which holds at T.

    Returns:
        The record: errors, on the test images, and for the arithmetic mean its T.
        The arrays, as `train_task` returns them.
    """
    _, _, _, test = _data_of(settings).load()
    arithmetic, T = settings["kind"] == "arithmetic", settings["T"]
    members = {name: np.stack([member.arrays[name] for member in inputs.values()]) for name in ("train", "test")}
    arrays = {name: arithmetic_mean(v, T) if arithmetic else geometric_mean(v) for name, v in members.items()}
    record = {"errors": errors(arrays["test"], test.labels), **({"T": T} if arithmetic else {})}
    return record, {"wrong": wrong(arrays["test"], test.labels), **arrays}


def gradients_task(settings: Json, inputs: Inputs, device: Device) -> Output:
    """Train a student on soft targets, and look at the gradients on the first 10,000 images on the way.

    Returns:
        The record: moments, one each for epoch 0 (the fresh network), epoch 1 and the last epoch. A moment holds:

        - hard: what `measure_gradients` says about the hard cost.
        - soft: the same about the soft costs at `GRADIENT_TEMPERATURES`, without T².
        - identity: what `variances` says.
    """
    full, chosen, transfer, _ = _data_of(settings).load()
    config = config_of(settings)
    targets = soft_targets(inputs["teacher"], chosen, transfer)
    looked = slice(0, 10_000)
    x: np.ndarray = scaled(transfer.images[looked].reshape(-1, transfer.images[0].size), config.dtype)
    y, v = transfer.labels[looked].astype(np.int64), targets.logits[looked]
    moments = []

    def look(network: Network) -> None:
        epoch = network.history[-1]["epoch"] if network.history else 0
        if epoch in (0, 1, config.epochs):
            z, caches = mlp_forward(x, network.layers())
            hard = measure_gradients(caches, len(x) * hard_cross_entropy(z, y=y)[1])
            soft = [
                measure_gradients(caches, len(x) * soft_cross_entropy(z, v=v, T=T)[1]) for T in GRADIENT_TEMPERATURES
            ]
            identity = variances(z, v, settings["draws"], np.random.default_rng(config.seeds[0]))
            moments.append({"epoch": epoch, "hard": hard, "soft": soft, "identity": identity})

    sizes = (x.shape[1], *config.hidden, full.classes)
    look(Network(sizes, initialise(sizes, stream(config.seeds[0], "initialisation"), config.dtype)))
    train(config, transfer, soft_targets=targets, device=device, on_epoch=look)
    return {"moments": moments}, {}


def measure_gradients(caches: Cache, dz: np.ndarray) -> dict[str, float | None]:
    """Measure the gradients of N cases, one by one.

    A case's gradient of W is an outer product, so its norm is a product of norms.

    The noise is tr Cov / ‖E g‖². The mean ḡ of N cases holds noise too: E‖ḡ‖² = ‖E g‖² + tr Cov/N. So
    ‖ḡ‖² − tr Cov/N estimates ‖E g‖², where tr Cov has the divisor N − 1. If r̂ is the plug-in, the mean of ‖g − ḡ‖² over
    ‖ḡ‖², then the ratio is r̂ N / (N − 1 − r̂), about r̂ / (1 − r̂/N).

    Args:
        caches: of `mlp_forward`.
        dz: (N, K), each case's own gradient, not divided by N.

    Returns:
        - size: the mean L2 norm of a row of dz.
        - noise: the variance between cases of the gradient of all parameters, divided by the square of its mean. None
          if r̂ ≥ N − 1: then N cases cannot tell the mean from 0, and only the lower bound is known.
        - noise_at_least: r̂, which is a lower bound on average.
    """
    N = len(dz)
    d: Any = dz
    squares, square_of_sum = np.zeros(N), 0.0
    for relu_cache, _, (x, W) in reversed(caches):
        squares += (np.sum(x**2, axis=-1) + 1) * np.sum(d**2, axis=-1)  # of W's gradient, and of b's
        d, dW, db = affine_backward(d, (x, W), input_gradient=relu_cache is not None)
        square_of_sum += float(np.sum(dW**2) + np.sum(db**2))
        if relu_cache is not None:
            d = relu_backward(d, relu_cache)
    size = float(np.mean(np.linalg.norm(dz, axis=-1)))
    plug_in = float(np.mean(squares)) * N**2 / square_of_sum - 1
    noise = plug_in * N / (N - 1 - plug_in) if plug_in < N - 1 else None
    return {"size": size, "noise": noise, "noise_at_least": plug_in}


def variances(z: np.ndarray, v: np.ndarray, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Measure how much more hard gradients vary than soft ones, if labels are drawn from the teacher's p at T = 1.

    Then the soft gradient of a case, q − p, is the mean of the hard one, q − onehot(y), over its labels. So
    tr Cov(hard) − tr Cov(soft) = E[1 − ‖p‖²], by the law of total variance (derivation D12.1 to D12.4). These are the
    gradients of the logits; those of the weights lose what derivation D12.5 says.

    Args:
        z: (N, K), the student's logits.
        v: (N, K), the teacher's.
        draws: how often each case gets a label.
        rng: draws them.

    Returns:
        - hard: the total variance of the hard gradient between cases, the mean over the draws.
        - soft: that of the soft gradient.
        - expected: the mean of 1 − ‖p‖².
    """
    q, p = softmax(z.astype(np.float64)), softmax(v.astype(np.float64))
    bounds = np.cumsum(p, axis=-1)[:, :-1]

    def hard() -> float:
        y = np.sum(rng.random((len(p), 1)) > bounds, axis=-1)
        return total_variance(q - np.eye(p.shape[-1])[y])

    found = [hard() for _ in range(draws)]
    expected = float(np.mean(1 - np.sum(p**2, axis=-1)))
    return {"hard": float(np.mean(found)), "soft": total_variance(q - p), "expected": expected}


def total_variance(g: np.ndarray) -> float:
    """Return the trace of the covariance of N cases (N, K), with the divisor N − 1."""
    return float(np.sum(np.var(g, axis=0, ddof=1)))


# ---- jobs ------------------------------------------------------------------------------------------------------------


def training(
    title: str,
    config: TrainConfig,
    data: Data,
    *,
    teacher: Job | None = None,
    keep: tuple[str, ...] = (),
    **options: bool,
) -> Job:
    """Return the job that trains such a network on such data.

    Args:
        title: for people.
        config: of the network.
        data: the transfer set and the test set.
        teacher: gives soft targets.
        keep: what to keep of the network: the logits "train" and "test", and the "weights".
        **options: of `train_task`: count_train, stop_early, may_diverge.
    """
    settings: Json = {"config": config.record(), "data": asdict(data), "keep": list(keep)}
    settings |= {name: True for name, wanted in options.items() if wanted}
    return Job(train_task, settings, {} if teacher is None else {"teacher": teacher}, title, _work(config, data))


def gradients(title: str, config: TrainConfig, data: Data, teacher: Job) -> Job:
    """Return the job that looks at the gradients of such a student."""
    settings = {"config": config.record(), "data": asdict(data), "draws": LABEL_DRAWS}
    return Job(gradients_task, settings, {"teacher": teacher}, title, _work(config, data) + 10)


def mean(title: str, kind: str, T: float, members: Iterable[Job], data: Data) -> Job:
    """Return the job that averages the answers of an ensemble."""
    needs = {f"member {m}": member for m, member in enumerate(members)}
    return Job(mean_task, {"kind": kind, "T": T, "data": asdict(data)}, needs, title)


def _work(config: TrainConfig, data: Data) -> float:
    """Estimate the products of a run, in units of about a second."""
    examples = (data.first or 60_000) * data.share * (len(data.classes) / 10 if data.classes else 1)
    runs = config.epochs * (config.population or 1)
    return 1e-10 * parameter_count((784, *config.hidden, 10)) * examples * runs + 0.5
