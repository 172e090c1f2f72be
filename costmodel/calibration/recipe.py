"""What calibration measures: small synthetic graphs of one operator each, described by a few numbers and built when needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

OPSET = 18  # runtimes have other kernels for some operators of later opsets (average pooling from 19 on), which few models ask for
POOL = 1 << 20  # random numbers that operands are cut from


@dataclass(frozen=True)
class Recipe:
    """A graph to measure.

    Attributes:
        kind: the builder's name.
        sizes: what the builder needs.
        copies: independent operators of the same form in the graph, each with operands of its own: many copies run cold.
        level: how far the runtime may optimise: ``all`` or ``basic``.
        focus: what the graph is about, for reports and for splitting into folds.
    """

    kind: str
    sizes: Mapping[str, Any] = field(default_factory=dict)
    copies: int = 1
    level: str = "all"
    focus: str = ""

    @property
    def key(self) -> str:
        """A text that tells recipes apart."""
        return json.dumps([self.kind, dict(sorted(self.sizes.items())), self.copies, self.level])


@dataclass(frozen=True)
class Material:
    """A built graph: the serialised ONNX model and its feeds."""

    model: bytes
    feeds: Mapping[str, Any]


class Sketch:
    """An ONNX graph that grows."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.pool = np.tile(self.random.standard_normal(POOL).astype(np.float32) * np.float32(0.5), 2)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.feeds: dict[str, Any] = {}
        self.count = 0
        self.opset = OPSET

    def numbers(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """Random numbers; integers fill their range."""
        total = int(np.prod(shape, dtype=np.int64))
        start = int(self.random.integers(0, POOL))
        values = np.resize(self.pool[start:] if total > POOL else self.pool[start : start + total], total).reshape(shape)
        kind = np.dtype(dtype)
        if kind == np.float32:
            return values
        if kind == np.bool_:
            return values > 0
        low, high = (0, 255) if kind == np.uint8 else (-127, 127)
        return np.clip(np.round(values * 80 + (128 if kind == np.uint8 else 0)), low, high).astype(kind)

    def name(self, prefix: str) -> str:
        """A new name."""
        self.count += 1
        return f"{prefix}{self.count}"

    def feed(self, shape: tuple[int, ...], dtype: Any = np.float32, values: Any = None, symbolic: bool = False) -> str:
        """A graph input."""
        from onnx import helper

        name = self.name("x")
        array = self.numbers(shape, dtype) if values is None else np.asarray(values, dtype)
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        dims = [f"{name}_{i}" for i in range(array.ndim)] if symbolic else list(array.shape)
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        self.feeds[name] = array
        return name

    def weight(self, shape: tuple[int, ...], dtype: Any = np.float32, values: Any = None) -> str:
        """A constant. Random ones of several axes are small enough that values neither grow nor vanish from layer to layer."""
        from onnx import numpy_helper

        name = self.name("w")
        array = self.numbers(shape, dtype) if values is None else np.asarray(values, dtype)
        if values is None and array.dtype == np.float32 and array.ndim > 1:
            array = array * np.float32(2.0 / np.sqrt(np.prod(shape[1:]) if array.ndim > 2 else shape[0]))
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, inputs: list[str], domain: str = "", *, outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its first result (further results have the suffixes _1, _2 …)."""
        from onnx import helper

        name = self.name("y")
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{self.count}", domain=domain, **attributes))
        return name

    def result(self, name: str, dtype: Any = np.float32) -> None:
        """Make a value an output; its shape is left to inference."""
        from onnx import helper

        self.outputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None))

    def finish(self) -> Material:
        """The model."""
        from onnx import helper

        graph = helper.make_graph(self.nodes, "sample", self.inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return Material(model.SerializeToString(), dict(self.feeds))


Builder = Callable[[Sketch, Mapping[str, Any]], None]
BUILDERS: dict[str, Builder] = {}


def builder(kind: str) -> Callable[[Builder], Builder]:
    """Register a builder: it adds one copy of its operator to a sketch."""

    def register(function: Builder) -> Builder:
        BUILDERS[kind] = function
        return function

    return register


def build(recipe: Recipe) -> Material:
    """The graph of a recipe, the same bytes every time."""
    from . import builders, builders_networks, builders_quantized  # noqa: F401  (they register themselves)

    sketch = Sketch()
    sketch.opset = recipe.sizes.get("opset", OPSET)
    make = BUILDERS[recipe.kind]
    for _ in range(recipe.copies):
        make(sketch, recipe.sizes)
    return sketch.finish()
