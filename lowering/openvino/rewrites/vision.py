"""Sampling at computed positions, folding of columns and determinants, by gathers and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.activation import Clip
from ....ir.ops.conv_special import Col2Im, DeformConv
from ....ir.ops.gather import GatherElements
from ....ir.ops.scatter import ScatterElements
from ....ir.ops.unary import Det, Round
from ....ir.ops.vision import GridSample
from ....passes.decompose.terms import Size, Terms
from ....passes.registry import find_rule
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .functions import GROUP


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


@rewrites_op(GridSample, name="openvino-grid-sample", group=GROUP)
def grid_sample(node: Node, b: Rewriter) -> Result:
    """Sampling of volumes, which OpenVINO has for images only."""
    op, x, grid = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, GridSample) and x is not None and grid is not None
    if x.shape is None or len(x.shape) == 4:
        return None
    sizes = list(x.shape[2:])
    if op.mode == "cubic" or op.padding_mode == "reflection" or not x.tensor.dtype.is_float or not all(isinstance(n, int) for n in sizes):
        return Decline("the mode of volumes, or their size, is not supported")
    t = Terms(b)
    rank = len(sizes)
    wide = t.cast(grid, DType.FLOAT)
    points = t.reshape(wide, [t.dim(wide, 0), -1, rank])
    positions = []
    for axis, size in enumerate(sizes):
        place = t.squeeze(t.slice(points, 2, rank - 1 - axis, rank - axis), [2])
        if op.align_corners:
            position = t.mul(t.add(place, 1.0), (size - 1) / 2)
        else:
            position = t.mul(t.sub(t.mul(t.add(place, 1.0), float(size)), 1.0), 0.5)
        if op.mode == "nearest":
            position = t.apply(Round(), position)
        if op.padding_mode == "border":
            position = t.apply(Clip(), position, t.like(0.0, position), t.like(size - 1.0, position))
        positions.append(position)
    channels = t.dim(x, 1)
    flat = t.reshape(t.cast(x, DType.FLOAT), [t.dim(x, 0), channels, math.prod(sizes)])
    read = sample(t, flat, sizes, positions, channels, op.mode == "linear", op.padding_mode == "zeros")
    out = [t.dim(grid, i) for i in range(1, rank + 1)]
    return t.cast(t.reshape(read, [t.dim(x, 0), channels, *out]), x.dtype)


@rewrites_op(DeformConv, name="openvino-deform-conv", group=GROUP)
def deform_conv(node: Node, b: Rewriter) -> Result:
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
    t = Terms(b)
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


@rewrites_op(Col2Im, name="openvino-col2im", group=GROUP)
def col2im(node: Node, b: Rewriter) -> Result:
    """Columns of volumes are added up by ScatterElements; OpenVINO folds columns into images only."""
    op, x, image, block = node.op, *node.inputs
    assert isinstance(op, Col2Im) and x is not None and image is not None and block is not None
    if image.ints is None or block.ints is None or len(image.ints) == 2:
        return None
    shape = x.tensor.static_shape
    if shape is None:
        return Decline("the dimensions are not known")
    rank, taps = len(image.ints), math.prod(block.ints)
    strides, dilations, pads = op.strides or (1,) * rank, op.dilations or (1,) * rank, op.pads or (0,) * 2 * rank
    padded = [n + pads[i] + pads[i + rank] for i, n in enumerate(image.ints)]
    counts = [(n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(padded, block.ints, dilations, strides, strict=True)]
    index = np.zeros((taps, math.prod(counts)), np.int64)
    for axis in range(rank):
        inner = np.indices(block.ints)[axis].reshape(-1, 1) * dilations[axis]
        outer = np.indices(counts)[axis].reshape(1, -1) * strides[axis]
        index = index * padded[axis] + inner + outer
    t = Terms(b)
    channels = shape[1] // taps
    data = t.reshape(x, [shape[0], channels, taps * index.shape[1]])
    places = t.expand(t.constant(index.reshape(1, 1, -1)), [shape[0], channels, index.size])
    zeros = t.constant(np.zeros((shape[0], channels, math.prod(padded)), x.tensor.dtype.numpy))
    y = t.reshape(t.apply(ScatterElements(axis=2, reduction="add"), zeros, places, data), [shape[0], channels, *padded])
    for axis in range(rank):
        if pads[axis] or pads[axis + rank]:
            y = t.slice(y, axis + 2, pads[axis], pads[axis] + image.ints[axis])
    return y


@rewrites_op(Det, name="openvino-determinant", group=GROUP)
def determinant(node: Node, b: Rewriter) -> Result:
    """Determinants of up to four rows are expanded by minors."""
    return find_rule("decompose-determinant").function(node, b)
