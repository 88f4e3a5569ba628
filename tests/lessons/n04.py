"""What notebook 4 has computed when its last cell has run."""

assert np.allclose(J.sum(axis=-1), 0, atol=1e-12)
assert "dz = (1/T) * (q - p) / B" in inspect.getsource(soft_cross_entropy)
assert np.isclose(C1, C2)
assert np.allclose(dz2, dz1 / 2)
assert off["central differences"] < 1e-9
assert off["complex steps"] < 1e-15
assert not any(verdicts.values())
assert C > H  # the cost is at least the entropy of the targets (D2.9)
assert step.argmax() == 7
assert rising.tolist() == np.flatnonzero(p_of_7.round(3) > 0.1).tolist() == [7, 9]  # as the reader counts them
assert without[1.0].round(12).tolist() == [[1, 1, 1]]
assert without[2.0].round(12).tolist() == [[2, 2, 2]]
assert np.ptp(np.delete(step, 7)) > 0.05  # the label moves all wrong classes alike, soft targets do not
