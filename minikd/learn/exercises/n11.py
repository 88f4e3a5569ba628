"""The exercises of notebook 11: posteriors become likelihoods, and a step of Viterbi's algorithm."""

from typing import Any

import numpy as np

from minikd.core.softmax import log_softmax, softmax
from minikd.learn.exercises import Exercise

_rng = np.random.default_rng(11)
_SCORES = tuple((_rng.normal(0, 3, (4, K)), np.log(_rng.dirichlet(np.ones(K)))) for K in (3, 8, 21))
_STEPS = tuple((_rng.normal(0, 2, S), _rng.normal(0, 2, (S, S)), _rng.normal(0, 2, S)) for S in (2, 3, 6))


def _step(best: Any, arc: Any, score: Any) -> Any:
    return score + np.max(best[:, None] + arc, axis=0)


EXERCISES = {
    "11.1": Exercise(
        "from logits to scaled likelihoods",
        solution=lambda z, log_prior: log_softmax(z) - log_prior,
        cases=_SCORES,
        mistakes={
            "the posterior, and not yet over the prior": lambda z, log_prior: log_softmax(z),
            "posterior times prior: divide, so subtract the logarithm": lambda z, log_prior: log_softmax(z) + log_prior,
            "logits less log prior; right for the path, but log p(s|x) has the softmax's sum": lambda z, log_prior: (
                z - log_prior
            ),
            "the prior's logarithm is given: its exponential was subtracted": lambda z, log_prior: (
                log_softmax(z) - np.exp(log_prior)
            ),
            "the sign: log posterior less log prior": lambda z, log_prior: log_prior - log_softmax(z),
            "the posterior's logarithm is missing": (
                lambda z, log_prior: softmax(z) - log_prior,
                lambda z, log_prior: softmax(z) - np.exp(log_prior),
                lambda z, log_prior: softmax(z) / log_prior,
            ),
            "logarithms are subtracted, not divided": lambda z, log_prior: log_softmax(z) / log_prior,
            "a posterior sums to one over the states of a frame, axis -1": lambda z, log_prior: (
                log_softmax(z.T).T - log_prior
            ),
            "the prior's logarithm is given: no second logarithm": lambda z, log_prior: (
                log_softmax(z) - np.log(-log_prior)
            ),
            "a ratio of probabilities; take its logarithm": lambda z, log_prior: np.exp(log_softmax(z) - log_prior),
        },
    ),
    "11.2": Exercise(
        "one step of Viterbi's algorithm",
        solution=_step,
        cases=_STEPS,
        mistakes={
            "arcs are arc[from, to], and were taken the other way round": lambda best, arc, score: _step(
                best, arc.T, score
            ),
            "the maximum is over the states it comes from, axis 0 of best[:, None] + arc": lambda best, arc, score: (
                score + np.max(best[:, None] + arc, axis=1)
            ),
            "best belongs to the state it comes from: best[:, None] + arc": (
                lambda best, arc, score: score + np.max(best + arc, axis=0),
            ),
            "one weight for all: the maximum is over one axis": lambda best, arc, score: (
                score + np.max(best[:, None] + arc)
            ),
            "weights are logarithms: along a path they are added": lambda best, arc, score: (
                score + np.max(best[:, None] * arc, axis=0)
            ),
            "the least weight; the best path has the largest": lambda best, arc, score: (
                score + np.min(best[:, None] + arc, axis=0)
            ),
            "the score is that of the state it goes to: add it after the maximum": lambda best, arc, score: np.max(
                best[:, None] + arc + score[:, None], axis=0
            ),
            "that is where the best path comes from; its weight is asked for": lambda best, arc, score: np.argmax(
                best[:, None] + arc, axis=0
            ),
            "the score of the new frame is missing": lambda best, arc, score: _step(best, arc, 0.0),
            "a sum over the paths: that is the forward pass, Viterbi takes the maximum": (
                lambda best, arc, score: score + np.log(np.sum(np.exp(best[:, None] + arc), axis=0)),
                lambda best, arc, score: score + np.sum(best[:, None] + arc, axis=0),
            ),
            "the best of all states for every state; the arcs were forgotten": lambda best, arc, score: (
                score + np.max(best)
            ),
            "the weight of the path so far is missing": lambda best, arc, score: _step(np.zeros_like(best), arc, score),
        },
    ),
}
