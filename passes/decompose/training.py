"""Optimizer steps of ai.onnx.preview.training by arithmetic."""

from __future__ import annotations

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.training import Adagrad, Adam, Momentum
from ..rewriter import Result
from .base import decomposes
from .terms import Terms

GROUP = "decompose-training"


def _kinds(node: Node, count: int) -> tuple[Value, Value, list[list[Value]]]:
    """The rate, the step number, and the operands by kind."""
    values = [v for v in node.inputs if v is not None]
    rest = values[2:]
    each = len(rest) // count
    return values[0], values[1], [rest[i * each : (i + 1) * each] for i in range(count)]


@decomposes(Adagrad, name="decompose-adagrad", group=GROUP)
def adagrad(node: Node, t: Terms) -> Result:
    """A step along the gradient over the root of the accumulated squares."""
    op = node.op
    assert isinstance(op, Adagrad)
    rate, step, (weights, gradients, squares) = _kinds(node, 3)
    moved, accumulated = [], []
    for w, g, s in zip(weights, gradients, squares, strict=True):
        decay = t.add(t.mul(t.cast(step, w.dtype), op.decay_factor), 1.0)
        slope = t.add(g, t.mul(w, op.norm_coefficient))
        total = t.add(s, t.square(slope))
        moved.append(t.sub(w, t.div(t.mul(t.div(t.cast(rate, w.dtype), decay), slope), t.add(t.sqrt(total), op.epsilon))))
        accumulated.append(total)
    return (*moved, *accumulated)


@decomposes(Adam, name="decompose-adam", group=GROUP)
def adam(node: Node, t: Terms) -> Result:
    """A step along the averaged gradient over the root of the averaged squares, both corrected for the first steps."""
    op = node.op
    assert isinstance(op, Adam)
    rate, step, (weights, gradients, averages, squares) = _kinds(node, 4)
    moved, means, variances = [], [], []
    for w, g, v, h in zip(weights, gradients, averages, squares, strict=True):
        slope = t.add(g, t.mul(w, op.norm_coefficient))
        mean = t.add(t.mul(v, op.alpha), t.mul(slope, 1 - op.alpha))
        variance = t.add(t.mul(h, op.beta), t.mul(t.square(slope), 1 - op.beta))
        number = t.cast(step, w.dtype)
        correction = t.div(t.sqrt(t.sub(1.0, t.pow(t.like(op.beta, w), number))), t.sub(1.0, t.pow(t.like(op.alpha, w), number)))
        fixed = t.where(t.greater(step, t.constant(0, DType.INT64)), correction, t.like(1.0, w))
        adjusted = t.mul(t.cast(rate, w.dtype), fixed)
        new = t.sub(w, t.div(t.mul(adjusted, mean), t.add(t.sqrt(variance), op.epsilon)))
        moved.append(t.mul(new, 1 - op.norm_coefficient_post))
        means.append(mean)
        variances.append(variance)
    return (*moved, *means, *variances)


@decomposes(Momentum, name="decompose-momentum", group=GROUP)
def momentum(node: Node, t: Terms) -> Result:
    """A step along the running sum of gradients."""
    op = node.op
    assert isinstance(op, Momentum)
    rate, step, (weights, gradients, momenta) = _kinds(node, 3)
    moved, sums = [], []
    for w, g, v in zip(weights, gradients, momenta, strict=True):
        slope = t.add(g, t.mul(w, op.norm_coefficient))
        share = t.where(t.greater(step, t.constant(0, DType.INT64)), t.like(op.beta, w), t.like(1.0, w))
        total = t.add(t.mul(v, op.alpha), t.mul(slope, share))
        direction = t.add(slope, t.mul(total, op.alpha)) if op.mode == "nesterov" else total
        moved.append(t.sub(w, t.mul(t.cast(rate, w.dtype), direction)))
        sums.append(total)
    return (*moved, *sums)
