"""The exercises of notebook 11: posteriors become likelihoods, and a step of Viterbi's algorithm."""

from typing import Any

import numpy as np

from minikd.core.softmax import log_softmax, softmax
from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(11)
_SCORES = tuple((_rng.normal(0, 3, (4, K)), np.log(_rng.dirichlet(np.ones(K)))) for K in (3, 8, 21))
_STEPS = tuple((_rng.normal(0, 2, S), _rng.normal(0, 2, (S, S)), _rng.normal(0, 2, S)) for S in (2, 3, 6))


def _likelihood(z: Any, log_prior: Any) -> Any:
    return log_softmax(z) - log_prior


def _no_likelihood(z: Any, log_prior: Any) -> dict[str, Any]:
    q, log_q = softmax(z), log_softmax(z)
    return {
        "that is the posterior; divide it by the prior": log_q,
        "that is posterior times prior: divide, so subtract the logarithm": log_q + log_prior,
        "logits minus log prior; right for the path, but log p(s|x) has the softmax's sum": z - log_prior,
        "the prior's logarithm is given: its exponential was subtracted": log_q - np.exp(log_prior),
        "the sign: log posterior minus log prior": log_prior - log_q,
        "the posterior's logarithm is missing": [q - log_prior, q - np.exp(log_prior), q / log_prior],
        "logarithms are subtracted, not divided": log_q / log_prior,
        "a posterior sums to one over the states of a frame, axis -1": log_softmax(z.T).T - log_prior,
        "the prior's logarithm is given: no second logarithm": log_q - np.log(-log_prior),
        "that is a ratio of probabilities; take its logarithm": np.exp(log_q - log_prior),
    }


def _step(best: Any, arc: Any, score: Any) -> Any:
    return score + np.max(best[:, None] + arc, axis=0)


def _no_step(best: Any, arc: Any, score: Any) -> dict[str, Any]:
    paths = best[:, None] + arc  # (from, to)
    log_sum = np.log(np.sum(np.exp(paths), axis=0))
    return {
        "arcs are arc[from, to], and were taken the other way round": _step(best, arc.T, score),
        "the maximum is over the states it comes from, axis 0 of best[:, None] + arc": score + np.max(paths, axis=1),
        "best belongs to the state it comes from: best[:, None] + arc": score + np.max(best + arc, axis=0),
        "one weight for all: the maximum is over one axis": score + np.max(paths),
        "weights are logarithms: along a path they are added": score + np.max(best[:, None] * arc, axis=0),
        "that is the least weight; the best path has the largest": score + np.min(paths, axis=0),
        "the score is that of the state it goes to: add it after the maximum": np.max(paths + score[:, None], axis=0),
        "that is where the best path comes from; return its weight": np.argmax(paths, axis=0),
        "the score of the new frame is missing": np.max(paths, axis=0),
        "a sum over the paths is the forward pass; Viterbi takes the maximum": [
            score + total for total in (log_sum, np.sum(paths, axis=0))
        ],
        "the best of all states for every state; the arcs were forgotten": score + np.max(best),
        "the weight of the path so far is missing": score + np.max(arc, axis=0),
    }


EXERCISES = {
    "11.1": Exercise("from logits to scaled likelihoods", _likelihood, _no_likelihood, _SCORES),
    "11.2": Exercise("one step of Viterbi's algorithm", _step, _no_step, _STEPS),
}
