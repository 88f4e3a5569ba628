"""From WAV files to words: what is refused, that features, utterances, alignment and recognition are what they say."""

import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikd.data.images import DataError
from minikd.speech import features, hmm, recogniser, recordings, utterances
from minikd.speech import wav as wav_reader
from minikd.speech.recordings import RATE, Recordings, load

FSDD = Path(
    os.environ.get("MINIKD_FSDD") or Path(__file__).parents[2] / "shared" / "data" / "fsdd" / "recordings.tar.xz"
)
"""The archive or folder of the real recordings, which may not be embedded; .ci/run says where."""
needs_fsdd = pytest.mark.skipif(
    not FSDD.exists(), reason=f"the spoken digits are not at {FSDD}; they may not be embedded"
)


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tree(tmp_path_factory.mktemp("digits") / "tones")


@pytest.fixture(scope="module")
def tones(folder):
    return load(folder)


# ---- recordings ------------------------------------------------------------------------------------------------------


@needs_fsdd
def test_the_official_recordings_are_the_ones_the_package_knows():
    official = load(FSDD)
    assert (len(official), official.held_out) == (3000, "yweweler")
    recordings.check_official(official, FSDD)
    assert {name: len(official.part(name)) for name in recordings.PARTS} == {
        "train": 2000,
        "development": 250,
        "test": 250,
        "speaker": 500,
    }
    assert 21 < len(official.samples) / RATE / 60 < 22  # minutes


def test_parts_share_no_recording_and_the_last_speaker_is_heard_nowhere_else(tones):
    parts = {name: tones.part(name) for name in recordings.PARTS}
    together = np.concatenate(list(parts.values()))
    assert sorted(together) == list(range(len(tones)))
    assert set(tones.speakers[parts["speaker"]]) == {"bob"}
    assert set(tones.takes[parts["test"]]) == set(range(5))
    assert set(tones.takes[parts["development"]]) == set(range(5, 10))
    assert set(tones.takes[parts["train"]]) == {10, 11}


def test_a_folder_its_inside_and_its_archives_hold_the_same_recordings(folder, tones, tmp_path):
    for kind in ("gztar", "xztar", "zip", "tar"):
        packed = shutil.make_archive(str(tmp_path / kind), kind, folder.parent, folder.name)
        assert load(packed).digest == tones.digest
    assert load(folder / "recordings").digest == tones.digest


def test_a_signal_is_the_files_own_samples(folder, tones):
    n = int(np.flatnonzero((tones.digits == 7) & (tones.speakers == "ann") & (tones.takes == 3))[0])
    with wave.open(str(folder / "recordings" / "7_ann_3.wav")) as file:
        expected = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15
    np.testing.assert_array_equal(tones.signal(n), expected)


def test_the_digest_tells_a_changed_sample_and_a_changed_name(folder, tones, tmp_path):
    for change in ("sample", "name"):
        copy = Path(shutil.copytree(folder, tmp_path / change)) / "recordings"
        if change == "name":
            (copy / "7_ann_11.wav").rename(copy / "7_ann_12.wav")
        else:
            data = bytearray((copy / "7_ann_11.wav").read_bytes())
            data[-1] ^= 1
            (copy / "7_ann_11.wav").write_bytes(data)
        assert load(copy).digest != tones.digest
        with pytest.raises(DataError, match="are not the 3,000 of the Free Spoken Digit Dataset"):
            recordings.check_official(load(copy), copy)


SOUND = tone(0, np.random.default_rng(0))


def chunk(name, body, order="<"):
    return name + struct.pack(f"{order}I", len(body)) + body + b"\0" * (len(body) % 2)


def riff(*chunks, name=b"RIFF", size=None, order="<"):
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack(f"{order}I", len(body) if size is None else size) + body


def form(tag=1, channels=1, rate=RATE, bits=16, more=b"", order="<"):
    width = channels * bits // 8
    body = struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * width, width, bits) + more
    return chunk(b"fmt ", body, order)


def extensible(tag, bits=16):
    """A format chunk as Windows recorders write it: the encoding stands in the first bytes of a GUID."""
    guid = struct.pack("<I", tag) + b"\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    return form(0xFFFE, bits=bits, more=struct.pack("<HHI", 22, bits, 4) + guid)


