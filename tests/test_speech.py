"""From recordings to digits: features, utterances, alignment, recognition."""

import numpy as np
import pytest
import spoken
from hypothesis import given
from hypothesis import strategies as st
from spoken import tone

from minikd.speech import features, hmm, recogniser, recordings, utterances
from minikd.speech.recordings import RATE, Recordings

folder = pytest.fixture(scope="module")(spoken.folder)
tones = pytest.fixture(scope="module")(spoken.tones)


# ---- features --------------------------------------------------------------------------------------------------------


def test_log_mel_is_the_textbooks_sum_over_a_naive_fourier_transform():
    """Term by term: window, transform, power, triangles in mel, logarithm."""
    signal = np.random.default_rng(0).normal(0, 0.1, 361)
    n = np.arange(200)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 199)

    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    edges = [m * mel(4000.0) / 41 for m in range(42)]
    expected = np.zeros((3, 40))
    for t in range(3):
        piece = signal[80 * t : 80 * t + 200] * hann
        for k in range(257):
            power = abs(np.sum(piece * np.exp(-2j * np.pi * k * n / 512))) ** 2
            pitch = mel(k * 8000 / 512)
            for m in range(40):
                left, peak, right = edges[m : m + 3]
                if left < pitch <= peak:
                    expected[t, m] += power * (pitch - left) / (peak - left)
                elif peak < pitch < right:
                    expected[t, m] += power * (right - pitch) / (right - peak)
    got = features.log_mel(signal)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.log(np.maximum(expected, 1e-10)), atol=1e-4)


def test_every_filter_hears_something_and_digital_silence_has_a_logarithm():
    assert (features.mel_filters().sum(axis=0) > 0.5).all()
    assert np.isfinite(features.log_mel(np.zeros(800))).all()


def test_normalised_frames_have_no_mean_and_unit_variance_and_microphones_fall_out():
    rng = np.random.default_rng(0)
    frames = rng.normal(3, 2, (50, 40)).astype(np.float32)
    normal = features.normalise(frames)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=0), 1, rtol=1e-5)
    gain = rng.normal(size=40).astype(np.float32)
    np.testing.assert_allclose(features.normalise(frames + gain), normal, atol=1e-4)
    assert np.isfinite(features.normalise(np.ones((5, 40), np.float32))).all()


def test_the_window_of_a_frame_has_it_as_its_21st():
    frames = np.arange(30, dtype=np.float32)[:, None] * np.ones(40, np.float32)
    padded = features.with_context(frames)
    for n in (0, 13, 29):
        window = padded[n : n + 26, 0]
        assert window[20] == n
        np.testing.assert_array_equal(window, np.clip(np.arange(n - 20, n + 6), 0, 29))


def test_a_frame_belongs_to_the_stretch_that_its_middle_lies_in():
    spans = np.array([[0, 500], [500, 1000]])
    middles = 100 + 80 * np.arange(10)
    for (begin, end), (first, stop) in zip(spans, features.frames_within(spans, 10), strict=True):
        assert list(range(first, stop)) == [t for t, at in enumerate(middles) if begin <= at < end]


# ---- utterances ------------------------------------------------------------------------------------------------------


def drawn(tones, part="train", seed=0, passes=1):
    return utterances.draw(tones, part, passes=passes, snrs=(0.0, 10.0), seed=seed)


@pytest.mark.parametrize("part", recordings.PARTS)
def test_strings_use_each_recording_once_a_pass_and_keep_to_one_speaker(tones, part):
    made = drawn(tones, part, passes=2)
    said = np.concatenate([u.digits for u in made])
    expected = np.bincount(tones.digits[tones.part(part)], minlength=10)
    np.testing.assert_array_equal(np.bincount(said, minlength=10), 2 * expected)
    assert {len(u.digits) for u in made} <= set(utterances.DIGITS)


@given(count=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_strings_of_three_to_seven_use_everything(count, seed):
    strings = utterances._strings(np.arange(count), np.random.default_rng(seed))
    assert np.array_equal(np.concatenate(strings), np.arange(count))
    assert all(3 <= len(string) <= 7 for string in strings) or count < 3


def test_an_utterance_knows_its_recordings(tones):
    for u in drawn(tones):
        assert tuple(tones.digits[list(u.recordings)].tolist()) == u.digits
        for n, (begin, end) in zip(u.recordings, u.spans, strict=True):
            assert np.corrcoef(u.clean[begin:end], tones.signal(n))[0, 1] > 0.999


def test_one_seed_draws_the_same_and_another_does_not(tones):
    first, again, other = drawn(tones), drawn(tones), drawn(tones, seed=1)
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(first, again, strict=True))
    assert [u.digits for u in first] != [u.digits for u in other]
    assert {u.kind for u in first} == {"white", "babble"}
    assert {u.snr for u in first} == {0.0, 10.0}


