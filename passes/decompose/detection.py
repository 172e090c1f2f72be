"""Regions of images read at computed positions."""

from __future__ import annotations

from itertools import product

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.activation import Clip
from ...ir.ops.detection import RoiAlign
from ...ir.ops.pooling import AveragePool, MaxPool
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms


@decomposes(RoiAlign, name="decompose-roi-align", group="decompose-detection")
def roi_align(node: Node, t: Terms) -> Result:
    """The four neighbours of every sample gathered and weighted, then pooled: their mean, or the greatest of all weighted neighbours."""
    op, x, rois, owners = node.op, *node.inputs
    assert isinstance(op, RoiAlign) and x is not None and rois is not None and owners is not None
    samples, sizes = op.sampling_ratio, (x.shape or ())[2:]
    if samples <= 0:
        return Decline("how many samples a bin has depends on its region")
    if len(sizes) != 2 or not all(isinstance(size, int) for size in sizes):
        return Decline("the sizes of the image are not known")
    height, width = (int(size) for size in sizes)  # type: ignore[arg-type]
    regions = t.mul(t.widen(rois), float(np.float32(op.spatial_scale)))
    rows = _neighbours(t, op, regions, 1, op.output_height, height)
    columns = _neighbours(t, op, regions, 0, op.output_width, width)
    pixels = t.reshape(t.transpose(t.widen(x), (0, 2, 3, 1)), [-1, t.dim(x, 1)])
    first = t.mul(t.reshape(t.cast(owners, DType.INT64), [-1, 1, 1]), height * width)
    total: Value | None = None
    for (row, row_share), (column, column_share) in product(rows, columns):
        place = t.add(first, t.add(t.mul(t.unsqueeze(row, [2]), width), t.unsqueeze(column, [1])))
        share = t.mul(t.unsqueeze(row_share, [2]), t.unsqueeze(column_share, [1]))
        value = t.mul(t.take(pixels, place, 0), t.unsqueeze(share, [3]))
        total = value if total is None else t.add(total, value) if op.mode == "avg" else t.max(total, value)
    assert total is not None
    pooled = t.transpose(total, (0, 3, 1, 2))
    if samples > 1:
        pool = AveragePool if op.mode == "avg" else MaxPool
        pooled = t.apply(pool(kernel_shape=(samples, samples), strides=(samples, samples)), pooled, outputs=1)
    return t.cast(pooled, node.output.dtype)


def _neighbours(t: Terms, op: RoiAlign, regions: Value, axis: int, bins: int, size: int) -> list[tuple[Value, Value]]:
    """Along one axis the two neighbours ``[regions, bins · samples]`` of every sample as i64, with their weights."""
    half = op.coordinate_transformation_mode == "half_pixel"
    start, end = t.slice(regions, 1, axis, axis + 1), t.slice(regions, 1, axis + 2, axis + 3)
    extent = t.sub(end, start)
    if half:
        start = t.sub(start, 0.5)
    else:
        extent = t.max(extent, 1.0)
    steps = (np.arange(bins)[:, None] + (np.arange(op.sampling_ratio) + 0.5) / op.sampling_ratio) / bins
    dtype = regions.tensor.dtype
    position = t.add(start, t.mul(extent, t.constant(steps.reshape(1, -1).astype(dtype.numpy), dtype)))
    inside = t.cast(t.both(t.at_least(position, -1.0), t.at_most(position, float(size))), dtype)
    position = t.apply(Clip(), position, t.like(0.0, position), t.like(size - 1.0, position))
    low = t.floor(position)
    fraction = t.sub(position, low)
    found = []
    for place, share in ((low, t.sub(1.0, fraction)), (t.min(t.add(low, 1.0), size - 1.0), fraction)):
        found.append((t.cast(place, DType.INT64), t.mul(share, inside)))
    return found
