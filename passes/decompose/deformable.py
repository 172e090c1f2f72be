"""Deformable convolutions by gathers and products."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.activation import Clip
from ...ir.ops.conv_special import DeformConv
from ...ir.ops.gather import GatherElements
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Size, Terms


def sample(t: Terms, flat: Value, sizes: Sequence[int], positions: Sequence[Value], channels: Size, linear: bool, zeros: bool) -> Value:
    """Read an image at positions between its elements.

    Args:
        flat: the image ``[batch, channels, elements]``.
        sizes: its spatial dimensions.
        positions: for each of them the positions ``[batch, points]``, counted in elements.
        channels: the number of channels.
        linear: interpolate, else take what lies exactly there.
        zeros: read zeros outside, else the nearest element.

    Returns:
        ``[batch, channels, points]``.
    """
    lows = [t.floor(p) if linear else p for p in positions]
    fractions = [t.sub(p, low) for p, low in zip(positions, lows, strict=True)]
    total: Value | None = None
    for corner in product((0, 1), repeat=len(sizes) if linear else 0):
        steps = corner or (0,) * len(sizes)
        index: Value | None = None
        weight: Value | None = None
        for axis, size in enumerate(sizes):
            place = t.add(lows[axis], float(steps[axis])) if steps[axis] else lows[axis]
            inside = t.apply(Clip(), place, t.like(0.0, place), t.like(size - 1.0, place))
            whole = t.cast(inside, DType.INT64)
            index = whole if index is None else t.add(t.mul(index, size), whole)
            share = None if not linear else fractions[axis] if steps[axis] else t.sub(1.0, fractions[axis])
            if zeros:
                valid = t.cast(t.equal(place, inside), place.dtype)
                share = valid if share is None else t.mul(share, valid)
            if share is not None:
                weight = share if weight is None else t.mul(weight, share)
        assert index is not None
        spread = t.expand(t.unsqueeze(index, [1]), [1, channels, 1])
        value = t.apply(GatherElements(axis=2), flat, spread)
        if weight is not None:
            value = t.mul(value, t.unsqueeze(weight, [1]))
        total = value if total is None else t.add(total, value)
    assert total is not None
    return total


@decomposes(DeformConv, name="decompose-deform-conv", group="decompose-deformable")
def deform_conv(node: Node, t: Terms) -> Result:
    """A deformable convolution samples its taps and multiplies them with the filters."""
    op = node.op
    x, w, offset, bias, mask = (node.operand(i) for i in range(5))
    assert isinstance(op, DeformConv) and x is not None and w is not None and offset is not None
    dims, filters, counts = x.shape, w.shape, (offset.shape or ())[2:]
    if dims is None or filters is None or not all(isinstance(d, int) for d in (*dims, *filters, *counts)):
        return Decline("the dimensions are not known")
    batch, channels, *sizes = dims
    maps, _, *kernel = filters
    rank, groups, taps = len(sizes), op.offset_group, math.prod(kernel)
    strides, dilations, pads = op.strides or (1,) * rank, op.dilations or (1,) * rank, op.pads or (0,) * 2 * rank
    points = math.prod(counts)
    shifts = t.reshape(t.cast(offset, DType.FLOAT), [batch * groups, taps, rank, points])
    positions = []
    for axis in range(rank):
        inner = np.indices(kernel)[axis].reshape(taps, 1) * dilations[axis]
        outer = np.indices(counts)[axis].reshape(1, points) * strides[axis] - pads[axis]
        shift = t.squeeze(t.slice(shifts, 2, axis, axis + 1), [2])
        position = t.add(shift, t.constant((inner + outer).astype(np.float32)[None]))
        positions.append(t.reshape(position, [batch * groups, taps * points]))
    flat = t.reshape(t.cast(x, DType.FLOAT), [batch * groups, channels // groups, math.prod(sizes)])
    columns = sample(t, flat, sizes, positions, channels // groups, True, True)
    if mask is not None:
        columns = t.mul(columns, t.reshape(t.cast(mask, DType.FLOAT), [batch * groups, 1, taps * points]))
    columns = t.reshape(columns, [batch, op.group, channels // op.group * taps, points])
    weights = t.reshape(t.cast(w, DType.FLOAT), [op.group, maps // op.group, -1])
    y = t.reshape(t.matmul(weights, columns), [batch, maps, *counts])
    if bias is not None:
        y = t.add(y, t.reshape(t.cast(bias, DType.FLOAT), [-1] + [1] * rank))
    return t.cast(y, x.dtype)
