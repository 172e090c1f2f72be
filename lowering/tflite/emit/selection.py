"""Selections whose number is known at run time only: elements that are not zero, distinct elements, the best boxes."""

from __future__ import annotations

import math

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.detection import NonMaxSuppression
from ....ir.ops.selection import NonZero, ReverseSequence, Unique
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import emits, no
from .conditions import sizes
from .shapes import scalar_operand

COUNTED = frozenset((DType.BOOL, DType.FLOAT, DType.INT8, DType.INT32, DType.INT64, DType.UINT8, DType.UINT32))
DISTINCT = frozenset((DType.FLOAT, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8))
REVERSED = frozenset((DType.FLOAT, DType.UINT8, DType.INT16, DType.INT32, DType.INT64))
GREATEST_COMPARISON = 1 << 22  # elements of the square in which first occurrences are found
MOST_CLASSES = 1024  # searches for boxes that are written one after the other
LOWEST = float(np.finfo(np.float32).min)


# -- elements that are not zero ---------------------------------------------------------------------------------------------
def _has_axes(node: Node) -> str | None:
    return None if node.inputs[0] is not None and node.inputs[0].rank else "the kernel takes no scalar"


@emits(NonZero, dtypes=COUNTED, when=_has_axes)
def non_zero(e: Emitter, node: Node) -> None:
    """WHERE gives a row for each element."""
    x = e.operand(node.inputs[0])
    rows = e.temporary([None, len(e.shape(x))], DType.INT64)
    e.op("WHERE", [x], [rows])
    e.op("TRANSPOSE", [rows, e.ints([1, 0])], [e.result(node.output)])


@emits(ReverseSequence, dtypes=REVERSED)
def reverse_sequence(e: Emitter, node: Node) -> None:
    op = node.op
    assert isinstance(op, ReverseSequence)
    x, lengths = (e.operand(v) for v in node.inputs)
    e.op("REVERSE_SEQUENCE", [x, lengths], [e.result(node.output)], seqDim=op.time_axis, batchDim=op.batch_axis)


# -- distinct elements ------------------------------------------------------------------------------------------------------
def _flat(node: Node) -> Verdict | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Unique) and x is not None
    if op.axis is not None and x.rank != 1:
        return no("the kernel compares single elements")
    if len(node.outputs) < 2 or not node.outputs[1].uses:
        return None
    shape = x.tensor.static_shape
    if shape is None or math.prod(shape) ** 2 > GREATEST_COMPARISON:
        return no("positions of first occurrences are found for few elements only, whose number is known", "dynamic-shape")
    return None


