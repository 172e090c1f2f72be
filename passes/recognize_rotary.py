"""Recognises rotary position embedding (RoPE) that is spelled in small operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..ir.graph import Node, Value
from ..ir.ops.attention import RotaryEmbedding
from ..ir.ops.binary import Add, Mul
from ..ir.ops.concat import Concat, Split
from ..ir.ops.reshape import Expand, Shape, Squeeze, Unsqueeze
from ..ir.ops.slice import Slice
from ..ir.ops.unary import Neg
from .algebra import COMPOSITE_TYPES, exclusive, scalar
from .driver import RulePass
from .rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "recognize-rotary-embedding"
MAX_DEPTH = 10


@dataclass(frozen=True)
class RecognizeRotaryEmbedding(RulePass):
    """Replace x·cos + rotate_half(x)·sin by RotaryEmbedding (opset 23)."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


def _slice_range(node: Node) -> tuple[int, int] | None:
    """Start and end of a Slice along the last axis with step 1."""
    x = node.inputs[0]
    starts, ends, axes, steps = (v.ints if (v := node.operand(i)) is not None else None for i in (1, 2, 3, 4))
    if x is None or x.shape is None or starts is None or ends is None or len(starts) != 1 or steps not in (None, (1,)):
        return None
    if axes is None or axes[0] % len(x.shape) != len(x.shape) - 1:
        return None
    size = x.shape[-1]
    if not isinstance(size, int):
        return None
    start, end = (min(max(p + size if p < 0 else p, 0), size) for p in (starts[0], ends[0]))
    return start, end


def _part(value: Value, x: Value) -> tuple[int, int] | None:
    """The range of the last axis of ``x`` that a value is."""
    node = value.producer
    if node is None or node.inputs[0] is not x or x.shape is None or not isinstance(x.shape[-1], int):
        return None
    if isinstance(node.op, Slice):
        return _slice_range(node)
    if isinstance(node.op, Split) and node.op.axis in (-1, len(x.shape) - 1) and len(node.outputs) == 2:
        first = node.outputs[0].shape
        if first is None or not isinstance(first[-1], int):
            return None
        return (0, first[-1]) if value.index == 0 else (first[-1], x.shape[-1])
    return None


def _rotated_half(value: Value, x: Value) -> bool:
    """Whether ``value`` is ``[−x₂, x₁]`` for the halves ``x = [x₁, x₂]`` of the last axis."""
    node = value.producer
    if node is None or not isinstance(node.op, Concat) or len(node.inputs) != 2 or x.shape is None or value.rank is None:
        return False
    if node.op.axis not in (-1, value.rank - 1):
        return False
    first, second = node.inputs
    negated = first.producer if first is not None else None
    if negated is None or second is None or not isinstance(negated.op, Neg | Mul):
        return False
    source = negated.inputs[0]
    if isinstance(negated.op, Mul) and scalar(negated.inputs[1]) != -1.0:
        return False
    size = x.shape[-1]
    if source is None or not isinstance(size, int) or size % 2:
        return False
    return _part(source, x) == (size // 2, size) and _part(second, x) == (0, size // 2)


def _first_half(value: Value, b: Rewriter, depth: int = MAX_DEPTH) -> Value | None:
    """The first half of the last axis of a value whose two halves are equal; None when that cannot be seen."""
    if value.data is not None:
        array = value.data.numpy()
        if array.ndim == 0 or array.shape[-1] == 1:
            return value
        half = array.shape[-1] // 2
        if array.shape[-1] % 2 or not np.array_equal(array[..., :half], array[..., half:]):
            return None
        return b.constant(np.ascontiguousarray(array[..., :half]))
    node = value.producer
    if node is None or not depth:
        return None
    op = node.op
    if isinstance(op, Concat):
        if len(node.inputs) == 2 and node.inputs[0] is node.inputs[1] and op.axis in (-1, (value.rank or 0) - 1):
            return node.inputs[0]
        return None
    if op.elementwise:
        parts: list[Value | None] = []
        for operand in node.inputs:
            if operand is None or operand.rank == 0 or operand.shape is not None and operand.shape[-1] == 1:
                parts.append(operand)
                continue
            half = _first_half(operand, b, depth - 1)
            if half is None:
                return None
            parts.append(half)
        return b.add(op, *parts)
    if isinstance(op, Unsqueeze | Squeeze) and node.inputs[0] is not None:
        axes, rank = node.inputs[1].ints if node.inputs[1] is not None else None, value.rank
        grown = value if isinstance(op, Unsqueeze) else node.inputs[0]
        if axes is None or rank is None or any(a % (grown.rank or 1) == (grown.rank or 1) - 1 for a in axes):
            return None
        half = _first_half(node.inputs[0], b, depth - 1)
        return None if half is None else b.add(op, half, node.inputs[1])
    return None


def _cache(value: Value, x: Value, b: Rewriter) -> Value | None:
    """Cosines or sines ``[1 or batch, 1, tokens, size]`` as the cache ``[batch, tokens, size / 2]``."""
    if value.shape is None or len(value.shape) != 4 or value.shape[1] != 1 or x.shape is None:
        return None
    half = _first_half(value, b)
    if half is None or half.rank != 4:
        return None
    flat = b.add(Squeeze(), half, b.ints((1,)))
    if value.shape[0] == x.shape[0]:
        return flat
    if value.shape[0] != 1:
        return None
    if isinstance(x.shape[0], int):
        target = b.ints((x.shape[0], 1, 1))
    else:
        target = b.add(Concat(axis=0), b.add(Shape(start=0, end=1), x), b.ints((1, 1)))
    return b.add(Expand(), flat, target)


@rewrites_op(Add, name="recognize-rope", group=GROUP)
def recognize_rope(node: Node, b: Rewriter) -> Result:
    """x·cos + [−x₂, x₁]·sin, with cos and sin made of two equal halves."""
    products = [v.producer for v in node.inputs if v is not None and v.producer is not None and exclusive(v, node)]
    if len(products) != 2 or not all(isinstance(p.op, Mul) for p in products):
        return None
    for plain, rotated in (products, products[::-1]):
        for turned_index in (0, 1):
            turned, sine = rotated.inputs[turned_index], rotated.inputs[1 - turned_index]
            for x_index in (0, 1):
                x, cosine = plain.inputs[x_index], plain.inputs[1 - x_index]
                if x is None or turned is None or sine is None or cosine is None or not _rotated_half(turned, x):
                    continue
                return _replacement(node, b, x, cosine, sine, (plain, rotated))
    return None


def _replacement(node: Node, b: Rewriter, x: Value, cosine: Value, sine: Value, products: tuple[Node, Node]) -> Result:
    if x.rank != 4:
        return Decline("the rotated tensor does not have the rank 4", node)
    cosines = _cache(cosine, x, b)
    sines = _cache(sine, x, b) if cosines is not None else None
    if cosines is None or sines is None:
        return Decline("the cosines or sines do not have two equal halves, or vary over the heads", node)
    if x.shape is None or not isinstance(x.shape[3], int) or x.dtype not in COMPOSITE_TYPES:
        return Decline("the size of the heads is not static, or the element type is not one of the operator's", node)
    wanted = (x.shape[2], x.shape[3] // 2)
    if any(table.shape is None or table.shape[1:] != wanted for table in (cosines, sines)):
        return Decline("the cosines or sines do not have one number for every position and half of the head", node)
    b.credit(*products)
    return b.add(RotaryEmbedding(), x, cosines, sines)
