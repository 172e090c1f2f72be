"""Bits of integers: shifts, logic and reinterpretation."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.binary import BitShift
from ....ir.ops.cast import BitCast
from ....ir.ops.logical import BitwiseAnd, BitwiseOr, BitwiseXor
from ....ir.ops.unary import BitwiseNot
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no

NARROW = frozenset((DType.INT8, DType.INT16, DType.UINT8, DType.UINT16))
WORDS = NARROW | {DType.INT32, DType.UINT32}
LONG = frozenset((DType.INT64, DType.UINT64))
LOW_BITS = 0xFFFF
REINTERPRETED = frozenset(
    (DType.FLOAT, DType.FLOAT16, DType.DOUBLE, DType.INT8, DType.INT16, DType.INT32, DType.INT64,
     DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64)
)  # fmt: skip


def reinterpreted(e: Emitter, x: int, dtype: DType) -> int:
    """The bits of a tensor as elements of another type of the same width."""
    if e.dtype(x) is dtype:
        return x
    y = e.temporary(e.shape(x), dtype)
    e.op("BITCAST", [x], [y])
    return y


def chosen(e: Emitter, condition: int, x: int, y: int) -> int:
    """Elements of one tensor where a condition holds and of another elsewhere, in the shape of the condition."""
    z = e.temporary(e.shape(condition), e.dtype(x))
    e.op("SELECT_V2", [condition, x, y], [z])
    return z


def _same_width(node: Node) -> Verdict | None:
    if node.output.dtype not in REINTERPRETED or node.output.tensor.dtype.bits != node.inputs[0].tensor.dtype.bits:  # type: ignore[union-attr]
        return no("only elements of the same width are reinterpreted", "dtype")
    return None


@emits(BitCast, dtypes=REINTERPRETED, when=_same_width)
def bit_cast(e: Emitter, node: Node) -> None:
    e.op("BITCAST", [e.operand(node.inputs[0])], [e.result(node.output)])


# -- shifts -----------------------------------------------------------------------------------------------------------------
def _to_the_left(node: Node) -> str | None:
    return None if node.op.direction == "LEFT" else "the kernel shifts to the right"  # type: ignore[attr-defined]


def _to_the_right(node: Node) -> str | None:
    return None if node.op.direction == "RIGHT" else "the kernel shifts to the right only"  # type: ignore[attr-defined]


def _counts(e: Emitter, value: Value | None, bits: int, beyond: int) -> int:
    """Numbers of bits as int32, those that are not from 0 to ``bits - 1`` replaced."""
    assert value is not None
    if value.data is not None:
        array = value.data.numpy().astype(object)
        return e.constant(np.where((array >= 0) & (array < bits), array, beyond).astype(np.int32))
    tensor = e.operand(value)
    if e.dtype(tensor) is DType.UINT32:
        tensor = reinterpreted(e, tensor, DType.INT32)
    elif e.dtype(tensor) is DType.UINT64:
        tensor = reinterpreted(e, tensor, DType.INT64)
    if e.dtype(tensor) not in LONG:
        tensor = e.cast(tensor, DType.INT32)
    dtype = e.dtype(tensor)
    inside = e.binary(
        "LOGICAL_AND",
        e.binary("GREATER_EQUAL", tensor, e.number(0, dtype), DType.BOOL),
        e.binary("LESS", tensor, e.number(bits, dtype), DType.BOOL),
        DType.BOOL,
    )
    return e.cast(chosen(e, inside, tensor, e.number(beyond, dtype)), DType.INT32)


@emits(BitShift, dtypes=WORDS | LONG, when=_to_the_left, level="decomposed")
def left_shift(e: Emitter, node: Node) -> None:
    """A product with a power of two from a table, modulo the width; beyond the width the factor is zero."""
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    word = DType.INT64 if x.dtype in LONG else DType.INT32
    bits = x.dtype.bits
    table = np.append(np.left_shift(np.ones(bits, word.numpy), np.arange(bits, dtype=word.numpy)), 0).astype(word.numpy)
    counts = _counts(e, node.inputs[1], bits, bits)
    power = e.temporary(e.shape(counts), word)
    e.op("GATHER", [e.constant(table), counts], [power], axis=0)
    tensor = e.operand(x)
    tensor = reinterpreted(e, tensor, word) if bits >= 32 else e.cast(tensor, word)
    shifted = e.binary("MUL", tensor, power, fusedActivationFunction=0)
    if x.dtype is word:
        e.alias(node.output, shifted)
    elif bits >= 32:
        e.op("BITCAST", [shifted], [e.result(node.output)])
    else:
        e.cast_into(shifted, e.result(node.output))


@emits(BitShift, dtypes=WORDS, when=_to_the_right)
def right_shift(e: Emitter, node: Node) -> None:
    """RIGHT_SHIFT in int32, where signs are kept; beyond the width nothing but the sign is left."""
    x = node.inputs[0]
    assert x is not None and x.dtype is not None
    if x.dtype is DType.UINT32:
        _unsigned_right_shift(e, node)
        return
    bits = x.dtype.bits
    counts = _counts(e, node.inputs[1], bits, 31)
    shifted = e.binary("RIGHT_SHIFT", e.cast(e.operand(x), DType.INT32), counts)
    if x.dtype is DType.INT32:
        e.alias(node.output, shifted)
    else:
        e.cast_into(shifted, e.result(node.output))


def _unsigned_right_shift(e: Emitter, node: Node) -> None:
    counts = _counts(e, node.inputs[1], 32, 32)
    inside = e.binary("LESS", counts, e.number(32, DType.INT32), DType.BOOL)
    shifted = e.binary("RIGHT_SHIFT", e.operand(node.inputs[0]), e.cast(counts, DType.UINT32))
    e.op("SELECT_V2", [inside, shifted, e.number(0, DType.UINT32)], [e.result(node.output)])


# -- logic ------------------------------------------------------------------------------------------------------------------
def _both(e: Emitter, x: int, y: int) -> int:
    """The common bits of two tensors of int32: ``x & y = (x + y - (x ^ y)) / 2``, in halves, whose sums do not overflow."""

    def small(a: int, b: int) -> int:
        total = e.binary("ADD", a, b, fusedActivationFunction=0)
        return e.binary("RIGHT_SHIFT", e.binary("SUB", total, e.binary("BITWISE_XOR", a, b), fusedActivationFunction=0), one)

    one, half, scale = e.number(1, DType.INT32), e.number(16, DType.INT32), e.number(LOW_BITS + 1, DType.INT32)
    high = [e.binary("RIGHT_SHIFT", v, half) for v in (x, y)]
    low = [e.binary("SUB", v, e.binary("MUL", h, scale, fusedActivationFunction=0), fusedActivationFunction=0)
           for v, h in zip((x, y), high, strict=True)]  # fmt: skip
    return e.binary("ADD", e.binary("MUL", small(*high), scale, fusedActivationFunction=0), small(*low), fusedActivationFunction=0)


def _logic(e: Emitter, op: object, x: int, y: int) -> int:
    if isinstance(op, BitwiseXor):
        return e.binary("BITWISE_XOR", x, y)
    common = _both(e, x, y)
    if isinstance(op, BitwiseAnd):
        return common
    return e.binary("ADD", e.binary("BITWISE_XOR", x, y), common, fusedActivationFunction=0)  # no bit is in both


@emits(BitwiseAnd, BitwiseOr, dtypes=WORDS, level="decomposed")
def logic_of_words(e: Emitter, node: Node) -> None:
    """In int32, by sums and exclusive disjunction."""
    dtype = node.output.tensor.dtype
    x, y = (e.operand(v) for v in node.inputs)
    x, y = (reinterpreted(e, v, DType.INT32) if dtype is DType.UINT32 else e.cast(v, DType.INT32) for v in (x, y))
    z = _logic(e, node.op, x, y)
    if dtype is DType.INT32:
        e.alias(node.output, z)
    elif dtype is DType.UINT32:
        e.op("BITCAST", [z], [e.result(node.output)])
    else:
        e.cast_into(z, e.result(node.output))


@emits(BitwiseAnd, BitwiseOr, BitwiseXor, dtypes=LONG, level="decomposed")
def logic_of_long_words(e: Emitter, node: Node) -> None:
    """Each element as two of int32."""
    x, y = (_pairs(e, e.operand(v)) for v in node.inputs)
    e.op("BITCAST", [_logic(e, node.op, x, y)], [e.result(node.output)])


@emits(BitwiseNot, dtypes=LONG, level="decomposed")
def long_complement(e: Emitter, node: Node) -> None:
    pairs = _pairs(e, e.operand(node.inputs[0]))
    e.op("BITCAST", [e.binary("BITWISE_XOR", pairs, e.number(-1, DType.INT32))], [e.result(node.output)])


def _pairs(e: Emitter, x: int) -> int:
    y = e.temporary([*e.shape(x), 2], DType.INT32)
    e.op("BITCAST", [x], [y])
    return y
