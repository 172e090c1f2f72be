"""Rounding to 8-bit and 4-bit floats. OpenVINO converts by way of float16, which rounds twice, and neither saturates nor keeps NaN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Clip
from ....ir.ops.cast import Cast
from ....ir.ops.gather import Gather
from ....ir.ops.unary import IsNaN
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .functions import GROUP


@dataclass(frozen=True)
class Grid:
    """The finite values of a small float: stored mantissa bits, least normal exponent, greatest value, and whether
    numbers beyond become infinite (or NaN).
    """

    mantissa: int
    least_exponent: int
    greatest: float
    infinite: bool = False


GRIDS = {
    DType.FLOAT8E4M3FN: Grid(3, -6, 448.0),
    DType.FLOAT8E5M2: Grid(2, -14, 57344.0, True),
    DType.FLOAT8E4M3FNUZ: Grid(3, -7, 240.0),
    DType.FLOAT8E5M2FNUZ: Grid(2, -15, 57344.0),
}


def on_grid(t: Terms, x: Value, grid: Grid, saturate: bool) -> Value:
    """A float32 value rounded (ties to even) to the nearest number of a small float, still as float32."""
    size = t.abs(x)
    low, high = 2.0**grid.least_exponent, 2.0 * grid.greatest
    limited = t.min(size, grid.greatest if saturate else high)
    inside = t.max(limited, low)
    top = int(np.floor(np.log2(high)))
    powers = 2.0 ** np.arange(grid.least_exponent, top + 1)
    exponent = t.cast(t.floor(t.mul(t.log(inside), float(1 / np.log(2)))), DType.INT32)
    place = t.apply(Clip(), t.sub(exponent, grid.least_exponent), t.like(0, exponent), t.like(len(powers) - 1, exponent))
    power = t.apply(Gather(axis=0), t.constant(powers.astype(np.float32)), place)  # correct up to one step
    power = t.where(t.at_least(inside, t.mul(power, 2.0)), t.mul(power, 2.0), power)
    power = t.where(t.less(inside, power), t.mul(power, 0.5), power)
    shift = t.mul(power, 2.0 ** (23 - grid.mantissa))  # adding it leaves no bits below the last of the grid
    rounded = t.sub(t.add(limited, shift), shift)
    if not saturate:
        beyond = t.constant(np.inf if grid.infinite else np.nan, DType.FLOAT)
        rounded = t.where(t.greater(rounded, grid.greatest), beyond, rounded)
    signed = t.where(t.less(x, 0.0), t.neg(rounded), rounded)
    return t.where(t.apply(IsNaN(), x), x, signed)


@rewrites_op(Cast, name="openvino-cast-float8", group=GROUP)
def cast_float8(node: Node, b: Rewriter) -> Result:
    """Casts to 8-bit floats round once and saturate; what the importer then converts is exact."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Cast) and x is not None and x.dtype is not None
    if op.to not in (DType.FLOAT8E4M3FN, DType.FLOAT8E5M2) or not x.dtype.is_float or x.data is not None or _is_selected(x):
        return None
    t = Terms(b)
    return t.apply(Cast(op.to, saturate=0), on_grid(t, t.cast(x, DType.FLOAT), GRIDS[op.to], bool(op.saturate)))


@rewrites_op(Cast, name="openvino-cast-float4", group=GROUP)
def cast_float4(node: Node, b: Rewriter) -> Result:
    """What is no number becomes zero as float4."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Cast) and x is not None and x.dtype is not None
    if op.to is not DType.FLOAT4E2M1 or not x.dtype.is_float or x.data is not None or _is_selected(x):
        return None
    t = Terms(b)
    wide = t.cast(x, DType.FLOAT)
    return t.apply(op, t.where(t.apply(IsNaN(), wide), 0.0, wide))


def _is_selected(x: Value) -> bool:
    """Whether a value is what these rules put in front of a cast."""
    producer = x.producer
    condition = producer.inputs[0] if producer is not None and producer.op.op_name == "Where" else None
    return condition is not None and condition.producer is not None and isinstance(condition.producer.op, IsNaN)
