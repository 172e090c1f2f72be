"""Floats of 8 and 16 bits that MIL lacks: float32 whose values are rounded to theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from .context import Emission

_TINY = 2.0**-80
_SCALED_FROM = 2.0**40


@dataclass(frozen=True)
class Grid:
    """The finite values of a small float.

    Attributes:
        mantissa: stored mantissa bits.
        least: exponent of the least normal number.
        greatest: the greatest finite number.
        infinite: whether what lies beyond is infinite (else it is NaN).
        saturates: whether casts may clamp to the greatest number.
    """

    mantissa: int
    least: int
    greatest: float
    infinite: bool = False
    saturates: bool = True


GRIDS = {
    DType.BFLOAT16: Grid(7, -126, float.fromhex("0x1.fep127"), True, False),
    DType.FLOAT8E4M3FN: Grid(3, -6, 448.0),
    DType.FLOAT8E5M2: Grid(2, -14, 57344.0, True),
    DType.FLOAT8E4M3FNUZ: Grid(3, -7, 240.0),
    DType.FLOAT8E5M2FNUZ: Grid(2, -15, 57344.0),
}


def on_grid(e: Emission, x: Any, grid: Grid, saturate: bool) -> Any:
    """A float32 rounded to the nearest number of a grid, ties to even.

    The power of two below the number is looked up by a logarithm and corrected by comparison; adding and subtracting a multiple of it
    leaves no bits below the last of the grid.
    """
    mil, one = e.mil, np.float32

    def everywhere(number: float) -> Any:
        return mil.fill_like(ref_tensor=x, value=one(number))  # the branches of select have one shape

    known = mil.equal(x=x, y=x)
    size = mil.select(cond=known, a=mil.abs(x=x), b=everywhere(1))
    wide = grid.greatest > 2.0**100
    scale = mil.select(cond=mil.greater(x=size, y=one(_SCALED_FROM)), a=everywhere(_TINY), b=everywhere(1)) if wide else None
    small = mil.mul(x=size, y=scale) if wide else size
    top = 48 if wide else math.floor(math.log2(grid.greatest)) + 1
    powers = (2.0 ** np.arange(grid.least, top + 1)).astype(np.float32)
    limit = one(2.0**top) if wide else one(grid.greatest if saturate and grid.saturates else 2.0**top)
    limited = mil.minimum(x=small, y=limit)
    inside = mil.maximum(x=limited, y=powers[0])
    exponent = mil.cast(x=mil.floor(x=mil.mul(x=mil.log(x=inside, epsilon=one(0)), y=one(1 / math.log(2)))), dtype="int32")
    place = mil.minimum(x=mil.maximum(x=mil.sub(x=exponent, y=np.int32(grid.least)), y=np.int32(0)), y=np.int32(len(powers) - 1))
    power = mil.gather(x=powers, indices=place, axis=0)
    doubled = mil.mul(x=power, y=one(2))
    power = mil.select(cond=mil.greater_equal(x=inside, y=doubled), a=doubled, b=power)
    power = mil.select(cond=mil.less(x=inside, y=power), a=mil.mul(x=power, y=one(0.5)), b=power)
    shift = mil.mul(x=power, y=one(2.0 ** (23 - grid.mantissa)))
    rounded = mil.sub(x=mil.add(x=limited, y=shift), y=shift)
    if wide:
        rounded = mil.real_div(x=rounded, y=scale)
        rounded = mil.select(cond=mil.equal(x=size, y=one(np.inf)), a=size, b=rounded)
    elif not saturate:
        beyond = everywhere(np.inf if grid.infinite else np.nan)
        rounded = mil.select(cond=mil.greater(x=rounded, y=one(grid.greatest)), a=beyond, b=rounded)
    signed = mil.select(cond=mil.less(x=x, y=one(0)), a=mil.mul(x=rounded, y=one(-1)), b=rounded)
    return mil.select(cond=known, a=signed, b=x)
