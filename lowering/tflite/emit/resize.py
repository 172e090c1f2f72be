"""Resampling: LiteRT's kernels where they sample alike, else gathered elements and weights axis by axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ....ir.graph import Node
from ....ir.ops.channels_last import ChannelsLastResize
from ....ir.ops.common import normalize_axes
from ....ir.ops.resize import Resize
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import FLOAT32, emits, first_of, no
from .geometry import as_image, as_line_into, product_of
from .movement import ANY
from .shapes import gathered, joined, narrowed

FLAGS = ((False, False), (False, True), (True, False))
"""Settings of align_corners and half_pixel_centers that the kernels have."""
SAMPLE_LENGTHS = (1, 2, 3, 5, 8, 37, 500)
MOST_TAPS = 4
GREATEST_FACTOR = 64


@dataclass(frozen=True)
class Axis:
    """What happens to one axis of the tensor at hand.

    Attributes:
        place: its position in the tensor.
        length: its size, None when known at run time only.
        size: its size after.
        factor: the integer ratio of the two sizes when it holds whatever the size, else None.
        scale: the ratio as the operator states it.
        begin: where the region of interest begins.
        end: where it ends.
    """

    place: int
    length: int | None
    size: int | None
    factor: int | None
    scale: float | None
    begin: float = 0.0
    end: float = 1.0

    @property
    def is_kept(self) -> bool:
        return self.length == self.size and self.scale in (1.0, None) and (self.length is not None or self.factor == 1)


def portable(node: Node) -> Resize:
    """The operator in its ONNX form."""
    op = node.op.counterpart() if isinstance(node.op, ChannelsLastResize) else node.op
    assert isinstance(op, Resize)
    return op


def axes_of(node: Node) -> list[Axis] | str:
    """The axes that a node resamples, or why they are not known before the run."""
    op, x, y = portable(node), node.inputs[0], node.output
    assert x is not None and x.shape is not None and y.shape is not None
    rank = len(x.shape)
    last = isinstance(node.op, ChannelsLastResize)
    listed = normalize_axes(op.axes, rank) if op.axes else tuple(range(rank))
    scales, roi = _numbers(node, 2), _numbers(node, 1)
    sized = node.operand(3) is not None and node.operand(3).shape != (0,)  # type: ignore[union-attr]
    cropping = op.coordinate_transformation_mode == "tf_crop_and_resize"
    if cropping and (roi is None or len(roi) != 2 * len(listed)):
        return "the region of interest is computed at run time"
    if not sized and scales is None:
        return "the scales are computed at run time"
    if sized and op.keep_aspect_ratio_policy != "stretch" and not (x.tensor.is_static and y.tensor.is_static):
        return "the common scale depends on sizes that are known at run time only"
    found = []
    for index, axis in enumerate(listed):
        place = axis if not last else 0 if axis == 0 else rank - 1 if axis == 1 else axis - 1
        length, size = x.shape[place], y.shape[place]
        scale = None if sized or scales is None else float(scales[index])
        if sized and isinstance(length, int) and isinstance(size, int):
            scale = _stated_scale(node, op, index, length, size, [x.shape[p] for p in _places(listed, rank, last)])
        factor = next((k for k in range(1, GREATEST_FACTOR) if length * k == size), None)
        begin, end = (float(roi[index]), float(roi[index + len(listed)])) if cropping and roi is not None else (0.0, 1.0)
        static = length if isinstance(length, int) else None
        entry = Axis(place, static, size if isinstance(size, int) else None, factor, scale, begin, end)
        if not entry.is_kept or cropping:
            found.append(entry)
    return found


def _places(listed: Sequence[int], rank: int, last: bool) -> list[int]:
    return [a if not last else 0 if a == 0 else rank - 1 if a == 1 else a - 1 for a in listed]


def _stated_scale(node: Node, op: Resize, index: int, length: int, size: int, lengths: Sequence[Any]) -> float:
    if op.keep_aspect_ratio_policy == "stretch" or not length:
        return size / length if length else 1.0
    wanted = node.operand(3).ints  # type: ignore[union-attr]
    if wanted is None:
        return size / length
    ratios = [w / n for w, n in zip(wanted, lengths, strict=True)]
    return min(ratios) if op.keep_aspect_ratio_policy == "not_larger" else max(ratios)


def _numbers(node: Node, index: int) -> Any:
    value = node.operand(index)
    if value is None or value.data is None or value.data.shape == (0,):
        return None
    return value.data.numpy().astype(np.float64).reshape(-1)


# -- what the kernels compute --------------------------------------------------------------------------------------------------
def kernel_indices(size: int, length: int, align_corners: bool, half_pixel: bool) -> Any:
    """The input index of each output element of RESIZE_NEAREST_NEIGHBOR, in its float32 arithmetic."""
    one = np.float32
    scale = one(length - 1) / one(size - 1) if align_corners and size > 1 else one(length) / one(size)
    places = (np.arange(size, dtype=np.float32) + one(0.5 if half_pixel else 0)) * scale
    chosen = np.floor(places + one(0.5)) if align_corners else np.floor(places)
    return np.clip(chosen, 0, length - 1).astype(np.int64)


def kernel_matrix(size: int, length: int, align_corners: bool, half_pixel: bool) -> Any:
    """The weights of RESIZE_BILINEAR along one axis, ``[size, length]``."""
    scale = (length - 1) / (size - 1) if align_corners and size > 1 else length / size
    places = np.arange(size) * scale if not half_pixel else (np.arange(size) + 0.5) * scale - 0.5
    low = np.maximum(np.floor(places), 0).astype(np.int64)
    high = np.minimum(np.ceil(places), length - 1).astype(np.int64)
    share = places - np.floor(places)
    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size), np.minimum(low, length - 1)), 1 - share)
    np.add.at(matrix, (np.arange(size), np.maximum(high, 0)), share)
    return matrix


@cache
def _agrees(op: Resize, size: int, length: int, scale: float, flags: tuple[bool, bool]) -> bool:
    wanted = op.axis_map(size, length, scale)
    if op.mode == "nearest":
        return bool(np.array_equal(wanted, kernel_indices(size, length, *flags)))
    return bool(np.allclose(wanted, kernel_matrix(size, length, *flags), rtol=0, atol=1e-6))


def kernel_flags(op: Resize, axes: Sequence[Axis]) -> tuple[bool, bool] | None:
    """The settings with which the kernel samples like the operator along all axes, None when there are none."""
    if op.mode == "cubic" or op.coordinate_transformation_mode == "tf_crop_and_resize":
        return None
    for flags in FLAGS:
        if all(_axis_agrees(op, axis, flags) for axis in axes):
            return flags
    return None


def _axis_agrees(op: Resize, axis: Axis, flags: tuple[bool, bool]) -> bool:
    if axis.length is not None and axis.size is not None:
        return axis.scale is not None and _agrees(op, axis.size, axis.length, axis.scale, flags)
    if axis.factor is not None and axis.scale in (None, float(axis.factor)):
        return all(_agrees(op, n * axis.factor, n, float(axis.factor), flags) for n in SAMPLE_LENGTHS)
    if axis.scale is not None:
        return False  # the kernel knows the sizes alone, and these are rounded
    pairs = [(m, n) for n in SAMPLE_LENGTHS for m in (1, 2, 3, 7, 12, 40, 333)]
    return all(_agrees(op, m, n, m / n, flags) for m, n in pairs)


def _kernel_fits(node: Node) -> Verdict | str | None:
    x, axes = node.inputs[0], axes_of(node)
    assert x is not None
    if isinstance(axes, str):
        return no(axes, "dynamic-parameter")
    if x.rank not in (3, 4):
        return "the kernels resize lines and images only"
    op = portable(node)
    if any(a.place in (0, (x.rank or 0) - 1) for a in axes):
        return "the kernels resize neither batch nor channels"
    if kernel_flags(op, axes) is None:
        return f"the kernels do not sample like {op.mode}, {op.coordinate_transformation_mode}, {op.nearest_mode}"
    return None


@emits(ChannelsLastResize, when=_kernel_fits)
def resize_by_kernel(e: Emitter, node: Node) -> None:
    """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR."""
    op, axes, value = portable(node), axes_of(node), node.inputs[0]
    assert not isinstance(axes, str) and value is not None
    flags = kernel_flags(op, axes)
    assert flags is not None
    source = e.operand(value)
    is_line = len(e.shape(source)) == 3
    sizes = _size_vector(e, node, source, axes)
    result = e.result(node.output)
    x = as_image(e, source) if is_line else source
    shape = e.shape(result)
    y = e.temporary([shape[0], 1, *shape[1:]], e.dtype(source)) if is_line else result
    name = "RESIZE_NEAREST_NEIGHBOR" if op.mode == "nearest" else "RESIZE_BILINEAR"
    version = 3 if flags[1] else 1
    e.op(name, [x, sizes], [y], version, alignCorners=flags[0], halfPixelCenters=flags[1])
    if is_line:
        as_line_into(e, y, result)


def _size_vector(e: Emitter, node: Node, x: int, axes: Sequence[Axis]) -> int:
    """Height and width of the result (a line has the height 1)."""
    shape = node.output.shape
    assert shape is not None
    spatial = list(range(1, len(shape) - 1))
    lead = [1] if len(spatial) == 1 else []
    vector = e.shape_vector([*lead, *(shape[a] for a in spatial)])
    if vector is not None:
        return vector
    factors = {axis.place: axis.factor for axis in axes}
    parts = [e.ints(lead)] if lead else []
    for place in spatial:
        size = shape[place]
        if isinstance(size, int):
            parts.append(e.ints([size]))
        elif factors.get(place, 1) is not None:
            length = gathered(e, e.shape_of(x), [place])
            parts.append(e.binary("MUL", length, e.ints([factors.get(place) or 1])))
        else:
            op, wanted = portable(node), node.operand(3)
            assert wanted is not None
            listed = list(normalize_axes(op.axes, len(shape))) if op.axes else list(range(len(shape)))
            parts.append(narrowed(e, gathered(e, e.operand(wanted), [listed.index(place + 1)])))
    return joined(e, parts, 0)


# -- any sampling, axis by axis ------------------------------------------------------------------------------------------------
def _known_sizes(node: Node) -> Verdict | None:
    axes = axes_of(node)
    if isinstance(axes, str):
        return no(axes, "dynamic-parameter")
    if any(a.length is None or a.size is None or a.scale is None for a in axes):
        return no("the kernels do not sample so, and weights need sizes that are known at run time only", "dynamic-shape")
    return None


def _element_type(node: Node) -> Verdict | None:
    value = node.inputs[0]
    assert value is not None
    allowed = ANY if portable(node).mode == "nearest" else FLOAT32
    return None if value.dtype in allowed else no(f"elements of type {value.dtype} are not interpolated", "dtype")


@emits(ChannelsLastResize, Resize, dtypes=None, when=first_of(_element_type, _known_sizes), level="decomposed")
def resize_by_axes(e: Emitter, node: Node) -> None:
    """Along each axis gathered elements times weights, or a product with the matrix of weights."""
    op, axes, value = portable(node), axes_of(node), node.inputs[0]
    assert not isinstance(axes, str) and value is not None
    x, outside = e.operand(value), None
    for axis in axes:
        assert axis.size is not None and axis.length is not None and axis.scale is not None
        found = op.axis_map(axis.size, axis.length, axis.scale, axis.begin, axis.end)
        if op.coordinate_transformation_mode == "tf_crop_and_resize":
            beyond = op.outside(axis.size, axis.length, axis.scale, axis.begin, axis.end)
            beyond = beyond.reshape(-1, *(1,) * (len(e.shape(x)) - 1 - axis.place))
            outside = beyond if outside is None else outside | beyond
        x = gathered_along(e, x, found, axis.place) if op.mode == "nearest" else weighted_along(e, x, found, axis.place)
    if outside is not None and outside.any():
        rank = len(e.shape(x))
        mask = e.constant(outside.reshape((1,) * (rank - outside.ndim) + outside.shape))
        e.op("SELECT_V2", [mask, e.number(op.extrapolation_value, e.dtype(x)), x], [e.result(node.output)])
    else:
        e.alias(node.output, x)


def gathered_along(e: Emitter, x: int, indices: Any, axis: int) -> int:
    """The elements at constant places along an axis."""
    shape = e.shape(x)
    y = e.temporary([*shape[:axis], len(indices), *shape[axis + 1 :]], e.dtype(x))
    e.op("GATHER", [x, e.ints(indices)], [y], axis=axis)
    return y


def _taps(matrix: Any) -> Iterator[tuple[Any, Any]]:
    """Columns and weights such that the sum over them is the product with a matrix of few entries per row."""
    most = int((matrix != 0).sum(axis=1).max())
    order = np.argsort(matrix == 0, axis=1, kind="stable")[:, :most]
    for tap in range(most):
        yield order[:, tap], np.take_along_axis(matrix, order[:, tap : tap + 1], axis=1)[:, 0]


def weighted_along(e: Emitter, x: int, matrix: Any, axis: int) -> int:
    """The product with a matrix along an axis."""
    matrix = matrix.astype(np.float32)
    shape = e.shape(x)
    rest = len(shape) - 1 - axis
    is_foldable = [product_of(shape[:axis]), product_of(shape[axis + 1 :])].count(None) < 2
    if (matrix != 0).sum(axis=1).max() > MOST_TAPS and is_foldable:
        return _product(e, x, matrix, axis)
    total: int | None = None
    for indices, weights in _taps(matrix):
        part = gathered_along(e, x, indices, axis)
        if not (weights == 1).all():
            part = e.binary("MUL", part, e.constant(weights.reshape(-1, *(1,) * rest)))
        total = part if total is None else e.binary("ADD", total, part)
    assert total is not None
    return total


def _product(e: Emitter, x: int, matrix: Any, axis: int) -> int:
    shape = e.shape(x)
    flat = e.reshaped(x, [product_of(shape[:axis]), shape[axis], product_of(shape[axis + 1 :])])
    y = e.temporary([e.shape(flat)[0], len(matrix), e.shape(flat)[2]], e.dtype(x))
    e.op("BATCH_MATMUL", [e.constant(matrix[None]), flat], [y])
    return e.reshaped(y, [*shape[:axis], len(matrix), *shape[axis + 1 :]])
