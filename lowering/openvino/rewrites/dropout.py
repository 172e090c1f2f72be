"""Dropout in training mode that drops nothing."""

from __future__ import annotations

from ....ir.dtypes import DType
from ....ir.graph import Node
from ....ir.ops.random import Dropout
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ....passes.values import equals_everywhere
from .functions import GROUP


@rewrites_op(Dropout, name="openvino-dropout", group=GROUP)
def dropout(node: Node, b: Rewriter) -> Result:
    """Dropout that keeps everything is a copy and a mask of ones."""
    x, ratio, training = (node.operand(i) for i in range(3))
    assert x is not None
    trains = training is not None and training.ints != (0,)
    if trains and not equals_everywhere(ratio, 0):
        return Decline("training mode is random")
    if len(node.outputs) < 2 or not node.outputs[1].uses:
        return x
    if x.rank is None:
        return Decline("the rank is not known")
    t = Terms(b)
    mask = t.expand(t.constant(True, DType.BOOL), [t.dim(x, i) for i in range(x.rank)])
    return (x if node.outputs[0].uses else None, mask)
