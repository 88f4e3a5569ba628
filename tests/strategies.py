"""Hypothesis strategies, named after what they draw."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def temperatures(low=1e-3, high=1e6):
    """Log-uniform; and often an end, or 1."""
    exponents = st.floats(math.log10(low), math.log10(high))
    return st.sampled_from([low, 1.0, high]) | exponents.map(lambda e: min(max(10.0**e, low), high))


def populations():
    """Leading axes: none, one student, or a few."""
    return st.sampled_from([(), (1,), (3,), (2, 2)])


def one_student():
    """(B, K)."""
    return st.tuples(st.integers(1, 3), st.integers(2, 9))


def shapes():
    """(..., B, K)."""
    return st.tuples(populations(), one_student()).map(lambda drawn: (*drawn[0], *drawn[1]))


SHAPES = shapes()


@st.composite
def logits(draw, shape, size=30.0, dtype=np.float64):
    """Arrays of a shape within ±size: spread out, tied, one-hot-like, or of all magnitudes at once."""
    number = st.floats(-size, size)
    kind = draw(st.sampled_from(["spread", "tied", "one-hot-like", "of all magnitudes"]))
    if kind == "spread":
        z = draw(hnp.arrays(np.float64, shape, elements=number))
    elif kind == "tied":
        values = np.array(draw(st.lists(number, min_size=2, max_size=3)))
        z = values[draw(hnp.arrays(np.int64, shape, elements=st.integers(0, len(values) - 1)))]
    elif kind == "one-hot-like":
        hot = draw(hnp.arrays(np.int64, shape[:-1], elements=st.integers(0, shape[-1] - 1)))
        z = np.where(np.arange(shape[-1]) == hot[..., None], draw(number), 0.0)
    else:
        exponents = draw(hnp.arrays(np.float64, shape, elements=st.floats(-6, math.log10(size))))
        z = 10.0**exponents * draw(hnp.arrays(np.int64, shape, elements=st.sampled_from([-1, 1])))
    return np.clip(z, -size, size).astype(dtype)


@st.composite
def students(draw, shapes=SHAPES, size=30.0, dtype=np.float64):
    """A student's logits z, (..., B, K)."""
    return draw(logits(draw(shapes), size, dtype))


@st.composite
def students_and_teachers(draw, shapes=SHAPES, size=30.0, dtype=np.float64):
    """(z, v) of one shape."""
    shape = draw(shapes)
    return draw(logits(shape, size, dtype)), draw(logits(shape, size, dtype))


@st.composite
def labels(draw, z):
    """y for the logits z."""
    return draw(hnp.arrays(np.int64, z.shape[:-1], elements=st.integers(0, z.shape[-1] - 1)))


def upstreams():
    """A generator to draw an upstream gradient from; random, since a constant one hides a missing softmax."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)
