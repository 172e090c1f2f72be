"""Arithmetic element by element."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.binary import Add, Div, Mul, Sub
from ....ir.ops.unary import (
    Abs,
    Ceil,
    Cos,
    Exp,
    Floor,
    Identity,
    Log,
    Neg,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Sqrt,
    Tanh,
)
from ..emitter import Emitter
from ..registry import FLOAT32, emits
from .conditions import NUMBERS

ACTIVATED = {Add: "ADD", Sub: "SUB", Mul: "MUL", Div: "DIV"}
UNARY = {Ceil: "CEIL", Cos: "COS", Exp: "EXP", Floor: "FLOOR", Log: "LOG", Round: "ROUND", Sin: "SIN", Sqrt: "SQRT", Tanh: "TANH"}
MOVED = frozenset(
    (
        DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8,
        DType.UINT16, DType.UINT32, DType.UINT64, DType.BOOL,
    )
)  # fmt: skip
"""Element types that RESHAPE copies."""


@emits(*UNARY)
def unary(e: Emitter, node: Node) -> None:
    e.op(UNARY[type(node.op)], [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Neg, dtypes=NUMBERS)
def negation(e: Emitter, node: Node) -> None:
    e.op("NEG", [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Abs, Sign, dtypes=frozenset((DType.FLOAT, DType.INT32)))
def magnitude_or_sign(e: Emitter, node: Node) -> None:
    e.op("ABS" if isinstance(node.op, Abs) else "SIGN", [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Identity, dtypes=MOVED)
def identity(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    e.alias(node.output, x)


@emits(Reciprocal)
def reciprocal(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    y, code = e.activated(node)
    e.op("DIV", [e.number(1.0), x], [y], fusedActivationFunction=code)


@emits(Add, Sub, Mul, dtypes=NUMBERS)
@emits(Div, dtypes=FLOAT32)
def arithmetic(e: Emitter, node: Node) -> None:
    x, y = e.operand(node.inputs[0]), e.operand(node.inputs[1])
    z, code = e.activated(node)
    e.op(ACTIVATED[type(node.op)], [x, y], [z], fusedActivationFunction=code)
