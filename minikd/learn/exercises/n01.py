"""The exercises of notebook 1: the softened softmax, and the entropy of an answer."""

import math
from typing import Any

import numpy as np

from minikd.core.softmax import log_softmax, softmax
from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(1)
_LOGITS = tuple((_rng.normal(0, 4, (3, K)), T) for K, T in ((4, 1.0), (10, 8.0), (3, 0.5)))
_LARGE = (np.array([[1e4, 0.0, -1e4], [2e4, 2e4, 0.0], [2e4, 1.5e4, 0.0]]), 2.0)
_ANSWERS = ((softmax(_rng.normal(0, 3, (4, 5))),), (np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),))


def _powers(z: Any, T: float) -> Any:
    with np.errstate(all="ignore"):
        return np.exp(z / T)


def _naive(z: Any, T: float) -> Any:
    with np.errstate(all="ignore"):
        return _powers(z, T) / _powers(z, T).sum(axis=-1, keepdims=True)


def _surprise(q: Any, base: float = math.e) -> Any:
    return np.array([-sum(x * np.log(x) for x in row if x > 0) / np.log(base) for row in q])


def _infinite(q: Any, weighted: bool = True) -> Any:
    with np.errstate(all="ignore"):
        return -np.sum((q if weighted else 1.0) * np.log(q), axis=-1)


EXERCISES = {
    "1.1": Exercise(
        "the softened softmax",
        solution=lambda z, T: softmax(z, T),
        cases=(*_LOGITS, _LARGE),
        mistakes={
            "right where nothing overflows; subtract each case's largest logit before exp": _naive,
            "T multiplies the logits, it should divide them": lambda z, T: softmax(z, 1 / T),
            "T has no effect: divide the logits by it before exp, and with them the largest one": lambda z, T: softmax(
                z
            ),
            "clipped: two large logits become alike; subtract each case's largest logit instead": lambda z, T: softmax(
                np.clip(z / T, -700, 700)
            ),
            "T divides the probabilities, it should divide the logits": lambda z, T: softmax(z) / T,
            "softmax twice: it takes logits, not probabilities": (
                lambda z, T: softmax(softmax(z, T)),
                lambda z, T: softmax(softmax(z), T),
                lambda z, T: softmax(softmax(z, T), T),
            ),
            "the sum is over the batch, it should be over the classes, axis -1": lambda z, T: (
                softmax(z.mT if hasattr(z, "mT") else z.T, T).T
            ),
            "exp without the sum below: each case must sum to one": (
                lambda z, T: np.exp((z - z.max(axis=-1, keepdims=True)) / T),
                lambda z, T: _powers(z, T),
            ),
            "the sum is over the whole batch, it should be over the classes of each case, axis -1": (
                lambda z, T: _powers(z - z.max(), T) / _powers(z - z.max(), T).sum(),
                lambda z, T: _powers(z, T) / _powers(z, T).sum(),
            ),
            "subtract each case's own largest logit, not that of the batch": lambda z, T: _naive(z - z.max(), T),
            "divided by the mean, it should be the sum: each case must sum to one": lambda z, T: (
                softmax(z, T) * z.shape[-1]
            ),
            "exp is missing: probabilities are exp of the logits over T, over their sum": lambda z, T: (
                z / z.sum(axis=-1, keepdims=True)
            ),
            "that is the logarithm: take its exponential": log_softmax,
            "a power of the softmax at T = 1 must be divided by its own sum": lambda z, T: softmax(z) ** (1 / T),
            "that is the one answer, T → 0; every class has a probability": lambda z, T: np.eye(z.shape[-1])[
                z.argmax(axis=-1)
            ],
        },
    ),
    "1.2": Exercise(
        "the entropy of an answer",
        solution=_surprise,
        cases=_ANSWERS,
        mistakes={
            "right where no probability is zero; 0 log 0 is 0, not NaN": _infinite,
            "in bits: log is the natural one, for nats": lambda q: _surprise(q, 2.0),
            "the sign: log of a probability is negative": lambda q: -_surprise(q),
            "the mean over classes, it should be their sum": lambda q: _surprise(q) / q.shape[-1],
            "one number for the batch, it should be one per case": (
                lambda q: np.sum(_surprise(q)),
                lambda q: np.mean(_surprise(q)),
            ),
            "in decimal digits: log is the natural one, for nats": lambda q: _surprise(q, 10.0),
            "the sum is over the batch, it should be over the classes, axis -1": lambda q: _surprise(q.T),
            "one term per class: add them up, over axis -1": lambda q: np.where(q > 0, -q * np.log(q + (q == 0)), 0.0),
            "q is missing in front of the logarithm: each class counts by its probability": lambda q: _infinite(
                q, weighted=False
            ),
            "that is the perplexity, e to the entropy": lambda q: np.exp(_surprise(q)),
        },
    ),
}
