"""Checkpoints come back bit for bit, or are refused in one line; a save happens whole or not at all."""

import ast
import errno
import json
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minikd.system.files import check_writable, remove_leftovers, write_atomically
from minikd.training import checkpoint
from minikd.training.checkpoint import CheckpointError, digest, load, save

posix = pytest.mark.skipif(sys.platform == "win32", reason="locks and SIGKILL are POSIX")

ROOT = Path(checkpoint.__file__).parents[2]  # child processes start here, so they import the same minikd
ARRAYS = {"W": np.array([[1.5, -2.0]], dtype=np.float32), "y": np.array([7], dtype=np.uint8)}
RECORD = {"epoch": 3, "config": {"T": 8.0}}


def same_bits(ours, theirs):
    """By tobytes, so NaN payloads and the sign of zero count; shares nothing with digest."""
    return sorted(ours) == sorted(theirs) and all(
        (ours[k].dtype, ours[k].shape, ours[k].tobytes()) == (theirs[k].dtype, theirs[k].shape, theirs[k].tobytes())
        for k in ours
    )


def refusal(path):
    """The message with which load refuses the path: always one line that names the file."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"{path}: ")
    return message


def raw_file(header, tensors=b""):
    """A safetensors file by the format's description: length, header, tensors."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + tensors


def temporaries(folder):
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".tmp"))


# --- what is saved comes back -----------------------------------------------------------------------------------------


def test_special_values_and_shapes_come_back_bit_for_bit(tmp_path):
    nan_payloads = np.array([0x7FF8000000000001, 0xFFF0DEADBEEF0001, 0x7FF0000000000001], dtype=np.uint64)
    arrays = {
        "nan64": nan_payloads.view(np.float64),
        "nan32": np.array([0x7FC00001, 0xFF812345], dtype=np.uint32).view(np.float32),
        "zeros": np.array([0.0, -0.0, np.inf, -np.inf, 5e-324]),
        "empty": np.zeros((0, 3), dtype=np.float32),
        "scalar": np.array(-0.0),
        "images": np.arange(256, dtype=np.uint8).reshape(2, 128),
        "labels": np.array([-(2**63), 2**63 - 1]),
        "mask": np.array([True, False]),
        "ärger/0.W": np.ones((2, 1, 2), dtype=np.float32),
        "": np.ones(1),
    }
    save(tmp_path / "a", arrays, {})
    loaded, record = load(tmp_path / "a")
    assert same_bits(loaded, arrays)
    assert record == {}
    for array in loaded.values():
        assert array.flags.writeable
        assert array.flags.owndata
        assert array.flags.c_contiguous


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.uint8, np.int64]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        ),
        max_size=4,
    ),
    st.dictionaries(
        st.text(), st.recursive(st.none() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists)
    ),
)
def test_any_arrays_and_record_come_back(arrays, record):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "any")
        save(path, arrays, record)
        loaded, back = load(path)
    assert same_bits(loaded, arrays)
    assert back == record


def test_layout_and_byte_order_of_the_source_do_not_matter(tmp_path):
    plain = np.arange(6, dtype=np.float32).reshape(2, 3)
    for variant in (np.asfortranarray(plain), plain.astype(">f4"), np.repeat(plain, 2, axis=1)[:, ::2]):
        save(tmp_path / "a", {"W": variant}, {})
        assert same_bits(load(tmp_path / "a")[0], {"W": plain})
        assert digest({"W": variant}) == digest({"W": plain})


def test_a_diverged_history_and_a_generator_state_come_back(tmp_path):
    state = np.random.default_rng(3).bit_generator.state
    record = {"history": [0.1, float("inf"), float("nan")], "streams": state}
    save(tmp_path / "a", {}, record)
    _, back = load(tmp_path / "a")
    assert back["streams"] == state
    assert back["history"][:2] == [0.1, float("inf")]
    assert np.isnan(back["history"][2])


