"""Random draws by uniform ones."""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.graph import Node
from ...ir.ops.cast import Cast
from ...ir.ops.random import Bernoulli, RandomUniformLike
from ..rewriter import Result
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
