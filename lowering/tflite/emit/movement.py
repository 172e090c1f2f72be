"""Operators that move elements without computing with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.concat import Concat, Split
from ....ir.ops.reshape import Expand, Flatten, Reshape, Shape, Size, Squeeze, Tile, Unsqueeze
from ....ir.ops.slice import Slice
from ....ir.ops.transpose import Transpose
from ....ir.ops.unary import Identity
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, first_of, no
from ..schema import tensor_type
from .conditions import constant_operand, rank_at_most, sizes
from .shapes import INT32_MAX, gathered, joined, reshape_plan, reshape_to, vector_operand

ANY = frozenset(
    (
        DType.FLOAT, DType.FLOAT16, DType.BFLOAT16, DType.DOUBLE, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8,
        DType.UINT16, DType.UINT32, DType.UINT64, DType.BOOL,
    )
)  # fmt: skip
"""Element types that RESHAPE, TRANSPOSE, STRIDED_SLICE, TILE and SELECT_V2 move."""
JOINED = ANY - {DType.DOUBLE, DType.UINT16, DType.UINT64}
SPLIT = frozenset((DType.FLOAT, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8))
GREATEST_RANK = 8
GREATEST_JOINED_RANK = 6  # of XNNPACK
GREATEST_SPLIT = 4  # parts that XNNPACK splits into
GREATEST_PRODUCT_RANK = 5  # of products that XNNPACK broadcasts
MOST_ONES = 4096  # elements of a constant that repeats a tensor


def _shape_of(node: Node) -> tuple[Value | None, bool]:
    """The operand of a Reshape that gives the shape, and whether a zero there keeps a size."""
    return (node.inputs[1], not node.op.allowzero) if isinstance(node.op, Reshape) else (None, False)


def _reachable(node: Node) -> Verdict | None:
    x = node.inputs[0]
    assert x is not None
    if reshape_plan(x, node.output, *_shape_of(node)) is not None:
        return None
    return no("several sizes of the result are not known before the run, and a zero may stand for one of them", "dynamic-shape")


@emits(Identity, dtypes=ANY)
def identity(e: Emitter, node: Node) -> None:
    e.alias(node.output, e.operand(node.inputs[0]))


@emits(Reshape, Flatten, dtypes=ANY, when=_reachable)
def reshape(e: Emitter, node: Node) -> None:
    x = node.inputs[0]
    assert x is not None
    reshape_to(e, e.operand(x), x, node.output, *_shape_of(node))


@emits(Squeeze, Unsqueeze, dtypes=ANY, when=constant_operand(1, "the list of axes"))
def ones(e: Emitter, node: Node) -> None:
    """Every size of the result is one, or a size of the operand."""
    x = node.inputs[0]
    assert x is not None
    if sizes(node.output).count(None) <= 1:
        reshape_to(e, e.operand(x), x, node.output)
        return
    tensor = e.operand(x)
    assert x.shape is not None and node.output.rank is not None
    axes = node.inputs[1].ints if node.operand(1) is not None else None  # type: ignore[union-attr]
    if isinstance(node.op, Squeeze):
        listed = axes if axes is not None else [i for i, d in enumerate(x.shape) if d == 1]
        e.op("SQUEEZE", [tensor], [e.result(node.output)], squeezeDims=np.asarray(sorted(a % len(x.shape) for a in listed), np.int32))
        return
    places = sorted(a % node.output.rank for a in axes or ())
    for place in places[:-1]:
        shape = list(e.shape(tensor))
        longer = e.temporary([*shape[:place], 1, *shape[place:]], e.dtype(tensor))
        e.op("EXPAND_DIMS", [tensor, e.number(place, DType.INT32)], [longer])
        tensor = longer
    e.op("EXPAND_DIMS", [tensor, e.number(places[-1], DType.INT32)], [e.result(node.output)])


@emits(Transpose, dtypes=ANY, when=rank_at_most(GREATEST_RANK))
def transpose(e: Emitter, node: Node) -> None:
    x = node.inputs[0]
    assert isinstance(node.op, Transpose) and x is not None and x.rank is not None
    perm = node.op.perm if node.op.perm is not None else tuple(range(x.rank))[::-1]
    if not perm:
        e.copy_into(e.operand(x), e.result(node.output))
        return
    e.op("TRANSPOSE", [e.operand(x), e.ints(perm)], [e.result(node.output)])


def _joinable(node: Node) -> Verdict | None:
    rank = node.output.rank or 0
    if rank > GREATEST_JOINED_RANK and any(v is None or v.tensor.static_shape is None for v in node.inputs):
        return no(f"the kernel takes at most {GREATEST_JOINED_RANK} dimensions, not {rank}", "rank")
    return None


@emits(Concat, dtypes=JOINED, when=_joinable)
def concat(e: Emitter, node: Node) -> None:
    assert isinstance(node.op, Concat) and node.output.rank is not None
    tensors, axis = [e.operand(v) for v in node.inputs], node.op.axis % node.output.rank
    if len(tensors) == 1:
        e.alias(node.output, tensors[0])
        return
    if node.output.rank > GREATEST_JOINED_RANK:
        _join_flattened(e, node, tensors, axis)
        return
    if axis == node.output.rank - 1 and axis > 0 and all(e.shape(t)[0] == e.shape(t)[-1] == 1 for t in tensors):
        _join_single(e, node, tensors, axis)
        return
    e.op("CONCATENATION", tensors, [e.result(node.output)], axis=axis, fusedActivationFunction=0)


def _join_single(e: Emitter, node: Node, tensors: list[int], axis: int) -> None:
    """Tensors of one element along the last axis and the first: one after the other, then transposed. CONCATENATION copies every element
    by itself, which takes twenty times as long."""
    shape = [len(tensors), *e.shape(tensors[0])[1:]]
    y = e.like(tensors[0], shape)
    e.op("CONCATENATION", tensors, [y], axis=0, fusedActivationFunction=0)
    perm = [axis, *range(1, axis), 0]
    e.op("TRANSPOSE", [y, e.ints(perm)], [e.result(node.output)])


def _join_flattened(e: Emitter, node: Node, tensors: list[int], axis: int) -> None:
    """Concatenation of tensors with the dimensions before and after the axis taken as one each."""
    flat = []
    for tensor in tensors:
        shape = [d or 1 for d in e.shape(tensor)]
        flat.append(e.reshaped(tensor, [math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])]))
    first, _, last = e.shape(flat[0])
    y = e.temporary([first, sum(e.shape(t)[1] or 0 for t in flat), last], e.dtype(flat[0]))
    e.op("CONCATENATION", flat, [y], axis=1, fusedActivationFunction=0)
    e.reshape_into(y, e.result(node.output), sizes(node.output))


def _lengths(node: Node) -> list[int] | None:
    """The length of each part of a split; one may be -1."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Split) and x is not None and x.rank is not None
    listed = node.operand(1)
    if listed is not None:
        return None if listed.ints is None else list(listed.ints)
    found = [sizes(v)[op.axis % x.rank] for v in node.outputs]
    return None if None in found else found  # type: ignore[return-value]


