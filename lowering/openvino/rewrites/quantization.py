"""Quotients that are rounded: OpenVINO multiplies by the reciprocal of the divisor, which misses ties and whole numbers."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Clip
from ....ir.ops.binary import Div
from ....ir.ops.cast import Cast
from ....ir.ops.gather import Gather
from ....ir.ops.quantize import DynamicQuantizeLinear, QuantizeLinear
from ....ir.ops.reduction import ReduceMax, ReduceMin
from ....ir.ops.unary import Ceil, Floor, Round
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ....passes.values import element_count, uniform_number
from .functions import EXACT, GROUP

SPLITTER = 4097.0  # 2**12 + 1: cuts a float32 into two halves of 12 bits
UNLIKE = (DType.FLOAT4E2M1, DType.FLOAT8E4M3FNUZ, DType.FLOAT8E5M2FNUZ, DType.INT2, DType.UINT2)
LARGEST = 1e30  # quotients beyond this, which are whole numbers anyway, cannot be cut without overflow


@rewrites_op(Round, Floor, Ceil, Cast, name="openvino-exact-quotient", group=GROUP)
def exact_quotient(node: Node, b: Rewriter) -> Result:
    """A quotient that is rounded to a whole number afterwards is corrected first: whole numbers and ties must be met."""
    quotient = node.inputs[0]
    if isinstance(node.op, Cast) and not node.op.to.is_integer or quotient is None or quotient.producer is None:
        return None
    division = quotient.producer
    if not isinstance(division.op, Div) or quotient.dtype is None or not quotient.dtype.is_float:
        return None
    x, divisor = division.inputs
    assert x is not None and divisor is not None
    number = uniform_number(divisor)
    if isinstance(number, float) and _is_power_of_two(number):
        return None  # the reciprocal of a power of two is exact
    t = Terms(b)
    exact = exactly_divided(t, t.cast(x, DType.FLOAT), t.cast(divisor, DType.FLOAT))
    return t.apply(node.op, t.cast(exact, quotient.dtype))


def exactly_divided(t: Terms, x: Value, y: Value) -> Value:
    """``x / y`` in float32, correctly rounded.

    OpenVINO multiplies by the reciprocal of the divisor, which is off by one unit in the last place in four of ten
    cases. The remainder ``x - quotient * y`` is computed exactly, by products of halves, and corrects the quotient.
    """
    quotient = t.div(x, y)
    product = t.mul(quotient, y)
    (q_high, q_low), (y_high, y_low) = _halves(t, quotient), _halves(t, y)
    missing = t.sub(product, t.mul(q_high, y_high))
    for part in (t.mul(q_high, y_low), t.mul(q_low, y_high), t.mul(q_low, y_low)):
        missing = t.sub(missing, part)  # in the end: the rounded product less the exact one
    remainder = t.add(t.sub(x, product), missing)
    corrected = t.sub(quotient, t.neg(t.div(remainder, y)))
    return t.where(t.less(t.abs(quotient), LARGEST), corrected, quotient)


def _halves(t: Terms, x: Value) -> tuple[Value, Value]:
    large = t.mul(x, SPLITTER)
    high = t.sub(large, t.sub(large, x))
    return high, t.sub(x, high)


@rewrites_op(DynamicQuantizeLinear, name="openvino-dynamic-quantize", group=GROUP)
def dynamic_quantize(node: Node, b: Rewriter) -> Result:
    """DynamicQuantizeLinear is spelled out with correctly rounded quotients."""
    x = node.inputs[0]
    assert x is not None
    t = Terms(b)
    low = t.min(t.apply(ReduceMin(keepdims=0), x), 0.0)
    high = t.max(t.apply(ReduceMax(keepdims=0), x), 0.0)
    scale = t.div(t.sub(high, low), 255.0)
    bounds = (t.constant(0.0, DType.FLOAT), t.constant(255.0, DType.FLOAT))
    zero = t.apply(Round(), t.apply(Clip(), t.div(t.sub(t.constant(0.0, DType.FLOAT), low), scale), *bounds))
    levels = t.add(t.apply(Round(), exactly_divided(t, x, scale)), zero)
    return t.cast(t.apply(Clip(), levels, *bounds), DType.UINT8), scale, t.cast(zero, DType.UINT8)


@rewrites_op(QuantizeLinear, name="openvino-quantize", group=GROUP)
def quantize(node: Node, b: Rewriter) -> Result:
    """Quantisation by blocks without a zero point, by computed parameters, and to float4: divide, round, clip, cast."""
    op, _, scale, zero = node.op, *(node.operand(i) for i in range(3))
    assert isinstance(op, QuantizeLinear) and scale is not None
    computed = scale.data is None or zero is not None and zero.data is None
    unlike = op.block_size and zero is None or node.outputs[0].dtype in UNLIKE
    return _spelled_out(op, node, Terms(b)) if computed or unlike else None


@rewrites_op(QuantizeLinear, name="openvino-exact-quantize", group=EXACT)
def exact_quantize(node: Node, b: Rewriter) -> Result:
    """Quantisation in float32 arithmetic is spelled out: OpenVINO rounds after adding the zero point, which moves ties."""
    op = node.op
    assert isinstance(op, QuantizeLinear)
    return _spelled_out(op, node, Terms(b))


def _spelled_out(op: QuantizeLinear, node: Node, t: Terms) -> Result:
    x, scale, zero = (node.operand(i) for i in range(3))
    assert x is not None and scale is not None
    target = node.outputs[0].tensor.dtype
    if x.rank is None or scale.rank is None:
        return Decline("the rank is not known")
    if op.precision not in (None, DType.FLOAT) or x.dtype is DType.INT32:
        return None
    try:
        wide = _along_axis(t, op, x, t.cast(scale, DType.FLOAT))
        offset = None if zero is None else _along_axis(t, op, x, t.cast(zero, DType.FLOAT))
    except LookupError:
        return Decline("the blocked dimension is not known")
    number = uniform_number(wide)
    wide_x = t.cast(x, DType.FLOAT)
    if isinstance(number, float) and _is_power_of_two(number):
        quotient = t.div(wide_x, wide)
    else:
        quotient = exactly_divided(t, wide_x, wide)
    if not target.is_integer:
        return t.apply(Cast(target, saturate=op.saturate), quotient if offset is None else t.add(quotient, offset))
    levels = t.apply(Round(), quotient)
    if offset is not None:
        levels = t.add(levels, offset)
    low = -(1 << (target.bits - 1)) if target.is_signed_integer else 0
    return t.cast(t.apply(Clip(), levels, t.like(low, wide), t.like(low + (1 << target.bits) - 1, wide)), target)


def _along_axis(t: Terms, op: QuantizeLinear, x: Value, parameter: Value) -> Value:
    """Scales or zero points in a shape that broadcasts against x; LookupError when a blocked dimension is not known."""
    rank = x.rank or 0
    axis = op.axis % rank if rank else 0
    if op.block_size:
        length = x.shape[axis] if x.shape is not None else None
        if not isinstance(length, int):
            raise LookupError
        return t.apply(Gather(axis=axis), parameter, t.ints([i // op.block_size for i in range(length)]))
    if parameter.rank == 1 and element_count(parameter) != 1:
        return t.reshape(parameter, [-1] + [1] * (rank - axis - 1))
    return t.reshape(parameter, []) if parameter.rank else parameter


def _is_power_of_two(number: float) -> bool:
    return bool(number) and np.frexp(abs(number))[0] == 0.5
