"""Element types that TensorRT lacks travel in wider ones: float64 as float32, small integers as int32, unsigned ones as int64.

Integers stay exactly those of the narrow type: results that could leave its range are wrapped around, so that the host only changes the
storage of inputs and outputs. Quantised integers between a QuantizeLinear and its DequantizeLinear stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...ir.data import ArrayData
from ...ir.diagnostics import Diagnostic
from ...ir.dtypes import DType
from ...ir.graph import Graph, Node, Value, constant, constant_type
from ...ir.op import Op, Opaque
from ...ir.ops.binary import Add, Mod, Sub
from ...ir.ops.cast import Cast
from ...ir.ops.quantize import DequantizeLinear, QuantizeLinear
from ...ir.ops.unary import IsNaN
from ...ir.serial.attributes import dtype_fields
from ...ir.types import OptionalType, SequenceType, TensorType
from ...passes.context import Context
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Rewriter
from ..backend import E_REFUSED
from ..openvino.rewrites.small_floats import GRIDS, Grid, on_grid
from .exponents import power_of_two

CARRIERS = {
    DType.DOUBLE: DType.FLOAT,
    DType.INT8: DType.INT32,
    DType.UINT8: DType.INT32,
    DType.INT16: DType.INT32,
    DType.UINT16: DType.INT32,
    DType.UINT32: DType.INT64,
    DType.UINT64: DType.INT64,
    **dict.fromkeys((DType.INT2, DType.UINT2, DType.INT4, DType.UINT4), DType.INT32),
    **dict.fromkeys((*GRIDS, DType.FLOAT4E2M1, DType.FLOAT8E8M0), DType.FLOAT),
}
QUANTISED = frozenset((DType.INT8, DType.UINT8, DType.INT4, DType.FLOAT8E4M3FN, DType.FLOAT4E2M1))
"""What stays as it is between QuantizeLinear and DequantizeLinear."""
FLOAT4 = Grid(1, 0, 6.0)
ROUNDED = (*GRIDS, DType.FLOAT4E2M1, DType.FLOAT8E8M0)
STAYING = frozenset(
    "Identity Reshape Flatten Squeeze Unsqueeze Transpose Concat Split Slice Gather GatherElements GatherND Expand Tile Where Pad Max Min "
    "Clip Relu Sign Mod ScatterElements ScatterND ReduceMax ReduceMin TopK OneHot Trilu MaxPool DepthToSpace SpaceToDepth CenterCropPad "
    "ReverseSequence Compress EyeLike ConstantOfShape If Loop Scan BitwiseAnd BitwiseOr BitwiseXor TensorScatter Dropout Unique".split()
)
"""Operators whose results lie between their operands."""
FLOAT_MAX = float(np.finfo(np.float32).max)
SENTINEL = 1e300  # float64 constants beyond this stand for infinity in masks


@dataclass(frozen=True)
class Carried:
    """The names of the values that were given another element type: float64 ones, and integers."""

    doubles: tuple[str, ...]
    integers: tuple[str, ...]


def carry(graph: Graph) -> Carried:
    """Give every value of an element type that TensorRT lacks its carrier, in place.

    Raises:
        Diagnostic: E0501 for a constant that its carrier cannot hold.
    """
    narrow = {v: dtype for v in (*graph.values(), *graph.constants()) if (dtype := _dtype(v.type)) is not None and _goes(v, dtype)}
    nodes = list(graph.walk())
    for node in nodes:
        if isinstance(node.op, Cast) and node.outputs[0] in narrow and node.op.to in ROUNDED:
            _round(node, node.op)
    for value, dtype in narrow.items():
        if value.data is not None:
            _convert(value, dtype)
        else:
            value.type = _retyped(value.type)
    for node in nodes:
        if not any(v in narrow for v in node.outputs) or isinstance(node.op, Opaque):
            continue
        fields = {n: CARRIERS[old] for n in sorted(dtype_fields(type(node.op))) if (old := getattr(node.op, n)) in CARRIERS}
        if fields and isinstance(node.op, Cast):
            node.op = Cast(to=fields["to"])  # saturation is of the narrow type
        elif fields:
            node.op = replace(node.op, **fields)  # type: ignore[type-var]
        if (
            node.graph is None
            or node.op.op_name in STAYING
            or isinstance(node.op, Cast)
            and node.inputs[0] is not None
            and node.inputs[0].dtype is DType.BOOL
        ):
            continue
        for value in node.outputs:
            dtype = narrow.get(value)
            if dtype is not None and dtype.is_integer and dtype.bits <= 32:
                _wrap(node, value, dtype)
    names = [(value.name, dtype) for value, dtype in narrow.items()]
    doubles = tuple(dict.fromkeys(name for name, dtype in names if dtype is DType.DOUBLE))
    return Carried(doubles, tuple(dict.fromkeys(name for name, dtype in names if dtype is not DType.DOUBLE)))


def _goes(value: Value, dtype: DType) -> bool:
    """Whether a value gets a carrier.

    Quantised integers that only Q and DQ touch do not, nor bytes that come in and are converted to floats at once, or the reverse.
    """
    if dtype not in CARRIERS:
        return False
    nodes = [user for user, _ in value.uses if isinstance(user, Node)]
    if dtype is DType.FLOAT8E8M0:
        return not any(isinstance(node.op, DequantizeLinear | QuantizeLinear) for node in nodes)
    if dtype not in QUANTISED:
        return True
    made = value.producer.op if value.producer is not None else None
    if isinstance(made, QuantizeLinear) or any(isinstance(node.op, DequantizeLinear | QuantizeLinear) for node in nodes):
        return False
    if dtype is DType.UINT8 and value.is_input and value.graph is not None and value.graph.parent is None:
        return not (nodes and len(nodes) == len(value.uses) and all(_makes_float(node) for node in nodes))
    return True


def _makes_float(node: Node) -> bool:
    return isinstance(node.op, Cast) and node.op.to in (DType.FLOAT, DType.FLOAT16)


def _dtype(type_: Any) -> DType | None:
    if isinstance(type_, SequenceType | OptionalType):
        return _dtype(type_.element)
    return type_.dtype if isinstance(type_, TensorType) else None


def _retyped(type_: Any) -> Any:
    if isinstance(type_, TensorType):
        return replace(type_, dtype=CARRIERS[type_.dtype])
    return replace(type_, element=_retyped(type_.element))


def _convert(value: Value, dtype: DType) -> None:
    assert value.data is not None
    array, carrier = value.data.numpy(), CARRIERS[dtype]
    if dtype is DType.DOUBLE:
        finite = array[np.isfinite(array)]
        large = float(np.abs(finite).max()) if finite.size else 0.0
        if FLOAT_MAX < large < SENTINEL:
            message = "TensorRT has no float64, and float32 cannot hold this constant"
            raise Diagnostic(E_REFUSED, message, f"constant '{value.name}'", "choose the target ort")
        if large >= SENTINEL:
            array = np.where(np.isfinite(array), np.clip(array, -FLOAT_MAX, FLOAT_MAX), array)
    elif dtype is DType.UINT64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        message = "TensorRT has no uint64, and int64 cannot hold this constant"
        raise Diagnostic(E_REFUSED, message, f"constant '{value.name}'", "choose the target ort")
    value.data = ArrayData(array.astype(carrier.numpy))
    value.type = constant_type(value.data)


def _round(node: Node, op: Cast) -> None:
    """Let a cast to a small float read numbers of that type: it only changes the type then."""
    x = node.inputs[0]
    assert x is not None
    t = Terms(Rewriter(node, Context()))
    wide = t.cast(x, DType.FLOAT)
    if op.to is DType.FLOAT8E8M0:
        rounded = power_of_two(t, wide, op)
    elif op.to is DType.FLOAT4E2M1:
        rounded = on_grid(t, t.where(t.apply(IsNaN(), wide), 0.0, wide), FLOAT4, True)
    else:
        rounded = on_grid(t, wide, GRIDS[op.to], bool(op.saturate))
    node.set_operand(0, rounded)


def _wrap(node: Node, value: Value, dtype: DType) -> None:
    """Bring a result that may have left the range of its narrow integer type back into it."""
    graph, carrier, readers = node.graph, value.tensor.dtype, list(value.uses)
    assert graph is not None
    following = node.next
    bound = 1 << dtype.bits
    half = bound // 2 if dtype.is_signed_integer else 0

    def apply(op: Op, left: Value, right: int) -> Value:
        return graph.add(op, left, constant(right, graph.fresh_name("bound"), carrier), before=following)

    moved = apply(Add(), value, half) if half else value
    result = apply(Mod(), moved, bound)
    if half:
        result = apply(Sub(), result, half)
    for user, index in readers:
        if isinstance(user, Node):
            user.set_operand(index, result)
        else:
            user.set_output(index, result)
    result.name, value.name = value.name, result.name
    result.origins, value.origins = value.origins, ()
