"""Products of integers, for which LiteRT has no kernel: exact sums of products in float32."""

from __future__ import annotations

import math

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.conv import Conv
from ....ir.ops.quantized_products import ConvInteger, MatMulInteger
from ....passes.decompose.terms import Terms
from ....passes.rewriter import Decline, Result, Rewriter, rewrites_op
from .group import GROUP

EXACT = 1 << 24  # below, float32 holds every integer
GREATEST = 255  # difference of an 8-bit integer and its zero point
PART = 16


@rewrites_op(ConvInteger, MatMulInteger, name="tflite-integer-products", group=GROUP)
def integer_products(node: Node, b: Rewriter) -> Result:
    """Products of the differences from the zero points.

    Where sums may pass what float32 holds, the first operand is taken in two parts of four bits, whose sums are added as integers.
    """
    op, a, w = node.op, node.inputs[0], node.inputs[1]
    assert isinstance(op, ConvInteger | MatMulInteger) and a is not None and w is not None
    t = Terms(b)
    convolved = isinstance(op, ConvInteger)
    weights = _centred(t, w, node.operand(3), 0 if convolved else None)
    total = _greatest_sum(weights, convolved)
    if total is None or PART * total >= EXACT:
        return Decline("the sums may pass what float32 holds")
    x = _centred(t, a, node.operand(2), None if convolved else -2)

    def product(left: Value) -> Value:
        if not isinstance(op, ConvInteger):
            return t.cast(t.matmul(left, weights), DType.INT32)
        conv = Conv(
            auto_pad=op.auto_pad, dilations=op.dilations, group=op.group, kernel_shape=op.kernel_shape, pads=op.pads, strides=op.strides
        )
        return t.cast(t.apply(conv, left, weights), DType.INT32)

    if GREATEST * total < EXACT:
        return product(x)
    high = t.floor(t.mul(x, 1 / PART))
    low = t.sub(x, t.mul(high, float(PART)))
    return t.add(t.mul(product(high), PART), product(low))


def _centred(t: Terms, value: Value, point: Value | None, axis: int | None) -> Value:
    """An operand minus its zero point as float32; one point for each index of ``axis`` when there are several."""
    if point is None:
        return _number(t, value)
    zero = _number(t, point)
    if point.rank == 1 and point.shape != (1,) and axis is not None:
        rank = value.rank or 2
        zero = t.reshape(zero, [-1 if i == axis % rank else 1 for i in range(rank)])
    if value.data is not None and zero.data is not None:
        return t.constant(_number(t, value).data.numpy() - zero.data.numpy())  # type: ignore[union-attr]
    return t.sub(_number(t, value), zero)


def _number(t: Terms, value: Value) -> Value:
    return t.constant(value.data.numpy().astype(np.float32)) if value.data is not None else t.cast(value, DType.FLOAT)


def _greatest_sum(weights: Value, convolved: bool) -> int | None:
    """The greatest sum of the sizes of the weights of one result."""
    if weights.data is not None:
        sizes = np.abs(weights.data.numpy())
        return int(sizes.sum(axis=tuple(range(1, sizes.ndim)) if convolved else max(sizes.ndim - 2, 0)).max(initial=0))
    shape = weights.tensor.static_shape
    if shape is None:
        return None
    terms = math.prod(shape[1:]) if convolved else shape[max(len(shape) - 2, 0)]
    return terms * GREATEST
