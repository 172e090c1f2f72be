"""Normalisations."""

from __future__ import annotations

from ....ir.graph import Node
from ....ir.ops.normalization import LRN, BatchNormalization, InstanceNormalization, LayerNormalization
from .context import Emission
from .translation import Condition, Obstacle, every, translates

LAYER_NORM = "layer_norm is an operator of MIL since iOS15 (coremltools 9.0, ops/defs/iOS15/normalization.py)"


def _affine(*indices: int) -> Condition:
    def condition(node: Node) -> Obstacle | None:
        if all(v is None or v.data is not None for v in (node.operand(i) for i in indices)):
            return None
        return Obstacle("dynamic-parameter", "MIL wants scale and bias as constants")

    return condition


def _layer(node: Node) -> Obstacle | None:
    x, scale, op = node.inputs[0], node.inputs[1], node.op
    assert x is not None and scale is not None and isinstance(op, LayerNormalization) and x.shape is not None
    if any(v.uses for v in node.outputs[1:]):
        return Obstacle("attribute", "MIL does not give mean and deviation")
    axes = x.shape[op.axis % len(x.shape) :]
    bias = node.operand(2)
    if any(not isinstance(d, int) for d in axes) or scale.shape != axes or bias is not None and bias.shape != axes:
        return Obstacle("attribute", "MIL wants scale and bias in the shape of the normalised axes")
    return None


@translates(LayerNormalization, when=every(_affine(1, 2), _layer), evidence=LAYER_NORM)
def layer_norm(e: Emission, node: Node) -> None:
    """Normalisation over the trailing axes."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, LayerNormalization)
    rank = len(x.shape)
    axes = list(range(op.axis % rank, rank))
    gamma, beta = e.known(node, 1), e.known(node, 2)
    e.bind(node, e.mil.layer_norm(x=x, axes=axes, gamma=gamma, beta=beta, epsilon=e.like(op.epsilon, x)))


def _channels(node: Node) -> Obstacle | None:
    x = node.inputs[0]
    assert x is not None and x.shape is not None
    if not 3 <= len(x.shape) <= 5:
        return Obstacle("rank", "MIL normalises operands of rank 3 to 5 per channel")
    if not isinstance(x.shape[1], int):
        return Obstacle("dynamic-shape", "the number of channels is not known")
    if getattr(node.op, "training_mode", 0):
        return Obstacle("attribute", "training mode updates the statistics")
    x_type = node.inputs[0]
    if any(v is not None and v.dtype is not x_type.dtype for v in node.inputs):  # type: ignore[union-attr]
        return Obstacle("dtype", "parameters of another element type than the operand")
    return None


@translates(BatchNormalization, when=every(_affine(1, 2, 3, 4), _channels))
def batch_norm(e: Emission, node: Node) -> None:
    """Normalisation with stored statistics."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, BatchNormalization)
    gamma, beta, mean, variance = (e.known(node, i) for i in (1, 2, 3, 4))
    e.bind(node, e.mil.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=e.like(op.epsilon, x)))


def _image(node: Node) -> Obstacle | None:
    x = node.inputs[0]
    return None if x is not None and x.rank in (3, 4) else Obstacle("rank", "MIL's instance_norm takes rank 3 and 4")


@translates(InstanceNormalization, when=every(_affine(1, 2), _channels, _image))
def instance_norm(e: Emission, node: Node) -> None:
    """Normalisation of each channel of each image."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, InstanceNormalization)
    gamma, beta = e.known(node, 1), e.known(node, 2)
    e.bind(node, e.mil.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=e.like(op.epsilon, x)))


def _odd(node: Node) -> Obstacle | None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, LRN) and x is not None
    if op.size % 2 == 0:
        return Obstacle("attribute", "windows of even size lie differently in MIL")
    return None if x.rank in (3, 4, 5) else Obstacle("rank", "MIL's local_response_norm takes rank 3 and more")


@translates(LRN, when=_odd)
def local_response(e: Emission, node: Node) -> None:
    """Normalisation across neighbouring channels."""
    op, x = node.op, e.operand(node)
    assert isinstance(op, LRN)
    e.bind(node, e.mil.local_response_norm(x=x, size=op.size, alpha=e.like(op.alpha, x), beta=e.like(op.beta, x), k=e.like(op.bias, x)))
