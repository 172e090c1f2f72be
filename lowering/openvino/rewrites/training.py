"""Steps of optimizers, written out. ONNX defines them in `ai.onnx.preview.training`."""

from __future__ import annotations

from typing import Any

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.random import Dropout
from ....ir.ops.training import Adagrad, Adam, Momentum
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from ....passes.values import equals_everywhere
from .functions import GROUP


@rewrites_op(Momentum, name="openvino-momentum", group=GROUP)
def momentum(node: Node, b: Rewriter) -> Result:
    """A step of gradient descent with momentum."""
    op: Any = node.op
    rate, step, groups, t = _operands(node, b, 3)
    weights, momenta = [], []
    for x, g, v in groups:
        gradient = t.add(t.mul(x, op.norm_coefficient), g)
        first = t.equal(step, 0)
        beta = t.where(first, t.like(1.0, x), t.like(op.beta, x))
        moved = t.add(t.mul(v, op.alpha), t.mul(gradient, beta))
        pull = t.add(gradient, t.mul(moved, op.alpha)) if op.mode == "nesterov" else moved
        weights.append(t.sub(x, t.mul(pull, rate)))
        momenta.append(moved)
    return (*weights, *momenta)


@rewrites_op(Adagrad, name="openvino-adagrad", group=GROUP)
def adagrad(node: Node, b: Rewriter) -> Result:
    """A step of Adagrad."""
    op: Any = node.op
    rate, step, groups, t = _operands(node, b, 3)
    weights, squares = [], []
    slowed = t.div(rate, t.add(t.mul(t.cast(step, rate.dtype), op.decay_factor), 1.0))
    for x, g, h in groups:
        gradient = t.add(t.mul(x, op.norm_coefficient), g)
        total = t.add(h, t.square(gradient))
        weights.append(t.sub(x, t.div(t.mul(gradient, slowed), t.add(t.sqrt(total), op.epsilon))))
        squares.append(total)
    return (*weights, *squares)


@rewrites_op(Adam, name="openvino-adam", group=GROUP)
def adam(node: Node, b: Rewriter) -> Result:
    """A step of Adam."""
    op: Any = node.op
    rate, step, groups, t = _operands(node, b, 4)
    weights, averages, squares = [], [], []
    for x, g, v, h in groups:
        gradient = t.add(t.mul(x, op.norm_coefficient), g)
        average = t.add(t.mul(v, op.alpha), t.mul(gradient, 1.0 - op.alpha))
        square = t.add(t.mul(h, op.beta), t.mul(t.square(gradient), 1.0 - op.beta))
        count = t.cast(step, x.dtype)
        scaled = t.div(t.mul(rate, t.sqrt(t.sub(1.0, t.pow(t.like(op.beta, x), count)))), t.sub(1.0, t.pow(t.like(op.alpha, x), count)))
        used = t.where(t.greater(step, 0), scaled, rate)
        moved = t.sub(x, t.div(t.mul(average, used), t.add(t.sqrt(square), op.epsilon)))
        weights.append(t.mul(moved, 1.0 - op.norm_coefficient_post))
        averages.append(average)
        squares.append(square)
    return (*weights, *averages, *squares)


def _operands(node: Node, b: Rewriter, kinds: int) -> tuple[Value, Value, list[tuple[Value, ...]], Terms]:
    """The learning rate, the step number, and for each optimized tensor its operands of all kinds."""
    values = [v for v in node.inputs if v is not None]
    count = (len(values) - 2) // kinds
    groups = [tuple(values[2 + k * count + i] for k in range(kinds)) for i in range(count)]
    t = Terms(b)
    dtype = groups[0][0].dtype
    return t.cast(values[0], dtype), values[1], groups, t


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
