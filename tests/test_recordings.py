"""Recordings of spoken digits: how they are found, read and refused."""

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
import spoken
from spoken import FSDD, needs_fsdd, tone, tree, wav

from minikd.data.checks import DataError
from minikd.speech import archives, recordings
from minikd.speech import wav as wav_reader
from minikd.speech.recordings import RATE, load

folder = pytest.fixture(scope="module")(spoken.folder)
tones = pytest.fixture(scope="module")(spoken.tones)


@pytest.mark.slow
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


@pytest.mark.slow
@needs_fsdd
def test_the_recordings_in_the_package_are_unchanged_and_the_ones_that_their_notice_names():
    official, ours = load(FSDD), recordings.embedded()
    of_nicolas = (official.speakers == "nicolas") & np.isin(official.takes, [0, 1, 2, 5, 6, *range(10, 20)])
    chosen = np.flatnonzero(of_nicolas | (official.speakers == "theo") & (official.takes == 0))
    assert ours.digits.tolist() == official.digits[chosen].tolist()
    assert ours.speakers.tolist() == official.speakers[chosen].tolist()
    assert ours.takes.tolist() == official.takes[chosen].tolist()
    assert all(np.array_equal(ours.signal(i), official.signal(n)) for i, n in enumerate(chosen))


def test_parts_share_no_recording_and_the_last_speaker_is_heard_nowhere_else(tones):
    parts = {name: tones.part(name) for name in recordings.PARTS}
    together = np.concatenate(list(parts.values()))
    assert sorted(together) == list(range(len(tones)))
    assert set(tones.speakers[parts["speaker"]]) == {"bob"}
    assert set(tones.takes[parts["test"]]) == set(range(5))
    assert set(tones.takes[parts["development"]]) == set(range(5, 10))
    assert set(tones.takes[parts["train"]]) == {10, 11}


@pytest.mark.slow
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


@pytest.mark.slow
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
        archives._read("bomb.zip/recordings/0_ann_0.wav", Counted(bytes(2**25)))
    assert asked == [2**24 + 1]


@pytest.mark.slow
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


@pytest.mark.slow
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
from minikd.data.checks import DataError
from minikd.speech.recordings import fetch
try:
    fetch()
except DataError as error:
    print(error)
"""


@pytest.mark.slow
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
