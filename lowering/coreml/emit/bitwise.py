"""Bitwise logic and shifts by arithmetic on int32."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.binary import BitShift
from ....ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor
from ....ir.ops.unary import BitwiseNot
from .cast import bounds, wrapped
from .context import Emission
from .translation import INTEGERS, NARROW, UNSIGNED, Obstacle, translates

_WORD = 32


@translates(BitwiseNot, dtypes=INTEGERS | NARROW, level="decomposed")
def complement(e: Emission, node: Node) -> None:
    """``-1 - x`` for signed integers, the greatest number minus x for others."""
    dtype = node.output.dtype
    assert dtype is not None
    top = -1 if dtype.is_signed_integer else bounds(dtype)[1]
    e.bind(node, e.mil.sub(x=np.int32(top), y=e.operand(node)))


@translates(BitwiseAnd, BitwiseOr, BitwiseXor, dtypes=INTEGERS | NARROW | UNSIGNED, level="decomposed")
def bitwise(e: Emission, node: Node) -> None:
    """Bit by bit: the quotient rounded down is odd where the bit is set, also in two's complement."""
    dtype = node.output.dtype
    assert dtype is not None
    x, y = e.operand(node, 0), e.operand(node, 1)
    bits = min(dtype.bits, _WORD)
    total: Any = None
    for index in range(bits):
        a, b = _bit(e, x, index), _bit(e, y, index)
        if isinstance(node.op, BitwiseAnd):
            bit = e.mil.mul(x=a, y=b)
        elif isinstance(node.op, BitwiseOr):
            bit = e.mil.maximum(x=a, y=b)
        else:
            bit = e.mil.cast(x=e.mil.not_equal(x=a, y=b), dtype="int32")
        weight = 1 << index
        if index == bits - 1 and (dtype.is_signed_integer or bits == _WORD):
            weight = -weight
        part = e.mil.mul(x=bit, y=np.int32(weight))
        total = part if total is None else e.mil.add(x=total, y=part)
    e.bind(node, total)


def _bit(e: Emission, x: Any, index: int) -> Any:
    """One bit of two's complement, 0 or 1."""
    if index == _WORD - 1:
        return e.mil.cast(x=e.mil.less(x=x, y=np.int32(0)), dtype="int32")
    halved = e.mil.floor_div(x=x, y=np.int32(1 << index)) if index else x
    return e.mil.sub(x=halved, y=e.mil.mul(x=e.mil.floor_div(x=halved, y=np.int32(2)), y=np.int32(2)))


def _direction(node: Node) -> Obstacle | None:
    op, dtype = node.op, node.output.dtype
    assert isinstance(op, BitShift)
    if op.direction == "LEFT" and dtype not in NARROW:
        return Obstacle("precision", "products of 32-bit words pass what int32 holds")
    return None


@translates(BitShift, dtypes=INTEGERS | NARROW | UNSIGNED, when=_direction, level="decomposed")
def shift(e: Emission, node: Node) -> None:
    """Products with powers of two that wrap around, or quotients rounded down; counts beyond the word shift everything out."""
    op, dtype = node.op, node.output.dtype
    assert isinstance(op, BitShift) and dtype is not None
    bits = min(dtype.bits, _WORD - 1)
    x, counts = e.operand(node), e.operand(node, 1)
    inside = e.mil.minimum(x=e.mil.maximum(x=counts, y=np.int32(0)), y=np.int32(bits - 1))
    powers = e.mil.gather(x=np.left_shift(1, np.arange(bits)).astype(np.int32), indices=inside, axis=0)
    if op.direction == "LEFT":
        result = wrapped(e, e.mil.mul(x=x, y=powers), dtype)
        outside = e.mil.mul(x=result, y=np.int32(0))
    else:
        result = e.mil.floor_div(x=x, y=powers)
        sign = e.mil.cast(x=e.mil.less(x=result, y=np.int32(0)), dtype="int32")
        outside = e.mil.mul(x=sign, y=np.int32(-1))
    fits = e.mil.cast(x=e.mil.equal(x=inside, y=counts), dtype="int32")
    kept = e.mil.mul(x=result, y=fits)
    e.bind(node, e.mil.add(x=kept, y=e.mil.mul(x=outside, y=e.mil.sub(x=np.int32(1), y=fits))))
