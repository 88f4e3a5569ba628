"""What the tests hold minikd against: textbook forward passes, and two ways to differentiate them.

Nothing here shares code with minikd. A forward pass is written as the textbook writes it, for one student: no largest
logit is subtracted, nothing is clipped, and every step takes complex numbers, so that `complex_step` can differentiate
it to the last digits.
"""

import itertools

import numpy as np

EPS = float(np.finfo(np.float64).eps)

# ---- forward passes --------------------------------------------------------------------------------------------------


def naive_softmax(z, T=1.0):
    """q (..., K). Overflows where z/T passes 709: choose the inputs accordingly."""
    e = np.exp(z / T)
    return e / np.sum(e, axis=-1, keepdims=True)


def naive_log_softmax(z, T=1.0):
    return np.log(naive_softmax(z, T))


def naive_soft_cross_entropy(z, v, T):
    """A number, for z and v (B, K)."""
    cost = 0.0
    for z_case, v_case in zip(z, v, strict=True):
        e = np.exp(z_case / T)
        cost = cost - np.sum(naive_softmax(v_case, T) * (z_case / T - np.log(np.sum(e))))
    return cost / len(z)


def naive_hard_cross_entropy(z, y):
    cost = 0.0
    for z_case, label in zip(z, y, strict=True):
        cost = cost - (z_case[label] - np.log(np.sum(np.exp(z_case))))
    return cost / len(z)


def naive_distillation(z, v, y, T, alpha):
    soft, hard = naive_soft_cross_entropy(z, v, T), naive_hard_cross_entropy(z, y)
    return alpha * T * T * soft + (1 - alpha) * hard


def naive_logit_matching(z, v):
    return sum(np.sum((z_case - v_case) ** 2) / 2 for z_case, v_case in zip(z, v, strict=True)) / len(z)


def naive_entropy(p):
    """(...,): −Σ p log p over the last axis, 0 log 0 = 0."""
    return -np.sum(p * np.log(np.where(p > 0, p, 1.0)), axis=-1)


def naive_affine(x, W, b):
    return x @ W + b


def naive_relu(x):
    """By the sign of the real part, so a complex step passes through it."""
    return np.where(x.real > 0, x, 0.0)


def naive_dropout(x, keep, drop):
    return np.where(keep, x / (1 - drop), 0.0)


def naive_layers(flat, sizes):
    """The layers of one network's parameters, (P,): W row by row, then b, layer after layer."""
    numbers, layers = list(flat), []
    for D, H in itertools.pairwise(sizes):
        W = np.array([[numbers.pop(0) for _ in range(H)] for _ in range(D)])
        layers.append((W, np.array([numbers.pop(0) for _ in range(H)])))
    assert not numbers
    return layers


def naive_mlp(x, layers, dropout=None):
    """z (B, K); dropout, for each layer the (keep, drop) of its input, or None."""
    h = x
    for i, (W, b) in enumerate(layers):
        if i > 0:
            h = naive_relu(h)
        if dropout is not None and dropout[i] is not None:
            h = naive_dropout(h, *dropout[i])
        h = naive_affine(h, W, b)
    return h


# ---- derivatives -----------------------------------------------------------------------------------------------------


def complex_step(f, x, h=1e-30):
    """The gradient of f, a number for an array, from one complex evaluation an element: Im f(x + ih) / h.

    Nothing is subtracted, so nothing cancels: the step can be so small that its square is far below rounding. No
    smaller, though: with 1e-200, exp(-270 + ih) would underflow.
    """
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        stepped = x.astype(np.complex128)
        stepped[index] += 1j * h
        gradient[index] = np.imag(f(stepped)) / h
    return gradient


def central_difference(f, x, h=1e-5):
    """The gradient of f where its code takes no complex numbers; some 1e-10 at best."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += h
        behind[index] -= h
        gradient[index] = (f(ahead) - f(behind)) / (2 * h)
    return gradient


def line_integral(gradient, start, end, nodes=40):
    """∫ gradient · dl on the straight line from start to end, by Gauss and Legendre."""
    places, weights = np.polynomial.legendre.leggauss(nodes)
    middle, half = (start + end) / 2, (end - start) / 2
    return sum(w * np.sum(gradient(middle + t * half) * half) for t, w in zip(places, weights, strict=True))


# ---- measures --------------------------------------------------------------------------------------------------------


def relative_error(a, b):
    """max |a − b| / max |b|: for gradients, relative to the largest one. Shapes must agree: nothing is broadcast."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape, f"shape {a.shape}, and the oracle's is {b.shape}"
    largest = float(np.max(np.abs(b)))
    assert largest > 0, "the oracle is zero everywhere, so the test would test nothing"
    return float(np.max(np.abs(a - b))) / largest


def spread(z):
    """R, (...,): the largest less the smallest logit of each case."""
    return np.max(z, axis=-1) - np.min(z, axis=-1)


def purely(f, *args, **kwargs):
    """f's result, once it is known that no array among its arguments changed by a bit."""
    arrays = list(_arrays([args, kwargs]))
    assert arrays
    before = [array.tobytes() for array in arrays]
    result = f(*args, **kwargs)
    for array, bits in zip(arrays, before, strict=True):
        assert array.tobytes() == bits, f"{f.__name__} wrote into its argument, now {array}"
    return result


def dtypes(result):
    """The dtypes of every float array and NumPy scalar in a result, however nested."""
    return {array.dtype for array in _arrays(result) if array.dtype.kind == "f"}


def _arrays(values):
    if isinstance(values, np.ndarray | np.generic):
        yield values
    elif isinstance(values, dict):
        yield from _arrays(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _arrays(value)
