"""Folders of PNG and JPEG files, one sub-folder per class: what is read, left out and refused."""

import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from test_idx import refused

from minikd.data import pictures
from minikd.data.load import load_data


def pixels(n, *shape):
    return np.random.default_rng(n).integers(0, 256, shape or (5, 4), np.uint8)


def write(folder, classes=("a", "b"), count=10, shape=(5, 4), suffix=".png"):
    for k, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            Image.fromarray(pixels(1000 * k + n, *shape)).save(folder / name / f"{n:03}{suffix}")
    return folder


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_parts_with_folders_of_their_own_are_read_as_they_are(tmp_path, shape):
    write(tmp_path / "train", shape=shape)
    write(tmp_path / "Test", count=3, shape=shape)
    (tmp_path / "transfer").mkdir()
    for n in range(2):
        Image.fromarray(pixels(n, *shape)).save(tmp_path / "transfer" / f"{n}.PNG")
    (tmp_path / "valid").mkdir()
    train, test, transfer, inputs, labels, said, _ = load_data(tmp_path)
    np.testing.assert_array_equal(train.images, [pixels(1000 * k + n, *shape) for k in range(2) for n in range(10)])
    np.testing.assert_array_equal(transfer.images, [pixels(n, *shape) for n in range(2)])
    assert train.labels.tolist() == [0] * 10 + [1] * 10
    assert test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (transfer.labelled, transfer.classes, inputs.shape, labels.tolist()) == (False, 2, shape, ["a", "b"])
    assert said == [
        "folders beside train and test were left out: 'valid'",
        "labels 'a', 'b' became classes 0 and 1, in sorted order",
    ]


def test_without_a_test_folder_the_last_of_each_class_are_held_out_and_it_is_said(tmp_path):
    loaded = load_data(write(tmp_path / "mine"))
    np.testing.assert_array_equal(loaded.test.images, [pixels(1000 * k + n) for k in range(2) for n in (8, 9)])
    assert len(loaded.train) == 16
    assert "there is no test folder, so 4 pictures are held out for it: the last of each class" in loaded.said


def test_pictures_come_folder_by_folder_and_file_by_file_in_the_order_of_names(tmp_path):
    write(tmp_path, classes=("9", "10"))
    (tmp_path / "10" / "001.png").rename(tmp_path / "10" / "1.png")  # now the last: "1" is after "0"
    loaded = load_data(tmp_path)
    ten, nine = [1000, *range(1002, 1010), 1001], list(range(10))
    for part, order in ((loaded.train, ten[:8] + nine[:8]), (loaded.test, ten[8:] + nine[8:])):
        np.testing.assert_array_equal(part.images, [pixels(n) for n in order])


def test_few_pictures_leave_one_of_each_class_to_learn_from(tmp_path):
    loaded = load_data(write_uneven(tmp_path))
    assert (np.bincount(loaded.train.labels).tolist(), len(loaded.test)) == ([1] * 9, 1)
    (tmp_path / "k0" / "001.png").unlink()
    refused(lambda: load_data(tmp_path), "no class has 2 examples, so none can be held out")


def write_uneven(folder):
    """Nine classes of one picture each, except the first, which has two."""
    write(folder, classes=[f"k{k}" for k in range(9)], count=1)
    Image.fromarray(pixels(7)).save(folder / "k0" / "001.png")
    return folder


def test_names_that_are_numbers_are_numbers(tmp_path):
    loaded = load_data(write(tmp_path, classes=("10", "9", "2")))
    assert loaded.labels.tolist() == [2, 9, 10]
    assert "labels 2, 9, 10 became classes 0 to 2, in sorted order" in loaded.said
    (tmp_path / "9").rename(tmp_path / "09")
    assert load_data(tmp_path).labels.tolist() == ["09", "10", "2"]


