"""Transposes: absorbed into matrix products, merged, and hoisted through operators when that leaves fewer of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..ir.graph import Node, Value
from ..ir.ops.concat import Concat, Pad
from ..ir.ops.matmul import Gemm, MatMul
from ..ir.ops.reduction import Reduction
from ..ir.ops.slice import Slice
from ..ir.ops.softmax import AlongAxis
from ..ir.ops.transpose import Transpose
from .algebra import exclusive
from .channel_parameters import is_tied
from .driver import RulePass
from .rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "sink-transposes"
MAX_DEPTH = 12
NEVER = 1 << 20
TIED_BYTES = 1 << 16
Perm = tuple[int, ...]


@dataclass(frozen=True)
class SinkTransposes(RulePass):
    """Merge Transposes, absorb them into Gemm and constant weights, and cancel them through elementwise, Concat, Pad, Slice and Reduce."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


def permutation(node: Node) -> Perm | None:
    """The permutation of a Transpose, with the default (all axes reversed) filled in."""
    op = node.op
    if not isinstance(op, Transpose):
        return None
    if op.perm is not None:
        return tuple(op.perm)
    rank = node.output.rank
    return tuple(reversed(range(rank))) if rank is not None else None


def compose(first: Perm, second: Perm) -> Perm:
    """The permutation that applies ``first`` and then ``second``."""
    return tuple(first[axis] for axis in second)


def is_identity(perm: Sequence[int]) -> bool:
    """Whether nothing moves."""
    return all(axis == index for index, axis in enumerate(perm))


@rewrites_op(Transpose, name="merge-transposes", group=GROUP, benefit=3)
def merge(node: Node, b: Rewriter) -> Result:
    """transpose(transpose(x)) is one transpose, or none."""
    inner = node.inputs[0].producer if node.inputs[0] is not None else None
    if inner is None or not isinstance(inner.op, Transpose):
        return None
    first, second = permutation(inner), permutation(node)
    if first is None or second is None:
        return None
    perm = compose(first, second)
    b.credit(inner)
    return inner.inputs[0] if is_identity(perm) else b.add(Transpose(perm=perm), inner.inputs[0])


@rewrites_op(Gemm, name="transpose-into-gemm", group=GROUP, benefit=2)
def into_gemm(node: Node, b: Rewriter) -> Result:
    """A transposed operand of a Gemm is its transA or transB."""
    op = node.op
    assert isinstance(op, Gemm)
    operands = list(node.inputs)
    for index, flag in ((0, "transA"), (1, "transB")):
        value = operands[index]
        producer = value.producer if value is not None else None
        if producer is not None and isinstance(producer.op, Transpose) and permutation(producer) == (1, 0):
            b.credit(producer)
            operands[index] = producer.inputs[0]
            op = replace(op, **{flag: 1 - getattr(op, flag)})
    return b.add(op, *operands) if op != node.op else None


@rewrites_op(MatMul, name="transposed-matmul-to-gemm", group=GROUP, benefit=2)
def matmul_to_gemm(node: Node, b: Rewriter) -> Result:
    """A product of matrices, one of them transposed, is a Gemm that transposes."""
    first, second = node.inputs
    assert first is not None and second is not None
    if first.rank != 2 or second.rank != 2 or first.dtype is None or not first.dtype.is_float:
        return None
    flags: dict[str, int] = {}
    operands: list[Value | None] = []
    for value, flag in ((first, "transA"), (second, "transB")):
        producer = value.producer
        if producer is not None and isinstance(producer.op, Transpose) and permutation(producer) == (1, 0) and exclusive(value, node):
            flags[flag] = 1
            b.credit(producer)
            value = producer.inputs[0]  # type: ignore[assignment]
        operands.append(value)
    return b.add(Gemm(**flags), *operands) if flags else None


# -- hoisting ------------------------------------------------------------------------------------------------------------------
def _extra(value: Value, user: Node, perm: Perm, depth: int) -> int:
    """How many more Transposes the graph has when ``value`` is wanted permuted and not as it is; −1 when one disappears."""
    if value.data is not None or value.rank == 0:
        return NEVER if is_tied(value, TIED_BYTES) else 0
    if value.rank != len(perm):
        return NEVER
    node = value.producer
    if node is None or depth == 0:
        return 1
    alone = exclusive(value, user)
    if isinstance(node.op, Transpose):
        first = permutation(node)
        if first is not None and is_identity(compose(first, perm)):
            return -1 if alone else 0
        return 0 if alone else 1
    if not alone or len(node.outputs) != 1:
        return 1
    operands = _moved_operands(node, perm)
    if operands is None:
        return 1
    inner = sum(_extra(v, node, p, depth - 1) for v, p in operands)
    return min(inner, 1)


