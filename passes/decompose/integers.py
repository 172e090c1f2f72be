"""Integer and mixed arithmetic that targets lack for some element types."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.binary import BitShift, Mod, Mul, Pow
from ...ir.ops.cast import BitCast, Cast, CastLike
from ...ir.ops.conv import Conv
from ...ir.ops.quantized_products import ConvInteger, MatMulInteger
from ...ir.ops.selection import TopK
from ...ir.ops.unary import Sign
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-integers"


@decomposes(Mod, name="decompose-mod", group=GROUP)
def mod(node: Node, t: Terms) -> Result:
    """The remainder with the divisor's sign from the one with the dividend's, moved where the signs differ; or from a division."""
    op, x, y = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, Mod) and x is not None and y is not None and x.dtype is not None
    if x.dtype.is_float and not op.fmod:
        left, right = t.widen(x), t.widen(y)
        remainder = t.apply(Mod(fmod=1), left, right)
        moves = t.both(t.negate(t.equal(remainder, 0.0)), t.less(t.mul(_sign(t, remainder), _sign(t, right)), 0.0))
        zero = t.mul(t.abs(remainder), 0.0)
        signed = t.where(t.less(right, 0.0), t.neg(zero), zero)
        result = t.where(moves, t.add(remainder, right), t.where(t.equal(remainder, 0.0), signed, remainder))
        return t.cast(result, node.output.dtype)
    if x.dtype.is_integer and op.fmod:
        return t.sub(x, t.mul(t.div(x, y), y))
    return None


def _sign(t: Terms, x: Value) -> Value:
    return t.apply(Sign(), x)


@decomposes(BitShift, name="decompose-bit-shift", group=GROUP)
def bit_shift(node: Node, t: Terms) -> Result:
    """A shift by a constant number of bits as a product with, or a quotient by, a power of two."""
    op, x, y = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, BitShift) and x is not None and y is not None
    if y.data is None or x.dtype is None or x.dtype.is_signed_integer and op.direction == "RIGHT":
        return Decline("the number of bits is computed at run time")
    bits = y.data.numpy().astype(np.int64)
    if (bits >= x.dtype.bits - 1).any() or (bits < 0).any():
        return Decline("the bits are shifted out")
    power = t.constant((np.ones((), np.uint64) << bits.astype(np.uint64)).astype(x.dtype.numpy), x.dtype)
    return t.apply(Mul(), x, power) if op.direction == "LEFT" else t.div(x, power)


@decomposes(Pow, name="pow-integer-exponent", group=GROUP, targeted=True)
def pow_integer_exponent(node: Node, t: Terms) -> Result:
    """An integer exponent in the element type of a floating-point base."""
    x, y = node.inputs[0], node.inputs[1]
    assert x is not None and y is not None
    if x.dtype is None or y.dtype is None or not x.dtype.is_float or not y.dtype.is_integer:
        return None
    return t.pow(x, t.cast(y, x.dtype))


@decomposes(TopK, name="top-k-signed", group=GROUP, targeted=True)
def top_k_signed(node: Node, t: Terms) -> Result:
    """u64 as i64 with the order kept: the top bit is turned before and after."""
    x = node.inputs[0]
    assert x is not None
    if x.dtype is not DType.UINT64:
        return None
    lowest = t.constant(-(1 << 63), DType.INT64)
    moved = t.add(t.apply(Cast(to=DType.INT64), x), lowest)
    values, places = t.apply(node.op, moved, node.inputs[1], outputs=2)
    return t.apply(Cast(to=DType.UINT64), t.add(values, lowest)), places


@decomposes(CastLike, name="decompose-cast-like", group=GROUP)
def cast_like(node: Node, t: Terms) -> Result:
    """A Cast to the element type of the second operand."""
    op, x, like = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, CastLike) and x is not None and like is not None
    if like.dtype is None:
        return Decline("the element type is not known")
    return t.apply(Cast(to=like.dtype, round_mode=op.round_mode, saturate=op.saturate), x)


@decomposes(BitCast, name="decompose-bit-cast", group=GROUP)
def bit_cast(node: Node, t: Terms) -> Result:
    """Bytes of truth values as numbers and back, and integers as integers of the other sign."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, BitCast) and x is not None and x.dtype is not None
    bytes_of = (DType.BOOL, DType.UINT8, DType.INT8)
    both = {x.dtype, op.to}
    if both <= set(bytes_of) and op.to is not DType.BOOL or all(d.is_integer and d.bits >= 8 for d in both):
        return t.apply(Cast(to=op.to), x)
    return Decline("the bits of these types do not correspond by value")


@decomposes(MatMulInteger, name="decompose-matmul-integer", group=GROUP)
def matmul_integer(node: Node, t: Terms) -> Result:
    """Operands minus their zero points, multiplied in f64, where every sum is exact."""
    a, b = _centred(node, t, 0, 2, -2), _centred(node, t, 1, 3, None)
    return t.cast(t.matmul(a, b), DType.INT32)


def _centred(node: Node, t: Terms, index: int, zero: int, row_axis: int | None, dtype: DType = DType.DOUBLE) -> Value:
    """An operand minus its zero point, in a real type."""
    value, point = node.inputs[index], node.operand(zero)
    assert value is not None
    x = t.cast(value, dtype)
    if point is None:
        return x
    wide = t.cast(point, dtype)
    if row_axis is not None and point.rank == 1 and point.shape != (1,):
        wide = t.unsqueeze(wide, [1])
    return t.sub(x, wide)


@decomposes(ConvInteger, name="decompose-conv-integer", group=GROUP)
def conv_integer(node: Node, t: Terms) -> Result:
    """Operands minus their zero points, convolved in f32: exact while the sums stay below 2**24."""
    op = node.op
    assert isinstance(op, ConvInteger)
    weight = node.inputs[1]
    assert weight is not None
    if weight.shape is None or not all(isinstance(d, int) for d in weight.shape):
        return Decline("the size of the weight is not known")
    terms = int(np.prod([d for d in weight.shape[1:] if isinstance(d, int)], dtype=np.int64))
    if terms * 255 * 255 >= 1 << 24:
        return Decline("sums may pass 2**24, where f32 is not exact")
    x = _centred(node, t, 0, 2, None, DType.FLOAT)
    point = node.operand(3)
    w = t.cast(weight, DType.FLOAT)
    if point is not None:
        wide = t.cast(point, DType.FLOAT)
        if point.rank == 1:
            wide = t.reshape(wide, [-1, *(1,) * (len(weight.shape) - 1)])
        w = t.sub(w, wide)
    attributes = {name: value for name, value in op.attributes()}
    return t.cast(t.apply(Conv(**attributes), x, w), DType.INT32)
