"""Folds explicit zero padding into the operator that follows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..ir.graph import Node
from ..ir.ops.concat import Pad
from ..ir.ops.conv import Conv
from ..ir.ops.pooling import AveragePool
from .algebra import exclusive, scalar
from .driver import RulePass
from .rewriter import Decline, Result, Rewriter, rewrites_op

GROUP = "fold-pad"


@dataclass(frozen=True)
class FoldPad(RulePass):
    """Fold a Pad with zeros into the Conv, or into the AveragePool that counts padding, that follows it."""

    name: ClassVar[str] = GROUP
    groups: ClassVar[tuple[str, ...]] = (GROUP,)


def _spatial_pads(pad: Node) -> tuple[int, ...] | str:
    """Begins and ends of the padded spatial axes, or why they are not such."""
    assert isinstance(pad.op, Pad)
    if pad.op.mode != "constant":
        return f"the padding mode is {pad.op.mode}"
    value = pad.operand(2)
    if value is not None and scalar(value) != 0.0:
        return "the padding is not zero"
    x, pads, axes = pad.inputs[0], pad.operand(1), pad.operand(3)
    if x is None or x.rank is None or pads is None or pads.ints is None:
        return "the pads are not constant"
    rank = x.rank
    if axes is not None and axes.ints is None:
        return "the padded axes are not constant"
    chosen = [a % rank for a in axes.ints] if axes is not None and axes.ints is not None else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for position, axis in enumerate(chosen):
        begins[axis], ends[axis] = pads.ints[position], pads.ints[len(chosen) + position]
    if any(begins[:2]) or any(ends[:2]):
        return "batch or channels are padded"
    if min(begins + ends) < 0:
        return "a pad is negative"
    return tuple(begins[2:] + ends[2:])


@rewrites_op(Conv, AveragePool, name="fold-pad", group=GROUP)
def fold_pad(node: Node, b: Rewriter) -> Result:
    """conv(pad(x)) is conv(x) with larger pads."""
    x = node.inputs[0]
    pad = x.producer if x is not None else None
    if pad is None or x is None or not isinstance(pad.op, Pad):
        return None
    if not exclusive(x, node):
        return Decline("the padded value is used elsewhere too", pad)
    op = node.op
    assert isinstance(op, Conv | AveragePool)
    if op.auto_pad not in ("NOTSET", "VALID"):
        return Decline(f"the pads are chosen by auto_pad={op.auto_pad}", node)
    if isinstance(op, AveragePool) and (any(op.pads or ()) and not op.count_include_pad or op.ceil_mode):
        return Decline("the pool does not count its padding", node)
    pads = _spatial_pads(pad)
    if isinstance(pads, str):
        return Decline(pads, pad)
    own = op.pads or (0,) * len(pads)
    total = tuple(p + q for p, q in zip(pads, own, strict=True))
    changed: dict[str, Any] = {"pads": total, "auto_pad": "NOTSET"}
    if isinstance(op, AveragePool):
        if any(p >= k for p, k in zip(total, op.kernel_shape * 2, strict=True)):
            return Decline("a pool may not pad as much as its kernel is wide", node)
        changed["count_include_pad"] = 1
    b.credit(pad)
    return b.add(replace(op, **changed), pad.inputs[0], *node.inputs[1:])
