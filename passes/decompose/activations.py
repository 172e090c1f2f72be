"""Activation functions by exponentials, comparisons and arithmetic."""

from __future__ import annotations

from ...ir.graph import Node, Value
from ...ir.ops.activation import (
    Celu,
    Clip,
    Elu,
    Hardmax,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mish,
    PRelu,
    Relu,
    Selu,
    Shrink,
    Softplus,
    Softsign,
    SwiGLU,
    Swish,
    ThresholdedRelu,
)
from ...ir.ops.generate import OneHot
from ...ir.ops.reduction import ArgMax
from ...ir.ops.softmax import LogSoftmax, Softmax
from ..rewriter import Result
from .base import decomposes
from .gelu import sigmoid_form
from .terms import Terms

GROUP = "decompose-activations"


def operand(node: Node, t: Terms, index: int = 0) -> Value:
    """A required operand, widened."""
    value = node.inputs[index]
    assert value is not None
    return t.widen(value)


@decomposes(Swish, name="decompose-swish", group=GROUP)
def swish(node: Node, t: Terms) -> Result:
    """``x * sigmoid(alpha x)``."""
    assert isinstance(node.op, Swish)
    return t.cast(sigmoid_form(t, operand(node, t), node.op.alpha), node.output.dtype)


@decomposes(SwiGLU, name="decompose-swiglu", group=GROUP)
def swiglu(node: Node, t: Terms) -> Result:
    """``a * sigmoid(alpha a) * b``."""
    assert isinstance(node.op, SwiGLU)
    gate = sigmoid_form(t, operand(node, t), node.op.alpha)
    return t.cast(t.mul(gate, operand(node, t, 1)), node.output.dtype)


@decomposes(HardSwish, name="decompose-hard-swish", group=GROUP)
def hard_swish(node: Node, t: Terms) -> Result:
    """``x * HardSigmoid(x)`` with slope 1/6."""
    x = operand(node, t)
    return t.cast(t.mul(x, t.apply(HardSigmoid(alpha=1 / 6, beta=0.5), x)), node.output.dtype)


@decomposes(HardSigmoid, name="decompose-hard-sigmoid", group=GROUP)
def hard_sigmoid(node: Node, t: Terms) -> Result:
    """``min(max(alpha x + beta, 0), 1)``."""
    assert isinstance(node.op, HardSigmoid)
    line = t.add(t.mul(operand(node, t), node.op.alpha), node.op.beta)
    return t.cast(t.min(t.max(line, 0.0), 1.0), node.output.dtype)


@decomposes(Mish, name="decompose-mish", group=GROUP)
def mish(node: Node, t: Terms) -> Result:
    """``x * tanh(softplus(x))``."""
    x = operand(node, t)
    return t.cast(t.mul(x, t.tanh(t.apply(Softplus(), x))), node.output.dtype)


@decomposes(Softplus, name="decompose-softplus", group=GROUP)
def softplus(node: Node, t: Terms) -> Result:
    """``max(x, 0) + log(1 + exp(-|x|))``, which does not overflow."""
    x = operand(node, t)
    tail = t.log(t.add(t.exp(t.neg(t.abs(x))), 1.0))
    return t.cast(t.add(t.max(x, 0.0), tail), node.output.dtype)


@decomposes(Softsign, name="decompose-softsign", group=GROUP)
def softsign(node: Node, t: Terms) -> Result:
    """``x / (1 + |x|)``."""
    x = operand(node, t)
    return t.cast(t.div(x, t.add(t.abs(x), 1.0)), node.output.dtype)


@decomposes(Celu, name="decompose-celu", group=GROUP)
def celu(node: Node, t: Terms) -> Result:
    """``max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)``."""
    assert isinstance(node.op, Celu)
    alpha, x = node.op.alpha, operand(node, t)
    tail = t.apply(Elu(alpha=1.0), t.div(x, alpha))
    return t.cast(t.mul(tail, alpha), node.output.dtype) if alpha > 0 else None


@decomposes(Elu, name="decompose-elu", group=GROUP)
def elu(node: Node, t: Terms) -> Result:
    """``x`` where positive, else ``alpha (exp(x) - 1)``; the exponential sees no positive numbers."""
    assert isinstance(node.op, Elu)
    x = operand(node, t)
    return t.cast(t.where(t.greater(x, 0.0), x, _below(t, x, node.op.alpha)), node.output.dtype)


