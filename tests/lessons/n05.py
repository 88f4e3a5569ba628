"""What notebook 5 has computed when its last cell has run."""

off_limit = {T: np.max(np.abs(gradient - limit)) / np.max(np.abs(limit)) for T, gradient in times_T2.items()}
assert off_limit[100.0] < 0.1
assert off_limit[1.0] > 0.3
assert abs(off - 10) < 1
assert abs(falls / 1000 - 1) < 0.05  # the error falls as 1/T³
assert 0.999 < max(used) <= 1
assert abs(10 * middle**2 / (12 * 3**0.5 * 0.1 * np.median(D)) / proven[0.1] - 1) < 0.02  # D3.34, as the reader puts it
assert 2 < proven[0.1] / about[0.1] < 4
assert all(error <= second <= first for error, first, second in rows.values())
assert rows[1.0][0] == rows[1.0][2] == 0 < rows[0.0][1] < rows[1.0][1]  # where z = v only the first bound is left
assert np.isclose(smaller, rows[0.99][2])
assert relative["float64"][-1] < 2 * relative["float64"][16] / 1000  # from T = 100 to 100,000: as 1/T
assert relative["float32"][-1] > 3 * relative["float32"].min()  # falls, and then rises again
assert 2000 < hot[relative["float32"].argmin()] < 20_000
assert median_off[8.0] > 0.5
assert 0.1 < median_off[20.0] < 0.8
assert median_off[200.0] < 0.1
assert 1.5 < np.median(needed[0.999999]) / np.median(needed[0.0]) < 2.5
assert np.median(needed[0.9]) > np.median(needed[0.0])
assert distilling[1.0] < 5 < 40 < matching
assert all(np.diff(list(distilling.values())) > 0)
assert lowest[2] < lowest[0]  # matching logits knows the lowest better: it was asked for them
assert lowest.argmin() == 2
