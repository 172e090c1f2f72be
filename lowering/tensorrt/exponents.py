"""Rounding to powers of two, the numbers of float8e8m0, in float32."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Value
from ...ir.ops.activation import Clip
from ...ir.ops.cast import Cast
from ...ir.ops.gather import Gather
from ...ir.ops.logical import Or
from ...ir.ops.unary import IsNaN
from ...passes.decompose.terms import Terms

LEAST, GREATEST = -127, 127
"""The exponents of float8e8m0. Its least number is a subnormal one of float32."""


def power_of_two(t: Terms, x: Value, op: Cast) -> Value:
    """A float32 value as the power of two that a cast to float8e8m0 makes of it; the sign is lost, zero becomes the least power.

    The place among the powers comes from a logarithm and is corrected by comparison.
    """
    beyond = 2.0**GREATEST if op.saturate else np.nan
    table = t.constant(np.array([2.0**exponent for exponent in range(LEAST, GREATEST + 1)] + [beyond], np.float32))

    def at(place: Value) -> Value:
        return t.apply(Gather(axis=0), table, place)

    size = t.abs(x)
    inside = t.min(t.max(size, 2.0 ** (LEAST + 1)), float(np.finfo(np.float32).max))
    floor = t.cast(t.floor(t.mul(t.log(inside), float(1 / np.log(2)))), DType.INT32)
    place = t.apply(Clip(), t.sub(floor, LEAST), t.like(0, floor), t.like(GREATEST - LEAST, floor))
    below = t.cast(t.less(size, at(place)), DType.INT32)
    place = t.max(t.sub(place, below), 0)
    upper = t.add(place, 1)
    reached = t.both(t.less(upper, GREATEST - LEAST + 1), t.at_least(size, at(t.min(upper, GREATEST - LEAST))))
    place = t.where(reached, upper, place)
    if op.round_mode != "down":
        lower = at(place)
        carried = t.greater(size, lower)
        if op.round_mode == "nearest":
            half = t.at_least(t.mul(size, 0.5), t.mul(lower, 0.75))
            carried = t.both(carried, t.apply(Or(), t.less(lower, 2.0 ** (LEAST + 1)), half))
        place = t.add(place, t.cast(carried, DType.INT32))
    result = at(place)
    if not op.saturate:
        result = t.where(t.equal(size, 0.0), float("nan"), t.where(t.equal(size, float("inf")), float("nan"), result))
    return t.where(t.apply(IsNaN(), x), x, result)
