"""Merges data movement: slices of slices, and concatenation with a constant border, which is padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir.graph import Node, Value
from ..ir.ops.concat import Concat, Pad
from ..ir.ops.generate import ConstantOfShape
from ..ir.ops.slice import Slice
from .driver import RulePass
from .rewriter import Decline, Result, Rewriter, rewrites_op
from .values import uniform_number

GROUP = "merge-slices"


@dataclass(frozen=True)
class MergeSlices(RulePass):
    """Merge Slices of different axes into one, and write concatenation with a constant border as Pad."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


def _parameters(node: Node) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """Constant starts, ends, non-negative axes and steps of a Slice."""
    x = node.inputs[0]
    lists = [v.ints if (v := node.operand(i)) is not None else None for i in (1, 2, 3, 4)]
    if x is None or x.rank is None or lists[0] is None or lists[1] is None:
        return None
    count = len(lists[0])
    if any(node.operand(i) is not None and lists[i - 1] is None for i in (3, 4)):
        return None
    axes = [a % x.rank for a in lists[2]] if lists[2] is not None else list(range(count))
    return list(lists[0]), list(lists[1]), axes, list(lists[3] or (1,) * count)


@rewrites_op(Slice, name="merge-slices", group=GROUP)
def merge_slices(node: Node, b: Rewriter) -> Result:
    """slice(slice(x)) along different axes is one slice; a shared inner slice only goes when all that reads it are slices."""
    value = node.inputs[0]
    inner = value.producer if value is not None else None
    if inner is None or value is None or not isinstance(inner.op, Slice) or inner.inputs[0] is None:
        return None
    if value.is_output or not all(isinstance(user.op, Slice) for user in value.users()):
        return Decline("the inner slice is used elsewhere too", inner)
    first, second = _parameters(inner), _parameters(node)
    if first is None or second is None:
        return Decline("starts, ends, axes or steps are not constant", node)
    if set(first[2]) & set(second[2]):
        return Decline("both slices cut the same axis", node)
    order = sorted(range(len(first[2]) + len(second[2])), key=lambda i: (first[2] + second[2])[i])
    starts, ends, axes, steps = ([(p + q)[i] for i in order] for p, q in zip(first, second, strict=True))
    b.credit(inner)
    operands = [b.ints(starts), b.ints(ends), b.ints(axes)]
    if any(step != 1 for step in steps):
        operands.append(b.ints(steps))
    return b.add(Slice(), inner.inputs[0], *operands)


def _border(value: Value | None) -> float | None:
    """The number that fills a computed constant."""
    node = value.producer if value is not None else None
    if node is None or not isinstance(node.op, ConstantOfShape):
        return None
    held = node.op.value
    number = 0.0 if held is None else held.numpy().reshape(-1)[0].item()
    return float(number) if isinstance(number, int | float) else None


@rewrites_op(Concat, name="concat-border-to-pad", group=GROUP)
def concat_to_pad(node: Node, b: Rewriter) -> Result:
    """concat(x, [c, c, …]) is pad(x) with c."""
    if len(node.inputs) != 2 or node.output.rank is None or node.output.dtype is None or not node.output.dtype.is_float:
        return None
    rank = node.output.rank
    axis = node.op.axis % rank  # type: ignore[attr-defined]
    for index in (0, 1):
        border, x = node.inputs[index], node.inputs[1 - index]
        number = _border(border)
        if number is None or border is None or x is None or border.shape is None or uniform_number(x) is not None:
            continue
        width = border.shape[axis]
        if not isinstance(width, int):
            return Decline("the width of the border is not static", node)
        pads = [0] * (2 * rank)
        pads[axis if index == 0 else rank + axis] = width
        value = b.scalar_like(node.output, number) if number else None
        return b.add(Pad(), x, b.ints(pads), value)
    return None
