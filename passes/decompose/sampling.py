"""Resampling: interpolation by constant matrices, unpooling with a given shape, sampling grids, cropping."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.concat import Pad
from ...ir.ops.pooling import MaxUnpool
from ...ir.ops.reshape import Shape
from ...ir.ops.resize import Resize
from ...ir.ops.vision import AffineGrid, CenterCropPad, DepthToSpace, SpaceToDepth
from ..rewriter import Decline, Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-sampling"
MAX_ENTRIES = 1 << 22


@decomposes(Resize, name="decompose-resize", group=GROUP)
def resize(node: Node, t: Terms) -> Result:
    """Each resized axis as a product with its constant interpolation matrix."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resize) and x is not None
    shape, target = x.shape, node.output.shape
    if shape is None or target is None or op.coordinate_transformation_mode == "tf_crop_and_resize":
        return Decline("the shape is not known, or the operator crops")
    if x.dtype is None or not x.dtype.is_float or op.keep_aspect_ratio_policy != "stretch":
        return Decline("only floating-point images that are stretched")
    axes = [a % len(shape) for a in op.axes] if op.axes else list(range(len(shape)))
    scales, sizes = node.operand(2), node.operand(3)
    factors = scales.data.numpy().tolist() if scales is not None and scales.data is not None and scales.shape != (0,) else None
    if factors is None and (sizes is None or sizes.ints is None):
        return Decline("neither scales nor sizes are known")
    y = t.widen(x)
    for position, axis in enumerate(axes):
        length, wanted = shape[axis], target[axis]
        if factors is not None and factors[position] == 1 or factors is None and length == wanted:
            continue
        if not isinstance(length, int) or not isinstance(wanted, int) or length * wanted > MAX_ENTRIES:
            return Decline("the size of a resized axis is not known")
        matrix = _matrix(op, length, wanted, None if factors is None else factors[position])
        y = _along(t, y, axis, matrix)
    return t.cast(y, node.output.dtype)


def _matrix(op: Resize, length: int, wanted: int, factor: float | None) -> np.ndarray:
    """``[length, wanted]``: the operator applied to the rows of the identity."""
    from dataclasses import replace

    alone = replace(op, axes=(1,))
    identity = np.eye(length, dtype=np.float64)
    scales = None if factor is None else np.array([factor], np.float32)
    return alone.evaluate(identity, None, scales, None if factor is not None else np.array([wanted]))


def _along(t: Terms, y: Value, axis: int, matrix: np.ndarray) -> Value:
    rank = y.rank or 0
    order = [a for a in range(rank) if a != axis] + [axis]
    dtype = y.dtype or DType.FLOAT
    product = t.matmul(t.transpose(y, order), t.constant(matrix.astype(dtype.numpy), dtype))
    return t.transpose(product, np.argsort(order).tolist())


@decomposes(MaxUnpool, name="max-unpool-then-pad", group=GROUP, targeted=True)
def max_unpool_then_pad(node: Node, t: Terms) -> Result:
    """Unpooling to the natural size, then zeros at the end of the spatial axes."""
    op = node.op
    wanted = node.operand(2)
    if wanted is None:
        return None
    smaller = t.apply(op, *node.inputs[:2])
    if smaller.rank is None:
        return Decline("the rank is not known")
    missing = t.sub(wanted, t.apply(Shape(), smaller))
    return t.apply(Pad(), smaller, t.concat([t.ints([0] * smaller.rank), missing], 0))


@decomposes(AffineGrid, name="decompose-affine-grid", group=GROUP)
def affine_grid(node: Node, t: Terms) -> Result:
    """The constant grid of homogeneous positions times the transposed maps."""
    op, theta = node.op, node.inputs[0]
    size = node.inputs[1].ints if node.inputs[1] is not None else None
    assert isinstance(op, AffineGrid) and theta is not None
    if size is None:
        return Decline("the size is computed at run time")
    spatial = list(size[2:])
    lines = []
    for n in spatial:
        if op.align_corners:
            lines.append(np.linspace(-1, 1, n) if n > 1 else np.zeros(1))
        else:
            lines.append((np.arange(n) * 2 + 1) / n - 1)
    base = np.stack([*reversed(np.meshgrid(*lines, indexing="ij")), np.ones(spatial)], axis=-1).reshape(-1, len(spatial) + 1)
    wide = t.widen(theta)
    dtype = wide.dtype or DType.FLOAT
    grid = t.matmul(t.constant(base.astype(dtype.numpy), dtype), t.transpose(wide, (0, 2, 1)))
    return t.cast(t.reshape(grid, [size[0], *spatial, len(spatial)]), node.output.dtype)


@decomposes(CenterCropPad, name="decompose-center-crop-pad", group=GROUP)
def center_crop_pad(node: Node, t: Terms) -> Result:
    """A slice and a pad with the amounts that the shapes give."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, CenterCropPad) and x is not None
    shape, target = x.shape, node.output.shape
    if shape is None or target is None or not all(isinstance(d, int) for d in (*shape, *target)):
        return Decline("the shapes are not known")
    y, before, after = x, [], []
    for axis, (have, want) in enumerate(zip(shape, target, strict=True)):
        assert isinstance(have, int) and isinstance(want, int)
        if want < have:
            start = (have - want) // 2
            y = t.slice(y, axis, start, start + want)
        missing = max(want - have, 0)
        before.append(missing // 2)
        after.append(missing - missing // 2)
    return t.apply(Pad(), y, t.ints([*before, *after])) if any(before) or any(after) else y


@decomposes(DepthToSpace, name="decompose-depth-to-space", group=GROUP)
def depth_to_space(node: Node, t: Terms) -> Result:
    """Reshape, Transpose, Reshape."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, DepthToSpace) and x is not None
    if x.rank != 4:
        return Decline("the rank is not known")
    n, c, h, w = (t.dim(x, axis) for axis in range(4))
    b = op.blocksize
    if not isinstance(c, int):
        return Decline("the number of channels is not known")
    rest = c // (b * b)
    if op.mode == "DCR":
        moved = t.transpose(t.reshape(x, [n, b, b, rest, h, w]), (0, 3, 4, 1, 5, 2))
    else:
        moved = t.transpose(t.reshape(x, [n, rest, b, b, h, w]), (0, 1, 4, 2, 5, 3))
    return t.reshape(moved, [n, rest, t.product([h, b]), t.product([w, b])])


@decomposes(SpaceToDepth, name="decompose-space-to-depth", group=GROUP)
def space_to_depth(node: Node, t: Terms) -> Result:
    """Reshape, Transpose, Reshape."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, SpaceToDepth) and x is not None
    if x.rank != 4:
        return Decline("the rank is not known")
    n, c, h, w = (t.dim(x, axis) for axis in range(4))
    b = op.blocksize
    if not all(isinstance(d, int) for d in (c, h, w)):
        return Decline("the sizes are not known")
    assert isinstance(c, int) and isinstance(h, int) and isinstance(w, int)
    blocks = t.reshape(x, [n, c, h // b, b, w // b, b])
    order = (0, 3, 5, 1, 2, 4) if getattr(op, "mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return t.reshape(t.transpose(blocks, order), [n, c * b * b, h // b, w // b])