def test_the_noise_has_the_stated_ratio_to_the_digits(tones):
    for u in drawn(tones):
        inside = np.concatenate([u.clean[begin:end] for begin, end in u.spans])
        ratio = 10 * np.log10(np.mean(inside**2) / np.mean((u.noisy - u.clean) ** 2))
        assert abs(ratio - u.snr) < 0.1


def test_between_digits_there_is_silence_of_varying_length(tones):
    u = max(drawn(tones), key=lambda u: len(u.digits))
    edges = np.concatenate([[0], u.spans.ravel(), [len(u.clean)]]).reshape(-1, 2)
    pauses = np.diff(edges)[:, 0] / RATE
    assert (pauses >= 0).all()
    assert (pauses <= 0.4).all()
    assert min(pauses[0], pauses[-1]) >= 0.1
    assert len(set(pauses.tolist())) == len(pauses)
    for begin, end in edges:
        assert end - begin < 9 or np.abs(u.clean[begin:end]).max() < 1e-3


def test_babble_is_of_training_recordings_that_the_utterance_does_not_say(tones, monkeypatch):
    asked = []
    monkeypatch.setattr(
        utterances, "_babble", lambda r, numbers, length, rng: asked.append(numbers) or rng.normal(size=length)
    )
    utterances.draw(tones, "test", passes=1, snrs=(0.0,), seed=0)
    train = set(tones.part("train").tolist())
    assert asked
    assert all(set(numbers.tolist()) == train for numbers in asked)
    asked.clear()
    made = utterances.draw(tones, "train", passes=1, snrs=(0.0,), seed=0)
    assert [len(numbers) for numbers in asked] == [len(train) - len(u.digits) for u in made if u.kind == "babble"]


# ---- alignment and recognition ---------------------------------------------------------------------------------------


def perfect(speech, labels, states):
    """Scores of a network that knows the state of every frame."""
    return np.where(np.arange(states) == labels[:, None], 0.0, -30.0)


def test_a_flat_start_cuts_each_recording_evenly(tones):
    speech, model = recogniser.corpus(drawn(tones), noisy=False), hmm.fresh(5)
    labels = recogniser.flat_start(speech, model)
    for u in range(len(speech)):
        own = labels[speech.bounds[u] : speech.bounds[u + 1]]
        for digit, (begin, end) in zip(speech.digits[u], speech.spans[u], strict=True):
            counts = np.bincount(own[begin:end] - 5 * digit, minlength=5)
            assert len(counts) == 5
            assert np.ptp(counts) <= 1
            own[begin:end] = -1
        assert set(own.tolist()) <= {-1, model.states - 1}


def test_alignment_follows_the_text_and_recognition_finds_it(tones):
    speech, model = recogniser.corpus(drawn(tones), noisy=True), hmm.fresh(5)
    labels = recogniser.flat_start(speech, model)
    score = perfect(speech, labels, model.states)
    np.testing.assert_array_equal(recogniser.align(score, speech, model), labels)
    assert recogniser.recognise(score, speech, model, penalty=-1.0) == speech.digits


@pytest.mark.slow
def test_labels_settle_and_move_from_the_flat_start_towards_where_the_tones_change():
    """A digit of these tests is two tones: of two states each is to hold one. The flat start cuts in the middle."""
    rng = np.random.default_rng(0)
    signals = [tone(digit, rng, rng.uniform(0.2, 0.4)) for digit in range(10) for _ in range(60)]
    bounds = np.concatenate([[0], np.cumsum([len(signal) for signal in signals])])
    speakers, takes = np.where(np.arange(600) % 60 == 0, "bob", "ann"), np.tile(np.arange(60), 10)
    spoken = Recordings(np.concatenate(signals), bounds, np.repeat(np.arange(10), 60), speakers, takes, "")
    made = drawn(spoken)
    speech = recogniser.corpus(made, noisy=False)
    aligner, labels, changed = recogniser.settle(speech, 2, hidden=(32,), settled=0.01)
    assert changed[-1] < 0.01 < changed[0]
    flat = recogniser.flat_start(speech, aligner.model)
    right = {"flat": [], "settled": []}
    for u in range(len(speech)):
        utterance = slice(speech.bounds[u], speech.bounds[u + 1])
        energy = features.log_mel(made[u].clean)
        for digit, (first, stop) in zip(speech.digits[u], speech.spans[u], strict=True):
            tones_at = features.hertz_to_mel([400 + 250 * digit, 3100 - 250 * digit])
            low, high = np.round(tones_at / features.hertz_to_mel(4000) * 41).astype(int) - 1  # their filters
            truth = 2 * digit + (energy[first:stop, high] > energy[first:stop, low])
            right["flat"] += (flat[utterance][first:stop] == truth).tolist()
            right["settled"] += (labels[utterance][first:stop] == truth).tolist()
    assert np.mean(right["settled"]) > np.mean(right["flat"]) + 0.01
    again = aligner.labels(speech)
    assert np.mean(again != labels) < 0.01