@decomposes(Selu, name="decompose-selu", group=GROUP)
def selu(node: Node, t: Terms) -> Result:
    """``gamma x`` where positive, else ``gamma alpha (exp(x) - 1)``."""
    assert isinstance(node.op, Selu)
    x = operand(node, t)
    bent = t.where(t.greater(x, 0.0), x, _below(t, x, node.op.alpha))
    return t.cast(t.mul(bent, node.op.gamma), node.output.dtype)


def _below(t: Terms, x: Value, alpha: float) -> Value:
    return t.mul(t.sub(t.exp(t.min(x, 0.0)), 1.0), alpha)


@decomposes(ThresholdedRelu, name="decompose-thresholded-relu", group=GROUP)
def thresholded_relu(node: Node, t: Terms) -> Result:
    """``x`` where it exceeds alpha, else 0."""
    assert isinstance(node.op, ThresholdedRelu)
    x = operand(node, t)
    return t.cast(t.where(t.greater(x, node.op.alpha), x, 0.0), node.output.dtype)


@decomposes(LeakyRelu, name="decompose-leaky-relu", group=GROUP)
def leaky_relu(node: Node, t: Terms) -> Result:
    """``x`` where not negative, else ``alpha x``."""
    assert isinstance(node.op, LeakyRelu)
    x = operand(node, t)
    return t.cast(t.where(t.less(x, 0.0), t.mul(x, node.op.alpha), x), node.output.dtype)


@decomposes(PRelu, name="decompose-prelu", group=GROUP)
def prelu(node: Node, t: Terms) -> Result:
    """``x`` where not negative, else ``slope x``."""
    x = operand(node, t)
    return t.cast(t.where(t.less(x, 0), t.mul(x, operand(node, t, 1)), x), node.output.dtype)


@decomposes(Relu, name="decompose-relu", group=GROUP)
def relu(node: Node, t: Terms) -> Result:
    """``max(x, 0)``."""
    return t.cast(t.max(operand(node, t), 0), node.output.dtype)


@decomposes(Shrink, name="decompose-shrink", group=GROUP)
def shrink(node: Node, t: Terms) -> Result:
    """``x + bias`` below -lambd, ``x - bias`` above lambd, else 0."""
    assert isinstance(node.op, Shrink)
    x = operand(node, t)
    if x.dtype is None or not x.dtype.is_float:
        return None
    high = t.where(t.greater(x, node.op.lambd), t.sub(x, node.op.bias), 0.0)
    return t.cast(t.where(t.less(x, -node.op.lambd), t.add(x, node.op.bias), high), node.output.dtype)


@decomposes(Clip, name="decompose-clip", group=GROUP)
def clip(node: Node, t: Terms) -> Result:
    """``min(max(x, low), high)``."""
    x, low, high = operand(node, t), node.operand(1), node.operand(2)
    if low is None and high is None:
        return node.inputs[0]
    if low is not None:
        x = t.max(x, t.widen(low))
    return t.cast(x if high is None else t.min(x, t.widen(high)), node.output.dtype)


@decomposes(Softmax, name="decompose-softmax", group=GROUP)
def softmax(node: Node, t: Terms) -> Result:
    """``exp(x - max) / sum(exp(x - max))``."""
    assert isinstance(node.op, Softmax)
    x = operand(node, t)
    powers = t.exp(t.sub(x, t.greatest(x, [node.op.axis])))
    return t.cast(t.div(powers, t.total(powers, [node.op.axis])), node.output.dtype)


@decomposes(LogSoftmax, name="decompose-log-softmax", group=GROUP)
def log_softmax(node: Node, t: Terms) -> Result:
    """``x - max - log(sum(exp(x - max)))``."""
    assert isinstance(node.op, LogSoftmax)
    x = operand(node, t)
    moved = t.sub(x, t.greatest(x, [node.op.axis]))
    return t.cast(t.sub(moved, t.log(t.total(t.exp(moved), [node.op.axis]))), node.output.dtype)


@decomposes(Hardmax, name="decompose-hardmax", group=GROUP)
def hardmax(node: Node, t: Terms) -> Result:
    """One-hot of the position of the first greatest element."""
    assert isinstance(node.op, Hardmax)
    x = node.inputs[0]
    assert x is not None
    if x.rank is None or x.dtype is None:
        return None
    axis = node.op.axis % x.rank
    best = t.apply(ArgMax(axis=axis, keepdims=0), t.widen(x))
    values = t.constant([0, 1], t.widen(x).dtype)
    return t.cast(t.apply(OneHot(axis=axis), best, t.scalar(t.dim(x, axis)), values), x.dtype)
