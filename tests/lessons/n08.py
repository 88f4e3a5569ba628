"""What notebook 8 has computed when its last cell has run."""

assert whisper.argmax() in (2, 5, 8, 9)
assert not np.any(pool.labels[loudest] == 3)
assert second > 0.8
assert oracle > 0  # the 3 was too improbable
assert min(curve) < errors(z)
assert on_3s == sorted(on_3s, reverse=True)  # the higher the bias of 3, the more 3s are right
assert after < errors(z)
assert after - min(curve) < 60
assert says_78 > 0.9
assert honest78 < 0
assert errors(shifted) < 0.8 * errors(z78)
assert before[[7, 8]].min() > 0.9 > 0.5 > np.delete(before, [7, 8]).max()
assert 0.4 < recognised < 0.75  # a student of hard labels would get none
assert 3 < oracle < 8  # of the shifts to choose from, 5 nats is the best
assert kept > 0.75
assert np.all(share[[7, 8]] < before[[7, 8]])
assert np.all(np.delete(share, [7, 8]) >= np.delete(before, [7, 8]))
assert share.argmax() not in (7, 8)
