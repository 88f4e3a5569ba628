"""Recordings for the tests: tones that stand for digits, and where the spoken digits are."""

import io
import os
import wave
from pathlib import Path

import numpy as np
import pytest

from minikd.speech.recordings import RATE, load

FSDD = Path(
    os.environ.get("MINIKD_FSDD") or Path(__file__).parents[2] / "shared" / "data" / "fsdd" / "recordings.tar.xz"
)
"""The archive or folder of all real recordings, of which the package holds only a few; .ci/run says where."""
needs_fsdd = pytest.mark.skipif(not FSDD.exists(), reason=f"the 3,000 spoken digits are not at {FSDD}")


def wav(samples, *, rate=RATE, channels=1, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.asarray(samples, {1: np.uint8, 2: "<i2", 4: "<i4"}[width]).tobytes())
    return file.getvalue()


def tone(digit, rng, seconds=0.3):
    """Two tones in a row, a pair for each digit, which change anywhere: a digit, to a network of these tests."""
    n = int(seconds * RATE)
    first = int(n * rng.uniform(0.2, 0.8))
    pitch = np.repeat([400 + 250 * digit, 3100 - 250 * digit], [first, n - first])
    return np.round(8000 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + rng.normal(0, 50, n)).astype(np.int16)


def tree(folder, speakers=("ann", "bob"), takes=12, digits=range(10)):
    """A folder of recordings laid out as they should be."""
    rng = np.random.default_rng(0)
    (folder / "recordings").mkdir(parents=True)
    for speaker in speakers:
        for digit in digits:
            for take in range(takes):
                data = wav(tone(digit, rng, rng.uniform(0.2, 0.4)))
                (folder / "recordings" / f"{digit}_{speaker}_{take}.wav").write_bytes(data)
    return folder


def folder(tmp_path_factory):
    """For a fixture: recordings of tones."""
    return tree(tmp_path_factory.mktemp("digits") / "tones")


def tones(folder):
    """For a fixture: the same, loaded."""
    return load(folder)