def _moved_operands(node: Node, perm: Perm) -> list[tuple[Value, Perm]] | None:
    """The operands that a node would need permuted if its result were wanted permuted; None when it cannot be moved across."""
    op = node.op
    if op.elementwise and not op.domain:
        if any(v is not None and v.data is None and v.rank not in (0, len(perm)) for v in node.inputs):
            return None
        if any(v is not None and v.rank is not None and v.rank > len(perm) for v in node.inputs):
            return None
        return [(v, perm) for v in node.inputs if v is not None]
    if isinstance(op, Concat):
        return [(v, perm) for v in node.inputs if v is not None]
    if isinstance(op, AlongAxis):
        return [(node.inputs[0], perm)]  # type: ignore[list-item]
    if isinstance(op, Reduction) and op.keepdims and _ints(node, 1):
        return [(node.inputs[0], perm)]  # type: ignore[list-item]
    if isinstance(op, Pad) and _ints(node, 1) and node.operand(3) is None and len(_ints(node, 1) or ()) == 2 * len(perm):
        return [(node.inputs[0], perm)]  # type: ignore[list-item]
    if isinstance(op, Slice) and _ints(node, 3):
        return [(node.inputs[0], perm)]  # type: ignore[list-item]
    return None


def _ints(node: Node, index: int) -> tuple[int, ...] | None:
    value = node.operand(index)
    return value.ints if value is not None else None


def _permuted(b: Rewriter, value: Value, perm: Perm, depth: int, user: Node) -> Value:
    """Build ``value`` permuted, in the way that `_extra` counted."""
    rank = len(perm)
    if value.rank == 0:
        return value
    if value.data is not None:
        array = value.data.numpy()
        aligned = array.reshape((1,) * (rank - array.ndim) + array.shape)
        return b.constant(np.ascontiguousarray(aligned.transpose(perm)), value.data.dtype)
    node = value.producer
    if node is not None and depth and isinstance(node.op, Transpose):
        first = permutation(node)
        assert first is not None
        merged = compose(first, perm)
        source = node.inputs[0]
        assert source is not None
        return source if is_identity(merged) else b.add(Transpose(perm=merged), source)
    if node is None or not depth or not exclusive(value, user) or len(node.outputs) != 1:
        return b.add(Transpose(perm=perm), value)
    operands = _moved_operands(node, perm)
    if operands is None or sum(_extra(v, node, p, depth - 1) for v, p in operands) > 1:
        return b.add(Transpose(perm=perm), value)
    b.credit(node)
    return _rebuilt(b, node, perm, depth)


def _rebuilt(b: Rewriter, node: Node, perm: Perm, depth: int) -> Value:
    op = node.op
    place = {axis: index for index, axis in enumerate(perm)}  # where an axis of the old result lies in the new one
    rank = len(perm)
    if op.elementwise or isinstance(op, Concat):
        if isinstance(op, Concat):
            op = replace(op, axis=place[op.axis % rank])
        return b.add(op, *(None if v is None else _permuted(b, v, perm, depth - 1, node) for v in node.inputs))
    x = node.inputs[0]
    assert x is not None
    inner = _permuted(b, x, perm, depth - 1, node)
    if isinstance(op, AlongAxis):
        return b.add(replace(op, axis=place[op.axis % rank]), inner)  # type: ignore[type-var]
    if isinstance(op, Reduction):
        return b.add(op, inner, b.ints([place[a % rank] for a in _ints(node, 1) or ()]))
    if isinstance(op, Pad):
        pads = _ints(node, 1) or ()
        moved = [pads[axis] for axis in perm] + [pads[rank + axis] for axis in perm]
        return b.add(op, inner, b.ints(moved), *node.inputs[2:])
    assert isinstance(op, Slice)
    axes = b.ints([place[a % rank] for a in _ints(node, 3) or ()])
    return b.add(op, inner, node.inputs[1], node.inputs[2], axes, *node.inputs[4:])


@rewrites_op(Transpose, name="hoist-transpose", group=GROUP)
def hoist(node: Node, b: Rewriter) -> Result:
    """transpose(f(x, y)) = f(transpose(x), transpose(y)) where that leaves fewer Transposes in the graph."""
    perm, value = permutation(node), node.inputs[0]
    if perm is None or value is None or value.producer is None or isinstance(value.producer.op, Transpose):
        return None
    if _moved_operands(value.producer, perm) is None or len(value.producer.outputs) != 1:
        return None
    if not exclusive(value, node):
        return Decline("the value is also used as it is", value.producer)
    if _extra(value, node, perm, MAX_DEPTH) >= 1:
        return Decline("moving the Transpose up would not leave fewer of them", value.producer)
    return _permuted(b, value, perm, MAX_DEPTH, node)
