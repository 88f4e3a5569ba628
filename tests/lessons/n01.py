"""What notebook 1 has computed when its last cell has run."""

assert 1 - q1[7] < 1e-3
assert abs(1 - q8[7] - 0.5) < 0.1
assert all(np.array_equal(np.argsort(logits / t, axis=-1, kind="stable"), order) for t in moved)
assert np.array_equal(softmax(logits, 100.0).argmax(axis=-1), logits.argmax(axis=-1))
assert np.isclose(nine_to_one[8], nine_to_one[1] ** (1 / 8), rtol=1e-9)
assert np.array_equal(np.argsort(q1), np.argsort(q8))  # the choice that the reader should make
assert 4 < halfway < 8
assert np.isnan(as_written[0])
assert as_written[1] == as_written[2] == 0
assert np.array_equal(softmax(extreme, 1e-3), [1.0, 0.0, 0.0])
assert np.argsort(logits[chosen[list(labels).index(3)]])[-2] == 9
assert np.argsort(logits[chosen[list(labels).index(9)]])[-2] == 7
assert answer(8, 7).count("<rect") == 10
