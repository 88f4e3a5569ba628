"""The recordings: spoken digits as 8 kHz WAV files, read from a folder or an archive, checked, split by rule.

160 recordings of the Free Spoken Digit Dataset (Zohar Jackson and contributors, CC BY-SA 4.0) are in the package, and
`embedded` returns them. `fetch` downloads all 3,000. `load` reads a copy of them, or your own recordings with the same
layout: `recordings/{digit}_{speaker}_{take}.wav`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError
from minikd.speech import Floats, Ints, wav
from minikd.speech.archives import in_one_line, read_wavs

RATE = 8000
"""Samples per second."""
SHORTEST = 400
"""Samples that a recording must have: 50 ms."""
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
FSDD_ARCHIVE = f"{FSDD}/archive/refs/heads/master.tar.gz"
FSDD_DIGEST = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
"""`Recordings.digest` of the 3,000 recordings by six speakers."""
FORM = "16-bit PCM, mono, 8000 samples per second"
NAME = re.compile(r"[0-9]_[A-Za-z]+_[0-9]{1,9}\.wav")
RULE = "recordings/{digit}_{speaker}_{take}.wav"
PARTS = ("train", "development", "test", "speaker")
TEST, DEVELOPMENT = range(5), range(5, 10)
"""Takes: the official test set's, and those of the training set on which everything is chosen."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings of single digits, in the order of their file names.

    Args:
        samples: int16, those of all recordings end to end.
        bounds: (N + 1,) int64; recording n is samples[bounds[n] : bounds[n + 1]].
        digits: (N,) int64, what is said.
        speakers: (N,) str.
        takes: (N,) int64.
        digest: SHA-256 (hex) over the names and the bytes of the files.
    """

    samples: NDArray[np.int16]
    bounds: Ints
    digits: Ints
    speakers: NDArray[np.str_]
    takes: Ints
    digest: str

    def __len__(self) -> int:
        """Return the number of recordings, N."""
        return len(self.digits)

    def signal(self, n: int) -> Floats:
        """Return recording n as numbers in [−1, 1)."""
        return self.samples[self.bounds[n] : self.bounds[n + 1]] / 32768

    @cached_property
    def held_out(self) -> str:
        """The last speaker by name. No network hears this speaker while it learns, and nothing is chosen on them."""
        return str(max(set(self.speakers.tolist())))

    def part(self, name: str) -> Ints:
        """Return the numbers of the recordings of a part.

        Args:
            name: "test" for the official takes 0 to 4, "development" for takes 5 to 9, on which every choice is made,
                or "train" for the other takes. These three are of every speaker except the last one by name. "speaker"
                is everything by that speaker.
        """
        known = self.speakers != self.held_out
        if name == "speaker":
            return np.flatnonzero(~known)
        takes = {"test": np.isin(self.takes, TEST), "development": np.isin(self.takes, DEVELOPMENT)}
        takes["train"] = ~(takes["test"] | takes["development"])
        return np.flatnonzero(known & takes[name])


def load(path: str | os.PathLike[str]) -> Recordings:
    """Return the recordings in a folder or an archive (.tar, .tar.gz, .tar.xz, .zip).

    Args:
        path: where `recordings/*.wav` lie, at any depth of an archive. A folder may also hold the WAV files itself.

    Raises:
        DataError: one line that names the file, the rule and how to fix it.
    """
    found: dict[str, tuple[str, str, NDArray[np.int16]]] = {}  # by name: where it lies, digest, samples
    for where, data in read_wavs(Path(path)):
        name = PurePosixPath(where).name
        if name in found:
            raise DataError(f"{path}: {name} is there twice, as {found[name][0]} and {where}: keep one of them")
        if NAME.fullmatch(name) is None:
            raise DataError(f"{where}: a recording is called {RULE}, such as 7_theo_12.wav, got {name}: rename it")
        found[name] = (where, hashlib.sha256(data).hexdigest(), _samples(where, data))
    if not found:
        raise DataError(f"{path}: no {RULE} in there: give the folder of the Free Spoken Digit Dataset, or its archive")
    names = sorted(found)
    digest = hashlib.sha256("".join(f"{name} {found[name][1]}\n" for name in names).encode()).hexdigest()
    digits, speakers, takes = zip(*(name.removesuffix(".wav").split("_") for name in names), strict=True)
    signals = [found[name][2] for name in names]
    bounds = np.concatenate([[0], np.cumsum([len(signal) for signal in signals])])
    recordings = Recordings(
        np.concatenate(signals), bounds, np.array(digits, int), np.array(speakers), np.array(takes, int), digest
    )
    _check_parts(recordings, path)
    return recordings


def embedded() -> Recordings:
    """Return the 160 recordings that ship inside minikd: 150 by nicolas, and 10 by theo, the speaker never heard.

    They are enough for a lesson, without a network connection. `minikd/embedded/speech/README.md` says which they are.

    Raises:
        DataError: if the file is missing or damaged.

    >>> some = embedded()
    >>> {part: len(some.part(part)) for part in PARTS}
    {'train': 100, 'development': 20, 'test': 30, 'speaker': 10}
    """
    with resources.as_file(resources.files("minikd") / "embedded" / "speech" / "recordings.tar.xz") as path:
        return load(path)


def fetch() -> Recordings:
    """Return the Free Spoken Digit Dataset, from the user's cache or downloaded with a progress bar; it needs pooch.

    If the environment variable MINIKD_FSDD names a folder or an archive, the recordings are read from there.

    Raises:
        DataError: if they cannot be downloaded or stored, or are not the expected ones. The message says where to get
            them, and where to put them.
    """
    path = os.environ.get("MINIKD_FSDD") or _download()
    recordings = load(path)
    check_official(recordings, path)
    return recordings


def check_extra() -> None:
    """Raise DataError unless the packages of the extra `speech` are installed."""
    if any(find_spec(package) is None for package in ("jiwer", "pooch")):
        raise DataError("speech needs the extra `speech`: python -m pip install 'minikd[speech]'")


def check_official(recordings: Recordings, path: str | os.PathLike[str]) -> None:
    """Raise DataError unless these are the 3,000 recordings that the paper's rows are about."""
    if recordings.digest != FSDD_DIGEST:
        raise DataError(
            f"{path}: these {len(recordings)} recordings are not the 3,000 of the Free Spoken Digit Dataset "
            f"({recordings.digest[:8]}… is not {FSDD_DIGEST[:8]}…): get {FSDD_ARCHIVE}"
        )


