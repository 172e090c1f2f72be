"""Arithmetic element by element, and conversions of element types."""

from __future__ import annotations

from typing import Any

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.binary import Add, Div, Max, Min, Mod, Mul, Pow, Sub, Sum
from ....ir.ops.cast import Cast
from ....ir.ops.unary import Abs, Ceil, Cos, Erf, Exp, Floor, Log, Neg, Reciprocal, Round, Sign, Sin, Sqrt, Tan, Tanh
from ...backend import Verdict
from ..emitter import Emitter, activation
from ..registry import emits, no
from .conditions import NUMBERS
from .movement import ANY

ACTIVATED = {Add: "ADD", Sub: "SUB", Mul: "MUL", Div: "DIV"}
UNARY = {Ceil: "CEIL", Cos: "COS", Exp: "EXP", Floor: "FLOOR", Log: "LOG", Round: "ROUND", Sin: "SIN", Tanh: "TANH"}
EXTREMES = frozenset((DType.FLOAT, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8))
CONVERTED = ANY - {DType.UINT64}
NARROW_SIGNED = frozenset((DType.FLOAT, DType.INT32))


@emits(*UNARY)
def unary(e: Emitter, node: Node) -> None:
    e.op(UNARY[type(node.op)], [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Tan, level="decomposed")
def tangent(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    e.op("DIV", [e.unary("SIN", x), e.unary("COS", x)], [e.result(node.output)], fusedActivationFunction=0)


@emits(Neg, dtypes=NUMBERS | {DType.INT8, DType.INT16})
def negation(e: Emitter, node: Node) -> None:
    e.op("NEG", [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Abs, Sign, dtypes=NARROW_SIGNED)
def magnitude_or_sign(e: Emitter, node: Node) -> None:
    e.op("ABS" if isinstance(node.op, Abs) else "SIGN", [e.operand(node.inputs[0])], [e.result(node.output)])


@emits(Abs, dtypes=frozenset((DType.INT64,)), level="decomposed")
def wide_magnitude(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    e.op("MAXIMUM", [x, e.unary("NEG", x)], [e.result(node.output)])


@emits(Sign, dtypes=frozenset((DType.INT64,)), level="decomposed")
def wide_sign(e: Emitter, node: Node) -> None:
    x = e.binary("MINIMUM", e.operand(node.inputs[0]), e.number(1, DType.INT64))
    e.op("MAXIMUM", [x, e.number(-1, DType.INT64)], [e.result(node.output)])


@emits(Sqrt)
def root(e: Emitter, node: Node) -> None:
    """SQRT, or RSQRT when a reciprocal follows."""
    x, reader = e.operand(node.inputs[0]), e.only_reader(node)
    if reader is not None and isinstance(reader.op, Reciprocal):
        e.absorb(reader)
        e.op("RSQRT", [x], [e.result(reader.output)])
        return
    e.op("SQRT", [x], [e.result(node.output)])


@emits(Reciprocal)
def reciprocal(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    y, code = e.activated(node)
    e.op("DIV", [e.number(1.0), x], [y], fusedActivationFunction=code)


@emits(Add, Sub, Mul, dtypes=NUMBERS)
@emits(Div, dtypes=NARROW_SIGNED)
def arithmetic(e: Emitter, node: Node) -> None:
    x, y = e.operand(node.inputs[0]), e.operand(node.inputs[1])
    z, code = e.activated(node)
    e.op(ACTIVATED[type(node.op)], [x, y], [z], fusedActivationFunction=code)


def _in_int32(node: Node) -> Verdict | None:
    """Quotients of int64 are computed in int32, which has to hold the operands."""
    for value in node.inputs:
        assert value is not None
        content = value.content
        if content is None or any(c is None or isinstance(c, int) and abs(c) >= 2**31 for c in content):
            return no("there is no kernel for quotients of int64, and the operands are not known to fit int32", "int64-range")
    return None


@emits(Div, dtypes=frozenset((DType.INT64,)), when=_in_int32, level="partial")
def quotient_of_sizes(e: Emitter, node: Node) -> None:
    """Sizes fit int32."""
    x, y = (e.cast(e.operand(v), DType.INT32) for v in node.inputs if v is not None)
    e.cast_into(e.binary("DIV", x, y, fusedActivationFunction=0), e.result(node.output))


@emits(Max, Min, Sum, dtypes=EXTREMES)
def variadic(e: Emitter, node: Node) -> None:
    kernel = {Max: "MAXIMUM", Min: "MINIMUM", Sum: "ADD"}[type(node.op)]
    options: dict[str, Any] = {"fusedActivationFunction": 0} if kernel == "ADD" else {}
    first, *others = (e.operand(v) for v in node.inputs)
    if not others:
        e.copy_into(first, e.result(node.output))
        return
    for other in others[:-1]:
        first = e.binary(kernel, first, other, **options)
    e.op(kernel, [first, others[-1]], [e.result(node.output)], **options)


@emits(Mod, dtypes=frozenset((DType.FLOAT, DType.INT32, DType.INT64)))
def remainder(e: Emitter, node: Node) -> None:
    """FLOOR_MOD has the sign of the divisor; with ``fmod`` the remainder has that of the dividend."""
    assert isinstance(node.op, Mod)
    x, y = (e.operand(v) for v in node.inputs)
    if not node.op.fmod:
        e.op("FLOOR_MOD", [x, y], [e.result(node.output)])
        return
    dtype = e.dtype(x)
    sizes = [e.binary("MAXIMUM", v, e.unary("NEG", v)) if dtype is DType.INT64 else e.unary("ABS", v) for v in (x, y)]
    rest = e.binary("FLOOR_MOD", sizes[0], sizes[1])
    negative = e.binary("LESS", x, e.number(0, dtype), DType.BOOL)
    e.op("SELECT_V2", [negative, e.unary("NEG", rest), rest], [e.result(node.output)])


def _exponent(node: Node) -> Verdict | None:
    exponent = node.inputs[1]
    assert exponent is not None
    if exponent.data is None and exponent.dtype not in CONVERTED:
        return no(f"there is no conversion of elements of type {exponent.dtype}", "dtype")
    return None


@emits(Pow, dtypes=NARROW_SIGNED, when=_exponent)
def power(e: Emitter, node: Node) -> None:
    base, exponent = node.inputs
    assert base is not None and exponent is not None and base.dtype is not None
    x, number = e.operand(base), _single(exponent)
    if base.dtype is DType.FLOAT and number == 2 and node.output.shape == base.shape:
        e.op("SQUARE", [x], [e.result(node.output)])
        return
    y = e.number(number, base.dtype) if number is not None else e.cast(e.operand(exponent), base.dtype)
    if number is None and exponent.data is not None:
        y = e.constant(exponent.data.numpy().astype(base.dtype.numpy))
    e.op("POW", [x, y], [e.result(node.output)])


def _single(value: object) -> float | None:
    data = getattr(value, "data", None)
    if data is None or data.shape not in ((), (1,)):
        return None
    number = data.numpy().reshape(-1)[0]
    return float(number)


def _convertible(node: Node) -> Verdict | None:
    if node.output.dtype not in CONVERTED:
        return no(f"there is no conversion to elements of type {node.output.dtype}", "dtype")
    return None


@emits(Cast, dtypes=CONVERTED, when=_convertible)
def conversion(e: Emitter, node: Node) -> None:
    x = e.operand(node.inputs[0])
    if e.dtype(x) is node.output.dtype:
        e.alias(node.output, x)
        return
    e.cast_into(x, e.result(node.output))


ERF_LIMIT = 3.95  # erf is ±1 in float32 from here on
ERF_NUMERATOR = (
    1.1283791437556,
    0.19155026835793265,
    0.05287544227931145,
    0.003808160213375673,
    0.00028468778823720754,
    2.025909552596201e-06,
)
ERF_DENOMINATOR = (1.0, 0.5030896810651503, 0.11455960748382908, 0.015055086893361484, 0.0011707256030096716, 3.783181988169533e-05)
"""``erf(x) / x`` as a quotient of polynomials in ``x²``, lowest power first: a weighted least-squares fit whose greatest relative error
over the interval is 2.1e-8; evaluated in float32 the error stays below 4e-7.
"""


@emits(Erf, level="decomposed")
def error_function(e: Emitter, node: Node) -> None:
    x = e.binary("MAXIMUM", e.number(-ERF_LIMIT), e.operand(node.inputs[0]))
    x = e.binary("MINIMUM", e.number(ERF_LIMIT), x)
    square = e.unary("SQUARE", x)
    over = e.binary("MUL", x, _polynomial(e, square, ERF_NUMERATOR), fusedActivationFunction=0)
    under = _polynomial(e, square, ERF_DENOMINATOR)
    e.op("DIV", [over, under], [e.result(node.output)], fusedActivationFunction=activation("RELU_N1_TO_1"))


def _polynomial(e: Emitter, x: int, coefficients: tuple[float, ...]) -> int:
    """A polynomial by Horner's rule; coefficients from the lowest power on."""
    y = e.number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        y = e.binary("MUL", x, y, fusedActivationFunction=0)
        y = e.binary("ADD", y, e.number(coefficient), fusedActivationFunction=0)
    return y
