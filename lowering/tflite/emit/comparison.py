"""Comparisons, logic and choices."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.logical import (
    And,
    BitwiseXor,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Or,
    Where,
    Xor,
)
from ....ir.ops.unary import BitwiseNot, IsInf, IsNaN, Not
from ..emitter import Emitter
from ..registry import emits
from .conditions import NUMBERS
from .movement import ANY

BOOL = frozenset((DType.BOOL,))
WORDS = frozenset((DType.INT8, DType.INT16, DType.INT32, DType.UINT8, DType.UINT16, DType.UINT32))
COMPARISONS = {Less: "LESS", LessOrEqual: "LESS_EQUAL", Greater: "GREATER", GreaterOrEqual: "GREATER_EQUAL", Equal: "EQUAL"}
LOGICAL = {And: "LOGICAL_AND", Or: "LOGICAL_OR", Xor: "NOT_EQUAL"}


@emits(Less, LessOrEqual, Greater, GreaterOrEqual, dtypes=NUMBERS)
@emits(Equal, dtypes=NUMBERS | BOOL)
def comparison(e: Emitter, node: Node) -> None:
    e.op(COMPARISONS[type(node.op)], [e.operand(v) for v in node.inputs], [e.result(node.output)])


@emits(And, Or, Xor, dtypes=BOOL)
def logical(e: Emitter, node: Node) -> None:
    e.op(LOGICAL[type(node.op)], [e.operand(v) for v in node.inputs], [e.result(node.output)])


@emits(Not, dtypes=BOOL)
def negation(e: Emitter, node: Node) -> None:
    e.op("LOGICAL_NOT", [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(BitwiseXor, dtypes=WORDS)
def exclusive_or(e: Emitter, node: Node) -> None:
    e.op("BITWISE_XOR", [e.operand(v) for v in node.inputs], [e.result(node.output)])


@emits(BitwiseNot, dtypes=WORDS)
def complement(e: Emitter, node: Node) -> None:
    dtype = node.output.tensor.dtype.numpy
    ones = np.array(-1 if dtype.kind == "i" else np.iinfo(dtype).max, dtype)
    e.op("BITWISE_XOR", [e.operand(node.inputs[0]), e.constant(ones)], [e.result(node.output)])


@emits(IsNaN)
def is_nan(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    e.op("NOT_EQUAL", [x, x], [e.result(node.output)])


@emits(IsInf)
def is_infinite(e: Emitter, node: Node) -> None:
    op, x = node.op, e.operand(node.inputs[0])
    assert isinstance(op, IsInf)
    if op.detect_negative and op.detect_positive:
        e.op("EQUAL", [e.unary("ABS", x), e.number(np.inf)], [e.result(node.output)])
    elif op.detect_positive or op.detect_negative:
        e.op("EQUAL", [x, e.number(np.inf if op.detect_positive else -np.inf)], [e.result(node.output)])
    else:
        e.op("LESS", [x, x], [e.result(node.output)])


@emits(Where, dtypes=BOOL, when=lambda node: None if node.output.dtype in ANY else f"no kernel for elements of type {node.output.dtype}")
def where(e: Emitter, node: Node) -> None:
    e.op("SELECT_V2", [e.operand(v) for v in node.inputs], [e.result(node.output)])
