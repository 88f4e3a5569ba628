"""The gradient doctor refuses arguments that do not fit, in words, and accepts the unusual ones that do."""

import numpy as np
import pytest
from learners import hard, soft

from minikd.core import losses
from minikd.doctor import check_gradient


def ok(z, v, T):
    return soft(z, v, T)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: check_gradient(ok, "soft"), ValueError, "of must be one of soft cross-entropy, .*got 'soft'"),
        (lambda: check_gradient(ok, 3), TypeError, "of must be the name of a problem or a forward function, got int"),
        (
            lambda: check_gradient(3, "relu"),
            TypeError,
            "function must be the one that computes your gradient, got int",
        ),
        (
            lambda: check_gradient(lambda logits: logits, "relu"),
            TypeError,
            "asks for logits: its arguments may be x, dout, out",
        ),
        (lambda: check_gradient(ok, "relu", wrt="x"), TypeError, "wrt is for forward functions of your own"),
        (
            lambda: check_gradient(ok, "soft cross-entropy", z=[[1.0]]),
            TypeError,
            "has the arguments z, v, T: got z; give",
        ),
        (lambda: own_soft(T="8"), TypeError, "T must hold real numbers"),
        (lambda: own_soft(T=0.0), ValueError, "T must be a finite number > 0, got 0.0"),
        (lambda: own_soft(T=1e-320), ValueError, "no finite gradient at your arguments"),
        (
            lambda: check_gradient(ok, "dropout", x=[[1.0]], keep=[[True]], drop=1.0),
            ValueError,
            r"drop must be a probability in \[0, 1\), got 1.0",
        ),
        (
            lambda: check_gradient(ok, "dropout", x=[[1.0]], keep=[[1.0]], drop=0.5),
            TypeError,
            "keep must hold booleans, got float64",
        ),
        (lambda: own_soft(z=[1.0, 2.0]), ValueError, r"z must have the axes \(B, K\), got shape \(2,\): one student"),
        (lambda: own_soft(v=[[1.0, 2.0]]), ValueError, r"v must have K = 3, got shape \(1, 2\)"),
        (lambda: own_soft(T=[2.0]), ValueError, r"T must be a single number, got shape \(1,\)"),
        (lambda: own_soft(z=[[1.0, np.nan, 0.0]]), ValueError, "z must be finite, got .*nan"),
        (
            lambda: own_soft(z=np.zeros((100, 100)), v=np.zeros((100, 100))),
            ValueError,
            "z may have 5000 elements, .*got 10000",
        ),
        (
            lambda: check_gradient(hard, "hard cross-entropy", z=[[1.0, 2.0]], y=[2]),
            ValueError,
            r"y must be labels from 0 to K − 1 = 1, got \[2\]",
        ),
        (
            lambda: check_gradient(hard, "hard cross-entropy", z=[[1.0, 2.0]], y=[0.5]),
            TypeError,
            "y must hold integers",
        ),
        (lambda: check_gradient(ok, lambda x: x, x=3), TypeError, "one a float array at least"),
        (
            lambda: check_gradient(ok, lambda x: x, x=[3.0], wrt="y"),
            TypeError,
            "wrt must name float arrays .*x, got 'y'",
        ),
        (lambda: check_gradient(ok, lambda x: (x, x), x=[3.0]), TypeError, "must return a float .*got tuple"),
        (lambda: check_gradient(ok, lambda x: x > 0, x=[3.0]), TypeError, "must return a float .*got bool"),
        (lambda: check_gradient(lambda x: x, lambda x: np.sum(x / 0), x=[3.0]), ValueError, "no finite gradient"),
        (
            lambda: check_gradient(lambda x: x, lambda x: np.sum(0 * x), x=[3.0]),
            ValueError,
            "is lost in rounding: is it zero",
        ),
        (
            lambda: check_gradient(lambda x: x, lambda x: float(np.sum(np.float16(np.real(x)))), x=[3.3, 0.1]),
            ValueError,
            "is lost in rounding: is it zero",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_words(call, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        call()


def own_soft(**change):
    arguments = {"z": [[2.0, -1.0, 0.5]], "v": [[3.0, -2.0, 1.0]], "T": 8.0, **change}
    return check_gradient(ok, "soft cross-entropy", **arguments)


def test_lists_and_integers_become_float_arrays():
    assert own_soft(z=[[2, -1, 0]]).right


def test_a_gradient_below_the_reach_of_the_complex_step_is_not_held_against_anyone():
    tiny = np.array([[1e-307, 2e-307]])
    assert check_gradient(losses.logit_matching, "logit matching", z=tiny, v=0 * tiny).right


def test_a_kink_is_not_judged():
    for at_kink in (lambda dout, x: dout * (x > 0), lambda dout, x: dout * (x >= 0)):
        assert check_gradient(at_kink, "relu", x=[[0.0, 1.0, -1.0]]).right
    assert not check_gradient(
        lambda dout, x: np.where(x == 0, np.nan, dout * (x > 0)), "relu", x=[[0.0, 1.0, -1.0]]
    ).right
