"""Conversions of element types."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.cast import Cast
from ..carriers import CARRIERS
from .context import Emission
from .small_floats import GRIDS, on_grid
from .translation import MOVABLE, NARROW, Obstacle, translates


def _target(node: Node) -> Obstacle | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Cast) and x is not None
    if op.to not in CARRIERS:
        return Obstacle("dtype", f"ML programs have no elements of type {op.to}")
    if x.dtype is DType.UINT32 and op.to is DType.INT32:
        return Obstacle("dtype", "numbers beyond 2^31-1 would have to wrap around")
    if op.to in (DType.UINT32, DType.UINT64) and x.dtype not in (op.to, DType.BOOL, DType.UINT8, DType.UINT16, DType.UINT32):
        return Obstacle("dtype", "unsigned integers of 32 and more bits cannot be made from numbers that may be negative")
    return None


@translates(Cast, dtypes=MOVABLE | {DType.DOUBLE}, when=_target)
def cast(e: Emission, node: Node) -> None:
    """A conversion between carriers; what is not zero is true, and narrow integers wrap around."""
    op, x, source = node.op, e.operand(node), e.required(node).dtype
    assert isinstance(op, Cast) and source is not None
    grid = GRIDS.get(op.to)
    if grid is not None and source is not op.to:
        e.bind(node, on_grid(e, e.cast(x, "fp32"), grid, bool(op.saturate)))
    else:
        e.bind(node, convert(e, x, source, op.to))


def convert(e: Emission, x: Any, source: DType, target: DType) -> Any:
    """The elements of one ONNX type in the carrier of another."""
    kind = CARRIERS[target]
    if target is DType.BOOL:
        return e.mil.identity(x=x) if source is DType.BOOL else e.mil.not_equal(x=x, y=e.like(0, x))
    result = e.mil.cast(x=x, dtype=kind) if e.kind(x) != kind else x
    if target in NARROW and source is not DType.BOOL and not _contains(target, source) and (source.is_integer or target.bits < 8):
        result = wrapped(e, result, target)
    return result if result is not x else e.mil.identity(x=x)


def _contains(target: DType, source: DType) -> bool:
    low, high = bounds(target)
    if source not in NARROW:
        return False
    least, most = bounds(source)
    return low <= least and most <= high


def bounds(dtype: DType) -> tuple[int, int]:
    if dtype.is_signed_integer:
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return 0, (1 << dtype.bits) - 1


def wrapped(e: Emission, x: Any, target: DType) -> Any:
    """An int32 reduced to the range of a narrow type, modulo its number of values."""
    low, _ = bounds(target)
    span = np.int32(1 << target.bits)
    shifted = e.mil.sub(x=x, y=np.int32(low)) if low else x
    turns = e.mil.mul(x=e.mil.floor_div(x=shifted, y=span), y=span)
    return e.mil.sub(x=x, y=turns)
