"""A classifier in one file, which needs only NumPy. minikd wrote it.

In Python, x is an array with one example after the other, (N, …):

    from student import predict, predict_proba
    predict(x), predict_proba(x)

On the command line, each example in a file becomes one line with its label and the probability of that label:

    python student.py data.npy
"""

import base64
import sys

import numpy as np


def array(dtype: str, shape: tuple[int, ...], text: str) -> np.ndarray:
    """Return an array from its bytes, written in base 64."""
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def inputs(x: np.ndarray) -> np.ndarray:
    """Return what the network reads, (N, D) float32: features standardised, or pixels as numbers in [0, 1].

    Pixels are integers in 0 … 255, or floats in [0, 1].
    """
    x = np.asarray(x)
    if x.ndim == 4 and x.shape[3] == 1:  # grey images with an axis for the channel
        x = x[..., 0]
    if x.shape[1:] != SHAPE or len(x) == 0:
        raise ValueError(f"examples must have the shape {SHAPE}, so x must be {('N', *SHAPE)}, got {x.shape}")
    if x.dtype.kind not in ("iuf" if MEAN is None else "biuf"):
        raise ValueError(f"examples must be numbers, got {x.dtype}")
    if not np.isfinite(x).all():
        raise ValueError("examples must be finite, got inf or nan")
    if MEAN is None:
        white = 1 if x.dtype.kind == "f" else 255  # the type decides, so no image depends on the others beside it
        if x.min() < 0 or x.max() > white:
            rule = "pixels must be integers in 0..255 or floats in [0, 1]"
            raise ValueError(f"{rule}, got {x.dtype} in {x.min():.6g}..{x.max():.6g}: convert them")
        h = np.rint(x * (255 / white)) / 255
    else:
        largest = float(np.finfo(np.float32).max)
        with np.errstate(over="ignore"):
            h = np.clip((x.astype(np.float64) - MEAN) / SCALE, -largest, largest)
    return h.reshape(len(x), D).astype(np.float32)


def logits(x: np.ndarray) -> np.ndarray:
    """Return the logits of examples, (N, K) float32."""
    h = inputs(x)
    for i, (W, b) in enumerate(LAYERS):
        h = (h if i == 0 else np.maximum(h, 0)) @ W + b  # a ReLU stands between two layers
    return h


def predict_proba(x: np.ndarray) -> np.ndarray:
    """Return the probability of each label, (N, K): the softmax of the logits."""
    z = logits(x)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def predict(x: np.ndarray) -> np.ndarray:
    """Return the most likely label of each example, (N,)."""
    return np.asarray(LABELS[logits(x).argmax(axis=1)])


def main() -> None:
    """Print a label and its probability for each example of a .npy file."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} data.npy")
    try:
        x = np.load(sys.argv[1], allow_pickle=False)
        if not isinstance(x, np.ndarray):
            raise ValueError("not a .npy file: write an array with numpy.save")
        labels, p = predict(x), predict_proba(x)
    except (OSError, ValueError) as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    for label, best in zip(labels, p.max(axis=1), strict=True):
        shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in str(label))  # no tab, no line break
        print(f"{shown}\t{best:.4f}")


# ---- what was learnt -------------------------------------------------------------------------------------------------

ABOUT = "{}"
LABELS = np.array(["no", "yes"])
SHAPE: tuple[int, ...] = (1,)
D = 1
MEAN, SCALE = np.zeros(1), np.ones(1)
LAYERS = [(np.array([[-1.0, 1.0]]), np.zeros(2))]

# ---- the end of what was learnt --------------------------------------------------------------------------------------

if __name__ == "__main__":
    main()
