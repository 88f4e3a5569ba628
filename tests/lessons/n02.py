"""What notebook 2 has computed when its last cell has run."""

assert np.isclose(a[0, 0], x[0] @ W1[:, 0] + b1[0])
assert np.array_equal(h == 0, a <= 0)  # the ReLU silences exactly those
assert np.flatnonzero(h[0] == 0).tolist() == [3]
assert np.isclose(C, -np.log(q[0, 0]))
assert np.allclose(dh, dz @ W2.T)
assert dh[0, 3] != 0 == da[0, 3]
assert all(d.shape == X.shape for d, X in ((dW1, W1), (db1, b1), (dW2, W2), (db2, b2), (dx, x)))
assert change(0, 3, 0.001) == 0  # what the gradient of 0 promises ...
assert change(0, 3, 1.0) > 0.01  # ... holds for small changes only
assert abs(costs[0] - np.log(10)) < 0.5
assert costs[-1] < 0.3 * costs[0]
assert both.shape == (2,)
assert all(np.allclose(d, d_both[s]) for s, (_, d) in enumerate(singly))
