"""Normalisations by means, differences and square roots, computed in float32 for 16-bit floats."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.dtypes import DType
from ...ir.graph import Node, Value
from ...ir.ops.normalization import (
    BatchNormalization,
    GroupNormalization,
    InstanceNormalization,
    LayerNormalization,
    MeanVarianceNormalization,
    RMSNormalization,
)
from ...ir.ops.unary import Sqrt
from ..rewriter import Decline, Result
from .activations import operand
from .base import decomposes
from .terms import Terms

GROUP = "decompose-normalization"
_UNKNOWN_RANK = Decline("the rank of the operand is not known")
_STASH = {1: DType.FLOAT, 10: DType.FLOAT16, 11: DType.DOUBLE, 16: DType.BFLOAT16}


def trailing(node: Node, axis: int) -> list[int] | None:
    """The axes from ``axis`` on, None when the rank is unknown."""
    x = node.inputs[0]
    assert x is not None
    return None if x.rank is None else list(range(axis % x.rank, x.rank))


def standardized(t: Terms, x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value, Value]:
    """The centred and scaled value, the mean, and the inverse standard deviation."""
    mean = t.mean(x, axes)
    centred = t.sub(x, mean)
    deviation = t.sqrt(t.add(t.mean(t.square(centred), axes), epsilon))
    inverse = t.reciprocal(deviation)
    return t.mul(centred, inverse), mean, inverse


def rms_scaled(t: Terms, x: Value, axes: Sequence[int], epsilon: float) -> tuple[Value, Value]:
    """The value over the root of its mean square, and the inverse root."""
    inverse = t.reciprocal(t.apply(Sqrt(), t.add(t.mean(t.square(x), axes), epsilon)))
    return t.mul(x, inverse), inverse


def per_channel(t: Terms, vector: Value, rank: int) -> Value:
    """A vector over the channels in a form that broadcasts against ``[batch, channels, …]``."""
    wide = t.widen(vector)
    return wide if rank == 2 else t.reshape(wide, [-1, *(1,) * (rank - 2)])


@decomposes(LayerNormalization, name="decompose-layer-normalization", group=GROUP)
def layer_normalization(node: Node, t: Terms) -> Result:
    """Mean and variance over the trailing axes, then scale and bias."""
    op = node.op
    assert isinstance(op, LayerNormalization)
    axes = trailing(node, op.axis)
    if axes is None:
        return _UNKNOWN_RANK
    y, mean, inverse = standardized(t, operand(node, t), axes, op.epsilon)
    y = t.mul(y, operand(node, t, 1))
    bias = node.operand(2)
    if bias is not None:
        y = t.add(y, t.widen(bias))
    results = [t.cast(y, node.output.dtype), mean, inverse]
    return tuple(
        None if index and not value.uses else t.cast(result, value.dtype)
        for index, (result, value) in enumerate(zip(results, node.outputs, strict=False))
    )


@decomposes(RMSNormalization, name="decompose-rms-normalization", group=GROUP)
def rms_normalization(node: Node, t: Terms) -> Result:
    """``x`` over the root of its mean square, times the scale."""
    op = node.op
    assert isinstance(op, RMSNormalization)
    axes = trailing(node, op.axis)
    if axes is None:
        return _UNKNOWN_RANK
    y, _ = rms_scaled(t, operand(node, t), axes, op.epsilon)
    return t.cast(t.mul(y, operand(node, t, 1)), node.output.dtype)


@decomposes(GroupNormalization, name="decompose-group-normalization", group=GROUP)
def group_normalization(node: Node, t: Terms) -> Result:
    """Normalisation of ``[batch, groups, rest]``, then scale and bias per channel."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, GroupNormalization) and x is not None
    if x.rank is None:
        return _UNKNOWN_RANK
    grouped = t.reshape(t.widen(x), [0, op.num_groups, -1])
    y, _, _ = standardized(t, grouped, [2], op.epsilon)
    y = t.reshape(y, [t.dim(x, axis) for axis in range(x.rank)])
    scaled = t.mul(y, per_channel(t, _required(node, 1), x.rank))
    return t.cast(t.add(scaled, per_channel(t, _required(node, 2), x.rank)), node.output.dtype)


