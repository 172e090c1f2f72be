"""Selections, diagonals, norms and blocks by operators that targets have more often."""

from __future__ import annotations

import math

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.ops.conv_special import Col2Im
from ...ir.ops.generate import EyeLike
from ...ir.ops.scatter import ScatterND
from ...ir.ops.selection import Compress, NonZero
from ...ir.ops.softmax import LpNormalization
from ...ir.ops.windows import explicit_pads, per_axis, window_counts
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-selecting"


@decomposes(Compress, name="decompose-compress", group=GROUP)
def compress(node: Node, t: Terms) -> Result:
    """The slices at the positions where the condition holds."""
    op, x, condition = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, Compress) and x is not None and condition is not None
    if condition.data is not None:
        positions = t.ints(np.flatnonzero(condition.data.numpy()).tolist())
    else:
        positions = t.squeeze(t.apply(NonZero(), condition), [0])
    return t.take(t.reshape(x, [-1]) if op.axis is None else x, positions, op.axis or 0)


@decomposes(EyeLike, name="decompose-eye-like", group=GROUP)
def eye_like(node: Node, t: Terms) -> Result:
    """A constant, for the elements of the operand are never looked at."""
    op, output = node.op, node.output.tensor
    assert isinstance(op, EyeLike)
    if output.static_shape is None:
        return Decline("the sizes of the matrix are not known")
    rows, columns = output.static_shape
    return t.constant(np.eye(rows, columns, op.k, np.float32).astype(output.dtype.numpy), output.dtype)


@decomposes(LpNormalization, name="decompose-lp-normalization", group=GROUP)
def lp_normalization(node: Node, t: Terms) -> Result:
    """The elements over their norm, zero where that is zero."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, LpNormalization) and x is not None
    wide = t.widen(x)
    norm = t.total(t.abs(wide), [op.axis]) if op.p == 1 else t.sqrt(t.total(t.square(wide), [op.axis]))
    return t.cast(t.where(t.equal(norm, 0.0), 0.0, t.div(wide, norm)), node.output.dtype)


@decomposes(Col2Im, name="decompose-col2im", group=GROUP)
def col2im(node: Node, t: Terms) -> Result:
    """Every element of the columns added to the place that it came from."""
    op, x, image, block = node.op, node.inputs[0], node.inputs[1], node.inputs[2]
    assert isinstance(op, Col2Im) and x is not None and image is not None and block is not None
    shape, sizes, taps = x.tensor.static_shape, image.ints, block.ints
    if shape is None or sizes is None or taps is None:
        return Decline("the sizes of columns, image and blocks are not known")
    if x.dtype is None or not x.dtype.is_float:
        return Decline("only floating-point columns")
    rank, batch = len(sizes), shape[0]
    channels = shape[1] // math.prod(taps)
    pads = explicit_pads(op.pads, rank)
    strides, dilations = per_axis(op.strides, rank, "strides"), per_axis(op.dilations, rank, "dilations")
    counts = window_counts(sizes, taps, strides, dilations, pads)
    padded = [n + pads[i] + pads[i + rank] for i, n in enumerate(sizes)]
    places = np.zeros((*taps, *counts), np.int64)
    for axis in range(rank):
        along = np.arange(taps[axis])[:, None] * dilations[axis] + np.arange(counts[axis]) * strides[axis]
        spread = [1] * (2 * rank)
        spread[axis], spread[rank + axis] = along.shape
        places = places * padded[axis] + along.reshape(spread)
    wide = t.widen(x)
    dtype = wide.dtype or DType.FLOAT
    columns = t.transpose(t.reshape(wide, [batch, channels, places.size]), (2, 0, 1))
    zeros = t.constant(np.zeros((math.prod(padded), batch, channels), dtype.numpy), dtype)
    summed = t.apply(ScatterND(reduction="add"), zeros, t.constant(places.reshape(-1, 1)), columns)
    y = t.reshape(t.transpose(summed, (1, 2, 0)), [batch, channels, *padded])
    for axis, size in enumerate(sizes):
        if padded[axis] != size:
            y = t.slice(y, axis + 2, pads[axis], pads[axis] + size)
    return t.cast(y, node.output.dtype)
