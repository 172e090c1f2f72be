"""Constants that give one number per channel, and products whose weights can take them up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..ir.graph import Node, Value
from ..ir.ops.conv import Conv, ConvTranspose
from ..ir.ops.matmul import Gemm, MatMul

Array = np.ndarray[Any, np.dtype[Any]]
FOLDABLE = (Conv, ConvTranspose, Gemm, MatMul)


def channel_axis(node: Node) -> int | None:
    """The axis of a product's result along which its weights have one slice per channel."""
    rank = node.output.rank
    if rank is None:
        return None
    return rank - 1 if isinstance(node.op, Gemm | MatMul) else 1


def fits(array: Array, dtype: Any) -> bool:
    """Whether all numbers are finite in a numpy type."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(array.astype(dtype)).all())


def is_tied(value: Value | None, limit: int) -> bool:
    """Whether a constant of more than ``limit`` bytes has several readers: changed for one of them, it would be stored twice."""
    if value is None or value.data is None or len(value.uses) < 2:
        return False
    return value.data.dtype.nbytes(math.prod(value.data.shape)) > limit


def per_channel(constant: Value, node: Node) -> Array | None:
    """A constant operand as one number per channel of a product's result (or one for all), in float64; None when it varies otherwise."""
    result, axis = node.output, channel_axis(node)
    if constant.data is None or result.shape is None or axis is None or not constant.data.dtype.is_float:
        return None
    shape = constant.data.shape
    if len(shape) > len(result.shape):
        return None
    aligned = (1,) * (len(result.shape) - len(shape)) + tuple(shape)
    if any(d != 1 for i, d in enumerate(aligned) if i != axis):
        return None
    channels = result.shape[axis]
    if aligned[axis] not in (1, channels) or not isinstance(channels, int) and aligned[axis] != 1:
        return None
    values = constant.data.numpy().astype(np.float64).reshape(-1)
    return np.broadcast_to(values, (channels,)) if isinstance(channels, int) else values


@dataclass(frozen=True)
class Weights:
    """The constant weights and bias of a product, in float64.

    Attributes:
        node: the product.
        bias: one number per channel, zeros when there is none.
    """

    node: Node
    bias: Array

    @cached_property
    def weight(self) -> Array:
        """The weights as the node has them (converted on first use: they may be large)."""
        data = self.node.inputs[1].data  # type: ignore[union-attr]
        assert data is not None
        return data.numpy().astype(np.float64)

    def scaled(self, factor: Array) -> Array:
        """The weights with every output channel multiplied by its factor."""
        op, weight = self.node.op, self.weight
        if factor.size == 1:
            return weight * factor.reshape(())
        if isinstance(op, Conv):
            return weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        if isinstance(op, ConvTranspose):  # [inputs, outputs / group, …]: inputs of group g make outputs of group g
            grouped = factor.reshape(op.group, 1, -1, *(1,) * (weight.ndim - 2))
            split = weight.reshape(op.group, weight.shape[0] // op.group, *weight.shape[1:])
            return (split * grouped).reshape(weight.shape)
        if isinstance(op, Gemm) and op.transB:
            return weight * factor[:, None]
        return weight * factor


def weights_of(node: Node | None) -> Weights | None:
    """The weights of a Conv, ConvTranspose, Gemm or MatMul when they (and its bias) are constant floats."""
    if node is None or not isinstance(node.op, FOLDABLE):
        return None
    weight, bias = node.operand(1), node.operand(2)
    if weight is None or weight.data is None or not weight.data.dtype.is_float or weight.rank is None or weight.rank < 2:
        return None
    if isinstance(node.op, MatMul) and weight.rank != 2:
        return None
    if isinstance(node.op, Gemm) and (node.op.alpha != 1.0 or node.op.beta != 1.0):
        return None
    channels = output_channels(node)
    if bias is None:
        offsets = np.zeros(channels)
    else:
        if bias.data is None or bias.data.shape not in ((channels,), (1,), (), (1, channels), (1, 1)):
            return None
        offsets = np.broadcast_to(bias.data.numpy().astype(np.float64).reshape(-1), (channels,))
    return Weights(node, offsets)


def output_channels(node: Node) -> int:
    """The number of channels that the weights produce."""
    shape = node.inputs[1].data.shape  # type: ignore[union-attr]
    if isinstance(node.op, Conv):
        return shape[0]
    if isinstance(node.op, ConvTranspose):
        return shape[1] * node.op.group
    return shape[0] if isinstance(node.op, Gemm) and node.op.transB else shape[1]
