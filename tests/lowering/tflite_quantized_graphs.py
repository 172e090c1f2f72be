"""Graphs between quantisations, and their run through LiteRT beside their meaning."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant
from edgec.ir.interpreter import interpret
from edgec.ir.model import Model
from edgec.ir.ops.quantize import DequantizeLinear, QuantizeLinear
from edgec.ir.types import TensorType
from edgec.lowering.artifact import Artifact
from edgec.lowering.registry import backend
from edgec.lowering.tflite.session import TfLiteSession
from edgec.passes.default_pipeline import default_pipeline
from edgec.passes.manager import run_passes

RANGES = {DType.INT8: (-128, 127), DType.UINT8: (0, 255), DType.INT16: (-32768, 32767)}


class Builder:
    """Makes graphs of operators between quantisations with random parameters.

    Args:
        seed: of the random parameters.
        dtype: the element type of quantised values.
    """

    def __init__(self, seed: int, dtype: DType = DType.INT8) -> None:
        self.random, self.dtype = np.random.default_rng(seed), dtype
        self.graph = Graph()
        self.feeds: dict[str, Any] = {}

    def parameters(self, low: float, high: float) -> tuple[Value, Value]:
        """Scale and zero point that cover a range and zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        least, greatest = RANGES[self.dtype]
        if self.dtype is DType.INT16:
            scale, zero = max(-low, high, 1e-3) / greatest, 0
        else:
            scale = max(high - low, 1e-3) / (greatest - least)
            zero = int(np.clip(round(least - low / scale), least, greatest))
        return constant(np.float32(scale)), constant(zero, dtype=self.dtype)

    def quantised(self, value: Value, low: float, high: float, parameters: tuple[Value, Value] | None = None) -> Value:
        """A value after quantisation and dequantisation."""
        chosen = parameters or self.parameters(low, high)
        return self.graph.add(DequantizeLinear(), self.graph.add(QuantizeLinear(), value, *chosen), *chosen)

    def input(self, shape: tuple[int, ...], low: float = -2.0, high: float = 3.0, parameters: tuple[Value, Value] | None = None) -> Value:
        """A quantised float32 input with a random feed."""
        name = f"x{len(self.feeds)}"
        value = self.graph.add_input(name, TensorType(DType.FLOAT, shape))
        self.feeds[name] = self.random.uniform(low - 0.1, high + 0.1, shape).astype(np.float32)
        return self.quantised(value, low, high, parameters)

    def stored_input(self, shape: tuple[int, ...], low: float = -2.0, high: float = 3.0) -> Value:
        """A float32 value behind an input of the model's own integers, with a random feed."""
        name, (least, greatest) = f"x{len(self.feeds)}", RANGES[self.dtype]
        value = self.graph.add_input(name, TensorType(self.dtype, shape))
        self.feeds[name] = self.random.integers(least, greatest + 1, shape).astype(self.dtype.numpy)
        return self.graph.add(DequantizeLinear(), value, *self.parameters(low, high))

    def weights(self, shape: tuple[int, ...], axis: int | None = None, size: float = 0.5, dtype: DType = DType.INT8) -> Value:
        """Symmetric weights with a scale for each index of an axis, or one scale."""
        greatest = {DType.INT8: 127, DType.INT4: 7}[dtype]
        whole = self.random.integers(-greatest, greatest + 1, shape)
        scale = self.random.uniform(0.3, 1.0, () if axis is None else shape[axis]) * size / greatest
        op = DequantizeLinear(axis=axis or 0)
        zeros = constant(np.zeros(scale.shape, dtype.numpy), dtype=dtype)
        return self.graph.add(op, constant(whole.astype(dtype.numpy), dtype=dtype), constant(scale.astype(np.float32)), zeros)

    def bias(self, x: Value, weights: Value, count: int) -> Value:
        """An int32 bias with the product of both scales."""
        left, right = (v.producer.inputs[1].data.numpy() for v in (x, weights))  # type: ignore[union-attr]
        scale = np.asarray(left * right, np.float32)
        whole = self.random.integers(-3000, 3000, count).astype(np.int32)
        return self.graph.add(DequantizeLinear(axis=0), constant(whole), constant(scale))

    def finish(self, result: Value, parameters: tuple[Value, Value] | None = None, margin: float = 1.0) -> Model:
        """The model whose output is a result, quantised over ``margin`` times the range that it has."""
        self.graph.set_outputs([result], ["y"])
        if parameters is None:
            found = interpret(self.graph, self.feeds)["y"]
            parameters = self.parameters(float(found.min()) * margin, float(found.max()) * margin)
        self.graph.set_outputs([self.quantised(result, 0, 0, parameters)], ["y"])
        return Model(self.graph)


def lowered(model: Model, **options: Any) -> tuple[Artifact, dict[str, Any]]:
    """The artifact of a copy of a model, with the options that were checked."""
    target, copy = backend("tflite"), model.copy()
    checked = target.options(options)
    run_passes(copy.graph, target.pipeline(checked).replace("default", default_pipeline(), 1))
    return target.lower(copy, checked), checked


def run(artifact: Artifact, options: dict[str, Any], feeds: dict[str, Any]) -> dict[str, Any]:
    """What LiteRT computes."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        write = artifact.files["model.tflite"]
        assert callable(write)
        write(path)
        return TfLiteSession(path, artifact.signature, options).run(feeds)


def steps_apart(model: Model, feeds: dict[str, Any], found: Any) -> float:
    """The greatest difference from the meaning of a model, in steps of its output's scale."""
    expected = interpret(model.graph, feeds)["y"]
    producer = model.graph.outputs[0].producer
    assert producer is not None and producer.inputs[1] is not None and producer.inputs[1].data is not None
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / producer.inputs[1].data.numpy())


def is_whole(artifact: Artifact) -> bool:
    """Whether nothing but the interface is float32."""
    return not artifact.facts["quantisation"]["float_operators"]
