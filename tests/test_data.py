"""Data sets: what they take and keep, their parts, and images with a border."""

import re
import tracemalloc

import numpy as np
import pytest
from test_idx import refused

from minikd.data.checks import freeze, private
from minikd.data.frames import Frames
from minikd.data.images import Dataset, held_out_split, subset
from minikd.data.jitter import pad, window_index


def small(count=5, rows=2, cols=2):
    images = np.arange(count * rows * cols, dtype=np.uint8).reshape(count, rows, cols)
    return Dataset(images, (np.arange(count) % 10).astype(np.uint8), "small", classes=10)


# Datasets


BLACK = np.zeros((1, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "parts"),
    [
        ([[0]], np.zeros(1, np.uint8), ["images must be a NumPy array", "list"]),
        (BLACK, [0], ["labels must be a NumPy array", "list"]),
        (BLACK[0], np.zeros(1, np.uint8), ["images must have 3 axes", "(2, 2)"]),
        (np.zeros((1, 2, 2, 4), np.uint8), np.zeros(1, np.uint8), ["(N, rows, cols, 3)", "(1, 2, 2, 4)", "[..., :3]"]),
        (np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.uint8), ["(N, rows, cols, 3)", "images[..., 0]"]),
        (np.zeros((1, 3, 2, 2), np.uint8), np.zeros(1, np.uint8), ["channels last", "transpose(0, 2, 3, 1)"]),
        (np.zeros((1, 2, 2, 3, 1), np.uint8), np.zeros(1, np.uint8), ["3 axes", "average colours"]),
        (BLACK, None, ["examples without labels", "give classes"]),
        (BLACK, np.zeros((1, 10), np.uint8), ["labels must have 1 axis", "(1, 10)", "argmax"]),
        (np.zeros((2, 2, 2), np.uint8), np.zeros(3, np.uint8), ["2 images and 3 labels"]),
        (np.zeros((0, 2, 2), np.uint8), np.zeros(0, np.uint8), ["must not be empty", "(0, 2, 2)"]),
    ],
)
def test_a_dataset_that_breaks_a_rule_is_refused(images, labels, parts):
    refused(lambda: Dataset(images, labels, "mine"), "mine: ", *parts)


EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4"])
def test_floats_in_0_to_1_come_back_as_the_bytes_that_they_were_made_from(dtype):
    images = (EVERY_BYTE / 255).astype(dtype)
    np.testing.assert_array_equal(Dataset(images, np.arange(4), "mine").images, EVERY_BYTE, strict=True)


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.uint16, np.uint64, ">i4", np.float32, np.float64])
def test_whole_numbers_up_to_255_are_bytes_whatever_their_type(dtype):
    images = EVERY_BYTE.astype(dtype)
    np.testing.assert_array_equal(Dataset(images, np.arange(4), "mine").images, EVERY_BYTE, strict=True)


@pytest.mark.parametrize(
    ("pixels", "parts"),
    [
        ([0.0, np.nan], ["floats in [0, 1], got float64 in nan..nan"]),
        ([0.0, np.inf], ["got float64 in 0..inf"]),
        ([-0.4242, 2.8215], ["got float64 in -0.4242..2.8215", "undo the standardisation"]),
        ([0.0, 256.0], ["got float64 in 0..256"]),
        ([0.0, 254.5], ["whole numbers in 0..255", "float64 in 0..254.5 with fractions", "divide by 255, or round"]),
        ([-1, 255], ["whole numbers in 0..255", "got int64 in -1..255: scale both sets alike"]),
        ([0, 256], ["got int64 in 0..256", "write x // 257 if 65,535 is white, or scale both sets alike"]),
        ([0.0, 16.0], ["too dark", "float64 in 0..16", "divide by the number that is white, 16 if that is white"]),
        ([0.0, 1 / 255], ["too dark", "float64 in 0..0.00392157", "divide by the number that is white"]),
        ([0.0, 1.0001], ["floats must lie in [0, 1], got floats that reach 1.0001: write np.clip(x, 0, 1)"]),
        ([-0.01, 1.0], ["floats must lie in [0, 1], got floats that reach -0.01: write np.clip(x, 0, 1)"]),
        ([0.0, 1.5], ["too dark", "float64 in 0..1.5"]),
        ([0, 16], ["too dark", "int64 in 0..16"]),
        (np.arange(100, dtype=np.uint8) % 2, ["too dark", "uint8 in 0..1", "cut from floats in [0, 1], give those"]),
        (
            [False, True],
            ["must be numbers, got bool: write np.where(x, 255, 0) if True is white, np.where(x, 0, 255) if"],
        ),
        ([0j, 1j], ["must be numbers, got complex128"]),
        (["0", "1"], ["must be numbers, got <U1"]),
    ],
)
def test_images_that_would_come_out_wrong_are_refused_with_the_range_found(pixels, parts):
    images = np.array(pixels).reshape(-1, 1, 1)
    if images.dtype.kind == "i":
        images = images.astype(np.int64)
    message = refused(lambda: Dataset(images, np.zeros(len(images), np.uint8), "mine"), "mine: images", *parts)
    assert "astype" not in message


