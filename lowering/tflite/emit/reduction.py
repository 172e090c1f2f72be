"""Reductions, arg-reductions, running sums and the greatest elements."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.reduction import ArgMax, ArgMin, CumSum, ReduceMax, ReduceMean, ReduceMin, ReduceProd, ReduceSum, Reduction
from ....ir.ops.selection import TopK
from ...backend import Verdict
from ..emitter import Emitter
from ..registry import FLOAT32, emits, first_of, no
from ..schema import tensor_type
from .conditions import NUMBERS, constant_operand, rank_at_most, sizes
from .shapes import scalar_operand

KERNELS = {ReduceSum: "SUM", ReduceMean: "MEAN", ReduceMax: "REDUCE_MAX", ReduceMin: "REDUCE_MIN", ReduceProd: "REDUCE_PROD"}
EXTREMES = frozenset((DType.FLOAT, DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8))
SEARCHED = frozenset((DType.FLOAT, DType.INT32))
GREATEST_RANK = 6
_axes_known = constant_operand(1, "the list of axes")


def axes_of(node: Node) -> tuple[int, ...]:
    """The axes that a reduction reduces."""
    op, x, listed = node.op, node.inputs[0], node.operand(1)
    assert isinstance(op, Reduction) and x is not None and x.rank is not None
    return tuple(sorted(op.chosen_axes(None if listed is None else listed.ints, x.rank)))


@emits(ReduceSum, ReduceProd, dtypes=NUMBERS, when=first_of(_axes_known, rank_at_most(GREATEST_RANK)))
@emits(ReduceMean, dtypes=FLOAT32, when=first_of(_axes_known, rank_at_most(GREATEST_RANK)))
@emits(ReduceMax, ReduceMin, dtypes=EXTREMES, when=first_of(_axes_known, rank_at_most(GREATEST_RANK)))
def reduction(e: Emitter, node: Node) -> None:
    _reduce(e, node, KERNELS[type(node.op)])


@emits(ReduceMax, ReduceMin, dtypes=frozenset((DType.BOOL,)), when=first_of(_axes_known, rank_at_most(GREATEST_RANK)))
def bool_reduction(e: Emitter, node: Node) -> None:
    _reduce(e, node, "REDUCE_ANY" if isinstance(node.op, ReduceMax) else "REDUCE_ALL")


def _reduce(e: Emitter, node: Node, kernel: str) -> None:
    axes, x = axes_of(node), e.operand(node.inputs[0])
    assert isinstance(node.op, Reduction)
    if not axes:
        e.copy_into(x, e.result(node.output))
        return
    e.op(kernel, [x, e.ints(axes)], [e.result(node.output)], keepDims=bool(node.op.keepdims))


def _last_of_known(node: Node) -> Verdict | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, ArgMax | ArgMin) and x is not None and x.rank is not None
    if op.select_last_index and sizes(x)[op.axis % x.rank] is None:
        return no("the last position is counted from an end that is not known", "dynamic-shape")
    if op.keepdims and sizes(node.output).count(None) > 1:
        return no("several sizes of the result are not known before the run", "dynamic-shape")
    return None


@emits(ArgMax, ArgMin, dtypes=SEARCHED, when=_last_of_known)
def position(e: Emitter, node: Node) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, ArgMax | ArgMin) and x is not None and x.rank is not None
    tensor, axis = e.operand(x), op.axis % x.rank
    if op.select_last_index:
        turned = e.temporary(e.shape(tensor), e.dtype(tensor))
        e.op("REVERSE_V2", [tensor, e.ints([axis])], [turned])
        tensor = turned
    kept = [d for i, d in enumerate(e.shape(tensor)) if i != axis]
    plain = not op.select_last_index and not op.keepdims
    found = e.result(node.output) if plain else e.temporary(kept, DType.INT64)
    kernel = "ARG_MAX" if isinstance(op, ArgMax) else "ARG_MIN"
    e.op(kernel, [tensor, e.ints([axis])], [found], outputType=tensor_type(DType.INT64))
    if plain:
        return
    if op.select_last_index:
        size = sizes(x)[axis]
        assert size is not None
        y = e.temporary(kept, DType.INT64) if op.keepdims else e.result(node.output)
        e.op("SUB", [e.number(size - 1, DType.INT64), found], [y], fusedActivationFunction=0)
        found = y
    if op.keepdims:
        e.reshape_into(found, e.result(node.output), sizes(node.output))


@emits(CumSum, dtypes=NUMBERS, when=constant_operand(1, "the axis"))
def running_sum(e: Emitter, node: Node) -> None:
    op, x, axis = node.op, *node.inputs
    assert isinstance(op, CumSum) and x is not None and x.rank is not None and axis is not None and axis.ints is not None
    along = e.number(axis.ints[0] % x.rank, DType.INT32)
    e.op("CUMSUM", [e.operand(x), along], [e.result(node.output)], exclusive=bool(op.exclusive), reverse=bool(op.reverse))


@emits(TopK, dtypes=EXTREMES)
def greatest(e: Emitter, node: Node) -> None:
    """TOPK_V2 searches the last axis for the greatest; the least are found in the reversed order of the numbers."""
    op, x, count = node.op, *node.inputs
    assert isinstance(op, TopK) and x is not None and x.rank is not None and count is not None
    axis, last = op.axis % x.rank, x.rank - 1
    order = [*(i for i in range(x.rank) if i != axis), axis]
    back = [order.index(i) for i in range(x.rank)]
    tensor = e.transposed(e.operand(x), order)
    if not op.largest:
        tensor = _turned(e, tensor)
    shape = [e.shape(tensor)[i] for i in range(last)] + [sizes(node.output)[axis]]
    values, index = e.temporary(shape, e.dtype(tensor)), e.temporary(shape, DType.INT32)
    e.op("TOPK_V2", [tensor, scalar_operand(e, count, DType.INT32)], [values, index])
    if not op.largest:
        values = _turned(e, values)
    e.alias(node.outputs[0], e.transposed(values, back))
    if len(node.outputs) > 1 and node.outputs[1].uses:
        e.alias(node.outputs[1], e.transposed(e.cast(index, DType.INT64), back))


def _turned(e: Emitter, x: int) -> int:
    """Numbers in the opposite order, exactly: ``-x``, or ``-1 - x`` for integers, whose least has no opposite."""
    dtype = e.dtype(x)
    if dtype is DType.FLOAT:
        return e.unary("NEG", x)
    if dtype in (DType.INT32, DType.INT64):
        return e.binary("SUB", e.number(-1, dtype), x, fusedActivationFunction=0)
    return e.binary("BITWISE_XOR", x, e.number(-1 if dtype.is_signed_integer else 255, dtype))
