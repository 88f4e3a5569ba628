"""What notebook 6 has computed when its last cell has run."""

assert np.all(np.diff(soft) < 0)
assert 5 < soft[0] / soft[10] < 50  # much less than 100
assert lengths[1] < 0.5 < lengths[0]  # the cap shortens one of the two
assert hard > 0
assert apart(by_cost, by_rate) < 1e-12
assert apart(capped_cost, capped_rate) > 0.1
assert direction["without"][-1] > 0.95  # at T = 100, α = 0.9 "for the soft targets" follows the labels
assert direction["with T²"][-1] < 0.8
assert np.isclose(real_alpha(0.5, 20.0), 1 / 401)
assert np.isclose(direction["with T²"][0], direction["without"][0])  # at T = 1 there is nothing to forget
assert away["T = 20"] < 0.8 * away["T = 20, no T²"]
assert away["T = 4"] < away["T = 4, no T²"]
assert min(away, key=away.get) == "T = 20"
