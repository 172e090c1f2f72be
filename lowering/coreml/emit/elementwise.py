"""Elementwise arithmetic, comparisons, logic and choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.binary import Add, Div, Max, Min, Mod, Mul, Pow, Sub, Sum
from ....ir.ops.logical import And, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Or, Where, Xor
from ....ir.ops.unary import (
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Erf,
    Exp,
    Floor,
    Identity,
    IsInf,
    IsNaN,
    Log,
    Neg,
    Not,
    Reciprocal,
    Round,
    Sign,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
)
from .context import Emission
from .translation import BOOLS, FLOATS, INTEGERS, MOVABLE, NUMBERS, Obstacle, translates

_UNARY = {
    Acos: "acos", Asin: "asin", Atan: "atan", Ceil: "ceil", Cos: "cos", Cosh: "cosh", Erf: "erf", Exp: "exp",
    Floor: "floor", Round: "round", Sin: "sin", Sinh: "sinh", Sqrt: "sqrt", Tan: "tan", Tanh: "tanh",
}  # fmt: skip
_BINARY = {
    Add: "add", Sub: "sub", Mul: "mul", Max: "maximum", Min: "minimum",
    Greater: "greater", GreaterOrEqual: "greater_equal", Less: "less", LessOrEqual: "less_equal",
}  # fmt: skip
_LOGICAL = {And: "logical_and", Or: "logical_or", Xor: "logical_xor"}


@translates(*_UNARY)
def unary(e: Emission, node: Node) -> None:
    """Functions that MIL has under the same meaning."""
    e.bind(node, getattr(e.mil, _UNARY[type(node.op)])(x=e.operand(node)))


@translates(Abs, Sign, dtypes=NUMBERS)
def integer_unary(e: Emission, node: Node) -> None:
    """Functions that MIL has for integers too."""
    e.bind(node, getattr(e.mil, node.op.op_name.lower())(x=e.operand(node)))


@translates(Neg, dtypes=NUMBERS, level="decomposed")
def negate(e: Emission, node: Node) -> None:
    """A product with -1: exact, and it keeps the sign of zero."""
    x = e.operand(node)
    e.bind(node, e.mil.mul(x=x, y=e.like(-1, x)))


@translates(Reciprocal)
def reciprocal(e: Emission, node: Node) -> None:
    """``1 / x`` as a division: MIL's ``inverse`` adds an epsilon to its operand."""
    x = e.operand(node)
    e.bind(node, e.mil.real_div(x=e.like(1, x), y=x))


@translates(Log)
def log(e: Emission, node: Node) -> None:
    """The logarithm, without the epsilon that MIL adds by default."""
    x = e.operand(node)
    e.bind(node, e.mil.log(x=x, epsilon=e.like(0, x)))


@translates(Atanh, level="decomposed")
def atanh(e: Emission, node: Node) -> None:
    """MIL's own function."""
    e.bind(node, e.mil.atanh(x=e.operand(node)))


def _area_sine(e: Emission, x: Any) -> Any:
    """``asinh``: by atanh where a logarithm would cancel."""
    root = e.mil.sqrt(x=e.mil.add(x=e.mil.mul(x=x, y=x), y=e.like(1, x)))
    near = e.mil.atanh(x=e.mil.real_div(x=x, y=root))
    size = e.mil.abs(x=x)
    far = e.mil.mul(x=e.mil.sign(x=x), y=e.mil.log(x=e.mil.add(x=size, y=root), epsilon=e.like(0, x)))
    return e.mil.select(cond=e.mil.less(x=size, y=e.like(0.5, x)), a=near, b=far)


@translates(Asinh, level="decomposed")
def asinh(e: Emission, node: Node) -> None:
    """``log(|x| + sqrt(x² + 1))`` with the sign of x."""
    e.bind(node, _area_sine(e, e.operand(node)))


@translates(Acosh, level="decomposed")
def acosh(e: Emission, node: Node) -> None:
    """``2 asinh(sqrt((x - 1) / 2))``."""
    x = e.operand(node)
    half = e.mil.sqrt(x=e.mil.mul(x=e.mil.sub(x=x, y=e.like(1, x)), y=e.like(0.5, x)))
    e.bind(node, e.mil.mul(x=_area_sine(e, half), y=e.like(2, x)))


