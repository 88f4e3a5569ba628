"""The hidden Markov model against every path enumerated: the sum, the best path, alignment, recognition."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikd.core.softmax import log_softmax
from minikd.speech import hmm
from minikd.speech.hmm import NEVER, Graph, Model, chain, forward, loop, viterbi, words


def random_graph(rng, S):
    """A graph as a list of arcs, some states unreachable, some dead ends; and a table of its arcs for the oracle."""
    table = np.where(rng.random((S, S)) < 0.6, rng.normal(size=(S, S)), NEVER)  # table[r, s], from r to s
    source = np.tile(np.arange(S), (S, 1))
    start, end = (np.where(rng.random(S) < 0.7, rng.normal(size=S), NEVER) for _ in range(2))
    return Graph(source, table.T.copy(), start, end, np.arange(S)), table


def every_path(score, table, start, end):
    """(log weight, path) of each path that there is, term by term along it."""
    F, S = score.shape
    for path in product(range(S), repeat=F):
        weight = start[path[0]] + score[0, path[0]]
        for t in range(1, F):
            weight += table[path[t - 1], path[t]] + score[t, path[t]]
        yield weight + end[path[-1]], path


def table_of(graph):
    S = len(graph.state)
    table = np.full((S, S), NEVER)
    for s, p in np.ndindex(graph.arc.shape):
        if graph.arc[s, p] > NEVER:
            assert table[graph.source[s, p], s] == NEVER, "two arcs between the same states"
            table[graph.source[s, p], s] = graph.arc[s, p]
    return table


@pytest.mark.slow
@pytest.mark.derivation("D11.1", "D11.3", "D11.4")
@given(seed=st.integers(0, 10**6), S=st.integers(1, 4), F=st.integers(1, 5))
def test_viterbi_finds_the_best_of_all_paths(seed, S, F):
    rng = np.random.default_rng(seed)
    graph, table = random_graph(rng, S)
    score = rng.normal(size=(F, S))
    best, expected = max(every_path(score, table, graph.start, graph.end))
    weight, path = viterbi(score, graph)
    np.testing.assert_allclose(weight, best, rtol=1e-12, atol=1e-12)
    if best > NEVER:
        assert tuple(path) == expected


@pytest.mark.slow
@pytest.mark.derivation("D11.2")
@given(seed=st.integers(0, 10**6), S=st.integers(1, 4), F=st.integers(1, 5))
def test_the_forward_pass_adds_up_all_paths(seed, S, F):
    rng = np.random.default_rng(seed)
    graph, table = random_graph(rng, S)
    score = rng.normal(size=(F, S))
    total = np.logaddexp.reduce([weight for weight, _ in every_path(score, table, graph.start, graph.end)])
    np.testing.assert_allclose(forward(score, graph), total, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.derivation("D11.5")
@given(seed=st.integers(0, 10**6), F=st.integers(1, 5))
def test_the_sum_is_no_further_above_the_best_than_the_number_of_paths_allows(seed, F):
    rng = np.random.default_rng(seed)
    graph, table = random_graph(rng, 3)
    score = rng.normal(size=(F, 3))
    N = sum(weight > NEVER for weight, _ in every_path(score, table, graph.start, graph.end))
    best, total = viterbi(score, graph)[0], forward(score, graph)
    if N:
        assert best - 1e-12 <= total <= best + np.log(N) + 1e-12


@pytest.mark.slow
def test_long_utterances_neither_overflow_nor_lose_the_path():
    graph, _ = random_graph(np.random.default_rng(3), 3)
    score = np.full((5000, 3), -700.0)  # e^-700 of each of 5,000 frames
    weight, path = viterbi(score, graph)
    assert np.isfinite(weight)
    assert np.isfinite(forward(score, graph))
    assert len(path) == 5000


def test_utterances_of_different_lengths_are_what_each_is_alone():
    rng = np.random.default_rng(0)
    model = Model(2, np.log(rng.uniform(0.3, 0.9, 21)))
    graph, lengths = loop(model, -1.0), np.array([7, 30, 1, 19])
    score = rng.normal(size=(4, 30, 21))
    weights, paths = viterbi(score, graph, lengths)
    for u, F in enumerate(lengths):
        weight, path = viterbi(score[u, :F], graph)
        assert weight == weights[u]
        assert np.array_equal(paths[u, :F], path)
        assert (paths[u, F:] == -1).all()


# ---- posteriors and priors -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.derivation("D11.7", "D11.8")
@given(seed=st.integers(0, 10**6))
def test_numbers_of_a_frame_change_no_path_and_priors_are_biases(seed):
    rng = np.random.default_rng(seed)
    model = Model(2, np.log(rng.uniform(0.3, 0.9, 21)))
    graph, z = loop(model, -2.0), 3 * rng.normal(size=(25, 21))
    log_prior = np.log(rng.dirichlet(np.ones(21)))
    from_posteriors = viterbi(log_softmax(z) - log_prior, graph)[1]
    assert np.array_equal(from_posteriors, viterbi(z - log_prior + rng.normal(size=(25, 1)), graph)[1])


# ---- digits ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(seed=st.integers(0, 10**6), digits=st.lists(st.integers(0, 9), min_size=1, max_size=2), F=st.integers(4, 6))
def test_the_chain_of_a_text_is_its_states_in_order_with_silences_that_may_be_left_out(seed, digits, F):
    rng = np.random.default_rng(seed)
    model = Model(2, np.log(rng.uniform(0.3, 0.9, 21)))
    graph = chain(model, digits)
    score = rng.normal(size=(F, 21))
    wanted, best = [s for digit in digits for s in (2 * digit, 2 * digit + 1)], NEVER
    for path in product(sorted({*wanted, 20}), repeat=F):  # by the states alone: what is said, silences left out
        merged = [s for t, s in enumerate(path) if t == 0 or path[t - 1] != s]
        parts = "".join(chr(s) for s in merged).strip(chr(20)).split(chr(20))
        firsts_and_lasts = all(ord(p[0]) % 2 == 0 and ord(p[-1]) % 2 == 1 for p in parts if p)
        if [s for s in merged if s != 20] != wanted or not firsts_and_lasts:
            continue
        weight = score[0, path[0]]
        for t in range(1, F):
            stays = path[t] == path[t - 1]
            weight += (model.stay if stays else model.leave)[path[t - 1]] + score[t, path[t]]
        best = max(best, weight)
    if len(digits) == 2 and digits[0] == digits[1]:
        return  # merging cannot tell a 3 from a 33 without a silence
    np.testing.assert_allclose(viterbi(score[:, graph.state], graph)[0], best, rtol=1e-12, atol=1e-12)


def test_a_doubled_digit_may_be_said_without_a_pause():
    model = hmm.fresh(2)
    graph = chain(model, (3, 3))
    score = np.full((4, 21), -9.0)
    score[[0, 1, 2, 3], [6, 7, 6, 7]] = 0.0
    path = viterbi(score[:, graph.state], graph)[1]
    assert graph.state[path].tolist() == [6, 7, 6, 7]
    assert viterbi(score[:3, graph.state], graph)[0] == NEVER  # four states, three frames


def test_the_loop_allows_any_string_and_nothing_else():
    model = Model(2, np.log(np.linspace(0.3, 0.9, 21)))
    table = table_of(loop(model, -1.5))
    for r, s in np.ndindex(21, 21):
        word_ends, word_begins = r % 2 == 1 or r == 20, s % 2 == 0 and s != 20
        if r == s:
            expected = model.stay[r]
        elif r % 2 == 0 and r != 20 and s == r + 1:
            expected = model.leave[r]
        elif word_ends and word_begins:
            expected = model.leave[r] - 1.5
        elif word_ends and s == 20:
            expected = model.leave[r]
        else:
            expected = NEVER
        assert table[r, s] == expected, (r, s)


@pytest.mark.slow
@given(seed=st.integers(0, 10**6))
def test_recognition_finds_the_best_of_all_strings(seed):
    """Against the enumeration of every path of a small vocabulary: other digits never explain a frame."""
    rng = np.random.default_rng(seed)
    model = Model(2, np.log(rng.uniform(0.3, 0.9, 21)))
    graph, score = loop(model, -1.0), np.full((5, 21), NEVER)
    allowed = [2, 3, 14, 15, 20]
    score[:, allowed] = 2 * rng.normal(size=(5, 5))
    small = table_of(graph)[np.ix_(allowed, allowed)]
    best, path = max(every_path(score[:, allowed], small, graph.start[allowed], graph.end[allowed]))
    weight, found = viterbi(score, graph)
    np.testing.assert_allclose(weight, best, rtol=1e-12, atol=1e-12)
    assert found.tolist() == [allowed[s] for s in path]
    said = [allowed[s] // 2 for t, s in enumerate(path) if s in (0, 2) and (t == 0 or path[t - 1] != s)]
    assert words(found, model) == tuple(said)


@pytest.mark.slow
@pytest.mark.derivation("D11.10")
@given(seed=st.integers(0, 10**6))
def test_a_lower_penalty_never_brings_more_words(seed):
    rng = np.random.default_rng(seed)
    model, score = Model(2, np.log(rng.uniform(0.3, 0.9, 21))), 3 * rng.normal(size=(40, 21))
    counts = [len(words(viterbi(score, loop(model, c))[1], model)) for c in (-1e4, -8.0, -4.0, -2.0, 0.0, 3.0)]
    assert counts == sorted(counts)
    assert counts[0] <= 1 < counts[-1]


def test_words_begin_where_their_first_state_is_entered():
    model = hmm.fresh(3)
    path = np.array([30, 9, 9, 10, 11, 9, 10, 10, 11, 30, 30, 0, 1, 2, -1, -1])
    assert words(path, model) == (3, 3, 0)
    assert words(np.array([30, 30]), model) == ()
