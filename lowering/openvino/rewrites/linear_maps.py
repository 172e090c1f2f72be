"""Operators that are linear along an axis, as products with constant matrices: DFT and Resize."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.gather import Gather
from ....ir.ops.logical import Or
from ....ir.ops.resize import Resize
from ....ir.ops.signal import DFT
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ....passes.values import array_of
from .functions import GROUP

NOISE = 1e-9  # entries of a Fourier matrix below this are rounding of zeros
LARGEST = 4096  # the longest axis that becomes a matrix


@rewrites_op(DFT, name="openvino-dft", group=GROUP)
def dft(node: Node, b: Rewriter) -> Result:
    """A Fourier transform of known length is a product with the Fourier matrix."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, DFT) and x is not None
    if x.shape is None:
        return Decline("the rank is not known")
    length, axis = node.operand(1), node.operand(2)
    if (length is not None and length.ints is None) or (axis is not None and axis.ints is None):
        return Decline("the length or the axis is computed at run time")
    rank = len(x.shape)
    place = (axis.ints[0] if axis is not None and axis.ints else -2) % rank
    size, parts = x.shape[place], x.shape[-1]
    wanted = length.ints[0] if length is not None and length.ints else None
    if not isinstance(size, int) or not isinstance(parts, int) or max(size, wanted or 0) > LARGEST:
        return Decline("the length is not known, or too great for a matrix")
    matrix = _fourier(op, size, parts, wanted)
    t = Terms(b)
    others = [a for a in range(rank - 1) if a != place]
    moved = t.transpose(t.widen(x), [*others, place, rank - 1])
    flat = t.reshape(moved, [*(t.dim(moved, i) for i in range(rank - 2)), size * parts])
    product = t.matmul(flat, t.constant(matrix.reshape(size * parts, -1).astype(flat.tensor.dtype.numpy)))
    split = t.reshape(product, [*(t.dim(product, i) for i in range(rank - 2)), matrix.shape[2], matrix.shape[3]])
    back = np.argsort([*others, place, rank - 1])
    return t.cast(t.transpose(split, [int(p) for p in back]), x.dtype)


def _fourier(op: DFT, size: int, parts: int, wanted: int | None) -> Any:
    """The transform of every basis vector: ``[input position, input part, output position, output part]``."""
    basis = np.zeros((size * parts, size, parts))
    basis.reshape(size * parts, -1)[np.arange(size * parts), np.arange(size * parts)] = 1
    length = None if wanted is None else np.array(wanted)
    found = np.asarray(op.evaluate(basis, length, np.array(1)))
    found[np.abs(found) < NOISE] = 0
    return found.reshape(size, parts, *found.shape[1:])


@rewrites_op(Resize, name="openvino-resize", group=GROUP)
def resize(node: Node, b: Rewriter) -> Result:
    """Resampling in a way that OpenVINO lacks is a product with one interpolation matrix for each axis (nearest: a Gather)."""
    if resize_problem(node) is None:
        return None
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resize) and x is not None
    roi, scales, sizes = (node.operand(i) for i in (1, 2, 3))
    cropping = op.coordinate_transformation_mode == "tf_crop_and_resize"
    for value in (scales, sizes, roi if cropping else None):
        if value is not None and value.data is None:
            return Decline("scales, sizes or roi are computed at run time")
    if x.shape is None or node.outputs[0].shape is None:
        return Decline("the rank is not known")
    axes = [a % len(x.shape) for a in op.axes] if op.axes else list(range(len(x.shape)))
    lengths = [x.shape[a] for a in axes]
    targets = [node.outputs[0].shape[a] for a in axes]
    factors, corners = _floats(scales), _floats(roi) if cropping else None
    if op.keep_aspect_ratio_policy != "stretch" or not factors:
        factors = _factors(op, lengths, targets, sizes)
    if factors is None:
        return Decline("the sizes are not known")
    t = Terms(b)
    y = x if op.mode == "nearest" or not x.tensor.dtype.is_float else t.widen(x)
    outside: Value | None = None
    for position, axis in enumerate(axes):
        length, factor = lengths[position], factors[position]
        if factor == 1 and lengths[position] == targets[position] and not cropping:
            continue
        if not isinstance(length, int) or not isinstance(targets[position], int) or length > LARGEST:
            return Decline("the resized dimensions are not known")
        corner = None if corners is None else np.array([corners[position], corners[position + len(axes)]], np.float32)
        y = _along(op, t, y, axis, length, targets[position], factor, corner)
        if cropping:
            beyond = _outside(op, length, targets[position], factor, corner)
            mask = t.constant(beyond.reshape(-1, *(1,) * (len(x.shape) - 1 - axis)))
            outside = mask if outside is None else t.apply(Or(), outside, mask)
    if outside is not None:
        y = t.where(outside, op.extrapolation_value, y)
    return t.cast(y, x.dtype) if x.dtype is not y.dtype else y


