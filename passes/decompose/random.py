"""Random draws by uniform ones, and dropout that drops nothing."""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.ops.cast import Cast
from ...ir.ops.random import Bernoulli, Dropout, RandomUniformLike
from ..rewriter import Decline, Result
from ..values import equals_everywhere
from .base import decomposes
from .terms import Terms


@decomposes(Bernoulli, name="decompose-bernoulli", group="decompose-random")
def bernoulli(node: Node, t: Terms) -> Result:
    """One where a uniform number is below the probability. (The function body in ONNX compares the other way round.)"""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Bernoulli) and x is not None
    probability = t.widen(x)
    drawn = t.apply(RandomUniformLike(dtype=probability.dtype, seed=op.seed), probability)
    return t.apply(Cast(to=node.output.dtype or DType.FLOAT), t.less(drawn, probability))


@decomposes(Dropout, name="decompose-dropout", group="decompose-random", targeted=True)
def dropout(node: Node, t: Terms) -> Result:
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
    mask = t.expand(t.constant(True, DType.BOOL), [t.dim(x, i) for i in range(x.rank)])
    return (x if node.outputs[0].uses else None, mask)