@emits(Unique, dtypes=DISTINCT, when=_flat, level="decomposed")
def unique(e: Emitter, node: Node) -> None:
    """UNIQUE keeps the order of the elements; they are sorted afterwards."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Unique) and x is not None
    shape = sizes(x)
    count = None if None in shape else math.prod(d for d in shape if d is not None)
    flat = e.operand(x) if len(shape) == 1 else e.reshaped(e.operand(x), [count])
    dtype = e.dtype(flat)
    values, index = e.temporary([None], dtype), e.temporary([count], DType.INT32)
    e.op("UNIQUE", [flat], [values, index], idxOutType=2)
    number = e.shape_of(values)
    scalar = e.reshaped(number, [])
    positions = e.temporary([None], DType.INT32)
    e.op("RANGE", [e.number(0, DType.INT32), scalar, e.number(1, DType.INT32)], [positions])
    if op.sorted:
        values, order = _sorted(e, values, scalar)
        rank = e.temporary([None], DType.INT32)
        e.op("SCATTER_ND", [_column(e, order), positions, number], [rank])
        moved = e.temporary([count], DType.INT32)
        e.op("GATHER", [rank, index], [moved], axis=0)
        index = moved
    e.alias(node.outputs[0], values)
    wanted = [i < len(node.outputs) and bool(node.outputs[i].uses) for i in range(4)]
    if wanted[1]:
        same = e.temporary([None, count], DType.BOOL)
        e.op("EQUAL", [_column(e, positions), index], [same])
        first = e.temporary([None], DType.INT64)
        e.op("ARG_MAX", [e.cast(same, DType.INT32), e.ints([1])], [first], outputType=4)
        e.alias(node.outputs[1], first)
    if wanted[2]:
        e.cast_into(index, e.result(node.outputs[2]))
    if wanted[3]:
        ones = e.temporary([count], DType.INT32)
        e.op("FILL", [e.shape_of(index), e.number(1, DType.INT32)], [ones])
        counts = e.temporary([None], DType.INT32)
        e.op("SCATTER_ND", [_column(e, index), ones, number], [counts])
        e.cast_into(counts, e.result(node.outputs[3]))


def _column(e: Emitter, x: int) -> int:
    y = e.temporary([*e.shape(x), 1], e.dtype(x))
    e.op("EXPAND_DIMS", [x, e.number(1, DType.INT32)], [y])
    return y


def _sorted(e: Emitter, values: int, number: int) -> tuple[int, int]:
    """Elements from the least to the greatest, and where each was."""
    dtype = e.dtype(values)
    ordered, order = e.temporary([None], dtype), e.temporary([None], DType.INT32)
    e.op("TOPK_V2", [values, number], [ordered, order])
    results = []
    for tensor in (ordered, order):
        turned = e.temporary([None], e.dtype(tensor))
        e.op("REVERSE_V2", [tensor, e.ints([0])], [turned])
        results.append(turned)
    return results[0], results[1]


# -- boxes ------------------------------------------------------------------------------------------------------------------
def _searches_known(node: Node) -> Verdict | None:
    boxes, scores, most = node.inputs[0], node.inputs[1], node.operand(2)
    assert boxes is not None and scores is not None
    if None in sizes(boxes) or None in sizes(scores):
        return no("the numbers of boxes and classes are not known before the run", "dynamic-shape")
    if math.prod(d or 0 for d in sizes(scores)[:2]) > MOST_CLASSES:
        return no(f"more than {MOST_CLASSES} searches would have to be written out")
    if most is not None and not most.ints:
        return no("the greatest number of boxes is computed at run time", "dynamic-parameter")
    return None


@emits(NonMaxSuppression, when=_searches_known, level="decomposed")
def non_max_suppression(e: Emitter, node: Node) -> None:
    """NON_MAX_SUPPRESSION_V4 for every class of every sample; of what it selects the valid part is kept."""
    op, boxes, scores = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, NonMaxSuppression) and boxes is not None and scores is not None
    batch, classes, count = (d or 0 for d in sizes(scores))
    listed = node.operand(2)
    most = min(max(listed.ints[0], 0), count) if listed is not None and listed.ints else 0
    corners = _corners(e, e.operand(boxes), bool(op.center_point_box), batch, count)
    flat = e.reshaped(e.operand(scores), [batch * classes, count])
    overlap, least = node.operand(3), node.operand(4)
    limits = [
        _just_above(e, overlap),
        e.number(LOWEST) if least is None else scalar_operand(e, least, DType.FLOAT),
    ]
    parts = []
    for sample in range(batch):
        own = _row(e, corners, sample, [count, 4])
        for label in range(classes):
            row = _row(e, flat, sample * classes + label, [count])
            chosen, valid = e.temporary([most], DType.INT32), e.temporary([], DType.INT32)
            e.op("NON_MAX_SUPPRESSION_V4", [own, row, e.number(most, DType.INT32), *limits], [chosen, valid])
            padded = e.constant(np.array([[sample, label]] * most, np.int32).reshape(most, 2))
            whole = e.temporary([most, 3], DType.INT32)
            e.op("CONCATENATION", [padded, e.reshaped(chosen, [most, 1])], [whole], axis=1, fusedActivationFunction=0)
            kept = e.temporary([None, 3], DType.INT32)
            size = e.temporary([2], DType.INT32)
            e.op("CONCATENATION", [e.reshaped(valid, [1]), e.ints([3])], [size], axis=0, fusedActivationFunction=0)
            e.op("SLICE", [whole, e.ints([0, 0]), size], [kept])
            parts.append(kept)
    joined = parts[0]
    if len(parts) > 1:
        joined = e.temporary([None, 3], DType.INT32)
        e.op("CONCATENATION", parts, [joined], axis=0, fusedActivationFunction=0)
    e.cast_into(joined, e.result(node.output))


def _just_above(e: Emitter, overlap: Value | None) -> int:
    """The next number after a threshold: the kernel suppresses boxes that reach it, ONNX those that exceed it."""
    if overlap is None or overlap.data is not None:
        number = np.float32(0 if overlap is None else e.array(overlap).reshape(-1)[0])  # type: ignore[union-attr]
        return e.number(float(np.nextafter(number, np.float32(np.inf))))
    bits, y = e.temporary([], DType.INT32), e.temporary([], DType.FLOAT)
    e.op("BITCAST", [scalar_operand(e, overlap, DType.FLOAT)], [bits])
    e.op("BITCAST", [e.binary("ADD", bits, e.number(1, DType.INT32), fusedActivationFunction=0)], [y])
    return y


def _row(e: Emitter, x: int, index: int, shape: list[int]) -> int:
    if e.shape(x)[0] == 1:
        return e.reshaped(x, shape)
    y = e.temporary(shape, e.dtype(x))
    e.op("GATHER", [x, e.number(index, DType.INT32)], [y], axis=0)
    return y


def _corners(e: Emitter, boxes: int, centred: bool, batch: int, count: int) -> int:
    """Boxes as two corners, the least coordinates first."""
    halves = [e.temporary([batch, count, 2], DType.FLOAT) for _ in range(2)]
    e.op("SPLIT", [e.number(2, DType.INT32), boxes], halves, numSplits=2)
    if centred:
        reach = e.binary("MUL", halves[1], e.number(0.5), None, fusedActivationFunction=0)
        low, high = (e.binary(kernel, halves[0], reach, None, fusedActivationFunction=0) for kernel in ("SUB", "ADD"))
    else:
        low, high = (e.binary(kernel, halves[0], halves[1]) for kernel in ("MINIMUM", "MAXIMUM"))
    y = e.temporary([batch, count, 4], DType.FLOAT)
    e.op("CONCATENATION", [low, high], [y], axis=2, fusedActivationFunction=0)
    return y
