"""Element-wise integer and floating-point operators with other edge cases in OpenVINO than in ONNX."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Celu
from ....ir.ops.binary import BitShift, Mod, Mul
from ....ir.ops.cast import BitCast, Cast, CastLike
from ....ir.ops.gather import Gather
from ....ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor, Xor
from ....ir.ops.unary import BitwiseNot, IsInf
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .functions import GROUP

EXACT_MARK = "edgec.exact"
NARROW_INTEGERS = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)
_WIDE = (DType.INT64, DType.UINT64)


def wrapped(t: Terms, x: Value, dtype: DType) -> Value:
    """An i32 value modulo the range of a narrow integer type, in that type."""
    low = t.apply(BitwiseAnd(), x, t.like((1 << dtype.bits) - 1, x))
    if dtype.is_signed_integer:
        half = 1 << (dtype.bits - 1)
        low = t.sub(t.apply(BitwiseXor(), low, t.like(half, low)), half)
    return t.cast(low, dtype)


@rewrites_op(Mul, name="openvino-wrapping-product", group=GROUP)
def wrapping_product(node: Node, b: Rewriter) -> Result:
    """Products of 8-bit integers wrap around in ONNX and saturate in OpenVINO: they are computed in 32 bits."""
    x, y = node.inputs
    assert x is not None and y is not None
    if x.dtype not in (DType.INT8, DType.UINT8):
        return None
    t = Terms(b)
    return _exact(b, wrapped(t, t.mul(t.cast(x, DType.INT32), t.cast(y, DType.INT32)), x.dtype))


@rewrites_op(BitShift, name="openvino-bit-shift", group=GROUP)
def bit_shift(node: Node, b: Rewriter) -> Result:
    """Shifts as ONNX defines them: arithmetic to the right for signed types, and all bits shifted out beyond the width."""
    op, x, y = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, BitShift) and x is not None and y is not None and x.dtype is not None
    if x.dtype in _WIDE:
        return Decline("OpenVINO has no 64-bit integers")
    if x.dtype is DType.UINT32:
        return _exact(b, _unsigned_shift(op.direction, x, y, Terms(b)))
    return _exact(b, _signed_shift(op.direction, x, y, Terms(b)))


def _exact(b: Rewriter, result: Value) -> Value:
    """Mark the nodes built as exact on 32-bit integers whatever their operators, so that inputs need not be small."""
    for node in b.created:
        node.metadata[EXACT_MARK] = "1"
    return result


def _signed_shift(direction: str, x: Value, y: Value, t: Terms) -> Value:
    assert x.dtype is not None
    bits = x.dtype.bits
    word, (count, within) = t.cast(x, DType.INT32), _counts(t, y, bits)
    if direction == "LEFT":
        shifted = t.apply(BitwiseAnd(), t.mul(word, _power(count, 31, t)), within)
        return shifted if x.dtype is DType.INT32 else wrapped(t, shifted, x.dtype)
    if x.dtype.is_unsigned_integer:
        return t.cast(t.apply(BitwiseAnd(), _right(word, count, t), within), x.dtype)
    sign = t.where(t.less(word, 0), t.like(-1, word), t.like(0, word))
    beyond = t.apply(BitwiseAnd(), sign, t.apply(BitwiseNot(), within))
    inner = t.apply(BitwiseXor(), _right(t.apply(BitwiseXor(), word, sign), count, t), sign)
    return t.cast(t.apply(BitwiseOr(), t.apply(BitwiseAnd(), inner, within), beyond), x.dtype)


def _unsigned_shift(direction: str, x: Value, y: Value, t: Terms) -> Value:
    word, (count, within) = t.cast(x, DType.INT32), _counts(t, y, 32)
    shifted = t.mul(word, _power(count, 31, t)) if direction == "LEFT" else _right(word, count, t)
    return t.cast(t.apply(BitwiseAnd(), shifted, within), DType.UINT32)


def _counts(t: Terms, y: Value, bits: int) -> tuple[Value, Value]:
    """The counts as i32, zero where they are out of range, and a mask of ones where they are in range.

    Selections are made by masks: OpenVINO computes a Where together with its comparison in float32.
    """
    count = t.cast(y, DType.INT32)
    inside = t.both(t.at_least(count, 0), t.less(count, bits))
    return t.where(inside, count, 0), t.where(inside, t.like(-1, count), t.like(0, count))


def _right(word: Value, count: Value, t: Terms) -> Value:
    """A logical shift to the right of i32 words that are not negative, by counts from 0 to 31.

    OpenVINO divides integers in float32, so words go in halves, whose quotients are exact.
    """
    low = t.apply(BitwiseAnd(), word, t.like(0xFFFF, word))
    high = _quotient(t.apply(BitwiseAnd(), word, t.like(0x7FFF0000, word)), t.like(1 << 16, word), t)
    less = t.min(count, 15)
    power = _power(less, 15, t)
    crossing = t.apply(BitwiseAnd(), t.mul(high, _power(t.sub(16, less), 16, t)), t.like(0xFFFF, word))
    top = t.mul(_quotient(high, power, t), 1 << 16)
    near = t.apply(BitwiseOr(), t.apply(BitwiseOr(), top, crossing), _quotient(low, power, t))
    far = _quotient(high, _power(t.max(t.sub(count, 16), 0), 15, t), t)
    is_near = t.apply(Gather(axis=0), t.constant(np.repeat(np.array([-1, 0], np.int32), 16)), count)
    return t.apply(BitwiseOr(), t.apply(BitwiseAnd(), near, is_near), t.apply(BitwiseAnd(), far, t.apply(BitwiseNot(), is_near)))


def _power(count: Value, greatest: int, t: Terms) -> Value:
    """The power of two for a count, as i32."""
    table = np.left_shift(np.ones(greatest + 1, np.int32), np.arange(greatest + 1, dtype=np.int32))
    return t.apply(Gather(axis=0), t.constant(table), count)


def _quotient(x: Value, y: Value, t: Terms) -> Value:
    """A quotient below 2**16. The mask keeps the runtime from computing what follows with the division, in float32."""
    return t.apply(BitwiseAnd(), t.div(x, y), t.like(0xFFFF, x))


@rewrites_op(BitCast, name="openvino-bit-cast", group=GROUP)
def bit_cast(node: Node, b: Rewriter) -> Result:
    """Reinterpreting narrow integers is arithmetic modulo their range."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, BitCast) and x is not None
    if x.dtype is DType.BOOL and op.to.is_integer:
        return Terms(b).cast(x, op.to)
    if x.dtype not in NARROW_INTEGERS or op.to not in NARROW_INTEGERS:
        return Decline(f"the bits of {x.dtype} cannot be read as {op.to}")
    t = Terms(b)
    return wrapped(t, t.cast(x, DType.INT32), op.to)


