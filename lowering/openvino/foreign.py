"""Element types that OpenVINO lacks travel in wider ones: FNUZ floats as float32, 2-bit integers as 8-bit ones.

The values stay exactly those of the narrow type, so that the host only changes the storage of inputs and outputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...ir.data import ArrayData
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value, constant_type
from ...ir.op import Opaque
from ...ir.ops.cast import Cast
from ...ir.ops.logical import BitwiseAnd, BitwiseXor
from ...ir.ops.quantize import DequantizeLinear
from ...ir.serial.attributes import dtype_fields
from ...passes.context import Context
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Rewriter
from .carry import retyped
from .rewrites.small_floats import GRIDS, on_grid

CARRIERS = {
    DType.FLOAT8E4M3FNUZ: DType.FLOAT,
    DType.FLOAT8E5M2FNUZ: DType.FLOAT,
    DType.INT2: DType.INT8,
    DType.UINT2: DType.UINT8,
}
MOVING = frozenset(
    "Cast Identity Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather GatherElements GatherND Expand Tile Shape Size "
    "Where".split()
)
"""Operators that do not look at the elements."""


def carry_foreign(graph: Graph) -> list[str]:
    """Give the values of foreign types their carriers, in place, where only data movement and casts touch them.

    Returns:
        The names of the values carried.
    """
    nodes = [n for n in graph.walk() if any(_foreign(v) for v in (*n.inputs, *n.outputs))]
    if not all(_carries(node) for node in nodes):
        return []
    for node in nodes:
        if isinstance(node.op, Cast) and node.op.to in CARRIERS:
            _round(node, node.op)
        elif isinstance(node.op, DequantizeLinear) and _foreign(node.inputs[0]):
            _dequantize(node, node.op)
    carried = [v.name for v in graph.values() if _foreign(v)]
    for value in graph.constants():
        carrier = CARRIERS.get(value.dtype) if value.dtype is not None else None
        if carrier is not None and value.data is not None:
            value.data = ArrayData(value.data.numpy().astype(carrier.numpy))
            value.type = constant_type(value.data)
    for value in graph.values():
        value.type = retyped(value.type, CARRIERS)
    for node in graph.walk():
        if not isinstance(node.op, Opaque):
            fields = {n: CARRIERS[old] for n in sorted(dtype_fields(type(node.op))) if (old := getattr(node.op, n)) in CARRIERS}
            if fields:
                node.op = replace(node.op, **fields)  # type: ignore[type-var]
    return carried


def _foreign(value: Value | None) -> bool:
    return value is not None and value.dtype in CARRIERS


def _carries(node: Node) -> bool:
    if isinstance(node.op, DequantizeLinear):
        return not node.op.block_size
    return not node.op.domain and node.op.op_name in MOVING


def _round(node: Node, op: Cast) -> None:
    """Replace a cast to a foreign type by arithmetic whose results are numbers of that type."""
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    b = Rewriter(node, Context())
    t = Terms(b)
    if op.to in GRIDS:
        result = on_grid(t, t.cast(_plain(t, x), DType.FLOAT), GRIDS[op.to], bool(op.saturate))
    else:
        bits = op.to.bits
        word = t.apply(BitwiseAnd(), t.cast(_plain(t, x), DType.INT32), t.constant((1 << bits) - 1, DType.INT32))
        if op.to.is_signed_integer:
            half = 1 << (bits - 1)
            word = t.sub(t.apply(BitwiseXor(), word, t.like(half, word)), half)
        result = t.cast(word, CARRIERS[op.to])
    _finish(node, b, result)


def _plain(t: Terms, x: Value) -> Value:
    """A value as the carrier of its type."""
    carrier = CARRIERS.get(x.tensor.dtype)
    return x if carrier is None else t.apply(Cast(carrier), x)


def _dequantize(node: Node, op: DequantizeLinear) -> None:
    """``(x - zero point) * scale``."""
    x, scale, zero = (node.operand(i) for i in range(3))
    assert x is not None and scale is not None
    b = Rewriter(node, Context())
    t = Terms(b)
    rank = x.rank or 0

    def spread(value: Value) -> Value:
        if value.rank == 1 and value.shape != (1,):
            return t.reshape(value, [-1] + [1] * (rank - op.axis % rank - 1))
        return t.reshape(value, []) if value.rank else value

    centred: Any = t.apply(Cast(DType.FLOAT), x)
    if zero is not None:
        centred = t.sub(centred, spread(t.apply(Cast(DType.FLOAT), zero)))
    result = t.mul(centred, spread(t.cast(scale, DType.FLOAT)))
    _finish(node, b, t.cast(result, node.outputs[0].dtype))


def _finish(node: Node, b: Rewriter, result: Value) -> None:
    assert node.graph is not None
    b.finish()
    old = node.outputs[0]
    node.graph.replace(old, result)
    result.name, old.name = old.name, result.name
    node.graph.remove(node)