def test_jpegs_and_every_mode_of_pillow_with_8_bits_are_read(tmp_path):
    write(tmp_path)
    for n, mode in enumerate(("1", "L", "LA", "P", "RGB", "RGBA")):
        Image.fromarray(pixels(n, 5, 4, 3)).convert(mode).save(tmp_path / "a" / f"{n:03}.png")
    for n, mode in enumerate(("L", "RGB", "CMYK")):
        Image.fromarray(pixels(n, 5, 4, 3)).convert(mode).save(tmp_path / "b" / f"{n:03}.jpeg")
    loaded = load_data(tmp_path)
    assert loaded.train.shape == (5, 4, 3)
    np.testing.assert_array_equal(loaded.train.images[4], pixels(4, 5, 4, 3))
    np.testing.assert_array_equal(loaded.train.images[6], np.repeat(pixels(6)[..., None], 3, axis=-1))


def test_grey_with_black_and_white_stays_grey(tmp_path):
    Image.fromarray(pixels(0)).convert("1").save(write(tmp_path) / "a" / "000.png")
    assert load_data(tmp_path).train.shape == (5, 4)


def test_what_is_no_picture_is_left_out_and_counted(tmp_path):
    write(tmp_path)
    (tmp_path / "readme.txt").touch()
    (tmp_path / "a" / "Thumbs.db").touch()
    (tmp_path / "a" / ".DS_Store").touch()
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    expected = 2
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "a" / "pipe.png")
        (tmp_path / "a" / "gone.png").symlink_to("nowhere")
        (tmp_path / "a" / "loop.png").symlink_to("loop.png")
        (tmp_path / "a" / "zero.png").symlink_to("/dev/zero")
        (tmp_path / "loop").symlink_to("loop")
        expected += 4
    loaded = load_data(tmp_path)
    assert (len(loaded.train) + len(loaded.test), loaded.labels.tolist()) == (20, ["a", "b"])
    assert f"left out because they are not PNG or JPEG files by their names: {expected}" in loaded.said


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(wide, high, depth=8, mode=0):
    """The head of a PNG file that promises this size and holds no pixel."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, depth, mode, 0, 0, 0))


def encoded(image, kind):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        (b"", ["not a whole PNG or JPEG file"]),
        (b"hello", ["not a whole PNG or JPEG file"]),
        (encoded(Image.fromarray(pixels(0)), "PNG")[:-30], ["not a whole PNG or JPEG file"]),
        (encoded(Image.fromarray(pixels(0)), "JPEG")[:-20], ["not a whole PNG or JPEG file"]),
        (encoded(Image.fromarray(pixels(0)), "GIF"), ["not a whole PNG or JPEG file"]),
        (png(5, 4), ["not a whole PNG or JPEG file"]),
        (png(4, 5) + chunk(b"IDAT", b"junk") + chunk(b"IEND", b""), ["not a whole PNG or JPEG file"]),
        (png(10_000, 10_000) + chunk(b"IDAT", b""), ["more than Pillow's limit of 89,478,485 pixels", "shrink"]),
        (png(2**31 - 1, 2**31 - 1) + chunk(b"IDAT", b""), ["more than Pillow's limit"]),
        (encoded(Image.fromarray(pixels(0, 6, 4)), "PNG"), ["4 × 6 pixels, but", "000.png has 4 × 5", "resize"]),
        (encoded(Image.fromarray(np.zeros((5, 4), np.uint16)), "PNG"), ["more than 8 bits per channel"]),
    ],
)
def test_a_bad_picture_is_named_in_one_line(tmp_path, data, parts):
    (write(tmp_path) / "a" / "009.png").write_bytes(data)
    refused(lambda: load_data(tmp_path), "009.png: ", *parts)


def test_damage_to_any_byte_of_a_picture_ends_in_one_line_or_in_a_picture(tmp_path):
    rng, whole = (
        np.random.default_rng(0),
        {kind: encoded(Image.fromarray(pixels(0, 5, 4, 3)), kind) for kind in ("PNG", "JPEG")},
    )
    path = write(tmp_path, count=2) / "a" / "001.png"
    for n in range(300):
        damaged = bytearray(whole[("PNG", "JPEG")[n % 2]])
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            load_data(tmp_path)
        except ValueError as error:
            assert "001.png" in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


def test_more_pixels_than_memory_should_hold_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LIMIT", 399)
    refused(lambda: load_data(write(tmp_path)), "the pictures need 400 bytes, 399 at most")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda root: (root / "test").rename(root / "val"), ["a folder train, but none called test"]),
        (lambda root: (root / "train").rename(root / "a"), ["a folder test, but none called train"]),
        (
            lambda root: (root / "test" / "a").rename(root / "test" / "z"),
            ["z: the training set has no folder of this class: add it to"],
        ),
        (lambda root: (root / "train" / "a").rename(root / "a"), ["all labels are 'b'"]),
        (lambda root: (root / "transfer").mkdir(), ["transfer: no PNG or JPEG files"]),
    ],
)
def test_folders_that_do_not_fit_are_refused(tmp_path, change, parts):
    write(tmp_path / "train")
    write(tmp_path / "test")
    change(tmp_path)
    refused(lambda: load_data(tmp_path), *parts)


def test_folders_without_pictures_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    refused(lambda: load_data(tmp_path), "a: no PNG or JPEG files of this class")
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    refused(lambda: load_data(tmp_path), "train: no PNG or JPEG files in its sub-folders")


def test_a_class_without_training_pictures_is_refused_and_one_without_test_pictures_said(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "test")
    for n in range(10):
        (tmp_path / "test" / "b" / f"{n:03}.png").unlink()
    remark = "the test set has no example of 'b', so the errors say nothing about this class"
    assert remark in load_data(tmp_path).said
    (tmp_path / "train" / "c").mkdir()
    refused(lambda: load_data(tmp_path), "c: no PNG or JPEG files of this class", "remove the folder")
    (tmp_path / "train" / "c").rename(tmp_path / "test" / "c")
    Image.fromarray(pixels(0)).save(tmp_path / "test" / "c" / "1.png")
    place = os.path.join("test", "c")
    refused(lambda: load_data(tmp_path), f"{place}: the training set has no folder of this class: add it to")


def test_a_message_about_pictures_names_their_folder(tmp_path):
    write(tmp_path / "a" / "train", classes="a")
    write(tmp_path / "a" / "test", classes="a")
    refused(lambda: load_data(tmp_path / "a"), f"{tmp_path / 'a' / 'train'}: all labels are 'a'")
    refused(lambda: load_data(write(tmp_path / "b", count=1)), f"{tmp_path / 'b'}: no class has 2 examples")

    def shade(part, *shades):
        for label in "ab":
            (tmp_path / "c" / part / label).mkdir(parents=True, exist_ok=True)
            for n, one in enumerate(shades):
                Image.new("L", (4, 5), one).save(tmp_path / "c" / part / label / f"{n}.png")

    shade("train", 9, 200)
    shade("test", *[1] * 60)
    refused(lambda: load_data(tmp_path / "c"), f"{tmp_path / 'c' / 'test'}: images: ", "too dark")
    shade("train", 9, 9)
    refused(lambda: load_data(tmp_path / "c"), f"{tmp_path / 'c' / 'train'}: all examples are alike")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_names_that_are_not_text_do_no_harm(tmp_path):
    write(tmp_path)
    odd = tmp_path / "a" / os.fsdecode(b"\xff\n.png")
    (tmp_path / "a" / "000.png").rename(odd)
    assert len(load_data(tmp_path).train) == 16
    os.truncate(odd, 20)
    assert r"\udcff\n.png" in refused(lambda: load_data(tmp_path), "not a whole PNG")
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"\xff"))
    assert r"\udcff" in refused(lambda: load_data(tmp_path), "must be printable text")
