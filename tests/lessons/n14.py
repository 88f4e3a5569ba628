# Without any exercise solved, the solution trains.
assert yours.softmax is not softmax
assert np.isclose(np.log(10), 2.302585)
assert round(growth) == 10
assert list(errors) == list(minikds()) == ["teacher", "alone", "distilled", "saved"]
assert errors["teacher"] < errors["distilled"] < errors["alone"]
assert size == {"teacher": 784 * 300 + 300 + 300 * 300 + 300 + 300 * 10 + 10, "alone": 51370, "distilled": 51370}
from minikd.learn.capstone.noise import compare  # noqa: E402

assert compare(errors)["within"], (errors, compare(errors))
assert 90 < errors["saved"] < 260 < errors["alone"] - errors["teacher"] - 20
