"""Inverse trigonometric and hyperbolic functions."""

from __future__ import annotations

import math

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.unary import Acos, Acosh, Asin, Asinh, Atan, Atanh, Cosh, Sinh
from ..emitter import Emitter
from ..registry import emits
from .activation import log_one_plus

LARGE = 1e9  # from here on sqrt(x² ± 1) is x in float32
LOG_TWO = math.log(2)


def _add(e: Emitter, x: int, y: int) -> int:
    return e.binary("ADD", x, y, fusedActivationFunction=0)


def _sub(e: Emitter, x: int, y: int) -> int:
    return e.binary("SUB", x, y, fusedActivationFunction=0)


def _mul(e: Emitter, x: int, y: int) -> int:
    return e.binary("MUL", x, y, fusedActivationFunction=0)


def _div(e: Emitter, x: int, y: int) -> int:
    return e.binary("DIV", x, y, fusedActivationFunction=0)


@emits(Atan, Asin, Acos)
def inverse(e: Emitter, node: Node) -> None:
    """ATAN2 of the sine and the cosine; the operands of the kernel have one shape."""
    x = e.operand(node.inputs[0])
    shape = e.shape(x)
    if isinstance(node.op, Atan):
        one = e.temporary(shape, DType.FLOAT)
        e.op("FILL", [e.shape_of(x), e.number(1.0)], [one])
        e.op("ATAN2", [x, one], [e.result(node.output)])
        return
    one = e.number(1.0)
    other = e.unary("SQRT", _mul(e, _sub(e, one, x), _add(e, one, x)))
    operands = [x, other] if isinstance(node.op, Asin) else [other, x]
    e.op("ATAN2", operands, [e.result(node.output)])


def _halves(e: Emitter, x: int) -> tuple[int, int, int]:
    """For ``a = |x|``: ``a``, ``exp(a / 2)``, and ``exp(-a) - 1`` without cancellation."""
    a = e.unary("ABS", x)
    return a, e.unary("EXP", _mul(e, a, e.number(0.5))), e.unary("ELU", e.unary("NEG", a))


@emits(Sinh, level="decomposed")
def sinh(e: Emitter, node: Node) -> None:
    """``exp(a) (1 - exp(-2a)) / 2`` with the sign of the operand; the exponential comes in two halves, which do not overflow first."""
    x = e.operand(node.inputs[0])
    _, root, m = _halves(e, x)
    rest = _mul(e, m, _add(e, m, e.number(2.0)))  # exp(-2a) - 1
    size = _mul(e, _mul(e, root, _mul(e, rest, e.number(-0.5))), root)
    e.op("MUL", [e.unary("SIGN", x), size], [e.result(node.output)], fusedActivationFunction=0)


@emits(Cosh, level="decomposed")
def cosh(e: Emitter, node: Node) -> None:
    """``(exp(a) + exp(-a)) / 2``."""
    _, root, m = _halves(e, e.operand(node.inputs[0]))
    grows = _mul(e, _mul(e, root, e.number(0.5)), root)
    falls = _mul(e, _add(e, m, e.number(1.0)), e.number(0.5))
    e.op("ADD", [grows, falls], [e.result(node.output)], fusedActivationFunction=0)


def _for_large(e: Emitter, x: int, small: int, result: int) -> None:
    """Write ``log(2x)`` where ``x`` is large, and ``small`` elsewhere."""
    large = e.binary("GREATER", x, e.number(LARGE), DType.BOOL)
    e.op("SELECT_V2", [large, _add(e, e.unary("LOG", x), e.number(LOG_TWO)), small], [result])


@emits(Asinh, level="decomposed")
def asinh(e: Emitter, node: Node) -> None:
    """``log(1 + a + a² / (1 + sqrt(a² + 1)))`` with the sign of the operand."""
    x = e.operand(node.inputs[0])
    a, one = e.unary("ABS", x), e.number(1.0)
    near = e.binary("MINIMUM", e.number(LARGE), a)
    square = e.unary("SQUARE", near)
    root = e.unary("SQRT", _add(e, square, one))
    size = e.temporary(e.shape(x), DType.FLOAT)
    _for_large(e, a, log_one_plus(e, _add(e, near, _div(e, square, _add(e, root, one)))), size)
    e.op("MUL", [e.unary("SIGN", x), size], [e.result(node.output)], fusedActivationFunction=0)


@emits(Acosh, level="decomposed")
def acosh(e: Emitter, node: Node) -> None:
    """``log(1 + t + sqrt(t (t + 2)))`` with ``t = x - 1``."""
    x = e.operand(node.inputs[0])
    t = _sub(e, e.binary("MINIMUM", e.number(LARGE), x), e.number(1.0))
    root = e.unary("SQRT", _mul(e, t, _add(e, t, e.number(2.0))))
    _for_large(e, x, log_one_plus(e, _add(e, t, root)), e.result(node.output))


@emits(Atanh, level="decomposed")
def atanh(e: Emitter, node: Node) -> None:
    """``(log(1 + x) - log(1 - x)) / 2``."""
    x = e.operand(node.inputs[0])
    difference = _sub(e, log_one_plus(e, x), log_one_plus(e, e.unary("NEG", x)))
    e.op("MUL", [difference, e.number(0.5)], [e.result(node.output)], fusedActivationFunction=0)
