"""Norms, sums of logarithms and variadic operators by simpler ones."""

from __future__ import annotations

import numpy as np

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.binary import Add, Max, Mean, Min, Sum
from ...ir.ops.cast import Cast
from ...ir.ops.logical import Greater
from ...ir.ops.reduction import (
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    ReduceSumSquare,
)
from ..rewriter import Decline, Result
from .activations import operand
from .base import decomposes
from .terms import Terms

GROUP = "decompose-reductions"


def _sum(node: Node, t: Terms, x: Value) -> Value:
    op = node.op
    keep: int = getattr(op, "keepdims", 1)
    noop: int = getattr(op, "noop_with_empty_axes", 0)
    axes = node.operand(1)
    return t.apply(ReduceSum(keepdims=keep, noop_with_empty_axes=noop), x, axes)


@decomposes(ReduceL1, name="decompose-reduce-l1", group=GROUP)
def reduce_l1(node: Node, t: Terms) -> Result:
    """The sum of magnitudes."""
    return t.cast(_sum(node, t, t.abs(operand(node, t))), node.output.dtype)


@decomposes(ReduceSumSquare, name="decompose-reduce-sum-square", group=GROUP)
def reduce_sum_square(node: Node, t: Terms) -> Result:
    """The sum of squares."""
    return t.cast(_sum(node, t, t.square(operand(node, t))), node.output.dtype)


@decomposes(ReduceL2, name="decompose-reduce-l2", group=GROUP)
def reduce_l2(node: Node, t: Terms) -> Result:
    """The root of the sum of squares."""
    x = operand(node, t)
    total = _sum(node, t, t.square(x))
    if x.dtype is not None and not x.dtype.is_float:
        total = t.cast(total, DType.DOUBLE)
    return t.cast(t.sqrt(total), node.output.dtype)


@decomposes(ReduceLogSum, name="decompose-reduce-log-sum", group=GROUP)
def reduce_log_sum(node: Node, t: Terms) -> Result:
    """The logarithm of the sum."""
    x = operand(node, t)
    if x.dtype is not None and not x.dtype.is_float:
        x = t.cast(x, DType.DOUBLE)
    return t.cast(t.log(_sum(node, t, x)), node.output.dtype)


@decomposes(ReduceLogSumExp, name="decompose-reduce-log-sum-exp", group=GROUP)
def reduce_log_sum_exp(node: Node, t: Terms) -> Result:
    """The logarithm of the sum of exponentials, moved by the greatest element so that nothing overflows."""
    op = node.op
    assert isinstance(op, ReduceLogSumExp)
    x = operand(node, t)
    if x.dtype is not None and not x.dtype.is_float:
        x = t.cast(x, DType.DOUBLE)
    axes, noop = node.operand(1), op.noop_with_empty_axes
    peak = t.apply(ReduceMax(keepdims=1, noop_with_empty_axes=noop), x, axes)
    kept = t.apply(ReduceMax(keepdims=0, noop_with_empty_axes=noop), x, axes) if not op.keepdims else peak
    return t.cast(t.add(t.log(_sum(node, t, t.exp(t.sub(x, peak)))), kept), node.output.dtype)


@decomposes(ReduceMean, name="decompose-reduce-mean", group=GROUP)
def reduce_mean(node: Node, t: Terms) -> Result:
    """The sum over the number of elements, where that is known."""
    x, axes = operand(node, t), node.operand(1)
    chosen = axes.ints if axes is not None else None
    if x.shape is None or x.dtype is None or not x.dtype.is_float or axes is not None and chosen is None:
        return Decline("the number of elements is not known")
    picked = range(len(x.shape)) if not chosen else [a % len(x.shape) for a in chosen]
    sizes = [x.shape[a] for a in picked]
    if not all(isinstance(s, int) for s in sizes):
        return Decline("the number of elements is not known")
    count = int(np.prod([s for s in sizes if isinstance(s, int)], dtype=np.int64))
    return t.cast(t.div(_sum(node, t, x), float(count)), node.output.dtype)


@decomposes(ReduceMax, ReduceMin, name="reduce-bool-as-float", group=GROUP, targeted=True)
def reduce_bool(node: Node, t: Terms) -> Result:
    """The greatest or least of truth values, by numbers: also right for no elements at all."""
    x = node.inputs[0]
    assert x is not None
    if x.dtype is not DType.BOOL:
        return None
    numbers = t.apply(Cast(to=DType.FLOAT), x)
    return t.apply(Greater(), t.apply(node.op, numbers, *node.inputs[1:]), t.constant(0.5, DType.FLOAT))


@decomposes(Sum, Max, Min, name="variadic-to-binary", group=GROUP)
def variadic_to_binary(node: Node, t: Terms) -> Result:
    """A variadic operator as a chain of binary ones."""
    values = [v for v in node.inputs if v is not None]
    if len(values) == 1:
        return values[0]
    if len(values) == 2 and not isinstance(node.op, Sum):
        return None
    result = values[0]
    for value in values[1:]:
        result = t.apply(Add() if isinstance(node.op, Sum) else node.op, result, value)
    return result


@decomposes(Mean, name="decompose-mean", group=GROUP)
def mean(node: Node, t: Terms) -> Result:
    """The sum of the operands over their number."""
    values = [t.widen(v) for v in node.inputs if v is not None]
    result = values[0]
    for value in values[1:]:
        result = t.add(result, value)
    return t.cast(t.div(result, float(len(values))), node.output.dtype)
