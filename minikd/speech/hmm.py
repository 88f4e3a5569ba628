"""The hidden Markov model: a path of states behind the frames, the best one, and the sum over all (derivation D11).

States and the arcs between them make a `Graph`. A network says how well each state explains each frame. `viterbi` finds
the best path: through the states of a known text, which aligns speech with it, or through a loop of all words, which
recognises them. `forward` adds up all paths. Everything is in natural logarithms. Leading axes are utterances, which
share a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from minikd.speech import Floats, Ints

WORDS = 10
NEVER = -np.inf


class Graph(NamedTuple):
    """Where a path may go: S graph states, each with up to P arcs into it.

    Args:
        source: (S, P) int, where each arc comes from.
        arc: (S, P) float, the log weight of each arc, −∞ where there is none.
        start: (S,), the log weight of beginning in each state.
        end: (S,), the log weight of ending in each state.
        state: (S,) int, the acoustic state that explains a frame there. Several graph states may share one, as the two
            3s of "33" do.
    """

    source: Ints
    arc: Floats
    start: Floats
    end: Floats
    state: Ints


def viterbi(score: NDArray[np.floating], graph: Graph, lengths: Ints | None = None) -> tuple[Floats, Ints]:
    """Return the log weight of the best path through the graph, and this path (derivation D11.1).

        δ_0(s) = start(s) + score_0(s),   δ_t(s) = score_t(s) + max_r [δ_{t−1}(r) + arc(r → s)]      (derivation D11.3)

    The arcs that won are kept, and followed back from the best state to end in (derivation D11.4). The weight is at
    most that of all paths together, and not far below it (derivation D11.5). Adding a number to all scores of a frame
    changes no path (derivation D11.7).

    Args:
        score: (..., F, S) float, how well each graph state explains each frame.
        graph: where a path may go.
        lengths: (...,) int, the frames of each utterance, 1 to F, or None for F each. What comes after is not read.

    Returns:
        The log weight, (...,), −∞ if there is no path; and the path, (..., F) int, graph states, −1 after the end.
    """
    F, utterances = score.shape[-2], score.shape[:-2]
    ends = np.full(utterances, F) if lengths is None else np.asarray(lengths)
    best = graph.start + score[..., 0, :]  # (..., S)
    won = np.zeros((F, *best.shape), np.int16)  # which arc into each state
    for t in range(1, F):
        candidates = best[..., graph.source] + graph.arc  # (..., S, P)
        won[t] = np.argmax(candidates, axis=-1)
        step = np.max(candidates, axis=-1) + score[..., t, :]
        best = np.where((t < ends)[..., np.newaxis], step, best)
    final = best + graph.end
    at = np.argmax(final, axis=-1)  # (...,)
    path = np.full((*utterances, F), -1)
    for t in reversed(range(F)):
        path[..., t] = np.where(t < ends, at, -1)
        arc = np.take_along_axis(won[t], at[..., np.newaxis], axis=-1)[..., 0]
        at = np.where((t > 0) & (t < ends), graph.source[at, arc], at)
    return np.max(final, axis=-1), path


def forward(score: NDArray[np.floating], graph: Graph) -> Floats:
    """Return the log of the summed weight of all paths, by a sum in place of the maximum (derivation D11.2).

    Args:
        score: (..., F, S) float, how well each graph state explains each frame.
        graph: where a path may go.

    Returns:
        (...,) float64.
    """
    total = graph.start + score[..., 0, :]  # (..., S)
    for t in range(1, score.shape[-2]):
        total = np.logaddexp.reduce(total[..., graph.source] + graph.arc, axis=-1) + score[..., t, :]
    return np.asarray(np.logaddexp.reduce(total + graph.end, axis=-1))


# ---- digits ----------------------------------------------------------------------------------------------------------


class Model(NamedTuple):
    """Ten digits of `per_digit` states each, from left to right, and silence, the last state.

    Args:
        per_digit: states per digit.
        stay: (states,) log probability of staying in a state for another frame. The rest is the probability of leaving.
    """

    per_digit: int
    stay: Floats

    @property
    def states(self) -> int:
        """The number of acoustic states, which are the classes of the network."""
        return WORDS * self.per_digit + 1

    @property
    def leave(self) -> Floats:
        """(states,) log probability of leaving each state."""
        return np.log(-np.expm1(self.stay))


def fresh(per_digit: int) -> Model:
    """Return a model that knows nothing yet: each state lasts two frames on average."""
    return Model(per_digit, np.full(WORDS * per_digit + 1, np.log(0.5)))


def chain(model: Model, digits: Sequence[int]) -> Graph:
    """Return the graph of a known text: its digits' states in a row, with an optional silence around each digit."""
    n, silence = model.per_digit, model.states - 1
    state = [silence]
    for digit in digits:
        state += [*range(digit * n, digit * n + n), silence]
    S = len(state)
    graph_state = np.array(state)
    back = np.arange(3)  # from itself, from the state before, and, past a silence, from the one before that
    source = np.maximum(np.arange(S)[:, np.newaxis] - back, 0)
    arc = np.full((S, 3), NEVER)
    arc[:, 0] = model.stay[graph_state]
    arc[1:, 1] = model.leave[graph_state[:-1]]
    first = np.arange(n + 2, S, n + 1)  # first states of the second and later digits: past a silence
    arc[first, 2] = model.leave[graph_state[first - 2]]
    start, end = np.full(S, NEVER), np.full(S, NEVER)
    start[:2], end[-2:] = 0.0, 0.0
    return Graph(source, arc, start, end, graph_state)


def loop(model: Model, penalty: float) -> Graph:
    """Return the graph of any string of digits: any digit or silence may follow any other, at a price per digit.

    Args:
        model: the states and how long they last.
        penalty: added to the log weight at the beginning of each digit. The lower it is, the fewer digits are
            recognised (derivation D11.10).
    """
    n, S = model.per_digit, model.states
    exits = np.append(np.arange(n - 1, S - 1, n), S - 1)  # last states, and silence
    source = np.zeros((S, 1 + len(exits)), np.int64)
    arc = np.full(source.shape, NEVER)
    source[:, 0], arc[:, 0] = np.arange(S), model.stay
    source[1:, 1], arc[1:, 1] = np.arange(S - 1), model.leave[:-1]
    first = np.arange(0, S - 1, n)
    source[first, 1:], arc[first, 1:] = exits, model.leave[exits] + penalty
    source[-1, 1:-1], arc[-1, 1:-1] = exits[:-1], model.leave[exits[:-1]]  # silence stays by its own arc
    start, end = np.full(S, NEVER), np.full(S, NEVER)
    start[first], start[-1] = penalty, 0.0
    end[exits] = 0.0
    return Graph(source, arc, start, end, np.arange(S))


def words(path: Ints, model: Model) -> tuple[int, ...]:
    """Return the digits along a path (F,) through a loop. A digit begins where its first state is entered."""
    path = path[path >= 0]
    entered = np.append(True, path[1:] != path[:-1])
    first = (path % model.per_digit == 0) & (path < model.states - 1)
    return tuple((path[entered & first] // model.per_digit).tolist())
