"""Bugs in the recognition of speech."""

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
""",
    ),
]
