"""JAX doing the same as minikd: many steps as one program, by `jit` over a scan, on arrays of its own."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from benchmarks.contestants import ALPHA, MOMENTUM, RATE, Case, T
from benchmarks.timing import Bench, Steps
from minikd.core.mlp import unflatten

JAX = "JAX scan"


def distillation_steps(case: Case, bench: Bench) -> dict[str, Steps]:
    """Return JAX's step, `bench.graph` of them in each call, if JAX is installed and has this device."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # else it takes most of the card's memory
    try:
        import jax

        return {JAX: _scan(case, bench.graph, jax.devices(bench.place)[0])}
    except ImportError:
        bench.left_out[JAX] = "not installed; the package is jax, for a GPU jax[cuda13] or jax[cuda12]"
    except Exception as error:  # no CUDA, or a compiler that fails
        bench.leave_out(JAX, error)
    return {}


def _scan(case: Case, several: int, place: Any) -> Steps:
    import jax
    from jax import lax
    from jax import numpy as jnp

    def mean_cross_entropy(z: Any, p: Any) -> Any:
        return -jnp.mean(jnp.sum(p * jax.nn.log_softmax(z), axis=-1))

    def cost(layers: Any, x: Any, y: Any, v: Any) -> Any:
        for i, (W, b) in enumerate(layers):
            x = jnp.matmul(jax.nn.relu(x) if i > 0 else x, W, precision=lax.Precision.HIGHEST) + b  # no TF32
        soft = mean_cross_entropy(x / T, jax.nn.softmax(v / T))
        return ALPHA * T**2 * soft + (1 - ALPHA) * mean_cross_entropy(x, jax.nn.one_hot(y, x.shape[-1]))

    def step(state: Any, _: None, batch: Any) -> Any:
        parameters, velocity = state
        C, gradient = jax.value_and_grad(cost)(parameters, *batch)
        velocity = jax.tree.map(lambda u, g: MOMENTUM * u + g, velocity, gradient)
        return (jax.tree.map(lambda p, u: p - RATE * u, parameters, velocity), velocity), C

    def scan(state: Any, batch: Any) -> Any:
        return lax.scan(lambda state, _: step(state, _, batch), state, length=several)

    batch = jax.device_put((case.x, case.y.astype(np.int32), case.v), place)
    layers = jax.device_put([(W.copy(), b.copy()) for W, b in unflatten(case.start, case.sizes)], place)
    state = layers, jax.tree.map(jnp.zeros_like, layers)
    run = jax.jit(scan, donate_argnums=0).lower(state, batch).compile()  # if it fails it fails here

    def call() -> np.ndarray:
        nonlocal state
        state, costs = run(state, batch)
        return np.asarray(costs)  # waits for them

    return Steps(call, several)
