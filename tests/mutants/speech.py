"""Bugs in the recognition of speech, and in how speech and few data are judged."""

from .planting import planted

MUTANTS = [
    *planted(
        "speech",
        "batches",
        "test_frames.py",
        """
windows that begin where other examples' do
- self.starts[order]
+ self.starts[order[:, ::-1]]
""",
    ),
    *planted(
        "speech",
        "speech.hmm",
        "test_hmm.py",
        """
the best end without the weight of ending
- final = best + graph.end
+ final = best + 0.0 * np.where(np.isfinite(graph.end), graph.end, 0.0)

the path follows the arc of another frame
- won[t]
+ won[max(t - 1, 0)]

an utterance that goes on after its end
- best = np.where((t < ends)[..., np.newaxis], step, best)
+ best = step

the sum of all paths without the weight of beginning
- total = graph.start + score[..., 0, :]
+ total = 0.0 * np.where(np.isfinite(graph.start), graph.start, 0.0) + score[..., 0, :]

silences that cannot be left out
- arc[first, 2] = model.leave[graph_state[first - 2]]
+ arc[first, 2] = NEVER

a penalty for silence too
- model.leave[exits[:-1]]
+ model.leave[exits[:-1]] + penalty

a digit counted at each of its frames
- entered = np.append(True, path[1:] != path[:-1])
+ entered = np.full(len(path), True)
""",
    ),
    *planted(
        "speech",
        "speech.recogniser",
        "test_speech.py",
        """
posteriors times priors
- log_softmax(z.astype(np.float64)) - log_prior
+ log_softmax(z.astype(np.float64)) + log_prior

posteriors without priors
- log_softmax(z.astype(np.float64)) - log_prior
+ log_softmax(z.astype(np.float64))

a state's stay from its visits alone
- (frames - visits) / np.maximum(frames, 1)
+ 1 / (1 + visits) / np.maximum(frames, 1)

a pause that is all of the word before it
- (spans[:-1, 1] + spans[1:, 0]) // 2
+ spans[1:, 0]

a word put in counts as the error of the word after it
- max(0, chunk.ref_start_idx - 1)
+ min(len(own) - 1, chunk.ref_start_idx)
""",
    ),
    *planted(
        "speech",
        "speech.features",
        "test_speech.py",
        """
amplitude for power
- np.abs(spectra) ** 2
+ np.abs(spectra)

the state of the last frame of the window
- CONTEXT, CENTRE = 26, 20
+ CONTEXT, CENTRE = 26, 25
""",
    ),
    *planted(
        "speech",
        "speech.utterances",
        "test_speech.py",
        """
decibels of amplitude for decibels of power
- 10 ** (-snr / 20)
+ 10 ** (-snr / 10)
""",
    ),
    *planted(
        "speech",
        "tasks.speech",
        "test_acoustics.py",
        """
the temperature chosen on the test set
- result.record["frames"]["development"][1]
+ result.record["frames"]["test"][1]

recordings counted, whatever was right
- np.bincount(which, weights=counts)
+ np.bincount(which)
""",
    ),
    *planted(
        "speech",
        "rows.speech",
        "test_judging_speech.py",
        """
a gain on average taken for a sure one
- verdict(min(frames.low, words.low) > 0, frames.low > 0)
+ verdict(min(frames.value, words.value) > 0, frames.value > 0)

a share of what the students gain
- share(student - single, gain.value, parts, gains)
+ share(gain.value, student - single, gains, parts)
""",
    ),
    *planted(
        "few data",
        "rows.few",
        "test_judging_few.py",
        """
early stopping that helps on average
- gain.low > 0
+ gain.value > 0

students of the same data drawn apart
- _draws(everything, hard, soft, paired=(1, 2))
+ _draws(everything, hard, soft, paired=(0, 0))

a share judged without the paper's
- effect(found, SAVED)
+ effect(found)
""",
    ),
]
