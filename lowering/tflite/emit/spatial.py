"""Space and depth, and sampling on grids, with channels last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.channels_last import ChannelsLastDepthToSpace, ChannelsLastGridSample, ChannelsLastSpaceToDepth
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no
from .geometry import product_of
from .resize import gathered_along

KEYS = -0.75
"""The parameter of the cubic convolution."""
BLOCKED = frozenset((DType.FLOAT, DType.INT8, DType.UINT8, DType.INT32, DType.INT64))


# -- space and depth -----------------------------------------------------------------------------------------------------------
def _channels_known(node: Node) -> Verdict | None:
    for value in (node.inputs[0], node.output):
        assert value is not None and value.shape is not None
        if not isinstance(value.shape[-1], int):
            return no("the number of channels is known at run time only", "dynamic-shape")
    return None


@emits(ChannelsLastDepthToSpace, dtypes=BLOCKED, when=_channels_known)
def depth_to_space(e: Emitter, node: Node) -> None:
    """DEPTH_TO_SPACE, for CRD of the channels in the order of DCR."""
    op, x = node.op, e.operand(node.inputs[0])
    assert isinstance(op, ChannelsLastDepthToSpace)
    channels, block = e.shape(x)[-1], op.blocksize
    assert channels is not None
    if op.mode == "CRD":
        order = np.arange(channels).reshape(-1, block * block).T.reshape(-1)
        x = gathered_along(e, x, order, 3)
    e.op("DEPTH_TO_SPACE", [x], [e.result(node.output)], blockSize=block)


@emits(ChannelsLastSpaceToDepth, dtypes=BLOCKED, when=_channels_known)
def space_to_depth(e: Emitter, node: Node) -> None:
    """SPACE_TO_DEPTH, for CRD with the channels put into its order afterwards."""
    op, x, result = node.op, e.operand(node.inputs[0]), e.result(node.output)
    assert isinstance(op, ChannelsLastSpaceToDepth)
    channels, block = e.shape(x)[-1], op.blocksize
    assert channels is not None
    if op.mode == "DCR":
        e.op("SPACE_TO_DEPTH", [x], [result], blockSize=block)
        return
    y = e.temporary(e.shape(result), e.dtype(x))
    e.op("SPACE_TO_DEPTH", [x], [y], blockSize=block)
    order = np.arange(channels * block * block).reshape(block * block, channels).T.reshape(-1)
    e.op("GATHER", [y, e.ints(order.tolist())], [result], axis=3)


# -- sampling on grids ---------------------------------------------------------------------------------------------------------
def _samplable(node: Node) -> Verdict | None:
    x, grid = node.inputs[0], node.inputs[1]
    assert x is not None and grid is not None
    if not x.tensor.is_static or not grid.tensor.is_static:
        return no("indices into the image need sizes that are known at run time only", "dynamic-shape")
    return None


@dataclass(frozen=True)
class _Tap:
    """Neighbours along one axis: their indices, and their weights or None for one."""

    index: int
    weight: int | None


@emits(ChannelsLastGridSample, when=_samplable, level="decomposed")
def grid_sample(e: Emitter, node: Node) -> None:
    """Computed indices into the image as a list of pixels, and the weighted sum of what they gather."""
    op, x, grid = node.op, e.operand(node.inputs[0]), e.operand(node.inputs[1])
    assert isinstance(op, ChannelsLastGridSample)
    shape = [n for n in e.shape(x) if n is not None]
    places = e.shape(grid)[:-1]
    rank = len(shape) - 2
    pixels = e.reshaped(x, [product_of(shape[:-1]), shape[-1]])
    taps = [_axis_taps(e, op, _coordinate(e, grid, rank - 1 - axis), shape[1 + axis]) for axis in range(rank)]
    strides = [int(np.prod(shape[2 + axis : -1])) for axis in range(rank)]
    first = np.arange(shape[0], dtype=np.int32).reshape(-1, *(1,) * rank) * int(np.prod(shape[1:-1]))
    total: int | None = None
    for corner in product(*taps):
        index = e.constant(first)
        weight: int | None = None
        for tap, stride in zip(corner, strides, strict=True):
            step = e.binary("MUL", tap.index, e.constant(np.asarray(stride, np.int32))) if stride != 1 else tap.index
            index = e.binary("ADD", index, step)
            if tap.weight is not None:
                weight = tap.weight if weight is None else e.binary("MUL", weight, tap.weight)
        part = e.temporary([*places, shape[-1]], e.dtype(x))
        e.op("GATHER", [pixels, index], [part], axis=0)
        if weight is not None:
            part = e.binary("MUL", part, e.reshaped(weight, [*places, 1]))
        total = part if total is None else e.binary("ADD", total, part)
    assert total is not None
    e.alias(node.output, total)


def _coordinate(e: Emitter, grid: int, place: int) -> int:
    """One of the coordinates, without the axis that lists them."""
    shape = e.shape(grid)
    begin, end = [0] * len(shape), [0] * len(shape)
    begin[-1], end[-1] = place, place + 1
    last = 1 << (len(shape) - 1)
    y = e.temporary(shape[:-1], e.dtype(grid))
    e.op(
        "STRIDED_SLICE",
        [grid, e.ints(begin), e.ints(end), e.ints([1] * len(shape))],
        [y],
        beginMask=last - 1,
        endMask=last - 1,
        shrinkAxisMask=last,
    )
    return y


def _axis_taps(e: Emitter, op: ChannelsLastGridSample, place: int, size: int) -> Sequence[_Tap]:
    number = e.number
    if op.align_corners:
        position = e.binary("MUL", e.binary("ADD", place, number(1.0)), number((size - 1) / 2))
        low, high = 0.0, size - 1.0
    else:
        position = e.binary("MUL", e.binary("ADD", place, number(1.0)), number(size / 2))
        position = e.binary("SUB", position, number(0.5))
        low, high = -0.5, size - 0.5
    if op.mode == "cubic":
        return _cubic_taps(e, op, position, (low, high), size)
    if op.mode == "nearest":
        position = e.unary("ROUND", position)
    if op.padding_mode == "reflection":
        position = _reflected(e, position, low, high)
    if op.padding_mode != "zeros":
        position = _clipped(e, position, 0.0, size - 1.0)
    if op.mode == "nearest":
        return [_tap(e, op, position, None, size)]
    left = e.unary("FLOOR", position)
    share = e.binary("SUB", position, left)
    rest = e.binary("SUB", number(1.0), share)
    return [_tap(e, op, left, rest, size), _tap(e, op, e.binary("ADD", left, number(1.0)), share, size)]


def _cubic_taps(e: Emitter, op: ChannelsLastGridSample, position: int, borders: tuple[float, float], size: int) -> Sequence[_Tap]:
    """Four neighbours with the weights of Keys' cubic convolution; neighbours outside are moved, weights stay."""
    left = e.unary("FLOOR", position)
    share = e.binary("SUB", position, left)
    taps = []
    for offset in (-1, 0, 1, 2):
        distance = e.unary("ABS", e.binary("SUB", share, e.number(float(offset))))
        inner = offset in (0, 1)
        coefficients = (KEYS + 2, -(KEYS + 3), 0.0, 1.0) if inner else (KEYS, -5 * KEYS, 8 * KEYS, -4 * KEYS)
        weight = e.number(coefficients[0])
        for coefficient in coefficients[1:]:
            weight = e.binary("MUL", weight, distance)
            weight = e.binary("ADD", weight, e.number(coefficient)) if coefficient else weight
        place = e.binary("ADD", left, e.number(float(offset))) if offset else left
        if op.padding_mode == "reflection":
            place = _reflected(e, place, *borders)
        taps.append(_tap(e, op, place, weight, size))
    return taps


def _tap(e: Emitter, op: ChannelsLastGridSample, position: int, weight: int | None, size: int) -> _Tap:
    inside = _clipped(e, position, 0.0, size - 1.0)
    if op.padding_mode == "zeros":
        valid = e.cast(e.binary("EQUAL", position, inside, DType.BOOL), DType.FLOAT)
        weight = valid if weight is None else e.binary("MUL", weight, valid)
    return _Tap(e.cast(inside, DType.INT32), weight)


def _clipped(e: Emitter, x: int, low: float, high: float) -> int:
    return e.binary("MINIMUM", e.binary("MAXIMUM", x, e.number(low)), e.number(high))


def _reflected(e: Emitter, x: int, low: float, high: float) -> int:
    """Positions mirrored at two borders until they lie between them."""
    span = high - low
    if span == 0:
        return e.binary("MUL", x, e.number(0.0))
    distance = e.unary("ABS", e.binary("SUB", x, e.number(low)))
    turn = e.binary("FLOOR_MOD", distance, e.number(2 * span))
    back = e.binary("SUB", e.number(2 * span), turn)
    return e.binary("ADD", e.binary("MINIMUM", turn, back), e.number(low))
