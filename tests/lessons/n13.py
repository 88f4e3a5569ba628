"""What notebook 13 has computed when its last cell has run."""

assert wrong[0] == 7
assert 4 <= most <= 8
assert mean_said[0] < 0.1 * max(mean_said) > mean_said[-1]
assert by_class.argmin() == 8
assert np.all(y[order[:5]] == 8)
assert 0 < np.mean(weight < 0) < 0.7
assert np.allclose(np.sum(on_true, axis=-1), 0, atol=1e-12)
assert np.all(np.abs(np.sum(on_true * among_wrong / softmax(z_of_beginner, T), axis=-1)) < 1e-10)  # D12.18
assert share[1] < 5 < 10 < share[temperatures == 8][0]
mean_errors = {name: each.mean() for name, each in errors.items()}
assert mean_errors["soft targets"] < mean_errors["alike"] < mean_errors["labels"]
assert mean_errors["soft targets"] < mean_errors["exchanged"] < mean_errors["labels"]
assert mean_errors["labels"] - mean_errors["soft targets"] > 50
assert confident[T] < 70 < 90 < confident[1.0]
soft_ece, alike_ece = (
    np.mean([calibration_error(each, y_test) for each in measured[name]]) for name in ("soft targets", "alike")
)
assert soft_ece < alike_ece
assert by_class.argmax() == 5
assert soft_ece < np.mean([calibration_error(each, y_test) for each in measured["labels"]])
