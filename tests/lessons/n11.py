"""What notebook 11 has computed when its last cell has run."""

assert hiss < loudest  # the s, then a vowel
assert centre[frames[hiss].argmax()] > 2 * centre[frames[loudest].argmax()]
assert changed[-1] < changed[0]
assert of_ensemble > max(of_members)
assert wrong_words < 50
assert of_theo < of_ensemble - 10
assert at_change > inside
assert np.mean(of_students) > np.mean(of_members)
assert np.mean(of_students) > np.mean(of_longer)
assert centre[frames[hiss].argmax()] > 3000
assert 1 < gain < 8
assert 30 < of_theo < 60
assert 0.1 < kept < 0.9