def resize_problem(node: Node) -> str | None:
    """What of a Resize OpenVINO lacks or computes wrongly, None when it is right."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resize) and x is not None
    if op.antialias:
        return "antialias is not supported"
    if op.exclude_outside:
        return "exclude_outside is ignored"
    if op.keep_aspect_ratio_policy != "stretch":
        return "keep_aspect_ratio_policy is ignored"
    if op.coordinate_transformation_mode in ("half_pixel_symmetric", "tf_crop_and_resize"):
        return f"{op.coordinate_transformation_mode} is not supported"
    if op.coordinate_transformation_mode == "align_corners" and op.mode != "nearest":
        scales, sizes = _floats(node.operand(2)), node.operand(3)
        if not scales and (sizes is None or sizes.shape == (0,)):
            return "align_corners with scales computed at run time"
        shape = x.shape
        if scales:
            axes = [a % len(shape or ()) for a in op.axes] if op.axes and shape else range(len(scales))
            lengths = [None if shape is None else shape[a] for a in axes]
            whole = (s == 1 or isinstance(n, int) and float(n * s).is_integer() for n, s in zip(lengths, scales, strict=True))
            if not all(whole):
                return "align_corners with scales that give no whole sizes"
    return None


def _floats(value: Value | None) -> list[float] | None:
    array = array_of(value)
    return None if array is None or not array.size else [float(v) for v in array.astype(np.float64)]


def _factors(op: Resize, lengths: Sequence[Any], targets: Sequence[Any], sizes: Value | None) -> list[float] | None:
    wanted = None if sizes is None else sizes.ints
    if wanted is None:
        return None
    known = [(w, n) for w, n in zip(wanted, lengths, strict=True)]
    if op.keep_aspect_ratio_policy == "stretch":
        return [w / n if isinstance(n, int) else 1.0 for w, n in known]
    if not all(isinstance(n, int) for _, n in known):
        return None
    ratios = [w / n for w, n in known]
    return [min(ratios) if op.keep_aspect_ratio_policy == "not_larger" else max(ratios)] * len(ratios)


def _along(op: Resize, t: Terms, x: Value, axis: int, length: int, target: int, factor: float, corner: Any) -> Value:
    begin, end = (0.0, 1.0) if corner is None else (float(corner[0]), float(corner[1]))
    places = op._positions(target, length, factor, begin, end)
    if op.mode == "nearest":
        return t.apply(Gather(axis=axis), x, t.constant(op._nearest(places, factor, length)))
    weights = op._weights(places, factor, length)
    rank = x.rank
    assert rank is not None
    order = [a for a in range(rank) if a != axis] + [axis]
    back = [int(p) for p in np.argsort(order)]
    matrix = t.constant(np.ascontiguousarray(weights.T).astype(np.float32))
    product = t.matmul(t.transpose(t.cast(x, DType.FLOAT), order), matrix)
    return t.transpose(product, back)


def _outside(op: Resize, length: int, target: int, factor: float, corner: Any) -> Any:
    places = op._positions(target, length, factor, float(corner[0]), float(corner[1]))
    return (places < 0) | (places > length - 1)
