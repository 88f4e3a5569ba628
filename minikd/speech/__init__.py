"""Speech: an acoustic model, an ensemble of ten, and one student that keeps its gain (Hinton et al. 2015, section 4).

archives.py      WAV files in a folder or an archive
wav.py           what a WAV file holds, on every Python and from every recorder
recordings.py    the spoken digits: read, checked, downloaded, split by rule
utterances.py    strings of them, in noise
features.py      log-mel frames
hmm.py           the hidden Markov model: the best path, all paths, the graphs of texts and of loops
recogniser.py    alignment, recognition, word error rate

The network between features and recogniser is minikd's own. `minikd.training.loop.train` trains it on
`minikd.data.frames.Frames`. The experiments are rows of the paper's scoreboard, in minikd/paper/rows/speech.py, and
`python -m minikd.speech` runs them.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
