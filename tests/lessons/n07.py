"""What notebook 7 has computed when its last cell has run."""

assert abs(teacher_errors - 80) < 10
assert round(on_training / 6) == 17
assert 350 < means["alone"] < 550
assert on_training / 60_000 < teacher_errors / 10_000
assert saved.mean() > 3 * se  # more than chance
assert min(saved) > 0  # in every pair
assert np.isclose(saved.mean(), means["alone"] - means["taught"])
assert teacher_errors < means["taught"]
assert part.labels[chosen[0]] == 1  # the first of them is a 1
assert np.all(doubt[chosen] > 0.3)  # doubtful ones exist ...
assert 20 < doubtful < 45  # ... and are rare
assert np.median(doubt) < 1e-3  # on most digits the whisper is faint
assert len(gone) >= 20
assert len(left) >= 20
assert agree["taught"] > agree["alone"] + 5  # per cent
best = int(np.argmin(counts))
assert counts[best] < means["alone"]
assert 0 < best < len(counts) - 1  # they fall, and then rise
assert counts[0] > counts[best] + 50 < counts[-1] + 20