def _download() -> Path:
    """Return the archive in the user's cache. Download it first if it is not there."""
    check_extra()
    import pooch
    from requests.exceptions import RequestException

    by_hand = f"get {FSDD_ARCHIVE}, unpack it, and give the folder with --data DIR"
    try:
        cache = Path(pooch.os_cache("minikd")).expanduser()
    except RuntimeError:
        cache = Path()
    if not cache.is_absolute():  # as in a container
        raise DataError(
            f"the spoken digits cannot be kept, because this user has no home folder: {by_hand}, or set HOME"
        )
    file = cache / "free-spoken-digit-dataset.tar.gz"
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(FSDD_ARCHIVE, known_hash=None, fname=file.name, path=cache, progressbar=True)
    except (RequestException, ValueError) as error:
        raise DataError(
            f"the spoken digits cannot be fetched ({type(error).__name__}): {by_hand}, or put it there as {file}"
        ) from None
    except OSError as error:
        raise DataError(f"the spoken digits cannot be kept in {cache} ({in_one_line(error)}): {by_hand}") from None
    return file


def _samples(where: str, file: bytes) -> NDArray[np.int16]:
    """Return the samples of a WAV file, or raise DataError unless it is 16-bit PCM, mono, 8 kHz, and audible."""
    try:
        sound = wav.read(file)
    except wav.WavError as error:
        raise DataError(
            f"{where}: no WAV file that can be read ({error}): copy it again, or convert it to {FORM}"
        ) from None
    if (sound.encoding, sound.bits, sound.channels, sound.rate) != ("PCM", 16, 1, RATE):
        raise DataError(
            f"{where}: this is {sound.bits}-bit {sound.encoding}, channels: {sound.channels}, {sound.rate} samples per "
            f"second: convert it to {FORM}"
        )
    samples, promised = sound.samples(), sound.promised // 2
    if len(samples) < promised:
        raise DataError(f"{where}: cut short, {promised} samples promised, {len(samples)} found: copy it again")
    if len(samples) < SHORTEST:
        raise DataError(f"{where}: a recording lasts at least {SHORTEST} samples, got {len(samples)}: leave it out")
    if samples.min() == samples.max():
        raise DataError(f"{where}: silent, every sample is {samples[0]}: record it again, or leave it out")
    return samples


def _check_parts(recordings: Recordings, path: str | os.PathLike[str]) -> None:
    """Raise DataError if a part has no recording of a digit."""
    for name in PARTS:
        absent = sorted(set(range(10)) - set(recordings.digits[recordings.part(name)].tolist()))
        if absent:
            raise DataError(
                f"{path}: the {name} part has no recording of {absent[0]}: each digit is needed in takes 0 to 4 "
                "(test), 5 to 9 (development) and above (training), of two speakers or more"
            )