def test_other_safetensors_readers_open_the_file(tmp_path):
    save(tmp_path / "a", ARRAYS, RECORD)
    assert same_bits(safetensors.numpy.load_file(tmp_path / "a"), ARRAYS)
    with safetensors.safe_open(tmp_path / "a", framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["format"] == "minikd-checkpoint-1"
    assert json.loads(metadata["record"]) == RECORD


def test_the_digest_sees_names_dtypes_shapes_and_bits_but_not_the_order():
    W = np.array([[0.0, 1.0]])
    variants = [
        {},
        {"W": W},
        {"V": W},
        {"W": W.T},
        {"W": W.view(np.int64)},
        {"W": -W},
        {"W": W, "b": W},
        {"W": np.zeros(0)},
        {"W": np.zeros((0, 1))},
        {"W": np.zeros(())},
        {"W": np.zeros(1)},
    ]
    assert len({digest(variant) for variant in variants}) == len(variants)
    assert digest({"a": W, "b": -W}) == digest({"b": -W, "a": W}) != digest({"a": -W, "b": W})


# --- what is not a whole checkpoint is refused ------------------------------------------------------------------------


@pytest.mark.slow
def test_a_flipped_bit_anywhere_in_the_file_is_refused(tmp_path):
    path = tmp_path / "a"
    save(path, ARRAYS, RECORD)
    whole = path.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            refusal(path)


def test_every_truncation_and_every_longer_file_is_refused(tmp_path):
    path = tmp_path / "a"
    save(path, ARRAYS, RECORD)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)
    path.write_bytes(whole + b"\0")
    refusal(path)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64), st.booleans())
def test_random_bytes_are_refused(data, as_header):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_bytes(raw_file(data) if as_header else data)
        refusal(path)


@pytest.mark.parametrize(
    "header", [b"[" * 100_000, b"[]", b"null", b'{"__metadata__": 3}', b'{"__metadata__": {"format": 3}}']
)
def test_a_header_of_the_wrong_kind_is_refused(tmp_path, header):
    (tmp_path / "a").write_bytes(raw_file(header))
    refusal(tmp_path / "a")


