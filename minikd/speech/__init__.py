"""Speech: an acoustic model, an ensemble of ten, and one student that keeps its gain (Hinton et al. 2015, section 4).

wav.py           what a WAV file holds, on every Python and from every recorder
recordings.py    spoken digits as WAV files: read, checked, fetched, split by rule
utterances.py    strings of them, in noise
features.py      log-mel frames
hmm.py           the hidden Markov model: Viterbi's best path, all paths, the graphs of texts and of loops
recogniser.py    alignment, recognition, word error rate

The network between features and recogniser is minikd's own, trained by `minikd.training.loop.train` on
`minikd.data.frames.Frames`.
The experiments are rows of the paper's scoreboard, in minikd/paper/rows/speech.py. `python -m minikd.speech` runs them.
"""
