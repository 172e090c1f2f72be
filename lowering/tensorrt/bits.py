"""Bits of integers by arithmetic: TensorRT multiplies and divides integers, and has no operators on their bits.

Everything is computed in int64. A uint64 beyond it is the negative number with the same bits, as element types are carried.
"""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.activation import Clip
from ...ir.ops.binary import BitShift, Mod
from ...ir.ops.gather import Gather
from ...ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor, Or
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Result, Rewriter, rewrites_op
from .rewrites import GROUP

DIGIT = 16
LOWEST = -(1 << 63)


def _remainder(t: Terms, x: Value, y: Value | int) -> Value:
    """What is left of a division rounded down."""
    return t.apply(Mod(), x, y if isinstance(y, Value) else t.like(y, x))


def _floor(t: Terms, x: Value, y: Value) -> Value:
    """A quotient rounded down."""
    return t.div(t.sub(x, _remainder(t, x, y)), y)


@rewrites_op(BitwiseAnd, BitwiseOr, BitwiseXor, name="tensorrt-bitwise", group=GROUP)
def bitwise(node: Node, b: Rewriter) -> Result:
    """Digits of four bits of both operands, looked up together in a table."""
    x, y = node.inputs
    assert x is not None and y is not None and x.dtype is not None
    if not x.dtype.is_integer or x.dtype.bits < 4:
        return None
    t = Terms(b)
    function = {BitwiseAnd: np.bitwise_and, BitwiseOr: np.bitwise_or, BitwiseXor: np.bitwise_xor}[type(node.op)]
    digits = np.arange(DIGIT, dtype=np.int64)
    table = function(digits[:, None], digits).reshape(-1)
    count = x.dtype.bits // 4
    powers = np.array([DIGIT**k for k in range(count)], np.int64)
    tables, offsets = table, np.zeros(count, np.int64)
    if x.dtype.is_signed_integer or x.dtype is DType.UINT64:  # the first digit holds the sign
        tables = np.concatenate([table, np.where(table >= DIGIT // 2, table - DIGIT, table)])
        offsets[-1] = DIGIT * DIGIT
    weights = t.constant(powers)
    left, right = (_remainder(t, _floor(t, t.unsqueeze(t.cast(v, DType.INT64), [-1]), weights), DIGIT) for v in (x, y))
    place = t.add(t.add(t.mul(left, DIGIT), right), t.constant(offsets))
    found = t.apply(Gather(axis=0), t.constant(tables), place)
    half = min(count, 8)  # sums of more digits would be rounded by runtimes that add in float64
    small = t.constant(powers[:half])
    result = t.total(t.mul(t.slice(found, -1, 0, half), small), [-1], keepdims=False)
    if count > half:
        high = t.total(t.mul(t.slice(found, -1, half, count), small), [-1], keepdims=False)
        result = t.add(t.mul(high, DIGIT**half), result)
    return t.cast(result, x.dtype)


@rewrites_op(BitShift, name="tensorrt-bit-shift", group=GROUP)
def bit_shift(node: Node, b: Rewriter) -> Result:
    """Products with powers of two, modulo the range of the type, and quotients rounded down; beyond the width only the sign is left."""
    op, x, y = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, BitShift) and x is not None and y is not None and x.dtype is not None
    if not x.dtype.is_integer or x.dtype.bits < 8:
        return None
    t = Terms(b)
    word, given = t.cast(x, DType.INT64), t.cast(y, DType.INT64)
    width = x.dtype.bits
    outside = t.apply(Or(), t.less(given, 0), t.at_least(given, width))
    count = t.apply(Clip(), given, t.like(0, given), t.like(width - 1, given))
    if op.direction == "LEFT":
        shifted, left = _left_long(t, word, count) if width == 64 else _left(t, word, count, x.dtype), t.like(0, word)
    elif x.dtype is DType.UINT64:
        half = _floor(t, word, t.like(2, word))
        high = t.where(t.less(half, 0), t.sub(half, LOWEST), half)
        shifted = t.where(t.equal(count, 0), word, _right(t, high, t.max(t.sub(count, 1), 0)))
        left = t.like(0, word)
    else:
        shifted, left = _right(t, word, count), t.where(t.less(word, 0), t.like(-1, word), t.like(0, word))
    return t.cast(t.where(outside, left, shifted), x.dtype)


def _powers(t: Terms, count: Value) -> Value:
    """Powers of two; those for 63 and more are 1."""
    return t.apply(Gather(axis=0), t.constant(np.array([1 << k if k < 63 else 1 for k in range(64)], np.int64)), count)


def _left(t: Terms, word: Value, count: Value, dtype: DType) -> Value:
    """To the left in at most 32 bits."""
    low = _remainder(t, t.mul(word, _powers(t, count)), 1 << dtype.bits)
    if not dtype.is_signed_integer:
        return low
    return t.where(t.at_least(low, 1 << (dtype.bits - 1)), t.sub(low, 1 << dtype.bits), low)


def _left_long(t: Terms, word: Value, count: Value) -> Value:
    """To the left in 64 bits: the bit that becomes the sign is added for itself."""
    room = _powers(t, t.sub(63, count))
    low = _remainder(t, word, room)
    sign = _remainder(t, t.div(t.sub(word, low), room), 2)
    moved = t.add(t.mul(low, _powers(t, count)), t.where(t.equal(sign, 1), t.like(LOWEST, word), t.like(0, word)))
    return t.where(t.equal(count, 0), word, moved)


def _right(t: Terms, word: Value, count: Value) -> Value:
    """To the right, the sign kept."""
    whole = t.where(t.less(word, 0), t.like(-1, word), t.like(0, word))
    return t.where(t.at_least(count, 63), whole, _floor(t, word, _powers(t, count)))
