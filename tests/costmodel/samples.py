"""Small graphs and round targets for the tests of the cost model."""

import math
from typing import Any

import edgec.ir.ops  # noqa: F401  (registers the operators)
from edgec.costmodel.hardware import Engine, MemoryLevel, Power, Quantity, Target
from edgec.ir.dims import symbol
from edgec.ir.dtypes import DType
from edgec.ir.graph import Graph, Value, constant
from edgec.ir.op import OPS
from edgec.ir.types import TensorType

B, S = symbol("batch"), symbol("seq")


def quantity(value: float, unit: str = "1", spread: float = 0.0) -> Quantity:
    """An estimate with a relative spread."""
    return Quantity(value, unit, "estimate", "made up", value * (1 - spread), value * (1 + spread))


def memory(name: str, size: float, bandwidth: float, **more: Any) -> MemoryLevel:
    return MemoryLevel(name, quantity(size, "B"), quantity(bandwidth, "B/s"), **more)


def engine(**changes: Any) -> Engine:
    """1 Tflop/s, 25.6 GB/s, no overheads, everything attained: the textbook's edge GPU."""
    fields: dict[str, Any] = {
        "name": "gpu",
        "kind": "gpu",
        "units": 1,
        "clock_hz": quantity(1e9, "Hz"),
        "peak": {"f32": quantity(1e12, "ops/s"), "f16": quantity(2e12, "ops/s"), "i8": quantity(4e12, "ops/s")},
        "memory": (memory("DRAM", 4e9, 25.6e9),),
        "dispatch_s": quantity(0.0, "s"),
        "run_s": quantity(0.0, "s"),
        "efficiency": {"default": quantity(1.0)},
        "memory_efficiency": quantity(1.0),
        "overlap": math.inf,
    }
    return Engine(**{**fields, **changes})


def target(*engines: Engine, power: Power | None = None) -> Target:
    """A target of the given engines, by default the textbook's."""
    chosen = engines or (engine(),)
    return Target("sample", "Sample", "board", chosen, chosen[0].name, memory("DRAM", 4e9, 25.6e9), power)


def weight(*shape: int, dtype: DType = DType.FLOAT) -> Value:
    """A constant of zeros."""
    import numpy as np

    return constant(np.zeros(shape, dtype.numpy), f"w{'x'.join(map(str, shape))}_{dtype.short}")


def op(name: str, domain: str = "", **attributes: Any) -> Any:
    return OPS[domain, name](**attributes)


def mlp(batch: Any = B, width: int = 64, layers: int = 3) -> Graph:
    """MatMul, Add, Relu, repeated; weights are distinct constants."""
    graph = Graph()
    value = graph.add_input("x", TensorType(DType.FLOAT, (batch, width)))
    for _ in range(layers):
        value = graph.add(op("MatMul"), value, weight(width, width))
        value = graph.add(op("Add"), value, weight(width))
        value = graph.add(op("Relu"), value)
    graph.set_outputs([value], ["y"])
    return graph


def single(
    name: str, *shapes: tuple, dtype: DType = DType.FLOAT, constants: tuple[int, ...] = (), domain: str = "", **attributes: Any
) -> Graph:
    """One node; the operands at the given positions are constants."""
    graph = Graph()
    operands = [
        weight(*shape, dtype=dtype) if i in constants else graph.add_input(f"x{i}", TensorType(dtype, shape))
        for i, shape in enumerate(shapes)
    ]
    node = graph.insert(op(name, domain, **attributes), operands, name=name.lower())
    graph.set_outputs([node.output], ["y"])
    return graph


def encoder(layers: int = 1, width: int = 32, heads: int = 4) -> Graph:
    """Layers of a transformer over [batch, seq, width], spelled with Attention and LayerNormalization."""
    graph = Graph()
    value = graph.add_input("x", TensorType(DType.FLOAT, (B, S, width)))
    for _ in range(layers):
        q, k, v = (graph.add(op("MatMul"), value, weight(width, width)) for _ in range(3))
        mixed = graph.add(op("Attention", q_num_heads=heads, kv_num_heads=heads), q, k, v)
        mixed = graph.add(op("MatMul"), mixed, weight(width, width))
        value = graph.add(op("LayerNormalization"), graph.add(op("Add"), value, mixed), weight(width), weight(width))
        inner = graph.add(op("Gelu"), graph.add(op("MatMul"), value, weight(width, 4 * width)))
        inner = graph.add(op("MatMul"), inner, weight(4 * width, width))
        value = graph.add(op("LayerNormalization"), graph.add(op("Add"), value, inner), weight(width), weight(width))
    graph.set_outputs([value], ["y"])
    return graph