def test_a_part_of_a_bright_set_may_be_black():
    images = np.full((200, 1, 1), 255, np.uint8)
    images[7] = 1
    assert Dataset(images, np.zeros(200, np.uint8), "mine").take([7]).images.tolist() == [[[1]]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint16, np.uint64, ">i4"])
def test_labels_of_every_integer_type_are_read(dtype):
    labels = Dataset(EVERY_BYTE, np.array([0, 9, 3, 1], dtype), "mine").labels
    np.testing.assert_array_equal(labels, np.array([0, 9, 3, 1], np.uint8), strict=True)


@pytest.mark.parametrize(
    ("labels", "parts"),
    [
        (np.array([0, 9, 10, 3]), ["0..9", "got 10 at position 2, 1 outside, all in 0..10", "give classes=11"]),
        (
            np.array([0, 9, 99_999, 3]),
            ["got 99999 at position 2, 1 outside, all in 0..99999", "at most 65,536 classes"],
        ),
        (np.array([0, -1, 3, -1]), ["got -1 at position 1, 2 outside", "drop the examples that have no class"]),
        (np.array([1, 2, 10, 3]), ["give classes=11, or labels - 1 if they count from 1"]),
        (np.array([0, 2**64 - 1, 0, 0], np.uint64), ["got 18446744073709551615 at position 1"]),
        (np.array([0.0, 9.0, 1.0, 2.0]), ["must be integers, got float64: convert with .astype(np.int64)"]),
        (np.array([True, False, True, True]), ["must be integers, got bool: convert with .astype(np.int64)"]),
        (np.array([0.0, np.nan, 1.5, 2.0]), ["must be integers, got float64", "np.unique"]),
        (np.array(["5", "0", "4", "1"]), ["must be integers, got <U1", "np.unique"]),
        (np.array([5, 0, 4, 1], object), ["must be integers, got object", "np.unique"]),
    ],
)
def test_labels_that_would_wrap_or_be_cut_are_refused(labels, parts):
    refused(lambda: Dataset(EVERY_BYTE, labels, "mine", classes=10), "mine: labels", *parts)


def test_sixty_thousand_floats_are_converted_in_the_memory_of_a_few():
    images = np.zeros((60_000, 8, 8))
    images[:, 0, 0] = 1.0
    tracemalloc.start()
    try:
        dataset = Dataset(images, np.zeros(60_000, np.int64), "mine")
        assert tracemalloc.get_traced_memory()[1] < 2 * dataset.images.nbytes < images.nbytes
    finally:
        tracemalloc.stop()
    assert int(dataset.images.max()) == 255


def test_a_dataset_leaves_the_arrays_it_was_given_as_they_were():
    images, labels = np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.uint8)
    dataset = Dataset(images, labels, "mine")
    assert images.flags.writeable
    assert labels.flags.writeable
    assert not dataset.images.flags.writeable


def test_a_later_change_of_the_callers_arrays_does_not_reach_the_dataset():
    images, labels = EVERY_BYTE.copy(), np.arange(4, dtype=np.uint8)
    dataset = Dataset(images, labels, "mine")
    before = dataset.fingerprint
    images[:], labels[:] = 7, 9
    assert dataset.images.tolist() == EVERY_BYTE.tolist()
    assert dataset.labels.tolist() == [0, 1, 2, 3]
    assert Dataset(dataset.images, dataset.labels, "again").fingerprint == before


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


@pytest.mark.parametrize(
    "look",
    [
        lambda own: own,
        lambda own: own[1:],
        read_only,
        lambda own: freeze(own[::2].T),
        lambda own: np.broadcast_to(own, (3, *own.shape)),
        lambda own: np.lib.stride_tricks.sliding_window_view(own, 2),
        lambda own: np.frombuffer(memoryview(own).toreadonly(), np.uint8),
        lambda own: read_only(own.view(np.recarray)),
    ],
)
def test_what_can_still_be_written_to_is_copied_however_it_was_wrapped(look):
    own = np.arange(8, dtype=np.uint8)
    kept, expected = private(look(own)), look(own).copy()
    own += 1
    np.testing.assert_array_equal(kept, expected)
    with pytest.raises(ValueError, match="WRITEABLE"):
        kept.flags.writeable = True