def test_a_foreign_safetensors_file_is_called_foreign(tmp_path):
    path = tmp_path / "a"
    for metadata in (None, {"format": "pt"}):
        safetensors.numpy.save_file(ARRAYS, path, metadata=metadata)
        assert "not a minikd checkpoint" in refusal(path)
    # A dtype that NumPy lacks, as in most published models.
    path.write_bytes(raw_file({"W": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, b"\0\0"))
    assert "not a minikd checkpoint" in refusal(path)
    metadata = {"format": "minikd-checkpoint-1", "record": "{}", "sha256": ""}
    header = {"__metadata__": metadata, "W": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}
    path.write_bytes(raw_file(header, b"\0\0"))
    assert "damaged" in refusal(path)


def test_a_dtype_that_another_library_adds_to_numpy_is_damage_too(tmp_path):
    pytest.importorskip("ml_dtypes")  # comes with onnx
    test_a_foreign_safetensors_file_is_called_foreign(tmp_path)


def test_another_version_of_the_format_asks_for_an_upgrade(tmp_path):
    path = tmp_path / "a"
    safetensors.numpy.save_file(ARRAYS, path, metadata={"format": "minikd-checkpoint-2\n"})
    message = refusal(path)
    assert "minikd-checkpoint-2" in message
    assert "upgrade minikd" in message


@pytest.mark.parametrize("text", ["", "{", "3", "[1]", "[" * 100_000])
def test_a_record_that_is_no_json_object_is_refused_though_its_seal_is_right(tmp_path, text):
    metadata = {"format": "minikd-checkpoint-1", "record": text, "sha256": checkpoint._seal({}, text)}
    safetensors.numpy.save_file({}, tmp_path / "a", metadata=metadata)
    assert "JSON" in refusal(tmp_path / "a")


@pytest.mark.parametrize("missing", ["record", "sha256"])
def test_a_checkpoint_without_record_or_seal_is_refused(tmp_path, missing):
    metadata = {"format": "minikd-checkpoint-1", "record": "{}", "sha256": checkpoint._seal({}, "{}")}
    del metadata[missing]
    safetensors.numpy.save_file({}, tmp_path / "a", metadata=metadata)
    assert "damaged" in refusal(tmp_path / "a")


@pytest.mark.parametrize("claimed", [99_999_999, 2**31, 2**40, 2**63 - 1, 2**64 - 1])
def test_a_lying_header_length_is_refused_without_the_memory_it_claims(tmp_path, claimed):
    path = tmp_path / "a"
    save(path, ARRAYS, RECORD)
    path.write_bytes(struct.pack("<Q", claimed) + path.read_bytes()[8:])
    tracemalloc.start()
    try:
        refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("shape", [[2**40], [2**62, 8], [2**32, 2**32]])
def test_a_lying_shape_is_refused(tmp_path, shape):
    metadata = {"format": "minikd-checkpoint-1", "record": "{}", "sha256": ""}
    for end in (8, 8 * 2**40):
        header = {"__metadata__": metadata, "W": {"dtype": "F64", "shape": shape, "data_offsets": [0, end]}}
        (tmp_path / "a").write_bytes(raw_file(header, b"\0" * 8))
        assert "damaged" in refusal(tmp_path / "a")


def test_missing_files_folders_and_pipes_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "missing")
    assert "no such file" in refusal(tmp_path / "missing" / "a")
    assert "not a regular file" in refusal(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert "not a regular file" in refusal(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match="pipe"):
            save(tmp_path / "pipe", ARRAYS, RECORD)
        assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


# --- what cannot be saved is refused, and the old file stays ----------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "record"),
    [
        ({"W": np.array([object()])}, {}),
        ({"W": np.array(["text"])}, {}),
        ({"W": np.zeros(1, dtype=np.complex128)}, {}),
        ({"__metadata__": np.zeros(1)}, {}),
        ({3: np.zeros(1)}, {}),
        ({"\ud800": np.zeros(1)}, {}),
        ({}, {"loss": np.float32(1.0)}),
        ({}, {"path": Path("a")}),
    ],
    ids=["object", "text", "complex128", "reserved name", "int name", "surrogate", "numpy scalar", "path"],
)
def test_what_cannot_be_saved_is_refused_and_the_old_file_stays(tmp_path, arrays, record):
    path = tmp_path / "a"
    save(path, ARRAYS, RECORD)
    with pytest.raises(CheckpointError) as caught:
        save(path, arrays, record)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{path}: ")
    assert load(path)[1] == RECORD
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_the_old_file_whole_and_no_temporary_file(tmp_path, monkeypatch, name, error):
    path = tmp_path / "a"
    save(path, ARRAYS, RECORD)
    before = path.read_bytes()

    def interrupted(*_):
        assert len(temporaries(tmp_path)) == 1  # the bytes did go to a temporary file first
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, name, interrupted)
        with pytest.raises(CheckpointError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
            save(path, {}, {"epoch": 4})
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"{path}: cannot be written (No space left on device)")
        assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_that_is_missing_or_has_the_name_is_named(tmp_path):
    for path in (tmp_path / "missing" / "a", tmp_path):
        with pytest.raises(CheckpointError) as caught:
            save(path, ARRAYS, RECORD)
        assert str(caught.value).startswith(f"{path}: cannot be written")
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path, b"")


def test_a_message_stays_one_line_when_the_path_does_not(tmp_path):
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "two\nlines")
    assert len(str(caught.value).splitlines()) == 1


def test_what_cannot_be_written_is_known_before_the_work_and_nothing_is_left(tmp_path, monkeypatch):
    check_writable(tmp_path / "new.json")
    (tmp_path / "old.json").write_text("old")
    check_writable(tmp_path / "old.json")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("old.json", "old")]
    with pytest.raises(ValueError, match=r"must be a file, and a folder, device or pipe has this name"):
        check_writable(tmp_path)
    with pytest.raises(ValueError, match=r"the folder of '.*a\.json' is not there: make it first"):
        check_writable(tmp_path / "none" / "a.json")

    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(ValueError, match=r"cannot be written \(Read-only file system\): change its permissions"):
        check_writable(tmp_path / "new.json")


def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "runs").mkdir()
    link = tmp_path / "latest"
    try:
        link.symlink_to(tmp_path / "runs" / "a")
    except OSError:
        pytest.skip("no symbolic links here")
    save(link, ARRAYS, RECORD)
    assert link.is_symlink()
    assert load(link)[1] == load(tmp_path / "runs" / "a")[1] == RECORD


