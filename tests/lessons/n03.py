"""What notebook 3 has computed when its last cell has run."""

assert len(candidates) == 5
assert all(usual.values())  # every one of them, zero included
assert all(per_example.values())
assert np.allclose(numerical(np.ones_like(z)), 0, atol=1e-9)
assert zero_passes == [100.0]
assert round(largest[1.0], 2) == 0.06  # divided by T² this says where zero passes: the reader can work it out
assert np.allclose(np.zeros((16, 10)), soft_cross_entropy(student, v=teacher, T=100.0)[1], atol=1e-5)
assert 1e-13 < by_step[:, 0].min() < 1e-8  # at the best step about ten digits
assert 1e-6 < steps[by_step[:, 0].argmin()] < 1e-2
assert by_step[steps < 1e-9, 1].max() < 1e-14  # all digits, for any small step: nothing is subtracted
assert by_T[-5:, 0].mean() > 100 * by_T[:5, 0].mean()
assert by_T[:, 1].max() < 1e-11
assert all(bool(diagnosis) == (name == "right") for name, diagnosis in diagnoses.items())
