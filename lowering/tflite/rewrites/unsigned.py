"""Unsigned integers of 64 bits, for which LiteRT has no arithmetic: signed ones with the same bits."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.binary import Add, Max, Min, Mul, Sub
from ....ir.ops.cast import BitCast
from ....ir.ops.logical import Equal, Greater, GreaterOrEqual, Less, LessOrEqual
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .group import GROUP

LOWEST = -(1 << 63)


@rewrites_op(Add, Sub, Mul, Equal, name="tflite-unsigned-modulo", group=GROUP)
def modulo(node: Node, b: Rewriter) -> Result:
    """Sums, differences and products modulo 2⁶⁴ and equality are those of the signed numbers."""
    if node.inputs[0] is None or node.inputs[0].dtype is not DType.UINT64:
        return None
    result = b.add(node.op, *(_signed(b, v) for v in node.inputs))
    return result if isinstance(node.op, Equal) else b.add(BitCast(to=DType.UINT64), result)


@rewrites_op(Less, LessOrEqual, Greater, GreaterOrEqual, Max, Min, name="tflite-unsigned-order", group=GROUP)
def order(node: Node, b: Rewriter) -> Result:
    """The order is that of the signed numbers once the top bit is turned."""
    if node.inputs[0] is None or node.inputs[0].dtype is not DType.UINT64:
        return None
    t = Terms(b)
    result = b.add(node.op, *(t.add(_signed(b, v), LOWEST) for v in node.inputs))
    return result if not isinstance(node.op, Max | Min) else b.add(BitCast(to=DType.UINT64), t.add(result, LOWEST))


def _signed(b: Rewriter, value: Value | None) -> Value:
    assert value is not None
    if value.data is not None:
        return b.constant(value.data.numpy().view("int64"))
    return b.add(BitCast(to=DType.INT64), value)
