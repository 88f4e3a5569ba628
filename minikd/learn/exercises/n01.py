"""The exercises of notebook 1: the softened softmax, and the entropy of an answer."""

from typing import Any

import numpy as np

from minikd.core.softmax import log_softmax, softmax
from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(1)
_LOGITS = tuple((_rng.normal(0, 4, (3, K)), T) for K, T in ((4, 1.0), (10, 8.0), (3, 0.5)))
_LARGE = (np.array([[1e4, 0.0, -1e4], [2e4, 2e4, 0.0], [2e4, 1.5e4, 0.0]]), 2.0)
_ANSWERS = ((softmax(_rng.normal(0, 3, (4, 5))),), (np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]),))


def _shares(powers: Any, axis: int | None = -1) -> Any:
    return powers / powers.sum(axis=axis, keepdims=True)


def _not_softened(z: Any, T: float) -> dict[str, Any]:
    powers, below_case, below_batch = (np.exp(u / T) for u in (z, z - z.max(axis=-1, keepdims=True), z - z.max()))
    q, q_at_1, clipped = softmax(z, T), softmax(z), softmax(np.clip(z / T, -700, 700))
    return {
        "right where nothing overflows; subtract each case's largest logit before exp": _shares(powers),
        "T multiplies the logits; it should divide them": softmax(z, 1 / T),
        "T has no effect: divide the logits by it before exp, and with them the largest one": q_at_1,
        "clipped: two large logits become alike; subtract each case's largest logit instead": clipped,
        "T divides the probabilities; it should divide the logits": q_at_1 / T,
        "softmax twice: it takes logits, not probabilities": [softmax(q), softmax(q_at_1, T), softmax(q, T)],
        "the sum is over the batch; it should be over the classes, axis -1": [
            softmax(z.T, T).T,
            *(_shares(u, axis=0) for u in (below_case, below_batch, powers)),
        ],
        "exp without the sum below: each case must sum to one": [below_case, powers],
        "the sum is over the whole batch; it should be over the classes of each case, axis -1": [
            _shares(u, axis=None) for u in (below_batch, powers)
        ],
        "subtract each case's own largest logit, not that of the batch": _shares(below_batch),
        "divided by the mean; it should be the sum: each case must sum to one": q * z.shape[-1],
        "exp is missing: probabilities are exp of the logits over T, over their sum": _shares(z),
        "that is the logarithm: take its exponential": log_softmax(z, T),
        "a power of the softmax at T = 1 must be divided by its own sum": q_at_1 ** (1 / T),
        "that is the limit T → 0; at any other T every class has a probability": np.eye(z.shape[-1])[z.argmax(axis=-1)],
    }


def _entropy(q: Any) -> Any:
    return np.array([-sum(x * np.log(x) for x in row if x > 0) for row in q])


def _no_entropy(q: Any) -> dict[str, Any]:
    nats, K = _entropy(q), q.shape[-1]
    return {
        "right where no probability is zero; 0 log 0 is 0, not NaN": -np.sum(q * np.log(q), axis=-1),
        "that is in bits: take the natural logarithm, for nats": nats / np.log(2),
        "the sign: log of a probability is negative": -nats,
        "the mean over classes; it should be their sum": nats / K,
        "one number for the batch; it should be one per case": [np.sum(nats), np.mean(nats)],
        "that is in decimal digits: take the natural logarithm, for nats": nats / np.log(10),
        "the sum is over the batch; it should be over the classes, axis -1": _entropy(q.T),
        "one term per class: add them up, over axis -1": np.where(q > 0, -q * np.log(q + (q == 0)), 0.0),
        "q is missing in front of the logarithm: each class counts by its probability": -np.sum(np.log(q), axis=-1),
        "that is the perplexity, e to the entropy": np.exp(nats),
    }


EXERCISES = {
    "1.1": Exercise("the softened softmax", softmax, _not_softened, (*_LOGITS, _LARGE)),
    "1.2": Exercise("the entropy of an answer", _entropy, _no_entropy, _ANSWERS),
}
