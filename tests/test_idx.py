"""Images and labels from files: what is read, and what is wrong with the rest, in one line."""

import functools
import gzip
import hashlib
import lzma
import re
import struct
import tracemalloc

import numpy as np
import pytest

from minikd.data import idx as idx_files
from minikd.data import images as data
from minikd.data.checks import DataError
from minikd.data.images import load_idx_folder, load_mnist

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


# preset 0: a small dictionary, since unpacking takes as much memory as the packer's dictionary has
PACKINGS = {".gz": "gzip", ".xz": "xz"}
PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": functools.partial(lzma.compress, preset=0)}


CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, kind="u1"):
    """The bytes of an IDX file, straight from the format's description."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[kind], array.ndim, *array.shape)
    return header + array.astype(f">{kind}").tobytes()


def arrays(seed=0, rows=4, cols=3):
    rng = np.random.default_rng(seed)
    return {
        TRAIN_IMAGES: rng.integers(0, 256, (6, rows, cols), dtype=np.uint8),
        TRAIN_LABELS: np.array([3, 1, 4, 1, 2, 0], dtype=np.uint8),
        TEST_IMAGES: rng.integers(0, 256, (2, rows, cols), dtype=np.uint8),
        TEST_LABELS: np.array([2, 4], dtype=np.uint8),
    }


def write_folder(folder, contents=None, suffix=""):
    folder.mkdir(exist_ok=True)
    for name, array in (contents or arrays()).items():
        (folder / (name + suffix)).write_bytes(PACKERS[suffix](idx(array)))
    return folder


def refused(call, *parts):
    """The call ends in a DataError of one line that holds every part."""
    with pytest.raises(DataError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "small")


# Embedded MNIST


@pytest.mark.slow
def test_embedded_mnist_is_the_published_data_set(mnist_data):
    train, test = mnist_data
    assert (train.images.shape, test.images.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert (len(train), len(test)) == (60000, 10000)
    assert (train.name, test.name) == ("MNIST train", "MNIST test")
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(train.labels)[3] == 6131
    assert round(train.images.mean() / 255, 4) == 0.1307  # the mean that every MNIST recipe subtracts


@pytest.mark.slow
@pytest.mark.parametrize("name", [TEST_IMAGES, TEST_LABELS, TRAIN_LABELS])
def test_a_changed_embedded_file_means_a_damaged_installation(monkeypatch, name):
    assert re.fullmatch("[0-9a-f]{64}", data.MNIST_SHA256[name])
    monkeypatch.setitem(data.MNIST_SHA256, name, hashlib.sha256(b"other").hexdigest())
    refused(load_mnist, name + ".xz", "SHA-256", "the installation is damaged: reinstall minikd")


def test_a_missing_embedded_file_means_a_damaged_installation(monkeypatch, tmp_path):
    monkeypatch.setattr(data.resources, "files", lambda package: tmp_path)
    refused(load_mnist, TRAIN_IMAGES, "no such file", "the installation is damaged: reinstall minikd")


def test_loaded_arrays_are_read_only(mnist_data, folder):
    for part in (*mnist_data, *load_idx_folder(folder)):
        for array in (part.images, part.labels):
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0


# Folders


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_folder_gives_back_what_was_written_whatever_the_packing(tmp_path, suffix):
    expected = arrays()
    train, test = load_idx_folder(write_folder(tmp_path / "tiny", expected, suffix))
    for array, name in ((train.images, TRAIN_IMAGES), (train.labels, TRAIN_LABELS)):
        np.testing.assert_array_equal(array, expected[name])
    for array, name in ((test.images, TEST_IMAGES), (test.labels, TEST_LABELS)):
        np.testing.assert_array_equal(array, expected[name])
    assert train.images.dtype == train.labels.dtype == np.uint8
    assert (train.name, test.name) == ("tiny train", "tiny test")


def test_plain_comes_before_gz_and_gz_before_xz(tmp_path):
    folders = {suffix: arrays(seed) for seed, suffix in enumerate(PACKERS)}
    for suffix, contents in folders.items():
        write_folder(tmp_path, contents, suffix)
    np.testing.assert_array_equal(load_idx_folder(tmp_path)[0].images, folders[""][TRAIN_IMAGES])
    (tmp_path / TRAIN_IMAGES).unlink()
    np.testing.assert_array_equal(load_idx_folder(str(tmp_path))[0].images, folders[".gz"][TRAIN_IMAGES])
    (tmp_path / (TRAIN_IMAGES + ".gz")).unlink()
    np.testing.assert_array_equal(load_idx_folder(tmp_path)[0].images, folders[".xz"][TRAIN_IMAGES])


def test_a_file_longer_than_one_chunk_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(idx_files, "_CHUNK", 7)
    np.testing.assert_array_equal(load_idx_folder(write_folder(tmp_path))[0].images, arrays()[TRAIN_IMAGES])


def test_what_is_not_a_folder_is_refused(folder, tmp_path):
    refused(lambda: load_idx_folder(tmp_path / "nowhere"), "nowhere", "does not exist", "give the folder")
    refused(lambda: load_idx_folder(folder / TRAIN_IMAGES), TRAIN_IMAGES, "is not a folder", "give the folder")


@pytest.mark.parametrize("name", data.MNIST_SHA256)
def test_a_missing_file_lists_the_names_looked_for(folder, name):
    (folder / name).unlink()
    dotted = name.replace("-idx", ".idx")
    there = "the folder holds " + ", ".join(sorted({*data.MNIST_SHA256} - {name}))
    looked_for = f"looked for {name} or {dotted}, plain, .gz or .xz"
    refused(lambda: load_idx_folder(folder), str(folder), "no such file", looked_for, there)


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", data.MNIST_SHA256)
def test_a_truncated_file_says_how_much_was_promised_and_how_much_came(tmp_path, name, suffix):
    write_folder(tmp_path, suffix=suffix)
    whole = idx(arrays()[name])
    (tmp_path / (name + suffix)).write_bytes(PACKERS[suffix](whole[:-1]))
    counts = f"promises {len(whole)} bytes, found {len(whole) - 1}"
    refused(lambda: load_idx_folder(tmp_path), name + suffix, "truncated", counts, "download it again")


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", data.MNIST_SHA256)
def test_an_oversized_file_is_refused(tmp_path, name, suffix):
    write_folder(tmp_path, suffix=suffix)
    whole = idx(arrays()[name])
    (tmp_path / (name + suffix)).write_bytes(PACKERS[suffix](whole + b"\0"))
    refused(lambda: load_idx_folder(tmp_path), name + suffix, "oversized", f"promises {len(whole)} bytes")


@pytest.mark.parametrize("size", [0, 3, 4, 15])
def test_a_file_shorter_than_its_header_is_truncated(folder, size):
    (folder / TRAIN_IMAGES).write_bytes(idx(arrays()[TRAIN_IMAGES])[:size])
    refused(lambda: load_idx_folder(folder), TRAIN_IMAGES, f"truncated: a header has 16 bytes, found {size}")


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("shape", [(2**32 - 1, 28, 28), (2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_a_lying_header_costs_no_memory(tmp_path, shape, suffix):
    write_folder(tmp_path, suffix=suffix)
    lie = struct.pack(">BBBB3I", 0, 0, 8, 3, *shape) + b"\1\2\3\4"
    (tmp_path / (TRAIN_IMAGES + suffix)).write_bytes(PACKERS[suffix](lie))
    promised = 16 + shape[0] * shape[1] * shape[2]
    tracemalloc.start()
    try:
        refused(lambda: load_idx_folder(tmp_path), TRAIN_IMAGES + suffix, f"promises {promised} bytes, found 20")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_packed_file_longer_than_promised_is_not_unpacked_to_the_end(tmp_path):
    write_folder(tmp_path)
    (tmp_path / TRAIN_IMAGES).unlink()
    bomb = gzip.compress(idx(arrays()[TRAIN_IMAGES]) + bytes(64 << 20), compresslevel=1)
    (tmp_path / (TRAIN_IMAGES + ".gz")).write_bytes(bomb)
    del bomb
    tracemalloc.start()
    try:
        refused(lambda: load_idx_folder(tmp_path), TRAIN_IMAGES + ".gz", "oversized")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("came", "parts"),
    [
        (idx(np.zeros(6)), ["uint8 numbers with 1 axis, but images have 3", "may be labels: put the images file"]),
        (idx(np.zeros((6, 12))), ["uint8 numbers with 2 axes, but images have 3", "reshape flat rows"]),
        (idx(np.zeros((6, 4, 3, 3))), ["uint8 numbers with 4 axes, but images have 3", "average colours"]),
        (b"\0\0\x09\x07" + bytes(40), ["not an IDX file of images: its header says int8 numbers with 7 axes"]),
        (idx(np.zeros((6, 12)), "f4"), ["float32 numbers with 2 axes, but images have 3", "reshape flat rows"]),
        (idx(np.full((6, 4, 3), -1), "i2"), ["in 0..255 or floats in [0, 1], got int16 in -1..-1"]),
        (b"\0\0\x07\3", ["damaged: got 0x07", "download it again"]),
        (b"<!DOCTYPE html>", ["holds a web page, not IDX", "download the file itself"]),
        (b"<!", ["holds a web page"]),
        (b"\n <html>", ["holds a web page"]),
        (b"PK\3\4" + bytes(9), ["holds a zip archive", "unpack it"]),
        (b"BZh91AY", ["holds a bzip2 stream", "unpack it"]),
        (b"\x93NUMPY\1\0", ["holds a NumPy file", "numpy.load"]),
        (b"version https://git-lfs.github.com/spec/v1", ["holds a Git LFS pointer", "fetch the file"]),
        (b"\3\x08\0\0", ["not IDX, they begin with 0x03080000", "download it again"]),
        (gzip.compress(gzip.compress(b"any", mtime=0), mtime=0), ["holds gzip inside gzip: unpack it once"]),
        (gzip.compress(lzma.compress(b"any"), mtime=0), ["holds xz inside gzip: unpack it once"]),
        (lzma.compress(b"<html>"), ["holds a web page inside xz"]),
    ],
)
def test_what_is_no_file_of_images_is_named_for_what_it_is(folder, came, parts):
    (folder / TRAIN_IMAGES).write_bytes(came)
    message = refused(lambda: load_idx_folder(folder), TRAIN_IMAGES, *parts)
    assert "download it again" in parts or "again" not in message


def test_images_in_place_of_labels_are_named_as_such(folder):
    (folder / TEST_LABELS).write_bytes((folder / TEST_IMAGES).read_bytes())
    refused(lambda: load_idx_folder(folder), TEST_LABELS, "labels have 1", "may be images: put the labels file")


@pytest.mark.parametrize("packer", PACKERS.values(), ids=["plain", "gzip", "xz"])
@pytest.mark.parametrize("suffix", PACKERS)
def test_a_file_is_unpacked_by_what_it_holds_whatever_its_name_says(folder, suffix, packer):
    file = folder / TRAIN_IMAGES
    file.unlink()
    (folder / (TRAIN_IMAGES + suffix)).write_bytes(packer(idx(arrays()[TRAIN_IMAGES])))
    np.testing.assert_array_equal(load_idx_folder(folder)[0].images, arrays()[TRAIN_IMAGES])


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: name.replace("t10k", "test"),
        lambda name: name.replace("t10k", "test").replace("-idx", ".idx") + ".gz",
        lambda name: "qmnist-" + name.replace("t10k", "test").replace("idx1-ubyte", "idx2-int"),
    ],
    ids=["a dot", "test", "test, a dot and gz", "QMNIST"],
)
def test_the_usual_spellings_of_the_four_names_are_read(folder, spell):
    for name in data.MNIST_SHA256:
        (folder / name).rename(folder / spell(name))
    train, test = load_idx_folder(folder)
    np.testing.assert_array_equal(train.images, arrays()[TRAIN_IMAGES])
    assert (train.labels.tolist(), test.labels.tolist()) == ([3, 1, 4, 1, 2, 0], [2, 4])


@pytest.mark.parametrize("kind", ["i2", "i4", "f4", "f8"])
def test_images_and_labels_of_other_types_are_read_where_their_meaning_is_plain(folder, kind):
    expected = arrays()
    for name, array in expected.items():
        (folder / name).write_bytes(idx(array, kind if "images" in name else "i4"))
    train, test = load_idx_folder(folder)
    np.testing.assert_array_equal(train.images, expected[TRAIN_IMAGES], strict=True)
    np.testing.assert_array_equal(test.labels, expected[TEST_LABELS], strict=True)


def test_floats_in_0_to_1_are_read_from_a_file(folder):
    for name in (TRAIN_IMAGES, TEST_IMAGES):
        (folder / name).write_bytes(idx(arrays()[name] / 255, "f4"))
    np.testing.assert_array_equal(load_idx_folder(folder)[0].images, arrays()[TRAIN_IMAGES])


def test_the_first_of_qmnists_eight_columns_is_the_class(folder):
    rng = np.random.default_rng(0)
    for name in (TRAIN_LABELS, TEST_LABELS):
        labels = arrays()[name]
        columns = rng.integers(10, 400_000, (len(labels), 8))
        columns[:, 0] = labels
        (folder / name).write_bytes(idx(columns, "i4"))
    train, test = load_idx_folder(folder)
    assert (train.labels.tolist(), test.labels.tolist()) == ([3, 1, 4, 1, 2, 0], [2, 4])


@pytest.mark.parametrize("columns", [np.eye(8)[:6], np.full((6, 10), 7)], ids=["a 1 in the class's column", "ten"])
def test_other_labels_in_columns_are_not_taken_for_qmnists(folder, columns):
    (folder / TRAIN_LABELS).write_bytes(idx(columns, "i4"))
    came = f"int32 numbers with 2 axes, 6 × {columns.shape[1]}, not the 8 columns"
    refused(lambda: load_idx_folder(folder), TRAIN_LABELS, came, "the argmax")


@pytest.mark.parametrize(
    ("shape", "what"), [((0, 4, 3), "0 examples"), ((6, 0, 3), "0 rows"), ((6, 4, 0), "0 columns")]
)
def test_an_empty_axis_is_refused(folder, shape, what):
    (folder / TRAIN_IMAGES).write_bytes(idx(np.zeros(shape, dtype=np.uint8)))
    refused(lambda: load_idx_folder(folder), TRAIN_IMAGES, f"promises {what}")


def test_a_labels_file_without_labels_is_refused(folder):
    (folder / TEST_LABELS).write_bytes(idx(np.zeros(0, dtype=np.uint8)))
    refused(lambda: load_idx_folder(folder), TEST_LABELS, "promises 0 examples")


def test_as_many_labels_as_images_are_asked_for(folder):
    (folder / TEST_LABELS).write_bytes(idx(np.zeros(3, dtype=np.uint8)))
    refused(lambda: load_idx_folder(folder), TEST_LABELS, f"3 labels, but {TEST_IMAGES} has 2 images")


def test_a_test_label_that_the_training_set_lacks_is_named_with_its_place(folder):
    (folder / TEST_LABELS).write_bytes(idx(np.array([4, 255], dtype=np.uint8)))
    refused(lambda: load_idx_folder(folder), TEST_LABELS, "label 255 at position 1 has no example in the training set")


def test_labels_of_one_class_are_refused(folder):
    (folder / TRAIN_LABELS).write_bytes(idx(np.full(6, 7, dtype=np.uint8)))
    refused(lambda: load_idx_folder(folder), TRAIN_LABELS, "all labels are 7", "at least 2 classes")


@pytest.mark.parametrize(
    ("train", "test", "classes"),
    [([1, 2, 3, 3, 2, 1], [3, 1], 3), ([0, 1, 0, 1, 1, 0], [1, 1], 2), ([5, 200, 9, 9, 5, 200], [200, 9], 3)],
)
def test_the_classes_are_those_of_the_labels_in_sorted_order(folder, train, test, classes):
    for name, labels in ((TRAIN_LABELS, train), (TEST_LABELS, test)):
        (folder / name).write_bytes(idx(np.array(labels)))
    for part, labels in zip(load_idx_folder(folder), (train, test), strict=True):
        assert part.labels.tolist() == [sorted(set(train)).index(label) for label in labels]
        assert part.classes == classes


def test_more_classes_than_a_byte_holds_are_read(tmp_path):
    labels = np.arange(600) % 300
    images = np.full((600, 2, 2), 255, np.uint8)
    files = {TRAIN_IMAGES: images, TEST_IMAGES: images}
    write_folder(tmp_path, files)
    for name in (TRAIN_LABELS, TEST_LABELS):
        (tmp_path / name).write_bytes(idx(labels, "i4"))
    train, test = load_idx_folder(tmp_path)
    assert (train.classes, train.labels.tolist(), test.labels.tolist()) == (300, labels.tolist(), labels.tolist())


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_files_of_one_set_of_emnist_are_read_by_their_usual_names(tmp_path, suffix):
    for name, array in arrays().items():
        own = "emnist-letters-" + name.replace("t10k", "test")
        (tmp_path / (own + suffix)).write_bytes(PACKERS[suffix](idx(array + 1 if "labels" in name else array)))
    train, test = load_idx_folder(tmp_path)
    assert (train.labels.tolist(), test.labels.tolist(), train.classes) == ([3, 1, 4, 1, 2, 0], [2, 4], 5)
    np.testing.assert_array_equal(test.images, arrays()[TEST_IMAGES])
    (tmp_path / "emnist-digits-train-images-idx3-ubyte").touch()
    refused(lambda: load_idx_folder(tmp_path), "several sets of EMNIST (emnist-digits, emnist-letters)", "one")


def test_training_and_test_images_have_one_size(folder):
    (folder / TEST_IMAGES).write_bytes(idx(np.zeros((2, 3, 4), dtype=np.uint8)))
    refused(lambda: load_idx_folder(folder), TEST_IMAGES, "3 × 4", "4 × 3")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_every_damage_to_a_packed_file_is_one_line_naming_it(tmp_path, suffix):
    """Cut anywhere or flipped in any one byte: refused by name, or read unchanged where the byte means nothing."""
    write_folder(tmp_path, suffix=suffix)
    file, expected = tmp_path / (TRAIN_IMAGES + suffix), arrays()[TRAIN_IMAGES]
    whole = file.read_bytes()
    for end in range(len(whole)):
        file.write_bytes(whole[:end])
        refused(lambda: load_idx_folder(tmp_path), file.name)
    harmless = 0
    for position in range(len(whole)):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            train, _ = load_idx_folder(tmp_path)
        except DataError:
            refused(lambda: load_idx_folder(tmp_path), file.name)
        else:
            np.testing.assert_array_equal(train.images, expected)
            harmless += 1
    assert harmless <= 10


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_stream_that_ends_early_is_called_damaged(tmp_path, suffix):
    write_folder(tmp_path, suffix=suffix)
    file = tmp_path / (TEST_IMAGES + suffix)
    file.write_bytes(file.read_bytes()[:-4])
    refused(lambda: load_idx_folder(tmp_path), file.name, f"damaged {PACKINGS[suffix]} stream", "download it again")


@pytest.mark.parametrize("method", ["open", "is_file", "is_dir"])
def test_an_unreadable_file_or_folder_is_named(folder, monkeypatch, method):
    def refuse(self, *arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(folder), method, refuse)
    refused(lambda: load_idx_folder(folder), str(folder), "cannot be read (Permission denied)")
