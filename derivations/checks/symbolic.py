"""What the SymPy checks share: symbols for one case, and expressions for its softened probabilities."""

import sympy as sp

CLASSES = (2, 3, 4)
SCOPE = "K = 2, 3, 4"

T = sp.Symbol("T", positive=True)


def symbols(K, letters="zv"):
    """A tuple of K real symbols for each letter: z1 … zK, v1 … vK."""
    return tuple(sp.symbols(f"{letter}1:{K + 1}", real=True) for letter in letters)


def softmax(z, temperature=T):
    e = [sp.exp(z_i / temperature) for z_i in z]
    return [e_i / sum(e) for e_i in e]


def dot(a, b):
    return sum(a_i * b_i for a_i, b_i in zip(a, b, strict=True))


def cross_entropy(p, q):
    return -dot(p, [sp.log(q_i) for q_i in q])


def delta(i, k):
    return 1 if i == k else 0


def is_zero(expression, what=""):
    rest = sp.simplify(sp.expand_log(expression, force=True))
    assert rest == 0, f"{what} {rest} is not 0"
