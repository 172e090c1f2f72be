"""How much error is normal: by element type, by reduction length and by depth.

The model is the standard one of rounding analysis with random signs. A layer that stores its result in a type
with unit roundoff ``u`` and accumulates ``n`` products with unit roundoff ``u_acc`` has a relative error near
``u + u_acc * sqrt(n)``; over ``d`` layers the errors add like a random walk, ``sqrt(d)``. `MARGIN` covers
constants, and a floor per accumulator covers elementary functions, whose implementations differ by several
units in the last place. Quantised types have no unit roundoff: there the figure is the step relative to the
root mean square of a bell-shaped tensor that spans the range.
"""

from __future__ import annotations

import math

from ..ir.dtypes import DType

MARGIN = 8.0

# Unit roundoff 2**-(p) of each floating-point type with p significant bits.
_ROUNDOFF = {
    DType.DOUBLE: 2.0**-53,
    DType.FLOAT: 2.0**-24,
    DType.FLOAT16: 2.0**-11,
    DType.BFLOAT16: 2.0**-8,
    DType.FLOAT8E4M3FN: 2.0**-4,
    DType.FLOAT8E4M3FNUZ: 2.0**-4,
    DType.FLOAT8E5M2: 2.0**-3,
    DType.FLOAT8E5M2FNUZ: 2.0**-3,
    DType.FLOAT8E8M0: 2.0**-1,
    DType.FLOAT6E2M3: 2.0**-4,
    DType.FLOAT6E3M2: 2.0**-3,
    DType.FLOAT4E2M1: 2.0**-2,
    DType.COMPLEX64: 2.0**-24,
    DType.COMPLEX128: 2.0**-53,
}
# Least tolerance of a layer, for elementary functions and reassociation: multiples of the roundoff of the
# accumulator.
_FLOOR = {DType.DOUBLE: 64 * 2.0**-53, DType.FLOAT: 64 * 2.0**-24}


def resolution(dtype: DType) -> float:
    """The relative error that storing a tensor in this type causes.

    For integers of ``b`` bits that hold a quantised bell-shaped tensor spanning 8 standard deviations: 8 /
    (2**b - 1) / sqrt(12).

    >>> resolution(DType.FLOAT16), round(resolution(DType.INT8), 4)
    (0.00048828125, 0.0091)
    """
    found = _ROUNDOFF.get(dtype)
    if found is not None:
        return found
    return 8 / (2.0 ** min(dtype.bits, 64) - 1) / math.sqrt(12) if dtype.bits > 1 and dtype.is_integer else 0.0


def accumulator(dtype: DType) -> DType:
    """The type in which runtimes accumulate sums over elements of this type."""
    return DType.DOUBLE if dtype in (DType.DOUBLE, DType.COMPLEX128) else DType.FLOAT


def tolerance(dtype: DType, *, length: int = 1, depth: int = 1, scale: float = 1.0) -> float:
    """The relative error ||a-b|| / ||a|| up to which two computations of a tensor count as the same.

    Args:
        dtype: the coarsest type that took part on either side and not on both.
        length: the longest sum (reduction, matrix product, convolution) in the layer.
        depth: layers that contributed error: 1 for the isolated error of one layer.
        scale: the user's own factor on everything.

    >>> tolerance(DType.FLOAT) < 1e-5 < 1e-3 < tolerance(DType.FLOAT16) < tolerance(DType.INT8) < 0.1
    True
    >>> tolerance(DType.FLOAT, length=4096, depth=16) == 4 * tolerance(DType.FLOAT, length=4096)
    True
    """
    sums = accumulator(dtype)
    stored = resolution(dtype) if dtype is not sums else 0.0
    if dtype.is_integer:
        # the figure is a root mean square already, and ranges are seldom wasteful by more
        margin_stored = 4.0 * stored
    else:
        margin_stored = MARGIN * stored
    layer = margin_stored + max(MARGIN * _ROUNDOFF[sums] * math.sqrt(max(length, 1)), _FLOOR[sums])
    return scale * layer * math.sqrt(max(depth, 1))