def test_what_nobody_can_write_to_is_shared():
    own = freeze(np.arange(8, dtype=np.uint8))
    for array in (own, own[2:], own.reshape(2, 4), np.frombuffer(bytes(8), np.uint8)):
        assert np.shares_memory(private(array), array)


def test_a_part_of_a_dataset_is_copied_once_and_its_copy_not_at_all():
    whole = Dataset(freeze(np.full((1000, 30, 30), 200, np.uint8)), np.zeros(1000, np.uint8), "mine")
    tracemalloc.start()
    try:
        part = whole.take(np.arange(1, 1000))
        assert tracemalloc.get_traced_memory()[1] < 1.5 * part.images.nbytes
    finally:
        tracemalloc.stop()
    assert np.shares_memory(Dataset(part.images, part.labels, "again").images, part.images)


def test_the_fingerprint_tells_apart_pixels_labels_order_and_shape_but_not_names():
    one = small(6, 2, 3)
    assert one.fingerprint == Dataset(one.images, one.labels, "renamed").fingerprint
    assert one.fingerprint == Dataset(np.asfortranarray(one.images), one.labels, "small").fingerprint
    assert re.fullmatch("[0-9a-f]{64}", one.fingerprint)
    pixels, labels = one.images.copy(), one.labels.copy()
    pixels[5, 1, 2] ^= 1
    labels[0] = 9
    others = [
        Dataset(pixels, one.labels, "small"),
        Dataset(one.images, labels, "small"),
        Dataset(one.images.reshape(6, 3, 2), one.labels, "small"),
        one.take(np.arange(6)[::-1]),
        one.take(np.arange(5)),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 6


@pytest.mark.parametrize("index", [np.array([4, 0, 0]), [4, 0, 0], np.array([4, 0, 0], np.uint64)])
def test_take_follows_an_integer_index(index):
    taken = small().take(index)
    np.testing.assert_array_equal(taken.images, [small().images[i] for i in (4, 0, 0)])
    assert taken.labels.tolist() == [4, 0, 0]
    assert taken.name == "small"
    assert not taken.images.flags.writeable


def test_take_follows_a_boolean_index():
    assert small().take(np.array([True, False, False, True, False])).labels.tolist() == [0, 3]


@pytest.mark.parametrize(
    ("index", "parts"),
    [
        (np.array([0, 5]), ["0..4", "0..5"]),
        (np.array([-1, 2]), ["0..4", "-1..2"]),
        (np.array([True, False]), ["5 booleans", "bool of shape (2,)"]),
        (np.array([0.0, 1.0]), ["1-D integers", "float64"]),
        (3, ["1-D integers", "shape ()"]),
        (np.zeros(5, bool), ["at least 1 example"]),
        (np.zeros(0, np.int64), ["at least 1 example"]),
    ],
)
def test_take_refuses_an_index_that_would_wrap_or_choose_nothing(index, parts):
    refused(lambda: small().take(index), "small: ", *parts)


def test_a_data_set_may_have_more_classes_than_ten_and_its_parts_keep_them():
    images, labels = np.zeros((4, 2, 2), np.uint8), np.array([0, 99, 10, 99], np.uint8)
    pairs = Dataset(images, labels, "pairs", classes=100)
    for part in (pairs.take([1]), subset(pairs, [99]), *held_out_split(pairs, 1)):
        assert part.classes == 100
    refused(lambda: Dataset(images, labels, "pairs", classes=99), "0..98", "got 99 at position 1")
    refused(lambda: subset(pairs, [100]), "a class to keep", "0..99", "100")
    for classes in (1, 65_537, 10.0, -1):
        refused(lambda classes=classes: Dataset(images, labels, "pairs", classes=classes), "2..65536", repr(classes))


@pytest.mark.parametrize(
    ("largest", "classes", "dtype"),
    [(0, 2, np.uint8), (2, 3, np.uint8), (255, 256, np.uint8), (256, 257, np.uint16), (65_535, 65_536, np.uint16)],
)
def test_the_labels_show_how_many_classes_there_are(largest, classes, dtype):
    labels = np.array([0, largest, 0, largest])
    made = Dataset(EVERY_BYTE, labels, "mine")
    assert made.classes == classes
    np.testing.assert_array_equal(made.labels, labels.astype(dtype), strict=True)
    assert made.take([0]).classes == classes
    refused(lambda: Dataset(EVERY_BYTE, labels + 65_536, "mine"), "at most 65,536 classes")


def test_a_transfer_set_needs_no_labels():
    images = EVERY_BYTE + np.uint8(0)
    unlabelled, labelled = (Dataset(images, labels, "mine", classes=2) for labels in (None, np.zeros(4, np.int64)))
    assert (unlabelled.labelled, labelled.labelled) == (False, True)
    assert unlabelled.labels is None
    assert unlabelled.fingerprint != labelled.fingerprint
    taken = unlabelled.take([2, 0])
    assert (len(unlabelled), len(taken), taken.labels, taken.classes) == (4, 2, None, 2)
    np.testing.assert_array_equal(taken.images, images[[2, 0]])
    refused(lambda: held_out_split(unlabelled, 1), "mine has no labels", "held out")
    refused(lambda: subset(unlabelled, [1]), "mine has no labels", "told apart")


def test_colour_images_are_kept_as_they_are_and_told_from_grey_ones():
    grey = EVERY_BYTE.reshape(2, 2, 8, 8)[:, :, :, :6].reshape(4, 8, 6)
    colour = Dataset(grey.reshape(4, 8, 2, 3), np.arange(4), "mine")
    assert colour.shape == (8, 2, 3)
    np.testing.assert_array_equal(colour.images, grey.reshape(4, 8, 2, 3), strict=True)
    assert colour.fingerprint != Dataset(grey, np.arange(4), "mine").fingerprint
    floats = Dataset(grey.reshape(4, 8, 2, 3) / 255, np.arange(4), "mine")
    assert floats.fingerprint == colour.fingerprint


def test_frames_are_split_and_chosen_from_by_class_as_images_are():
    frames = Frames(np.eye(6, dtype=np.float32), np.arange(6), np.array([0, 0, 0, 1, 1, 2]), "rows", 3, 1)
    rest, held = held_out_split(frames, 2)
    assert (rest.labels.tolist(), held.labels.tolist(), held.starts.tolist()) == ([0, 0, 1, 2], [0, 1], [2, 4])
    assert subset(frames, [1, 2]).starts.tolist() == [3, 4, 5]


def of_classes(*labels, classes=10):
    """A data set whose image n is the number n, so that every example can be told from the others."""
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1) + np.uint8(2)
    return Dataset(images, np.array(labels), "small", classes)