@rewrites_op(Mod, name="openvino-floor-mod", group=GROUP)
def floor_mod(node: Node, b: Rewriter) -> Result:
    """The remainder of floats with the sign of the divisor, by the remainder with the sign of the dividend."""
    op, x, y = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, Mod) and x is not None and y is not None and x.dtype is not None
    if op.fmod or not x.dtype.is_float:
        return None
    t = Terms(b)
    rest = t.apply(Mod(fmod=1), x, y)
    endless = t.both(t.apply(IsInf(), y), t.negate(t.apply(IsInf(), x)))
    rest = t.where(endless, x, rest)
    differs = t.apply(Xor(), t.less(rest, 0), t.less(y, 0))
    adjusted = t.where(t.both(differs, t.negate(t.equal(rest, 0))), t.add(rest, y), rest)
    return adjusted


@rewrites_op(Celu, name="openvino-celu", group=GROUP)
def celu(node: Node, b: Rewriter) -> Result:
    """Celu of 16-bit floats is computed in float32: the importer types its constants so."""
    x = node.inputs[0]
    assert x is not None
    if x.dtype is DType.FLOAT:
        return None
    t = Terms(b)
    return t.cast(t.apply(node.op, t.cast(x, DType.FLOAT)), x.dtype)


@rewrites_op(CastLike, name="openvino-cast-like", group=GROUP)
def cast_like(node: Node, b: Rewriter) -> Result:
    """CastLike with a known type is Cast."""
    op, target = node.op, node.inputs[1]
    assert isinstance(op, CastLike)
    if target is None or target.dtype is None:
        return None
    return b.add(Cast(target.dtype, op.round_mode, op.saturate), node.inputs[0])


def smallest_above(number: float) -> float:
    """The next float32 above a number, at least the smallest normal one (OpenVINO flushes smaller ones to zero)."""
    following = float(np.nextafter(np.float32(number), np.float32(np.inf)))
    return max(following, float(np.finfo(np.float32).tiny)) if number >= 0 else following
