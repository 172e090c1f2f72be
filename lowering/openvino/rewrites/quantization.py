"""Quotients that are rounded: OpenVINO multiplies by the reciprocal of a scalar divisor, which misses ties and whole numbers."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Clip
from ....ir.ops.binary import Div
from ....ir.ops.cast import Cast
from ....ir.ops.gather import Gather
from ....ir.ops.quantize import DynamicQuantizeLinear, QuantizeLinear
from ....ir.ops.reduction import ReduceMax, ReduceMin
from ....ir.ops.unary import Ceil, Floor, IsNaN, Round
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ....passes.values import element_count
from .functions import GROUP
from .numbers import FLOAT8_MAX


@rewrites_op(Round, Floor, Ceil, Cast, name="openvino-exact-quotient", group=GROUP)
def exact_quotient(node: Node, b: Rewriter) -> Result:
    """A quotient that is rounded afterwards gets a divisor of the dividend's shape, for which OpenVINO really divides."""
    quotient = node.inputs[0]
    if isinstance(node.op, Cast) and not node.op.to.is_integer or quotient is None or quotient.producer is None:
        return None
    division = quotient.producer
    if not isinstance(division.op, Div) or quotient.dtype is None or not quotient.dtype.is_float:
        return None
    x, divisor = division.inputs
    if x is None or divisor is None or x.data is not None or element_count(divisor) != 1 or element_count(x) == 1:
        return None
    t = Terms(b)
    return t.apply(node.op, exactly_divided(t, x, divisor))


def exactly_divided(t: Terms, x: Value, divisor: Value) -> Value:
    """``x / divisor`` correctly rounded. The selection keeps OpenVINO from seeing that the divisor is uniform."""
    return t.div(x, t.where(t.apply(IsNaN(), x), x, divisor))


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
    """Quantisation by blocks without a zero point, and to float4: divide, round, clip, cast."""
    op, x, scale, zero = node.op, *(node.operand(i) for i in range(3))
    assert isinstance(op, QuantizeLinear) and x is not None and scale is not None
    target = node.outputs[0].tensor.dtype
    blocked = op.block_size and zero is None
    if not blocked and target is not DType.FLOAT4E2M1:
        return None
    if x.rank is None or scale.rank is None:
        return Decline("the rank is not known")
    t = Terms(b)
    axis = op.axis % x.rank if x.rank else 0
    wide = t.cast(scale, DType.FLOAT)
    if op.block_size:
        length = x.shape[axis] if x.shape is not None else None
        if not isinstance(length, int):
            return Decline("the blocked dimension is not known")
        wide = t.apply(Gather(axis=axis), wide, t.ints([i // op.block_size for i in range(length)]))
    elif scale.rank == 1 and element_count(scale) != 1:
        wide = t.reshape(wide, [-1] + [1] * (x.rank - axis - 1))
    quotient = exactly_divided(t, t.cast(x, DType.FLOAT), wide)
    if not target.is_integer:
        if zero is not None and not _is_zero(zero):
            return Decline("the zero point of a floating-point type is not zero")
        return t.apply(Cast(target, saturate=op.saturate), quotient) if target in FLOAT8_MAX or target is DType.FLOAT4E2M1 else None
    low = -(1 << (target.bits - 1)) if target.is_signed_integer else 0
    levels = t.apply(Clip(), t.apply(Round(), quotient), t.like(low, wide), t.like(low + (1 << target.bits) - 1, wide))
    return t.cast(levels, target)


def _is_zero(value: Value) -> bool:
    return value.data is not None and not value.data.numpy().astype("float32").any()
