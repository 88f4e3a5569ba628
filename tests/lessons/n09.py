"""What notebook 9 has computed when its last cell has run."""

assert seen["hard labels"] == 0  # by heart
assert records["hard labels"][-1]["cost"] < 0.01
assert final["soft targets"] < 0.8 * final["hard labels"]
assert stopped > 1.1 * final["soft targets"]
assert not set(shuffled[-5000:]) & set(shuffled[:1800])
assert all(s < h for s, h in zip(curve["soft targets"], curve["hard labels"], strict=True))
assert 3 < as_good < 10  # 3 % with soft targets are not quite worth 10 % with labels
assert max(found["arithmetic"], found["geometric"]) < found["members"]
assert np.allclose(softmax(one_mean, 2.0), softmax(teachers, 2.0).mean(axis=0))
assert of_all < of_one  # the ensemble's gain arrives in a single network
assert abs(found["arithmetic"] - found["geometric"]) <= disagree
