"""What an engine is: the five functions of a training step, and what passes between them.

    data → engine.batches → engine.forward → engine.loss → engine.backward → engine.update

There are two engines, `minikd.engines.readable` and `minikd.engines.cuda`. Both are modules with these five functions;
both do the same arithmetic, up to the order of sums; and one test covers both. `Device.engine` says which one a device
uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from minikd.core.array import Array, get_xp
from minikd.core.layers import Cache
from minikd.core.mlp import Layers, unflatten


@dataclass(frozen=True, eq=False)
class Source:
    """A data set on a device, from which an engine cuts the batches of a run.

    An example is rows of numbers of X. Example n starts at n · stride, plus its shift: the jitter of an image, or the
    start of a window of frames.

    Attributes:
        X: uint8 images, (N, D), or flat where they are padded to be moved; or flat frames of the dtype.
        y: (N,) int64, the labels.
        V: (N, K) of the dtype, the teacher's logits, or None.
        stride: numbers of X from the start of one example to the next; 0 for frames, whose shift says it all.
        width: numbers of X from the start of one row of an example to the next.
        cols: numbers in a row of an example.
        window: (D,) int64, where the numbers of an example lie beside its start; None where examples are rows of X.
        inputs: D, the number of inputs.
        batch_size: B, cases per student.
        leading: the leading axes of a batch: (S,) if each student has its own batches, else ().
        counters: for the input of each layer, (B, size) uint32, or None without dropout.
        drops: for the input of each layer, the probability of dropping.
        dtype: "float32" or "float64".
    """

    X: Array
    y: Array
    V: Array | None
    stride: int
    width: int
    cols: int
    window: Array | None
    inputs: int
    batch_size: int
    leading: tuple[int, ...]
    counters: Sequence[Array | None]
    drops: Sequence[float]
    dtype: str


class Draw(NamedTuple):
    """The random draws of an epoch, or of one step without the first axis, on the device."""

    n: Array  # (steps, S·B) int64, the examples
    shift: Array | None  # (steps, S·B) int64, added to where each example starts
    keys: Sequence[Array | None]  # for the input of each layer, (steps, 1) or (steps, S) uint32: keys of dropout

    def at(self, i: int | slice) -> Draw:
        """Return the draws of step i, or of a slice of steps."""
        shift, *keys = (None if one is None else one[i, ...] for one in (self.shift, *self.keys))
        return Draw(self.n[i, ...], shift, keys)


class Batch(NamedTuple):
    """What one step reads. It has a leading axis S if each student of a population has its own batches."""

    x: Array  # (..., B, D) float, with the input's dropout done
    y: Array  # (..., B) int64
    v: Array | None  # (..., B, K) float, the teacher's logits
    dropout: Sequence[Any] | None  # for the input of each layer, None or what the engine's `forward` takes


@dataclass(eq=False)
class State:
    """What a run changes, on the device: flat arrays, and the layers as views of them."""

    sizes: tuple[int, ...]
    parameters: Array  # (..., P)
    velocity: Array  # (..., P)
    gradient: Array = field(init=False)  # (..., P)
    layers: Layers[Array] = field(init=False)  # of the parameters
    gradients: Layers[Array] = field(init=False)  # of the gradient

    def __post_init__(self) -> None:
        xp = get_xp(parameters=self.parameters, velocity=self.velocity)
        self.gradient = xp.zeros_like(self.parameters)
        self.layers = unflatten(self.parameters, self.sizes)
        self.gradients = unflatten(self.gradient, self.sizes)


class Engine(Protocol):
    """How a training step is carried out."""

    def batches(self, source: Source, draw: Draw) -> Iterator[Batch]:
        """Yield the batches of an epoch: gathered, moved, scaled, with soft targets, and with dropout on the inputs."""

    def forward(self, x: Array, state: State, dropout: Sequence[Any] | None = None) -> tuple[Array, Cache]:
        """Return the logits z, (..., B, K), and the cache for `backward`.

        The CUDA engine leaves the bias of the last layer to `loss`.
        """

    def loss(
        self,
        z: Array,
        state: State,
        *,
        v: Array | None,
        y: Array | None,
        T: float | Array,
        alpha: float | Array,
        out: Array | None = None,
    ) -> tuple[Array, Array]:
        """Return the cost C, (...,), written into `out` if it is given, and dz, (..., B, K).

        See `minikd.core.losses.distillation_loss`. The CUDA engine first adds the bias of the last layer to z, in
        place, and afterwards writes its gradient.
        """

    def backward(self, dz: Array, cache: Cache, state: State) -> None:
        """Write the gradient of every parameter into the state; `loss` may have written that of the last bias."""

    def update(
        self,
        state: State,
        *,
        learning_rate: float | Array,
        momentum: float,
        clip_norm: float | None,
        max_norm: float | None,
    ) -> None:
        """Clip the gradient, move the parameters, and limit the norms of the hidden layers' weights, in place."""
