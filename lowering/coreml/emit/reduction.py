"""Reductions, cumulative sums, the greatest and the least."""

from __future__ import annotations

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.reduction import (
    ArgMax,
    ArgMin,
    CumSum,
    ReduceL1,
    ReduceL2,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
)
from ....ir.ops.selection import TopK
from .context import Emission
from .translation import FLOATS, NUMBERS, Obstacle, constant_operand, every, translates

_REDUCTIONS = {
    ReduceMax: "reduce_max", ReduceMin: "reduce_min", ReduceProd: "reduce_prod", ReduceSum: "reduce_sum",
    ReduceL1: "reduce_l1_norm", ReduceSumSquare: "reduce_sum_square",
}  # fmt: skip
_FLOAT_REDUCTIONS = {ReduceMean: "reduce_mean", ReduceL2: "reduce_l2_norm", ReduceLogSumExp: "reduce_log_sum_exp"}
_axes = constant_operand(1, "the axes")


@translates(*_REDUCTIONS, dtypes=NUMBERS, when=_axes)
@translates(*_FLOAT_REDUCTIONS, when=_axes)
def reduce(e: Emission, node: Node) -> None:
    """A reduction over some axes, or over all."""
    x, op, axes = e.operand(node), node.op, node.operand(1)
    rank = len(x.shape)
    chosen = [a % rank for a in axes.ints or ()] if axes is not None else []
    if not chosen:
        if getattr(op, "noop_with_empty_axes", 0):
            e.bind(node, _single(e, node, x))
            return
        chosen = list(range(rank))
    if not rank:
        e.bind(node, _single(e, node, x))
        return
    name = _REDUCTIONS.get(type(op)) or _FLOAT_REDUCTIONS[type(op)]  # type: ignore[index]
    e.bind(node, getattr(e.mil, name)(x=x, axes=sorted(chosen), keep_dims=bool(op.keepdims)))  # type: ignore[attr-defined]


def _single(e: Emission, node: Node, x: object) -> object:
    """The reduction of single elements."""
    if isinstance(node.op, ReduceL1 | ReduceL2):
        return e.mil.abs(x=x)
    if isinstance(node.op, ReduceSumSquare):
        return e.mil.mul(x=x, y=x)
    return e.mil.identity(x=x)


def _first(node: Node) -> Obstacle | None:
    op = node.op
    assert isinstance(op, ArgMax | ArgMin)
    x = node.inputs[0]
    assert x is not None and x.shape is not None
    if op.select_last_index and not (x.shape and isinstance(x.shape[op.axis], int)):
        return Obstacle("dynamic-shape", "the last of equal elements is found in an axis of known size only")
    return None


@translates(ArgMax, ArgMin, dtypes=NUMBERS, when=_first)
def position(e: Emission, node: Node) -> None:
    """The position of the first greatest or least element; of the last one in the reversed operand."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, ArgMax | ArgMin)
    function = e.mil.reduce_argmax if isinstance(op, ArgMax) else e.mil.reduce_argmin
    if op.select_last_index:
        size = int(x.shape[op.axis])
        found = function(x=e.mil.reverse(x=x, axes=[op.axis % len(x.shape)]), axis=op.axis, keep_dims=bool(op.keepdims))
        e.bind(node, e.mil.sub(x=np.int32(size - 1), y=e.cast(found, "int32")))
        return
    e.bind(node, function(x=x, axis=op.axis, keep_dims=bool(op.keepdims)))


@translates(CumSum, dtypes=NUMBERS, when=constant_operand(1, "the axis"))
def cumulative(e: Emission, node: Node) -> None:
    """Sums of all elements up to each one."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, CumSum)
    axis = int(e.known(node, 1).reshape(-1)[0]) % len(x.shape)
    e.bind(node, e.mil.cumsum(x=x, axis=axis, exclusive=bool(op.exclusive), reverse=bool(op.reverse)))


def _top(node: Node) -> Obstacle | None:
    count = node.inputs[1]
    if count is None or count.ints is None:
        return Obstacle("dynamic-parameter", "the number of elements has to be known")
    return None


@translates(TopK, dtypes=FLOATS | {DType.INT32, DType.INT64}, when=every(_top))
def top_k(e: Emission, node: Node) -> None:
    """The greatest or least elements in order, with their positions."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, TopK)
    count = int(e.required(node, 1).ints[0])  # type: ignore[index]
    values, indices = e.mil.topk(x=x, k=count, axis=op.axis, ascending=not op.largest)
    e.bind(node, values, e.cast(indices, "int32"))