def test_too_few_frames_for_a_text_is_said_in_one_line(tones):
    speech, model = recogniser.corpus(drawn(tones)[:1], noisy=False), hmm.fresh(60)
    with pytest.raises(ValueError, match=r"utterance 0 has \d+ frames for \d digits of 60 states: use fewer"):
        recogniser.align(np.zeros((len(speech.starts), model.states)), speech, model)


@pytest.mark.derivation("D11.9")
def test_the_models_mean_durations_are_those_of_the_labels(tones):
    speech, model = recogniser.corpus(drawn(tones), noisy=False), hmm.fresh(5)
    labels = recogniser.flat_start(speech, model)
    stay = np.exp(recogniser.durations(labels, speech, 5).stay)
    lengths = {s: [] for s in range(model.states)}
    for u in range(len(speech)):
        own = labels[speech.bounds[u] : speech.bounds[u + 1]]
        cuts = np.flatnonzero(np.diff(own)) + 1
        for piece in np.split(own, cuts):
            lengths[piece[0]].append(len(piece))
    means = np.array([np.mean(lengths[s]) for s in range(model.states)])
    np.testing.assert_allclose(1 / (1 - stay), np.clip(means, 1 / 0.95, 50), rtol=1e-9)


@pytest.mark.derivation("D11.6")
def test_scores_are_likelihoods_up_to_a_number_of_the_frame():
    """A world of two states whose likelihoods are known: Bayes gives posteriors, and the scores give them back."""
    likelihood, prior = np.array([[0.2, 0.5], [0.7, 0.1], [0.4, 0.4]]), np.array([0.9, 0.1])
    joint = likelihood * prior
    posterior = joint / joint.sum(axis=1, keepdims=True)
    score = recogniser.scores(np.log(posterior) + 5, np.log(prior))
    np.testing.assert_allclose(np.diff(score), np.diff(np.log(likelihood)), rtol=1e-9, atol=1e-9)


def test_priors_count_the_labels_and_none_is_zero():
    priors = np.exp(recogniser.log_priors(np.array([0, 0, 2]), 4))
    np.testing.assert_allclose(priors, np.array([3, 1, 2, 1]) / 7)


def naive_distance(said, heard):
    """Levenshtein's distance by its recursion, without a table."""
    if not said or not heard:
        return len(said) + len(heard)
    keep = naive_distance(said[1:], heard[1:]) + (said[0] != heard[0])
    return min(keep, naive_distance(said[1:], heard) + 1, naive_distance(said, heard[1:]) + 1)


@pytest.mark.slow
@given(
    st.lists(st.tuples(*[st.lists(st.integers(0, 9), min_size=m, max_size=5) for m in (1, 0)]), min_size=1, max_size=4)
)
def test_word_errors_are_the_fewest_edits(pairs):
    said, heard = ([tuple(one) for one in text] for text in zip(*pairs, strict=True))
    errors = [naive_distance(a, b) for a, b in zip(said, heard, strict=True)]
    found = recogniser.word_errors(said, heard)
    assert len(found) == sum(map(len, said))
    by_utterance = np.split(found, np.cumsum([len(one) for one in said])[:-1])
    assert [own.sum() for own in by_utterance] == errors


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        ((1, 2, 3), [0, 0, 0]),
        ((1, 9, 3), [0, 1, 0]),
        ((1, 3), [0, 1, 0]),
        ((), [1, 1, 1]),
        ((9, 9, 1, 2, 3), [2, 0, 0]),
        ((1, 2, 9, 3), [0, 1, 0]),
        ((1, 2, 3, 9), [0, 0, 1]),
    ],
)
def test_an_error_is_of_the_word_that_was_said_or_of_the_one_before_it(heard, errors):
    assert recogniser.word_errors([(4, 5), (1, 2, 3)], [(4, 5), heard]).tolist() == [0, 0, *errors]


def test_each_frame_is_of_its_word_and_a_pause_is_halved(tones):
    speech = recogniser.corpus(drawn(tones), noisy=True)
    words, first = recogniser.words_of_frames(speech), 0
    assert len(words) == len(speech.starts)
    for u, spans in enumerate(speech.spans):
        own = words[speech.bounds[u] : speech.bounds[u + 1]] - first
        assert own[0] == 0
        assert own[-1] == len(spans) - 1
        assert set(np.diff(own).tolist()) == {0, 1}
        for word, (begin, end) in enumerate(spans):
            assert set(own[begin:end].tolist()) == {word}
        for word, pause in enumerate(zip(spans[:-1, 1], spans[1:, 0], strict=True)):
            halves = np.bincount(own[slice(*pause)] - word, minlength=2)
            assert abs(halves[0] - halves[1]) <= 1
        first += len(spans)
