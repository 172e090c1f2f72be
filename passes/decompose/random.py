"""Random draws by uniform ones, and dropout that drops nothing. The results have the same distribution, not the same numbers."""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.cast import Cast
from ...ir.ops.random import Bernoulli, Dropout, Multinomial, RandomUniformLike
from ...ir.ops.reduction import ArgMax
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


@decomposes(Multinomial, name="decompose-multinomial", group="decompose-random")
def multinomial(node: Node, t: Terms) -> Result:
    """The class with the greatest sum of its log-probability and Gumbel noise, -log(-log(u)) with u uniform, for each draw.

    Source: Gumbel, Statistical Theory of Extreme Values, 1954 (the Gumbel-max trick).
    """
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Multinomial) and x is not None
    if x.rank != 2:
        return Decline("the rank is not known")
    scores = t.unsqueeze(t.widen(x), [1])
    draws = t.expand(scores, [t.dim(x, 0), op.sample_size, t.dim(x, 1)])
    uniform = t.apply(RandomUniformLike(dtype=DType.FLOAT, seed=op.seed), draws)
    noise = t.neg(t.log(t.neg(t.log(uniform))))
    chosen = t.apply(ArgMax(axis=2, keepdims=0), t.add(scores, noise))
    return t.cast(chosen, op.dtype)


@decomposes(Dropout, name="decompose-dropout", group="decompose-random", targeted=True)
def dropout(node: Node, t: Terms) -> Result:
    """Dropout that keeps everything is a copy and a mask of ones; in training a uniform number for each element decides."""
    op, x, ratio, training = node.op, *(node.operand(i) for i in range(3))
    assert isinstance(op, Dropout) and x is not None
    if training is None or training.ints == (0,) or equals_everywhere(ratio, 0):
        return _kept(node, x, t)
    if training.ints is None:
        return Decline("whether it trains is known at run time only")
    wide = t.widen(x)
    share = t.like(0.5, wide) if ratio is None else t.cast(ratio, wide.dtype)
    drawn = t.apply(RandomUniformLike(dtype=wide.dtype, seed=None if op.seed is None else float(op.seed)), wide)
    kept = t.at_least(drawn, share)
    result = t.cast(t.where(kept, t.div(wide, t.sub(1.0, share)), 0.0), x.dtype)
    return (result, kept)[: len(node.outputs)]


def _kept(node: Node, x: Value, t: Terms) -> Result:
    if len(node.outputs) < 2 or not node.outputs[1].uses:
        return x
    if x.rank is None:
        return Decline("the rank is not known")
    mask = t.expand(t.constant(True, DType.BOOL), [t.dim(x, i) for i in range(x.rank)])
    return (x if node.outputs[0].uses else None, mask)
