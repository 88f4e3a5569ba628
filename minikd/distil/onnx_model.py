"""Networks and students as ONNX, which runtimes on phones, in browsers and in databases read."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minikd import __version__
from minikd.data.inputs import Inputs
from minikd.distil.int8 import quantise
from minikd.distil.student import Student
from minikd.system.cli import one_line
from minikd.system.files import check_writable, write_atomically
from minikd.training.checkpoint import digest
from minikd.training.network import Network

OPSET, IR_VERSION = 13, 8
"""Versions that runtimes of 2021 know, and that have all an MLP needs."""


def check_onnx_path(path: str | os.PathLike[str]) -> None:
    """Check before long work that `to_onnx` can write there.

    Args:
        path: the file.

    Raises:
        ValueError: if the name is wrong, the folder cannot be written, or the library is missing or broken.
    """
    if Path(path).suffix != ".onnx":
        raise ValueError(f"an ONNX file's name must end in .onnx, got {os.fspath(path)!r}")
    check_writable(path)
    _library()


def _library() -> Any:
    """Return the library onnx with its parts imported.

    Raises:
        ValueError: if that fails for any reason, in one line.
    """
    try:
        for part in ("checker", "helper", "numpy_helper"):
            importlib.import_module(f"onnx.{part}")
    except Exception as error:
        if not isinstance(error, ModuleNotFoundError) or (error.name or "").partition(".")[0] != "onnx":
            cause, fix = one_line(f"{type(error).__name__}: {error}"), "python -m pip install --force-reinstall onnx"
            raise ValueError(f"onnx cannot be imported ({cause}): {fix}") from None
        # If the library is missing, Python takes any folder of this name for a package.
        other = importlib.util.find_spec("onnx")
        places = [] if other is None else [other.origin, *(other.submodule_search_locations or [])]
        found = next((f" ({place} is not it)" for place in places if place), "")
        raise ValueError(f"writing ONNX needs the library onnx{found}: python -m pip install 'minikd[onnx]'") from None
    return importlib.import_module("onnx")


def to_onnx(network: Network, path: str | os.PathLike[str], about: Mapping[str, Any] | None = None) -> None:
    """Write a network as ONNX, by the extra `onnx`: the whole file or nothing.

    The model's input is `pixels` (batch, D) float32 in [0, 1], the rows of an image one after another. The batch may
    have any size. Its outputs are `logits` (batch, K), in nats, `probabilities` (batch, K), their softmax at T = 1,
    because the temperature is only for training (Hinton et al. 2015, section 2), and `label_index` (batch,) int64, the
    most likely class.

    Args:
        network: a single network, not a population.
        path: the file, ending in .onnx.
        about: what the file's metadata should say beside the digest of the weights and minikd's version.

    Raises:
        ValueError: as `check_onnx_path`, and if the network is a population.
    """
    check_onnx_path(path)
    network.check_single("an ONNX file holds")
    graph = _Graph("pixels", "FLOAT", (network.sizes[0],))
    graph.network(network, int8=False)
    graph.write(path, {"weights": digest({"flat": network.flat}), **(about or {})})


def student_to_onnx(student: Student, path: str | os.PathLike[str], *, int8: bool = False) -> None:
    """Write a student as ONNX with its preprocessing inside, by the extra `onnx`: the whole file or nothing.

    The input holds examples as you have them, and the batch may have any size:

    - `features` (batch, D) float64. They are standardised in float64, because the mean may be large beside the scale.
    - `images` (batch, rows, cols) or (batch, rows, cols, 3): uint8; or float32 in [0, 1] if the student learnt from
      floats (`Inputs.pixels`). These are rounded to steps of 1/255, as in training.

    The outputs are those of `to_onnx`. The metadata hold `labels`, a JSON list with your label of each index, and
    `about`, a JSON object. The network computes in float32.

    Args:
        student: to write.
        path: the file, ending in .onnx.
        int8: whether the weights are rounded to bytes, as `rounded_to_int8` does.

    Raises:
        ValueError: as `check_onnx_path`.
    """
    check_onnx_path(path)
    inputs = student.inputs
    if inputs.mean is not None and inputs.scale is not None:
        graph = _Graph("features", "DOUBLE", inputs.shape)
        graph.apply("Sub", graph.constant("mean", inputs.mean))
        graph.apply("Div", graph.constant("scale", inputs.scale))
        graph.apply("Cast", to=graph.float)
    else:
        floats = inputs.pixels == "floats"
        graph = _Graph("images", "FLOAT" if floats else "UINT8", inputs.shape)
        white = graph.constant("white", np.float32(255))
        if floats:
            graph.apply("Mul", white)
            graph.apply("Round")
        else:
            graph.apply("Cast", to=graph.float)
        graph.apply("Div", white)
        graph.apply("Flatten", axis=1)
    graph.network(student.network, int8=int8)
    labels, about = json.dumps(student.labels.tolist()), json.dumps(student.about)
    graph.write(path, {"weights": digest({"flat": student.network.flat}), "labels": labels, "about": about})


def read_by_onnx(inputs: Inputs) -> str:
    """Return what the ONNX file of a student reads: the name of its input, its numbers and its shape.

    >>> read_by_onnx(Inputs((28, 28), pixels="floats"))
    'images: float32 in [0, 1], (batch, 28, 28)'
    """
    name, numbers = "images", "float32 in [0, 1]" if inputs.pixels == "floats" else "uint8"
    if inputs.mean is not None:
        name, numbers = "features", "float64"
    return f"{name}: {numbers}, ({', '.join(map(str, ('batch', *inputs.shape)))})"


class _Graph:
    """An ONNX graph that is one chain: each operation takes what the one before it gives.

    Args:
        name: of the input.
        kind: of its numbers, as ONNX calls them.
        shape: of an example.
    """

    def __init__(self, name: str, kind: str, shape: tuple[int, ...]) -> None:
        self.onnx, self.last = _library(), name
        self.float: int = self.onnx.TensorProto.FLOAT
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.input = self._value(name, getattr(self.onnx.TensorProto, kind), *shape)
        self.outputs: list[Any] = []

    def _value(self, name: str, kind: int, *shape: int) -> Any:
        return self.onnx.helper.make_tensor_value_info(name, kind, ["batch", *shape])

    def constant(self, name: str, numbers: Any) -> str:
        """Add numbers that the graph holds. Returns: their name."""
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(numbers, order="C"), name))
        return name

    def apply(self, operation: str, *others: str, to_name: str = "", **attributes: Any) -> str:
        """Add an operation on what the last one gave, and on others. Returns: the name of what it gives."""
        out = to_name or f"{operation.lower()}{len(self.nodes) + 1}"
        self.nodes.append(self.onnx.helper.make_node(operation, [self.last, *others], [out], **attributes))
        self.last = out
        return out

    def network(self, network: Network, *, int8: bool) -> None:
        """Add the layers, and the three outputs."""
        layers = network.layers()
        for i, (W, b) in enumerate(layers, start=1):
            weights = self._weights(f"W{i}", W, int8)
            bias = self.constant(f"b{i}", np.asarray(b, np.float32))
            self.apply("Gemm", weights, bias, to_name="" if i < len(layers) else "logits")
            if i < len(layers):
                self.apply("Relu")
        self.apply("Softmax", to_name="probabilities", axis=-1)
        self.last = "logits"
        self.apply("ArgMax", to_name="label_index", axis=-1, keepdims=0)
        K, kinds = network.sizes[-1], self.onnx.TensorProto
        self.outputs = [self._value(name, kinds.FLOAT, K) for name in ("logits", "probabilities")]
        self.outputs.append(self._value("label_index", kinds.INT64))

    def _weights(self, name: str, W: Any, int8: bool) -> str:
        """Add weights. Returns: the name of W, which a runtime makes of the bytes when it loads the model.

        `DequantizeLinear` would say the same, but onnxruntime then rounds the activations to bytes too.
        """
        if not int8:
            return self.constant(name, np.asarray(W, np.float32))
        whole, scale = quantise(W)
        node = self.onnx.helper.make_node
        self.nodes += [
            node("Cast", [self.constant(f"{name}_int8", whole)], [f"{name}_whole"], to=self.float),
            node("Mul", [f"{name}_whole", self.constant(f"{name}_scale", scale)], [name]),
        ]
        return name

    def write(self, path: str | os.PathLike[str], about: Mapping[str, Any]) -> None:
        """Check the model, and write it with its metadata."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "student", [self.input], self.outputs, initializer=self.constants)
        model = helper.make_model(
            graph,
            producer_name="minikd",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, {name: str(value) for name, value in about.items()})
        self.onnx.checker.check_model(model)
        write_atomically(path, model.SerializeToString())
