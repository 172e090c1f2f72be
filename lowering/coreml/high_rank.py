"""Transposes of more than five dimensions between two reshapes, said with five at most."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...ir.graph import Node, Value
from ...ir.ops.reshape import Reshape
from ...ir.ops.transpose import Transpose
from ...passes.decompose.terms import Terms
from ...passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .emit.dispatch import MAX_RANK
from .emit.translation import MOVABLE

GROUP = "coreml-rewrites"


@rewrites_op(Reshape, name="coreml-high-rank-transpose", group=GROUP)
def high_rank_transpose(node: Node, b: Rewriter) -> Result:
    """Reshape, Transpose, Reshape through many dimensions: axes that stay together are one, then one axis moves at a time."""
    middle = node.inputs[0]
    transpose = None if middle is None else middle.producer
    if transpose is None or not isinstance(transpose.op, Transpose) or middle is None or (middle.rank or 0) <= MAX_RANK:
        return None
    source = transpose.inputs[0]
    first = None if source is None else source.producer
    if first is None or not isinstance(first.op, Reshape) or source is None:
        return Decline("the operand of the transpose is no reshape", transpose)
    x, shape, result = first.inputs[0], _sizes(source), _sizes(node.output)
    if shape is None or result is None or x is None or x.dtype not in MOVABLE:
        return Decline("more than one size is not known", first)
    perm = transpose.op.perm if transpose.op.perm is not None else tuple(reversed(range(len(shape))))
    b.credit(first, transpose)
    t = Terms(b)
    moved = transposed(t, x, shape, perm)
    return t.reshape(moved, list(result))


def _sizes(value: Value) -> tuple[int, ...] | None:
    """The sizes with -1 for an unknown one; None when more are unknown."""
    sizes = tuple(d if isinstance(d, int) else -1 for d in value.shape or ())
    return sizes if value.shape is not None and sizes.count(-1) <= 1 else None


def transposed(t: Terms, x: Value, shape: Sequence[int], perm: Sequence[int]) -> Value:
    """A value as it lies in memory after ``x.reshape(shape).transpose(perm)``; its own dimensions are another grouping.

    One size may be unknown: -1.
    """
    sizes, order = merged(shape, perm)
    if len(sizes) <= MAX_RANK:
        return t.transpose(t.reshape(x, list(sizes)), order)
    current = list(range(len(sizes)))  # the original axes in their present order
    y = x
    for place, axis in enumerate(order):
        at = current.index(axis)
        if at == place:
            continue
        before, between, after = current[:place], current[place:at], current[at + 1 :]
        blocks = [_product(sizes, part) for part in (before, between, [axis], after)]
        y = t.transpose(t.reshape(y, blocks), (0, 2, 1, 3))
        current = [*before, axis, *between, *after]
    return y


def merged(shape: Sequence[int], perm: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The same permutation with axes of size one left out and axes that stay neighbours joined."""
    kept = [axis for axis in perm if shape[axis] != 1]
    if not kept:
        return (1,), (0,)
    axes = sorted(kept)
    follows = {a: b for a, b in zip(axes, axes[1:], strict=False)}
    groups: list[list[int]] = []
    for axis in kept:
        if groups and follows.get(groups[-1][-1]) == axis:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    in_order = sorted(groups)
    return tuple(_product(shape, group) for group in in_order), tuple(in_order.index(group) for group in groups)


def _product(sizes: Sequence[int], axes: Sequence[int]) -> int:
    """The number of elements of some axes, -1 when one of them is unknown."""
    factors = [sizes[axis] for axis in axes]
    return -1 if -1 in factors else math.prod(factors)
