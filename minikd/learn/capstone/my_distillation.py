"""Distillation from nothing: eight functions in plain NumPy, and the training that they make possible.

Shapes: B cases, K classes, D inputs, H outputs. Logits z are the student's and v the teacher's, y are labels, and T is
the temperature. Arrays are float32 or float64: return the dtype that you are given, and write into no argument.

    minikd grade my_distillation.py     checks the eight functions
    python my_distillation.py           trains with them, once all are right: about a minute
"""

import math

import numpy as np


def softmax(z, T):
    """Return the probabilities (B, K) of the logits z (B, K): exp(z / T) over its sum over the classes."""
    e = np.exp((z - z.max(axis=-1, keepdims=True)) / T)
    return e / e.sum(axis=-1, keepdims=True)


def soft_cost(z, v, T):
    """Return C, the mean over the cases of -sum(p log q), with p of v and q of z at T, and its gradient dz (B, K)."""
    q, p = softmax(z, T), softmax(v, T)
    return -np.sum(p * np.log(q)) / len(z), (1 / T) * (q - p) / len(z)


def hard_cost(z, y):
    """Return C, the mean over the cases of -log q at the label y (B,), with q of z at T = 1, and its gradient dz."""
    q, p = softmax(z, 1.0), np.arange(z.shape[-1]) == y[:, None]
    return -np.log(q[p]).mean(), (q - p) / len(z)


def affine_forward(x, W, b):
    """Return x W + b, (B, H), for x (B, D), W (D, H) and b (H,)."""
    return x @ W + b


def affine_backward(dout, x, W):
    """Return dx, dW and db, of the shapes of x, W and b, from the gradient dout (B, H) of the output."""
    return dout @ W.T, x.T @ dout, dout.sum(axis=0)


def relu_forward(x):
    """Return the larger of x and 0, element by element."""
    return np.maximum(x, 0)


def relu_backward(dout, x):
    """Return dx: dout where x > 0, else 0."""
    return dout * (x > 0)


def momentum_step(parameters, velocity, gradient, learning_rate, momentum):
    """Return the new parameters and the new velocity, which is momentum * velocity - learning_rate * gradient."""
    velocity = momentum * velocity - learning_rate * gradient
    return parameters + velocity, velocity


# ---- what follows is given: it trains with your functions ----


def forward(layers, x):
    """Return the logits of x, (B, K), and what the backward pass needs: each layer's input and output."""
    kept = []
    for W, b in layers:
        kept.append((x, affine_forward(x, W, b)))
        x = relu_forward(kept[-1][1])
    return kept[-1][1], kept


def backward(layers, kept, dz):
    """Return dW and db of each layer, from the gradient dz of the logits."""
    gradients, dout = [], dz
    for i in reversed(range(len(layers))):
        x, W = kept[i][0], layers[i][0]
        dx, dW, db = affine_backward(dout, x, W)
        gradients.insert(0, (dW, db))
        if i > 0:
            dout = relu_backward(dx, kept[i - 1][1])
    return gradients


def train(images, y, hidden, epochs, seed, jitter=0, v=None, T=4.0, alpha=0.9, batch=128, rate=0.2, clip=1.0):
    """Return the layers [[W, b], ...] of a network that learned from labels y, and from a teacher's logits v if given.

    Images are moved by up to `jitter` pixels. The learning rate rises for 2 % of the steps, then falls as a cosine. A
    gradient that is longer than `clip` counts as one of that length.
    """
    rng, each, sizes, pixel = np.random.default_rng(seed), len(y) // batch, (784, *hidden, 10), np.arange(28)
    padded = np.pad(images, ((0, 0), (jitter, jitter), (jitter, jitter)))
    layers = [[rng.normal(0, (2 / D) ** 0.5, (D, H)), np.zeros(H)] for D, H in zip(sizes, sizes[1:])]
    layers = [[a.astype(images.dtype) for a in layer] for layer in layers]
    velocities = [[np.zeros_like(a) for a in layer] for layer in layers]
    steps, rise = epochs * each, round(0.02 * epochs * each)
    for step in range(steps):
        if step % each == 0:
            order = rng.permutation(len(y)).reshape(-1, 1, 1)
        n = order[step % each * batch :][:batch]
        down, right = rng.integers(0, 2 * jitter + 1, (2, batch, 1, 1))
        x = padded[n, pixel[:, None] + down, pixel + right].reshape(batch, -1)
        z, kept = forward(layers, x)
        C, dz = hard_cost(z, y[n.ravel()])
        if v is not None:
            C_soft, dz_soft = soft_cost(z, v[n.ravel()], T)
            C, dz = alpha * T**2 * C_soft + (1 - alpha) * C, alpha * T**2 * dz_soft + (1 - alpha) * dz
        gradients = backward(layers, kept, dz)
        length = sum(float(np.sum(g * g)) for pair in gradients for g in pair) ** 0.5
        factor = (step + 1) / rise if step < rise else 0.5 + 0.5 * math.cos(math.pi * (step - rise) / (steps - rise))
        for layer, velocity, gradient in zip(layers, velocities, gradients):
            for i in range(2):
                now = rate * factor * min(1.0, clip / (length or 1.0))
                layer[i], velocity[i] = momentum_step(layer[i], velocity[i], gradient[i], now, 0.9)
    print(f"784-{'-'.join(map(str, hidden))}-10: {steps} steps, the last batch cost {C:.3f} nats")
    return layers


def distil(images, y, seed=0):
    """Return the layers of a teacher that sees all digits, and of a student that sees 6000, alone and with its help."""
    teacher = train(images, y, (300, 300), 6, seed, jitter=2)
    few, y = images[:6000], y[:6000]
    v = forward(teacher, few.reshape(len(few), -1))[0]
    alone = train(few, y, (60, 60), 40, seed)
    return {"teacher": teacher, "alone": alone, "distilled": train(few, y, (60, 60), 40, seed, v=v)}


if __name__ == "__main__":
    from minikd import load_mnist  # the data, and nothing else

    digits, test_digits = load_mnist()
    x = test_digits.images.reshape(len(test_digits), -1).astype(np.float32) / 255
    for name, layers in distil(digits.images.astype(np.float32) / 255, digits.labels).items():
        wrong = np.sum(forward(layers, x)[0].argmax(axis=-1) != test_digits.labels)
        print(f"{name:10}{wrong} errors on {len(x):,} test digits")
