"""What notebook 12 has computed when its last cell has run."""

noise_of_labels = np.array([each for _, each in found.values()])
assert np.allclose(noise_of_labels, 0.54, atol=0.01)  # D12.2: the student is not in it
assert abs(found["agrees with the teacher"][0]) < 1e-12
assert 0.005 < noise.mean() < 0.0065
assert np.median(noise) < 1e-5
assert np.isclose(law["expected"], noise.mean())
assert law["hard"] - law["soft"] < 0.01 * law["hard"]
assert 0.5 < ratio["soft, T = 8", 0] / ratio["labels", 0] < 2  # a fresh network: not quieter
assert after > 4
assert 0.2 < ratio["labels", 1] / ratio["soft, T = 1", 1] < 5  # at T = 1 about as noisy as labels
assert all(ratio["labels", epoch] > 3 * ratio["soft, T = 8", epoch] for epoch in (1, 2, 3))
assert share["labels"] > 2 * share["soft, T = 8"]
for kind in ("labels", "soft, T = 8"):  # the formula holds for real batches
    for B in batches:
        assert abs(measured[kind, B] - 1 / np.sqrt(1 + ratio[kind, 1] / B)) < 0.12, (kind, B)
assert measured["soft, T = 8", 128] > measured["labels", 512]
assert best["labels"] > best["soft, T = 8"]
assert min(errors["soft, T = 8", rate] for rate in rates) < min(errors["labels", rate] for rate in rates)
assert 0.3 < length["labels"] * best["labels"] / (length["soft, T = 8"] * best["soft, T = 8"]) < 3
assert abs(surest.mean() - 0.9964) < 0.0001
assert 50 < ratio["soft, T = 8", 0] < 100  # about 70
assert 3 < length["soft, T = 8"] / length["labels"] < 5