def _split_known(node: Node) -> Verdict | None:
    if _lengths(node) is None:
        return no("the lengths of the parts are not known before the run", "dynamic-parameter")
    return None


@emits(Split, dtypes=ANY, when=_split_known)
def split(e: Emitter, node: Node) -> None:
    """SPLIT_V, or for a few parts of float32 what XNNPACK has: SPLIT into equal parts, or slices."""
    op, x = node.op, node.inputs[0]
    lengths = _lengths(node)
    assert isinstance(op, Split) and x is not None and x.rank is not None and lengths is not None and x.dtype is not None
    tensor, axis = e.operand(x), op.axis % x.rank
    results = [e.result(v) for v in node.outputs]
    few = 1 < len(lengths) <= GREATEST_SPLIT and x.dtype is DType.FLOAT
    if few and len(set(lengths)) == 1:
        e.op("SPLIT", [e.number(axis, DType.INT32), tensor], results, numSplits=len(lengths))
        return
    if x.dtype in SPLIT and not few:
        e.op("SPLIT_V", [tensor, e.ints(lengths), e.number(axis, DType.INT32)], results, numSplits=len(lengths))
        return
    start = 0
    for length, result in zip(lengths, results, strict=True):
        begin, size = [0] * x.rank, [-1 if d is None else d for d in e.shape(tensor)]
        begin[axis], size[axis] = start, length
        e.op("SLICE", [tensor, e.ints(begin), e.ints(size)], [result])
        start += length