@decomposes(InstanceNormalization, name="decompose-instance-normalization", group=GROUP)
def instance_normalization(node: Node, t: Terms) -> Result:
    """Mean and variance over the spatial axes, then scale and bias per channel."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, InstanceNormalization) and x is not None
    if x.rank is None:
        return _UNKNOWN_RANK
    if x.rank < 3:
        return Decline("there are no spatial axes, and reductions take no axes for all of them")
    y, _, _ = standardized(t, t.widen(x), list(range(2, x.rank)), op.epsilon)
    scaled = t.mul(y, per_channel(t, _required(node, 1), x.rank))
    return t.cast(t.add(scaled, per_channel(t, _required(node, 2), x.rank)), node.output.dtype)


@decomposes(BatchNormalization, name="decompose-batch-normalization", group=GROUP)
def batch_normalization(node: Node, t: Terms) -> Result:
    """``x * factor + offset`` with the stored statistics."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, BatchNormalization) and x is not None
    if op.training_mode:
        return Decline("training mode updates the statistics")
    if x.rank is None or x.rank < 2:
        return _UNKNOWN_RANK
    scale, bias, mean, variance = (t.widen(_required(node, index)) for index in (1, 2, 3, 4))
    factor = t.div(scale, t.sqrt(t.add(variance, op.epsilon)))
    offset = t.sub(bias, t.mul(mean, factor))
    scaled = t.mul(t.widen(x), per_channel(t, factor, x.rank))
    return t.cast(t.add(scaled, per_channel(t, offset, x.rank)), node.output.dtype)


@decomposes(BatchNormalization, name="decompose-batch-statistics", group=GROUP)
def batch_statistics(node: Node, t: Terms) -> Result:
    """In training mode: by the mean and the variance of the batch, which also move the running ones."""
    op, x = node.op, node.inputs[0]
    assert isinstance(op, BatchNormalization) and x is not None
    if not op.training_mode:
        return None
    if x.rank is None or x.rank < 2:
        return _UNKNOWN_RANK
    axes = [axis for axis in range(x.rank) if axis != 1]
    wide = t.widen(x)
    scale, bias, mean, variance = (t.cast(_required(node, index), wide.dtype) for index in (1, 2, 3, 4))
    here = t.mean(wide, axes)
    centred = t.sub(wide, here)
    spread = t.mean(t.square(centred), axes)
    normal = t.div(centred, t.sqrt(t.add(spread, op.epsilon)))
    y = t.add(t.mul(normal, per_channel(t, scale, x.rank)), per_channel(t, bias, x.rank))

    def moved(running: Value, batch: Value) -> Value:
        return t.add(t.mul(running, op.momentum), t.mul(t.squeeze(batch, axes), 1.0 - op.momentum))

    results = (y, moved(mean, here), moved(variance, spread))
    return tuple(t.cast(value, old.dtype) for value, old in zip(results, node.outputs, strict=False))


@decomposes(MeanVarianceNormalization, name="decompose-mean-variance-normalization", group=GROUP)
def mean_variance_normalization(node: Node, t: Terms) -> Result:
    """``(x - mean) / (deviation + 1e-9)``."""
    op = node.op
    assert isinstance(op, MeanVarianceNormalization)
    x = operand(node, t)
    centred = t.sub(x, t.mean(x, op.axes))
    deviation = t.sqrt(t.mean(t.square(centred), op.axes))
    return t.cast(t.div(centred, t.add(deviation, 1e-9)), node.output.dtype)


def _required(node: Node, index: int) -> Value:
    value = node.inputs[index]
    assert value is not None
    return value