PCM = SOUND.astype("<i2").tobytes()
GOOD_FILES = {
    "extensible": riff(extensible(1), chunk(b"data", PCM)),
    "other chunks, one of odd length": riff(
        chunk(b"JUNK", b"\0" * 28),
        form(),
        chunk(b"LIST", b"INFOISFT\x05\0\0\0Lavf5"),
        chunk(b"data", PCM),
        chunk(b"id3 ", b"x"),
    ),
    "a pipe": riff(form(), b"data" + b"\xff" * 4 + PCM, size=0xFFFFFFFF),
    "a pipe of SoX": riff(form(), b"data" + struct.pack("<I", 0x7FFFF000) + PCM, size=0x7FFFF024),
    "a recorder that was switched off": riff(form(), b"data" + b"\0" * 4 + PCM, size=36),
    "another one": riff(form(), b"data" + b"\0" * 4 + PCM, size=0),
    "an odd byte at the end of a pipe": riff(form(), b"data" + b"\xff" * 4 + PCM + b"\1", size=0xFFFFFFFF),
    "big-endian": riff(form(order=">"), chunk(b"data", SOUND.astype(">i2").tobytes(), ">"), name=b"RIFX", order=">"),
}


@pytest.mark.parametrize("kind", GOOD_FILES)
def test_16_bit_pcm_is_read_on_every_python_whatever_its_header_looks_like(kind, folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "recordings" / "0_ann_0.wav").write_bytes(GOOD_FILES[kind])
    np.testing.assert_array_equal(load(copy).signal(0), SOUND / 2**15)  # the first by name


def test_an_empty_recording_with_notes_behind_it_stays_empty():
    assert wav_reader.read(riff(form(), chunk(b"data", b""), chunk(b"LIST", PCM))).data == b""


