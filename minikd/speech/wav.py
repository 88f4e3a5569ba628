"""A small reader of WAV files: what a recording is, and its 16-bit samples, on every Python and from every recorder.

Why not a library? Before Python 3.12 the standard `wave` refuses plain PCM with a WAVE_FORMAT_EXTENSIBLE header, and it
believes the sizes that a pipe leaves in a header. soundfile 0.14 (libsndfile 1.2.2) decodes many more formats than a
recording may have. But it silently reads a file that was cut short as a shorter one, and a file whose recorder was
switched off as an empty one.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXTENSIBLE = 0xFFFE
ENCODINGS = {1: "PCM", 2: "Microsoft ADPCM", 3: "floating point", 6: "A-law", 7: "mu-law", 17: "IMA ADPCM", 85: "MP3"}
OTHERS = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF", b"RF64": "RF64"}
"""The first bytes of other files that people rename to .wav."""
UNKNOWN = 0x7FFFF000
"""A size in a header that is this large was never filled in. SoX leaves this one in a pipe. Others leave 0x7FFFFFFF,
0x80000000 or 0xFFFFFFFF."""


class WavError(ValueError):
    """This WAV file cannot be read. The message says why, as the end of a sentence."""


class Sound(NamedTuple):
    """What a WAV file holds.

    Args:
        encoding: its name.
        bits: per sample.
        channels: how many there are.
        rate: samples per second.
        data: the bytes of the samples.
        promised: how many bytes of them the header counts.
        order: the order of the bytes in a number, as `struct` and NumPy write it.
    """

    encoding: str
    bits: int
    channels: int
    rate: int
    data: bytes
    promised: int
    order: str

    def samples(self) -> NDArray[np.int16]:
        """Return the samples of 16-bit PCM, (n,), with the channels taking turns."""
        return np.frombuffer(self.data[: len(self.data) // 2 * 2], f"{self.order}i2").astype(np.int16)


def read(file: bytes) -> Sound:
    """Return what the bytes of a WAV file hold.

    If the header does not count the samples, they continue to the end of the file. A pipe leaves such a header, and so
    does a recorder that was switched off.

    Args:
        file: all its bytes.

    Raises:
        WavError: if it cannot be read.

    >>> header = b"RIFF\\x2a\\0\\0\\0WAVEfmt \\x10\\0\\0\\0" + struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    >>> sound = read(header + b"data\\x06\\0\\0\\0" + np.array([1, -2, 3], "<i2").tobytes())
    >>> sound.encoding, sound.bits, sound.channels, sound.rate, sound.samples().tolist()
    ('PCM', 16, 1, 8000, [1, -2, 3])
    """
    for start, name in OTHERS.items():
        if file.startswith(start):
            raise WavError(f"it is {name}")
    if len(file) < 12:
        raise WavError("it ends early")
    order = {b"RIFF": "<", b"RIFX": ">"}.get(file[:4])
    if order is None or file[8:12] != b"WAVE":
        raise WavError("it does not begin as a WAV file does")
    (counted,) = struct.unpack_from(f"{order}I", file, 4)
    form: tuple[str, int, int, int] | None = None
    at = 12
    while at + 8 <= len(file):
        name, size = struct.unpack_from(f"{order}4sI", file, at)
        at += 8
        if name == b"fmt ":
            form = _format(file[at : at + size], order)
        elif name == b"data":
            if form is None:
                raise WavError("its samples come before their format")
            uncounted = size == 0 and (8 + counted <= at or counted >= UNKNOWN)
            if uncounted or size >= UNKNOWN:
                size = len(file) - at
            return Sound(*form, file[at : at + size], size, order)
        at += size + size % 2  # a chunk of an odd length has one byte more
    raise WavError("it ends before its samples")


def _format(body: bytes, order: str) -> tuple[str, int, int, int]:
    """Return encoding, bits, channels and rate, from the body of a format chunk."""
    if len(body) < 16:
        raise WavError("its format is cut short")
    tag, channels, rate, _, _, bits = struct.unpack_from(f"{order}HHIIHH", body)
    if tag == EXTENSIBLE and len(body) >= 28:
        (tag,) = struct.unpack_from(f"{order}I", body, 24)
    return ENCODINGS.get(tag, f"encoding {tag:#06x}"), bits, channels, rate