@translates(*_BINARY, dtypes=NUMBERS)
def binary(e: Emission, node: Node) -> None:
    """Two operands that broadcast; Max and Min of more are chained."""
    function = getattr(e.mil, _BINARY[type(node.op)])
    result = e.operand(node, 0)
    for index in range(1, len(node.inputs)):
        result = function(x=result, y=e.operand(node, index))
    if len(node.inputs) == 1:
        result = e.mil.identity(x=result)
    e.bind(node, result)


@translates(Sum, dtypes=NUMBERS)
def total(e: Emission, node: Node) -> None:
    """A chain of additions."""
    result = e.operand(node, 0)
    for index in range(1, len(node.inputs)):
        result = e.mil.add(x=result, y=e.operand(node, index))
    e.bind(node, result if len(node.inputs) > 1 else e.mil.identity(x=result))


@translates(Equal, dtypes=MOVABLE)
def equal(e: Emission, node: Node) -> None:
    """Equality; bools are compared as integers."""
    x, y = (_number(e, e.operand(node, i)) for i in range(2))
    e.bind(node, e.mil.equal(x=x, y=y))


@translates(*_LOGICAL, dtypes=BOOLS)
def logical(e: Emission, node: Node) -> None:
    """Logic on bools."""
    e.bind(node, getattr(e.mil, _LOGICAL[type(node.op)])(x=e.operand(node, 0), y=e.operand(node, 1)))


@translates(Not, dtypes=BOOLS)
def negation(e: Emission, node: Node) -> None:
    """Logical negation."""
    e.bind(node, e.mil.logical_not(x=e.operand(node)))


@translates(Div)
def divide(e: Emission, node: Node) -> None:
    """Division of floats."""
    e.bind(node, e.mil.real_div(x=e.operand(node, 0), y=e.operand(node, 1)))


@translates(Div, dtypes=INTEGERS, level="decomposed")
def divide_integers(e: Emission, node: Node) -> None:
    """Quotients rounded towards zero from MIL's, which are rounded down: the magnitudes are divided, then the sign is set."""
    x, y = e.operand(node, 0), e.operand(node, 1)
    quotient = e.mil.floor_div(x=e.mil.abs(x=x), y=e.mil.abs(x=y))
    e.bind(node, e.mil.mul(x=quotient, y=e.mil.mul(x=e.mil.sign(x=x), y=e.mil.sign(x=y))))


def _float_modulus(node: Node) -> Obstacle | None:
    return None if getattr(node.op, "fmod", 0) else Obstacle("attribute", "the remainder of floats needs fmod=1")


@translates(Mod, when=_float_modulus, level="decomposed")
def float_remainder(e: Emission, node: Node) -> None:
    """The remainder with the sign of the dividend: that of the magnitudes with the sign set."""
    x, y = e.operand(node, 0), e.operand(node, 1)
    remainder = e.mil.mod(x=e.mil.abs(x=x), y=e.mil.abs(x=y))
    e.bind(node, e.mil.mul(x=remainder, y=e.mil.sign(x=x)))


@translates(Mod, dtypes=INTEGERS, level="decomposed")
def integer_remainder(e: Emission, node: Node) -> None:
    """Remainders of integers: MIL's have the sign of the divisor, as without fmod."""
    x, y = e.operand(node, 0), e.operand(node, 1)
    if getattr(node.op, "fmod", 0):
        remainder = e.mil.mod(x=e.mil.abs(x=x), y=e.mil.abs(x=y))
        e.bind(node, e.mil.mul(x=remainder, y=e.mil.sign(x=x)))
    else:
        e.bind(node, e.mil.mod(x=x, y=y))


