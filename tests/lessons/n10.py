"""What notebook 10 has computed when its last cell has run."""

assert to_host(dz).shape == (128, 10)
assert as_floats > 300 * as_numbers
assert 0.5e9 < flops(student, 128) < 1e9
assert seconds(800, 95) > 5 * seconds(800, 15) > 5 * seconds(800, 0) * 0.99  # by the assumed constants launches count
assert seconds(20_000, 95) == seconds(20_000, 15)  # ... and for a very wide network they do not
assert "H100" in measured["machine"]["device"]
assert all(35 * 15 < times["minikd"] < 60 * 15 for times in us.values())  # it has 15 launches
gains = {case: times["minikd"] / times["minikd, graph"] for case, times in us.items()}
assert 5 < min(gains.values()) < max(gains.values()) < 11
assert max(gains, key=gains.get) == narrow
assert captured > 1.5 * by_model
assert max(off.values()) < 10 < 100 * abs(works[narrow] / graph[narrow] - 1)
assert graph[wide] < per_step < 1.2 * graph[wide]
assert pass_us[128] < 3 * pass_us[1]
assert many > 3 * one_call
assert source.count("__global__ void distillation_loss") == 1
assert np.isclose(mean, waiting)
assert longer < 1.5
assert 90 < captured < 115  # about 100 µs
assert max(off.values()) == off["784-800-800-10", 128] > 5
