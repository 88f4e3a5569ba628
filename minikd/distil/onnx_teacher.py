"""A teacher in an ONNX file, asked with onnxruntime: any model that reads examples and has a number per class."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minikd.data.checks import DataError
from minikd.data.load import Loaded
from minikd.system.cli import one_line

TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
"""What a model may read, besides bytes for images."""
BYTES = "tensor(uint8)"
BATCH = 256


class OnnxTeacher:
    """A model that is ready to be asked. It has answered once, so its input and output are known to fit.

    Features reach it in their own units. Images reach it as floats in [0, 1], or as bytes where it reads bytes: flat
    (N, D), grey (N, rows, cols), or (N, C, H, W) or (N, H, W, C), whichever its input says.

    Args:
        path: of the .onnx file.
        loaded: the data.

    Raises:
        ValueError: if onnxruntime is missing, or the model does not fit the data.
    """

    parameters: int | None = None
    model = True

    def __init__(self, path: Path, loaded: Loaded) -> None:
        self.name, self._loaded, self._K = path.name, loaded, loaded.train.classes
        if not path.is_file():
            raise FileNotFoundError(2, "No such file", str(path))
        self.size, self._session = path.stat().st_size, _session(path)
        self._input, self._dtype, self._layout, self._batch = self._find_input()
        self._output = self._find_output()

    @property
    def said(self) -> list[str]:
        """Say which input and output of the model are used."""
        return [f"{self.name}: asked through its input {self._input!r}; its output {self._output!r} is taken"]

    def raw(self, part: str) -> NDArray[Any] | None:
        """Return the model's answers for a part, (N, K)."""
        x = self._loaded.examples(part)
        return None if x is None else self.answer(x)

    def answer(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the model's answers, (N, K)."""
        return np.concatenate([self._run([self._output], batch)[0][:n] for batch, n in self._batches(x)])

    def _fail(self, message: str) -> DataError:
        return DataError(f"{self.name}: {message}")

    def _find_input(self) -> tuple[str, Any, tuple[int, ...], int | None]:
        """Return the input's name, its dtype, the shape in which it wants an example, and a fixed size of batches."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(one.name for one in inputs)
            raise self._fail(f"a teacher must have one input, got {len(inputs)} ({names}): export it with one")
        (one,) = inputs
        images = self._loaded.inputs.mean is None
        if one.type not in TYPES and not (images and one.type == BYTES):
            raise self._fail(f"its input must be float, got {one.type}: export the model with a float input")
        batch, *wanted = one.shape if one.shape else [None]
        layouts = _layouts(self._loaded.inputs.shape)
        fits = [
            layout
            for layout in layouts
            if len(layout) == len(wanted)
            and all(not isinstance(size, int) or size == own for size, own in zip(wanted, layout, strict=True))
        ]
        if not fits:
            offered = " or ".join(f"(N, {', '.join(map(str, layout))})" for layout in layouts)
            got = f"({', '.join(map(str, one.shape))})"
            sides = [size for size in wanted if isinstance(size, int)]
            same = len(sides) == len(wanted) and prod(sides) == prod(layouts[0])
            fix = "resize the images" if images else "choose its features"
            fix = "export it with a reshaped input" if same else f"{fix}, or use a teacher of such data"
            raise self._fail(f"its input {one.name!r} is {got}, but the data fit {offered}: {fix}")
        dtype = np.uint8 if one.type == BYTES else TYPES[one.type]
        return one.name, dtype, fits[0], batch if isinstance(batch, int) and batch > 0 else None

    def _find_output(self) -> str:
        """Return the name of the first output with a number per class; one that is named logits goes first."""
        examples = self._loaded.examples("train")
        assert examples is not None
        x, n = next(self._batches(examples))
        names = [one.name for one in self._session.get_outputs() if one.type in TYPES]
        found = dict(zip(names, self._run(names, x), strict=True))
        fits = [name for name, z in found.items() if z.shape == (len(x), self._K) and np.isfinite(z[:n]).all()]
        others = [z.shape[1] for z in found.values() if z.ndim == 2 and len(z) == len(x)]
        if not fits and any(1 < classes != self._K for classes in others):
            raise self._fail(f"the model has {max(others)} classes, the data {self._K}: use a teacher of these classes")
        if not fits:
            there = ", ".join(f"{one.name} {one.type} {one.shape}" for one in self._session.get_outputs())
            fix = (
                "for scikit-learn models convert with options={'zipmap': False}" if "seq(map" in there else "export it"
            )
            raise self._fail(f"an output must be float (N, {self._K}) and finite, got {there}: {fix}")
        return str(next((name for name in fits if "logit" in name.lower()), fits[0]))

    def _batches(self, examples: NDArray[Any]) -> Iterator[tuple[NDArray[Any], int]]:
        """Yield inputs as the model wants them, and how many of them count: a fixed batch is filled with the first."""
        size, images = self._batch or BATCH, self._loaded.inputs.mean is None
        for start in range(0, len(examples), size):
            x = examples[start : start + size]
            n = len(x)
            if images and self._dtype != np.uint8:
                x = x / 255
            if x.ndim == 4 and self._layout == (x.shape[3], *x.shape[1:3]):
                x = x.transpose(0, 3, 1, 2)
            if self._batch is not None and n < self._batch:
                x = np.concatenate([x, np.repeat(x[:1], self._batch - n, axis=0)])
            with np.errstate(
                over="ignore"
            ):  # what is too large for its dtype becomes infinite, and its answer shows it
                x = np.ascontiguousarray(x.reshape(-1, *self._layout), self._dtype)
            yield x, n

    def _run(self, outputs: list[str], x: NDArray[Any]) -> list[NDArray[Any]]:
        try:
            return [np.asarray(z) for z in self._session.run(outputs, {self._input: x})] if outputs else []
        except Exception as error:  # of onnxruntime's own
            raise self._fail(f"the model cannot answer ({one_line(error)}): look at its input") from None


def _layouts(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes in which a model may want an example of this shape, the likeliest first."""
    D = int(np.prod(shape))
    if len(shape) == 1:
        return [shape]
    rows, cols, *colours = shape
    C = colours[0] if colours else 1
    grey = [] if colours else [(rows, cols)]
    return [(C, rows, cols), (rows, cols, C), *grey, (D,)]


def _session(path: Path) -> Any:
    """Return onnxruntime's session for a file."""
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError:
        raise DataError(
            f"{path.name}: asking an ONNX model needs onnxruntime: python -m pip install onnxruntime"
        ) from None
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # its warnings would break up our lines
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of onnxruntime's own
        raise DataError(f"{path}: not a model that onnxruntime can load ({one_line(error)}): export it again") from None
