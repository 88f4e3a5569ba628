"""Write a network that a run has saved as ONNX, which runtimes on phones, in browsers and in databases read.

example:
  python -m minikd.export runs/RUN/seed0/student-distilled.safetensors student.onnx
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minikd import __version__
from minikd.system.cli import Parser, one_line, reason
from minikd.system.files import check_writable, write_atomically
from minikd.training import runs
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
    have any size. Its outputs are `logits` (batch, K), in nats, and `probabilities` (batch, K), their softmax at T = 1,
    because the temperature is only for training (Hinton et al. 2015, section 2).

    Args:
        network: a single network, not a population.
        path: the file, ending in .onnx.
        about: what the file's metadata should say beside the digest of the weights and minikd's version.

    Raises:
        ValueError: as `check_onnx_path`, and if the network is a population.
    """
    check_onnx_path(path)
    onnx = _library()
    network.check_single("an ONNX file holds")
    helper = onnx.helper
    nodes, weights, layers = [], [], network.layers()
    for i, (W, b) in enumerate(layers, start=1):
        x, out = f"h{i - 1}" if i > 1 else "pixels", f"a{i}" if i < len(layers) else "logits"
        nodes.append(helper.make_node("Gemm", [x, f"W{i}", f"b{i}"], [out]))
        if i < len(layers):
            nodes.append(helper.make_node("Relu", [out], [f"h{i}"]))
        for name, array in ((f"W{i}", W), (f"b{i}", b)):
            weights.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1))
    K = network.sizes[-1]
    pixels, *answers = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
        for name, size in (("pixels", network.sizes[0]), ("logits", K), ("probabilities", K))
    )
    graph = helper.make_graph(nodes, "student", [pixels], answers, initializer=weights)
    model = helper.make_model(
        graph,
        producer_name="minikd",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    said = {"weights": digest({"flat": network.flat}), **(about or {})}
    helper.set_model_props(model, {name: str(value) for name, value in said.items()})
    onnx.checker.check_model(model)
    write_atomically(path, model.SerializeToString())


def main(argv: Sequence[str] | None = None) -> None:
    """Turn a network that a run saved into an ONNX file."""
    parser = Parser("export", __doc__)
    parser.add_argument("network", help="a .safetensors file from a run folder")
    parser.add_argument("onnx", help="the file to write, ending in .onnx")
    args = parser.parse_args(argv)
    try:
        check_onnx_path(args.onnx)
        to_onnx(runs.load_network(Path(args.network)), args.onnx)
    except ValueError as error:  # CheckpointError is one
        parser.fail(str(error))
    except OSError as error:
        parser.fail(reason(error))
