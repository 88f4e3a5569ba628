"""The costs by name, and logits to try them on."""

import numpy as np

from minikd.core.losses import distillation_loss, hard_cross_entropy, logit_matching, soft_cross_entropy

CLASSES = [2, 3, 10, 100]


def student_teacher_labels(K, B=4, seed=0, population=()):
    """Logits of ordinary size, and labels."""
    rng = np.random.default_rng([seed, K])
    shape = (*population, B, K)
    return 2 * rng.standard_normal(shape), 2 * rng.standard_normal(shape), rng.integers(0, K, shape[:-1])


def costs(K, T=4.0):
    """Every cost as a function of (z, v, y), by name."""
    return {
        "soft": lambda z, v, y: soft_cross_entropy(z, v=v, T=T),
        "hard": lambda z, v, y: hard_cross_entropy(z, y=y),
        "distillation": lambda z, v, y: distillation_loss(z, v=v, y=y, T=T, alpha=0.6),
        "logit matching": lambda z, v, y: logit_matching(z, v=v),
    }


def soft_like():
    """Every cost of soft targets alone as a function of (z, v), by name."""
    return {
        "soft": lambda z, v: soft_cross_entropy(z, v=v, T=2.0),
        "distillation": lambda z, v: distillation_loss(z, v=v, T=2.0),
        "logit matching": lambda z, v: logit_matching(z, v=v),
    }