def test_write_atomically_writes_the_very_bytes_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    write_atomically(path, b"old")
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(stat.S_ISDIR(os.fstat(fd).st_mode)), fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(path.read_bytes()), replace(a, b))[1])
    write_atomically(path, b"new")
    # The file is forced to the disk before it takes the name, the folder after.
    assert steps == ([False, b"old"] if sys.platform == "win32" else [False, b"old", True])
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["scores.json"]


# --- leftovers of killed processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "touch", [lambda path: load(path), lambda path: save(path, ARRAYS, RECORD)], ids=["load", "save"]
)
def test_leftovers_of_this_target_go_and_those_of_others_stay(tmp_path, touch):
    path = tmp_path / "a+b"
    save(path, ARRAYS, RECORD)
    own = [".a+b.123.0123abcd.tmp", ".a+b.1.ffffffff.tmp"]
    others = [
        ".a+b.2.123.0123abcd.tmp",  # of a target called a+b.2
        ".a.123.0123abcd.tmp",
        ".aab.123.0123abcd.tmp",  # + is no pattern
        ".a+b.123.tmp",
        ".a+b.tmp",
        "a+b.123.0123abcd.tmp",
    ]
    for name in own + others:
        (tmp_path / name).write_bytes(b"")
    touch(path)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a+b"])


@pytest.mark.slow
@posix
def test_the_temporary_file_of_a_live_writer_stays(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save(path, ARRAYS, {"epoch": 1})
    replace = os.replace

    def replace_while_another_process_loads(source, target):
        code = "import sys; from minikd.training.checkpoint import load; sys.exit(load(sys.argv[1])[1]['epoch'] != 1)"
        subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=True)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_while_another_process_loads)
    save(path, ARRAYS, {"epoch": 2})
    assert load(path)[1] == {"epoch": 2}


@posix
def test_a_writer_whose_file_is_swept_before_its_lock_stands_begins_again(tmp_path, monkeypatch):
    import fcntl

    path = tmp_path / "a"
    flock, swept = fcntl.flock, []

    def swept_once(file, operation):
        if not swept and not operation & fcntl.LOCK_NB:
            swept.append(temporaries(tmp_path))
            remove_leftovers(path)
            assert temporaries(tmp_path) == []
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", swept_once)
    save(path, ARRAYS, RECORD)
    assert len(swept[0]) == 1
    assert load(path)[1] == RECORD
    assert os.listdir(tmp_path) == ["a"]


SAVES_FOREVER = """
import itertools, sys
import numpy as np
from minikd.training.checkpoint import save
for epoch in itertools.count():
    save(sys.argv[1], {"W": np.full(200_000, epoch, dtype=np.float32)}, {"epoch": epoch})
    print(epoch, flush=True)
"""


@pytest.mark.slow
@posix
def test_a_kill_at_any_moment_leaves_a_loadable_file_and_its_leftovers_go(tmp_path):
    path = tmp_path / "a"
    seed = random.randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", SAVES_FOREVER, str(path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            for _ in range(moments.randint(1, 20)):  # at least one save is done, and another under way
                reported = int(process.stdout.readline())
            process.kill()
            reported = int((process.stdout.read().split(b"\n")[:-1] or [reported])[-1])
        assert process.returncode == -signal.SIGKILL
        arrays, record = load(path)
        assert record["epoch"] in (reported, reported + 1)
        assert same_bits(arrays, {"W": np.full(200_000, record["epoch"], dtype=np.float32)})
        assert os.listdir(tmp_path) == ["a"]


@posix
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_between_writing_and_naming_leaves_the_old_file(tmp_path, moment):
    path = tmp_path / "a"
    save(path, ARRAYS, RECORD)
    code = f"""
import os, signal, sys
from minikd.training.checkpoint import save
os.{moment} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
save(sys.argv[1], {{}}, {{}})
"""
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert len(temporaries(tmp_path)) == 1
    arrays, record = load(path)
    assert same_bits(arrays, ARRAYS)
    assert record == RECORD
    assert os.listdir(tmp_path) == ["a"]


def test_pickle_is_never_imported():
    imported = set()
    for node in ast.walk(ast.parse(Path(checkpoint.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert "safetensors" in imported
    assert not imported & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "torch", "importlib"}
