"""Convolutions of concatenated channels, as sums of convolutions of the parts.

CONCATENATION writes all channels once more; the sums read and write the results, which pays where filters are few.
"""

from __future__ import annotations

import math

import numpy as np

from ....ir.dtypes import DType
from ....ir.graph import Node, Value
from ....ir.ops.binary import Add
from ....ir.ops.concat import Concat
from ....ir.ops.conv import Conv
from ....ir.ops.pooling import AveragePool, MaxPool
from ....passes.rewriter import Result, Rewriter, rewrites_op
from .group import GROUP

LEAST_GAIN = 1.25  # numbers no longer moved for each one that is


@rewrites_op(MaxPool, AveragePool, name="tflite-pooling-of-joined-channels", group=GROUP, benefit=2)
def pooling_of_joined_channels(node: Node, b: Rewriter) -> Result:
    """A pooling between a concatenation and a convolution that could read its parts is applied to the parts."""
    parts = _parts(node.inputs[0])
    users = node.output.users()
    if parts is None or len(node.outputs) > 1 or len(users) != 1 or not _is_alone(node.output):
        return None
    reader = users[0]
    if not isinstance(reader.op, Conv) or reader.inputs[0] is not node.output or not _pays(reader, len(parts)):
        return None
    return b.add(Concat(axis=1), *(b.add(node.op, part) for part in parts))


@rewrites_op(Conv, name="tflite-convolution-of-joined-channels", group=GROUP, benefit=2)
def convolution_of_joined_channels(node: Node, b: Rewriter) -> Result:
    """A convolution that alone reads a concatenation reads the parts, with the filters' share of the channels."""
    op, weight, bias = node.op, node.inputs[1], node.operand(2)
    parts = _parts(node.inputs[0])
    if parts is None or weight is None or weight.data is None or not _pays(node, len(parts)):
        return None
    ends = np.cumsum([part.shape[1] for part in parts])  # type: ignore[index]
    total: Value | None = None
    for part, share in zip(parts, np.split(weight.data.numpy(), ends[:-1], axis=1), strict=True):
        offsets = [bias] if total is None and bias is not None else []
        result = b.add(op, part, b.constant(np.ascontiguousarray(share)), *offsets)
        total = result if total is None else b.add(Add(), total, result)
    return total


def _is_alone(value: Value) -> bool:
    """Whether one node reads a value, once, and nothing else does."""
    return len(list(value.uses)) == 1 and not value.is_output


def _parts(joined: Value | None) -> list[Value] | None:
    """What a concatenation of channels joins, None when the value is none or is also read elsewhere."""
    producer = joined.producer if joined is not None else None
    if joined is None or producer is None or not isinstance(producer.op, Concat) or not _is_alone(joined):
        return None
    rank = joined.rank
    if rank is None or producer.op.axis % rank != 1 or len(producer.inputs) < 2:
        return None
    parts = [v for v in producer.inputs if v is not None and v.shape is not None and isinstance(v.shape[1], int)]
    return parts if len(parts) == len(producer.inputs) else None


def _pays(reader: Node, parts: int) -> bool:
    """Whether a concatenation before a convolution moves more numbers than the sums of its results and an activation after them."""
    op, x, weight = reader.op, reader.inputs[0], reader.inputs[1]
    assert isinstance(op, Conv)
    if op.group != 1 or x is None or weight is None or weight.data is None or weight.dtype is not DType.FLOAT:
        return False
    joined, results = _numbers(x), _numbers(reader.output)
    return None not in (joined, results) and 2 * joined >= LEAST_GAIN * (4 * (parts - 1) + 2) * results  # type: ignore[operator]


def _numbers(value: Value) -> int | None:
    """The numbers of one image, None when they are known at run time only."""
    sizes = (value.shape or ())[1:]
    return math.prod(sizes) if sizes and all(isinstance(n, int) for n in sizes) else None  # type: ignore[arg-type]