@pytest.mark.parametrize("count", [1, 3, 50, 99, 190, np.uint8(3)])
def test_the_held_out_split_is_disjoint_covers_all_and_keeps_the_order(count):
    whole = of_classes(*np.random.default_rng(0).integers(0, 10, 200))
    rest, held_out = held_out_split(whole, count)
    assert len(held_out) == count
    for part in (rest, held_out):
        assert np.all(np.diff(part.images[:, 0, 0].astype(int)) > 0)
        np.testing.assert_array_equal(part.labels, whole.labels[part.images[:, 0, 0] - 2])
    assert sorted([*rest.images.ravel(), *held_out.images.ravel()]) == whole.images.ravel().tolist()
    assert (rest.name, held_out.name) == (
        f"small less {count} of all classes",
        f"small, {count} held out of all classes",
    )
    assert not held_out.images.flags.writeable


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_the_held_out_split_of_sorted_data_holds_every_class_in_proportion(mnist_data, count):
    """Each class within one example of its share, on either side; a cut by place would leave whole classes out."""
    _, test = mnist_data
    rest, held_out = held_out_split(test.take(np.argsort(test.labels, kind="stable")), count)
    shares = np.bincount(test.labels) * count / len(test)
    assert np.all(np.abs(np.bincount(held_out.labels, minlength=10) - shares) < 1)
    assert np.bincount(held_out.labels, minlength=10).min() > 0
    assert np.bincount(rest.labels).min() > 800


@pytest.mark.parametrize(
    ("labels", "count", "held"),
    [
        ([0, 0, 0, 1, 1, 1], 2, [2, 5]),  # the last of each
        ([0, 1, 0, 1, 0, 1], 2, [4, 5]),
        ([0, 0, 1, 1], 1, [1]),  # equal remainders: the smaller label
        ([1, 1, 0, 0, 0], 1, [4]),  # the larger remainder
        ([0, 0, 0, 0, 0, 5], 3, [2, 3, 4]),  # a class of one example keeps it
        ([0, 0, 0, 0, 1, 2, 3], 3, [1, 2, 3]),
    ],
)
def test_the_held_out_examples_follow_from_a_fixed_rule(labels, count, held):
    rest, held_out = held_out_split(of_classes(*labels), count)
    assert (held_out.images.ravel() - 2).tolist() == held
    assert set(rest.labels.tolist()) == set(labels)


