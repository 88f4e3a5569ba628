"""`check_gradient`, the way in to the doctor."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minikd.doctor.cases import case_of, own_probe
from minikd.doctor.diagnosis import Diagnosis
from minikd.doctor.findings import diagnose
from minikd.doctor.problem import Problem
from minikd.doctor.problems import PROBLEMS
from minikd.doctor.problems.own import case_of_own
from minikd.doctor.trials import attempt, caller


def check_gradient(
    function: Callable[..., Any],
    of: str | Callable[..., Any],
    *,
    seed: int = 0,
    wrt: str | Sequence[str] | None = None,
    **arguments: Any,
) -> Diagnosis:
    """Say whether `function` is the gradient of `of`, and if it is not, which mistake it makes.

    The doctor tries `function` at arguments that it draws, of several shapes, T and logits, where no two mistakes look
    alike. It passes as many of the arguments below as `function` takes, by name, and expects the results on the right.
    For a cost, `function` may return (C, dz); then C is checked too, up to a constant.

        soft cross-entropy        z, v, T                 dz
        hard cross-entropy        z, y                    dz
        distillation              z, v, y, T, alpha       dz
        logit matching            z, v                    dz
        high-temperature limit    z, v, T                 dz, of Σ ½((z − z̄) − (v − v̄))²/(K T²) per case
        softmax                   dq, q, T (or z)         dz
        log-softmax               dlog_q, log_q, T (or z) dz
        affine                    dout, x, W, b           dx, dW, db
        relu                      dout, x (or out)        dx
        dropout                   dout, x, keep, drop     dx
        momentum                  parameters, velocity,   parameters, velocity after the step,
                                  gradient,               or None if it overwrites them
                                  learning_rate, momentum

    Args:
        function: the gradient that you wrote.
        of: a problem by name, or minikd's function for it, or any forward function of your own, of the `arguments`. If
            your forward function returns an array, then `function` is a backward pass and gets the gradient from above,
            dout, as its first argument.
        seed: what the doctor draws from.
        wrt: for a forward function of your own, the argument or arguments that `function` is the gradient with respect
            to. The first float array if not given.
        **arguments: those of the forward pass (z, not q; x, not dout). A known problem needs none; if you give some,
            the doctor tries `function` there too. Lists become arrays. They may have 5,000 elements, as a check takes a
            forward pass for each.

    Returns:
        A `Diagnosis`, which is true if the gradient is right.

    Raises:
        TypeError: if an argument is of the wrong type, unknown or missing.
        ValueError: if an argument has the wrong shape, or is out of range.
        Exception: what your function raised, if it raised everywhere.

    >>> import numpy as np
    >>> def backward(dout, x):
    ...     return dout * (x < 0)
    >>> check_gradient(backward, "relu").mistakes
    ('ReLU mask from the wrong side',)
    >>> check_gradient(lambda x: 3 * x, lambda x: np.sum(x**2), x=np.array([1.0, 2.0])).verdict
    'wrong, in a way that I do not know, worst at [1]'
    """
    problem = _known(of)
    own = []
    if problem is None:
        assert callable(of)
        case = case_of_own(of, seed, wrt, arguments)
    elif wrt is not None:
        raise TypeError(f"wrt is for forward functions of your own: {problem.name} is with respect to {problem.wrt}")
    else:
        case = case_of(problem, seed)
        own = [own_probe(problem, arguments, np.random.default_rng([seed, 1]))] if arguments else []
    probes = [*own, *case.probes]
    call = caller(function, probes[0])
    with np.errstate(all="ignore"):  # if yours overflows, its result tells
        trials = [attempt(call, case, probe) for probe in probes]
        ran = [trial for trial in trials if trial.raised is None]
        if not ran and trials[0].raised is not None:
            raise trials[0].raised
        return diagnose(call, case, trials, ran)


def _known(of: str | Callable[..., Any]) -> Problem | None:
    """Return the problem of that name, or that a function of minikd computes; None for any other function."""
    if isinstance(of, str):
        if of not in PROBLEMS:
            raise ValueError(f"of must be one of {', '.join(PROBLEMS)}, or a forward function, got {of!r}")
        return PROBLEMS[of]
    if not callable(of):
        raise TypeError(f"of must be the name of a problem or a forward function, got {type(of).__name__}")
    if not str(getattr(of, "__module__", "")).startswith("minikd."):
        return None
    name = re.sub("_(forward|backward|step|loss)$", "", getattr(of, "__name__", ""))
    return next((problem for problem in PROBLEMS.values() if re.sub("[ -]", "_", problem.name) == name), None)
