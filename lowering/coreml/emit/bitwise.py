"""Bitwise logic and shifts by arithmetic on int32."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.binary import BitShift
from ....ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor
from ....ir.ops.unary import BitwiseNot
from .cast import bounds
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


def _short(node: Node) -> Obstacle | None:
    count = node.inputs[1]
    if count is not None and count.data is None and count.ints is None:
        return Obstacle("dynamic-parameter", "shift counts have to be known")
    return None


@translates(BitShift, dtypes=NARROW, when=_short, level="decomposed")
def shift(e: Emission, node: Node) -> None:
    """Products with powers of two that wrap around, or quotients rounded down."""
    op, dtype = node.op, node.output.dtype
    assert isinstance(op, BitShift) and dtype is not None
    x, counts = e.operand(node), e.known(node, 1)
    inside = (counts >= 0) & (counts < dtype.bits)
    powers = np.where(inside, np.left_shift(1, np.clip(counts, 0, dtype.bits - 1)), 1).astype(np.int32)
    if op.direction == "LEFT":
        low, span = bounds(dtype)[0], np.int32(1 << dtype.bits)
        product = e.mil.mul(x=x, y=powers)
        shifted = e.mil.sub(x=product, y=np.int32(low))
        result = e.mil.sub(x=product, y=e.mil.mul(x=e.mil.floor_div(x=shifted, y=span), y=span))
    else:
        result = e.mil.floor_div(x=x, y=powers)
    if not inside.all():
        result = e.mil.mul(x=result, y=inside.astype(np.int32))
    e.bind(node, result)

