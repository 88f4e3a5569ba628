"""WAV files in a folder or an archive (.tar, .tar.gz, .tar.xz, .zip): where each lies, and its bytes."""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

from minikd.data.checks import DataError

File: TypeAlias = tuple[str, bytes]
LARGEST = 2**24
"""The most bytes that the file of a recording may have: 17 minutes."""
_UNPACK = "unpack it with another program, and give the folder"
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, struct.error, ValueError, OverflowError)


def read_wavs(path: Path) -> Iterator[File]:
    """Yield where each WAV file lies, and its bytes.

    Args:
        path: a folder that holds `recordings/*.wav` or the WAV files themselves, or an archive that holds
            `recordings/*.wav` at any depth.

    Raises:
        DataError: if something cannot be read. The message names it.
    """
    if not path.exists():
        raise DataError(f"{path}: does not exist: give the folder that holds recordings/*.wav, or the archive")
    if not (path.is_dir() or path.is_file()):
        raise DataError(f"{path}: neither a folder nor a file: give the folder that holds recordings/*.wav")
    read = _in_folder if path.is_dir() else _in_zip if zipfile.is_zipfile(path) else _in_tar
    try:
        yield from read(path)
    except DataError:
        raise
    except (RuntimeError, tarfile.CompressionError) as error:
        raise DataError(f"{path}: this Python cannot unpack it ({in_one_line(error)}): {_UNPACK}") from error
    except (OSError, EOFError, *_DAMAGE) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without a number, gzip and bz2 report damage
            where, why = error.filename or path, error.strerror
            raise DataError(f"{where}: cannot be read ({why}): check that it is there, and may be read") from error
        raise DataError(
            f"{path}: no archive that can be read ({in_one_line(error)}): download it again, or unpack it with another "
            "program and give the folder"
        ) from error


def in_one_line(error: Exception) -> str:
    """Return what an error says, as one line without a colon at its end."""
    return (str(error).partition("\n")[0] or "it ends early").rstrip(":")


def _in_folder(path: Path) -> Iterator[File]:
    folder = path / "recordings" if (path / "recordings").is_dir() else path
    for file in sorted(folder.iterdir()):
        if _is_wav(file.name):
            if file.exists() and not file.is_file():  # a folder, or a pipe, which would never end
                raise DataError(f"{file}: a recording is a plain file, and this is none: move it elsewhere")
            with file.open("rb") as stream:
                yield _read(str(file), stream)


def _in_zip(path: Path) -> Iterator[File]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            where = f"{path}/{member.filename}"
            if _is_recording(member.filename):
                if member.flag_bits & 1:
                    raise DataError(f"{where}: encrypted: unpack it with its password, and give the folder")
                with archive.open(member) as stream:
                    yield _read(where, stream)


def _in_tar(path: Path) -> Iterator[File]:
    with tarfile.open(path) as tar:
        for member in tar:
            where = f"{path}/{member.name}"
            if not _is_recording(member.name) or member.isdir():
                continue
            try:
                stream = tar.extractfile(member)  # follows a link inside the archive
            except (KeyError, RecursionError):
                stream = None
            if stream is None:  # a link to nowhere, or a device
                raise DataError(f"{where}: a recording is a plain file, and this is none: {_UNPACK}")
            with stream:
                yield _read(where, stream)
        assert tar.fileobj is not None
        while tar.fileobj.read(2**20):  # on to the checksum at the end of the compressed file
            pass


def _read(where: str, stream: IO[bytes]) -> File:
    """Return a file's name and bytes. Refuse more bytes than any recording has, however small the packed form is."""
    data = stream.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DataError(f"{where}: a recording has at most {LARGEST:,} bytes, and this has more: leave it out")
    return where, data


def _is_wav(name: str) -> bool:
    """Return whether a file is taken for a recording. macOS leaves files that begin with "._" beside others."""
    return name.lower().endswith(".wav") and not name.startswith("._")


def _is_recording(name: str) -> bool:
    """Return whether a member of an archive is taken for a recording."""
    path = PurePosixPath(name)
    return path.parent.name == "recordings" and _is_wav(path.name)
