"""The recordings: spoken digits as 8 kHz WAV files, read from a folder or an archive, checked, split by rule.

The Free Spoken Digit Dataset (Zohar Jackson and contributors, CC BY-SA 4.0) is not in the package. `load` reads a copy
of it, or recordings of one's own that are laid out alike: `recordings/{digit}_{speaker}_{take}.wav`; `fetch` gets it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError
from minikd.speech import wav

RATE = 8000
"""Samples a second."""
SHORTEST = 400
"""Samples that a recording must have: 50 ms."""
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
FSDD_ARCHIVE = f"{FSDD}/archive/refs/heads/master.tar.gz"
FSDD_DIGEST = "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"
"""`Recordings.digest` of the 3,000 recordings by six speakers."""
LARGEST = 2**24
"""Bytes that the file of a recording may have: 17 minutes."""
FORM = "16-bit PCM, mono, 8000 samples per second"
NAME = re.compile(r"[0-9]_[A-Za-z]+_[0-9]{1,9}\.wav")
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
    found: dict[str, tuple[str, str, NDArray[np.int16]]] = {}  # by name: where it lies, digest, samples
    for where, data in _files(Path(path)):
        name = PurePosixPath(where).name
        if name in found:
            raise DataError(f"{path}: {name} is there twice, as {found[name][0]} and {where}: keep one of them")
        if NAME.fullmatch(name) is None:
            raise DataError(f"{where}: a recording is called {RULE}, as 7_theo_12.wav, got {name}: rename it")
        found[name] = (where, hashlib.sha256(data).hexdigest(), _samples(where, data))
    if not found:
        raise DataError(f"{path}: no {RULE} in there: give the folder of the Free Spoken Digit Dataset, or its archive")
    digest, labels, signals = hashlib.sha256(), [], []
    for name in sorted(found):
        digit, speaker, take = name.removesuffix(".wav").split("_")
        labels.append((int(digit), speaker, int(take)))
        signals.append(found[name][2])
        digest.update(f"{name} {found[name][1]}\n".encode())
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

    Raises: DataError that says where to get it and where to put it, if it cannot be fetched or kept, or is another one.
    """
    if given := os.environ.get("MINIKD_FSDD"):
        recordings = load(given)
        check_official(recordings, given)
        return recordings
    check_extra()
    import pooch
    from requests.exceptions import RequestException

    given = f"get {FSDD_ARCHIVE}, unpack it, and give the folder with --data DIR"
    file = _cache(given) / "free-spoken-digit-dataset.tar.gz"
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(FSDD_ARCHIVE, known_hash=None, fname=file.name, path=file.parent, progressbar=True)
    except (RequestException, ValueError) as error:
        raise DataError(
            f"the spoken digits cannot be fetched ({type(error).__name__}): {given}, or put it there as {file}"
        ) from None
    except OSError as error:
        raise DataError(f"the spoken digits cannot be kept in {file.parent} ({_line(error)}): {given}") from None
    recordings = load(file)
    check_official(recordings, file)
    return recordings


def _cache(given: str) -> Path:
    """The folder of the user's cache. Raises: DataError where there is none, as in a container; `given` helps there."""
    import pooch

    try:
        cache = Path(pooch.os_cache("minikd")).expanduser()
    except RuntimeError:
        cache = Path()
    if not cache.is_absolute():
        raise DataError(f"the spoken digits cannot be kept, because this user has no home folder: {given}, or set HOME")
    return cache


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
    if path.is_dir():
        read = _in_folder
    elif path.is_file():
        read = _in_zip if zipfile.is_zipfile(path) else _in_tar
    elif path.exists():
        raise DataError(f"{path}: neither a folder nor a file: give the folder that holds recordings/*.wav")
    else:
        raise DataError(f"{path}: does not exist: give the folder that holds recordings/*.wav, or the archive")
    try:
        yield from read(path)
    except DataError:
        raise
    except (NotImplementedError, RuntimeError, tarfile.CompressionError) as error:
        raise DataError(f"{path}: this Python cannot unpack it ({_line(error)}): {_UNPACK}") from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report damage so
            raise DataError(f"{path}: {_DAMAGED.format(_line(error))}") from error
        where = error.filename or path
        raise DataError(
            f"{where}: cannot be read ({error.strerror}): check that it is there, and may be read"
        ) from error
    except (*_DAMAGE, ValueError, OverflowError, EOFError) as error:
        raise DataError(f"{path}: {_DAMAGED.format(_line(error))}") from error


_UNPACK = "unpack it with another program, and give the folder"
_DAMAGED = "no archive that can be read ({}): download it again, or unpack it with another program and give the folder"
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, struct.error)


def _line(error: Exception) -> str:
    """What an error says, in a line without a colon at its end."""
    return (str(error).partition("\n")[0] or "it ends early").rstrip(":")


def _in_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    folder = path / "recordings" if (path / "recordings").is_dir() else path
    for file in sorted(folder.iterdir()):
        if _named_wav(file.name):
            if file.exists() and not file.is_file():  # a folder, or a pipe, which would never end
                raise DataError(f"{file}: a recording is a plain file, and this is none: move it elsewhere")
            with file.open("rb") as stream:
                yield _bytes(str(file), stream)


def _in_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            where = f"{path}/{member.filename}"
            if _wanted(member.filename):
                if member.flag_bits & 1:
                    raise DataError(f"{where}: encrypted: unpack it with its password, and give the folder")
                with archive.open(member) as stream:
                    yield _bytes(where, stream)


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        for member in tar:
            where = f"{path}/{member.name}"
            if not _wanted(member.name) or member.isdir():
                continue
            try:
                stream = tar.extractfile(member)  # follows a link inside the archive
            except (KeyError, RecursionError):
                stream = None
            if stream is None:  # a link to nowhere, or a device
                raise DataError(f"{where}: a recording is a plain file, and this is none: {_UNPACK}")
            with stream:
                yield _bytes(where, stream)
        assert tar.fileobj is not None
        while tar.fileobj.read(2**20):  # on to the checksum at the end of the compressed file
            pass


def _bytes(where: str, stream: IO[bytes]) -> tuple[str, bytes]:
    """A file's name and bytes; raises DataError where they are more than any recording has, packed however small."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DataError(f"{where}: a recording has at most {LARGEST:,} bytes, and this has more: leave it out")
    return where, data


def _named_wav(name: str) -> bool:
    """Whether a file is taken for a recording; macOS leaves files beside others that begin with "._"."""
    return name.lower().endswith(".wav") and not name.startswith("._")


def _wanted(name: str) -> bool:
    """The same of a member of an archive."""
    path = PurePosixPath(name)
    return path.parent.name == "recordings" and _named_wav(path.name)


def _samples(where: str, file: bytes) -> NDArray[np.int16]:
    """The samples of a WAV file; raises DataError where it is not 16-bit PCM, mono, 8 kHz, and audible."""
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
    samples = sound.samples()
    if len(samples) < sound.promised // 2:
        raise DataError(
            f"{where}: cut short, {sound.promised // 2} samples promised, {len(samples)} came: copy it again"
        )
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