BAD_FILES = {
    "text": ("7_ann_11.wav", b"RIFF no such thing", "no WAV file that can be read"),
    "nothing": ("7_ann_11.wav", b"", "no WAV file that can be read (it ends early)"),
    "a header alone": ("7_ann_11.wav", riff(form()), "no WAV file that can be read (it ends before its samples)"),
    "no format": ("7_ann_11.wav", riff(chunk(b"data", PCM)), "(its samples come before their format)"),
    "half a format": ("7_ann_11.wav", riff(chunk(b"fmt ", b"\1\0")), "(its format is cut short)"),
    "flac": ("7_ann_11.wav", b"fLaC" + bytes(900), "(it is FLAC): copy it again, or convert it to 16-bit PCM"),
    "rate": ("7_ann_11.wav", wav(SOUND, rate=16000), "16000 samples per second: convert it to 16-bit PCM"),
    "stereo": ("7_ann_11.wav", wav(np.repeat(SOUND, 2), channels=2), "channels: 2, 8000 samples per second: convert"),
    "bits": ("7_ann_11.wav", wav(SOUND.astype(np.uint8), width=1), "this is 8-bit PCM, channels: 1"),
    "u-law": ("7_ann_11.wav", riff(form(7, bits=8), chunk(b"data", PCM)), "this is 8-bit mu-law, channels: 1"),
    "float": ("7_ann_11.wav", riff(form(3, bits=32), chunk(b"data", PCM)), "this is 32-bit floating point"),
    "hidden float": ("7_ann_11.wav", riff(extensible(3, 32), chunk(b"data", PCM)), "this is 32-bit floating point"),
    "unheard of": ("7_ann_11.wav", riff(form(0x1234), chunk(b"data", PCM)), "this is 16-bit encoding 0x1234"),
    "empty": ("7_ann_11.wav", wav([]), "lasts at least 400 samples, got 0: leave it out"),
    "silent": ("7_ann_11.wav", wav(np.zeros(900)), "silent, every sample is 0"),
    "clipped": ("7_ann_11.wav", wav(np.full(900, 32767)), "silent, every sample is 32767"),
    "cut": ("7_ann_11.wav", wav(SOUND)[:-100], "cut short"),
    "long": ("7_ann_11.wav", bytes(2**24 + 1), "a recording has at most 16,777,216 bytes, and this has more"),
    "name": ("seven_ann_3.wav", wav(SOUND), "a recording is called recordings/{digit}_{speaker}_{take}.wav"),
    "digit": ("12_ann_3.wav", wav(SOUND), "a recording is called recordings/{digit}_{speaker}_{take}.wav"),
    "capitals": ("7_ann_13.WAV", wav(SOUND), "a recording is called recordings/{digit}_{speaker}_{take}.wav"),
    "take": ("7_ann_99999999999999999999.wav", wav(SOUND), "a recording is called recordings/"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_named_with_the_rule(kind, folder, tmp_path):
    name, data, words = BAD_FILES[kind]
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "recordings" / name).write_bytes(data)
    with pytest.raises(DataError) as raised:
        load(copy)
    assert words in str(raised.value)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist: give the folder that holds recordings/*.wav, or the archive"),
        (lambda path: path.mkdir(), "no recordings/{digit}_{speaker}_{take}.wav in there"),
        (lambda path: path.write_bytes(b"PK no archive"), "no archive that can be read"),
        (lambda path: path.write_bytes(b"7z\xbc\xaf\x27\x1c"), "unpack it with another program and give the folder"),
        (lambda path: tarfile.open(path, "w").close(), "in there: give the folder"),
        (lambda path: tree(path, takes=9), "the train part has no recording of 0"),
        (lambda path: tree(path, speakers=("ann",)), "the train part has no recording of 0"),
        (lambda path: tree(path, digits=range(9)), "the train part has no recording of 9"),
    ],
)
def test_a_bad_folder_or_archive_is_one_line(make, words, tmp_path):
    make(tmp_path / "given")
    with pytest.raises(DataError) as raised:
        load(tmp_path / "given")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def packed(folder, path, change=None):
    """An archive of the folder in which `change(tar, file, name)` takes the place of the first recording."""
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted((folder / "recordings").iterdir()):
            name = f"recordings/{file.name}"
            if file.name != "0_ann_0.wav" or change is None:
                tar.add(file, name)
            else:
                change(tar, file, name)
    return path


def linked(target, kind):
    def change(tar, file, name):
        tar.add(file, "elsewhere/original.wav")
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    return change


@pytest.mark.parametrize(
    ("target", "kind"), [("elsewhere/original.wav", tarfile.LNKTYPE), ("../elsewhere/original.wav", tarfile.SYMTYPE)]
)
def test_a_link_inside_an_archive_is_followed(target, kind, folder, tones, tmp_path):
    assert load(packed(folder, tmp_path / "links.tar.gz", linked(target, kind))).digest == tones.digest


@pytest.mark.parametrize(
    ("target", "kind"),
    [("../../etc/passwd", tarfile.SYMTYPE), ("0_ann_0.wav", tarfile.SYMTYPE), ("", tarfile.FIFOTYPE)],
    ids=["to nowhere", "to itself", "a pipe"],
)
def test_what_is_no_file_in_an_archive_is_named_not_left_out(target, kind, folder, tmp_path):
    path = packed(folder, tmp_path / "odd.tar.gz", linked(target, kind))
    with pytest.raises(DataError, match=r"0_ann_0\.wav: a recording is a plain file, and this is none: unpack it"):
        load(path)


def zipped(folder, path, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted((folder / "recordings").iterdir()):
            archive.write(file, f"recordings/{file.name}")
    return bytearray(path.read_bytes())


def test_a_zip_with_a_password_is_said_in_one_line(folder, tmp_path):
    data = zipped(folder, tmp_path / "locked.zip")
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # flags, of the file and in the directory
        found = data.find(mark)
        while found >= 0:
            data[found + at] |= 1
            found = data.find(mark, found + 4)
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"0_ann_0\.wav: encrypted: unpack it with its password, and give the folder"):
        load(tmp_path / "locked.zip")


@pytest.mark.parametrize("method", [9, 95])
def test_a_zip_by_a_method_that_python_lacks_is_said_in_one_line(method, folder, tmp_path):
    data = zipped(folder, tmp_path / "odd.zip")
    at = data.find(b"PK\1\2")
    local = data.find(b"PK\3\4")
    data[at + 10 : at + 12] = data[local + 8 : local + 10] = struct.pack("<H", method)
    (tmp_path / "odd.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"this Python cannot unpack it \(.+\): unpack it with another program"):
        load(tmp_path / "odd.zip")


def test_a_bomb_is_refused_before_it_fills_the_memory():
    asked = []

    class Counted(io.BytesIO):
        def read(self, size=-1):
            asked.append(size)
            return super().read(size)

    with pytest.raises(DataError, match="a recording has at most 16,777,216 bytes, and this has more: leave it out"):
        recordings._bytes("bomb.zip/recordings/0_ann_0.wav", Counted(bytes(2**25)))
    assert asked == [2**24 + 1]


@pytest.mark.parametrize("kind", ["gztar", "bztar", "xztar", "zip", "tar"])
@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_archive_is_one_line_or_loses_nothing(kind, seed, folder, tones, tmp_path):
    """Cut short, or with some bytes changed; of a plain .tar a changed sample cannot be noticed."""
    rng = np.random.default_rng(seed)
    path = Path(shutil.make_archive(str(tmp_path / "a"), kind, folder.parent, folder.name))
    data = bytearray(path.read_bytes())
    if seed % 2:
        del data[rng.integers(len(data)) :]
    else:
        for at in rng.integers(len(data), size=20):
            data[at] ^= 1 << rng.integers(8)
    path.write_bytes(data)
    said = ""
    try:
        found = load(path)
    except DataError as error:
        said = str(error)
    assert "\n" not in said
    if not said:
        assert len(found) == len(tones)
        assert found.digest == tones.digest or kind == "tar"


def test_damage_to_a_compressed_archive_is_not_taken_for_missing_permissions(folder, tmp_path):
    path = Path(shutil.make_archive(str(tmp_path / "a"), "gztar", folder.parent, folder.name))
    data = bytearray(path.read_bytes())
    data[-8:-4] = b"\0\0\0\0"  # the checksum of all that is in it
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"no archive that can be read \(CRC check failed.*: download it again"):
        load(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_file_in_a_folder_is_named_and_never_waited_for(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "recordings" / "._7_ann_3.wav").write_bytes(b"what macOS leaves beside a file")
    assert len(load(copy)) == 240
    os.mkfifo(copy / "recordings" / "7_ann_12.wav")
    with pytest.raises(DataError, match=r"7_ann_12\.wav: a recording is a plain file, and this is none"):
        load(copy)
    (copy / "recordings" / "7_ann_12.wav").unlink()
    (copy / "recordings" / "7_ann_12.wav").symlink_to("nowhere.wav")
    with pytest.raises(
        DataError, match=r"7_ann_12\.wav: cannot be read \(No such file or directory\): check that it is"
    ):
        load(copy)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="neither a folder nor a file"):
        load(tmp_path / "pipe")


def test_a_recording_that_is_there_twice_is_refused(folder, tmp_path):
    file = folder / "recordings" / "7_ann_11.wav"
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.write(file, "a/recordings/7_ann_11.wav")
        archive.write(file, "b/recordings/7_ann_11.wav")
    with pytest.raises(DataError, match=r"is there twice, as .*a/recordings.* and .*b/recordings"):
        load(tmp_path / "twice.zip")


def test_fetching_reads_the_cache_and_without_a_network_says_where_to_put_the_data(
    tones, folder, tmp_path, monkeypatch
):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("MINIKD_FSDD", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path)
    monkeypatch.setattr(recordings, "FSDD_ARCHIVE", "http://127.0.0.1:9/archive.tar.gz")  # nobody listens there
    with pytest.raises(DataError) as raised:
        recordings.fetch()
    assert "cannot be fetched" in str(raised.value)
    assert str(tmp_path / "free-spoken-digit-dataset.tar.gz") in str(raised.value)
    assert "\n" not in str(raised.value)
    packed = shutil.make_archive(str(tmp_path / "packed"), "gztar", folder.parent, folder.name)
    Path(packed).rename(tmp_path / "free-spoken-digit-dataset.tar.gz")
    with pytest.raises(DataError, match="are not the 3,000"):
        recordings.fetch()
    monkeypatch.setattr(recordings, "FSDD_DIGEST", tones.digest)
    assert recordings.fetch().digest == tones.digest


HOMELESS = """
import os, pwd

def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = nobody
from minikd.data.images import DataError
from minikd.speech.recordings import fetch
try:
    fetch()
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows knows its users otherwise")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "because this user has no home folder"),
        ({"HOME": "/dev/null/home"}, "the spoken digits cannot be kept in /dev/null/home/.cache/minikd"),
        ({"HOME": "/", "XDG_CACHE_HOME": "/dev/null/cache"}, "cannot be kept in /dev/null/cache/minikd"),
    ],
    ids=["no home", "a home that cannot be written", "a cache that cannot be written"],
)
def test_without_a_place_for_the_recordings_one_line_says_what_to_do(more, words, tmp_path):
    pytest.importorskip("pooch")
    if sys.platform == "darwin" and "XDG_CACHE_HOME" in more:
        pytest.skip("not every platformdirs looks there on macOS")
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "MINIKD_FSDD")}
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, env=kept | more, cwd=tmp_path
    )
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)
    assert words in done.stdout
    assert "unpack it, and give the folder with --data DIR" in done.stdout
    assert not list(tmp_path.iterdir())


def test_without_pooch_fetching_names_the_extra(monkeypatch):
    monkeypatch.delenv("MINIKD_FSDD", raising=False)
    monkeypatch.setattr(recordings, "find_spec", lambda package: None)
    with pytest.raises(DataError, match=r"needs the extra `speech`: python -m pip install 'minikd\[speech\]'"):
        recordings.fetch()


# ---- features --------------------------------------------------------------------------------------------------------


def test_log_mel_is_the_textbooks_sum_over_a_naive_fourier_transform():
    """Term by term: window, transform, power, triangles in mel, logarithm."""
    signal = np.random.default_rng(0).normal(0, 0.1, 361)
    n = np.arange(200)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * n / 199)

    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    edges = [m * mel(4000.0) / 41 for m in range(42)]
    expected = np.zeros((3, 40))
    for t in range(3):
        piece = signal[80 * t : 80 * t + 200] * hann
        for k in range(257):
            power = abs(np.sum(piece * np.exp(-2j * np.pi * k * n / 512))) ** 2
            pitch = mel(k * 8000 / 512)
            for m in range(40):
                left, peak, right = edges[m : m + 3]
                if left < pitch <= peak:
                    expected[t, m] += power * (pitch - left) / (peak - left)
                elif peak < pitch < right:
                    expected[t, m] += power * (right - pitch) / (right - peak)
    got = features.log_mel(signal)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.log(np.maximum(expected, 1e-10)), atol=1e-4)


def test_every_filter_hears_something_and_digital_silence_has_a_logarithm():
    assert (features.mel_filters().sum(axis=0) > 0.5).all()
    assert np.isfinite(features.log_mel(np.zeros(800))).all()


def test_normalised_frames_have_no_mean_and_unit_variance_and_microphones_fall_out():
    rng = np.random.default_rng(0)
    frames = rng.normal(3, 2, (50, 40)).astype(np.float32)
    normal = features.normalise(frames)
    np.testing.assert_allclose(normal.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=0), 1, rtol=1e-5)
    gain = rng.normal(size=40).astype(np.float32)
    np.testing.assert_allclose(features.normalise(frames + gain), normal, atol=1e-4)
    assert np.isfinite(features.normalise(np.ones((5, 40), np.float32))).all()


def test_the_window_of_a_frame_has_it_as_its_21st():
    frames = np.arange(30, dtype=np.float32)[:, None] * np.ones(40, np.float32)
    padded = features.with_context(frames)
    for n in (0, 13, 29):
        window = padded[n : n + 26, 0]
        assert window[20] == n
        np.testing.assert_array_equal(window, np.clip(np.arange(n - 20, n + 6), 0, 29))


def test_a_frame_belongs_to_the_stretch_that_its_middle_lies_in():
    spans = np.array([[0, 500], [500, 1000]])
    middles = 100 + 80 * np.arange(10)
    for (begin, end), (first, stop) in zip(spans, features.frames_within(spans, 10), strict=True):
        assert list(range(first, stop)) == [t for t, at in enumerate(middles) if begin <= at < end]


# ---- utterances ------------------------------------------------------------------------------------------------------


def drawn(tones, part="train", seed=0, passes=1):
    return utterances.draw(tones, part, passes=passes, snrs=(0.0, 10.0), seed=seed)


@pytest.mark.parametrize("part", recordings.PARTS)
def test_strings_use_each_recording_once_a_pass_and_keep_to_one_speaker(tones, part):
    made = drawn(tones, part, passes=2)
    said = np.concatenate([u.digits for u in made])
    expected = np.bincount(tones.digits[tones.part(part)], minlength=10)
    np.testing.assert_array_equal(np.bincount(said, minlength=10), 2 * expected)
    assert {len(u.digits) for u in made} <= set(utterances.DIGITS)


@given(count=st.integers(1, 60), seed=st.integers(0, 10**6))
def test_strings_of_three_to_seven_use_everything(count, seed):
    strings = utterances._strings(np.arange(count), np.random.default_rng(seed))
    assert np.array_equal(np.concatenate(strings), np.arange(count))
    assert all(3 <= len(string) <= 7 for string in strings) or count < 3


def test_one_seed_draws_the_same_and_another_does_not(tones):
    first, again, other = drawn(tones), drawn(tones), drawn(tones, seed=1)
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(first, again, strict=True))
    assert [u.digits for u in first] != [u.digits for u in other]
    assert {u.kind for u in first} == {"white", "babble"}
    assert {u.snr for u in first} == {0.0, 10.0}


def test_the_noise_has_the_stated_ratio_to_the_digits(tones):
    for u in drawn(tones):
        inside = np.concatenate([u.clean[begin:end] for begin, end in u.spans])
        ratio = 10 * np.log10(np.mean(inside**2) / np.mean((u.noisy - u.clean) ** 2))
        assert abs(ratio - u.snr) < 0.1


def test_between_digits_there_is_silence_of_varying_length(tones):
    u = max(drawn(tones), key=lambda u: len(u.digits))
    edges = np.concatenate([[0], u.spans.ravel(), [len(u.clean)]]).reshape(-1, 2)
    pauses = np.diff(edges)[:, 0] / RATE
    assert (pauses >= 0).all()
    assert (pauses <= 0.4).all()
    assert min(pauses[0], pauses[-1]) >= 0.1
    assert len(set(pauses.tolist())) == len(pauses)
    for begin, end in edges:
        assert end - begin < 9 or np.abs(u.clean[begin:end]).max() < 1e-3


def test_babble_is_of_training_recordings_that_the_utterance_does_not_say(tones, monkeypatch):
    asked = []
    monkeypatch.setattr(
        utterances, "_babble", lambda r, numbers, length, rng: asked.append(numbers) or rng.normal(size=length)
    )
    utterances.draw(tones, "test", passes=1, snrs=(0.0,), seed=0)
    train = set(tones.part("train").tolist())
    assert asked
    assert all(set(numbers.tolist()) == train for numbers in asked)
    asked.clear()
    made = utterances.draw(tones, "train", passes=1, snrs=(0.0,), seed=0)
    assert [len(numbers) for numbers in asked] == [len(train) - len(u.digits) for u in made if u.kind == "babble"]


# ---- alignment and recognition ---------------------------------------------------------------------------------------


def perfect(speech, labels, states):
    """Scores of a network that knows the state of every frame."""
    return np.where(np.arange(states) == labels[:, None], 0.0, -30.0)


def test_a_flat_start_cuts_each_recording_evenly(tones):
    speech, model = recogniser.corpus(drawn(tones), noisy=False), hmm.fresh(5)
    labels = recogniser.flat_start(speech, model)
    for u in range(len(speech)):
        own = labels[speech.bounds[u] : speech.bounds[u + 1]]
        for digit, (begin, end) in zip(speech.digits[u], speech.spans[u], strict=True):
            counts = np.bincount(own[begin:end] - 5 * digit, minlength=5)
            assert len(counts) == 5
            assert np.ptp(counts) <= 1
            own[begin:end] = -1
        assert set(own.tolist()) <= {-1, model.states - 1}


def test_alignment_follows_the_text_and_recognition_finds_it(tones):
    speech, model = recogniser.corpus(drawn(tones), noisy=True), hmm.fresh(5)
    labels = recogniser.flat_start(speech, model)
    score = perfect(speech, labels, model.states)
    np.testing.assert_array_equal(recogniser.align(score, speech, model), labels)
    assert recogniser.recognise(score, speech, model, penalty=-1.0) == speech.digits


def test_labels_settle_and_move_from_the_flat_start_towards_where_the_tones_change():
    """A digit of these tests is two tones: of two states each is to hold one. The flat start cuts in the middle."""
    rng = np.random.default_rng(0)
    signals = [tone(digit, rng, rng.uniform(0.2, 0.4)) for digit in range(10) for _ in range(60)]
    bounds = np.concatenate([[0], np.cumsum([len(signal) for signal in signals])])
    speakers, takes = np.where(np.arange(600) % 60 == 0, "bob", "ann"), np.tile(np.arange(60), 10)
    spoken = Recordings(np.concatenate(signals), bounds, np.repeat(np.arange(10), 60), speakers, takes, "")
    made = drawn(spoken)
    speech = recogniser.corpus(made, noisy=False)
    aligner, labels, changed = recogniser.settle(speech, 2, hidden=(32,), settled=0.01)
    assert changed[-1] < 0.01 < changed[0]
    flat = recogniser.flat_start(speech, aligner.model)
    right = {"flat": [], "settled": []}
    for u in range(len(speech)):
        utterance = slice(speech.bounds[u], speech.bounds[u + 1])
        energy = features.log_mel(made[u].clean)
        for digit, (first, stop) in zip(speech.digits[u], speech.spans[u], strict=True):
            tones_at = features.hertz_to_mel([400 + 250 * digit, 3100 - 250 * digit])
            low, high = np.round(tones_at / features.hertz_to_mel(4000) * 41).astype(int) - 1  # their filters
            truth = 2 * digit + (energy[first:stop, high] > energy[first:stop, low])
            right["flat"] += (flat[utterance][first:stop] == truth).tolist()
            right["settled"] += (labels[utterance][first:stop] == truth).tolist()
    assert np.mean(right["settled"]) > np.mean(right["flat"]) + 0.01
    again = aligner.labels(speech)
    assert np.mean(again != labels) < 0.01


def test_too_few_frames_for_a_text_is_said_in_one_line(tones):
    speech, model = recogniser.corpus(drawn(tones)[:1], noisy=False), hmm.fresh(60)
    with pytest.raises(ValueError, match=r"utterance 0 has \d+ frames for \d digits of 60 states: take fewer"):
        recogniser.align(np.zeros((len(speech.starts), model.states)), speech, model)


@pytest.mark.derivation("D11.9")
def test_the_models_mean_durations_are_those_of_the_labels(tones):
    speech, model = recogniser.corpus(drawn(tones), noisy=False), hmm.fresh(5)
    labels = recogniser.flat_start(speech, model)
    stay = np.exp(recogniser.durations(labels, speech, 5).stay)
    lengths = {s: [] for s in range(model.states)}
    for u in range(len(speech)):
        own = labels[speech.bounds[u] : speech.bounds[u + 1]]
        cuts = np.flatnonzero(np.diff(own)) + 1
        for piece in np.split(own, cuts):
            lengths[piece[0]].append(len(piece))
    means = np.array([np.mean(lengths[s]) for s in range(model.states)])
    np.testing.assert_allclose(1 / (1 - stay), np.clip(means, 1 / 0.95, 50), rtol=1e-9)


@pytest.mark.derivation("D11.6")
def test_scores_are_likelihoods_up_to_a_number_of_the_frame():
    """A world of two states whose likelihoods are known: Bayes gives posteriors, and the scores give them back."""
    likelihood, prior = np.array([[0.2, 0.5], [0.7, 0.1], [0.4, 0.4]]), np.array([0.9, 0.1])
    joint = likelihood * prior
    posterior = joint / joint.sum(axis=1, keepdims=True)
    score = recogniser.scores(np.log(posterior) + 5, np.log(prior))
    np.testing.assert_allclose(np.diff(score), np.diff(np.log(likelihood)), rtol=1e-9, atol=1e-9)


def test_priors_count_the_labels_and_none_is_zero():
    priors = np.exp(recogniser.log_priors(np.array([0, 0, 2]), 4))
    np.testing.assert_allclose(priors, np.array([3, 1, 2, 1]) / 7)


def naive_distance(said, heard):
    """Levenshtein's distance by its recursion, without a table."""
    if not said or not heard:
        return len(said) + len(heard)
    keep = naive_distance(said[1:], heard[1:]) + (said[0] != heard[0])
    return min(keep, naive_distance(said[1:], heard) + 1, naive_distance(said, heard[1:]) + 1)


@given(
    st.lists(st.tuples(*[st.lists(st.integers(0, 9), min_size=m, max_size=5) for m in (1, 0)]), min_size=1, max_size=4)
)
def test_word_errors_are_the_fewest_edits(pairs):
    said, heard = ([tuple(one) for one in text] for text in zip(*pairs, strict=True))
    errors = [naive_distance(a, b) for a, b in zip(said, heard, strict=True)]
    found, words = recogniser.word_errors(said, heard)
    assert found.tolist() == errors
    assert words.tolist() == [len(one) for one in said]
