"""The recordings: spoken digits as 8 kHz WAV files, read from a folder or an archive, checked, split by rule.

The Free Spoken Digit Dataset (Zohar Jackson and contributors, CC BY-SA 4.0) is not in the package. `load` reads a copy
of it, or recordings of one's own that are laid out alike: `recordings/{digit}_{speaker}_{take}.wav`; `fetch` gets it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from lzma import LZMAError
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from minikd.data import DataError

RATE = 8000
"""Samples a second."""
SHORTEST = 400
"""Samples that a recording must have: 50 ms."""
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
FSDD_ARCHIVE = f"{FSDD}/archive/refs/heads/master.tar.gz"
FSDD_DIGEST = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
"""`Recordings.digest` of the 3,000 recordings by six speakers."""
NAME = re.compile(r"([0-9])_([A-Za-z]+)_([0-9]+)\.wav")
RULE = "recordings/{digit}_{speaker}_{take}.wav"
TEST, DEVELOPMENT = range(5), range(5, 10)
"""Takes: the official test set's, and those of the training set on which everything is chosen."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings of single digits, in the order of their file names.

    samples: int16, all of them end to end. bounds: (N + 1,) int64, recording n is samples[bounds[n] : bounds[n + 1]].
    digits, takes: (N,) int64. speakers: (N,) str. digest: SHA-256 (hex) over the names and the bytes of the files.
    """

    samples: NDArray[np.int16]
    bounds: NDArray[np.int64]
    digits: NDArray[np.int64]
    speakers: NDArray[np.str_]
    takes: NDArray[np.int64]
    digest: str

    def __len__(self) -> int:
        """The number of recordings, N."""
        return len(self.digits)

    def signal(self, n: int) -> NDArray[np.float64]:
        """Recording n as numbers in [−1, 1)."""
        return self.samples[self.bounds[n] : self.bounds[n + 1]] / 32768

    @cached_property
    def held_out(self) -> str:
        """The speaker that no network hears while it learns, and nothing is chosen on: the last one by name."""
        return str(max(set(self.speakers.tolist())))

    def part(self, name: str) -> NDArray[np.int64]:
        """The numbers of the recordings of a part.

        "test": the official takes 0 to 4. "development": takes 5 to 9, for every choice. "train": the other takes. All
        three are of every speaker but the last one by name; "speaker" is all of that speaker.
        """
        known = self.speakers != self.held_out
        if name == "speaker":
            return np.flatnonzero(~known)
        takes = {"test": np.isin(self.takes, TEST), "development": np.isin(self.takes, DEVELOPMENT)}
        takes["train"] = ~(takes["test"] | takes["development"])
        return np.flatnonzero(known & takes[name])


PARTS = ("train", "development", "test", "speaker")


def load(path: str | os.PathLike[str]) -> Recordings:
    """The recordings in a folder or an archive (.tar, .tar.gz, .tar.xz, .zip).

    Looks for `recordings/*.wav`, at any depth of an archive; a folder may also hold the WAV files itself.
    Raises: DataError, one line that names the file, the rule and the mend.
    """
    found: dict[str, tuple[str, bytes]] = {}
    for where, data in _files(Path(path)):
        name = PurePosixPath(where).name
        if name in found:
            raise DataError(f"{path}: {name} is there twice, as {found[name][0]} and {where}: keep one of them")
        found[name] = (where, data)
    if not found:
        raise DataError(f"{path}: no {RULE} in there: give the folder of the Free Spoken Digit Dataset, or its archive")
    digest, labels, signals = hashlib.sha256(), [], []
    for name in sorted(found):
        where, data = found[name]
        parsed = NAME.fullmatch(name)
        if parsed is None:
            raise DataError(f"{where}: a recording is called {RULE}, as 7_theo_12.wav, got {name}: rename it")
        labels.append((int(parsed[1]), parsed[2], int(parsed[3])))
        signals.append(_samples(where, data))
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    digits, speakers, takes = zip(*labels, strict=True)
    bounds = np.concatenate([[0], np.cumsum([len(signal) for signal in signals])])
    recordings = Recordings(
        np.concatenate(signals), bounds, np.array(digits), np.array(speakers), np.array(takes), digest.hexdigest()
    )
    _check_parts(recordings, path)
    return recordings


def check_extra() -> None:
    """Raises: DataError where the packages of the extra `speech` are not installed."""
    if any(find_spec(package) is None for package in ("jiwer", "pooch")):
        raise DataError("speech needs the extra `speech`: python -m pip install 'minikd[speech]'")


def fetch() -> Recordings:
    """The Free Spoken Digit Dataset, from the user's cache, or fetched into it with a progress bar; needs pooch.

    Where the environment variable MINIKD_FSDD names a folder or an archive, it is read there.

    Raises: DataError that says where to get it and where to put it, if it cannot be fetched or is another one.
    """
    if given := os.environ.get("MINIKD_FSDD"):
        recordings = load(given)
        check_official(recordings, given)
        return recordings
    check_extra()
    import pooch
    from requests.exceptions import RequestException

    cache = pooch.os_cache("minikd")
    file = cache / "free-spoken-digit-dataset.tar.gz"
    mend = f"get {FSDD_ARCHIVE}, and put it there as {file}, or give it with --data FILE"
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(FSDD_ARCHIVE, known_hash=None, fname=file.name, path=cache, progressbar=True)
    except (RequestException, OSError, ValueError) as error:
        raise DataError(f"the spoken digits cannot be fetched ({type(error).__name__}): {mend}") from None
    recordings = load(file)
    check_official(recordings, file)
    return recordings


def check_official(recordings: Recordings, path: str | os.PathLike[str]) -> None:
    """Raises: DataError unless these are the 3,000 recordings that the paper's rows are about."""
    if recordings.digest != FSDD_DIGEST:
        raise DataError(
            f"{path}: these {len(recordings)} recordings are not the 3,000 of the Free Spoken Digit Dataset "
            f"({recordings.digest[:8]}… is not {FSDD_DIGEST[:8]}…): get {FSDD_ARCHIVE}"
        )


