"""How long speech takes before a network sees it: reading, features, strings in noise, alignment, recognition.

    python -m benchmarks.speech [--data DIR]

prints the median of three times of each, on one thread of BLAS, and writes `benchmarks/results/speech.json`. It reads
the Free Spoken Digit Dataset from DIR, a folder or the archive, and otherwise fetches it once. About a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from minikd.engines.device import CPU
from minikd.engines.machine import machine
from minikd.speech import hmm, recogniser
from minikd.speech.features import log_mel, normalise
from minikd.speech.recordings import fetch, load
from minikd.speech.utterances import draw
from minikd.system.cli import Parser, start
from minikd.training.runs import write_json

RESULT = Path(__file__).parent / "results" / "speech.json"


def main(argv: Sequence[str] | None = None) -> None:
    """Time, print, write."""
    parser = Parser("speech", __doc__ or "", package="benchmarks")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder that holds recordings/*.wav, or the archive")
    data = parser.parse_args(argv).data
    threadpool_limits(1)
    recordings = fetch() if data is None else load(data)
    utterances = draw(recordings, "test", passes=4, snrs=(4.0,), seed=0)
    speech, model = recogniser.corpus(utterances, noisy=True), hmm.fresh(8)
    labels = recogniser.flat_start(speech, model)
    known = np.where(np.arange(model.states) == labels[:, None], 0.0, -10.0)
    about: dict[str, tuple[int, str, Callable[[], Any]]] = {
        "read": (len(recordings), "recordings", lambda: fetch() if data is None else load(data)),
        "features": (
            len(recordings), "recordings",
            lambda: [normalise(log_mel(recordings.signal(n))) for n in range(len(recordings))],
        ),
        "strings in noise": (
            len(utterances), "utterances", lambda: draw(recordings, "test", passes=4, snrs=(4.0,), seed=0)
        ),
        "alignment": (len(labels), "frames", lambda: recogniser.align(known, speech, model)),
        "recognition": (len(labels), "frames", lambda: recogniser.recognise(known, speech, model, -60.0)),
    }  # fmt: skip
    rows = []
    for name, (count, unit, work) in about.items():
        seconds = []
        for _ in range(3):
            began = perf_counter()
            work()
            seconds.append(perf_counter() - began)
        rows.append({"what": name, "count": count, "unit": unit, "seconds": [round(one, 3) for one in seconds]})
        print(f"{name:17} {count:>7,} {unit:11} {median(seconds):6.2f} s", flush=True)
    write_json(RESULT, {"command": "python -m benchmarks.speech", "machine": machine(CPU), "rows": rows})


if __name__ == "__main__":
    start(main)