@pytest.mark.parametrize("count", [0, -1, 6, 8, 2.0, True, None])
def test_the_held_out_split_refuses_a_count_that_leaves_a_class_or_a_side_empty(count):
    refused(
        lambda: held_out_split(of_classes(0, 0, 0, 0, 0, 4, 4), count), "small: ", "every class", "1..5", repr(count)
    )


def test_the_held_out_split_refuses_classes_of_one_example_each():
    refused(lambda: held_out_split(of_classes(0, 1, 2), 1), "small: no class has 2 examples")


def test_a_subset_keeps_every_example_of_its_classes_and_no_other(mnist_data):
    _, test = mnist_data
    without_threes = subset(test, set(range(10)) - {3})
    assert len(without_threes) == 10000 - 1010
    assert 3 not in without_threes.labels
    sevens_and_eights = subset(test, (7, 8))
    assert sevens_and_eights.labels.tolist() == [label for label in test.labels.tolist() if label in (7, 8)]
    np.testing.assert_array_equal(sevens_and_eights.images[0], test.images[0])  # the test set opens with a 7


@pytest.mark.parametrize("classes", [[10], [-1], [3.0], ["3"]])
def test_a_subset_refuses_a_class_that_does_not_exist(classes):
    refused(lambda: subset(small(), classes), "a class to keep", "0..9", repr(classes[0]))


@pytest.mark.parametrize("classes", [[], [9]])
def test_a_subset_without_examples_is_refused(classes):
    refused(lambda: subset(small(), classes), "at least 1 example")


# Jitter


def shifted(image, down, right):
    """The picture moved by (down, right), zeros entering: pixel by pixel, nothing shared with the module."""
    rows, cols = image.shape
    moved = np.zeros_like(image)
    for r in range(rows):
        for c in range(cols):
            if 0 <= r - down < rows and 0 <= c - right < cols:
                moved[r, c] = image[r - down, c - right]
    return moved


@pytest.mark.parametrize(("rows", "cols"), [(5, 7), (7, 5), (1, 2)])
def test_every_window_is_the_picture_shifted_with_zeros_entering(rows, cols):
    by = 2
    images = np.random.default_rng(1).integers(1, 256, (3, rows, cols), dtype=np.uint8)  # no zeros of its own
    padded, index = pad(images, by), window_index(rows, cols, by)
    seen = set()
    for down in range(2 * by + 1):
        for right in range(2 * by + 1):
            window = padded[:, index + (down * (cols + 2 * by) + right)].reshape(3, rows, cols)
            seen.add((by - down, by - right))
            for image, one in zip(images, window, strict=True):
                np.testing.assert_array_equal(one, shifted(image, by - down, by - right))
    assert len(seen) == 25
    assert seen == {(-down, -right) for down, right in seen}  # as far up as down, as far left as right


def test_padding_surrounds_each_image_with_zeros_and_copies_it():
    images = np.full((2, 3, 4), 200, dtype=np.uint8)
    padded = pad(images, np.uint8(2))
    assert padded.shape == (2, 7 * 8)
    assert padded.dtype == np.uint8
    assert padded.flags.c_contiguous
    assert padded.sum(dtype=np.int64) == images.sum(dtype=np.int64)
    flat = pad(images, 0)
    np.testing.assert_array_equal(flat, images.reshape(2, 12))
    assert not np.shares_memory(flat, images)


def test_a_window_index_is_host_int64_and_stays_inside_the_padded_image():
    index = window_index(28, 28, 2)
    assert index.dtype == np.int64
    assert index.shape == (784,)
    assert (index.min(), index.max() + 4 * 32 + 4) == (0, 32 * 32 - 1)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: pad(np.zeros((1, 2, 2)), 1), ["images must be (N, rows, cols) uint8", "float64"]),
        (lambda: pad(np.zeros((1, 4), np.uint8), 1), ["images must be (N, rows, cols) uint8", "(1, 4)"]),
        (lambda: pad(np.zeros((1, 2, 2), np.uint8), -1), ["by", ">= 0", "-1"]),
        (lambda: pad(np.zeros((1, 2, 2), np.uint8), 1.5), ["by", "whole number", "1.5"]),
        (lambda: window_index(0, 2, 1), ["rows", ">= 1", "0"]),
        (lambda: window_index(2, 0, 1), ["cols", ">= 1", "0"]),
        (lambda: window_index(2, 2, -1), ["by", ">= 0", "-1"]),
    ],
)
def test_padding_and_windows_refuse_sizes_that_mean_nothing(call, parts):
    refused(call, *parts)
