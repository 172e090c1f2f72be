"""Padding in all modes."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.channels_last import ChannelsLastConv
from ....ir.ops.concat import Pad
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no
from .conditions import sizes
from .movement import ANY, JOINED
from .pads import merged_dimensions, pad_into
from .shapes import joined, vector_operand

PADDED = frozenset(
    (DType.FLOAT, DType.FLOAT16, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8, DType.BOOL),
)
GREATEST_RANK = 5
Widths = list[tuple[int, int]]


def widths_of(node: Node) -> Widths | None:
    """What is added before and after each dimension; None when it is computed at run time."""
    x, pads, axes = node.inputs[0], node.inputs[1], node.operand(3)
    assert x is not None and x.rank is not None and pads is not None
    if pads.ints is None or axes is not None and axes.ints is None:
        return None
    chosen = range(x.rank) if axes is None or axes.ints is None else [a % x.rank for a in axes.ints]
    widths = [(0, 0)] * x.rank
    for index, axis in enumerate(chosen):
        widths[axis] = (pads.ints[index], pads.ints[index + len(pads.ints) // 2])
    return widths


def _problem(node: Node) -> Verdict | str | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Pad) and x is not None and x.rank is not None
    widths = widths_of(node)
    if op.mode == "constant":
        if x.dtype not in PADDED:
            return no(f"there is no kernel for elements of type {x.dtype}", "dtype")
        if widths is None and node.operand(3) is not None:
            return no("widths of listed axes are computed at run time", "dynamic-parameter")
        if (x.rank if widths is None else len(merged_dimensions(sizes(x), widths)[0])) > GREATEST_RANK:
            return no(f"the kernel takes at most {GREATEST_RANK} dimensions, not {x.rank}", "rank")
        return None
    if widths is None:
        return no(f"the widths of mode '{op.mode}' are computed at run time", "dynamic-parameter")
    for size, (before, after) in zip(sizes(x), widths, strict=True):
        added = max(before, 0) + max(after, 0)
        if op.mode == "edge" or not added:
            continue
        if size is None and op.mode == "reflect" and min(before, after) >= 0:
            continue  # the kernel looks at the size itself
        if size is None:
            return no(f"mode '{op.mode}' needs to know the size that it pads", "dynamic-shape")
        kept = size + min(before, 0) + min(after, 0)
        if max(before, after) > (kept - 1 if op.mode == "reflect" else kept):
            return f"mode '{op.mode}' would go over the elements more than once"
    if op.mode != "reflect" and x.dtype not in JOINED:
        return no(f"there is no kernel for elements of type {x.dtype}", "dtype")
    return None


@emits(Pad, dtypes=ANY, when=_problem)
def pad(e: Emitter, node: Node) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Pad) and x is not None
    widths = widths_of(node)
    if widths is None:
        _padded_at_run_time(e, node)
        return
    tensor = cropped(e, e.operand(x), widths)
    grown = [(max(b, 0), max(a, 0)) for b, a in widths]
    if not any(b or a for b, a in grown):
        e.alias(node.output, tensor)
    elif op.mode == "constant":
        _constant(e, node, tensor, grown)
    elif op.mode == "reflect" and not _mirrors_by_slices(e, tensor, grown):
        e.op("MIRROR_PAD", [tensor, e.constant(np.asarray(grown, np.int32))], [e.result(node.output)], mode=0)
    else:
        for axis, (before, after) in enumerate(grown):
            if before or after:
                tensor = GROWN[op.mode](e, tensor, axis, before, after)
        e.alias(node.output, tensor)


def cropped(e: Emitter, tensor: int, widths: Widths) -> int:
    """The tensor without what negative widths take away."""
    for axis, (before, after) in enumerate(widths):
        if before < 0 or after < 0:
            size = e.shape(tensor)[axis]
            length = None if size is None else size + min(before, 0) + min(after, 0)
            tensor = part(e, tensor, axis, -min(before, 0), min(after, 0) or None, length)
    return tensor


def part(e: Emitter, tensor: int, axis: int, start: int, stop: int | None, length: int | None) -> int:
    """``tensor[start:stop]`` along an axis, of a known length or None."""
    shape = list(e.shape(tensor))
    everything = (1 << len(shape)) - 1
    begin, end = [0] * len(shape), [0] * len(shape)
    begin[axis], end[axis] = start, stop or 0
    shape[axis] = length
    y = e.temporary(shape, e.dtype(tensor))
    masks = {"beginMask": everything & ~(1 << axis), "endMask": everything if stop is None else everything & ~(1 << axis)}
    e.op("STRIDED_SLICE", [tensor, e.ints(begin), e.ints(end), e.ints([1] * len(shape))], [y], **masks)
    return y


def _constant(e: Emitter, node: Node, tensor: int, widths: Widths) -> None:
    users = [user for user, _ in node.output.uses]
    convolved = len(users) == 1 and isinstance(users[0], Node) and isinstance(users[0].op, ChannelsLastConv)
    pad_into(e, tensor, widths, e.result(node.output), _fill(e, node.operand(2)), not convolved)


def _fill(e: Emitter, value: Value | None) -> int | None:
    """The element to pad with as a scalar; None for zero."""
    if value is None or value.data is not None and not value.data.numpy().any():
        return None
    number = e.operand(value)
    return e.reshaped(number, []) if len(e.shape(number)) else number


def _padded_at_run_time(e: Emitter, node: Node) -> None:
    x, pads = node.inputs[0], node.inputs[1]
    assert x is not None and x.rank is not None and pads is not None
    rows = e.reshaped(vector_operand(e, pads), [2, x.rank])
    fill = _fill(e, node.operand(2))
    operands = [e.operand(x), e.transposed(rows, [1, 0]), *([] if fill is None else [fill])]
    e.op("PAD" if fill is None else "PADV2", operands, [e.result(node.output)])


def _repeated(e: Emitter, tensor: int, axis: int, before: int, after: int) -> int:
    """The first and the last element of an axis repeated."""
    parts = [tensor]
    for count, start, stop in ((before, 0, 1), (after, -1, None)):
        if count:
            edge = part(e, tensor, axis, start, stop, 1)
            shape = list(e.shape(edge))
            shape[axis] = count
            y = e.temporary(shape, e.dtype(edge))
            e.op("TILE", [edge, e.ints([count if i == axis else 1 for i in range(len(shape))])], [y])
            parts = [y, *parts] if stop == 1 else [*parts, y]
    return joined(e, parts, axis)


def _mirrors_by_slices(e: Emitter, tensor: int, grown: Widths) -> bool:
    """Whether the sizes that are padded are known, and slices and concatenations take the tensor."""
    shape = e.shape(tensor)
    known = all(shape[axis] is not None for axis, width in enumerate(grown) if any(width))
    return known and len(shape) <= GREATEST_RANK and e.dtype(tensor) in JOINED


def _reflected(e: Emitter, tensor: int, axis: int, before: int, after: int) -> int:
    """Mirrored elements before the first and behind the last; MIRROR_PAD computes the index of every element, at 6 ns each."""
    size = e.shape(tensor)[axis]
    assert size is not None
    front = [_backwards(e, tensor, axis, before, before)] if before else []
    back = [_backwards(e, tensor, axis, size - 2, after)] if after else []
    return joined(e, [*front, tensor, *back], axis)


def _backwards(e: Emitter, tensor: int, axis: int, start: int, count: int) -> int:
    """So many elements along an axis from a place towards the first one."""
    shape = list(e.shape(tensor))
    others = ((1 << len(shape)) - 1) & ~(1 << axis)
    begin, end, step = [0] * len(shape), [0] * len(shape), [1] * len(shape)
    begin[axis], end[axis], step[axis] = start, start - count, -1
    shape[axis] = count
    y = e.temporary(shape, e.dtype(tensor))
    stops_before_first = 1 << axis if start - count < 0 else 0
    masks = {"beginMask": others, "endMask": others | stops_before_first}
    e.op("STRIDED_SLICE", [tensor, e.ints(begin), e.ints(end), e.ints(step)], [y], **masks)
    return y


def _wrapped(e: Emitter, tensor: int, axis: int, before: int, after: int) -> int:
    """The end of an axis before its start, and its start after its end."""
    front = [part(e, tensor, axis, -before, None, before)] if before else []
    back = [part(e, tensor, axis, 0, after, after)] if after else []
    return joined(e, [*front, tensor, *back], axis)


GROWN = {"edge": _repeated, "reflect": _reflected, "wrap": _wrapped}
"""How an axis grows, by mode."""