def _exponent(node: Node) -> Obstacle | None:
    x, y = node.inputs[0], node.inputs[1]
    assert x is not None and y is not None
    if y.dtype not in NUMBERS:
        return Obstacle("dtype", f"there is no power with an exponent of type {y.dtype}")
    if x.dtype in FLOATS:
        return None
    known = y.ints if y.dtype in INTEGERS else None
    if known is not None and min(known) >= 0:
        return None
    return Obstacle("precision", "powers of integers are rounded unless the exponents are known and not negative")


@translates(Pow, dtypes=NUMBERS, when=_exponent)
def power(e: Emission, node: Node) -> None:
    """Powers; the exponent is brought to the type of the base."""
    x = e.operand(node, 0)
    known = e.known(node, 1)
    if known is not None and known.size == 1 and float(known.reshape(-1)[0]) == 2.0 and known.ndim <= len(x.shape):
        e.bind(node, e.mil.mul(x=x, y=x))
        return
    e.bind(node, e.mil.pow(x=x, y=e.cast(e.operand(node, 1), e.kind(x))))


@translates(Identity, dtypes=MOVABLE)
def identity(e: Emission, node: Node) -> None:
    """The operand itself under another name."""
    e.bind(node, e.mil.identity(x=e.var(e.required(node))))


@translates(IsNaN, level="decomposed")
def is_nan(e: Emission, node: Node) -> None:
    """What differs from itself."""
    x = e.operand(node)
    e.bind(node, e.mil.not_equal(x=x, y=x))


@translates(IsInf, level="decomposed")
def is_inf(e: Emission, node: Node) -> None:
    """Comparison with the infinities that are asked for."""
    x, op = e.operand(node), node.op
    results = [
        e.mil.equal(x=x, y=e.like(number, x))
        for number, wanted in ((math.inf, getattr(op, "detect_positive", 1)), (-math.inf, getattr(op, "detect_negative", 1)))
        if wanted
    ]
    if not results:
        results = [e.mil.logical_and(x=e.mil.equal(x=x, y=x), y=e.mil.not_equal(x=x, y=x))]
    e.bind(node, results[0] if len(results) == 1 else e.mil.logical_or(x=results[0], y=results[1]))


@translates(Where, dtypes=BOOLS)
def where(e: Emission, node: Node) -> None:
    """A choice by element; MIL's operands have one shape, so that smaller ones are broadcast first."""
    condition, x, y = (e.operand(node, i) for i in range(3))
    shape = node.output.tensor.static_shape
    if shape is not None:
        condition = _spread(e, condition, shape)
        x, y = (_spread(e, v, shape) for v in (x, y))
    elif any(node.inputs[i].shape != node.output.shape for i in range(3)):  # type: ignore[union-attr]
        condition, x, y = _spread_at_run_time(e, condition, x, y)
    e.bind(node, e.mil.select(cond=condition, a=x, b=y))


def _spread(e: Emission, var: Any, shape: tuple[int, ...]) -> Any:
    """A variable broadcast to a shape; scalars and constants stay small."""
    present = tuple(var.shape)
    if present == shape:
        return var
    if e.is_const(var):
        return e.const(np.ascontiguousarray(np.broadcast_to(var.val, shape)))
    missing = len(shape) - len(present)
    if missing:
        var = e.mil.expand_dims(x=var, axes=list(range(missing)))
    reps = [n if p == 1 else 1 for p, n in zip((1,) * missing + present, shape, strict=True)]
    return e.mil.tile(x=var, reps=reps) if any(r != 1 for r in reps) else var


def _spread_at_run_time(e: Emission, condition: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The operands of a choice broadcast by adding zeros of the shapes of the others; truth values travel as integers."""
    kind = e.kind(x)
    operands = [e.cast(condition, "int32"), *(_number(e, v) for v in (x, y))]
    spread = []
    for index, var in enumerate(operands):
        for other in (*operands[:index], *operands[index + 1 :]):
            if len(other.shape):
                var = e.mil.add(x=var, y=e.mil.fill_like(ref_tensor=other, value=e.like(0, var)))
        spread.append(var)
    return e.cast(spread[0], "bool"), e.cast(spread[1], kind), e.cast(spread[2], kind)


def _number(e: Emission, var: Any) -> Any:
    return e.cast(var, "int32") if e.kind(var) == "bool" else var
