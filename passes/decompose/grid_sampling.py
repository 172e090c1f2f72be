"""Reading images at computed positions: rows of a table, gathered and weighted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.binary import Max, Min
from ...ir.ops.cast import Cast
from ...ir.ops.unary import Round
from ...ir.ops.vision import GridSample
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-grid-sampling"
MAX_ROWS = 1 << 24
_CUBIC = -0.75

Tap = tuple[Value, Value | None]  # the place of a neighbour, as a float, and its weight (None: one)


@decomposes(GridSample, name="decompose-grid-sample", group=GROUP)
def grid_sample(node: Node, t: Terms) -> Result:
    """The image as a table with one row per place; the rows under the taps of every axis are gathered, weighted and summed."""
    op, x, grid = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, GridSample) and x is not None and grid is not None
    shape, places = x.tensor.static_shape, grid.tensor.static_shape
    if shape is None or places is None:
        return Decline("the sizes of image and grid are not known")
    if x.dtype is None or not x.dtype.is_float:
        return Decline("only floating-point images")
    batch, channels, *spatial = shape
    rank, total, count = len(spatial), math.prod(spatial), math.prod(places[1:-1])
    if batch * total >= MAX_ROWS:
        return Decline("float32 does not count the places of so large an image")
    wide = t.widen(x)
    rows = t.reshape(t.transpose(wide, (0, *range(2, rank + 2), 1)), [batch * total, channels])
    points = t.reshape(t.widen(grid), [batch, count, rank])
    columns = t.halves(points, 2, [1] * rank) if rank > 1 else (points,)
    taps = [_taps(t, op, columns[rank - 1 - axis], size) for axis, size in enumerate(spatial)]
    dtype = columns[0].dtype or DType.FLOAT
    first = t.constant((np.arange(batch) * total).reshape(batch, 1, 1).astype(dtype.numpy), dtype) if batch > 1 else None
    result: Value | None = None
    for combination in itertools.product(*taps):
        row, weight = _row(t, combination, spatial)
        row = row if first is None else t.add(row, first)
        part = t.take(rows, t.squeeze(t.apply(Cast(to=DType.INT64), row), [2]), 0)
        if weight is not None:
            part = t.mul(part, t.cast(weight, wide.dtype))
        result = part if result is None else t.add(result, part)
    assert result is not None
    return t.cast(t.reshape(t.transpose(result, (0, 2, 1)), [batch, channels, *places[1:-1]]), node.output.dtype)


def _row(t: Terms, combination: Sequence[Tap], spatial: Sequence[int]) -> tuple[Value, Value | None]:
    """The row of one neighbour, counted over all axes, and the product of its weights."""
    row: Value | None = None
    weight: Value | None = None
    for (place, factor), size in zip(combination, spatial, strict=True):
        row = place if row is None else t.add(t.mul(row, size), place)
        if factor is not None:
            weight = factor if weight is None else t.mul(weight, factor)
    assert row is not None
    return row, weight


def _taps(t: Terms, op: GridSample, place: Value, size: int) -> list[Tap]:
    """The neighbours of normalised positions along one axis, inside of the image."""
    low, high = (0.0, size - 1.0) if op.align_corners else (-0.5, size - 0.5)
    moved = t.add(place, 1.0)
    position = t.mul(t.div(moved, 2.0), size - 1.0) if op.align_corners else t.div(t.sub(t.mul(moved, float(size)), 1.0), 2.0)
    if op.mode == "nearest":
        position = t.apply(Round(), position)
    if op.mode != "cubic":  # cubic weights belong to the true position; its taps are moved instead
        if op.padding_mode == "border":
            position = _clipped(t, position, size)
        elif op.padding_mode == "reflection":
            position = _reflected(t, position, low, high)
    if op.mode == "nearest":
        found: list[Tap] = [(t.apply(Round(), position), None)]
    else:
        below = t.floor(position)
        fraction = t.sub(position, below)
        if op.mode == "linear":
            found = [(below, t.sub(1.0, fraction)), (t.add(below, 1.0), fraction)]
        else:
            found = [(t.add(below, float(offset)), _cubic(t, fraction, offset)) for offset in (-1, 0, 1, 2)]
    return [_inside(t, tap, size, op.padding_mode, low, high) for tap in found]


def _inside(t: Terms, tap: Tap, size: int, padding: str, low: float, high: float) -> Tap:
    """A neighbour moved into the image; with zeros around it, its weight is zero outside."""
    place, weight = tap
    if padding == "reflection":
        place = _reflected(t, place, low, high)
    inside = _clipped(t, place, size)
    if padding == "zeros":
        hit = t.equal(place, inside)
        weight = t.apply(Cast(to=place.dtype or DType.FLOAT), hit) if weight is None else t.where(hit, weight, 0.0)
    return inside, weight


def _clipped(t: Terms, place: Value, size: int) -> Value:
    return t.apply(Min(), t.apply(Max(), place, t.like(0.0, place)), t.like(size - 1.0, place))


def _reflected(t: Terms, place: Value, low: float, high: float) -> Value:
    """Positions mirrored at the two borders until they lie between them; those inside stay as they are."""
    span = high - low
    if span <= 0:
        return t.add(t.mul(place, 0.0), low)
    distance = t.abs(t.sub(place, low))
    rest = t.sub(distance, t.mul(t.floor(t.div(distance, 2 * span)), 2 * span))
    folded = t.add(t.where(t.greater(rest, span), t.sub(2 * span, rest), rest), low)
    return t.where(t.both(t.at_least(place, low), t.at_most(place, high)), place, folded)


def _cubic(t: Terms, fraction: Value, offset: int) -> Value:
    """Keys' weight of a neighbour (R. Keys, Cubic convolution interpolation for digital image processing, 1981)."""
    a = _CUBIC
    d = t.abs(t.sub(fraction, float(offset))) if offset else fraction
    if offset in (0, 1):
        return t.add(t.mul(t.sub(t.mul(d, a + 2), a + 3), t.square(d)), 1.0)
    return t.sub(t.mul(t.add(t.mul(t.sub(t.mul(d, a), 5 * a), d), 8 * a), d), 4 * a)