# -- slices -----------------------------------------------------------------------------------------------------------------
def _slice_problem(node: Node) -> Verdict | None:
    for index, name in ((3, "the list of axes"), (4, "the step")):
        value = node.operand(index)
        if value is not None and value.ints is None:
            return no(f"{name} is computed at run time", "dynamic-parameter")
    starts = node.inputs[1]
    assert starts is not None
    if node.operand(3) is None and starts.tensor.static_shape is None:
        return no("the number of slices is not known", "dynamic-shape")
    return None


@emits(Slice, dtypes=ANY, when=first_of(_slice_problem, rank_at_most(GREATEST_RANK)))
def slice_(e: Emitter, node: Node) -> None:
    """STRIDED_SLICE, whose masks stand for bounds at the ends."""
    x, starts, ends = node.inputs[:3]
    assert x is not None and x.rank is not None and starts is not None and ends is not None
    axes_operand, steps_operand = node.operand(3), node.operand(4)
    count = starts.tensor.static_shape[0] if starts.tensor.static_shape is not None else len(axes_operand.ints or ())  # type: ignore[union-attr]
    axes = range(count) if axes_operand is None else [a % x.rank for a in axes_operand.ints or ()]
    steps = [1] * count if steps_operand is None else list(steps_operand.ints or ())
    bounds = _static_bounds(x, starts.ints, ends.ints, axes, steps)
    strides = [1] * x.rank
    for axis, step in zip(axes, steps, strict=True):
        strides[axis] = max(min(step, INT32_MAX), -INT32_MAX)
    if bounds is not None:
        begin, end, begin_mask, end_mask = bounds
        tensors = [e.ints(begin), e.ints(end)]
    else:
        begin_mask = end_mask = sum(1 << i for i in range(x.rank) if i not in axes)
        tensors = [_placed(e, vector_operand(e, v), list(axes), x.rank) for v in (starts, ends)]
    operands = [e.operand(x), *tensors, e.ints(strides)]
    e.op("STRIDED_SLICE", operands, [e.result(node.output)], beginMask=begin_mask, endMask=end_mask)


def _static_bounds(
    x: Value, starts: Sequence[int] | None, ends: Sequence[int] | None, axes: Sequence[int], steps: Sequence[int]
) -> tuple[list[int], list[int], int, int] | None:
    """Begin, end and the two masks when all bounds are known."""
    if starts is None or ends is None:
        return None
    known = sizes(x)
    begin, end = [0] * len(known), [0] * len(known)
    begin_mask = end_mask = (1 << len(known)) - 1
    for axis, start, stop, step in zip(axes, starts, ends, steps, strict=True):
        size = known[axis]
        if size is not None:
            start, stop, _ = slice(start, stop, step).indices(size)
            open_start, open_stop = False, stop < 0 or step > 0 and stop == size
        else:
            open_start = start == 0 if step > 0 else start >= INT32_MAX
            open_stop = stop >= INT32_MAX if step > 0 else stop <= -INT32_MAX
        if not open_start:
            begin[axis] = max(min(start, INT32_MAX), -INT32_MAX)
            begin_mask &= ~(1 << axis)
        if not open_stop:
            end[axis] = max(min(stop, INT32_MAX), -INT32_MAX)
            end_mask &= ~(1 << axis)
    return begin, end, begin_mask, end_mask


