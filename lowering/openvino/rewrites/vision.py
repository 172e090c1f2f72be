"""Sampling at computed positions, folding of columns and determinants, by gathers and arithmetic."""

from __future__ import annotations

import math

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.activation import Clip
from ....ir.ops.conv_special import Col2Im, DeformConv
from ....ir.ops.scatter import ScatterElements
from ....ir.ops.unary import Det, Round
from ....ir.ops.vision import GridSample
from ....passes.decompose.deformable import sample
from ....passes.decompose.terms import Terms
from ....passes.registry import find_rule
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .functions import GROUP


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
    return find_rule("decompose-deform-conv").function(node, b)


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