# ---- files -----------------------------------------------------------------------------------------------------------


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Where each WAV file lies, and its bytes."""
    try:
        if path.is_dir():
            folder = path / "recordings" if (path / "recordings").is_dir() else path
            for file in sorted(folder.glob("*.wav")):
                yield str(file), file.read_bytes()
        elif not path.exists():
            raise DataError(f"{path}: does not exist: give the folder that holds recordings/*.wav, or the archive")
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if _wanted(name):
                        yield f"{path}/{name}", archive.read(name)
        else:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile() and _wanted(member.name):
                        stream = tar.extractfile(member)
                        assert stream is not None  # it is a file
                        yield f"{path}/{member.name}", stream.read()
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError) as error:
        problem = str(error).partition("\n")[0]
        raise DataError(f"{path}: no archive that can be read ({problem}): download it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}): check its permissions") from error


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".wav" and path.parent.name == "recordings" and not path.name.startswith("._")


def _samples(where: str, data: bytes) -> NDArray[np.int16]:
    """The samples of a WAV file; raises DataError where it is not 8 kHz, mono, 16 bit and audible."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            about = file.getparams()
            raw = file.readframes(about.nframes)
    except (wave.Error, EOFError) as error:
        problem = str(error) or "it ends early"
        raise DataError(f"{where}: no WAV file that can be read ({problem}): copy it again") from None
    if about.nchannels != 1:
        raise DataError(f"{where}: a recording has one channel, got {about.nchannels}: mix it down to mono")
    if about.framerate != RATE:
        raise DataError(f"{where}: a recording has {RATE} samples a second, got {about.framerate}: resample it")
    if about.sampwidth != 2:
        raise DataError(f"{where}: a sample has 16 bits, got {8 * about.sampwidth}: convert it")
    samples = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2").astype(np.int16)
    if len(samples) < about.nframes:
        raise DataError(f"{where}: cut short, {about.nframes} samples promised, {len(samples)} came: copy it again")
    if len(samples) < SHORTEST:
        raise DataError(f"{where}: a recording lasts at least {SHORTEST} samples, got {len(samples)}: leave it out")
    if samples.min() == samples.max():
        raise DataError(f"{where}: silent, every sample is {samples[0]}: record it again, or leave it out")
    return samples


def _check_parts(recordings: Recordings, path: str | os.PathLike[str]) -> None:
    """Raises: DataError where a part has no recording of a digit."""
    for name in PARTS:
        absent = sorted(set(range(10)) - set(recordings.digits[recordings.part(name)].tolist()))
        if absent:
            raise DataError(
                f"{path}: the {name} part has no recording of {absent[0]}: each digit is needed in takes 0 to 4 "
                "(test), 5 to 9 (development) and above (training), of two speakers or more"
            )