def _placed(e: Emitter, vector: int, axes: list[int], rank: int) -> int:
    """The elements of a vector at the positions ``axes`` of a longer one that is zero elsewhere."""
    whole = joined(e, [vector, e.ints([0])], 0)
    return gathered(e, whole, [axes.index(i) if i in axes else len(axes) for i in range(rank)])


# -- repetition and shapes --------------------------------------------------------------------------------------------------
@emits(Expand, dtypes=ANY - {DType.DOUBLE, DType.UINT64}, when=rank_at_most(GREATEST_RANK))
def expand(e: Emitter, node: Node) -> None:
    x, shape = node.inputs
    assert x is not None and shape is not None
    target = sizes(node.output)
    ones = _ones(e, e.operand(x), target)
    if ones is not None:
        e.op("MUL", [e.operand(x), e.constant(ones)], [e.result(node.output)], fusedActivationFunction=0)
        return
    if None not in target:
        vector = e.ints([d for d in target if d is not None])
    else:
        known = e.shape_vector(node.output.tensor.shape or ())
        vector = _broadcast_shape(e, e.operand(x), shape, node.output.rank) if known is None else known
    e.op("BROADCAST_TO", [e.operand(x), vector], [e.result(node.output)], version=2)


def _ones(e: Emitter, x: int, target: Sequence[int | None]) -> np.ndarray | None:
    """Ones that repeat a tensor of floats where they are multiplied with it; None where BROADCAST_TO has to do it.

    BROADCAST_TO computes every index by itself: 64 x 49 x 49 elements twice take 7 ms, the product of XNNPACK 0.02.
    """
    shape = e.shape(x)
    if e.dtype(x) is not DType.FLOAT or None in shape or None in target or len(target) > GREATEST_PRODUCT_RANK:
        return None
    known = [n for n in target if n is not None]
    own = [1] * (len(known) - len(shape)) + [n for n in shape if n is not None]
    ones = [n if o == 1 else 1 for o, n in zip(own, known, strict=True)]
    return np.ones(ones, np.float32) if 0 not in known and math.prod(ones) <= MOST_ONES else None


def _broadcast_shape(e: Emitter, x: int, shape: Value, rank: int | None) -> int:
    """The shape of a tensor and an operand's elements together."""
    whole = e.temporary([rank], DType.INT32)
    e.op("BROADCAST_ARGS", [e.shape_of(x), vector_operand(e, shape)], [whole])
    return whole


@emits(Tile, dtypes=ANY, when=rank_at_most(GREATEST_RANK))
def tile(e: Emitter, node: Node) -> None:
    repeats = node.inputs[1]
    assert repeats is not None
    if node.output.rank == 0:
        e.copy_into(e.operand(node.inputs[0]), e.result(node.output))
        return
    e.op("TILE", [e.operand(node.inputs[0]), vector_operand(e, repeats)], [e.result(node.output)])


@emits(Shape, dtypes=None)
def shape(e: Emitter, node: Node) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Shape) and x is not None and x.rank is not None
    start, end, _ = slice(op.start, op.end).indices(x.rank)
    code = tensor_type(DType.INT64)
    if (start, end) == (0, x.rank):
        e.op("SHAPE", [e.operand(x)], [e.result(node.output)], outType=code)
        return
    whole = e.shape_of(e.operand(x), DType.INT64)
    e.op("GATHER", [whole, e.ints(range(start, end))], [e.result(node.output)], axis=0)


@emits(Size, dtypes=None)
def size(e: Emitter, node: Node) -> None:
    whole = e.shape_of(e.operand(node.inputs[0]), DType.INT64)
    e.op("REDUCE_PROD", [whole, e.ints([0])], [e.result(node.output)], keepDims=False)
